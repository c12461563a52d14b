//! Apps and their OAuth clients, for admins.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::notices::redirect_with_notice;
use super::super::page::{
    self, AppRow, AppState, AppsView, ClientDeletionView, ClientForm, ClientPageView, ClientSummary, EventsOnlyView,
    EventsView, FormErrors, FormField, HandshakeView, Message, Notice, NoticeCode, OpenedHandshakeView, PageContext,
    STATE_FIELD, TestResult, Texts, Tone, field_name,
};
use super::super::responses::handshake_address;
use super::super::setup::build_setup_view;
use super::super::{Call, Response, input};
use super::{FieldWords, correctable, field, given, is_restored, seen_state, shell, state_to_show, with_query};
use crate::app::{App, AuthMethod, CredentialKind, VariableSource, WebhookSignature, variable_path};
use crate::app_events;
use crate::app_list::{self, AppList, ListedApp};
use crate::client::{Client, ClientProblem, ClientSecret, SECRET_EXPIRY_WARNING};
use crate::connect::client_setup::{self, NewSecret};
use crate::connect::recent_client_test;
use crate::connections;
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::event_handshakes;
use crate::oauth_clients::{self, EnteredClient};
use crate::ports::Ports;
use crate::preconditions::{self, IfMatch, ReadState};
use crate::registry;
use crate::secret::Secret;
use crate::store::clients::WorkspaceClients;
use crate::store::connections::ConnectionFilter;
use crate::time::Timestamp;

/// Connections that are listed before a deletion.
const CONNECTIONS_SHOWN: i64 = 50;
/// The state of a client that was not there when the form was filled.
const NO_CLIENT: &str = "none";
/// The fields of the form.
fn field_words(text: &Texts) -> [FieldWords<'static>; 8] {
    let words = &text.apps;
    [
        ("client_id", words.wrong_client_id),
        ("client_secret", words.wrong_secret),
        ("private_key", ""),
        ("key_id", words.wrong_key_name),
        ("certificate", words.wrong_key_name),
        ("scopes", words.wrong_scopes),
        ("secret_expires_at", words.wrong_expiry),
        ("event_secret", words.wrong_event_secret),
    ]
}

fn app_state(shell: &PageContext, one: &ListedApp, clients: &WorkspaceClients) -> AppState {
    let kinds: Vec<_> = match one {
        ListedApp::Custom(app) => app.auth_methods().iter().map(|method| method.kind).collect(),
        ListedApp::Catalogue(entry) => {
            entry.auth_methods.iter().filter_map(|method| CredentialKind::parse(method.kind)).collect()
        }
    };
    if kinds.iter().all(|kind| kind.is_manual()) {
        return AppState::NotNeeded;
    }
    let of_family = |name: &str| name.split(':').next() == Some(one.client_registration());
    let current = clients.registration_names().filter(|name| of_family(name)).filter_map(|name| clients.current(name));
    let current: Vec<&Client> = current.collect();
    match current.first() {
        None if kinds.iter().any(|kind| kind.is_manual()) => AppState::MissingForOneWay,
        None => AppState::Missing,
        Some(_) if current.iter().any(|client| client.misconfigured.is_some()) => AppState::Broken,
        Some(_) => {
            let ends = current.iter().filter_map(|client| client.secret_expires_at).min();
            match ends.filter(|at| at.since(shell.now) < SECRET_EXPIRY_WARNING) {
                Some(at) => AppState::EndsSoon(at),
                None => AppState::Ready,
            }
        }
    }
}

pub(in crate::http) async fn show_settings_apps_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let shell = shell(context, call);
    let search = input::query_param(call.request, "q");
    let words: Vec<_> = search.iter().flat_map(|text| text.split_whitespace()).map(str::to_lowercase).collect();
    let (AppList { apps, clients }, switched_off_webhooks) =
        app_list::load_overview(context, &call.session()?.workspace).await?;
    let is_found = |one: &&ListedApp| {
        let text = format!("{} {} {}", one.name(), one.id(), one.auth_method_names().join(" ")).to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let mut rows: Vec<_> = apps
        .iter()
        .filter(is_found)
        .map(|one| AppRow {
            id: one.id().to_owned(),
            name: one.name().to_owned(),
            methods: one.auth_method_names(),
            state: app_state(&shell, one, &clients),
            is_custom: matches!(one, ListedApp::Custom(_)),
        })
        .collect();
    rows.sort_by_key(|one| one.name.to_lowercase());
    Ok(Response::html(200, page::settings_apps(&shell, &AppsView { apps: rows, search, switched_off_webhooks })))
}

