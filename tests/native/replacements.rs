//! One connection answers for another: who may say so, what a resolve gives then, and that it can be undone at any time.

use connections::caller::{ApiKey, KeyScope};
use connections::connection::ConnectionSettings;
use connections::environment::Environment;
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::RefreshReason;
use connections::resolve::{Consistency, ResolveRequest};
use connections::workspace::User;
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, make_key, request};
use crate::support::Fixture;
use crate::support::fixture::access_token_of;

fn ask(fixture: &Fixture, method: Method, path: &str, body: &Value) -> (u16, Value) {
    call(fixture, &first_key(fixture), method, path, body)
}

fn get(fixture: &Fixture, path: &str) -> Value {
    let (status, answer) = ask(fixture, Method::Get, path, &Value::Null);
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// A connection of a user, or of nobody.
fn connect(fixture: &Fixture, account: &str, user: Option<&str>, environment: Option<Environment>) -> ConnectionId {
    let user = user.map(|id| User { id: id.into(), name: None });
    let settings = ConnectionSettings { environment, shared: None };
    let request = connections::connect::start::ConnectRequest { user, settings, ..fixture.connect_request() };
    fixture.complete_flow(&request, account).connection.unwrap()
}

fn shared(fixture: &Fixture, account: &str) -> ConnectionId {
    connect(fixture, account, None, None)
}

fn path(id: &ConnectionId, rest: &str) -> String {
    format!("/v1/connections/{id}{rest}")
}

fn replace_with(fixture: &Fixture, key: &str, id: &ConnectionId, body: &Value) -> (u16, Value) {
    call(fixture, key, Method::Post, &path(id, "/replace"), body)
}

fn replace(fixture: &Fixture, id: &ConnectionId, with: &ConnectionId) -> Value {
    let (status, answer) = replace_with(fixture, &first_key(fixture), id, &json!({ "with": with }));
    assert_eq!(status, 200, "{answer}");
    answer
}

fn undo(fixture: &Fixture, id: &ConnectionId) -> Value {
    let (status, answer) = ask(fixture, Method::Delete, &path(id, "/replace"), &Value::Null);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The account whose token a resolve gives, or the code of the refusal.
fn resolved_as(fixture: &Fixture, key: &str, id: &ConnectionId, body: &Value) -> String {
    told(&call(fixture, key, Method::Post, &path(id, "/resolve"), body))
}

fn told((status, answer): &(u16, Value)) -> String {
    let of = if *status == 200 { &answer["connection"]["id"] } else { &answer["code"] };
    of.as_str().unwrap().to_owned()
}

fn resolved(fixture: &Fixture, id: &ConnectionId) -> String {
    resolved_as(fixture, &first_key(fixture), id, &json!({}))
}

fn step(workflow: &str, step: &str) -> ResolveRequest {
    ResolveRequest { workflow: Some(workflow.into()), step: Some(step.into()), ..ResolveRequest::default() }
}

fn run_step(fixture: &Fixture, id: &ConnectionId) {
    fixture.resolve_and_finish(id, step("invoices", "send")).unwrap();
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

#[test]
fn whoever_resolves_a_replaced_connection_gets_the_one_that_answers_until_it_is_undone() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    run_step(&fixture, &old);
    let answer = replace(&fixture, &old, &new);
    let moved = json!([{ "workflow": "invoices", "step": "send" }]);
    assert_eq!(
        answer,
        json!({ "connection": old, "replaced_by": new, "before": null, "moved_steps": moved.clone() }),
        "{answer}"
    );
    let (_, answer) = ask(&fixture, Method::Post, &path(&old, "/resolve"), &json!({}));
    assert_eq!((&answer["connection"]["id"], &answer["requested_id"]), (&json!(new), &json!(old)), "{answer}");
    assert_eq!(answer["connection"]["account"]["label"], "new@acme.example");
    let token = answer["credential"]["access_token"].as_str().unwrap();
    let own = fixture.resolve(&new, ResolveRequest::default()).unwrap().resolved;
    assert_eq!((token, own.requested_id.as_ref()), (access_token_of(&own), None));
    // Shown on both.
    let (of_old, of_new) = (get(&fixture, &path(&old, "")), get(&fixture, &path(&new, "")));
    assert_eq!((&of_old["replaced_by"], &of_old["replaces"]), (&json!(new), &json!([])));
    assert_eq!((&of_new["replaced_by"], &of_new["replaces"]), (&Value::Null, &json!([old])));
    for (id, detail) in [(&old, format!("by {new}")), (&new, format!("it answers for {old}"))] {
        let event = get(&fixture, &path(id, "/events"))["data"][0].clone();
        assert_eq!((&event["type"], &event["detail"]), (&json!("replaced"), &json!(detail)));
    }
    // The same again changes nothing.
    let again = replace(&fixture, &old, &new);
    assert_eq!((&again["before"], &again["moved_steps"]), (&json!(new), &json!([])));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'replaced'"), 2);
    // Another one takes its place.
    let third = shared(&fixture, "third");
    assert_eq!(replace(&fixture, &old, &third)["before"], json!(new));
    assert_eq!(resolved(&fixture, &old), third.to_string());
    let undone = undo(&fixture, &old);
    assert_eq!((&undone["replaced_by"], &undone["before"]), (&Value::Null, &json!(third)));
    assert_eq!(undone["moved_steps"], moved);
    assert_eq!(resolved(&fixture, &old), old.to_string());
    assert_eq!(undo(&fixture, &old)["before"], Value::Null, "there is nothing to undo");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'replacement_ended'"), 2);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM replacements"), 0);
}

#[test]
fn there_are_no_chains_and_no_loops() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let [a, b, c] = ["a", "b", "c"].map(|account| shared(&fixture, account));
    let try_it = |id: &ConnectionId, with: &ConnectionId| replace_with(&fixture, &key, id, &json!({ "with": with }));
    assert_eq!(code(&try_it(&a, &a)), (422, "invalid_request"));
    replace(&fixture, &a, &b);
    assert_eq!(code(&try_it(&c, &a)), (409, "conflict"), "a is replaced itself");
    assert_eq!(code(&try_it(&b, &c)), (409, "replacement_in_use"), "b answers for a");
    assert_eq!(code(&try_it(&b, &a)), (409, "conflict"), "a loop");
    replace(&fixture, &c, &b);
    assert_eq!(get(&fixture, &path(&b, ""))["replaces"].as_array().unwrap().len(), 2);
    // The statement refuses it, too: both were read before the other one was written.
    let statement = connections::store::replacements::put(
        &fixture.workspace,
        &b,
        &connections::store::replacements::Replacement { replaced_by: a.clone(), across_environments: false },
        fixture.world.now(),
    );
    let applied = fixture.world.run(async {
        connections::store::all_or_nothing(fixture.world.context().db(), vec![statement], vec![]).await.unwrap()
    });
    assert!(!applied);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM replacements"), 2);
}

