//! Who is calling, and what they may do.
//!
//! Owns API keys: their form, their check, their scopes and allow-lists. Refuses to store a key:
//! only the SHA-256 of its 190-bit random secret is kept, found by id, compared in constant time.
//! What follows from scopes and allow-lists is decided in [`crate::authorize`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::app::AppId;
use crate::environment::Environment;
use crate::ids::{ApiKeyId, ConnectionId, Shard, WorkspaceId, base62, random_base62};
use crate::random::{NoRandomness, Random};
use crate::secret::Secret;
use crate::time::Timestamp;

const KEY_PREFIX: &str = "cx_";
const SECRET_LENGTH: usize = 32;
const CHECKSUM_LENGTH: usize = 6;

/// SHA-256 as unpadded base64url: how secrets that are only recognised are stored.
pub fn hash_secret(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
}

/// Whether two texts are equal, in a time that does not tell where they differ.
pub fn constant_time_eq(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "KeyScope"))]
pub enum KeyScope {
    /// Sees connections and apps.
    #[serde(rename = "connections:read")]
    ConnectionsRead,
    /// Makes, changes, checks and disconnects connections.
    #[serde(rename = "connections:write")]
    ConnectionsWrite,
    /// Gets credentials.
    #[serde(rename = "resolve")]
    Resolve,
    /// Sends requests to apps through the proxy, without getting their credentials.
    #[serde(rename = "proxy")]
    Proxy,
    /// Changes apps and clients.
    #[serde(rename = "apps")]
    Apps,
    /// Makes links, and signs members in.
    #[serde(rename = "links")]
    Links,
    /// Makes and revokes keys, and changes the workspace.
    #[serde(rename = "keys")]
    Keys,
    /// Beside `links` signs admins in; sees and changes people; sees and ends sign-in links and sessions.
    #[serde(rename = "people")]
    People,
    /// Reads the audit trail.
    #[serde(rename = "events")]
    Events,
    /// Makes, changes, tests and deletes webhooks.
    #[serde(rename = "webhooks")]
    Webhooks,
    /// Everything.
    #[serde(rename = "*")]
    All,
}

impl KeyScope {
    /// All of them, as a form lists them.
    pub const EVERY: [Self; 11] = [
        Self::Resolve,
        Self::Proxy,
        Self::ConnectionsRead,
        Self::ConnectionsWrite,
        Self::Apps,
        Self::Links,
        Self::Keys,
        Self::People,
        Self::Events,
        Self::Webhooks,
        Self::All,
    ];

    /// Reads scopes as they are stored. One that is not known here is of a later version, and gives nothing: after a return
    /// to this version the key works with the others.
    pub fn parse_stored(texts: &[String]) -> Vec<Self> {
        let parse = |text: &String| Self::EVERY.into_iter().find(|one| one.as_str() == text);
        texts.iter().filter_map(parse).collect()
    }

    /// The scope's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionsRead => "connections:read",
            Self::ConnectionsWrite => "connections:write",
            Self::Resolve => "resolve",
            Self::Proxy => "proxy",
            Self::Apps => "apps",
            Self::Links => "links",
            Self::Keys => "keys",
            Self::People => "people",
            Self::Events => "events",
            Self::Webhooks => "webhooks",
            Self::All => "*",
        }
    }
}

/// A stored API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Id.
    pub id: ApiKeyId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the whole key.
    pub hash: String,
    /// What it may do.
    #[serde(deserialize_with = "stored_scopes")]
    pub scopes: Vec<KeyScope>,
    /// The only connections it may see, if limited.
    pub connections: Option<Vec<ConnectionId>>,
    /// The only apps whose connections it may see, if limited.
    pub apps: Option<Vec<AppId>>,
    /// The only environment whose connections it may see, if limited.
    #[serde(default)]
    pub environment: Option<Environment>,
    /// When it ends (Unix seconds in the cache's copy).
    #[serde(with = "optional_unix_seconds")]
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    #[serde(with = "optional_unix_seconds")]
    pub created_at: Option<Timestamp>,
    /// The key that made it, if a key did.
    #[serde(default)]
    pub made_by: Option<ApiKeyId>,
    /// The secret before the last rotation.
    #[serde(default)]
    pub previous: Option<PreviousSecret>,
}

