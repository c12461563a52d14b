//! What one instance of the program remembers between requests: plain data that saves round trips.
//!
//! Nothing here is ever needed for correctness, and nothing here is a secret. Refuses to grow: each map has a limit.

mod attempts;
mod definitions;
mod entries;
mod in_flight;
mod sessions;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::ids::{ApiKeyId, ConnectionId, Shard, WorkspaceId};
use crate::time::Timestamp;
use crate::verifying_key::PublicKeys;

pub use attempts::{AttemptMemory, AttemptState, RunningAttempt};
pub use definitions::{DefinitionCache, KnownDefinition};
use entries::BoundedMap;
pub use entries::{EntryMemory, Epoch};
pub use in_flight::{InFlight, InFlightSlot};
pub use sessions::{KnownSession, SessionMemory};

/// Entries of a map, at most.
const MOST_ENTRIES: usize = 1000;
/// Issuers whose public keys are remembered, at most.
const MOST_ISSUERS: usize = 50;
/// Callers that are refused for a while, at most.
const MOST_BLOCKED_CALLERS: usize = 10_000;
/// Seconds in which a credential that is refused again counts as repeated.
const REPEAT_WINDOW: i64 = 60;

/// Seconds for which it is believed that a workspace has no webhook. What happens in them is sent by the scheduled run.
const WITHOUT_WEBHOOKS_FOR: i64 = 60;

/// Seconds after which something that was begun and never reported back may be begun again.
const TASK_TIMEOUT: i64 = 10;

/// Something that is done once in a while. Each part is a value of its own: names of callers' choice never run together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ThrottledTask {
    /// A use of a connection is written; without a workflow, of the connection alone.
    RecordUse {
        /// The connection.
        connection: ConnectionId,
        /// Workflow and step, as the caller names them.
        step: Option<(String, String)>,
    },
    /// A refresh ahead of need is asked for.
    EarlyRefresh(ConnectionId),
    /// What a connection sees is looked at.
    CheckNothingShared(ConnectionId),
    /// A connection's entry in the cache, and its key's, are written again before they expire.
    RewriteCacheEntries(ConnectionId),
    /// A key's entry is written.
    WriteApiKeyEntry(ApiKeyId),
}

/// An entry of the cache that was written or seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenCacheEntry {
    /// The connection's generation and version, and the revision of its app's definition.
    pub versions: (i64, i64, i64),
    /// When the entry expires.
    pub expires_at: Timestamp,
    /// When it was written or seen. Another instance may have deleted it since.
    pub seen_at: Timestamp,
}

/// The memory of one instance.
#[derive(Debug, Default)]
pub struct IsolateCache {
    checked_rings: RefCell<HashMap<Shard, [u8; 32]>>,
    tasks: RefCell<HashMap<ThrottledTask, (Timestamp, bool)>>,
    written_entries: RefCell<HashMap<ConnectionId, WrittenCacheEntry>>,
    blocked: RefCell<HashMap<String, Timestamp>>,
    calls: RefCell<HashMap<ApiKeyId, i64>>,
    without_webhooks: RefCell<HashMap<WorkspaceId, Timestamp>>,
    refusals: RefCell<HashMap<(String, String), (u32, Timestamp)>>,
    definitions: DefinitionCache,
    attempts: AttemptMemory,
    entries: EntryMemory,
    opened_keys: RefCell<BoundedMap<Rc<str>>>,
    public_keys: RefCell<HashMap<String, (Timestamp, Rc<PublicKeys>)>>,
    proxied: InFlight,
    sessions: SessionMemory,
    failed_key_fetches: RefCell<HashMap<String, Timestamp>>,
}

/// Empties a map that is full. What it held is known again soon.
fn make_room<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= MOST_ENTRIES {
        map.clear();
    }
}

impl IsolateCache {
    /// Sessions of people that were read here.
    pub fn sessions(&self) -> &SessionMemory {
        &self.sessions
    }

    /// The requests that pass through to apps just now.
    pub fn proxied(&self) -> &InFlight {
        &self.proxied
    }

