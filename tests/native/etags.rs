//! `ETag`, `If-None-Match` and `If-Match`: nobody overwrites what they have not seen.

use connections::http::{self, Method, Response};
use connections::resolve::ResolveRequest;
use serde_json::{Value, json};

use crate::contract::assert_described;
use crate::http::{call, first_key, request};
use crate::support::Fixture;

fn send(fixture: &Fixture, method: Method, address: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let mut request = request(method, address, if body.is_null() { vec![] } else { body.to_string().into_bytes() });
    request.headers.push(("authorization".into(), format!("Bearer {}", first_key(fixture))));
    request.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let context = fixture.world.context();
    let response = fixture.world.run(async { http::handle(&context, &request).await });
    if response.status != 304 && method != Method::Head {
        assert_described(method, &request.path, response.status, &serde_json::from_str(&response.body).unwrap());
    }
    response
}

fn etag(fixture: &Fixture, path: &str) -> String {
    let response = send(fixture, Method::Get, path, &[], &Value::Null);
    assert_eq!(response.status, 200, "{path}: {}", response.body);
    response.header("etag").unwrap_or_else(|| panic!("{path} has no ETag")).to_owned()
}

/// Something that can be changed: how it is read and changed, and how somebody else changes it.
struct Changeable {
    path: String,
    changes: Vec<(Method, Value)>,
    meanwhile: (Method, String, Value),
}

fn definition(name: &str) -> Value {
    json!({ "id": "other", "name": name, "auth": { "type": "oauth2", "issuer": "https://other.example" }, "scopes": ["openid"] })
}

fn changeable(fixture: &Fixture) -> Vec<Changeable> {
    let key = first_key(fixture);
    let made = |method: Method, path: &str, body: &Value| {
        let (status, made) = call(fixture, &key, method, path, body);
        assert!(status < 300, "{path}: {made}");
        made
    };
    let connection = format!("/v1/connections/{}", fixture.connect("ann"));
    made(Method::Post, "/v1/apps", &definition("One"));
    made(Method::Put, "/v1/apps/slack/client", &json!({ "client_id": "c", "client_secret": "one" }));
    let link = made(Method::Post, "/v1/links", &json!({ "app": "acme" }));
    let link = format!("/v1/links/{}", link["id"].as_str().unwrap());
    vec![
        Changeable {
            path: connection.clone(),
            changes: vec![(Method::Patch, json!({ "name": "Mine" })), (Method::Delete, Value::Null)],
            meanwhile: (Method::Patch, connection, json!({ "metadata": { "a": "b" } })),
        },
        Changeable {
            path: "/v1/workspace".into(),
            changes: vec![(Method::Patch, json!({ "name": "Mine" }))],
            meanwhile: (Method::Patch, "/v1/workspace".into(), json!({ "allowed_origins": ["https://a.example"] })),
        },
        Changeable {
            path: "/v1/apps/other".into(),
            changes: vec![(Method::Put, definition("Mine")), (Method::Delete, Value::Null)],
            meanwhile: (Method::Put, "/v1/apps/other".into(), definition("Theirs")),
        },
        Changeable {
            path: "/v1/apps/slack/client".into(),
            changes: vec![
                (Method::Put, json!({ "client_id": "c", "client_secret": "mine" })),
                (Method::Put, json!({ "client_id": "another", "client_secret": "mine" })),
                (Method::Delete, Value::Null),
            ],
            meanwhile: (
                Method::Put,
                "/v1/apps/slack/client".into(),
                json!({ "client_id": "c", "client_secret": "theirs" }),
            ),
        },
        Changeable {
            path: link.clone(),
            changes: vec![(Method::Delete, Value::Null)],
            meanwhile: (Method::Delete, link, Value::Null),
        },
    ]
}

fn dump(fixture: &Fixture) -> Value {
    fixture.world.db.query_value(
        "SELECT (SELECT json_group_array(name || metadata || generation) FROM connections)
          || (SELECT json_group_array(name || allowed_origins) FROM workspaces)
          || (SELECT json_group_array(definition || is_current) FROM apps)
          || (SELECT json_group_array(client_id || sealed_secret) FROM oauth_clients)
          || (SELECT json_group_array(status) FROM connect_links) || (SELECT count(*) FROM events)",
    )
}

