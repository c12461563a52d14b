//! The OAuth clients of apps, for programs.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;

use super::apps::load_registered_app;
use super::body::{DeletedResponse, Json, Unread};
use super::input::QueryParams;
use super::responses::{OAuthClientResponse, OpenedHandshakeResponse, ReceivedHandshakeResponse};
use super::{Call, input};
use crate::app::{App, AuthMethod};
use crate::authorize;
use crate::client::Client;
use crate::connect::client_setup::NewSecret;
use crate::connect::recent_client_test::{self, RecentTest};
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::event_handshakes;
use crate::ids::ClientId;
use crate::oauth_clients::{self, EnteredClient};
use crate::ports::Ports;
use crate::preconditions::ReadState;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The auth method with a consent at the app, which needs a client; or any of an app that has none, if it sends events.
async fn load_client_method<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<(Rc<App>, Rc<AuthMethod>)> {
    let app = load_registered_app(context, call).await?.app;
    QueryParams::parse_known(call.request, &["auth_method"])?;
    let named = input::auth_method_param(call.request)?;
    let auth_method = match oauth_clients::events_only_method(&app) {
        Some(auth_method) if named.is_none() => auth_method,
        _ => oauth_clients::require_oauth2_method(&app, named.as_ref())?,
    };
    Ok((app, auth_method))
}

/// An app's current client, with its app and auth method.
type CurrentClient = (Rc<App>, Rc<AuthMethod>, Client);

async fn load_current_client<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<CurrentClient> {
    let (app, auth_method) = load_client_method(context, call).await?;
    let found = oauth_clients::load_current_client(context, &call.caller_key()?.workspace, &auth_method).await;
    let client = match found {
        Err(error) if error.code == ErrorCode::NotFound && oauth_clients::events_only_method(&app).is_some() => {
            return Err(oauth_clients::needs_no_client_error(&auth_method));
        }
        found => found?,
    };
    Ok((app, auth_method, client))
}

pub(super) async fn get_client<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<OAuthClientResponse>> {
    let (app, auth_method, client) = load_current_client(context, call).await?;
    Ok(client_json(context, &app, &auth_method, client))
}

fn client_json<P: Ports>(
    context: &Context<P>,
    app: &App,
    auth_method: &Rc<AuthMethod>,
    client: Client,
) -> Json<OAuthClientResponse> {
    let state = ReadState::of_client(&client);
    Json::ok(OAuthClientResponse::of(context, client, app, auth_method)).tagged(state)
}

/// Tests the client at the app, before anybody connects.
pub(super) async fn test_client<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, TestClientInput>,
) -> Result<Json<RecentTest>> {
    let (_, auth_method, client) = load_current_client(context, call).await?;
    if client.is_for_events_only() {
        return Err(oauth_clients::needs_no_client_error(&auth_method));
    }
    let input = body.read()?;
    Ok(Json::ok(recent_client_test::run_or_reuse(context, &auth_method, &client, &input.variables).await?))
}

/// The input of a client test.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "TestClientRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct TestClientInput {
    /// The values that a person would enter for the app's addresses.
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

/// An app's OAuth client, as it was registered at the app.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PutClientRequest"))]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a secret are three different wishes")]
pub(super) struct PutClientInput {
    /// As the app shows it. Omitted only for an app whose connections need no OAuth client, where `event_secret` is the only
    /// member.
    #[cfg_attr(test, schemars(length(min = 1, max = 4096)))]
    client_id: Option<String>,
    /// Omitted: the stored secret is kept (unless the app's hosts have changed), and a new client is a public client.
    /// `null` removes the stored secret and makes the client public. A text with a PEM block is a private key (PKCS#8,
    /// RSA of 2048 bits or more, or EC P-256; at most 16 KB): it is never sent, but signs an assertion for each request
    /// (RFC 7523, 2.2). Any other secret has at most 4096 characters.
    #[serde(default, deserialize_with = "input::present")]
    #[cfg_attr(test, schemars(with = "Option<Secret>", length(min = 1, max = 16384)))]
    client_secret: Option<Option<Secret>>,
    /// With a private key: the app's name for it (`kid` of the assertion). Accepted only together with the key.
    #[cfg_attr(test, schemars(length(min = 1, max = 256)))]
    key_id: Option<String>,
    /// With a private key: the SHA-256 of its certificate's DER in unpadded base64url (`x5t#S256`), if the app requires
    /// it. Accepted only together with the key.
    #[cfg_attr(test, schemars(length(min = 1, max = 256)))]
    certificate: Option<String>,
    /// The variables of the app's addresses that belong to the client: those of `client.variables` of the auth method.
    /// Missing ones get their defaults, and unknown ones are refused.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Requested instead of the app's defaults.
    scopes: Option<Vec<String>>,
    /// When the secret expires at the app.
    secret_expires_at: Option<Timestamp>,
    /// What the app's events are verified with, as `events.signature` of the app describes it: a secret, or several if each
    /// webhook has its own or while one takes the place of another. Omitted: what is stored is kept. `null` removes it. It is
    /// never returned.
    #[serde(default, deserialize_with = "input::present")]
    event_secret: Option<Option<EventSecretInput>>,
}

