//! The clock: stale connections are checked, what was left undone is done, what ended is purged.

use connections::check::{Summary, tick};
use connections::connect::callback::{Landing, Returned};
use connections::connection::Status;
use connections::error::Code;
use connections::ids::ConnectionId;
use connections::ports::{Database as _, Errand, Ports as _};
use connections::resolve::Ask;
use connections::store;
use connections::time::Timestamp;
use serde_json::json;

use crate::support::scene::BROWSER;
use crate::support::{Fault, Reply, Scene, Way, World, Wound};

fn scene_with(way: Way, seed: Option<u64>, count: usize) -> (Scene, Vec<ConnectionId>) {
    let scene = Scene::in_world(&World::new(way, seed), &json!({}));
    let ids = (0..count).map(|at| scene.connect(&format!("p{at}"))).collect();
    (scene, ids)
}

/// Everything is due, and no token is near its end.
fn make_all_due(scene: &Scene) {
    scene.world.db.tamper("UPDATE connections SET next_check_at = 1 WHERE deleted_at IS NULL");
}

#[test]
fn a_connection_is_looked_at_once_a_day() {
    let (scene, ids) = scene_with(Way::Object, None, 3);
    assert_eq!(scene.tick().checked, 0);
    let probes = scene.world.acme.count("/me");
    let mut checked = 0;
    for _ in 0..24 * 10 {
        scene.world.pass(3600);
        checked += scene.tick().checked;
    }
    assert!((24..=36).contains(&checked), "three connections in ten days: {checked}");
    assert!(scene.world.acme.count("/me") - probes <= 36);
    assert!(ids.iter().all(|id| scene.row(id).status == Status::Connected));
}

#[test]
fn a_token_that_ended_is_refreshed_before_a_workflow_trips_over_it() {
    let (scene, ids) = scene_with(Way::Object, None, 2);
    scene.world.pass(86_400 * 2);
    let summary = scene.tick();
    assert_eq!((summary.checked, summary.healthy), (2, 2));
    assert_eq!(scene.world.acme.redemptions().len(), 2);
    for id in &ids {
        assert!(scene.row(id).expires_at.unwrap() > scene.world.now());
    }
}

#[test]
fn what_a_run_found_is_counted() {
    let (scene, ids) = scene_with(Way::Object, None, 4);
    scene.world.pass(86_400 * 2);
    scene.world.acme.withdraw("p0");
    scene.world.db.tamper(&format!("UPDATE connections SET sealed_credential = 'cx1.k1.AAAA' WHERE id = '{}'", ids[1]));
    let summary = scene.tick();
    assert_eq!(summary, Summary { checked: 4, healthy: 2, dead: 2, purged: summary.purged, ..Summary::default() });
    assert_eq!(scene.row(&ids[0]).status, Status::NeedsReconnect);
    let text = scene.world.db.value("SELECT summary FROM scheduled_runs");
    assert_eq!(text, serde_json::to_string(&summary).unwrap());
}

#[test]
fn the_schedules_time_selects_and_the_clock_decides_the_rest() {
    let (scene, ids) = scene_with(Way::Object, None, 1);
    let due = scene.row(&ids[0]).next_check_at.unwrap();
    let run = |at: Timestamp| scene.world.run(async { tick(&scene.world.core(), at).await.unwrap().checked });
    assert_eq!(run(due.plus(-1)), 0);
    assert_eq!(run(due), 1, "also when the run is delayed or early by the clock");
}

#[test]
fn overlapping_runs_never_check_a_connection_twice() {
    for way in [Way::Direct, Way::Object] {
        for seed in 0..6 {
            let (scene, ids) = scene_with(way, Some(seed), 8);
            make_all_due(&scene);
            let probes = scene.world.acme.count("/me");
            let now = scene.world.now();
            let runs = (0..3).map(|_| {
                let core = scene.world.core();
                async move { tick(&core, now).await.unwrap().checked }
            });
            let checked: u64 = scene.world.at_once(runs).iter().sum();
            assert_eq!(checked, 8, "{way:?} {seed}");
            assert_eq!(scene.world.acme.count("/me") - probes, ids.len());
        }
    }
}

