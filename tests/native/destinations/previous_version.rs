//! Data of the previous version works: its rows have neither destinations nor an authorization server.

use std::collections::BTreeMap;

use connections::http::Method;
use connections::ids::ConnectionId;
use connections::resolve::ResolveRequest;
use serde_json::{Value, json};

use super::{
    AuthorizeRedirect, FormBrowser, assert_no_secret_leaked, attackers_key, call_successfully, edited_definition,
    install_foreign_responder, install_rogue_server, put_app, put_client, redirect_uri,
};
use crate::http::{call, first_key};
use crate::support::{Fixture, plain_tokens};

/// Changes stored data to what migration 0007 makes of the previous version: these hosts, and no later column.
fn downgrade_rows(fixture: &Fixture, hosts: &[&str]) {
    let hosts = json!(hosts).to_string().replace('\'', "''");
    fixture
        .world
        .db
        .tamper(&format!("UPDATE oauth_clients SET authorization_server = NULL, destinations = NULL, redirect_id = id, legacy_hosts = '{hosts}'"));
    fixture.world.db.tamper("UPDATE connections SET destinations = NULL");
    fixture.world.db.tamper("UPDATE flows SET destinations = NULL");
}

fn connect_as_previous_version() -> (Fixture, ConnectionId) {
    let fixture = Fixture::new();
    let id = FormBrowser::signed_in(&fixture).connect("ann");
    downgrade_rows(&fixture, &["acme.example"]);
    (fixture, id)
}

#[test]
fn a_client_keeps_its_redirect_uri_and_its_connections_refresh() {
    let (fixture, id) = connect_as_previous_version();
    assert_eq!(redirect_uri(&fixture), format!("https://c.example.com/oauth/callback/{}", fixture.client));
    fixture.expire_access_token(&id);
    fixture.resolve(&id, ResolveRequest::default()).unwrap();
    assert!(fixture.load_connection(&id).destinations.is_some(), "fixed with the first refresh");
    let secret = fixture.world.acme.client_secret.borrow().clone();
    let put = |client_id: &str| {
        let body = json!({ "client_id": client_id, "client_secret": secret });
        call_successfully(&fixture, &first_key(&fixture), Method::Put, "/v1/apps/acme/client", &body)["redirect_uri"]
            .clone()
    };
    let own = format!("https://c.example.com/oauth/callback/{}", fixture.client);
    assert_eq!([put("corrected"), put("acme-client")], [json!(own), json!(own)]);
    assert_ne!(FormBrowser::signed_in(&fixture).connect("bob"), id);
    assert_no_secret_leaked(&fixture, "before");
}

#[test]
fn an_older_row_uses_its_own_revision() {
    let evils = [
        json!({ "auth": { "token_url": "https://evil.example/token" } }),
        json!({ "auth": { "token_url": "https://acme.example/evil/token" } }),
        json!({ "auth": { "authorize_url": "https://acme.example/evil/authorize" } }),
        json!({ "auth": { "revoke_url": "https://acme.example/evil/revoke" } }),
        json!({ "request": { "base_url": "https://evil.example/" } }),
    ];
    for edit in evils {
        for refreshed in [false, true] {
            let (fixture, id) = connect_as_previous_version();
            install_rogue_server(&fixture);
            if refreshed {
                fixture.expire_access_token(&id);
                fixture.resolve(&id, ResolveRequest::default()).unwrap();
            }
            let before = plain_tokens(&fixture.open_credential(&id)).1;
            fixture.world.advance_clock(1);
            let evil = attackers_key(&fixture);
            put_app(&fixture, &evil, &edit);
            for secret in [None, Some("whatever")] {
                put_client(&fixture, &evil, secret);
                call(&fixture, &evil, Method::Post, "/v1/apps/acme/client/test", &json!({}));
            }
            let mut ann = FormBrowser::signed_in(&fixture);
            fixture.world.acme.gives_refresh_token.set(false);
            let pressed = ann.press(&format!("/connections/{id}/reconnect"), &[]);
            if pressed.status == 303 {
                let sent = AuthorizeRedirect::from_response(&pressed);
                let account = fixture.world.acme.consent(&sent.url, "ann").0;
                ann.return_from_app(&sent.redirect_uri, &[("state", &sent.state), ("code", account.expose())]);
            }
            super::send_all_secrets(&fixture, &id);
            // A code of the app's own server may be lost to the attacker. The workspace's secrets may not.
            for request in fixture.world.acme.foreign_requests.borrow().iter() {
                let secret = fixture.world.acme.client_secret.borrow();
                assert!(!request.text.contains(secret.as_str()), "{edit} {}", request.text);
                assert!(!request.text.contains(before.as_deref().unwrap()), "{edit} {}", request.text);
            }
        }
    }
}

