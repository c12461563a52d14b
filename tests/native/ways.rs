//! Ways to connect besides one consent and one token: what a person enters, several tokens, tokens from elsewhere.

use std::collections::BTreeMap;

use connections::app::WayId;
use connections::connect::paste::{Entered, Imported, Paste, paste};
use connections::connect::settle::{Choice, Deciding, choose};
use connections::connect::start::{self, Wish};
use connections::connect::trial::{self, Verdict};
use connections::connection::{Reason, Status};
use connections::credential::Token;
use connections::disconnect::{Disconnected, Revoked};
use connections::error::{Code, Error};
use connections::ids::ConnectionId;
use connections::ports::{Errand, ErrandOutcome, HttpError};
use connections::resolve::{Ask, Consistency, Freshness, Source};
use connections::secret::Secret;
use connections::store::authorizations::{Authorization, Outcome};
use connections::time::Timestamp;
use serde_json::{Value, json};

use crate::support::scene::{BROWSER, access, tokens};
use crate::support::signer::RSA_KEY;
use crate::support::{Reply, Rotates, Scene};

/// A scene whose app has these ways beside the usual one.
fn with_ways(ways: &[Value]) -> Scene {
    let usual = json!({
        "type": "oauth2", "authorize_url": "https://acme.example/authorize", "token_url": "https://acme.example/token",
        "revoke_url": "https://acme.example/revoke", "rotation": "strict",
    });
    let all: Vec<_> = [usual].iter().chain(ways).cloned().collect();
    Scene::with(&json!({ "auth": all }))
}

fn key_way() -> Value {
    json!({
        "type": "api_key",
        "fields": [{ "id": "api_key", "label": "Key", "pattern": "(live|test)_[a-z]+",
                     "marks": [{ "prefix": "test_", "label": "test mode" }, { "prefix": "root_", "refuse": "is too powerful." }] }],
    })
}

fn machine_way() -> Value {
    json!({ "type": "client_credentials", "token_url": "https://acme.example/token", "scopes": ["read"] })
}

fn robot_way() -> Value {
    json!({ "type": "service_account", "token_url": "https://acme.example/token", "scopes": ["read", "write"] })
}

fn fields(pairs: &[(&str, &str)]) -> Entered {
    Entered::Fields(pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect())
}

fn by_program() -> Deciding {
    Deciding::Program { reuse: false, switch: false }
}

struct Pasting<'a> {
    scene: &'a Scene,
    way: &'a str,
    connection: Option<ConnectionId>,
    deciding: Deciding,
    check: bool,
}

impl<'a> Pasting<'a> {
    fn new(scene: &'a Scene, way: &'a str) -> Self {
        Self { scene, way, connection: None, deciding: by_program(), check: true }
    }

    fn wish(&self) -> Wish {
        Wish { way: WayId::parse(self.way), connection: self.connection.clone(), ..self.scene.wish() }
    }

    fn enter(self, entered: Entered) -> Result<Authorization, Error> {
        let new =
            Paste { entered, name: None, metadata: BTreeMap::new(), check: self.check, actor: Some("key:t".into()) };
        let core = self.scene.world.core();
        self.scene.world.run(async { paste(&core, &self.wish(), new, BROWSER, self.deciding).await })
    }
}

fn enter(scene: &Scene, way: &str, pairs: &[(&str, &str)]) -> ConnectionId {
    let flow = Pasting::new(scene, way).enter(fields(pairs)).unwrap();
    flow.connection.unwrap_or_else(|| panic!("{:?} {:?}", flow.outcome, flow.error))
}

fn number_of_connections(scene: &Scene) -> i64 {
    scene.world.db.number("SELECT count(*) FROM connections")
}

// ---- a key ----

fn key_scene() -> Scene {
    let scene = with_ways(&[key_way()]);
    for (key, account) in [("live_abc", "ann"), ("live_new", "ann"), ("test_abc", "ann"), ("live_eve", "eve")] {
        scene.world.acme.keys.borrow_mut().insert(key.into(), account.into());
    }
    scene
}

#[test]
fn a_key_is_checked_stored_and_handed_out_as_it_was_entered() {
    let scene = key_scene();
    let id = enter(&scene, "api_key", &[("api_key", " live_abc\n")]);
    let row = scene.row(&id);
    assert_eq!((row.status, row.client, row.refreshable, row.expires_at), (Status::Connected, None, false, None));
    assert_eq!(row.account.unwrap().label, "ann@acme.example");
    let resolved = scene.resolve(&id, Ask { min_ttl: 3600, ..Ask::default() }).unwrap().resolved;
    assert_eq!(resolved.freshness, Freshness::Fresh);
    assert_eq!(resolved.issued.credential.fields, BTreeMap::from([("api_key".into(), "live_abc".into())]));
    assert!(resolved.issued.credential.token.is_none());
    assert_eq!(resolved.issued.request.headers["Authorization"], "Bearer live_abc");
    let actor = scene.world.db.value("SELECT actor FROM events WHERE type = 'connected'");
    assert_eq!(actor, "key:t");
}

#[test]
fn a_test_key_says_so_behind_its_account() {
    let scene = key_scene();
    let id = enter(&scene, "api_key", &[("api_key", "test_abc")]);
    assert_eq!(scene.row(&id).account.unwrap().label, "ann@acme.example (test mode)");
}

#[test]
fn a_check_takes_the_account_of_a_test_key_for_the_one_that_was_connected() {
    let mut way = key_way();
    way["fields"][0]["marks"][0]["account"] = json!("test");
    let scene = with_ways(&[way]);
    scene.world.acme.keys.borrow_mut().insert("test_abc".into(), "ann".into());
    let id = enter(&scene, "api_key", &[("api_key", "test_abc")]);
    assert_eq!(scene.row(&id).account.unwrap().id, "id-ann:test");
    for errand in [Errand::CheckNow, Errand::Check] {
        scene.world.pass(60);
        assert_eq!(scene.errand(&id, errand), ErrandOutcome::Healthy);
    }
}

