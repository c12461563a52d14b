//! A5: an attacker who can only write to the cache cannot change where secrets are sent.

use connections::http::Method;
use serde_json::{Value, json};

use super::{
    AuthorizeRedirect, FormBrowser, assert_no_secret_leaked, call_successfully, edited_definition, install_rogue_server,
};
use crate::http::{call, first_key};
use crate::support::Fixture;

fn issuer_patch(issuer: &str) -> Value {
    json!({ "auth": { "issuer": issuer, "authorize_url": null, "token_url": null, "revoke_url": null } })
}

fn evil_document() -> String {
    json!({ "issuer": "https://acme.example", "authorization_endpoint": "https://evil.example/authorize",
        "token_endpoint": "https://evil.example/token", "userinfo_endpoint": "https://evil.example/me",
        "authorization_response_iss_parameter_supported": true })
    .to_string()
}

fn discovery_cache_key(fixture: &Fixture) -> String {
    fixture.world.cache.entry_names().into_iter().find(|name| name.starts_with("discovery/")).unwrap()
}

fn put_cache_entry(fixture: &Fixture, key: &str, value: &str) {
    fixture.world.cache.entries.borrow_mut().insert(key.to_owned(), (value.to_owned(), i64::MAX));
}

/// A whole flow.
fn complete_flow(fixture: &Fixture) -> String {
    let mut ann = FormBrowser::signed_in(fixture);
    let sent = AuthorizeRedirect::from_response(&ann.press("/oauth/start/acme", &[]));
    assert!(sent.url.starts_with("https://acme.example/authorize"), "{}", sent.url);
    let (code, state) = fixture.world.acme.consent(&sent.url, "ann");
    let query = [("state", state.as_str()), ("code", code.expose()), ("iss", "https://acme.example")];
    ann.return_from_app(&sent.redirect_uri, &query)
}

#[test]
fn a_forged_cache_entry_of_a_discovery_document_is_not_used() {
    for public in [false, true] {
        let fixture = Fixture::with_definition(&issuer_patch("https://acme.example"));
        if public {
            fixture.world.db.tamper("UPDATE oauth_clients SET sealed_secret = NULL, destinations = NULL");
        }
        install_rogue_server(&fixture);
        complete_flow(&fixture);
        let key = discovery_cache_key(&fixture);
        for planted in [
            evil_document(),
            format!("{} {}", fixture.world.now().unix(), evil_document()),
            "cx1.".into(),
            String::new(),
        ] {
            put_cache_entry(&fixture, &key, &planted);
            complete_flow(&fixture);
        }
        assert!(fixture.world.acme.foreign_requests.borrow().is_empty(), "public {public}");
    }
}

#[test]
fn a_discovery_document_is_used_only_for_its_issuer_and_until_it_expires() {
    let fixture = Fixture::with_definition(&issuer_patch("https://acme.example"));
    install_rogue_server(&fixture);
    complete_flow(&fixture);
    let honest = discovery_cache_key(&fixture);
    let old = fixture.world.cache.entries.borrow()[&honest].0.clone();
    // A rogue issuer gets its document sealed through its own app. The entry is then moved to the other issuer's name.
    let mut other = edited_definition(&issuer_patch("https://evil.example"));
    other["id"] = "other".into();
    let key = first_key(&fixture);
    call_successfully(&fixture, &key, Method::Post, "/v1/apps", &other);
    let client = json!({ "client_id": "c", "client_secret": "s" });
    call_successfully(&fixture, &key, Method::Put, "/v1/apps/other/client", &client);
    call(&fixture, &key, Method::Post, "/v1/apps/other/client/test", &json!({}));
    let evils =
        fixture.world.cache.entry_names().into_iter().find(|name| name.starts_with("discovery/") && *name != honest);
    let evils = fixture.world.cache.entries.borrow()[&evils.unwrap()].0.clone();
    put_cache_entry(&fixture, &honest, &evils);
    complete_flow(&fixture);
    assert_no_secret_leaked(&fixture, "swapped");

    // An old entry that is restored does not replace a request to the issuer.
    let asked = || fixture.world.acme.count_requests("/.well-known/openid-configuration");
    put_cache_entry(&fixture, &honest, &old);
    let before = asked();
    complete_flow(&fixture);
    assert_eq!(asked(), before, "still in time");
    fixture.world.advance_clock(3601);
    put_cache_entry(&fixture, &honest, &old);
    complete_flow(&fixture);
    assert_eq!(asked(), before + 1, "out of its time");
}
