//! The deferred work of a resolve, after its answer. Nothing here can change the answer.

use serde_json::json;

use super::cache_entries::{self, CacheWrite};
use super::{CredentialPayload, ResolveRequest};
use crate::caller::{ApiKey, PresentedKey};
use crate::connection::Connection;
use crate::context::Context;
use crate::ids::{ConnectionId, Shard, WorkspaceId};
use crate::isolate_cache::ThrottledTask;
use crate::ports::{Ports, RateLimit, RateLimiter, RefreshReason, RefreshRunner};
use crate::store;

/// One deferred task.
#[derive(Debug, Clone)]
pub enum DeferredTask {
    /// An early refresh.
    Refresh(ConnectionId),
    /// Record who used the connection.
    RecordUse {
        /// The workspace.
        workspace: WorkspaceId,
        /// The connection.
        connection: ConnectionId,
        /// Workflow and step, if the caller named them.
        step: Option<(String, String)>,
    },
    /// Write the answer to the cache.
    WriteCacheEntry(Box<CacheWrite>),
    /// Count the call of a valid key.
    CountCall(PresentedKey),
}

impl DeferredTask {
    fn shard(&self) -> Shard {
        match self {
            Self::Refresh(id) => id.shard(),
            Self::RecordUse { connection, .. } => connection.shard(),
            Self::WriteCacheEntry(write) => write.shard(),
            // It reads no database.
            Self::CountCall(_) => Shard::FIRST,
        }
    }

    pub(super) fn record_use(connection: &Connection, request: &ResolveRequest) -> Self {
        Self::RecordUse {
            workspace: connection.workspace.clone(),
            connection: connection.id.clone(),
            step: request.workflow.clone().map(|workflow| (workflow, request.step.clone().unwrap_or_default())),
        }
    }

    pub(super) fn write_cache_entry(connection: &Connection, issued: &CredentialPayload, key: &ApiKey) -> Self {
        Self::WriteCacheEntry(Box::new(CacheWrite::new(connection, issued, key)))
    }
}

/// Counts a call. A key with too many calls is refused for a while by this isolate.
async fn count_call<P: Ports>(context: &Context<P>, key: &PresentedKey) {
    if !context.ports.rate_limiter().allows(RateLimit::Calls, key.id.as_str()).await {
        let now = context.now();
        context.ports.isolate_cache().block_caller(&key.rate_limit_key(), now.plus(RateLimit::KEY_PAUSE), now);
    }
}

/// Runs the task, in the shard that it is about. Failures are logged: the caller already has its answer.
pub async fn run<P: Ports>(context: &Context<P>, after: DeferredTask) {
    let shard = after.shard();
    let Some(context) = &context.in_shard(shard) else { return };
    match after {
        DeferredTask::Refresh(id) => {
            context.ports.refresher().run(&id, RefreshReason::Early).await;
        }
        DeferredTask::RecordUse { workspace, connection, step } => {
            let noted = ThrottledTask::RecordUse { connection: connection.clone(), step: step.clone() };
            let step = step.as_ref().map(|(workflow, step)| (workflow.as_str(), step.as_str()));
            if let Err(error) = store::uses::record(context.db(), &workspace, &connection, step, context.now()).await {
                context.ports.isolate_cache().mark_task_failed(&noted);
                context.log(
                    "warn",
                    "use_not_recorded",
                    &json!({ "connection": connection.as_str(), "cause": format!("{error:?}") }),
                );
            } else {
                context.ports.isolate_cache().mark_task_done(&noted, context.now());
            }
        }
        DeferredTask::WriteCacheEntry(copy) => cache_entries::write_entries(context, &copy).await,
        DeferredTask::CountCall(key) => count_call(context, &key).await,
    }
}
