//! Disconnect: gone here at once, revoked at the app in an order, tried again for a day.

use connections::disconnect::{Disconnected, Revoked};
use connections::error::Code;
use connections::ports::HttpError;
use connections::resolve::{Ask, Consistency};
use serde_json::json;

use crate::support::{Fault, Reply, Rotates, Scene, Wound, tokens};

const CONNECTIONS: &str = "SELECT count(*) FROM connections";
const JOBS: &str = "SELECT count(*) FROM revocations";

#[test]
fn the_refresh_token_is_revoked_before_the_access_token_and_then_all_is_erased() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene
        .resolve_fully(&id, Ask { workflow: Some("w".into()), consistency: Consistency::Edge, ..Ask::default() })
        .unwrap();
    let (access, refresh) = tokens(&scene.credential(&id));
    let done = scene.disconnect(&id).unwrap();
    assert_eq!(done, Disconnected { revoked: Revoked::Confirmed, retrying: false });
    assert_eq!(scene.world.acme.revoked(), [refresh.unwrap(), access]);
    assert_eq!(scene.world.db.number(CONNECTIONS), 0);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM uses"), 0);
    assert!(!scene.world.kv.names().contains(&format!("connection/{id}")));
    let detail = scene.world.db.value("SELECT detail FROM events WHERE type = 'disconnected'");
    assert_eq!(detail, "confirmed");
}

#[test]
fn a_second_disconnect_finds_nothing() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.disconnect(&id).unwrap();
    assert_eq!(scene.disconnect(&id).unwrap_err().code, Code::ConnectionNotFound);
    let stranger = scene.neighbour();
    let other = scene.connect("bob");
    assert_eq!(stranger.disconnect(&other).unwrap_err().code, Code::ConnectionNotFound);
}

#[test]
fn it_is_gone_for_everybody_while_the_app_still_thinks() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, Ask { consistency: Consistency::Edge, ..Ask::default() }).unwrap();
    scene.world.acme.latency_ms.set(9000);
    let (core, workspace, gone) = (scene.world.core(), scene.workspace.clone(), id.clone());
    let ending = scene
        .world
        .runtime
        .spawn(async move { connections::disconnect::disconnect(&core, &workspace, &gone, "key:test").await });
    scene.world.run(scene.world.runtime.sleep(50));
    for consistency in [Consistency::Strong, Consistency::Edge] {
        let answer = scene.resolve(&id, Ask { consistency, ..Ask::default() });
        assert_eq!(answer.map(|_| ()).unwrap_err().code, Code::ConnectionNotFound);
    }
    scene.world.run(ending).unwrap();
}

#[test]
fn a_grant_that_another_connection_lives_on_is_kept() {
    let scene = Scene::new();
    let first = scene.connect("ann");
    let wish = connections::connect::start::Wish {
        user: Some(connections::workspace::User { id: "bob".into(), name: None }),
        ..scene.wish()
    };
    let second = scene.flow(&wish, "ann").connection.unwrap();
    assert_eq!(scene.disconnect(&first).unwrap().revoked, Revoked::KeptShared);
    assert!(scene.world.acme.revoked().is_empty() && scene.world.acme.is_alive("ann"));
    assert_eq!(scene.disconnect(&second).unwrap().revoked, Revoked::Confirmed);
    assert!(!scene.world.acme.is_alive("ann"));
}

#[test]
fn where_a_revocation_kills_one_token_only_a_shared_account_does_not_matter() {
    let scene = Scene::with(&json!({ "auth": { "revoke": { "kills": "token" } } }));
    let first = scene.connect("ann");
    let wish = connections::connect::start::Wish {
        user: Some(connections::workspace::User { id: "bob".into(), name: None }),
        ..scene.wish()
    };
    scene.flow(&wish, "ann");
    assert_eq!(scene.disconnect(&first).unwrap().revoked, Revoked::Confirmed);
}

#[test]
fn an_app_without_revocation_says_so() {
    let scene = Scene::with(&json!({ "auth": { "revoke_url": null } }));
    let id = scene.connect("ann");
    let done = scene.disconnect(&id).unwrap();
    assert_eq!(done, Disconnected { revoked: Revoked::Unsupported, retrying: false });
    assert_eq!(scene.world.db.number(CONNECTIONS), 0);
}

