//! A changed definition applies to existing connections if it adds no destination. Otherwise the answer says so.

use connections::connection::{ConnectionStatus, MoveObstacle};
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::{RefreshOutcome, RefreshReason};
use connections::resolve::{Consistency, ResolveRequest, Source};
use connections::store::authorizations::FlowOutcome;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::database::{Fault, FaultRule};
use crate::support::fixture::{BROWSER_SESSION, acme_definition};
use crate::support::world::{RefreshMode, World};
use crate::support::{Fixture, Reply};

/// The definition with some members changed: a pointer and its value, or null to remove it.
fn change_definition(changes: &[(&str, Value)]) -> Value {
    let mut json = acme_definition();
    for (pointer, value) in changes {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = json.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(name);
        } else {
            parent.insert(name.to_owned(), value.clone());
        }
    }
    json
}

/// Stores a definition. Returns what happened to the connections.
fn put_definition(fixture: &Fixture, definition: &Value) -> Value {
    let (status, body) = call(fixture, &first_key(fixture), Method::Put, "/v1/apps/acme", definition);
    assert_eq!(status, 200, "{body}");
    body["connections"].clone()
}

fn move_counts(moved: u64, staying: u64, pending: u64) -> Value {
    json!({ "moved": moved, "staying": staying, "pending": pending })
}

fn get_connection(fixture: &Fixture, id: &ConnectionId) -> Value {
    call(fixture, &first_key(fixture), Method::Get, &format!("/v1/connections/{id}"), &Value::Null).1
}

fn find_attention(fixture: &Fixture, id: &ConnectionId) -> Option<Value> {
    get_connection(fixture, id)["attention"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["code"] == "definition_changed")
        .cloned()
}

fn count_events(fixture: &Fixture, id: &ConnectionId, kind: &str) -> usize {
    let path = format!("/v1/connections/{id}/events");
    let (_, events) = call(fixture, &first_key(fixture), Method::Get, &path, &Value::Null);
    events["data"].as_array().unwrap().iter().filter(|event| event["type"] == kind).count()
}

fn app_revision(fixture: &Fixture, id: &ConnectionId) -> i64 {
    fixture.load_connection(id).app_revision
}

#[test]
fn a_change_without_new_destinations_applies_to_existing_connections() {
    for change in [
        ("/errors", json!({ "permanent": ["gone_away"] })),
        ("/scopes", json!(["read", "write", "admin"])),
        ("/request", json!({ "base_url": "https://acme.example/v2/" })),
        ("/identity/label", json!("/name")),
        ("/name", json!("Acme Corp")),
        ("/auth/revoke_url", Value::Null),
        ("/auth/rotation", json!("none")),
        ("/check", json!({ "url": "https://acme.example/check" })),
        ("/auth/access_token_lifetime", json!(7200)),
    ] {
        let fixture = Fixture::new();
        let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
        let before = fixture.load_connection(&id);
        let new = change_definition(std::slice::from_ref(&change));
        let (status, body) = call(&fixture, &first_key(&fixture), Method::Put, "/v1/apps/acme", &new);
        assert_eq!(status, 200, "{change:?}: {body}");
        assert_eq!(body["connections"], move_counts(2, 0, 0), "{change:?}");
        let after = fixture.load_connection(&id);
        assert_eq!((after.app_revision, app_revision(&fixture, &other)), (2, 2), "{change:?}");
        assert_eq!(
            (after.destinations, after.sealed_credential, after.version, after.generation, after.account),
            (before.destinations, before.sealed_credential, before.version, before.generation, before.account),
            "{change:?}: nothing else changes"
        );
        assert_eq!(
            (count_events(&fixture, &id, "definition_updated"), find_attention(&fixture, &id)),
            (1, None),
            "{change:?}"
        );
        fixture.expire_access_token(&id);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed, "{change:?}");
    }
}

