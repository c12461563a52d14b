//! `Idempotency-Key`: a repeated request creates nothing more, whatever became of the first one.

use connections::authorize::Action;
use connections::caller::KeyScope;
use connections::http::routes::{ROUTES, RequiredAuth, RouteEntry};
use connections::http::{self, Method, Response};
use serde_json::{Value, json};

use crate::contract::assert_described;
use crate::http::{first_key, make_key, request};
use crate::support::Fixture;
use crate::support::database::{Fault, FaultRule};

const ADMIN_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

struct Answer {
    status: u16,
    body: Value,
    response: Response,
}

/// A request with an `Idempotency-Key`. Each has its own request id, as at the edge.
fn send(fixture: &Fixture, key: &str, path: &str, repeat: &str, body: &Value) -> Answer {
    let mut request = request(Method::Post, path, body.to_string().into_bytes());
    request.headers.push(("authorization".into(), format!("Bearer {key}")));
    request.headers.push(("idempotency-key".into(), repeat.to_owned()));
    request.id = connections::ids::random_text::<12>(&*fixture.world.random).unwrap();
    let context = fixture.world.context();
    let response = fixture.world.run(async { http::handle(&context, &request).await });
    let answer: Value = serde_json::from_str(&response.body).unwrap();
    assert_described(Method::Post, path, response.status, &answer);
    Answer { status: response.status, body: answer, response }
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["code"].as_str().unwrap_or_default())
}

fn definition() -> Value {
    json!({ "id": "other", "name": "Other", "auth": { "type": "oauth2", "issuer": "https://other.example" }, "scopes": ["openid"] })
}

/// A request for each route that creates something, and the table that grows.
fn creating_requests() -> Vec<(&'static str, Value, &'static str)> {
    let telegram = format!("123456789:{}", "a".repeat(35));
    vec![
        ("/v1/workspaces", json!({ "name": "New" }), "workspaces"),
        ("/v1/keys", json!({ "name": "child", "scopes": ["resolve"] }), "api_keys"),
        ("/v1/apps", definition(), "apps"),
        (
            "/v1/connections",
            json!({ "app": "telegram", "credential": { "type": "bot_token", "token": telegram }, "check": false }),
            "connections",
        ),
        ("/v1/links", json!({ "app": "acme" }), "connect_links"),
        ("/v1/sign-in-links", json!({ "user": { "id": "ann" } }), "sign_in_links"),
        ("/v1/webhooks", json!({ "url": "https://hooks.example/", "types": ["connection.created"] }), "subscriptions"),
        ("/v1/apps/{app}/disconnect-all", json!({ "confirm": "acme", "reason": "A leak." }), "disconnect_jobs"),
    ]
}

fn caller<'a>(path: &str, key: &'a str) -> &'a str {
    if path == "/v1/workspaces" { ADMIN_KEY } else { key }
}

fn count(fixture: &Fixture, table: &str) -> i64 {
    fixture.world.db.query_number(&format!("SELECT count(*) FROM {table}"))
}

#[test]
fn every_route_that_creates_something_can_be_repeated() {
    let creates = |line: &&RouteEntry| {
        line.action == Action::Create
            && line.method == Method::Post
            && matches!(line.auth, RequiredAuth::Key(_) | RequiredAuth::Operator)
    };
    let paths: Vec<_> = ROUTES.iter().filter(creates).map(|line| line.path).collect();
    let tested = creating_requests();
    assert_eq!(paths.len(), tested.len(), "{paths:?}");
    for (path, body, table) in tested {
        assert!(paths.contains(&path));
        let fixture = Fixture::new();
        let key = first_key(&fixture);
        let key = caller(path, &key);
        let path = &path.replace("{app}", "acme");
        let first = send(&fixture, key, path, "a b-1", &body);
        assert_eq!(first.status, 201, "{path}: {}", first.body);
        let rows = count(&fixture, table);
        let again = send(&fixture, key, path, "a b-1", &body);
        assert_eq!(count(&fixture, table), rows, "{path}");
        if again.status == 201 {
            assert_eq!(again.response.body, first.response.body, "{path}");
            assert_eq!(again.response.header("idempotency-replayed"), Some("true"));
        } else {
            assert_eq!(code(&again), (409, "already_done"), "{path}");
            assert_eq!(again.body["id"], first.body["id"], "{path}");
        }
        let other = send(&fixture, key, path, "a b-2", &body);
        assert!(other.status == 201 || code(&other).1 == "already_exists", "{path}: {}", other.body);
    }
}

