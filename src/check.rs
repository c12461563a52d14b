//! The clock's work: stale connections are checked before a workflow trips over them, what was left
//! undone is done, what expired is purged, what an older key sealed is sealed again.
//!
//! Owns selection and bounds. A run takes a lease on what it works at, so that runs may overlap, and
//! one that dies half-way loses nothing: its lease runs out and the next run takes over. Refuses to
//! refresh by itself: every check goes through the connection's refresher.

use std::collections::VecDeque;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Serialize;
use serde_json::json;

use crate::caller::KeyId;
use crate::connect::settle;
use crate::connection::Connection;
use crate::core::Core;
use crate::disconnect;
use crate::error::Result;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Errand, ErrandOutcome, Ports, Refresher};
use crate::reseal;
use crate::resolve::cached;
use crate::store::authorizations::Authorization;
use crate::store::maintenance::{self, Leftovers};
use crate::store::revocations::Revocation;
use crate::store::{keys, refreshes, workspaces};
use crate::time::Timestamp;

/// Seconds a run holds what it took: more than it takes, less than two runs.
const LEASE: i64 = 120;
/// Checks under way at once: the platform opens six connections per request.
const AT_ONCE: usize = 6;
/// Seconds after which a disconnect that did not finish is taken up again.
const UNFINISHED_AFTER: i64 = 120;

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
    /// Values sealed again, under the first key.
    pub resealed: u64,
}

/// One run. `scheduled_at` selects what is due; everything else goes by the clock.
pub async fn tick<P: Ports>(core: &Core<P>, scheduled_at: Timestamp) -> Result<Summary> {
    core.check_ring().await?;
    let now = core.now();
    maintenance::run_begins(core.db(), now).await?;
    let left = maintenance::leftovers(core.db(), now, now.plus(-UNFINISHED_AFTER), now.plus(LEASE)).await?;
    let budget = core.config.check_batch;
    // A share is for leftovers, so that neither starves the other; what the checks leave over is for them too.
    let mut work = left.into_work();
    let spent = do_some(core, &mut work, budget / 4).await;
    let cost = core.ports.refresher().cost();
    let batch = ((budget - spent) / cost).max(1);
    let due = refreshes::lease_due(core.db(), scheduled_at, now.plus(LEASE), batch).await?;
    let mut summary = check_all(core, &due).await;
    let used = spent + i64::try_from(due.len()).unwrap_or(batch) * cost;
    do_some(core, &mut work, budget - used).await;
    summary.purged = maintenance::purge(core.db(), now).await?;
    summary.resealed = reseal_some(core).await;
    let text = serde_json::to_string(&summary).unwrap_or_default();
    maintenance::run_ends(core.db(), core.now(), &text).await?;
    core.log("info", "checked", &json!({ "summary": summary }));
    Ok(summary)
}

/// The last thing of a run: where it fails, all else was done, and the next run goes on.
async fn reseal_some<P: Ports>(core: &Core<P>) -> u64 {
    reseal::turn(core).await.unwrap_or_else(|error| {
        core.log_cause(&error);
        0
    })
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

/// One thing that was left undone, and what doing it may cost in subrequests.
enum Work {
    Disconnect(Box<Connection>),
    Revoke(Box<Revocation>),
    ForgetKey(KeyId),
    ExpireFlow(Box<Authorization>),
    EraseWorkspace(WorkspaceId),
}

impl Work {
    fn cost(&self) -> i64 {
        match self {
            Self::Disconnect(_) | Self::Revoke(_) | Self::ExpireFlow(_) => 11,
            Self::ForgetKey(_) => 2,
            Self::EraseWorkspace(_) => 1,
        }
    }

    async fn perform<P: Ports>(self, core: &Core<P>) -> Result<()> {
        match self {
            Self::Disconnect(ended) => disconnect::finish(core, &ended, "clock").await.map(|_| ()),
            Self::ExpireFlow(flow) => settle::expire(core, &flow).await,
            Self::Revoke(job) => disconnect::retry(core, &job).await,
            Self::EraseWorkspace(id) => Ok(workspaces::erase(core.db(), &id).await?),
            Self::ForgetKey(id) if cached::forget_key(core, &id).await => Ok(keys::copy_is_gone(core.db(), &id).await?),
            Self::ForgetKey(_) => Ok(()),
        }
    }
}

impl Leftovers {
    /// Keys first: a copy of a revoked one may still open doors.
    fn into_work(self) -> VecDeque<Work> {
        let keys = self.keys.into_iter().map(Work::ForgetKey);
        let ended = self.ended.into_iter().map(|one| Work::Disconnect(Box::new(one)));
        let jobs = self.revocations.into_iter().map(|one| Work::Revoke(Box::new(one)));
        let flows = self.flows.into_iter().map(|one| Work::ExpireFlow(Box::new(one)));
        keys.chain(ended)
            .chain(flows)
            .chain(jobs)
            .chain(self.workspaces.into_iter().map(Work::EraseWorkspace))
            .collect()
    }
}

/// Does as much as a budget allows, at least one thing if there is any budget; answers what it cost.
/// One thing that fails must not keep the others undone.
async fn do_some<P: Ports>(core: &Core<P>, work: &mut VecDeque<Work>, budget: i64) -> i64 {
    let mut spent = 0;
    while spent < budget
        && let Some(one) = work.pop_front_if(|one| spent == 0 || spent + one.cost() <= budget)
    {
        spent += one.cost();
        if let Err(error) = one.perform(core).await {
            core.log_cause(&error);
        }
    }
    spent
}
