//! Somebody who may edit an app's definition gets nothing that was given for other addresses. The simulation found these.

use std::cell::Cell;
use std::rc::Rc;

use connections::connect::callback::{Landing, Returned};
use connections::connect::settle::{Choice, choose};
use connections::connect::start::{Wish, start};
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::ErrandOutcome;
use connections::store::authorizations::Outcome;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::scene::BROWSER;
use crate::support::{Reply, Scene};

const ROGUE: &str = "rogue";

/// A scene at one realm of a host that has several. The person names the realm, and the definition allows one.
fn of_one_realm() -> Scene {
    Scene::with(&realms(&json!("main")))
}

fn realms(pattern: &Value) -> Value {
    json!({
        "variables": { "realm": { "label": "Realm", "pattern": pattern, "default": "main" } },
        "auth": {
            "authorize_url": "https://acme.example/{realm}/authorize",
            "token_url": "https://acme.example/{realm}/token",
            "revoke_url": "https://acme.example/{realm}/revoke",
        },
    })
}

/// What reached an address of the editor's.
fn astray(scene: &Scene) -> Vec<String> {
    scene.world.acme.addresses().into_iter().filter(|url| url.contains(ROGUE)).collect()
}

fn ended(scene: &Scene, landing: &Landing) -> (Outcome, Option<String>) {
    let Landing::Flow(id) = landing else { panic!("{landing:?}") };
    let flow = scene.read_flow(id);
    (flow.outcome, flow.error)
}

#[test]
fn a_loosened_rule_of_a_placeholder_makes_another_client_with_another_redirect_uri() {
    for pattern in [Value::Null, json!("[a-z]+")] {
        let scene = of_one_realm();
        let id = scene.connect("ann");
        scene.revise(&realms(&pattern));
        scene.enter_secret("made-up");
        let mut wish: Wish = scene.repair_of(&id);
        wish.variables.insert("realm".into(), ROGUE.into());
        let url = scene.start(&wish, BROWSER);
        assert!(url.starts_with("https://acme.example/rogue/authorize?"), "{url}");
        let registered = scene.client().redirect_id;
        assert!(!url.contains(registered.as_str()), "the app's own redirect URI is used at another server: {url}");
        // The other server sends the person on to the app's own page, and the app sends them to the address that it knows.
        let (code, state) = scene.world.acme.consent(&url, "ann");
        let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
        let landing = scene.come_back(returned, BROWSER);
        assert_eq!(ended(&scene, &landing), (Outcome::Failed, Some("wrong_issuer".into())));
        assert_eq!(astray(&scene), [""; 0]);
    }
}

#[test]
fn a_flow_ends_when_its_secret_was_entered_for_other_addresses_since_it_began() {
    for changed in [
        json!({ "identity": { "url": "https://rogue.example/me" } }),
        json!({ "check": { "url": "https://rogue.example/me" } }),
        json!({ "auth": { "revoke_url": "https://rogue.example/revoke" } }),
    ] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        let secret = scene.world.acme.client_secret.borrow().clone();
        scene.revise(&changed);
        scene.enter_secret("made-up");
        let url = scene.start(&scene.repair_of(&id), BROWSER);
        let (code, state) = scene.world.acme.consent(&url, "ann");
        scene.revise(&json!({}));
        scene.enter_secret(&secret);
        let before = scene.world.acme.count("/token");
        let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
        let landing = scene.come_back(returned, BROWSER);
        assert_eq!(ended(&scene, &landing), (Outcome::Failed, Some("addresses_changed".into())), "{changed}");
        assert_eq!(scene.world.acme.count("/token"), before, "the secret is not used: {changed}");
        assert_eq!(astray(&scene), [""; 0], "{changed}");
        assert_eq!(scene.flow(&scene.repair_of(&id), "ann").outcome, Outcome::Done, "the next flow goes as usual");
    }
}

#[test]
fn a_flow_goes_on_when_the_same_secret_is_entered_for_more_addresses() {
    let scene = Scene::new();
    let secret = scene.world.acme.client_secret.borrow().clone();
    let url = scene.start(&scene.wish(), BROWSER);
    let (code, state) = scene.world.acme.consent(&url, "ann");
    scene.revise(&json!({ "check": { "url": "https://api.acme.example/me" } }));
    scene.enter_secret(&secret);
    let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
    let landing = scene.come_back(returned, BROWSER);
    assert_eq!(ended(&scene, &landing), (Outcome::Done, None));
}

fn keyed(check: &str) -> Value {
    let auth = json!({
        "type": "api_key", "authorize_url": null, "token_url": null, "revoke_url": null, "rotation": null,
    });
    json!({ "auth": auth, "scopes": null, "identity": null, "check": { "url": check } })
}

