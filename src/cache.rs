//! The entries of the cache: what they are called, how long they live, and how they go.
//!
//! Owns every name of an entry. What is in an entry is known to whoever writes and reads it: [`crate::resolve`] and
//! [`crate::registry`].

mod removal;

use std::rc::Rc;

use crate::caller::hash_secret;
use crate::context::Context;
use crate::egress::EgressUrl;
use crate::frozen::{CACHE_CONNECTION, CACHE_DISCOVERY, CACHE_KEY, CACHE_WORKSPACE};
use crate::ids::{ApiKeyId, ConnectionId, WorkspaceId};
use crate::ports::{Cache, CacheError, Clock, Ports};

pub use removal::{CacheRemoval, CacheRemovalStatus, latest_entry_expiry};
pub(crate) use removal::{delete_outdated_entry, schedule_connection_removal, schedule_connection_removals};

/// Seconds an entry is kept at most: what a deletion that failed could cost.
pub(crate) const MAX_TTL: i64 = 3600;
/// Seconds a deleted workspace's tombstone is kept: longer than any entry that a request on its way can still put.
pub(crate) const TOMBSTONE_TTL: i64 = 86_400;

/// The name of a connection's entry.
pub(crate) fn connection_entry_name(id: &ConnectionId) -> String {
    format!("{CACHE_CONNECTION}{id}")
}

/// The name of an API key's entry.
pub(crate) fn key_entry_name(id: &ApiKeyId) -> String {
    format!("{CACHE_KEY}{id}")
}

/// The name of the entry with an issuer's discovery document.
pub(crate) fn discovery_entry_name(issuer: &EgressUrl) -> String {
    format!("{CACHE_DISCOVERY}{}", hash_secret(issuer.as_str()))
}

/// The name of a deleted workspace's tombstone.
pub(crate) fn workspace_entry_name(id: &str) -> String {
    format!("{CACHE_WORKSPACE}{id}")
}

/// The texts of entries, in the order of their names: from this instance's memory, and those that it does not have from the
/// cache, in one call. `None` where the cache fails.
pub(crate) async fn read_entries<P: Ports>(context: &Context<P>, names: &[String]) -> Option<Vec<Option<Rc<str>>>> {
    let (memory, now) = (context.ports.isolate_cache().entries(), context.now());
    let mut texts: Vec<_> = names.iter().map(|name| memory.get(name, now)).collect();
    let unknown: Vec<String> =
        names.iter().zip(&texts).filter(|(_, text)| text.is_none()).map(|(name, _)| name.clone()).collect();
    if !unknown.is_empty() {
        let epochs: Vec<_> = unknown.iter().map(|name| memory.epoch(name)).collect();
        let found = match context.ports.cache().get_many(&unknown).await {
            Ok(found) => found,
            Err(error) => {
                context.log_cache_error(&error);
                return None;
            }
        };
        let mut found = unknown.iter().zip(epochs).zip(found);
        for text in texts.iter_mut().filter(|text| text.is_none()) {
            let ((name, epoch), value) = found.next()?;
            memory.remember(name, value.as_deref(), epoch, now);
            *text = Some(value.map(Into::into));
        }
    }
    Some(texts.into_iter().map(Option::flatten).collect())
}

/// Writes an entry.
pub(crate) async fn put_entry<P: Ports>(
    context: &Context<P>,
    name: &str,
    text: &str,
    ttl_seconds: i64,
) -> Result<(), CacheError> {
    let memory = context.ports.isolate_cache().entries();
    let epoch = memory.forget(name);
    context.ports.cache().put(name, text, ttl_seconds).await?;
    memory.remember(name, Some(text), epoch, context.now());
    Ok(())
}

/// What the tombstone begins with that is for some apps of a workspace.
const DENIED_APPS: &str = "apps:";

/// Whether a tombstone of its workspace denies an app. Whatever stands in it that is no list of apps, denies them all.
pub(crate) fn denies(tombstone: &str, app: &str) -> bool {
    tombstone.strip_prefix(DENIED_APPS).is_none_or(|apps| apps.split(',').any(|one| one == app))
}

/// Whether the workspace has a tombstone that denies an app, or may have one.
pub(crate) async fn is_denied<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, app: &str) -> bool {
    let found = read_entries(context, &[workspace_entry_name(workspace.as_str())]).await;
    found.is_none_or(|texts| texts.iter().flatten().any(|text| denies(text, app)))
}

/// Writes the tombstone of some apps of a workspace, or of all: from then on no entry of them answers. Answers whether that
/// worked.
pub(crate) async fn write_denied_apps<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    apps: Option<&[String]>,
) -> bool {
    let text = apps.map_or_else(|| "all".to_owned(), |apps| format!("{DENIED_APPS}{}", apps.join(",")));
    write_workspace_entry(context, workspace, &text).await
}

/// Writes a deleted workspace's tombstone: from then on no entry of it answers, however many there are. Answers whether
/// that worked.
pub async fn write_tombstone<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) -> bool {
    write_workspace_entry(context, workspace, "deleted").await
}

async fn write_workspace_entry<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, text: &str) -> bool {
    match put_entry(context, &workspace_entry_name(workspace.as_str()), text, TOMBSTONE_TTL).await {
        Ok(()) => true,
        Err(error) => {
            context.log_cache_error(&error);
            false
        }
    }
}

/// Tried thrice: a cache that takes one write a second per key may refuse the first.
pub(crate) async fn delete_with_retries<P: Ports>(context: &Context<P>, name: &str) -> bool {
    for wait in [300, 1100, 0] {
        if delete_once(context, name).await {
            return true;
        }
        if wait > 0 {
            context.ports.clock().sleep(wait).await;
        }
    }
    false
}

/// Tried once: whoever calls comes again.
pub(crate) async fn delete_once<P: Ports>(context: &Context<P>, name: &str) -> bool {
    context.ports.isolate_cache().entries().forget(name);
    match context.ports.cache().delete(name).await {
        Ok(()) => true,
        Err(error) => {
            context.log_cache_error(&error);
            false
        }
    }
}
