//! How long database and cache are waited for.
//!
//! Owns the limits, so that no caller waits without end for a database or cache that has fallen silent. A call
//! that was given up counts as failed and goes on by itself: a write may be applied all the same, as after any
//! failure. Refuses to try again: that is the business of whoever asked.

use std::pin::pin;

use futures_util::future::{Either, select};

use crate::ports::{CacheError, Clock, DatabaseError};

/// How long the database may take to answer, in milliseconds.
pub const DATABASE_TIMEOUT_MS: u32 = 5_000;
/// How long the cache may take, in milliseconds: less, because the database is asked next, and a deletion is tried thrice.
pub const CACHE_TIMEOUT_MS: u32 = 2_000;

/// What comes out within so many milliseconds, if anything does.
pub async fn with_timeout<F: Future>(clock: &impl Clock, milliseconds: u32, future: F) -> Option<F::Output> {
    match select(pin!(future), pin!(clock.sleep(milliseconds))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// The database was silent for too long.
pub fn silent_database_error() -> DatabaseError {
    DatabaseError::Unavailable(format!("no answer within {DATABASE_TIMEOUT_MS} ms"))
}

/// What the cache answers within its limit.
///
/// # Errors
/// It was silent for too long, or what it failed with.
pub async fn limit_cache<T>(
    clock: &impl Clock,
    call: impl Future<Output = Result<T, CacheError>>,
) -> Result<T, CacheError> {
    with_timeout(clock, CACHE_TIMEOUT_MS, call).await.unwrap_or_else(|| Err(silent_cache_error()))
}

/// The cache was silent for too long.
pub fn silent_cache_error() -> CacheError {
    CacheError(format!("no answer within {CACHE_TIMEOUT_MS} ms"))
}
