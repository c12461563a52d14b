//! Disconnect: removed here at once, revoked at the app in order, and retried for a day.

use connections::disconnect::DisconnectResult;
use connections::error::ErrorCode;
use connections::ports::HttpError;
use connections::resolve::{Consistency, ResolveRequest};
use connections::revocation::RevocationOutcome;
use serde_json::json;

use crate::support::fixture::test_actor;
use crate::support::{Fault, FaultRule, Fixture, Reply, RotationPolicy, plain_tokens};

const COUNT_CONNECTIONS: &str = "SELECT count(*) FROM connections";
const COUNT_REVOCATIONS: &str = "SELECT count(*) FROM revocations";

#[test]
fn the_refresh_token_is_revoked_first_and_then_everything_is_erased() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture
        .resolve_and_finish(
            &id,
            ResolveRequest { workflow: Some("w".into()), consistency: Consistency::Edge, ..ResolveRequest::default() },
        )
        .unwrap();
    let (access, refresh) = plain_tokens(&fixture.open_credential(&id));
    let done = fixture.disconnect(&id).unwrap();
    assert_eq!(done, DisconnectResult { revoked: RevocationOutcome::Confirmed, retrying: false });
    assert_eq!(fixture.world.acme.revoked_tokens(), [refresh.unwrap(), access]);
    assert_eq!(fixture.world.db.query_number(COUNT_CONNECTIONS), 0);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM uses"), 0);
    assert!(!fixture.world.cache.entry_names().contains(&format!("connection/{id}")));
    let detail = fixture.world.db.query_value("SELECT detail FROM events WHERE type = 'disconnected'");
    assert_eq!(detail, "confirmed");
}

#[test]
fn a_second_disconnect_finds_nothing() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.disconnect(&id).unwrap();
    assert_eq!(fixture.disconnect(&id).unwrap_err().code, ErrorCode::ConnectionNotFound);
    let stranger = fixture.other_workspace();
    let other = fixture.connect("bob");
    assert_eq!(stranger.disconnect(&other).unwrap_err().code, ErrorCode::ConnectionNotFound);
}

#[test]
fn a_connection_cannot_be_used_while_the_app_still_revokes() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture
        .resolve_and_finish(&id, ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() })
        .unwrap();
    fixture.world.acme.latency_ms.set(9000);
    let ending = fixture.spawn_disconnect(&id);
    fixture.world.run(fixture.world.runtime.sleep(50));
    for consistency in [Consistency::Strong, Consistency::Edge] {
        let answer = fixture.resolve(&id, ResolveRequest { consistency, ..ResolveRequest::default() });
        assert_eq!(answer.map(|_| ()).unwrap_err().code, ErrorCode::ConnectionNotFound);
    }
    fixture.world.run(ending).unwrap();
}

#[test]
fn a_grant_that_another_connection_uses_is_kept() {
    let fixture = Fixture::new();
    let first = fixture.connect("ann");
    let request = connections::connect::start::ConnectRequest {
        user: Some(connections::workspace::User { id: "bob".into(), name: None }),
        ..fixture.connect_request()
    };
    let second = fixture.complete_flow(&request, "ann").connection.unwrap();
    assert_eq!(fixture.disconnect(&first).unwrap().revoked, RevocationOutcome::KeptShared);
    assert!(fixture.world.acme.revoked_tokens().is_empty() && fixture.world.acme.has_live_grant("ann"));
    assert_eq!(fixture.disconnect(&second).unwrap().revoked, RevocationOutcome::Confirmed);
    assert!(!fixture.world.acme.has_live_grant("ann"));
}

#[test]
fn a_revocation_of_one_token_ignores_shared_accounts() {
    let fixture = Fixture::with_definition(&json!({ "auth": { "revoke": { "kills": "token" } } }));
    let first = fixture.connect("ann");
    let request = connections::connect::start::ConnectRequest {
        user: Some(connections::workspace::User { id: "bob".into(), name: None }),
        ..fixture.connect_request()
    };
    fixture.complete_flow(&request, "ann");
    assert_eq!(fixture.disconnect(&first).unwrap().revoked, RevocationOutcome::Confirmed);
}

#[test]
fn an_app_without_revocation_says_so() {
    let fixture = Fixture::with_definition(&json!({ "auth": { "revoke_url": null } }));
    let id = fixture.connect("ann");
    let done = fixture.disconnect(&id).unwrap();
    assert_eq!(done, DisconnectResult { revoked: RevocationOutcome::Unsupported, retrying: false });
    assert_eq!(fixture.world.db.query_number(COUNT_CONNECTIONS), 0);
}

