//! Rows of `workspaces`.

use super::{Columns, FromRow, Page, StoreResult, cut_page, json_text, query_all, query_first};
use crate::ids::WorkspaceId;
use crate::ports::{Database, Statement};
use crate::sql;
use crate::time::Timestamp;
use crate::workspace::Workspace;

const INSERT: &str = "INSERT INTO workspaces (id, name, allowed_origins, created_at) VALUES (?1, ?2, ?3, ?4)";
const SELECT: &str = "SELECT * FROM workspaces WHERE id = ?1 AND deleted_at IS NULL";
const LIST: &str = "SELECT * FROM workspaces WHERE id > ?1 AND deleted_at IS NULL ORDER BY id LIMIT ?2";
const UPDATE: &str = "UPDATE workspaces SET name = coalesce(?2, name), allowed_origins = coalesce(?3, allowed_origins) WHERE id = ?1 RETURNING *";

impl FromRow for Workspace {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            id: row.id("id")?,
            name: row.text("name")?,
            allowed_origins: row.json("allowed_origins")?,
            created_at: row.time("created_at")?,
        })
    }
}

/// The statement that inserts a workspace. Its first key is in the same batch.
pub fn insert(workspace: &Workspace) -> Statement {
    sql!(INSERT, &workspace.id, workspace.name.as_str(), json_text(&workspace.allowed_origins), workspace.created_at)
}

/// One workspace.
pub async fn get(db: &impl Database, id: &WorkspaceId) -> StoreResult<Option<Workspace>> {
    query_first(db, sql!(SELECT, id)).await
}

/// Workspaces by id, after a cursor.
pub async fn list(db: &impl Database, after: &str, limit: i64) -> StoreResult<Page<Workspace>> {
    let rows = query_all(db, sql!(LIST, after, limit + 1)).await?;
    Ok(cut_page(rows, limit, |workspace: &Workspace| workspace.id.to_string()))
}

/// Changes the given fields, and returns the row.
pub async fn update(
    db: &impl Database,
    id: &WorkspaceId,
    name: Option<&str>,
    origins: Option<&[String]>,
) -> StoreResult<Option<Workspace>> {
    query_first(db, sql!(UPDATE, id, name, origins.map(json_text))).await
}

/// Blocks all access to a workspace at once and marks its content for revocation and erasure by the scheduled run.
/// Returns whether it existed. Flows end; one with a pending grant is kept, without an owner, until the grant is
/// revoked.
pub async fn mark_deleted(db: &impl Database, id: &WorkspaceId, now: Timestamp) -> StoreResult<bool> {
    const MARK: &str = "UPDATE workspaces SET deleted_at = ?2 WHERE id = ?1 AND deleted_at IS NULL";
    const REVOKE_KEYS: &str = "UPDATE api_keys SET revoked_at = ?2 WHERE workspace_id = ?1 AND revoked_at IS NULL";
    const END_SESSIONS: &str = "DELETE FROM sessions WHERE workspace_id = ?1";
    const END_SIGN_IN_LINKS: &str = "DELETE FROM sign_in_links WHERE workspace_id = ?1";
    const END_LINKS: &str = "DELETE FROM connect_links WHERE workspace_id = ?1";
    const END_FLOWS: &str = "DELETE FROM flows WHERE workspace_id = ?1 AND sealed_grant IS NULL";
    const EXPIRE_PENDING_GRANTS: &str = "UPDATE flows SET session_hash = '', expires_at = min(expires_at, ?2)
        WHERE workspace_id = ?1 AND sealed_grant IS NOT NULL";
    const DISCONNECT: &str = "UPDATE connections SET deleted_at = ?2, generation = generation + 1, next_check_at = NULL
        WHERE workspace_id = ?1 AND deleted_at IS NULL";
    let answers = db
        .batch(vec![
            sql!(MARK, id, now),
            sql!(REVOKE_KEYS, id, now),
            sql!(END_SESSIONS, id),
            sql!(END_SIGN_IN_LINKS, id),
            sql!(END_LINKS, id),
            sql!(END_FLOWS, id),
            sql!(EXPIRE_PENDING_GRANTS, id, now),
            sql!(DISCONNECT, id, now),
        ])
        .await?;
    Ok(answers.first().is_some_and(|rows| rows.changes > 0))
}
