//! Errors as callers see them: RFC 9457 problem documents for programs, a page for people.
//!
//! Owns the one table from a code to an HTTP status and title.

use serde::Serialize;

use super::body::Flat;
use super::page;
use super::{BODY_LIMIT, Request, Response};
use crate::error::{Error, ErrorCode, FieldError, Hints, is_fragment};

pub(super) fn status_and_title(code: ErrorCode) -> (u16, &'static str) {
    status_and_title_in(&page::ENGLISH, code)
}

/// The same for a person, in the language of the page.
fn status_and_title_in(text: &page::Texts, code: ErrorCode) -> (u16, &'static str) {
    let text = &text.problem;
    match code {
        ErrorCode::Unauthorized => (401, text.unauthorized),
        ErrorCode::InsufficientKeyScope => (403, text.insufficient_key_scope),
        ErrorCode::AdminRequired => (403, text.admin_required),
        ErrorCode::FormRejected => (403, text.form_rejected),
        ErrorCode::WorkflowNotAllowed => (403, text.workflow_not_allowed),
        ErrorCode::NotFound => (404, text.not_found),
        ErrorCode::ConnectionNotFound => (404, text.connection_not_found),
        ErrorCode::NoDefaultConnection => (404, text.no_default_connection),
        ErrorCode::AmbiguousConnection => (409, text.ambiguous_connection),
        ErrorCode::MethodNotAllowed => (405, text.method_not_allowed),
        ErrorCode::AlreadyExists => (409, text.already_exists),
        ErrorCode::ClientInUse => (409, text.client_in_use),
        ErrorCode::ClientMissing => (409, text.client_missing),
        ErrorCode::UnexpectedConnection => (409, text.unexpected_connection),
        ErrorCode::NeedsReconnect => (409, text.needs_reconnect),
        ErrorCode::AwaitingConfirmation => (409, text.awaiting_confirmation),
        ErrorCode::MissingScopes => (409, text.missing_scopes),
        ErrorCode::ClientMisconfigured => (409, text.client_misconfigured),
        ErrorCode::ReplacementInUse => (409, text.replacement_in_use),
        ErrorCode::EnvironmentsDiffer => (409, text.environments_differ),
        ErrorCode::Conflict => (409, text.conflict),
        ErrorCode::LimitReached => (409, text.limit_reached),
        ErrorCode::AddressesChanged => (409, text.addresses_changed),
        ErrorCode::IdempotencyConflict => (409, text.idempotency_conflict),
        ErrorCode::IdempotencyInProgress => (409, text.idempotency_in_progress),
        ErrorCode::AlreadyDone => (409, text.already_done),
        ErrorCode::PreconditionFailed => (412, text.precondition_failed),
        ErrorCode::LinkEnded => (410, text.link_ended),
        ErrorCode::BodyTooLarge => (413, text.body_too_large),
        ErrorCode::CredentialRejected => (422, text.credential_rejected),
        ErrorCode::InvalidRequest => (422, text.invalid_request),
        ErrorCode::RateLimited => (429, text.rate_limited),
        ErrorCode::AppResponseRefused => (502, text.app_response_refused),
        ErrorCode::AppUnavailable => (503, text.app_unavailable),
        ErrorCode::RefreshInProgress => (503, text.refresh_in_progress),
        ErrorCode::Misconfigured => (503, text.misconfigured),
        ErrorCode::DatabaseUnavailable => (503, text.database_unavailable),
        ErrorCode::Maintenance => (503, text.maintenance),
        ErrorCode::Internal => (500, text.internal),
    }
}

/// An error (RFC 9457). The members after `code` are present if they help.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Problem"))]
pub(in crate::http) struct ProblemResponse<'a> {
    /// `urn:connections:problem:` and the code.
    #[cfg_attr(test, schemars(url))]
    r#type: String,
    title: &'a str,
    #[cfg_attr(test, schemars(range(min = 400, max = 599)))]
    status: u16,
    /// For people: what happened and what to do. Never a secret, never an app's own text.
    detail: &'a str,
    /// Stable.
    #[cfg_attr(test, schemars(with = "ErrorCode"))]
    code: &'a str,
    #[serde(flatten)]
    hints: Flat<&'a Hints>,
}

/// The problem document, as a value.
pub(super) fn problem_document(error: &Error) -> serde_json::Value {
    let (status, title) = status_and_title(error.code);
    let problem = ProblemResponse {
        r#type: format!("urn:connections:problem:{}", error.code.as_str()),
        title,
        status,
        detail: &error.detail,
        code: error.code.as_str(),
        hints: Flat(&error.hints),
    };
    // Every member is a text, a number or a list of them.
    serde_json::to_value(&problem).unwrap_or_default()
}

/// The problem document.
pub(super) fn json_response(error: &Error) -> Response {
    let status = status_and_title(error.code).0;
    let document = problem_document(error);
    let mut response = Response::json(status, &document);
    response.headers = vec![("content-type".into(), "application/problem+json".into())];
    add_hint_headers(response, error)
}

