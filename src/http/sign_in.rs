//! A person signs in by a link that the embedding product asked for, and out again.
//!
//! Owns these pages; what a session is, [`super::browser_session`] knows. Refuses to use a link up for a look at it.

use super::browser_session::page_context;
use super::page::{self, Tone};
use super::{Call, Response, access_log, browser_session, is_page_for_users};
use crate::caller::hash_secret;
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ports::Ports;
use crate::store::{sessions, workspaces};

/// Characters of the page that a sign-in leads to.
const MAX_RETURN_TO_LENGTH: usize = 2048;

fn sign_in_link_ended_error() -> Error {
    Error::new(ErrorCode::LinkEnded, "This sign-in link was used or has expired. Ask for a new one where you got it.")
}

/// Shows who would be signed in. A GET uses nothing up: mail scanners open links too.
pub(super) async fn show_sign_in_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let sign_in = sessions::get_sign_in_link(context.db(), &hash_secret(call.path_param(0)), context.now())
        .await?
        .ok_or_else(sign_in_link_ended_error)?;
    let workspace = workspaces::get(context.db(), &sign_in.workspace).await?.ok_or_else(sign_in_link_ended_error)?;
    let view = page::SignInView {
        workspace: workspace.name,
        user: sign_in.user.display_name().to_owned(),
        action: call.request.path.clone(),
    };
    Ok(Response::html(200, page::sign_in(&page_context(None, None), &view)))
}

pub(super) async fn sign_in<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let sign_in = sessions::get_sign_in_link(context.db(), &hash_secret(call.path_param(0)), context.now())
        .await?
        .ok_or_else(sign_in_link_ended_error)?;
    let leads_to = sign_in.return_to.clone().unwrap_or_else(|| "/?done=signed-in".to_owned());
    let workspace = sign_in.workspace.clone();
    let cookie = browser_session::open_user_session(context, call.request, sign_in)
        .await?
        .ok_or_else(sign_in_link_ended_error)?;
    access_log::write_sign_in(context, call, &workspace);
    Ok(Response::see_other(&leads_to).with_header("set-cookie", cookie))
}

/// A page of ours that a sign-in may lead to: a path as browsers write it, with a query at most, of a page for people who
/// are signed in. Anything else would make us an open redirector (RFC 9700, 4.11.1).
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
    // What a browser would read in another way (`//host`, `/\host`, `/../`, `%2e`) is not the path it looks like.
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
    let cookie = browser_session::close_session(context, call.session()?).await?;
    let message = page::Message {
        title: "Signed out".into(),
        text: "You are signed out in this browser.".into(),
        tone: Tone::Good,
        links: vec![],
    };
    Ok(Response::html(200, page::message(&page_context(None, None), &message)).with_header("set-cookie", cookie))
}
