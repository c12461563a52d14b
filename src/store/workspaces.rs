//! Rows of `workspaces`.

use super::{Columns, FromRow, Page, Stored, all, first, json_text, page};
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
    fn from_row(row: &Columns<'_>) -> Stored<Self> {
        Ok(Self {
            id: row.id("id")?,
            name: row.text("name")?,
            allowed_origins: row.json("allowed_origins")?,
            created_at: row.time("created_at")?,
        })
    }
}

/// The statement that inserts a workspace; its first key goes in the same batch.
pub fn insert(workspace: &Workspace) -> Statement {
    sql!(INSERT, &workspace.id, workspace.name.as_str(), json_text(&workspace.allowed_origins), workspace.created_at)
}

/// One workspace.
pub async fn get(db: &impl Database, id: &WorkspaceId) -> Stored<Option<Workspace>> {
    first(db, sql!(SELECT, id)).await
}

/// Workspaces by id, after a cursor.
pub async fn list(db: &impl Database, after: &str, limit: i64) -> Stored<Page<Workspace>> {
    let rows = all(db, sql!(LIST, after, limit + 1)).await?;
    Ok(page(rows, limit, |workspace: &Workspace| workspace.id.to_string()))
}

/// Changes what is given, and answers the row.
pub async fn update(
    db: &impl Database,
    id: &WorkspaceId,
    name: Option<&str>,
    origins: Option<&[String]>,
) -> Stored<Option<Workspace>> {
    first(db, sql!(UPDATE, id, name, origins.map(json_text))).await
}

/// Locks everybody out of a workspace at once and marks what it holds for revocation and erasure by the scheduled run;
/// answers whether it was there. Flows end; one whose grant waits for a decision is kept, for nobody, until the grant is
/// revoked.
pub async fn mark_deleted(db: &impl Database, id: &WorkspaceId, now: Timestamp) -> Stored<bool> {
    const MARK: &str = "UPDATE workspaces SET deleted_at = ?2 WHERE id = ?1 AND deleted_at IS NULL";
    const REVOKE_KEYS: &str = "UPDATE api_keys SET revoked_at = ?2 WHERE workspace_id = ?1 AND revoked_at IS NULL";
    const END_SESSIONS: &str = "DELETE FROM sessions WHERE workspace_id = ?1";
    const END_SIGN_IN: &str = "DELETE FROM sign_in_links WHERE workspace_id = ?1";
    const END_LINKS: &str = "DELETE FROM connect_links WHERE workspace_id = ?1";
    const END_FLOWS: &str = "DELETE FROM flows WHERE workspace_id = ?1 AND sealed_grant IS NULL";
    const OVERDUE_GRANTS: &str = "UPDATE flows SET session_hash = '', expires_at = min(expires_at, ?2)
        WHERE workspace_id = ?1 AND sealed_grant IS NOT NULL";
    const DISCONNECT: &str = "UPDATE connections SET deleted_at = ?2, generation = generation + 1, next_check_at = NULL
        WHERE workspace_id = ?1 AND deleted_at IS NULL";
    let answers = db
        .batch(vec![
            sql!(MARK, id, now),
            sql!(REVOKE_KEYS, id, now),
            sql!(END_SESSIONS, id),
            sql!(END_SIGN_IN, id),
            sql!(END_LINKS, id),
            sql!(END_FLOWS, id),
            sql!(OVERDUE_GRANTS, id, now),
            sql!(DISCONNECT, id, now),
        ])
        .await?;
    Ok(answers.first().is_some_and(|rows| rows.changes > 0))
}
