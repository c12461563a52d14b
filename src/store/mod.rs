//! Rows and SQL statements of the database: every statement is next to its row type.
//!
//! Owns SQL and the reading of rows. Makes no decisions: use cases call these functions, and the functions call the
//! [`Database`] port once each. Every statement names its workspace, except if an unguessable hash is the key or the
//! scheduled run handles all workspaces.

/// No attempt is running: there is no lease, or it has ended. Five seconds are added for clocks that differ, as in
/// `Connection::active_lease`. The second form names the table before the columns.
macro_rules! no_live_lease {
    ($now:literal) => {
        no_live_lease!("", $now)
    };
    ($table:literal, $now:literal) => {
        concat!("(", $table, "lease_attempt_id IS NULL OR ", $table, "lease_expires_at + 5 < ", $now, ")")
    };
}

/// One of these connections does not need a reconnect, as far as the first 100 tell: where there are more, another
/// one may. So at worst a grant is kept that could be revoked, and never the other way round.
/// The status is in no index, because each refresh would write its entry.
macro_rules! any_working {
    ($which:expr) => {
        any_working!($which, "")
    };
    ($which:expr, $and:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM (SELECT c.status, c.connected_at, c.app_revision FROM connections c WHERE ",
            $which,
            " LIMIT 100) WHERE status <> 'needs_reconnect'",
            $and,
            ")
      OR EXISTS (SELECT 1 FROM connections c WHERE ",
            $which,
            " LIMIT 1 OFFSET 100)"
        )
    };
}

/// A connection shares client and account, so that revoking the grant of one ends the other. An unknown account may be
/// the same one. One look-up for each case, and each stops at its first row. The plus keeps `SQLite` from reading the
/// workspace instead. One that was disconnected and may be brought back counts, too.
macro_rules! live_grant {
    ($workspace:literal, $client:literal, $account:literal) => {
        concat!(
            any_working!(live_grant!(@of $workspace, $client, concat!(" AND c.account_id = ", $account))),
            " OR ",
            any_working!(live_grant!(@of $workspace, $client, " AND c.account_id IS NULL")),
            " OR ", $account, " IS NULL AND (",
            any_working!(live_grant!(@of $workspace, $client, "")),
            ") OR EXISTS (SELECT 1 FROM connections c WHERE c.oauth_client = ", $client, " AND c.undo_until IS NOT NULL AND (c.account_id = ", $account,
            " OR c.account_id IS NULL OR ", $account, " IS NULL) AND +c.workspace_id = ", $workspace, " AND c.status <> 'needs_reconnect')"
        )
    };
    (@of $workspace:literal, $client:literal, $account:expr) => {
        concat!("c.oauth_client = ", $client, $account, " AND +c.workspace_id = ", $workspace, " AND c.deleted_at IS NULL")
    };
}

/// Nothing says that what a revoked key made ends: it counts as ended before a scheduled run has come to it.
macro_rules! is_not_ending {
    ($table:literal) => {
        concat!("NOT EXISTS (SELECT 1 FROM api_keys e WHERE e.id = ", $table, ".created_by_key AND e.is_ending = 1)")
    };
}

/// No row denies the connection. It is looked for by its primary key.
macro_rules! is_not_denied {
    ($connection:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM denied_apps n WHERE n.workspace_id = ",
            $connection,
            ".workspace_id AND n.app = ",
            $connection,
            ".app AND n.oauth_client IN ('', ",
            $connection,
            ".oauth_client) AND n.made_until >= ",
            $connection,
            ".created_at)"
        )
    };
}

/// Reads flows. An address or a window of the embedding product is used only while the workspace still has its origin in
/// the list.
macro_rules! select_flow {
    ($of:literal) => {
        concat!(
            "SELECT *, EXISTS (SELECT 1 FROM workspaces w CROSS JOIN json_each(w.allowed_origins) o WHERE w.id = flows.workspace_id
      AND (o.value = flows.popup_origin OR substr(flows.return_to, 1, length(o.value) + 1) = o.value || '/')) AS is_origin_allowed
    FROM flows WHERE ",
            $of
        )
    };
}

