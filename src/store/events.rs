//! Rows of `events`: the audit log. How it is searched is in `search`.

mod search;

use super::{Columns, FromRow, Page, StoreResult, cut_page, query_all};
use crate::app::AppId;
use crate::audit::{Actor, EventType, RequestOrigin};
use crate::ids::{ApiKeyId, ConnectionId, EventId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, SqlValue, Statement};
use crate::sql;
use crate::time::Timestamp;

pub use search::{AuditEvent, EventFilter, MOST_EXAMINED, NamedAuditEvent};
pub(crate) use search::{FoundLine, search};

macro_rules! insert_columns {
    () => {
        "INSERT INTO events (workspace_id, connection_id, occurred_at, id, type, actor, detail, app, connection_name, actor_name,
      target, workflow, step, address, user_agent, request_id)
    "
    };
}
/// The names are those of now: a connection and a key may be gone when somebody reads the line.
macro_rules! insert_values {
    () => {
        "?1, ?2, ?3, ?4, ?5, ?6, ?7,
      coalesce(?8, (SELECT app FROM connections WHERE id = ?2)), (SELECT name FROM connections WHERE id = ?2),
      (SELECT name FROM api_keys WHERE id = ?9), ?10, NULL, NULL, ?11, ?12, ?13"
    };
}
const INSERT: &str = concat!(insert_columns!(), "VALUES (", insert_values!(), ")");
/// Only if the statement before it in the batch changed a row.
const INSERT_IF_CHANGED: &str = concat!(insert_columns!(), "SELECT ", insert_values!(), " WHERE changes() > 0");
const INSERT_READ: &str = concat!(
    insert_columns!(),
    "SELECT k.workspace_id, ?2, ?3, ?4, ?5, ?6, ?7, (SELECT app FROM connections WHERE id = ?2),
      (SELECT name FROM connections WHERE id = ?2), k.name, ?13, ?8, ?9, ?10, ?11, ?12 FROM api_keys k WHERE k.id = ?1"
);
/// Once in a while for each key, in all instances of the program together: as far as the last thousand lines of its
/// workspace that are about no connection tell.
const INSERT_REFUSAL: &str = concat!(
    insert_columns!(),
    "SELECT k.workspace_id, '', ?2, ?3, ?4, ?5, NULL, NULL, NULL, NULL, k.id, NULL, NULL, ?6, ?7, ?8
    FROM api_keys k WHERE k.id = ?1 AND NOT EXISTS (SELECT 1 FROM (SELECT e.type, e.target FROM events e
      WHERE e.workspace_id = k.workspace_id AND e.connection_id = '' AND e.occurred_at > ?9 ORDER BY e.occurred_at DESC LIMIT 1000) bounded
      WHERE type = ?4 AND target = k.id)"
);
const SET_DETAIL: &str =
    "UPDATE events SET detail = ?5 WHERE workspace_id = ?1 AND connection_id = ?2 AND occurred_at = ?3 AND id = ?4";
const LIST: &str = "SELECT * FROM events WHERE workspace_id = ?1 AND connection_id = ?2 AND (occurred_at, seq) < (?3, ?4) ORDER BY occurred_at DESC, seq DESC LIMIT ?5";

/// Seconds in which a key whose authentication is refused gets one line.
const REFUSAL_INTERVAL: i64 = 60;

/// What an event is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventSubject<'a> {
    /// A connection.
    pub connection: Option<&'a ConnectionId>,
    /// An app; that of the connection is known without it.
    pub app: Option<&'a AppId>,
    /// The id of something else.
    pub target: Option<&'a str>,
}

/// A line that is to be written to the audit trail.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// Its id.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub event: EventType,
    /// What it happened to.
    pub subject: EventSubject<'a>,
    /// Who did it.
    pub actor: &'a Actor,
    /// A code or name with details, never a secret.
    pub detail: Option<&'a str>,
    /// Where the request came from.
    pub origin: &'a RequestOrigin,
}

/// One line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// The type, such as `connected`, `reconnected`, `reused` (a new grant that it did not need), `account_switched`,
    /// `confirmed`, `edited`, `token_lost` (one of several tokens), `needs_reconnect`, `default_changed`, `replaced` and
    /// `replacement_ended` (on both connections), `changes_acknowledged`, `disconnected`,
    /// `disconnect_undone`.
    pub r#type: String,
    /// Who did it: `user:…`, `key:…`, `link:…`, `embedder`, `refresh`, `check`.
    pub actor: String,
    /// A code or name with details, never a secret.
    pub detail: Option<String>,
}

impl FromRow for Event {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            id: row.id("id")?,
            at: row.time("occurred_at")?,
            r#type: row.text("type")?,
            actor: row.text("actor")?,
            detail: row.optional_text("detail")?,
        })
    }
}

/// The position of a page in the audit log: before the event with this time and number.
pub type EventPosition = (Timestamp, i64);

/// The beginning: before all future events.
pub fn start_position() -> EventPosition {
    (Timestamp::from_unix(i64::MAX), i64::MAX)
}

/// A line with its number, because several can have the same second.
struct NumberedEvent {
    seq: i64,
    event: Event,
}

impl FromRow for NumberedEvent {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self { seq: row.integer("seq")?, event: Event::from_row(row)? })
    }
}

