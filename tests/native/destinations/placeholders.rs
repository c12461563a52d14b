//! A3: what decides the value of a placeholder decides where a secret goes.

use connections::http::Method;
use serde_json::{Value, json};

use super::{Person, Sent, attackers_key, edited, put_client, stranger};
use crate::http::{call, first_key};
use crate::support::Scene;

/// An app whose shop is asked for, by a placeholder in this spelling.
fn shops(name: &str, variable: &Value) -> Value {
    let at = |path: &str| format!("https://{{{name}}}.shops.example/{path}");
    edited(&json!({
        "variables": { name: variable },
        "auth": { "authorize_url": at("authorize"), "token_url": at("token"), "revoke_url": at("revoke") },
        "identity": { "url": at("me"), "id": format!("{{{name}}}:{{/sub}}") },
    }))
}

fn variable() -> Value {
    json!({ "label": "Shop", "pattern": "[a-z]+" })
}

fn put(scene: &Scene, definition: &Value) {
    let (status, problem) = call(scene, &attackers_key(scene), Method::Put, "/v1/apps/acme", definition);
    assert_eq!(status, 200, "{problem}");
}

fn scene_of(definition: &Value) -> Scene {
    let scene = Scene::new();
    put(&scene, definition);
    let secret = scene.world.acme.client_secret.borrow().clone();
    assert_eq!(put_client(&scene, &first_key(&scene), Some(&secret)).0, 200);
    stranger(&scene, |request| {
        let path = request.url.url().path();
        let token = json!({ "access_token": "t", "refresh_token": "r", "token_type": "bearer", "expires_in": 60 });
        Some(if path == "/me" { json!({ "sub": "ann", "email": "ann" }) } else { token })
    });
    scene
}

fn connect(scene: &Scene, input: &str, value: &str) -> Option<String> {
    let mut ann = Person::signed_in(scene);
    let pressed = ann.press("/oauth/start/acme", &[(input, value)]);
    if pressed.status != 303 {
        return None;
    }
    let sent = Sent::of(&pressed);
    Some(ann.come_back(&sent.redirect_uri, &[("state", &sent.state), ("code", "c")]))
}

#[test]
fn a_placeholder_in_any_case_is_filled_and_gets_the_secret_only_by_its_rule() {
    for name in ["shop", "Shop", "SHOP", "s_1"] {
        let scene = scene_of(&shops(name, &variable()));
        let input = format!("input.{name}");
        for value in
            ["acme.evil", "evil.example/", "evil.example#", "a@evil.example", "ACME", "a:8443", "", ".", "xn--a1"]
        {
            assert_eq!(connect(&scene, &input, value), None, "{name}={value}");
        }
        assert!(scene.world.acme.elsewhere.borrow().is_empty());
        connect(&scene, &input, "beta").unwrap();
        let urls: Vec<_> = scene.world.acme.elsewhere.borrow().iter().map(|one| one.url.clone()).collect();
        assert_eq!(urls, ["https://beta.shops.example/token", "https://beta.shops.example/me"], "{name}");
        assert!(scene.world.acme.elsewhere.borrow()[0].has_secret(), "the client's secret was given for it");
    }
}

#[test]
fn a_pattern_with_capitals_fits_a_host_in_lower_case() {
    let scene = scene_of(&shops("shop", &json!({ "label": "Shop", "pattern": "[A-Z]{4}" })));
    connect(&scene, "input.shop", "BETA").unwrap();
    assert_eq!(scene.world.acme.elsewhere.borrow()[0].url, "https://beta.shops.example/token");
}

#[test]
fn whoever_changes_a_rule_gets_no_secret_that_was_entered_before() {
    for name in ["shop", "Shop", "SHOP"] {
        for changed in [
            json!({ "label": "Shop", "pattern": ".*" }),
            json!({ "label": "Shop", "pattern": "[a-z]+|evil[.]example" }),
            json!({ "label": "Shop" }),
            json!({ "label": "Shop", "pattern": "[a-z]+", "default": "evil" }),
        ] {
            let scene = scene_of(&shops(name, &variable()));
            put(&scene, &shops(name, &changed));
            assert_eq!(Person::signed_in(&scene).get("/oauth/start/acme").status, 409, "{name} {changed}");
            let (status, problem) = put_client(&scene, &attackers_key(&scene), None);
            assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("client_secret")), "{name} {changed}");
            put_client(&scene, &attackers_key(&scene), Some("whatever"));
            connect(&scene, &format!("input.{name}"), "evil");
            assert!(scene.world.acme.elsewhere.borrow().iter().all(|one| !one.has_secret()), "{name} {changed}");
        }
    }
}

#[test]
fn a_value_that_is_told_by_another_place_needs_the_secret_anew() {
    let told = |from: &str, at: &str| {
        let mut definition = edited(&json!({ "request": { "base_url": "https://{Host}.acme.example/" } }));
        definition["variables"]["Host"] = json!({ "from": from, "at": at, "pattern": "[a-z]+" });
        definition
    };
    for (from, at) in [("token", "/other"), ("identity", "/host"), ("callback", "host")] {
        let scene = scene_of(&told("token", "/host"));
        put(&scene, &told(from, at));
        assert_eq!(put_client(&scene, &attackers_key(&scene), None).0, 422, "{from} {at}");
    }
}

#[test]
fn placeholders_stand_neither_in_user_info_nor_in_a_port() {
    let scene = Scene::new();
    for url in [
        "https://{shop}@evil.example/token",
        "https://shops.example:{shop}/token",
        "https://u:{shop}@evil.example/token",
        "https://shops.example{shop}/token",
        "https://{shop}/token",
        "https://{shop}.example/token",
        "{shop}/token",
    ] {
        let mut definition = shops("shop", &variable());
        definition["auth"]["token_url"] = url.into();
        let (status, _) = call(&scene, &attackers_key(&scene), Method::Put, "/v1/apps/acme", &definition);
        assert_eq!(status, 422, "{url}");
    }
}
