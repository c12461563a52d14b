//! Custom apps, for admins: the form writes the same definition that the editor and the API take.

use serde_json::{Map, Value};

use super::super::form_words::words_of_problem;
use super::super::notices::redirect_with_notice;
use super::super::page::{
    self, CustomAppDeletionView, CustomAppForm, CustomAppView, CustomAppsView, FormErrors, NewAppView, Notice,
    NoticeCode, Texts,
};
use super::super::{Call, Response, input, problem};
use super::{capitalized, correctable, explain_address, field, is_restored, seen_state, shell, state_to_show};
use crate::app::AppId;
use crate::app_list::{self, ListedApp};
use crate::connections;
use crate::context::Context;
use crate::custom_apps;
use crate::egress::EgressPolicy;
use crate::error::{Error, ErrorCode, Result};
use crate::ports::Ports;
use crate::preconditions::{IfMatch, ReadState};
use crate::store::apps::AppRow;
use crate::store::connections::ConnectionFilter;

/// Connections that are listed before a deletion.
const CONNECTIONS_SHOWN: i64 = 50;

pub(in crate::http) async fn show_custom_apps_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let found = app_list::load_app_list(context, &call.session()?.workspace).await?;
    let custom = found.apps.iter().filter(|one| matches!(one, ListedApp::Custom(_)));
    let view = CustomAppsView { apps: custom.map(|one| (one.id().to_owned(), one.name().to_owned())).collect() };
    Ok(Response::html(200, page::settings_custom_apps(&shell(context, call), &view)))
}

pub(in crate::http) async fn show_new_app_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let form = CustomAppForm { method: "issuer".to_owned(), ..CustomAppForm::default() };
    let view = if is_restored(call) {
        let definition = input::form_field(call.request, "definition").unwrap_or_default();
        NewAppView { form: read_form(call), definition, ..NewAppView::default() }
    } else {
        NewAppView { form, ..NewAppView::default() }
    };
    Ok(Response::html(200, page::new_app(&shell(context, call), &view)))
}

fn read_form(call: &Call<'_>) -> CustomAppForm {
    let read = |name| field(call, name);
    CustomAppForm {
        name: read("name"),
        id: read("id"),
        method: read("method"),
        issuer: read("issuer"),
        authorize_url: read("authorize_url"),
        token_url: read("token_url"),
        revoke_url: read("revoke_url"),
        scopes: read("scopes"),
        header: read("header"),
        identity_url: read("identity_url"),
        identity_id: read("identity_id"),
        identity_label: read("identity_label"),
    }
}

/// An object with the members that were entered.
fn object(members: &[(&str, &str)]) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, value) in members.iter().filter(|(_, value)| !value.is_empty()) {
        all.insert((*name).to_owned(), Value::from(*value));
    }
    all
}

/// The definition that a form stands for. What is missing in it, its reader says.
fn definition_of(form: &CustomAppForm) -> Value {
    let mut auth = match form.method.as_str() {
        "api_key" => object(&[("header", &form.header)]),
        "addresses" => object(&[
            ("authorize_url", &form.authorize_url),
            ("token_url", &form.token_url),
            ("revoke_url", &form.revoke_url),
        ]),
        _ => object(&[("issuer", &form.issuer)]),
    };
    let is_key = form.method == "api_key";
    auth.insert("type".to_owned(), Value::from(if is_key { "api_key" } else { "oauth2" }));
    let mut definition = Map::new();
    definition.insert("id".to_owned(), Value::from(form.id.as_str()));
    definition.insert("name".to_owned(), Value::from(form.name.as_str()));
    definition.insert("auth".to_owned(), auth.into());
    let scopes: Vec<_> = form.scopes.split_whitespace().collect();
    if !scopes.is_empty() && !is_key {
        definition.insert("scopes".to_owned(), Value::from(scopes));
    }
    let identity = object(&[("url", &form.identity_url), ("id", &form.identity_id), ("label", &form.identity_label)]);
    if !identity.is_empty() {
        definition.insert("identity".to_owned(), identity.into());
    }
    definition.into()
}

