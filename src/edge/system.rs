//! Clock, randomness and log over the platform.

use std::time::Duration;

use worker::js_sys::Date;
use worker::{Delay, console_error, console_log, console_warn};

use crate::error::Error;
use crate::ports::{Clock, Log, LogLine};
use crate::random::{NoRandomness, Random};
use crate::time::Timestamp;

pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::cast_possible_truncation, reason = "seconds of this era fit i64")]
        Timestamp::from_unix((Date::now() / 1000.0) as i64)
    }

    async fn sleep(&self, milliseconds: u32) {
        Delay::from(Duration::from_millis(u64::from(milliseconds))).await;
    }
}

pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        getrandom::getrandom(buffer).map_err(|_| NoRandomness)
    }
}

pub(crate) struct ConsoleLog;

impl Log for ConsoleLog {
    fn write(&self, line: LogLine) {
        let text = serde_json::to_string(&line).unwrap_or_default();
        match line.level {
            "error" => console_error!("{text}"),
            "warn" => console_warn!("{text}"),
            _ => console_log!("{text}"),
        }
    }
}

/// Logs an unusable configuration where no caller waits for an answer.
pub(super) fn log_config_error(error: &Error) {
    let line = serde_json::json!({ "level": "error", "event": error.code.as_str(), "detail": error.detail });
    console_error!("{line}");
}
