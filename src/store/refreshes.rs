//! The columns of the credential in `connections`, as refresh, check and disconnect write them.
//!
//! Every write names its generation, and every write of a refresh names its attempt or the version of the token it
//! used. A write that loses such a comparison changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Columns, StoreResult, json_text, read_first, run_statement};
use crate::client::Client;
use crate::connection::{Connection, ReconnectReason};
use crate::destinations::Destinations;
use crate::ids::{AttemptId, ClientId, ConnectionId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;

/// One of a deleted workspace is left alone, whether it has ended or not, and so is one that is denied.
const CONNECTION: &str = concat!(
    "SELECT * FROM connections WHERE id = ?1 AND deleted_at IS NULL
    AND NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = connections.workspace_id AND w.deleted_at IS NOT NULL) AND ",
    is_not_denied!("connections")
);
const CLIENT: &str = "SELECT * FROM oauth_clients WHERE id = (SELECT oauth_client FROM connections WHERE id = ?1)
    AND workspace_id = (SELECT workspace_id FROM connections WHERE id = ?1)";
const DEFINITION: &str = "SELECT a.definition FROM connections c
    JOIN apps a ON a.workspace_id = c.workspace_id AND a.id = c.app AND a.revision = c.app_revision WHERE c.id = ?1";
/// One attempt gets the lease. A lease that has ended may be taken over, a current one never. The token of the
/// taken-over lease may have been used, which is recorded. A failed attempt since the row was read has set another
/// `next_attempt_at` or status: an earlier plan must be made again.
const TAKE_LEASE: &str = concat!(
    "UPDATE connections SET ambiguous_token_hash = coalesce(lease_token_hash, ambiguous_token_hash),
      ambiguous_since = CASE WHEN lease_token_hash IS NULL THEN ambiguous_since
        WHEN lease_token_hash = ambiguous_token_hash AND ambiguous_since IS NOT NULL THEN ambiguous_since ELSE lease_expires_at - ?11 END,
      lease_attempt_id = ?5, lease_expires_at = ?6, lease_token_hash = ?7
    WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND version = ?4 AND next_attempt_at = ?9 AND status = ?10 AND deleted_at IS NULL
      AND ",
    no_live_lease!("?8"),
    " AND ",
    is_not_denied!("connections")
);
/// The new tokens. `attempt_id = mine` is true while nobody took the lease over. `version = redeemed` is true while
/// nobody stored anything newer, even if a lease was taken over in the meantime: that lease stays, because its attempt
/// is still running and has the newer response if there is one. A connection that was disconnected and may be brought back
/// keeps its sealed credential under the generation before, so it takes the tokens, too.
const PERSIST_RENEWAL: &str = "UPDATE connections SET sealed_credential = ?6, version = version + 1, last_attempt_id = ?5,
      lease_expires_at = CASE WHEN lease_attempt_id = ?5 THEN NULL ELSE lease_expires_at END,
      lease_token_hash = CASE WHEN lease_attempt_id = ?5 THEN NULL ELSE lease_token_hash END,
      lease_attempt_id = nullif(lease_attempt_id, ?5), ambiguous_token_hash = NULL, ambiguous_since = NULL,
      expires_at = ?7, refreshable = ?18, refreshed_at = ?8, refresh_expires_at = ?9, refresh_idle_until = coalesce(?17, refresh_idle_until), scopes_granted = coalesce(?10, scopes_granted),
      status = CASE status WHEN 'needs_reconnect' THEN 'connected' ELSE status END, reconnect_reason = NULL,
      failures = ?11, next_attempt_at = ?12, last_error = ?13, checked_at = ?14, check_evidence = ?15, next_check_at = CASE WHEN deleted_at IS NULL THEN ?16 END,
      variables = coalesce(?19, variables), destinations = coalesce(destinations, ?20),
      refresh_refused_since = CASE WHEN ?11 = 0 THEN NULL ELSE refresh_refused_since END, refresh_refused_code = CASE WHEN ?11 = 0 THEN NULL ELSE refresh_refused_code END
    WHERE workspace_id = ?1 AND id = ?2 AND generation - (deleted_at IS NOT NULL) = ?3 AND (deleted_at IS NULL OR undo_until IS NOT NULL) AND (lease_attempt_id = ?5 OR version = ?4)";
