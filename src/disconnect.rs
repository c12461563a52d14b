//! Disconnect: revoke at the app, then erase, in an order that never leaves a usable credential behind.
//!
//! Owns that order: end it for everybody, delete its cache entry, revoke, erase. What the app does not confirm is tried again
//! ([`crate::revocation`]); what the cache does not confirm stays noted ([`crate::cache`]). Neither keeps the rest from being
//! done, so that a disconnect happens once. One that may be undone stops after the first two steps: a scheduled run does the
//! rest when its time is over.

use serde::Serialize;

use crate::audit::{Actor, EventType};
use crate::cache::{CacheRemoval, CacheRemovalStatus};
use crate::connection::Connection;
use crate::context::Context;
use crate::defaults::ended_events;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, EventId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Ports, Rows, Statement};
use crate::preconditions::Condition;
use crate::replacements::{ended_event, refuse_disconnect};
use crate::revocation::{self, PendingRevocation, RevocationOutcome};
use crate::store::defaults::{self, ReplacedDefaults};
use crate::store::events::{self, AuditedDatabase, ChangedBy, EventSubject, NewEvent};
use crate::store::{StoreResult, disconnected, refreshes, replacements};
use crate::time::Timestamp;

/// What a disconnect tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DisconnectResult {
    /// What became of the grant.
    pub revoked: RevocationOutcome,
    /// Whether it is tried again, for a day.
    pub retrying: bool,
}

/// Disconnects. From the first write on the connection does not exist, whatever app and cache say. Also answers the
/// defaults that ended with it: steps that name the app get the next one from now on.
pub async fn disconnect<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    actor: &Actor,
) -> Result<(DisconnectResult, CacheRemovalStatus, ReplacedDefaults)> {
    disconnect_if(context, workspace, id, actor, &Condition::default()).await
}

/// The same, only under a condition.
pub async fn disconnect_if<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    actor: &Actor,
    condition: &Condition,
) -> Result<(DisconnectResult, CacheRemovalStatus, ReplacedDefaults)> {
    let EndedConnection { ended, removal, line, replaced, answering } =
        end_connection(context, workspace, id, actor, condition, None).await?;
    let copies = removal.attempt(context).await;
    let mut then: Vec<_> = removal.delete_statement(copies).into_iter().collect();
    then.extend(ended_events(context, workspace, &replaced.defaults, actor)?);
    if let Some(answering) = answering {
        then.push(ended_event(context, workspace, id, &answering, actor)?);
    }
    let result = revoke_and_erase(context, &ended, &line, then).await?;
    Ok((result, copies, replaced))
}

/// How long a disconnect from the page may be undone, in seconds.
pub const UNDO_SECONDS: i64 = 300;

/// Disconnects until that is undone ([`crate::undo`]). From the first write on the connection does not exist. Its grant is
/// revoked by a scheduled run after the time that is returned.
pub async fn disconnect_for_now<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    actor: &Actor,
) -> Result<Timestamp> {
    let until = context.now().plus(UNDO_SECONDS);
    let EndedConnection { removal, line, replaced, answering, .. } =
        end_connection(context, workspace, id, actor, &Condition::default(), Some(until)).await?;
    let copies = removal.attempt(context).await;
    let mut statements = line.left_to_write();
    statements.extend(removal.delete_statement(copies));
    statements.extend(ended_events(context, workspace, &replaced.defaults, actor)?);
    if let Some(answering) = answering {
        statements.push(ended_event(context, workspace, id, &answering, actor)?);
    }
    if let Err(error) = context.db().batch(statements).await {
        // It is disconnected, and can be brought back: that is what the caller has to know.
        context.log_cause(&error.into());
    }
    Ok(until)
}

/// The word of the audit log for a grant that is not revoked yet. A line with it is told to no webhook and nobody by e-mail: the
/// line about the end is.
const PENDING: &str = "pending";

/// Does not wait for the end of the time in which a disconnect could be undone.
///
/// # Errors
/// There is none to end: it was brought back, or a scheduled run has it.
pub async fn revoke_now<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    actor: &Actor,
) -> Result<DisconnectResult> {
    let mut line = DisconnectLine::new(context, workspace, id, actor, None)?;
    // A cache that did not confirm the removal of the entry at the disconnect has it in its notes: it is tried once more.
    let removal = CacheRemoval::of_connection(context, id)?;
    let db = AuditedDatabase::new(context.db(), line.statement.clone(), ChangedBy::First);
    let ended = disconnected::end(&db, workspace, id, line.at).await?.ok_or_else(Error::connection_not_found)?;
    line.is_written = true;
    removal.attempt(context).await;
    revoke_and_erase(context, &ended, &line, vec![]).await
}

