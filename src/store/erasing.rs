//! What was ended and is not erased yet: connections with their grants, and the rows of deleted workspaces.
//!
//! Owns the queue of ended connections (oldest first; `deleted_at` is set again when a run takes one, which is its
//! lease) and the order in which a deleted workspace is emptied. Every statement is bounded.

use std::collections::BTreeMap;

use super::revocations::RevocationJob;
use super::{Columns, FromRow, StoreResult, json_text, query_all, read_all, run_statement};
use crate::app::{AppId, AuthMethodId};
use crate::client::Client;
use crate::connection::Connection;
use crate::gather::Gather as _;
use crate::ids::{ClientId, ConnectionId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::retention::DELETED_WORKSPACE_AGE;
use crate::sql;
use crate::time::Timestamp;

/// The ended connections that no run has taken for longest. Without their credentials, because there may be a thousand.
const OLDEST: &str =
    "SELECT c.id, c.workspace_id, c.app, c.app_revision, c.auth_method, c.reconnect_reason, c.sealed_credential IS NOT NULL AS sealed,
      (SELECT w.deleted_at IS NOT NULL FROM workspaces w WHERE w.id = c.workspace_id) AS workspace_deleted
    FROM connections c WHERE c.deleted_at IS NOT NULL AND c.deleted_at <= ?1 ORDER BY c.deleted_at LIMIT ?2";
/// The newest: a single disconnect does not wait for the thousands of a workspace that was deleted before it.
const NEWEST: &str =
    "SELECT c.id, c.workspace_id, c.app, c.app_revision, c.auth_method, c.reconnect_reason, c.sealed_credential IS NOT NULL AS sealed,
      (SELECT w.deleted_at IS NOT NULL FROM workspaces w WHERE w.id = c.workspace_id) AS workspace_deleted
    FROM connections c WHERE c.deleted_at IS NOT NULL AND c.deleted_at <= ?1 ORDER BY c.deleted_at DESC LIMIT ?2";
/// Nothing comes back that a run has taken.
const LEASE_CONNECTIONS: &str = "UPDATE connections SET deleted_at = ?2, undo_until = NULL, undo_state = NULL
    WHERE id IN (SELECT value FROM json_each(?1)) AND deleted_at IS NOT NULL AND deleted_at <= ?3 RETURNING *";
const ERASE_USES: &str = "DELETE FROM uses WHERE (connection_id, workflow, step) IN
    (SELECT connection_id, workflow, step FROM uses WHERE connection_id IN (SELECT value FROM json_each(?1)) LIMIT ?2)";
/// The rest of a connection whose grant was handled and that still has uses.
const ERASE_CREDENTIALS: &str = "UPDATE connections SET sealed_credential = NULL
    WHERE id IN (SELECT value FROM json_each(?1)) AND deleted_at IS NOT NULL AND sealed_credential IS NOT NULL
    AND EXISTS (SELECT 1 FROM uses u WHERE u.connection_id = connections.id)";
const ERASE: &str = "DELETE FROM connections WHERE id IN (SELECT value FROM json_each(?1)) AND deleted_at IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM uses u WHERE u.connection_id = connections.id) RETURNING id";
const ERASE_REVOKED_KEYS: &str = "DELETE FROM api_keys WHERE id IN
    (SELECT id FROM api_keys WHERE revoked_at IS NOT NULL AND revoked_at <= ?1 AND is_ending IS NULL ORDER BY revoked_at LIMIT ?2)";
const CLIENTS: &str = "SELECT * FROM oauth_clients WHERE id IN (SELECT value FROM json_each(?1))";
const DEFINITIONS: &str = "SELECT a.workspace_id, a.id, a.revision, a.definition FROM json_each(?1) j
    JOIN apps a ON a.workspace_id = json_extract(j.value, '$[0]') AND a.id = json_extract(j.value, '$[1]') AND a.revision = json_extract(j.value, '$[2]')";
/// By number in the list. In a deleted workspace nothing keeps a grant alive, also what has not ended yet.
const SHARED_GRANTS: &str = concat!(
    "SELECT j.key AS n FROM json_each(?1) j
    WHERE NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = json_extract(j.value, '$[0]') AND w.deleted_at IS NOT NULL) AND (",
    live_grant!("json_extract(j.value, '$[0]')", "json_extract(j.value, '$[1]')", "json_extract(j.value, '$[2]')"),
    ")"
);

const WITHOUT_TOMBSTONE: &str =
    "SELECT id FROM workspaces WHERE deleted_at IS NOT NULL AND tombstoned_at IS NULL ORDER BY deleted_at LIMIT ?1";
const MARK_TOMBSTONED: &str =
    "UPDATE workspaces SET tombstoned_at = ?2 WHERE id IN (SELECT value FROM json_each(?1)) AND deleted_at IS NOT NULL";
const LEASE_WORKSPACES: &str = "UPDATE workspaces SET next_erasure_at = ?2 WHERE id IN
    (SELECT id FROM workspaces WHERE deleted_at IS NOT NULL AND next_erasure_at <= ?1 ORDER BY next_erasure_at LIMIT ?3) RETURNING id";
/// Rows of one kind that the operator's status counts, at most.
pub const STATUS_ROWS_COUNTED: i64 = 10_000;
const PROGRESS: &str = "SELECT w.id, w.name, w.created_at, w.deleted_at, w.tombstoned_at,
      (SELECT count(*) FROM (SELECT 1 FROM connections c WHERE c.workspace_id = w.id LIMIT ?3)) AS connections_left,
      (SELECT count(*) FROM (SELECT 1 FROM revocations r WHERE r.workspace_id = w.id LIMIT ?3)) AS revocations_left
    FROM workspaces w WHERE w.deleted_at IS NOT NULL AND (?1 IS NULL OR w.id = ?1) ORDER BY w.deleted_at LIMIT ?2";

/// The tables that are emptied first, in this order. A pending grant is revoked before its flow's row is deleted.
const EMPTY_TABLES: [&str; 19] = [
    "DELETE FROM flows WHERE id IN (SELECT id FROM flows WHERE workspace_id = ?1 AND sealed_grant IS NULL LIMIT ?2)",
    "DELETE FROM connect_links WHERE id IN (SELECT id FROM connect_links WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM sessions WHERE token_hash IN (SELECT token_hash FROM sessions WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM sign_in_links WHERE token_hash IN (SELECT token_hash FROM sign_in_links WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM identity_providers WHERE id IN (SELECT id FROM identity_providers WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM people WHERE workspace_id = ?1 AND user_id IN (SELECT user_id FROM people WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM app_defaults WHERE (workspace_id, app, user_id, environment) IN
      (SELECT workspace_id, app, user_id, environment FROM app_defaults WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM replacements WHERE connection_id IN (SELECT connection_id FROM replacements WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM denied_apps WHERE (workspace_id, app, oauth_client) IN
      (SELECT workspace_id, app, oauth_client FROM denied_apps WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM disconnect_jobs WHERE id IN (SELECT id FROM disconnect_jobs WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM idempotent_requests WHERE id IN (SELECT id FROM idempotent_requests WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM seen_app_events WHERE (oauth_client, event_hash) IN (SELECT oauth_client, event_hash FROM seen_app_events
      WHERE oauth_client IN (SELECT id FROM oauth_clients WHERE workspace_id = ?1) LIMIT ?2)",
    END_SUBSCRIPTIONS,
    "DELETE FROM emails WHERE id IN (SELECT id FROM emails WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM told_states WHERE (subject, type) IN (SELECT subject, type FROM told_states WHERE workspace_id = ?1 LIMIT ?2)",
    "DELETE FROM attention_sweeps WHERE workspace_id IN (SELECT workspace_id FROM attention_sweeps WHERE workspace_id = ?1 LIMIT ?2)",
];
/// It sets what is set already: the line that follows asks whether a row was changed, and this counts.
const MARK_IF_PENDING: &str = "UPDATE connections SET undo_state = NULL WHERE id = ?2 AND workspace_id = ?1 AND deleted_at IS NOT NULL
    AND EXISTS (SELECT 1 FROM events e WHERE e.workspace_id = ?1 AND e.connection_id = ?2 AND e.type = 'disconnected' AND e.detail IS 'pending')
    AND NOT EXISTS (SELECT 1 FROM events e WHERE e.workspace_id = ?1 AND e.connection_id = ?2 AND e.type = 'disconnected'
      AND e.detail IS NOT 'pending')";
/// Nobody is told of anything from now on.
const END_SUBSCRIPTIONS: &str =
    "DELETE FROM subscriptions WHERE id IN (SELECT id FROM subscriptions WHERE workspace_id = ?1 LIMIT ?2)";
/// Connections of a deleted workspace end in steps, also those that were created in it anyway.
const END_CONNECTIONS: &str =
    "UPDATE connections SET deleted_at = ?2, generation = generation + 1, next_check_at = NULL
    WHERE id IN (SELECT id FROM connections WHERE workspace_id = ?1 AND deleted_at IS NULL LIMIT ?3)";
/// Keys end with the first of these, and with them all that programs may do.
const REVOKE_KEYS: &str = "UPDATE api_keys SET revoked_at = ?3 WHERE id IN
    (SELECT id FROM api_keys WHERE workspace_id = ?1 AND revoked_at IS NULL LIMIT ?2)";
/// A flow with a pending grant is kept, without an owner, until the grant is revoked.
const EXPIRE_PENDING_GRANTS: &str = "UPDATE flows SET session_hash = '', expires_at = min(expires_at, ?3) WHERE id IN
    (SELECT id FROM flows WHERE workspace_id = ?1 AND sealed_grant IS NOT NULL AND session_hash <> '' LIMIT ?2)";
/// What revocations still need, and at last the workspace: only when nothing else is left of it. If the tombstone could
/// not be written, the row stays until all cache entries have expired.
const ERASE_WORKSPACE: [&str; 3] = [
    "DELETE FROM oauth_clients WHERE id IN (SELECT id FROM oauth_clients WHERE workspace_id = ?1 LIMIT ?2)
      AND NOT EXISTS (SELECT 1 FROM connections c WHERE c.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM flows a WHERE a.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM seen_app_events s WHERE s.oauth_client = oauth_clients.id)",
    "DELETE FROM apps WHERE (workspace_id, id, revision) IN (SELECT workspace_id, id, revision FROM apps WHERE workspace_id = ?1 LIMIT ?2)
      AND NOT EXISTS (SELECT 1 FROM connections c WHERE c.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM flows a WHERE a.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.workspace_id = ?1)",
    "DELETE FROM workspaces WHERE id = ?1 AND deleted_at IS NOT NULL AND (tombstoned_at IS NOT NULL OR deleted_at <= ?2)
      AND NOT EXISTS (SELECT 1 FROM connections c WHERE c.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM revocations r WHERE r.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM flows a WHERE a.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM connect_links l WHERE l.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM sign_in_links s WHERE s.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM identity_providers i WHERE i.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM people p WHERE p.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM api_keys k WHERE k.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM app_defaults d WHERE d.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM replacements r WHERE r.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM events e WHERE e.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM denied_apps n WHERE n.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM disconnect_jobs j WHERE j.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM idempotent_requests i WHERE i.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM subscriptions s WHERE s.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM emails m WHERE m.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM told_states t WHERE t.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM attention_sweeps a WHERE a.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM oauth_clients c WHERE c.workspace_id = ?1)
      AND NOT EXISTS (SELECT 1 FROM apps a WHERE a.workspace_id = ?1)",
];

/// The tables with rows of a workspace: all of them are emptied when it is deleted. A test compares this list with the
/// schema.
pub const WORKSPACE_TABLES: [&str; 24] = [
    "api_keys",
    "app_defaults",
    "apps",
    "attention_sweeps",
    "connect_links",
    "connections",
    "denied_apps",
    "disconnect_jobs",
    "emails",
    "events",
    "flows",
    "idempotent_requests",
    "identity_providers",
    "oauth_clients",
    "outbox",
    "people",
    "replacements",
    "revocations",
    "sessions",
    "sign_in_links",
    "subscriptions",
    "told_states",
    "uses",
    "workspaces",
];

/// Rows written for a connection, as D1 counts them: its own and an index entry when it is ended or taken; its own, a use and
/// its workspace's counter when it is erased. Index entries that go are not counted.
pub const WRITES_PER_CONNECTION: i64 = 5;
/// Tables that have many rows of a workspace at once. A deleted row of theirs is one that is written.
const LARGE_TABLES: i64 = 2;

/// An ended connection, with what decides how it is handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisconnectedConnection {
    /// Its id.
    pub id: ConnectionId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its app.
    pub app: AppId,
    /// The revision of the app's definition.
    pub app_revision: i64,
    /// The auth method it was created with.
    pub auth_method: AuthMethodId,
    /// Whether the app had permanently refused its credential.
    pub needs_reconnect: bool,
    /// Whether there is a credential.
    pub has_credential: bool,
    /// Whether its workspace was deleted.
    pub workspace_deleted: bool,
}

impl FromRow for DisconnectedConnection {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let unknown = || DatabaseError::Malformed("an app's or way's id".into());
        Ok(Self {
            id: row.id("id")?,
            workspace: row.id("workspace_id")?,
            app: AppId::parse(&row.text("app")?).ok_or_else(unknown)?,
            app_revision: row.integer("app_revision")?,
            auth_method: AuthMethodId::parse(&row.text("auth_method")?).ok_or_else(unknown)?,
            needs_reconnect: row.optional_text("reconnect_reason")?.is_some(),
            has_credential: row.boolean("sealed")?,
            workspace_deleted: row.optional_integer("workspace_deleted")? == Some(1),
        })
    }
}

/// The statements that read ended connections which no run has taken since `before`.
pub(super) fn queue_statements(before: Timestamp, oldest: i64, newest: i64) -> [Statement; 2] {
    [sql!(OLDEST, before, oldest), sql!(NEWEST, before, newest)]
}

/// Both ends of the queue, each connection once.
pub(super) fn read_queue(oldest: &Rows, newest: &Rows) -> Vec<DisconnectedConnection> {
    let mut queue: Vec<DisconnectedConnection> = read_valid_rows(newest);
    let known: Vec<_> = queue.iter().map(|one| one.id.clone()).collect();
    queue.extend(read_valid_rows::<DisconnectedConnection>(oldest).into_iter().filter(|one| !known.contains(&one.id)));
    queue
}

/// Takes ended connections and stored revocations, so that no other run does within this many seconds. Returns them
/// with their credentials.
pub async fn lease_connections_and_revocations(
    db: &impl Database,
    ended: &[&ConnectionId],
    kept: &[&ConnectionId],
    now: Timestamp,
    lease: i64,
) -> StoreResult<(Vec<Connection>, Vec<RevocationJob>)> {
    let statements = vec![
        sql!(LEASE_CONNECTIONS, json_text(ended), now, now.plus(-lease)),
        super::revocations::lease(kept, now, now.plus(lease)),
    ];
    let answers = db.batch(statements).await?;
    let [ended, kept] = answers.as_slice() else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    Ok((read_valid_rows(ended), read_valid_rows(kept)))
}

/// The readable rows: an unreadable one does not block the others.
pub(super) fn read_valid_rows<T: FromRow>(rows: &Rows) -> Vec<T> {
    rows.rows.iter().filter_map(|row| T::from_row(&Columns(row)).ok()).collect()
}

/// The statement that changes a disconnected connection of which the audit log only says that it may come back.
pub fn mark_if_pending(workspace: &WorkspaceId, connection: &ConnectionId) -> Statement {
    sql!(MARK_IF_PENDING, workspace, connection)
}

/// The statements that erase ended connections with their uses. One with more uses than `most_uses` loses its
/// credential and stays for the next run.
pub fn erase_connections(ids: &[&ConnectionId], most_uses: i64) -> Vec<Statement> {
    let ids = json_text(ids);
    let mut statements = vec![sql!(ERASE_USES, ids.as_str(), most_uses), super::defaults::erase(&ids)];
    statements.extend(super::replacements::erase(&ids));
    statements.extend([sql!(ERASE_CREDENTIALS, ids.as_str()), sql!(ERASE, ids)]);
    statements
}

/// The statement that erases keys which were revoked before a time.
pub fn erase_revoked_keys(before: Timestamp, limit: i64) -> Statement {
    sql!(ERASE_REVOKED_KEYS, before, limit)
}

/// The statement that reads deleted workspaces without a tombstone.
pub(super) fn select_without_tombstone(limit: i64) -> Statement {
    sql!(WITHOUT_TOMBSTONE, limit)
}

/// The statement that records that tombstones were written.
pub fn mark_tombstoned(ids: &[&WorkspaceId], now: Timestamp) -> Statement {
    sql!(MARK_TOMBSTONED, json_text(ids), now)
}

/// The statement that takes the deleted workspaces that are due.
pub(super) fn lease_workspaces(now: Timestamp, lease_until: Timestamp, limit: i64) -> Statement {
    sql!(LEASE_WORKSPACES, now, lease_until, limit)
}

/// The statement that ends at most so many connections of a deleted workspace.
pub(super) fn end_connections(id: &WorkspaceId, limit: i64, now: Timestamp) -> Statement {
    sql!(END_CONNECTIONS, id, now, limit)
}

/// The statements that end what opens doors to a deleted workspace, at most so many rows of each kind: keys, flows, links,
/// sessions, sign-in links; and what is told of it.
pub(super) fn end_access(id: &WorkspaceId, limit: i64, now: Timestamp) -> Vec<Statement> {
    let [flows, links, sessions, sign_in_links, ..] = EMPTY_TABLES;
    let mut statements = vec![sql!(REVOKE_KEYS, id, limit, now), sql!(EXPIRE_PENDING_GRANTS, id, limit, now)];
    statements.extend([sessions, sign_in_links, links, flows, END_SUBSCRIPTIONS].map(|sql| sql!(sql, id, limit)));
    statements
}

/// Empties a deleted workspace by about this many written rows, ends so many of its connections, and erases it when nothing
/// is left. Returns how many rows were deleted.
pub async fn empty_workspace(
    db: &impl Database,
    id: &WorkspaceId,
    budget: i64,
    ended: i64,
    now: Timestamp,
) -> StoreResult<u64> {
    let limit = (budget / LARGE_TABLES).max(1);
    let mut statements: Vec<_> = EMPTY_TABLES.iter().map(|sql| sql!(*sql, id, limit)).collect();
    statements.push(end_connections(id, ended, now));
    let strays = statements.len() - 1;
    let [clients, apps, workspace] = ERASE_WORKSPACE;
    statements.extend([
        sql!(clients, id, limit),
        sql!(apps, id, limit),
        sql!(workspace, id, now.plus(-DELETED_WORKSPACE_AGE)),
    ]);
    let answers = db.batch(statements).await?;
    Ok(answers.iter().enumerate().filter(|(at, _)| *at != strays).map(|(_, rows)| rows.changes).sum())
}

/// A revision of a custom app: workspace, app, revision.
pub type AppRevisionKey = (WorkspaceId, AppId, i64);

/// Definitions of custom apps, by revision, in one round trip.
pub async fn load_definitions(
    db: &impl Database,
    keys: &[AppRevisionKey],
) -> StoreResult<BTreeMap<AppRevisionKey, String>> {
    read_definitions(&run_statement(db, definitions_statement(keys)).await?)
}

fn definitions_statement(keys: &[AppRevisionKey]) -> Statement {
    let keys: Vec<_> = keys.iter().map(|(workspace, app, revision)| (workspace, app.as_str(), revision)).collect();
    sql!(DEFINITIONS, json_text(&keys))
}

fn read_definitions(rows: &Rows) -> StoreResult<BTreeMap<AppRevisionKey, String>> {
    let read = |row| {
        let row = Columns(row);
        let app = AppId::parse(&row.text("id")?).ok_or_else(|| DatabaseError::Malformed("an app's id".into()))?;
        Ok(((row.id("workspace_id")?, app, row.integer("revision")?), row.text("definition")?))
    };
    rows.rows.iter().map(read).try_gather()
}

/// The data that revocations need, read for many at once.
#[derive(Debug, Default)]
pub struct RevocationData {
    /// Clients by id.
    pub clients: BTreeMap<ClientId, Client>,
    /// Definitions of custom apps.
    pub definitions: BTreeMap<AppRevisionKey, String>,
    /// Whether a connection shares the grant, by number in the list.
    pub shared: Vec<bool>,
}

/// Reads it in one round trip.
pub async fn load_revocation_data(db: &impl Database, jobs: &[RevocationJob]) -> StoreResult<RevocationData> {
    let clients: Vec<_> = jobs.iter().filter_map(|job| job.client.as_ref()).collect();
    let custom = jobs.iter().filter(|job| job.app_revision > 0);
    let mut revisions: Vec<AppRevisionKey> =
        custom.map(|job| (job.workspace.clone(), job.app.clone(), job.app_revision)).collect();
    revisions.sort();
    revisions.dedup();
    let grants: Vec<_> =
        jobs.iter().map(|job| (&job.workspace, job.client.as_ref(), job.account_id.as_deref())).collect();
    let answers = db
        .batch(vec![
            sql!(CLIENTS, json_text(&clients)),
            definitions_statement(&revisions),
            sql!(SHARED_GRANTS, json_text(&grants)),
        ])
        .await?;
    let [clients, definitions, shared] = answers.as_slice() else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    let numbers = shared.rows.iter().map(|row| Columns(row).integer("n")).collect::<StoreResult<Vec<_>>>()?;
    let is_shared = |at: usize| numbers.iter().any(|number| usize::try_from(*number) == Ok(at));
    Ok(RevocationData {
        clients: read_all::<Client>(clients)?.into_iter().map(|client| (client.id.clone(), client)).gather(),
        definitions: read_definitions(definitions)?,
        shared: (0..jobs.len()).map(is_shared).collect(),
    })
}

/// The progress of erasing a deleted workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasureProgress {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Timestamp,
    /// When its tombstone was written to the cache.
    pub tombstoned_at: Option<Timestamp>,
    /// Connections that are still to be revoked or erased, up to [`STATUS_ROWS_COUNTED`].
    pub connections_left: i64,
    /// Revocations that an app has not confirmed and that are tried again, up to [`STATUS_ROWS_COUNTED`].
    pub revocations_left: i64,
}

impl FromRow for ErasureProgress {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            workspace: row.id("id")?,
            name: row.text("name")?,
            created_at: row.time("created_at")?,
            deleted_at: row.time("deleted_at")?,
            tombstoned_at: row.optional_time("tombstoned_at")?,
            connections_left: row.integer("connections_left")?,
            revocations_left: row.integer("revocations_left")?,
        })
    }
}

/// The progress of deleted workspaces, the earliest deleted first.
pub async fn list_progress(
    db: &impl Database,
    of: Option<&WorkspaceId>,
    limit: i64,
) -> StoreResult<Vec<ErasureProgress>> {
    query_all(db, select_progress(of, limit)).await
}

/// The statement of [`list_progress`], to go with others.
pub(crate) fn select_progress(of: Option<&WorkspaceId>, limit: i64) -> Statement {
    sql!(PROGRESS, of, limit, STATUS_ROWS_COUNTED)
}
