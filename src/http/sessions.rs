//! Sessions and sign-in links, for whoever looks after a workspace's people: what is open, and its end.
//!
//! Refuses to show what opens anything: an id is the beginning of a stored hash.

use super::Call;
use super::body::{DeletedResponse, Json, ListResponse};
use super::input::{self, Filters};
use super::view::{SessionResponse, SessionType, SignInLinkResponse};
use crate::authorize::Subject;
use crate::caller::KeyId;
use crate::core::Core;
use crate::error::Result;
use crate::ids::{SessionId, SignInLinkId};
use crate::ports::Ports;
use crate::store::sessions::{self as rows, Filter};
use crate::time::Timestamp;

/// The key that a list is filtered by.
pub(super) fn key_of(filters: &Filters, name: &str) -> Result<Option<KeyId>> {
    filters.read(name, KeyId::parse, "is not a key's id (key_…).")
}

/// Where the page before ended: when its last row was made, and what the stored hash of that begins with.
fn after<T>(
    filters: &Filters,
    read: impl Fn(&str) -> Option<T>,
    hash_begins: impl Fn(&T) -> &str,
) -> Result<Option<(Timestamp, String)>> {
    let after = filters.cursor(|text| input::position(text, &read))?;
    Ok(after.map(|(at, id)| (at, hash_begins(&id).to_owned())))
}

pub(super) async fn list<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<ListResponse<SessionResponse>>> {
    let filters = Filters::of(call.request, &["type", "user", "key"])?;
    let filter = Filter {
        kind: filters.read("type", SessionType::parse, "must be person or link.")?.map(SessionType::as_str),
        user: filters.get("user").map(str::to_owned),
        made_by: key_of(&filters, "key")?,
        after: after(&filters, SessionId::parse, SessionId::hash_begins)?,
        limit: filters.limit()?,
    };
    let page = rows::list(core.db(), &call.key()?.workspace, &filter, core.now()).await?;
    Ok(Json::ok(ListResponse::of(page, SessionResponse::from)))
}

pub(super) async fn delete<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<DeletedResponse<SessionId>>> {
    let Subject::Session(session) = &call.subject else { return Err(super::undeclared()) };
    rows::revoke(core.db(), session, core.now()).await?;
    Ok(Json::ok(DeletedResponse::of(session.id())))
}

pub(super) async fn list_sign_in<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<SignInLinkResponse>>> {
    let filters = Filters::of(call.request, &["user", "key"])?;
    let filter = Filter {
        kind: None,
        user: filters.get("user").map(str::to_owned),
        made_by: key_of(&filters, "key")?,
        after: after(&filters, SignInLinkId::parse, SignInLinkId::hash_begins)?,
        limit: filters.limit()?,
    };
    let page = rows::list_sign_in(core.db(), &call.key()?.workspace, &filter, core.now()).await?;
    Ok(Json::ok(ListResponse::of(page, SignInLinkResponse::from)))
}

pub(super) async fn delete_sign_in<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedResponse<SignInLinkId>>> {
    let Subject::SignInLink(link) = &call.subject else { return Err(super::undeclared()) };
    rows::delete_sign_in(core.db(), &link.hash).await?;
    Ok(Json::ok(DeletedResponse::of(link.id())))
}
