//! No token stands in an address (RFC 9700, 4.3.2), unless a definition says that the app demands it.

use connections::http::Method;
use connections::ports::Errand;
use serde_json::json;

use super::{Browser, call, connect_link, first_key};
use crate::support::acme::CANARY;
use crate::support::{Reply, Scene};

/// Each kind of credential that a workspace defines without saying how it is sent.
#[test]
fn a_workspaces_own_app_sends_no_credential_in_an_address_unless_its_definition_says_so() {
    let scene = Scene::new();
    scene.world.acme.keys.borrow_mut().insert(format!("{CANARY}-key"), "ann".into());
    scene.world.acme.machines.borrow_mut().insert("robot".into(), format!("{CANARY}-machine"));
    let key = first_key(&scene);
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
        let made = call(&scene.world, &key, Method::Post, "/v1/apps", &app);
        assert_eq!(made.0, 201, "{}", made.1);
        let body = json!({ "app": id, "credential": credential });
        let connected = call(&scene.world, &key, Method::Post, "/v1/connections", &body);
        if auth_is_refused(&connected) {
            continue;
        }
        assert_eq!(connected.0, 201, "{}", connected.1);
        let path = format!("/v1/connections/{}", connected.1["id"].as_str().unwrap());
        scene.world.pass(60);
        call(&scene.world, &key, Method::Post, &format!("{path}/check"), &json!(null));
        let (status, resolved) = call(&scene.world, &key, Method::Post, &format!("{path}/resolve"), &json!({}));
        assert_eq!(status, 200, "{resolved}");
        let sent = &resolved["request"];
        assert_eq!((&sent["query"], &sent["base_url"]), (&json!({}), &json!("https://acme.example/")), "{sent}");
        call(&scene.world, &key, Method::Delete, &path, &json!(null));
    }
    assert!(scene.world.acme.requests() > 4, "the app was asked");
    nothing_in(&scene);
}

/// The simulated app takes no user name and password: that they are tried is enough here.
fn auth_is_refused(answer: &(u16, serde_json::Value)) -> bool {
    answer.0 == 422 && answer.1["code"] == json!("credential_rejected")
}

#[test]
fn a_consent_sends_no_code_secret_or_token_in_an_address_from_start_to_disconnect() {
    let scene = Scene::new();
    let mut ann = Browser::of(&scene, "ann");
    let pressed = ann.post(&connect_link(&scene, &json!({ "user": { "id": "ann" } })), "");
    let authorize = pressed.header("location").unwrap().to_owned();
    assert!(authorize.starts_with("https://acme.example/authorize?") && !authorize.contains(CANARY));
    let id = scene.connect("ann");
    scene.expire(&id);
    scene.need(&id);
    scene.errand(&id, Errand::CheckNow);
    for status in [302, 400, 500] {
        scene.world.pass(4000);
        let redirect = format!("https://acme.example/next?token={CANARY}");
        scene.world.acme.next("/token", Reply::status(status, "{}").header("location", &redirect));
        scene.need(&id);
    }
    scene.world.pass(90_000);
    scene.tick();
    scene.disconnect(&id).unwrap();
    assert!(scene.world.acme.count("/token") > 4 && scene.world.acme.count("/revoke") > 0);
    nothing_in(&scene);
}

fn nothing_in(scene: &Scene) {
    for address in scene.world.acme.addresses() {
        assert!(!address.contains(CANARY) && !address.contains('?'), "{address}");
    }
}
