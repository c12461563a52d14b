//! Connections as a page and the API list them.
//!
//! Owns the filters, how far one request and one statement read, and what is shown of a connection in addition to its own
//! columns. An unreadable row does not make the whole list fail.

use std::collections::BTreeMap;

use super::list_text;
use crate::app::AppId;
use crate::client::{ClientProblem, SECRET_EXPIRY_WARNING};
use crate::connection::{Connection, ConnectionStatus, EXPIRES_SOON_WITHIN, FAILURE_THRESHOLD, UNUSED_AFTER};
use crate::environment::Environment;
use crate::gather::Gather as _;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Row, Rows, SqlValue, Statement};
use crate::sql;
use crate::store::replacements::RelatedConnection;
use crate::store::uses::{CHANGE_SETTLED, CHANGE_SHOWN, StepChange};
use crate::store::{Columns, FromRow, Page, StoreResult, json_text, run_statement};
use crate::time::Timestamp;

/// The last of the `?4` rows after the cursor that a list reads, in the order of the same index.
macro_rules! last_read {
    ($($first:literal),+) => {
        concat!(
            last_read!(@parts $($first),+),
            " ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ?4"
        )
    };
    (@parts $first:literal) => {
        concat!("SELECT created_at, id FROM connections c WHERE ", $first, " AND (c.created_at, c.id) < (?2, ?3)")
    };
    (@parts $first:literal, $second:literal) => {
        concat!(last_read!(@parts $first), " UNION ALL ", last_read!(@parts $second))
    };
}

/// How a list finds its connections: by conditions that an index answers. Where there are two, it finds them by each, in order,
/// and merges them.
struct Source {
    columns: &'static str,
    conditions: &'static [&'static str],
}

/// With its whole credential: a connection that is looked at alone may be used.
const FIND: Source = Source { columns: "c.*", conditions: &["c.workspace_id = ?1 AND c.id = ?2"] };
/// The plus keeps `SQLite` from reading a whole workspace in order of time.
const AMONG: Source = Source::of(&["+c.workspace_id = ?1 AND c.id IN (SELECT value FROM json_each(?9))"]);
const LIST: Source = Source::of(&["c.workspace_id = ?1"]);
const OF_USER: Source = Source::of(&["c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.user_id = ?5"]);
const OF_NOBODY: Source = Source::of(&["c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.user_id IS NULL"]);
/// A person's own connections and those that others share.
const SEEN_BY: Source = Source::of(&[
    "c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.user_id = ?8",
    "c.workspace_id = ?1 AND c.deleted_at IS NULL AND coalesce(c.is_shared, c.user_id IS NULL) AND c.user_id IS NOT ?8",
]);
const WITH_STATUS: Source =
    Source::of(&["c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.status = ?4 AND c.status <> 'connected'"]);
const OF_APP: Source = Source::of(&["c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.app = ?3"]);
const WITH_OTHER_SCOPES: Source =
    Source::of(&["c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.scopes_granted <> c.scopes_requested"]);

impl Source {
    const fn of(conditions: &'static [&'static str]) -> Self {
        Self { columns: list_text::COLUMNS, conditions }
    }

    /// The list of those that meet further conditions, newest first.
    fn select(&self, is_denied: Option<&'static str>, further: &[&'static str]) -> Vec<&'static str> {
        let mut parts = Vec::new();
        for found in self.conditions {
            parts.push(if parts.is_empty() { "SELECT " } else { " UNION ALL SELECT " });
            parts.extend([self.columns, list_text::ADDED_COLUMNS]);
            parts.extend(is_denied);
            parts.extend([" FROM connections c", list_text::CLIENT]);
            parts.extend(list_text::where_all([*found].into_iter().chain(further.iter().copied())));
        }
        parts.push(" ORDER BY created_at DESC, id DESC LIMIT CAST(?15 AS INTEGER)");
        parts
    }
}

