//! What happens to a connection and the line that tells of it are written together or not at all (T45).

use connections::http::Method;
use connections::ids::ConnectionId;
use serde_json::{Value, json};

use super::{call, first_key};
use crate::support::{Fault, Reply, Scene, Wound};

/// Everything that is stored of connections, credentials included.
fn stored(scene: &Scene) -> Vec<String> {
    let dump = scene.world.db.dump();
    dump.lines().filter(|line| line.starts_with("connections ")).map(str::to_owned).collect()
}

fn events(scene: &Scene) -> i64 {
    scene.world.db.number("SELECT count(*) FROM events")
}

/// Every batch that writes a line of the trail fails from now on.
fn break_the_trail(scene: &Scene) {
    let fault = Fault { sql: "INSERT INTO events", times: 1000, wound: Wound::Before };
    scene.world.db.faults.borrow_mut().push(fault);
}

type Act = fn(&Scene, &ConnectionId) -> u16;

/// By the API, with the first key.
fn by_api(scene: &Scene, method: Method, path: &str, body: &Value) -> u16 {
    call(&scene.world, &first_key(scene), method, path, body).0
}

const ACTS: [(&str, Act); 3] = [
    ("a rename", |scene, id| by_api(scene, Method::Patch, &format!("/v1/connections/{id}"), &json!({ "name": "new" }))),
    ("a policy", |scene, id| {
        by_api(scene, Method::Patch, &format!("/v1/connections/{id}"), &json!({ "allowed_workflows": ["w"] }))
    }),
    ("a key in the place of a key", |scene, id| {
        let body = json!({ "credential": { "type": "api_key", "api_key": "second" } });
        by_api(scene, Method::Put, &format!("/v1/connections/{id}/credential"), &body)
    }),
];

/// A connection by a key, so that every act is possible.
fn entered() -> (Scene, ConnectionId) {
    let scene = Scene::with(&json!({ "auth": [{ "type": "api_key", "id": "key" }] }));
    for key in ["first", "second", "third"] {
        scene.world.acme.keys.borrow_mut().insert(key.into(), "ann".into());
    }
    let body = json!({ "app": "acme", "credential": { "type": "api_key", "api_key": "first" } });
    let made = call(&scene.world, &first_key(&scene), Method::Post, "/v1/connections", &body);
    assert_eq!(made.0, 201, "{}", made.1);
    let id = made.1["id"].as_str().unwrap().to_owned();
    (scene, ConnectionId::try_from(id).unwrap())
}

#[test]
fn what_can_not_be_told_is_not_done() {
    for (what, act) in ACTS {
        let (scene, id) = entered();
        let (before, told) = (stored(&scene), events(&scene));
        break_the_trail(&scene);
        assert!(act(&scene, &id) >= 500, "{what} is said to have failed");
        assert_eq!((stored(&scene), events(&scene)), (before, told), "{what} was done without a trace");

        scene.world.db.faults.borrow_mut().clear();
        assert!(act(&scene, &id) < 300, "{what}");
        assert!(events(&scene) > told, "{what} is told");
    }
}

/// A disconnect ends the connection first: it must not wait for the app, nor for the line. The row stays until the line can be
/// written with its end.
#[test]
fn a_disconnect_that_can_not_be_told_is_erased_only_with_its_line() {
    let (scene, id) = entered();
    let told = events(&scene);
    break_the_trail(&scene);
    assert!(by_api(&scene, Method::Delete, &format!("/v1/connections/{id}"), &Value::Null) >= 500);
    assert!(scene.find(&id).is_none(), "it is gone for everybody");
    let left = || scene.world.db.number("SELECT count(*) FROM connections");
    for run in 0..2 {
        scene.world.pass(900);
        scene.tick();
        assert_eq!((left(), events(&scene)), (1, told), "run {run}");
    }
    scene.world.db.faults.borrow_mut().clear();
    scene.world.pass(900);
    scene.tick();
    assert_eq!((left(), events(&scene)), (0, told + 1));
}

#[test]
fn no_connection_is_made_repaired_or_declared_dead_without_a_line() {
    let (scene, id) = entered();
    break_the_trail(&scene);
    let body = json!({ "app": "acme", "credential": { "type": "api_key", "api_key": "third" }, "name": "another" });
    assert!(by_api(&scene, Method::Post, "/v1/connections", &body) >= 500);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM connections"), 1);
    let before = stored(&scene);
    scene.world.acme.always("/me", Some(Reply::status(401, "{\"error\":\"invalid_token\"}")));
    by_api(&scene, Method::Post, &format!("/v1/connections/{id}/check"), &Value::Null);
    assert_eq!(scene.row(&id).status.as_str(), "connected", "it is found dead by the next check");
    assert_eq!(stored(&scene), before);

    let scene = Scene::new();
    let id = scene.connect("ann");
    let sealed = scene.row(&id).sealed_credential;
    break_the_trail(&scene);
    for wish in [scene.wish(), scene.repair_of(&id)] {
        let url = scene.start(&wish, "session-of-ann");
        let (code, state) = scene.world.acme.consent(&url, "bob");
        let returned =
            connections::connect::callback::Returned { state: Some(state), code: Some(code), ..Default::default() };
        let core = scene.world.core();
        let client = scene.client.clone();
        let sessions = ["session-of-ann".to_owned()];
        let ended = scene
            .world
            .run(async { connections::connect::callback::callback(&core, &client, returned, &sessions).await });
        if let Ok(landing) = ended {
            assert!(!format!("{landing:?}").contains("Done"), "{landing:?}");
        }
        assert_eq!(scene.world.db.number("SELECT count(*) FROM connections"), 1);
        assert_eq!(scene.row(&id).sealed_credential, sealed);
    }
}
