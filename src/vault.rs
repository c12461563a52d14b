//! Sealing: stored values can be read only with the key ring, and only in their own place.
//!
//! Owns the key ring, the envelope and the binding of a ciphertext to its place. AES-256-GCM with a random 96-bit nonce
//! under a subkey per row (HKDF-SHA256), because a single key would reach GCM's limit of 2^32 random nonces (NIST SP
//! 800-38D, 8.3). Never tries keys: the envelope names its key. Does not detect that a whole row was replaced by an
//! older version.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::frozen::{ENVELOPE_FORMAT, KEY_CHECK, KEY_CHECK_TEXT, SUBKEY_PURPOSE, SealedField};
use crate::gather::Gather as _;
use crate::random::{NoRandomness, Random};
use crate::secret::Secret;

const NONCE_BYTES: usize = 12;
const KEY_BYTES: usize = 32;
/// A 32-byte key with fewer different byte values was typed and not random: a random one has 25 or more with a
/// probability over 0.999999.
const LEAST_DISTINCT_BYTES: usize = 16;

/// The place of a ciphertext. It opens in no other place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealContext<'a> {
    /// Workspace id. Empty for values of the installation.
    pub workspace: &'a str,
    /// Table.
    pub table: &'static str,
    /// Row id.
    pub row: &'a str,
    /// Column or purpose.
    pub field: &'static str,
    /// Generation of the connection. 0 if there is none.
    pub generation: i64,
}

impl<'a> SealContext<'a> {
    /// The place of a field in a row.
    pub fn of(sealed: SealedField, workspace: &'a str, row: &'a str, generation: i64) -> Self {
        Self { workspace, table: sealed.table, row, field: sealed.field, generation }
    }
}

/// Why an envelope cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not an envelope of a known format.
    #[error("it is no envelope of a known format")]
    Malformed,
    /// It names a key that is not on the ring.
    #[error("it names a key that is not on the ring")]
    UnknownKey,
    /// It was changed, moved, or sealed with other bytes under that key id.
    #[error("it was changed, moved, or sealed with another key of the same id")]
    Refused,
}

/// Why a text could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The platform gave no random bytes for the nonce.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The cipher refused the key or the text.
    #[error("the cipher could not seal a value")]
    Cipher,
    /// What is to be sealed could not be written as JSON.
    #[error("a value to be sealed could not be written as JSON")]
    Json,
}

/// Why a key ring cannot be used. Names the entry, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyRingError(pub String);

struct EncryptionKey {
    id: String,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    /// What HKDF extracts from the bytes (RFC 5869, 2.2). It is the same for all rows, so it is made once.
    extracted: Zeroizing<[u8; KEY_BYTES]>,
}

impl EncryptionKey {
    fn new(id: &str, bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let (extracted, _) = Hkdf::<Sha256>::extract(Some(ENVELOPE_FORMAT.as_bytes()), bytes.as_slice());
        Self { id: id.to_owned(), bytes, extracted: Zeroizing::new(extracted.into()) }
    }
}

/// The keys of this installation. The first one seals, and all open.
pub struct KeyRing {
    sealing_key: EncryptionKey,
    other_keys: Vec<EncryptionKey>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({})", self.ids().collect::<Vec<_>>().join(", "))
    }
}

impl KeyRing {
    /// Reads `id:base64(32 bytes)[,id:base64…]`. Refuses missing, short, repeated and typed keys.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let mut keys = Vec::new();
        for (index, entry) in text.split(',').map(str::trim).enumerate() {
            let key = parse_key(index + 1, entry)?;
            if keys.iter().any(|other: &EncryptionKey| other.id == key.id || *other.bytes == *key.bytes) {
                return Err(KeyRingError(format!("ENCRYPTION_KEYS: entry {} repeats an id or a key.", index + 1)));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or_else(|| KeyRingError("ENCRYPTION_KEYS is empty.".into()))?;
        Ok(Self { sealing_key: first, other_keys: keys.collect() })
    }

    /// The id of the key that seals.
    pub fn sealing_key_id(&self) -> &str {
        &self.sealing_key.id
    }

    /// The beginning of every envelope that the first key sealed, and of no other.
    pub fn sealing_envelope_prefix(&self) -> String {
        format!("{ENVELOPE_FORMAT}.{}.", self.sealing_key.id)
    }

    /// All ids, the sealing one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.sealing_key).chain(&self.other_keys).map(|key| key.id.as_str())
    }

