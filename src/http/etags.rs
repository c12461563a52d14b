//! `ETag`, `If-None-Match` and `If-Match` (RFC 9110 13).
//!
//! An `ETag` has two parts: the state that a change could overwrite, and a hash of what is shown. `If-None-Match` compares
//! both. `If-Match` compares the first: that a connection was used since does not matter to who renames it. Refuses a
//! condition that a route would not look at.

use super::routes::{Handler, RequiredAuth, RouteEntry};
use super::{Request, Response};
use crate::error::{Error, Result};
use crate::preconditions::IfMatch;

/// Whether a route looks at `If-Match`.
pub(super) fn takes_if_match(handler: Handler) -> bool {
    matches!(
        handler,
        Handler::UpdateOwnWorkspace
            | Handler::UpdateApp
            | Handler::DeleteApp
            | Handler::PutClient
            | Handler::DeleteClient
            | Handler::UpdateConnection
            | Handler::DeleteConnection
            | Handler::ReplaceCredential
            | Handler::ReplaceConnection
            | Handler::UndoReplacement
            | Handler::DeleteLink
            | Handler::UpdateWebhook
            | Handler::DeleteWebhook
    )
}

/// Whether a route shows one thing, with its `ETag`.
#[cfg(test)]
pub(super) fn has_etag(route: &RouteEntry) -> bool {
    matches!(
        route.handler,
        Handler::GetOwnWorkspace
            | Handler::GetApp
            | Handler::GetClient
            | Handler::GetConnection
            | Handler::GetLink
            | Handler::GetWebhook
    )
}

/// A caller that requires something must not believe that it was looked at.
pub(super) fn refuse_unknown_condition(route: &RouteEntry, request: &Request) -> Result<()> {
    let is_for_programs = matches!(route.auth, RequiredAuth::Key(_) | RequiredAuth::Operator);
    if request.method.is_safe()
        || !is_for_programs
        || takes_if_match(route.handler)
        || request.header("if-match").is_none()
    {
        return Ok(());
    }
    Err(Error::invalid_field("If-Match", "is not known on this route. Leave it out; nothing was changed."))
}

/// The first parts of the tags in `If-Match`. A weak tag never matches.
pub(super) fn parse_if_match(request: &Request) -> Result<IfMatch> {
    let Some(text) = request.header("if-match").map(str::trim) else { return Ok(IfMatch::Anything) };
    if text == "*" {
        return Ok(IfMatch::Exists);
    }
    let wrong = || Error::invalid_field("If-Match", "must be an ETag of this thing, with its quotation marks, or *.");
    let mut tags = Vec::new();
    for tag in text.split(',').map(str::trim) {
        let strong = tag.strip_prefix("W/").unwrap_or(tag);
        let inner = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(wrong)?;
        if strong == tag {
            tags.push(inner.split('-').next().unwrap_or_default().to_owned());
        }
    }
    Ok(IfMatch::Tags(tags))
}

/// 304 instead of what the caller has already.
pub(super) fn answer_if_changed(request: &Request, mut response: Response) -> Response {
    let Some(known) = request.header("if-none-match").filter(|_| request.method.is_safe()) else { return response };
    let Some(etag) = response.header("etag").filter(|_| response.status == 200) else { return response };
    let is_known = known.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag);
    if is_known {
        response.status = 304;
        response.body.clear();
        response.headers.retain(|(name, _)| name != "content-type");
    }
    response
}
