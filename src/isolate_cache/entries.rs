//! Entries of the cache that were read or written here a moment ago, as they are stored: sealed. Bounded in number and
//! bytes: where there is no room, all go, and are read again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;

use crate::time::Timestamp;

/// Seconds that an entry is answered from memory. A location of the platform answers for 30 seconds from what it has read:
/// together they make the 60 within which a revocation reaches the cache's readers.
const MEMORY_TTL: i64 = 30;
/// Entries, at most.
const MOST_ENTRIES: usize = 4000;
/// Bytes of their names and texts in all, at most.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Values by name, bounded in number and bytes.
#[derive(Debug)]
pub(super) struct BoundedMap<V> {
    values: HashMap<Rc<str>, (V, usize)>,
    bytes: usize,
}

impl<V> Default for BoundedMap<V> {
    fn default() -> Self {
        Self { values: HashMap::new(), bytes: 0 }
    }
}

impl<V> BoundedMap<V> {
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        self.values.get(name).map(|(value, _)| value)
    }

    /// Sets a value whose text has `length` bytes.
    pub(super) fn insert(&mut self, name: &str, value: V, length: usize) {
        self.remove(name);
        let bytes = name.len() + length;
        if self.values.len() >= MOST_ENTRIES || self.bytes + bytes > MOST_BYTES {
            *self = Self::default();
        }
        if bytes <= MOST_BYTES {
            self.bytes += bytes;
            self.values.insert(name.into(), (value, bytes));
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some((_, bytes)) = self.values.remove(name) {
            self.bytes -= bytes;
        }
    }

    pub(super) fn size(&self) -> (usize, usize) {
        (self.values.len(), self.bytes)
    }
}

#[derive(Debug, Clone)]
struct RememberedEntry {
    /// None: there is no such entry.
    text: Option<Rc<str>>,
    read_at: Timestamp,
}

/// The time between two changes of an entry, as far as this instance knows of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Epoch(u64);

#[derive(Debug, Default)]
struct State {
    entries: BoundedMap<RememberedEntry>,
    /// Names share 256 epochs. An entry that changes can only make another one be read once more.
    epochs: HashMap<u8, Epoch>,
}

fn epoch_slot(name: &str) -> u8 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish().to_le_bytes()[0]
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

    /// The epoch of an entry, to be taken before the entry is read.
    pub fn epoch(&self, name: &str) -> Epoch {
        self.0.borrow().epochs.get(&epoch_slot(name)).copied().unwrap_or_default()
    }

    /// Remembers an entry whose read or write began in this epoch. Does nothing if the entry was forgotten since: what was
    /// read may be what stood there before the change.
    pub fn remember(&self, name: &str, text: Option<&str>, epoch: Epoch, now: Timestamp) {
        if self.epoch(name) == epoch {
            let entry = RememberedEntry { text: text.map(Into::into), read_at: now };
            self.0.borrow_mut().entries.insert(name, entry, text.map_or(0, str::len));
        }
    }

    /// Forgets an entry: something has changed. Answers with the epoch that begins.
    pub fn forget(&self, name: &str) -> Epoch {
        let mut state = self.0.borrow_mut();
        state.entries.remove(name);
        let epoch = state.epochs.entry(epoch_slot(name)).or_default();
        epoch.0 = epoch.0.wrapping_add(1);
        *epoch
    }

    /// How many entries are remembered, and their bytes.
    pub fn size(&self) -> (usize, usize) {
        self.0.borrow().entries.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_000 + seconds)
    }

    fn remember(memory: &EntryMemory, name: &str, text: Option<&str>) {
        memory.remember(name, text, memory.epoch(name), at(0));
    }

    #[test]
    fn an_entry_is_answered_for_thirty_seconds_and_its_absence_too() {
        let memory = EntryMemory::default();
        remember(&memory, "a", Some("text"));
        remember(&memory, "b", None);
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
        remember(&memory, "a", Some("text"));
        memory.forget("a");
        assert_eq!((memory.get("a", at(0)), memory.size()), (None, (0, 0)));
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let memory = EntryMemory::default();
        let before = memory.epoch("a");
        let after = memory.forget("a");
        memory.remember("a", Some("old"), before, at(0));
        assert_eq!(memory.get("a", at(0)), None);
        // Where there was no room, epochs stay.
        for number in 0..=MOST_ENTRIES {
            remember(&memory, &format!("entry {number}"), None);
        }
        memory.remember("a", Some("old"), before, at(0));
        assert_eq!(memory.get("a", at(0)), None);
        memory.remember("a", Some("new"), after, at(0));
        assert_eq!(memory.get("a", at(0)).flatten().as_deref(), Some("new"));
    }

    #[test]
    fn the_memory_does_not_grow_without_end() {
        let memory = EntryMemory::default();
        for number in 0..=MOST_ENTRIES {
            remember(&memory, &format!("entry {number}"), Some("x"));
        }
        assert_eq!(memory.size().0, 1);
        let long = "x".repeat(MOST_BYTES / 3);
        for name in ["a", "b", "c", "a", "a"] {
            remember(&memory, name, Some(&long));
            assert!(memory.size().1 <= MOST_BYTES, "{:?}", memory.size());
        }
        remember(&memory, "too long", Some(&"x".repeat(MOST_BYTES)));
        assert_eq!(memory.get("too long", at(0)), None);
    }
}