/// The page, for a person who may be signed in.
pub(super) fn page_response(error: &Error, shell: &page::PageContext, request: &Request) -> Response {
    let (status, title) = status_and_title_in(shell.text, error.code);
    let markup = if error.code == ErrorCode::Unauthorized {
        let view = page::SignInRequiredView { choice: page::SignInChoice::LinkOnly, ended: None };
        page::sign_in_required(&page::PageContext { person: None, csrf: None, ..shell.clone() }, &view)
    } else if let Some((title, text)) = describe_failure(shell.text, error, request) {
        // What was sent with a form can't be sent again by a link, and a wrong address stays wrong.
        let may_help = request.method.is_safe() && error.code != ErrorCode::InvalidRequest;
        let again = may_help.then(|| (shell.text.outcome.try_again.to_owned(), here(request)));
        let links = again.into_iter().chain(next_links(shell, error)).collect();
        page::message(shell, &page::Message { title: title.into(), text, tone: page::Tone::Bad, links })
    } else {
        page::message(
            shell,
            &page::Message {
                title: title.into(),
                text: page_text(shell.text, error, shell.person.is_some()),
                tone: page::Tone::Bad,
                links: next_links(shell, error),
            },
        )
    };
    add_hint_headers(Response::html(status, markup), error)
}

fn page_text(texts: &page::Texts, error: &Error, signed_in: bool) -> String {
    let text = error.hints.for_people.as_ref().unwrap_or(&error.detail);
    // A person with a link sets nothing up.
    if error.code == ErrorCode::ClientMissing && !signed_in {
        return format!("{text} {}", texts.outcome.tell_sender);
    }
    text.clone()
}

/// The heading and the text of a failure whose title and detail are for programs. An empty line begins a new paragraph.
fn describe_failure(texts: &page::Texts, error: &Error, request: &Request) -> Option<(&'static str, String)> {
    let text = &texts.error_page;
    let wait = describe_wait(texts, error.hints.retry_after);
    let fill = |words: &str| page::fill_plain(words, &[("wait", &wait)]);
    let after_form = (!request.method.is_safe()).then(|| text.after_form.to_owned());
    let (title, paragraphs) = match error.code {
        ErrorCode::BodyTooLarge => {
            let kilobytes = (BODY_LIMIT / 1024).to_string();
            (text.too_large_title, vec![page::fill_plain(text.too_large, &[("kilobytes", &kilobytes)])])
        }
        ErrorCode::RateLimited => (text.rate_limited_title, vec![fill(text.rate_limited)]),
        ErrorCode::Internal => {
            let again = page::fill_plain(text.internal_again, &[("request", &request.id)]);
            let all = [Some(text.internal.to_owned()), after_form, Some(again)];
            (text.internal_title, all.into_iter().flatten().collect())
        }
        ErrorCode::DatabaseUnavailable => {
            (text.database_title, [Some(fill(text.database)), after_form].into_iter().flatten().collect())
        }
        ErrorCode::Misconfigured => {
            let values = [("detail", error.detail.as_str()), ("request", request.id.as_str())];
            let what = page::fill_plain(text.request_of, &values);
            (text.misconfigured_title, vec![text.misconfigured.to_owned(), what])
        }
        ErrorCode::Maintenance => (text.maintenance_title, vec![fill(text.maintenance)]),
        ErrorCode::InvalidRequest if is_for_programs(error) => {
            let (title, words) = if request.method.is_safe() {
                (text.invalid_title, text.invalid_address)
            } else {
                (text.invalid_form_title, text.invalid_form)
            };
            (title, vec![words.to_owned()])
        }
        _ => return None,
    };
    Some((title, paragraphs.join("\n\n")))
}

/// Whether an error names parameters as the API does. A page that has a field for it says it there.
fn is_for_programs(error: &Error) -> bool {
    let is_fragment = |one: &FieldError| !one.field.is_empty() && is_fragment(&one.problem);
    error.hints.for_people.is_none() && !error.hints.errors.is_empty() && error.hints.errors.iter().all(is_fragment)
}

/// How long to wait, in words: as Retry-After has it, never shorter.
fn describe_wait(texts: &page::Texts, seconds: Option<i64>) -> String {
    let text = &texts.error_page;
    match seconds {
        None => text.wait.to_owned(),
        Some(seconds @ ..60) => page::count(seconds, text.wait_second, text.wait_seconds),
        Some(seconds) => page::count(seconds.saturating_add(59) / 60, text.wait_minute, text.wait_minutes),
    }
}

/// The address that was asked for.
fn here(request: &Request) -> String {
    if request.query.is_empty() { request.path.clone() } else { format!("{}?{}", request.path, request.query) }
}

/// A person who is not signed in gets no links to other pages.
fn next_links(shell: &page::PageContext, error: &Error) -> Vec<(String, String)> {
    if shell.person.is_none() {
        return vec![];
    }
    let text = shell.text;
    let setup = error.hints.setup.iter().map(|page| (text.setup.how_to.to_owned(), page.clone()));
    setup.chain([(text.list.title.to_owned(), "/".to_owned())]).collect()
}

pub(super) fn add_hint_headers(mut response: Response, error: &Error) -> Response {
    if let Some(seconds) = error.hints.retry_after {
        response = response.with_header("retry-after", seconds.to_string());
    }
    if !error.hints.allow.is_empty() {
        response = response.with_header("allow", error.hints.allow.join(", "));
    }
    // draft-ietf-httpapi-ratelimit-headers: a quota and its window in seconds.
    if let Some(limit) = error.hints.rate_limit {
        let policy = format!("\"{}\";q={};w={}", limit.as_str(), limit.quota(), limit.seconds());
        response = response.with_header("ratelimit-policy", policy);
    }
    if let Some(most) = error.hints.most_at_once {
        let policy = format!("\"proxied-at-once\";q={most};qu=\"concurrent-requests\"");
        response = response.with_header("ratelimit-policy", policy);
    }
    if error.code == ErrorCode::Unauthorized {
        response = response.with_header("www-authenticate", "Bearer".into());
    }
    response
}
