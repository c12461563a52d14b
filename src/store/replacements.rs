//! Rows of `replacements`: which connection answers for which other one.
//!
//! Owns what fits: two live connections of one workspace and app, no chains, the one that answers visible to everybody
//! who sees the other one, and the same environment, unless somebody has said that it may differ. The statements say so
//! themselves, because both connections may change at the same moment.

use super::{Columns, FromRow, StoreResult, json_text, query_first, run_count};
use crate::audit::Actor;
use crate::connection::Connection;
use crate::environment::Environment;
use crate::ids::{ConnectionId, EventId, Shard, WorkspaceId};
use crate::ports::{Database, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;
use crate::workspace::User;

/// Whether the connection `b` may answer for `a`. The second form is the condition on their environments.
macro_rules! fits {
    ($across:literal) => {
        concat!(
            "(coalesce(b.is_shared, b.user_id IS NULL) OR NOT coalesce(a.is_shared, a.user_id IS NULL) AND b.user_id IS a.user_id)
      AND (", $across, " OR b.environment IS a.environment)"
        )
    };
}

/// Only if both fit at this moment. One that answers for others can't be replaced itself, and the other way round.
const PUT: &str = concat!(
    "INSERT INTO replacements (connection_id, workspace_id, replaced_by, across_environments, created_at)
    SELECT a.id, a.workspace_id, b.id, ?4, ?5 FROM connections a CROSS JOIN connections b ON b.id = ?3 AND b.workspace_id = a.workspace_id AND b.app = a.app
    WHERE a.id = ?2 AND a.workspace_id = ?1 AND a.id <> b.id AND a.deleted_at IS NULL AND b.deleted_at IS NULL AND ",
    fits!("?4"),
    " AND ",
    is_not_denied!("a"),
    " AND ",
    is_not_denied!("b"),
    "
      AND NOT EXISTS (SELECT 1 FROM replacements r WHERE r.connection_id = b.id)
      AND NOT EXISTS (SELECT 1 FROM replacements r CROSS JOIN connections o ON o.id = r.connection_id AND o.deleted_at IS NULL WHERE r.replaced_by = a.id)
    ON CONFLICT (connection_id) DO UPDATE SET replaced_by = excluded.replaced_by, across_environments = excluded.across_environments, created_at = excluded.created_at"
);
const DELETE: &str = "DELETE FROM replacements WHERE workspace_id = ?1 AND connection_id = ?2";
/// The same, because the connection ends.
const END_OF_CONNECTION: &str =
    "DELETE FROM replacements WHERE workspace_id = ?1 AND connection_id = ?2 RETURNING replaced_by";
const GET: &str =
    "SELECT replaced_by, across_environments FROM replacements WHERE workspace_id = ?1 AND connection_id = ?2";
/// The connections that this one answers for. One that has ended no longer counts, and neither does one that is denied:
/// nobody could undo its replacement.
macro_rules! replaced_by {
    ($id:literal) => {
        concat!(
            "replacements r CROSS JOIN connections a ON a.id = r.connection_id AND a.deleted_at IS NULL AND ",
            is_not_denied!("a"),
            " WHERE r.replaced_by = ",
            $id
        )
    };
}
const COUNT_REPLACED: &str = concat!("SELECT count(*) AS n FROM (SELECT 1 FROM ", replaced_by!("?1"), " LIMIT ?2)");
/// Fails, and the whole batch with it, if the connection answers for another one.
const FAIL_IF_ANSWERING: &str =
    concat!("INSERT INTO scheduled_runs (name) SELECT NULL WHERE EXISTS (SELECT 1 FROM ", replaced_by!("?1"), ")");
/// The same if a change of a connection has made a replacement unfit.
const FAIL_IF_UNFIT: &str = concat!(
    "INSERT INTO scheduled_runs (name) SELECT NULL WHERE EXISTS (SELECT 1 FROM replacements r
      CROSS JOIN connections a ON a.id = r.connection_id AND a.deleted_at IS NULL CROSS JOIN connections b ON b.id = r.replaced_by
      WHERE r.connection_id = ?1 AND NOT (",
    fits!("r.across_environments"),
    ")) OR EXISTS (SELECT 1 FROM replacements r
      CROSS JOIN connections a ON a.id = r.connection_id AND a.deleted_at IS NULL CROSS JOIN connections b ON b.id = r.replaced_by
      WHERE r.replaced_by = ?1 AND NOT (",
    fits!("r.across_environments"),
    "))"
);
const IS_INVOLVED: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM replacements WHERE connection_id = ?1) OR EXISTS (SELECT 1 FROM ",
    replaced_by!("?1"),
    ") AS n"
);
/// The connection, unless another one answers for it.
const GET_UNREPLACED: &str = concat!(
    "SELECT * FROM connections c WHERE c.workspace_id = ?1 AND c.id = ?2 AND c.deleted_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM replacements r WHERE r.connection_id = c.id) AND ",
    is_not_denied!("c")
);
const ERASE: &str = "DELETE FROM replacements WHERE connection_id IN (SELECT value FROM json_each(?1))";
const ERASE_ANSWERING: &str = "DELETE FROM replacements WHERE replaced_by IN (SELECT value FROM json_each(?1))
      AND NOT EXISTS (SELECT 1 FROM connections c WHERE c.id = replacements.replaced_by AND c.deleted_at IS NULL)";

/// Each replacement that ends because one of its two connections is being erased has a line about the other one, which goes
/// on. Before the statements that erase. `?3` is the beginning of the lines' ids.
macro_rules! tell_of_ended {
    ($ended:literal, $other:literal, $what:literal) => {
        concat!(
            "INSERT INTO events (workspace_id, connection_id, occurred_at, id, type, actor, detail, app, connection_name, target)
    SELECT o.workspace_id, o.id, ?2, ?3 || lower(hex(randomblob(11))), ?4, ?5, r.", $ended, " || ", $what, ", o.app, o.name, r.", $ended, "
    FROM json_each(?1) j CROSS JOIN replacements r ON r.", $ended, " = j.value CROSS JOIN connections o ON o.id = r.", $other, " AND o.deleted_at IS NULL
    WHERE NOT EXISTS (SELECT 1 FROM connections c WHERE c.id = j.value AND c.deleted_at IS NULL)
      AND NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = o.workspace_id AND w.deleted_at IS NOT NULL) AND ",
            is_not_denied!("o")
        )
    };
}
const TELL_REPLACED: &str = tell_of_ended!("replaced_by", "connection_id", "' has ended'");
const TELL_ANSWERING: &str = tell_of_ended!("connection_id", "replaced_by", "' was disconnected'");

/// Connections that one answers for, at most.
pub const MOST_REPLACED: i64 = 100;

/// Another connection of the same app that a connection is shown together with, and what decides who sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct RelatedConnection {
    /// Its id.
    pub id: ConnectionId,
    /// Its name.
    pub name: String,
    /// Its environment.
    pub environment: Option<Environment>,
    /// The id of its owner.
    #[serde(rename = "user")]
    owner: Option<String>,
    /// 1: everybody of the workspace sees it.
    shared: i64,
}

