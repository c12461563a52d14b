//! The Connections page, and a connection's own page: what people see of their connections and do with them.
//!
//! Owns how data becomes the text of these pages. [`crate::authorize`] decides
//! which connections a person sees and changes.

use std::collections::BTreeMap;

use super::browser_session::require_user;
use super::consent_page::grant_limit_warning;
use super::notices::redirect_with_notice;
use super::page::{self, ConnectionSummary, Notice, NoticeCode, StatusLabel, Tone};
use super::page_frame::page_context;
use super::recently_disconnected::list_recent;
use super::settings_view::{build_settings, workflow_href};
use super::{Call, Response, input, problem};
use crate::app::{AuthMethod, CredentialKind, RefreshTokenRotation};
use crate::app_list::{AppList, ListedApp};
use crate::attention;
use crate::audit::{Actor, EventType};
use crate::authorize::{self, Caller, RequiredRole};
use crate::connect::client_setup::is_auth_method_ready;
use crate::connection::{Connection, ConnectionStatus};
use crate::connections::{self, ConnectionDetails, ConnectionsPage};
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::ConnectionId;
use crate::on_demand_check;
use crate::ports::{Health, Ports, RefreshOutcome};
use crate::preconditions::IfMatch;
use crate::store::Page;
use crate::store::clients::WorkspaceClients;
use crate::store::connections::{ConnectionFilter, ConnectionPatch, ListedConnection};
use crate::store::events::Event;
use crate::store::sessions::Session;
use crate::time::Timestamp;

/// Connections per page.
const CONNECTIONS_PER_PAGE: i64 = 50;
/// Defaults that need a person, before all others.
const BROKEN_DEFAULTS_SHOWN: i64 = 20;
/// Uses and events on a connection's page.
const ROWS_PER_SECTION: i64 = 20;
/// Most uses shown before a disconnect.
const MAX_USES_SHOWN: i64 = 500;

pub(super) async fn show_connections_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let search = input::query_param(call.request, "q");
    let position = |text: &str| input::parse_time_cursor(text, ConnectionId::parse).ok_or_else(input::invalid_cursor);
    let filter = ConnectionFilter {
        text: search.clone(),
        after: input::query_param(call.request, "cursor").map(|text| position(&text)).transpose()?,
        limit: CONNECTIONS_PER_PAGE,
        ..Caller::User(session, RequiredRole::Member).connection_filter()
    };
    let apps_search = input::query_param(call.request, "apps");
    let user = session.user().map(|user| user.id.as_str());
    let (page, disconnected) = futures_util::future::join(
        connections::load_connections_page(context, &session.workspace, &filter, user, BROKEN_DEFAULTS_SHOWN),
        list_recent(context, session, &filter),
    )
    .await;
    let ConnectionsPage { broken_defaults, connections: found, apps } = page?;
    let AppList { apps: known, clients } = apps;
    let mut found = put_first(broken_defaults, found);
    let caller = Caller::User(session, RequiredRole::Member);
    found.data.iter_mut().for_each(|listed| caller.hide_unseen(listed));
    let name_of =
        |id: &str| known.iter().find(|one| one.id() == id).map_or_else(|| id.to_owned(), |one| one.name().to_owned());
    let view = page::ConnectionListView {
        connections: found
            .data
            .iter()
            .map(|listed| {
                let app = listed.connection.app.as_str();
                // A removed app cannot be connected again.
                let removed = known.iter().all(|one| one.id() != app);
                let repair = reconnect_action(context, listed)
                    .filter(|_| !removed && authorize::session_may_change(session, &listed.connection));
                ConnectionSummary {
                    reconnect: repair,
                    owner: owner_label(session, &listed.connection),
                    ..build_summary(context, listed, name_of(app))
                }
            })
            .collect(),
        apps: known
            .iter()
            .map(|one| page::AppChoice {
                id: one.id().to_owned(),
                name: one.name().to_owned(),
                auth_methods: one.auth_method_names(),
                categories: one.categories(),
                ready: one.is_connectable(&clients),
                auth_method_without_client: auth_method_without_client(one, &clients),
            })
            .collect(),
        recently_disconnected: disconnected?
            .into_iter()
            .map(|one| page::RecentlyDisconnected { app_name: name_of(&one.app), ..one })
            .collect(),
        is_later_page: filter.after.is_some(),
        next_page_href: found.next.map(|cursor| next_page_url(&cursor, search.as_deref(), apps_search.as_deref())),
        apps_search,
        search,
    };
    Ok(Response::html(200, page::connection_list(&page_context(context, call.request, Some(session)), &view)))
}

