//! The in-memory counterpart of KV: entries that expire by the clock, and faults.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use connections::ports::{Cache, CacheError};

use super::runtime::Runtime;
use super::small_ports::SubrequestBudget;

/// KV refuses a shorter lifetime.
const MIN_TTL: i64 = 60;

/// An operation of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Put,
    Delete,
}

/// Decides whether a call fails.
pub(crate) type Weather = Box<dyn FnMut(Call) -> bool>;

/// The entries. All clones share them.
#[derive(Default)]
pub(crate) struct TestCache {
    pub(crate) entries: RefCell<BTreeMap<String, (String, i64)>>,
    /// Whether the binding is missing.
    pub(crate) unbound: Cell<bool>,
    /// Whether nothing answers.
    pub(crate) down: Cell<bool>,
    /// Reads of names with this beginning fail.
    pub(crate) failing_read_prefix: Cell<Option<&'static str>>,
    /// Milliseconds until an answer.
    pub(crate) delay_ms: Cell<i64>,
    /// Reads find nothing, as a location does for a minute after it found nothing.
    pub(crate) reads_find_nothing: Cell<bool>,
    pub(crate) weather: RefCell<Option<Weather>>,
    /// Seconds by which entries claim to be valid for longer than they are.
    pub(crate) overstates: Cell<i64>,
    /// Whether the writer of a forged entry also has the encryption key.
    pub(crate) attacker_can_seal: Cell<bool>,
    /// Puts that are refused (429).
    pub(crate) refused_puts: Cell<u32>,
    /// Deletes that are refused (429).
    pub(crate) refused_deletes: Cell<u32>,
    pub(crate) gets: Cell<u32>,
    pub(crate) puts: Cell<u32>,
    pub(crate) deletes: Cell<u32>,
}

impl TestCache {
    /// Names of the entries.
    pub(crate) fn entry_names(&self) -> Vec<String> {
        self.entries.borrow().keys().cloned().collect()
    }

    /// Whether an entry exists that has not expired.
    pub(crate) fn has(&self, name: &str, now: i64) -> bool {
        self.entries.borrow().get(name).is_some_and(|(_, end)| now < *end)
    }

    /// The entry with a changed expiry, if entries are forged.
    fn overstated(&self, value: &str) -> String {
        let by = self.overstates.get();
        match serde_json::from_str::<serde_json::Value>(value) {
            Ok(mut entry) if by > 0 && entry["until"].is_i64() => {
                entry["until"] = (entry["until"].as_i64().unwrap_or_default() + by).into();
                entry.to_string()
            }
            _ => value.to_owned(),
        }
    }

    /// Everything that is stored, as text.
    pub(crate) fn dump_entries(&self) -> String {
        format!("{:?}", self.entries.borrow())
    }
}

/// The cache as a port of an invocation.
#[derive(Clone)]
pub(crate) struct CachePort {
    pub(crate) cache: Rc<TestCache>,
    pub(crate) budget: Rc<SubrequestBudget>,
    pub(crate) runtime: Runtime,
}

impl CachePort {
    async fn begin_call(&self, kind: Call) -> Result<(), CacheError> {
        let count = match kind {
            Call::Get => &self.cache.gets,
            Call::Put => &self.cache.puts,
            Call::Delete => &self.cache.deletes,
        };
        count.set(count.get() + 1);
        if !self.budget.spend() {
            return Err(CacheError("too many subrequests".into()));
        }
        self.runtime.yield_now().await;
        if self.cache.delay_ms.get() > 0 {
            self.runtime.sleep(self.cache.delay_ms.get()).await;
        }
        let fails = self.cache.weather.borrow_mut().as_mut().is_some_and(|weather| weather(kind));
        if self.cache.down.get() || fails { Err(CacheError("an injected fault".into())) } else { Ok(()) }
    }
}

fn take_refusal(left: &Cell<u32>) -> Result<(), CacheError> {
    if left.get() == 0 {
        return Ok(());
    }
    left.set(left.get() - 1);
    Err(CacheError("429".into()))
}

impl Cache for CachePort {
    fn is_bound(&self) -> bool {
        !self.cache.unbound.get()
    }

    async fn get(&self, key: &str) -> Result<Option<String>, CacheError> {
        let values = self.get_many(&[key.to_owned()]).await?;
        Ok(values.into_iter().next().flatten())
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<String>>, CacheError> {
        if self.cache.unbound.get() {
            return Ok(vec![None; keys.len()]);
        }
        self.begin_call(Call::Get).await?;
        let is_failing = |begin: &str| keys.iter().any(|key| key.starts_with(begin));
        if self.cache.failing_read_prefix.get().is_some_and(is_failing) {
            return Err(CacheError("an injected fault".into()));
        }
        if self.cache.reads_find_nothing.get() {
            return Ok(vec![None; keys.len()]);
        }
        let now = self.runtime.now();
        let entries = self.cache.entries.borrow();
        let value = |key: &String| entries.get(key).filter(|(_, end)| now < *end).map(|(text, _)| text.clone());
        Ok(keys.iter().map(value).collect())
    }

    async fn put(&self, key: &str, value: &str, ttl_seconds: i64) -> Result<(), CacheError> {
        if self.cache.unbound.get() {
            return Ok(());
        }
        self.begin_call(Call::Put).await?;
        assert!(ttl_seconds >= MIN_TTL, "KV refuses a life of {ttl_seconds} s");
        take_refusal(&self.cache.refused_puts)?;
        let entry = (self.cache.overstated(value), self.runtime.now() + ttl_seconds);
        self.cache.entries.borrow_mut().insert(key.to_owned(), entry);
        self.runtime.yield_now().await;
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), CacheError> {
        if self.cache.unbound.get() {
            return Ok(());
        }
        self.begin_call(Call::Delete).await?;
        take_refusal(&self.cache.refused_deletes)?;
        self.cache.entries.borrow_mut().remove(key);
        Ok(())
    }
}
