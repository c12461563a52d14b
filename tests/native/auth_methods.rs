//! Auth methods other than one consent with one token: manual credentials, several tokens, imported tokens.

use std::collections::BTreeMap;

use connections::app::AuthMethodId;
use connections::connect::client_test::{self, ClientTestVerdict};
use connections::connect::complete::{Choice, Decider, apply_choice};
use connections::connect::manual::{self, ImportedTokens, ManualConnectRequest, ManualCredential};
use connections::connect::start::{self, ConnectRequest};
use connections::connection::{ConnectionStatus, ReconnectReason};
use connections::credential::StoredToken;
use connections::disconnect::DisconnectResult;
use connections::error::{Error, ErrorCode};
use connections::ids::ConnectionId;
use connections::ports::{HttpError, RefreshOutcome, RefreshReason};
use connections::resolve::{Consistency, Freshness, ResolveRequest, Source};
use connections::revocation::RevocationOutcome;
use connections::secret::Secret;
use connections::store::authorizations::{Flow, FlowOutcome};
use connections::time::Timestamp;
use serde_json::{Value, json};

use crate::support::fixture::{BROWSER_SESSION, access_token_of, plain_tokens};
use crate::support::signer::RSA_KEY;
use crate::support::{Fixture, Reply, RotationPolicy};

/// A fixture whose app has these auth methods in addition to the default one.
fn fixture_with_auth_methods(ways: &[Value]) -> Fixture {
    let usual = json!({
        "type": "oauth2", "authorize_url": "https://acme.example/authorize", "token_url": "https://acme.example/token",
        "revoke_url": "https://acme.example/revoke", "rotation": "strict",
    });
    let all: Vec<_> = [usual].iter().chain(ways).cloned().collect();
    Fixture::with_definition(&json!({ "auth": all }))
}

fn api_key_method() -> Value {
    json!({
        "type": "api_key",
        "fields": [{ "id": "api_key", "label": "Key", "pattern": "(live|test)_[a-z]+",
                     "marks": [{ "prefix": "test_", "label": "test mode" }, { "prefix": "root_", "refuse": "is too powerful." }] }],
    })
}

fn client_credentials_method() -> Value {
    json!({ "type": "client_credentials", "token_url": "https://acme.example/token", "scopes": ["read"] })
}

fn service_account_method() -> Value {
    json!({ "type": "service_account", "token_url": "https://acme.example/token", "scopes": ["read", "write"] })
}

fn manual_fields(pairs: &[(&str, &str)]) -> ManualCredential {
    ManualCredential::Fields(pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect())
}

fn decided_by_program() -> Decider {
    Decider::Program { reuse: false, switch: false }
}

struct ManualConnect<'a> {
    fixture: &'a Fixture,
    auth_method: &'a str,
    connection: Option<ConnectionId>,
    deciding: Decider,
    check: bool,
}

impl<'a> ManualConnect<'a> {
    fn new(fixture: &'a Fixture, way: &'a str) -> Self {
        Self { fixture, auth_method: way, connection: None, deciding: decided_by_program(), check: true }
    }

    fn connect_request(&self) -> ConnectRequest {
        ConnectRequest {
            auth_method: AuthMethodId::parse(self.auth_method),
            connection: self.connection.clone(),
            ..self.fixture.connect_request()
        }
    }

    fn submit(self, entered: ManualCredential) -> Result<Flow, Error> {
        let new = ManualConnectRequest {
            credential: entered,
            name: None,
            metadata: BTreeMap::new(),
            check: self.check,
            actor: Some(connections::audit::Actor::User("t".into())),
            condition: connections::preconditions::Condition::default(),
        };
        let context = self.fixture.world.context();
        self.fixture.world.run(async {
            manual::connect_manually(&context, &self.connect_request(), new, BROWSER_SESSION, self.deciding).await
        })
    }
}

fn connect_manually(fixture: &Fixture, way: &str, pairs: &[(&str, &str)]) -> ConnectionId {
    let flow = ManualConnect::new(fixture, way).submit(manual_fields(pairs)).unwrap();
    flow.connection.unwrap_or_else(|| panic!("{:?} {:?}", flow.outcome, flow.error))
}

fn count_connections(fixture: &Fixture) -> i64 {
    fixture.world.db.query_number("SELECT count(*) FROM connections")
}

// ---- a key ----

fn api_key_fixture() -> Fixture {
    let fixture = fixture_with_auth_methods(&[api_key_method()]);
    for (key, account) in [("live_abc", "ann"), ("live_new", "ann"), ("test_abc", "ann"), ("live_eve", "eve")] {
        fixture.world.acme.api_keys.borrow_mut().insert(key.into(), account.into());
    }
    fixture
}

#[test]
fn a_key_is_checked_and_stored_and_returned_as_entered() {
    let fixture = api_key_fixture();
    let id = connect_manually(&fixture, "api_key", &[("api_key", " live_abc\n")]);
    let row = fixture.load_connection(&id);
    assert_eq!(
        (row.status, row.client, row.refreshable, row.expires_at),
        (ConnectionStatus::Connected, None, false, None)
    );
    assert_eq!(row.account.unwrap().label, "ann@acme.example");
    let resolved =
        fixture.resolve(&id, ResolveRequest { min_ttl: 3600, ..ResolveRequest::default() }).unwrap().resolved;
    assert_eq!(resolved.freshness, Freshness::Fresh);
    assert_eq!(resolved.issued.credential.fields, BTreeMap::from([("api_key".into(), "live_abc".into())]));
    assert!(resolved.issued.credential.token.is_none());
    assert_eq!(resolved.issued.request.headers["Authorization"], "Bearer live_abc");
    let actor = fixture.world.db.query_value("SELECT actor FROM events WHERE type = 'connected'");
    assert_eq!(actor, "user:t");
}

#[test]
fn a_test_key_is_marked_in_its_account_label() {
    let fixture = api_key_fixture();
    let id = connect_manually(&fixture, "api_key", &[("api_key", "test_abc")]);
    assert_eq!(fixture.load_connection(&id).account.unwrap().label, "ann@acme.example (test mode)");
}

#[test]
fn a_check_accepts_the_account_of_a_test_key() {
    let mut way = api_key_method();
    way["fields"][0]["marks"][0]["account"] = json!("test");
    let fixture = fixture_with_auth_methods(&[way]);
    fixture.world.acme.api_keys.borrow_mut().insert("test_abc".into(), "ann".into());
    let id = connect_manually(&fixture, "api_key", &[("api_key", "test_abc")]);
    assert_eq!(fixture.load_connection(&id).account.unwrap().id, "id-ann:test");
    for reason in [RefreshReason::OnDemandCheck, RefreshReason::ScheduledCheck] {
        fixture.world.advance_clock(60);
        assert_eq!(fixture.refresh(&id, reason), RefreshOutcome::Healthy);
    }
}

