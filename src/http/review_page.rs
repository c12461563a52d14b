//! The page *Review*: what a person should look at, in groups.

use super::connection_summary::{app_name, summarize};
use super::connections_page::{seen_by, window_param, window_text};
use super::page::{self, NameSuggestion, ReviewGroupView, ReviewRow, ReviewView};
use super::page_frame::page_context;
use super::settings::with_query;
use super::{Call, Response};
use crate::context::Context;
use crate::error::Result;
use crate::ports::Ports;
use crate::review::{self, NameProblem, Review, ReviewGroup};
use crate::store::connections::{OverviewFilter, OverviewRow, WINDOW};

pub(super) async fn show_review_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let shell = page_context(context, call.request, Some(session));
    let seen = OverviewFilter { after: window_param(call)?, ..seen_by(session) };
    let Review { groups, next_window, apps } = review::load_review(context, &session.workspace, &seen).await?;
    let row = |group: ReviewGroup, row: OverviewRow| {
        let connection = &row.listed.connection;
        let label = connection.account.as_ref().map(|account| account.label.as_str());
        let better = review::suggest_name(&app_name(&apps, &row), label);
        let suggestion = better
            .filter(|_| group == ReviewGroup::UnclearName)
            .map(|name| NameSuggestion { name, problem: NameProblem::of(&connection.name, connection.app.as_str()) });
        let twin = row.twin.as_ref().map(|twin| (twin.id.to_string(), twin.name.clone()));
        ReviewRow { twin, suggestion, connection: summarize(context, shell.text, session, &apps, row) }
    };
    let cursor = seen.after.as_ref().map(window_text);
    let group = |(group, overview): (ReviewGroup, crate::store::connections::Overview)| ReviewGroupView {
        group,
        number: overview.matches,
        or_more: overview.next_window.is_some() && group == ReviewGroup::NeedsReconnect,
        all_href: with_query("/", &[("status", Some(group.as_str())), ("cursor", cursor.as_deref())]),
        rows: overview.rows.into_iter().map(|one| row(group, one)).collect(),
    };
    let older = next_window.as_ref().map(window_text);
    let view = ReviewView {
        groups: groups.into_iter().map(group).collect(),
        window: (older.is_some() || seen.after.is_some()).then_some(WINDOW),
        older_href: older.map(|older| with_query("/review", &[("cursor", Some(&older))])),
        here: with_query("/review", &[("cursor", cursor.as_deref())]),
    };
    Ok(Response::html(200, page::review(&shell, &view)))
}
