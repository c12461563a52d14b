//! The panic button: every connection of an app, or of one of its OAuth clients, is denied at once and ended behind that.
//!
//! Owns the order. One row in the database denies all of them, however many there are; then the cache is told. From the
//! answer on nothing is served, whatever fails: the scheduled run tells the cache again, ends the connections a few at a
//! time, and has their grants revoked and erased like those of single disconnects. Refuses to touch what is made afterwards.

use crate::app::AppId;
use crate::audit::{Actor, EventType};
use crate::cache;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ids::{ClientId, JobId, WorkspaceId};
use crate::ports::{Cache, Ports};
use crate::registry;
use crate::store;
use crate::store::disconnect_jobs::{self, AffectedCounts, DisconnectJob, JobTarget};
use crate::store::events::EventSubject;

/// What the button would do.
#[derive(Debug)]
pub struct AffectedConnections {
    /// What it is about.
    pub target: JobTarget,
    /// What was counted.
    pub counts: AffectedCounts,
    /// A job of the same target that is not finished: it would go on.
    unfinished: Option<DisconnectJob>,
}

/// Counts what the button would end.
///
/// # Errors
/// There is no such app in the workspace, nor a connection of it, or no such client.
pub async fn count_affected<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    app: AppId,
    client: Option<ClientId>,
) -> Result<AffectedConnections> {
    if let Some(id) = &client
        && store::clients::get(context.db(), workspace, id).await?.is_none()
    {
        return Err(Error::invalid_field("client", "is no OAuth client of this workspace (cli_…)."));
    }
    let is_known = registry::load_current_app(context, workspace, &app).await?.is_some();
    let target = JobTarget { workspace: workspace.clone(), app, client };
    let (counts, unfinished) = disconnect_jobs::count_affected(context.db(), &target).await?;
    // Connections outlive the app that they are of.
    if !is_known && counts.connections == 0 {
        return Err(Error::not_found("app"));
    }
    Ok(AffectedConnections { target, counts, unfinished })
}

/// Denies them all. A job of the same target that is not finished goes on, and includes what was made since it began.
pub async fn disconnect_all<P: Ports>(
    context: &Context<P>,
    affected: AffectedConnections,
    reason: &str,
    actor: &Actor,
) -> Result<DisconnectJob> {
    let AffectedConnections { target, counts, unfinished } = affected;
    let id = match unfinished {
        Some(job) => job.id,
        None => JobId::random(context.ports.random(), target.workspace.shard())?,
    };
    let subject = EventSubject { app: Some(&target.app), target: Some(id.as_str()), ..EventSubject::default() };
    let of_client = target.client.as_ref().map(|client| format!("{client}: ")).unwrap_or_default();
    let detail = format!("{of_client}{reason}");
    let event =
        context.event_statement_about(&target.workspace, EventType::AppDisconnected, actor, subject, Some(&detail))?;
    let begin = disconnect_jobs::begin(&id, &target, reason, counts, context.now());
    let waiting = disconnect_jobs::end_waiting_grants(&target, context.now());
    let undo = disconnect_jobs::end_undo(&target, context.now());
    if !store::all_or_nothing(context.db(), begin, vec![event, waiting, undo]).await? {
        return Err(Error::not_found("workspace"));
    }
    let job = load_job(context, &target.workspace, &id).await?;
    for _ in 0..TRIES {
        match tell_cache(context, &job).await {
            Ok(true) => break,
            // Another button was pressed at the same moment: the cache is told of both.
            Ok(false) => {}
            Err(error) => {
                // Not worth an error: the connections are denied, and the scheduled run comes again.
                context.log_cause(&error);
                break;
            }
        }
    }
    load_job(context, &target.workspace, &id).await
}

/// A job of a workspace.
///
/// # Errors
/// `not_found`.
pub async fn load_job<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, id: &JobId) -> Result<DisconnectJob> {
    disconnect_jobs::get(context.db(), workspace, id).await?.ok_or_else(|| Error::not_found("job"))
}

/// How often the cache is told before the answer, if others press at the same moment.
const TRIES: usize = 2;

/// From then on no entry of the cache answers for the app. Returns false where another job has begun in the meantime, whose
/// app the entry may lack: then it is to be written again.
async fn tell_cache<P: Ports>(context: &Context<P>, job: &DisconnectJob) -> Result<bool> {
    if !context.ports.cache().is_bound() || job.tombstoned_at.is_some() {
        return Ok(true);
    }
    let (workspace, now) = (&job.target.workspace, context.now());
    let since = now.plus(-cache::TOMBSTONE_TTL);
    let apps = disconnect_jobs::list_denied_apps(context.db(), workspace, since).await?;
    if !cache::write_denied_apps(context, workspace, apps.as_deref()).await {
        return Ok(true);
    }
    // A workspace that was deleted in the meantime has a tombstone of its own, which was just overwritten.
    if store::workspaces::get(context.db(), workspace).await?.is_none() {
        cache::write_tombstone(context, workspace).await;
    }
    Ok(disconnect_jobs::mark_tombstoned(context.db(), job, apps.as_deref(), since, now).await?)
}

/// Subrequests that a step of a job takes.
pub(crate) const STEP_COST: i64 = 5;

/// A step of a job, by the scheduled run: the cache is told if it was not, and some connections are ended. A run takes up
/// those that no run has taken since `LEASE` seconds, so they count as ended before that.
pub(crate) async fn run_step<P: Ports>(
    context: &Context<P>,
    job: &DisconnectJob,
    lease: i64,
    limit: i64,
) -> Result<u64> {
    tell_cache(context, job).await?;
    let now = context.now();
    let has_cache = context.ports.cache().is_bound();
    Ok(disconnect_jobs::run_step(context.db(), job, now.plus(-lease), limit, has_cache, now).await?)
}
