//! What a received event of an app needs: the client that it is for, the connections of its accounts, and which events were
//! seen before (`seen_app_events`).

use super::{Columns, FromRow, MUST_HAVE_CHANGED, StoreResult, all_or_nothing, query_first, read_all, run_statement};
use crate::app::{AccountMatch, AppId, NamedAccount};
use crate::client::Client;
use crate::connection::ConnectionStatus;
use crate::environment::Environment;
use crate::ids::{ApiKeyId, ClientId, ConnectionId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::retention::SEEN_EVENT_AGE;
use crate::sql;
use crate::time::Timestamp;

/// Connections of one event, at most.
pub const MAX_CONNECTIONS: i64 = 100;
/// Seconds in which an event leads to one check of a connection, as reports do.
pub const CHECK_INTERVAL: i64 = 30;

/// Its id is all that an app knows.
const RECEIVER: &str = "SELECT c.* FROM oauth_clients c WHERE c.id = CAST(?1 AS TEXT)
    AND EXISTS (SELECT 1 FROM workspaces w WHERE w.id = c.workspace_id AND w.deleted_at IS NULL)";

/// Connections with the client that the event came for, or with a credential that a person entered.
macro_rules! of_accounts {
    ($on:literal) => {
        concat!(
            "SELECT c.id, c.app, c.environment, c.status, c.account_id FROM json_each(?3) j
    CROSS JOIN connections c ON c.workspace_id = CAST(?1 AS TEXT) AND c.app = CAST(?2 AS TEXT) AND ",
            $on,
            "
    WHERE c.deleted_at IS NULL AND (c.oauth_client IS NULL OR c.oauth_client = ?4) AND ",
            is_not_denied!("c"),
            " LIMIT ?5"
        )
    };
}
const OF_IDS: &str = of_accounts!("c.account_id = CAST(j.value AS TEXT)");
/// A semicolon is the character after the colon that ends a part of an id.
const OF_PREFIXES: &str =
    of_accounts!("c.account_id >= CAST(j.value || ':' AS TEXT) AND c.account_id < CAST(j.value || ';' AS TEXT)");
const OF_LABELS: &str = of_accounts!("c.account_label = CAST(j.value AS TEXT)");
/// All connections of a client, for an event that names no account. The plus keeps `SQLite` from reading the workspace.
const OF_CLIENT: &str = concat!(
    "SELECT c.id, c.app, c.environment, c.status, c.account_id FROM connections c
    WHERE c.oauth_client = ?2 AND +c.workspace_id = ?1 AND c.deleted_at IS NULL AND ",
    is_not_denied!("c"),
    " LIMIT ?3"
);
const MARK_SEEN: &str = "INSERT INTO seen_app_events (oauth_client, event_hash, seen_at) VALUES (?1, ?2, ?3)
    ON CONFLICT (oauth_client, event_hash) DO UPDATE SET seen_at = ?3 WHERE seen_at <= ?3 - ?4";
/// A secret that an app has sent, unless it met another change, or the key that asked for its address (`?6`) has ended, or
/// the person (`?7`) is no admin any more.
/// Whatever was set stays set: the new text has it all.
const TAKE_SECRET: &str =
    "UPDATE oauth_clients SET sealed_event_secret = ?3, event_secret_received_at = ?4, updated_at = ?4
    WHERE id = ?2 AND workspace_id = ?1 AND sealed_event_secret IS ?5
      AND (EXISTS (SELECT 1 FROM api_keys k WHERE k.id = ?6 AND k.workspace_id = ?1 AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > ?4))
        OR EXISTS (SELECT 1 FROM people p WHERE p.workspace_id = ?1 AND p.user_id = ?7 AND p.role = 'admin'))";
/// Of the events about a connection, one in a while leads to a check, whichever instance they come to. The scheduled run does
/// it if nobody else gets to it.
const TAKE_CHECKS: &str = "UPDATE connections SET reported_at = ?3,
      next_check_at = CASE WHEN next_check_at IS NULL THEN NULL ELSE min(next_check_at, ?3) END
    WHERE id IN (SELECT value FROM json_each(?2)) AND +workspace_id = ?1 AND deleted_at IS NULL
      AND status <> 'needs_reconnect' AND coalesce(reported_at, 0) <= ?3 - ?4 RETURNING id";

/// A connection that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventConnection {
    /// Its id.
    pub id: ConnectionId,
    /// Its app.
    pub app: AppId,
    /// Its environment.
    pub environment: Option<Environment>,
    /// Its status.
    pub status: ConnectionStatus,
    /// Its account's id.
    pub account: Option<String>,
}