/// A scene with an app that people enter a key for, and a connection to it.
fn with_a_key() -> (Scene, ConnectionId) {
    let scene = Scene::new();
    scene.world.acme.keys.borrow_mut().extend([("first".into(), "ann".into()), ("second".into(), "ann".into())]);
    scene.revise(&keyed("https://acme.example/me"));
    let body = json!({ "app": "acme", "credential": { "type": "api_key", "api_key": "first" } });
    let (status, made) = call(&scene, &first_key(&scene), Method::Post, "/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().unwrap().to_owned();
    (scene, ConnectionId::try_from(id).unwrap_or_else(|_| panic!("{made}")))
}

#[test]
fn a_key_goes_to_the_hosts_that_were_agreed_to_whenever_the_definition_changes() {
    // The definition changes before the first statement that reads it, before the second, and so on.
    for turn in 0..8 {
        let (scene, id) = with_a_key();
        let (left, edited) = (Cell::new(turn), keyed("https://rogue.example/me"));
        let edited = edited_definition(&edited).to_string().replace('\'', "''");
        let db = Rc::downgrade(&scene.world.db);
        *scene.world.db.weather.borrow_mut() = Some(Box::new(move |statements| {
            if statements.iter().any(|one| one.sql.starts_with("SELECT * FROM apps")) {
                if left.get() == 0
                    && let Some(db) = db.upgrade()
                {
                    db.tamper(&format!("UPDATE apps SET definition = '{edited}' WHERE is_current = 1"));
                }
                left.set(left.get() - 1);
            }
            None
        }));
        // Without an identity nobody knows whether the account is the same.
        let body = json!({ "credential": { "type": "api_key", "api_key": "second" }, "switch_account": true });
        let path = format!("/v1/connections/{id}/credential");
        let (status, answer) = call(&scene, &first_key(&scene), Method::Put, &path, &body);
        assert_eq!(astray(&scene), [""; 0], "turn {turn}: {answer}");
        let expected = (status, answer["code"].as_str());
        assert!(matches!(expected, (200, None) | (409, Some("addresses_changed"))), "turn {turn}: {answer}");
    }
}

fn edited_definition(patch: &Value) -> Value {
    let mut definition = crate::support::scene::definition();
    crate::support::scene::merge(&mut definition, patch);
    definition
}

#[test]
fn a_flow_begins_where_its_offer_said() {
    let scene = Scene::new();
    let core = scene.world.core();
    let wish = scene.wish();
    let offer = scene.world.run(async { connections::connect::start::offer(&core, &wish).await.unwrap() });
    scene.define(&json!({ "auth": {
        "authorize_url": "https://rogue.example/authorize", "token_url": "https://rogue.example/token",
    }}));
    let of_offer = async { connections::connect::start::start_offered(&core, (&wish, &offer), BROWSER).await.unwrap() };
    assert!(scene.world.run(of_offer).starts_with("https://acme.example/authorize?"));
    let anew = scene.world.run(async { start(&core, &wish, BROWSER).await.unwrap() });
    assert!(anew.starts_with("https://rogue.example/authorize?"), "{anew}");
}

/// The account that the editor's identity request names instead of the person's.
fn named_by_the_editor(scene: &Scene) {
    scene.revise(&json!({ "identity": { "url": "https://acme.example/rogue-me", "id": "/sub", "label": "/email" } }));
    let whoever = r#"{"sub":"id-whoever","email":"whoever@acme.example"}"#;
    scene.world.acme.always("/rogue-me", Some(Reply::status(200, whoever)));
}

#[test]
fn a_grant_that_an_edited_definition_calls_another_accounts_is_not_revoked_while_a_connection_may_live_on_it() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.pass(60);
    named_by_the_editor(&scene);
    let flow = scene.flow(&scene.repair_of(&id), "ann");
    assert_eq!(flow.outcome, Outcome::Undecided, "another account, as it seems");
    let keep = |flow| scene.world.run(async { choose(&scene.world.core(), flow, Choice::Keep).await });
    keep(&flow).unwrap();
    assert!(scene.world.acme.revoked().is_empty());
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed, "the grant that the connection lives on is there");
}

#[test]
fn a_grant_of_another_account_is_revoked_where_the_definition_is_that_of_the_connections() {
    let scene = Scene::new();
    named_by_the_editor(&scene);
    scene.world.acme.always("/rogue-me", None);
    scene.world.acme.next("/rogue-me", Reply::status(200, r#"{"sub":"id-ann","email":"ann@acme.example"}"#));
    scene.world.pass(60);
    let id = scene.connect("ann");
    scene.world.acme.next("/rogue-me", Reply::status(200, r#"{"sub":"id-bob","email":"bob@acme.example"}"#));
    let flow = scene.flow(&scene.repair_of(&id), "bob");
    scene.world.run(async { choose(&scene.world.core(), &flow, Choice::Keep).await }).unwrap();
    assert!(!scene.world.acme.is_alive("bob") && scene.world.acme.is_alive("ann"));
}
