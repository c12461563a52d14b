//! A resolve that the cache answers.
//!
//! Owns whether it may: the same key, policy and expectations as with the database, and a token that lasts long enough.
//! Refuses to refuse: whatever does not fit falls back on the database.

use super::cache_entries::{
    CacheEntry, CachedConnection, EntriesRead, LOCATION_CACHE_TTL, entry_expiry, is_expiring, read_entries,
};
use super::{
    Consistency, DeferredTask, Freshness, ResolvePolicy, ResolveRequest, ResolveResult, ResolvedCredential, Source,
    check_policy, credential_version, reported_scopes,
};
use crate::authorize;
use crate::cache::MAX_TTL;
use crate::caller::{ApiKey, KeyScope, PresentedKey};
use crate::connection::{ChosenBy, ConnectionStatus, MIN_USABLE_TTL, TokenLifetime};
use crate::context::Context;
use crate::error::Result;
use crate::ids::ConnectionId;
use crate::isolate_cache::ThrottledTask;
use crate::metrics::{self, Started};
use crate::ports::Ports;
use crate::store::uses::{self, NewUse};
use crate::time::Timestamp;

/// Seconds between two requests for an early refresh from one isolate.
const EARLY_REFRESH_INTERVAL: i64 = 30;

/// Answers from the cache. `None` if there is no entry, an invalid one, or one that the caller may not have.
pub(super) async fn resolve_from_cache<P: Ports>(
    context: &Context<P>,
    presented: &PresentedKey,
    id: &ConnectionId,
    request: &ResolveRequest,
    started: Started,
) -> Result<Option<ResolveResult>> {
    // In a shard that is not bound nobody has a key, whatever the cache still has of it.
    if request.force_refresh || !context.is_bound() {
        return Ok(None);
    }
    let now = context.now();
    let Some(read) = read_entries(context, presented, id).await else { return Ok(None) };
    let EntriesRead { key, key_until, entry, connection: cached, is_denied } = read;
    if is_denied || !presented.matches(&key, now) {
        return Ok(None);
    }
    let visible = entry.workspace == key.workspace.as_str()
        && authorize::check_resolve(&key, KeyScope::Resolve, id, &cached.app, cached.environment).is_ok();
    let policy = cached.policy(id);
    let life = TokenLifetime {
        issued_at: Timestamp::from_unix(cached.since),
        expires_at: cached.until.map(Timestamp::from_unix),
    };
    let Some(freshness) =
        entry_freshness(life, id, request, now).filter(|_| visible && check_policy(context, &policy, request).is_ok())
    else {
        return Ok(None);
    };
    // From time to time one caller reads the database, whose answer is cached again. If the database is down, the entry
    // is used.
    let is_to_be_renewed =
        is_expiring(entry.until(), entry_expiry(life, now), now) || is_expiring(key_until, now.plus(MAX_TTL), now);
    if is_to_be_renewed
        && request.consistency == Consistency::Edge
        && freshness == Freshness::Fresh
        && context.ports.isolate_cache().try_mark_task_done(
            &ThrottledTask::RewriteCacheEntries(id.clone()),
            LOCATION_CACHE_TTL,
            now,
        )
    {
        return Ok(None);
    }
    let after = deferred_tasks(context, &key, id, request, freshness, now);
    metrics::count_resolve(context, (&key.workspace, cached.app.as_str()), Ok("cache"), started);
    Ok(Some(ResolveResult { resolved: cached.into_resolved(id, &entry, freshness), deferred: after }))
}

/// A use is recorded and a refresh requested at intervals, not at every hit, so that the cache saves database accesses.
fn deferred_tasks<P: Ports>(
    context: &Context<P>,
    key: &ApiKey,
    id: &ConnectionId,
    request: &ResolveRequest,
    freshness: Freshness,
    now: Timestamp,
) -> Vec<DeferredTask> {
    let isolate_cache = context.ports.isolate_cache();
    let (_, step) = request.workflow_and_step();
    let step = request.workflow.as_ref().map(|workflow| (workflow.clone(), step.to_owned()));
    let mut after = Vec::new();
    if isolate_cache.try_start_task(
        &ThrottledTask::RecordUse { connection: id.clone(), step: step.clone() },
        uses::WRITE_INTERVAL,
        now,
    ) {
        let workspace = key.workspace.clone();
        let chosen_by = ChosenBy::Id;
        // An entry is of a connection that answers for itself.
        let answered_by = None;
        let used = NewUse { workspace, connection: id.clone(), answered_by, step, chosen_by };
        after.push(DeferredTask::RecordUses(vec![used]));
    }
    if freshness == Freshness::Stale
        && isolate_cache.try_mark_task_done(&ThrottledTask::EarlyRefresh(id.clone()), EARLY_REFRESH_INTERVAL, now)
    {
        after.push(DeferredTask::Refresh(id.clone()));
    }
    after
}

/// Long enough for the caller, or, while the database is down, for anything useful.
fn entry_freshness(
    life: TokenLifetime,
    id: &ConnectionId,
    request: &ResolveRequest,
    now: Timestamp,
) -> Option<Freshness> {
    let long_enough = life.lasts_for(life.effective_min_ttl(request.min_ttl).max(1), now);
    let useful = request.consistency == Consistency::Available && life.lasts_for(MIN_USABLE_TTL, now);
    let near_end = life.early_refresh_from(id.jitter()).is_some_and(|from| now >= from);
    (long_enough || useful).then_some(if near_end { Freshness::Stale } else { Freshness::Fresh })
}

impl CachedConnection {
    fn policy<'a>(&'a self, id: &'a ConnectionId) -> ResolvePolicy<'a> {
        ResolvePolicy {
            id,
            app: self.app.as_str(),
            account: self.account.as_ref(),
            environment: self.environment,
            status: ConnectionStatus::Connected,
            reason: None,
            allowed_workflows: self.allowed_workflows.as_deref(),
            granted: reported_scopes(self.issued.credential.r#type, &self.scopes),
        }
    }

    fn into_resolved(self, id: &ConnectionId, entry: &CacheEntry, freshness: Freshness) -> ResolvedCredential {
        ResolvedCredential {
            id: id.clone(),
            requested_id: None,
            app: self.app.as_str().to_owned(),
            name: self.name,
            account: self.account,
            issued: self.issued,
            freshness,
            source: Source::Cache,
            chosen_by: ChosenBy::Id,
            credential_version: credential_version(entry.generation, entry.version),
        }
    }
}
