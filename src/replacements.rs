//! One connection answers for another of the same app: whoever resolves the first gets the second.
//!
//! Owns who may answer for whom, what moves, and that a connection which answers for another one is not ended, and not
//! changed so that it no longer fits. Refuses chains: one look-up finds the connection that answers. The callers decide
//! that whoever asks has authority over both. docs/replace.md has the rules.

use crate::audit::{Actor, EventType};
use crate::authorize::Caller;
use crate::cache::{CacheRemoval, CacheRemovalStatus};
use crate::connection::{Connection, ConnectionStatus, ReconnectReason};
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Ports, Statement};
use crate::preconditions::{IfMatch, ReadState};
use crate::resolve::reconnect_url;
use crate::store;
use crate::store::connections::ListedConnection;
use crate::store::events::EventSubject;
use crate::store::replacements::{self, MOST_REPLACED, Replacement};
use crate::store::uses::{self, Use};

/// Steps that are named where they move, at most.
const MOST_STEPS: i64 = 200;

/// What answers for a connection from now on, and what did before.
#[derive(Debug)]
pub struct ChangedReplacement {
    /// The connection that callers ask for.
    pub connection: ConnectionId,
    /// The one that answers. `None`: itself.
    pub replaced_by: Option<ConnectionId>,
    /// The one that answered before. `None`: itself.
    pub before: Option<ConnectionId>,
    /// The steps that used it, and get another connection from now on. Up to 200.
    pub moved: Vec<Use>,
    /// What became of the copy in the cache.
    pub copies: CacheRemovalStatus,
}

/// Lets `with` answer for a connection. The caller has authority over both.
///
/// # Errors
/// They do not fit, or are part of another replacement. The error says what to do.
pub async fn replace<P: Ports>(
    context: &Context<P>,
    listed: &ListedConnection,
    with: &ListedConnection,
    across_environments: bool,
    actor: &Actor,
    if_match: &IfMatch,
) -> Result<ChangedReplacement> {
    let (connection, answering) = (&listed.connection, &with.connection);
    let condition = if_match.condition(Some(ReadState::of_connection(connection)))?;
    let before = replacements::get(context.db(), &connection.workspace, &connection.id).await?;
    require_fitting(connection, answering, across_environments)?;
    require_usable(context, answering)?;
    require_unchained(context, connection, with).await?;
    let new = Replacement { replaced_by: answering.id.clone(), across_environments };
    if before.as_ref() == Some(&new) {
        let before = before.map(|one| one.replaced_by);
        return Ok(unchanged(connection, before));
    }
    let moved = list_moved(context, connection).await?;
    let instead = before.as_ref().map(|one| format!("instead of {}", one.replaced_by));
    let events =
        events(context, &connection.workspace, EventType::Replaced, actor, [&connection.id, &answering.id], instead)?;
    let removal = CacheRemoval::of_connection(context, &connection.id)?;
    let put = replacements::put(&connection.workspace, &connection.id, &new, context.now());
    let then = events.into_iter().chain(removal.insert_statement()).collect();
    if !store::all_or_nothing(&condition.db(context), vec![put], then).await? {
        condition.require_still_met(context).await?;
        return Err(Error::new(
            ErrorCode::Conflict,
            "One of the two connections was changed at the same moment. Nothing was replaced. Read both again, and repeat it if it is still right.",
        ));
    }
    Ok(ChangedReplacement {
        connection: connection.id.clone(),
        replaced_by: Some(new.replaced_by),
        before: before.map(|one| one.replaced_by),
        moved,
        copies: removal.perform(context).await,
    })
}

