//! What the version before wrote goes on working: its rows have neither destinations nor an authorization server.

use std::collections::BTreeMap;

use connections::http::Method;
use connections::ids::ConnectionId;
use connections::resolve::Ask;
use serde_json::{Value, json};

use super::{
    Person, Sent, attackers_key, done, edited, nothing_leaked, put_app, put_client, redirect_uri, rogue, stranger,
};
use crate::http::{call, first_key};
use crate::support::{Scene, tokens};

/// Turns what is stored into what migration 0007 makes of the version before: these hosts, and nothing of what came later.
fn as_before(scene: &Scene, hosts: &[&str]) {
    let hosts = json!(hosts).to_string().replace('\'', "''");
    scene
        .world
        .db
        .tamper(&format!("UPDATE oauth_clients SET authorization_server = NULL, destinations = NULL, redirect_id = id, legacy_hosts = '{hosts}'"));
    scene.world.db.tamper("UPDATE connections SET destinations = NULL");
    scene.world.db.tamper("UPDATE flows SET destinations = NULL");
}

fn connected() -> (Scene, ConnectionId) {
    let scene = Scene::new();
    let id = Person::signed_in(&scene).connect("ann");
    as_before(&scene, &["acme.example"]);
    (scene, id)
}

#[test]
fn a_client_keeps_its_redirect_uri_and_its_connections_refresh() {
    let (scene, id) = connected();
    assert_eq!(redirect_uri(&scene), format!("https://c.example.com/oauth/callback/{}", scene.client));
    scene.expire(&id);
    scene.resolve(&id, Ask::default()).unwrap();
    assert!(scene.row(&id).destinations.is_some(), "fixed with the first refresh");
    let secret = scene.world.acme.client_secret.borrow().clone();
    let put = |client_id: &str| {
        let body = json!({ "client_id": client_id, "client_secret": secret });
        done(&scene, &first_key(&scene), Method::Put, "/v1/apps/acme/client", &body)["redirect_uri"].clone()
    };
    let own = format!("https://c.example.com/oauth/callback/{}", scene.client);
    assert_eq!([put("corrected"), put("acme-client")], [json!(own), json!(own)]);
    assert_ne!(Person::signed_in(&scene).connect("bob"), id);
    nothing_leaked(&scene, "before");
}

#[test]
fn an_older_row_follows_its_own_revision_and_never_the_current_one() {
    let evils = [
        json!({ "auth": { "token_url": "https://evil.example/token" } }),
        json!({ "auth": { "token_url": "https://acme.example/evil/token" } }),
        json!({ "auth": { "authorize_url": "https://acme.example/evil/authorize" } }),
        json!({ "auth": { "revoke_url": "https://acme.example/evil/revoke" } }),
        json!({ "request": { "base_url": "https://evil.example/" } }),
    ];
    for edit in evils {
        for refreshed in [false, true] {
            let (scene, id) = connected();
            rogue(&scene);
            if refreshed {
                scene.expire(&id);
                scene.resolve(&id, Ask::default()).unwrap();
            }
            let before = tokens(&scene.credential(&id)).1;
            scene.world.pass(1);
            let evil = attackers_key(&scene);
            put_app(&scene, &evil, &edit);
            for secret in [None, Some("whatever")] {
                put_client(&scene, &evil, secret);
                call(&scene, &evil, Method::Post, "/v1/apps/acme/client/test", &json!({}));
            }
            let mut ann = Person::signed_in(&scene);
            scene.world.acme.gives_refresh_token.set(false);
            let pressed = ann.press(&format!("/connections/{id}/reconnect"), &[]);
            if pressed.status == 303 {
                let sent = Sent::of(&pressed);
                let account = scene.world.acme.consent(&sent.url, "ann").0;
                ann.come_back(&sent.redirect_uri, &[("state", &sent.state), ("code", account.expose())]);
            }
            super::use_up(&scene, &id);
            // A code of the honest app is the attacker's to waste; what the workspace holds is not.
            for request in scene.world.acme.elsewhere.borrow().iter() {
                let secret = scene.world.acme.client_secret.borrow();
                assert!(!request.text.contains(secret.as_str()), "{edit} {}", request.text);
                assert!(!request.text.contains(before.as_deref().unwrap()), "{edit} {}", request.text);
            }
        }
    }
}