    /// Whether a ring was found to fit the data of a shard before, by its fingerprint.
    pub fn is_ring_checked(&self, shard: Shard, fingerprint: [u8; 32]) -> bool {
        self.checked_rings.borrow().get(&shard) == Some(&fingerprint)
    }

    /// Remembers a ring that fits.
    pub fn remember_checked_ring(&self, shard: Shard, fingerprint: [u8; 32]) {
        self.checked_rings.borrow_mut().insert(shard, fingerprint);
    }

    /// The public keys at an address, and when they were fetched.
    pub fn public_keys(&self, url: &str) -> Option<(Timestamp, Rc<PublicKeys>)> {
        self.public_keys.borrow().get(url).cloned()
    }

    /// Remembers the public keys at an address.
    pub fn remember_public_keys(&self, url: &str, keys: &Rc<PublicKeys>, now: Timestamp) {
        let mut known = self.public_keys.borrow_mut();
        if known.len() >= MOST_ISSUERS {
            known.clear();
        }
        known.insert(url.to_owned(), (now, Rc::clone(keys)));
    }

    /// When the public keys at an address could not be fetched, as far as no later try succeeded.
    pub fn failed_key_fetch(&self, url: &str) -> Option<Timestamp> {
        self.failed_key_fetches.borrow().get(url).copied()
    }

    /// Remembers whether the public keys at an address could be fetched.
    pub fn remember_key_fetch(&self, url: &str, has_failed: bool, now: Timestamp) {
        let mut failed = self.failed_key_fetches.borrow_mut();
        if !has_failed {
            failed.remove(url);
            return;
        }
        if failed.len() >= MOST_ISSUERS {
            failed.clear();
        }
        failed.insert(url.to_owned(), now);
    }

    /// Whether a workspace was found to have no webhook within the last minute: nothing is to be sent for it.
    pub fn has_no_webhooks(&self, workspace: &WorkspaceId, now: Timestamp) -> bool {
        self.without_webhooks.borrow().get(workspace).is_some_and(|at| now.since(*at) < WITHOUT_WEBHOOKS_FOR)
    }

    /// Remembers that a workspace has no webhook.
    pub fn remember_no_webhooks(&self, workspace: &WorkspaceId, now: Timestamp) {
        let mut known = self.without_webhooks.borrow_mut();
        make_room(&mut known);
        known.insert(workspace.clone(), now);
    }

    /// A webhook was made.
    pub fn forget_no_webhooks(&self, workspace: &WorkspaceId) {
        self.without_webhooks.borrow_mut().remove(workspace);
    }

    /// Whether something was not done within `seconds`, and is not under way; it counts as under way from now on. Whoever
    /// does it says how it ended: [`Self::mark_task_done`] or [`Self::mark_task_failed`].
    pub fn try_start_task(&self, what: &ThrottledTask, seconds: i64, now: Timestamp) -> bool {
        let mut noted = self.tasks.borrow_mut();
        make_room(&mut noted);
        let counts = |(at, is_done): &(Timestamp, bool)| {
            now.since(*at) <= if *is_done { seconds } else { seconds.min(TASK_TIMEOUT) }
        };
        if noted.get(what).is_some_and(counts) {
            return false;
        }
        noted.insert(what.clone(), (now, false));
        true
    }

    /// The same for what counts as done by being begun.
    pub fn try_mark_task_done(&self, what: &ThrottledTask, seconds: i64, now: Timestamp) -> bool {
        let is_time = self.try_start_task(what, seconds, now);
        if is_time {
            self.mark_task_done(what, now);
        }
        is_time
    }

    /// What was begun is done.
    pub fn mark_task_done(&self, what: &ThrottledTask, now: Timestamp) {
        let mut noted = self.tasks.borrow_mut();
        make_room(&mut noted);
        noted.insert(what.clone(), (now, true));
    }

    /// What was begun failed: the next one may try.
    pub fn mark_task_failed(&self, what: &ThrottledTask) {
        self.tasks.borrow_mut().remove(what);
    }

    /// The definitions of workspaces' own apps that were parsed here.
    pub fn definitions(&self) -> &DefinitionCache {
        &self.definitions
    }

