//! A2: a callback from another server, or at another address, than the flow started with.

use std::collections::BTreeMap;

use connections::http::Method;
use serde_json::{Value, json};

use super::{
    AuthorizeRedirect, FormBrowser, assert_no_secret_leaked, attackers_key, edited_definition, hosts_mark,
    install_foreign_responder, install_rogue_server, put_app, put_client, redirect_uri,
};
use crate::http::{call, first_key};
use crate::support::{Fixture, Reply};

const WRONG_SERVER_MESSAGE: &str = "did not come from the app that was asked";

#[test]
fn an_authorize_endpoint_that_redirects_to_another_server_gets_no_code() {
    for honest_token_url in [false, true] {
        let fixture = Fixture::new();
        let registered = redirect_uri(&fixture);
        install_rogue_server(&fixture);
        let evil = attackers_key(&fixture);
        let mut auth = json!({ "authorize_url": "https://evil.example/authorize" });
        if !honest_token_url {
            auth["token_url"] = "https://evil.example/token".into();
        }
        put_app(&fixture, &evil, &json!({ "auth": auth }));
        assert_eq!(put_client(&fixture, &evil, Some("whatever")).0, 200);
        let mut ann = FormBrowser::signed_in(&fixture);
        let pressed = ann.press("/oauth/start/acme", &[]);
        let sent = AuthorizeRedirect::from_response(&pressed);
        assert_ne!(sent.redirect_uri, registered, "another authorization server has another redirect URI");
        let code = sent.consent_after_redirect(&fixture, &registered, "ann");
        let page = ann.return_from_app(&registered, &[("state", &sent.state), ("code", code.expose())]);
        assert!(page.contains(WRONG_SERVER_MESSAGE), "{page}");
        assert!(fixture.world.acme.foreign_requests.borrow().is_empty(), "nothing was sent");
        assert_eq!(fixture.world.acme.count_all_requests(), 0);
    }
}

#[test]
fn a_callback_at_the_redirect_uri_of_another_client_is_refused() {
    let fixture = Fixture::new();
    let first = redirect_uri(&fixture);
    let mut ann = FormBrowser::signed_in(&fixture);
    let at_first = AuthorizeRedirect::from_response(&ann.press("/oauth/start/acme", &[]));
    fixture.put_app_and_client(&json!({ "auth": { "token_url": "https://acme.example/realm/token" } }));
    let second = redirect_uri(&fixture);
    assert_ne!(first, second);
    let at_second = AuthorizeRedirect::from_response(&ann.press("/oauth/start/acme", &[]));
    for (sent, wrong) in [(at_first, &second), (at_second, &first)] {
        let (code, state) = fixture.world.acme.consent(&sent.url, "ann");
        let page = ann.return_from_app(wrong, &[("state", &state), ("code", code.expose())]);
        assert!(page.contains(WRONG_SERVER_MESSAGE), "{page}");
    }
    assert_eq!(fixture.world.acme.count_all_requests(), 0);
}

/// The page after a consent with this `iss`.
fn complete_flow_with_iss(fixture: &Fixture, iss: Option<&str>) -> String {
    let mut ann = FormBrowser::signed_in(fixture);
    let sent = AuthorizeRedirect::from_response(&ann.press("/oauth/start/acme", &[]));
    let (code, state) = fixture.world.acme.consent(&sent.url, "ann");
    let query: Vec<_> =
        [("state", state.as_str()), ("code", code.expose())].into_iter().chain(iss.map(|iss| ("iss", iss))).collect();
    ann.return_from_app(&sent.redirect_uri, &query)
}

#[test]
fn the_iss_of_a_callback_is_compared_or_refused() {
    let (right, wrong) = ("https://acme.example", "https://evil.example");
    let written = json!({ "auth": { "issuer": right } });
    let discovered =
        json!({ "auth": { "issuer": right, "authorize_url": null, "token_url": null, "revoke_url": null } });
    let unknown = "names none";
    for (what, patch, iss, refused) in [
        ("no issuer", json!({}), None, None),
        ("no issuer", json!({}), Some(right), Some(unknown)),
        ("no issuer", json!({}), Some(wrong), Some(unknown)),
        ("written", written.clone(), Some(right), None),
        ("written", written.clone(), None, None),
        ("written", written.clone(), Some(wrong), Some(WRONG_SERVER_MESSAGE)),
        ("written", written.clone(), Some("https://acme.example/"), Some(WRONG_SERVER_MESSAGE)),
        ("written", written, Some("https://ACME.example"), Some(WRONG_SERVER_MESSAGE)),
        ("discovered and promised", discovered.clone(), Some(right), None),
        ("discovered and promised", discovered.clone(), None, Some(WRONG_SERVER_MESSAGE)),
        ("discovered and promised", discovered, Some(wrong), Some(WRONG_SERVER_MESSAGE)),
    ] {
        let fixture = Fixture::with_definition(&patch);
        let page = complete_flow_with_iss(&fixture, iss);
        match refused {
            Some(words) => {
                assert!(page.contains(words), "{what} {iss:?}: {page}");
                assert_eq!(fixture.world.acme.count_requests("/token"), 0, "{what} {iss:?}");
            }
            None => assert_eq!(fixture.world.acme.count_requests("/me"), 1, "{what} {iss:?}: {page}"),
        }
    }
}

