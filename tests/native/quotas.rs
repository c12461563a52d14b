//! How much there may be of what callers make, and what is deleted because nothing needs it.

use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::Ports as _;
use connections::resolve::Ask;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::Scene;
use crate::support::scene::definition;

/// Makes so many rows of a table like a row that is there: `columns` are those that must differ.
fn multiply(scene: &Scene, table: &str, key: &str, also: &str, count: i64) {
    let sql = format!("SELECT json_group_array(name) FROM pragma_table_info('{table}')");
    let columns: Vec<String> = serde_json::from_str(scene.world.db.value(&sql).as_str().unwrap()).unwrap();
    let value = |name: &String| {
        if name == key || name == also { format!("t.{name} || n.i") } else { format!("t.{name}") }
    };
    let values: Vec<_> = columns.iter().map(value).collect();
    scene.world.db.tamper(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO {table} ({}) SELECT {} FROM n, (SELECT * FROM {table} LIMIT 1) t",
        columns.join(", "),
        values.join(", ")
    ));
}

fn count(scene: &Scene, table: &str) -> i64 {
    scene.world.db.number(&format!("SELECT count(*) FROM {table}"))
}

fn post(scene: &Scene, path: &str, body: &Value) -> (u16, String) {
    let (status, answer) = call(scene, &first_key(scene), Method::Post, path, body);
    (status, answer["code"].as_str().unwrap_or_default().to_owned())
}

const REACHED: (u16, &str) = (409, "limit_reached");

fn is(answer: &(u16, String), expected: (u16, &str)) {
    assert_eq!((answer.0, answer.1.as_str()), expected);
}

#[test]
fn a_workspace_has_a_thousand_keys_and_room_again_when_one_is_deleted() {
    let scene = Scene::new();
    multiply(&scene, "api_keys", "id", "secret_hash", 998);
    let body = json!({ "name": "k", "scopes": ["resolve"] });
    let (status, made) = call(&scene, &first_key(&scene), Method::Post, "/v1/keys", &body);
    assert_eq!((status, count(&scene, "api_keys")), (201, 1000));
    is(&post(&scene, "/v1/keys", &body), REACHED);
    assert_eq!(count(&scene, "api_keys"), 1000);
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(call(&scene, &first_key(&scene), Method::Delete, &path, &Value::Null).0, 200);
    is(&post(&scene, "/v1/keys", &body), (201, ""));
    let other = scene.neighbour();
    is(&post(&other, "/v1/keys", &body), (201, ""));
}

#[test]
fn keys_made_at_once_do_not_pass_the_limit_together() {
    let scene = Scene::new();
    multiply(&scene, "api_keys", "id", "secret_hash", 997);
    let statuses = scene.world.at_once((0..5).map(|_| {
        let key = first_key(&scene);
        let mut request = crate::limits::with_key(Method::Post, "/v1/keys", &key);
        request.body = connections::http::Body::Bytes(br#"{"name":"k","scopes":["resolve"]}"#.to_vec());
        let core = scene.world.core();
        async move { connections::http::handle(&core, &request).await.status }
    }));
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 2, "{statuses:?}");
    assert_eq!(count(&scene, "api_keys"), 1000);
}

#[test]
fn a_workspace_has_ten_thousand_open_links() {
    let scene = Scene::new();
    let body = json!({ "app": "acme", "expires_in": 60 });
    is(&post(&scene, "/v1/links", &body), (201, ""));
    multiply(&scene, "connect_links", "id", "token_hash", 9_999);
    is(&post(&scene, "/v1/links", &body), REACHED);
    scene.world.db.tamper("UPDATE connect_links SET status = 'used' WHERE id = (SELECT min(id) FROM connect_links)");
    is(&post(&scene, "/v1/links", &body), (201, ""));
    is(&post(&scene, "/v1/links", &body), REACHED);
    scene.world.pass(61);
    is(&post(&scene, "/v1/links", &body), (201, ""));
}

