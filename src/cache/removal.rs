//! Entries of the cache that must go because of a change in the database.
//!
//! Owns one mechanism for all of them: the removal is noted in the transaction of the change, tried at once, and
//! tried again by the scheduled run until the cache confirms it. Without a cache nothing is noted.

use serde::Serialize;

use super::{MAX_TTL, connection_entry_name, delete_once, delete_with_retries, key_entry_name};
use crate::context::Context;
use crate::error::Result;
use crate::ids::{ApiKeyId, ConnectionId, random_text};
use crate::ports::{Cache, Database, Ports, Statement};
use crate::store::cache_deletes::{self, CacheDelete};
use crate::time::Timestamp;

/// Seconds after which the scheduled run takes up a removal that its request may still be trying.
const FIRST_RETRY_DELAY: i64 = 60;

/// Seconds on top of an entry's life: for a put on its way, and for a location that read it before its end.
const MARGIN: i64 = 120;

/// What became of the copies in the cache that a change outdates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(into = "CachedCopiesResponse")]
pub enum CacheRemovalStatus {
    /// The cache has confirmed. A location may serve what it read before for up to 60 seconds.
    Removed,
    /// The cache has not confirmed. The scheduled run tries again; no copy is served after that time.
    Retrying {
        /// When the longest-lived copy ends.
        until: Timestamp,
    },
}

/// What became of the copies in the cache that the change outdates.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct CachedCopiesResponse {
    status: CacheRemovalState,
    /// With `retrying`: after that time no copy is served, whatever the cache does.
    until: Option<Timestamp>,
}

/// Whether copies are gone from the cache.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum CacheRemovalState {
    /// The cache has confirmed, or there is none; a location may serve what it read before for up to 60 seconds.
    Removed,
    /// It has not confirmed; every scheduled run tries again.
    Retrying,
}

impl From<CacheRemovalStatus> for CachedCopiesResponse {
    fn from(copies: CacheRemovalStatus) -> Self {
        match copies {
            CacheRemovalStatus::Removed => Self { status: CacheRemovalState::Removed, until: None },
            CacheRemovalStatus::Retrying { until } => Self { status: CacheRemovalState::Retrying, until: Some(until) },
        }
    }
}

/// When a copy that could not be removed has surely ended.
pub fn latest_entry_expiry(noted_at: Timestamp) -> Timestamp {
    noted_at.plus(MAX_TTL + MARGIN)
}

/// One entry that must go.
#[derive(Debug)]
pub struct CacheRemoval {
    cache_delete: CacheDelete,
    /// Without a cache there is nothing to remove.
    is_needed: bool,
}

impl CacheRemoval {
    /// A connection's copy.
    pub fn of_connection<P: Ports>(context: &Context<P>, id: &ConnectionId) -> Result<Self> {
        context.ports.isolate_cache().forget_written_entry(id);
        Self::of(context, connection_entry_name(id))
    }

    /// A key's copy.
    pub fn of_key<P: Ports>(context: &Context<P>, id: &ApiKeyId) -> Result<Self> {
        Self::of(context, key_entry_name(id))
    }

    fn of<P: Ports>(context: &Context<P>, name: String) -> Result<Self> {
        context.ports.isolate_cache().entries().forget(&name);
        let id = random_text::<16>(context.ports.random())?;
        let note = CacheDelete { id, name, noted_at: context.now() };
        Ok(Self { cache_delete: note, is_needed: context.ports.cache().is_bound() })
    }

    /// The statement that notes it, to go in the batch of the change.
    pub fn insert_statement(&self) -> Option<Statement> {
        self.is_needed
            .then(|| cache_deletes::insert(&self.cache_delete, self.cache_delete.noted_at.plus(FIRST_RETRY_DELAY)))
    }

    /// The same; notes nothing unless the statement before it changed a row.
    pub fn insert_if_changed_statement(&self) -> Option<Statement> {
        self.is_needed.then(|| {
            cache_deletes::insert_if_changed(&self.cache_delete, self.cache_delete.noted_at.plus(FIRST_RETRY_DELAY))
        })
    }

    /// Asks the cache to delete the entry. The note stays until [`Self::delete_statement`] has run.
    pub async fn attempt<P: Ports>(&self, context: &Context<P>) -> CacheRemovalStatus {
        if !self.is_needed || delete_with_retries(context, &self.cache_delete.name).await {
            return CacheRemovalStatus::Removed;
        }
        CacheRemovalStatus::Retrying { until: latest_entry_expiry(self.cache_delete.noted_at) }
    }

    /// The statement that removes the note, once the cache has confirmed.
    pub fn delete_statement(&self, copies: CacheRemovalStatus) -> Option<Statement> {
        (self.is_needed && copies == CacheRemovalStatus::Removed)
            .then(|| cache_deletes::delete(&[&self.cache_delete.id]))
    }

    /// Deletes the entry and removes the note. A note that stays costs one more deletion, nothing else.
    pub async fn perform<P: Ports>(&self, context: &Context<P>) -> CacheRemovalStatus {
        let copies = self.attempt(context).await;
        if let Some(done) = self.delete_statement(copies)
            && let Err(error) = context.db().batch(vec![done]).await
        {
            context.log_cause(&error.into());
        }
        copies
    }

    /// Notes it in a batch of its own: for what was put into the cache and turned out to be outdated.
    pub(crate) async fn perform_unrecorded<P: Ports>(&self, context: &Context<P>) {
        if self.attempt(context).await == CacheRemovalStatus::Removed {
            return;
        }
        let note: Vec<_> = self.insert_statement().into_iter().collect();
        if let Err(error) = context.db().batch(note).await {
            context.log_cause(&error.into());
        }
    }
}

/// Deletes a copy that shows an older state and opens no door: one that can't be deleted is replaced at its next use.
pub(crate) async fn delete_outdated_entry<P: Ports>(context: &Context<P>, id: &ConnectionId) {
    context.ports.isolate_cache().forget_written_entry(id);
    if context.ports.cache().is_bound() {
        delete_once(context, &connection_entry_name(id)).await;
    }
}

/// The statement that notes a connection's copy for the scheduled run.
pub(crate) fn schedule_connection_removal<P: Ports>(
    context: &Context<P>,
    id: &ConnectionId,
) -> Result<Option<Statement>> {
    let removal = CacheRemoval::of_connection(context, id)?;
    Ok(removal.is_needed.then(|| cache_deletes::insert(&removal.cache_delete, removal.cache_delete.noted_at)))
}

/// The same for many connections, in one statement.
pub(crate) fn schedule_connection_removals<P: Ports>(
    context: &Context<P>,
    ids: &[ConnectionId],
) -> Result<Option<Statement>> {
    let removals = ids.iter().map(|id| CacheRemoval::of_connection(context, id)).collect::<Result<Vec<_>>>()?;
    let notes: Vec<_> = removals.into_iter().filter(|one| one.is_needed).map(|one| one.cache_delete).collect();
    Ok((!notes.is_empty()).then(|| cache_deletes::insert_all(&notes, context.now())))
}
