//! The cache entries of resolves: their content, how they are written, and how a resolve reads them.
//!
//! Owns the entries: a connection's last access token (never a refresh token) with every field that the policy needs,
//! and the authorization of the keys that use it. Both are sealed, with the inputs of their associated data
//! unencrypted. Never refuses a caller: if an entry does not match, the database answers.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::CredentialPayload;
use crate::account::Account;
use crate::app::AppId;
use crate::cache::{self, CacheRemoval, MAX_TTL, connection_entry_name, key_entry_name, workspace_entry_name};
use crate::caller::{ApiKey, PresentedKey};
use crate::connection::{Connection, ConnectionStatus, TokenLifetime};
use crate::context::Context;
use crate::environment::Environment;
use crate::frozen::{CACHED_CONNECTION, CACHED_KEY};
use crate::ids::{ApiKeyId, ConnectionId, Shard};
use crate::isolate_cache::{ThrottledTask, WrittenCacheEntry};
use crate::ports::{Cache, CacheError, Ports};
use crate::secret::Secret;
use crate::store;
use crate::time::Timestamp;
use crate::vault::{SealContext, SealError};

/// Seconds for which a reader may have an entry that was deleted since, or find none that was written since: 30 at its
/// location and 30 in its isolate.
pub(super) const LOCATION_CACHE_TTL: i64 = 60;
/// Seconds by which a further write must extend an entry: one in use is written again 45 minutes after it was written,
/// so that it does not expire.
const MIN_EXTENSION: i64 = 2700;
/// Tokens with a shorter remaining time, in seconds, are not cached.
const MIN_TTL: i64 = 60;

/// A stored entry: the inputs of its associated data unencrypted, the rest sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct CacheEntry {
    pub(super) workspace: String,
    pub(super) generation: i64,
    pub(super) version: i64,
    sealed: String,
    /// The revision of the app's definition that it was written with. None in an entry of an earlier version.
    #[serde(default)]
    revision: Option<i64>,
    /// When it expires, in Unix seconds. An entry of an earlier version has none, and is written again.
    #[serde(default)]
    until: i64,
}

impl CacheEntry {
    pub(super) fn until(&self) -> Timestamp {
        Timestamp::from_unix(self.until)
    }
}

/// Whether an entry with this expiry is written again. `end` is the expiry of an entry that is written now.
pub(super) fn is_expiring(until: Timestamp, end: Timestamp, now: Timestamp) -> bool {
    until <= now || end.since(until) >= MIN_EXTENSION
}

/// The expiry of an entry that is written now: never after that of its token.
pub(super) fn entry_expiry(life: TokenLifetime, now: Timestamp) -> Timestamp {
    now.plus(life.remaining(now).unwrap_or(MAX_TTL).min(MAX_TTL))
}

#[derive(Serialize, Deserialize)]
pub(super) struct CachedConnection {
    pub(super) app: AppId,
    pub(super) name: String,
    pub(super) account: Option<Account>,
    pub(super) allowed_workflows: Option<Vec<String>>,
    /// None also in an entry of an earlier version.
    #[serde(default)]
    pub(super) environment: Option<Environment>,
    pub(super) scopes: Vec<String>,
    pub(super) since: i64,
    pub(super) until: Option<i64>,
    pub(super) issued: CredentialPayload,
}

/// What a resolve leaves to be cached. Its Debug output shows no secret.
#[derive(Debug, Clone)]
pub struct CacheWrite {
    connection: Connection,
    issued: CredentialPayload,
    key: ApiKey,
}

impl CacheWrite {
    pub(super) fn new(connection: &Connection, issued: &CredentialPayload, key: &ApiKey) -> Self {
        Self { connection: connection.clone(), issued: issued.clone(), key: key.clone() }
    }

    pub(super) fn shard(&self) -> Shard {
        self.connection.id.shard()
    }
}

/// What the cache has for a resolve: the key's entry and when it expires, the connection's, and whether a tombstone of the
/// workspace denies it. `None` where one of the two entries is missing or can't be read.
pub(super) struct EntriesRead {
    pub(super) key: ApiKey,
    pub(super) key_until: Timestamp,
    pub(super) entry: CacheEntry,
    pub(super) connection: CachedConnection,
    pub(super) is_denied: bool,
}

