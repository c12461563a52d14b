//! The people of a workspace: listed, made admin or member, and removed when they leave.
//!
//! Owns two rules. A workspace loses its last admin only if the caller says so. What somebody owns goes to somebody else
//! before they are removed. A new admin has the role from their next sign-in on: a session that a weaker key opened for
//! them does not grow with it.

use crate::audit::Actor;
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{ConnectionId, EventId, WorkspaceId};
use crate::ports::Ports;
use crate::store::Page;
use crate::store::people::{self, PeopleFilter, Person};
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
) -> Result<Person> {
    let (db, id) = (context.db(), person.user.id.as_str());
    let changed = match role {
        Role::Admin => people::make_admin(db, workspace, id).await?,
        Role::Member => people::make_member(db, workspace, id, without_admin).await?,
    };
    if changed {
        return Ok(Person { role, ..person.clone() });
    }
    match people::get(db, workspace, id).await? {
        None => Err(Error::not_found("person")),
        Some(_) => Err(last_admin_error()),
    }
}

/// How a person is removed.
#[derive(Debug)]
pub struct Removal {
    /// The id of who gets their connections.
    pub transfer_to: Option<String>,
    /// Whether the workspace may be left without an admin.
    pub without_admin: bool,
}

/// Removes a person: their sessions, sign-in links and open connect links end, and their connections go to somebody else.
/// Returns how many connections did.
///
/// # Errors
/// `conflict` where it would leave the workspace without an admin, or connections without an owner.
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
    let moved = match &removal.transfer_to {
        None => 0,
        Some(to) => transfer(context, workspace, id, &load_heir(context, workspace, id, to).await?, actor).await?,
    };
    if people::delete(db, workspace, id, removal.without_admin, context.now()).await? {
        return Ok(moved);
    }
    if !people::list_owned(db, workspace, id, 1).await?.is_empty() {
        return Err(still_owner_error(removal.transfer_to.is_some()));
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
    to: &User,
    actor: &Actor,
) -> Result<usize> {
    let mut moved = 0;
    for _ in 0..MOST_BATCHES {
        let ids = people::list_owned(context.db(), workspace, from, TRANSFER_BATCH).await?;
        if ids.is_empty() {
            break;
        }
        let named = |id: ConnectionId| Ok((id, EventId::random(context.ports.random(), workspace.shard())?));
        let named = ids.into_iter().map(named).collect::<Result<Vec<_>>>()?;
        people::transfer(context.db(), workspace, from, to, &named, (actor, context.now())).await?;
        moved += named.len();
    }
    Ok(moved)
}

fn still_owner_error(moved_some: bool) -> Error {
    let detail = if moved_some {
        "This person owns more connections than one request moves. Send the same request again to move the next ones."
    } else {
        "This person owns connections. Name in `transfer_to` the person who gets them, or disconnect them first."
    };
    Error::new(ErrorCode::Conflict, detail)
}
