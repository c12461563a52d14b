//! Rows of `clients`.

use std::collections::BTreeSet;

use super::{Columns, FromRow, StoreResult, json_text, query_all, query_first, read_all, run_statement};
use crate::client::{Client, ClientProblem, FAILURES_WITHOUT_BACKOFF};
use crate::destinations::Destinations;
use crate::ids::{ClientId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;

/// A new id creates a row. The same id at the app keeps row and redirect URI and gets the new secret. A row never gets
/// another id.
const PUT: &str = "INSERT INTO oauth_clients (id, workspace_id, registration, client_id, sealed_secret, scopes, destinations, secret_expires_at, is_current, created_at, updated_at, variables, redirect_id, authorization_server, sealed_event_secret)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9, ?9, ?10, ?11, ?12, ?13)
    ON CONFLICT (id) DO UPDATE SET sealed_secret = ?5, scopes = ?6, destinations = ?7, secret_expires_at = ?8, is_current = 1, updated_at = ?9, variables = ?10, authorization_server = ?12,
      sealed_event_secret = CASE WHEN ?14 THEN sealed_event_secret ELSE ?13 END,
      event_secret_received_at = CASE WHEN ?14 OR sealed_event_secret IS ?13 THEN event_secret_received_at END,
      misconfigured_at = NULL, misconfigured_error = NULL, backoff_until = 0, failures = 0, wake_after = 0
    WHERE client_id = ?4 AND redirect_id = ?11";
const RETIRE_OTHERS: &str =
    "UPDATE oauth_clients SET is_current = 0 WHERE workspace_id = ?1 AND registration = ?2 AND id <> ?3";
/// Connections that waited for a working client are tried again at once, or in the next scheduled runs where they are
/// many. The client is `?1`, or one that is left. Each connection is woken once: what fails again waits.
macro_rules! to_wake {
    () => {
        "coalesce(?1, (SELECT id FROM oauth_clients WHERE wake_after IS NOT NULL ORDER BY wake_after LIMIT 1))"
    };
}
const WAKE: [&str; 3] = [
    concat!(
        "UPDATE oauth_clients SET wake_to = coalesce((SELECT c.rowid FROM connections c WHERE c.oauth_client = oauth_clients.id
      AND c.next_attempt_at > 0 AND c.rowid > wake_after ORDER BY c.rowid LIMIT 1 OFFSET ?2), 9000000000000000)
    WHERE wake_after IS NOT NULL AND id = ",
        to_wake!()
    ),
    concat!(
        "UPDATE connections SET next_attempt_at = 0,
      next_check_at = CASE WHEN next_check_at IS NULL THEN NULL ELSE min(next_check_at, ?2) END
    WHERE next_attempt_at > 0 AND oauth_client = ",
        to_wake!(),
        " AND rowid > (SELECT wake_after FROM oauth_clients WHERE id = ",
        to_wake!(),
        ") AND rowid <= (SELECT wake_to FROM oauth_clients WHERE id = ",
        to_wake!(),
        ")"
    ),
    concat!(
        "UPDATE oauth_clients SET wake_after = CASE WHEN wake_to < 9000000000000000 THEN wake_to END, wake_to = NULL
    WHERE wake_to IS NOT NULL AND id = ",
        to_wake!()
    ),
];
/// Connections that are woken at once.
pub const WOKEN_AT_ONCE: i64 = 500;
const GET: &str = "SELECT * FROM oauth_clients WHERE workspace_id = ?1 AND id = ?2";
const CURRENT: &str = "SELECT * FROM oauth_clients WHERE workspace_id = ?1 AND registration = ?2 AND is_current = 1";
const OF_REGISTRATION: &str = "SELECT * FROM oauth_clients WHERE workspace_id = ?1 AND registration = ?2 ORDER BY is_current DESC, updated_at DESC";
const LIST: &str = "SELECT * FROM oauth_clients WHERE workspace_id = ?1";
/// Only if nobody has entered the client again since it was read.
const SET_DESTINATIONS: &str = "UPDATE oauth_clients SET destinations = ?3 WHERE workspace_id = ?1 AND id = ?2 AND updated_at = ?4 AND destinations IS ?5";
const DELETE: &str = "DELETE FROM oauth_clients WHERE workspace_id = ?1 AND id = ?2
    AND NOT EXISTS (SELECT 1 FROM connections WHERE oauth_client = ?2) AND NOT EXISTS (SELECT 1 FROM revocations WHERE oauth_client = ?2)";
