//! Refresh: one token request, nothing lost. The app's own log is the oracle.

use connections::connection::{Reason, Status};
use connections::ports::{Errand, ErrandOutcome, HttpError};
use connections::refresh::deliver;
use connections::resolve::{Ask, Freshness};
use serde_json::{Value, json};

use crate::support::acme::End;
use crate::support::scene::need;
use crate::support::{Fault, Reply, Rotates, Scene, Way, World, Wound, tokens};

/// Seconds after which an intent has surely run out.
const INTENT_OVER: i64 = 67;

fn expired() -> (Scene, connections::ids::ConnectionId) {
    expired_with(&json!({}))
}

fn expired_with(patch: &Value) -> (Scene, connections::ids::ConnectionId) {
    let scene = Scene::with(patch);
    let id = scene.connect("ann");
    scene.expire(&id);
    (scene, id)
}

fn grace(seconds: i64) -> Value {
    json!({ "auth": { "rotation": { "grace": seconds } } })
}

fn is_unavailable(outcome: &ErrandOutcome) -> bool {
    matches!(outcome, ErrandOutcome::Unavailable { .. })
}

fn fault(scene: &Scene, sql: &'static str, times: u32, wound: Wound) {
    scene.world.db.faults.borrow_mut().push(Fault { sql, times, wound });
}

/// The statement that stores new tokens, and the one that records a failure.
const PERSIST: &str = "last_attempt_id = ?5";

// ---- classification ----

#[test]
fn what_is_neither_success_nor_refusal_is_ambiguous_and_never_kills() {
    let cases = [
        ("network_error", Reply::error(HttpError::Network)),
        ("timeout", Reply::error(HttpError::Timeout)),
        ("body_too_large", Reply::error(HttpError::TooLarge)),
        ("redirect", Reply::status(302, "").header("location", "https://evil.example/")),
        ("server_error", Reply::status(500, "{\"error\":\"invalid_grant\"}")),
        ("server_error", Reply::status(502, "<html>bad gateway</html>")),
        ("server_error", Reply::status(520, "error code: 520")),
        ("unreadable_body", Reply::status(200, "<html>sign in</html>")),
        ("unreadable_body", Reply::status(200, "{\"access_token\":\"canary")),
        ("no_access_token", Reply::status(200, "{}")),
        ("no_access_token", Reply::status(200, "{\"access_token\":null}")),
        ("unusable_access_token", Reply::status(200, "{\"access_token\":\"two words\"}")),
        ("unreadable_error", Reply::status(400, "<html>no</html>")),
        ("unreadable_error", Reply::status(401, "")),
    ];
    for (what, reply) in cases {
        let (scene, id) = expired();
        let before = tokens(&scene.credential(&id));
        scene.world.acme.next("/token", reply);
        let outcome = scene.need(&id);
        let row = scene.row(&id);
        assert!(is_unavailable(&outcome), "{what}: {outcome:?}");
        assert_eq!(row.status, Status::Connected, "{what}");
        assert_eq!(row.last_error.as_deref(), Some(what));
        assert!(row.ambiguous_token_hash.is_some(), "{what}");
        assert!(row.intent.is_some(), "{what}: at a strict app the intent is left to run out");
        assert_eq!(tokens(&scene.credential(&id)), before, "{what}");
        assert_eq!(scene.world.acme.count("/token"), 2, "{what}: the exchange and one refresh");
    }
}

#[test]
fn a_clear_later_is_transient_and_honours_retry_after() {
    let cases = [
        (Reply::status(429, "{\"error\":\"slow_down\"}").header("retry-after", "120"), 120),
        (Reply::status(429, "").header("retry-after", "120"), 120),
        (Reply::status(503, "{\"error\":\"temporarily_unavailable\"}").header("retry-after", "90"), 90),
        (Reply::status(400, "{\"error\":\"slow_down\"}"), 0),
        (Reply::status(400, "{\"error\":\"what_is_this\"}"), 0),
    ];
    for (reply, wait) in cases {
        let (scene, id) = expired();
        scene.world.acme.next("/token", reply);
        let outcome = scene.need(&id);
        let ErrandOutcome::Unavailable { retry_after } = outcome else { panic!("{outcome:?}") };
        assert!(retry_after >= wait.max(1), "{retry_after}");
        let row = scene.row(&id);
        assert_eq!((row.status, row.intent, row.ambiguous_token_hash), (Status::Connected, None, None));
        if wait > 0 {
            let until = scene.client().backoff_until;
            assert!(until.since(scene.world.now()) >= wait - 1, "the client waits as well");
        }
        scene.world.pass(wait.max(retry_after) + 1);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    }
}

#[test]
fn a_clear_no_to_the_stored_token_is_death() {
    for (status, body) in [
        (400, "{\"error\":\"invalid_grant\"}"),
        (400, "{\"error\":\"bad_refresh_token\"}"),
        (401, "{\"error\":\"token_revoked\"}"),
        (400, "{\"error\":\"invalid_refresh_token\"}"),
        (200, "{\"error\":\"invalid_grant\"}"),
    ] {
        let (scene, id) = expired();
        scene.world.acme.next("/token", Reply::status(status, body));
        assert_eq!(scene.need(&id), ErrandOutcome::Dead, "{body}");
        let row = scene.row(&id);
        assert_eq!((row.status, row.reason), (Status::NeedsReconnect, Some(Reason::Revoked)), "{body}");
        assert_eq!(row.next_check_at, None, "the clock leaves the dead alone");
        assert!(row.sealed_credential.is_some(), "the tokens are kept for a week");
        assert_eq!(scene.world.db.number("SELECT count(*) FROM events WHERE type = 'needs_reconnect'"), 1);
    }
}

#[test]
fn a_grant_whose_known_end_has_come_is_expired_not_revoked() {
    let scene = Scene::with(&json!({ "auth": { "refresh_token_lifetime": 7200 } }));
    let id = scene.connect("ann");
    scene.world.pass(8000);
    scene.world.acme.withdraw("ann");
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
    assert_eq!(scene.row(&id).reason, Some(Reason::Expired));
}

#[test]
fn an_error_of_the_clients_marks_the_client_and_a_success_clears_it() {
    let (scene, id) = expired();
    let other = scene.connect("bob");
    scene.world.acme.next("/token", Reply::status(401, "{\"error\":\"invalid_client\"}"));
    assert_eq!(scene.need(&id), ErrandOutcome::ClientMisconfigured);
    assert_eq!(scene.row(&id).status, Status::Connected);
    assert!(scene.client().misconfigured.is_some());
    assert_eq!(scene.row(&other).status, Status::Connected);
    let asked = scene.world.acme.count("/token");
    assert_eq!(scene.need(&id), ErrandOutcome::ClientMisconfigured, "nobody asks again before its time");
    assert_eq!(scene.world.acme.count("/token"), asked);
    scene.world.pass(121);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    assert_eq!(scene.client().misconfigured, None);
}

