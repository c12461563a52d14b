//! How many resources callers may create, and which unused ones are deleted.

use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::Ports as _;
use connections::resolve::ResolveRequest;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::Fixture;
use crate::support::fixture::acme_definition;

/// Copies a row many times. `columns` are those that must differ.
fn copy_rows(fixture: &Fixture, table: &str, key: &str, also: &str, count: i64) {
    let sql = format!("SELECT json_group_array(name) FROM pragma_table_info('{table}')");
    let columns: Vec<String> = serde_json::from_str(fixture.world.db.query_value(&sql).as_str().unwrap()).unwrap();
    let value = |name: &String| {
        if name == key || name == also { format!("t.{name} || n.i") } else { format!("t.{name}") }
    };
    let values: Vec<_> = columns.iter().map(value).collect();
    fixture.world.db.tamper(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO {table} ({}) SELECT {} FROM n, (SELECT * FROM {table} LIMIT 1) t",
        columns.join(", "),
        values.join(", ")
    ));
}

fn count_rows(fixture: &Fixture, table: &str) -> i64 {
    fixture.world.db.query_number(&format!("SELECT count(*) FROM {table}"))
}

fn post_for_code(fixture: &Fixture, path: &str, body: &Value) -> (u16, String) {
    let (status, answer) = call(fixture, &first_key(fixture), Method::Post, path, body);
    (status, answer["code"].as_str().unwrap_or_default().to_owned())
}

const LIMIT_REACHED: (u16, &str) = (409, "limit_reached");

fn assert_answer(answer: &(u16, String), expected: (u16, &str)) {
    assert_eq!((answer.0, answer.1.as_str()), expected);
}

#[test]
fn a_workspace_has_at_most_a_thousand_keys() {
    let fixture = Fixture::new();
    copy_rows(&fixture, "api_keys", "id", "secret_hash", 998);
    let body = json!({ "name": "k", "scopes": ["resolve"] });
    let (status, made) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/keys", &body);
    assert_eq!((status, count_rows(&fixture, "api_keys")), (201, 1000));
    assert_answer(&post_for_code(&fixture, "/v1/keys", &body), LIMIT_REACHED);
    assert_eq!(count_rows(&fixture, "api_keys"), 1000);
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Delete, &path, &Value::Null).0, 200);
    assert_answer(&post_for_code(&fixture, "/v1/keys", &body), (201, ""));
    let other = fixture.other_workspace();
    assert_answer(&post_for_code(&other, "/v1/keys", &body), (201, ""));
}

#[test]
fn concurrent_keys_do_not_exceed_the_limit() {
    let fixture = Fixture::new();
    copy_rows(&fixture, "api_keys", "id", "secret_hash", 997);
    let statuses = fixture.world.run_concurrently((0..5).map(|_| {
        let key = first_key(&fixture);
        let mut request = crate::request_limits::request_with_key(Method::Post, "/v1/keys", &key);
        request.body = connections::http::Body::Bytes(br#"{"name":"k","scopes":["resolve"]}"#.to_vec());
        let context = fixture.world.context();
        async move { connections::http::handle(&context, &request).await.status }
    }));
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 2, "{statuses:?}");
    assert_eq!(count_rows(&fixture, "api_keys"), 1000);
}

#[test]
fn a_workspace_has_at_most_ten_thousand_open_links() {
    let fixture = Fixture::new();
    let body = json!({ "app": "acme", "expires_in": 60 });
    assert_answer(&post_for_code(&fixture, "/v1/links", &body), (201, ""));
    copy_rows(&fixture, "connect_links", "id", "token_hash", 9_999);
    assert_answer(&post_for_code(&fixture, "/v1/links", &body), LIMIT_REACHED);
    fixture.world.db.tamper("UPDATE connect_links SET status = 'used' WHERE id = (SELECT min(id) FROM connect_links)");
    assert_answer(&post_for_code(&fixture, "/v1/links", &body), (201, ""));
    assert_answer(&post_for_code(&fixture, "/v1/links", &body), LIMIT_REACHED);
    fixture.world.advance_clock(61);
    assert_answer(&post_for_code(&fixture, "/v1/links", &body), (201, ""));
}