#[test]
fn a_credential_that_the_app_or_the_form_refuses_is_not_stored() {
    let fixture = api_key_fixture();
    for (value, code, told) in [
        ("", ErrorCode::InvalidRequest, "api_key"),
        ("root_abc", ErrorCode::InvalidRequest, "too powerful"),
        ("hunter2", ErrorCode::InvalidRequest, "api_key"),
        ("live_wrong", ErrorCode::CredentialRejected, "Acme did not accept"),
    ] {
        let error = ManualConnect::new(&fixture, "api_key").submit(manual_fields(&[("api_key", value)])).unwrap_err();
        assert_eq!(error.code, code, "{value}");
        assert!(error.detail.contains(told), "{}", error.detail);
        assert!(!format!("{error:?}").contains("hunter2") && !format!("{error:?}").contains("live_wrong"));
    }
    let unknown =
        ManualConnect::new(&fixture, "api_key").submit(manual_fields(&[("api_key", "live_abc"), ("other", "x")]));
    assert_eq!(unknown.unwrap_err().code, ErrorCode::InvalidRequest);
    assert_eq!(count_connections(&fixture), 0);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM flows"), 0);
}

#[test]
fn an_unreachable_app_stores_nothing_and_is_not_a_refusal() {
    for reply in [Reply::status(503, ""), Reply::error(HttpError::Timeout)] {
        let fixture = api_key_fixture();
        fixture.world.acme.script_always("/me", Some(reply));
        let error =
            ManualConnect::new(&fixture, "api_key").submit(manual_fields(&[("api_key", "live_abc")])).unwrap_err();
        assert_eq!((error.code, error.hints.retry_after.is_some()), (ErrorCode::AppUnavailable, true));
        assert_eq!(count_connections(&fixture), 0);
        let unchecked = ManualConnect { check: false, ..ManualConnect::new(&fixture, "api_key") };
        let flow = unchecked.submit(manual_fields(&[("api_key", "live_abc")])).unwrap();
        assert_eq!(fixture.load_connection(&flow.connection.unwrap()).account, None, "nobody was asked");
    }
}