    /// Seals a text for its place: `cx1.<key id>.<nonce and ciphertext in base64url>`.
    pub fn seal(
        &self,
        random: &impl Random,
        seal_context: &SealContext<'_>,
        text: &Secret,
    ) -> Result<String, SealError> {
        seal_with_key(&self.sealing_key, random, seal_context, text)
    }

    /// Opens an envelope in its place.
    pub fn open(&self, seal_context: &SealContext<'_>, envelope: &str) -> Result<Secret, OpenError> {
        let (key_id, body) = split_envelope(envelope)?;
        let key = self.find_key(key_id).ok_or(OpenError::UnknownKey)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| OpenError::Malformed)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(OpenError::Malformed)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| OpenError::Malformed)?;
        let aad = associated_data(&key.id, seal_context);
        let cipher = row_cipher(key, seal_context).ok_or(OpenError::Refused)?;
        let plain =
            cipher.decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad: &aad }).map_err(|_| OpenError::Refused)?;
        String::from_utf8(plain).map(Secret::new).map_err(|_| OpenError::Refused)
    }

    /// A sealed constant for every key. It shows whether a ring with the same ids has the same bytes.
    pub fn seal_check_value(&self, random: &impl Random, key_id: &str) -> Result<Option<String>, SealError> {
        let Some(key) = self.find_key(key_id) else { return Ok(None) };
        seal_with_key(key, random, &check_value_context(key_id), &Secret::new(KEY_CHECK_TEXT)).map(Some)
    }

    /// Whether a stored check value opens.
    pub fn opens_check_value(&self, key_id: &str, check_value: &str) -> bool {
        split_envelope(check_value).is_ok_and(|(id, _)| id == key_id)
            && self.open(&check_value_context(key_id), check_value).is_ok_and(|text| text.expose() == KEY_CHECK_TEXT)
    }

    /// A short name of this ring, to remember that it was checked. It reveals nothing about the keys.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for key in std::iter::once(&self.sealing_key).chain(&self.other_keys) {
            hash.update(key.id.as_bytes());
            hash.update([0]);
            hash.update(*key.bytes);
        }
        hash.finalize().into()
    }

    fn find_key(&self, id: &str) -> Option<&EncryptionKey> {
        std::iter::once(&self.sealing_key).chain(&self.other_keys).find(|key| key.id == id)
    }
}

/// The key id in an envelope, if the text is one.
pub fn key_id_of(envelope: &str) -> Option<&str> {
    split_envelope(envelope).ok().map(|(id, _)| id)
}

fn parse_key(number: usize, entry: &str) -> Result<EncryptionKey, KeyRingError> {
    let wrong = |what: &str| {
        KeyRingError(format!(
            "ENCRYPTION_KEYS: entry {number} {what}. Expected id:base64 of 32 random bytes (`openssl rand -base64 32`)."
        ))
    };
    let (id, encoded) = entry.split_once(':').ok_or_else(|| wrong("has no id"))?;
    let id_ok = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !id_ok {
        return Err(wrong("has an id with other characters than letters, digits, - and _ (1 to 32)"));
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| wrong("is not base64"))?);
    let bytes: [u8; KEY_BYTES] = decoded.as_slice().try_into().map_err(|_| wrong("is not 32 bytes long"))?;
    let distinct = bytes.iter().gather::<std::collections::BTreeSet<_>>().len();
    if distinct < LEAST_DISTINCT_BYTES {
        return Err(wrong("is not random"));
    }
    Ok(EncryptionKey::new(id, Zeroizing::new(bytes)))
}

