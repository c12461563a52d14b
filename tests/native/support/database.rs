//! The twin of D1: `SQLite` in memory with the real migrations.
//!
//! Owns the counts (round trips, statements, rows stepped over), the faults, and the record of which SQL was
//! run. Integers are bound as floating point numbers, as the edge binds them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use connections::ports::{Database, DatabaseError, Row, Rows, Statement, Value};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, StatementStatus, ToSql};
use serde_json::Value as Json;

use super::outside::Meter;
use super::plans;
use super::runtime::Runtime;
use super::witness::Strand;

/// Bytes of a `LIKE` pattern, at most, as in D1.
const LONGEST_LIKE: i32 = 50;
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");

/// What happens to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wound {
    /// It is not applied, and reported failed.
    Before,
    /// It is applied, and reported failed.
    After,
    /// It takes so many milliseconds.
    Slow(i64),
    /// It is applied, but no answer ever comes.
    Silent,
}

/// A fault that waits for a batch with a statement that contains a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) sql: &'static str,
    pub(crate) times: u32,
    pub(crate) wound: Wound,
}

/// Draws what a batch meets.
pub(crate) type Weather = Box<dyn FnMut(&[Statement]) -> Option<Wound>>;

/// Another text for a statement: what would happen if a safeguard were not there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edit {
    /// A piece of the statement's text.
    pub(crate) of: &'static str,
    /// What is left out.
    pub(crate) find: &'static str,
    /// What stands there instead.
    pub(crate) put: &'static str,
}

thread_local! {
    /// An empty record with its statements prepared: making one takes longer than most tests.
    static SPARE: Cell<Option<Connection>> = const { Cell::new(None) };
}

/// The record itself, shared by all who reach it.
pub(crate) struct Engine {
    /// There until it is dropped.
    sqlite: Option<Connection>,
    pub(crate) weather: RefCell<Option<Weather>>,
    pub(crate) edits: RefCell<Vec<Edit>>,
    pub(crate) faults: RefCell<Vec<Fault>>,
    pub(crate) down: Cell<bool>,
    /// After so many further batches, every batch meets this.
    pub(crate) outage: Cell<Option<(u64, Wound)>>,
    pub(crate) round_trips: Cell<u64>,
    pub(crate) statements: Cell<u64>,
    pub(crate) writes: Cell<u64>,
    pub(crate) scanned: Cell<i64>,
    pub(crate) seen: RefCell<BTreeSet<&'static str>>,
}

struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    #[expect(clippy::cast_precision_loss, reason = "the edge does the same; values stay within 2^53")]
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Integer(number) => ToSqlOutput::Borrowed(ValueRef::Real(*number as f64)),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self::over(SPARE.take().unwrap_or_else(migrated))
    }

    /// With what is in a database already.
    pub(crate) fn over(sqlite: Connection) -> Self {
        Self {
            sqlite: Some(sqlite),
            weather: RefCell::default(),
            edits: RefCell::default(),
            faults: RefCell::default(),
            down: Cell::new(false),
            outage: Cell::new(None),
            round_trips: Cell::new(0),
            statements: Cell::new(0),
            writes: Cell::new(0),
            scanned: Cell::new(0),
            seen: RefCell::default(),
        }
    }

    fn sqlite(&self) -> &Connection {
        self.sqlite.as_ref().unwrap()
    }

    /// Counts begin anew.
    pub(crate) fn reset_counts(&self) {
        self.round_trips.set(0);
        self.statements.set(0);
        self.writes.set(0);
        self.scanned.set(0);
        self.seen.borrow_mut().clear();
    }

    /// What a batch meets, if a fault waits for it.
    fn wound(&self, statements: &[Statement]) -> Option<Wound> {
        if let Some(weather) = self.weather.borrow_mut().as_mut() {
            return weather(statements);
        }
        match self.outage.get() {
            Some((0, wound)) => return Some(wound),
            Some((left, wound)) => self.outage.set(Some((left - 1, wound))),
            None => {}
        }
        let mut faults = self.faults.borrow_mut();
        let at = faults.iter().position(|fault| {
            fault.times > 0 && statements.iter().any(|statement| statement.sql.contains(fault.sql))
        })?;
        faults[at].times -= 1;
        Some(faults[at].wound)
    }

    fn apply(&self, statements: &[Statement]) -> Result<Vec<Rows>, DatabaseError> {
        // Before they run: to ask for a plan resets `changes()`.
        for statement in statements {
            if matches!(self.as_edited(statement.sql), std::borrow::Cow::Borrowed(_)) {
                plans::require(self.sqlite(), statement.sql);
            }
        }
        let run = |sql| self.sqlite().prepare_cached(sql).and_then(|mut prepared| prepared.raw_execute());
        run("BEGIN").unwrap();
        let answers: Result<Vec<_>, _> = statements.iter().map(|statement| self.execute(statement)).collect();
        let end = if answers.is_ok() { "COMMIT" } else { "ROLLBACK" };
        run(end).map_err(|error| failure(end, &error))?;
        answers
    }

    fn execute(&self, statement: &Statement) -> Result<Rows, DatabaseError> {
        self.statements.set(self.statements.get() + 1);
        self.seen.borrow_mut().insert(statement.sql);
        let failed = |error: rusqlite::Error| failure(statement.sql, &error);
        let mut prepared = self.sqlite().prepare_cached(&self.as_edited(statement.sql)).map_err(failed)?;
        let names: Vec<String> = prepared.column_names().into_iter().map(ToOwned::to_owned).collect();
        let is_write = !prepared.readonly();
        let mut rows = Vec::new();
        {
            let params = rusqlite::params_from_iter(statement.params.iter().map(Bound));
            let mut cursor = prepared.query(params).map_err(failed)?;
            while let Some(row) = cursor.next().map_err(failed)? {
                let column = |(at, name): (usize, &String)| (name.clone(), json(row.get_ref(at).unwrap()));
                rows.push(names.iter().enumerate().map(column).collect::<Row>());
            }
        }
        self.scanned.set(self.scanned.get() + i64::from(prepared.reset_status(StatementStatus::FullscanStep)));
        let changes = if is_write { self.sqlite().changes() } else { 0 };
        self.writes.set(self.writes.get() + u64::from(is_write));
        Ok(Rows { rows, changes })
    }

    fn as_edited(&self, sql: &'static str) -> std::borrow::Cow<'static, str> {
        let mut text = std::borrow::Cow::Borrowed(sql);
        for edit in self.edits.borrow().iter().filter(|edit| sql.contains(edit.of)) {
            assert!(text.contains(edit.find), "{} is not in: {text}", edit.find);
            text = text.replace(edit.find, edit.put).into();
        }
        text
    }

    /// Changes the record behind everybody's back.
    pub(crate) fn tamper(&self, sql: &str) -> usize {
        if sql.starts_with("ALTER") {
            // A cached statement goes on naming the columns of before.
            self.sqlite().flush_prepared_statement_cache();
        }
        self.sqlite().execute(sql, []).unwrap()
    }

    /// The first value a query answers.
    pub(crate) fn value(&self, sql: &str) -> Json {
        let mut prepared = self.sqlite().prepare(sql).unwrap();
        let mut rows = prepared.query([]).unwrap();
        rows.next().unwrap().map_or(Json::Null, |row| json(row.get_ref(0).unwrap()))
    }

    /// The first number a query answers.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.value(sql).as_i64().unwrap_or_else(|| panic!("{sql} answers no number"))
    }

    /// How `SQLite` will find the rows, one line per step.
    pub(crate) fn plan(&self, sql: &str) -> Vec<String> {
        plans::plan(self.sqlite(), sql).unwrap()
    }

    /// Everything that is stored, as text.
    pub(crate) fn dump(&self) -> String {
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
                    lines.push(format!("{table} {}", json(row.get_ref(column).unwrap())));
                }
            }
        }
        lines.join("\n")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let Some(sqlite) = self.sqlite.take() else { return };
        if !std::thread::panicking() {
            wipe(&sqlite);
            SPARE.set(Some(sqlite));
        }
    }
}

