//! The audit log: who did what, from where, also to what is gone; exports; reads; refused authentication.

use connections::audit::EventType;
use connections::caller::KeyScope;
use connections::http::{self, Method, Response};
use connections::ids::ConnectionId;
use connections::resolve::deferred;
use connections::resolve::{Consistency, ResolveRequest};
use connections::store::events::MOST_EXAMINED;
use serde_json::{Value, json};

use crate::contract::assert_described;
use crate::http::{TestBrowser, call, first_key, make_key, request};
use crate::support::Fixture;

const ADMIN_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

/// Everything that the audit log answers to a query.
fn events(fixture: &Fixture, key: &str, query: &str) -> Vec<Value> {
    let (status, page) = call(fixture, key, Method::Get, &format!("/v1/events{query}"), &Value::Null);
    assert_eq!(status, 200, "{page}");
    page["data"].as_array().unwrap().clone()
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// A call with its work after the answer.
fn send(
    fixture: &Fixture,
    key: &str,
    method: Method,
    address: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Response {
    let mut request = request(method, address, if body.is_null() { vec![] } else { body.to_string().into_bytes() });
    request.headers.push(("authorization".into(), format!("Bearer {key}")));
    request.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let context = fixture.world.context();
    fixture.world.run(async {
        let mut response = http::handle(&context, &request).await;
        for task in std::mem::take(&mut response.deferred) {
            deferred::run(&context, task).await;
        }
        response
    })
}

#[test]
fn every_change_is_in_the_log_with_who_made_it() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let made = |path: &str, body: &Value| {
        let (status, made) = call(&fixture, &key, Method::Post, path, body);
        assert!(status < 300, "{path}: {made}");
        made
    };
    let change = |method: Method, path: &str, body: &Value| {
        let (status, answer) = call(&fixture, &key, method, path, body);
        assert_eq!(status, 200, "{path}: {answer}");
    };
    let id = |made: &Value| made["id"].as_str().unwrap().to_owned();
    let of = |what: EventType| {
        let found = events(&fixture, &key, &format!("?type={}", what.as_str()));
        assert!(!found.is_empty(), "{what:?}");
        found[0].clone()
    };
    let own = fixture.key.id.to_string();

    let child = id(&made("/v1/keys", &json!({ "name": "child", "scopes": ["resolve"] })));
    let event = of(EventType::KeyCreated);
    assert_eq!(
        (event["target"].as_str(), event["actor"].as_str()),
        (Some(child.as_str()), Some(&*format!("key:{own}")))
    );
    assert_eq!(event["actor_name"], fixture.key.name);
    assert_eq!(event["detail"], "child (resolve)");
    assert_eq!(event["connection"], Value::Null);
    made(&format!("/v1/keys/{child}/rotate"), &json!({}));
    assert_eq!(of(EventType::KeyRotated)["target"], child.as_str());
    change(Method::Delete, &format!("/v1/keys/{child}"), &Value::Null);
    assert_eq!(of(EventType::KeyRevoked)["target"], child.as_str());

    change(Method::Patch, "/v1/workspace", &json!({ "allowed_origins": ["https://a.example"] }));
    assert_eq!(of(EventType::WorkspaceChanged)["detail"], "allowed_origins: https://a.example");

    let definition = |name: &str| json!({ "id": "other", "name": name, "auth": { "type": "oauth2", "issuer": "https://other.example" }, "scopes": ["openid"] });
    made("/v1/apps", &definition("Other"));
    assert_eq!(of(EventType::AppCreated)["app"], "other");
    change(Method::Put, "/v1/apps/other", &definition("Another"));
    assert_eq!(of(EventType::AppChanged)["detail"], "revision 2");
    change(Method::Delete, "/v1/apps/other", &Value::Null);
    assert_eq!(of(EventType::AppDeleted)["app"], "other");

    let client = json!({ "client_id": "c2", "client_secret": "hunter2-canary" });
    change(Method::Put, "/v1/apps/slack/client", &client);
    assert_eq!(of(EventType::ClientChanged)["detail"], "c2");
    change(Method::Delete, "/v1/apps/slack/client", &Value::Null);
    assert_eq!(of(EventType::ClientDeleted)["app"], "slack");

    let link = id(&made("/v1/links", &json!({ "app": "acme", "user": { "id": "ann" } })));
    assert_eq!(of(EventType::LinkCreated)["target"], link.as_str());
    change(Method::Delete, &format!("/v1/links/{link}"), &Value::Null);
    assert_eq!(of(EventType::LinkEnded)["detail"], "for ann");

    let sign_in = id(&made("/v1/sign-in-links", &json!({ "user": { "id": "ann" } })));
    assert_eq!(of(EventType::SignInLinkCreated)["detail"], "ann as member");
    change(Method::Delete, &format!("/v1/sign-in-links/{sign_in}"), &Value::Null);
    assert_eq!(of(EventType::SignInLinkDeleted)["target"], sign_in.as_str());

    TestBrowser::new(&fixture).sign_in();
    let signed_in = of(EventType::SignedIn);
    assert!(signed_in["actor"].as_str().unwrap().starts_with("user:"), "{signed_in}");
    let session = signed_in["target"].as_str().unwrap();
    change(Method::Delete, &format!("/v1/sessions/{session}"), &Value::Null);
    assert_eq!(of(EventType::SessionEnded)["target"], session);

    let connection = fixture.connect("ann");
    assert_eq!(of(EventType::Connected)["connection"], connection.as_str());
    change(Method::Patch, &format!("/v1/connections/{connection}"), &json!({ "name": "Renamed" }));
    assert_eq!(of(EventType::Edited)["connection_name"], "Renamed");
    change(Method::Delete, &format!("/v1/connections/{connection}"), &Value::Null);
    let gone = of(EventType::Disconnected);
    assert_eq!((gone["connection_name"].as_str(), gone["app"].as_str()), (Some("Renamed"), Some("acme")));
    assert_eq!(gone["detail"], "confirmed", "what became of the grant is added");

    let all = events(&fixture, &key, "?limit=200");
    assert!(!json!(all).to_string().contains("canary"), "no secret is in the log");
    let actor = format!("?actor=key:{own}");
    assert_eq!(
        events(&fixture, &key, &actor).len(),
        all.iter().filter(|one| one["actor"] == format!("key:{own}")).count()
    );
    let of_connection = events(&fixture, &key, &format!("?connection={connection}"));
    assert_eq!(types(&of_connection), ["disconnected", "edited", "connected"], "also those of one that is gone");
    assert_eq!(types(&events(&fixture, &key, "?app=slack")), ["client_deleted", "client_changed"]);
}

#[test]
fn a_workspace_begins_with_the_operator() {
    let fixture = Fixture::new();
    let (status, made) = call(&fixture, ADMIN_KEY, Method::Post, "/v1/workspaces", &json!({ "name": "New" }));
    assert_eq!(status, 201);
    let log = events(&fixture, made["key"]["key"].as_str().unwrap(), "");
    assert_eq!(types(&log), ["workspace_created"]);
    assert_eq!((log[0]["actor"].as_str(), log[0]["detail"].as_str()), (Some("operator"), Some("New")));
}

#[test]
fn an_event_says_where_the_request_came_from() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let agent = format!("curl/8 \u{7}{}", "x".repeat(500));
    let headers = [("cf-connecting-ip", "2001:db8:1:2:3:4:5:6"), ("user-agent", agent.as_str())];
    let body = json!({ "name": "child", "scopes": ["resolve"] });
    assert_eq!(send(&fixture, &key, Method::Post, "/v1/keys", &headers, &body).status, 201);
    let event = &events(&fixture, &key, "?type=key_created")[0];
    assert_eq!(event["address"], "2001:db8:1:2::");
    let kept = event["user_agent"].as_str().unwrap();
    assert!(kept.starts_with("curl/8 xxx") && kept.len() == 200, "{kept}");
    assert_eq!(event["request_id"], "r");
}