#[test]
fn a_new_secret_clears_the_client_and_wakes_its_connections_at_once() {
    let (scene, id) = expired();
    *scene.world.acme.client_secret.borrow_mut() = "rotated-canary7f3a".into();
    assert_eq!(scene.need(&id), ErrandOutcome::ClientMisconfigured);
    scene.enter_secret("rotated-canary7f3a");
    assert_eq!(scene.client().misconfigured, None);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
}

#[test]
fn a_misconfigured_client_never_withholds_a_valid_token() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.always("/token", Some(Reply::status(401, "{\"error\":\"invalid_client\"}")));
    assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::ClientMisconfigured);
    assert_eq!(scene.resolve(&id, Ask::default()).unwrap().resolved.freshness, Freshness::Fresh);
}

#[test]
fn an_error_of_the_connections_configuration_is_not_death() {
    for error in ["unauthorized_client", "unsupported_grant_type", "invalid_scope"] {
        let (scene, id) = expired();
        scene.world.acme.next("/token", Reply::status(400, &json!({ "error": error }).to_string()));
        assert_eq!(scene.need(&id), ErrandOutcome::Unusable);
        let row = scene.row(&id);
        assert_eq!((row.status, row.last_error.as_deref()), (Status::Connected, Some(error)));
        assert!(row.next_attempt_at.since(scene.world.now()) > 600);
    }
}

#[test]
fn an_odd_answer_with_a_new_refresh_token_is_not_dropped() {
    let (scene, id) = expired();
    scene.world.acme.next("/token", Reply::edited(|body| body["access_token"] = "two words".into()));
    let outcome = scene.need(&id);
    assert!(is_unavailable(&outcome), "{outcome:?}");
    let stored = tokens(&scene.credential(&id)).1;
    assert_ne!(stored, Some(scene.world.acme.redemptions()[0].token.clone()));
    scene.world.pass(120);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    assert_eq!(scene.world.acme.ended(End::Killed), 0);
}

#[test]
fn an_answer_without_expiry_or_with_an_odd_type_is_stored() {
    let edits: [fn(&mut Value); 3] = [
        |body| {
            body.as_object_mut().unwrap().remove("expires_in");
        },
        |body| body["token_type"] = 7.into(),
        |body| body["id_token"] = "not.a.token".into(),
    ];
    for edit in edits {
        let (scene, id) = expired();
        scene.world.acme.next("/token", Reply::edited(edit));
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
        let (access, _) = tokens(&scene.credential(&id));
        assert!(scene.world.acme.accepts(&access));
        assert!(scene.row(&id).next_check_at.is_some(), "a token without an end is probed by the clock");
    }
}

// ---- the merge rule ----

#[test]
fn an_answer_without_refresh_token_keeps_the_old_one() {
    let edits: [fn(&mut Value); 3] = [
        |body| {
            body.as_object_mut().unwrap().remove("refresh_token");
        },
        |body| body["refresh_token"] = Value::Null,
        |body| body["refresh_token"] = "".into(),
    ];
    for edit in edits {
        let (scene, id) = expired_with(&json!({ "auth": { "rotation": "reissue" } }));
        scene.world.acme.rotates.set(Rotates::Reissue);
        let before = tokens(&scene.credential(&id));
        scene.world.acme.next("/token", Reply::edited(edit));
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
        let after = tokens(&scene.credential(&id));
        assert_eq!(before.1, after.1);
        assert_ne!(before.0, after.0);
    }
}

#[test]
fn a_non_rotating_app_is_refreshed_with_the_same_token_for_ever() {
    let (scene, id) = expired_with(&json!({ "auth": { "rotation": "none" } }));
    scene.world.acme.rotates.set(Rotates::No);
    for _ in 0..5 {
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
        scene.expire(&id);
    }
    let redeemed = scene.world.acme.redemptions();
    assert_eq!(redeemed.len(), 5);
    assert!(redeemed.iter().all(|one| one.token == redeemed[0].token));
    assert_eq!(scene.row(&id).version, 6);
}

// ---- one at a time ----

#[test]
fn sixty_four_callers_make_one_redemption() {
    for way in [Way::Direct, Way::Object] {
        for seed in 0..8 {
            let world = World::new(way, Some(seed));
            let scene = Scene::in_world(&world, &json!({}));
            let id = scene.connect("ann");
            scene.expire(&id);
            let errand = need(&world);
            let outcomes = world.at_once((0..64).map(|_| world.errand(&id, errand)));
            let fine = |one: &ErrandOutcome| matches!(one, ErrandOutcome::Refreshed | ErrandOutcome::Satisfied);
            assert!(outcomes.iter().all(fine), "{way:?} {seed}: {outcomes:?}");
            assert_eq!(world.acme.redemptions().len(), 1, "{way:?} {seed}");
            assert!(world.acme.is_alive("ann"));
        }
    }
}

#[test]
fn two_workers_over_one_record_make_one_redemption() {
    for seed in 0..8 {
        let world = World::new(Way::Object, Some(seed));
        let other = world.sibling(if seed % 2 == 0 { Way::Object } else { Way::Direct });
        let scene = Scene::in_world(&world, &json!({}));
        let id = scene.connect("ann");
        scene.expire(&id);
        let errand = need(&world);
        let callers = (0..16).map(|at| if at % 2 == 0 { world.errand(&id, errand) } else { other.errand(&id, errand) });
        let callers: Vec<_> = callers.collect();
        world.at_once(callers);
        assert_eq!(world.acme.redemptions().len(), 1, "seed {seed}");
    }
}

#[test]
fn a_slow_app_is_waited_out_and_never_asked_twice() {
    let world = World::new(Way::Direct, Some(3));
    let scene = Scene::in_world(&world, &json!({}));
    let id = scene.connect("ann");
    scene.expire(&id);
    world.acme.latency_ms.set(14_000);
    let errand = need(&world);
    let outcomes = world.at_once((0..8).map(|_| world.errand(&id, errand)));
    assert_eq!(outcomes.iter().filter(|one| **one == ErrandOutcome::Refreshed).count(), 1);
    let waited = |one: &ErrandOutcome| *one == ErrandOutcome::InProgress { retry_after: 5 };
    assert_eq!(outcomes.iter().filter(|one| waited(one)).count(), 7, "{outcomes:?}");
    assert_eq!(world.acme.redemptions().len(), 1);
}

#[test]
fn errands_that_nobody_waits_for_do_not_wait() {
    let world = World::new(Way::Direct, None);
    let scene = Scene::in_world(&world, &json!({}));
    let id = scene.connect("ann");
    scene.expire(&id);
    world.acme.latency_ms.set(8000);
    let first = world.runtime.spawn(world.errand(&id, Errand::Check));
    world.run(world.runtime.sleep(1000));
    let spent = world.db.round_trips.get();
    for errand in [Errand::Early, Errand::Check] {
        assert_eq!(scene.errand(&id, errand), ErrandOutcome::InProgress { retry_after: 5 });
    }
    assert_eq!(world.db.round_trips.get() - spent, 2);
    assert_eq!(world.run(first), ErrandOutcome::Refreshed);
}

