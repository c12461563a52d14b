//! Apps and their ways to connect.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::app::{App, AppId, ClientHelp, Definition, Events, Field, Kind, Limits, Origin, Scope, Variable, WayId};
use crate::connect::start::redirect_uri;
use crate::connect::{client_setup, hosts};
use crate::core::Core;
use crate::definition_moves::Moves;
use crate::http::body::Flat;
use crate::http::known::is_ready;
use crate::ids::WorkspaceId;
use crate::ports::Ports;
use crate::store::clients::Registrations;

/// An app of the catalogue, or one that the workspace defined.
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
    /// Facts of the definition that none of those pages confirms.
    unverified: Vec<String>,
    /// Whether it is the workspace's own.
    custom: bool,
    /// Who defined it. Nobody but the workspace has checked the addresses of its own apps.
    defined_by: DefinedBy,
    /// The ways to connect it, the recommended one first.
    #[cfg_attr(test, schemars(length(min = 1, max = 10)))]
    auth: Vec<AuthMethodResponse>,
    /// Those of the recommended way.
    scopes: Vec<Scope>,
    /// What it sends to webhooks; null where the definition does not tell.
    events: Option<Events>,
    /// Apps of one family share a client. Null where the app stands alone.
    client_family: Option<String>,
    /// Whether the first way that people consent to at the app has a client whose secret may go where the app is now;
    /// false where there is no such way.
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
    /// As a workspace with these clients may connect it.
    pub(crate) fn of<P: Ports>(
        core: &Core<P>,
        (workspace, clients): (&WorkspaceId, &Registrations),
        definition: &Definition,
        custom: bool,
    ) -> Self {
        let expected =
            |app: &App| client_setup::expected_redirect_id(clients, workspace, app).map(|id| redirect_uri(core, &id));
        let ways = definition.ways();
        let first = ways.first();
        Self {
            id: definition.id.clone(),
            name: definition.name.clone(),
            categories: definition.categories.clone(),
            docs: definition.docs.clone(),
            sources: definition.sources.clone(),
            unverified: definition.unverified.clone(),
            custom,
            defined_by: if custom { DefinedBy::Workspace } else { DefinedBy::Catalogue },
            auth: ways.iter().map(|app| AuthMethodResponse::of(app, is_ready(clients, app), expected(app))).collect(),
            scopes: first.map(|app| app.scopes.clone()).unwrap_or_default(),
            events: definition.events.clone(),
            client_family: first.and_then(|app| app.client_family.clone()),
            client_is_set_up: definition.oauth2().is_some_and(|app| is_ready(clients, &app)),
        }
    }
}

/// A custom app as it is now, and what became of the connections that it had.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct UpdatedAppResponse {
    #[serde(flatten)]
    app: Flat<AppDetailsResponse>,
    connections: Moves,
}

impl UpdatedAppResponse {
    pub(crate) fn of(app: AppDetailsResponse, connections: Moves) -> Self {
        Self { app: Flat(app), connections }
    }
}

/// One way to connect an app.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct AuthMethodResponse {
    id: WayId,
    r#type: Kind,
    /// What people call it, where the definition says.
    name: Option<String>,
    /// Whether it can be used in this workspace: it needs no OAuth client, or has one whose secret may go where the app is
    /// now.
    ready: bool,
    /// That the app, or this way to it, ends. In the catalogue it says by when (YYYY-MM-DD, or "No date is announced.")
    /// and, if there is another way, which one to use instead.
    deprecated: Option<String>,
    /// The hosts that get the credential, or the client's secret. A part that is told later stands there by its label:
    /// `[Shop].example.com`. Of an issuer only its own host, until it is asked.
    hosts: BTreeSet<String>,
    /// What a person enters as the credential; empty for `oauth2`.
    fields: Vec<Field>,
    /// What the app's addresses depend on and the person gives when connecting.
    variables: Vec<AppVariableResponse>,
    /// What the workspace must set up first; null where the way needs no OAuth client.
    client: Option<ClientRequirements>,
    /// What a person should know before going to the app; null where there is no OAuth server.
    help: Option<Vec<String>>,
    limits: Limits,
    scopes: Vec<Scope>,
}

impl AuthMethodResponse {
    fn of(app: &App, ready: bool, redirect_uri: Option<String>) -> Self {
        let server = app.server();
        let variables = |from: &Origin| {
            let given = app.variables.iter().filter(|(_, one)| one.from == *from);
            given.map(|(name, one)| AppVariableResponse::of(name, one)).collect()
        };
        let client = (app.kind == Kind::OAuth2).then(|| ClientRequirements {
            fields: &["client_id", "client_secret"],
            variables: variables(&Origin::Client),
            redirect_uri,
            help: server.and_then(|server| server.client_help.clone()),
        });
        Self {
            id: app.way.clone(),
            r#type: app.kind,
            name: app.way_name.clone(),
            ready,
            deprecated: app.deprecated.clone(),
            hosts: hosts::of_app(app),
            fields: app.fields.clone(),
            variables: variables(&Origin::Person),
            client,
            help: server.map(|server| server.connect_help.clone()),
            limits: app.limits.clone(),
            scopes: app.scopes.clone(),
        }
    }
}

/// What a way to connect needs of an OAuth client.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ClientRequirements {
    /// What `PUT /v1/apps/{app}/client` takes of the app's client.
    fields: &'static [&'static str],
    /// What is set together with the client.
    variables: Vec<AppVariableResponse>,
    /// What to enter at the app as the allowed redirect address: the current client's, or that of the client that is made
    /// next. Null where only the answer to `PUT /v1/apps/{app}/client` tells it.
    #[cfg_attr(test, schemars(url))]
    redirect_uri: Option<String>,
    /// Where a client is made at the app.
    help: Option<ClientHelp>,
}

/// Something that an app's addresses depend on.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct AppVariableResponse {
    /// Its name in `variables`.
    id: String,
    label: String,
    help: Option<String>,
    example: Option<String>,
    /// Taken when nothing is given.
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
