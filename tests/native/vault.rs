//! Stored data can be read only with the key ring and only in its own place. No secret is shown anywhere.

use connections::connect::complete::{Choice, apply_choice};
use connections::error::ErrorCode;
use connections::ids::{ConnectionId, Shard};
use connections::ports::{HttpError, Ports as _, RefreshOutcome, RefreshReason};
use connections::resolve::{Consistency, ResolveRequest};
use serde_json::json;

use crate::support::acme::CANARY;
use crate::support::{Fault, FaultRule, Fixture, RefreshMode, Reply, World, plain_tokens};

/// A body that an app could send to put a secret into a log: in its error's name, its description, its members.
fn error_body_with_canary() -> String {
    let name = format!("no such token: {CANARY}");
    json!({ "error": name, "error_description": CANARY, "access_token": [CANARY] }).to_string()
}

/// Everything that is stored or logged.
fn dump_everything(fixture: &Fixture) -> Vec<(&'static str, String)> {
    vec![
        ("database", fixture.world.db.dump_tables()),
        ("cache", fixture.world.cache.dump_entries()),
        ("log", fixture.world.log.dump_lines()),
        ("lifeboat", format!("{:?}", fixture.world.kept_writes.writes.borrow())),
    ]
}

#[test]
fn no_secret_is_exposed_after_any_success_or_failure() {
    let fixture = Fixture::new();
    fixture.world.kept_writes.enabled.set(true);
    let mut debugged = String::new();
    let mut note = |text: String| debugged.push_str(&text);
    let id = fixture.connect("ann");
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        let request = ResolveRequest { workflow: Some("w".into()), consistency, ..ResolveRequest::default() };
        let answered = fixture.resolve(&id, request.clone()).unwrap();
        note(format!("{:?}", answered.deferred));
        note(format!("{:?}", answered.resolved.issued));
        fixture.resolve_and_finish(&id, request).unwrap();
    }
    for reply in [
        Reply::status(400, &error_body_with_canary()),
        Reply::status(500, &error_body_with_canary()),
        Reply::status(200, &error_body_with_canary()),
        Reply::status(429, &error_body_with_canary()),
        Reply::status(200, CANARY),
        Reply::status(302, "").with_header("location", CANARY),
        Reply::error(HttpError::Timeout),
    ] {
        fixture.world.advance_clock(4000);
        fixture.world.acme.script_next("/token", reply);
        note(format!("{:?}", fixture.refresh_if_needed(&id)));
        note(format!(
            "{:?}",
            fixture.resolve(&id, ResolveRequest::default()).map(|answered| answered
                .resolved
                .issued
                .request
                .headers
                .len())
        ));
    }
    fixture.world.advance_clock(4000);
    let lost = FaultRule { statement_part: "last_attempt_id = ?5", times: 6, fault: Fault::BeforeCommit };
    fixture.world.db.fault_rules.borrow_mut().push(lost);
    note(format!("{:?}", fixture.refresh_if_needed(&id)));
    fixture.world.acme.script_next("/me", Reply::status(401, &error_body_with_canary()));
    note(format!("{:?}", fixture.refresh(&id, RefreshReason::OnDemandCheck)));
    for path in ["/token", "/me"] {
        fixture.world.acme.script_next(path, Reply::status(400, &error_body_with_canary()));
        let flow = fixture.complete_flow(&fixture.connect_request(), "carl");
        note(format!("{flow:?}"));
    }
    fixture.world.acme.clear_scripts();
    let flow = fixture.complete_flow(&fixture.connect_request(), "bob");
    note(format!("{flow:?}"));
    let waiting = fixture.complete_flow(&fixture.connect_request(), "bob");
    note(format!("{waiting:?}"));
    fixture.world.run(async { apply_choice(&fixture.world.context(), &waiting, Choice::Reuse).await.unwrap() });
    fixture.complete_flow(&fixture.connect_request(), "bob");
    fixture.start_flow(&fixture.connect_request(), "waiting");
    fixture.world.acme.script_always("/revoke", Some(Reply::status(500, &error_body_with_canary())));
    note(format!("{:?}", fixture.disconnect(flow.connection.as_ref().unwrap())));
    fixture.world.advance_clock(121);
    note(format!("{:?}", fixture.run_scheduled()));
    note(format!("{:?} {:?}", fixture.load_client(), fixture.find_connection(&id)));
    note(format!("{:?}", fixture.world.context().config));
    for (place, text) in dump_everything(&fixture) {
        assert!(!text.contains(CANARY), "{place}: {}", text_around_canary(&text));
        assert!(!text.contains(fixture.key_text.expose()), "{place} holds an API key");
    }
    assert!(!debugged.contains(CANARY), "{}", text_around_canary(&debugged));
    assert!(dump_everything(&fixture)[0].1.contains("cx1.k1."), "there was something to be found");
}

fn text_around_canary(text: &str) -> String {
    let at = text.find(CANARY).unwrap_or_default();
    text.chars().skip(at.saturating_sub(120)).take(240).collect()
}

fn is_usable(fixture: &Fixture, id: &ConnectionId) -> bool {
    fixture.resolve(id, ResolveRequest::default()).is_ok()
}

