//! Environments, sharing, defaults of apps, resolving by app and in batches, and reports of refused tokens.

use connections::app::AppId;
use connections::caller::{ApiKey, KeyScope};
use connections::connection::ConnectionSettings;
use connections::environment::Environment;
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::resolve::{Consistency, ResolveRequest};
use connections::workspace::User;
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, make_key};
use crate::support::{Fixture, RefreshMode, Reply, World};

fn post(fixture: &Fixture, path: &str, body: &Value) -> (u16, Value) {
    call(fixture, &first_key(fixture), Method::Post, path, body)
}

fn resolve(fixture: &Fixture, body: &Value) -> (u16, Value) {
    post(fixture, "/v1/resolve", body)
}

/// Which connection a resolve by app gives, and why.
fn chosen(fixture: &Fixture, body: &Value) -> (String, String) {
    chosen_as(fixture, &first_key(fixture), body)
}

fn chosen_as(fixture: &Fixture, key: &str, body: &Value) -> (String, String) {
    let (status, answer) = call(fixture, key, Method::Post, "/v1/resolve", body);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match status {
        200 => (text(&answer["connection"]["id"]), text(&answer["chosen_by"])),
        _ => (text(&answer["code"]), String::new()),
    }
}

/// A connection of a user, or of nobody, shared or not.
fn connect(fixture: &Fixture, account: &str, user: Option<&str>, settings: ConnectionSettings) -> ConnectionId {
    let user = user.map(|id| User { id: id.into(), name: None });
    let request = connections::connect::start::ConnectRequest { user, settings, ..fixture.connect_request() };
    fixture.complete_flow(&request, account).connection.unwrap()
}

fn shared(fixture: &Fixture, account: &str) -> ConnectionId {
    connect(fixture, account, None, ConnectionSettings::default())
}

fn private(fixture: &Fixture, account: &str, user: &str) -> ConnectionId {
    connect(fixture, account, Some(user), ConnectionSettings::default())
}

fn in_environment(environment: Environment) -> ConnectionSettings {
    ConnectionSettings { environment: Some(environment), shared: None }
}

fn put_default(fixture: &Fixture, body: &Value) -> (u16, Value) {
    call(fixture, &first_key(fixture), Method::Put, "/v1/apps/acme/default", body)
}

fn patch(fixture: &Fixture, id: &ConnectionId, body: &Value) -> (u16, Value) {
    call(fixture, &first_key(fixture), Method::Patch, &format!("/v1/connections/{id}"), body)
}

fn acme() -> Value {
    json!({ "app": "acme" })
}

#[test]
fn the_first_shared_connection_is_the_default_and_a_second_one_breaks_nothing() {
    let fixture = Fixture::new();
    let (status, answer) = resolve(&fixture, &acme());
    assert_eq!((status, &answer["code"]), (404, &json!("no_default_connection")), "{answer}");
    assert!(answer["connect_url"].as_str().unwrap().ends_with("/oauth/start/acme"), "{answer}");
    let first = shared(&fixture, "ann");
    let default = (first.to_string(), "default".to_owned());
    assert_eq!(chosen(&fixture, &acme()), default);
    shared(&fixture, "bob");
    assert_eq!(chosen(&fixture, &acme()), default);
    assert_eq!(chosen(&fixture, &json!({ "app": "acme", "user": "eve" })), default);
    let (_, listed) =
        call(&fixture, &first_key(&fixture), Method::Get, &format!("/v1/connections/{first}"), &Value::Null);
    assert_eq!((&listed["default"], &listed["shared"], &listed["owner"]), (&json!(true), &json!(true), &Value::Null));
    let (_, events) =
        call(&fixture, &first_key(&fixture), Method::Get, &format!("/v1/connections/{first}/events"), &Value::Null);
    assert_eq!(events["data"][0]["type"], "default_changed", "{events}");
}

#[test]
fn a_single_connection_from_before_becomes_the_default_when_a_second_one_comes() {
    let fixture = Fixture::new();
    let first = shared(&fixture, "ann");
    fixture.world.db.tamper("DELETE FROM app_defaults");
    assert_eq!(chosen(&fixture, &acme()), (first.to_string(), "only".into()));
    fixture.world.advance_clock(10);
    shared(&fixture, "bob");
    assert_eq!(chosen(&fixture, &acme()), (first.to_string(), "default".into()));
}

