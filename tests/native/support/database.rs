//! The in-memory counterpart of D1: `SQLite` with the real migrations.
//!
//! Owns the counts (round trips, statements, rows scanned), the faults, and the list of SQL that was run. Integers are
//! bound as floating point numbers, as the edge binds them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use connections::ports::{Database, DatabaseError, Row, Rows, SqlText, SqlValue, Statement};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, StatementStatus, ToSql};
use serde_json::Value as Json;

use super::recorder::InvocationRecorder;
use super::runtime::Runtime;
use super::small_ports::SubrequestBudget;
use super::{growth, plans};

/// The longest `LIKE` pattern in bytes, as in D1.
const MAX_LIKE_BYTES: i32 = 50;
/// The most terms of a compound `SELECT`, as in D1.
const MAX_COMPOUND_TERMS: i32 = 5;
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");

/// What happens to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not applied, and reported as failed.
    BeforeCommit,
    /// It is applied, and reported as failed.
    AfterCommit,
    /// It takes this many milliseconds.
    Slow(i64),
    /// It is applied, but no answer ever arrives.
    NoAnswer,
}

/// A fault for a batch with a statement that contains a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FaultRule {
    pub(crate) statement_part: &'static str,
    pub(crate) times: u32,
    pub(crate) fault: Fault,
}

/// Decides what happens to a batch.
pub(crate) type DatabaseFaultPlan = Box<dyn FnMut(&[Statement]) -> Option<Fault>>;

/// A changed statement, as if a safeguard were missing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StatementEdit {
    /// A piece of the statement's text.
    pub(crate) statement_part: &'static str,
    /// The text that is removed.
    pub(crate) find: &'static str,
    /// The text that replaces it.
    pub(crate) replacement: &'static str,
}

thread_local! {
    /// An empty database with its statements prepared. Creating one takes longer than most tests.
    static SPARE: Cell<Option<Connection>> = const { Cell::new(None) };
}

/// The database. All clones share it.
pub(crate) struct TestDatabase {
    /// The fault stays until it is dropped.
    sqlite: Option<Connection>,
    pub(crate) fault_plan: RefCell<Option<DatabaseFaultPlan>>,
    pub(crate) statement_edits: RefCell<Vec<StatementEdit>>,
    pub(crate) fault_rules: RefCell<Vec<FaultRule>>,
    pub(crate) down: Cell<bool>,
    /// After this many further batches, every batch gets this fault.
    pub(crate) outage: Cell<Option<(u64, Fault)>>,
    pub(crate) round_trips: Cell<u64>,
    pub(crate) statements: Cell<u64>,
    pub(crate) writes: Cell<u64>,
    /// Rows that each statement changed, without those of triggers.
    pub(crate) changes: RefCell<BTreeMap<SqlText, u64>>,
    pub(crate) rows_scanned: Cell<i64>,
    /// Operations of `SQLite`'s virtual machine: what a statement costs, whichever way it finds its rows.
    pub(crate) vm_steps: Cell<i64>,
    /// Those of the statement with the most.
    pub(crate) most_vm_steps: Cell<i64>,
    pub(crate) statements_run: RefCell<BTreeSet<SqlText>>,
}

/// As the edge binds it.
pub(super) struct BoundValue<'a>(pub(super) &'a SqlValue);