/// The secret that a key had before its last rotation. It is accepted for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// SHA-256 of the whole key, with that secret.
    pub hash: String,
    /// When it is no longer accepted (Unix seconds in the cache's copy).
    #[serde(with = "unix_seconds")]
    pub until: Timestamp,
}

/// The key that made something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatorKey {
    /// Its id.
    pub key: ApiKeyId,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
}

impl CreatorKey {
    /// What a key makes does not outlive the key.
    pub fn limit_expiry(&self, expires_at: Timestamp) -> Timestamp {
        self.expires_at.map_or(expires_at, |end| end.min(expires_at))
    }
}

impl From<&ApiKey> for CreatorKey {
    fn from(key: &ApiKey) -> Self {
        Self { key: key.id.clone(), expires_at: key.expires_at }
    }
}

mod unix_seconds {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[cfg_attr(
        not(target_arch = "wasm32"),
        expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `with` hands over a reference to the field")
    )]
    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        time.unix().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_unix)
    }
}

fn stored_scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<KeyScope>, D::Error> {
    Ok(KeyScope::parse_stored(&Vec::deserialize(deserializer)?))
}

mod optional_unix_seconds {
    use super::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde's `with` hands over a reference to the field")]
    pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(Timestamp::unix).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Timestamp::from_unix))
    }
}

/// A key as a caller sends it: well-formed, not yet checked.
#[derive(Debug, Clone)]
pub struct PresentedKey {
    /// Its id part.
    pub id: ApiKeyId,
    hash: String,
}

impl PresentedKey {
    /// Reads `cx_<id>_<secret and checksum>`. A mistyped key fails here, before any database call.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, rest) = text.strip_prefix(KEY_PREFIX)?.split_once('_')?;
        let well_formed =
            rest.len() == SECRET_LENGTH + CHECKSUM_LENGTH && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        let (secret, sum) = rest.split_at_checked(SECRET_LENGTH).filter(|_| well_formed)?;
        (checksum(id, secret) == sum).then_some(())?;
        Some(Self { id: ApiKeyId::parse(&format!("key_{id}"))?, hash: hash_secret(text) })
    }

    /// What a limit remembers of it: a hash of the whole key, so that only who has the key is refused by it.
    pub(crate) fn rate_limit_key(&self) -> String {
        format!("key {}", self.hash)
    }

    /// Whether it is this stored key, and the key is still in force. For a while after a rotation the secret before is
    /// accepted, too.
    pub fn matches(&self, key: &ApiKey, now: Timestamp) -> bool {
        let alive = key.expires_at.is_none_or(|end| now < end);
        let previous =
            key.previous.as_ref().is_some_and(|one| constant_time_eq(&self.hash, &one.hash) && now < one.until);
        (constant_time_eq(&self.hash, &key.hash) || previous) && alive
    }

    /// Whether it is the key's newest secret, and not the one before the last rotation.
    pub fn matches_newest_secret(&self, key: &ApiKey) -> bool {
        constant_time_eq(&self.hash, &key.hash)
    }
}

/// A new key: its id, its text (shown once) and the hash to store.
pub fn new_key(random: &impl Random, shard: Shard) -> std::result::Result<(ApiKeyId, Secret, String), NoRandomness> {
    let id = ApiKeyId::random(random, shard)?;
    let (text, stored) = new_secret(random, &id)?;
    Ok((id, text, stored))
}

/// A new secret for a key: the key's whole text (shown once) and the hash to store.
pub fn new_secret(random: &impl Random, id: &ApiKeyId) -> std::result::Result<(Secret, String), NoRandomness> {
    let id = id.as_str().strip_prefix("key_").unwrap_or_default();
    let secret = random_base62(random, SECRET_LENGTH)?;
    let text = format!("{KEY_PREFIX}{id}_{secret}{}", checksum(id, &secret));
    let stored = hash_secret(&text);
    Ok((Secret::new(text), stored))
}