#[test]
fn a_moved_connection_is_resolved_with_the_new_definition() {
    let fixture = Fixture::with_definition(&json!({ "request": { "base_url": "https://acme.example/v1/" } }));
    let id = fixture.connect("ann");
    let base = || {
        let answered = fixture
            .resolve_and_finish(
                &id,
                ResolveRequest { consistency: Consistency::Available, ..ResolveRequest::default() },
            )
            .unwrap();
        answered.resolved.issued.request.base_url.clone().unwrap()
    };
    assert!(base().ends_with("/v1/"));
    put_definition(&fixture, &change_definition(&[("/request", json!({ "base_url": "https://acme.example/v2/" }))]));
    assert!(base().ends_with("/v2/"));
    let edge = fixture
        .resolve_and_finish(&id, ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() })
        .unwrap()
        .resolved;
    assert_eq!(edge.source, Source::Cache);
    assert!(edge.issued.request.base_url.as_deref().unwrap().ends_with("/v2/"), "the copy is the new one");
}

#[test]
fn a_cache_entry_that_could_not_be_deleted_is_replaced_at_the_next_use() {
    let world = World::new(RefreshMode::Direct, None).in_one_isolate();
    let fixture = Fixture::in_world(&world, &json!({ "request": { "base_url": "https://acme.example/v1/" } }));
    let id = fixture.connect("ann");
    let request = |consistency| ResolveRequest { consistency, ..ResolveRequest::default() };
    fixture.resolve_and_finish(&id, request(Consistency::Available)).unwrap();
    fixture.world.cache.refused_deletes.set(9);
    put_definition(&fixture, &change_definition(&[("/request", json!({ "base_url": "https://acme.example/v2/" }))]));
    fixture.resolve_and_finish(&id, request(Consistency::Available)).unwrap();
    let edge = fixture.resolve(&id, request(Consistency::Edge)).unwrap().resolved;
    assert!(edge.issued.request.base_url.as_deref().unwrap().ends_with("/v2/"));
}

#[test]
fn a_hot_resolve_after_a_move_costs_the_same() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let cost = || {
        fixture.world.db.reset_counts();
        fixture.resolve(&id, ResolveRequest::default()).unwrap();
        (fixture.world.db.round_trips.get(), fixture.world.db.statements.get(), fixture.world.db.rows_scanned.get())
    };
    let before = cost();
    put_definition(&fixture, &change_definition(&[("/name", json!("Acme Corp"))]));
    assert_eq!(cost(), before);
    assert_eq!(before.0, 1);
}

#[test]
fn a_change_with_new_destinations_is_not_applied_and_is_reported() {
    for (change, obstacle, host) in [
        (("/auth/token_url", json!("https://evil.example/token")), MoveObstacle::Addresses, Some("evil.example")),
        (("/auth/token_url", json!("https://acme.example/other")), MoveObstacle::Addresses, Some("acme.example/other")),
        (("/auth/refresh_url", json!("https://evil.example/token")), MoveObstacle::Addresses, Some("evil.example")),
        (("/auth/revoke_url", json!("https://evil.example/revoke")), MoveObstacle::Addresses, Some("evil.example")),
        (("/request", json!({ "base_url": "https://evil.example/" })), MoveObstacle::Addresses, Some("evil.example")),
        (
            ("/request", json!({ "base_url": "https://acme.example:8443/" })),
            MoveObstacle::Addresses,
            Some("acme.example:8443"),
        ),
        (("/check", json!({ "url": "https://evil.example/me" })), MoveObstacle::Addresses, Some("evil.example")),
        (("/auth/authorize_url", json!("https://evil.example/authorize")), MoveObstacle::Client, None),
        (("/identity/id", json!("/email")), MoveObstacle::Identity, None),
        (("/identity/url", json!("https://acme.example/team")), MoveObstacle::Identity, None),
    ] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        let before = fixture.load_connection(&id);
        assert_eq!(
            put_definition(&fixture, &change_definition(std::slice::from_ref(&change))),
            move_counts(0, 1, 0),
            "{change:?}"
        );
        let row = fixture.load_connection(&id);
        assert_eq!((row.app_revision, &row.destinations), (1, &before.destinations), "{change:?}");
        let told = find_attention(&fixture, &id).unwrap_or_else(|| panic!("{change:?}"));
        assert_eq!(row.definition_changed.unwrap().obstacle, obstacle, "{change:?}");
        assert_eq!(told["hosts"], host.map_or(Value::Null, |host| json!([host])), "{change:?}");
        assert!(told["reconnect_url"].as_str().unwrap().ends_with(&format!("/connections/{id}/reconnect")));
        assert!(told["detail"].as_str().unwrap().contains("Reconnect"), "{told}");
        let list = "/v1/connections?attention=definition_changed";
        assert_eq!(
            call(&fixture, &first_key(&fixture), Method::Get, list, &Value::Null).1["data"][0]["id"],
            id.as_str()
        );
        assert_eq!(count_events(&fixture, &id, "definition_changed"), 1);
        let asked = fixture.world.acme.requested_urls().len();
        fixture.expire_access_token(&id);
        assert_eq!(
            fixture.refresh_if_needed(&id),
            RefreshOutcome::Refreshed,
            "{change:?}: it goes on with the earlier definition"
        );
        let asked = fixture.world.acme.requested_urls().split_off(asked);
        assert!(asked.iter().all(|url| url.starts_with("https://acme.example/")), "{asked:?}");
    }
}

