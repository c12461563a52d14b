//! No token is in an address (RFC 9700, 4.3.2), unless a definition says that the app requires it.

use connections::http::Method;
use connections::ports::RefreshReason;
use serde_json::json;

use super::{CookieBrowser, call, first_key, make_connect_link};
use crate::support::acme::CANARY;
use crate::support::{Fixture, Reply};

/// Each type of credential that a workspace defines without saying how it is sent.
#[test]
fn a_custom_app_sends_a_credential_in_an_address_only_if_its_definition_says_so() {
    let fixture = Fixture::new();
    fixture.world.acme.api_keys.borrow_mut().insert(format!("{CANARY}-key"), "ann".into());
    fixture.world.acme.client_credentials.borrow_mut().insert("robot".into(), format!("{CANARY}-machine"));
    let key = first_key(&fixture);
    let identity = json!({ "url": "https://acme.example/me", "id": "/sub", "label": "/email" });
    let ways = [
        (json!({ "type": "api_key" }), json!({ "type": "api_key", "api_key": format!("{CANARY}-key") })),
        (json!({ "type": "bot_token" }), json!({ "type": "bot_token", "token": format!("{CANARY}-key") })),
        (
            json!({ "type": "basic" }),
            json!({ "type": "basic", "username": "ann", "password": format!("{CANARY}-key") }),
        ),
        (
            json!({ "type": "client_credentials", "token_url": "https://acme.example/token", "client_auth": "basic" }),
            json!({ "type": "client_credentials", "client_id": "robot", "client_secret": format!("{CANARY}-machine") }),
        ),
    ];
    for (number, (auth, credential)) in ways.into_iter().enumerate() {
        let id = format!("own{number}");
        let app = json!({ "id": id, "name": format!("Own {number}"), "auth": auth, "identity": identity, "request": { "base_url": "https://acme.example/" } });
        let made = call(&fixture.world, &key, Method::Post, "/v1/apps", &app);
        assert_eq!(made.0, 201, "{}", made.1);
        let body = json!({ "app": id, "credential": credential });
        let connected = call(&fixture.world, &key, Method::Post, "/v1/connections", &body);
        if is_credential_rejected(&connected) {
            continue;
        }
        assert_eq!(connected.0, 201, "{}", connected.1);
        let path = format!("/v1/connections/{}", connected.1["id"].as_str().unwrap());
        fixture.world.advance_clock(60);
        call(&fixture.world, &key, Method::Post, &format!("{path}/check"), &json!(null));
        let (status, resolved) = call(&fixture.world, &key, Method::Post, &format!("{path}/resolve"), &json!({}));
        assert_eq!(status, 200, "{resolved}");
        let sent = &resolved["request"];
        assert_eq!((&sent["query"], &sent["base_url"]), (&json!({}), &json!("https://acme.example/")), "{sent}");
        call(&fixture.world, &key, Method::Delete, &path, &json!(null));
    }
    assert!(fixture.world.acme.count_all_requests() > 4, "the app was asked");
    assert_no_secret_in_urls(&fixture);
}

/// The simulated app accepts no user name and password. It is enough here that they are sent.
fn is_credential_rejected(answer: &(u16, serde_json::Value)) -> bool {
    answer.0 == 422 && answer.1["code"] == json!("credential_rejected")
}

#[test]
fn a_consent_sends_no_code_secret_or_token_in_an_address_from_start_to_disconnect() {
    let fixture = Fixture::new();
    let mut ann = CookieBrowser::signed_in_as(&fixture, "ann");
    let pressed = ann.post(&make_connect_link(&fixture, &json!({ "user": { "id": "ann" } })), "");
    let authorize = pressed.header("location").unwrap().to_owned();
    assert!(authorize.starts_with("https://acme.example/authorize?") && !authorize.contains(CANARY));
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    fixture.refresh_if_needed(&id);
    fixture.refresh(&id, RefreshReason::OnDemandCheck);
    for status in [302, 400, 500] {
        fixture.world.advance_clock(4000);
        let redirect = format!("https://acme.example/next?token={CANARY}");
        fixture.world.acme.script_next("/token", Reply::status(status, "{}").with_header("location", &redirect));
        fixture.refresh_if_needed(&id);
    }
    fixture.world.advance_clock(90_000);
    fixture.run_scheduled();
    fixture.disconnect(&id).unwrap();
    assert!(fixture.world.acme.count_requests("/token") > 4 && fixture.world.acme.count_requests("/revoke") > 0);
    assert_no_secret_in_urls(&fixture);
}

fn assert_no_secret_in_urls(fixture: &Fixture) {
    for address in fixture.world.acme.requested_urls() {
        assert!(!address.contains(CANARY) && !address.contains('?'), "{address}");
    }
}
