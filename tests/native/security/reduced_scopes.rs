//! Scopes that an app removes at a refresh are stored and reported (T36, RFC 6749 5.1 and 6).

use connections::error::ErrorCode;
use connections::http::Method;
use connections::resolve::{Consistency, ResolveRequest};
use serde_json::{Value, json};

use super::{CookieBrowser, call, first_key};
use crate::support::{Fixture, Reply};

fn request_with_scopes(scopes: &[&str], consistency: Consistency) -> ResolveRequest {
    ResolveRequest {
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        consistency,
        ..ResolveRequest::default()
    }
}

#[test]
fn fewer_scopes_after_a_refresh_are_stored_and_enforced_in_every_mode() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let key = first_key(&fixture);
    let path = format!("/v1/connections/{id}");
    for mode in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        fixture.resolve_and_finish(&id, request_with_scopes(&["read", "write"], mode)).unwrap();
    }
    fixture.expire_access_token(&id);
    fixture.world.acme.script_next("/token", Reply::edited(|answer| answer["scope"] = "read".into()));
    // A caller that needs a removed scope is refused by the refresh that it waited for.
    let error = fixture.resolve(&id, request_with_scopes(&["write"], Consistency::Strong)).map(|_| ()).unwrap_err();
    assert_eq!((error.code, error.hints.missing_scopes), (ErrorCode::MissingScopes, vec!["write".to_owned()]));

    let told = call(&fixture.world, &key, Method::Get, &path, &Value::Null).1;
    assert_eq!(told["scopes"], json!({ "requested": ["read", "write"], "granted": ["read"], "missing": ["write"] }));
    assert_eq!((&told["status"], &told["attention"][0]["code"]), (&json!("connected"), &json!("missing_scopes")));
    let listed = call(&fixture.world, &key, Method::Get, "/v1/connections?attention=missing_scopes", &Value::Null).1;
    assert_eq!(listed["data"][0]["id"], json!(id));
    for mode in ["strong", "available", "edge"] {
        let resolve = |scopes: Value| {
            let body = json!({ "scopes": scopes, "consistency": mode });
            call(&fixture.world, &key, Method::Post, &format!("{path}/resolve"), &body)
        };
        let (status, refused) = resolve(json!(["read", "write"]));
        assert_eq!(
            (status, &refused["code"], &refused["missing_scopes"]),
            (409, &json!("missing_scopes"), &json!(["write"])),
            "{mode}"
        );
        assert!(refused["reconnect_url"].as_str().unwrap().ends_with("/reconnect?scopes=write"), "{refused}");
        let (status, served) = resolve(json!(["read"]));
        assert_eq!((status, &served["credential"]["scopes"]), (200, &json!(["read"])), "{mode}");
    }
    let page = CookieBrowser::signed_in_as(&fixture, "ann").get(&format!("/connections/{id}")).body;
    assert!(page.contains("Missing permissions") && page.contains("write"), "{page}");
}

#[test]
fn a_refresh_without_scopes_keeps_them_and_one_with_more_restores_them() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    for (scope, granted) in [
        (json!("read"), vec!["read"]),
        (Value::Null, vec!["read"]),
        (json!("read write"), vec!["read", "write"]),
        (json!("write admin"), vec!["write", "admin"]),
    ] {
        fixture.expire_access_token(&id);
        let answer = scope.clone();
        fixture.world.acme.script_next("/token", Reply::edited(move |body| body["scope"] = answer.clone()));
        fixture.refresh_if_needed(&id);
        assert_eq!(fixture.load_connection(&id).scopes_granted, granted, "{scope}");
        assert_eq!(fixture.load_connection(&id).scopes_requested, ["read", "write"], "what was asked for stays");
    }
}
