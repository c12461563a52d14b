//! When a connection is looked at next.
//!
//! Owns the moments at which the scheduled run comes back to a connection, whatever was found before. Pure: it reads a
//! connection and a time. Connections that were made or failed together part.

use crate::connection::Connection;
use crate::time::Timestamp;

/// Seconds between two looks at a healthy connection.
const CHECK_INTERVAL: i64 = 24 * 3600;
/// Seconds between two scheduled runs.
const SHORTEST_CHECK_INTERVAL: i64 = 300;

/// A day from now, give or take a tenth, so that connections made together part; earlier where something ends.
pub(crate) fn next_check_after(now: Timestamp, connection: &Connection) -> Timestamp {
    let spread = CHECK_INTERVAL / 5 * i64::from(connection.jitter()) / 255;
    let usual = now.plus(CHECK_INTERVAL - CHECK_INTERVAL / 10 + spread);
    let due = if connection.refreshable {
        // An end that no renewal puts off brings the scheduled run back for a while only.
        connection.refresh_token_renewal_from().map(|from| from.max(now.plus(SHORTEST_CHECK_INTERVAL)))
    } else {
        // What can't be renewed is looked at when it ends, so that the database says so.
        connection.expires_at.map(|end| end.plus(1))
    };
    due.map_or(usual, |due| usual.min(due))
}

/// After an attempt to refresh that failed: soon after the attempt's pause has ended.
pub(crate) fn next_check_after_failure(now: Timestamp, connection: &Connection, wait: i64) -> Timestamp {
    now.plus(wait + i64::from(connection.jitter() / 8))
}

/// Where the app was not asked, and asking is held back until then.
pub(crate) fn next_check_after_pause(held_back_until: Timestamp, connection: &Connection) -> Timestamp {
    held_back_until.plus(i64::from(connection.jitter() / 4))
}

/// The same where only a person can change that: the pauses between two looks grow with each time, to a day.
pub(crate) fn next_check_after_growing_pause(now: Timestamp, connection: &Connection, shortest: i64) -> Timestamp {
    let doublings = u32::try_from(connection.failures.clamp(0, 6)).unwrap_or(0);
    next_check_after_pause(now.plus((shortest << doublings).min(CHECK_INTERVAL)), connection)
}

/// Where a credential can't be read at all: in a day.
pub(crate) fn next_check_of_unreadable(now: Timestamp, connection: &Connection) -> Timestamp {
    next_check_after_pause(now.plus(CHECK_INTERVAL), connection)
}