/// The generation is the one that the credential is sealed under.
const WRITE_STATUS: &str = "SELECT last_attempt_id, lease_attempt_id, generation - (deleted_at IS NOT NULL) AS generation, version FROM connections
    WHERE workspace_id = ?1 AND id = ?2 AND (deleted_at IS NULL OR undo_until IS NOT NULL)";
/// A failure is written only for its own attempt and the version it used, and releases the lease only if `?6` says so.
const RECORD_FAILURE: &str = "UPDATE connections SET failures = failures + 1, next_attempt_at = ?5, last_error = ?7, checked_at = ?8, check_evidence = ?9,
      next_check_at = CASE WHEN next_check_at IS NULL THEN NULL ELSE ?10 END, ambiguous_token_hash = coalesce(?11, ambiguous_token_hash),
      ambiguous_since = CASE WHEN ?11 IS NULL THEN ambiguous_since
        WHEN ambiguous_token_hash = ?11 AND ambiguous_since IS NOT NULL THEN ambiguous_since ELSE ?13 END,
      lease_expires_at = CASE WHEN ?6 THEN NULL ELSE lease_expires_at END,
      lease_token_hash = CASE WHEN ?6 THEN NULL ELSE lease_token_hash END,
      lease_attempt_id = CASE WHEN ?6 THEN NULL ELSE lease_attempt_id END,
      refresh_refused_since = CASE ?14 WHEN 'set' THEN coalesce(refresh_refused_since, ?8) WHEN 'clear' THEN NULL ELSE refresh_refused_since END,
      refresh_refused_code = CASE ?14 WHEN 'set' THEN ?15 WHEN 'clear' THEN NULL ELSE refresh_refused_code END
    WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND lease_attempt_id = ?4 AND version = ?12 AND deleted_at IS NULL";
/// Needs a reconnect only if the refused version is still the stored one. An unconfirmed connection stays unconfirmed.
const NEEDS_RECONNECT_AFTER_ATTEMPT: &str = "UPDATE connections SET status = CASE status WHEN 'awaiting_confirmation' THEN status ELSE 'needs_reconnect' END, reconnect_reason = ?6, lease_attempt_id = NULL, lease_expires_at = NULL,
      lease_token_hash = NULL, failures = failures + 1, last_error = ?7, checked_at = ?8, check_evidence = ?9, next_check_at = NULL
    WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND version = ?4 AND lease_attempt_id = ?5 AND deleted_at IS NULL";
/// An attempt without a result: newer tokens are stored, or (`?5`) nothing was sent.
const RELEASE_LEASE: &str =
    "UPDATE connections SET lease_attempt_id = NULL, lease_expires_at = NULL, lease_token_hash = NULL
    WHERE workspace_id = ?1 AND id = ?2 AND lease_attempt_id = ?3 AND (?5 OR version <> ?4)";
/// The same for a credential that cannot be refreshed: only while no attempt is running. An attempt whose lease has
/// ended is not running.
const NEEDS_RECONNECT_AFTER_PROBE: &str = concat!(
    "UPDATE connections SET status = CASE status WHEN 'awaiting_confirmation' THEN status ELSE 'needs_reconnect' END, reconnect_reason = ?5, failures = failures + 1, last_error = ?6,
      checked_at = ?7, check_evidence = ?8, next_check_at = NULL
    WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND version = ?4 AND ",
    no_live_lease!("?7"),
    " AND deleted_at IS NULL"
);
/// A credential that works does not need a reconnect, whatever was recorded.
const RECORD_PROBE: &str = "UPDATE connections SET checked_at = ?4, check_evidence = ?5,
      next_check_at = CASE WHEN ?9 OR status <> 'needs_reconnect' THEN ?6 ELSE NULL END,
      status = CASE WHEN ?9 AND status = 'needs_reconnect' THEN 'connected' ELSE status END,
      reconnect_reason = CASE WHEN ?9 THEN NULL ELSE reconnect_reason END, failures = ?7, last_error = ?8
    WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND deleted_at IS NULL";
