//! Sessions and sign-in links: what is open, and how to end it.
//!
//! Never shows what opens anything: an id is the beginning of a stored hash.

use super::Call;
use super::body::{DeletedResponse, Json, ListResponse};
use super::input::{self, QueryParams};
use super::responses::{SessionResponse, SessionType, SignInLinkResponse};
use crate::authorize::LoadedResource;
use crate::context::Context;
use crate::error::Result;
use crate::ids::{ApiKeyId, SessionId, SignInLinkId};
use crate::ports::Ports;
use crate::sessions;
use crate::sign_in_links;
use crate::store::sessions::SessionFilter;
use crate::time::Timestamp;

/// The key that a list is filtered by.
pub(super) fn parse_key_filter(filters: &QueryParams, name: &str) -> Result<Option<ApiKeyId>> {
    filters.get_parsed(name, ApiKeyId::parse, "is not a key's id (key_…).")
}

/// The end of the previous page: when its last row was created, and the beginning of its stored hash.
fn parse_list_cursor<T>(
    filters: &QueryParams,
    read: impl Fn(&str) -> Option<T>,
    hash_begins: impl Fn(&T) -> &str,
) -> Result<Option<(Timestamp, String)>> {
    let after = filters.cursor(|text| input::parse_time_cursor(text, &read))?;
    Ok(after.map(|(at, id)| (at, hash_begins(&id).to_owned())))
}

pub(super) async fn list_sessions<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<SessionResponse>>> {
    let filters = QueryParams::parse_list_query(call.request, &["type", "user", "key"])?;
    let filter = SessionFilter {
        kind: filters.get_parsed("type", SessionType::parse, "must be person or link.")?.map(SessionType::as_str),
        user: filters.get("user").map(str::to_owned),
        made_by: parse_key_filter(&filters, "key")?,
        after: parse_list_cursor(&filters, SessionId::parse, SessionId::hash_begins)?,
        limit: filters.limit()?,
    };
    let page = sessions::list_sessions(context, &call.caller_key()?.workspace, &filter).await?;
    Ok(Json::ok(ListResponse::of(page, SessionResponse::from)))
}

pub(super) async fn delete_session<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedResponse<SessionId>>> {
    let LoadedResource::Session(session) = &call.subject else { return Err(super::undeclared_resource_error()) };
    sessions::revoke_session(context, session, &call.key_actor()?).await?;
    Ok(Json::ok(DeletedResponse::of(session.id())))
}

pub(super) async fn list_sign_in_links<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<SignInLinkResponse>>> {
    let filters = QueryParams::parse_list_query(call.request, &["user", "key"])?;
    let filter = SessionFilter {
        kind: None,
        user: filters.get("user").map(str::to_owned),
        made_by: parse_key_filter(&filters, "key")?,
        after: parse_list_cursor(&filters, SignInLinkId::parse, SignInLinkId::hash_begins)?,
        limit: filters.limit()?,
    };
    let page = sign_in_links::list_sign_in_links(context, &call.caller_key()?.workspace, &filter).await?;
    Ok(Json::ok(ListResponse::of(page, SignInLinkResponse::from)))
}

pub(super) async fn delete_sign_in_link<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedResponse<SignInLinkId>>> {
    let LoadedResource::SignInLink(link) = &call.subject else { return Err(super::undeclared_resource_error()) };
    sign_in_links::delete_sign_in_link(context, link, &call.key_actor()?).await?;
    Ok(Json::ok(DeletedResponse::of(link.id())))
}
