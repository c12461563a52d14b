//! Whether a statement reads more rows where there are more connections.
//!
//! Every statement that a test runs is run again, with the same values, on copies of that test's database in which
//! connections, and what belongs to them, were multiplied. What it costs is the number of operations of `SQLite`'s
//! virtual machine: the plan alone does not say how many rows a search finds. A limit that is bound is made small, so
//! that it shows in a small database. Statements that grow on purpose are listed in [`GROWING`], with the reason.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use connections::ports::{SqlValue, Statement};
use rusqlite::backup::Backup;
use rusqlite::{Connection, StatementStatus};

use super::database::{BoundValue, empty};
use super::plans;

/// How often each statement is measured, in the first databases that it runs on.
const TIMES: u32 = 3;
/// Copies of each row in the smaller and in the larger database.
const COPIES: [i64; 2] = [15, 115];
/// A statement grows if it takes this many operations more for a hundred rows more.
const MOST_MORE: i64 = 100;
/// What a bound limit becomes.
const SMALL_LIMIT: i64 = 3;
/// Rows of a table that are multiplied, at most.
const MOST_ROWS: i64 = 4;
/// Pages of a database that is copied, at most: a test that fills one measures by itself.
const MOST_PAGES: i64 = 500;

/// Statements that read more where there is more, by how they begin, and why they may.
pub(crate) const GROWING: [(&str, &str); 16] = [
    (
        "SELECT c.id AS id, c.workspace_id, c.app",
        "a list reads to a row that another statement finds: `rows_read` measures both",
    ),
    ("SELECT count(*) AS n FROM sessions WHERE workspace_id = ?1 AND created_by_key", ENDS_KEY),
    ("SELECT count(*) AS n FROM sign_in_links WHERE workspace_id = ?1 AND created_by_key", ENDS_KEY),
    ("SELECT count(*) AS n FROM connect_links WHERE workspace_id = ?1 AND created_by_key", ENDS_KEY),
    ("UPDATE connect_links SET status = 'ended', used_at = ?3 WHERE workspace_id = ?1 AND created_by_key", ENDS_KEY),
    ("UPDATE flows SET expires_at = min(expires_at, ?3), error = CASE status", ENDS_KEY),
    ("UPDATE flows SET expires_at = ?3 WHERE workspace_id", ENDS_KEY),
    (
        "UPDATE connections SET deleted_at = ?3, generation = generation + 1, next_check_at = NULL WHERE +workspace_id",
        ENDS_KEY,
    ),
    ("UPDATE flows SET status = 'failed', error = 'client_refused'", ENDS_CLIENT),
    ("UPDATE connect_links SET status = 'used', result_connection_id = NULL WHERE workspace_id", ENDS_CLIENT),
    (
        "UPDATE connections SET definition_update_blocked = NULL",
        "an app is deleted: the connections that stayed with an earlier definition",
    ),
    (
        "SELECT *, (SELECT max(expires_at) FROM flows",
        "a filter of the list of connect links: those of the workspace, until they are purged",
    ),
    ("UPDATE sessions SET role = 'member' WHERE workspace_id", ENDS_PERSON),
    ("DELETE FROM sign_in_links WHERE workspace_id = ?1 AND user_id", ENDS_PERSON),
    ("UPDATE connect_links SET status = 'ended', used_at = ?3 WHERE workspace_id = ?1 AND user_id", ENDS_PERSON),
    ("UPDATE flows SET expires_at = ?1", "a test's own way to let time pass"),
];
const ENDS_KEY: &str = "a key is revoked: what it made ends with it";
const ENDS_PERSON: &str = "an admin becomes a member, or a person is removed: what lets them in ends at once. The quotas bound it: 100 sessions and 1,000 sign-in links of a person, 10,000 open links of the workspace, and those of the last two weeks that were used";
const ENDS_CLIENT: &str = "a client is deleted: the flows of the last day that use it";

static MEASURED: LazyLock<Mutex<HashMap<&'static str, u32>>> = LazyLock::new(Mutex::default);

/// Fails if a statement of the batch grows.
pub(crate) fn require_flat(sqlite: &Connection, statements: &[Statement]) {
    if !is_wanted(sqlite, statements) {
        return;
    }
    // Other people's connections to other accounts, and the same person's to the same account.
    for is_alike in [false, true] {
        let costs = COPIES.map(|copies| measure(sqlite, statements, copies, is_alike));
        let [Ok(small), Ok(large)] = costs else { return };
        for ((statement, small), large) in statements.iter().zip(small).zip(large) {
            let grows = large - small >= MOST_MORE;
            let may = GROWING.iter().any(|(begins, _)| plans::in_one_line(statement.sql).starts_with(begins));
            assert!(
                !grows || may,
                "{small} operations, and {large} for {} rows more of each kind:\n{}",
                COPIES[1] - COPIES[0],
                statement.sql
            );
        }
    }
}

/// Whether a statement of the batch was not measured often enough yet.
fn is_wanted(sqlite: &Connection, statements: &[Statement]) -> bool {
    let mut measured = MEASURED.lock().unwrap();
    let is_new = |statement: &Statement| measured.get(statement.sql).is_none_or(|times| *times < TIMES);
    if !statements.iter().any(is_new) {
        return false;
    }
    let pages = sqlite.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).unwrap();
    if pages > MOST_PAGES {
        return false;
    }
    for statement in statements {
        *measured.entry(statement.sql).or_default() += 1;
    }
    true
}

