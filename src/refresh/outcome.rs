//! What a failed attempt writes to the database, and what it means for the caller.
//!
//! Owns the back-off of a connection and of its client. Ends no connection: [`super::needs_reconnect`] does, and an
//! unknown result never does.

use serde_json::json;

use crate::app::RefreshTokenRotation;
use crate::caller::hash_secret;
use crate::client::{Client, ClientProblem};
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ports::{Database, Ports, RefreshOutcome, RefreshReason, Statement};
use crate::schedule;
use crate::store::clients;
use crate::store::refreshes::{self, AttemptFailure, AttemptRef, LoadedConnection};
use crate::time::Timestamp;
use crate::token::{AmbiguousResponse, AppRefusal, RefusalClass};

use super::attempt::{LONGEST_LEASE, RefreshAttempt};
use super::backoff::{FIRST_BACKOFF, LONGEST_BACKOFF, backoff_seconds};
use super::health::AttemptFinding;
use super::needs_reconnect::record_permanent_refusal;
use super::record::{log_failure, write_with_retries};

/// Seconds before a refused client is tried again.
const CLIENT_BACKOFF: i64 = 60;
/// Seconds before a connection with a refused configuration is tried again.
const CONFIGURATION_BACKOFF: i64 = 3600;
/// Seconds until a lease that was left has certainly ended, counted from its failure.
const LEASE_AND_SLACK: i64 = LONGEST_LEASE + 6;

/// The app's response instead of tokens.
pub(super) enum RefreshFailure<'a> {
    /// It is unknown whether it acted.
    Ambiguous(&'a AmbiguousResponse),
    /// It refused.
    Refused(&'a AppRefusal),
}

/// Records the result of an attempt that returned no token.
pub(super) async fn record_failure<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    told: RefreshFailure<'_>,
) -> Result<RefreshOutcome> {
    match told {
        RefreshFailure::Ambiguous(odd) => record_ambiguous_response(context, of, odd).await,
        RefreshFailure::Refused(refusal) => match (refusal.class, &of.loaded.client) {
            (RefusalClass::Client, Some(refused)) => record_client_refusal(context, of, refused, refusal).await,
            // Without a client of the workspace, the connection's own credential was refused.
            (RefusalClass::Permanent, _) | (RefusalClass::Client, None) => {
                record_permanent_refusal(context, of, refusal).await
            }
            (RefusalClass::Configuration, _) => {
                record_clear_refusal(
                    context,
                    of,
                    AttemptFinding::ConfigurationRefused(&refusal.code),
                    CONFIGURATION_BACKOFF,
                )
                .await
            }
            (RefusalClass::Transient { retry_after }, _) => {
                record_transient_failure(context, of, AttemptFinding::TemporaryRefusal(&refusal.code), retry_after)
                    .await
            }
            (RefusalClass::Unknown, _) => {
                record_transient_failure(context, of, AttemptFinding::UnknownRefusal(&refusal.code), None).await
            }
        },
    }
}

/// The app may have used the token. If sending it again could revoke the grant, the lease stays until it ends, so that
/// a late response cannot meet a second request.
async fn record_ambiguous_response<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    odd: &AmbiguousResponse,
) -> Result<RefreshOutcome> {
    let loaded = of.loaded;
    let rotation = of.refresh_context.auth_method.rotation();
    let again_is_safe = rotation.reuse_is_safe();
    let mut wait = backoff_seconds(context, loaded.connection.failures, odd.retry_after);
    let hash = hash_secret(of.selected.secret.expose());
    let is_first = loaded.connection.ambiguous_token_hash.as_deref() != Some(hash.as_str());
    if let (RefreshTokenRotation::Grace(seconds), true) = (rotation, is_first) {
        wait = wait.min((seconds / 2).max(1));
    }
    if !again_is_safe {
        wait = wait.max(LEASE_AND_SLACK);
    }
    let finding = AttemptFinding::AmbiguousResponse(odd.reason);
    let details = FailureDetails { finding, wait, release_lease: again_is_safe, ambiguous_token_hash: Some(&hash) };
    let statement = failure_statement(context, of, &details);
    let backoff = client_backoff_statement(context, loaded, wait, odd.retry_after);
    write_failure(context, of, [statement].into_iter().chain(backoff).collect(), finding.error()).await?;
    Ok(finding.outcome(wait))
}

