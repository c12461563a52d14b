//! With a queue: what a cron event leaves due is done by runs in invocations of their own.
//!
//! Owns how many messages an event sends, and what a message starts. Refuses to rely on the queue: leases decide who checks
//! what, as between any two runs. A message that is lost is work for the next event, and one that comes twice finds nothing
//! due. A message never makes messages.

use serde_json::json;

use crate::check::{RunSummary, checks_of_a_run, run_queued};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ids::Shard;
use crate::ports::{Ports, QueuedRun, RunQueue};
use crate::scheduled_runs::run_all;
use crate::store::maintenance;
use crate::time::Timestamp;

/// Messages of one event, at most. The next event sends more, if it must.
const MOST_MESSAGES: usize = 10;
/// Seconds after which a message starts nothing any more: later events have sent others for what is left.
const TOO_LATE: i64 = 900;

/// Runs each database, as without a queue, and then sends messages for what these runs left due.
pub async fn run_event<P: Ports>(context: &Context<P>, scheduled_at: Timestamp) -> Vec<(Shard, Result<RunSummary>)> {
    let runs = run_all(context, scheduled_at).await;
    if context.ports.run_queue().is_bound() {
        send_messages(context, scheduled_at, &runs).await;
    }
    runs
}

/// Where it fails, the next event does what is left, as without a queue.
async fn send_messages<P: Ports>(context: &Context<P>, scheduled_at: Timestamp, runs: &[(Shard, Result<RunSummary>)]) {
    let mut wanted = Vec::new();
    for (shard, _) in runs.iter().filter(|(_, run)| run.is_ok()) {
        wanted.push((shard.number(), count_runs_left(context, *shard, scheduled_at).await));
    }
    let messages = divide(&wanted, scheduled_at.unix());
    if messages.is_empty() {
        return;
    }
    match context.ports.run_queue().send(&messages).await {
        Ok(()) => context.log("info", "runs_queued", &json!({ "messages": messages.len() })),
        Err(error) => context.log("warn", "queue_failed", &json!({ "cause": error.to_string() })),
    }
}

/// How many runs would do what the last one of a database left due. A message's run has all of an invocation's limits.
async fn count_runs_left<P: Ports>(context: &Context<P>, shard: Shard, scheduled_at: Timestamp) -> usize {
    let Some(database) = context.in_shard(shard) else { return 0 };
    let each = checks_of_a_run(context);
    let most = each * i64::try_from(MOST_MESSAGES).unwrap_or(1);
    match maintenance::count_due(database.db(), scheduled_at, most).await {
        Ok(due) => usize::try_from((due + each - 1) / each).unwrap_or(0),
        Err(error) => {
            database.log_cause(&error.into());
            0
        }
    }
}

/// One message for each database that wants one, then a second one, and so on: none waits for the backlog of another.
fn divide(wanted: &[(u16, usize)], scheduled_at: i64) -> Vec<QueuedRun> {
    let rounds = (0..MOST_MESSAGES).flat_map(|round| wanted.iter().filter(move |(_, runs)| *runs > round));
    rounds.take(MOST_MESSAGES).map(|(database, _)| QueuedRun { database: *database, scheduled_at }).collect()
}

/// Does what a message says: one run. None if it came too late.
///
/// # Errors
/// Its database is not bound any more, or the run failed.
pub async fn run_message<P: Ports>(context: &Context<P>, message: QueuedRun) -> Result<Option<RunSummary>> {
    let scheduled_at = Timestamp::from_unix(message.scheduled_at);
    if context.now().since(scheduled_at) > TOO_LATE {
        return Ok(None);
    }
    let database = Shard::new(message.database).and_then(|shard| context.in_shard(shard));
    let run = match &database {
        // Nothing is checked before it is due, whatever a message says.
        Some(database) => run_queued(database, scheduled_at.min(context.now())).await.map(Some),
        None => Err(Error::internal("the database of a queued run is not bound")),
    };
    if let Err(error) = &run {
        context.log_cause(error);
        let fields = json!({ "code": error.code.as_str(), "database": message.database });
        context.log("error", "queued_run_failed", &fields);
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_get_messages_in_turn_and_an_event_sends_ten_at_most() {
        let databases =
            |wanted: &[(u16, usize)]| divide(wanted, 7).iter().map(|message| message.database).collect::<Vec<_>>();
        assert!(databases(&[]).is_empty());
        assert!(databases(&[(0, 0), (1, 0)]).is_empty());
        assert_eq!(databases(&[(2, 1), (0, 3), (1, 0)]), [2, 0, 0, 0]);
        assert_eq!(databases(&[(0, 90), (1, 2)]), [0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
        let many: Vec<_> = (0..40).map(|number| (number, 3)).collect();
        assert_eq!(databases(&many), (0..10).collect::<Vec<_>>());
    }
}
