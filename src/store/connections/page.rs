//! What the page of a connection shows, in one round trip.
//!
//! Owns the statements that find by a connection's id what belongs to it: its app, its uses, its history with the names of who is
//! in it, its defaults. Each is bounded, and none reads more in a workspace with many connections.

use super::listed::{self, ListedConnection};
use crate::environment::Environment;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Database, DatabaseError};
use crate::sql;
use crate::store::apps::AppRow;
use crate::store::events::Event;
use crate::store::uses::Use;
use crate::store::{Columns, FromRow, StoreResult, read_all, read_count, read_first};
use crate::time::Timestamp;

const CURRENT_APP: &str =
    "SELECT a.* FROM connections c CROSS JOIN apps a ON a.workspace_id = c.workspace_id AND a.id = c.app AND a.is_current = 1
    WHERE c.id = ?2 AND c.workspace_id = ?1";
const DEFINITION: &str =
    "SELECT a.definition FROM connections c CROSS JOIN apps a ON a.workspace_id = c.workspace_id AND a.id = c.app AND a.revision = c.app_revision
    WHERE c.id = ?2 AND c.workspace_id = ?1";
/// A connection has a bounded number of uses, so that the last ones are found by looking at all.
const LAST_USES: &str = "SELECT * FROM uses WHERE workspace_id = ?1 AND connection_id = ?2
    ORDER BY last_used_at DESC, workflow, step LIMIT ?3";
/// A revoked key has no name any more; a person has one if they have told it.
const HISTORY: &str = "SELECT e.*, (SELECT k.name FROM api_keys k WHERE k.id = substr(e.actor, 5) AND k.workspace_id = e.workspace_id AND k.revoked_at IS NULL) AS key_name,
      (SELECT p.name FROM people p WHERE p.workspace_id = e.workspace_id AND p.user_id = substr(e.actor, 6)) AS person_name
    FROM events e WHERE e.workspace_id = ?1 AND e.connection_id = ?2 ORDER BY e.occurred_at DESC, e.seq DESC LIMIT ?3";
const DEFAULTS: &str = "SELECT user_id, environment FROM app_defaults WHERE connection_id = ?2 AND workspace_id = ?1
    ORDER BY user_id, environment LIMIT ?3";
/// Of its account, for its client.
const GRANTS: &str = "SELECT coalesce(sum(generation), 0) AS n FROM (SELECT d.generation FROM connections c
      CROSS JOIN connections d ON d.oauth_client = c.oauth_client AND d.account_id = c.account_id AND +d.workspace_id = c.workspace_id AND d.deleted_at IS NULL
    WHERE c.id = ?2 AND c.workspace_id = ?1 LIMIT ?3)";

/// Defaults that are shown of a connection, at most. The first ones are those of the workspace.
const MOST_DEFAULTS_SHOWN: i64 = 20;
/// Grants of one account that are counted, at most. More than any app's limit.
const MAX_GRANTS_COUNTED: i64 = 500;

/// How much of it is read.
#[derive(Debug, Clone, Copy)]
pub struct PageLimits {
    /// The last uses.
    pub uses: i64,
    /// The last events.
    pub events: i64,
}

/// A line of a connection's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEvent {
    /// What happened.
    pub event: Event,
    /// The name of the key that did it, if it is not revoked.
    pub key_name: Option<String>,
    /// The name of the person who did it, if it is known.
    pub person_name: Option<String>,
}

impl FromRow for NamedEvent {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            event: Event::from_row(row)?,
            key_name: row.optional_text("key_name")?,
            person_name: row.optional_text("person_name")?,
        })
    }
}

/// A default of a connection: for whom, and for which environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultOf {
    /// The user. None: the workspace.
    pub user: Option<String>,
    /// The environment. None: any.
    pub environment: Option<Environment>,
}

impl FromRow for DefaultOf {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            user: Some(row.text("user_id")?).filter(|user| !user.is_empty()),
            environment: Environment::parse(&row.text("environment")?),
        })
    }
}

/// All that the page of a connection shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionPage {
    /// The connection.
    pub listed: ListedConnection,
    /// The custom app of its app's id, if the workspace has one now.
    pub current_app: Option<AppRow>,
    /// The definition of the custom app that it was made with. `None` for an app of the catalogue.
    pub definition: Option<String>,
    /// The last steps that used it.
    pub uses: Vec<Use>,
    /// What happened to it, newest first.
    pub events: Vec<NamedEvent>,
    /// What it is the default of.
    pub defaults: Vec<DefaultOf>,
    /// Grants of its account for its client, as far as this workspace knows.
    pub grants: i64,
}

/// Reads it.
pub async fn load_page(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    limits: PageLimits,
    now: Timestamp,
) -> StoreResult<Option<ConnectionPage>> {
    let statements = vec![
        listed::find_statement(workspace, id, now),
        sql!(CURRENT_APP, workspace, id),
        sql!(DEFINITION, workspace, id),
        sql!(LAST_USES, workspace, id, limits.uses),
        sql!(HISTORY, workspace, id, limits.events),
        sql!(DEFAULTS, workspace, id, MOST_DEFAULTS_SHOWN),
        sql!(GRANTS, workspace, id, MAX_GRANTS_COUNTED),
    ];
    let answers = db.batch(statements).await?;
    let [found, current_app, definition, uses, events, defaults, grants] = answers.as_slice() else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    let Some(listed) = listed::read_found(found)? else { return Ok(None) };
    Ok(Some(ConnectionPage {
        listed,
        current_app: read_first(current_app)?,
        definition: definition.rows.first().map(|row| Columns(row).text("definition")).transpose()?,
        uses: read_all(uses)?,
        events: read_all(events)?,
        defaults: read_all(defaults)?,
        grants: read_count(grants)?,
    }))
}
