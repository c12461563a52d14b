//! A changed definition reaches existing connections where their secrets go nowhere else, and says where it does not.

use connections::connection::{Obstacle, Status};
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::{Errand, ErrandOutcome};
use connections::resolve::{Ask, Consistency, Source};
use connections::store::authorizations::Outcome;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::database::{Fault, Wound};
use crate::support::scene::{BROWSER, definition};
use crate::support::world::{Way, World};
use crate::support::{Reply, Scene};

/// The definition with some of its members changed: a pointer and what stands there, null to remove it.
fn changed(changes: &[(&str, Value)]) -> Value {
    let mut json = definition();
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

/// Puts a definition; what became of the connections.
fn put(scene: &Scene, definition: &Value) -> Value {
    let (status, body) = call(scene, &first_key(scene), Method::Put, "/v1/apps/acme", definition);
    assert_eq!(status, 200, "{body}");
    body["connections"].clone()
}

fn moves(moved: u64, staying: u64, pending: u64) -> Value {
    json!({ "moved": moved, "staying": staying, "pending": pending })
}

fn shown(scene: &Scene, id: &ConnectionId) -> Value {
    call(scene, &first_key(scene), Method::Get, &format!("/v1/connections/{id}"), &Value::Null).1
}

fn attention(scene: &Scene, id: &ConnectionId) -> Option<Value> {
    shown(scene, id)["attention"].as_array().unwrap().iter().find(|one| one["code"] == "definition_changed").cloned()
}

fn events(scene: &Scene, id: &ConnectionId, kind: &str) -> usize {
    let path = format!("/v1/connections/{id}/events");
    let (_, events) = call(scene, &first_key(scene), Method::Get, &path, &Value::Null);
    events["data"].as_array().unwrap().iter().filter(|event| event["type"] == kind).count()
}

fn revision(scene: &Scene, id: &ConnectionId) -> i64 {
    scene.row(id).app_revision
}

#[test]
fn what_sends_secrets_nowhere_else_reaches_existing_connections() {
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
        let scene = Scene::new();
        let (id, other) = (scene.connect("ann"), scene.connect("bob"));
        let before = scene.row(&id);
        let new = changed(std::slice::from_ref(&change));
        let (status, body) = call(&scene, &first_key(&scene), Method::Put, "/v1/apps/acme", &new);
        assert_eq!(status, 200, "{change:?}: {body}");
        assert_eq!(body["connections"], moves(2, 0, 0), "{change:?}");
        let after = scene.row(&id);
        assert_eq!((after.app_revision, revision(&scene, &other)), (2, 2), "{change:?}");
        assert_eq!(
            (after.destinations, after.sealed_credential, after.version, after.generation, after.account),
            (before.destinations, before.sealed_credential, before.version, before.generation, before.account),
            "{change:?}: nothing else changes"
        );
        assert_eq!((events(&scene, &id, "definition_updated"), attention(&scene, &id)), (1, None), "{change:?}");
        scene.expire(&id);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed, "{change:?}");
    }
}

#[test]
fn a_moved_connection_is_resolved_by_the_new_definition() {
    let scene = Scene::with(&json!({ "request": { "base_url": "https://acme.example/v1/" } }));
    let id = scene.connect("ann");
    let base = || {
        let answered = scene.resolve_fully(&id, Ask { consistency: Consistency::Available, ..Ask::default() }).unwrap();
        answered.resolved.issued.request.base_url.clone().unwrap()
    };
    assert!(base().ends_with("/v1/"));
    put(&scene, &changed(&[("/request", json!({ "base_url": "https://acme.example/v2/" }))]));
    assert!(base().ends_with("/v2/"));
    let edge = scene.resolve_fully(&id, Ask { consistency: Consistency::Edge, ..Ask::default() }).unwrap().resolved;
    assert_eq!(edge.source, Source::Cache);
    assert!(edge.issued.request.base_url.as_deref().unwrap().ends_with("/v2/"), "the copy is the new one");
}

#[test]
fn a_copy_that_could_not_be_deleted_is_replaced_at_the_next_use() {
    let world = World::new(Way::Direct, None).in_one_instance();
    let scene = Scene::in_world(&world, &json!({ "request": { "base_url": "https://acme.example/v1/" } }));
    let id = scene.connect("ann");
    let ask = |consistency| Ask { consistency, ..Ask::default() };
    scene.resolve_fully(&id, ask(Consistency::Available)).unwrap();
    scene.world.kv.refused_deletes.set(9);
    put(&scene, &changed(&[("/request", json!({ "base_url": "https://acme.example/v2/" }))]));
    scene.resolve_fully(&id, ask(Consistency::Available)).unwrap();
    let edge = scene.resolve(&id, ask(Consistency::Edge)).unwrap().resolved;
    assert!(edge.issued.request.base_url.as_deref().unwrap().ends_with("/v2/"));
}