#[test]
fn an_unconfirmed_revocation_is_tried_again_by_the_scheduled_run() {
    for reply in [Reply::status(500, ""), Reply::error(HttpError::Timeout), Reply::status(429, "")] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        fixture.world.acme.script_next("/revoke", reply);
        let done = fixture.disconnect(&id).unwrap();
        assert_eq!(done, DisconnectResult { revoked: RevocationOutcome::Failed, retrying: true });
        assert_eq!(
            (fixture.world.db.query_number(COUNT_CONNECTIONS), fixture.world.db.query_number(COUNT_REVOCATIONS)),
            (0, 1)
        );
        fixture.run_scheduled();
        assert_eq!(fixture.world.acme.revoked_tokens().len(), 0, "not before its time");
        fixture.world.advance_clock(61);
        fixture.run_scheduled();
        assert_eq!(fixture.world.acme.revoked_tokens().len(), 2);
        assert_eq!(fixture.world.db.query_number(COUNT_REVOCATIONS), 0);
        assert!(!fixture.world.acme.has_live_grant("ann"));
    }
}

#[test]
fn a_revocation_job_backs_off_and_is_deleted_after_a_day() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_always("/revoke", Some(Reply::status(500, "")));
    fixture.disconnect(&id).unwrap();
    for _ in 0..24 * 60 {
        fixture.world.advance_clock(60);
        fixture.run_scheduled();
    }
    let tries = fixture.world.acme.count_requests("/revoke");
    assert!((8..=30).contains(&tries), "{tries} tries in a day");
    fixture.world.advance_clock(60);
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number(COUNT_REVOCATIONS), 0);
}

#[test]
fn a_revocation_job_is_not_run_if_a_connection_uses_the_grant_again() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_next("/revoke", Reply::status(500, ""));
    fixture.disconnect(&id).unwrap();
    fixture.connect("ann");
    fixture.world.advance_clock(61);
    fixture.run_scheduled();
    assert!(fixture.world.acme.revoked_tokens().is_empty());
    assert_eq!(fixture.world.db.query_number(COUNT_REVOCATIONS), 0);
    assert!(fixture.world.acme.has_live_grant("ann"));
}

#[test]
fn an_interrupted_disconnect_is_finished_by_the_scheduled_run() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.latency_ms.set(9000);
    let ending = fixture.spawn_disconnect(&id);
    fixture.world.run(fixture.world.runtime.sleep(50));
    ending.kill();
    fixture.world.acme.latency_ms.set(10);
    assert_eq!(fixture.find_connection(&id), None);
    assert_eq!(fixture.world.db.query_number(COUNT_CONNECTIONS), 1);
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number(COUNT_CONNECTIONS), 1, "it may still be under way");
    fixture.world.advance_clock(121);
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number(COUNT_CONNECTIONS), 0);
    assert!(!fixture.world.acme.has_live_grant("ann"));
}

#[test]
fn a_cache_entry_that_cannot_be_deleted_stays_recorded() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture
        .resolve_and_finish(&id, ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() })
        .unwrap();
    fixture.world.cache.refused_deletes.set(3);
    fixture.disconnect(&id).unwrap();
    assert_eq!(fixture.world.db.query_number(COUNT_CONNECTIONS), 0);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM cache_deletes"), 1);
    fixture.world.advance_clock(121);
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM cache_deletes"), 0);
    assert!(!fixture.world.cache.entry_names().contains(&format!("connection/{id}")));
}

#[test]
fn a_failed_last_write_is_repeated_by_the_scheduled_run() {
    for fault in [Fault::BeforeCommit, Fault::AfterCommit] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        let fault = FaultRule { statement_part: "DELETE FROM connections", times: 1, fault };
        fixture.world.db.fault_rules.borrow_mut().push(fault);
        assert_eq!(fixture.disconnect(&id).unwrap_err().code, ErrorCode::DatabaseUnavailable);
        assert_eq!(fixture.find_connection(&id), None, "gone all the same");
        fixture.world.advance_clock(121);
        fixture.run_scheduled();
        assert_eq!(fixture.world.db.query_number(COUNT_CONNECTIONS), 0);
    }
}

#[test]
fn invalid_tokens_count_as_revoked() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_always("/revoke", Some(Reply::status(400, "{\"error\":\"invalid_token\"}")));
    assert_eq!(fixture.disconnect(&id).unwrap().revoked, RevocationOutcome::Confirmed);
}

#[test]
fn a_disconnect_stays_within_the_subrequest_limit() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.cache.refused_deletes.set(2);
    let context = fixture.world.context();
    fixture.world.run(connections::disconnect::disconnect(&context, &fixture.workspace, &id, &test_actor())).unwrap();
    assert!(context.ports.budget.spent.get() <= 10, "{}", context.ports.budget.spent.get());
}

