//! A2: an answer that comes from another server, or at another address, than the flow began with.

use std::collections::BTreeMap;

use connections::http::Method;
use serde_json::{Value, json};

use super::{
    Person, Sent, attackers_key, edited, mark_of, nothing_leaked, put_app, put_client, redirect_uri, rogue, stranger,
};
use crate::http::{call, first_key};
use crate::support::{Reply, Scene};

const WRONG: &str = "did not come from the app that was asked";

#[test]
fn an_evil_authorize_endpoint_that_bounces_to_the_honest_server_gets_no_code() {
    for honest_token_url in [false, true] {
        let scene = Scene::new();
        let registered = redirect_uri(&scene);
        rogue(&scene);
        let evil = attackers_key(&scene);
        let mut auth = json!({ "authorize_url": "https://evil.example/authorize" });
        if !honest_token_url {
            auth["token_url"] = "https://evil.example/token".into();
        }
        put_app(&scene, &evil, &json!({ "auth": auth }));
        assert_eq!(put_client(&scene, &evil, Some("whatever")).0, 200);
        let mut ann = Person::signed_in(&scene);
        let pressed = ann.press("/oauth/start/acme", &[]);
        let sent = Sent::of(&pressed);
        assert_ne!(sent.redirect_uri, registered, "another authorization server has another redirect URI");
        let code = sent.bounced(&scene, &registered, "ann");
        let page = ann.come_back(&registered, &[("state", &sent.state), ("code", code.expose())]);
        assert!(page.contains(WRONG), "{page}");
        assert!(scene.world.acme.elsewhere.borrow().is_empty(), "nothing was sent");
        assert_eq!(scene.world.acme.requests(), 0);
    }
}

#[test]
fn an_answer_at_the_redirect_uri_of_another_client_is_refused() {
    let scene = Scene::new();
    let first = redirect_uri(&scene);
    let mut ann = Person::signed_in(&scene);
    let at_first = Sent::of(&ann.press("/oauth/start/acme", &[]));
    scene.define(&json!({ "auth": { "token_url": "https://acme.example/realm/token" } }));
    let second = redirect_uri(&scene);
    assert_ne!(first, second);
    let at_second = Sent::of(&ann.press("/oauth/start/acme", &[]));
    for (sent, wrong) in [(at_first, &second), (at_second, &first)] {
        let (code, state) = scene.world.acme.consent(&sent.url, "ann");
        let page = ann.come_back(wrong, &[("state", &state), ("code", code.expose())]);
        assert!(page.contains(WRONG), "{page}");
    }
    assert_eq!(scene.world.acme.requests(), 0);
}

/// The page after a consent at which the app names this issuer.
fn with_iss(scene: &Scene, iss: Option<&str>) -> String {
    let mut ann = Person::signed_in(scene);
    let sent = Sent::of(&ann.press("/oauth/start/acme", &[]));
    let (code, state) = scene.world.acme.consent(&sent.url, "ann");
    let query: Vec<_> =
        [("state", state.as_str()), ("code", code.expose())].into_iter().chain(iss.map(|iss| ("iss", iss))).collect();
    ann.come_back(&sent.redirect_uri, &query)
}

#[test]
fn the_issuer_of_an_answer_is_compared_or_refused_where_it_is_unknown() {
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
        ("written", written.clone(), Some(wrong), Some(WRONG)),
        ("written", written.clone(), Some("https://acme.example/"), Some(WRONG)),
        ("written", written, Some("https://ACME.example"), Some(WRONG)),
        ("discovered and promised", discovered.clone(), Some(right), None),
        ("discovered and promised", discovered.clone(), None, Some(WRONG)),
        ("discovered and promised", discovered, Some(wrong), Some(WRONG)),
    ] {
        let scene = Scene::with(&patch);
        let page = with_iss(&scene, iss);
        match refused {
            Some(words) => {
                assert!(page.contains(words), "{what} {iss:?}: {page}");
                assert_eq!(scene.world.acme.count("/token"), 0, "{what} {iss:?}");
            }
            None => assert_eq!(scene.world.acme.count("/me"), 1, "{what} {iss:?}: {page}"),
        }
    }
}

#[test]
fn an_app_of_the_catalogue_may_name_an_issuer_only_where_the_catalogue_does_not_know_better() {
    for (app, iss, is_taken) in [
        ("gmail", Some("https://accounts.google.com"), true),
        ("gmail", None, true),
        ("gmail", Some("https://evil.example"), false),
        ("google-drive", Some("https://accounts.google.com/"), false),
        ("notion", Some("https://whatever.example"), true),
        ("notion", None, true),
    ] {
        let way = connections::catalogue::find(app).unwrap().oauth2().unwrap();
        let scene = Scene::of_catalogue(&way, ("c", "canary7f3a-secret"), BTreeMap::new());
        stranger(&scene, |_| Some(json!({ "access_token": "t", "token_type": "bearer", "bot_id": "b", "id": "i" })));
        let mut ann = Person::signed_in(&scene);
        let sent = Sent::of(&ann.press(&format!("/oauth/start/{app}"), &[]));
        let mut query = vec![("state", sent.state.as_str()), ("code", "c")];
        query.extend(iss.map(|iss| ("iss", iss)));
        ann.come_back(&sent.redirect_uri, &query);
        assert_eq!(!scene.world.acme.elsewhere.borrow().is_empty(), is_taken, "{app} {iss:?}");
    }
}

