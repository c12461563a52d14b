//! Deliveries are sent: behind the answer to the request that made the change, and by the scheduled run.
//!
//! Owns the order of steps. A delivery is leased before it is sent, and what came of it is written only by who holds the
//! lease: whatever is cut off is sent again when the lease has ended, with the same id. The deliveries of one webhook are
//! sent one after the other and stop at the first that fails, so that a receiver that hangs takes ten seconds of a run and
//! no more. Nothing of an answer is read but its status and `Retry-After`.

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::json;

use crate::app::OutboundMethod;
use crate::audit::{Actor, EventType};
use crate::catalogue;
use crate::context::Context;
use crate::egress::EgressUrl;
use crate::error::Result;
use crate::ids::{ConnectionId, WorkspaceId, random_text};
use crate::ports::{Database, HttpError, OutboundRequest, Ports, Statement};
use crate::random::Random;
use crate::secret::Secret;
use crate::store::events::{self, EventSubject};
use crate::store::outbox::{self, AttemptRecord, DeliveryLease, LeasedDelivery};
use crate::store::webhooks;
use crate::time::Timestamp;
use crate::token::parse_retry_after_header;
use crate::webhook::message::{Links, write_message};
use crate::webhook::{AppEventPayload, DeliveryStatus, DisabledReason, OutboxEvent, Webhook, retry, signature};

/// How long a receiver is waited for, in milliseconds.
const TIMEOUT_MS: u32 = 10_000;
/// Seconds that whoever sends holds what they took: all deliveries of a webhook, one after the other.
const LEASE: i64 = 120;
/// Webhooks that are sent to at once: the platform opens six connections per request.
const MAX_CONCURRENT: usize = 6;
/// Deliveries of one webhook that are taken at once.
const MOST_OF_ONE_WEBHOOK: i64 = 10;
/// Seconds after which no further delivery is begun of what was taken: all of it ends within the lease.
const START_WITHIN: i64 = 60;
/// Behind an answer: webhooks, and deliveries of each.
const WEBHOOKS_BEHIND_ANSWER: i64 = 5;
const DELIVERIES_BEHIND_ANSWER: i64 = 3;
/// Round trips to the database that a round takes: to lease, and to write what came of it.
const ROUND_COST: i64 = 2;

struct OwnLinks<'a, P: Ports>(&'a Context<P>);

impl<P: Ports> Links for OwnLinks<'_, P> {
    fn reconnect_url(&self, connection: &ConnectionId) -> String {
        self.0.config.public_url.at(&format!("/connections/{connection}/reconnect"))
    }

    fn setup_url(&self, app: &str) -> String {
        // A client is registered under its app, or under a name that apps share.
        let of_family = catalogue::entries().find(|entry| entry.family == Some(app));
        let app = of_family.map_or(app, |entry| entry.id);
        self.0.config.public_url.at(&format!("/apps/{app}/setup"))
    }
}

/// What one attempt came to.
enum Attempt {
    Delivered {
        status: u16,
    },
    Failed {
        status: Option<u16>,
        error: &'static str,
        retry_after: Option<i64>,
    },
    /// The receiver wants no more.
    Gone,
    /// It can't be sent, now or later.
    Unsendable {
        error: &'static str,
    },
}

/// Sends what is due to the webhooks of a workspace. Behind an answer, so what fails is logged.
pub async fn send_due<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) {
    if let Err(error) = try_send_due(context, workspace).await {
        context.log_cause(&error);
        context.log("warn", "webhooks_not_sent", &json!({ "code": error.code.as_str() }));
    }
}

