//! The filters of `GET /v1/connections`.

use connections::caller::KeyScope;
use connections::http::Method;
use connections::ids::ConnectionId;
use serde_json::{Value, json};

use crate::http::{call, first_key, make_key};
use crate::support::Fixture;

fn list(fixture: &Fixture, key: &str, query: &str) -> Vec<String> {
    let (status, page) = call(fixture, key, Method::Get, &format!("/v1/connections?{query}"), &Value::Null);
    assert_eq!(status, 200, "{query}: {page}");
    let mut ids: Vec<_> =
        page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

fn sorted(ids: &[&ConnectionId]) -> Vec<String> {
    let mut ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn a_list_has_what_its_filters_say() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|who| fixture.connect(who));
    fixture.world.db.tamper(&format!("UPDATE connections SET status = 'needs_reconnect' WHERE id = '{bob}'"));
    fixture.world.db.tamper(&format!("UPDATE connections SET status = 'awaiting_confirmation' WHERE id = '{cid}'"));
    fixture.world.db.tamper(&format!("UPDATE connections SET user_id = NULL, user_name = NULL WHERE id = '{ann}'"));
    fixture.world.db.tamper(&format!("UPDATE connections SET user_id = 'u' WHERE id <> '{ann}'"));
    fixture.world.advance_clock(100);
    let since = fixture.world.now().rfc3339();
    for (id, metadata) in [(&ann, json!({ "team": "a", "x y": "1" })), (&bob, json!({ "team": "a" }))] {
        let path = format!("/v1/connections/{id}");
        assert_eq!(call(&fixture, &key, Method::Patch, &path, &json!({ "metadata": metadata })).0, 200);
    }
    let all = sorted(&[&ann, &bob, &cid]);
    for (query, expected) in [
        ("status=needs_reconnect".to_owned(), sorted(&[&bob])),
        ("status=needs_reconnect,awaiting_confirmation".into(), sorted(&[&bob, &cid])),
        ("status=connected,needs_reconnect,awaiting_confirmation".into(), all),
        ("user=none".into(), sorted(&[&ann])),
        ("user=none&status=needs_reconnect".into(), vec![]),
        ("user=u".into(), sorted(&[&bob, &cid])),
        (format!("ids={ann},{cid}"), sorted(&[&ann, &cid])),
        (format!("ids={ann},{cid}&status=connected"), sorted(&[&ann])),
        ("metadata.team=a".into(), sorted(&[&ann, &bob])),
        ("metadata.team=a&metadata.x%20y=1".into(), sorted(&[&ann])),
        ("metadata.team=b".into(), vec![]),
        (format!("updated_since={since}"), sorted(&[&ann, &bob])),
        (format!("updated_since={since}&status=needs_reconnect,connected&user=none"), sorted(&[&ann])),
    ] {
        assert_eq!(list(&fixture, &key, &query), expected, "{query}");
    }
    let limited = make_key(&fixture, |key| {
        key.scopes = vec![KeyScope::ConnectionsRead];
        key.connections = Some(vec![ann.clone()]);
    });
    assert_eq!(list(&fixture, &limited, &format!("ids={ann},{bob}")), sorted(&[&ann]), "its own list still holds");
    assert_eq!(list(&fixture, &limited, &format!("ids={bob}")), [] as [String; 0]);
}

#[test]
fn a_wrong_filter_is_refused_by_name() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let many = vec!["con_000000000000000000000000"; 201].join(",");
    for (query, field) in [
        ("status=connected,nonsense", "status"),
        ("ids=x", "ids"),
        (&*format!("ids={many}"), "ids"),
        ("metadata.=a", "metadata."),
        ("metadata.team=", "metadata.team"),
        ("metadata=a", "metadata"),
        ("updated_since=today", "updated_since"),
    ] {
        let (status, problem) = call(&fixture, &key, Method::Get, &format!("/v1/connections?{query}"), &Value::Null);
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some(field)), "{query}");
    }
}