#[test]
fn a_definition_that_changes_during_a_flow_changes_nothing_about_the_flow() {
    let scene = Scene::new();
    rogue(&scene);
    let mut ann = Person::signed_in(&scene);
    let pressed = ann.press("/oauth/start/acme", &[]);
    let evil = attackers_key(&scene);
    let everywhere = json!({ "auth": { "token_url": "https://evil.example/token" },
        "identity": { "url": "https://evil.example/me" }, "request": { "base_url": "https://evil.example" } });
    put_app(&scene, &evil, &everywhere);
    put_client(&scene, &evil, Some("whatever"));
    let page = ann.consent(&pressed, "ann");
    assert!(page.contains("connected") || scene.world.db.number("SELECT count(*) FROM connections") == 1, "{page}");
    assert_eq!(scene.world.acme.count("/me"), 1);
    assert!(scene.world.acme.elsewhere.borrow().is_empty());
}

#[test]
fn a_client_that_is_deleted_and_made_again_during_a_flow_ends_the_flow() {
    let scene = Scene::new();
    rogue(&scene);
    let mut ann = Person::signed_in(&scene);
    let pressed = ann.press("/oauth/start/acme", &[]);
    let evil = attackers_key(&scene);
    super::done(&scene, &evil, Method::Delete, "/v1/apps/acme/client", &Value::Null);
    assert_eq!(put_client(&scene, &evil, Some("whatever")).0, 200);
    ann.consent(&pressed, "ann");
    assert_eq!(scene.world.acme.requests(), 0, "neither code nor verifier is sent for another's client");
}

#[test]
fn a_discovery_document_that_changes_during_a_flow_gets_no_code() {
    let acme = "https://acme.example";
    let scene = Scene::with(
        &json!({ "auth": { "issuer": acme, "authorize_url": null, "token_url": null, "revoke_url": null } }),
    );
    for public in [false, true] {
        if public {
            // A client without a secret: there is none that could be refused first.
            scene.world.db.tamper("UPDATE oauth_clients SET sealed_secret = NULL");
        }
        for (member, changed) in
            [("token_endpoint", "https://evil.example/token"), ("userinfo_endpoint", "https://evil.example/me")]
        {
            rogue(&scene);
            scene.world.acme.calm();
            scene.world.kv.held.borrow_mut().clear();
            let mut ann = Person::signed_in(&scene);
            let sent = Sent::of(&ann.press("/oauth/start/acme", &[]));
            let mut document = json!({ "issuer": acme, "authorization_endpoint": "https://acme.example/authorize",
                "token_endpoint": "https://acme.example/token", "userinfo_endpoint": "https://acme.example/me" });
            document[member] = changed.into();
            let reply = Reply::status(200, &document.to_string());
            scene.world.acme.always("/.well-known/openid-configuration", Some(reply));
            scene.world.kv.held.borrow_mut().clear();
            let (code, state) = scene.world.acme.consent(&sent.url, "ann");
            let query = [("state", state.as_str()), ("code", code.expose()), ("iss", acme)];
            let page = ann.come_back(&sent.redirect_uri, &query);
            assert!(!page.contains("is connected"), "{member}: {page}");
            assert!(scene.world.acme.elsewhere.borrow().is_empty(), "{member}, public {public}");
        }
    }
}

#[test]
fn a_definition_that_changes_between_a_page_and_its_form_is_shown_again() {
    let scene = Scene::new();
    rogue(&scene);
    let key = first_key(&scene);
    let mut ann = Person::signed_in(&scene);
    let page = ann.get("/oauth/start/acme").body;
    assert!(page.contains("acme.example"));
    let edit = json!({ "request": { "base_url": "https://evil.example/" } });
    assert_eq!(call(&scene, &key, Method::Put, "/v1/apps/acme", &edited(&edit)).0, 200);
    let secret = scene.world.acme.client_secret.borrow().clone();
    assert_eq!(put_client(&scene, &key, Some(&secret)).0, 200);
    let again = ann.submit("/oauth/start/acme", &page, &[]);
    assert_eq!(again.status, 422);
    assert!(again.body.contains("evil.example") && again.body.contains("have changed since this page was shown"));
    assert_ne!(mark_of(&again.body), mark_of(&page));
    assert_eq!(ann.submit("/oauth/start/acme", &again.body, &[]).status, 303, "whoever has seen it goes on");
    nothing_leaked(&scene, "between page and form");
}
