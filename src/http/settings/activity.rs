//! The audit log, for admins: one page of lines, and the same lines as a file.
//!
//! Owns the words for actors and types. The lines are those that programs get; a file is written by the same code, because
//! a browser has no key.

use std::collections::{BTreeMap, BTreeSet};

use super::super::events;
use super::super::page::{
    self, ActivityFilters, ActivityRow, ActivityView, Choice, DetailPart, FormErrors, PageContext, Texts, person_href,
};
use super::super::{Call, Response, input};
use super::{admin, shell, with_query};
use crate::app::AppId;
use crate::audit::{Actor, EventType};
use crate::audit_log;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::gather::Gather as _;
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::store::events::{AuditEvent, EventFilter};
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
    let text = &text.activity;
    let types = given(&filters.kind).and_then(|name| {
        let found = EventType::parse(&name);
        if found.is_none() {
            wrong("type", text.wrong_type);
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
        let page =
            audit_log::search_events(context, &admin(call)?, EventFilter { after, limit: LINES_PER_PAGE, ..filter })
                .await?;
        let names = find_names(context, call, &page.data).await?;
        (page.data.into_iter().map(|event| activity_row(&shell, event, &names)).collect(), page.next)
    } else {
        (vec![], None)
    };
    let export =
        |form: &str| href("/activity/export", &filters, &[("format", Some(form)), ("cursor", cursor.as_deref())]);
    let mut kinds: Vec<_> = EventType::ALL
        .iter()
        .map(|one| Choice { value: one.as_str().to_owned(), label: in_words(one.as_str()) })
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

/// A stored type, as words: `key_created` is "Key created".
fn in_words(stored: &str) -> String {
    super::sentence(&stored.replace(['_', '.'], " "))
}

/// The names of the connections that lines mention only by their ids.
async fn find_names<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    events: &[AuditEvent],
) -> Result<BTreeMap<ConnectionId, String>> {
    let mut ids = BTreeSet::new();
    for event in events {
        ids.extend(split_ids(event.detail.as_deref().unwrap_or_default()).into_iter().filter_map(|(_, id)| id));
        ids.extend(event.connection.clone().filter(|_| event.connection_name.is_none()));
    }
    let ids: Vec<_> = ids.into_iter().collect();
    Ok(audit_log::find_connection_names(context, &admin(call)?, &ids).await?.into_iter().gather())
}

/// Details in pieces: what stands before an id of a connection, and the id. The last piece may have none.
fn split_ids(detail: &str) -> Vec<(&str, Option<ConnectionId>)> {
    let is_of_id = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let (mut pieces, mut begin, mut at) = (vec![], 0, 0);
    for word in detail.split_inclusive(|letter| !is_of_id(letter)) {
        let name = word.trim_end_matches(|letter| !is_of_id(letter));
        if let Some(id) = ConnectionId::parse(name) {
            pieces.push((detail.get(begin..at).unwrap_or_default(), Some(id)));
            begin = at + name.len();
        }
        at += word.len();
    }
    pieces.push((detail.get(begin..).unwrap_or_default(), None));
    pieces
}

/// Details with the names of the connections that they mention.
fn detail_parts(detail: &str, names: &BTreeMap<ConnectionId, String>) -> Vec<DetailPart> {
    let mut parts = vec![];
    for (before, id) in split_ids(detail) {
        parts.extend((!before.is_empty()).then(|| DetailPart::Text(before.to_owned())));
        parts.extend(id.map(|id| DetailPart::Connection(id.to_string(), names.get(&id).cloned())));
    }
    parts
}

fn activity_row(shell: &PageContext, event: AuditEvent, names: &BTreeMap<ConnectionId, String>) -> ActivityRow {
    let step = event.step.map(|step| format!(" / {step}")).unwrap_or_default();
    let detail = event.detail.as_deref().map(|detail| detail_parts(detail, names)).unwrap_or_default();
    let mentioned = detail.iter().filter_map(|part| match part {
        DetailPart::Connection(id, _) => Some(id.clone()),
        DetailPart::Text(_) => None,
    });
    let connections = event.connection.iter().map(ToString::to_string).chain(mentioned).collect();
    ActivityRow {
        at: event.at,
        what: in_words(&event.r#type),
        actor: actor_words(shell.text, &event.actor, event.actor_name),
        subject: match (&event.connection, event.target) {
            (Some(id), _) => {
                let name = event.connection_name.or_else(|| names.get(id).cloned());
                Some((name.unwrap_or_else(|| id.to_string()), Some(format!("/connections/{id}"))))
            }
            (None, Some(target)) => {
                let href = target_href(&event.r#type, &target);
                Some((target, href))
            }
            (None, None) => None,
        },
        app: event.app,
        workflow: event.workflow.map(|workflow| format!("{workflow}{step}")),
        detail,
        connections,
        address: event.address,
        user_agent: event.user_agent,
        request_id: event.request_id,
    }
}

/// Where a target is shown. What is gone has no page, and its link says so.
fn target_href(kind: &str, target: &str) -> Option<String> {
    if target.starts_with("key_") {
        return (kind != EventType::KeyRevoked.as_str()).then(|| format!("/settings/keys/{target}"));
    }
    let is_person = kind == EventType::RoleChanged.as_str();
    is_person.then(|| person_href(target))
}

fn actor_words(text: &Texts, stored: &str, name: Option<String>) -> (String, Option<String>) {
    let words = &text.activity;
    // The scheduled run has an older stored name, which a search does not answer.
    if stored == "schedule" {
        return (words.by_schedule.to_owned(), None);
    }
    match Actor::parse(stored) {
        Some(Actor::User(id)) => {
            let href = Some(person_href(&id));
            (id, href)
        }
        Some(Actor::Key(id)) => (name.unwrap_or_else(|| id.to_string()), Some(format!("/settings/keys/{id}"))),
        Some(Actor::UnknownUser) => (words.by_person_unknown.to_owned(), None),
        Some(Actor::Link(_)) => (words.by_link.to_owned(), Some("/settings/links".to_owned())),
        Some(Actor::Embedder) => (words.by_embedder.to_owned(), None),
        Some(Actor::Refresh) => (words.by_refresh.to_owned(), None),
        Some(Actor::Check) => (words.by_check.to_owned(), None),
        Some(Actor::ScheduledRun) => (words.by_schedule.to_owned(), None),
        Some(Actor::Operator) => (words.by_operator.to_owned(), None),
        Some(Actor::Unauthenticated) => (words.by_stranger.to_owned(), None),
        None => (stored.to_owned(), None),
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
