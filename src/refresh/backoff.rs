//! How long an app that fails is left alone.

use crate::context::Context;
use crate::ports::Ports;
use crate::random::Random;

/// Seconds before the first retry. Doubled at each further failure.
pub(super) const FIRST_BACKOFF: i64 = 5;
/// The longest wait between retries, in seconds.
pub(super) const LONGEST_BACKOFF: i64 = 1800;

/// Seconds to wait after a number of consecutive failures: doubled each time, with jitter from half to the whole of it,
/// and never less than the app requests.
pub(super) fn backoff_seconds<P: Ports>(context: &Context<P>, failures: i64, retry_after: Option<i64>) -> i64 {
    let doublings = u32::try_from(failures.clamp(0, 12)).unwrap_or(0);
    let whole = (FIRST_BACKOFF << doublings).min(LONGEST_BACKOFF);
    let mut byte = [0_u8];
    let jitter =
        context.ports.random().fill(&mut byte).map_or(255, |()| i64::from(byte.first().copied().unwrap_or(255)));
    (whole / 2 + whole * jitter / 510).max(retry_after.unwrap_or(0)).max(1)
}
