//! Whether a token will do, must be refreshed first, or should be refreshed behind the answer. Pure.

use crate::connection::{Connection, LEAST_USEFUL, Life};
use crate::ports::{Errand, ErrandOutcome};
use crate::resolve::Ask;
use crate::time::Timestamp;

/// What to do with the token in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Hand it out.
    Fresh,
    /// Hand it out; whether a refresh should run behind the answer.
    NearEnd {
        /// Whether one may.
        refresh: bool,
    },
    /// Wait for a refresh.
    Refresh(Errand),
    /// It ended and nothing can renew it.
    Ended,
}

pub(super) fn judge(connection: &Connection, ask: &Ask, now: Timestamp) -> Verdict {
    let life = connection.life();
    if ask.force_refresh && connection.refreshable {
        return Verdict::Refresh(Errand::Force);
    }
    let needed = life.demandable(ask.min_ttl);
    if life.lasts(needed, now) && life.lasts(1, now) {
        return of_living(connection, life, now);
    }
    if connection.refreshable {
        return Verdict::Refresh(Errand::Need { until: now.plus(needed.max(1)).unix() });
    }
    if life.lasts(LEAST_USEFUL, now) { Verdict::NearEnd { refresh: false } } else { Verdict::Ended }
}

fn of_living(connection: &Connection, life: Life, now: Timestamp) -> Verdict {
    match life.early_from(connection.jitter()) {
        Some(from) if now >= from && connection.refreshable => {
            let free = connection.next_attempt_at <= now && connection.live_intent(now).is_none();
            Verdict::NearEnd { refresh: free }
        }
        _ => Verdict::Fresh,
    }
}

/// Whether the record holds what this call waited for. A token just refreshed is always good enough.
pub(super) fn is_renewed(connection: &Connection, outcome: &ErrandOutcome, now: Timestamp) -> bool {
    matches!(outcome, ErrandOutcome::Refreshed | ErrandOutcome::Satisfied) && connection.life().lasts(1, now)
}

/// Whether a valid token is left after a refresh that failed.
pub(super) fn is_still_useful(connection: &Connection, now: Timestamp) -> bool {
    connection.life().lasts(LEAST_USEFUL, now)
}