#[test]
fn a_private_connection_is_never_chosen_for_somebody_else() {
    let fixture = Fixture::new();
    let anns = private(&fixture, "ann", "ann");
    assert_eq!(chosen(&fixture, &acme()).0, "no_default_connection");
    assert_eq!(chosen(&fixture, &json!({ "app": "acme", "user": "bob" })).0, "no_default_connection");
    let ann = json!({ "app": "acme", "user": "ann" });
    assert_eq!(chosen(&fixture, &ann), (anns.to_string(), "only".into()));
    // It can't be made the default of others.
    for body in [json!({ "connection": anns }), json!({ "connection": anns, "user": "bob" })] {
        let (status, answer) = put_default(&fixture, &body);
        assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("connection")), "{answer}");
    }
    assert_eq!(put_default(&fixture, &json!({ "connection": anns, "user": "ann" })).0, 200);
    assert_eq!(chosen(&fixture, &ann), (anns.to_string(), "default".into()));
    // Rows that say so all the same, in whatever way they came.
    let now = fixture.world.now().unix();
    for user in ["", "bob"] {
        fixture.world.db.tamper(&format!(
            "INSERT INTO app_defaults VALUES ('{}', 'acme', '{user}', '', '{anns}', {now})",
            fixture.workspace
        ));
    }
    assert_eq!(chosen(&fixture, &acme()).0, "no_default_connection");
    assert_eq!(chosen(&fixture, &json!({ "app": "acme", "user": "bob" })).0, "no_default_connection");
    // Another workspace's connection neither.
    let stranger = fixture.other_workspace();
    let strange = shared(&stranger, "zoe");
    assert_eq!(put_default(&fixture, &json!({ "connection": strange })).1["code"], "connection_not_found");
    fixture.world.db.tamper(&format!("UPDATE app_defaults SET connection_id = '{strange}' WHERE user_id = ''"));
    assert_eq!(chosen(&fixture, &acme()).0, "no_default_connection");
}

#[test]
fn a_user_gets_their_own_default_before_that_of_the_workspace() {
    let fixture = Fixture::new();
    let (everybodys, anns, more) =
        (shared(&fixture, "all"), private(&fixture, "ann", "ann"), private(&fixture, "ann2", "ann"));
    let ann = json!({ "app": "acme", "user": "ann" });
    assert_eq!(chosen(&fixture, &ann), (everybodys.to_string(), "default".into()));
    assert_eq!(put_default(&fixture, &json!({ "connection": anns, "user": "ann" })).0, 200);
    assert_eq!(chosen(&fixture, &ann), (anns.to_string(), "default".into()));
    assert_eq!(chosen(&fixture, &acme()), (everybodys.to_string(), "default".into()));
    let path = "/v1/apps/acme/default";
    let ended = call(&fixture, &first_key(&fixture), Method::Delete, &format!("{path}?user=ann"), &Value::Null);
    assert_eq!((ended.0, &ended.1["before"]), (200, &json!(anns)), "{}", ended.1);
    assert_eq!(chosen(&fixture, &ann), (everybodys.to_string(), "default".into()));
    call(&fixture, &first_key(&fixture), Method::Delete, path, &Value::Null);
    let (status, answer) = resolve(&fixture, &ann);
    assert_eq!((status, &answer["code"]), (409, &json!("ambiguous_connection")));
    let mut candidates: Vec<_> =
        answer["candidates"].as_array().unwrap().iter().map(|one| one["connection"].as_str().unwrap()).collect();
    candidates.sort_unstable();
    let mut all = [everybodys.as_str(), anns.as_str(), more.as_str()];
    all.sort_unstable();
    assert_eq!(candidates, all);
    assert_eq!(chosen(&fixture, &acme()), (everybodys.to_string(), "only".into()));
    assert_eq!(chosen(&fixture, &json!({ "app": "nothing" })).0, "not_found");
}

#[test]
fn environments_have_defaults_of_their_own() {
    let fixture = Fixture::new();
    let live = connect(&fixture, "live", None, in_environment(Environment::Production));
    let test = connect(&fixture, "test", None, in_environment(Environment::Test));
    let of = |environment: &str| json!({ "app": "acme", "environment": environment });
    assert_eq!(chosen(&fixture, &acme()), (live.to_string(), "default".into()));
    assert_eq!(chosen(&fixture, &of("production")), (live.to_string(), "default".into()));
    assert_eq!(chosen(&fixture, &of("test")), (test.to_string(), "default".into()));
    let again = connect(&fixture, "test2", None, in_environment(Environment::Test));
    assert_eq!(chosen(&fixture, &of("test")), (test.to_string(), "default".into()), "a second one breaks nothing");
    assert_eq!(put_default(&fixture, &json!({ "connection": live, "environment": "test" })).0, 422);
    let (_, changed) = put_default(&fixture, &json!({ "connection": again, "environment": "test" }));
    assert_eq!((&changed["before"], &changed["connection"]), (&json!(test), &json!(again)), "{changed}");
    assert_eq!(chosen(&fixture, &of("test")), (again.to_string(), "default".into()));
    // What a step expects is compared also where it names the connection.
    let (status, answer) =
        post(&fixture, &format!("/v1/connections/{live}/resolve"), &json!({ "expect": { "environment": "test" } }));
    assert_eq!((status, &answer["code"]), (409, &json!("unexpected_connection")));
    assert_eq!(answer["actual"]["environment"], "production");
    // A connection that moves to the other environment is no default there.
    let (_, moved) = patch(&fixture, &again, &json!({ "environment": "production" }));
    assert_eq!(moved["ended_defaults"]["defaults"][0]["environment"], "test", "{moved}");
    assert_ne!(chosen(&fixture, &of("test")).0, again.to_string());
}

