//! A deleted workspace: denied everywhere at once, for any number of keys, and erased in bounded steps that lose
//! nothing. Also cache entries that a change makes outdated.

use std::collections::BTreeMap;

use connections::check::run_scheduled;
use connections::connect::callback::CallbackParams;
use connections::connection::ChosenBy;
use connections::credential::Credential;
use connections::error::ErrorCode;
use connections::http::routes::{ROUTES, RequiredAuth};
use connections::http::{self, Body, Method, Request};
use connections::ids::{ConnectionId, Shard};
use connections::ports::{Database as _, Ports as _};
use connections::resolve::{self, Consistency, ResolveRequest};
use connections::store;
use connections::store::erasing::WORKSPACE_TABLES;
use serde_json::{Value, json};

use crate::http::call;
use crate::support::fixture::BROWSER_SESSION;
use crate::support::{Fixture, RefreshMode, Reply, World};

const ADMIN_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const COUNT_CONNECTIONS: &str = "SELECT count(*) FROM connections";
const COUNT_CACHE_DELETES: &str = "SELECT count(*) FROM cache_deletes";

fn edge_request() -> ResolveRequest {
    ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() }
}

fn delete_workspace(fixture: &Fixture) -> (u16, Value) {
    call(fixture, ADMIN_KEY, Method::Delete, &format!("/v1/workspaces/{}", fixture.workspace), &Value::Null)
}

fn get_status(fixture: &Fixture) -> Value {
    call(fixture, ADMIN_KEY, Method::Get, "/v1/status", &Value::Null).1
}

fn count_rows(fixture: &Fixture, table: &str) -> i64 {
    let column = if table == "workspaces" { "id" } else { "workspace_id" };
    fixture.world.db.query_number(&format!("SELECT count(*) FROM {table} WHERE {column} = '{}'", fixture.workspace))
}

fn resolve_error_code(
    fixture: &Fixture,
    key: &connections::caller::PresentedKey,
    id: &ConnectionId,
    request: ResolveRequest,
) -> ErrorCode {
    fixture.resolve_as(key, id, request).map(|_| ()).unwrap_err().code
}

/// Thirty cached keys, and one connection.
fn cache_for_thirty_keys() -> (Fixture, ConnectionId, Vec<connections::caller::PresentedKey>) {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let keys: Vec<_> = (0..30).map(|at| fixture.make_key(|key| key.name = format!("k{at}"))).collect();
    for key in &keys {
        let context = fixture.world.context();
        fixture.world.run(async {
            let answered = resolve::resolve(&context, key, &id, edge_request().validated()).await.unwrap();
            for after in answered.deferred {
                resolve::deferred::run(&context, after).await;
            }
        });
    }
    (fixture, id, keys)
}

// ---- denied ----

#[test]
fn one_tombstone_invalidates_every_cached_key_of_a_deleted_workspace() {
    let (fixture, id, keys) = cache_for_thirty_keys();
    fixture.world.db.down.set(true);
    for key in &keys {
        assert!(fixture.resolve_as(key, &id, edge_request()).is_ok(), "all are cached");
    }
    fixture.world.db.down.set(false);
    let (puts, deletes) = (fixture.world.cache.puts.get(), fixture.world.cache.deletes.get());
    let (code, body) = delete_workspace(&fixture);
    assert_eq!(code, 200);
    assert_eq!(body["cache_entries"], json!({ "status": "removed", "until": null }));
    assert_eq!(fixture.world.cache.puts.get() - puts, 1, "one write");
    assert_eq!(fixture.world.cache.deletes.get(), deletes, "and none for each key");
    for key in &keys {
        assert_eq!(resolve_error_code(&fixture, key, &id, edge_request()), ErrorCode::Unauthorized);
    }
    for consistency in [Consistency::Edge, Consistency::Available] {
        fixture.world.db.down.set(true);
        let request = ResolveRequest { consistency, ..ResolveRequest::default() };
        assert_eq!(
            resolve_error_code(&fixture, &keys[0], &id, request),
            ErrorCode::DatabaseUnavailable,
            "no copy answers"
        );
        fixture.world.db.down.set(false);
    }
    // Until the last entry has expired.
    let held = fixture.world.cache.entries.borrow().clone();
    let end_of =
        |begin: &str| held.iter().filter(|(name, _)| name.starts_with(begin)).map(|(_, (_, end))| *end).max().unwrap();
    assert!(end_of("workspace/") >= end_of("key/").max(end_of("connection/")) + 3600);
}

