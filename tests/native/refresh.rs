//! Refresh: one token request, and nothing lost. The app's own log decides.

use connections::connection::{ConnectionStatus, ReconnectReason};
use connections::ports::{HttpError, Ports as _, RefreshOutcome, RefreshReason};
use connections::refresh::write_pending_renewal;
use connections::resolve::{Freshness, ResolveRequest};
use serde_json::{Value, json};

use crate::support::acme::RedeemOutcome;
use crate::support::fixture::need_reason;
use crate::support::{Fault, FaultRule, Fixture, RefreshMode, Reply, RotationPolicy, World, plain_tokens};

/// Seconds after which a lease has certainly ended.
const LEASE_OVER_SECONDS: i64 = 67;

fn connect_expired() -> (Fixture, connections::ids::ConnectionId) {
    connect_expired_with(&json!({}))
}

fn connect_expired_with(patch: &Value) -> (Fixture, connections::ids::ConnectionId) {
    let fixture = Fixture::with_definition(patch);
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    (fixture, id)
}

fn grace_patch(seconds: i64) -> Value {
    json!({ "auth": { "rotation": { "grace": seconds } } })
}

fn is_unavailable(outcome: &RefreshOutcome) -> bool {
    matches!(outcome, RefreshOutcome::Unavailable { .. })
}

fn add_fault(fixture: &Fixture, sql: &'static str, times: u32, fault: Fault) {
    fixture.world.db.fault_rules.borrow_mut().push(FaultRule { statement_part: sql, times, fault });
}

/// The statement that stores new tokens, and the one that records a failure.
const PERSIST_SQL: &str = "last_attempt_id = ?5";

// ---- classification ----

#[test]
fn an_ambiguous_response_never_marks_the_connection() {
    let cases = [
        ("network_error", Reply::error(HttpError::Network)),
        ("timeout", Reply::error(HttpError::Timeout)),
        ("body_too_large", Reply::error(HttpError::TooLarge)),
        ("redirect", Reply::status(302, "").with_header("location", "https://evil.example/")),
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
        let (fixture, id) = connect_expired();
        let before = plain_tokens(&fixture.open_credential(&id));
        fixture.world.acme.script_next("/token", reply);
        let outcome = fixture.refresh_if_needed(&id);
        let row = fixture.load_connection(&id);
        assert!(is_unavailable(&outcome), "{what}: {outcome:?}");
        assert_eq!(row.status, ConnectionStatus::Connected, "{what}");
        assert_eq!(row.last_error.as_deref(), Some(what));
        assert!(row.ambiguous_token_hash.is_some(), "{what}");
        assert!(row.lease.is_some(), "{what}: at a strict app the intent is left to run out");
        assert_eq!(plain_tokens(&fixture.open_credential(&id)), before, "{what}");
        assert_eq!(fixture.world.acme.count_requests("/token"), 2, "{what}: the exchange and one refresh");
    }
}

#[test]
fn a_rate_limit_is_transient_and_respects_retry_after() {
    let cases = [
        (Reply::status(429, "{\"error\":\"slow_down\"}").with_header("retry-after", "120"), 120),
        (Reply::status(429, "").with_header("retry-after", "120"), 120),
        (Reply::status(503, "{\"error\":\"temporarily_unavailable\"}").with_header("retry-after", "90"), 90),
        (Reply::status(400, "{\"error\":\"slow_down\"}"), 0),
        (Reply::status(400, "{\"error\":\"what_is_this\"}"), 0),
    ];
    for (reply, wait) in cases {
        let (fixture, id) = connect_expired();
        fixture.world.acme.script_next("/token", reply);
        let outcome = fixture.refresh_if_needed(&id);
        let RefreshOutcome::Unavailable { retry_after } = outcome else { panic!("{outcome:?}") };
        assert!(retry_after >= wait.max(1), "{retry_after}");
        let row = fixture.load_connection(&id);
        assert_eq!((row.status, row.lease, row.ambiguous_token_hash), (ConnectionStatus::Connected, None, None));
        if wait > 0 {
            let until = fixture.load_client().backoff_until;
            assert!(until.since(fixture.world.now()) >= wait - 1, "the client waits as well");
        }
        fixture.world.advance_clock(wait.max(retry_after) + 1);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    }
}

#[test]
fn a_refusal_of_the_stored_token_needs_a_reconnect() {
    for (status, body) in [
        (400, "{\"error\":\"invalid_grant\"}"),
        (400, "{\"error\":\"bad_refresh_token\"}"),
        (401, "{\"error\":\"token_revoked\"}"),
        (400, "{\"error\":\"invalid_refresh_token\"}"),
        (200, "{\"error\":\"invalid_grant\"}"),
    ] {
        let (fixture, id) = connect_expired();
        fixture.world.acme.script_next("/token", Reply::status(status, body));
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect, "{body}");
        let row = fixture.load_connection(&id);
        assert_eq!(
            (row.status, row.reason),
            (ConnectionStatus::NeedsReconnect, Some(ReconnectReason::Revoked)),
            "{body}"
        );
        assert_eq!(row.next_check_at, None, "the clock leaves the dead alone");
        assert!(row.sealed_credential.is_some(), "the tokens are kept for a week");
        assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'needs_reconnect'"), 1);
    }
}

#[test]
fn a_grant_past_its_known_expiry_is_expired_not_revoked() {
    let fixture = Fixture::with_definition(&json!({ "auth": { "refresh_token_lifetime": 7200 } }));
    let id = fixture.connect("ann");
    fixture.world.advance_clock(8000);
    fixture.world.acme.withdraw_grants("ann");
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::Expired));
}

#[test]
fn a_client_error_marks_the_client_and_a_success_clears_it() {
    let (fixture, id) = connect_expired();
    let other = fixture.connect("bob");
    fixture.world.acme.script_next("/token", Reply::status(401, "{\"error\":\"invalid_client\"}"));
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::ClientMisconfigured);
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
    assert!(fixture.load_client().misconfigured.is_some());
    assert_eq!(fixture.load_connection(&other).status, ConnectionStatus::Connected);
    let asked = fixture.world.acme.count_requests("/token");
    assert_eq!(
        fixture.refresh_if_needed(&id),
        RefreshOutcome::ClientMisconfigured,
        "nobody asks again before its time"
    );
    assert_eq!(fixture.world.acme.count_requests("/token"), asked);
    fixture.world.advance_clock(121);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    assert_eq!(fixture.load_client().misconfigured, None);
}

#[test]
fn a_new_secret_clears_the_client_and_its_connections_are_retried_at_once() {
    let (fixture, id) = connect_expired();
    *fixture.world.acme.client_secret.borrow_mut() = "rotated-canary7f3a".into();
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::ClientMisconfigured);
    fixture.put_client_secret("rotated-canary7f3a");
    assert_eq!(fixture.load_client().misconfigured, None);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
}

#[test]
fn a_misconfigured_client_does_not_block_a_valid_token() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_always("/token", Some(Reply::status(401, "{\"error\":\"invalid_client\"}")));
    assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::ClientMisconfigured);
    assert_eq!(fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.freshness, Freshness::Fresh);
}

