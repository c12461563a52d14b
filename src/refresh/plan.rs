//! What an errand amounts to, given what the record says. Pure: no I/O, `now` is an argument.

use crate::client::Client;
use crate::connection::{Connection, ConnectionStatus, ReconnectReason, RefreshLease};
use crate::ports::{RefreshOutcome, RefreshReason};
use crate::store::refreshes::LoadedConnection;
use crate::time::Timestamp;

use super::client_backoff_seconds;
use super::health::outcome_of_evidence;

/// Seconds in which a finished refresh satisfies everybody who insists on one.
const JUST_REFRESHED: i64 = 30;
/// Seconds in which a check that somebody asks for answers what the last one found.
const JUST_CHECKED: i64 = 30;
/// The same after a failure: somebody may have repaired it at the app.
const JUST_FAILED: i64 = 5;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RefreshPlan {
    /// Nothing: this is the answer.
    Finish(RefreshOutcome),
    /// Somebody's attempt may be under way: look again.
    Wait,
    /// Ask the app whether the credential works.
    Probe,
    /// Redeem the refresh token.
    Refresh,
    /// The token ended and there is nothing to renew it with: the record should say so.
    MarkNeedsReconnect,
}

pub(super) fn plan(loaded: &LoadedConnection, reason: RefreshReason, now: Timestamp) -> RefreshPlan {
    let connection = &loaded.connection;
    if let Some(lease) = connection.active_lease(now) {
        return plan_under_lease(connection, lease, now);
    }
    if connection.reason == Some(ReconnectReason::OtherAccount) {
        return plan_other_account(connection, reason, now);
    }
    if connection.status == ConnectionStatus::NeedsReconnect {
        return plan_needs_reconnect(connection, reason, now);
    }
    if is_satisfied(connection, reason, now) {
        return RefreshPlan::Finish(RefreshOutcome::StillValid);
    }
    match reason {
        RefreshReason::ScheduledCheck | RefreshReason::OnDemandCheck
            if !is_near_end(connection, now) && !is_near_idle_end(connection, now) =>
        {
            plan_probe(connection, reason, now)
        }
        _ if !connection.refreshable => plan_unrefreshable(connection, reason, now),
        _ => backoff_outcome(connection, loaded.client.as_ref(), reason, now)
            .map_or(RefreshPlan::Refresh, RefreshPlan::Finish),
    }
}

/// A probe, unless somebody asks for what a moment ago was found.
fn plan_probe(connection: &Connection, reason: RefreshReason, now: Timestamp) -> RefreshPlan {
    match reason {
        RefreshReason::OnDemandCheck => {
            recent_check_outcome(connection, now).map_or(RefreshPlan::Probe, RefreshPlan::Finish)
        }
        _ => RefreshPlan::Probe,
    }
}

/// What the app's last answer means, while it counts.
fn recent_check_outcome(connection: &Connection, now: Timestamp) -> Option<RefreshOutcome> {
    let age = now.since(connection.checked_at?);
    let evidence = connection.check_evidence.as_deref()?;
    let retry_after = connection.next_attempt_at.since(now).max(JUST_FAILED - age);
    let found = outcome_of_evidence(evidence, connection.failures, retry_after)?;
    (age < if found.works() { JUST_CHECKED } else { JUST_FAILED }).then_some(found)
}

/// Whether the refresh token may be redeemed now: there is one, and nothing asks to wait.
pub(super) fn may_refresh(
    connection: &Connection,
    client: Option<&Client>,
    reason: RefreshReason,
    now: Timestamp,
) -> bool {
    connection.refreshable && backoff_outcome(connection, client, reason, now).is_none()
}

/// An attempt that failed ambiguously leaves its intent to run out, and says so by a next attempt
/// after it: there is nothing to wait for. Any other may be under way.
fn plan_under_lease(connection: &Connection, lease: &RefreshLease, now: Timestamp) -> RefreshPlan {
    if connection.next_attempt_at <= lease.until {
        return RefreshPlan::Wait;
    }
    RefreshPlan::Finish(RefreshOutcome::Unavailable { retry_after: connection.next_attempt_at.since(now) })
}