#[test]
fn a_hot_resolve_after_a_move_costs_what_it_did() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let cost = || {
        scene.world.db.reset_counts();
        scene.resolve(&id, Ask::default()).unwrap();
        (scene.world.db.round_trips.get(), scene.world.db.statements.get(), scene.world.db.scanned.get())
    };
    let before = cost();
    put(&scene, &changed(&[("/name", json!("Acme Corp"))]));
    assert_eq!(cost(), before);
    assert_eq!(before.0, 1);
}

#[test]
fn what_would_send_a_secret_elsewhere_stays_and_is_told() {
    for (change, obstacle, host) in [
        (("/auth/token_url", json!("https://evil.example/token")), Obstacle::Addresses, Some("evil.example")),
        (("/auth/token_url", json!("https://acme.example/other")), Obstacle::Addresses, Some("acme.example/other")),
        (("/auth/refresh_url", json!("https://evil.example/token")), Obstacle::Addresses, Some("evil.example")),
        (("/auth/revoke_url", json!("https://evil.example/revoke")), Obstacle::Addresses, Some("evil.example")),
        (("/request", json!({ "base_url": "https://evil.example/" })), Obstacle::Addresses, Some("evil.example")),
        (
            ("/request", json!({ "base_url": "https://acme.example:8443/" })),
            Obstacle::Addresses,
            Some("acme.example:8443"),
        ),
        (("/check", json!({ "url": "https://evil.example/me" })), Obstacle::Addresses, Some("evil.example")),
        (("/auth/authorize_url", json!("https://evil.example/authorize")), Obstacle::Client, None),
        (("/identity/id", json!("/email")), Obstacle::Identity, None),
        (("/identity/url", json!("https://acme.example/team")), Obstacle::Identity, None),
    ] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        let before = scene.row(&id);
        assert_eq!(put(&scene, &changed(std::slice::from_ref(&change))), moves(0, 1, 0), "{change:?}");
        let row = scene.row(&id);
        assert_eq!((row.app_revision, &row.destinations), (1, &before.destinations), "{change:?}");
        let told = attention(&scene, &id).unwrap_or_else(|| panic!("{change:?}"));
        assert_eq!(row.definition_changed.unwrap().obstacle, obstacle, "{change:?}");
        assert_eq!(told["hosts"], host.map_or(Value::Null, |host| json!([host])), "{change:?}");
        assert!(told["reconnect_url"].as_str().unwrap().ends_with(&format!("/connections/{id}/reconnect")));
        assert!(told["detail"].as_str().unwrap().contains("Reconnect"), "{told}");
        let list = "/v1/connections?attention=definition_changed";
        assert_eq!(call(&scene, &first_key(&scene), Method::Get, list, &Value::Null).1["data"][0]["id"], id.as_str());
        assert_eq!(events(&scene, &id, "definition_changed"), 1);
        let asked = scene.world.acme.addresses().len();
        scene.expire(&id);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed, "{change:?}: it goes on with the earlier definition");
        let asked = scene.world.acme.addresses().split_off(asked);
        assert!(asked.iter().all(|url| url.starts_with("https://acme.example/")), "{asked:?}");
    }
}

