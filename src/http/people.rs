//! The Connections page, and a connection's own: what people see of their connections and do with them.
//!
//! Owns how records become these pages' words, and hands out the stylesheet of all pages. Which connections a person
//! sees and changes is decided in [`crate::authorize`].

use std::collections::BTreeMap;

use super::connections::edit;
use super::known::Known;
use super::page::{self, Card, StatusWords, Tone};
use super::session::shell;
use super::session::{self, user_of};
use super::{Call, Response, ask, input, known, problem};
use crate::app::{App, Kind, Rotation};
use crate::attention;
use crate::authorize::{self, Caller, Needs};
use crate::connect::paste;
use crate::connect::settle::LONGEST_NAME;
use crate::connection::{Connection, Reason, Status};
use crate::core::Core;
use crate::disconnect::{self, Revoked};
use crate::error::{Error, Result};
use crate::ids::ConnectionId;
use crate::ports::{ErrandOutcome, Ports};
use crate::registry;
use crate::shared;
use crate::store::clients::{self, Registrations};
use crate::store::connections::{self as rows, Filter, Listed, Patch};
use crate::store::sessions::Session;
use crate::store::{events, keys, uses};
use crate::time::Timestamp;

/// Connections on a page.
const PER_PAGE: i64 = 50;
/// Uses and events on a connection's page.
const PER_SECTION: i64 = 20;
/// Uses shown before a disconnect.
const MOST_USES: i64 = 500;

pub(super) async fn list<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let search = input::query(call.request, "q");
    let position = |text: &str| input::position(text, ConnectionId::parse).ok_or_else(input::wrong_cursor);
    let filter = Filter {
        text: search.clone(),
        after: input::query(call.request, "cursor").map(|text| position(&text)).transpose()?,
        limit: PER_PAGE,
        ..Caller::Person(session, Needs::Member).connections()
    };
    let apps_search = input::query(call.request, "apps");
    let found = rows::list(core.db(), &session.workspace, &filter, core.now()).await?;
    let known = known::all(core, &session.workspace).await?;
    let ready = clients::registrations(core.db(), &session.workspace).await?;
    let name_of =
        |id: &str| known.iter().find(|one| one.id() == id).map_or_else(|| id.to_owned(), |one| one.name().to_owned());
    let view = page::ListView {
        connections: found
            .data
            .iter()
            .map(|listed| {
                let app = listed.connection.app.as_str();
                // What was removed from the workspace can't be connected again.
                let removed = known.iter().all(|one| one.id() != app);
                let repair =
                    repair(core, listed).filter(|_| !removed && authorize::may_change(session, &listed.connection));
                Card { repair, owner: owner(session, &listed.connection), ..card(core, listed, name_of(app)) }
            })
            .collect(),
        apps: known
            .iter()
            .map(|one| page::AppChoice {
                id: one.id().to_owned(),
                name: one.name().to_owned(),
                ways: one.ways(),
                categories: one.categories(),
                ready: one.can_be_connected(&ready),
                lacks: lacks(one, &ready),
            })
            .collect(),
        next: found.next.map(|cursor| next_page(&cursor, search.as_deref(), apps_search.as_deref())),
        apps_search,
        search,
        notice: notice(call),
    };
    let csrf = session::form_token(core, call.request);
    Ok(Response::html(200, page::list(&shell(Some(session), csrf.as_deref()), &view)))
}

/// What people call an app's way at the app itself, where its client is not set up.
fn lacks(one: &Known, clients: &Registrations) -> Option<String> {
    if let Known::Catalogue(entry) = one
        && !clients.names().any(|name| name == one.registration())
    {
        let way = entry.ways.iter().find(|way| Kind::parse(way.kind) == Some(Kind::OAuth2))?;
        return Some(way.name.unwrap_or_else(|| Kind::OAuth2.in_words()).to_owned());
    }
    one.definition()?.oauth2().filter(|app| !known::is_ready(clients, app)).map(|app| ask::kind(&app))
}

fn next_page(cursor: &str, search: Option<&str>, apps: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("cursor", cursor);
    for (name, text) in [("q", search), ("apps", apps)] {
        if let Some(text) = text {
            query.append_pair(name, text);
        }
    }
    format!("/?{}", query.finish())
}