#[test]
fn a_follower_takes_ten_seconds_at_most_and_few_round_trips() {
    let world = World::new(Way::Direct, None);
    let scene = Scene::in_world(&world, &json!({}));
    let id = scene.connect("ann");
    scene.expire(&id);
    world.acme.latency_ms.set(14_500);
    let first = world.runtime.spawn(world.errand(&id, need(&world)));
    world.run(world.runtime.sleep(1000));
    let (began, spent) = (world.runtime.now_ms(), world.db.round_trips.get());
    assert_eq!(scene.need(&id), ErrandOutcome::InProgress { retry_after: 5 });
    assert!(world.runtime.now_ms() - began <= 10_000);
    assert!(world.db.round_trips.get() - spent <= 10);
    assert_eq!(world.run(first), ErrandOutcome::Refreshed);
}

#[test]
fn a_refresh_is_four_subrequests() {
    let (scene, id) = expired();
    let core = scene.world.core();
    let errand = need(&scene.world);
    scene.world.run(async { connections::refresh::run(&core, &id, errand).await });
    assert_eq!(core.ports.meter.spent.get(), 4, "read, claim, ask, store");
}

// ---- crashes and ambiguous ends ----

#[test]
fn what_a_crash_left_is_waited_out_and_then_tells_lost_from_revoked() {
    let (scene, id) = expired();
    scene.world.acme.latency_ms.set(2000);
    let attempt = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(500));
    attempt.kill();
    scene.world.runtime.drain();
    assert_eq!(scene.world.acme.redemptions().len(), 1, "the app acted, nobody heard it");
    assert!(scene.row(&id).intent.is_some());
    let outcome = scene.need(&id);
    assert_eq!(outcome, ErrandOutcome::InProgress { retry_after: 5 });
    assert_eq!(scene.world.acme.redemptions().len(), 1, "never stolen while it may be under way");
    scene.world.pass(INTENT_OVER);
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
    assert_eq!(scene.row(&id).reason, Some(Reason::LostRotation));
    assert_eq!(scene.world.acme.redemptions().len(), 2, "twice only after an ambiguous attempt");
}

#[test]
fn a_crash_before_the_app_acted_costs_nothing() {
    let (scene, id) = expired();
    fault(&scene, "lease_attempt_id = ?5, lease_expires_at", 1, Wound::Silent);
    let attempt = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(500));
    attempt.kill();
    assert_eq!(scene.world.acme.redemptions().len(), 0);
    scene.world.pass(INTENT_OVER);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    assert_eq!(scene.world.acme.ended(End::Granted), 1);
}

#[test]
fn an_ambiguous_end_at_a_strict_app_answers_followers_at_once() {
    let (scene, id) = expired();
    scene.world.acme.next("/token", Reply::error(HttpError::Network));
    assert!(is_unavailable(&scene.need(&id)));
    let began = scene.world.runtime.now_ms();
    for errand in [need(&scene.world), Errand::Force, Errand::Early, Errand::Check, Errand::CheckNow] {
        let outcome = scene.errand(&id, errand);
        let ErrandOutcome::Unavailable { retry_after } = outcome else { panic!("{errand:?}: {outcome:?}") };
        assert!((60..=90).contains(&retry_after), "{retry_after}");
    }
    assert_eq!(scene.world.runtime.now_ms(), began, "nobody waits for an answer that won't come");
    assert_eq!(scene.world.acme.count("/token"), 2);
    scene.world.pass(INTENT_OVER);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed, "it had not acted");
    assert_eq!(scene.row(&id).ambiguous_token_hash, None);
}

#[test]
fn a_lost_answer_at_a_strict_app_ends_as_lost_rotation_and_says_so() {
    let (scene, id) = expired();
    scene.world.acme.next("/token", Reply::error(HttpError::Network).acting());
    assert!(is_unavailable(&scene.need(&id)));
    assert_eq!(scene.row(&id).status, Status::Connected, "not dead before it is sure");
    scene.world.pass(INTENT_OVER);
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
    assert_eq!(scene.row(&id).reason, Some(Reason::LostRotation));
}

#[test]
fn an_app_that_only_refuses_a_used_token_is_not_harmed_by_the_one_retry() {
    let (scene, id) = expired();
    scene.world.acme.rotates.set(Rotates::Reject);
    scene.world.acme.next("/token", Reply::error(HttpError::Network).acting());
    scene.need(&id);
    scene.world.pass(INTENT_OVER);
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
    assert_eq!(scene.row(&id).reason, Some(Reason::LostRotation));
    assert_eq!((scene.world.acme.redemptions().len(), scene.world.acme.ended(End::Killed)), (2, 0));
}

#[test]
fn a_lost_answer_is_recovered_wherever_the_app_has_a_grace_window() {
    for seconds in [20, 30, 600] {
        let (scene, id) = expired_with(&grace(seconds));
        scene.world.acme.rotates.set(Rotates::Grace(seconds));
        scene.world.acme.next("/token", Reply::error(HttpError::Network).acting());
        let outcome = scene.need(&id);
        let ErrandOutcome::Unavailable { retry_after } = outcome else { panic!("{outcome:?}") };
        assert!(retry_after <= seconds / 2, "within the window, with room: {retry_after}");
        assert_eq!(scene.row(&id).intent, None, "given back: a second try is safe");
        scene.world.pass(retry_after);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
        assert_eq!(scene.world.acme.ended(End::Replayed), 1);
        assert_eq!(scene.row(&id).status, Status::Connected);
    }
}

#[test]
fn a_lost_answer_at_a_non_rotating_app_is_soon_tried_again() {
    let (scene, id) = expired_with(&json!({ "auth": { "rotation": "none" } }));
    scene.world.acme.rotates.set(Rotates::No);
    scene.world.acme.next("/token", Reply::status(500, "").acting());
    let outcome = scene.need(&id);
    let ErrandOutcome::Unavailable { retry_after } = outcome else { panic!("{outcome:?}") };
    assert!(retry_after <= 5);
    scene.world.pass(retry_after);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
}

#[test]
fn a_crash_within_a_grace_window_that_outlasts_the_intent_is_recovered() {
    let (scene, id) = expired_with(&grace(600));
    scene.world.acme.rotates.set(Rotates::Grace(600));
    fault(&scene, PERSIST, 1, Wound::Silent);
    scene.world.db.faults.borrow_mut()[0].wound = Wound::Before;
    let attempt = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(150));
    attempt.kill();
    scene.world.pass(INTENT_OVER);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    assert_eq!(scene.world.acme.ended(End::Replayed), 1);
}

#[test]
fn a_refusal_that_the_record_does_not_take_at_once_keeps_its_name() {
    for wound in [Wound::Before, Wound::After] {
        let (scene, id) = expired();
        scene.world.acme.withdraw("ann");
        fault(&scene, "'needs_reconnect' END, reason = ?6", 2, wound);
        assert_eq!(scene.need(&id), ErrandOutcome::Dead);
        let row = scene.row(&id);
        assert_eq!((row.status, row.reason, row.intent), (Status::NeedsReconnect, Some(Reason::Revoked), None));
        assert_eq!(scene.world.db.number("SELECT count(*) FROM events WHERE type = 'needs_reconnect'"), 1);
        assert_eq!(scene.world.acme.redemptions().len(), 1);
    }
}

