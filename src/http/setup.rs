//! How an app's OAuth client is set up, for whoever runs the workspace.
//!
//! Owns what that page says: the app's own steps, and the call that enters the client. Refuses to show or take a
//! client's secret: it is entered by that call alone.

use std::rc::Rc;

use super::session::shell;
use super::{Call, Response, ask, input, known, page, session};
use crate::app::{App, Definition, Kind, Origin, Variable};
use crate::connect::client_setup;
use crate::connect::start::{client_path, redirect_uri, setup_page};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::registry;
use crate::store::clients::{self, Registrations};
use crate::store::workspaces;

/// How an app's OAuth client is set up, for whoever runs the workspace.
pub(super) async fn show<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let missing = || Error::not_found("app");
    let definition = registry::current(core, &session.workspace, call.app()?).await?.ok_or_else(missing)?.definition;
    let csrf = session::form_token(core, call.request);
    let shell = shell(Some(session), csrf.as_deref());
    match way(call, &definition)? {
        Some(app) => Ok(Response::html(200, page::setup(&shell, &view(core, call, &definition, &app).await?))),
        None => Ok(Response::html(200, page::message(&shell, &needs_none(call, &definition)))),
    }
}

/// The way that the page is about: the one that is asked for, or the first that needs a client. None where none needs one.
fn way(call: &Call<'_>, definition: &Definition) -> Result<Option<Rc<App>>> {
    let Some(asked) = input::way(call.request)? else { return Ok(definition.oauth2()) };
    let app = definition.way(Some(&asked));
    let app = app.ok_or_else(|| Error::not_found("way to connect this app"))?;
    Ok(Some(app).filter(|app| app.kind == Kind::OAuth2))
}

/// What is entered here needs no client of the app.
fn needs_none(call: &Call<'_>, definition: &Definition) -> page::Message {
    let way = input::query(call.request, "way").map(|way| format!("?way={way}")).unwrap_or_default();
    page::Message {
        title: format!("{} needs no set-up", definition.name),
        text: "What it asks for is entered here when it is connected. Everybody can do that right away.".into(),
        tone: page::Tone::Good,
        links: vec![
            (format!("Connect {}", definition.name), format!("/oauth/start/{}{way}", definition.id)),
            ("Connections".into(), "/".into()),
        ],
    }
}

async fn view<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    definition: &Definition,
    app: &Rc<App>,
) -> Result<page::SetupView> {
    let session = call.session()?;
    let workspace =
        workspaces::get(core.db(), &session.workspace).await?.ok_or_else(|| Error::not_found("workspace"))?;
    let clients = clients::registrations(core.db(), &session.workspace).await?;
    let expected = client_setup::expected_redirect_id(&clients, &session.workspace, app);
    let redirect_uri = expected.map(|id| redirect_uri(core, &id));
    let server = app.oauth2()?;
    let at = |what: &str| core.config.public_url.at(&client_path(app, what));
    let help = server.client_help.as_ref();
    let shown = redirect_uri.as_deref().unwrap_or("the redirect URI");
    let family = known::all(core, &session.workspace).await?;
    let family = family.iter().filter(|one| one.registration() == app.registration());
    let (asked, further): (Vec<_>, Vec<_>) = app.scopes.iter().partition(|scope| scope.required || scope.default);
    let description = |scope: &crate::app::Scope| (scope.id.clone(), scope.description.clone());
    Ok(page::SetupView {
        app_name: definition.name.clone(),
        way: (definition.ways().len() > 1).then(|| ask::kind(app)),
        others: definition.ways().iter().filter(|one| one.way != app.way).map(|one| other(&clients, one)).collect(),
        workspace: workspace.name,
        is_set_up: known::is_ready(&clients, app),
        console: help.map(|help| help.url.clone()),
        steps: help
            .map(|help| help.steps.iter().map(|step| step.replace("{redirect_uri}", shown)).collect())
            .unwrap_or_default(),
        redirect_uri: redirect_uri.clone(),
        depends_on: depends_on(&clients, app),
        scopes: asked.into_iter().map(description).collect(),
        further: further.into_iter().map(description).collect(),
        connect_help: server.connect_help.clone(),
        enters: page::SetupCall { method: "PUT", url: at(""), body: client_body(app) },
        tries: page::SetupCall { method: "POST", url: at("/test"), body: trial_body(app) },
        family: family.map(|one| one.name().to_owned()).filter(|name| *name != definition.name).collect(),
        docs: definition.docs.clone(),
    })
}

/// The labels of what decides at which server the client is, as long as there is none.
fn depends_on(clients: &Registrations, app: &App) -> Vec<String> {
    if clients.current(app.registration()).is_some() {
        return vec![];
    }
    let label = |name: &str| app.variables.get(name).map(|one| one.label.clone());
    app.host_variables_of_client().into_iter().filter_map(label).collect()
}

/// Another way: what people call it, whether it can be walked, and where it begins or is set up.
fn other(clients: &Registrations, app: &App) -> (String, bool, String) {
    let ready = known::is_ready(clients, app);
    let begins = format!("/oauth/start/{}?way={}", app.id, app.way);
    (ask::kind(app), ready, if ready { begins } else { setup_page(app) })
}

/// The body that enters a client, with nothing of one in it.
fn client_body(app: &App) -> String {
    let body = serde_json::json!({ "client_id": "…", "client_secret": "…" });
    with_variables(body, app, &Origin::Client, |one| one.example.clone())
}

/// The body that has a client tried. What people would enter is theirs: an example may be somebody's, and gets no secret.
fn trial_body(app: &App) -> String {
    with_variables(serde_json::json!({}), app, &Origin::Person, |_| None)
}

fn with_variables(
    mut body: serde_json::Value,
    app: &App,
    of: &Origin,
    example: impl Fn(&Variable) -> Option<String>,
) -> String {
    let asked = app.variables.iter().filter(|(_, one)| one.from == *of);
    let variables: serde_json::Map<_, _> = asked
        .map(|(name, one)| (name.clone(), one.default.clone().or(example(one)).unwrap_or("…".into()).into()))
        .collect();
    if let (Some(body), false) = (body.as_object_mut(), variables.is_empty()) {
        body.insert("variables".to_owned(), variables.into());
    }
    body.to_string()
}
