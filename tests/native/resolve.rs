//! Resolve: a credential is handed out, or a refusal that says exactly what to do.

use connections::app::AppId;
use connections::caller::Scope;
use connections::error::{Code, Error};
use connections::ids::{ConnectionId, Shard};
use connections::ports::{Database as _, Errand, ErrandOutcome, HttpError};
use connections::resolve::{Answered, Ask, Consistency, Expect, Freshness, Source, afterwards, resolve};
use connections::store;
use connections::vault::Place;
use serde_json::json;

use crate::support::scene::{access, need};
use crate::support::{Fault, Reply, Scene, Wound, tokens};

fn ask() -> Ask {
    Ask::default()
}

fn step(workflow: &str, step: &str) -> Ask {
    Ask { workflow: Some(workflow.into()), step: Some(step.into()), ..ask() }
}

fn mode(consistency: Consistency) -> Ask {
    Ask { consistency, ..ask() }
}

fn patch(scene: &Scene, id: &ConnectionId, patch: &store::connections::Patch) {
    scene.world.run(async {
        let statement = store::connections::patch(&scene.workspace, id, patch);
        scene.world.core().db().batch(vec![statement]).await.unwrap();
    });
}

fn code(answer: Result<Answered, Error>) -> Code {
    answer.map(|answered| answered.resolved.freshness).unwrap_err().code
}

fn allow_only(workflow: &str) -> store::connections::Patch {
    store::connections::Patch { allowed_workflows: Some(Some(vec![workflow.into()])), ..Default::default() }
}

// ---- the answer ----

#[test]
fn a_healthy_connection_answers_with_the_credential_and_how_to_send_it() {
    let scene = Scene::with(&json!({ "request": { "base_url": "https://api.acme.example/v1/" } }));
    let id = scene.connect("ann");
    let resolved = scene.resolve(&id, ask()).unwrap().resolved;
    let (stored, _) = tokens(&scene.credential(&id));
    assert_eq!(access(&resolved), stored);
    assert_eq!(resolved.issued.request.headers["Authorization"], format!("Bearer {stored}"));
    assert_eq!(resolved.issued.request.base_url.as_deref(), Some("https://api.acme.example/v1/"));
    assert_eq!((resolved.freshness, resolved.source), (Freshness::Fresh, Source::Database));
    assert_eq!(resolved.account.unwrap().label, "ann@acme.example");
    assert_eq!(resolved.issued.credential.token.unwrap().scopes, ["read", "write"]);
    assert_eq!(resolved.name, "Acme (ann@acme.example)");
    assert!(scene.world.acme.accepts(&stored));
}

#[test]
fn the_hot_path_is_one_round_trip_and_no_write_before_the_answer() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let asked = scene.world.acme.requests();
    scene.world.db.reset_counts();
    let answered = scene.resolve(&id, step("w", "s")).unwrap();
    assert_eq!(scene.world.db.round_trips.get(), 1);
    assert_eq!(scene.world.db.statements.get(), 4);
    assert_eq!(scene.world.db.writes.get(), 0);
    assert_eq!((scene.world.kv.gets.get(), scene.world.kv.puts.get()), (0, 0));
    assert_eq!(scene.world.acme.requests(), asked);
    assert_eq!(answered.after.len(), 1, "the use is noted behind the answer");
}

#[test]
fn every_statement_of_the_hot_path_is_a_look_up_by_primary_key() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    for other in 0..20 {
        scene.connect(&format!("other{other}"));
    }
    scene.world.db.reset_counts();
    scene.resolve(&id, step("w", "s")).unwrap();
    assert_eq!(scene.world.db.scanned.get(), 0, "no row is stepped over, however many connections there are");
    for sql in scene.world.db.seen.borrow().iter() {
        for line in scene.world.db.plan(sql).iter().filter(|line| !line.contains(" SUBQUERY ")) {
            let is_key = line.contains("USING PRIMARY KEY") || line.contains("USING INDEX sqlite_autoindex_");
            assert!(line.starts_with("SEARCH") && is_key, "{sql}: {line}");
        }
    }
}