#[test]
fn what_the_app_does_not_confirm_is_tried_again_by_the_clock() {
    for reply in [Reply::status(500, ""), Reply::error(HttpError::Timeout), Reply::status(429, "")] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        scene.world.acme.next("/revoke", reply);
        let done = scene.disconnect(&id).unwrap();
        assert_eq!(done, Disconnected { revoked: Revoked::Failed, retrying: true });
        assert_eq!((scene.world.db.number(CONNECTIONS), scene.world.db.number(JOBS)), (0, 1));
        scene.tick();
        assert_eq!(scene.world.acme.revoked().len(), 0, "not before its time");
        scene.world.pass(61);
        scene.tick();
        assert_eq!(scene.world.acme.revoked().len(), 2);
        assert_eq!(scene.world.db.number(JOBS), 0);
        assert!(!scene.world.acme.is_alive("ann"));
    }
}

#[test]
fn a_job_backs_off_and_is_forgotten_after_a_day() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.always("/revoke", Some(Reply::status(500, "")));
    scene.disconnect(&id).unwrap();
    for _ in 0..24 * 60 {
        scene.world.pass(60);
        scene.tick();
    }
    let tries = scene.world.acme.count("/revoke");
    assert!((8..=30).contains(&tries), "{tries} tries in a day");
    scene.world.pass(60);
    scene.tick();
    assert_eq!(scene.world.db.number(JOBS), 0);
}

#[test]
fn a_job_is_kept_back_once_somebody_lives_on_the_grant_again() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.next("/revoke", Reply::status(500, ""));
    scene.disconnect(&id).unwrap();
    scene.connect("ann");
    scene.world.pass(61);
    scene.tick();
    assert!(scene.world.acme.revoked().is_empty());
    assert_eq!(scene.world.db.number(JOBS), 0);
    assert!(scene.world.acme.is_alive("ann"));
}

#[test]
fn a_disconnect_that_died_in_the_middle_is_finished_by_the_clock() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.latency_ms.set(9000);
    let (core, workspace, gone) = (scene.world.core(), scene.workspace.clone(), id.clone());
    let ending = scene
        .world
        .runtime
        .spawn(async move { connections::disconnect::disconnect(&core, &workspace, &gone, "key:test").await });
    scene.world.run(scene.world.runtime.sleep(50));
    ending.kill();
    scene.world.acme.latency_ms.set(10);
    assert_eq!(scene.find(&id), None);
    assert_eq!(scene.world.db.number(CONNECTIONS), 1);
    scene.tick();
    assert_eq!(scene.world.db.number(CONNECTIONS), 1, "it may still be under way");
    scene.world.pass(121);
    scene.tick();
    assert_eq!(scene.world.db.number(CONNECTIONS), 0);
    assert!(!scene.world.acme.is_alive("ann"));
}

#[test]
fn a_copy_that_can_not_be_taken_away_stays_noted_until_it_is() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, Ask { consistency: Consistency::Edge, ..Ask::default() }).unwrap();
    scene.world.kv.refused_deletes.set(3);
    scene.disconnect(&id).unwrap();
    assert_eq!(scene.world.db.number(CONNECTIONS), 0);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM cache_deletes"), 1);
    scene.world.pass(121);
    scene.tick();
    assert_eq!(scene.world.db.number("SELECT count(*) FROM cache_deletes"), 0);
    assert!(!scene.world.kv.names().contains(&format!("connection/{id}")));
}

#[test]
fn a_failed_last_write_is_made_good_by_the_clock() {
    for wound in [Wound::Before, Wound::After] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        let fault = Fault { sql: "DELETE FROM connections", times: 1, wound };
        scene.world.db.faults.borrow_mut().push(fault);
        assert_eq!(scene.disconnect(&id).unwrap_err().code, Code::DatabaseUnavailable);
        assert_eq!(scene.find(&id), None, "gone all the same");
        scene.world.pass(121);
        scene.tick();
        assert_eq!(scene.world.db.number(CONNECTIONS), 0);
    }
}

#[test]
fn tokens_that_are_dead_already_count_as_revoked() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.always("/revoke", Some(Reply::status(400, "{\"error\":\"invalid_token\"}")));
    assert_eq!(scene.disconnect(&id).unwrap().revoked, Revoked::Confirmed);
}