#[test]
fn a_user_has_at_most_a_thousand_sign_in_links() {
    let fixture = Fixture::new();
    let of = |id: &str| json!({ "user": { "id": id } });
    assert_answer(&post_for_code(&fixture, "/v1/sign-in-links", &of("ann")), (201, ""));
    copy_rows(&fixture, "sign_in_links", "token_hash", "", 999);
    assert_answer(&post_for_code(&fixture, "/v1/sign-in-links", &of("ann")), LIMIT_REACHED);
    assert_answer(&post_for_code(&fixture, "/v1/sign-in-links", &of("bob")), (201, ""));
    fixture.world.advance_clock(601);
    assert_answer(&post_for_code(&fixture, "/v1/sign-in-links", &of("ann")), (201, ""));
}

#[test]
fn a_person_has_at_most_a_hundred_sessions_and_the_newest_works() {
    let fixture = Fixture::new();
    let mut browser = crate::http::TestBrowser::new(&fixture);
    browser.sign_in();
    copy_rows(&fixture, "sessions", "token_hash", "", 300);
    fixture.world.advance_clock(1);
    let mut newest = crate::http::TestBrowser::new(&fixture);
    newest.sign_in();
    assert_eq!(count_rows(&fixture, "sessions"), 100);
    assert_eq!(newest.get("/").status, 200);
}

#[test]
fn a_link_has_one_session_for_any_number_of_browsers() {
    let fixture = Fixture::new();
    let path = crate::http::make_link(&fixture, 3600);
    let mut last = None;
    for _ in 0..5 {
        let mut browser = crate::http::TestBrowser::new(&fixture);
        last = Some((browser.press(&path), browser));
    }
    assert_eq!(count_rows(&fixture, "sessions"), 1);
    let (begun, mut browser) = last.unwrap();
    browser.complete_consent(&begun, "ann");
    for _ in 0..5 {
        assert_eq!(crate::http::TestBrowser::new(&fixture).press(&path).status, 410);
    }
    assert_eq!(count_rows(&fixture, "sessions"), 1);
}

#[test]
fn a_workspace_has_at_most_a_hundred_thousand_connections() {
    let mut fixture = Fixture::new();
    fixture.world = fixture.world.in_one_isolate();
    fixture.connect("ann");
    copy_rows(&fixture, "connections", "id", "", 99_999);
    let counted = fixture.world.db.query_number("SELECT connection_count FROM workspaces");
    assert_eq!(counted, 100_000);
    let mut ann = crate::http::TestBrowser::new(&fixture);
    ann.sign_in();
    let body = json!({ "app": "telegram", "check": false, "credential": { "type": "bot_token", "token": "1234567:abcdefghijklmnopqrstuvwxyzABCDEFGHIJ" } });
    assert_answer(&post_for_code(&fixture, "/v1/connections", &body), LIMIT_REACHED);
    let path = crate::http::make_link(&fixture, 3600);
    let refused = ann.press(&path);
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("100,000 connections"), "{}", refused.body);
}

#[test]
fn connections_are_counted_as_they_are_made_and_erased() {
    let fixture = Fixture::new();
    let counted = || fixture.world.db.query_number("SELECT connection_count FROM workspaces LIMIT 1");
    let rows = || count_rows(&fixture, "connections");
    let id = fixture.connect("ann");
    fixture.connect("bob");
    assert_eq!((counted(), rows()), (2, 2));
    fixture.disconnect(&id).unwrap();
    fixture.run_scheduled();
    assert_eq!((counted(), rows()), (1, 1));
    fixture.connect("eve");
    assert_eq!((counted(), rows()), (2, 2));
}