#[test]
fn an_event_and_its_change_are_one_transaction() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    fixture.world.db.tamper("CREATE TRIGGER no_events BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END");
    let changes = [
        (Method::Post, "/v1/keys", json!({ "name": "child", "scopes": ["resolve"] })),
        (Method::Patch, "/v1/workspace", json!({ "name": "Changed" })),
        (Method::Post, "/v1/links", json!({ "app": "acme" })),
        (Method::Post, "/v1/sign-in-links", json!({ "user": { "id": "ann" } })),
        (Method::Put, "/v1/apps/slack/client", json!({ "client_id": "c", "client_secret": "s" })),
    ];
    for (method, path, body) in &changes {
        let (status, answer) = call(&fixture, &key, *method, path, body);
        assert!(status >= 400, "{path}: {answer}");
    }
    for (table, rows) in [("api_keys", 1), ("connect_links", 0), ("sign_in_links", 0)] {
        assert_eq!(fixture.world.db.query_number(&format!("SELECT count(*) FROM {table}")), rows, "{table}");
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM workspaces WHERE name = 'Changed'"), 0);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM oauth_clients WHERE registration = 'slack'"), 0);
}

#[test]
fn a_change_that_does_not_happen_has_no_event() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let link = call(&fixture, &key, Method::Post, "/v1/links", &json!({ "app": "acme" })).1;
    let path = format!("/v1/links/{}", link["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(call(&fixture, &key, Method::Delete, &path, &Value::Null).0, 200);
    }
    assert_eq!(events(&fixture, &key, "?type=link_ended").len(), 1, "the second one ended nothing");
}

