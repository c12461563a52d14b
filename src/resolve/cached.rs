//! The copy near the caller: what is in it, how it is written, and how a resolve reads it.
//!
//! Owns the entries of the cache: a connection's last access token (never a refresh token) with
//! every field policy needs, and the authorization of the keys that use it; both sealed, with their
//! AAD inputs in clear. Refuses to refuse: whatever does not fit falls back on the record.

use futures_util::future::join;
use serde::{Deserialize, Serialize};

use super::removal::Removal;
use super::{After, Answered, Ask, Consistency, Freshness, Issued, Policy, Resolved, Source, allow, told};
use crate::authorize;
use crate::caller::{Key, KeyId, PresentedKey};
use crate::connection::{Account, Connection, LEAST_USEFUL, Life, Status};
use crate::core::Core;
use crate::error::Result;
use crate::frozen::{CACHE_CONNECTION, CACHE_KEY, CACHE_WORKSPACE, CACHED_CONNECTION, CACHED_KEY};
use crate::ids::{ConnectionId, WorkspaceId};
use crate::memo::{Copied, Noted};
use crate::ports::{Cache, CacheError, Clock, Ports};
use crate::secret::Secret;
use crate::store::{self, uses};
use crate::time::Timestamp;
use crate::vault::{Place, SealError};

/// Seconds an entry is kept at most: what a deletion that failed could cost.
pub(super) const LONGEST_TTL: i64 = 3600;
/// Seconds a deleted workspace's tombstone is kept: longer than any entry that a request on its way can still put.
const TOMBSTONE_TTL: i64 = 86_400;
/// Seconds between two requests for an early refresh from one instance.
const EARLY_PAUSE: i64 = 30;
/// Seconds for which a location remembers what it read, also that there was no entry.
const REMEMBERED: i64 = 60;
/// Seconds that a further write must add to the life of an entry to be worth it: one that is used is written again
/// three quarters of an hour after it was put, so that it does not lapse.
const WORTH_A_WRITE: i64 = 2700;
/// Tokens with fewer seconds to live are not worth a write.
const LEAST_TTL: i64 = 60;

/// An entry as stored: the AAD inputs in clear, the rest sealed.
#[derive(Serialize, Deserialize)]
struct Entry {
    workspace: String,
    generation: i64,
    version: i64,
    sealed: String,
    /// The revision of the app's definition that it was written by; none in one that an earlier version wrote.
    #[serde(default)]
    revision: Option<i64>,
    /// When it lapses, Unix seconds. One that an earlier version wrote does not say it, and is written again.
    #[serde(default)]
    until: i64,
}

impl Entry {
    fn until(&self) -> Timestamp {
        Timestamp::from_unix(self.until)
    }
}

/// Whether an entry that lapses then is to be written again. `end` is when one that is written now would lapse.
fn is_lapsing(until: Timestamp, end: Timestamp, now: Timestamp) -> bool {
    until <= now || end.since(until) >= WORTH_A_WRITE
}

/// When an entry that is written now lapses: never after the token that it holds.
fn end_of_entry(life: Life, now: Timestamp) -> Timestamp {
    now.plus(life.left(now).unwrap_or(LONGEST_TTL).min(LONGEST_TTL))
}

#[derive(Serialize, Deserialize)]
struct CachedConnection {
    app: crate::app::AppId,
    name: String,
    account: Option<Account>,
    allowed_workflows: Option<Vec<String>>,
    scopes: Vec<String>,
    since: i64,
    until: Option<i64>,
    issued: Issued,
}

/// What a resolve leaves to be copied. Its Debug shows no secret: the parts redact themselves.
#[derive(Debug, Clone)]
pub struct Copy {
    connection: Connection,
    issued: Issued,
    key: Key,
}

impl Copy {
    pub(super) fn new(connection: &Connection, issued: &Issued, key: &Key) -> Self {
        Self { connection: connection.clone(), issued: issued.clone(), key: key.clone() }
    }
}

pub(super) fn connection_entry(id: &ConnectionId) -> String {
    format!("{CACHE_CONNECTION}{id}")
}

pub(super) fn key_entry(id: &KeyId) -> String {
    format!("{CACHE_KEY}{}", id.as_str())
}

fn workspace_entry(id: &str) -> String {
    format!("{CACHE_WORKSPACE}{id}")
}

