//! Rows of `app_defaults`: which connection a step gets that names an app.
//!
//! Owns that the first shared connection of an app becomes its default, and that a default which no longer fits ends in
//! the transaction that changes its connection.

use super::{Columns, FromRow, Page, StoreResult, json_text, query_all, read_all, read_first};
use crate::app::AppId;
use crate::audit::{Actor, RequestOrigin};
use crate::connection::ConnectionStatus;
use crate::environment::Environment;
use crate::ids::{ConnectionId, EventId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;

/// Workflows that are named where a default changes, at most.
pub const MOST_WORKFLOWS: i64 = 200;

/// Workflows that used the connection of a slot by default.
const WORKFLOWS_OF_SLOT: &str = "SELECT DISTINCT workflow FROM uses WHERE workspace_id = ?1 AND connection_id =
      (SELECT connection_id FROM app_defaults WHERE workspace_id = ?1 AND app = ?2 AND user_id = ?3 AND environment = ?4)
    AND chosen_by = 'default' ORDER BY workflow LIMIT ?5";
const GET: &str =
    "SELECT * FROM app_defaults WHERE workspace_id = ?1 AND app = ?2 AND user_id = ?3 AND environment = ?4";
/// Only a connection that fits at this moment.
const PUT: &str = "INSERT INTO app_defaults (workspace_id, app, user_id, environment, connection_id, set_at)
    SELECT c.workspace_id, c.app, ?3, ?4, c.id, ?6 FROM connections c WHERE c.id = ?5 AND c.workspace_id = ?1 AND c.app = ?2
      AND c.deleted_at IS NULL AND (?4 = '' OR c.environment = ?4)
      AND (coalesce(c.is_shared, c.user_id IS NULL) OR ?3 <> '' AND c.user_id = ?3)
    ON CONFLICT (workspace_id, app, user_id, environment) DO UPDATE SET connection_id = excluded.connection_id, set_at = excluded.set_at";
const DELETE: &str =
    "DELETE FROM app_defaults WHERE workspace_id = ?1 AND app = ?2 AND user_id = ?3 AND environment = ?4";
const END_OF_CONNECTION: &str = "DELETE FROM app_defaults WHERE connection_id = ?2 AND workspace_id = ?1 RETURNING *";
/// Those that no longer fit their connection, after it was changed.
const END_UNFIT: &str = "DELETE FROM app_defaults WHERE connection_id = ?2 AND workspace_id = ?1 AND NOT EXISTS (SELECT 1 FROM connections c
      WHERE c.id = app_defaults.connection_id AND c.deleted_at IS NULL AND (app_defaults.environment = '' OR c.environment = app_defaults.environment)
        AND (coalesce(c.is_shared, c.user_id IS NULL) OR app_defaults.user_id <> '' AND c.user_id = app_defaults.user_id)) RETURNING *";
/// The oldest shared connection of an app, if it is the only one, or one of two: the second one then breaks nothing, and
/// more without a default mean that somebody has decided so. A default whose connection is gone is none.
const ADOPT_FIRST: &str = "INSERT INTO app_defaults (workspace_id, app, user_id, environment, connection_id, set_at)
    SELECT ?1, ?2, '', '', id, ?3 FROM (SELECT min(created_at), id, count(*) AS n FROM (SELECT c.id, c.created_at FROM connections c
        WHERE c.workspace_id = ?1 AND c.app = ?2 AND c.deleted_at IS NULL AND coalesce(c.is_shared, c.user_id IS NULL)
          AND c.is_unconfirmed IS NULL AND c.status <> 'awaiting_confirmation' LIMIT 3))
    WHERE n IN (1, 2)
    ON CONFLICT (workspace_id, app, user_id, environment) DO UPDATE SET connection_id = excluded.connection_id, set_at = excluded.set_at
      WHERE NOT EXISTS (SELECT 1 FROM connections g WHERE g.id = app_defaults.connection_id AND g.deleted_at IS NULL)";