#[test]
fn a_limited_key_sees_the_events_of_its_own_connections_alone() {
    let fixture = Fixture::new();
    let [ann, bob] = ["ann", "bob"].map(|who| fixture.connect(who));
    let of = |connection: &ConnectionId| {
        let connection = connection.clone();
        make_key(&fixture, move |key| {
            key.scopes = vec![KeyScope::Events];
            key.connections = Some(vec![connection]);
        })
    };
    let seen = events(&fixture, &of(&ann), "");
    assert!(!seen.is_empty() && seen.iter().all(|event| event["connection"] == ann.as_str()), "{seen:?}");
    assert_eq!(events(&fixture, &of(&ann), &format!("?connection={bob}")), [] as [Value; 0]);
    let apps = make_key(&fixture, |key| {
        key.scopes = vec![KeyScope::Events];
        key.apps = Some(vec![fixture.app.clone()]);
    });
    let seen = events(&fixture, &apps, "?limit=200");
    assert!(seen.len() >= 2 && seen.iter().all(|event| !event["connection"].is_null()), "{seen:?}");
    let (status, _) = call(
        &fixture,
        &make_key(&fixture, |key| key.scopes = vec![KeyScope::Keys]),
        Method::Get,
        "/v1/events",
        &Value::Null,
    );
    assert_eq!(status, 403);
}

#[test]
fn another_workspace_has_its_own_log() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    let (_, made) = call(&fixture, ADMIN_KEY, Method::Post, "/v1/workspaces", &json!({ "name": "Other" }));
    let other = made["key"]["key"].as_str().unwrap();
    for query in [format!("?connection={ann}"), "?type=connected".into(), "?app=acme".into()] {
        assert_eq!(events(&fixture, other, &query), [] as [Value; 0], "{query}");
    }
}

/// Inserts so many events, the oldest first. Each `nth` is of another type.
fn fill(fixture: &Fixture, number: i64, nth: i64) {
    fixture.world.db.tamper(&format!(
        "WITH RECURSIVE n(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < {number})
        INSERT INTO events (workspace_id, connection_id, occurred_at, id, type, actor, detail, app)
        SELECT '{}', '', 1000000 + number / 3, 'evt_00' || printf('%022d', number),
          CASE WHEN number % {nth} = 0 THEN 'key_revoked' ELSE 'edited' END, 'operator', '=' || number, 'acme' FROM n",
        fixture.workspace
    ));
}