/// Answers from the copy; `None` where it has no entry, an unfitting one, or one the caller may not have.
pub(super) async fn resolve<P: Ports>(
    core: &Core<P>,
    presented: &PresentedKey,
    id: &ConnectionId,
    ask: &Ask,
) -> Result<Option<Answered>> {
    if ask.force_refresh {
        return Ok(None);
    }
    let now = core.now();
    let Some((key, key_until)) = read_key(core, presented, now).await else { return Ok(None) };
    // Beside the connection's entry, so that it costs no time. What can't be read may say that the workspace is gone.
    let (read, is_deleted) = join(read_connection(core, id), is_deleted(core, &key.workspace)).await;
    let Some((entry, cached)) = read.filter(|_| !is_deleted) else { return Ok(None) };
    let visible = entry.workspace == key.workspace.as_str() && authorize::may_resolve(&key, id, &cached.app).is_ok();
    let policy = cached.policy(id);
    let life = Life { since: Timestamp::from_unix(cached.since), until: cached.until.map(Timestamp::from_unix) };
    let Some(freshness) = freshness(life, id, ask, now).filter(|_| visible && allow(core, &policy, ask).is_ok()) else {
        return Ok(None);
    };
    // One caller in a while goes to the record, whose answer is copied anew. Where the record is out of reach it comes back.
    let is_to_be_renewed =
        is_lapsing(entry.until(), end_of_entry(life, now), now) || is_lapsing(key_until, now.plus(LONGEST_TTL), now);
    if is_to_be_renewed
        && ask.consistency == Consistency::Edge
        && freshness == Freshness::Fresh
        && core.ports.memo().is_time(&Noted::Renewal(id.clone()), REMEMBERED, now)
    {
        return Ok(None);
    }
    let after = afterwards(core, &key, id, ask, freshness, now);
    Ok(Some(Answered { resolved: cached.resolved(id, freshness), after }))
}

/// A use is noted and a refresh asked for once in a while, not at every hit: the point of the copy is to
/// leave the record alone.
fn afterwards<P: Ports>(
    core: &Core<P>,
    key: &Key,
    id: &ConnectionId,
    ask: &Ask,
    freshness: Freshness,
    now: Timestamp,
) -> Vec<After> {
    let memo = core.ports.memo();
    let (_, step) = ask.place();
    let step = ask.workflow.as_ref().map(|workflow| (workflow.clone(), step.to_owned()));
    let mut after = Vec::new();
    if memo.begin(&Noted::Use { connection: id.clone(), step: step.clone() }, uses::INTERVAL, now) {
        after.push(After::Use { workspace: key.workspace.clone(), connection: id.clone(), step });
    }
    if freshness == Freshness::Stale && memo.is_time(&Noted::EarlyRefresh(id.clone()), EARLY_PAUSE, now) {
        after.push(After::Refresh(id.clone()));
    }
    after
}

/// Long enough for the caller, or, with the record out of reach, for anything useful.
fn freshness(life: Life, id: &ConnectionId, ask: &Ask, now: Timestamp) -> Option<Freshness> {
    let long_enough = life.lasts(life.demandable(ask.min_ttl).max(1), now);
    let useful = ask.consistency == Consistency::Available && life.lasts(LEAST_USEFUL, now);
    let near_end = life.early_from(id.jitter()).is_some_and(|from| now >= from);
    (long_enough || useful).then_some(if near_end { Freshness::Stale } else { Freshness::Fresh })
}

