//! Invalid requests: which member is wrong, and how to correct it.

use connections::client::ClientSecret;
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::secret::Secret;
use connections::store::clients;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::Fixture;

/// The fields of a refusal, each with its problem.
fn field_errors(fixture: &Fixture, (method, path): (Method, &str), body: &Value) -> Vec<(String, String)> {
    let (status, problem) = call(fixture, &first_key(fixture), method, path, body);
    assert_eq!((status, problem["code"].as_str()), (422, Some("invalid_request")), "{path} {body}: {problem}");
    let errors = problem["errors"].as_array().unwrap().iter();
    errors.map(|one| (one["field"].as_str().unwrap().into(), one["problem"].as_str().unwrap().into())).collect()
}

fn fields_in_error(fixture: &Fixture, to: (Method, &str), body: &Value) -> Vec<String> {
    field_errors(fixture, to, body).into_iter().map(|(field, _)| field).collect()
}

const POST_CONNECTIONS: (Method, &str) = (Method::Post, "/v1/connections");

#[test]
fn errors_name_members_of_the_request() {
    let fixture = Fixture::new();
    let own = json!({ "type": "client_credentials", "client_id": "a", "client_secret": "b" });
    let key = json!({ "type": "api_key", "api_key": "rk_test_0123456789abcdefghijklmn", "x": "b" });
    for (body, field) in [
        (json!({ "app": "stripe", "credential": key }), "credential.x"),
        (json!({ "app": "stripe", "credential": { "type": "api_key" } }), "credential.api_key"),
        (json!({ "app": "shopify", "credential": own, "variables": { "shop": "a/b" } }), "variables.shop"),
        (json!({ "app": "shopify", "credential": own, "variables": { "shop": "a", "x": "b" } }), "variables.x"),
    ] {
        assert_eq!(fields_in_error(&fixture, POST_CONNECTIONS, &body), [field], "{body}");
    }
    let client = json!({ "client_id": "a", "client_secret": "b", "variables": { "x": "y" } });
    assert_eq!(fields_in_error(&fixture, (Method::Put, "/v1/apps/shopify/client"), &client), ["variables.x"]);
}

#[test]
fn a_list_is_not_accepted_as_an_object_at_any_depth() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
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
        assert_eq!(
            field_errors(&fixture, (Method::Post, path), &body),
            [(field.into(), problem.into())],
            "{path} {body}"
        );
    }
}

#[test]
fn a_filtered_list_never_returns_more_than_the_filter() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let uses = format!("/v1/connections/{id}/uses");
    let events = format!("/v1/connections/{id}/events");
    for (path, query, field, problem) in [
        ("/v1/connections", "user=", "user", "is empty. Give a value, or leave it out."),
        (
            "/v1/connections",
            "metadata=a",
            "metadata",
            "there are app, status, user, environment, workflow, q, attention, ids, updated_since, limit, cursor, metadata.KEY.",
        ),
        ("/v1/connections", "user=ann&user=bob", "user", "is duplicated; remove one."),
        ("/v1/connections", "limit=", "limit", "is empty"),
        ("/v1/connections", "cursor=", "cursor", "is empty"),
        ("/v1/apps", "category=", "category", "is empty"),
        ("/v1/apps", "user=ann", "user", "there are q, category, limit, cursor."),
        ("/v1/apps", "cursor=X%20X", "cursor", "is not a cursor of this list"),
        ("/v1/keys", "q=a", "q", "there are made_by, limit, cursor."),
        ("/v1/links", "user=a", "user", "there are app, connection, status, key, limit, cursor."),
        ("/v1/sign-in-links", "type=a", "type", "there are user, key, limit, cursor."),
        ("/v1/sessions", "key=", "key", "is empty"),
        ("/v1/keys", "cursor=xx", "cursor", "is not a cursor of this list"),
        (&uses, "step=a", "step", "there are limit, cursor."),
        (&events, "type=a", "type", "there are limit, cursor."),
    ] {
        let found = field_errors(&fixture, (Method::Get, &format!("{path}?{query}")), &Value::Null);
        assert_eq!(found.len(), 1, "{path}?{query}: {found:?}");
        assert_eq!(found[0].0, field, "{path}?{query}");
        assert!(found[0].1.contains(problem), "{path}?{query}: {found:?}");
    }
    for path in ["/v1/connections", "/v1/apps", "/v1/keys", &uses, &events] {
        assert_eq!(call(&fixture, &first_key(&fixture), Method::Get, &format!("{path}?limit=1"), &Value::Null).0, 200);
    }
}

#[test]
fn catalogue_apps_exist_and_cannot_be_changed() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let definition = json!({ "id": "slack", "name": "Slack", "auth": { "type": "api_key" } });
    for (method, body) in [(Method::Put, definition), (Method::Delete, Value::Null)] {
        let (status, problem) = call(&fixture, &key, method, "/v1/apps/slack", &body);
        assert_eq!((status, problem["code"].as_str()), (409, Some("conflict")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("under another id"), "{problem}");
    }
    let (status, _) = call(&fixture, &key, Method::Delete, "/v1/apps/nothing", &Value::Null);
    assert_eq!(status, 404);
    let (status, problem) =
        call(&fixture, &key, Method::Get, "/v1/apps/slack/client?auth_method=user_token", &Value::Null);
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().starts_with("The way user_token of Slack needs no"), "{problem}");
}

const PUT_CLIENT: (Method, &str) = (Method::Put, "/v1/apps/acme/client");