#[test]
fn forty_due_connections_fit_in_one_runs_budget() {
    let (scene, _) = scene_with(Way::Object, None, 45);
    make_all_due(&scene);
    scene.world.pass(3500);
    let now = scene.world.now();
    let core = scene.world.core();
    let summary = scene.world.run(tick(&core, now)).unwrap();
    assert_eq!((summary.checked, summary.healthy), (40, 40));
    let spent = core.ports.meter.spent.get();
    assert!(spent <= 50, "{spent} subrequests");
    assert_eq!(scene.tick().checked, 5, "the rest is the next run's");
}

#[test]
fn a_run_with_free_hands_and_much_left_over_stays_in_its_budget() {
    let (scene, ids) = scene_with(Way::Object, None, 12);
    scene.world.acme.always("/revoke", Some(Reply::status(500, "")));
    for id in &ids {
        scene.disconnect(id).unwrap();
    }
    for at in 0..10 {
        scene.make_key(|key| key.name = format!("k{at}"));
    }
    scene.world.db.tamper("UPDATE api_keys SET revoked_at = 1 WHERE name <> 'first'");
    let more: Vec<_> = (0..12).map(|at| scene.connect(&format!("q{at}"))).collect();
    for id in &more {
        scene.world.run(async {
            let core = scene.world.core();
            store::refreshes::mark_deleted(core.db(), &scene.workspace, id, core.now(), None).await.unwrap();
        });
    }
    scene.world.acme.always("/revoke", None);
    for _ in 0..20 {
        scene.world.pass(300);
        let now = scene.world.now();
        let core = scene.world.core();
        scene.world.run(tick(&core, now)).unwrap();
        assert!(core.ports.meter.spent.get() <= 50, "{}", core.ports.meter.spent.get());
    }
    assert_eq!(scene.world.db.number("SELECT count(*) FROM connections"), 0);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM revocations"), 0);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM api_keys WHERE revoked_at IS NOT NULL"), 0);
}

#[test]
fn a_run_that_dies_half_way_repeats_nothing_harmful() {
    for after_ms in [20, 60, 110, 150, 250] {
        let (scene, ids) = scene_with(Way::Object, None, 10);
        scene.world.pass(86_400 * 2);
        let now = scene.world.now();
        let core = scene.world.core();
        let run = scene.world.runtime.spawn(async move { tick(&core, now).await });
        scene.world.run(scene.world.runtime.sleep(after_ms));
        run.kill();
        scene.world.runtime.drain();
        scene.world.pass(121);
        scene.tick();
        scene.tick();
        assert_eq!(scene.world.acme.redemptions().len(), ids.len(), "each once, killed at {after_ms} ms");
        assert!(ids.iter().all(|id| scene.row(id).status == Status::Connected));
        assert!(ids.iter().all(|id| scene.row(id).expires_at.unwrap() > scene.world.now()));
    }
}

#[test]
fn a_run_with_a_wrong_key_ring_does_nothing() {
    let (scene, _) = scene_with(Way::Object, None, 1);
    scene.tick();
    make_all_due(&scene);
    *scene.world.keys.borrow_mut() = "k1:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=".into();
    let asked = scene.world.acme.requests();
    let now = scene.world.now();
    let error = scene.world.run(async { tick(&scene.world.core(), now).await }).unwrap_err();
    assert_eq!(error.code, connections::error::Code::Misconfigured);
    assert_eq!(scene.world.acme.requests(), asked);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM connections WHERE next_check_at = 1"), 1);
}

#[test]
fn a_check_that_fails_is_repeated_soon_and_then_less_often() {
    let (scene, ids) = scene_with(Way::Object, None, 1);
    scene.world.acme.always("/me", Some(Reply::status(500, "")));
    make_all_due(&scene);
    let before = scene.world.acme.count("/me");
    for _ in 0..24 * 60 {
        scene.tick();
        scene.world.acme.always("/token", None);
        scene.world.pass(60);
    }
    let probes = scene.world.acme.count("/me") - before;
    assert!((5..=120).contains(&probes), "{probes} probes in a day of outage");
    assert_eq!(scene.row(&ids[0]).status, Status::Connected);
}

