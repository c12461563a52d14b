//! The deferred work of a resolve, after its answer. Nothing here can change the answer.

use serde_json::json;

use super::cache_entries::{self, CacheWrite};
use super::{CredentialPayload, ResolveRequest, report};
use crate::caller::{ApiKey, PresentedKey};
use crate::connection::{ChosenBy, Connection};
use crate::context::Context;
use crate::ids::{ConnectionId, Shard, WorkspaceId};
use crate::isolate_cache::ThrottledTask;
use crate::on_demand_check;
use crate::ports::{Database, Ports, RateLimit, RateLimiter, RefreshReason, RefreshRunner, Statement};
use crate::store;
use crate::store::uses::NewUse;
use crate::webhooks;

/// One deferred task.
#[derive(Debug, Clone)]
pub enum DeferredTask {
    /// An early refresh.
    Refresh(ConnectionId),
    /// Record who used which connections.
    RecordUses(Vec<NewUse>),
    /// Write the answer to the cache.
    WriteCacheEntry(Box<CacheWrite>),
    /// Check a connection whose credential the app has refused.
    CheckRefused(Box<Connection>),
    /// Check connections that an event of the app is about.
    CheckConnections {
        /// Their workspace.
        workspace: WorkspaceId,
        /// Their ids.
        connections: Vec<ConnectionId>,
    },
    /// Count the call of a valid key.
    CountCall(PresentedKey),
    /// Write a line of the audit log.
    WriteEvent {
        /// The shard of its workspace.
        shard: Shard,
        /// The statement that writes it.
        statement: Statement,
        /// Whether it must be written before the answer.
        is_durable: bool,
    },
    /// Send what is due to the webhooks of a workspace.
    SendWebhooks(WorkspaceId),
}

impl DeferredTask {
    fn shard(&self) -> Shard {
        match self {
            Self::Refresh(id) => id.shard(),
            Self::RecordUses(uses) => uses.first().map_or(Shard::FIRST, |one| one.connection.shard()),
            Self::WriteCacheEntry(write) => write.shard(),
            Self::CheckRefused(connection) => connection.id.shard(),
            // It reads no database.
            Self::CountCall(_) => Shard::FIRST,
            Self::WriteEvent { shard, .. } => *shard,
            Self::SendWebhooks(workspace) | Self::CheckConnections { workspace, .. } => workspace.shard(),
        }
    }

    /// A use is of the connection that was asked for, and remembers which one has answered for it.
    pub(super) fn record_use(
        answering: &Connection,
        requested: Option<&ConnectionId>,
        request: &ResolveRequest,
        chosen_by: ChosenBy,
    ) -> Self {
        Self::RecordUses(vec![NewUse {
            workspace: answering.workspace.clone(),
            connection: requested.unwrap_or(&answering.id).clone(),
            answered_by: requested.map(|_| answering.id.clone()),
            step: request.workflow.clone().map(|workflow| (workflow, request.step.clone().unwrap_or_default())),
            chosen_by,
        }])
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

async fn record_uses<P: Ports>(context: &Context<P>, uses: Vec<NewUse>) {
    let recorded = store::uses::record(context.db(), &uses, context.now()).await;
    if let Err(error) = &recorded {
        let ids: Vec<_> = uses.iter().map(|one| one.connection.as_str()).collect();
        let fields = json!({ "connection": ids.first(), "cause": format!("{error:?}") });
        context.log("warn", "use_not_recorded", &fields);
    }
    for NewUse { connection, step, .. } in uses {
        let noted = ThrottledTask::RecordUse { connection, step };
        match &recorded {
            Ok(()) => context.ports.isolate_cache().mark_task_done(&noted, context.now()),
            Err(_) => context.ports.isolate_cache().mark_task_failed(&noted),
        }
    }
}

async fn write_event<P: Ports>(context: &Context<P>, statement: Statement) {
    if let Err(error) = context.db().batch(vec![statement]).await {
        context.log("error", "event_not_written", &json!({ "cause": format!("{error:?}") }));
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
        DeferredTask::RecordUses(uses) => record_uses(context, uses).await,
        DeferredTask::WriteCacheEntry(copy) => cache_entries::write_entries(context, &copy).await,
        DeferredTask::CheckRefused(connection) => report::check_refused(context, &connection).await,
        DeferredTask::CheckConnections { workspace, connections } => {
            for id in &connections {
                on_demand_check::run(context, &workspace, id).await;
            }
        }
        DeferredTask::CountCall(key) => count_call(context, &key).await,
        DeferredTask::WriteEvent { statement, .. } => write_event(context, statement).await,
        DeferredTask::SendWebhooks(workspace) => webhooks::sending::send_due(context, &workspace).await,
    }
}