/// Ends flows whose browser has lost its session: grants that wait are revoked at their apps by the scheduled run, and what is
/// still to come from an app is not stored. Also where that has taken longer than the flow's time.
macro_rules! end_flows {
    ($now:literal, $of:expr) => {
        concat!(
            "UPDATE flows SET expires_at = min(expires_at, ",
            $now,
            "), error = CASE status WHEN 'pending' THEN 'session_ended' ELSE error END,
      status = CASE status WHEN 'pending' THEN 'failed' ELSE status END WHERE ",
            $of,
            " AND (status = 'pending' OR expires_at > ",
            $now,
            " AND status IN ('undecided', 'awaiting_confirmation'))"
        )
    };
}

/// A connection that is shown together with another one, as JSON: see `replacements::RelatedConnection`.
macro_rules! related_connection {
    ($of:literal) => {
        concat!(
            "json_object('id', ",
            $of,
            ".id, 'name', ",
            $of,
            ".name, 'environment', ",
            $of,
            ".environment, 'user', ",
            $of,
            ".user_id, 'shared', coalesce(",
            $of,
            ".is_shared, ",
            $of,
            ".user_id IS NULL))"
        )
    };
}

/// Whether it is told that the step of the use `$use` has changed its connection. `p` is the step's use of the one before. A
/// step that has come back to it has not changed, and neither has one that uses both in one run: that shows when it has used
/// the new one for a while.
macro_rules! step_has_changed {
    ($use:literal, $since:literal, $settled:literal) => {
        concat!(
            "(",
            $use,
            ".changed_from IS NOT NULL AND ",
            $use,
            ".changed_at > ",
            $since,
            " AND (",
            $use,
            ".changed_by = 'replacement' OR p.connection_id IS NULL OR p.last_used_at < ",
            $use,
            ".changed_at AND ",
            $use,
            ".last_used_at - p.last_used_at > ",
            $settled,
            "))"
        )
    };
}

/// The step's use of the connection before: `p`, see [`step_has_changed`].
macro_rules! join_use_before {
    ($use:literal) => {
        concat!(
            "LEFT JOIN uses p ON p.connection_id = ",
            $use,
            ".changed_from AND p.workflow = ",
            $use,
            ".workflow AND p.step = ",
            $use,
            ".step"
        )
    };
}

/// How a step has changed its connection, as JSON: see `uses::StepChange`.
macro_rules! step_change {
    ($use:literal) => {
        concat!(
            "json_object('workflow', ",
            $use,
            ".workflow, 'step', ",
            $use,
            ".step, 'at', ",
            $use,
            ".changed_at, 'by', coalesce(",
            $use,
            ".changed_by, 'id'), 'from', json((SELECT ",
            related_connection!("f"),
            " FROM connections f WHERE f.id = ",
            $use,
            ".changed_from AND f.workspace_id = ",
            $use,
            ".workspace_id AND f.deleted_at IS NULL)))"
        )
    };
}

/// The columns about the connection that a caller has named, where another one answers for it: `r` is its row of
/// `replacements`. Its environment is empty if it is unknown, and NULL if it has ended.
macro_rules! requested_columns {
    () => {
        concat!(
            "r.connection_id AS requested_id, CASE WHEN r.connection_id IS NOT NULL THEN (SELECT coalesce(q.environment, '') FROM connections q
        WHERE q.id = r.connection_id AND q.workspace_id = r.workspace_id AND q.deleted_at IS NULL AND ",
            is_not_denied!("q"),
            ") END AS requested_environment"
        )
    };
}