#[test]
fn the_dead_are_left_alone_and_their_tokens_forgotten_after_a_week() {
    let (scene, ids) = scene_with(Way::Object, None, 1);
    scene.world.acme.withdraw("p0");
    scene.world.pass(86_400 * 2);
    scene.tick();
    assert_eq!(scene.world.acme.redemptions().len(), 1);
    for _ in 0..6 {
        scene.world.pass(86_400);
        scene.tick();
    }
    assert!(scene.row(&ids[0]).sealed_credential.is_some());
    scene.world.pass(86_400 * 2);
    scene.tick();
    assert_eq!(scene.row(&ids[0]).sealed_credential, None);
    assert_eq!(scene.world.acme.redemptions().len(), 1);
    let outcome = scene.errand(&ids[0], Errand::CheckNow);
    assert_eq!(outcome, connections::ports::ErrandOutcome::Dead);
}

#[test]
fn what_has_ended_is_purged() {
    let (scene, _) = scene_with(Way::Object, None, 1);
    let now = scene.world.now();
    scene.start(&scene.wish(), "elsewhere");
    scene.world.run(async {
        let core = scene.world.core();
        let session = store::sessions::Session {
            hash: "h".into(),
            workspace: scene.workspace.clone(),
            kind: store::sessions::Kind::Person(scene.wish().user.unwrap()),
            role: connections::workspace::Role::Member,
            made_by: None,
            created_at: now,
            expires_at: now.plus(3600),
        };
        store::sessions::insert(core.db(), &session).await.unwrap();
        let sign_in = store::sessions::SignIn {
            hash: "t".into(),
            workspace: scene.workspace.clone(),
            user: scene.wish().user.unwrap(),
            role: connections::workspace::Role::Member,
            return_to: None,
            made_by: None,
            created_at: now,
            expires_at: now.plus(600),
            used_at: None,
        };
        assert!(store::sessions::insert_sign_in(core.db(), &sign_in).await.unwrap());
    });
    scene.world.pass(3600);
    scene.tick();
    let count = |table: &str| scene.world.db.number(&format!("SELECT count(*) FROM {table}"));
    assert_eq!((count("sessions"), count("sign_in_links")), (0, 0));
    assert_eq!(scene.world.db.number("SELECT count(*) FROM flows WHERE sealed_verifier IS NOT NULL"), 0);
    assert_eq!(count("flows"), 2);
    scene.world.pass(90_000);
    scene.tick();
    assert_eq!(count("flows"), 0);
    scene.world.pass(86_400 * 91);
    scene.tick();
    assert_eq!(scene.world.db.number("SELECT count(*) FROM events WHERE type = 'connected'"), 0);
}

#[test]
fn a_deleted_workspace_is_disconnected_revoked_and_erased() {
    let (scene, ids) = scene_with(Way::Object, None, 3);
    let other = scene.neighbour();
    let kept = other.connect("zoe");
    scene.world.run(async {
        let core = scene.world.core();
        assert!(store::workspaces::mark_deleted(core.db(), &scene.workspace, core.now()).await.unwrap());
    });
    assert!(ids.iter().all(|id| scene.find(id).is_none()));
    for _ in 0..6 {
        scene.world.pass(121);
        scene.tick();
    }
    let left = |table: &str, column: &str| {
        scene.world.db.number(&format!("SELECT count(*) FROM {table} WHERE {column} = '{}'", scene.workspace))
    };
    for table in ["connections", "api_keys", "oauth_clients", "apps", "events", "uses", "connect_links", "flows"] {
        assert_eq!(left(table, "workspace_id"), 0, "{table}");
    }
    assert_eq!(left("workspaces", "id"), 0);
    assert!((0..3).all(|at| !scene.world.acme.is_alive(&format!("p{at}"))));
    assert_eq!(other.row(&kept).status, Status::Connected);
}

