//! Apps and their auth methods.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::app::{
    App, AppEvents, AppId, AppScope, AuthMethod, AuthMethodId, ClientHelp, CredentialField, CredentialKind, Limits,
    Variable, VariableSource,
};
use crate::connect::{
    client_setup::{self, is_auth_method_ready},
    hosts,
};
use crate::context::Context;
use crate::definition_moves::MoveCounts;
use crate::http::body::Flat;
use crate::ids::WorkspaceId;
use crate::ports::Ports;
use crate::store::clients::WorkspaceClients;

/// A catalogue app, or a custom app of the workspace.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AppDetailsResponse {
    id: AppId,
    name: String,
    categories: Vec<String>,
    /// The app's own documentation.
    #[cfg_attr(test, schemars(url))]
    docs: Option<String>,
    /// The pages the definition's facts come from.
    #[cfg_attr(test, schemars(inner(url)))]
    sources: Vec<String>,
    /// Facts of the definition that no source confirms.
    unverified: Vec<String>,
    /// Whether it is a custom app of the workspace.
    custom: bool,
    /// Who defined it. Only the workspace has checked the addresses of its custom apps.
    defined_by: DefinedBy,
    /// Its auth methods, the recommended one first.
    #[cfg_attr(test, schemars(length(min = 1, max = 10)))]
    auth_methods: Vec<AuthMethodResponse>,
    /// Those of the recommended auth method.
    scopes: Vec<AppScope>,
    /// Its webhook events. Null if the definition does not have them.
    events: Option<AppEvents>,
    /// Apps of one client family share a client. Null if there is none.
    client_family: Option<String>,
    /// Whether the first auth method with a consent has a client whose secret may be sent to the app's current
    /// addresses. False if there is no such auth method.
    client_is_set_up: bool,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "snake_case")]
enum DefinedBy {
    Catalogue,
    Workspace,
}

impl AppDetailsResponse {
    /// As a workspace with these clients sees it.
    pub(crate) fn of<P: Ports>(
        context: &Context<P>,
        workspace: &WorkspaceId,
        clients: &WorkspaceClients,
        app: &App,
        custom: bool,
    ) -> Self {
        let expected = |auth_method: &AuthMethod| {
            client_setup::expected_redirect_id(clients, workspace, auth_method)
                .map(|id| context.config.public_url.redirect_uri(&id))
        };
        let ways = app.auth_methods();
        let first = ways.first();
        Self {
            id: app.id.clone(),
            name: app.name.clone(),
            categories: app.categories.clone(),
            docs: app.docs.clone(),
            sources: app.sources.clone(),
            unverified: app.unverified.clone(),
            custom,
            defined_by: if custom { DefinedBy::Workspace } else { DefinedBy::Catalogue },
            auth_methods: ways
                .iter()
                .map(|auth_method| {
                    AuthMethodResponse::of(
                        auth_method,
                        is_auth_method_ready(clients, auth_method),
                        expected(auth_method),
                    )
                })
                .collect(),
            scopes: first.map(|auth_method| auth_method.scopes.clone()).unwrap_or_default(),
            events: app.events.clone(),
            client_family: first.and_then(|auth_method| auth_method.client_family.clone()),
            client_is_set_up: app
                .oauth2_method()
                .is_some_and(|auth_method| is_auth_method_ready(clients, &auth_method)),
        }
    }
}

/// A custom app after a change, and what happened to its connections.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct UpdatedAppResponse {
    #[serde(flatten)]
    app: Flat<AppDetailsResponse>,
    connections: MoveCounts,
}

impl UpdatedAppResponse {
    pub(crate) fn of(app: AppDetailsResponse, connections: MoveCounts) -> Self {
        Self { app: Flat(app), connections }
    }
}

/// One auth method of an app.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct AuthMethodResponse {
    id: AuthMethodId,
    r#type: CredentialKind,
    /// Its name for people, if the definition has one.
    name: Option<String>,
    /// Whether it can be used in this workspace: it needs no OAuth client, or has one whose secret may be sent to the
    /// app's current addresses.
    ready: bool,
    /// If the app or this auth method ends. In the catalogue it says by when (YYYY-MM-DD, or "No date is announced.")
    /// and, if there is another auth method, which one to use instead.
    deprecated: Option<String>,
    /// The hosts that get the credential, or the client's secret. An unknown part is shown by its label:
    /// `[Shop].example.com`. For an issuer only its own host, until it is discovered.
    hosts: BTreeSet<String>,
    /// The fields of the manual credential. Empty for `oauth2`.
    fields: Vec<CredentialField>,
    /// The variables of the app's addresses that the person enters when connecting.
    variables: Vec<AppVariableResponse>,
    /// What the workspace must set up first. Null if the auth method needs no OAuth client.
    client: Option<ClientRequirements>,
    /// What a person should know before going to the app. Null if there is no OAuth server.
    help: Option<Vec<String>>,
    limits: Limits,
    scopes: Vec<AppScope>,
}

impl AuthMethodResponse {
    fn of(auth_method: &AuthMethod, ready: bool, redirect_uri: Option<String>) -> Self {
        let server = auth_method.oauth_server();
        let variables = |from: &VariableSource| {
            let given = auth_method.variables.iter().filter(|(_, one)| one.source == *from);
            given.map(|(name, one)| AppVariableResponse::of(name, one)).collect()
        };
        let client = (auth_method.kind == CredentialKind::OAuth2).then(|| ClientRequirements {
            fields: &["client_id", "client_secret"],
            variables: variables(&VariableSource::Client),
            redirect_uri,
            help: server.and_then(|server| server.client_help.clone()),
        });
        Self {
            id: auth_method.method_id.clone(),
            r#type: auth_method.kind,
            name: auth_method.method_name.clone(),
            ready,
            deprecated: auth_method.deprecated.clone(),
            hosts: hosts::for_auth_method(auth_method),
            fields: auth_method.fields.clone(),
            variables: variables(&VariableSource::Person),
            client,
            help: server.map(|server| server.connect_help.clone()),
            limits: auth_method.limits.clone(),
            scopes: auth_method.scopes.clone(),
        }
    }
}

/// The OAuth client that an auth method needs.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ClientRequirements {
    /// The fields of `PUT /v1/apps/{app}/client` for the app's client.
    fields: &'static [&'static str],
    /// The variables that are set together with the client.
    variables: Vec<AppVariableResponse>,
    /// The redirect URI to register at the app: that of the current client, or of the next one. Null if only the answer
    /// to `PUT /v1/apps/{app}/client` contains it.
    #[cfg_attr(test, schemars(url))]
    redirect_uri: Option<String>,
    /// Where a client is registered at the app.
    help: Option<ClientHelp>,
}

/// A variable of an app's addresses.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct AppVariableResponse {
    /// Its name in `variables`.
    id: String,
    label: String,
    help: Option<String>,
    example: Option<String>,
    /// The default value.
    default: Option<String>,
}

impl AppVariableResponse {
    fn of(name: &str, variable: &Variable) -> Self {
        Self {
            id: name.to_owned(),
            label: variable.label.clone(),
            help: variable.help.clone(),
            example: variable.example.clone(),
            default: variable.default.clone(),
        }
    }
}
