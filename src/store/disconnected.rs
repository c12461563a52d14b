//! Rows of `connections` that were disconnected and may still be brought back.
//!
//! Owns what is kept for that: until when, when the next check was due, the defaults, and what answered for the connection. Such
//! a row is a disconnected one in every other way. Its credential is sealed under the generation before the disconnect. The
//! statements that take, end or bring one back exclude each other.

use serde::{Deserialize, Serialize};

use super::replacements::{self, Replacement};
use super::{Columns, FromRow, MUST_HAVE_CHANGED, StoreResult, json_text, query_first};
use crate::app::AppId;
use crate::connection::Connection;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;

/// Defaults of one connection that are kept, at most.
pub const MOST_KEPT_DEFAULTS: i64 = 200;
/// Rows that one statement ends the time of, at most.
const MOST_ENDED: i64 = 1_000;

const MARK: &str = "UPDATE connections SET deleted_at = ?3, undo_until = ?3, generation = generation + 1,
      undo_state = json_object('next_check_at', next_check_at,
        'defaults', json((SELECT json_group_array(json_array(user_id, environment, set_at)) FROM
          (SELECT user_id, environment, set_at FROM app_defaults WHERE connection_id = ?2 AND workspace_id = ?1 LIMIT ?4))),
        'replacement', json((SELECT json_object('replaced_by', r.replaced_by, 'across_environments', r.across_environments)
          FROM replacements r WHERE r.connection_id = ?2 AND r.workspace_id = ?1))), next_check_at = NULL
    WHERE workspace_id = ?1 AND id = ?2 AND deleted_at IS NULL RETURNING *";
const GET: &str = "SELECT * FROM connections WHERE workspace_id = ?1 AND id = ?2 AND undo_until IS NOT NULL";
/// Nothing comes back in a deleted workspace, nor what was made before all connections of its app were ended: the job may have
/// finished since.
const UNDO: &str =
    "UPDATE connections SET deleted_at = NULL, undo_until = NULL, undo_state = NULL, generation = generation + 1,
      sealed_credential = ?5, next_check_at = ?6
    WHERE workspace_id = ?1 AND id = ?2 AND generation = ?3 AND version = ?4 AND undo_until > ?7
      AND EXISTS (SELECT 1 FROM workspaces w WHERE w.id = ?1 AND w.deleted_at IS NULL)
      AND NOT EXISTS (SELECT 1 FROM disconnect_jobs j WHERE j.workspace_id = ?1 AND j.made_until >= connections.created_at
        AND j.app = connections.app AND (j.oauth_client = '' OR j.oauth_client = connections.oauth_client))";
/// A slot that has another connection by now keeps it. One whose connection is gone is free.
const RESTORE_DEFAULTS: &str =
    "INSERT INTO app_defaults (workspace_id, app, user_id, environment, connection_id, set_at)
    SELECT ?1, ?2, json_extract(j.value, '$[0]'), json_extract(j.value, '$[1]'), ?3, json_extract(j.value, '$[2]') FROM json_each(?4) j WHERE true
    ON CONFLICT (workspace_id, app, user_id, environment) DO UPDATE SET connection_id = excluded.connection_id, set_at = excluded.set_at
      WHERE NOT EXISTS (SELECT 1 FROM connections g WHERE g.id = app_defaults.connection_id AND g.deleted_at IS NULL)";
/// From then on it is one that was disconnected for good.
const END: &str = "UPDATE connections SET undo_until = NULL, undo_state = NULL, deleted_at = ?3
    WHERE workspace_id = ?1 AND id = ?2 AND undo_until IS NOT NULL RETURNING *";
macro_rules! end_many {
    ($condition:literal) => {
        concat!(
            "UPDATE connections SET undo_until = NULL, undo_state = NULL, deleted_at = min(deleted_at, ?2) WHERE id IN
    (SELECT id FROM connections WHERE workspace_id = ?1 AND undo_until IS NOT NULL",
            $condition,
            " LIMIT ?3)"
        )
    };
}
const END_OF_WORKSPACE: &str = end_many!("");
const END_OF_USER: &str = end_many!(" AND user_id = ?4");
const END_OF_APP: &str = end_many!(" AND app = ?4 AND (?5 = '' OR oauth_client = ?5)");
/// Among the last so many of the workspace.
const LIST: &str = "SELECT * FROM (SELECT id, app, name, account_label, undo_until, user_id, is_shared FROM connections
      WHERE workspace_id = ?1 AND undo_until > ?2 ORDER BY undo_until DESC LIMIT ?3) bounded
    WHERE ?4 IS NULL OR user_id = ?4 LIMIT ?5";
const MOST_EXAMINED: i64 = 200;

/// What an undo brings back beside the connection itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoState {
    /// When its next check was due, Unix seconds.
    pub next_check_at: Option<i64>,
    /// Its defaults: user, environment, and when each was set.
    pub defaults: Vec<(String, String, i64)>,
    /// What answered for it.
    replacement: Option<KeptReplacement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KeptReplacement {
    replaced_by: String,
    across_environments: i64,
}

impl UndoState {
    /// What answered for the connection.
    pub fn replacement(&self) -> Option<Replacement> {
        let kept = self.replacement.as_ref()?;
        let across_environments = kept.across_environments != 0;
        Some(Replacement { replaced_by: ConnectionId::parse(&kept.replaced_by)?, across_environments })
    }
}

