//! Rows of `connections`: reading them, and what a person edits. Lists are in `listed`.
//!
//! The columns of the credential are written in [`super::refreshes`] (refresh, check) and by the two statements here
//! that create or repair a connection.

mod chosen;
#[macro_use]
mod list_text;
mod listed;
mod overview;
mod page;

use super::{Columns, FromRow, StoreResult, json_text, query_all, query_first, run_count, run_statement};
use crate::account::Account;
use crate::app::{AppId, AuthMethodId, CredentialKind};
use crate::caller::ApiKey;
use crate::connection::{
    ChosenBy, Connection, ConnectionSettings, ConnectionStatus, ReconnectReason, RefreshLease, RefreshRefusal,
};
use crate::environment::Environment;
use crate::ids::{ApiKeyId, ClientId, ConnectionId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Statement};
use crate::sql;
use crate::time::Timestamp;
use crate::workspace::User;

pub use chosen::{AskedItem, ResolveItems, list_among, list_candidates, load_for_resolve_items};
pub use listed::{ConnectionFilter, EXAMINED_AT_ONCE, ListedConnection, MOST_EXAMINED, list, list_with};
pub use overview::{
    BROKEN_FIRST, COUNTED, Counted, GENERIC_NAMES, Issue, ListCounts, Order, Overview, OverviewFilter, OverviewRow,
    PEOPLE_OFFERED, SHORTEST_CLEAR_NAME, Twin, WINDOW, WindowStart, counts_statement, people_statement, read_counts,
    read_overview, read_people, read_used_apps, used_apps_statement,
};
pub use page::{ConnectionPage, DefaultOf, NamedEvent, PageLimits, load_page};

/// The live connections of the client `?2` whose definition is the workspace's own.
macro_rules! custom_grants {
    () => {
        "c.oauth_client = ?2 AND +c.workspace_id = ?1 AND c.app_revision > 0 AND c.deleted_at IS NULL"
    };
}
const GET: &str = concat!(
    "SELECT * FROM connections WHERE workspace_id = ?1 AND id = ?2 AND deleted_at IS NULL AND ",
    is_not_denied!("connections")
);
/// Key, what answers for the connection, the one that answers, the custom app's definition (empty if the caller has that
/// of the connection `?6` with the revision `?5`) and the step's use: one row, each found by its primary key. Without the casts
/// `SQLite` compiles the statement again at each call, because the plan of a join might depend on the values.
const FOR_RESOLVE: &str = concat!(
    "SELECT ",
    key_columns!("k"),
    ", ",
    requested_columns!(),
    ", c.*,
      (SELECT CASE WHEN a.revision = ?5 AND c.id = ?6 THEN '' ELSE a.definition END FROM apps a
        WHERE a.workspace_id = c.workspace_id AND a.id = c.app AND a.revision = c.app_revision) AS definition,
      (SELECT last_used_at FROM uses u WHERE u.connection_id = CAST(?2 AS TEXT) AND u.workflow = ?3 AND u.step = ?4
        AND u.workspace_id = c.workspace_id) AS step_used_at
    FROM api_keys k
    LEFT JOIN replacements r ON r.connection_id = CAST(?2 AS TEXT) AND r.workspace_id = k.workspace_id
    LEFT JOIN connections c ON c.id = coalesce(r.replaced_by, CAST(?2 AS TEXT)) AND c.workspace_id = k.workspace_id AND c.deleted_at IS NULL AND ",
    is_not_denied!("c"),
    "
    WHERE k.id = CAST(?1 AS TEXT) AND k.revoked_at IS NULL"
);
/// Of the reports about one credential, one in a while changes the row, whichever instance it comes to.
const TAKE_REPORT: &str =
    "UPDATE connections SET reported_at = ?5 WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND version = ?4
      AND deleted_at IS NULL AND coalesce(reported_at, 0) <= ?5 - ?6";
