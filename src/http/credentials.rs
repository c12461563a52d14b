//! Manual credentials from programs: `POST /v1/connections` and `PUT /v1/connections/{id}/credential`.
//!
//! Owns the members next to a credential: the app, the auth method, what happens if the account is connected already.
//! Never answers with a question, because a program has decided. The credential's own JSON is in `credential_json`.

mod credential_json;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::body::{Json, Unread};
use super::connections;
use super::responses::ConnectionResponse;
use super::{Call, links};
use crate::app::{App, AppId, AuthMethod, AuthMethodId};
use crate::connect::FlowFailure;
use crate::connect::complete::Decider;
use crate::connect::hosts;
use crate::connect::manual::{self, ManualConnectRequest};
use crate::connect::start::{self, ConnectOptions, ConnectRequest};
use crate::connection::ConnectionSettings;
use crate::connections::validate_metadata;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, random_text};
use crate::names::{MAX_NAME_LENGTH, parse_name};
use crate::ports::Ports;
use crate::preconditions::{Condition, ReadState};
use crate::quotas;
use crate::registry;
use crate::secret::Secret;
use crate::store::authorizations::{Flow, FlowOutcome};
use crate::workspace::Role;

use credential_json::parse_manual_credential;

pub(super) use credential_json::CredentialInput;

/// A connection to create with a credential.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CreateConnectionRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct CreateConnectionInput {
    app: AppId,
    /// The auth method. Default: the app's first one with the credential's type.
    auth_method: Option<AuthMethodId>,
    /// Default: app and account, with a number if that name exists. No control characters; surrounding spaces are
    /// removed.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: Option<String>,
    /// The owner of the connection. Absent or null: the whole workspace.
    user: Option<links::UserInput>,
    /// What the account is for. Absent or null: what the app tells by the credential, else unknown. A contradiction is
    /// refused.
    environment: Option<Environment>,
    /// Whether everybody of the workspace sees and uses it. Absent or null: if it has no `user`.
    shared: Option<bool>,
    /// The metadata of the embedding product.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "super::openapi::Metadata"))]
    metadata: BTreeMap<String, String>,
    /// The variables of the app's addresses that a person enters: those of `variables` of the auth method. Unknown ones
    /// are refused.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Requested instead of the default scopes, if the credential is tokens or issues them. For imported tokens: the
    /// scopes that the connection should have; `credential.scopes` are the granted ones.
    #[cfg_attr(test, schemars(length(max = 200)))]
    scopes: Option<Vec<String>>,
    credential: CredentialInput,
    /// Whether the app is asked for the account, or if the credential works. Tokens that must first be issued or
    /// refreshed are requested in any case.
    #[serde(default = "yes")]
    check: bool,
    /// What happens if the user has a connection to that account already.
    #[serde(default)]
    on_duplicate: OnDuplicateAccount,
}

/// A credential that replaces that of a connection.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ReplaceCredentialRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaceCredentialInput {
    /// The auth method. Default: the connection's own, if the credential has its type, otherwise the app's first one
    /// with that type.
    auth_method: Option<AuthMethodId>,
    /// The variables of the app's addresses that a person enters. Missing ones keep the connection's values.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Requested in addition to the earlier scopes, if the credential is tokens or issues them.
    #[cfg_attr(test, schemars(length(max = 200)))]
    scopes: Option<Vec<String>>,
    credential: CredentialInput,
    /// Whether the app is asked for the account. Without that the account is unknown, so `switch_account` is needed.
    #[serde(default = "yes")]
    check: bool,
    /// Store it also if it belongs to another account, or if that is unknown. The connection's previous grant is
    /// revoked, if the app can revoke it and no other connection uses it.
    #[serde(default)]
    switch_account: bool,
    /// New hosts of the custom app since the connection was created that may get the credential. A new token or
    /// revocation address at a known host is named with its path (`login.example.com/realms/b/token`). Without them the
    /// answer is 409 `addresses_changed`, which names them.
    #[serde(default)]
    accept_hosts: BTreeSet<String>,
}

/// What happens if the account is connected already.
#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "OnDuplicateCredential", extend("default" = "create")))]
#[serde(rename_all = "snake_case")]
enum OnDuplicateAccount {
    /// A second connection is created.
    #[default]
    Create,
    /// The existing one gets the credential. It keeps its name and metadata.
    Reuse,
}

fn yes() -> bool {
    true
}

