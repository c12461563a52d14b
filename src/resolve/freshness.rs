//! Whether a token will do, must be refreshed first, or should be refreshed behind the answer. Pure.

use crate::connection::{Connection, MIN_USABLE_TTL, TokenLifetime};
use crate::ports::{RefreshOutcome, RefreshReason};
use crate::resolve::ResolveRequest;
use crate::time::Timestamp;

/// What to do with the token in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FreshnessDecision {
    /// Hand it out.
    Fresh,
    /// Hand it out; whether a refresh should run behind the answer.
    NearExpiry {
        /// Whether one may.
        refresh: bool,
    },
    /// Wait for a refresh.
    Refresh(RefreshReason),
    /// It ended and nothing can renew it.
    Expired,
}

pub(super) fn decide(connection: &Connection, request: &ResolveRequest, now: Timestamp) -> FreshnessDecision {
    let life = connection.life();
    if request.force_refresh && connection.refreshable {
        return FreshnessDecision::Refresh(RefreshReason::Force);
    }
    let needed = life.effective_min_ttl(request.min_ttl);
    if life.lasts_for(needed, now) && life.lasts_for(1, now) {
        return decide_for_valid_token(connection, life, now);
    }
    if connection.refreshable {
        return FreshnessDecision::Refresh(RefreshReason::Need { until: now.plus(needed.max(1)).unix() });
    }
    if life.lasts_for(MIN_USABLE_TTL, now) {
        FreshnessDecision::NearExpiry { refresh: false }
    } else {
        FreshnessDecision::Expired
    }
}

fn decide_for_valid_token(connection: &Connection, life: TokenLifetime, now: Timestamp) -> FreshnessDecision {
    match life.early_refresh_from(connection.jitter()) {
        Some(from) if now >= from && connection.refreshable => {
            let free = connection.next_attempt_at <= now && connection.active_lease(now).is_none();
            FreshnessDecision::NearExpiry { refresh: free }
        }
        _ => FreshnessDecision::Fresh,
    }
}

/// Whether the record holds what this call waited for. A token just refreshed is always good enough.
pub(super) fn is_refreshed(connection: &Connection, outcome: &RefreshOutcome, now: Timestamp) -> bool {
    matches!(outcome, RefreshOutcome::Refreshed | RefreshOutcome::StillValid) && connection.life().lasts_for(1, now)
}

/// Whether a valid token is left after a refresh that failed.
pub(super) fn is_still_usable(connection: &Connection, now: Timestamp) -> bool {
    connection.life().lasts_for(MIN_USABLE_TTL, now)
}
