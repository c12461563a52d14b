//! What the log says about access (ASVS 16.3.1 to 16.3.4), and that it contains no value of a credential.

use connections::caller::KeyScope;
use connections::http::Method;
use connections::http::routes::{ROUTES, RequiredAuth};
use connections::ports::LogLine;
use serde_json::{Value, json};

use super::{
    ADMIN_KEY, CookieBrowser, call, first_key, make_connect_link, make_key, make_sign_in_link, request, send,
    status_and_code,
};
use crate::support::Fixture;
use crate::support::acme::CANARY;

/// The lines that were written in the meantime.
fn collect_log_lines(fixture: &Fixture, act: impl FnOnce()) -> Vec<LogLine> {
    let before = fixture.world.log.0.borrow().len();
    act();
    fixture.world.log.0.borrow()[before..].to_vec()
}

/// The only line of an event.
fn only_line_of_event(lines: &[LogLine], event: &str) -> Value {
    let found: Vec<_> = lines.iter().filter(|line| line.event == event).collect();
    assert_eq!(found.len(), 1, "{event}: {lines:?}");
    Value::Object(found[0].fields.clone())
}

#[test]
fn every_route_logs_refused_authentication() {
    let fixture = Fixture::new();
    // A request of an app has a line of its own, `app_event_refused`. Whoever holds an e-mail needs no authentication.
    let is_open =
        |auth| matches!(auth, RequiredAuth::Public | RequiredAuth::Browser | RequiredAuth::App | RequiredAuth::Holder);
    for line in ROUTES.iter().filter(|line| !is_open(line.auth)) {
        // The form of an id is checked first.
        let path = line.path.replace("{connection}", &format!("con_{}", "0".repeat(24)));
        let written = collect_log_lines(&fixture, || {
            let response = send(&fixture.world, &request(line.method, &path, &[("sec-fetch-site", "same-origin")], ""));
            assert_eq!(response.status, 401, "{path}");
        });
        let told = only_line_of_event(&written, "authentication_refused");
        let route = format!("{} {}", line.method.as_str(), line.path);
        assert_eq!(told, json!({ "code": "unauthorized", "route": route, "request": "req-1" }));
    }
}

#[test]
fn a_refused_key_is_logged_only_by_its_public_id() {
    let fixture = Fixture::new();
    let ended = make_key(&fixture, &[KeyScope::All], |key| key.expires_at = Some(fixture.world.now()));
    let id = format!("key_{}", ended.split('_').nth(1).unwrap());
    let written = collect_log_lines(&fixture, || {
        assert_eq!(
            status_and_code(&call(&fixture.world, &ended, Method::Get, "/v1/keys", &Value::Null)),
            (401, "unauthorized")
        );
    });
    assert_eq!(only_line_of_event(&written, "authentication_refused")["key"], json!(id));
    for wrong in ["hunter2", "cx_hunter2", "cx_0123456789ABCDEF_hunter2", ADMIN_KEY.split_at(1).1] {
        let written = collect_log_lines(&fixture, || {
            assert_eq!(call(&fixture.world, wrong, Method::Get, "/v1/workspaces", &Value::Null).0, 401);
            assert_eq!(call(&fixture.world, wrong, Method::Get, "/v1/keys", &Value::Null).0, 401);
        });
        assert_eq!(written.len(), 2);
        let text = serde_json::to_string(&written).unwrap();
        assert!(!text.contains(wrong) && !text.contains("hunter2") && !text.contains("\"key\""), "{text}");
    }
    let text = fixture.world.log.dump_lines();
    assert!(!text.contains(&ended) && !text.contains(ended.rsplit('_').next().unwrap()));
}

