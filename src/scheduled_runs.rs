//! One cron event: a scheduled run in each database.
//!
//! Owns the order of the databases, and what each may spend of the event's limits. A database that fails does not stop the
//! others. Refuses to know what a run does: `check` does.

use serde_json::json;

use crate::check::{RunSummary, run_scheduled};
use crate::context::Context;
use crate::error::Result;
use crate::ids::Shard;
use crate::ports::{Ports, RunQueue};
use crate::time::Timestamp;

/// Subrequests that a run needs beside what `CHECK_BATCH` counts.
const FIXED_COST: i64 = 10;
/// With a queue: what it takes to count what a run has left, and to send the messages of an event.
const COUNT_COST: i64 = 1;
const SEND_COST: i64 = 1;
/// A database gets no run with less than this of `CHECK_BATCH`: a run would do little but begin and end.
const SMALLEST_SHARE: i64 = 10;
/// Seconds after which the event begins no further run: the next event follows five minutes after this one.
const START_WITHIN: i64 = 200;

/// Runs each database, or as many as the limits allow; answers those that were run, in their order.
pub async fn run_all<P: Ports>(context: &Context<P>, scheduled_at: Timestamp) -> Vec<(Shard, Result<RunSummary>)> {
    let mut databases = context.all_shards();
    let first = rotation(scheduled_at.unix() / 60, databases.len());
    databases.rotate_left(first);
    let shares = shares(context.config.check_batch, databases.len(), context.ports.run_queue().is_bound());
    let begin_until = context.now().plus(START_WITHIN);
    let mut runs = Vec::new();
    for database in databases.into_iter().take(shares.databases) {
        if context.now() >= begin_until {
            break;
        }
        let database = database.with_share_of_batches(shares.check_batch, shares.databases);
        let run = run_scheduled(&database, scheduled_at).await;
        if let Err(error) = &run {
            database.log_cause(error);
            let fields = json!({ "code": error.code.as_str(), "database": database.shard().binding() });
            database.log("error", "scheduled_run_failed", &fields);
        }
        runs.push((database.shard(), run));
    }
    runs
}

/// How many databases an event runs, and what each gets of `CHECK_BATCH`.
#[derive(Debug, PartialEq, Eq)]
struct Shares {
    databases: usize,
    check_batch: i64,
}

/// What each of so many databases gets of `CHECK_BATCH`, when it is run.
pub fn check_batch_of_each<P: Ports>(context: &Context<P>, databases: usize) -> i64 {
    shares(context.config.check_batch, databases, context.ports.run_queue().is_bound()).check_batch
}

/// What every run needs in any case is counted for each.
fn shares(check_batch: i64, databases: usize, has_queue: bool) -> Shares {
    let (fixed, once) = if has_queue { (FIXED_COST + COUNT_COST, SEND_COST) } else { (FIXED_COST, 0) };
    let all = check_batch + FIXED_COST - once;
    let most = usize::try_from(all / (fixed + SMALLEST_SHARE)).unwrap_or(1);
    let count = databases.min(most).max(1);
    let each = all / i64::try_from(count).unwrap_or(1) - fixed;
    Shares { databases: count, check_batch: each.max(1) }
}

/// The number of the database that is first in this minute: each minute goes on by the golden section of all of them, so that
/// every one is first about equally often and soon again, however many minutes lie between two events. With the minute
/// itself, events every five minutes would always begin with the same one of five.
fn rotation(minute: i64, databases: usize) -> usize {
    /// 2^64 by the golden ratio.
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let part = minute.unsigned_abs().wrapping_mul(GOLDEN) >> 32;
    let databases = u64::try_from(databases).unwrap_or(1);
    usize::try_from((part * databases) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_database_gets_everything() {
        for batch in [1, 5, 40, 500] {
            assert_eq!(shares(batch, 1, false), Shares { databases: 1, check_batch: batch });
            assert_eq!(
                shares(batch, 1, true),
                Shares { databases: 1, check_batch: (batch - 2).max(1) },
                "a queue costs two"
            );
        }
    }

    #[test]
    fn databases_share_the_subrequests_of_one_event() {
        for batch in [1, 5, 40, 500] {
            for databases in 1..100 {
                let shares = shares(batch, databases, false);
                assert!((1..=databases).contains(&shares.databases));
                assert!(shares.databases == 1 || shares.check_batch >= SMALLEST_SHARE, "{batch} {databases}");
                let count = i64::try_from(shares.databases).unwrap();
                assert!(count * (shares.check_batch + FIXED_COST) <= batch + FIXED_COST, "{batch} {databases}");
            }
        }
        assert_eq!(shares(40, 2, false), Shares { databases: 2, check_batch: 15 });
        assert_eq!(shares(40, 3, false), Shares { databases: 2, check_batch: 15 });
        assert_eq!(shares(500, 3, false), Shares { databases: 3, check_batch: 160 });
        assert_eq!(shares(40, 3, true), Shares { databases: 2, check_batch: 13 });
        assert_eq!(shares(500, 3, true), Shares { databases: 3, check_batch: 158 });
    }

    #[test]
    fn each_database_is_first_about_equally_often_at_any_interval() {
        for databases in 1..=12 {
            for interval in [1, 2, 3, 4, 5, 8, 9, 10, 15, 25, 30, 60] {
                let events = 4_000;
                let mut first = vec![0_usize; databases];
                let (mut last, mut longest) = (vec![0_usize; databases], 0);
                for event in 0..events {
                    let at = rotation(29_922_480 + i64::try_from(event).unwrap() * interval, databases);
                    first[at] += 1;
                    longest = longest.max(event - last[at]);
                    last[at] = event;
                }
                let usual = events / databases;
                let fair = first.iter().all(|times| (usual - usual / 20..=usual + usual / 20).contains(times));
                assert!(fair, "{databases} databases, every {interval} minutes: {first:?}");
                assert!(longest <= 3 * databases + 12, "{databases} databases, every {interval} minutes: {longest}");
            }
        }
    }
}
