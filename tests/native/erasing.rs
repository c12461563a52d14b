//! A deleted workspace: denied everywhere at once, whatever the number of its keys, and erased in bounded steps that lose
//! nothing; and copies in the cache that a change outdates.

use std::collections::BTreeMap;

use connections::check::tick;
use connections::connect::callback::Returned;
use connections::credential::Credential;
use connections::error::Code;
use connections::http::routes::{Auth, ROUTES};
use connections::http::{self, Body, Method, Request};
use connections::ids::{ConnectionId, Shard};
use connections::ports::{Database as _, Ports as _};
use connections::resolve::{self, Ask, Consistency};
use connections::store;
use connections::store::erasing::OF_A_WORKSPACE;
use serde_json::{Value, json};

use crate::http::call;
use crate::support::scene::BROWSER;
use crate::support::{Reply, Scene, Way, World};

const ADMIN: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const CONNECTIONS: &str = "SELECT count(*) FROM connections";
const NOTES: &str = "SELECT count(*) FROM cache_deletes";

fn edge() -> Ask {
    Ask { consistency: Consistency::Edge, ..Ask::default() }
}

fn delete(scene: &Scene) -> (u16, Value) {
    call(scene, ADMIN, Method::Delete, &format!("/v1/workspaces/{}", scene.workspace), &Value::Null)
}

fn status(scene: &Scene) -> Value {
    call(scene, ADMIN, Method::Get, "/v1/status", &Value::Null).1
}

fn rows_of(scene: &Scene, table: &str) -> i64 {
    let column = if table == "workspaces" { "id" } else { "workspace_id" };
    scene.world.db.number(&format!("SELECT count(*) FROM {table} WHERE {column} = '{}'", scene.workspace))
}

fn refused(scene: &Scene, key: &connections::caller::PresentedKey, id: &ConnectionId, ask: Ask) -> Code {
    scene.resolve_as(key, id, ask).map(|_| ()).unwrap_err().code
}

/// Thirty keys with copies in the cache, and one connection.
fn thirty_cached() -> (Scene, ConnectionId, Vec<connections::caller::PresentedKey>) {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let keys: Vec<_> = (0..30).map(|at| scene.make_key(|key| key.name = format!("k{at}"))).collect();
    for key in &keys {
        let core = scene.world.core();
        scene.world.run(async {
            let answered = resolve::resolve(&core, key, &id, edge().checked()).await.unwrap();
            for after in answered.after {
                resolve::afterwards::run(&core, after).await;
            }
        });
    }
    (scene, id, keys)
}

// ---- denied ----

#[test]
fn one_tombstone_denies_every_cached_key_of_a_deleted_workspace() {
    let (scene, id, keys) = thirty_cached();
    scene.world.db.down.set(true);
    for key in &keys {
        assert!(scene.resolve_as(key, &id, edge()).is_ok(), "all are cached");
    }
    scene.world.db.down.set(false);
    let (puts, deletes) = (scene.world.kv.puts.get(), scene.world.kv.deletes.get());
    let (code, body) = delete(&scene);
    assert_eq!(code, 200);
    assert_eq!(body["cached_copies"], json!({ "status": "removed", "until": null }));
    assert_eq!(scene.world.kv.puts.get() - puts, 1, "one write");
    assert_eq!(scene.world.kv.deletes.get(), deletes, "and none for each key");
    for key in &keys {
        assert_eq!(refused(&scene, key, &id, edge()), Code::Unauthorized);
    }
    for consistency in [Consistency::Edge, Consistency::Available] {
        scene.world.db.down.set(true);
        let ask = Ask { consistency, ..Ask::default() };
        assert_eq!(refused(&scene, &keys[0], &id, ask), Code::DatabaseUnavailable, "no copy answers");
        scene.world.db.down.set(false);
    }
    // Until the last entry has ended.
    let held = scene.world.kv.held.borrow().clone();
    let end_of =
        |begin: &str| held.iter().filter(|(name, _)| name.starts_with(begin)).map(|(_, (_, end))| *end).max().unwrap();
    assert!(end_of("workspace/") >= end_of("key/").max(end_of("connection/")) + 3600);
}