#[test]
fn who_changes_a_default_sees_which_workflows_it_moves() {
    let fixture = Fixture::new();
    let (old, new) = (shared(&fixture, "old"), shared(&fixture, "new"));
    let context = fixture.world.context();
    for (path, body) in [
        ("/v1/resolve".to_owned(), json!({ "app": "acme", "workflow": "by default", "step": "s" })),
        (format!("/v1/connections/{old}/resolve"), json!({ "workflow": "by id" })),
    ] {
        let mut request = crate::http::request(Method::Post, &path, body.to_string().into_bytes());
        request.headers.push(("authorization".into(), format!("Bearer {}", first_key(&fixture))));
        fixture.world.run(async {
            let answer = connections::http::handle(&context, &request).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            for task in answer.deferred {
                connections::resolve::deferred::run(&context, task).await;
            }
        });
    }
    let (_, uses) =
        call(&fixture, &first_key(&fixture), Method::Get, &format!("/v1/connections/{old}/uses"), &Value::Null);
    let by: Vec<_> = uses["data"].as_array().unwrap().iter().map(|one| (&one["workflow"], &one["chosen_by"])).collect();
    assert_eq!(by, [(&json!("by default"), &json!("default")), (&json!("by id"), &json!("id"))]);
    let (_, same) = put_default(&fixture, &json!({ "connection": old }));
    assert_eq!(same["moved_workflows"], json!([]));
    let (_, changed) = put_default(&fixture, &json!({ "connection": new }));
    assert_eq!(changed, json!({ "connection": new, "before": old, "moved_workflows": ["by default"] }));
    put_default(&fixture, &json!({ "connection": old }));
    let (_, gone) =
        call(&fixture, &first_key(&fixture), Method::Delete, &format!("/v1/connections/{old}"), &Value::Null);
    assert_eq!(gone["ended_defaults"]["moved_workflows"], json!(["by default"]), "{gone}");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM app_defaults"), 0);
    assert_eq!(chosen(&fixture, &acme()), (new.to_string(), "only".into()));
    let events = "SELECT count(*) FROM events WHERE type = 'default_changed'";
    assert_eq!(fixture.world.db.query_number(events), 4, "by itself, to the new, back, ended");
}

#[test]
fn a_default_that_needs_a_person_comes_first_and_is_not_passed_over() {
    let fixture = Fixture::new();
    let (broken, other) = (shared(&fixture, "one"), private(&fixture, "two", "aaa"));
    put_default(&fixture, &json!({ "connection": other, "user": "aaa" }));
    fixture.world.acme.withdraw_grants("one");
    fixture.expire_access_token(&broken);
    let (status, answer) = resolve(&fixture, &acme());
    assert_eq!((status, &answer["code"]), (409, &json!("needs_reconnect")), "{answer}");
    let key = first_key(&fixture);
    let (_, list) = call(&fixture, &key, Method::Get, "/v1/defaults?limit=1", &Value::Null);
    assert_eq!(
        (&list["data"][0]["connection"], &list["data"][0]["status"]),
        (&json!(broken), &json!("needs_reconnect"))
    );
    let cursor = list["next_cursor"].as_str().unwrap();
    let cursor: String = url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
    let (_, rest) = call(&fixture, &key, Method::Get, &format!("/v1/defaults?limit=1&cursor={cursor}"), &Value::Null);
    assert_eq!((&rest["data"][0]["connection"], &rest["next_cursor"]), (&json!(other), &Value::Null));
    let (_, found) = call(&fixture, &key, Method::Get, "/v1/connections?attention=default_unusable", &Value::Null);
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
    assert_eq!(found["data"][0]["attention"][0]["code"], "default_unusable");
    let mut browser = TestBrowser::new(&fixture);
    browser.sign_in_as(&json!({ "user": { "id": "eve" } }));
    let page = browser.get("/").body;
    assert!(page.contains("default connection"), "{page}");
}

