//! Rows of `outbox` and `deliveries`: what is told, and to whom it was sent.
//!
//! Triggers of the schema write most rows, in the transaction of what they tell. Owns the lease of a delivery: whoever sends
//! one holds it until a time, and what came of it is written only by them.

use super::{Columns, FromRow, Page, StoreResult, cut_page, query_all, query_first, read_all, run_statement};
use crate::ids::{WebhookId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;
use crate::webhook::{Delivery, DeliveryStatus, OutboxEvent};

const IS_SUBSCRIBED: &str = "SELECT 1 AS n FROM subscriptions WHERE workspace_id = ?1 AND disabled_at IS NULL
    AND instr(types, '\"' || ?2 || '\"') > 0 LIMIT 1";
const INSERT_APP_EVENT: &str = "INSERT INTO outbox (id, workspace_id, type, occurred_at, app, sealed_payload)
    SELECT ?1, ?2, 'app.event', ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM subscriptions WHERE workspace_id = ?2 AND disabled_at IS NULL
      AND instr(types, '\"app.event\"') > 0)";
const INSERT_TEST: &str =
    "INSERT INTO outbox (id, workspace_id, type, occurred_at) VALUES (?1, ?2, 'webhook.test', ?3)";
const INSERT_DELIVERY: &str = "INSERT INTO deliveries (event_id, subscription_id, status, created_at, next_attempt_at)
    VALUES (?1, ?2, 'pending', ?3, ?3)";
/// The connection is as it was told: otherwise nothing is told. A run tells so many, and the next run the next ones.
const TELL_HELD: &str = "UPDATE outbox SET is_held = 0 WHERE id IN (SELECT bounded.id FROM
      (SELECT id, connection_id FROM outbox WHERE is_held = 1 AND occurred_at <= ?1 ORDER BY occurred_at LIMIT ?2) bounded
      CROSS JOIN connections c WHERE c.id = bounded.connection_id AND c.status = 'needs_reconnect' AND c.deleted_at IS NULL)";
const DROP_HELD: &str = "DELETE FROM outbox WHERE id IN (SELECT bounded.id FROM
      (SELECT id, connection_id FROM outbox WHERE is_held = 1 AND occurred_at <= ?1 ORDER BY occurred_at LIMIT ?2) bounded
      WHERE NOT EXISTS (SELECT 1 FROM connections c WHERE c.id = bounded.connection_id AND c.status = 'needs_reconnect' AND c.deleted_at IS NULL))";
/// An attempt counts when it begins: one that ends with its instance of the program was made all the same.
const LEASE: &str = "UPDATE deliveries SET attempts = attempts + 1, tries = tries + 1, last_attempt_at = ?2, next_attempt_at = ?3, lease_id = ?4
    WHERE subscription_id = ?1 AND event_id IN (SELECT event_id FROM deliveries
      WHERE subscription_id = ?1 AND next_attempt_at IS NOT NULL AND next_attempt_at <= ?2 ORDER BY next_attempt_at LIMIT ?5)";
const LEASE_ONE: &str = "UPDATE deliveries SET attempts = attempts + 1, tries = tries + 1, last_attempt_at = ?2, next_attempt_at = ?3, lease_id = ?4
    WHERE subscription_id = ?1 AND event_id = ?5 AND next_attempt_at IS NOT NULL AND next_attempt_at <= ?2";
const LEASED: &str = "SELECT o.*, d.subscription_id, d.tries FROM deliveries d CROSS JOIN outbox o
    WHERE d.subscription_id = ?1 AND d.next_attempt_at = ?2 AND d.lease_id = ?3 AND o.id = d.event_id ORDER BY o.occurred_at, o.id";
const RECORD: &str =
    "UPDATE deliveries SET status = ?4, next_attempt_at = ?5, lease_id = NULL, last_status = ?6, last_error = ?7
    WHERE event_id = ?1 AND subscription_id = ?2 AND lease_id = ?3";
/// It was taken and not sent.
const RELEASE: &str =
    "UPDATE deliveries SET attempts = attempts - 1, tries = tries - 1, next_attempt_at = ?4, lease_id = NULL
    WHERE event_id = ?1 AND subscription_id = ?2 AND lease_id = ?3";
const REDELIVER: &str = "UPDATE deliveries SET status = 'pending', tries = 0, next_attempt_at = ?3
    WHERE event_id = ?1 AND subscription_id = ?2 AND (next_attempt_at IS NULL OR lease_id IS NULL)";
