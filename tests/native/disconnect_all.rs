//! The panic button: every connection of an app is denied at once, and ended behind that, whatever fails in between.

use connections::app::AppId;
use connections::connect::callback::{CallbackParams, CallbackResult};
use connections::connect::complete::{Choice, apply_choice};
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::resolve::{Consistency, ResolveRequest};
use connections::store::authorizations::FlowOutcome;
use serde_json::{Value, json};

use crate::http::{call, first_key, make_key};
use crate::support::Fixture;
use crate::support::cache::Call;
use crate::support::database::{Fault, FaultRule};
use crate::support::fixture::BROWSER_SESSION;

const BUTTON: &str = "/v1/apps/acme/disconnect-all";

fn press(fixture: &Fixture) -> Value {
    let body = json!({ "confirm": "acme", "reason": "Stolen tokens" });
    let (status, job) = call(fixture, &first_key(fixture), Method::Post, BUTTON, &body);
    assert_eq!(status, 201, "{job}");
    job
}

fn get_job(fixture: &Fixture, job: &Value) -> Value {
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let (status, job) = call(fixture, &first_key(fixture), Method::Get, &path, &Value::Null);
    assert_eq!(status, 200, "{job}");
    job
}

fn get(fixture: &Fixture, path: &str) -> (u16, Value) {
    call(fixture, &first_key(fixture), Method::Get, path, &Value::Null)
}

fn resolve_over_api(fixture: &Fixture, path: &str, body: &Value) -> (u16, Value) {
    call(fixture, &first_key(fixture), Method::Post, path, body)
}

/// Nothing of a connection is served, whichever way it is asked for.
fn assert_denied(fixture: &Fixture, id: &ConnectionId) {
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        let request = ResolveRequest { consistency, ..ResolveRequest::default() };
        assert!(fixture.resolve(id, request).is_err(), "{consistency:?}");
    }
    assert_eq!(get(fixture, &format!("/v1/connections/{id}")).0, 404);
    for path in ["resolve", "check"] {
        assert_eq!(resolve_over_api(fixture, &format!("/v1/connections/{id}/{path}"), &json!({})).0, 404, "{path}");
    }
    let report = json!({ "status": 401, "credential_version": "1" });
    assert_eq!(resolve_over_api(fixture, &format!("/v1/connections/{id}/report"), &report).0, 404);
    let batch = json!({ "items": [{ "connection": id }, { "app": "acme", "user": "ann" }] });
    let (_, answer) = resolve_over_api(fixture, "/v1/resolve/batch", &batch);
    for result in answer["results"].as_array().unwrap() {
        assert_eq!(result["problem"]["status"], 404, "{answer}");
    }
    let (_, list) = get(fixture, "/v1/connections?app=acme");
    assert!(!list.to_string().contains(id.as_str()), "{list}");
}

fn run_until_finished(fixture: &Fixture, job: &Value) -> Value {
    for _ in 0..20 {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
        let now = get_job(fixture, job);
        if now["status"] == "finished" {
            return now;
        }
    }
    panic!("{}", get_job(fixture, job));
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    let fixture = Fixture::new();
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    for (id, workflow) in [(&ann, "w-1"), (&ann, "w-2"), (&bob, "w-1")] {
        let request = ResolveRequest { workflow: Some(workflow.into()), ..ResolveRequest::default() };
        fixture.resolve_and_finish(id, request).unwrap();
    }
    let (status, dry) = resolve_over_api(&fixture, BUTTON, &json!({ "dry_run": true }));
    assert_eq!((status, &dry["status"], &dry["id"]), (200, &json!("dry_run"), &Value::Null));
    assert_eq!(dry["affected"], json!({ "connections": 2, "workflows": 2, "complete": true }));
    assert!(fixture.resolve(&ann, ResolveRequest::default()).is_ok());
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM disconnect_jobs"), 0);
}

