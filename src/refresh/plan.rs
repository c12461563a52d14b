//! What an errand amounts to, given what the record says. Pure: no I/O, `now` is an argument.

use crate::client::Client;
use crate::connection::{Connection, Intent, Reason, Status};
use crate::ports::{Errand, ErrandOutcome};
use crate::store::refreshes::Case;
use crate::time::Timestamp;

use super::client_waits;

/// Seconds in which a finished refresh satisfies everybody who insists on one.
const JUST_REFRESHED: i64 = 30;
/// Seconds in which a check that somebody asks for answers what the last one found.
const JUST_CHECKED: i64 = 30;
/// The same after a failure: somebody may have repaired it at the app.
const JUST_FAILED: i64 = 5;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// Nothing: this is the answer.
    Answer(ErrandOutcome),
    /// Somebody's attempt may be under way: look again.
    Wait,
    /// Ask the app whether the credential works.
    Probe,
    /// Redeem the refresh token.
    Redeem,
    /// The token ended and there is nothing to renew it with: the record should say so.
    Bury,
}

pub(super) fn plan(case: &Case, errand: Errand, now: Timestamp) -> Plan {
    let connection = &case.connection;
    if let Some(intent) = connection.live_intent(now) {
        return of_intent(connection, intent, now);
    }
    if connection.reason == Some(Reason::OtherAccount) {
        return of_another_account(connection, errand, now);
    }
    if connection.status == Status::NeedsReconnect {
        return of_dead(connection, errand, now);
    }
    if is_satisfied(connection, errand, now) {
        return Plan::Answer(ErrandOutcome::Satisfied);
    }
    match errand {
        Errand::Check | Errand::CheckNow if !is_near_end(connection, now) && !is_to_be_kept(connection, now) => {
            probe(connection, errand, now)
        }
        _ if !connection.refreshable => of_unrefreshable(connection, errand, now),
        _ => held_back(connection, case.client.as_ref(), errand, now).map_or(Plan::Redeem, Plan::Answer),
    }
}

/// A probe, unless somebody asks for what a moment ago was found.
fn probe(connection: &Connection, errand: Errand, now: Timestamp) -> Plan {
    match errand {
        Errand::CheckNow => found_lately(connection, now).map_or(Plan::Probe, Plan::Answer),
        _ => Plan::Probe,
    }
}

/// What the app's last answer means, while it counts.
fn found_lately(connection: &Connection, now: Timestamp) -> Option<ErrandOutcome> {
    let age = now.since(connection.checked_at?);
    let evidence = connection.check_evidence.as_deref()?;
    let found = match evidence {
        "refreshed" => ErrandOutcome::Satisfied,
        _ if !evidence.starts_with("probe: ") => return None,
        _ if connection.failures > 0 => {
            ErrandOutcome::Unavailable { retry_after: connection.next_attempt_at.since(now).max(JUST_FAILED - age) }
        }
        _ if evidence.starts_with("probe: accepted") => ErrandOutcome::Healthy,
        _ => ErrandOutcome::Unknown,
    };
    (age < if found.works() { JUST_CHECKED } else { JUST_FAILED }).then_some(found)
}

/// Whether the refresh token may be redeemed now: there is one, and nothing asks to wait.
pub(super) fn may_redeem(connection: &Connection, client: Option<&Client>, errand: Errand, now: Timestamp) -> bool {
    connection.refreshable && held_back(connection, client, errand, now).is_none()
}

/// An attempt that failed ambiguously leaves its intent to run out, and says so by a next attempt
/// after it: there is nothing to wait for. Any other may be under way.
fn of_intent(connection: &Connection, intent: &Intent, now: Timestamp) -> Plan {
    if connection.next_attempt_at <= intent.until {
        return Plan::Wait;
    }
    Plan::Answer(ErrandOutcome::Unavailable { retry_after: connection.next_attempt_at.since(now) })
}