#[test]
fn surrounding_text_of_a_client_is_removed_and_errors_are_named() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let body =
        json!({ "client_id": "\u{feff}acme-\u{200b}client\n", "client_secret": "\tCLIENT_SECRET=\"secret\"\r\n" });
    let (status, client) = call(&fixture, &key, PUT_CLIENT.0, PUT_CLIENT.1, &body);
    assert_eq!((status, client["client_id"].as_str()), (200, Some("acme-client")), "{client}");
    let kept = fixture.world.run(async {
        let context = fixture.world.context();
        let client = clients::get_current(context.db(), &fixture.workspace, "acme").await.unwrap().unwrap();
        client.secret(&context.config.key_ring).unwrap()
    });
    assert_eq!(kept, ClientSecret::SharedSecret(Secret::new("secret")));
    let past = fixture.world.now();
    for (body, field, problem) in [
        (json!({ "client_id": "Ü" }), "client_id", "begins with a character that is not ASCII. Copy it"),
        (json!({ "client_id": " " }), "client_id", "is missing."),
        (json!({ "client_id": "a", "client_secret": "a\nb" }), "client_secret", "must be one line."),
        (json!({ "client_id": "a", "client_secret": "a".repeat(5000) }), "client_secret", "is over 4096 bytes."),
        (json!({ "client_id": "a", "secret_expires_at": past }), "secret_expires_at", "has passed."),
    ] {
        let found = field_errors(&fixture, PUT_CLIENT, &body);
        assert_eq!(found[0].0, field, "{found:?}");
        assert!(found[0].1.starts_with(problem), "{found:?}");
    }
}

#[test]
fn an_error_of_the_whole_body_names_the_body() {
    let fixture = Fixture::new();
    let long = json!({ "id": "a", "name": "a".repeat(70_000) });
    for (body, problem) in [(long, "The body is over 64 KB."), (json!([]), "The body must be a JSON object.")] {
        assert_eq!(field_errors(&fixture, (Method::Post, "/v1/apps"), &body), [(String::new(), problem.into())]);
    }
    let bare = json!({ "id": "a", "name": "A", "auth": {} });
    assert_eq!(
        field_errors(&fixture, (Method::Post, "/v1/apps"), &bare),
        [("auth.type".into(), "is required.".into())]
    );
}

#[test]
fn a_user_name_has_no_colon() {
    let fixture = Fixture::new();
    let custom = json!({ "id": "desk", "name": "Desk", "auth": { "type": "basic" } });
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Post, "/v1/apps", &custom).0, 201);
    let credential = |name: &str| json!({ "type": "basic", "username": name, "password": "p:q" });
    let body = |name: &str| json!({ "app": "desk", "credential": credential(name) });
    let found = field_errors(&fixture, POST_CONNECTIONS, &body("ann:b"));
    assert_eq!(found[0].0, "credential.username");
    assert!(found[0].1.contains("colon"), "{found:?}");
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Post, "/v1/connections", &body("ann")).0, 201);
}

#[test]
fn an_unreachable_issuer_is_a_result_of_a_client_test() {
    let endpoints = json!({ "authorize_url": null, "token_url": null, "revoke_url": null });
    let mut auth = endpoints;
    auth["issuer"] = "https://nowhere.example".into();
    let fixture = Fixture::with_definition(&json!({ "auth": auth, "identity": null }));
    let (status, trial) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/apps/acme/client/test", &Value::Null);
    assert_eq!((status, trial["verdict"].as_str()), (200, Some("unreachable")), "{trial}");
    assert!(trial["detail"].as_str().unwrap().contains("issuer"), "{trial}");
    assert!(trial["redirect_uri"].as_str().unwrap().contains("/oauth/callback/"), "{trial}");
}

/// The connection's audit log, newest first, read in pages of `limit`: type and detail.
fn list_events(fixture: &Fixture, id: &ConnectionId, limit: usize) -> Vec<(String, Option<String>)> {
    let mut told = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/connections/{id}/events?limit={limit}{cursor}");
        let (status, page) = call(fixture, &first_key(fixture), Method::Get, &path, &Value::Null);
        assert_eq!(status, 200, "{page}");
        let text = |one: &Value| one.as_str().map(str::to_owned);
        let events = page["data"].as_array().unwrap().iter();
        told.extend(events.map(|one| (text(&one["type"]).unwrap(), text(&one["detail"]))));
        let Some(next) = page["next_cursor"].as_str() else { return told };
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn the_audit_log_lists_changes_in_order() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let path = format!("/v1/connections/{id}");
    for body in [
        json!({}),
        json!({ "name": "One" }),
        json!({ "name": "One", "metadata": { "team": "a" } }),
        json!({ "allowed_workflows": ["w"], "metadata": { "team": "a" } }),
        json!({ "allowed_workflows": null, "metadata": {}, "name": "Two" }),
    ] {
        assert_eq!(call(&fixture, &first_key(&fixture), Method::Patch, &path, &body).0, 200, "{body}");
    }
    let edited = |detail: &str| ("edited".to_owned(), Some(detail.to_owned()));
    let expected = [
        edited("metadata, allowed_workflows, name: Two"),
        edited("allowed_workflows"),
        edited("metadata"),
        edited("name: One"),
        ("connected".to_owned(), None),
    ];
    for limit in [1, 2, 50] {
        assert_eq!(list_events(&fixture, &id, limit), expected);
    }
}
