//! Rows of `subscriptions` whose channel is `webhook`: the addresses that are told of events.

use super::{Columns, FromRow, Page, StoreResult, cut_page, json_text, query_all, query_first, read_all};
use crate::ids::{WebhookId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Statement};
use crate::sql;
use crate::time::Timestamp;
use crate::webhook::{DisabledReason, Webhook, WebhookEventType};

const INSERT: &str =
    "INSERT INTO subscriptions (id, workspace_id, channel, url, types, created_at, updated_at, sealed_secret)
    VALUES (?1, ?2, 'webhook', ?3, ?4, ?5, ?5, ?6)";
const GET: &str = "SELECT * FROM subscriptions WHERE id = ?2 AND workspace_id = ?1 AND channel = 'webhook'";
const LIST: &str =
    "SELECT * FROM subscriptions WHERE workspace_id = ?1 AND id > ?2 AND channel = 'webhook' ORDER BY id LIMIT ?3";
/// Switched on again it begins without failures, and what waits is due.
const UPDATE: &str = "UPDATE subscriptions SET url = ?3, types = ?4, updated_at = ?5, disabled_at = ?6, disabled_reason = ?7,
      failures = CASE WHEN ?8 THEN 0 ELSE failures END, failing_since = CASE WHEN ?8 THEN NULL ELSE failing_since END,
      paused_until = CASE WHEN ?8 THEN 0 ELSE paused_until END,
      due_at = CASE WHEN ?6 IS NULL THEN (SELECT min(next_attempt_at) FROM deliveries WHERE subscription_id = ?2 AND next_attempt_at IS NOT NULL) END
    WHERE id = ?2 AND workspace_id = ?1 AND channel = 'webhook'";
const DELETE: &str = "DELETE FROM subscriptions WHERE id = ?2 AND workspace_id = ?1 AND channel = 'webhook'";
/// Of two rotations at the same moment one changes the row.
const ROTATE: &str =
    "UPDATE subscriptions SET sealed_secret = ?4, updated_at = ?5, sealed_previous_secret = ?6, previous_secret_expires_at = ?7
    WHERE id = ?2 AND workspace_id = ?1 AND sealed_secret = ?3";
const DUE_OF_WORKSPACE: &str =
    "SELECT * FROM subscriptions WHERE workspace_id = ?1 AND channel = 'webhook' AND due_at <= ?2
    AND disabled_at IS NULL LIMIT ?3";
const HAS_ANY: &str = "SELECT 1 AS n FROM subscriptions WHERE workspace_id = ?1 AND channel = 'webhook' LIMIT 1";
/// Whoever has switched one off themselves knows.
const COUNT_SWITCHED_OFF: &str =
    "SELECT count(*) AS n FROM subscriptions WHERE workspace_id = ?1 AND channel = 'webhook'
    AND disabled_at IS NOT NULL AND disabled_reason <> 'caller'";
const LEASE_DUE: &str = "UPDATE subscriptions SET due_at = ?2 WHERE id IN
    (SELECT id FROM subscriptions WHERE due_at IS NOT NULL AND due_at <= ?1 AND channel = 'webhook' ORDER BY due_at LIMIT ?3) RETURNING *";
const WORKS: &str =
    "UPDATE subscriptions SET failures = 0, failing_since = NULL, paused_until = 0 WHERE id = ?1 AND failures > 0";
const FAILS: &str = "UPDATE subscriptions SET failures = failures + 1, failing_since = coalesce(failing_since, ?2), paused_until = ?3 WHERE id = ?1";
const DISABLE: &str = "UPDATE subscriptions SET disabled_at = ?2, disabled_reason = ?3, due_at = NULL WHERE id = ?1 AND disabled_at IS NULL";
const RESCHEDULE: &str = "UPDATE subscriptions SET due_at =
      (SELECT max(min(d.next_attempt_at), subscriptions.paused_until) FROM deliveries d WHERE d.subscription_id = ?1 AND d.next_attempt_at IS NOT NULL)
    WHERE id = ?1 AND disabled_at IS NULL";

