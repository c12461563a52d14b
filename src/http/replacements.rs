//! What answers for a connection, for programs.

use serde::Deserialize;

use super::Call;
use super::body::{Json, Unread};
use super::connections::load_connection;
use super::responses::{AcknowledgedResponse, ReplacementResponse};
use crate::context::Context;
use crate::error::Result;
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::replacements;

/// The connection that is to answer.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ReplaceConnectionRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaceConnectionInput {
    /// The connection that answers from now on: of the same app, and seen by everybody who sees the replaced one.
    with: ConnectionId,
    /// Whether the two may be for different environments. Default: false.
    #[serde(default)]
    across_environments: bool,
}

/// What the body names must exist for the key, as what the path names does.
pub(super) async fn replace_connection<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, ReplaceConnectionInput>,
) -> Result<Json<ReplacementResponse>> {
    let listed = call.path_connection()?;
    let input = body.read()?;
    let with = load_connection(context, call, &input.with).await?;
    let (actor, if_match) = (call.key_actor()?, call.if_match()?);
    let changed = replacements::replace(context, listed, &with, input.across_environments, &actor, &if_match).await?;
    Ok(Json::ok(ReplacementResponse::of(changed)))
}

pub(super) async fn undo_replacement<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ReplacementResponse>> {
    let connection = &call.path_connection()?.connection;
    let changed = replacements::undo(context, connection, &call.key_actor()?, &call.if_match()?).await?;
    Ok(Json::ok(ReplacementResponse::of(changed)))
}

pub(super) async fn acknowledge_step_changes<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<AcknowledgedResponse>> {
    let connection = &call.path_connection()?.connection;
    let acknowledged = replacements::acknowledge_changes(context, connection, &call.key_actor()?).await?;
    Ok(Json::ok(AcknowledgedResponse { acknowledged }))
}
