//! Nonces are never used again, and without randomness nothing is sealed or made (ASVS 11.3.4, SP 800-38D, T17).

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connections::http::Method;
use connections::ports::{ErrandOutcome, NoRandomness, Random};
use connections::secret::Secret;
use connections::vault::{KeyRing, Place};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

use super::{Browser, call, connect_link, first_key, sign_in_link};
use crate::support::Scene;
use crate::support::world::KEYS;

/// How the nonce of twelve zero bytes would stand in an envelope.
const ZEROS: &str = ".AAAAAAAAAAAAAAAA";

fn place() -> Place<'static> {
    Place { workspace: "ws_1", table: "connections", row: "con_1", field: "sealed_credential", generation: 1 }
}

fn nonce(envelope: &str) -> [u8; 12] {
    let bytes = URL_SAFE_NO_PAD.decode(envelope.rsplit('.').next().unwrap()).unwrap();
    bytes[..12].try_into().unwrap()
}

/// Hands on what the host's own source gives, and remembers it.
struct Recorded {
    source: SystemRandom,
    given: RefCell<Vec<Vec<u8>>>,
}

impl Random for Recorded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        self.source.fill(buffer).map_err(|_| NoRandomness)?;
        self.given.borrow_mut().push(buffer.to_vec());
        Ok(())
    }
}

#[test]
fn a_nonce_is_twelve_fresh_bytes_of_the_source_for_each_seal_and_nothing_else() {
    let ring = KeyRing::parse(KEYS).unwrap();
    let random = Recorded { source: SystemRandom::new(), given: RefCell::default() };
    let text = Secret::new("the same text in the same place");
    let sealed: Vec<_> = (0..500).map(|_| ring.seal(&random, &place(), &text).unwrap()).collect();
    let given = random.given.borrow();
    assert_eq!(given.len(), sealed.len(), "one draw for each seal");
    for (envelope, drawn) in sealed.iter().zip(given.iter()) {
        assert_eq!(nonce(envelope).as_slice(), drawn.as_slice());
    }
    assert_eq!(sealed.iter().collect::<HashSet<_>>().len(), sealed.len());
}

/// Together with the test above: a million seals would take a minute, a million draws do not.
#[test]
fn a_million_nonces_never_repeat() {
    let random = Recorded { source: SystemRandom::new(), given: RefCell::default() };
    let mut seen = HashSet::with_capacity(1_000_000);
    for _ in 0..1_000_000 {
        let mut nonce = [0_u8; 12];
        random.fill(&mut nonce).unwrap();
        assert!(seen.insert(nonce) && nonce != [0; 12]);
        random.given.borrow_mut().clear();
    }
}

/// Says that it filled the buffer the first few times, then fails.
struct Exhausted(Cell<u32>);

impl Random for Exhausted {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        let left = self.0.get().checked_sub(1).ok_or(NoRandomness)?;
        self.0.set(left);
        buffer.fill(u8::try_from(left % 250).unwrap() + 1);
        Ok(())
    }
}

#[test]
fn a_source_that_fails_half_way_makes_nothing_that_was_not_drawn() {
    let ring = KeyRing::parse(KEYS).unwrap();
    for draws in 0..3 {
        let random = Exhausted(Cell::new(draws));
        let mut sealed = 0;
        while let Ok(envelope) = ring.seal(&random, &place(), &Secret::new("x")) {
            assert_ne!(nonce(&envelope), [0; 12]);
            sealed += 1;
        }
        assert_eq!(sealed, draws);
        assert!(connections::caller::new_key(&Exhausted(Cell::new(0)), connections::ids::Shard::FIRST).is_err());
        assert!(connections::ids::random_text::<32>(&Exhausted(Cell::new(0))).is_err());
    }
}

/// Everything that draws, with the source failing at each draw in turn.
#[test]
fn without_randomness_every_use_case_fails_closed_and_stores_no_zero_nonce() {
    type Act = fn(&Scene) -> bool;
    let acts: [(&str, Act); 7] = [
        ("a key", |scene| made(scene, "/v1/keys", &json!({ "name": "k", "scopes": ["resolve"] }))),
        ("a connect link", |scene| made(scene, "/v1/links", &json!({ "app": "acme" }))),
        ("a sign-in link", |scene| made(scene, "/v1/sign-in-links", &json!({ "user": { "id": "ann" } }))),
        ("a workspace", |scene| {
            let body = json!({ "name": "new" });
            call(&scene.world, super::OPERATOR, Method::Post, "/v1/workspaces", &body).0 == 201
        }),
        ("a client", |scene| {
            let body = json!({ "client_id": "acme-client", "client_secret": "another" });
            call(&scene.world, &first_key(scene), Method::Put, "/v1/apps/acme/client", &body).0 == 200
        }),
        ("a session", |scene| {
            let random = scene.world.random.fails_after.take();
            let link = sign_in_link(scene, "ann");
            scene.world.random.fails_after.set(random);
            Browser::new(scene).post(&link, "").status == 303
        }),
        ("a flow", |scene| {
            let random = scene.world.random.fails_after.take();
            let link = connect_link(scene, &json!({}));
            scene.world.random.fails_after.set(random);
            Browser::new(scene).post(&link, "").status == 303
        }),
    ];
    for (what, act) in acts {
        let mut refused = 0;
        for draws in 0..60 {
            let scene = Scene::new();
            // What is drawn once for a ring is not this test's.
            scene.world.run(async { scene.world.core().check_ring().await }).unwrap();
            scene.world.random.fails_after.set(Some(draws));
            let done = act(&scene);
            no_zeros(&scene);
            if done {
                break;
            }
            refused += 1;
        }
        assert!((1..60).contains(&refused), "{what}: it draws, and with enough draws it succeeds ({refused})");
    }
}

fn made(scene: &Scene, path: &str, body: &Value) -> bool {
    let answer = call(&scene.world, &first_key(scene), Method::Post, path, body);
    assert!(matches!(super::code(&answer), (201, "") | (500, "internal")), "{}", answer.1);
    answer.0 == 201
}

fn no_zeros(scene: &Scene) {
    for text in [scene.world.db.dump(), scene.world.kv.dump()] {
        assert!(!text.contains(ZEROS), "a zero nonce: {text}");
    }
}

#[test]
fn a_refresh_without_randomness_asks_nobody_and_loses_nothing() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.expire(&id);
    let before = scene.row(&id).sealed_credential;
    let asked = scene.world.acme.requests();
    scene.world.random.fails_after.set(Some(0));
    assert_ne!(scene.need(&id), ErrandOutcome::Refreshed);
    assert_eq!((scene.world.acme.requests(), scene.row(&id).sealed_credential), (asked, before));
    scene.world.random.fails_after.set(None);
    scene.world.pass(120);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    no_zeros(&scene);
}