/// An empty database, as D1 sets it up.
pub(crate) fn empty() -> Connection {
    let sqlite = Connection::open_in_memory().unwrap();
    sqlite.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LONGEST_LIKE).unwrap();
    sqlite.set_prepared_statement_cache_capacity(256);
    // A statement is planned once, not anew for each value that it is given.
    sqlite.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
    sqlite.execute_batch("PRAGMA foreign_keys = ON").unwrap();
    sqlite
}

/// Applies the migrations whose names are wanted, in order.
pub(crate) fn migrate(sqlite: &Connection, wanted: impl Fn(&str) -> bool) {
    let mut migrations: Vec<_> = std::fs::read_dir(MIGRATIONS).unwrap().map(|entry| entry.unwrap().path()).collect();
    migrations.sort();
    for migration in migrations.iter().filter(|path| wanted(path.file_name().unwrap().to_str().unwrap())) {
        // As the platform applies it: all of it or nothing.
        let sql = std::fs::read_to_string(migration).unwrap();
        sqlite.execute_batch(&format!("BEGIN; {sql}; COMMIT;")).unwrap();
    }
}

fn migrated() -> Connection {
    let sqlite = empty();
    migrate(&sqlite, |_| true);
    sqlite
}

/// The tables that others refer to, in the order in which they may be emptied.
const REFERRED_TO: [&str; 2] = ["oauth_clients", "workspaces"];

/// The shortest way to an empty record: the schema and the prepared statements stay (any pragma would end them).
fn wipe(sqlite: &Connection) {
    let run = |sql: &str| sqlite.prepare_cached(sql).unwrap().raw_execute().unwrap();
    let mut tables: Vec<String> = {
        let mut named = sqlite.prepare_cached("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        named.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    tables.sort_by_key(|table| REFERRED_TO.iter().position(|last| last == table));
    run("BEGIN");
    for table in tables {
        run(&format!("DELETE FROM {table}"));
    }
    run("COMMIT");
}

fn failure(sql: &str, error: &rusqlite::Error) -> DatabaseError {
    match error {
        rusqlite::Error::SqliteFailure(cause, _) if cause.code == ErrorCode::ConstraintViolation => {
            DatabaseError::Constraint
        }
        error => match DatabaseError::of_message(&error.to_string()) {
            error @ DatabaseError::NotMigrated(_) => error,
            _ => panic!("{sql}: {error}"),
        },
    }
}

fn json(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(_) => panic!("no column holds a blob"),
    }
}

/// An invocation's way to the record.
#[derive(Clone)]
pub(crate) struct Records {
    pub(crate) engine: Rc<Engine>,
    pub(crate) meter: Rc<Meter>,
    pub(crate) strand: Rc<Strand>,
    pub(crate) runtime: Runtime,
}

impl Records {
    fn apply(&self, statements: &[Statement]) -> Result<Vec<Rows>, DatabaseError> {
        let answer = self.engine.apply(statements);
        if let Ok(answers) = &answer {
            self.strand.applied(statements, answers);
        }
        answer
    }
}

impl Database for Records {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError> {
        let unavailable = |cause: &str| Err(DatabaseError::Unavailable(cause.to_owned()));
        if !self.meter.spend() {
            return unavailable("too many subrequests");
        }
        self.engine.round_trips.set(self.engine.round_trips.get() + 1);
        self.runtime.pause().await;
        let wound = if self.engine.down.get() { Some(Wound::Before) } else { self.engine.wound(&statements) };
        if wound.is_some() {
            self.strand.witness().hindered(&statements, self.runtime.now_ms());
        }
        if let Some(Wound::Slow(milliseconds)) = wound {
            // The record goes on by itself, also when nobody waits any more.
            let (records, runtime) = (self.clone(), self.runtime.clone());
            let late = self.runtime.spawn(async move {
                runtime.sleep(milliseconds).await;
                records.apply(&statements)
            });
            return late.await;
        }
        if wound == Some(Wound::Before) {
            return unavailable("an injected fault");
        }
        let answer = self.apply(&statements);
        self.runtime.pause().await;
        match wound {
            Some(Wound::After) => unavailable("an injected fault after the commit"),
            Some(Wound::Silent) => std::future::pending().await,
            _ => answer,
        }
    }
}