/// The same for an environment that the default of all environments is not of.
const ADOPT_FIRST_OF_ENVIRONMENT: &str = "INSERT INTO app_defaults (workspace_id, app, user_id, environment, connection_id, set_at)
    SELECT ?1, ?2, '', ?4, id, ?3 FROM (SELECT min(created_at), id, count(*) AS n FROM (SELECT c.id, c.created_at FROM connections c
        WHERE c.workspace_id = ?1 AND c.app = ?2 AND c.environment = ?4 AND c.deleted_at IS NULL
          AND coalesce(c.is_shared, c.user_id IS NULL) AND c.is_unconfirmed IS NULL AND c.status <> 'awaiting_confirmation' LIMIT 3))
    WHERE n IN (1, 2) AND NOT EXISTS (SELECT 1 FROM app_defaults d CROSS JOIN connections e ON e.id = d.connection_id
        AND e.deleted_at IS NULL AND e.environment = ?4
      WHERE d.workspace_id = ?1 AND d.app = ?2 AND d.user_id = '' AND d.environment = '')
    ON CONFLICT (workspace_id, app, user_id, environment) DO UPDATE SET connection_id = excluded.connection_id, set_at = excluded.set_at
      WHERE NOT EXISTS (SELECT 1 FROM connections g WHERE g.id = app_defaults.connection_id AND g.deleted_at IS NULL)";
/// Only if the statement before it in the batch made a default.
const EVENT_OF_ADOPTED: &str =
    "INSERT INTO events (workspace_id, connection_id, occurred_at, id, type, actor, detail, app, connection_name,
      actor_name, address, user_agent, request_id)
    SELECT d.workspace_id, d.connection_id, ?3, ?5, ?6, ?7, ?8, d.app, (SELECT name FROM connections WHERE id = d.connection_id),
      (SELECT name FROM api_keys WHERE id = ?9), ?10, ?11, ?12 FROM app_defaults d
    WHERE changes() > 0 AND d.workspace_id = ?1 AND d.app = ?2 AND d.user_id = '' AND d.environment = ?4";
const WORKFLOWS: &str = "SELECT DISTINCT workflow FROM uses WHERE workspace_id = ?1 AND connection_id = ?2 AND chosen_by = 'default' ORDER BY workflow LIMIT ?3";
/// Defaults whose connection needs a person, among the first so many of such connections.
const LIST_BROKEN: &str =
    "SELECT d.*, (SELECT r.replaced_by FROM replacements r WHERE r.connection_id = d.connection_id) AS replaced_by, connection_name, connection_status, connection_environment FROM (SELECT id AS broken_id, name AS connection_name,
      status AS connection_status, environment AS connection_environment FROM connections
      WHERE workspace_id = ?1 AND deleted_at IS NULL AND status = 'needs_reconnect' AND status <> 'connected' LIMIT ?7)
    CROSS JOIN app_defaults d ON d.connection_id = broken_id
    WHERE d.workspace_id = ?1 AND (d.app, d.user_id, d.environment) > (?2, ?3, ?4) AND (?6 IS NULL OR d.app = ?6)
    ORDER BY d.app, d.user_id, d.environment LIMIT ?5";
const LIST_OTHERS: &str = "SELECT d.*, (SELECT r.replaced_by FROM replacements r WHERE r.connection_id = d.connection_id) AS replaced_by, c.name AS connection_name, c.status AS connection_status,
      c.environment AS connection_environment FROM app_defaults d
    CROSS JOIN connections c ON c.id = d.connection_id AND c.workspace_id = d.workspace_id AND c.deleted_at IS NULL
      AND c.status <> 'needs_reconnect'
    WHERE d.workspace_id = ?1 AND (d.app, d.user_id, d.environment) > (?2, ?3, ?4) AND (?6 IS NULL OR d.app = ?6)
    ORDER BY d.app, d.user_id, d.environment LIMIT ?5";
/// The statement that erases the defaults of ended connections.
const ERASE: &str = "DELETE FROM app_defaults WHERE connection_id IN (SELECT value FROM json_each(?1))";

/// Which default: of an app, for the workspace or one user, in any environment or in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultSlot {
    /// The app.
    pub app: AppId,
    /// The user. None: the workspace.
    pub user: Option<String>,
    /// The environment. None: any.
    pub environment: Option<Environment>,
}

impl DefaultSlot {
    fn user_text(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }

    fn environment_text(&self) -> &'static str {
        self.environment.map_or("", Environment::as_str)
    }
}

