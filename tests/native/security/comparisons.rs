//! Whoever guesses learns nothing: refusals are the same to the byte, cost the same, and secrets are compared in constant
//! time (ASVS 11.2.4, T20).

use connections::caller::Scope;
use connections::http::{Method, Response};
use serde_json::json;

use super::{Browser, OPERATOR, connect_link, key_with, request, send, sign_in_link};
use crate::support::Scene;

/// All that a caller sees of an answer, and what it cost.
fn seen(scene: &Scene, act: impl FnOnce() -> Response) -> (u16, Vec<(String, String)>, String, u64, u64, usize) {
    scene.world.db.reset_counts();
    let asked = scene.world.acme.requests();
    let Response { status, headers, body, .. } = act();
    let (trips, statements) = (scene.world.db.round_trips.get(), scene.world.db.statements.get());
    (status, headers, body, trips, statements, scene.world.acme.requests() - asked)
}

/// What is written once for a ring is not a caller's cost.
fn check_ring(scene: &Scene) {
    scene.world.run(async { scene.world.core().check_ring().await }).unwrap();
}

/// Another secret part with a checksum that fits, so that only the comparison tells them apart.
fn with_another_secret(scene: &Scene, key: &str) -> String {
    let other = key_with(scene, &[Scope::All], |_| ());
    let (id, secret) = (key.split('_').nth(1).unwrap(), other.rsplit('_').next().unwrap());
    let (secret, _) = secret.split_at(secret.len() - 6);
    // The checksum is public: whoever guesses can compute it.
    let digest = <sha2::Sha256 as sha2::Digest>::digest(format!("cx_{id}_{secret}"));
    let sum: String = base62(&digest).chars().chain(std::iter::repeat('0')).take(6).collect();
    format!("cx_{id}_{secret}{sum}")
}

/// As keys are written.
fn base62(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(LETTERS[usize::from(byte % 62)])).collect()
}

#[test]
fn an_unknown_a_wrong_a_revoked_and_an_expired_key_look_and_cost_the_same() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let good = key_with(&scene, &[Scope::All], |_| ());
    let expired = key_with(&scene, &[Scope::All], |key| key.expires_at = Some(scene.world.now()));
    let revoked = key_with(&scene, &[Scope::All], |_| ());
    let revoked_id = format!("key_{}", revoked.split('_').nth(1).unwrap());
    scene.world.db.tamper(&format!("UPDATE api_keys SET revoked_at = 1 WHERE id = '{revoked_id}'"));
    let wrong = with_another_secret(&scene, &good);
    assert!(connections::caller::PresentedKey::parse(&wrong).is_some(), "its form is right");
    let unknown = key_with(&scene.neighbour(), &[Scope::All], |_| ());
    let unknown_id = format!("key_{}", unknown.split('_').nth(1).unwrap());
    scene.world.db.tamper(&format!("DELETE FROM api_keys WHERE id = '{unknown_id}'"));

    check_ring(&scene);
    let routes = [
        (Method::Get, "/v1/keys".to_owned()),
        (Method::Get, format!("/v1/connections/{id}")),
        (Method::Get, "/v1/connections/con_000000000000000000000000".to_owned()),
        (Method::Post, format!("/v1/connections/{id}/resolve")),
        (Method::Post, "/v1/connections/con_000000000000000000000000/resolve".to_owned()),
    ];
    for (method, path) in routes {
        let ask = |key: &str| {
            let bearer = format!("Bearer {key}");
            seen(&scene, || send(&scene.world, &request(method, &path, &[("authorization", &bearer)], "{}")))
        };
        let expected = ask(&unknown);
        assert_eq!(expected.0, 401, "{path}");
        for key in [&wrong, &revoked, &expired] {
            assert_eq!(ask(key), expected, "{path}");
        }
        assert_ne!(ask(&good).0, 401, "{path}");
    }
}

