//! Webhooks: of what they are notified, and in which form (<https://www.standardwebhooks.com>).
//!
//! Owns the types of events, what is known of a webhook and its deliveries, the pauses between attempts, and the signature.
//! Refuses to send anything: `webhooks` does.

pub mod message;
pub mod retry;
pub mod signature;

use serde::{Deserialize, Serialize};

use crate::app::AppId;
use crate::codes::codes;
use crate::environment::Environment;
use crate::frozen;
use crate::ids::{ConnectionId, WebhookId, WorkspaceId};
use crate::time::Timestamp;
use crate::vault::SealContext;

codes! {
    /// The type of an event, as a webhook asks for it. The triggers of the schema have the same texts.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "WebhookEventType"))]
    pub enum WebhookEventType {
        /// A connection was made. If it waits for a confirmation: it was confirmed.
        #[serde(rename = "connection.created")]
        ConnectionCreated = "connection.created",
        /// Only a person can repair it. Sent by the next scheduled run, if it is still so.
        #[serde(rename = "connection.needs_reconnect")]
        ConnectionNeedsReconnect = "connection.needs_reconnect",
        /// It works again, after `connection.needs_reconnect` was sent.
        #[serde(rename = "connection.recovered")]
        ConnectionRecovered = "connection.recovered",
        /// Its access ends soon, and only a person can extend it. Sent once for each date.
        #[serde(rename = "connection.expires_soon")]
        ConnectionExpiresSoon = "connection.expires_soon",
        /// Not all that was asked for was granted. Sent once, until something else is missing.
        #[serde(rename = "connection.missing_scopes")]
        ConnectionMissingScopes = "connection.missing_scopes",
        /// It is connected to another account.
        #[serde(rename = "connection.account_changed")]
        ConnectionAccountChanged = "connection.account_changed",
        /// It became the default of its app, or is no longer.
        #[serde(rename = "connection.default_changed")]
        ConnectionDefaultChanged = "connection.default_changed",
        /// It was disconnected.
        #[serde(rename = "connection.deleted")]
        ConnectionDeleted = "connection.deleted",
        /// The app refuses the OAuth client.
        #[serde(rename = "client.misconfigured")]
        ClientMisconfigured = "client.misconfigured",
        /// The secret of the OAuth client ends soon. Sent once for each date.
        #[serde(rename = "client.secret_expires")]
        ClientSecretExpires = "client.secret_expires",
        /// An app has sent an event.
        #[serde(rename = "app.event")]
        AppEvent = "app.event",
    }
}

/// The type of the event that a test sends. No webhook asks for it.
pub const TEST_EVENT: &str = "webhook.test";

codes! {
    /// Why a webhook is switched off.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
    #[serde(rename_all = "snake_case")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "WebhookDisabledReason"))]
    pub enum DisabledReason {
        /// Somebody has switched it off.
        Caller = "caller",
        /// Every attempt of five days has failed.
        Failing = "failing",
        /// The receiver has answered 410: it wants no more.
        Gone = "gone",
        /// Its secret can't be opened: the key is not on the key ring.
        Unreadable = "unreadable",
    }
}

/// An address that is notified of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Where events are sent.
    pub url: String,
    /// The types of events.
    pub types: Vec<WebhookEventType>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Failures since the last success.
    pub failures: i64,
    /// When the first of them was.
    pub failing_since: Option<Timestamp>,
    /// Nothing is sent until then.
    pub paused_until: Timestamp,
    /// Since when it is switched off, and why.
    pub disabled: Option<(Timestamp, DisabledReason)>,
    /// Its secret.
    pub sealed_secret: String,
    /// The secret before, and until when each delivery is signed with it, too.
    pub previous: Option<(String, Timestamp)>,
}

impl Webhook {
    /// The place of its secret.
    pub fn seal_context<'a>(workspace: &'a WorkspaceId, id: &'a WebhookId) -> SealContext<'a> {
        SealContext::of(frozen::WEBHOOK_SECRET, workspace.as_str(), id.as_str(), 0)
    }