/// Where the named connections stand in the order of a list.
const POSITIONS: &str = "SELECT created_at, id FROM connections c WHERE +c.workspace_id = ?1 AND c.deleted_at IS NULL
      AND c.id IN (SELECT value FROM json_each(?2)) AND (c.created_at, c.id) < (?3, ?4)";
const LAST_OF_LIST: &str = last_read!("c.workspace_id = ?1 AND ?5 IS NULL");
const LAST_OF_USER: &str = last_read!("c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.user_id = ?5");
const LAST_OF_NOBODY: &str =
    last_read!("c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.user_id IS NULL AND ?5 IS NULL");
const LAST_SEEN_BY: &str = last_read!(
    "c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.user_id = ?5",
    "c.workspace_id = ?1 AND c.deleted_at IS NULL AND coalesce(c.is_shared, c.user_id IS NULL) AND c.user_id IS NOT ?5"
);
const LAST_WITH_STATUS: &str =
    last_read!("c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.status = ?5 AND c.status <> 'connected'");
const LAST_OF_APP: &str = last_read!("c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.app = ?5");
const LAST_WITH_OTHER_SCOPES: &str = last_read!(
    "c.workspace_id = ?1 AND c.deleted_at IS NULL AND c.scopes_granted <> c.scopes_requested AND ?5 IS NULL"
);

/// The connections that a workflow used, up to a limit.
const USED_BY_WORKFLOW: &str = "SELECT connection_id FROM uses WHERE workspace_id = ?1 AND workflow = ?2 LIMIT ?3";

/// Connections that one request looks at, at most, if it has to look at each of them. The next page continues behind them.
pub const MOST_EXAMINED: i64 = 1_000;
/// Connections that one statement looks at. The database runs one statement at a time: between two of them, those of
/// other workspaces have their turn.
pub const EXAMINED_AT_ONCE: i64 = 200;
/// The same of connections that are named: each is looked up apart, and those that are found are sorted.
const NAMED_AT_ONCE: usize = 80;
/// Uses of a workflow that are looked up to find its connections. Where there are more, the list is read in order.
const MOST_USES_OF_WORKFLOW: i64 = 1_000;

/// Connections that one answers for, as far as they are shown.
const REPLACED_SHOWN: i64 = 20;
/// Steps that used another connection before, as far as they are shown.
const STEP_CHANGES_SHOWN: i64 = 20;

/// A connection with what is shown in addition to its own columns.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each tells of something else, and all combinations occur")]
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
    /// Whether it is the default of its app for the workspace or for a user.
    pub is_default: bool,
    /// Whether steps get it by default: it is one and answers for itself, or it answers for one.
    pub serves_default: bool,
    /// The connection that answers for it, if another one does.
    pub replaced_by: Option<RelatedConnection>,
    /// The first connections that it answers for.
    pub replaces: Vec<RelatedConnection>,
    /// The last steps that used another connection before.
    pub step_changes: Vec<StepChange>,
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
            is_default: row.boolean("is_default")?,
            serves_default: row.boolean("serves_default")?,
            replaced_by: row.optional_json("answering")?,
            replaces: row.json("replaced")?,
            step_changes: read_step_changes(row)?,
        })
    }
}

/// The last ones first.
fn read_step_changes(row: &Columns<'_>) -> StoreResult<Vec<StepChange>> {
    let mut found: Vec<StepChange> = row.optional_json("step_changes")?.unwrap_or_default();
    found.sort_by_key(|one| std::cmp::Reverse(one.at));
    Ok(found)
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
    /// Only these statuses, where there are several.
    pub statuses: Option<Vec<ConnectionStatus>>,
    /// Only this owner.
    pub user: Option<String>,
    /// Only those without an owner.
    pub without_user: bool,
    /// Only those whose metadata has all these entries.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Only those that have an event of this time or later.
    pub updated_since: Option<Timestamp>,
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
    /// Only this environment.
    pub environment: Option<Environment>,
    /// Only this one (a key's).
    pub key_environment: Option<Environment>,
    /// After this row: when it was created, and its id.
    pub after: Option<(Timestamp, ConnectionId)>,
    /// Most rows.
    pub limit: i64,
}