#[test]
fn changes_of_fields_types_or_variables_are_not_applied() {
    let key = |fields: Value| json!({ "type": "api_key", "fields": fields });
    let one = json!([{ "id": "api_key", "label": "Key" }]);
    let two = json!([{ "id": "api_key", "label": "Key" }, { "id": "tenant", "label": "Tenant" }]);
    for (after, extra, obstacle) in [
        (key(two), json!({}), MoveObstacle::Fields),
        (json!({ "type": "bot_token" }), json!({}), MoveObstacle::Method),
        (key(one.clone()), json!({ "shop": { "label": "Shop", "pattern": "[a-z]+" } }), MoveObstacle::Variables),
    ] {
        let base = json!({
            "id": "acme", "name": "Acme", "auth": key(one.clone()),
            "request": { "headers": { "x-key": "{api_key}" }, "base_url": "https://acme.example/" },
        });
        let fixture = Fixture::new();
        let all = first_key(&fixture);
        let defined = json!({ "id": "keyed" });
        let with = |json: &Value| {
            let mut json = json.clone();
            json["id"] = defined["id"].clone();
            json["name"] = "Keyed".into();
            json
        };
        let (status, body) = call(&fixture, &all, Method::Post, "/v1/apps", &with(&base));
        assert_eq!(status, 201, "{body}");
        let entered =
            json!({ "app": "keyed", "credential": { "type": "api_key", "api_key": "live_1" }, "check": false });
        let (status, made) = call(&fixture, &all, Method::Post, "/v1/connections", &entered);
        assert_eq!(status, 201, "{made}");
        let id = ConnectionId::parse(made["id"].as_str().unwrap()).unwrap();
        let mut next = with(&base);
        next["auth"] = after;
        if obstacle == MoveObstacle::Method {
            next["request"]["headers"] = json!({ "x-key": "{token}" });
        }
        if extra.as_object().is_some_and(|extra| !extra.is_empty()) {
            next["variables"] = extra;
            next["request"]["base_url"] = "https://acme.example/{shop}/".into();
        }
        let (status, body) = call(&fixture, &all, Method::Put, "/v1/apps/keyed", &next);
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["connections"], move_counts(0, 1, 0));
        let row = fixture.load_connection(&id);
        assert_eq!(row.definition_changed.unwrap().obstacle, obstacle);
        assert!(fixture.resolve(&id, ResolveRequest::default()).is_ok());
    }
}