#[test]
fn what_a_token_must_outlive_decides_whether_the_call_waits() {
    for (passed, min_ttl, freshness, redemptions) in [
        (0, 60, Freshness::Fresh, 0),
        (0, 86_400, Freshness::Fresh, 0),
        (3000, 60, Freshness::Fresh, 0),
        (1900, 86_400, Freshness::Refreshed, 1),
        (3300, 60, Freshness::Stale, 0),
        (3300, 600, Freshness::Refreshed, 1),
        (3545, 60, Freshness::Refreshed, 1),
        (3599, 0, Freshness::Stale, 0),
        (3600, 0, Freshness::Refreshed, 1),
        (9999, 60, Freshness::Refreshed, 1),
    ] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        let since = scene.row(&id).connected_at;
        scene.world.pass(passed - scene.world.now().since(since));
        let answered = scene.resolve(&id, Ask { min_ttl, ..ask() }).unwrap();
        assert_eq!(answered.resolved.freshness, freshness, "{passed} {min_ttl}");
        assert_eq!(scene.world.acme.redemptions().len(), redemptions, "{passed} {min_ttl}");
        assert!(scene.world.acme.accepts(access(&answered.resolved)));
    }
}

#[test]
fn near_its_end_a_token_is_refreshed_behind_the_answer() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.pass(3300);
    let answered = scene.resolve_fully(&id, ask()).unwrap();
    assert_eq!(answered.resolved.freshness, Freshness::Stale);
    assert_eq!(scene.world.acme.redemptions().len(), 1);
    assert_eq!(scene.resolve(&id, ask()).unwrap().resolved.freshness, Freshness::Fresh);
}

#[test]
fn a_failed_early_refresh_never_costs_a_caller_a_valid_token() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.pass(3300);
    scene.world.acme.always("/token", Some(Reply::status(503, "")));
    for _ in 0..20 {
        let answered = scene.resolve_fully(&id, ask()).unwrap();
        assert_eq!(answered.resolved.freshness, Freshness::Stale);
    }
    assert_eq!(scene.world.acme.count("/token"), 2, "the exchange and one refresh: the others wait for their time");
}

#[test]
fn after_a_failed_refresh_a_token_is_answered_while_it_lives_for_ten_seconds() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.latency_ms.set(0);
    scene.world.acme.always("/token", Some(Reply::status(400, "{\"error\":\"slow_down\"}")));
    let end = scene.row(&id).expires_at.unwrap();
    scene.world.pass(end.since(scene.world.now()) - 55);
    assert_eq!(scene.resolve(&id, ask()).unwrap().resolved.freshness, Freshness::Stale);
    scene.world.pass(50);
    let error = scene.resolve(&id, ask()).unwrap_err();
    assert_eq!(error.code, Code::AppUnavailable);
    assert!(error.hints.retry_after.unwrap() >= 1);
}

#[test]
fn a_refresh_that_was_waited_for_is_answered_from_the_record() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let before = tokens(&scene.credential(&id)).0;
    let answered = scene.resolve(&id, Ask { force_refresh: true, ..ask() }).unwrap();
    assert_eq!(answered.resolved.freshness, Freshness::Refreshed);
    assert_ne!(access(&answered.resolved), before);
    assert_eq!(access(&answered.resolved), tokens(&scene.credential(&id)).0);
}

#[test]
fn an_old_token_is_never_answered_as_the_refreshed_one() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let read =
        Fault { sql: "SELECT * FROM connections WHERE workspace_id = ?1 AND id", times: 1, wound: Wound::Before };
    scene.world.db.faults.borrow_mut().push(read);
    let answer = scene.resolve(&id, Ask { force_refresh: true, ..ask() });
    assert_eq!(code(answer), Code::DatabaseUnavailable, "the new token is stored, but could not be read");
}

#[test]
fn a_token_without_an_end_is_fresh() {
    let scene = Scene::new();
    scene.world.acme.expires_in.set(None);
    let id = scene.connect("ann");
    scene.world.pass(86_400 * 90);
    let resolved = scene.resolve(&id, Ask { min_ttl: 86_400, ..ask() }).unwrap().resolved;
    assert_eq!((resolved.freshness, resolved.issued.credential.token.unwrap().expires_at), (Freshness::Fresh, None));
}

// ---- refusals ----

#[test]
fn keys_that_are_not_in_force_are_unauthorized() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let soon = scene.world.now().plus(10);
    let ending = scene.make_key(|key| key.expires_at = Some(soon));
    let revoked = scene.make_key(|_| {});
    let unknown = connections::caller::new_key(&crate::support::outside::Seeded::new(77), Shard::FIRST).unwrap().1;
    let unknown = connections::caller::PresentedKey::parse(unknown.expose()).unwrap();
    scene.world.run(async {
        let core = scene.world.core();
        assert!(
            store::keys::revoke(core.db(), (&scene.workspace, &revoked.id), true, None, core.now())
                .await
                .unwrap()
                .is_some()
        );
    });
    scene.resolve_as(&ending, &id, ask()).unwrap();
    scene.world.pass(10);
    for key in [&ending, &revoked, &unknown] {
        let answer = scene.resolve_as(key, &id, ask());
        assert_eq!(code(answer), Code::Unauthorized);
    }
}

