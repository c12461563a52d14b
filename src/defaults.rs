//! Default connections of apps: which connection a step gets that names an app.
//!
//! Owns who sees what moves when a default changes, and that a default always fits: of the app, of its environment, and
//! visible to whom it is for. A private connection is never the default of the workspace or of somebody else.

use crate::app::AppId;
use crate::audit::{Actor, EventType};
use crate::authorize::Caller;
use crate::connection::Connection;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{ConnectionId, EventId, WorkspaceId};
use crate::ports::{Database, Ports, Statement};
use crate::store::Page;
use crate::store::connections::{self, MOST_EXAMINED};
use crate::store::defaults::{self, AdoptedEvent, AppDefault, DefaultPosition, DefaultSlot, ListedDefault};

/// A default that was set or ended, and what was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedDefault {
    /// The default as it is now. None: it ended.
    pub now: Option<AppDefault>,
    /// The connection that it had before.
    pub before: Option<ConnectionId>,
    /// Workflows that used that one by default.
    pub workflows: Vec<String>,
}

/// Makes a connection the default.
///
/// # Errors
/// The connection is of another app or environment, or not visible to whom the default is for.
pub async fn put_default<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    slot: DefaultSlot,
    id: &ConnectionId,
    actor: &Actor,
) -> Result<ChangedDefault> {
    let workspace = caller.workspace();
    let connection = connections::get(context.db(), workspace, id).await?;
    let connection = connection.filter(|one| caller.sees_connection(one));
    let connection = connection.ok_or_else(Error::connection_not_found)?;
    require_fitting(&slot, &connection)?;
    let before = defaults::get(context.db(), workspace, &slot).await?;
    let now = context.now();
    let put = defaults::put(workspace, &slot, id, now);
    let event = if before.as_ref().is_some_and(|(old, _)| old.connection == *id) {
        None
    } else {
        let old = before.as_ref().map(|(old, _)| &old.connection);
        let detail = describe_slot(&slot, old.map(|old| format!("instead of {old}")).as_deref());
        Some(context.event_statement(workspace, id, EventType::DefaultChanged, actor, Some(&detail))?)
    };
    if !crate::store::all_or_nothing(context.db(), vec![put], event.into_iter().collect()).await? {
        return Err(Error::new(
            ErrorCode::Conflict,
            "The connection was changed or disconnected at the same moment. Nothing was set.",
        ));
    }
    let (before, workflows) = before.map_or((None, vec![]), |(old, workflows)| (Some(old.connection), workflows));
    Ok(ChangedDefault { now: Some(AppDefault { slot, connection: id.clone(), set_at: now }), before, workflows })
}

/// Ends a default. Where there is none, nothing changes.
pub async fn delete_default<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    slot: &DefaultSlot,
    actor: &Actor,
) -> Result<ChangedDefault> {
    let Some((old, workflows)) = defaults::get(context.db(), workspace, slot).await? else {
        return Ok(ChangedDefault { now: None, before: None, workflows: vec![] });
    };
    let detail = describe_slot(slot, Some("ended"));
    let event = context.event_statement(workspace, &old.connection, EventType::DefaultChanged, actor, Some(&detail))?;
    context.db().batch(vec![defaults::delete(workspace, slot), event]).await?;
    Ok(ChangedDefault { now: None, before: Some(old.connection), workflows })
}

/// A default, and the workflows that used its connection by default: a change moves them.
pub async fn find_default<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    slot: &DefaultSlot,
) -> Result<Option<(AppDefault, Vec<String>)>> {
    Ok(defaults::get(context.db(), workspace, slot).await?)
}

/// Defaults of a workspace, those that need a person first.
pub async fn list_defaults<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    app: Option<&AppId>,
    after: &DefaultPosition,
    limit: i64,
) -> Result<Page<ListedDefault>> {
    Ok(defaults::list(context.db(), workspace, app, after, limit, MOST_EXAMINED).await?)
}

fn require_fitting(slot: &DefaultSlot, connection: &Connection) -> Result<()> {
    if connection.app != slot.app {
        return Err(Error::invalid_field("connection", format!("is of {}, not of {}.", connection.app, slot.app)));
    }
    if let Some(environment) = slot.environment.filter(|one| connection.environment != Some(*one)) {
        let problem = format!(
            "is not of the environment {0}. Set it first: PATCH /v1/connections/{{id}} {{\"environment\": \"{0}\"}}.",
            environment.as_str()
        );
        return Err(Error::invalid_field("connection", problem));
    }
    let owner = connection.user.as_ref().map(|user| &user.id);
    if connection.shared || slot.user.is_some() && owner == slot.user.as_ref() {
        return Ok(());
    }
    Err(Error::invalid_field("connection", "is private, so it can be the default of its owner alone. Share it first."))
}

/// A slot for the audit log, and what became of it.
pub(crate) fn describe_slot(slot: &DefaultSlot, what: Option<&str>) -> String {
    let user = slot.user.as_ref().map_or_else(|| "the workspace".to_owned(), |user| format!("user {user}"));
    let environment = slot.environment.map(|one| format!(", {}", one.as_str())).unwrap_or_default();
    let what = what.map(|what| format!(": {what}")).unwrap_or_default();
    format!("{user}{environment}{what}")
}

/// The statements that make the first shared connection of an app its default. They belong in the transaction that
/// stores, shares or confirms one.
pub(crate) fn adopt_statements<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    app: &AppId,
    environment: Option<Environment>,
    actor: &Actor,
) -> Result<Vec<Statement>> {
    let new_id = || EventId::random(context.ports.random(), workspace.shard());
    let event = AdoptedEvent {
        ids: [new_id()?, new_id()?],
        event: EventType::DefaultChanged.as_str(),
        actor,
        detail: "the workspace: the first shared connection of its app",
        origin: &context.origin,
    };
    Ok(defaults::adopt_first(workspace, app, environment, event, context.now()))
}

/// The events about defaults that ended because their connection did, or no longer fits.
pub(crate) fn ended_events<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    ended: &[AppDefault],
    actor: &Actor,
) -> Result<Vec<Statement>> {
    ended
        .iter()
        .map(|one| {
            let detail = describe_slot(&one.slot, Some("ended"));
            context.event_statement(workspace, &one.connection, EventType::DefaultChanged, actor, Some(&detail))
        })
        .collect()
}
