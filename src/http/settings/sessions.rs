//! Sessions and sign-in links, for admins.

use super::super::notices::redirect_with_notice;
use super::super::page::{self, Notice, NoticeCode, PendingSignIn, SessionRow, SessionsView};
use super::super::{Call, Response, input};
use super::{ROWS_PER_PAGE, shell, with_query};
use crate::authorize::LoadedResource;
use crate::context::Context;
use crate::error::Result;
use crate::ids::SessionId;
use crate::ports::Ports;
use crate::sessions;
use crate::sign_in_links;
use crate::store::sessions::SessionFilter;
use crate::workspace::Role;

/// Sign-in links that are shown.
const PENDING_SHOWN: i64 = 50;

pub(in crate::http) async fn show_settings_sessions_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let this = call.session()?;
    let position = |text: String| {
        input::parse_time_cursor(&text, SessionId::parse)
            .map(|(at, id)| (at, id.hash_begins().to_owned()))
            .ok_or_else(input::invalid_cursor)
    };
    let after = input::query_param(call.request, "cursor").map(position).transpose()?;
    let filter = SessionFilter { after, limit: ROWS_PER_PAGE, ..SessionFilter::default() };
    let links = SessionFilter { limit: PENDING_SHOWN, ..SessionFilter::default() };
    let (found, links) = context
        .at_once(
            sessions::list_sessions(context, &this.workspace, &filter),
            sign_in_links::list_sign_in_links(context, &this.workspace, &links),
        )
        .await;
    let (found, links) = (found?, links?);
    let view = SessionsView {
        sessions: found
            .data
            .iter()
            .map(|one| SessionRow {
                id: one.id().to_string(),
                person: one.user().map(|user| (user.id.clone(), user.display_name().to_owned())),
                is_admin: one.user().is_some() && one.role == Role::Admin,
                is_this: one.id() == this.id(),
                created_at: one.created_at,
                expires_at: one.expires_at,
            })
            .collect(),
        next_page_href: found.next.map(|cursor| with_query("/settings/sessions", &[("cursor", Some(&cursor))])),
        pending: links
            .data
            .iter()
            .filter(|link| link.used_at.is_none())
            .map(|link| PendingSignIn {
                id: link.id().to_string(),
                name: link.user.display_name().to_owned(),
                is_admin: link.role == Role::Admin,
                expires_at: link.expires_at,
            })
            .collect(),
    };
    Ok(Response::html(200, page::settings_sessions(&shell(context, call), &view)))
}

pub(in crate::http) async fn end_session<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let LoadedResource::Session(session) = &call.subject else {
        return Err(super::super::undeclared_resource_error());
    };
    sessions::revoke_session(context, session, &call.user_actor()?).await?;
    let notice = Notice { code: NoticeCode::SessionEnded, about: String::new() };
    Ok(redirect_with_notice(context, call.request, "/settings/sessions", &notice))
}

pub(in crate::http) async fn delete_sign_in_link<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let LoadedResource::SignInLink(link) = &call.subject else {
        return Err(super::super::undeclared_resource_error());
    };
    sign_in_links::delete_sign_in_link(context, link, &call.user_actor()?).await?;
    let notice = Notice { code: NoticeCode::SignInLinkDeleted, about: String::new() };
    Ok(redirect_with_notice(context, call.request, "/settings/sessions", &notice))
}
