//! API keys, for admins.

use std::collections::BTreeSet;

use super::super::choices::tell_apart;
use super::super::notices::redirect_with_notice;
use super::super::page::{
    self, KeyForm, KeyRow, KeyView, KeysView, LimitChoice, NewKeyView, Notice, NoticeCode, ScopeOption,
};
use super::super::settings_view::choice_label;
use super::super::{Call, Response, input};
use super::{FieldWords, ROWS_PER_PAGE, admin, correctable, field, given, is_restored, shell, with_query};
use crate::api_keys::{self, NewApiKey};
use crate::app::AppId;
use crate::app_list::{AppList, ListedApp};
use crate::caller::{ApiKey, KeyScope};
use crate::connections;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, FieldError, Result};
use crate::ids::{ApiKeyId, ConnectionId};
use crate::ports::Ports;
use crate::secret::Secret;
use crate::store::Page;
use crate::store::connections::{ConnectionFilter, ListedConnection};
use crate::time::Timestamp;

const DAY: i64 = 86_400;
/// The fields of the form for a new key.
fn field_words(text: &page::Texts) -> [FieldWords<'static>; 4] {
    let words = &text.keys;
    [
        ("name", text.settings.wrong_name),
        ("scopes", text.settings.wrong_choices),
        ("apps", words.too_many),
        ("connections", words.too_many),
    ]
}

fn key_row(key: &ApiKey, now: Timestamp) -> KeyRow {
    KeyRow {
        id: key.id.to_string(),
        name: key.name.clone(),
        scopes: key.scopes.iter().map(|scope| scope.as_str()).collect(),
        apps: key.apps.as_ref().map(Vec::len),
        connections: key.connections.as_ref().map(Vec::len),
        environment: key.environment.map(Environment::as_str),
        created_at: key.created_at,
        expires_at: key.expires_at,
        previous_until: key.previous.as_ref().map(|one| one.until).filter(|until| now < *until),
        made_by: key.made_by.as_ref().map(ToString::to_string),
    }
}

/// Connections that are offered as limits of a key.
const MOST_CHOICES: i64 = 100;

/// Offers the connections of the workspace, and the apps that it has connections or clients of or has defined itself.
fn offer_limits(
    text: &page::Texts,
    call: &Call<'_>,
    connections: &Page<ListedConnection>,
    known: &AppList,
    form: KeyForm,
) -> KeyForm {
    let AppList { apps, clients } = known;
    let ticked = |name| input::form_field_values(call.request, name);
    let (ticked_apps, ticked_connections) = (ticked("app"), ticked("connection"));
    let used: BTreeSet<&str> = connections.data.iter().map(|one| one.connection.app.as_str()).collect();
    let is_known = |one: &&ListedApp| {
        let has_client = clients.current(one.client_registration()).is_some();
        matches!(one, ListedApp::Custom(_)) || has_client || used.contains(one.id())
    };
    let app_choices = apps.iter().filter(is_known).map(|one| (one.id().to_owned(), one.name().to_owned(), None));
    let connection_choices = connections.data.iter().map(|ListedConnection { connection, .. }| {
        let app = known.name_or_id(connection.app.as_str()).to_owned();
        (connection.id.to_string(), choice_label(text, connection), Some(app))
    });
    KeyForm {
        app_choices: limit_choices(app_choices, &ticked_apps),
        connection_choices: limit_choices(connection_choices, &ticked_connections),
        has_more_connections: connections.next.is_some(),
        ..form
    }
}

/// Choices by name, which a person can tell apart. What was ticked and is offered no more is offered all the same.
fn limit_choices(
    offered: impl Iterator<Item = (String, String, Option<String>)>,
    ticked: &[String],
) -> Vec<LimitChoice> {
    let mut all: Vec<_> =
        offered.map(|(id, name, about)| LimitChoice { is_checked: ticked.contains(&id), id, name, about }).collect();
    let others = ticked.iter().filter(|id| all.iter().all(|one| one.id != **id));
    let others: Vec<_> =
        others.map(|id| LimitChoice { id: id.clone(), name: id.clone(), about: None, is_checked: true }).collect();
    all.extend(others);
    let names = tell_apart(all.iter().map(|one| (one.id.clone(), one.name.clone())));
    for (one, (_, name)) in all.iter_mut().zip(names) {
        one.name = name;
    }
    all.sort_by_key(|one| one.name.to_lowercase());
    all
}