/// A refresh that could not begin: nobody tries again at once. A running attempt writes its own result. One whose lease
/// has ended writes nothing.
const DELAY: &str = concat!(
    "UPDATE connections SET failures = failures + ?5, next_attempt_at = max(next_attempt_at, ?4), last_error = coalesce(?6, last_error),
      check_evidence = ?8, next_check_at = CASE WHEN next_check_at IS NULL THEN NULL ELSE ?7 END
    WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND ",
    no_live_lease!("?9"),
    " AND deleted_at IS NULL"
);
const MARK_DELETED: &str = "UPDATE connections SET deleted_at = ?3, generation = generation + 1, next_check_at = NULL
    WHERE workspace_id = ?1 AND id = ?2 AND deleted_at IS NULL RETURNING *";
const ERASE: &str = "DELETE FROM connections WHERE workspace_id = ?1 AND id = ?2 AND deleted_at IS NOT NULL";
const ERASE_USES: &str = "DELETE FROM uses WHERE workspace_id = ?1 AND connection_id = ?2";
/// From when a connection is due and its refresh token is within three days of its end: the expression of its index.
macro_rules! ending_since {
    () => {
        "max(next_check_at, min(coalesce(refresh_expires_at, refresh_idle_until), coalesce(refresh_idle_until, refresh_expires_at)) - 259200)"
    };
}
/// When a taken connection is due again. Never, if its workspace was deleted: it is erased.
macro_rules! leased_until {
    () => {
        "CASE WHEN EXISTS (SELECT 1 FROM workspaces w WHERE w.id = connections.workspace_id AND w.deleted_at IS NULL) THEN ?2 END"
    };
}
const LEASE_ENDING: &str = concat!(
    "UPDATE connections SET next_check_at = ",
    leased_until!(),
    " WHERE id IN (SELECT id FROM connections
      WHERE next_check_at IS NOT NULL AND refreshable = 1 AND coalesce(refresh_expires_at, refresh_idle_until) IS NOT NULL AND ",
    ending_since!(),
    " <= ?1 ORDER BY ",
    ending_since!(),
    " LIMIT ?3)
    RETURNING id, next_check_at, min(coalesce(refresh_expires_at, refresh_idle_until), coalesce(refresh_idle_until, refresh_expires_at)) AS ends_at"
);
/// What the statement before it, in the same batch, leaves of the limit. A negative limit would be none.
const LEASE_DUE: &str = concat!(
    "UPDATE connections SET next_check_at = ",
    leased_until!(),
    " WHERE id IN (SELECT id FROM connections WHERE next_check_at IS NOT NULL AND next_check_at <= ?1
      ORDER BY next_check_at LIMIT max(?3 - changes(), 0))
    RETURNING id, next_check_at"
);
/// Of those that have been due for longest, the ones of deleted workspaces.
const DROP_DUE: &str = "UPDATE connections SET next_check_at = NULL WHERE id IN
    (SELECT bounded.id FROM (SELECT id, workspace_id FROM connections WHERE next_check_at IS NOT NULL AND next_check_at <= ?1
      ORDER BY next_check_at LIMIT ?2) bounded JOIN workspaces w ON w.id = bounded.workspace_id AND w.deleted_at IS NOT NULL)";
/// How many of those are looked at.
const MOST_DROPPED: i64 = 500;

/// A connection with everything that a refresh or check needs.
#[derive(Debug)]
pub struct LoadedConnection {
    /// The connection.
    pub connection: Connection,
    /// Its client, if it has one.
    pub client: Option<Client>,
    /// The custom app's definition. None for a catalogue app.
    pub definition: Option<String>,
}

/// Reads it in one round trip.
pub async fn load(db: &impl Database, id: &ConnectionId) -> StoreResult<Option<LoadedConnection>> {
    let answers = db.batch(vec![sql!(CONNECTION, id), sql!(CLIENT, id), sql!(DEFINITION, id)]).await?;
    let [connections, clients, definitions] = answers.as_slice() else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    let Some(connection) = read_first::<Connection>(connections)? else { return Ok(None) };
    let client: Option<Client> = read_first(clients)?;
    if client.is_none() && connection.client.is_some() {
        return Err(DatabaseError::Malformed("a connection without its client".into()));
    }
    let definition = definitions.rows.first().map(|row| Columns(row).text("definition")).transpose()?;
    Ok(Some(LoadedConnection { connection, client, definition }))
}