#[test]
fn a_wrong_operators_key_is_refused_the_same_wherever_it_differs() {
    let scene = Scene::new();
    let ask = |key: &str| {
        let bearer = format!("Bearer {key}");
        seen(&scene, || send(&scene.world, &request(Method::Get, "/v1/status", &[("authorization", &bearer)], "")))
    };
    check_ring(&scene);
    let expected = ask("x");
    assert_eq!((expected.0, expected.3), (401, 1), "beside the check of the ring the database is not asked");
    for at in 0..OPERATOR.len() {
        let wrong: String =
            OPERATOR.chars().enumerate().map(|(place, letter)| if place == at { '!' } else { letter }).collect();
        assert_eq!(ask(&wrong), expected);
    }
    for wrong in ["", OPERATOR.split_at(35).0, &format!("{OPERATOR}a"), &OPERATOR.to_uppercase()] {
        assert_eq!(ask(wrong), expected, "{wrong}");
    }
    assert_eq!(ask(OPERATOR).0, 200);
}

#[test]
fn a_link_that_never_existed_looks_like_one_that_has_ended() {
    let scene = Scene::new();
    let unknown = "x".repeat(43);
    let used = sign_in_link(&scene, "ann");
    Browser::new(&scene).post(&used, "");
    let late = sign_in_link(&scene, "ann");
    let ended = connect_link(&scene, &json!({ "expires_in": 60 }));
    scene.world.pass(8 * 86_400);
    for method in [Method::Get, Method::Post] {
        let see = |path: &str| seen(&scene, || Browser::new(&scene).send(method, path, ""));
        let expected = see(&format!("/sign-in/{unknown}"));
        assert_eq!(expected.0, 410);
        assert_eq!((see(&used), see(&late)), (expected.clone(), expected), "sign-in");
        let expected = see(&format!("/connect/{unknown}"));
        assert_eq!((expected.0, see(&ended)), (410, expected), "connect");
    }
}

#[test]
fn a_session_that_never_existed_looks_like_one_that_has_ended() {
    let scene = Scene::new();
    let mut ann = Browser::of(&scene, "ann");
    ann.press("/", "/sign-out", "");
    let (name, _) = Browser::of(&scene, "ann").cookies.into_iter().next().unwrap();
    let see = |value: &str| {
        let cookie = format!("{name}={value}");
        let headers = [("cookie", cookie.as_str()), ("accept", "text/html")];
        seen(&scene, || send(&scene.world, &request(Method::Get, "/", &headers, "")))
    };
    let unknown = see(&"x".repeat(43));
    let ended = Browser::of(&scene, "bob").cookies[&name].clone();
    assert_eq!(see(&ended).0, 200);
    scene.world.pass(13 * 3600);
    assert_eq!((unknown.0, see(&ended)), (401, unknown));
}

/// A comparison of secrets with `==` ends at the first byte that differs. Where callers are told apart, none stands.
#[test]
fn who_calls_is_never_decided_by_an_ordinary_comparison_of_secrets() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let secret = regex_lite::Regex::new(r"(?i)(hash|secret|csrf|password|presented|token|signature)\w*(\(\))?\s*[!=]=|[!=]=\s*(&|Some\(&?)?\w*\.?(hash|secret|csrf|password|presented|signature)").unwrap();
    let mut read = 0;
    for part in ["caller.rs", "config.rs", "http.rs", "resolve.rs", "http", "connect", "resolve"] {
        for file in super::table::files(&root.join(part), "rs") {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            read += 1;
            let shown = |line: &&str| {
                !line.trim_start().starts_with("//") && !line.contains("_LENGTH") && !line.contains(".len()")
            };
            for line in code.lines().filter(shown) {
                assert!(!secret.is_match(line), "{}: {line}", file.display());
            }
        }
    }
    assert!(read > 30);
    for (file, function) in [("caller.rs", "pub fn same("), ("config.rs", "pub fn is_admin_key(")] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let body = text.split(function).nth(1).unwrap().split("\n}").next().unwrap();
        assert!(body.contains("ct_eq") && !body.contains("=="), "{file}: {function} compares in constant time");
    }
}
