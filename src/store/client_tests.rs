//! Rows of `client_tests`: recent results of client tests.

use super::{Columns, FromRow, StoreResult, read_first, run_statement};
use crate::ids::ClientId;
use crate::ports::Database;
use crate::retention::REPEATED_CLIENT_TEST_AGE;
use crate::sql;
use crate::time::Timestamp;

/// The caller that changes a row may ask the app.
const BEGIN: &str = "INSERT INTO client_tests (oauth_client, input_hash, started_at, valid_for_seconds) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (oauth_client, input_hash) DO UPDATE SET started_at = ?3, valid_for_seconds = ?4, result = NULL WHERE started_at <= ?3 - valid_for_seconds
    RETURNING started_at";
const GET: &str = "SELECT started_at, result FROM client_tests WHERE oauth_client = ?1 AND input_hash = ?2";
/// Tests of a client of before `?2`, which count no more, so that its rows stay few.
const FORGET_OLD: &str = "DELETE FROM client_tests WHERE oauth_client = ?1 AND started_at < ?2";
const FINISH: &str = "UPDATE client_tests SET result = ?4, valid_for_seconds = ?5 WHERE oauth_client = ?1 AND input_hash = ?2 AND started_at = ?3";
const CANCEL: &str = "DELETE FROM client_tests WHERE oauth_client = ?1 AND input_hash = ?2 AND started_at = ?3";

/// A test of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTestRow {
    /// When the app was asked.
    pub started_at: Timestamp,
    /// The result. None while the app is being asked.
    pub result: Option<serde_json::Value>,
}

impl FromRow for ClientTestRow {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self { started_at: row.time("started_at")?, result: row.optional_json("result")? })
    }
}

/// Begins a test, unless there is a recent one, which is returned.
pub async fn begin(
    db: &impl Database,
    client: &ClientId,
    tested: &str,
    now: Timestamp,
    counts_for: i64,
) -> StoreResult<Option<ClientTestRow>> {
    let answers = db
        .batch(vec![
            sql!(FORGET_OLD, client, now.plus(-REPEATED_CLIENT_TEST_AGE)),
            sql!(BEGIN, client, tested, now, counts_for),
            sql!(GET, client, tested),
        ])
        .await?;
    let [_, claimed, found] = answers.as_slice() else { return Ok(None) };
    if claimed.rows.is_empty() { read_first(found) } else { Ok(None) }
}

/// A test that another caller began.
pub async fn get(db: &impl Database, client: &ClientId, tested: &str) -> StoreResult<Option<ClientTestRow>> {
    super::query_first(db, sql!(GET, client, tested)).await
}

/// Stores the result of a test, and for how many seconds it is valid.
pub async fn finish(
    db: &impl Database,
    client: &ClientId,
    tested: &str,
    started_at: Timestamp,
    result: &serde_json::Value,
    counts_for: i64,
) -> StoreResult<()> {
    run_statement(db, sql!(FINISH, client, tested, started_at, result.to_string(), counts_for)).await.map(|_| ())
}

/// Deletes a test without a result.
pub async fn cancel(db: &impl Database, client: &ClientId, tested: &str, started_at: Timestamp) -> StoreResult<()> {
    run_statement(db, sql!(CANCEL, client, tested, started_at)).await.map(|_| ())
}