/// One attempt to send one refresh token: the values that its writes are compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRef {
    /// Its id.
    pub id: AttemptId,
    /// Workspace of the connection.
    pub workspace: WorkspaceId,
    /// The connection.
    pub connection: ConnectionId,
    /// Its client, if it has one.
    pub client: Option<ClientId>,
    /// The generation it belongs to.
    pub generation: i64,
    /// The version that it uses.
    pub version: i64,
}

/// Writes a lease of this many seconds for a connection as it was read. Returns whether the attempt may continue.
pub async fn take_lease(
    db: &impl Database,
    attempt: &AttemptRef,
    read: &Connection,
    token_hash: &str,
    seconds: i64,
    now: Timestamp,
) -> StoreResult<bool> {
    let statement = sql!(
        TAKE_LEASE,
        &attempt.workspace,
        &attempt.connection,
        attempt.generation,
        attempt.version,
        &attempt.id,
        now.plus(seconds),
        token_hash,
        now,
        read.next_attempt_at,
        read.status.as_str(),
        seconds
    );
    Ok(run_statement(db, statement).await?.changes > 0)
}

/// The result of a refresh, to be stored now or later. Everything secret in it is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// Its attempt.
    pub attempt: AttemptRef,
    /// The sealed credential.
    pub sealed: String,
    /// Expiry of the access token, Unix seconds.
    pub expires_at: Option<i64>,
    /// When it was obtained, Unix seconds. The old value if only a refresh token was returned.
    pub refreshed_at: Option<i64>,
    /// Expiry of the refresh token, Unix seconds.
    pub refresh_expires_at: Option<i64>,
    /// When the unused refresh token expires, Unix seconds. `None` changes nothing.
    #[serde(default)]
    pub refresh_idle_until: Option<i64>,
    /// Whether it can be refreshed again.
    #[serde(default = "yes")]
    pub refreshable: bool,
    /// The variables of the app's addresses, if the response changed them.
    #[serde(default)]
    pub variables: Option<BTreeMap<String, String>>,
    /// The destinations of the credential, for a row without them.
    #[serde(default)]
    pub destinations: Option<Destinations>,
    /// Granted scopes, if the response has them.
    pub scopes: Option<Vec<String>>,
    /// 0 after a success.
    pub failures: i64,
    /// No refresh before this time, Unix seconds.
    pub next_attempt_at: i64,
    /// The code of an unusual response.
    pub error: Option<String>,
    /// When, Unix seconds.
    pub at: i64,
    /// The evidence.
    pub evidence: String,
    /// When the scheduled run checks it next, Unix seconds.
    pub next_check_at: i64,
}

/// The default for a pending write of an earlier version.
fn yes() -> bool {
    true
}

/// The statement that stores a renewal.
pub fn persist_renewal(renewal: &Renewal) -> Statement {
    let attempt = &renewal.attempt;
    sql!(
        PERSIST_RENEWAL,
        &attempt.workspace,
        &attempt.connection,
        attempt.generation,
        attempt.version,
        &attempt.id,
        renewal.sealed.as_str(),
        renewal.expires_at,
        renewal.refreshed_at,
        renewal.refresh_expires_at,
        renewal.scopes.as_ref().map(json_text),
        renewal.failures,
        renewal.next_attempt_at,
        renewal.error.as_deref(),
        renewal.at,
        renewal.evidence.as_str(),
        renewal.next_check_at,
        renewal.refresh_idle_until,
        renewal.refreshable,
        renewal.variables.as_ref().map(json_text),
        renewal.destinations.as_ref().map(json_text)
    )
}

/// The state of the database after a write of an attempt with an unknown result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteStatus {
    /// This attempt's write was the last to be applied.
    Applied,
    /// The database still waits for it.
    Pending,
    /// The database waits for it under this generation: the connection was disconnected and brought back in the meantime.
    Moved(i64),
    /// The database has something newer of the same grant.
    Superseded,
    /// Reconnected or disconnected: the database has another grant, or none.
    GrantReplaced,
}

