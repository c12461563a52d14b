//! What a failed attempt leaves in the record, and what it means to whoever asked.
//!
//! Owns back-off, of a connection and of the client it shares with others. Refuses to end a connection: that is
//! [`super::death`]'s, and unknown never kills.

use serde_json::json;

use crate::app::Rotation;
use crate::caller::hash;
use crate::client::{Client, ClientProblem};
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ports::{Clock, Database, Errand, ErrandOutcome, Ports, Random, Rows, Statement};
use crate::store::clients;
use crate::store::refreshes::{self, Attempt, Case, Failure, RefusalUpdate};
use crate::token::{Ambiguity, Class, DESTINATION_CHANGED, NO_ERROR_CODE, Refusal};

use super::death::permanent;
use super::redemption::{INTENT, Redemption};

/// Seconds before the first retry; doubled at each further failure.
const FIRST_BACKOFF: i64 = 5;
/// The longest wait between retries, in seconds.
const LONGEST_BACKOFF: i64 = 1800;
/// Seconds before a client that the app refuses is tried again.
const CLIENT_BACKOFF: i64 = 60;
/// Seconds before a connection whose configuration the app refuses is tried again.
const CONFIGURATION_BACKOFF: i64 = 3600;
/// How long until what an app said is written again, in milliseconds.
const WRITE_WAITS: [u32; 2] = [100, 500];
/// Seconds until an intent that is left behind has surely run out, counted from its failure.
const INTENT_AND_SLACK: i64 = INTENT + 6;

/// What the app told instead of tokens.
pub(super) enum Told<'a> {
    /// Nobody knows whether it acted.
    Ambiguous(&'a Ambiguity),
    /// It said no.
    Refused(&'a Refusal),
}

/// Seconds to wait after so many failures in a row: doubled each time, with jitter from half to
/// the whole of it, and never less than the app asks.
pub(super) fn backoff<P: Ports>(core: &Core<P>, failures: i64, retry_after: Option<i64>) -> i64 {
    let doublings = u32::try_from(failures.clamp(0, 12)).unwrap_or(0);
    let whole = (FIRST_BACKOFF << doublings).min(LONGEST_BACKOFF);
    let mut byte = [0_u8];
    let jitter = core.ports.random().fill(&mut byte).map_or(255, |()| i64::from(byte.first().copied().unwrap_or(255)));
    (whole / 2 + whole * jitter / 510).max(retry_after.unwrap_or(0)).max(1)
}

/// Records what a redemption that brought no token told.
pub(super) async fn record<P: Ports>(core: &Core<P>, of: &Redemption<'_>, told: Told<'_>) -> Result<ErrandOutcome> {
    match told {
        Told::Ambiguous(odd) => ambiguous(core, of, odd).await,
        Told::Refused(refusal) => match (refusal.class, &of.case.client) {
            (Class::Client, Some(refused)) => client(core, of, refused, refusal).await,
            // Without a client of the workspace it is the connection's own credential that is refused.
            (Class::Permanent, _) | (Class::Client, None) => permanent(core, of, refusal).await,
            (Class::Configuration, _) => configuration(core, of, refusal).await,
            (Class::Transient { retry_after }, _) => transient(core, of, refusal, retry_after).await,
            (Class::Unknown, _) => transient(core, of, refusal, None).await,
        },
    }
}

/// The app may have redeemed the token. Where presenting it again could kill the grant, the intent
/// stays until it runs out, so that an answer still on its way can't meet a second request.
async fn ambiguous<P: Ports>(core: &Core<P>, of: &Redemption<'_>, odd: &Ambiguity) -> Result<ErrandOutcome> {
    let case = of.case;
    let rotation = of.talk.app.rotation();
    let again_is_safe = rotation.reuse_is_safe();
    let mut wait = backoff(core, case.connection.failures, odd.retry_after);
    let hash = hash(of.pick.secret.expose());
    let is_first = case.connection.ambiguous_token_hash.as_deref() != Some(hash.as_str());
    if let (Rotation::Grace(seconds), true) = (rotation, is_first) {
        wait = wait.min((seconds / 2).max(1));
    }
    if !again_is_safe {
        wait = wait.max(INTENT_AND_SLACK);
    }
    let statement = Failed { wait, give_back: again_is_safe, error: odd.what, ambiguous: Some(&hash) };
    let update = if odd.what == NO_ERROR_CODE { RefusalUpdate::Set(None) } else { RefusalUpdate::Keep };
    let statement = failed(core, of, &statement, update);
    let backoff = of_the_app(core, case, wait, odd.retry_after);
    write(core, of, [statement].into_iter().chain(backoff).collect(), odd.what).await?;
    Ok(ErrandOutcome::Unavailable { retry_after: wait })
}

/// Nothing was asked: the token is given back as it was taken.
pub(super) async fn too_late<P: Ports>(core: &Core<P>, of: &Redemption<'_>) -> Result<ErrandOutcome> {
    let error = "database_slow";
    let statement = Failed { wait: FIRST_BACKOFF, give_back: true, error, ambiguous: None };
    let statement = failed(core, of, &statement, RefusalUpdate::Keep);
    write(core, of, vec![statement], error).await?;
    Ok(ErrandOutcome::DatabaseDown)
}

/// The client is refused: its connections stay as they are.
async fn client<P: Ports>(
    core: &Core<P>,
    of: &Redemption<'_>,
    client: &Client,
    refusal: &Refusal,
) -> Result<ErrandOutcome> {
    let now = core.now();
    let wait = backoff(core, client.failures, Some(CLIENT_BACKOFF));
    let mark = clients::mark_misconfigured(client, now, &refusal.code, now.plus(wait));
    let statement = failed(core, of, &Failed::of(refusal, wait), RefusalUpdate::Clear);
    write(core, of, vec![statement, mark], &refusal.code).await?;
    Ok(ErrandOutcome::ClientMisconfigured)
}

async fn configuration<P: Ports>(core: &Core<P>, of: &Redemption<'_>, refusal: &Refusal) -> Result<ErrandOutcome> {
    // What was not sent was not refused by the app.
    let update =
        if refusal.code == DESTINATION_CHANGED { RefusalUpdate::Keep } else { RefusalUpdate::Set(Some(&refusal.code)) };
    let statement = failed(core, of, &Failed::of(refusal, CONFIGURATION_BACKOFF), update);
    write(core, of, vec![statement], &refusal.code).await?;
    Ok(ErrandOutcome::Unusable)
}

async fn transient<P: Ports>(
    core: &Core<P>,
    of: &Redemption<'_>,
    refusal: &Refusal,
    retry_after: Option<i64>,
) -> Result<ErrandOutcome> {
    let case = of.case;
    let wait = backoff(core, case.connection.failures, retry_after);
    let update =
        if refusal.class == Class::Unknown { RefusalUpdate::Set(Some(&refusal.code)) } else { RefusalUpdate::Keep };
    let failure = failed(core, of, &Failed::of(refusal, wait), update);
    let statements = [failure].into_iter().chain(of_the_app(core, case, wait, retry_after)).collect();
    write(core, of, statements, &refusal.code).await?;
    Ok(ErrandOutcome::Unavailable { retry_after: wait })
}

/// A failure that is the app's holds off the other connections of the client too, for a minute at most
/// unless the app says how long.
fn of_the_app<P: Ports>(core: &Core<P>, case: &Case, wait: i64, told: Option<i64>) -> Option<Statement> {
    let until = core.now().plus(told.unwrap_or(wait.min(CLIENT_BACKOFF)));
    case.client.as_ref().map(|client| clients::back_off(client, until, told.is_some()))
}

/// A failed attempt as it is recorded.
struct Failed<'a> {
    /// Seconds until the next.
    wait: i64,
    /// Whether the intent is given back.
    give_back: bool,
    error: &'a str,
    /// The hash of a token that may have been redeemed.
    ambiguous: Option<&'a str>,
}

