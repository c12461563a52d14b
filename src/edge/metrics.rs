//! The metrics port over Workers Analytics Engine. Without the binding nothing is written.

use worker::js_sys::Date;
use worker::wasm_bindgen::JsValue;
use worker::{AnalyticsEngineDataset, Env};

use super::glue;
use crate::ports::{Metrics, MetricsPoint};

/// The name of the binding.
const BINDING: &str = "METRICS";

pub(crate) struct AnalyticsEngine(Option<AnalyticsEngineDataset>);

impl AnalyticsEngine {
    pub(super) fn bind(env: &Env) -> Self {
        Self(env.analytics_engine(BINDING).ok())
    }
}

impl Metrics for AnalyticsEngine {
    fn is_bound(&self) -> bool {
        self.0.is_some()
    }

    fn milliseconds(&self) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this era fit i64")]
        let now = Date::now() as i64;
        now
    }

    fn write(&self, point: &MetricsPoint) {
        let Some(dataset) = &self.0 else { return };
        // No value has a line break: ids, and codes of letters and digits.
        let blobs = format!("{}\n{}\n{}\n{}", point.event.as_str(), point.app, point.outcome, point.code);
        let dataset: &JsValue = dataset.as_ref();
        #[expect(clippy::cast_precision_loss, reason = "a time that a request takes is far below 2^53")]
        let milliseconds = point.milliseconds as f64;
        glue::write_data_point(dataset, point.workspace.as_str(), &blobs, milliseconds);
    }
}