#[test]
fn outside_an_allow_list_a_connection_does_not_exist() {
    let scene = Scene::new();
    let (id, other) = (scene.connect("ann"), scene.connect("bob"));
    let narrow = scene.make_key(|key| key.connections = Some(vec![other.clone()]));
    let elsewhere = scene.make_key(|key| key.apps = Some(vec![AppId::parse("slack").unwrap()]));
    let here = scene.make_key(|key| key.apps = Some(vec![AppId::parse("acme").unwrap()]));
    assert_eq!(code(scene.resolve_as(&narrow, &id, ask())), Code::ConnectionNotFound);
    assert_eq!(code(scene.resolve_as(&elsewhere, &id, ask())), Code::ConnectionNotFound);
    scene.resolve_as(&narrow, &other, ask()).unwrap();
    scene.resolve_as(&here, &id, ask()).unwrap();
}

#[test]
fn another_workspaces_connection_does_not_exist_in_any_mode() {
    let scene = Scene::new();
    let stranger = scene.neighbour();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        let answer = scene.resolve_as(&stranger.presented(), &id, mode(consistency));
        assert_eq!(code(answer), Code::ConnectionNotFound);
    }
}

#[test]
fn refusals_come_in_the_order_of_the_contract() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let missing = ConnectionId::parse("con_0123456789abcdefABCD-_").unwrap();
    let bad = || Ask { min_ttl: -1, ..step("other", "s") };
    let weak = scene.make_key(|key| key.scopes = vec![Scope::ConnectionsRead]);
    let stranger = connections::caller::new_key(&crate::support::outside::Seeded::new(5), Shard::FIRST).unwrap().1;
    let stranger = connections::caller::PresentedKey::parse(stranger.expose()).unwrap();
    patch(&scene, &id, &allow_only("w"));
    assert_eq!(code(scene.resolve_as(&stranger, &missing, bad())), Code::Unauthorized);
    assert_eq!(code(scene.resolve_as(&weak, &missing, bad())), Code::InsufficientKeyScope);
    assert_eq!(code(scene.resolve(&missing, bad())), Code::ConnectionNotFound);
    assert_eq!(code(scene.resolve(&id, bad())), Code::InvalidRequest);
    let elsewhere = Expect { account: Some("somebody".into()), ..Expect::default() };
    let asked = |workflow: &str, expect: &Expect| Ask {
        expect: expect.clone(),
        scopes: vec!["admin".into()],
        ..step(workflow, "s")
    };
    assert_eq!(code(scene.resolve(&id, asked("other", &elsewhere))), Code::WorkflowNotAllowed);
    assert_eq!(code(scene.resolve(&id, asked("w", &elsewhere))), Code::UnexpectedConnection);
    scene.world.db.tamper("UPDATE connections SET status = 'needs_reconnect', reconnect_reason = 'revoked'");
    assert_eq!(code(scene.resolve(&id, asked("w", &Expect::default()))), Code::NeedsReconnect);
    scene.world.db.tamper("UPDATE connections SET status = 'connected', reconnect_reason = NULL");
    assert_eq!(code(scene.resolve(&id, asked("w", &Expect::default()))), Code::MissingScopes);
}

#[test]
fn a_step_that_expects_another_connection_is_told_what_is_there() {
    let scene = Scene::new();
    let (id, other) = (scene.connect("ann"), scene.connect("bob"));
    let expects = [
        Expect { app: AppId::parse("slack"), ..Expect::default() },
        Expect { account: Some("id-bob".into()), ..Expect::default() },
        Expect { connection: Some(other), ..Expect::default() },
    ];
    for expect in expects {
        let error = scene.resolve(&id, Ask { expect, ..ask() }).unwrap_err();
        assert_eq!(error.code, Code::UnexpectedConnection);
        let actual = error.hints.actual.unwrap();
        assert_eq!((actual.app.as_str(), actual.account.as_deref()), ("acme", Some("ann@acme.example")));
    }
    let right = Expect { app: AppId::parse("acme"), account: Some("id-ann".into()), connection: Some(id.clone()) };
    scene.resolve(&id, Ask { expect: right, ..ask() }).unwrap();
}

