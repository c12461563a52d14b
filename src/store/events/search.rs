//! The audit log of a workspace, by filters and page by page.
//!
//! Owns how far one request reads, and which names a page has beside its lines. A program gets a line as it was written.

use crate::app::AppId;
use crate::audit::{Actor, EventType};
use crate::environment::Environment;
use crate::ids::{ConnectionId, EventId, WorkspaceId};
use crate::ports::{Database, Rows, Statement};
use crate::sql;
use crate::store::{Columns, FromRow, Page, StoreResult, json_text, query_all, read_all, run_statement};
use crate::time::Timestamp;

use super::{EventPosition, start_position};

macro_rules! searched {
    ($of:literal) => {
        concat!(
            "SELECT * FROM events WHERE ",
            $of,
            " AND (occurred_at, seq) < (?2, ?3) AND (occurred_at, seq) >= (?4, ?5)
      AND (?6 IS NULL OR type IN (SELECT value FROM json_each(?6)))
      AND (?7 IS NULL OR actor = ?7)
      AND (?8 IS NULL OR app = ?8)
      AND (?9 IS NULL OR workflow = ?9)
      AND (?10 IS NULL OR connection_id IN (SELECT value FROM json_each(?10)))
      AND (?11 IS NULL OR connection_id <> '' AND app IN (SELECT value FROM json_each(?11)))
      AND (?14 IS NULL OR EXISTS (SELECT 1 FROM connections c WHERE c.id = events.connection_id AND c.environment = ?14))
    ORDER BY occurred_at DESC, seq DESC LIMIT ?12"
        )
    };
}
/// The last of the `?5` rows after the position that a search reads.
macro_rules! last_read {
    ($of:literal) => {
        concat!(
            "SELECT occurred_at, seq FROM events WHERE ",
            $of,
            " AND (occurred_at, seq) < (?2, ?3) AND occurred_at >= ?4 ORDER BY occurred_at DESC, seq DESC LIMIT 1 OFFSET ?5"
        )
    };
}
/// A text up to the first of these ends.
macro_rules! up_to {
    ($text:literal, $($end:literal),+) => {
        concat!("substr(", $text, ", 1, min(length(", $text, ") + 1", $(", instr(", $text, " || '", $end, "', '", $end, "')"),+, ") - 1)")
    };
}
/// The id of the person in the detail of a line: the same as `person_in_detail` of the page cuts out.
macro_rules! person_in_detail {
    () => {
        concat!(
            "CASE
        WHEN bounded.type IN ('link_created', 'link_ended') THEN substr(bounded.detail, 5)
        WHEN bounded.type IN ('sign_in_link_created', 'sign_in_link_deleted')
          THEN substr(bounded.detail, 1, length(bounded.detail) - CASE WHEN bounded.detail GLOB '* as admin' THEN 9 ELSE 10 END)
        WHEN bounded.type IN ('signed_in', 'signed_out', 'session_ended')
          THEN substr(bounded.detail, 6, length(bounded.detail) - 5 - CASE WHEN bounded.detail GLOB '* as admin' THEN 9 ELSE 10 END)
        WHEN bounded.type = 'person_removed' THEN substr(bounded.detail, 16)
        WHEN bounded.type = 'default_changed' AND bounded.detail GLOB 'user *' THEN ",
            up_to!("substr(bounded.detail, 6)", ", production", ", test", ": "),
            "
        WHEN bounded.type = 'edited' AND instr(', ' || bounded.detail, ', owner: ') BETWEEN 1 AND instr(', ' || bounded.detail || ', name: ', ', name: ') THEN ",
            up_to!(
                "substr(', ' || bounded.detail, instr(', ' || bounded.detail, ', owner: ') + 9)",
                ", shared: ",
                ", environment: ",
                ", name: "
            ),
            "
        END"
        )
    };
}
/// The same lines, with the names of now. Each is looked up by its key, that of a custom app among its revisions.
macro_rules! with_names {
    ($lines:expr) => {
        concat!(
            "SELECT bounded.*,
      CASE WHEN bounded.actor GLOB 'user:*' THEN (SELECT p.name FROM people p WHERE p.workspace_id = bounded.workspace_id AND p.user_id = substr(bounded.actor, 6))
        WHEN bounded.actor GLOB 'link:*' THEN (SELECT coalesce(l.user_name, l.user_id) FROM connect_links l WHERE l.id = substr(bounded.actor, 6) AND +l.workspace_id = bounded.workspace_id)
        WHEN bounded.actor GLOB 'key:*' AND bounded.actor_name IS NULL THEN (SELECT k.name FROM api_keys k WHERE k.id = substr(bounded.actor, 5) AND +k.workspace_id = bounded.workspace_id)
        END AS actor_is_named,
      CASE WHEN bounded.connection_name IS NULL THEN (SELECT c.name FROM connections c WHERE c.id = bounded.connection_id AND +c.workspace_id = bounded.workspace_id)
        END AS connection_is_named,
      CASE WHEN bounded.type IN ('role_changed', 'person_removed', 'email_preference_changed')
          THEN (SELECT p.name FROM people p WHERE p.workspace_id = bounded.workspace_id AND p.user_id = bounded.target)
        WHEN bounded.target GLOB 'key_*' THEN (SELECT k.name FROM api_keys k WHERE k.id = bounded.target AND +k.workspace_id = bounded.workspace_id)
        WHEN bounded.target GLOB 'cli_*' THEN (SELECT o.client_id FROM oauth_clients o WHERE o.id = bounded.target AND +o.workspace_id = bounded.workspace_id)
        WHEN bounded.target GLOB 'lnk_*' THEN (SELECT coalesce(l.user_name, l.user_id) FROM connect_links l WHERE l.id = bounded.target AND +l.workspace_id = bounded.workspace_id)
        WHEN bounded.target GLOB 'whk_*' THEN (SELECT s.url FROM subscriptions s WHERE s.id = bounded.target AND +s.workspace_id = bounded.workspace_id)
        END AS target_is_named,
      (SELECT json_extract(a.definition, '$.name') FROM apps a WHERE a.workspace_id = bounded.workspace_id AND a.id = bounded.app AND a.is_current = 1) AS app_is_named,
      (SELECT p.name FROM people p WHERE p.workspace_id = bounded.workspace_id AND p.user_id = ",
            person_in_detail!(),
            ") AS person_is_named
    FROM (",
            $lines,
            ") bounded ORDER BY bounded.occurred_at DESC, bounded.seq DESC"
        )
    };
}
macro_rules! of_workspace {
    () => {
        searched!("workspace_id = ?1 AND ?13 IS NULL")
    };
}
macro_rules! of_connection {
    () => {
        searched!("workspace_id = ?1 AND connection_id = ?13")
    };
}
const SEARCH: &str = of_workspace!();
const SEARCH_CONNECTION: &str = of_connection!();
const SEARCH_NAMED: &str = with_names!(of_workspace!());
const SEARCH_CONNECTION_NAMED: &str = with_names!(of_connection!());
const LAST_READ: &str = last_read!("workspace_id = ?1 AND ?6 IS NULL");
const LAST_READ_OF_CONNECTION: &str = last_read!("workspace_id = ?1 AND connection_id = ?6");

/// Lines that one request looks at, at most. The next page continues behind them.
pub const MOST_EXAMINED: i64 = 1_000;
/// Lines that one statement looks at: between two of them, the database has time for other workspaces.
const EXAMINED_AT_ONCE: i64 = 250;

/// One line of the audit log of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AuditEvent {
    /// Its id.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub r#type: String,
    /// Who did it: `key:…`, `user:…`, `link:…`, `embedder`, `operator`, `schedule`, `refresh`, `check`, `unauthenticated`
    /// (a credential that was refused), or `user` (a person whose id is not known).
    pub actor: String,
    /// The name of the key at that time.
    pub actor_name: Option<String>,
    /// The connection; null where the event is about something else. It may be gone.
    pub connection: Option<ConnectionId>,
    /// The name of the connection at that time.
    pub connection_name: Option<String>,
    /// The app's id.
    pub app: Option<String>,
    /// The id of what the event is about, where that is no connection: a key, a client, a link, a session, a person.
    pub target: Option<String>,
    /// The workflow that a credential was handed out for.
    pub workflow: Option<String>,
    /// The step of the workflow.
    pub step: Option<String>,
    /// A code or name with details, never a secret.
    pub detail: Option<String>,
    /// The address that the request came from; of IPv6 the network (64 bits).
    pub address: Option<String>,
    /// What the caller calls itself: the first 200 characters.
    pub user_agent: Option<String>,
    /// The id of the request, as in `X-Request-Id`.
    pub request_id: Option<String>,
}

impl AuditEvent {
    /// The names of its members, in order.
    pub const MEMBERS: [&str; 15] = [
        "id",
        "at",
        "type",
        "actor",
        "actor_name",
        "connection",
        "connection_name",
        "app",
        "target",
        "workflow",
        "step",
        "detail",
        "address",
        "user_agent",
        "request_id",
    ];

    /// The values of its members, in the same order.
    pub fn values(&self) -> [Option<String>; 15] {
        [
            Some(self.id.to_string()),
            Some(self.at.rfc3339()),
            Some(self.r#type.clone()),
            Some(self.actor.clone()),
            self.actor_name.clone(),
            self.connection.as_ref().map(ToString::to_string),
            self.connection_name.clone(),
            self.app.clone(),
            self.target.clone(),
            self.workflow.clone(),
            self.step.clone(),
            self.detail.clone(),
            self.address.clone(),
            self.user_agent.clone(),
            self.request_id.clone(),
        ]
    }
}

/// How the scheduled run is called in a search. Its stored name is older.
const SCHEDULE: &str = "schedule";

/// A line with the names of now of what it mentions: people can't read ids. What is gone has none.
#[derive(Debug, Clone)]
pub struct NamedAuditEvent {
    /// The line.
    pub event: AuditEvent,
    /// Of the person who did it, of the one that the link is for, or of the key if the line has no name of it.
    pub actor_name: Option<String>,
    /// Of the connection, if the line has none.
    pub connection_name: Option<String>,
    /// Of the target: a key's name, a client's id at the app, the name of the person whom a link is for, a webhook's
    /// address, a person's name.
    pub target_name: Option<String>,
    /// Of the custom app.
    pub app_name: Option<String>,
    /// Of the person in the detail.
    pub person_name: Option<String>,
}

impl FromRow for NamedAuditEvent {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            event: AuditEvent::from_row(row)?,
            actor_name: row.optional_text("actor_is_named")?,
            connection_name: row.optional_text("connection_is_named")?,
            target_name: row.optional_text("target_is_named")?,
            app_name: row.optional_text("app_is_named")?,
            person_name: row.optional_text("person_is_named")?,
        })
    }
}

