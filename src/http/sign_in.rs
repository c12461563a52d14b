//! A person signs in by a link that the embedding product asked for, and out again.
//!
//! Owns these pages; what a session is, [`super::session`] knows. Refuses to use a link up for a look at it.

use super::page::{self, Tone};
use super::routes::{self, Auth, Found};
use super::session::shell;
use super::{Call, Method, Response, access_log, session};
use crate::caller::hash;
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ports::Ports;
use crate::store::{sessions, workspaces};

/// Characters of the page that a sign-in leads to.
const LONGEST_RETURN_TO: usize = 2048;

fn sign_in_ended() -> Error {
    Error::new(Code::LinkEnded, "This sign-in link was used or has expired. Ask for a new one where you got it.")
}

/// Shows who would be signed in. A GET uses nothing up: mail scanners open links too.
pub(super) async fn show<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let sign_in =
        sessions::peek_sign_in(core.db(), &hash(call.param(0)), core.now()).await?.ok_or_else(sign_in_ended)?;
    let workspace = workspaces::get(core.db(), &sign_in.workspace).await?.ok_or_else(sign_in_ended)?;
    let view = page::SignInView {
        workspace: workspace.name,
        user: sign_in.user.shown().to_owned(),
        action: call.request.path.clone(),
    };
    Ok(Response::html(200, page::sign_in(&shell(None, None), &view)))
}

pub(super) async fn sign_in<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let sign_in =
        sessions::peek_sign_in(core.db(), &hash(call.param(0)), core.now()).await?.ok_or_else(sign_in_ended)?;
    let leads_to = sign_in.return_to.clone().unwrap_or_else(|| "/?done=signed-in".to_owned());
    let workspace = sign_in.workspace.clone();
    let cookie = session::open_person(core, call.request, sign_in).await?.ok_or_else(sign_in_ended)?;
    access_log::signed_in(core, call, &workspace);
    Ok(Response::see_other(&leads_to).with("set-cookie", cookie))
}

/// A page of ours that a sign-in may lead to: a path as browsers write it, with a query at most, of a page for people who
/// are signed in. Anything else would make us an open redirector (RFC 9700, 4.11.1).
pub(super) fn own_page<P: Ports>(core: &Core<P>, text: &str) -> Result<String> {
    let wrong = || {
        Error::invalid("return_to", "must be the path of one of our pages for people, such as / or /connections/con_….")
    };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let visible =
        text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>'));
    // What a browser would read in another way (`//host`, `/\host`, `/../`, `%2e`) is not the path it looks like.
    let at = core.config.public_url.at("");
    let url = url::Url::parse(&at).and_then(|base| base.join(text)).map_err(|_| wrong())?;
    let same = url.origin().ascii_serialization() == core.config.public_url.origin() && url.path() == path;
    let page = match routes::find(Method::Get, path) {
        Found::Route { line, .. } => matches!(line.auth, Auth::Person(_)),
        Found::OtherMethod { .. } | Found::Nothing => false,
    };
    let plain = !path.contains("//") && !path.contains('%') && url.query().unwrap_or_default() == query;
    if visible && same && page && plain && text.len() <= LONGEST_RETURN_TO { Ok(text.to_owned()) } else { Err(wrong()) }
}

pub(super) async fn sign_out<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let cookie = session::close(core, call.session()?).await?;
    let message = page::Message {
        title: "Signed out".into(),
        text: "You are signed out in this browser.".into(),
        tone: Tone::Good,
        links: vec![],
    };
    Ok(Response::html(200, page::message(&shell(None, None), &message)).with("set-cookie", cookie))
}
