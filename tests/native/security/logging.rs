//! What the log tells of access (ASVS 16.3.1 to 16.3.4), and that it holds no value of a credential.

use connections::caller::Scope;
use connections::http::Method;
use connections::http::routes::{Auth, ROUTES};
use connections::ports::LogLine;
use serde_json::{Value, json};

use super::{Browser, OPERATOR, call, code, connect_link, first_key, key_with, request, send, sign_in_link};
use crate::support::Scene;
use crate::support::acme::CANARY;

/// The lines that were written meanwhile.
fn lines(scene: &Scene, act: impl FnOnce()) -> Vec<LogLine> {
    let before = scene.world.log.0.borrow().len();
    act();
    scene.world.log.0.borrow()[before..].to_vec()
}

/// The only line of an event.
fn one(lines: &[LogLine], event: &str) -> Value {
    let found: Vec<_> = lines.iter().filter(|line| line.event == event).collect();
    assert_eq!(found.len(), 1, "{event}: {lines:?}");
    Value::Object(found[0].fields.clone())
}

#[test]
fn every_route_notes_who_is_refused_authentication() {
    let scene = Scene::new();
    for line in ROUTES.iter().filter(|line| !matches!(line.auth, Auth::Nobody | Auth::Browser)) {
        // Ids have a form that is looked at first.
        let path = line.path.replace("{connection}", &format!("con_{}", "0".repeat(24)));
        let written = lines(&scene, || {
            let response = send(&scene.world, &request(line.method, &path, &[("sec-fetch-site", "same-origin")], ""));
            assert_eq!(response.status, 401, "{path}");
        });
        let told = one(&written, "authentication_refused");
        let route = format!("{} {}", line.method.as_str(), line.path);
        assert_eq!(told, json!({ "code": "unauthorized", "route": route, "request": "req-1" }));
    }
}

#[test]
fn a_key_that_is_refused_is_named_by_its_public_id_alone() {
    let scene = Scene::new();
    let ended = key_with(&scene, &[Scope::All], |key| key.expires_at = Some(scene.world.now()));
    let id = format!("key_{}", ended.split('_').nth(1).unwrap());
    let written = lines(&scene, || {
        assert_eq!(code(&call(&scene.world, &ended, Method::Get, "/v1/keys", &Value::Null)), (401, "unauthorized"));
    });
    assert_eq!(one(&written, "authentication_refused")["key"], json!(id));
    for wrong in ["hunter2", "cx_hunter2", "cx_0123456789ABCDEF_hunter2", OPERATOR.split_at(1).1] {
        let written = lines(&scene, || {
            assert_eq!(call(&scene.world, wrong, Method::Get, "/v1/workspaces", &Value::Null).0, 401);
            assert_eq!(call(&scene.world, wrong, Method::Get, "/v1/keys", &Value::Null).0, 401);
        });
        assert_eq!(written.len(), 2);
        let text = serde_json::to_string(&written).unwrap();
        assert!(!text.contains(wrong) && !text.contains("hunter2") && !text.contains("\"key\""), "{text}");
    }
    let text = scene.world.log.dump();
    assert!(!text.contains(&ended) && !text.contains(ended.rsplit('_').next().unwrap()));
}