#[test]
fn a_tombstone_that_cannot_be_written_is_retried_by_every_run_and_reported() {
    let (fixture, id, keys) = cache_for_thirty_keys();
    fixture.world.cache.refused_puts.set(3);
    let (code, body) = delete_workspace(&fixture);
    let until = fixture.world.now().plus(3720);
    assert_eq!(code, 200);
    assert_eq!(body["cache_entries"], json!({ "status": "retrying", "until": until }));
    assert!(fixture.resolve_as(&keys[0], &id, edge_request()).is_ok(), "the copy still answers");
    let told = &get_status(&fixture)["erasing"][0];
    assert_eq!(told["cache_entries"], json!({ "status": "retrying", "until": until }));
    fixture.world.advance_clock(60);
    fixture.run_scheduled();
    fixture.run_scheduled();
    assert!(count_rows(&fixture, "workspaces") == 1, "it stays while copies may answer");
    fixture.run_scheduled();
    assert_eq!(get_status(&fixture)["erasing"][0]["cache_entries"]["status"], "removed");
    assert_eq!(resolve_error_code(&fixture, &keys[0], &id, edge_request()), ErrorCode::Unauthorized);
}

#[test]
fn a_failed_tombstone_read_does_not_mean_that_there_is_none() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, edge_request()).unwrap();
    let gets = fixture.world.cache.gets.get();
    let answered = fixture.resolve(&id, edge_request()).unwrap();
    assert_eq!(answered.resolved.source, resolve::Source::Cache);
    assert_eq!(fixture.world.cache.gets.get() - gets, 2, "key and connection, then the tombstone");
    fixture.world.cache.failing_read_prefix.set(Some("workspace/"));
    let answered = fixture.resolve(&id, edge_request()).unwrap();
    assert_eq!(answered.resolved.source, resolve::Source::Database);
    fixture.world.db.down.set(true);
    assert_eq!(
        resolve_error_code(&fixture, &fixture.presented_key(), &id, edge_request()),
        ErrorCode::DatabaseUnavailable
    );
}

#[test]
fn the_tombstone_is_read_in_parallel_with_the_connection() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, edge_request()).unwrap();
    fixture.world.cache.delay_ms.set(100);
    let before = fixture.world.runtime.now_ms();
    assert_eq!(fixture.resolve(&id, edge_request()).unwrap().resolved.source, resolve::Source::Cache);
    assert_eq!(fixture.world.runtime.now_ms() - before, 200, "two waves, as without it");
}

#[test]
fn a_cache_entry_written_during_the_workspaces_deletion_is_not_used() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let context = fixture.world.context();
    let answered = fixture.world.run(async {
        resolve::resolve(&context, &fixture.presented_key(), &id, edge_request().validated()).await.unwrap()
    });
    delete_workspace(&fixture);
    // Neither is deleted again.
    fixture.world.cache.refused_deletes.set(100);
    fixture.world.run(async {
        for after in answered.deferred {
            resolve::deferred::run(&context, after).await;
        }
    });
    assert!(fixture.world.cache.entry_names().contains(&format!("connection/{id}")));
    fixture.world.db.down.set(true);
    for consistency in [Consistency::Edge, Consistency::Available] {
        let request = ResolveRequest { consistency, ..ResolveRequest::default() };
        assert_eq!(
            resolve_error_code(&fixture, &fixture.presented_key(), &id, request),
            ErrorCode::DatabaseUnavailable
        );
    }
}