fn seal_with_key(
    key: &EncryptionKey,
    random: &impl Random,
    seal_context: &SealContext<'_>,
    text: &Secret,
) -> Result<String, SealError> {
    let mut nonce = [0_u8; NONCE_BYTES];
    random.fill(&mut nonce)?;
    let aad = associated_data(&key.id, seal_context);
    let sealed = row_cipher(key, seal_context)
        .and_then(|cipher| {
            cipher.encrypt(&Nonce::from(nonce), Payload { msg: text.expose().as_bytes(), aad: &aad }).ok()
        })
        .ok_or(SealError::Cipher)?;
    let mut bytes = nonce.to_vec();
    bytes.extend_from_slice(&sealed);
    Ok(format!("{ENVELOPE_FORMAT}.{}.{}", key.id, URL_SAFE_NO_PAD.encode(bytes)))
}

fn split_envelope(envelope: &str) -> Result<(&str, &str), OpenError> {
    let rest =
        envelope.strip_prefix(ENVELOPE_FORMAT).and_then(|rest| rest.strip_prefix('.')).ok_or(OpenError::Malformed)?;
    rest.split_once('.').ok_or(OpenError::Malformed)
}

fn check_value_context(key_id: &str) -> SealContext<'_> {
    SealContext::of(KEY_CHECK, "", key_id, 0)
}

/// The subkey of a row. All ciphertexts of the row share it, and no other row has it.
fn row_cipher(key: &EncryptionKey, seal_context: &SealContext<'_>) -> Option<Aes256Gcm> {
    let mut subkey = Zeroizing::new([0_u8; KEY_BYTES]);
    let info = length_prefixed(&[SUBKEY_PURPOSE, seal_context.workspace, seal_context.table, seal_context.row]);
    Hkdf::<Sha256>::from_prk(key.extracted.as_slice()).ok()?.expand(&info, subkey.as_mut_slice()).ok()?;
    Aes256Gcm::new_from_slice(subkey.as_slice()).ok()
}

fn associated_data(key_id: &str, seal_context: &SealContext<'_>) -> Vec<u8> {
    length_prefixed(&[
        ENVELOPE_FORMAT,
        key_id,
        seal_context.workspace,
        seal_context.table,
        seal_context.row,
        seal_context.field,
        &seal_context.generation.to_string(),
    ])
}