impl RelatedConnection {
    /// Its owner.
    pub fn owner(&self) -> Option<User> {
        self.owner.clone().map(|id| User { id, name: None })
    }

    /// Whether everybody of the workspace sees it.
    pub fn is_shared(&self) -> bool {
        self.shared != 0
    }
}

/// A replacement, without the connection that is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The connection that answers.
    pub replaced_by: ConnectionId,
    /// Whether their environments may differ.
    pub across_environments: bool,
}

impl FromRow for Replacement {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self { replaced_by: row.id("replaced_by")?, across_environments: row.boolean("across_environments")? })
    }
}

/// What answers for a connection, if another one does.
pub async fn get(db: &impl Database, workspace: &WorkspaceId, id: &ConnectionId) -> StoreResult<Option<Replacement>> {
    query_first(db, sql!(GET, workspace, id)).await
}

/// The statement by which one connection answers for another. It changes nothing if the two do not fit any more.
pub fn put(workspace: &WorkspaceId, id: &ConnectionId, of: &Replacement, now: Timestamp) -> Statement {
    sql!(PUT, workspace, id, &of.replaced_by, of.across_environments, now)
}

/// The statement by which a connection answers for itself again.
pub fn delete(workspace: &WorkspaceId, id: &ConnectionId) -> Statement {
    sql!(DELETE, workspace, id)
}

/// The statement that ends the replacement of a connection that ends. [`read_ended`] reads its answer.
pub fn end_of_connection(workspace: &WorkspaceId, id: &ConnectionId) -> Statement {
    sql!(END_OF_CONNECTION, workspace, id)
}

/// The connection that answered, if another one did.
pub fn read_ended(rows: &Rows) -> StoreResult<Option<ConnectionId>> {
    rows.rows.first().map(|row| Columns(row).id("replaced_by")).transpose()
}

/// How many connections one answers for, up to one more than [`MOST_REPLACED`].
pub async fn count_replaced(db: &impl Database, id: &ConnectionId) -> StoreResult<i64> {
    run_count(db, sql!(COUNT_REPLACED, id, MOST_REPLACED + 1)).await
}

/// The statement that fails if a connection answers for another one.
pub fn fail_if_answering(id: &ConnectionId) -> Statement {
    sql!(FAIL_IF_ANSWERING, id)
}

/// The statement that fails if a replacement that a connection is part of does not fit any more.
pub fn fail_if_unfit(id: &ConnectionId) -> Statement {
    sql!(FAIL_IF_UNFIT, id)
}

/// Whether a connection is replaced or answers for another one.
pub async fn is_involved(db: &impl Database, id: &ConnectionId) -> StoreResult<bool> {
    Ok(run_count(db, sql!(IS_INVOLVED, id)).await? > 0)
}

/// A connection that answers for itself.
pub async fn get_unreplaced(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ConnectionId,
) -> StoreResult<Option<Connection>> {
    query_first(db, sql!(GET_UNREPLACED, workspace, id)).await
}

/// The statements that write a line for each replacement that ends with these connections, about the connection that goes
/// on. They come before the connections are erased.
pub fn tell_of_erased(
    ids: &[&ConnectionId],
    event: &str,
    actor: &Actor,
    shard: Shard,
    now: Timestamp,
) -> [Statement; 2] {
    let (ids, begin, actor) = (json_text(ids), EventId::begin(shard), actor.to_string());
    [TELL_REPLACED, TELL_ANSWERING].map(|sql| sql!(sql, ids.as_str(), now, begin.as_str(), event, actor.as_str()))
}

/// The statements that erase the replacements of ended connections.
pub(super) fn erase(ids: &str) -> [Statement; 2] {
    [sql!(ERASE, ids), sql!(ERASE_ANSWERING, ids)]
}