#[test]
fn the_button_needs_the_app_a_reason_and_an_unlimited_key_with_all_scopes() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    for (body, field) in [
        (json!({ "reason": "x" }), "confirm"),
        (json!({ "confirm": "slack", "reason": "x" }), "confirm"),
        (json!({ "confirm": "acme" }), "reason"),
        (json!({ "confirm": "acme", "reason": " " }), "reason"),
        (json!({ "confirm": "acme", "reason": "x", "client": "cli_0123456789abcdefABCD-_" }), "client"),
    ] {
        let (status, problem) = resolve_over_api(&fixture, BUTTON, &body);
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(field)), "{problem}");
    }
    assert_eq!(resolve_over_api(&fixture, "/v1/apps/nothing/disconnect-all", &json!({ "dry_run": true })).0, 404);
    let limited = make_key(&fixture, |key| key.apps = Some(vec![AppId::parse("acme").unwrap()]));
    let body = json!({ "confirm": "acme", "reason": "x" });
    assert_eq!(call(&fixture, &limited, Method::Post, BUTTON, &body).0, 403);
    assert!(fixture.resolve(&ann, ResolveRequest::default()).is_ok());
}

#[test]
fn every_connection_is_denied_from_the_answer_on_and_revoked_behind_it() {
    let fixture = Fixture::new();
    let ids: Vec<_> = ["ann", "bob", "eve"].iter().map(|name| fixture.connect(name)).collect();
    for id in &ids {
        // The cache has it, too.
        let request = ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() };
        fixture.resolve_and_finish(id, request).unwrap();
    }
    let job = press(&fixture);
    assert_eq!(
        (&job["status"], &job["affected"]["connections"], &job["cache_told"]),
        (&json!("running"), &json!(3), &json!(true))
    );
    for id in &ids {
        assert_denied(&fixture, id);
    }
    let refreshes = fixture.world.acme.count_requests("/token");
    fixture.world.advance_clock(1);
    let later = fixture.connect("zoe");
    let done = run_until_finished(&fixture, &job);
    assert_eq!((&done["ended"], &done["erased"]), (&json!(3), &json!(3)));
    let receipt = json!({ "confirmed": 3, "unsupported": 0, "kept_shared": 0, "failed": 0, "without_credential": 0 });
    assert_eq!(done["revoked"], receipt);
    assert_eq!(fixture.world.acme.count_requests("/token"), refreshes + 1, "of the later connection alone");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 1);
    assert!(fixture.resolve(&later, ResolveRequest::default()).is_ok());
    let events = get(&fixture, "/v1/events?type=app_disconnected").1;
    assert_eq!((&events["data"][0]["target"], &events["data"][0]["detail"]), (&job["id"], &json!("Stolen tokens")));
    let each = get(&fixture, "/v1/events?type=disconnected").1;
    assert_eq!(each["data"].as_array().unwrap().len(), 3, "{each}");
}

#[test]
fn connections_of_another_client_app_or_workspace_stay() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    let stranger = fixture.other_workspace();
    let strangers = stranger.connect("ann");
    let telegram = json!({ "app": "telegram", "credential": { "type": "bot_token", "token": format!("123456789:{}", "a".repeat(35)) }, "check": false });
    let (_, telegram) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/connections", &telegram);
    let other_client = "UPDATE connections SET oauth_client = 'cli_0123456789abcdefABCD-_'";
    let body = json!({ "confirm": "acme", "reason": "x", "client": fixture.client });
    let bob = fixture.connect("bob");
    fixture.world.db.tamper("PRAGMA foreign_keys = OFF");
    fixture.world.db.tamper(&format!("{other_client} WHERE id = '{bob}'"));
    fixture.world.db.tamper("PRAGMA foreign_keys = ON");
    let (status, job) = resolve_over_api(&fixture, BUTTON, &body);
    assert_eq!((status, &job["affected"]["connections"]), (201, &json!(1)), "{job}");
    assert_denied_by_id(&fixture, &ann);
    assert!(fixture.resolve(&bob, ResolveRequest::default()).is_ok());
    assert!(stranger.resolve(&strangers, ResolveRequest::default()).is_ok());
    assert_eq!(get(&fixture, &format!("/v1/connections/{}", telegram["id"].as_str().unwrap())).0, 200);
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    assert_eq!(call(&stranger, &first_key(&stranger), Method::Get, &path, &Value::Null).0, 404);
}

fn assert_denied_by_id(fixture: &Fixture, id: &ConnectionId) {
    assert!(fixture.resolve(id, ResolveRequest::default()).is_err());
}

