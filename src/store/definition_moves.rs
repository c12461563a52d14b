//! The progress of moving connections to a changed definition: columns of `apps`, and what it writes in `connections`.
//!
//! Owns the order in which connections are handled (by revision, then id) and the comparisons of a move.

use serde::{Deserialize, Serialize};

use super::apps::AppRow;
use super::{Columns, FromRow, StoreResult, json_text, query_first, read_first, run_count, run_statement};
use crate::app::AppId;
use crate::connection::{Connection, DefinitionChange};
use crate::destinations::Destinations;
use crate::ids::WorkspaceId;
use crate::ports::{Database, Row, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;

/// Leased as it is read, because runs may overlap.
const LEASE: &str = "UPDATE apps SET rollout_due_at = ?2 WHERE (workspace_id, id, revision) IN
    (SELECT workspace_id, id, revision FROM apps WHERE rollout_due_at IS NOT NULL AND rollout_due_at <= ?1 ORDER BY rollout_due_at LIMIT 1) RETURNING *";
/// All connections are handled again, from the first one on.
const RESTART: &str =
    "UPDATE apps SET rollout_due_at = ?3, rollout_cursor = '[0,\"\"]', rollout_passes_left = 1 WHERE workspace_id = ?1 AND id = ?2 AND is_current = 1
    AND EXISTS (SELECT 1 FROM connections c WHERE c.workspace_id = ?1 AND c.app = ?2 AND c.app_revision > 0 AND c.app_revision < apps.revision)
    RETURNING *";
/// The position comes before the other comparisons, so that the index starts there and not at the beginning.
const BEHIND: &str =
    "SELECT * FROM connections WHERE workspace_id = ?1 AND app = ?2
    AND (app_revision, id) > (?4, ?5) AND app_revision < ?3 AND app_revision > 0 AND deleted_at IS NULL ORDER BY app_revision, id LIMIT ?6";
const COUNT_BEHIND: &str = "SELECT count(*) AS n FROM (SELECT 1 FROM connections WHERE workspace_id = ?1 AND app = ?2
    AND (app_revision, id) > (?4, ?5) AND app_revision < ?3 AND app_revision > 0 LIMIT ?6)";
/// Connections that are counted, at most.
const MOST_COUNTED: i64 = 10_000;
/// The credential does not change. A connection with a running refresh waits: its refresh ends with the definition it
/// began with. A lease that has ended does not count.
const MOVE: &str = concat!(
    "UPDATE connections SET app_revision = ?5, destinations = coalesce(destinations, ?6), definition_update_blocked = NULL
    WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND version = ?4 AND app_revision = ?7 AND ",
    no_live_lease!("?8"),
    " AND deleted_at IS NULL
      AND EXISTS (SELECT 1 FROM apps a WHERE a.workspace_id = ?1 AND a.id = connections.app AND a.revision = ?5 AND a.is_current = 1)"
);
const MARK_DEFINITION_CHANGED: &str = "UPDATE connections SET definition_update_blocked = ?5
    WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND app_revision = ?4 AND definition_update_blocked IS NOT ?5 AND deleted_at IS NULL";
const ADVANCE: &str = "UPDATE apps SET rollout_cursor = ?4, rollout_due_at = ?5, rollout_passes_left = ?6
    WHERE workspace_id = ?1 AND id = ?2 AND revision = ?3 AND is_current = 1";

/// The last handled connection: its revision and its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveCursor(pub i64, pub String);

impl MoveCursor {
    /// Before the first one.
    pub fn start() -> Self {
        Self(0, String::new())
    }
}

/// A definition that connections are being moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionMove {
    /// The workspace of its app.
    pub workspace: WorkspaceId,
    /// The current revision.
    pub app: AppRow,
    /// Its progress.
    pub after: MoveCursor,
    /// How often all are handled again.
    pub passes: i64,
}

impl FromRow for DefinitionMove {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            workspace: row.id("workspace_id")?,
            app: AppRow::from_row(row)?,
            after: row.json("rollout_cursor")?,
            passes: row.integer("rollout_passes_left")?,
        })
    }
}

/// The statement that takes the one that has been due for longest, so that no other run takes it before `lease_until`.
pub fn lease_due(now: Timestamp, lease_until: Timestamp) -> Statement {
    sql!(LEASE, now, lease_until)
}

/// The result of [`lease_due`]. An unreadable one does not block the others.
pub(crate) fn read_leased(rows: &Rows) -> Option<DefinitionMove> {
    read_first(rows).ok().flatten()
}

/// Starts again for a definition. The scheduled run continues from `due`. None if all connections have it.
pub async fn restart(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &AppId,
    due: Timestamp,
) -> StoreResult<Option<DefinitionMove>> {
    query_first(db, sql!(RESTART, workspace, id, due)).await
}

/// A connection of an earlier revision, with its position. None if its row is unreadable.
pub type BehindConnection = (MoveCursor, Option<Connection>);

/// The next connections of earlier revisions. An unreadable row does not block the others.
pub async fn list_behind(db: &impl Database, of: &DefinitionMove, limit: i64) -> StoreResult<Vec<BehindConnection>> {
    let MoveCursor(revision, id) = &of.after;
    let statement = sql!(BEHIND, &of.workspace, &of.app.id, of.app.revision, *revision, id.as_str(), limit);
    let read = |row: &Row| {
        let columns = Columns(row);
        let cursor = MoveCursor(columns.integer("app_revision")?, columns.text("id")?);
        Ok((cursor, Connection::from_row(&columns).ok()))
    };
    run_statement(db, statement).await?.rows.iter().map(read).collect()
}

/// How many connections come after a position, including those that are being disconnected.
pub async fn count_behind(db: &impl Database, of: &DefinitionMove, after: &MoveCursor) -> StoreResult<i64> {
    let statement =
        sql!(COUNT_BEHIND, &of.workspace, &of.app.id, of.app.revision, after.0, after.1.as_str(), MOST_COUNTED);
    run_count(db, statement).await
}

/// The statement that moves a connection to the revision. Its destinations stay.
pub fn move_connection(
    of: &DefinitionMove,
    connection: &Connection,
    keeps: &Destinations,
    now: Timestamp,
) -> Statement {
    sql!(
        MOVE,
        &connection.workspace,
        &connection.id,
        connection.generation,
        connection.version,
        of.app.revision,
        json_text(keeps),
        connection.app_revision,
        now
    )
}

/// The statement that records why a connection is not moved. It changes nothing if that is recorded already.
pub fn mark_definition_changed(connection: &Connection, why: &DefinitionChange) -> Statement {
    sql!(
        MARK_DEFINITION_CHANGED,
        &connection.workspace,
        &connection.id,
        connection.generation,
        connection.app_revision,
        json_text(why)
    )
}

/// The statement that records the progress, and when it continues. `None` when all is done.
pub fn advance(of: &DefinitionMove, after: &MoveCursor, due: Option<Timestamp>, passes: i64) -> Statement {
    sql!(ADVANCE, &of.workspace, &of.app.id, of.app.revision, json_text(after), due, passes)
}