/// In which order a list is read: by which statement, and by which statement one finds how far it may read.
struct ListPlan<'a> {
    source: &'static Source,
    reach: Reach<'a>,
}

/// How far a statement reads.
#[derive(Clone, Copy)]
enum Reach<'a> {
    /// To few rows, because they are named.
    Listed,
    /// To the last row that it lists, and connections that are disconnected or denied are among those rows. Where they are,
    /// the rest of the page is read in pieces.
    ListedOrEnded(LastRead<'a>),
    /// To the last row of a piece.
    Piece(LastRead<'a>),
    /// Only these, in pieces.
    Named(&'a [ConnectionId]),
}

/// The statement that finds the last row of a piece, and its value.
type LastRead<'a> = (&'static str, Option<&'a str>);

impl<'a> Reach<'a> {
    fn piece_if(is_piece: bool, last_read: LastRead<'a>) -> Self {
        if is_piece { Self::Piece(last_read) } else { Self::ListedOrEnded(last_read) }
    }
}

/// A row that a list was read to: when it was created, and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Position(i64, String);

impl Position {
    fn of(row: &Row) -> StoreResult<Self> {
        Ok(Self(Columns(row).integer("created_at")?, Columns(row).text("id")?))
    }

    fn cursor(&self) -> String {
        format!("{}.{}", self.0, self.1)
    }
}

impl ConnectionFilter {
    /// One condition for each filter that is set.
    fn conditions(&self) -> impl Iterator<Item = &'static str> {
        let conditions = list_text::that_are_set([
            (self.app.is_some(), list_text::OF_APP),
            (self.status.is_some(), list_text::OF_STATUS),
            (self.user.is_some(), list_text::OF_USER),
            (self.workflow.is_some(), list_text::OF_WORKFLOW),
            (
                self.text.is_some(),
                "(instr(lower(c.name), lower(?7)) > 0 OR instr(lower(c.account_label), lower(?7)) > 0 OR instr(c.app, lower(?7)) > 0)",
            ),
            (self.visible_to.is_some(), list_text::SEEN),
            // A list of named connections finds them by their names.
            (self.connections.is_some() && self.id.is_some(), "+c.id IN (SELECT value FROM json_each(?9))"),
            (self.apps.is_some(), "+c.app IN (SELECT value FROM json_each(?10))"),
            (self.environment.is_some(), list_text::OF_ENVIRONMENT),
            (self.key_environment.is_some(), "+c.environment = ?23"),
            (self.statuses.is_some(), "+c.status IN (SELECT value FROM json_each(?24))"),
            (
                self.metadata.is_some(),
                "NOT EXISTS (SELECT 1 FROM json_each(?25) w
        WHERE NOT EXISTS (SELECT 1 FROM json_each(c.metadata) m WHERE m.key = w.key AND m.value = w.value))",
            ),
            (
                self.updated_since.is_some(),
                "EXISTS (SELECT 1 FROM events e
        WHERE e.workspace_id = c.workspace_id AND e.connection_id = c.id AND e.occurred_at >= ?26)",
            ),
            (self.without_user, list_text::OF_NOBODY),
        ]);
        let attention = self.attention.as_deref().map(list_text::attention);
        conditions.chain(attention)
    }

    /// The index that leads to the fewest rows.
    fn plan(&self) -> ListPlan<'_> {
        let set = [
            self.app.is_some(),
            self.status.is_some(),
            self.user.is_some(),
            self.workflow.is_some(),
            self.text.is_some(),
            self.visible_to.is_some(),
            self.apps.is_some(),
            self.attention.is_some(),
            self.environment.is_some() || self.key_environment.is_some(),
            self.statuses.is_some(),
            self.without_user,
            self.metadata.is_some(),
            self.updated_since.is_some(),
        ];
        let is_partly_covered = set.iter().filter(|is_set| **is_set).count() > 1;
        let by_index = |source, last_read, value| ListPlan {
            source,
            reach: Reach::piece_if(is_partly_covered, (last_read, Some(value))),
        };
        match self {
            Self { id: Some(_), .. } => ListPlan { source: &FIND, reach: Reach::Listed },
            Self { connections: Some(ids), .. } if ids.len() > NAMED_AT_ONCE => {
                ListPlan { source: &AMONG, reach: Reach::Named(ids) }
            }
            Self { connections: Some(_), .. } => ListPlan { source: &AMONG, reach: Reach::Listed },
            Self { user: Some(user), .. } => by_index(&OF_USER, LAST_OF_USER, user.as_str()),
            Self { without_user: true, .. } => {
                ListPlan { source: &OF_NOBODY, reach: Reach::piece_if(is_partly_covered, (LAST_OF_NOBODY, None)) }
            }
            Self { visible_to: Some(user), .. } => by_index(&SEEN_BY, LAST_SEEN_BY, user.as_str()),
            Self { status: Some(status), .. } if *status != ConnectionStatus::Connected => {
                by_index(&WITH_STATUS, LAST_WITH_STATUS, status.as_str())
            }
            Self { attention: Some(code), .. } if code == "missing_scopes" => {
                ListPlan { source: &WITH_OTHER_SCOPES, reach: Reach::Piece((LAST_WITH_OTHER_SCOPES, None)) }
            }
            Self { app: Some(app), .. } => by_index(&OF_APP, LAST_OF_APP, app.as_str()),
            Self { .. } if set.contains(&true) => ListPlan { source: &LIST, reach: Reach::Piece((LAST_OF_LIST, None)) },
            Self { .. } => ListPlan { source: &LIST, reach: Reach::ListedOrEnded((LAST_OF_LIST, None)) },
        }
    }
}

