//! Whether a token can be used, must be refreshed first, or should be refreshed after the answer. Pure.

use crate::connection::{Connection, MIN_USABLE_TTL, TokenLifetime};
use crate::ports::{RefreshOutcome, RefreshReason};
use crate::resolve::ResolveRequest;
use crate::time::Timestamp;

/// What to do with the stored token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FreshnessDecision {
    /// Return it.
    Fresh,
    /// Return it, and possibly refresh it after the answer.
    NearExpiry {
        /// Whether a refresh is permitted.
        refresh: bool,
    },
    /// Wait for a refresh.
    Refresh(RefreshReason),
    /// It expired and cannot be refreshed.
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

/// Whether the database has what this call waited for. A token that was just refreshed is always good enough.
pub(super) fn is_refreshed(connection: &Connection, outcome: &RefreshOutcome, now: Timestamp) -> bool {
    matches!(outcome, RefreshOutcome::Refreshed | RefreshOutcome::StillValid) && connection.life().lasts_for(1, now)
}

/// Whether a valid token is left after a failed refresh.
pub(super) fn is_still_usable(connection: &Connection, now: Timestamp) -> bool {
    connection.life().lasts_for(MIN_USABLE_TTL, now)
}
