//! Rows of `uses` as workflows see them: which connections a workflow's steps used.
//!
//! Owns that a request reads a bounded number of rows, however many connections a workflow uses. `uses` has the rows as a
//! connection sees them.

use super::uses::{CHANGE_SETTLED, CHANGE_SHOWN, StepChange, Use};
use super::{Columns, FromRow, StoreResult, read_all};
use crate::app::AppId;
use crate::connection::{ConnectionStatus, ReconnectReason};
use crate::environment::Environment;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;
use crate::workspace::User;

/// The uses are cut before they are joined, so that a request reads no more than it may, whatever has been disconnected.
macro_rules! uses_of_workflows {
    ($which:literal) => {
        concat!(
            "SELECT bounded.workflow, bounded.step, bounded.first_used_at, bounded.last_used_at, bounded.active_days, bounded.used_days, bounded.chosen_by, bounded.answered_by,
      CASE WHEN ",
            step_has_changed!("bounded", "?6", "?7"),
            " THEN ",
            step_change!("bounded"),
            " END AS change, n.id AS replaced_by, coalesce(n.status, c.status) AS answering_status, c.id AS connection_id, c.app, c.name,
      c.status, c.reconnect_reason, c.account_label, c.user_id, c.user_name, coalesce(c.is_shared, c.user_id IS NULL) AS is_shared, c.environment,
      c.deleted_at IS NOT NULL OR NOT ",
            is_not_denied!("c"),
            " AS is_deleted
    FROM (SELECT * FROM uses WHERE workspace_id = ?1 AND ",
            $which,
            " ORDER BY workflow, connection_id, step LIMIT ?5) bounded
    CROSS JOIN connections c ON c.id = bounded.connection_id ",
            join_use_before!("bounded"),
            " LEFT JOIN replacements r ON r.connection_id = c.id LEFT JOIN connections n ON n.id = r.replaced_by ORDER BY bounded.workflow, bounded.connection_id, bounded.step"
        )
    };
}

/// The first bound names the two columns that the index has: with the step, `SQLite` would read a workflow from its
/// beginning. So it would with casts, which a comparison of several columns cannot have.
const LIST: &str =
    uses_of_workflows!("(workflow, connection_id) >= (?2, ?3) AND (+workflow, connection_id, step) > (?2, ?3, ?4)");
const OF_WORKFLOW: &str =
    uses_of_workflows!("workflow = ?2 AND connection_id >= ?3 AND (+connection_id, step) > (?3, ?4)");

/// A use, with its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowUse {
    /// What is recorded of it.
    pub recorded: Use,
    /// The connection.
    pub connection: UsedConnection,
    /// What the step used before, if it has changed not long ago.
    pub change: Option<StepChange>,
}

/// What a list of uses shows of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedConnection {
    /// Its id.
    pub id: ConnectionId,
    /// Its app.
    pub app: AppId,
    /// Its name.
    pub name: String,
    /// Its stored status.
    pub status: ConnectionStatus,
    /// Why it needs a reconnect.
    pub reason: Option<ReconnectReason>,
    /// How the app calls its account.
    pub account_label: Option<String>,
    /// Its owner.
    pub owner: Option<User>,
    /// Whether everybody of the workspace sees it.
    pub shared: bool,
    /// What its account is for.
    pub environment: Option<Environment>,
    /// Whether it was disconnected, alone or with all of its app, and is not erased yet.
    pub is_deleted: bool,
    /// The connection that answers for it now, if another one does.
    pub replaced_by: Option<ConnectionId>,
    /// The stored status of the one that answers.
    pub answering_status: ConnectionStatus,
}

impl FromRow for WorkflowUse {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let unknown = |column: &str| DatabaseError::Malformed(format!("column {column} holds an unknown value"));
        Ok(Self {
            recorded: Use::from_row(row)?,
            connection: UsedConnection {
                id: row.id("connection_id")?,
                app: AppId::parse(&row.text("app")?).ok_or_else(|| unknown("app"))?,
                name: row.text("name")?,
                status: ConnectionStatus::parse(&row.text("status")?).ok_or_else(|| unknown("status"))?,
                reason: row.optional_text("reconnect_reason")?.as_deref().and_then(ReconnectReason::parse),
                account_label: row.optional_text("account_label")?,
                owner: super::connections::read_user(row)?,
                shared: row.boolean("is_shared")?,
                environment: row.environment("environment")?,
                is_deleted: row.boolean("is_deleted")?,
                replaced_by: row.optional_id("replaced_by")?,
                answering_status: ConnectionStatus::parse(&row.text("answering_status")?)
                    .ok_or_else(|| unknown("answering_status"))?,
            },
            change: row.optional_json("change")?,
        })
    }
}

/// A place in the order of uses: workflow, connection, step. The empty one is before all.
pub type UsePosition = (String, String, String);

/// Uses of all workflows, after a place.
pub fn select_uses(workspace: &WorkspaceId, after: (&str, &str, &str), limit: i64, now: Timestamp) -> Statement {
    sql!(LIST, workspace, after.0, after.1, after.2, limit, now.plus(-CHANGE_SHOWN), CHANGE_SETTLED)
}

/// Uses of one workflow, after a place in it: connection and step.
pub fn select_uses_of(
    workspace: &WorkspaceId,
    workflow: &str,
    after: (&str, &str),
    limit: i64,
    now: Timestamp,
) -> Statement {
    sql!(OF_WORKFLOW, workspace, workflow, after.0, after.1, limit, now.plus(-CHANGE_SHOWN), CHANGE_SETTLED)
}

/// Reads uses, and the answers to other statements, which take no round trip of their own.
pub async fn read_with(
    db: &impl Database,
    select: Statement,
    also: Vec<Statement>,
) -> StoreResult<(Vec<WorkflowUse>, Vec<Rows>)> {
    let mut answers = db.batch(std::iter::once(select).chain(also).collect()).await?;
    let rest = answers.split_off(answers.len().min(1));
    let uses = answers.first().map_or(Ok(vec![]), read_all)?;
    Ok((uses, rest))
}
