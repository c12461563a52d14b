//! Connections, for programs.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::body::{Json, ListResponse, Unread};
use super::input::QueryParams;
use super::links::{UserInput, parse_user};
use super::responses::{
    CheckedConnectionResponse, ConnectionResponse, DisconnectedResponse, ResolvedCredentialResponse,
    UpdatedConnectionResponse,
};
use super::{Call, access_log, authenticate_key, input};
use crate::app::AppId;
use crate::attention;
use crate::authorize::{self, Caller};
use crate::caller::KeyScope;
use crate::connection::ConnectionStatus;
use crate::connections;
use crate::context::Context;
use crate::disconnect;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::ids::ConnectionId;
use crate::on_demand_check;
use crate::ports::{Ports, RefreshOutcome};
use crate::preconditions::ReadState;
use crate::resolve::{self, ResolveRequest};
use crate::store::connections::{ConnectionFilter, ConnectionPatch, ListedConnection};
use crate::store::events::Event;
use crate::store::uses::Use;
use crate::time::Timestamp;

fn parse_path_id(call: &Call<'_>) -> Result<ConnectionId> {
    ConnectionId::parse(call.path_param(0)).ok_or_else(Error::connection_not_found)
}

/// The current connection, for an id that is not in the path, or after a change.
pub(super) async fn load_connection<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    id: &ConnectionId,
) -> Result<ListedConnection> {
    authorize::load_connection(context, &Caller::Key(call.caller_key()?), id).await
}

pub(super) async fn list_connections<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<ConnectionResponse>>> {
    let key = call.caller_key()?;
    let filters = QueryParams::parse_list_query_with(call.request, &FILTERS, METADATA_PREFIX)?;
    let text = |name| filters.get(name).map(str::to_owned);
    let (status, statuses) = filters.get("status").map(parse_statuses).transpose()?.unwrap_or_default();
    let without_user = filters.get("user") == Some(NO_USER);
    let own = Caller::Key(key).connection_filter();
    let asked = filters.get("ids").map(parse_ids).transpose()?;
    let metadata = filters.with_prefix(METADATA_PREFIX);
    let filter = ConnectionFilter {
        app: filters.get_parsed("app", AppId::parse, "is not an app's id.")?,
        status,
        statuses,
        user: text("user").filter(|_| !without_user),
        without_user,
        environment: filters.environment()?,
        metadata: Some(metadata).filter(|metadata| !metadata.is_empty()),
        updated_since: filters.get_parsed("updated_since", Timestamp::parse, TIME)?,
        connections: among(own.connections.as_deref(), asked),
        workflow: text("workflow"),
        text: text("q"),
        attention: filters.get("attention").map(parse_attention_code).transpose()?,
        after: filters.cursor(|text| input::parse_time_cursor(text, ConnectionId::parse))?,
        limit: filters.limit()?,
        ..own
    };
    let mut page = connections::list_connections(context, &key.workspace, &filter).await?;
    page.data.iter_mut().for_each(|listed| Caller::Key(key).hide_unseen(listed));
    Ok(Json::ok(ListResponse::of(page, |listed| ConnectionResponse::of(context, listed))))
}

/// The filters of a list of connections, beside those by metadata.
const FILTERS: [&str; 9] =
    ["app", "status", "user", "environment", "workflow", "q", "attention", "ids", "updated_since"];
/// How a filter by metadata begins. The key follows.
const METADATA_PREFIX: &str = "metadata.";
/// The value of `user` for connections without an owner.
const NO_USER: &str = "none";
const TIME: &str = "must be a time such as 2026-11-22T12:00:00Z.";
/// Ids that one request may name.
const MAX_IDS: usize = 200;

/// One status has an index. Several are looked for in all connections.
fn parse_statuses(text: &str) -> Result<(Option<ConnectionStatus>, Option<Vec<ConnectionStatus>>)> {
    let wrong = || {
        let problem = "must be connected, awaiting_confirmation or needs_reconnect, or several of them with commas.";
        Error::invalid_field("status", problem)
    };
    let all: Vec<_> =
        text.split(',').map(|one| ConnectionStatus::parse(one).ok_or_else(wrong)).collect::<Result<_>>()?;
    Ok(match all.as_slice() {
        [one] => (Some(*one), None),
        _ => (None, Some(all)),
    })
}

fn parse_ids(text: &str) -> Result<Vec<ConnectionId>> {
    let wrong = || Error::invalid_field("ids", "must be 1 to 200 ids of connections (con_…) with commas.");
    let all: Vec<_> = text.split(',').map(|one| ConnectionId::parse(one).ok_or_else(wrong)).collect::<Result<_>>()?;
    if all.len() <= MAX_IDS { Ok(all) } else { Err(wrong()) }
}

/// The ids that are asked for, among those that exist for the key.
fn among(own: Option<&[ConnectionId]>, asked: Option<Vec<ConnectionId>>) -> Option<Vec<ConnectionId>> {
    match (own, asked) {
        (own, None) => own.map(<[_]>::to_vec),
        (None, asked) => asked,
        (Some(own), Some(asked)) => Some(asked.into_iter().filter(|id| own.contains(id)).collect()),
    }
}

fn parse_attention_code(text: &str) -> Result<String> {
    let codes = attention::AttentionCode::ALL.map(attention::AttentionCode::as_str);
    if codes.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(Error::invalid_field("attention", format!("must be one of {}.", codes.join(", "))))
}

