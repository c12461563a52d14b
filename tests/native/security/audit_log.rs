//! A change of a connection and its audit line are written together or not at all (T45).

use connections::http::Method;
use connections::ids::ConnectionId;
use serde_json::{Value, json};

use super::{call, first_key};
use crate::support::{Fault, FaultRule, Fixture, Reply};

/// All stored data of connections, with credentials.
fn dump_connections(fixture: &Fixture) -> Vec<String> {
    let dump = fixture.world.db.dump_tables();
    dump.lines().filter(|line| line.starts_with("connections ")).map(str::to_owned).collect()
}

fn count_events(fixture: &Fixture) -> i64 {
    fixture.world.db.query_number("SELECT count(*) FROM events")
}

/// From now on every batch that writes an audit line fails.
fn fail_event_writes(fixture: &Fixture) {
    let fault = FaultRule { statement_part: "INSERT INTO events", times: 1000, fault: Fault::BeforeCommit };
    fixture.world.db.fault_rules.borrow_mut().push(fault);
}

type ConnectionChange = fn(&Fixture, &ConnectionId) -> u16;

/// By the API, with the first key.
fn call_for_status(fixture: &Fixture, method: Method, path: &str, body: &Value) -> u16 {
    call(&fixture.world, &first_key(fixture), method, path, body).0
}

const CONNECTION_CHANGES: [(&str, ConnectionChange); 3] = [
    ("a rename", |fixture, id| {
        call_for_status(fixture, Method::Patch, &format!("/v1/connections/{id}"), &json!({ "name": "new" }))
    }),
    ("a policy", |fixture, id| {
        call_for_status(
            fixture,
            Method::Patch,
            &format!("/v1/connections/{id}"),
            &json!({ "allowed_workflows": ["w"] }),
        )
    }),
    ("a key in the place of a key", |fixture, id| {
        let body = json!({ "credential": { "type": "api_key", "api_key": "second" } });
        call_for_status(fixture, Method::Put, &format!("/v1/connections/{id}/credential"), &body)
    }),
];

/// A connection with a key, so that every action is possible.
fn connect_with_api_key() -> (Fixture, ConnectionId) {
    let fixture = Fixture::with_definition(&json!({ "auth": [{ "type": "api_key", "id": "key" }] }));
    for key in ["first", "second", "third"] {
        fixture.world.acme.api_keys.borrow_mut().insert(key.into(), "ann".into());
    }
    let body = json!({ "app": "acme", "credential": { "type": "api_key", "api_key": "first" } });
    let made = call(&fixture.world, &first_key(&fixture), Method::Post, "/v1/connections", &body);
    assert_eq!(made.0, 201, "{}", made.1);
    let id = made.1["id"].as_str().unwrap().to_owned();
    (fixture, ConnectionId::try_from(id).unwrap())
}

#[test]
fn an_action_without_its_audit_line_is_not_done() {
    for (what, act) in CONNECTION_CHANGES {
        let (fixture, id) = connect_with_api_key();
        let (before, told) = (dump_connections(&fixture), count_events(&fixture));
        fail_event_writes(&fixture);
        assert!(act(&fixture, &id) >= 500, "{what} is said to have failed");
        assert_eq!(
            (dump_connections(&fixture), count_events(&fixture)),
            (before, told),
            "{what} was done without a trace"
        );

        fixture.world.db.fault_rules.borrow_mut().clear();
        assert!(act(&fixture, &id) < 300, "{what}");
        assert!(count_events(&fixture) > told, "{what} is told");
    }
}

/// A disconnect first ends the connection: it must not wait for the app or for the audit line. The row stays until the
/// line can be written together with its end.
#[test]
fn a_disconnect_erases_only_together_with_its_audit_line() {
    let (fixture, id) = connect_with_api_key();
    let told = count_events(&fixture);
    fail_event_writes(&fixture);
    assert!(call_for_status(&fixture, Method::Delete, &format!("/v1/connections/{id}"), &Value::Null) >= 500);
    assert!(fixture.find_connection(&id).is_none(), "it is gone for everybody");
    let left = || fixture.world.db.query_number("SELECT count(*) FROM connections");
    for run in 0..2 {
        fixture.world.advance_clock(900);
        fixture.run_scheduled();
        assert_eq!((left(), count_events(&fixture)), (1, told), "run {run}");
    }
    fixture.world.db.fault_rules.borrow_mut().clear();
    fixture.world.advance_clock(900);
    fixture.run_scheduled();
    assert_eq!((left(), count_events(&fixture)), (0, told + 1));
}

#[test]
fn every_change_of_a_connection_writes_an_audit_line() {
    let (fixture, id) = connect_with_api_key();
    fail_event_writes(&fixture);
    let body = json!({ "app": "acme", "credential": { "type": "api_key", "api_key": "third" }, "name": "another" });
    assert!(call_for_status(&fixture, Method::Post, "/v1/connections", &body) >= 500);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 1);
    let before = dump_connections(&fixture);
    fixture.world.acme.script_always("/me", Some(Reply::status(401, "{\"error\":\"invalid_token\"}")));
    call_for_status(&fixture, Method::Post, &format!("/v1/connections/{id}/check"), &Value::Null);
    assert_eq!(fixture.load_connection(&id).status.as_str(), "connected", "it is found dead by the next check");
    assert_eq!(dump_connections(&fixture), before);

    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let sealed = fixture.load_connection(&id).sealed_credential;
    fail_event_writes(&fixture);
    for request in [fixture.connect_request(), fixture.repair_request(&id)] {
        let url = fixture.start_flow(&request, "session-of-ann");
        let (code, state) = fixture.world.acme.consent(&url, "bob");
        let returned = connections::connect::callback::CallbackParams {
            state: Some(state),
            code: Some(code),
            ..Default::default()
        };
        let context = fixture.world.context();
        let client = fixture.client.clone();
        let sessions = ["session-of-ann".to_owned()];
        let ended = fixture
            .world
            .run(async { connections::connect::callback::handle(&context, &client, returned, &sessions).await });
        if let Ok(landing) = ended {
            assert!(!format!("{landing:?}").contains("Done"), "{landing:?}");
        }
        assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 1);
        assert_eq!(fixture.load_connection(&id).sealed_credential, sealed);
    }
}
