//! The time limits of database and cache, by the simulated clock. In production the edge's calls have them.

use connections::ports::{Cache, CacheError, Clock, Database, DatabaseError, Rows, Statement};
use connections::timeout::{DATABASE_TIMEOUT_MS, limit_cache, silent_database_error, with_timeout};

/// The database or the cache with the limits of production.
pub(crate) struct Timeout<S, C> {
    inner: S,
    clock: C,
}

impl<S, C> Timeout<S, C> {
    /// Limits a store by a clock.
    pub(crate) fn new(store: S, clock: C) -> Self {
        Self { inner: store, clock }
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
        limit_cache(&self.clock, self.inner.get(key)).await
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<String>>, CacheError> {
        limit_cache(&self.clock, self.inner.get_many(keys)).await
    }

    async fn put(&self, key: &str, value: &str, ttl_seconds: i64) -> Result<(), CacheError> {
        limit_cache(&self.clock, self.inner.put(key, value, ttl_seconds)).await
    }

    async fn delete(&self, key: &str) -> Result<(), CacheError> {
        limit_cache(&self.clock, self.inner.delete(key)).await
    }
}