#[test]
fn connections_that_waited_for_a_client_are_woken_once_and_in_steps() {
    use connections::store::{clients, maintenance};
    let most = clients::WOKEN_AT_ONCE;
    let fixture = Fixture::new();
    fixture.connect("ann");
    copy_rows(&fixture, "connections", "id", "", most * 2);
    let db = &fixture.world.db;
    let later = fixture.world.now().unix() + 90_000;
    let waiting = || db.query_number("SELECT count(*) FROM connections WHERE next_attempt_at > 0");
    let wait = |which: &str| {
        db.tamper(&format!("UPDATE connections SET next_attempt_at = {later}, next_check_at = {later} WHERE {which}"))
    };
    let purge = || {
        fixture.world.run(async {
            let context = fixture.world.context();
            let (from, until) = (context.now(), context.now());
            let lease = maintenance::ToldLease { from, until, webhooks: 0, emails: None };
            maintenance::purge(context.db(), context.now(), (90, 500), lease).await.unwrap();
        });
    };
    wait("true");
    purge();
    assert_eq!(waiting(), most * 2 + 1, "no client was entered again");
    fixture.world.run(async {
        let context = fixture.world.context();
        let client = clients::get(context.db(), &fixture.workspace, &fixture.client).await.unwrap().unwrap();
        clients::put(context.db(), &client, false).await.unwrap();
    });
    assert_eq!(waiting(), most + 1);
    assert_eq!(wait("rowid = 1"), 1, "it fails again");
    purge();
    assert_eq!(waiting(), 2, "the last one, and the one that failed again");
    purge();
    purge();
    assert_eq!(waiting(), 1);
    assert_eq!(
        db.query_number("SELECT count(*) FROM oauth_clients WHERE wake_after IS NOT NULL OR wake_to IS NOT NULL"),
        0
    );
}

// ---- uses ----

fn resolve_for_step(fixture: &Fixture, id: &ConnectionId, step: &str) {
    let request = ResolveRequest { workflow: Some("w".into()), step: Some(step.into()), ..ResolveRequest::default() };
    fixture.resolve_and_finish(id, request).unwrap();
}

#[test]
fn a_connection_keeps_the_five_hundred_latest_uses() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    for at in 0..502 {
        resolve_for_step(&fixture, &id, &format!("step {at}"));
        fixture.world.advance_clock(1);
    }
    assert_eq!(count_rows(&fixture, "uses"), 500);
    let there = |step: &str| fixture.world.db.query_number(&format!("SELECT count(*) FROM uses WHERE step = '{step}'"));
    assert_eq!([there("step 0"), there("step 1"), there("step 2"), there("step 501")], [0, 0, 1, 1]);
    let other = fixture.connect("bob");
    resolve_for_step(&fixture, &other, "step 0");
    assert_eq!(count_rows(&fixture, "uses"), 501, "each connection has its own");
    fixture.world.advance_clock(400);
    resolve_for_step(&fixture, &id, "step 2");
    assert_eq!((count_rows(&fixture, "uses"), there("step 3")), (501, 1), "a step that is known makes nobody give way");
}

// ---- revisions and parsed definitions ----

fn put_app_named(fixture: &Fixture, name: &str) -> (u16, String) {
    let mut json = acme_definition();
    json["name"] = name.into();
    let (status, body) = call(fixture, &first_key(fixture), Method::Put, "/v1/apps/acme", &json);
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn putting_the_same_definition_again_stores_nothing() {
    let fixture = Fixture::new();
    let before = count_rows(&fixture, "apps");
    assert_answer(&put_app_named(&fixture, "Acme"), (200, ""));
    let spaced = serde_json::to_string_pretty(&acme_definition()).unwrap();
    let mut members: Vec<_> = acme_definition().as_object().unwrap().clone().into_iter().collect();
    members.reverse();
    let reversed: Vec<_> = members.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
    for text in [spaced, format!("{{ {} }}", reversed.join(" ,\n"))] {
        let mut request = crate::request_limits::request_with_key(Method::Put, "/v1/apps/acme", &first_key(&fixture));
        request.body = connections::http::Body::Bytes(text.into_bytes());
        let context = fixture.world.context();
        let response = fixture.world.run(async { connections::http::handle(&context, &request).await });
        assert_eq!(response.status, 200, "{}", response.body);
    }
    assert_eq!(count_rows(&fixture, "apps"), before);
    assert_answer(&put_app_named(&fixture, "Acme 2"), (200, ""));
    assert_eq!(count_rows(&fixture, "apps"), before + 1);
}

#[test]
fn only_unused_revisions_are_deleted() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let pinned = fixture.load_connection(&id).app_revision;
    let revisions = || fixture.world.db.query_number("SELECT count(*) FROM apps WHERE id = 'acme'");
    for at in 0..150 {
        assert_answer(&put_app_named(&fixture, &format!("Acme {at}")), (200, ""));
    }
    assert!(revisions() <= 52, "{}", revisions());
    let flow = fixture.start_flow(&fixture.connect_request(), "elsewhere");
    let of_flow = fixture.world.db.query_number("SELECT max(app_revision) FROM flows");
    fixture.world.advance_clock(601);
    assert_answer(&put_app_named(&fixture, "Acme at last"), (200, ""));
    fixture.world.advance_clock(601);
    assert_answer(&put_app_named(&fixture, "Acme once more"), (200, ""));
    let kept = |revision: i64| {
        fixture.world.db.query_number(&format!("SELECT count(*) FROM apps WHERE revision = {revision}"))
    };
    assert_eq!((kept(pinned), kept(of_flow), revisions()), (1, 1, 4), "{flow}");
    assert!(fixture.resolve(&id, ResolveRequest::default()).is_ok());
    fixture.expire_access_token(&id);
    assert!(fixture.resolve(&id, ResolveRequest::default()).is_ok());

    // A removed app is deleted when nothing uses it.
    fixture.disconnect(&id).unwrap();
    fixture.world.db.tamper("DELETE FROM flows");
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Delete, "/v1/apps/acme", &Value::Null).0, 200);
    fixture.world.advance_clock(601);
    let other = json!({ "id": "other", "name": "Other", "auth": { "type": "api_key", "header": "x-key" }, "request": { "base_url": "https://o.example/" } });
    assert_answer(&post_for_code(&fixture, "/v1/apps", &other), (201, ""));
    assert_eq!(revisions(), 0);
}

