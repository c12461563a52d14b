//! The operator's routes: workspaces, the state of the installation, its health, its description.

use serde::Deserialize;

use super::body::{Json, ListResponse, Unread};
use super::input::QueryParams;
use super::responses::{
    CreatedWorkspaceResponse, DeletedWorkspaceResponse, HealthResponse, StatusResponse, WorkspaceStateResponse,
};
use super::{Call, Response, input, openapi};
use crate::cache;
use crate::caller::{ApiKey, KeyScope, new_key};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ids::{Shard, WorkspaceId};
use crate::ports::{Database, Ports};
use crate::store;
use crate::store::erasing::{self, ErasureProgress};
use crate::workspace::Workspace;

/// Deleted workspaces that the status lists.
const MAX_ERASING_LISTED: i64 = 100;
/// Characters of a workspace's name, at most.
pub(super) const MAX_NAME_LENGTH: usize = 100;

/// A workspace that is to be made.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CreateWorkspaceRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct CreateWorkspaceInput {
    /// No control characters; spaces around it are cut off.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: String,
}

pub(super) async fn create_workspace<P: Ports>(
    context: &Context<P>,
    _: &Call<'_>,
    body: Unread<'_, CreateWorkspaceInput>,
) -> Result<Json<CreatedWorkspaceResponse>> {
    let new = body.read()?;
    let now = context.now();
    let workspace = Workspace {
        id: WorkspaceId::random(context.ports.random(), Shard::FIRST)?,
        name: input::parse_name("name", &new.name, MAX_NAME_LENGTH)?,
        allowed_origins: vec![],
        created_at: now,
    };
    let (id, text, hash) = new_key(context.ports.random(), workspace.id.shard())?;
    let key = ApiKey {
        id,
        workspace: workspace.id.clone(),
        name: "First key".into(),
        hash,
        scopes: vec![KeyScope::All],
        connections: None,
        apps: None,
        expires_at: None,
        created_at: Some(now),
        made_by: None,
        previous: None,
    };
    context.db().batch(vec![store::workspaces::insert(&workspace), store::keys::insert(&key)]).await?;
    Ok(Json::created(CreatedWorkspaceResponse::of(workspace, key, &text)))
}

pub(super) async fn list_workspaces<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<Workspace>>> {
    let filters = QueryParams::parse_list_query(call.request, &[])?;
    let after = filters.cursor(WorkspaceId::parse)?;
    let after = after.as_ref().map(WorkspaceId::as_str).unwrap_or_default();
    let page = store::workspaces::list(context.db(), after, filters.limit()?).await?;
    Ok(Json::ok(ListResponse::of(page, |workspace| workspace)))
}

fn parse_workspace_id(call: &Call<'_>) -> Result<WorkspaceId> {
    WorkspaceId::parse(call.path_param(0)).ok_or_else(|| Error::not_found("workspace"))
}

/// Refuses where the path names no workspace that is left.
pub(super) async fn require_workspace<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<()> {
    let id = parse_workspace_id(call)?;
    let known = store::workspaces::get(context.db(), &id).await?.is_some()
        || load_erasing_progress(context, &id).await?.is_some();
    if known { Ok(()) } else { Err(Error::not_found("workspace")) }
}

/// How far the erasing of one workspace is; `None` when it was not deleted, or is gone.
async fn load_erasing_progress<P: Ports>(context: &Context<P>, id: &WorkspaceId) -> Result<Option<ErasureProgress>> {
    Ok(erasing::list_progress(context.db(), Some(id), 1).await?.into_iter().next())
}

/// Also one that was deleted and is not erased yet.
pub(super) async fn get_workspace<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<WorkspaceStateResponse>> {
    let id = parse_workspace_id(call)?;
    if let Some(workspace) = store::workspaces::get(context.db(), &id).await? {
        return Ok(Json::ok(workspace.into()));
    }
    let progress = load_erasing_progress(context, &id).await?.ok_or_else(|| Error::not_found("workspace"))?;
    Ok(Json::ok(progress.into()))
}

/// Everybody is locked out by the answer; grants are revoked and rows erased by the clock. Reading the workspace tells
/// how far that is.
pub(super) async fn delete_workspace<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedWorkspaceResponse>> {
    let id = parse_workspace_id(call)?;
    if !store::workspaces::mark_deleted(context.db(), &id, context.now()).await? {
        return Err(Error::not_found("workspace"));
    }
    let mut progress = load_erasing_progress(context, &id).await?.ok_or_else(|| Error::not_found("workspace"))?;
    if cache::write_tombstone(context, &id).await {
        let now = context.now();
        // A note that fails is written by the clock, with another tombstone.
        if let Err(error) = context.db().batch(vec![erasing::mark_tombstoned(&[&id], now)]).await {
            context.log_cause(&error.into());
        }
        progress.tombstoned_at = Some(now);
    }
    Ok(Json::ok(progress.into()))
}

pub(super) async fn get_status<P: Ports>(context: &Context<P>, _: &Call<'_>) -> Result<Json<StatusResponse>> {
    let state = store::maintenance::load_state(context.db(), context.now()).await?;
    let key_ring = &context.config.key_ring;
    let deleted = erasing::list_progress(context.db(), None, MAX_ERASING_LISTED).await?;
    let reseals = store::reseals::progress(context.db(), key_ring.sealing_key_id()).await?;
    Ok(Json::ok(StatusResponse::of(key_ring, state, reseals.as_ref(), deleted)))
}

pub(super) async fn get_health<P: Ports>(context: &Context<P>, _: &Call<'_>) -> Result<Json<HealthResponse>> {
    Ok(match context.check_key_ring_now().await {
        Ok(()) => Json::ok(HealthResponse::OK),
        Err(error) => {
            context.log_cause(&error);
            unhealthy_response()
        }
    })
}

/// No details: anybody may ask.
pub(super) fn unhealthy_response() -> Json<HealthResponse> {
    Json::new(503, HealthResponse::UNAVAILABLE)
}

/// The same while the operator changes the database.
pub(super) fn maintenance_response() -> Json<HealthResponse> {
    Json::new(503, HealthResponse::MAINTENANCE)
}

pub(super) async fn get_openapi<P: Ports>(_: &Context<P>, _: &Call<'_>) -> Result<Response> {
    Ok(Response::new(200, "application/json; charset=utf-8", openapi::DOCUMENT.to_owned()))
}
