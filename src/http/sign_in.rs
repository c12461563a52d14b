//! A person signs in with a link that the embedding product requested, and signs out.
//!
//! Owns these pages. Sessions are in [`super::browser_session`]. Opening a link does not use it.

use super::browser_session::page_context;
use super::page::{self, Tone};
use super::{Call, Response, access_log, browser_session, is_page_for_users};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::secret::Secret;
use crate::sessions;
use crate::sign_in_links;

/// Longest address of the page after a sign-in, in characters.
const MAX_RETURN_TO_LENGTH: usize = 2048;

/// Shows the person that would be signed in. A GET does not use the link, because mail scanners also open links.
pub(super) async fn show_sign_in_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (link, workspace) = sign_in_links::preview_sign_in(context, call.path_param(0)).await?;
    let view = page::SignInView {
        workspace: workspace.name,
        user: link.user.display_name().to_owned(),
        action: call.request.path.clone(),
    };
    Ok(Response::html(200, page::sign_in(&page_context(None, None), &view)))
}

pub(super) async fn sign_in<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let before = browser_session::read_user_token(context, call.request);
    let before = before.as_ref().map(Secret::expose);
    let (opened, return_to) = sessions::sign_in(context, call.path_param(0), before).await?;
    access_log::write_sign_in(context, call, &opened.session.workspace);
    let leads_to = return_to.as_deref().unwrap_or("/?done=signed-in");
    Ok(Response::see_other(leads_to).with_header("set-cookie", browser_session::user_cookie(context, &opened)))
}

/// One of our pages that a sign-in may lead to: a path as browsers write it, possibly with a query, of a page for
/// signed-in people. Anything else would be an open redirector (RFC 9700, 4.11.1).
pub(super) fn parse_own_page_path<P: Ports>(context: &Context<P>, text: &str) -> Result<String> {
    let wrong = || {
        Error::invalid_field(
            "return_to",
            "must be the path of one of our pages for people, such as / or /connections/con_….",
        )
    };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let visible =
        text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>'));
    // A path that a browser reads in another way (`//host`, `/\host`, `/../`, `%2e`) is refused.
    let at = context.config.public_url.at("");
    let url = url::Url::parse(&at).and_then(|base| base.join(text)).map_err(|_| wrong())?;
    let same = url.origin().ascii_serialization() == context.config.public_url.origin() && url.path() == path;
    let plain = !path.contains("//") && !path.contains('%') && url.query().unwrap_or_default() == query;
    if visible && same && is_page_for_users(path) && plain && text.len() <= MAX_RETURN_TO_LENGTH {
        Ok(text.to_owned())
    } else {
        Err(wrong())
    }
}

pub(super) async fn sign_out<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    sessions::close_session(context, call.session()?).await?;
    let message = page::Message {
        title: "Signed out".into(),
        text: "You are signed out in this browser.".into(),
        tone: Tone::Good,
        links: vec![],
    };
    Ok(Response::html(200, page::message(&page_context(None, None), &message))
        .with_header("set-cookie", browser_session::removed_user_cookie(context)))
}
