//! Refresh: one token request, nothing lost.
//!
//! Owns the protocol by which exactly one attempt at a time redeems a connection's refresh token:
//! intent in the record first, one POST, persist before anything else, dead only when sure. It stays
//! correct with any number of Workers over one record; the
//! [`crate::ports::Refresher`] object merely spares requests. docs/refresh.md tells it as a story. Refuses to hand out tokens: whoever needs one reads
//! the record again.

mod outcome;
mod plan;
mod redemption;

use serde_json::json;

use crate::app::{App, Resolved};
use crate::caller::hash;
use crate::client::Client;
use crate::connection::Connection;
use crate::core::Core;
use crate::credential::{Credential, Token};
use crate::disconnect;
use crate::error::{Error, Result};
use crate::ids::{AttemptId, ConnectionId};
use crate::patience::within;
use crate::ports::{Clock, DatabaseError, Errand, ErrandOutcome, Http, Lifeboat, Ports};
use crate::registry;
use crate::secret::Secret;
use crate::store::clients;
use crate::store::refreshes::{self, Attempt, Case, Fate, Renewal};
use crate::time::Timestamp;
use crate::token::{self, Answer, Class, ProbeVerdict, TokenSet};

use outcome::Told;
use plan::Plan;
use redemption::{Redemption, age_of_answer, intent_of};

/// Tokens of one grant that are renewed together, at most.
const MOST_TOKENS: usize = 4;

/// How long one who finds an attempt under way looks again, in milliseconds; together 10 s.
const WAITS: [u32; 9] = [200, 400, 700, 1000, 1200, 1500, 1500, 1500, 2000];
/// How long a write is tried again, in milliseconds; together under 10 s.
const PERSIST_WAITS: [u32; 5] = [100, 300, 900, 2000, 4000];
/// How long writing may take with all its tries, in milliseconds, however slow the record is.
const PERSIST_LIMIT: u32 = 10_000;
/// Seconds between two looks of the clock at a healthy connection.
const CHECK_INTERVAL: i64 = 24 * 3600;

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

