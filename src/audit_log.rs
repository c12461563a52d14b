//! The audit log of a workspace: it is searched, and says which credentials were handed out and whose key was refused.
//!
//! Owns when such a line is written: before the answer, after it, or not at all. Every change writes its own line, in the
//! transaction of the change. Refuses to write for keys that do not exist: strangers leave nothing in the database.

use crate::audit::{AuditReads, EventType};
use crate::authorize::{Caller, admin_required, unauthorized};
use crate::context::Context;
use crate::error::Result;
use crate::ids::{ApiKeyId, ConnectionId, EventId};
use crate::ports::{Database, Ports};
use crate::resolve::{DeferredTask, ResolveRequest, ResolvedCredential, Source};
use crate::store::Page;
use crate::store::connections;
use crate::store::events::{self, EventFilter, FoundLine, NewRead};
use crate::workspace::Role;

/// Lines of the audit log that a caller may see, newest first. A key with allow-lists sees those of its own connections.
pub(crate) async fn search_events<P: Ports, T: FoundLine>(
    context: &Context<P>,
    caller: &Caller<'_>,
    filter: EventFilter,
) -> Result<Page<T>> {
    let filter = match caller {
        Caller::Key(key) => EventFilter {
            connections: key.connections.clone(),
            apps: key.apps.clone(),
            environment: key.environment,
            ..filter
        },
        Caller::User(session, _) if session.role == Role::Admin => filter,
        Caller::User(..) => return Err(admin_required()),
    };
    Ok(events::search(context.db(), caller.workspace(), &filter).await?)
}

/// The names of connections that lines mention by their ids, as they are now. Those that are gone have none. Asks nothing
/// where no id is given.
pub async fn find_connection_names<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    ids: &[ConnectionId],
) -> Result<Vec<(ConnectionId, String)>> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    Ok(connections::list_names_by_ids(context.db(), caller.workspace(), ids).await?)
}

/// The line about a credential that was returned or used for a caller, if the operator wants one for each. A durable one must be written before the answer:
/// see [`write_durable_events`].
pub fn event_of_issued_credential<P: Ports>(
    context: &Context<P>,
    key: &ApiKeyId,
    event: EventType,
    request: Option<&ResolveRequest>,
    resolved: &ResolvedCredential,
) -> Result<Option<DeferredTask>> {
    let is_durable = match context.config.audit_reads {
        AuditReads::Sampled => return Ok(None),
        AuditReads::All => false,
        AuditReads::Durable => true,
    };
    let statement = events::insert_read(&NewRead {
        id: EventId::random(context.ports.random(), key.shard())?,
        event,
        at: context.now(),
        key,
        connection: &resolved.id,
        requested: resolved.requested_id.as_ref(),
        source: match resolved.source {
            Source::Database => "database",
            Source::Cache => "cache",
        },
        workflow: request.and_then(|request| request.workflow.as_deref()),
        step: request.and_then(|request| request.step.as_deref()),
        origin: &context.origin,
    });
    Ok(Some(DeferredTask::WriteEvent { shard: key.shard(), statement, is_durable }))
}

/// Whether an answer waits for a line.
pub fn has_durable_events(tasks: &[DeferredTask]) -> bool {
    tasks.iter().any(|task| matches!(task, DeferredTask::WriteEvent { is_durable: true, .. }))
}

/// Writes the lines without which there is no answer, and takes them from what is done after it.
///
/// # Errors
/// A line was not written.
pub async fn write_durable_events<P: Ports>(context: &Context<P>, tasks: &mut Vec<DeferredTask>) -> Result<()> {
    let (mut statements, mut others) = (vec![], vec![]);
    for task in std::mem::take(tasks) {
        match task {
            DeferredTask::WriteEvent { statement, is_durable: true, .. } => statements.push(statement),
            other => others.push(other),
        }
    }
    *tasks = others;
    let written = context.db().batch(statements).await?;
    // Otherwise the key was erased since it was read.
    if written.iter().all(|rows| rows.changes > 0) { Ok(()) } else { Err(unauthorized()) }
}

/// What is to be written after the answer to a key whose authentication was refused. The same for a key that does not exist:
/// then nothing is written, at the same cost.
pub fn refusal_task<P: Ports>(context: &Context<P>, key: &ApiKeyId) -> Option<DeferredTask> {
    let now = context.now();
    if context.ports.isolate_cache().count_refusal("key", key.as_str(), now) > 1 {
        return None;
    }
    let id = EventId::random(context.ports.random(), key.shard()).ok()?;
    let statement = events::insert_refusal(&id, key, &context.origin, now);
    Some(DeferredTask::WriteEvent { shard: key.shard(), statement, is_durable: false })
}
