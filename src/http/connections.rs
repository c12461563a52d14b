//! Connections, for programs.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::body::{Json, ListResponse, Unread};
use super::input::QueryParams;
use super::responses::{
    CheckedConnectionResponse, ConnectionResponse, DisconnectedResponse, ResolvedCredentialResponse,
    UpdatedConnectionResponse,
};
use super::{Call, access_log, authenticate_key, input};
use crate::app::AppId;
use crate::attention;
use crate::audit::{Actor, EventType};
use crate::authorize::{self, Caller};
use crate::cache::{CacheRemoval, CacheRemovalStatus};
use crate::caller::KeyScope;
use crate::connect::complete::MAX_NAME_LENGTH;
use crate::connection::{Connection, ConnectionStatus};
use crate::context::Context;
use crate::disconnect;
use crate::error::{Error, FieldError, Result};
use crate::ids::ConnectionId;
use crate::on_demand_check;
use crate::ports::{Database, Ports, RefreshOutcome};
use crate::resolve::{self, ResolveRequest};
use crate::store::connections::{self as rows, ConnectionFilter, ConnectionPatch, ListedConnection};
use crate::store::{events as event_rows, uses as use_rows};

/// Entries of `metadata` and `allowed_workflows`.
const MAX_ENTRIES: usize = 50;
/// Characters of a metadata value.
const MAX_METADATA_VALUE_LENGTH: usize = 500;

fn parse_path_id(call: &Call<'_>) -> Result<ConnectionId> {
    ConnectionId::parse(call.path_param(0)).ok_or_else(Error::connection_not_found)
}

/// A connection as it is now, by an id that does not stand in the path or after a change.
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
    let filters =
        QueryParams::parse_list_query(call.request, &["app", "status", "user", "workflow", "q", "attention"])?;
    let text = |name| filters.get(name).map(str::to_owned);
    let statuses = "must be connected, awaiting_confirmation or needs_reconnect.";
    let filter = ConnectionFilter {
        app: filters.get_parsed("app", AppId::parse, "is not an app's id.")?,
        status: filters.get_parsed("status", ConnectionStatus::parse, statuses)?,
        user: text("user"),
        workflow: text("workflow"),
        text: text("q"),
        attention: filters.get("attention").map(parse_attention_code).transpose()?,
        after: filters.cursor(|text| input::parse_time_cursor(text, ConnectionId::parse))?,
        limit: filters.limit()?,
        ..Caller::Key(key).connection_filter()
    };
    let page = rows::list(context.db(), &key.workspace, &filter, context.now()).await?;
    Ok(Json::ok(ListResponse::of(page, |listed| ConnectionResponse::of(context, listed))))
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
    Ok(Json::ok(ConnectionResponse::of(context, call.path_connection()?.clone())))
}

/// What is to be changed of a connection.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "UpdateConnectionRequest"))]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a list are three different wishes")]
pub(super) struct UpdateConnectionInput {
    /// Absent or null leaves it. No control characters; spaces around it are cut off.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: Option<String>,
    /// Replaces the map; absent or null leaves it.
    #[cfg_attr(test, schemars(with = "Option<super::openapi::Metadata>"))]
    metadata: Option<BTreeMap<String, String>>,
    /// Replaces the list; absent leaves it, null lets every workflow use the connection.
    #[serde(default, deserialize_with = "input::present")]
    #[cfg_attr(test, schemars(with = "Option<Vec<String>>", length(max = 50), inner(length(min = 1, max = 128))))]
    allowed_workflows: Option<Option<Vec<String>>>,
}

pub(super) async fn update_connection<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, UpdateConnectionInput>,
) -> Result<Json<UpdatedConnectionResponse>> {
    let listed = call.path_connection()?;
    let patch = validate_patch(body.read()?)?;
    let copies = edit_connection(context, listed, &patch, &call.key_actor()?).await?;
    let shown = ConnectionResponse::of(context, load_connection(context, call, &listed.connection.id).await?);
    Ok(Json::ok(UpdatedConnectionResponse::of(shown, copies)))
}

fn validate_patch(input: UpdateConnectionInput) -> Result<ConnectionPatch> {
    let mut errors = Vec::new();
    let mut wrong =
        |field: &str, problem: &str| errors.push(FieldError { field: field.into(), problem: problem.into() });
    let name = input.name.map(|name| input::parse_name("name", &name, MAX_NAME_LENGTH)).transpose()?;
    if input.metadata.as_ref().is_some_and(|metadata| !is_valid_metadata(metadata)) {
        wrong("metadata", METADATA_RULE);
    }
    if let Some(Some(list)) = &input.allowed_workflows
        && (list.len() > MAX_ENTRIES || list.iter().any(|name| name.is_empty() || name.chars().count() > 128))
    {
        wrong("allowed_workflows", "may have at most 50 names of 1 to 128 characters.");
    }
    if !errors.is_empty() {
        return Err(Error::invalid_fields(errors));
    }
    Ok(ConnectionPatch { name, metadata: input.metadata, allowed_workflows: input.allowed_workflows })
}