#[test]
fn a_workspace_can_be_deleted_without_a_cache() {
    let fixture = Fixture::new();
    fixture.world.cache.unbound.set(true);
    fixture.connect("ann");
    assert_eq!(delete_workspace(&fixture).1["cache_entries"]["status"], "removed");
    for _ in 0..8 {
        fixture.world.advance_clock(121);
        fixture.run_scheduled();
    }
    assert_eq!(count_rows(&fixture, "workspaces"), 0);
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

fn handle_request(fixture: &Fixture, request: &Request) -> http::Response {
    fixture.world.run(async { http::handle(&fixture.world.context(), request).await })
}

/// The cookie that an answer sets, as a browser sends it back.
fn response_cookie(response: &http::Response) -> Option<String> {
    let set = response.headers.iter().filter(|(name, _)| name == "set-cookie");
    let pairs: Vec<_> = set.filter_map(|(_, value)| value.split(';').next()).map(str::to_owned).collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

#[test]
fn every_route_refuses_resources_of_a_deleted_workspace() {
    let fixture = Fixture::new();
    let key = fixture.key_text.expose().to_owned();
    let id = fixture.connect("ann");
    let post = |path: &str, body: Value| call(&fixture, &key, Method::Post, path, &body).1;
    let path_of = |url: &Value| url.as_str().unwrap().trim_start_matches("https://c.example.com").to_owned();
    let sign_in = path_of(&post("/v1/sign-in-links", json!({ "user": { "id": "ann" } }))["url"]);
    let unused = path_of(&post("/v1/sign-in-links", json!({ "user": { "id": "ann" } }))["url"]);
    let made = post("/v1/links", json!({ "app": "acme" }));
    let (link, link_id) = (path_of(&made["url"]), made["id"].as_str().unwrap().to_owned());
    let signed_in = handle_request(&fixture, &request(Method::Post, &sign_in, &[], ""));
    let cookie = response_cookie(&signed_in).unwrap_or_else(|| panic!("{signed_in:?}"));
    let home = handle_request(&fixture, &request(Method::Get, "/", &[("cookie", cookie.clone())], ""));
    assert_eq!(home.status, 200);
    let begun = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    let (code, state) = fixture.world.acme.consent(&begun, "bob");
    let undecided = fixture.complete_flow(&fixture.connect_request(), "ann");
    delete_workspace(&fixture);

    let asked = fixture.world.acme.count_all_requests();
    let params: BTreeMap<&str, &str> = [
        ("{connection}", id.as_str()),
        ("{link}", link_id.as_str()),
        ("{app}", "acme"),
        ("{key}", fixture.key.id.as_str()),
        ("{client}", fixture.client.as_str()),
        ("{authorization}", undecided.id.as_str()),
        ("{reason}", "denied"),
        ("{workspace}", fixture.workspace.as_str()),
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
                RequiredAuth::Public | RequiredAuth::Operator => continue,
                RequiredAuth::Key(_) | RequiredAuth::KeyInHandler(_) => {
                    vec![("authorization", format!("Bearer {key}"))]
                }
                RequiredAuth::Browser | RequiredAuth::User(_) => vec![("cookie", cookie.clone())],
                RequiredAuth::App | RequiredAuth::Holder => vec![],
            };
            let response = handle_request(&fixture, &request(line.method, &address, &headers, ""));
            // Neither shows anything of a workspace: how a flow ended, and the question which workspace it is.
            let is_end_page = ["/oauth/ended/{reason}", "/sign-in"].contains(&line.path);
            let to_an_end_page = response.status == 303
                && response.header("location").is_some_and(|location| location.contains("/oauth/ended/"));
            let is_refused = (400..500).contains(&response.status) || to_an_end_page || is_end_page;
            assert!(is_refused, "{:?} {address}: {} {:?}", line.method, response.status, response.header("location"));
            tried += 1;
        }
    }
    assert!(tried >= 50, "{tried}");
    let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
    let landing = fixture.return_from_app(returned, BROWSER_SESSION);
    assert!(matches!(landing, connections::connect::callback::CallbackResult::Refused(_)));
    assert_eq!(fixture.world.acme.count_all_requests(), asked, "nothing left for the app");

    fixture.world.db.tamper("UPDATE connections SET next_check_at = 1");
    let (probes, tokens) = (fixture.world.acme.count_requests("/me"), fixture.world.acme.count_requests("/token"));
    for _ in 0..10 {
        fixture.world.advance_clock(121);
        fixture.run_scheduled();
    }
    assert_eq!(
        (fixture.world.acme.count_requests("/me"), fixture.world.acme.count_requests("/token")),
        (probes, tokens)
    );
    assert!(!fixture.world.acme.has_live_grant("ann"), "the grants are revoked, the undecided one with them");
    for table in WORKSPACE_TABLES {
        assert_eq!(count_rows(&fixture, table), 0, "{table}");
    }
}

