//! The audit log of a workspace, for programs: as JSON, CSV or JSON lines.
//!
//! Owns the three forms. Each request answers a bounded number of lines; the rest follows by the cursor, which `Link` has
//! too. A table program takes a cell that begins with `=` for a formula, so such a text gets an apostrophe.

use std::fmt::Write as _;

use url::form_urlencoded;

use super::body::{Json, ListResponse};
use super::input::{self, QueryParams};
use super::{Call, Response};
use crate::app::AppId;
use crate::audit::EventType;
use crate::audit_log;
use crate::authorize::Caller;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::store::Page;
use crate::store::events::{AuditEvent, EventFilter, EventPosition};
use crate::time::Timestamp;

/// Default and most lines of one answer, as JSON.
const JSON_LIMITS: (i64, i64) = (50, 200);
/// The same of an export.
const EXPORT_LIMITS: (i64, i64) = (1_000, 1_000);

/// The filters of the audit log.
pub(super) const FILTERS: [&str; 7] = ["type", "actor", "connection", "app", "workflow", "from", "to"];

/// The form that a caller accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    JsonLines,
}

impl Form {
    /// The first form that `Accept` names. JSON if it names none of them.
    fn of(accept: &str) -> Self {
        let named = |media: &str| match media.split(';').next().unwrap_or_default().trim() {
            "text/csv" => Some(Self::Csv),
            "application/jsonl" | "application/x-ndjson" | "application/x-jsonlines" => Some(Self::JsonLines),
            "application/json" => Some(Self::Json),
            _ => None,
        };
        accept.split(',').find_map(named).unwrap_or(Self::Json)
    }

    fn limits(self) -> (i64, i64) {
        match self {
            Self::Json => JSON_LIMITS,
            Self::Csv | Self::JsonLines => EXPORT_LIMITS,
        }
    }
}

pub(super) async fn list_events<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<AuditEvent>>> {
    let caller = Caller::Key(call.caller_key()?);
    let form = Form::of(call.request.header("accept").unwrap_or_default());
    let filters = QueryParams::parse_list_query(call.request, &FILTERS)?;
    let filter = parse_filter(&filters, form)?;
    let is_first = filter.after.is_none();
    let page: Page<AuditEvent> = audit_log::search_events(context, &caller, filter).await?;
    let next = page.next.as_ref().map(|cursor| next_page(context, call, cursor));
    let list = ListResponse::of(page, |event| event);
    let answer = match form {
        Form::Json => Json::ok(list),
        Form::Csv => {
            let text = to_csv(&list.data, is_first);
            Json::ok(list).written_as("text/csv; charset=utf-8", text)
        }
        Form::JsonLines => {
            let text = to_json_lines(&list.data)?;
            Json::ok(list).written_as("application/jsonl; charset=utf-8", text)
        }
    };
    Ok(match next {
        Some(next) => answer.with_header("link", format!("<{next}>; rel=\"next\"")),
        None => answer,
    })
}

/// The cursor of a page of lines.
pub(super) fn parse_cursor(text: &str) -> Option<EventPosition> {
    input::parse_time_cursor(text, |number| number.parse().ok())
}

/// The lines as a file for a person. `day` is in its name.
pub(super) async fn export<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    filter: EventFilter,
    is_csv: bool,
    day: &str,
) -> Result<Response> {
    let is_first = filter.after.is_none();
    let page: Page<AuditEvent> =
        audit_log::search_events(context, caller, EventFilter { limit: EXPORT_LIMITS.1, ..filter }).await?;
    let (kind, name, text) = if is_csv {
        ("text/csv; charset=utf-8", "csv", to_csv(&page.data, is_first))
    } else {
        ("application/jsonl; charset=utf-8", "jsonl", to_json_lines(&page.data)?)
    };
    let response = Response::new(200, kind, text);
    Ok(response.with_header("content-disposition", format!("attachment; filename=\"activity-{day}.{name}\"")))
}

