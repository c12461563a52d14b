//! Connections as people look at them: filtered, sorted, counted, and cut to a page, all of it in one round trip.
//!
//! Owns how far such a page reads. It takes a window: so many connections that follow each other in time, found by the index
//! that fits the filters. Within the window every filter, every order and the number of hits are exact; what is older is
//! another window. So a page costs the same in any workspace, and a team that has fewer connections sees everything at once.
//! Those that need a reconnect are in the first window wherever they stand in time.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::list_text;
use super::listed::{self, ConnectionFilter, EXAMINED_AT_ONCE, ListedConnection};
use crate::app::AppId;
use crate::codes::codes;
use crate::connection::ConnectionStatus;
use crate::environment::Environment;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Rows, SqlValue, Statement};
use crate::sql;
use crate::store::{Columns, FromRow, StoreResult, json_text, read_first};
use crate::time::Timestamp;
use crate::workspace::User;

/// Connections of a window: as many as one statement of a list looks at.
pub const WINDOW: i64 = EXAMINED_AT_ONCE;
/// Connections that need a reconnect and are shown first, at most. Further ones stand in their place in time.
pub const BROKEN_FIRST: i64 = 200;
/// Connections that are counted, at most.
pub const COUNTED: i64 = 200;
/// Apps that are offered as a filter, at most.
const APPS_OFFERED: i64 = 200;
/// People who are offered as a filter, at most.
pub const PEOPLE_OFFERED: i64 = 100;
/// Words of a search. More of them say nothing more.
const MAX_WORDS: usize = 8;
/// Seconds without a use after which a person is asked if a connection is still needed: 60 days.
const FORGOTTEN_AFTER: i64 = 60 * 86_400;
/// Characters that a name has at least, if it says anything.
pub const SHORTEST_CLEAR_NAME: i64 = 3;
/// Names that fit every connection, in small letters.
pub const GENERIC_NAMES: [&str; 16] = [
    "account",
    "api",
    "api key",
    "app",
    "connection",
    "default",
    "key",
    "main",
    "my account",
    "my connection",
    "new",
    "new connection",
    "oauth",
    "test",
    "token",
    "untitled",
];
/// Connections of one name that are looked at for one that the person sees, at most.
const SAME_NAMES: i64 = 20;

/// One way into the connections of a workspace: those that a condition finds by its index, the newest first.
macro_rules! source {
    ($condition:literal) => {
        concat!(
            "SELECT c.rowid AS at, c.created_at, c.id FROM connections c WHERE c.workspace_id = ?1 AND ",
            $condition,
            " AND (c.created_at, c.id) < (?31, ?32) ORDER BY c.created_at DESC, c.id DESC LIMIT CAST(?30 AS INTEGER)"
        )
    };
}
/// What a person owns and shares comes from two of them, and stands in the window once.
const SEEN: &str = concat!(
    "SELECT * FROM (",
    source!("c.deleted_at IS NULL AND c.user_id = ?8"),
    ") UNION SELECT * FROM (",
    source!("c.deleted_at IS NULL AND coalesce(c.is_shared, c.user_id IS NULL)"),
    ") ORDER BY 2 DESC, 3 DESC LIMIT CAST(?30 AS INTEGER)"
);
const ALL: &str = source!("c.id > ''");
const OF_APP: &str = source!("c.deleted_at IS NULL AND c.app = ?3");
const OF_STATUS: &str = source!("c.deleted_at IS NULL AND c.status = ?4 AND c.status <> 'connected'");
const OF_OWNER: &str = source!("c.deleted_at IS NULL AND c.user_id = ?5");
const OF_NOBODY: &str = source!("c.deleted_at IS NULL AND c.user_id IS NULL");
const ONE: &str =
    "SELECT c.rowid AS at, c.created_at, c.id FROM connections c WHERE +c.workspace_id = ?1 AND c.id = ?2";
const OF_WORKFLOW: &str =
    "SELECT c.rowid AS at, 0 AS created_at, c.id FROM (SELECT DISTINCT connection_id FROM uses WHERE workspace_id = ?1
        AND workflow = ?6 AND connection_id < ?32 ORDER BY connection_id DESC LIMIT CAST(?30 AS INTEGER)) bounded
      CROSS JOIN connections c ON c.id = bounded.connection_id";
/// The rows of the window.
const WINDOW_OF: [&str; 2] = ["WITH window (at, created_at, id) AS MATERIALIZED (", ")"];
/// The last connection of a full window.
const LAST_OF_WINDOW: &str =
    " SELECT created_at, id FROM window bounded ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ?30 - 1";

