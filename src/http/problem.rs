//! Errors as callers see them: RFC 9457 problem documents for programs, a page for people.
//!
//! Owns the one table from a code to an HTTP status and title.

use serde::Serialize;

use super::Response;
use super::body::Flat;
use super::page;
use crate::error::{Error, ErrorCode, Hints};

pub(super) fn status_and_title(code: ErrorCode) -> (u16, &'static str) {
    match code {
        ErrorCode::Unauthorized => (401, "Not signed in"),
        ErrorCode::InsufficientKeyScope => (403, "The key may not do this"),
        ErrorCode::AdminRequired => (403, "Only an admin may do this"),
        ErrorCode::FormRejected => (403, "The form was not accepted"),
        ErrorCode::WorkflowNotAllowed => (403, "This workflow may not use the connection"),
        ErrorCode::NotFound => (404, "Not found"),
        ErrorCode::ConnectionNotFound => (404, "No such connection"),
        ErrorCode::NoDefaultConnection => (404, "No connection of this app"),
        ErrorCode::AmbiguousConnection => (409, "Several connections could be meant"),
        ErrorCode::MethodNotAllowed => (405, "Method not allowed"),
        ErrorCode::AlreadyExists => (409, "Already exists"),
        ErrorCode::ClientInUse => (409, "The client is in use"),
        ErrorCode::ClientMissing => (409, "The app has no OAuth client"),
        ErrorCode::UnexpectedConnection => (409, "Another connection than expected"),
        ErrorCode::NeedsReconnect => (409, "The connection must be reconnected"),
        ErrorCode::AwaitingConfirmation => (409, "The connection awaits confirmation"),
        ErrorCode::MissingScopes => (409, "Permissions are missing"),
        ErrorCode::ClientMisconfigured => (409, "The app refuses the client"),
        ErrorCode::ReplacementInUse => (409, "The connection answers for another"),
        ErrorCode::EnvironmentsDiffer => (409, "The environments differ"),
        ErrorCode::Conflict => (409, "Conflict"),
        ErrorCode::LimitReached => (409, "Limit reached"),
        ErrorCode::AddressesChanged => (409, "The app's addresses have changed"),
        ErrorCode::IdempotencyConflict => (409, "The key was used for another request"),
        ErrorCode::IdempotencyInProgress => (409, "The request is being handled"),
        ErrorCode::AlreadyDone => (409, "Already done"),
        ErrorCode::PreconditionFailed => (412, "It was changed in the meantime"),
        ErrorCode::LinkEnded => (410, "The link has ended"),
        ErrorCode::BodyTooLarge => (413, "The body is too large"),
        ErrorCode::CredentialRejected => (422, "The app did not accept the credential"),
        ErrorCode::InvalidRequest => (422, "Invalid request"),
        ErrorCode::RateLimited => (429, "Too many calls"),
        ErrorCode::AppResponseRefused => (502, "The app's answer does not pass"),
        ErrorCode::AppUnavailable => (503, "The app is unavailable"),
        ErrorCode::RefreshInProgress => (503, "A refresh is in progress"),
        ErrorCode::Misconfigured => (503, "The installation is misconfigured"),
        ErrorCode::DatabaseUnavailable => (503, "The database is unavailable"),
        ErrorCode::Maintenance => (503, "Maintenance"),
        ErrorCode::Internal => (500, "Internal error"),
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
pub(super) fn page_response(error: &Error, shell: &page::PageContext) -> Response {
    let (status, title) = status_and_title(error.code);
    let markup = if error.code == ErrorCode::Unauthorized {
        let view = page::SignInRequiredView { choice: page::SignInChoice::LinkOnly, ended: None };
        page::sign_in_required(&page::PageContext { person: None, csrf: None, ..shell.clone() }, &view)
    } else {
        page::message(
            shell,
            &page::Message {
                title: title.into(),
                text: page_text(error, shell.person.is_some()),
                tone: page::Tone::Bad,
                links: if shell.person.is_some() { next_links(error) } else { vec![] },
            },
        )
    };
    add_hint_headers(Response::html(status, markup), error)
}

fn page_text(error: &Error, signed_in: bool) -> String {
    let text = error.hints.for_people.as_ref().unwrap_or(&error.detail);
    // A person with a link sets nothing up.
    if error.code == ErrorCode::ClientMissing && !signed_in {
        return format!("{text} Tell whoever sent you the link.");
    }
    text.clone()
}

/// A person who is not signed in gets no links.
fn next_links(error: &Error) -> Vec<(String, String)> {
    let setup = error.hints.setup.iter().map(|page| ("How to set it up".to_owned(), page.clone()));
    setup.chain([("Connections".to_owned(), "/".to_owned())]).collect()
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