#[test]
fn what_the_app_or_the_form_refuses_is_not_stored() {
    let scene = key_scene();
    for (value, code, told) in [
        ("", Code::InvalidRequest, "api_key"),
        ("root_abc", Code::InvalidRequest, "too powerful"),
        ("hunter2", Code::InvalidRequest, "api_key"),
        ("live_wrong", Code::CredentialRejected, "Acme did not accept"),
    ] {
        let error = Pasting::new(&scene, "api_key").enter(fields(&[("api_key", value)])).unwrap_err();
        assert_eq!(error.code, code, "{value}");
        assert!(error.detail.contains(told), "{}", error.detail);
        assert!(!format!("{error:?}").contains("hunter2") && !format!("{error:?}").contains("live_wrong"));
    }
    let unknown = Pasting::new(&scene, "api_key").enter(fields(&[("api_key", "live_abc"), ("other", "x")]));
    assert_eq!(unknown.unwrap_err().code, Code::InvalidRequest);
    assert_eq!(number_of_connections(&scene), 0);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM flows"), 0);
}

#[test]
fn an_app_that_can_not_be_asked_refuses_nothing_and_stores_nothing() {
    for reply in [Reply::status(503, ""), Reply::error(HttpError::Timeout)] {
        let scene = key_scene();
        scene.world.acme.always("/me", Some(reply));
        let error = Pasting::new(&scene, "api_key").enter(fields(&[("api_key", "live_abc")])).unwrap_err();
        assert_eq!((error.code, error.hints.retry_after.is_some()), (Code::AppUnavailable, true));
        assert_eq!(number_of_connections(&scene), 0);
        let unchecked = Pasting { check: false, ..Pasting::new(&scene, "api_key") };
        let flow = unchecked.enter(fields(&[("api_key", "live_abc")])).unwrap();
        assert_eq!(scene.row(&flow.connection.unwrap()).account, None, "nobody was asked");
    }
}

