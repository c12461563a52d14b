//! Webhooks: the addresses that a workspace has told of events.
//!
//! Owns how one is made, changed, tested and deleted. What is told is written by triggers of the schema, in the transaction
//! of what it tells; `sending` sends it, and `app_events` passes on what apps send. Refuses addresses that no request may go
//! to, and our own.

pub mod app_events;
pub mod sending;

use crate::audit::{Actor, EventType};
use crate::context::Context;
use crate::egress::{EgressPolicy, EgressUrl};
use crate::error::{Error, ErrorCode, Result};
use crate::gather::Gather as _;
use crate::ids::{EventId, WebhookId, WorkspaceId};
use crate::ports::{Database, Ports, Statement};
use crate::preconditions::{IfMatch, ReadState};
use crate::quotas::{self, Quota};
use crate::secret::Secret;
use crate::store::events::{AuditedDatabase, ChangedBy, EventSubject};
use crate::store::{Page, outbox, webhooks};
use crate::time::Timestamp;
use crate::webhook::{Delivery, DeliveryStatus, DisabledReason, Webhook, WebhookEventType, signature};

/// Seconds that the secret before a rotation signs too, unless told otherwise: a day.
const DEFAULT_OVERLAP: i64 = 86_400;
/// Most seconds for which it may: a week.
const MAX_OVERLAP: i64 = 7 * 86_400;

/// A change of a webhook. What is none stays.
#[derive(Debug, Default)]
pub struct WebhookPatch {
    /// The address.
    pub url: Option<String>,
    /// The types of events.
    pub types: Option<Vec<WebhookEventType>>,
    /// Whether it is on.
    pub enabled: Option<bool>,
}

fn not_found() -> Error {
    Error::not_found("webhook")
}

/// An address that events may be sent to.
fn check_url<P: Ports>(context: &Context<P>, text: &str) -> Result<String> {
    let url = EgressUrl::parse(text, context.config.egress)
        .map_err(|problem| Error::invalid_field("url", format!("{problem}.")))?;
    if is_own_address(context, &url) {
        return Err(Error::invalid_field("url", "is this installation itself. Name the address of your own program."));
    }
    Ok(url.as_str().to_owned())
}

/// Whether an address leads back here.
pub(crate) fn is_own_address<P: Ports>(context: &Context<P>, url: &EgressUrl) -> bool {
    let is_development = context.config.egress == EgressPolicy::DevLoopback;
    let own = EgressUrl::parse(context.config.public_url.origin(), EgressPolicy::DevLoopback);
    own.is_ok_and(|own| if is_development { own.authority() == url.authority() } else { own.host() == url.host() })
}

fn check_types(types: Vec<WebhookEventType>) -> Result<Vec<WebhookEventType>> {
    if types.is_empty() {
        return Err(Error::invalid_field("types", "must name at least one type of events."));
    }
    let all: std::collections::BTreeSet<_> = types.into_iter().gather();
    Ok(all.into_iter().collect())
}

fn webhook_event<P: Ports>(
    context: &Context<P>,
    webhook: &Webhook,
    event: EventType,
    actor: &Actor,
    detail: &str,
) -> Result<Statement> {
    let subject = EventSubject { target: Some(webhook.id.as_str()), ..EventSubject::default() };
    context.event_statement_about(&webhook.workspace, event, actor, subject, Some(detail))
}

/// Where a webhook sends, for the audit log: without path and query, which may hold a secret of the receiver.
fn describe_receiver(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default().to_owned()
}

/// Makes a webhook; answers it and its secret, which is shown once.
///
/// # Errors
/// `invalid_request` for an address that nothing may be sent to; `limit_reached`.
pub async fn create<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    url: &str,
    types: Vec<WebhookEventType>,
    actor: &Actor,
) -> Result<(Webhook, Secret)> {
    let (url, types, now) = (check_url(context, url)?, check_types(types)?, context.now());
    let id = WebhookId::random(context.ports.random(), workspace.shard())?;
    let secret = signature::new_secret(context.ports.random())?;
    let place = Webhook::seal_context(workspace, &id);
    let sealed_secret = context.config.key_ring.seal(context.ports.random(), &place, &secret)?;
    let webhook = Webhook {
        id,
        workspace: workspace.clone(),
        url,
        types,
        created_at: now,
        updated_at: now,
        failures: 0,
        failing_since: None,
        paused_until: Timestamp::from_unix(0),
        disabled: None,
        sealed_secret,
        previous: None,
    };
    let event = webhook_event(context, &webhook, EventType::WebhookCreated, actor, &describe_receiver(&webhook.url))?;
    let quota = [Quota::Webhooks];
    let db = AuditedDatabase::new(quotas::guard_database(context, workspace, &quota), event, ChangedBy::First);
    let added = webhooks::add(&db, &webhook).await;
    quotas::map_insert_error(context, workspace, &quota, added).await?;
    context.ports.isolate_cache().forget_no_webhooks(workspace);
    Ok((webhook, secret))
}