impl FromRow for Webhook {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let reason = row.optional_text("disabled_reason")?;
        // A reason of a later version says at least that it is switched off.
        let reason = reason.map(|text| DisabledReason::parse(&text).unwrap_or(DisabledReason::Caller));
        let types: Vec<String> = row.json("types")?;
        Ok(Self {
            id: row.id("id")?,
            workspace: row.id("workspace_id")?,
            url: row.text("url")?,
            types: types.iter().filter_map(|text| WebhookEventType::parse(text)).collect(),
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
            failures: row.integer("failures")?,
            failing_since: row.optional_time("failing_since")?,
            paused_until: row.time("paused_until")?,
            disabled: row.optional_time("disabled_at")?.map(|at| (at, reason.unwrap_or(DisabledReason::Caller))),
            sealed_secret: row.text("sealed_secret")?,
            previous: row
                .optional_text("sealed_previous_secret")?
                .zip(row.optional_time("previous_secret_expires_at")?),
        })
    }
}

/// Stores a webhook.
pub async fn add(db: &impl Database, webhook: &Webhook) -> Result<(), DatabaseError> {
    let statement = sql!(
        INSERT,
        &webhook.id,
        &webhook.workspace,
        webhook.url.as_str(),
        json_text(&webhook.types),
        webhook.created_at,
        webhook.sealed_secret.as_str()
    );
    db.batch(vec![statement]).await.map(drop)
}

/// A webhook.
pub async fn get(db: &impl Database, workspace: &WorkspaceId, id: &WebhookId) -> StoreResult<Option<Webhook>> {
    query_first(db, sql!(GET, workspace, id)).await
}

/// The webhooks of a workspace, after a cursor.
pub async fn list(db: &impl Database, workspace: &WorkspaceId, after: &str, limit: i64) -> StoreResult<Page<Webhook>> {
    let rows = query_all(db, sql!(LIST, workspace, after, limit + 1)).await?;
    Ok(cut_page(rows, limit, |one: &Webhook| one.id.as_str().to_owned()))
}

/// The statement that counts the webhooks of a workspace that were switched off because they failed.
pub fn count_switched_off(workspace: &WorkspaceId) -> Statement {
    sql!(COUNT_SWITCHED_OFF, workspace)
}

/// The statement that stores the settings of a webhook. `restarts`: it was switched off, and is not any more.
pub fn update(webhook: &Webhook, restarts: bool) -> Statement {
    sql!(
        UPDATE,
        &webhook.workspace,
        &webhook.id,
        webhook.url.as_str(),
        json_text(&webhook.types),
        webhook.updated_at,
        webhook.disabled.map(|(at, _)| at),
        webhook.disabled.map(|(_, reason)| reason.as_str()),
        restarts
    )
}

/// The statement that deletes a webhook. Its deliveries are purged with their events.
pub fn delete(workspace: &WorkspaceId, id: &WebhookId) -> Statement {
    sql!(DELETE, workspace, id)
}

/// The statement that gives a webhook another secret, unless somebody else has just done so.
pub fn rotate(webhook: &Webhook, sealed: &str, previous: Option<&(String, Timestamp)>, now: Timestamp) -> Statement {
    sql!(
        ROTATE,
        &webhook.workspace,
        &webhook.id,
        webhook.sealed_secret.as_str(),
        sealed,
        now,
        previous.map(|(sealed, _)| sealed.as_str()),
        previous.map(|(_, until)| *until)
    )
}

/// The webhooks of a workspace that have something to send now. None: it has no webhook at all.
pub async fn list_due(
    db: &impl Database,
    workspace: &WorkspaceId,
    now: Timestamp,
    limit: i64,
) -> StoreResult<Option<Vec<Webhook>>> {
    let answers = db.batch(vec![sql!(HAS_ANY, workspace), sql!(DUE_OF_WORKSPACE, workspace, now, limit)]).await?;
    let [any, due] = answers.as_slice() else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    if any.rows.is_empty() { Ok(None) } else { read_all(due).map(Some) }
}

/// The statement that takes the webhooks of all workspaces that have something to send.
pub(super) fn lease_due(now: Timestamp, until: Timestamp, limit: i64) -> Statement {
    sql!(LEASE_DUE, now, until, limit)
}

/// The statement that records that the receiver works.
pub fn mark_working(id: &WebhookId) -> Statement {
    sql!(WORKS, id)
}

/// The statement that records that the receiver has failed once more.
pub fn mark_failing(id: &WebhookId, now: Timestamp, paused_until: Timestamp) -> Statement {
    sql!(FAILS, id, now, paused_until)
}

/// The statement that switches a webhook off.
pub fn disable(id: &WebhookId, now: Timestamp, reason: DisabledReason) -> Statement {
    sql!(DISABLE, id, now, reason.as_str())
}

/// The statement that finds out when there is something to send next.
pub fn reschedule(id: &WebhookId) -> Statement {
    sql!(RESCHEDULE, id)
}
