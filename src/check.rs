//! The clock's work: stale connections are checked before a workflow trips over them, what was left
//! undone is done, what expired is purged.
//!
//! Owns selection and bounds. A run takes a lease on what it works at, so that runs may overlap, and
//! one that dies half-way loses nothing: its lease runs out and the next run takes over. Refuses to
//! refresh by itself: every check goes through the connection's refresher.

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;
use serde_json::json;

use crate::core::Core;
use crate::disconnect;
use crate::error::Result;
use crate::ids::ConnectionId;
use crate::ports::{Errand, ErrandOutcome, Ports, Refresher};
use crate::resolve::cached;
use crate::store::{keys, maintenance, refreshes, revocations, workspaces};
use crate::time::Timestamp;

/// Seconds a run holds what it took: more than it takes, less than two runs.
const LEASE: i64 = 120;
/// Checks under way at once: the platform opens six connections per request.
const AT_ONCE: usize = 6;
/// Seconds after which a disconnect that did not finish is taken up again.
const UNFINISHED_AFTER: i64 = 120;
/// Subrequests that one leftover (a disconnect or revocation to finish, a key to forget) may cost.
const PER_LEFTOVER: i64 = 8;

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
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
}

/// One run. `scheduled_at` selects what is due; everything else goes by the clock.
pub async fn tick<P: Ports>(core: &Core<P>, scheduled_at: Timestamp) -> Result<Summary> {
    core.check_ring().await?;
    let now = core.now();
    maintenance::run_begins(core.db(), now).await?;
    let batch = (core.config.check_batch / core.ports.refresher().cost()).max(1);
    let due = refreshes::lease_due(core.db(), scheduled_at, now.plus(LEASE), batch).await?;
    let mut summary = check_all(core, &due).await;
    let used = i64::try_from(due.len()).unwrap_or(batch) * core.ports.refresher().cost();
    let unused = core.config.check_batch - used;
    note(core, leftovers(core, now, unused / PER_LEFTOVER).await);
    summary.purged = maintenance::purge(core.db(), now).await?;
    let text = serde_json::to_string(&summary).unwrap_or_default();
    maintenance::run_ends(core.db(), core.now(), &text).await?;
    core.log("info", "checked", &json!({ "summary": summary }));
    Ok(summary)
}

async fn check_all<P: Ports>(core: &Core<P>, due: &[ConnectionId]) -> Summary {
    stream::iter(due)
        .map(|id| core.ports.refresher().run(id, Errand::Check))
        .buffer_unordered(AT_ONCE)
        .fold(Summary::default(), |summary, outcome| async move { summary.with(&outcome) })
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

/// What others left undone: disconnects and revocations, copies of revoked keys, deleted workspaces.
/// A run whose hands are full leaves it to the next.
async fn leftovers<P: Ports>(core: &Core<P>, now: Timestamp, mut room: i64) -> Result<()> {
    if room < 1 {
        return Ok(());
    }
    for ended in refreshes::deleted(core.db(), now.plus(-UNFINISHED_AFTER), room).await? {
        note(core, disconnect::finish(core, &ended).await);
        room -= 1;
    }
    for job in revocations::lease_due(core.db(), now, now.plus(LEASE), room).await? {
        note(core, disconnect::retry(core, &job).await);
        room -= 1;
    }
    for key in keys::revoked(core.db(), room).await? {
        if cached::forget_key(core, &key).await {
            keys::erase(core.db(), &key).await?;
        }
    }
    workspaces::erase_one(core.db()).await?;
    Ok(())
}

/// One thing that fails must not keep the others undone.
fn note<P: Ports, T>(core: &Core<P>, outcome: Result<T>) {
    if let Err(error) = outcome {
        core.log_cause(&error);
    }
}