/// Reads both entries and the tombstone in one call. The tombstone's name is known from the connection's entry, if this
/// instance has seen one; else it is asked for by itself. What can't be read may say that the workspace is gone.
pub(super) async fn read_entries<P: Ports>(
    context: &Context<P>,
    presented: &PresentedKey,
    id: &ConnectionId,
) -> Option<EntriesRead> {
    let connection_name = connection_entry_name(id);
    let seen = context.ports.isolate_cache().entries().get_outdated(&connection_name);
    let workspace = seen.and_then(|text| Some(parse_entry(&text)?.workspace));
    let mut names = vec![key_entry_name(&presented.id), connection_name];
    names.extend(workspace.as_deref().map(workspace_entry_name));
    let texts = cache::read_entries(context, &names).await?;
    let mut texts = texts.into_iter();
    let (key_text, connection_text) = (texts.next()??, texts.next()??);
    let (key, key_until) = open_key(context, &presented.id, &key_text)?;
    let (entry, connection) = open_connection(context, id, &connection_text)?;
    let app = connection.app.as_str();
    let is_denied = match texts.next() {
        Some(tombstone) if workspace.as_deref() == Some(key.workspace.as_str()) => {
            tombstone.is_some_and(|text| cache::denies(&text, app))
        }
        _ => cache::is_denied(context, &key.workspace, app).await,
    };
    Some(EntriesRead { key, key_until, entry, connection, is_denied })
}

fn parse_entry(text: &str) -> Option<CacheEntry> {
    serde_json::from_str(text).ok()
}

/// A key's entry, and its expiry.
fn open_key<P: Ports>(context: &Context<P>, id: &ApiKeyId, text: &Rc<str>) -> Option<(ApiKey, Timestamp)> {
    let entry = parse_entry(text)?;
    let isolate_cache = context.ports.isolate_cache();
    let opened = if let Some(opened) = isolate_cache.opened_key(text) {
        opened
    } else {
        let seal_context = SealContext::of(CACHED_KEY, &entry.workspace, id.as_str(), 0);
        let opened: Rc<str> = context.config.key_ring.open(&seal_context, &entry.sealed).ok()?.expose().into();
        isolate_cache.remember_opened_key(text, &opened);
        opened
    };
    // What was opened for another key is not this one's, even if somebody put the same text under both names.
    let key = serde_json::from_str(&opened).ok().filter(|key: &ApiKey| key.id == *id)?;
    Some((key, entry.until()))
}

fn open_connection<P: Ports>(
    context: &Context<P>,
    id: &ConnectionId,
    text: &str,
) -> Option<(CacheEntry, CachedConnection)> {
    let entry = parse_entry(text)?;
    let seal_context = SealContext::of(CACHED_CONNECTION, &entry.workspace, id.as_str(), entry.generation);
    let opened = context.config.key_ring.open(&seal_context, &entry.sealed).ok()?;
    let cached = serde_json::from_str(opened.expose()).ok()?;
    Some((entry, cached))
}

/// An entry's text as the cache has it now, whatever this instance remembers.
async fn read_text<P: Ports>(context: &Context<P>, name: &str) -> Option<String> {
    match context.ports.cache().get(name).await {
        Ok(text) => text,
        Err(error) => {
            context.log_cache_error(&error);
            None
        }
    }
}

/// Caches an answer: one write per credential version and key, again before the entry expires, none for a token that
/// expires soon. After that the database is read again, and the entry is deleted if the connection was reconnected,
/// edited, replaced or ended in the meantime. What a replaced connection answers is cached as that of the one that answers
/// for it.
pub(super) async fn write_entries<P: Ports>(context: &Context<P>, copy: &CacheWrite) {
    let now = context.now();
    let end = entry_expiry(copy.connection.life(), now);
    if end.since(now) < MIN_TTL {
        return;
    }
    let written = write_connection(context, copy, end, now).await;
    let written = match write_key(context, &copy.key).await {
        Ok(key_written) => written.map(|connection_written| connection_written || key_written),
        Err(error) => Err(error),
    };
    match written {
        Ok(false) => {}
        Ok(true) => delete_if_outdated(context, copy).await,
        Err(error) => context.log_cache_error(&error),
    }
}

