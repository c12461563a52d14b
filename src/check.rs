//! The clock's work: stale connections are checked before a workflow trips over them, what was left
//! undone is done, what expired is purged, what an older key sealed is sealed again.
//!
//! Owns selection and bounds. A run takes a lease on what it works at, so that runs may overlap, and
//! one that dies half-way loses nothing: its lease runs out and the next run takes over. Refuses to
//! refresh by itself: every check goes through the connection's refresher.

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;
use serde_json::json;

use crate::audit::{Actor, AuditReads};
use crate::cleanup;
use crate::config::Config;
use crate::context::Context;
use crate::definition_moves;
use crate::disconnect_all;
use crate::emails::{self, sending::LEAST_BUDGET as LEAST_EMAIL_BUDGET};
use crate::error::Result;
use crate::ids::ConnectionId;
use crate::ports::{Health, Ports, RefreshOutcome, RefreshReason, RefreshRunner};
use crate::reseal;
use crate::retention::{PURGED_EVENTS, PURGED_ROWS};
use crate::store::attention_sweeps::{self, AttentionSweep};
use crate::store::definition_moves::DefinitionMove;
use crate::store::disconnect_jobs::DisconnectJob;
use crate::store::erasing::WRITES_PER_CONNECTION;
use crate::store::maintenance::{self, RunLimits, ToldLease};
use crate::store::refreshes;
use crate::time::Timestamp;
use crate::webhooks;

/// Seconds a run holds what it took, and after which what did not finish is taken up again.
const LEASE: i64 = 120;
/// Seconds after which a run begins nothing more of what it took: what it has begun ends within the lease.
const START_WITHIN: i64 = 80;
/// Checks under way at once: the platform opens six connections per request.
const MAX_CONCURRENT: usize = 6;
/// Connections that are taken at once: what a run has no time for waits until its lease has ended.
const PORTION: i64 = 120;
/// Ended connections that a run looks at, at most.
const MAX_ENDED: i64 = 1000;

/// Webhooks that a run sends to, at most.
const MAX_WEBHOOKS: i64 = 50;
/// Subrequests that sending to one webhook takes: its deliveries are taken and written with those of the others.
const SUBREQUESTS_PER_WEBHOOK: i64 = 3;
/// Workspaces whose events a run passes on to people, at most.
const MAX_EMAIL_WORKSPACES: i64 = 50;
/// Seconds after which a run sends no further event: a receiver that hangs takes ten more.
const SEND_WITHIN: i64 = 20;

/// What a scheduled run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RunSummary"))]
pub struct RunSummary {
    /// Connections taken.
    pub checked: u64,
    /// Refreshed, or their token was fine.
    pub healthy: u64,
    /// Found dead.
    pub dead: u64,
    /// The app or its client was the trouble; tried again later.
    pub unavailable: u64,
    /// Nothing could be learned.
    pub unknown: u64,
    /// Rows purged.
    pub purged: u64,
    /// Values sealed again, under the first key.
    pub resealed: u64,
    /// Rows erased of what was disconnected or deleted.
    pub erased: u64,
    /// Grants that an app confirmed as revoked.
    pub revoked: u64,
    /// Outdated entries deleted from the cache.
    pub copies_removed: u64,
    /// Connections that follow a changed definition now.
    pub moved: u64,
    /// Events that webhooks have taken.
    pub delivered: u64,
    /// E-mails that the service has taken.
    pub emailed: u64,
}

/// One run. `scheduled_at` selects what is due; everything else goes by the clock.
pub async fn run_scheduled<P: Ports>(context: &Context<P>, scheduled_at: Timestamp) -> Result<RunSummary> {
    context.check_key_ring().await?;
    let now = context.now();
    maintenance::record_run_start(context.db(), now).await?;
    let summary = run(context, scheduled_at, now).await?;
    let text = serde_json::to_string(&summary).unwrap_or_default();
    maintenance::record_run_end(context.db(), context.now(), &text).await?;
    context.log("info", "scheduled_run_ended", &json!({ "summary": summary }));
    Ok(summary)
}

/// One more run for an event that left something due. It counts as a part of the last run that ended: when runs begin is told
/// by the events alone.
pub async fn run_queued<P: Ports>(context: &Context<P>, scheduled_at: Timestamp) -> Result<RunSummary> {
    context.check_key_ring().await?;
    let summary = run(context, scheduled_at, context.now()).await?;
    let text = serde_json::to_string(&summary).unwrap_or_default();
    maintenance::add_to_last_run(context.db(), &text).await?;
    context.log("info", "queued_run_ended", &json!({ "summary": summary, "database": context.shard().binding() }));
    Ok(summary)
}

