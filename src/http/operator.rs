//! The operator's routes: workspaces, the status of the installation, its health, its description.

use serde::Deserialize;

use super::body::{Json, ListResponse, Unread};
use super::input::QueryParams;
use super::responses::{
    CreatedWorkspaceResponse, DeletedWorkspaceResponse, HealthResponse, PlacedWorkspace, StatusResponse,
    WorkspaceStateResponse,
};
use super::{Call, Response};
use crate::context::Context;
use crate::databases;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::WorkspaceId;
use crate::installation;
use crate::ports::Ports;
use crate::workspaces;

/// A workspace to create.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CreateWorkspaceRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct CreateWorkspaceInput {
    /// No control characters; surrounding spaces are removed.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: String,
    /// The number of the database that it will be in, for ever. Default: the one with the fewest workspaces that is not
    /// closed.
    #[serde(default)]
    #[cfg_attr(test, schemars(range(max = 999)))]
    database: Option<u16>,
}

pub(super) async fn create_workspace<P: Ports>(
    context: &Context<P>,
    _: &Call<'_>,
    body: Unread<'_, CreateWorkspaceInput>,
) -> Result<Json<CreatedWorkspaceResponse>> {
    let new = body.read()?;
    Ok(Json::created(workspaces::create_workspace(context, &new.name, new.database).await?.into()))
}

pub(super) async fn list_workspaces<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<PlacedWorkspace>>> {
    let filters = QueryParams::parse_list_query(call.request, &[])?;
    let after = filters.cursor(WorkspaceId::parse)?;
    let page = workspaces::list_workspaces(context, after.as_ref(), filters.limit()?).await?;
    Ok(Json::ok(ListResponse::of(page, PlacedWorkspace::from)))
}

fn parse_workspace_id(call: &Call<'_>) -> Result<WorkspaceId> {
    WorkspaceId::parse(call.path_param(0)).ok_or_else(|| Error::not_found("workspace"))
}

/// Refuses if the workspace in the path does not exist.
pub(super) async fn require_workspace<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<()> {
    workspaces::load_workspace_state(context, &parse_workspace_id(call)?).await.map(drop)
}

/// Also one that was deleted and is not erased yet.
pub(super) async fn get_workspace<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<WorkspaceStateResponse>> {
    Ok(Json::ok(workspaces::load_workspace_state(context, &parse_workspace_id(call)?).await?.into()))
}

/// All access is blocked from the answer on. Scheduled runs revoke grants and erase rows. Reading the workspace shows
/// the progress.
pub(super) async fn delete_workspace<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedWorkspaceResponse>> {
    Ok(Json::ok(workspaces::delete_workspace(context, &parse_workspace_id(call)?).await?.into()))
}

pub(super) async fn get_status<P: Ports>(context: &Context<P>, _: &Call<'_>) -> Result<Json<StatusResponse>> {
    let status = installation::load_status(context).await?;
    Ok(Json::ok(StatusResponse::of(context, status)))
}

pub(super) async fn get_health<P: Ports>(context: &Context<P>, _: &Call<'_>) -> Result<Json<HealthResponse>> {
    let checked = databases::require_all_working(context).await;
    Ok(checked.map_or_else(|_| unhealthy_response(), |()| Json::ok(HealthResponse::OK)))
}

/// No details, because anybody may ask.
pub(super) fn unhealthy_response() -> Json<HealthResponse> {
    Json::new(503, HealthResponse::UNAVAILABLE)
}

/// The same during maintenance.
pub(super) fn maintenance_response() -> Json<HealthResponse> {
    Json::new(503, HealthResponse::MAINTENANCE)
}

/// The description is a static file, which the platform serves before this program is asked.
pub(super) async fn get_openapi<P: Ports>(_: &Context<P>, _: &Call<'_>) -> Result<Response> {
    Err(Error::new(
        ErrorCode::NotFound,
        "This installation was deployed without its static files, and the description of the API is one of them. Deploy it with `npm run deploy`.",
    ))
}
