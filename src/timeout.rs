//! How long database and cache are waited for.
//!
//! Owns the limits, so that no caller waits without end for a database or cache that has fallen silent. A call
//! that was given up counts as failed and goes on by itself: a write may be applied all the same, as after any
//! failure. Refuses to try again: that is the business of whoever asked.

use std::pin::pin;

use futures_util::future::{Either, select};

use crate::ports::{Cache, CacheError, Clock, Database, DatabaseError, Rows, Statement};

/// How long the database may take to answer, in milliseconds.
pub(crate) const DATABASE_TIMEOUT_MS: u32 = 5_000;
/// How long the cache may take, in milliseconds: less, because the database is asked next, and a deletion is tried thrice.
pub(crate) const CACHE_TIMEOUT_MS: u32 = 2_000;

/// The database or the cache, waited for no longer than is useful. The platform's have a timer of their own, with the same
/// limits.
pub struct Timeout<S, C> {
    inner: S,
    clock: C,
}

impl<S, C> Timeout<S, C> {
    /// Limits a store by a clock.
    pub fn new(store: S, clock: C) -> Self {
        Self { inner: store, clock }
    }
}

/// What comes out within so many milliseconds, if anything does.
pub(crate) async fn with_timeout<F: Future>(clock: &impl Clock, milliseconds: u32, future: F) -> Option<F::Output> {
    match select(pin!(future), pin!(clock.sleep(milliseconds))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

impl<D: Database, C: Clock> Database for Timeout<D, C> {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError> {
        let answered = with_timeout(&self.clock, DATABASE_TIMEOUT_MS, self.inner.batch(statements)).await;
        answered.unwrap_or_else(|| Err(silent_database_error()))
    }
}

impl<K: Cache, C: Clock> Cache for Timeout<K, C> {
    fn is_bound(&self) -> bool {
        self.inner.is_bound()
    }

    async fn get(&self, key: &str) -> Result<Option<String>, CacheError> {
        with_timeout(&self.clock, CACHE_TIMEOUT_MS, self.inner.get(key)).await.unwrap_or_else(cache_timed_out)
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<String>>, CacheError> {
        with_timeout(&self.clock, CACHE_TIMEOUT_MS, self.inner.get_many(keys)).await.unwrap_or_else(cache_timed_out)
    }

    async fn put(&self, key: &str, value: &str, ttl_seconds: i64) -> Result<(), CacheError> {
        with_timeout(&self.clock, CACHE_TIMEOUT_MS, self.inner.put(key, value, ttl_seconds))
            .await
            .unwrap_or_else(cache_timed_out)
    }

    async fn delete(&self, key: &str) -> Result<(), CacheError> {
        with_timeout(&self.clock, CACHE_TIMEOUT_MS, self.inner.delete(key)).await.unwrap_or_else(cache_timed_out)
    }
}

fn cache_timed_out<T>() -> Result<T, CacheError> {
    Err(silent_cache_error())
}

/// The database was silent for too long.
pub(crate) fn silent_database_error() -> DatabaseError {
    DatabaseError::Unavailable(format!("no answer within {DATABASE_TIMEOUT_MS} ms"))
}

/// The same of the cache.
pub(crate) fn silent_cache_error() -> CacheError {
    CacheError(format!("no answer within {CACHE_TIMEOUT_MS} ms"))
}