impl CachedConnection {
    fn policy<'a>(&'a self, id: &'a ConnectionId) -> Policy<'a> {
        Policy {
            id,
            app: self.app.as_str(),
            account: self.account.as_ref(),
            status: Status::Connected,
            reason: None,
            allowed_workflows: self.allowed_workflows.as_deref(),
            granted: told(self.issued.credential.r#type, &self.scopes),
        }
    }

    fn resolved(self, id: &ConnectionId, freshness: Freshness) -> Resolved {
        Resolved {
            id: id.clone(),
            app: self.app.as_str().to_owned(),
            name: self.name,
            account: self.account,
            issued: self.issued,
            freshness,
            source: Source::Cache,
        }
    }
}

/// Whether the workspace has a tombstone, whatever stands in it, or may have one.
async fn is_deleted<P: Ports>(core: &Core<P>, workspace: &WorkspaceId) -> bool {
    match core.ports.cache().get(&workspace_entry(workspace.as_str())).await {
        Ok(found) => found.is_some(),
        Err(error) => {
            core.log_cache(&error);
            true
        }
    }
}

/// Writes a deleted workspace's tombstone: from then on no entry of it answers, however many there are. Answers whether
/// that worked.
pub async fn write_tombstone<P: Ports>(core: &Core<P>, workspace: &WorkspaceId) -> bool {
    match core.ports.cache().put(&workspace_entry(workspace.as_str()), "deleted", TOMBSTONE_TTL).await {
        Ok(()) => true,
        Err(error) => {
            core.log_cache(&error);
            false
        }
    }
}

async fn read_key<P: Ports>(core: &Core<P>, presented: &PresentedKey, now: Timestamp) -> Option<(Key, Timestamp)> {
    open_key(core, &presented.id).await.filter(|(key, _)| presented.is(key, now))
}

/// A key's entry, and when it lapses.
async fn open_key<P: Ports>(core: &Core<P>, id: &KeyId) -> Option<(Key, Timestamp)> {
    let entry = read_entry(core, &key_entry(id)).await?;
    let text = core.config.ring.open(&Place::of(CACHED_KEY, &entry.workspace, id.as_str(), 0), &entry.sealed).ok()?;
    Some((serde_json::from_str(text.expose()).ok()?, entry.until()))
}

async fn read_connection<P: Ports>(core: &Core<P>, id: &ConnectionId) -> Option<(Entry, CachedConnection)> {
    let entry = read_entry(core, &connection_entry(id)).await?;
    let text = core
        .config
        .ring
        .open(&Place::of(CACHED_CONNECTION, &entry.workspace, id.as_str(), entry.generation), &entry.sealed)
        .ok()?;
    let cached = serde_json::from_str(text.expose()).ok()?;
    Some((entry, cached))
}

async fn read_entry<P: Ports>(core: &Core<P>, name: &str) -> Option<Entry> {
    match core.ports.cache().get(name).await {
        Ok(text) => serde_json::from_str(&text?).ok(),
        Err(error) => {
            core.log_cache(&error);
            None
        }
    }
}

/// Copies an answer: one write per credential version and key, again before the entry lapses, none for a token that ends
/// soon.
/// Afterwards the record is read again: what was reconnected, edited or ended meanwhile is taken back.
pub(super) async fn write<P: Ports>(core: &Core<P>, copy: &Copy) {
    let now = core.now();
    let end = end_of_entry(copy.connection.life(), now);
    if end.since(now) < LEAST_TTL {
        return;
    }
    let written = write_connection(core, copy, (now, end)).await;
    let written = match write_key(core, &copy.key).await {
        Ok(key_written) => written.map(|connection_written| connection_written || key_written),
        Err(error) => Err(error),
    };
    match written {
        Ok(false) => {}
        Ok(true) => take_back_if_moved(core, copy).await,
        Err(error) => core.log_cache(&error),
    }
}

async fn write_connection<P: Ports>(
    core: &Core<P>,
    copy: &Copy,
    (now, end): (Timestamp, Timestamp),
) -> std::result::Result<bool, CacheError> {
    let connection = &copy.connection;
    let name = connection_entry(&connection.id);
    let state = (connection.generation, connection.version, connection.app_revision);
    let is_good = |of: (i64, i64, i64), until: Timestamp| of == state && !is_lapsing(until, end, now);
    let memo = core.ports.memo();
    let remember = |until| memo.remember_copy(&connection.id, Copied { state, until, seen_at: now });
    // A location remembers for a minute that there was nothing: what was put from here is known here for as long. Later
    // another instance may have deleted it for a change that this one knows nothing of.
    let is_known = |one: Copied| now.since(one.seen_at) <= REMEMBERED && is_good(one.state, one.until);
    if memo.copied(&connection.id).is_some_and(is_known) {
        return Ok(false);
    }
    // One that no key of the ring opens any more is worth nothing, whatever it says.
    let read = read_connection(core, &connection.id)
        .await
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
        scopes: connection.scopes_granted.clone(),
        since: life.since.unix(),
        until: life.until.map(Timestamp::unix),
        issued: copy.issued.clone(),
    };
    let place =
        Place::of(CACHED_CONNECTION, connection.workspace.as_str(), connection.id.as_str(), connection.generation);
    let written = put(core, &name, &cached, &place, (connection.version, connection.app_revision), (now, end)).await?;
    remember(end);
    Ok(written)
}

async fn write_key<P: Ports>(core: &Core<P>, key: &Key) -> std::result::Result<bool, CacheError> {
    let name = key_entry(&key.id);
    // What was put from here is known here, though the location still says that there is nothing. One from before a
    // rotation is replaced.
    let (memo, now, noted) = (core.ports.memo(), core.now(), Noted::KeyCopy(key.id.clone()));
    let end = now.plus(LONGEST_TTL);
    let is_good = |(known, until): (Key, Timestamp)| known == *key && !is_lapsing(until, end, now);
    if open_key(core, &key.id).await.is_some_and(is_good) || !memo.begin(&noted, REMEMBERED, now) {
        return Ok(false);
    }
    let place = Place::of(CACHED_KEY, key.workspace.as_str(), key.id.as_str(), 0);
    let written = put(core, &name, key, &place, (0, 0), (now, end)).await;
    if written.is_ok() {
        memo.done(&noted, now);
    } else {
        memo.failed(&noted);
    }
    written
}

