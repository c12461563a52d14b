//! A workspace and its API keys.

use serde::Deserialize;
use url::Url;

use super::body::{Json, ListResponse, Unread};
use super::input::QueryParams;
use super::operator::MAX_NAME_LENGTH;
use super::responses::{self, ApiKeyResponse, DeletedKeyResponse, NewApiKeyResponse};
use super::{Call, input, sessions};
use crate::app::AppId;
use crate::authorize::unauthorized;
use crate::cache::CacheRemoval;
use crate::caller::{ApiKey, KeyScope, PreviousSecret, new_key, new_secret};
use crate::context::Context;
use crate::egress::EgressPolicy;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{ApiKeyId, ConnectionId};
use crate::ports::{Database, Ports};
use crate::quotas::{self, Quota};
use crate::store;
use crate::time::Timestamp;
use crate::workspace::Workspace;

/// Origins a workspace may list.
const MAX_ORIGINS: usize = 50;
/// Entries of an allow-list.
const MAX_ALLOW_LIST_ENTRIES: usize = 1000;

pub(super) async fn get_own_workspace<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<Workspace>> {
    let workspace = store::workspaces::get(context.db(), &call.caller_key()?.workspace)
        .await?
        .ok_or_else(|| Error::not_found("workspace"))?;
    Ok(Json::ok(workspace))
}

/// What is to be changed of the workspace. What is absent or null stays as it is.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "UpdateWorkspaceRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateWorkspaceInput {
    /// No control characters; spaces around it are cut off.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: Option<String>,
    /// The origins `return_to` may lead to: https, no path. Replaces the list.
    #[cfg_attr(test, schemars(length(max = 50), inner(url), extend("examples" = [["https://app.example.com"]])))]
    allowed_origins: Option<Vec<String>>,
}

pub(super) async fn update_own_workspace<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, UpdateWorkspaceInput>,
) -> Result<Json<Workspace>> {
    let patch = body.read()?;
    let name = patch.name.map(|name| input::parse_name("name", &name, MAX_NAME_LENGTH)).transpose()?;
    let origins = patch.allowed_origins.map(|list| parse_origins(&list, context.config.egress)).transpose()?;
    let workspace =
        store::workspaces::update(context.db(), &call.caller_key()?.workspace, name.as_deref(), origins.as_deref())
            .await?;
    Ok(Json::ok(workspace.ok_or_else(|| Error::not_found("workspace"))?))
}

fn parse_origins(list: &[String], egress: EgressPolicy) -> Result<Vec<String>> {
    if list.len() > MAX_ORIGINS {
        return Err(Error::invalid_field("allowed_origins", "may have at most 50 entries."));
    }
    list.iter()
        .enumerate()
        .map(|(index, text)| parse_origin(&format!("allowed_origins[{index}]"), text, egress))
        .collect()
}

/// An origin exactly as browsers write it: what is compared later is compared as text.
fn parse_origin(field: &str, text: &str, egress: EgressPolicy) -> Result<String> {
    let wrong = || Error::invalid_field(field, "must be an origin such as https://app.example.com, without a path.");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let loopback =
        matches!(egress, EgressPolicy::DevLoopback) && matches!(url.host_str(), Some("localhost" | "127.0.0.1"));
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
pub(super) struct CreateKeyInput {
    /// No control characters; spaces around it are cut off.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: String,
    /// What it may do.
    #[cfg_attr(test, schemars(length(min = 1)))]
    scopes: Vec<KeyScope>,
    /// The only connections it may see; absent or null: all.
    #[cfg_attr(test, schemars(length(max = 1000)))]
    connections: Option<Vec<ConnectionId>>,
    /// The only apps it may see; absent or null: all.
    #[cfg_attr(test, schemars(length(max = 1000)))]
    apps: Option<Vec<AppId>>,
    /// When it ends; in the future. Absent or null: never.
    expires_at: Option<Timestamp>,
}

pub(super) async fn create_key<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, CreateKeyInput>,
) -> Result<Json<NewApiKeyResponse>> {
    let new = body.read()?;
    let maker = call.caller_key()?;
    let now = context.now();
    validate_new_key(&new, maker, now)?;
    let (id, text, hash) = new_key(context.ports.random(), maker.workspace.shard())?;
    let key = ApiKey {
        id,
        workspace: maker.workspace.clone(),
        name: input::parse_name("name", &new.name, MAX_NAME_LENGTH)?,
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
    let added = store::keys::add(&quotas::guard_database(context, workspace, &quota), &key).await;
    if !quotas::map_insert_error(context, workspace, &quota, added).await? {
        return Err(unauthorized());
    }
    Ok(Json::created(NewApiKeyResponse::of(key, &text, None, now)))
}

fn validate_new_key(new: &CreateKeyInput, maker: &ApiKey, now: Timestamp) -> Result<()> {
    if new.scopes.is_empty() {
        return Err(Error::invalid_field("scopes", "must name at least one scope, or [\"*\"]."));
    }
    let too_long = new.connections.as_ref().is_some_and(|list| list.len() > MAX_ALLOW_LIST_ENTRIES)
        || new.apps.as_ref().is_some_and(|list| list.len() > MAX_ALLOW_LIST_ENTRIES);
    if too_long {
        return Err(Error::invalid_field("connections", "and apps may have at most 1000 entries each."));
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid_field("expires_at", "must be in the future."));
    }
    if !maker.covers(&new.scopes, new.connections.as_deref(), new.apps.as_deref(), new.expires_at) {
        return Err(Error::new(
            ErrorCode::InsufficientKeyScope,
            "A key can't make another that may do more or lives longer than itself: narrow scopes, connections, apps and expires_at to its own.",
        ));
    }
    Ok(())
}