#[test]
fn a_tombstone_that_can_not_be_written_is_tried_by_every_run_and_told() {
    let (scene, id, keys) = thirty_cached();
    scene.world.kv.refused_puts.set(3);
    let (code, body) = delete(&scene);
    let until = scene.world.now().plus(3720);
    assert_eq!(code, 200);
    assert_eq!(body["cached_copies"], json!({ "status": "retrying", "until": until }));
    assert!(scene.resolve_as(&keys[0], &id, edge()).is_ok(), "the copy still answers");
    let told = &status(&scene)["erasing"][0];
    assert_eq!(told["cached_copies"], json!({ "status": "retrying", "until": until }));
    scene.world.pass(60);
    scene.tick();
    scene.tick();
    assert!(rows_of(&scene, "workspaces") == 1, "it stays while copies may answer");
    scene.tick();
    assert_eq!(status(&scene)["erasing"][0]["cached_copies"]["status"], "removed");
    assert_eq!(refused(&scene, &keys[0], &id, edge()), Code::Unauthorized);
}

#[test]
fn what_says_nothing_about_a_tombstone_is_not_taken_for_none() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, edge()).unwrap();
    let gets = scene.world.kv.gets.get();
    let answered = scene.resolve(&id, edge()).unwrap();
    assert_eq!(answered.resolved.source, resolve::Source::Cache);
    assert_eq!(scene.world.kv.gets.get() - gets, 3, "key, connection and tombstone");
    scene.world.kv.failing_reads_of.set(Some("workspace/"));
    let answered = scene.resolve(&id, edge()).unwrap();
    assert_eq!(answered.resolved.source, resolve::Source::Database);
    scene.world.db.down.set(true);
    assert_eq!(refused(&scene, &scene.presented(), &id, edge()), Code::DatabaseUnavailable);
}

#[test]
fn the_tombstone_is_read_in_the_same_wave_as_the_connection() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, edge()).unwrap();
    scene.world.kv.slow.set(100);
    let before = scene.world.runtime.now_ms();
    assert_eq!(scene.resolve(&id, edge()).unwrap().resolved.source, resolve::Source::Cache);
    assert_eq!(scene.world.runtime.now_ms() - before, 200, "two waves, as without it");
}

#[test]
fn a_copy_that_a_resolve_puts_while_its_workspace_is_deleted_opens_nothing() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let core = scene.world.core();
    let answered =
        scene.world.run(async { resolve::resolve(&core, &scene.presented(), &id, edge().checked()).await.unwrap() });
    delete(&scene);
    // Neither is taken back.
    scene.world.kv.refused_deletes.set(100);
    scene.world.run(async {
        for after in answered.after {
            resolve::afterwards::run(&core, after).await;
        }
    });
    assert!(scene.world.kv.names().contains(&format!("connection/{id}")));
    scene.world.db.down.set(true);
    for consistency in [Consistency::Edge, Consistency::Available] {
        let ask = Ask { consistency, ..Ask::default() };
        assert_eq!(refused(&scene, &scene.presented(), &id, ask), Code::DatabaseUnavailable);
    }
}

#[test]
fn without_a_cache_a_workspace_is_deleted_all_the_same() {
    let scene = Scene::new();
    scene.world.kv.absent.set(true);
    scene.connect("ann");
    assert_eq!(delete(&scene).1["cached_copies"]["status"], "removed");
    for _ in 0..8 {
        scene.world.pass(121);
        scene.tick();
    }
    assert_eq!(rows_of(&scene, "workspaces"), 0);
}

fn request(method: Method, address: &str, headers: &[(&str, String)], body: &str) -> Request {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let mut all = vec![("sec-fetch-site".to_owned(), "same-origin".to_owned())];
    all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Request {
        method,
        path: path.into(),
        query: query.into(),
        headers: all,
        body: Body::Bytes(body.as_bytes().to_vec()),
        id: "r".into(),
    }
}

fn answer(scene: &Scene, request: &Request) -> http::Response {
    scene.world.run(async { http::handle(&scene.world.core(), request).await })
}