#[test]
fn an_older_client_of_an_edited_app_still_works_for_its_connections() {
    let (fixture, id) = connect_as_previous_version();
    fixture.world.advance_clock(60);
    put_app(&fixture, &first_key(&fixture), &json!({ "auth": { "token_url": "https://elsewhere.example/token" } }));
    fixture.expire_access_token(&id);
    fixture.resolve(&id, ResolveRequest::default()).unwrap();
    let ended = call_successfully(
        &fixture,
        &first_key(&fixture),
        Method::Delete,
        &format!("/v1/connections/{id}"),
        &Value::Null,
    );
    assert_eq!(ended["revoked"], "confirmed");
    assert!(fixture.world.acme.foreign_requests.borrow().is_empty());
}

#[test]
fn stored_hosts_with_rules_are_read_unchanged() {
    for (name, host) in [
        ("shop", "{shop: person, [a-z]{3,9}, }.shops.example"),
        // The previous version lost the rule of a name with capitals.
        ("Shop", "{shop}.shops.example"),
    ] {
        let at = |path: &str| format!("https://{{{name}}}.{{zone}}.shops.example/{path}").replace(".{zone}", "");
        let definition = edited_definition(&json!({
            "variables": { name: { "label": "Shop", "pattern": "[a-z]{3,9}" } },
            "auth": { "authorize_url": at("authorize"), "token_url": at("token"), "revoke_url": null },
            "identity": { "url": at("me"), "id": format!("{{{name}}}:{{/sub}}") },
        }));
        let fixture = Fixture::new();
        let key = first_key(&fixture);
        call_successfully(&fixture, &key, Method::Put, "/v1/apps/acme", &definition);
        let secret = fixture.world.acme.client_secret.borrow().clone();
        put_client(&fixture, &key, Some(&secret));
        fixture.world.db.tamper("DELETE FROM oauth_clients WHERE is_current = 0");
        downgrade_rows(&fixture, &[host]);
        install_foreign_responder(&fixture, |request| {
            let token = json!({ "access_token": "t", "refresh_token": "r", "token_type": "bearer", "expires_in": 60 });
            Some(if request.url.url().path() == "/me" { json!({ "sub": "ann", "email": "ann" }) } else { token })
        });
        let mut ann = FormBrowser::signed_in(&fixture);
        let sent =
            AuthorizeRedirect::from_response(&ann.press("/oauth/start/acme", &[(&format!("input.{name}"), "beta")]));
        ann.return_from_app(&sent.redirect_uri, &[("state", &sent.state), ("code", "c")]);
        let urls: Vec<_> = fixture.world.acme.foreign_requests.borrow().iter().map(|one| one.url.clone()).collect();
        assert_eq!(urls, ["https://beta.shops.example/token", "https://beta.shops.example/me"], "{name}");
    }
}

#[test]
fn two_placeholders_in_a_stored_host_are_both_read() {
    let at = |path: &str| format!("https://{{shop}}.{{zone}}.shops.example/{path}");
    let definition = edited_definition(&json!({
        "variables": { "shop": { "label": "Shop", "pattern": "[a-z]+" }, "zone": { "label": "Zone", "pattern": "[a-z]{2}" } },
        "auth": { "authorize_url": at("authorize"), "token_url": at("token"), "revoke_url": null }, "identity": null,
    }));
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    call_successfully(&fixture, &key, Method::Put, "/v1/apps/acme", &definition);
    put_client(&fixture, &key, Some("s"));
    fixture.world.db.tamper("DELETE FROM oauth_clients WHERE is_current = 0");
    downgrade_rows(&fixture, &["{shop: person, [a-z]+, }.{zone: person, [a-z]{2}, }.shops.example"]);
    assert_eq!(FormBrowser::signed_in(&fixture).get("/oauth/start/acme").status, 200);
    downgrade_rows(&fixture, &["{shop: person, [a-z]+, }.{other: person, [a-z]{2}, }.shops.example"]);
    assert_eq!(FormBrowser::signed_in(&fixture).get("/oauth/start/acme").status, 409);
}

