//! The audit log, for admins: one page of lines, and the same lines as a file.
//!
//! Owns the filters. The lines are those that programs get, and what they mention is named in `mentions`; a file is written by
//! the code for programs, because a browser has no key.

mod mentions;

use self::mentions::ConnectionNames;
use super::super::events;
use super::super::page::{self, ActivityFilters, ActivityRow, ActivityView, Choice, FormErrors, PageContext, Texts};
use super::super::{Call, Response, input};
use super::event_words::event_words;
use super::{admin, shell, with_query};
use crate::app::AppId;
use crate::audit::EventType;
use crate::audit_log;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::gather::Gather as _;
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::store::Page;
use crate::store::events::{EventFilter, NamedAuditEvent};
use crate::time::Timestamp;

/// Lines of a page.
const LINES_PER_PAGE: i64 = 50;

fn read_filters(call: &Call<'_>) -> ActivityFilters {
    let read = |name: &str| input::query_param(call.request, name).unwrap_or_default().trim().to_owned();
    ActivityFilters {
        kind: read("type"),
        actor: read("actor"),
        connection: read("connection"),
        app: read("app"),
        workflow: read("workflow"),
        from: read("from"),
        to: read("to"),
    }
}

/// The beginning of a day (UTC).
fn parse_day(text: &str) -> Option<Timestamp> {
    Timestamp::parse(&format!("{text}T00:00:00Z"))
}

/// The filters as the use case takes them. What is wrong with one is said at its field, and it filters nothing.
fn parse_filters(text: &Texts, filters: &ActivityFilters) -> (EventFilter, FormErrors) {
    let mut errors = FormErrors::default();
    let mut wrong = |name: &str, problem: &str| {
        errors.fields.insert(name.to_owned(), problem.to_owned());
    };
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let (text, wrong_choice) = (&text.activity, text.settings.wrong_choice);
    let types = given(&filters.kind).and_then(|name| {
        let found = EventType::parse(&name);
        if found.is_none() {
            wrong("type", wrong_choice);
        }
        found.map(|one| vec![one])
    });
    let connection = given(&filters.connection).and_then(|id| {
        let found = ConnectionId::parse(&id);
        if found.is_none() {
            wrong("connection", text.wrong_connection);
        }
        found
    });
    let app = given(&filters.app).and_then(|id| {
        let found = AppId::parse(&id);
        if found.is_none() {
            wrong("app", text.wrong_app);
        }
        found
    });
    let mut day = |name: &str, entered: &String| {
        let entered = given(entered)?;
        let found = parse_day(&entered);
        if found.is_none() {
            wrong(name, text.wrong_day);
        }
        found
    };
    let from = day("from", &filters.from);
    // The whole of the last day.
    let to = day("to", &filters.to).map(|day| day.plus(86_400));
    let filter = EventFilter {
        types,
        actor: given(&filters.actor),
        connection,
        app,
        workflow: given(&filters.workflow),
        from,
        to,
        ..EventFilter::default()
    };
    (filter, errors)
}

