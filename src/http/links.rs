//! Links: an embedding product asks somebody to connect, or signs somebody in.

use serde::Deserialize;
use serde_json::json;

use super::input::Filters;
use super::sign_in::own_page;
use super::{Call, Response, input, sessions, view};
use crate::app::{AppId, WayId};
use crate::authorize;
use crate::caller::{Maker, hash};
use crate::connect::link::{self, LONGEST_LIFE, NewLink, USUAL_LIFE};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, LinkId, WorkspaceId, random_token};
use crate::json::objects;
use crate::ports::Ports;
use crate::quotas::{self, Quota};
use crate::resolve::unauthorized;
use crate::secret::Secret;
use crate::store::links::{self as rows, Link, OnDuplicate};
use crate::store::sessions::{SignIn, insert_sign_in};
use crate::store::workspaces;
use crate::workspace::{Role, User};

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
    authorize::new_link(key, input.connection.as_ref())?;
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
        made_by: Some(Maker::from(key)),
    };
    let sees = |id: &ConnectionId, app: &AppId| authorize::sees_connection(key, id, app);
    let (link, url) = link::create(core, &key.workspace, new, sees).await?;
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

fn shown<P: Ports>(core: &Core<P>, link: &Link) -> serde_json::Value {
    view::link(link, core.now())
}

pub(super) async fn get<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    Ok(Response::json(200, &shown(core, call.link()?)))
}

/// What a list of links can be filtered by, as a link's `status` is shown.
const STATUSES: [&str; 6] = ["open", "waiting_for_choice", "awaiting_confirmation", "used", "ended", "expired"];

pub(super) async fn list<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let key = call.key()?;
    let filters = Filters::of(call.request, &["app", "connection", "status", "key"])?;
    let status = |text: &str| STATUSES.contains(&text).then(|| text.to_owned());
    let statuses = "must be open, waiting_for_choice, awaiting_confirmation, used, ended or expired.";
    let filter = rows::Filter {
        app: filters.read("app", AppId::parse, "is not an app's id.")?,
        connection: filters.read("connection", ConnectionId::parse, "is not a connection's id (con_…).")?,
        status: filters.read("status", status, statuses)?,
        made_by: sessions::key_of(&filters, "key")?,
        after: filters.cursor(|text| input::position(text, LinkId::parse))?,
        limit: filters.limit()?,
        ..authorize::links_of(key)
    };
    let page = rows::list(core.db(), &key.workspace, &filter, core.now()).await?;
    Ok(Response::json(200, &input::list(&page, |link| shown(core, link))))
}

pub(super) async fn delete<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let link = link::end(core, call.link()?).await?;
    Ok(Response::json(200, &shown(core, &link)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    user: UserInput,
}

pub(super) async fn confirm<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let found = call.link()?;
    let confirmation: Confirmation = input::json(call.request)?;
    let link = link::confirm(core, &found.workspace, &found.id, &confirmation.user.id).await?;
    Ok(Response::json(200, &shown(core, &link)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignInInput {
    user: SignInUser,
    #[serde(default)]
    role: Role,
    return_to: Option<String>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct SignInUser {
    id: String,
    name: Option<String>,
    email: Option<String>,
}

pub(super) async fn create_sign_in<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let key = call.key()?;
    let input: SignInInput = input::json(call.request)?;
    authorize::sign_in_as(key, input.role)?;
    let return_to = input.return_to.map(|text| own_page(core, &text)).transpose()?;
    // An address tells a person who they are as well as a name does.
    let user = user(UserInput { id: input.user.id, name: input.user.name.or(input.user.email) })?;
    let token = Secret::new(random_token(core.ports.random(), key.workspace.shard())?);
    let (now, maker) = (core.now(), Maker::from(key));
    let sign_in = SignIn {
        hash: hash(token.expose()),
        workspace: key.workspace.clone(),
        user,
        role: input.role,
        return_to,
        created_at: now,
        expires_at: maker.limit(now.plus(SIGN_IN_LIFE)),
        made_by: Some(maker),
        used_at: None,
    };
    let quota = [Quota::SignInLinks(&sign_in.user.id, now)];
    let inserted = insert_sign_in(&quotas::guarded(core, &sign_in.workspace, &quota), &sign_in).await;
    if !quotas::allowed(core, &sign_in.workspace, &quota, inserted).await? {
        return Err(unauthorized());
    }
    let url = core.config.public_url.at(&format!("/sign-in/{}", token.expose()));
    let body = json!({ "id": sign_in.id(), "url": url, "role": sign_in.role, "expires_at": sign_in.expires_at });
    Ok(Response::json(201, &body))
}