#[test]
fn without_an_identity_request_the_shared_content_is_not_requested() {
    let mut way = api_key_method();
    way["nothing_shared"] = json!({ "url": "https://acme.example/list", "at": "/results", "say": "Share." });
    let fixture = fixture_with_auth_methods(&[way]);
    fixture.world.acme.api_keys.borrow_mut().insert("live_abc".into(), "ann".into());
    fixture.world.acme.script_always("/list", Some(Reply::status(200, r#"{"results":[]}"#)));
    let unchecked = ManualConnect { check: false, ..ManualConnect::new(&fixture, "api_key") };
    let flow = unchecked.submit(manual_fields(&[("api_key", "live_abc")])).unwrap();
    assert_eq!(
        (fixture.load_connection(&flow.connection.unwrap()).nothing_shared, fixture.world.acme.count_requests("/list")),
        (None, 0)
    );
    let id = connect_manually(&fixture, "api_key", &[("api_key", "live_abc")]);
    assert_eq!(
        (fixture.load_connection(&id).nothing_shared.as_deref(), fixture.world.acme.count_requests("/list")),
        (Some("Share."), 1)
    );
}

#[test]
fn a_key_without_permission_for_the_identity_request_is_stored_without_an_account() {
    let fixture = api_key_fixture();
    fixture.world.acme.script_always("/me", Some(Reply::status(403, "{}")));
    let id = connect_manually(&fixture, "api_key", &[("api_key", "live_abc")]);
    assert_eq!(
        (fixture.load_connection(&id).status, fixture.load_connection(&id).account),
        (ConnectionStatus::Connected, None)
    );
}

#[test]
fn a_key_that_was_revoked_at_the_app_is_found_by_the_check_and_can_be_replaced() {
    let fixture = api_key_fixture();
    let id = connect_manually(&fixture, "api_key", &[("api_key", "live_abc")]);
    assert_eq!(fixture.refresh(&id, RefreshReason::OnDemandCheck), RefreshOutcome::Healthy);
    fixture.world.acme.api_keys.borrow_mut().remove("live_abc");
    fixture.world.advance_clock(60);
    assert_eq!(fixture.refresh(&id, RefreshReason::OnDemandCheck), RefreshOutcome::NeedsReconnect);
    let error = fixture.resolve(&id, ResolveRequest::default()).unwrap_err();
    assert_eq!((error.code, error.hints.reason.as_deref()), (ErrorCode::NeedsReconnect, Some("credential_rejected")));
    let again = ManualConnect { connection: Some(id.clone()), ..ManualConnect::new(&fixture, "api_key") };
    assert_eq!(again.submit(manual_fields(&[("api_key", "live_new")])).unwrap().connection, Some(id.clone()));
    assert_eq!(
        (fixture.load_connection(&id).generation, fixture.load_connection(&id).status),
        (2, ConnectionStatus::Connected)
    );
    assert_eq!(
        fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.issued.credential.fields["api_key"],
        "live_new"
    );
}

#[test]
fn a_key_of_another_account_is_accepted_only_on_request() {
    let fixture = api_key_fixture();
    let id = connect_manually(&fixture, "api_key", &[("api_key", "live_abc")]);
    let refused = ManualConnect { connection: Some(id.clone()), ..ManualConnect::new(&fixture, "api_key") };
    let flow = refused.submit(manual_fields(&[("api_key", "live_eve")])).unwrap();
    assert_eq!((flow.outcome, flow.error.as_deref()), (FlowOutcome::Failed, Some("other_account")));
    assert_eq!(fixture.load_connection(&id).generation, 1);
    let deciding = Decider::Program { reuse: false, switch: true };
    let switched = ManualConnect { connection: Some(id.clone()), deciding, ..ManualConnect::new(&fixture, "api_key") };
    switched.submit(manual_fields(&[("api_key", "live_eve")])).unwrap();
    assert_eq!(fixture.load_connection(&id).account.unwrap().label, "eve@acme.example");
}

#[test]
fn a_person_gets_a_question_that_a_program_decides_with_a_parameter() {
    let fixture = api_key_fixture();
    let id = connect_manually(&fixture, "api_key", &[("api_key", "live_abc")]);
    let person =
        |connection| ManualConnect { connection, deciding: Decider::Person, ..ManualConnect::new(&fixture, "api_key") };
    let duplicate = person(None).submit(manual_fields(&[("api_key", "live_new")])).unwrap();
    assert_eq!(duplicate.outcome, FlowOutcome::Undecided);
    fixture.world.run(async { apply_choice(&fixture.world.context(), &duplicate, Choice::Reuse).await.unwrap() });
    assert_eq!((count_connections(&fixture), fixture.load_connection(&id).generation), (1, 2));
    let other = person(Some(id.clone())).submit(manual_fields(&[("api_key", "live_eve")])).unwrap();
    fixture.world.run(async { apply_choice(&fixture.world.context(), &other, Choice::Keep).await.unwrap() });
    assert_eq!(fixture.load_connection(&id).account.unwrap().label, "ann@acme.example");
    let both = person(None).submit(manual_fields(&[("api_key", "live_abc")])).unwrap();
    fixture.world.run(async { apply_choice(&fixture.world.context(), &both, Choice::KeepBoth).await.unwrap() });
    assert_eq!(count_connections(&fixture), 2);
}

#[test]
fn a_key_for_an_account_that_is_connected_by_consent_replaces_the_consent() {
    let fixture = api_key_fixture();
    let id = fixture.connect("ann");
    let person = ManualConnect { deciding: Decider::Person, ..ManualConnect::new(&fixture, "api_key") };
    let flow = person.submit(manual_fields(&[("api_key", "live_new")])).unwrap();
    fixture.world.run(async { apply_choice(&fixture.world.context(), &flow, Choice::Reuse).await.unwrap() });
    let row = fixture.load_connection(&id);
    assert_eq!((row.generation, row.auth_method.as_str()), (2, "api_key"));
}

#[test]
fn a_key_that_cannot_be_revoked_is_erased() {
    let fixture = api_key_fixture();
    let id = connect_manually(&fixture, "api_key", &[("api_key", "live_abc")]);
    let requests = fixture.world.acme.count_all_requests();
    let done = fixture.disconnect(&id).unwrap();
    assert_eq!(done, DisconnectResult { revoked: RevocationOutcome::Unsupported, retrying: false });
    assert_eq!((fixture.world.acme.count_all_requests(), count_connections(&fixture)), (requests, 0));
}

// ---- tokens that are issued with a manual credential ----

#[test]
fn client_credentials_get_a_new_token_whenever_one_expires() {
    let fixture = fixture_with_auth_methods(&[client_credentials_method()]);
    fixture.world.acme.client_credentials.borrow_mut().insert("robot".into(), "s3cret".into());
    let id = connect_manually(&fixture, "client_credentials", &[("client_id", "robot"), ("client_secret", "s3cret")]);
    let row = fixture.load_connection(&id);
    assert_eq!((row.refreshable, row.client.is_none()), (true, true));
    assert_eq!(fixture.world.acme.token_request_bodies.borrow()[0]["scope"], "read");
    let first = fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved;
    assert!(first.issued.credential.fields.is_empty(), "a caller gets the token, never the secret");
    fixture.expire_access_token(&id);
    let second = fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved;
    assert_eq!(second.freshness, Freshness::Refreshed);
    assert_ne!(access_token_of(&first), access_token_of(&second));
    assert_eq!(fixture.world.acme.count_requests("/token"), 2);
    fixture.world.acme.client_credentials.borrow_mut().clear();
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::CredentialRejected));
    let refused = ManualConnect::new(&fixture, "client_credentials");
    let error = refused.submit(manual_fields(&[("client_id", "robot"), ("client_secret", "s3cret")])).unwrap_err();
    assert_eq!(error.code, ErrorCode::CredentialRejected);
    assert!(error.detail.contains("invalid_client"), "{}", error.detail);
}

#[test]
fn an_issued_token_of_unknown_lifetime_is_requested_again() {
    let fixture = fixture_with_auth_methods(&[client_credentials_method()]);
    fixture.world.acme.client_credentials.borrow_mut().insert("robot".into(), "s3cret".into());
    fixture.world.acme.expires_in.set(None);
    let id = connect_manually(&fixture, "client_credentials", &[("client_id", "robot"), ("client_secret", "s3cret")]);
    for _ in 0..3 {
        assert_eq!(fixture.load_connection(&id).expires_at.unwrap().since(fixture.world.now()), 900);
        assert_eq!(fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.freshness, Freshness::Fresh);
        fixture.expire_access_token(&id);
        assert_eq!(fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.freshness, Freshness::Refreshed);
    }
    // A value from the app has precedence over the default.
    fixture.world.acme.expires_in.set(Some(7200));
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    fixture.world.acme.expires_in.set(None);
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    assert_eq!(fixture.load_connection(&id).expires_at.unwrap().since(fixture.world.now()), 7200);
}

#[test]
fn a_temporary_failure_to_issue_a_token_does_not_mark_the_connection() {
    let fixture = fixture_with_auth_methods(&[client_credentials_method()]);
    fixture.world.acme.client_credentials.borrow_mut().insert("robot".into(), "s3cret".into());
    let id = connect_manually(&fixture, "client_credentials", &[("client_id", "robot"), ("client_secret", "s3cret")]);
    fixture.expire_access_token(&id);
    fixture.world.acme.script_next("/token", Reply::error(HttpError::Timeout));
    assert!(matches!(fixture.refresh_if_needed(&id), RefreshOutcome::Unavailable { .. }));
    fixture.world.advance_clock(120);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
}

#[test]
fn a_service_account_sends_assertions_to_the_definitions_token_url() {
    let fixture = fixture_with_auth_methods(&[service_account_method()]);
    let file = json!({
        "client_email": "robot@project.example", "private_key": RSA_KEY, "private_key_id": "k1",
        "token_uri": "https://evil.example/token",
    })
    .to_string();
    let id = connect_manually(&fixture, "service_account", &[("key", &file), ("subject", "ann@acme.example")]);
    let asked = fixture.world.acme.token_request_bodies.borrow()[0].clone();
    assert_eq!(asked["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert!(!asked.contains_key("scope") && !asked.contains_key("client_id"), "{asked:?}");
    let claims = decode_jwt_part(&asked["assertion"], 1);
    assert_eq!(claims["iss"], "robot@project.example");
    assert_eq!(claims["sub"], "ann@acme.example");
    assert_eq!(claims["aud"], "https://acme.example/token");
    assert_eq!(claims["scope"], "read write");
    assert_eq!(decode_jwt_part(&asked["assertion"], 0), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    assert!(fixture.world.acme.requested_urls().iter().all(|url| url.starts_with("https://acme.example/")));
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    let resolved = fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved;
    assert!(!serde_json::to_string(&resolved.issued).unwrap().contains("PRIVATE"));
    for (key, told) in
        [("{", "JSON"), ("{}", "private_key"), (&file.replace("PRIVATE KEY", "RSA PRIVATE KEY"), "pkcs8")]
    {
        let error = ManualConnect::new(&fixture, "service_account").submit(manual_fields(&[("key", key)])).unwrap_err();
        assert_eq!((error.code, error.hints.errors[0].field.as_str()), (ErrorCode::InvalidRequest, "credential.key"));
        assert!(error.detail.contains(told), "{}", error.detail);
    }
}

fn decode_jwt_part(assertion: &str, index: usize) -> Value {
    use base64::Engine as _;
    let text = assertion.split('.').nth(index).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

// ---- several tokens ----

fn connect_with_user_token() -> (Fixture, ConnectionId) {
    connect_with_user_token_rotating(RotationPolicy::Strict, &json!("strict"))
}

fn connect_with_user_token_rotating(rotates: RotationPolicy, rotation: &Value) -> (Fixture, ConnectionId) {
    let user = json!({ "access_token": "/authed_user/access_token", "refresh_token": "/authed_user/refresh_token",
        "expires_in": "/authed_user/expires_in", "scope": "/authed_user/scope", "scope_param": "user_scope" });
    let fixture = Fixture::with_definition(&json!({
        "auth": { "rotation": rotation, "tokens": { "user": user } },
        "scopes": ["read", "write", "user:search"],
    }));
    fixture.world.acme.rotation.set(rotates);
    fixture.world.acme.gives_user_token.set(true);
    let id = fixture.connect("ann");
    (fixture, id)
}

fn load_user_token(fixture: &Fixture, id: &ConnectionId) -> StoredToken {
    fixture.open_credential(id).other_tokens["user"].clone()
}

#[test]
fn two_tokens_of_one_response_are_requested_stored_and_returned_separately() {
    let (fixture, id) = connect_with_user_token();
    let url = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    let asked: BTreeMap<_, _> = url::Url::parse(&url).unwrap().query_pairs().into_owned().collect();
    assert_eq!((asked["scope"].as_str(), asked["user_scope"].as_str()), ("read write", "search"));
    assert_eq!(fixture.load_connection(&id).scopes_granted, ["read", "write", "user:search"]);
    let issued = fixture
        .resolve(&id, ResolveRequest { scopes: vec!["user:search".into()], ..ResolveRequest::default() })
        .unwrap()
        .resolved
        .issued;
    let first = issued.credential.token.unwrap();
    let user = &issued.credential.tokens["user"];
    assert_eq!(
        (first.scopes.as_slice(), user.scopes.as_slice()),
        (&["read".to_owned(), "write".to_owned()][..], &["search".to_owned()][..])
    );
    assert_ne!(first.access_token, user.access_token);
    assert_eq!(issued.request.headers["Authorization"], format!("Bearer {}", first.access_token));
}

#[test]
fn one_refresh_renews_both_tokens_with_a_request_each() {
    let (fixture, id) = connect_with_user_token();
    let before = (fixture.open_credential(&id).token.unwrap(), load_user_token(&fixture, &id));
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    let presented: Vec<_> = fixture.world.acme.received_refreshes().into_iter().map(|one| one.token).collect();
    let secret = |token: &StoredToken| token.refresh_token.clone().unwrap().expose().to_owned();
    assert_eq!(presented, [secret(&before.0), secret(&before.1)]);
    let after = fixture.open_credential(&id);
    assert!(fixture.world.acme.accepts_access_token(after.token.unwrap().access_token.expose()));
    assert!(fixture.world.acme.accepts_access_token(load_user_token(&fixture, &id).access_token.expose()));
    let row = fixture.load_connection(&id);
    assert_eq!((row.version, row.scopes_granted.len(), row.lease), (3, 3, None));
    assert!(row.expires_at.unwrap().since(fixture.world.now()) > 3500, "the nearest end of both");
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::StillValid);
}

#[test]
fn a_lost_response_for_the_second_token_does_not_affect_the_first() {
    let (fixture, id) = connect_with_user_token_rotating(RotationPolicy::Grace(600), &json!({ "grace": 600 }));
    fixture.expire_access_token(&id);
    fixture.world.acme.script_next("/token", Reply::edited(|_| {}));
    fixture.world.acme.script_next("/token", Reply::error(HttpError::Timeout).after_acting());
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    let first = fixture.open_credential(&id).token.unwrap().access_token;
    let row = fixture.load_connection(&id);
    assert!(row.ambiguous_token_hash.is_some() && row.expires_at.unwrap() < fixture.world.now());
    let answered = fixture.resolve(&id, ResolveRequest::default()).unwrap();
    let issued = answered.resolved.issued.credential;
    assert_eq!(issued.token.unwrap().access_token, first.expose(), "it goes on without the one that waits");
    assert!(issued.tokens.is_empty(), "what has ended is not handed out");
    fixture.world.advance_clock(320);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    assert_eq!(
        fixture.open_credential(&id).token.unwrap().access_token,
        first,
        "the first had nothing to be renewed for"
    );
    assert!(fixture.world.acme.accepts_access_token(load_user_token(&fixture, &id).access_token.expose()));
    assert_eq!(fixture.load_connection(&id).ambiguous_token_hash, None);
}

#[test]
fn a_lost_further_token_removes_only_its_scopes() {
    let (fixture, id) = connect_with_user_token();
    let lost = load_user_token(&fixture, &id).refresh_token.unwrap();
    fixture.world.acme.forget_refresh_token(lost.expose());
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    let row = fixture.load_connection(&id);
    assert_eq!((row.status, row.missing_scopes()), (ConnectionStatus::Connected, vec!["user:search".to_owned()]));
    assert!(fixture.open_credential(&id).other_tokens.is_empty());
    let event = fixture.world.db.query_value("SELECT detail FROM events WHERE type = 'token_lost'");
    assert_eq!(event, "user");
    assert!(fixture.resolve(&id, ResolveRequest::default()).is_ok());
    let error = fixture
        .resolve(&id, ResolveRequest { scopes: vec!["user:search".into()], ..ResolveRequest::default() })
        .unwrap_err();
    assert_eq!(
        (error.code, error.hints.missing_scopes.as_slice()),
        (ErrorCode::MissingScopes, &["user:search".to_owned()][..])
    );
}

#[test]
fn a_lost_first_token_needs_a_reconnect() {
    let (fixture, id) = connect_with_user_token();
    let lost = fixture.open_credential(&id).token.unwrap().refresh_token.unwrap();
    fixture.world.acme.forget_refresh_token(lost.expose());
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::Revoked));
}

#[test]
fn a_further_token_of_another_person_leads_to_a_question() {
    let user = json!({ "access_token": "/authed_user/access_token", "scope_param": "user_scope", "account": "/authed_user/id" });
    let fixture =
        Fixture::with_definition(&json!({ "auth": { "tokens": { "user": user } }, "scopes": ["read", "user:search"] }));
    let person = |id: &'static str| {
        let told = Reply::edited(move |body| body["authed_user"]["id"] = id.into());
        fixture.world.acme.script_next("/token", told);
    };
    fixture.world.acme.gives_user_token.set(true);
    person("U1");
    let id = fixture.connect("ann");
    person("U2");
    let asked = fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!(asked.outcome, FlowOutcome::Undecided);
    person("U2");
    let flow = fixture.complete_flow(&fixture.connect_request(), "ann");
    assert_ne!(flow.connection, Some(id.clone()), "nor is it a duplicate: {:?}", flow.outcome);
    assert_eq!(flow.outcome, FlowOutcome::Done);
    person("U1");
    assert_eq!(fixture.complete_flow(&fixture.repair_request(&id), "ann").outcome, FlowOutcome::Done);
    fixture.world.acme.gives_user_token.set(false);
    assert_eq!(
        fixture.complete_flow(&fixture.repair_request(&id), "ann").outcome,
        FlowOutcome::Done,
        "the bot alone is the same for all"
    );
}

#[test]
fn a_disconnect_revokes_all_tokens() {
    let (fixture, id) = connect_with_user_token();
    assert_eq!(fixture.disconnect(&id).unwrap().revoked, RevocationOutcome::Confirmed);
    assert_eq!(fixture.world.acme.revoked_tokens().len(), 4);
}

// ---- imported tokens ----

/// Tokens that the app issued to the same client, taken from one connection to be imported as another.
fn export_tokens(fixture: &Fixture, expires_in: Option<i64>) -> ImportedTokens {
    let id = fixture.connect("ann");
    let mut token = fixture.open_credential(&id).token.unwrap();
    token.expires_at = expires_in.map(|seconds| fixture.world.now().plus(seconds));
    fixture.world.run(async {
        use connections::ports::Database as _;
        let gone = connections::sql!("DELETE FROM connections WHERE id = ?1", &id);
        fixture.world.context().db().batch(vec![gone]).await.unwrap();
    });
    ImportedTokens { token, others: BTreeMap::new(), scopes: None }
}

fn import_tokens(fixture: &Fixture, imported: ImportedTokens) -> Result<ConnectionId, Error> {
    let flow = ManualConnect::new(fixture, "oauth2").submit(ManualCredential::Tokens(Box::new(imported)))?;
    flow.connection.ok_or_else(|| Error::internal(format!("{:?} {:?}", flow.outcome, flow.error)))
}

#[test]
fn imported_tokens_are_checked_and_then_used_like_others() {
    let fixture = Fixture::new();
    let imported = export_tokens(&fixture, Some(3000));
    let id = import_tokens(&fixture, imported).unwrap();
    let row = fixture.load_connection(&id);
    assert_eq!((row.account.unwrap().label.as_str(), row.refreshable), ("ann@acme.example", true));
    assert_eq!(row.client, Some(fixture.client.clone()), "a refresh token is bound to its client");
    assert_eq!(fixture.world.acme.received_refreshes().len(), 0);
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
}

#[test]
fn an_expired_imported_token_is_refreshed_before_it_is_stored() {
    for (end, rejected) in [(Some(-10), false), (Some(30), false), (None, false), (Some(3000), true)] {
        let fixture = Fixture::new();
        let imported = export_tokens(&fixture, end);
        if rejected {
            fixture.world.acme.script_next("/me", Reply::status(401, "{}"));
        }
        let id = import_tokens(&fixture, imported).unwrap();
        assert_eq!(fixture.world.acme.received_refreshes().len(), 1, "{end:?}");
        assert!(
            fixture.load_connection(&id).expires_at.is_some_and(|end| end.since(fixture.world.now()) > 3000),
            "the answer tells the end"
        );
        assert!(
            fixture.world.acme.accepts_access_token(access_token_of(
                &fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved
            ))
        );
    }
}

#[test]
fn conflicting_import_options_are_refused_by_name() {
    let fixture = Fixture::new();
    let without_end = export_tokens(&fixture, None);
    let others = BTreeMap::from([("user".to_owned(), without_end.token.clone())]);
    let mut fine = without_end.clone();
    fine.token.refresh_token = None;
    let error = import_tokens(&fixture, ImportedTokens { others, ..fine.clone() }).unwrap_err();
    assert_eq!(
        (error.code, error.hints.errors[0].field.as_str()),
        (ErrorCode::InvalidRequest, "credential.tokens.user.expires_at")
    );
    assert!(import_tokens(&fixture, fine.clone()).is_ok(), "an access token alone lives as long as it lives");
    let ended = StoredToken { expires_at: Some(Timestamp::from_unix(1)), ..fine.token };
    let error = import_tokens(&fixture, ImportedTokens { token: ended, ..fine }).unwrap_err();
    assert_eq!(error.code, ErrorCode::CredentialRejected);
    let fixture = Fixture::new();
    let wrong = export_tokens(&fixture, Some(-1));
    fixture.world.acme.forget_refresh_token(wrong.token.refresh_token.as_ref().unwrap().expose());
    assert_eq!(import_tokens(&fixture, wrong).unwrap_err().code, ErrorCode::CredentialRejected);
}

#[test]
fn imported_tokens_include_the_variables_of_the_apps_address() {
    let fixture = Fixture::with_definition(&json!({
        "variables": { "home": { "from": "token", "at": "/instance", "pattern": "https://[a-z0-9]+[.]acme[.]example" } },
        "request": { "base_url": "{home}/api/" },
    }));
    fixture
        .world
        .acme
        .script_next("/token", Reply::edited(|body| body["instance"] = "https://eu1.acme.example".into()));
    let imported = export_tokens(&fixture, Some(-10));
    let come = |home: Option<&str>| {
        let variables = home.map(|home| ("home".to_owned(), home.to_owned())).into_iter().collect();
        let request = ConnectRequest { variables, ..ManualConnect::new(&fixture, "oauth2").connect_request() };
        let entered = ManualCredential::Tokens(Box::new(imported.clone()));
        let new = ManualConnectRequest {
            credential: entered,
            name: None,
            metadata: BTreeMap::new(),
            check: true,
            actor: Some(connections::audit::Actor::User("t".into())),
            condition: connections::preconditions::Condition::default(),
        };
        fixture.world.run(async {
            manual::connect_manually(&fixture.world.context(), &request, new, BROWSER_SESSION, decided_by_program())
                .await
        })
    };
    for wrong in [None, Some("https://eu1.evil.example"), Some("https://u@eu1.acme.example/x")] {
        let error = come(wrong).unwrap_err();
        assert_eq!((error.code, error.hints.errors[0].field.as_str()), (ErrorCode::InvalidRequest, "variables.home"));
    }
    assert!(fixture.world.acme.received_refreshes().is_empty(), "a refresh token is not used up by what is refused");
    let id = come(Some("https://eu1.acme.example")).unwrap().connection.unwrap();
    let resolved = fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved;
    assert_eq!(resolved.issued.request.base_url.as_deref(), Some("https://eu1.acme.example/api/"));
}

#[test]
fn an_import_that_is_refused_is_never_revoked() {
    let fixture = Fixture::new();
    let imported = export_tokens(&fixture, Some(3000));
    let other = fixture.connect("eve");
    let refused = ManualConnect { connection: Some(other), ..ManualConnect::new(&fixture, "oauth2") };
    let flow = refused.submit(ManualCredential::Tokens(Box::new(imported.clone()))).unwrap();
    assert_eq!(flow.error.as_deref(), Some("other_account"));
    assert!(fixture.world.acme.revoked_tokens().is_empty());
    assert!(
        fixture.world.acme.accepts_access_token(imported.token.access_token.expose()),
        "somebody else may live on it"
    );
}

#[test]
fn a_refreshed_import_is_stored_whatever_the_identity_request_returns() {
    let fixture = Fixture::new();
    let imported = export_tokens(&fixture, Some(-10));
    fixture.world.acme.script_always("/me", Some(Reply::status(503, "")));
    let id = import_tokens(&fixture, imported).unwrap();
    assert_eq!(fixture.load_connection(&id).account, None);
    assert!(fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(&id)).0));
}