/// The app in the path, and its way to connect that needs a client.
async fn load_method<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<(Rc<App>, Option<Rc<AuthMethod>>)> {
    let workspace = &call.session()?.workspace;
    let app = registry::require_current_app(context, workspace, call.path_app()?).await?.app;
    let method = oauth_clients::find_oauth2_method(&app, input::auth_method_param(call.request)?.as_ref())?;
    Ok((app, method))
}

/// The same, where a form was sent.
async fn require_method<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<(Rc<App>, Rc<AuthMethod>)> {
    let workspace = &call.session()?.workspace;
    let app = registry::require_current_app(context, workspace, call.path_app()?).await?.app;
    let method = oauth_clients::require_oauth2_method(&app, input::auth_method_param(call.request)?.as_ref())?;
    Ok((app, method))
}

fn query_of(call: &Call<'_>) -> String {
    let named = input::query_param(call.request, "auth_method");
    with_query("", &[("auth_method", named.as_deref())])
}

/// What is shown beside the steps: what was entered, what was refused, what a test found.
#[derive(Default)]
struct Shown {
    status: Option<u16>,
    form: Option<ClientForm>,
    errors: FormErrors,
    test: Option<TestResult>,
}

fn expires_on(at: Option<Timestamp>) -> String {
    at.map(|at| at.rfc3339().split('T').next().unwrap_or_default().to_owned()).unwrap_or_default()
}

fn form_of(client: &Client) -> ClientForm {
    ClientForm {
        client_id: client.client_id.clone(),
        scopes: client.scopes.as_ref().map(|list| list.join(" ")).unwrap_or_default(),
        expires_on: expires_on(client.secret_expires_at),
        ..ClientForm::default()
    }
}

/// What is wrong with a client, for a person.
fn problem_of<P: Ports>(
    context: &Context<P>,
    shell: &PageContext,
    app: &App,
    client: &Client,
    auth_method: &AuthMethod,
) -> Option<String> {
    let text = &shell.text.apps;
    let stored = client.misconfigured.as_ref().map(|(_, code)| code.as_str());
    let seen = client
        .problem(&context.config.key_ring)
        .or_else(|| (!client_setup::is_set_up_for(client, auth_method)).then_some(ClientProblem::AddressesChanged));
    match stored.and_then(ClientProblem::parse).or(seen) {
        Some(ClientProblem::SecretUnreadable) => Some(text.problem_unreadable.to_owned()),
        Some(ClientProblem::PrivateKeyUnusable) => Some(text.problem_key.to_owned()),
        Some(ClientProblem::AddressesChanged) => Some(text.problem_addresses.to_owned()),
        None => stored.map(|_| page::fill_plain(text.problem_refused, &[("app", &app.name)])),
    }
}

/// The inputs for the app's addresses. After a refusal with what was entered.
fn variable_fields(
    call: &Call<'_>,
    auth_method: &AuthMethod,
    of: &VariableSource,
    stored: Option<&BTreeMap<String, String>>,
    errors: &mut FormErrors,
) -> Vec<FormField> {
    let asked = auth_method.variables.iter().filter(|(_, one)| one.source == *of);
    asked
        .map(|(name, one)| {
            let path = variable_path(name).replace('.', "_");
            FormField {
                id: name.clone(),
                label: one.label.clone(),
                help: one.help.clone(),
                optional: one.default.is_some() || *of == VariableSource::Person,
                placeholder: one.example.clone(),
                value: input::form_field(call.request, &field_name(name))
                    .or_else(|| stored.and_then(|values| values.get(name).cloned()))
                    .or_else(|| one.default.clone()),
                error: errors.fields.remove(&path),
                ..FormField::default()
            }
        })
        .collect()
}

