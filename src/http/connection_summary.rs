//! What lists of connections show of each: its status, whose it is, and what is offered first.
//!
//! Owns how data becomes these words, so that a list, the review and the connection's own page say the same of a status.

use super::attention_words::{explain, explain_reason};
use super::page::{ConnectionSummary, RowAction, StatusLabel, Texts, Tone, fill_plain, format_date};
use super::settings_view::environment_text;
use crate::app_list::AppList;
use crate::attention::{self, Attention, AttentionCode};
use crate::authorize::{self, Caller, RequiredRole};
use crate::connection::{Connection, ConnectionStatus};
use crate::context::Context;
use crate::ports::Ports;
use crate::store::connections::{ListedConnection, OverviewRow};
use crate::store::sessions::Session;

/// Nobody knows whether it works.
pub(super) fn is_unchecked(connection: &Connection) -> bool {
    connection.checked_at.is_none() && connection.refreshed_at.is_none()
}

/// A status in words. What nobody has tried is not shown as working.
pub(super) fn status_label(
    text: &Texts,
    connection: &Connection,
    status: ConnectionStatus,
    attention: &[Attention],
) -> StatusLabel {
    let text = &text.status;
    let is_troubled = attention.iter().any(|one| {
        matches!(
            one.code,
            AttentionCode::MissingScopes
                | AttentionCode::AppUnreachable
                | AttentionCode::AppRefuses
                | AttentionCode::ClientMisconfigured
                | AttentionCode::ExpiresSoon
        )
    });
    let (words, tone) = match status {
        ConnectionStatus::NeedsReconnect => (text.needs_reconnect, Tone::Bad),
        ConnectionStatus::AwaitingConfirmation => (text.awaiting_confirmation, Tone::Waiting),
        ConnectionStatus::Connected if is_unchecked(connection) => (text.not_checked, Tone::Info),
        ConnectionStatus::Connected if is_troubled || connection.failures > 0 => (text.connected, Tone::Waiting),
        ConnectionStatus::Connected => (text.connected, Tone::Good),
    };
    StatusLabel { text: words.to_owned(), tone }
}

/// The name of a connection's app, also of one that the workspace has removed.
pub(super) fn app_name(apps: &AppList, row: &OverviewRow) -> String {
    let id = row.listed.connection.app.as_str();
    apps.name_of(id).or(row.removed_app_name.as_deref()).unwrap_or(id).to_owned()
}

/// What a list shows of a connection to this person.
pub(super) fn summarize<P: Ports>(
    context: &Context<P>,
    text: &Texts,
    session: &Session,
    apps: &AppList,
    row: OverviewRow,
) -> ConnectionSummary {
    let app_name = app_name(apps, &row);
    let mut listed = row.listed;
    Caller::User(session, RequiredRole::Member).hide_unseen(&mut listed);
    let connection = &listed.connection;
    let (status, reason) = connection.shown_status(&context.config.key_ring);
    let attention = attention::for_connection(&listed, context.now());
    let may_change = authorize::session_may_change(session, connection);
    // A removed app cannot be connected again.
    let may_repair = may_change && apps.name_of(connection.app.as_str()).is_some();
    // Nothing but a person keeps what ends and can't be renewed.
    let is_ending = !connection.refreshable && attention.iter().any(|one| one.code == AttentionCode::ExpiresSoon);
    let needs_person = match status {
        ConnectionStatus::NeedsReconnect => true,
        ConnectionStatus::Connected => is_ending,
        ConnectionStatus::AwaitingConfirmation => false,
    };
    let action = match (needs_person && may_repair, connection.kind.is_manual()) {
        (true, true) => RowAction::NewKey,
        (true, false) => RowAction::Reconnect,
        (false, _) => RowAction::Check,
    };
    let why = reason.map(|reason| explain_reason(text, reason).to_owned());
    ConnectionSummary {
        id: connection.id.to_string(),
        name: connection.name.clone(),
        app: connection.app.to_string(),
        app_name,
        account_label: connection.account.as_ref().map(|account| account.label.clone()),
        status: status_label(text, connection, status, &attention),
        attention: why.into_iter().chain(attention.iter().map(|one| sentence(text, &listed, one))).collect(),
        last_used_at: connection.last_used_at,
        workflows: listed.workflows,
        owner: owner_words(text, session, connection),
        environment: environment_text(connection.environment),
        is_default: listed.is_default,
        may_change,
        action,
    }
}

/// What deserves a look, as a sentence. An end is told with its day.
fn sentence(text: &Texts, listed: &ListedConnection, one: &Attention) -> String {
    let words = match (one.code, one.at) {
        (AttentionCode::ExpiresSoon, Some(at)) if listed.connection.refreshable => (text.list.ends_unless, at),
        (AttentionCode::ExpiresSoon, Some(at)) => (text.list.ends, at),
        _ => return explain(text, listed, one),
    };
    fill_plain(words.0, &[("day", &format_date(words.1))])
}

fn owner_words(text: &Texts, session: &Session, connection: &Connection) -> String {
    let text = &text.list;
    let name = match (&connection.user, session.user()) {
        (None, _) if connection.shared => return text.shared.to_owned(),
        (None, _) => return text.nobody.to_owned(),
        (Some(owner), Some(me)) if owner.id == me.id => text.you,
        (Some(owner), _) => owner.display_name(),
    };
    if connection.shared { fill_plain(text.owner_shared, &[("name", name)]) } else { name.to_owned() }
}