#[test]
fn a_refreshed_import_is_kept_after_every_identity_response() {
    for (case, reply) in [
        ("refused", Reply::status(401, "{}")),
        ("forbidden", Reply::status(403, "{}")),
        ("a page", Reply::status(200, "<html>")),
        ("nobody", Reply::status(200, "{}")),
        ("silence", Reply::error(HttpError::Timeout)),
    ] {
        let fixture = Fixture::new();
        let imported = export_tokens(&fixture, Some(-10));
        fixture.world.acme.script_always("/me", Some(reply));
        let id = import_tokens(&fixture, imported).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        fixture.world.acme.script_always("/me", None);
        assert_eq!(fixture.load_connection(&id).account, None, "{case}");
        fixture.expire_access_token(&id);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed, "{case}: the new refresh token was kept");
        assert!(fixture.world.acme.has_live_grant("ann"), "{case}");
    }
}

#[test]
fn a_readable_refresh_token_of_an_unusual_import_refresh_is_kept() {
    for spoilt in ["access_token", "cut"] {
        let fixture = Fixture::new();
        let imported = export_tokens(&fixture, Some(-10));
        fixture.world.acme.edit_body("/token", move |body| {
            let mut json: Value = serde_json::from_slice(body).unwrap();
            let refresh_token = json["refresh_token"].clone();
            json.as_object_mut().unwrap().remove("access_token");
            let whole = json.to_string();
            if spoilt == "cut" {
                format!("{{\"refresh_token\":{refresh_token},\"acc").into_bytes()
            } else {
                whole.into_bytes()
            }
        });
        let id = import_tokens(&fixture, imported).unwrap();
        assert_eq!(fixture.world.acme.received_refreshes().len(), 1, "{spoilt}: it is not renewed twice");
        fixture.world.acme.edit_body("/token", <[u8]>::to_vec);
        assert_eq!(
            fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.freshness,
            Freshness::Refreshed,
            "{spoilt}"
        );
        assert!(fixture.world.acme.has_live_grant("ann"), "{spoilt}: no token was presented twice");
    }
}