/// A default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppDefault {
    /// Which one.
    pub slot: DefaultSlot,
    /// Its connection.
    pub connection: ConnectionId,
    /// When it was chosen.
    pub set_at: Timestamp,
}

impl FromRow for AppDefault {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let unknown = |column: &str| DatabaseError::Malformed(format!("column {column} holds an unknown value"));
        let environment = row.text("environment")?;
        Ok(Self {
            slot: DefaultSlot {
                app: AppId::parse(&row.text("app")?).ok_or_else(|| unknown("app"))?,
                user: Some(row.text("user_id")?).filter(|user| !user.is_empty()),
                environment: match environment.as_str() {
                    "" => None,
                    text => Some(Environment::parse(text).ok_or_else(|| unknown("environment"))?),
                },
            },
            connection: row.id("connection_id")?,
            set_at: row.time("set_at")?,
        })
    }
}

/// A default with what a list shows of its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDefault {
    /// The default.
    pub default: AppDefault,
    /// Its connection's name.
    pub name: String,
    /// Its connection's status.
    pub status: ConnectionStatus,
    /// Its connection's environment.
    pub environment: Option<Environment>,
    /// The connection that answers for its connection, if another one does.
    pub replaced_by: Option<ConnectionId>,
}

impl FromRow for ListedDefault {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let unknown = || DatabaseError::Malformed("column status holds an unknown value".into());
        Ok(Self {
            default: AppDefault::from_row(row)?,
            name: row.text("connection_name")?,
            status: ConnectionStatus::parse(&row.text("connection_status")?).ok_or_else(unknown)?,
            environment: row.environment("connection_environment")?,
            replaced_by: row.optional_id("replaced_by")?,
        })
    }
}

/// Where a list goes on: whether behind the broken ones, and after which slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DefaultPosition(pub bool, pub String, pub String, pub String);

impl DefaultPosition {
    fn after(is_behind_broken: bool, of: &ListedDefault) -> Self {
        let slot = &of.default.slot;
        Self(
            is_behind_broken,
            slot.app.as_str().to_owned(),
            slot.user_text().to_owned(),
            slot.environment_text().to_owned(),
        )
    }
}

/// Defaults of a workspace whose connections need a person first, then the others, by app, user and environment.
pub async fn list(
    db: &impl Database,
    workspace: &WorkspaceId,
    app: Option<&AppId>,
    after: &DefaultPosition,
    limit: i64,
    most_broken: i64,
) -> StoreResult<Page<ListedDefault>> {
    let DefaultPosition(is_behind_broken, after_app, user, environment) = after;
    let (after_app, user, environment) = (after_app.as_str(), user.as_str(), environment.as_str());
    let mut found: Vec<(bool, ListedDefault)> = Vec::new();
    if !is_behind_broken {
        let broken = sql!(LIST_BROKEN, workspace, after_app, user, environment, limit + 1, app, most_broken);
        found.extend(query_all(db, broken).await?.into_iter().map(|one| (false, one)));
    }
    let (after_app, user, environment) = if *is_behind_broken { (after_app, user, environment) } else { ("", "", "") };
    let room = limit + 1 - i64::try_from(found.len()).unwrap_or(i64::MAX);
    if room > 0 {
        let others = sql!(LIST_OTHERS, workspace, after_app, user, environment, room, app);
        found.extend(query_all(db, others).await?.into_iter().map(|one| (true, one)));
    }
    let page = super::cut_page(found, limit, |(behind, one)| json_text(&DefaultPosition::after(*behind, one)));
    Ok(Page { data: page.data.into_iter().map(|(_, one)| one).collect(), next: page.next })
}

/// A default that ended or was replaced, and the workflows that used its connection by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplacedDefaults {
    /// The defaults as they were.
    pub defaults: Vec<AppDefault>,
    /// Those workflows, up to [`MOST_WORKFLOWS`].
    pub workflows: Vec<String>,
}

fn read_workflows(rows: &Rows) -> StoreResult<Vec<String>> {
    rows.rows.iter().map(|row| Columns(row).text("workflow")).collect()
}