/// A webhook of a workspace.
///
/// # Errors
/// `not_found`.
pub async fn load<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, id: &WebhookId) -> Result<Webhook> {
    webhooks::get(context.db(), workspace, id).await?.ok_or_else(not_found)
}

/// The webhooks of a workspace, by id.
pub async fn list<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    after: Option<&WebhookId>,
    limit: i64,
) -> Result<Page<Webhook>> {
    let after = after.map(WebhookId::as_str).unwrap_or_default();
    Ok(webhooks::list(context.db(), workspace, after, limit).await?)
}

/// Changes a webhook.
///
/// # Errors
/// `invalid_request`; `precondition_failed`.
pub async fn update<P: Ports>(
    context: &Context<P>,
    webhook: &Webhook,
    patch: WebhookPatch,
    actor: &Actor,
    if_match: &IfMatch,
) -> Result<Webhook> {
    let condition = if_match.condition(Some(ReadState::of_webhook(webhook)))?;
    let now = context.now();
    let changed = Webhook {
        url: patch.url.map(|url| check_url(context, &url)).transpose()?.unwrap_or_else(|| webhook.url.clone()),
        types: patch.types.map(check_types).transpose()?.unwrap_or_else(|| webhook.types.clone()),
        disabled: match patch.enabled {
            None => webhook.disabled,
            Some(true) => None,
            Some(false) => webhook.disabled.or(Some((now, DisabledReason::Caller))),
        },
        updated_at: now,
        ..webhook.clone()
    };
    let restarts = webhook.disabled.is_some() && changed.disabled.is_none() || webhook.url != changed.url;
    let event = webhook_event(
        context,
        &changed,
        EventType::WebhookChanged,
        actor,
        &format!("{}{}", describe_receiver(&changed.url), if changed.disabled.is_some() { ", off" } else { "" }),
    )?;
    let db = AuditedDatabase::new(condition.db(context), event, ChangedBy::First);
    let written = db.batch(vec![webhooks::update(&changed, restarts)]).await;
    if condition.explain(context, written).await?.first().is_none_or(|rows| rows.changes == 0) {
        return Err(not_found());
    }
    load(context, &webhook.workspace, &webhook.id).await
}

/// Deletes a webhook. Nothing more is sent to it.
///
/// # Errors
/// `not_found` where it was deleted before; `precondition_failed`.
pub async fn delete<P: Ports>(
    context: &Context<P>,
    webhook: &Webhook,
    actor: &Actor,
    if_match: &IfMatch,
) -> Result<()> {
    let condition = if_match.condition(Some(ReadState::of_webhook(webhook)))?;
    let event = webhook_event(context, webhook, EventType::WebhookDeleted, actor, &describe_receiver(&webhook.url))?;
    let db = AuditedDatabase::new(condition.db(context), event, ChangedBy::First);
    let deleted = db.batch(vec![webhooks::delete(&webhook.workspace, &webhook.id)]).await;
    let deleted = condition.explain(context, deleted).await?;
    if deleted.first().is_some_and(|rows| rows.changes > 0) { Ok(()) } else { Err(not_found()) }
}