const METADATA_RULE: &str = "may have at most 50 entries, keys of at most 64 and values of at most 500 characters.";

fn is_valid_metadata(metadata: &BTreeMap<String, String>) -> bool {
    let fits = |(key, value): (&String, &String)| key.len() <= 64 && value.chars().count() <= MAX_METADATA_VALUE_LENGTH;
    metadata.len() <= MAX_ENTRIES && metadata.iter().all(fits)
}

pub(super) fn validate_metadata(metadata: &BTreeMap<String, String>) -> Result<()> {
    if is_valid_metadata(metadata) { Ok(()) } else { Err(Error::invalid_field("metadata", METADATA_RULE)) }
}

/// Writes an edit with its line in the audit trail, and takes the copy away that shows the old state. What changes
/// nothing is no edit.
/// Answers what became of that copy; `None` where nothing was changed.
pub(super) async fn edit_connection<P: Ports>(
    context: &Context<P>,
    listed: &ListedConnection,
    patch: &ConnectionPatch,
    actor: &Actor,
) -> Result<Option<CacheRemovalStatus>> {
    let connection = &listed.connection;
    let Some(changed) = describe_changes(connection, patch) else { return Ok(None) };
    let event =
        context.event_statement(&connection.workspace, &connection.id, EventType::Edited, actor, Some(&changed))?;
    let removal = CacheRemoval::of_connection(context, &connection.id)?;
    let mut statements = vec![rows::patch(&connection.workspace, &connection.id, patch), event];
    statements.extend(removal.insert_statement());
    context.db().batch(statements).await?;
    Ok(Some(removal.perform(context).await))
}

/// Which members an edit changes; the new name is told, too. A map or list is long and may say much, so it is not.
fn describe_changes(connection: &Connection, patch: &ConnectionPatch) -> Option<String> {
    let name = patch.name.as_ref().filter(|name| **name != connection.name).map(|name| format!("name: {name}"));
    let metadata = patch.metadata.as_ref().filter(|metadata| **metadata != connection.metadata);
    let workflows = patch.allowed_workflows.as_ref().filter(|list| **list != connection.allowed_workflows);
    let members = [metadata.map(|_| "metadata".to_owned()), workflows.map(|_| "allowed_workflows".to_owned()), name];
    let changed: Vec<_> = members.into_iter().flatten().collect();
    (!changed.is_empty()).then(|| changed.join(", "))
}

pub(super) async fn delete_connection<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DisconnectedResponse>> {
    let connection = &call.path_connection()?.connection;
    let actor = call.key_actor()?;
    let (told, copies) = disconnect::disconnect(context, &connection.workspace, &connection.id, &actor).await?;
    Ok(Json::ok(DisconnectedResponse::of(told, copies)))
}

/// Probes now. The answer is the health with its evidence, whatever it is: a dead connection is no error here.
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
    access_log::write_issued_credential(context, call, asked.as_ref(), &answered.resolved);
    Ok(Json::ok(answered.resolved.into()).then(answered.deferred))
}

pub(super) async fn list_connection_uses<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<use_rows::Use>>> {
    let connection = &call.path_connection()?.connection;
    let filters = QueryParams::parse_list_query(call.request, &[])?;
    let after: (String, String) = filters.cursor(|text| serde_json::from_str(text).ok())?.unwrap_or_default();
    let limit = filters.limit()?;
    let page = use_rows::list(context.db(), &connection.workspace, &connection.id, (&after.0, &after.1), limit).await?;
    Ok(Json::ok(ListResponse::of(page, |one| one)))
}

pub(super) async fn list_connection_events<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<event_rows::Event>>> {
    let connection = &call.path_connection()?.connection;
    let filters = QueryParams::parse_list_query(call.request, &[])?;
    let before = filters.cursor(event_rows::parse_cursor)?.unwrap_or_else(event_rows::start_position);
    let limit = filters.limit()?;
    let page = event_rows::list(context.db(), &connection.workspace, &connection.id, before, limit).await?;
    Ok(Json::ok(ListResponse::of(page, |one| one)))
}