#[test]
fn the_button_goes_on_with_a_job_that_is_not_finished() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    let first = press(&fixture);
    fixture.world.advance_clock(10);
    let bob = fixture.connect("bob");
    assert!(fixture.resolve(&bob, ResolveRequest::default()).is_ok());
    let second = press(&fixture);
    assert_eq!(second["id"], first["id"]);
    assert_denied_by_id(&fixture, &ann);
    assert_denied_by_id(&fixture, &bob);
    let done = run_until_finished(&fixture, &second);
    assert_eq!(done["revoked"]["confirmed"], 2, "{done}");
    fixture.world.advance_clock(10);
    fixture.connect("eve");
    assert_ne!(press(&fixture)["id"], first["id"], "a finished one does not begin again");
}

#[test]
fn a_person_who_comes_back_for_a_denied_connection_changes_nothing() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    let url = fixture.start_flow(&fixture.repair_request(&ann), BROWSER_SESSION);
    press(&fixture);
    let before = fixture.world.db.query_number("SELECT generation FROM connections");
    let (code, state) = fixture.world.acme.consent(&url, "ann");
    let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
    let CallbackResult::Flow(flow) = fixture.return_from_app(returned, BROWSER_SESSION) else { panic!() };
    assert_eq!(fixture.load_flow(&flow).error.as_deref(), Some("connection_gone"));
    assert_eq!(fixture.world.db.query_number("SELECT generation FROM connections"), before);
    assert_denied_by_id(&fixture, &ann);
}

/// What a person has allowed and not decided on is no connection yet. It was allowed before the button, too.
#[test]
fn a_grant_that_waits_for_a_choice_ends_with_the_button() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    let waiting = fixture.complete_flow(&fixture.connect_request(), "ann");
    assert_eq!(waiting.outcome, FlowOutcome::Undecided);
    let job = press(&fixture);
    let flow = fixture.load_flow(&waiting.id);
    let chosen = fixture.world.run(async { apply_choice(&fixture.world.context(), &flow, Choice::KeepBoth).await });
    assert!(chosen.is_err());
    run_until_finished(&fixture, &job);
    assert!(!fixture.world.acme.has_live_grant("ann"));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 0);
    assert_eq!(fixture.load_flow(&waiting.id).outcome, FlowOutcome::Discarded);
}

/// Whatever write fails, and however: after an answer nothing is served, and the job comes to its end.
#[test]
fn a_fault_in_between_serves_nothing_and_loses_nothing() {
    const STATEMENTS: [&str; 6] = [
        "INSERT INTO disconnect_jobs",
        "UPDATE disconnect_jobs SET tombstoned_at",
        "SELECT DISTINCT app FROM disconnect_jobs",
        "disconnect_job = ?5",
        "UPDATE disconnect_jobs SET\n      confirmed",
        "UPDATE disconnect_jobs SET finished_at",
    ];
    for statement_part in STATEMENTS {
        for fault in [Fault::BeforeCommit, Fault::AfterCommit] {
            let fixture = Fixture::new();
            let ann = fixture.connect("ann");
            fixture.world.db.fault_rules.borrow_mut().push(FaultRule { statement_part, times: 1, fault });
            let body = json!({ "confirm": "acme", "reason": "x" });
            let (status, mut job) = resolve_over_api(&fixture, BUTTON, &body);
            if status != 201 {
                assert_eq!(status, 503, "{job}");
                job = press(&fixture);
            }
            assert_denied_by_id(&fixture, &ann);
            let done = run_until_finished(&fixture, &job);
            assert_eq!((&done["ended"], &done["erased"]), (&json!(1), &json!(1)), "{statement_part} {fault:?}: {done}");
            assert_eq!(done["revoked"]["confirmed"], 1, "{statement_part} {fault:?}: {done}");
        }
    }
}

#[test]
fn a_cache_that_fails_is_told_by_the_scheduled_run() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    fixture.world.cache.down.set(true);
    let job = press(&fixture);
    assert_eq!(job["cache_told"], false);
    fixture.world.advance_clock(300);
    fixture.run_scheduled();
    assert_eq!(get_job(&fixture, &job)["cache_told"], false);
    fixture.world.cache.down.set(false);
    let done = run_until_finished(&fixture, &job);
    assert_eq!(done["cache_told"], true);
    assert_denied_by_id(&fixture, &ann);
}

