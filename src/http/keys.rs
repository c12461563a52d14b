//! A workspace and its API keys.

use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::input::Filters;
use super::operator::LONGEST_NAME;
use super::{Call, Response, input, view};
use crate::app::AppId;
use crate::caller::{Key, KeyId, Scope, new_key};
use crate::core::Core;
use crate::egress::Egress;
use crate::error::{Code, Error, Result};
use crate::ids::ConnectionId;
use crate::ports::{Database, Ports};
use crate::quotas::{self, Quota};
use crate::resolve::cached;
use crate::store;
use crate::time::Timestamp;

/// Origins a workspace may list.
const MOST_ORIGINS: usize = 50;
/// Entries of an allow-list.
const MOST_ALLOWED: usize = 1000;

pub(super) async fn get_workspace<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let workspace = store::workspaces::get(core.db(), &call.key()?.workspace)
        .await?
        .ok_or_else(|| Error::not_found("workspace"))?;
    Ok(Response::json(200, &json!(workspace)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkspacePatch {
    name: Option<String>,
    allowed_origins: Option<Vec<String>>,
}

pub(super) async fn patch_workspace<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let patch: WorkspacePatch = input::json(call.request)?;
    let name = patch.name.map(|name| input::name("name", &name, LONGEST_NAME)).transpose()?;
    let origins = patch.allowed_origins.map(|list| origins(&list, core.config.egress)).transpose()?;
    let workspace =
        store::workspaces::update(core.db(), &call.key()?.workspace, name.as_deref(), origins.as_deref()).await?;
    Ok(Response::json(200, &json!(workspace.ok_or_else(|| Error::not_found("workspace"))?)))
}

fn origins(list: &[String], egress: Egress) -> Result<Vec<String>> {
    if list.len() > MOST_ORIGINS {
        return Err(Error::invalid("allowed_origins", "may have at most 50 entries."));
    }
    list.iter().enumerate().map(|(index, text)| origin(&format!("allowed_origins[{index}]"), text, egress)).collect()
}

/// An origin exactly as browsers write it: what is compared later is compared as text.
fn origin(field: &str, text: &str, egress: Egress) -> Result<String> {
    let wrong = || Error::invalid(field, "must be an origin such as https://app.example.com, without a path.");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let loopback = matches!(egress, Egress::DevLoopback) && matches!(url.host_str(), Some("localhost" | "127.0.0.1"));
    let scheme_ok = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    let plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if scheme_ok && plain { Ok(url.origin().ascii_serialization()) } else { Err(wrong()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: String,
    scopes: Vec<Scope>,
    connections: Option<Vec<ConnectionId>>,
    apps: Option<Vec<AppId>>,
    expires_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    key: serde_json::Value,
    #[serde(rename = "key")]
    text: &'a str,
}

pub(super) async fn create<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let new: NewKey = input::json(call.request)?;
    let maker = call.key()?;
    let now = core.now();
    check(&new, maker, now)?;
    let (id, text, hash) = new_key(core.ports.random())?;
    let key = Key {
        id,
        workspace: maker.workspace.clone(),
        name: input::name("name", &new.name, LONGEST_NAME)?,
        hash,
        scopes: new.scopes,
        connections: new.connections,
        apps: new.apps,
        expires_at: new.expires_at,
        created_at: Some(now),
    };
    let (workspace, quota) = (&key.workspace, [Quota::Keys]);
    let inserted = quotas::guarded(core, workspace, &quota).batch(vec![store::keys::insert(&key)]).await;
    quotas::allowed(core, workspace, &quota, inserted).await?;
    Ok(Response::json(201, &json!(Shown { key: view::key(&key), text: text.expose() })))
}

fn check(new: &NewKey, maker: &Key, now: Timestamp) -> Result<()> {
    if new.scopes.is_empty() {
        return Err(Error::invalid("scopes", "must name at least one scope, or [\"*\"]."));
    }
    let too_long = new.connections.as_ref().is_some_and(|list| list.len() > MOST_ALLOWED)
        || new.apps.as_ref().is_some_and(|list| list.len() > MOST_ALLOWED);
    if too_long {
        return Err(Error::invalid("connections", "and apps may have at most 1000 entries each."));
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid("expires_at", "must be in the future."));
    }
    if !maker.covers(&new.scopes, new.connections.as_deref(), new.apps.as_deref(), new.expires_at) {
        return Err(Error::new(
            Code::InsufficientKeyScope,
            "A key can't make another that may do more or lives longer than itself: narrow scopes, connections, apps and expires_at to its own.",
        ));
    }
    Ok(())
}

pub(super) async fn list<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let filters = Filters::of(call.request, &[])?;
    let after = filters.cursor(KeyId::parse)?;
    let after = after.as_ref().map(KeyId::as_str).unwrap_or_default();
    let own = call.key()?;
    let mut page = store::keys::list(core.db(), &own.workspace, after, filters.limit()?).await?;
    page.data.retain(|key| own.covers_key(key));
    Ok(Response::json(200, &input::list(&page, view::key)))
}

fn missing() -> Error {
    Error::not_found("key")
}

/// The key that the path names, if it exists for the caller's.
pub(super) async fn find<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Key> {
    let id = KeyId::parse(call.param(0)).ok_or_else(missing)?;
    let own = call.key()?;
    let key =
        store::keys::get(core.db(), &id).await?.filter(|key| key.workspace == own.workspace && own.covers_key(key));
    key.ok_or_else(missing)
}

pub(super) async fn delete<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let Key { id, workspace, .. } = find(core, call).await?;
    if !store::keys::revoke(core.db(), &workspace, &id, core.now()).await? {
        return Err(missing());
    }
    // What fails here is done by the clock: the row stays until the copy is surely gone.
    if cached::forget_key(core, &id).await {
        store::keys::erase(core.db(), &id).await?;
    }
    Ok(Response::json(200, &json!({ "id": id, "deleted": true })))
}
