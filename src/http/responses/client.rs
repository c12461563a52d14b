//! OAuth clients.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::app::{App, AppId, AuthMethod, SecretHandshake};
use crate::app_events::events_url;
use crate::client::{Client, ClientProblem};
use crate::connect::client_setup;
use crate::context::Context;
use crate::event_handshakes::{OpenedHandshake, PARAMETER};
use crate::ids::ClientId;
use crate::ports::Ports;
use crate::secret::Secret;
use crate::time::Timestamp;

/// A workspace's OAuth client at an app, without its secret.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OAuthClientResponse {
    id: ClientId,
    app: AppId,
    /// The app's id for it. Null if the app's connections need no client, and this one only receives events.
    client_id: Option<String>,
    /// Whether it has a secret or a private key.
    has_secret: bool,
    /// Whether something is set to verify the app's events with (`event_secret`).
    has_event_secret: bool,
    /// Must be registered at the app as the address of its events. Null if the app's definition describes no events.
    #[cfg_attr(test, schemars(url))]
    events_url: Option<String>,
    /// The variables of the app's addresses that were set with the client.
    variables: BTreeMap<String, String>,
    /// Must be registered at the app.
    #[cfg_attr(test, schemars(url))]
    redirect_uri: String,
    /// Requested instead of the app's defaults.
    scopes: Option<Vec<String>>,
    secret_expires_at: Option<Timestamp>,
    /// Why it cannot be used: the app refuses it, its stored secret cannot be decrypted, its key does not support the
    /// algorithm, or it was entered for other addresses than those of the app's current definition.
    misconfigured: Option<ClientProblemResponse>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// Why a client cannot be used.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ClientProblemResponse {
    /// Since when. Null if no request has failed yet.
    since: Option<Timestamp>,
    /// The app's code, or `client_secret_unreadable`, `client_key_unusable` or `client_addresses_changed` if the app
    /// was not asked.
    error: String,
    /// The problem and the remedy. Null if the app refuses it.
    detail: Option<&'static str>,
}

impl OAuthClientResponse {
    pub(crate) fn of<P: Ports>(context: &Context<P>, client: Client, app: &App, auth_method: &AuthMethod) -> Self {
        let events_url = app.events.is_some().then(|| events_url(context, &client.id, ""));
        let is_for_events_only = client.is_for_events_only();
        let misconfigured = problem(context, &client, auth_method);
        Self {
            redirect_uri: context.config.public_url.redirect_uri(&client.redirect_id),
            misconfigured,
            id: client.id,
            app: auth_method.app_id.clone(),
            client_id: Some(client.client_id).filter(|_| !is_for_events_only),
            has_event_secret: client.sealed_event_secret.is_some(),
            events_url,
            has_secret: client.sealed_secret.is_some(),
            variables: client.variables,
            scopes: client.scopes,
            secret_expires_at: client.secret_expires_at,
            created_at: client.created_at,
            updated_at: client.updated_at,
        }
    }
}

/// An address that an app may send the secret of its events to, once.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OpenedHandshakeResponse {
    /// Must be registered at the app as the address of its events, whole. Whoever has it may set one secret with it. It stays
    /// the address of the events.
    #[cfg_attr(test, schemars(url))]
    events_url: String,
    /// Until when a secret may come.
    expires_at: Timestamp,
}

impl OpenedHandshakeResponse {
    pub(crate) fn of<P: Ports>(context: &Context<P>, client: &Client, opened: &OpenedHandshake) -> Self {
        Self { events_url: handshake_address(context, client, opened), expires_at: opened.expires_at }
    }
}

/// The address for one secret, whole.
pub(crate) fn handshake_address<P: Ports>(context: &Context<P>, client: &Client, opened: &OpenedHandshake) -> String {
    events_url(context, &client.id, &format!("{PARAMETER}={}", opened.token.expose()))
}

/// The secret of its events that an app has sent.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ReceivedHandshakeResponse {
    /// When one came, in the last hour. Null: none came, or `event_secret` was put since.
    received_at: Option<Timestamp>,
    /// The secret, if the app wants a person to enter it there. It is shown for an hour.
    secret: Option<String>,
}

impl ReceivedHandshakeResponse {
    pub(crate) fn of(handshake: &SecretHandshake, received: Option<(Secret, Timestamp)>) -> Self {
        let is_shown = handshake.at.is_some();
        Self {
            received_at: received.as_ref().map(|(_, at)| *at),
            secret: received.filter(|_| is_shown).map(|(secret, _)| secret.expose().to_owned()),
        }
    }
}

/// A problem that is known without the app is reported before a request fails.
fn problem<P: Ports>(context: &Context<P>, client: &Client, auth_method: &AuthMethod) -> Option<ClientProblemResponse> {
    if client.is_for_events_only() {
        return None;
    }
    let stored = client.misconfigured.as_ref();
    let seen = client.problem(&context.config.key_ring);
    let seen =
        seen.or_else(|| (!client_setup::is_set_up_for(client, auth_method)).then_some(ClientProblem::AddressesChanged));
    let known = stored.and_then(|(_, error)| ClientProblem::parse(error)).or(seen);
    let error = stored.map(|(_, error)| error.as_str()).or(seen.map(ClientProblem::as_str))?;
    Some(ClientProblemResponse {
        since: stored.map(|(since, _)| *since),
        error: error.to_owned(),
        detail: known.map(ClientProblem::explanation),
    })
}
