//! Resolves that name an app instead of a connection, and several at once.
//!
//! Owns that all of them cost one statement before their answer, that their refreshes run side by side within what a
//! request may do on the free plan, and that one of them never spoils another. Which connection an app means is decided
//! in the statement itself. Never reads the cache: a default is what the database says now.

use futures_util::StreamExt as _;
use futures_util::stream;

use super::freshness::FreshnessDecision;
use super::{
    CountedResolve, DeferredTask, PermittedResolve, ResolveRequest, ResolveResult, finish, freshness, load_refreshed,
    load_usable_credential, permit,
};
use crate::app::AppId;
use crate::authorize;
use crate::caller::{ApiKey, KeyScope, PresentedKey};
use crate::connection::Connection;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{CandidateConnection, Error, ErrorCode, Result};
use crate::ids::ConnectionId;
use crate::metrics;
use crate::ports::{DatabaseError, MetricEvent, Ports, RefreshOutcome, RefreshReason, RefreshRunner};
use crate::registry;
use crate::store::StoreResult;
use crate::store::connections::{self, AskedItem, ResolveData};
use crate::time::Timestamp;

/// Most items of one call.
pub const MAX_ITEMS: usize = 20;
/// Refreshes under way at once: the platform opens six connections per request.
const MAX_CONCURRENT: usize = 6;
/// Subrequests that refreshes may take, of the 50 that a request has on the free plan. The rest is for the reading before
/// and after them, for clients that are looked up to explain a refusal, and for recording uses.
const REFRESH_BUDGET: i64 = 36;

/// What an item names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveTarget {
    /// A connection.
    Connection(ConnectionId),
    /// An app: the user's default, the workspace's, or the only connection that the user sees.
    App {
        /// The app.
        app: AppId,
        /// The user. None: nobody in particular, who sees shared connections.
        user: Option<String>,
        /// The environment. None: any.
        environment: Option<Environment>,
    },
}

/// One item.
#[derive(Debug)]
pub struct ResolveItem {
    /// What it names.
    pub target: ResolveTarget,
    /// What is asked of it.
    pub request: Result<ResolveRequest>,
}

impl ResolveItem {
    fn asked(&self) -> AskedItem {
        let (workflow, step) = match &self.request {
            Ok(request) => (request.workflow.clone(), request.step.clone()),
            Err(_) => (None, None),
        };
        let asked = AskedItem { workflow, step, ..AskedItem::default() };
        match self.target.clone() {
            ResolveTarget::Connection(id) => AskedItem { connection: Some(id), ..asked },
            ResolveTarget::App { app, user, environment } => AskedItem { app: Some(app), user, environment, ..asked },
        }
    }
}

/// Returns a credential for each item, in their order.
///
/// # Errors
/// What concerns all of them: the key, or the database.
pub async fn resolve_items<P: Ports>(
    context: &Context<P>,
    presented: &PresentedKey,
    items: Vec<ResolveItem>,
) -> Result<Vec<Result<ResolveResult>>> {
    let started = metrics::start(context);
    let asked: Vec<_> = items.iter().map(ResolveItem::asked).collect();
    let read = connections::load_for_resolve_items(context.db(), &presented.id, &asked).await?;
    let read = read.filter(|read| presented.matches(&read.key, context.now())).ok_or_else(authorize::unauthorized)?;
    authorize::require_scope(&read.key, KeyScope::Resolve)?;
    let mut permitted = Vec::with_capacity(items.len());
    for ((item, asked), data) in items.into_iter().zip(&asked).zip(read.items) {
        permitted.push(permit_item(context, presented, &read.key, item, asked, data).await);
    }
    // One moment decides what is refreshed, however long that takes.
    let now = context.now();
    let outcomes = run_refreshes(context, &permitted, now).await;
    let reloaded = reload(context, &read.key, &outcomes).await;
    let mut results = Vec::with_capacity(permitted.len());
    for one in permitted {
        results.push(match one {
            Ok(permitted) => {
                let counted = CountedResolve::of(context, &permitted, started);
                let answered = finish_item(context, permitted, &outcomes, &reloaded, now).await;
                counted.end(context, &answered);
                answered
            }
            Err(error) => Err(error),
        });
    }
    gather_deferred(context, &mut results, outcomes.len());
    Ok(results)
}

async fn permit_item<P: Ports>(
    context: &Context<P>,
    presented: &PresentedKey,
    key: &ApiKey,
    item: ResolveItem,
    asked: &AskedItem,
    data: StoreResult<ResolveData>,
) -> Result<PermittedResolve> {
    let data = data?;
    let mut item = item;
    if let (ResolveTarget::App { app, .. }, None) = (&item.target, &data.connection) {
        item.request?;
        return Err(no_connection_error(context, key, app, asked).await?);
    }
    // Whoever asks for an environment gets it, or nothing, also from a connection that answers for another one.
    if let (ResolveTarget::App { environment, .. }, Some(connection), Ok(request)) =
        (&item.target, &data.connection, &mut item.request)
        && let Some(asked) = environment.filter(|asked| connection.environment != Some(*asked))
    {
        request.expect.environment = Some(asked);
    }
    permit(context, (presented, KeyScope::Resolve), data, None, item.request, Some(MetricEvent::Resolve))
}

