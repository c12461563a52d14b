//! What a resolve reads that names an app instead of a connection, alone or in a batch: which connection it gets.
//!
//! Owns the order: the user's default, the workspace's, the only connection that the user sees. What the key must not see
//! does not exist here. One statement for all items, each found by primary keys and a bounded search of an index.

use serde::Serialize;

use super::ResolveData;
use crate::app::AppId;
use crate::caller::ApiKey;
use crate::connection::{ChosenBy, Connection};
use crate::environment::Environment;
use crate::ids::{ApiKeyId, ConnectionId};
use crate::ports::Database;
use crate::sql;
use crate::store::{Columns, StoreResult, json_text, query_all, run_statement};

/// The key, and what is asked for: `asked` has one row for each item, cut to what the key may see. An environment that is
/// not the key's is the empty one, which no connection has.
macro_rules! asked_items {
    () => {
        "WITH caller AS MATERIALIZED (SELECT * FROM api_keys WHERE id = CAST(?1 AS TEXT) AND revoked_at IS NULL),
    asked AS MATERIALIZED (SELECT j.key AS position, json_extract(j.value, '$.connection') AS connection,
      json_extract(j.value, '$.app') AS app, json_extract(j.value, '$.user') AS user,
      CASE WHEN caller.environment IS NULL THEN json_extract(j.value, '$.environment')
        WHEN coalesce(json_extract(j.value, '$.environment'), caller.environment) = caller.environment THEN caller.environment ELSE '' END AS environment,
      json_extract(j.value, '$.workflow') AS workflow, json_extract(j.value, '$.step') AS step
      FROM caller CROSS JOIN json_each(?2) j)"
    };
}

/// The user sees the connection `x`, and so does the key.
macro_rules! is_visible {
    () => {
        "x.workspace_id = caller.workspace_id AND x.app = asked.app AND x.deleted_at IS NULL
          AND (asked.environment IS NULL OR x.environment = asked.environment)
          AND (coalesce(x.is_shared, x.user_id IS NULL) OR x.user_id = asked.user)
          AND NOT EXISTS (SELECT 1 FROM denied_apps n WHERE n.workspace_id = x.workspace_id AND n.app = x.app
            AND n.oauth_client IN ('', x.oauth_client) AND n.made_until >= x.created_at)
          AND (caller.allowed_connections IS NULL OR x.id IN (SELECT value FROM json_each(caller.allowed_connections)))
          AND (caller.allowed_apps IS NULL OR x.app IN (SELECT value FROM json_each(caller.allowed_apps)))"
    };
}

/// Up to so many connections of the app that the user and the key see: the user's own, the shared ones, or those on the
/// key's list. Whose link is not confirmed yet does not count, and neither does what is denied: of the first two kinds 50 are
/// looked at, so that thousands of denied ones cost no more.
macro_rules! visible_ids {
    ($limit:literal, $environment:literal) => {
        concat!(
            "SELECT * FROM (SELECT bounded.id FROM (SELECT x.id, x.workspace_id, x.app, x.oauth_client, x.created_at FROM connections x
          WHERE caller.allowed_connections IS NULL AND x.workspace_id = caller.workspace_id
          AND x.app = asked.app AND x.user_id = asked.user AND x.deleted_at IS NULL AND ", $environment, "
          AND x.is_unconfirmed IS NULL AND x.status <> 'awaiting_confirmation'
          AND (caller.allowed_apps IS NULL OR x.app IN (SELECT value FROM json_each(caller.allowed_apps))) LIMIT 50) bounded
          WHERE ", is_not_denied!("bounded"), " LIMIT ", $limit, ")
        UNION SELECT * FROM (SELECT bounded.id FROM (SELECT x.id, x.workspace_id, x.app, x.oauth_client, x.created_at FROM connections x
          WHERE caller.allowed_connections IS NULL AND x.workspace_id = caller.workspace_id
          AND x.app = asked.app AND coalesce(x.is_shared, x.user_id IS NULL) AND x.deleted_at IS NULL AND ", $environment, "
          AND x.is_unconfirmed IS NULL AND x.status <> 'awaiting_confirmation'
          AND (caller.allowed_apps IS NULL OR x.app IN (SELECT value FROM json_each(caller.allowed_apps))) LIMIT 50) bounded
          WHERE ", is_not_denied!("bounded"), " LIMIT ", $limit, ")
        UNION SELECT * FROM (SELECT x.id FROM json_each(caller.allowed_connections) l CROSS JOIN connections x ON x.id = l.value
          WHERE ", is_visible!(), " AND x.status <> 'awaiting_confirmation' LIMIT ", $limit, ")"
        )
    };
}