/// The cookie that an answer sets, as a browser sends it back.
fn cookie(response: &http::Response) -> Option<String> {
    let set = response.headers.iter().filter(|(name, _)| name == "set-cookie");
    let pairs: Vec<_> = set.filter_map(|(_, value)| value.split(';').next()).map(str::to_owned).collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

#[test]
fn every_route_refuses_whatever_belonged_to_a_deleted_workspace() {
    let scene = Scene::new();
    let key = scene.key_text.expose().to_owned();
    let id = scene.connect("ann");
    let post = |path: &str, body: Value| call(&scene, &key, Method::Post, path, &body).1;
    let path_of = |url: &Value| url.as_str().unwrap().trim_start_matches("https://c.example.com").to_owned();
    let sign_in = path_of(&post("/v1/sign-in-links", json!({ "user": { "id": "ann" } }))["url"]);
    let unused = path_of(&post("/v1/sign-in-links", json!({ "user": { "id": "ann" } }))["url"]);
    let made = post("/v1/links", json!({ "app": "acme" }));
    let (link, link_id) = (path_of(&made["url"]), made["id"].as_str().unwrap().to_owned());
    let signed_in = answer(&scene, &request(Method::Post, &sign_in, &[], ""));
    let cookie = cookie(&signed_in).unwrap_or_else(|| panic!("{signed_in:?}"));
    let home = answer(&scene, &request(Method::Get, "/", &[("cookie", cookie.clone())], ""));
    assert_eq!(home.status, 200);
    let begun = scene.start(&scene.wish(), BROWSER);
    let (code, state) = scene.world.acme.consent(&begun, "bob");
    let undecided = scene.flow(&scene.wish(), "ann");
    delete(&scene);

    let asked = scene.world.acme.requests();
    let params: BTreeMap<&str, &str> = [
        ("{connection}", id.as_str()),
        ("{link}", link_id.as_str()),
        ("{app}", "acme"),
        ("{key}", scene.key.id.as_str()),
        ("{client}", scene.client.as_str()),
        ("{authorization}", undecided.id.as_str()),
        ("{reason}", "denied"),
        ("{workspace}", scene.workspace.as_str()),
    ]
    .into();
    let mut tried = 0;
    for line in ROUTES {
        let mut path = line.path.to_owned();
        for (place, value) in &params {
            path = path.replace(place, value);
        }
        let addresses = if path == "/connect/{token}" {
            vec![link.clone()]
        } else if path == "/sign-in/{token}" {
            vec![unused.clone(), sign_in.clone()]
        } else if path.starts_with("/oauth/callback/") {
            vec![format!("{path}?state={state}&code={}", code.expose())]
        } else {
            vec![path]
        };
        for address in addresses {
            let headers = match line.auth {
                Auth::Nobody | Auth::Operator => continue,
                Auth::Key(_) | Auth::Itself => vec![("authorization", format!("Bearer {key}"))],
                Auth::Browser | Auth::Person(_) => vec![("cookie", cookie.clone())],
            };
            let response = answer(&scene, &request(line.method, &address, &headers, ""));
            let is_end_page = line.path == "/oauth/ended/{reason}";
            let to_an_end_page = response.status == 303
                && response.header("location").is_some_and(|location| location.contains("/oauth/ended/"));
            let is_refused = (400..500).contains(&response.status) || to_an_end_page || is_end_page;
            assert!(is_refused, "{:?} {address}: {} {:?}", line.method, response.status, response.header("location"));
            tried += 1;
        }
    }
    assert!(tried >= 50, "{tried}");
    let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
    let landing = scene.come_back(returned, BROWSER);
    assert!(matches!(landing, connections::connect::callback::Landing::Refused(_)));
    assert_eq!(scene.world.acme.requests(), asked, "nothing left for the app");

    scene.world.db.tamper("UPDATE connections SET next_check_at = 1");
    let (probes, tokens) = (scene.world.acme.count("/me"), scene.world.acme.count("/token"));
    for _ in 0..10 {
        scene.world.pass(121);
        scene.tick();
    }
    assert_eq!((scene.world.acme.count("/me"), scene.world.acme.count("/token")), (probes, tokens));
    assert!(!scene.world.acme.is_alive("ann"), "the grants are revoked, the undecided one with them");
    for table in OF_A_WORKSPACE {
        assert_eq!(rows_of(&scene, table), 0, "{table}");
    }
}

#[test]
fn nothing_is_made_in_a_deleted_workspace_by_a_request_that_was_let_in_before() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let neighbour = scene.neighbour();
    delete(&scene);
    let columns =
        |table: &str| scene.world.db.value(&format!("SELECT group_concat(name) FROM pragma_table_info('{table}')"));
    for table in
        OF_A_WORKSPACE.into_iter().filter(|table| !["workspaces", "events", "revocations", "uses"].contains(table))
    {
        let columns = columns(table);
        assert!(columns.as_str().unwrap().contains("workspace_id"), "{table}");
        let trigger = format!(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = '{table}' AND sql LIKE '%INSERT%RAISE(ABORT%'"
        );
        assert_eq!(scene.world.db.number(&trigger), 1, "{table}");
    }
    let key = connections::caller::new_key(scene.world.core().ports.random(), Shard::FIRST).unwrap();
    let row = connections::caller::Key {
        id: key.0,
        workspace: scene.workspace.clone(),
        name: "late".into(),
        hash: key.2,
        scopes: vec![],
        connections: None,
        apps: None,
        expires_at: None,
        created_at: Some(scene.world.now()),
        made_by: None,
        previous: None,
    };
    let insert = |row: &connections::caller::Key| {
        let statement = store::keys::insert(row);
        scene.world.run(async { scene.world.core().db().batch(vec![statement]).await.map(|_| ()) })
    };
    assert_eq!(insert(&row), Err(connections::ports::DatabaseError::Constraint));
    let other = connections::caller::Key { workspace: neighbour.workspace.clone(), ..row };
    assert_eq!(insert(&other), Ok(()));
    let (workspace, now) = (scene.workspace.clone(), scene.world.now());
    scene.world.run(async {
        let core = scene.world.core();
        store::uses::record(core.db(), &workspace, &id, Some(("w", "s")), now).await.unwrap();
    });
    assert_eq!(rows_of(&scene, "uses"), 0, "a use that comes late is not noted");
}

