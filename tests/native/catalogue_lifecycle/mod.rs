//! Tests a complete lifecycle of a connection for every app of the catalogue and each of its auth methods.
//!
//! Owns the steps: `consent` for consents at the app, `manual` for manual credentials. The app's responses are in
//! `tests/catalogue/answers`, the requests it must get in `tests/catalogue/golden`; `lifecycle_fixture` combines them.
//! The tested auth methods are counted, so that none is left out.

#[path = "../../catalogue/made_up.rs"]
#[expect(dead_code, reason = "shared with the tests of the catalogue, which use the rest")]
mod made_up;
#[path = "../../catalogue/request_text.rs"]
mod request_text;
#[path = "../../catalogue/sample_responses.rs"]
#[expect(dead_code, reason = "shared with the tests of the catalogue, which use the rest")]
mod sample_responses;

mod consent;
mod lifecycle_fixture;
mod manual;

use std::rc::Rc;

use connections::app::{App, AuthMethod};
use connections::catalogue;
use connections::connection::ConnectionStatus;
use connections::disconnect::DisconnectResult;
use connections::error::{Error, ErrorCode};
use connections::ids::ConnectionId;
use connections::ports::{RefreshOutcome, RefreshReason};
use connections::resolve::{ResolveRequest, ResolvedCredential};
use connections::revocation::RevocationOutcome;

use lifecycle_fixture::LifecycleFixture;
use sample_responses::{ResponseKind, SampleResponse};

/// Every auth method of every app.
fn auth_methods() -> impl Iterator<Item = (Rc<App>, Rc<AuthMethod>)> {
    let definitions = catalogue::ids().map(|id| catalogue::find(id).unwrap());
    definitions
        .flat_map(|app| app.auth_methods().to_vec().into_iter().map(move |auth_method| (Rc::clone(&app), auth_method)))
}

impl LifecycleFixture {
    /// The credential is returned without a request to the app.
    fn resolve_without_requests(&self, id: &ConnectionId) -> ResolvedCredential {
        let resolved = self.resolve(id).unwrap_or_else(|error| panic!("{self}: {error:?}"));
        self.expect_requests("a resolve", &[]);
        self.expect_step_request(&resolved.issued.request);
        resolved
    }

    fn resolve(&self, id: &ConnectionId) -> Result<ResolvedCredential, Error> {
        let told = self.fixture.resolve(id, ResolveRequest::default()).map(|answered| answered.resolved);
        self.add_output(&told);
        self.add_output(told.as_ref().err().map(|error| error.detail.clone()));
        told
    }

    /// From now on the app names the account and accepts the credential.
    fn script_account(&self) {
        let account = |entry: &SampleResponse| entry.kind == ResponseKind::Identity && entry.account().is_some();
        if self.identity_request().is_some() {
            self.script_responses(
                "identity",
                [self.require_response("an account", &[ResponseKind::Identity], account)],
            );
        }
        if self.app.check.is_some() {
            self.script_responses(
                "check",
                self.find_response(&[ResponseKind::Check], |entry| entry.has_verdict("works")),
            );
        }
    }

    fn identity_request(&self) -> Option<&'static str> {
        self.app.identity.as_ref().and_then(|identity| identity.probe.as_ref()).map(|_| "identity")
    }

    /// The label is never returned here, so it is the account's id.
    fn account_name_request(&self) -> Option<&'static str> {
        let named_by = self.app.identity.as_ref().and_then(|identity| identity.named_by.as_ref());
        named_by.map(|_| "what the account is called")
    }

    fn nothing_shared_request(&self) -> Option<&'static str> {
        self.app.nothing_shared.as_ref().map(|_| "is nothing shared")
    }

    /// The app's response with this result. A known response to another request is used if there is none.
    fn find_verdict(&self, verdict: &str, request: &str) -> Option<&SampleResponse> {
        let kinds = if request == "check" {
            [ResponseKind::Check, ResponseKind::Identity]
        } else {
            [ResponseKind::Identity, ResponseKind::Check]
        };
        kinds.iter().find_map(|kind| self.find_response(&[*kind], |entry| entry.has_verdict(verdict)))
    }

    fn refusal_of(&self, request: &str) -> &SampleResponse {
        self.find_verdict("refused", request).unwrap_or_else(|| panic!("{self}: no refusal of a credential"))
    }

    /// An unreachable app changes nothing.
    fn check_during_outage(&self, id: &ConnectionId) {
        let probe = self.probe_title().unwrap_or_else(|| panic!("{self}: nothing to ask whether a credential works"));
        self.script_responses(probe, [&self.outage]);
        self.fixture.world.advance_clock(60);
        let outcome = self.fixture.refresh(id, RefreshReason::OnDemandCheck);
        assert!(matches!(outcome, RefreshOutcome::Unavailable { .. }), "{self}: {outcome:?} for {}", self.outage.what);
        self.expect_requests("a check in an outage", &[probe]);
        self.resolve_without_requests(id);
    }

    /// The app refuses the credential when it is checked.
    fn check_with_refusal(&self, id: &ConnectionId) {
        let probe = self.probe_title().unwrap_or_else(|| panic!("{self}: nothing to ask whether a credential works"));
        self.script_responses(probe, [self.refusal_of(probe)]);
        self.fixture.world.advance_clock(3600);
        assert_eq!(self.fixture.refresh(id, RefreshReason::OnDemandCheck), RefreshOutcome::NeedsReconnect, "{self}");
        self.expect_requests("a check", &[probe]);
        self.assert_needs_reconnect(id, "credential_rejected");
    }

    /// A resolve says that a person must reconnect, and why. The app gets no request.
    fn assert_needs_reconnect(&self, id: &ConnectionId, reason: &str) {
        let error = self.resolve(id).err().unwrap_or_else(|| panic!("{self}: was handed out"));
        assert_eq!((error.code, error.hints.reason.as_deref()), (ErrorCode::NeedsReconnect, Some(reason)), "{self}");
        assert_eq!(self.fixture.load_connection(id).status, ConnectionStatus::NeedsReconnect, "{self}");
        self.expect_requests("a resolve of what is dead", &[]);
    }

    /// The connection is repaired and keeps its id.
    fn assert_repaired(&self, id: &ConnectionId, by: Option<&ConnectionId>) {
        let row = self.fixture.load_connection(id);
        assert_eq!((by, row.generation, row.status), (Some(id), 2, ConnectionStatus::Connected), "{self}");
        self.resolve_without_requests(id);
    }

    /// It is revoked at the app, if the app can revoke, and erased.
    fn disconnect_and_assert_erased(&self, id: &ConnectionId) {
        let can = self.can_revoke();
        if can {
            self.script_responses(
                "revoke",
                [self.require_response(
                    "a revocation",
                    &[ResponseKind::Revocation],
                    SampleResponse::confirms_revocation,
                )],
            );
        }
        let revoked = if can { RevocationOutcome::Confirmed } else { RevocationOutcome::Unsupported };
        let done = self.fixture.disconnect(id).unwrap();
        assert_eq!(done, DisconnectResult { revoked, retrying: false }, "{self}: {:?}", self.take_request_titles());
        let heard = self.take_request_titles();
        assert_eq!(!heard.is_empty(), can, "{self}: {heard:?}");
        assert!(heard.iter().all(|title| title.starts_with("revoke the ")), "{self}: {heard:?}");
        self.expect_erased(id);
        self.expect_no_leaked_secret();
    }
}