/// The page with these at its beginning, and not again below.
fn put_first(first: Vec<ListedConnection>, mut page: Page<ListedConnection>) -> Page<ListedConnection> {
    page.data.retain(|one| first.iter().all(|earlier| earlier.connection.id != one.connection.id));
    page.data.splice(..0, first);
    page
}

/// The name of an app's auth method with a consent, if its client is not set up.
fn auth_method_without_client(one: &ListedApp, clients: &WorkspaceClients) -> Option<String> {
    if let ListedApp::Catalogue(entry) = one
        && !clients.registration_names().any(|name| name == one.client_registration())
    {
        let auth_method = entry
            .auth_methods
            .iter()
            .find(|auth_method| CredentialKind::parse(auth_method.kind) == Some(CredentialKind::OAuth2))?;
        return Some(auth_method.name.unwrap_or_else(|| CredentialKind::OAuth2.label()).to_owned());
    }
    one.load_app()?
        .oauth2_method()
        .filter(|auth_method| !is_auth_method_ready(clients, auth_method))
        .map(|auth_method| auth_method.display_name())
}

fn next_page_url(cursor: &str, search: Option<&str>, apps: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("cursor", cursor);
    for (name, text) in [("q", search), ("apps", apps)] {
        if let Some(text) = text {
            query.append_pair(name, text);
        }
    }
    format!("/?{}", query.finish())
}

fn build_summary<P: Ports>(context: &Context<P>, listed: &ListedConnection, app_name: String) -> ConnectionSummary {
    let connection = &listed.connection;
    let attention =
        attention::for_connection(listed, context.now()).iter().map(|one| one.explanation().to_owned()).collect();
    ConnectionSummary {
        id: connection.id.to_string(),
        app: connection.app.to_string(),
        name: connection.name.clone(),
        app_name,
        account_label: connection.account.as_ref().map(|account| account.label.clone()),
        status: status_label(connection.shown_status(&context.config.key_ring).0),
        attention,
        last_used_at: connection.last_used_at,
        owner: None,
        reconnect: None,
    }
}

/// The owner of a connection, if it is not the person.
fn owner_label(session: &Session, connection: &Connection) -> Option<String> {
    match (&connection.user, session.user()) {
        (None, _) if connection.shared => Some("Shared with everybody in the workspace".to_owned()),
        (None, _) => Some("Without an owner: only admins see it".to_owned()),
        (Some(owner), Some(me)) if owner.id == me.id => {
            connection.shared.then(|| "You share it with everybody in the workspace".to_owned())
        }
        (Some(owner), _) if connection.shared => Some(format!("{}, shared with everybody", owner.display_name())),
        (Some(owner), _) => Some(owner.display_name().to_owned()),
    }
}

/// How and where a person repairs a connection.
fn reconnect_action<P: Ports>(context: &Context<P>, listed: &ListedConnection) -> Option<(&'static str, String)> {
    let connection = &listed.connection;
    let label = if connection.kind.is_manual() { "Enter a new key" } else { "Reconnect" };
    let broken = connection.shown_status(&context.config.key_ring).0 == ConnectionStatus::NeedsReconnect;
    broken.then(|| (label, format!("/connections/{}/reconnect", connection.id)))
}