#[test]
fn every_table_of_a_workspace_is_emptied() {
    let scene = Scene::new();
    let tables = scene.world.db.value(
        "SELECT group_concat(t.name) FROM sqlite_schema t WHERE t.type = 'table'
         AND EXISTS (SELECT 1 FROM pragma_table_info(t.name) c WHERE c.name = 'workspace_id')",
    );
    for table in tables.as_str().unwrap().split(',') {
        assert!(OF_A_WORKSPACE.contains(&table), "{table} has rows of workspaces: store/erasing.rs must empty it");
    }
}

// ---- erased ----

/// So many connections: every fifth has a grant, of the others half are dead and half have no credential any more.
fn fill(scene: &Scene, count: usize) -> usize {
    let model = scene.connect("ann");
    let row = scene.row(&model);
    let credential = scene.credential(&model);
    let mut granted = 1;
    let core = scene.world.core();
    for at in 1..count {
        let id = ConnectionId::random(core.ports.random(), Shard::FIRST).unwrap();
        let has_grant = at % 5 == 0;
        granted += usize::from(has_grant);
        let sealed = (has_grant || at % 2 == 0).then(|| {
            let place = Credential::place(&scene.workspace, &id, row.generation);
            credential.seal(&core.config.ring, core.ports.random(), &place).unwrap()
        });
        let copy = connections::connection::Connection {
            id,
            sealed_credential: sealed,
            name: format!("c{at}"),
            ..row.clone()
        };
        let dead = format!(
            "UPDATE connections SET status = 'needs_reconnect', reconnect_reason = 'revoked' WHERE id = '{}'",
            copy.id
        );
        scene.world.run(async {
            scene.world.core().db().batch(vec![store::connections::insert(&copy)]).await.unwrap();
        });
        if !has_grant {
            scene.world.db.tamper(&dead);
        }
    }
    granted
}

fn paid(scene: &Scene) {
    scene.world.subrequests.set(Some(1000));
    scene.world.check_batch.set(Some(500));
    scene.world.erase_batch.set(Some(6000));
}