#[test]
fn a_running_request_creates_nothing_in_a_deleted_workspace() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let neighbour = fixture.other_workspace();
    delete_workspace(&fixture);
    let columns = |table: &str| {
        fixture.world.db.query_value(&format!("SELECT group_concat(name) FROM pragma_table_info('{table}')"))
    };
    for table in
        WORKSPACE_TABLES.into_iter().filter(|table| !["workspaces", "events", "revocations", "uses"].contains(table))
    {
        let columns = columns(table);
        assert!(columns.as_str().unwrap().contains("workspace_id"), "{table}");
        let trigger = format!(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = '{table}' AND sql LIKE '%INSERT%RAISE(ABORT%'"
        );
        assert_eq!(fixture.world.db.query_number(&trigger), 1, "{table}");
    }
    let key = connections::caller::new_key(fixture.world.context().ports.random(), Shard::FIRST).unwrap();
    let row = connections::caller::ApiKey {
        id: key.0,
        workspace: fixture.workspace.clone(),
        name: "late".into(),
        hash: key.2,
        scopes: vec![],
        connections: None,
        apps: None,
        environment: None,
        expires_at: None,
        created_at: Some(fixture.world.now()),
        made_by: None,
        previous: None,
    };
    let insert = |row: &connections::caller::ApiKey| {
        let statement = store::keys::insert(row);
        fixture.world.run(async { fixture.world.context().db().batch(vec![statement]).await.map(|_| ()) })
    };
    assert_eq!(insert(&row), Err(connections::ports::DatabaseError::Constraint));
    let other = connections::caller::ApiKey { workspace: neighbour.workspace.clone(), ..row };
    assert_eq!(insert(&other), Ok(()));
    let (workspace, now) = (fixture.workspace.clone(), fixture.world.now());
    fixture.world.run(async {
        let context = fixture.world.context();
        let step = Some(("w".to_owned(), "s".to_owned()));
        let late = store::uses::NewUse { workspace, connection: id, step, chosen_by: ChosenBy::Id, answered_by: None };
        store::uses::record(context.db(), &[late], now).await.unwrap();
    });
    assert_eq!(count_rows(&fixture, "uses"), 0, "a use that comes late is not noted");
}

#[test]
fn every_table_of_a_workspace_is_emptied() {
    let fixture = Fixture::new();
    let tables = fixture.world.db.query_value(
        "SELECT group_concat(t.name) FROM sqlite_schema t WHERE t.type = 'table'
         AND EXISTS (SELECT 1 FROM pragma_table_info(t.name) c WHERE c.name = 'workspace_id')",
    );
    for table in tables.as_str().unwrap().split(',') {
        assert!(WORKSPACE_TABLES.contains(&table), "{table} has rows of workspaces: store/erasing.rs must empty it");
    }
}

// ---- erased ----

/// Many connections: every fifth has a grant, half of the others need a reconnect, and half have no credential.
fn create_connections(fixture: &Fixture, count: usize) -> usize {
    let model = fixture.connect("ann");
    let row = fixture.load_connection(&model);
    let credential = fixture.open_credential(&model);
    let mut granted = 1;
    let context = fixture.world.context();
    for at in 1..count {
        let id = ConnectionId::random(context.ports.random(), Shard::FIRST).unwrap();
        let has_grant = at % 5 == 0;
        granted += usize::from(has_grant);
        let sealed = (has_grant || at % 2 == 0).then(|| {
            let seal_context = Credential::seal_context(&fixture.workspace, &id, row.generation);
            credential.seal(&context.config.key_ring, context.ports.random(), &seal_context).unwrap()
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
        fixture.world.run(async {
            fixture.world.context().db().batch(vec![store::connections::insert(&copy)]).await.unwrap();
        });
        if !has_grant {
            fixture.world.db.tamper(&dead);
        }
    }
    granted
}

fn use_paid_plan_limits(fixture: &Fixture) {
    fixture.world.subrequest_limit.set(Some(1000));
    fixture.world.check_batch.set(Some(500));
    fixture.world.erase_batch.set(Some(6000));
}

#[test]
fn five_thousand_connections_are_erased_in_bounded_runs() {
    let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), &json!({}));
    let granted = create_connections(&fixture, 5000);
    use_paid_plan_limits(&fixture);
    let (_, body) = delete_workspace(&fixture);
    assert_eq!(body["erasing"], json!({ "connections_left": 5000, "revocations_left": 0 }));
    let mut runs = 0;
    while count_rows(&fixture, "workspaces") == 1 {
        runs += 1;
        assert!(runs <= 25, "{runs}: {}", get_status(&fixture)["erasing"]);
        fixture.world.advance_clock(300);
        fixture.world.db.reset_counts();
        let before = fixture.world.db.query_number(COUNT_CONNECTIONS);
        let now = fixture.world.now();
        let context = fixture.world.context();
        let summary = fixture.world.run(run_scheduled(&context, now)).unwrap();
        let spent = context.ports.budget.spent.get();
        assert!(spent <= 540, "run {runs}: {spent} subrequests");
        assert!(
            fixture.world.db.statements.get() <= 700,
            "run {runs}: {} statements",
            fixture.world.db.statements.get()
        );
        let gone = before - fixture.world.db.query_number(COUNT_CONNECTIONS);
        assert!(gone <= 1000 + 500, "run {runs}: {gone} rows at once");
        assert!(before == 0 || gone > 0, "run {runs} did nothing of {before}");
        assert!(summary.erased > 0, "run {runs}: {summary:?}");
    }
    assert!(runs <= 12, "{runs} runs");
    let requests = fixture.world.acme.count_requests("/revoke");
    assert!(requests >= granted && requests <= 2 * granted, "{requests} requests for {granted} grants");
    for table in WORKSPACE_TABLES {
        assert_eq!(count_rows(&fixture, table), 0, "{table}");
    }
}

