//! What the clock and the operator do across workspaces: purges, key checks, the state of things.

use super::{Columns, Stored, run};
use crate::ports::Database;
use crate::sql;
use crate::time::Timestamp;

/// Bounded: a run deletes at most so many rows of each kind, the next one the rest.
const PURGES: [&str; 7] = [
    "DELETE FROM authorizations WHERE id IN (SELECT id FROM authorizations WHERE expires_at < ?1 - 86400 LIMIT 500)",
    "DELETE FROM links WHERE id IN (SELECT id FROM links WHERE expires_at < ?1 - 604800 LIMIT 500)",
    "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE expires_at <= ?1 LIMIT 500)",
    "DELETE FROM sign_in_links WHERE token_hash IN (SELECT token_hash FROM sign_in_links WHERE expires_at <= ?1 LIMIT 500)",
    "DELETE FROM revocations WHERE expires_at <= ?1",
    "DELETE FROM events WHERE (workspace_id, connection_id, at, id) IN
      (SELECT workspace_id, connection_id, at, id FROM events WHERE at < ?1 - 7776000 LIMIT 500)",
    "UPDATE authorizations SET sealed_grant = NULL, sealed_verifier = NULL WHERE expires_at <= ?1 AND (sealed_grant IS NOT NULL OR sealed_verifier IS NOT NULL)",
];
/// Sealed tokens of a dead connection are kept a week, so that "check now" may revive it.
const FORGET_DEAD: &str = "UPDATE connections SET sealed_credential = NULL, version = version + 1 WHERE id IN
    (SELECT id FROM connections WHERE reason IS NOT NULL AND sealed_credential IS NOT NULL AND checked_at < ?1 - 604800 LIMIT 500)
    AND attempt_id IS NULL";
const KEY_CHECKS: &str = "SELECT key_id, sealed FROM key_checks";
const INSERT_KEY_CHECK: &str =
    "INSERT INTO key_checks (key_id, sealed, created_at) VALUES (?1, ?2, ?3) ON CONFLICT (key_id) DO NOTHING";
const RUN_BEGINS: &str = "INSERT INTO cron_runs (name, started_at) VALUES ('tick', ?1)
    ON CONFLICT (name) DO UPDATE SET started_at = ?1, finished_at = NULL";
const RUN_ENDS: &str = "UPDATE cron_runs SET finished_at = ?1, summary = ?2 WHERE name = 'tick'";
const LAST_RUN: &str = "SELECT started_at, finished_at, summary FROM cron_runs WHERE name = 'tick'";
const DUE: &str = "SELECT count(*) AS n FROM connections WHERE next_check_at IS NOT NULL AND next_check_at <= ?1";
const SEALED_UNDER: &str = "SELECT substr(sealed, 5, instr(substr(sealed, 5), '.') - 1) AS key_id, count(*) AS n FROM (
      SELECT sealed_credential AS sealed FROM connections WHERE sealed_credential IS NOT NULL
      UNION ALL SELECT sealed_secret FROM clients WHERE sealed_secret IS NOT NULL
      UNION ALL SELECT sealed_tokens FROM revocations
      UNION ALL SELECT sealed_grant FROM authorizations WHERE sealed_grant IS NOT NULL) GROUP BY 1 ORDER BY 1";
const MIGRATIONS: &str = "SELECT name FROM d1_migrations ORDER BY id";
const PING: &str = "SELECT 1 AS one";

/// Deletes what has expired; answers how many rows.
pub async fn purge(db: &impl Database, now: Timestamp) -> Stored<u64> {
    let mut statements: Vec<_> = PURGES.iter().map(|sql| sql!(*sql, now)).collect();
    statements.push(sql!(FORGET_DEAD, now));
    Ok(db.batch(statements).await?.iter().map(|rows| rows.changes).sum())
}

/// Stored check values by key id.
pub async fn key_checks(db: &impl Database) -> Stored<Vec<(String, String)>> {
    run(db, sql!(KEY_CHECKS))
        .await?
        .rows
        .iter()
        .map(|row| Ok((Columns(row).text("key_id")?, Columns(row).text("sealed")?)))
        .collect()
}

/// Stores a key's check value unless there is one.
pub async fn insert_key_check(db: &impl Database, key_id: &str, sealed: &str, now: Timestamp) -> Stored<()> {
    run(db, sql!(INSERT_KEY_CHECK, key_id, sealed, now)).await.map(|_| ())
}

/// Notes that the clock's run begins.
pub async fn run_begins(db: &impl Database, now: Timestamp) -> Stored<()> {
    run(db, sql!(RUN_BEGINS, now)).await.map(|_| ())
}

/// Notes that it ended, and what it did.
pub async fn run_ends(db: &impl Database, now: Timestamp, summary: &str) -> Stored<()> {
    run(db, sql!(RUN_ENDS, now, summary)).await.map(|_| ())
}

/// Whether the database answers.
pub async fn ping(db: &impl Database) -> Stored<()> {
    run(db, sql!(PING)).await.map(|_| ())
}

/// What the operator sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Rows sealed under each key id.
    pub sealed_under: Vec<(String, i64)>,
    /// Connections whose check is due.
    pub due: i64,
    /// The clock's last run: begin, end, summary (JSON).
    pub last_run: Option<(Timestamp, Option<Timestamp>, Option<String>)>,
    /// Migrations that were applied.
    pub migrations: Vec<String>,
}

/// Reads the state of things.
pub async fn state(db: &impl Database, now: Timestamp) -> Stored<State> {
    let answers = db.batch(vec![sql!(SEALED_UNDER), sql!(DUE, now), sql!(LAST_RUN)]).await?;
    let mut state = State { migrations: migrations(db).await.unwrap_or_default(), ..State::default() };
    if let [sealed, due, last] = answers.as_slice() {
        state.sealed_under = sealed
            .rows
            .iter()
            .map(|row| Ok((Columns(row).text("key_id")?, Columns(row).integer("n")?)))
            .collect::<Stored<_>>()?;
        state.due = due.rows.first().map_or(Ok(0), |row| Columns(row).integer("n"))?;
        state.last_run = match last.rows.first().map(Columns) {
            None => None,
            Some(row) => {
                Some((row.time("started_at")?, row.optional_time("finished_at")?, row.optional_text("summary")?))
            }
        };
    }
    Ok(state)
}

/// Apart: a database that was migrated by other means has no such table.
async fn migrations(db: &impl Database) -> Stored<Vec<String>> {
    run(db, sql!(MIGRATIONS)).await?.rows.iter().map(|row| Columns(row).text("name")).collect()
}