#[test]
fn a_promise_reported_failed_is_taken_back_and_nothing_is_said_to_be_lost() {
    let (scene, id) = expired();
    fault(&scene, "lease_attempt_id = ?5, lease_expires_at", 1, Wound::After);
    assert_eq!(scene.need(&id), ErrandOutcome::DatabaseDown);
    assert_eq!(scene.row(&id).intent, None);
    scene.world.acme.withdraw("ann");
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
    assert_eq!(scene.row(&id).reason, Some(Reason::Revoked), "nothing had been sent");
}

#[test]
fn a_failure_is_not_written_over_tokens_that_came_from_elsewhere_meanwhile() {
    let (scene, id) = expired();
    scene.world.acme.latency_ms.set(2_000);
    scene.world.acme.next("/token", Reply::error(HttpError::Network));
    let slow = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(500));
    scene.world.db.tamper("UPDATE connections SET version = version + 1");
    assert!(is_unavailable(&scene.world.run(slow)));
    let row = scene.row(&id);
    assert_eq!((row.intent, row.failures, row.ambiguous_token_hash), (None, 0, None));
}

#[test]
fn a_second_answer_within_a_grace_is_no_younger_than_the_first() {
    for (acts, reply) in [(false, Reply::error(HttpError::Network)), (true, Reply::error(HttpError::Network).acting())]
    {
        let (scene, id) = expired_with(&grace(1800));
        scene.world.acme.rotates.set(Rotates::Grace(1800));
        scene.world.acme.expires_in.set(Some(1800));
        scene.world.acme.next("/token", reply);
        let ErrandOutcome::Unavailable { retry_after } = scene.need(&id) else { panic!("it failed") };
        scene.world.pass(retry_after);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
        let end = scene.row(&id).expires_at.unwrap();
        let left = end.since(scene.world.now());
        assert!((1_740..1_800).contains(&left), "{acts}: told shorter by what it may have lived, no more: {left}");
        assert_eq!(scene.resolve(&id, Ask::default()).unwrap().resolved.freshness, Freshness::Fresh);
    }
}

#[test]
fn what_a_grace_gives_again_is_as_old_as_the_first_time_it_was_asked_for() {
    let (scene, id) = expired_with(&grace(600));
    scene.world.acme.rotates.set(Rotates::Grace(600));
    let first = scene.world.now();
    scene.world.acme.next("/token", Reply::error(HttpError::Timeout).acting());
    scene.world.acme.next("/token", Reply::error(HttpError::Timeout).acting());
    for _ in 0..2 {
        let ErrandOutcome::Unavailable { retry_after } = scene.need(&id) else { panic!("it failed") };
        scene.world.pass(retry_after);
    }
    scene.world.acme.next("/token", Reply::status(429, ""));
    scene.need(&id);
    scene.world.pass(120);
    let asked_at = scene.world.now();
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    let end = scene.row(&id).expires_at.unwrap();
    assert_eq!(
        end,
        asked_at.plus(3600 - asked_at.since(first)),
        "failures in between, of any kind, change nothing of that"
    );
    assert_eq!(scene.row(&id).ambiguous_since, None);
}

#[test]
fn at_an_app_that_stays_silent_the_distance_grows_also_where_there_is_a_grace() {
    let (scene, id) = expired_with(&grace(30));
    scene.world.acme.always("/token", Some(Reply::error(HttpError::Network)));
    let mut waits = Vec::new();
    for _ in 0..8 {
        let ErrandOutcome::Unavailable { retry_after } = scene.need(&id) else { panic!("it failed") };
        waits.push(retry_after);
        scene.world.pass(retry_after);
    }
    assert!(waits[0] <= 15, "once within the grace: {waits:?}");
    assert!(waits[7] > 200, "{waits:?}");
}

#[test]
fn a_claim_planned_before_somebody_elses_failure_waits_for_the_back_off() {
    let (scene, id) = expired();
    scene.world.acme.next("/token", Reply::status(400, "{\"error\":\"slow_down\"}"));
    fault(&scene, "lease_attempt_id = ?5, lease_expires_at", 1, Wound::Slow(500));
    let slow = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(50));
    assert!(is_unavailable(&scene.need(&id)), "asked and was told to wait, all before the slow claim was written");
    assert!(is_unavailable(&scene.world.run(slow)));
    assert_eq!(scene.world.acme.count("/token"), 2, "the exchange and one refresh");
}

#[test]
fn where_a_token_may_be_presented_again_a_crash_is_not_waited_out_for_a_minute() {
    for (rotation, rotates, over) in [
        (json!({ "grace": 30 }), Rotates::Grace(30), 21),
        (json!({ "grace": 600 }), Rotates::Grace(600), 66),
        (json!("reissue"), Rotates::Reissue, 36),
        (json!("none"), Rotates::No, 36),
    ] {
        let (scene, id) = expired_with(&json!({ "auth": { "rotation": rotation } }));
        scene.world.acme.rotates.set(rotates);
        let attempt = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
        scene.world.run(scene.world.runtime.sleep(70));
        attempt.kill();
        scene.world.runtime.drain();
        assert_eq!(scene.world.acme.ended(End::Granted), 1, "the app acted, nobody heard it");
        scene.world.pass(over - 3);
        assert_eq!(scene.errand(&id, Errand::Early), ErrandOutcome::InProgress { retry_after: 5 }, "{rotation}");
        scene.world.pass(3);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed, "{rotation}: still in time");
        assert_eq!(scene.row(&id).status, Status::Connected);
    }
}

#[test]
fn a_request_never_outlives_its_promise() {
    let (scene, id) = expired_with(&grace(30));
    scene.world.acme.latency_ms.set(60_000);
    let began = scene.world.runtime.now_ms();
    assert!(is_unavailable(&scene.need(&id)));
    assert_eq!(scene.world.runtime.now_ms() - began, 12_000, "15 s of promise, 3 s of them to store the answer");
}

#[test]
fn a_promise_that_took_too_long_to_write_is_taken_back_and_nothing_is_asked() {
    let (scene, id) = expired_with(&grace(20));
    fault(&scene, "lease_attempt_id = ?5, lease_expires_at", 1, Wound::Slow(4_000));
    assert_eq!(scene.need(&id), ErrandOutcome::DatabaseDown, "of a promise of 10 s too little is left");
    assert_eq!(scene.world.acme.redemptions().len(), 0);
    let row = scene.row(&id);
    assert_eq!((row.intent, row.ambiguous_token_hash), (None, None));
    assert_eq!(row.last_error.as_deref(), Some("database_slow"));
    scene.world.pass(6);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
}

// ---- the token before the stored one ----

/// Refreshed once, and then the app forgets the token it gave: (scene, connection, the token before it).
fn forgotten_at_the_app(rotation: &Value, rotates: Rotates) -> (Scene, connections::ids::ConnectionId, String) {
    let (scene, id) = expired_with(&json!({ "auth": { "rotation": rotation } }));
    scene.world.acme.rotates.set(rotates);
    let first = tokens(&scene.credential(&id)).1.unwrap();
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    scene.world.acme.forget(&tokens(&scene.credential(&id)).1.unwrap());
    (scene, id, first)
}