async fn write_connection<P: Ports>(
    context: &Context<P>,
    copy: &CacheWrite,
    end: Timestamp,
    now: Timestamp,
) -> std::result::Result<bool, CacheError> {
    let connection = &copy.connection;
    let name = connection_entry_name(&connection.id);
    let state = (connection.generation, connection.version, connection.app_revision);
    let is_good = |of: (i64, i64, i64), until: Timestamp| of == state && !is_expiring(until, end, now);
    let isolate_cache = context.ports.isolate_cache();
    let remember = |until| {
        isolate_cache.remember_written_entry(
            &connection.id,
            WrittenCacheEntry { versions: state, expires_at: until, seen_at: now },
        );
    };
    // A location remembers for a minute that there was no entry. What this isolate wrote is known here for as long.
    // Later another isolate may have deleted it for a change that this one does not know.
    let is_known =
        |one: WrittenCacheEntry| now.since(one.seen_at) <= LOCATION_CACHE_TTL && is_good(one.versions, one.expires_at);
    if isolate_cache.written_entry(&connection.id).is_some_and(is_known) {
        return Ok(false);
    }
    // An entry that no key of the ring opens is ignored.
    let read = read_text(context, &name)
        .await
        .and_then(|text| open_connection(context, &connection.id, &text))
        .filter(|(entry, _)| is_good((entry.generation, entry.version, entry.revision.unwrap_or(-1)), entry.until()));
    if let Some((entry, _)) = read {
        remember(entry.until());
        return Ok(false);
    }
    let life = connection.life();
    let cached = CachedConnection {
        app: connection.app.clone(),
        name: connection.name.clone(),
        account: connection.account.clone(),
        allowed_workflows: connection.allowed_workflows.clone(),
        environment: connection.environment,
        scopes: connection.scopes_granted.clone(),
        since: life.issued_at.unix(),
        until: life.expires_at.map(Timestamp::unix),
        issued: copy.issued.clone(),
    };
    let entry = NewEntry {
        name: &name,
        seal_context: SealContext::of(
            CACHED_CONNECTION,
            connection.workspace.as_str(),
            connection.id.as_str(),
            connection.generation,
        ),
        version: connection.version,
        revision: connection.app_revision,
        until: end,
    };
    let written = put_entry(context, &entry, &cached, now).await?;
    remember(end);
    Ok(written)
}

async fn write_key<P: Ports>(context: &Context<P>, key: &ApiKey) -> std::result::Result<bool, CacheError> {
    let name = key_entry_name(&key.id);
    // What this isolate wrote is known here, although the location still finds nothing. An entry from before a rotation
    // is replaced.
    let (isolate_cache, now, noted) =
        (context.ports.isolate_cache(), context.now(), ThrottledTask::WriteApiKeyEntry(key.id.clone()));
    let end = now.plus(MAX_TTL);
    let is_good = |(known, until): (ApiKey, Timestamp)| known == *key && !is_expiring(until, end, now);
    let read = cache::read_entries(context, std::slice::from_ref(&name)).await;
    let read = read.and_then(|texts| texts.into_iter().next()?).and_then(|text| open_key(context, &key.id, &text));
    if read.is_some_and(is_good) || !isolate_cache.try_start_task(&noted, LOCATION_CACHE_TTL, now) {
        return Ok(false);
    }
    let entry = NewEntry {
        name: &name,
        seal_context: SealContext::of(CACHED_KEY, key.workspace.as_str(), key.id.as_str(), 0),
        version: 0,
        revision: 0,
        until: end,
    };
    let written = put_entry(context, &entry, key, now).await;
    if written.is_ok() {
        isolate_cache.mark_task_done(&noted, now);
    } else {
        isolate_cache.mark_task_failed(&noted);
    }
    written
}

/// An entry that is to be written, without its content.
struct NewEntry<'a> {
    name: &'a str,
    seal_context: SealContext<'a>,
    version: i64,
    revision: i64,
    until: Timestamp,
}