/// Delivers what a lifeboat kept. Answers whether the record has it, or no longer wants it.
pub async fn deliver<P: Ports>(core: &Core<P>, kept: &str) -> bool {
    let Ok(renewal) = serde_json::from_str::<Renewal>(kept) else {
        core.log("error", "renewal_unreadable", &json!({}));
        return true;
    };
    let fate = persist_once(core, &renewal).await;
    if fate == Ok(Fate::Overtaken) {
        core.log("warn", "renewal_overtaken", &json!({ "connection": renewal.attempt.connection.as_str() }));
    }
    fate.is_ok()
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
    let done = match plan::plan(&case, errand, core.now()) {
        Plan::Answer(outcome) => outcome::put_off(core, &case, errand, outcome).await,
        Plan::Wait => return Step::Busy,
        Plan::Probe => probe(core, &case, errand).await,
        Plan::Bury => outcome::ended(core, &case).await,
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
    app: std::rc::Rc<App>,
    /// Its OAuth server's endpoints, if it has one.
    at: Option<Resolved>,
    credential: Credential,
}

fn server_at(at: Option<&Resolved>) -> Result<&Resolved> {
    at.ok_or_else(|| Error::internal("an app without an OAuth server was to be asked for a token"))
}

async fn prepare<P: Ports>(core: &Core<P>, case: &Case) -> Result<std::result::Result<Talk, ErrandOutcome>> {
    let connection = &case.connection;
    let Some(sealed) = &connection.sealed_credential else { return Ok(Err(ErrandOutcome::Dead)) };
    let place = Credential::place(&connection.workspace, &connection.id, connection.generation);
    let Ok(credential) = Credential::open(&core.config.ring, &place, sealed) else {
        return Ok(Err(ErrandOutcome::Unreadable));
    };
    let definition = registry::definition(core, &connection.app, connection.app_revision, case.definition.as_deref())?;
    let app = registry::way(&definition, &connection.way)?;
    let at = match app.server() {
        None => None,
        Some(_) => Some(registry::endpoints(core, &app, &connection.variables).await?),
    };
    Ok(Ok(Talk { app, at, credential }))
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
        id: AttemptId::random(core.ports.random())?,
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
        Answer::Tokens(tokens) => store_renewal(core, of, &renewal(core, of, &tokens)?, ErrandOutcome::Refreshed).await,
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

fn renewal<P: Ports>(core: &Core<P>, of: &Redemption<'_>, tokens: &TokenSet) -> Result<Renewal> {
    let connection = &of.case.connection;
    let now = core.now();
    let rotated = tokens.refresh_token.is_some();
    let refresh_expires_at = tokens.refresh_expires_at.or(if rotated { None } else { connection.refresh_expires_at });
    let renewed = of.renewed(tokens);
    let idle = of.talk.app.server().and_then(|server| server.refresh_token_idle);
    Ok(Renewal {
        attempt: of.attempt.clone(),
        sealed: seal(core, connection, &renewed)?,
        expires_at: renewed.expires_at().map(Timestamp::unix),
        refreshed_at: Some(now.unix()),
        refresh_expires_at: refresh_expires_at.map(Timestamp::unix),
        refresh_idle_until: idle.map(|seconds| now.plus(seconds).unix()),
        refreshable: renewed.is_refreshable() || of.pick.mints,
        scopes: of.granted(tokens).map(|named| of.talk.app.granted(&named, &connection.scopes_requested)),
        failures: 0,
        next_attempt_at: 0,
        error: None,
        at: now.unix(),
        evidence: "refreshed".into(),
        next_check_at: next_check_after(now, connection).unix(),
    })
}

/// An odd answer with a new refresh token: the token is stored, the rest counts as a failure.
fn rescued<P: Ports>(core: &Core<P>, of: &Redemption<'_>, newer: Secret, what: &str) -> Result<Renewal> {
    let connection = &of.case.connection;
    let now = core.now();
    let wait = outcome::backoff(core, connection.failures, None);
    let current = of.current().ok_or_else(|| Error::internal("a refresh of a token that is not there"))?;
    let kept = Token { refresh_token: Some(newer), ..current.clone() };
    Ok(Renewal {
        attempt: of.attempt.clone(),
        sealed: seal(core, connection, &of.successor(kept))?,
        expires_at: connection.expires_at.map(Timestamp::unix),
        refreshed_at: connection.refreshed_at.map(Timestamp::unix),
        refresh_expires_at: None,
        refresh_idle_until: None,
        refreshable: true,
        scopes: None,
        failures: connection.failures + 1,
        next_attempt_at: now.plus(wait).unix(),
        error: Some(what.to_owned()),
        at: now.unix(),
        evidence: format!("refresh: {what}"),
        next_check_at: now.plus(wait).unix(),
    })
}

fn seal<P: Ports>(core: &Core<P>, connection: &Connection, credential: &Credential) -> Result<String> {
    let place = Credential::place(&connection.workspace, &connection.id, connection.generation);
    Ok(credential.seal(&core.config.ring, core.ports.random(), &place)?)
}

/// A day from now, give or take a tenth, so that connections made together part.
pub(crate) fn next_check_after(now: Timestamp, connection: &Connection) -> Timestamp {
    let spread = CHECK_INTERVAL / 5 * i64::from(connection.jitter()) / 255;
    let usual = now.plus(CHECK_INTERVAL - CHECK_INTERVAL / 10 + spread);
    // What can't be renewed is looked at when it ends, so that the record says so.
    match connection.expires_at {
        Some(end) if !connection.refreshable => usual.min(end.plus(1)),
        _ => usual,
    }
}

async fn store_renewal<P: Ports>(
    core: &Core<P>,
    of: &Redemption<'_>,
    renewal: &Renewal,
    success: ErrandOutcome,
) -> Result<ErrandOutcome> {
    let connection = &of.case.connection;
    match persist(core, renewal).await {
        Persisted::Yes => {
            if connection.status == crate::connection::Status::NeedsReconnect {
                core.log("info", "connection_revived", &json!({ "connection": connection.id.as_str() }));
            }
            Ok(success)
        }
        // Somebody redeemed a newer token of the same grant: theirs is the one that counts.
        Persisted::Superseded => Ok(ErrandOutcome::Satisfied),
        Persisted::Overtaken => {
            discard(core, of, renewal).await;
            Ok(ErrandOutcome::Gone)
        }
        Persisted::Kept => {
            core.log("error", "renewal_kept", &json!({ "connection": connection.id.as_str() }));
            Ok(ErrandOutcome::DatabaseDown)
        }
        Persisted::Lost => {
            core.log("error", "renewal_lost", &json!({ "connection": connection.id.as_str() }));
            Ok(ErrandOutcome::DatabaseDown)
        }
    }
}

/// An answer for a connection that was reconnected or disconnected meanwhile: a grant that nobody holds
/// any more, unless a newer generation lives on it.
async fn discard<P: Ports>(core: &Core<P>, of: &Redemption<'_>, renewal: &Renewal) {
    let connection = &of.case.connection;
    core.log("warn", "renewal_overtaken", &json!({ "connection": connection.id.as_str() }));
    let place = Credential::place(&connection.workspace, &connection.id, connection.generation);
    if let Ok(credential) = Credential::open(&core.config.ring, &place, &renewal.sealed) {
        let account = connection.account.as_ref().map(|account| account.id.as_str());
        let held = disconnect::Held { credential: &credential, account, variables: &connection.variables };
        disconnect::discard(core, &of.talk.app, (&connection.workspace, of.case.client.as_ref()), &held).await;
    }
}

enum Persisted {
    Yes,
    Superseded,
    Overtaken,
    Kept,
    Lost,
}

/// Writes within the time there is; what the record does not take by then goes to the lifeboat.
async fn persist<P: Ports>(core: &Core<P>, renewal: &Renewal) -> Persisted {
    let tried = within(core.ports.clock(), PERSIST_LIMIT, persist_repeatedly(core, renewal)).await;
    if let Some(Some(persisted)) = tried {
        return persisted;
    }
    let kept = serde_json::to_string(renewal).unwrap_or_default();
    if core.ports.lifeboat().keep(&renewal.attempt.connection, &kept).await { Persisted::Kept } else { Persisted::Lost }
}

/// Writes until it is written, and asks the record what became of a write that seemed to fail.
async fn persist_repeatedly<P: Ports>(core: &Core<P>, renewal: &Renewal) -> Option<Persisted> {
    for wait in PERSIST_WAITS.into_iter().map(Some).chain([None]) {
        if let Ok(fate) = persist_once(core, renewal).await {
            return Some(match fate {
                Fate::Applied => Persisted::Yes,
                Fate::Superseded | Fate::Waiting => Persisted::Superseded,
                Fate::Overtaken => Persisted::Overtaken,
            });
        }
        if let Some(milliseconds) = wait {
            core.ports.clock().sleep(milliseconds).await;
        }
    }
    None
}

/// One try: the write, then, when it changed nothing, what the record says of it. `Waiting` can't be
/// the end: a record that still waits takes the write.
async fn persist_once<P: Ports>(core: &Core<P>, renewal: &Renewal) -> std::result::Result<Fate, DatabaseError> {
    let attempt = &renewal.attempt;
    let working = attempt.client.as_ref().map(|client| clients::mark_working(&attempt.workspace, client));
    let statements = [refreshes::persist(renewal)].into_iter().chain(working).collect();
    let written = crate::ports::Database::batch(core.db(), statements).await?;
    if written.first().is_some_and(|rows| rows.changes > 0) {
        return Ok(Fate::Applied);
    }
    match refreshes::fate(core.db(), attempt).await? {
        Fate::Waiting => Err(DatabaseError::Unavailable("a write was neither applied nor refused".into())),
        fate => Ok(fate),
    }
}

/// Asks the app whether the credential works, where nothing is to be refreshed.
async fn probe<P: Ports>(core: &Core<P>, case: &Case, errand: Errand) -> Result<ErrandOutcome> {
    let talk = match prepare(core, case).await? {
        Ok(talk) => talk,
        Err(outcome) => return Ok(outcome),
    };
    let identity = talk.at.as_ref().map_or(talk.app.identity.as_ref(), |at| at.identity.as_ref());
    let Some(asked) = talk.app.check.as_ref().or(identity.and_then(|identity| identity.probe.as_ref())) else {
        return outcome::probed(core, case, "nothing to probe", ErrandOutcome::Unknown).await;
    };
    let values = case.connection.fill(talk.credential.values(talk.app.first_secret()));
    let request =
        token::probe_request(asked, &talk.app, &values).map_err(|problem| registry::unfilled(&talk.app, &problem))?;
    let answer = core.ports.http().send(request).await;
    match token::read_probe(&talk.app, asked, &answer, core.now()) {
        ProbeVerdict::Works => outcome::probed(core, case, "probe: accepted", ErrandOutcome::Healthy).await,
        ProbeVerdict::Forbidden => {
            outcome::probed(core, case, "probe: accepted, but not allowed to ask", ErrandOutcome::Healthy).await
        }
        ProbeVerdict::Odd => {
            outcome::probed(core, case, "probe: an answer that tells nothing", ErrandOutcome::Unknown).await
        }
        ProbeVerdict::Unavailable { retry_after } => outcome::probe_failed(core, case, retry_after).await,
        ProbeVerdict::Refused if plan::may_redeem(&case.connection, case.client.as_ref(), errand, core.now()) => {
            Ok(redeem_all(core, case).await?.unwrap_or(ErrandOutcome::InProgress { retry_after: 5 }))
        }
        ProbeVerdict::Refused => outcome::probe_refused(core, case).await,
    }
}

/// Whether the client's faults forbid asking now.
fn client_waits(client: &Client, now: Timestamp) -> Option<i64> {
    (client.backoff_until > now).then(|| client.backoff_until.since(now))
}