/// The field of the form that a place of the definition comes from.
fn field_of(place: &str) -> Option<&'static str> {
    Some(match place.split('[').next().unwrap_or_default() {
        "name" => "name",
        "id" => "id",
        "auth.issuer" => "issuer",
        "auth.authorize_url" => "authorize_url",
        "auth.token_url" => "token_url",
        "auth.revoke_url" => "revoke_url",
        "auth.header" | "auth.fields" => "header",
        "scopes" => "scopes",
        "identity" | "identity.url" => "identity_url",
        "identity.id" => "identity_id",
        "identity.label" => "identity_label",
        _ => return None,
    })
}

/// What is said at a field. Of an address the problem is named; what a place of the definition has without a field is for
/// whoever knows the format.
fn field_words(text: &Texts, name: &str) -> &'static str {
    let words = &text.custom_apps;
    match name {
        "name" => text.settings.wrong_name,
        "id" => words.wrong_id,
        "scopes" => words.wrong_scopes,
        "header" => words.wrong_header,
        "identity_id" | "identity_label" => words.wrong_pointer,
        _ => "",
    }
}

fn form_errors_of(text: &Texts, egress: EgressPolicy, form: &CustomAppForm, error: &Error) -> FormErrors {
    let mut errors = FormErrors::default();
    for one in &error.hints.errors {
        match field_of(&one.field) {
            Some(name) => {
                let words = words_of_problem(text, &one.problem, field_words(text, name));
                errors.fields.insert(name.to_owned(), words);
            }
            None if one.field.is_empty() => errors.summary = Some(capitalized(&one.problem)),
            None => errors.summary = Some(format!("{}: {}", one.field, one.problem)),
        }
    }
    let addresses = [
        ("issuer", &form.issuer),
        ("authorize_url", &form.authorize_url),
        ("token_url", &form.token_url),
        ("revoke_url", &form.revoke_url),
        ("identity_url", &form.identity_url),
    ];
    for (name, entered) in addresses {
        explain_address(text, egress, &mut errors, name, entered);
    }
    if errors.is_empty() {
        errors.summary = Some(error.hints.for_people.clone().unwrap_or_else(|| error.detail.clone()));
    }
    errors
}

/// What the reader of a definition refuses: places and problems.
fn problems_of(error: &Error) -> Vec<(String, String)> {
    error.hints.errors.iter().map(|one| (one.field.clone(), one.problem.clone())).collect()
}

pub(in crate::http) async fn create_app<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let entered = input::form_field(call.request, "definition").filter(|text| !text.trim().is_empty());
    let form = read_form(call);
    let text = entered.clone().map_or_else(
        || {
            serde_json::to_string_pretty(&definition_of(&form))
                .map_err(|error| Error::internal(format!("a definition as JSON: {error}")))
        },
        Ok,
    )?;
    let workspace = &call.session()?.workspace;
    let error = match custom_apps::create_custom_app(context, workspace, &text, &call.user_actor()?).await {
        Ok(app) => {
            let notice = Notice { code: NoticeCode::AppCreated, about: app.name.clone() };
            return Ok(redirect_with_notice(context, call.request, &format!("/settings/apps/{}", app.id), &notice));
        }
        Err(error) => error,
    };
    let words = shell(context, call).text;
    let view = match (&entered, error.code) {
        (Some(definition), ErrorCode::InvalidRequest) => {
            NewAppView { problems: problems_of(&error), definition: definition.clone(), ..NewAppView::default() }
        }
        (Some(definition), _) => NewAppView {
            definition: definition.clone(),
            errors: correctable(words, error.clone(), &[])?.1,
            ..NewAppView::default()
        },
        (
            None,
            ErrorCode::InvalidRequest | ErrorCode::AlreadyExists | ErrorCode::LimitReached | ErrorCode::Conflict,
        ) => NewAppView {
            errors: form_errors_of(words, context.config.egress, &form, &error),
            form,
            ..NewAppView::default()
        },
        (None, _) => return Err(error),
    };
    let status = problem::status_and_title(error.code).0;
    Ok(Response::html(status, page::new_app(&shell(context, call), &view)))
}