#[test]
fn a_flow_that_began_as_its_workspace_was_deleted_does_not_stop_the_clock() {
    let (scene, _) = scene_with(Way::Object, None, 1);
    scene.world.run(async {
        let core = scene.world.core();
        store::workspaces::mark_deleted(core.db(), &scene.workspace, core.now()).await.unwrap();
    });
    let late = scene.world.run(async {
        connections::connect::start::start(&scene.world.core(), &scene.wish(), "late").await.map(|_| ())
    });
    late.unwrap_err();
    for _ in 0..5 {
        scene.world.pass(121);
        scene.tick();
    }
    assert_eq!(scene.world.db.number("SELECT count(*) FROM workspaces"), 0);
}

#[test]
fn a_leftover_that_fails_does_not_keep_the_rest_undone() {
    let (scene, ids) = scene_with(Way::Object, None, 2);
    scene.world.run(async {
        let core = scene.world.core();
        for id in &ids {
            store::refreshes::mark_deleted(core.db(), &scene.workspace, id, core.now(), None).await.unwrap();
        }
        let batch = vec![connections::sql!("UPDATE flows SET expires_at = ?1", 1_i64)];
        core.ports.database().batch(batch).await.unwrap();
    });
    scene.world.pass(121);
    let fault = Fault { sql: "DELETE FROM connections", times: 2, wound: Wound::Before };
    scene.world.db.faults.borrow_mut().push(fault);
    let now = scene.world.now();
    let _ = scene.world.run(async { tick(&scene.world.core(), now).await });
    assert_eq!(scene.world.db.number("SELECT count(*) FROM connections"), 1);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM flows"), 0, "the purge goes on");
}

// ---- what ends without a request ----

/// Ten runs of the clock, two minutes and a bit apart: how many connections they took.
fn taken_in_ten_runs(scene: &Scene) -> u64 {
    let mut checked = 0;
    for _ in 0..10 {
        checked += scene.tick().checked;
        scene.world.pass(130);
    }
    checked
}

#[test]
fn what_can_not_be_opened_is_put_off() {
    let (scene, ids) = scene_with(Way::Object, None, 1);
    scene.world.db.tamper("UPDATE connections SET sealed_credential = 'cx1.k1.AAAA'");
    for expired in [false, true] {
        if expired {
            scene.expire(&ids[0]);
        }
        make_all_due(&scene);
        assert_eq!(taken_in_ten_runs(&scene), 1);
        assert!(scene.row(&ids[0]).next_check_at.unwrap().since(scene.world.now()) > 3600);
    }
}

#[test]
fn what_a_held_back_client_keeps_from_being_asked_is_put_off() {
    for misconfigured in ["NULL", "1"] {
        let (scene, ids) = scene_with(Way::Object, None, 1);
        scene.expire(&ids[0]);
        make_all_due(&scene);
        let until = scene.world.now().plus(3000);
        scene.world.db.tamper(&format!(
            "UPDATE oauth_clients SET misconfigured_at = {misconfigured}, backoff_until = {}",
            until.unix()
        ));
        let asked = scene.world.acme.requests();
        assert_eq!(taken_in_ten_runs(&scene), 1, "misconfigured_at {misconfigured}");
        assert_eq!(scene.world.acme.requests(), asked);
        let next = scene.row(&ids[0]).next_check_at.unwrap();
        assert!((0..=3600).contains(&next.since(until)), "it is looked at when it may be asked again");
    }
}

fn issued() -> serde_json::Value {
    json!({ "auth": { "issuer": "https://acme.example", "authorize_url": null, "token_url": null, "revoke_url": null } })
}

/// A connection at an issuer that names itself.
fn connect_issued(scene: &Scene) -> ConnectionId {
    let url = scene.start(&scene.wish(), BROWSER);
    let (code, state) = scene.world.acme.consent(&url, "ann");
    let returned = Returned {
        state: Some(state),
        code: Some(code),
        iss: Some("https://acme.example".into()),
        ..Returned::default()
    };
    let Landing::Flow(flow) = scene.come_back(returned, BROWSER) else { panic!("refused") };
    scene.read_flow(&flow).connection.unwrap()
}

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn kill_the_issuer(scene: &Scene) {
    scene.world.pass(3601);
    assert!(scene.world.kv.names().iter().all(|name| name.starts_with("discovery/")));
    scene.world.kv.held.borrow_mut().clear();
    scene.world.acme.always(DISCOVERY, Some(Reply::status(500, "")));
}