#[test]
fn a_connection_that_answers_for_another_is_not_disconnected_until_that_is_undone() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    ask(&fixture, Method::Put, "/v1/apps/acme/default", &json!({ "connection": new }));
    replace(&fixture, &old, &new);
    let refused = ask(&fixture, Method::Delete, &path(&new, ""), &Value::Null);
    assert_eq!(code(&refused), (409, "replacement_in_use"), "{}", refused.1);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'disconnected'"), 0);
    assert_eq!(get(&fixture, "/v1/defaults")["data"].as_array().unwrap().len(), 1, "its default stays");
    assert_eq!(resolved(&fixture, &old), new.to_string());
    undo(&fixture, &old);
    assert_eq!(ask(&fixture, Method::Delete, &path(&new, ""), &Value::Null).0, 200);
    // The replaced one may go: what it was replaced by goes with it.
    let third = shared(&fixture, "third");
    replace(&fixture, &old, &third);
    assert_eq!(ask(&fixture, Method::Delete, &path(&old, ""), &Value::Null).0, 200);
    assert_eq!(resolved(&fixture, &old), "connection_not_found");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM replacements"), 0);
    assert_eq!(get(&fixture, &path(&third, ""))["replaces"], json!([]));
    let last = get(&fixture, &path(&third, "/events"))["data"][0].clone();
    assert_eq!(last["type"], "replacement_ended", "{last}");
    assert_eq!(last["detail"], format!("{old} was disconnected"));
    assert_eq!(ask(&fixture, Method::Delete, &path(&third, ""), &Value::Null).0, 200);
}

#[test]
fn a_row_of_a_connection_that_has_ended_keeps_nothing() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    replace(&fixture, &old, &new);
    // As an earlier version of the program disconnects, which does not know of replacements.
    fixture.world.db.tamper(&format!("UPDATE connections SET deleted_at = 1 WHERE id = '{old}'"));
    assert_eq!(resolved(&fixture, &old), "connection_not_found");
    let batch = json!({ "items": [{ "connection": old }] });
    let (_, answer) = ask(&fixture, Method::Post, "/v1/resolve/batch", &batch);
    assert_eq!(answer["results"][0]["problem"]["code"], "connection_not_found");
    assert_eq!(ask(&fixture, Method::Delete, &path(&new, ""), &Value::Null).0, 200);
}

