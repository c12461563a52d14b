//! The state of the installation, for its operator.
//!
//! Owns what is read for it, and what several databases say together. Refuses to change anything.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::context::Context;
use crate::databases::is_open;
use crate::error::{Error, Result};
use crate::ids::Shard;
use crate::ports::{Ports, RefreshRunner};
use crate::scheduled_runs;
use crate::store::emails::EmailBacklog;
use crate::store::erasing::ErasureProgress;
use crate::store::maintenance::{self, InstallationState};
use crate::store::reseals::{self, ResealProgress};
use crate::store::workspaces::{self, DatabaseUsage};
use crate::workload::{self, CheckProgress, Forecast};

/// Deleted workspaces that are listed.
const MAX_DELETED_LISTED: i64 = 100;

/// What the operator wants to know of the installation.
#[derive(Debug)]
pub struct InstallationStatus {
    /// What the databases that answer say together.
    pub sum: DatabaseState,
    /// Each database, in the order of their numbers.
    pub databases: Vec<DatabaseStatus>,
}

/// A database, as the operator sees it.
#[derive(Debug)]
pub struct DatabaseStatus {
    /// Its shard.
    pub shard: Shard,
    /// Whether it takes new workspaces.
    pub is_open: bool,
    /// What it says, or why it can't be used.
    pub state: Result<DatabaseState>,
}

/// What a database says of itself.
#[derive(Debug, Clone)]
pub struct DatabaseState {
    /// Its rows and the last scheduled run.
    pub state: InstallationState,
    /// How much is in it.
    pub usage: DatabaseUsage,
    /// Deleted workspaces that are not erased yet, those that were deleted first before the others.
    pub deleted_workspaces: Vec<ErasureProgress>,
    /// How far the rows have come that another key than the first sealed; none where nothing has begun.
    pub reseal: Option<ResealProgress>,
    /// What is to be expected of the scheduled checks.
    pub forecast: Forecast,
}

/// Reads the state of the installation. A database that can't be used is reported as such.
///
/// # Errors
/// No database can be used.
pub async fn load_status<P: Ports>(context: &Context<P>) -> Result<InstallationStatus> {
    let all = context.all_shards();
    let states = join_all(all.iter().map(|database| load_database(database, all.len()))).await;
    let mut databases = Vec::with_capacity(all.len());
    for (database, state) in all.iter().zip(states) {
        if let Err(error) = &state {
            database.log_cause(error);
        }
        databases.push(DatabaseStatus { shard: database.shard(), is_open: is_open(database), state });
    }
    let sum = databases.iter().filter_map(|database| database.state.as_ref().ok()).cloned().reduce(DatabaseState::and);
    let Some(mut sum) = sum else {
        let first = databases.into_iter().find_map(|database| database.state.err());
        return Err(first.unwrap_or_else(|| Error::internal("no database is bound")));
    };
    sum.deleted_workspaces.sort_unstable_by_key(|progress| progress.deleted_at);
    sum.deleted_workspaces.truncate(usize::try_from(MAX_DELETED_LISTED).unwrap_or(usize::MAX));
    Ok(InstallationStatus { sum, databases })
}

async fn load_database<P: Ports>(context: &Context<P>, databases: usize) -> Result<DatabaseState> {
    context.check_key_ring().await?;
    let state = maintenance::load_state(context.db(), context.now()).await?;
    let batch = scheduled_runs::check_batch_of_each(context, databases);
    let allowed = batch / context.ports.refresher().subrequest_cost().max(1);
    let (usage, deleted_workspaces) = workspaces::load_usage_and_deleted(context.db(), MAX_DELETED_LISTED).await?;
    Ok(DatabaseState {
        forecast: workload::forecast(&state, allowed.max(1), context.now()),
        state,
        usage,
        deleted_workspaces,
        reseal: reseals::progress(context.db(), context.config.key_ring.sealing_key_id()).await?,
    })
}

impl DatabaseState {
    /// What two databases say together.
    fn and(mut self, other: Self) -> Self {
        self.deleted_workspaces.extend(other.deleted_workspaces);
        Self {
            state: add_states(self.state, other.state),
            usage: DatabaseUsage {
                workspaces: self.usage.workspaces + other.usage.workspaces,
                connections: self.usage.connections + other.usage.connections,
            },
            deleted_workspaces: self.deleted_workspaces,
            reseal: add_reseals(self.reseal, other.reseal),
            forecast: add_forecasts(self.forecast, other.forecast),
        }
    }
}

fn add_states(one: InstallationState, other: InstallationState) -> InstallationState {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for (key, count) in one.sealed_under.into_iter().chain(other.sealed_under) {
        *rows.entry(key).or_default() += count;
    }
    let mut migrations = one.migrations;
    migrations.retain(|name| other.migrations.contains(name));
    InstallationState {
        sealed_under: rows.into_iter().collect(),
        is_sealed_under_complete: one.is_sealed_under_complete && other.is_sealed_under_complete,
        due_checks: one.due_checks + other.due_checks,
        oldest_due_at: one.oldest_due_at.into_iter().chain(other.oldest_due_at).min(),
        due_within_an_hour: one.due_within_an_hour + other.due_within_an_hour,
        erasures: one.erasures + other.erasures,
        revocations: one.revocations + other.revocations,
        // The one that began longest ago, or none: what is behind is what is looked for.
        last_run: one
            .last_run
            .zip(other.last_run)
            .map(|(one, other)| if other.started_at < one.started_at { other } else { one }),
        cache_deletes: one.cache_deletes + other.cache_deletes,
        emails: EmailBacklog {
            waiting: one.emails.waiting + other.emails.waiting,
            oldest_due_at: one.emails.oldest_due_at.into_iter().chain(other.emails.oldest_due_at).min(),
            last_failure: one.emails.last_failure.into_iter().chain(other.emails.last_failure).max(),
        },
        migrations,
    }
}