/// A connection answers for itself again. Where it does already, nothing changes.
///
/// # Errors
/// It is not as the caller requires.
pub async fn undo<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    actor: &Actor,
    if_match: &IfMatch,
) -> Result<ChangedReplacement> {
    let condition = if_match.condition(Some(ReadState::of_connection(connection)))?;
    let workspace = &connection.workspace;
    let Some(before) = replacements::get(context.db(), workspace, &connection.id).await? else {
        return Ok(unchanged(connection, None));
    };
    let moved = list_moved(context, connection).await?;
    let ids = [&connection.id, &before.replaced_by];
    let events = events(context, workspace, EventType::ReplacementEnded, actor, ids, None)?;
    let removal = CacheRemoval::of_connection(context, &connection.id)?;
    let then = events.into_iter().chain(removal.insert_statement()).collect();
    let delete = vec![replacements::delete(workspace, &connection.id)];
    if !store::all_or_nothing(&condition.db(context), delete, then).await? {
        condition.require_still_met(context).await?;
        // Somebody else has undone it.
        return Ok(unchanged(connection, None));
    }
    Ok(ChangedReplacement {
        connection: connection.id.clone(),
        replaced_by: None,
        before: Some(before.replaced_by),
        moved,
        copies: removal.perform(context).await,
    })
}

fn unchanged(connection: &Connection, answering: Option<ConnectionId>) -> ChangedReplacement {
    ChangedReplacement {
        connection: connection.id.clone(),
        replaced_by: answering.clone(),
        before: answering,
        moved: vec![],
        copies: CacheRemovalStatus::Removed,
    }
}

async fn list_moved<P: Ports>(context: &Context<P>, connection: &Connection) -> Result<Vec<Use>> {
    Ok(uses::list(context.db(), &connection.workspace, &connection.id, ("", ""), MOST_STEPS).await?.data)
}

/// The lines about both: the replaced one, and the one that answers for it.
fn events<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    event: EventType,
    actor: &Actor,
    [replaced, answering]: [&ConnectionId; 2],
    instead: Option<String>,
) -> Result<Vec<Statement>> {
    let instead = instead.map(|text| format!(", {text}")).unwrap_or_default();
    [
        (replaced, answering, format!("by {answering}{instead}")),
        (answering, replaced, format!("it answers for {replaced}")),
    ]
    .into_iter()
    .map(|(about, other, detail)| {
        let subject = EventSubject { connection: Some(about), app: None, target: Some(other.as_str()) };
        context.event_statement_about(workspace, event, actor, subject, Some(&detail))
    })
    .collect()
}

/// The line about a connection that answered for one which has ended.
pub(crate) fn ended_event<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    ended: &ConnectionId,
    answering: &ConnectionId,
    actor: &Actor,
) -> Result<Statement> {
    let subject = EventSubject { connection: Some(answering), app: None, target: Some(ended.as_str()) };
    let detail = format!("{ended} was disconnected");
    context.event_statement_about(workspace, EventType::ReplacementEnded, actor, subject, Some(&detail))
}

fn require_fitting(connection: &Connection, answering: &Connection, across_environments: bool) -> Result<()> {
    let wrong = |problem: String| Err(Error::invalid_field("with", problem));
    if connection.id == answering.id {
        return wrong("is the connection itself. Name the one that is to answer for it.".into());
    }
    if connection.app != answering.app {
        return wrong(format!("is of {}, not of {}.", answering.app, connection.app));
    }
    let owner = |one: &Connection| one.user.as_ref().map(|user| user.id.clone());
    if !answering.shared && (connection.shared || owner(connection) != owner(answering)) {
        return wrong("is private, and others use the connection that it would answer for. Share it first: PATCH /v1/connections/{id} {\"shared\": true}.".into());
    }
    if connection.environment == answering.environment || across_environments {
        return Ok(());
    }
    let name = |one: &Connection| one.environment.map_or("unknown", Environment::as_str);
    let detail = format!(
        "The connection is for the environment {}, and the one that would answer for it for {}. Set the environment of one of them (PATCH /v1/connections/{{id}}), or repeat this with \"across_environments\": true.",
        name(connection),
        name(answering)
    );
    Err(Error::new(ErrorCode::EnvironmentsDiffer, detail))
}

/// Nobody wants to be given a connection that does not work. One that stops to work later is reported as its own.
fn require_usable<P: Ports>(context: &Context<P>, answering: &Connection) -> Result<()> {
    match answering.shown_status(&context.config.key_ring) {
        (ConnectionStatus::Connected, _) => Ok(()),
        (ConnectionStatus::AwaitingConfirmation, _) => Err(Error::new(
            ErrorCode::AwaitingConfirmation,
            "The connection that would answer was made through a link, and the product that made the link has not confirmed the person yet (POST /v1/links/{id}/confirm).",
        )),
        (ConnectionStatus::NeedsReconnect, reason) => {
            let reason = reason.unwrap_or(ReconnectReason::CredentialRejected);
            let detail = format!(
                "{} The connection that would answer must be reconnected first, by a person at reconnect_url.",
                reason.explanation()
            );
            Err(Error::new(ErrorCode::NeedsReconnect, detail).with_hints(|hints| {
                hints.reason = Some(reason.as_str().to_owned());
                hints.reconnect_url = Some(reconnect_url(context, &answering.id, &[]));
            }))
        }
    }
}