#[test]
fn a_limited_key_resolves_by_app_only_what_exists_for_it() {
    let fixture = Fixture::new();
    let live = connect(&fixture, "live", None, in_environment(Environment::Production));
    let test = connect(&fixture, "test", None, in_environment(Environment::Test));
    let more = shared(&fixture, "more");
    let key = |change: &dyn Fn(&mut ApiKey)| {
        make_key(&fixture, |key| {
            key.scopes = vec![KeyScope::Resolve];
            change(key);
        })
    };
    let for_test = key(&|key| key.environment = Some(Environment::Test));
    assert_eq!(chosen_as(&fixture, &for_test, &acme()), (test.to_string(), "default".into()));
    let production = json!({ "app": "acme", "environment": "production" });
    assert_eq!(chosen_as(&fixture, &for_test, &production).0, "no_default_connection");
    let listed = key(&|key| key.connections = Some(vec![more.clone()]));
    assert_eq!(chosen_as(&fixture, &listed, &acme()), (more.to_string(), "only".into()));
    let two = key(&|key| key.connections = Some(vec![test.clone(), more.clone()]));
    let (status, answer) = call(&fixture, &two, Method::Post, "/v1/resolve", &acme());
    assert_eq!((status, &answer["code"]), (409, &json!("ambiguous_connection")));
    assert!(!answer.to_string().contains(live.as_str()), "{answer}");
    let other_app = key(&|key| key.apps = Some(vec![AppId::parse("slack").unwrap()]));
    assert_eq!(chosen_as(&fixture, &other_app, &acme()).0, "not_found");
    let reader = make_key(&fixture, |key| key.scopes = vec![KeyScope::ConnectionsRead]);
    assert_eq!(chosen_as(&fixture, &reader, &acme()).0, "insufficient_key_scope");
    // Policy holds as for a resolve by id.
    patch(&fixture, &live, &json!({ "allowed_workflows": ["billing"] }));
    assert_eq!(chosen(&fixture, &acme()).0, "workflow_not_allowed");
    assert_eq!(chosen(&fixture, &json!({ "app": "acme", "workflow": "billing" })).0, live.to_string());
    let expected = json!({ "app": "acme", "workflow": "billing", "expect": { "connection": more } });
    assert_eq!(chosen(&fixture, &expected).0, "unexpected_connection");
}

#[test]
fn outside_its_environment_a_connection_does_not_exist_for_a_key() {
    let fixture = Fixture::new();
    let live = connect(&fixture, "live", None, in_environment(Environment::Production));
    let test = connect(&fixture, "test", None, in_environment(Environment::Test));
    let (status, made) = post(&fixture, "/v1/keys", &json!({ "name": "t", "scopes": ["*"], "environment": "test" }));
    assert_eq!((status, &made["environment"]), (201, &json!("test")), "{made}");
    let key = made["key"].as_str().unwrap();
    let ask = |method, path: &str, body: &Value| call(&fixture, key, method, path, body);
    let (_, list) = ask(Method::Get, "/v1/connections", &Value::Null);
    assert_eq!((list["data"].as_array().unwrap().len(), &list["data"][0]["id"]), (1, &json!(test)));
    let (_, defaults) = ask(Method::Get, "/v1/defaults", &Value::Null);
    assert!(!defaults.to_string().contains(live.as_str()), "{defaults}");
    for (method, path, body) in [
        (Method::Get, format!("/v1/connections/{live}"), Value::Null),
        (Method::Patch, format!("/v1/connections/{live}"), json!({ "name": "x" })),
        (Method::Post, format!("/v1/connections/{live}/resolve"), json!({})),
        (Method::Post, format!("/v1/connections/{live}/resolve"), json!({ "consistency": "edge" })),
        (
            Method::Post,
            format!("/v1/connections/{live}/report"),
            json!({ "status": 401, "credential_version": "v1.1" }),
        ),
        (Method::Post, format!("/v1/connections/{live}/check"), Value::Null),
        (Method::Post, "/v1/links".into(), json!({ "connection": live })),
        (Method::Delete, format!("/v1/connections/{live}"), Value::Null),
    ] {
        assert_eq!(ask(method, &path, &body).0, 404, "{path}");
    }
    assert_eq!(ask(Method::Post, &format!("/v1/connections/{test}/resolve"), &json!({})).0, 200);
    let (status, _) = ask(Method::Patch, &format!("/v1/connections/{test}"), &json!({ "environment": "production" }));
    assert_eq!(status, 403, "it cannot move a connection out of its environment");
    assert_eq!(ask(Method::Put, "/v1/apps/acme/default", &json!({ "connection": test })).0, 403);
    for environment in [json!("production"), Value::Null] {
        let wider = json!({ "name": "w", "scopes": ["resolve"], "environment": environment });
        assert_eq!(ask(Method::Post, "/v1/keys", &wider).0, 403);
    }
    // A link is seen only if all that it names is of the environment, also after a connection moved.
    let (status, link) = ask(Method::Post, "/v1/links", &json!({ "connection": test }));
    assert_eq!(status, 201, "{link}");
    let link = format!("/v1/links/{}", link["id"].as_str().unwrap());
    assert_eq!(ask(Method::Get, &link, &Value::Null).0, 200);
    patch(&fixture, &test, &json!({ "environment": "production" }));
    assert_eq!(ask(Method::Get, &link, &Value::Null).0, 404);
    assert_eq!(ask(Method::Get, "/v1/links", &Value::Null).1["data"], json!([]));
}