/// Gives a webhook a new secret. Until the overlap ends, each delivery is signed with both.
///
/// # Errors
/// The overlap is too long; `conflict` where it was rotated at the same moment.
pub async fn rotate<P: Ports>(
    context: &Context<P>,
    webhook: &Webhook,
    overlap: Option<i64>,
    actor: &Actor,
) -> Result<(Webhook, Secret)> {
    let overlap = overlap.unwrap_or(DEFAULT_OVERLAP);
    if !(0..=MAX_OVERLAP).contains(&overlap) {
        let problem = "must be a number of seconds from 0 (the old secret ends at once) to 604800 (a week).";
        return Err(Error::invalid_field("overlap_seconds", problem));
    }
    let (key_ring, random, now) = (&context.config.key_ring, context.ports.random(), context.now());
    let secret = signature::new_secret(random)?;
    let place = Webhook::seal_context(&webhook.workspace, &webhook.id);
    let sealed = key_ring.seal(random, &place, &secret)?;
    let old = key_ring.open(&place, &webhook.sealed_secret).ok().filter(|_| overlap > 0);
    let previous_place = Webhook::previous_seal_context(&webhook.workspace, &webhook.id);
    let previous = old.map(|old| key_ring.seal(random, &previous_place, &old)).transpose()?;
    let previous = previous.map(|sealed| (sealed, now.plus(overlap)));
    let event = webhook_event(
        context,
        webhook,
        EventType::WebhookRotated,
        actor,
        &format!("the secret before ends after {overlap} seconds"),
    )?;
    let db = context.audited_db(event, ChangedBy::First);
    let rotated = db.batch(vec![webhooks::rotate(webhook, &sealed, previous.as_ref(), now)]).await?;
    if rotated.first().is_none_or(|rows| rows.changes == 0) {
        return Err(Error::new(ErrorCode::Conflict, "The webhook was rotated or deleted at the same moment."));
    }
    Ok((Webhook { sealed_secret: sealed, previous, updated_at: now, ..webhook.clone() }, secret))
}

/// Sends a test to a webhook now, and answers what came of it.
///
/// # Errors
/// `conflict` where it is switched off.
pub async fn send_test<P: Ports>(context: &Context<P>, webhook: &Webhook) -> Result<Delivery> {
    require_enabled(webhook)?;
    let id = EventId::random(context.ports.random(), webhook.workspace.shard())?;
    let test = outbox::insert_test(id.as_str(), &webhook.workspace, &webhook.id, context.now());
    context.db().batch(test.into()).await?;
    sending::send_one(context, webhook, id.as_str()).await?;
    load_delivery(context, webhook, id.as_str()).await
}

/// Sends an event to a webhook once more, and answers what came of it. It has the same id as before.
///
/// # Errors
/// `not_found`; `conflict` where the webhook is switched off, the event is being sent, or the event of an app was erased
/// because it was delivered.
pub async fn redeliver<P: Ports>(context: &Context<P>, webhook: &Webhook, event: &str) -> Result<Delivery> {
    let missing = || Error::not_found("delivery");
    let found = outbox::get(context.db(), &webhook.id, event).await?.ok_or_else(missing)?;
    require_enabled(webhook)?;
    if found.has_lost_payload {
        return Err(Error::new(
            ErrorCode::Conflict,
            "The event of this app was delivered, and is not kept. It can't be sent again.",
        ));
    }
    let due = context.db().batch(vec![outbox::redeliver(&webhook.id, event, context.now())]).await?;
    if due.first().is_none_or(|rows| rows.changes == 0) {
        return Err(Error::new(ErrorCode::Conflict, "It is being sent just now. Wait a minute, and look again."));
    }
    sending::send_one(context, webhook, event).await?;
    load_delivery(context, webhook, event).await
}

fn require_enabled(webhook: &Webhook) -> Result<()> {
    match webhook.disabled {
        None => Ok(()),
        Some(_) => Err(Error::new(
            ErrorCode::Conflict,
            "This webhook is switched off. Switch it on first: PATCH /v1/webhooks/{id} {\"enabled\": true}.",
        )),
    }
}

async fn load_delivery<P: Ports>(context: &Context<P>, webhook: &Webhook, event: &str) -> Result<Delivery> {
    let found = outbox::get(context.db(), &webhook.id, event).await?;
    found.map(|found| found.delivery).ok_or_else(|| Error::not_found("delivery"))
}

/// Deliveries of a webhook, newest first.
pub async fn list_deliveries<P: Ports>(
    context: &Context<P>,
    webhook: &Webhook,
    status: Option<DeliveryStatus>,
    before: &(Timestamp, String),
    limit: i64,
) -> Result<Page<Delivery>> {
    Ok(outbox::list(context.db(), &webhook.id, status, before, limit).await?)
}