fn status_label(status: ConnectionStatus) -> StatusLabel {
    let (words, tone) = match status {
        ConnectionStatus::Connected => ("Connected", Tone::Good),
        ConnectionStatus::AwaitingConfirmation => ("Awaiting confirmation", Tone::Waiting),
        ConnectionStatus::NeedsReconnect => ("Needs reconnecting", Tone::Bad),
    };
    StatusLabel { text: words.to_owned(), tone }
}

pub(super) async fn show_connection_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let view = build_connection_view(context, call, call.path_connection()?).await?;
    let mut shell = page_context(context, call.request, call.session.as_ref());
    if let Some(notice) = shell.notice.as_mut().filter(|notice| notice.code == NoticeCode::Connected) {
        match &view.summary.account_label {
            Some(account) => notice.about.clone_from(account),
            None => notice.code = NoticeCode::ConnectedUnknown,
        }
    }
    Ok(Response::html(200, page::connection(&shell, &view)))
}

pub(super) async fn build_connection_view<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    listed: &ListedConnection,
) -> Result<page::ConnectionView> {
    let connection = &listed.connection;
    let session = call.session()?;
    let may_change = authorize::session_may_change(session, connection);
    let confirming_disconnect = may_change && input::query_param(call.request, "disconnect").is_some();
    // Before a disconnect, all affected workflows are shown.
    let most_uses = if confirming_disconnect { MAX_USES_SHOWN } else { ROWS_PER_SECTION };
    let ConnectionDetails { auth_method, app_removed, uses, events, grant_usage, key_names } =
        connections::load_connection_details(context, connection, most_uses, ROWS_PER_SECTION).await?;
    let app_name =
        auth_method.as_ref().map_or_else(|| connection.app.to_string(), |auth_method| auth_method.app_name.clone());
    let (_, reason) = connection.shown_status(&context.config.key_ring);
    let mut warnings =
        auth_method.as_deref().map(|auth_method| list_warnings(context, connection, auth_method)).unwrap_or_default();
    if let (Some(auth_method), Some(grants)) = (&auth_method, grant_usage) {
        warnings.push(grant_limit_warning(auth_method, grants));
    }
    let missing = missing_scopes(connection, auth_method.as_deref());
    let settings = build_settings(context, session, listed).await?;
    let mut card =
        ConnectionSummary { owner: owner_label(session, connection), ..build_summary(context, listed, app_name) };
    if !missing.is_empty() {
        // The page lists them, so the general note is left out.
        card.attention.retain(|sentence| sentence != attention::AttentionCode::MissingScopes.explanation());
    }
    if !settings.step_changes.is_empty() {
        // The page lists them.
        let told = |one: &attention::Attention| one.code == attention::AttentionCode::StepChangedConnection;
        let told: Vec<_> = attention::for_connection(listed, context.now()).into_iter().filter(told).collect();
        card.attention.retain(|sentence| told.iter().all(|one| one.explanation() != sentence));
    }
    Ok(page::ConnectionView {
        summary: card,
        reason: reason.map(|reason| reason.explanation().to_owned()),
        granted_scopes: connection.scopes_granted.clone(),
        missing_scopes: missing,
        app_removed,
        change_permission: if may_change {
            page::ChangePermission::Allowed
        } else {
            page::ChangePermission::AdminsOnly
        },
        rejected_name: None,
        missing_scopes_href: Some(missing_scopes_url(connection)).filter(|_| !app_removed && may_change),
        credential_kind: auth_method
            .as_ref()
            .filter(|auth_method| auth_method.kind.is_manual())
            .map(|auth_method| auth_method.display_name())
            .unwrap_or_default(),
        access_source: access_source(connection.kind),
        new_credential_href: connection.kind.is_manual().then(|| format!("/connections/{}/reconnect", connection.id)),
        warnings,
        expires_at: connection.expires_at,
        refreshable: connection.refreshable,
        predicted_end: predicted_end(connection, auth_method.as_deref()),
        last_check: connection.checked_at.map(|at| (at, describe_evidence(connection.check_evidence.as_deref()))),
        next_check_at: connection.next_check_at,
        created_at: connection.created_at,
        connected_at: connection.connected_at,
        workflow_hrefs: uses.iter().map(|one| workflow_href(&one.workflow)).collect(),
        uses: uses.into_iter().map(|one| (one.workflow, one.step, one.last_used_at)).collect(),
        settings,
        events: describe_events(&events, &require_user(session)?.id, &key_names),
        confirming_disconnect,
    })
}