/// The connections of a workspace that need a reconnect.
const BROKEN: &str = ", first_ones (at) AS MATERIALIZED (SELECT c.rowid FROM connections c WHERE c.workspace_id = ?1 AND c.deleted_at IS NULL
      AND c.status = 'needs_reconnect' AND c.status <> 'connected' ORDER BY c.created_at DESC, c.id DESC LIMIT CAST(?33 AS INTEGER))";
/// They come with the first window.
const BROKEN_TOO: &str = " UNION ALL SELECT at FROM first_ones bounded WHERE at NOT IN (SELECT at FROM window bounded)";
/// So do the person's own defaults.
const DEFAULTS_TOO: &str = " UNION ALL SELECT c.rowid FROM (SELECT DISTINCT connection_id FROM app_defaults
      WHERE workspace_id = ?1 AND user_id = ?34 AND user_id <> '' LIMIT CAST(?33 AS INTEGER)) bounded
      CROSS JOIN connections c ON c.id = bounded.connection_id AND c.status = 'needs_reconnect'
        AND c.rowid NOT IN (SELECT at FROM window bounded) AND c.rowid NOT IN (SELECT at FROM first_ones bounded)";
/// They have been in the first window.
const BROKEN_BEFORE: &str = "(+c.status <> 'needs_reconnect' OR c.rowid NOT IN (SELECT at FROM first_ones bounded))";
const NOT_DENIED: &str =
    concat!("(NOT EXISTS (SELECT 1 FROM denied_apps WHERE workspace_id = ?1) OR ", is_not_denied!("c"), ")");

/// The name of the custom app of the connection `c`, by this condition on the app's row `n`.
macro_rules! custom_app_name {
    ($which:literal) => {
        concat!(
            "(SELECT n.definition ->> '$.name' FROM apps n WHERE n.workspace_id = ?1 AND n.id = c.app AND json_valid(n.definition) AND ",
            $which,
            ")"
        )
    };
}
/// A word of a search, with the status that it stands for, is found in name, account and app.
const HAS_WORDS: &str = concat!(
    "NOT EXISTS (SELECT 1 FROM json_each(?35) w WHERE c.status IS NOT w.value
          AND instr(lower(c.name || ' ' || coalesce(c.account_label, '') || ' ' || c.app || ' ' || coalesce(?36 ->> c.app, '')
            || CASE WHEN c.app_revision > 0 THEN ' ' || coalesce(",
    custom_app_name!("n.is_current = 1"),
    ", '') ELSE '' END), w.key) = 0)"
);
/// What deserves attention may be the client's.
const OF_CLIENT: &str = concat!(" FROM (SELECT 1)", client!(), ")");
const NOT_CHECKED: &str = "+c.status = 'connected' AND c.checked_at IS NULL AND c.refreshed_at IS NULL";
const FORGOTTEN: &str = "coalesce(c.last_used_at, c.connected_at) < ?37";
/// The name says too little, and there is a better one: it is very short, it is a word that fits every connection, it is only
/// the app's name, or another connection of the app has it. `review` says which.
const UNCLEAR_NAME: &str =
    "(c.account_label IS NOT NULL AND instr(lower(c.name), lower(c.account_label)) = 0 AND (length(c.name) < ?41
          OR lower(c.name) IN (SELECT value FROM json_each(?40))
          OR lower(c.name) IN (c.app, replace(c.app, '-', ' '))
          OR EXISTS (SELECT 1 FROM (SELECT d.id, d.user_id, d.is_shared FROM connections d WHERE d.workspace_id = c.workspace_id AND d.app = c.app
              AND d.name = c.name AND d.deleted_at IS NULL LIMIT CAST(?39 AS INTEGER)) bounded
            WHERE bounded.id <> c.id AND (?8 IS NULL OR coalesce(bounded.is_shared, bounded.user_id IS NULL) OR bounded.user_id = ?8))))";

/// `found` reads each row of the window once, and only the rows of the page get all that a list shows.
const FOUND: [&str; 4] = [
    ", found (at, rank, rising, falling, created_at, id) AS MATERIALIZED (SELECT c.rowid, ",
    ", c.created_at, c.id FROM (SELECT at FROM window bounded",
    ") bounded CROSS JOIN connections c ON c.rowid = bounded.at",
    ")",
];
const PAGE: &str =
    ", page (at, rank, rising, falling) AS MATERIALIZED (SELECT at, rank, rising, falling FROM found bounded
      ORDER BY rank, rising, falling DESC, created_at DESC, id DESC LIMIT CAST(?15 AS INTEGER) OFFSET CAST(?38 AS INTEGER)) SELECT ";
