//! The twin of KV: entries that end by the clock, and faults.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use connections::ports::{Cache, CacheError};

use super::outside::Meter;
use super::runtime::Runtime;

/// KV refuses a shorter life.
const LEAST_TTL: i64 = 60;

/// What is asked of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Get,
    Put,
    Delete,
}

/// Says whether a call fails.
pub(crate) type Weather = Box<dyn FnMut(Call) -> bool>;

/// The entries, shared by all who reach them.
#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) held: RefCell<BTreeMap<String, (String, i64)>>,
    /// There is no cache: the binding is missing.
    pub(crate) absent: Cell<bool>,
    /// Nothing answers.
    pub(crate) down: Cell<bool>,
    /// Reads of names that begin so fail.
    pub(crate) failing_reads_of: Cell<Option<&'static str>>,
    /// Milliseconds until anything answers.
    pub(crate) slow: Cell<i64>,
    /// Reads answer that there is nothing, as a location does for a minute after it found nothing.
    pub(crate) blind: Cell<bool>,
    pub(crate) weather: RefCell<Option<Weather>>,
    /// Seconds by which entries say that they last longer than they do.
    pub(crate) overstates: Cell<i64>,
    /// Whether somebody who writes an entry can seal it, too.
    pub(crate) forgeable: Cell<bool>,
    /// Puts that are refused (429).
    pub(crate) refused_puts: Cell<u32>,
    /// Deletes that are refused (429).
    pub(crate) refused_deletes: Cell<u32>,
    pub(crate) gets: Cell<u32>,
    pub(crate) puts: Cell<u32>,
    pub(crate) deletes: Cell<u32>,
}

impl Entries {
    /// Names of the entries that are there.
    pub(crate) fn names(&self) -> Vec<String> {
        self.held.borrow().keys().cloned().collect()
    }

    /// Whether an entry is there that has not lapsed.
    pub(crate) fn has(&self, name: &str, now: i64) -> bool {
        self.held.borrow().get(name).is_some_and(|(_, end)| now < *end)
    }

    /// The entry with another end, should entries say a false one.
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
    pub(crate) fn dump(&self) -> String {
        format!("{:?}", self.held.borrow())
    }
}

/// An invocation's way to the cache.
#[derive(Clone)]
pub(crate) struct Copies {
    pub(crate) shared: Rc<Entries>,
    pub(crate) meter: Rc<Meter>,
    pub(crate) runtime: Runtime,
}

impl Copies {
    async fn call(&self, kind: Call) -> Result<(), CacheError> {
        let count = match kind {
            Call::Get => &self.shared.gets,
            Call::Put => &self.shared.puts,
            Call::Delete => &self.shared.deletes,
        };
        count.set(count.get() + 1);
        if !self.meter.spend() {
            return Err(CacheError("too many subrequests".into()));
        }
        self.runtime.pause().await;
        if self.shared.slow.get() > 0 {
            self.runtime.sleep(self.shared.slow.get()).await;
        }
        let fails = self.shared.weather.borrow_mut().as_mut().is_some_and(|weather| weather(kind));
        if self.shared.down.get() || fails { Err(CacheError("an injected fault".into())) } else { Ok(()) }
    }
}

fn refuse(left: &Cell<u32>) -> Result<(), CacheError> {
    if left.get() == 0 {
        return Ok(());
    }
    left.set(left.get() - 1);
    Err(CacheError("429".into()))
}

impl Cache for Copies {
    fn is_bound(&self) -> bool {
        !self.shared.absent.get()
    }

    async fn get(&self, key: &str) -> Result<Option<String>, CacheError> {
        if self.shared.absent.get() {
            return Ok(None);
        }
        self.call(Call::Get).await?;
        if self.shared.failing_reads_of.get().is_some_and(|begin| key.starts_with(begin)) {
            return Err(CacheError("an injected fault".into()));
        }
        if self.shared.blind.get() {
            return Ok(None);
        }
        let now = self.runtime.now();
        let entries = self.shared.held.borrow();
        Ok(entries.get(key).filter(|(_, end)| now < *end).map(|(text, _)| text.clone()))
    }

    async fn put(&self, key: &str, value: &str, ttl_seconds: i64) -> Result<(), CacheError> {
        if self.shared.absent.get() {
            return Ok(());
        }
        self.call(Call::Put).await?;
        assert!(ttl_seconds >= LEAST_TTL, "KV refuses a life of {ttl_seconds} s");
        refuse(&self.shared.refused_puts)?;
        let entry = (self.shared.overstated(value), self.runtime.now() + ttl_seconds);
        self.shared.held.borrow_mut().insert(key.to_owned(), entry);
        self.runtime.pause().await;
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), CacheError> {
        if self.shared.absent.get() {
            return Ok(());
        }
        self.call(Call::Delete).await?;
        refuse(&self.shared.refused_deletes)?;
        self.shared.held.borrow_mut().remove(key);
        Ok(())
    }
}
