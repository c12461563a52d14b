//! Default connections of apps, for programs.

use serde::Deserialize;

use super::Call;
use super::apps::load_registered_app;
use super::body::{Json, ListResponse, Unread};
use super::input::QueryParams;
use super::responses::{ChangedDefaultResponse, DefaultResponse};
use crate::app::AppId;
use crate::authorize::{self, Caller};
use crate::context::Context;
use crate::defaults;
use crate::environment::Environment;
use crate::error::Result;
use crate::ids::ConnectionId;
use crate::names::{MAX_PERSON_LENGTH, parse_name};
use crate::ports::Ports;
use crate::store::defaults::DefaultSlot;

/// The connection that becomes the default.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PutDefaultRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct PutDefaultInput {
    connection: ConnectionId,
    /// The id of the user whose default it becomes: a connection of theirs, or a shared one. Absent or null: the
    /// workspace's, for which it must be shared.
    #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
    user: Option<String>,
    /// Only for steps that ask for this environment, which must be the connection's. Absent or null: for the others.
    environment: Option<Environment>,
}

pub(super) fn parse_user_id(user: Option<String>) -> Result<Option<String>> {
    user.map(|user| parse_name("user", &user, MAX_PERSON_LENGTH)).transpose()
}

pub(super) async fn put_default<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, PutDefaultInput>,
) -> Result<Json<ChangedDefaultResponse>> {
    load_registered_app(context, call).await?;
    let app = call.path_app()?.clone();
    let input = body.read()?;
    let slot = DefaultSlot { app, user: parse_user_id(input.user)?, environment: input.environment };
    let caller = Caller::Key(call.caller_key()?);
    let changed = defaults::put_default(context, &caller, slot, &input.connection, &call.key_actor()?).await?;
    Ok(Json::ok(ChangedDefaultResponse::of(changed)))
}

pub(super) async fn delete_default<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ChangedDefaultResponse>> {
    load_registered_app(context, call).await?;
    let app = call.path_app()?.clone();
    let query = QueryParams::parse_known(call.request, &["user", "environment"])?;
    let slot = DefaultSlot {
        app,
        user: parse_user_id(query.get("user").map(str::to_owned))?,
        environment: query.environment()?,
    };
    let workspace = &call.caller_key()?.workspace;
    let changed = defaults::delete_default(context, workspace, &slot, &call.key_actor()?).await?;
    Ok(Json::ok(ChangedDefaultResponse::of(changed)))
}

/// Those whose connections the key does not see are left out.
pub(super) async fn list_defaults<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<DefaultResponse>>> {
    let key = call.caller_key()?;
    let filters = QueryParams::parse_list_query(call.request, &["app"])?;
    let app = filters.get_parsed("app", AppId::parse, "is not an app's id.")?;
    let after = filters.cursor(|text| serde_json::from_str(text).ok())?.unwrap_or_default();
    let mut page = defaults::list_defaults(context, &key.workspace, app.as_ref(), &after, filters.limit()?).await?;
    page.data.retain(|one| {
        authorize::sees_connection_of(key, &one.default.connection, &one.default.slot.app, one.environment)
    });
    Ok(Json::ok(ListResponse::of(page, DefaultResponse::of)))
}