async fn try_send_due<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) -> Result<()> {
    let (now, isolate_cache) = (context.now(), context.ports.isolate_cache());
    if isolate_cache.has_no_webhooks(workspace, now) {
        return Ok(());
    }
    let found = webhooks::list_due(context.db(), workspace, now, WEBHOOKS_BEHIND_ANSWER).await?;
    let Some(due) = found else {
        isolate_cache.remember_no_webhooks(workspace, now);
        return Ok(());
    };
    let due: Vec<_> = due.iter().filter(|webhook| webhook.paused_until <= context.now()).collect();
    if !due.is_empty() {
        let until = context.now().plus(START_WITHIN);
        send_round(context, &due, DELIVERIES_BEHIND_ANSWER, until).await?;
    }
    Ok(())
}

/// Sends what is due to webhooks that a scheduled run has taken, as long as there are subrequests and time. Answers how many
/// events were taken by their receivers.
pub(crate) async fn send_taken<P: Ports>(
    context: &Context<P>,
    taken: &[Webhook],
    budget: i64,
    until: Timestamp,
) -> u64 {
    let (mut delivered, mut spent) = (0, 0);
    let mut left: Vec<&Webhook> = taken.iter().collect();
    while !left.is_empty() && context.now() < until {
        let count = i64::try_from(left.len()).unwrap_or(i64::MAX);
        let each = ((budget - spent - ROUND_COST) / count).min(MOST_OF_ONE_WEBHOOK);
        // At least one of the first round, so that no webhook waits for ever.
        if each < 1 && spent > 0 {
            break;
        }
        match send_round(context, &left, each.max(1), until).await {
            Ok(round) => {
                spent += ROUND_COST + i64::try_from(round.sent).unwrap_or(0);
                delivered += round.delivered;
                left.retain(|webhook| round.has_more.iter().any(|id| *id == webhook.id.as_str()));
            }
            Err(error) => {
                context.log_cause(&error);
                return delivered;
            }
        }
    }
    delivered
}

/// Sends one delivery now, whatever was before. What came of it is in its row.
pub(crate) async fn send_one<P: Ports>(context: &Context<P>, webhook: &Webhook, event: &str) -> Result<()> {
    let lease = new_lease(context)?;
    let Some(leased) = outbox::lease_one(context.db(), &webhook.id, event, &lease).await? else { return Ok(()) };
    let result = send_in_order(context, webhook, vec![leased], context.now().plus(START_WITHIN)).await;
    context.db().batch(outcome_statements(context, webhook, &lease, &result)?).await?;
    Ok(())
}

fn new_lease<P: Ports>(context: &Context<P>) -> Result<DeliveryLease> {
    let from = context.now();
    Ok(DeliveryLease { id: random_text::<12>(context.ports.random())?, from, until: from.plus(LEASE) })
}

#[derive(Default)]
struct Round {
    sent: usize,
    delivered: u64,
    /// Webhooks that took all they were given.
    has_more: Vec<String>,
}

async fn send_round<P: Ports>(context: &Context<P>, due: &[&Webhook], each: i64, until: Timestamp) -> Result<Round> {
    let lease = new_lease(context)?;
    // One that has failed before is asked with a single delivery.
    let wanted = |webhook: &Webhook| if webhook.failures > 0 { 1 } else { each };
    let wanted: Vec<_> = due.iter().map(|webhook| (&webhook.id, wanted(webhook))).collect();
    let mut leased = outbox::lease_due(context.db(), &wanted, &lease).await?;
    let mut of_webhooks = Vec::new();
    for webhook in due {
        let (own, others) = leased.into_iter().partition(|one: &LeasedDelivery| one.webhook == webhook.id);
        leased = others;
        of_webhooks.push((*webhook, own));
    }
    let sent = stream::iter(of_webhooks)
        .map(|(webhook, own)| async move { (webhook, send_in_order(context, webhook, own, until).await) })
        .buffer_unordered(MAX_CONCURRENT);
    let sent: Vec<_> = sent.collect().await;
    let mut round = Round::default();
    let mut statements = Vec::new();
    for (webhook, result) in &sent {
        round.sent += result.attempts.len();
        let delivered = result.attempts.iter().filter(|(_, one)| matches!(one, Attempt::Delivered { .. })).count();
        round.delivered += u64::try_from(delivered).unwrap_or(0);
        let is_full = i64::try_from(delivered).unwrap_or(0) >= each;
        if is_full && result.unsent.is_empty() {
            round.has_more.push(webhook.id.as_str().to_owned());
        }
        statements.extend(outcome_statements(context, webhook, &lease, result)?);
    }
    context.db().batch(statements).await?;
    Ok(round)
}