#[test]
fn a_refused_token_is_not_the_end_while_the_one_before_it_is_in_its_grace() {
    let (scene, id, first) = forgotten_at_the_app(&json!({ "grace": 600 }), Rotates::Grace(600));
    scene.world.pass(60);
    assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::Refreshed);
    let presented: Vec<_> = scene.world.acme.redemptions().iter().map(|one| (one.token == first, one.end)).collect();
    assert_eq!(presented, [(true, End::Granted), (false, End::Refused), (true, End::Replayed)]);
    let row = scene.row(&id);
    assert_eq!(row.status, Status::Connected);
    assert!(scene.world.acme.accepts(&tokens(&scene.credential(&id)).0));
    let told = row.expires_at.unwrap().since(scene.world.now());
    assert!((3_530..=3_541).contains(&told), "the answer is as old as the first use of the token: {told}");
    let until = scene.credential(&id).token.unwrap().previous.map(|previous| previous.until.since(scene.world.now()));
    assert!(until.is_none_or(|left| left <= 541), "a grace begins once: {until:?}");
}

#[test]
fn a_no_to_the_token_before_that_is_not_final_is_not_death() {
    for reply in [
        Reply::status(429, ""),
        Reply::status(503, "{\"error\":\"temporarily_unavailable\"}"),
        Reply::status(401, "{\"error\":\"invalid_client\"}"),
        Reply::status(400, "{\"error\":\"what_is_this\"}"),
    ] {
        let (scene, id, _) = forgotten_at_the_app(&json!({ "grace": 600 }), Rotates::Grace(600));
        scene.world.pass(60);
        scene.world.acme.next("/token", Reply::status(400, "{\"error\":\"invalid_grant\"}"));
        scene.world.acme.next("/token", reply);
        assert_ne!(scene.errand(&id, Errand::Force), ErrandOutcome::Dead);
        let row = scene.row(&id);
        assert_eq!((row.status, row.intent), (Status::Connected, None));
    }
}

#[test]
fn the_token_before_is_never_presented_after_its_grace_nor_where_there_is_none() {
    for (rotation, rotates, passes) in [
        (json!({ "grace": 600 }), Rotates::Grace(600), 601),
        (json!("strict"), Rotates::Strict, 60),
        (json!("reissue"), Rotates::Reissue, 60),
    ] {
        let (scene, id, first) = forgotten_at_the_app(&rotation, rotates);
        scene.world.pass(passes);
        assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::Dead, "{rotation}");
        let again = scene.world.acme.redemptions().iter().filter(|one| one.token == first).count();
        assert_eq!(again, 1, "{rotation}: only at its own use");
        assert_eq!(scene.row(&id).reason, Some(Reason::Revoked));
    }
}

#[test]
fn only_a_grace_keeps_the_token_before() {
    for (rotation, kept) in [(json!({ "grace": 30 }), true), (json!("strict"), false), (json!("reissue"), false)] {
        let (scene, id) = expired_with(&json!({ "auth": { "rotation": rotation } }));
        let first = tokens(&scene.credential(&id)).1;
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
        let previous = scene.credential(&id).token.unwrap().previous;
        let previous = previous.map(|previous| previous.refresh_token.expose().to_owned());
        assert_eq!(previous, first.filter(|_| kept), "{rotation}");
    }
}

#[test]
fn an_unclear_answer_to_the_token_before_is_not_death() {
    let (scene, id, _) = forgotten_at_the_app(&json!({ "grace": 600 }), Rotates::Grace(600));
    scene.world.pass(60);
    scene.world.acme.next("/token", Reply::status(400, "{\"error\":\"invalid_grant\"}"));
    scene.world.acme.next("/token", Reply::error(HttpError::Network));
    assert!(is_unavailable(&scene.errand(&id, Errand::Force)));
    assert_eq!(scene.row(&id).status, Status::Connected);
    scene.world.pass(120);
    assert_eq!(scene.need(&id), ErrandOutcome::Satisfied);
    assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::Refreshed);
}

// ---- persisting ----

#[test]
fn a_write_reported_failed_that_was_applied_is_a_success() {
    let (scene, id) = expired();
    fault(&scene, PERSIST, 1, Wound::After);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    let row = scene.row(&id);
    assert_eq!((row.version, row.intent), (2, None));
    assert_eq!(scene.world.acme.redemptions().len(), 1);
    assert!(scene.world.acme.accepts(&tokens(&scene.credential(&id)).0));
}

#[test]
fn a_write_that_fails_is_tried_again_until_it_is_written() {
    for times in 1..=5 {
        let (scene, id) = expired();
        fault(&scene, PERSIST, times, Wound::Before);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed, "{times}");
        assert_eq!(scene.row(&id).version, 2);
        assert_eq!(scene.world.acme.redemptions().len(), 1);
    }
}

#[test]
fn a_slow_app_and_a_slow_record_stay_inside_the_intent() {
    for seed in 0..4 {
        let world = World::new(Way::Direct, Some(seed));
        let scene = Scene::in_world(&world, &json!({}));
        let id = scene.connect("ann");
        scene.expire(&id);
        world.acme.latency_ms.set(14_900);
        fault(&scene, PERSIST, 1, Wound::Slow(10_000));
        let first = world.runtime.spawn(world.errand(&id, need(&world)));
        for _ in 0..12 {
            world.run(world.runtime.sleep(5000));
            scene.need(&id);
        }
        assert_eq!(world.run(first), ErrandOutcome::Refreshed);
        assert_eq!(world.acme.redemptions().len(), 1, "seed {seed}");
        world.run(world.runtime.sleep(1));
    }
}

#[test]
fn what_the_record_does_not_take_waits_in_the_lifeboat_and_is_delivered_later() {
    let (scene, id) = expired();
    scene.world.kept.able.set(true);
    fault(&scene, PERSIST, 6, Wound::Before);
    assert_eq!(scene.need(&id), ErrandOutcome::DatabaseDown, "no caller gets a token that was not stored");
    assert_eq!(scene.row(&id).version, 1);
    let kept = scene.world.kept.answers.borrow()[0].1.clone();
    assert!(!kept.contains("canary7f3a"), "it is sealed");
    for round in 0..2 {
        assert!(scene.world.run(deliver(&*scene.world.core(), &kept)), "round {round}");
        assert_eq!(scene.row(&id).version, 2, "a second delivery changes nothing");
    }
    assert!(scene.world.acme.accepts(&tokens(&scene.credential(&id)).0));
    assert_eq!(scene.resolve(&id, Ask::default()).unwrap().resolved.freshness, Freshness::Fresh);
    assert_eq!(scene.world.acme.redemptions().len(), 1);
}