#[test]
fn other_fields_another_kind_or_unknown_variables_stay() {
    let key = |fields: Value| json!({ "type": "api_key", "fields": fields });
    let one = json!([{ "id": "api_key", "label": "Key" }]);
    let two = json!([{ "id": "api_key", "label": "Key" }, { "id": "tenant", "label": "Tenant" }]);
    for (after, extra, obstacle) in [
        (key(two), json!({}), Obstacle::Fields),
        (json!({ "type": "bot_token" }), json!({}), Obstacle::Method),
        (key(one.clone()), json!({ "shop": { "label": "Shop", "pattern": "[a-z]+" } }), Obstacle::Variables),
    ] {
        let base = json!({
            "id": "acme", "name": "Acme", "auth": key(one.clone()),
            "request": { "headers": { "x-key": "{api_key}" }, "base_url": "https://acme.example/" },
        });
        let scene = Scene::new();
        let all = first_key(&scene);
        let defined = json!({ "id": "keyed" });
        let with = |json: &Value| {
            let mut json = json.clone();
            json["id"] = defined["id"].clone();
            json["name"] = "Keyed".into();
            json
        };
        let (status, body) = call(&scene, &all, Method::Post, "/v1/apps", &with(&base));
        assert_eq!(status, 201, "{body}");
        let entered =
            json!({ "app": "keyed", "credential": { "type": "api_key", "api_key": "live_1" }, "check": false });
        let (status, made) = call(&scene, &all, Method::Post, "/v1/connections", &entered);
        assert_eq!(status, 201, "{made}");
        let id = ConnectionId::parse(made["id"].as_str().unwrap()).unwrap();
        let mut next = with(&base);
        next["auth"] = after;
        if obstacle == Obstacle::Method {
            next["request"]["headers"] = json!({ "x-key": "{token}" });
        }
        if extra.as_object().is_some_and(|extra| !extra.is_empty()) {
            next["variables"] = extra;
            next["request"]["base_url"] = "https://acme.example/{shop}/".into();
        }
        let (status, body) = call(&scene, &all, Method::Put, "/v1/apps/keyed", &next);
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["connections"], moves(0, 1, 0));
        let row = scene.row(&id);
        assert_eq!(row.definition_changed.unwrap().obstacle, obstacle);
        assert!(scene.resolve(&id, Ask::default()).is_ok());
    }
}

#[test]
fn a_connection_that_stays_follows_when_what_stood_against_it_is_gone() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    put(&scene, &changed(&[("/identity/id", json!("/email"))]));
    assert!(attention(&scene, &id).is_some());
    assert_eq!(put(&scene, &changed(&[("/name", json!("Acme Corp"))])), moves(1, 0, 0));
    assert_eq!((revision(&scene, &id), attention(&scene, &id)), (3, None));
}

#[test]
fn a_reconnect_ends_the_attention() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    put(&scene, &changed(&[("/request", json!({ "base_url": "https://new.example/" }))]));
    assert!(attention(&scene, &id).is_some());
    let secret = scene.world.acme.client_secret.borrow().clone();
    scene.enter_secret(&secret);
    assert_eq!(scene.flow(&scene.repair_of(&id), "ann").outcome, Outcome::Done);
    assert_eq!((revision(&scene, &id), attention(&scene, &id)), (2, None));
}

#[test]
fn an_unchanged_put_looks_again_and_tells_the_same() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let new = changed(&[("/request", json!({ "base_url": "https://new.example/" }))]);
    assert_eq!(put(&scene, &new), moves(0, 1, 0));
    assert_eq!(put(&scene, &new), moves(0, 1, 0));
    assert_eq!(events(&scene, &id, "definition_changed"), 1, "told once");
    assert_eq!(put(&scene, &definition()), moves(1, 0, 0));
}

#[test]
fn a_connection_that_is_being_refreshed_waits_for_the_next_pass() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.expire(&id);
    scene.world.acme.latency_ms.set(8000);
    let waiting = scene.world.runtime.spawn(scene.world.errand(&id, Errand::Force));
    scene.world.run(async { scene.world.runtime.sleep(1000).await });
    assert!(scene.row(&id).intent.is_some());
    assert_eq!(put(&scene, &changed(&[("/name", json!("Acme Corp"))])), moves(0, 0, 1));
    assert_eq!(scene.world.run(waiting), ErrandOutcome::Refreshed);
    assert_eq!(revision(&scene, &id), 1);
    scene.world.acme.latency_ms.set(0);
    scene.world.pass(3901);
    assert_eq!(scene.tick().moved, 1);
    assert_eq!(revision(&scene, &id), 2);
}

#[test]
fn a_connection_whose_app_is_silent_follows_a_correction() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.expire(&id);
    scene.world.acme.always("/token", Some(Reply::status(503, "")));
    assert!(matches!(scene.need(&id), ErrandOutcome::Unavailable { .. }));
    let corrected = changed(&[("/errors", json!({ "permanent": ["gone_away"] }))]);
    assert_eq!(put(&scene, &corrected), moves(0, 0, 1), "its answer may still come");
    scene.world.pass(3901);
    assert!(scene.row(&id).intent.is_some(), "it is left behind until the next attempt");
    assert_eq!((scene.tick().moved, revision(&scene, &id)), (1, 2));
}