/// Why an app leads to no connection. It is asked after the refusal is certain, so that a resolve that succeeds does not
/// pay for it.
async fn no_connection_error<P: Ports>(
    context: &Context<P>,
    key: &ApiKey,
    app: &AppId,
    asked: &AskedItem,
) -> Result<Error> {
    if !authorize::sees_app(key, app) || registry::load_current_app(context, &key.workspace, app).await?.is_none() {
        return Ok(Error::not_found("app"));
    }
    let found = connections::list_candidates(context.db(), key, asked).await?;
    if found.len() < 2 {
        let detail = "There is no default connection of this app, and none that could be meant. A person must connect the app at connect_url, or set a default: PUT /v1/apps/{app}/default.";
        let url = context.config.public_url.at(&format!("/oauth/start/{app}"));
        return Ok(Error::new(ErrorCode::NoDefaultConnection, detail).with_hints(|hints| hints.connect_url = Some(url)));
    }
    let detail = "Several connections of this app could be meant, and none of them is the default. Name one, or set a default: PUT /v1/apps/{app}/default.";
    let candidates = found.into_iter().map(candidate).collect();
    Ok(Error::new(ErrorCode::AmbiguousConnection, detail).with_hints(|hints| hints.candidates = candidates))
}

fn candidate(connection: Connection) -> CandidateConnection {
    CandidateConnection {
        connection: connection.id,
        name: connection.name,
        account: connection.account.map(|account| account.label),
        environment: connection.environment,
    }
}

/// A refresh that ended: of which connection, why, and how.
type EndedRefresh = (ConnectionId, RefreshReason, RefreshOutcome);

/// Runs the refreshes that callers would wait for, each connection once for a reason. What is over the budget is not
/// begun.
async fn run_refreshes<P: Ports>(
    context: &Context<P>,
    permitted: &[Result<PermittedResolve>],
    now: Timestamp,
) -> Vec<EndedRefresh> {
    let mut due: Vec<(&ConnectionId, RefreshReason)> = Vec::new();
    for one in permitted.iter().flatten() {
        if let FreshnessDecision::Refresh(reason) = freshness::decide(&one.connection, &one.request, now)
            && !due.contains(&(&one.connection.id, reason))
        {
            due.push((&one.connection.id, reason));
        }
    }
    due.truncate(most_refreshes(context));
    stream::iter(due)
        .map(|(id, reason)| async move { (id.clone(), reason, context.ports.refresher().run(id, reason).await) })
        .buffer_unordered(MAX_CONCURRENT)
        .collect()
        .await
}

fn most_refreshes<P: Ports>(context: &Context<P>) -> usize {
    let most = REFRESH_BUDGET / context.ports.refresher().subrequest_cost().max(1);
    usize::try_from(most).unwrap_or(1).max(1)
}

/// The connections that were refreshed, as they are now: one statement for all.
async fn reload<P: Ports>(
    context: &Context<P>,
    key: &ApiKey,
    refreshed: &[EndedRefresh],
) -> StoreResult<Vec<Connection>> {
    if refreshed.is_empty() {
        return Ok(vec![]);
    }
    let ids: Vec<_> = refreshed.iter().map(|(id, ..)| id).collect();
    connections::list_among(context.db(), &key.workspace, &ids).await
}

async fn finish_item<P: Ports>(
    context: &Context<P>,
    permitted: PermittedResolve,
    refreshed: &[EndedRefresh],
    reloaded: &StoreResult<Vec<Connection>>,
    decided_at: Timestamp,
) -> Result<ResolveResult> {
    let before = permitted.connection.clone();
    let request = &permitted.request;
    let usable = match freshness::decide(&before, request, decided_at) {
        FreshnessDecision::Refresh(reason) => {
            let ended = refreshed.iter().find(|(id, of, _)| *id == before.id && *of == reason);
            let (_, _, outcome) = ended.ok_or_else(over_budget_error)?;
            let now = match reloaded {
                Ok(all) => Ok(all.iter().find(|one| one.id == before.id).cloned()),
                Err(_) => Err(DatabaseError::Unavailable("after a refresh".into())),
            };
            load_refreshed(context, before, now, outcome, request).await?
        }
        _ => load_usable_credential(context, before, request).await?,
    };
    finish(context, permitted, usable).await
}

fn over_budget_error() -> Error {
    Error::new(
        ErrorCode::RefreshInProgress,
        "Too many connections of this call need a refresh at the same time. Ask for this one again.",
    )
    .with_hints(|hints| hints.retry_after = Some(1))
}

/// Uses are recorded together, and early refreshes only as far as the budget goes: another resolve or the scheduled run
/// does what is left.
fn gather_deferred<P: Ports>(context: &Context<P>, results: &mut [Result<ResolveResult>], refreshed: usize) {
    let mut room = most_refreshes(context).saturating_sub(refreshed);
    let mut uses = Vec::new();
    for result in results.iter_mut().flatten() {
        for task in std::mem::take(&mut result.deferred) {
            match task {
                DeferredTask::RecordUses(more) => uses.extend(more),
                DeferredTask::Refresh(_) if room == 0 => {}
                DeferredTask::Refresh(id) => {
                    room -= 1;
                    result.deferred.push(DeferredTask::Refresh(id));
                }
                other => result.deferred.push(other),
            }
        }
    }
    if let (false, Some(first)) = (uses.is_empty(), results.iter_mut().flatten().next()) {
        first.deferred.push(DeferredTask::RecordUses(uses));
    }
}
