//! Auth methods with a consent at the app, from the authorize page to the revocation.

use connections::app::CredentialKind;
use connections::connect::callback::{CallbackParams, CallbackResult};
use connections::connect::start::ConnectRequest;
use connections::connection::ConnectionStatus;
use connections::error::ErrorCode;
use connections::ids::ConnectionId;
use connections::ports::RefreshReason;
use connections::resolve::Freshness;
use connections::secret::Secret;
use connections::store::authorizations::FlowOutcome;
use connections::time::Timestamp;
use serde_json::json;
use url::Url;

use super::lifecycle_fixture::LifecycleFixture;
use super::sample_responses::{ResponseKind, SampleResponse};
use super::{auth_methods, made_up};
use crate::support::fixture::{BROWSER_SESSION, access_token_of};

/// The app's response to any request if it was asked too often.
const TOO_MANY_REQUESTS: u16 = 429;

/// Counts of what was tested.
#[derive(Debug, Default, PartialEq, Eq)]
struct ConsentCoverage {
    auth_methods: usize,
    /// Lifecycles whose tokens were refreshed, and those whose tokens cannot be.
    renewable: usize,
    not_renewable: usize,
    /// Lifecycles that ended with a revocation at the app.
    revoked: usize,
}

#[test]
fn every_consent_of_the_catalogue_works_until_it_is_disconnected() {
    let mut walked = ConsentCoverage::default();
    for (app, auth_method) in auth_methods().filter(|(_, auth_method)| auth_method.kind == CredentialKind::OAuth2) {
        walked.auth_methods += 1;
        // An app may issue refresh tokens only to some of its clients. Both lifecycles are tested.
        let lives = [true, false].map(|renewable| {
            let stage = LifecycleFixture::new(&app, &auth_method);
            stage.find_token_response(renewable).is_some().then(|| stage.run_lifecycle(renewable, &mut walked))
        });
        assert!(lives.iter().any(Option::is_some), "{} {} was not walked", auth_method.app_id, auth_method.method_id);
    }
    let expected = ConsentCoverage { auth_methods: 46, renewable: 42, not_renewable: 12, revoked: 37 };
    assert_eq!(walked, expected, "the catalogue has other ways than before: see that each is walked, then count anew");
}

/// monday.com ended the flow that its definition had before: another token endpoint, and tokens without expiry.
/// Existing connections work for as long as monday.com allows it. A client of the old flow must be entered again before
/// a flow starts.
#[test]
fn connections_of_a_previous_auth_method_keep_working_and_need_a_new_client() {
    let (app, auth_method) = auth_methods()
        .find(|(_, auth_method)| auth_method.app_id.as_str() == "monday" && auth_method.kind == CredentialKind::OAuth2)
        .unwrap();
    let mut stage = LifecycleFixture::new(&app, &auth_method);
    let id = stage.complete_consent(stage.find_token_response(true).unwrap(), None).unwrap();
    let db = &stage.fixture.world.db;
    db.tamper("UPDATE connections SET expires_at = NULL, grant_expires_at = NULL, refreshable = 0");
    let before = "https://auth.monday.com/oauth2/authorize https://auth.monday.com/oauth2/token";
    db.tamper(&format!("UPDATE oauth_clients SET authorization_server = '{before}'"));

    stage.fixture.world.advance_clock(200 * 86_400);
    stage.resolve_without_requests(&id);
    let request = |connection| ConnectRequest {
        auth_method: Some(auth_method.method_id.clone()),
        connection,
        ..stage.fixture.connect_request()
    };
    let start = |request: &ConnectRequest| {
        let context = stage.fixture.world.context();
        stage
            .fixture
            .world
            .run(async { connections::connect::start::begin_flow(&context, request, BROWSER_SESSION).await })
    };
    for request in [request(None), request(Some(id.clone()))] {
        let error = start(&request).unwrap_err();
        assert_eq!(error.code, ErrorCode::ClientMissing, "{error:?}");
    }
    stage.expect_requests("a client of the flow before", &[]);
    assert_eq!(stage.fixture.load_connection(&id).status, ConnectionStatus::Connected);

    // The same client, entered again, is a new client with another redirect URI, for the current server.
    let again = stage.fixture.put_client_again(&auth_method, (made_up::CLIENT_ID, made_up::CLIENT_SECRET));
    assert_ne!(again, stage.fixture.client);
    stage.fixture.client = again.clone();
    assert_eq!(stage.complete_consent(stage.find_token_response(true).unwrap(), Some(&id)).as_ref(), Some(&id));
    assert_eq!(stage.fixture.load_connection(&id).client, Some(again));
}