#[test]
fn a_failed_import_after_a_refresh_says_that_the_refresh_token_is_used() {
    let says = |error: &Error| error.detail.contains("exchanged for a new one, which was not stored");
    // Another account than that of the connection.
    let fixture = Fixture::new();
    let imported = export_tokens(&fixture, Some(-10));
    let other = fixture.connect("eve");
    let into = |id: &ConnectionId, imported: &ImportedTokens| {
        let pasting = ManualConnect { connection: Some(id.clone()), ..ManualConnect::new(&fixture, "oauth2") };
        pasting.submit(ManualCredential::Tokens(Box::new(imported.clone()))).unwrap_err()
    };
    let error = into(&other, &imported);
    assert_eq!((error.code, says(&error)), (ErrorCode::Conflict, true), "{error:?}");
    assert!(fixture.world.acme.revoked_tokens().is_empty(), "not ours to revoke");
    // The app refuses the new token: the connection keeps its previous credential.
    let imported = export_tokens(&fixture, Some(-10));
    let before = fixture.open_credential(&other);
    fixture.world.acme.script_always("/me", Some(Reply::status(401, "{}")));
    let error = into(&other, &imported);
    assert_eq!((error.code, says(&error)), (ErrorCode::CredentialRejected, true), "{error:?}");
    fixture.world.acme.script_always("/me", None);
    assert_eq!(fixture.open_credential(&other), before);
    // No usable response: the account is unknown.
    let imported = export_tokens(&fixture, Some(-10));
    fixture.world.acme.script_next("/token", Reply::error(HttpError::Timeout));
    let error = import_tokens(&fixture, imported).unwrap_err();
    assert_eq!(error.code, ErrorCode::AppUnavailable);
    assert!(error.detail.contains("the first try has used it up"), "{}", error.detail);
    // If the app issues no other refresh token, none is used up.
    let fixture = Fixture::new();
    let imported = export_tokens(&fixture, Some(-10));
    let other = fixture.connect("eve");
    fixture.world.acme.script_next(
        "/token",
        Reply::edited(|body| {
            body.as_object_mut().unwrap().remove("refresh_token");
        }),
    );
    let pasting = ManualConnect { connection: Some(other), ..ManualConnect::new(&fixture, "oauth2") };
    let flow = pasting.submit(ManualCredential::Tokens(Box::new(imported))).unwrap();
    assert_eq!(flow.error.as_deref(), Some("other_account"));
}

