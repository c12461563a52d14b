//! Connections as a page and the API list them.
//!
//! Owns the filters, and what is shown of a connection in addition to its own columns. An unreadable row does not make
//! the whole list fail.

use crate::app::AppId;
use crate::client::{ClientProblem, SECRET_EXPIRY_WARNING};
use crate::connection::{Connection, ConnectionStatus, EXPIRES_SOON_WITHIN, FAILURE_THRESHOLD, UNUSED_AFTER};
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Row};
use crate::sql;
use crate::store::{Columns, FromRow, Page, StoreResult, cut_page, json_text, run_statement};
use crate::time::Timestamp;

/// The app was asked: no problem of ours prevented it.
macro_rules! was_asked {
    () => {
        "coalesce(c.last_error, '') NOT IN ('client_secret_unreadable', 'client_key_unusable', 'client_addresses_changed')"
    };
}
/// One row per connection with what the page and the API show. A filter that is NULL selects everything. The first
/// condition decides which index is used: what it names is found without a scan of the whole workspace. The next page
/// is found by a bound that is always present, because otherwise `SQLite` would not use it.
macro_rules! listed {
    ($first:literal) => {
        concat!(
            "SELECT c.*, k.misconfigured_at AS client_misconfigured_at, k.misconfigured_error AS client_error, k.is_current AS client_current, k.secret_expires_at AS client_secret_expires_at,
      (SELECT count(DISTINCT u.workflow) FROM uses u WHERE u.connection_id = c.id) AS workflows,
      (SELECT count(*) FROM uses u WHERE u.connection_id = c.id) AS steps,
      EXISTS (SELECT 1 FROM connections d WHERE d.workspace_id = c.workspace_id AND d.app = c.app AND d.account_id = c.account_id
        AND d.user_id IS c.user_id AND d.id <> c.id AND d.deleted_at IS NULL) AS duplicate
    FROM connections c LEFT JOIN oauth_clients k ON k.id = c.oauth_client AND k.workspace_id = c.workspace_id
    WHERE c.workspace_id = ?1 AND c.deleted_at IS NULL AND ",
            $first,
            "
      AND (?3 IS NULL OR c.app = ?3)
      AND (?4 IS NULL OR c.status = ?4)
      AND (?5 IS NULL OR c.user_id = ?5)
      AND (?6 IS NULL OR EXISTS (SELECT 1 FROM uses u WHERE u.connection_id = c.id AND u.workflow = ?6))
      AND (?7 IS NULL OR instr(lower(c.name), lower(?7)) > 0 OR instr(lower(c.account_label), lower(?7)) > 0 OR instr(c.app, lower(?7)) > 0)
      AND (?8 IS NULL OR c.user_id IS NULL OR c.user_id = ?8)
      AND (?9 IS NULL OR c.id IN (SELECT value FROM json_each(?9)))
      AND (?10 IS NULL OR c.app IN (SELECT value FROM json_each(?10)))
      AND (?11 IS NULL OR CASE ?11
        WHEN 'missing_scopes' THEN CASE WHEN json_valid(c.scopes_requested) AND json_valid(c.scopes_granted) THEN
          EXISTS (SELECT 1 FROM json_each(c.scopes_requested) r
          WHERE r.value NOT IN (SELECT g.value FROM json_each(c.scopes_granted) g)) END
        WHEN 'client_misconfigured' THEN k.misconfigured_at IS NOT NULL OR c.last_error = 'client_addresses_changed'
        WHEN 'client_secret_expires' THEN k.secret_expires_at < ?17
        WHEN 'app_unreachable' THEN c.failures >= ?16 AND c.status = 'connected' AND c.refresh_refused_since IS NULL
          AND (k.misconfigured_error IS NULL OR c.last_error IS NOT k.misconfigured_error)
          AND ",
            was_asked!(),
            "
        WHEN 'app_refuses' THEN c.refresh_refused_since IS NOT NULL AND c.status = 'connected' AND (c.failures >= ?16 OR c.expires_at <= ?12)
          AND ",
            was_asked!(),
            "
        WHEN 'expires_soon' THEN c.status = 'connected' AND ((NOT c.refreshable AND c.expires_at < ?18) OR c.refresh_expires_at < ?18
          OR c.refresh_idle_until < ?18 OR c.grant_expires_at < ?18)
        WHEN 'nothing_shared' THEN c.status = 'connected' AND c.no_resources_message IS NOT NULL
        WHEN 'definition_changed' THEN c.definition_update_blocked IS NOT NULL
        WHEN 'unused' THEN coalesce(c.last_used_at, c.connected_at) < ?19
        WHEN 'duplicate' THEN EXISTS (SELECT 1 FROM connections d WHERE d.workspace_id = c.workspace_id AND d.app = c.app
          AND d.account_id = c.account_id AND d.user_id IS c.user_id AND d.id <> c.id AND d.deleted_at IS NULL)
        END)
      AND (c.created_at, c.id) < (coalesce(?13, 9e15), coalesce(?14, ''))"
        )
    };
}
macro_rules! newest_first {
    ($($of:expr),+) => { concat!($($of),+, " ORDER BY created_at DESC, id DESC LIMIT ?15") };
}