const PAGE_COLUMNS: &str = concat!(
    ", (SELECT count(*) FROM found bounded) AS matches,
      CASE WHEN c.app_revision > 0 AND NOT EXISTS (SELECT 1 FROM apps n WHERE n.workspace_id = ?1 AND n.id = c.app AND n.is_current = 1) THEN ",
    custom_app_name!("n.revision = c.app_revision"),
    " END AS removed_app_name, "
);
const ROWS_OF_PAGE: &str = " AS twin FROM page bounded CROSS JOIN connections c ON c.rowid = bounded.at";
const IN_ORDER: &str = " ORDER BY bounded.rank, bounded.rising, bounded.falling DESC, c.created_at DESC, c.id DESC";

/// How many of a status a person sees, and how many were looked at for that.
macro_rules! count_status {
    ($status:literal, $name:literal) => {
        concat!(
            "(SELECT json_array(count(*) FILTER (WHERE ?2 IS NULL OR coalesce(is_shared, user_id IS NULL) OR user_id = ?2), count(*)) FROM
      (SELECT c.user_id, c.is_shared FROM connections c WHERE c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.status = '",
            $status,
            "' AND c.status <> 'connected' LIMIT ?3)) AS ",
            $name
        )
    };
}
const COUNTS: &str = concat!(
    "SELECT CASE WHEN ?2 IS NULL
      THEN (SELECT count(*) FROM (SELECT 1 FROM connections c WHERE c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.app > '' LIMIT ?3))
      ELSE (SELECT count(*) FROM (
        SELECT * FROM (SELECT c.rowid FROM connections c WHERE c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.user_id = ?2 LIMIT ?3)
        UNION SELECT * FROM (SELECT c.rowid FROM connections c WHERE c.workspace_id = ?1 AND c.deleted_at IS NULL
          AND coalesce(c.is_shared, c.user_id IS NULL) AND (c.created_at, c.id) < (9e15, '') LIMIT ?3))) END AS seen, ",
    count_status!("needs_reconnect", "broken"),
    ", ",
    count_status!("awaiting_confirmation", "waiting")
);

/// The apps of which a person sees a connection: one look-up for each app, however many connections it has.
const USED_APPS: &str = "WITH RECURSIVE used (app) AS (SELECT '' UNION ALL
      SELECT (SELECT min(n.app) FROM connections n WHERE n.workspace_id = ?1 AND n.deleted_at IS NULL AND n.app > used.app) FROM used
      WHERE used.app IS NOT NULL LIMIT ?3)
    SELECT app FROM used WHERE app > '' AND (?2 IS NULL
      OR EXISTS (SELECT 1 FROM connections s WHERE s.workspace_id = ?1 AND s.app = used.app AND s.deleted_at IS NULL AND s.is_unconfirmed IS NULL
        AND coalesce(s.is_shared, s.user_id IS NULL))
      OR EXISTS (SELECT 1 FROM connections o WHERE o.workspace_id = ?1 AND o.app = used.app AND o.user_id = ?2 AND o.deleted_at IS NULL
        AND o.is_unconfirmed IS NULL))";
const PEOPLE: &str = "SELECT user_id, name AS user_name FROM people WHERE workspace_id = ?1 ORDER BY user_id LIMIT ?2";

codes! {
    /// What a page of connections can be cut to: what deserves a look, as a code.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Issue {
        /// The access ends and can't be renewed.
        ExpiresSoon = "expires_soon",
        /// Not all that was asked for was granted.
        MissingScopes = "missing_scopes",
        /// The app has not answered for a while.
        AppUnreachable = "app_unreachable",
        /// The app refuses to renew the access.
        AppRefuses = "app_refuses",
        /// The app refuses the client.
        ClientMisconfigured = "client_misconfigured",
        /// It works, and sees nothing.
        NothingShared = "nothing_shared",
        /// It stays with an earlier definition of its app.
        DefinitionChanged = "definition_changed",
        /// A step used another connection before.
        StepChangedConnection = "step_changed_connection",
        /// Nobody knows whether it works.
        NotChecked = "not_checked",
        /// Nobody has used it for 60 days.
        Forgotten = "forgotten",
        /// Its owner has another one to the same account.
        Duplicate = "duplicate",
        /// Its name says too little.
        UnclearName = "unclear_name",
    }
}

