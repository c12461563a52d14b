//! What a connection's page shows of its settings.
//!
//! Owns what of other connections a person sees there. The forms are handled in [`super::connection_forms`].

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::attention_words::explain_step_change;
use super::choices::tell_apart;
use super::notices::redirect_with_notice;
use super::page::{ConnectionIdentity, Notice, NoticeCode, OtherConnection, SettingsView, Texts, fill_plain};
use super::{Call, Response};
use crate::authorize::{Caller, RequiredRole};
use crate::connection::Connection;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::Result;
use crate::ids::ConnectionId;
use crate::names::is_dot_segment;
use crate::ports::Ports;
use crate::replacements;
use crate::store::connections::ListedConnection;
use crate::store::replacements::RelatedConnection;
use crate::store::sessions::Session;

/// Connections that are offered to answer for another one.
const MOST_CANDIDATES: i64 = 100;

/// As the pages have it; empty if it is unknown.
pub(super) fn environment_text(environment: Option<Environment>) -> String {
    environment.map(Environment::as_str).unwrap_or_default().to_owned()
}

/// A connection that is shown together with another one. What the person does not see has no name.
fn other(caller: &Caller<'_>, of: &ListedConnection, one: &RelatedConnection) -> OtherConnection {
    let is_seen = caller.sees_related(one, &of.connection.app);
    OtherConnection {
        id: one.id.to_string(),
        name: is_seen.then(|| one.name.clone()),
        environment: environment_text(one.environment),
    }
}

/// What the page shows of a connection's settings.
pub(super) fn build_settings(text: &Texts, session: &Session, listed: &ListedConnection) -> SettingsView {
    let (connection, caller) = (&listed.connection, Caller::User(session, RequiredRole::OwnerOrAdmin));
    SettingsView {
        environment: environment_text(connection.environment),
        shared: connection.shared,
        replaced_by: listed.replaced_by.as_ref().map(|one| other(&caller, listed, one)),
        replaces: listed.replaces.iter().map(|one| other(&caller, listed, one)).collect(),
        step_changes: listed.step_changes.iter().map(|one| explain_step_change(text, one)).collect(),
    }
}

/// A connection among others in a list to choose from: with its account, unless the name says it.
pub(super) fn choice_label(text: &Texts, connection: &Connection) -> String {
    let name = &connection.name;
    match connection.account.as_ref().map(|account| account.label.as_str()) {
        Some(label) if !name.to_lowercase().contains(&label.to_lowercase()) => {
            fill_plain(text.list.choice, &[("name", name), ("account", label)])
        }
        _ => name.clone(),
    }
}

/// The connections that the person may let answer for one.
pub(super) async fn list_candidates<P: Ports>(
    context: &Context<P>,
    text: &Texts,
    session: &Session,
    listed: &ListedConnection,
) -> Result<Vec<OtherConnection>> {
    let caller = Caller::User(session, RequiredRole::OwnerOrAdmin);
    let found = replacements::list_candidates(context, &caller, &listed.connection, MOST_CANDIDATES).await?;
    let names =
        tell_apart(found.iter().map(|one| (one.connection.id.to_string(), choice_label(text, &one.connection))));
    let view = |(one, (id, name)): (&ListedConnection, (String, String))| OtherConnection {
        id,
        environment: environment_text(one.connection.environment),
        name: Some(name),
    };
    Ok(found.iter().zip(names).map(view).collect())
}

/// Where the page of a workflow is. One whose name no address can have is found in the list.
pub(super) fn workflow_href(workflow: &str) -> String {
    if is_dot_segment(workflow) {
        return format!("/workflows?q={workflow}");
    }
    format!("/workflows/{}", utf8_percent_encode(workflow, NON_ALPHANUMERIC))
}

/// What every page about a connection shows of it.
pub(super) fn identity(listed: &ListedConnection, app_name: String) -> ConnectionIdentity {
    let connection = &listed.connection;
    ConnectionIdentity {
        id: connection.id.to_string(),
        name: connection.name.clone(),
        app: connection.app.to_string(),
        app_name,
        account_label: connection.account.as_ref().map(|account| account.label.clone()),
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