#[test]
fn a_flow_that_began_before_the_change_ends_with_a_connection_that_follows() {
    let scene = Scene::new();
    scene.connect("bob");
    let url = scene.start(&scene.wish(), BROWSER);
    put(&scene, &changed(&[("/name", json!("Acme Corp"))]));
    let (code, state) = scene.world.acme.consent(&url, "ann");
    let returned =
        connections::connect::callback::Returned { state: Some(state), code: Some(code), ..Default::default() };
    scene.come_back(returned, BROWSER);
    let behind = "SELECT count(*) FROM connections WHERE app_revision = 1";
    assert_eq!(scene.world.db.number(behind), 1);
    scene.world.pass(3901);
    assert_eq!(scene.tick().moved, 1);
    assert_eq!(scene.world.db.number(behind), 0);
    scene.world.pass(3901);
    scene.tick();
    assert_eq!(
        scene.world.db.value("SELECT rollout_due_at FROM apps WHERE is_current = 1"),
        Value::Null,
        "all is done"
    );
}

/// Many connections, as copies of one row.
fn many(scene: &Scene, id: &ConnectionId, number: usize) {
    let columns: Vec<String> = {
        let text =
            scene.world.db.value("SELECT group_concat(name) FROM pragma_table_info('connections') WHERE name <> 'id'");
        text.as_str().unwrap().split(',').map(ToOwned::to_owned).collect()
    };
    let columns = columns.join(", ");
    for at in 0..number {
        let copy = ConnectionId::parse(&format!("con_{at:022}")).unwrap();
        scene.world.db.tamper(&format!(
            "INSERT INTO connections (id, {columns}) SELECT '{copy}', {columns} FROM connections WHERE id = '{id}'"
        ));
    }
    scene.world.db.tamper("UPDATE connections SET next_check_at = NULL");
}

#[test]
fn hundreds_move_in_bounded_steps_that_go_on_where_the_last_one_ended() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    many(&scene, &id, 450);
    let new = changed(&[("/name", json!("Acme Corp"))]);
    assert_eq!(put(&scene, &new), moves(200, 0, 251));
    // A run that fails half-way loses nothing.
    scene.world.pass(121);
    let fault = Fault { sql: "UPDATE apps SET rollout_cursor", times: 1, wound: Wound::Before };
    scene.world.db.faults.borrow_mut().push(fault);
    assert_eq!(scene.tick().moved, 0);
    scene.world.pass(121);
    assert_eq!(scene.tick().moved, 200);
    assert_eq!(scene.tick().moved, 51);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM connections WHERE app_revision = 2"), 451);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM events WHERE type = 'definition_updated'"), 451);
}

#[test]
fn connections_of_a_deleted_app_keep_theirs() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    put(&scene, &changed(&[("/request", json!({ "base_url": "https://new.example/" }))]));
    assert!(attention(&scene, &id).is_some());
    assert_eq!(call(&scene, &first_key(&scene), Method::Delete, "/v1/apps/acme", &Value::Null).0, 200);
    assert_eq!(attention(&scene, &id), None, "there is no other definition any more");
    scene.world.pass(4000);
    scene.tick();
    assert_eq!(call(&scene, &first_key(&scene), Method::Post, "/v1/apps", &changed(&[("/name", json!("New"))])).0, 201);
    scene.world.pass(4000);
    scene.tick();
    assert_eq!((revision(&scene, &id), scene.row(&id).status), (1, Status::Connected));
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
}

#[test]
fn what_a_move_asks_of_the_database_goes_by_its_indexes() {
    let scene = Scene::new();
    scene.connect("ann");
    scene.world.db.reset_counts();
    put(&scene, &changed(&[("/name", json!("Acme Corp"))]));
    scene.world.pass(3901);
    scene.tick();
    call(&scene, &first_key(&scene), Method::Delete, "/v1/apps/acme", &Value::Null);
    let seen = scene.world.db.seen.borrow().clone();
    for (has, index) in [
        (
            "app_revision > 0 AND deleted_at IS NULL ORDER BY",
            "connections_by_revision (workspace_id=? AND app=? AND (app_revision,id)>(?,?)",
        ),
        (
            "definition_update_blocked IS NOT NULL",
            "connections_by_revision (workspace_id=? AND app=? AND app_revision>?)",
        ),
        ("SET rollout_due_at = ?2", "apps_rollout_due (rollout_due_at>? AND rollout_due_at<?)"),
    ] {
        let sql = seen
            .iter()
            .find(|sql| sql.contains(has) && !sql.contains("AS duplicate"))
            .unwrap_or_else(|| panic!("{has}"));
        let plan = scene.world.db.plan(sql).join("\n");
        assert!(plan.contains(index), "{has}: {plan}");
        assert!(!plan.contains("USE TEMP B-TREE"), "{plan}");
    }
}