pub(super) async fn list_keys<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<ApiKeyResponse>>> {
    let filters = QueryParams::parse_list_query(call.request, &["made_by"])?;
    let after = filters.cursor(ApiKeyId::parse)?;
    let after = after.as_ref().map(ApiKeyId::as_str).unwrap_or_default();
    let maker = sessions::parse_key_filter(&filters, "made_by")?;
    let own = call.caller_key()?;
    let mut page = store::keys::list(context.db(), &own.workspace, maker.as_ref(), after, filters.limit()?).await?;
    page.data.retain(|key| own.covers_key(key));
    Ok(Json::ok(ListResponse::of(page, |key| ApiKeyResponse::of(key, context.now()))))
}

/// What becomes of what a key made.
fn should_end_created_items(call: &Call<'_>) -> Result<bool> {
    match QueryParams::parse_known(call.request, &["made"])?.get("made") {
        None | Some("end") => Ok(true),
        Some("keep") => Ok(false),
        Some(_) => Err(Error::invalid_field("made", "must be keep or end.")),
    }
}

pub(super) async fn delete_key<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<DeletedKeyResponse>> {
    let ApiKey { id, workspace, .. } = call.path_key()?;
    let end = should_end_created_items(call)?;
    let removal = CacheRemoval::of_key(context, id)?;
    let note = removal.insert_if_changed_statement();
    let revoked = store::keys::revoke(context.db(), workspace, id, end, note, context.now()).await?;
    let revoked = revoked.ok_or_else(|| Error::not_found("key"))?;
    let copies = removal.attempt(context).await;
    context.db().batch([store::keys::erase(id)].into_iter().chain(removal.delete_statement(copies)).collect()).await?;
    Ok(Json::ok(DeletedKeyResponse {
        id: id.clone(),
        deleted: true,
        ended: revoked.ended,
        made_keys: revoked.made_keys,
        cache_entries: responses::kept_copies(Some(copies)),
    }))
}

/// Seconds that the secret before is accepted, unless told otherwise: a day.
const DEFAULT_OVERLAP: i64 = 86_400;
/// Seconds that it may be accepted: a week.
const MAX_OVERLAP: i64 = 7 * 86_400;

/// How a key gets its new secret.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RotateKeyRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct RotateKeyInput {
    /// Seconds for which the secret before is accepted. 0 ends it at once; a resolve with `consistency: edge` may follow a copy
    /// until that is gone.
    #[cfg_attr(test, schemars(range(min = 0, max = 604_800), extend("default" = 86400)))]
    overlap_seconds: Option<i64>,
}

/// A new secret for the same key. Nothing that the key made ends.
pub(super) async fn rotate_key<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, RotateKeyInput>,
) -> Result<Json<NewApiKeyResponse>> {
    let key = call.path_key()?;
    // Whoever found an old secret must not lock out who has the new one.
    if call.caller_key()?.id == key.id && !call.presented_key()?.matches_newest_secret(key) {
        let problem = "This secret was replaced by a rotation. Rotate the key with its newest secret.";
        return Err(Error::new(ErrorCode::Conflict, problem));
    }
    let rotation = body.read()?;
    let overlap = rotation.overlap_seconds.unwrap_or(DEFAULT_OVERLAP);
    if !(0..=MAX_OVERLAP).contains(&overlap) {
        let problem = "must be a number of seconds from 0 (the old secret ends at once) to 604800 (a week).";
        return Err(Error::invalid_field("overlap_seconds", problem));
    }
    let now = context.now();
    let (text, hash) = new_secret(context.ports.random(), &key.id)?;
    // Until the copy is gone, a resolve that reads it knows the old secret alone.
    let removal = CacheRemoval::of_key(context, &key.id)?;
    if !store::keys::rotate(context.db(), key, &hash, now.plus(overlap), removal.insert_if_changed_statement(), now)
        .await?
    {
        return Err(Error::new(
            ErrorCode::Conflict,
            "This key was rotated or revoked at the same moment. List the keys, and try again.",
        ));
    }
    let copies = removal.perform(context).await;
    let previous = PreviousSecret { hash: key.hash.clone(), until: now.plus(overlap) };
    let rotated = ApiKey { hash, previous: Some(previous), ..key.clone() };
    Ok(Json::ok(NewApiKeyResponse::of(rotated, &text, Some(copies), now)))
}