/// A person who asks for the truth may try the stored token of a dead connection once more.
fn plan_needs_reconnect(connection: &Connection, reason: RefreshReason, now: Timestamp) -> RefreshPlan {
    // To redeem a refresh token again is worth a longer pause than to look.
    let pause = if connection.refreshable { JUST_REFRESHED } else { JUST_FAILED };
    if connection.checked_at.is_some_and(|at| now.since(at) < pause) {
        return RefreshPlan::Finish(RefreshOutcome::NeedsReconnect);
    }
    match reason {
        RefreshReason::OnDemandCheck if connection.sealed_credential.is_some() && connection.refreshable => {
            RefreshPlan::Refresh
        }
        RefreshReason::OnDemandCheck if connection.sealed_credential.is_some() => RefreshPlan::Probe,
        _ => RefreshPlan::Finish(RefreshOutcome::NeedsReconnect),
    }
}

/// A refresh tells nothing of whose the credential is, and would revive it: only the identity request may.
fn plan_other_account(connection: &Connection, reason: RefreshReason, now: Timestamp) -> RefreshPlan {
    let is_asked = reason == RefreshReason::OnDemandCheck && connection.sealed_credential.is_some();
    let just_checked = connection.checked_at.is_some_and(|at| now.since(at) < JUST_REFRESHED);
    if is_asked && !just_checked && connection.life().lasts_for(1, now) {
        RefreshPlan::Probe
    } else {
        RefreshPlan::Finish(RefreshOutcome::NeedsReconnect)
    }
}

fn is_satisfied(connection: &Connection, reason: RefreshReason, now: Timestamp) -> bool {
    // A short-lived token may have ended since; within its first second even that ends the asking.
    let just_refreshed = connection.refreshed_at.is_some_and(|at| {
        now.since(at) <= JUST_REFRESHED && (now.since(at) <= 1 || connection.life().lasts_for(1, now))
    });
    match reason {
        RefreshReason::Need { until } => just_refreshed || connection.expires_at.is_none_or(|end| end.unix() >= until),
        RefreshReason::Early => just_refreshed || !is_near_end(connection, now),
        RefreshReason::Force => just_refreshed,
        RefreshReason::ScheduledCheck | RefreshReason::OnDemandCheck => false,
    }
}

fn is_near_end(connection: &Connection, now: Timestamp) -> bool {
    connection.life().early_refresh_from(connection.jitter()).is_some_and(|from| now >= from)
}

/// Whether its refresh token would end for want of use.
fn is_near_idle_end(connection: &Connection, now: Timestamp) -> bool {
    connection.refresh_token_renewal_from().is_some_and(|from| now >= from)
}

fn plan_unrefreshable(connection: &Connection, reason: RefreshReason, now: Timestamp) -> RefreshPlan {
    match reason {
        _ if !connection.life().lasts_for(1, now) => RefreshPlan::MarkNeedsReconnect,
        RefreshReason::ScheduledCheck | RefreshReason::OnDemandCheck => plan_probe(connection, reason, now),
        RefreshReason::Need { .. } | RefreshReason::Early | RefreshReason::Force => {
            RefreshPlan::Finish(RefreshOutcome::StillValid)
        }
    }
}

/// Who must wait, and how long: an attempt per back-off step, however many ask.
fn backoff_outcome(
    connection: &Connection,
    client: Option<&Client>,
    reason: RefreshReason,
    now: Timestamp,
) -> Option<RefreshOutcome> {
    if let Some(client) = client
        && let Some(seconds) = client_backoff_seconds(client, now)
    {
        return Some(if client.misconfigured.is_some() {
            RefreshOutcome::ClientMisconfigured
        } else {
            RefreshOutcome::Unavailable { retry_after: seconds }
        });
    }
    let seconds = connection.next_attempt_at.since(now);
    // A person who asks may try ahead of the back-off, but not in a loop.
    let may_insist = reason == RefreshReason::OnDemandCheck
        && connection.checked_at.is_none_or(|at| now.since(at) >= JUST_REFRESHED);
    // Where the client can't be used, the app was not even asked: to wait does not help.
    let is_client = connection.client_problem().is_some();
    let outcome = if is_client {
        RefreshOutcome::ClientMisconfigured
    } else {
        RefreshOutcome::Unavailable { retry_after: seconds }
    };
    (seconds > 0 && !may_insist).then_some(outcome)
}
