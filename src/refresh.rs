//! Refresh: one token request, nothing lost.
//!
//! Owns the protocol by which exactly one attempt at a time redeems a connection's refresh token:
//! intent in the record first, one POST, persist before anything else, dead only when sure. It stays
//! correct with any number of Workers over one record; the [`crate::ports::Refresher`] object merely spares
//! requests. docs/refresh.md tells it as a story. Refuses to hand out tokens: whoever needs one reads the
//! record again.

mod death;
mod outcome;
mod owner;
mod persist;
mod plan;
mod probe;
mod redemption;
mod renewal;

use std::rc::Rc;

use serde_json::json;

use crate::app::{App, Resolved};
use crate::caller::hash;
use crate::client::Client;
use crate::connection::Connection;
use crate::core::Core;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::error::{Error, Result};
use crate::ids::{AttemptId, ConnectionId};
use crate::ports::{Clock, DatabaseError, Errand, ErrandOutcome, Ports};
use crate::registry;
use crate::store::refreshes::{self, Attempt, Case};
use crate::time::Timestamp;
use crate::token::{Answer, Class};

pub use persist::deliver;

use outcome::Told;
use owner::Owner;
use persist::store_renewal;
use plan::Plan;
use probe::probe;
use redemption::{Redemption, age_of_answer, intent_of};
use renewal::{renewal, rescued};

/// Tokens of one grant that are renewed together, at most.
const MOST_TOKENS: usize = 4;

/// How long one who finds an attempt under way looks again, in milliseconds; together 10 s.
const WAITS: [u32; 9] = [200, 400, 700, 1000, 1200, 1500, 1500, 1500, 2000];
/// Seconds between two looks of the clock at a healthy connection.
const CHECK_INTERVAL: i64 = 24 * 3600;
/// Seconds between two turns of the clock.
const SOONEST_CHECK: i64 = 300;

/// Runs an errand to its end, or until somebody else's attempt has been waited for long enough.
pub async fn run<P: Ports>(core: &Core<P>, id: &ConnectionId, errand: Errand) -> ErrandOutcome {
    for wait in WAITS.into_iter().map(Some).chain([None]) {
        match step(core, id, errand).await {
            Step::Done(outcome) => return outcome,
            Step::Busy if matches!(errand, Errand::Early | Errand::Check) => break,
            Step::Busy => match wait {
                Some(milliseconds) => core.ports.clock().sleep(milliseconds).await,
                None => break,
            },
        }
    }
    ErrandOutcome::InProgress { retry_after: 5 }
}

enum Step {
    Done(ErrandOutcome),
    Busy,
}

async fn step<P: Ports>(core: &Core<P>, id: &ConnectionId, errand: Errand) -> Step {
    let case = match refreshes::case(core.db(), id).await {
        Ok(Some(case)) => case,
        Ok(None) => return Step::Done(ErrandOutcome::Gone),
        Err(error) => return Step::Done(database_down(core, id, &error)),
    };
    let plan = match plan::plan(&case, errand, core.now()) {
        // What was found a moment ago says nothing of a credential that does not open now.
        Plan::Answer(found)
            if errand == Errand::CheckNow
                && found.works()
                && case.connection.credential(&core.config.ring).is_none() =>
        {
            Plan::Probe
        }
        plan => plan,
    };
    let done = match plan {
        Plan::Answer(outcome) => outcome::put_off(core, &case, errand, outcome).await,
        Plan::Wait => return Step::Busy,
        Plan::Probe => probe(core, &case, errand).await,
        Plan::Bury => death::ended(core, &case).await,
        Plan::Redeem => match redeem_all(core, &case).await {
            Ok(None) => return Step::Busy,
            Ok(Some(outcome)) => Ok(outcome),
            Err(error) => Err(error),
        },
    };
    Step::Done(match done {
        Ok(ErrandOutcome::Unreadable) => {
            outcome::put_off(core, &case, errand, ErrandOutcome::Unreadable).await.unwrap_or(ErrandOutcome::Unreadable)
        }
        Ok(outcome) => outcome,
        Err(error) => outcome::of_error(core, &case, &error).await,
    })
}

fn database_down<P: Ports>(core: &Core<P>, id: &ConnectionId, error: &DatabaseError) -> ErrandOutcome {
    core.log("error", "database_failed", &json!({ "connection": id.as_str(), "cause": format!("{error:?}") }));
    ErrandOutcome::DatabaseDown
}

/// What a talk with the app needs.
struct Talk {
    app: Rc<App>,
    /// Its OAuth server's endpoints, if it has one.
    at: Option<Resolved>,
    credential: Credential,
    /// Where the credential may go.
    destinations: Rc<Destinations>,
}

fn server_at(at: Option<&Resolved>) -> Result<&Resolved> {
    at.ok_or_else(|| Error::internal("an app without an OAuth server was to be asked for a token"))
}

async fn prepare<P: Ports>(core: &Core<P>, case: &Case) -> Result<std::result::Result<Talk, ErrandOutcome>> {
    let connection = &case.connection;
    if connection.sealed_credential.is_none() {
        return Ok(Err(ErrandOutcome::Dead));
    }
    let Some(credential) = connection.credential(&core.config.ring) else {
        return Ok(Err(ErrandOutcome::Unreadable));
    };
    let definition = registry::definition(core, &connection.app, connection.app_revision, case.definition.as_deref())?;
    let app = registry::way(&definition, &connection.way)?;
    let at = registry::endpoints_if_any(core, &app, &connection.variables).await?;
    let destinations = connection.destinations(&app, at.as_ref());
    Ok(Ok(Talk { app, at, credential, destinations }))
}