/// The only connection of the app that the user and the key see, if there is one alone.
macro_rules! only_visible {
    () => {
        concat!(
            "CASE WHEN asked.environment IS NULL
        THEN (SELECT CASE WHEN count(*) = 1 THEN min(id) END FROM (",
            visible_ids!("2", "TRUE"),
            ")
        ) ELSE (SELECT CASE WHEN count(*) = 1 THEN min(id) END FROM (",
            visible_ids!("2", "x.environment = asked.environment"),
            ")) END"
        )
    };
}

const FOR_RESOLVE_ITEMS: &str = concat!(
    asked_items!(),
    ",
    picked AS MATERIALIZED (SELECT asked.*, (SELECT d.connection_id FROM app_defaults d CROSS JOIN connections x ON x.id = d.connection_id
        WHERE d.workspace_id = caller.workspace_id AND d.app = asked.app AND d.user_id IN ('', asked.user)
          AND d.environment IN ('', asked.environment) AND ",
    is_visible!(),
    "
        ORDER BY d.user_id = '', d.environment = '' LIMIT 1) AS default_id
      FROM caller CROSS JOIN asked),
    meant AS MATERIALIZED (SELECT asked.*, coalesce(asked.connection, asked.default_id, ",
    only_visible!(),
    ") AS target FROM caller CROSS JOIN picked asked)
    SELECT ",
    key_columns!("caller"),
    ", asked.position, asked.connection IS NULL AS is_by_app, asked.default_id, ",
    requested_columns!(),
    ", c.*,
      (SELECT definition FROM apps r WHERE r.workspace_id = c.workspace_id AND r.id = c.app AND r.revision = c.app_revision) AS definition,
      (SELECT last_used_at FROM uses u WHERE u.connection_id = asked.target AND u.workflow = coalesce(asked.workflow, '')
        AND u.step = coalesce(asked.step, '') AND u.workspace_id = c.workspace_id) AS step_used_at
    FROM caller CROSS JOIN meant asked
    LEFT JOIN replacements r ON r.connection_id = asked.target AND r.workspace_id = caller.workspace_id
    LEFT JOIN connections c ON c.id = coalesce(r.replaced_by, asked.target)
      AND c.workspace_id = caller.workspace_id AND c.deleted_at IS NULL
      AND (r.connection_id IS NULL OR asked.connection IS NOT NULL OR coalesce(c.is_shared, c.user_id IS NULL) OR c.user_id = asked.user) AND ",
    is_not_denied!("c"),
    "
    ORDER BY asked.position"
);
/// What an app without a default has instead, for the refusal.
macro_rules! candidates {
    ($environment:literal) => {
        concat!(
            asked_items!(),
            "
    SELECT c.* FROM caller CROSS JOIN asked CROSS JOIN connections c ON c.id IN (",
            visible_ids!("10", $environment),
            ") AND ",
            is_not_denied!("c"),
            " ORDER BY c.created_at, c.id LIMIT 10"
        )
    };
}
const CANDIDATES: &str = candidates!("asked.environment IS NULL");
const CANDIDATES_IN_ENVIRONMENT: &str = candidates!("x.environment = asked.environment");
const AMONG: &str = concat!(
    "SELECT * FROM connections WHERE id IN (SELECT value FROM json_each(?2)) AND +workspace_id = ?1 AND deleted_at IS NULL AND ",
    is_not_denied!("connections")
);

/// What one item asks for. Members without a value are left out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AskedItem {
    /// This connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionId>,
    /// One of this app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// For this user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// In this environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The caller's workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Its step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// What a resolve of several items reads: the key, and for each item its connection, if there is one. A row that can't
/// be read fails alone.
#[derive(Debug)]
pub struct ResolveItems {
    /// The key.
    pub key: ApiKey,
    /// The items, in order.
    pub items: Vec<StoreResult<ResolveData>>,
}

/// Everything that a resolve of these items needs, in one round trip. None: there is no such key.
pub async fn load_for_resolve_items(
    db: &impl Database,
    key: &ApiKeyId,
    items: &[AskedItem],
) -> StoreResult<Option<ResolveItems>> {
    let rows = run_statement(db, sql!(FOR_RESOLVE_ITEMS, key, json_text(items))).await?;
    let Some(first) = rows.rows.first().map(Columns) else { return Ok(None) };
    let key = super::super::keys::read_key(&first)?;
    let items = rows.rows.iter().map(|row| read_item(&key, &Columns(row))).collect();
    Ok(Some(ResolveItems { key, items }))
}

fn read_item(key: &ApiKey, row: &Columns<'_>) -> StoreResult<ResolveData> {
    let key = Some(key.clone());
    let Some((connection, requested)) = super::read_answering(row)? else {
        return Ok(ResolveData { key, ..ResolveData::default() });
    };
    let chosen_by = match (row.boolean("is_by_app")?, row.optional_text("default_id")?) {
        (false, _) => ChosenBy::Id,
        (true, Some(_)) => ChosenBy::Default,
        (true, None) => ChosenBy::Only,
    };
    Ok(ResolveData {
        key,
        connection: Some(connection),
        requested,
        definition: row.optional_text("definition")?,
        used_at: row.optional_time("step_used_at")?,
        chosen_by,
    })
}

/// The first connections that an item could mean, the oldest first.
pub async fn list_candidates(db: &impl Database, key: &ApiKey, item: &AskedItem) -> StoreResult<Vec<Connection>> {
    let any = item.environment.or(key.environment).is_none();
    let statement = if any { CANDIDATES } else { CANDIDATES_IN_ENVIRONMENT };
    query_all(db, sql!(statement, &key.id, json_text(std::slice::from_ref(item)))).await
}

/// These connections of a workspace, in one round trip.
pub async fn list_among(
    db: &impl Database,
    workspace: &crate::ids::WorkspaceId,
    ids: &[&ConnectionId],
) -> StoreResult<Vec<Connection>> {
    query_all(db, sql!(AMONG, workspace, json_text(ids))).await
}