#[test]
fn a_client_without_stored_destinations_keeps_its_revisions() {
    let fixture = Fixture::new();
    let entered = fixture.world.db.query_number("SELECT max(revision) FROM apps");
    fixture.world.db.tamper("UPDATE oauth_clients SET destinations = NULL");
    for at in 0..70 {
        fixture.world.advance_clock(601);
        assert_answer(&put_app_named(&fixture, &format!("Acme {at}")), (200, ""));
    }
    let kept = || fixture.world.db.query_number(&format!("SELECT count(*) FROM apps WHERE revision = {entered}"));
    assert_eq!(kept(), 1, "else its secret would go where the newest definition says");
    fixture.world.db.tamper("UPDATE oauth_clients SET destinations = '{}'");
    assert_answer(&put_app_named(&fixture, "Acme at last"), (200, ""));
    assert_eq!(kept(), 0);
}

#[test]
fn an_app_has_at_most_a_hundred_revisions_and_a_workspace_two_hundred_apps() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    copy_rows(&fixture, "connections", "id", "", 99);
    fixture.world.db.tamper("UPDATE connections SET app_revision = rowid_ FROM (SELECT id AS i, row_number() OVER (ORDER BY id) AS rowid_ FROM connections) WHERE id = i");
    fixture.world.db.tamper(
        "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
         INSERT INTO apps (workspace_id, id, revision, definition, is_current, created_at)
         SELECT workspace_id, id, n.i, definition, 0, created_at FROM apps, n WHERE id = 'acme' AND revision = 1",
    );
    assert_answer(&put_app_named(&fixture, "Acme 101"), LIMIT_REACHED);
    fixture.world.db.tamper("UPDATE connections SET app_revision = 1 WHERE app_revision = 7");
    assert_answer(&put_app_named(&fixture, "Acme 101"), (200, ""));
    assert!(fixture.find_connection(&id).is_some());

    copy_rows(&fixture, "apps", "id", "", 198);
    fixture.world.db.tamper("UPDATE apps SET is_current = 1 WHERE id <> 'acme'");
    let app = |id: &str| json!({ "id": id, "name": "A", "auth": { "type": "api_key", "header": "x-key" }, "request": { "base_url": "https://o.example/" } });
    assert_answer(&post_for_code(&fixture, "/v1/apps", &app("last")), (201, ""));
    assert_answer(&post_for_code(&fixture, "/v1/apps", &app("more")), LIMIT_REACHED);
    assert_answer(&put_app_named(&fixture, "Acme 102"), LIMIT_REACHED);
}