async fn render<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    app: &App,
    auth_method: &Rc<AuthMethod>,
    shown: Shown,
) -> Result<Response> {
    let shell = shell(context, call);
    let workspace = &call.session()?.workspace;
    let (setup, client) = context
        .at_once(
            build_setup_view(context, call, app, auth_method),
            oauth_clients::load_current_client(context, workspace, auth_method),
        )
        .await;
    let setup = setup?;
    let client = match client {
        Ok(client) => Some(client),
        Err(error) if error.code == ErrorCode::NotFound => None,
        Err(error) => return Err(error),
    };
    let now = client.as_ref().map_or_else(|| NO_CLIENT.to_owned(), |client| ReadState::of_client(client).tag);
    let state = state_to_show(call, shown.status.unwrap_or(200), now);
    let mut errors = shown.errors;
    let stored = client.as_ref().map(|client| &client.variables);
    let variables = variable_fields(call, auth_method, &VariableSource::Client, stored, &mut errors);
    let test_variables = variable_fields(call, auth_method, &VariableSource::Person, None, &mut errors);
    let view = ClientPageView {
        app: app.id.to_string(),
        query: query_of(call),
        state,
        form: shown.form.or_else(|| client.as_ref().map(form_of)).unwrap_or_default(),
        client: client.as_ref().map(|client| ClientSummary {
            has_secret: client.sealed_secret.is_some(),
            secret_expires_at: client.secret_expires_at,
            problem: problem_of(context, &shell, app, client, auth_method),
            updated_at: client.updated_at,
        }),
        setup,
        events: events_view(context, call, app, client.as_ref()),
        variables,
        test_variables,
        errors,
        test: shown.test,
    };
    Ok(Response::html(shown.status.unwrap_or(200), page::client_page(&shell, &view)))
}

pub(in crate::http) async fn show_client_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (app, method) = load_method(context, call).await?;
    match method {
        Some(method) => {
            let form = is_restored(call).then(|| read_form(call));
            render(context, call, &app, &method, Shown { form, ..Shown::default() }).await
        }
        None if app.events.is_some() => render_events_only(context, call, &app, 200, FormErrors::default()).await,
        None => Ok(no_client_needed(context, call, &app)),
    }
}

/// What is shown of the events of an app. None: its definition describes none that can be verified.
fn events_view<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    app: &App,
    client: Option<&Client>,
) -> Option<EventsView> {
    let events = app.events.as_ref()?;
    let secret_handshake = events.secret_handshake.as_ref().map(|handshake| HandshakeView {
        app_name: app.name.clone(),
        action: format!("/settings/apps/{}/handshake{}", app.id, query_of(call)),
        received: client
            .and_then(|client| event_handshakes::find_received(context, client))
            .map(|(secret, at)| (at, Some(secret).filter(|_| handshake.at.is_some()))),
    });
    let address = client.map(|client| app_events::events_url(context, &client.id, ""));
    Some(EventsView {
        address,
        has_secret: client.is_some_and(|client| client.sealed_event_secret.is_some()),
        uses_client_secret: matches!(
            &events.signature,
            WebhookSignature::HmacSha256(hmac) | WebhookSignature::HmacSha1(hmac) if hmac.is_client_secret
        ),
        is_signed: !matches!(events.signature, WebhookSignature::None),
        handshake: events.handshake.clone(),
        docs_url: events.docs.clone(),
        secret_handshake,
    })
}

/// The page of an app that sends events and whose connections need no client.
async fn render_events_only<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    app: &App,
    status: u16,
    errors: FormErrors,
) -> Result<Response> {
    let shell = shell(context, call);
    let Some(method) = oauth_clients::events_only_method(app) else { return Ok(no_client_needed(context, call, app)) };
    let client = match oauth_clients::load_current_client(context, &call.session()?.workspace, &method).await {
        Ok(client) => Some(client),
        Err(error) if error.code == ErrorCode::NotFound => None,
        Err(error) => return Err(error),
    };
    let Some(events) = events_view(context, call, app, client.as_ref()) else {
        return Ok(no_client_needed(context, call, app));
    };
    let view = EventsOnlyView {
        app: (app.id.to_string(), app.name.clone()),
        connect_href: format!("/oauth/start/{}{}", app.id, query_of(call)),
        events,
        errors,
    };
    Ok(Response::html(status, page::events_only_page(&shell, &view)))
}