#[test]
fn a_run_stays_within_the_free_plans_requests_and_rows() {
    let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), &json!({}));
    let granted = create_connections(&fixture, 300);
    delete_workspace(&fixture);
    let mut runs = 0;
    while count_rows(&fixture, "workspaces") == 1 {
        runs += 1;
        assert!(runs <= 40, "{runs}");
        fixture.world.advance_clock(300);
        let before = fixture.world.db.query_number(COUNT_CONNECTIONS);
        let now = fixture.world.now();
        let context = fixture.world.context();
        fixture.world.run(run_scheduled(&context, now)).unwrap();
        assert!(context.ports.budget.spent.get() <= 50, "run {runs}: {}", context.ports.budget.spent.get());
        assert!(before - fixture.world.db.query_number(COUNT_CONNECTIONS) <= 40 + 20);
    }
    assert!(runs <= 20, "{runs} runs");
    assert!(fixture.world.acme.count_requests("/revoke") >= granted);
}

#[test]
fn an_interrupted_erasure_loses_nothing() {
    for after_ms in [5, 20, 45, 70, 110] {
        let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), &json!({}));
        let ids: Vec<_> = (0..8).map(|at| fixture.connect(&format!("p{at}"))).collect();
        delete_workspace(&fixture);
        for _ in 0..3 {
            fixture.world.advance_clock(121);
            let now = fixture.world.now();
            let context = fixture.world.context();
            let run = fixture.world.runtime.spawn(async move { run_scheduled(&context, now).await });
            fixture.world.run(fixture.world.runtime.sleep(after_ms));
            run.kill();
            fixture.world.runtime.run_until_idle();
        }
        for _ in 0..10 {
            fixture.world.advance_clock(121);
            fixture.run_scheduled();
        }
        assert_eq!(count_rows(&fixture, "workspaces"), 0, "killed at {after_ms} ms");
        for at in 0..ids.len() {
            assert!(!fixture.world.acme.has_live_grant(&format!("p{at}")), "killed at {after_ms} ms: p{at}");
        }
    }
}

