//! An installation with several databases: its operator, and a workspace that is not in the first one.

use connections::http::Method;
use connections::ids::{ConnectionId, Shard, WorkspaceId};
use connections::ports::{Database as _, RefreshReason};
use connections::resolve::{Consistency, ResolveRequest};
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, link_path, request};
use crate::support::{Fixture, RefreshMode, World};

const ADMIN_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

/// A fixture whose workspace is in a database of several, as the outside sees it: requests begin in the first one.
fn fixture_in(world: &World, number: u16) -> Fixture {
    let inside = Fixture::in_world(&world.in_shard(number), &json!({}));
    Fixture { world: world.clone(), ..inside }
}

/// The same, seen from its own database.
fn inside(fixture: &Fixture) -> Fixture {
    Fixture { world: fixture.world.in_shard(fixture.workspace.shard().number()), ..fixture.clone() }
}

fn world(databases: usize) -> World {
    World::new(RefreshMode::Object, None).with_databases(databases)
}

fn operate(world: &World, method: Method, path: &str, body: &Value) -> (u16, Value) {
    // Only its world counts.
    let any = fixture_of_operator(world);
    call(&any, ADMIN_KEY, method, path, body)
}

fn fixture_of_operator(world: &World) -> Fixture {
    let spare = Fixture::new();
    Fixture { world: world.clone(), ..spare }
}

fn create(world: &World, body: &Value) -> Value {
    let (status, made) = operate(world, Method::Post, "/v1/workspaces", body);
    assert_eq!(status, 201, "{made}");
    let id = WorkspaceId::parse(made["id"].as_str().unwrap()).unwrap();
    assert_eq!(made["database"], id.shard().number(), "{made}");
    made
}

fn status(world: &World) -> Value {
    let (status, body) = operate(world, Method::Get, "/v1/status", &Value::Null);
    assert_eq!(status, 200, "{body}");
    body
}

fn healthy(world: &World) -> u16 {
    let health = request(Method::Get, "/healthz", vec![]);
    world.run(async { connections::http::handle(&world.context(), &health).await }).status
}

// ---- the operator ----

#[test]
fn a_workspace_is_created_in_the_emptiest_database() {
    let world = world(3);
    let made: Vec<_> = (0..7).map(|at| create(&world, &json!({ "name": format!("w{at}") }))).collect();
    let databases: Vec<_> = made.iter().map(|made| made["database"].as_u64().unwrap()).collect();
    assert_eq!(databases, [0, 1, 2, 0, 1, 2, 0], "of several with as few it is the first");
    let deleted = format!("/v1/workspaces/{}", made[2]["id"].as_str().unwrap());
    assert_eq!(operate(&world, Method::Delete, &deleted, &Value::Null).0, 200);
    assert_eq!(create(&world, &json!({ "name": "new" }))["database"], 2, "a deleted one does not count");
    assert_eq!(create(&world, &json!({ "name": "new", "database": 0 }))["database"], 0, "the operator chooses");
    for (database, made) in world.databases().iter().zip(&made) {
        let workspace = made["id"].as_str().unwrap();
        let count = |table: &str, column: &str| {
            database.query_number(&format!("SELECT count(*) FROM {table} WHERE {column} = '{workspace}'"))
        };
        assert_eq!((count("api_keys", "workspace_id"), count("events", "workspace_id")), (1, 1), "{workspace}");
        let key = made["key"]["key"].as_str().unwrap();
        let (status, own) = call(&fixture_of_operator(&world), key, Method::Get, "/v1/workspace", &Value::Null);
        assert!(status == 200 && own["id"] == workspace || status == 401, "{own}");
    }
}

