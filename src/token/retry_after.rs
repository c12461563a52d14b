//! How long an app asks to wait.
//!
//! Owns where that stands in an answer, and the limits of what is believed.

use chrono::DateTime;
use serde_json::Value;

use super::lifetime;
use crate::app::AuthMethod;
use crate::ports::AppResponse;
use crate::time::Timestamp;

/// The longest accepted retry delay: a day, in seconds.
const MAX_RETRY_AFTER: i64 = 86_400;

/// The wait that the app asks for, from 0 to a day: by its body, where the definition says so, or by the header.
pub(super) fn find_retry_after(
    auth_method: &AuthMethod,
    inbound: &AppResponse,
    body: Option<&Value>,
    now: Timestamp,
) -> Option<i64> {
    let told = auth_method.errors.retry_after.as_ref().and_then(|at| at.find(body?)).and_then(lifetime::parse_seconds);
    told.map(|wait| wait.min(MAX_RETRY_AFTER)).or_else(|| parse_retry_after_header(inbound, now))
}

/// `Retry-After` in seconds (RFC 9110 10.2.3: seconds or a date).
pub fn parse_retry_after_header(inbound: &AppResponse, now: Timestamp) -> Option<i64> {
    let text = inbound.header("retry-after")?.trim();
    let wait = if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        text.parse().unwrap_or(MAX_RETRY_AFTER)
    } else {
        DateTime::parse_from_rfc2822(text).ok()?.timestamp() - now.unix()
    };
    Some(wait.clamp(0, MAX_RETRY_AFTER))
}
