//! The cache port over Workers KV. Without the binding there is no cache, and everything else works.

use worker::js_sys::{Function, Reflect};
use worker::wasm_bindgen::JsValue;
use worker::{Env, KvStore};

use super::system::SystemClock;
use super::{glue, promises};
use crate::ports::{Cache, CacheError};
use crate::timeout::{CACHE_TIMEOUT_MS, limit_cache, silent_cache_error};

/// The name of the binding.
const BINDING: &str = "CACHE";
/// Seconds a location may serve a value without asking again, the shortest that KV accepts. Together with what an isolate
/// remembers it bounds how stale a copy can be.
const CACHE_TTL: u32 = 30;
/// The shortest lifetime that KV accepts, in seconds.
const SHORTEST_TTL: u64 = 60;

struct Namespace {
    store: KvStore,
    /// The same, for the reads: they are most of what is asked.
    binding: JsValue,
}

pub(crate) struct Kv(Option<Namespace>);

impl Kv {
    pub(super) fn bind(env: &Env) -> Self {
        let binding = Reflect::get(env, &JsValue::from_str(BINDING)).ok();
        Self(env.kv(BINDING).ok().zip(binding).map(|(store, binding)| Namespace { store, binding }))
    }
}

fn cache_error(error: impl std::fmt::Display) -> CacheError {
    CacheError(error.to_string().chars().take(300).collect())
}

fn malformed() -> CacheError {
    CacheError("an answer of an unexpected form".into())
}

impl Cache for Kv {
    fn is_bound(&self) -> bool {
        self.0.is_some()
    }

    async fn get(&self, key: &str) -> Result<Option<String>, CacheError> {
        let values = self.get_many(&[key.to_owned()]).await?;
        Ok(values.into_iter().next().flatten())
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<String>>, CacheError> {
        let Some(namespace) = &self.0 else { return Ok(vec![None; keys.len()]) };
        let names = serde_json::to_string(keys).map_err(|_| malformed())?;
        let begin = |settle: &Function, number| {
            glue::cached(&namespace.binding, &names, CACHE_TTL, CACHE_TIMEOUT_MS, settle, number);
        };
        let found = promises::wait(begin).await.map_err(|error| cache_error(glue::message(&error)))?;
        let text = found.as_string().ok_or_else(silent_cache_error)?;
        serde_json::from_str(&text).map_err(|_| malformed())
    }

    async fn put(&self, key: &str, value: &str, ttl_seconds: i64) -> Result<(), CacheError> {
        let Some(namespace) = &self.0 else { return Ok(()) };
        let ttl = u64::try_from(ttl_seconds).unwrap_or(0).max(SHORTEST_TTL);
        let put = namespace.store.put(key, value).map_err(cache_error)?.expiration_ttl(ttl).execute();
        limit_cache(&SystemClock, async { put.await.map_err(cache_error) }).await
    }

    async fn delete(&self, key: &str) -> Result<(), CacheError> {
        let Some(namespace) = &self.0 else { return Ok(()) };
        limit_cache(&SystemClock, async { namespace.store.delete(key).await.map_err(cache_error) }).await
    }
}