    /// Refresh attempts that are under way here.
    pub fn attempts(&self) -> &AttemptMemory {
        &self.attempts
    }

    /// Entries of the cache that were read or written here.
    pub fn entries(&self) -> &EntryMemory {
        &self.entries
    }

    /// What an entry of a key says, if that very entry was opened here before.
    pub fn opened_key(&self, entry: &str) -> Option<Rc<str>> {
        self.opened_keys.borrow().get(entry).cloned()
    }

    /// Remembers what an entry of a key says. It has no secret, only hashes: so it is opened once, and other entries at
    /// each call. Bounded in bytes too: a key may list two thousand connections and apps.
    pub fn remember_opened_key(&self, entry: &str, opened: &Rc<str>) {
        self.opened_keys.borrow_mut().insert(entry, Rc::clone(opened), opened.len());
    }

    /// Refuses a caller until then. Where too many are refused, the one whose time ends first gives way.
    pub fn block_caller(&self, caller: &str, until: Timestamp, now: Timestamp) {
        let mut blocked = self.blocked.borrow_mut();
        if blocked.len() >= MOST_BLOCKED_CALLERS {
            blocked.retain(|_, end| *end > now);
        }
        if blocked.len() >= MOST_BLOCKED_CALLERS
            && let Some(first) = blocked.iter().min_by_key(|(_, end)| **end).map(|(caller, _)| caller.clone())
        {
            blocked.remove(&first);
        }
        blocked.insert(caller.to_owned(), until);
    }

    /// For how many more seconds a caller is refused, if it is.
    pub fn blocked_seconds(&self, caller: &str, now: Timestamp) -> Option<i64> {
        self.blocked.borrow().get(caller).map(|end| end.since(now)).filter(|seconds| *seconds > 0)
    }

    /// How often a caller was refused with the same credential (its hash) in the last minute, this time included.
    pub fn count_refusal(&self, caller: &str, credential: &str, now: Timestamp) -> u32 {
        let mut refused = self.refusals.borrow_mut();
        make_room(&mut refused);
        let (times, since) = refused.entry((caller.to_owned(), credential.to_owned())).or_insert((0, now));
        if now.since(*since) >= REPEAT_WINDOW {
            (*times, *since) = (0, now);
        }
        *times = times.saturating_add(1);
        *times
    }

    /// Whether a call of a key is the one in `sampling` that the rate limiter counts for all of them.
    pub fn is_counted_call(&self, key: &ApiKeyId, sampling: i64) -> bool {
        let mut calls = self.calls.borrow_mut();
        // Keys that are counted already keep their count when the map is full.
        if !calls.contains_key(key) {
            make_room(&mut calls);
        }
        let count = calls.entry(key.clone()).or_insert(0);
        *count = (*count + 1) % sampling;
        *count == 0
    }

    /// The entry of a connection that was written or seen from here.
    pub fn written_entry(&self, connection: &ConnectionId) -> Option<WrittenCacheEntry> {
        self.written_entries.borrow().get(connection).copied()
    }

    /// Remembers an entry.
    pub fn remember_written_entry(&self, connection: &ConnectionId, copied: WrittenCacheEntry) {
        let mut map = self.written_entries.borrow_mut();
        make_room(&mut map);
        map.insert(connection.clone(), copied);
    }

    /// Forgets an entry that was removed.
    pub fn forget_written_entry(&self, connection: &ConnectionId) {
        self.written_entries.borrow_mut().remove(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opened_keys_with_long_lists_fill_no_memory() {
        let cache = IsolateCache::default();
        let opened: Rc<str> = "x".repeat(70_000).into();
        for number in 0..1000 {
            let entry = format!("{number} {}", "y".repeat(95_000));
            cache.remember_opened_key(&entry, &opened);
            assert_eq!(cache.opened_key(&entry).as_deref(), Some(&*opened));
        }
        assert!(cache.opened_keys.borrow().size().1 <= 8 * 1024 * 1024, "{:?}", cache.opened_keys.borrow().size());
        assert_eq!(cache.opened_key("another"), None);
    }
}
