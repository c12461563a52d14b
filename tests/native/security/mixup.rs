//! A code goes only to the server that it is from (RFC 9700 4.4, its update's UPD-5 and UPD-6, T4): each app has its own
//! redirect URI, the state is bound to it, and `iss` is compared where the server is known by an issuer.

use connections::http::Method;
use serde_json::{Value, json};
use url::Url;

use super::{Browser, call, connect_link, first_key};
use crate::support::Scene;

/// Defines an app in the scene's workspace, enters its client, and answers its redirect URI's path.
fn define(scene: &Scene, id: &str, auth: &Value) -> String {
    let key = first_key(scene);
    let app = json!({ "id": id, "name": id, "auth": auth, "scopes": ["openid"], "identity": { "url": format!("https://{id}.example/me"), "id": "/sub", "label": "/email" } });
    let made = call(&scene.world, &key, Method::Post, "/v1/apps", &app);
    assert_eq!(made.0, 201, "{}", made.1);
    // The id of the honest app's client: the attacker copies it.
    let client = json!({ "client_id": "acme-client", "client_secret": "evil" });
    let put = call(&scene.world, &key, Method::Put, &format!("/v1/apps/{id}/client"), &client);
    assert_eq!(put.0, 200, "{}", put.1);
    put.1["redirect_uri"].as_str().unwrap().trim_start_matches(super::BASE).to_owned()
}

fn typed(host: &str) -> Value {
    json!({ "type": "oauth2", "authorize_url": format!("https://{host}/authorize"), "token_url": format!("https://{host}/token") })
}

/// Begins a flow by a link: where the app is, and the state.
fn begin(browser: &mut Browser<'_>, scene: &Scene, app: &str) -> (Url, String) {
    let pressed = browser.post(&connect_link(scene, &json!({ "app": app })), "");
    let url = Url::parse(pressed.header("location").unwrap_or_else(|| panic!("{}", pressed.body))).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    (url, state)
}

fn asked_of(scene: &Scene, host: &str) -> usize {
    scene.world.acme.addresses().iter().filter(|address| Url::parse(address).unwrap().host_str() == Some(host)).count()
}

/// COAT: the evil app's authorize endpoint sends the browser on to the honest server, with that one's client id and redirect
/// URI and the state of the flow that the evil app began.
#[test]
fn a_flow_of_one_app_is_never_finished_with_the_code_of_another() {
    let scene = Scene::new();
    let honest = format!("/oauth/callback/{}", scene.client);
    for (number, evil_state_at_honest) in [true, false].into_iter().enumerate() {
        let host = format!("evil{number}");
        let evil = define(&scene, &host, &typed(&format!("{host}.example")));
        assert_ne!(evil, honest, "each has a redirect URI of its own");
        let mut victim = Browser::new(&scene);
        let (_, evil_state) = begin(&mut victim, &scene, &host);
        let (honest_url, honest_state) = begin(&mut victim, &scene, "acme");
        let (code, _) = scene.world.acme.consent(honest_url.as_str(), "victim");
        let (path, state) = if evil_state_at_honest { (&honest, &evil_state) } else { (&evil, &honest_state) };
        let before = scene.world.acme.requests();
        for extra in ["", "&iss=https://acme.example", "&iss=https://evil.example"] {
            let back = victim.get(&format!("{path}?state={state}&code={}{extra}", code.expose()));
            let page = victim.get(back.header("location").unwrap()).body;
            assert!(!page.contains("is connected as"), "{page}");
        }
        assert_eq!(scene.world.acme.requests(), before, "nobody was sent a code, a verifier or a secret");
        assert_eq!(asked_of(&scene, &format!("{host}.example")), 0);
    }
    assert_eq!(scene.world.db.number("SELECT count(*) FROM connections"), 0);
}

/// UPD-6: endpoints that somebody typed have no issuer to compare, so the redirect URI has to tell the apps apart; an app that
/// is known by its issuer has both.
#[test]
fn every_app_of_a_workspace_has_a_redirect_uri_of_its_own_however_its_server_is_known() {
    let scene = Scene::new();
    let mut seen = std::collections::BTreeSet::from([format!("/oauth/callback/{}", scene.client)]);
    let issuer = json!({ "type": "oauth2", "issuer": "https://acme.example" });
    for (id, auth) in [("typed1", typed("one.example")), ("typed2", typed("one.example")), ("found", issuer)] {
        assert!(seen.insert(define(&scene, id, &auth)), "{id}");
    }
    let key = first_key(&scene);
    for app in ["slack", "github", "notion"] {
        let client = json!({ "client_id": "acme-client", "client_secret": "s" });
        let put = call(&scene.world, &key, Method::Put, &format!("/v1/apps/{app}/client"), &client);
        assert!(seen.insert(put.1["redirect_uri"].as_str().unwrap().to_owned()), "{app}: {}", put.1);
    }
    let stranger = scene.neighbour();
    assert!(seen.insert(format!("/oauth/callback/{}", stranger.client)), "nor do workspaces share one");
    for (path, app) in [("typed1", "typed1"), ("found", "found")] {
        let mut browser = Browser::new(&scene);
        let (url, _) = begin(&mut browser, &scene, app);
        let redirect = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
        assert!(seen.contains(redirect.trim_start_matches(super::BASE)), "{path}: {redirect}");
    }
}

#[test]
fn an_app_that_is_known_by_its_issuer_takes_no_answer_of_another_issuer_or_of_none() {
    let scene = Scene::new();
    let issuer = json!({ "type": "oauth2", "issuer": "https://acme.example" });
    let callback = define(&scene, "found", &issuer);
    for iss in [
        "",
        "&iss=",
        "&iss=https://evil.example",
        "&iss=https://acme.example/",
        "&iss=HTTPS://ACME.example",
        "&iss=https://acme.example&iss=https://evil.example",
    ] {
        let mut browser = Browser::new(&scene);
        let (url, state) = begin(&mut browser, &scene, "found");
        let (code, _) = scene.world.acme.consent(url.as_str(), "ann");
        let before = scene.world.acme.count("/token");
        browser.get(&format!("{callback}?state={state}&code={}{iss}", code.expose()));
        assert_eq!(scene.world.acme.count("/token"), before, "{iss}");
    }
    assert_eq!(scene.world.db.number("SELECT count(*) FROM connections"), 0);
}