/// No request was sent: the lease is released.
pub(super) async fn record_too_late<P: Ports>(context: &Context<P>, of: &RefreshAttempt<'_>) -> Result<RefreshOutcome> {
    record_clear_refusal(context, of, AttemptFinding::DatabaseSlow, FIRST_BACKOFF).await
}

/// The client is refused: its connections are not changed.
async fn record_client_refusal<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    client: &Client,
    refusal: &AppRefusal,
) -> Result<RefreshOutcome> {
    let now = context.now();
    let wait = backoff_seconds(context, client.failures, Some(CLIENT_BACKOFF));
    let mark = clients::mark_misconfigured(client, now, &refusal.code, now.plus(wait));
    let finding = AttemptFinding::ClientRefused(&refusal.code);
    let statement = failure_statement(context, of, &FailureDetails::without_doubt(finding, wait));
    write_failure(context, of, vec![statement, mark], finding.error()).await?;
    Ok(finding.outcome(wait))
}

/// Records what concerns this connection alone.
async fn record_clear_refusal<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    finding: AttemptFinding<'_>,
    wait: i64,
) -> Result<RefreshOutcome> {
    let statement = failure_statement(context, of, &FailureDetails::without_doubt(finding, wait));
    write_failure(context, of, vec![statement], finding.error()).await?;
    Ok(finding.outcome(wait))
}

async fn record_transient_failure<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    finding: AttemptFinding<'_>,
    retry_after: Option<i64>,
) -> Result<RefreshOutcome> {
    let loaded = of.loaded;
    let wait = backoff_seconds(context, loaded.connection.failures, retry_after);
    let failure = failure_statement(context, of, &FailureDetails::without_doubt(finding, wait));
    let statements =
        [failure].into_iter().chain(client_backoff_statement(context, loaded, wait, retry_after)).collect();
    write_failure(context, of, statements, finding.error()).await?;
    Ok(finding.outcome(wait))
}

/// A failure of the app also pauses the client's other connections, for a minute at most unless the app says how long.
fn client_backoff_statement<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    wait: i64,
    told: Option<i64>,
) -> Option<Statement> {
    let until = context.now().plus(told.unwrap_or(wait.min(CLIENT_BACKOFF)));
    loaded.client.as_ref().map(|client| clients::back_off(client, until, told.is_some()))
}

/// The record of a failed attempt.
struct FailureDetails<'a> {
    finding: AttemptFinding<'a>,
    /// Seconds until the next one.
    wait: i64,
    /// Whether the lease is released.
    release_lease: bool,
    /// The hash of a token that may have been used.
    ambiguous_token_hash: Option<&'a str>,
}

impl<'a> FailureDetails<'a> {
    /// The token was surely not redeemed.
    fn without_doubt(finding: AttemptFinding<'a>, wait: i64) -> Self {
        Self { finding, wait, release_lease: true, ambiguous_token_hash: None }
    }
}

fn failure_statement<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    details: &FailureDetails<'_>,
) -> Statement {
    let now = context.now();
    let FailureDetails { finding, wait, release_lease, ambiguous_token_hash } = *details;
    let failure = AttemptFailure {
        next_attempt_at: now.plus(wait),
        release_lease,
        error: finding.error(),
        at: now,
        next_check_at: schedule::next_check_after_failure(now, &of.loaded.connection, wait.max(LEASE_AND_SLACK)),
        ambiguous_token_hash,
        asked_at: of.asked_at,
        refusal_update: finding.refusal_update(),
    };
    refreshes::record_failure(&of.attempt, &failure)
}

/// Writes the result of an attempt. If newer tokens were stored in the meantime, it has no meaning.
async fn write_failure<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    mut statements: Vec<Statement>,
    error: &str,
) -> Result<()> {
    log_failure(context, of.loaded, error);
    statements.push(refreshes::release_lease(&of.attempt, false));
    // Before a new mark is written.
    statements.splice(0..0, secret_opens_again(context, of.loaded));
    write_with_retries(context, statements).await?;
    Ok(())
}

/// Releases a lease without a request. If that fails, the lease ends by itself.
pub(super) async fn release_unsent<P: Ports>(context: &Context<P>, attempt: &AttemptRef) {
    if context.db().batch(vec![refreshes::release_lease(attempt, true)]).await.is_err() {
        context.log("warn", "lease_not_released", &json!({ "connection": attempt.connection.as_str() }));
    }
}