#[test]
fn allowed_workflows_let_only_the_named_in() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    patch(&scene, &id, &allow_only("w"));
    scene.resolve(&id, step("w", "s")).unwrap();
    assert_eq!(code(scene.resolve(&id, step("v", "s"))), Code::WorkflowNotAllowed);
    assert_eq!(code(scene.resolve(&id, ask())), Code::WorkflowNotAllowed, "who names none is not on the list");
}

#[test]
fn scopes_that_were_not_granted_are_named_with_the_way_to_get_them() {
    let scene = Scene::new();
    *scene.world.acme.grants_scopes.borrow_mut() = Some("read".into());
    let id = scene.connect("ann");
    assert_eq!(scene.row(&id).missing_scopes(), ["write"]);
    scene.resolve(&id, Ask { scopes: vec!["read".into()], ..ask() }).unwrap();
    let error = scene.resolve(&id, Ask { scopes: vec!["read".into(), "write".into()], ..ask() }).unwrap_err();
    assert_eq!(error.code, Code::MissingScopes);
    assert_eq!(error.hints.missing_scopes, ["write"]);
    let url = format!("https://c.example.com/connections/{id}/reconnect?scopes=write");
    assert_eq!(error.hints.reconnect_url, Some(url));
}

#[test]
fn what_is_dead_says_why_and_where_to_repair_it() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.withdraw("ann");
    scene.expire(&id);
    for _ in 0..3 {
        let error = scene.resolve(&id, ask()).unwrap_err();
        assert_eq!((error.code, error.hints.reason.as_deref()), (Code::NeedsReconnect, Some("revoked")));
        let url = format!("https://c.example.com/connections/{id}/reconnect");
        assert_eq!(error.hints.reconnect_url, Some(url));
    }
    assert_eq!(scene.world.acme.redemptions().len(), 1);
}

#[test]
fn an_ended_token_without_refresh_token_needs_a_reconnect() {
    let scene = Scene::new();
    scene.world.acme.gives_refresh_token.set(false);
    let id = scene.connect("ann");
    scene.resolve(&id, Ask { min_ttl: 86_400, ..ask() }).unwrap();
    scene.expire(&id);
    let error = scene.resolve(&id, ask()).unwrap_err();
    assert_eq!((error.code, error.hints.reason.as_deref()), (Code::NeedsReconnect, Some("refresh_token_missing")));
}

#[test]
fn what_nobody_confirmed_is_not_handed_out() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.db.tamper("UPDATE connections SET status = 'awaiting_confirmation'");
    assert_eq!(code(scene.resolve(&id, ask())), Code::AwaitingConfirmation);
}

#[test]
fn a_refused_client_is_named_only_when_no_valid_token_is_left() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.always("/token", Some(Reply::status(401, "{\"error\":\"invalid_client\"}")));
    let answered = scene.resolve(&id, Ask { force_refresh: true, ..ask() }).unwrap();
    assert_eq!(answered.resolved.freshness, Freshness::Stale);
    scene.expire(&id);
    for _ in 0..2 {
        assert_eq!(code(scene.resolve(&id, ask())), Code::ClientMisconfigured);
    }
}

#[test]
fn a_refresh_of_somebody_else_that_lasts_too_long_is_refresh_in_progress() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.expire(&id);
    scene.world.acme.latency_ms.set(14_000);
    let first = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(100));
    let error = scene.resolve(&id, ask()).unwrap_err();
    assert_eq!((error.code, error.hints.retry_after), (Code::RefreshInProgress, Some(5)));
    scene.world.run(first);
    scene.resolve(&id, ask()).unwrap();
}

#[test]
fn an_app_that_fails_with_no_token_left_is_app_unavailable() {
    for reply in [Reply::status(500, ""), Reply::error(HttpError::Network), Reply::status(429, "")] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        scene.expire(&id);
        scene.world.acme.next("/token", reply);
        let error = scene.resolve(&id, ask()).unwrap_err();
        assert_eq!(error.code, Code::AppUnavailable);
        assert!(error.hints.retry_after.unwrap() > 0);
    }
}

#[test]
fn a_database_that_is_down_is_a_503_in_strong_mode() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, mode(Consistency::Available)).unwrap();
    scene.world.db.down.set(true);
    assert_eq!(code(scene.resolve(&id, ask())), Code::DatabaseUnavailable);
}

#[test]
fn a_disconnected_connection_is_gone_from_the_answer_on() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        scene.resolve_fully(&id, mode(consistency)).unwrap();
    }
    scene.disconnect(&id).unwrap();
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        assert_eq!(code(scene.resolve(&id, mode(consistency))), Code::ConnectionNotFound);
    }
}

// ---- the copy near the caller ----