fn params(filters: &ActivityFilters) -> [(&'static str, Option<&str>); 7] {
    [
        ("type", Some(&filters.kind)),
        ("actor", Some(&filters.actor)),
        ("connection", Some(&filters.connection)),
        ("app", Some(&filters.app)),
        ("workflow", Some(&filters.workflow)),
        ("from", Some(&filters.from)),
        ("to", Some(&filters.to)),
    ]
    .map(|(name, value)| (name, value.map(String::as_str)))
}

fn href(path: &str, filters: &ActivityFilters, more: &[(&str, Option<&str>)]) -> String {
    let all: Vec<_> = params(filters).into_iter().chain(more.iter().copied()).collect();
    with_query(path, &all)
}

pub(in crate::http) async fn show_activity_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let shell = shell(context, call);
    let filters = read_filters(call);
    let (filter, errors) = parse_filters(shell.text, &filters);
    let cursor = input::query_param(call.request, "cursor");
    let after =
        cursor.as_deref().map(|text| events::parse_cursor(text).ok_or_else(input::invalid_cursor)).transpose()?;
    let (rows, next) = if errors.is_empty() {
        let page: Page<NamedAuditEvent> =
            audit_log::search_events(context, &admin(call)?, EventFilter { after, limit: LINES_PER_PAGE, ..filter })
                .await?;
        let connections = find_connection_names(context, call, &page.data).await?;
        (page.data.into_iter().map(|line| activity_row(&shell, line, &connections)).collect(), page.next)
    } else {
        (vec![], None)
    };
    let export =
        |form: &str| href("/activity/export", &filters, &[("format", Some(form)), ("cursor", cursor.as_deref())]);
    let mut kinds: Vec<_> = EventType::ALL
        .iter()
        .map(|one| Choice { value: one.as_str().to_owned(), label: event_words(shell.text, *one).to_owned() })
        .collect();
    kinds.sort_by(|one, other| one.label.cmp(&other.label));
    let status = if errors.is_empty() { 200 } else { 422 };
    let view = ActivityView {
        kinds,
        errors,
        rows,
        is_later_page: cursor.is_some(),
        first_page_href: href("/activity", &filters, &[]),
        next_page_href: next.map(|next| href("/activity", &filters, &[("cursor", Some(&next))])),
        csv_href: export("csv"),
        json_href: export("json"),
        filters,
    };
    Ok(Response::html(status, page::activity(&shell, &view)))
}

/// The names of the connections that details mention by their ids. Asks nothing where none does.
async fn find_connection_names<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    lines: &[NamedAuditEvent],
) -> Result<ConnectionNames> {
    let ids = mentions::find_connections(lines);
    Ok(audit_log::find_connection_names(context, &admin(call)?, &ids).await?.into_iter().gather())
}

/// A stored type, in words. One of a later version has none here.
fn in_words(text: &Texts, stored: &str) -> String {
    EventType::parse(stored).map_or_else(
        || super::capitalized(&stored.replace(['_', '.'], " ")),
        |event| event_words(text, event).to_owned(),
    )
}

fn activity_row(shell: &PageContext, line: NamedAuditEvent, connections: &ConnectionNames) -> ActivityRow {
    let text = shell.text;
    let step = line.event.step.as_ref().map(|step| format!(" / {step}")).unwrap_or_default();
    ActivityRow {
        at: line.event.at,
        what: in_words(text, &line.event.r#type),
        actor: mentions::actor(text, &line),
        subject: mentions::subject(text, &line),
        app: mentions::app_name(&line),
        detail: mentions::detail_parts(text, &line, connections),
        ids: mentions::ids(text, &line.event),
        workflow: line.event.workflow.map(|workflow| format!("{workflow}{step}")),
        address: line.event.address,
        user_agent: line.event.user_agent,
        request_id: line.event.request_id,
    }
}

/// The lines as a file. A wrong filter is refused: a file with other lines than were asked for would mislead.
pub(in crate::http) async fn export_activity<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let filters = read_filters(call);
    let (filter, errors) = parse_filters(shell(context, call).text, &filters);
    if let Some((name, problem)) = errors.fields.first_key_value() {
        return Err(Error::invalid_field(name, problem.clone()));
    }
    let cursor = input::query_param(call.request, "cursor");
    let after = cursor.map(|text| events::parse_cursor(&text).ok_or_else(input::invalid_cursor)).transpose()?;
    let is_csv = match input::query_param(call.request, "format").as_deref() {
        Some("csv") => true,
        Some("json") => false,
        _ => return Err(Error::invalid_field("format", "must be csv or json.")),
    };
    let today = context.now().rfc3339();
    let today = today.split('T').next().unwrap_or_default();
    events::export(context, &admin(call)?, EventFilter { after, ..filter }, is_csv, today).await
}
