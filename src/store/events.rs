//! Rows of `events`: the audit log.

use super::{Columns, FromRow, Page, StoreResult, cut_page, query_all};
use crate::audit::{Actor, EventType};
use crate::ids::{ConnectionId, EventId, WorkspaceId};
use crate::ports::{Database, Statement};
use crate::sql;
use crate::time::Timestamp;

const INSERT: &str = "INSERT INTO events (workspace_id, connection_id, occurred_at, id, type, actor, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
/// Only if the statement before it in the batch changed a row.
const INSERT_IF_CHANGED: &str = "INSERT INTO events (workspace_id, connection_id, occurred_at, id, type, actor, detail)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE changes() > 0";
const LIST: &str = "SELECT * FROM events WHERE workspace_id = ?1 AND connection_id = ?2 AND (occurred_at, seq) < (?3, ?4) ORDER BY occurred_at DESC, seq DESC LIMIT ?5";

/// A line that is to be written to the audit trail.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// Its id.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub event: EventType,
    /// Who did it.
    pub actor: &'a Actor,
    /// A code or name with details, never a secret.
    pub detail: Option<&'a str>,
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
    /// `confirmed`, `edited`, `token_lost` (one of several tokens), `needs_reconnect`, `default_changed`, `disconnected`.
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
pub fn insert(workspace: &WorkspaceId, connection: &ConnectionId, event: &NewEvent<'_>) -> Statement {
    sql!(
        INSERT,
        workspace,
        connection,
        event.at,
        &event.id,
        event.event.as_str(),
        event.actor.to_string(),
        event.detail
    )
}

/// The line is written only if the statement before it in the batch changes something.
pub fn insert_if_changed(insert: Statement) -> Statement {
    Statement { sql: INSERT_IF_CHANGED, ..insert }
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