pub(super) async fn get_connection<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ConnectionResponse>> {
    let listed = call.path_connection()?;
    let state = ReadState::of_connection(&listed.connection);
    Ok(Json::ok(ConnectionResponse::of(context, listed.clone())).tagged(state))
}

/// The changes of a connection.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "UpdateConnectionRequest"))]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a list are three different wishes")]
pub(super) struct UpdateConnectionInput {
    /// Absent or null: unchanged. No control characters; surrounding spaces are removed.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: Option<String>,
    /// Replaces the map. Absent or null: unchanged.
    #[cfg_attr(test, schemars(with = "Option<super::openapi::Metadata>"))]
    metadata: Option<BTreeMap<String, String>>,
    /// Replaces the list. Absent: unchanged. Null: every workflow may use the connection.
    #[serde(default, deserialize_with = "input::present")]
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>", length(max = 50), inner(length(min = 1, max = 128))))]
    allowed_workflows: Option<Option<Vec<String>>>,
    /// The new owner. Absent: unchanged. Null: the whole workspace; needs `shared: true` unless it is shared.
    #[serde(default, deserialize_with = "input::present")]
    #[cfg_attr(test, schemars(with = "Option<UserInput>"))]
    owner: Option<Option<UserInput>>,
    /// Whether everybody of the workspace sees and uses it. Absent or null: unchanged. False needs an owner.
    shared: Option<bool>,
    /// What the account is for. Absent: unchanged. Null: unknown.
    #[serde(default, deserialize_with = "input::present")]
    #[cfg_attr(test, schemars(with = "Option<Environment>"))]
    environment: Option<Option<Environment>>,
}

pub(super) async fn update_connection<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, UpdateConnectionInput>,
) -> Result<Json<UpdatedConnectionResponse>> {
    let listed = call.path_connection()?;
    let input = body.read()?;
    if input.environment.is_some() {
        authorize::check_environment_change(call.caller_key()?)?;
    }
    let owner = input.owner.map(|owner| owner.map(parse_user).transpose()).transpose()?;
    let patch = ConnectionPatch {
        name: input.name,
        metadata: input.metadata,
        allowed_workflows: input.allowed_workflows,
        owner,
        shared: input.shared,
        environment: input.environment,
    };
    let (actor, if_match) = (call.key_actor()?, call.if_match()?);
    let edited = connections::edit_connection(context, &listed.connection, patch, &actor, &if_match).await?;
    let changed = load_connection(context, call, &listed.connection.id).await?;
    let state = ReadState::of_connection(&changed.connection);
    let shown = ConnectionResponse::of(context, changed);
    Ok(Json::ok(UpdatedConnectionResponse::of(shown, edited)).tagged(state))
}

pub(super) async fn delete_connection<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DisconnectedResponse>> {
    let connection = &call.path_connection()?.connection;
    let actor = call.key_actor()?;
    let condition = call.if_match()?.condition(Some(ReadState::of_connection(connection)))?;
    let (told, copies, ended) =
        disconnect::disconnect_if(context, &connection.workspace, &connection.id, &actor, &condition).await?;
    Ok(Json::ok(DisconnectedResponse::of(told, copies, ended)))
}

/// Checks now. The answer is the health with its evidence, whatever it is: a connection that needs a reconnect is not
/// an error here.
pub(super) async fn check_connection<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<CheckedConnectionResponse>> {
    let connection = &call.path_connection()?.connection;
    let outcome = on_demand_check::run(context, &connection.workspace, &connection.id).await;
    if outcome == RefreshOutcome::DatabaseUnavailable {
        return Err(crate::ports::DatabaseError::Unavailable("during a check".into()).into());
    }
    let listed = load_connection(context, call, &connection.id).await?;
    Ok(Json::ok(CheckedConnectionResponse::of(context, outcome, listed)))
}

pub(super) async fn resolve_connection<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, ResolveRequest>,
) -> Result<Json<ResolvedCredentialResponse>> {
    let presented = call.presented_key()?;
    let Ok(id) = parse_path_id(call) else {
        authorize::require_scope(&authenticate_key(context, call).await?, KeyScope::Resolve)?;
        return Err(Error::connection_not_found());
    };
    let request = body.read().and_then(ResolveRequest::validated);
    let asked = request.as_ref().ok().cloned();
    let answered = resolve::resolve(context, presented, &id, request).await?;
    let event = access_log::write_issued_credential(context, call, asked.as_ref(), &answered.resolved)?;
    let deferred = answered.deferred.into_iter().chain(event).collect();
    Ok(Json::ok(answered.resolved.into()).then(deferred))
}

pub(super) async fn list_connection_uses<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<Use>>> {
    let connection = &call.path_connection()?.connection;
    let filters = QueryParams::parse_list_query(call.request, &[])?;
    let after: (String, String) = filters.cursor(|text| serde_json::from_str(text).ok())?.unwrap_or_default();
    let after = (after.0.as_str(), after.1.as_str());
    let page = connections::list_uses(context, connection, after, filters.limit()?).await?;
    Ok(Json::ok(ListResponse::of(page, |one| one)))
}

pub(super) async fn list_connection_events<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<Event>>> {
    let connection = &call.path_connection()?.connection;
    let filters = QueryParams::parse_list_query(call.request, &[])?;
    let before = filters.cursor(|text| input::parse_time_cursor(text, |number| number.parse().ok()))?;
    let page = connections::list_events(context, connection, before, filters.limit()?).await?;
    Ok(Json::ok(ListResponse::of(page, |one| one)))
}