#[test]
fn a_change_of_what_was_changed_meanwhile_is_refused() {
    let count = changeable(&Fixture::new()).len();
    for at in 0..count {
        for change in 0.. {
            let fixture = Fixture::new();
            let all = changeable(&fixture);
            let one = &all[at];
            let Some((method, body)) = one.changes.get(change) else { break };
            let seen = etag(&fixture, &one.path);
            let (by, path, theirs) = &one.meanwhile;
            assert_eq!(send(&fixture, *by, path, &[], theirs).status, 200, "{path}");
            let before = dump(&fixture);
            let refused = send(&fixture, *method, &one.path, &[("if-match", &seen)], body);
            let problem: Value = serde_json::from_str(&refused.body).unwrap();
            assert_eq!(
                (refused.status, problem["code"].as_str()),
                (412, Some("precondition_failed")),
                "{method:?} {path}"
            );
            assert_eq!(dump(&fixture), before, "{method:?} {path} changed nothing");
            let now = etag(&fixture, &one.path);
            assert_ne!(now, seen);
            let both = format!("\"nothing-x\", {now}");
            let done = send(&fixture, *method, &one.path, &[("if-match", &both)], body);
            assert_eq!(done.status, 200, "{method:?} {path}: {}", done.body);
        }
    }
}

/// Somebody else's change comes between the reading and the writing of ours.
#[test]
fn nothing_comes_between_the_comparison_and_the_change() {
    for at in 0..4 {
        for change in 0.. {
            let fixture = Fixture::new();
            let all = changeable(&fixture);
            let one = &all[at];
            let Some((method, body)) = one.changes.get(change).cloned() else { break };
            let seen = etag(&fixture, &one.path);
            let theirs = [
                "UPDATE connections SET metadata = '{\"a\":\"b\"}'",
                "UPDATE workspaces SET name = 'Theirs'",
                "UPDATE apps SET is_current = 0 WHERE id = 'other'",
                "UPDATE oauth_clients SET sealed_secret = 'theirs' WHERE registration = 'slack'",
            ][at];
            let (db, mut is_done) = (std::rc::Rc::clone(&fixture.world.db), false);
            *fixture.world.db.fault_plan.borrow_mut() = Some(Box::new(move |statements| {
                let is_change = statements.iter().any(|one| one.sql.contains("SELECT NULL WHERE NOT EXISTS"));
                if is_change && !std::mem::replace(&mut is_done, true) {
                    assert!(db.tamper(theirs) > 0);
                }
                None
            }));
            let refused = send(&fixture, method, &one.path, &[("if-match", &seen)], &body);
            assert_eq!(refused.status, 412, "{method:?} {}: {}", one.path, refused.body);
            *fixture.world.db.fault_plan.borrow_mut() = None;
        }
    }
}

#[test]
fn uses_and_checks_do_not_matter_to_a_change() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let path = format!("/v1/connections/{id}");
    let seen = etag(&fixture, &path);
    fixture.world.advance_clock(600);
    let request = ResolveRequest { workflow: Some("billing".into()), ..ResolveRequest::default() };
    fixture.resolve_and_finish(&id, request).unwrap();
    let now = etag(&fixture, &path);
    assert_ne!(now, seen, "what is shown has changed");
    let renamed = send(&fixture, Method::Patch, &path, &[("if-match", &seen)], &json!({ "name": "Mine" }));
    assert_eq!(renamed.status, 200, "{}", renamed.body);
    let next = renamed.header("etag").unwrap().to_owned();
    let again = send(&fixture, Method::Patch, &path, &[("if-match", &next)], &json!({ "name": "Again" }));
    assert_eq!(again.status, 200, "the answer has the next tag");
}

#[test]
fn what_the_caller_has_is_not_sent_again() {
    let fixture = Fixture::new();
    for one in changeable(&fixture) {
        let tag = etag(&fixture, &one.path);
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x-y\", {tag}"), "*".to_owned()] {
            for method in [Method::Get, Method::Head] {
                let answer = send(&fixture, method, &one.path, &[("if-none-match", &known)], &Value::Null);
                assert_eq!((answer.status, answer.body.as_str()), (304, ""), "{} {known}", one.path);
                assert_eq!(answer.header("etag"), Some(tag.as_str()));
            }
        }
        let other = send(&fixture, Method::Get, &one.path, &[("if-none-match", "\"x-y\"")], &Value::Null);
        assert_eq!(other.status, 200);
    }
}