#[test]
fn an_iss_is_accepted_only_if_the_catalogue_has_no_other() {
    for (app, iss, is_taken) in [
        ("gmail", Some("https://accounts.google.com"), true),
        ("gmail", None, true),
        ("gmail", Some("https://evil.example"), false),
        ("google-drive", Some("https://accounts.google.com/"), false),
        ("notion", Some("https://whatever.example"), true),
        ("notion", None, true),
    ] {
        let auth_method = connections::catalogue::find(app).unwrap().oauth2_method().unwrap();
        let fixture = Fixture::for_auth_method(&auth_method, ("c", "canary7f3a-secret"), BTreeMap::new());
        install_foreign_responder(&fixture, |_| {
            Some(json!({ "access_token": "t", "token_type": "bearer", "bot_id": "b", "id": "i" }))
        });
        let mut ann = FormBrowser::signed_in(&fixture);
        let sent = AuthorizeRedirect::from_response(&ann.press(&format!("/oauth/start/{app}"), &[]));
        let mut query = vec![("state", sent.state.as_str()), ("code", "c")];
        query.extend(iss.map(|iss| ("iss", iss)));
        ann.return_from_app(&sent.redirect_uri, &query);
        assert_eq!(!fixture.world.acme.foreign_requests.borrow().is_empty(), is_taken, "{app} {iss:?}");
    }
}

#[test]
fn a_definition_that_changes_during_a_flow_changes_nothing_about_the_flow() {
    let fixture = Fixture::new();
    install_rogue_server(&fixture);
    let mut ann = FormBrowser::signed_in(&fixture);
    let pressed = ann.press("/oauth/start/acme", &[]);
    let evil = attackers_key(&fixture);
    let everywhere = json!({ "auth": { "token_url": "https://evil.example/token" },
        "identity": { "url": "https://evil.example/me" }, "request": { "base_url": "https://evil.example" } });
    put_app(&fixture, &evil, &everywhere);
    put_client(&fixture, &evil, Some("whatever"));
    let page = ann.complete_consent(&pressed, "ann");
    assert!(
        page.contains("connected") || fixture.world.db.query_number("SELECT count(*) FROM connections") == 1,
        "{page}"
    );
    assert_eq!(fixture.world.acme.count_requests("/me"), 1);
    assert!(fixture.world.acme.foreign_requests.borrow().is_empty());
}

#[test]
fn a_client_that_is_recreated_during_a_flow_ends_the_flow() {
    let fixture = Fixture::new();
    install_rogue_server(&fixture);
    let mut ann = FormBrowser::signed_in(&fixture);
    let pressed = ann.press("/oauth/start/acme", &[]);
    let evil = attackers_key(&fixture);
    super::call_successfully(&fixture, &evil, Method::Delete, "/v1/apps/acme/client", &Value::Null);
    assert_eq!(put_client(&fixture, &evil, Some("whatever")).0, 200);
    ann.complete_consent(&pressed, "ann");
    assert_eq!(fixture.world.acme.count_all_requests(), 0, "neither code nor verifier is sent for another's client");
}

#[test]
fn a_discovery_document_that_changes_during_a_flow_gets_no_code() {
    let acme = "https://acme.example";
    let fixture = Fixture::with_definition(
        &json!({ "auth": { "issuer": acme, "authorize_url": null, "token_url": null, "revoke_url": null } }),
    );
    for public in [false, true] {
        if public {
            // A client without a secret, so that no missing secret is refused first.
            fixture.world.db.tamper("UPDATE oauth_clients SET sealed_secret = NULL");
        }
        for (member, changed) in
            [("token_endpoint", "https://evil.example/token"), ("userinfo_endpoint", "https://evil.example/me")]
        {
            install_rogue_server(&fixture);
            fixture.world.acme.clear_scripts();
            fixture.world.cache.entries.borrow_mut().clear();
            let mut ann = FormBrowser::signed_in(&fixture);
            let sent = AuthorizeRedirect::from_response(&ann.press("/oauth/start/acme", &[]));
            let mut document = json!({ "issuer": acme, "authorization_endpoint": "https://acme.example/authorize",
                "token_endpoint": "https://acme.example/token", "userinfo_endpoint": "https://acme.example/me" });
            document[member] = changed.into();
            let reply = Reply::status(200, &document.to_string());
            fixture.world.acme.script_always("/.well-known/openid-configuration", Some(reply));
            fixture.world.cache.entries.borrow_mut().clear();
            let (code, state) = fixture.world.acme.consent(&sent.url, "ann");
            let query = [("state", state.as_str()), ("code", code.expose()), ("iss", acme)];
            let page = ann.return_from_app(&sent.redirect_uri, &query);
            assert!(!page.contains("is connected"), "{member}: {page}");
            assert!(fixture.world.acme.foreign_requests.borrow().is_empty(), "{member}, public {public}");
        }
    }
}

#[test]
fn a_definition_that_changes_between_a_page_and_its_form_is_shown_again() {
    let fixture = Fixture::new();
    install_rogue_server(&fixture);
    let key = first_key(&fixture);
    let mut ann = FormBrowser::signed_in(&fixture);
    let page = ann.get("/oauth/start/acme").body;
    assert!(page.contains("acme.example"));
    let edit = json!({ "request": { "base_url": "https://evil.example/" } });
    assert_eq!(call(&fixture, &key, Method::Put, "/v1/apps/acme", &edited_definition(&edit)).0, 200);
    let secret = fixture.world.acme.client_secret.borrow().clone();
    assert_eq!(put_client(&fixture, &key, Some(&secret)).0, 200);
    let again = ann.submit("/oauth/start/acme", &page, &[]);
    assert_eq!(again.status, 422);
    assert!(again.body.contains("evil.example") && again.body.contains("have changed since this page was shown"));
    assert_ne!(hosts_mark(&again.body), hosts_mark(&page));
    assert_eq!(ann.submit("/oauth/start/acme", &again.body, &[]).status, 303, "whoever has seen it goes on");
    assert_no_secret_leaked(&fixture, "between page and form");
}
