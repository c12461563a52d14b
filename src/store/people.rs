//! Rows of `people`: who has signed in to a workspace, or owns a connection in it.
//!
//! Triggers insert the rows, whichever statement opens a session or makes a connection (`migrations/0024_people.sql`).
//! Owns how a person's role changes and how a person is removed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Columns, FromRow, Page, StoreResult, all_or_nothing, json_text, query_first, read_all, run_statement};
use crate::audit::{Actor, EventType, RequestOrigin};
use crate::ids::{ConnectionId, EventId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Statement};
use crate::sql;
use crate::time::Timestamp;
use crate::workspace::{Role, User};

const GET: &str = "SELECT * FROM people WHERE workspace_id = ?1 AND user_id = ?2";
/// A search looks at this many people, and the next page at the next ones.
const MOST_EXAMINED: i64 = 1_000;
/// A `q` is compared with what is read anyway: no index has the middle of a name.
const LIST: &str = "SELECT * FROM (SELECT * FROM people WHERE workspace_id = ?1 AND user_id > ?2 ORDER BY user_id LIMIT ?6)
    WHERE (?3 IS NULL OR role = ?3) AND (?4 IS NULL OR instr(lower(user_id), ?4) OR instr(lower(coalesce(name, '')), ?4))
    ORDER BY user_id LIMIT ?5";
/// The last person that a page looked at, if more may follow.
const LAST_EXAMINED: &str =
    "SELECT user_id FROM people WHERE workspace_id = ?1 AND user_id > ?2 ORDER BY user_id LIMIT 1 OFFSET ?3";
const OTHER_ADMIN: &str =
    "SELECT 1 AS n FROM people WHERE workspace_id = ?1 AND role = 'admin' AND user_id <> ?2 LIMIT 1";
const MAKE_ADMIN: &str =
    "UPDATE people SET role = 'admin' WHERE workspace_id = ?1 AND user_id = ?2 AND role <> 'admin'";
/// `?3`: also if nobody else is an admin.
const MAKE_MEMBER: &str =
    "UPDATE people SET role = 'member' WHERE workspace_id = ?1 AND user_id = ?2 AND (role <> 'admin' OR ?3
    OR EXISTS (SELECT 1 FROM people o WHERE o.workspace_id = ?1 AND o.role = 'admin' AND o.user_id <> ?2))";
/// Changes the row of an admin, and nothing about it.
const REQUIRE_ADMIN: &str =
    "UPDATE people SET role = 'admin' WHERE workspace_id = ?1 AND user_id = ?2 AND role = 'admin'";
/// Changes a row only where somebody was no admin, also because nobody knew them.
const PROMOTE: &str =
    "INSERT INTO people (workspace_id, user_id, name, role, created_at) VALUES (?1, ?2, ?3, 'admin', ?4)
    ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = 'admin' WHERE people.role <> 'admin'";
const DEMOTE: &str = "UPDATE people SET role = 'member' WHERE workspace_id = ?1 AND user_id = ?2 AND role = 'admin'";
const SESSIONS_OF_MEMBER: &str =
    "UPDATE sessions SET role = 'member' WHERE workspace_id = ?1 AND user_id = ?2 AND role = 'admin'";
const END_ADMIN_SIGN_IN_LINKS: &str =
    "DELETE FROM sign_in_links WHERE workspace_id = ?1 AND user_id = ?2 AND used_at IS NULL AND role = 'admin'";

const CONNECTIONS: &str =
    "SELECT id FROM connections WHERE workspace_id = ?1 AND user_id = ?2 AND deleted_at IS NULL LIMIT ?3";
/// What had an owner and says nothing of sharing is private: it stays so, also without an owner. The pluses make `SQLite`
/// look up the ids, and not read all that the person owns once for each batch.
const TRANSFER: &str = "UPDATE connections SET user_id = ?4, user_name = ?5, is_shared = coalesce(is_shared, 0)
    WHERE id IN (SELECT value FROM json_each(?3)) AND +workspace_id = ?1 AND +user_id = ?2 AND deleted_at IS NULL";
/// One line for each connection; `?2` has pairs of connection and event. Before the transfer, so that only what moves has one.
const TRANSFERRED: &str =
    "INSERT INTO events (workspace_id, connection_id, occurred_at, id, type, actor, detail, app, connection_name,
      actor_name, address, user_agent, request_id)
    SELECT ?1, c.id, ?3, json_extract(j.value, '$[1]'), ?4, ?5, ?6, c.app, c.name,
      (SELECT name FROM api_keys WHERE id = ?7), ?8, ?9, ?10
    FROM json_each(?2) j CROSS JOIN connections c ON c.id = json_extract(j.value, '$[0]')
      AND +c.workspace_id = ?1 AND +c.user_id = ?11 AND c.deleted_at IS NULL";
const DELETE: &str = "DELETE FROM people WHERE workspace_id = ?1 AND user_id = ?2 AND (role <> 'admin' OR ?3
    OR EXISTS (SELECT 1 FROM people o WHERE o.workspace_id = ?1 AND o.role = 'admin' AND o.user_id <> ?2))
    AND NOT EXISTS (SELECT 1 FROM connections c WHERE c.workspace_id = ?1 AND c.user_id = ?2 AND c.deleted_at IS NULL)";
