//! Rows of `uses`: which workflow step used which connection, and when.

use super::{Columns, FromRow, Page, StoreResult, cut_page, query_all};
use crate::connection::ChosenBy;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::Database;
use crate::retention::USES_PER_CONNECTION;
use crate::sql;
use crate::time::Timestamp;

/// A day is counted once. The interval keeps a busy step from writing at every call. Bound numbers are floats (D1), so
/// the quotient must be cut to whole days.
const RECORD: &str =
    "INSERT INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days, chosen_by)
    VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1, ?7)
    ON CONFLICT (connection_id, workflow, step) DO UPDATE SET
      active_days = active_days + (last_used_at / 86400 < CAST(?5 / 86400 AS INTEGER)), last_used_at = ?5, chosen_by = ?7
    WHERE last_used_at < ?5 - ?6";
/// A connection has at most 500 uses: a new one replaces the oldest.
const EVICT: &str = "DELETE FROM uses WHERE connection_id = ?1
    AND NOT EXISTS (SELECT 1 FROM uses WHERE connection_id = ?1 AND workflow = ?2 AND step = ?3)
    AND (workflow, step) IN (SELECT workflow, step FROM uses WHERE connection_id = ?1
      ORDER BY last_used_at DESC, workflow, step LIMIT -1 OFFSET ?4)";
const TOUCH: &str = "UPDATE connections SET last_used_at = ?3 WHERE workspace_id = ?1 AND id = ?2 AND coalesce(last_used_at, 0) < ?3 - ?4";
/// Only after a step that is new: a list reads the numbers, and does not count the rows.
const COUNT: &str = "UPDATE connections SET
      used_by_workflows = (SELECT count(DISTINCT workflow) FROM uses WHERE connection_id = ?2),
      used_by_steps = (SELECT count(*) FROM uses WHERE connection_id = ?2)
    WHERE workspace_id = ?1 AND id = ?2 AND (used_by_steps IS NULL
      OR EXISTS (SELECT 1 FROM uses WHERE connection_id = ?2 AND workflow = ?3 AND step = ?4 AND first_used_at = ?5))";
const LIST: &str = "SELECT * FROM uses WHERE workspace_id = ?1 AND connection_id = ?2 AND (workflow, step) > (?3, ?4)
    ORDER BY workflow, step LIMIT ?5";

/// Seconds in which further uses of the same step are not written.
pub const WRITE_INTERVAL: i64 = 300;

/// A step's use of a connection.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Use {
    /// The workflow, with the caller's name for it.
    pub workflow: String,
    /// The step. Empty if the caller named none.
    pub step: String,
    /// First use.
    pub first_used_at: Timestamp,
    /// Last use, to five minutes.
    pub last_used_at: Timestamp,
    /// Days with a use.
    pub active_days: i64,
    /// How the step named the connection at its last use.
    pub chosen_by: ChosenBy,
}

impl FromRow for Use {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            workflow: row.text("workflow")?,
            step: row.text("step")?,
            first_used_at: row.time("first_used_at")?,
            last_used_at: row.time("last_used_at")?,
            active_days: row.integer("active_days")?,
            chosen_by: row.optional_text("chosen_by")?.as_deref().map_or(ChosenBy::Id, ChosenBy::parse),
        })
    }
}

/// A use that is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUse {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The connection.
    pub connection: ConnectionId,
    /// Workflow and step, if the caller named them.
    pub step: Option<(String, String)>,
    /// How the connection was found.
    pub chosen_by: ChosenBy,
}

/// Records uses in one transaction: of a workflow's step if one was named, and of the connection in any case.
pub async fn record(db: &impl Database, uses: &[NewUse], now: Timestamp) -> StoreResult<()> {
    let mut statements = Vec::new();
    for NewUse { workspace, connection: id, step, chosen_by } in uses {
        statements.push(sql!(TOUCH, workspace, id, now, WRITE_INTERVAL));
        if let Some((workflow, step)) = step {
            let (workflow, step) = (workflow.as_str(), step.as_str());
            statements.push(sql!(EVICT, id, workflow, step, USES_PER_CONNECTION - 1));
            statements.push(sql!(RECORD, id, workflow, step, workspace, now, WRITE_INTERVAL, chosen_by.as_str()));
            statements.push(sql!(COUNT, workspace, id, workflow, step, now));
        }
    }
    db.batch(statements).await.map(|_| ())
}

/// A connection's uses, after a cursor of workflow and step.
pub async fn list(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    after: (&str, &str),
    limit: i64,
) -> StoreResult<Page<Use>> {
    let rows = query_all(db, sql!(LIST, workspace, id, after.0, after.1, limit + 1)).await?;
    Ok(cut_page(rows, limit, |row: &Use| crate::store::json_text(&(&row.workflow, &row.step))))
}
