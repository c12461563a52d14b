//! A person signs in by a link that the embedding product asked for, and out again.
//!
//! Owns these pages; what a session is, [`super::session`] knows. Refuses to use a link up for a look at it.

use super::page::{self, Tone};
use super::session::shell;
use super::{Call, Response, access_log, session};
use crate::caller::hash;
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ports::Ports;
use crate::store::{sessions, workspaces};

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
        sessions::use_sign_in(core.db(), &hash(call.param(0)), core.now()).await?.ok_or_else(sign_in_ended)?;
    let cookie = session::open_person(core, &sign_in.workspace, sign_in.user).await?;
    access_log::signed_in(core, call, &sign_in.workspace);
    Ok(Response::see_other("/?done=signed-in").with("set-cookie", cookie))
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
