//! Checks and tests that somebody asks for: the app is asked once, however often and from wherever.

use connections::http::Method;
use connections::ports::{Errand, ErrandOutcome};
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::{Reply, Scene, Way, World};

/// Checks a connection as a program does: status and answer.
fn check(scene: &Scene, path: &str) -> Value {
    let (status, body) = call(scene, &first_key(scene), Method::Post, path, &Value::Null);
    assert_eq!(status, 200, "{body}");
    body
}

#[test]
fn a_check_asks_the_app_once_in_thirty_seconds() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let path = format!("/v1/connections/{id}/check");
    let before = scene.world.acme.count("/me");
    let first = check(&scene, &path);
    for second in 0..30 {
        let again = check(&scene, &path);
        assert_eq!((&again["health"], &again["checked_at"]), (&json!("healthy"), &first["checked_at"]), "{second}");
        scene.world.pass(i64::from(second < 29));
    }
    assert_eq!(scene.world.acme.count("/me") - before, 1);
    scene.world.pass(1);
    assert_ne!(check(&scene, &path)["checked_at"], first["checked_at"]);
    assert_eq!(scene.world.acme.count("/me") - before, 2);
}

#[test]
fn checks_at_once_ask_the_app_once() {
    let scene = Scene::in_world(&World::new(Way::Object, None), &json!({}));
    let id = scene.connect("ann");
    let before = scene.world.acme.count("/me");
    let outcomes = scene.world.at_once((0..30).map(|_| scene.world.errand(&id, Errand::CheckNow)));
    assert!(outcomes.iter().all(|outcome| *outcome == ErrandOutcome::Healthy), "{outcomes:?}");
    assert_eq!(scene.world.acme.count("/me") - before, 1);
}

#[test]
fn a_new_connection_or_credential_is_checked_at_once() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let path = format!("/v1/connections/{id}/check");
    assert_eq!(check(&scene, &path)["evidence"], "probe: accepted");
    scene.flow(&scene.repair_of(&id), "ann");
    let before = scene.world.acme.count("/me");
    assert_eq!(check(&scene, &path)["health"], "healthy");
    assert_eq!(scene.world.acme.count("/me") - before, 1);
}

#[test]
fn after_a_failed_check_another_may_follow_in_five_seconds() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let path = format!("/v1/connections/{id}/check");
    scene.world.acme.always("/me", Some(Reply::status(500, "")));
    let before = scene.world.acme.count("/me");
    for _ in 0..5 {
        assert_eq!(check(&scene, &path)["health"], "app_unavailable");
    }
    assert_eq!(scene.world.acme.count("/me") - before, 1);
    scene.world.acme.always("/me", None);
    scene.world.pass(5);
    assert_eq!(check(&scene, &path)["health"], "healthy", "what was repaired at the app is seen");
}

#[test]
fn a_connection_whose_credential_was_refused_is_asked_about_once_in_five_seconds() {
    let scene = Scene::new();
    scene.world.acme.gives_refresh_token.set(false);
    let id = scene.connect("ann");
    let path = format!("/v1/connections/{id}/check");
    scene.world.acme.always("/me", Some(Reply::status(401, "{}")));
    let before = scene.world.acme.count("/me");
    for _ in 0..5 {
        assert_eq!(check(&scene, &path)["health"], "dead");
    }
    assert_eq!(scene.world.acme.count("/me") - before, 1);
    scene.world.acme.always("/me", None);
    scene.world.pass(5);
    assert_eq!(check(&scene, &path)["health"], "healthy", "what was repaired at the app is seen");
}

#[test]
fn what_does_not_open_is_said_to_be_unreadable_however_fresh_the_last_check_is() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let path = format!("/v1/connections/{id}/check");
    assert_eq!(check(&scene, &path)["health"], "healthy");
    scene.world.db.tamper("UPDATE connections SET sealed_credential = 'rubbish'");
    assert_eq!(check(&scene, &path)["health"], "dead");
}

#[test]
fn what_is_shared_is_asked_as_often_as_the_app_is_checked() {
    let scene = Scene::with(&json!({
        "nothing_shared": { "url": "https://acme.example/list", "at": "/results", "say": "Share a page with it." },
    }));
    let id = scene.connect("ann");
    let before = scene.world.acme.count("/list");
    for _ in 0..5 {
        scene.world.pass(1);
        check(&scene, &format!("/v1/connections/{id}/check"));
    }
    assert_eq!(scene.world.acme.count("/list") - before, 1);
}

// ---- tests of a client ----

fn test_client(scene: &Scene) -> Value {
    let (status, body) = call(scene, &first_key(scene), Method::Post, "/v1/apps/acme/client/test", &json!({}));
    assert_eq!(status, 200, "{body}");
    body
}

#[test]
fn a_test_of_a_client_asks_the_app_once_in_thirty_seconds() {
    let scene = Scene::new();
    let first = test_client(&scene);
    assert_eq!(first["verdict"], "accepted");
    let asked = scene.world.acme.count("/token");
    for _ in 0..29 {
        scene.world.pass(1);
        assert_eq!(test_client(&scene), first);
    }
    assert_eq!(scene.world.acme.count("/token"), asked);
    scene.world.pass(1);
    assert_ne!(test_client(&scene)["checked_at"], first["checked_at"]);
    assert_eq!(scene.world.acme.count("/token"), asked + 1);
}

#[test]
fn a_client_that_was_refused_is_tested_again_in_five_seconds_and_a_changed_one_at_once() {
    let scene = Scene::new();
    *scene.world.acme.client_secret.borrow_mut() = "new-secret".into();
    assert_eq!(test_client(&scene)["verdict"], "refused");
    let asked = scene.world.acme.count("/token");
    assert_eq!(test_client(&scene)["verdict"], "refused");
    assert_eq!(scene.world.acme.count("/token"), asked);
    scene.world.pass(5);
    assert_eq!(test_client(&scene)["verdict"], "refused");
    assert_eq!(scene.world.acme.count("/token"), asked + 1);
    scene.world.pass(1);
    scene.enter_secret("new-secret");
    assert_eq!(test_client(&scene)["verdict"], "accepted");
}

#[test]
fn tests_of_a_client_at_once_ask_the_app_once_and_all_get_its_answer() {
    let scene = Scene::new();
    let answers = scene.world.at_once((0..10).map(|_| {
        let key = first_key(&scene);
        let request = crate::limits::with_key(Method::Post, "/v1/apps/acme/client/test", &key);
        let core = scene.world.core();
        async move { connections::http::handle(&core, &request).await }
    }));
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (200, &answers[0].body));
    }
    assert_eq!(scene.world.acme.count("/token"), 1);
}