#[test]
fn a_configuration_error_does_not_mark_the_connection() {
    for error in ["unauthorized_client", "unsupported_grant_type", "invalid_scope"] {
        let (fixture, id) = connect_expired();
        fixture.world.acme.script_next("/token", Reply::status(400, &json!({ "error": error }).to_string()));
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::ConfigurationRefused);
        let row = fixture.load_connection(&id);
        assert_eq!((row.status, row.last_error.as_deref()), (ConnectionStatus::Connected, Some(error)));
        assert!(row.next_attempt_at.since(fixture.world.now()) > 600);
    }
}

#[test]
fn an_unusual_response_with_a_new_refresh_token_is_stored() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.script_next("/token", Reply::edited(|body| body["access_token"] = "two words".into()));
    let outcome = fixture.refresh_if_needed(&id);
    assert!(is_unavailable(&outcome), "{outcome:?}");
    let stored = plain_tokens(&fixture.open_credential(&id)).1;
    assert_ne!(stored, Some(fixture.world.acme.received_refreshes()[0].token.clone()));
    fixture.world.advance_clock(120);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    assert_eq!(fixture.world.acme.count_refreshes(RedeemOutcome::GrantRevoked), 0);
}

#[test]
fn a_response_without_expiry_or_with_an_unusual_type_is_stored() {
    let edits: [fn(&mut Value); 3] = [
        |body| {
            body.as_object_mut().unwrap().remove("expires_in");
        },
        |body| body["token_type"] = 7.into(),
        |body| body["id_token"] = "not.a.token".into(),
    ];
    for edit in edits {
        let (fixture, id) = connect_expired();
        fixture.world.acme.script_next("/token", Reply::edited(edit));
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
        let (access, _) = plain_tokens(&fixture.open_credential(&id));
        assert!(fixture.world.acme.accepts_access_token(&access));
        assert!(fixture.load_connection(&id).next_check_at.is_some(), "a token without an end is probed by the clock");
    }
}

// ---- the merge rule ----

#[test]
fn a_response_without_a_refresh_token_keeps_the_old_one() {
    let edits: [fn(&mut Value); 3] = [
        |body| {
            body.as_object_mut().unwrap().remove("refresh_token");
        },
        |body| body["refresh_token"] = Value::Null,
        |body| body["refresh_token"] = "".into(),
    ];
    for edit in edits {
        let (fixture, id) = connect_expired_with(&json!({ "auth": { "rotation": "reissue" } }));
        fixture.world.acme.rotation.set(RotationPolicy::Reissue);
        let before = plain_tokens(&fixture.open_credential(&id));
        fixture.world.acme.script_next("/token", Reply::edited(edit));
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
        let after = plain_tokens(&fixture.open_credential(&id));
        assert_eq!(before.1, after.1);
        assert_ne!(before.0, after.0);
    }
}

#[test]
fn a_non_rotating_app_is_always_refreshed_with_the_same_token() {
    let (fixture, id) = connect_expired_with(&json!({ "auth": { "rotation": "none" } }));
    fixture.world.acme.rotation.set(RotationPolicy::Never);
    for _ in 0..5 {
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
        fixture.expire_access_token(&id);
    }
    let redeemed = fixture.world.acme.received_refreshes();
    assert_eq!(redeemed.len(), 5);
    assert!(redeemed.iter().all(|one| one.token == redeemed[0].token));
    assert_eq!(fixture.load_connection(&id).version, 6);
}

// ---- one request at a time ----

#[test]
fn sixty_four_callers_cause_one_refresh_request() {
    for way in [RefreshMode::Direct, RefreshMode::Object] {
        for seed in 0..8 {
            let world = World::new(way, Some(seed));
            let fixture = Fixture::in_world(&world, &json!({}));
            let id = fixture.connect("ann");
            fixture.expire_access_token(&id);
            let reason = need_reason(&world);
            let outcomes = world.run_concurrently((0..64).map(|_| world.run_refresher(&id, reason)));
            let fine = |one: &RefreshOutcome| matches!(one, RefreshOutcome::Refreshed | RefreshOutcome::StillValid);
            assert!(outcomes.iter().all(fine), "{way:?} {seed}: {outcomes:?}");
            assert_eq!(world.acme.received_refreshes().len(), 1, "{way:?} {seed}");
            assert!(world.acme.has_live_grant("ann"));
        }
    }
}

#[test]
fn callers_in_one_isolate_wait_for_an_attempt_without_the_database() {
    let world = World::new(RefreshMode::Direct, Some(1)).in_one_isolate();
    let fixture = Fixture::in_world(&world, &json!({}));
    let id = fixture.connect("ann");
    let round_trips = |callers: usize| {
        world.advance_clock(60);
        fixture.expire_access_token(&id);
        let reason = need_reason(&world);
        world.db.reset_counts();
        let outcomes = world.run_concurrently((0..callers).map(|_| world.run_refresher(&id, reason)));
        assert!(outcomes.iter().all(|one| *one == RefreshOutcome::Refreshed), "{outcomes:?}");
        world.db.round_trips.get()
    };
    let alone = round_trips(1);
    assert_eq!(round_trips(64), alone);
}

#[test]
fn an_attempt_whose_request_ended_is_not_waited_for_without_end() {
    let world = World::new(RefreshMode::Direct, Some(1)).in_one_isolate();
    let fixture = Fixture::in_world(&world, &json!({}));
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    let reason = need_reason(&world);
    let context = world.context();
    let begun = context.ports.isolate_cache().attempts();
    begun.begin(&id, &serde_json::to_string(&reason).unwrap(), context.now());
    assert_eq!(
        world.run(world.run_refresher(&id, RefreshReason::Early)),
        RefreshOutcome::InProgress { retry_after: 5 }
    );
    world.advance_clock(11);
    assert_eq!(world.run(world.run_refresher(&id, reason)), RefreshOutcome::Refreshed);
}

#[test]
fn two_workers_over_one_database_send_one_refresh_request() {
    for seed in 0..8 {
        let world = World::new(RefreshMode::Object, Some(seed));
        let other = world.second_deployment(if seed % 2 == 0 { RefreshMode::Object } else { RefreshMode::Direct });
        let fixture = Fixture::in_world(&world, &json!({}));
        let id = fixture.connect("ann");
        fixture.expire_access_token(&id);
        let reason = need_reason(&world);
        let callers = (0..16)
            .map(|at| if at % 2 == 0 { world.run_refresher(&id, reason) } else { other.run_refresher(&id, reason) });
        let callers: Vec<_> = callers.collect();
        world.run_concurrently(callers);
        assert_eq!(world.acme.received_refreshes().len(), 1, "seed {seed}");
    }
}

#[test]
fn a_slow_app_is_never_asked_twice() {
    let world = World::new(RefreshMode::Direct, Some(3));
    let fixture = Fixture::in_world(&world, &json!({}));
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    world.acme.latency_ms.set(14_000);
    let reason = need_reason(&world);
    let outcomes = world.run_concurrently((0..8).map(|_| world.run_refresher(&id, reason)));
    assert_eq!(outcomes.iter().filter(|one| **one == RefreshOutcome::Refreshed).count(), 1);
    let waited = |one: &RefreshOutcome| *one == RefreshOutcome::InProgress { retry_after: 5 };
    assert_eq!(outcomes.iter().filter(|one| waited(one)).count(), 7, "{outcomes:?}");
    assert_eq!(world.acme.received_refreshes().len(), 1);
}