/// The connections that a workflow used, if they are few.
async fn find_of_workflow(
    db: &impl Database,
    workspace: &WorkspaceId,
    workflow: &str,
) -> StoreResult<Option<Vec<ConnectionId>>> {
    let found = run_statement(db, sql!(USED_BY_WORKFLOW, workspace, workflow, MOST_USES_OF_WORKFLOW + 1)).await?;
    if i64::try_from(found.rows.len()).is_ok_and(|rows| rows <= MOST_USES_OF_WORKFLOW) {
        let ids: StoreResult<std::collections::BTreeSet<_>> =
            found.rows.iter().map(|row| Columns(row).id("connection_id")).try_gather();
        return Ok(Some(ids?.into_iter().collect()));
    }
    Ok(None)
}

/// Later than every connection was created, and exact as a floating point number.
pub(super) const NEVER: i64 = 9_000_000_000_000_000;

/// The statement that finds the last row of the piece behind a row; none where fewer are left.
fn last_read_statement(workspace: &WorkspaceId, after: Option<&Position>, (sql, value): LastRead<'_>) -> Statement {
    let (at, id) = after.map_or((NEVER, ""), |Position(at, id)| (*at, id.as_str()));
    sql!(sql, workspace, at, id, EXAMINED_AT_ONCE - 1, value)
}

/// One list as it is read piece by piece.
struct ListReader<'a> {
    workspace: &'a WorkspaceId,
    filter: &'a ConnectionFilter,
    now: Timestamp,
    /// Only these connections, as JSON.
    among: Option<String>,
    found: Vec<Row>,
    examined: i64,
    /// What is read together with the first statement, and the answers to it.
    also: Vec<Statement>,
    answered: Vec<Rows>,
}