#[test]
fn all_pages_together_are_the_whole_log_and_no_request_reads_all() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    fill(&fixture, MOST_EXAMINED * 5 / 2, 800);
    let read = |query: &str| {
        let (mut found, mut pages, mut cursor) = (Vec::new(), 0, String::new());
        loop {
            let path = format!("/v1/events?limit=200&to=2000-01-01T00:00:00Z{query}{cursor}");
            let (status, page) = call(&fixture, &key, Method::Get, &path, &Value::Null);
            assert_eq!(status, 200, "{page}");
            pages += 1;
            found.extend(page["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { return (found, pages) };
            cursor = format!("&cursor={next}");
        }
    };
    let (all, pages) = read("");
    assert_eq!((all.len(), pages), (2500, 13));
    let mut sorted = all.clone();
    sorted.sort_unstable_by(|left, right| right.cmp(left));
    sorted.dedup();
    assert_eq!(all, sorted, "each once, newest first");
    let (revoked, pages) = read("&type=key_revoked");
    assert_eq!((revoked.len(), pages), (3, 3));
    assert_eq!(read("&type=key_revoked,edited&from=1970-01-12T14:00:00Z&actor=operator").0.len(), 101);
    assert_eq!(read("&actor=schedule").0.len(), 0);
}

#[test]
fn a_search_costs_no_more_in_a_longer_log() {
    let cost = |number: i64| {
        let fixture = Fixture::new();
        let (key, connection) = (first_key(&fixture), fixture.connect("ann"));
        fill(&fixture, number, 800);
        ["", "?type=key_created", "?actor=user:nobody", "?app=slack", "?workflow=none", "?type=edited&app=acme"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("?connection={connection}"), format!("?connection={connection}&type=edited")])
            .map(|query| {
                fixture.world.db.reset_counts();
                events(&fixture, &key, &query);
                let most = fixture.world.db.most_vm_steps.get();
                assert!(most < 20_000, "{query}: a statement of {most} operations holds the database");
                (query, fixture.world.db.vm_steps.get())
            })
            .collect::<Vec<_>>()
    };
    for ((query, small), (_, large)) in cost(MOST_EXAMINED * 3 / 2).into_iter().zip(cost(MOST_EXAMINED * 3)) {
        assert!(large <= small + small / 20, "{query}: {small} operations, and {large} in a log of twice the length");
    }
}

#[test]
fn an_export_has_all_lines_and_no_formula() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    fill(&fixture, 1500, 1000);
    for (accept, header) in [("text/csv", 1), ("application/x-ndjson", 0)] {
        let (mut text, mut address, mut pages) = (String::new(), "/v1/events?to=2000-01-01T00:00:00Z".to_owned(), 0);
        loop {
            let response = send(&fixture, &key, Method::Get, &address, &[("accept", accept)], &Value::Null);
            assert_eq!(response.status, 200);
            text.push_str(&response.body);
            pages += 1;
            let Some(link) = response.header("link") else { break };
            let next = link.strip_prefix("<https://c.example.com").unwrap();
            next.split_once(">; rel=\"next\"").unwrap().0.clone_into(&mut address);
        }
        assert_eq!((text.lines().count(), pages), (1500 + header, 2), "{accept}");
        if header == 1 {
            assert!(text.starts_with("\"id\",\"at\",\"type\",\"actor\","), "{text}");
            assert!(text.contains(",\"'=7\",") && !text.contains(",\"=7\","));
        } else {
            assert_eq!(serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap()["detail"], "=1500");
        }
    }
}