/// Pending grants and open flows were started with this client: another client's secret is useless for them, even under
/// the same id. Those that have expired are useless by themselves.
const END_FLOWS: &str =
    "UPDATE flows SET status = 'failed', error = 'client_refused', sealed_grant = NULL, sealed_verifier = NULL
    WHERE +workspace_id = ?1 AND oauth_client = ?2 AND status IN ('pending', 'undecided', 'awaiting_confirmation') AND expires_at > ?3
    AND NOT EXISTS (SELECT 1 FROM oauth_clients WHERE id = ?2)";
/// The same for links whose grant was to be confirmed.
const END_LINKS: &str = "UPDATE connect_links SET status = 'used', result_connection_id = NULL WHERE workspace_id = ?1 AND status = 'awaiting_confirmation'
    AND id IN (SELECT link_id FROM flows WHERE +workspace_id = ?1 AND oauth_client = ?2 AND status = 'awaiting_confirmation' AND expires_at > ?3)
    AND NOT EXISTS (SELECT 1 FROM oauth_clients WHERE id = ?2)";
const MARK_MISCONFIGURED: &str = "UPDATE oauth_clients SET misconfigured_at = coalesce(misconfigured_at, ?3), misconfigured_error = ?4, failures = failures + 1, backoff_until = ?5
    WHERE workspace_id = ?1 AND id = ?2 AND updated_at = ?6";
/// One failure of the app may be accidental. From the third in a row on, or if the app says how long, all connections
/// wait.
const BACK_OFF: &str = "UPDATE oauth_clients SET failures = failures + 1,
      backoff_until = CASE WHEN ?4 OR failures >= ?5 THEN max(backoff_until, ?3) ELSE backoff_until END WHERE workspace_id = ?1 AND id = ?2";
macro_rules! clear_mark {
    ($where:literal) => {
        concat!(
            "UPDATE oauth_clients SET misconfigured_at = NULL, misconfigured_error = NULL, failures = 0, backoff_until = 0
    WHERE workspace_id = ?1 AND id = ?2 AND ",
            $where
        )
    };
}
const MARK_WORKING: &str = clear_mark!("(misconfigured_at IS NOT NULL OR failures > 0 OR backoff_until > 0)");
/// Only the mark that was read: the app may have refused the client since.
const MARK_READABLE: &str = clear_mark!("misconfigured_error = ?3");

