//! The twin of D1: `SQLite` in memory with the real migrations.
//!
//! Owns the counts (round trips, statements, rows stepped over), the faults, and the record of which SQL was
//! run. Integers are bound as floating point numbers, as the edge binds them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use connections::ports::{Database, DatabaseError, Row, Rows, Statement, Value};
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, StatementStatus, ToSql};
use serde_json::Value as Json;

use super::outside::Meter;
use super::runtime::Runtime;

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

/// The record itself, shared by all who reach it.
pub(crate) struct Engine {
    sqlite: Connection,
    pub(crate) faults: RefCell<Vec<Fault>>,
    pub(crate) down: Cell<bool>,
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
        let sqlite = Connection::open_in_memory().unwrap();
        sqlite.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        sqlite.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LONGEST_LIKE).unwrap();
        let mut migrations: Vec<_> =
            std::fs::read_dir(MIGRATIONS).unwrap().map(|entry| entry.unwrap().path()).collect();
        migrations.sort();
        for migration in migrations {
            sqlite.execute_batch(&std::fs::read_to_string(migration).unwrap()).unwrap();
        }
        Self {
            sqlite,
            faults: RefCell::default(),
            down: Cell::new(false),
            round_trips: Cell::new(0),
            statements: Cell::new(0),
            writes: Cell::new(0),
            scanned: Cell::new(0),
            seen: RefCell::default(),
        }
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
        let mut faults = self.faults.borrow_mut();
        let at = faults.iter().position(|fault| {
            fault.times > 0 && statements.iter().any(|statement| statement.sql.contains(fault.sql))
        })?;
        faults[at].times -= 1;
        Some(faults[at].wound)
    }

    fn apply(&self, statements: &[Statement]) -> Result<Vec<Rows>, DatabaseError> {
        let transaction = self.sqlite.unchecked_transaction().unwrap();
        let answers =
            statements.iter().map(|statement| self.execute(statement)).collect::<Result<Vec<_>, DatabaseError>>()?;
        transaction.commit().map_err(|error| failure("COMMIT", &error))?;
        Ok(answers)
    }

    fn execute(&self, statement: &Statement) -> Result<Rows, DatabaseError> {
        self.statements.set(self.statements.get() + 1);
        self.seen.borrow_mut().insert(statement.sql);
        let failed = |error: rusqlite::Error| failure(statement.sql, &error);
        let mut prepared = self.sqlite.prepare(statement.sql).map_err(failed)?;
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
        self.scanned.set(self.scanned.get() + i64::from(prepared.get_status(StatementStatus::FullscanStep)));
        let changes = if is_write { self.sqlite.changes() } else { 0 };
        self.writes.set(self.writes.get() + u64::from(is_write));
        Ok(Rows { rows, changes })
    }

    /// Changes the record behind everybody's back.
    pub(crate) fn tamper(&self, sql: &str) -> usize {
        self.sqlite.execute(sql, []).unwrap()
    }

    /// The first value a query answers.
    pub(crate) fn value(&self, sql: &str) -> Json {
        let mut prepared = self.sqlite.prepare(sql).unwrap();
        let mut rows = prepared.query([]).unwrap();
        rows.next().unwrap().map_or(Json::Null, |row| json(row.get_ref(0).unwrap()))
    }

    /// The first number a query answers.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.value(sql).as_i64().unwrap_or_else(|| panic!("{sql} answers no number"))
    }

    /// How `SQLite` will find the rows, one line per step.
    pub(crate) fn plan(&self, sql: &str) -> Vec<String> {
        let mut prepared = self.sqlite.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nothing: Vec<rusqlite::types::Null> = vec![rusqlite::types::Null; prepared.parameter_count()];
        let params = rusqlite::params_from_iter(nothing);
        prepared.query_map(params, |row| row.get::<_, String>("detail")).unwrap().map(Result::unwrap).collect()
    }

    /// Everything that is stored, as text.
    pub(crate) fn dump(&self) -> String {
        let mut lines = Vec::new();
        let tables: Vec<String> = {
            let mut prepared = self.sqlite.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
            prepared.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        for table in tables {
            let mut prepared = self.sqlite.prepare(&format!("SELECT * FROM {table}")).unwrap();
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

fn failure(sql: &str, error: &rusqlite::Error) -> DatabaseError {
    match error {
        rusqlite::Error::SqliteFailure(cause, _) if cause.code == ErrorCode::ConstraintViolation => {
            DatabaseError::Constraint
        }
        error if error.to_string().contains("no such table") => DatabaseError::Unavailable(error.to_string()),
        error => panic!("{sql}: {error}"),
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
    pub(crate) runtime: Runtime,
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
        if let Some(Wound::Slow(milliseconds)) = wound {
            self.runtime.sleep(milliseconds).await;
        }
        if wound == Some(Wound::Before) {
            return unavailable("an injected fault");
        }
        let answer = self.engine.apply(&statements);
        self.runtime.pause().await;
        match wound {
            Some(Wound::After) => unavailable("an injected fault after the commit"),
            Some(Wound::Silent) => std::future::pending().await,
            _ => answer,
        }
    }
}
