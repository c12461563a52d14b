//! Workflows, for programs.

use percent_encoding::percent_decode_str;

use super::Call;
use super::body::{Json, ListResponse};
use super::input::QueryParams;
use super::responses::{PreflightResponse, WorkflowResponse, WorkflowUseResponse};
use crate::authorize::Caller;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::resolve::MAX_MIN_TTL;
use crate::workflows::{self, MAX_WORKFLOW_LENGTH, PreflightRequest};

/// Seconds for which a token must be valid, if the request does not say.
const DEFAULT_MIN_TTL: i64 = 60;

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
    let read_ttl = |text: &str| text.parse().ok().filter(|seconds| (0..=MAX_MIN_TTL).contains(seconds));
    let request = PreflightRequest {
        min_ttl: query
            .get_parsed("min_ttl", read_ttl, "must be a number of seconds from 0 to 86400.")?
            .unwrap_or(DEFAULT_MIN_TTL),
        environment: query.get_parsed("environment", Environment::parse, "must be production or test.")?,
    };
    let caller = Caller::Key(call.caller_key()?);
    let found = workflows::preflight(context, &caller, &workflow, request).await?;
    Ok(Json::ok(PreflightResponse::of(context, found)))
}

/// The workflow in the path. Its name is the caller's, so it may have characters that a path must escape.
fn path_workflow(call: &Call<'_>) -> Result<String> {
    let name = percent_decode_str(call.path_param(0)).decode_utf8().ok();
    let is_name = |name: &str| name.chars().count() <= MAX_WORKFLOW_LENGTH && !name.chars().any(char::is_control);
    name.filter(|name| is_name(name)).map(Into::into).ok_or_else(|| Error::not_found("workflow"))
}
