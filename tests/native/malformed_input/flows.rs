//! Whole use cases against an app with arbitrary responses.

use connections::connection::ConnectionStatus;
use connections::error::ErrorCode;
use connections::ports::{RefreshOutcome, RefreshReason};
use connections::resolve::ResolveRequest;
use connections::store::authorizations::FlowOutcome;
use proptest::prelude::*;
use serde_json::Value;

use super::{GeneratedResponse, check_property, fits_a_header, is_refresh_token, token_response};
use crate::support::acme::CANARY;
use crate::support::fixture::access_token_of;
use crate::support::{Fixture, Reply, plain_tokens};

/// Two days: longer than any back-off that an app can request.
const LATER: i64 = 2 * 86_400;

/// No part of an app's response may be shown to people.
fn check_nothing_leaked(fixture: &Fixture, more: &str) -> Result<(), TestCaseError> {
    let told = format!("{} {more}", fixture.world.log.dump_lines());
    prop_assert!(!told.contains("planted") && !told.contains(CANARY), "{}", told);
    Ok(())
}

/// Whether the app returned this refresh token, whatever the rest of its response was.
fn sent_refresh_token(sent: &GeneratedResponse, token: &str) -> bool {
    if sent.is_readable() {
        return sent.members.token("refresh_token").as_deref() == Some(token);
    }
    String::from_utf8_lossy(&sent.to_inbound().body).contains(Value::from(token).to_string().trim_matches('"'))
}

#[test]
fn no_refresh_response_loses_a_grant_or_marks_a_working_connection() {
    check_property(96, &(token_response(), any::<bool>()), |(sent, acts)| {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        let (_, old) = plain_tokens(&fixture.open_credential(&id));
        fixture.expire_access_token(&id);
        let reply = Reply::raw(sent.to_inbound());
        fixture.world.acme.script_next("/token", if acts { reply.after_acting() } else { reply });
        let outcome = fixture.refresh_if_needed(&id);

        let row = fixture.load_connection(&id);
        let is_dead = row.status == ConnectionStatus::NeedsReconnect;
        prop_assert!(!is_dead || sent.may_be_permanent(), "{:?}", outcome);
        prop_assert_eq!(fixture.world.acme.count_requests("/token"), 2, "the exchange and one refresh");
        let (access, now) = plain_tokens(&fixture.open_credential(&id));
        let is_said = |token: &str| is_refresh_token(token) && sent_refresh_token(&sent, token);
        prop_assert!(now == old || now.as_deref().is_some_and(is_said));
        prop_assert!(fits_a_header(&access));

        let answer = fixture.resolve(&id, ResolveRequest::default());
        check_nothing_leaked(&fixture, &format!("{outcome:?} {answer:?}"))?;
        match answer {
            Ok(answered) => {
                prop_assert!(outcome == RefreshOutcome::Refreshed, "{:?}", outcome);
                prop_assert!(
                    answered.resolved.issued.request.headers.values().all(|value| value.split(' ').all(fits_a_header))
                );
            }
            Err(error) => {
                let expected = [
                    ErrorCode::AppUnavailable,
                    ErrorCode::ClientMisconfigured,
                    ErrorCode::NeedsReconnect,
                    ErrorCode::RefreshInProgress,
                ];
                prop_assert!(expected.contains(&error.code), "{:?}", error);
                prop_assert_eq!(error.code == ErrorCode::NeedsReconnect, is_dead);
            }
        }
        if !acts && !is_dead && now == old {
            fixture.world.advance_clock(LATER);
            prop_assert_eq!(
                fixture.refresh(&id, RefreshReason::Force),
                RefreshOutcome::Refreshed,
                "after {:?}",
                outcome
            );
            prop_assert!(fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(&id)).0));
        }
        Ok(())
    });
}

#[test]
fn no_exchange_response_leaves_a_flow_open_or_half_stored() {
    let fixture = Fixture::new();
    check_property(96, &(token_response(), any::<bool>()), |(sent, at_identity)| {
        let before = fixture.world.db.query_number("SELECT count(*) FROM connections");
        fixture.world.acme.script_next(if at_identity { "/me" } else { "/token" }, Reply::raw(sent.to_inbound()));
        let flow = fixture.complete_flow(&fixture.connect_request(), "ann");
        fixture.world.acme.clear_scripts();
        let made = fixture.world.db.query_number("SELECT count(*) FROM connections") - before;
        match flow.outcome {
            FlowOutcome::Done => prop_assert!(made == 1 && flow.connection.is_some()),
            FlowOutcome::Undecided => prop_assert!(made == 0 && flow.sealed_grant.is_some()),
            FlowOutcome::Failed => prop_assert!(made == 0 && flow.connection.is_none() && flow.sealed_grant.is_none()),
            other => prop_assert!(false, "{:?}", other),
        }
        check_nothing_leaked(&fixture, &format!("{flow:?}").replace("ann@acme.example", ""))
    });
}

#[test]
fn no_probe_response_marks_a_connection_with_a_valid_grant() {
    check_property(64, &token_response(), |sent| {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        fixture.world.acme.script_next("/me", Reply::raw(sent.to_inbound()));
        let outcome = fixture.refresh(&id, RefreshReason::OnDemandCheck);
        check_nothing_leaked(&fixture, &format!("{outcome:?} {:?}", fixture.load_connection(&id).status))?;
        let answered = fixture.resolve(&id, ResolveRequest::default());
        prop_assert!(answered.is_ok_and(|one| fixture.world.acme.accepts_access_token(access_token_of(&one.resolved))));
        Ok(())
    });
}