#[test]
fn a_connection_follows_a_definition_once_it_can() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    put_definition(&fixture, &change_definition(&[("/identity/id", json!("/email"))]));
    assert!(find_attention(&fixture, &id).is_some());
    assert_eq!(put_definition(&fixture, &change_definition(&[("/name", json!("Acme Corp"))])), move_counts(1, 0, 0));
    assert_eq!((app_revision(&fixture, &id), find_attention(&fixture, &id)), (3, None));
}

#[test]
fn a_reconnect_clears_the_attention() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    put_definition(&fixture, &change_definition(&[("/request", json!({ "base_url": "https://new.example/" }))]));
    assert!(find_attention(&fixture, &id).is_some());
    let secret = fixture.world.acme.client_secret.borrow().clone();
    fixture.put_client_secret(&secret);
    assert_eq!(fixture.complete_flow(&fixture.repair_request(&id), "ann").outcome, FlowOutcome::Done);
    assert_eq!((app_revision(&fixture, &id), find_attention(&fixture, &id)), (2, None));
}

#[test]
fn an_unchanged_put_returns_the_same_result() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let new = change_definition(&[("/request", json!({ "base_url": "https://new.example/" }))]);
    assert_eq!(put_definition(&fixture, &new), move_counts(0, 1, 0));
    assert_eq!(put_definition(&fixture, &new), move_counts(0, 1, 0));
    assert_eq!(count_events(&fixture, &id, "definition_changed"), 1, "told once");
    assert_eq!(put_definition(&fixture, &acme_definition()), move_counts(1, 0, 0));
}

#[test]
fn a_connection_with_a_running_refresh_is_moved_by_the_next_run() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    fixture.world.acme.latency_ms.set(8000);
    let waiting = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, RefreshReason::Force));
    fixture.world.run(async { fixture.world.runtime.sleep(1000).await });
    assert!(fixture.load_connection(&id).lease.is_some());
    assert_eq!(put_definition(&fixture, &change_definition(&[("/name", json!("Acme Corp"))])), move_counts(0, 0, 1));
    assert_eq!(fixture.world.run(waiting), RefreshOutcome::Refreshed);
    assert_eq!(app_revision(&fixture, &id), 1);
    fixture.world.acme.latency_ms.set(0);
    fixture.world.advance_clock(3901);
    assert_eq!(fixture.run_scheduled().moved, 1);
    assert_eq!(app_revision(&fixture, &id), 2);
}

#[test]
fn a_connection_of_an_unreachable_app_follows_a_correction() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    fixture.world.acme.script_always("/token", Some(Reply::status(503, "")));
    assert!(matches!(fixture.refresh_if_needed(&id), RefreshOutcome::Unavailable { .. }));
    let corrected = change_definition(&[("/errors", json!({ "permanent": ["gone_away"] }))]);
    assert_eq!(put_definition(&fixture, &corrected), move_counts(0, 0, 1), "its answer may still come");
    fixture.world.advance_clock(3901);
    assert!(fixture.load_connection(&id).lease.is_some(), "it is left behind until the next attempt");
    assert_eq!((fixture.run_scheduled().moved, app_revision(&fixture, &id)), (1, 2));
}

#[test]
fn a_connection_from_a_flow_before_the_change_follows_it() {
    let fixture = Fixture::new();
    fixture.connect("bob");
    let url = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    put_definition(&fixture, &change_definition(&[("/name", json!("Acme Corp"))]));
    let (code, state) = fixture.world.acme.consent(&url, "ann");
    let returned =
        connections::connect::callback::CallbackParams { state: Some(state), code: Some(code), ..Default::default() };
    fixture.return_from_app(returned, BROWSER_SESSION);
    let behind = "SELECT count(*) FROM connections WHERE app_revision = 1";
    assert_eq!(fixture.world.db.query_number(behind), 1);
    fixture.world.advance_clock(3901);
    assert_eq!(fixture.run_scheduled().moved, 1);
    assert_eq!(fixture.world.db.query_number(behind), 0);
    fixture.world.advance_clock(3901);
    fixture.run_scheduled();
    assert_eq!(
        fixture.world.db.query_value("SELECT rollout_due_at FROM apps WHERE is_current = 1"),
        Value::Null,
        "all is done"
    );
}