#[test]
fn sealed_values_that_are_swapped_between_rows_and_workspaces_do_not_open() {
    let fixture = Fixture::new();
    let stranger = fixture.other_workspace();
    let (ann, bob, third) = (fixture.connect("ann"), fixture.connect("bob"), fixture.connect("carl"));
    let foreign = stranger.connect("ann");
    let sealed = |id: &ConnectionId| {
        let sql = format!("SELECT sealed_credential FROM connections WHERE id = '{id}'");
        fixture.world.db.query_value(&sql).as_str().unwrap().to_owned()
    };
    let put = |id: &ConnectionId, sealed: &str| {
        fixture.world.db.tamper(&format!("UPDATE connections SET sealed_credential = '{sealed}' WHERE id = '{id}'"));
    };
    let (of_ann, of_bob, of_foreign) = (sealed(&ann), sealed(&bob), sealed(&foreign));
    let secret = fixture.world.db.query_value("SELECT sealed_secret FROM oauth_clients").as_str().unwrap().to_owned();
    let cut: String = of_ann.chars().take(of_ann.len() - 2).collect();
    for wrong in [&of_bob, &of_foreign, &secret, &cut] {
        put(&ann, wrong);
        let error = fixture.resolve(&ann, ResolveRequest::default()).map(|_| ()).unwrap_err();
        assert_eq!((error.code, error.hints.reason.as_deref()), (ErrorCode::NeedsReconnect, Some("unreadable")));
        assert!(is_usable(&fixture, &bob) && is_usable(&fixture, &third), "a row degrades alone");
    }
    put(&ann, &of_ann);
    assert!(is_usable(&fixture, &ann), "unreadable is derived, never stored");
}

#[test]
fn a_credential_of_an_older_generation_does_not_open_as_the_newer() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let old = fixture.load_connection(&id).sealed_credential.unwrap();
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    fixture.world.db.tamper(&format!("UPDATE connections SET sealed_credential = '{old}'"));
    assert!(!is_usable(&fixture, &id));
}

#[test]
fn a_client_secret_from_another_client_is_never_sent() {
    let fixture = Fixture::new();
    let stranger = fixture.other_workspace();
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    let secret = format!("SELECT sealed_secret FROM oauth_clients WHERE id = '{}'", stranger.client);
    let secret = fixture.world.db.query_value(&secret).as_str().unwrap().to_owned();
    fixture
        .world
        .db
        .tamper(&format!("UPDATE oauth_clients SET sealed_secret = '{secret}' WHERE id = '{}'", fixture.client));
    let asked = fixture.world.acme.count_all_requests();
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::ClientMisconfigured);
    assert_eq!(fixture.world.acme.count_all_requests(), asked);
}

#[test]
fn a_second_key_opens_the_old_and_seals_the_new() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let both = format!("k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,{}", crate::support::world::ENCRYPTION_KEYS);
    *fixture.world.encryption_keys.borrow_mut() = both;
    assert!(is_usable(&fixture, &id));
    fixture.expire_access_token(&id);
    assert!(is_usable(&fixture, &id));
    assert!(fixture.load_connection(&id).sealed_credential.unwrap().starts_with("cx1.k2."));
    assert!(fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(&id)).0));
}

#[test]
fn a_lost_key_affects_only_the_rows_sealed_under_it() {
    let fixture = Fixture::new();
    let old = fixture.connect("ann");
    *fixture.world.encryption_keys.borrow_mut() = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=".into();
    fixture.put_client_secret(&fixture.world.acme.client_secret.borrow().clone());
    let new = fixture.connect("bob");
    assert!(!is_usable(&fixture, &old) && is_usable(&fixture, &new));
    let (status, reason) = fixture.load_connection(&old).shown_status(&fixture.world.config().key_ring);
    assert_eq!(
        (status.as_str(), reason.map(connections::connection::ReconnectReason::as_str)),
        ("needs_reconnect", Some("unreadable"))
    );
    let flow = fixture.complete_flow(&fixture.repair_request(&old), "ann");
    assert_eq!(flow.connection, Some(old.clone()));
    assert!(is_usable(&fixture, &old), "a person can repair it");
}

#[test]
fn other_bytes_under_a_known_key_id_are_refused() {
    let fixture = Fixture::new();
    let check = || fixture.world.run(async { fixture.world.context().check_key_ring().await });
    check().unwrap();
    check().unwrap();
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM encryption_key_checks"), 1);
    *fixture.world.encryption_keys.borrow_mut() = "k1:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=".into();
    let error = check().unwrap_err();
    assert_eq!(error.code, ErrorCode::Misconfigured);
    assert!(error.detail.contains("k1") && !error.detail.contains("ICEi"));
}

#[test]
fn two_workers_that_start_with_new_keys_at_once_agree() {
    for seed in 0..8 {
        let world = World::new(RefreshMode::Direct, Some(seed));
        let checks = world.run_concurrently((0..4).map(|_| {
            let context = world.context();
            async move { context.check_key_ring().await.is_ok() }
        }));
        assert!(checks.iter().all(|fine| *fine), "seed {seed}");
        assert_eq!(world.db.query_number("SELECT count(*) FROM encryption_key_checks"), 1);
    }
}

#[test]
fn ids_and_states_never_repeat() {
    let fixture = Fixture::new();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let id = ConnectionId::random(fixture.world.context().ports.random(), Shard::FIRST).unwrap();
        assert!(ids.insert(id));
    }
}
