//! Rows of `uses`: which workflow step used which connection, and when.

use std::collections::BTreeMap;

use super::replacements::RelatedConnection;
use super::{Columns, FromRow, Page, StoreResult, cut_page, json_text, query_all, run_statement};
use crate::connection::ChosenBy;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Database, Statement};
use crate::retention::USES_PER_CONNECTION;
use crate::sql;
use crate::time::Timestamp;

/// A day is counted once. The interval keeps a busy step from writing at every call. Bound numbers are floats (D1), so
/// the quotient must be cut to whole days.
///
/// A step has changed its connection if it used another one of the same app that it had not used yet when it last used this
/// one: a step that uses two in turn has not. Nor has one that runs for several people, each with a connection of their own.
/// The same connection is another one by now if another one answers for it, unless that was undone within the time in which
/// a step may come back.
const RECORD: &str =
    "INSERT INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days, used_days, chosen_by, answered_by, changed_at, changed_by, changed_from)
    VALUES (?1, ?2, ?3, ?4, ?5, ?5, 1, CAST(?5 / 86400 AS INTEGER) * 1073741824 + 1, ?7, ?8, ?5, ?7,
      (SELECT bounded.connection_id FROM (SELECT * FROM uses WHERE workspace_id = ?4 AND workflow = ?2 AND step = ?3 AND connection_id <> ?1 LIMIT ?9) bounded
        CROSS JOIN connections b ON b.id = bounded.connection_id AND b.deleted_at IS NULL
        CROSS JOIN connections a ON a.id = ?1 AND a.app = b.app
        WHERE ?3 <> '' AND bounded.connection_id IS NOT ?8 AND bounded.answered_by IS NOT ?1
          AND bounded.first_used_at > coalesce((SELECT o.last_used_at FROM uses o WHERE o.connection_id = ?1 AND o.workflow = ?2 AND o.step = ?3), 0)
          AND (coalesce(a.is_shared, a.user_id IS NULL) OR coalesce(b.is_shared, b.user_id IS NULL) OR a.user_id IS b.user_id)
        ORDER BY bounded.last_used_at DESC LIMIT 1))
    ON CONFLICT (connection_id, workflow, step) DO UPDATE SET
      active_days = active_days + (last_used_at / 86400 < CAST(?5 / 86400 AS INTEGER)),
      used_days = CAST(?5 / 86400 AS INTEGER) * 1073741824
        + ((coalesce(used_days, last_used_at / 86400 * 1073741824 + 1) % 1073741824
            << CAST(?5 / 86400 AS INTEGER) - coalesce(used_days / 1073741824, last_used_at / 86400)) & 1073741823 | 1),
      last_used_at = ?5, chosen_by = ?7, answered_by = ?8,
      changed_at = CASE WHEN answered_by IS NOT ?8 OR excluded.changed_from IS NOT NULL THEN ?5 ELSE changed_at END,
      changed_by = CASE WHEN answered_by IS NOT ?8 THEN 'replacement' WHEN excluded.changed_from IS NOT NULL THEN ?7 ELSE changed_by END,
      changed_from = CASE WHEN answered_by IS NOT ?8 AND changed_by = 'replacement' AND changed_from = coalesce(?8, connection_id)
          AND changed_at > ?5 - ?10 THEN NULL
        WHEN answered_by IS NOT ?8 THEN coalesce(answered_by, connection_id) ELSE coalesce(excluded.changed_from, changed_from) END
    WHERE last_used_at < ?5 - ?6";
/// A connection has at most 500 uses: a new one replaces the oldest.
const EVICT: &str = "DELETE FROM uses WHERE connection_id = ?1
    AND NOT EXISTS (SELECT 1 FROM uses WHERE connection_id = ?1 AND workflow = ?2 AND step = ?3)
    AND (workflow, step) IN (SELECT workflow, step FROM uses WHERE connection_id = ?1
      ORDER BY last_used_at DESC, workflow, step LIMIT -1 OFFSET ?4)";
const TOUCH: &str = "UPDATE connections SET last_used_at = ?3 WHERE workspace_id = ?1 AND id = ?2 AND coalesce(last_used_at, 0) < ?3 - ?4";
/// Only after a step that is new, or has changed: a list reads the numbers, and does not count the rows.
const COUNT: &str = "UPDATE connections SET
      step_changed_at = CASE WHEN EXISTS (SELECT 1 FROM uses WHERE connection_id = ?2 AND workflow = ?3 AND step = ?4 AND changed_at = ?5
        AND changed_from IS NOT NULL) THEN ?5 ELSE step_changed_at END,
      used_by_workflows = (SELECT count(DISTINCT workflow) FROM uses WHERE connection_id = ?2),
      used_by_steps = (SELECT count(*) FROM uses WHERE connection_id = ?2)
    WHERE workspace_id = ?1 AND id = ?2 AND (used_by_steps IS NULL
      OR EXISTS (SELECT 1 FROM uses WHERE connection_id = ?2 AND workflow = ?3 AND step = ?4 AND (first_used_at = ?5 OR changed_at = ?5)))";
const ACKNOWLEDGE: &str =
    "UPDATE uses SET changed_from = NULL WHERE workspace_id = ?1 AND connection_id = ?2 AND changed_from IS NOT NULL";
const FORGET_CHANGES: &str =
    "UPDATE connections SET step_changed_at = NULL WHERE workspace_id = ?1 AND id = ?2 AND step_changed_at IS NOT NULL";