/// What just happened, told by a word in the address that stands for one of these sentences.
fn notice(call: &Call<'_>) -> Option<String> {
    let text = match input::query(call.request, "done")?.as_str() {
        "disconnected" => "Disconnected. The app confirmed that the access is revoked.",
        "disconnected-unsupported" => {
            "Disconnected and erased here. This app has no way to revoke access; remove it in the app's own settings if you want to be sure."
        }
        "disconnected-shared" => {
            "Disconnected and erased here. The access itself was kept at the app, because another connection uses it."
        }
        "disconnected-retrying" => {
            "Disconnected and erased here. The app has not confirmed the revocation yet; it is tried again for a day."
        }
        "disconnected-unconfirmed" => {
            "Disconnected and erased here. The app could not be told; remove the access in the app's own settings."
        }
        "renamed" => "Renamed.",
        "healthy" => "Checked: it works.",
        "dead" => "Checked: it no longer works and must be reconnected.",
        "unavailable" => "Checked: the app did not answer. It is tried again by itself.",
        "client" => {
            "Checked: the app refuses this workspace's client id and secret. Whoever set up the app must check them."
        }
        "unknown" => "Checked, but nothing could be learned: this app has nothing to ask.",
        "signed-in" => "You are signed in.",
        _ => return None,
    };
    Some(text.to_owned())
}

fn card<P: Ports>(core: &Core<P>, listed: &Listed, app_name: String) -> Card {
    let connection = &listed.connection;
    let attention = attention::of(listed, core.now()).iter().map(|one| one.explained().to_owned()).collect();
    Card {
        id: connection.id.to_string(),
        name: connection.name.clone(),
        app_name,
        account: connection.account.as_ref().map(|account| account.label.clone()),
        status: words(connection.shown_status(&core.config.ring)),
        attention,
        last_used: connection.last_used_at,
        owner: None,
        repair: None,
    }
}

/// Whose a connection is, where it is not the person's own.
fn owner(session: &Session, connection: &Connection) -> Option<String> {
    match (&connection.user, session.user()) {
        (None, _) => Some("Shared with everybody in the workspace".to_owned()),
        (Some(owner), Some(me)) if owner.id == me.id => None,
        (Some(owner), _) => Some(owner.shown().to_owned()),
    }
}

/// How a person repairs a connection that needs it: in words, and where.
fn repair<P: Ports>(core: &Core<P>, listed: &Listed) -> Option<(&'static str, String)> {
    let connection = &listed.connection;
    let label = if connection.kind.is_pasted() { "Enter a new key" } else { "Reconnect" };
    let broken = connection.shown_status(&core.config.ring).0 == Status::NeedsReconnect;
    broken.then(|| (label, format!("/connections/{}/reconnect", connection.id)))
}

fn words((status, _): (Status, Option<Reason>)) -> StatusWords {
    let (words, tone) = match status {
        Status::Connected => ("Connected", Tone::Good),
        Status::AwaitingConfirmation => ("Awaiting confirmation", Tone::Waiting),
        Status::NeedsReconnect => ("Needs reconnecting", Tone::Bad),
    };
    StatusWords { words: words.to_owned(), tone }
}

pub(super) async fn show<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let view = view(core, call, call.connection()?).await?;
    let csrf = session::form_token(core, call.request);
    Ok(Response::html(200, page::connection(&shell(call.session.as_ref(), csrf.as_deref()), &view)))
}