const END_FLOWS: &str = end_flows!(
    "?3",
    "+workspace_id = ?1 AND session_hash IN (SELECT token_hash FROM sessions WHERE workspace_id = ?1 AND user_id = ?2)"
);
const END_SESSIONS: &str = "DELETE FROM sessions WHERE workspace_id = ?1 AND user_id = ?2";
const END_SIGN_IN_LINKS: &str =
    "DELETE FROM sign_in_links WHERE workspace_id = ?1 AND user_id = ?2 AND used_at IS NULL";
const END_DEFAULTS: &str = "DELETE FROM app_defaults WHERE workspace_id = ?1 AND user_id = ?2 AND user_id <> ''";
/// What belongs to the connect links for a person, also to those that were used, or have expired while a question waits for
/// an answer. Links are kept for two weeks at most.
macro_rules! recent_links {
    ($column:literal, $more:literal) => {
        concat!("(SELECT ", $column, " FROM connect_links WHERE workspace_id = ?1 AND user_id = ?2", $more, ")")
    };
}
const END_LINK_FLOWS: &str = end_flows!(
    "?3",
    "+workspace_id = ?1 AND session_hash IN (SELECT session_hash FROM connect_links WHERE workspace_id = ?1 AND user_id = ?2)"
);
/// Nobody comes back who could confirm them.
const END_UNCONFIRMED: &str = concat!(
    "UPDATE connections SET deleted_at = ?3, generation = generation + 1, next_check_at = NULL
    WHERE +workspace_id = ?1 AND status = 'awaiting_confirmation' AND deleted_at IS NULL AND id IN ",
    recent_links!("result_connection_id", " AND status = 'awaiting_confirmation' AND flow_id IS NULL")
);
const END_LINK_SESSIONS: &str = concat!("DELETE FROM sessions WHERE token_hash IN ", recent_links!("session_hash", ""));
const END_CONNECT_LINKS: &str = "UPDATE connect_links SET status = 'ended', used_at = ?3
    WHERE workspace_id = ?1 AND user_id = ?2 AND (status = 'open' AND expires_at > ?3 OR status = 'awaiting_confirmation')";

/// A person of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who it is.
    pub user: User,
    /// What they may change from their next sign-in on.
    pub role: Role,
    /// When they were first seen.
    pub created_at: Timestamp,
    /// When they last signed in, if they did.
    pub last_signed_in_at: Option<Timestamp>,
}

impl FromRow for Person {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let unknown = || DatabaseError::Malformed("column role holds an unknown value".into());
        Ok(Self {
            user: User { id: row.text("user_id")?, name: row.optional_text("name")? },
            role: Role::parse(&row.text("role")?).ok_or_else(unknown)?,
            created_at: row.time("created_at")?,
            last_signed_in_at: row.optional_time("last_signed_in_at")?,
        })
    }
}

/// The filters of a list of people.
#[derive(Debug, Clone, Default)]
pub struct PeopleFilter {
    /// Only people with this role.
    pub role: Option<Role>,
    /// Only people whose id or name contains this text.
    pub text: Option<String>,
    /// After this id.
    pub after: String,
    /// Most rows.
    pub limit: i64,
}

/// An id may be any text, and a cursor is one that this list has made.
fn format_cursor(user: &str) -> String {
    format!("after.{}", URL_SAFE_NO_PAD.encode(user))
}

/// Reads a cursor: the id of the last person of the page before.
pub fn parse_cursor(text: &str) -> Option<String> {
    let id = URL_SAFE_NO_PAD.decode(text.strip_prefix("after.")?).ok()?;
    String::from_utf8(id).ok().filter(|id| !id.is_empty())
}

/// One person.
pub async fn get(db: &impl Database, workspace: &WorkspaceId, user: &str) -> StoreResult<Option<Person>> {
    query_first(db, sql!(GET, workspace, user)).await
}

/// People in the order of their ids. A page of a search can be short, or empty, and have a next page.
pub async fn list(db: &impl Database, workspace: &WorkspaceId, filter: &PeopleFilter) -> StoreResult<Page<Person>> {
    let examined = if filter.role.is_none() && filter.text.is_none() { filter.limit + 1 } else { MOST_EXAMINED };
    let after = filter.after.as_str();
    let text = filter.text.as_ref().map(|text| text.to_ascii_lowercase());
    let statements = vec![
        sql!(LIST, workspace, after, filter.role.map(Role::as_str), text, filter.limit + 1, examined),
        sql!(LAST_EXAMINED, workspace, after, examined - 1),
    ];
    let answers = db.batch(statements).await?;
    let [rows, last] = answers.as_slice() else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    let page = super::cut_page(read_all::<Person>(rows)?, filter.limit, |person| format_cursor(&person.user.id));
    let last = last.rows.first().map(|row| Columns(row).text("user_id")).transpose()?;
    Ok(Page { next: page.next.or_else(|| last.as_deref().map(format_cursor)), ..page })
}