async fn put_entry<P: Ports, T: Serialize>(
    context: &Context<P>,
    new: &NewEntry<'_>,
    value: &T,
    now: Timestamp,
) -> std::result::Result<bool, CacheError> {
    let failed = |error: SealError| CacheError(format!("an entry could not be sealed: {error:?}"));
    let text = serde_json::to_string(value)
        .map(Secret::new)
        .map_err(|_| CacheError("an entry could not be written as JSON".into()))?;
    let sealed = context.config.key_ring.seal(context.ports.random(), &new.seal_context, &text).map_err(failed)?;
    let entry = CacheEntry {
        workspace: new.seal_context.workspace.to_owned(),
        generation: new.seal_context.generation,
        version: new.version,
        sealed,
        revision: Some(new.revision),
        until: new.until.unix(),
    };
    cache::put_entry(context, new.name, &store::json_text(&entry), new.until.since(now)).await?;
    Ok(true)
}

async fn delete_if_outdated<P: Ports>(context: &Context<P>, copy: &CacheWrite) {
    let old = &copy.connection;
    let same_connection =
        store::replacements::get_unreplaced(context.db(), &old.workspace, &old.id).await.ok().flatten().is_some_and(
            |new| {
                (new.generation, new.version, new.app_revision) == (old.generation, old.version, old.app_revision)
                    && new.status == ConnectionStatus::Connected
                    && new.allowed_workflows == old.allowed_workflows
                    && new.name == old.name
                    && new.environment == old.environment
            },
        );
    let same_key = store::keys::get(context.db(), &copy.key.id).await.ok().flatten().is_some_and(|key| {
        let old = &copy.key;
        (&key.hash, &key.previous) == (&old.hash, &old.previous)
    });
    let outdated = [
        (!same_connection).then(|| CacheRemoval::of_connection(context, &old.id)),
        (!same_key).then(|| CacheRemoval::of_key(context, &copy.key.id)),
    ];
    for removal in outdated.into_iter().flatten() {
        match removal {
            Ok(removal) => removal.perform_unrecorded(context).await,
            Err(error) => context.log_cause(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::frozen::members;

    fn names(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// Reads what an earlier version stored, and writes it again.
    fn again<T: for<'de> Deserialize<'de> + Serialize>(stored: &Value) -> Value {
        serde_json::to_value(serde_json::from_value::<T>(stored.clone()).unwrap()).unwrap()
    }

    #[test]
    fn the_members_of_cache_entries_keep_their_names() {
        let id = "ws_0123456789abcdefABCD-_";
        let entry =
            json!({ "workspace": id, "generation": 1, "version": 2, "sealed": "cx1.k1.x", "revision": 3, "until": 4 });
        let connection = json!({
            "app": "acme", "name": "n", "account": { "id": "a", "label": "l" }, "allowed_workflows": ["w"],
            "environment": "test",
            "scopes": ["s"], "since": 1, "until": 2,
            "issued": {
                "credential": {
                    "type": "oauth2", "access_token": "t", "token_type": "Bearer",
                    "expires_at": "2026-11-22T12:00:00Z", "scopes": ["s"],
                },
                "request": { "base_url": "https://a.example", "headers": { "authorization": "Bearer t" } },
            },
        });
        let key = json!({
            "id": "key_0123456789abcdef", "workspace": id, "name": "n", "hash": "h", "scopes": ["resolve"],
            "connections": ["con_0123456789abcdefABCD-_"], "apps": ["acme"], "environment": "test", "expires_at": 1, "created_at": 2,
            "made_by": "key_0123456789abcdef", "previous": { "hash": "p", "until": 3 },
        });
        assert_eq!(names(&entry), members::CACHE_ENTRY);
        assert_eq!(names(&connection), members::CACHED_CONNECTION);
        assert_eq!(names(&key), members::CACHED_KEY);
        assert_eq!(again::<CacheEntry>(&entry), entry);
        assert_eq!(names(&again::<CachedConnection>(&connection)), members::CACHED_CONNECTION);
        assert_eq!(again::<CachedConnection>(&connection)["issued"]["credential"], connection["issued"]["credential"]);
        assert_eq!(again::<ApiKey>(&key), key);
    }
}
