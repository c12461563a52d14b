//! Rows of `keys`, and what ends with a key.

use super::{
    Columns, FromRow, Page, StoreResult, cut_page, json_text, query_first, read_all, read_count, run_statement,
};
use crate::caller::{ApiKey, CreatorKey, KeyScope, PreviousSecret};
use crate::environment::Environment;
use crate::ids::{ApiKeyId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;

/// A key that is being revoked creates nothing.
const INSERT: &str =
    "INSERT INTO api_keys (id, workspace_id, name, secret_hash, scopes, allowed_connections, allowed_apps, expires_at, created_at, created_by_key, environment)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
    WHERE ?10 IS NULL OR EXISTS (SELECT 1 FROM api_keys WHERE id = ?10 AND revoked_at IS NULL)";
const SELECT: &str = concat!("SELECT ", key_columns!("k"), " FROM api_keys k WHERE id = ?1 AND revoked_at IS NULL");
const LIST: &str = concat!(
    "SELECT ",
    key_columns!("k"),
    " FROM api_keys k WHERE workspace_id = ?1 AND id > ?2 AND revoked_at IS NULL AND (?4 IS NULL OR created_by_key = ?4)
    ORDER BY id LIMIT ?3"
);
const REVOKE: &str =
    "UPDATE api_keys SET revoked_at = ?3, is_ending = ?4 WHERE workspace_id = ?1 AND id = ?2 AND revoked_at IS NULL";
/// The row of one whose things still end says so.
const ERASE: &str = "DELETE FROM api_keys WHERE id = ?1 AND revoked_at IS NOT NULL AND is_ending IS NULL";
/// Of two concurrent rotations one changes the row. Otherwise the other would remove the first one's new secret.
const ROTATE: &str = "UPDATE api_keys SET secret_hash = ?4, previous_secret_hash = CASE WHEN ?5 > ?6 THEN ?3 END,
      previous_secret_expires_at = CASE WHEN ?5 > ?6 THEN ?5 END
    WHERE workspace_id = ?1 AND id = ?2 AND secret_hash = ?3 AND revoked_at IS NULL";

/// Keys that a revoked key made, as its answer names them, at most.
const MAX_MADE_KEYS: i64 = 200;
const MADE_KEYS: &str = "SELECT id FROM api_keys WHERE workspace_id = ?1 AND created_by_key = ?2 AND revoked_at IS NULL ORDER BY id LIMIT ?3";
/// Things of one kind that end with the answer of a revocation, and with each scheduled run after it.
const ENDED_AT_ONCE: i64 = 500;
/// Things of one kind that the answer counts, at most.
const MAX_COUNTED: i64 = 10_000;
const COUNT_LINKS: &str = "SELECT count(*) AS n FROM (SELECT status, expires_at FROM connect_links WHERE +workspace_id = ?1 AND created_by_key = ?2
    AND status IN ('open', 'awaiting_confirmation') LIMIT ?4) WHERE status = 'awaiting_confirmation' OR expires_at > ?3";
const COUNT_SIGN_IN_LINKS: &str =
    "SELECT count(*) AS n FROM (SELECT used_at, expires_at FROM sign_in_links WHERE +workspace_id = ?1 AND created_by_key = ?2
    LIMIT ?4) WHERE used_at IS NULL AND expires_at > ?3";
const COUNT_SESSIONS: &str =
    "SELECT count(*) AS n FROM (SELECT expires_at FROM sessions WHERE +workspace_id = ?1 AND created_by_key = ?2
    LIMIT ?4) WHERE expires_at > ?3";
