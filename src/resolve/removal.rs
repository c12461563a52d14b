//! Entries of the cache that must go because of a change in the database.
//!
//! Owns one mechanism for all of them: the removal is noted in the transaction of the change, tried at once, and
//! tried again by the scheduled run until the cache confirms it. Without a cache nothing is noted.

use serde::Serialize;

use super::cached::{self, LONGEST_TTL};
use crate::caller::KeyId;
use crate::core::Core;
use crate::error::Result;
use crate::ids::{ConnectionId, random_text};
use crate::ports::{Cache, Database, Ports, Statement};
use crate::store::cache_deletes::{self, CacheDelete};
use crate::time::Timestamp;

/// Seconds after which the scheduled run takes up a removal that its request may still be trying.
const FIRST_RETRY: i64 = 60;

/// Seconds on top of an entry's life: for a put on its way, and for a location that read it before its end.
const MARGIN: i64 = 120;

/// What became of the copies in the cache that a change outdates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(into = "CachedCopiesResponse")]
pub enum CachedCopies {
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
    status: CacheRemoval,
    /// With `retrying`: after that time no copy is served, whatever the cache does.
    until: Option<Timestamp>,
}

/// Whether copies are gone from the cache.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum CacheRemoval {
    /// The cache has confirmed, or there is none; a location may serve what it read before for up to 60 seconds.
    Removed,
    /// It has not confirmed; every scheduled run tries again.
    Retrying,
}

impl From<CachedCopies> for CachedCopiesResponse {
    fn from(copies: CachedCopies) -> Self {
        match copies {
            CachedCopies::Removed => Self { status: CacheRemoval::Removed, until: None },
            CachedCopies::Retrying { until } => Self { status: CacheRemoval::Retrying, until: Some(until) },
        }
    }
}

/// When a copy that could not be removed has surely ended.
pub fn ends_at(noted_at: Timestamp) -> Timestamp {
    noted_at.plus(LONGEST_TTL + MARGIN)
}

/// One entry that must go.
#[derive(Debug)]
pub struct Removal {
    note: CacheDelete,
    /// Without a cache there is nothing to remove.
    is_needed: bool,
}

impl Removal {
    /// A connection's copy.
    pub fn of_connection<P: Ports>(core: &Core<P>, id: &ConnectionId) -> Result<Self> {
        core.ports.memo().forget_copy(id);
        Self::of(core, cached::connection_entry(id))
    }

    /// A key's copy.
    pub fn of_key<P: Ports>(core: &Core<P>, id: &KeyId) -> Result<Self> {
        Self::of(core, cached::key_entry(id))
    }

    fn of<P: Ports>(core: &Core<P>, name: String) -> Result<Self> {
        let id = random_text::<16>(core.ports.random())?;
        let note = CacheDelete { id, name, noted_at: core.now() };
        Ok(Self { note, is_needed: core.ports.cache().is_bound() })
    }

    /// The statement that notes it, to go in the batch of the change.
    pub fn note(&self) -> Option<Statement> {
        self.is_needed.then(|| cache_deletes::insert(&self.note, self.note.noted_at.plus(FIRST_RETRY)))
    }

    /// The same; notes nothing unless the statement before it changed a row.
    pub fn note_if_changed(&self) -> Option<Statement> {
        self.is_needed.then(|| cache_deletes::insert_if_changed(&self.note, self.note.noted_at.plus(FIRST_RETRY)))
    }

    /// Asks the cache to delete the entry. The note stays until [`Self::done`] has run.
    pub async fn attempt<P: Ports>(&self, core: &Core<P>) -> CachedCopies {
        if !self.is_needed || cached::forget(core, &self.note.name).await {
            return CachedCopies::Removed;
        }
        CachedCopies::Retrying { until: ends_at(self.note.noted_at) }
    }

    /// The statement that removes the note, once the cache has confirmed.
    pub fn done(&self, copies: CachedCopies) -> Option<Statement> {
        (self.is_needed && copies == CachedCopies::Removed).then(|| cache_deletes::done(&[&self.note.id]))
    }

    /// Deletes the entry and removes the note. A note that stays costs one more deletion, nothing else.
    pub async fn perform<P: Ports>(&self, core: &Core<P>) -> CachedCopies {
        let copies = self.attempt(core).await;
        if let Some(done) = self.done(copies)
            && let Err(error) = core.db().batch(vec![done]).await
        {
            core.log_cause(&error.into());
        }
        copies
    }

    /// Notes it in a batch of its own: for what was put into the cache and turned out to be outdated.
    pub(super) async fn perform_unnoted<P: Ports>(&self, core: &Core<P>) {
        if self.attempt(core).await == CachedCopies::Removed {
            return;
        }
        let note: Vec<_> = self.note().into_iter().collect();
        if let Err(error) = core.db().batch(note).await {
            core.log_cause(&error.into());
        }
    }
}

/// Deletes a copy that shows an older state and opens no door: one that can't be deleted is replaced at its next use.
pub(crate) async fn forget_outdated<P: Ports>(core: &Core<P>, id: &ConnectionId) {
    core.ports.memo().forget_copy(id);
    if core.ports.cache().is_bound() {
        cached::forget_once(core, &cached::connection_entry(id)).await;
    }
}

/// The statement that notes a connection's copy for the scheduled run.
pub(crate) fn note_for_the_schedule<P: Ports>(core: &Core<P>, id: &ConnectionId) -> Result<Option<Statement>> {
    let removal = Removal::of_connection(core, id)?;
    Ok(removal.is_needed.then(|| cache_deletes::insert(&removal.note, removal.note.noted_at)))
}