#[test]
fn available_mode_reads_the_record_and_falls_back_on_the_copy() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let first = scene.resolve_fully(&id, mode(Consistency::Available)).unwrap().resolved;
    assert_eq!(first.source, Source::Database);
    scene.world.db.down.set(true);
    let second = scene.resolve_fully(&id, mode(Consistency::Available)).unwrap().resolved;
    assert_eq!((second.source, second.freshness), (Source::Cache, Freshness::Fresh));
    assert_eq!(access(&second), access(&first));
    assert_eq!((second.name, second.account, second.issued.request), (first.name, first.account, first.issued.request));
    scene.world.kv.down.set(true);
    assert_eq!(code(scene.resolve(&id, mode(Consistency::Available))), Code::DatabaseUnavailable);
}

#[test]
fn edge_mode_reads_the_copy_first_and_the_record_when_there_is_none() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    assert_eq!(scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap().resolved.source, Source::Database);
    scene.world.db.reset_counts();
    assert_eq!(scene.resolve(&id, mode(Consistency::Edge)).unwrap().resolved.source, Source::Cache);
    assert_eq!(scene.world.db.round_trips.get(), 0);
}

#[test]
fn a_cache_that_is_down_harms_nothing() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.kv.down.set(true);
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        assert_eq!(scene.resolve_fully(&id, mode(consistency)).unwrap().resolved.source, Source::Database);
    }
    scene.world.kv.down.set(false);
    scene.world.kv.refused_puts.set(2);
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    assert_eq!(scene.resolve(&id, mode(Consistency::Edge)).unwrap().resolved.source, Source::Cache);
}

#[test]
fn the_copy_obeys_the_policy_of_the_record() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    patch(&scene, &id, &allow_only("w"));
    let asked = |workflow: &str| Ask { consistency: Consistency::Edge, ..step(workflow, "s") };
    scene.resolve_fully(&id, asked("w")).unwrap();
    assert_eq!(scene.resolve(&id, asked("w")).unwrap().resolved.source, Source::Cache);
    assert_eq!(code(scene.resolve(&id, asked("v"))), Code::WorkflowNotAllowed);
    let narrow = scene.make_key(|key| key.connections = Some(vec![]));
    assert_eq!(code(scene.resolve_as(&narrow, &id, asked("w"))), Code::ConnectionNotFound);
    let expect = Expect { account: Some("id-bob".into()), ..Expect::default() };
    assert_eq!(code(scene.resolve(&id, Ask { expect, ..asked("w") })), Code::UnexpectedConnection);
    assert_eq!(code(scene.resolve(&id, Ask { scopes: vec!["x".into()], ..asked("w") })), Code::MissingScopes);
}

#[test]
fn a_copy_that_does_not_open_is_no_copy() {
    let scene = Scene::new();
    let (id, other) = (scene.connect("ann"), scene.connect("bob"));
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    scene.resolve_fully(&other, mode(Consistency::Edge)).unwrap();
    {
        let mut entries = scene.world.kv.held.borrow_mut();
        let stolen = entries[&format!("connection/{other}")].clone();
        entries.insert(format!("connection/{id}"), stolen);
    }
    let resolved = scene.resolve(&id, mode(Consistency::Edge)).unwrap().resolved;
    assert_eq!((resolved.source, resolved.account.unwrap().id), (Source::Database, "id-ann".to_owned()));
}

#[test]
fn a_copy_never_holds_a_refresh_token() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    let entry: serde_json::Value =
        serde_json::from_str(&scene.world.kv.held.borrow()[&format!("connection/{id}")].0).unwrap();
    let place = Place {
        workspace: scene.workspace.as_str(),
        table: "cache",
        row: id.as_str(),
        field: "connection",
        generation: 1,
    };
    let opened = scene.world.config().ring.open(&place, entry["sealed"].as_str().unwrap()).unwrap();
    let (access, refresh) = tokens(&scene.credential(&id));
    assert!(opened.expose().contains(&access));
    assert!(!opened.expose().contains(&refresh.unwrap()));
}

#[test]
fn a_credential_version_is_copied_once() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    for _ in 0..5 {
        scene.resolve_fully(&id, mode(Consistency::Available)).unwrap();
    }
    assert_eq!(scene.world.kv.puts.get(), 2, "the connection and the key");
    scene.expire(&id);
    for _ in 0..5 {
        scene.resolve_fully(&id, mode(Consistency::Available)).unwrap();
    }
    let connection_puts = scene.world.kv.puts.get() - 2;
    assert!((1..=2).contains(&connection_puts), "the new version, and the key's entry that had ended");
    for _ in 0..3 {
        scene.resolve_fully(&id, ask()).unwrap();
    }
    assert_eq!(scene.world.kv.puts.get() - 2, connection_puts, "strong mode copies nothing");
}