/// Reads what happened to a write (it may have been applied although it was reported as failed).
pub async fn read_write_status(db: &impl Database, attempt: &AttemptRef) -> StoreResult<WriteStatus> {
    let rows = run_statement(db, sql!(WRITE_STATUS, &attempt.workspace, &attempt.connection)).await?;
    let Some(row) = rows.rows.first() else { return Ok(WriteStatus::GrantReplaced) };
    let row = Columns(row);
    let is_mine = |column| Ok::<_, DatabaseError>(row.optional_text(column)?.as_deref() == Some(attempt.id.as_str()));
    let (generation, is_unchanged) = (row.integer("generation")?, row.integer("version")? == attempt.version);
    if generation != attempt.generation {
        // A reconnect forgets the attempts before it, and changes the version. An undo does neither.
        return Ok(match (is_mine("last_attempt_id")?, is_unchanged || is_mine("lease_attempt_id")?) {
            (true, _) => WriteStatus::Applied,
            (false, true) => WriteStatus::Moved(generation),
            (false, false) => WriteStatus::GrantReplaced,
        });
    }
    if is_mine("last_attempt_id")? {
        return Ok(WriteStatus::Applied);
    }
    Ok(if is_unchanged { WriteStatus::Pending } else { WriteStatus::Superseded })
}

/// How a failure is recorded.
#[derive(Debug, Clone)]
pub struct AttemptFailure<'a> {
    /// No refresh before this time.
    pub next_attempt_at: Timestamp,
    /// Whether the lease is released (safe) or left until it ends (the token may have been used).
    pub release_lease: bool,
    /// The code.
    pub error: &'a str,
    /// When.
    pub at: Timestamp,
    /// When the scheduled run checks it next.
    pub next_check_at: Timestamp,
    /// The hash of a refresh token that may have been used.
    pub ambiguous_token_hash: Option<&'a str>,
    /// When it was sent.
    pub asked_at: Timestamp,
    /// What happens to the stored refusal of the app.
    pub refusal_update: RefusalUpdate<'a>,
}

/// What happens to the stored refusal of an app, which does not end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalUpdate<'a> {
    /// It stays: the app did not answer, or asked to wait.
    Keep,
    /// The app refuses, with this code if it returned one.
    Set(Option<&'a str>),
    /// The app refuses the client: what it said about the connection is outdated.
    Clear,
}

impl<'a> RefusalUpdate<'a> {
    fn columns(self) -> (Option<&'static str>, Option<&'a str>) {
        match self {
            Self::Keep => (None, None),
            Self::Set(code) => (Some("set"), code),
            Self::Clear => (Some("clear"), None),
        }
    }
}

/// The statement that records a failed attempt.
pub fn record_failure(attempt: &AttemptRef, failure: &AttemptFailure<'_>) -> Statement {
    let (update, code) = failure.refusal_update.columns();
    sql!(
        RECORD_FAILURE,
        &attempt.workspace,
        &attempt.connection,
        attempt.generation,
        &attempt.id,
        failure.next_attempt_at,
        failure.release_lease,
        failure.error,
        failure.at,
        format!("refresh: {}", failure.error),
        failure.next_check_at,
        failure.ambiguous_token_hash,
        attempt.version,
        failure.asked_at,
        update,
        code
    )
}

/// The statement that marks a connection after its attempt was permanently refused.
pub fn mark_needs_reconnect_after_attempt(
    attempt: &AttemptRef,
    reason: ReconnectReason,
    error: &str,
    at: Timestamp,
) -> Statement {
    sql!(
        NEEDS_RECONNECT_AFTER_ATTEMPT,
        &attempt.workspace,
        &attempt.connection,
        attempt.generation,
        attempt.version,
        &attempt.id,
        reason.as_str(),
        error,
        at,
        format!("refresh: {error}")
    )
}

/// The statement that releases an attempt's lease if newer tokens were stored in the meantime, or if nothing was sent.
pub fn release_lease(attempt: &AttemptRef, unsent: bool) -> Statement {
    sql!(RELEASE_LEASE, &attempt.workspace, &attempt.connection, &attempt.id, attempt.version, unsent)
}

/// The statement that marks a connection that cannot be refreshed.
pub fn mark_needs_reconnect_after_probe(
    connection: &Connection,
    reason: ReconnectReason,
    evidence: &str,
    at: Timestamp,
) -> Statement {
    sql!(
        NEEDS_RECONNECT_AFTER_PROBE,
        &connection.workspace,
        &connection.id,
        connection.generation,
        connection.version,
        reason.as_str(),
        evidence,
        at,
        evidence
    )
}

