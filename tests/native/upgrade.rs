//! What the version before 0013 stored still works: a database in which every table has rows, cache entries, and a
//! pending write of a Durable Object. That version wrote `upgrade/before.sql` and `upgrade/before.json`.

use std::collections::BTreeMap;

use connections::app::AppId;
use connections::caller::{KeyScope, PresentedKey};
use connections::connect::callback::{CallbackParams, CallbackResult};
use connections::connect::complete::{Choice, apply_choice};
use connections::frozen::members;
use connections::http::{Method, Response};
use connections::ids::{ClientId, ConnectionId, FlowId, Shard, WorkspaceId};
use connections::ports::RefreshOutcome;
use connections::resolve::{Consistency, Freshness, ResolveRequest, Source};
use connections::secret::Secret;
use connections::store::authorizations::{FlowOutcome, PendingGrant};
use connections::store::refreshes::Renewal;
use connections::{refresh, reseal, store};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, make_key};
use crate::support::database::{TestDatabase, empty, migrate};
use crate::support::fixture::{BROWSER_SESSION, access_token_of};
use crate::support::world::{ENCRYPTION_KEYS, START};
use crate::support::{Fixture, RefreshMode, World, plain_tokens};

const SQL: &str = include_str!("upgrade/before.sql");
const JSON: &str = include_str!("upgrade/before.json");
const FIRST_OF_NOW: &str = "0013_names.sql";
const OTHER_KEYS: &str = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// What people and programs received.
#[derive(Deserialize)]
struct Before {
    now: i64,
    workspace: WorkspaceId,
    client: ClientId,
    key: String,
    rotated_key: String,
    key_before_rotation: String,
    ann: ConnectionId,
    ann_tokens: (String, String),
    bob: ConnectionId,
    bob_tokens: (String, String),
    pasted: ConnectionId,
    cookies: BTreeMap<String, String>,
    link: String,
    link_id: String,
    sign_in_link: String,
    pending: String,
    undecided: FlowId,
    cache: BTreeMap<String, (String, i64)>,
    kept: String,
}

/// The database of the previous version.
fn database_of_before() -> rusqlite::Connection {
    let sqlite = empty();
    migrate(&sqlite, |name| name < FIRST_OF_NOW);
    sqlite.execute_batch(SQL).unwrap();
    sqlite
}

fn upgraded() -> (Before, Fixture) {
    let before: Before = serde_json::from_str(JSON).unwrap();
    let sqlite = database_of_before();
    migrate(&sqlite, |name| name >= FIRST_OF_NOW);
    // Another seed, so that new ids differ from the old ones.
    let world = World::new(RefreshMode::Direct, Some(7)).over(TestDatabase::over(sqlite));
    world.advance_clock(before.now - START);
    world.cache.entries.borrow_mut().extend(before.cache.clone());
    let (ann, bob) = (&before.ann_tokens, &before.bob_tokens);
    world.acme.adopt("ann", &ann.0, Some(&ann.1));
    world.acme.adopt("bob", &bob.0, Some(&bob.1));
    let presented = PresentedKey::parse(&before.key).unwrap();
    let key = world.run(async { store::keys::get(world.context().db(), &presented.id).await.unwrap().unwrap() });
    let fixture = Fixture {
        workspace: before.workspace.clone(),
        key_text: Secret::new(before.key.clone()),
        app: AppId::parse("acme").unwrap(),
        client: before.client.clone(),
        world,
        key,
    };
    (before, fixture)
}

#[test]
fn every_old_table_has_rows_and_none_is_lost_or_duplicated() {
    let sqlite = database_of_before();
    let numbers = || -> BTreeMap<String, i64> {
        let mut tables = sqlite.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        let names: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let number = |name: &String| sqlite.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0));
        names.iter().map(|name| (name.clone(), number(name).unwrap())).collect()
    };
    let then = numbers();
    assert!(then.values().all(|number| *number > 0), "{then:?}");
    migrate(&sqlite, |name| name >= FIRST_OF_NOW);
    let names = [
        ("keys", "api_keys"),
        ("links", "connect_links"),
        ("authorizations", "flows"),
        ("clients", "oauth_clients"),
        ("key_checks", "encryption_key_checks"),
        ("cron_runs", "scheduled_runs"),
        ("reseals", "reseal_progress"),
    ];
    let renamed = |name: &str| names.iter().find(|(then, _)| *then == name).map_or(name, |(_, now)| *now).to_owned();
    let mut expected: BTreeMap<_, _> = then.iter().map(|(name, number)| (renamed(name), *number)).collect();
    // Tables of later versions.
    let later = [
        "app_defaults",
        "attention_sweeps",
        "deliveries",
        "denied_apps",
        "disconnect_jobs",
        "emails",
        "idempotent_requests",
        "identity_providers",
        "replacements",
        "seen_app_events",
        "outbox",
        "subscriptions",
        "told_states",
    ];
    expected.extend(later.map(|name| (name.to_owned(), 0)));
    // Who had a session, and the other owner of a connection.
    expected.insert("people".into(), 2);
    assert_eq!(numbers(), expected);
    let orphans: i64 = sqlite.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(orphans, 0);
    let wide = "SELECT group_concat(name) FROM pragma_table_list WHERE wr = 0 AND name NOT LIKE 'sqlite_%'
        AND name IN ('apps', 'connections', 'flows', 'oauth_clients', 'revocations')";
    let wide: String = sqlite.query_row(wide, [], |row| row.get(0)).unwrap();
    assert_eq!(wide.split(',').count(), 5, "{wide}");
}