async fn view<P: Ports>(core: &Core<P>, call: &Call<'_>, listed: &Listed) -> Result<page::ConnectionView> {
    let connection = &listed.connection;
    let removed = matches!(registry::current(core, &connection.workspace, &connection.app).await, Ok(None));
    // A connection whose definition can't be read any more is shown all the same.
    let app = registry::of_connection(core, connection).await.ok();
    let app_name = app.as_ref().map_or_else(|| connection.app.to_string(), |app| app.name.clone());
    let session = call.session()?;
    let may_change = authorize::may_change(session, connection);
    let confirming_disconnect = may_change && input::query(call.request, "disconnect").is_some();
    // Whoever is about to disconnect sees all that would stop working.
    let most = if confirming_disconnect { MOST_USES } else { PER_SECTION };
    let used = uses::list(core.db(), &connection.workspace, &connection.id, ("", ""), most).await?;
    let told = events::list(core.db(), &connection.workspace, &connection.id, events::newest(), PER_SECTION).await?;
    let (_, reason) = connection.shown_status(&core.config.ring);
    let connected = input::query(call.request, "connected").map(|_| match &connection.account {
        Some(account) => format!("Connected as {}.", account.label),
        None => "Connected.".to_owned(),
    });
    let mut warned = app.as_deref().map(|app| warnings(core, connection, app)).unwrap_or_default();
    if let (Some(app), Some(client), Some(account)) = (&app, &connection.client, &connection.account) {
        warned.extend(ask::of_limit(core, &connection.workspace, app, (client, &account.id)).await?);
    }
    let missing = missing(connection, app.as_deref());
    let mut card = Card { owner: owner(session, connection), ..card(core, listed, app_name) };
    if !missing.is_empty() {
        // The page tells which: that some are missing is no more news.
        card.attention.retain(|sentence| sentence != attention::Code::MissingScopes.explained());
    }
    Ok(page::ConnectionView {
        card,
        notice: connected.or_else(|| notice(call)),
        reason: reason.map(|reason| reason.explained().to_owned()),
        granted: connection.scopes_granted.clone(),
        missing,
        removed,
        changes: if may_change { page::Changes::Allowed } else { page::Changes::AdminsOnly },
        renaming: None,
        ask_again: Some(ask_again(connection)).filter(|_| !removed && may_change),
        kind: app.as_ref().filter(|app| app.kind.is_pasted()).map(|app| ask::kind(app)).unwrap_or_default(),
        lasts: lasts(connection.kind),
        replace_href: connection.kind.is_pasted().then(|| format!("/connections/{}/reconnect", connection.id)),
        warnings: warned,
        expires: connection.expires_at,
        renewable: connection.refreshable,
        predicted_end: predicted_end(connection, app.as_deref()),
        checked: connection.checked_at.map(|at| (at, evidence_in_words(connection.check_evidence.as_deref()))),
        next_check: connection.next_check_at,
        created: connection.created_at,
        connected: connection.connected_at,
        uses: used.data.into_iter().map(|one| (one.workflow, one.step, one.last_used_at)).collect(),
        events: history(core, call, &told.data).await?,
        confirming_disconnect,
    })
}

/// What was asked for and not granted, with what each allows.
fn missing(connection: &Connection, app: Option<&App>) -> Vec<(String, Option<String>)> {
    let known = |id: &String| app?.scopes.iter().find(|scope| scope.id == *id)?.description.clone();
    connection.missing_scopes().into_iter().map(|id| (id.clone(), known(&id))).collect()
}

/// Where the missing permissions are asked for again: exactly those.
fn ask_again(connection: &Connection) -> String {
    let path = format!("/connections/{}/reconnect", connection.id);
    let missing = connection.missing_scopes().join(" ");
    if missing.is_empty() {
        return path;
    }
    format!("{path}?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("scopes", &missing).finish())
}

/// What a person should know of this app, and of what they entered.
fn warnings<P: Ports>(core: &Core<P>, connection: &Connection, app: &App) -> Vec<String> {
    let pasted = Some(connection).filter(|connection| connection.kind.is_pasted());
    let credential = pasted.and_then(|connection| connection.credential(&core.config.ring));
    let fields = credential.map(|credential| credential.fields).unwrap_or_default();
    let remarks: Vec<_> = paste::marks(app, &fields).filter_map(|mark| mark.warn.clone()).collect();
    app.deprecated.iter().chain(&app.limits.notes).cloned().chain(remarks).collect()
}

fn lasts(kind: Kind) -> page::Lasts {
    match kind {
        Kind::OAuth2 => page::Lasts::Consented,
        Kind::ClientCredentials | Kind::ServiceAccount => page::Lasts::Exchanged,
        Kind::ApiKey | Kind::BotToken | Kind::Basic => page::Lasts::Pasted,
    }
}

/// The nearest end that is known, and what puts it off.
fn predicted_end(connection: &Connection, app: Option<&App>) -> Option<(Timestamp, page::PutOff)> {
    // Where renewing brings no other refresh token, the one there is ends all the same.
    let renewal = if app.is_some_and(|app| app.rotation() == Rotation::None) {
        page::PutOff::Person
    } else {
        page::PutOff::Renewal
    };
    let ends = [
        (connection.grant_expires_at, page::PutOff::Person),
        (connection.refresh_expires_at, renewal),
        (connection.refresh_idle_until, page::PutOff::Use),
    ];
    ends.into_iter().filter_map(|(end, by)| Some((end?, by))).min_by_key(|(end, _)| *end)
}

/// What a check saw, for a person: the record keeps it as `what: result`.
fn evidence_in_words(evidence: Option<&str>) -> String {
    match evidence.and_then(|text| text.split_once(": ")) {
        Some(("probe", seen)) => format!("the app was asked: {seen}"),
        Some(("refresh", code)) => format!("renewing failed: {}", code.replace('_', " ")),
        _ => evidence.unwrap_or_default().to_owned(),
    }
}

/// What happened, in words. Keys are told by their names.
async fn history<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    events: &[events::Event],
) -> Result<Vec<(Timestamp, String)>> {
    let session = call.session()?;
    let ids: Vec<_> = events.iter().filter_map(|event| event.actor.strip_prefix("key:")).collect();
    let keys = if ids.is_empty() { BTreeMap::new() } else { keys::names(core.db(), &session.workspace, &ids).await? };
    let me = &user_of(session)?.id;
    Ok(events.iter().map(|event| (event.at, said(event, &by(&event.actor, me, &keys)))).collect())
}