/// Length before content, so that two different lists of parts never become the same bytes.
fn length_prefixed(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    struct CountingRandom(Cell<u8>);
    impl Random for CountingRandom {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
            for byte in buffer {
                self.0.set(self.0.get().wrapping_add(7));
                *byte = self.0.get();
            }
            Ok(())
        }
    }
    struct BrokenRandom;
    impl Random for BrokenRandom {
        fn fill(&self, _: &mut [u8]) -> Result<(), NoRandomness> {
            Err(NoRandomness)
        }
    }

    fn random() -> CountingRandom {
        CountingRandom(Cell::new(1))
    }
    fn key_base64(seed: u8) -> String {
        let bytes: Vec<u8> = (0..32).map(|i: u8| i.wrapping_mul(37).wrapping_add(seed)).collect();
        STANDARD.encode(bytes)
    }
    fn ring(ids: &[(&str, u8)]) -> KeyRing {
        let text = ids.iter().map(|(id, seed)| format!("{id}:{}", key_base64(*seed))).collect::<Vec<_>>().join(",");
        KeyRing::parse(&text).unwrap()
    }
    fn seal_context() -> SealContext<'static> {
        SealContext { workspace: "ws_1", table: "connections", row: "con_1", field: "credential", generation: 3 }
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_place() {
        let key_ring = ring(&[("k1", 1)]);
        let sealed = key_ring.seal(&random(), &seal_context(), &Secret::new("token")).unwrap();
        assert!(sealed.starts_with("cx1.k1."));
        assert_eq!(key_ring.open(&seal_context(), &sealed).unwrap().expose(), "token");
        let elsewhere = [
            SealContext { workspace: "ws_2", ..seal_context() },
            SealContext { table: "clients", ..seal_context() },
            SealContext { row: "con_2", ..seal_context() },
            SealContext { field: "other", ..seal_context() },
            SealContext { generation: 4, ..seal_context() },
        ];
        for wrong in elsewhere {
            assert_eq!(key_ring.open(&wrong, &sealed), Err(OpenError::Refused), "{wrong:?}");
        }
    }

    #[test]
    fn a_second_key_opens_the_old_and_seals_the_new() {
        let old = ring(&[("k1", 1)]);
        let sealed = old.seal(&random(), &seal_context(), &Secret::new("token")).unwrap();
        let both = ring(&[("k2", 2), ("k1", 1)]);
        assert_eq!(both.open(&seal_context(), &sealed).unwrap().expose(), "token");
        assert_eq!(key_id_of(&both.seal(&random(), &seal_context(), &Secret::new("x")).unwrap()), Some("k2"));
        assert_eq!(ring(&[("k2", 2)]).open(&seal_context(), &sealed), Err(OpenError::UnknownKey));
        assert_eq!(ring(&[("k1", 9)]).open(&seal_context(), &sealed), Err(OpenError::Refused));
    }

    #[test]
    fn a_check_value_detects_wrong_bytes_under_a_known_id() {
        let good = ring(&[("k1", 1), ("k2", 2)]);
        let value = good.seal_check_value(&random(), "k2").unwrap().unwrap();
        assert!(good.opens_check_value("k2", &value));
        assert!(!good.opens_check_value("k1", &value));
        assert!(!ring(&[("k2", 3)]).opens_check_value("k2", &value));
        assert_eq!(good.seal_check_value(&random(), "k9").unwrap(), None);
    }

    #[test]
    fn weak_or_malformed_rings_are_refused_without_showing_them() {
        let zeros = STANDARD.encode([0_u8; 32]);
        let typed = STANDARD.encode(b"passwordpasswordpasswordpassword");
        let short = STANDARD.encode([1_u8, 2, 3]);
        for bad in [
            String::new(),
            "k1".into(),
            "k1:".into(),
            format!("k1:{zeros}"),
            format!("k1:{typed}"),
            format!("k1:{short}"),
            format!("k 1:{}", key_base64(1)),
            format!("k1:{},k1:{}", key_base64(1), key_base64(2)),
            format!("k1:{},k2:{}", key_base64(1), key_base64(1)),
            format!("k1:{},", key_base64(1)),
        ] {
            let error = KeyRing::parse(&bad).unwrap_err();
            assert!(error.0.contains("ENCRYPTION_KEYS"), "{bad}");
            assert!(!error.0.contains(&key_base64(1)));
        }
    }

    #[test]
    fn without_randomness_nothing_is_sealed() {
        assert_eq!(
            ring(&[("k1", 1)]).seal(&BrokenRandom, &seal_context(), &Secret::new("x")),
            Err(SealError::NoRandomness(NoRandomness))
        );
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_detected(text in ".{0,200}", at in 0_usize..4096, bit in 0_u8..8) {
            let key_ring = ring(&[("k1", 1)]);
            let sealed = key_ring.seal(&random(), &seal_context(), &Secret::new(text)).unwrap();
            let mut bytes = URL_SAFE_NO_PAD.decode(sealed.rsplit('.').next().unwrap()).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let changed = format!("cx1.k1.{}", URL_SAFE_NO_PAD.encode(bytes));
            prop_assert_eq!(key_ring.open(&seal_context(), &changed), Err(OpenError::Refused));
        }

        #[test]
        fn arbitrary_envelopes_are_refused_without_a_panic(text in ".{0,300}") {
            prop_assert!(ring(&[("k1", 1)]).open(&seal_context(), &text).is_err());
        }
    }
}
