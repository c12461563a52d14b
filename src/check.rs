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

use crate::core::Core;
use crate::definition_moves;
use crate::ending;
use crate::error::Result;
use crate::ids::ConnectionId;
use crate::ports::{Errand, ErrandOutcome, Ports, Refresher};
use crate::reseal;
use crate::store::definition_moves::DefinitionMove;
use crate::store::erasing::ROWS_OF_A_CONNECTION;
use crate::store::maintenance::{self, Share};
use crate::store::refreshes;
use crate::time::Timestamp;

/// Seconds a run holds what it took, and after which what did not finish is taken up again.
const LEASE: i64 = 120;
/// Seconds after which a run begins nothing more of what it took: what it has begun ends within the lease.
const BEGIN_WITHIN: i64 = 80;
/// Checks under way at once: the platform opens six connections per request.
const AT_ONCE: usize = 6;
/// Ended connections that a run looks at, at most.
const MOST_ENDED: i64 = 1000;

/// What a scheduled run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RunSummary"))]
pub struct Summary {
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
}

/// One run. `scheduled_at` selects what is due; everything else goes by the clock.
pub async fn tick<P: Ports>(core: &Core<P>, scheduled_at: Timestamp) -> Result<Summary> {
    core.check_ring().await?;
    let now = core.now();
    maintenance::run_begins(core.db(), now).await?;
    let budget = core.config.check_batch;
    let share = Share {
        ended: (core.config.erase_batch / ROWS_OF_A_CONNECTION).clamp(1, MOST_ENDED),
        revocations: (budget / 6).max(1),
        cache_deletes: (budget / 8).max(1),
        ended_before: now.plus(-LEASE),
        lease_until: now.plus(LEASE),
    };
    let mut left = maintenance::leftovers(core.db(), now, share).await?;
    let definition = left.definition_move.take();
    // A share is for leftovers, so that neither starves the other; what the checks leave over is for them too.
    let (mut spent, mut work) = ending::begin(core, left, LEASE, now.plus(BEGIN_WITHIN)).await;
    spent += work.do_at_least_one(core, (budget / 4) - spent).await;
    let cost = core.ports.refresher().cost();
    let (moved, moving) = move_some(core, definition).await;
    spent += moving;
    let batch = ((budget - spent) / cost).max(1);
    // By the clock as it is now: the leftovers took their time.
    let taken_at = core.now();
    let due = refreshes::lease_due(core.db(), scheduled_at, taken_at.plus(LEASE), batch).await?;
    let mut summary = check_all(core, &due, taken_at.plus(BEGIN_WITHIN)).await;
    let used = spent + i64::try_from(due.len()).unwrap_or(batch) * cost;
    work.do_some(core, budget - used).await;
    summary.moved = moved;
    (summary.erased, summary.revoked, summary.copies_removed) =
        (work.done.erased, work.done.revoked, work.done.copies_removed);
    summary.purged = maintenance::purge(core.db(), now).await?;
    summary.resealed = reseal_some(core).await;
    let text = serde_json::to_string(&summary).unwrap_or_default();
    maintenance::run_ends(core.db(), core.now(), &text).await?;
    core.log("info", "checked", &json!({ "summary": summary }));
    Ok(summary)
}

/// A step towards a changed definition. Where it fails, all else is done, and the next run goes on.
async fn move_some<P: Ports>(core: &Core<P>, definition: Option<DefinitionMove>) -> (u64, i64) {
    let Some(definition) = definition else { return (0, 0) };
    let moved = definition_moves::step(core, &definition, "clock").await.map_or_else(
        |error| {
            core.log_cause(&error);
            0
        },
        |moves| moves.moved,
    );
    (moved, definition_moves::STEP_COST)
}

/// The last thing of a run: where it fails, all else was done, and the next run goes on.
async fn reseal_some<P: Ports>(core: &Core<P>) -> u64 {
    reseal::turn(core).await.unwrap_or_else(|error| {
        core.log_cause(&error);
        0
    })
}

/// Checks what was taken, as long as there is time: the next run takes what is left when the lease has ended.
async fn check_all<P: Ports>(core: &Core<P>, due: &[ConnectionId], until: Timestamp) -> Summary {
    stream::iter(due)
        .map(|id| async move {
            if core.now() < until { Some(core.ports.refresher().run(id, Errand::Check).await) } else { None }
        })
        .buffer_unordered(AT_ONCE)
        .fold(Summary::default(), |summary, outcome| async move {
            outcome.as_ref().map_or(summary, |outcome| summary.with(outcome))
        })
        .await
}

impl Summary {
    fn with(mut self, outcome: &ErrandOutcome) -> Self {
        self.checked += 1;
        match outcome {
            ErrandOutcome::Refreshed | ErrandOutcome::Satisfied | ErrandOutcome::Healthy => self.healthy += 1,
            ErrandOutcome::Dead | ErrandOutcome::Unreadable => self.dead += 1,
            ErrandOutcome::ClientMisconfigured | ErrandOutcome::Unavailable { .. } | ErrandOutcome::DatabaseDown => {
                self.unavailable += 1;
            }
            ErrandOutcome::Unusable
            | ErrandOutcome::Unknown
            | ErrandOutcome::InProgress { .. }
            | ErrandOutcome::Gone => self.unknown += 1,
        }
        self
    }
}
