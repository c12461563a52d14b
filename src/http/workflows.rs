//! Workflows, for programs.

use percent_encoding::percent_decode_str;

use super::Call;
use super::body::{Json, ListResponse};
use super::input::QueryParams;
use super::responses::{PreflightResponse, WorkflowResponse, WorkflowUseResponse};
use crate::authorize::Caller;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::names::MAX_WORKFLOW_LENGTH;
use crate::ports::Ports;
use crate::resolve::{Expectations, ResolveRequest};
use crate::workflows;

pub(super) async fn list_workflows<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<WorkflowResponse>>> {
    let filters = QueryParams::parse_list_query(call.request, &["q"])?;
    let after = filters.cursor(|text| serde_json::from_str(text).ok())?.unwrap_or_default();
    let prefix = filters.get("q").unwrap_or_default();
    let caller = Caller::Key(call.caller_key()?);
    let page = workflows::list_workflows(context, &caller, prefix, &after, filters.limit()?).await?;
    Ok(Json::ok(ListResponse::of(page, WorkflowResponse::of)))
}

pub(super) async fn get_workflow<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<WorkflowUseResponse>>> {
    let workflow = path_workflow(call)?;
    let filters = QueryParams::parse_list_query(call.request, &[])?;
    let after: Option<(String, String)> = filters.cursor(|text| serde_json::from_str(text).ok())?;
    let caller = Caller::Key(call.caller_key()?);
    let page = workflows::list_workflow_uses(context, &caller, &workflow, after.as_ref(), filters.limit()?).await?;
    Ok(Json::ok(ListResponse::of(page, WorkflowUseResponse::of)))
}

pub(super) async fn preflight<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<PreflightResponse>> {
    let workflow = path_workflow(call)?;
    let query = QueryParams::parse_known(call.request, &["min_ttl", "environment"])?;
    let default = ResolveRequest::default();
    let min_ttl =
        query.get_parsed("min_ttl", |text| text.parse().ok(), "must be a number of seconds from 0 to 86400.")?;
    let request = ResolveRequest {
        min_ttl: min_ttl.unwrap_or(default.min_ttl),
        expect: Expectations { environment: query.environment()?, ..Expectations::default() },
        workflow: Some(workflow.clone()),
        ..default
    }
    .validated()?;
    let caller = Caller::Key(call.caller_key()?);
    let found = workflows::preflight(context, &caller, &workflow, &request).await?;
    Ok(Json::ok(PreflightResponse::of(found)))
}

/// The workflow in the path. Its name is the caller's, so it may have characters that a path must escape.
pub(super) fn path_workflow(call: &Call<'_>) -> Result<String> {
    let name = percent_decode_str(call.path_param(0)).decode_utf8().ok();
    let is_name = |name: &str| name.chars().count() <= MAX_WORKFLOW_LENGTH && !name.chars().any(char::is_control);
    name.filter(|name| is_name(name)).map(Into::into).ok_or_else(|| Error::not_found("workflow"))
}