/// A result without a request: the scheduled run must not check it at every run.
pub(super) async fn postpone_check<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    reason: RefreshReason,
    outcome: RefreshOutcome,
) -> Result<RefreshOutcome> {
    let connection = &loaded.connection;
    if reason == RefreshReason::ScheduledCheck && connection.next_check_at.is_some() {
        let now = context.now();
        let after_pause = |until: Timestamp| schedule::next_check_after_pause(until, connection);
        let (next, evidence) = match &outcome {
            RefreshOutcome::Unavailable { retry_after } => {
                (after_pause(now.plus(*retry_after.max(&CLIENT_BACKOFF))), "held back: the app is failing")
            }
            RefreshOutcome::ClientMisconfigured => {
                let later = now.plus(LONGEST_BACKOFF);
                let later = loaded.client.as_ref().map_or(later, |client| client.backoff_until.max(later));
                (after_pause(later), "held back: the app refuses the client")
            }
            RefreshOutcome::Unreadable => {
                (schedule::next_check_of_unreadable(now, connection), "the stored credential does not open")
            }
            _ => (schedule::next_check_after(now, connection), "nothing to do"),
        };
        let delay = refreshes::postpone(connection, now, None, next, evidence, now);
        context.db().batch([delay].into_iter().chain(secret_opens_again(context, loaded)).collect()).await?;
    }
    Ok(outcome)
}

/// No request was sent, because the stored client cannot be used. Only a person can change that, so it is recorded
/// where people see it, and the pauses between checks grow to a day.
async fn record_unusable_client<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    error: &Error,
) -> RefreshOutcome {
    let problem = error.hints.client.unwrap_or(ClientProblem::SecretUnreadable);
    let connection = &loaded.connection;
    let (now, code) = (context.now(), problem.as_str());
    log_failure(context, loaded, code);
    let until = now.plus(backoff_seconds(context, connection.failures, Some(CLIENT_BACKOFF)));
    let next = schedule::next_check_after_growing_pause(now, connection, LONGEST_BACKOFF);
    let delay = refreshes::postpone(connection, until, Some(code), next, &format!("not asked: {code}"), now);
    let of_client = loaded.client.as_ref().filter(|_| problem.affects_every_connection());
    let mark = of_client.map(|client| clients::mark_misconfigured(client, now, code, until));
    match context.db().batch([delay].into_iter().chain(mark).collect()).await {
        Ok(_) => RefreshOutcome::ClientMisconfigured,
        Err(_) => RefreshOutcome::DatabaseUnavailable,
    }
}

/// An unreadable secret is reported until it can be read, whatever the app says: the key may be in the ring again.
pub(super) fn secret_opens_again<P: Ports>(context: &Context<P>, loaded: &LoadedConnection) -> Option<Statement> {
    let client = loaded.client.as_ref()?;
    let (_, code) = client.misconfigured.as_ref()?;
    let was_unreadable = ClientProblem::parse(code) == Some(ClientProblem::SecretUnreadable);
    (was_unreadable && client.stored_secret(&context.config.key_ring).is_some()).then(|| clients::mark_readable(client))
}

/// What an error means for the caller of a refresh. An error of the app (its issuer does not answer) counts as a
/// failure, so that it is not asked too often.
pub(super) async fn record_error<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    error: &Error,
) -> RefreshOutcome {
    context.log_cause(error);
    match error.code {
        ErrorCode::DatabaseUnavailable | ErrorCode::Misconfigured => RefreshOutcome::DatabaseUnavailable,
        ErrorCode::ClientMissing => record_unusable_client(context, loaded, error).await,
        _ => {
            let wait = backoff_seconds(context, loaded.connection.failures, error.hints.retry_after);
            let now = context.now();
            let until = now.plus(wait);
            let delay = refreshes::postpone(
                &loaded.connection,
                until,
                Some(error.code.as_str()),
                until.plus(CLIENT_BACKOFF),
                "the app could not be asked",
                now,
            );
            match context.db().batch(vec![delay]).await {
                Ok(_) => RefreshOutcome::Unavailable { retry_after: wait },
                Err(_) => RefreshOutcome::DatabaseUnavailable,
            }
        }
    }
}
