//! Auth methods with a manual credential: keys, bot tokens, passwords, client credentials, key files.

use std::collections::BTreeMap;

use connections::app::GrantType;
use connections::connect::complete::Decider;
use connections::connect::manual::{ManualConnectRequest, ManualCredential, connect_manually};
use connections::connect::start::ConnectRequest;
use connections::error::{Error, ErrorCode};
use connections::ids::ConnectionId;
use connections::resolve::Freshness;
use connections::secret::Secret;
use connections::store::authorizations::Flow;
use serde_json::json;

use super::lifecycle_fixture::LifecycleFixture;
use super::sample_responses::{ResponseKind, SampleResponse};
use super::{auth_methods, made_up};
use crate::support::fixture::{BROWSER_SESSION, access_token_of};
use crate::support::signer::RSA_KEY;

/// Counts of what was tested.
#[derive(Debug, Default, PartialEq, Eq)]
struct ManualCoverage {
    /// The entered value is the credential itself.
    stored_as_entered: usize,
    /// Tokens are issued with the entered value.
    tokens_issued: usize,
}

#[test]
fn every_manual_credential_of_the_catalogue_works_until_it_is_disconnected() {
    let mut walked = ManualCoverage::default();
    for (app, auth_method) in auth_methods().filter(|(_, auth_method)| auth_method.kind.is_manual()) {
        let stage = LifecycleFixture::new(&app, &auth_method);
        stage.connect_with_refusal();
        let id = stage.connect_manually(None).unwrap_or_else(|error| panic!("{stage}: {error:?}")).connection.unwrap();
        stage.resolve_entered_credential(&id);
        stage.check_during_outage(&id);
        if auth_method.issues_tokens() {
            walked.tokens_issued += 1;
            stage.mint_after_expiry(&id);
            stage.mint_with_refusal(&id);
        } else {
            walked.stored_as_entered += 1;
            stage.check_with_refusal(&id);
        }
        let again = stage.connect_manually(Some(&id)).unwrap_or_else(|error| panic!("{stage}: {error:?}"));
        stage.assert_repaired(&id, again.connection.as_ref());
        stage.disconnect_and_assert_erased(&id);
    }
    let expected = ManualCoverage { stored_as_entered: 40, tokens_issued: 14 };
    assert_eq!(walked, expected, "the catalogue has other ways than before: see that each is walked, then count anew");
}

impl LifecycleFixture {
    fn connect_manually(&self, connection: Option<&ConnectionId>) -> Result<Flow, Error> {
        if self.app.issues_tokens() {
            self.script_responses("mint", [self.mint_response()]);
        }
        self.script_account();
        let told = self.submit_fields(connection);
        // If tokens name the account, they have shown that the entered value works.
        let is_told = self.app.identity.as_ref().is_some_and(|identity| identity.probe.is_none());
        let check = self.app.check.as_ref().filter(|_| !is_told).map(|_| "check");
        let asked = [self.mint_request(), self.identity_request().or(check), self.nothing_shared_request()];
        self.expect_requests("what is entered", &asked.into_iter().flatten().collect::<Vec<_>>());
        told
    }

    fn submit_fields(&self, connection: Option<&ConnectionId>) -> Result<Flow, Error> {
        let request = ConnectRequest {
            auth_method: Some(self.app.method_id.clone()),
            variables: self.person_variables(),
            connection: connection.cloned(),
            ..self.fixture.connect_request()
        };
        let entered = ManualCredential::Fields(self.manual_fields());
        let new = ManualConnectRequest {
            credential: entered,
            name: None,
            metadata: BTreeMap::new(),
            check: true,
            actor: Some(connections::audit::Actor::User("t".into())),
            condition: connections::preconditions::Condition::default(),
        };
        // If the account of a key is unknown, a replacement must be confirmed.
        let switch = connection.is_some() && self.identity_request().is_none();
        let deciding = Decider::Program { reuse: false, switch };
        let context = self.fixture.world.context();
        let told = self
            .fixture
            .world
            .run(async { connect_manually(&context, &request, new, BROWSER_SESSION, deciding).await });
        self.add_output(&told);
        told
    }