/// Renews a connection's token, and the others of its grant that would end before it.
async fn redeem_all<P: Ports>(core: &Core<P>, case: &Case) -> Result<Option<ErrandOutcome>> {
    // Boxed: two of these would make every future that may refresh twice as large.
    let (first, mut lags) = Box::pin(redeem(core, case)).await?;
    for _ in 1..MOST_TOKENS {
        if !lags || first != Some(ErrandOutcome::Refreshed) {
            break;
        }
        let Ok(Some(next)) = refreshes::case(core.db(), &case.connection.id).await else { break };
        if plan::may_redeem(&next.connection, next.client.as_ref(), Errand::Early, core.now()) {
            // Whatever becomes of it, the first one is renewed: a later errand sees to the rest.
            lags = Box::pin(redeem(core, &next)).await.is_ok_and(|(_, lags)| lags);
        } else {
            break;
        }
    }
    Ok(first)
}

/// Redeems a refresh token: claim, ask, store. `None` when somebody else's claim came first. Answers, too, whether
/// another token of the grant now ends before the one that was renewed.
async fn redeem<P: Ports>(core: &Core<P>, case: &Case) -> Result<(Option<ErrandOutcome>, bool)> {
    let talk = match prepare(core, case).await? {
        Ok(talk) => talk,
        Err(outcome) => return Ok((Some(outcome), false)),
    };
    let Some(pick) = redemption::pick(&talk, &case.connection) else {
        return Ok((Some(ErrandOutcome::Unknown), false));
    };
    let keys = redemption::keys(core, case, &talk).await?;
    let attempt = attempt(core, &case.connection)?;
    let now = core.now();
    let rotation = talk.app.rotation();
    let seconds = intent_of(rotation);
    let token_hash = hash(pick.secret.expose());
    match refreshes::claim(core.db(), (&attempt, &case.connection), &token_hash, seconds, now).await {
        Ok(true) => {}
        Ok(false) => return Ok((None, false)),
        Err(error) => {
            // It may have been written all the same, and nobody will come for it.
            outcome::unsent(core, &attempt).await;
            return Err(error.into());
        }
    }
    let age = age_of_answer(&case.connection, rotation, &token_hash, now);
    let (until, asked_at) = (now.plus(seconds), core.now());
    let mut redemption = Redemption { case, talk, attempt, pick, keys, until, asked_at, age };
    if redemption.is_too_late() {
        return outcome::too_late(core, &redemption).await.map(|outcome| (Some(outcome), false));
    }
    let told = redemption::ask(core, &mut redemption).await;
    let lags = match &told {
        Answer::Tokens(tokens) => redemption::lags(&redemption.renewed(tokens)),
        // A further token that is gone for good is dropped: the first may still be to be renewed.
        Answer::Refused(refusal) => redemption.pick.which.is_some() && refusal.class == Class::Permanent,
        Answer::Ambiguous(_) => false,
    };
    settle(core, &redemption, told).await.map(|outcome| (Some(outcome), lags))
}

fn attempt<P: Ports>(core: &Core<P>, connection: &Connection) -> Result<Attempt> {
    Ok(Attempt {
        id: AttemptId::random(core.ports.random(), connection.workspace.shard())?,
        workspace: connection.workspace.clone(),
        connection: connection.id.clone(),
        client: connection.client.clone(),
        generation: connection.generation,
        version: connection.version,
    })
}

/// Stores what the app told, before anything else happens.
async fn settle<P: Ports>(core: &Core<P>, of: &Redemption<'_>, told: Answer) -> Result<ErrandOutcome> {
    match told {
        Answer::Tokens(tokens) => {
            let stored = store_renewal(core, of, &renewal(core, of, &tokens)?, ErrandOutcome::Refreshed).await?;
            if stored == ErrandOutcome::Refreshed && owner::of_tokens(of, &tokens) == Owner::Other {
                return owner::refuse_renewed(core, of).await;
            }
            Ok(stored)
        }
        Answer::Ambiguous(odd) => match odd.refresh_token.clone() {
            Some(newer) => {
                let renewal = rescued(core, of, newer, odd.what)?;
                let outcome = ErrandOutcome::Unavailable { retry_after: renewal.next_attempt_at - core.now().unix() };
                store_renewal(core, of, &renewal, outcome).await
            }
            None => outcome::record(core, of, Told::Ambiguous(&odd)).await,
        },
        Answer::Refused(refusal) => outcome::record(core, of, Told::Refused(&refusal)).await,
    }
}

/// A day from now, give or take a tenth, so that connections made together part; earlier where something ends.
pub(crate) fn next_check_after(now: Timestamp, connection: &Connection) -> Timestamp {
    let spread = CHECK_INTERVAL / 5 * i64::from(connection.jitter()) / 255;
    let usual = now.plus(CHECK_INTERVAL - CHECK_INTERVAL / 10 + spread);
    let due = if connection.refreshable {
        // An end that no renewal puts off brings the clock back for a while only.
        connection.renew_from().map(|from| from.max(now.plus(SOONEST_CHECK)))
    } else {
        // What can't be renewed is looked at when it ends, so that the record says so.
        connection.expires_at.map(|end| end.plus(1))
    };
    due.map_or(usual, |due| usual.min(due))
}

/// Whether the client's faults forbid asking now.
fn client_waits(client: &Client, now: Timestamp) -> Option<i64> {
    (client.backoff_until > now).then(|| client.backoff_until.since(now))
}