/// What becomes of what the events of an app are verified with: one secret a line, or none any more.
pub(in crate::http) async fn put_event_secret<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (app, method) = load_method(context, call).await?;
    let put = match read_event_secret(call, shell(context, call).text, &app) {
        Ok(secret) => {
            let method = match &method {
                Some(method) => Rc::clone(method),
                None => oauth_clients::events_only_method(&app)
                    .ok_or_else(|| Error::not_found("way to connect this app"))?,
            };
            let workspace = &call.session()?.workspace;
            oauth_clients::put_event_secret(context, workspace, &app, &method, secret, &call.user_actor()?).await
        }
        Err(error) => Err(error),
    };
    match (put, method) {
        (Ok(_), _) => {
            let notice = Notice { code: NoticeCode::Saved, about: String::new() };
            let to = format!("/settings/apps/{}{}", app.id, query_of(call));
            Ok(redirect_with_notice(context, call.request, &to, &notice))
        }
        (Err(error), Some(method)) => refuse(context, call, &app, &method, error, None).await,
        (Err(error), None) => {
            let text = shell(context, call).text;
            let (status, errors) = correctable(text, error, &field_words(text))?;
            render_events_only(context, call, &app, status, errors).await
        }
    }
}

/// Opens an address that the app sends its secret to, and shows it.
pub(in crate::http) async fn open_handshake<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (app, method) = load_method(context, call).await?;
    let handshake = event_handshakes::require_handshake(&app)?;
    let of_events = method.clone().or_else(|| oauth_clients::events_only_method(&app));
    let of_events = of_events.ok_or_else(|| Error::not_found("way to connect this app"))?;
    let client = oauth_clients::load_current_client(context, &call.session()?.workspace, &of_events).await?;
    let opened = match (event_handshakes::open(context, &client, &call.user_actor()?), method) {
        (Ok(opened), _) => opened,
        (Err(error), Some(method)) => return refuse(context, call, &app, &method, error, None).await,
        (Err(error), None) => {
            let text = shell(context, call).text;
            let (status, errors) = correctable(text, error, &field_words(text))?;
            return render_events_only(context, call, &app, status, errors).await;
        }
    };
    let view = OpenedHandshakeView {
        app_name: app.name.clone(),
        page: format!("/settings/apps/{}{}", app.id, query_of(call)),
        address: Secret::new(handshake_address(context, &client, &opened)),
        expires_at: opened.expires_at,
        must_be_entered: handshake.at.is_some(),
    };
    Ok(Response::html(201, page::opened_handshake(&shell(context, call), &view)))
}

fn read_event_secret(call: &Call<'_>, text: &Texts, app: &App) -> Result<NewSecret> {
    let entered = field(call, "event_secret");
    let secrets: Vec<_> = entered.lines().map(str::trim).filter(|line| !line.is_empty()).map(Secret::new).collect();
    match (secrets.is_empty(), given(call, "without_event_secret")) {
        (false, None) => Ok(NewSecret::Is(oauth_clients::read_event_secrets(app, &secrets)?)),
        (false, Some(_)) => Err(Error::invalid_field("event_secret", text.apps.event_secret_or_none)),
        (true, Some(_)) => Ok(NewSecret::Removed),
        (true, None) => Err(Error::invalid_field("event_secret", text.apps.event_secret_missing)),
    }
}

fn no_client_needed<P: Ports>(context: &Context<P>, call: &Call<'_>, app: &App) -> Response {
    let shell = shell(context, call);
    let text = &shell.text.apps;
    let named = |words: &str| page::fill_plain(words, &[("app", &app.name)]);
    let message = Message {
        title: named(text.no_client_needed),
        text: text.no_client_needed_about.to_owned(),
        tone: Tone::Good,
        links: vec![
            (named(text.connect), format!("/oauth/start/{}{}", app.id, query_of(call))),
            (text.title.to_owned(), "/settings/apps".to_owned()),
            (shell.text.emergency.button.to_owned(), format!("/settings/apps/{}/disconnect-all", app.id)),
        ],
    };
    Response::html(200, page::message(&shell, &message))
}