    /// What a person enters. A key file contains a key that can sign.
    fn manual_fields(&self) -> BTreeMap<String, Secret> {
        let mut fields = made_up::manual_fields(&self.app);
        if let Some(GrantType::JwtBearer(_)) = self.app.oauth_server().map(|server| &server.grant_type) {
            let file = json!({
                "client_email": "made-up-service-account@acme.example",
                "private_key": RSA_KEY, "private_key_id": "made-up-key-id",
            });
            fields.insert("key".into(), Secret::new(file.to_string()));
        }
        fields
    }

    fn mint_request(&self) -> Option<&'static str> {
        self.app.issues_tokens().then_some("mint")
    }

    fn mint_response(&self) -> &SampleResponse {
        self.require_response("tokens", &[ResponseKind::Token], SampleResponse::has_tokens)
    }

    /// The first request to the app with the entered value.
    fn first_request_title(&self) -> &'static str {
        let check = self.app.check.as_ref().map(|_| "check");
        self.mint_request()
            .or(self.identity_request())
            .or(check)
            .unwrap_or_else(|| panic!("{self}: nothing asks the app"))
    }

    /// How the app refuses the entered value at that request.
    fn refusal_response(&self) -> &SampleResponse {
        let dead =
            |entry: &SampleResponse| entry.is_refusal_of_class("permanent") || entry.is_refusal_of_class("client");
        match self.mint_request() {
            Some(_) => self.require_response("a refusal", &[ResponseKind::Token], dead),
            None => self.refusal_of(self.first_request_title()),
        }
    }

    /// A value that the app refuses is not stored.
    fn connect_with_refusal(&self) {
        let request = self.first_request_title();
        self.script_responses(request, [self.refusal_response()]);
        let error = self.submit_fields(None).unwrap_err();
        assert_eq!(error.code, ErrorCode::CredentialRejected, "{self}");
        self.expect_requests("what is refused", &[request]);
        assert_eq!(self.fixture.world.db.query_number("SELECT count(*) FROM connections"), 0, "{self}");
    }

    fn resolve_entered_credential(&self, id: &ConnectionId) {
        let resolved = self.resolve_without_requests(id);
        assert_eq!(resolved.freshness, Freshness::Fresh, "{self}");
        if self.app.kind.uses_oauth_server() {
            assert_eq!(
                Some(access_token_of(&resolved)),
                self.mint_response().read["tokens"]["access_token"].as_str(),
                "{self}"
            );
            assert!(resolved.issued.credential.fields.is_empty(), "{self}: what was entered is nobody else's");
        } else {
            let entered = self.manual_fields().into_iter().map(|(name, value)| (name, value.expose().to_owned()));
            assert_eq!(resolved.issued.credential.fields, entered.collect(), "{self}");
        }
    }

    /// An expired token is replaced with one request.
    fn mint_after_expiry(&self, id: &ConnectionId) {
        self.fixture.expire_access_token(id);
        let resolved = self.resolve(id).unwrap_or_else(|error| panic!("{self}: {error:?}"));
        assert_eq!(resolved.freshness, Freshness::Refreshed, "{self}");
        self.expect_requests("a mint", &["mint"]);
    }

    /// The app no longer accepts the entered value.
    fn mint_with_refusal(&self, id: &ConnectionId) {
        self.script_responses("mint", [self.refusal_response()]);
        self.fixture.world.advance_clock(60);
        self.fixture.expire_access_token(id);
        assert_eq!(self.resolve(id).unwrap_err().code, ErrorCode::NeedsReconnect, "{self}");
        self.expect_requests("a mint that is refused", &["mint"]);
        self.assert_needs_reconnect(id, "credential_rejected");
    }
}