#[test]
fn a_failed_revocation_keeps_only_the_workspace_row_for_a_day() {
    let fixture = Fixture::new();
    for at in 0..6 {
        fixture.connect(&format!("p{at}"));
    }
    fixture.world.acme.script_always("/revoke", Some(Reply::status(500, "")));
    delete_workspace(&fixture);
    for _ in 0..10 {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
    assert_eq!((count_rows(&fixture, "connections"), count_rows(&fixture, "revocations")), (0, 6));
    assert_eq!(get_status(&fixture)["erasing"][0]["revocations_left"], 6);
    for table in ["api_keys", "events", "sessions", "connect_links"] {
        assert_eq!(count_rows(&fixture, table), 0, "{table}");
    }
    let tries = fixture.world.acme.count_requests("/revoke");
    assert!(tries <= 6 * 8, "{tries}");
    for _ in 0..24 * 12 {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
    for table in WORKSPACE_TABLES {
        assert_eq!(count_rows(&fixture, table), 0, "{table}");
    }
}

#[test]
fn a_deleted_workspace_shows_its_progress_until_it_is_erased() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    let path = format!("/v1/workspaces/{}", fixture.workspace);
    let show = || call(&fixture, ADMIN_KEY, Method::Get, &path, &Value::Null);
    let (code, body) = show();
    assert_eq!((code, &body["deleted_at"], &body["erasing"]), (200, &Value::Null, &Value::Null));
    delete_workspace(&fixture);
    let at = fixture.world.now();
    fixture.world.advance_clock(30);
    let puts = fixture.world.cache.puts.get();
    assert_eq!(delete_workspace(&fixture).0, 404, "twice");
    assert_eq!(fixture.world.cache.puts.get(), puts, "one tombstone is enough");
    let (_, body) = show();
    assert_eq!(body["deleted_at"], json!(at));
    assert_eq!(body["erasing"], json!({ "connections_left": 1, "revocations_left": 0 }));
    for _ in 0..8 {
        fixture.world.advance_clock(121);
        fixture.run_scheduled();
    }
    assert_eq!(show().0, 404);
    assert_eq!(get_status(&fixture)["erasing"], json!([]));
}

#[test]
fn a_single_disconnect_does_not_wait_for_a_workspace_with_thousands() {
    let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), &json!({}));
    let neighbour = fixture.other_workspace();
    let id = neighbour.connect("zoe");
    create_connections(&fixture, 400);
    delete_workspace(&fixture);
    fixture.world.advance_clock(10);
    neighbour.world.run(async {
        let context = neighbour.world.context();
        store::refreshes::mark_deleted(context.db(), &neighbour.workspace, &id, context.now(), vec![]).await.unwrap();
    });
    fixture.world.advance_clock(121);
    fixture.run_scheduled();
    assert!(!fixture.world.acme.has_live_grant("zoe"));
    assert_eq!(count_rows(&neighbour, "connections"), 0);
    assert!(count_rows(&fixture, "connections") > 300);
}

// ---- a disconnect is done once (C4) ----

#[test]
fn a_disconnect_is_done_once_during_a_cache_outage_of_two_hours() {
    let fixture = Fixture::new();
    let ids: Vec<_> = (0..6).map(|at| fixture.connect(&format!("p{at}"))).collect();
    for id in &ids {
        fixture.resolve_and_finish(id, edge_request()).unwrap();
    }
    fixture.world.cache.refused_deletes.set(u32::MAX);
    let key = fixture.key_text.expose().to_owned();
    for id in &ids {
        let (code, body) = call(&fixture, &key, Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
        assert_eq!(
            (code, &body["revoked"], &body["cache_entries"]["status"]),
            (200, &json!("confirmed"), &json!("retrying"))
        );
    }
    assert_eq!(fixture.world.db.query_number(COUNT_CACHE_DELETES), 6);
    assert_eq!(get_status(&fixture)["cache_entries_left"], 6);
    for _ in 0..24 {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
    assert_eq!(fixture.world.acme.count_requests("/revoke"), 12);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'disconnected'"), 6);
    assert_eq!(fixture.world.db.query_number(COUNT_CONNECTIONS), 0);
    assert_eq!(fixture.world.db.query_number(COUNT_CACHE_DELETES), 0, "no copy lives as long");
}

// ---- shares (C7) ----

#[test]
fn the_smallest_batches_finish_everything() {
    for batch in 1..=3 {
        let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), &json!({}));
        let neighbour = fixture.other_workspace();
        for at in 0..3 {
            neighbour.connect(&format!("n{at}"));
        }
        let ids: Vec<_> = (0..3).map(|at| fixture.connect(&format!("p{at}"))).collect();
        fixture.world.acme.script_always("/revoke", Some(Reply::status(500, "")));
        fixture.disconnect(&ids[0]).unwrap();
        fixture.world.acme.script_always("/revoke", None);
        delete_workspace(&fixture);
        fixture.world.check_batch.set(Some(batch));
        for _ in 0..30 {
            fixture.world.advance_clock(121);
            fixture.world.db.tamper("UPDATE connections SET next_check_at = 1 WHERE deleted_at IS NULL");
            let summary = fixture.run_scheduled();
            assert!(summary.checked >= 1, "{batch}");
        }
        for table in WORKSPACE_TABLES {
            assert_eq!(count_rows(&fixture, table), 0, "{batch}: {table}");
        }
    }
}

