//! What one instance of the program remembers between requests: plain data that saves round trips.
//!
//! Nothing here is ever needed for correctness, and nothing here is a secret. Refuses to grow: a map
//! that is full is emptied.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::ids::ConnectionId;
use crate::time::Timestamp;

/// Entries of a map, at most.
const MOST: usize = 1000;

/// The memory of one instance.
#[derive(Debug, Default)]
pub struct Memo {
    fitting_ring: Cell<Option<[u8; 32]>>,
    noted: RefCell<HashMap<(String, String), Timestamp>>,
    copied: RefCell<HashMap<ConnectionId, (i64, i64)>>,
}

impl Memo {
    /// Whether a ring was found to fit the data before, by its fingerprint.
    pub fn ring_fits(&self, fingerprint: [u8; 32]) -> bool {
        self.fitting_ring.get() == Some(fingerprint)
    }

    /// Remembers a ring that fits.
    pub fn remember_ring(&self, fingerprint: [u8; 32]) {
        self.fitting_ring.set(Some(fingerprint));
    }

    /// Whether something about a connection or key was not done within `seconds`; it counts as done from now on.
    pub fn is_time(&self, about: &str, what: &str, seconds: i64, now: Timestamp) -> bool {
        let mut noted = self.noted.borrow_mut();
        if noted.len() >= MOST {
            noted.clear();
        }
        let key = (about.to_owned(), what.to_owned());
        if noted.get(&key).is_some_and(|at| now.since(*at) <= seconds) {
            return false;
        }
        noted.insert(key, now);
        true
    }

    /// Whether this version of a connection was copied to the cache from here.
    pub fn was_copied(&self, connection: &ConnectionId, generation: i64, version: i64) -> bool {
        self.copied.borrow().get(connection) == Some(&(generation, version))
    }

    /// Remembers a copy.
    pub fn remember_copy(&self, connection: &ConnectionId, generation: i64, version: i64) {
        let mut copied = self.copied.borrow_mut();
        if copied.len() >= MOST {
            copied.clear();
        }
        copied.insert(connection.clone(), (generation, version));
    }

    /// Forgets a copy that was taken back.
    pub fn forget_copy(&self, connection: &ConnectionId) {
        self.copied.borrow_mut().remove(connection);
    }
}
