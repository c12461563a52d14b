//! How an app's OAuth client is set up, for whoever runs the workspace.
//!
//! Owns what that page says: the app's own steps, and the call that enters the client. Refuses to show or take a
//! client's secret: it is entered by that call alone.

use super::oauth::shell;
use super::{Call, Response, input, known, page, session};
use crate::app::{App, AppId, Kind, Origin, WayId};
use crate::connect::start::{client_route, redirect_uri};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::registry;
use crate::store::{clients, workspaces};

/// How an app's OAuth client is set up, for whoever runs the workspace.
pub(super) async fn show<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let missing = || Error::not_found("app");
    let id = AppId::parse(call.param(0)).ok_or_else(missing)?;
    let definition = registry::current(core, &session.workspace, &id).await?.ok_or_else(missing)?.definition;
    let app = match input::query(call.request, "way").and_then(|text| WayId::parse(&text)) {
        Some(way) => definition.way(Some(&way)).filter(|app| app.kind == Kind::OAuth2),
        None => definition.oauth2(),
    };
    let app = app.ok_or_else(missing)?;
    let workspace =
        workspaces::get(core.db(), &session.workspace).await?.ok_or_else(|| Error::not_found("workspace"))?;
    let clients = clients::registrations(core.db(), &session.workspace).await?;
    let expected = clients.expected(&session.workspace, app.registration());
    let redirect_uri = expected.map(|id| redirect_uri(core, &id));
    let server = app.oauth2()?;
    let help = server.client_help.as_ref();
    let shown = redirect_uri.as_deref().unwrap_or("the redirect URI");
    let family = known::all(core, &session.workspace).await?;
    let family = family.iter().filter(|one| one.registration() == app.registration());
    let description = |scope: &crate::app::Scope| (scope.id.clone(), scope.description.clone());
    let view = page::SetupView {
        app_name: definition.name.clone(),
        workspace: workspace.name,
        is_set_up: known::is_ready(&clients, &app),
        console: help.map(|help| help.url.clone()),
        steps: help
            .map(|help| help.steps.iter().map(|step| step.replace("{redirect_uri}", shown)).collect())
            .unwrap_or_default(),
        redirect_uri: redirect_uri.clone(),
        scopes: app.scopes.iter().filter(|scope| scope.required || scope.default).map(description).collect(),
        connect_help: server.connect_help.clone(),
        api_url: core.config.public_url.at(client_route(&app).trim_start_matches("PUT ")),
        api_body: client_body(&app),
        family: family.map(|one| one.name().to_owned()).filter(|name| *name != definition.name).collect(),
        docs: definition.docs.clone(),
    };
    let csrf = session::form_token(core, call.request);
    Ok(Response::html(200, page::setup(&shell(Some(session), csrf.as_deref()), &view)))
}

/// The body that enters a client, with nothing of one in it.
fn client_body(app: &App) -> String {
    let asked = app.variables.iter().filter(|(_, one)| one.from == Origin::Client);
    let variables: serde_json::Map<_, _> = asked
        .map(|(name, one)| (name.clone(), one.default.clone().or(one.example.clone()).unwrap_or_default().into()))
        .collect();
    let mut body = serde_json::json!({ "client_id": "…", "client_secret": "…" });
    if let (Some(body), false) = (body.as_object_mut(), variables.is_empty()) {
        body.insert("variables".to_owned(), variables.into());
    }
    body.to_string()
}