#[test]
fn a_wrong_filter_is_refused_by_name() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    for (query, field) in [
        ("type=nonsense", "type"),
        ("type=edited,", "type"),
        ("from=yesterday", "from"),
        ("connection=x", "connection"),
        ("app=A%20B", "app"),
        ("cursor=x", "cursor"),
        ("limit=201", "limit"),
        ("who=me", "who"),
    ] {
        let (status, problem) = call(&fixture, &key, Method::Get, &format!("/v1/events?{query}"), &Value::Null);
        assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some(field)), "{query}: {problem}");
    }
}

#[test]
fn a_refused_key_has_one_line_a_minute_and_a_stranger_none() {
    let fixture = Fixture::new();
    let (key, other) = (first_key(&fixture), Fixture::new());
    let end = fixture.world.now().plus(10);
    let ended = make_key(&fixture, |key| key.expires_at = Some(end));
    fixture.world.advance_clock(20);
    let refuse = |key: &str, path: &str| {
        let response = send(&fixture, key, Method::Post, path, &[("cf-connecting-ip", "192.0.2.7")], &Value::Null);
        assert_eq!(response.status, 401);
    };
    let resolve = format!("/v1/connections/{}/resolve", fixture.connect("ann"));
    let lines = || events(&fixture, &key, "?type=authentication_refused");
    for _ in 0..3 {
        refuse(&ended, "/v1/keys");
        refuse(&ended, &resolve);
    }
    assert_eq!(lines().len(), 1, "each invocation has a new isolate, and the database knows");
    assert_eq!(
        (lines()[0]["actor"].as_str(), lines()[0]["address"].as_str()),
        (Some("unauthenticated"), Some("192.0.2.7"))
    );
    fixture.world.advance_clock(61);
    refuse(&ended, &resolve);
    assert_eq!(lines().len(), 2);
    let before = fixture.world.db.query_number("SELECT count(*) FROM events");
    let stranger = make_key(&other, |_| ());
    refuse(&stranger, "/v1/keys");
    refuse(&stranger, &resolve);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events"), before);
}

fn resolve(fixture: &Fixture, key: &str, id: &ConnectionId) -> Response {
    let body = json!({ "workflow": "billing", "step": "send", "consistency": "edge" });
    send(fixture, key, Method::Post, &format!("/v1/connections/{id}/resolve"), &[], &body)
}

#[test]
fn credentials_that_are_handed_out_have_lines_if_the_operator_says_so() {
    let fixture = Fixture::new();
    let (key, id) = (first_key(&fixture), fixture.connect("ann"));
    let lines = || events(&fixture, &key, "?type=credential_returned&workflow=billing");
    assert_eq!(resolve(&fixture, &key, &id).status, 200);
    assert_eq!(lines().len(), 0);
    fixture.world.audit.set((Some("all"), None));
    for _ in 0..2 {
        assert_eq!(resolve(&fixture, &key, &id).status, 200);
    }
    let all = lines();
    assert_eq!(all.len(), 2, "also the one from the cache");
    assert_eq!(
        [&all[0]["step"], &all[0]["connection"], &all[0]["detail"], &all[0]["actor_name"]],
        [&json!("send"), &json!(id), &json!("cache"), &json!(fixture.key.name)]
    );
}

#[test]
fn durable_lines_are_written_before_the_answer_and_the_cache_never_answers() {
    let fixture = Fixture::new();
    let (key, id) = (first_key(&fixture), fixture.connect("ann"));
    assert_eq!(resolve(&fixture, &key, &id).status, 200);
    fixture.world.audit.set((Some("durable"), None));
    fixture.world.cache.entries.borrow_mut().values_mut().for_each(|(entry, _)| entry.push('x'));
    assert_eq!(resolve(&fixture, &key, &id).status, 200);
    let log = events(&fixture, &key, "?type=credential_returned");
    assert_eq!((log.len(), log[0]["detail"].as_str()), (1, Some("database")));
    fixture.world.db.tamper("CREATE TRIGGER no_events BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END");
    let refused = resolve(&fixture, &key, &id);
    assert!(refused.status >= 500 && !refused.body.contains("access_token"), "no line, no credential");
    let resolved =
        fixture.resolve_and_finish(&id, ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() });
    assert_eq!(resolved.unwrap().resolved.source, connections::resolve::Source::Database);
}