#[test]
fn a_large_run_starts_nothing_that_outlasts_its_lease() {
    let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), &json!({}));
    for at in 0..120 {
        fixture.connect(&format!("p{at}"));
    }
    use_paid_plan_limits(&fixture);
    fixture.world.db.tamper("UPDATE connections SET next_check_at = 1");
    fixture.world.acme.latency_ms.set(8000);
    let probes = fixture.world.acme.count_requests("/me");
    let before = fixture.world.now();
    let summary = fixture.run_scheduled();
    assert!(fixture.world.now().since(before) < 120, "{}", fixture.world.now().since(before));
    assert!(summary.checked > 30 && summary.checked < 120, "{summary:?}");
    fixture.world.acme.latency_ms.set(10);
    fixture.world.advance_clock(121);
    fixture.run_scheduled();
    assert_eq!(fixture.world.acme.count_requests("/me") - probes, 120, "each once");
}

#[test]
fn deletions_of_expired_rows_are_bounded() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    let many = |sql: &str| {
        fixture
            .world
            .db
            .tamper(&format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) {sql}"))
    };
    let flow = "(id, state_hash, session_hash, workspace_id, app, app_revision, oauth_client, scopes, iss_required, sealed_verifier, status, created_at, expires_at)";
    let now = fixture.world.now().unix();
    let (ws, client) = (&fixture.workspace, &fixture.client);
    many(&format!(
        "INSERT INTO flows {flow} SELECT 'a' || i, 'a' || i, 's', '{ws}', 'acme', 1, '{client}', '[]', 0, 'x', 'pending', 1, {now} - 10 FROM n"
    ));
    many(&format!(
        "INSERT INTO revocations (id, workspace_id, app, app_revision, sealed_tokens, failures, next_attempt_at, expires_at) SELECT 'r' || i, '{ws}', 'acme', 1, 'x', 0, {now} + 1000000, {now} - 10 FROM n"
    ));
    let left = || {
        let verifiers = fixture.world.db.query_number("SELECT count(*) FROM flows WHERE sealed_verifier = 'x'");
        (verifiers, fixture.world.db.query_number("SELECT count(*) FROM revocations"))
    };
    for expected in [(700, 700), (200, 200), (0, 0)] {
        fixture.run_scheduled();
        assert_eq!(left(), expected);
    }
}

// ---- cache entries that a change makes outdated (B10) ----

#[test]
fn an_edit_reports_a_cache_entry_that_cannot_be_deleted_and_it_is_deleted_later() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let key = fixture.key_text.expose().to_owned();
    let path = format!("/v1/connections/{id}");
    let patch = |body: Value| call(&fixture, &key, Method::Patch, &path, &body).1;
    fixture.resolve_and_finish(&id, edge_request()).unwrap();
    fixture.world.cache.refused_deletes.set(3);
    let until = fixture.world.now().plus(3720);
    let body = patch(json!({ "allowed_workflows": ["w"] }));
    assert_eq!(body["cache_entries"], json!({ "status": "retrying", "until": until }));
    assert!(fixture.resolve(&id, edge_request()).is_ok(), "the copy still answers");
    fixture.world.advance_clock(61);
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number(COUNT_CACHE_DELETES), 0);
    assert_eq!(
        resolve_error_code(&fixture, &fixture.presented_key(), &id, edge_request()),
        ErrorCode::WorkflowNotAllowed
    );
    let body = patch(json!({ "allowed_workflows": ["v"] }));
    assert_eq!(body.get("cache_entries"), None, "removed");
    assert_eq!(patch(json!({ "allowed_workflows": ["v"] })).get("cache_entries"), None, "nothing changed");
    assert_eq!(fixture.world.db.query_number(COUNT_CACHE_DELETES), 0);
}

#[test]
fn a_cache_entry_left_by_an_interrupted_request_is_deleted_by_the_scheduled_run() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, edge_request()).unwrap();
    fixture.world.cache.delay_ms.set(1500);
    let key = fixture.key_text.expose().to_owned();
    let mut edit =
        request(Method::Patch, &format!("/v1/connections/{id}"), &[("authorization", format!("Bearer {key}"))], "");
    edit.body = Body::Bytes(json!({ "allowed_workflows": ["w"] }).to_string().into_bytes());
    let context = fixture.world.context();
    let editing = fixture.world.runtime.spawn(async move { http::handle(&context, &edit).await.status });
    fixture.world.run(fixture.world.runtime.sleep(100));
    editing.kill();
    fixture.world.cache.delay_ms.set(0);
    assert_eq!(fixture.world.db.query_number(COUNT_CACHE_DELETES), 1, "noted with the change");
    fixture.world.advance_clock(61);
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number(COUNT_CACHE_DELETES), 0);
    assert_eq!(
        resolve_error_code(&fixture, &fixture.presented_key(), &id, edge_request()),
        ErrorCode::WorkflowNotAllowed
    );
}

