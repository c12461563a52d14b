//! Rows of `apps`: a workspace's custom apps, a row per revision.

use super::{Columns, FromRow, StoreResult, query_all, query_first, read_all, run_statement};
use crate::app::{AppId, ROLLOUT_DELAY};
use crate::ids::WorkspaceId;
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::retention::{PRUNED_REVISIONS, RETIRED_REVISION_AGE, REVISIONS_KEPT};
use crate::sql;
use crate::time::Timestamp;

const INSERT: &str =
    "INSERT INTO apps (workspace_id, id, revision, definition, is_current, created_at, rollout_due_at, rollout_passes_left) VALUES (?1, ?2, ?3, ?4, 1, ?5,
      CASE WHEN EXISTS (SELECT 1 FROM apps WHERE workspace_id = ?1 AND id = ?2 AND is_current = 1) THEN ?6 END, 1)";
const RETIRE: &str = "UPDATE apps SET is_current = 0, retired_at = ?4, rollout_due_at = NULL WHERE workspace_id = ?1 AND id = ?2 AND is_current = 1 AND revision < ?3";
/// Deletes unused revisions of any app of the workspace. Not those that were current ten minutes ago, because a
/// credential may just be checked with one of them; of the app that is stored, all but the last fifty. A client without
/// destinations keeps the revisions that [`REVISIONS`] finds, because its destinations follow from them.
const PRUNE: &str = "DELETE FROM apps WHERE workspace_id = ?1 AND is_current = 0 AND (id, revision) IN (
    SELECT r.id, r.revision FROM apps r WHERE r.workspace_id = ?1 AND r.is_current = 0
      AND (coalesce(r.retired_at, 0) < ?2 OR (r.id = ?3 AND r.revision <= ?4 - ?5))
      AND NOT EXISTS (SELECT 1 FROM connections c
        WHERE c.workspace_id = ?1 AND c.app = r.id AND c.app_revision = r.revision AND c.app_revision > 0)
      AND NOT EXISTS (SELECT 1 FROM flows a
        WHERE a.workspace_id = ?1 AND a.app = r.id AND a.app_revision = r.revision AND a.app_revision > 0)
      AND NOT EXISTS (SELECT 1 FROM revocations v
        WHERE v.workspace_id = ?1 AND v.app = r.id AND v.app_revision = r.revision AND v.app_revision > 0)
      AND NOT EXISTS (SELECT 1 FROM oauth_clients k
        WHERE k.workspace_id = ?1 AND k.destinations IS NULL AND r.created_at <= k.updated_at
          AND (k.registration = r.id OR substr(k.registration, 1, length(r.id) + 1) = r.id || ':')
          AND r.revision > 1 - ?5 + (SELECT max(n.revision) FROM apps n
            WHERE n.workspace_id = ?1 AND n.id = r.id AND n.created_at <= k.updated_at))
    LIMIT ?6)";
const CURRENT: &str = "SELECT * FROM apps WHERE workspace_id = ?1 AND id = ?2 AND is_current = 1";
const REVISION: &str = "SELECT * FROM apps WHERE workspace_id = ?1 AND id = ?2 AND revision = ?3";
const REVISIONS: &str =
    "SELECT * FROM apps WHERE workspace_id = ?1 AND id = ?2 AND created_at <= ?3 ORDER BY revision DESC LIMIT ?4";
const LATEST: &str = "SELECT coalesce(max(revision), 0) AS revision FROM apps WHERE workspace_id = ?1 AND id = ?2";
const LIST: &str = "SELECT * FROM apps WHERE workspace_id = ?1 AND is_current = 1 ORDER BY id";
/// A removed app changes no connection any more. So many connections at a time.
const CLEAR_DEFINITION_CHANGED: &str = "UPDATE connections SET definition_update_blocked = NULL WHERE id IN
    (SELECT id FROM connections WHERE workspace_id = ?1 AND app = ?2 AND definition_update_blocked IS NOT NULL LIMIT ?3)
    AND app_revision > 0";
const CLEARED_AT_ONCE: i64 = 500;
/// Steps of one request, at most. A mark that is left says what was true, and does no harm.
const MAX_CLEAR_STEPS: usize = 20;

