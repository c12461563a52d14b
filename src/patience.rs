//! How long the record and the copy are waited for.
//!
//! Owns the limits, so that no caller waits without end for a database or cache that has fallen silent. A call
//! that was given up counts as failed and goes on by itself: a write may be applied all the same, as after any
//! failure. Refuses to try again: that is the business of whoever asked.

use std::pin::pin;

use futures_util::future::{Either, select};

use crate::ports::{Cache, CacheError, Clock, Database, DatabaseError, Rows, Statement};

/// How long the record may take to answer, in milliseconds.
const RECORD: u32 = 5_000;
/// How long the copy may take, in milliseconds: less, because the record is asked next, and a deletion is tried thrice.
const COPY: u32 = 2_000;

/// The record or the copy, waited for no longer than is useful.
pub struct Patient<S, C> {
    store: S,
    clock: C,
}

impl<S, C> Patient<S, C> {
    /// Limits a store by a clock.
    pub fn new(store: S, clock: C) -> Self {
        Self { store, clock }
    }
}

/// What comes out within so many milliseconds, if anything does.
pub(crate) async fn within<F: Future>(clock: &impl Clock, milliseconds: u32, future: F) -> Option<F::Output> {
    match select(pin!(future), pin!(clock.sleep(milliseconds))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

impl<D: Database, C: Clock> Database for Patient<D, C> {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError> {
        let silent = || Err(DatabaseError::Unavailable(format!("no answer within {RECORD} ms")));
        within(&self.clock, RECORD, self.store.batch(statements)).await.unwrap_or_else(silent)
    }
}

impl<K: Cache, C: Clock> Cache for Patient<K, C> {
    fn is_bound(&self) -> bool {
        self.store.is_bound()
    }

    async fn get(&self, key: &str) -> Result<Option<String>, CacheError> {
        within(&self.clock, COPY, self.store.get(key)).await.unwrap_or_else(no_copy)
    }

    async fn put(&self, key: &str, value: &str, ttl_seconds: i64) -> Result<(), CacheError> {
        within(&self.clock, COPY, self.store.put(key, value, ttl_seconds)).await.unwrap_or_else(no_copy)
    }

    async fn delete(&self, key: &str) -> Result<(), CacheError> {
        within(&self.clock, COPY, self.store.delete(key)).await.unwrap_or_else(no_copy)
    }
}

fn no_copy<T>() -> Result<T, CacheError> {
    Err(CacheError(format!("no answer within {COPY} ms")))
}