#[test]
fn a_token_with_less_than_a_minute_to_live_is_not_copied() {
    let scene = Scene::new();
    scene.world.acme.expires_in.set(Some(50));
    let id = scene.connect("ann");
    scene.resolve_fully(&id, mode(Consistency::Available)).unwrap();
    assert_eq!(scene.world.kv.puts.get(), 0);
}

#[test]
fn what_ended_while_it_was_copied_is_taken_back() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let core = scene.world.core();
    let answered = scene.world.run(resolve(&core, &scene.presented(), &id, mode(Consistency::Edge).checked())).unwrap();
    scene.disconnect(&id).unwrap();
    scene.world.run(async {
        let core = scene.world.core();
        store::keys::revoke(core.db(), (&scene.workspace, &scene.key.id), true, None, core.now()).await.unwrap();
    });
    scene.world.run(async {
        for after in answered.after {
            afterwards::run(&core, after).await;
        }
    });
    assert_eq!(scene.world.kv.names(), Vec::<String>::new());
}

#[test]
fn a_reconnect_or_disconnect_that_races_a_copy_leaves_no_old_copy() {
    for seed in 0..24 {
        let world = crate::support::World::new(crate::support::Way::Object, Some(seed));
        let scene = Scene::in_world(&world, &json!({}));
        let id = scene.connect("ann");
        let (core, key, again) = (world.core(), scene.presented(), id.clone());
        let copying = world.runtime.spawn(async move {
            let answered = resolve(&core, &key, &again, mode(Consistency::Edge).checked()).await;
            for after in answered.into_iter().flat_map(|answered| answered.after) {
                afterwards::run(&core, after).await;
            }
        });
        let (core, workspace, again) = (world.core(), scene.workspace.clone(), id.clone());
        let ending = world.runtime.spawn(async move {
            connections::disconnect::disconnect(&core, &workspace, &again, "key:test").await.unwrap();
        });
        world.run(async {
            copying.await;
            ending.await;
        });
        let name = format!("connection/{id}");
        assert!(!world.kv.names().contains(&name), "seed {seed}");
    }
}

#[test]
fn a_near_end_copy_is_refreshed_behind_the_answer() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    scene.world.pass(3300);
    let answered = scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    assert_eq!(answered.resolved.freshness, Freshness::Stale);
    assert_eq!(scene.world.acme.redemptions().len(), 1);
}

/// A scene in one instance of the program, which remembers from call to call.
fn in_one_instance() -> Scene {
    let world = crate::support::World::new(crate::support::Way::Direct, None).in_one_instance();
    Scene::in_world(&world, &json!({}))
}

fn copy_of(id: &ConnectionId) -> String {
    format!("connection/{id}")
}

#[test]
fn an_answer_that_is_being_replaced_is_not_copied() {
    for consistency in [Consistency::Available, Consistency::Edge] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        scene.world.pass(3300);
        scene.world.acme.always("/token", Some(Reply::status(503, "")));
        let answered = scene.resolve_fully(&id, mode(consistency)).unwrap();
        assert_eq!(answered.resolved.freshness, Freshness::Stale);
        assert!(!scene.world.kv.names().contains(&copy_of(&id)), "{consistency:?}");
        assert_eq!(scene.world.kv.puts.get(), 0);
    }
}

#[test]
fn a_copy_of_a_token_that_was_replaced_meanwhile_is_taken_back() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let core = scene.world.core();
    let answered = scene.world.run(resolve(&core, &scene.presented(), &id, mode(Consistency::Edge).checked())).unwrap();
    assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::Refreshed);
    scene.world.run(async {
        for after in answered.after {
            afterwards::run(&core, after).await;
        }
    });
    assert_eq!(scene.world.kv.puts.get(), 2, "it was put");
    assert!(!scene.world.kv.names().contains(&copy_of(&id)), "and taken back");
    let next = scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap().resolved;
    assert_eq!(access(&next), tokens(&scene.credential(&id)).0);
}