impl ListReader<'_> {
    fn wanted(&self) -> i64 {
        self.filter.limit - i64::try_from(self.found.len()).unwrap_or(i64::MAX)
    }

    /// The statement that lists what is behind one row, up to another.
    fn statement(&self, source: &Source, after: Option<&Position>, to: Option<&Position>) -> Statement {
        let usable = [list_text::NOT_DELETED, list_text::NOT_DENIED];
        self.put_together(source.select(None, &self.conditions(to, &usable)), after, to)
    }

    /// The same, and those that are disconnected or denied.
    fn statement_with_ended(&self, source: &Source, after: Option<&Position>) -> Statement {
        let text = source.select(Some(list_text::IS_DENIED), &self.conditions(None, &[]));
        self.put_together(text, after, None)
    }

    /// What the rows of a statement are, in addition to where they are found.
    fn conditions(&self, to: Option<&Position>, usable: &[&'static str]) -> Vec<&'static str> {
        let position =
            ["(c.created_at, c.id) < (?13, ?14)"].into_iter().chain(to.map(|_| "(c.created_at, c.id) >= (?20, ?21)"));
        position.chain(usable.iter().copied()).chain(self.filter.conditions()).collect()
    }

    fn put_together(&self, text: Vec<&'static str>, after: Option<&Position>, to: Option<&Position>) -> Statement {
        Statement::put_together(text, self.values(after, to))
    }

    /// All that a statement may name, by its number.
    fn values(&self, after: Option<&Position>, to: Option<&Position>) -> Vec<SqlValue> {
        let Self { workspace, filter, now, .. } = self;
        let (after_time, after_id) = after.map_or((NEVER, ""), |Position(at, id)| (*at, id.as_str()));
        let (read_to_time, read_to_id) = to.map_or((0, ""), |Position(at, id)| (*at, id.as_str()));
        vec![
            (*workspace).into(),
            filter.id.as_ref().into(),
            filter.app.as_ref().into(),
            filter.status.map(ConnectionStatus::as_str).into(),
            filter.user.as_deref().into(),
            filter.workflow.as_deref().into(),
            filter.text.as_deref().into(),
            filter.visible_to.as_deref().into(),
            self.among.as_deref().into(),
            filter.apps.as_ref().map(json_text).into(),
            REPLACED_SHOWN.into(),
            (*now).into(),
            after_time.into(),
            after_id.into(),
            (self.wanted() + 1).into(),
            FAILURE_THRESHOLD.into(),
            now.plus(SECRET_EXPIRY_WARNING).into(),
            now.plus(EXPIRES_SOON_WITHIN).into(),
            now.plus(-UNUSED_AFTER).into(),
            read_to_time.into(),
            read_to_id.into(),
            filter.environment.map(Environment::as_str).into(),
            filter.key_environment.map(Environment::as_str).into(),
            filter
                .statuses
                .as_ref()
                .map(|list| json_text(&list.iter().map(|one| one.as_str()).collect::<Vec<_>>()))
                .into(),
            filter.metadata.as_ref().map(json_text).into(),
            filter.updated_since.into(),
            STEP_CHANGES_SHOWN.into(),
            now.plus(-CHANGE_SHOWN).into(),
            CHANGE_SETTLED.into(),
        ]
    }

    /// Runs the first statement of the list, and in the same round trip what else is to be read.
    async fn run_first(&mut self, db: &impl Database, first: Statement) -> StoreResult<Rows> {
        let also = std::mem::take(&mut self.also);
        let mut answers = db.batch([first].into_iter().chain(also).collect()).await?.into_iter();
        let found = answers.next().ok_or_else(|| DatabaseError::Unavailable("a batch answered nothing".into()))?;
        self.answered.extend(answers);
        Ok(found)
    }

    /// Takes rows until the page is full. Returns whether more were found than fit.
    fn take(&mut self, rows: Vec<Row>) -> bool {
        let room = usize::try_from(self.wanted()).unwrap_or(0);
        let more = rows.len() > room;
        self.found.extend(rows.into_iter().take(room));
        more
    }

    /// The cursor of the page after those that were found.
    fn cursor(&self) -> StoreResult<Option<String>> {
        self.found.last().map(|row| Ok(Position::of(row)?.cursor())).transpose()
    }

    /// Reads connections that are named.
    async fn read_listed(&mut self, db: &impl Database, source: &Source) -> StoreResult<Option<String>> {
        let after = self.start();
        let statement = self.statement(source, after.as_ref(), None);
        let answer = self.run_first(db, statement).await?;
        if self.take(answer.rows) { self.cursor() } else { Ok(None) }
    }

    /// Reads by a statement that reads only what it lists. Where rows of it are disconnected or denied, the rest is read in
    /// pieces.
    async fn read_listed_or_ended(
        &mut self,
        db: &impl Database,
        source: &Source,
        last_read: LastRead<'_>,
    ) -> StoreResult<Option<String>> {
        let after = self.start();
        let statement = self.statement_with_ended(source, after.as_ref());
        let answer = self.run_first(db, statement).await?;
        let read = i64::try_from(answer.rows.len()).unwrap_or(i64::MAX);
        let last = answer.rows.last().map(Position::of).transpose()?.filter(|_| read > self.filter.limit);
        let is_live = |row: &Row| {
            let row = Columns(row);
            row.optional_time("deleted_at").is_ok_and(|deleted| deleted.is_none())
                && row.boolean("is_denied").is_ok_and(|is_denied| !is_denied)
        };
        if self.take(answer.rows.into_iter().filter(is_live).collect()) {
            return self.cursor();
        }
        let Some(last) = last else { return Ok(None) };
        self.examined = read;
        self.read_pieces(db, source, Some(last), last_read).await
    }

    /// Reads piece by piece, until the page is full or the request has looked at enough.
    async fn read_pieces(
        &mut self,
        db: &impl Database,
        source: &Source,
        mut after: Option<Position>,
        last_read: LastRead<'_>,
    ) -> StoreResult<Option<String>> {
        let first = self.run_first(db, last_read_statement(self.workspace, after.as_ref(), last_read)).await?;
        let mut to = first.rows.first().map(Position::of).transpose()?;
        loop {
            let mut statements = vec![self.statement(source, after.as_ref(), to.as_ref())];
            self.examined += EXAMINED_AT_ONCE;
            let goes_on = to.is_some() && self.examined < MOST_EXAMINED;
            statements.extend(goes_on.then(|| last_read_statement(self.workspace, to.as_ref(), last_read)));
            let mut answers = db.batch(statements).await?.into_iter();
            if self.take(answers.next().map(|answer| answer.rows).unwrap_or_default()) {
                return self.cursor();
            }
            if !goes_on {
                return Ok(to.as_ref().map(Position::cursor));
            }
            let next = answers.next().and_then(|answer| answer.rows.into_iter().next());
            after = std::mem::replace(&mut to, next.as_ref().map(Position::of).transpose()?);
        }
    }

    /// Reads the named connections in pieces, after their order is known.
    async fn read_named(
        &mut self,
        db: &impl Database,
        source: &Source,
        ids: &[ConnectionId],
    ) -> StoreResult<Option<String>> {
        let after = self.start();
        let (at, id) = after.as_ref().map_or((NEVER, ""), |Position(at, id)| (*at, id.as_str()));
        let mut positions = Vec::new();
        for piece in ids.chunks(NAMED_AT_ONCE) {
            let found = self.run_first(db, sql!(POSITIONS, self.workspace, json_text(piece), at, id)).await?;
            for row in &found.rows {
                positions.push(Position::of(row)?);
            }
        }
        positions.sort_unstable_by(|left, right| right.cmp(left));
        let mut pieces = positions.chunks(NAMED_AT_ONCE).peekable();
        while let Some(piece) = pieces.next() {
            let named: Vec<&str> = piece.iter().map(|Position(_, id)| id.as_str()).collect();
            self.among = Some(json_text(&named));
            let answer = run_statement(db, self.statement(source, after.as_ref(), None)).await?;
            let is_full = self.take(answer.rows);
            if is_full || self.wanted() == 0 && pieces.peek().is_some() {
                return self.cursor();
            }
        }
        Ok(None)
    }

    fn start(&self) -> Option<Position> {
        self.filter.after.as_ref().map(|(at, id)| Position(at.unix(), id.to_string()))
    }
}

/// The statement that finds one connection.
pub(super) fn find_statement(workspace: &WorkspaceId, id: &ConnectionId, now: Timestamp) -> Statement {
    let filter = ConnectionFilter { id: Some(id.clone()), limit: 1, ..ConnectionFilter::default() };
    reader(workspace, &filter, now, vec![]).statement(&FIND, None, None)
}

/// The values that parts of [`list_text`] name. A page asks for one row more than the filter does.
pub(super) fn values(workspace: &WorkspaceId, filter: &ConnectionFilter, now: Timestamp) -> Vec<SqlValue> {
    reader(workspace, filter, now, vec![]).values(None, None)
}

fn reader<'a>(
    workspace: &'a WorkspaceId,
    filter: &'a ConnectionFilter,
    now: Timestamp,
    also: Vec<Statement>,
) -> ListReader<'a> {
    let among = filter.connections.as_ref().map(json_text);
    ListReader { workspace, filter, now, among, found: vec![], examined: 0, also, answered: vec![] }
}

