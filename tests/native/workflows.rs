//! Workflows: which there are, what they use, and whether they could run.

use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::{RefreshOutcome, RefreshReason};
use connections::resolve::ResolveRequest;
use serde_json::{Value, json};

use crate::http::{call, first_key, make_key};
use crate::support::{Fixture, Reply};

fn request_for_step(workflow: &str, step: &str) -> ResolveRequest {
    ResolveRequest { workflow: Some(workflow.into()), step: Some(step.into()), ..ResolveRequest::default() }
}

/// A step resolves a connection, and the use is recorded.
fn run_step(fixture: &Fixture, id: &ConnectionId, workflow: &str, step: &str) {
    fixture.resolve_and_finish(id, request_for_step(workflow, step)).unwrap();
}

fn get(fixture: &Fixture, key: &str, path: &str) -> (u16, Value) {
    call(fixture, key, Method::Get, path, &Value::Null)
}

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|one| one["workflow"].as_str().unwrap()).collect()
}

#[test]
fn workflows_are_listed_by_name_with_what_they_use() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    assert_eq!(get(&fixture, &key, "/v1/workflows").1, json!({ "data": [], "next_cursor": null }));
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    run_step(&fixture, &ann, "invoices", "send");
    run_step(&fixture, &ann, "invoices", "read");
    run_step(&fixture, &bob, "invoices", "send");
    run_step(&fixture, &bob, "a/b c%", "1");
    let (_, list) = get(&fixture, &key, "/v1/workflows");
    assert_eq!(names(&list), ["a/b c%", "invoices"]);
    let invoices = &list["data"][1];
    assert_eq!((&invoices["connections"], &invoices["steps"]), (&json!(2), &json!(2)), "{list}");
    assert_eq!((&invoices["needs_reconnect"], &invoices["complete"]), (&json!(0), &json!(true)));
    assert_eq!(names(&get(&fixture, &key, "/v1/workflows?q=inv").1), ["invoices"]);
    assert_eq!(names(&get(&fixture, &key, "/v1/workflows?q=none").1), Vec::<&str>::new());
    let (status, uses) = get(&fixture, &key, "/v1/workflows/a%2Fb%20c%25");
    assert_eq!((status, &uses["data"][0]["connection"]["id"]), (200, &json!(bob.as_str())), "{uses}");
    assert_eq!(uses["data"][0]["chosen_by"], "id");
    assert_eq!(get(&fixture, &key, "/v1/workflows/none").0, 404);
    assert_eq!(get(&fixture, &key, "/v1/workflows/%ff").0, 404);
    assert_eq!(get(&fixture, &key, "/v1/workflows/none/preflight").0, 404);
    assert_eq!(get(&fixture, &key, "/v1/workflows?cursor=none").0, 422);
}

#[test]
fn every_workflow_stands_on_one_page() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    for number in 0..7 {
        run_step(&fixture, &ann, &format!("w{number}"), "1");
        run_step(&fixture, &bob, &format!("w{number}"), "1");
    }
    let (mut found, mut path) = (Vec::new(), "/v1/workflows?limit=2".to_owned());
    loop {
        let (status, page) = get(&fixture, &key, &path);
        assert_eq!(status, 200, "{page}");
        found.extend(names(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        let cursor: String = url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
        path = format!("/v1/workflows?limit=2&cursor={cursor}");
    }
    assert_eq!(found, ["w0", "w1", "w2", "w3", "w4", "w5", "w6"]);
}

/// Each of its uses is of another connection: more than a page looks at.
fn workflow_with_many_connections(fixture: &Fixture, connections: i64) -> ConnectionId {
    let first = fixture.connect("ann");
    run_step(fixture, &first, "digest", "send");
    let columns = fixture.world.db.query_value("SELECT group_concat(name, ', ') FROM pragma_table_info('connections')");
    let columns = columns.as_str().unwrap().to_owned();
    let values = columns.replacen("id", "'con_00' || printf('%022d', n.number)", 1);
    fixture.world.db.tamper(&format!(
        "WITH RECURSIVE n(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < {connections})
        INSERT INTO connections ({columns}) SELECT {values} FROM n, connections c WHERE c.id = '{first}'"
    ));
    fixture.world.db.tamper(&format!(
        "INSERT INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days)
        SELECT c.id, u.workflow, u.step, u.workspace_id, u.first_used_at, u.last_used_at, 1 FROM connections c, uses u
        WHERE u.connection_id = '{first}' AND c.id <> '{first}'"
    ));
    first
}

#[test]
fn a_workflow_with_many_connections_costs_what_a_page_costs() {
    let costs = [1_500, 3_000].map(|connections| {
        let fixture = Fixture::new();
        let key = first_key(&fixture);
        let first = workflow_with_many_connections(&fixture, connections);
        run_step(&fixture, &first, "last", "1");
        fixture.world.db.reset_counts();
        let (_, list) = get(&fixture, &key, "/v1/workflows");
        assert_eq!(names(&list), ["digest"], "the rest follows");
        assert_eq!(list["data"][0]["complete"], false);
        let cursor: String =
            url::form_urlencoded::byte_serialize(list["next_cursor"].as_str().unwrap().as_bytes()).collect();
        let (_, next) = get(&fixture, &key, &format!("/v1/workflows?cursor={cursor}"));
        assert_eq!(names(&next), ["last"], "{next}");
        let (_, uses) = get(&fixture, &key, "/v1/workflows/digest");
        assert_eq!(uses["data"].as_array().unwrap().len(), 50);
        let (_, answer) = get(&fixture, &key, "/v1/workflows/digest/preflight");
        assert_eq!(answer["connections"].as_array().unwrap().len(), 200);
        assert_eq!((&answer["ready"], &answer["complete"]), (&json!(true), &json!(false)));
        fixture.world.db.vm_steps.get()
    });
    assert!(costs[1] <= costs[0] + costs[0] / 20, "{costs:?}");
}

#[test]
fn a_key_sees_the_workflows_of_its_own_connections() {
    let fixture = Fixture::new();
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    run_step(&fixture, &ann, "both", "1");
    run_step(&fixture, &bob, "both", "1");
    run_step(&fixture, &bob, "other", "1");
    let limited = make_key(&fixture, |key| key.connections = Some(vec![ann.clone()]));
    let (_, list) = get(&fixture, &limited, "/v1/workflows");
    assert_eq!(names(&list), ["both"]);
    assert_eq!(list["data"][0]["connections"], 1);
    assert_eq!(get(&fixture, &limited, "/v1/workflows/other").0, 404);
    assert_eq!(get(&fixture, &limited, "/v1/workflows/other/preflight").0, 404);
    let (_, uses) = get(&fixture, &limited, "/v1/workflows/both");
    assert_eq!(uses["data"].as_array().unwrap().len(), 1);
    let (_, answer) = get(&fixture, &limited, "/v1/workflows/both/preflight");
    assert_eq!(answer["connections"].as_array().unwrap().len(), 1);
    let stranger = fixture.other_workspace();
    assert_eq!(names(&get(&fixture, &first_key(&stranger), "/v1/workflows").1), Vec::<&str>::new());
}

#[test]
fn a_step_that_took_another_connection_no_longer_counts_the_first() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    run_step(&fixture, &ann, "invoices", "send");
    fixture.world.advance_clock(2 * 86_400);
    run_step(&fixture, &bob, "invoices", "send");
    let (_, answer) = get(&fixture, &key, "/v1/workflows/invoices/preflight");
    let ids: Vec<_> = answer["connections"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, [bob.as_str()]);
}