impl LifecycleFixture {
    /// The response to a code: of a client with refresh tokens, or without. A response with all requested scopes is
    /// preferred.
    fn find_token_response(&self, renewable: bool) -> Option<&SampleResponse> {
        let fits = |entry: &SampleResponse| entry.has_tokens() && entry.refresh_token().is_some() == renewable;
        let whole = |entry: &SampleResponse| fits(entry) && entry.read["missing"].is_null();
        self.find_response(&[ResponseKind::Token], whole).or_else(|| self.find_response(&[ResponseKind::Token], fits))
    }

    fn run_lifecycle(&self, renewable: bool, walked: &mut ConsentCoverage) {
        let tokens = self.find_token_response(renewable).unwrap();
        let id = self.complete_consent(tokens, None).unwrap_or_else(|| panic!("{self}: not connected"));
        self.assert_connected(&id, tokens);
        self.check_during_outage(&id);
        if renewable {
            walked.renewable += 1;
            self.refresh_during_outage(&id);
            let newest = self.refresh_and_assert(&id, tokens);
            self.refresh_with_refusal(&id, newest);
        } else {
            walked.not_renewable += 1;
            self.check_with_refusal(&id);
        }
        let again = self.complete_consent(tokens, Some(&id));
        self.assert_repaired(&id, again.as_ref());
        walked.revoked += usize::from(self.can_revoke());
        self.disconnect_and_assert_erased(&id);
    }

    /// A person goes to the app, allows what is requested, and comes back.
    fn complete_consent(&self, tokens: &SampleResponse, connection: Option<&ConnectionId>) -> Option<ConnectionId> {
        self.script_responses("exchange", [tokens]);
        self.script_account();
        let request = ConnectRequest {
            auth_method: Some(self.app.method_id.clone()),
            variables: self.person_variables(),
            connection: connection.cloned(),
            ..self.fixture.connect_request()
        };
        let url = self.fixture.start_flow(&request, BROWSER_SESSION);
        self.expect_requests("the way to the app", &[]);
        if connection.is_none() {
            self.expect_authorize(&url);
        }
        let state = Url::parse(&url).unwrap().query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let code = Some(Secret::new(made_up::CODE));
        let others = self.callback_parameters();
        let returned = CallbackParams { state: Some(state), code, others, ..CallbackParams::default() };
        let CallbackResult::Flow(flow) = self.fixture.return_from_app(returned, BROWSER_SESSION) else { return None };
        let flow = self.fixture.load_flow(&flow);
        self.add_output(&flow);
        let asked =
            [Some("exchange"), self.identity_request(), self.account_name_request(), self.nothing_shared_request()];
        self.expect_requests("a consent", &asked.into_iter().flatten().collect::<Vec<_>>());
        assert_eq!((flow.outcome, flow.error.as_deref()), (FlowOutcome::Done, None), "{self}");
        flow.connection
    }

    fn assert_connected(&self, id: &ConnectionId, tokens: &SampleResponse) {
        let row = self.fixture.load_connection(id);
        let account = self.require_response("an account", &[ResponseKind::Token, ResponseKind::Identity], |one| {
            one.account().is_some()
        });
        let told = if tokens.account().is_some() { tokens } else { account };
        let whose = row.account.map(|account| json!({ "id": account.id, "label": account.label }));
        assert_eq!((row.status, whose.as_ref()), (ConnectionStatus::Connected, told.account()), "{self}");
        let lives = |end: Option<Timestamp>| end.map(|end| end.since(row.connected_at));
        assert_eq!(lives(row.expires_at), tokens.read["tokens"]["lives"].as_i64(), "{self}: the access token");
        assert_eq!(lives(row.grant_expires_at), self.app.oauth_server().unwrap().grant_lifetime, "{self}: the grant");
        let resolved = self.resolve_without_requests(id);
        assert_eq!(resolved.freshness, Freshness::Fresh, "{self}");
        assert_eq!(Some(access_token_of(&resolved)), access_token_in(tokens), "{self}");
    }