#[test]
fn the_cache_answers_a_key_only_in_its_environment() {
    let fixture = Fixture::new();
    let live = connect(&fixture, "live", None, in_environment(Environment::Production));
    let path = format!("/v1/connections/{live}/resolve");
    let key = make_key(&fixture, |key| key.environment = Some(Environment::Test));
    for _ in 0..2 {
        assert_eq!(
            fixture
                .resolve_and_finish(
                    &live,
                    ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() }
                )
                .map(drop),
            Ok(())
        );
        assert_eq!(call(&fixture, &key, Method::Post, &path, &json!({ "consistency": "edge" })).0, 404);
    }
}

#[test]
fn a_test_key_of_an_app_that_tells_sets_the_environment_by_itself() {
    let fixture = Fixture::new();
    let create = |key: &str, more: Value| {
        let mut body = json!({ "app": "stripe", "credential": { "type": "api_key", "api_key": key }, "check": false });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        post(&fixture, "/v1/connections", &body)
    };
    let (status, made) = create("rk_test_0123456789abcdef", json!({}));
    assert_eq!((status, &made["environment"]), (201, &json!("test")), "{made}");
    let (_, live) = create("rk_live_0123456789abcdef", json!({ "environment": "production" }));
    assert_eq!(live["environment"], "production", "{live}");
    let (status, refused) = create("sk_test_0123456789abcdef", json!({ "environment": "production" }));
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("credential.api_key")), "{refused}");
    assert!(!refused.to_string().contains("sk_test_0123"), "{refused}");
    // The credential of the other environment never takes its place.
    let path = format!("/v1/connections/{}/credential", made["id"].as_str().unwrap());
    let other = json!({ "credential": { "type": "api_key", "api_key": "rk_live_0123456789abcdef" }, "check": false, "switch_account": true });
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Put, &path, &other).0, 422);
    let (status, plain) = post(
        &fixture,
        "/v1/connections",
        &json!({ "app": "telegram", "credential": { "type": "bot_token", "token": format!("123456789:{}", "a".repeat(35)) }, "check": false }),
    );
    assert_eq!((status, &plain["environment"]), (201, &Value::Null));
}

#[test]
fn owner_and_sharing_decide_who_sees_a_connection() {
    let fixture = Fixture::new();
    let anns = private(&fixture, "ann", "ann");
    let page = format!("/connections/{anns}");
    let sees = |user: &str, role: &str| {
        let mut browser = TestBrowser::new(&fixture);
        browser.sign_in_as(&json!({ "user": { "id": user }, "role": role }));
        (browser.get(&page).status, browser.get("/").body.contains(&page))
    };
    let (yes, no) = ((200, true), (404, false));
    assert_eq!((sees("ann", "member"), sees("bob", "member"), sees("eve", "admin")), (yes, no, yes));
    let (_, answer) = patch(&fixture, &anns, &json!({ "shared": true }));
    assert_eq!((&answer["shared"], &answer["owner"]["id"]), (&json!(true), &json!("ann")), "{answer}");
    assert_eq!((sees("ann", "member"), sees("bob", "member")), (yes, yes));
    assert_eq!(chosen(&fixture, &acme()), (anns.to_string(), "default".into()), "the first that is shared");
    // Nobody but its owner and admins changes it.
    let mut browser = TestBrowser::new(&fixture);
    browser.sign_in_as(&json!({ "user": { "id": "bob" } }));
    assert_eq!(browser.post(&page, &format!("{page}/rename"), "name=x").status, 403);
    let (_, ended) = patch(&fixture, &anns, &json!({ "shared": false }));
    assert_eq!(ended["ended_defaults"]["defaults"][0]["app"], "acme", "{ended}");
    assert_eq!((sees("bob", "member"), chosen(&fixture, &acme()).0), (no, "no_default_connection".to_owned()));
    let (status, refused) = patch(&fixture, &anns, &json!({ "owner": null }));
    assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("owner")), "{refused}");
    let (_, moved) = patch(&fixture, &anns, &json!({ "owner": { "id": "bob" } }));
    assert_eq!((&moved["owner"]["id"], &moved["user"]["id"]), (&json!("bob"), &json!("bob")));
    assert_eq!((sees("ann", "member"), sees("bob", "member")), (no, yes));
    let (_, given) = patch(&fixture, &anns, &json!({ "owner": null, "shared": true }));
    assert_eq!((&given["owner"], &given["shared"]), (&Value::Null, &json!(true)));
    assert_eq!(patch(&fixture, &anns, &json!({ "shared": false })).0, 422);
    // Without an owner and not shared: admins alone.
    fixture.world.db.tamper(&format!("UPDATE connections SET is_shared = 0 WHERE id = '{anns}'"));
    assert_eq!((sees("ann", "member"), sees("eve", "admin")), (no, yes));
    assert_eq!(post(&fixture, "/v1/links", &json!({ "app": "acme", "shared": false })).0, 422);
}