#[test]
fn refreshes_without_a_waiting_caller_do_not_wait() {
    let world = World::new(RefreshMode::Direct, None);
    let fixture = Fixture::in_world(&world, &json!({}));
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    world.acme.latency_ms.set(8000);
    let first = world.runtime.spawn(world.run_refresher(&id, RefreshReason::ScheduledCheck));
    world.run(world.runtime.sleep(1000));
    let spent = world.db.round_trips.get();
    for reason in [RefreshReason::Early, RefreshReason::ScheduledCheck] {
        assert_eq!(fixture.refresh(&id, reason), RefreshOutcome::InProgress { retry_after: 5 });
    }
    assert_eq!(world.db.round_trips.get() - spent, 2);
    assert_eq!(world.run(first), RefreshOutcome::Refreshed);
}

#[test]
fn a_waiting_caller_waits_at_most_ten_seconds_with_few_round_trips() {
    let world = World::new(RefreshMode::Direct, None);
    let fixture = Fixture::in_world(&world, &json!({}));
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    world.acme.latency_ms.set(14_500);
    let first = world.runtime.spawn(world.run_refresher(&id, need_reason(&world)));
    world.run(world.runtime.sleep(1000));
    let (began, spent) = (world.runtime.now_ms(), world.db.round_trips.get());
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::InProgress { retry_after: 5 });
    assert!(world.runtime.now_ms() - began <= 10_000);
    assert!(world.db.round_trips.get() - spent <= 10);
    assert_eq!(world.run(first), RefreshOutcome::Refreshed);
}

#[test]
fn a_refresh_is_four_subrequests() {
    let (fixture, id) = connect_expired();
    let context = fixture.world.context();
    let reason = need_reason(&fixture.world);
    fixture.world.run(async { connections::refresh::run(&context, &id, reason).await });
    assert_eq!(context.ports.budget.spent.get(), 4, "read, claim, ask, store");
}

// ---- crashes and ambiguous results ----

#[test]
fn after_a_crash_the_lease_ends_and_the_next_attempt_finds_lost_or_revoked() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.latency_ms.set(2000);
    let attempt = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(500));
    attempt.kill();
    fixture.world.runtime.run_until_idle();
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1, "the app acted, nobody heard it");
    assert!(fixture.load_connection(&id).lease.is_some());
    let outcome = fixture.refresh_if_needed(&id);
    assert_eq!(outcome, RefreshOutcome::InProgress { retry_after: 5 });
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1, "never stolen while it may be under way");
    fixture.world.advance_clock(LEASE_OVER_SECONDS);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::LostRotation));
    assert_eq!(fixture.world.acme.received_refreshes().len(), 2, "twice only after an ambiguous attempt");
}

#[test]
fn a_crash_before_the_app_acted_loses_nothing() {
    let (fixture, id) = connect_expired();
    add_fault(&fixture, "lease_attempt_id = ?5, lease_expires_at", 1, Fault::NoAnswer);
    let attempt = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(500));
    attempt.kill();
    assert_eq!(fixture.world.acme.received_refreshes().len(), 0);
    fixture.world.advance_clock(LEASE_OVER_SECONDS);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    assert_eq!(fixture.world.acme.count_refreshes(RedeemOutcome::Granted), 1);
}

#[test]
fn an_ambiguous_result_at_a_strict_app_answers_waiting_callers_at_once() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.script_next("/token", Reply::error(HttpError::Network));
    assert!(is_unavailable(&fixture.refresh_if_needed(&id)));
    let began = fixture.world.runtime.now_ms();
    for reason in [
        need_reason(&fixture.world),
        RefreshReason::Force,
        RefreshReason::Early,
        RefreshReason::ScheduledCheck,
        RefreshReason::OnDemandCheck,
    ] {
        let outcome = fixture.refresh(&id, reason);
        let RefreshOutcome::Unavailable { retry_after } = outcome else { panic!("{reason:?}: {outcome:?}") };
        assert!((60..=90).contains(&retry_after), "{retry_after}");
    }
    assert_eq!(fixture.world.runtime.now_ms(), began, "nobody waits for an answer that won't come");
    assert_eq!(fixture.world.acme.count_requests("/token"), 2);
    fixture.world.advance_clock(LEASE_OVER_SECONDS);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed, "it had not acted");
    assert_eq!(fixture.load_connection(&id).ambiguous_token_hash, None);
}

#[test]
fn a_lost_response_at_a_strict_app_is_reported_as_lost_rotation() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.script_next("/token", Reply::error(HttpError::Network).after_acting());
    assert!(is_unavailable(&fixture.refresh_if_needed(&id)));
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected, "not dead before it is sure");
    fixture.world.advance_clock(LEASE_OVER_SECONDS);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::LostRotation));
}

#[test]
fn one_retry_is_safe_at_an_app_that_only_refuses_used_tokens() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.rotation.set(RotationPolicy::Reject);
    fixture.world.acme.script_next("/token", Reply::error(HttpError::Network).after_acting());
    fixture.refresh_if_needed(&id);
    fixture.world.advance_clock(LEASE_OVER_SECONDS);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::LostRotation));
    assert_eq!(
        (
            fixture.world.acme.received_refreshes().len(),
            fixture.world.acme.count_refreshes(RedeemOutcome::GrantRevoked)
        ),
        (2, 0)
    );
}

#[test]
fn a_lost_response_is_recovered_within_a_grace_period() {
    for seconds in [20, 30, 600] {
        let (fixture, id) = connect_expired_with(&grace_patch(seconds));
        fixture.world.acme.rotation.set(RotationPolicy::Grace(seconds));
        fixture.world.acme.script_next("/token", Reply::error(HttpError::Network).after_acting());
        let outcome = fixture.refresh_if_needed(&id);
        let RefreshOutcome::Unavailable { retry_after } = outcome else { panic!("{outcome:?}") };
        assert!(retry_after <= seconds / 2, "within the window, with room: {retry_after}");
        assert_eq!(fixture.load_connection(&id).lease, None, "given back: a second try is safe");
        fixture.world.advance_clock(retry_after);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
        assert_eq!(fixture.world.acme.count_refreshes(RedeemOutcome::Replayed), 1);
        assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
    }
}

#[test]
fn a_lost_response_at_a_non_rotating_app_is_retried_soon() {
    let (fixture, id) = connect_expired_with(&json!({ "auth": { "rotation": "none" } }));
    fixture.world.acme.rotation.set(RotationPolicy::Never);
    fixture.world.acme.script_next("/token", Reply::status(500, "").after_acting());
    let outcome = fixture.refresh_if_needed(&id);
    let RefreshOutcome::Unavailable { retry_after } = outcome else { panic!("{outcome:?}") };
    assert!(retry_after <= 5);
    fixture.world.advance_clock(retry_after);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
}

#[test]
fn a_crash_is_recovered_if_the_grace_period_outlasts_the_lease() {
    let (fixture, id) = connect_expired_with(&grace_patch(600));
    fixture.world.acme.rotation.set(RotationPolicy::Grace(600));
    add_fault(&fixture, PERSIST_SQL, 1, Fault::NoAnswer);
    fixture.world.db.fault_rules.borrow_mut()[0].fault = Fault::BeforeCommit;
    let attempt = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(150));
    attempt.kill();
    fixture.world.advance_clock(LEASE_OVER_SECONDS);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    assert_eq!(fixture.world.acme.count_refreshes(RedeemOutcome::Replayed), 1);
}