/// A disconnected connection that may be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisconnectedForNow {
    /// The connection, with the generation of its disconnect.
    pub connection: Connection,
    /// Until when it may be brought back.
    pub undo_until: Timestamp,
    /// What comes back with it.
    pub state: UndoState,
}

impl FromRow for DisconnectedForNow {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            connection: Connection::from_row(row)?,
            undo_until: row.time("undo_until")?,
            state: row.optional_json("undo_state")?.unwrap_or_default(),
        })
    }
}

/// The statement that disconnects until it is undone, or its time is over. It returns the row. It comes before those that end
/// the defaults and the replacement of the connection.
pub(super) fn mark(workspace: &WorkspaceId, id: &ConnectionId, undo_until: Timestamp) -> Statement {
    sql!(MARK, workspace, id, undo_until, MOST_KEPT_DEFAULTS)
}

/// One that may be brought back, or could have been: nothing has ended it yet.
pub async fn get(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ConnectionId,
) -> StoreResult<Option<DisconnectedForNow>> {
    query_first(db, sql!(GET, workspace, id)).await
}

/// The credential of a connection that is brought back, and when it is checked next.
#[derive(Debug)]
pub struct RestoredCredential {
    /// Sealed under the new generation.
    pub sealed: Option<String>,
    /// When it is checked next.
    pub next_check_at: Option<Timestamp>,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// How many defaults.
    pub defaults: u64,
    /// Whether another connection answers for it again.
    pub is_replaced: bool,
}

/// The lines of the audit log about what comes back. Each is written only if that does.
#[derive(Debug)]
pub struct RestoredEvents {
    /// About the defaults.
    pub defaults: Statement,
    /// About the replacement, on both connections.
    pub replacement: Vec<Statement>,
    /// About the connection.
    pub undone: Statement,
}

/// Brings one back as it was read, in one transaction. `None`: it was changed or ended since, or may not come back.
pub async fn undo(
    db: &impl Database,
    read: &DisconnectedForNow,
    credential: &RestoredCredential,
    events: RestoredEvents,
    now: Timestamp,
) -> StoreResult<Option<Restored>> {
    let Connection { workspace, id, app, generation, version, .. } = &read.connection;
    let undo =
        sql!(UNDO, workspace, id, *generation, *version, credential.sealed.as_deref(), credential.next_check_at, now);
    let mut statements = vec![
        undo,
        sql!(MUST_HAVE_CHANGED),
        sql!(RESTORE_DEFAULTS, workspace, app, id, json_text(&read.state.defaults)),
        super::events::insert_if_changed(events.defaults),
    ];
    let at_replacement = statements.len();
    let replacement = read.state.replacement();
    if let Some(replacement) = &replacement {
        statements.push(replacements::put(workspace, id, replacement, now));
        statements.extend(events.replacement.into_iter().map(super::events::insert_if_changed));
    }
    statements.push(events.undone);
    let answers = match db.batch(statements).await {
        Ok(answers) => answers,
        Err(DatabaseError::Constraint) => return Ok(None),
        Err(error) => return Err(error),
    };
    let changes = |at: usize| answers.get(at).map_or(0, |rows| rows.changes);
    let is_replaced = replacement.is_some() && changes(at_replacement) > 0;
    Ok(Some(Restored { defaults: changes(2), is_replaced }))
}

/// Ends the time for an undo. Returns the row to the one caller who has ended it.
pub async fn end(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    now: Timestamp,
) -> StoreResult<Option<Connection>> {
    query_first(db, sql!(END, workspace, id, now)).await
}

/// The statement that ends the time of all of a workspace.
pub(super) fn end_of_workspace(workspace: &WorkspaceId, now: Timestamp) -> Statement {
    sql!(END_OF_WORKSPACE, workspace, now, MOST_ENDED)
}

/// The statement that ends the time of those of one person.
pub(super) fn end_of_user(workspace: &WorkspaceId, user: &str, now: Timestamp) -> Statement {
    sql!(END_OF_USER, workspace, now, MOST_ENDED, user)
}

/// The statement that ends the time of those of an app, or of one of its clients (an empty text: of all).
pub(super) fn end_of_app(workspace: &WorkspaceId, app: &AppId, client: &str, now: Timestamp) -> Statement {
    sql!(END_OF_APP, workspace, now, MOST_ENDED, app, client)
}

/// What a list shows of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDisconnected {
    /// Its id.
    pub id: ConnectionId,
    /// Its app.
    pub app: AppId,
    /// Its name.
    pub name: String,
    /// Its account's label.
    pub account_label: Option<String>,
    /// Until when it may be brought back.
    pub undo_until: Timestamp,
}

impl FromRow for ListedDisconnected {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            id: row.id("id")?,
            app: AppId::parse(&row.text("app")?).ok_or_else(|| DatabaseError::Malformed("an app's id".into()))?,
            name: row.text("name")?,
            account_label: row.optional_text("account_label")?,
            undo_until: row.time("undo_until")?,
        })
    }
}

/// Those of a workspace that may be brought back, the newest first; only those of one owner, if one is named.
pub fn select(workspace: &WorkspaceId, owner: Option<&str>, now: Timestamp, limit: i64) -> Statement {
    sql!(LIST, workspace, now, MOST_EXAMINED, owner, limit)
}

/// Reads them.
pub fn read(rows: &Rows) -> StoreResult<Vec<ListedDisconnected>> {
    rows.rows.iter().map(|row| ListedDisconnected::from_row(&Columns(row))).collect()
}
