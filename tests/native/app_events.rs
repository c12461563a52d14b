//! Events that apps send: what is accepted, what follows from it, and that nothing follows from anything else.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use connections::caller::KeyScope;
use connections::http::{self, Body, Method, Request, Response};
use connections::ids::{ClientId, ConnectionId};
use connections::ports::{AppResponse, OutboundRequest, RateLimit};
use connections::resolve::deferred;
use connections::store::clients;
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, make_key, request};
use crate::identity;
use crate::support::acme::{CLIENT_ID, text_response};
use crate::support::fixture::merge_patch;
use crate::support::{Fault, FaultRule, Fixture, Reply};

const SECRET: &str = "canary-event-secret-1";
const OTHER_SECRET: &str = "canary-event-secret-2";

/// An app that signs the time of sending.
fn events_definition() -> Value {
    json!({ "events": {
        "signature": {
            "scheme": "hmac-sha256", "header": "X-Acme-Signature", "prefix": "v1=", "signed": "{timestamp}.{body}",
            "timestamp_header": "X-Acme-Time", "tolerance": 300, "secret": "The app's signing secret.",
        },
        "challenge": { "method": "GET", "query": "challenge" },
        "event_type": ["{/type}"],
        "access_ended": ["access.revoked"],
        "account": [{ "value": "id-{/accounts}" }],
    } })
}

/// One that does not.
fn timeless_definition() -> Value {
    json!({ "events": {
        "signature": { "scheme": "hmac-sha256", "header": "X-Acme-Signature", "prefix": "v1=", "secret": "s" },
        "event_type": ["{/type}"], "access_ended": ["access.revoked"], "account": [{ "value": "id-{/accounts}" }],
    } })
}

fn put_client(fixture: &Fixture, body: &Value) -> (u16, Value) {
    let mut whole = json!({ "client_id": CLIENT_ID });
    for (name, value) in body.as_object().unwrap() {
        whole[name] = value.clone();
    }
    call(fixture, &first_key(fixture), Method::Put, "/v1/apps/acme/client", &whole)
}

/// A workspace whose client has the secret, and the path of its events.
fn set_up(definition: &Value) -> (Fixture, String) {
    let fixture = Fixture::with_definition(definition);
    let (status, client) = put_client(&fixture, &json!({ "event_secret": SECRET }));
    assert_eq!(status, 200, "{client}");
    let url = client["events_url"].as_str().unwrap();
    let path = url.strip_prefix("https://c.example.com").unwrap_or_else(|| panic!("{url}"));
    let path = path.to_owned();
    (fixture, path)
}

fn sign(secret: &str, text: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text.as_bytes());
    to_header(tag.as_ref())
}

