//! A5: whoever can only write to the cache decides nothing about where secrets go.

use connections::http::Method;
use serde_json::{Value, json};

use super::{Person, Sent, done, edited, nothing_leaked, rogue};
use crate::http::{call, first_key};
use crate::support::Scene;

fn by_issuer(issuer: &str) -> Value {
    json!({ "auth": { "issuer": issuer, "authorize_url": null, "token_url": null, "revoke_url": null } })
}

fn evil_document() -> String {
    json!({ "issuer": "https://acme.example", "authorization_endpoint": "https://evil.example/authorize",
        "token_endpoint": "https://evil.example/token", "userinfo_endpoint": "https://evil.example/me",
        "authorization_response_iss_parameter_supported": true })
    .to_string()
}

fn document_key(scene: &Scene) -> String {
    scene.world.kv.names().into_iter().find(|name| name.starts_with("discovery/")).unwrap()
}

fn put(scene: &Scene, key: &str, value: &str) {
    scene.world.kv.held.borrow_mut().insert(key.to_owned(), (value.to_owned(), i64::MAX));
}

/// A flow from the button to the end.
fn connect(scene: &Scene) -> String {
    let mut ann = Person::signed_in(scene);
    let sent = Sent::of(&ann.press("/oauth/start/acme", &[]));
    assert!(sent.url.starts_with("https://acme.example/authorize"), "{}", sent.url);
    let (code, state) = scene.world.acme.consent(&sent.url, "ann");
    let query = [("state", state.as_str()), ("code", code.expose()), ("iss", "https://acme.example")];
    ann.come_back(&sent.redirect_uri, &query)
}

#[test]
fn a_document_that_was_written_into_the_cache_is_not_used() {
    for public in [false, true] {
        let scene = Scene::with(&by_issuer("https://acme.example"));
        if public {
            scene.world.db.tamper("UPDATE oauth_clients SET sealed_secret = NULL, destinations = NULL");
        }
        rogue(&scene);
        connect(&scene);
        let key = document_key(&scene);
        for planted in
            [evil_document(), format!("{} {}", scene.world.now().unix(), evil_document()), "cx1.".into(), String::new()]
        {
            put(&scene, &key, &planted);
            connect(&scene);
        }
        assert!(scene.world.acme.elsewhere.borrow().is_empty(), "public {public}");
    }
}

#[test]
fn a_document_is_of_use_only_for_its_own_issuer_and_time() {
    let scene = Scene::with(&by_issuer("https://acme.example"));
    rogue(&scene);
    connect(&scene);
    let honest = document_key(&scene);
    let old = scene.world.kv.held.borrow()[&honest].0.clone();
    // A rogue issuer has its document sealed by an app of its own, which is moved to the honest issuer's place.
    let mut other = edited(&by_issuer("https://evil.example"));
    other["id"] = "other".into();
    let key = first_key(&scene);
    done(&scene, &key, Method::Post, "/v1/apps", &other);
    let client = json!({ "client_id": "c", "client_secret": "s" });
    done(&scene, &key, Method::Put, "/v1/apps/other/client", &client);
    call(&scene, &key, Method::Post, "/v1/apps/other/client/test", &json!({}));
    let evils = scene.world.kv.names().into_iter().find(|name| name.starts_with("discovery/") && *name != honest);
    let evils = scene.world.kv.held.borrow()[&evils.unwrap()].0.clone();
    put(&scene, &honest, &evils);
    connect(&scene);
    nothing_leaked(&scene, "swapped");

    // An old entry that is brought back is not asked instead of the issuer.
    let asked = || scene.world.acme.count("/.well-known/openid-configuration");
    put(&scene, &honest, &old);
    let before = asked();
    connect(&scene);
    assert_eq!(asked(), before, "still in time");
    scene.world.pass(3601);
    put(&scene, &honest, &old);
    connect(&scene);
    assert_eq!(asked(), before + 1, "out of its time");
}