#[test]
fn whoever_is_refused_for_what_they_may_do_leaves_a_line() {
    let scene = Scene::new();
    let stranger = scene.neighbour();
    let (id, foreign) = (scene.connect("ann"), stranger.connect("bob"));
    let first = first_key(&scene);
    let weak = key_with(&scene, &[Scope::ConnectionsRead], |_| ());
    let limited = key_with(&scene, &[Scope::All], |key| key.connections = Some(vec![]));
    let path = |id: &connections::ids::ConnectionId| format!("/v1/connections/{id}");
    let only = json!({ "allowed_workflows": ["payroll"] });
    assert_eq!(call(&scene.world, &first, Method::Patch, &path(&id), &only).0, 200);
    let resolve = |id| format!("{}/resolve", path(id));
    let cases = [
        (&weak, Method::Delete, path(&id), (403, "insufficient_key_scope"), "DELETE /v1/connections/{connection}"),
        (&limited, Method::Get, path(&id), (404, "connection_not_found"), "GET /v1/connections/{connection}"),
        (&first, Method::Get, path(&foreign), (404, "connection_not_found"), "GET /v1/connections/{connection}"),
        (
            &first,
            Method::Post,
            resolve(&foreign),
            (404, "connection_not_found"),
            "POST /v1/connections/{connection}/resolve",
        ),
        (
            &weak,
            Method::Post,
            resolve(&id),
            (403, "insufficient_key_scope"),
            "POST /v1/connections/{connection}/resolve",
        ),
        (
            &first,
            Method::Post,
            resolve(&id),
            (403, "workflow_not_allowed"),
            "POST /v1/connections/{connection}/resolve",
        ),
        (&limited, Method::Delete, "/v1/keys/key_0123456789ABCDEF".into(), (404, "not_found"), "DELETE /v1/keys/{key}"),
    ];
    for (key, method, address, expected, route) in cases {
        let written = lines(&scene, || {
            let answer = call(&scene.world, key, method, &address, &json!({}));
            assert_eq!(code(&answer), expected, "{address}");
        });
        let told = one(&written, "authorization_refused");
        assert_eq!((&told["code"], &told["route"]), (&json!(expected.1), &json!(route)));
        let id = format!("key_{}", key.split('_').nth(1).unwrap());
        assert_eq!((&told["key"], &told["request"]), (&json!(id), &json!("req-1")));
        assert!(told["workspace"].is_null() || told["workspace"] == json!(scene.workspace), "never another's: {told}");
    }
}

#[test]
fn refused_forms_and_used_links_leave_a_line_without_their_tokens() {
    let scene = Scene::new();
    let mut ann = Browser::of(&scene, "ann");
    let written = lines(&scene, || assert_eq!(ann.post("/sign-out", "csrf=hunter2").status, 403));
    let told = one(&written, "authorization_refused");
    assert_eq!((&told["code"], &told["route"]), (&json!("form_rejected"), &json!("POST /sign-out")));
    assert_eq!(told["workspace"], json!(scene.workspace));

    let link = sign_in_link(&scene, "bob");
    let mut bob = Browser::new(&scene);
    let written = lines(&scene, || assert_eq!(bob.post(&link, "").status, 303));
    assert_eq!(one(&written, "signed_in"), json!({ "workspace": scene.workspace, "request": "req-1" }));
    for (used, method) in
        [(link.as_str(), Method::Post), (link.as_str(), Method::Get), ("/connect/hunter2", Method::Get)]
    {
        let written = lines(&scene, || assert_eq!(Browser::new(&scene).send(method, used, "").status, 410));
        assert_eq!(one(&written, "authorization_refused")["code"], json!("link_ended"));
    }
    let open = connect_link(&scene, &json!({}));
    Browser::new(&scene).post(&open, "");
    let text = scene.world.log.dump();
    for token in [&link, &open] {
        assert!(!text.contains(token.rsplit('/').next().unwrap()), "{text}");
    }
    assert!(!text.contains("hunter2") && !text.contains("\"bob\""), "{text}");
}

#[test]
fn each_credential_that_is_handed_out_leaves_a_line_without_its_value() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let key = first_key(&scene);
    for (mode, source) in [("strong", "database"), ("available", "database"), ("edge", "cache"), ("edge", "cache")] {
        let body = json!({ "workflow": "payroll", "step": "7\"}\n", "consistency": mode });
        assert_eq!(call(&scene.world, &key, Method::Post, &format!("/v1/connections/{id}/resolve"), &body).0, 422);
        let body = json!({ "workflow": "payroll", "step": "7\"}{", "consistency": mode });
        let written = lines(&scene, || {
            let (status, answer) =
                call(&scene.world, &key, Method::Post, &format!("/v1/connections/{id}/resolve"), &body);
            assert_eq!(status, 200, "{answer}");
        });
        let expected = json!({
            "connection": id, "key": scene.key.id.as_str(), "workflow": "payroll", "step": "7\"}{",
            "source": source, "request": "req-1",
        });
        assert_eq!(one(&written, "credential_handed_out"), expected, "{mode}");
    }
    assert_eq!(scene.world.log.count("credential_handed_out"), 4, "each one, also within the five minutes of a use");
    scene.disconnect(&id).unwrap();
    call(&scene.world, &key, Method::Post, &format!("/v1/connections/{id}/resolve"), &json!({}));
    assert_eq!(scene.world.log.count("credential_handed_out"), 4, "and none that was not");
    assert!(!scene.world.log.dump().contains(CANARY));
}