#[test]
fn a_key_with_a_scope_of_a_later_version_works_with_the_others() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let limited = make_key(&fixture, |key| key.scopes = vec![KeyScope::Resolve]);
    let nothing = make_key(&fixture, |key| key.scopes = vec![KeyScope::Proxy]);
    let all = first_key(&fixture);
    // What a later version could have written, before somebody went back to this one.
    let (resolve, proxy) = (r#"["resolve"]"#, r#"["proxy"]"#);
    for (before, after) in [(resolve, r#"["of_a_later_version","resolve"]"#), (proxy, r#"["of_a_later_version"]"#)] {
        let sql = format!("UPDATE api_keys SET scopes = '{after}' WHERE scopes = '{before}'");
        assert_eq!(fixture.world.db.tamper(&sql), 1);
    }
    let resolve = |key: &str| call(&fixture, key, Method::Post, &format!("/v1/connections/{id}/resolve"), &json!({})).0;
    assert_eq!((resolve(&limited), resolve(&nothing)), (200, 403), "an unknown scope gives nothing");
    assert_eq!(call(&fixture, &limited, Method::Get, "/v1/connections", &Value::Null).0, 403);
    let (status, keys) = call(&fixture, &all, Method::Get, "/v1/keys", &Value::Null);
    assert_eq!(status, 200, "{keys}");
    let scopes: Vec<_> = keys["data"].as_array().unwrap().iter().map(|key| key["scopes"].clone()).collect();
    assert!(scopes.contains(&json!(["resolve"])) && scopes.contains(&json!([])), "{scopes:?}");
    assert_eq!(
        fixture.world.db.query_number("SELECT count(*) FROM api_keys WHERE scopes LIKE '%later%'"),
        2,
        "it stays stored"
    );
}

#[test]
fn old_keys_authenticate_with_current_and_previous_secret() {
    let (before, fixture) = upgraded();
    for key in [&before.key, &before.rotated_key, &before.key_before_rotation] {
        let (status, body) = call(&fixture, key, Method::Get, &format!("/v1/connections/{}", before.ann), &Value::Null);
        assert_eq!((status, body["id"].as_str()), (200, Some(before.ann.as_str())), "{body}");
    }
    let (status, made) = call(&fixture, &before.key, Method::Get, "/v1/connections", &Value::Null);
    assert_eq!((status, made["data"].as_array().unwrap().len()), (200, 3));
}

#[test]
fn old_connections_resolve_and_refresh() {
    let (before, fixture) = upgraded();
    assert_eq!(
        access_token_of(&fixture.resolve(&before.ann, ResolveRequest::default()).unwrap().resolved),
        before.ann_tokens.0
    );
    let pasted = fixture.resolve(&before.pasted, ResolveRequest::default()).unwrap().resolved;
    assert_eq!(pasted.issued.credential.fields["api_key"], "live_abc");
    fixture.expire_access_token(&before.ann);
    let renewed = fixture.resolve(&before.ann, ResolveRequest::default()).unwrap().resolved;
    assert_eq!(renewed.freshness, Freshness::Refreshed);
    assert_eq!(fixture.world.acme.received_refreshes()[0].token, before.ann_tokens.1);
    assert_eq!(fixture.load_connection(&before.ann).version, 2);
}

#[test]
fn an_old_cache_entry_answers_while_the_database_is_down() {
    let (before, fixture) = upgraded();
    fixture.world.db.down.set(true);
    let request =
        ResolveRequest { consistency: Consistency::Available, workflow: Some("w".into()), ..ResolveRequest::default() };
    let resolved = fixture.resolve(&before.ann, request).unwrap().resolved;
    assert_eq!((access_token_of(&resolved), resolved.source), (before.ann_tokens.0.as_str(), Source::Cache));
}

#[test]
fn an_old_pending_write_is_stored_and_refreshed() {
    let (before, fixture) = upgraded();
    assert!(fixture.world.run(refresh::write_pending_renewal(&*fixture.world.context(), &before.kept)));
    assert_eq!(fixture.load_connection(&before.bob).version, 2, "it was stored");
    let (access_token, refresh_token) = plain_tokens(&fixture.open_credential(&before.bob));
    assert_ne!(access_token, before.bob_tokens.0);
    fixture.world.acme.adopt("bob", &access_token, refresh_token.as_deref());
    fixture.expire_access_token(&before.bob);
    assert_eq!(fixture.refresh_if_needed(&before.bob), RefreshOutcome::Refreshed);
    assert_eq!(Some(&fixture.world.acme.received_refreshes()[0].token), refresh_token.as_ref());
}

#[test]
fn an_old_lease_still_blocks_other_attempts() {
    let (before, fixture) = upgraded();
    let lease = fixture.load_connection(&before.bob).lease.unwrap();
    assert!(lease.until > fixture.world.now());
    assert_ne!(fixture.refresh_if_needed(&before.bob), RefreshOutcome::Refreshed);
    assert_eq!(fixture.world.acme.received_refreshes().len(), 0);
}

#[test]
fn an_old_revocation_job_is_run() {
    let (_, fixture) = upgraded();
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM revocations"), 1);
    fixture.world.advance_clock(3600);
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM revocations"), 0);
    assert!(!fixture.world.acme.revoked_tokens().is_empty());
}

#[test]
fn old_flows_complete() {
    let (before, fixture) = upgraded();
    let (code, state) = fixture.world.acme.consent(&before.pending, "fay");
    let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
    let CallbackResult::Flow(id) = fixture.return_from_app(returned, BROWSER_SESSION) else {
        panic!("its verifier does not open")
    };
    let flow = fixture.load_flow(&id);
    assert_eq!((flow.outcome, flow.error), (FlowOutcome::Done, None));
    let undecided = fixture.load_flow(&before.undecided);
    fixture.world.run(async { apply_choice(&fixture.world.context(), &undecided, Choice::KeepBoth).await.unwrap() });
    let made = fixture.load_flow(&before.undecided).connection.unwrap();
    assert!(fixture.resolve(&made, ResolveRequest::default()).is_ok());
    // Both workspace and client are from the previous version. New ids name their shard.
    assert_eq!((made.shard(), made.as_str().len()), (Shard::FIRST, before.ann.as_str().len() + 2));
}

#[test]
fn old_sessions_and_links_work() {
    let (before, fixture) = upgraded();
    let mut browser = TestBrowser::new(&fixture);
    browser.cookies.clone_from(&before.cookies);
    let page: Response = browser.get("/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("ann@acme.example"), "the person sees their connections");
    let mut other = TestBrowser::new(&fixture);
    assert_eq!(other.press(&before.sign_in_link).status, 303);
    assert_eq!(other.get("/").status, 200);
    let mut guest = TestBrowser::new(&fixture);
    assert_eq!(guest.get(&before.link).status, 200);
    let pressed = guest.press(&before.link);
    guest.complete_consent(&pressed, "dora");
    let (_, link) = call(&fixture, &before.key, Method::Get, &format!("/v1/links/{}", before.link_id), &Value::Null);
    assert_eq!(link["status"], "used", "{link}");
}

#[test]
fn old_sealed_values_are_sealed_again_with_another_key() {
    let (_, fixture) = upgraded();
    *fixture.world.encryption_keys.borrow_mut() = format!("{OTHER_KEYS},{ENCRYPTION_KEYS}");
    let context = fixture.world.context();
    // A value whose connection has a running refresh waits for a later pass.
    fixture.world.advance_clock(3600);
    for _ in 0..4 {
        while fixture.world.run(async { reseal::reseal_page(&context).await.unwrap() }) > 0 {}
        fixture.world.advance_clock(601);
    }
    let (state, progress) = fixture.world.run(async {
        let state = store::maintenance::load_state(context.db(), context.now()).await.unwrap();
        (state, store::reseals::progress(context.db(), "k2").await.unwrap().unwrap())
    });
    assert_eq!(progress.unreadable, 0);
    assert_eq!(state.sealed_under.len(), 1, "{:?}", state.sealed_under);
    assert!(state.sealed_under[0].0 == "k2" && state.sealed_under[0].1 >= 7, "{:?}", state.sealed_under);
}

#[test]
fn the_members_of_stored_json_keep_their_names() {
    let before: Before = serde_json::from_str(JSON).unwrap();
    let renewal: Renewal = serde_json::from_str(&before.kept).unwrap();
    let kept: Value = serde_json::from_str(&before.kept).unwrap();
    assert_eq!(serde_json::to_value(renewal).unwrap(), kept);
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&kept), members::PENDING_WRITE);
    assert_eq!(names(&kept["attempt"]), members::ATTEMPT);
    let (_, fixture) = upgraded();
    let pending = fixture.world.db.query_value("SELECT pending_grant FROM flows WHERE status = 'undecided'");
    let pending: Value = serde_json::from_str(pending.as_str().unwrap()).unwrap();
    assert_eq!(names(&pending), members::PENDING_GRANT);
    let read: PendingGrant = serde_json::from_value(pending.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), pending);
}
