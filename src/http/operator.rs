//! The operator's routes: workspaces, the state of the installation, its health, its description.

use serde::Deserialize;

use super::body::{Json, ListResponse, Unread};
use super::input::Filters;
use super::view::{
    CreatedWorkspaceResponse, DeletedWorkspaceResponse, HealthResponse, StatusResponse, WorkspaceStateResponse,
};
use super::{Call, Response, input, openapi};
use crate::caller::{Key, Scope, new_key};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{Shard, WorkspaceId};
use crate::ports::{Database, Ports};
use crate::resolve::cached;
use crate::store;
use crate::store::erasing::{self, Progress};
use crate::workspace::Workspace;

/// Deleted workspaces that the status lists.
const MOST_ERASING: i64 = 100;
/// Characters of a workspace's name, at most.
pub(super) const LONGEST_NAME: usize = 100;

/// A workspace that is to be made.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CreateWorkspaceRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct NewWorkspace {
    /// No control characters; spaces around it are cut off.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: String,
}

pub(super) async fn create_workspace<P: Ports>(
    core: &Core<P>,
    _: &Call<'_>,
    body: Unread<'_, NewWorkspace>,
) -> Result<Json<CreatedWorkspaceResponse>> {
    let new = body.read()?;
    let now = core.now();
    let workspace = Workspace {
        id: WorkspaceId::random(core.ports.random(), Shard::FIRST)?,
        name: input::name("name", &new.name, LONGEST_NAME)?,
        allowed_origins: vec![],
        created_at: now,
    };
    let (id, text, hash) = new_key(core.ports.random(), workspace.id.shard())?;
    let key = Key {
        id,
        workspace: workspace.id.clone(),
        name: "First key".into(),
        hash,
        scopes: vec![Scope::All],
        connections: None,
        apps: None,
        expires_at: None,
        created_at: Some(now),
        made_by: None,
        previous: None,
    };
    core.db().batch(vec![store::workspaces::insert(&workspace), store::keys::insert(&key)]).await?;
    Ok(Json::created(CreatedWorkspaceResponse::of(workspace, key, &text)))
}

pub(super) async fn list_workspaces<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<Workspace>>> {
    let filters = Filters::of(call.request, &[])?;
    let after = filters.cursor(WorkspaceId::parse)?;
    let after = after.as_ref().map(WorkspaceId::as_str).unwrap_or_default();
    let page = store::workspaces::list(core.db(), after, filters.limit()?).await?;
    Ok(Json::ok(ListResponse::of(page, |workspace| workspace)))
}

fn workspace_id(call: &Call<'_>) -> Result<WorkspaceId> {
    WorkspaceId::parse(call.param(0)).ok_or_else(|| Error::not_found("workspace"))
}

/// Refuses where the path names no workspace that is left.
pub(super) async fn find_workspace<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<()> {
    let id = workspace_id(call)?;
    let known = store::workspaces::get(core.db(), &id).await?.is_some() || progress_of(core, &id).await?.is_some();
    if known { Ok(()) } else { Err(Error::not_found("workspace")) }
}

/// How far the erasing of one workspace is; `None` when it was not deleted, or is gone.
async fn progress_of<P: Ports>(core: &Core<P>, id: &WorkspaceId) -> Result<Option<Progress>> {
    Ok(erasing::progress(core.db(), Some(id), 1).await?.into_iter().next())
}

/// Also one that was deleted and is not erased yet.
pub(super) async fn get_workspace<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<WorkspaceStateResponse>> {
    let id = workspace_id(call)?;
    if let Some(workspace) = store::workspaces::get(core.db(), &id).await? {
        return Ok(Json::ok(workspace.into()));
    }
    let progress = progress_of(core, &id).await?.ok_or_else(|| Error::not_found("workspace"))?;
    Ok(Json::ok(progress.into()))
}

/// Everybody is locked out by the answer; grants are revoked and rows erased by the clock. Reading the workspace tells
/// how far that is.
pub(super) async fn delete_workspace<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedWorkspaceResponse>> {
    let id = workspace_id(call)?;
    if !store::workspaces::mark_deleted(core.db(), &id, core.now()).await? {
        return Err(Error::not_found("workspace"));
    }
    let mut progress = progress_of(core, &id).await?.ok_or_else(|| Error::not_found("workspace"))?;
    if cached::write_tombstone(core, &id).await {
        let now = core.now();
        // A note that fails is written by the clock, with another tombstone.
        if let Err(error) = core.db().batch(vec![erasing::tombstoned(&[&id], now)]).await {
            core.log_cause(&error.into());
        }
        progress.tombstoned_at = Some(now);
    }
    Ok(Json::ok(progress.into()))
}

pub(super) async fn status<P: Ports>(core: &Core<P>, _: &Call<'_>) -> Result<Json<StatusResponse>> {
    let state = store::maintenance::state(core.db(), core.now()).await?;
    let ring = &core.config.ring;
    let deleted = erasing::progress(core.db(), None, MOST_ERASING).await?;
    let reseals = store::reseals::progress(core.db(), ring.sealing_id()).await?;
    Ok(Json::ok(StatusResponse::of(ring, state, reseals.as_ref(), deleted)))
}

pub(super) async fn health<P: Ports>(core: &Core<P>, _: &Call<'_>) -> Result<Json<HealthResponse>> {
    Ok(match core.check_ring_now().await {
        Ok(()) => Json::ok(HealthResponse::OK),
        Err(error) => {
            core.log_cause(&error);
            unhealthy()
        }
    })
}

/// No details: anybody may ask.
pub(super) fn unhealthy() -> Json<HealthResponse> {
    Json::new(503, HealthResponse::UNAVAILABLE)
}

/// The same while the operator changes the database.
pub(super) fn under_maintenance() -> Json<HealthResponse> {
    Json::new(503, HealthResponse::MAINTENANCE)
}

pub(super) async fn show_openapi<P: Ports>(_: &Core<P>, _: &Call<'_>) -> Result<Response> {
    Ok(Response::new(200, "application/json; charset=utf-8", openapi::DOCUMENT.to_owned()))
}