#[test]
fn a_disconnect_stays_within_the_budget() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.kv.refused_deletes.set(2);
    let core = scene.world.core();
    scene.world.run(connections::disconnect::disconnect(&core, &scene.workspace, &id, "key:test")).unwrap();
    assert!(core.ports.meter.spent.get() <= 10, "{}", core.ports.meter.spent.get());
}

// ---- apps that revoke by their own way ----

/// The app ends the grant of the access token that asks for it.
fn by_access_token() -> (Scene, connections::ids::ConnectionId) {
    let scene = Scene::with(&json!({ "auth": { "rotation": "none", "revoke": { "style": "bearer" } } }));
    scene.world.acme.rotates.set(Rotates::No);
    let id = scene.connect("ann");
    (scene, id)
}

#[test]
fn an_app_that_revokes_by_the_access_token_is_asked_with_it() {
    let (scene, id) = by_access_token();
    let (access, _) = tokens(&scene.credential(&id));
    assert_eq!(scene.disconnect(&id).unwrap(), Disconnected { revoked: Revoked::Confirmed, retrying: false });
    assert_eq!(scene.world.acme.revoked(), [access]);
    assert!(scene.world.acme.redemptions().is_empty(), "it still lives: nothing is refreshed");
    assert!(!scene.world.acme.is_alive("ann"));
}

#[test]
fn an_access_token_that_ended_is_refreshed_for_its_own_revocation() {
    let (scene, id) = by_access_token();
    let (access, _) = tokens(&scene.credential(&id));
    scene.expire(&id);
    assert_eq!(scene.disconnect(&id).unwrap(), Disconnected { revoked: Revoked::Confirmed, retrying: false });
    assert!(!scene.world.acme.is_alive("ann"));
    assert_eq!((scene.world.acme.redemptions().len(), scene.world.acme.count("/revoke")), (1, 2));
    assert_ne!(scene.world.acme.revoked(), [access]);
    assert_eq!((scene.world.db.number(CONNECTIONS), scene.world.db.number(JOBS)), (0, 0));
}

#[test]
fn a_grant_whose_refresh_token_is_refused_is_revoked_already() {
    let (scene, id) = by_access_token();
    scene.expire(&id);
    scene.world.acme.withdraw("ann");
    assert_eq!(scene.disconnect(&id).unwrap(), Disconnected { revoked: Revoked::Confirmed, retrying: false });
    assert_eq!(scene.world.db.number(JOBS), 0);
}

#[test]
fn a_revocation_whose_access_token_can_not_be_had_is_tried_again_by_the_clock() {
    for reply in [Reply::status(500, ""), Reply::error(HttpError::Network), Reply::status(429, "")] {
        let (scene, id) = by_access_token();
        scene.expire(&id);
        scene.world.acme.next("/token", reply);
        assert_eq!(scene.disconnect(&id).unwrap(), Disconnected { revoked: Revoked::Failed, retrying: true });
        assert!(scene.world.acme.is_alive("ann"));
        assert_eq!((scene.world.db.number(CONNECTIONS), scene.world.db.number(JOBS)), (0, 1));
        scene.world.pass(61);
        scene.tick();
        assert!(!scene.world.acme.is_alive("ann"));
        assert_eq!(scene.world.db.number(JOBS), 0);
    }
}

#[test]
fn a_server_that_does_not_revoke_access_tokens_has_revoked_by_the_refresh_token() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.next("/revoke", Reply::edited(|_| {}));
    scene.world.acme.next("/revoke", Reply::status(400, "{\"error\":\"unsupported_token_type\"}"));
    assert_eq!(scene.disconnect(&id).unwrap(), Disconnected { revoked: Revoked::Confirmed, retrying: false });
    assert_eq!(scene.world.acme.count("/revoke"), 2);
    assert!(!scene.world.acme.is_alive("ann"));
    assert_eq!(scene.world.db.number(JOBS), 0);
}

#[test]
fn a_server_that_revokes_neither_kind_has_confirmed_nothing() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.always("/revoke", Some(Reply::status(400, "{\"error\":\"unsupported_token_type\"}")));
    assert_eq!(scene.disconnect(&id).unwrap().revoked, Revoked::Failed);
    assert!(scene.world.acme.is_alive("ann"));
}
