//! The people of a workspace: listed, made admin or member, and removed when they leave.
//!
//! Owns two rules. A workspace loses its last admin only if the caller says so. What somebody owns goes to somebody else
//! before they are removed, or to nobody: then what was private is seen by admins alone. A new admin has the role from their next sign-in on: a session that a weaker key opened for
//! them does not grow with it.

use crate::audit::{Actor, EventType};
use crate::cache;
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{ConnectionId, EventId, WorkspaceId};
use crate::ports::{Database, Ports, Statement};
use crate::store::Page;
use crate::store::events::{ChangedBy, EventSubject};
use crate::store::people::{self, PeopleFilter, Person, Transfer};
use crate::workspace::{Role, User};

/// Connections that change their owner in one transaction.
const TRANSFER_BATCH: i64 = 500;
/// Transactions of one request.
const MOST_BATCHES: usize = 10;

/// Reads a cursor of the list of people.
pub fn parse_cursor(text: &str) -> Option<String> {
    people::parse_cursor(text)
}

/// People in the order of their ids.
pub async fn list_people<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    filter: &PeopleFilter,
) -> Result<Page<Person>> {
    Ok(people::list(context.db(), workspace, filter).await?)
}

fn last_admin_error() -> Error {
    Error::new(
        ErrorCode::Conflict,
        "This person is the only admin of the workspace. Make somebody else an admin first, or send `leave_without_admin`: true to have no admin.",
    )
    .with_hints(|h| h.for_people = Some("This person is the only admin. Make somebody else an admin first.".into()))
}

fn person_event<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    person: &str,
    event: EventType,
    actor: &Actor,
    detail: Option<&str>,
) -> Result<Statement> {
    let subject = EventSubject { target: Some(person), ..EventSubject::default() };
    context.event_statement_about(workspace, event, actor, subject, detail)
}

/// Gives a person a role. A member loses the rights of an admin in all sessions at once; an admin has them from the next
/// sign-in on.
///
/// # Errors
/// `conflict` where it would leave the workspace without an admin.
pub async fn set_role<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    person: &Person,
    role: Role,
    without_admin: bool,
    actor: &Actor,
) -> Result<Person> {
    if person.role == role {
        return Ok(person.clone());
    }
    let id = person.user.id.as_str();
    let event = person_event(context, workspace, id, EventType::RoleChanged, actor, Some(role.as_str()))?;
    let db = context.audited_db(event, ChangedBy::First);
    let changed = match role {
        Role::Admin => people::make_admin(&db, workspace, id).await?,
        Role::Member => people::make_member(&db, workspace, id, without_admin).await?,
    };
    if changed {
        return Ok(Person { role, ..person.clone() });
    }
    match people::get(context.db(), workspace, id).await? {
        None => Err(Error::not_found("person")),
        // Somebody else has done it.
        Some(now) if now.role == role => Ok(now),
        Some(_) => Err(last_admin_error()),
    }
}

/// How a person is removed.
#[derive(Debug)]
pub struct Removal {
    /// The id of who gets their connections. None: nobody does, and those that are not shared are seen by admins alone.
    pub transfer_to: Option<String>,
    /// Whether the workspace may be left without an admin.
    pub without_admin: bool,
}

/// Removes a person: their sessions, sign-in links, open connect links and defaults end, and their connections go to
/// somebody else or lose their owner. Returns how many connections did.
///
/// # Errors
/// `conflict` where it would leave the workspace without an admin, or there are more connections than one request moves.
pub async fn remove<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    person: &Person,
    removal: &Removal,
    actor: &Actor,
) -> Result<usize> {
    let (db, id) = (context.db(), person.user.id.as_str());
    // Before any connection moves.
    let is_last = person.role == Role::Admin && !people::has_other_admin(db, workspace, id).await?;
    if is_last && !removal.without_admin {
        return Err(last_admin_error());
    }
    let heir = match &removal.transfer_to {
        None => None,
        Some(to) => Some(load_heir(context, workspace, id, to).await?),
    };
    let moved = transfer(context, workspace, id, heir.as_ref(), actor).await?;
    let detail = heir.as_ref().map(|to| format!("connections to {}", to.id));
    let event = person_event(context, workspace, id, EventType::PersonRemoved, actor, detail.as_deref())?;
    let audited = context.audited_db(event, ChangedBy::First);
    if people::delete(&audited, workspace, id, removal.without_admin, context.now()).await? {
        return Ok(moved);
    }
    if !people::list_owned(db, workspace, id, 1).await?.is_empty() {
        return Err(Error::new(
            ErrorCode::Conflict,
            "This person owns more connections than one request moves. Send the same request again to move the next ones.",
        )
        .with_hints(|h| {
            h.for_people = Some("This person owns more connections than can be moved at once. Press the button again to move the next ones.".into());
        }));
    }
    match people::get(db, workspace, id).await? {
        None => Err(Error::not_found("person")),
        Some(_) => Err(last_admin_error()),
    }
}

async fn load_heir<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, from: &str, to: &str) -> Result<User> {
    if from == to {
        return Err(Error::invalid_field("transfer_to", "is the person who is removed. Name somebody else."));
    }
    let found = people::get(context.db(), workspace, to).await?;
    found.map(|person| person.user).ok_or_else(|| {
        Error::invalid_field("transfer_to", "is nobody's id in this workspace. GET /v1/people lists the people.")
    })
}

async fn transfer<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    from: &str,
    to: Option<&User>,
    actor: &Actor,
) -> Result<usize> {
    let mut moved = 0;
    for _ in 0..MOST_BATCHES {
        let ids = people::list_owned(context.db(), workspace, from, TRANSFER_BATCH).await?;
        if ids.is_empty() {
            break;
        }
        // The entries show the earlier owner's connection; the scheduled run removes them.
        let entries = cache::schedule_connection_removals(context, &ids)?;
        let named = |id: ConnectionId| Ok((id, EventId::random(context.ports.random(), workspace.shard())?));
        let connections = ids.into_iter().map(named).collect::<Result<Vec<_>>>()?;
        let (origin, now) = (&*context.origin, context.now());
        let new = Transfer { from, to, connections: &connections, actor, origin, now };
        let statements = people::transfer(workspace, &new).into_iter().chain(entries).collect();
        context.db().batch(statements).await?;
        moved += connections.len();
    }
    Ok(moved)
}