const LIST: &str = newest_first!(listed!("?2 IS NULL"));
const FIND: &str = newest_first!(listed!("c.id = ?2"));
const OF_USER: &str = newest_first!(listed!("c.user_id = ?5"));
/// A person's own connections and those without an owner, each found in order by the index, and merged.
const SEEN_BY: &str = newest_first!(listed!("c.user_id = ?8"), " UNION ALL ", listed!("c.user_id IS NULL"));

/// A connection with what is shown in addition to its own columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedConnection {
    /// The connection.
    pub connection: Connection,
    /// Whether the app refuses its client.
    pub client_misconfigured: bool,
    /// Whether another client has replaced its client.
    pub client_replaced: bool,
    /// Why, as a code: the app's, or one of [`ClientProblem`]'s.
    pub client_error: Option<String>,
    /// When its client's secret expires.
    pub client_secret_expires_at: Option<Timestamp>,
    /// Workflows that used it.
    pub workflows: i64,
    /// Steps that used it.
    pub steps: i64,
    /// Whether its owner has another connection to the same account.
    pub duplicate: bool,
}

impl FromRow for ListedConnection {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            connection: Connection::from_row(row)?,
            client_misconfigured: row.optional_integer("client_misconfigured_at")?.is_some(),
            client_replaced: row.optional_integer("client_current")? == Some(0),
            client_error: row.optional_text("client_error")?,
            client_secret_expires_at: row.optional_time("client_secret_expires_at")?,
            workflows: row.integer("workflows")?,
            steps: row.integer("steps")?,
            duplicate: row.boolean("duplicate")?,
        })
    }
}

impl ListedConnection {
    /// Why its client cannot be used, if that is known without the app.
    pub fn client_problem(&self) -> Option<ClientProblem> {
        let of_connection = self.connection.client_problem();
        // A problem of every connection is read from the client, which may have been entered again since.
        of_connection
            .filter(|problem| !problem.affects_every_connection())
            .or_else(|| self.client_error.as_deref().and_then(ClientProblem::parse))
    }
}

/// The filters of a list.
#[derive(Debug, Clone, Default)]
pub struct ConnectionFilter {
    /// Only this connection.
    pub id: Option<ConnectionId>,
    /// Only this app.
    pub app: Option<AppId>,
    /// Only this status.
    pub status: Option<ConnectionStatus>,
    /// Only this owner.
    pub user: Option<String>,
    /// Only those that this workflow used.
    pub workflow: Option<String>,
    /// Only names, labels and apps with this text.
    pub text: Option<String>,
    /// Only those that this person may see.
    pub visible_to: Option<String>,
    /// Only these (a key's allow-list).
    pub connections: Option<Vec<ConnectionId>>,
    /// Only these apps (a key's allow-list).
    pub apps: Option<Vec<AppId>>,
    /// Only those with this attention code.
    pub attention: Option<String>,
    /// After this row: when it was created, and its id.
    pub after: Option<(Timestamp, ConnectionId)>,
    /// Most rows.
    pub limit: i64,
}

/// The cursor of a page after this row.
fn row_cursor(row: &Row) -> String {
    let row = Columns(row);
    format!("{}.{}", row.integer("created_at").unwrap_or_default(), row.text("id").unwrap_or_default())
}

/// Connections, newest first.
pub async fn list(
    db: &impl Database,
    workspace: &WorkspaceId,
    filter: &ConnectionFilter,
    now: Timestamp,
) -> StoreResult<Page<ListedConnection>> {
    let select = match filter {
        ConnectionFilter { id: Some(_), .. } => FIND,
        ConnectionFilter { user: Some(_), .. } => OF_USER,
        ConnectionFilter { visible_to: Some(_), .. } => SEEN_BY,
        ConnectionFilter { .. } => LIST,
    };
    let statement = sql!(
        select,
        workspace,
        filter.id.as_ref(),
        filter.app.as_ref(),
        filter.status.map(ConnectionStatus::as_str),
        filter.user.as_deref(),
        filter.workflow.as_deref(),
        filter.text.as_deref(),
        filter.visible_to.as_deref(),
        filter.connections.as_ref().map(json_text),
        filter.apps.as_ref().map(json_text),
        filter.attention.as_deref(),
        now,
        filter.after.as_ref().map(|(at, _)| *at),
        filter.after.as_ref().map(|(_, id)| id),
        filter.limit + 1,
        FAILURE_THRESHOLD,
        now.plus(SECRET_EXPIRY_WARNING),
        now.plus(EXPIRES_SOON_WITHIN),
        now.plus(-UNUSED_AFTER)
    );
    let answer = run_statement(db, statement).await?;
    let rows = cut_page(answer.rows, filter.limit, row_cursor);
    let mut data = Vec::with_capacity(rows.data.len());
    for row in &rows.data {
        match ListedConnection::from_row(&Columns(row)) {
            Ok(one) => data.push(one),
            // All rows lack the column: leaving them out would show an empty workspace.
            Err(error @ DatabaseError::NotMigrated(_)) => return Err(error),
            // An unreadable row is left out: the others are still listed, on this page and the next.
            Err(_) => {}
        }
    }
    Ok(Page { data, next: rows.next })
}