// ---- apps with their own form of revocation ----

/// The app ends the grant of the access token in the request.
fn connect_revoked_by_access_token() -> (Fixture, connections::ids::ConnectionId) {
    let fixture = Fixture::with_definition(&json!({ "auth": { "rotation": "none", "revoke": { "style": "bearer" } } }));
    fixture.world.acme.rotation.set(RotationPolicy::Never);
    let id = fixture.connect("ann");
    (fixture, id)
}

#[test]
fn a_revocation_can_send_the_access_token() {
    let (fixture, id) = connect_revoked_by_access_token();
    let (access, _) = plain_tokens(&fixture.open_credential(&id));
    assert_eq!(
        fixture.disconnect(&id).unwrap(),
        DisconnectResult { revoked: RevocationOutcome::Confirmed, retrying: false }
    );
    assert_eq!(fixture.world.acme.revoked_tokens(), [access]);
    assert!(fixture.world.acme.received_refreshes().is_empty(), "it still lives: nothing is refreshed");
    assert!(!fixture.world.acme.has_live_grant("ann"));
}

#[test]
fn an_expired_access_token_is_refreshed_for_its_revocation() {
    let (fixture, id) = connect_revoked_by_access_token();
    let (access, _) = plain_tokens(&fixture.open_credential(&id));
    fixture.expire_access_token(&id);
    assert_eq!(
        fixture.disconnect(&id).unwrap(),
        DisconnectResult { revoked: RevocationOutcome::Confirmed, retrying: false }
    );
    assert!(!fixture.world.acme.has_live_grant("ann"));
    assert_eq!((fixture.world.acme.received_refreshes().len(), fixture.world.acme.count_requests("/revoke")), (1, 2));
    assert_ne!(fixture.world.acme.revoked_tokens(), [access]);
    assert_eq!(
        (fixture.world.db.query_number(COUNT_CONNECTIONS), fixture.world.db.query_number(COUNT_REVOCATIONS)),
        (0, 0)
    );
}

#[test]
fn a_grant_whose_refresh_token_is_refused_is_revoked_already() {
    let (fixture, id) = connect_revoked_by_access_token();
    fixture.expire_access_token(&id);
    fixture.world.acme.withdraw_grants("ann");
    assert_eq!(
        fixture.disconnect(&id).unwrap(),
        DisconnectResult { revoked: RevocationOutcome::Confirmed, retrying: false }
    );
    assert_eq!(fixture.world.db.query_number(COUNT_REVOCATIONS), 0);
}

#[test]
fn a_revocation_without_an_access_token_is_tried_again_by_the_scheduled_run() {
    for reply in [Reply::status(500, ""), Reply::error(HttpError::Network), Reply::status(429, "")] {
        let (fixture, id) = connect_revoked_by_access_token();
        fixture.expire_access_token(&id);
        fixture.world.acme.script_next("/token", reply);
        assert_eq!(
            fixture.disconnect(&id).unwrap(),
            DisconnectResult { revoked: RevocationOutcome::Failed, retrying: true }
        );
        assert!(fixture.world.acme.has_live_grant("ann"));
        assert_eq!(
            (fixture.world.db.query_number(COUNT_CONNECTIONS), fixture.world.db.query_number(COUNT_REVOCATIONS)),
            (0, 1)
        );
        fixture.world.advance_clock(61);
        fixture.run_scheduled();
        assert!(!fixture.world.acme.has_live_grant("ann"));
        assert_eq!(fixture.world.db.query_number(COUNT_REVOCATIONS), 0);
    }
}

#[test]
fn a_server_that_does_not_revoke_access_tokens_has_revoked_by_the_refresh_token() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_next("/revoke", Reply::edited(|_| {}));
    fixture.world.acme.script_next("/revoke", Reply::status(400, "{\"error\":\"unsupported_token_type\"}"));
    assert_eq!(
        fixture.disconnect(&id).unwrap(),
        DisconnectResult { revoked: RevocationOutcome::Confirmed, retrying: false }
    );
    assert_eq!(fixture.world.acme.count_requests("/revoke"), 2);
    assert!(!fixture.world.acme.has_live_grant("ann"));
    assert_eq!(fixture.world.db.query_number(COUNT_REVOCATIONS), 0);
}

#[test]
fn a_server_that_revokes_neither_kind_has_confirmed_nothing() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_always("/revoke", Some(Reply::status(400, "{\"error\":\"unsupported_token_type\"}")));
    assert_eq!(fixture.disconnect(&id).unwrap().revoked, RevocationOutcome::Failed);
    assert!(fixture.world.acme.has_live_grant("ann"));
}