impl ToSql for BoundValue<'_> {
    #[expect(clippy::cast_precision_loss, reason = "the edge does the same; values stay within 2^53")]
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            SqlValue::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            SqlValue::Integer(number) => ToSqlOutput::Borrowed(ValueRef::Real(*number as f64)),
            SqlValue::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl TestDatabase {
    pub(crate) fn new() -> Self {
        Self::over(SPARE.take().unwrap_or_else(open_migrated))
    }

    /// A database with existing content.
    pub(crate) fn over(sqlite: Connection) -> Self {
        Self {
            sqlite: Some(sqlite),
            fault_plan: RefCell::default(),
            statement_edits: RefCell::default(),
            fault_rules: RefCell::default(),
            down: Cell::new(false),
            outage: Cell::new(None),
            round_trips: Cell::new(0),
            statements: Cell::new(0),
            writes: Cell::new(0),
            changes: RefCell::default(),
            rows_scanned: Cell::new(0),
            vm_steps: Cell::new(0),
            most_vm_steps: Cell::new(0),
            statements_run: RefCell::default(),
        }
    }

    fn sqlite(&self) -> &Connection {
        self.sqlite.as_ref().unwrap()
    }

    /// Resets the counts.
    pub(crate) fn reset_counts(&self) {
        self.round_trips.set(0);
        self.statements.set(0);
        self.writes.set(0);
        self.changes.borrow_mut().clear();
        self.rows_scanned.set(0);
        self.vm_steps.set(0);
        self.most_vm_steps.set(0);
        self.statements_run.borrow_mut().clear();
    }

    /// The fault of a batch, if one is set.
    fn take_fault(&self, statements: &[Statement]) -> Option<Fault> {
        if let Some(plan) = self.fault_plan.borrow_mut().as_mut() {
            return plan(statements);
        }
        match self.outage.get() {
            Some((0, fault)) => return Some(fault),
            Some((left, fault)) => self.outage.set(Some((left - 1, fault))),
            None => {}
        }
        let mut faults = self.fault_rules.borrow_mut();
        let at = faults.iter().position(|fault| {
            fault.times > 0 && statements.iter().any(|statement| statement.sql.contains(fault.statement_part))
        })?;
        faults[at].times -= 1;
        Some(faults[at].fault)
    }

    fn apply(&self, statements: &[Statement]) -> Result<Vec<Rows>, DatabaseError> {
        // Before the statements run, because asking for a plan resets `changes()`.
        for statement in statements {
            if matches!(self.edit_statement(&statement.sql), std::borrow::Cow::Borrowed(_)) {
                plans::require(self.sqlite(), &statement.sql);
            }
        }
        // Only here: the simulation runs the same statements thousands of times.
        if env!("CARGO_CRATE_NAME") == "native" && self.statement_edits.borrow().is_empty() {
            growth::require_flat(self.sqlite(), statements);
        }
        let run = |sql| self.sqlite().prepare_cached(sql).and_then(|mut prepared| prepared.raw_execute());
        run("BEGIN").unwrap();
        let answers: Result<Vec<_>, _> = statements.iter().map(|statement| self.execute(statement)).collect();
        let end = if answers.is_ok() { "COMMIT" } else { "ROLLBACK" };
        run(end).map_err(|error| database_error(end, &error))?;
        answers
    }

    fn execute(&self, statement: &Statement) -> Result<Rows, DatabaseError> {
        self.statements.set(self.statements.get() + 1);
        self.statements_run.borrow_mut().insert(statement.sql.clone());
        let failed = |error: rusqlite::Error| database_error(&statement.sql, &error);
        let mut prepared = self.sqlite().prepare_cached(&self.edit_statement(&statement.sql)).map_err(failed)?;
        let (columns, names) = unique_columns(&prepared.column_names());
        // Of two columns with one name the last hides the first: only a test that changes a statement wants that.
        let is_edited = matches!(self.edit_statement(&statement.sql), std::borrow::Cow::Owned(_));
        assert!(is_edited || names.len() == prepared.column_count(), "two columns have one name: {}", statement.sql);
        let is_write = !prepared.readonly();
        let mut rows = Vec::new();
        {
            let params = rusqlite::params_from_iter(statement.params.iter().map(BoundValue));
            let mut cursor = prepared.query(params).map_err(failed)?;
            while let Some(row) = cursor.next().map_err(failed)? {
                let values = columns.iter().map(|at| column_as_value(row.get_ref(*at).unwrap())).collect();
                rows.push(Row::new(names.clone(), values));
            }
        }
        self.rows_scanned
            .set(self.rows_scanned.get() + i64::from(prepared.reset_status(StatementStatus::FullscanStep)));
        let steps = i64::from(prepared.reset_status(StatementStatus::VmStep));
        self.vm_steps.set(self.vm_steps.get() + steps);
        self.most_vm_steps.set(self.most_vm_steps.get().max(steps));
        let changes = if is_write { self.sqlite().changes() } else { 0 };
        self.writes.set(self.writes.get() + u64::from(is_write));
        *self.changes.borrow_mut().entry(statement.sql.clone()).or_default() += changes;
        Ok(Rows { rows, changes })
    }

    fn edit_statement<'a>(&self, sql: &'a str) -> std::borrow::Cow<'a, str> {
        let mut text = std::borrow::Cow::Borrowed(sql);
        for edit in self.statement_edits.borrow().iter().filter(|edit| sql.contains(edit.statement_part)) {
            assert!(text.contains(edit.find), "{} is not in: {text}", edit.find);
            text = text.replace(edit.find, edit.replacement).into();
        }
        text
    }

    /// Changes the database without the program.
    pub(crate) fn tamper(&self, sql: &str) -> usize {
        if sql.starts_with("ALTER") {
            // A cached statement keeps the column names of the old schema.
            self.sqlite().flush_prepared_statement_cache();
        }
        self.sqlite().execute(sql, []).unwrap()
    }

    /// The first value of a query.
    pub(crate) fn query_value(&self, sql: &str) -> Json {
        let mut prepared = self.sqlite().prepare(sql).unwrap();
        let mut rows = prepared.query([]).unwrap();
        rows.next().unwrap().map_or(Json::Null, |row| column_as_json(row.get_ref(0).unwrap()))
    }

    /// The first number of a query.
    pub(crate) fn query_number(&self, sql: &str) -> i64 {
        self.query_value(sql).as_i64().unwrap_or_else(|| panic!("{sql} answers no number"))
    }

    /// How `SQLite` finds the rows, one line per step.
    pub(crate) fn explain_query_plan(&self, sql: &str) -> Vec<String> {
        plans::plan(self.sqlite(), sql).unwrap()
    }

    /// Everything that is stored, as text.
    pub(crate) fn dump_tables(&self) -> String {
        let mut lines = Vec::new();
        let tables: Vec<String> = {
            let mut prepared = self.sqlite().prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
            prepared.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        for table in tables {
            let mut prepared = self.sqlite().prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = prepared.column_count();
            let mut rows = prepared.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                for column in 0..columns {
                    lines.push(format!("{table} {}", column_as_json(row.get_ref(column).unwrap())));
                }
            }
        }
        lines.join("\n")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Some(sqlite) = self.sqlite.take() else { return };
        if !std::thread::panicking() {
            delete_all_rows(&sqlite);
            SPARE.set(Some(sqlite));
        }
    }
}