/// The deliveries of one webhook, and what came of those that were sent.
struct SentDeliveries {
    attempts: Vec<(LeasedDelivery, Attempt)>,
    unsent: Vec<LeasedDelivery>,
}

async fn send_in_order<P: Ports>(
    context: &Context<P>,
    webhook: &Webhook,
    deliveries: Vec<LeasedDelivery>,
    until: Timestamp,
) -> SentDeliveries {
    let mut sent = SentDeliveries { attempts: Vec::new(), unsent: Vec::new() };
    let secrets = open_secrets(context, webhook);
    let mut goes_on = true;
    for delivery in deliveries {
        if !goes_on || context.now() >= until {
            sent.unsent.push(delivery);
            continue;
        }
        let attempt = send(context, webhook, &secrets, &delivery.event).await;
        goes_on = matches!(attempt, Attempt::Delivered { .. } | Attempt::Unsendable { .. });
        sent.attempts.push((delivery, attempt));
    }
    sent
}

/// The secrets that sign a delivery now, the newest first. None: they can't be opened.
fn open_secrets<P: Ports>(context: &Context<P>, webhook: &Webhook) -> Vec<Secret> {
    let key_ring = &context.config.key_ring;
    let newest = key_ring.open(&Webhook::seal_context(&webhook.workspace, &webhook.id), &webhook.sealed_secret);
    let previous = webhook.previous.as_ref().filter(|(_, until)| context.now() < *until);
    let place = Webhook::previous_seal_context(&webhook.workspace, &webhook.id);
    let previous = previous.and_then(|(sealed, _)| key_ring.open(&place, sealed).ok());
    newest.ok().into_iter().chain(previous).collect()
}

/// The body of an event. None: what was sealed can't be opened, or the event is of a later version.
fn write_body<P: Ports>(context: &Context<P>, event: &OutboxEvent) -> Option<String> {
    let payload = match &event.sealed_payload {
        None => None,
        Some(sealed) => {
            let place = OutboxEvent::payload_seal_context(&event.workspace, &event.id);
            let text = context.config.key_ring.open(&place, sealed).ok()?;
            Some(serde_json::from_str::<AppEventPayload>(text.expose()).ok()?)
        }
    };
    serde_json::to_string(&write_message(event, payload, &OwnLinks(context))?).ok()
}

async fn send<P: Ports>(context: &Context<P>, webhook: &Webhook, secrets: &[Secret], event: &OutboxEvent) -> Attempt {
    let Some(body) = write_body(context, event) else { return Attempt::Unsendable { error: "unreadable" } };
    let now = context.now();
    let Some(signature) = signature::signature_header(secrets, &event.id, now, &body) else {
        return Attempt::Failed { status: None, error: "secret_unreadable", retry_after: None };
    };
    let address = EgressUrl::parse(&webhook.url, context.config.egress).ok();
    let Some(url) = address.filter(|url| !super::is_own_address(context, url)) else {
        return Attempt::Failed { status: None, error: "address_refused", retry_after: None };
    };
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", "connections".to_owned()),
        ("webhook-id", event.id.clone()),
        ("webhook-timestamp", now.unix().to_string()),
        ("webhook-signature", signature),
    ];
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let request = OutboundRequest::new(OutboundMethod::Post, url, vec![], TIMEOUT_MS)
        .with_headers_and_body(headers, Some(body))
        .without_reading_body();
    let answer = match context.send(request).await {
        Ok(answer) => answer,
        // Its status was not seen, so nobody knows what the receiver has done.
        Err(HttpError::Timeout) => return Attempt::Failed { status: None, error: "timeout", retry_after: None },
        Err(_) => return Attempt::Failed { status: None, error: "network_error", retry_after: None },
    };
    let failed = |error| Attempt::Failed {
        status: Some(answer.status),
        error,
        retry_after: parse_retry_after_header(&answer, context.now()),
    };
    match answer.status {
        200..=299 => Attempt::Delivered { status: answer.status },
        300..=399 => failed("redirect"),
        410 => Attempt::Gone,
        _ => failed("status"),
    }
}

