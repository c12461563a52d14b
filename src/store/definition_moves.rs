//! How far a changed definition has reached the connections of earlier ones: columns of `apps`, and what it writes in
//! `connections`.
//!
//! Owns the order in which connections are looked at (by revision, then id) and the comparisons that a move is made under.

use serde::{Deserialize, Serialize};

use super::apps::AppRow;
use super::{Columns, FromRow, StoreResult, json_text, query_first, read_first, run_statement};
use crate::app::AppId;
use crate::connection::{Connection, DefinitionChange};
use crate::destinations::Destinations;
use crate::ids::WorkspaceId;
use crate::ports::{Database, Row, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;

/// Leased as it is read, so that runs may overlap.
const LEASE: &str = "UPDATE apps SET rollout_due_at = ?2 WHERE (workspace_id, id, revision) IN
    (SELECT workspace_id, id, revision FROM apps WHERE rollout_due_at IS NOT NULL AND rollout_due_at <= ?1 ORDER BY rollout_due_at LIMIT 1) RETURNING *";
/// All connections are looked at anew, from the first one on.
const RESTART: &str =
    "UPDATE apps SET rollout_due_at = ?3, rollout_cursor = '[0,\"\"]', rollout_passes_left = 1 WHERE workspace_id = ?1 AND id = ?2 AND is_current = 1
    AND EXISTS (SELECT 1 FROM connections c WHERE c.workspace_id = ?1 AND c.app = ?2 AND c.app_revision > 0 AND c.app_revision < apps.revision)
    RETURNING *";
/// The place stands before the other comparisons, so that the index is entered there and not at the beginning.
const BEHIND: &str =
    "SELECT * FROM connections WHERE workspace_id = ?1 AND app = ?2
    AND (app_revision, id) > (?4, ?5) AND app_revision < ?3 AND app_revision > 0 AND deleted_at IS NULL ORDER BY app_revision, id LIMIT ?6";
const COUNT_BEHIND: &str = "SELECT count(*) AS n FROM connections WHERE workspace_id = ?1 AND app = ?2
    AND (app_revision, id) > (?4, ?5) AND app_revision < ?3 AND app_revision > 0";
/// Nothing of the credential changes. One that is being refreshed waits: its refresh ends as it began. An attempt that ran out is none.
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

/// The last connection that was looked at: its revision and its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveCursor(pub i64, pub String);

impl MoveCursor {
    /// Before the first one.
    pub fn start() -> Self {
        Self(0, String::new())
    }
}

/// A definition on its way to the connections of earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionMove {
    /// Whose app it is.
    pub workspace: WorkspaceId,
    /// The current revision.
    pub app: AppRow,
    /// How far it has come.
    pub after: MoveCursor,
    /// How often all are looked at once more.
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

/// The statement that takes the one that is due for longest, so that no other run takes it before `lease_until`.
pub fn lease_due(now: Timestamp, lease_until: Timestamp) -> Statement {
    sql!(LEASE, now, lease_until)
}

/// What [`lease_due`] took. One that can't be read keeps nothing else undone.
pub(crate) fn read_leased(rows: &Rows) -> Option<DefinitionMove> {
    read_first(rows).ok().flatten()
}

/// Lets a definition begin anew; the scheduled run goes on with it from `due`. None where no connection is behind.
pub async fn restart(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &AppId,
    due: Timestamp,
) -> StoreResult<Option<DefinitionMove>> {
    query_first(db, sql!(RESTART, workspace, id, due)).await
}

/// A connection of an earlier revision, with its place in the order. None where its row can't be read.
pub type BehindConnection = (MoveCursor, Option<Connection>);

/// The next connections of earlier revisions. A row that can't be read holds up no other.
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

/// How many connections come behind a place, those that are being disconnected included.
pub async fn count_behind(db: &impl Database, of: &DefinitionMove, after: &MoveCursor) -> StoreResult<i64> {
    let statement = sql!(COUNT_BEHIND, &of.workspace, &of.app.id, of.app.revision, after.0, after.1.as_str());
    let rows = run_statement(db, statement).await?;
    rows.rows.first().map_or(Ok(0), |row| Columns(row).integer("n"))
}

/// The statement that moves a connection to the revision. It keeps where its credential may go.
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

/// The statement that notes why a connection stays; it changes nothing where that is noted already.
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

/// The statement that notes how far it has come, and when it goes on; `None` when all is done.
pub fn advance(of: &DefinitionMove, after: &MoveCursor, due: Option<Timestamp>, passes: i64) -> Statement {
    sql!(ADVANCE, &of.workspace, &of.app.id, of.app.revision, json_text(after), due, passes)
}