#[test]
fn a_refusal_keeps_its_reason_if_the_database_write_is_retried() {
    for fault in [Fault::BeforeCommit, Fault::AfterCommit] {
        let (fixture, id) = connect_expired();
        fixture.world.acme.withdraw_grants("ann");
        add_fault(&fixture, "'needs_reconnect' END, reason = ?6", 2, fault);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
        let row = fixture.load_connection(&id);
        assert_eq!(
            (row.status, row.reason, row.lease),
            (ConnectionStatus::NeedsReconnect, Some(ReconnectReason::Revoked), None)
        );
        assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'needs_reconnect'"), 1);
        assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
    }
}

#[test]
fn a_lease_whose_write_was_reported_as_failed_is_released() {
    let (fixture, id) = connect_expired();
    add_fault(&fixture, "lease_attempt_id = ?5, lease_expires_at", 1, Fault::AfterCommit);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::DatabaseUnavailable);
    assert_eq!(fixture.load_connection(&id).lease, None);
    fixture.world.acme.withdraw_grants("ann");
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::Revoked), "nothing had been sent");
}

#[test]
fn a_failure_does_not_overwrite_newer_tokens() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.latency_ms.set(2_000);
    fixture.world.acme.script_next("/token", Reply::error(HttpError::Network));
    let slow = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(500));
    fixture.world.db.tamper("UPDATE connections SET version = version + 1");
    assert!(is_unavailable(&fixture.world.run(slow)));
    let row = fixture.load_connection(&id);
    assert_eq!((row.lease, row.failures, row.ambiguous_token_hash), (None, 0, None));
}

#[test]
fn a_repeated_response_within_a_grace_period_is_as_old_as_the_first() {
    for (acts, reply) in
        [(false, Reply::error(HttpError::Network)), (true, Reply::error(HttpError::Network).after_acting())]
    {
        let (fixture, id) = connect_expired_with(&grace_patch(1800));
        fixture.world.acme.rotation.set(RotationPolicy::Grace(1800));
        fixture.world.acme.expires_in.set(Some(1800));
        fixture.world.acme.script_next("/token", reply);
        let RefreshOutcome::Unavailable { retry_after } = fixture.refresh_if_needed(&id) else { panic!("it failed") };
        fixture.world.advance_clock(retry_after);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
        let end = fixture.load_connection(&id).expires_at.unwrap();
        let left = end.since(fixture.world.now());
        assert!((1_740..1_800).contains(&left), "{acts}: told shorter by what it may have lived, no more: {left}");
        assert_eq!(fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.freshness, Freshness::Fresh);
    }
}

#[test]
fn a_token_repeated_in_a_grace_period_keeps_its_first_time() {
    let (fixture, id) = connect_expired_with(&grace_patch(600));
    fixture.world.acme.rotation.set(RotationPolicy::Grace(600));
    let first = fixture.world.now();
    fixture.world.acme.script_next("/token", Reply::error(HttpError::Timeout).after_acting());
    fixture.world.acme.script_next("/token", Reply::error(HttpError::Timeout).after_acting());
    for _ in 0..2 {
        let RefreshOutcome::Unavailable { retry_after } = fixture.refresh_if_needed(&id) else { panic!("it failed") };
        fixture.world.advance_clock(retry_after);
    }
    fixture.world.acme.script_next("/token", Reply::status(429, ""));
    fixture.refresh_if_needed(&id);
    fixture.world.advance_clock(120);
    let asked_at = fixture.world.now();
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    let end = fixture.load_connection(&id).expires_at.unwrap();
    assert_eq!(
        end,
        asked_at.plus(3600 - asked_at.since(first)),
        "failures in between, of any kind, change nothing of that"
    );
    assert_eq!(fixture.load_connection(&id).ambiguous_since, None);
}

#[test]
fn retries_at_a_silent_app_back_off_also_with_a_grace_period() {
    let (fixture, id) = connect_expired_with(&grace_patch(30));
    fixture.world.acme.script_always("/token", Some(Reply::error(HttpError::Network)));
    let mut waits = Vec::new();
    for _ in 0..8 {
        let RefreshOutcome::Unavailable { retry_after } = fixture.refresh_if_needed(&id) else { panic!("it failed") };
        waits.push(retry_after);
        fixture.world.advance_clock(retry_after);
    }
    assert!(waits[0] <= 15, "once within the grace: {waits:?}");
    assert!(waits[7] > 200, "{waits:?}");
}

#[test]
fn an_attempt_planned_before_another_failure_waits_for_the_back_off() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.script_next("/token", Reply::status(400, "{\"error\":\"slow_down\"}"));
    add_fault(&fixture, "lease_attempt_id = ?5, lease_expires_at", 1, Fault::Slow(500));
    let slow = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(50));
    assert!(
        is_unavailable(&fixture.refresh_if_needed(&id)),
        "asked and was told to wait, all before the slow claim was written"
    );
    assert!(is_unavailable(&fixture.world.run(slow)));
    assert_eq!(fixture.world.acme.count_requests("/token"), 2, "the exchange and one refresh");
}

#[test]
fn if_a_token_may_be_sent_again_a_crash_does_not_block_for_a_minute() {
    for (rotation, rotates, over) in [
        (json!({ "grace": 30 }), RotationPolicy::Grace(30), 21),
        (json!({ "grace": 600 }), RotationPolicy::Grace(600), 66),
        (json!("reissue"), RotationPolicy::Reissue, 36),
        (json!("none"), RotationPolicy::Never, 36),
    ] {
        let (fixture, id) = connect_expired_with(&json!({ "auth": { "rotation": rotation } }));
        fixture.world.acme.rotation.set(rotates);
        let attempt = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
        fixture.world.run(fixture.world.runtime.sleep(70));
        attempt.kill();
        fixture.world.runtime.run_until_idle();
        assert_eq!(fixture.world.acme.count_refreshes(RedeemOutcome::Granted), 1, "the app acted, nobody heard it");
        fixture.world.advance_clock(over - 3);
        assert_eq!(
            fixture.refresh(&id, RefreshReason::Early),
            RefreshOutcome::InProgress { retry_after: 5 },
            "{rotation}"
        );
        fixture.world.advance_clock(3);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed, "{rotation}: still in time");
        assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
    }
}

#[test]
fn a_request_never_outlives_its_lease() {
    let (fixture, id) = connect_expired_with(&grace_patch(30));
    fixture.world.acme.latency_ms.set(60_000);
    let began = fixture.world.runtime.now_ms();
    assert!(is_unavailable(&fixture.refresh_if_needed(&id)));
    assert_eq!(fixture.world.runtime.now_ms() - began, 12_000, "15 s of promise, 3 s of them to store the answer");
}

#[test]
fn a_lease_that_was_written_too_late_is_released_without_a_request() {
    let (fixture, id) = connect_expired_with(&grace_patch(20));
    add_fault(&fixture, "lease_attempt_id = ?5, lease_expires_at", 1, Fault::Slow(4_000));
    assert_eq!(
        fixture.refresh_if_needed(&id),
        RefreshOutcome::DatabaseUnavailable,
        "of a promise of 10 s too little is left"
    );
    assert_eq!(fixture.world.acme.received_refreshes().len(), 0);
    let row = fixture.load_connection(&id);
    assert_eq!((row.lease, row.ambiguous_token_hash), (None, None));
    assert_eq!(row.last_error.as_deref(), Some("database_slow"));
    fixture.world.advance_clock(6);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
}

