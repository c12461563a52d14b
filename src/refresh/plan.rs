//! Decides what a refresh does, from the database row. Pure: no I/O, `now` is an argument.

use crate::client::Client;
use crate::connection::{Connection, ConnectionStatus, ReconnectReason, RefreshLease};
use crate::ports::{RefreshOutcome, RefreshReason};
use crate::store::refreshes::LoadedConnection;
use crate::time::Timestamp;

use super::client_backoff_seconds;
use super::health::outcome_of_evidence;

/// Seconds for which a finished refresh satisfies a forced one.
const JUST_REFRESHED: i64 = 30;
/// Seconds for which an on-demand check returns the last result.
const JUST_CHECKED: i64 = 30;
/// The same after a failure: somebody may have repaired it at the app.
const JUST_FAILED: i64 = 5;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RefreshPlan {
    /// Nothing: this is the result.
    Finish(RefreshOutcome),
    /// Another attempt may be running: look again.
    Wait,
    /// Ask the app if the credential works.
    Probe,
    /// Send the refresh token.
    Refresh,
    /// The token expired and cannot be refreshed: mark the connection.
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

/// A probe, unless there is a recent result.
fn plan_probe(connection: &Connection, reason: RefreshReason, now: Timestamp) -> RefreshPlan {
    match reason {
        RefreshReason::OnDemandCheck => {
            recent_check_outcome(connection, now).map_or(RefreshPlan::Probe, RefreshPlan::Finish)
        }
        _ => RefreshPlan::Probe,
    }
}

/// The meaning of the app's last response, while it is recent.
fn recent_check_outcome(connection: &Connection, now: Timestamp) -> Option<RefreshOutcome> {
    let age = now.since(connection.checked_at?);
    let evidence = connection.check_evidence.as_deref()?;
    let retry_after = connection.next_attempt_at.since(now).max(JUST_FAILED - age);
    let found = outcome_of_evidence(evidence, connection.failures, retry_after)?;
    (age < if found.works() { JUST_CHECKED } else { JUST_FAILED }).then_some(found)
}

/// Whether the refresh token may be sent now: there is one, and no pause.
pub(super) fn may_refresh(
    connection: &Connection,
    client: Option<&Client>,
    reason: RefreshReason,
    now: Timestamp,
) -> bool {
    connection.refreshable && backoff_outcome(connection, client, reason, now).is_none()
}

/// An attempt with an ambiguous result leaves its lease, and sets the next attempt after its end: there is nothing to
/// wait for. Any other may be running.
fn plan_under_lease(connection: &Connection, lease: &RefreshLease, now: Timestamp) -> RefreshPlan {
    if connection.next_attempt_at <= lease.until {
        return RefreshPlan::Wait;
    }
    RefreshPlan::Finish(RefreshOutcome::Unavailable { retry_after: connection.next_attempt_at.since(now) })
}

/// An on-demand check may try the stored token of a connection that needs a reconnect once more.
fn plan_needs_reconnect(connection: &Connection, reason: RefreshReason, now: Timestamp) -> RefreshPlan {
    // Sending a refresh token again needs a longer pause than a check.
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

/// A refresh says nothing about the account and would restore the connection. Only the identity request may.
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
    // A token with a short lifetime may have expired since. Within its first second even that stops the requests.
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

/// Whether its refresh token would soon expire unused.
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

/// Who must wait, and how long: one attempt per back-off step for all callers.
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
    // A person may retry during the back-off, but not in a loop.
    let may_insist = reason == RefreshReason::OnDemandCheck
        && connection.checked_at.is_none_or(|at| now.since(at) >= JUST_REFRESHED);
    // If the client cannot be used, no request was sent, and waiting does not help.
    let is_client = connection.client_problem().is_some();
    let outcome = if is_client {
        RefreshOutcome::ClientMisconfigured
    } else {
        RefreshOutcome::Unavailable { retry_after: seconds }
    };
    (seconds > 0 && !may_insist).then_some(outcome)
}