/// What a search finds: lines as they were written, or with names.
pub(crate) trait FoundLine: FromRow {
    /// The statements that find them: in a workspace, and those of a connection.
    const STATEMENTS: [&'static str; 2];
    /// When it was written.
    fn at(&self) -> Timestamp;
}

impl FoundLine for AuditEvent {
    const STATEMENTS: [&'static str; 2] = [SEARCH, SEARCH_CONNECTION];

    fn at(&self) -> Timestamp {
        self.at
    }
}

impl FoundLine for NamedAuditEvent {
    const STATEMENTS: [&'static str; 2] = [SEARCH_NAMED, SEARCH_CONNECTION_NAMED];

    fn at(&self) -> Timestamp {
        self.event.at
    }
}

/// A line with its number, because several can have the same second.
struct Numbered<T> {
    seq: i64,
    line: T,
}

impl<T: FromRow> FromRow for Numbered<T> {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self { seq: row.integer("seq")?, line: T::from_row(row)? })
    }
}

impl FromRow for AuditEvent {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let actor = row.text("actor")?;
        let is_schedule = actor == Actor::ScheduledRun.to_string();
        let connection = row.text("connection_id")?;
        Ok(Self {
            id: row.id("id")?,
            at: row.time("occurred_at")?,
            r#type: row.text("type")?,
            actor: if is_schedule { SCHEDULE.to_owned() } else { actor },
            actor_name: row.optional_text("actor_name")?,
            connection: if connection.is_empty() { None } else { Some(row.id("connection_id")?) },
            connection_name: row.optional_text("connection_name")?,
            app: row.optional_text("app")?,
            target: row.optional_text("target")?,
            workflow: row.optional_text("workflow")?,
            step: row.optional_text("step")?,
            detail: row.optional_text("detail")?,
            address: row.optional_text("address")?,
            user_agent: row.optional_text("user_agent")?,
            request_id: row.optional_text("request_id")?,
        })
    }
}