#[test]
fn a_database_that_is_closed_or_does_not_answer_takes_no_workspace() {
    let world = world(3);
    let refused = |body: &Value| {
        let (status, problem) = operate(&world, Method::Post, "/v1/workspaces", body);
        (status, problem["code"].as_str().unwrap().to_owned(), problem.to_string())
    };
    for wrong in [json!(3), json!(-1), json!(70_000), json!("0"), json!(0.5)] {
        let (status, code, text) = refused(&json!({ "name": "w", "database": wrong }));
        assert_eq!((status, code.as_str()), (422, "invalid_request"), "{text}");
        assert!(text.contains("database"), "{text}");
    }
    *world.closed_databases.borrow_mut() = Some("DB, DB_2".into());
    for at in 0..3 {
        assert_eq!(create(&world, &json!({ "name": format!("w{at}") }))["database"], 1);
    }
    let (code, conflict, text) = refused(&json!({ "name": "w", "database": 2 }));
    assert_eq!((code, conflict.as_str()), (409, "conflict"));
    assert!(text.contains("DB_2") && text.contains("CLOSED_DATABASES"), "{text}");
    *world.closed_databases.borrow_mut() = Some("DB,DB_1,DB_2".into());
    assert_eq!(refused(&json!({ "name": "w" })).0, 409);
    *world.closed_databases.borrow_mut() = None;
    world.more_databases[1].down.set(true);
    assert_eq!(create(&world, &json!({ "name": "w" }))["database"], 0, "the emptiest one does not answer");
    assert_eq!(refused(&json!({ "name": "w", "database": 2 })).0, 503);
}

#[test]
fn a_full_count_gives_each_database_its_part() {
    let world = world(2);
    for database in world.databases() {
        database.tamper(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
            INSERT INTO workspaces (id, name, created_at) SELECT 'ws_x' || i, 'w', 1 FROM n",
        );
    }
    let databases: Vec<_> =
        (0..20).map(|_| create(&world, &json!({ "name": "w" }))["database"].as_u64().unwrap()).collect();
    for number in 0..2 {
        let part = databases.iter().filter(|one| **one == number).count();
        assert!((3..=17).contains(&part), "{databases:?}");
    }
}

#[test]
fn a_repeated_creation_creates_one_workspace_whichever_database_it_is_in() {
    let world = world(2);
    let fixture = fixture_of_operator(&world);
    create(&world, &json!({ "name": "first" }));
    let send = || {
        let mut request = request(Method::Post, "/v1/workspaces", br#"{"name":"second"}"#.to_vec());
        request.headers.push(("authorization".into(), format!("Bearer {ADMIN_KEY}")));
        request.headers.push(("idempotency-key".into(), "once".into()));
        let response = fixture.world.run(async { connections::http::handle(&world.context(), &request).await });
        (response.status, serde_json::from_str::<Value>(&response.body).unwrap())
    };
    let (status, made) = send();
    assert_eq!((status, made["database"].as_u64()), (201, Some(1)));
    let (status, again) = send();
    assert_eq!((status, &again["code"], &again["id"]), (409, &json!("already_done"), &made["id"]));
    assert_eq!(world.more_databases[0].query_number("SELECT count(*) FROM workspaces"), 1);
}

#[test]
fn workspaces_are_listed_over_all_databases_each_once() {
    let world = world(4);
    // None is in the third one.
    let made: Vec<_> =
        [0, 0, 1, 1, 1, 3].iter().map(|number| create(&world, &json!({ "name": "w", "database": number }))).collect();
    let mut expected: Vec<_> =
        made.iter().map(|made| (made["database"].as_u64().unwrap(), made["id"].as_str().unwrap())).collect();
    expected.sort_unstable();
    for limit in 1..=7 {
        let (mut listed, mut path, mut pages) = (vec![], format!("/v1/workspaces?limit={limit}"), 0);
        loop {
            let (status, page) = operate(&world, Method::Get, &path, &Value::Null);
            assert_eq!(status, 200, "{page}");
            listed.extend(
                page["data"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|one| (one["database"].as_u64().unwrap(), one["id"].as_str().unwrap().to_owned())),
            );
            pages += 1;
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/workspaces?limit={limit}&cursor={cursor}"),
                None => break,
            }
        }
        assert!(
            listed.iter().map(|(database, id)| (*database, id.as_str())).eq(expected.iter().copied()),
            "{limit}: {listed:?}"
        );
        assert_eq!(pages, 6_usize.div_ceil(limit), "no page is empty");
    }
    let path = format!("/v1/workspaces/{}", expected[5].1);
    let (status, shown) = operate(&world, Method::Get, &path, &Value::Null);
    assert_eq!((status, shown["database"].as_u64(), &shown["id"]), (200, Some(3), &json!(expected[5].1)));
    world.more_databases[2].down.set(true);
    assert_eq!(operate(&world, Method::Get, "/v1/workspaces", &Value::Null).0, 503, "nothing is left out in silence");
    assert_eq!(operate(&world, Method::Get, "/v1/workspaces?limit=2", &Value::Null).0, 200, "it was not needed");
}