impl Issue {
    /// Its condition, after others.
    fn condition(self) -> Vec<&'static str> {
        match self {
            Self::NotChecked => vec![" AND ", NOT_CHECKED],
            Self::Forgotten => vec![" AND ", FORGOTTEN],
            Self::UnclearName => vec![" AND ", UNCLEAR_NAME],
            _ => vec![" AND (SELECT ", list_text::attention(self.as_str()), OF_CLIENT],
        }
    }
}

/// In which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Those that need a reconnect, then the newest.
    #[default]
    Usual,
    /// By name.
    Name,
    /// By name, backwards.
    NameBackwards,
    /// By app.
    App,
    /// By app, backwards.
    AppBackwards,
    /// What was not used for the longest time first.
    LeastRecentlyUsed,
    /// What was used last first.
    RecentlyUsed,
    /// Those of one account next to each other.
    Account,
}

impl Order {
    /// What is compared first, then from low to high, then from high to low.
    fn columns(self) -> &'static str {
        match self {
            Self::Usual => concat!(
                "CASE WHEN +c.status <> 'needs_reconnect' THEN 2 WHEN ",
                serves_default!(),
                " THEN 0 ELSE 1 END, NULL, NULL"
            ),
            Self::Name => "2, lower(c.name), NULL",
            Self::NameBackwards => "2, NULL, lower(c.name)",
            Self::App => "2, c.app, NULL",
            Self::AppBackwards => "2, NULL, c.app",
            Self::LeastRecentlyUsed => "2, c.last_used_at, NULL",
            Self::RecentlyUsed => "2, NULL, c.last_used_at",
            Self::Account => "2, c.app || ' ' || c.account_id, NULL",
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Name => "name",
            Self::NameBackwards => "-name",
            Self::App => "app",
            Self::AppBackwards => "-app",
            Self::LeastRecentlyUsed => "used",
            Self::RecentlyUsed => "-used",
            Self::Account => "account",
        }
    }
}

/// Where a window begins: behind this connection, in the order of time.
pub type WindowStart = (Timestamp, String);

/// What a page shows.
#[derive(Debug, Clone, Default)]
pub struct OverviewFilter {
    /// Only this connection.
    pub id: Option<ConnectionId>,
    /// Only this app.
    pub app: Option<AppId>,
    /// Only this status.
    pub status: Option<ConnectionStatus>,
    /// Only what deserves this look.
    pub issue: Option<Issue>,
    /// Only this owner.
    pub owner: Option<String>,
    /// Only those without an owner.
    pub without_owner: bool,
    /// Only this environment.
    pub environment: Option<Environment>,
    /// Only those that this workflow used.
    pub workflow: Option<String>,
    /// Words, all of which it has, in small letters. A word that stands for a status is also found in that.
    pub words: Vec<(String, Option<ConnectionStatus>)>,
    /// Names of apps by id, in small letters: those that a word may mean and the id does not have.
    pub app_names: BTreeMap<String, String>,
    /// Only those that this person may see.
    pub visible_to: Option<String>,
    /// The person who looks.
    pub viewer: Option<String>,
    /// The order.
    pub order: Order,
    /// Behind this connection.
    pub after: Option<WindowStart>,
    /// Rows of the window to pass over.
    pub offset: i64,
    /// Most rows.
    pub limit: i64,
}

impl OverviewFilter {
    /// Whether it is the first page of all that the person sees, in the usual order.
    pub fn is_plain(&self) -> bool {
        self.is_first_page() && !self.is_narrowed() && self.order == Order::Usual
    }

    /// Whether nothing comes before it.
    pub fn is_first_page(&self) -> bool {
        self.after.is_none() && self.offset == 0
    }

    /// Whether it leaves out what the person sees.
    pub fn is_narrowed(&self) -> bool {
        self.id.is_some()
            || self.app.is_some()
            || self.status.is_some()
            || self.issue.is_some()
            || self.owner.is_some()
            || self.without_owner
            || self.environment.is_some()
            || self.workflow.is_some()
            || !self.words.is_empty()
    }