async fn put<P: Ports, T: Serialize>(
    core: &Core<P>,
    name: &str,
    value: &T,
    place: &Place<'_>,
    (version, revision): (i64, i64),
    (now, end): (Timestamp, Timestamp),
) -> std::result::Result<bool, CacheError> {
    let failed = |error: SealError| CacheError(format!("an entry could not be sealed: {error:?}"));
    let text = serde_json::to_string(value)
        .map(Secret::new)
        .map_err(|_| CacheError("an entry could not be written as JSON".into()))?;
    let sealed = core.config.ring.seal(core.ports.random(), place, &text).map_err(failed)?;
    let entry = Entry {
        workspace: place.workspace.to_owned(),
        generation: place.generation,
        version,
        sealed,
        revision: Some(revision),
        until: end.unix(),
    };
    core.ports.cache().put(name, &store::json_text(&entry), end.since(now)).await?;
    Ok(true)
}

async fn take_back_if_moved<P: Ports>(core: &Core<P>, copy: &Copy) {
    let old = &copy.connection;
    let same_connection =
        store::connections::get(core.db(), &old.workspace, &old.id).await.ok().flatten().is_some_and(|new| {
            (new.generation, new.version, new.app_revision) == (old.generation, old.version, old.app_revision)
                && new.status == Status::Connected
                && new.allowed_workflows == old.allowed_workflows
                && new.name == old.name
        });
    let same_key = store::keys::get(core.db(), &copy.key.id).await.ok().flatten().is_some_and(|key| {
        let old = &copy.key;
        (&key.hash, &key.previous) == (&old.hash, &old.previous)
    });
    let outdated = [
        (!same_connection).then(|| Removal::of_connection(core, &old.id)),
        (!same_key).then(|| Removal::of_key(core, &copy.key.id)),
    ];
    for removal in outdated.into_iter().flatten() {
        match removal {
            Ok(removal) => removal.perform_unnoted(core).await,
            Err(error) => core.log_cause(&error),
        }
    }
}

/// Tried thrice: a cache that takes one write a second per key may refuse the first.
pub(super) async fn forget<P: Ports>(core: &Core<P>, name: &str) -> bool {
    for wait in [300, 1100, 0] {
        if forget_once(core, name).await {
            return true;
        }
        if wait > 0 {
            core.ports.clock().sleep(wait).await;
        }
    }
    false
}

/// Tried once: whoever calls comes again.
pub(crate) async fn forget_once<P: Ports>(core: &Core<P>, name: &str) -> bool {
    match core.ports.cache().delete(name).await {
        Ok(()) => true,
        Err(error) => {
            core.log_cache(&error);
            false
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

    /// Reads what an earlier version stored, and stores it again.
    fn again<T: for<'de> Deserialize<'de> + Serialize>(stored: &Value) -> Value {
        serde_json::to_value(serde_json::from_value::<T>(stored.clone()).unwrap()).unwrap()
    }

    #[test]
    fn the_members_of_entries_keep_their_names() {
        let id = "ws_0123456789abcdefABCD-_";
        let entry =
            json!({ "workspace": id, "generation": 1, "version": 2, "sealed": "cx1.k1.x", "revision": 3, "until": 4 });
        let connection = json!({
            "app": "acme", "name": "n", "account": { "id": "a", "label": "l" }, "allowed_workflows": ["w"],
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
            "connections": ["con_0123456789abcdefABCD-_"], "apps": ["acme"], "expires_at": 1, "created_at": 2,
            "made_by": "key_0123456789abcdef", "previous": { "hash": "p", "until": 3 },
        });
        assert_eq!(names(&entry), members::CACHE_ENTRY);
        assert_eq!(names(&connection), members::CACHED_CONNECTION);
        assert_eq!(names(&key), members::CACHED_KEY);
        assert_eq!(again::<Entry>(&entry), entry);
        assert_eq!(names(&again::<CachedConnection>(&connection)), members::CACHED_CONNECTION);
        assert_eq!(again::<CachedConnection>(&connection)["issued"]["credential"], connection["issued"]["credential"]);
        assert_eq!(again::<Key>(&key), key);
    }
}