#[test]
fn an_older_client_whose_app_was_edited_before_the_update_still_serves_its_connections() {
    let (scene, id) = connected();
    scene.world.pass(60);
    put_app(&scene, &first_key(&scene), &json!({ "auth": { "token_url": "https://elsewhere.example/token" } }));
    scene.expire(&id);
    scene.resolve(&id, Ask::default()).unwrap();
    let ended = done(&scene, &first_key(&scene), Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
    assert_eq!(ended["revoked"], "confirmed");
    assert!(scene.world.acme.elsewhere.borrow().is_empty());
}

#[test]
fn hosts_with_rules_are_read_as_they_were_written() {
    for (name, host) in [
        ("shop", "{shop: person, [a-z]{3,9}, }.shops.example"),
        // The version before lost the rule of a name with capitals.
        ("Shop", "{shop}.shops.example"),
    ] {
        let at = |path: &str| format!("https://{{{name}}}.{{zone}}.shops.example/{path}").replace(".{zone}", "");
        let definition = edited(&json!({
            "variables": { name: { "label": "Shop", "pattern": "[a-z]{3,9}" } },
            "auth": { "authorize_url": at("authorize"), "token_url": at("token"), "revoke_url": null },
            "identity": { "url": at("me"), "id": format!("{{{name}}}:{{/sub}}") },
        }));
        let scene = Scene::new();
        let key = first_key(&scene);
        done(&scene, &key, Method::Put, "/v1/apps/acme", &definition);
        let secret = scene.world.acme.client_secret.borrow().clone();
        put_client(&scene, &key, Some(&secret));
        scene.world.db.tamper("DELETE FROM oauth_clients WHERE is_current = 0");
        as_before(&scene, &[host]);
        stranger(&scene, |request| {
            let token = json!({ "access_token": "t", "refresh_token": "r", "token_type": "bearer", "expires_in": 60 });
            Some(if request.url.url().path() == "/me" { json!({ "sub": "ann", "email": "ann" }) } else { token })
        });
        let mut ann = Person::signed_in(&scene);
        let sent = Sent::of(&ann.press("/oauth/start/acme", &[(&format!("input.{name}"), "beta")]));
        ann.come_back(&sent.redirect_uri, &[("state", &sent.state), ("code", "c")]);
        let urls: Vec<_> = scene.world.acme.elsewhere.borrow().iter().map(|one| one.url.clone()).collect();
        assert_eq!(urls, ["https://beta.shops.example/token", "https://beta.shops.example/me"], "{name}");
    }
}

#[test]
fn two_placeholders_in_a_host_of_before_are_both_read() {
    let at = |path: &str| format!("https://{{shop}}.{{zone}}.shops.example/{path}");
    let definition = edited(&json!({
        "variables": { "shop": { "label": "Shop", "pattern": "[a-z]+" }, "zone": { "label": "Zone", "pattern": "[a-z]{2}" } },
        "auth": { "authorize_url": at("authorize"), "token_url": at("token"), "revoke_url": null }, "identity": null,
    }));
    let scene = Scene::new();
    let key = first_key(&scene);
    done(&scene, &key, Method::Put, "/v1/apps/acme", &definition);
    put_client(&scene, &key, Some("s"));
    scene.world.db.tamper("DELETE FROM oauth_clients WHERE is_current = 0");
    as_before(&scene, &["{shop: person, [a-z]+, }.{zone: person, [a-z]{2}, }.shops.example"]);
    assert_eq!(Person::signed_in(&scene).get("/oauth/start/acme").status, 200);
    as_before(&scene, &["{shop: person, [a-z]+, }.{other: person, [a-z]{2}, }.shops.example"]);
    assert_eq!(Person::signed_in(&scene).get("/oauth/start/acme").status, 409);
}

#[test]
fn a_flow_that_was_begun_before_the_update_ends_well() {
    let scene = Scene::new();
    let mut ann = Person::signed_in(&scene);
    let pressed = ann.press("/oauth/start/acme", &[]);
    as_before(&scene, &["acme.example"]);
    ann.consent(&pressed, "ann");
    assert_eq!(scene.world.db.number("SELECT count(*) FROM connections WHERE status = 'connected'"), 1);
}

#[test]
fn a_client_of_the_catalogue_from_before_serves_and_its_app_may_gain_a_host() {
    let way = connections::catalogue::find("gmail").unwrap().oauth2().unwrap();
    let scene = Scene::of_catalogue(&way, ("c", "canary7f3a-secret"), BTreeMap::new());
    // Fewer hosts than the running release knows.
    as_before(&scene, &["accounts.google.com", "oauth2.googleapis.com"]);
    stranger(&scene, |request| {
        let token = json!({ "access_token": "t", "refresh_token": "r", "token_type": "bearer", "expires_in": 60 });
        let me = json!({ "emailAddress": "ann@gmail.example", "sub": "ann", "id": "ann", "email": "ann" });
        Some(if request.url.url().path() == "/token" { token } else { me })
    });
    let registered = format!("https://c.example.com/oauth/callback/{}", scene.client);
    let mut ann = Person::signed_in(&scene);
    let sent = Sent::of(&ann.press("/oauth/start/gmail", &[]));
    assert_eq!(sent.redirect_uri, registered);
    let query = [("state", sent.state.as_str()), ("code", "c"), ("iss", "https://accounts.google.com")];
    let page = ann.come_back(&sent.redirect_uri, &query);
    let id = scene.world.db.value("SELECT coalesce(max(id), '') FROM connections");
    let id = ConnectionId::parse(id.as_str().unwrap()).unwrap_or_else(|| panic!("{page}"));
    assert!(scene.row(&id).destinations.is_none(), "they follow from the running release");
    scene.world.pass(61);
    scene.resolve(&id, Ask::default()).unwrap();
    let body = json!({ "client_id": "c", "client_secret": "canary7f3a-new" });
    let again = done(&scene, &first_key(&scene), Method::Put, "/v1/apps/gmail/client", &body);
    assert_eq!(again["redirect_uri"], registered);
    for request in scene.world.acme.elsewhere.borrow().iter().filter(|one| one.has_secret()) {
        assert!(request.url.starts_with("https://oauth2.googleapis.com/"), "{}", request.url);
    }
}

#[test]
fn an_app_by_issuer_gets_its_addresses_fixed_at_its_first_refresh() {
    let issuer = "https://acme.example";
    let scene = Scene::with(
        &json!({ "auth": { "issuer": issuer, "authorize_url": null, "token_url": null, "revoke_url": null } }),
    );
    let mut ann = Person::signed_in(&scene);
    let sent = Sent::of(&ann.press("/oauth/start/acme", &[]));
    let (code, state) = scene.world.acme.consent(&sent.url, "ann");
    ann.come_back(&sent.redirect_uri, &[("state", &state), ("code", code.expose()), ("iss", issuer)]);
    let id = scene.world.db.value("SELECT id FROM connections");
    let id = ConnectionId::parse(id.as_str().unwrap()).unwrap();
    as_before(&scene, &["acme.example"]);
    scene.expire(&id);
    scene.resolve(&id, Ask::default()).unwrap();
    assert!(scene.row(&id).destinations.is_some() && scene.client().destinations.is_some());
    // The issuer is taken over, and its document names other addresses.
    rogue(&scene);
    let evil = json!({ "issuer": issuer, "authorization_endpoint": "https://acme.example/authorize",
        "token_endpoint": "https://evil.example/token", "userinfo_endpoint": "https://evil.example/me", "revocation_endpoint": "https://evil.example/revoke" });
    let reply = crate::support::Reply::status(200, &evil.to_string());
    scene.world.acme.always("/.well-known/openid-configuration", Some(reply));
    scene.world.kv.held.borrow_mut().clear();
    scene.expire(&id);
    assert!(scene.resolve(&id, Ask::default()).is_err(), "its refresh token goes to no new address");
    super::use_up(&scene, &id);
    done(&scene, &first_key(&scene), Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
    assert!(scene.world.acme.elsewhere.borrow().is_empty());
}