fn parse_filter(filters: &QueryParams, form: Form) -> Result<EventFilter> {
    let (usual, most) = form.limits();
    let time = "must be a time such as 2026-11-22T12:00:00Z.";
    Ok(EventFilter {
        types: filters.get("type").map(parse_types).transpose()?,
        actor: filters.get("actor").map(str::to_owned),
        connection: filters.get_parsed("connection", ConnectionId::parse, "is not a connection's id (con_…).")?,
        app: filters.get_parsed("app", AppId::parse, "is not an app's id.")?,
        workflow: filters.get("workflow").map(str::to_owned),
        from: filters.get_parsed("from", Timestamp::parse, time)?,
        to: filters.get_parsed("to", Timestamp::parse, time)?,
        after: filters.cursor(parse_cursor)?,
        limit: filters.limit_up_to(usual, most)?,
        ..EventFilter::default()
    })
}

fn parse_types(text: &str) -> Result<Vec<EventType>> {
    let all = || EventType::ALL.map(EventType::as_str).join(", ");
    let one = |name| {
        EventType::parse(name)
            .ok_or_else(|| Error::invalid_field("type", format!("must be one or several of {}, with commas.", all())))
    };
    text.split(',').map(one).collect()
}

/// The address of the next page, with the same filters.
fn next_page<P: Ports>(context: &Context<P>, call: &Call<'_>, cursor: &str) -> String {
    let given = form_urlencoded::parse(call.request.query.as_bytes()).filter(|(name, _)| name != "cursor");
    let query =
        form_urlencoded::Serializer::new(String::new()).extend_pairs(given).append_pair("cursor", cursor).finish();
    context.config.public_url.at(&format!("/v1/events?{query}"))
}

/// RFC 4180. The first page alone has the line with the names, so that pages can be put one after another.
fn to_csv(events: &[AuditEvent], is_first: bool) -> String {
    let mut text = String::new();
    if is_first {
        push_csv_line(&mut text, AuditEvent::MEMBERS.into_iter().map(Some));
    }
    for event in events {
        push_csv_line(&mut text, event.values().iter().map(Option::as_deref));
    }
    text
}

fn push_csv_line<'a>(text: &mut String, cells: impl Iterator<Item = Option<&'a str>>) {
    for (index, cell) in cells.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a text never fails.
        let _ = match cell {
            None => write!(text, "{comma}"),
            Some(cell) => write!(text, "{comma}\"{}\"", guard_cell(cell).replace('"', "\"\"")),
        };
    }
    text.push_str("\r\n");
}

/// Table programs run what begins with one of these.
fn guard_cell(cell: &str) -> String {
    let is_formula =
        cell.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
            || cell.starts_with(['\t', '\r', '\n']);
    if is_formula { format!("'{cell}") } else { cell.to_owned() }
}

fn to_json_lines(events: &[AuditEvent]) -> Result<String> {
    let mut text = String::new();
    for event in events {
        let line =
            serde_json::to_string(event).map_err(|error| Error::internal(format!("an event as JSON: {error}")))?;
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{Form, guard_cell, push_csv_line};

    #[test]
    fn no_cell_is_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "\u{ff1d}1"] {
            assert_eq!(guard_cell(formula), format!("'{formula}"), "{formula}");
        }
        assert_eq!(guard_cell("user:ann"), "user:ann");
        let mut line = String::new();
        push_csv_line(
            &mut line,
            [Some("a"), None, Some("say \"=\", then\nmore"), Some("=cmd|' /C calc'!A0")].into_iter(),
        );
        assert_eq!(line, "\"a\",,\"say \"\"=\"\", then\nmore\",\"'=cmd|' /C calc'!A0\"\r\n");
    }

    #[test]
    fn the_form_is_the_first_that_the_caller_accepts() {
        for (accept, form) in [
            ("", Form::Json),
            ("*/*", Form::Json),
            ("text/csv", Form::Csv),
            ("text/html, text/csv;q=0.9, application/json", Form::Csv),
            ("application/json, text/csv", Form::Json),
            ("application/x-ndjson", Form::JsonLines),
            ("application/jsonl", Form::JsonLines),
        ] {
            assert_eq!(Form::of(accept), form, "{accept}");
        }
    }
}
