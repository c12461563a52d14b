//! Rows of `keys`.

use std::collections::BTreeMap;

use super::{Columns, FromRow, Page, Stored, all, first, json_text, page, run};
use crate::caller::{Key, KeyId};
use crate::ids::WorkspaceId;
use crate::ports::{Database, Statement};
use crate::sql;
use crate::time::Timestamp;

const INSERT: &str =
    "INSERT INTO keys (id, workspace_id, name, hash, scopes, connections, apps, expires_at, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
pub(crate) const SELECT: &str = "SELECT * FROM keys WHERE id = ?1 AND revoked_at IS NULL";
const LIST: &str = "SELECT * FROM keys WHERE workspace_id = ?1 AND id > ?2 AND revoked_at IS NULL ORDER BY id LIMIT ?3";
const NAMES: &str = "SELECT id, name FROM keys WHERE workspace_id = ?1 AND id IN (SELECT value FROM json_each(?2)) AND revoked_at IS NULL";
const REVOKE: &str = "UPDATE keys SET revoked_at = ?3 WHERE workspace_id = ?1 AND id = ?2 AND revoked_at IS NULL";
const ERASE: &str = "DELETE FROM keys WHERE id = ?1 AND revoked_at IS NOT NULL";

impl FromRow for Key {
    fn from_row(row: &Columns<'_>) -> Stored<Self> {
        Ok(Self {
            id: row.id("id")?,
            workspace: row.id("workspace_id")?,
            name: row.text("name")?,
            hash: row.text("hash")?,
            scopes: row.json("scopes")?,
            connections: row.optional_json("connections")?,
            apps: row.optional_json("apps")?,
            expires_at: row.optional_time("expires_at")?,
            created_at: row.optional_time("created_at")?,
        })
    }
}

/// The statement that inserts a key.
pub fn insert(key: &Key) -> Statement {
    sql!(
        INSERT,
        &key.id,
        &key.workspace,
        key.name.as_str(),
        key.hash.as_str(),
        json_text(&key.scopes),
        key.connections.as_ref().map(json_text),
        key.apps.as_ref().map(json_text),
        key.expires_at,
        key.created_at
    )
}

/// A key that was not revoked.
pub async fn get(db: &impl Database, id: &KeyId) -> Stored<Option<Key>> {
    first(db, sql!(SELECT, id)).await
}

/// What keys of a workspace are called, by id; those that were revoked are not among them.
pub async fn names(db: &impl Database, workspace: &WorkspaceId, ids: &[&str]) -> Stored<BTreeMap<String, String>> {
    let rows = run(db, sql!(NAMES, workspace, json_text(ids))).await?;
    rows.rows.iter().map(Columns).map(|row| Ok((row.text("id")?, row.text("name")?))).collect()
}

/// A workspace's keys, after a cursor.
pub async fn list(db: &impl Database, workspace: &WorkspaceId, after: &str, limit: i64) -> Stored<Page<Key>> {
    let rows = all(db, sql!(LIST, workspace, after, limit + 1)).await?;
    Ok(page(rows, limit, |key: &Key| key.id.as_str().to_owned()))
}

/// Revokes a key; answers whether there was one.
pub async fn revoke(db: &impl Database, workspace: &WorkspaceId, id: &KeyId, now: Timestamp) -> Stored<bool> {
    Ok(run(db, revoke_statement(workspace, id, now)).await?.changes > 0)
}

/// The statement that revokes a key; changes nothing when there is none.
pub fn revoke_statement(workspace: &WorkspaceId, id: &KeyId, now: Timestamp) -> Statement {
    sql!(REVOKE, workspace, id, now)
}

/// The statement that erases a revoked key.
pub fn erase(id: &KeyId) -> Statement {
    sql!(ERASE, id)
}
