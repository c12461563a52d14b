//! Ids and tokens that name a shard which this installation does not have are answered like unknown ones.

use std::rc::Rc;

use connections::caller;
use connections::http::Method;
use connections::ids::{ConnectionId, LinkId, Shard, random_token};
use connections::ports::Ports as _;
use connections::resolve::{Consistency, ResolveRequest};
use connections::workspaces;
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, link_path};
use crate::support::Fixture;
use crate::support::database::TestDatabase;

#[test]
fn every_new_id_names_the_shard_of_its_workspace() {
    let fixture = Fixture::new();
    let (key, body) = (first_key(&fixture), json!({ "app": "acme", "user": { "id": "ann" } }));
    let connection = fixture.connect("ann");
    let (_, link) = call(&fixture, &key, Method::Post, "/v1/links", &body);
    let (_, made) = call(&fixture, &key, Method::Post, "/v1/keys", &json!({ "name": "k", "scopes": ["resolve"] }));
    let (_, events) = call(&fixture, &key, Method::Get, &format!("/v1/connections/{connection}/events"), &Value::Null);
    let named = |value: &Value, prefix: &str| {
        let text = value.as_str().unwrap();
        assert!(text.starts_with(&format!("{prefix}00")), "{text}");
        assert_eq!(text.len(), prefix.len() + if prefix == "key_" { 18 } else { 24 }, "{text}");
    };
    named(&json!(fixture.workspace), "ws_");
    named(&json!(connection), "con_");
    named(&json!(fixture.client), "cli_");
    named(&link["id"], "lnk_");
    named(&made["id"], "key_");
    named(&events["data"][0]["id"], "evt_");
    assert!(made["key"].as_str().unwrap().starts_with("cx_00"));
    let token = link_path(&link).trim_start_matches("/connect/").to_owned();
    assert_eq!(Shard::of_token(&token), Some(Shard::FIRST));
    let (_, sign_in) = call(&fixture, &key, Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": "ann" } }));
    assert_eq!(Shard::of_token(link_path(&sign_in).trim_start_matches("/sign-in/")), Some(Shard::FIRST));
    let mut browser = TestBrowser::new(&fixture);
    browser.sign_in();
    let mut sessions = browser.cookies.iter().filter(|(name, _)| name.ends_with("cx_session"));
    assert!(sessions.all(|(_, cookie)| Shard::of_token(cookie) == Some(Shard::FIRST)));
    let (_, state) = fixture.world.acme.consent(&fixture.start_flow(&fixture.connect_request(), "b"), "ann");
    assert_eq!(Shard::of_token(&state), Some(Shard::FIRST));
}

#[test]
fn ids_of_an_unknown_shard_are_not_found() {
    let fixture = Fixture::new();
    let (key, context) = (first_key(&fixture), fixture.world.context());
    let shard = Shard::new(5).unwrap();
    let connection = ConnectionId::random(context.ports.random(), shard).unwrap();
    let link = LinkId::random(context.ports.random(), shard).unwrap();
    for path in [format!("/v1/connections/{connection}"), format!("/v1/links/{link}"), "/v1/connections/con_ZZ".into()]
    {
        assert_eq!(call(&fixture, &key, Method::Get, &path, &Value::Null).0, 404, "{path}");
    }
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        let request = ResolveRequest { consistency, ..ResolveRequest::default() };
        assert_eq!(fixture.resolve(&connection, request).unwrap_err().code.as_str(), "connection_not_found");
    }
}

#[test]
fn keys_and_tokens_of_an_unknown_shard_open_nothing() {
    let fixture = Fixture::new();
    let context = fixture.world.context();
    let shard = Shard::new(5).unwrap();
    let (_, key, _) = caller::new_key(context.ports.random(), shard).unwrap();
    assert_eq!(call(&fixture, key.expose(), Method::Get, "/v1/connections", &Value::Null).0, 401);
    let token = random_token(context.ports.random(), shard).unwrap();
    let mut browser = TestBrowser::new(&fixture);
    let unknown = "A".repeat(45);
    for path in ["/connect/", "/sign-in/"] {
        let [known, other] = [&token, &unknown].map(|token| browser.get(&format!("{path}{token}")).status);
        assert_eq!((known, known / 100), (other, 4), "{path}");
    }
    browser.cookies.insert("__Host-cx_session".into(), token);
    assert_eq!(browser.get("/").status, 401);
}

#[test]
fn a_key_reads_the_database_of_its_shard_and_no_other() {
    let mut fixture = Fixture::new();
    fixture.world.more_databases = vec![Rc::new(TestDatabase::new())];
    let (world, second) = (fixture.world.clone(), Rc::clone(&fixture.world.more_databases[0]));
    let context = world.context().in_shard(Shard::new(1).unwrap()).unwrap();
    let made = world.run(workspaces::create_workspace(&context, "Second", Some(1))).unwrap();
    assert_eq!((made.workspace.id.shard(), made.key.id.shard()), (context.shard(), context.shard()));
    let (first, connection) = (first_key(&fixture), fixture.connect("ann"));
    let paths = [format!("/v1/connections/{connection}"), format!("/v1/connections/{connection}/events")];
    for (key, status, asked, silent) in
        [(made.key_text.expose(), 404, &second, &world.db), (&first, 200, &world.db, &second)]
    {
        for path in &paths {
            // The key ring is checked first, of the caller's database only.
            let before = (asked.statements.get(), silent.statements.get());
            assert_eq!(call(&fixture, key, Method::Get, path, &Value::Null).0, status, "{path}");
            assert!(asked.statements.get() > before.0, "{path}");
            assert_eq!(silent.statements.get(), before.1, "{path}");
        }
    }
    let (_, listed) = call(&fixture, made.key_text.expose(), Method::Get, "/v1/connections", &Value::Null);
    assert_eq!(listed["data"], json!([]));
}