/// Six characters by which a secret scanner tells a real key from a look-alike.
fn checksum(id: &str, secret: &str) -> String {
    let digest = Sha256::digest(format!("{KEY_PREFIX}{id}_{secret}").as_bytes());
    base62(&digest).chain(std::iter::repeat('0')).take(CHECKSUM_LENGTH).collect()
}

impl ApiKey {
    /// Whether the key has a scope.
    pub fn has_scope(&self, scope: KeyScope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&KeyScope::All)
    }

    /// Whether another key can do nothing this one can't: only such keys exist for it.
    pub fn covers_key(&self, other: &Self) -> bool {
        self.covers(&other.scopes, other.connections.as_deref(), other.apps.as_deref(), other.expires_at)
            && self.covers_environment(other.environment)
    }

    /// Whether the key may hand out what it has: nothing wider than itself, and nothing that outlives it.
    pub fn covers(
        &self,
        scopes: &[KeyScope],
        connections: Option<&[ConnectionId]>,
        apps: Option<&[AppId]>,
        expires_at: Option<Timestamp>,
    ) -> bool {
        scopes.iter().all(|scope| self.has_scope(*scope))
            && is_within_list(connections, self.connections.as_deref())
            && is_within_list(apps, self.apps.as_deref())
            && self.expires_at.is_none_or(|own| expires_at.is_some_and(|end| end <= own))
    }

    /// Whether the key may hand out what is limited to an environment, or to none.
    pub fn covers_environment(&self, environment: Option<Environment>) -> bool {
        self.environment.is_none_or(|own| environment == Some(own))
    }
}

