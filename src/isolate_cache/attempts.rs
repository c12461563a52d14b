//! Refresh attempts that this instance of the program has under way, so that its other callers wait for one of them and do
//! not all ask the database again and again.
//!
//! Plain data: a caller looks whether an attempt has ended, and never waits for what belongs to another request. An attempt
//! whose request was ended by the platform says nothing any more, and is waited for no longer than [`LONGEST`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::make_room;
use crate::ids::ConnectionId;
use crate::time::Timestamp;

/// Seconds that an attempt counts as under way, at most.
const LONGEST: i64 = 10;

#[derive(Debug)]
struct Attempt {
    number: u64,
    reason: Rc<str>,
    begun_at: Timestamp,
    outcome: Option<Rc<str>>,
}

/// An attempt that another caller began here.
#[derive(Debug, Clone)]
pub struct RunningAttempt {
    /// Its number.
    pub number: u64,
    /// What it was begun for.
    pub reason: Rc<str>,
}

/// What is known of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptState {
    /// It is under way.
    Running,
    /// What came of it.
    Ended(Rc<str>),
    /// It was given up, or another one took its place.
    Lost,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    attempts: HashMap<ConnectionId, Attempt>,
}

/// The attempts of one instance, the last one of each connection.
#[derive(Debug, Default)]
pub struct AttemptMemory(RefCell<State>);

impl AttemptMemory {
    /// The attempt at a connection that is under way here.
    pub fn running(&self, connection: &ConnectionId, now: Timestamp) -> Option<RunningAttempt> {
        let state = self.0.borrow();
        let attempt = state.attempts.get(connection).filter(|one| one.outcome.is_none())?;
        (0..=LONGEST)
            .contains(&now.since(attempt.begun_at))
            .then(|| RunningAttempt { number: attempt.number, reason: Rc::clone(&attempt.reason) })
    }

    /// Begins an attempt: its number.
    pub fn begin(&self, connection: &ConnectionId, reason: &str, now: Timestamp) -> u64 {
        let mut state = self.0.borrow_mut();
        state.last += 1;
        let number = state.last;
        make_room(&mut state.attempts);
        state
            .attempts
            .insert(connection.clone(), Attempt { number, reason: reason.into(), begun_at: now, outcome: None });
        number
    }

    /// Ends an attempt. Without an outcome it was given up.
    pub fn end(&self, connection: &ConnectionId, number: u64, outcome: Option<&str>) {
        let mut state = self.0.borrow_mut();
        match (state.attempts.get_mut(connection).filter(|one| one.number == number), outcome) {
            (Some(attempt), Some(outcome)) => attempt.outcome = Some(outcome.into()),
            (Some(_), None) => drop(state.attempts.remove(connection)),
            (None, _) => {}
        }
    }

    /// How an attempt is doing.
    pub fn state(&self, connection: &ConnectionId, number: u64) -> AttemptState {
        match self.0.borrow().attempts.get(connection) {
            Some(attempt) if attempt.number == number => attempt
                .outcome
                .as_ref()
                .map_or(AttemptState::Running, |outcome| AttemptState::Ended(Rc::clone(outcome))),
            _ => AttemptState::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_seen_until_it_ends_or_takes_too_long() {
        let (memory, id) = (AttemptMemory::default(), ConnectionId::parse("con_0123456789abcdefABCD-_").unwrap());
        let at = Timestamp::from_unix;
        assert!(memory.running(&id, at(0)).is_none());
        let first = memory.begin(&id, "why", at(100));
        assert_eq!(memory.running(&id, at(110)).map(|one| (one.number, one.reason)), Some((first, "why".into())));
        assert!(memory.running(&id, at(111)).is_none() && memory.running(&id, at(99)).is_none());
        assert_eq!(memory.state(&id, first), AttemptState::Running);
        memory.end(&id, first, Some("done"));
        assert!(memory.running(&id, at(101)).is_none(), "who comes now did not wait for it");
        assert_eq!(memory.state(&id, first), AttemptState::Ended("done".into()));

        let second = memory.begin(&id, "why", at(200));
        assert_eq!(memory.state(&id, first), AttemptState::Lost);
        memory.end(&id, first, None);
        assert_eq!(memory.state(&id, second), AttemptState::Running);
        memory.end(&id, second, None);
        assert_eq!(memory.state(&id, second), AttemptState::Lost);
    }
}
