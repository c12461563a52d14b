//! Parsed definitions of workspaces' own apps. Found by their whole text, so that an entry can never be an old one.
//! Bounded in number and bytes: the one that was used longest ago gives way.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::app::Definition;

/// Definitions, at most.
const MOST: usize = 500;
/// Bytes of their texts in all, at most. A parsed definition takes a few times its text.
const MOST_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug)]
struct Entry {
    /// None for a text that can't be read: it is not tried again.
    definition: Option<Rc<Definition>>,
    used: u64,
}

#[derive(Debug, Default)]
struct Held {
    entries: HashMap<Rc<str>, Entry>,
    bytes: usize,
    uses: u64,
    parsed: u64,
}

impl Held {
    fn make_room(&mut self, bytes: usize) {
        while !self.entries.is_empty() && (self.entries.len() >= MOST || self.bytes + bytes > MOST_BYTES) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(text, _)| Rc::clone(text));
            let Some(oldest) = oldest else { return };
            self.entries.remove(&oldest);
            self.bytes -= oldest.len();
        }
    }
}

/// The definitions that one instance of the program has parsed.
#[derive(Debug, Default)]
pub struct Definitions(RefCell<Held>);

impl Definitions {
    /// The definition of a text, parsed unless it was before.
    pub fn get(&self, text: &str, parse: impl FnOnce(&str) -> Option<Definition>) -> Option<Rc<Definition>> {
        let mut held = self.0.borrow_mut();
        held.uses += 1;
        let used = held.uses;
        if let Some(entry) = held.entries.get_mut(text) {
            entry.used = used;
            return entry.definition.clone();
        }
        let definition = parse(text).map(Rc::new);
        held.parsed += 1;
        held.make_room(text.len());
        held.bytes += text.len();
        held.entries.insert(text.into(), Entry { definition: definition.clone(), used });
        definition
    }

    /// How often a text was parsed.
    pub fn parsed(&self) -> u64 {
        self.0.borrow().parsed
    }

    /// How many definitions are held, and the bytes of their texts.
    pub fn size(&self) -> (usize, usize) {
        let held = self.0.borrow();
        (held.entries.len(), held.bytes)
    }
}