/// As late as the later one.
fn add_forecasts(one: Forecast, other: Forecast) -> Forecast {
    let is = |progress| one.progress == progress || other.progress == progress;
    let progress = [CheckProgress::FallingBehind, CheckProgress::CatchingUp].into_iter().find(|progress| is(*progress));
    Forecast {
        progress: progress.unwrap_or(CheckProgress::CaughtUp),
        checks_per_hour: one.checks_per_hour + other.checks_per_hour,
        caught_up_in: one.caught_up_in.zip(other.caught_up_in).map(|(one, other)| one.max(other)),
    }
}

/// Finished only where both are.
fn add_reseals(one: Option<ResealProgress>, other: Option<ResealProgress>) -> Option<ResealProgress> {
    match (one, other) {
        (Some(one), Some(other)) => Some(ResealProgress {
            key_id: one.key_id,
            pass: one.pass.max(other.pass),
            after: one.after.or(other.after),
            resealed: one.resealed + other.resealed,
            unsettled: one.unsettled + other.unsettled,
            unreadable: one.unreadable + other.unreadable,
            started_at: one.started_at.min(other.started_at),
            next_pass_at: one.next_pass_at.zip(other.next_pass_at).map(|(one, other)| one.min(other)),
            finished_at: one.finished_at.zip(other.finished_at).map(|(one, other)| one.max(other)),
        }),
        // Where nothing has begun, nothing is finished.
        (begun, None) | (None, begun) => begun.map(|begun| ResealProgress { finished_at: None, ..begun }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::maintenance::LastRun;
    use crate::time::Timestamp;

    fn state(rows: &[(&str, i64)], migrations: &[&str], began: Option<i64>) -> InstallationState {
        InstallationState {
            sealed_under: rows.iter().map(|(key, rows)| ((*key).to_owned(), *rows)).collect(),
            is_sealed_under_complete: true,
            due_checks: 1,
            oldest_due_at: began.map(Timestamp::from_unix),
            last_run: began.map(|at| LastRun {
                started_at: Timestamp::from_unix(at),
                previous_started_at: None,
                finished_at: None,
                summary: None,
            }),
            migrations: migrations.iter().map(|name| (*name).to_owned()).collect(),
            ..InstallationState::default()
        }
    }

    #[test]
    fn states_are_added_and_what_is_behind_is_shown() {
        let all = [
            state(&[("k1", 1), ("k2", 2)], &["1", "2", "3"], Some(30)),
            state(&[("k2", 3)], &["1", "3"], Some(20)),
            state(&[], &["1", "3"], Some(40)),
        ];
        let sum = all.iter().cloned().reduce(add_states).unwrap();
        assert_eq!(sum, InstallationState { due_checks: 3, ..state(&[("k1", 1), ("k2", 5)], &["1", "3"], Some(20)) });
        assert_eq!(add_states(sum, state(&[], &[], None)).last_run, None, "one was never run");
    }

    #[test]
    fn the_emails_of_several_databases_are_added() {
        let at = Timestamp::from_unix;
        let state = |waiting, oldest: Option<i64>, failure: Option<(i64, &str)>| InstallationState {
            emails: EmailBacklog {
                waiting,
                oldest_due_at: oldest.map(at),
                last_failure: failure.map(|(time, code)| (at(time), code.to_owned())),
            },
            ..InstallationState::default()
        };
        let sum = [state(1, Some(30), None), state(2, Some(20), Some((5, "a"))), state(3, None, Some((7, "b")))];
        let sum = sum.into_iter().reduce(add_states).unwrap();
        assert_eq!(sum, state(6, Some(20), Some((7, "b"))));
    }

    #[test]
    fn the_forecast_is_that_of_the_later_one() {
        let forecast = |progress, caught_up_in| Forecast { progress, checks_per_hour: 10, caught_up_in };
        let (up, catching) =
            (forecast(CheckProgress::CaughtUp, Some(0)), forecast(CheckProgress::CatchingUp, Some(60)));
        assert_eq!(add_forecasts(up, catching), Forecast { checks_per_hour: 20, ..catching });
        let behind = forecast(CheckProgress::FallingBehind, None);
        assert_eq!(add_forecasts(behind, catching), Forecast { checks_per_hour: 20, ..behind });
    }

    #[test]
    fn a_key_rotation_is_finished_when_the_last_database_is() {
        let progress = |next: Option<i64>, finished: Option<i64>| {
            Some(ResealProgress {
                key_id: "k2".into(),
                pass: 1,
                after: None,
                resealed: 2,
                unsettled: 0,
                unreadable: 1,
                started_at: Timestamp::from_unix(10),
                next_pass_at: next.map(Timestamp::from_unix),
                finished_at: finished.map(Timestamp::from_unix),
            })
        };
        let sum = |one, other| add_reseals(one, other).map(|sum| (sum.resealed, sum.next_pass_at, sum.finished_at));
        let at = |seconds| Some(Timestamp::from_unix(seconds));
        let finished = progress(Some(70), Some(50));
        assert_eq!(sum(finished.clone(), progress(Some(60), Some(40))), Some((4, at(60), at(50))));
        assert_eq!(sum(finished.clone(), progress(None, None)), Some((4, None, None)));
        assert_eq!(sum(finished, None), Some((2, at(70), None)));
        assert_eq!(sum(None, None), None);
    }
}