/// The columns of a key that is read together with something else.
macro_rules! key_columns {
    ($key:literal) => {
        concat!(
            $key,
            ".id AS key_id, ",
            $key,
            ".workspace_id AS key_workspace_id, ",
            $key,
            ".name AS key_name, ",
            $key,
            ".secret_hash, ",
            $key,
            ".scopes, ",
            $key,
            ".allowed_connections, ",
            $key,
            ".allowed_apps, ",
            $key,
            ".environment AS key_environment, ",
            $key,
            ".expires_at AS key_expires_at, ",
            $key,
            ".created_at AS key_created_at, ",
            $key,
            ".created_by_key, ",
            $key,
            ".previous_secret_hash, ",
            $key,
            ".previous_secret_expires_at"
        )
    };
}

pub mod app_events;
pub mod apps;
pub mod attention_sweeps;
pub mod authorizations;
pub mod cache_deletes;
pub mod client_tests;
pub mod clients;
pub mod connections;
pub mod defaults;
pub mod definition_moves;
pub mod disconnect_jobs;
pub mod disconnected;
pub mod emails;
pub mod erasing;
pub mod events;
pub mod idempotency;
pub mod identities;
pub mod keys;
pub mod links;
pub mod maintenance;
pub mod outbox;
pub mod preconditions;
pub mod people;
pub mod quotas;
pub mod refreshes;
pub mod replacements;
pub mod reseals;
pub mod revocations;
pub mod sessions;
pub mod uses;
pub mod webhooks;
pub mod workflows;
pub mod workspaces;

use serde::de::DeserializeOwned;

use crate::environment::Environment;
use crate::ports::{Database, DatabaseError, Row, Rows, SqlValue, Statement};
use crate::sql;
use crate::time::Timestamp;

/// The result of a store function.
pub type StoreResult<T> = Result<T, DatabaseError>;

/// A type that is read from one row.
pub(crate) trait FromRow: Sized {
    /// Reads the columns.
    fn from_row(row: &Columns<'_>) -> StoreResult<Self>;
}

/// Typed access to a row's columns. A missing column or one of another type is `Malformed`.
pub(crate) struct Columns<'a>(pub(crate) &'a Row);

impl Columns<'_> {
    pub(crate) fn text(&self, name: &str) -> StoreResult<String> {
        self.optional_text(name)?.ok_or_else(|| malformed(name))
    }

    pub(crate) fn optional_text(&self, name: &str) -> StoreResult<Option<String>> {
        Ok(self.optional_str(name)?.map(ToOwned::to_owned))
    }

    fn optional_str(&self, name: &str) -> StoreResult<Option<&str>> {
        match self.0.get(name) {
            Some(SqlValue::Text(text)) => Ok(Some(text)),
            Some(SqlValue::Null) => Ok(None),
            Some(SqlValue::Integer(_)) => Err(malformed(name)),
            None => Err(missing(name)),
        }
    }

    pub(crate) fn integer(&self, name: &str) -> StoreResult<i64> {
        self.optional_integer(name)?.ok_or_else(|| malformed(name))
    }

    pub(crate) fn optional_integer(&self, name: &str) -> StoreResult<Option<i64>> {
        match self.0.get(name) {
            Some(SqlValue::Null) => Ok(None),
            Some(SqlValue::Integer(number)) => Ok(Some(*number)),
            Some(SqlValue::Text(_)) => Err(malformed(name)),
            None => Err(missing(name)),
        }
    }

    pub(crate) fn boolean(&self, name: &str) -> StoreResult<bool> {
        self.integer(name).map(|number| number != 0)
    }

    pub(crate) fn time(&self, name: &str) -> StoreResult<Timestamp> {
        self.integer(name).map(Timestamp::from_unix)
    }

    pub(crate) fn optional_time(&self, name: &str) -> StoreResult<Option<Timestamp>> {
        Ok(self.optional_integer(name)?.map(Timestamp::from_unix))
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> StoreResult<T> {
        self.optional_json(name)?.ok_or_else(|| malformed(name))
    }

    pub(crate) fn optional_json<T: DeserializeOwned>(&self, name: &str) -> StoreResult<Option<T>> {
        self.optional_str(name)?.map(|text| serde_json::from_str(text).map_err(|_| malformed(name))).transpose()
    }

    pub(crate) fn id<T: TryFrom<String>>(&self, name: &str) -> StoreResult<T> {
        T::try_from(self.text(name)?).map_err(|_| malformed(name))
    }

    /// One of a later version is refused: the row must not appear in another one.
    pub(crate) fn environment(&self, name: &str) -> StoreResult<Option<Environment>> {
        let text = self.optional_str(name)?;
        text.map(|text| Environment::parse(text).ok_or_else(|| malformed(name))).transpose()
    }

    pub(crate) fn optional_id<T: TryFrom<String>>(&self, name: &str) -> StoreResult<Option<T>> {
        self.optional_text(name)?.map(|text| T::try_from(text).map_err(|_| malformed(name))).transpose()
    }
}