#[test]
fn five_thousand_connections_are_erased_in_bounded_runs() {
    let scene = Scene::in_world(&World::new(Way::Object, None), &json!({}));
    let granted = fill(&scene, 5000);
    paid(&scene);
    let (_, body) = delete(&scene);
    assert_eq!(body["erasing"], json!({ "connections_left": 5000, "revocations_left": 0 }));
    let mut runs = 0;
    while rows_of(&scene, "workspaces") == 1 {
        runs += 1;
        assert!(runs <= 25, "{runs}: {}", status(&scene)["erasing"]);
        scene.world.pass(300);
        scene.world.db.reset_counts();
        let before = scene.world.db.number(CONNECTIONS);
        let now = scene.world.now();
        let core = scene.world.core();
        let summary = scene.world.run(tick(&core, now)).unwrap();
        let spent = core.ports.meter.spent.get();
        assert!(spent <= 540, "run {runs}: {spent} subrequests");
        assert!(scene.world.db.statements.get() <= 700, "run {runs}: {} statements", scene.world.db.statements.get());
        let gone = before - scene.world.db.number(CONNECTIONS);
        assert!(gone <= 1000 + 500, "run {runs}: {gone} rows at once");
        assert!(before == 0 || gone > 0, "run {runs} did nothing of {before}");
        assert!(summary.erased > 0, "run {runs}: {summary:?}");
    }
    assert!(runs <= 12, "{runs} runs");
    let requests = scene.world.acme.count("/revoke");
    assert!(requests >= granted && requests <= 2 * granted, "{requests} requests for {granted} grants");
    for table in OF_A_WORKSPACE {
        assert_eq!(rows_of(&scene, table), 0, "{table}");
    }
}

#[test]
fn on_the_free_plan_a_run_stays_in_its_budget_of_requests_and_rows() {
    let scene = Scene::in_world(&World::new(Way::Object, None), &json!({}));
    let granted = fill(&scene, 300);
    delete(&scene);
    let mut runs = 0;
    while rows_of(&scene, "workspaces") == 1 {
        runs += 1;
        assert!(runs <= 40, "{runs}");
        scene.world.pass(300);
        let before = scene.world.db.number(CONNECTIONS);
        let now = scene.world.now();
        let core = scene.world.core();
        scene.world.run(tick(&core, now)).unwrap();
        assert!(core.ports.meter.spent.get() <= 50, "run {runs}: {}", core.ports.meter.spent.get());
        assert!(before - scene.world.db.number(CONNECTIONS) <= 40 + 20);
    }
    assert!(runs <= 20, "{runs} runs");
    assert!(scene.world.acme.count("/revoke") >= granted);
}

#[test]
fn a_run_that_is_killed_half_way_loses_nothing() {
    for after_ms in [5, 20, 45, 70, 110] {
        let scene = Scene::in_world(&World::new(Way::Object, None), &json!({}));
        let ids: Vec<_> = (0..8).map(|at| scene.connect(&format!("p{at}"))).collect();
        delete(&scene);
        for _ in 0..3 {
            scene.world.pass(121);
            let now = scene.world.now();
            let core = scene.world.core();
            let run = scene.world.runtime.spawn(async move { tick(&core, now).await });
            scene.world.run(scene.world.runtime.sleep(after_ms));
            run.kill();
            scene.world.runtime.drain();
        }
        for _ in 0..10 {
            scene.world.pass(121);
            scene.tick();
        }
        assert_eq!(rows_of(&scene, "workspaces"), 0, "killed at {after_ms} ms");
        for at in 0..ids.len() {
            assert!(!scene.world.acme.is_alive(&format!("p{at}")), "killed at {after_ms} ms: p{at}");
        }
    }
}

#[test]
fn a_revocation_that_fails_keeps_the_workspace_for_a_day_and_nothing_else() {
    let scene = Scene::new();
    for at in 0..6 {
        scene.connect(&format!("p{at}"));
    }
    scene.world.acme.always("/revoke", Some(Reply::status(500, "")));
    delete(&scene);
    for _ in 0..10 {
        scene.world.pass(300);
        scene.tick();
    }
    assert_eq!((rows_of(&scene, "connections"), rows_of(&scene, "revocations")), (0, 6));
    assert_eq!(status(&scene)["erasing"][0]["revocations_left"], 6);
    for table in ["api_keys", "events", "sessions", "connect_links"] {
        assert_eq!(rows_of(&scene, table), 0, "{table}");
    }
    let tries = scene.world.acme.count("/revoke");
    assert!(tries <= 6 * 8, "{tries}");
    for _ in 0..24 * 12 {
        scene.world.pass(300);
        scene.tick();
    }
    for table in OF_A_WORKSPACE {
        assert_eq!(rows_of(&scene, table), 0, "{table}");
    }
}

