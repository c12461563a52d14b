//! Sessions and sign-in links, for whoever looks after a workspace's people: what is open, and its end.
//!
//! Refuses to show what opens anything: an id is the beginning of a stored hash.

use serde_json::{Value, json};

use super::input::{self, Filters};
use super::{Call, Response};
use crate::authorize::Subject;
use crate::caller::KeyId;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{SessionId, SignInLinkId};
use crate::ports::Ports;
use crate::store::sessions::{self as rows, Filter, Kind, Session, SignIn};
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

pub(super) async fn list<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let filters = Filters::of(call.request, &["type", "user", "key"])?;
    let kind = match filters.get("type") {
        None => None,
        Some("person") => Some("person"),
        Some("link") => Some("link"),
        Some(_) => return Err(Error::invalid("type", "must be person or link.")),
    };
    let filter = Filter {
        kind,
        user: filters.get("user").map(str::to_owned),
        made_by: key_of(&filters, "key")?,
        after: after(&filters, SessionId::parse, SessionId::hash_begins)?,
        limit: filters.limit()?,
    };
    let page = rows::list(core.db(), &call.key()?.workspace, &filter, core.now()).await?;
    Ok(Response::json(200, &input::list(&page, session)))
}

fn session(one: &Session) -> Value {
    let link = match &one.kind {
        Kind::Person(_) => None,
        Kind::Link(link) => Some(link),
    };
    json!({
        "id": one.id(),
        "type": if link.is_some() { "link" } else { "person" },
        "user": one.user(),
        "role": one.user().map(|_| one.role),
        "link": link,
        "made_by": one.made_by,
        "created_at": one.created_at,
        "expires_at": one.expires_at,
    })
}

pub(super) async fn delete<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let Subject::Session(session) = &call.subject else { return Err(super::undeclared()) };
    rows::revoke(core.db(), session, core.now()).await?;
    Ok(Response::json(200, &json!({ "id": session.id(), "deleted": true })))
}

pub(super) async fn list_sign_in<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let filters = Filters::of(call.request, &["user", "key"])?;
    let filter = Filter {
        kind: None,
        user: filters.get("user").map(str::to_owned),
        made_by: key_of(&filters, "key")?,
        after: after(&filters, SignInLinkId::parse, SignInLinkId::hash_begins)?,
        limit: filters.limit()?,
    };
    let page = rows::list_sign_in(core.db(), &call.key()?.workspace, &filter, core.now()).await?;
    Ok(Response::json(200, &input::list(&page, sign_in_link)))
}

fn sign_in_link(one: &SignIn) -> Value {
    json!({
        "id": one.id(),
        "status": if one.used_at.is_some() { "used" } else { "open" },
        "user": one.user,
        "role": one.role,
        "return_to": one.return_to,
        "made_by": one.made_by.as_ref().map(|maker| &maker.key),
        "created_at": one.created_at,
        "expires_at": one.expires_at,
        "used_at": one.used_at,
    })
}

pub(super) async fn delete_sign_in<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let Subject::SignInLink(link) = &call.subject else { return Err(super::undeclared()) };
    rows::delete_sign_in(core.db(), &link.hash).await?;
    Ok(Response::json(200, &json!({ "id": link.id(), "deleted": true })))
}