fn malformed(column: &str) -> DatabaseError {
    DatabaseError::Malformed(format!("column {column} is not as expected"))
}

/// `SELECT *` answers without a column that a missing migration adds.
fn missing(column: &str) -> DatabaseError {
    DatabaseError::NotMigrated(format!("a row has no column {column}"))
}

/// JSON text of a column. Lists and maps of strings can always be serialised.
pub(crate) fn json_text<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// Runs one statement.
pub(crate) async fn run_statement<D: Database>(db: &D, statement: Statement) -> StoreResult<Rows> {
    let answers = db.batch(vec![statement]).await?;
    answers.into_iter().next().ok_or_else(|| DatabaseError::Unavailable("a batch answered nothing".into()))
}

/// Fails, and the whole batch with it, unless the statement before it changed a row.
pub(crate) const MUST_HAVE_CHANGED: &str = "INSERT INTO scheduled_runs (name) SELECT NULL WHERE changes() = 0";

/// Applies all or nothing: each statement of `must` has to change a row, because the rest depends on it. Returns
/// whether all was applied. A violated constraint also counts as nothing applied.
pub async fn all_or_nothing<D: Database>(db: &D, must: Vec<Statement>, then: Vec<Statement>) -> StoreResult<bool> {
    let guarded = must.into_iter().flat_map(|one| [one, sql!(MUST_HAVE_CHANGED)]);
    match db.batch(guarded.chain(then).collect()).await {
        Ok(_) => Ok(true),
        Err(DatabaseError::Constraint) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Runs one statement and reads its first row.
pub(crate) async fn query_first<D: Database, T: FromRow>(db: &D, statement: Statement) -> StoreResult<Option<T>> {
    read_first(&run_statement(db, statement).await?)
}

/// Runs one statement and reads all its rows.
pub(crate) async fn query_all<D: Database, T: FromRow>(db: &D, statement: Statement) -> StoreResult<Vec<T>> {
    read_all(&run_statement(db, statement).await?)
}

pub(crate) fn read_first<T: FromRow>(rows: &Rows) -> StoreResult<Option<T>> {
    rows.rows.first().map(|row| T::from_row(&Columns(row))).transpose()
}

pub(crate) fn read_all<T: FromRow>(rows: &Rows) -> StoreResult<Vec<T>> {
    rows.rows.iter().map(|row| T::from_row(&Columns(row))).collect()
}

/// Runs a statement that selects a number as `n`, and reads it.
pub(crate) async fn run_count<D: Database>(db: &D, statement: Statement) -> StoreResult<i64> {
    read_count(&run_statement(db, statement).await?)
}

/// The number that a statement selects as `n`. 0 where it selects no row.
pub(crate) fn read_count(rows: &Rows) -> StoreResult<i64> {
    rows.rows.first().map_or(Ok(0), |row| Columns(row).integer("n"))
}

/// One page of a list: the rows, and the key of the last one if more may follow.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// Rows of this page.
    pub data: Vec<T>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// The cursor of a page after this row: `seconds.id`.
fn format_cursor(at: Timestamp, id: impl std::fmt::Display) -> String {
    format!("{}.{id}", at.unix())
}

/// Cuts more than `limit` rows to a page.
pub(crate) fn cut_page<T>(mut rows: Vec<T>, limit: i64, key: impl Fn(&T) -> String) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(key) } else { None };
    Page { data: rows, next }
}