const INSERT: &str = "INSERT INTO connections (id, workspace_id, app, app_revision, oauth_client, name, user_id, user_name, metadata,
      account_id, account_label, scopes_requested, scopes_granted, created_at, connected_at, generation, version, status,
      sealed_credential, expires_at, refreshable, refresh_expires_at, next_check_at, auth_method, variables, refresh_idle_until, grant_expires_at, checked_at, check_evidence, credential_type, destinations, environment, is_shared, is_unconfirmed)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, CASE WHEN ?18 = 'awaiting_confirmation' THEN 1 END)";
/// A reconnect keeps id, name, uses and policy, and starts a new generation of the credential. The environment that a new
/// credential tells stays unknown where another connection answers that is not known to be of it, or the other way round.
const RECONNECT: &str = "UPDATE connections SET app_revision = ?4, oauth_client = ?5, account_id = ?6, account_label = ?7, scopes_requested = ?8,
      scopes_granted = ?9, connected_at = ?10, generation = generation + 1, version = version + 1, status = ?11, is_unconfirmed = CASE WHEN ?11 = 'awaiting_confirmation' THEN 1 END, reconnect_reason = NULL,
      sealed_credential = ?12, expires_at = ?13, refreshable = ?14, refreshed_at = NULL, refresh_expires_at = ?15, next_check_at = ?16,
      auth_method = ?17, variables = ?18, refresh_idle_until = ?19, grant_expires_at = ?20, credential_type = ?21, lease_attempt_id = NULL, lease_expires_at = NULL, lease_token_hash = NULL, last_attempt_id = NULL, ambiguous_token_hash = NULL, ambiguous_since = NULL,
      next_attempt_at = 0, failures = 0, last_error = NULL, refresh_refused_since = NULL, refresh_refused_code = NULL, checked_at = ?10, check_evidence = 'connected', no_resources_message = NULL, definition_update_blocked = NULL, destinations = ?25,
      name = CASE WHEN name = ?23 THEN ?22 ELSE name END, environment = CASE WHEN environment IS NULL
        AND NOT EXISTS (SELECT 1 FROM replacements r WHERE r.connection_id = ?2 AND NOT r.across_environments)
        AND NOT EXISTS (SELECT 1 FROM replacements r WHERE r.replaced_by = ?2 AND NOT r.across_environments) THEN ?26 ELSE environment END
    WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND deleted_at IS NULL
      AND (?24 IS NULL OR version = ?24 AND lease_attempt_id IS NULL)";
/// What one generation of a credential sees says nothing about the next.
const SET_NOTHING_SHARED: &str = "UPDATE connections SET no_resources_message = ?4 WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND deleted_at IS NULL";
const PATCH: &str = "UPDATE connections SET name = coalesce(?3, name), metadata = coalesce(?4, metadata),
      allowed_workflows = CASE WHEN ?5 THEN ?6 ELSE allowed_workflows END,
      user_id = CASE WHEN ?7 THEN ?8 ELSE user_id END, user_name = CASE WHEN ?7 THEN ?9 ELSE user_name END,
      is_shared = coalesce(?10, is_shared), environment = CASE WHEN ?11 THEN ?12 ELSE environment END
    WHERE workspace_id = ?1 AND id = ?2 AND deleted_at IS NULL";
/// A connection that was marked while it waited needs a reconnect and is not connected.
const CONFIRM: &str = "UPDATE connections SET is_unconfirmed = NULL, status = CASE WHEN reconnect_reason IS NULL THEN 'connected' ELSE 'needs_reconnect' END WHERE workspace_id = ?1 AND id = ?2 AND status = 'awaiting_confirmation' AND deleted_at IS NULL";
/// Names that a generated name is compared with, at most: past that a number may be given twice, which does no harm.
const MAX_NAMES: i64 = 500;
/// The plus makes `SQLite` look up the ids.
const NAMES_BY_IDS: &str =
    "SELECT id, name FROM connections WHERE id IN (SELECT value FROM json_each(?2)) AND +workspace_id = ?1";
/// Connections to the same account that are looked at for one that takes a new grant, at most.
const MAX_SAME_ACCOUNT: i64 = 20;
/// U+10FFFF comes after every character of a name, so the index is used for the range.
const NAMES_WITH_PREFIX: &str =
    "SELECT name FROM connections WHERE workspace_id = ?1 AND app = ?2 AND deleted_at IS NULL
    AND name >= ?3 AND name < ?3 || char(1114111) AND substr(name, 1, length(?3)) = ?3 LIMIT ?4";
