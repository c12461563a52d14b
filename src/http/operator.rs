//! The operator's routes: workspaces, the state of the installation, its health, its description.

use serde::Deserialize;
use serde_json::json;

use super::input::Filters;
use super::{Call, Response, input, openapi, view};
use crate::caller::{Key, Scope, new_key};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{Shard, WorkspaceId};
use crate::ports::{Database, Ports};
use crate::resolve::cached;
use crate::resolve::removal::{self, CachedCopies};
use crate::store;
use crate::store::erasing::{self, Progress};
use crate::store::maintenance::State;
use crate::store::reseals;
use crate::workspace::Workspace;

/// Deleted workspaces that the status lists.
const MOST_ERASING: i64 = 100;
/// Characters of a workspace's name, at most.
pub(super) const LONGEST_NAME: usize = 100;
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewWorkspace {
    name: String,
}

pub(super) async fn create_workspace<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let new: NewWorkspace = input::json(call.request)?;
    let now = core.now();
    let workspace = Workspace {
        id: WorkspaceId::random(core.ports.random(), Shard::FIRST)?,
        name: input::name("name", &new.name, LONGEST_NAME)?,
        allowed_origins: vec![],
        created_at: now,
    };
    let (id, text, hash) = new_key(core.ports.random(), workspace.id.shard())?;
    let key = Key {
        id,
        workspace: workspace.id.clone(),
        name: "First key".into(),
        hash,
        scopes: vec![Scope::All],
        connections: None,
        apps: None,
        expires_at: None,
        created_at: Some(now),
        made_by: None,
        previous: None,
    };
    core.db().batch(vec![store::workspaces::insert(&workspace), store::keys::insert(&key)]).await?;
    let body = json!({
        "id": workspace.id,
        "name": workspace.name,
        "created_at": workspace.created_at,
        "key": { "id": key.id, "name": key.name, "key": text.expose(), "scopes": key.scopes },
    });
    Ok(Response::json(201, &body))
}

pub(super) async fn list_workspaces<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let filters = Filters::of(call.request, &[])?;
    let after = filters.cursor(WorkspaceId::parse)?;
    let after = after.as_ref().map(WorkspaceId::as_str).unwrap_or_default();
    let page = store::workspaces::list(core.db(), after, filters.limit()?).await?;
    Ok(Response::json(200, &input::list(&page, |workspace| json!(workspace))))
}

fn workspace_id(call: &Call<'_>) -> Result<WorkspaceId> {
    WorkspaceId::parse(call.param(0)).ok_or_else(|| Error::not_found("workspace"))
}

/// Refuses where the path names no workspace that is left.
pub(super) async fn find_workspace<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<()> {
    let id = workspace_id(call)?;
    let known = store::workspaces::get(core.db(), &id).await?.is_some() || progress_of(core, &id).await?.is_some();
    if known { Ok(()) } else { Err(Error::not_found("workspace")) }
}

/// How far the erasing of one workspace is; `None` when it was not deleted, or is gone.
async fn progress_of<P: Ports>(core: &Core<P>, id: &WorkspaceId) -> Result<Option<Progress>> {
    Ok(erasing::progress(core.db(), Some(id), 1).await?.into_iter().next())
}

fn shown_progress(progress: &Progress) -> serde_json::Value {
    json!({
        "connections_left": progress.connections_left,
        "revocations_left": progress.revocations_left,
    })
}

/// Without a tombstone every copy lives until its own end.
fn copies(progress: &Progress) -> CachedCopies {
    match progress.tombstoned_at {
        Some(_) => CachedCopies::Removed,
        None => CachedCopies::Retrying { until: removal::ends_at(progress.deleted_at) },
    }
}

/// Also one that was deleted and is not erased yet.
pub(super) async fn get_workspace<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let id = workspace_id(call)?;
    if let Some(workspace) = store::workspaces::get(core.db(), &id).await? {
        let not_deleted = ["deleted_at", "cached_copies", "erasing"].map(|name| (name, serde_json::Value::Null));
        return Ok(Response::json(200, &view::with(json!(workspace), not_deleted)));
    }
    let progress = progress_of(core, &id).await?.ok_or_else(|| Error::not_found("workspace"))?;
    let shown = json!({
        "id": progress.workspace,
        "name": progress.name,
        "allowed_origins": [],
        "created_at": progress.created_at,
        "deleted_at": progress.deleted_at,
        "cached_copies": copies(&progress),
        "erasing": shown_progress(&progress),
    });
    Ok(Response::json(200, &shown))
}

