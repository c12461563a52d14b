//! Guessing reveals nothing: refusals are identical in every byte and cost the same, and secrets are compared in
//! constant time (ASVS 11.2.4, T20).

use connections::caller::KeyScope;
use connections::http::{Method, Response};
use serde_json::json;

use super::{ADMIN_KEY, CookieBrowser, make_connect_link, make_key, make_sign_in_link, request, send};
use crate::support::Fixture;

/// Everything that a caller sees of an answer, and its cost.
fn observe_response(
    fixture: &Fixture,
    act: impl FnOnce() -> Response,
) -> (u16, Vec<(String, String)>, String, u64, u64, usize) {
    fixture.world.db.reset_counts();
    let asked = fixture.world.acme.count_all_requests();
    let Response { status, headers, body, .. } = act();
    let (trips, statements) = (fixture.world.db.round_trips.get(), fixture.world.db.statements.get());
    (status, headers, body, trips, statements, fixture.world.acme.count_all_requests() - asked)
}

/// A write that happens once per key ring is not part of a caller's cost.
fn check_ring(fixture: &Fixture) {
    fixture.world.run(async { fixture.world.context().check_key_ring().await }).unwrap();
}

/// Another secret part with a valid checksum, so that only the comparison distinguishes them.
fn replace_key_secret(fixture: &Fixture, key: &str) -> String {
    let other = make_key(fixture, &[KeyScope::All], |_| ());
    let (id, secret) = (key.split('_').nth(1).unwrap(), other.rsplit('_').next().unwrap());
    let (secret, _) = secret.split_at(secret.len() - 6);
    // The checksum is public, so an attacker can compute it.
    let digest = <sha2::Sha256 as sha2::Digest>::digest(format!("cx_{id}_{secret}"));
    let sum: String = encode_base62(&digest).chars().chain(std::iter::repeat('0')).take(6).collect();
    format!("cx_{id}_{secret}{sum}")
}

/// The format of keys.
fn encode_base62(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    bytes.iter().filter(|byte| **byte < 248).map(|byte| char::from(LETTERS[usize::from(byte % 62)])).collect()
}

#[test]
fn unknown_wrong_revoked_and_expired_keys_have_the_same_answer_and_cost() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let good = make_key(&fixture, &[KeyScope::All], |_| ());
    let expired = make_key(&fixture, &[KeyScope::All], |key| key.expires_at = Some(fixture.world.now()));
    let revoked = make_key(&fixture, &[KeyScope::All], |_| ());
    let revoked_id = format!("key_{}", revoked.split('_').nth(1).unwrap());
    fixture.world.db.tamper(&format!("UPDATE api_keys SET revoked_at = 1 WHERE id = '{revoked_id}'"));
    let wrong = replace_key_secret(&fixture, &good);
    assert!(connections::caller::PresentedKey::parse(&wrong).is_some(), "its form is right");
    let unknown = make_key(&fixture.other_workspace(), &[KeyScope::All], |_| ());
    let unknown_id = format!("key_{}", unknown.split('_').nth(1).unwrap());
    fixture.world.db.tamper(&format!("DELETE FROM api_keys WHERE id = '{unknown_id}'"));

    check_ring(&fixture);
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
            observe_response(&fixture, || {
                send(&fixture.world, &request(method, &path, &[("authorization", &bearer)], "{}"))
            })
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
fn a_wrong_operators_key_is_refused_alike_wherever_it_differs() {
    let fixture = Fixture::new();
    let ask = |key: &str| {
        let bearer = format!("Bearer {key}");
        observe_response(&fixture, || {
            send(&fixture.world, &request(Method::Get, "/v1/status", &[("authorization", &bearer)], ""))
        })
    };
    check_ring(&fixture);
    let expected = ask("x");
    assert_eq!((expected.0, expected.3), (401, 1), "beside the check of the ring the database is not asked");
    for at in 0..ADMIN_KEY.len() {
        let wrong: String =
            ADMIN_KEY.chars().enumerate().map(|(place, letter)| if place == at { '!' } else { letter }).collect();
        assert_eq!(ask(&wrong), expected);
    }
    for wrong in ["", ADMIN_KEY.split_at(35).0, &format!("{ADMIN_KEY}a"), &ADMIN_KEY.to_uppercase()] {
        assert_eq!(ask(wrong), expected, "{wrong}");
    }
    assert_eq!(ask(ADMIN_KEY).0, 200);
}

#[test]
fn an_unknown_link_has_the_answer_of_an_expired_one() {
    let fixture = Fixture::new();
    let unknown = "x".repeat(43);
    let used = make_sign_in_link(&fixture, "ann");
    CookieBrowser::new(&fixture).post(&used, "");
    let late = make_sign_in_link(&fixture, "ann");
    let ended = make_connect_link(&fixture, &json!({ "expires_in": 60 }));
    fixture.world.advance_clock(8 * 86_400);
    for method in [Method::Get, Method::Post] {
        let see = |path: &str| observe_response(&fixture, || CookieBrowser::new(&fixture).send(method, path, ""));
        let expected = see(&format!("/sign-in/{unknown}"));
        assert_eq!(expected.0, 410);
        assert_eq!((see(&used), see(&late)), (expected.clone(), expected), "sign-in");
        let expected = see(&format!("/connect/{unknown}"));
        assert_eq!((expected.0, see(&ended)), (410, expected), "connect");
    }
}

#[test]
fn an_unknown_session_has_the_answer_of_an_expired_one() {
    let fixture = Fixture::new();
    let mut ann = CookieBrowser::signed_in_as(&fixture, "ann");
    ann.press("/", "/sign-out", "");
    let (name, _) = CookieBrowser::signed_in_as(&fixture, "ann").cookies.into_iter().next().unwrap();
    let see = |value: &str| {
        let cookie = format!("{name}={value}");
        let headers = [("cookie", cookie.as_str()), ("accept", "text/html")];
        observe_response(&fixture, || send(&fixture.world, &request(Method::Get, "/", &headers, "")))
    };
    let unknown = see(&"x".repeat(43));
    let ended = CookieBrowser::signed_in_as(&fixture, "bob").cookies[&name].clone();
    assert_eq!(see(&ended).0, 200);
    fixture.world.advance_clock(13 * 3600);
    assert_eq!((unknown.0, see(&ended)), (401, unknown));
}

/// A comparison of secrets with `==` ends at the first different byte. The code that authenticates callers has none.
#[test]
fn secrets_are_compared_only_in_constant_time() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let secret = regex_lite::Regex::new(r"(?i)(hash|secret|csrf|password|presented|token|signature)\w*(\(\))?\s*[!=]=|[!=]=\s*(&|Some\(&?)?\w*\.?(hash|secret|csrf|password|presented|signature)").unwrap();
    let mut read = 0;
    for part in ["caller.rs", "config.rs", "http.rs", "resolve.rs", "http", "connect", "resolve"] {
        for file in super::security_table::files(&root.join(part), "rs") {
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
    for (file, function) in [("caller.rs", "pub fn constant_time_eq("), ("config.rs", "pub fn is_admin_key(")] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let body = text.split(function).nth(1).unwrap().split("\n}").next().unwrap();
        assert!(body.contains("ct_eq") && !body.contains("=="), "{file}: {function} compares in constant time");
    }
}