/// The key `?1`, or one whose things still end.
macro_rules! ending_key {
    () => {
        "coalesce(?1, (SELECT id FROM api_keys WHERE is_ending = 1 LIMIT 1))"
    };
}
/// The next links that can still be used or confirmed: the same in all statements of a step.
macro_rules! next_links {
    ($columns:literal) => {
        concat!(
            "(SELECT ",
            $columns,
            " FROM connect_links WHERE created_by_key = ",
            ending_key!(),
            " AND status IN ('open', 'awaiting_confirmation') LIMIT ?3)"
        )
    };
}
macro_rules! next_sessions {
    () => {
        concat!("(SELECT token_hash FROM sessions WHERE created_by_key = ", ending_key!(), " LIMIT ?3)")
    };
}
/// One step. Pending grants have no owner from now on: the scheduled run revokes them at the app. The plus keeps `SQLite`
/// from reading all unconfirmed connections.
const END: [&str; 6] = [
    end_flows!("?2", concat!("session_hash IN ", next_sessions!())),
    concat!(
        "UPDATE flows SET expires_at = ?2 WHERE expires_at > ?2 AND id IN (SELECT flow_id FROM ",
        next_links!("flow_id, status"),
        " WHERE status = 'awaiting_confirmation')"
    ),
    concat!(
        "UPDATE connections SET deleted_at = ?2, generation = generation + 1, next_check_at = NULL
    WHERE +status = 'awaiting_confirmation' AND deleted_at IS NULL AND id IN (SELECT result_connection_id FROM ",
        next_links!("result_connection_id, flow_id, status"),
        " WHERE status = 'awaiting_confirmation' AND flow_id IS NULL)"
    ),
    concat!("UPDATE connect_links SET status = 'ended', used_at = ?2 WHERE id IN ", next_links!("id")),
    concat!(
        "DELETE FROM sign_in_links WHERE token_hash IN (SELECT token_hash FROM sign_in_links WHERE created_by_key = ",
        ending_key!(),
        " LIMIT ?3)"
    ),
    concat!("DELETE FROM sessions WHERE token_hash IN ", next_sessions!()),
];
/// Nothing is left of what it made.
const END_DONE: &str = concat!(
    "UPDATE api_keys SET is_ending = NULL WHERE is_ending = 1 AND id = ",
    ending_key!(),
    " AND NOT EXISTS (SELECT 1 FROM connect_links l WHERE l.created_by_key = api_keys.id AND l.status IN ('open', 'awaiting_confirmation'))
      AND NOT EXISTS (SELECT 1 FROM sign_in_links s WHERE s.created_by_key = api_keys.id)
      AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.created_by_key = api_keys.id)"
);

impl FromRow for ApiKey {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        read_key(row)
    }
}

/// Reads what `key_columns!` selects: their names are their own, whatever else is in the row.
pub(super) fn read_key(row: &Columns<'_>) -> StoreResult<ApiKey> {
    Ok(ApiKey {
        id: row.id("key_id")?,
        workspace: row.id("key_workspace_id")?,
        name: row.text("key_name")?,
        hash: row.text("secret_hash")?,
        scopes: KeyScope::parse_stored(&row.json::<Vec<String>>("scopes")?),
        connections: row.optional_json("allowed_connections")?,
        apps: row.optional_json("allowed_apps")?,
        environment: row.environment("key_environment")?,
        expires_at: row.optional_time("key_expires_at")?,
        created_at: row.optional_time("key_created_at")?,
        made_by: row.optional_id("created_by_key")?,
        previous: row
            .optional_text("previous_secret_hash")?
            .zip(row.optional_time("previous_secret_expires_at")?)
            .map(|(hash, until)| PreviousSecret { hash, until }),
    })
}

/// The key that created a row, as links and sign-in links store it.
pub(super) fn read_creator_key(row: &Columns<'_>) -> StoreResult<Option<CreatorKey>> {
    let expires_at = row.optional_time("key_expires_at")?;
    Ok(row.optional_id("created_by_key")?.map(|key| CreatorKey { key, expires_at }))
}

/// The statement that inserts a key. It changes nothing if the key that creates it is revoked.
pub fn insert(key: &ApiKey) -> Statement {
    sql!(
        INSERT,
        &key.id,
        &key.workspace,
        key.name.as_str(),
        key.hash.as_str(),
        json_text(&key.scopes),
        key.connections.as_ref().map(json_text),
        key.apps.as_ref().map(json_text),
        key.expires_at,
        key.created_at,
        key.made_by.as_ref(),
        key.environment.map(Environment::as_str)
    )
}

/// Inserts a key. Returns whether the key that creates it is still valid.
pub async fn add(db: &impl Database, key: &ApiKey) -> StoreResult<bool> {
    Ok(run_statement(db, insert(key)).await?.changes > 0)
}

/// A key that was not revoked.
pub async fn get(db: &impl Database, id: &ApiKeyId) -> StoreResult<Option<ApiKey>> {
    query_first(db, sql!(SELECT, id)).await
}

/// A workspace's keys, after a cursor, optionally of one creator.
pub async fn list(
    db: &impl Database,
    workspace: &WorkspaceId,
    made_by: Option<&ApiKeyId>,
    after: &str,
    limit: i64,
) -> StoreResult<Page<ApiKey>> {
    read_list(&run_statement(db, select_list(workspace, made_by, after, limit)).await?, limit)
}