/// What is written of the deliveries of one webhook.
fn outcome_statements<P: Ports>(
    context: &Context<P>,
    webhook: &Webhook,
    lease: &DeliveryLease,
    sent: &SentDeliveries,
) -> Result<Vec<Statement>> {
    let now = context.now();
    let mut statements = Vec::new();
    let mut disable = None;
    for (delivery, attempt) in &sent.attempts {
        statements.push(outbox::record(delivery, lease, &attempt_record(context, delivery, attempt)?));
        match attempt {
            Attempt::Delivered { .. } => statements.push(webhooks::mark_working(&webhook.id)),
            Attempt::Unsendable { .. } => {}
            Attempt::Gone => disable = Some(DisabledReason::Gone),
            Attempt::Failed { retry_after, error, .. } => {
                let paused_until = retry::paused_until(webhook.failures + 1, now, *retry_after);
                statements.push(webhooks::mark_failing(&webhook.id, now, paused_until));
                if *error == "secret_unreadable" {
                    disable = Some(DisabledReason::Unreadable);
                } else if webhook.failing_since.is_some_and(|since| retry::has_failed_too_long(since, now)) {
                    disable = Some(DisabledReason::Failing);
                }
            }
        }
    }
    // They are due again, but after those that were sent.
    statements.extend(sent.unsent.iter().map(|one| outbox::release(one, lease, now)));
    statements.push(webhooks::reschedule(&webhook.id));
    if let Some(reason) = disable {
        statements.extend(disable_statements(context, webhook, reason)?);
    }
    Ok(statements)
}

/// A webhook is switched off, and its owner told: a line in the audit log, and what `GET` says.
fn disable_statements<P: Ports>(
    context: &Context<P>,
    webhook: &Webhook,
    reason: DisabledReason,
) -> Result<[Statement; 2]> {
    let subject = EventSubject { target: Some(webhook.id.as_str()), ..EventSubject::default() };
    let event = context.event_statement_about(
        &webhook.workspace,
        EventType::WebhookDisabled,
        &Actor::ScheduledRun,
        subject,
        Some(reason.as_str()),
    )?;
    Ok([webhooks::disable(&webhook.id, context.now(), reason), events::insert_if_changed(event)])
}

fn attempt_record<P: Ports>(
    context: &Context<P>,
    delivery: &LeasedDelivery,
    attempt: &Attempt,
) -> Result<AttemptRecord> {
    let over = |status, answered, error| AttemptRecord { status, next_attempt_at: None, answered, error };
    Ok(match attempt {
        Attempt::Delivered { status } => over(DeliveryStatus::Delivered, Some(*status), None),
        Attempt::Gone => over(DeliveryStatus::Failed, Some(410), Some("gone")),
        Attempt::Unsendable { error } => over(DeliveryStatus::Failed, None, Some(error)),
        Attempt::Failed { status, error, retry_after } => {
            let mut random = [0_u8; 8];
            context.ports.random().fill(&mut random)?;
            let random = u64::from_le_bytes(random);
            match retry::next_attempt_at(delivery.tries, context.now(), *retry_after, random) {
                None => over(DeliveryStatus::Failed, *status, Some(error)),
                next => AttemptRecord {
                    status: DeliveryStatus::Pending,
                    next_attempt_at: next,
                    answered: *status,
                    error: Some(error),
                },
            }
        }
    })
}