/// What a replacement must not be a way around: what is asked, and what is seen then. Whatever is refused leaves no row, and
/// no token of the other account is given.
#[test]
fn a_replacement_is_no_way_around_a_list_a_policy_an_expectation_or_a_workspace() {
    let fixture = Fixture::new();
    let (mine, other) = (shared(&fixture, "mine"), shared(&fixture, "other"));
    let anns = connect(&fixture, "ann", Some("ann"), None);
    let bobs = connect(&fixture, "bob", Some("bob"), None);
    let stranger = fixture.other_workspace();
    let strange = shared(&stranger, "zoe");
    let slack = {
        let body = json!({ "app": "telegram", "credential": { "type": "bot_token", "token": format!("123456789:{}", "a".repeat(35)) }, "check": false });
        ask(&fixture, Method::Post, "/v1/connections", &body).1["id"].as_str().unwrap().to_owned()
    };
    let key = |change: &dyn Fn(&mut ApiKey)| make_key(&fixture, change);
    let only_mine = key(&|key| key.connections = Some(vec![mine.clone()]));
    let only_other = key(&|key| key.connections = Some(vec![other.clone()]));
    let reader = key(&|key| key.scopes = vec![KeyScope::ConnectionsRead, KeyScope::Resolve]);
    let all = first_key(&fixture);
    let attempts = [
        // Authority over both.
        (&only_mine, &mine, json!({ "with": other }), 404, "connection_not_found"),
        (&only_other, &mine, json!({ "with": other }), 404, "connection_not_found"),
        (&reader, &mine, json!({ "with": other }), 403, "insufficient_key_scope"),
        // Another workspace's, in both directions.
        (&all, &mine, json!({ "with": strange }), 404, "connection_not_found"),
        (&all, &strange, json!({ "with": mine }), 404, "connection_not_found"),
        // Another app's.
        (&all, &mine, json!({ "with": slack }), 422, "invalid_request"),
        // A private one, for everybody or for somebody else.
        (&all, &mine, json!({ "with": anns }), 422, "invalid_request"),
        (&all, &bobs, json!({ "with": anns }), 422, "invalid_request"),
        (&all, &mine, json!({ "with": other, "nonsense": 1 }), 422, "invalid_request"),
    ];
    for (key, id, body, status, expected) in &attempts {
        assert_eq!(code(&replace_with(&fixture, key, id, body)), (*status, *expected), "{id} {body}");
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM replacements"), 0);
    // A private one may answer for one of the same owner, and a shared one for everybody's.
    let anns_other = connect(&fixture, "ann2", Some("ann"), None);
    replace(&fixture, &anns_other, &anns);
    replace(&fixture, &bobs, &mine);
    undo(&fixture, &bobs);
    // Once made by somebody with authority over both, the lists look at the id that is asked for, and nothing else is seen.
    replace(&fixture, &mine, &other);
    assert_eq!(resolved_as(&fixture, &only_mine, &mine, &json!({})), other.to_string());
    assert_eq!(resolved_as(&fixture, &only_mine, &other, &json!({})), "connection_not_found");
    assert_eq!(resolved_as(&fixture, &only_other, &mine, &json!({})), "connection_not_found");
    assert_eq!(resolved_as(&stranger, &first_key(&stranger), &mine, &json!({})), "connection_not_found");
    let (_, seen) = call(&fixture, &only_other, Method::Get, &path(&other, ""), &Value::Null);
    assert_eq!(seen["replaces"], json!([]), "the replaced one does not exist for this key");
    assert_eq!(call(&fixture, &only_mine, Method::Get, &path(&other, ""), &Value::Null).0, 404);
    // The policy is that of the one that answers.
    ask(&fixture, Method::Patch, &path(&other, ""), &json!({ "allowed_workflows": ["billing"] }));
    assert_eq!(resolved(&fixture, &mine), "workflow_not_allowed");
    let billing = json!({ "workflow": "billing" });
    assert_eq!(resolved_as(&fixture, &all, &mine, &billing), other.to_string());
    // So are expectations.
    let expecting = |what: Value| json!({ "workflow": "billing", "expect": what });
    let account = fixture.load_connection(&other).account.unwrap().id;
    let own_account = fixture.load_connection(&mine).account.unwrap().id;
    for (what, expected) in [
        (json!({ "connection": mine }), "unexpected_connection"),
        (json!({ "account": own_account }), "unexpected_connection"),
        (json!({ "environment": "production" }), "unexpected_connection"),
        (json!({ "connection": other }), other.as_str()),
        (json!({ "account": account }), other.as_str()),
    ] {
        assert_eq!(resolved_as(&fixture, &all, &mine, &expecting(what.clone())), expected, "{what}");
    }
}

#[test]
fn environments_differ_only_if_somebody_says_so_and_no_key_leaves_its_own() {
    let fixture = Fixture::new();
    let live = connect(&fixture, "live", None, Some(Environment::Production));
    let test = connect(&fixture, "test", None, Some(Environment::Test));
    let key = first_key(&fixture);
    let refused = replace_with(&fixture, &key, &live, &json!({ "with": test }));
    assert_eq!(code(&refused), (409, "environments_differ"), "{}", refused.1);
    let across = json!({ "with": test, "across_environments": true });
    assert_eq!(replace_with(&fixture, &key, &live, &across).0, 200);
    assert_eq!(resolved(&fixture, &live), test.to_string());
    for environment in [Environment::Production, Environment::Test] {
        let limited = make_key(&fixture, |key| key.environment = Some(environment));
        assert_eq!(resolved_as(&fixture, &limited, &live, &json!({})), "connection_not_found", "{environment:?}");
        assert_eq!(
            told(&call(&fixture, &limited, Method::Post, "/v1/resolve", &json!({ "app": "acme" }))),
            if environment == Environment::Test { test.as_str() } else { "connection_not_found" }
        );
    }
    // A step that names the environment gets it, or nothing.
    let by_app = |environment: &str| {
        told(&ask(&fixture, Method::Post, "/v1/resolve", &json!({ "app": "acme", "environment": environment })))
    };
    assert_eq!(by_app("production"), "unexpected_connection");
    assert_eq!(by_app("test"), test.to_string());
    let batch = json!({ "items": [{ "connection": live, "environment": "production" }, { "app": "acme", "environment": "production" }] });
    let (_, answer) = ask(&fixture, Method::Post, "/v1/resolve/batch", &batch);
    for result in answer["results"].as_array().unwrap() {
        assert_eq!(result["problem"]["code"], "unexpected_connection", "{answer}");
    }
    // Neither of them changes so that they no longer fit.
    undo(&fixture, &live);
    let live_too = connect(&fixture, "live2", None, Some(Environment::Production));
    replace(&fixture, &live, &live_too);
    for (id, body) in [
        (&live, json!({ "environment": "test" })),
        (&live_too, json!({ "environment": "test" })),
        (&live_too, json!({ "owner": { "id": "ann" }, "shared": false })),
    ] {
        let refused = ask(&fixture, Method::Patch, &path(id, ""), &body);
        assert_eq!(code(&refused), (409, "replacement_in_use"), "{body}: {}", refused.1);
    }
    assert_eq!(ask(&fixture, Method::Patch, &path(&live_too, ""), &json!({ "name": "New" })).0, 200);
    assert_eq!(fixture.load_connection(&live).environment, Some(Environment::Production));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'edited'"), 1);
    undo(&fixture, &live);
    assert_eq!(ask(&fixture, Method::Patch, &path(&live, ""), &json!({ "environment": "test" })).0, 200);
}

#[test]
fn a_default_that_is_replaced_gives_the_one_that_answers_and_nobody_elses() {
    let fixture = Fixture::new();
    let (default, new) = (shared(&fixture, "default"), shared(&fixture, "new"));
    let by_app = |body: Value| ask(&fixture, Method::Post, "/v1/resolve", &body).1;
    replace(&fixture, &default, &new);
    let answer = by_app(json!({ "app": "acme" }));
    assert_eq!(
        (&answer["connection"]["id"], &answer["requested_id"], &answer["chosen_by"]),
        (&json!(new), &json!(default), &json!("default")),
        "{answer}"
    );
    assert_eq!(get(&fixture, "/v1/defaults")["data"][0]["replaced_by"], json!(new));
    let batch = json!({ "items": [{ "app": "acme" }, { "connection": default }, { "connection": new }] });
    let (_, answer) = ask(&fixture, Method::Post, "/v1/resolve/batch", &batch);
    for (at, requested) in [(0, json!(default)), (1, json!(default)), (2, Value::Null)] {
        let ok = &answer["results"][at]["ok"];
        assert_eq!((&ok["connection"]["id"], ok["requested_id"].clone()), (&json!(new), requested), "{answer}");
    }
    // A row that says otherwise, in whatever way it came, gives a private connection to its owner alone.
    let anns = connect(&fixture, "ann", Some("ann"), None);
    fixture.world.db.tamper(&format!("UPDATE replacements SET replaced_by = '{anns}'"));
    assert_eq!(by_app(json!({ "app": "acme" }))["code"], "ambiguous_connection");
    assert_eq!(by_app(json!({ "app": "acme", "user": "bob" }))["code"], "ambiguous_connection");
    assert_eq!(by_app(json!({ "app": "acme", "user": "ann" }))["connection"]["id"], json!(anns));
    // Nor does one lead into another workspace.
    let strange = shared(&fixture.other_workspace(), "zoe");
    fixture.world.db.tamper(&format!("UPDATE replacements SET replaced_by = '{strange}'"));
    assert_eq!(resolved(&fixture, &default), "connection_not_found");
    assert_eq!(by_app(json!({ "app": "acme" }))["code"], "ambiguous_connection");
}

#[test]
fn a_default_is_unusable_where_the_one_that_answers_is() {
    let fixture = Fixture::new();
    let (default, new) = (shared(&fixture, "default"), shared(&fixture, "new"));
    let unusable = || {
        let list = get(&fixture, "/v1/connections?attention=default_unusable");
        let ids: Vec<_> =
            list["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        ids
    };
    fixture.world.acme.withdraw_grants("default");
    fixture.refresh(&default, RefreshReason::Force);
    assert_eq!(unusable(), [default.to_string()]);
    replace(&fixture, &default, &new);
    assert_eq!(unusable(), Vec::<String>::new());
    fixture.world.acme.withdraw_grants("new");
    fixture.refresh(&new, RefreshReason::Force);
    assert_eq!(unusable(), [new.to_string()]);
    // A broken one answers for nobody else.
    let third = shared(&fixture, "third");
    let refused = replace_with(&fixture, &first_key(&fixture), &third, &json!({ "with": new }));
    assert_eq!(code(&refused), (409, "needs_reconnect"), "{}", refused.1);
    assert!(refused.1["reconnect_url"].as_str().unwrap().contains(new.as_str()));
}

#[test]
fn the_cache_gives_the_one_that_answers_from_the_replacement_on() {
    for is_one_isolate in [true, false] {
        let fixture = if is_one_isolate { Fixture::new().in_one_isolate() } else { Fixture::new() };
        let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
        let edge = || {
            let request = ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() };
            fixture.resolve_and_finish(&old, request).unwrap().resolved.id
        };
        for _ in 0..2 {
            assert_eq!(edge(), old);
        }
        let name = format!("connection/{old}");
        assert!(fixture.world.cache.entry_names().contains(&name));
        replace(&fixture, &old, &new);
        assert!(!fixture.world.cache.entry_names().contains(&name));
        for _ in 0..3 {
            assert_eq!(edge(), new);
            assert!(!fixture.world.cache.entry_names().contains(&name), "no entry says what was before");
            fixture.world.advance_clock(61);
        }
        undo(&fixture, &old);
        for _ in 0..2 {
            assert_eq!(edge(), old);
        }
    }
}

#[test]
fn an_entry_that_a_replacement_has_overtaken_is_not_kept() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    let context = fixture.world.context();
    let request = ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() };
    let mut answered = fixture.resolve(&old, request).unwrap();
    replace(&fixture, &old, &new);
    fixture.world.run(async {
        for task in std::mem::take(&mut answered.deferred) {
            connections::resolve::deferred::run(&context, task).await;
        }
    });
    assert!(!fixture.world.cache.entry_names().contains(&format!("connection/{old}")));
}