/// A person who asks for the truth may try the stored token of a dead connection once more.
fn of_dead(connection: &Connection, errand: Errand, now: Timestamp) -> Plan {
    // To redeem a refresh token again is worth a longer pause than to look.
    let pause = if connection.refreshable { JUST_REFRESHED } else { JUST_FAILED };
    if connection.checked_at.is_some_and(|at| now.since(at) < pause) {
        return Plan::Answer(ErrandOutcome::Dead);
    }
    match errand {
        Errand::CheckNow if connection.sealed_credential.is_some() && connection.refreshable => Plan::Redeem,
        Errand::CheckNow if connection.sealed_credential.is_some() => Plan::Probe,
        _ => Plan::Answer(ErrandOutcome::Dead),
    }
}

/// A refresh tells nothing of whose the credential is, and would revive it: only the identity request may.
fn of_another_account(connection: &Connection, errand: Errand, now: Timestamp) -> Plan {
    let is_asked = errand == Errand::CheckNow && connection.sealed_credential.is_some();
    let just_checked = connection.checked_at.is_some_and(|at| now.since(at) < JUST_REFRESHED);
    if is_asked && !just_checked && connection.life().lasts(1, now) {
        Plan::Probe
    } else {
        Plan::Answer(ErrandOutcome::Dead)
    }
}

fn is_satisfied(connection: &Connection, errand: Errand, now: Timestamp) -> bool {
    // A short-lived token may have ended since; within its first second even that ends the asking.
    let just_refreshed = connection
        .refreshed_at
        .is_some_and(|at| now.since(at) <= JUST_REFRESHED && (now.since(at) <= 1 || connection.life().lasts(1, now)));
    match errand {
        Errand::Need { until } => just_refreshed || connection.expires_at.is_none_or(|end| end.unix() >= until),
        Errand::Early => just_refreshed || !is_near_end(connection, now),
        Errand::Force => just_refreshed,
        Errand::Check | Errand::CheckNow => false,
    }
}

fn is_near_end(connection: &Connection, now: Timestamp) -> bool {
    connection.life().early_from(connection.jitter()).is_some_and(|from| now >= from)
}

/// Whether its refresh token would end for want of use.
fn is_to_be_kept(connection: &Connection, now: Timestamp) -> bool {
    connection.renew_from().is_some_and(|from| now >= from)
}

fn of_unrefreshable(connection: &Connection, errand: Errand, now: Timestamp) -> Plan {
    match errand {
        _ if !connection.life().lasts(1, now) => Plan::Bury,
        Errand::Check | Errand::CheckNow => probe(connection, errand, now),
        Errand::Need { .. } | Errand::Early | Errand::Force => Plan::Answer(ErrandOutcome::Satisfied),
    }
}

/// Who must wait, and how long: an attempt per back-off step, however many ask.
fn held_back(
    connection: &Connection,
    client: Option<&Client>,
    errand: Errand,
    now: Timestamp,
) -> Option<ErrandOutcome> {
    if let Some(client) = client
        && let Some(seconds) = client_waits(client, now)
    {
        return Some(if client.misconfigured.is_some() {
            ErrandOutcome::ClientMisconfigured
        } else {
            ErrandOutcome::Unavailable { retry_after: seconds }
        });
    }
    let seconds = connection.next_attempt_at.since(now);
    // A person who asks may try ahead of the back-off, but not in a loop.
    let may_insist =
        errand == Errand::CheckNow && connection.checked_at.is_none_or(|at| now.since(at) >= JUST_REFRESHED);
    // Where the client can't be used, the app was not even asked: to wait does not help.
    let is_client = connection.client_problem().is_some();
    let outcome = if is_client {
        ErrandOutcome::ClientMisconfigured
    } else {
        ErrandOutcome::Unavailable { retry_after: seconds }
    };
    (seconds > 0 && !may_insist).then_some(outcome)
}