/// Requested scopes that were not granted, with what each permits.
fn missing_scopes(connection: &Connection, auth_method: Option<&AuthMethod>) -> Vec<(String, Option<String>)> {
    let known = |id: &String| auth_method?.scopes.iter().find(|scope| scope.id == *id)?.description.clone();
    connection.missing_scopes().into_iter().map(|id| (id.clone(), known(&id))).collect()
}

/// Where the missing permissions are requested again: exactly those.
fn missing_scopes_url(connection: &Connection) -> String {
    let path = format!("/connections/{}/reconnect", connection.id);
    let missing = connection.missing_scopes().join(" ");
    if missing.is_empty() {
        return path;
    }
    format!("{path}?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("scopes", &missing).finish())
}

/// Notes for a person about this app and the manual credential.
fn list_warnings<P: Ports>(context: &Context<P>, connection: &Connection, auth_method: &AuthMethod) -> Vec<String> {
    let pasted = Some(connection).filter(|connection| connection.kind.is_manual());
    let credential = pasted.and_then(|connection| connection.credential(&context.config.key_ring));
    let fields = credential.map(|credential| credential.fields).unwrap_or_default();
    let remarks: Vec<_> = auth_method.field_marks(&fields).filter_map(|mark| mark.warn.clone()).collect();
    auth_method.deprecated.iter().chain(&auth_method.limits.notes).cloned().chain(remarks).collect()
}

fn access_source(kind: CredentialKind) -> page::AccessSource {
    match kind {
        CredentialKind::OAuth2 => page::AccessSource::Consent,
        CredentialKind::ClientCredentials | CredentialKind::ServiceAccount => page::AccessSource::TokenExchange,
        CredentialKind::ApiKey | CredentialKind::BotToken | CredentialKind::Basic => {
            page::AccessSource::ManualCredential
        }
    }
}

/// The earliest known expiry, and what extends it.
fn predicted_end(connection: &Connection, auth_method: Option<&AuthMethod>) -> Option<(Timestamp, page::ExtendedBy)> {
    // If a refresh returns no other refresh token, the existing one expires anyway.
    let renewal = if auth_method.is_some_and(|auth_method| auth_method.rotation() == RefreshTokenRotation::None) {
        page::ExtendedBy::Reconnect
    } else {
        page::ExtendedBy::Refresh
    };
    let ends = [
        (connection.grant_expires_at, page::ExtendedBy::Reconnect),
        (connection.refresh_expires_at, renewal),
        (connection.refresh_idle_until, page::ExtendedBy::Use),
    ];
    ends.into_iter().filter_map(|(end, by)| Some((end?, by))).min_by_key(|(end, _)| *end)
}

/// The result of a check, for a person: the database has it as `what: result`.
fn describe_evidence(evidence: Option<&str>) -> String {
    match evidence.and_then(|text| text.split_once(": ")) {
        Some(("probe", seen)) => format!("the app was asked: {seen}"),
        Some(("refresh", code)) => format!("refresh failed: {}", code.replace('_', " ")),
        _ => evidence.unwrap_or_default().to_owned(),
    }
}

/// An event as text. Keys have their names.
fn describe_events(events: &[Event], me: &str, keys: &BTreeMap<String, String>) -> Vec<(Timestamp, String)> {
    events.iter().map(|event| (event.at, describe_event(event, &describe_actor(&event.actor, me, keys)))).collect()
}

fn describe_event(event: &Event, by: &str) -> String {
    let what = event.r#type.replace('_', " ");
    match &event.detail {
        // Names and accounts are shown unchanged.
        Some(detail)
            if matches!(EventType::parse(&event.r#type), Some(EventType::Edited | EventType::AccountSwitched)) =>
        {
            format!("{what} ({detail}), {by}")
        }
        Some(detail) => format!("{what} ({}), {by}", detail.replace('_', " ")),
        None => format!("{what}, {by}"),
    }
}

/// Who did it, as the person knows them.
fn describe_actor(stored: &str, me: &str, keys: &BTreeMap<String, String>) -> String {
    match Actor::parse(stored) {
        Some(Actor::User(id)) if id == me => "by you".to_owned(),
        Some(Actor::User(id)) => format!("by {id}"),
        Some(Actor::Key(id)) => match keys.get(id.as_str()) {
            Some(name) => format!("by a key ({name})"),
            None => "by a key that is revoked".to_owned(),
        },
        Some(Actor::Link(_)) => "through a link".to_owned(),
        Some(Actor::ScheduledRun) => "by a regular check".to_owned(),
        Some(Actor::Refresh) => "when the access was renewed".to_owned(),
        Some(Actor::Embedder) => "by the program that made the link".to_owned(),
        Some(Actor::Operator) => "by the operator".to_owned(),
        Some(Actor::UnknownUser | Actor::Check | Actor::Unauthenticated) | None => format!("by {stored}"),
    }
}

/// Back to a connection's page, with what has happened.
pub(super) fn redirect_to_connection<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    id: &ConnectionId,
    code: NoticeCode,
) -> Response {
    let notice = Notice { code, about: String::new() };
    redirect_with_notice(context, call.request, &format!("/connections/{id}"), &notice)
}

pub(super) async fn submit_rename<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let listed = call.path_connection()?;
    let entered = input::form_field(call.request, "name").unwrap_or_default();
    let patch = ConnectionPatch { name: Some(entered.clone()), ..ConnectionPatch::default() };
    match connections::edit_connection(context, &listed.connection, patch, &call.user_actor()?, &IfMatch::Anything)
        .await
    {
        Ok(_) => Ok(redirect_to_connection(context, call, &listed.connection.id, NoticeCode::Renamed)),
        Err(error) if error.code == ErrorCode::InvalidRequest => {
            rename_error_response(context, call, listed, entered, &error).await
        }
        Err(error) => Err(error),
    }
}

/// The page again, with the error next to the name.
async fn rename_error_response<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    listed: &ListedConnection,
    entered: String,
    error: &Error,
) -> Result<Response> {
    let why = error.hints.errors.first().map_or(&error.detail, |one| &one.problem);
    let mut view = build_connection_view(context, call, listed).await?;
    view.rejected_name = Some((entered, why.clone()));
    let status = problem::status_and_title(error.code).0;
    Ok(Response::html(status, page::connection(&page_context(context, call.request, call.session.as_ref()), &view)))
}

pub(super) async fn submit_check<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let Connection { id, workspace, .. } = &call.path_connection()?.connection;
    let outcome = on_demand_check::run(context, workspace, id).await;
    let done = match outcome.health() {
        Health::Healthy => NoticeCode::CheckHealthy,
        Health::NeedsReconnect => NoticeCode::CheckBroken,
        Health::ClientMisconfigured | Health::ConfigurationRefused => NoticeCode::CheckClient,
        Health::AppUnavailable => NoticeCode::CheckUnavailable,
        // To try again later helps here, too.
        Health::Unknown if outcome == RefreshOutcome::DatabaseUnavailable => NoticeCode::CheckUnavailable,
        Health::Unknown => NoticeCode::CheckUnknown,
    };
    Ok(redirect_to_connection(context, call, id, done))
}
