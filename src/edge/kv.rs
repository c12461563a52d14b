//! The cache port over Workers KV. Without the binding there is no copy, and everything else works.

use worker::{Env, KvStore};

use crate::ports::{Cache, CacheError};

/// Seconds a location may serve a value without asking again: what bounds a stale copy.
const CACHE_TTL: u64 = 60;
/// The shortest life KV accepts, in seconds.
const SHORTEST_TTL: u64 = 60;

pub(crate) struct Kv(Option<KvStore>);

impl Kv {
    pub(super) fn bind(env: &Env) -> Self {
        Self(env.kv("CACHE").ok())
    }
}

fn cache_error(error: impl std::fmt::Display) -> CacheError {
    CacheError(error.to_string().chars().take(300).collect())
}

impl Cache for Kv {
    fn is_bound(&self) -> bool {
        self.0.is_some()
    }

    async fn get(&self, key: &str) -> Result<Option<String>, CacheError> {
        let Some(store) = &self.0 else { return Ok(None) };
        store.get(key).cache_ttl(CACHE_TTL).text().await.map_err(cache_error)
    }

    async fn put(&self, key: &str, value: &str, ttl_seconds: i64) -> Result<(), CacheError> {
        let Some(store) = &self.0 else { return Ok(()) };
        let ttl = u64::try_from(ttl_seconds).unwrap_or(0).max(SHORTEST_TTL);
        store.put(key, value).map_err(cache_error)?.expiration_ttl(ttl).execute().await.map_err(cache_error)
    }

    async fn delete(&self, key: &str) -> Result<(), CacheError> {
        let Some(store) = &self.0 else { return Ok(()) };
        store.delete(key).await.map_err(cache_error)
    }
}