/// Cut before they are sorted: an account may have any number of connections. The index has them in the order in which
/// they were stored.
const SAME_ACCOUNT: &str = concat!(
    "SELECT * FROM (SELECT * FROM connections WHERE workspace_id = ?1 AND app = ?2 AND account_id = ?3 AND user_id IS ?4
      AND deleted_at IS NULL LIMIT ?5) bounded WHERE ",
    is_not_denied!("bounded"),
    " ORDER BY created_at LIMIT ?5"
);
/// The last case is a definition that was edited since a connection was made: each app of the client is found by one
/// look-up, and so is a connection that was made before one of its revisions.
const IS_GRANT_IN_USE: &str = concat!(
    "SELECT ",
    live_grant!("?1", "?2", "?3"),
    "
    OR EXISTS (WITH RECURSIVE used (app) AS (
        SELECT min(c.app) FROM connections c WHERE ",
    custom_grants!(),
    " UNION ALL
        SELECT (SELECT min(c.app) FROM connections c WHERE c.app > used.app AND ",
    custom_grants!(),
    ") FROM used WHERE used.app IS NOT NULL)
      SELECT 1 FROM used CROSS JOIN apps a ON a.workspace_id = ?1 AND a.id = used.app AND a.revision > 1
      WHERE ",
    any_working!(
        concat!("c.app = used.app AND c.connected_at <= a.created_at AND ", custom_grants!()),
        " AND (connected_at < a.created_at OR app_revision < a.revision)"
    ),
    ") AS n"
);
const COUNT_GRANTS: &str =
    "SELECT coalesce(sum(generation), 0) AS n FROM (SELECT generation FROM connections WHERE oauth_client = ?2
      AND account_id = ?3 AND workspace_id = ?1 AND deleted_at IS NULL LIMIT ?4)";
/// Connections of one account that are counted, at most. More than any app's limit.
const MAX_GRANTS_COUNTED: i64 = 500;

impl FromRow for Connection {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let user = read_user(row)?;
        Ok(Self {
            id: row.id("id")?,
            workspace: row.id("workspace_id")?,
            app: AppId::parse(&row.text("app")?).ok_or_else(|| unknown_value("app"))?,
            app_revision: row.integer("app_revision")?,
            auth_method: AuthMethodId::parse(&row.text("auth_method")?).ok_or_else(|| unknown_value("auth_method"))?,
            kind: CredentialKind::parse(&row.text("credential_type")?).ok_or_else(|| unknown_value("kind"))?,
            variables: row.json("variables")?,
            destinations: row.optional_json("destinations")?,
            client: row.optional_id("oauth_client")?,
            name: row.text("name")?,
            shared: row.optional_integer("is_shared")?.map_or(user.is_none(), |shared| shared != 0),
            environment: row.environment("environment")?,
            user,
            metadata: row.json("metadata")?,
            allowed_workflows: row.optional_json("allowed_workflows")?,
            account: read_account(row)?,
            scopes_requested: row.json("scopes_requested")?,
            scopes_granted: row.json("scopes_granted")?,
            created_at: row.time("created_at")?,
            connected_at: row.time("connected_at")?,
            last_used_at: row.optional_time("last_used_at")?,
            generation: row.integer("generation")?,
            version: row.integer("version")?,
            status: ConnectionStatus::parse(&row.text("status")?).ok_or_else(|| unknown_value("status"))?,
            reason: row.optional_text("reconnect_reason")?.as_deref().and_then(ReconnectReason::parse),
            sealed_credential: row.optional_text("sealed_credential")?,
            expires_at: row.optional_time("expires_at")?,
            refreshable: row.boolean("refreshable")?,
            refreshed_at: row.optional_time("refreshed_at")?,
            refresh_expires_at: row.optional_time("refresh_expires_at")?,
            refresh_idle_until: row.optional_time("refresh_idle_until")?,
            grant_expires_at: row.optional_time("grant_expires_at")?,
            lease: read_lease(row)?,
            ambiguous_token_hash: row.optional_text("ambiguous_token_hash")?,
            ambiguous_since: row.optional_time("ambiguous_since")?,
            next_attempt_at: row.time("next_attempt_at")?,
            failures: row.integer("failures")?,
            last_error: row.optional_text("last_error")?,
            refusal: read_refused(row)?,
            checked_at: row.optional_time("checked_at")?,
            check_evidence: row.optional_text("check_evidence")?,
            next_check_at: row.optional_time("next_check_at")?,
            nothing_shared: row.optional_text("no_resources_message")?,
            definition_changed: row.optional_json("definition_update_blocked")?,
        })
    }
}

fn unknown_value(column: &str) -> DatabaseError {
    DatabaseError::Malformed(format!("column {column} holds an unknown value"))
}

pub(super) fn read_user(row: &Columns<'_>) -> StoreResult<Option<User>> {
    let name = row.optional_text("user_name")?;
    Ok(row.optional_text("user_id")?.map(|id| User { id, name }))
}

pub(super) fn read_settings(row: &Columns<'_>) -> StoreResult<ConnectionSettings> {
    Ok(ConnectionSettings {
        environment: row.environment("environment")?,
        shared: row.optional_integer("is_shared")?.map(|shared| shared != 0),
    })
}

fn read_refused(row: &Columns<'_>) -> StoreResult<Option<RefreshRefusal>> {
    let code = row.optional_text("refresh_refused_code")?;
    Ok(row.optional_time("refresh_refused_since")?.map(|since| RefreshRefusal { code, since }))
}

fn read_account(row: &Columns<'_>) -> StoreResult<Option<Account>> {
    let label = row.optional_text("account_label")?;
    Ok(row.optional_text("account_id")?.map(|id| Account { label: label.unwrap_or_else(|| id.clone()), id }))
}

fn read_lease(row: &Columns<'_>) -> StoreResult<Option<RefreshLease>> {
    let Some(attempt) = row.optional_id("lease_attempt_id")? else { return Ok(None) };
    Ok(Some(RefreshLease {
        attempt,
        until: row.time("lease_expires_at")?,
        token_hash: row.optional_text("lease_token_hash")?.unwrap_or_default(),
    }))
}

/// One connection of a workspace.
pub async fn get(db: &impl Database, workspace: &WorkspaceId, id: &ConnectionId) -> StoreResult<Option<Connection>> {
    query_first(db, sql!(GET, workspace, id)).await
}

/// What a resolve reads.
#[derive(Debug, Default)]
pub struct ResolveData {
    /// The key, if it exists.
    pub key: Option<ApiKey>,
    /// The connection that answers, if it is in the key's workspace.
    pub connection: Option<Connection>,
    /// The connection that was asked for, where another one answers for it.
    pub requested: Option<RequestedConnection>,
    /// The custom app's definition. None for a catalogue app, and empty for the revision that was known.
    pub definition: Option<String>,
    /// When this workflow step last used the connection.
    pub used_at: Option<Timestamp>,
    /// How the connection was found.
    pub chosen_by: ChosenBy,
}

/// A connection that was asked for, and that another one answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedConnection {
    /// Its id.
    pub id: ConnectionId,
    /// Its environment.
    pub environment: Option<Environment>,
}