/// The statement of [`list`], for who asks for more in the same round trip.
pub fn select_list(workspace: &WorkspaceId, made_by: Option<&ApiKeyId>, after: &str, limit: i64) -> Statement {
    sql!(LIST, workspace, after, limit + 1, made_by)
}

/// Reads its answer.
pub fn read_list(answer: &Rows, limit: i64) -> StoreResult<Page<ApiKey>> {
    Ok(cut_page(read_all(answer)?, limit, |key: &ApiKey| key.id.as_str().to_owned()))
}

/// What ended with a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "EndedWithKey"))]
pub struct EndedWithKey {
    /// Links that could still be used or confirmed. 10,000 means that many or more.
    pub links: i64,
    /// Sign-in links that could still be used. 10,000 means that many or more.
    pub sign_in_links: i64,
    /// Sessions that were opened through either. 10,000 means that many or more.
    pub sessions: i64,
}

/// What a key made and could still be used.
pub async fn count_made_items(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ApiKeyId,
    now: Timestamp,
) -> StoreResult<EndedWithKey> {
    let counts = [COUNT_LINKS, COUNT_SIGN_IN_LINKS, COUNT_SESSIONS];
    let answers = db.batch(counts.map(|sql| sql!(sql, workspace, id, now, MAX_COUNTED)).into()).await?;
    let count = |at: usize| answers.get(at).map_or(Ok(0), read_count);
    Ok(EndedWithKey { links: count(0)?, sign_in_links: count(1)?, sessions: count(2)? })
}

/// A key that was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedKey {
    /// What ended with it.
    pub ended: EndedWithKey,
    /// Valid keys that it created.
    pub made_keys: Vec<ApiKeyId>,
}

/// The statements that end the next things that a revoked key made: of this key, or of one that has some left.
pub fn end_made(by: Option<&ApiKeyId>, now: Timestamp) -> impl Iterator<Item = Statement> {
    END.into_iter().map(move |sql| sql!(sql, by, now, ENDED_AT_ONCE)).chain([sql!(END_DONE, by)])
}

/// Revokes a key and, with `end`, ends what it created, in one transaction, together with the record that its cache
/// entry must be deleted. Of much that it created the first things end now and the others in scheduled runs; until then
/// nothing works that says that the key made it. None: there is no such key.
pub async fn revoke(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &ApiKeyId,
    end: bool,
    note: Option<Statement>,
    now: Timestamp,
) -> StoreResult<Option<RevokedKey>> {
    let noted = usize::from(note.is_some());
    let mut statements = vec![sql!(REVOKE, workspace, id, now, end.then_some(1_i64))];
    statements.extend(note);
    statements.push(sql!(MADE_KEYS, workspace, id, MAX_MADE_KEYS));
    if end {
        let counts = [COUNT_LINKS, COUNT_SIGN_IN_LINKS, COUNT_SESSIONS];
        statements.extend(counts.map(|sql| sql!(sql, workspace, id, now, MAX_COUNTED)));
        statements.extend(end_made(Some(id), now));
    }
    let answers = db.batch(statements).await?;
    let too_little = || DatabaseError::Unavailable("a batch answered too little".into());
    let revoked = answers.first().ok_or_else(too_little)?;
    let [keys, rest @ ..] = answers.get(1 + noted..).unwrap_or_default() else { return Err(too_little()) };
    if revoked.changes == 0 {
        return Ok(None);
    }
    let count = |at: usize| rest.get(at).map_or(Ok(0), read_count);
    Ok(Some(RevokedKey {
        ended: EndedWithKey { links: count(0)?, sign_in_links: count(1)?, sessions: count(2)? },
        made_keys: keys.rows.iter().map(|row| Columns(row).id("id")).collect::<StoreResult<_>>()?,
    }))
}

/// The statement that erases a revoked key.
pub fn erase(id: &ApiKeyId) -> Statement {
    sql!(ERASE, id)
}

/// Gives a key another secret. The previous one is accepted until `until`. Returns whether the key was unchanged since
/// it was read.
pub async fn rotate(
    db: &impl Database,
    key: &ApiKey,
    hash: &str,
    until: Timestamp,
    note: Option<Statement>,
    now: Timestamp,
) -> StoreResult<bool> {
    let statement = sql!(ROTATE, &key.workspace, &key.id, key.hash.as_str(), hash, until, now);
    let answers = db.batch([statement].into_iter().chain(note).collect()).await?;
    Ok(answers.first().is_some_and(|rows| rows.changes > 0))
}