#[test]
fn a_first_token_without_a_refresh_token_ends_the_connection() {
    let (fixture, id) = connect_with_user_token();
    let mut credential = fixture.open_credential(&id);
    let first = credential.token.as_mut().unwrap();
    first.refresh_token = None;
    assert!(!credential.is_refreshable(), "a further token does not carry it");
}

#[test]
fn without_an_identity_a_credential_does_not_replace_a_connection_by_itself() {
    let fixture = api_key_fixture();
    let id = connect_manually(&fixture, "api_key", &[("api_key", "live_abc")]);
    let unasked =
        ManualConnect { connection: Some(id.clone()), check: false, ..ManualConnect::new(&fixture, "api_key") };
    let flow = unasked.submit(manual_fields(&[("api_key", "live_eve")])).unwrap();
    assert_eq!(flow.error.as_deref(), Some("other_account"));
    assert_eq!(fixture.load_connection(&id).generation, 1);
}

#[test]
fn a_key_that_replaces_a_consent_revokes_it_unless_it_is_the_same_token() {
    for same in [false, true] {
        let fixture = fixture_with_auth_methods(&[json!({ "type": "api_key" })]);
        fixture.world.acme.api_keys.borrow_mut().insert("live_abc".into(), "ann".into());
        let id = fixture.connect("ann");
        let token = plain_tokens(&fixture.open_credential(&id)).0;
        let key = if same { token.clone() } else { "live_abc".to_owned() };
        let replaced = ManualConnect { connection: Some(id.clone()), ..ManualConnect::new(&fixture, "api_key") };
        replaced.submit(manual_fields(&[("api_key", &key)])).unwrap();
        assert_eq!(fixture.load_connection(&id).client, None);
        assert_eq!(fixture.world.acme.accepts_access_token(&token), same);
    }
}

// ---- addresses that depend on the person ----