const GET: &str = "SELECT d.*, o.type, o.type = 'app.event' AND o.sealed_payload IS NULL AS has_lost_payload
    FROM deliveries d CROSS JOIN outbox o WHERE d.event_id = ?1 AND d.subscription_id = ?2 AND o.id = d.event_id";
const LIST: &str = "SELECT bounded.*, o.type, 0 AS has_lost_payload FROM
      (SELECT * FROM deliveries WHERE subscription_id = ?1 AND (created_at, event_id) < (?2, ?3)
        ORDER BY created_at DESC, event_id DESC LIMIT ?4) bounded
    CROSS JOIN outbox o WHERE o.id = bounded.event_id ORDER BY bounded.created_at DESC, bounded.event_id DESC";
const LIST_STATUS: &str = "SELECT bounded.*, o.type, 0 AS has_lost_payload FROM
      (SELECT * FROM (SELECT * FROM deliveries WHERE subscription_id = ?1 AND (created_at, event_id) < (?2, ?3)
        ORDER BY created_at DESC, event_id DESC LIMIT ?6) WHERE status = ?5 LIMIT ?4) bounded
    CROSS JOIN outbox o WHERE o.id = bounded.event_id ORDER BY bounded.created_at DESC, bounded.event_id DESC";
/// Deliveries that a list with a status looks at, at most: its page may end before.
const MOST_EXAMINED: i64 = 1_000;

impl FromRow for OutboxEvent {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            id: row.text("id")?,
            workspace: row.id("workspace_id")?,
            event_type: row.text("type")?,
            occurred_at: row.time("occurred_at")?,
            connection: row.optional_id("connection_id")?,
            target: row.optional_text("target")?,
            app: row.optional_text("app")?,
            name: row.optional_text("name")?,
            environment: row.environment("environment")?,
            user: row.optional_text("user_id")?,
            detail: row.optional_text("detail")?,
            ends_at: row.optional_time("ends_at")?,
            workflows: row.optional_json("workflows")?.unwrap_or_default(),
            workflow_count: row.optional_integer("workflow_count")?.unwrap_or(0),
            connection_count: row.optional_integer("connection_count")?,
            sealed_payload: row.optional_text("sealed_payload")?,
        })
    }
}

/// A delivery whose lease somebody holds.
#[derive(Debug, Clone)]
pub struct LeasedDelivery {
    /// What is sent.
    pub event: OutboxEvent,
    /// To whom.
    pub webhook: WebhookId,
    /// Attempts, this one included, since the event or since it was to be sent again.
    pub tries: i64,
}

impl FromRow for LeasedDelivery {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            event: OutboxEvent::from_row(row)?,
            webhook: row.id("subscription_id")?,
            tries: row.integer("tries")?,
        })
    }
}

/// A delivery, and whether the event of an app is gone that it would send.
pub struct FoundDelivery {
    /// The delivery.
    pub delivery: Delivery,
    /// The event was delivered to all, and erased.
    pub has_lost_payload: bool,
}

impl FromRow for FoundDelivery {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let unknown = || DatabaseError::Malformed("column status holds an unknown value".into());
        let delivery = Delivery {
            event: row.text("event_id")?,
            event_type: row.text("type")?,
            status: DeliveryStatus::parse(&row.text("status")?).ok_or_else(unknown)?,
            created_at: row.time("created_at")?,
            next_attempt_at: row.optional_time("next_attempt_at")?,
            attempts: row.integer("attempts")?,
            last_attempt_at: row.optional_time("last_attempt_at")?,
            last_status: row.optional_integer("last_status")?,
            last_error: row.optional_text("last_error")?,
        };
        Ok(Self { delivery, has_lost_payload: row.boolean("has_lost_payload")? })
    }
}

/// Whether any webhook of a workspace asks for a type of events.
pub async fn is_subscribed(db: &impl Database, workspace: &WorkspaceId, event_type: &str) -> StoreResult<bool> {
    Ok(!run_statement(db, sql!(IS_SUBSCRIBED, workspace, event_type)).await?.rows.is_empty())
}

/// The statement that writes the event of an app. It writes nothing if no webhook asks for such events.
pub fn insert_app_event(id: &str, workspace: &WorkspaceId, app: &str, sealed: &str, now: Timestamp) -> Statement {
    sql!(INSERT_APP_EVENT, id, workspace, now, app, sealed)
}

/// The statements that write a test for one webhook.
pub fn insert_test(id: &str, workspace: &WorkspaceId, webhook: &WebhookId, now: Timestamp) -> [Statement; 2] {
    [sql!(INSERT_TEST, id, workspace, now), sql!(INSERT_DELIVERY, id, webhook, now)]
}