#[test]
fn refused_authorization_is_logged() {
    let fixture = Fixture::new();
    let stranger = fixture.other_workspace();
    let (id, foreign) = (fixture.connect("ann"), stranger.connect("bob"));
    let first = first_key(&fixture);
    let weak = make_key(&fixture, &[KeyScope::ConnectionsRead], |_| ());
    let limited = make_key(&fixture, &[KeyScope::All], |key| key.connections = Some(vec![]));
    let path = |id: &connections::ids::ConnectionId| format!("/v1/connections/{id}");
    let only = json!({ "allowed_workflows": ["payroll"] });
    assert_eq!(call(&fixture.world, &first, Method::Patch, &path(&id), &only).0, 200);
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
        let written = collect_log_lines(&fixture, || {
            let answer = call(&fixture.world, key, method, &address, &json!({}));
            assert_eq!(status_and_code(&answer), expected, "{address}");
        });
        let told = only_line_of_event(&written, "authorization_refused");
        assert_eq!((&told["code"], &told["route"]), (&json!(expected.1), &json!(route)));
        let id = format!("key_{}", key.split('_').nth(1).unwrap());
        assert_eq!((&told["key"], &told["request"]), (&json!(id), &json!("req-1")));
        assert!(
            told["workspace"].is_null() || told["workspace"] == json!(fixture.workspace),
            "never another's: {told}"
        );
    }
}

#[test]
fn refused_forms_and_used_links_are_logged_without_their_tokens() {
    let fixture = Fixture::new();
    let mut ann = CookieBrowser::signed_in_as(&fixture, "ann");
    let written = collect_log_lines(&fixture, || assert_eq!(ann.post("/sign-out", "csrf=hunter2").status, 403));
    let told = only_line_of_event(&written, "authorization_refused");
    assert_eq!((&told["code"], &told["route"]), (&json!("form_rejected"), &json!("POST /sign-out")));
    assert_eq!(told["workspace"], json!(fixture.workspace));

    let link = make_sign_in_link(&fixture, "bob");
    let mut bob = CookieBrowser::new(&fixture);
    let written = collect_log_lines(&fixture, || assert_eq!(bob.post(&link, "").status, 303));
    assert_eq!(
        only_line_of_event(&written, "signed_in"),
        json!({ "workspace": fixture.workspace, "request": "req-1" })
    );
    for (used, method) in
        [(link.as_str(), Method::Post), (link.as_str(), Method::Get), ("/connect/hunter2", Method::Get)]
    {
        let written =
            collect_log_lines(&fixture, || assert_eq!(CookieBrowser::new(&fixture).send(method, used, "").status, 410));
        assert_eq!(only_line_of_event(&written, "authorization_refused")["code"], json!("link_ended"));
    }
    let open = make_connect_link(&fixture, &json!({}));
    CookieBrowser::new(&fixture).post(&open, "");
    let text = fixture.world.log.dump_lines();
    for token in [&link, &open] {
        assert!(!text.contains(token.rsplit('/').next().unwrap()), "{text}");
    }
    assert!(!text.contains("hunter2") && !text.contains("\"bob\""), "{text}");
}

#[test]
fn each_returned_credential_is_logged_without_its_value() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let key = first_key(&fixture);
    for (mode, source) in [("strong", "database"), ("available", "database"), ("edge", "cache"), ("edge", "cache")] {
        let body = json!({ "workflow": "payroll", "step": "7\"}\n", "consistency": mode });
        assert_eq!(call(&fixture.world, &key, Method::Post, &format!("/v1/connections/{id}/resolve"), &body).0, 422);
        let body = json!({ "workflow": "payroll", "step": "7\"}{", "consistency": mode });
        let written = collect_log_lines(&fixture, || {
            let (status, answer) =
                call(&fixture.world, &key, Method::Post, &format!("/v1/connections/{id}/resolve"), &body);
            assert_eq!(status, 200, "{answer}");
        });
        let expected = json!({
            "connection": id, "key": fixture.key.id.as_str(), "workflow": "payroll", "step": "7\"}{",
            "source": source, "request": "req-1",
        });
        assert_eq!(only_line_of_event(&written, "credential_returned"), expected, "{mode}");
    }
    assert_eq!(
        fixture.world.log.count_events("credential_returned"),
        4,
        "each one, also within the five minutes of a use"
    );
    fixture.disconnect(&id).unwrap();
    call(&fixture.world, &key, Method::Post, &format!("/v1/connections/{id}/resolve"), &json!({}));
    assert_eq!(fixture.world.log.count_events("credential_returned"), 4, "and none that was not");
    assert!(!fixture.world.log.dump_lines().contains(CANARY));
}