/// Whether somebody else is an admin.
pub async fn has_other_admin(db: &impl Database, workspace: &WorkspaceId, user: &str) -> StoreResult<bool> {
    Ok(!run_statement(db, sql!(OTHER_ADMIN, workspace, user)).await?.rows.is_empty())
}

/// Makes an admin of a member, from their next sign-in on. Returns whether there is such a member.
pub async fn make_admin(db: &impl Database, workspace: &WorkspaceId, user: &str) -> StoreResult<bool> {
    all_or_nothing(db, vec![sql!(MAKE_ADMIN, workspace, user)], vec![]).await
}

/// Makes a member of somebody, in all their sessions at once. Returns whether it did: not if there is no such person, and
/// not if they are the last admin, unless the workspace may be without one.
pub async fn make_member(
    db: &impl Database,
    workspace: &WorkspaceId,
    user: &str,
    without_admin: bool,
) -> StoreResult<bool> {
    let must = vec![sql!(MAKE_MEMBER, workspace, user, without_admin)];
    let then = [SESSIONS_OF_MEMBER, END_ADMIN_SIGN_IN_LINKS].map(|sql| sql!(sql, workspace, user));
    all_or_nothing(db, must, then.into()).await
}

/// The statements that make a member of an admin whom the identity provider no longer calls one. After the first of them
/// goes the event, if it changed anything.
pub fn demote(workspace: &WorkspaceId, user: &str) -> [Statement; 2] {
    [sql!(DEMOTE, workspace, user), sql!(SESSIONS_OF_MEMBER, workspace, user)]
}

/// The statement that makes an admin of somebody who signs in as one, before their session opens. After it goes the event,
/// if it changed anything.
pub fn promote(workspace: &WorkspaceId, user: &User, now: Timestamp) -> Statement {
    sql!(PROMOTE, workspace, user.id.as_str(), user.name.as_deref(), now)
}

/// The statement that must change a row where somebody gets the rights of an admin because they were one a moment ago.
pub fn require_admin(workspace: &WorkspaceId, user: &str) -> Statement {
    sql!(REQUIRE_ADMIN, workspace, user)
}

/// Connections that somebody owns, at most so many.
pub async fn list_owned(
    db: &impl Database,
    workspace: &WorkspaceId,
    user: &str,
    limit: i64,
) -> StoreResult<Vec<ConnectionId>> {
    let rows = run_statement(db, sql!(CONNECTIONS, workspace, user, limit)).await?;
    rows.rows.iter().map(|row| Columns(row).id("id")).collect()
}

/// Connections that get another owner, or none.
#[derive(Debug)]
pub struct Transfer<'a> {
    /// Who owns them.
    pub from: &'a str,
    /// Who gets them. None: nobody, and those that are not shared stay so.
    pub to: Option<&'a User>,
    /// They, each with the id of its event.
    pub connections: &'a [(ConnectionId, EventId)],
    /// Who wants it.
    pub actor: &'a Actor,
    /// From where.
    pub origin: &'a RequestOrigin,
    /// When.
    pub now: Timestamp,
}

/// The statements that give connections to another owner, each with a line in the audit log.
pub fn transfer(workspace: &WorkspaceId, new: &Transfer<'_>) -> [Statement; 2] {
    let ids: Vec<_> = new.connections.iter().map(|(id, _)| id).collect();
    let detail = format!("owner: {}", new.to.map_or("nobody", |to| to.id.as_str()));
    let key = match new.actor {
        Actor::Key(id) => Some(id),
        _ => None,
    };
    [
        sql!(
            TRANSFERRED,
            workspace,
            json_text(new.connections),
            new.now,
            EventType::Edited.as_str(),
            new.actor.to_string(),
            detail,
            key,
            new.origin.address.as_deref(),
            new.origin.user_agent.as_deref(),
            new.origin.request.as_deref(),
            new.from
        ),
        sql!(
            TRANSFER,
            workspace,
            new.from,
            json_text(&ids),
            new.to.map(|to| to.id.as_str()),
            new.to.and_then(|to| to.name.as_deref())
        ),
    ]
}

/// Removes a person with all that lets them in. Returns whether it did: not if they are the last admin (unless the
/// workspace may be without one), and not if they own a connection.
pub async fn delete(
    db: &impl Database,
    workspace: &WorkspaceId,
    user: &str,
    without_admin: bool,
    now: Timestamp,
) -> StoreResult<bool> {
    let must = vec![sql!(DELETE, workspace, user, without_admin)];
    let then = vec![
        sql!(END_FLOWS, workspace, user, now),
        sql!(END_SESSIONS, workspace, user),
        sql!(END_SIGN_IN_LINKS, workspace, user),
        sql!(END_LINK_FLOWS, workspace, user, now),
        sql!(END_UNCONFIRMED, workspace, user, now),
        sql!(END_LINK_SESSIONS, workspace, user),
        sql!(END_CONNECT_LINKS, workspace, user, now),
        sql!(END_DEFAULTS, workspace, user),
        super::disconnected::end_of_user(workspace, user, now),
    ];
    all_or_nothing(db, must, then).await
}