#[test]
fn a_user_has_a_thousand_sign_in_links_and_others_have_theirs() {
    let scene = Scene::new();
    let of = |id: &str| json!({ "user": { "id": id } });
    is(&post(&scene, "/v1/sign-in-links", &of("ann")), (201, ""));
    multiply(&scene, "sign_in_links", "token_hash", "", 999);
    is(&post(&scene, "/v1/sign-in-links", &of("ann")), REACHED);
    is(&post(&scene, "/v1/sign-in-links", &of("bob")), (201, ""));
    scene.world.pass(601);
    is(&post(&scene, "/v1/sign-in-links", &of("ann")), (201, ""));
}

#[test]
fn a_person_keeps_a_hundred_sessions_and_the_newest_works() {
    let scene = Scene::new();
    let mut browser = crate::http::Browser::new(&scene);
    browser.sign_in();
    multiply(&scene, "sessions", "token_hash", "", 300);
    scene.world.pass(1);
    let mut newest = crate::http::Browser::new(&scene);
    newest.sign_in();
    assert_eq!(count(&scene, "sessions"), 100);
    assert_eq!(newest.get("/").status, 200);
}

#[test]
fn a_link_has_one_session_however_many_browsers_begin_it_and_none_for_those_who_can_not() {
    let scene = Scene::new();
    let path = crate::http::link(&scene, 3600);
    let mut last = None;
    for _ in 0..5 {
        let mut browser = crate::http::Browser::new(&scene);
        last = Some((browser.press(&path), browser));
    }
    assert_eq!(count(&scene, "sessions"), 1);
    let (begun, mut browser) = last.unwrap();
    browser.consent(&begun, "ann");
    for _ in 0..5 {
        assert_eq!(crate::http::Browser::new(&scene).press(&path).status, 410);
    }
    assert_eq!(count(&scene, "sessions"), 1);
}

#[test]
fn a_workspace_has_a_hundred_thousand_connections() {
    let mut scene = Scene::new();
    scene.world = scene.world.in_one_instance();
    scene.connect("ann");
    multiply(&scene, "connections", "id", "", 99_999);
    let mut ann = crate::http::Browser::new(&scene);
    ann.sign_in();
    let body = json!({ "app": "telegram", "check": false, "credential": { "type": "bot_token", "token": "1234567:abcdefghijklmnopqrstuvwxyzABCDEFGHIJ" } });
    is(&post(&scene, "/v1/connections", &body), REACHED);
    let path = crate::http::link(&scene, 3600);
    let refused = ann.press(&path);
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("100,000 connections"), "{}", refused.body);
}

#[test]
fn connections_are_not_counted_each_time() {
    let mut scene = Scene::new();
    scene.world = scene.world.in_one_instance();
    let room = || {
        scene.world.run(async {
            connections::quotas::room_for_connection(&scene.world.core(), &scene.workspace).await.unwrap();
        });
    };
    scene.world.db.reset_counts();
    (0..100).for_each(|_| room());
    assert_eq!(scene.world.db.round_trips.get(), 1);
    scene.world.pass(601);
    room();
    assert_eq!(scene.world.db.round_trips.get(), 2, "others may have made some meanwhile");
}

// ---- uses ----

fn used(scene: &Scene, id: &ConnectionId, step: &str) {
    let ask = Ask { workflow: Some("w".into()), step: Some(step.into()), ..Ask::default() };
    scene.resolve_fully(id, ask).unwrap();
}

#[test]
fn a_connection_keeps_five_hundred_uses_and_the_ones_of_longest_ago_give_way() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    for at in 0..502 {
        used(&scene, &id, &format!("step {at}"));
        scene.world.pass(1);
    }
    assert_eq!(count(&scene, "uses"), 500);
    let there = |step: &str| scene.world.db.number(&format!("SELECT count(*) FROM uses WHERE step = '{step}'"));
    assert_eq!([there("step 0"), there("step 1"), there("step 2"), there("step 501")], [0, 0, 1, 1]);
    let other = scene.connect("bob");
    used(&scene, &other, "step 0");
    assert_eq!(count(&scene, "uses"), 501, "each connection has its own");
    scene.world.pass(400);
    used(&scene, &id, "step 2");
    assert_eq!((count(&scene, "uses"), there("step 3")), (501, 1), "a step that is known makes nobody give way");
}