#[test]
fn a_condition_is_never_ignored() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let path = format!("/v1/connections/{id}");
    let tag = etag(&fixture, &path);
    for (method, path, body) in [
        (Method::Post, "/v1/keys".to_owned(), json!({ "name": "child", "scopes": ["resolve"] })),
        (Method::Post, format!("{path}/check"), Value::Null),
        (Method::Delete, format!("/v1/keys/{}", fixture.key.id), Value::Null),
        (Method::Post, format!("/v1/keys/{}/rotate", fixture.key.id), json!({})),
        (Method::Put, "/v1/apps/acme/default".to_owned(), json!({ "connection": id })),
        (Method::Delete, "/v1/apps/acme/default".to_owned(), Value::Null),
    ] {
        let refused = send(&fixture, method, &path, &[("if-match", &tag)], &body);
        let problem: Value = serde_json::from_str(&refused.body).unwrap();
        assert_eq!((refused.status, problem["errors"][0]["field"].as_str()), (422, Some("If-Match")), "{path}");
    }
    let edit = json!({ "name": "Mine" });
    for (wrong, status) in [("x", 422), ("\"a", 422), (&*format!("W/{tag}"), 412), ("\"\"", 412), ("*", 200)] {
        assert_eq!(send(&fixture, Method::Patch, &path, &[("if-match", wrong)], &edit).status, status, "{wrong}");
    }
    assert_eq!(
        send(&fixture, Method::Patch, &path, &[("if-match", "\"x\"")], &json!({ "name": "" })).status,
        422,
        "first"
    );
    let missing = "/v1/connections/con_000000000000000000000000";
    assert_eq!(send(&fixture, Method::Patch, missing, &[("if-match", "*")], &edit).status, 404);
    let client = json!({ "client_id": "c", "client_secret": "s" });
    assert_eq!(
        send(&fixture, Method::Put, "/v1/apps/slack/client", &[("if-match", "*")], &client).status,
        412,
        "none yet"
    );
}