#[test]
fn a_version_is_copied_once_though_reads_still_say_that_there_is_nothing() {
    let scene = in_one_instance();
    let id = scene.connect("ann");
    scene.world.kv.blind.set(true);
    for _ in 0..20 {
        scene.resolve_fully(&id, mode(Consistency::Available)).unwrap();
        scene.world.pass(1);
    }
    assert_eq!(scene.world.kv.puts.get(), 2, "the connection and the key, once each");
    assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::Refreshed);
    for _ in 0..20 {
        scene.resolve_fully(&id, mode(Consistency::Available)).unwrap();
        scene.world.pass(1);
    }
    assert_eq!(scene.world.kv.puts.get(), 3, "and the new version once");
}

#[test]
fn a_copy_that_was_taken_away_is_put_again_when_there_is_something_to_copy() {
    let scene = in_one_instance();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    scene.world.run(async {
        let core = scene.world.core();
        connections::resolve::removal::Removal::of_connection(&core, &id).unwrap().perform(&core).await
    });
    assert!(!scene.world.kv.names().contains(&copy_of(&id)));
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    assert!(scene.world.kv.names().contains(&copy_of(&id)));
}

#[test]
fn hits_of_the_copy_leave_the_record_alone_but_for_one_note_in_five_minutes() {
    let scene = in_one_instance();
    let id = scene.connect("ann");
    let asked = Ask { consistency: Consistency::Edge, ..step("w", "s") };
    scene.resolve_fully(&id, asked.clone()).unwrap();
    for round in 0..3 {
        scene.world.pass(301);
        scene.world.db.reset_counts();
        for _ in 0..20 {
            let answered = scene.resolve_fully(&id, asked.clone()).unwrap();
            assert_eq!(answered.resolved.source, Source::Cache);
            scene.world.pass(1);
        }
        assert_eq!(scene.world.db.round_trips.get(), 1, "round {round}: one batch for twenty hits");
        let noted = scene.world.db.number("SELECT last_used_at FROM uses");
        assert!(scene.world.now().unix() - noted <= 20, "and that one was written");
    }
    scene.world.db.reset_counts();
    scene.resolve_fully(&id, Ask { consistency: Consistency::Edge, ..step("w", "other") }).unwrap();
    assert_eq!(scene.world.db.number("SELECT count(*) FROM uses"), 2, "another step is noted for itself");
}

#[test]
fn hits_of_a_copy_near_its_end_ask_for_a_refresh_once_in_a_while() {
    let scene = in_one_instance();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    scene.world.pass(3300);
    scene.world.acme.always("/token", Some(Reply::status(400, "{\"error\":\"slow_down\"}")));
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    scene.world.db.reset_counts();
    for _ in 0..20 {
        let resolved = scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap().resolved;
        assert_eq!((resolved.source, resolved.freshness), (Source::Cache, Freshness::Stale));
    }
    assert_eq!(scene.world.db.round_trips.get(), 0);
}

#[test]
fn the_copy_of_a_connection_that_dies_is_taken_away_at_once() {
    for refreshable in [true, false] {
        let scene = Scene::new();
        scene.world.acme.gives_refresh_token.set(refreshable);
        let id = scene.connect("ann");
        scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
        assert!(scene.world.kv.names().contains(&copy_of(&id)));
        scene.world.acme.withdraw("ann");
        assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Dead);
        assert!(!scene.world.kv.names().contains(&copy_of(&id)));
        assert_eq!(code(scene.resolve(&id, mode(Consistency::Edge))), Code::NeedsReconnect);
    }
}

// ---- what changes while a call waits ----

/// A call that waits for a refresh which takes eight seconds.
fn waiting(scene: &Scene, id: &ConnectionId, ask: Ask) -> crate::support::runtime::Task<Result<Answered, Error>> {
    scene.expire(id);
    scene.world.acme.latency_ms.set(8000);
    let (core, key, id) = (scene.world.core(), scene.presented(), id.clone());
    let waiting = scene.world.runtime.spawn(async move { resolve(&core, &key, &id, ask.checked()).await });
    scene.world.run(scene.world.runtime.sleep(200));
    scene.world.acme.latency_ms.set(10);
    waiting
}

#[test]
fn an_account_that_was_switched_while_a_call_waited_is_not_handed_out_as_the_expected_one() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let expect = Expect { account: Some("id-ann".into()), ..Expect::default() };
    let waiting = waiting(&scene, &id, Ask { expect, ..ask() });
    let flow = scene.flow(&scene.repair_of(&id), "bob");
    let choice = connections::connect::settle::Choice::Switch;
    scene.world.run(async { connections::connect::settle::choose(&scene.world.core(), &flow, choice).await.unwrap() });
    assert_eq!(code(scene.world.run(waiting)), Code::UnexpectedConnection);
    let resolved = scene.resolve(&id, ask()).unwrap().resolved;
    assert_eq!(resolved.account.unwrap().id, "id-bob");
}