fn read_form(call: &Call<'_>) -> ClientForm {
    ClientForm {
        client_id: field(call, "client_id"),
        scopes: field(call, "scopes"),
        expires_on: field(call, "secret_expires_at"),
        key_id: field(call, "key_id"),
        certificate: field(call, "certificate"),
    }
}

fn parse_form(call: &Call<'_>, shell: &PageContext, form: &ClientForm) -> Result<EnteredClient> {
    let day = Some(form.expires_on.as_str()).filter(|text| !text.is_empty());
    let day = day
        .map(|text| {
            Timestamp::parse(&format!("{text}T00:00:00Z"))
                .ok_or_else(|| Error::invalid_field("secret_expires_at", shell.text.activity.wrong_day))
        })
        .transpose()?;
    // Else it would be stored as a client secret.
    if given(call, "private_key").is_some_and(|text| !ClientSecret::is_private_key(&text)) {
        return Err(Error::invalid_field("private_key", shell.text.apps.wrong_private_key));
    }
    let secret = match (given(call, "client_secret"), given(call, "private_key"), given(call, "without_secret")) {
        (Some(_), Some(_), _) => return Err(Error::invalid_field("private_key", shell.text.apps.two_secrets)),
        (Some(text), None, _) | (None, Some(text), _) => NewSecret::Is(Secret::new(text)),
        (None, None, Some(_)) => NewSecret::Removed,
        (None, None, None) => NewSecret::Kept,
    };
    let scopes: Vec<_> = form.scopes.split_whitespace().map(str::to_owned).collect();
    let values = input::form_fields_with_prefix(call.request, page::INPUT_PREFIX);
    let optional = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Ok(EnteredClient {
        event_secret: NewSecret::Kept,
        client_id: form.client_id.clone(),
        secret,
        key_id: optional(&form.key_id),
        certificate: optional(&form.certificate),
        // An empty field stands for the usual value.
        variables: filled(values),
        scopes: Some(scopes).filter(|list| !list.is_empty()),
        secret_expires_at: day,
    })
}

fn filled(values: BTreeMap<String, Secret>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, value) in values {
        let value = value.expose().trim();
        if !value.is_empty() {
            all.insert(name, value.to_owned());
        }
    }
    all
}

/// The names of the variables. What is wrong with one depends on the app.
fn variable_names(auth_method: &AuthMethod) -> Vec<String> {
    auth_method.variables.keys().map(|name| variable_path(name).replace('.', "_")).collect()
}

/// A private key is a client's secret, and has a field of its own here.
fn name_as_entered(call: &Call<'_>, mut error: Error) -> Error {
    if given(call, "private_key").is_some() {
        for one in error.hints.errors.iter_mut().filter(|one| one.field == "client_secret") {
            "private_key".clone_into(&mut one.field);
        }
    }
    error
}

/// What the form was filled from: a client, or none, which there may be by now.
async fn seen_client<P: Ports>(context: &Context<P>, call: &Call<'_>, method: &AuthMethod) -> Result<IfMatch> {
    if field(call, STATE_FIELD) != NO_CLIENT {
        return Ok(seen_state(call));
    }
    match oauth_clients::load_current_client(context, &call.session()?.workspace, method).await {
        Ok(_) => Err(preconditions::precondition_failed()),
        Err(error) if error.code == ErrorCode::NotFound => Ok(IfMatch::Anything),
        Err(error) => Err(error),
    }
}

