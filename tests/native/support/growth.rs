//! Whether a statement reads more rows where there are more connections.
//!
//! Every statement that a test runs is run again, with the same values, on copies of that test's database in which
//! connections, and what belongs to them, were multiplied. What it costs is the number of operations of `SQLite`'s
//! virtual machine: the plan alone does not say how many rows a search finds. A limit that is bound is made small, so
//! that it shows in a small database. Statements that grow on purpose are listed in [`GROWING`], with the reason.
//!
//! No batch is passed over, but for those in a database whose tables a test has changed: the same statements run in others. A
//! statement that finds nothing and changes nothing in its first databases is measured there all the same, which says little.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use connections::ports::{SqlText, SqlValue, Statement};
use rusqlite::backup::Backup;
use rusqlite::{Connection, StatementStatus};

use super::database::{BoundValue, empty, open_migrated};
use super::plans;

/// How often each statement is measured in databases where it finds or changes something.
const TIMES: u32 = 2;
/// How often it is measured, at most.
const MOST_TIMES: u32 = 3;
/// Copies of each row in the smaller and in the larger database.
const COPIES: [i64; 2] = [15, 115];
/// A statement grows if it takes this many operations more for a hundred rows more.
const MOST_MORE: i64 = 100;
/// What a bound limit becomes.
const SMALL_LIMIT: i64 = 3;
/// Rows of a table that are multiplied, at most.
const MOST_ROWS: i64 = 4;

/// Statements that read more where there is more, by how they begin, and why they may.
pub(crate) const GROWING: [(&str, &str); 14] = [
    (
        "UPDATE oauth_clients SET misconfigured_at = coalesce",
        "an app refuses a client, and a webhook asks for that: the client's connections are counted once, up to 1,000",
    ),
    (
        "SELECT * FROM events WHERE workspace_id = ?1 AND ?13",
        "a search reads to a line that another statement finds: `audit` measures both",
    ),
    ("SELECT CASE type WHEN 'app_created'", "the lines of the seconds in which one request was handled"),
    ("UPDATE flows SET status = 'failed', error = 'client_refused'", ENDS_CLIENT),
    ("UPDATE connect_links SET status = 'used', result_connection_id = NULL WHERE workspace_id", ENDS_CLIENT),
    ("UPDATE sessions SET role = 'member' WHERE workspace_id", ENDS_PERSON),
    ("DELETE FROM sign_in_links WHERE workspace_id = ?1 AND user_id", ENDS_PERSON),
    ("DELETE FROM sessions WHERE workspace_id = ?1 AND user_id = ?2", ENDS_PERSON),
    ("DELETE FROM sessions WHERE token_hash IN (SELECT session_hash FROM connect_links", ENDS_PERSON),
    ("UPDATE connect_links SET status = 'ended', used_at = ?3 WHERE workspace_id = ?1 AND user_id", ENDS_PERSON),
    ("UPDATE flows SET expires_at = min(expires_at, ?3), error = CASE status", ENDS_PERSON),
    (
        "UPDATE connections SET deleted_at = ?3, generation = generation + 1, next_check_at = NULL WHERE +workspace_id = ?1 AND status = 'awaiting_confirmation' AND deleted_at IS NULL AND id IN (SELECT result_connection_id FROM connect_links WHERE workspace_id = ?1 AND user_id",
        ENDS_PERSON,
    ),
    (
        "SELECT created_at, id FROM connections c WHERE c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.user_id = ?5 AND (c.created_at, c.id) < (?2, ?3) UNION ALL",
        "what a person owns and shares is in two indexes, and passed over in the second: bounded by the quota of connections only",
    ),
    ("UPDATE flows SET expires_at = ?1", "a test's own way to let time pass"),
];
const ENDS_PERSON: &str = "an admin becomes a member, or a person is removed: what lets them in ends at once. It is found by the person, and bounded by what one person has, however many connections there are: 100 sessions and 1,000 sign-in links by quota, and the links of two weeks that name them";
const ENDS_CLIENT: &str = "a client that no connection uses is deleted: the consents of these ten minutes, and those of an hour that wait to be confirmed";

/// The same of statements that are put together for their filters.
const PUT_TOGETHER: [(&str, &str); 2] = [
    (
        "SELECT c.id AS id, c.workspace_id, c.app",
        "a list reads to a row that another statement finds: `rows_read` measures both",
    ),
    (
        "WITH window (at, created_at, id)",
        "a window has a limit, and may have hits in one copy only: `rows_read` measures it with hits in both",
    ),
];

/// How often a statement was measured.
#[derive(Clone, Copy, Default)]
struct Measured {
    with_rows: u32,
    for_nothing: u32,
}

impl Measured {
    fn is_enough(self) -> bool {
        self.with_rows >= TIMES || self.with_rows + self.for_nothing >= MOST_TIMES
    }
}

/// What a statement did in a copy.
struct Run {
    operations: i64,
    found: bool,
}

static MEASURED: LazyLock<Mutex<HashMap<SqlText, Measured>>> = LazyLock::new(Mutex::default);