#[test]
fn a_deleted_workspace_tells_its_progress_until_all_is_gone() {
    let scene = Scene::new();
    scene.connect("ann");
    let path = format!("/v1/workspaces/{}", scene.workspace);
    let show = || call(&scene, ADMIN, Method::Get, &path, &Value::Null);
    let (code, body) = show();
    assert_eq!((code, &body["deleted_at"], &body["erasing"]), (200, &Value::Null, &Value::Null));
    delete(&scene);
    let at = scene.world.now();
    scene.world.pass(30);
    let puts = scene.world.kv.puts.get();
    assert_eq!(delete(&scene).0, 404, "twice");
    assert_eq!(scene.world.kv.puts.get(), puts, "one tombstone is enough");
    let (_, body) = show();
    assert_eq!(body["deleted_at"], json!(at));
    assert_eq!(body["erasing"], json!({ "connections_left": 1, "revocations_left": 0 }));
    for _ in 0..8 {
        scene.world.pass(121);
        scene.tick();
    }
    assert_eq!(show().0, 404);
    assert_eq!(status(&scene)["erasing"], json!([]));
}

#[test]
fn a_single_disconnect_does_not_wait_for_a_workspace_with_thousands() {
    let scene = Scene::in_world(&World::new(Way::Object, None), &json!({}));
    let neighbour = scene.neighbour();
    let id = neighbour.connect("zoe");
    fill(&scene, 400);
    delete(&scene);
    scene.world.pass(10);
    neighbour.world.run(async {
        let core = neighbour.world.core();
        store::refreshes::mark_deleted(core.db(), &neighbour.workspace, &id, core.now(), None).await.unwrap();
    });
    scene.world.pass(121);
    scene.tick();
    assert!(!scene.world.acme.is_alive("zoe"));
    assert_eq!(rows_of(&neighbour, "connections"), 0);
    assert!(rows_of(&scene, "connections") > 300);
}

// ---- a disconnect happens once (C4) ----

