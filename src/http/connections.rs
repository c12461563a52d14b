//! Connections, for programs.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::body::{Json, ListResponse, Unread};
use super::input::Filters;
use super::view::{
    CheckedConnectionResponse, ConnectionResponse, DisconnectedResponse, ResolvedCredentialResponse,
    UpdatedConnectionResponse,
};
use super::{Call, access_log, input, key_of};
use crate::app::AppId;
use crate::attention;
use crate::authorize::{self, Caller};
use crate::caller::Scope;
use crate::connect::settle::LONGEST_NAME;
use crate::connection::{Connection, Status};
use crate::core::Core;
use crate::disconnect;
use crate::error::{Error, FieldError, Result};
use crate::frozen;
use crate::ids::ConnectionId;
use crate::ports::{Database, ErrandOutcome, Ports};
use crate::resolve::removal::{CachedCopies, Removal};
use crate::resolve::{self, Ask};
use crate::shared;
use crate::store::connections::{self as rows, Filter, Listed, Patch};
use crate::store::{events as event_rows, uses as use_rows};

/// Entries of `metadata` and `allowed_workflows`.
const MOST_ENTRIES: usize = 50;
/// Characters of a metadata value.
const LONGEST_VALUE: usize = 500;

fn id(call: &Call<'_>) -> Result<ConnectionId> {
    ConnectionId::parse(call.param(0)).ok_or_else(Error::connection_not_found)
}

/// A connection as it is now, by an id that does not stand in the path or after a change.
pub(super) async fn by_id<P: Ports>(core: &Core<P>, call: &Call<'_>, id: &ConnectionId) -> Result<Listed> {
    authorize::connection(core, &Caller::Key(call.key()?), id).await
}

pub(super) async fn list<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<ListResponse<ConnectionResponse>>> {
    let key = call.key()?;
    let filters = Filters::of(call.request, &["app", "status", "user", "workflow", "q", "attention"])?;
    let text = |name| filters.get(name).map(str::to_owned);
    let statuses = "must be connected, awaiting_confirmation or needs_reconnect.";
    let filter = Filter {
        app: filters.read("app", AppId::parse, "is not an app's id.")?,
        status: filters.read("status", Status::parse, statuses)?,
        user: text("user"),
        workflow: text("workflow"),
        text: text("q"),
        attention: filters.get("attention").map(attention_code).transpose()?,
        after: filters.cursor(|text| input::position(text, ConnectionId::parse))?,
        limit: filters.limit()?,
        ..Caller::Key(key).connections()
    };
    let page = rows::list(core.db(), &key.workspace, &filter, core.now()).await?;
    Ok(Json::ok(ListResponse::of(page, |listed| ConnectionResponse::of(core, listed))))
}

fn attention_code(text: &str) -> Result<String> {
    let codes = attention::Code::ALL.map(attention::Code::as_str);
    if codes.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(Error::invalid("attention", format!("must be one of {}.", codes.join(", "))))
}

pub(super) async fn get<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<ConnectionResponse>> {
    Ok(Json::ok(ConnectionResponse::of(core, call.connection()?.clone())))
}

/// What is to be changed of a connection.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "UpdateConnectionRequest"))]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a list are three different wishes")]
pub(super) struct PatchInput {
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

pub(super) async fn patch<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    body: Unread<'_, PatchInput>,
) -> Result<Json<UpdatedConnectionResponse>> {
    let listed = call.connection()?;
    let patch = checked(body.read()?)?;
    let copies = edit(core, listed, &patch, &call.key_actor()?).await?;
    let shown = ConnectionResponse::of(core, by_id(core, call, &listed.connection.id).await?);
    Ok(Json::ok(UpdatedConnectionResponse::of(shown, copies)))
}

fn checked(input: PatchInput) -> Result<Patch> {
    let mut errors = Vec::new();
    let mut wrong =
        |field: &str, problem: &str| errors.push(FieldError { field: field.into(), problem: problem.into() });
    let name = input.name.map(|name| input::name("name", &name, LONGEST_NAME)).transpose()?;
    if input.metadata.as_ref().is_some_and(|metadata| !fits(metadata)) {
        wrong("metadata", METADATA_RULE);
    }
    if let Some(Some(list)) = &input.allowed_workflows
        && (list.len() > MOST_ENTRIES || list.iter().any(|name| name.is_empty() || name.chars().count() > 128))
    {
        wrong("allowed_workflows", "may have at most 50 names of 1 to 128 characters.");
    }
    if !errors.is_empty() {
        return Err(Error::invalid_fields(errors));
    }
    Ok(Patch { name, metadata: input.metadata, allowed_workflows: input.allowed_workflows })
}

const METADATA_RULE: &str = "may have at most 50 entries, keys of at most 64 and values of at most 500 characters.";