impl FromRow for Client {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let misconfigured = row.optional_time("misconfigured_at")?;
        Ok(Self {
            id: row.id("id")?,
            workspace: row.id("workspace_id")?,
            registration: row.text("registration")?,
            client_id: row.text("client_id")?,
            sealed_secret: row.optional_text("sealed_secret")?,
            sealed_event_secret: row.optional_text("sealed_event_secret")?,
            event_secret_received_at: row.optional_time("event_secret_received_at")?,
            scopes: row.optional_json("scopes")?,
            redirect_id: row.id("redirect_id")?,
            authorization_server: row.optional_text("authorization_server")?,
            destinations: row.optional_json("destinations")?,
            hosts: row.json::<BTreeSet<String>>("legacy_hosts")?,
            variables: row.json("variables")?,
            secret_expires_at: row.optional_time("secret_expires_at")?,
            current: row.boolean("is_current")?,
            misconfigured: match misconfigured {
                None => None,
                Some(since) => Some((since, row.optional_text("misconfigured_error")?.unwrap_or_default())),
            },
            backoff_until: row.time("backoff_until")?,
            failures: row.integer("failures")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

/// Stores a client (new, or with a new secret), makes it the current one and clears its problems. A `Constraint` error
/// says that another one was stored first: for the same id at the app, or under the same id of ours. `keeps_event_secret`:
/// what its events are signed with stays as it is stored, which may be another one than was read.
pub async fn put(db: &impl Database, client: &Client, keeps_event_secret: bool) -> Result<(), DatabaseError> {
    let mut statements = vec![
        sql!(
            PUT,
            &client.id,
            &client.workspace,
            client.registration.as_str(),
            client.client_id.as_str(),
            client.sealed_secret.as_deref(),
            client.scopes.as_ref().map(json_text),
            client.destinations.as_ref().map(json_text),
            client.secret_expires_at,
            client.updated_at,
            json_text(&client.variables),
            &client.redirect_id,
            client.authorization_server.as_deref(),
            client.sealed_event_secret.as_deref(),
            keeps_event_secret
        ),
        sql!(RETIRE_OTHERS, &client.workspace, client.registration.as_str(), &client.id),
    ];
    statements.extend(wake_connections(Some(&client.id), client.updated_at));
    match db.batch(statements).await?.first() {
        Some(put) if put.changes == 0 => Err(DatabaseError::Constraint),
        _ => Ok(()),
    }
}

/// The statements that wake the next connections of a client, or of one that has some left.
pub fn wake_connections(of: Option<&ClientId>, now: Timestamp) -> [Statement; 3] {
    let [begin, wake, end] = WAKE;
    [sql!(begin, of, WOKEN_AT_ONCE - 1), sql!(wake, of, now), sql!(end, of)]
}

/// One client.
pub async fn get(db: &impl Database, workspace: &WorkspaceId, id: &ClientId) -> StoreResult<Option<Client>> {
    query_first(db, sql!(GET, workspace, id)).await
}

/// The client for new flows.
pub async fn get_current(
    db: &impl Database,
    workspace: &WorkspaceId,
    registration: &str,
) -> StoreResult<Option<Client>> {
    query_first(db, sql!(CURRENT, workspace, registration)).await
}

/// All clients of a registration: the current one first, then those that were changed last.
pub async fn list_of_registration(
    db: &impl Database,
    workspace: &WorkspaceId,
    registration: &str,
) -> StoreResult<Vec<Client>> {
    query_all(db, sql!(OF_REGISTRATION, workspace, registration)).await
}

/// The statement that stores the destinations of a client's secret, as soon as they are known.
pub fn set_destinations(read: &Client, found: &Destinations) -> Statement {
    let before = read.destinations.as_ref().map(json_text);
    sql!(SET_DESTINATIONS, &read.workspace, &read.id, json_text(found), read.updated_at, before)
}

/// The clients of a workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkspaceClients(Vec<Client>);

impl WorkspaceClients {
    /// The current client of a registration.
    pub fn current(&self, registration: &str) -> Option<&Client> {
        self.of_registration(registration).find(|client| client.current)
    }

    /// All clients of a registration.
    pub fn of_registration(&self, registration: &str) -> impl Iterator<Item = &Client> {
        self.0.iter().filter(move |client| client.registration == registration)
    }

    /// The registrations with a current client.
    pub fn registration_names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|client| client.current).map(|client| client.registration.as_str())
    }
}

/// The registrations of a workspace's clients.
pub async fn list(db: &impl Database, workspace: &WorkspaceId) -> StoreResult<WorkspaceClients> {
    read_list(&run_statement(db, list_statement(workspace)).await?)
}

/// The statement that selects them, for a batch.
pub fn list_statement(workspace: &WorkspaceId) -> Statement {
    sql!(LIST, workspace)
}

/// Reads them.
pub fn read_list(rows: &Rows) -> StoreResult<WorkspaceClients> {
    read_all(rows).map(WorkspaceClients)
}

/// Deletes a client that no connection uses, and ends the flows that use it. Returns whether it did.
pub async fn delete(db: &impl Database, workspace: &WorkspaceId, id: &ClientId, now: Timestamp) -> StoreResult<bool> {
    let end = [END_LINKS, END_FLOWS].map(|one| sql!(one, workspace, id, now));
    let done = db.batch([sql!(DELETE, workspace, id)].into_iter().chain(end).collect()).await?;
    Ok(done.first().is_some_and(|rows| rows.changes > 0))
}

/// The app refused this client as it was then: one whose secret was replaced in the meantime is not marked.
pub fn mark_misconfigured(client: &Client, now: Timestamp, error: &str, backoff_until: Timestamp) -> Statement {
    sql!(MARK_MISCONFIGURED, &client.workspace, &client.id, now, error, backoff_until, client.updated_at)
}

/// The app failed, or asked this client to slow down (`told`).
pub fn back_off(client: &Client, until: Timestamp, told: bool) -> Statement {
    sql!(BACK_OFF, &client.workspace, &client.id, until, told, FAILURES_WITHOUT_BACKOFF)
}

/// The secret of this client can be decrypted again. Whether the app accepts the client is unknown.
pub fn mark_readable(client: &Client) -> Statement {
    let unreadable = ClientProblem::SecretUnreadable.as_str();
    sql!(MARK_READABLE, &client.workspace, &client.id, unreadable)
}

/// The app accepted this client.
pub fn mark_working(workspace: &WorkspaceId, id: &ClientId) -> Statement {
    sql!(MARK_WORKING, workspace, id)
}