#[test]
fn a_dead_issuer_is_asked_at_most_once_per_back_off_step() {
    for way in [Way::Direct, Way::Object] {
        let scene = Scene::in_world(&World::new(way, None), &issued());
        let id = connect_issued(&scene);
        kill_the_issuer(&scene);
        let before = scene.world.acme.count(DISCOVERY);
        for _ in 0..50 {
            let error = scene.resolve(&id, Ask::default()).unwrap_err();
            assert_eq!(error.code, Code::AppUnavailable);
            assert!(error.hints.retry_after.unwrap() >= 1);
        }
        assert_eq!(scene.world.acme.count(DISCOVERY) - before, 1, "fifty callers in the first step");
        for _ in 0..50 {
            scene.world.pass(10);
            assert_eq!(scene.resolve(&id, Ask::default()).unwrap_err().code, Code::AppUnavailable);
        }
        let asked = scene.world.acme.count(DISCOVERY) - before;
        assert!((3..=12).contains(&asked), "{asked} in 500 s");
        assert_eq!(scene.row(&id).status, Status::Connected);
        scene.world.acme.calm();
        scene.world.pass(1800);
        scene.resolve(&id, Ask::default()).unwrap();
        assert_eq!(scene.row(&id).failures, 0);
    }
}

#[test]
fn what_a_dead_issuer_keeps_from_being_checked_is_put_off() {
    let scene = Scene::in_world(&World::new(Way::Object, None), &issued());
    let id = connect_issued(&scene);
    kill_the_issuer(&scene);
    scene.world.acme.always("/.well-known/oauth-authorization-server", Some(Reply::status(500, "")));
    make_all_due(&scene);
    let before = scene.world.acme.count(DISCOVERY);
    for _ in 0..24 * 30 {
        scene.tick();
        scene.world.pass(120);
    }
    let asked = scene.world.acme.count(DISCOVERY) - before;
    assert!((10..=90).contains(&asked), "{asked} in a day");
    assert_eq!(scene.row(&id).status, Status::Connected);
}

#[test]
fn what_nothing_can_renew_is_looked_at_when_it_ends() {
    let scene = Scene::in_world(&World::new(Way::Object, None), &json!({}));
    scene.world.acme.gives_refresh_token.set(false);
    let (id, probed) = (scene.connect("ann"), scene.connect("bob"));
    assert_eq!(scene.errand(&probed, Errand::CheckNow), connections::ports::ErrandOutcome::Healthy);
    for id in [&id, &probed] {
        let row = scene.row(id);
        assert_eq!(row.next_check_at, Some(row.expires_at.unwrap().plus(1)));
    }
    scene.expire(&id);
    scene.expire(&probed);
    assert_eq!(scene.tick().dead, 2);
    for id in [&id, &probed] {
        let row = scene.row(id);
        assert_eq!(row.status, Status::NeedsReconnect);
        assert_eq!(row.reason, Some(connections::connection::Reason::RefreshTokenMissing));
    }
}

// ---- deleted workspaces, and shares of a run ----

fn delete_workspace(scene: &Scene) {
    scene.world.run(async {
        let core = scene.world.core();
        assert!(store::workspaces::mark_deleted(core.db(), &scene.workspace, core.now()).await.unwrap());
    });
}

fn rows_of(scene: &Scene, table: &str) -> i64 {
    let column = if table == "workspaces" { "id" } else { "workspace_id" };
    scene.world.db.number(&format!("SELECT count(*) FROM {table} WHERE {column} = '{}'", scene.workspace))
}

