//! Errors as callers see them: RFC 9457 problem documents for programs, a page for people.
//!
//! Owns the one table from a code to an HTTP status and title.

use serde::Serialize;

use super::Response;
use super::body::Flat;
use super::page;
use crate::error::{Code, Error, Hints};

pub(super) fn status(code: Code) -> (u16, &'static str) {
    match code {
        Code::Unauthorized => (401, "Not signed in"),
        Code::InsufficientKeyScope => (403, "The key may not do this"),
        Code::AdminRequired => (403, "Only an admin may do this"),
        Code::FormRejected => (403, "The form was not accepted"),
        Code::WorkflowNotAllowed => (403, "This workflow may not use the connection"),
        Code::NotFound => (404, "Not found"),
        Code::ConnectionNotFound => (404, "No such connection"),
        Code::MethodNotAllowed => (405, "Method not allowed"),
        Code::AlreadyExists => (409, "Already exists"),
        Code::ClientInUse => (409, "The client is in use"),
        Code::ClientMissing => (409, "The app is not set up"),
        Code::UnexpectedConnection => (409, "Another connection than expected"),
        Code::NeedsReconnect => (409, "The connection must be reconnected"),
        Code::AwaitingConfirmation => (409, "The connection awaits confirmation"),
        Code::MissingScopes => (409, "Permissions are missing"),
        Code::ClientMisconfigured => (409, "The app refuses the client"),
        Code::Conflict => (409, "Not possible now"),
        Code::LimitReached => (409, "As many as there may be"),
        Code::AddressesChanged => (409, "The app has other hosts now"),
        Code::LinkEnded => (410, "The link has ended"),
        Code::BodyTooLarge => (413, "The body is too large"),
        Code::CredentialRejected => (422, "The app did not accept the credential"),
        Code::InvalidRequest => (422, "The request can't be understood"),
        Code::RateLimited => (429, "Too many calls"),
        Code::AppUnavailable => (503, "The app is unavailable"),
        Code::RefreshInProgress => (503, "A refresh is in progress"),
        Code::Misconfigured => (503, "The installation is misconfigured"),
        Code::DatabaseUnavailable => (503, "The database is unavailable"),
        Code::Maintenance => (503, "Maintenance"),
        Code::Internal => (500, "Something went wrong"),
    }
}

/// An error (RFC 9457). The members after `code` are there where they help.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Problem"))]
pub(super) struct ProblemResponse<'a> {
    /// `urn:connections:problem:` and the code.
    #[cfg_attr(test, schemars(url))]
    r#type: String,
    title: &'a str,
    #[cfg_attr(test, schemars(range(min = 400, max = 599)))]
    status: u16,
    /// For people: what happened and what to do. Never a secret, never an app's own text.
    detail: &'a str,
    /// Stable.
    #[cfg_attr(test, schemars(with = "Code"))]
    code: &'a str,
    #[serde(flatten)]
    hints: Flat<&'a Hints>,
}

/// The problem document.
pub(super) fn json(error: &Error) -> Response {
    let (status, title) = status(error.code);
    let problem = ProblemResponse {
        r#type: format!("urn:connections:problem:{}", error.code.as_str()),
        title,
        status,
        detail: &error.detail,
        code: error.code.as_str(),
        hints: Flat(&error.hints),
    };
    // Every member is a text, a number or a list of them.
    let document = serde_json::to_value(&problem).unwrap_or_default();
    let mut response = Response::json(status, &document);
    response.headers = vec![("content-type".into(), "application/problem+json".into())];
    with_hints(response, error)
}

/// The page, for whoever is known to be signed in.
pub(super) fn page(error: &Error, shell: &page::Shell<'_>) -> Response {
    let (status, title) = status(error.code);
    let markup = if error.code == Code::Unauthorized {
        page::sign_in_needed()
    } else {
        page::message(
            shell,
            &page::Message {
                title: title.into(),
                text: text(error, shell.signed_in_as.is_some()),
                tone: page::Tone::Bad,
                links: if shell.signed_in_as.is_some() { ways_on(error) } else { vec![] },
            },
        )
    };
    with_hints(Response::html(status, markup), error)
}

fn text(error: &Error, signed_in: bool) -> String {
    let text = error.hints.for_people.as_ref().unwrap_or(&error.detail);
    // Who came by a link sets nothing up.
    if error.code == Code::ClientMissing && !signed_in {
        return format!("{text} Tell whoever sent you the link.");
    }
    text.clone()
}

/// For who is not signed in, no page leads on.
fn ways_on(error: &Error) -> Vec<(String, String)> {
    let setup = error.hints.setup.iter().map(|page| ("How to set it up".to_owned(), page.clone()));
    setup.chain([("Connections".to_owned(), "/".to_owned())]).collect()
}

fn with_hints(mut response: Response, error: &Error) -> Response {
    if let Some(seconds) = error.hints.retry_after {
        response = response.with("retry-after", seconds.to_string());
    }
    if !error.hints.allow.is_empty() {
        response = response.with("allow", error.hints.allow.join(", "));
    }
    // draft-ietf-httpapi-ratelimit-headers: a quota and its window in seconds.
    if let Some(limit) = error.hints.rate_limit {
        let policy = format!("\"{}\";q={};w={}", limit.as_str(), limit.quota(), limit.seconds());
        response = response.with("ratelimit-policy", policy);
    }
    if error.code == Code::Unauthorized {
        response = response.with("www-authenticate", "Bearer".into());
    }
    response
}
