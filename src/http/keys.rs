//! A workspace and its API keys.

use serde::Deserialize;
use url::Url;

use super::body::{Json, ListResponse, Unread};
use super::input::Filters;
use super::operator::LONGEST_NAME;
use super::view::{self, ApiKeyResponse, DeletedKeyResponse, NewApiKeyResponse};
use super::{Call, input, sessions};
use crate::app::AppId;
use crate::caller::{Key, KeyId, PreviousSecret, Scope, new_key, new_secret};
use crate::core::Core;
use crate::egress::Egress;
use crate::error::{Code, Error, Result};
use crate::ids::ConnectionId;
use crate::ports::{Database, Ports};
use crate::quotas::{self, Quota};
use crate::resolve::removal::Removal;
use crate::resolve::unauthorized;
use crate::store;
use crate::time::Timestamp;
use crate::workspace::Workspace;

/// Origins a workspace may list.
const MOST_ORIGINS: usize = 50;
/// Entries of an allow-list.
const MOST_ALLOWED: usize = 1000;

pub(super) async fn get_workspace<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<Workspace>> {
    let workspace = store::workspaces::get(core.db(), &call.key()?.workspace)
        .await?
        .ok_or_else(|| Error::not_found("workspace"))?;
    Ok(Json::ok(workspace))
}

/// What is to be changed of the workspace. What is absent or null stays as it is.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "UpdateWorkspaceRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct WorkspacePatch {
    /// No control characters; spaces around it are cut off.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: Option<String>,
    /// The origins `return_to` may lead to: https, no path. Replaces the list.
    #[cfg_attr(test, schemars(length(max = 50), inner(url), extend("examples" = [["https://app.example.com"]])))]
    allowed_origins: Option<Vec<String>>,
}

pub(super) async fn patch_workspace<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    body: Unread<'_, WorkspacePatch>,
) -> Result<Json<Workspace>> {
    let patch = body.read()?;
    let name = patch.name.map(|name| input::name("name", &name, LONGEST_NAME)).transpose()?;
    let origins = patch.allowed_origins.map(|list| origins(&list, core.config.egress)).transpose()?;
    let workspace =
        store::workspaces::update(core.db(), &call.key()?.workspace, name.as_deref(), origins.as_deref()).await?;
    Ok(Json::ok(workspace.ok_or_else(|| Error::not_found("workspace"))?))
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

/// An API key that is to be made.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CreateKeyRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct NewKey {
    /// No control characters; spaces around it are cut off.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: String,
    /// What it may do.
    #[cfg_attr(test, schemars(length(min = 1)))]
    scopes: Vec<Scope>,
    /// The only connections it may see; absent or null: all.
    #[cfg_attr(test, schemars(length(max = 1000)))]
    connections: Option<Vec<ConnectionId>>,
    /// The only apps it may see; absent or null: all.
    #[cfg_attr(test, schemars(length(max = 1000)))]
    apps: Option<Vec<AppId>>,
    /// When it ends; in the future. Absent or null: never.
    expires_at: Option<Timestamp>,
}

pub(super) async fn create<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    body: Unread<'_, NewKey>,
) -> Result<Json<NewApiKeyResponse>> {
    let new = body.read()?;
    let maker = call.key()?;
    let now = core.now();
    check(&new, maker, now)?;
    let (id, text, hash) = new_key(core.ports.random(), maker.workspace.shard())?;
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
        made_by: Some(maker.id.clone()),
        previous: None,
    };
    let (workspace, quota) = (&key.workspace, [Quota::Keys]);
    let added = store::keys::add(&quotas::guarded(core, workspace, &quota), &key).await;
    if !quotas::allowed(core, workspace, &quota, added).await? {
        return Err(unauthorized());
    }
    Ok(Json::created(NewApiKeyResponse::of(key, &text, None, now)))
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