#[test]
fn a_report_is_about_the_one_that_answers() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    let version = |id: &ConnectionId| {
        ask(&fixture, Method::Post, &path(id, "/resolve"), &json!({})).1["credential_version"].clone()
    };
    let report = |id: &ConnectionId, version: &Value| {
        let body = json!({ "status": 401, "credential_version": version });
        let (status, answer) = ask(&fixture, Method::Post, &path(id, "/report"), &body);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let versions = || [&old, &new].map(|id| fixture.load_connection(id).version);
    let before = version(&old);
    replace(&fixture, &old, &new);
    let [of_old, of_new] = versions();
    // Said about the token of before, whose version may have the same number.
    report(&old, &before);
    assert_eq!(versions(), [of_old, of_new]);
    let now = version(&old);
    assert_ne!(now, version(&new), "it names the connection, too");
    let answer = report(&old, &now);
    assert_eq!((&answer["connection"]["id"], &answer["requested_id"]), (&json!(new), &json!(old)));
    assert_eq!(versions(), [of_old, of_new + 1]);
    undo(&fixture, &old);
    fixture.world.advance_clock(60);
    report(&old, &now);
    assert_eq!(versions(), [of_old, of_new + 1]);
}

#[test]
fn uses_are_of_the_id_that_was_asked_for_and_say_who_answered() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    replace(&fixture, &old, &new);
    run_step(&fixture, &old);
    let uses = get(&fixture, &path(&old, "/uses"));
    assert_eq!((&uses["data"][0]["workflow"], &uses["data"][0]["answered_by"]), (&json!("invoices"), &json!(new)));
    assert_eq!(get(&fixture, &path(&new, "/uses"))["data"], json!([]));
    for id in [&old, &new] {
        assert_ne!(get(&fixture, &path(id, ""))["last_used_at"], Value::Null, "neither is unused");
    }
    let detail = get(&fixture, "/v1/workflows/invoices");
    let used = &detail["data"][0];
    assert_eq!(
        (&used["connection"]["id"], &used["answered_by"], &used["connection"]["replaced_by"]),
        (&json!(old), &json!(new), &json!(new))
    );
}

#[test]
fn a_preflight_and_a_list_of_workflows_are_about_the_one_that_answers() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    run_step(&fixture, &old);
    fixture.world.acme.withdraw_grants("old");
    fixture.refresh(&old, RefreshReason::Force);
    let preflight = |key: &str| {
        call(&fixture, key, Method::Get, "/v1/workflows/invoices/preflight", &Value::Null).1["connections"][0].clone()
    };
    let key = first_key(&fixture);
    let broken = || get(&fixture, "/v1/workflows")["data"][0]["needs_reconnect"].clone();
    assert_eq!((&preflight(&key)["code"], broken()), (&json!("needs_reconnect"), json!(1)));
    replace(&fixture, &old, &new);
    // Also for a key that does not see the one that answers: it gets its credential.
    let limited = make_key(&fixture, |key| key.connections = Some(vec![old.clone()]));
    for key in [&key, &limited] {
        let found = preflight(key);
        assert_eq!((&found["ready"], &found["replaced_by"]), (&json!(true), &json!(new)), "{found}");
        assert_eq!(resolved_as(&fixture, key, &old, &json!({ "workflow": "invoices" })), new.to_string());
    }
    assert_eq!(broken(), json!(0));
    ask(&fixture, Method::Patch, &path(&new, ""), &json!({ "allowed_workflows": [] }));
    assert_eq!(preflight(&key)["code"], "workflow_not_allowed");
    fixture.world.acme.withdraw_grants("new");
    fixture.refresh(&new, RefreshReason::Force);
    assert_eq!(broken(), json!(1));
}

#[test]
fn a_hot_resolve_costs_one_look_up_more_and_no_row() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    run_step(&fixture, &old);
    let cost = || {
        let db = &fixture.world.db;
        db.reset_counts();
        fixture.resolve(&old, step("invoices", "send")).unwrap();
        assert_eq!((db.round_trips.get(), db.statements.get(), db.rows_scanned.get(), db.writes.get()), (1, 1, 0, 0));
        db.vm_steps.get()
    };
    let plain = cost();
    assert!(plain <= 190, "{plain} operations");
    replace(&fixture, &old, &new);
    let replaced = cost();
    assert!(replaced <= plain + 100, "{plain} operations, and {replaced} where another connection answers");
    undo(&fixture, &old);
    // Any number of other replacements.
    for number in 0..30 {
        replace(&fixture, &shared(&fixture, &format!("other{number}")), &new);
    }
    assert_eq!(cost(), plain);
}

#[test]
fn replacements_are_erased_with_their_workspace() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    replace(&fixture, &old, &new);
    let admin = "abcdefghijklmnopqrstuvwxyz0123456789";
    let address = format!("/v1/workspaces/{}", fixture.workspace);
    assert_eq!(call(&fixture, admin, Method::Delete, &address, &Value::Null).0, 200);
    assert_eq!(resolved(&fixture, &old), "unauthorized");
    for _ in 0..5 {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM replacements"), 0);
    assert_eq!(
        fixture.world.db.query_number(&format!("SELECT count(*) FROM workspaces WHERE id = '{}'", fixture.workspace)),
        0
    );
}