#[test]
fn a_link_gives_environment_and_sharing_and_is_no_default_before_it_is_confirmed() {
    let fixture = Fixture::new();
    let body =
        json!({ "app": "acme", "user": { "id": "ann" }, "environment": "test", "shared": true, "confirm": true });
    let (_, link) = post(&fixture, "/v1/links", &body);
    let mut browser = TestBrowser::new(&fixture);
    let pressed = browser.press(&crate::http::link_path(&link));
    browser.complete_consent(&pressed, "ann");
    assert_eq!(chosen(&fixture, &acme()).0, "no_default_connection", "it waits for confirmation");
    let path = format!("/v1/links/{}/confirm", link["id"].as_str().unwrap());
    let (status, confirmed) = post(&fixture, &path, &json!({ "user": { "id": "ann" } }));
    assert_eq!((status, &confirmed["environment"]), (200, &json!("test")), "{confirmed}");
    let (id, by) = chosen(&fixture, &json!({ "app": "acme", "environment": "test" }));
    assert_eq!((Some(id.as_str()), by.as_str()), (confirmed["connection"].as_str(), "default"));
}

#[test]
fn a_resolve_by_app_costs_one_statement_however_many_connections_there_are() {
    let fixture = Fixture::new();
    let default = shared(&fixture, "all");
    let mine = private(&fixture, "ann", "ann");
    let only = connect(&fixture, "solo", Some("solo"), in_environment(Environment::Test));
    let steps = || {
        let cost = |body: Value| {
            fixture.world.db.reset_counts();
            assert_eq!(resolve(&fixture, &body).0, 200, "{body}");
            // The key ring is checked by each instance once.
            let db = &fixture.world.db;
            let of_ring = db.statements_run.borrow().iter().filter(|sql| sql.contains("encryption_key_checks")).count();
            assert_eq!(db.round_trips.get() - of_ring as u64, 1, "{:?}", db.statements_run.borrow());
            db.vm_steps.get()
        };
        [
            cost(json!({ "app": "acme", "workflow": "w", "step": "s" })),
            cost(json!({ "app": "acme", "user": "ann", "workflow": "w" })),
            cost(json!({ "app": "acme", "user": "solo", "environment": "test" })),
        ]
    };
    put_default(&fixture, &json!({ "connection": mine, "user": "ann" }));
    let before = steps();
    let columns = fixture.world.db.query_value("SELECT group_concat(name, ', ') FROM pragma_table_info('connections')");
    let columns = columns.as_str().unwrap();
    for (of, user) in [(&default, "NULL"), (&mine, "'ann'"), (&mine, "'u' || n.number")] {
        let values = columns.split(", ").map(|column| match column {
            "id" => format!("substr('con_00{of}' || printf('%04d', n.number) || {}, -28) || ''", user.len()),
            "user_id" => user.to_owned(),
            column => format!("c.{column}"),
        });
        let values: Vec<_> = values.collect();
        let values = values
            .join(", ")
            .replace(&values[0], &format!("'con_00' || printf('%018d', n.number) || '{:04}'", user.len()));
        fixture.world.db.tamper(&format!(
            "WITH RECURSIVE n(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < 500)
            INSERT INTO connections ({columns}) SELECT {values} FROM n, connections c WHERE c.id = '{of}'"
        ));
    }
    for (before, after) in before.into_iter().zip(steps()) {
        assert!(after <= before + before / 20, "{before} operations, then {after}");
    }
    assert_eq!(chosen(&fixture, &json!({ "app": "acme", "user": "solo", "environment": "test" })).0, only.to_string());
    // A refusal, too, reads a bounded number of rows.
    fixture.world.db.tamper("DELETE FROM app_defaults");
    fixture.world.db.reset_counts();
    assert_eq!(chosen(&fixture, &acme()).0, "ambiguous_connection");
    assert!(fixture.world.db.vm_steps.get() < 10_000, "{}", fixture.world.db.vm_steps.get());
}

