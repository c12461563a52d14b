//! Rows of `workspaces`.

use super::erasing::{self, ErasureProgress};
use super::{Columns, FromRow, Page, StoreResult, cut_page, json_text, query_all, query_first, read_all, read_first};
use crate::ids::WorkspaceId;
use crate::ports::{Database, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;
use crate::workspace::Workspace;

const INSERT: &str = "INSERT INTO workspaces (id, name, allowed_origins, created_at) VALUES (?1, ?2, ?3, ?4)";
const SELECT: &str = "SELECT * FROM workspaces WHERE id = ?1 AND deleted_at IS NULL";
const LIST: &str = "SELECT * FROM workspaces WHERE id > ?1 AND deleted_at IS NULL ORDER BY id LIMIT ?2";
const USAGE: &str = "SELECT count(*) AS workspaces, coalesce(sum(connection_count), 0) AS connections
    FROM (SELECT connection_count FROM workspaces WHERE deleted_at IS NULL LIMIT ?1)";
/// Workspaces of a database that are counted, at most.
pub const WORKSPACES_COUNTED: i64 = 10_000;
const UPDATE: &str = "UPDATE workspaces SET name = coalesce(?2, name), allowed_origins = coalesce(?3, allowed_origins),
      branding = CASE WHEN ?5 THEN NULL WHEN ?4 IS NULL THEN branding ELSE json_patch(coalesce(branding, '{}'), ?4) END WHERE id = ?1 RETURNING *";

impl FromRow for Workspace {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            id: row.id("id")?,
            name: row.text("name")?,
            allowed_origins: row.json("allowed_origins")?,
            branding: row.optional_json("branding")?.unwrap_or_default(),
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

/// Workspaces by id, after one.
pub async fn list(db: &impl Database, after: &str, limit: i64) -> StoreResult<Vec<Workspace>> {
    query_all(db, sql!(LIST, after, limit)).await
}

/// A page of them, of the rows of one database or several.
pub fn page(rows: Vec<Workspace>, limit: i64) -> Page<Workspace> {
    cut_page(rows, limit, |workspace| workspace.id.to_string())
}

/// How much is in a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DatabaseUsage {
    /// Workspaces that were not deleted, [`WORKSPACES_COUNTED`] at most.
    pub workspaces: i64,
    /// The connections of those.
    pub connections: i64,
}

impl FromRow for DatabaseUsage {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self { workspaces: row.integer("workspaces")?, connections: row.integer("connections")? })
    }
}

/// Counts what is in a database. The connections of each workspace are counted already.
pub async fn load_usage(db: &impl Database) -> StoreResult<DatabaseUsage> {
    Ok(query_first(db, sql!(USAGE, WORKSPACES_COUNTED)).await?.unwrap_or_default())
}

/// The same, and so many of the deleted workspaces that are still there, the earliest deleted first: in one round trip.
pub async fn load_usage_and_deleted(
    db: &impl Database,
    limit: i64,
) -> StoreResult<(DatabaseUsage, Vec<ErasureProgress>)> {
    let statements = vec![sql!(USAGE, WORKSPACES_COUNTED), erasing::select_progress(None, limit)];
    match db.batch(statements).await?.as_slice() {
        [usage, deleted] => Ok((read_first(usage)?.unwrap_or_default(), read_all(deleted)?)),
        _ => Ok((DatabaseUsage::default(), vec![])),
    }
}

/// A change of the branding: of the named members, where null removes one (RFC 7396).
#[derive(Debug, Clone, PartialEq)]
pub enum BrandingChange {
    /// These members.
    Members(serde_json::Map<String, serde_json::Value>),
    /// All of it is removed.
    Removed,
}

/// Changes the given fields, and returns the row.
pub async fn update(
    db: &impl Database,
    id: &WorkspaceId,
    name: Option<&str>,
    origins: Option<&[String]>,
    branding: Option<&BrandingChange>,
) -> StoreResult<Option<Workspace>> {
    let (members, is_removed) = match branding {
        Some(BrandingChange::Members(members)) => (Some(json_text(members)), false),
        Some(BrandingChange::Removed) => (None, true),
        None => (None, false),
    };
    query_first(db, sql!(UPDATE, id, name, origins.map(json_text), members, is_removed)).await
}

/// Rows of each kind that one batch ends.
const ENDED_AT_ONCE: i64 = 1_000;
/// Connections that end with their workspace. The scheduled run ends the others.
const CONNECTIONS_ENDED_AT_ONCE: i64 = 500;
/// Batches of a deletion: 20,000 rows of each kind, within the free plan's subrequests.
const MOST_BATCHES: usize = 20;

/// Blocks all access to a workspace at once and marks its content for revocation and erasure by the scheduled run, in
/// bounded steps. Returns whether it existed.
///
/// Keys, links and flows end here; a session works only while its workspace does. What is left of more than so many rows
/// makes nothing new in a deleted workspace, and is deleted by the scheduled run.
pub async fn mark_deleted(db: &impl Database, id: &WorkspaceId, now: Timestamp) -> StoreResult<bool> {
    const MARK: &str = "UPDATE workspaces SET deleted_at = ?2 WHERE id = ?1 AND deleted_at IS NULL";
    let mut statements = vec![sql!(MARK, id, now), erasing::end_connections(id, CONNECTIONS_ENDED_AT_ONCE, now)];
    statements.extend(erasing::end_access(id, ENDED_AT_ONCE, now));
    statements.push(super::disconnected::end_of_workspace(id, now));
    let answers = db.batch(statements).await?;
    let existed = answers.first().is_some_and(|rows| rows.changes > 0);
    let mut is_left = has_more(answers.get(2..answers.len().saturating_sub(1)).unwrap_or_default());
    for _ in 1..MOST_BATCHES {
        if !existed || !is_left {
            break;
        }
        // The workspace is deleted, whatever becomes of these.
        let Ok(answers) = db.batch(erasing::end_access(id, ENDED_AT_ONCE, now)).await else { break };
        is_left = has_more(&answers);
    }
    Ok(existed)
}

/// Whether a statement ended as many rows as it may.
fn has_more(answers: &[Rows]) -> bool {
    answers.iter().any(|rows| i64::try_from(rows.changes).unwrap_or(i64::MAX) >= ENDED_AT_ONCE)
}