fn empty_form() -> KeyForm {
    let option = |scope: KeyScope| ScopeOption {
        id: scope.as_str(),
        is_checked: matches!(scope, KeyScope::Resolve | KeyScope::ConnectionsRead),
    };
    KeyForm {
        name: String::new(),
        scopes: KeyScope::EVERY.map(option).into(),
        app_choices: vec![],
        apps: String::new(),
        connection_choices: vec![],
        has_more_connections: false,
        connections: String::new(),
        environment: String::new(),
        days: String::new(),
    }
}

fn read_form(call: &Call<'_>) -> KeyForm {
    let chosen = input::form_field_values(call.request, "scope");
    let option = |scope: KeyScope| ScopeOption {
        id: scope.as_str(),
        is_checked: chosen.iter().any(|one| one == scope.as_str()),
    };
    KeyForm {
        name: field(call, "name"),
        scopes: KeyScope::EVERY.map(option).into(),
        app_choices: vec![],
        apps: field(call, "apps"),
        connection_choices: vec![],
        has_more_connections: false,
        connections: field(call, "connections"),
        environment: field(call, "environment"),
        days: field(call, "days"),
    }
}

async fn build_view<P: Ports>(context: &Context<P>, call: &Call<'_>, form: KeyForm) -> Result<KeysView> {
    let after = input::query_param(call.request, "cursor")
        .map(|text| ApiKeyId::parse(&text).ok_or_else(input::invalid_cursor))
        .transpose()?;
    let found =
        connections::load_keys_page(context, &admin(call)?, after.as_ref(), ROWS_PER_PAGE, MOST_CHOICES).await?;
    let (page, now) = (found.keys, context.now());
    let form = offer_limits(shell(context, call).text, call, &found.connections, &found.apps, form);
    Ok(KeysView {
        keys: page.data.iter().map(|key| key_row(key, now)).collect(),
        next_page_href: page.next.map(|cursor| with_query("/settings/keys", &[("cursor", Some(&cursor))])),
        form,
        errors: page::FormErrors::default(),
    })
}

pub(in crate::http) async fn show_settings_keys_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let form = if is_restored(call) { read_form(call) } else { empty_form() };
    let view = build_view(context, call, form).await?;
    Ok(Response::html(200, page::settings_keys(&shell(context, call), &view)))
}

/// A list of ids with spaces or commas between them. None where nothing was entered.
fn parse_ids<T>(
    field: &str,
    text: &str,
    wrong: &str,
    read: impl Fn(&str) -> Option<T>,
) -> std::result::Result<Option<Vec<T>>, FieldError> {
    let words = text.split([' ', ',', '\n', '\r', '\t']).filter(|word| !word.is_empty());
    let one = |word: &str| {
        read(word).ok_or_else(|| FieldError { field: field.to_owned(), problem: format!("“{word}” {wrong}") })
    };
    let list = words.map(one).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(Some(list).filter(|list| !list.is_empty()))
}

fn parse_form(shell: &page::PageContext, call: &Call<'_>, form: &KeyForm) -> Result<NewApiKey> {
    let text = &shell.text.keys;
    let with_ticked = |entered: &str, name: &str| {
        let ticked = input::form_field_values(call.request, name);
        format!("{} {entered}", ticked.join(" "))
    };
    let mut errors = vec![];
    let scopes: Vec<_> = KeyScope::EVERY
        .into_iter()
        .filter(|scope| form.scopes.iter().any(|one| one.is_checked && one.id == scope.as_str()))
        .collect();
    if scopes.is_empty() {
        errors.push(FieldError { field: "scopes".into(), problem: shell.text.settings.wrong_choices.into() });
    }
    let apps =
        parse_ids("apps", &with_ticked(&form.apps, "app"), text.wrong_apps, AppId::parse).unwrap_or_else(|error| {
            errors.push(error);
            None
        });
    let connections = with_ticked(&form.connections, "connection");
    let connections = parse_ids("connections", &connections, text.wrong_connections, ConnectionId::parse)
        .unwrap_or_else(|error| {
            errors.push(error);
            None
        });
    if !errors.is_empty() {
        return Err(Error::invalid_fields(errors));
    }
    let days: Option<i64> = form.days.parse().ok().filter(|days| (1..=3650).contains(days));
    Ok(NewApiKey {
        name: form.name.clone(),
        scopes,
        connections,
        apps,
        environment: Environment::parse(&form.environment),
        expires_at: days.map(|days| shell.now.plus(days * DAY)),
    })
}

