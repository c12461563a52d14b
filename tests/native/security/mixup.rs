//! A code is sent only to the server that issued it (RFC 9700 4.4, its update's UPD-5 and UPD-6, T4): each app has its
//! own redirect URI, the state is bound to it, and `iss` is compared if the server has an issuer.

use connections::http::Method;
use serde_json::{Value, json};
use url::Url;

use super::{CookieBrowser, call, first_key, make_connect_link};
use crate::support::Fixture;

/// Defines an app in the fixture's workspace and enters its client. Returns the path of its redirect URI.
fn create_app_and_client(fixture: &Fixture, id: &str, auth: &Value) -> String {
    let key = first_key(fixture);
    let app = json!({ "id": id, "name": id, "auth": auth, "scopes": ["openid"], "identity": { "url": format!("https://{id}.example/me"), "id": "/sub", "label": "/email" } });
    let made = call(&fixture.world, &key, Method::Post, "/v1/apps", &app);
    assert_eq!(made.0, 201, "{}", made.1);
    // The id of the victim app's client. The attacker copies it.
    let client = json!({ "client_id": "acme-client", "client_secret": "evil" });
    let put = call(&fixture.world, &key, Method::Put, &format!("/v1/apps/{id}/client"), &client);
    assert_eq!(put.0, 200, "{}", put.1);
    put.1["redirect_uri"].as_str().unwrap().trim_start_matches(super::PUBLIC_URL).to_owned()
}

fn oauth_json(host: &str) -> Value {
    json!({ "type": "oauth2", "authorize_url": format!("https://{host}/authorize"), "token_url": format!("https://{host}/token") })
}

/// Starts a flow by a link. Returns the app's address, and the state.
fn begin_flow(browser: &mut CookieBrowser<'_>, fixture: &Fixture, app: &str) -> (Url, String) {
    let pressed = browser.post(&make_connect_link(fixture, &json!({ "app": app })), "");
    let url = Url::parse(pressed.header("location").unwrap_or_else(|| panic!("{}", pressed.body))).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    (url, state)
}

fn count_requests_to(fixture: &Fixture, host: &str) -> usize {
    fixture
        .world
        .acme
        .requested_urls()
        .iter()
        .filter(|address| Url::parse(address).unwrap().host_str() == Some(host))
        .count()
}

/// COAT: the attacker app's authorize endpoint redirects the browser to the victim server, with that server's client id
/// and redirect URI and the state of the flow that the attacker app started.
#[test]
fn a_flow_of_one_app_is_not_completed_with_the_code_of_another() {
    let fixture = Fixture::new();
    let honest = format!("/oauth/callback/{}", fixture.client);
    for (number, evil_state_at_honest) in [true, false].into_iter().enumerate() {
        let host = format!("evil{number}");
        let evil = create_app_and_client(&fixture, &host, &oauth_json(&format!("{host}.example")));
        assert_ne!(evil, honest, "each has a redirect URI of its own");
        let mut victim = CookieBrowser::new(&fixture);
        let (_, evil_state) = begin_flow(&mut victim, &fixture, &host);
        let (honest_url, honest_state) = begin_flow(&mut victim, &fixture, "acme");
        let (code, _) = fixture.world.acme.consent(honest_url.as_str(), "victim");
        let (path, state) = if evil_state_at_honest { (&honest, &evil_state) } else { (&evil, &honest_state) };
        let before = fixture.world.acme.count_all_requests();
        for extra in ["", "&iss=https://acme.example", "&iss=https://evil.example"] {
            let back = victim.get(&format!("{path}?state={state}&code={}{extra}", code.expose()));
            let page = victim.get(back.header("location").unwrap()).body;
            assert!(!page.contains("is connected as"), "{page}");
        }
        assert_eq!(fixture.world.acme.count_all_requests(), before, "nobody was sent a code, a verifier or a secret");
        assert_eq!(count_requests_to(&fixture, &format!("{host}.example")), 0);
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 0);
}

/// UPD-6: manually entered endpoints have no issuer to compare, so the redirect URI must distinguish the apps. An app
/// with an issuer has both.
#[test]
fn every_app_of_a_workspace_has_its_own_redirect_uri() {
    let fixture = Fixture::new();
    let mut seen = std::collections::BTreeSet::from([format!("/oauth/callback/{}", fixture.client)]);
    let issuer = json!({ "type": "oauth2", "issuer": "https://acme.example" });
    for (id, auth) in [("typed1", oauth_json("one.example")), ("typed2", oauth_json("one.example")), ("found", issuer)]
    {
        assert!(seen.insert(create_app_and_client(&fixture, id, &auth)), "{id}");
    }
    let key = first_key(&fixture);
    for app in ["slack", "github", "notion"] {
        let client = json!({ "client_id": "acme-client", "client_secret": "s" });
        let put = call(&fixture.world, &key, Method::Put, &format!("/v1/apps/{app}/client"), &client);
        assert!(seen.insert(put.1["redirect_uri"].as_str().unwrap().to_owned()), "{app}: {}", put.1);
    }
    let stranger = fixture.other_workspace();
    assert!(seen.insert(format!("/oauth/callback/{}", stranger.client)), "nor do workspaces share one");
    for (path, app) in [("typed1", "typed1"), ("found", "found")] {
        let mut browser = CookieBrowser::new(&fixture);
        let (url, _) = begin_flow(&mut browser, &fixture, app);
        let redirect = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
        assert!(seen.contains(redirect.trim_start_matches(super::PUBLIC_URL)), "{path}: {redirect}");
    }
}

#[test]
fn an_app_with_an_issuer_accepts_no_callback_of_another_issuer() {
    let fixture = Fixture::new();
    let issuer = json!({ "type": "oauth2", "issuer": "https://acme.example" });
    let callback = create_app_and_client(&fixture, "found", &issuer);
    for iss in [
        "",
        "&iss=",
        "&iss=https://evil.example",
        "&iss=https://acme.example/",
        "&iss=HTTPS://ACME.example",
        "&iss=https://acme.example&iss=https://evil.example",
    ] {
        let mut browser = CookieBrowser::new(&fixture);
        let (url, state) = begin_flow(&mut browser, &fixture, "found");
        let (code, _) = fixture.world.acme.consent(url.as_str(), "ann");
        let before = fixture.world.acme.count_requests("/token");
        browser.get(&format!("{callback}?state={state}&code={}{iss}", code.expose()));
        assert_eq!(fixture.world.acme.count_requests("/token"), before, "{iss}");
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 0);
}