/// In each of these states the preflight says what the resolve then answers.
#[test]
fn a_preflight_says_what_a_resolve_answers() {
    type Change = fn(&Fixture, &ConnectionId);
    let revoke: Change = |fixture, id| {
        fixture.world.acme.withdraw_grants("ann");
        fixture.refresh(id, RefreshReason::Force);
    };
    let changes: [(&str, Change, bool, Option<&str>); 5] = [
        ("nothing", |_, _| {}, true, None),
        ("an expired token that can be refreshed", |fixture, id| fixture.expire_access_token(id), true, None),
        ("a revoked grant", revoke, false, Some("needs_reconnect")),
        (
            "an app that is down",
            |fixture, id| {
                fixture.expire_access_token(id);
                fixture.world.acme.script_always("/token", Some(Reply::status(503, "")));
                assert!(matches!(fixture.refresh(id, RefreshReason::Force), RefreshOutcome::Unavailable { .. }));
            },
            false,
            Some("app_unavailable"),
        ),
        (
            "another workflow's connection",
            |fixture, id| {
                let key = first_key(fixture);
                let body = json!({ "allowed_workflows": ["other"] });
                assert_eq!(call(fixture, &key, Method::Patch, &format!("/v1/connections/{id}"), &body).0, 200);
            },
            false,
            Some("workflow_not_allowed"),
        ),
    ];
    for (what, change, ready, code) in changes {
        let fixture = Fixture::new();
        let key = first_key(&fixture);
        let id = fixture.connect("ann");
        run_step(&fixture, &id, "invoices", "send");
        change(&fixture, &id);
        let asked = fixture.world.acme.count_all_requests();
        fixture.world.db.reset_counts();
        let (_, answer) = get(&fixture, &key, "/v1/workflows/invoices/preflight");
        assert_eq!(fixture.world.acme.count_all_requests(), asked, "{what}: no app is asked");
        assert!(fixture.world.db.round_trips.get() <= 5, "{what}: {}", fixture.world.db.round_trips.get());
        assert_eq!(answer["ready"], ready, "{what}: {answer}");
        assert_eq!(answer["connections"][0]["code"].as_str(), code, "{what}: {answer}");
        let resolved = fixture.resolve(&id, request_for_step("invoices", "send"));
        assert_eq!(resolved.as_ref().err().map(|error| error.code.as_str()), code, "{what}");
    }
}

#[test]
fn a_preflight_for_an_environment_refuses_connections_of_another() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let id = fixture.connect("ann");
    run_step(&fixture, &id, "invoices", "send");
    let path = "/v1/workflows/invoices/preflight?environment=production";
    assert_eq!(get(&fixture, &key, path).1["connections"][0]["code"], "unexpected_connection");
    let body = json!({ "environment": "production" });
    assert_eq!(call(&fixture, &key, Method::Patch, &format!("/v1/connections/{id}"), &body).0, 200);
    assert_eq!(get(&fixture, &key, path).1["ready"], true);
    assert_eq!(get(&fixture, &key, "/v1/workflows/invoices/preflight?environment=other").0, 422);
    assert_eq!(get(&fixture, &key, "/v1/workflows/invoices/preflight?min_ttl=-1").0, 422);
}