/// The checks that a run makes which has nothing else to do.
pub fn checks_of_a_run<P: Ports>(context: &Context<P>) -> i64 {
    (context.config.check_batch / context.ports.refresher().subrequest_cost().max(1)).max(1)
}

async fn run<P: Ports>(context: &Context<P>, scheduled_at: Timestamp, now: Timestamp) -> Result<RunSummary> {
    let budget = context.config.check_batch;
    let share = RunLimits {
        disconnected: (context.config.erase_batch / WRITES_PER_CONNECTION).clamp(1, MAX_ENDED),
        revocations: (budget / 6).max(1),
        cache_deletes: (budget / 8).max(1),
        leased_before: now.plus(-LEASE),
        lease_until: now.plus(LEASE),
    };
    let mut left = maintenance::load_unfinished_work(context.db(), now, share).await?;
    let sends_email = emails::is_available(context);
    let has_due_emails = left.has_due_emails && sends_email;
    // What webhooks and people wait for has a share of its own, if there is anything.
    let whole_budget = budget;
    let budget = if left.has_due_webhooks || has_due_emails { (budget * 3 / 4).max(1) } else { budget };
    let definition = left.definition_move.take();
    let (jobs, sweeps) = (left.jobs.clone(), std::mem::take(&mut left.sweeps));
    // While the queue is full, denied connections wait for their end: nothing is served of them.
    let room = share.disconnected - i64::try_from(left.disconnected.len()).unwrap_or(share.disconnected);
    let is_erasing = left.disconnected.iter().any(|one| one.workspace_deleted);
    let leftovers = if is_erasing { budget * 3 / 4 } else { budget / 4 };
    // A share is for leftovers, so that neither starves the other; what the checks leave over is for them too. Of a deleted
    // workspace all has to end within days, so it gets the larger share, and what is nearest to being lost is checked first.
    let (mut spent, mut work) = cleanup::begin(context, left, LEASE, now.plus(START_WITHIN)).await;
    spent += work.run_at_least_one(context, leftovers - spent).await;
    let cost = context.ports.refresher().subrequest_cost();
    let (moved, moving) = run_definition_move(context, definition).await;
    spent += moving + run_disconnect_jobs(context, &jobs, room).await;
    spent += run_sweeps(context, &sweeps).await;
    let most = context.config.checks_beside_erasing.filter(|_| is_erasing).unwrap_or(budget);
    let batch = ((budget - spent) / cost).min(most).max(1);
    // By the clock as it is now: the leftovers took their time.
    let taken_at = context.now();
    let (mut summary, used) = check_due(context, scheduled_at, taken_at.plus(START_WITHIN), batch).await?;
    let used = used + work.run_within_budget(context, budget - spent - used).await;
    summary.moved = moved;
    (summary.erased, summary.revoked, summary.copies_removed) =
        (work.done.erased, work.done.revoked, work.done.cache_entries_deleted);
    let sending_budget = whole_budget - spent - used;
    let email_budget = if has_due_emails { (sending_budget / 2).max(LEAST_EMAIL_BUDGET) } else { 0 };
    let webhook_budget = sending_budget - email_budget;
    let lease = ToldLease {
        from: context.now(),
        until: context.now().plus(LEASE),
        webhooks: (webhook_budget / SUBREQUESTS_PER_WEBHOOK).clamp(0, MAX_WEBHOOKS),
        emails: sends_email.then(|| (email_budget / LEAST_EMAIL_BUDGET).clamp(0, MAX_EMAIL_WORKSPACES)),
    };
    let purged = maintenance::purge(context.db(), now, purged_events(&context.config), lease).await?;
    summary.purged = purged.rows;
    summary.resealed = run_reseal(context).await;
    let until = context.now().plus(SEND_WITHIN);
    summary.delivered = webhooks::sending::send_taken(context, &purged.webhooks, webhook_budget, until).await;
    if has_due_emails {
        let until = context.now().plus(SEND_WITHIN);
        summary.emailed = emails::sending::run_due(context, &purged.emails, email_budget, until).await;
    }
    Ok(summary)
}

/// How long lines of the audit log are kept, and how many a run deletes: more where there are more.
fn purged_events(config: &Config) -> (i64, i64) {
    let most = if config.audit_reads == AuditReads::Sampled { PURGED_ROWS } else { PURGED_EVENTS };
    (config.audit_days, most)
}

