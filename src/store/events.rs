//! Rows of `events`: the audit trail.

use super::{Columns, FromRow, Page, Stored, all, page};
use crate::ids::{ConnectionId, EventId, WorkspaceId};
use crate::ports::{Database, Statement};
use crate::sql;
use crate::time::Timestamp;

const INSERT: &str = "INSERT INTO events (workspace_id, connection_id, occurred_at, id, type, actor, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
/// Only when the statement before it in the batch changed a row.
const INSERT_IF_CHANGED: &str = "INSERT INTO events (workspace_id, connection_id, occurred_at, id, type, actor, detail)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE changes() > 0";
const LIST: &str = "SELECT * FROM events WHERE workspace_id = ?1 AND connection_id = ?2 AND (occurred_at, seq) < (?3, ?4) ORDER BY occurred_at DESC, seq DESC LIMIT ?5";

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// What happened, such as `connected`, `reconnected`, `reused` (a new grant that it did not need), `account_switched`,
    /// `confirmed`, `edited`, `token_lost` (one of several tokens), `needs_reconnect`, `disconnected`.
    pub r#type: String,
    /// Who did it: `user:…`, `key:…`, `link:…`, `embedder`, `refresh`, `check`.
    pub actor: String,
    /// A code or name that tells more; never a secret.
    pub detail: Option<String>,
}

impl FromRow for Event {
    fn from_row(row: &Columns<'_>) -> Stored<Self> {
        Ok(Self {
            id: row.id("id")?,
            at: row.time("occurred_at")?,
            r#type: row.text("type")?,
            actor: row.text("actor")?,
            detail: row.optional_text("detail")?,
        })
    }
}

/// Where a page of the trail begins: before the event of this time and number.
pub type Before = (Timestamp, i64);

/// The beginning: before everything that is yet to come.
pub fn newest() -> Before {
    (Timestamp::from_unix(i64::MAX), i64::MAX)
}

/// Reads the cursor of a page; `None` when it is none.
pub fn cursor(text: &str) -> Option<Before> {
    let (at, seq) = text.split_once('.')?;
    Some((Timestamp::from_unix(at.parse().ok()?), seq.parse().ok()?))
}

/// A line with its number: a second has room for several.
struct Numbered {
    seq: i64,
    event: Event,
}

impl FromRow for Numbered {
    fn from_row(row: &Columns<'_>) -> Stored<Self> {
        Ok(Self { seq: row.integer("seq")?, event: Event::from_row(row)? })
    }
}

/// The statement that writes a line; it goes in the batch of what it tells.
pub fn insert(workspace: &WorkspaceId, connection: &ConnectionId, event: &Event) -> Statement {
    sql!(
        INSERT,
        workspace,
        connection,
        event.at,
        &event.id,
        event.r#type.as_str(),
        event.actor.as_str(),
        event.detail.as_deref()
    )
}

/// The line is written only if the statement before it in the batch changes something.
pub fn if_changed(insert: Statement) -> Statement {
    Statement { sql: INSERT_IF_CHANGED, ..insert }
}

/// A connection's events, newest first, before a cursor.
pub async fn list(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    before: Before,
    limit: i64,
) -> Stored<Page<Event>> {
    let rows = all(db, sql!(LIST, workspace, id, before.0, before.1, limit + 1)).await?;
    let rows = page(rows, limit, |one: &Numbered| format!("{}.{}", one.event.at.unix(), one.seq));
    Ok(Page { data: rows.data.into_iter().map(|one| one.event).collect(), next: rows.next })
}