/// One revision of a custom app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRow {
    /// The app's id.
    pub id: AppId,
    /// Its revision, from 1.
    pub revision: i64,
    /// The definition's JSON text.
    pub definition: String,
}

impl FromRow for AppRow {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let id = AppId::parse(&row.text("id")?).ok_or_else(|| DatabaseError::Malformed("an app's id".into()))?;
        Ok(Self { id, revision: row.integer("revision")?, definition: row.text("definition")? })
    }
}

/// The app for new flows.
pub async fn get_current(db: &impl Database, workspace: &WorkspaceId, id: &AppId) -> StoreResult<Option<AppRow>> {
    query_first(db, sql!(CURRENT, workspace, id)).await
}

/// The app of a connection.
pub async fn get_revision(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &AppId,
    revision: i64,
) -> StoreResult<Option<AppRow>> {
    query_first(db, sql!(REVISION, workspace, id, revision)).await
}

/// The revisions of an app at a time, the newest first.
pub async fn list_revisions(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &AppId,
    at: Timestamp,
) -> StoreResult<Vec<AppRow>> {
    query_all(db, sql!(REVISIONS, workspace, id, at, REVISIONS_KEPT)).await
}

/// All custom apps of a workspace (at most a few hundred, because their number is limited).
pub async fn list(db: &impl Database, workspace: &WorkspaceId) -> StoreResult<Vec<AppRow>> {
    read_list(&run_statement(db, list_statement(workspace)).await?)
}

/// The statement that selects them, for a batch.
pub fn list_statement(workspace: &WorkspaceId) -> Statement {
    sql!(LIST, workspace)
}

/// Reads them.
pub fn read_list(rows: &Rows) -> StoreResult<Vec<AppRow>> {
    read_all(rows)
}

/// The highest revision that an app ever had. 0 for none.
pub async fn latest_revision(db: &impl Database, workspace: &WorkspaceId, id: &AppId) -> StoreResult<i64> {
    let rows = run_statement(db, sql!(LATEST, workspace, id)).await?;
    rows.rows.first().map_or(Ok(0), |row| Columns(row).integer("revision"))
}

/// Makes a revision the current one. A `Constraint` error says that another one was stored first.
pub async fn put(db: &impl Database, workspace: &WorkspaceId, app: &AppRow, now: Timestamp) -> StoreResult<()> {
    db.batch(vec![
        sql!(INSERT, workspace, &app.id, app.revision, app.definition.as_str(), now, now.plus(ROLLOUT_DELAY)),
        retire(workspace, &app.id, app.revision, now),
    ])
    .await
    .map(|_| ())
}

/// Deletes unused revisions of a workspace's apps, before this one of `app` is stored.
pub async fn prune(db: &impl Database, workspace: &WorkspaceId, app: &AppRow, now: Timestamp) -> StoreResult<()> {
    let retired_before = now.plus(-RETIRED_REVISION_AGE);
    let prune = sql!(PRUNE, workspace, retired_before, &app.id, app.revision, REVISIONS_KEPT, PRUNED_REVISIONS);
    run_statement(db, prune).await.map(|_| ())
}

/// Hides an app. Its connections are kept.
pub async fn remove(db: &impl Database, workspace: &WorkspaceId, id: &AppId, now: Timestamp) -> StoreResult<bool> {
    let statements = vec![retire(workspace, id, i64::from(u32::MAX), now), clear_definition_changed(workspace, id)];
    Ok(db.batch(statements).await?.first().is_some_and(|rows| rows.changes > 0))
}

fn retire(workspace: &WorkspaceId, id: &AppId, before: i64, now: Timestamp) -> Statement {
    sql!(RETIRE, workspace, id, before, now)
}

/// The statement that removes the mark of connections with an earlier definition.
fn clear_definition_changed(workspace: &WorkspaceId, id: &AppId) -> Statement {
    sql!(CLEAR_DEFINITION_CHANGED, workspace, id, CLEARED_AT_ONCE)
}

/// Removes the marks that [`remove`] has left, because it removes those of a few hundred connections.
pub async fn clear_definitions_changed(db: &impl Database, workspace: &WorkspaceId, id: &AppId) -> StoreResult<()> {
    for _ in 0..MAX_CLEAR_STEPS {
        if run_statement(db, clear_definition_changed(workspace, id)).await?.changes == 0 {
            break;
        }
    }
    Ok(())
}
