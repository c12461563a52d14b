//! Links: an embedding product asks somebody to connect, or signs somebody in.

use serde::Deserialize;
use serde_json::json;

use super::{Call, Response, input, view};
use crate::app::{AppId, WayId};
use crate::caller::hash;
use crate::connect::link::{self, LONGEST_LIFE, NewLink, USUAL_LIFE};
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ids::{ConnectionId, LinkId, WorkspaceId, random_text};
use crate::json::objects;
use crate::ports::Ports;
use crate::quotas::{self, Quota};
use crate::secret::Secret;
use crate::store::links::{Link, LinkStatus, OnDuplicate};
use crate::store::sessions::{SignIn, insert_sign_in};
use crate::store::workspaces;
use crate::workspace::User;

/// Characters of a user's id or name, at most.
const LONGEST_USER: usize = 128;
/// Seconds a sign-in link lives: ten minutes.
const SIGN_IN_LIFE: i64 = 600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkInput {
    app: Option<AppId>,
    way: Option<WayId>,
    connection: Option<ConnectionId>,
    scopes: Option<Vec<String>>,
    user: Option<UserInput>,
    return_to: Option<String>,
    expires_in: Option<i64>,
    on_duplicate: Option<OnDuplicate>,
    #[serde(default)]
    confirm: bool,
}

pub(super) async fn create<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let input: LinkInput = input::json(call.request)?;
    let key = call.key()?;
    let expires_in = input.expires_in.unwrap_or(USUAL_LIFE);
    if !(60..=LONGEST_LIFE).contains(&expires_in) {
        return Err(Error::invalid("expires_in", "must be a number of seconds from 60 to 604800 (a week)."));
    }
    if input.app.as_ref().is_some_and(|app| !key.sees_app(app)) {
        return Err(Error::invalid("app", "is no app this key may see."));
    }
    let user = input.user.map(user).transpose()?;
    let return_to = match input.return_to {
        None => None,
        Some(text) => Some(return_to(core, &key.workspace, &text).await?),
    };
    let new = NewLink {
        app: input.app,
        way: input.way,
        connection: input.connection,
        scopes: input.scopes,
        user,
        return_to,
        expires_in,
        on_duplicate: input.on_duplicate.unwrap_or(OnDuplicate::Ask),
        confirm: input.confirm,
    };
    let (link, url) = link::create(core, &key.workspace, new, |id, app| key.sees(id, app)).await?;
    Ok(Response::json(201, &json!({ "id": link.id, "url": url, "expires_at": link.expires_at })))
}

/// A person as the embedding product tells of them.
#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct UserInput {
    id: String,
    name: Option<String>,
}

objects!(UserInput, SignInUser);

pub(super) fn user(user: UserInput) -> Result<User> {
    let name = user.name.map(|name| input::name("user.name", &name, LONGEST_USER)).transpose()?;
    Ok(User { id: input::name("user.id", &user.id, LONGEST_USER)?, name })
}

/// Only origins the workspace lists: anything else would make us an open redirector (RFC 9700, 4.11.1).
async fn return_to<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, text: &str) -> Result<String> {
    let wrong = || {
        Error::invalid(
            "return_to",
            "must be an address of one of the workspace's allowed_origins (PATCH /v1/workspace).",
        )
    };
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && matches!(url.scheme(), "https" | "http")
        && url.as_str().len() <= 2048;
    let allowed =
        workspaces::get(core.db(), workspace).await?.map(|workspace| workspace.allowed_origins).unwrap_or_default();
    if plain && allowed.contains(&url.origin().ascii_serialization()) { Ok(url.into()) } else { Err(wrong()) }
}

fn id(call: &Call<'_>) -> Result<LinkId> {
    LinkId::parse(call.param(0)).ok_or_else(|| Error::not_found("link"))
}

/// The link, if what it is for exists for this key.
pub(super) async fn find<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Link> {
    let key = call.key()?;
    let link = crate::store::links::get(core.db(), &key.workspace, &id(call)?).await?;
    let seen = |link: &Link| match &link.connection {
        Some(connection) => key.sees(connection, &link.app),
        None => key.sees_app(&link.app),
    };
    link.filter(seen).ok_or_else(|| Error::not_found("link"))
}

pub(super) async fn get<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let link = find(core, call).await?;
    let expired = link.status == LinkStatus::Open && core.now() >= link.expires_at;
    Ok(Response::json(200, &view::link(&link, expired)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    user: UserInput,
}

pub(super) async fn confirm<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let found = find(core, call).await?;
    let confirmation: Confirmation = input::json(call.request)?;
    let link = link::confirm(core, &found.workspace, &found.id, &confirmation.user.id).await?;
    Ok(Response::json(200, &view::link(&link, false)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignInInput {
    user: SignInUser,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct SignInUser {
    id: String,
    name: Option<String>,
    email: Option<String>,
}

pub(super) async fn create_sign_in<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    if call.key()?.is_limited() {
        return Err(Error::new(
            Code::InsufficientKeyScope,
            "This key is limited to some connections or apps, but a person who signs in sees all of theirs. Use a key without allow-lists.",
        ));
    }
    let input: SignInInput = input::json(call.request)?;
    // An address tells a person who they are as well as a name does.
    let user = user(UserInput { id: input.user.id, name: input.user.name.or(input.user.email) })?;
    let token = Secret::new(random_text::<32>(core.ports.random())?);
    let expires_at = core.now().plus(SIGN_IN_LIFE);
    let sign_in = SignIn { workspace: call.key()?.workspace.clone(), user };
    let quota = [Quota::SignInLinks(&sign_in.user.id, core.now())];
    let db = quotas::guarded(core, &sign_in.workspace, &quota);
    let inserted = insert_sign_in(&db, &hash(token.expose()), &sign_in, expires_at).await;
    quotas::allowed(core, &sign_in.workspace, &quota, inserted).await?;
    let url = core.config.public_url.at(&format!("/sign-in/{}", token.expose()));
    Ok(Response::json(201, &json!({ "url": url, "expires_at": expires_at })))
}