/// Many connections, as copies of one row.
fn copy_connection(fixture: &Fixture, id: &ConnectionId, number: usize) {
    let columns: Vec<String> = {
        let text = fixture
            .world
            .db
            .query_value("SELECT group_concat(name) FROM pragma_table_info('connections') WHERE name <> 'id'");
        text.as_str().unwrap().split(',').map(ToOwned::to_owned).collect()
    };
    let columns = columns.join(", ");
    for at in 0..number {
        let copy = ConnectionId::parse(&format!("con_{at:022}")).unwrap();
        fixture.world.db.tamper(&format!(
            "INSERT INTO connections (id, {columns}) SELECT '{copy}', {columns} FROM connections WHERE id = '{id}'"
        ));
    }
    fixture.world.db.tamper("UPDATE connections SET next_check_at = NULL");
}

#[test]
fn hundreds_of_connections_move_in_bounded_steps() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    copy_connection(&fixture, &id, 450);
    let new = change_definition(&[("/name", json!("Acme Corp"))]);
    assert_eq!(put_definition(&fixture, &new), move_counts(200, 0, 251));
    // A run that fails in the middle loses nothing.
    fixture.world.advance_clock(121);
    let fault = FaultRule { statement_part: "UPDATE apps SET rollout_cursor", times: 1, fault: Fault::BeforeCommit };
    fixture.world.db.fault_rules.borrow_mut().push(fault);
    assert_eq!(fixture.run_scheduled().moved, 0);
    fixture.world.advance_clock(121);
    assert_eq!(fixture.run_scheduled().moved, 200);
    assert_eq!(fixture.run_scheduled().moved, 51);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections WHERE app_revision = 2"), 451);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'definition_updated'"), 451);
}

#[test]
fn connections_of_a_deleted_app_keep_their_definition() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    put_definition(&fixture, &change_definition(&[("/request", json!({ "base_url": "https://new.example/" }))]));
    assert!(find_attention(&fixture, &id).is_some());
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Delete, "/v1/apps/acme", &Value::Null).0, 200);
    assert_eq!(find_attention(&fixture, &id), None, "there is no other definition any more");
    fixture.world.advance_clock(4000);
    fixture.run_scheduled();
    assert_eq!(
        call(&fixture, &first_key(&fixture), Method::Post, "/v1/apps", &change_definition(&[("/name", json!("New"))]))
            .0,
        201
    );
    fixture.world.advance_clock(4000);
    fixture.run_scheduled();
    assert_eq!((app_revision(&fixture, &id), fixture.load_connection(&id).status), (1, ConnectionStatus::Connected));
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
}

#[test]
fn the_statements_of_a_move_use_indexes() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    fixture.world.db.reset_counts();
    put_definition(&fixture, &change_definition(&[("/name", json!("Acme Corp"))]));
    fixture.world.advance_clock(3901);
    fixture.run_scheduled();
    call(&fixture, &first_key(&fixture), Method::Delete, "/v1/apps/acme", &Value::Null);
    let seen = fixture.world.db.statements_run.borrow().clone();
    for (has, index) in [
        (
            "app_revision > 0 AND deleted_at IS NULL ORDER BY",
            "connections_by_revision (workspace_id=? AND app=? AND (app_revision,id)>(?,?)",
        ),
        ("definition_update_blocked IS NOT NULL", "connections_with_blocked_update (workspace_id=? AND app=?)"),
        ("SET rollout_due_at = ?2", "apps_rollout_due (rollout_due_at>? AND rollout_due_at<?)"),
    ] {
        let sql = seen
            .iter()
            .find(|sql| sql.contains(has) && !sql.contains("AS duplicate"))
            .unwrap_or_else(|| panic!("{has}"));
        let plan = fixture.world.db.explain_query_plan(sql).join("\n");
        assert!(plan.contains(index), "{has}: {plan}");
        assert!(!plan.contains("USE TEMP B-TREE"), "{plan}");
    }
}