#[test]
fn a_delivery_to_a_record_that_is_still_down_asks_to_come_again() {
    let (scene, id) = expired();
    scene.world.kept.able.set(true);
    fault(&scene, PERSIST, 7, Wound::Before);
    scene.need(&id);
    let kept = scene.world.kept.answers.borrow()[0].1.clone();
    assert!(!scene.world.run(deliver(&*scene.world.core(), &kept)));
    assert!(scene.world.run(deliver(&*scene.world.core(), &kept)));
    assert_eq!(scene.row(&id).version, 2);
}

#[test]
fn a_delivery_after_a_reconnect_is_dropped() {
    let (scene, id) = expired();
    scene.world.kept.able.set(true);
    fault(&scene, PERSIST, 6, Wound::Before);
    scene.need(&id);
    let kept = scene.world.kept.answers.borrow()[0].1.clone();
    scene.flow(&scene.repair_of(&id), "ann");
    let before = tokens(&scene.credential(&id));
    assert!(scene.world.run(deliver(&*scene.world.core(), &kept)), "the record no longer wants it");
    assert_eq!(tokens(&scene.credential(&id)), before);
}

#[test]
fn without_a_lifeboat_the_loss_is_logged_and_told_truthfully_later() {
    let (scene, id) = expired();
    fault(&scene, PERSIST, 6, Wound::Before);
    assert_eq!(scene.need(&id), ErrandOutcome::DatabaseDown);
    assert_eq!(scene.world.log.count("renewal_lost"), 1);
    scene.world.pass(INTENT_OVER);
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
    assert_eq!(scene.row(&id).reason, Some(Reason::LostRotation));
}

#[test]
fn a_record_that_can_not_be_read_means_no_request() {
    let (scene, id) = expired();
    let asked = scene.world.acme.requests();
    scene.world.db.down.set(true);
    assert_eq!(scene.need(&id), ErrandOutcome::DatabaseDown);
    scene.world.db.down.set(false);
    fault(&scene, "lease_attempt_id = ?5, lease_expires_at", 1, Wound::Before);
    assert_eq!(scene.need(&id), ErrandOutcome::DatabaseDown, "no intent, no request");
    assert_eq!(scene.world.acme.requests(), asked);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
}

#[test]
fn an_intent_reported_failed_that_was_applied_sends_nothing_and_runs_out() {
    let (scene, id) = expired();
    fault(&scene, "lease_attempt_id = ?5, lease_expires_at", 1, Wound::After);
    assert_eq!(scene.need(&id), ErrandOutcome::DatabaseDown);
    assert_eq!(scene.world.acme.redemptions().len(), 0);
    scene.world.pass(INTENT_OVER);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    assert_eq!(scene.world.acme.redemptions().len(), 1);
}

// ---- generations and bystanders ----

#[test]
fn a_late_answer_of_an_older_generation_is_not_stored_nor_revoked_where_that_kills_the_new_one() {
    let (scene, id) = expired();
    scene.world.acme.latency_ms.set(8000);
    let late = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(200));
    scene.world.acme.latency_ms.set(10);
    assert_eq!(scene.flow(&scene.repair_of(&id), "ann").connection, Some(id.clone()));
    let fresh = tokens(&scene.credential(&id));
    assert_eq!(scene.world.run(late), ErrandOutcome::Gone);
    assert_eq!(tokens(&scene.credential(&id)), fresh);
    assert_eq!(scene.row(&id).generation, 2);
    assert!(scene.world.acme.revoked().is_empty(), "a revocation would kill the whole grant");
    assert!(scene.world.acme.is_alive("ann"));
}

#[test]
fn a_late_failure_of_an_older_generation_does_not_kill_the_new_one() {
    let (scene, id) = expired();
    scene.world.acme.latency_ms.set(8000);
    scene.world.acme.next("/token", Reply::status(400, "{\"error\":\"invalid_grant\"}"));
    let late = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(5000));
    scene.world.acme.latency_ms.set(10);
    scene.flow(&scene.repair_of(&id), "ann");
    scene.world.run(late);
    assert_eq!(scene.row(&id).status, Status::Connected);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM events WHERE type = 'needs_reconnect'"), 0);
    assert_eq!(scene.resolve(&id, Ask::default()).unwrap().resolved.freshness, Freshness::Fresh);
}

#[test]
fn a_late_answer_after_a_disconnect_brings_nothing_back() {
    let (scene, id) = expired();
    scene.world.acme.latency_ms.set(8000);
    let late = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(5000));
    scene.world.acme.latency_ms.set(10);
    scene.disconnect(&id).unwrap();
    assert_eq!(scene.world.run(late), ErrandOutcome::Gone);
    assert_eq!(scene.find(&id), None);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM connections"), 0);
}

#[test]
fn a_rename_during_a_refresh_survives_and_so_does_the_new_token() {
    let (scene, id) = expired();
    scene.world.acme.latency_ms.set(2000);
    let late = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(500));
    let patch = connections::store::connections::Patch { name: Some("Mine".into()), ..Default::default() };
    scene.world.run(async {
        let statement = connections::store::connections::patch(&scene.workspace, &id, &patch);
        connections::ports::Database::batch(scene.world.core().db(), vec![statement]).await.unwrap();
    });
    assert_eq!(scene.world.run(late), ErrandOutcome::Refreshed);
    let row = scene.row(&id);
    assert_eq!((row.name.as_str(), row.version), ("Mine", 2));
}

#[test]
fn connections_stay_with_the_client_they_were_made_with() {
    let (scene, id) = expired();
    scene.world.run(async {
        let core = scene.world.core();
        let mut other =
            connections::store::clients::get(core.db(), &scene.workspace, &scene.client).await.unwrap().unwrap();
        other.id = connections::ids::ClientId::random(
            connections::ports::Ports::random(&core.ports),
            connections::ids::Shard::FIRST,
        )
        .unwrap();
        other.client_id = "another".into();
        other.sealed_secret = None;
        connections::store::clients::put(core.db(), &other).await.unwrap();
    });
    assert!(!scene.client().current);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
}

// ---- calm ----

#[test]
fn a_dead_grant_hammered_two_hundred_times_costs_one_request() {
    let (scene, id) = expired();
    scene.world.acme.withdraw("ann");
    for _ in 0..200 {
        assert_eq!(scene.need(&id), ErrandOutcome::Dead);
        scene.world.pass(1);
    }
    assert_eq!(scene.world.acme.redemptions().len(), 1);
}

#[test]
fn an_app_that_is_down_gets_at_most_one_attempt_per_step() {
    let (scene, id) = expired();
    scene.world.acme.always("/token", Some(Reply::status(400, "{\"error\":\"temporarily_unavailable\"}")));
    let before = scene.world.acme.count("/token");
    for _ in 0..200 {
        assert!(is_unavailable(&scene.need(&id)));
        scene.world.pass(1);
    }
    let attempts = scene.world.acme.count("/token") - before;
    assert!((4..=8).contains(&attempts), "doubling from 5 s: {attempts} in 200 s");
    assert_eq!(scene.row(&id).status, Status::Connected);
}