#[test]
fn a_batch_costs_one_statement_and_one_bad_item_spoils_no_other() {
    let fixture = Fixture::new();
    let (one, two) = (shared(&fixture, "one"), private(&fixture, "two", "ann"));
    let strange = shared(&fixture.other_workspace(), "zoe");
    let items = json!({ "user": "ann", "workflow": "w", "items": [
        { "connection": one }, { "app": "acme" }, { "connection": strange }, { "app": "slack" }, { "app": "none-such" },
        { "connection": two, "expect": { "account": "somebody" } }, { "connection": two, "min_ttl": -1 },
        { "connection": one, "environment": "test" }, { "connection": two, "step": "s" },
    ] });
    fixture.world.db.reset_counts();
    let (status, answer) = post(&fixture, "/v1/resolve/batch", &items);
    assert_eq!(status, 200, "{answer}");
    let told: Vec<_> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| match one["ok"]["connection"]["id"].as_str() {
            Some(id) => id.to_owned(),
            None => one["problem"]["code"].as_str().unwrap().to_owned(),
        })
        .collect();
    let (one, two) = (one.to_string(), two.to_string());
    let expected = [
        &one,
        &one,
        "connection_not_found",
        "no_default_connection",
        "not_found",
        "unexpected_connection",
        "invalid_request",
        "unexpected_connection",
        &two,
    ];
    assert_eq!(told, expected);
    let reads = fixture.world.db.statements_run.borrow().iter().filter(|sql| sql.contains("json_each(?2) j")).count();
    assert_eq!(reads, 2, "one for all, and one for candidates");
    for (body, field) in [
        (json!({ "items": [] }), "items"),
        (json!({ "items": vec![json!({ "app": "acme" }); 21] }), "items"),
        (json!({ "items": [{}] }), "items[0]"),
        (json!({ "items": [{ "app": "acme", "connection": one }] }), "items[0]"),
        (json!({ "items": [{ "connection": one, "user": "ann" }] }), "items[0].user"),
        (json!({ "items": [{ "app": "acme", "nonsense": 1 }] }), "items[0].nonsense"),
    ] {
        let (status, answer) = post(&fixture, "/v1/resolve/batch", &body);
        assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!(field)), "{answer}");
    }
    let (status, answer) = resolve(&fixture, &json!({ "app": "acme", "consistency": "edge" }));
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("consistency")));
    let wrong = "cx_0000000000000000_nonsense";
    for path in ["/v1/resolve", "/v1/resolve/batch"] {
        assert_eq!(call(&fixture, wrong, Method::Post, path, &json!({ "nonsense": 1 })).0, 401);
    }
}

#[test]
fn twenty_refreshes_of_a_batch_stay_within_the_free_plan() {
    for (mode, most) in [(RefreshMode::Object, 20), (RefreshMode::Direct, 6)] {
        let fixture = Fixture::in_world(&World::new(mode, None), &json!({}));
        let all: Vec<_> = (0..20).map(|at| private(&fixture, &format!("a{at}"), "ann")).collect();
        fixture.expire_access_token(&all[0]);
        let items: Vec<_> = all.iter().map(|id| json!({ "connection": id, "workflow": "w" })).collect();
        let before = fixture.world.acme.count_requests("/token");
        let (status, answer) = post(&fixture, "/v1/resolve/batch", &json!({ "items": items }));
        assert_eq!(status, 200);
        let fresh = |one: &&Value| one["ok"]["freshness"] == "refreshed";
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.iter().filter(fresh).count(), most, "{answer}");
        let later =
            |one: &&Value| one["problem"]["code"] == "refresh_in_progress" && one["problem"]["retry_after"] == 1;
        assert_eq!(results.iter().filter(later).count(), 20 - most, "{answer}");
        assert_eq!(fixture.world.acme.count_requests("/token") - before, most);
        // The same connection twice is refreshed once.
        fixture.expire_access_token(&all[0]);
        let before = fixture.world.acme.count_requests("/token");
        let twice = json!({ "items": [{ "connection": all[0] }, { "connection": all[0] }] });
        let (_, answer) = post(&fixture, "/v1/resolve/batch", &twice);
        assert!(answer["results"].as_array().unwrap().iter().all(|one| fresh(&one)), "{answer}");
        assert_eq!(fixture.world.acme.count_requests("/token") - before, 1);
    }
}

// ---- reports ----

fn report(fixture: &Fixture, id: &ConnectionId, status: u16, version: &Value) -> (u16, Value) {
    let body = json!({ "status": status, "credential_version": version });
    post(fixture, &format!("/v1/connections/{id}/report"), &body)
}

#[test]
fn a_report_of_401_refreshes_once_in_thirty_seconds_whoever_reports() {
    let fixture = Fixture::new();
    let id = shared(&fixture, "ann");
    fixture.world.advance_clock(100);
    let (_, first) = resolve(&fixture, &acme());
    let (count, version) = (|| fixture.world.acme.count_all_requests(), &first["credential_version"]);
    let before = count();
    let (status, answer) = report(&fixture, &id, 401, version);
    assert_eq!(status, 200, "{answer}");
    assert_ne!(&answer["credential_version"], version);
    assert_ne!(answer["credential"]["access_token"], first["credential"]["access_token"]);
    assert_eq!(count() - before, 1);
    // An outdated version, and the new one too soon, in other instances of the program.
    for version in [version, &answer["credential_version"], &json!("v9.9"), &json!("nonsense")] {
        let (status, again) = report(&fixture, &id, 401, version);
        assert_eq!((status, &again["credential_version"]), (200, &answer["credential_version"]));
    }
    assert_eq!(count() - before, 1);
    // A caller that never stops costs the app one request in half a minute.
    let (mut version, began) = (answer["credential_version"].clone(), count());
    for _ in 0..120 {
        fixture.world.advance_clock(5);
        let (_, answer) = report(&fixture, &id, 401, &version);
        version = answer["credential_version"].clone();
    }
    assert!(count() - began <= 20, "{} requests in ten minutes", count() - began);
}

