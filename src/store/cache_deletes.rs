//! Rows of `cache_deletes`: cache entries to delete, until the cache has confirmed the deletion.

use super::{Columns, FromRow, StoreResult, json_text};
use crate::ports::Statement;
use crate::sql;
use crate::time::Timestamp;

const INSERT: &str = "INSERT INTO cache_deletes (id, cache_key, created_at, next_attempt_at) VALUES (?1, ?2, ?3, ?4)";
const INSERT_ALL: &str = "INSERT INTO cache_deletes (id, cache_key, created_at, next_attempt_at)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), ?2, ?2 FROM json_each(?1)";
/// Only if the statement before it in the batch changed a row.
const INSERT_IF_CHANGED: &str = "INSERT INTO cache_deletes (id, cache_key, created_at, next_attempt_at)
    SELECT ?1, ?2, ?3, ?4 WHERE changes() > 0";
const REVOKED_KEYS: &str = "INSERT INTO cache_deletes (id, cache_key, created_at, next_attempt_at)
    SELECT 'revoked/' || id, 'key/' || id, ?3, ?3 FROM api_keys WHERE revoked_at IS NOT NULL AND revoked_at <= ?1 AND is_ending IS NULL ORDER BY revoked_at LIMIT ?2
    ON CONFLICT (id) DO NOTHING";
/// Leased as they are read. A failed one goes to the end of the queue.
const LEASE: &str = "UPDATE cache_deletes SET next_attempt_at = ?2 WHERE id IN
    (SELECT id FROM cache_deletes WHERE next_attempt_at <= ?1 ORDER BY next_attempt_at LIMIT ?3) RETURNING *";
const DONE: &str = "DELETE FROM cache_deletes WHERE id IN (SELECT value FROM json_each(?1))";

/// A cache entry to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheDelete {
    /// The id of this row: two changes that make the same entry outdated are two rows.
    pub id: String,
    /// The name of the cache entry.
    pub name: String,
    /// When it was recorded.
    pub noted_at: Timestamp,
}

impl FromRow for CacheDelete {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self { id: row.text("id")?, name: row.text("cache_key")?, noted_at: row.time("created_at")? })
    }
}

/// The statement that records a deletion, in the batch of the change that makes the entry outdated. The caller tries
/// first: the scheduled run follows after `next_attempt_at`.
pub fn insert(note: &CacheDelete, next_attempt_at: Timestamp) -> Statement {
    sql!(INSERT, note.id.as_str(), note.name.as_str(), note.noted_at, next_attempt_at)
}

/// The same for many, which the next scheduled run deletes.
pub fn insert_all(notes: &[CacheDelete], now: Timestamp) -> Statement {
    let pairs: Vec<_> = notes.iter().map(|note| (&note.id, &note.name)).collect();
    sql!(INSERT_ALL, json_text(&pairs), now)
}

/// The same as [`insert`], only if the statement before it changed a row.
pub fn insert_if_changed(note: &CacheDelete, next_attempt_at: Timestamp) -> Statement {
    sql!(INSERT_IF_CHANGED, note.id.as_str(), note.name.as_str(), note.noted_at, next_attempt_at)
}

/// The statement that records the entries of keys that were revoked before a time.
pub(crate) fn insert_revoked_keys(before: Timestamp, limit: i64, now: Timestamp) -> Statement {
    sql!(REVOKED_KEYS, before, limit, now)
}

/// The statement that takes due rows, so that no other run takes them before `lease_until`.
pub fn lease_due(now: Timestamp, lease_until: Timestamp, limit: i64) -> Statement {
    sql!(LEASE, now, lease_until, limit)
}

/// The statement that removes rows whose entries are deleted.
pub fn delete(ids: &[&str]) -> Statement {
    sql!(DONE, json_text(ids))
}