/// An empty database with D1's settings.
pub(crate) fn empty() -> Connection {
    let sqlite = Connection::open_in_memory().unwrap();
    sqlite.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MAX_LIKE_BYTES).unwrap();
    sqlite.set_limit(Limit::SQLITE_LIMIT_COMPOUND_SELECT, MAX_COMPOUND_TERMS).unwrap();
    sqlite.set_prepared_statement_cache_capacity(256);
    // A statement is planned once, not again for each value.
    sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
    sqlite.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    sqlite
}

/// Applies the selected migrations, in order.
pub(crate) fn migrate(sqlite: &Connection, wanted: impl Fn(&str) -> bool) {
    let mut migrations: Vec<_> = std::fs::read_dir(MIGRATIONS).unwrap().map(|entry| entry.unwrap().path()).collect();
    migrations.sort();
    for migration in migrations.iter().filter(|path| wanted(path.file_name().unwrap().to_str().unwrap())) {
        // As the platform applies it: completely or not at all.
        let sql = std::fs::read_to_string(migration).unwrap();
        let applied = sqlite.execute_batch(&format!("BEGIN; {sql}; COMMIT;"));
        applied.unwrap_or_else(|error| panic!("{}: {error}", migration.display()));
    }
}

pub(super) fn open_migrated() -> Connection {
    let sqlite = empty();
    migrate(&sqlite, |_| true);
    sqlite
}