    /// The index that leads to the fewest rows.
    fn source(&self) -> &'static str {
        match self {
            Self { id: Some(_), .. } => ONE,
            Self { workflow: Some(_), .. } => OF_WORKFLOW,
            Self { owner: Some(_), .. } => OF_OWNER,
            Self { without_owner: true, .. } => OF_NOBODY,
            Self { status: Some(status), .. } if *status != ConnectionStatus::Connected => OF_STATUS,
            Self { visible_to: Some(_), .. } => SEEN,
            Self { app: Some(_), .. } => OF_APP,
            Self { .. } => ALL,
        }
    }

    /// Connections of a workflow are in the order of their ids, which all come before this.
    fn start(&self) -> (i64, &str) {
        match &self.after {
            Some((at, id)) => (at.unix(), id),
            None if self.id.is_none() && self.workflow.is_some() => (0, "~"),
            None => (listed::NEVER, ""),
        }
    }

    /// As a list takes it, for what both know.
    fn listed(&self) -> ConnectionFilter {
        ConnectionFilter {
            id: self.id.clone(),
            app: self.app.clone(),
            status: self.status,
            user: self.owner.clone(),
            without_user: self.without_owner,
            environment: self.environment,
            workflow: self.workflow.clone(),
            visible_to: self.visible_to.clone(),
            limit: self.limit,
            ..ConnectionFilter::default()
        }
    }

    /// The statements that read a page: the page, and the end of its window.
    pub fn statements(&self, workspace: &WorkspaceId, now: Timestamp) -> [Statement; 2] {
        let [begin, end] = WINDOW_OF;
        let window = [begin, self.source(), end];
        let values = self.values(workspace, now);
        let last = Statement::put_together(window.into_iter().chain([LAST_OF_WINDOW]), values.clone());
        [Statement::put_together(window.into_iter().chain(self.page()), values), last]
    }

    /// The text of the page, after that of its window.
    fn page(&self) -> Vec<&'static str> {
        let is_usual = self.order == Order::Usual;
        let (is_first, has_viewer) = (self.after.is_none(), self.viewer.is_some());
        let [found, of_window, rows, end] = FOUND;
        let mut parts = Vec::new();
        parts.extend(is_usual.then_some(BROKEN));
        parts.extend([found, self.order.columns(), of_window]);
        parts.extend((is_usual && is_first).then_some(BROKEN_TOO));
        parts.extend((is_usual && is_first && has_viewer).then_some(DEFAULTS_TOO));
        parts.push(rows);
        let before = (is_usual && !is_first).then_some(BROKEN_BEFORE);
        parts.extend(list_text::where_all(self.conditions().chain(before)));
        parts.extend(self.issue.into_iter().flat_map(Issue::condition));
        parts.extend([end, PAGE, list_text::COLUMNS, list_text::ADDED_COLUMNS, PAGE_COLUMNS]);
        parts.push(if self.issue == Some(Issue::Duplicate) { list_text::SEEN_TWIN } else { "NULL" });
        parts.extend([ROWS_OF_PAGE, list_text::CLIENT, IN_ORDER]);
        parts
    }

    /// What the connections of the page are, wherever they come from.
    fn conditions(&self) -> impl Iterator<Item = &'static str> {
        list_text::that_are_set([
            (true, "+c.workspace_id = ?1 AND c.deleted_at IS NULL"),
            (self.visible_to.is_some(), list_text::SEEN),
            (self.id.is_some(), "+c.id = ?2"),
            (self.app.is_some(), list_text::OF_APP),
            (self.status.is_some(), list_text::OF_STATUS),
            (self.owner.is_some(), list_text::OF_USER),
            (self.without_owner, list_text::OF_NOBODY),
            (self.environment.is_some(), list_text::OF_ENVIRONMENT),
            (self.workflow.is_some(), list_text::OF_WORKFLOW),
            (true, NOT_DENIED),
            (!self.words.is_empty(), HAS_WORDS),
        ])
    }

    /// The values that these texts name: those of a list, and the page's own.
    fn values(&self, workspace: &WorkspaceId, now: Timestamp) -> Vec<SqlValue> {
        let mut values = listed::values(workspace, &self.listed(), now);
        let (start_at, start_id) = self.start();
        let words: serde_json::Map<_, _> = self
            .words
            .iter()
            .take(MAX_WORDS)
            .map(|(word, status)| (word.clone(), status.map(ConnectionStatus::as_str).into()))
            .collect();
        values.extend::<[SqlValue; 12]>([
            WINDOW.into(),
            start_at.into(),
            start_id.into(),
            BROKEN_FIRST.into(),
            self.viewer.as_deref().into(),
            json_text(&words).into(),
            json_text(&self.app_names).into(),
            now.plus(-FORGOTTEN_AFTER).into(),
            self.offset.into(),
            SAME_NAMES.into(),
            json_text(&GENERIC_NAMES).into(),
            SHORTEST_CLEAR_NAME.into(),
        ]);
        values
    }
}