// ---- revisions and parsed definitions ----

fn put(scene: &Scene, name: &str) -> (u16, String) {
    let mut json = definition();
    json["name"] = name.into();
    let (status, body) = call(scene, &first_key(scene), Method::Put, "/v1/apps/acme", &json);
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn putting_the_same_definition_again_stores_nothing() {
    let scene = Scene::new();
    let before = count(&scene, "apps");
    is(&put(&scene, "Acme"), (200, ""));
    let spaced = serde_json::to_string_pretty(&definition()).unwrap();
    let mut members: Vec<_> = definition().as_object().unwrap().clone().into_iter().collect();
    members.reverse();
    let reversed: Vec<_> = members.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    for text in [spaced, format!("{{ {} }}", reversed.join(" ,\n"))] {
        let mut request = crate::limits::with_key(Method::Put, "/v1/apps/acme", &first_key(&scene));
        request.body = connections::http::Body::Bytes(text.into_bytes());
        let core = scene.world.core();
        let response = scene.world.run(async { connections::http::handle(&core, &request).await });
        assert_eq!(response.status, 200, "{}", response.body);
    }
    assert_eq!(count(&scene, "apps"), before);
    is(&put(&scene, "Acme 2"), (200, ""));
    assert_eq!(count(&scene, "apps"), before + 1);
}

#[test]
fn revisions_that_nothing_needs_are_deleted_and_those_that_are_used_stay() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let pinned = scene.row(&id).app_revision;
    let revisions = || scene.world.db.number("SELECT count(*) FROM apps WHERE id = 'acme'");
    for at in 0..150 {
        is(&put(&scene, &format!("Acme {at}")), (200, ""));
    }
    assert!(revisions() <= 52, "{}", revisions());
    let flow = scene.start(&scene.wish(), "elsewhere");
    let of_flow = scene.world.db.number("SELECT max(app_revision) FROM flows");
    scene.world.pass(601);
    is(&put(&scene, "Acme at last"), (200, ""));
    scene.world.pass(601);
    is(&put(&scene, "Acme once more"), (200, ""));
    let kept = |revision: i64| scene.world.db.number(&format!("SELECT count(*) FROM apps WHERE revision = {revision}"));
    assert_eq!((kept(pinned), kept(of_flow), revisions()), (1, 1, 4), "{flow}");
    assert!(scene.resolve(&id, Ask::default()).is_ok());
    scene.expire(&id);
    assert!(scene.resolve(&id, Ask::default()).is_ok());

    // A removed app is forgotten when nothing is left of it.
    scene.disconnect(&id).unwrap();
    scene.world.db.tamper("DELETE FROM flows");
    assert_eq!(call(&scene, &first_key(&scene), Method::Delete, "/v1/apps/acme", &Value::Null).0, 200);
    scene.world.pass(601);
    let other = json!({ "id": "other", "name": "Other", "auth": { "type": "api_key", "header": "x-key" }, "request": { "base_url": "https://o.example/" } });
    is(&post(&scene, "/v1/apps", &other), (201, ""));
    assert_eq!(revisions(), 0);
}