/// The tables that others reference, in the order in which they can be emptied.
const REFERENCED_TABLES: [&str; 2] = ["oauth_clients", "workspaces"];

/// The fastest way to an empty database. The schema and the prepared statements stay; a pragma would end them.
fn delete_all_rows(sqlite: &Connection) {
    let run = |sql: &str| sqlite.prepare_cached(sql).unwrap().raw_execute().unwrap();
    let mut tables: Vec<String> = {
        let mut named = sqlite.prepare_cached("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        named.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    tables.sort_by_key(|table| REFERENCED_TABLES.iter().position(|last| last == table));
    run("BEGIN");
    for table in tables {
        run(&format!("DELETE FROM {table}"));
    }
    run("COMMIT");
}

fn database_error(sql: &str, error: &rusqlite::Error) -> DatabaseError {
    match error {
        rusqlite::Error::SqliteFailure(cause, _) if cause.code == ErrorCode::ConstraintViolation => {
            DatabaseError::Constraint
        }
        error => match DatabaseError::from_message(&error.to_string()) {
            error @ DatabaseError::NotMigrated(_) => error,
            _ => panic!("{sql}: {error}"),
        },
    }
}

/// Where the columns of a row are, and their names. As in D1, of several with one name the last counts.
fn unique_columns(names: &[&str]) -> (Vec<usize>, Rc<[String]>) {
    let is_last = |at: usize, name: &str| names.iter().skip(at + 1).all(|later| *later != name);
    let kept = names.iter().enumerate().filter(|(at, name)| is_last(*at, name));
    let (columns, names): (Vec<_>, Vec<_>) = kept.map(|(at, name)| (at, (*name).to_owned())).unzip();
    (columns, names.into())
}

fn column_as_value(value: ValueRef<'_>) -> SqlValue {
    match value {
        ValueRef::Null => SqlValue::Null,
        ValueRef::Integer(number) => SqlValue::Integer(number),
        ValueRef::Text(text) => SqlValue::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Real(_) | ValueRef::Blob(_) => panic!("no column that is read holds a fraction or a blob"),
    }
}

fn column_as_json(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(_) => panic!("no column holds a blob"),
    }
}

/// The database as a port of an invocation.
#[derive(Clone)]
pub(crate) struct DatabasePort {
    pub(crate) database: Rc<TestDatabase>,
    pub(crate) budget: Rc<SubrequestBudget>,
    pub(crate) recorder: Rc<InvocationRecorder>,
    pub(crate) runtime: Runtime,
}

impl DatabasePort {
    fn apply(&self, statements: &[Statement]) -> Result<Vec<Rows>, DatabaseError> {
        let answer = self.database.apply(statements);
        if let Ok(answers) = &answer {
            self.recorder.note_applied(statements, answers);
        }
        answer
    }
}

impl Database for DatabasePort {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError> {
        let unavailable = |cause: &str| Err(DatabaseError::Unavailable(cause.to_owned()));
        if !self.budget.spend() {
            return unavailable("too many subrequests");
        }
        self.database.round_trips.set(self.database.round_trips.get() + 1);
        self.runtime.yield_now().await;
        let fault =
            if self.database.down.get() { Some(Fault::BeforeCommit) } else { self.database.take_fault(&statements) };
        if fault.is_some() {
            self.recorder.recorder().note_failed_writes(&statements, self.runtime.now_ms());
        }
        if let Some(Fault::Slow(milliseconds)) = fault {
            // The database continues on its own, also if nobody waits any more.
            let (records, runtime) = (self.clone(), self.runtime.clone());
            let late = self.runtime.spawn(async move {
                runtime.sleep(milliseconds).await;
                records.apply(&statements)
            });
            return late.await;
        }
        if fault == Some(Fault::BeforeCommit) {
            return unavailable("an injected fault");
        }
        let answer = self.apply(&statements);
        self.runtime.yield_now().await;
        match fault {
            Some(Fault::AfterCommit) => unavailable("an injected fault after the commit"),
            Some(Fault::NoAnswer) => std::future::pending().await,
            _ => answer,
        }
    }
}