async fn require_unchained<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    with: &ListedConnection,
) -> Result<()> {
    if with.replaced_by.is_some() {
        return Err(Error::new(
            ErrorCode::Conflict,
            "The connection that would answer is replaced itself (`replaced_by`). Name the one that answers for it, or undo that first: DELETE /v1/connections/{id}/replace.",
        ));
    }
    if replacements::count_replaced(context.db(), &connection.id).await? > 0 {
        return Err(in_use_error("it can't be replaced itself"));
    }
    if replacements::count_replaced(context.db(), &with.connection.id).await? >= MOST_REPLACED {
        let detail = format!(
            "The connection answers for {MOST_REPLACED} others already. Let the steps name it directly, and undo some of those."
        );
        return Err(Error::new(ErrorCode::LimitReached, detail));
    }
    Ok(())
}

/// The connection answers for another one.
fn in_use_error(what: &str) -> Error {
    let detail = format!(
        "This connection answers for others, so {what}. `replaces` of this connection names them: undo each first, by DELETE /v1/connections/{{id}}/replace with the id of the replaced one, or let another connection answer for it."
    );
    let for_people = "This connection answers for others. Its page names them: end each replacement first, on the page of the replaced connection.";
    Error::new(ErrorCode::ReplacementInUse, detail).with_hints(|hints| hints.for_people = Some(for_people.into()))
}

/// What a disconnect is refused with whose batch has failed, if that is the reason.
pub(crate) async fn refuse_disconnect<P: Ports>(context: &Context<P>, id: &ConnectionId) -> Result<()> {
    if replacements::count_replaced(context.db(), id).await? == 0 {
        return Ok(());
    }
    Err(in_use_error("it can't be disconnected"))
}

/// What an edit is refused with whose batch has failed, if that is the reason.
pub(crate) async fn refuse_unfit_edit<P: Ports>(context: &Context<P>, id: &ConnectionId) -> Result<()> {
    if !replacements::is_involved(context.db(), id).await? {
        return Ok(());
    }
    let for_people = "This connection and another one are part of a replacement, and would no longer fit. End the replacement first.";
    Err(Error::new(
        ErrorCode::ReplacementInUse,
        "One of two connections of which one answers for the other would no longer fit: both must be seen by the same people, and be for the same environment. Undo the replacement first (DELETE /v1/connections/{id}/replace), or make it again with \"across_environments\": true.",
    )
    .with_hints(|hints| hints.for_people = Some(for_people.into())))
}

/// What the steps of a connection used before is no longer told.
pub async fn acknowledge_changes<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    actor: &Actor,
) -> Result<bool> {
    let workspace = &connection.workspace;
    let event = context.event_statement(workspace, &connection.id, EventType::ChangesAcknowledged, actor, None)?;
    let [acknowledge, forget] = uses::acknowledge_changes(workspace, &connection.id);
    Ok(store::all_or_nothing(context.db(), vec![forget], vec![acknowledge, event]).await?)
}

/// The connections that a person may let answer for one: of the same app, and theirs to change.
pub async fn list_candidates<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    connection: &Connection,
    limit: i64,
) -> Result<Vec<ListedConnection>> {
    let filter =
        store::connections::ConnectionFilter { app: Some(connection.app.clone()), limit, ..caller.connection_filter() };
    let mut found = store::connections::list(context.db(), caller.workspace(), &filter, context.now()).await?.data;
    found.retain(|one| {
        let other = &one.connection;
        other.id != connection.id
            && other.status == ConnectionStatus::Connected
            && one.replaced_by.is_none()
            && caller.may_change(other)
            && require_fitting(connection, other, true).is_ok()
    });
    Ok(found)
}