fn fits(metadata: &BTreeMap<String, String>) -> bool {
    let fits = |(key, value): (&String, &String)| key.len() <= 64 && value.chars().count() <= LONGEST_VALUE;
    metadata.len() <= MOST_ENTRIES && metadata.iter().all(fits)
}

pub(super) fn checked_metadata(metadata: &BTreeMap<String, String>) -> Result<()> {
    if fits(metadata) { Ok(()) } else { Err(Error::invalid("metadata", METADATA_RULE)) }
}

/// Writes an edit with its line in the audit trail, and takes the copy away that shows the old state. What changes
/// nothing is no edit.
/// Answers what became of that copy; `None` where nothing was changed.
pub(super) async fn edit<P: Ports>(
    core: &Core<P>,
    listed: &Listed,
    patch: &Patch,
    actor: &str,
) -> Result<Option<CachedCopies>> {
    let connection = &listed.connection;
    let Some(changed) = changed(connection, patch) else { return Ok(None) };
    let event = core.event(&connection.workspace, &connection.id, frozen::event::EDITED, actor, Some(&changed))?;
    let removal = Removal::of_connection(core, &connection.id)?;
    let mut statements = vec![rows::patch(&connection.workspace, &connection.id, patch), event];
    statements.extend(removal.note());
    core.db().batch(statements).await?;
    Ok(Some(removal.perform(core).await))
}

/// Which members an edit changes; the new name is told, too. A map or list is long and may say much, so it is not.
fn changed(connection: &Connection, patch: &Patch) -> Option<String> {
    let name = patch.name.as_ref().filter(|name| **name != connection.name).map(|name| format!("name: {name}"));
    let metadata = patch.metadata.as_ref().filter(|metadata| **metadata != connection.metadata);
    let workflows = patch.allowed_workflows.as_ref().filter(|list| **list != connection.allowed_workflows);
    let members = [metadata.map(|_| "metadata".to_owned()), workflows.map(|_| "allowed_workflows".to_owned()), name];
    let changed: Vec<_> = members.into_iter().flatten().collect();
    (!changed.is_empty()).then(|| changed.join(", "))
}

pub(super) async fn delete<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<DisconnectedResponse>> {
    let connection = &call.connection()?.connection;
    let actor = call.key_actor()?;
    let (told, copies) = disconnect::disconnect(core, &connection.workspace, &connection.id, &actor).await?;
    Ok(Json::ok(DisconnectedResponse::of(told, copies)))
}

/// Probes now. The answer is the health with its evidence, whatever it is: a dead connection is no error here.
pub(super) async fn check<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<CheckedConnectionResponse>> {
    let connection = &call.connection()?.connection;
    let outcome = shared::check(core, &connection.workspace, &connection.id).await;
    if outcome == ErrandOutcome::DatabaseDown {
        return Err(crate::ports::DatabaseError::Unavailable("during a check".into()).into());
    }
    let listed = by_id(core, call, &connection.id).await?;
    Ok(Json::ok(CheckedConnectionResponse::of(core, outcome, listed)))
}

pub(super) async fn resolve<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    body: Unread<'_, Ask>,
) -> Result<Json<ResolvedCredentialResponse>> {
    let presented = call.presented()?;
    let Ok(id) = id(call) else {
        key_of(core, call).await?.require(Scope::Resolve)?;
        return Err(Error::connection_not_found());
    };
    let ask = body.read().and_then(Ask::checked);
    let asked = ask.as_ref().ok().cloned();
    let answered = resolve::resolve(core, presented, &id, ask).await?;
    access_log::handed_out(core, call, asked.as_ref(), &answered.resolved);
    Ok(Json::ok(answered.resolved.into()).then(answered.after))
}

pub(super) async fn uses<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<ListResponse<use_rows::Use>>> {
    let connection = &call.connection()?.connection;
    let filters = Filters::of(call.request, &[])?;
    let after: (String, String) = filters.cursor(|text| serde_json::from_str(text).ok())?.unwrap_or_default();
    let limit = filters.limit()?;
    let page = use_rows::list(core.db(), &connection.workspace, &connection.id, (&after.0, &after.1), limit).await?;
    Ok(Json::ok(ListResponse::of(page, |one| one)))
}

pub(super) async fn events<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<ListResponse<event_rows::Event>>> {
    let connection = &call.connection()?.connection;
    let filters = Filters::of(call.request, &[])?;
    let before = filters.cursor(event_rows::cursor)?.unwrap_or_else(event_rows::newest);
    let limit = filters.limit()?;
    let page = event_rows::list(core.db(), &connection.workspace, &connection.id, before, limit).await?;
    Ok(Json::ok(ListResponse::of(page, |one| one)))
}
