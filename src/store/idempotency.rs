//! Rows of `idempotent_requests`: what became of a request with an `Idempotency-Key`.
//!
//! Of several requests with the same id, one inserts the row and handles the request. Its lease says until when.

use super::{Columns, FromRow, StoreResult, query_first, read_first, run_statement};
use crate::ids::WorkspaceId;
use crate::ports::Database;
use crate::sql;
use crate::time::Timestamp;

/// A row whose time is over counts as none.
const BEGIN: &str = "INSERT INTO idempotent_requests (id, workspace_id, body_hash, attempt_id, request_id, started_at, lease_expires_at, expires_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (id) DO UPDATE SET body_hash = ?3, attempt_id = ?4, request_id = ?5, started_at = ?6, lease_expires_at = ?7, expires_at = ?8,
      status = NULL, created_id = NULL, sealed_answer = NULL WHERE expires_at <= ?6";
const GET: &str = "SELECT * FROM idempotent_requests WHERE id = ?1";
const TAKE_OVER: &str =
    "UPDATE idempotent_requests SET attempt_id = ?3, request_id = ?4, started_at = ?5, lease_expires_at = ?6
    WHERE id = ?1 AND attempt_id = ?2 AND status IS NULL";
const COMPLETE: &str = "UPDATE idempotent_requests SET status = ?3, created_id = ?4, sealed_answer = ?5
    WHERE id = ?1 AND attempt_id = ?2 AND status IS NULL";
const END_LEASE: &str =
    "UPDATE idempotent_requests SET lease_expires_at = ?3 WHERE id = ?1 AND attempt_id = ?2 AND status IS NULL";
const FORGET: &str = "DELETE FROM idempotent_requests WHERE id = ?1 AND attempt_id = ?2 AND status IS NULL";
/// Whatever creates something writes its event in the same transaction.
const FIND_CREATED: &str = "SELECT CASE type WHEN 'app_created' THEN app
      WHEN 'key_created' THEN target WHEN 'link_created' THEN target WHEN 'sign_in_link_created' THEN target WHEN 'app_disconnected' THEN target
      ELSE connection_id END AS created_id
    FROM events WHERE workspace_id = ?1 AND occurred_at >= ?2 AND occurred_at <= ?3 AND request_id = ?4
      AND type IN ('app_created', 'key_created', 'link_created', 'sign_in_link_created', 'app_disconnected', 'connected', 'reconnected', 'account_switched', 'reused')
    ORDER BY occurred_at, seq LIMIT 1";

/// One attempt to handle a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The hash of caller, path and `Idempotency-Key`.
    pub id: String,
    /// The caller's workspace; none for the operator.
    pub workspace: Option<WorkspaceId>,
    /// The hash of the request's body.
    pub body_hash: String,
    /// This attempt.
    pub attempt: String,
    /// The request, as in `X-Request-Id`.
    pub request: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Until when nobody else begins.
    pub lease_expires_at: Timestamp,
    /// Until when the answer is kept.
    pub expires_at: Timestamp,
}

/// What is known of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRequest {
    /// The attempt that handles it, or has handled it.
    pub attempt: Attempt,
    /// The status of its answer. None as long as there is no answer.
    pub status: Option<i64>,
    /// The id of what was created.
    pub created_id: Option<String>,
    /// Its answer, unless that showed a secret.
    pub sealed_answer: Option<String>,
}

impl FromRow for StoredRequest {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let workspace = row.text("workspace_id")?;
        Ok(Self {
            attempt: Attempt {
                id: row.text("id")?,
                workspace: if workspace.is_empty() { None } else { Some(row.id("workspace_id")?) },
                body_hash: row.text("body_hash")?,
                attempt: row.text("attempt_id")?,
                request: row.text("request_id")?,
                started_at: row.time("started_at")?,
                lease_expires_at: row.time("lease_expires_at")?,
                expires_at: row.time("expires_at")?,
            },
            status: row.optional_integer("status")?,
            created_id: row.optional_text("created_id")?,
            sealed_answer: row.optional_text("sealed_answer")?,
        })
    }
}

fn workspace_text(of: &Attempt) -> &str {
    of.workspace.as_ref().map_or("", WorkspaceId::as_str)
}

/// Begins an attempt, unless there is one already. Returns the one that there is.
pub async fn begin(db: &impl Database, new: &Attempt) -> StoreResult<Option<StoredRequest>> {
    let insert = sql!(
        BEGIN,
        new.id.as_str(),
        workspace_text(new),
        new.body_hash.as_str(),
        new.attempt.as_str(),
        new.request.as_str(),
        new.started_at,
        new.lease_expires_at,
        new.expires_at
    );
    let answers = db.batch(vec![insert, sql!(GET, new.id.as_str())]).await?;
    answers.last().map_or(Ok(None), read_first)
}

/// Takes the place of an attempt that came to nothing. Returns whether nobody else did.
pub async fn take_over(db: &impl Database, old: &Attempt, new: &Attempt) -> StoreResult<bool> {
    let statement = sql!(
        TAKE_OVER,
        new.id.as_str(),
        old.attempt.as_str(),
        new.attempt.as_str(),
        new.request.as_str(),
        new.started_at,
        new.lease_expires_at
    );
    Ok(run_statement(db, statement).await?.changes > 0)
}

/// What an attempt created, although it has no answer.
pub async fn find_created(db: &impl Database, of: &Attempt) -> StoreResult<Option<String>> {
    let Some(workspace) = &of.workspace else { return Ok(None) };
    let statement = sql!(FIND_CREATED, workspace, of.started_at, of.lease_expires_at, of.request.as_str());
    let found: Option<CreatedId> = query_first(db, statement).await?;
    Ok(found.and_then(|found| found.0))
}

struct CreatedId(Option<String>);

impl FromRow for CreatedId {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        row.optional_text("created_id").map(Self)
    }
}

/// Stores what came of an attempt.
pub async fn complete(
    db: &impl Database,
    of: &Attempt,
    status: i64,
    created_id: Option<&str>,
    sealed_answer: Option<&str>,
) -> StoreResult<()> {
    let statement = sql!(COMPLETE, of.id.as_str(), of.attempt.as_str(), status, created_id, sealed_answer);
    run_statement(db, statement).await.map(|_| ())
}

/// An attempt failed: the next one may begin, after it has looked for what this one created.
pub async fn end_lease(db: &impl Database, of: &Attempt, now: Timestamp) -> StoreResult<()> {
    run_statement(db, sql!(END_LEASE, of.id.as_str(), of.attempt.as_str(), now)).await.map(|_| ())
}

/// An attempt was refused: nothing was created.
pub async fn forget(db: &impl Database, of: &Attempt) -> StoreResult<()> {
    run_statement(db, sql!(FORGET, of.id.as_str(), of.attempt.as_str())).await.map(|_| ())
}