fn said(event: &events::Event, by: &str) -> String {
    let what = event.r#type.replace('_', " ");
    match &event.detail {
        // Names and accounts are told as they are written.
        Some(detail) if matches!(event.r#type.as_str(), "edited" | "account_switched") => {
            format!("{what} ({detail}), {by}")
        }
        Some(detail) => format!("{what} ({}), {by}", detail.replace('_', " ")),
        None => format!("{what}, {by}"),
    }
}

/// Who did it, as the person who looks at the page knows them.
fn by(actor: &str, me: &str, keys: &BTreeMap<String, String>) -> String {
    match actor.split_once(':') {
        Some(("user", id)) if id == me => "by you".to_owned(),
        Some(("user", id)) => format!("by {id}"),
        Some(("key", id)) => match keys.get(id) {
            Some(name) => format!("by a key ({name})"),
            None => "by a key that is revoked".to_owned(),
        },
        Some(("link", _)) => "through a link".to_owned(),
        _ => match actor {
            "clock" => "by a regular check".to_owned(),
            "refresh" => "when the access was renewed".to_owned(),
            "embedder" => "by whoever made the link".to_owned(),
            _ => format!("by {actor}"),
        },
    }
}

fn back_to(id: &ConnectionId, done: &str) -> Response {
    Response::see_other(&format!("/connections/{id}?done={done}"))
}

pub(super) async fn rename<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let listed = call.connection()?;
    let entered = input::form(call.request, "name").unwrap_or_default();
    let name = match input::name("name", &entered, LONGEST_NAME) {
        Ok(name) => name,
        Err(error) => return not_renamed(core, call, listed, (entered, &error)).await,
    };
    let patch = Patch { name: Some(name), ..Patch::default() };
    edit(core, listed, &patch, &call.user_actor()?).await?;
    Ok(back_to(&listed.connection.id, "renamed"))
}

/// The page again, with what is wrong beside the name.
async fn not_renamed<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    listed: &Listed,
    (entered, error): (String, &Error),
) -> Result<Response> {
    let why = error.hints.errors.first().map_or(&error.detail, |one| &one.problem);
    let mut view = view(core, call, listed).await?;
    view.renaming = Some((entered, why.clone()));
    let csrf = session::form_token(core, call.request);
    let status = problem::status(error.code).0;
    Ok(Response::html(status, page::connection(&shell(call.session.as_ref(), csrf.as_deref()), &view)))
}

pub(super) async fn check<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let Connection { id, workspace, .. } = &call.connection()?.connection;
    let done = match shared::check(core, workspace, id).await {
        ErrandOutcome::Refreshed | ErrandOutcome::Satisfied | ErrandOutcome::Healthy => "healthy",
        ErrandOutcome::Dead | ErrandOutcome::Unreadable => "dead",
        ErrandOutcome::ClientMisconfigured | ErrandOutcome::Unusable => "client",
        ErrandOutcome::Unavailable { .. } | ErrandOutcome::InProgress { .. } | ErrandOutcome::DatabaseDown => {
            "unavailable"
        }
        ErrandOutcome::Unknown | ErrandOutcome::Gone => "unknown",
    };
    Ok(back_to(id, done))
}

pub(super) async fn disconnect<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let connection = &call.connection()?.connection;
    let actor = call.user_actor()?;
    let (told, _) = disconnect::disconnect(core, &connection.workspace, &connection.id, &actor).await?;
    let done = match (told.revoked, told.retrying) {
        (Revoked::Confirmed, _) => "disconnected",
        (Revoked::Unsupported, _) => "disconnected-unsupported",
        (Revoked::KeptShared, _) => "disconnected-shared",
        (Revoked::Failed, true) => "disconnected-retrying",
        (Revoked::Failed, false) => "disconnected-unconfirmed",
    };
    Ok(Response::see_other(&format!("/?done={done}")))
}

/// The one stylesheet. It may be cached: it holds nothing of anybody.
pub(super) async fn style<P: Ports>(_: &Core<P>, _: &Call<'_>) -> Result<Response> {
    Ok(Response::new(200, "text/css; charset=utf-8", page::STYLE.to_owned())
        .with("cache-control", "public, max-age=3600".into()))
}