/// Fails if a statement of the batch grows.
pub(crate) fn require_flat(sqlite: &Connection, statements: &[Statement]) {
    if !is_wanted(sqlite, statements) {
        return;
    }
    // Other people's connections to other accounts, and the same person's to the same account.
    let mut found = vec![false; statements.len()];
    for is_alike in [false, true] {
        let [small, large] = COPIES.map(|copies| {
            // A batch that is not measured would pass.
            measure(sqlite, statements, copies, is_alike).unwrap_or_else(|error| panic!("{error}: {statements:#?}"))
        });
        for (at, (small, large)) in small.into_iter().zip(large).enumerate() {
            found[at] |= small.found || large.found;
            require_same(&statements[at].sql, small.operations, large.operations);
        }
    }
    let mut measured = MEASURED.lock().unwrap();
    for (statement, found) in statements.iter().zip(found) {
        let times = measured.entry(statement.sql.clone()).or_default();
        *(if found { &mut times.with_rows } else { &mut times.for_nothing }) += 1;
    }
}

/// Fails if a statement takes more operations where there are more rows, and is not listed.
fn require_same(sql: &str, small: i64, large: i64) {
    let grows = large - small >= MOST_MORE;
    let may = GROWING.iter().chain(&PUT_TOGETHER).any(|(begins, _)| plans::in_one_line(sql).starts_with(begins));
    assert!(
        !grows || may,
        "{small} operations, and {large} for {} rows more of each kind:\n{sql}",
        COPIES[1] - COPIES[0]
    );
}

/// Whether a statement of the batch was not measured often enough yet, and can be measured here.
fn is_wanted(sqlite: &Connection, statements: &[Statement]) -> bool {
    let measured = MEASURED.lock().unwrap();
    let is_new = |statement: &Statement| measured.get(&statement.sql).is_none_or(|times| !times.is_enough());
    if !statements.iter().any(is_new) {
        return false;
    }
    drop(measured);
    has_our_schema(sqlite)
}

/// Whether the tables are those of the migrations: a test may have changed them.
fn has_our_schema(sqlite: &Connection) -> bool {
    static OURS: LazyLock<String> = LazyLock::new(|| schema(&open_migrated()));
    schema(sqlite) == *OURS
}

fn schema(sqlite: &Connection) -> String {
    let all = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema ORDER BY name)";
    sqlite.query_row(all, [], |row| row.get::<_, Option<String>>(0)).unwrap().unwrap_or_default()
}

/// The operations of each statement of a batch in a database with so many copies of each row.
fn measure(sqlite: &Connection, statements: &[Statement], copies: i64, is_alike: bool) -> rusqlite::Result<Vec<Run>> {
    let mut twin = empty();
    Backup::new(sqlite, &mut twin)?.step(-1)?;
    multiply(&twin, copies, is_alike)?;
    // The platform's own table, which has a row for each migration.
    twin.execute_batch(
        "CREATE TABLE IF NOT EXISTS d1_migrations (id INTEGER PRIMARY KEY, name TEXT, applied_at TEXT); BEGIN",
    )?;
    let mut runs = Vec::new();
    for statement in statements {
        let mut prepared = twin.prepare(&with_small_literals(&statement.sql))?;
        let values = with_small_limits(statement);
        let before = twin.total_changes();
        let mut rows = prepared.query(rusqlite::params_from_iter(values.iter().map(BoundValue)))?;
        let mut found = false;
        // A guard fails, and the batch ends with it.
        while let Ok(Some(_)) = rows.next() {
            found = true;
        }
        drop(rows);
        let operations = i64::from(prepared.get_status(StatementStatus::VmStep));
        runs.push(Run { operations, found: found || twin.total_changes() > before });
    }
    Ok(runs)
}

/// The values of a statement, with small ones for `LIMIT` and `OFFSET`.
fn with_small_limits(statement: &Statement) -> Vec<SqlValue> {
    let mut values = statement.params.clone();
    for word in ["LIMIT ?", "LIMIT max(?", "LIMIT CAST(?", "OFFSET ?", "OFFSET CAST(?"] {
        for after in statement.sql.split(word).skip(1) {
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            if let Some(SqlValue::Integer(limit)) = values.get_mut(digits.parse::<usize>().unwrap() - 1) {
                *limit = (*limit).min(SMALL_LIMIT);
            }
        }
    }
    values
}

/// The statement with small numbers where it has large ones after `LIMIT` and `OFFSET`.
fn with_small_literals(sql: &str) -> String {
    let mut edited = sql.to_owned();
    for word in ["LIMIT ", "OFFSET "] {
        let parts: Vec<_> = edited.split(word).map(str::to_owned).collect();
        let small = parts.iter().skip(1).map(|part| {
            let digits = part.chars().take_while(char::is_ascii_digit).count();
            let (limit, rest) = part.split_at(digits);
            let limit = limit.parse::<i64>().map(|limit| limit.min(SMALL_LIMIT).to_string());
            format!("{word}{}{rest}", limit.unwrap_or_default())
        });
        edited = parts[..1].iter().cloned().chain(small).collect();
    }
    edited
}

/// The id of a copy of a connection.
const COPIED_ID: &str = "'con_00' || printf('%022d', n.number * 100000 + t.rowid)";
/// The id of the same copy, for what belongs to it.
/// That of something else, or of a connection that is gone, stays.
const COPIED_CONNECTION: &str = "coalesce((SELECT 'con_00' || printf('%022d', n.number * 100000 + c.rowid) FROM connections c WHERE c.id = t.connection_id), t.connection_id)";

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
