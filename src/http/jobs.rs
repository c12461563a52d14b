//! The panic button and its jobs, for programs.

use serde::Deserialize;

use super::Call;
use super::body::{Json, Unread};
use super::responses::JobResponse;
use crate::app::AppId;
use crate::authorize::LoadedResource;
use crate::context::Context;
use crate::disconnect_all::{count_affected, disconnect_all};
use crate::error::{Error, Result};
use crate::ids::ClientId;
use crate::names::parse_name;
use crate::ports::Ports;
use crate::registry;
use crate::store::disconnect_jobs::DisconnectJob;

/// Longest reason, in characters.
const MAX_REASON_LENGTH: usize = 500;

/// What is to be disconnected, and why.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "DisconnectAllRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct DisconnectAllInput {
    /// The app's id once more. Not needed with `dry_run`.
    confirm: Option<AppId>,
    /// Why, for the audit log. Not needed with `dry_run`.
    #[cfg_attr(test, schemars(length(min = 1, max = 500)))]
    reason: Option<String>,
    /// Only the connections of this OAuth client.
    client: Option<ClientId>,
    /// Only count what would be disconnected.
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn create_job<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, DisconnectAllInput>,
) -> Result<Json<JobResponse>> {
    let missing = || Error::not_found("app");
    let workspace = &call.caller_key()?.workspace;
    let app = AppId::parse(call.path_param(0)).ok_or_else(missing)?;
    let unread = match body.read() {
        Ok(input) => input,
        // Who sends nonsense learns of an unknown app first, as on every route.
        Err(refused) => {
            registry::load_current_app(context, workspace, &app).await?.ok_or_else(missing)?;
            return Err(refused);
        }
    };
    let DisconnectAllInput { confirm, reason, client, dry_run } = unread;
    let affected = count_affected(context, workspace, app.clone(), client).await?;
    if dry_run {
        return Ok(Json::ok(JobResponse::of_dry_run(affected)));
    }
    if confirm.as_ref() != Some(&app) {
        let problem = format!("must be {app}: all its connections would be disconnected. Send dry_run to count them.");
        return Err(Error::invalid_field("confirm", problem));
    }
    let reason = reason.ok_or_else(|| Error::invalid_field("reason", "must be given, for the audit log."))?;
    let reason = parse_name("reason", &reason, MAX_REASON_LENGTH)?;
    let job = disconnect_all(context, affected, &reason, &call.key_actor()?).await?;
    Ok(Json::created(JobResponse::from(job)))
}

fn path_job<'a>(call: &'a Call<'_>) -> Result<&'a DisconnectJob> {
    match &call.subject {
        LoadedResource::Job(job) => Ok(job),
        _ => Err(super::undeclared_resource_error()),
    }
}

pub(super) async fn get_job<P: Ports>(_context: &Context<P>, call: &Call<'_>) -> Result<Json<JobResponse>> {
    Ok(Json::ok(JobResponse::from(path_job(call)?.clone())))
}