pub(super) async fn create_connection<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, CreateConnectionInput>,
) -> Result<Json<ConnectionResponse>> {
    let input = body.read()?;
    let key = call.caller_key()?;
    let name = input.name.map(|name| parse_name("name", &name, MAX_NAME_LENGTH)).transpose()?;
    validate_metadata(&input.metadata)?;
    let registered = registry::load_current_app(context, &key.workspace, &input.app).await?;
    let registered = registered
        .ok_or_else(|| Error::invalid_field("app", "is neither an app of the catalogue nor of this workspace."))?;
    let auth_method = select_auth_method(&registered.app, input.auth_method.as_ref(), &input.credential)?;
    let user = input.user.map(links::parse_user).transpose()?;
    let settings = links::parse_settings(input.environment, input.shared, user.as_ref())?;
    let request = ConnectRequest {
        workspace: key.workspace.clone(),
        app: input.app,
        auth_method: Some(auth_method.method_id.clone()),
        variables: input.variables,
        connection: None,
        scopes: input.scopes,
        exact_scopes: false,
        user,
        settings,
        role: Role::Member,
        link: None,
        return_to: None,
    };
    let paste = ManualConnectRequest {
        credential: parse_manual_credential(&auth_method, input.credential)?,
        name,
        metadata: input.metadata,
        check: input.check,
        actor: Some(call.key_actor()?),
        condition: Condition::default(),
    };
    quotas::check_connection_quota(context, &key.workspace).await?;
    let deciding = Decider::Program { reuse: input.on_duplicate == OnDuplicateAccount::Reuse, switch: false };
    let options = start::prepare_options(context, &request).await?;
    let flow = store_credential(context, &request, &options, paste, deciding).await?;
    connection_response(context, call, &flow, 201).await
}

pub(super) async fn replace_credential<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, ReplaceCredentialInput>,
) -> Result<Json<ConnectionResponse>> {
    let connection = &call.path_connection()?.connection;
    let input = body.read()?;
    // Before the app is asked, and once more where the credential is stored.
    let condition = call.if_match()?.condition(Some(ReadState::of_connection(connection)))?;
    let registered = registry::require_current_app(context, &connection.workspace, &connection.app).await?;
    // The default is the connection's auth method, if the credential has its type.
    let own = Some(&connection.auth_method).filter(|_| input.credential.kind() == Some(connection.kind));
    let own = own.filter(|auth_method| registered.app.auth_method(Some(auth_method)).is_some());
    let auth_method = select_auth_method(&registered.app, input.auth_method.as_ref().or(own), &input.credential)?;
    let request = ConnectRequest {
        workspace: connection.workspace.clone(),
        app: connection.app.clone(),
        auth_method: Some(auth_method.method_id.clone()),
        variables: input.variables,
        connection: Some(connection.id.clone()),
        scopes: input.scopes,
        exact_scopes: false,
        user: connection.user.clone(),
        settings: ConnectionSettings::default(),
        // The key was already authorised.
        role: Role::Admin,
        link: None,
        return_to: None,
    };
    let options = start::prepare_options(context, &request).await?;
    hosts::require_accepted(context, &options, &input.accept_hosts).await?;
    let paste = ManualConnectRequest {
        credential: parse_manual_credential(&auth_method, input.credential)?,
        name: None,
        metadata: BTreeMap::new(),
        check: input.check,
        actor: Some(call.key_actor()?),
        condition,
    };
    let deciding = Decider::Program { reuse: false, switch: input.switch_account };
    let flow = store_credential(context, &request, &options, paste, deciding).await?;
    connection_response(context, call, &flow, 200).await
}

/// No browser started it, so it matches no browser's session.
async fn store_credential<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    options: &ConnectOptions,
    paste: ManualConnectRequest,
    deciding: Decider,
) -> Result<Flow> {
    let nobody = Secret::new(random_text::<32>(context.ports.random())?);
    let flow =
        manual::connect_manually_with_options(context, request, options, paste, nobody.expose(), deciding).await?;
    match (flow.outcome, flow.error.as_deref().and_then(FlowFailure::parse)) {
        (FlowOutcome::Failed, Some(failure)) => Err(manual::flow_failure_error(failure)),
        (FlowOutcome::Failed, None) => Err(Error::internal("a flow failed without a reason")),
        _ => Ok(flow),
    }
}

async fn connection_response<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    flow: &Flow,
    status: u16,
) -> Result<Json<ConnectionResponse>> {
    let id: &ConnectionId = flow.connection.as_ref().ok_or_else(|| Error::internal("a flow without its connection"))?;
    let listed = connections::load_connection(context, call, id).await?;
    // An existing connection was not created.
    let status = if listed.connection.generation > 1 { 200 } else { status };
    let state = ReadState::of_connection(&listed.connection);
    Ok(Json::new(status, ConnectionResponse::of(context, listed)).tagged(state))
}

/// The requested auth method, or the first one with the credential's type.
fn select_auth_method(
    app: &App,
    id: Option<&AuthMethodId>,
    members: &CredentialInput,
) -> Result<std::rc::Rc<AuthMethod>> {
    let kind = members.kind().ok_or_else(|| {
        Error::invalid_field(
            "credential.type",
            "must be one of oauth2, client_credentials, service_account, api_key, bot_token, basic.",
        )
    })?;
    let fits = |auth_method: &&std::rc::Rc<AuthMethod>| {
        auth_method.kind == kind && id.is_none_or(|id| auth_method.method_id == *id)
    };
    let found = app.auth_methods().iter().find(fits).cloned();
    found.ok_or_else(|| {
        let has: Vec<_> = app
            .auth_methods()
            .iter()
            .map(|auth_method| format!("{} ({})", auth_method.method_id, auth_method.kind.as_str()))
            .collect();
        let problem = format!("is no way to connect {}; it has {}.", app.name, has.join(", "));
        Error::invalid_field(if id.is_some() { "auth_method" } else { "credential.type" }, problem)
    })
}