impl FromRow for EventConnection {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            id: row.id("id")?,
            app: row.id("app")?,
            environment: row.optional_text("environment")?.as_deref().and_then(Environment::parse),
            status: ConnectionStatus::parse(&row.text("status")?).unwrap_or(ConnectionStatus::NeedsReconnect),
            account: row.optional_text("account_id")?,
        })
    }
}

/// The client that events are sent for, whatever its workspace.
pub async fn get_receiver(db: &impl Database, id: &ClientId) -> StoreResult<Option<Client>> {
    query_first(db, sql!(RECEIVER, id)).await
}

/// The connections of an event's accounts, in one round trip.
pub async fn list_connections(
    db: &impl Database,
    client: &Client,
    app: &AppId,
    accounts: &[NamedAccount],
) -> StoreResult<Vec<EventConnection>> {
    let kinds = [(AccountMatch::Id, OF_IDS), (AccountMatch::Prefix, OF_PREFIXES), (AccountMatch::Label, OF_LABELS)];
    let statements = kinds.into_iter().filter_map(|(kind, sql)| {
        let texts: Vec<&str> = accounts.iter().filter(|one| one.r#match == kind).map(|one| one.text.as_str()).collect();
        let list = serde_json::to_string(&texts).unwrap_or_default();
        (!texts.is_empty()).then(|| sql!(sql, &client.workspace, app, list, &client.id, MAX_CONNECTIONS))
    });
    let statements: Vec<Statement> = statements.collect();
    if statements.is_empty() {
        return Ok(vec![]);
    }
    let mut found: Vec<EventConnection> = Vec::new();
    for rows in &db.batch(statements).await? {
        for one in read_all::<EventConnection>(rows)? {
            if found.len() < usize::try_from(MAX_CONNECTIONS).unwrap_or(usize::MAX)
                && found.iter().all(|known| known.id != one.id)
            {
                found.push(one);
            }
        }
    }
    Ok(found)
}

/// The connections of a client, up to a number of them.
pub async fn list_of_client(db: &impl Database, client: &Client, limit: i64) -> StoreResult<Vec<EventConnection>> {
    read_all(&run_statement(db, sql!(OF_CLIENT, &client.workspace, &client.id, limit)).await?)
}

/// The statement that marks connections for a check, and its answer: those that are to be checked now.
pub fn take_checks(workspace: &WorkspaceId, connections: &[&ConnectionId], now: Timestamp) -> Statement {
    let ids: Vec<&str> = connections.iter().map(|id| id.as_str()).collect();
    sql!(TAKE_CHECKS, workspace, serde_json::to_string(&ids).unwrap_or_default(), now, CHECK_INTERVAL)
}

/// Reads the answer of [`take_checks`].
pub fn read_taken(rows: &Rows) -> Vec<ConnectionId> {
    rows.rows.iter().filter_map(|row| Columns(row).id("id").ok()).collect()
}

/// Who asked for the address that a secret came to.
#[derive(Debug, Clone, Copy)]
pub enum HandshakeAsker<'a> {
    /// A program, by its key.
    Key(&'a ApiKeyId),
    /// An admin, by the workspace's id of them.
    Admin(&'a str),
}

/// Stores a client's event secrets as they are with one that the app has sent, and remembers the address that it came to.
/// Returns whether it did: not if the address was used before, or if the secrets were changed since the client was read.
pub async fn take_secret(
    db: &impl Database,
    client: &Client,
    sealed: &str,
    (mark, asked_by): (&str, HandshakeAsker<'_>),
    (event, now): (Statement, Timestamp),
) -> StoreResult<bool> {
    let used = sql!(MARK_SEEN, &client.id, mark, now, SEEN_EVENT_AGE);
    let before = client.sealed_event_secret.as_deref();
    let (key, admin) = match asked_by {
        HandshakeAsker::Key(id) => (Some(id), None),
        HandshakeAsker::Admin(id) => (None, Some(id)),
    };
    let taken = sql!(TAKE_SECRET, &client.workspace, &client.id, sealed, now, before, key, admin);
    all_or_nothing(db, vec![used, taken], vec![event]).await
}

/// Remembers an event, and does what follows from it in the same transaction. Returns what that answers, if the event is new:
/// nothing is done about one that has come before.
pub async fn mark_seen(
    db: &impl Database,
    client: &ClientId,
    mark: &str,
    now: Timestamp,
    then: Vec<Statement>,
) -> StoreResult<Option<Vec<Rows>>> {
    let marked = [sql!(MARK_SEEN, client, mark, now, SEEN_EVENT_AGE), sql!(MUST_HAVE_CHANGED)];
    match db.batch(marked.into_iter().chain(then).collect()).await {
        Ok(rows) => Ok(Some(rows.into_iter().skip(2).collect())),
        Err(DatabaseError::Constraint) => Ok(None),
        Err(error) => Err(error),
    }
}
