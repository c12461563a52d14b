//! What a delivery says: the same body at each attempt, made of the event's row alone.
//!
//! Owns the form of the messages. They are thin: who wants to know more asks the API.

use serde::Serialize;

use super::{AppEventPayload, OutboxEvent, TEST_EVENT, WebhookEventType};
use crate::environment::Environment;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::time::Timestamp;

/// The body of a delivery.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WebhookMessage {
    /// The event, as in the header `webhook-id`. Each attempt has the same: do not handle it twice. If there is such a line in
    /// the audit log, it is that one.
    pub id: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// What happened.
    #[serde(flatten)]
    pub event: WebhookEvent,
}

/// What happened, and to what.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("discriminator" = { "propertyName": "type" })))]
#[serde(tag = "type", content = "data")]
pub enum WebhookEvent {
    /// A connection was made.
    #[serde(rename = "connection.created")]
    ConnectionCreated(ConnectionEventData),
    /// Only a person can repair it.
    #[serde(rename = "connection.needs_reconnect")]
    ConnectionNeedsReconnect(ConnectionEventData),
    /// It works again.
    #[serde(rename = "connection.recovered")]
    ConnectionRecovered(ConnectionEventData),
    /// Its access ends soon.
    #[serde(rename = "connection.expires_soon")]
    ConnectionExpiresSoon(ConnectionEventData),
    /// Not all that was asked for was granted.
    #[serde(rename = "connection.missing_scopes")]
    ConnectionMissingScopes(ConnectionEventData),
    /// It is connected to another account.
    #[serde(rename = "connection.account_changed")]
    ConnectionAccountChanged(ConnectionEventData),
    /// It became the default of its app, or is no longer.
    #[serde(rename = "connection.default_changed")]
    ConnectionDefaultChanged(ConnectionEventData),
    /// It was disconnected.
    #[serde(rename = "connection.deleted")]
    ConnectionDeleted(ConnectionEventData),
    /// The app refuses the OAuth client.
    #[serde(rename = "client.misconfigured")]
    ClientMisconfigured(ClientEventData),
    /// The secret of the OAuth client ends soon.
    #[serde(rename = "client.secret_expires")]
    ClientSecretExpires(ClientEventData),
    /// An app has sent an event.
    #[serde(rename = "app.event")]
    AppEvent(AppEventData),
    /// Somebody tests the webhook.
    #[serde(rename = "webhook.test")]
    WebhookTest(TestEventData),
}

/// Which workflows are concerned.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConcernedWorkflows {
    /// How many workflows have used it.
    pub count: i64,
    /// The first 20 of them, in the order of their names.
    pub ids: Vec<String>,
}

/// The connection that an event is about, as it was then.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventConnection {
    /// Its id.
    pub id: ConnectionId,
    /// Its app.
    pub app: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its environment, if it is known.
    pub environment: Option<Environment>,
    /// The id of its owner. Null: the whole workspace.
    pub user: Option<String>,
}

/// An event about a connection.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConnectionEventData {
    /// What it means, in a sentence for people.
    pub summary: String,
    /// Which workflows are concerned.
    pub workflows: ConcernedWorkflows,
    /// The connection.
    pub connection: EventConnection,
    /// With `connection.needs_reconnect`: why, as in the connection's `reason`. With `connection.default_changed` and
    /// `connection.account_changed`: what has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With `connection.expires_soon`: when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// With `connection.missing_scopes`: which.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_scopes: Vec<String>,
    /// Where a signed-in person repairs it. Grants nothing by itself. Absent if it was disconnected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(url))]
    pub reconnect_url: Option<String>,
}

/// An event about an OAuth client.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClientEventData {
    /// What it means, in a sentence for people.
    pub summary: String,
    /// Which workflows are concerned, of the first 1,000 uses of its connections.
    pub workflows: ConcernedWorkflows,
    /// Its connections, up to 1,000.
    pub connections: i64,
    /// The id of the client.
    pub client: String,
    /// The app, or the name that the apps share under which the client is registered.
    pub app: Option<String>,
    /// With `client.misconfigured`: the app's error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With `client.secret_expires`: when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// The page that says how the client is set up.
    #[cfg_attr(test, schemars(url))]
    pub setup_url: String,
}

/// The event that an app has sent.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AppEventData {
    /// The app.
    pub app: Option<String>,
    /// The account that it is about. Null: the event does not say so.
    pub account: Option<String>,
    /// The connections of that account.
    pub connections: Vec<ConnectionId>,
    /// The type of the body.
    pub content_type: Option<String>,
    /// The body as the app has sent it, if it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The body in base64, if it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// A test.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TestEventData {
    /// A sentence for people.
    pub summary: String,
}

/// Where people go: the addresses of this installation.
pub trait Links {
    /// Where a person repairs a connection.
    fn reconnect_url(&self, connection: &ConnectionId) -> String;
    /// Where a person reads how the client of an app is set up.
    fn setup_url(&self, app: &str) -> String;
}

/// The message of an event. None: its type is of a later version, or its columns are not as its type needs them.
pub fn write_message(
    event: &OutboxEvent,
    payload: Option<AppEventPayload>,
    links: &impl Links,
) -> Option<WebhookMessage> {
    Some(WebhookMessage {
        id: event.id.clone(),
        timestamp: event.occurred_at,
        workspace: event.workspace.clone(),
        event: write_event(event, payload, links)?,
    })
}