#[test]
fn a_flow_that_was_started_before_the_update_completes() {
    let fixture = Fixture::new();
    let mut ann = FormBrowser::signed_in(&fixture);
    let pressed = ann.press("/oauth/start/acme", &[]);
    downgrade_rows(&fixture, &["acme.example"]);
    ann.complete_consent(&pressed, "ann");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections WHERE status = 'connected'"), 1);
}

#[test]
fn an_older_client_of_a_catalogue_app_works_after_the_app_gets_a_host() {
    let auth_method = connections::catalogue::find("gmail").unwrap().oauth2_method().unwrap();
    let fixture = Fixture::for_auth_method(&auth_method, ("c", "canary7f3a-secret"), BTreeMap::new());
    // Fewer hosts than this version knows.
    downgrade_rows(&fixture, &["accounts.google.com", "oauth2.googleapis.com"]);
    install_foreign_responder(&fixture, |request| {
        let token = json!({ "access_token": "t", "refresh_token": "r", "token_type": "bearer", "expires_in": 60 });
        let me = json!({ "emailAddress": "ann@gmail.example", "sub": "ann", "id": "ann", "email": "ann" });
        Some(if request.url.url().path() == "/token" { token } else { me })
    });
    let registered = format!("https://c.example.com/oauth/callback/{}", fixture.client);
    let mut ann = FormBrowser::signed_in(&fixture);
    let sent = AuthorizeRedirect::from_response(&ann.press("/oauth/start/gmail", &[]));
    assert_eq!(sent.redirect_uri, registered);
    let query = [("state", sent.state.as_str()), ("code", "c"), ("iss", "https://accounts.google.com")];
    let page = ann.return_from_app(&sent.redirect_uri, &query);
    let id = fixture.world.db.query_value("SELECT coalesce(max(id), '') FROM connections");
    let id = ConnectionId::parse(id.as_str().unwrap()).unwrap_or_else(|| panic!("{page}"));
    assert!(fixture.load_connection(&id).destinations.is_none(), "they follow from the running release");
    fixture.world.advance_clock(61);
    fixture.resolve(&id, ResolveRequest::default()).unwrap();
    let body = json!({ "client_id": "c", "client_secret": "canary7f3a-new" });
    let again = call_successfully(&fixture, &first_key(&fixture), Method::Put, "/v1/apps/gmail/client", &body);
    assert_eq!(again["redirect_uri"], registered);
    for request in fixture.world.acme.foreign_requests.borrow().iter().filter(|one| one.has_secret()) {
        assert!(request.url.starts_with("https://oauth2.googleapis.com/"), "{}", request.url);
    }
}

#[test]
fn the_addresses_of_an_issuer_are_fixed_at_the_first_refresh() {
    let issuer = "https://acme.example";
    let fixture = Fixture::with_definition(
        &json!({ "auth": { "issuer": issuer, "authorize_url": null, "token_url": null, "revoke_url": null } }),
    );
    let mut ann = FormBrowser::signed_in(&fixture);
    let sent = AuthorizeRedirect::from_response(&ann.press("/oauth/start/acme", &[]));
    let (code, state) = fixture.world.acme.consent(&sent.url, "ann");
    ann.return_from_app(&sent.redirect_uri, &[("state", &state), ("code", code.expose()), ("iss", issuer)]);
    let id = fixture.world.db.query_value("SELECT id FROM connections");
    let id = ConnectionId::parse(id.as_str().unwrap()).unwrap();
    downgrade_rows(&fixture, &["acme.example"]);
    fixture.expire_access_token(&id);
    fixture.resolve(&id, ResolveRequest::default()).unwrap();
    assert!(fixture.load_connection(&id).destinations.is_some() && fixture.load_client().destinations.is_some());
    // The issuer is taken over, and its document contains other addresses.
    install_rogue_server(&fixture);
    let evil = json!({ "issuer": issuer, "authorization_endpoint": "https://acme.example/authorize",
        "token_endpoint": "https://evil.example/token", "userinfo_endpoint": "https://evil.example/me", "revocation_endpoint": "https://evil.example/revoke" });
    let reply = crate::support::Reply::status(200, &evil.to_string());
    fixture.world.acme.script_always("/.well-known/openid-configuration", Some(reply));
    fixture.world.cache.entries.borrow_mut().clear();
    fixture.expire_access_token(&id);
    assert!(fixture.resolve(&id, ResolveRequest::default()).is_err(), "its refresh token goes to no new address");
    super::send_all_secrets(&fixture, &id);
    call_successfully(&fixture, &first_key(&fixture), Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
    assert!(fixture.world.acme.foreign_requests.borrow().is_empty());
}
