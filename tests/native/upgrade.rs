//! What the version before 0013 stored goes on working: a database in which every table has rows, copies in the cache, and
//! an answer that a Durable Object kept. `upgrade/before.sql` and `upgrade/before.json` were written by that version.

use std::collections::BTreeMap;

use connections::app::AppId;
use connections::caller::PresentedKey;
use connections::connect::callback::{Landing, Returned};
use connections::connect::settle::{Choice, choose};
use connections::frozen::members;
use connections::http::{Method, Response};
use connections::ids::{AuthorizationId, ClientId, ConnectionId, Shard, WorkspaceId};
use connections::ports::ErrandOutcome;
use connections::resolve::{Ask, Consistency, Freshness, Source};
use connections::secret::Secret;
use connections::store::authorizations::{Outcome, Pending};
use connections::store::refreshes::Renewal;
use connections::{refresh, reseal, store};
use serde::Deserialize;
use serde_json::Value;

use crate::http::{Browser, call};
use crate::support::database::{Engine, empty, migrate};
use crate::support::scene::{BROWSER, access};
use crate::support::world::{KEYS, START};
use crate::support::{Scene, Way, World, tokens};

const SQL: &str = include_str!("upgrade/before.sql");
const JSON: &str = include_str!("upgrade/before.json");
const FIRST_OF_NOW: &str = "0013_names.sql";
const OTHER_KEYS: &str = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// What people and programs were given.
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
    undecided: AuthorizationId,
    cache: BTreeMap<String, (String, i64)>,
    kept: String,
}

fn upgraded() -> (Before, Scene) {
    let before: Before = serde_json::from_str(JSON).unwrap();
    let sqlite = empty();
    migrate(&sqlite, |name| name < FIRST_OF_NOW);
    sqlite.execute_batch(SQL).unwrap();
    migrate(&sqlite, |name| name >= FIRST_OF_NOW);
    // Another seed: what is made now has other ids than what was made then.
    let world = World::new(Way::Direct, Some(7)).over(Engine::over(sqlite));
    world.pass(before.now - START);
    world.kv.held.borrow_mut().extend(before.cache.clone());
    let (ann, bob) = (&before.ann_tokens, &before.bob_tokens);
    world.acme.adopt("ann", &ann.0, Some(&ann.1));
    world.acme.adopt("bob", &bob.0, Some(&bob.1));
    let presented = PresentedKey::parse(&before.key).unwrap();
    let key = world.run(async { store::keys::get(world.core().db(), &presented.id).await.unwrap().unwrap() });
    let scene = Scene {
        workspace: before.workspace.clone(),
        key_text: Secret::new(before.key.clone()),
        app: AppId::parse("acme").unwrap(),
        client: before.client.clone(),
        world,
        key,
    };
    (before, scene)
}

#[test]
fn every_table_of_then_has_rows_and_none_is_lost_or_doubled() {
    let sqlite = empty();
    migrate(&sqlite, |name| name < FIRST_OF_NOW);
    sqlite.execute_batch(SQL).unwrap();
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
    let expected: BTreeMap<_, _> = then.iter().map(|(name, number)| (renamed(name), *number)).collect();
    assert_eq!(numbers(), expected);
    let orphans: i64 = sqlite.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(orphans, 0);
    let wide = "SELECT group_concat(name) FROM pragma_table_list WHERE wr = 0 AND name NOT LIKE 'sqlite_%'
        AND name IN ('apps', 'connections', 'flows', 'oauth_clients', 'revocations')";
    let wide: String = sqlite.query_row(wide, [], |row| row.get(0)).unwrap();
    assert_eq!(wide.split(',').count(), 5, "{wide}");
}

#[test]
fn keys_of_then_authenticate_also_the_one_before_a_rotation() {
    let (before, scene) = upgraded();
    for key in [&before.key, &before.rotated_key, &before.key_before_rotation] {
        let (status, body) = call(&scene, key, Method::Get, &format!("/v1/connections/{}", before.ann), &Value::Null);
        assert_eq!((status, body["id"].as_str()), (200, Some(before.ann.as_str())), "{body}");
    }
    let (status, made) = call(&scene, &before.key, Method::Get, "/v1/connections", &Value::Null);
    assert_eq!((status, made["data"].as_array().unwrap().len()), (200, 3));
}

#[test]
fn connections_of_then_resolve_and_refresh() {
    let (before, scene) = upgraded();
    assert_eq!(access(&scene.resolve(&before.ann, Ask::default()).unwrap().resolved), before.ann_tokens.0);
    let pasted = scene.resolve(&before.pasted, Ask::default()).unwrap().resolved;
    assert_eq!(pasted.issued.credential.fields["api_key"], "live_abc");
    scene.expire(&before.ann);
    let renewed = scene.resolve(&before.ann, Ask::default()).unwrap().resolved;
    assert_eq!(renewed.freshness, Freshness::Refreshed);
    assert_eq!(scene.world.acme.redemptions()[0].token, before.ann_tokens.1);
    assert_eq!(scene.row(&before.ann).version, 2);
}