#[test]
fn a_revocation_reports_a_cached_key_that_cannot_be_deleted_and_it_is_deleted_later() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let text = fixture.make_key_secret(|_| {});
    let further = connections::caller::PresentedKey::parse(text.expose()).unwrap();
    fixture.world.run(async {
        let context = fixture.world.context();
        for after in resolve::resolve(&context, &further, &id, edge_request().validated()).await.unwrap().deferred {
            resolve::deferred::run(&context, after).await;
        }
    });
    fixture.world.cache.refused_deletes.set(3);
    let key = fixture.key_text.expose().to_owned();
    let path = format!("/v1/keys/{}", further.id.as_str());
    let (code, body) = call(&fixture, &key, Method::Delete, &path, &Value::Null);
    assert_eq!((code, &body["cache_entries"]["status"]), (200, &json!("retrying")));
    assert!(fixture.resolve_as(&further, &id, edge_request()).is_ok());
    fixture.world.advance_clock(61);
    fixture.run_scheduled();
    assert_eq!(resolve_error_code(&fixture, &further, &id, edge_request()), ErrorCode::Unauthorized);
    assert_eq!(fixture.world.db.query_number(COUNT_CACHE_DELETES), 0);
}

#[test]
fn a_cache_entry_that_a_reconnect_could_not_delete_is_deleted_later() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, edge_request()).unwrap();
    fixture.world.cache.refused_deletes.set(3);
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!(fixture.world.db.query_number(COUNT_CACHE_DELETES), 1);
    fixture.world.advance_clock(61);
    fixture.run_scheduled();
    assert!(!fixture.world.cache.entry_names().contains(&format!("connection/{id}")));
}

#[test]
fn without_a_cache_no_deletion_is_recorded() {
    let fixture = Fixture::new();
    fixture.world.cache.unbound.set(true);
    let id = fixture.connect("ann");
    let key = fixture.key_text.expose().to_owned();
    let path = format!("/v1/connections/{id}");
    let (_, body) = call(&fixture, &key, Method::Patch, &path, &json!({ "name": "N" }));
    assert_eq!(body.get("cache_entries"), None);
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    let (_, body) = call(&fixture, &key, Method::Delete, &path, &Value::Null);
    assert_eq!(body.get("cache_entries"), None);
    assert_eq!(fixture.world.db.query_number(COUNT_CACHE_DELETES), 0);
}

#[test]
fn failing_cache_deletions_take_turns_within_a_run() {
    let fixture = Fixture::new();
    let ids: Vec<_> = (0..20).map(|at| fixture.connect(&format!("p{at}"))).collect();
    fixture.world.cache.refused_deletes.set(20 * 3 + 5);
    for id in &ids {
        fixture.disconnect(id).unwrap();
    }
    for _ in 0..8 {
        fixture.world.advance_clock(121);
        let now = fixture.world.now();
        let context = fixture.world.context();
        fixture.world.run(run_scheduled(&context, now)).unwrap();
        assert!(context.ports.budget.spent.get() <= 50);
    }
    assert_eq!(fixture.world.db.query_number(COUNT_CACHE_DELETES), 0);
}

// ---- definitions that an earlier version accepted ----

#[test]
fn a_stored_definition_with_a_password_grant_is_refused_with_a_remedy() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let key = fixture.key_text.expose().to_owned();
    let old = json!({ "id": "acme", "name": "Acme", "auth": {
        "type": "client_credentials", "token_url": "https://acme.example/token", "grant_type": "password" } });
    fixture.world.db.tamper(&format!("UPDATE apps SET definition = '{old}'"));
    let asked = fixture.world.acme.count_all_requests();
    let (code, body) = call(&fixture, &key, Method::Get, "/v1/apps/acme", &Value::Null);
    assert_eq!((code, body["code"].as_str()), (409, Some("conflict")));
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("auth.grant_type") && detail.contains("PUT /v1/apps/acme"), "{detail}");
    assert_eq!(call(&fixture, &key, Method::Get, "/v1/apps", &Value::Null).0, 200, "the list goes on without it");
    fixture.expire_access_token(&id);
    let error = fixture.resolve(&id, ResolveRequest::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert_eq!(fixture.world.acme.count_all_requests(), asked);
    let corrected = crate::support::fixture::acme_definition();
    assert_eq!(call(&fixture, &key, Method::Put, "/v1/apps/acme", &corrected).0, 200);
}
