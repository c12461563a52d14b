//! Nonces never repeat, and without randomness nothing is sealed or created (ASVS 11.3.4, SP 800-38D, T17).

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connections::http::Method;
use connections::ports::RefreshOutcome;
use connections::random::{NoRandomness, Random};
use connections::secret::Secret;
use connections::vault::{KeyRing, SealContext};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

use super::{CookieBrowser, call, first_key, make_connect_link, make_sign_in_link};
use crate::support::Fixture;
use crate::support::world::ENCRYPTION_KEYS;

/// The text of a nonce of twelve zero bytes in an envelope.
const ZERO_NONCE: &str = ".AAAAAAAAAAAAAAAA";

fn seal_context() -> SealContext<'static> {
    SealContext { workspace: "ws_1", table: "connections", row: "con_1", field: "sealed_credential", generation: 1 }
}

fn nonce_of(envelope: &str) -> [u8; 12] {
    let bytes = URL_SAFE_NO_PAD.decode(envelope.rsplit('.').next().unwrap()).unwrap();
    bytes[..12].try_into().unwrap()
}

/// Passes on the host's random bytes, and remembers them.
struct RecordingRandom {
    source: SystemRandom,
    values_given: RefCell<Vec<Vec<u8>>>,
}

impl Random for RecordingRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        self.source.fill(buffer).map_err(|_| NoRandomness)?;
        self.values_given.borrow_mut().push(buffer.to_vec());
        Ok(())
    }
}

#[test]
fn each_seal_uses_twelve_new_random_bytes_as_nonce() {
    let key_ring = KeyRing::parse(ENCRYPTION_KEYS).unwrap();
    let random = RecordingRandom { source: SystemRandom::new(), values_given: RefCell::default() };
    let text = Secret::new("the same text in the same place");
    let sealed: Vec<_> = (0..500).map(|_| key_ring.seal(&random, &seal_context(), &text).unwrap()).collect();
    let given = random.values_given.borrow();
    assert_eq!(given.len(), sealed.len(), "one draw for each seal");
    for (envelope, drawn) in sealed.iter().zip(given.iter()) {
        assert_eq!(nonce_of(envelope).as_slice(), drawn.as_slice());
    }
    assert_eq!(sealed.iter().collect::<HashSet<_>>().len(), sealed.len());
}

/// Complements the test above: a million seals would take a minute, a million draws do not.
#[test]
fn a_million_nonces_never_repeat() {
    let random = RecordingRandom { source: SystemRandom::new(), values_given: RefCell::default() };
    let mut seen = HashSet::with_capacity(1_000_000);
    for _ in 0..1_000_000 {
        let mut nonce = [0_u8; 12];
        random.fill(&mut nonce).unwrap();
        assert!(seen.insert(nonce) && nonce != [0; 12]);
        random.values_given.borrow_mut().clear();
    }
}

/// Fills the buffer the first few times, then fails.
struct ExhaustedRandom(Cell<u32>);

impl Random for ExhaustedRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        let left = self.0.get().checked_sub(1).ok_or(NoRandomness)?;
        self.0.set(left);
        buffer.fill(u8::try_from(left % 250).unwrap() + 1);
        Ok(())
    }
}

#[test]
fn a_failing_random_source_produces_no_value() {
    let key_ring = KeyRing::parse(ENCRYPTION_KEYS).unwrap();
    for draws in 0..3 {
        let random = ExhaustedRandom(Cell::new(draws));
        let mut sealed = 0;
        while let Ok(envelope) = key_ring.seal(&random, &seal_context(), &Secret::new("x")) {
            assert_ne!(nonce_of(&envelope), [0; 12]);
            sealed += 1;
        }
        assert_eq!(sealed, draws);
        assert!(connections::caller::new_key(&ExhaustedRandom(Cell::new(0)), connections::ids::Shard::FIRST).is_err());
        assert!(connections::ids::random_text::<32>(&ExhaustedRandom(Cell::new(0))).is_err());
    }
}

/// Every use case that needs randomness, with the source failing at each draw in turn.
#[test]
fn without_randomness_every_use_case_fails_and_stores_nothing() {
    type RandomnessUser = fn(&Fixture) -> bool;
    let acts: [(&str, RandomnessUser); 7] = [
        ("a key", |fixture| create_by_api(fixture, "/v1/keys", &json!({ "name": "k", "scopes": ["resolve"] }))),
        ("a connect link", |fixture| create_by_api(fixture, "/v1/links", &json!({ "app": "acme" }))),
        ("a sign-in link", |fixture| create_by_api(fixture, "/v1/sign-in-links", &json!({ "user": { "id": "ann" } }))),
        ("a workspace", |fixture| {
            let body = json!({ "name": "new" });
            call(&fixture.world, super::ADMIN_KEY, Method::Post, "/v1/workspaces", &body).0 == 201
        }),
        ("a client", |fixture| {
            let body = json!({ "client_id": "acme-client", "client_secret": "another" });
            call(&fixture.world, &first_key(fixture), Method::Put, "/v1/apps/acme/client", &body).0 == 200
        }),
        ("a session", |fixture| {
            let random = fixture.world.random.fails_after.take();
            let link = make_sign_in_link(fixture, "ann");
            fixture.world.random.fails_after.set(random);
            CookieBrowser::new(fixture).post(&link, "").status == 303
        }),
        ("a flow", |fixture| {
            let random = fixture.world.random.fails_after.take();
            let link = make_connect_link(fixture, &json!({}));
            fixture.world.random.fails_after.set(random);
            CookieBrowser::new(fixture).post(&link, "").status == 303
        }),
    ];
    for (what, act) in acts {
        let mut refused = 0;
        for draws in 0..60 {
            let fixture = Fixture::new();
            // A value that is drawn once per key ring is not part of this test.
            fixture.world.run(async { fixture.world.context().check_key_ring().await }).unwrap();
            fixture.world.random.fails_after.set(Some(draws));
            let done = act(&fixture);
            assert_no_zero_nonce(&fixture);
            if done {
                break;
            }
            refused += 1;
        }
        assert!((1..60).contains(&refused), "{what}: it draws, and with enough draws it succeeds ({refused})");
    }
}

fn create_by_api(fixture: &Fixture, path: &str, body: &Value) -> bool {
    let answer = call(&fixture.world, &first_key(fixture), Method::Post, path, body);
    assert!(matches!(super::status_and_code(&answer), (201, "") | (500, "internal")), "{}", answer.1);
    answer.0 == 201
}

fn assert_no_zero_nonce(fixture: &Fixture) {
    for text in [fixture.world.db.dump_tables(), fixture.world.cache.dump_entries()] {
        assert!(!text.contains(ZERO_NONCE), "a zero nonce: {text}");
    }
}

#[test]
fn a_refresh_without_randomness_sends_no_request_and_loses_nothing() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    let before = fixture.load_connection(&id).sealed_credential;
    let asked = fixture.world.acme.count_all_requests();
    fixture.world.random.fails_after.set(Some(0));
    assert_ne!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    assert_eq!(
        (fixture.world.acme.count_all_requests(), fixture.load_connection(&id).sealed_credential),
        (asked, before)
    );
    fixture.world.random.fails_after.set(None);
    fixture.world.advance_clock(120);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    assert_no_zero_nonce(&fixture);
}