    /// The access token expires. If it never does, a refresh is forced.
    fn make_refresh_needed(&self, id: &ConnectionId) {
        self.fixture.world.advance_clock(60);
        match self.fixture.load_connection(id).expires_at {
            Some(_) => self.fixture.expire_access_token(id),
            None => self.add_output(self.fixture.refresh(id, RefreshReason::Force)),
        }
    }

    /// An app that refuses a refresh temporarily is asked once and then not again for a while, and the connection keeps
    /// everything. An app responds to too many requests in one way, whatever the request is.
    fn refresh_during_outage(&self, id: &ConnectionId) {
        let known = self.find_response(&[ResponseKind::Token], |entry| entry.is_refusal_of_class("transient"));
        let general = Some(&self.outage).filter(|entry| entry.to_inbound().status == TOO_MANY_REQUESTS);
        let outage = known.or(general).unwrap_or_else(|| panic!("{self}: no transient refusal of a refresh"));
        self.script_responses("refresh", [outage]);
        self.make_refresh_needed(id);
        let ends = self.fixture.load_connection(id).expires_at.is_some();
        let told = self.resolve(id).map_err(|error| (error.code, error.hints.retry_after.is_some()));
        assert_eq!(told.err(), ends.then_some((ErrorCode::AppUnavailable, true)), "{self}");
        self.expect_requests("a refresh in an outage", &["refresh"]);
        self.expect_refresh_token(self.find_token_response(true).unwrap().refresh_token());
        let row = self.fixture.load_connection(id);
        assert_eq!(row.status, ConnectionStatus::Connected, "{self}");
        self.fixture.world.advance_clock(row.next_attempt_at.since(self.fixture.world.now()).max(0));
    }

    /// One request refreshes each token of the grant. Returns the current refresh token.
    fn refresh_and_assert<'a>(&'a self, id: &ConnectionId, tokens: &'a SampleResponse) -> Option<&'a str> {
        let renewed: Vec<_> =
            self.responses.iter().filter(|one| one.kind == ResponseKind::Refresh && one.has_tokens()).collect();
        let first = renewed.first().unwrap_or_else(|| panic!("{self}: no answer to a refresh"));
        let number = 1 + tokens.read["tokens"]["others"].as_object().map_or(0, serde_json::Map::len);
        self.script_responses("refresh", renewed.iter().take(number).copied());
        self.make_refresh_needed(id);
        let resolved = self.resolve(id).unwrap_or_else(|error| panic!("{self}: {error:?}"));
        self.expect_requests("a refresh", &vec!["refresh"; number]);
        assert_eq!(Some(access_token_of(&resolved)), access_token_in(first), "{self}");
        assert_ne!(
            access_token_in(first),
            access_token_in(tokens),
            "{self}: {}: another token looks otherwise",
            first.what
        );
        self.resolve_without_requests(id);
        first.refresh_token().or(tokens.refresh_token())
    }

    /// The app refuses the grant permanently.
    fn refresh_with_refusal(&self, id: &ConnectionId, newest: Option<&str>) {
        self.script_responses(
            "refresh",
            [self.require_response("a permanent refusal", &[ResponseKind::Token], |entry| {
                entry.is_refusal_of_class("permanent")
            })],
        );
        self.make_refresh_needed(id);
        let error = self.resolve(id).unwrap_err();
        assert_eq!(error.code, ErrorCode::NeedsReconnect, "{self}");
        self.expect_requests("a refresh of what is revoked", &["refresh"]);
        self.expect_refresh_token(newest);
        self.assert_needs_reconnect(id, "revoked");
    }
}

fn access_token_in(entry: &SampleResponse) -> Option<&str> {
    entry.read["tokens"]["access_token"].as_str()
}