async fn load_app<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<(AppRow, String)> {
    let row = custom_apps::load_custom_app(context, &call.session()?.workspace, call.path_app()?).await?;
    let name = serde_json::from_str::<Value>(&row.definition)
        .ok()
        .and_then(|definition| definition.get("name").and_then(Value::as_str).map(str::to_owned));
    let name = name.unwrap_or_else(|| row.id.to_string());
    Ok((row, name))
}

/// A definition as it is edited. One that was entered in a line is shown with line breaks.
fn readable(definition: &str) -> String {
    if definition.lines().count() > 3 {
        return definition.to_owned();
    }
    serde_json::from_str::<Value>(definition)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| definition.to_owned())
}

pub(in crate::http) async fn show_custom_app_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (row, name) = load_app(context, call).await?;
    let view = CustomAppView {
        state: state_to_show(call, 200, ReadState::of_app(&call.session()?.workspace, &row).tag),
        app: (row.id.to_string(), name),
        definition: input::form_field(call.request, "definition")
            .filter(|_| is_restored(call))
            .unwrap_or_else(|| readable(&row.definition)),
        ..CustomAppView::default()
    };
    Ok(Response::html(200, page::settings_custom_app(&shell(context, call), &view)))
}

pub(in crate::http) async fn change_app<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (row, name) = load_app(context, call).await?;
    let definition = input::form_field(call.request, "definition").unwrap_or_default();
    let (workspace, actor) = (&call.session()?.workspace, call.user_actor()?);
    let seen = &seen_state(call);
    let error = match custom_apps::replace_custom_app(context, workspace, &row, &definition, &actor, seen).await {
        Ok((_, moves)) => {
            let code = if moves.staying > 0 { NoticeCode::AppSavedStaying } else { NoticeCode::AppSaved };
            let notice = Notice { code, about: moves.staying.to_string() };
            return Ok(redirect_with_notice(
                context,
                call.request,
                &format!("/settings/custom-apps/{}", row.id),
                &notice,
            ));
        }
        Err(error) => error,
    };
    let problems = problems_of(&error);
    let is_refused = error.code == ErrorCode::InvalidRequest && !problems.is_empty();
    let status = problem::status_and_title(error.code).0;
    let shell = shell(context, call);
    let errors = if is_refused { FormErrors::default() } else { correctable(shell.text, error, &[])?.1 };
    let state = state_to_show(call, status, ReadState::of_app(workspace, &row).tag);
    let view = CustomAppView { app: (row.id.to_string(), name), definition, state, problems, errors };
    Ok(Response::html(status, page::settings_custom_app(&shell, &view)))
}

pub(in crate::http) async fn show_app_deletion_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let (row, name) = load_app(context, call).await?;
    let filter =
        ConnectionFilter { app: Some(AppId::clone(&row.id)), limit: CONNECTIONS_SHOWN, ..ConnectionFilter::default() };
    let found = connections::list_connections(context, &call.session()?.workspace, &filter).await?;
    let view = CustomAppDeletionView {
        app: (row.id.to_string(), name),
        connections: found
            .data
            .iter()
            .map(|one| (one.connection.id.to_string(), one.connection.name.clone(), one.workflows))
            .collect(),
        has_more: found.next.is_some(),
    };
    Ok(Response::html(200, page::custom_app_deletion(&shell(context, call), &view)))
}

pub(in crate::http) async fn delete_app<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (row, name) = load_app(context, call).await?;
    let (workspace, actor) = (&call.session()?.workspace, call.user_actor()?);
    custom_apps::remove_custom_app(context, workspace, &row.id, &actor, &IfMatch::Anything).await?;
    let notice = Notice { code: NoticeCode::AppDeleted, about: name };
    Ok(redirect_with_notice(context, call.request, "/settings/custom-apps", &notice))
}