/// What it has found.
pub(super) fn read_found(rows: &Rows) -> StoreResult<Option<ListedConnection>> {
    crate::store::read_first(rows)
}

/// Connections, newest first. A page may have fewer than asked for, or none, although more follow: a request looks at
/// [`MOST_EXAMINED`] connections only.
pub async fn list(
    db: &impl Database,
    workspace: &WorkspaceId,
    filter: &ConnectionFilter,
    now: Timestamp,
) -> StoreResult<Page<ListedConnection>> {
    Ok(list_with(db, workspace, filter, now, vec![]).await?.0)
}

/// The same, and the answers to other statements, which take no round trip of their own.
pub async fn list_with(
    db: &impl Database,
    workspace: &WorkspaceId,
    filter: &ConnectionFilter,
    now: Timestamp,
    also: Vec<Statement>,
) -> StoreResult<(Page<ListedConnection>, Vec<Rows>)> {
    let mut filter = std::borrow::Cow::Borrowed(filter);
    if let (None, None, Some(workflow)) = (&filter.id, &filter.connections, &filter.workflow)
        && let Some(connections) = find_of_workflow(db, workspace, workflow).await?
    {
        filter.to_mut().connections = Some(connections);
    }
    // Such a default needs a reconnect, and those that do have an index.
    if filter.attention.as_deref() == Some("default_unusable") && filter.status.is_none() {
        filter.to_mut().status = Some(ConnectionStatus::NeedsReconnect);
    }
    let mut reader = reader(workspace, &filter, now, also);
    let ListPlan { source, reach } = filter.plan();
    let next = match reach {
        Reach::Listed => reader.read_listed(db, source).await?,
        Reach::ListedOrEnded(last_read) => reader.read_listed_or_ended(db, source, last_read).await?,
        Reach::Named(ids) => reader.read_named(db, source, ids).await?,
        Reach::Piece(last_read) => {
            let after = reader.start();
            reader.read_pieces(db, source, after, last_read).await?
        }
    };
    let mut data = Vec::with_capacity(reader.found.len());
    for row in &reader.found {
        match ListedConnection::from_row(&Columns(row)) {
            Ok(one) => data.push(one),
            // All rows lack the column: leaving them out would show an empty workspace.
            Err(error @ DatabaseError::NotMigrated(_)) => return Err(error),
            // An unreadable row is left out: the others are still listed, on this page and the next.
            Err(_) => {}
        }
    }
    Ok((Page { data, next }, reader.answered))
}