fn to_header(tag: &[u8]) -> String {
    tag.iter().fold("v1=".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn event_request(path: &str, body: &str, headers: &[(&str, &str)]) -> Request {
    let mut event = request(Method::Post, path, body.as_bytes().to_vec());
    event.headers = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect();
    event
}

fn signed_at(path: &str, body: &str, secret: &str, time: i64) -> Request {
    let signature = sign(secret, &format!("{time}.{body}"));
    event_request(path, body, &[("X-Acme-Signature", &signature), ("X-Acme-Time", &time.to_string())])
}

fn signed(fixture: &Fixture, path: &str, body: &str) -> Request {
    signed_at(path, body, SECRET, fixture.world.now().unix())
}

fn timeless(path: &str, body: &str) -> Request {
    event_request(path, body, &[("X-Acme-Signature", &sign(SECRET, body))])
}

/// Sends a request, and does what is left for after the answer.
fn send(fixture: &Fixture, sent: &Request) -> Response {
    fixture.world.run(async {
        let context = fixture.world.context();
        let mut response = http::handle(&context, sent).await;
        for task in std::mem::take(&mut response.deferred) {
            deferred::run(&context, task).await;
        }
        response
    })
}

fn revocation(accounts: &[&str]) -> String {
    json!({ "type": "access.revoked", "accounts": accounts }).to_string()
}

/// What is stored, without what the clock of a scheduled run changes.
fn stored(fixture: &Fixture) -> String {
    fixture.world.db.dump_tables()
}

fn assert_refused(fixture: &Fixture, sent: &Request, why: &str) {
    let (before, asked) = (stored(fixture), fixture.world.acme.count_all_requests());
    let response = send(fixture, sent);
    assert_eq!((response.status, response.body.as_str()), (401, "not accepted\n"), "{why}");
    assert_eq!(stored(fixture), before, "nothing is written: {why}");
    assert_eq!(fixture.world.acme.count_all_requests(), asked, "nothing left: {why}");
}

fn status_of(fixture: &Fixture, id: &ConnectionId) -> String {
    fixture.load_connection(id).status.as_str().to_owned()
}

#[test]
fn an_event_that_says_that_access_ended_leads_to_a_check_and_the_app_decides() {
    let (fixture, path) = set_up(&events_definition());
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    fixture.world.advance_clock(60);
    let before = fixture.world.acme.count_requests("/me");
    let response = send(&fixture, &signed(&fixture, &path, &revocation(&["ann"])));
    assert_eq!((response.status, response.body.as_str()), (200, ""));
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 1, "the one connection of the account is checked");
    assert_eq!((status_of(&fixture, &ann), status_of(&fixture, &bob)), ("connected".into(), "connected".into()));

    fixture.world.advance_clock(31);
    fixture.world.acme.script_always("/me", Some(Reply::status(401, "{}")));
    fixture.world.acme.script_always("/token", Some(Reply::status(400, r#"{"error":"invalid_grant"}"#)));
    send(&fixture, &signed(&fixture, &path, &revocation(&["ann", "nobody"])));
    assert_eq!((status_of(&fixture, &ann), status_of(&fixture, &bob)), ("needs_reconnect".into(), "connected".into()));
}

#[test]
fn a_flood_of_events_has_a_connection_checked_once_in_thirty_seconds() {
    let (fixture, path) = set_up(&events_definition());
    fixture.connect("ann");
    fixture.world.advance_clock(60);
    let before = fixture.world.acme.count_requests("/me");
    for number in 0..50 {
        let body = json!({ "type": "access.revoked", "accounts": ["ann"], "number": number }).to_string();
        assert_eq!(send(&fixture, &signed(&fixture, &path, &body)).status, 200);
    }
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 1);
    fixture.world.advance_clock(31);
    send(&fixture, &signed(&fixture, &path, &revocation(&["ann"])));
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 2);
}

#[test]
fn a_check_that_did_not_happen_behind_the_answer_is_made_by_the_scheduled_run() {
    let (fixture, path) = set_up(&events_definition());
    let id = fixture.connect("ann");
    fixture.world.advance_clock(60);
    let sent = signed(&fixture, &path, &revocation(&["ann"]));
    let response = fixture.world.run(async { http::handle(&fixture.world.context(), &sent).await });
    assert_eq!((response.status, response.deferred.len()), (200, 1));
    let before = fixture.world.acme.count_requests("/me");
    assert_eq!(fixture.load_connection(&id).next_check_at, Some(fixture.world.now()));
    fixture.run_scheduled();
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 1);
}

#[test]
fn other_events_are_accepted_and_lead_to_no_check() {
    let (fixture, path) = set_up(&events_definition());
    fixture.connect("ann");
    fixture.world.advance_clock(60);
    let asked = fixture.world.acme.count_all_requests();
    for body in [r#"{"type":"message","accounts":["ann"]}"#, r#"{"type":["access.revoked"]}"#, "[]", "not JSON", ""] {
        let response = send(&fixture, &signed(&fixture, &path, body));
        assert_eq!(response.status, 200, "{body}");
    }
    let ended = fixture.world.acme.count_all_requests() - asked;
    assert!(ended <= 1, "a list of types is read as several: {ended}");
}

#[test]
fn an_event_without_an_account_has_the_few_connections_of_the_client_checked_and_never_many() {
    let (fixture, path) = set_up(&events_definition());
    for number in 0..3 {
        fixture.connect(&format!("user-{number}"));
    }
    fixture.world.advance_clock(60);
    let before = fixture.world.acme.count_requests("/me");
    send(&fixture, &signed(&fixture, &path, r#"{"type":"access.revoked"}"#));
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 3);
    for number in 3..30 {
        fixture.connect(&format!("user-{number}"));
    }
    fixture.world.advance_clock(60);
    let before = fixture.world.acme.count_all_requests();
    send(&fixture, &signed(&fixture, &path, r#"{"type":"access.revoked"}"#));
    assert_eq!(fixture.world.acme.count_all_requests() - before, 0);
    assert_eq!(fixture.world.log.count_events("app_event_names_no_account"), 1);
}

#[test]
fn what_is_not_the_apps_gets_one_answer_writes_nothing_and_sends_nothing() {
    let (fixture, path) = set_up(&events_definition());
    fixture.connect("ann");
    fixture.world.advance_clock(600);
    let (now, body) = (fixture.world.now().unix(), revocation(&["ann"]));
    let good = signed_at(&path, &body, SECRET, now);
    let changed = |change: fn(&mut Request)| {
        let mut sent = good.clone();
        change(&mut sent);
        sent
    };
    let with_body = |text: &str| Request { body: Body::Bytes(text.as_bytes().to_vec()), ..good.clone() };
    let reordered = json!({ "accounts": ["ann"], "type": "access.revoked" }).to_string().replace(',', ", ");
    let unknown = "/hooks/cli_00AAAAAAAAAAAAAAAAAAAAAA";
    for (why, sent) in [
        ("wrong secret", signed_at(&path, &body, OTHER_SECRET, now)),
        ("empty secret", signed_at(&path, &body, "", now)),
        ("unsigned", event_request(&path, &body, &[])),
        ("signature of another event", with_body(&revocation(&["bob"]))),
        ("truncated", with_body(body.strip_suffix('}').unwrap())),
        ("written again", with_body(&reordered)),
        (
            "in another encoding",
            Request { body: Body::Bytes(body.encode_utf16().flat_map(u16::to_le_bytes).collect()), ..good.clone() },
        ),
        ("with a BOM", with_body(&format!("\u{feff}{body}"))),
        ("replayed after the window", signed_at(&path, &body, SECRET, now - 301)),
        ("of the future", signed_at(&path, &body, SECRET, now + 301)),
        ("another time than signed", changed(|sent| sent.headers[1].1 = "1".into())),
        ("without a time", changed(|sent| drop(sent.headers.remove(1)))),
        ("half a signature", changed(|sent| sent.headers[0].1.truncate(35))),
        ("signature in Base64", changed(|sent| sent.headers[0].1 = "v1=AAAA".into())),
        ("another scheme's header", changed(|sent| sent.headers[0].0 = "x-hub-signature".into())),
        ("unknown client", Request { path: unknown.into(), ..good.clone() }),
        ("no client id", Request { path: "/hooks/acme".into(), ..good.clone() }),
        ("a GET without a challenge", Request { method: Method::Get, ..good.clone() }),
    ] {
        assert_refused(&fixture, &sent, why);
    }
    assert_eq!(fixture.world.log.count_events("app_event_refused"), 18, "each is a line of the log");
    assert!(!fixture.world.log.dump_lines().contains("canary"));
    for method in [Method::Put, Method::Patch, Method::Delete, Method::Other] {
        let before = stored(&fixture);
        let response = send(&fixture, &Request { method, ..good.clone() });
        assert_eq!((response.status, response.header("allow")), (405, Some("POST, GET, HEAD")));
        assert_eq!(stored(&fixture), before);
    }
    let huge = send(&fixture, &Request { body: Body::TooLarge, ..good.clone() });
    assert_eq!(huge.status, 413);
    assert_eq!(send(&fixture, &good).status, 200, "the very event is accepted");
}

#[test]
fn without_a_secret_nothing_is_accepted() {
    let (fixture, path) = set_up(&events_definition());
    let body = revocation(&["ann"]);
    assert_eq!(send(&fixture, &signed(&fixture, &path, &body)).status, 200);
    let (status, client) = put_client(&fixture, &json!({ "event_secret": null }));
    assert_eq!((status, client["has_event_secret"].as_bool()), (200, Some(false)));
    assert_refused(&fixture, &signed(&fixture, &path, &body), "removed");
    let challenge = Request { method: Method::Get, query: "challenge=x".into(), ..event_request(&path, "", &[]) };
    assert_refused(&fixture, &challenge, "a challenge without a secret");
}

#[test]
fn an_app_that_signs_with_the_clients_secret_needs_no_other_one() {
    let mut definition = timeless_definition();
    definition["events"]["signature"]["is_client_secret"] = json!(true);
    let fixture = Fixture::with_definition(&definition);
    let secret = fixture.world.acme.client_secret.borrow().clone();
    let (_, client) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/apps/acme/client", &Value::Null);
    assert_eq!(client["has_event_secret"], false);
    let path = format!("/hooks/{}", client["id"].as_str().unwrap());
    let body = r#"{"type":"message"}"#;
    let sent = event_request(&path, body, &[("X-Acme-Signature", &sign(&secret, body))]);
    assert_eq!(send(&fixture, &sent).status, 200);
    assert_eq!(put_client(&fixture, &json!({ "client_secret": secret, "event_secret": OTHER_SECRET })).0, 200);
    let other = event_request(&path, "{}", &[("X-Acme-Signature", &sign(&secret, "{}"))]);
    assert_refused(&fixture, &other, "one that is set counts alone");
}

#[test]
fn two_secrets_are_valid_while_one_takes_the_place_of_the_other() {
    let (fixture, path) = set_up(&events_definition());
    let by = |secret: &str| {
        fixture.world.advance_clock(1);
        send(&fixture, &signed_at(&path, "{}", secret, fixture.world.now().unix())).status
    };
    assert_eq!((by(SECRET), by(OTHER_SECRET)), (200, 401));
    assert_eq!(put_client(&fixture, &json!({ "event_secret": [OTHER_SECRET, SECRET] })).0, 200);
    assert_eq!((by(SECRET), by(OTHER_SECRET)), (200, 200));
    assert_eq!(put_client(&fixture, &json!({})).0, 200, "whoever does not name it keeps it");
    assert_eq!((by(SECRET), by(OTHER_SECRET)), (200, 200));
    assert_eq!(put_client(&fixture, &json!({ "event_secret": OTHER_SECRET })).0, 200);
    assert_eq!((by(SECRET), by(OTHER_SECRET)), (401, 200));
    assert!(!fixture.world.db.dump_tables().contains("canary-event-secret"), "they are sealed");
    let (_, events) =
        call(&fixture, &first_key(&fixture), Method::Get, "/v1/events?type=event_secret_changed", &Value::Null);
    assert_eq!(events["data"].as_array().unwrap().len(), 3, "one line for each change: {events}");
}

#[test]
fn a_secret_that_can_not_be_one_is_refused_and_never_repeated() {
    let fixture = Fixture::with_definition(&events_definition());
    for (secret, said) in [
        (json!(""), "missing"),
        (json!([]), "empty list"),
        (json!(vec!["a"; 21]), "over 20"),
        (json!("x".repeat(513)), "over 512"),
        (json!("canary\nsecond"), "event_secret"),
        (json!("canäry"), "event_secret"),
        (json!(7), "event_secret"),
        (json!([["canary"]]), "event_secret"),
    ] {
        let (status, problem) = put_client(&fixture, &json!({ "event_secret": secret }));
        assert_eq!(status, 422, "{secret}: {problem}");
        assert!(problem.to_string().contains(said), "{secret}: {problem}");
        assert!(!problem.to_string().contains("canary"), "{problem}");
    }
    let silent = Fixture::new();
    let (status, problem) = put_client(&silent, &json!({ "event_secret": SECRET }));
    assert_eq!(status, 422);
    assert!(problem["detail"].as_str().unwrap().contains("does not describe its events"), "{problem}");
    let (_, client) = put_client(&silent, &json!({}));
    assert_eq!((&client["events_url"], &client["has_event_secret"]), (&Value::Null, &json!(false)));
}

#[test]
fn a_replay_without_a_signed_time_is_known_for_a_day() {
    let (fixture, path) = set_up(&timeless_definition());
    fixture.connect("ann");
    fixture.world.advance_clock(60);
    let before = fixture.world.acme.count_requests("/me");
    let sent = timeless(&path, &revocation(&["ann"]));
    assert_eq!(send(&fixture, &sent).status, 200);
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 1);
    for _ in 0..5 {
        fixture.world.advance_clock(3600);
        let (stored_before, asked) = (stored(&fixture), fixture.world.acme.count_all_requests());
        assert_eq!(send(&fixture, &sent).status, 200, "the app, if it is the app, is not to send it again");
        assert_eq!(
            (stored(&fixture), fixture.world.acme.count_all_requests()),
            (stored_before, asked),
            "nothing happens"
        );
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM seen_app_events"), 1);
    fixture.world.advance_clock(86_400);
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM seen_app_events"), 0, "it is forgotten");
}

#[test]
fn an_event_that_could_not_be_stored_is_sent_again_by_the_app() {
    let (fixture, path) = set_up(&timeless_definition());
    fixture.connect("ann");
    fixture.world.advance_clock(60);
    let sent = timeless(&path, &revocation(&["ann"]));
    for (statement_part, fault) in
        [("INSERT INTO seen_app_events", Fault::BeforeCommit), ("FROM oauth_clients c", Fault::BeforeCommit)]
    {
        fixture.world.db.fault_rules.borrow_mut().push(FaultRule { statement_part, times: 1, fault });
        assert_eq!(send(&fixture, &sent).status, 503);
    }
    let before = fixture.world.acme.count_requests("/me");
    assert_eq!(send(&fixture, &sent).status, 200);
    assert_eq!(fixture.world.acme.count_requests("/me") - before, 1, "it did not count as seen");
}

#[test]
fn a_challenge_is_echoed_as_text_and_can_not_become_a_page() {
    let (fixture, path) = set_up(&events_definition());
    let before = stored(&fixture);
    let ask = |query: &str| {
        let sent = Request {
            method: Method::Get,
            query: query.into(),
            ..event_request(&path, "", &[("accept", "text/html")])
        };
        send(&fixture, &sent)
    };
    let response = ask("challenge=%3Cscript%3Ealert(1)%3C%2Fscript%3E&other=1");
    assert_eq!((response.status, response.body.as_str()), (200, "<script>alert(1)</script>"));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert!(response.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert_eq!(ask(&format!("challenge={}", "a".repeat(1024))).status, 200);
    for refused in
        ["challenge=", "Challenge=a", "challenge=%0d%0aset-cookie:a=b", &format!("challenge={}", "a".repeat(1025))]
    {
        let response = ask(refused);
        assert_eq!((response.status, response.body.as_str()), (401, "not accepted\n"), "{refused}");
    }
    assert_eq!(stored(&fixture), before);
}

#[test]
fn events_of_one_workspace_touch_no_other_one() {
    let (fixture, path) = set_up(&events_definition());
    let other = Fixture::in_world(&fixture.world, &events_definition());
    let (mine, theirs) = (fixture.connect("ann"), other.connect("ann"));
    fixture.world.advance_clock(60);
    fixture.world.acme.script_always("/me", Some(Reply::status(401, "{}")));
    fixture.world.acme.script_always("/token", Some(Reply::status(400, r#"{"error":"invalid_grant"}"#)));
    send(&fixture, &signed(&fixture, &path, &revocation(&["ann"])));
    assert_eq!(
        (status_of(&fixture, &mine), status_of(&other, &theirs)),
        ("needs_reconnect".into(), "connected".into())
    );
    let (_, client) = put_client(&other, &json!({ "event_secret": OTHER_SECRET }));
    let theirs = format!("/hooks/{}", client["id"].as_str().unwrap());
    assert_refused(&fixture, &signed(&fixture, &theirs, "{}"), "the secret of another workspace");
}

#[test]
fn events_are_counted_by_address_before_the_database_is_read() {
    let (fixture, path) = set_up(&events_definition());
    let fixture = fixture.in_one_isolate();
    fixture.world.rate_counts.enabled.set(true);
    let mut sent = event_request(&path, "{}", &[("cf-connecting-ip", "192.0.2.7")]);
    for _ in 0..RateLimit::AppEvents.quota() {
        assert_eq!(send(&fixture, &sent).status, 401);
    }
    fixture.world.db.reset_counts();
    let response = send(&fixture, &sent);
    assert_eq!((response.status, response.header("retry-after")), (429, Some("60")));
    assert_eq!(fixture.world.db.round_trips.get(), 0);
    sent.headers[0].1 = "192.0.2.8".into();
    assert_eq!(send(&fixture, &sent).status, 401, "others go on");
}

#[test]
fn a_push_of_google_is_accepted_from_the_named_sender_alone() {
    const SENDER: &str = "push@project.iam.gserviceaccount.com";
    let fixture = Fixture::new().in_one_isolate();
    let put = json!({ "client_id": "1-a.apps.googleusercontent.com", "client_secret": "x", "event_secret": SENDER });
    let (status, client) = call(&fixture, &first_key(&fixture), Method::Put, "/v1/apps/gmail/client", &put);
    assert_eq!(status, 200, "{client}");
    *fixture.world.acme.foreign_responder.borrow_mut() = Some(Box::new(|request| {
        assert_eq!(request.url.as_str(), "https://www.googleapis.com/oauth2/v3/certs");
        text_response(200, &json!({ "keys": [identity::rsa_jwk("a")] }).to_string(), vec![])
    }));
    let (now, url) = (fixture.world.now().unix(), client["events_url"].as_str().unwrap());
    let path = format!("/hooks/{}", client["id"].as_str().unwrap());
    let push = |number: i64, patch: &Value| {
        // https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
        let mut claims = json!({
            "aud": url, "azp": "113774264463038321964", "email": SENDER, "sub": "113774264463038321964",
            "email_verified": true, "exp": now + 3600, "iat": now, "iss": "https://accounts.google.com",
        });
        merge_patch(&mut claims, patch);
        let token = identity::sign(&fixture, &identity::header(), &claims.to_string());
        let data = STANDARD.encode(r#"{"emailAddress":"ann@example.com","historyId":"1"}"#);
        let body = json!({ "message": { "data": data, "messageId": number.to_string() } }).to_string();
        event_request(&path, &body, &[("authorization", &format!("Bearer {token}"))])
    };
    assert_eq!(send(&fixture, &push(1, &json!({}))).status, 200);
    for patch in [
        json!({ "email": "attacker@other.iam.gserviceaccount.com" }),
        json!({ "email_verified": false }),
        json!({ "email": null }),
        json!({ "aud": "https://c.example.com/hooks/cli_other" }),
        json!({ "iss": "https://attacker.example" }),
        json!({ "exp": now - 100 }),
        json!({ "iat": now + 600 }),
    ] {
        assert_refused(&fixture, &push(2, &patch), &patch.to_string());
    }
    let mut unsigned = push(2, &json!({}));
    let cut = unsigned.headers[0].1.len() - 4;
    unsigned.headers[0].1.truncate(cut);
    assert_refused(&fixture, &unsigned, "half a signature");
    assert_eq!(send(&fixture, &push(2, &json!({}))).status, 200);
}

// ---- public keys, tokens, and secrets in the address ----

/// A client of a catalogue app with this secret, and the path of its events.
fn put_catalogue_client(fixture: &Fixture, app: &str, body: &Value) -> String {
    let (status, client) = call(fixture, &first_key(fixture), Method::Put, &format!("/v1/apps/{app}/client"), body);
    assert_eq!(status, 200, "{client}");
    format!("/hooks/{}", client["id"].as_str().unwrap())
}

fn cut_last(text: &mut String) {
    text.pop();
}

/// What a forger may do with an event that was accepted: none of it is.
fn assert_no_forgery_passes(fixture: &Fixture, good: &Request, signature: usize) {
    let changed = |change: &dyn Fn(&mut Request)| {
        let mut sent = good.clone();
        change(&mut sent);
        sent
    };
    let Body::Bytes(bytes) = &good.body else { panic!() };
    let mut longer = bytes.clone();
    longer.push(b' ');
    for (why, sent) in [
        ("one byte more", changed(&|sent| sent.body = Body::Bytes(longer.clone()))),
        ("an empty body", changed(&|sent| sent.body = Body::Bytes(vec![]))),
        ("without its signature", changed(&|sent| drop(sent.headers.remove(signature)))),
        ("an empty signature", changed(&|sent| sent.headers[signature].1.clear())),
        ("a signature that is cut", changed(&|sent| cut_last(&mut sent.headers[signature].1))),
        ("the same header twice", changed(&|sent| sent.headers.push(sent.headers[signature].clone()))),
        ("an unknown client", changed(&|sent| sent.path = "/hooks/cli_00AAAAAAAAAAAAAAAAAAAAAA".into())),
        ("a GET", changed(&|sent| sent.method = Method::Get)),
    ] {
        assert_refused(fixture, &sent, why);
    }
    let (before, asked) = (stored(fixture), fixture.world.acme.count_all_requests());
    assert_eq!(send(fixture, &changed(&|sent| sent.body = Body::TooLarge)).status, 413);
    assert_eq!(send(fixture, &changed(&|sent| sent.method = Method::Put)).status, 405);
    assert_eq!((stored(fixture), fixture.world.acme.count_all_requests()), (before, asked));
}

#[test]
fn the_published_example_of_sendgrid_is_accepted_and_no_forgery() {
    // https://github.com/sendgrid/sendgrid-nodejs/blob/main/packages/eventwebhook/src/eventwebhook.spec.js
    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEDr2LjtURuePQzplybdC+u4CwrqDqBaWjcMMsTbhdbcwHBcepxo7yAQGhHPTnlvFYPAZFceEu/1FwCM/QmGUhA==";
    const OTHER_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA==";
    const SIGNATURE: &str =
        "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH2j/0=";
    const TIME: i64 = 1_588_788_367;
    let body = r#"{"category":"example_payload","event":"test_event","message_id":"message_id"}"#;
    let fixture = Fixture::new();
    let path = put_catalogue_client(&fixture, "sendgrid", &json!({ "event_secret": KEY }));
    let headers = [
        ("X-Twilio-Email-Event-Webhook-Signature", SIGNATURE),
        ("X-Twilio-Email-Event-Webhook-Timestamp", "1588788367"),
    ];
    let good = event_request(&path, body, &headers);
    assert_refused(&fixture, &good, "years later");
    fixture.world.advance_clock(TIME + 3600 - fixture.world.now().unix());
    assert_no_forgery_passes(&fixture, &good, 0);
    let later = event_request(&path, body, &[headers[0], (headers[1].0, "1588788368")]);
    assert_refused(&fixture, &later, "another time than signed");
    // Two numbers of the curve's order say nothing, and no number is negative or too long.
    for der in
        ["MAYCAQECAQE=", "MAYCAQACAQA=", "MAA=", "MEUCIQ==", "MCUCIQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA"]
    {
        assert_refused(&fixture, &event_request(&path, body, &[(headers[0].0, der), headers[1]]), der);
    }
    assert_eq!(send(&fixture, &good).status, 200);
    let seen = "SELECT count(*) FROM seen_app_events";
    assert_eq!(fixture.world.db.query_number(seen), 1);
    let before = stored(&fixture);
    assert_eq!((send(&fixture, &good).status, stored(&fixture)), (200, before), "a replay changes nothing");
    put_catalogue_client(&fixture, "sendgrid", &json!({ "event_secret": OTHER_KEY }));
    assert_refused(&fixture, &good, "another key");
    put_catalogue_client(&fixture, "sendgrid", &json!({ "event_secret": [OTHER_KEY, KEY] }));
    assert_eq!(send(&fixture, &good).status, 200);
    for wrong in [json!("MFkw"), json!(KEY.strip_prefix("M").unwrap()), json!([KEY, ""])] {
        let client = "/v1/apps/sendgrid/client";
        let body = json!({ "event_secret": wrong });
        assert_eq!(call(&fixture, &first_key(&fixture), Method::Put, client, &body).0, 422, "{wrong}");
    }
}

#[test]
fn discord_signs_with_its_own_key_and_its_pings_are_answered() {
    // https://docs.discord.com/developers/events/webhook-events
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let hex = |bytes: &[u8]| to_header(bytes).split_off("v1=".len());
    let fixture = Fixture::new();
    let put = json!({
        "client_id": "1", "client_secret": "s", "event_secret": hex(pair.public_key().as_ref()),
    });
    let path = put_catalogue_client(&fixture, "discord", &put);
    let signed_at = |body: &str, time: i64| {
        let signature = hex(pair.sign(format!("{time}{body}").as_bytes()).as_ref());
        let headers = [("X-Signature-Ed25519", signature.as_str()), ("X-Signature-Timestamp", &time.to_string())];
        event_request(&path, body, &headers)
    };
    let now = fixture.world.now().unix();
    let ping = signed_at(r#"{"version":1,"application_id":"1","type":0}"#, now);
    let before = stored(&fixture);
    let response = send(&fixture, &ping);
    assert_eq!((response.status, response.body.as_str()), (204, ""));
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(stored(&fixture), before, "a ping is no event");
    assert_no_forgery_passes(&fixture, &ping, 0);
    let body = r#"{"version":1,"application_id":"1","type":1,"event":{"type":"APPLICATION_DEAUTHORIZED","timestamp":"2024-10-18T14:42:53.064834","data":{"user":{"id":"80351110224678912"}}}}"#;
    let event = signed_at(body, now);
    assert_eq!(send(&fixture, &event).status, 204);
    assert_no_forgery_passes(&fixture, &event, 0);
    assert_refused(&fixture, &signed_at(body, now - 901), "a replay");
    let stranger = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let mut forged = event.clone();
    forged.headers[0].1 = hex(stranger.sign(format!("{now}{body}").as_bytes()).as_ref());
    assert_refused(&fixture, &forged, "signed by somebody else");
}

#[test]
fn a_token_of_monday_is_accepted_once_and_its_challenge_answered() {
    // https://developer.monday.com/apps/docs/authorization-header
    let fixture = Fixture::new();
    let put = json!({ "client_id": "1", "client_secret": "s", "event_secret": SECRET });
    let path = put_catalogue_client(&fixture, "monday", &put);
    let now = fixture.world.now().unix();
    let token = |audience: &str| {
        let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let claims = json!({
            "accountId": 1_825_529, "userId": 4_012_689, "aud": audience, "exp": now + 300, "iat": now,
            "shortLivedToken": "canary-short-lived",
        });
        let signed = format!("{}.{}", part(json!({ "alg": "HS256", "typ": "JWT" })), part(claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let challenge = r#"{"challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}"#;
    let response = send(&fixture, &event_request(&path, challenge, &[]));
    assert_eq!((response.status, response.body.as_str()), (200, challenge));
    let here = token(&format!("https://c.example.com{path}"));
    let event = event_request(&path, r#"{"event":{"type":"create_pulse"}}"#, &[("Authorization", &here)]);
    for (why, audience) in [("another address", "https://c.example.com/hooks/cli_other"), ("nobody", "")] {
        let mut sent = event.clone();
        sent.headers[0].1 = token(audience);
        assert_refused(&fixture, &sent, why);
    }
    assert_eq!(send(&fixture, &event).status, 200);
    let before = stored(&fixture);
    assert_eq!((send(&fixture, &event).status, stored(&fixture)), (200, before), "a replay changes nothing");
    fixture.world.advance_clock(361);
    assert_refused(&fixture, &event, "its time is over");
    assert!(!fixture.world.log.dump_lines().contains("canary"));
}

#[test]
fn a_secret_in_the_address_is_in_no_log_and_no_table() {
    // https://mailchimp.com/developer/marketing/guides/sync-audience-data-webhooks/
    let fixture = Fixture::new();
    let put = json!({ "client_id": "1", "client_secret": "s", "event_secret": SECRET });
    let path = put_catalogue_client(&fixture, "mailchimp", &put);
    let at = |query: &str, method: Method| Request {
        method,
        query: query.to_owned(),
        ..event_request(&path, "type=subscribe", &[("content-type", "application/x-www-form-urlencoded")])
    };
    let right = format!("secret={SECRET}");
    assert_eq!(send(&fixture, &at(&right, Method::Get)).status, 200, "Mailchimp asks whether there is anybody");
    assert_eq!(send(&fixture, &at(&right, Method::Post)).status, 200);
    for query in
        ["", "secret=", "secret=canary-event-secret-", "secret=canary-event-secret-2", "SECRET=canary-event-secret-1"]
    {
        assert_refused(&fixture, &at(query, Method::Post), query);
    }
    assert!(!fixture.world.log.dump_lines().contains("canary"));
    assert!(!stored(&fixture).contains("canary"));
}

// ---- handshakes that have the secret ----

/// An app that sends the secret in a header, and one that sends it in the body.
fn handshake_definition(place: &Value) -> Value {
    let mut definition = timeless_definition();
    definition["events"]["secret_handshake"] = place.clone();
    definition
}

/// An app whose client has no event secret, and the path of its events.
fn set_up_handshake(place: &Value) -> (Fixture, String) {
    let fixture = Fixture::with_definition(&handshake_definition(place));
    let (_, client) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/apps/acme/client", &Value::Null);
    let path = format!("/hooks/{}", client["id"].as_str().unwrap());
    (fixture, path)
}

const HANDSHAKE: &str = "/v1/apps/acme/client/handshake";

fn open_handshake(fixture: &Fixture) -> String {
    let (status, opened) = call(fixture, &first_key(fixture), Method::Post, HANDSHAKE, &Value::Null);
    assert_eq!(status, 200, "{opened}");
    opened["events_url"].as_str().unwrap().split_once('?').unwrap().1.to_owned()
}

fn handshake(path: &str, query: &str, secret: &str) -> Request {
    Request { query: query.to_owned(), ..event_request(path, "{}", &[("X-Acme-Secret", secret)]) }
}

const SENT_SECRET: &str = "canary-sent-secret-0123456789";
const STRANGERS_SECRET: &str = "canary-strangers-secret-01234";

#[test]
fn a_secret_that_an_app_sends_is_taken_at_an_address_that_was_asked_for_and_nowhere_else() {
    let (fixture, path) = set_up_handshake(&json!({ "header": "X-Acme-Secret" }));
    let body = r#"{"type":"message"}"#;
    let forged = event_request(&path, body, &[("X-Acme-Signature", &sign(STRANGERS_SECRET, body))]);
    assert_refused(&fixture, &handshake(&path, "", STRANGERS_SECRET), "nobody asked for it");
    assert_refused(&fixture, &handshake(&path, "handshake=made-up", STRANGERS_SECRET), "a made-up token");
    let before = stored(&fixture);
    let query = open_handshake(&fixture);
    assert_eq!(stored(&fixture), before, "an address is no row");
    assert_refused(&fixture, &handshake(&path, "", STRANGERS_SECRET), "asked for, but at another address");
    let short = query.get(..query.len() - 1).unwrap();
    assert_refused(&fixture, &handshake(&path, short, STRANGERS_SECRET), "a part of the token");
    for odd in ["", "short", "with a space in it 0123456789", &"x".repeat(513)] {
        assert_refused(&fixture, &handshake(&path, &query, odd), odd);
    }
    let taken = send(&fixture, &handshake(&path, &query, SENT_SECRET));
    assert_eq!((taken.status, taken.header("X-Acme-Secret")), (200, Some(SENT_SECRET)), "Asana wants it back");
    let own = |secret: &str, query: &str| Request {
        query: query.to_owned(),
        ..event_request(&path, body, &[("X-Acme-Signature", &sign(secret, body))])
    };
    assert_eq!(send(&fixture, &own(SENT_SECRET, &query)).status, 200, "events come to the same address");
    assert_refused(&fixture, &handshake(&path, &query, STRANGERS_SECRET), "the address was used");
    assert_refused(&fixture, &forged, "signed with the stranger's secret");
    let before = stored(&fixture);
    let again = send(&fixture, &handshake(&path, &query, SENT_SECRET));
    assert_eq!((again.status, stored(&fixture)), (200, before), "the app may repeat itself");
    let (_, client) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/apps/acme/client", &Value::Null);
    assert_eq!(client["has_event_secret"], true);
    let (_, received) = call(&fixture, &first_key(&fixture), Method::Get, HANDSHAKE, &Value::Null);
    assert!(received["received_at"].is_string() && received["secret"].is_null(), "the app told its maker: {received}");
    assert!(!stored(&fixture).contains("canary") && !fixture.world.log.dump_lines().contains("canary"));
    let (_, events) =
        call(&fixture, &first_key(&fixture), Method::Get, "/v1/events?type=event_secret_changed", &Value::Null);
    let line = &events["data"][0];
    assert_eq!(events["data"].as_array().unwrap().len(), 1, "{events}");
    assert_eq!(line["detail"], "received");
    assert!(line["actor"].as_str().unwrap().starts_with("key:"), "whoever asked for the address: {line}");
}

#[test]
fn a_further_secret_stands_beside_those_that_are_set() {
    let (fixture, path) = set_up_handshake(&json!({ "header": "X-Acme-Secret" }));
    assert_eq!(put_client(&fixture, &json!({ "event_secret": SECRET })).0, 200);
    let secrets: Vec<String> = (0..19).map(|number| format!("canary-sent-secret-{number:08}")).collect();
    let queries: Vec<String> = secrets.iter().map(|_| open_handshake(&fixture)).collect();
    for (secret, query) in secrets.iter().zip(&queries) {
        assert_eq!(send(&fixture, &handshake(&path, query, secret)).status, 200, "{secret}");
    }
    for (number, secret) in [SECRET].into_iter().chain(secrets.iter().map(String::as_str)).enumerate() {
        let body = json!({ "type": "message", "number": number }).to_string();
        let sent = event_request(&path, &body, &[("X-Acme-Signature", &sign(secret, &body))]);
        assert_eq!(send(&fixture, &sent).status, 200, "{secret}");
    }
    let (status, problem) = call(&fixture, &first_key(&fixture), Method::Post, HANDSHAKE, &Value::Null);
    assert_eq!((status, problem["code"].as_str()), (409, Some("conflict")), "{problem}");
}

#[test]
fn an_address_for_a_secret_ends_after_an_hour_and_belongs_to_one_client() {
    let (fixture, path) = set_up_handshake(&json!({ "header": "X-Acme-Secret" }));
    let other = Fixture::in_world(&fixture.world, &handshake_definition(&json!({ "header": "X-Acme-Secret" })));
    let (_, client) = call(&other, &first_key(&other), Method::Get, "/v1/apps/acme/client", &Value::Null);
    let theirs = format!("/hooks/{}", client["id"].as_str().unwrap());
    let query = open_handshake(&fixture);
    assert_refused(&fixture, &handshake(&theirs, &query, STRANGERS_SECRET), "the address of another workspace");
    fixture.world.advance_clock(3601);
    assert_refused(&fixture, &handshake(&path, &query, SENT_SECRET), "too late");
    let limited = make_key(&fixture, |key| key.apps = Some(vec![]));
    assert_eq!(call(&fixture, &limited, Method::Post, HANDSHAKE, &Value::Null).0, 404);
    let reader = make_key(&fixture, |key| key.scopes = vec![KeyScope::ConnectionsRead]);
    for method in [Method::Post, Method::Get] {
        assert_eq!(call(&fixture, &reader, method, HANDSHAKE, &Value::Null).0, 403, "a reader sees no secret");
    }
    let silent = Fixture::with_definition(&timeless_definition());
    let (status, problem) = call(&silent, &first_key(&silent), Method::Post, HANDSHAKE, &Value::Null);
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().contains("event_secret"), "{problem}");
}

#[test]
fn a_secret_that_a_person_enters_at_the_app_is_shown_for_an_hour() {
    let (fixture, path) = set_up_handshake(&json!({ "at": "/verification_token" }));
    let show = || call(&fixture, &first_key(&fixture), Method::Get, HANDSHAKE, &Value::Null).1;
    assert_eq!(show(), json!({ "received_at": null, "secret": null }));
    let query = open_handshake(&fixture);
    let body = json!({ "verification_token": SENT_SECRET }).to_string();
    let sent = Request { query, ..event_request(&path, &body, &[]) };
    let response = send(&fixture, &sent);
    assert_eq!((response.status, response.body.as_str()), (200, ""));
    assert_eq!(show()["secret"], SENT_SECRET);
    assert_eq!(put_client(&fixture, &json!({})).0, 200, "whoever does not name it keeps it");
    assert_eq!(show()["secret"], SENT_SECRET);
    fixture.world.advance_clock(3600);
    assert_eq!(show(), json!({ "received_at": null, "secret": null }));
    let query = open_handshake(&fixture);
    let body = json!({ "verification_token": STRANGERS_SECRET }).to_string();
    assert_eq!(send(&fixture, &Request { query, ..event_request(&path, &body, &[]) }).status, 200);
    assert_eq!(put_client(&fixture, &json!({ "event_secret": SECRET })).0, 200);
    assert_eq!(show(), json!({ "received_at": null, "secret": null }), "what was entered is not shown");
}

#[test]
fn a_secret_that_could_not_be_stored_is_sent_again_by_the_app() {
    let (fixture, path) = set_up_handshake(&json!({ "header": "X-Acme-Secret" }));
    let query = open_handshake(&fixture);
    let sent = handshake(&path, &query, SENT_SECRET);
    for fault in [Fault::BeforeCommit, Fault::AfterCommit] {
        let statement_part = "SET sealed_event_secret = ?3, event_secret_received_at";
        fixture.world.db.fault_rules.borrow_mut().push(FaultRule { statement_part, times: 1, fault });
        assert_eq!(send(&fixture, &sent).status, 503, "{fault:?}");
    }
    let response = send(&fixture, &sent);
    assert_eq!((response.status, response.header("X-Acme-Secret")), (200, Some(SENT_SECRET)));
    let body = r#"{"type":"message"}"#;
    let event = event_request(&path, body, &[("X-Acme-Signature", &sign(SENT_SECRET, body))]);
    assert_eq!(send(&fixture, &event).status, 200);
}

// ---- forwarding ----

/// What the webhook of a workspace gets.
fn listen(fixture: &Fixture) -> Rc<RefCell<Vec<Value>>> {
    let got: Rc<RefCell<Vec<Value>>> = Rc::default();
    let own = Rc::clone(&got);
    *fixture.world.acme.interceptor.borrow_mut() = Some(Box::new(move |request: &OutboundRequest| {
        (request.url.host() == "hooks.example").then(|| {
            own.borrow_mut().push(serde_json::from_str(request.body.as_ref().unwrap()).unwrap());
            AppResponse { status: 204, headers: vec![], body: vec![] }
        })
    }));
    let webhook = json!({ "url": "https://hooks.example/in", "types": ["app.event"] });
    let (status, made) = call(fixture, &first_key(fixture), Method::Post, "/v1/webhooks", &webhook);
    assert_eq!(status, 201, "{made}");
    got
}

#[test]
fn other_events_are_forwarded_once_with_their_account_and_the_very_body() {
    let (fixture, path) = set_up(&timeless_definition());
    let (ann, _) = (fixture.connect("ann"), fixture.connect("bob"));
    let got = listen(&fixture);
    let body = r#"{ "type": "message",  "accounts": ["ann"], "text": "canary-of-an-event" }"#;
    let mut sent = timeless(&path, body);
    sent.headers.push(("content-type".into(), "application/json".into()));
    for _ in 0..3 {
        assert_eq!(send(&fixture, &sent).status, 200);
    }
    let data = json!({
        "app": "acme", "account": "id-ann", "connections": [ann], "content_type": "application/json", "body": body,
    });
    assert_eq!(got.borrow().iter().map(|event| event["data"].clone()).collect::<Vec<_>>(), [data]);
    assert!(!fixture.world.db.dump_tables().contains("canary-of-an-event"), "it was never stored in clear");
    send(&fixture, &timeless(&path, &revocation(&["ann"])));
    send(&fixture, &timeless(&path, &revocation(&["nobody"])));
    send(&fixture, &event_request(&path, "{}", &[]));
    assert_eq!(got.borrow().len(), 1, "what ends access is checked, and what is not the app's goes nowhere");
    fixture.world.db.tamper("DELETE FROM subscriptions");
    let before = fixture.world.db.query_number("SELECT count(*) FROM outbox");
    assert_eq!(send(&fixture, &timeless(&path, r#"{"type":"message","n":2}"#)).status, 200);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM outbox"), before, "nobody asks for it");
}

#[test]
fn an_event_that_is_no_text_is_forwarded_in_base64() {
    let (fixture, path) = set_up(&timeless_definition());
    let got = listen(&fixture);
    let body = [0xff, 0x00, 0x41];
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), &body);
    let mut sent = event_request(&path, "", &[("X-Acme-Signature", &to_header(tag.as_ref()))]);
    sent.body = Body::Bytes(body.to_vec());
    assert_eq!(send(&fixture, &sent).status, 200);
    let data = got.borrow()[0]["data"].clone();
    assert_eq!((&data["body"], &data["body_base64"]), (&Value::Null, &json!(STANDARD.encode(body))));
    assert_eq!((&data["account"], &data["connections"]), (&Value::Null, &json!([])));
}

// ---- verification for programs ----

fn verify(fixture: &Fixture, key: &str, sent: &Request) -> Value {
    let Body::Bytes(bytes) = &sent.body else { panic!() };
    let headers: serde_json::Map<_, _> =
        sent.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let body = json!({ "headers": headers, "body_base64": STANDARD.encode(bytes) });
    let (status, answer) = call(fixture, key, Method::Post, "/v1/apps/acme/events/verify", &body);
    assert_eq!(status, 200, "{answer}");
    answer
}

#[test]
fn a_program_that_receives_events_itself_has_them_verified() {
    let (fixture, path) = set_up(&events_definition());
    let (ann, _) = (fixture.connect("ann"), fixture.connect("bob"));
    let key = first_key(&fixture);
    let body = r#"{"type":"message","accounts":["ann"]}"#;
    let good = signed(&fixture, &path, body);
    let expected =
        json!({ "valid": true, "reason": null, "type": "message", "account": "id-ann", "connections": [ann] });
    assert_eq!(verify(&fixture, &key, &good), expected);
    assert_eq!(verify(&fixture, &key, &good)["valid"], true, "until its time is over");
    fixture.world.advance_clock(301);
    let invalid =
        |reason: &str| json!({ "valid": false, "reason": reason, "type": null, "account": null, "connections": [] });
    assert_eq!(verify(&fixture, &key, &good), invalid("wrong_time"));
    assert_eq!(verify(&fixture, &key, &signed_at(&path, body, OTHER_SECRET, 1)), invalid("wrong_signature"));
    assert_eq!(verify(&fixture, &key, &event_request(&path, body, &[])), invalid("unsigned"));
    let both = verify(&fixture, &key, &signed(&fixture, &path, r#"{"type":"message","accounts":["ann","bob"]}"#));
    assert_eq!((&both["account"], both["connections"].as_array().unwrap().len()), (&Value::Null, 2));
    let stranger = verify(&fixture, &key, &signed(&fixture, &path, r#"{"type":"message","accounts":["zoe"]}"#));
    assert_eq!((&stranger["account"], &stranger["connections"]), (&json!("id-zoe"), &json!([])));
}

#[test]
fn a_verified_event_without_a_signed_time_is_valid_once() {
    let (fixture, path) = set_up(&timeless_definition());
    let key = first_key(&fixture);
    let sent = timeless(&path, r#"{"type":"message"}"#);
    assert_eq!(verify(&fixture, &key, &sent)["valid"], true);
    let again = verify(&fixture, &key, &sent);
    assert_eq!((&again["valid"], &again["reason"]), (&json!(false), &json!("repeated")));
}

#[test]
fn a_limited_key_is_told_of_its_own_connections_only() {
    let (fixture, path) = set_up(&events_definition());
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    let limited = make_key(&fixture, |key| key.connections = Some(vec![bob.clone()]));
    let about = |account: &str| {
        let body = json!({ "type": "message", "accounts": [account] }).to_string();
        verify(&fixture, &limited, &signed(&fixture, &path, &body))
    };
    assert_eq!((&about("bob")["account"], &about("bob")["connections"]), (&json!("id-bob"), &json!([bob])));
    let hidden = about("ann");
    assert_eq!(
        (&hidden["valid"], &hidden["account"], &hidden["connections"]),
        (&json!(true), &Value::Null, &json!([]))
    );
    assert!(!hidden.to_string().contains(ann.as_str()));
    let other_app = make_key(&fixture, |key| key.apps = Some(vec![]));
    let body = json!({ "headers": {}, "body_base64": "" });
    assert_eq!(call(&fixture, &other_app, Method::Post, "/v1/apps/acme/events/verify", &body).0, 404);
    let silent = call(&fixture, &first_key(&fixture), Method::Post, "/v1/apps/salesforce/events/verify", &body);
    assert_eq!((silent.0, silent.1["code"].as_str()), (404, Some("not_found")));
}

#[test]
fn an_app_without_an_oauth_client_has_an_address_for_its_events() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let path = "/v1/apps/telegram/client";
    assert_eq!(call(&fixture, &key, Method::Get, path, &Value::Null).0, 409);
    let (status, problem) =
        call(&fixture, &key, Method::Put, path, &json!({ "client_id": "x", "event_secret": SECRET }));
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some("client_id")), "{problem}");
    let (status, client) = call(&fixture, &key, Method::Put, path, &json!({ "event_secret": SECRET }));
    assert_eq!(status, 200, "{client}");
    assert_eq!(
        (&client["client_id"], &client["has_event_secret"], &client["misconfigured"]),
        (&Value::Null, &json!(true), &Value::Null)
    );
    let hook = format!("/hooks/{}", client["id"].as_str().unwrap());
    assert_eq!(
        client["events_url"].as_str().unwrap().rsplit_once("/hooks/").unwrap().1,
        client["id"].as_str().unwrap()
    );
    let header = "X-Telegram-Bot-Api-Secret-Token";
    assert_eq!(send(&fixture, &event_request(&hook, r#"{"update_id":1}"#, &[(header, SECRET)])).status, 200);
    assert_refused(&fixture, &event_request(&hook, r#"{"update_id":1}"#, &[(header, OTHER_SECRET)]), "wrong token");
    let (_, again) = call(&fixture, &key, Method::Put, path, &json!({ "event_secret": OTHER_SECRET }));
    assert_eq!(again["id"], client["id"], "the address stays");
    assert_eq!(call(&fixture, &key, Method::Post, &format!("{path}/test"), &json!({})).0, 409);
    assert_eq!(call(&fixture, &key, Method::Delete, path, &Value::Null).0, 200);
    assert_refused(&fixture, &event_request(&hook, "{}", &[(header, OTHER_SECRET)]), "deleted");
}

#[test]
fn a_deleted_workspace_receives_nothing() {
    let (fixture, path) = set_up(&timeless_definition());
    assert_eq!(send(&fixture, &timeless(&path, "{}")).status, 200);
    let admin = "abcdefghijklmnopqrstuvwxyz0123456789";
    let workspace = format!("/v1/workspaces/{}", fixture.workspace);
    assert_eq!(call(&fixture, admin, Method::Delete, &workspace, &Value::Null).0, 200);
    let sent = timeless(&path, r#"{"type":"x"}"#);
    let response = send(&fixture, &sent);
    assert_eq!((response.status, response.body.as_str()), (401, "not accepted\n"));
    for _ in 0..10 {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM seen_app_events"), 0);
}

// ---- metrics ----

#[test]
fn data_points_tell_what_happened_and_name_no_account() {
    let (fixture, path) = set_up(&events_definition());
    let id = fixture.connect("ann@example.com");
    fixture.world.metrics.bound.set(true);
    let key = first_key(&fixture);
    let resolve = |body: Value| call(&fixture, &key, Method::Post, &format!("/v1/connections/{id}/resolve"), &body);
    assert_eq!(resolve(json!({})).0, 200);
    assert_eq!(resolve(json!({ "scopes": ["admin"] })).0, 409);
    let batch = json!({ "items": [{ "connection": id }] });
    assert_eq!(call(&fixture, &key, Method::Post, "/v1/resolve/batch", &batch).0, 200);
    fixture.expire_access_token(&id);
    fixture.refresh_if_needed(&id);
    fixture.world.advance_clock(60);
    send(&fixture, &signed(&fixture, &path, &revocation(&["ann@example.com"])));
    send(&fixture, &event_request(&path, "{}", &[]));
    fixture.world.acme.script_always("/token", Some(Reply::status(400, r#"{"error":"invalid_grant"}"#)));
    fixture.expire_access_token(&id);
    fixture.refresh_if_needed(&id);
    let points = fixture.world.metrics.points.borrow();
    let told: Vec<_> =
        points.iter().map(|point| (point.event.as_str(), point.outcome.as_str(), point.code.as_str())).collect();
    let expected = [
        ("resolve", "fresh", ""),
        ("resolve", "refused", "missing_scopes"),
        ("resolve", "fresh", ""),
        ("refresh", "refreshed", ""),
        ("app_event", "access_ended", ""),
        ("check", "healthy", ""),
        ("app_event", "refused", "unsigned"),
        ("failure", "failed", "invalid_grant"),
        ("refresh", "dead", ""),
    ];
    assert_eq!(told, expected);
    assert!(points.iter().all(|point| point.app == "acme" && point.workspace == fixture.workspace));
    let text = format!("{points:?}");
    assert!(!text.contains("ann") && !text.contains(id.as_str()), "{text}");
}

#[test]
fn an_event_that_comes_again_is_counted_as_repeated() {
    let (fixture, path) = set_up(&timeless_definition());
    let _got = listen(&fixture);
    fixture.world.metrics.bound.set(true);
    for body in [r#"{"type":"message"}"#.to_owned(), revocation(&["ann"])] {
        for _ in 0..3 {
            assert_eq!(send(&fixture, &timeless(&path, &body)).status, 200);
        }
    }
    let points = fixture.world.metrics.points.borrow();
    let outcomes: Vec<_> = points.iter().map(|point| point.outcome.as_str()).collect();
    assert_eq!(outcomes, ["accepted", "repeated", "repeated", "access_ended", "repeated", "repeated"]);
}

#[test]
fn without_the_binding_nothing_is_measured() {
    let (fixture, path) = set_up(&events_definition());
    let id = fixture.connect("ann");
    let key = first_key(&fixture);
    call(&fixture, &key, Method::Post, &format!("/v1/connections/{id}/resolve"), &json!({}));
    send(&fixture, &signed(&fixture, &path, &revocation(&["ann"])));
    assert!(fixture.world.metrics.points.borrow().is_empty());
}

#[test]
fn an_address_for_a_secret_ends_with_the_key_that_asked_for_it() {
    for end in ["revoked_at", "expires_at"] {
        let (fixture, path) = set_up_handshake(&json!({ "header": "X-Acme-Secret" }));
        let query = open_handshake(&fixture);
        let now = fixture.world.now().unix();
        fixture.world.db.tamper(&format!("UPDATE api_keys SET {end} = {now}"));
        assert_refused(&fixture, &handshake(&path, &query, STRANGERS_SECRET), end);
    }
}

/// An admin asks for an address in the browser. Returns its query.
fn open_handshake_in_browser(root: &mut TestBrowser<'_>) -> String {
    let opened = root.post("/settings/apps/acme", "/settings/apps/acme/handshake", "");
    assert_eq!(opened.status, 201, "{}", opened.body);
    assert!(opened.body.contains("This is the only time that it is shown"), "{}", opened.body);
    let address = opened.body.split("?handshake=").nth(1).unwrap().split('<').next().unwrap();
    assert!(!root.get("/settings/apps/acme").body.contains(address), "no other page has it");
    format!("handshake={address}")
}

#[test]
fn an_admin_does_in_the_browser_what_notion_and_asana_need() {
    for (place, is_shown) in
        [(json!({ "at": "/verification_token" }), true), (json!({ "header": "X-Acme-Secret" }), false)]
    {
        let (fixture, path) = set_up_handshake(&place);
        let mut root = crate::settings::admin(&fixture);
        let page = root.get("/settings/apps/acme").body;
        assert!(page.contains("The app sends its signing secret itself") && page.contains("Get an address"), "{page}");
        let query = open_handshake_in_browser(&mut root);
        let body = json!({ "verification_token": SENT_SECRET }).to_string();
        let header = if is_shown { ("X-Other", "x") } else { ("X-Acme-Secret", SENT_SECRET) };
        let sent = Request { query: query.clone(), ..event_request(&path, &body, &[header]) };
        assert_eq!(send(&fixture, &sent).status, 200);
        let page = root.get("/settings/apps/acme").body;
        assert!(page.contains("sent a signing secret") && page.contains("It is stored."), "{page}");
        assert_eq!(page.contains(SENT_SECRET), is_shown, "only what a person has to enter at the app is shown");
        let body = r#"{"type":"message"}"#;
        let event = event_request(&path, body, &[("X-Acme-Signature", &sign(SENT_SECRET, body))]);
        assert_eq!(send(&fixture, &event).status, 200, "events are verified with it");
        let (_, events) =
            call(&fixture, &first_key(&fixture), Method::Get, "/v1/events?type=event_secret_changed", &Value::Null);
        assert_eq!(
            (&events["data"][0]["actor"], &events["data"][0]["detail"]),
            (&json!("user:root"), &json!("received"))
        );
        fixture.world.advance_clock(3600);
        assert!(!root.get("/settings/apps/acme").body.contains(SENT_SECRET), "for an hour");
    }
}

#[test]
fn an_address_that_an_admin_asked_for_ends_with_the_role() {
    for end in ["UPDATE people SET role = 'member'", "DELETE FROM people"] {
        let (fixture, path) = set_up_handshake(&json!({ "header": "X-Acme-Secret" }));
        let mut root = crate::settings::admin(&fixture);
        let query = open_handshake_in_browser(&mut root);
        fixture.world.db.tamper(end);
        assert_refused(&fixture, &handshake(&path, &query, STRANGERS_SECRET), end);
    }
    let (fixture, _) = set_up_handshake(&json!({ "header": "X-Acme-Secret" }));
    let mut member = TestBrowser::new(&fixture);
    member.sign_in();
    assert_eq!(member.post("/", "/settings/apps/acme/handshake", "").status, 403);
    let silent = Fixture::with_definition(&timeless_definition());
    let mut root = crate::settings::admin(&silent);
    assert!(!root.get("/settings/apps/acme").body.contains("Get an address"));
    assert_eq!(root.post("/settings/apps/acme", "/settings/apps/acme/handshake", "").status, 409);
}

#[test]
fn a_client_that_is_entered_again_keeps_a_secret_that_came_meanwhile() {
    let (fixture, path) = set_up_handshake(&json!({ "header": "X-Acme-Secret" }));
    let id = ClientId::parse(path.trim_start_matches("/hooks/")).unwrap();
    let context = fixture.world.context();
    let read = fixture.world.run(clients::get(context.db(), &fixture.workspace, &id)).unwrap().unwrap();
    assert_eq!(send(&fixture, &handshake(&path, &open_handshake(&fixture), SENT_SECRET)).status, 200);
    fixture.world.run(clients::put(context.db(), &read, true)).unwrap();
    let body = r#"{"type":"message"}"#;
    let event = event_request(&path, body, &[("X-Acme-Signature", &sign(SENT_SECRET, body))]);
    assert_eq!(send(&fixture, &event).status, 200);
}