pub(in crate::http) async fn put_client<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (app, method) = require_method(context, call).await?;
    let (shell, form) = (shell(context, call), read_form(call));
    let workspace = &call.session()?.workspace;
    let put = match parse_form(call, &shell, &form) {
        Ok(entered) => match seen_client(context, call, &method).await {
            Ok(seen) => {
                oauth_clients::put_client(context, workspace, &method, entered, &call.user_actor()?, &seen).await
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match put {
        Ok(_) => {
            let notice = Notice { code: NoticeCode::ClientSaved, about: String::new() };
            let to = format!("/settings/apps/{}{}", app.id, query_of(call));
            Ok(redirect_with_notice(context, call.request, &to, &notice))
        }
        Err(error) => refuse(context, call, &app, &method, error, Some(form)).await,
    }
}

async fn refuse<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    app: &App,
    method: &Rc<AuthMethod>,
    error: Error,
    form: Option<ClientForm>,
) -> Result<Response> {
    let (text, variables) = (shell(context, call).text, variable_names(method));
    let mut fields = field_words(text).to_vec();
    fields.extend(variables.iter().map(|name| (name.as_str(), "")));
    let (status, errors) = correctable(text, name_as_entered(call, error), &fields)?;
    render(context, call, app, method, Shown { status: Some(status), form, errors, test: None }).await
}

/// Asks the app whether it accepts the client, and says what it answered.
pub(in crate::http) async fn test_client<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (app, method) = require_method(context, call).await?;
    let client = oauth_clients::load_current_client(context, &call.session()?.workspace, &method).await?;
    let variables = filled(input::form_fields_with_prefix(call.request, page::INPUT_PREFIX));
    match recent_client_test::run_or_reuse(context, &method, &client, &variables).await {
        Ok(found) => {
            let test = test_result(&shell(context, call), &app, &found);
            render(context, call, &app, &method, Shown { test: Some(test), ..Shown::default() }).await
        }
        Err(error) => refuse(context, call, &app, &method, error, None).await,
    }
}

fn test_result(shell: &PageContext, app: &App, found: &recent_client_test::RecentTest) -> TestResult {
    let text = &shell.text.apps;
    let (words, tone) = match found.verdict() {
        "accepted" => (text.test_accepted, Tone::Good),
        "refused" => (text.test_refused, Tone::Bad),
        "misconfigured" => (text.test_misconfigured, Tone::Bad),
        "unreachable" => (text.test_unreachable, Tone::Waiting),
        _ => (text.test_unclear, Tone::Waiting),
    };
    TestResult {
        tone,
        title: page::fill_plain(words, &[("app", &app.name)]),
        detail: found.detail().to_owned(),
        code: found.code().map(str::to_owned),
    }
}

pub(in crate::http) async fn show_client_deletion_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    render_deletion(context, call, 200, FormErrors::default()).await
}

async fn render_deletion<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    status: u16,
    errors: FormErrors,
) -> Result<Response> {
    let (app, method) = require_method(context, call).await?;
    let workspace = &call.session()?.workspace;
    let filter =
        ConnectionFilter { app: Some(app.id.clone()), limit: CONNECTIONS_SHOWN, ..ConnectionFilter::default() };
    let (setup, (client, found)) = context
        .at_once(
            build_setup_view(context, call, &app, &method),
            context.at_once(
                oauth_clients::load_current_client(context, workspace, &method),
                connections::list_connections(context, workspace, &filter),
            ),
        )
        .await;
    let (setup, client, found) = (setup?, client?, found?);
    let uses = |one: &&crate::store::connections::ListedConnection| one.connection.client.as_ref() == Some(&client.id);
    let view = ClientDeletionView {
        app: (app.id.to_string(), app.name.clone()),
        client_id: client.client_id.clone(),
        query: query_of(call),
        connections: found
            .data
            .iter()
            .filter(uses)
            .map(|one| (one.connection.id.to_string(), one.connection.name.clone()))
            .collect(),
        has_more: found.next.is_some(),
        apps_sharing_client: setup.apps_sharing_client,
        errors,
    };
    Ok(Response::html(status, page::client_deletion(&shell(context, call), &view)))
}

pub(in crate::http) async fn delete_client<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (_, method) = require_method(context, call).await?;
    let client = oauth_clients::load_current_client(context, &call.session()?.workspace, &method).await?;
    let anything = &IfMatch::Anything;
    match oauth_clients::delete_client(context, &method, &client, &call.user_actor()?, anything).await {
        Ok(()) => {
            let notice = Notice { code: NoticeCode::ClientDeleted, about: String::new() };
            Ok(redirect_with_notice(context, call.request, "/settings/apps", &notice))
        }
        Err(error) => {
            let (status, errors) = correctable(shell(context, call).text, error, &[])?;
            render_deletion(context, call, status, errors).await
        }
    }
}