#[test]
fn lines_go_after_as_many_days_as_the_operator_says() {
    for (days, left) in [(None, 90), (Some(7), 7)] {
        let fixture = Fixture::new();
        fixture.world.audit.set((None, days));
        let now = fixture.world.now().unix();
        fixture.world.db.tamper(&format!(
            "WITH RECURSIVE n(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < 100)
            INSERT INTO events (workspace_id, connection_id, occurred_at, id, type, actor)
            SELECT '{}', '', {now} - number * 86400, 'evt_00' || printf('%022d', number), 'edited', 'operator' FROM n",
            fixture.workspace
        ));
        fixture.run_scheduled();
        assert_eq!(
            fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'edited'"),
            left,
            "{days:?}"
        );
    }
}

#[test]
fn the_json_form_is_described() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    let response = send(&fixture, &first_key(&fixture), Method::Get, "/v1/events", &[("accept", "*/*")], &Value::Null);
    assert_described(Method::Get, "/v1/events", 200, &serde_json::from_str(&response.body).unwrap());
}

#[test]
fn every_route_that_hands_out_a_credential_writes_a_line() {
    for reads in ["all", "durable"] {
        let fixture = Fixture::new();
        let (key, id) = (first_key(&fixture), fixture.connect("ann"));
        fixture.world.db.tamper("UPDATE connections SET user_id = NULL, user_name = NULL, is_shared = NULL");
        fixture.world.audit.set((Some(reads), None));
        let answer = resolve(&fixture, &key, &id);
        let version = serde_json::from_str::<Value>(&answer.body).unwrap()["credential_version"].clone();
        let batch = json!({ "items": [{ "app": "acme" }, { "connection": id }, { "app": "slack" }] });
        for (path, body, lines) in [
            ("/v1/resolve".to_owned(), json!({ "app": "acme" }), 1),
            ("/v1/resolve/batch".to_owned(), batch, 2),
            (format!("/v1/connections/{id}/report"), json!({ "status": 403, "credential_version": version }), 1),
        ] {
            let count = || events(&fixture, &key, "?type=credential_returned").len();
            let before = count();
            let response = send(&fixture, &key, Method::Post, &path, &[], &body);
            assert_eq!(response.status, 200, "{path}: {}", response.body);
            assert_eq!(count(), before + lines, "{reads} {path}");
        }
        fixture
            .world
            .db
            .tamper("CREATE TRIGGER no_events BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END");
        let answer =
            send(&fixture, &key, Method::Post, "/v1/resolve/batch", &[], &json!({ "items": [{ "app": "acme" }] }));
        assert_eq!((answer.status >= 500, answer.body.contains("access_token")), (reads == "durable", reads == "all"));
        // The next world has the same database.
        fixture.world.db.tamper("DROP TRIGGER no_events");
    }
}

#[test]
fn a_key_for_one_environment_sees_the_events_of_its_connections_alone() {
    let fixture = Fixture::new();
    let [ann, bob] = ["ann", "bob"].map(|who| fixture.connect(who));
    fixture.world.db.tamper(&format!("UPDATE connections SET environment = 'test' WHERE id = '{ann}'"));
    fixture.world.db.tamper(&format!("UPDATE connections SET environment = 'production' WHERE id = '{bob}'"));
    let key = make_key(&fixture, |key| {
        key.scopes = vec![KeyScope::Events];
        key.environment = Some(connections::environment::Environment::Test);
    });
    let seen = events(&fixture, &key, "?limit=200");
    assert!(!seen.is_empty() && seen.iter().all(|event| event["connection"] == ann.as_str()), "{seen:?}");
}
