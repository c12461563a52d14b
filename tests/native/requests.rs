//! Requests that can't be understood: which member is at fault, and what to do about it.

use connections::http::Method;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::Scene;

/// What a refusal says: its fields, each with its problem.
fn refused(scene: &Scene, (method, path): (Method, &str), body: &Value) -> Vec<(String, String)> {
    let (status, problem) = call(scene, &first_key(scene), method, path, body);
    assert_eq!((status, problem["code"].as_str()), (422, Some("invalid_request")), "{path} {body}: {problem}");
    let errors = problem["errors"].as_array().unwrap().iter();
    errors.map(|one| (one["field"].as_str().unwrap().into(), one["problem"].as_str().unwrap().into())).collect()
}

fn fields(scene: &Scene, to: (Method, &str), body: &Value) -> Vec<String> {
    refused(scene, to, body).into_iter().map(|(field, _)| field).collect()
}

const CONNECTIONS: (Method, &str) = (Method::Post, "/v1/connections");

#[test]
fn complaints_name_members_of_the_request() {
    let scene = Scene::new();
    let own = json!({ "type": "client_credentials", "client_id": "a", "client_secret": "b" });
    let key = json!({ "type": "api_key", "api_key": "rk_test_0123456789abcdefghijklmn", "x": "b" });
    for (body, field) in [
        (json!({ "app": "stripe", "credential": key }), "credential.x"),
        (json!({ "app": "stripe", "credential": { "type": "api_key" } }), "credential.api_key"),
        (json!({ "app": "shopify", "credential": own, "variables": { "shop": "a/b" } }), "variables.shop"),
        (json!({ "app": "shopify", "credential": own, "variables": { "shop": "a", "x": "b" } }), "variables.x"),
    ] {
        assert_eq!(fields(&scene, CONNECTIONS, &body), [field], "{body}");
    }
    let client = json!({ "client_id": "a", "client_secret": "b", "variables": { "x": "y" } });
    assert_eq!(fields(&scene, (Method::Put, "/v1/apps/shopify/client"), &client), ["variables.x"]);
}

#[test]
fn a_list_is_no_object_however_deep_it_stands() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let resolve = format!("/v1/connections/{id}/resolve");
    let user = json!({ "app": "stripe", "credential": { "type": "api_key", "api_key": "x" }, "user": ["ann"] });
    for (path, body, field, problem) in [
        (resolve.as_str(), json!([600, ["x"]]), "", "The body must be an object."),
        (&resolve, json!([]), "", "The body must be an object."),
        (&resolve, json!({ "expect": [] }), "expect", "must be an object."),
        ("/v1/links", json!(["X"]), "", "The body must be an object."),
        ("/v1/links", json!({ "user": ["ann"] }), "user", "must be an object."),
        ("/v1/sign-in-links", json!({ "user": ["ann"] }), "user", "must be an object."),
        ("/v1/connections", user, "user", "must be an object."),
        ("/v1/connections", json!({ "app": "stripe", "credential": ["api_key"] }), "credential", "must be an object."),
        (&resolve, json!({ "consistency": 5 }), "consistency", "must be a text."),
        (
            &resolve,
            json!({ "colour": 5 }),
            "colour",
            "is not known here; there are min_ttl, scopes, expect, workflow, step, force_refresh, consistency.",
        ),
    ] {
        assert_eq!(refused(&scene, (Method::Post, path), &body), [(field.into(), problem.into())], "{path} {body}");
    }
}

#[test]
fn a_list_is_never_wider_than_what_it_was_asked_for() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let uses = format!("/v1/connections/{id}/uses");
    let events = format!("/v1/connections/{id}/events");
    for (path, query, field, problem) in [
        ("/v1/connections", "user=", "user", "is empty. Give a value, or leave it out."),
        (
            "/v1/connections",
            "metadata=a",
            "metadata",
            "there are app, status, user, workflow, q, attention, limit, cursor.",
        ),
        ("/v1/connections", "user=ann&user=bob", "user", "stands here twice; remove one."),
        ("/v1/connections", "limit=", "limit", "is empty"),
        ("/v1/connections", "cursor=", "cursor", "is empty"),
        ("/v1/apps", "category=", "category", "is empty"),
        ("/v1/apps", "user=ann", "user", "there are q, category, limit, cursor."),
        ("/v1/apps", "cursor=X%20X", "cursor", "is not one this list gave"),
        ("/v1/keys", "q=a", "q", "there are limit, cursor."),
        ("/v1/keys", "cursor=xx", "cursor", "is not one this list gave"),
        (&uses, "step=a", "step", "there are limit, cursor."),
        (&events, "type=a", "type", "there are limit, cursor."),
    ] {
        let found = refused(&scene, (Method::Get, &format!("{path}?{query}")), &Value::Null);
        assert_eq!(found.len(), 1, "{path}?{query}: {found:?}");
        assert_eq!(found[0].0, field, "{path}?{query}");
        assert!(found[0].1.contains(problem), "{path}?{query}: {found:?}");
    }
    for path in ["/v1/connections", "/v1/apps", "/v1/keys", &uses, &events] {
        assert_eq!(call(&scene, &first_key(&scene), Method::Get, &format!("{path}?limit=1"), &Value::Null).0, 200);
    }
}