/// The connection that answers and the one that was asked for, if that is another one. `None`: there is no such
/// connection, or the one that was asked for has ended.
fn read_answering(row: &Columns<'_>) -> StoreResult<Option<(Connection, Option<RequestedConnection>)>> {
    if row.optional_text("id")?.is_none() {
        return Ok(None);
    }
    let Some(id) = row.optional_id("requested_id")? else { return Ok(Some((Connection::from_row(row)?, None))) };
    let environment = match row.optional_text("requested_environment")?.as_deref() {
        None => return Ok(None),
        Some("") => None,
        Some(text) => Some(Environment::parse(text).ok_or_else(|| unknown_value("environment"))?),
    };
    Ok(Some((Connection::from_row(row)?, Some(RequestedConnection { id, environment }))))
}

/// Everything that a resolve needs, in one round trip by primary keys. The text of the definition is left out where the
/// connection that answers is the `known` one, with that revision. A revision never changes while a connection is made with it;
/// when none is, its number may be given again.
pub async fn load_for_resolve(
    db: &impl Database,
    key: &ApiKeyId,
    id: &ConnectionId,
    (workflow, step): (&str, &str),
    known: Option<(&ConnectionId, i64)>,
) -> StoreResult<ResolveData> {
    let (known, revision) = known.unzip();
    let rows = run_statement(db, sql!(FOR_RESOLVE, key, id, workflow, step, revision, known)).await?;
    let Some(row) = rows.rows.first().map(Columns) else { return Ok(ResolveData::default()) };
    let key = super::keys::read_key(&row)?;
    let Some((connection, requested)) = read_answering(&row)? else {
        return Ok(ResolveData { key: Some(key), ..ResolveData::default() });
    };
    Ok(ResolveData {
        key: Some(key),
        connection: Some(connection),
        requested,
        definition: row.optional_text("definition")?,
        used_at: row.optional_time("step_used_at")?,
        chosen_by: ChosenBy::Id,
    })
}