#[test]
fn a_hot_resolve_still_takes_one_round_trip_while_jobs_are_there() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    let other = "INSERT INTO denied_apps (workspace_id, app, made_until) VALUES";
    fixture.world.db.tamper(&format!("{other} ('{}', 'other', 9999999999)", fixture.workspace));
    fixture.world.db.reset_counts();
    fixture.resolve(&ann, ResolveRequest::default()).unwrap();
    assert_eq!(fixture.world.db.round_trips.get(), 1);
    assert_eq!(fixture.world.db.rows_scanned.get(), 0);
}

/// Two buttons at the same moment: what one of them tells the cache takes the place of what the other has told.
#[test]
fn the_cache_is_told_of_buttons_that_are_pressed_at_the_same_moment() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    let db = std::rc::Rc::clone(&fixture.world.db);
    let other = format!(
        "INSERT INTO disconnect_jobs (id, workspace_id, app, reason, made_until, connections, workflows, is_count_complete, created_at, tombstoned_at)
        SELECT 'job_other', '{}', 'telegram', 'x', max(created_at), 0, 0, 1, max(created_at), max(created_at) FROM disconnect_jobs",
        fixture.workspace
    );
    let mut is_first = true;
    *fixture.world.cache.weather.borrow_mut() = Some(Box::new(move |call| {
        if call == Call::Put && std::mem::take(&mut is_first) {
            db.tamper(&other);
        }
        false
    }));
    let told = |fixture: &Fixture| fixture.world.cache.dump_entries();
    let job = press(&fixture);
    assert_eq!(job["cache_told"], true);
    assert!(told(&fixture).contains("apps:acme,telegram"), "{}", told(&fixture));
    // The cache takes one write a second: the scheduled run writes again.
    let fixture = Fixture::new();
    let other = "INSERT INTO disconnect_jobs (id, workspace_id, app, reason, made_until, connections, workflows, is_count_complete, created_at, tombstoned_at)
        SELECT 'job_other', workspace_id, 'telegram', 'x', created_at, 0, 0, 1, created_at, created_at FROM disconnect_jobs";
    let (db, mut puts) = (std::rc::Rc::clone(&fixture.world.db), 0);
    *fixture.world.cache.weather.borrow_mut() = Some(Box::new(move |call| {
        puts += i32::from(call == Call::Put);
        if call == Call::Put && puts == 1 {
            db.tamper(other);
        }
        call == Call::Put && puts == 2
    }));
    let job = press(&fixture);
    assert_eq!(job["cache_told"], false);
    assert!(!told(&fixture).contains("telegram"));
    fixture.world.advance_clock(300);
    fixture.run_scheduled();
    assert!(told(&fixture).contains("apps:acme,telegram"), "{}", told(&fixture));
    assert_eq!(get_job(&fixture, &job)["cache_told"], true);
    let _ = ann;
}

#[test]
fn more_apps_than_the_cache_is_told_one_by_one_are_all_denied() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    let edge = || ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() };
    fixture.resolve_and_finish(&ann, edge()).unwrap();
    press(&fixture);
    for number in 0..200 {
        fixture.world.db.tamper(&format!(
            "INSERT INTO disconnect_jobs (id, workspace_id, app, reason, made_until, connections, workflows, is_count_complete, created_at, finished_at)
            SELECT 'job_{number}', workspace_id, 'aa{number}', 'x', created_at, 0, 0, 1, created_at, created_at FROM disconnect_jobs LIMIT 1"
        ));
    }
    press(&fixture);
    assert!(fixture.world.cache.dump_entries().contains("(\"all\""), "{}", fixture.world.cache.dump_entries());
    assert!(fixture.resolve(&ann, edge()).is_err());
}

#[test]
fn a_workflow_does_not_run_with_what_is_denied() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    let request = ResolveRequest { workflow: Some("w".into()), ..ResolveRequest::default() };
    fixture.resolve_and_finish(&ann, request).unwrap();
    assert_eq!(get(&fixture, "/v1/workflows/w/preflight").1["ready"], true);
    press(&fixture);
    // As after each of them was disconnected.
    for path in ["/v1/workflows/w/preflight", "/v1/workflows/w"] {
        assert_eq!(get(&fixture, path).0, 404, "{path}");
    }
    assert_eq!(get(&fixture, "/v1/workflows").1["data"], json!([]));
}

