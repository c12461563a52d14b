//! A connection, or one of its tokens, is dead.
//!
//! Owns the rule that it is so only when the app refused the very version that is stored for good, or when it has ended
//! and nothing can renew it; and the reason that a person is given. Refuses to bury what was reconnected or renewed
//! meanwhile.

use crate::caller::hash;
use crate::connection::{Connection, Reason};
use crate::core::Core;
use crate::error::Result;
use crate::frozen;
use crate::ports::{ErrandOutcome, Ports, Statement};
use crate::resolve::removal::Removal;
use crate::secret::Secret;
use crate::store;
use crate::store::refreshes::{self, Case, Renewal};
use crate::time::Timestamp;
use crate::token::Refusal;

use super::next_check_after;
use super::outcome::{insist, log_failure};
use super::redemption::Redemption;
use super::renewal::seal;

pub(super) async fn permanent<P: Ports>(
    core: &Core<P>,
    of: &Redemption<'_>,
    refusal: &Refusal,
) -> Result<ErrandOutcome> {
    if of.pick.which.is_some() {
        return lose_further(core, of, refusal).await;
    }
    let reason = if of.pick.mints {
        Reason::CredentialRejected
    } else {
        reason_of_death(core, &of.case.connection, &of.pick.secret)
    };
    let dead = refreshes::dead_after_attempt(&of.attempt, reason, &refusal.code, core.now());
    log_failure(core, of.case, &refusal.code);
    die(core, of.case, vec![dead, refreshes::release(&of.attempt, false)], reason, "refresh").await
}

/// An answer lost on the way explains a refusal of the token it rotated; else the app ended the grant,
/// at the time it had set or before.
fn reason_of_death<P: Ports>(core: &Core<P>, connection: &Connection, token: &Secret) -> Reason {
    let hash = hash(token.expose());
    let left_over = connection.intent.as_ref().is_some_and(|intent| intent.token_hash == hash);
    if left_over || connection.ambiguous_token_hash.as_deref() == Some(hash.as_str()) {
        Reason::LostRotation
    } else if connection.refresh_expires_at.is_some_and(|end| end <= core.now()) {
        Reason::Expired
    } else {
        Reason::Revoked
    }
}

/// One of several tokens is gone for good: the others go on, and what it was granted is missing from now on.
async fn lose_further<P: Ports>(core: &Core<P>, of: &Redemption<'_>, refusal: &Refusal) -> Result<ErrandOutcome> {
    let connection = &of.case.connection;
    let name = of.pick.which.as_deref().unwrap_or_default();
    log_failure(core, of.case, &refusal.code);
    let mut left = of.talk.credential.clone();
    left.others.remove(name);
    let prefix = format!("{name}:");
    let granted = connection.scopes_granted.iter().filter(|scope| !scope.starts_with(&prefix)).cloned().collect();
    let now = core.now();
    let renewal = Renewal {
        attempt: of.attempt.clone(),
        sealed: seal(core, connection, &left)?,
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
    let event = core.event(&connection.workspace, &connection.id, frozen::event::TOKEN_LOST, "refresh", Some(name))?;
    let removal = Removal::of_connection(core, &connection.id)?;
    let mut statements = vec![refreshes::persist(&renewal), store::events::if_changed(event)];
    statements.extend(removal.note_if_changed());
    let written = insist(core, statements).await?;
    removal.perform(core).await;
    let applied = written.first().is_some_and(|rows| rows.changes > 0);
    Ok(if applied { ErrandOutcome::Refreshed } else { ErrandOutcome::Gone })
}

/// Records that the token ended and nothing can renew it.
pub(super) async fn ended<P: Ports>(core: &Core<P>, case: &Case) -> Result<ErrandOutcome> {
    bury(core, case, Reason::RefreshTokenMissing, "the access token ended").await
}

pub(super) async fn bury<P: Ports>(
    core: &Core<P>,
    case: &Case,
    reason: Reason,
    evidence: &str,
) -> Result<ErrandOutcome> {
    let connection = &case.connection;
    let dead = refreshes::dead_after_probe(connection, reason, evidence, core.now());
    die(core, case, vec![dead], reason, "check").await
}

/// Declares a connection dead by the first of the statements. What was reconnected, renewed or ended meanwhile lives
/// on, and nothing is told of it.
async fn die<P: Ports>(
    core: &Core<P>,
    case: &Case,
    mut statements: Vec<Statement>,
    reason: Reason,
    actor: &str,
) -> Result<ErrandOutcome> {
    let connection = &case.connection;
    let event = core.event(
        &connection.workspace,
        &connection.id,
        frozen::event::NEEDS_RECONNECT,
        actor,
        Some(reason.as_str()),
    )?;
    let removal = Removal::of_connection(core, &connection.id)?;
    // The note comes only with the event, also when a batch that was applied is sent once more.
    let with = [store::events::if_changed(event)].into_iter().chain(removal.note_if_changed());
    statements.splice(1..1, with);
    let written = insist(core, statements).await;
    // Also when no answer came: it may have been applied all the same.
    removal.perform(core).await;
    if written?.first().is_some_and(|rows| rows.changes > 0) {
        return Ok(ErrandOutcome::Dead);
    }
    let now = store::connections::get(core.db(), &connection.workspace, &connection.id).await?;
    let is_dead = now.is_some_and(|now| now.reason.is_some() && now.generation == connection.generation);
    Ok(if is_dead { ErrandOutcome::Dead } else { ErrandOutcome::Gone })
}