/// The filters of a search.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only these types.
    pub types: Option<Vec<EventType>>,
    /// Only this actor, as a line names it.
    pub actor: Option<String>,
    /// Only this connection.
    pub connection: Option<ConnectionId>,
    /// Only this app.
    pub app: Option<AppId>,
    /// Only credentials that were handed out for this workflow.
    pub workflow: Option<String>,
    /// Not before this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
    /// Only these connections (a key's allow-list).
    pub connections: Option<Vec<ConnectionId>>,
    /// Only connections of these apps (a key's allow-list).
    pub apps: Option<Vec<AppId>>,
    /// Only connections of this environment that are still there (a key's limit).
    pub environment: Option<Environment>,
    /// After this line, towards the older ones.
    pub after: Option<EventPosition>,
    /// Most lines.
    pub limit: i64,
}

impl EventFilter {
    /// Where the search begins.
    fn start(&self) -> EventPosition {
        let start = self.after.unwrap_or_else(start_position);
        self.to.map_or(start, |to| start.min((to, 0)))
    }

    /// Whether each line that is read in order is one that is asked for.
    fn is_whole(&self) -> bool {
        self.types.is_none()
            && self.actor.is_none()
            && self.app.is_none()
            && self.workflow.is_none()
            && self.connections.is_none()
            && self.apps.is_none()
            && self.environment.is_none()
    }