#[test]
fn a_replacement_is_made_only_to_what_its_caller_has_seen() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    let send = |method, body: &Value, if_match: &str| {
        let bytes = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
        let mut request = crate::http::request(method, &path(&old, "/replace"), bytes);
        request.headers.push(("authorization".into(), format!("Bearer {}", first_key(&fixture))));
        request.headers.push(("if-match".into(), if_match.into()));
        let context = fixture.world.context();
        fixture.world.run(async { connections::http::handle(&context, &request).await }).status
    };
    let body = json!({ "with": new });
    assert_eq!(send(Method::Post, &body, "\"another\""), 412);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM replacements"), 0);
    assert_eq!(send(Method::Post, &body, "*"), 200);
    assert_eq!(send(Method::Delete, &Value::Null, "\"another\""), 412);
    assert_eq!(send(Method::Delete, &Value::Null, "*"), 200);
}

// ---- steps that use another connection than before ----

const DAY: i64 = 86_400;

/// The attention of a connection about its steps: what it says.
fn changes(fixture: &Fixture, id: &ConnectionId) -> Vec<String> {
    let shown = get(fixture, &path(id, ""));
    let all = shown["attention"].as_array().unwrap();
    let mine = all.iter().filter(|one| one["code"] == "step_changed_connection");
    let details: Vec<_> = mine.map(|one| one["detail"].as_str().unwrap().to_owned()).collect();
    let list = get(fixture, "/v1/connections?attention=step_changed_connection");
    let listed = list["data"].as_array().unwrap().iter().any(|one| one["id"] == json!(id));
    assert_eq!(listed, !details.is_empty(), "the list's filter says the same");
    details
}

fn changed_in_detail(fixture: &Fixture) -> Vec<Value> {
    let detail = get(fixture, "/v1/workflows/invoices");
    detail["data"].as_array().unwrap().iter().filter_map(|one| one.get("changed").cloned()).collect()
}

#[test]
fn a_step_that_names_another_connection_is_told_apart_for_a_week() {
    let fixture = Fixture::new();
    let (ann, bob) = (shared(&fixture, "ann"), shared(&fixture, "bob"));
    run_step(&fixture, &ann);
    assert_eq!(changes(&fixture, &ann), Vec::<String>::new());
    fixture.world.advance_clock(DAY);
    run_step(&fixture, &bob);
    let told = changes(&fixture, &bob);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("The step send of the workflow invoices used Acme (ann@acme.example) before"),
        "{told:?}"
    );
    let at = fixture.world.now();
    let change = json!({ "from": { "id": ann, "name": "Acme (ann@acme.example)" }, "at": at, "by": "id" });
    assert_eq!(changed_in_detail(&fixture), std::slice::from_ref(&change));
    fixture.world.advance_clock(DAY / 2);
    run_step(&fixture, &bob);
    let preflight = get(&fixture, "/v1/workflows/invoices/preflight");
    let mut expected = change;
    expected["step"] = json!("send");
    assert_eq!(preflight["connections"].as_array().unwrap().len(), 1, "{preflight}");
    assert_eq!(
        (&preflight["ready"], &preflight["connections"][0]["changed_steps"]),
        (&json!(true), &json!([expected]))
    );
    fixture.world.advance_clock(7 * DAY);
    assert_eq!((changes(&fixture, &bob), changed_in_detail(&fixture)), (vec![], vec![]));
    let preflight = get(&fixture, "/v1/workflows/invoices/preflight");
    assert_eq!(preflight["connections"][0].get("changed_steps"), None);
}

#[test]
fn a_change_of_a_step_is_acknowledged() {
    let fixture = Fixture::new();
    let (ann, bob) = (shared(&fixture, "ann"), shared(&fixture, "bob"));
    run_step(&fixture, &ann);
    fixture.world.advance_clock(DAY);
    run_step(&fixture, &bob);
    let acknowledge = || ask(&fixture, Method::Delete, &path(&bob, "/step-changes"), &Value::Null);
    assert_eq!(changes(&fixture, &bob).len(), 1);
    assert_eq!(acknowledge(), (200, json!({ "acknowledged": true })));
    assert_eq!((changes(&fixture, &bob), changed_in_detail(&fixture)), (vec![], vec![]));
    assert_eq!(acknowledge(), (200, json!({ "acknowledged": false })));
    assert_eq!(get(&fixture, &path(&bob, "/events"))["data"][0]["type"], "changes_acknowledged");
    fixture.world.advance_clock(DAY);
    run_step(&fixture, &bob);
    assert_eq!(changes(&fixture, &bob), Vec::<String>::new(), "it is not told again");
    // Back to the first is a change of its own.
    fixture.world.advance_clock(DAY);
    run_step(&fixture, &ann);
    assert_eq!(changes(&fixture, &ann).len(), 1);
}

#[test]
fn a_step_that_uses_several_connections_has_not_changed() {
    let fixture = Fixture::new();
    let (ann, bob) = (shared(&fixture, "ann"), shared(&fixture, "bob"));
    // Both in each run.
    for _ in 0..3 {
        run_step(&fixture, &ann);
        fixture.world.advance_clock(30);
        run_step(&fixture, &bob);
        assert_eq!((changes(&fixture, &ann), changes(&fixture, &bob)), (vec![], vec![]));
        fixture.world.advance_clock(DAY);
    }
    // Each person has their own.
    let owned = ["eve", "joe"].map(|user| connect(&fixture, user, Some(user), None));
    for id in &owned {
        fixture.resolve_and_finish(id, step("digest", "mail")).unwrap();
        fixture.world.advance_clock(DAY);
        assert_eq!(changes(&fixture, id), Vec::<String>::new());
    }
    // A call that names no step may be any of them.
    for id in [&ann, &bob] {
        let unnamed = ResolveRequest { workflow: Some("loose".into()), ..ResolveRequest::default() };
        fixture.resolve_and_finish(id, unnamed).unwrap();
        fixture.world.advance_clock(DAY);
        assert_eq!(changes(&fixture, id), Vec::<String>::new());
    }
}

#[test]
fn a_step_that_comes_back_has_not_changed() {
    let fixture = Fixture::new();
    let (ann, bob) = (shared(&fixture, "ann"), shared(&fixture, "bob"));
    run_step(&fixture, &ann);
    fixture.world.advance_clock(DAY);
    run_step(&fixture, &bob);
    assert_eq!(changes(&fixture, &bob).len(), 1);
    fixture.world.advance_clock(DAY);
    run_step(&fixture, &ann);
    assert_eq!((changes(&fixture, &bob), changes(&fixture, &ann).len()), (vec![], 1));
}