#[test]
fn a_copy_of_then_answers_while_the_database_is_down() {
    let (before, scene) = upgraded();
    scene.world.db.down.set(true);
    let ask = Ask { consistency: Consistency::Available, workflow: Some("w".into()), ..Ask::default() };
    let resolved = scene.resolve(&before.ann, ask).unwrap().resolved;
    assert_eq!((access(&resolved), resolved.source), (before.ann_tokens.0.as_str(), Source::Cache));
}

#[test]
fn an_answer_that_was_kept_is_delivered_and_renewed() {
    let (before, scene) = upgraded();
    assert!(scene.world.run(refresh::deliver(&*scene.world.core(), &before.kept)));
    assert_eq!(scene.row(&before.bob).version, 2, "it was stored");
    let (access_token, refresh_token) = tokens(&scene.credential(&before.bob));
    assert_ne!(access_token, before.bob_tokens.0);
    scene.world.acme.adopt("bob", &access_token, refresh_token.as_deref());
    scene.expire(&before.bob);
    assert_eq!(scene.need(&before.bob), ErrandOutcome::Refreshed);
    assert_eq!(Some(&scene.world.acme.redemptions()[0].token), refresh_token.as_ref());
}

#[test]
fn a_lease_of_then_still_keeps_others_from_the_same_token() {
    let (before, scene) = upgraded();
    let lease = scene.row(&before.bob).intent.unwrap();
    assert!(lease.until > scene.world.now());
    assert_ne!(scene.need(&before.bob), ErrandOutcome::Refreshed);
    assert_eq!(scene.world.acme.redemptions().len(), 0);
}

#[test]
fn what_was_to_be_revoked_is_revoked() {
    let (_, scene) = upgraded();
    assert_eq!(scene.world.db.number("SELECT count(*) FROM revocations"), 1);
    scene.world.pass(3600);
    scene.tick();
    assert_eq!(scene.world.db.number("SELECT count(*) FROM revocations"), 0);
    assert!(!scene.world.acme.revoked().is_empty());
}

#[test]
fn flows_of_then_come_to_their_end() {
    let (before, scene) = upgraded();
    let (code, state) = scene.world.acme.consent(&before.pending, "fay");
    let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
    let Landing::Flow(id) = scene.come_back(returned, BROWSER) else { panic!("its verifier does not open") };
    let flow = scene.read_flow(&id);
    assert_eq!((flow.outcome, flow.error), (Outcome::Done, None));
    let undecided = scene.read_flow(&before.undecided);
    scene.world.run(async { choose(&scene.world.core(), &undecided, Choice::Both).await.unwrap() });
    let made = scene.read_flow(&before.undecided).connection.unwrap();
    assert!(scene.resolve(&made, Ask::default()).is_ok());
    // Both workspace and client are from then; what is made now names its shard.
    assert_eq!((made.shard(), made.as_str().len()), (Shard::FIRST, before.ann.as_str().len() + 2));
}

#[test]
fn sessions_and_links_of_then_work() {
    let (before, scene) = upgraded();
    let mut browser = Browser::new(&scene);
    browser.cookies.clone_from(&before.cookies);
    let page: Response = browser.get("/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("ann@acme.example"), "the person sees their connections");
    let mut other = Browser::new(&scene);
    assert_eq!(other.press(&before.sign_in_link).status, 303);
    assert_eq!(other.get("/").status, 200);
    let mut guest = Browser::new(&scene);
    assert_eq!(guest.get(&before.link).status, 200);
    let pressed = guest.press(&before.link);
    guest.consent(&pressed, "dora");
    let (_, link) = call(&scene, &before.key, Method::Get, &format!("/v1/links/{}", before.link_id), &Value::Null);
    assert_eq!(link["status"], "used", "{link}");
}

#[test]
fn everything_sealed_then_is_sealed_again_under_another_key() {
    let (_, scene) = upgraded();
    *scene.world.keys.borrow_mut() = format!("{OTHER_KEYS},{KEYS}");
    let core = scene.world.core();
    // A value whose connection is being refreshed waits for a later pass.
    scene.world.pass(3600);
    for _ in 0..4 {
        while scene.world.run(async { reseal::turn(&core).await.unwrap() }) > 0 {}
        scene.world.pass(601);
    }
    let (state, progress) = scene.world.run(async {
        let state = store::maintenance::state(core.db(), core.now()).await.unwrap();
        (state, store::reseals::progress(core.db(), "k2").await.unwrap().unwrap())
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
    let (_, scene) = upgraded();
    let pending = scene.world.db.value("SELECT pending_grant FROM flows WHERE status = 'undecided'");
    let pending: Value = serde_json::from_str(pending.as_str().unwrap()).unwrap();
    assert_eq!(names(&pending), members::PENDING_GRANT);
    let read: Pending = serde_json::from_value(pending.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), pending);
}