#[test]
fn a_disconnect_happens_once_while_the_cache_refuses_for_two_hours() {
    let scene = Scene::new();
    let ids: Vec<_> = (0..6).map(|at| scene.connect(&format!("p{at}"))).collect();
    for id in &ids {
        scene.resolve_fully(id, edge()).unwrap();
    }
    scene.world.kv.refused_deletes.set(u32::MAX);
    let key = scene.key_text.expose().to_owned();
    for id in &ids {
        let (code, body) = call(&scene, &key, Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
        assert_eq!(
            (code, &body["revoked"], &body["cached_copies"]["status"]),
            (200, &json!("confirmed"), &json!("retrying"))
        );
    }
    assert_eq!(scene.world.db.number(NOTES), 6);
    assert_eq!(status(&scene)["cached_copies_left"], 6);
    for _ in 0..24 {
        scene.world.pass(300);
        scene.tick();
    }
    assert_eq!(scene.world.acme.count("/revoke"), 12);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM events WHERE type = 'disconnected'"), 6);
    assert_eq!(scene.world.db.number(CONNECTIONS), 0);
    assert_eq!(scene.world.db.number(NOTES), 0, "no copy lives as long");
}

// ---- shares (C7) ----

#[test]
fn the_smallest_batches_leave_nothing_undone() {
    for batch in 1..=3 {
        let scene = Scene::in_world(&World::new(Way::Object, None), &json!({}));
        let neighbour = scene.neighbour();
        for at in 0..3 {
            neighbour.connect(&format!("n{at}"));
        }
        let ids: Vec<_> = (0..3).map(|at| scene.connect(&format!("p{at}"))).collect();
        scene.world.acme.always("/revoke", Some(Reply::status(500, "")));
        scene.disconnect(&ids[0]).unwrap();
        scene.world.acme.always("/revoke", None);
        delete(&scene);
        scene.world.check_batch.set(Some(batch));
        for _ in 0..30 {
            scene.world.pass(121);
            scene.world.db.tamper("UPDATE connections SET next_check_at = 1 WHERE deleted_at IS NULL");
            let summary = scene.tick();
            assert!(summary.checked >= 1, "{batch}");
        }
        for table in OF_A_WORKSPACE {
            assert_eq!(rows_of(&scene, table), 0, "{batch}: {table}");
        }
    }
}

#[test]
fn a_large_run_begins_nothing_that_outlasts_its_lease() {
    let scene = Scene::in_world(&World::new(Way::Object, None), &json!({}));
    for at in 0..120 {
        scene.connect(&format!("p{at}"));
    }
    paid(&scene);
    scene.world.db.tamper("UPDATE connections SET next_check_at = 1");
    scene.world.acme.latency_ms.set(8000);
    let probes = scene.world.acme.count("/me");
    let before = scene.world.now();
    let summary = scene.tick();
    assert!(scene.world.now().since(before) < 120, "{}", scene.world.now().since(before));
    assert!(summary.checked > 30 && summary.checked < 120, "{summary:?}");
    scene.world.acme.latency_ms.set(10);
    scene.world.pass(121);
    scene.tick();
    assert_eq!(scene.world.acme.count("/me") - probes, 120, "each once");
}

#[test]
fn purges_are_bounded() {
    let scene = Scene::new();
    scene.connect("ann");
    let many = |sql: &str| {
        scene
            .world
            .db
            .tamper(&format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) {sql}"))
    };
    let flow = "(id, state_hash, session_hash, workspace_id, app, app_revision, oauth_client, scopes, iss_required, sealed_verifier, status, created_at, expires_at)";
    let now = scene.world.now().unix();
    let (ws, client) = (&scene.workspace, &scene.client);
    many(&format!(
        "INSERT INTO flows {flow} SELECT 'a' || i, 'a' || i, 's', '{ws}', 'acme', 1, '{client}', '[]', 0, 'x', 'pending', 1, {now} - 10 FROM n"
    ));
    many(&format!(
        "INSERT INTO revocations (id, workspace_id, app, app_revision, sealed_tokens, failures, next_attempt_at, expires_at) SELECT 'r' || i, '{ws}', 'acme', 1, 'x', 0, {now} + 1000000, {now} - 10 FROM n"
    ));
    let left = || {
        let verifiers = scene.world.db.number("SELECT count(*) FROM flows WHERE sealed_verifier = 'x'");
        (verifiers, scene.world.db.number("SELECT count(*) FROM revocations"))
    };
    for expected in [(700, 700), (200, 200), (0, 0)] {
        scene.tick();
        assert_eq!(left(), expected);
    }
}

// ---- copies that a change outdates (B10) ----

#[test]
fn an_edit_whose_copy_can_not_be_removed_says_so_and_is_made_good() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let key = scene.key_text.expose().to_owned();
    let path = format!("/v1/connections/{id}");
    let patch = |body: Value| call(&scene, &key, Method::Patch, &path, &body).1;
    scene.resolve_fully(&id, edge()).unwrap();
    scene.world.kv.refused_deletes.set(3);
    let until = scene.world.now().plus(3720);
    let body = patch(json!({ "allowed_workflows": ["w"] }));
    assert_eq!(body["cached_copies"], json!({ "status": "retrying", "until": until }));
    assert!(scene.resolve(&id, edge()).is_ok(), "the copy still answers");
    scene.world.pass(61);
    scene.tick();
    assert_eq!(scene.world.db.number(NOTES), 0);
    assert_eq!(refused(&scene, &scene.presented(), &id, edge()), Code::WorkflowNotAllowed);
    let body = patch(json!({ "allowed_workflows": ["v"] }));
    assert_eq!(body.get("cached_copies"), None, "removed");
    assert_eq!(patch(json!({ "allowed_workflows": ["v"] })).get("cached_copies"), None, "nothing changed");
    assert_eq!(scene.world.db.number(NOTES), 0);
}

#[test]
fn a_request_that_dies_before_it_removes_the_copy_is_made_good_by_the_schedule() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, edge()).unwrap();
    scene.world.kv.slow.set(1500);
    let key = scene.key_text.expose().to_owned();
    let mut edit =
        request(Method::Patch, &format!("/v1/connections/{id}"), &[("authorization", format!("Bearer {key}"))], "");
    edit.body = Body::Bytes(json!({ "allowed_workflows": ["w"] }).to_string().into_bytes());
    let core = scene.world.core();
    let editing = scene.world.runtime.spawn(async move { http::handle(&core, &edit).await.status });
    scene.world.run(scene.world.runtime.sleep(100));
    editing.kill();
    scene.world.kv.slow.set(0);
    assert_eq!(scene.world.db.number(NOTES), 1, "noted with the change");
    scene.world.pass(61);
    scene.tick();
    assert_eq!(scene.world.db.number(NOTES), 0);
    assert_eq!(refused(&scene, &scene.presented(), &id, edge()), Code::WorkflowNotAllowed);
}