#[test]
fn reports_at_the_same_moment_cause_one_refresh() {
    for mode in [RefreshMode::Direct, RefreshMode::Object] {
        let fixture = Fixture::in_world(&World::new(mode, None), &json!({}));
        let id = shared(&fixture, "ann");
        fixture.world.advance_clock(100);
        let version = resolve(&fixture, &acme()).1["credential_version"].clone();
        let before = fixture.world.acme.count_all_requests();
        let calls = (0..20).map(|_| {
            let (context, key) = (fixture.world.context(), first_key(&fixture));
            let body = json!({ "status": 401, "credential_version": version }).to_string().into_bytes();
            let mut request = crate::http::request(Method::Post, &format!("/v1/connections/{id}/report"), body);
            request.headers.push(("authorization".into(), format!("Bearer {key}")));
            async move { connections::http::handle(&context, &request).await.status }
        });
        let answers = fixture.world.run_concurrently(calls);
        assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
        assert_eq!(fixture.world.acme.count_all_requests() - before, 1);
    }
}

#[test]
fn a_report_of_403_checks_and_refreshes_nothing() {
    let fixture = Fixture::new();
    let id = shared(&fixture, "ann");
    fixture.world.advance_clock(100);
    let version = resolve(&fixture, &acme()).1["credential_version"].clone();
    let (tokens, checks) = (fixture.world.acme.count_requests("/token"), fixture.world.acme.count_requests("/me"));
    let (status, answer) = report(&fixture, &id, 403, &version);
    assert_eq!((status, &answer["credential_version"]), (200, &version));
    report(&fixture, &id, 403, &version);
    assert_eq!(fixture.world.acme.count_requests("/token"), tokens);
    assert_eq!(fixture.world.acme.count_requests("/me"), checks + 1);
    let (status, answer) = report(&fixture, &id, 500, &version);
    assert_eq!((status, &answer["errors"][0]["field"]), (422, &json!("status")));
}

#[test]
fn a_report_about_what_cannot_be_refreshed_is_checked_and_the_app_decides() {
    let usual = crate::support::fixture::acme_definition()["auth"].clone();
    let check = json!({ "url": "https://acme.example/me" });
    let fixture = Fixture::with_definition(&json!({ "auth": [usual, { "type": "api_key" }], "check": check }));
    fixture.world.acme.api_keys.borrow_mut().insert("good".into(), "ann".into());
    let body = json!({ "app": "acme", "credential": { "type": "api_key", "api_key": "good" } });
    let (status, made) = post(&fixture, "/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    let id = ConnectionId::parse(made["id"].as_str().unwrap()).unwrap();
    fixture.world.advance_clock(100);
    let version = resolve(&fixture, &acme()).1["credential_version"].clone();
    let before = fixture.world.acme.count_all_requests();
    assert_eq!(report(&fixture, &id, 401, &version).0, 200, "the app still accepts it");
    assert_eq!(fixture.world.acme.count_all_requests() - before, 1);
    fixture.world.acme.script_always("/me", Some(Reply::status(401, "{}")));
    fixture.world.advance_clock(31);
    let (status, answer) = report(&fixture, &id, 401, &version);
    assert_eq!((status, &answer["code"]), (409, &json!("needs_reconnect")), "{answer}");
    // Nothing more is asked of the app.
    let before = fixture.world.acme.count_all_requests();
    fixture.world.advance_clock(31);
    assert_eq!(report(&fixture, &id, 401, &version).0, 409);
    assert_eq!(fixture.world.acme.count_all_requests(), before);
}

#[test]
fn a_report_is_for_those_who_may_resolve_the_connection() {
    let fixture = Fixture::new();
    let id = shared(&fixture, "ann");
    patch(&fixture, &id, &json!({ "allowed_workflows": ["billing"] }));
    let before = fixture.world.acme.count_all_requests();
    assert_eq!(report(&fixture, &id, 401, &json!("v1.1")).1["code"], "workflow_not_allowed");
    let path = format!("/v1/connections/{id}/report");
    let body = json!({ "status": 401, "credential_version": "v1.1", "workflow": "billing" });
    let reader = make_key(&fixture, |key| key.scopes = vec![KeyScope::ConnectionsWrite]);
    assert_eq!(call(&fixture, &reader, Method::Post, &path, &body).0, 403);
    let stranger = fixture.other_workspace();
    assert_eq!(call(&fixture, &first_key(&stranger), Method::Post, &path, &body).0, 404);
    assert_eq!(fixture.world.acme.count_all_requests(), before);
    assert_eq!(post(&fixture, &path, &body).0, 200);
}
