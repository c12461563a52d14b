//! How many requests of each connection are at its app just now, as far as this instance of the program sends them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::ids::ConnectionId;

type Counts = Rc<RefCell<HashMap<ConnectionId, u32>>>;

/// The counts. A connection without requests has none.
#[derive(Debug, Default)]
pub struct InFlight(Counts);

/// One request. It counts until this is dropped.
#[derive(Debug)]
pub struct InFlightSlot {
    counts: Counts,
    connection: ConnectionId,
}

impl InFlight {
    /// One more, unless there are `most` already.
    pub fn enter(&self, connection: &ConnectionId, most: u32) -> Option<InFlightSlot> {
        let mut counts = self.0.borrow_mut();
        let count = counts.entry(connection.clone()).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(InFlightSlot { counts: Rc::clone(&self.0), connection: connection.clone() })
    }
}

impl Drop for InFlightSlot {
    fn drop(&mut self) {
        let mut counts = self.counts.borrow_mut();
        if let Some(count) = counts.get_mut(&self.connection) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.connection);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::InFlight;
    use crate::ids::ConnectionId;

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped_and_each_connection_has_its_own() {
        let counts = InFlight::default();
        let [ann, ben] = ["A", "B"].map(|letter| ConnectionId::parse(&format!("con_{}", letter.repeat(22))).unwrap());
        let first = counts.enter(&ann, 2);
        let second = counts.enter(&ann, 2);
        assert!(first.is_some() && second.is_some() && counts.enter(&ann, 2).is_none());
        assert!(counts.enter(&ben, 2).is_some());
        drop(second);
        assert!(counts.enter(&ann, 2).is_some());
        drop(first);
        assert_eq!(counts.0.borrow().len(), 0, "nothing is left of connections without requests");
    }
}
