//! Parsed definitions of workspaces' own apps. Found by their whole text, so that an entry can never be an old one; and by
//! a connection and its revision, which the database compares.
//! Bounded in number and bytes: the one that was used longest ago gives way.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use crate::app::App;
use crate::ids::ConnectionId;

/// Definitions, at most.
const MOST_DEFINITIONS: usize = 500;
/// Connections whose definition is known, at most.
const MOST_CONNECTIONS: usize = 4000;
/// Bytes of their texts in all, at most. A parsed definition takes a few times its text.
const MOST_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug)]
struct CachedDefinition {
    /// None for a text that can't be read: it is not tried again.
    app: Option<Rc<App>>,
    last_use: u64,
}

#[derive(Debug, Default)]
struct DefinitionCacheState {
    entries: HashMap<Rc<str>, CachedDefinition>,
    bytes: usize,
    use_count: u64,
    parse_count: u64,
    /// Which connection answered for one, and with which revision. It keeps no definition: what gave way is read again.
    of_connections: HashMap<ConnectionId, (ConnectionId, i64, Weak<App>)>,
}

impl DefinitionCacheState {
    fn make_room(&mut self, bytes: usize) {
        while !self.entries.is_empty() && (self.entries.len() >= MOST_DEFINITIONS || self.bytes + bytes > MOST_BYTES) {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_use).map(|(text, _)| Rc::clone(text));
            let Some(oldest) = oldest else { return };
            self.entries.remove(&oldest);
            self.bytes -= oldest.len();
        }
    }
}

/// The definition that a connection was made with.
#[derive(Debug, Clone)]
pub struct KnownDefinition {
    /// The connection.
    pub connection: ConnectionId,
    /// Its revision.
    pub revision: i64,
    /// The app.
    pub app: Rc<App>,
}

/// The definitions that one instance of the program has parsed.
#[derive(Debug, Default)]
pub struct DefinitionCache(RefCell<DefinitionCacheState>);

impl DefinitionCache {
    /// The definition of a text, parsed unless it was before.
    pub fn get_or_parse(&self, text: &str, parse: impl FnOnce(&str) -> Option<App>) -> Option<Rc<App>> {
        let mut held = self.0.borrow_mut();
        held.use_count += 1;
        let used = held.use_count;
        if let Some(entry) = held.entries.get_mut(text) {
            entry.last_use = used;
            return entry.app.clone();
        }
        let app = parse(text).map(Rc::new);
        held.parse_count += 1;
        held.make_room(text.len());
        held.bytes += text.len();
        held.entries.insert(text.into(), CachedDefinition { app: app.clone(), last_use: used });
        app
    }

    /// The definition that was last seen with what answered for a connection, if it is still held.
    pub fn of_connection(&self, connection: &ConnectionId) -> Option<KnownDefinition> {
        let held = self.0.borrow();
        let (answering, revision, app) = held.of_connections.get(connection)?;
        Some(KnownDefinition { connection: answering.clone(), revision: *revision, app: app.upgrade()? })
    }

    /// Remembers the definition of what answered for a connection.
    pub fn remember_connection(&self, connection: &ConnectionId, known: &KnownDefinition) {
        let mut held = self.0.borrow_mut();
        if held.of_connections.len() >= MOST_CONNECTIONS {
            held.of_connections.clear();
        }
        let seen = (known.connection.clone(), known.revision, Rc::downgrade(&known.app));
        held.of_connections.insert(connection.clone(), seen);
    }

    /// How often a text was parsed.
    pub fn parse_count(&self) -> u64 {
        self.0.borrow().parse_count
    }

    /// How many definitions are held, and the bytes of their texts.
    pub fn size(&self) -> (usize, usize) {
        let held = self.0.borrow();
        (held.entries.len(), held.bytes)
    }
}