/// The statement that records the result of a probe.
pub fn record_probe(
    connection: &Connection,
    at: Timestamp,
    evidence: &str,
    next_check_at: Timestamp,
    failures: i64,
    error: Option<&str>,
    works: bool,
) -> Statement {
    sql!(
        RECORD_PROBE,
        &connection.workspace,
        &connection.id,
        connection.generation,
        at,
        evidence,
        next_check_at,
        failures,
        error,
        works
    )
}

/// The statement that postpones a refresh that could not begin: with an error it counts as a failure and makes callers
/// wait until `until`; without one only the next check is later.
pub fn postpone(
    connection: &Connection,
    until: Timestamp,
    error: Option<&str>,
    next_check_at: Timestamp,
    evidence: &str,
    now: Timestamp,
) -> Statement {
    let held_until = if error.is_some() { until } else { Timestamp::from_unix(0) };
    sql!(
        DELAY,
        &connection.workspace,
        &connection.id,
        connection.generation,
        held_until,
        error.is_some(),
        error,
        next_check_at,
        evidence,
        now
    )
}

/// Ends a connection: from the answer on it does not exist. Returns the row, whose credential was sealed under the
/// previous generation, and the answers to `then`, which is added to the same transaction.
pub async fn mark_deleted(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    now: Timestamp,
    then: Vec<Statement>,
) -> StoreResult<(Option<Connection>, Vec<Rows>)> {
    run_mark(db, sql!(MARK_DELETED, workspace, id, now), then).await
}

/// The same for one that may be brought back until a time.
pub async fn mark_deleted_for_now(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    undo_until: Timestamp,
    then: Vec<Statement>,
) -> StoreResult<(Option<Connection>, Vec<Rows>)> {
    run_mark(db, super::disconnected::mark(workspace, id, undo_until), then).await
}

async fn run_mark(
    db: &impl Database,
    mark: Statement,
    then: Vec<Statement>,
) -> StoreResult<(Option<Connection>, Vec<Rows>)> {
    let answers = db.batch([mark].into_iter().chain(then).collect()).await?;
    let mut answers = answers.into_iter();
    let ended = answers.next().map_or(Ok(None), |rows| read_first(&rows))?;
    Ok((ended, answers.collect()))
}

/// The statements that erase an ended connection.
pub fn erase(workspace: &WorkspaceId, id: &ConnectionId) -> [Statement; 2] {
    [sql!(ERASE_USES, workspace, id), sql!(ERASE, workspace, id)]
}

/// What was taken of what is due.
#[derive(Debug, Default)]
pub struct DueConnections {
    /// To be checked, those first that are nearest to being lost. Leased.
    pub leased: Vec<ConnectionId>,
    /// Of deleted workspaces: they are not due any more.
    pub dropped: i64,
}

/// Takes connections whose check is due, at most `limit`, so that no other run does until `lease_until`: first those whose
/// refresh token ends soon, nearest first, then those that have been due for longest. Where others of deleted workspaces
/// were found, `drops_more` looks for more of them first.
pub async fn lease_due(
    db: &impl Database,
    due: Timestamp,
    lease_until: Timestamp,
    limit: i64,
    drops_more: bool,
) -> StoreResult<DueConnections> {
    let mut statements = vec![sql!(LEASE_ENDING, due, lease_until, limit), sql!(LEASE_DUE, due, lease_until, limit)];
    if drops_more {
        statements.insert(0, sql!(DROP_DUE, due, MOST_DROPPED));
    }
    let answers = db.batch(statements).await?;
    let [dropped @ .., ending, others] = answers.as_slice() else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    let mut nearest = Vec::new();
    let dropped = dropped.iter().map(|rows| i64::try_from(rows.changes).unwrap_or(MOST_DROPPED)).sum();
    let mut found = DueConnections { dropped, ..DueConnections::default() };
    for row in ending.rows.iter().map(Columns) {
        if row.optional_time("next_check_at")?.is_some() {
            nearest.push((row.time("ends_at")?, row.id("id")?));
        } else {
            found.dropped += 1;
        }
    }
    nearest.sort_by_key(|(ends_at, _)| *ends_at);
    found.leased = nearest.into_iter().map(|(_, id)| id).collect();
    for row in others.rows.iter().map(Columns) {
        if row.optional_time("next_check_at")?.is_some() {
            found.leased.push(row.id("id")?);
        } else {
            found.dropped += 1;
        }
    }
    Ok(found)
}