/// The statement that writes a line, in the batch of the change that it describes.
pub fn insert(workspace: &WorkspaceId, new: &NewEvent<'_>) -> Statement {
    let key = match new.actor {
        Actor::Key(id) => Some(id),
        _ => None,
    };
    sql!(
        INSERT,
        workspace,
        new.subject.connection.map_or("", ConnectionId::as_str),
        new.at,
        &new.id,
        new.event.as_str(),
        new.actor.to_string(),
        new.detail,
        new.subject.app,
        key,
        new.subject.target,
        new.origin.address.as_deref(),
        new.origin.user_agent.as_deref(),
        new.origin.request.as_deref()
    )
}

/// The workspace whose audit log a statement writes a line to. None for other statements, and for lines about credentials
/// that were handed out or refused.
pub fn workspace_of_line(statement: &Statement) -> Option<WorkspaceId> {
    if !statement.sql.starts_with("INSERT INTO events ") {
        return None;
    }
    match statement.params.first() {
        Some(SqlValue::Text(text)) => WorkspaceId::parse(text),
        _ => None,
    }
}

/// The line is written only if the statement before it in the batch changes something.
pub fn insert_if_changed(insert: Statement) -> Statement {
    Statement { sql: INSERT_IF_CHANGED.into(), ..insert }
}

/// A credential that was handed out to a key.
#[derive(Debug)]
pub struct NewRead<'a> {
    /// The id of the line.
    pub id: EventId,
    /// What was done with the credential.
    pub event: EventType,
    /// When.
    pub at: Timestamp,
    /// The key.
    pub key: &'a ApiKeyId,
    /// The connection that answered.
    pub connection: &'a ConnectionId,
    /// The one that was asked for, where another one has answered for it.
    pub requested: Option<&'a ConnectionId>,
    /// Where the credential came from.
    pub source: &'a str,
    /// For which workflow, if the caller says so.
    pub workflow: Option<&'a str>,
    /// For which of its steps.
    pub step: Option<&'a str>,
    /// Where the request came from.
    pub origin: &'a RequestOrigin,
}

/// The statement that writes that a credential was handed out, or used for a caller.
pub fn insert_read(new: &NewRead<'_>) -> Statement {
    sql!(
        INSERT_READ,
        new.key,
        new.connection,
        new.at,
        &new.id,
        new.event.as_str(),
        Actor::Key(new.key.clone()).to_string(),
        new.source,
        new.workflow,
        new.step,
        new.origin.address.as_deref(),
        new.origin.user_agent.as_deref(),
        new.origin.request.as_deref(),
        new.requested
    )
}

/// The statement that writes that the authentication of a known key was refused. It writes nothing for a key that does not
/// exist, or that has such a line of the last minute.
pub fn insert_refusal(id: &EventId, key: &ApiKeyId, origin: &RequestOrigin, now: Timestamp) -> Statement {
    sql!(
        INSERT_REFUSAL,
        key,
        now,
        id,
        EventType::AuthenticationRefused.as_str(),
        Actor::Unauthenticated.to_string(),
        origin.address.as_deref(),
        origin.user_agent.as_deref(),
        origin.request.as_deref(),
        now.plus(-REFUSAL_INTERVAL)
    )
}

/// The statement that adds to a connection's event what is known only later.
pub fn set_detail(
    workspace: &WorkspaceId,
    connection: &ConnectionId,
    id: &EventId,
    at: Timestamp,
    detail: &str,
) -> Statement {
    sql!(SET_DETAIL, workspace, connection, at, id, detail)
}

/// Which statement of a batch makes the change that an event describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangedBy {
    /// The first one.
    First,
    /// The last one.
    Last,
}

/// A database whose batches also write an event, if they change something: a change and its event are one transaction. What
/// the batch answers is what it would answer without the event.
#[derive(Debug)]
pub struct AuditedDatabase<D> {
    db: D,
    event: Statement,
    changed_by: ChangedBy,
}

impl<D: Database> AuditedDatabase<D> {
    /// Writes this event (a statement of [`insert`]) with each batch.
    pub fn new(db: D, event: Statement, changed_by: ChangedBy) -> Self {
        Self { db, event: insert_if_changed(event), changed_by }
    }
}

impl<D: Database> Database for AuditedDatabase<D> {
    async fn batch(&self, mut statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError> {
        let at = match self.changed_by {
            ChangedBy::First => 1.min(statements.len()),
            ChangedBy::Last => statements.len(),
        };
        statements.insert(at, self.event.clone());
        let mut answers = self.db.batch(statements).await?;
        if at < answers.len() {
            answers.remove(at);
        }
        Ok(answers)
    }
}

/// A connection's events, newest first, before a cursor.
pub async fn list(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    before: EventPosition,
    limit: i64,
) -> StoreResult<Page<Event>> {
    let rows = query_all(db, sql!(LIST, workspace, id, before.0, before.1, limit + 1)).await?;
    let rows = cut_page(rows, limit, |one: &NumberedEvent| format!("{}.{}", one.event.at.unix(), one.seq));
    Ok(Page { data: rows.data.into_iter().map(|one| one.event).collect(), next: rows.next })
}