/// The operations of each statement of a batch in a database with so many copies of each row.
fn measure(sqlite: &Connection, statements: &[Statement], copies: i64, is_alike: bool) -> rusqlite::Result<Vec<i64>> {
    let mut twin = empty();
    Backup::new(sqlite, &mut twin)?.step(-1)?;
    multiply(&twin, copies, is_alike)?;
    twin.execute_batch("BEGIN")?;
    let mut costs = Vec::new();
    for statement in statements {
        let mut prepared = twin.prepare(statement.sql)?;
        let values = with_small_limits(statement);
        let mut rows = prepared.query(rusqlite::params_from_iter(values.iter().map(BoundValue)))?;
        // A guard fails, and the batch ends with it.
        while let Ok(Some(_)) = rows.next() {}
        drop(rows);
        costs.push(i64::from(prepared.get_status(StatementStatus::VmStep)));
    }
    Ok(costs)
}

/// The values of a statement, with small ones for `LIMIT` and `OFFSET`.
fn with_small_limits(statement: &Statement) -> Vec<SqlValue> {
    let mut values = statement.params.clone();
    for word in ["LIMIT ?", "LIMIT max(?", "OFFSET ?"] {
        for after in statement.sql.split(word).skip(1) {
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            if let Some(SqlValue::Integer(limit)) = values.get_mut(digits.parse::<usize>().unwrap() - 1) {
                *limit = (*limit).min(SMALL_LIMIT);
            }
        }
    }
    values
}

/// The id of a copy of a connection.
const COPIED_ID: &str = "'con_00' || printf('%022d', n.number * 100000 + t.rowid)";
/// The id of the same copy, for what belongs to it.
const COPIED_CONNECTION: &str =
    "(SELECT 'con_00' || printf('%022d', n.number * 100000 + c.rowid) FROM connections c WHERE c.id = t.connection_id)";

/// Multiplies connections, and what belongs to them.
fn multiply(twin: &Connection, copies: i64, is_alike: bool) -> rusqlite::Result<()> {
    let mut triggers = twin.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")?;
    let triggers: Vec<(String, String)> =
        triggers.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    twin.execute_batch("PRAGMA foreign_keys = OFF")?;
    for (name, _) in &triggers {
        twin.execute_batch(&format!("DROP TRIGGER {name}"))?;
    }
    twin.execute_batch(
        "INSERT INTO connections (id, workspace_id, app, app_revision, oauth_client, name, created_at, connected_at, generation,
          version, status, refreshable, scopes_requested, scopes_granted)
        SELECT 'con_00' || printf('%022d', 99 - w.rowid_), w.id, 'acme', 1, (SELECT k.id FROM oauth_clients k WHERE k.workspace_id = w.id LIMIT 1),
          'Acme', 1, 1, 1, 1, 'connected', 1, '[]', '[]'
        FROM (SELECT id, row_number() OVER () AS rowid_ FROM workspaces) w WHERE NOT EXISTS (SELECT 1 FROM connections)",
    )?;
    let of_others: &[_] = &[
        ("name", "t.name || n.number"),
        ("user_id", "t.user_id || n.number"),
        ("account_id", "t.account_id || n.number"),
        ("created_at", "t.created_at - n.number"),
    ];
    let other = if is_alike { &[] } else { of_others };
    // Before the connections: their copies are found by the connections that are copied.
    copy(twin, "uses", copies, &[("connection_id", COPIED_CONNECTION)])?;
    copy(twin, "events", copies, &[("connection_id", COPIED_CONNECTION), ("seq", "NULL")])?;
    copy(twin, "connections", copies, &[&[("id", COPIED_ID)], other].concat())?;
    let number = |column| (column, "number");
    for (table, columns) in [
        ("flows", &["id", "state_hash", "session_hash"][..]),
        ("revocations", &["id"]),
        ("cache_deletes", &["id", "cache_key"]),
        ("sessions", &["token_hash"]),
        ("sign_in_links", &["token_hash"]),
        ("connect_links", &["id", "token_hash"]),
    ] {
        let of_others: &[&str] = if is_alike { &[] } else { &["user_id"] };
        let columns: Vec<_> = columns.iter().chain(of_others).copied().map(number).collect();
        copy(twin, table, copies, &columns)?;
    }
    for (_, sql) in &triggers {
        twin.execute_batch(sql)?;
    }
    twin.execute_batch("PRAGMA foreign_keys = ON")
}

/// Copies rows of a table. `other` are the columns that differ; `number` puts the number of the copy before it.
fn copy(twin: &Connection, table: &str, copies: i64, other: &[(&str, &str)]) -> rusqlite::Result<()> {
    let mut columns = twin.prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))?;
    let columns: Vec<String> = columns.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let value = |column: &String| match other.iter().find(|(name, _)| name == column) {
        Some((_, "number")) => format!("n.number || '.' || t.{column}"),
        Some((_, value)) => (*value).to_owned(),
        None => format!("t.{column}"),
    };
    let values: Vec<_> = columns.iter().map(value).collect();
    twin.execute_batch(&format!(
        "WITH RECURSIVE n (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < {copies})
        INSERT INTO {table} ({}) SELECT {} FROM n, (SELECT {} * FROM {table} LIMIT {MOST_ROWS}) t WHERE true ON CONFLICT DO NOTHING",
        columns.join(", "),
        values.join(", "),
        if table == "connections" { "rowid," } else { "" }
    ))
}