#[test]
fn a_client_from_before_destinations_were_kept_pins_the_revisions_they_follow_from() {
    let scene = Scene::new();
    let entered = scene.world.db.number("SELECT max(revision) FROM apps");
    scene.world.db.tamper("UPDATE oauth_clients SET destinations = NULL");
    for at in 0..70 {
        scene.world.pass(601);
        is(&put(&scene, &format!("Acme {at}")), (200, ""));
    }
    let kept = || scene.world.db.number(&format!("SELECT count(*) FROM apps WHERE revision = {entered}"));
    assert_eq!(kept(), 1, "else its secret would go where the newest definition says");
    scene.world.db.tamper("UPDATE oauth_clients SET destinations = '{}'");
    is(&put(&scene, "Acme at last"), (200, ""));
    assert_eq!(kept(), 0);
}

#[test]
fn an_app_has_a_hundred_revisions_in_use_and_a_workspace_two_hundred_apps() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    multiply(&scene, "connections", "id", "", 99);
    scene.world.db.tamper("UPDATE connections SET app_revision = rowid_ FROM (SELECT id AS i, row_number() OVER (ORDER BY id) AS rowid_ FROM connections) WHERE id = i");
    scene.world.db.tamper(
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
         INSERT INTO apps (workspace_id, id, revision, definition, is_current, created_at)
         SELECT workspace_id, id, n.i, definition, 0, created_at FROM apps, n WHERE id = 'acme' AND revision = 1",
    );
    is(&put(&scene, "Acme 101"), REACHED);
    scene.world.db.tamper("UPDATE connections SET app_revision = 1 WHERE app_revision = 7");
    is(&put(&scene, "Acme 101"), (200, ""));
    assert!(scene.find(&id).is_some());

    multiply(&scene, "apps", "id", "", 198);
    scene.world.db.tamper("UPDATE apps SET is_current = 1 WHERE id <> 'acme'");
    let app = |id: &str| json!({ "id": id, "name": "A", "auth": { "type": "api_key", "header": "x-key" }, "request": { "base_url": "https://o.example/" } });
    is(&post(&scene, "/v1/apps", &app("last")), (201, ""));
    is(&post(&scene, "/v1/apps", &app("more")), REACHED);
    is(&put(&scene, "Acme 102"), REACHED);
}

#[test]
fn a_list_parses_the_workspaces_own_apps_once_in_an_instance() {
    let mut scene = Scene::new();
    scene.world = scene.world.in_one_instance();
    let key = first_key(&scene);
    for at in 0..6 {
        let mut json = definition();
        json["id"] = format!("own-{at}").into();
        json["variables"] = (0..30)
            .map(|at| (format!("v{at}"), json!({ "from": "person", "label": "V", "pattern": "[a-z]{1,20}" })))
            .collect::<serde_json::Map<_, _>>()
            .into();
        is(&post(&scene, "/v1/apps", &json), (201, ""));
    }
    let parsed = || scene.world.core().ports.memo().definitions().parsed();
    let list = || call(&scene, &key, Method::Get, "/v1/apps?limit=200", &Value::Null);
    assert_eq!(list().0, 200);
    let first = parsed();
    assert_eq!(first, 7, "those six and acme");
    for _ in 0..10 {
        assert_eq!(list().0, 200);
    }
    assert_eq!(parsed(), first);
    is(&put(&scene, "Acme, renamed"), (200, ""));
    let (_, body) = call(&scene, &key, Method::Get, "/v1/apps?q=renamed", &Value::Null);
    assert_eq!(body["data"][0]["name"], "Acme, renamed", "a new revision is another text");
    assert_eq!(parsed(), first + 1);
}

#[test]
fn parsed_definitions_are_few_and_small() {
    let memo = connections::memo::Memo::default();
    let parse = |text: &str| connections::app::read_stored(text, connections::egress::Egress::Public).ok();
    let text = |at: usize, length: usize| {
        let mut json = definition();
        json["docs"] = format!("https://acme.example/{at}?{}", "x".repeat(length)).into();
        json.to_string()
    };
    for at in 0..600 {
        assert!(memo.definitions().get(&text(at, 10), parse).is_some());
    }
    assert_eq!(memo.definitions().size().0, 500);
    let before = memo.definitions().parsed();
    memo.definitions().get(&text(599, 10), parse);
    assert_eq!(memo.definitions().parsed(), before, "the newest are there");
    memo.definitions().get(&text(0, 10), parse);
    assert_eq!(memo.definitions().parsed(), before + 1);
    for at in 0..100 {
        memo.definitions().get(&format!("{}{}", text(at, 10), " ".repeat(60_000)), parse);
    }
    assert!(memo.definitions().size().1 <= 2 * 1024 * 1024);
}