fn write_event(event: &OutboxEvent, payload: Option<AppEventPayload>, links: &impl Links) -> Option<WebhookEvent> {
    if event.event_type == TEST_EVENT {
        let summary = "This is a test. Nothing has happened.".to_owned();
        return Some(WebhookEvent::WebhookTest(TestEventData { summary }));
    }
    let kind = WebhookEventType::parse(&event.event_type)?;
    let about = || about_connection(event, kind, links);
    Some(match kind {
        WebhookEventType::ConnectionCreated => WebhookEvent::ConnectionCreated(about()?),
        WebhookEventType::ConnectionNeedsReconnect => WebhookEvent::ConnectionNeedsReconnect(about()?),
        WebhookEventType::ConnectionRecovered => WebhookEvent::ConnectionRecovered(about()?),
        WebhookEventType::ConnectionExpiresSoon => WebhookEvent::ConnectionExpiresSoon(about()?),
        WebhookEventType::ConnectionMissingScopes => WebhookEvent::ConnectionMissingScopes(about()?),
        WebhookEventType::ConnectionAccountChanged => WebhookEvent::ConnectionAccountChanged(about()?),
        WebhookEventType::ConnectionDefaultChanged => WebhookEvent::ConnectionDefaultChanged(about()?),
        WebhookEventType::ConnectionDeleted => WebhookEvent::ConnectionDeleted(about()?),
        WebhookEventType::ClientMisconfigured => WebhookEvent::ClientMisconfigured(about_client(event, kind, links)?),
        WebhookEventType::ClientSecretExpires => WebhookEvent::ClientSecretExpires(about_client(event, kind, links)?),
        WebhookEventType::AppEvent => {
            let payload = payload?;
            WebhookEvent::AppEvent(AppEventData {
                app: Some(payload.app.to_string()),
                account: payload.account,
                connections: payload.connections,
                content_type: payload.content_type,
                body: payload.body,
                body_base64: payload.body_base64,
            })
        }
    })
}

fn concerned(event: &OutboxEvent) -> ConcernedWorkflows {
    ConcernedWorkflows { count: event.workflow_count, ids: event.workflows.clone() }
}

fn about_connection(event: &OutboxEvent, kind: WebhookEventType, links: &impl Links) -> Option<ConnectionEventData> {
    let id = event.connection.clone()?;
    let is_missing_scopes = kind == WebhookEventType::ConnectionMissingScopes;
    let says_reason = matches!(
        kind,
        WebhookEventType::ConnectionNeedsReconnect
            | WebhookEventType::ConnectionDefaultChanged
            | WebhookEventType::ConnectionAccountChanged
    );
    Some(ConnectionEventData {
        summary: summary(event, kind),
        workflows: concerned(event),
        reason: event.detail.clone().filter(|_| says_reason),
        ends_at: event.ends_at,
        missing_scopes: if is_missing_scopes { parse_scopes(event) } else { vec![] },
        reconnect_url: (kind != WebhookEventType::ConnectionDeleted).then(|| links.reconnect_url(&id)),
        connection: EventConnection {
            id,
            app: event.app.clone(),
            name: event.name.clone(),
            environment: event.environment,
            user: event.user.clone(),
        },
    })
}

/// The scopes that are missing, as the outbox has them.
fn parse_scopes(event: &OutboxEvent) -> Vec<String> {
    event.detail.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn about_client(event: &OutboxEvent, kind: WebhookEventType, links: &impl Links) -> Option<ClientEventData> {
    let app = event.app.as_deref().unwrap_or_default();
    Some(ClientEventData {
        summary: summary(event, kind),
        workflows: concerned(event),
        connections: event.connection_count.unwrap_or(0),
        client: event.target.clone()?,
        reason: event.detail.clone().filter(|_| kind == WebhookEventType::ClientMisconfigured),
        ends_at: event.ends_at,
        setup_url: links.setup_url(app),
        app: event.app.clone(),
    })
}

/// What an event means, the impact first.
pub fn summary(event: &OutboxEvent, kind: WebhookEventType) -> String {
    let impact = match event.workflow_count {
        0 => "No workflow has used it yet.".to_owned(),
        1 => "1 workflow uses it.".to_owned(),
        count => format!("{count} workflows use it."),
    };
    let name = event.name.as_deref().unwrap_or("A connection");
    let app = event.app.as_deref().unwrap_or("an app");
    let date = || event.ends_at.map(Timestamp::rfc3339).unwrap_or_default();
    let what = match kind {
        WebhookEventType::ConnectionCreated => format!("{name} ({app}) is connected."),
        WebhookEventType::ConnectionNeedsReconnect => format!("{name} ({app}) must be reconnected by a person."),
        WebhookEventType::ConnectionRecovered => format!("{name} ({app}) works again."),
        WebhookEventType::ConnectionExpiresSoon => {
            format!("The access of {name} ({app}) ends at {}. Reconnect it before.", date())
        }
        WebhookEventType::ConnectionMissingScopes => {
            format!("{name} ({app}) lacks permissions that were asked for: {}.", parse_scopes(event).join(", "))
        }
        WebhookEventType::ConnectionAccountChanged => format!("{name} ({app}) is connected to another account now."),
        WebhookEventType::ConnectionDefaultChanged => format!("The default of {app} has changed: {name}."),
        WebhookEventType::ConnectionDeleted => format!("{name} ({app}) was disconnected."),
        WebhookEventType::ClientMisconfigured => format!("{app} refuses the OAuth client. Enter its secret again."),
        WebhookEventType::ClientSecretExpires => {
            format!("The secret of the OAuth client of {app} ends at {}. Enter a new one before.", date())
        }
        WebhookEventType::AppEvent => format!("{app} has sent an event."),
    };
    format!("{impact} {what}")
}