// ---- the previous token ----

/// Refreshed once, and then the app loses the token that it issued: (fixture, connection, the previous token).
fn refresh_then_forget(rotation: &Value, rotates: RotationPolicy) -> (Fixture, connections::ids::ConnectionId, String) {
    let (fixture, id) = connect_expired_with(&json!({ "auth": { "rotation": rotation } }));
    fixture.world.acme.rotation.set(rotates);
    let first = plain_tokens(&fixture.open_credential(&id)).1.unwrap();
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    fixture.world.acme.forget_refresh_token(&plain_tokens(&fixture.open_credential(&id)).1.unwrap());
    (fixture, id, first)
}

#[test]
fn a_refused_token_does_not_end_the_grant_within_the_previous_tokens_grace_period() {
    let (fixture, id, first) = refresh_then_forget(&json!({ "grace": 600 }), RotationPolicy::Grace(600));
    fixture.world.advance_clock(60);
    assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::Refreshed);
    let presented: Vec<_> =
        fixture.world.acme.received_refreshes().iter().map(|one| (one.token == first, one.outcome)).collect();
    assert_eq!(
        presented,
        [(true, RedeemOutcome::Granted), (false, RedeemOutcome::Refused), (true, RedeemOutcome::Replayed)]
    );
    let row = fixture.load_connection(&id);
    assert_eq!(row.status, ConnectionStatus::Connected);
    assert!(fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(&id)).0));
    let told = row.expires_at.unwrap().since(fixture.world.now());
    assert!((3_530..=3_541).contains(&told), "the answer is as old as the first use of the token: {told}");
    let until =
        fixture.open_credential(&id).token.unwrap().previous.map(|previous| previous.until.since(fixture.world.now()));
    assert!(until.is_none_or(|left| left <= 541), "a grace begins once: {until:?}");
}

#[test]
fn a_temporary_refusal_of_the_previous_token_does_not_mark_the_connection() {
    for reply in [
        Reply::status(429, ""),
        Reply::status(503, "{\"error\":\"temporarily_unavailable\"}"),
        Reply::status(401, "{\"error\":\"invalid_client\"}"),
        Reply::status(400, "{\"error\":\"what_is_this\"}"),
    ] {
        let (fixture, id, _) = refresh_then_forget(&json!({ "grace": 600 }), RotationPolicy::Grace(600));
        fixture.world.advance_clock(60);
        fixture.world.acme.script_next("/token", Reply::status(400, "{\"error\":\"invalid_grant\"}"));
        fixture.world.acme.script_next("/token", reply);
        assert_ne!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::NeedsReconnect);
        let row = fixture.load_connection(&id);
        assert_eq!((row.status, row.lease), (ConnectionStatus::Connected, None));
    }
}

#[test]
fn the_previous_token_is_sent_only_within_its_grace_period() {
    for (rotation, rotates, passes) in [
        (json!({ "grace": 600 }), RotationPolicy::Grace(600), 601),
        (json!("strict"), RotationPolicy::Strict, 60),
        (json!("reissue"), RotationPolicy::Reissue, 60),
    ] {
        let (fixture, id, first) = refresh_then_forget(&rotation, rotates);
        fixture.world.advance_clock(passes);
        assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::NeedsReconnect, "{rotation}");
        let again = fixture.world.acme.received_refreshes().iter().filter(|one| one.token == first).count();
        assert_eq!(again, 1, "{rotation}: only at its own use");
        assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::Revoked));
    }
}

#[test]
fn the_previous_token_is_kept_only_with_a_grace_period() {
    for (rotation, kept) in [(json!({ "grace": 30 }), true), (json!("strict"), false), (json!("reissue"), false)] {
        let (fixture, id) = connect_expired_with(&json!({ "auth": { "rotation": rotation } }));
        let first = plain_tokens(&fixture.open_credential(&id)).1;
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
        let previous = fixture.open_credential(&id).token.unwrap().previous;
        let previous = previous.map(|previous| previous.refresh_token.expose().to_owned());
        assert_eq!(previous, first.filter(|_| kept), "{rotation}");
    }
}

#[test]
fn an_ambiguous_response_to_the_previous_token_does_not_mark_the_connection() {
    let (fixture, id, _) = refresh_then_forget(&json!({ "grace": 600 }), RotationPolicy::Grace(600));
    fixture.world.advance_clock(60);
    fixture.world.acme.script_next("/token", Reply::status(400, "{\"error\":\"invalid_grant\"}"));
    fixture.world.acme.script_next("/token", Reply::error(HttpError::Network));
    assert!(is_unavailable(&fixture.refresh(&id, RefreshReason::Force)));
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
    fixture.world.advance_clock(120);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::StillValid);
    assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::Refreshed);
}

// ---- storing ----

#[test]
fn a_write_that_was_applied_but_reported_as_failed_is_a_success() {
    let (fixture, id) = connect_expired();
    add_fault(&fixture, PERSIST_SQL, 1, Fault::AfterCommit);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    let row = fixture.load_connection(&id);
    assert_eq!((row.version, row.lease), (2, None));
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
    assert!(fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(&id)).0));
}

#[test]
fn a_failed_write_is_retried_until_it_succeeds() {
    for times in 1..=5 {
        let (fixture, id) = connect_expired();
        add_fault(&fixture, PERSIST_SQL, times, Fault::BeforeCommit);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed, "{times}");
        assert_eq!(fixture.load_connection(&id).version, 2);
        assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
    }
}

#[test]
fn a_slow_app_and_a_slow_database_stay_within_the_lease() {
    for seed in 0..4 {
        let world = World::new(RefreshMode::Direct, Some(seed));
        let fixture = Fixture::in_world(&world, &json!({}));
        let id = fixture.connect("ann");
        fixture.expire_access_token(&id);
        world.acme.latency_ms.set(14_900);
        add_fault(&fixture, PERSIST_SQL, 1, Fault::Slow(10_000));
        let first = world.runtime.spawn(world.run_refresher(&id, need_reason(&world)));
        for _ in 0..12 {
            world.run(world.runtime.sleep(5000));
            fixture.refresh_if_needed(&id);
        }
        assert_eq!(world.run(first), RefreshOutcome::Refreshed);
        assert_eq!(world.acme.received_refreshes().len(), 1, "seed {seed}");
        world.run(world.runtime.sleep(1));
    }
}

#[test]
fn tokens_that_the_database_refuses_wait_in_pending_writes_and_are_stored_later() {
    let (fixture, id) = connect_expired();
    fixture.world.kept_writes.enabled.set(true);
    add_fault(&fixture, PERSIST_SQL, 6, Fault::BeforeCommit);
    assert_eq!(
        fixture.refresh_if_needed(&id),
        RefreshOutcome::DatabaseUnavailable,
        "no caller gets a token that was not stored"
    );
    assert_eq!(fixture.load_connection(&id).version, 1);
    let kept = fixture.world.kept_writes.writes.borrow()[0].1.clone();
    assert!(!kept.contains("canary7f3a"), "it is sealed");
    for round in 0..2 {
        assert!(fixture.world.run(write_pending_renewal(&*fixture.world.context(), &kept)), "round {round}");
        assert_eq!(fixture.load_connection(&id).version, 2, "a second delivery changes nothing");
    }
    assert!(fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(&id)).0));
    assert_eq!(fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.freshness, Freshness::Fresh);
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
}

