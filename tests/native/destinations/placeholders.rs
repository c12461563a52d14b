//! A3: the source of a placeholder's value decides where a secret is sent.

use connections::http::Method;
use serde_json::{Value, json};

use super::{AuthorizeRedirect, FormBrowser, attackers_key, edited_definition, install_foreign_responder, put_client};
use crate::http::{call, first_key};
use crate::support::Fixture;

/// An app with a placeholder for the shop, in this spelling.
fn shop_definition(name: &str, variable: &Value) -> Value {
    let at = |path: &str| format!("https://{{{name}}}.shops.example/{path}");
    edited_definition(&json!({
        "variables": { name: variable },
        "auth": { "authorize_url": at("authorize"), "token_url": at("token"), "revoke_url": at("revoke") },
        "identity": { "url": at("me"), "id": format!("{{{name}}}:{{/sub}}") },
    }))
}

fn shop_variable() -> Value {
    json!({ "label": "Shop", "pattern": "[a-z]+" })
}

fn put_app_definition(fixture: &Fixture, definition: &Value) {
    let (status, problem) = call(fixture, &attackers_key(fixture), Method::Put, "/v1/apps/acme", definition);
    assert_eq!(status, 200, "{problem}");
}

fn fixture_with_app(definition: &Value) -> Fixture {
    let fixture = Fixture::new();
    put_app_definition(&fixture, definition);
    let secret = fixture.world.acme.client_secret.borrow().clone();
    assert_eq!(put_client(&fixture, &first_key(&fixture), Some(&secret)).0, 200);
    install_foreign_responder(&fixture, |request| {
        let path = request.url.url().path();
        let token = json!({ "access_token": "t", "refresh_token": "r", "token_type": "bearer", "expires_in": 60 });
        Some(if path == "/me" { json!({ "sub": "ann", "email": "ann" }) } else { token })
    });
    fixture
}

fn connect_with_input(fixture: &Fixture, input: &str, value: &str) -> Option<String> {
    let mut ann = FormBrowser::signed_in(fixture);
    let pressed = ann.press("/oauth/start/acme", &[(input, value)]);
    if pressed.status != 303 {
        return None;
    }
    let sent = AuthorizeRedirect::from_response(&pressed);
    Some(ann.return_from_app(&sent.redirect_uri, &[("state", &sent.state), ("code", "c")]))
}

#[test]
fn a_placeholder_in_any_case_is_filled_within_its_rule() {
    for name in ["shop", "Shop", "SHOP", "s_1"] {
        let fixture = fixture_with_app(&shop_definition(name, &shop_variable()));
        let input = format!("input.{name}");
        for value in
            ["acme.evil", "evil.example/", "evil.example#", "a@evil.example", "ACME", "a:8443", "", ".", "xn--a1"]
        {
            assert_eq!(connect_with_input(&fixture, &input, value), None, "{name}={value}");
        }
        assert!(fixture.world.acme.foreign_requests.borrow().is_empty());
        connect_with_input(&fixture, &input, "beta").unwrap();
        let urls: Vec<_> = fixture.world.acme.foreign_requests.borrow().iter().map(|one| one.url.clone()).collect();
        assert_eq!(urls, ["https://beta.shops.example/token", "https://beta.shops.example/me"], "{name}");
        assert!(fixture.world.acme.foreign_requests.borrow()[0].has_secret(), "the client's secret was given for it");
    }
}

#[test]
fn a_pattern_with_capitals_matches_a_host_in_lower_case() {
    let fixture = fixture_with_app(&shop_definition("shop", &json!({ "label": "Shop", "pattern": "[A-Z]{4}" })));
    connect_with_input(&fixture, "input.shop", "BETA").unwrap();
    assert_eq!(fixture.world.acme.foreign_requests.borrow()[0].url, "https://beta.shops.example/token");
}

#[test]
fn a_changed_placeholder_rule_gets_no_earlier_secret() {
    for name in ["shop", "Shop", "SHOP"] {
        for changed in [
            json!({ "label": "Shop", "pattern": ".*" }),
            json!({ "label": "Shop", "pattern": "[a-z]+|evil[.]example" }),
            json!({ "label": "Shop" }),
            json!({ "label": "Shop", "pattern": "[a-z]+", "default": "evil" }),
        ] {
            let fixture = fixture_with_app(&shop_definition(name, &shop_variable()));
            put_app_definition(&fixture, &shop_definition(name, &changed));
            assert_eq!(FormBrowser::signed_in(&fixture).get("/oauth/start/acme").status, 409, "{name} {changed}");
            let (status, client) = put_client(&fixture, &attackers_key(&fixture), None);
            assert_eq!((status, &client["has_secret"]), (200, &json!(false)), "another client: {name} {changed}");
            put_client(&fixture, &attackers_key(&fixture), Some("whatever"));
            connect_with_input(&fixture, &format!("input.{name}"), "evil");
            assert!(
                fixture.world.acme.foreign_requests.borrow().iter().all(|one| !one.has_secret()),
                "{name} {changed}"
            );
        }
    }
}

#[test]
fn a_value_from_another_source_needs_the_secret_again() {
    let told = |from: &str, at: &str| {
        let mut definition = edited_definition(&json!({ "request": { "base_url": "https://{Host}.acme.example/" } }));
        definition["variables"]["Host"] = json!({ "from": from, "at": at, "pattern": "[a-z]+" });
        definition
    };
    for (from, at) in [("token", "/other"), ("identity", "/host"), ("callback", "host")] {
        let fixture = fixture_with_app(&told("token", "/host"));
        put_app_definition(&fixture, &told(from, at));
        assert_eq!(put_client(&fixture, &attackers_key(&fixture), None).0, 422, "{from} {at}");
    }
}

#[test]
fn placeholders_are_refused_in_user_info_and_port() {
    let fixture = Fixture::new();
    for url in [
        "https://{shop}@evil.example/token",
        "https://shops.example:{shop}/token",
        "https://u:{shop}@evil.example/token",
        "https://shops.example{shop}/token",
        "https://{shop}/token",
        "https://{shop}.example/token",
        "{shop}/token",
    ] {
        let mut definition = shop_definition("shop", &shop_variable());
        definition["auth"]["token_url"] = url.into();
        let (status, _) = call(&fixture, &attackers_key(&fixture), Method::Put, "/v1/apps/acme", &definition);
        assert_eq!(status, 422, "{url}");
    }
}