#[test]
fn no_secret_is_kept_and_no_answer_stands_in_clear() {
    for (path, body, _) in creating_requests() {
        let fixture = Fixture::new();
        let key = first_key(&fixture);
        assert_eq!(send(&fixture, caller(path, &key), &path.replace("{app}", "acme"), "k", &body).status, 201);
        let shows_secret = !["/v1/apps", "/v1/connections", "/v1/apps/{app}/disconnect-all"].contains(&path);
        let sealed = fixture.world.db.query_number(
            "SELECT count(*) FROM idempotent_requests WHERE sealed_answer LIKE 'cx1.k1.%' AND sealed_answer NOT LIKE '%\"%'",
        );
        assert_eq!(sealed, i64::from(!shows_secret), "{path}");
    }
}

#[test]
fn a_key_is_for_one_caller_one_route_and_one_body() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let new = |name: &str| json!({ "name": name, "scopes": ["resolve"] });
    assert_eq!(send(&fixture, &key, "/v1/keys", "same", &new("a")).status, 201);
    assert_eq!(code(&send(&fixture, &key, "/v1/keys", "same", &new("b"))), (409, "idempotency_conflict"));
    assert_eq!(send(&fixture, &key, "/v1/apps", "same", &definition()).status, 201, "another route");
    let other = make_key(&fixture, |key| key.scopes = vec![KeyScope::All]);
    assert_eq!(send(&fixture, &other, "/v1/keys", "same", &new("a")).status, 201, "another caller");
    fixture.world.advance_clock(86_399);
    assert_eq!(code(&send(&fixture, &key, "/v1/keys", "same", &new("a"))), (409, "already_done"));
    fixture.world.advance_clock(1);
    assert_eq!(send(&fixture, &key, "/v1/keys", "same", &new("b")).status, 201, "after a day");
    fixture.world.advance_clock(86_400);
    fixture.run_scheduled();
    assert_eq!(count(&fixture, "idempotent_requests"), 0);
}

/// The body of a dry run names no app: its path does.
#[test]
fn a_key_is_for_what_its_path_names() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    let key = first_key(&fixture);
    let count = |app: &str| {
        let path = format!("/v1/apps/{app}/disconnect-all");
        let answer = send(&fixture, &key, &path, "same", &json!({ "dry_run": true }));
        (answer.status, answer.body["app"].clone(), answer.body["affected"]["connections"].clone())
    };
    assert_eq!(count("acme"), (200, json!("acme"), json!(1)));
    assert_eq!(count("telegram"), (200, json!("telegram"), json!(0)));
}

#[test]
fn a_key_is_1_to_255_printable_characters() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let body = json!({ "name": "child", "scopes": ["resolve"] });
    for wrong in ["", "\u{e9}", "a\tb", &"x".repeat(256)] {
        let answer = send(&fixture, &key, "/v1/keys", wrong, &body);
        assert_eq!(
            (answer.status, answer.body["errors"][0]["field"].as_str()),
            (422, Some("Idempotency-Key")),
            "{wrong}"
        );
    }
    assert_eq!(count(&fixture, "idempotent_requests"), 0);
    assert_eq!(send(&fixture, &key, "/v1/keys", &"x".repeat(255), &body).status, 201);
}

#[test]
fn a_refused_request_is_not_kept() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    assert_eq!(send(&fixture, &key, "/v1/keys", "k", &json!({ "name": "child" })).status, 422);
    assert_eq!(count(&fixture, "idempotent_requests"), 0);
    let body = json!({ "name": "child", "scopes": ["resolve"] });
    assert_eq!(send(&fixture, &key, "/v1/keys", "k", &body).status, 201, "the corrected one");
}

#[test]
fn a_failed_request_can_be_repeated_and_creates_one_thing() {
    for fault in [Fault::BeforeCommit, Fault::AfterCommit] {
        for (path, body, table) in creating_requests().into_iter().filter(|(path, ..)| *path != "/v1/workspaces") {
            let fixture = Fixture::new();
            let key = first_key(&fixture);
            let before = count(&fixture, table);
            let statement_part: &'static str = match table {
                "api_keys" => "INSERT INTO api_keys",
                "apps" => "INSERT INTO apps",
                "connections" => "INSERT INTO connections",
                "connect_links" => "INSERT INTO connect_links",
                "disconnect_jobs" => "INSERT INTO disconnect_jobs",
                _ => "INSERT INTO sign_in_links",
            };
            let path = &path.replace("{app}", "acme");
            fixture.world.db.fault_rules.borrow_mut().push(FaultRule { statement_part, times: 1, fault });
            let first = send(&fixture, &key, path, "k", &body);
            let again = if first.status >= 500 { send(&fixture, &key, path, "k", &body) } else { first };
            if fault == Fault::BeforeCommit || again.status == 201 {
                assert_eq!(again.status, 201, "{path} {fault:?}: {}", again.body);
            } else {
                assert_eq!(code(&again), (409, "already_done"), "{path} {fault:?}: {}", again.body);
                let made = again.body["id"].as_str().unwrap();
                if table == "sign_in_links" {
                    assert!(made.starts_with("sig_") || !made.is_empty());
                } else {
                    let found = format!("SELECT count(*) FROM {table} WHERE id = '{made}'");
                    assert_eq!(fixture.world.db.query_number(&found), 1, "{path}: {made}");
                }
            }
            assert_eq!(count(&fixture, table), before + 1, "{path} {fault:?}");
        }
    }
}