/// Everybody is locked out by the answer; grants are revoked and rows erased by the clock. Reading the workspace tells
/// how far that is.
pub(super) async fn delete_workspace<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let id = workspace_id(call)?;
    if !store::workspaces::mark_deleted(core.db(), &id, core.now()).await? {
        return Err(Error::not_found("workspace"));
    }
    let mut progress = progress_of(core, &id).await?.ok_or_else(|| Error::not_found("workspace"))?;
    if cached::write_tombstone(core, &id).await {
        let now = core.now();
        // A note that fails is written by the clock, with another tombstone.
        if let Err(error) = core.db().batch(vec![erasing::tombstoned(&[&id], now)]).await {
            core.log_cause(&error.into());
        }
        progress.tombstoned_at = Some(now);
    }
    let body = json!({
        "id": id,
        "deleted": true,
        "deleted_at": progress.deleted_at,
        "cached_copies": copies(&progress),
        "erasing": shown_progress(&progress),
    });
    Ok(Response::json(200, &body))
}

pub(super) async fn status<P: Ports>(core: &Core<P>, _: &Call<'_>) -> Result<Response> {
    let state = store::maintenance::state(core.db(), core.now()).await?;
    let ring = &core.config.ring;
    let mut keys: Vec<_> = ring
        .ids()
        .map(|id| json!({ "id": id, "on_ring": true, "seals": id == ring.sealing_id(), "rows": rows(&state, id) }))
        .collect();
    let lost = state.sealed_under.iter().filter(|(id, _)| ring.ids().all(|known| known != id));
    keys.extend(lost.map(|(id, rows)| json!({ "id": id, "on_ring": false, "seals": false, "rows": rows })));
    let last_run = state.last_run.as_ref().map(|(started, finished, summary)| {
        let summary = summary.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        json!({ "started_at": started, "finished_at": finished, "summary": summary })
    });
    let deleted = erasing::progress(core.db(), None, MOST_ERASING).await?;
    let erasing: Vec<_> = deleted.iter().map(in_status).collect();
    let progress = store::reseals::progress(core.db(), ring.sealing_id()).await?;
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "migrations": state.migrations,
        "keys": keys,
        "reseal": reseal(progress.as_ref(), ring.sealing_id(), &state),
        "due_checks": state.due,
        "cached_copies_left": state.cache_deletes,
        "erasing": erasing,
        "last_cron_run": last_run,
    });
    Ok(Response::json(200, &body))
}

fn in_status(progress: &Progress) -> serde_json::Value {
    json!({
        "workspace": progress.workspace,
        "deleted_at": progress.deleted_at,
        "connections_left": progress.connections_left,
        "revocations_left": progress.revocations_left,
        "cached_copies": copies(progress),
    })
}

/// What remains is counted now, whatever a walk believes: also what came after it had ended.
fn reseal(progress: Option<&reseals::Progress>, key: &str, state: &State) -> serde_json::Value {
    let remaining: i64 = state.sealed_under.iter().filter(|(id, _)| id != key).map(|(_, rows)| rows).sum();
    let progress_state = match progress {
        None => "idle",
        Some(reseals::Progress { finished_at: None, .. }) => "running",
        Some(_) => "finished",
    };
    json!({
        "key": key,
        "state": progress_state,
        "remaining": remaining,
        "resealed": progress.map_or(0, |p| p.resealed),
        "unreadable": progress.map_or(0, |p| p.unreadable),
        "pass": progress.map_or(0, |p| p.pass),
        "started_at": progress.map(|p| p.started_at),
        "next_pass_at": progress.and_then(|p| p.next_pass_at),
        "finished_at": progress.and_then(|p| p.finished_at),
    })
}

fn rows(state: &State, id: &str) -> i64 {
    state.sealed_under.iter().find(|(known, _)| known == id).map_or(0, |(_, rows)| *rows)
}

pub(super) async fn health<P: Ports>(core: &Core<P>, _: &Call<'_>) -> Result<Response> {
    Ok(match core.check_ring_now().await {
        Ok(()) => Response::json(200, &json!({ "status": "ok" })),
        Err(error) => {
            core.log_cause(&error);
            unhealthy()
        }
    })
}

/// No details: anybody may ask.
pub(super) fn unhealthy() -> Response {
    Response::json(503, &json!({ "status": "unavailable" }))
}

/// The same while the operator changes the database.
pub(super) fn under_maintenance() -> Response {
    Response::json(503, &json!({ "status": "maintenance" }))
}

pub(super) async fn show_openapi<P: Ports>(_: &Core<P>, _: &Call<'_>) -> Result<Response> {
    Ok(Response::new(200, "application/json; charset=utf-8", openapi::DOCUMENT.to_owned()))
}
