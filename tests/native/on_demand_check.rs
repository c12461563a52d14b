//! On-demand checks and client tests: the app is asked once, for any number of callers.

use connections::http::Method;
use connections::ports::{RefreshOutcome, RefreshReason};
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::{Fixture, RefreshMode, Reply, World};

/// Checks a connection like a program: status and answer.
fn post_check(fixture: &Fixture, path: &str) -> Value {
    let (status, body) = call(fixture, &first_key(fixture), Method::Post, path, &Value::Null);
    assert_eq!(status, 200, "{body}");
    body
}

#[test]
fn a_check_asks_the_app_at_most_once_in_thirty_seconds() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let path = format!("/v1/connections/{id}/check");
    let before = fixture.world.acme.count_requests("/me");
    let first = post_check(&fixture, &path);
    for second in 0..30 {
        let again = post_check(&fixture, &path);
        assert_eq!((&again["health"], &again["checked_at"]), (&json!("healthy"), &first["checked_at"]), "{second}");
        fixture.world.advance_clock(i64::from(second < 29));
    }
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 1);
    fixture.world.advance_clock(1);
    assert_ne!(post_check(&fixture, &path)["checked_at"], first["checked_at"]);
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 2);
}

#[test]
fn concurrent_checks_ask_the_app_once() {
    let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), &json!({}));
    let id = fixture.connect("ann");
    let before = fixture.world.acme.count_requests("/me");
    let outcomes =
        fixture.world.run_concurrently((0..30).map(|_| fixture.world.run_refresher(&id, RefreshReason::OnDemandCheck)));
    assert!(outcomes.iter().all(|outcome| *outcome == RefreshOutcome::Healthy), "{outcomes:?}");
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 1);
}

#[test]
fn a_new_connection_or_credential_is_checked_at_once() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let path = format!("/v1/connections/{id}/check");
    assert_eq!(post_check(&fixture, &path)["evidence"], "probe: accepted");
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    let before = fixture.world.acme.count_requests("/me");
    assert_eq!(post_check(&fixture, &path)["health"], "healthy");
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 1);
}

#[test]
fn after_a_failed_check_another_may_follow_in_five_seconds() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let path = format!("/v1/connections/{id}/check");
    fixture.world.acme.script_always("/me", Some(Reply::status(500, "")));
    let before = fixture.world.acme.count_requests("/me");
    for _ in 0..5 {
        assert_eq!(post_check(&fixture, &path)["health"], "app_unavailable");
    }
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 1);
    fixture.world.acme.script_always("/me", None);
    fixture.world.advance_clock(5);
    assert_eq!(post_check(&fixture, &path)["health"], "healthy", "what was repaired at the app is seen");
}

#[test]
fn a_refused_connection_is_checked_at_most_once_in_five_seconds() {
    let fixture = Fixture::new();
    fixture.world.acme.gives_refresh_token.set(false);
    let id = fixture.connect("ann");
    let path = format!("/v1/connections/{id}/check");
    fixture.world.acme.script_always("/me", Some(Reply::status(401, "{}")));
    let before = fixture.world.acme.count_requests("/me");
    for _ in 0..5 {
        assert_eq!(post_check(&fixture, &path)["health"], "dead");
    }
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 1);
    fixture.world.acme.script_always("/me", None);
    fixture.world.advance_clock(5);
    assert_eq!(post_check(&fixture, &path)["health"], "healthy", "what was repaired at the app is seen");
}

#[test]
fn an_unreadable_credential_is_reported_whatever_the_last_check_found() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let path = format!("/v1/connections/{id}/check");
    assert_eq!(post_check(&fixture, &path)["health"], "healthy");
    fixture.world.db.tamper("UPDATE connections SET sealed_credential = 'rubbish'");
    assert_eq!(post_check(&fixture, &path)["health"], "dead");
}

#[test]
fn the_shared_content_is_requested_with_each_check() {
    let fixture = Fixture::with_definition(&json!({
        "nothing_shared": { "url": "https://acme.example/list", "at": "/results", "say": "Share a page with it." },
    }));
    let id = fixture.connect("ann");
    let before = fixture.world.acme.count_requests("/list");
    for _ in 0..5 {
        fixture.world.advance_clock(1);
        post_check(&fixture, &format!("/v1/connections/{id}/check"));
    }
    assert_eq!(fixture.world.acme.count_requests("/list") - before, 1);
}

// ---- client tests ----

fn post_client_test(fixture: &Fixture) -> Value {
    let (status, body) = call(fixture, &first_key(fixture), Method::Post, "/v1/apps/acme/client/test", &json!({}));
    assert_eq!(status, 200, "{body}");
    body
}

#[test]
fn a_client_test_asks_the_app_at_most_once_in_thirty_seconds() {
    let fixture = Fixture::new();
    let first = post_client_test(&fixture);
    assert_eq!(first["verdict"], "accepted");
    let asked = fixture.world.acme.count_requests("/token");
    for _ in 0..29 {
        fixture.world.advance_clock(1);
        assert_eq!(post_client_test(&fixture), first);
    }
    assert_eq!(fixture.world.acme.count_requests("/token"), asked);
    fixture.world.advance_clock(1);
    assert_ne!(post_client_test(&fixture)["checked_at"], first["checked_at"]);
    assert_eq!(fixture.world.acme.count_requests("/token"), asked + 1);
}

#[test]
fn a_client_that_was_refused_is_tested_again_in_five_seconds_and_a_changed_one_at_once() {
    let fixture = Fixture::new();
    *fixture.world.acme.client_secret.borrow_mut() = "new-secret".into();
    assert_eq!(post_client_test(&fixture)["verdict"], "refused");
    let asked = fixture.world.acme.count_requests("/token");
    assert_eq!(post_client_test(&fixture)["verdict"], "refused");
    assert_eq!(fixture.world.acme.count_requests("/token"), asked);
    fixture.world.advance_clock(5);
    assert_eq!(post_client_test(&fixture)["verdict"], "refused");
    assert_eq!(fixture.world.acme.count_requests("/token"), asked + 1);
    fixture.world.advance_clock(1);
    fixture.put_client_secret("new-secret");
    assert_eq!(post_client_test(&fixture)["verdict"], "accepted");
}

#[test]
fn concurrent_client_tests_ask_the_app_once_and_get_the_same_answer() {
    let fixture = Fixture::new();
    let answers = fixture.world.run_concurrently((0..10).map(|_| {
        let key = first_key(&fixture);
        let request = crate::request_limits::request_with_key(Method::Post, "/v1/apps/acme/client/test", &key);
        let context = fixture.world.context();
        async move { connections::http::handle(&context, &request).await }
    }));
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (200, &answers[0].body));
    }
    assert_eq!(fixture.world.acme.count_requests("/token"), 1);
}