#[test]
fn a_live_connection_is_never_marked_dead_by_an_app_that_only_fails() {
    for reply in [Reply::status(500, ""), Reply::status(503, "<html>"), Reply::error(HttpError::Timeout)] {
        let (scene, id) = expired();
        scene.world.acme.always("/token", Some(reply));
        for _ in 0..30 {
            scene.need(&id);
            scene.tick();
            scene.world.pass(3600);
        }
        assert_eq!(scene.row(&id).status, Status::Connected);
        scene.world.acme.always("/token", None);
        scene.world.pass(3600);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
        assert_eq!(scene.row(&id).failures, 0);
    }
}

#[test]
fn force_is_satisfied_by_any_refresh_of_the_last_thirty_seconds() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::Refreshed);
    for _ in 0..3 {
        scene.world.pass(10);
        assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::Satisfied);
    }
    scene.world.pass(10);
    assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::Refreshed);
    assert_eq!(scene.world.acme.redemptions().len(), 2);
}

#[test]
fn a_token_that_lives_a_minute_does_not_loop() {
    let scene = Scene::new();
    scene.world.acme.expires_in.set(Some(60));
    let id = scene.connect("ann");
    for _ in 0..5 {
        scene.resolve_fully(&id, Ask { min_ttl: 3600, ..Ask::default() }).unwrap();
    }
    assert_eq!(scene.world.acme.redemptions().len(), 0, "half its life is long enough");
    scene.world.pass(31);
    for _ in 0..5 {
        scene.resolve_fully(&id, Ask { min_ttl: 3600, ..Ask::default() }).unwrap();
    }
    assert_eq!(scene.world.acme.redemptions().len(), 1);
}

// ---- death and revival ----

#[test]
fn check_now_tries_the_stored_token_of_a_dead_connection_once_more_and_success_revives() {
    let (scene, id) = expired();
    scene.world.acme.withdraw("ann");
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
    scene.world.acme.restore("ann");
    assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Dead, "not within 30 s");
    scene.world.pass(31);
    for errand in [need(&scene.world), Errand::Force, Errand::Check, Errand::Early] {
        assert_eq!(scene.errand(&id, errand), ErrandOutcome::Dead, "{errand:?}");
    }
    assert_eq!(scene.world.acme.redemptions().len(), 1);
    assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Refreshed);
    let row = scene.row(&id);
    assert_eq!((row.status, row.reason), (Status::Connected, None));
    assert!(row.next_check_at.is_some(), "the clock takes it up again");
}

#[test]
fn an_unconfirmed_connection_that_dies_and_revives_is_still_unconfirmed() {
    let (scene, id) = expired();
    scene.world.db.tamper("UPDATE connections SET status = 'awaiting_confirmation'");
    scene.world.acme.withdraw("ann");
    scene.errand(&id, Errand::CheckNow);
    scene.world.acme.restore("ann");
    scene.world.pass(31);
    scene.errand(&id, Errand::CheckNow);
    assert_eq!(scene.row(&id).status, Status::AwaitingConfirmation);
}

#[test]
fn an_ended_token_without_refresh_token_is_not_answered_as_healthy() {
    let scene = Scene::new();
    scene.world.acme.gives_refresh_token.set(false);
    let id = scene.connect("ann");
    assert_eq!(scene.need(&id), ErrandOutcome::Satisfied);
    scene.expire(&id);
    assert_eq!(scene.errand(&id, Errand::Check), ErrandOutcome::Dead);
    assert_eq!(scene.row(&id).reason, Some(Reason::RefreshTokenMissing));
}

#[test]
fn a_probe_that_is_refused_redeems_and_only_then_judges() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.next("/me", Reply::status(401, "{}"));
    assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Refreshed);
    scene.world.acme.withdraw("ann");
    scene.world.pass(60);
    assert_eq!(scene.errand(&id, Errand::Check), ErrandOutcome::Dead);
}

#[test]
fn a_probe_that_fails_says_nothing_about_the_connection() {
    for (reply, healthy) in [
        (Reply::status(500, ""), false),
        (Reply::status(429, ""), false),
        (Reply::error(HttpError::Timeout), false),
        (Reply::status(200, "<html>sign in</html>"), false),
        (Reply::status(403, "{}"), true),
    ] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        scene.world.acme.always("/me", Some(reply));
        let outcome = scene.errand(&id, Errand::Check);
        assert_eq!(outcome == ErrandOutcome::Healthy, healthy, "{outcome:?}");
        assert_eq!(scene.row(&id).status, Status::Connected);
        assert_eq!(scene.world.acme.redemptions().len(), 0);
    }
}

#[test]
fn a_credential_that_does_not_open_is_neither_sent_nor_marked() {
    let (scene, id) = expired();
    scene.world.db.tamper("UPDATE connections SET sealed_credential = 'cx1.k1.AAAA'");
    let asked = scene.world.acme.requests();
    assert_eq!(scene.need(&id), ErrandOutcome::Unreadable);
    assert_eq!(scene.world.acme.requests(), asked);
    assert_eq!(scene.row(&id).status, Status::Connected, "unreadable is derived, never stored");
}

#[test]
fn what_a_crash_may_have_redeemed_is_remembered_over_a_later_claim() {
    let (scene, id) = expired();
    scene.world.acme.latency_ms.set(2000);
    let attempt = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(500));
    attempt.kill();
    scene.world.runtime.drain();
    assert_eq!(scene.world.acme.ended(End::Granted), 1, "the app acted, nobody heard it");
    scene.world.pass(INTENT_OVER);
    scene.world.acme.next("/token", Reply::status(429, "{\"error\":\"slow_down\"}"));
    let outcome = scene.need(&id);
    let ErrandOutcome::Unavailable { retry_after } = outcome else { panic!("{outcome:?}") };
    assert_eq!(scene.row(&id).intent, None, "the app did not act this time");
    scene.world.pass(retry_after);
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
    assert_eq!(scene.row(&id).reason, Some(Reason::LostRotation));
}