#[test]
fn a_revoked_key_whose_copy_can_not_be_removed_says_so_and_is_made_good() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let text = scene.make_key_text(|_| {});
    let further = connections::caller::PresentedKey::parse(text.expose()).unwrap();
    scene.world.run(async {
        let core = scene.world.core();
        for after in resolve::resolve(&core, &further, &id, edge().checked()).await.unwrap().after {
            resolve::afterwards::run(&core, after).await;
        }
    });
    scene.world.kv.refused_deletes.set(3);
    let key = scene.key_text.expose().to_owned();
    let path = format!("/v1/keys/{}", further.id.as_str());
    let (code, body) = call(&scene, &key, Method::Delete, &path, &Value::Null);
    assert_eq!((code, &body["cached_copies"]["status"]), (200, &json!("retrying")));
    assert!(scene.resolve_as(&further, &id, edge()).is_ok());
    scene.world.pass(61);
    scene.tick();
    assert_eq!(refused(&scene, &further, &id, edge()), Code::Unauthorized);
    assert_eq!(scene.world.db.number(NOTES), 0);
}

#[test]
fn a_reconnect_whose_copy_can_not_be_removed_is_made_good() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, edge()).unwrap();
    scene.world.kv.refused_deletes.set(3);
    scene.flow(&scene.repair_of(&id), "ann");
    assert_eq!(scene.world.db.number(NOTES), 1);
    scene.world.pass(61);
    scene.tick();
    assert!(!scene.world.kv.names().contains(&format!("connection/{id}")));
}

#[test]
fn without_a_cache_nothing_is_noted() {
    let scene = Scene::new();
    scene.world.kv.absent.set(true);
    let id = scene.connect("ann");
    let key = scene.key_text.expose().to_owned();
    let path = format!("/v1/connections/{id}");
    let (_, body) = call(&scene, &key, Method::Patch, &path, &json!({ "name": "N" }));
    assert_eq!(body.get("cached_copies"), None);
    scene.flow(&scene.repair_of(&id), "ann");
    let (_, body) = call(&scene, &key, Method::Delete, &path, &Value::Null);
    assert_eq!(body.get("cached_copies"), None);
    assert_eq!(scene.world.db.number(NOTES), 0);
}

#[test]
fn removals_that_fail_take_turns_and_fit_in_a_run() {
    let scene = Scene::new();
    let ids: Vec<_> = (0..20).map(|at| scene.connect(&format!("p{at}"))).collect();
    scene.world.kv.refused_deletes.set(20 * 3 + 5);
    for id in &ids {
        scene.disconnect(id).unwrap();
    }
    for _ in 0..8 {
        scene.world.pass(121);
        let now = scene.world.now();
        let core = scene.world.core();
        scene.world.run(tick(&core, now)).unwrap();
        assert!(core.ports.meter.spent.get() <= 50);
    }
    assert_eq!(scene.world.db.number(NOTES), 0);
}

// ---- definitions that an earlier version took ----

#[test]
fn a_stored_definition_with_a_password_grant_is_refused_and_says_what_to_do() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let key = scene.key_text.expose().to_owned();
    let old = json!({ "id": "acme", "name": "Acme", "auth": {
        "type": "client_credentials", "token_url": "https://acme.example/token", "grant_type": "password" } });
    scene.world.db.tamper(&format!("UPDATE apps SET definition = '{old}'"));
    let asked = scene.world.acme.requests();
    let (code, body) = call(&scene, &key, Method::Get, "/v1/apps/acme", &Value::Null);
    assert_eq!((code, body["code"].as_str()), (409, Some("conflict")));
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("auth.grant_type") && detail.contains("PUT /v1/apps/acme"), "{detail}");
    assert_eq!(call(&scene, &key, Method::Get, "/v1/apps", &Value::Null).0, 200, "the list goes on without it");
    scene.expire(&id);
    let error = scene.resolve(&id, Ask::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.code, Code::Conflict);
    assert_eq!(scene.world.acme.requests(), asked);
    let corrected = crate::support::scene::definition();
    assert_eq!(call(&scene, &key, Method::Put, "/v1/apps/acme", &corrected).0, 200);
}
