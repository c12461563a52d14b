//! Disconnect: revoke at the app, then erase, in an order that never leaves a usable credential behind.
//!
//! Owns that order: end it for everybody, delete its cache entry, revoke, erase. What the app does not confirm is tried again
//! ([`crate::revocation`]); what the cache does not confirm stays noted ([`crate::cache`]). Neither keeps the rest from being
//! done, so that a disconnect happens once.

use serde::Serialize;

use crate::audit::{Actor, EventType};
use crate::cache::{CacheRemoval, CacheRemovalStatus};
use crate::context::Context;
use crate::defaults::ended_events;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, EventId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Ports};
use crate::preconditions::Condition;
use crate::replacements::{ended_event, refuse_disconnect};
use crate::revocation::{self, PendingRevocation, RevocationOutcome};
use crate::store::defaults::{self, ReplacedDefaults};
use crate::store::events::{self, AuditedDatabase, ChangedBy, EventSubject, NewEvent};
use crate::store::{refreshes, replacements};

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
    let removal = CacheRemoval::of_connection(context, id)?;
    let note = removal.insert_if_changed_statement();
    let of_replacements = [replacements::fail_if_answering(id), replacements::end_of_connection(workspace, id)];
    let then: Vec<_> =
        note.into_iter().chain(of_replacements).chain(defaults::end_of_connection(workspace, id)).collect();
    // What became of the grant is added to it: a disconnect that is cut off is in the log all the same, with who asked for it.
    let (event, at) = (EventId::random(context.ports.random(), workspace.shard())?, context.now());
    let new = NewEvent {
        id: event.clone(),
        at,
        event: EventType::Disconnected,
        subject: EventSubject { connection: Some(id), ..EventSubject::default() },
        actor,
        detail: None,
        origin: &context.origin,
    };
    let line = events::insert(workspace, &new);
    let unaudited = condition.db(context);
    let db = AuditedDatabase::new(&unaudited, line.clone(), ChangedBy::First);
    let (ended, line, answers) = match refreshes::mark_deleted(&db, workspace, id, at, then.clone()).await {
        Ok((ended, answers)) => (ended.ok_or_else(Error::connection_not_found)?, None, answers),
        // The end of a connection does not wait for its line: that comes with the erasing, or nothing is erased.
        Err(error) => {
            if error == DatabaseError::Constraint {
                condition.require_still_met(context).await?;
                refuse_disconnect(context, id).await?;
            }
            match refreshes::mark_deleted(&unaudited, workspace, id, at, then).await {
                Ok((Some(ended), answers)) => (ended, Some(line), answers),
                Ok((None, _)) => return Err(error.into()),
                failed => return condition.explain(context, failed).await.and(Err(error.into())),
            }
        }
    };
    let replaced = defaults::read_ended(answers.get(answers.len().saturating_sub(2)..).unwrap_or_default())?;
    // Before the two of the defaults.
    let at_replacement = answers.len().saturating_sub(3);
    let answering = answers.get(at_replacement).map_or(Ok(None), replacements::read_ended)?;
    let copies = removal.attempt(context).await;
    let grant = PendingRevocation::of_connection(context, &ended);
    let known = revocation::load_surroundings(context, std::slice::from_ref(&grant)).await?;
    let revoked = grant.revoke(context, &known, 0).await;
    let mut statements = grant.outcome_statements(context, revoked)?;
    statements.extend(line);
    statements.push(events::set_detail(workspace, id, &event, at, revocation::outcome_code(revoked)));
    statements.extend(refreshes::erase(&ended.workspace, &ended.id));
    statements.extend(removal.delete_statement(copies));
    statements.extend(ended_events(context, &ended.workspace, &replaced.defaults, actor)?);
    if let Some(answering) = answering {
        statements.push(ended_event(context, &ended.workspace, id, &answering, actor)?);
    }
    context.db().batch(statements).await?;
    let retrying = revoked == RevocationOutcome::Failed && grant.is_retried();
    Ok((DisconnectResult { revoked, retrying }, copies, replaced))
}