/// The statements that tell what was held back since before a time, and forget what is not so any more: at most so many.
pub fn release_held(before: Timestamp, limit: i64) -> [Statement; 2] {
    [sql!(TELL_HELD, before, limit), sql!(DROP_HELD, before, limit)]
}

/// A lease: its id, from when and until when.
#[derive(Debug, Clone)]
pub struct DeliveryLease {
    /// Its id.
    pub id: String,
    /// Now.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

/// Takes due deliveries, of each webhook so many, and reads them.
pub async fn lease_due(
    db: &impl Database,
    webhooks: &[(&WebhookId, i64)],
    lease: &DeliveryLease,
) -> StoreResult<Vec<LeasedDelivery>> {
    let take = |(webhook, limit): &(&WebhookId, i64)| take(webhook, *limit, lease);
    read_leased(&db.batch(webhooks.iter().flat_map(take).collect()).await?)
}

/// The statements that take due deliveries, and read them.
pub(super) fn take(of: &WebhookId, limit: i64, lease: &DeliveryLease) -> [Statement; 2] {
    let taken = sql!(LEASE, of, lease.from, lease.until, lease.id.as_str(), limit);
    [taken, select_leased(of, lease)]
}

/// Takes one delivery, if it is due and nobody sends it.
pub async fn lease_one(
    db: &impl Database,
    webhook: &WebhookId,
    event: &str,
    lease: &DeliveryLease,
) -> StoreResult<Option<LeasedDelivery>> {
    let taken = sql!(LEASE_ONE, webhook, lease.from, lease.until, lease.id.as_str(), event);
    Ok(read_leased(&db.batch(vec![taken, select_leased(webhook, lease)]).await?)?.into_iter().next())
}

fn select_leased(webhook: &WebhookId, lease: &DeliveryLease) -> Statement {
    sql!(LEASED, webhook, lease.until, lease.id.as_str())
}

fn read_leased(answers: &[Rows]) -> StoreResult<Vec<LeasedDelivery>> {
    let mut leased = Vec::new();
    for rows in answers.iter().skip(1).step_by(2) {
        leased.extend(read_all(rows)?);
    }
    Ok(leased)
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRecord {
    /// How far the delivery is.
    pub status: DeliveryStatus,
    /// When it is tried again.
    pub next_attempt_at: Option<Timestamp>,
    /// The status of the answer.
    pub answered: Option<u16>,
    /// Why it has failed.
    pub error: Option<&'static str>,
}

/// The statement that writes what came of an attempt. It changes nothing if the lease is over.
pub fn record(of: &LeasedDelivery, lease: &DeliveryLease, came: &AttemptRecord) -> Statement {
    sql!(
        RECORD,
        of.event.id.as_str(),
        &of.webhook,
        lease.id.as_str(),
        came.status.as_str(),
        came.next_attempt_at,
        came.answered.map(i64::from),
        came.error
    )
}

/// The statement that gives back what was taken and not sent.
pub fn release(of: &LeasedDelivery, lease: &DeliveryLease, next: Timestamp) -> Statement {
    sql!(RELEASE, of.event.id.as_str(), &of.webhook, lease.id.as_str(), next)
}

/// The statement that makes a delivery due again, unless somebody sends it just now.
pub fn redeliver(webhook: &WebhookId, event: &str, now: Timestamp) -> Statement {
    sql!(REDELIVER, event, webhook, now)
}

/// A delivery.
pub async fn get(db: &impl Database, webhook: &WebhookId, event: &str) -> StoreResult<Option<FoundDelivery>> {
    query_first(db, sql!(GET, event, webhook)).await
}

/// Deliveries of a webhook, newest first, after a cursor; with a status, those among so many.
pub async fn list(
    db: &impl Database,
    webhook: &WebhookId,
    status: Option<DeliveryStatus>,
    before: &(Timestamp, String),
    limit: i64,
) -> StoreResult<Page<Delivery>> {
    let (at, id) = (before.0, before.1.as_str());
    let statement = match status {
        None => sql!(LIST, webhook, at, id, limit + 1),
        Some(status) => sql!(LIST_STATUS, webhook, at, id, limit + 1, status.as_str(), MOST_EXAMINED),
    };
    let rows: Vec<FoundDelivery> = query_all(db, statement).await?;
    let rows = rows.into_iter().map(|found| found.delivery).collect();
    Ok(cut_page(rows, limit, |one: &Delivery| super::format_cursor(one.created_at, &one.event)))
}
