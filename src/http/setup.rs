//! How an app's OAuth client is set up, for the admins of a workspace.
//!
//! Owns the content of that page: the app's own steps, and the call that enters the client. Never shows or takes a
//! client's secret: only that call sends it.

use std::rc::Rc;

use super::page_frame::page_context;
use super::{Call, Response, input, page};
use crate::app::{App, AuthMethod, Variable, VariableSource};
use crate::app_list::{self, AppList};
use crate::connect::client_setup;
use crate::connect::start::{client_path, setup_page_path};
use crate::context::Context;
use crate::error::Result;
use crate::gather::Gather as _;
use crate::oauth_clients;
use crate::ports::Ports;
use crate::registry;
use crate::store::clients::WorkspaceClients;
use crate::workspaces;

/// How an app's OAuth client is set up, for the admins of a workspace.
pub(super) async fn show_setup_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let app = registry::require_current_app(context, &session.workspace, call.path_app()?).await?.app;
    let shell = page_context(context, call.request, Some(session));
    match oauth_clients::find_oauth2_method(&app, input::auth_method_param(call.request)?.as_ref())? {
        Some(auth_method) => {
            Ok(Response::html(200, page::setup(&shell, &build_setup_view(context, call, &app, &auth_method).await?)))
        }
        None => Ok(Response::html(200, page::message(&shell, &no_setup_message(shell.text, call, &app)))),
    }
}

/// A manual credential needs no client.
fn no_setup_message(text: &page::Texts, call: &Call<'_>, app: &App) -> page::Message {
    let way =
        input::query_param(call.request, "auth_method").map(|way| format!("?auth_method={way}")).unwrap_or_default();
    page::Message {
        title: page::fill_plain(text.setup.not_needed_title, &[("app", &app.name)]),
        text: text.setup.not_needed.into(),
        tone: page::Tone::Good,
        links: vec![
            (page::fill_plain(text.setup.connect_app, &[("app", &app.name)]), format!("/oauth/start/{}{way}", app.id)),
            (text.setup.all_apps.into(), "/connect".into()),
        ],
    }
}

pub(super) async fn build_setup_view<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    app: &App,
    auth_method: &Rc<AuthMethod>,
) -> Result<page::SetupView> {
    let session = call.session()?;
    let (workspace, found) = context
        .at_once(
            workspaces::load_workspace(context, &session.workspace),
            app_list::load_app_list(context, &session.workspace),
        )
        .await;
    let (workspace, AppList { apps, clients }) = (workspace?, found?);
    let expected = client_setup::expected_redirect_id(&clients, &session.workspace, auth_method);
    let redirect_uri = expected.map(|id| context.config.public_url.redirect_uri(&id));
    let server = auth_method.require_oauth_server()?;
    let at = |what: &str| context.config.public_url.at(&client_path(auth_method, what));
    let help = server.client_help.as_ref();
    let shown = redirect_uri.as_deref().unwrap_or(page::ENGLISH.setup.some_redirect_uri);
    let family = apps.iter().filter(|one| one.client_registration() == auth_method.registration());
    let (asked, further): (Vec<_>, Vec<_>) =
        auth_method.scopes.iter().partition(|scope| scope.required || scope.default);
    let description = |scope: &crate::app::AppScope| (scope.id.clone(), scope.description.clone());
    Ok(page::SetupView {
        app: app.id.to_string(),
        query: format!("?auth_method={}", auth_method.method_id),
        app_name: app.name.clone(),
        auth_method: (app.auth_methods().len() > 1).then(|| auth_method.display_name()),
        other_auth_methods: app
            .auth_methods()
            .iter()
            .filter(|one| one.method_id != auth_method.method_id)
            .map(|one| other_auth_method(&clients, one))
            .collect(),
        workspace: workspace.name,
        is_set_up: client_setup::is_auth_method_ready(&clients, auth_method),
        console_url: help.map(|help| help.url.clone()),
        steps: help
            .map(|help| help.steps.iter().map(|step| step.replace("{redirect_uri}", shown)).collect())
            .unwrap_or_default(),
        redirect_uri: redirect_uri.clone(),
        redirect_uri_depends_on: redirect_uri_variables(&clients, auth_method),
        default_scopes: asked.into_iter().map(description).collect(),
        optional_scopes: further.into_iter().map(description).collect(),
        connect_help: server.connect_help.clone(),
        put_client_call: page::SetupCall { method: "PUT", url: at(""), body: client_body_example(auth_method) },
        test_client_call: page::SetupCall { method: "POST", url: at("/test"), body: test_body_example(auth_method) },
        apps_sharing_client: family.map(|one| one.name().to_owned()).filter(|name| *name != app.name).collect(),
        docs_url: app.docs.clone(),
    })
}

/// The labels of the variables that decide the authorization server, while there is no client.
fn redirect_uri_variables(clients: &WorkspaceClients, auth_method: &AuthMethod) -> Vec<String> {
    if clients.current(auth_method.registration()).is_some() {
        return vec![];
    }
    let label = |name: &str| auth_method.variables.get(name).map(|one| one.label.clone());
    auth_method.client_host_variables().into_iter().filter_map(label).collect()
}

/// Another auth method: its name, whether it is ready, and where it starts or is set up.
fn other_auth_method(clients: &WorkspaceClients, auth_method: &AuthMethod) -> (String, bool, String) {
    let ready = client_setup::is_auth_method_ready(clients, auth_method);
    let begins = format!("/oauth/start/{}?auth_method={}", auth_method.app_id, auth_method.method_id);
    (auth_method.display_name(), ready, if ready { begins } else { setup_page_path(auth_method) })
}

/// The body that enters a client, without any value of one.
fn client_body_example(auth_method: &AuthMethod) -> String {
    let body = serde_json::json!({ "client_id": "…", "client_secret": "…" });
    with_variables(body, auth_method, &VariableSource::Client, |one| one.example.clone())
}

/// The body of a client test. The values of people are left out: an example host may belong to somebody, and must get
/// no secret.
fn test_body_example(auth_method: &AuthMethod) -> String {
    with_variables(serde_json::json!({}), auth_method, &VariableSource::Person, |_| None)
}

fn with_variables(
    mut body: serde_json::Value,
    auth_method: &AuthMethod,
    of: &VariableSource,
    example: impl Fn(&Variable) -> Option<String>,
) -> String {
    let asked = auth_method.variables.iter().filter(|(_, one)| one.source == *of);
    let variables: serde_json::Map<_, _> = asked
        .map(|(name, one)| (name.clone(), one.default.clone().or(example(one)).unwrap_or("…".into()).into()))
        .gather();
    if let (Some(body), false) = (body.as_object_mut(), variables.is_empty()) {
        body.insert("variables".to_owned(), variables.into());
    }
    body.to_string()
}
