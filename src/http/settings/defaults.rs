//! Default connections, for admins.

use super::super::notices::redirect_with_notice;
use super::super::page::{
    self, Choice, DefaultRow, DefaultView, DefaultsView, FormErrors, Notice, NoticeCode, StatusLabel, Tone,
};
use super::super::settings_view::choice_label;
use super::super::{Call, Response, input};
use super::{ROWS_PER_PAGE, admin, correctable, field, given, shell, with_query};
use crate::app::AppId;
use crate::app_list::{self, AppList};
use crate::connection::ConnectionStatus;
use crate::connections;
use crate::context::Context;
use crate::defaults;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::registry;
use crate::store::connections::ConnectionFilter;
use crate::store::defaults::{DefaultPosition, DefaultSlot, ListedDefault};

/// Connections that are offered.
const MOST_CANDIDATES: i64 = 100;

fn slot_href(slot: &DefaultSlot) -> String {
    with_query(
        "/settings/default",
        &[
            ("app", Some(slot.app.as_str())),
            ("user", slot.user.as_deref()),
            ("environment", slot.environment.map(Environment::as_str)),
        ],
    )
}

fn default_row(apps: &AppList, broken: &str, one: ListedDefault) -> DefaultRow {
    let slot = &one.default.slot;
    let id = slot.app.as_str();
    let name = apps.name_or_id(id);
    DefaultRow {
        href: slot_href(slot),
        app: (id.to_owned(), name.to_owned()),
        person: slot.user.clone(),
        environment: slot.environment.map(Environment::as_str),
        connection: (one.default.connection.to_string(), one.name),
        broken: (one.status == ConnectionStatus::NeedsReconnect)
            .then(|| StatusLabel { text: broken.to_owned(), tone: Tone::Bad }),
    }
}

pub(in crate::http) async fn show_defaults_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (shell, workspace) = (shell(context, call), &call.session()?.workspace);
    let position = |text: String| serde_json::from_str::<DefaultPosition>(&text).map_err(|_| input::invalid_cursor());
    let after = input::query_param(call.request, "cursor").map(position).transpose()?.unwrap_or_default();
    let (found, apps) = context
        .at_once(
            defaults::list_defaults(context, workspace, None, &after, ROWS_PER_PAGE),
            app_list::load_app_list(context, workspace),
        )
        .await;
    let (found, apps) = (found?, apps?);
    let mut choices = Choice::told_apart(apps.apps.iter().map(|one| (one.id().to_owned(), one.name().to_owned())));
    choices.sort_by_key(|one| one.label.to_lowercase());
    let view = DefaultsView {
        next_page_href: found.next.map(|cursor| with_query("/settings/defaults", &[("cursor", Some(&cursor))])),
        defaults: found
            .data
            .into_iter()
            .map(|one| default_row(&apps, shell.text.status.needs_reconnect, one))
            .collect(),
        apps: choices,
    };
    Ok(Response::html(200, page::settings_defaults(&shell, &view)))
}

fn parse_slot(app: &str, user: Option<String>, environment: &str) -> Result<DefaultSlot> {
    let app = AppId::parse(app).ok_or_else(|| Error::not_found("app"))?;
    Ok(DefaultSlot { app, user, environment: Environment::parse(environment) })
}

async fn render<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    slot: &DefaultSlot,
    status: u16,
    errors: FormErrors,
) -> Result<Response> {
    let (shell, workspace) = (shell(context, call), &call.session()?.workspace);
    let app = registry::require_current_app(context, workspace, &slot.app).await?.app;
    let filter = ConnectionFilter {
        app: Some(slot.app.clone()),
        environment: slot.environment,
        limit: MOST_CANDIDATES,
        ..ConnectionFilter::default()
    };
    let (now, found) = context
        .at_once(
            defaults::find_default(context, workspace, slot),
            connections::list_connections(context, workspace, &filter),
        )
        .await;
    let (now, found) = (now?, found?);
    let fits = |one: &crate::connection::Connection| {
        let owner = one.user.as_ref().map(|user| &user.id);
        one.shared || slot.user.is_some() && owner == slot.user.as_ref()
    };
    let current = now.as_ref().map(|(default, _)| default.connection.clone());
    let name_of = |id: &ConnectionId| {
        let one = found.data.iter().find(|one| one.connection.id == *id);
        one.map_or_else(|| id.to_string(), |one| one.connection.name.clone())
    };
    let view = DefaultView {
        href: slot_href(slot),
        app: (slot.app.to_string(), app.name.clone()),
        user: slot.user.clone().unwrap_or_default(),
        environment: slot.environment.map(Environment::as_str).unwrap_or_default().to_owned(),
        connection: current.as_ref().map(|id| (id.to_string(), name_of(id))),
        candidates: Choice::told_apart(
            found
                .data
                .iter()
                .filter(|one| fits(&one.connection) && Some(&one.connection.id) != current.as_ref())
                .map(|one| (one.connection.id.to_string(), choice_label(shell.text, &one.connection))),
        ),
        workflows: now.map(|(_, workflows)| workflows).unwrap_or_default(),
        chosen: field(call, "connection"),
        errors,
    };
    Ok(Response::html(status, page::settings_default(&shell, &view)))
}

pub(in crate::http) async fn show_default_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let read = |name: &str| input::query_param(call.request, name);
    let slot = parse_slot(&read("app").unwrap_or_default(), read("user"), &read("environment").unwrap_or_default())?;
    render(context, call, &slot, 200, FormErrors::default()).await
}

pub(in crate::http) async fn change_default<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let slot = parse_slot(&field(call, "app"), given(call, "user"), &field(call, "environment"))?;
    let (caller, actor) = (admin(call)?, call.user_actor()?);
    let changed = if given(call, "end").is_some() {
        defaults::delete_default(context, caller.workspace(), &slot, &actor).await
    } else {
        match ConnectionId::parse(&field(call, "connection")) {
            Some(id) => defaults::put_default(context, &caller, slot.clone(), &id, &actor).await,
            None => Err(Error::connection_not_found()),
        }
    };
    match changed {
        Ok(_) => {
            let notice = Notice { code: NoticeCode::Saved, about: String::new() };
            Ok(redirect_with_notice(context, call.request, "/settings/defaults", &notice))
        }
        Err(error) => {
            let text = shell(context, call).text;
            let (status, errors) = correctable(text, error, &[("connection", text.defaults.wrong_connection)])?;
            render(context, call, &slot, status, errors).await
        }
    }
}
