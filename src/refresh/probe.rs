//! The app is asked whether a credential works, where nothing is to be refreshed.
//!
//! Owns what each verdict leaves in the record. Refuses to believe one against a connection that can be refreshed:
//! that is tried first.

use crate::connection::Reason;
use crate::core::Core;
use crate::error::Result;
use crate::ports::{Database, Errand, ErrandOutcome, Ports};
use crate::registry;
use crate::store::refreshes::{self, Case};
use crate::token::{self, ProbeVerdict};

use super::death::bury;
use super::outcome::{backoff, secret_opens_again};
use super::owner::{self, Owner};
use super::{next_check_after, plan, prepare, redeem_all};

/// Asks the app whether the credential works, where nothing is to be refreshed.
pub(super) async fn probe<P: Ports>(core: &Core<P>, case: &Case, errand: Errand) -> Result<ErrandOutcome> {
    let talk = match prepare(core, case).await? {
        Ok(talk) => talk,
        Err(outcome) => return Ok(outcome),
    };
    let identity = talk.app.identity_at(talk.at.as_ref());
    let Some(asked) = talk.app.check.as_ref().or(identity.and_then(|identity| identity.probe.as_ref())) else {
        return match case.connection.reason {
            Some(Reason::OtherAccount) => Ok(ErrandOutcome::Dead),
            _ => probed(core, case, "nothing to probe", ErrandOutcome::Unknown).await,
        };
    };
    let values = case.connection.fill(talk.credential.values(talk.app.first_secret()));
    let request = token::probe_request(asked, &talk.app, &values, &talk.destinations)
        .map_err(|problem| registry::unfilled(&talk.app, &problem))?;
    let answer = core.send(request).await;
    let verdict = token::read_probe(&talk.app, asked, &answer, core.now());
    let of = (case, &talk);
    // Where the request is the identity's, its answer tells whose the credential is, too.
    let told = identity.filter(|_| talk.app.check.is_none()).map(|one| (one, asked, &values));
    let mut owner = told.map_or(Owner::Unknown, |told| owner::of_probe(core, of, told, &answer));
    if owner == Owner::Other
        && let Some(told) = told
    {
        owner = owner::ask_again(core, of, told).await?;
        if owner == Owner::Unknown {
            return probed(core, case, "probe: an answer that tells nothing", ErrandOutcome::Unknown).await;
        }
    }
    let was_another = case.connection.reason == Some(Reason::OtherAccount);
    match verdict {
        _ if owner == Owner::Other && !was_another => owner::refuse(core, case, "probe: another account").await,
        _ if owner != Owner::Same && was_another => {
            probed(core, case, "probe: not known to be the same account", ErrandOutcome::Dead).await
        }
        ProbeVerdict::Works => probed(core, case, "probe: accepted", ErrandOutcome::Healthy).await,
        ProbeVerdict::Forbidden => {
            probed(core, case, "probe: accepted, but not allowed to ask", ErrandOutcome::Healthy).await
        }
        ProbeVerdict::Odd => probed(core, case, "probe: an answer that tells nothing", ErrandOutcome::Unknown).await,
        ProbeVerdict::NotSent => {
            let evidence = "probe: not sent, because the app's addresses have changed since the credential was given";
            probed(core, case, evidence, ErrandOutcome::Unknown).await
        }
        ProbeVerdict::Unavailable { retry_after } => probe_failed(core, case, retry_after).await,
        ProbeVerdict::Refused if plan::may_redeem(&case.connection, case.client.as_ref(), errand, core.now()) => {
            Ok(redeem_all(core, case).await?.unwrap_or(ErrandOutcome::InProgress { retry_after: 5 }))
        }
        ProbeVerdict::Refused => probe_refused(core, case).await,
    }
}

/// Records that a probe ended and what it saw.
async fn probed<P: Ports>(
    core: &Core<P>,
    case: &Case,
    evidence: &str,
    outcome: ErrandOutcome,
) -> Result<ErrandOutcome> {
    let now = core.now();
    let next = next_check_after(now, &case.connection);
    let works = outcome == ErrandOutcome::Healthy;
    let statement = refreshes::probed(&case.connection, now, evidence, next, 0, None, works);
    core.db().batch([statement].into_iter().chain(secret_opens_again(core, case)).collect()).await?;
    Ok(outcome)
}

/// Records that the app could not be asked.
async fn probe_failed<P: Ports>(core: &Core<P>, case: &Case, retry_after: Option<i64>) -> Result<ErrandOutcome> {
    let now = core.now();
    let failures = case.connection.failures + 1;
    let wait = backoff(core, failures, retry_after.or(Some(60)));
    let statement = refreshes::probed(
        &case.connection,
        now,
        "probe: the app did not answer",
        now.plus(wait),
        failures,
        Some("app_unavailable"),
        false,
    );
    core.db().batch([statement].into_iter().chain(secret_opens_again(core, case)).collect()).await?;
    Ok(ErrandOutcome::Unavailable { retry_after: wait })
}

/// Records that the app refused a credential that nothing can renew.
async fn probe_refused<P: Ports>(core: &Core<P>, case: &Case) -> Result<ErrandOutcome> {
    if case.connection.refreshable {
        // Its refresh is held back: whether the grant is gone will be known when it is tried.
        let retry_after = case.connection.next_attempt_at.since(core.now()).max(1);
        return Ok(ErrandOutcome::Unavailable { retry_after });
    }
    bury(core, case, Reason::CredentialRejected, "probe: refused").await
}
