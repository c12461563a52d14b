//! Whole use cases against an app that answers anything.

use connections::connection::Status;
use connections::error::Code;
use connections::ports::{Errand, ErrandOutcome};
use connections::resolve::Ask;
use connections::store::authorizations::Outcome;
use proptest::prelude::*;
use serde_json::Value;

use super::{Sent, check, fits_a_header, is_refresh_token, token_answer};
use crate::support::acme::CANARY;
use crate::support::scene::access;
use crate::support::{Reply, Scene, tokens};

/// Two days: longer than any back-off that an app can ask for.
const LATER: i64 = 2 * 86_400;

/// Nothing of an app's answers may stand where people look.
fn nothing_is_told(scene: &Scene, more: &str) -> Result<(), TestCaseError> {
    let told = format!("{} {more}", scene.world.log.dump());
    prop_assert!(!told.contains("planted") && !told.contains(CANARY), "{}", told);
    Ok(())
}

/// Whether the app said this refresh token, whatever became of the rest of its answer.
fn said_refresh_token(sent: &Sent, token: &str) -> bool {
    if sent.is_whole() {
        return sent.members.token("refresh_token").as_deref() == Some(token);
    }
    String::from_utf8_lossy(&sent.inbound().body).contains(Value::from(token).to_string().trim_matches('"'))
}

#[test]
fn whatever_a_refresh_is_answered_no_grant_is_lost_and_no_live_connection_dies() {
    check(96, &(token_answer(), any::<bool>()), |(sent, acts)| {
        let scene = Scene::new();
        let id = scene.connect("ann");
        let (_, old) = tokens(&scene.credential(&id));
        scene.expire(&id);
        let reply = Reply::raw(sent.inbound());
        scene.world.acme.next("/token", if acts { reply.acting() } else { reply });
        let outcome = scene.need(&id);

        let row = scene.row(&id);
        let is_dead = row.status == Status::NeedsReconnect;
        prop_assert!(!is_dead || sent.may_be_permanent(), "{:?}", outcome);
        prop_assert_eq!(scene.world.acme.count("/token"), 2, "the exchange and one refresh");
        let (access, now) = tokens(&scene.credential(&id));
        let is_said = |token: &str| is_refresh_token(token) && said_refresh_token(&sent, token);
        prop_assert!(now == old || now.as_deref().is_some_and(is_said));
        prop_assert!(fits_a_header(&access));

        let answer = scene.resolve(&id, Ask::default());
        nothing_is_told(&scene, &format!("{outcome:?} {answer:?}"))?;
        match answer {
            Ok(answered) => {
                prop_assert!(outcome == ErrandOutcome::Refreshed, "{:?}", outcome);
                prop_assert!(
                    answered.resolved.issued.request.headers.values().all(|value| value.split(' ').all(fits_a_header))
                );
            }
            Err(error) => {
                let expected =
                    [Code::AppUnavailable, Code::ClientMisconfigured, Code::NeedsReconnect, Code::RefreshInProgress];
                prop_assert!(expected.contains(&error.code), "{:?}", error);
                prop_assert_eq!(error.code == Code::NeedsReconnect, is_dead);
            }
        }
        if !acts && !is_dead && now == old {
            scene.world.pass(LATER);
            prop_assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::Refreshed, "after {:?}", outcome);
            prop_assert!(scene.world.acme.accepts(&tokens(&scene.credential(&id)).0));
        }
        Ok(())
    });
}

#[test]
fn whatever_an_exchange_is_answered_a_flow_ends_and_stores_nothing_half() {
    let scene = Scene::new();
    check(96, &(token_answer(), any::<bool>()), |(sent, at_identity)| {
        let before = scene.world.db.number("SELECT count(*) FROM connections");
        scene.world.acme.next(if at_identity { "/me" } else { "/token" }, Reply::raw(sent.inbound()));
        let flow = scene.flow(&scene.wish(), "ann");
        scene.world.acme.calm();
        let made = scene.world.db.number("SELECT count(*) FROM connections") - before;
        match flow.outcome {
            Outcome::Done => prop_assert!(made == 1 && flow.connection.is_some()),
            Outcome::Undecided => prop_assert!(made == 0 && flow.sealed_grant.is_some()),
            Outcome::Failed => prop_assert!(made == 0 && flow.connection.is_none() && flow.sealed_grant.is_none()),
            other => prop_assert!(false, "{:?}", other),
        }
        nothing_is_told(&scene, &format!("{flow:?}").replace("ann@acme.example", ""))
    });
}

#[test]
fn whatever_a_probe_is_answered_a_connection_whose_grant_lives_lives_on() {
    check(64, &token_answer(), |sent| {
        let scene = Scene::new();
        let id = scene.connect("ann");
        scene.world.acme.next("/me", Reply::raw(sent.inbound()));
        let outcome = scene.errand(&id, Errand::CheckNow);
        nothing_is_told(&scene, &format!("{outcome:?} {:?}", scene.row(&id).status))?;
        let answered = scene.resolve(&id, Ask::default());
        prop_assert!(answered.is_ok_and(|one| scene.world.acme.accepts(access(&one.resolved))));
        Ok(())
    });
}