#[test]
fn a_step_that_a_default_or_a_replacement_moves_says_so() {
    let fixture = Fixture::new();
    let (ann, bob) = (shared(&fixture, "ann"), shared(&fixture, "bob"));
    let by_app = || {
        let body = json!({ "app": "acme", "workflow": "invoices", "step": "send" });
        let mut request = crate::http::request(Method::Post, "/v1/resolve", body.to_string().into_bytes());
        request.headers.push(("authorization".into(), format!("Bearer {}", first_key(&fixture))));
        let context = fixture.world.context();
        fixture.world.run(async {
            let answer = connections::http::handle(&context, &request).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            for task in answer.deferred {
                connections::resolve::deferred::run(&context, task).await;
            }
        });
        fixture.world.advance_clock(DAY);
    };
    by_app();
    ask(&fixture, Method::Put, "/v1/apps/acme/default", &json!({ "connection": bob }));
    by_app();
    let changed = changed_in_detail(&fixture);
    assert_eq!((changed.len(), &changed[0]["by"], &changed[0]["from"]["id"]), (1, &json!("default"), &json!(ann)));
    assert!(changes(&fixture, &bob)[0].contains("by default now"));
    ask(&fixture, Method::Delete, &path(&bob, "/step-changes"), &Value::Null);
    replace(&fixture, &bob, &ann);
    by_app();
    let changed = changed_in_detail(&fixture);
    assert_eq!((changed.len(), &changed[0]["by"], &changed[0]["from"]["id"]), (1, &json!("replacement"), &json!(bob)));
    assert_eq!(changes(&fixture, &bob).len(), 1);
    undo(&fixture, &bob);
    by_app();
    let changed = changed_in_detail(&fixture);
    assert_eq!((changed.len(), &changed[0]["by"], &changed[0]["from"]["id"]), (1, &json!("replacement"), &json!(ann)));
}

#[test]
fn what_a_step_used_before_is_not_shown_to_whom_it_does_not_exist_for() {
    let fixture = Fixture::new();
    let (ann, bob) = (shared(&fixture, "ann"), shared(&fixture, "bob"));
    run_step(&fixture, &ann);
    fixture.world.advance_clock(DAY);
    run_step(&fixture, &bob);
    let limited = make_key(&fixture, |key| key.connections = Some(vec![bob.clone()]));
    for address in [
        path(&bob, ""),
        "/v1/connections".into(),
        "/v1/workflows/invoices".into(),
        "/v1/workflows/invoices/preflight".into(),
    ] {
        let (status, answer) = call(&fixture, &limited, Method::Get, &address, &Value::Null);
        let text = answer.to_string();
        assert!(status == 200 && !text.contains(ann.as_str()) && !text.contains("ann@acme"), "{address}: {text}");
        assert!(text.contains("changed"), "{address}: {text}");
    }
}

#[test]
fn a_hot_step_writes_no_more_than_its_use() {
    let fixture = Fixture::new();
    let (ann, bob) = (shared(&fixture, "ann"), shared(&fixture, "bob"));
    run_step(&fixture, &ann);
    fixture.world.advance_clock(DAY);
    run_step(&fixture, &bob);
    let written = |id: &ConnectionId| {
        fixture.world.advance_clock(1_000);
        fixture.world.db.reset_counts();
        run_step(&fixture, id);
        assert_eq!((fixture.world.db.round_trips.get(), fixture.world.db.statements.get()), (2, 5));
        fixture.world.db.query_number("SELECT count(*) FROM connections WHERE step_changed_at IS NOT NULL")
    };
    assert_eq!([written(&bob), written(&bob)], [1, 1]);
}

// ---- pages ----

/// A browser of a person with a role.
fn browser<'a>(fixture: &'a Fixture, user: &str, role: &str) -> TestBrowser<'a> {
    let mut browser = TestBrowser::new(fixture);
    browser.sign_in_as(&json!({ "user": { "id": user }, "role": role }));
    browser
}

fn page(id: &ConnectionId) -> String {
    format!("/connections/{id}")
}

/// Submits a form of a connection's page: the status, and where it leads or what it says.
fn submit(browser: &mut TestBrowser<'_>, id: &ConnectionId, form: &str, fields: &str) -> (u16, String) {
    let answer = browser.post(&page(id), &format!("{}/{form}", page(id)), fields);
    (answer.status, answer.header("location").map_or(answer.body.clone(), str::to_owned))
}

#[test]
fn a_page_shows_a_replacement_and_ends_it() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    run_step(&fixture, &old);
    let mut admin = browser(&fixture, "ada", "admin");
    let html = admin.get(&format!("{}/replace", page(&old))).body;
    assert!(
        html.contains(&format!("<option value=\"{new}\">")) && !html.contains(&format!("<option value=\"{old}\">"))
    );
    let (status, location) = submit(&mut admin, &old, "replace", &format!("with={new}"));
    assert_eq!((status, location), (303, page(&old)));
    assert_eq!(resolved(&fixture, &old), new.to_string());
    let (of_old, of_new) = (admin.get(&page(&old)).body, admin.get(&page(&new)).body);
    assert!(of_old.contains("Use this connection again") && of_old.contains(&page(&new)), "{of_old}");
    assert!(of_new.contains("Answers for other connections") && of_new.contains(&page(&old)), "{of_new}");
    let (status, said) = submit(&mut admin, &new, "disconnect", "");
    assert_eq!((status, said.contains("answers for others")), (409, true), "{said}");
    let workflow = admin.get("/workflows/invoices").body;
    assert!(workflow.contains("Another connection answers for it.") && workflow.contains(&page(&old)), "{workflow}");
    let (status, location) = submit(&mut admin, &old, "undo-replace", "");
    assert_eq!((status, location), (303, page(&old)));
    assert_eq!(resolved(&fixture, &old), old.to_string());
    let event = get(&fixture, &path(&old, "/events"))["data"][0].clone();
    assert_eq!((&event["type"], &event["actor"]), (&json!("replacement_ended"), &json!("user:ada")));
}

#[test]
fn a_page_says_in_sentences_for_people_why_a_connection_cannot_answer() {
    let fixture = Fixture::new();
    let [old, new, broken, chained] = ["old", "new", "broken", "chained"].map(|account| shared(&fixture, account));
    fixture.world.acme.withdraw_grants("broken");
    fixture.refresh(&broken, RefreshReason::Force);
    replace(&fixture, &chained, &new);
    let mut admin = browser(&fixture, "ada", "admin");
    let expected = [
        (&broken, "This connection doesn’t work. Reconnect it first, or choose another one."),
        (&chained, "Another connection answers for this one, or one of the two was just changed. Choose again."),
    ];
    for (with, sentence) in expected {
        let (status, said) = submit(&mut admin, &old, "replace", &format!("with={with}"));
        assert_eq!((status, said.contains(sentence)), (409, true), "{said}");
        assert!(!said.contains("reconnect_url") && !said.contains("/v1/"), "{said}");
    }
}