/// Connections of a step that a new one is compared with, at most.
const MOST_COMPARED: i64 = 50;
const LIST: &str = "SELECT * FROM uses WHERE workspace_id = ?1 AND connection_id = ?2 AND (workflow, step) > (?3, ?4)
    ORDER BY workflow, step LIMIT ?5";
/// The workflows of each connection, the first ones by name. A connection has a bounded number of uses.
const WORKFLOWS: &str = "SELECT j.value AS connection_id, (SELECT json_group_array(workflow) FROM
      (SELECT DISTINCT workflow FROM (SELECT workflow FROM uses WHERE connection_id = j.value AND +workspace_id = ?1 AND workflow > '' ORDER BY workflow LIMIT ?4)
        ORDER BY workflow LIMIT ?3)) AS workflows
    FROM json_each(?2) j";

/// Seconds for which it is told that a step has changed its connection: a week.
pub const CHANGE_SHOWN: i64 = 7 * 86_400;
/// Seconds after which a step that has used another connection does not come back to the first in the same run.
pub const CHANGE_SETTLED: i64 = 3_600;

/// Days of which it is known whether a step used a connection.
pub const DAYS_KEPT: i64 = 30;

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
    /// The last 30 days on which it was used, as the database has them. None: only its first and last use are known.
    #[serde(skip)]
    pub used_days: Option<i64>,
    /// How the step named the connection at its last use.
    pub chosen_by: ChosenBy,
    /// The connection that answered for it at its last use. Null: itself.
    pub answered_by: Option<ConnectionId>,
}

impl FromRow for Use {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            workflow: row.text("workflow")?,
            step: row.text("step")?,
            first_used_at: row.time("first_used_at")?,
            last_used_at: row.time("last_used_at")?,
            active_days: row.integer("active_days")?,
            used_days: row.optional_integer("used_days")?,
            chosen_by: row.optional_text("chosen_by")?.as_deref().map_or(ChosenBy::Id, ChosenBy::parse),
            answered_by: row.optional_id("answered_by")?,
        })
    }
}

impl Use {
    /// Whether it was used on a day of the last 30. `ago`: how many days before that of `now`.
    pub fn was_used_days_ago(&self, now: Timestamp, ago: i64) -> bool {
        let day_of = |at: Timestamp| at.unix().div_euclid(86_400);
        let day = day_of(now) - ago;
        let Some(days) = self.used_days else {
            return [self.first_used_at, self.last_used_at].into_iter().any(|at| day_of(at) == day);
        };
        let before_last = (days >> DAYS_KEPT) - day;
        (0..DAYS_KEPT).contains(&before_last) && (days >> before_last) & 1 == 1
    }
}

/// What made a step use another connection than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum StepChangeCause {
    /// The step names the new one.
    Id,
    /// The step names the app, whose default is the new one.
    Default,
    /// The step names the app, of which the new one is the only one.
    Only,
    /// The new one answers for another connection, or no longer does.
    Replacement,
}

/// A step that uses another connection than before, for as long as that is told.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct StepChange {
    /// The workflow.
    pub workflow: String,
    /// The step.
    pub step: String,
    /// When the new one was used first.
    #[serde(deserialize_with = "unix_seconds")]
    pub at: Timestamp,
    /// What made it so.
    pub by: StepChangeCause,
    /// The connection that the step used before. `None`: it is gone, or whoever asks does not see it.
    pub from: Option<RelatedConnection>,
}

fn unix_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(Timestamp::from_unix)
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
    /// The connection that answered for it, if another one did.
    pub answered_by: Option<ConnectionId>,
}

/// Records uses in one transaction: of a workflow's step if one was named, and of the connection in any case.
pub async fn record(db: &impl Database, uses: &[NewUse], now: Timestamp) -> StoreResult<()> {
    let mut statements = Vec::new();
    for NewUse { workspace, connection: id, step, chosen_by, answered_by } in uses {
        for used in [Some(id), answered_by.as_ref()].into_iter().flatten() {
            statements.push(sql!(TOUCH, workspace, used, now, WRITE_INTERVAL));
        }
        if let Some((workflow, step)) = step {
            let (workflow, step) = (workflow.as_str(), step.as_str());
            statements.push(sql!(EVICT, id, workflow, step, USES_PER_CONNECTION - 1));
            statements.push(sql!(
                RECORD,
                id,
                workflow,
                step,
                workspace,
                now,
                WRITE_INTERVAL,
                chosen_by.as_str(),
                answered_by.as_ref(),
                MOST_COMPARED,
                CHANGE_SETTLED
            ));
            statements.push(sql!(COUNT, workspace, id, workflow, step, now));
        }
    }
    db.batch(statements).await.map(|_| ())
}

/// The statements by which what the steps of a connection used before is no longer told.
pub fn acknowledge_changes(workspace: &WorkspaceId, id: &ConnectionId) -> [Statement; 2] {
    [sql!(ACKNOWLEDGE, workspace, id), sql!(FORGET_CHANGES, workspace, id)]
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

/// The workflows that used each of these connections: the first ones by name, at most `most` of each.
pub async fn list_workflows_of(
    db: &impl Database,
    workspace: &WorkspaceId,
    connections: &[ConnectionId],
    most: i64,
) -> StoreResult<BTreeMap<ConnectionId, Vec<String>>> {
    let found =
        run_statement(db, sql!(WORKFLOWS, workspace, json_text(connections), most, USES_PER_CONNECTION)).await?;
    let one = |row| {
        let row = Columns(row);
        Ok((row.id("connection_id")?, row.json("workflows")?))
    };
    found.rows.iter().map(one).collect()
}
