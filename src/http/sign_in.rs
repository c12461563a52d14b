//! A person signs in with a link that the embedding product requested, and signs out. With the id of a workspace instead of
//! a link's secret, the page is that of its identity provider ([`super::provider_sign_in`]).
//!
//! Owns these pages. Sessions are in [`super::browser_session`]. Opening a link does not use it.

use super::page::{self, Tone};
use super::page_frame::guest_page_context;
use super::{Call, Response, access_log, browser_session, input, is_page_of_link, notices, provider_sign_in};
use crate::context::Context;
use crate::error::Result;
use crate::ids::WorkspaceId;
use crate::ports::Ports;
use crate::secret::Secret;
use crate::sessions;
use crate::sign_in_links;
use crate::store::sessions::Session;
use crate::workspace::User;

/// Shows the person that would be signed in. A GET does not use the link, because mail scanners also open links.
pub(super) async fn show_sign_in_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    if let Some(workspace) = WorkspaceId::parse(call.path_param(0)) {
        return provider_sign_in::show_page(context, call, &workspace).await;
    }
    let (link, workspace) = sign_in_links::preview_sign_in(context, call.path_param(0)).await?;
    let session = provider_sign_in::load_session(context, call).await?;
    let is_other =
        |user: &&User| user.id != link.user.id || session.as_ref().map(|one| &one.workspace) != Some(&workspace.id);
    let replaces = session.as_ref().and_then(Session::user).filter(is_other).map(|user| user.display_name().to_owned());
    let view = page::SignInView {
        workspace: workspace.name,
        user: link.user.display_name().to_owned(),
        action: call.request.path.clone(),
        replaces,
    };
    Ok(Response::html(200, page::sign_in(&guest_page_context(context), &view)))
}

pub(super) async fn sign_in<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    if let Some(workspace) = WorkspaceId::parse(call.path_param(0)) {
        return provider_sign_in::submit(context, call, &workspace).await;
    }
    let before = browser_session::read_user_token(context, call.request);
    let before = before.as_ref().map(Secret::expose);
    let (opened, return_to) = sessions::sign_in(context, call.path_param(0), before).await?;
    access_log::write_sign_in(context, call, &opened.session.workspace);
    Ok(notices::signed_in_response(context, call.request, &opened, return_to.as_deref()))
}

pub(super) async fn sign_out<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    sessions::close_session(context, call.session()?).await?;
    if let Some(path) = link_path(call) {
        return Ok(Response::see_other(&path).with_header("set-cookie", browser_session::removed_user_cookie(context)));
    }
    let shell = guest_page_context(context);
    let message = page::Message {
        title: shell.text.sign_in.signed_out.into(),
        text: shell.text.sign_in.signed_out_about.into(),
        tone: Tone::Good,
        links: vec![],
    };
    Ok(Response::html(200, page::message(&shell, &message))
        .with_header("set-cookie", browser_session::removed_user_cookie(context)))
}

/// The page of a link that was opened by somebody whom it is not for. Nothing else can be asked for: any other address
/// would be an open redirector (RFC 9700, 4.11.1).
fn link_path(call: &Call<'_>) -> Option<String> {
    let path = input::form_field(call.request, "return_to")?;
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-'));
    Some(path).filter(|path| plain && is_page_of_link(path))
}