    /// The place of the secret before the last rotation.
    pub fn previous_seal_context<'a>(workspace: &'a WorkspaceId, id: &'a WebhookId) -> SealContext<'a> {
        SealContext::of(frozen::WEBHOOK_PREVIOUS_SECRET, workspace.as_str(), id.as_str(), 0)
    }
}

/// Something that people and programs are notified of: what was known when it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEvent {
    /// Its id: that of the line in the audit log, if there is one. Each attempt sends the same.
    pub id: String,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its type: a [`WebhookEventType`], [`TEST_EVENT`], or one of a later version.
    pub event_type: String,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The connection.
    pub connection: Option<ConnectionId>,
    /// The id of something else: an OAuth client.
    pub target: Option<String>,
    /// The app, or the name under which an OAuth client is registered.
    pub app: Option<String>,
    /// The connection's name.
    pub name: Option<String>,
    /// The connection's environment.
    pub environment: Option<Environment>,
    /// The connection's owner.
    pub user: Option<String>,
    /// A reason, a code, or what has changed.
    pub detail: Option<String>,
    /// When something ends.
    pub ends_at: Option<Timestamp>,
    /// The first workflows concerned.
    pub workflows: Vec<String>,
    /// How many workflows are concerned.
    pub workflow_count: i64,
    /// How many connections are concerned, up to 1,000.
    pub connection_count: Option<i64>,
    /// The event of an app, sealed.
    pub sealed_payload: Option<String>,
}

impl OutboxEvent {
    /// The place of the event of an app.
    pub fn payload_seal_context<'a>(workspace: &'a WorkspaceId, id: &'a str) -> SealContext<'a> {
        SealContext::of(frozen::OUTBOX_PAYLOAD, workspace.as_str(), id, 0)
    }
}

/// The event that an app has sent, as it is passed on. Sealed in the outbox: programs of two versions read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppEventPayload {
    /// The app.
    pub app: AppId,
    /// The account that it is about, if the event says so.
    pub account: Option<String>,
    /// The connections of that account.
    pub connections: Vec<ConnectionId>,
    /// The type of the body, as the app has sent it.
    pub content_type: Option<String>,
    /// The body, if it is text.
    pub body: Option<String>,
    /// The body in base64, if it is not.
    pub body_base64: Option<String>,
}

codes! {
    /// How far a delivery is.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
    #[serde(rename_all = "snake_case")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "DeliveryStatus"))]
    pub enum DeliveryStatus {
        /// It is sent at `next_attempt_at`.
        Pending = "pending",
        /// The receiver has answered 2xx.
        Delivered = "delivered",
        /// It is not tried any more. It can be sent again.
        Failed = "failed",
    }
}

/// One event for one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The event.
    pub event: String,
    /// Its type.
    pub event_type: String,
    /// How far it is.
    pub status: DeliveryStatus,
    /// When the event happened.
    pub created_at: Timestamp,
    /// When it is sent next. None: it is over.
    pub next_attempt_at: Option<Timestamp>,
    /// How often it was sent.
    pub attempts: i64,
    /// When it was last sent.
    pub last_attempt_at: Option<Timestamp>,
    /// The status of the last answer.
    pub last_status: Option<i64>,
    /// Why the last attempt has failed.
    pub last_error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::{DeliveryStatus, DisabledReason, WebhookEventType};

    #[test]
    fn types_have_the_same_text_in_json_and_in_the_database() {
        for one in WebhookEventType::ALL {
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
            assert_eq!(WebhookEventType::parse(one.as_str()), Some(one));
        }
        for one in [DisabledReason::Caller, DisabledReason::Failing, DisabledReason::Gone, DisabledReason::Unreadable] {
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
        }
        for one in [DeliveryStatus::Pending, DeliveryStatus::Delivered, DeliveryStatus::Failed] {
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
        }
    }
}