#[test]
fn a_pending_write_is_retried_while_the_database_is_down() {
    let (fixture, id) = connect_expired();
    fixture.world.kept_writes.enabled.set(true);
    add_fault(&fixture, PERSIST_SQL, 7, Fault::BeforeCommit);
    fixture.refresh_if_needed(&id);
    let kept = fixture.world.kept_writes.writes.borrow()[0].1.clone();
    assert!(!fixture.world.run(write_pending_renewal(&*fixture.world.context(), &kept)));
    assert!(fixture.world.run(write_pending_renewal(&*fixture.world.context(), &kept)));
    assert_eq!(fixture.load_connection(&id).version, 2);
}

#[test]
fn a_pending_write_after_a_reconnect_is_dropped() {
    let (fixture, id) = connect_expired();
    fixture.world.kept_writes.enabled.set(true);
    add_fault(&fixture, PERSIST_SQL, 6, Fault::BeforeCommit);
    fixture.refresh_if_needed(&id);
    let kept = fixture.world.kept_writes.writes.borrow()[0].1.clone();
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    let before = plain_tokens(&fixture.open_credential(&id));
    assert!(
        fixture.world.run(write_pending_renewal(&*fixture.world.context(), &kept)),
        "the record no longer wants it"
    );
    assert_eq!(plain_tokens(&fixture.open_credential(&id)), before);
}

#[test]
fn without_pending_writes_a_loss_is_logged_and_reported_later() {
    let (fixture, id) = connect_expired();
    add_fault(&fixture, PERSIST_SQL, 6, Fault::BeforeCommit);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::DatabaseUnavailable);
    assert_eq!(fixture.world.log.count_events("tokens_lost"), 1);
    fixture.world.advance_clock(LEASE_OVER_SECONDS);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::LostRotation));
}

#[test]
fn an_unreadable_database_means_no_request() {
    let (fixture, id) = connect_expired();
    let asked = fixture.world.acme.count_all_requests();
    fixture.world.db.down.set(true);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::DatabaseUnavailable);
    fixture.world.db.down.set(false);
    add_fault(&fixture, "lease_attempt_id = ?5, lease_expires_at", 1, Fault::BeforeCommit);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::DatabaseUnavailable, "no intent, no request");
    assert_eq!(fixture.world.acme.count_all_requests(), asked);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
}

#[test]
fn a_lease_that_was_written_but_reported_as_failed_sends_nothing_and_expires() {
    let (fixture, id) = connect_expired();
    add_fault(&fixture, "lease_attempt_id = ?5, lease_expires_at", 1, Fault::AfterCommit);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::DatabaseUnavailable);
    assert_eq!(fixture.world.acme.received_refreshes().len(), 0);
    fixture.world.advance_clock(LEASE_OVER_SECONDS);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
}

// ---- generations and shared grants ----

#[test]
fn a_late_response_of_an_older_generation_is_neither_stored_nor_revoked() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.latency_ms.set(8000);
    let late = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(200));
    fixture.world.acme.latency_ms.set(10);
    assert_eq!(fixture.complete_flow(&fixture.repair_request(&id), "ann").connection, Some(id.clone()));
    let fresh = plain_tokens(&fixture.open_credential(&id));
    assert_eq!(fixture.world.run(late), RefreshOutcome::NotFound);
    assert_eq!(plain_tokens(&fixture.open_credential(&id)), fresh);
    assert_eq!(fixture.load_connection(&id).generation, 2);
    assert!(fixture.world.acme.revoked_tokens().is_empty(), "a revocation would kill the whole grant");
    assert!(fixture.world.acme.has_live_grant("ann"));
}

#[test]
fn a_late_failure_of_an_older_generation_does_not_mark_the_new_one() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.latency_ms.set(8000);
    fixture.world.acme.script_next("/token", Reply::status(400, "{\"error\":\"invalid_grant\"}"));
    let late = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(5000));
    fixture.world.acme.latency_ms.set(10);
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    fixture.world.run(late);
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'needs_reconnect'"), 0);
    assert_eq!(fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.freshness, Freshness::Fresh);
}

#[test]
fn a_late_response_after_a_disconnect_restores_nothing() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.latency_ms.set(8000);
    let late = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(5000));
    fixture.world.acme.latency_ms.set(10);
    fixture.disconnect(&id).unwrap();
    assert_eq!(fixture.world.run(late), RefreshOutcome::NotFound);
    assert_eq!(fixture.find_connection(&id), None);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 0);
}

#[test]
fn a_rename_during_a_refresh_keeps_both_name_and_token() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.latency_ms.set(2000);
    let late = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(500));
    let patch = connections::store::connections::ConnectionPatch { name: Some("Mine".into()), ..Default::default() };
    fixture.world.run(async {
        let statement = connections::store::connections::patch(&fixture.workspace, &id, &patch);
        connections::ports::Database::batch(fixture.world.context().db(), vec![statement]).await.unwrap();
    });
    assert_eq!(fixture.world.run(late), RefreshOutcome::Refreshed);
    let row = fixture.load_connection(&id);
    assert_eq!((row.name.as_str(), row.version), ("Mine", 2));
}

#[test]
fn connections_stay_with_the_client_they_were_made_with() {
    let (fixture, id) = connect_expired();
    fixture.world.run(async {
        let context = fixture.world.context();
        let mut other =
            connections::store::clients::get(context.db(), &fixture.workspace, &fixture.client).await.unwrap().unwrap();
        other.id = connections::ids::ClientId::random(
            connections::ports::Ports::random(&*context.ports),
            connections::ids::Shard::FIRST,
        )
        .unwrap();
        other.client_id = "another".into();
        other.sealed_secret = None;
        connections::store::clients::put(context.db(), &other, false).await.unwrap();
    });
    assert!(!fixture.load_client().current);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
}

// ---- back-off ----

#[test]
fn two_hundred_resolves_of_an_ended_grant_send_one_request() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.withdraw_grants("ann");
    for _ in 0..200 {
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
        fixture.world.advance_clock(1);
    }
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
}

#[test]
fn an_unavailable_app_gets_at_most_one_attempt_per_back_off_step() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.script_always("/token", Some(Reply::status(400, "{\"error\":\"temporarily_unavailable\"}")));
    let before = fixture.world.acme.count_requests("/token");
    for _ in 0..200 {
        assert!(is_unavailable(&fixture.refresh_if_needed(&id)));
        fixture.world.advance_clock(1);
    }
    let attempts = fixture.world.acme.count_requests("/token") - before;
    assert!((4..=8).contains(&attempts), "doubling from 5 s: {attempts} in 200 s");
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
}

#[test]
fn an_app_that_only_fails_never_marks_a_connection() {
    for reply in [Reply::status(500, ""), Reply::status(503, "<html>"), Reply::error(HttpError::Timeout)] {
        let (fixture, id) = connect_expired();
        fixture.world.acme.script_always("/token", Some(reply));
        for _ in 0..30 {
            fixture.refresh_if_needed(&id);
            fixture.run_scheduled();
            fixture.world.advance_clock(3600);
        }
        assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
        fixture.world.acme.script_always("/token", None);
        fixture.world.advance_clock(3600);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
        assert_eq!(fixture.load_connection(&id).failures, 0);
    }
}

