//! The queue port over Cloudflare Queues. Without the binding no message is sent, and everything else works.

use worker::js_sys::{Function, JSON, Reflect};
use worker::wasm_bindgen::JsValue;
use worker::{Env, MessageBatch};

use super::{glue, promises};
use crate::ports::{QueueError, QueuedRun, RunQueue};

/// The name of the binding.
const BINDING: &str = "SCHEDULED_WORK";
/// How long to wait until the queue has taken the messages, in milliseconds.
const SEND_TIMEOUT_MS: u32 = 5_000;

pub(crate) struct QueueBinding(Option<JsValue>);

impl QueueBinding {
    pub(super) fn bind(env: &Env) -> Self {
        let binding = Reflect::get(env, &JsValue::from_str(BINDING)).ok();
        Self(binding.filter(JsValue::is_object))
    }
}

impl RunQueue for QueueBinding {
    fn is_bound(&self) -> bool {
        self.0.is_some()
    }

    async fn send(&self, runs: &[QueuedRun]) -> Result<(), QueueError> {
        let Some(queue) = &self.0 else { return Ok(()) };
        let bodies = serde_json::to_string(runs).map_err(|error| QueueError(error.to_string()))?;
        let begin = |settle: &Function, number| glue::send(queue, &bodies, SEND_TIMEOUT_MS, settle, number);
        match promises::wait(begin).await {
            Ok(taken) if taken.is_truthy() => Ok(()),
            Ok(_) => Err(QueueError("the queue did not answer".into())),
            Err(error) => Err(QueueError(glue::message(&error).chars().take(300).collect())),
        }
    }
}

/// The message of a batch. Only the first of several: each is meant for an invocation of its own (`max_batch_size` = 1), and
/// the next event does what another one would have done.
pub(super) fn first_message(batch: &MessageBatch<()>) -> Option<QueuedRun> {
    let body = batch.raw_iter().next()?.body();
    serde_json::from_str(&String::from(JSON::stringify(&body).ok()?)).ok()
}