#[test]
fn a_person_enters_the_apps_host_within_the_definitions_limits() {
    let fixture = Fixture::with_definition(&json!({
        "variables": { "shop": { "label": "Shop", "pattern": "[a-z0-9-]+", "example": "acme" } },
        "auth": { "authorize_url": "https://{shop}.shops.example/authorize" },
        "request": { "base_url": "https://{shop}.shops.example/api/" },
    }));
    let begin = |shop: Option<&str>| {
        let variables = shop.map(|shop| ("shop".to_owned(), shop.to_owned())).into_iter().collect();
        let request = ConnectRequest { variables, ..fixture.connect_request() };
        fixture.world.run(async { start::begin_flow(&fixture.world.context(), &request, BROWSER_SESSION).await })
    };
    assert!(begin(Some("my-shop")).unwrap().starts_with("https://my-shop.shops.example/authorize?"));
    for wrong in [None, Some(""), Some("a.evil.example/"), Some("a@b"), Some("A"), Some(".."), Some("a#"), Some("a/b")]
    {
        let error = begin(wrong).unwrap_err();
        assert_eq!(
            (error.code, error.hints.errors[0].field.as_str()),
            (ErrorCode::InvalidRequest, "variables.shop"),
            "{wrong:?}"
        );
    }
    let request =
        ConnectRequest { variables: BTreeMap::from([("shop".into(), "mine".into())]), ..fixture.connect_request() };
    let id = fixture.complete_flow(&request, "ann").connection.unwrap();
    let resolved = fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved;
    assert_eq!(resolved.issued.request.base_url.as_deref(), Some("https://mine.shops.example/api/"));
    assert!(
        fixture.start_flow(&fixture.repair_request(&id), BROWSER_SESSION).starts_with("https://mine."),
        "a repair knows it already"
    );
}

#[test]
fn valid_variables_of_a_token_response_are_stored() {
    let definition = json!({
        "variables": { "home": { "from": "token", "at": "/instance", "pattern": "https://[a-z0-9]+[.]acme[.]example" } },
        "request": { "base_url": "{home}/api/" },
    });
    for (told, base) in [
        ("https://na1.acme.example", Some("https://na1.acme.example/api/")),
        ("https://evil.example", None),
        ("https://10.0.0.1", None),
    ] {
        let fixture = Fixture::with_definition(&definition);
        fixture.world.acme.script_next("/token", Reply::edited(move |body| body["instance"] = told.into()));
        let id = fixture.connect("ann");
        let answered =
            fixture.resolve(&id, ResolveRequest::default()).map(|one| one.resolved.issued.request.base_url.unwrap());
        assert_eq!(answered.ok().as_deref(), base, "{told}");
    }
}