/// A step towards a changed definition. Where it fails, all else is done, and the next run goes on.
async fn run_definition_move<P: Ports>(context: &Context<P>, definition: Option<DefinitionMove>) -> (u64, i64) {
    let Some(definition) = definition else { return (0, 0) };
    let moved = definition_moves::run_step(context, &definition, &Actor::ScheduledRun).await.map_or_else(
        |error| {
            context.log_cause(&error);
            0
        },
        |moves| moves.moved,
    );
    (moved, definition_moves::STEP_COST)
}

/// A step of each job that ends all connections of an app. Answers what they cost in subrequests.
async fn run_disconnect_jobs<P: Ports>(context: &Context<P>, jobs: &[DisconnectJob], room: i64) -> i64 {
    let (mut spent, mut left) = (0, room);
    for (job, waiting) in jobs.iter().zip((1..=jobs.len()).rev()) {
        // A large one leaves the others their parts.
        let part = left.max(0).unsigned_abs().div_ceil(u64::try_from(waiting).unwrap_or(1));
        let part = i64::try_from(part).unwrap_or(left);
        let stepped = disconnect_all::run_step(context, job, LEASE, part).await;
        spent += if job.tombstoned_at.is_some() { 1 } else { disconnect_all::STEP_COST };
        match stepped {
            Ok(ended) => left -= i64::try_from(ended).unwrap_or(left),
            Err(error) => context.log_cause(&error),
        }
    }
    spent
}

/// A step of each search for what ends soon. Where it fails, the next run goes on.
async fn run_sweeps<P: Ports>(context: &Context<P>, sweeps: &[AttentionSweep]) -> i64 {
    if sweeps.is_empty() {
        return 0;
    }
    if let Err(error) = attention_sweeps::run_steps(context.db(), sweeps, context.now()).await {
        context.log_cause(&error.into());
    }
    1
}

/// The last thing of a run: where it fails, all else was done, and the next run goes on.
async fn run_reseal<P: Ports>(context: &Context<P>) -> u64 {
    reseal::reseal_page(context).await.unwrap_or_else(|error| {
        context.log_cause(&error);
        0
    })
}

/// Takes what is due in portions and checks it, as long as there is time and there are subrequests for so many checks.
/// Answers what it cost in subrequests too, but for the first portion's look-up.
async fn check_due<P: Ports>(
    context: &Context<P>,
    scheduled_at: Timestamp,
    until: Timestamp,
    batch: i64,
) -> Result<(RunSummary, i64)> {
    let cost = context.ports.refresher().subrequest_cost();
    let (mut summary, mut used, mut left) = (RunSummary::default(), 0, batch);
    let mut drops_more = false;
    while left > 0 {
        let now = context.now();
        let portion = left.min(PORTION);
        let due = refreshes::lease_due(context.db(), scheduled_at, now.plus(LEASE), portion, drops_more).await?;
        let leased = i64::try_from(due.leased.len()).unwrap_or(portion);
        drops_more = due.dropped > 0;
        check_connections(context, &due.leased, until, &mut summary).await;
        used += leased * cost;
        left -= leased;
        if leased + due.dropped < portion || context.now() >= until {
            break;
        }
        // Another look costs what a check costs, or less.
        used += 1;
        left -= 1;
    }
    Ok((summary, used))
}

/// Checks what was taken, as long as there is time: the next run takes what is left when the lease has ended.
async fn check_connections<P: Ports>(
    context: &Context<P>,
    due: &[ConnectionId],
    until: Timestamp,
    summary: &mut RunSummary,
) {
    let outcomes = stream::iter(due)
        .map(|id| async move {
            if context.now() < until {
                Some(context.ports.refresher().run(id, RefreshReason::ScheduledCheck).await)
            } else {
                None
            }
        })
        .buffer_unordered(MAX_CONCURRENT)
        .filter_map(|outcome| async move { outcome });
    *summary = outcomes.fold(*summary, |summary, outcome| async move { summary.with_outcome(&outcome) }).await;
}

impl RunSummary {
    fn with_outcome(mut self, outcome: &RefreshOutcome) -> Self {
        self.checked += 1;
        match (outcome, outcome.health()) {
            // Another attempt is under way: this one learned nothing.
            (RefreshOutcome::InProgress { .. }, _) => self.unknown += 1,
            (_, Health::Healthy) => self.healthy += 1,
            (_, Health::NeedsReconnect) => self.dead += 1,
            (RefreshOutcome::DatabaseUnavailable, _) | (_, Health::ClientMisconfigured | Health::AppUnavailable) => {
                self.unavailable += 1;
            }
            (_, Health::ConfigurationRefused | Health::Unknown) => self.unknown += 1,
        }
        self
    }
}