/// A connection with a key of an app that says whose it is.
fn keyed_connection(fixture: &Fixture) -> String {
    let app = json!({
        "id": "keyed", "name": "Keyed", "auth": { "type": "api_key", "header": "X-Api-Key" },
        "identity": { "url": "https://acme.example/me", "id": "/sub", "label": "/email" },
    });
    let key = first_key(fixture);
    assert_eq!(call(fixture, &key, Method::Post, "/v1/apps", &app).0, 201);
    fixture.world.acme.responder.borrow_mut().replace(Box::new(|_| {
        crate::support::acme::text_response(200, r#"{"sub":"1","email":"ann@acme.example"}"#, vec![])
    }));
    let body = json!({ "app": "keyed", "credential": { "type": "api_key", "api_key": "canary7f3a-first" } });
    let (status, made) = call(fixture, &key, Method::Post, "/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    format!("/v1/connections/{}", made["id"].as_str().unwrap())
}

#[test]
fn a_credential_takes_the_place_of_the_one_that_its_caller_has_seen() {
    let fixture = Fixture::new();
    let path = keyed_connection(&fixture);
    let body = |key: &str| json!({ "credential": { "type": "api_key", "api_key": format!("canary7f3a-{key}") } });
    let put = |seen: &str, key: &str| {
        send(&fixture, Method::Put, &format!("{path}/credential"), &[("if-match", seen)], &body(key))
    };
    let first = etag(&fixture, &path);
    let done = put(&first, "second");
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(done.header("etag").map(str::to_owned), Some(etag(&fixture, &path)), "the answer has the next tag");
    let asked = fixture.world.acme.count_all_requests();
    let refused = put(&first, "third");
    assert_eq!((refused.status, fixture.world.acme.count_all_requests()), (412, asked), "the app is not asked");
    assert_eq!(put("\"x-y\"", "third").status, 412);
    let generation = || fixture.world.db.query_number("SELECT generation FROM connections");
    assert_eq!(generation(), 2);
    // Somebody edits or replaces it while the app is asked, or at the last moment.
    for (theirs, last_moment) in [
        ("UPDATE connections SET name = name || '!'", true),
        ("UPDATE connections SET name = name || '?'", false),
        ("UPDATE connections SET generation = generation + 1, version = version + 1", true),
        ("UPDATE connections SET generation = generation + 1, version = version + 1", false),
    ] {
        let seen = etag(&fixture, &path);
        let (db, mut is_done) = (std::rc::Rc::clone(&fixture.world.db), false);
        *fixture.world.db.fault_plan.borrow_mut() = Some(Box::new(move |statements| {
            let is_theirs = |one: &connections::ports::Statement| {
                if last_moment {
                    one.sql.contains("UPDATE connections SET app_revision")
                } else {
                    one.sql.starts_with("INSERT INTO flows")
                }
            };
            if statements.iter().any(is_theirs) && !std::mem::replace(&mut is_done, true) {
                assert!(db.tamper(theirs) > 0);
            }
            None
        }));
        let before = generation();
        let refused = put(&seen, "fourth");
        *fixture.world.db.fault_plan.borrow_mut() = None;
        let problem: Value = serde_json::from_str(&refused.body).unwrap();
        assert_eq!((refused.status, &problem["code"]), (412, &json!("precondition_failed")), "{theirs}: {problem}");
        assert_eq!(generation() - before, i64::from(theirs.contains("generation")), "{theirs}: nothing of ours");
    }
    // Without a condition an edit at the same moment does not matter.
    let unconditional = send(&fixture, Method::Put, &format!("{path}/credential"), &[], &body("fifth"));
    assert_eq!(unconditional.status, 200, "{}", unconditional.body);
}

/// Both a replacement and a condition can be why a batch fails. The condition is what the caller has asked for.
#[test]
fn a_condition_on_a_connection_in_a_replacement_is_what_its_caller_is_told_of() {
    let keys = |fixture: &Fixture| {
        let [old, new, other] = ["old", "new", "other"].map(|who| {
            let request = connections::connect::start::ConnectRequest { user: None, ..fixture.connect_request() };
            fixture.complete_flow(&request, who).connection.unwrap()
        });
        let path = |id: &connections::ids::ConnectionId| format!("/v1/connections/{id}");
        let body = json!({ "with": new });
        assert_eq!(call(fixture, &first_key(fixture), Method::Post, &format!("{}/replace", path(&old)), &body).0, 200);
        (path(&old), path(&new), path(&other), other)
    };
    for at in 0..7 {
        let fixture = Fixture::new();
        let (old, new, third, id) = keys(&fixture);
        let test = json!({ "environment": "test" });
        let (seen, method, path, body, unconditional) = [
            (&old, Method::Patch, old.clone(), test.clone(), 409),
            (&new, Method::Patch, new.clone(), test, 409),
            (&new, Method::Delete, new.clone(), Value::Null, 409),
            (&old, Method::Delete, old.clone(), Value::Null, 200),
            (&old, Method::Post, format!("{old}/replace"), json!({ "with": id }), 200),
            (&old, Method::Delete, format!("{old}/replace"), Value::Null, 200),
            (&third, Method::Patch, third.clone(), json!({ "name": "Mine" }), 200),
        ][at]
            .clone();
        let tag = etag(&fixture, seen);
        let (db, mut is_done) = (std::rc::Rc::clone(&fixture.world.db), false);
        *fixture.world.db.fault_plan.borrow_mut() = Some(Box::new(move |statements| {
            let is_change = statements.first().is_some_and(|one| one.sql.contains("SELECT NULL WHERE NOT EXISTS"));
            if is_change && !std::mem::replace(&mut is_done, true) {
                assert!(db.tamper("UPDATE connections SET metadata = '{\"a\":\"b\"}'") > 0);
            }
            None
        }));
        let refused = send(&fixture, method, &path, &[("if-match", &tag)], &body);
        *fixture.world.db.fault_plan.borrow_mut() = None;
        assert_eq!(refused.status, 412, "{method:?} {path}: {}", refused.body);
        // Where the condition holds, the other reason is told.
        let tag = etag(&fixture, seen);
        let told = send(&fixture, method, &path, &[("if-match", &tag)], &body);
        assert_eq!(told.status, unconditional, "{method:?} {path}: {}", told.body);
    }
}