#[test]
fn the_name_request_sets_only_the_label_and_may_fail() {
    let definition = json!({ "identity": {
        "url": null, "from": "token", "id": "/user", "label": "/user",
        "marks": [{ "at": "/live", "is": false, "label": "test mode", "account": "test" }],
        "named_by": { "url": "https://acme.example/me", "label": ["/display_name", "/email"] },
    } });
    let account = |reply: Option<Reply>| {
        let fixture = Fixture::with_definition(&definition);
        fixture.world.acme.script_next(
            "/token",
            Reply::edited(|body| {
                body["user"] = "acct_1".into();
                body["live"] = false.into();
            }),
        );
        if let Some(reply) = reply {
            fixture.world.acme.script_next("/me", reply);
        }
        let asked = fixture.world.acme.count_requests("/me");
        let account = fixture.load_connection(&fixture.connect("ann")).account.unwrap();
        assert_eq!(fixture.world.acme.count_requests("/me"), asked + 1, "it is asked once");
        (account.id, account.label)
    };
    let called = |label: &str| ("acct_1:test".to_owned(), format!("{label} (test mode)"));
    assert_eq!(account(None), called("ann@acme.example"));
    for unnamed in [
        Reply::status(403, r#"{"error":"forbidden","email":"eve@acme.example"}"#),
        Reply::status(401, r#"{"error":"invalid_grant"}"#),
        Reply::status(200, r#"{"email":null}"#),
        Reply::status(503, ""),
        Reply::error(HttpError::Timeout),
    ] {
        assert_eq!(account(Some(unnamed)), called("acct_1"));
    }
}

#[test]
fn a_changed_placeholder_rule_needs_the_secret_again() {
    let with_rule = |pattern: &str, default: Value| {
        json!({
            "variables": { "home": { "from": "token", "at": "/instance", "pattern": pattern, "default": default } },
            "request": { "base_url": "{home}/api/" },
        })
    };
    let fixture = Fixture::with_definition(&with_rule("https://[a-z0-9]+[.]acme[.]example", Value::Null));
    let destinations = fixture.load_client().destinations;
    let begin = |fixture: &Fixture| {
        fixture.world.run(async {
            start::begin_flow(&fixture.world.context(), &fixture.connect_request(), BROWSER_SESSION).await.map(|_| ())
        })
    };
    assert!(begin(&fixture).is_ok());
    fixture.put_app_revision(&with_rule("https://.*", json!("https://evil.example")));
    assert_eq!(fixture.load_client().destinations, destinations);
    assert_eq!(begin(&fixture).unwrap_err().code, ErrorCode::ClientMissing);
}

#[test]
fn a_client_at_another_server_is_a_new_client_and_the_old_one_is_kept() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let moved = |path: &str| format!("https://new.example/{path}");
    fixture.put_app_revision(&json!({
        "auth": { "authorize_url": moved("authorize"), "token_url": moved("token"), "revoke_url": null },
        "identity": { "url": moved("me") },
    }));
    let (old, before) = (fixture.load_client(), fixture.world.acme.requested_urls().len());
    fixture.put_client_secret("a newer secret");
    assert_eq!(fixture.load_client().sealed_secret, old.sealed_secret, "the secret of the old server stays as it was");
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    let asked = fixture.world.acme.requested_urls().split_off(before);
    assert!(!asked.is_empty() && asked.iter().all(|url| url.starts_with("https://acme.example/")), "{asked:?}");
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
}

// ---- known expiry ----

#[test]
fn the_expiry_of_a_grant_is_known_from_the_consent_and_moved_by_use() {
    let fixture =
        Fixture::with_definition(&json!({ "auth": { "refresh_token_idle": 864_000, "grant_lifetime": 2_592_000 } }));
    let id = fixture.connect("ann");
    let connected = fixture.load_connection(&id).connected_at;
    let left = |end: Option<Timestamp>| end.unwrap().since(connected);
    assert_eq!(
        (left(fixture.load_connection(&id).refresh_idle_until), left(fixture.load_connection(&id).grant_expires_at)),
        (864_000, 2_592_000)
    );
    fixture.world.advance_clock(500_000);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    let row = fixture.load_connection(&id);
    assert!(left(row.refresh_idle_until) >= 1_364_000, "use puts it off");
    assert_eq!(left(row.grant_expires_at), 2_592_000, "nothing puts that off but a person");
    assert_eq!(row.reconnect_due_at(), row.refresh_idle_until);
    fixture.connect("bob");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections WHERE grant_expires_at IS NOT NULL"), 2);
}

#[test]
fn the_scheduled_run_refreshes_grants_that_expire_without_use() {
    const HOUR: i64 = 3600;
    let cases = [
        (json!({ "refresh_token_idle": 12 * HOUR }), HOUR, 3 * 24, 12),
        (json!({ "refresh_token_lifetime": 12 * HOUR }), HOUR, 3 * 24, 12),
        (json!({ "refresh_token_idle": 5 * 24 * HOUR }), 90 * 24 * HOUR, 20 * 24, 10),
        (json!({ "refresh_token_idle": 90 * 24 * HOUR }), 400 * 24 * HOUR, 200 * 24, 4),
    ];
    for (ends, access, hours, most) in cases {
        let fixture = Fixture::with_definition(&json!({ "auth": ends }));
        fixture.world.acme.expires_in.set(Some(access));
        let id = fixture.connect("ann");
        for hour in 0..hours {
            fixture.world.advance_clock(HOUR);
            fixture.run_scheduled();
            let end = fixture.load_connection(&id).reconnect_due_at().unwrap();
            assert!(end > fixture.world.now(), "{ends}: nobody used it, and it ended after {hour} hours");
        }
        let used = fixture.world.acme.received_refreshes().len();
        assert!((2..=most).contains(&used), "{ends}: renewed {used} times");
    }
}

#[test]
fn a_fixed_expiry_does_not_cause_repeated_refreshes() {
    let fixture =
        Fixture::with_definition(&json!({ "auth": { "refresh_token_lifetime": 43_200, "rotation": "none" } }));
    fixture.world.acme.rotation.set(RotationPolicy::Never);
    fixture.world.acme.expires_in.set(Some(86_400 * 90));
    let id = fixture.connect("ann");
    let end = fixture.load_connection(&id).reconnect_due_at();
    for _ in 0..600 {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
    assert_eq!(fixture.load_connection(&id).reconnect_due_at(), end);
    let used = fixture.world.acme.received_refreshes().len();
    assert!(used <= 16, "renewed {used} times in two days, the end being after half a day");
}

// ---- scopes ----

#[test]
fn included_scopes_count_as_granted_and_unnamed_ones_are_not_missing() {
    let fixture = Fixture::with_definition(&json!({
        "scopes": [{ "id": "all", "includes": ["read"] }, "read", { "id": "offline", "answered": false }],
    }));
    *fixture.world.acme.granted_scopes.borrow_mut() = Some("all".into());
    let id = fixture.connect("ann");
    let row = fixture.load_connection(&id);
    assert_eq!((row.missing_scopes().len(), row.scopes_granted.len()), (0, 3));
    assert!(fixture.resolve(&id, ResolveRequest { scopes: vec!["read".into()], ..ResolveRequest::default() }).is_ok());
    fixture.world.acme.script_next("/token", Reply::edited(|body| body["scope"] = "read".into()));
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    assert_eq!(fixture.load_connection(&id).missing_scopes(), ["all"]);
}

/// The scopes in a flow's authorize URL.
fn authorize_parameters(fixture: &Fixture, request: &ConnectRequest) -> BTreeMap<String, String> {
    url::Url::parse(&fixture.start_flow(request, BROWSER_SESSION)).unwrap().query_pairs().into_owned().collect()
}

#[test]
fn an_app_with_incremental_grants_is_asked_only_for_missing_scopes() {
    let adds = json!({ "auth": { "more_scopes_params": { "include_granted": "true" } }, "scopes": [{ "id": "me", "required": true }, "read"] });
    for (definition, scope) in [(adds, "me admin"), (json!({}), "read write admin")] {
        let fixture = Fixture::with_definition(&definition);
        let id = fixture.connect("ann");
        let more = ConnectRequest { scopes: Some(vec!["admin".into()]), ..fixture.repair_request(&id) };
        let asked = authorize_parameters(&fixture, &more);
        assert_eq!((asked["scope"].as_str(), asked.contains_key("include_granted")), (scope, scope.starts_with("me")));
        fixture.world.acme.withdraw_grants("ann");
        fixture.expire_access_token(&id);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
        assert!(
            authorize_parameters(&fixture, &more)["scope"].contains("read"),
            "nothing is granted any more: all is asked for"
        );
    }
}

#[test]
fn a_person_may_reconnect_with_fewer_permissions() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let fewer = ConnectRequest { scopes: Some(vec!["read".into()]), exact_scopes: true, ..fixture.repair_request(&id) };
    let flow = fixture.complete_flow(&fewer, "ann");
    assert_eq!(flow.connection, Some(id.clone()));
    let row = fixture.load_connection(&id);
    assert_eq!((row.scopes_requested, row.scopes_granted), (vec!["read".to_owned()], vec!["read".to_owned()]));
}

#[test]
fn the_scopes_of_a_key_are_unknown_and_not_missing() {
    let fixture = api_key_fixture();
    let key = connect_manually(&fixture, "api_key", &[("api_key", "live_abc")]);
    let request = ResolveRequest { scopes: vec!["read".into()], ..ResolveRequest::default() };
    assert!(fixture.resolve(&key, request.clone()).is_ok());
    let edge = ResolveRequest { consistency: Consistency::Edge, ..request };
    fixture.resolve_and_finish(&key, edge.clone()).unwrap();
    assert_eq!(fixture.resolve(&key, edge).unwrap().resolved.source, Source::Cache);
}

// ---- the client test ----

#[test]
fn a_client_can_be_tested_before_anybody_connects() {
    for (reply, verdict) in [
        (None, ClientTestVerdict::Accepted),
        (Some(Reply::status(401, r#"{"error":"invalid_client"}"#)), ClientTestVerdict::Refused),
        (Some(Reply::status(400, r#"{"error":"unauthorized_client"}"#)), ClientTestVerdict::Misconfigured),
        (Some(Reply::status(400, r#"{"error":"what_is_this"}"#)), ClientTestVerdict::Unclear),
        (Some(Reply::status(500, "")), ClientTestVerdict::Unreachable),
        (Some(Reply::error(HttpError::Network)), ClientTestVerdict::Unreachable),
    ] {
        let fixture = Fixture::new();
        fixture.world.acme.script_always("/token", reply);
        let auth_method = {
            let context = fixture.world.context();
            let current = fixture.world.run(async {
                connections::registry::load_current_app(&context, &fixture.workspace, &fixture.app)
                    .await
                    .unwrap()
                    .unwrap()
            });
            current.app.auth_method(None).unwrap()
        };
        let (context, client) = (fixture.world.context(), fixture.load_client());
        let told = fixture
            .world
            .run(async { client_test::run(&context, &auth_method, &client, &BTreeMap::new()).await.unwrap() });
        assert_eq!(told.verdict, verdict);
        assert!(told.redirect_uri.ends_with(fixture.client.as_str()));
        assert_eq!(fixture.load_client().misconfigured.is_some(), verdict == ClientTestVerdict::Refused);
    }
}
