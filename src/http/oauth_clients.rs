//! The OAuth clients of apps, for programs.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;

use super::apps::load_registered_app;
use super::body::{DeletedResponse, Json, Unread};
use super::input::QueryParams;
use super::responses::OAuthClientResponse;
use super::{Call, input};
use crate::app::AuthMethod;
use crate::client::Client;
use crate::connect::client_setup::NewSecret;
use crate::connect::recent_client_test::{self, RecentTest};
use crate::context::Context;
use crate::error::Result;
use crate::ids::ClientId;
use crate::oauth_clients::{self, EnteredClient};
use crate::ports::Ports;
use crate::preconditions::ReadState;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The auth method with a consent at the app, which needs a client.
async fn load_oauth2_method<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Rc<AuthMethod>> {
    let app = load_registered_app(context, call).await?.app;
    QueryParams::parse_known(call.request, &["auth_method"])?;
    oauth_clients::require_oauth2_method(&app, input::auth_method_param(call.request)?.as_ref())
}

async fn load_current_client<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<(Rc<AuthMethod>, Client)> {
    let auth_method = load_oauth2_method(context, call).await?;
    let client = oauth_clients::load_current_client(context, &call.caller_key()?.workspace, &auth_method).await?;
    Ok((auth_method, client))
}

pub(super) async fn get_client<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<OAuthClientResponse>> {
    let (auth_method, client) = load_current_client(context, call).await?;
    Ok(client_json(context, &auth_method, client))
}

fn client_json<P: Ports>(
    context: &Context<P>,
    auth_method: &Rc<AuthMethod>,
    client: Client,
) -> Json<OAuthClientResponse> {
    let state = ReadState::of_client(&client);
    Json::ok(OAuthClientResponse::of(context, client, auth_method)).tagged(state)
}

/// Tests the client at the app, before anybody connects.
pub(super) async fn test_client<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, TestClientInput>,
) -> Result<Json<RecentTest>> {
    let (auth_method, client) = load_current_client(context, call).await?;
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
    /// As the app shows it.
    #[cfg_attr(test, schemars(length(min = 1, max = 4096)))]
    client_id: String,
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
}

pub(super) async fn put_client<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, PutClientInput>,
) -> Result<Json<OAuthClientResponse>> {
    let auth_method = load_oauth2_method(context, call).await?;
    let input = body.read()?;
    let entered = EnteredClient {
        client_id: input.client_id,
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
    let client = oauth_clients::put_client(
        context,
        &call.caller_key()?.workspace,
        &auth_method,
        entered,
        &call.key_actor()?,
        &call.if_match()?,
    )
    .await?;
    Ok(client_json(context, &auth_method, client))
}

pub(super) async fn delete_client<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedResponse<ClientId>>> {
    let (auth_method, client) = load_current_client(context, call).await?;
    oauth_clients::delete_client(context, &auth_method, &client, &call.key_actor()?, &call.if_match()?).await?;
    Ok(Json::ok(DeletedResponse::of(client.id)))
}
