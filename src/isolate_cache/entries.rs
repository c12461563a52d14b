//! Entries of the cache that were read or written here a moment ago, as they are stored: sealed. Bounded in number and
//! bytes: where there is no room, all go, and are read again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::time::Timestamp;

/// Seconds that an entry is answered from memory. A location of the platform answers for 30 seconds from what it has read:
/// together they make the 60 within which a revocation reaches the cache's readers.
const MEMORY_TTL: i64 = 30;
/// Entries, at most.
const MOST_ENTRIES: usize = 4000;
/// Bytes of their names and texts in all, at most.
const MOST_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug, Clone)]
struct RememberedEntry {
    /// None: there is no such entry.
    text: Option<Rc<str>>,
    read_at: Timestamp,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Rc<str>, RememberedEntry>,
    bytes: usize,
}

impl State {
    fn remove(&mut self, name: &str) {
        if let Some((name, entry)) = self.entries.remove_entry(name) {
            self.bytes -= size(&name, entry.text.as_deref());
        }
    }
}

fn size(name: &str, text: Option<&str>) -> usize {
    name.len() + text.map_or(0, str::len)
}

/// The entries that one instance of the program remembers.
#[derive(Debug, Default)]
pub struct EntryMemory(RefCell<State>);

impl EntryMemory {
    /// What is known of an entry: the outer `None` says that it has to be read.
    pub fn get(&self, name: &str, now: Timestamp) -> Option<Option<Rc<str>>> {
        let state = self.0.borrow();
        let entry = state.entries.get(name)?;
        (0..MEMORY_TTL).contains(&now.since(entry.read_at)).then(|| entry.text.clone())
    }

    /// An entry's text, however long ago it was read.
    pub fn get_outdated(&self, name: &str) -> Option<Rc<str>> {
        self.0.borrow().entries.get(name)?.text.clone()
    }

    /// Remembers an entry that was read or written now.
    pub fn remember(&self, name: &str, text: Option<&str>, now: Timestamp) {
        let mut state = self.0.borrow_mut();
        state.remove(name);
        let bytes = size(name, text);
        if state.entries.len() >= MOST_ENTRIES || state.bytes + bytes > MOST_BYTES {
            *state = State::default();
        }
        if bytes <= MOST_BYTES {
            state.bytes += bytes;
            state.entries.insert(name.into(), RememberedEntry { text: text.map(Into::into), read_at: now });
        }
    }

    /// Forgets an entry: something has changed.
    pub fn forget(&self, name: &str) {
        self.0.borrow_mut().remove(name);
    }

    /// How many entries are remembered, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        let state = self.0.borrow();
        (state.entries.len(), state.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_000 + seconds)
    }

    #[test]
    fn an_entry_is_answered_for_thirty_seconds_and_its_absence_too() {
        let memory = EntryMemory::default();
        memory.remember("a", Some("text"), at(0));
        memory.remember("b", None, at(0));
        assert_eq!(memory.get("a", at(29)).flatten().as_deref(), Some("text"));
        assert_eq!(memory.get("b", at(29)), Some(None));
        assert_eq!((memory.get("a", at(30)), memory.get("b", at(30)), memory.get("c", at(0))), (None, None, None));
        assert_eq!(memory.get_outdated("a").as_deref(), Some("text"));
        // A clock that went back makes nothing live longer.
        assert_eq!(memory.get("a", at(-1)), None);
    }

    #[test]
    fn what_is_forgotten_has_to_be_read() {
        let memory = EntryMemory::default();
        memory.remember("a", Some("text"), at(0));
        memory.forget("a");
        assert_eq!((memory.get("a", at(0)), memory.size()), (None, (0, 0)));
    }

    #[test]
    fn the_memory_does_not_grow_without_end() {
        let memory = EntryMemory::default();
        for number in 0..=MOST_ENTRIES {
            memory.remember(&format!("entry {number}"), Some("x"), at(0));
        }
        assert_eq!(memory.size().0, 1);
        let long = "x".repeat(MOST_BYTES / 3);
        for name in ["a", "b", "c", "a", "a"] {
            memory.remember(name, Some(&long), at(0));
            assert!(memory.size().1 <= MOST_BYTES, "{:?}", memory.size());
        }
        memory.remember("too long", Some(&"x".repeat(MOST_BYTES)), at(0));
        assert_eq!(memory.get("too long", at(0)), None);
    }
}
