//! Callers of one instance of the program that want the same connection refreshed: the first one's attempt answers them all.
//!
//! Saves reads and leases. What is right is ensured by the lease in the database, with any number of instances.

use super::{BUSY_RETRY_AFTER, run_alone};
use crate::context::Context;
use crate::ids::ConnectionId;
use crate::isolate_cache::AttemptState;
use crate::ports::{Clock, Ports, RefreshOutcome, RefreshReason};

/// Milliseconds until a caller looks whether the attempt has ended: an app takes about that long.
const FIRST_LOOK_MS: u32 = 150;
/// Milliseconds between the later looks. No look asks the database.
const LOOK_MS: u32 = 50;
/// Looks at most: ten seconds.
const MOST_LOOKS: u32 = 200;

/// The attempt of this caller. If its request is dropped, the others do not wait for it.
struct OwnAttempt<'a, P: Ports> {
    context: &'a Context<P>,
    id: &'a ConnectionId,
    number: u64,
    outcome: Option<String>,
}

impl<P: Ports> Drop for OwnAttempt<'_, P> {
    fn drop(&mut self) {
        self.context.ports.isolate_cache().attempts().end(self.id, self.number, self.outcome.as_deref());
    }
}

/// The outcome of an attempt that is under way here, or else of one of its own.
pub(super) async fn join_or_run<P: Ports>(
    context: &Context<P>,
    id: &ConnectionId,
    reason: RefreshReason,
) -> RefreshOutcome {
    let attempts = context.ports.isolate_cache().attempts();
    while let Some(running) = attempts.running(id, context.now()) {
        if matches!(reason, RefreshReason::Early | RefreshReason::ScheduledCheck) {
            return RefreshOutcome::InProgress { retry_after: BUSY_RETRY_AFTER };
        }
        let Some(ended) = wait_for_end(context, id, running.number).await else {
            return RefreshOutcome::InProgress { retry_after: BUSY_RETRY_AFTER };
        };
        if let (AttemptState::Ended(outcome), Ok(begun_for)) = (ended, serde_json::from_str(&running.reason))
            && let Ok(outcome) = serde_json::from_str(&outcome)
            && !matches!(outcome, RefreshOutcome::InProgress { .. })
            && reason.is_answered_by(begun_for, &outcome)
        {
            return outcome;
        }
    }
    let number = attempts.begin(id, &serde_json::to_string(&reason).unwrap_or_default(), context.now());
    let mut own = OwnAttempt { context, id, number, outcome: None };
    let outcome = run_alone(context, id, reason).await;
    own.outcome = serde_json::to_string(&outcome).ok();
    outcome
}

/// How an attempt ended. None if that takes too long.
async fn wait_for_end<P: Ports>(context: &Context<P>, id: &ConnectionId, number: u64) -> Option<AttemptState> {
    let mut pause = FIRST_LOOK_MS;
    for _ in 0..MOST_LOOKS {
        context.ports.clock().sleep(pause).await;
        match context.ports.isolate_cache().attempts().state(id, number) {
            AttemptState::Running => pause = LOOK_MS,
            ended => return Some(ended),
        }
    }
    None
}
