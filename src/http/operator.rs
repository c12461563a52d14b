//! The operator's routes: workspaces, the state of the installation, its health, its description.

use serde::Deserialize;
use serde_json::json;

use super::input::Filters;
use super::{Call, Response, input, openapi};
use crate::caller::{Key, Scope, new_key};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::WorkspaceId;
use crate::ports::{Database, Ports};
use crate::resolve::cached;
use crate::store;
use crate::store::maintenance::State;
use crate::store::reseals::Progress;
use crate::workspace::Workspace;

/// Keys whose copies are taken away while the operator waits; the clock does the rest.
const KEYS_AT_ONCE: i64 = 20;
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
        id: WorkspaceId::random(core.ports.random())?,
        name: input::name("name", &new.name, LONGEST_NAME)?,
        allowed_origins: vec![],
        created_at: now,
    };
    let (id, text, hash) = new_key(core.ports.random())?;
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

/// The workspace that the path names.
pub(super) async fn find_workspace<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Workspace> {
    let missing = || Error::not_found("workspace");
    let id = WorkspaceId::parse(call.param(0)).ok_or_else(missing)?;
    store::workspaces::get(core.db(), &id).await?.ok_or_else(missing)
}

/// Everybody is locked out by the answer; grants are revoked and rows erased by the clock.
pub(super) async fn delete_workspace<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let missing = || Error::not_found("workspace");
    let id = WorkspaceId::parse(call.param(0)).ok_or_else(missing)?;
    let keys = store::keys::list(core.db(), &id, "", KEYS_AT_ONCE).await?;
    if !store::workspaces::mark_deleted(core.db(), &id, core.now()).await? {
        return Err(missing());
    }
    // Their copies must not open doors until the clock comes by.
    for key in keys.data {
        cached::forget_key(core, &key.id).await;
    }
    Ok(Response::json(200, &json!({ "id": id, "deleted": true, "erasing": true })))
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
    let progress = store::reseals::progress(core.db(), ring.sealing_id()).await?;
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "migrations": state.migrations,
        "keys": keys,
        "reseal": reseal(progress.as_ref(), ring.sealing_id(), &state),
        "due_checks": state.due,
        "last_cron_run": last_run,
    });
    Ok(Response::json(200, &body))
}

/// What remains is counted now, whatever a walk believes: also what came after it had ended.
fn reseal(progress: Option<&Progress>, key: &str, state: &State) -> serde_json::Value {
    let remaining: i64 = state.sealed_under.iter().filter(|(id, _)| id != key).map(|(_, rows)| rows).sum();
    let progress_state = match progress {
        None => "idle",
        Some(Progress { finished_at: None, .. }) => "running",
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

pub(super) async fn show_openapi<P: Ports>(_: &Core<P>, _: &Call<'_>) -> Result<Response> {
    Ok(Response::new(200, "application/json; charset=utf-8", openapi::DOCUMENT.to_owned()))
}
