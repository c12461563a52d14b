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