#[test]
fn what_a_credential_sees_is_not_asked_either_where_nobody_is_to_be_asked() {
    let mut way = key_way();
    way["nothing_shared"] = json!({ "url": "https://acme.example/list", "at": "/results", "say": "Share." });
    let scene = with_ways(&[way]);
    scene.world.acme.keys.borrow_mut().insert("live_abc".into(), "ann".into());
    scene.world.acme.always("/list", Some(Reply::status(200, r#"{"results":[]}"#)));
    let unchecked = Pasting { check: false, ..Pasting::new(&scene, "api_key") };
    let flow = unchecked.enter(fields(&[("api_key", "live_abc")])).unwrap();
    assert_eq!((scene.row(&flow.connection.unwrap()).nothing_shared, scene.world.acme.count("/list")), (None, 0));
    let id = enter(&scene, "api_key", &[("api_key", "live_abc")]);
    assert_eq!((scene.row(&id).nothing_shared.as_deref(), scene.world.acme.count("/list")), (Some("Share."), 1));
}

#[test]
fn a_key_that_may_not_say_whose_it_is_is_stored_without_an_account() {
    let scene = key_scene();
    scene.world.acme.always("/me", Some(Reply::status(403, "{}")));
    let id = enter(&scene, "api_key", &[("api_key", "live_abc")]);
    assert_eq!((scene.row(&id).status, scene.row(&id).account), (Status::Connected, None));
}

#[test]
fn a_key_that_was_revoked_at_the_app_is_named_by_the_check_and_replaced_in_place() {
    let scene = key_scene();
    let id = enter(&scene, "api_key", &[("api_key", "live_abc")]);
    assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Healthy);
    scene.world.acme.keys.borrow_mut().remove("live_abc");
    scene.world.pass(60);
    assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Dead);
    let error = scene.resolve(&id, Ask::default()).unwrap_err();
    assert_eq!((error.code, error.hints.reason.as_deref()), (Code::NeedsReconnect, Some("credential_rejected")));
    let again = Pasting { connection: Some(id.clone()), ..Pasting::new(&scene, "api_key") };
    assert_eq!(again.enter(fields(&[("api_key", "live_new")])).unwrap().connection, Some(id.clone()));
    assert_eq!((scene.row(&id).generation, scene.row(&id).status), (2, Status::Connected));
    assert_eq!(scene.resolve(&id, Ask::default()).unwrap().resolved.issued.credential.fields["api_key"], "live_new");
}

#[test]
fn a_key_of_another_account_switches_only_when_that_is_said() {
    let scene = key_scene();
    let id = enter(&scene, "api_key", &[("api_key", "live_abc")]);
    let refused = Pasting { connection: Some(id.clone()), ..Pasting::new(&scene, "api_key") };
    let flow = refused.enter(fields(&[("api_key", "live_eve")])).unwrap();
    assert_eq!((flow.outcome, flow.error.as_deref()), (Outcome::Failed, Some("other_account")));
    assert_eq!(scene.row(&id).generation, 1);
    let deciding = Deciding::Program { reuse: false, switch: true };
    let switched = Pasting { connection: Some(id.clone()), deciding, ..Pasting::new(&scene, "api_key") };
    switched.enter(fields(&[("api_key", "live_eve")])).unwrap();
    assert_eq!(scene.row(&id).account.unwrap().label, "eve@acme.example");
}

#[test]
fn a_person_is_asked_where_a_program_decides() {
    let scene = key_scene();
    let id = enter(&scene, "api_key", &[("api_key", "live_abc")]);
    let person = |connection| Pasting { connection, deciding: Deciding::Person, ..Pasting::new(&scene, "api_key") };
    let duplicate = person(None).enter(fields(&[("api_key", "live_new")])).unwrap();
    assert_eq!(duplicate.outcome, Outcome::Undecided);
    scene.world.run(async { choose(&scene.world.core(), &duplicate, Choice::Reuse).await.unwrap() });
    assert_eq!((number_of_connections(&scene), scene.row(&id).generation), (1, 2));
    let other = person(Some(id.clone())).enter(fields(&[("api_key", "live_eve")])).unwrap();
    scene.world.run(async { choose(&scene.world.core(), &other, Choice::Keep).await.unwrap() });
    assert_eq!(scene.row(&id).account.unwrap().label, "ann@acme.example");
    let both = person(None).enter(fields(&[("api_key", "live_abc")])).unwrap();
    scene.world.run(async { choose(&scene.world.core(), &both, Choice::Both).await.unwrap() });
    assert_eq!(number_of_connections(&scene), 2);
}

#[test]
fn whoever_enters_a_key_for_an_account_that_is_connected_by_consent_means_the_key() {
    let scene = key_scene();
    let id = scene.connect("ann");
    let person = Pasting { deciding: Deciding::Person, ..Pasting::new(&scene, "api_key") };
    let flow = person.enter(fields(&[("api_key", "live_new")])).unwrap();
    scene.world.run(async { choose(&scene.world.core(), &flow, Choice::Reuse).await.unwrap() });
    let row = scene.row(&id);
    assert_eq!((row.generation, row.way.as_str()), (2, "api_key"));
}

#[test]
fn a_key_can_not_be_revoked_here_and_is_erased() {
    let scene = key_scene();
    let id = enter(&scene, "api_key", &[("api_key", "live_abc")]);
    let requests = scene.world.acme.requests();
    let done = scene.disconnect(&id).unwrap();
    assert_eq!(done, Disconnected { revoked: Revoked::Unsupported, retrying: false });
    assert_eq!((scene.world.acme.requests(), number_of_connections(&scene)), (requests, 0));
}

// ---- tokens that are made of what a person entered ----

#[test]
fn a_client_of_ones_own_gets_tokens_anew_whenever_they_end() {
    let scene = with_ways(&[machine_way()]);
    scene.world.acme.machines.borrow_mut().insert("robot".into(), "s3cret".into());
    let id = enter(&scene, "client_credentials", &[("client_id", "robot"), ("client_secret", "s3cret")]);
    let row = scene.row(&id);
    assert_eq!((row.refreshable, row.client.is_none()), (true, true));
    assert_eq!(scene.world.acme.asked.borrow()[0]["scope"], "read");
    let first = scene.resolve(&id, Ask::default()).unwrap().resolved;
    assert!(first.issued.credential.fields.is_empty(), "a caller gets the token, never the secret");
    scene.expire(&id);
    let second = scene.resolve(&id, Ask::default()).unwrap().resolved;
    assert_eq!(second.freshness, Freshness::Refreshed);
    assert_ne!(access(&first), access(&second));
    assert_eq!(scene.world.acme.count("/token"), 2);
    scene.world.acme.machines.borrow_mut().clear();
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
    assert_eq!(scene.row(&id).reason, Some(Reason::CredentialRejected));
    let refused = Pasting::new(&scene, "client_credentials");
    let error = refused.enter(fields(&[("client_id", "robot"), ("client_secret", "s3cret")])).unwrap_err();
    assert_eq!(error.code, Code::CredentialRejected);
    assert!(error.detail.contains("invalid_client"), "{}", error.detail);
}

#[test]
fn a_made_token_of_unknown_life_is_made_anew() {
    let scene = with_ways(&[machine_way()]);
    scene.world.acme.machines.borrow_mut().insert("robot".into(), "s3cret".into());
    scene.world.acme.expires_in.set(None);
    let id = enter(&scene, "client_credentials", &[("client_id", "robot"), ("client_secret", "s3cret")]);
    for _ in 0..3 {
        assert_eq!(scene.row(&id).expires_at.unwrap().since(scene.world.now()), 900);
        assert_eq!(scene.resolve(&id, Ask::default()).unwrap().resolved.freshness, Freshness::Fresh);
        scene.expire(&id);
        assert_eq!(scene.resolve(&id, Ask::default()).unwrap().resolved.freshness, Freshness::Refreshed);
    }
    // What the app says once goes before what is assumed.
    scene.world.acme.expires_in.set(Some(7200));
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    scene.world.acme.expires_in.set(None);
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    assert_eq!(scene.row(&id).expires_at.unwrap().since(scene.world.now()), 7200);
}

#[test]
fn a_mint_that_fails_for_now_kills_nothing() {
    let scene = with_ways(&[machine_way()]);
    scene.world.acme.machines.borrow_mut().insert("robot".into(), "s3cret".into());
    let id = enter(&scene, "client_credentials", &[("client_id", "robot"), ("client_secret", "s3cret")]);
    scene.expire(&id);
    scene.world.acme.next("/token", Reply::error(HttpError::Timeout));
    assert!(matches!(scene.need(&id), ErrandOutcome::Unavailable { .. }));
    scene.world.pass(120);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
}

#[test]
fn a_key_file_speaks_by_assertions_to_the_address_of_the_definition() {
    let scene = with_ways(&[robot_way()]);
    let file = json!({
        "client_email": "robot@project.example", "private_key": RSA_KEY, "private_key_id": "k1",
        "token_uri": "https://evil.example/token",
    })
    .to_string();
    let id = enter(&scene, "service_account", &[("key", &file), ("subject", "ann@acme.example")]);
    let asked = scene.world.acme.asked.borrow()[0].clone();
    assert_eq!(asked["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert!(!asked.contains_key("scope") && !asked.contains_key("client_id"), "{asked:?}");
    let claims = part(&asked["assertion"], 1);
    assert_eq!(claims["iss"], "robot@project.example");
    assert_eq!(claims["sub"], "ann@acme.example");
    assert_eq!(claims["aud"], "https://acme.example/token");
    assert_eq!(claims["scope"], "read write");
    assert_eq!(part(&asked["assertion"], 0), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    assert!(scene.world.acme.addresses().iter().all(|url| url.starts_with("https://acme.example/")));
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    let resolved = scene.resolve(&id, Ask::default()).unwrap().resolved;
    assert!(!serde_json::to_string(&resolved.issued).unwrap().contains("PRIVATE"));
    for (key, told) in
        [("{", "JSON"), ("{}", "private_key"), (&file.replace("PRIVATE KEY", "RSA PRIVATE KEY"), "pkcs8")]
    {
        let error = Pasting::new(&scene, "service_account").enter(fields(&[("key", key)])).unwrap_err();
        assert_eq!((error.code, error.hints.errors[0].field.as_str()), (Code::InvalidRequest, "credential.key"));
        assert!(error.detail.contains(told), "{}", error.detail);
    }
}

fn part(assertion: &str, index: usize) -> Value {
    use base64::Engine as _;
    let text = assertion.split('.').nth(index).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

// ---- several tokens ----

fn two_tokens() -> (Scene, ConnectionId) {
    two_tokens_that(Rotates::Strict, &json!("strict"))
}

fn two_tokens_that(rotates: Rotates, rotation: &Value) -> (Scene, ConnectionId) {
    let user = json!({ "access_token": "/authed_user/access_token", "refresh_token": "/authed_user/refresh_token",
        "expires_in": "/authed_user/expires_in", "scope": "/authed_user/scope", "scope_param": "user_scope" });
    let scene = Scene::with(&json!({
        "auth": { "rotation": rotation, "tokens": { "user": user } },
        "scopes": ["read", "write", "user:search"],
    }));
    scene.world.acme.rotates.set(rotates);
    scene.world.acme.gives_user_token.set(true);
    let id = scene.connect("ann");
    (scene, id)
}

fn users(scene: &Scene, id: &ConnectionId) -> Token {
    scene.credential(id).others["user"].clone()
}

#[test]
fn two_tokens_of_one_answer_are_asked_for_stored_and_handed_out_apart() {
    let (scene, id) = two_tokens();
    let url = scene.start(&scene.wish(), BROWSER);
    let asked: BTreeMap<_, _> = url::Url::parse(&url).unwrap().query_pairs().into_owned().collect();
    assert_eq!((asked["scope"].as_str(), asked["user_scope"].as_str()), ("read write", "search"));
    assert_eq!(scene.row(&id).scopes_granted, ["read", "write", "user:search"]);
    let issued =
        scene.resolve(&id, Ask { scopes: vec!["user:search".into()], ..Ask::default() }).unwrap().resolved.issued;
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
fn both_are_renewed_by_one_errand_each_with_its_own_request() {
    let (scene, id) = two_tokens();
    let before = (scene.credential(&id).token.unwrap(), users(&scene, &id));
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    let presented: Vec<_> = scene.world.acme.redemptions().into_iter().map(|one| one.token).collect();
    let secret = |token: &Token| token.refresh_token.clone().unwrap().expose().to_owned();
    assert_eq!(presented, [secret(&before.0), secret(&before.1)]);
    let after = scene.credential(&id);
    assert!(scene.world.acme.accepts(after.token.unwrap().access_token.expose()));
    assert!(scene.world.acme.accepts(users(&scene, &id).access_token.expose()));
    let row = scene.row(&id);
    assert_eq!((row.version, row.scopes_granted.len(), row.intent), (3, 3, None));
    assert!(row.expires_at.unwrap().since(scene.world.now()) > 3500, "the nearest end of both");
    assert_eq!(scene.need(&id), ErrandOutcome::Satisfied);
}

#[test]
fn a_lost_answer_to_the_second_does_not_touch_the_first() {
    let (scene, id) = two_tokens_that(Rotates::Grace(600), &json!({ "grace": 600 }));
    scene.expire(&id);
    scene.world.acme.next("/token", Reply::edited(|_| {}));
    scene.world.acme.next("/token", Reply::error(HttpError::Timeout).acting());
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    let first = scene.credential(&id).token.unwrap().access_token;
    let row = scene.row(&id);
    assert!(row.ambiguous_token_hash.is_some() && row.expires_at.unwrap() < scene.world.now());
    let answered = scene.resolve(&id, Ask::default()).unwrap();
    let issued = answered.resolved.issued.credential;
    assert_eq!(issued.token.unwrap().access_token, first.expose(), "it goes on without the one that waits");
    assert!(issued.tokens.is_empty(), "what has ended is not handed out");
    scene.world.pass(320);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    assert_eq!(scene.credential(&id).token.unwrap().access_token, first, "the first had nothing to be renewed for");
    assert!(scene.world.acme.accepts(users(&scene, &id).access_token.expose()));
    assert_eq!(scene.row(&id).ambiguous_token_hash, None);
}

#[test]
fn a_further_token_that_is_gone_for_good_takes_its_scopes_with_it_and_nothing_else() {
    let (scene, id) = two_tokens();
    let lost = users(&scene, &id).refresh_token.unwrap();
    scene.world.acme.forget(lost.expose());
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    let row = scene.row(&id);
    assert_eq!((row.status, row.missing_scopes()), (Status::Connected, vec!["user:search".to_owned()]));
    assert!(scene.credential(&id).others.is_empty());
    let event = scene.world.db.value("SELECT detail FROM events WHERE type = 'token_lost'");
    assert_eq!(event, "user");
    assert!(scene.resolve(&id, Ask::default()).is_ok());
    let error = scene.resolve(&id, Ask { scopes: vec!["user:search".into()], ..Ask::default() }).unwrap_err();
    assert_eq!(
        (error.code, error.hints.missing_scopes.as_slice()),
        (Code::MissingScopes, &["user:search".to_owned()][..])
    );
}

#[test]
fn the_first_token_that_is_gone_for_good_is_the_end() {
    let (scene, id) = two_tokens();
    let lost = scene.credential(&id).token.unwrap().refresh_token.unwrap();
    scene.world.acme.forget(lost.expose());
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
    assert_eq!(scene.row(&id).reason, Some(Reason::Revoked));
}

#[test]
fn a_further_token_of_another_person_is_a_question_though_the_account_is_the_same() {
    let user = json!({ "access_token": "/authed_user/access_token", "scope_param": "user_scope", "account": "/authed_user/id" });
    let scene = Scene::with(&json!({ "auth": { "tokens": { "user": user } }, "scopes": ["read", "user:search"] }));
    let person = |id: &'static str| {
        let told = Reply::edited(move |body| body["authed_user"]["id"] = id.into());
        scene.world.acme.next("/token", told);
    };
    scene.world.acme.gives_user_token.set(true);
    person("U1");
    let id = scene.connect("ann");
    person("U2");
    let asked = scene.flow(&scene.repair_of(&id), "ann");
    assert_eq!(asked.outcome, Outcome::Undecided);
    person("U2");
    let flow = scene.flow(&scene.wish(), "ann");
    assert_ne!(flow.connection, Some(id.clone()), "nor is it a duplicate: {:?}", flow.outcome);
    assert_eq!(flow.outcome, Outcome::Done);
    person("U1");
    assert_eq!(scene.flow(&scene.repair_of(&id), "ann").outcome, Outcome::Done);
    scene.world.acme.gives_user_token.set(false);
    assert_eq!(scene.flow(&scene.repair_of(&id), "ann").outcome, Outcome::Done, "the bot alone is the same for all");
}

#[test]
fn a_disconnect_revokes_all_tokens() {
    let (scene, id) = two_tokens();
    assert_eq!(scene.disconnect(&id).unwrap().revoked, Revoked::Confirmed);
    assert_eq!(scene.world.acme.revoked().len(), 4);
}

// ---- tokens from elsewhere ----

/// Tokens that the app gave to the same client, taken out of one connection to be imported as another.
fn exported(scene: &Scene, expires_in: Option<i64>) -> Imported {
    let id = scene.connect("ann");
    let mut token = scene.credential(&id).token.unwrap();
    token.expires_at = expires_in.map(|seconds| scene.world.now().plus(seconds));
    scene.world.run(async {
        use connections::ports::Database as _;
        let gone = connections::sql!("DELETE FROM connections WHERE id = ?1", &id);
        scene.world.core().db().batch(vec![gone]).await.unwrap();
    });
    Imported { token, others: BTreeMap::new(), scopes: None }
}

fn import(scene: &Scene, imported: Imported) -> Result<ConnectionId, Error> {
    let flow = Pasting::new(scene, "oauth2").enter(Entered::Tokens(Box::new(imported)))?;
    flow.connection.ok_or_else(|| Error::internal(format!("{:?} {:?}", flow.outcome, flow.error)))
}

#[test]
fn imported_tokens_are_asked_about_and_live_on_as_if_they_were_had_here() {
    let scene = Scene::new();
    let imported = exported(&scene, Some(3000));
    let id = import(&scene, imported).unwrap();
    let row = scene.row(&id);
    assert_eq!((row.account.unwrap().label.as_str(), row.refreshable), ("ann@acme.example", true));
    assert_eq!(row.client, Some(scene.client.clone()), "a refresh token is bound to its client");
    assert_eq!(scene.world.acme.redemptions().len(), 0);
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
}

#[test]
fn an_imported_token_that_has_ended_is_renewed_before_it_is_stored() {
    for (end, rejected) in [(Some(-10), false), (Some(30), false), (None, false), (Some(3000), true)] {
        let scene = Scene::new();
        let imported = exported(&scene, end);
        if rejected {
            scene.world.acme.next("/me", Reply::status(401, "{}"));
        }
        let id = import(&scene, imported).unwrap();
        assert_eq!(scene.world.acme.redemptions().len(), 1, "{end:?}");
        assert!(
            scene.row(&id).expires_at.is_some_and(|end| end.since(scene.world.now()) > 3000),
            "the answer tells the end"
        );
        assert!(scene.world.acme.accepts(access(&scene.resolve(&id, Ask::default()).unwrap().resolved)));
    }
}

#[test]
fn what_can_not_be_combined_is_refused_by_name() {
    let scene = Scene::new();
    let without_end = exported(&scene, None);
    let others = BTreeMap::from([("user".to_owned(), without_end.token.clone())]);
    let mut fine = without_end.clone();
    fine.token.refresh_token = None;
    let error = import(&scene, Imported { others, ..fine.clone() }).unwrap_err();
    assert_eq!(
        (error.code, error.hints.errors[0].field.as_str()),
        (Code::InvalidRequest, "credential.tokens.user.expires_at")
    );
    assert!(import(&scene, fine.clone()).is_ok(), "an access token alone lives as long as it lives");
    let ended = Token { expires_at: Some(Timestamp::from_unix(1)), ..fine.token };
    let error = import(&scene, Imported { token: ended, ..fine }).unwrap_err();
    assert_eq!(error.code, Code::CredentialRejected);
    let scene = Scene::new();
    let wrong = exported(&scene, Some(-1));
    scene.world.acme.forget(wrong.token.refresh_token.as_ref().unwrap().expose());
    assert_eq!(import(&scene, wrong).unwrap_err().code, Code::CredentialRejected);
}

#[test]
fn what_the_app_told_of_its_address_comes_with_imported_tokens() {
    let scene = Scene::with(&json!({
        "variables": { "home": { "from": "token", "at": "/instance", "pattern": "https://[a-z0-9]+[.]acme[.]example" } },
        "request": { "base_url": "{home}/api/" },
    }));
    scene.world.acme.next("/token", Reply::edited(|body| body["instance"] = "https://eu1.acme.example".into()));
    let imported = exported(&scene, Some(-10));
    let come = |home: Option<&str>| {
        let variables = home.map(|home| ("home".to_owned(), home.to_owned())).into_iter().collect();
        let wish = Wish { variables, ..Pasting::new(&scene, "oauth2").wish() };
        let entered = Entered::Tokens(Box::new(imported.clone()));
        let new = Paste { entered, name: None, metadata: BTreeMap::new(), check: true, actor: Some("key:t".into()) };
        scene.world.run(async { paste(&scene.world.core(), &wish, new, BROWSER, by_program()).await })
    };
    for wrong in [None, Some("https://eu1.evil.example"), Some("https://u@eu1.acme.example/x")] {
        let error = come(wrong).unwrap_err();
        assert_eq!((error.code, error.hints.errors[0].field.as_str()), (Code::InvalidRequest, "variables.home"));
    }
    assert!(scene.world.acme.redemptions().is_empty(), "a refresh token is not used up by what is refused");
    let id = come(Some("https://eu1.acme.example")).unwrap().connection.unwrap();
    let resolved = scene.resolve(&id, Ask::default()).unwrap().resolved;
    assert_eq!(resolved.issued.request.base_url.as_deref(), Some("https://eu1.acme.example/api/"));
}

#[test]
fn what_was_imported_is_never_revoked_because_it_did_not_fit() {
    let scene = Scene::new();
    let imported = exported(&scene, Some(3000));
    let other = scene.connect("eve");
    let refused = Pasting { connection: Some(other), ..Pasting::new(&scene, "oauth2") };
    let flow = refused.enter(Entered::Tokens(Box::new(imported.clone()))).unwrap();
    assert_eq!(flow.error.as_deref(), Some("other_account"));
    assert!(scene.world.acme.revoked().is_empty());
    assert!(scene.world.acme.accepts(imported.token.access_token.expose()), "somebody else may live on it");
}

#[test]
fn an_import_that_was_renewed_is_stored_whatever_the_app_says_next() {
    let scene = Scene::new();
    let imported = exported(&scene, Some(-10));
    scene.world.acme.always("/me", Some(Reply::status(503, "")));
    let id = import(&scene, imported).unwrap();
    assert_eq!(scene.row(&id).account, None);
    assert!(scene.world.acme.accepts(&tokens(&scene.credential(&id)).0));
}

#[test]
fn a_renewed_import_is_kept_whatever_the_identity_request_makes_of_it() {
    for (case, reply) in [
        ("refused", Reply::status(401, "{}")),
        ("forbidden", Reply::status(403, "{}")),
        ("a page", Reply::status(200, "<html>")),
        ("nobody", Reply::status(200, "{}")),
        ("silence", Reply::error(HttpError::Timeout)),
    ] {
        let scene = Scene::new();
        let imported = exported(&scene, Some(-10));
        scene.world.acme.always("/me", Some(reply));
        let id = import(&scene, imported).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        scene.world.acme.always("/me", None);
        assert_eq!(scene.row(&id).account, None, "{case}");
        scene.expire(&id);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed, "{case}: the new refresh token was kept");
        assert!(scene.world.acme.is_alive("ann"), "{case}");
    }
}

#[test]
fn a_refresh_token_that_can_be_read_of_an_odd_renewal_of_an_import_is_kept() {
    for spoilt in ["access_token", "cut"] {
        let scene = Scene::new();
        let imported = exported(&scene, Some(-10));
        scene.world.acme.spoil("/token", move |body| {
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
        let id = import(&scene, imported).unwrap();
        assert_eq!(scene.world.acme.redemptions().len(), 1, "{spoilt}: it is not renewed twice");
        scene.world.acme.spoil("/token", <[u8]>::to_vec);
        assert_eq!(scene.resolve(&id, Ask::default()).unwrap().resolved.freshness, Freshness::Refreshed, "{spoilt}");
        assert!(scene.world.acme.is_alive("ann"), "{spoilt}: no token was presented twice");
    }
}

#[test]
fn a_renewed_import_that_becomes_nothing_says_that_its_refresh_token_is_used_up() {
    let says = |error: &Error| error.detail.contains("exchanged for a new one, which was not stored");
    // Another account than the connection has.
    let scene = Scene::new();
    let imported = exported(&scene, Some(-10));
    let other = scene.connect("eve");
    let into = |id: &ConnectionId, imported: &Imported| {
        let pasting = Pasting { connection: Some(id.clone()), ..Pasting::new(&scene, "oauth2") };
        pasting.enter(Entered::Tokens(Box::new(imported.clone()))).unwrap_err()
    };
    let error = into(&other, &imported);
    assert_eq!((error.code, says(&error)), (Code::Conflict, true), "{error:?}");
    assert!(scene.world.acme.revoked().is_empty(), "not ours to revoke");
    // The app refuses what it has just given: the credential of before stays in its place.
    let imported = exported(&scene, Some(-10));
    let before = scene.credential(&other);
    scene.world.acme.always("/me", Some(Reply::status(401, "{}")));
    let error = into(&other, &imported);
    assert_eq!((error.code, says(&error)), (Code::CredentialRejected, true), "{error:?}");
    scene.world.acme.always("/me", None);
    assert_eq!(scene.credential(&other), before);
    // No useful answer: nobody knows.
    let imported = exported(&scene, Some(-10));
    scene.world.acme.next("/token", Reply::error(HttpError::Timeout));
    let error = import(&scene, imported).unwrap_err();
    assert_eq!(error.code, Code::AppUnavailable);
    assert!(error.detail.contains("the first try has used it up"), "{}", error.detail);
    // Where the app gives no other refresh token, nothing is used up.
    let scene = Scene::new();
    let imported = exported(&scene, Some(-10));
    let other = scene.connect("eve");
    scene.world.acme.next(
        "/token",
        Reply::edited(|body| {
            body.as_object_mut().unwrap().remove("refresh_token");
        }),
    );
    let pasting = Pasting { connection: Some(other), ..Pasting::new(&scene, "oauth2") };
    let flow = pasting.enter(Entered::Tokens(Box::new(imported))).unwrap();
    assert_eq!(flow.error.as_deref(), Some("other_account"));
}

#[test]
fn a_first_token_that_nothing_renews_is_the_end_of_the_connection() {
    let (scene, id) = two_tokens();
    let mut credential = scene.credential(&id);
    let first = credential.token.as_mut().unwrap();
    first.refresh_token = None;
    assert!(!credential.is_refreshable(), "a further token does not carry it");
}

#[test]
fn unasked_a_credential_is_nobodys_and_does_not_take_a_connections_place_by_itself() {
    let scene = key_scene();
    let id = enter(&scene, "api_key", &[("api_key", "live_abc")]);
    let unasked = Pasting { connection: Some(id.clone()), check: false, ..Pasting::new(&scene, "api_key") };
    let flow = unasked.enter(fields(&[("api_key", "live_eve")])).unwrap();
    assert_eq!(flow.error.as_deref(), Some("other_account"));
    assert_eq!(scene.row(&id).generation, 1);
}

#[test]
fn a_key_in_the_place_of_a_consent_ends_that_consent_unless_it_is_the_same_token() {
    for same in [false, true] {
        let scene = with_ways(&[json!({ "type": "api_key" })]);
        scene.world.acme.keys.borrow_mut().insert("live_abc".into(), "ann".into());
        let id = scene.connect("ann");
        let token = tokens(&scene.credential(&id)).0;
        let key = if same { token.clone() } else { "live_abc".to_owned() };
        let replaced = Pasting { connection: Some(id.clone()), ..Pasting::new(&scene, "api_key") };
        replaced.enter(fields(&[("api_key", &key)])).unwrap();
        assert_eq!(scene.row(&id).client, None);
        assert_eq!(scene.world.acme.accepts(&token), same);
    }
}

// ---- addresses that depend on the person ----

#[test]
fn a_person_says_where_their_app_is_and_nobody_gets_elsewhere_by_it() {
    let scene = Scene::with(&json!({
        "variables": { "shop": { "label": "Shop", "pattern": "[a-z0-9-]+", "example": "acme" } },
        "auth": { "authorize_url": "https://{shop}.shops.example/authorize" },
        "request": { "base_url": "https://{shop}.shops.example/api/" },
    }));
    let begin = |shop: Option<&str>| {
        let variables = shop.map(|shop| ("shop".to_owned(), shop.to_owned())).into_iter().collect();
        let wish = Wish { variables, ..scene.wish() };
        scene.world.run(async { start::start(&scene.world.core(), &wish, BROWSER).await })
    };
    assert!(begin(Some("my-shop")).unwrap().starts_with("https://my-shop.shops.example/authorize?"));
    for wrong in [None, Some(""), Some("a.evil.example/"), Some("a@b"), Some("A"), Some(".."), Some("a#"), Some("a/b")]
    {
        let error = begin(wrong).unwrap_err();
        assert_eq!(
            (error.code, error.hints.errors[0].field.as_str()),
            (Code::InvalidRequest, "variables.shop"),
            "{wrong:?}"
        );
    }
    let wish = Wish { variables: BTreeMap::from([("shop".into(), "mine".into())]), ..scene.wish() };
    let id = scene.flow(&wish, "ann").connection.unwrap();
    let resolved = scene.resolve(&id, Ask::default()).unwrap().resolved;
    assert_eq!(resolved.issued.request.base_url.as_deref(), Some("https://mine.shops.example/api/"));
    assert!(scene.start(&scene.repair_of(&id), BROWSER).starts_with("https://mine."), "a repair knows it already");
}

#[test]
fn what_an_answer_tells_of_the_address_is_kept_if_it_fits() {
    let definition = json!({
        "variables": { "home": { "from": "token", "at": "/instance", "pattern": "https://[a-z0-9]+[.]acme[.]example" } },
        "request": { "base_url": "{home}/api/" },
    });
    for (told, base) in [
        ("https://na1.acme.example", Some("https://na1.acme.example/api/")),
        ("https://evil.example", None),
        ("https://10.0.0.1", None),
    ] {
        let scene = Scene::with(&definition);
        scene.world.acme.next("/token", Reply::edited(move |body| body["instance"] = told.into()));
        let id = scene.connect("ann");
        let answered = scene.resolve(&id, Ask::default()).map(|one| one.resolved.issued.request.base_url.unwrap());
        assert_eq!(answered.ok().as_deref(), base, "{told}");
    }
}

#[test]
fn a_name_that_is_asked_for_is_the_label_alone_and_its_absence_costs_nothing_else() {
    let definition = json!({ "identity": {
        "url": null, "from": "token", "id": "/user", "label": "/user",
        "marks": [{ "at": "/live", "is": false, "label": "test mode", "account": "test" }],
        "named_by": { "url": "https://acme.example/me", "label": ["/display_name", "/email"] },
    } });
    let account = |reply: Option<Reply>| {
        let scene = Scene::with(&definition);
        scene.world.acme.next(
            "/token",
            Reply::edited(|body| {
                body["user"] = "acct_1".into();
                body["live"] = false.into();
            }),
        );
        if let Some(reply) = reply {
            scene.world.acme.next("/me", reply);
        }
        let asked = scene.world.acme.count("/me");
        let account = scene.row(&scene.connect("ann")).account.unwrap();
        assert_eq!(scene.world.acme.count("/me"), asked + 1, "it is asked once");
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
fn who_changes_the_rule_of_a_place_must_enter_the_secret_again() {
    let with_rule = |pattern: &str, default: Value| {
        json!({
            "variables": { "home": { "from": "token", "at": "/instance", "pattern": pattern, "default": default } },
            "request": { "base_url": "{home}/api/" },
        })
    };
    let scene = Scene::with(&with_rule("https://[a-z0-9]+[.]acme[.]example", Value::Null));
    let destinations = scene.client().destinations;
    let begin = |scene: &Scene| {
        scene.world.run(async { start::start(&scene.world.core(), &scene.wish(), BROWSER).await.map(|_| ()) })
    };
    assert!(begin(&scene).is_ok());
    scene.revise(&with_rule("https://.*", json!("https://evil.example")));
    assert_eq!(scene.client().destinations, destinations);
    assert_eq!(begin(&scene).unwrap_err().code, Code::ClientMissing);
}

#[test]
fn a_client_at_another_server_is_another_client_and_the_old_one_goes_on() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let moved = |path: &str| format!("https://new.example/{path}");
    scene.revise(&json!({
        "auth": { "authorize_url": moved("authorize"), "token_url": moved("token"), "revoke_url": null },
        "identity": { "url": moved("me") },
    }));
    let (old, before) = (scene.client(), scene.world.acme.addresses().len());
    scene.enter_secret("a newer secret");
    assert_eq!(scene.client().sealed_secret, old.sealed_secret, "the secret of the old server stays as it was");
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    let asked = scene.world.acme.addresses().split_off(before);
    assert!(!asked.is_empty() && asked.iter().all(|url| url.starts_with("https://acme.example/")), "{asked:?}");
    assert_eq!(scene.row(&id).status, Status::Connected);
}

// ---- ends that are known beforehand ----

#[test]
fn an_end_is_known_from_the_consent_and_put_off_by_use() {
    let scene = Scene::with(&json!({ "auth": { "refresh_token_idle": 864_000, "grant_lifetime": 2_592_000 } }));
    let id = scene.connect("ann");
    let connected = scene.row(&id).connected_at;
    let left = |end: Option<Timestamp>| end.unwrap().since(connected);
    assert_eq!((left(scene.row(&id).refresh_idle_until), left(scene.row(&id).grant_expires_at)), (864_000, 2_592_000));
    scene.world.pass(500_000);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    let row = scene.row(&id);
    assert!(left(row.refresh_idle_until) >= 1_364_000, "use puts it off");
    assert_eq!(left(row.grant_expires_at), 2_592_000, "nothing puts that off but a person");
    assert_eq!(row.ends_for_good_at(), row.refresh_idle_until);
    scene.connect("bob");
    assert_eq!(scene.world.db.number("SELECT count(*) FROM connections WHERE grant_expires_at IS NOT NULL"), 2);
}

#[test]
fn the_clock_keeps_alive_what_ends_for_want_of_use() {
    const HOUR: i64 = 3600;
    let cases = [
        (json!({ "refresh_token_idle": 12 * HOUR }), HOUR, 3 * 24, 12),
        (json!({ "refresh_token_lifetime": 12 * HOUR }), HOUR, 3 * 24, 12),
        (json!({ "refresh_token_idle": 5 * 24 * HOUR }), 90 * 24 * HOUR, 20 * 24, 10),
        (json!({ "refresh_token_idle": 90 * 24 * HOUR }), 400 * 24 * HOUR, 200 * 24, 4),
    ];
    for (ends, access, hours, most) in cases {
        let scene = Scene::with(&json!({ "auth": ends }));
        scene.world.acme.expires_in.set(Some(access));
        let id = scene.connect("ann");
        for hour in 0..hours {
            scene.world.pass(HOUR);
            scene.tick();
            let end = scene.row(&id).ends_for_good_at().unwrap();
            assert!(end > scene.world.now(), "{ends}: nobody used it, and it ended after {hour} hours");
        }
        let used = scene.world.acme.redemptions().len();
        assert!((2..=most).contains(&used), "{ends}: renewed {used} times");
    }
}

#[test]
fn an_end_that_no_renewal_puts_off_is_not_renewed_against_for_ever() {
    let scene = Scene::with(&json!({ "auth": { "refresh_token_lifetime": 43_200, "rotation": "none" } }));
    scene.world.acme.rotates.set(Rotates::No);
    scene.world.acme.expires_in.set(Some(86_400 * 90));
    let id = scene.connect("ann");
    let end = scene.row(&id).ends_for_good_at();
    for _ in 0..600 {
        scene.world.pass(300);
        scene.tick();
    }
    assert_eq!(scene.row(&id).ends_for_good_at(), end);
    let used = scene.world.acme.redemptions().len();
    assert!(used <= 16, "renewed {used} times in two days, the end being after half a day");
}

// ---- scopes ----

#[test]
fn what_a_scope_includes_is_granted_with_it_and_what_is_never_named_is_not_missed() {
    let scene = Scene::with(&json!({
        "scopes": [{ "id": "all", "includes": ["read"] }, "read", { "id": "offline", "answered": false }],
    }));
    *scene.world.acme.grants_scopes.borrow_mut() = Some("all".into());
    let id = scene.connect("ann");
    let row = scene.row(&id);
    assert_eq!((row.missing_scopes().len(), row.scopes_granted.len()), (0, 3));
    assert!(scene.resolve(&id, Ask { scopes: vec!["read".into()], ..Ask::default() }).is_ok());
    scene.world.acme.next("/token", Reply::edited(|body| body["scope"] = "read".into()));
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    assert_eq!(scene.row(&id).missing_scopes(), ["all"]);
}

/// What a flow asks for, as the authorize URL has it.
fn asked_for(scene: &Scene, wish: &Wish) -> BTreeMap<String, String> {
    url::Url::parse(&scene.start(wish, BROWSER)).unwrap().query_pairs().into_owned().collect()
}

#[test]
fn an_app_that_adds_to_what_it_granted_is_asked_for_the_rest_only() {
    let adds = json!({ "auth": { "more_scopes_params": { "include_granted": "true" } }, "scopes": [{ "id": "me", "required": true }, "read"] });
    for (definition, scope) in [(adds, "me admin"), (json!({}), "read write admin")] {
        let scene = Scene::with(&definition);
        let id = scene.connect("ann");
        let more = Wish { scopes: Some(vec!["admin".into()]), ..scene.repair_of(&id) };
        let asked = asked_for(&scene, &more);
        assert_eq!((asked["scope"].as_str(), asked.contains_key("include_granted")), (scope, scope.starts_with("me")));
        scene.world.acme.withdraw("ann");
        scene.expire(&id);
        assert_eq!(scene.need(&id), ErrandOutcome::Dead);
        assert!(asked_for(&scene, &more)["scope"].contains("read"), "nothing is granted any more: all is asked for");
    }
}

#[test]
fn a_person_who_ticks_fewer_permissions_gets_fewer_and_keeps_the_connection() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let fewer = Wish { scopes: Some(vec!["read".into()]), exactly: true, ..scene.repair_of(&id) };
    let flow = scene.flow(&fewer, "ann");
    assert_eq!(flow.connection, Some(id.clone()));
    let row = scene.row(&id);
    assert_eq!((row.scopes_requested, row.scopes_granted), (vec!["read".to_owned()], vec!["read".to_owned()]));
}

#[test]
fn what_a_key_may_do_is_not_known_and_so_not_missing() {
    let scene = key_scene();
    let key = enter(&scene, "api_key", &[("api_key", "live_abc")]);
    let ask = Ask { scopes: vec!["read".into()], ..Ask::default() };
    assert!(scene.resolve(&key, ask.clone()).is_ok());
    let edge = Ask { consistency: Consistency::Edge, ..ask };
    scene.resolve_fully(&key, edge.clone()).unwrap();
    assert_eq!(scene.resolve(&key, edge).unwrap().resolved.source, Source::Cache);
}

// ---- the trial of a client ----

#[test]
fn a_client_is_tried_before_anybody_connects() {
    for (reply, verdict) in [
        (None, Verdict::Accepted),
        (Some(Reply::status(401, r#"{"error":"invalid_client"}"#)), Verdict::Refused),
        (Some(Reply::status(400, r#"{"error":"unauthorized_client"}"#)), Verdict::Misconfigured),
        (Some(Reply::status(400, r#"{"error":"what_is_this"}"#)), Verdict::Unclear),
        (Some(Reply::status(500, "")), Verdict::Unreachable),
        (Some(Reply::error(HttpError::Network)), Verdict::Unreachable),
    ] {
        let scene = Scene::new();
        scene.world.acme.always("/token", reply);
        let app = {
            let core = scene.world.core();
            let current = scene.world.run(async {
                connections::registry::current(&core, &scene.workspace, &scene.app).await.unwrap().unwrap()
            });
            current.definition.way(None).unwrap()
        };
        let (core, client) = (scene.world.core(), scene.client());
        let told = scene.world.run(async { trial::of_client(&core, &app, &client, &BTreeMap::new()).await.unwrap() });
        assert_eq!(told.verdict, verdict);
        assert!(told.redirect_uri.ends_with(scene.client.as_str()));
        assert_eq!(scene.client().misconfigured.is_some(), verdict == Verdict::Refused);
    }
}
