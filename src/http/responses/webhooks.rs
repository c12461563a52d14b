//! Webhooks and their deliveries.

use serde::Serialize;

use crate::http::body::Flat;
use crate::ids::WebhookId;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::webhook::{Delivery, DeliveryStatus, DisabledReason, Webhook, WebhookEventType};

/// A webhook. Its secret is not shown.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct WebhookResponse {
    id: WebhookId,
    #[cfg_attr(test, schemars(url))]
    url: String,
    types: Vec<WebhookEventType>,
    /// Whether events are sent to it.
    enabled: bool,
    /// Why it is switched off. Null: it is not.
    disabled_reason: Option<DisabledReason>,
    disabled_at: Option<Timestamp>,
    /// Since when every attempt has failed. Null: the last one did not. After five days it is switched off.
    failing_since: Option<Timestamp>,
    /// Until when each delivery is signed with the secret before the last rotation, too. Null: it is not.
    previous_secret_until: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl WebhookResponse {
    /// As it is now.
    pub(crate) fn of(webhook: Webhook, now: Timestamp) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url,
            types: webhook.types,
            enabled: webhook.disabled.is_none(),
            disabled_reason: webhook.disabled.map(|(_, reason)| reason),
            disabled_at: webhook.disabled.map(|(at, _)| at),
            failing_since: webhook.failing_since,
            previous_secret_until: webhook.previous.map(|(_, until)| until).filter(|until| now < *until),
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }
}

/// A webhook with its secret, which is shown once.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NewWebhookResponse {
    #[serde(flatten)]
    about: Flat<WebhookResponse>,
    /// `whsec_` and 32 bytes in base64: what deliveries are signed with (Standard Webhooks). Shown once.
    secret: String,
}

impl NewWebhookResponse {
    pub(crate) fn of(webhook: Webhook, secret: &Secret, now: Timestamp) -> Self {
        Self { about: Flat(WebhookResponse::of(webhook, now)), secret: secret.expose().to_owned() }
    }
}

/// One event for one webhook. Nothing is kept of what the receiver has answered but the status.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DeliveryResponse {
    /// The event, as in the header `webhook-id`.
    id: String,
    /// Its type. `webhook.test`: it was a test.
    r#type: String,
    status: DeliveryStatus,
    /// When the event happened.
    created_at: Timestamp,
    /// How often it was sent.
    attempts: i64,
    last_attempt_at: Option<Timestamp>,
    /// The HTTP status of the last answer. Null: there was none.
    last_status_code: Option<i64>,
    /// Why the last attempt has failed: `status`, `redirect` (redirects are not followed), `timeout` (no answer within 10
    /// seconds), `network_error`, `address_refused` (nothing may be sent there), `gone` (410), `secret_unreadable` or
    /// `unreadable` (the key that sealed it is not on the key ring). Null: it did not fail.
    last_error: Option<String>,
    /// When it is sent next. Null: not any more.
    next_attempt_at: Option<Timestamp>,
}

impl DeliveryResponse {
    pub(crate) fn of(delivery: Delivery) -> Self {
        Self {
            id: delivery.event,
            r#type: delivery.event_type,
            status: delivery.status,
            created_at: delivery.created_at,
            attempts: delivery.attempts,
            last_attempt_at: delivery.last_attempt_at,
            last_status_code: delivery.last_status,
            last_error: delivery.last_error,
            next_attempt_at: delivery.next_attempt_at,
        }
    }
}