/// What a slot has now, and the workflows that used it by default.
pub async fn get(
    db: &impl Database,
    workspace: &WorkspaceId,
    slot: &DefaultSlot,
) -> StoreResult<Option<(AppDefault, Vec<String>)>> {
    let find = sql!(GET, workspace, &slot.app, slot.user_text(), slot.environment_text());
    let workflows =
        sql!(WORKFLOWS_OF_SLOT, workspace, &slot.app, slot.user_text(), slot.environment_text(), MOST_WORKFLOWS);
    let answers = db.batch(vec![find, workflows]).await?;
    let [found, workflows] = answers.as_slice() else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    let Some(found) = read_first::<AppDefault>(found)? else { return Ok(None) };
    Ok(Some((found, read_workflows(workflows)?)))
}

/// The statement that makes a connection the default. It changes nothing if the connection does not fit any more.
pub fn put(workspace: &WorkspaceId, slot: &DefaultSlot, connection: &ConnectionId, now: Timestamp) -> Statement {
    sql!(PUT, workspace, &slot.app, slot.user_text(), slot.environment_text(), connection, now)
}

/// The statement that ends a default.
pub fn delete(workspace: &WorkspaceId, slot: &DefaultSlot) -> Statement {
    sql!(DELETE, workspace, &slot.app, slot.user_text(), slot.environment_text())
}

/// The statements that end the defaults of a connection, and name the workflows that used it by default before its uses
/// are erased. [`read_ended`] reads their answers.
pub fn end_of_connection(workspace: &WorkspaceId, id: &ConnectionId) -> [Statement; 2] {
    [sql!(END_OF_CONNECTION, workspace, id), sql!(WORKFLOWS, workspace, id, MOST_WORKFLOWS)]
}

/// The same for those that a change of the connection made unfit.
pub fn end_unfit(workspace: &WorkspaceId, id: &ConnectionId) -> [Statement; 2] {
    [sql!(END_UNFIT, workspace, id), sql!(WORKFLOWS, workspace, id, MOST_WORKFLOWS)]
}

/// What [`end_of_connection`] and [`end_unfit`] answer.
pub fn read_ended(answers: &[Rows]) -> StoreResult<ReplacedDefaults> {
    let [ended, workflows] = answers else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    let defaults = read_all::<AppDefault>(ended)?;
    let workflows = if defaults.is_empty() { vec![] } else { read_workflows(workflows)? };
    Ok(ReplacedDefaults { defaults, workflows })
}

/// The event that tells of a default that came by itself: its id, type, actor and detail.
#[derive(Debug)]
pub struct AdoptedEvent<'a> {
    /// Two ids, one for each default that may be made.
    pub ids: [EventId; 2],
    /// The stored type.
    pub event: &'static str,
    /// Who made the connection shared.
    pub actor: &'a Actor,
    /// What happened.
    pub detail: &'static str,
    /// Where the request came from.
    pub origin: &'a RequestOrigin,
}

/// The statements that make the first shared connection of an app the default, after one was stored or shared.
pub fn adopt_first(
    workspace: &WorkspaceId,
    app: &AppId,
    environment: Option<Environment>,
    event: AdoptedEvent<'_>,
    now: Timestamp,
) -> Vec<Statement> {
    let AdoptedEvent { ids: [first, second], event, actor, detail, origin } = event;
    let key = match actor {
        Actor::Key(id) => Some(id),
        _ => None,
    };
    let tell = |id: &EventId, environment: &'static str| {
        sql!(
            EVENT_OF_ADOPTED,
            workspace,
            app,
            now,
            environment,
            id,
            event,
            actor.to_string(),
            detail,
            key,
            origin.address.as_deref(),
            origin.user_agent.as_deref(),
            origin.request.as_deref()
        )
    };
    let mut statements = vec![sql!(ADOPT_FIRST, workspace, app, now), tell(&first, "")];
    if let Some(environment) = environment.map(Environment::as_str) {
        statements.push(sql!(ADOPT_FIRST_OF_ENVIRONMENT, workspace, app, now, environment));
        statements.push(tell(&second, environment));
    }
    statements
}

/// The statement that erases the defaults of ended connections.
pub(super) fn erase(ids: &str) -> Statement {
    sql!(ERASE, ids)
}