#[test]
fn a_forced_refresh_accepts_one_of_the_last_thirty_seconds() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::Refreshed);
    for _ in 0..3 {
        fixture.world.advance_clock(10);
        assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::StillValid);
    }
    fixture.world.advance_clock(10);
    assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::Refreshed);
    assert_eq!(fixture.world.acme.received_refreshes().len(), 2);
}

#[test]
fn a_token_with_a_lifetime_of_a_minute_does_not_loop() {
    let fixture = Fixture::new();
    fixture.world.acme.expires_in.set(Some(60));
    let id = fixture.connect("ann");
    for _ in 0..5 {
        fixture.resolve_and_finish(&id, ResolveRequest { min_ttl: 3600, ..ResolveRequest::default() }).unwrap();
    }
    assert_eq!(fixture.world.acme.received_refreshes().len(), 0, "half its life is long enough");
    fixture.world.advance_clock(31);
    for _ in 0..5 {
        fixture.resolve_and_finish(&id, ResolveRequest { min_ttl: 3600, ..ResolveRequest::default() }).unwrap();
    }
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
}

// ---- needs_reconnect and recovery ----

#[test]
fn check_now_retries_a_connection_that_needs_reconnect_and_a_success_restores_it() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.withdraw_grants("ann");
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    fixture.world.acme.restore_grants("ann");
    assert_eq!(fixture.refresh(&id, RefreshReason::OnDemandCheck), RefreshOutcome::NeedsReconnect, "not within 30 s");
    fixture.world.advance_clock(31);
    for reason in
        [need_reason(&fixture.world), RefreshReason::Force, RefreshReason::ScheduledCheck, RefreshReason::Early]
    {
        assert_eq!(fixture.refresh(&id, reason), RefreshOutcome::NeedsReconnect, "{reason:?}");
    }
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
    assert_eq!(fixture.refresh(&id, RefreshReason::OnDemandCheck), RefreshOutcome::Refreshed);
    let row = fixture.load_connection(&id);
    assert_eq!((row.status, row.reason), (ConnectionStatus::Connected, None));
    assert!(row.next_check_at.is_some(), "the clock takes it up again");
}

#[test]
fn an_unconfirmed_connection_stays_unconfirmed_after_a_failure_and_recovery() {
    let (fixture, id) = connect_expired();
    fixture.world.db.tamper("UPDATE connections SET status = 'awaiting_confirmation'");
    fixture.world.acme.withdraw_grants("ann");
    fixture.refresh(&id, RefreshReason::OnDemandCheck);
    fixture.world.acme.restore_grants("ann");
    fixture.world.advance_clock(31);
    fixture.refresh(&id, RefreshReason::OnDemandCheck);
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::AwaitingConfirmation);
}

#[test]
fn an_expired_token_without_a_refresh_token_is_not_healthy() {
    let fixture = Fixture::new();
    fixture.world.acme.gives_refresh_token.set(false);
    let id = fixture.connect("ann");
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::StillValid);
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh(&id, RefreshReason::ScheduledCheck), RefreshOutcome::NeedsReconnect);
    assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::RefreshTokenMissing));
}

#[test]
fn a_refused_probe_leads_to_a_refresh_before_the_result() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_next("/me", Reply::status(401, "{}"));
    assert_eq!(fixture.refresh(&id, RefreshReason::OnDemandCheck), RefreshOutcome::Refreshed);
    fixture.world.acme.withdraw_grants("ann");
    fixture.world.advance_clock(60);
    assert_eq!(fixture.refresh(&id, RefreshReason::ScheduledCheck), RefreshOutcome::NeedsReconnect);
}

#[test]
fn a_failed_probe_does_not_change_the_connection() {
    for (reply, healthy) in [
        (Reply::status(500, ""), false),
        (Reply::status(429, ""), false),
        (Reply::error(HttpError::Timeout), false),
        (Reply::status(200, "<html>sign in</html>"), false),
        (Reply::status(403, "{}"), true),
    ] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        fixture.world.acme.script_always("/me", Some(reply));
        let outcome = fixture.refresh(&id, RefreshReason::ScheduledCheck);
        assert_eq!(outcome == RefreshOutcome::Healthy, healthy, "{outcome:?}");
        assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
        assert_eq!(fixture.world.acme.received_refreshes().len(), 0);
    }
}

#[test]
fn an_unreadable_credential_is_neither_sent_nor_marked() {
    let (fixture, id) = connect_expired();
    fixture.world.db.tamper("UPDATE connections SET sealed_credential = 'cx1.k1.AAAA'");
    let asked = fixture.world.acme.count_all_requests();
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Unreadable);
    assert_eq!(fixture.world.acme.count_all_requests(), asked);
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected, "unreadable is derived, never stored");
}

#[test]
fn a_token_that_a_crash_may_have_used_stays_recorded_after_a_later_attempt() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.latency_ms.set(2000);
    let attempt = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(500));
    attempt.kill();
    fixture.world.runtime.run_until_idle();
    assert_eq!(fixture.world.acme.count_refreshes(RedeemOutcome::Granted), 1, "the app acted, nobody heard it");
    fixture.world.advance_clock(LEASE_OVER_SECONDS);
    fixture.world.acme.script_next("/token", Reply::status(429, "{\"error\":\"slow_down\"}"));
    let outcome = fixture.refresh_if_needed(&id);
    let RefreshOutcome::Unavailable { retry_after } = outcome else { panic!("{outcome:?}") };
    assert_eq!(fixture.load_connection(&id).lease, None, "the app did not act this time");
    fixture.world.advance_clock(retry_after);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::LostRotation));
}

/// A refresh is running at a slow app. The app acts after four of its eight seconds.
fn spawn_slow_refresh(
    fixture: &Fixture,
    id: &connections::ids::ConnectionId,
) -> crate::support::runtime::Task<RefreshOutcome> {
    fixture.world.acme.latency_ms.set(8000);
    let late = fixture.world.runtime.spawn(fixture.world.run_refresher(id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(200));
    late
}

#[test]
fn a_late_token_of_a_disconnected_connection_is_revoked() {
    let (fixture, id) = connect_expired();
    let old = plain_tokens(&fixture.open_credential(&id));
    let late = spawn_slow_refresh(&fixture, &id);
    fixture.world.run(fixture.world.runtime.sleep(4500));
    fixture.world.acme.latency_ms.set(10);
    fixture.disconnect(&id).unwrap();
    assert_eq!(fixture.world.run(late), RefreshOutcome::NotFound);
    let revoked = fixture.world.acme.revoked_tokens();
    assert_eq!(revoked[..2], [old.1.unwrap(), old.0]);
    assert_eq!(revoked.len(), 4, "and then the two that came late: {revoked:?}");
    assert!(revoked[2].contains("-rt-") && revoked[3].contains("-at-"), "{revoked:?}");
    assert_eq!(fixture.world.log.count_events("tokens_superseded"), 1);
}

#[test]
fn a_late_token_of_a_shared_grant_is_not_revoked() {
    let (fixture, id) = connect_expired();
    let colleague = connections::connect::start::ConnectRequest {
        user: Some(connections::workspace::User { id: "zoe".into(), name: None }),
        ..fixture.connect_request()
    };
    let other = fixture.complete_flow(&colleague, "ann").connection.unwrap();
    let late = spawn_slow_refresh(&fixture, &id);
    fixture.world.run(fixture.world.runtime.sleep(4500));
    fixture.world.acme.latency_ms.set(10);
    fixture.disconnect(&id).unwrap();
    assert_eq!(fixture.world.run(late), RefreshOutcome::NotFound);
    assert!(fixture.world.acme.revoked_tokens().is_empty());
    assert!(fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(&other)).0));
}

