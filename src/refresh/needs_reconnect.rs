//! A connection needs a reconnect, or one of its tokens is lost.
//!
//! Owns the rule that this happens only if the app permanently refused the stored version, or if it has expired and
//! cannot be refreshed; and the reason for a person. Does not mark what was reconnected or refreshed in the meantime.

use crate::audit::{Actor, EventType};
use crate::cache::CacheRemoval;
use crate::caller::hash_secret;
use crate::connection::{Connection, ReconnectReason};
use crate::context::Context;
use crate::error::Result;
use crate::ports::{Ports, RefreshOutcome, Statement};
use crate::schedule::next_check_after;
use crate::secret::Secret;
use crate::store;
use crate::store::refreshes::{self, LoadedConnection, Renewal};
use crate::time::Timestamp;
use crate::token::AppRefusal;

use super::attempt::RefreshAttempt;
use super::health::EndFinding;
use super::record::{log_failure, write_with_retries};
use super::renewal::seal_credential;

pub(super) async fn record_permanent_refusal<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    refusal: &AppRefusal,
) -> Result<RefreshOutcome> {
    if of.selected.token_name.is_some() {
        return drop_refused_token(context, of, refusal).await;
    }
    let reason = if of.selected.issues_tokens {
        ReconnectReason::CredentialRejected
    } else {
        reconnect_reason(context, &of.loaded.connection, &of.selected.secret)
    };
    let dead = refreshes::mark_needs_reconnect_after_attempt(&of.attempt, reason, &refusal.code, context.now());
    log_failure(context, of.loaded, &refusal.code);
    write_needs_reconnect(
        context,
        of.loaded,
        vec![dead, refreshes::release_lease(&of.attempt, false)],
        reason,
        &Actor::Refresh,
    )
    .await
}

/// A lost response explains a refusal of the token that it rotated. Otherwise the app ended the grant, at its expiry or
/// before.
fn reconnect_reason<P: Ports>(context: &Context<P>, connection: &Connection, token: &Secret) -> ReconnectReason {
    let hash = hash_secret(token.expose());
    let left_over = connection.lease.as_ref().is_some_and(|lease| lease.token_hash == hash);
    if left_over || connection.ambiguous_token_hash.as_deref() == Some(hash.as_str()) {
        ReconnectReason::LostRotation
    } else if connection.refresh_expires_at.is_some_and(|end| end <= context.now()) {
        ReconnectReason::Expired
    } else {
        ReconnectReason::Revoked
    }
}

/// One of several tokens is lost: the others are kept, and its scopes are missing from now on.
async fn drop_refused_token<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    refusal: &AppRefusal,
) -> Result<RefreshOutcome> {
    let connection = &of.loaded.connection;
    let name = of.selected.token_name.as_deref().unwrap_or_default();
    log_failure(context, of.loaded, &refusal.code);
    let mut left = of.refresh_context.credential.clone();
    left.other_tokens.remove(name);
    let prefix = format!("{name}:");
    let granted = connection.scopes_granted.iter().filter(|scope| !scope.starts_with(&prefix)).cloned().collect();
    let now = context.now();
    let renewal = Renewal {
        attempt: of.attempt.clone(),
        sealed: seal_credential(context, connection, &left)?,
        expires_at: left.expires_at().map(Timestamp::unix),
        refreshed_at: connection.refreshed_at.map(Timestamp::unix),
        refresh_expires_at: connection.refresh_expires_at.map(Timestamp::unix),
        refresh_idle_until: None,
        refreshable: left.is_refreshable(),
        variables: None,
        destinations: None,
        scopes: Some(granted),
        failures: 0,
        next_attempt_at: 0,
        error: Some(refusal.code.clone()),
        at: now.unix(),
        evidence: format!("refresh: the {name} token was refused"),
        next_check_at: next_check_after(now, connection).unix(),
    };
    let event = context.event_statement(
        &connection.workspace,
        &connection.id,
        EventType::TokenLost,
        &Actor::Refresh,
        Some(name),
    )?;
    let removal = CacheRemoval::of_connection(context, &connection.id)?;
    let mut statements = vec![refreshes::persist_renewal(&renewal), store::events::insert_if_changed(event)];
    statements.extend(removal.insert_if_changed_statement());
    let written = write_with_retries(context, statements).await?;
    removal.perform(context).await;
    let applied = written.first().is_some_and(|rows| rows.changes > 0);
    Ok(if applied { RefreshOutcome::Refreshed } else { RefreshOutcome::NotFound })
}

/// Records that the token expired and cannot be refreshed.
pub(super) async fn mark_expired<P: Ports>(context: &Context<P>, loaded: &LoadedConnection) -> Result<RefreshOutcome> {
    mark_needs_reconnect(context, loaded, EndFinding::AccessTokenEnded).await
}

pub(super) async fn mark_needs_reconnect<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    finding: EndFinding,
) -> Result<RefreshOutcome> {
    let (connection, reason, evidence) = (&loaded.connection, finding.reason(), finding.evidence());
    let dead = refreshes::mark_needs_reconnect_after_probe(connection, reason, evidence, context.now());
    write_needs_reconnect(context, loaded, vec![dead], reason, &Actor::Check).await
}

/// Marks a connection with the first of the statements. A connection that was reconnected, refreshed or ended in the
/// meantime is not changed, and no event is written.
async fn write_needs_reconnect<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    mut statements: Vec<Statement>,
    reason: ReconnectReason,
    actor: &Actor,
) -> Result<RefreshOutcome> {
    let connection = &loaded.connection;
    let event = context.event_statement(
        &connection.workspace,
        &connection.id,
        EventType::NeedsReconnect,
        actor,
        Some(reason.as_str()),
    )?;
    let removal = CacheRemoval::of_connection(context, &connection.id)?;
    // The deletion is recorded only together with the event, also if an applied batch is sent again.
    let with = [store::events::insert_if_changed(event)].into_iter().chain(removal.insert_if_changed_statement());
    statements.splice(1..1, with);
    let written = write_with_retries(context, statements).await;
    // Also if no answer arrived: the batch may have been applied.
    removal.perform(context).await;
    if written?.first().is_some_and(|rows| rows.changes > 0) {
        return Ok(RefreshOutcome::NeedsReconnect);
    }
    let now = store::connections::get(context.db(), &connection.workspace, &connection.id).await?;
    let is_dead = now.is_some_and(|now| now.reason.is_some() && now.generation == connection.generation);
    Ok(if is_dead { RefreshOutcome::NeedsReconnect } else { RefreshOutcome::NotFound })
}