/// The statement that inserts a connection.
pub fn insert(new: &Connection) -> Statement {
    sql!(
        INSERT,
        &new.id,
        &new.workspace,
        &new.app,
        new.app_revision,
        new.client.as_ref(),
        new.name.as_str(),
        new.user.as_ref().map(|user| user.id.as_str()),
        new.user.as_ref().and_then(|user| user.name.as_deref()),
        json_text(&new.metadata),
        new.account.as_ref().map(|account| account.id.as_str()),
        new.account.as_ref().map(|account| account.label.as_str()),
        json_text(&new.scopes_requested),
        json_text(&new.scopes_granted),
        new.created_at,
        new.connected_at,
        new.generation,
        new.version,
        new.status.as_str(),
        new.sealed_credential.as_deref(),
        new.expires_at,
        new.refreshable,
        new.refresh_expires_at,
        new.next_check_at,
        &new.auth_method,
        json_text(&new.variables),
        new.refresh_idle_until,
        new.grant_expires_at,
        new.checked_at,
        new.check_evidence.as_deref(),
        new.kind.as_str(),
        new.destinations.as_ref().map(json_text),
        new.environment.map(Environment::as_str),
        new.shared
    )
}

/// The statement that repairs a connection with a new grant. It changes nothing if its generation has changed. A name
/// that somebody gave it in the meantime stays. `unused`: also nothing if its tokens were refreshed, or are being
/// refreshed, since it was read.
pub fn reconnect(new: &Connection, old: &Connection, unused: bool) -> Statement {
    sql!(
        RECONNECT,
        &new.workspace,
        &new.id,
        old.generation,
        new.app_revision,
        new.client.as_ref(),
        new.account.as_ref().map(|account| account.id.as_str()),
        new.account.as_ref().map(|account| account.label.as_str()),
        json_text(&new.scopes_requested),
        json_text(&new.scopes_granted),
        new.connected_at,
        new.status.as_str(),
        new.sealed_credential.as_deref(),
        new.expires_at,
        new.refreshable,
        new.refresh_expires_at,
        new.next_check_at,
        &new.auth_method,
        json_text(&new.variables),
        new.refresh_idle_until,
        new.grant_expires_at,
        new.kind.as_str(),
        new.name.as_str(),
        old.name.as_str(),
        unused.then_some(old.version),
        new.destinations.as_ref().map(json_text),
        new.environment.map(Environment::as_str)
    )
}

/// Records that a connection sees no content, or (`None`) that it sees some.
pub fn set_nothing_shared(of: &Connection, say: Option<&str>) -> Statement {
    sql!(SET_NOTHING_SHARED, &of.workspace, &of.id, of.generation, say)
}

/// The changes of a person or program. `None` changes nothing.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ConnectionPatch {
    /// A new name.
    pub name: Option<String>,
    /// New metadata.
    pub metadata: Option<std::collections::BTreeMap<String, String>>,
    /// A new list, or none (inner `None`: every workflow may use it).
    pub allowed_workflows: Option<Option<Vec<String>>>,
    /// A new owner, or none.
    pub owner: Option<Option<User>>,
    /// Whether it is shared.
    pub shared: Option<bool>,
    /// Its environment, or none.
    pub environment: Option<Option<Environment>>,
}