    fn stored_actor(&self) -> Option<String> {
        self.actor.as_ref().map(|text| match text.as_str() {
            SCHEDULE => Actor::ScheduledRun.to_string(),
            other => other.to_owned(),
        })
    }
}

/// The cursor of a page after this line.
fn cursor((at, seq): EventPosition) -> String {
    format!("{}.{seq}", at.unix())
}

/// A search as it is read piece by piece.
struct Search<'a, T> {
    workspace: &'a WorkspaceId,
    filter: &'a EventFilter,
    found: Vec<Numbered<T>>,
}

impl<T: FoundLine> Search<'_, T> {
    fn wanted(&self) -> i64 {
        self.filter.limit - i64::try_from(self.found.len()).unwrap_or(i64::MAX)
    }

    /// The oldest line that is asked for.
    fn end(&self) -> EventPosition {
        (self.filter.from.unwrap_or(Timestamp::from_unix(0)), 0)
    }

    /// The statement that finds the last line of the piece behind a line; none where fewer are left.
    fn last_read(&self, (at, seq): EventPosition) -> Statement {
        let connection = self.filter.connection.as_ref();
        let sql = if connection.is_some() { LAST_READ_OF_CONNECTION } else { LAST_READ };
        sql!(sql, self.workspace, at, seq, self.end().0, EXAMINED_AT_ONCE - 1, connection)
    }

    /// The statement that reads what is behind one line, up to another.
    fn statement(&self, (at, seq): EventPosition, to: Option<EventPosition>, limit: i64) -> Statement {
        let filter = self.filter;
        let [of_workspace, of_connection] = T::STATEMENTS;
        let (to_at, to_seq) = to.map_or(self.end(), |last| last.max(self.end()));
        let types: Option<Vec<_>> = filter.types.as_ref().map(|list| list.iter().map(|one| one.as_str()).collect());
        sql!(
            if filter.connection.is_some() { of_connection } else { of_workspace },
            self.workspace,
            at,
            seq,
            to_at,
            to_seq,
            types.as_ref().map(json_text),
            filter.stored_actor(),
            filter.app.as_ref(),
            filter.workflow.as_deref(),
            filter.connections.as_ref().map(json_text),
            filter.apps.as_ref().map(json_text),
            limit,
            filter.connection.as_ref(),
            filter.environment.map(Environment::as_str)
        )
    }

    /// Takes lines until the page is full. Returns whether more were found than fit.
    fn take(&mut self, lines: Vec<Numbered<T>>) -> bool {
        let room = usize::try_from(self.wanted()).unwrap_or(0);
        let more = lines.len() > room;
        self.found.extend(lines.into_iter().take(room));
        more
    }

    fn last_found(&self) -> Option<EventPosition> {
        self.found.last().map(|one| (one.line.at(), one.seq))
    }

    /// Reads where each line is one that is asked for. Returns the last line of the page if more follow.
    async fn read_all(&mut self, db: &impl Database) -> StoreResult<Option<EventPosition>> {
        let mut after = self.filter.start();
        loop {
            let limit = EXAMINED_AT_ONCE.min(self.wanted() + 1);
            let lines: Vec<Numbered<T>> = query_all(db, self.statement(after, None, limit)).await?;
            let is_last = i64::try_from(lines.len()).is_ok_and(|lines| lines < limit);
            if self.take(lines) {
                return Ok(self.last_found());
            }
            if is_last {
                return Ok(None);
            }
            after = self.last_found().unwrap_or(after);
        }
    }

    /// Reads piece by piece, until the page is full or the request has looked at enough. Returns the last line that was
    /// looked at if more follow.
    async fn read_pieces(&mut self, db: &impl Database) -> StoreResult<Option<EventPosition>> {
        let mut after = self.filter.start();
        let mut to = read_position(&run_statement(db, self.last_read(after)).await?)?;
        let mut examined = EXAMINED_AT_ONCE;
        loop {
            let goes_on = to.filter(|_| examined < MOST_EXAMINED);
            let mut statements = vec![self.statement(after, to, self.wanted() + 1)];
            statements.extend(goes_on.map(|to| self.last_read(to)));
            let answers = db.batch(statements).await?;
            if self.take(answers.first().map(read_all).transpose()?.unwrap_or_default()) {
                return Ok(self.last_found());
            }
            let Some(reached) = goes_on else { return Ok(to) };
            (after, to) = (reached, answers.get(1).map(read_position).transpose()?.flatten());
            examined += EXAMINED_AT_ONCE;
        }
    }
}

fn read_position(found: &Rows) -> StoreResult<Option<EventPosition>> {
    let position = |row| Ok((Columns(row).time("occurred_at")?, Columns(row).integer("seq")?));
    found.rows.first().map(position).transpose()
}

/// Lines of the audit log, newest first. A page may have fewer than asked for, or none, although more follow: a request
/// looks at [`MOST_EXAMINED`] lines only.
pub(crate) async fn search<T: FoundLine>(
    db: &impl Database,
    workspace: &WorkspaceId,
    filter: &EventFilter,
) -> StoreResult<Page<T>> {
    let mut search = Search { workspace, filter, found: Vec::new() };
    let last = if filter.is_whole() { search.read_all(db).await? } else { search.read_pieces(db).await? };
    Ok(Page { data: search.found.into_iter().map(|one| one.line).collect(), next: last.map(cursor) })
}