/// Another connection to the same account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Twin {
    /// Its id.
    pub id: ConnectionId,
    /// Its name.
    pub name: String,
}

/// A connection of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverviewRow {
    /// The connection.
    pub listed: ListedConnection,
    /// The name of its app, if the workspace has removed the app.
    pub removed_app_name: Option<String>,
    /// On a page of duplicates: another one to the same account.
    pub twin: Option<Twin>,
}

impl FromRow for OverviewRow {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            listed: ListedConnection::from_row(row)?,
            removed_app_name: row.optional_text("removed_app_name")?,
            twin: row.optional_json("twin")?,
        })
    }
}

/// A page of connections.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// The connections.
    pub rows: Vec<OverviewRow>,
    /// Hits in this window.
    pub matches: i64,
    /// Whether the window has more of them behind this page.
    pub has_more: bool,
    /// Where the next window begins, if older connections follow this one.
    pub next_window: Option<WindowStart>,
}

/// Reads a page from the answers to both statements. An unreadable row is left out.
pub fn read_overview(filter: &OverviewFilter, page: &Rows, last: &Rows) -> StoreResult<Overview> {
    let matches = page.rows.first().map_or(Ok(0), |row| Columns(row).integer("matches"))?;
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let rows = page.rows.iter().take(limit);
    let rows = rows.filter_map(|row| match OverviewRow::from_row(&Columns(row)) {
        Ok(one) => Some(Ok(one)),
        // All rows lack the column: leaving them out would show an empty workspace.
        Err(error @ crate::ports::DatabaseError::NotMigrated(_)) => Some(Err(error)),
        Err(_) => None,
    });
    let next_window = last.rows.first().map(|row| Ok((Columns(row).time("created_at")?, Columns(row).text("id")?)));
    Ok(Overview {
        rows: rows.collect::<StoreResult<_>>()?,
        matches,
        has_more: page.rows.len() > limit,
        next_window: next_window.transpose()?.filter(|_| filter.id.is_none()),
    })
}

/// A number of connections, up to [`COUNTED`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// So many.
    pub number: i64,
    /// Or more.
    pub or_more: bool,
}

impl Counted {
    fn new(found: i64, examined: i64) -> Self {
        Self { number: found.min(COUNTED), or_more: examined > COUNTED }
    }
}

/// What a person sees of a workspace, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListCounts {
    /// Connections.
    pub all: Counted,
    /// Those that need a reconnect.
    pub needs_reconnect: Counted,
    /// Those that wait to be confirmed.
    pub awaiting_confirmation: Counted,
}

impl FromRow for ListCounts {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let of_status =
            |name: &str| row.json::<(i64, i64)>(name).map(|(found, examined)| Counted::new(found, examined));
        let all = row.integer("seen")?;
        Ok(Self {
            all: Counted::new(all, all),
            needs_reconnect: of_status("broken")?,
            awaiting_confirmation: of_status("waiting")?,
        })
    }
}

/// The statement that counts what a person sees; without one, what an admin sees.
pub fn counts_statement(workspace: &WorkspaceId, visible_to: Option<&str>) -> Statement {
    sql!(COUNTS, workspace, visible_to, COUNTED + 1)
}

/// The numbers that it found.
pub fn read_counts(rows: &Rows) -> StoreResult<ListCounts> {
    Ok(read_first(rows)?.unwrap_or_default())
}

/// The statement that finds the apps of the connections that a person sees.
pub fn used_apps_statement(workspace: &WorkspaceId, visible_to: Option<&str>) -> Statement {
    sql!(USED_APPS, workspace, visible_to, APPS_OFFERED)
}

/// The ids that it found.
pub fn read_used_apps(rows: &Rows) -> StoreResult<Vec<String>> {
    rows.rows.iter().map(|row| Columns(row).text("app")).collect()
}

/// The statement that finds the first people of a workspace.
pub fn people_statement(workspace: &WorkspaceId) -> Statement {
    sql!(PEOPLE, workspace, PEOPLE_OFFERED + 1)
}

/// The people that it found; nobody where there are too many to choose from.
pub fn read_people(rows: &Rows) -> StoreResult<Vec<User>> {
    if i64::try_from(rows.rows.len()).is_ok_and(|found| found > PEOPLE_OFFERED) {
        return Ok(vec![]);
    }
    rows.rows.iter().filter_map(|row| super::read_user(&Columns(row)).transpose()).collect()
}