impl<'a> Failed<'a> {
    /// A clear refusal leaves nothing in doubt.
    fn of(refusal: &'a Refusal, wait: i64) -> Self {
        Self { wait, give_back: true, error: &refusal.code, ambiguous: None }
    }
}

fn failed<P: Ports>(
    core: &Core<P>,
    of: &Redemption<'_>,
    of_attempt: &Failed<'_>,
    refusal_update: RefusalUpdate<'_>,
) -> Statement {
    let now = core.now();
    let Failed { wait, give_back, error, ambiguous } = *of_attempt;
    let failure = Failure {
        next_attempt_at: now.plus(wait),
        give_back,
        error,
        at: now,
        next_check_at: now.plus(wait.max(INTENT_AND_SLACK) + i64::from(of.case.connection.jitter() / 8)),
        ambiguous_token_hash: ambiguous,
        asked_at: of.asked_at,
        refusal_update,
    };
    refreshes::fail(&of.attempt, &failure)
}

/// Writes what an attempt found. When newer tokens have been stored meanwhile it means nothing any more.
async fn write<P: Ports>(
    core: &Core<P>,
    of: &Redemption<'_>,
    mut statements: Vec<Statement>,
    error: &str,
) -> Result<()> {
    log_failure(core, of.case, error);
    statements.push(refreshes::release(&of.attempt, false));
    // Before a new mark is written.
    statements.splice(0..0, secret_opens_again(core, of.case));
    insist(core, statements).await?;
    Ok(())
}

/// Takes back a promise in whose name nothing was sent. As far as that goes: if it stays, it runs out.
pub(super) async fn unsent<P: Ports>(core: &Core<P>, attempt: &Attempt) {
    if core.db().batch(vec![refreshes::release(attempt, true)]).await.is_err() {
        core.log("warn", "promise_left", &json!({ "connection": attempt.connection.as_str() }));
    }
}

