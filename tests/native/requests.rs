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