/// Changes what a person edits, never the credential.
pub fn patch(workspace: &WorkspaceId, id: &ConnectionId, patch: &ConnectionPatch) -> Statement {
    let owner = patch.owner.as_ref().and_then(Option::as_ref);
    sql!(
        PATCH,
        workspace,
        id,
        patch.name.as_deref(),
        patch.metadata.as_ref().map(json_text),
        patch.allowed_workflows.is_some(),
        patch.allowed_workflows.as_ref().and_then(|list| list.as_ref().map(json_text)),
        patch.owner.is_some(),
        owner.map(|user| user.id.as_str()),
        owner.and_then(|user| user.name.as_deref()),
        patch.shared,
        patch.environment.is_some(),
        patch.environment.flatten().map(Environment::as_str)
    )
}

/// Takes a report about the credential as it was read. Returns whether something is to be done about it: not if there was
/// one within this many seconds, and not if the credential has changed.
pub async fn take_report(
    db: &impl Database,
    connection: &Connection,
    interval: i64,
    now: Timestamp,
) -> StoreResult<bool> {
    let Connection { workspace, id, generation, version, .. } = connection;
    Ok(run_statement(db, sql!(TAKE_REPORT, workspace, id, *generation, *version, now, interval)).await?.changes > 0)
}

/// The embedding product confirms the person: the connection may be used.
pub fn confirm(workspace: &WorkspaceId, id: &ConnectionId) -> Statement {
    sql!(CONFIRM, workspace, id)
}

/// Names of an app's connections with this beginning.
pub async fn list_names_with_prefix(
    db: &impl Database,
    workspace: &WorkspaceId,
    app: &AppId,
    begin: &str,
) -> StoreResult<Vec<String>> {
    let rows = run_statement(db, sql!(NAMES_WITH_PREFIX, workspace, app, begin, MAX_NAMES)).await?;
    rows.rows.iter().map(|row| Columns(row).text("name")).collect()
}

/// The names of connections, also of those that were disconnected and are not yet erased.
pub async fn list_names_by_ids(
    db: &impl Database,
    workspace: &WorkspaceId,
    ids: &[ConnectionId],
) -> StoreResult<Vec<(ConnectionId, String)>> {
    let rows = run_statement(db, sql!(NAMES_BY_IDS, workspace, json_text(ids))).await?;
    rows.rows.iter().map(|row| Ok((Columns(row).id("id")?, Columns(row).text("name")?))).collect()
}

/// The first connections of the same owner to the same account.
pub async fn list_same_account(
    db: &impl Database,
    workspace: &WorkspaceId,
    app: &AppId,
    account: &str,
    owner: Option<&User>,
) -> StoreResult<Vec<Connection>> {
    let owner = owner.map(|user| user.id.as_str());
    query_all(db, sql!(SAME_ACCOUNT, workspace, app, account, owner, MAX_SAME_ACCOUNT)).await
}

/// Whether a connection shares client and account, so that revoking a grant of theirs would end its own. An unknown
/// account may be the same one. So may an account if the workspace has changed its definition of the app since the
/// connection was created: another definition may name the same account differently, and its editor can choose how.
pub async fn is_grant_in_use(
    db: &impl Database,
    workspace: &WorkspaceId,
    client: &ClientId,
    account: Option<&str>,
) -> StoreResult<bool> {
    Ok(run_count(db, sql!(IS_GRANT_IN_USE, workspace, client, account)).await? > 0)
}

/// How often the connections of a client to one account were created and repaired: the number of grants that this
/// workspace knows. The app keeps those of earlier consents.
pub async fn count_grants(
    db: &impl Database,
    workspace: &WorkspaceId,
    client: &ClientId,
    account: &str,
) -> StoreResult<i64> {
    run_count(db, sql!(COUNT_GRANTS, workspace, client, account, MAX_GRANTS_COUNTED)).await
}