#[test]
fn the_status_is_of_all_databases_and_of_each() {
    let world = world(3);
    let fixtures: Vec<_> = (0..2).map(|number| fixture_in(&world, number)).collect();
    for (at, fixture) in fixtures.iter().enumerate() {
        for account in 0..=at {
            inside(fixture).connect(&format!("a{account}"));
        }
    }
    *world.closed_databases.borrow_mut() = Some("DB_1".into());
    world.advance_clock(86_400 * 2);
    let seen = status(&world);
    let databases = seen["databases"].as_array().unwrap();
    let column = |name: &str| databases.iter().map(|one| one[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("database"), [0, 1, 2]);
    assert_eq!(column("binding"), ["DB", "DB_1", "DB_2"]);
    assert_eq!(column("open"), [true, false, true]);
    assert_eq!(column("reachable"), [true, true, true]);
    assert_eq!(column("problem"), [Value::Null, Value::Null, Value::Null]);
    assert_eq!(column("workspaces"), [1, 1, 0]);
    assert_eq!(column("connections"), [1, 2, 0]);
    assert_eq!(column("due_checks"), [1, 2, 0]);
    assert_eq!((&seen["due_checks"], &seen["last_cron_run"]), (&json!(3), &Value::Null));
    let rows = seen["keys"][0]["rows"].as_i64().unwrap();
    assert!(rows >= 5, "a connection's credential and a client's secret of each: {rows}");
    let now = world.now();
    let ran = world.run(async { connections::scheduled_runs::run_all(&world.context(), now).await.len() });
    assert_eq!(ran, 2, "with CHECK_BATCH = 40 an event runs two");
    let seen = status(&world);
    let began = seen["databases"].as_array().unwrap().iter().filter(|one| !one["last_cron_run"].is_null()).count();
    assert_eq!((began, &seen["last_cron_run"]), (2, &Value::Null), "one has not been run yet");
    for _ in 0..20 {
        world.advance_clock(300);
        let now = world.now();
        world.run(async { connections::scheduled_runs::run_all(&world.context(), now).await });
    }
    let seen = status(&world);
    let times: Vec<_> = seen["databases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["last_cron_run"]["started_at"].to_string())
        .collect();
    assert_eq!(seen["last_cron_run"]["started_at"].to_string(), *times.iter().min().unwrap(), "what is behind");
    assert_eq!(seen["due_checks"], 0);
}

#[test]
fn a_database_that_fails_is_named_in_the_status_and_makes_the_installation_unhealthy() {
    for failing in 0..2 {
        let world = world(2);
        let fixtures = [fixture_in(&world, 0), fixture_in(&world, 1)];
        assert_eq!(healthy(&world), 200);
        let database = &world.databases()[failing];
        database.down.set(true);
        assert_eq!(healthy(&world), 503, "{failing}");
        let seen = status(&world);
        let shown = &seen["databases"][failing];
        assert_eq!((&shown["reachable"], &shown["workspaces"]), (&json!(false), &Value::Null));
        assert!(shown["problem"].as_str().unwrap().contains("did not answer"), "{shown}");
        assert_eq!(seen["databases"][1 - failing]["workspaces"], 1);
        let lines = world.log.0.borrow();
        let named = lines.iter().find(|line| line.event == "health_check_failed").unwrap();
        assert_eq!(named.fields["database"], ["DB", "DB_1"][failing]);
        drop(lines);
        for (at, fixture) in fixtures.iter().enumerate() {
            let (status, _) = call(fixture, &first_key(fixture), Method::Get, "/v1/connections", &Value::Null);
            assert_eq!(status, if at == failing { 503 } else { 200 }, "its own workspaces, and no others");
        }
        world.databases()[1 - failing].down.set(true);
        assert_eq!(operate(&world, Method::Get, "/v1/status", &Value::Null).0, 503, "none answers");
    }
}

#[test]
fn a_database_of_other_keys_is_named_and_the_others_work() {
    let world = world(2);
    let fixtures = [fixture_in(&world, 0), fixture_in(&world, 1)];
    for fixture in &fixtures {
        call(fixture, &first_key(fixture), Method::Get, "/v1/connections", &Value::Null);
    }
    world.more_databases[0].tamper("UPDATE encryption_key_checks SET sealed_constant = 'cx1.k1.AAAA'");
    assert_eq!(healthy(&world), 503);
    for (fixture, expected) in fixtures.iter().zip([200, 503]) {
        assert_eq!(call(fixture, &first_key(fixture), Method::Get, "/v1/connections", &Value::Null).0, expected);
    }
    let seen = status(&world);
    assert!(seen["databases"][1]["problem"].as_str().unwrap().contains("ENCRYPTION_KEYS"), "{seen}");
    let (status, _) = operate(&world, Method::Post, "/v1/workspaces", &json!({ "name": "w", "database": 1 }));
    assert_eq!(status, 503, "nothing is written there");
    assert_eq!(world.more_databases[0].query_number("SELECT count(*) FROM workspaces"), 1);
}

// ---- a workspace in the second database ----

/// Statements that each database has answered.
fn counts(world: &World) -> Vec<u64> {
    world.databases().iter().map(|database| database.statements.get()).collect()
}

#[test]
fn a_whole_life_in_the_second_database_asks_no_other() {
    let world = world(2);
    let fixture = fixture_in(&world, 1);
    let key = first_key(&fixture);
    let before = counts(&world)[0];
    let ok = |method: Method, path: &str, body: &Value| {
        let (status, answer) = call(&fixture, &key, method, path, body);
        assert!(status < 300, "{path}: {answer}");
        answer
    };
    // A link connects, without a session; a signed-in person connects, too.
    let link = ok(Method::Post, "/v1/links", &json!({ "app": "acme", "user": { "id": "ann" } }));
    let mut stranger = TestBrowser::new(&fixture);
    let pressed = stranger.press(&link_path(&link));
    assert_eq!(pressed.status, 303, "{}", pressed.body);
    stranger.complete_consent(&pressed, "ann");
    let shown = ok(Method::Get, &format!("/v1/links/{}", link["id"].as_str().unwrap()), &Value::Null);
    let id = ConnectionId::parse(shown["connection"].as_str().unwrap()).unwrap();
    assert_eq!(id.shard(), Shard::new(1).unwrap());
    let mut person = TestBrowser::new(&fixture);
    person.sign_in_as(&json!({ "user": { "id": "bob" }, "role": "admin" }));
    let mut sessions = person.cookies.iter().filter(|(name, _)| name.ends_with("cx_session"));
    assert!(sessions.all(|(_, cookie)| Shard::of_token(cookie) == Some(id.shard())));
    let pressed = person.post("/oauth/start/acme", "/oauth/start/acme", "");
    assert_eq!(pressed.status, 303, "{}", pressed.body);
    person.complete_consent(&pressed, "bob");
    assert_eq!(person.get(&format!("/connections/{id}")).status, 200);
    assert_eq!(ok(Method::Get, "/v1/connections", &Value::Null)["data"].as_array().unwrap().len(), 2);

    // Resolved, refreshed, checked, edited, reported.
    let resolve = format!("/v1/connections/{id}/resolve");
    let first = ok(Method::Post, &resolve, &json!({ "workflow": "w", "step": "s" }));
    world.advance_clock(3_700);
    let second = ok(Method::Post, &resolve, &json!({ "workflow": "w", "step": "s" }));
    assert_eq!(second["freshness"], "refreshed");
    assert_ne!(first["credential"]["access_token"], second["credential"]["access_token"]);
    ok(Method::Post, &format!("/v1/connections/{id}/check"), &Value::Null);
    ok(Method::Patch, &format!("/v1/connections/{id}"), &json!({ "name": "Renamed" }));
    let report = json!({ "status": 401, "credential_version": second["credential_version"] });
    ok(Method::Post, &format!("/v1/connections/{id}/report"), &report);
    ok(Method::Put, "/v1/apps/acme/default", &json!({ "connection": id, "user": "ann" }));
    ok(Method::Post, "/v1/resolve", &json!({ "app": "acme", "user": "ann" }));
    let batch = json!({ "items": [{ "connection": id }, { "app": "acme", "user": "ann" }] });
    ok(Method::Post, "/v1/resolve/batch", &batch);
    for list in ["/v1/workflows", "/v1/events", "/v1/sessions", "/v1/keys", "/v1/links", "/v1/defaults", "/v1/apps"] {
        ok(Method::Get, list, &Value::Null);
    }

    // Repaired by a link, disconnected, and the workspace is deleted.
    let repair = ok(Method::Post, "/v1/links", &json!({ "connection": id }));
    let pressed = TestBrowser::new(&fixture).press(&link_path(&repair));
    assert_eq!(pressed.status, 303);
    ok(Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
    person.post("/", "/sign-out", "");
    assert_eq!(counts(&world)[0], before, "the first database was not asked");
    let events = ok(Method::Get, "/v1/events?limit=200", &Value::Null);
    let types: Vec<_> = events["data"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
    for expected in ["connected", "edited", "disconnected", "link_created", "signed_in", "default_changed"] {
        assert!(types.contains(&expected), "{expected}: {types:?}");
    }
    assert_eq!(world.db.query_number("SELECT count(*) FROM events"), 0);

    let path = format!("/v1/workspaces/{}", fixture.workspace);
    assert_eq!(operate(&world, Method::Delete, &path, &Value::Null).0, 200);
    assert_eq!(call(&fixture, &key, Method::Get, "/v1/connections", &Value::Null).0, 401);
    for _ in 0..30 {
        let now = world.now();
        world.run(async { connections::scheduled_runs::run_all(&world.context(), now).await });
        world.advance_clock(3_600);
    }
    assert_eq!(operate(&world, Method::Get, &path, &Value::Null).0, 404, "everything is erased");
    for table in ["connections", "events", "uses", "flows", "api_keys", "oauth_clients"] {
        assert_eq!(world.more_databases[0].query_number(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
    assert!(!world.acme.has_live_grant("ann") && !world.acme.has_live_grant("bob"));
}

#[test]
fn a_sign_in_ends_the_session_that_the_browser_had_in_another_database() {
    let world = world(2);
    let (first, second) = (fixture_in(&world, 0), fixture_in(&world, 1));
    let mut ann = TestBrowser::new(&first);
    ann.sign_in_as(&json!({ "user": { "id": "ann" } }));
    let before = ann.cookies.clone();
    let (_, made) =
        call(&second, &first_key(&second), Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": "ann" } }));
    assert_eq!((ann.press(&link_path(&made)).status, ann.get("/").status), (303, 200));
    let mut thief = TestBrowser::new(&first);
    thief.cookies = before;
    assert_eq!(thief.get("/").status, 401);
}

#[test]
fn a_hot_resolve_in_the_second_database_is_one_round_trip() {
    let world = world(2).in_one_isolate();
    let fixture = fixture_in(&world, 1);
    let id = inside(&fixture).connect("ann");
    let key = first_key(&fixture);
    let path = format!("/v1/connections/{id}/resolve");
    for (number, body) in [json!({}), json!({ "workflow": "w", "step": "s" })].iter().enumerate() {
        call(&fixture, &key, Method::Post, &path, body);
        let databases = world.databases();
        for database in &databases {
            database.reset_counts();
        }
        assert_eq!(call(&fixture, &key, Method::Post, &path, body).0, 200);
        let trips: Vec<_> =
            databases.iter().map(|database| (database.round_trips.get(), database.writes.get())).collect();
        assert_eq!(trips, [(0, 0), (1, 0)], "{number}");
    }
}

#[test]
fn refreshes_go_to_the_database_of_their_connection_with_and_without_the_object() {
    for way in [RefreshMode::Direct, RefreshMode::Object] {
        let world = World::new(way, None).with_databases(2);
        let fixtures = [fixture_in(&world, 0), fixture_in(&world, 1)];
        for fixture in &fixtures {
            let id = inside(fixture).connect("ann");
            inside(fixture).expire_access_token(&id);
            let other = 1 - usize::from(fixture.workspace.shard().number());
            let before = counts(&world)[other];
            // From an invocation that began in the other shard, as an object may.
            let context = world.in_shard(u16::try_from(other).unwrap()).context();
            let until = world.now().plus(60).unix();
            world.run(async {
                use connections::ports::{Ports as _, RefreshRunner as _};
                context.ports.refresher().run(&id, RefreshReason::Need { until }).await
            });
            assert!(inside(fixture).load_connection(&id).expires_at.unwrap() > world.now(), "{way:?}");
            assert_eq!(counts(&world)[other], before, "{way:?}");
        }
    }
}

#[test]
fn a_key_rotation_seals_both_databases_again_and_is_finished_with_the_last() {
    let world = world(2);
    let fixtures = [fixture_in(&world, 0), fixture_in(&world, 1)];
    let ids: Vec<_> = fixtures.iter().map(|fixture| inside(fixture).connect("ann")).collect();
    let next = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let old = world.encryption_keys.borrow().clone();
    *world.encryption_keys.borrow_mut() = format!("{next},{old}");
    let run = || {
        let now = world.now();
        world.run(async { connections::scheduled_runs::run_all(&world.context(), now).await });
        world.advance_clock(300);
    };
    world.more_databases[0].down.set(true);
    (0..12).for_each(|_| run());
    assert_ne!(status(&world)["reseal"]["remaining"], Value::Null);
    world.more_databases[0].down.set(false);
    let seen = status(&world);
    assert_eq!(
        seen["reseal"]["state"], "running",
        "the first is finished, and the second has not begun: {}",
        seen["reseal"]
    );
    assert!(seen["reseal"]["remaining"].as_i64().unwrap() > 0);
    (0..24).for_each(|_| run());
    let seen = status(&world);
    assert_eq!((&seen["reseal"]["state"], &seen["reseal"]["remaining"]), (&json!("finished"), &json!(0)), "{seen}");
    *world.encryption_keys.borrow_mut() = next.to_owned();
    for (fixture, id) in fixtures.iter().zip(&ids) {
        let path = format!("/v1/connections/{id}/resolve");
        assert_eq!(call(fixture, &first_key(fixture), Method::Post, &path, &json!({})).0, 200);
    }
}

#[test]
fn nothing_of_a_database_that_is_not_bound_is_asked_for_or_answered() {
    let world = world(2);
    let fixture = fixture_in(&world, 1);
    let id = inside(&fixture).connect("ann");
    let edge = ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() };
    inside(&fixture).resolve_and_finish(&id, edge.clone()).unwrap();
    world.more_databases[0].down.set(true);
    assert!(inside(&fixture).resolve(&id, edge).is_ok(), "the cache has it");
    world.more_databases[0].down.set(false);
    let key = first_key(&fixture);
    let link = call(&fixture, &key, Method::Post, "/v1/links", &json!({ "app": "acme" })).1;
    let mut person = TestBrowser::new(&fixture);
    person.sign_in();
    let sign_in = call(&fixture, &key, Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": "ann" } })).1;

    // The same installation without its second database.
    let mut less = world.clone();
    less.more_databases.clear();
    less.run(async { less.context().db().batch(vec![]).await }).unwrap();
    let without = Fixture { world: less.clone(), ..fixture.clone() };
    let (before, reads) = (counts(&less)[0], less.cache.gets.get());
    for mode in ["strong", "available", "edge"] {
        let path = format!("/v1/connections/{id}/resolve");
        let (status, problem) = call(&without, &key, Method::Post, &path, &json!({ "consistency": mode }));
        assert_eq!((status, &problem["code"]), (401, &json!("unauthorized")), "{mode}");
        let body = json!({ "app": "acme", "user": "ann" });
        assert_eq!(call(&without, &key, Method::Post, "/v1/resolve", &body).0, 401);
    }
    for path in ["/v1/connections", "/v1/workspace", "/v1/events"] {
        assert_eq!(call(&without, &key, Method::Get, path, &Value::Null).0, 401, "{path}");
    }
    let workspace = format!("/v1/workspaces/{}", fixture.workspace);
    assert_eq!(call(&without, ADMIN_KEY, Method::Get, &workspace, &Value::Null).0, 404);
    assert_eq!(call(&without, ADMIN_KEY, Method::Delete, &workspace, &Value::Null).0, 404);
    let mut browser = TestBrowser::new(&without);
    browser.cookies.clone_from(&person.cookies);
    assert_eq!(browser.get("/").status, 401);
    assert_eq!(browser.get(&format!("/connections/{id}")).status, 401);
    for path in [link_path(&link), link_path(&sign_in)] {
        assert_eq!(browser.get(&path).status, 410, "{path}");
        assert_eq!(browser.press(&path).status, 410, "{path}");
    }
    let callback = browser.get(&format!("/oauth/callback/{}?state={}&code=c", fixture.client, "0".repeat(45)));
    assert_eq!((callback.status, callback.header("location")), (303, Some("/oauth/ended/unknown")));
    let wrong = without.clone();
    less.run(async {
        use connections::ports::{Ports as _, RefreshRunner as _};
        wrong.world.context().ports.refresher().run(&id, RefreshReason::ScheduledCheck).await
    });
    assert_eq!(counts(&less)[0], before, "no database was asked");
    assert_eq!(less.cache.gets.get(), reads, "nor the cache");
}

#[test]
fn a_person_without_a_session_finds_the_provider_of_a_workspace_in_any_database() {
    let fixture = fixture_in(&world(2), 1);
    let workspace = &fixture.workspace;
    fixture.world.more_databases[0].tamper(&format!(
        "INSERT INTO identity_providers (id, workspace_id, issuer, client_id, sealed_secret, client_auth, authorize_url, token_url,
          keys_url, sends_issuer, allowed_domains, admin_groups, created_at, updated_at)
        VALUES ('cli_' || substr('{workspace}', 4), '{workspace}', 'https://login.example', 'us', 'v1.k.x', 'basic',
          'https://login.example/a', 'https://login.example/t', 'https://login.example/k', 0, '[]', '[]', 1, 1)"
    ));
    let page = TestBrowser::new(&fixture).get("/");
    assert!(page.status == 401 && page.body.contains("Workspace id"), "{}", page.body);
}