#[test]
fn a_connection_that_answers_for_a_denied_one_can_be_disconnected() {
    let fixture = Fixture::new();
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    fixture.world.db.tamper("UPDATE connections SET is_shared = 1");
    let (path, body) = (format!("/v1/connections/{ann}/replace"), json!({ "with": bob }));
    assert_eq!(resolve_over_api(&fixture, &path, &body).0, 200);
    fixture.world.db.tamper("PRAGMA foreign_keys = OFF");
    fixture
        .world
        .db
        .tamper(&format!("UPDATE connections SET oauth_client = 'cli_0123456789abcdefABCD-_' WHERE id = '{ann}'"));
    fixture.world.db.tamper("PRAGMA foreign_keys = ON");
    let delete = || {
        let path = format!("/v1/connections/{bob}");
        call(&fixture, &first_key(&fixture), Method::Delete, &path, &Value::Null).0
    };
    assert_eq!(delete(), 409);
    fixture.world.db.tamper(&format!(
        "INSERT INTO denied_apps (workspace_id, app, oauth_client, made_until) VALUES ('{}', 'acme', 'cli_0123456789abcdefABCD-_', 9999999999)",
        fixture.workspace
    ));
    assert_eq!(delete(), 200);
}

/// More of them than a run takes, of which the oldest do not come to an end.
#[test]
fn every_job_gets_its_turn() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    for number in 0..7 {
        fixture.world.db.tamper(&format!(
            "INSERT INTO disconnect_jobs (id, workspace_id, app, reason, made_until, connections, workflows, is_count_complete, ended, created_at)
            VALUES ('job_00AAAAAAAAAAAAAAAAAAAAA{number}', '{}', 'other-{number}', 'x', 1, 1, 0, 1, 1, 1)",
            fixture.workspace
        ));
    }
    let job = press(&fixture);
    for _ in 0..2 {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
    assert_eq!(get_job(&fixture, &job)["ended"], json!(1), "{}", get_job(&fixture, &job));
    assert!(fixture.find_connection(&ann).is_none());
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM disconnect_jobs WHERE taken_at = 0"), 0);
}

#[test]
fn a_large_job_leaves_a_run_room_for_others() {
    let fixture = Fixture::new();
    for number in 0..4 {
        fixture.connect(&format!("a{number}"));
    }
    let body = json!({ "app": "telegram", "credential": { "type": "bot_token", "token": format!("123456789:{}", "a".repeat(35)) }, "check": false });
    assert_eq!(resolve_over_api(&fixture, "/v1/connections", &body).0, 201);
    press(&fixture);
    let other = json!({ "confirm": "telegram", "reason": "x" });
    assert_eq!(resolve_over_api(&fixture, "/v1/apps/telegram/disconnect-all", &other).0, 201);
    // Room for two connections in a run.
    fixture.world.erase_batch.set(Some(10));
    fixture.world.advance_clock(300);
    fixture.run_scheduled();
    let ended = |app: &str| {
        fixture.world.db.query_number(&format!("SELECT sum(ended) FROM disconnect_jobs WHERE app = '{app}'"))
    };
    assert_eq!((ended("acme"), ended("telegram")), (1, 1));
}

#[test]
fn what_is_connected_after_the_button_is_the_only_one_of_its_app_at_once() {
    let fixture = Fixture::new();
    for number in 0..3 {
        fixture.connect(&format!("a{number}"));
    }
    press(&fixture);
    fixture.world.advance_clock(1);
    let new = fixture.connect("new");
    let by_app = json!({ "app": "acme", "user": "ann" });
    let (status, answer) = resolve_over_api(&fixture, "/v1/resolve", &by_app);
    assert_eq!(
        (status, &answer["connection"]["id"], &answer["chosen_by"]),
        (200, &json!(new), &json!("only")),
        "{answer}"
    );
    let second = fixture.connect("second");
    let (status, answer) = resolve_over_api(&fixture, "/v1/resolve", &by_app);
    let named: Vec<_> = answer["candidates"].as_array().unwrap().iter().map(|one| one["connection"].clone()).collect();
    assert_eq!((status, named), (409, vec![json!(new), json!(second)]), "{answer}");
}