pub(super) async fn list<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<ListResponse<ApiKeyResponse>>> {
    let filters = Filters::of(call.request, &["made_by"])?;
    let after = filters.cursor(KeyId::parse)?;
    let after = after.as_ref().map(KeyId::as_str).unwrap_or_default();
    let maker = sessions::key_of(&filters, "made_by")?;
    let own = call.key()?;
    let mut page = store::keys::list(core.db(), &own.workspace, maker.as_ref(), after, filters.limit()?).await?;
    page.data.retain(|key| own.covers_key(key));
    Ok(Json::ok(ListResponse::of(page, |key| ApiKeyResponse::of(key, core.now()))))
}

/// What becomes of what a key made.
fn ends_what_it_made(call: &Call<'_>) -> Result<bool> {
    match Filters::only(call.request, &["made"])?.get("made") {
        None | Some("end") => Ok(true),
        Some("keep") => Ok(false),
        Some(_) => Err(Error::invalid("made", "must be keep or end.")),
    }
}

pub(super) async fn delete<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<DeletedKeyResponse>> {
    let Key { id, workspace, .. } = call.named_key()?;
    let end = ends_what_it_made(call)?;
    let removal = Removal::of_key(core, id)?;
    let note = removal.note_if_changed();
    let revoked = store::keys::revoke(core.db(), (workspace, id), end, note, core.now()).await?;
    let revoked = revoked.ok_or_else(|| Error::not_found("key"))?;
    let copies = removal.attempt(core).await;
    core.db().batch([store::keys::erase(id)].into_iter().chain(removal.done(copies)).collect()).await?;
    Ok(Json::ok(DeletedKeyResponse {
        id: id.clone(),
        deleted: true,
        ended: revoked.ended,
        made_keys: revoked.made_keys,
        cached_copies: view::kept_copies(Some(copies)),
    }))
}

/// Seconds that the secret before is accepted, unless told otherwise: a day.
const USUAL_OVERLAP: i64 = 86_400;
/// Seconds that it may be accepted: a week.
const LONGEST_OVERLAP: i64 = 7 * 86_400;

/// How a key gets its new secret.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RotateKeyRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// Seconds for which the secret before is accepted. 0 ends it at once; a resolve with `consistency: edge` may follow a copy
    /// until that is gone.
    #[cfg_attr(test, schemars(range(min = 0, max = 604_800), extend("default" = 86400)))]
    overlap_seconds: Option<i64>,
}

/// A new secret for the same key. Nothing that the key made ends.
pub(super) async fn rotate<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    body: Unread<'_, Rotation>,
) -> Result<Json<NewApiKeyResponse>> {
    let key = call.named_key()?;
    // Whoever found an old secret must not lock out who has the new one.
    if call.key()?.id == key.id && !call.presented()?.is_newest(key) {
        let problem = "This secret was replaced by a rotation. Rotate the key with its newest secret.";
        return Err(Error::new(Code::Conflict, problem));
    }
    let rotation = body.read()?;
    let overlap = rotation.overlap_seconds.unwrap_or(USUAL_OVERLAP);
    if !(0..=LONGEST_OVERLAP).contains(&overlap) {
        let problem = "must be a number of seconds from 0 (the old secret ends at once) to 604800 (a week).";
        return Err(Error::invalid("overlap_seconds", problem));
    }
    let now = core.now();
    let (text, hash) = new_secret(core.ports.random(), &key.id)?;
    // Until the copy is gone, a resolve that reads it knows the old secret alone.
    let removal = Removal::of_key(core, &key.id)?;
    if !store::keys::rotate(core.db(), key, (&hash, now.plus(overlap)), removal.note_if_changed(), now).await? {
        return Err(Error::new(
            Code::Conflict,
            "This key was rotated or revoked at the same moment. List the keys, and try again.",
        ));
    }
    let copies = removal.perform(core).await;
    let previous = PreviousSecret { hash: key.hash.clone(), until: now.plus(overlap) };
    let rotated = Key { hash, previous: Some(previous), ..key.clone() };
    Ok(Json::ok(NewApiKeyResponse::of(rotated, &text, Some(copies), now)))
}