fn is_within_list<T: PartialEq>(asked: Option<&[T]>, own: Option<&[T]>) -> bool {
    match (asked, own) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(asked), Some(own)) => asked.iter().all(|one| own.contains(one)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct IndexRandom;
    impl Random for IndexRandom {
        fn fill(&self, buffer: &mut [u8]) -> std::result::Result<(), NoRandomness> {
            for (index, byte) in buffer.iter_mut().enumerate() {
                *byte = u8::try_from(index % 251).unwrap();
            }
            Ok(())
        }
    }

    struct SteppingRandom;
    impl Random for SteppingRandom {
        fn fill(&self, buffer: &mut [u8]) -> std::result::Result<(), NoRandomness> {
            for (index, byte) in buffer.iter_mut().enumerate() {
                *byte = u8::try_from((index * 7 + 3) % 241).unwrap();
            }
            Ok(())
        }
    }

    fn key(expires_at: Option<i64>) -> (Secret, ApiKey) {
        let (id, text, hash) = new_key(&IndexRandom, Shard::FIRST).unwrap();
        let key = ApiKey {
            id,
            workspace: WorkspaceId::random(&IndexRandom, Shard::FIRST).unwrap(),
            name: "k".into(),
            hash,
            scopes: vec![KeyScope::Resolve],
            connections: None,
            apps: None,
            environment: None,
            expires_at: expires_at.map(Timestamp::from_unix),
            created_at: None,
            made_by: None,
            previous: None,
        };
        (text, key)
    }

    #[test]
    fn a_key_is_identified_by_its_form_and_its_hash() {
        let (text, key) = key(None);
        let presented = PresentedKey::parse(text.expose()).unwrap();
        assert!(presented.matches(&key, Timestamp::from_unix(1)));
        assert!(text.expose().starts_with("cx_"));
        let mut other = text.expose().to_owned();
        other.replace_range(25..26, if other.as_bytes()[25] == b'a' { "b" } else { "a" });
        assert!(PresentedKey::parse(&other).is_none(), "a typing mistake fails the checksum");
        for bad in ["", "cx_", "cx_a_b", "Bearer x", "cx_0123456789ABCDEF_short"] {
            assert!(PresentedKey::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_key_names_its_shard_and_an_older_key_is_in_the_first() {
        let shard = Shard::new(63).unwrap();
        let (id, text, _) = new_key(&IndexRandom, shard).unwrap();
        assert_eq!((id.shard(), id.as_str().len()), (shard, 22));
        assert_eq!(PresentedKey::parse(text.expose()).unwrap().id, id);
        assert_eq!(ApiKeyId::parse("key_0123456789abcdef").unwrap().shard(), Shard::FIRST);
        for bad in ["key_", "key_ZZ0123456789abcdef", "key_00123456789abcdef", "key_0-0123456789abcdef"] {
            assert_eq!(ApiKeyId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_expires() {
        let (text, key) = key(Some(100));
        let presented = PresentedKey::parse(text.expose()).unwrap();
        assert!(presented.matches(&key, Timestamp::from_unix(99)));
        assert!(!presented.matches(&key, Timestamp::from_unix(100)));
    }

    #[test]
    fn after_a_rotation_both_secrets_are_accepted_until_the_overlap_ends() {
        let (old, mut key) = key(None);
        let (new, hash) = new_secret(&SteppingRandom, &key.id).unwrap();
        let [old, new] = [old, new].map(|text| PresentedKey::parse(text.expose()).unwrap());
        assert_eq!(old.id, new.id);
        key.previous = Some(PreviousSecret { hash: key.hash, until: Timestamp::from_unix(100) });
        key.hash = hash;
        for (at, accepted) in [(99, true), (100, false)] {
            assert_eq!(old.matches(&key, Timestamp::from_unix(at)), accepted);
            assert!(new.matches(&key, Timestamp::from_unix(at)));
            assert!(new.matches_newest_secret(&key) && !old.matches_newest_secret(&key));
        }
        key.expires_at = Some(Timestamp::from_unix(50));
        assert!(!old.matches(&key, Timestamp::from_unix(60)) && !new.matches(&key, Timestamp::from_unix(60)));
    }

    #[test]
    fn a_cache_entry_of_a_key_from_the_previous_version_is_read() {
        let copy = r#"{"id":"key_0123456789abcdef","workspace":"ws_0123456789abcdefABCD-_","name":"k","hash":"h",
            "scopes":["resolve"],"connections":null,"apps":null,"expires_at":null,"created_at":1}"#;
        let key: ApiKey = serde_json::from_str(copy).unwrap();
        assert_eq!((key.made_by, key.previous), (None, None));
    }

    #[test]
    fn a_scope_of_a_later_version_gives_nothing() {
        let texts = ["resolve", "of_a_later_version", "webhooks", "Resolve", ""].map(str::to_owned);
        assert_eq!(KeyScope::parse_stored(&texts), [KeyScope::Resolve, KeyScope::Webhooks]);
        for scope in KeyScope::EVERY {
            assert_eq!(KeyScope::parse_stored(&[scope.as_str().to_owned()]), [scope]);
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
    }

    #[test]
    fn a_key_cannot_grant_more_than_it_has() {
        let (_, mut key) = key(None);
        assert!(key.covers(&[KeyScope::Resolve], None, None, None));
        assert!(!key.covers(&[KeyScope::Keys], None, None, None));
        assert!(!key.covers(&[KeyScope::All], None, None, None));
        key.apps = Some(vec![AppId::parse("slack").unwrap()]);
        assert!(!key.covers(&[KeyScope::Resolve], None, None, None));
        assert!(key.covers(&[KeyScope::Resolve], None, key.apps.as_deref(), None));
    }

    #[test]
    fn a_key_cannot_create_anything_that_outlives_it() {
        let until = |end: Option<i64>| end.map(Timestamp::from_unix);
        let (_, forever) = key(None);
        assert!(forever.covers(&[], None, None, None) && forever.covers(&[], None, None, until(Some(100))));
        let (_, brief) = key(Some(100));
        for (end, given) in [(None, false), (Some(101), false), (Some(100), true), (Some(99), true)] {
            assert_eq!(brief.covers(&[], None, None, until(end)), given, "{end:?}");
        }
        assert!(brief.covers_key(&brief) && !brief.covers_key(&forever));
    }
}