#[test]
fn of_requests_at_once_one_creates_something() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let before = count(&fixture, "api_keys");
    let body = json!({ "name": "child", "scopes": ["resolve"] }).to_string().into_bytes();
    let requests = (0..5).map(|_| {
        let mut request = request(Method::Post, "/v1/keys", body.clone());
        request.headers.push(("authorization".into(), format!("Bearer {key}")));
        request.headers.push(("idempotency-key".into(), "k".into()));
        let context = fixture.world.context();
        async move { http::handle(&context, &request).await }
    });
    let answers = fixture.world.run_concurrently(requests.collect::<Vec<_>>());
    let created = answers.iter().filter(|one| one.status == 201).count();
    assert_eq!(created, 1);
    for other in answers.iter().filter(|one| one.status != 201) {
        let body: Value = serde_json::from_str(&other.body).unwrap();
        let code = body["code"].as_str().unwrap();
        assert!(["idempotency_in_progress", "already_done"].contains(&code), "{body}");
        if code == "idempotency_in_progress" {
            assert_eq!(other.header("retry-after"), Some("1"));
        }
    }
    assert_eq!(count(&fixture, "api_keys"), before + 1);
}

#[test]
fn an_attempt_that_never_ended_is_taken_over_once_its_lease_is_over() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let body = json!({ "name": "child", "scopes": ["resolve"] });
    assert_eq!(send(&fixture, &key, "/v1/keys", "k", &body).status, 201);
    fixture.world.db.tamper("UPDATE idempotent_requests SET status = NULL, created_id = NULL");
    assert_eq!(code(&send(&fixture, &key, "/v1/keys", "k", &body)), (409, "idempotency_in_progress"));
    fixture.world.advance_clock(120);
    assert_eq!(code(&send(&fixture, &key, "/v1/keys", "k", &body)), (409, "already_done"), "its event is there");
    fixture.world.db.tamper("UPDATE idempotent_requests SET status = NULL, created_id = NULL");
    fixture.world.db.tamper("DELETE FROM events");
    assert_eq!(send(&fixture, &key, "/v1/keys", "k", &body).status, 201, "nothing was created");
}

#[test]
fn a_request_without_the_header_costs_nothing_and_other_routes_ignore_it() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let cost = |repeat: Option<&str>| {
        let mut request = request(Method::Post, "/v1/keys", b"{\"name\":\"a\",\"scopes\":[\"resolve\"]}".to_vec());
        request.headers.push(("authorization".into(), format!("Bearer {key}")));
        request.headers.extend(repeat.map(|repeat| ("idempotency-key".to_owned(), repeat.to_owned())));
        let context = fixture.world.context();
        fixture.world.db.reset_counts();
        assert_eq!(fixture.world.run(async { http::handle(&context, &request).await }).status, 201);
        let statements = fixture.world.db.statements_run.borrow().clone();
        statements.iter().filter(|sql| sql.contains("idempotent")).count()
    };
    assert_eq!((cost(None), cost(Some("k"))), (0, 3));
    let id = fixture.connect("ann");
    assert_eq!(send(&fixture, &key, &format!("/v1/connections/{id}/check"), "k", &json!({})).status, 200);
    assert_eq!(count(&fixture, "idempotent_requests"), 1);
}

#[test]
fn a_kept_answer_is_sealed_again_under_the_first_key() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let first = send(&fixture, &key, "/v1/apps", "k", &definition());
    let keys = fixture.world.encryption_keys.borrow().clone();
    *fixture.world.encryption_keys.borrow_mut() = format!("k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,{keys}");
    for _ in 0..4 {
        fixture.world.advance_clock(900);
        fixture.run_scheduled();
    }
    let sealed = "SELECT count(*) FROM idempotent_requests WHERE sealed_answer LIKE 'cx1.k2.%'";
    assert_eq!(fixture.world.db.query_number(sealed), 1);
    assert_eq!(send(&fixture, &key, "/v1/apps", "k", &definition()).response.body, first.response.body);
    *fixture.world.encryption_keys.borrow_mut() = keys;
}