/// A refresh is under way at an app that takes its time, and acts in eight seconds' middle.
fn late(scene: &Scene, id: &connections::ids::ConnectionId) -> crate::support::runtime::Task<ErrandOutcome> {
    scene.world.acme.latency_ms.set(8000);
    let late = scene.world.runtime.spawn(scene.world.errand(id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(200));
    late
}

#[test]
fn a_late_token_of_a_disconnected_connection_is_revoked() {
    let (scene, id) = expired();
    let old = tokens(&scene.credential(&id));
    let late = late(&scene, &id);
    scene.world.run(scene.world.runtime.sleep(4500));
    scene.world.acme.latency_ms.set(10);
    scene.disconnect(&id).unwrap();
    assert_eq!(scene.world.run(late), ErrandOutcome::Gone);
    let revoked = scene.world.acme.revoked();
    assert_eq!(revoked[..2], [old.1.unwrap(), old.0]);
    assert_eq!(revoked.len(), 4, "and then the two that came late: {revoked:?}");
    assert!(revoked[2].contains("-rt-") && revoked[3].contains("-at-"), "{revoked:?}");
    assert_eq!(scene.world.log.count("renewal_overtaken"), 1);
}

#[test]
fn a_late_token_of_a_grant_that_somebody_else_lives_on_is_not_revoked() {
    let (scene, id) = expired();
    let colleague = connections::connect::start::Wish {
        user: Some(connections::workspace::User { id: "zoe".into(), name: None }),
        ..scene.wish()
    };
    let other = scene.flow(&colleague, "ann").connection.unwrap();
    let late = late(&scene, &id);
    scene.world.run(scene.world.runtime.sleep(4500));
    scene.world.acme.latency_ms.set(10);
    scene.disconnect(&id).unwrap();
    assert_eq!(scene.world.run(late), ErrandOutcome::Gone);
    assert!(scene.world.acme.revoked().is_empty());
    assert!(scene.world.acme.accepts(&tokens(&scene.credential(&other)).0));
}

#[test]
fn a_write_that_was_applied_and_then_refreshed_over_revokes_nothing() {
    let (scene, id) = expired_with(&json!({ "auth": { "revoke": { "kills": "token" } } }));
    fault(&scene, PERSIST, 1, Wound::After);
    let first = scene.world.runtime.spawn(scene.world.errand(&id, need(&scene.world)));
    scene.world.run(scene.world.runtime.sleep(120));
    assert_eq!(scene.row(&id).version, 2, "applied, and reported failed");
    scene.world.acme.latency_ms.set(4);
    scene.world.db.tamper("UPDATE connections SET refreshed_at = 1");
    assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::Refreshed);
    assert_eq!(scene.row(&id).version, 3, "while the first still asks what became of its write");
    assert_eq!(scene.world.run(first), ErrandOutcome::Satisfied);
    assert_eq!(scene.world.acme.revoked(), Vec::<String>::new());
    assert_eq!(scene.world.log.count("renewal_overtaken"), 0);
    scene.world.pass(60);
    assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::Refreshed);
    assert_eq!(scene.world.acme.ended(End::Killed), 0);
}

#[test]
fn a_refusal_that_comes_after_the_credential_changed_kills_nothing() {
    let (scene, id) = expired();
    scene.world.acme.next("/token", Reply::status(400, "{\"error\":\"invalid_grant\"}"));
    let late = late(&scene, &id);
    scene.world.db.tamper("UPDATE connections SET version = version + 1");
    assert_eq!(scene.world.run(late), ErrandOutcome::Gone);
    assert_eq!(scene.row(&id).status, Status::Connected);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM events WHERE type = 'needs_reconnect'"), 0);
}

// ---- the client ----

fn many_expired(count: usize) -> (Scene, Vec<connections::ids::ConnectionId>) {
    let scene = Scene::new();
    let ids: Vec<_> = (0..count).map(|at| scene.connect(&format!("p{at}"))).collect();
    scene.expire(&ids[count - 1]);
    (scene, ids)
}

const DOWN: &str = "{\"error\":\"temporarily_unavailable\"}";

#[test]
fn the_third_failure_of_an_app_in_a_row_holds_the_other_connections_off() {
    for reply in [Reply::status(400, DOWN), Reply::status(502, "<html>"), Reply::error(HttpError::Network)] {
        let (scene, ids) = many_expired(6);
        scene.world.acme.always("/token", Some(reply));
        let before = scene.world.acme.count("/token");
        for id in &ids[..3] {
            assert!(is_unavailable(&scene.need(id)));
        }
        assert_eq!(scene.world.acme.count("/token") - before, 3, "one or two may be chance: the third is asked, too");
        for id in &ids[3..] {
            assert!(is_unavailable(&scene.need(id)));
        }
        assert_eq!(scene.world.acme.count("/token") - before, 3);
        let wait = scene.client().backoff_until.since(scene.world.now());
        assert!((1..=60).contains(&wait), "a minute at most: {wait}");
        scene.world.acme.calm();
        scene.world.pass(61);
        assert_eq!(scene.need(&ids[3]), ErrandOutcome::Refreshed);
        let client = scene.client();
        assert_eq!((client.failures, client.backoff_until.unix()), (0, 0), "a success clears it");
    }
}

#[test]
fn a_success_between_failures_begins_the_count_anew() {
    let (scene, ids) = many_expired(6);
    for failing in [&ids[..2], &ids[3..5]] {
        scene.world.acme.always("/token", Some(Reply::status(400, DOWN)));
        for id in failing {
            assert!(is_unavailable(&scene.need(id)));
        }
        scene.world.acme.calm();
        let next = if failing == &ids[..2] { &ids[2] } else { &ids[5] };
        assert_eq!(scene.need(next), ErrandOutcome::Refreshed, "two in a row hold nobody off");
    }
}

#[test]
fn an_app_that_says_how_long_to_wait_is_obeyed_by_all_connections_at_once() {
    let (scene, ids) = many_expired(2);
    scene.world.acme.next("/token", Reply::status(429, "").header("retry-after", "300"));
    let before = scene.world.acme.count("/token");
    assert!(is_unavailable(&scene.need(&ids[0])));
    for _ in 0..29 {
        assert!(is_unavailable(&scene.need(&ids[1])));
        scene.world.pass(10);
    }
    assert_eq!(scene.world.acme.count("/token") - before, 1);
    scene.world.pass(11);
    assert_eq!(scene.need(&ids[1]), ErrandOutcome::Refreshed);
}

#[test]
fn a_refusal_of_the_old_secret_does_not_mark_the_client_that_has_a_new_one() {
    let (scene, ids) = many_expired(2);
    *scene.world.acme.client_secret.borrow_mut() = "rotated-canary7f3a".into();
    let late = late(&scene, &ids[0]);
    scene.enter_secret("rotated-canary7f3a");
    assert_eq!(scene.world.run(late), ErrandOutcome::ClientMisconfigured);
    let client = scene.client();
    assert_eq!((client.misconfigured, client.backoff_until.unix()), (None, 0));
    assert_eq!(scene.need(&ids[1]), ErrandOutcome::Refreshed);
}

// ---- a person insists ----

#[test]
fn a_person_may_try_ahead_of_the_back_off_once_in_thirty_seconds() {
    let (scene, id) = expired();
    scene.world.acme.always("/token", Some(Reply::status(400, "{\"error\":\"invalid_scope\"}")));
    let before = scene.world.acme.count("/token");
    assert_eq!(scene.need(&id), ErrandOutcome::Unusable);
    assert!(scene.row(&id).next_attempt_at.since(scene.world.now()) > 600);
    for second in 0..120 {
        let outcome = scene.errand(&id, Errand::CheckNow);
        assert!(is_unavailable(&outcome) || outcome == ErrandOutcome::Unusable, "{second}: {outcome:?}");
        assert!(is_unavailable(&scene.need(&id)), "a caller waits");
        assert!(is_unavailable(&scene.errand(&id, Errand::Check)), "and so does the clock");
        scene.world.pass(1);
    }
    let asked = scene.world.acme.count("/token") - before;
    assert!((4..=5).contains(&asked), "once, and then every thirty seconds of two minutes: {asked}");
    scene.world.acme.calm();
    scene.world.pass(30);
    assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Refreshed);
}
