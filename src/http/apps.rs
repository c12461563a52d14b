//! Apps, for programs: all that a workspace knows, and its own.

use super::Call;
use super::body::{DeletedResponse, Json, ListResponse, Unread};
use super::input::QueryParams;
use super::responses::{AppDetailsResponse, UpdatedAppResponse};
use crate::app::{App, AppId};
use crate::app_list::{self, AppFilter, ListedApp};
use crate::context::Context;
use crate::custom_apps;
use crate::error::Result;
use crate::oauth_clients;
use crate::ports::Ports;
use crate::preconditions::ReadState;
use crate::registry::{self, AppRevision};
use crate::store::apps::AppRow;

pub(super) async fn load_registered_app<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<AppRevision> {
    registry::require_current_app(context, &call.caller_key()?.workspace, call.path_app()?).await
}

pub(super) async fn list_apps<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<AppDetailsResponse>>> {
    let filters = QueryParams::parse_list_query(call.request, &["q", "category"])?;
    let filter = AppFilter {
        text: filters.get("q").map(str::to_owned),
        category: filters.get("category").map(str::to_owned),
        after: filters.cursor(AppId::parse)?,
        limit: filters.limit()?,
    };
    let key = call.caller_key()?;
    let (page, clients) = app_list::list_apps(context, key, &filter).await?;
    let shown = |one: &ListedApp| {
        let custom = matches!(one, ListedApp::Custom(_));
        Some(AppDetailsResponse::of(context, &key.workspace, &clients, &*one.load_app()?, custom))
    };
    let data = page.data.iter().filter_map(shown).collect();
    Ok(Json::ok(ListResponse { data, next_cursor: page.next }))
}

pub(super) async fn get_app<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<AppDetailsResponse>> {
    let one = load_registered_app(context, call).await?;
    let read = AppRow { id: one.app.id.clone(), revision: one.revision, definition: String::new() };
    let state = ReadState::of_app(&call.caller_key()?.workspace, &read);
    Ok(Json::ok(app_json(context, call, &one.app, one.revision > 0).await?).tagged(state))
}

async fn app_json<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    app: &App,
    custom: bool,
) -> Result<AppDetailsResponse> {
    let workspace = &call.caller_key()?.workspace;
    let clients = oauth_clients::list_clients(context, workspace).await?;
    Ok(AppDetailsResponse::of(context, workspace, &clients, app, custom))
}

/// An app's definition, at most 64 KB. The reader of the catalogue reads it, not serde.
pub(super) struct CustomAppRequest;

pub(super) async fn create_app<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, CustomAppRequest>,
) -> Result<Json<AppDetailsResponse>> {
    let app = custom_apps::create_custom_app(context, &call.caller_key()?.workspace, body.text()?, &call.key_actor()?)
        .await?;
    Ok(Json::created(app_json(context, call, &app, true).await?))
}

pub(super) async fn update_app<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, CustomAppRequest>,
) -> Result<Json<UpdatedAppResponse>> {
    let workspace = &call.caller_key()?.workspace;
    let current = custom_apps::load_custom_app(context, workspace, call.path_app()?).await?;
    let actor = call.key_actor()?;
    let (app, connections) =
        custom_apps::replace_custom_app(context, workspace, &current, body.text()?, &actor, &call.if_match()?).await?;
    Ok(Json::ok(UpdatedAppResponse::of(app_json(context, call, &app, true).await?, connections)))
}

pub(super) async fn delete_app<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedResponse<AppId>>> {
    let id = call.path_app()?;
    custom_apps::remove_custom_app(context, &call.caller_key()?.workspace, id, &call.key_actor()?, &call.if_match()?)
        .await?;
    Ok(Json::ok(DeletedResponse::of(id.clone())))
}
