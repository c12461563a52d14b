//! Rows of `revocations`: revocations that an app has not confirmed yet, kept sealed for a day.

use super::{Columns, FromRow, StoreResult, json_text};
use std::collections::BTreeMap;

use crate::app::{AppId, AuthMethodId};
use crate::destinations::Destinations;
use crate::ids::{ClientId, ConnectionId, WorkspaceId};
use crate::ports::{DatabaseError, Statement};
use crate::sql;
use crate::time::Timestamp;

const INSERT: &str = "INSERT OR REPLACE INTO revocations (id, workspace_id, app, app_revision, oauth_client, account_id, sealed_tokens, failures, next_attempt_at, expires_at, auth_method, variables, destinations)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
const DUE: &str =
    "SELECT id FROM revocations WHERE next_attempt_at <= ?1 AND expires_at > ?1 ORDER BY next_attempt_at LIMIT ?2";
/// Leased as it is read: an interrupted run leaves it for the next one.
const LEASE: &str = "UPDATE revocations SET next_attempt_at = ?3
    WHERE id IN (SELECT value FROM json_each(?1)) AND next_attempt_at <= ?2 RETURNING *";
const POSTPONE: &str = "UPDATE revocations SET failures = failures + 1, next_attempt_at = ?2 WHERE id = ?1";
const DELETE: &str = "DELETE FROM revocations WHERE id = ?1";

/// A revocation to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationJob {
    /// The id of the former connection.
    pub connection: ConnectionId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its app.
    pub app: AppId,
    /// The revision of the app's definition.
    pub app_revision: i64,
    /// The auth method it was created with.
    pub auth_method: AuthMethodId,
    /// The variables of the app's addresses.
    pub variables: BTreeMap<String, String>,
    /// The destinations of its tokens, as in a connection.
    pub destinations: Option<Destinations>,
    /// Its client, if it had one.
    pub client: Option<ClientId>,
    /// Its account's id.
    pub account_id: Option<String>,
    /// The sealed tokens.
    pub sealed_tokens: String,
    /// Tries so far.
    pub failures: i64,
    /// When it is tried again.
    pub next_attempt_at: Timestamp,
    /// When it is given up.
    pub expires_at: Timestamp,
}

impl FromRow for RevocationJob {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            connection: row.id("id")?,
            workspace: row.id("workspace_id")?,
            app: AppId::parse(&row.text("app")?).ok_or_else(|| DatabaseError::Malformed("an app's id".into()))?,
            app_revision: row.integer("app_revision")?,
            auth_method: AuthMethodId::parse(&row.text("auth_method")?)
                .ok_or_else(|| DatabaseError::Malformed("a way's id".into()))?,
            variables: row.json("variables")?,
            destinations: row.optional_json("destinations")?,
            client: row.optional_id("oauth_client")?,
            account_id: row.optional_text("account_id")?,
            sealed_tokens: row.text("sealed_tokens")?,
            failures: row.integer("failures")?,
            next_attempt_at: row.time("next_attempt_at")?,
            expires_at: row.time("expires_at")?,
        })
    }
}

/// The statement that stores a revocation for later.
pub fn insert(job: &RevocationJob) -> Statement {
    sql!(
        INSERT,
        &job.connection,
        &job.workspace,
        &job.app,
        job.app_revision,
        job.client.as_ref(),
        job.account_id.as_deref(),
        job.sealed_tokens.as_str(),
        job.failures,
        job.next_attempt_at,
        job.expires_at,
        &job.auth_method,
        json_text(&job.variables),
        job.destinations.as_ref().map(json_text)
    )
}

/// The statement that reads which revocations are due.
pub(super) fn select_due(now: Timestamp, limit: i64) -> Statement {
    sql!(DUE, now, limit)
}

/// The statement that takes due revocations, so that no other run does before `lease_until`.
pub(super) fn lease(ids: &[&ConnectionId], now: Timestamp, lease_until: Timestamp) -> Statement {
    sql!(LEASE, json_text(ids), now, lease_until)
}

/// The statement that postpones a revocation.
pub fn postpone(id: &ConnectionId, at: Timestamp) -> Statement {
    sql!(POSTPONE, id, at)
}

/// The statement that ends a revocation.
pub fn delete(id: &ConnectionId) -> Statement {
    sql!(DELETE, id)
}