/// One secret, or several.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "EventSecret"))]
#[serde(untagged)]
pub(super) enum EventSecretInput {
    /// One.
    One(#[cfg_attr(test, schemars(length(min = 1, max = 512)))] Secret),
    /// Several.
    Several(#[cfg_attr(test, schemars(length(min = 1, max = 20)))] Vec<Secret>),
}

pub(super) async fn put_client<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, PutClientInput>,
) -> Result<Json<OAuthClientResponse>> {
    let (app, auth_method) = load_client_method(context, call).await?;
    let input = body.read()?;
    let event_secret = match input.event_secret {
        None => NewSecret::Kept,
        Some(None) => NewSecret::Removed,
        Some(Some(entered)) => {
            let secrets = match entered {
                EventSecretInput::One(secret) => vec![secret],
                EventSecretInput::Several(secrets) => secrets,
            };
            NewSecret::Is(oauth_clients::read_event_secrets(&app, &secrets)?)
        }
    };
    let (workspace, actor, if_match) = (&call.caller_key()?.workspace, call.key_actor()?, call.if_match()?);
    if oauth_clients::events_only_method(&app).is_some() {
        let others = [
            ("client_id", input.client_id.is_some()),
            ("client_secret", input.client_secret.is_some()),
            ("key_id", input.key_id.is_some()),
            ("certificate", input.certificate.is_some()),
            ("variables", !input.variables.is_empty()),
            ("scopes", input.scopes.is_some()),
            ("secret_expires_at", input.secret_expires_at.is_some()),
        ];
        if let Some((field, _)) = others.iter().find(|(_, is_given)| *is_given) {
            let problem = "is not for this app, whose connections need no OAuth client. Send event_secret alone.";
            return Err(Error::invalid_field(field, problem));
        }
        let client =
            oauth_clients::put_events_client(context, workspace, &auth_method, event_secret, &actor, &if_match).await?;
        return Ok(client_json(context, &app, &auth_method, client));
    }
    let entered = EnteredClient {
        client_id: input.client_id.ok_or_else(|| Error::invalid_field("client_id", "is missing."))?,
        event_secret,
        secret: match input.client_secret {
            Some(Some(secret)) => NewSecret::Is(secret),
            Some(None) => NewSecret::Removed,
            None => NewSecret::Kept,
        },
        key_id: input.key_id,
        certificate: input.certificate,
        variables: input.variables,
        scopes: input.scopes,
        secret_expires_at: input.secret_expires_at,
    };
    let client = oauth_clients::put_client(context, workspace, &auth_method, entered, &actor, &if_match).await?;
    Ok(client_json(context, &app, &auth_method, client))
}

/// Opens an address that the app sends its secret to.
pub(super) async fn open_handshake<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<OpenedHandshakeResponse>> {
    let (app, _, client) = load_current_client(context, call).await?;
    event_handshakes::require_handshake(&app)?;
    let opened = event_handshakes::open(context, &client, &call.key_actor()?)?;
    Ok(Json::ok(OpenedHandshakeResponse::of(context, &client, &opened)))
}

/// What came to such an address.
pub(super) async fn get_handshake<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ReceivedHandshakeResponse>> {
    let (app, _, client) = load_current_client(context, call).await?;
    let handshake = event_handshakes::require_handshake(&app)?;
    // Whoever may not set a secret of this client is not shown one.
    authorize::check_client_change(call.caller_key()?, &app.id)?;
    Ok(Json::ok(ReceivedHandshakeResponse::of(handshake, event_handshakes::find_received(context, &client))))
}

pub(super) async fn delete_client<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedResponse<ClientId>>> {
    let (_, auth_method, client) = load_current_client(context, call).await?;
    oauth_clients::delete_client(context, &auth_method, &client, &call.key_actor()?, &call.if_match()?).await?;
    Ok(Json::ok(DeletedResponse::of(client.id)))
}