/// Creates a key. Its text is in this answer alone.
pub(in crate::http) async fn create_key<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let shell = shell(context, call);
    let form = read_form(call);
    let created = match parse_form(&shell, call, &form) {
        Ok(new) => api_keys::create_key(context, &admin(call)?, new).await,
        Err(error) => Err(error),
    };
    match created {
        Ok((key, text)) => {
            let view = new_key_view(context, call, &key, &text, false).await?;
            Ok(Response::html(201, page::new_key(&shell, &view)))
        }
        Err(error) => {
            let (status, errors) = correctable(shell.text, error, &field_words(shell.text))?;
            let view = KeysView { errors, ..build_view(context, call, form).await? };
            Ok(Response::html(status, page::settings_keys(&shell, &view)))
        }
    }
}

async fn new_key_view<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    key: &ApiKey,
    text: &Secret,
    is_rotation: bool,
) -> Result<NewKeyView> {
    Ok(NewKeyView {
        id: key.id.to_string(),
        name: key.name.clone(),
        command: example_command(context, call, key, text).await,
        key: text.expose().to_owned(),
        previous_until: key.previous.as_ref().map(|one| one.until).filter(|until| *until > context.now()),
        is_rotation,
    })
}

/// A command that works, with a connection that there is.
async fn example_command<P: Ports>(context: &Context<P>, call: &Call<'_>, key: &ApiKey, text: &Secret) -> String {
    let at = |path: &str| context.config.public_url.at(path);
    let head = format!("KEY='{}'\ncurl", text.expose());
    let authorization = "-H \"Authorization: Bearer $KEY\"";
    if !key.has_scope(KeyScope::Resolve) {
        return format!("{head} {authorization} '{}'", at("/v1/connections"));
    }
    let filter = ConnectionFilter {
        apps: key.apps.clone(),
        connections: key.connections.clone(),
        key_environment: key.environment,
        limit: 1,
        ..ConnectionFilter::default()
    };
    // This only improves the example.
    let found = match call.session() {
        Ok(session) => connections::list_connections(context, &session.workspace, &filter).await.ok(),
        Err(_) => None,
    };
    let id = found.and_then(|page| page.data.into_iter().next()).map(|one| one.connection.id.to_string());
    let path = format!("/v1/connections/{}/resolve", id.as_deref().unwrap_or("CONNECTION_ID"));
    format!("{head} -X POST {authorization} -d '{{}}' \\\n  '{}'", at(&path))
}

async fn render_key<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    status: u16,
    errors: page::FormErrors,
) -> Result<Response> {
    let key = call.path_key()?;
    let made = api_keys::count_made_items(context, key).await?;
    let view = KeyView {
        key: key_row(key, context.now()),
        apps: key.apps.iter().flatten().map(ToString::to_string).collect(),
        connections: key.connections.iter().flatten().map(ToString::to_string).collect(),
        links: made.links,
        sign_in_links: made.sign_in_links,
        sessions: made.sessions,
        errors,
    };
    Ok(Response::html(status, page::settings_key(&shell(context, call), &view)))
}

pub(in crate::http) async fn show_settings_key_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    render_key(context, call, 200, page::FormErrors::default()).await
}

/// A new secret, which is in this answer alone.
pub(in crate::http) async fn rotate_key<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let shell = shell(context, call);
    let overlap = given(call, "overlap").and_then(|text| text.parse().ok());
    match api_keys::rotate_key(context, &admin(call)?, call.path_key()?, overlap).await {
        Ok(rotated) => {
            let view = new_key_view(context, call, &rotated.key, &rotated.text, true).await?;
            Ok(Response::html(200, page::new_key(&shell, &view)))
        }
        Err(error) => {
            let (status, errors) = correctable(shell.text, error, &[])?;
            render_key(context, call, status, errors).await
        }
    }
}

pub(in crate::http) async fn revoke_key<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let key = call.path_key()?;
    let end = given(call, "end").is_some();
    api_keys::revoke_key(context, &admin(call)?, key, end).await?;
    let notice = Notice { code: NoticeCode::KeyRevoked, about: key.name.clone() };
    Ok(redirect_with_notice(context, call.request, "/settings/keys", &notice))
}