/// What the app said is worth more than one try: as long as the record does not know it, the attempt looks like one
/// that never came back, and a later refusal like a lost answer.
pub(super) async fn insist<P: Ports>(core: &Core<P>, statements: Vec<Statement>) -> Result<Vec<Rows>> {
    for milliseconds in WRITE_WAITS {
        if let Ok(written) = core.db().batch(statements.clone()).await {
            return Ok(written);
        }
        core.ports.clock().sleep(milliseconds).await;
    }
    Ok(core.db().batch(statements).await?)
}

pub(super) fn log_failure<P: Ports>(core: &Core<P>, case: &Case, error: &str) {
    core.log(
        "warn",
        "refresh_failed",
        &json!({ "connection": case.connection.id.as_str(), "app": case.connection.app.as_str(), "error": error }),
    );
}

/// An answer that cost no request: the clock must not come back for it at every turn.
pub(super) async fn put_off<P: Ports>(
    core: &Core<P>,
    case: &Case,
    errand: Errand,
    outcome: ErrandOutcome,
) -> Result<ErrandOutcome> {
    let connection = &case.connection;
    if errand == Errand::Check && connection.next_check_at.is_some() {
        let now = core.now();
        let spread = i64::from(connection.jitter() / 4);
        let usual = super::next_check_after(now, connection);
        let (next, evidence) = match &outcome {
            ErrandOutcome::Unavailable { retry_after } => {
                (now.plus(retry_after.max(&CLIENT_BACKOFF) + spread), "held back: the app is failing")
            }
            ErrandOutcome::ClientMisconfigured => {
                let later = now.plus(LONGEST_BACKOFF);
                let later = case.client.as_ref().map_or(later, |client| client.backoff_until.max(later));
                (later.plus(spread), "held back: the app refuses the client")
            }
            ErrandOutcome::Unreadable => {
                (now.plus(super::CHECK_INTERVAL + spread), "the stored credential does not open")
            }
            _ => (usual, "nothing to do"),
        };
        let delay = refreshes::delay(connection, now, None, (now, next), evidence);
        core.db().batch([delay].into_iter().chain(secret_opens_again(core, case)).collect()).await?;
    }
    Ok(outcome)
}

/// Nothing was asked of the app, because the client can't be used as it is stored. That stays so until a person acts: it is
/// recorded where people see it, and the pauses between two looks grow to a day.
async fn client_unusable<P: Ports>(core: &Core<P>, case: &Case, error: &Error) -> ErrandOutcome {
    let problem = error.hints.client.unwrap_or(ClientProblem::SecretUnreadable);
    let connection = &case.connection;
    let (now, code) = (core.now(), problem.as_str());
    log_failure(core, case, code);
    let until = now.plus(backoff(core, connection.failures, Some(CLIENT_BACKOFF)));
    let doublings = u32::try_from(connection.failures.clamp(0, 6)).unwrap_or(0);
    let pause = (LONGEST_BACKOFF << doublings).min(super::CHECK_INTERVAL);
    let next = now.plus(pause + i64::from(connection.jitter() / 4));
    let delay = refreshes::delay(connection, until, Some(code), (now, next), &format!("not asked: {code}"));
    let of_client = case.client.as_ref().filter(|_| problem.is_of_every_connection());
    let mark = of_client.map(|client| clients::mark_misconfigured(client, now, code, until));
    match core.db().batch([delay].into_iter().chain(mark).collect()).await {
        Ok(_) => ErrandOutcome::ClientMisconfigured,
        Err(_) => ErrandOutcome::DatabaseDown,
    }
}

/// A secret that did not open is told of until it does, whatever the app says of it then: the key may be back in the ring.
pub(super) fn secret_opens_again<P: Ports>(core: &Core<P>, case: &Case) -> Option<Statement> {
    let client = case.client.as_ref()?;
    let (_, code) = client.misconfigured.as_ref()?;
    let was_unreadable = ClientProblem::parse(code) == Some(ClientProblem::SecretUnreadable);
    (was_unreadable && client.stored_secret(&core.config.ring).is_some()).then(|| clients::mark_readable(client))
}

/// What an error on the way means to whoever asked for the errand. One that is the app's (its issuer
/// does not answer) counts as a failure, so that nobody hammers it.
pub(super) async fn of_error<P: Ports>(core: &Core<P>, case: &Case, error: &Error) -> ErrandOutcome {
    core.log_cause(error);
    match error.code {
        Code::DatabaseUnavailable | Code::Misconfigured => ErrandOutcome::DatabaseDown,
        Code::ClientMissing => client_unusable(core, case, error).await,
        _ => {
            let wait = backoff(core, case.connection.failures, error.hints.retry_after);
            let now = core.now();
            let until = now.plus(wait);
            let delay = refreshes::delay(
                &case.connection,
                until,
                Some(error.code.as_str()),
                (now, until.plus(CLIENT_BACKOFF)),
                "the app could not be asked",
            );
            match core.db().batch(vec![delay]).await {
                Ok(_) => ErrandOutcome::Unavailable { retry_after: wait },
                Err(_) => ErrandOutcome::DatabaseDown,
            }
        }
    }
}