#[test]
fn what_came_to_life_while_its_workspace_was_deleted_is_ended_and_erased() {
    let (scene, ids) = scene_with(Way::Object, None, 2);
    let born =
        format!("UPDATE connections SET deleted_at = NULL, generation = 1, next_check_at = 1 WHERE id = '{}'", ids[1]);
    delete_workspace(&scene);
    scene.world.db.tamper(&born);
    assert!(scene.find(&ids[1]).is_some());
    for _ in 0..8 {
        scene.world.pass(121);
        scene.tick();
    }
    for table in ["connections", "api_keys", "oauth_clients", "workspaces"] {
        assert_eq!(rows_of(&scene, table), 0, "{table}");
    }
    assert!((0..2).all(|at| !scene.world.acme.is_alive(&format!("p{at}"))));
}

/// Twelve unfinished disconnects, twelve revocations and ten revoked keys; every connection of a neighbour is
/// due again and again.
fn much_left_over(due: usize) -> (Scene, Scene) {
    let (scene, ids) = scene_with(Way::Object, None, 12);
    let neighbour = scene.neighbour();
    for at in 0..due {
        neighbour.connect(&format!("n{at}"));
    }
    scene.world.acme.always("/revoke", Some(Reply::status(500, "")));
    for id in &ids {
        scene.disconnect(id).unwrap();
    }
    scene.world.acme.always("/revoke", None);
    for at in 0..10 {
        scene.make_key(|key| key.name = format!("k{at}"));
    }
    scene.world.db.tamper("UPDATE api_keys SET revoked_at = 1 WHERE name <> 'first'");
    let more: Vec<_> = (0..12).map(|at| scene.connect(&format!("q{at}"))).collect();
    for id in &more {
        scene.world.run(async {
            let core = scene.world.core();
            store::refreshes::mark_deleted(core.db(), &scene.workspace, id, core.now(), None).await.unwrap();
        });
    }
    (scene, neighbour)
}

fn left_over(scene: &Scene) -> i64 {
    rows_of(scene, "connections")
        + rows_of(scene, "revocations")
        + scene.world.db.number("SELECT count(*) FROM api_keys WHERE revoked_at IS NOT NULL")
}

#[test]
fn leftovers_get_their_share_of_a_run_that_is_full_and_all_fits_in_its_budget() {
    let (scene, _neighbour) = much_left_over(45);
    for run in 0..60 {
        scene.world.pass(121);
        make_all_due(&scene);
        let (before, now) = (left_over(&scene), scene.world.now());
        let core = scene.world.core();
        let summary = scene.world.run(tick(&core, now)).unwrap();
        let spent = core.ports.meter.spent.get();
        assert!(spent <= 50, "run {run}: {spent} subrequests");
        assert!(summary.checked >= 20, "run {run}: {} checked", summary.checked);
        assert_eq!(summary.healthy, summary.checked, "run {run}");
        assert!(before == 0 || left_over(&scene) < before, "run {run}: nothing was done of {before}");
    }
    assert_eq!(left_over(&scene), 0);
}

#[test]
fn a_run_with_a_small_batch_does_both_as_well() {
    let (scene, _neighbour) = much_left_over(10);
    scene.world.check_batch.set(Some(5));
    for run in 0..60 {
        scene.world.pass(121);
        make_all_due(&scene);
        let before = left_over(&scene);
        let summary = scene.tick();
        assert!(summary.checked >= 1 && summary.checked <= 5, "run {run}: {} checked", summary.checked);
        assert!(before == 0 || left_over(&scene) < before, "run {run}: nothing was done of {before}");
    }
    assert_eq!(left_over(&scene), 0);
}

#[test]
fn a_workspace_with_much_in_it_is_deleted_while_every_run_is_full() {
    let (scene, neighbour) = much_left_over(45);
    for at in 0..6 {
        scene.connect(&format!("m{at}"));
    }
    delete_workspace(&scene);
    for _ in 0..80 {
        scene.world.pass(121);
        make_all_due(&neighbour);
        let now = scene.world.now();
        let core = scene.world.core();
        scene.world.run(tick(&core, now)).unwrap();
        assert!(core.ports.meter.spent.get() <= 50, "{}", core.ports.meter.spent.get());
    }
    for table in ["connections", "revocations", "api_keys", "oauth_clients", "workspaces"] {
        assert_eq!(rows_of(&scene, table), 0, "{table}");
    }
    assert_eq!(rows_of(&neighbour, "connections"), 45);
}