#[test]
fn a_write_that_a_later_refresh_replaced_revokes_nothing() {
    let (fixture, id) = connect_expired_with(&json!({ "auth": { "revoke": { "kills": "token" } } }));
    add_fault(&fixture, PERSIST_SQL, 1, Fault::AfterCommit);
    let first = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(120));
    assert_eq!(fixture.load_connection(&id).version, 2, "applied, and reported failed");
    fixture.world.acme.latency_ms.set(4);
    fixture.world.db.tamper("UPDATE connections SET refreshed_at = 1");
    assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::Refreshed);
    assert_eq!(fixture.load_connection(&id).version, 3, "while the first still asks what became of its write");
    assert_eq!(fixture.world.run(first), RefreshOutcome::StillValid);
    assert_eq!(fixture.world.acme.revoked_tokens(), Vec::<String>::new());
    assert_eq!(fixture.world.log.count_events("tokens_superseded"), 0);
    fixture.world.advance_clock(60);
    assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::Refreshed);
    assert_eq!(fixture.world.acme.count_refreshes(RedeemOutcome::GrantRevoked), 0);
}

#[test]
fn a_late_refusal_of_a_replaced_credential_does_not_mark_the_connection() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.script_next("/token", Reply::status(400, "{\"error\":\"invalid_grant\"}"));
    let late = spawn_slow_refresh(&fixture, &id);
    fixture.world.db.tamper("UPDATE connections SET version = version + 1");
    assert_eq!(fixture.world.run(late), RefreshOutcome::NotFound);
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'needs_reconnect'"), 0);
}

// ---- the client ----

fn connect_many_expired(count: usize) -> (Fixture, Vec<connections::ids::ConnectionId>) {
    let fixture = Fixture::new();
    let ids: Vec<_> = (0..count).map(|at| fixture.connect(&format!("p{at}"))).collect();
    fixture.expire_access_token(&ids[count - 1]);
    (fixture, ids)
}

const UNAVAILABLE_BODY: &str = "{\"error\":\"temporarily_unavailable\"}";

#[test]
fn three_failures_in_a_row_pause_the_apps_other_connections() {
    for reply in [Reply::status(400, UNAVAILABLE_BODY), Reply::status(502, "<html>"), Reply::error(HttpError::Network)]
    {
        let (fixture, ids) = connect_many_expired(6);
        fixture.world.acme.script_always("/token", Some(reply));
        let before = fixture.world.acme.count_requests("/token");
        for id in &ids[..3] {
            assert!(is_unavailable(&fixture.refresh_if_needed(id)));
        }
        assert_eq!(
            fixture.world.acme.count_requests("/token") - before,
            3,
            "one or two may be chance: the third is asked, too"
        );
        for id in &ids[3..] {
            assert!(is_unavailable(&fixture.refresh_if_needed(id)));
        }
        assert_eq!(fixture.world.acme.count_requests("/token") - before, 3);
        let wait = fixture.load_client().backoff_until.since(fixture.world.now());
        assert!((1..=60).contains(&wait), "a minute at most: {wait}");
        fixture.world.acme.clear_scripts();
        fixture.world.advance_clock(61);
        assert_eq!(fixture.refresh_if_needed(&ids[3]), RefreshOutcome::Refreshed);
        let client = fixture.load_client();
        assert_eq!((client.failures, client.backoff_until.unix()), (0, 0), "a success clears it");
    }
}

#[test]
fn a_success_resets_the_failure_count() {
    let (fixture, ids) = connect_many_expired(6);
    for failing in [&ids[..2], &ids[3..5]] {
        fixture.world.acme.script_always("/token", Some(Reply::status(400, UNAVAILABLE_BODY)));
        for id in failing {
            assert!(is_unavailable(&fixture.refresh_if_needed(id)));
        }
        fixture.world.acme.clear_scripts();
        let next = if failing == &ids[..2] { &ids[2] } else { &ids[5] };
        assert_eq!(fixture.refresh_if_needed(next), RefreshOutcome::Refreshed, "two in a row hold nobody off");
    }
}

#[test]
fn all_connections_respect_an_apps_retry_after() {
    let (fixture, ids) = connect_many_expired(2);
    fixture.world.acme.script_next("/token", Reply::status(429, "").with_header("retry-after", "300"));
    let before = fixture.world.acme.count_requests("/token");
    assert!(is_unavailable(&fixture.refresh_if_needed(&ids[0])));
    for _ in 0..29 {
        assert!(is_unavailable(&fixture.refresh_if_needed(&ids[1])));
        fixture.world.advance_clock(10);
    }
    assert_eq!(fixture.world.acme.count_requests("/token") - before, 1);
    fixture.world.advance_clock(11);
    assert_eq!(fixture.refresh_if_needed(&ids[1]), RefreshOutcome::Refreshed);
}

#[test]
fn a_refusal_of_the_old_secret_does_not_mark_the_client_that_has_a_new_one() {
    let (fixture, ids) = connect_many_expired(2);
    *fixture.world.acme.client_secret.borrow_mut() = "rotated-canary7f3a".into();
    let late = spawn_slow_refresh(&fixture, &ids[0]);
    fixture.put_client_secret("rotated-canary7f3a");
    assert_eq!(fixture.world.run(late), RefreshOutcome::ClientMisconfigured);
    let client = fixture.load_client();
    assert_eq!((client.misconfigured, client.backoff_until.unix()), (None, 0));
    assert_eq!(fixture.refresh_if_needed(&ids[1]), RefreshOutcome::Refreshed);
}

// ---- a person retries ----

#[test]
fn a_person_may_retry_during_the_back_off_once_in_thirty_seconds() {
    let (fixture, id) = connect_expired();
    fixture.world.acme.script_always("/token", Some(Reply::status(400, "{\"error\":\"invalid_scope\"}")));
    let before = fixture.world.acme.count_requests("/token");
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::ConfigurationRefused);
    assert!(fixture.load_connection(&id).next_attempt_at.since(fixture.world.now()) > 600);
    for second in 0..120 {
        let outcome = fixture.refresh(&id, RefreshReason::OnDemandCheck);
        assert!(is_unavailable(&outcome) || outcome == RefreshOutcome::ConfigurationRefused, "{second}: {outcome:?}");
        assert!(is_unavailable(&fixture.refresh_if_needed(&id)), "a caller waits");
        assert!(is_unavailable(&fixture.refresh(&id, RefreshReason::ScheduledCheck)), "and so does the clock");
        fixture.world.advance_clock(1);
    }
    let asked = fixture.world.acme.count_requests("/token") - before;
    assert!((4..=5).contains(&asked), "once, and then every thirty seconds of two minutes: {asked}");
    fixture.world.acme.clear_scripts();
    fixture.world.advance_clock(30);
    assert_eq!(fixture.refresh(&id, RefreshReason::OnDemandCheck), RefreshOutcome::Refreshed);
}