#[test]
fn limits_find_their_rows_by_the_intended_index() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.db.reset_counts();
    is(&post(&scene, "/v1/keys", &json!({ "name": "k", "scopes": ["resolve"] })), (201, ""));
    is(&post(&scene, "/v1/links", &json!({ "app": "acme" })), (201, ""));
    let mut ann = crate::http::Browser::new(&scene);
    ann.sign_in();
    is(&put(&scene, "Acme 2"), (200, ""));
    let app = json!({ "id": "own", "name": "A", "auth": { "type": "api_key", "header": "x-key" }, "request": { "base_url": "https://o.example/" } });
    is(&post(&scene, "/v1/apps", &app), (201, ""));
    is(&post(&scene, "/v1/apps/acme/client/test", &json!({})), (200, "invalid_grant"));
    used(&scene, &id, "s");
    scene.world.run(async {
        connections::quotas::room_for_connection(&scene.world.core(), &scene.workspace).await.unwrap();
    });
    scene.tick();
    let seen = scene.world.db.seen.borrow().clone();
    for (piece, indexes) in [
        ("FROM (SELECT 1 FROM api_keys", &["api_keys_by_workspace"][..]),
        ("FROM (SELECT 1 FROM connect_links", &["COVERING INDEX connect_links_open (workspace_id=? AND expires_at>?)"]),
        (
            "FROM (SELECT 1 FROM sign_in_links",
            &["sign_in_links_by_user (workspace_id=? AND user_id=? AND expires_at>?)"],
        ),
        ("FROM (SELECT 1 FROM apps WHERE workspace_id = ?1 AND is_current", &["apps_current (workspace_id=?)"]),
        (
            "FROM (SELECT 1 FROM apps WHERE workspace_id = ?1 AND id",
            &["sqlite_autoindex_apps_1 (workspace_id=? AND id=?)"],
        ),
        ("FROM (SELECT 1 FROM connections", &["COVERING INDEX connections_by_workspace (workspace_id=?)"]),
        ("DELETE FROM sessions WHERE workspace_id", &["sessions_by_user (workspace_id=? AND user_id=?)"]),
        ("DELETE FROM uses WHERE connection_id = ?1\n", &["PRIMARY KEY (connection_id=?)"]),
        ("DELETE FROM client_tests WHERE oauth_client", &["PRIMARY KEY (oauth_client=?)"]),
        ("DELETE FROM client_tests WHERE (oauth_client, input_hash)", &["client_tests_by_age (started_at<?)"]),
        (
            "DELETE FROM apps",
            &[
                "COVERING INDEX apps_retired (workspace_id=?)",
                "connections_by_revision (workspace_id=? AND app=? AND app_revision=?)",
                "flows_by_revision (workspace_id=? AND app=? AND app_revision=?)",
                "revocations_by_revision (workspace_id=? AND app=? AND app_revision=?)",
            ],
        ),
    ] {
        let sql = seen.iter().find(|sql| sql.contains(piece)).unwrap_or_else(|| panic!("{piece} was not run"));
        let plan = scene.world.db.plan(sql);
        for index in indexes {
            assert!(plan.iter().any(|line| line.contains(index)), "{piece}: {index} is not in {plan:#?}");
        }
        let is_scan =
            |line: &&String| line.starts_with("SCAN ") && !line.contains("CONSTANT") && !line.contains("(subquery");
        assert_eq!(plan.iter().find(is_scan), None, "{piece}: {plan:#?}");
    }
}
