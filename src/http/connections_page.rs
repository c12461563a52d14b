//! The Connections page: what people see of their connections.
//!
//! Owns how data becomes the text of this page. [`crate::authorize`] decides
//! which connections a person sees and changes.

use super::page::{self, ConnectionSummary, StatusLabel, Tone};
use super::page_frame::page_context;
use super::recently_disconnected::view_of;
use super::{Call, Response, input};
use crate::app_list::AppList;
use crate::attention;
use crate::authorize::{self, Caller, RequiredRole};
use crate::connection::{Connection, ConnectionStatus};
use crate::connections::{self, ConnectionsPage};
use crate::context::Context;
use crate::error::Result;
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::store::Page;
use crate::store::connections::{ConnectionFilter, ListedConnection};
use crate::store::sessions::Session;

/// Connections per page.
const CONNECTIONS_PER_PAGE: i64 = 50;
/// Defaults that need a person, before all others.
const BROKEN_DEFAULTS_SHOWN: i64 = 20;

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
    let user = session.user().map(|user| user.id.as_str());
    let (workspace, most_broken) = (&session.workspace, BROKEN_DEFAULTS_SHOWN);
    let ConnectionsPage { broken_defaults, connections: found, apps, disconnected } =
        connections::load_connections_page(context, workspace, &filter, user, session.role, most_broken).await?;
    let AppList { apps: known, .. } = apps;
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
        recently_disconnected: disconnected
            .into_iter()
            .map(|one| {
                let app_name = name_of(one.app.as_str());
                view_of(one, app_name)
            })
            .collect(),
        is_later_page: filter.after.is_some(),
        next_page_href: found.next.map(|cursor| next_page_url(&cursor, search.as_deref())),
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

fn next_page_url(cursor: &str, search: Option<&str>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("cursor", cursor);
    if let Some(text) = search {
        query.append_pair("q", text);
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