/// The line of the audit log about a disconnect. What became of the grant is added to it: a disconnect that is cut off is in the
/// log all the same, with who asked for it.
struct DisconnectLine {
    id: EventId,
    at: Timestamp,
    statement: Statement,
    is_written: bool,
}

impl DisconnectLine {
    fn new<P: Ports>(
        context: &Context<P>,
        workspace: &WorkspaceId,
        connection: &ConnectionId,
        actor: &Actor,
        detail: Option<&str>,
    ) -> Result<Self> {
        let (id, at) = (EventId::random(context.ports.random(), workspace.shard())?, context.now());
        let new = NewEvent {
            id: id.clone(),
            at,
            event: EventType::Disconnected,
            subject: EventSubject { connection: Some(connection), ..EventSubject::default() },
            actor,
            detail,
            origin: &context.origin,
        };
        Ok(Self { id, at, statement: events::insert(workspace, &new), is_written: false })
    }

    fn left_to_write(&self) -> Vec<Statement> {
        if self.is_written { vec![] } else { vec![self.statement.clone()] }
    }
}

/// A connection that has ended, and what ended with it.
struct EndedConnection {
    ended: Connection,
    removal: CacheRemoval,
    line: DisconnectLine,
    replaced: ReplacedDefaults,
    answering: Option<ConnectionId>,
}

/// The first write: it ends the connection for everybody, with its defaults and what answered for it.
async fn end_connection<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    actor: &Actor,
    condition: &Condition,
    undo_until: Option<Timestamp>,
) -> Result<EndedConnection> {
    let removal = CacheRemoval::of_connection(context, id)?;
    let note = removal.insert_if_changed_statement();
    let of_replacements = [replacements::fail_if_answering(id), replacements::end_of_connection(workspace, id)];
    let then: Vec<_> =
        note.into_iter().chain(of_replacements).chain(defaults::end_of_connection(workspace, id)).collect();
    let mut line = DisconnectLine::new(context, workspace, id, actor, undo_until.map(|_| PENDING))?;
    let unaudited = condition.db(context);
    let db = AuditedDatabase::new(&unaudited, line.statement.clone(), ChangedBy::First);
    let at = line.at;
    let (ended, answers) = match mark(&db, workspace, id, at, undo_until, then.clone()).await {
        Ok((ended, answers)) => {
            line.is_written = true;
            (ended.ok_or_else(Error::connection_not_found)?, answers)
        }
        // The end of a connection does not wait for its line: that comes with the erasing, or nothing is erased.
        Err(error) => {
            if error == DatabaseError::Constraint {
                condition.require_still_met(context).await?;
                refuse_disconnect(context, id).await?;
            }
            match mark(&unaudited, workspace, id, at, undo_until, then).await {
                Ok((Some(ended), answers)) => (ended, answers),
                Ok((None, _)) => return Err(error.into()),
                failed => return condition.explain(context, failed).await.and(Err(error.into())),
            }
        }
    };
    let replaced = defaults::read_ended(answers.get(answers.len().saturating_sub(2)..).unwrap_or_default())?;
    // Before the two of the defaults.
    let at_replacement = answers.len().saturating_sub(3);
    let answering = answers.get(at_replacement).map_or(Ok(None), replacements::read_ended)?;
    Ok(EndedConnection { ended, removal, line, replaced, answering })
}

async fn mark(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    now: Timestamp,
    undo_until: Option<Timestamp>,
    then: Vec<Statement>,
) -> StoreResult<(Option<Connection>, Vec<Rows>)> {
    match undo_until {
        Some(until) => refreshes::mark_deleted_for_now(db, workspace, id, until, then).await,
        None => refreshes::mark_deleted(db, workspace, id, now, then).await,
    }
}

/// Revokes what an ended connection had, and erases it, with these statements in the same transaction.
async fn revoke_and_erase<P: Ports>(
    context: &Context<P>,
    ended: &Connection,
    line: &DisconnectLine,
    then: Vec<Statement>,
) -> Result<DisconnectResult> {
    let grant = PendingRevocation::of_connection(context, ended);
    let known = revocation::load_surroundings(context, std::slice::from_ref(&grant)).await?;
    let revoked = grant.revoke(context, &known, 0).await;
    let mut statements = grant.outcome_statements(context, revoked)?;
    statements.extend(line.left_to_write());
    let detail = revocation::outcome_code(revoked);
    statements.push(events::set_detail(&ended.workspace, &ended.id, &line.id, line.at, detail));
    statements.extend(refreshes::erase(&ended.workspace, &ended.id));
    statements.extend(then);
    context.db().batch(statements).await?;
    let retrying = revoked == RevocationOutcome::Failed && grant.is_retried();
    Ok(DisconnectResult { revoked, retrying })
}