#[test]
fn a_workflow_that_was_shut_out_while_its_call_waited_gets_nothing() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let waiting = waiting(&scene, &id, step("w", "s"));
    patch(&scene, &id, &allow_only("v"));
    assert_eq!(code(scene.world.run(waiting)), Code::WorkflowNotAllowed);
    scene.resolve(&id, step("v", "s")).unwrap();
}

#[test]
fn a_lost_comparison_is_a_refresh_in_progress_and_not_a_missing_connection() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.next("/token", Reply::status(400, "{\"error\":\"invalid_grant\"}"));
    let waiting = waiting(&scene, &id, ask());
    scene.world.db.tamper("UPDATE connections SET version = version + 1");
    let error = scene.world.run(waiting).map(|_| ()).unwrap_err();
    assert_eq!((error.code, error.hints.retry_after), (Code::RefreshInProgress, Some(1)));
}

#[test]
fn a_connection_that_was_disconnected_while_a_call_waited_does_not_exist() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let waiting = waiting(&scene, &id, ask());
    scene.disconnect(&id).unwrap();
    assert_eq!(code(scene.world.run(waiting)), Code::ConnectionNotFound);
}

// ---- uses ----

#[test]
fn a_use_is_written_at_most_every_five_minutes() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, step("w", "s")).unwrap();
    scene.world.db.reset_counts();
    for _ in 0..20 {
        scene.resolve_fully(&id, step("w", "s")).unwrap();
    }
    assert_eq!(scene.world.db.writes.get(), 0);
    assert_eq!(scene.world.db.round_trips.get(), 20);
    scene.world.pass(301);
    scene.resolve_fully(&id, step("w", "s")).unwrap();
    assert_eq!(scene.world.db.round_trips.get(), 22);
    assert_eq!(scene.world.db.number("SELECT last_used_at FROM uses"), scene.world.now().unix());
    assert_eq!(scene.row(&id).last_used_at, Some(scene.world.now()));
}

#[test]
fn active_days_count_days() {
    let scene = Scene::new();
    scene.world.acme.expires_in.set(None);
    let id = scene.connect("ann");
    for _ in 0..6 {
        scene.resolve_fully(&id, step("w", "s")).unwrap();
        scene.world.pass(600);
    }
    assert_eq!(scene.world.db.number("SELECT active_days FROM uses"), 1, "an hour is one day");
    for day in 2..5 {
        scene.world.pass(86_400);
        scene.resolve_fully(&id, step("w", "s")).unwrap();
        assert_eq!(scene.world.db.number("SELECT active_days FROM uses"), day);
    }
}

#[test]
fn steps_and_workflows_are_told_apart_and_the_nameless_touch_the_connection_only() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    for (workflow, one) in [("w", "a"), ("w", "b"), ("v", "a")] {
        scene.resolve_fully(&id, step(workflow, one)).unwrap();
    }
    scene.resolve_fully(&id, Ask { workflow: Some("u".into()), ..ask() }).unwrap();
    scene.world.pass(301);
    scene.resolve_fully(&id, ask()).unwrap();
    assert_eq!(scene.world.db.number("SELECT count(*) FROM uses"), 4);
    assert_eq!(scene.row(&id).last_used_at, Some(scene.world.now()));
}

#[test]
fn a_use_that_can_not_be_noted_does_not_fail_the_call() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let fault = Fault { sql: "INSERT INTO uses", times: 1, wound: Wound::Before };
    scene.world.db.faults.borrow_mut().push(fault);
    scene.resolve_fully(&id, step("w", "s")).unwrap();
    assert_eq!(scene.world.log.count("use_not_noted"), 1);
}

#[test]
fn what_a_caller_may_ask_is_bounded() {
    let long = "x".repeat(129);
    for (field, wrong) in [
        ("min_ttl", Ask { min_ttl: -1, ..ask() }),
        ("min_ttl", Ask { min_ttl: 86_401, ..ask() }),
        ("workflow", Ask { workflow: Some(long.clone()), ..ask() }),
        ("workflow", Ask { workflow: Some(String::new()), ..ask() }),
        ("workflow", Ask { step: Some("s".into()), ..ask() }),
        ("step", step("w", &long)),
        ("step", step("w", "a\nb")),
        ("scopes", Ask { scopes: vec!["s".into(); 101], ..ask() }),
    ] {
        let error = wrong.checked().unwrap_err();
        assert!(error.hints.errors.iter().any(|one| one.field == field), "{field}: {error:?}");
    }
}
