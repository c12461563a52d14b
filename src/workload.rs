//! How far the scheduled checks are behind, and when they will have caught up.
//!
//! Owns the forecast: what is due and will be, against what runs have done. Pure. Refuses to guess where a run has shown it:
//! one that left something due did all it could.

use crate::store::erasing::STATUS_ROWS_COUNTED;
use crate::store::maintenance::{InstallationState, LastRun};
use crate::time::Timestamp;

const HOUR: i64 = 3600;
/// Seconds between two runs, where none has shown it.
const USUAL_INTERVAL: i64 = 300;
/// What is taken for the time between two runs: a shorter one was by hand, and a longer one was a pause.
const INTERVALS: std::ops::RangeInclusive<i64> = 30..=HOUR;

/// Whether the checks are done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckProgress {
    /// The last run left nothing that was due.
    CaughtUp,
    /// Something is late, and will be done.
    CatchingUp,
    /// Something is late, and it becomes more. Or no run begins.
    FallingBehind,
}

/// What is to be expected of the scheduled checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// Whether they are done in time.
    pub progress: CheckProgress,
    /// Checks that runs make in an hour, if so many are due. 0 while no run begins.
    pub checks_per_hour: i64,
    /// Seconds until nothing is late, or more if not all that is due was counted. None: never at this rate.
    pub caught_up_in: Option<i64>,
}

/// The forecast. `allowed` are the checks that the settings allow a run.
pub fn forecast(state: &InstallationState, allowed: i64, now: Timestamp) -> Forecast {
    let last = state.last_run.as_ref();
    let interval = last.map_or(USUAL_INTERVAL, interval);
    let is_stopped = last.is_none_or(|run| now.since(run.started_at) > 3 * interval.max(USUAL_INTERVAL));
    let is_late = state
        .oldest_due_at
        .is_some_and(|oldest| last.is_none_or(|run| oldest < run.started_at) || now.since(oldest) > 2 * interval);
    let shown = last.filter(|_| is_late).and_then(checked).filter(|checked| *checked > 0);
    let checks_per_hour = if is_stopped { 0 } else { shown.unwrap_or(allowed) * HOUR / interval };
    let gained = checks_per_hour - state.due_within_an_hour;
    let (progress, caught_up_in) = if !is_late {
        (CheckProgress::CaughtUp, Some(0))
    } else if gained > 0 && state.due_within_an_hour < STATUS_ROWS_COUNTED {
        (CheckProgress::CatchingUp, Some((state.due_checks * HOUR + gained - 1) / gained))
    } else {
        (CheckProgress::FallingBehind, None)
    };
    Forecast { progress, checks_per_hour, caught_up_in }
}

fn interval(run: &LastRun) -> i64 {
    let between = run.previous_started_at.map(|previous| run.started_at.since(previous));
    between.filter(|seconds| INTERVALS.contains(seconds)).unwrap_or(USUAL_INTERVAL)
}

fn checked(run: &LastRun) -> Option<i64> {
    serde_json::from_str::<serde_json::Value>(run.summary.as_deref()?).ok()?.get("checked")?.as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_unix(1_000_000)
    }

    fn state(due: i64, late: i64, soon: i64, run: Option<(i64, i64, i64)>) -> InstallationState {
        InstallationState {
            due_checks: due,
            oldest_due_at: (due > 0).then(|| now().plus(-late)),
            due_within_an_hour: soon,
            last_run: run.map(|(ago, interval, checked)| LastRun {
                started_at: now().plus(-ago),
                previous_started_at: Some(now().plus(-ago - interval)),
                finished_at: Some(now().plus(-ago + 20)),
                summary: Some(format!("{{\"checked\":{checked}}}")),
            }),
            ..InstallationState::default()
        }
    }

    fn told(state: &InstallationState) -> (CheckProgress, i64, Option<i64>) {
        let forecast = forecast(state, 40, now());
        (forecast.progress, forecast.checks_per_hour, forecast.caught_up_in)
    }

    #[test]
    fn what_became_due_since_the_last_run_is_not_late() {
        assert_eq!(told(&state(0, 0, 100, Some((100, 300, 9)))), (CheckProgress::CaughtUp, 480, Some(0)));
        assert_eq!(told(&state(30, 90, 100, Some((100, 300, 9)))), (CheckProgress::CaughtUp, 480, Some(0)));
        assert_eq!(told(&state(30, 90, 100, Some((100, 60, 9)))).1, 2400, "a run each minute");
    }

    #[test]
    fn a_run_that_left_something_due_shows_what_runs_can_do() {
        let late = state(1_000, 4_000, 80, Some((100, 300, 30)));
        assert_eq!(told(&late), (CheckProgress::CatchingUp, 360, Some(12_858)));
        let more = state(1_000, 4_000, 400, Some((100, 300, 30)));
        assert_eq!(told(&more), (CheckProgress::FallingBehind, 360, None));
        let uncounted = state(10_000, 4_000, 10_000, Some((100, 30, 800)));
        assert_eq!(told(&uncounted).2, None, "nobody knows how many become due");
    }

    #[test]
    fn without_runs_it_falls_behind() {
        assert_eq!(told(&state(5, 4_000, 80, Some((3_000, 300, 30)))), (CheckProgress::FallingBehind, 0, None));
        assert_eq!(told(&state(5, 4_000, 80, None)), (CheckProgress::FallingBehind, 0, None));
        assert_eq!(told(&state(0, 0, 80, None)), (CheckProgress::CaughtUp, 0, Some(0)));
    }
}