#[test]
fn a_list_parses_custom_apps_once_per_isolate() {
    let mut fixture = Fixture::new();
    fixture.world = fixture.world.in_one_isolate();
    let key = first_key(&fixture);
    for at in 0..6 {
        let mut json = acme_definition();
        json["id"] = format!("own-{at}").into();
        json["variables"] = (0..30)
            .map(|at| (format!("v{at}"), json!({ "from": "person", "label": "V", "pattern": "[a-z]{1,20}" })))
            .collect::<serde_json::Map<_, _>>()
            .into();
        assert_answer(&post_for_code(&fixture, "/v1/apps", &json), (201, ""));
    }
    let parsed = || fixture.world.context().ports.isolate_cache().definitions().parse_count();
    let list = || call(&fixture, &key, Method::Get, "/v1/apps?limit=200", &Value::Null);
    assert_eq!(list().0, 200);
    let first = parsed();
    assert_eq!(first, 7, "those six and acme");
    for _ in 0..10 {
        assert_eq!(list().0, 200);
    }
    assert_eq!(parsed(), first);
    assert_answer(&put_app_named(&fixture, "Acme, renamed"), (200, ""));
    let (_, body) = call(&fixture, &key, Method::Get, "/v1/apps?q=renamed", &Value::Null);
    assert_eq!(body["data"][0]["name"], "Acme, renamed", "a new revision is another text");
    assert_eq!(parsed(), first + 1);
}

#[test]
fn the_cache_of_parsed_definitions_is_bounded() {
    let isolate_cache = connections::isolate_cache::IsolateCache::default();
    let parse =
        |text: &str| connections::app::read_stored_definition(text, connections::egress::EgressPolicy::Public).ok();
    let text = |at: usize, length: usize| {
        let mut json = acme_definition();
        json["docs"] = format!("https://acme.example/{at}?{}", "x".repeat(length)).into();
        json.to_string()
    };
    for at in 0..600 {
        assert!(isolate_cache.definitions().get_or_parse(&text(at, 10), parse).is_some());
    }
    assert_eq!(isolate_cache.definitions().size().0, 500);
    let before = isolate_cache.definitions().parse_count();
    isolate_cache.definitions().get_or_parse(&text(599, 10), parse);
    assert_eq!(isolate_cache.definitions().parse_count(), before, "the newest are there");
    isolate_cache.definitions().get_or_parse(&text(0, 10), parse);
    assert_eq!(isolate_cache.definitions().parse_count(), before + 1);
    for at in 0..100 {
        isolate_cache.definitions().get_or_parse(&format!("{}{}", text(at, 10), " ".repeat(60_000)), parse);
    }
    assert!(isolate_cache.definitions().size().1 <= 2 * 1024 * 1024);
}

#[test]
fn quota_statements_use_the_intended_index() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.db.reset_counts();
    assert_answer(&post_for_code(&fixture, "/v1/keys", &json!({ "name": "k", "scopes": ["resolve"] })), (201, ""));
    assert_answer(&post_for_code(&fixture, "/v1/links", &json!({ "app": "acme" })), (201, ""));
    let mut ann = crate::http::TestBrowser::new(&fixture);
    ann.sign_in();
    assert_answer(&put_app_named(&fixture, "Acme 2"), (200, ""));
    let app = json!({ "id": "own", "name": "A", "auth": { "type": "api_key", "header": "x-key" }, "request": { "base_url": "https://o.example/" } });
    assert_answer(&post_for_code(&fixture, "/v1/apps", &app), (201, ""));
    assert_answer(&post_for_code(&fixture, "/v1/apps/acme/client/test", &json!({})), (200, "invalid_grant"));
    resolve_for_step(&fixture, &id, "s");
    fixture.world.run(async {
        connections::quotas::check_connection_quota(&fixture.world.context(), &fixture.workspace).await.unwrap();
    });
    fixture.run_scheduled();
    let seen = fixture.world.db.statements_run.borrow().clone();
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
        ("SELECT connection_count AS n FROM workspaces", &["SEARCH workspaces USING PRIMARY KEY (id=?)"]),
        (
            "DELETE FROM sessions WHERE token_hash IN\n",
            &["PRIMARY KEY (token_hash=?)", "sessions_by_user (workspace_id=? AND user_id=?)"],
        ),
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
        let plan = fixture.world.db.explain_query_plan(sql);
        for index in indexes {
            assert!(plan.iter().any(|line| line.contains(index)), "{piece}: {index} is not in {plan:#?}");
        }
        let is_scan =
            |line: &&String| line.starts_with("SCAN ") && !line.contains("CONSTANT") && !line.contains("(subquery");
        assert_eq!(plan.iter().find(is_scan), None, "{piece}: {plan:#?}");
    }
}