#[test]
fn on_a_page_a_replacement_takes_the_owner_of_both_or_an_admin() {
    let fixture = Fixture::new();
    let everybodys = shared(&fixture, "all");
    let [anns, anns_other] = ["ann", "ann2"].map(|account| connect(&fixture, account, Some("ann"), None));
    let bobs = connect(&fixture, "bob", Some("bob"), None);
    let mut ann = browser(&fixture, "ann", "member");
    let html = ann.get(&format!("{}/replace", page(&anns))).body;
    for (id, is_offered) in [(&anns_other, true), (&everybodys, false), (&bobs, false)] {
        assert_eq!(html.contains(&format!("<option value=\"{id}\">")), is_offered, "{id}");
    }
    let attempts = [
        // Hers, by what is everybody's and not hers to change; what is everybody's, by hers; and Bob's, which she does not see.
        (&anns, &everybodys, 403),
        (&everybodys, &anns, 403),
        (&anns, &bobs, 404),
        (&bobs, &anns, 404),
        (&anns, &anns, 422),
    ];
    for (id, with, expected) in attempts {
        assert_eq!(submit(&mut ann, id, "replace", &format!("with={with}")).0, expected, "{id} by {with}");
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM replacements"), 0);
    assert_eq!(submit(&mut ann, &anns, "replace", &format!("with={anns_other}")).0, 303);
    // Others neither see nor end it, and a form of another site does nothing.
    let mut bob = browser(&fixture, "bob", "member");
    assert_eq!(submit(&mut bob, &anns, "undo-replace", "").0, 404);
    let forged = request(Method::Post, &format!("{}/undo-replace", page(&anns)), b"csrf=wrong".to_vec());
    assert_eq!(ann.send(forged).status, 403);
    assert_eq!(resolved(&fixture, &anns), anns_other.to_string());
    assert_eq!(submit(&mut ann, &anns, "undo-replace", "").0, 303);
    // An admin lets one of everybody's answer for hers, and does not see the refusal of environments as an error page.
    let mut admin = browser(&fixture, "ada", "admin");
    ask(&fixture, Method::Patch, &path(&everybodys, ""), &json!({ "environment": "test" }));
    let (status, said) = submit(&mut admin, &anns, "replace", &format!("with={everybodys}"));
    assert_eq!((status, said.contains("different environments")), (409, true), "{said}");
    let ticked = "name=\"across\" value=\"yes\" checked";
    assert!(!said.contains(ticked), "{said}");
    let (status, said) = submit(&mut admin, &anns, "replace", "with=x&across=yes");
    assert_eq!((status, said.contains(ticked)), (422, true), "what was ticked stays so: {said}");
    assert_eq!(submit(&mut admin, &anns, "replace", &format!("with={everybodys}&across=yes")).0, 303);
    assert_eq!(resolved(&fixture, &anns), everybodys.to_string());
    // She may end it, although she did not make it.
    let html = ann.get(&page(&anns)).body;
    assert!(html.contains("Use this connection again"), "{html}");
    assert_eq!(submit(&mut ann, &anns, "undo-replace", "").0, 303);
    assert_eq!(resolved(&fixture, &anns), anns.to_string());
}

#[test]
fn a_page_sets_environment_sharing_and_owner_as_far_as_the_person_may() {
    let fixture = Fixture::new();
    let (everybodys, anns) = (shared(&fixture, "all"), connect(&fixture, "ann", Some("ann"), None));
    let mut ann = browser(&fixture, "ann", "member");
    let mut admin = browser(&fixture, "ada", "admin");
    let html = ann.get(&page(&everybodys)).body;
    assert!(!html.contains("/environment") && html.contains("Only its owner or an admin can"), "{html}");
    let form =
        |browser: &mut TestBrowser<'_>, id: &ConnectionId, form: &str| browser.get(&format!("{}/{form}", page(id)));
    assert_eq!(form(&mut ann, &everybodys, "environment").status, 403);
    assert!(form(&mut ann, &anns, "environment").body.contains("Save environment"));
    assert!(!form(&mut ann, &anns, "sharing").body.contains("name=\"owner\""));
    let html = form(&mut admin, &anns, "sharing").body;
    assert!(html.contains("name=\"owner\"") && html.contains("<option value=\"ann\" selected>"), "{html}");
    for form in ["environment", "sharing"] {
        assert_eq!(submit(&mut ann, &everybodys, form, "environment=test&shared=yes").0, 403, "{form}");
    }
    assert_eq!(submit(&mut ann, &anns, "environment", "environment=test").0, 303);
    let (status, said) = submit(&mut ann, &anns, "environment", "environment=other");
    assert_eq!((status, said.contains("Not accepted")), (422, true));
    assert_eq!(fixture.load_connection(&anns).environment, Some(Environment::Test));
    assert!(form(&mut ann, &anns, "environment").body.contains("<option value=\"test\" selected>"));
    assert!(ann.get(&page(&anns)).body.contains("<dd>Test "));
    assert_eq!(submit(&mut ann, &anns, "environment", "environment=").0, 303);
    assert_eq!(fixture.load_connection(&anns).environment, None);
    // She shares hers and takes it back, and gives it to nobody.
    assert_eq!(submit(&mut ann, &anns, "sharing", "shared=yes").0, 303);
    assert!(fixture.load_connection(&anns).shared);
    assert_eq!(submit(&mut ann, &anns, "sharing", "").0, 303);
    assert_eq!(submit(&mut ann, &anns, "sharing", "owner=bob").0, 403);
    let owner = || fixture.load_connection(&anns).user.map(|user| user.id);
    assert_eq!((fixture.load_connection(&anns).shared, owner().as_deref()), (false, Some("ann")));
    // An admin gives it to Bob, and then to everybody. Nobody may be left without one.
    assert_eq!(submit(&mut admin, &anns, "sharing", "owner=bob").0, 303);
    assert_eq!((owner().as_deref(), ann.get(&page(&anns)).status), (Some("bob"), 404));
    let (status, said) = submit(&mut admin, &anns, "sharing", "owner=");
    assert_eq!((status, said.contains("Not accepted")), (422, true), "{said}");
    // What is wrong is marked where it is: the box without which nobody may use it, or the id of the owner.
    for (entered, wrong, other) in [("owner=", "shared", "owner"), ("owner=..", "owner", "shared")] {
        let html = submit(&mut admin, &anns, "sharing", entered).1;
        assert!(
            html.contains(&format!("href=\"#{wrong}\"")) && html.contains(&format!("id=\"{wrong}-error\"")),
            "{html}"
        );
        assert!(
            !html.contains(&format!("id=\"{other}-error\"")) && html.matches("aria-invalid=\"true\"").count() == 1,
            "{html}"
        );
        let marked = html.split(&format!("name=\"{wrong}\"")).nth(1).unwrap().split('>').next().unwrap();
        assert!(marked.contains("aria-invalid"), "{marked}");
    }
    assert_eq!(submit(&mut admin, &anns, "sharing", "owner=&shared=yes").0, 303);
    assert_eq!((owner(), fixture.load_connection(&anns).shared), (None, true));
}

#[test]
fn a_page_tells_a_step_that_changed_until_somebody_who_may_says_that_it_is_right() {
    let fixture = Fixture::new();
    let (one, other) = (shared(&fixture, "one"), shared(&fixture, "other"));
    run_step(&fixture, &one);
    fixture.world.advance_clock(DAY);
    run_step(&fixture, &other);
    let (mut ann, mut admin) = (browser(&fixture, "ann", "member"), browser(&fixture, "ada", "admin"));
    let told = "The step send of the workflow invoices used Acme (one@acme.example) before";
    let html = ann.get(&page(&other)).body;
    assert!(html.contains(told) && !html.contains("This is right"), "{html}");
    assert_eq!(html.matches(told).count(), 1);
    assert!(ann.get("/workflows/invoices").body.contains(told));
    assert_eq!(ann.get("/workflows/none").status, 404);
    assert_eq!(submit(&mut ann, &other, "acknowledge", "").0, 403);
    assert_eq!(submit(&mut admin, &other, "acknowledge", "").0, 303);
    assert!(!ann.get(&page(&other)).body.contains(told));
}

#[test]
fn a_workflows_page_shows_a_member_only_connections_that_they_see() {
    let fixture = Fixture::new();
    let (everybodys, bobs) = (shared(&fixture, "all"), connect(&fixture, "bob", Some("bob"), None));
    run_step(&fixture, &everybodys);
    run_step(&fixture, &bobs);
    fixture.resolve_and_finish(&bobs, step("secret", "send")).unwrap();
    let mut ann = browser(&fixture, "ann", "member");
    let html = ann.get("/workflows/invoices").body;
    assert!(html.contains(everybodys.as_str()) && !html.contains(bobs.as_str()), "{html}");
    assert_eq!(ann.get("/workflows/secret").status, 404);
}

// ---- ends that nobody asked for ----

/// The lines about a connection: type, detail and actor.
fn lines(fixture: &Fixture, id: &ConnectionId) -> Vec<(String, String, String)> {
    let (status, all) = ask(fixture, Method::Get, &format!("/v1/events?connection={id}"), &Value::Null);
    assert_eq!(status, 200, "{all}");
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    let all = all["data"].as_array().unwrap().iter();
    all.map(|one| (text(one, "type"), text(one, "detail"), text(one, "actor"))).collect()
}

#[test]
fn a_replacement_that_ends_with_a_connection_nobody_disconnected_has_a_line() {
    for ends_answering in [true, false] {
        let fixture = Fixture::new();
        let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
        run_step(&fixture, &old);
        replace(&fixture, &old, &new);
        let (ended, left) = if ends_answering { (&new, &old) } else { (&old, &new) };
        // As where nobody has confirmed its person in time.
        fixture.world.db.tamper(&format!(
            "UPDATE connections SET deleted_at = 1, generation = generation + 1, next_check_at = NULL WHERE id = '{ended}'"
        ));
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
        let what = if ends_answering { "has ended" } else { "was disconnected" };
        let expected = ("replacement_ended".to_owned(), format!("{ended} {what}"), "schedule".to_owned());
        let told = lines(&fixture, left);
        assert_eq!(told[0], expected, "{told:?}");
        assert_eq!(told.iter().filter(|one| one.0 == "replacement_ended").count(), 1);
        let id = fixture.world.db.query_value("SELECT id FROM events WHERE type = 'replacement_ended'");
        assert!(connections::ids::EventId::parse(id.as_str().unwrap()).is_some(), "{id}");
        assert_eq!(resolved(&fixture, left), left.to_string());
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
        assert_eq!(lines(&fixture, left), told, "once");
    }
}

#[test]
fn the_end_of_all_connections_of_an_app_leaves_no_line_about_replacements_of_its_own() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    replace(&fixture, &old, &new);
    let button = json!({ "confirm": "acme", "reason": "x" });
    assert_eq!(ask(&fixture, Method::Post, "/v1/apps/acme/disconnect-all", &button).0, 201);
    for _ in 0..4 {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 0);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'replacement_ended'"), 0);
}

/// A test key that is entered for a connection of an unknown environment tells its environment.
#[test]
fn a_reconnect_sets_no_environment_on_half_of_a_replacement() {
    for (replaced, across, expected) in [
        (None, false, Some(Environment::Test)),
        (Some(true), false, None),
        (Some(false), false, None),
        (Some(true), true, Some(Environment::Test)),
    ] {
        let fixture = Fixture::new();
        let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
        let body = json!({ "with": new, "across_environments": across });
        if replaced.is_some() {
            assert_eq!(replace_with(&fixture, &first_key(&fixture), &old, &body).0, 200);
        }
        let (id, account) = if replaced == Some(false) { (&new, "new") } else { (&old, "old") };
        let settings = ConnectionSettings { environment: Some(Environment::Test), shared: None };
        let request = connections::connect::start::ConnectRequest {
            user: None,
            settings,
            connection: Some(id.clone()),
            role: connections::workspace::Role::Admin,
            ..fixture.connect_request()
        };
        fixture.complete_flow(&request, account);
        let row = fixture.load_connection(id);
        assert_eq!((row.generation, row.environment), (2, expected), "{replaced:?} {across}");
        let fits = "SELECT count(*) FROM replacements r JOIN connections a ON a.id = r.connection_id JOIN connections b ON b.id = r.replaced_by
          WHERE r.across_environments OR a.environment IS b.environment";
        assert_eq!(fixture.world.db.query_number(fits), i64::from(replaced.is_some()));
    }
}

#[test]
fn a_replacement_that_is_undone_at_once_leaves_nothing_to_be_told() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    let run = |wait: i64| {
        fixture.world.advance_clock(wait);
        run_step(&fixture, &old);
        changes(&fixture, &old)
    };
    assert_eq!(run(0), Vec::<String>::new());
    replace(&fixture, &old, &new);
    assert_eq!(run(DAY).len(), 1);
    undo(&fixture, &old);
    assert_eq!((run(600), changed_in_detail(&fixture)), (vec![], vec![]), "it is as it was before");
    // To another one and back within the hour is none either, and later each is a change.
    replace(&fixture, &old, &new);
    assert_eq!(run(DAY).len(), 1);
    let third = shared(&fixture, "third");
    replace(&fixture, &old, &third);
    assert_eq!(run(600).len(), 1);
    assert_eq!(changed_in_detail(&fixture)[0]["from"]["id"], json!(new));
    undo(&fixture, &old);
    assert_eq!(run(DAY).len(), 1);
    assert_eq!(changed_in_detail(&fixture)[0]["from"]["id"], json!(third));
}
