//! The proxy: what leaves, what comes back, and what does neither.

use std::cell::Cell;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connections::app::{AppId, OutboundMethod};
use connections::caller::{ApiKey, KeyScope};
use connections::environment::Environment;
use connections::http::proxy::pass;
use connections::http::{self, Body, Method, Request};
use connections::ids::ConnectionId;
use connections::ports::{
    HttpError, PASSING_BODY_LIMIT, PassingBody, PassingResponse, Ports as _, RateLimit, RateLimiter as _,
};
use connections::proxy::{KEPT_BODY_LIMIT, MOST_AT_ONCE};
use serde_json::{Value, json};

use crate::http::{call, first_key, make_key};
use crate::support::acme::CANARY;
use crate::support::database::{Fault, FaultRule};
use crate::support::passing::{self, PassedRequest, TestBody};
use crate::support::world::Invocation;
use crate::support::{Fixture, RefreshMode, Reply, World};

const BASE: &str = "https://acme.example/api/";

/// What a caller got.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn outcome(&self) -> &str {
        self.header("x-connections-outcome").unwrap_or("no outcome")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A problem of ours, by its status and code.
    fn problem(&self) -> (u16, String) {
        let code = self.json()["code"].as_str().unwrap_or_default().to_owned();
        assert_eq!(self.outcome(), code, "{self:?}");
        (self.status, code)
    }
}

/// A caller's request.
struct Sent {
    request: Request,
    body: Option<PassingBody<TestBody>>,
}

impl Sent {
    fn new(key: &str, method: Method, connection: &ConnectionId, address: &str) -> Self {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let request = Request {
            method,
            path: format!("/v1/connections/{connection}/proxy/{path}"),
            query: query.to_owned(),
            headers: vec![("authorization".into(), format!("Bearer {key}"))],
            body: Body::Passing { length: Some(0) },
            id: "req-1".into(),
        };
        Self { request, body: None }
    }

    fn with(mut self, headers: &[(&str, &str)]) -> Self {
        self.request.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    fn body(mut self, body: PassingBody<TestBody>) -> Self {
        self.request.body = Body::Passing { length: body.length };
        self.body = Some(body);
        self
    }
}

/// The same steps as those of the platform.
async fn answer(context: Invocation, sent: Sent) -> Answer {
    let mut response = http::handle(&context, &sent.request).await;
    for after in std::mem::take(&mut response.deferred) {
        connections::resolve::deferred::run(&context, after).await;
    }
    let Some(plan) = response.passes.take() else {
        return Answer { status: response.status, headers: response.headers, body: response.body.into_bytes() };
    };
    let passed = pass(&context, &sent.request, *plan, sent.body).await;
    let (mut response, body) = (passed.response, passed.body);
    for after in std::mem::take(&mut response.deferred) {
        connections::resolve::deferred::run(&context, after).await;
    }
    let body = body.map_or(response.body.into_bytes(), |body| body.stream.bytes);
    Answer { status: response.status, headers: response.headers, body }
}

fn send(fixture: &Fixture, sent: Sent) -> Answer {
    let context = fixture.world.context();
    fixture.world.run(answer(context, sent))
}

fn get(fixture: &Fixture, connection: &ConnectionId, address: &str) -> Answer {
    send(fixture, Sent::new(&first_key(fixture), Method::Get, connection, address))
}

/// The whole answer to a GET, for whoever looks for something in it.
pub(crate) fn proxied(fixture: &Fixture, key: &str, connection: &str, address: &str) -> String {
    let id = ConnectionId::parse(connection).unwrap();
    let answer = send(fixture, Sent::new(key, Method::Get, &id, address));
    format!("{} {:?} {}", answer.status, answer.headers, String::from_utf8_lossy(&answer.body))
}

fn left(fixture: &Fixture) -> Vec<PassedRequest> {
    fixture.world.acme.passed.requests.borrow().clone()
}

fn last(fixture: &Fixture) -> PassedRequest {
    left(fixture).pop().unwrap()
}

/// The app answers this to all that passes.
fn respond(
    fixture: &Fixture,
    responder: impl Fn(&PassedRequest) -> Result<PassingResponse<TestBody>, HttpError> + 'static,
) {
    fixture.world.acme.passed.responder.replace(Some(Box::new(responder)));
}

fn fixture() -> Fixture {
    in_world(&World::new(RefreshMode::Direct, None))
}

fn in_world(world: &World) -> Fixture {
    Fixture::in_world(world, &json!({ "request": { "base_url": BASE } }))
}

/// A connection with a pasted credential of an app with this `auth`.
fn paste(fixture: &Fixture, app: &str, auth: &Value, credential: &Value) -> ConnectionId {
    let key = first_key(fixture);
    if !auth.is_null() {
        let definition = json!({ "id": app, "name": app, "auth": auth });
        let (status, made) = call(fixture, &key, Method::Post, "/v1/apps", &definition);
        assert_eq!(status, 201, "{made}");
    }
    let body = json!({ "app": app, "credential": credential, "check": false });
    let (status, made) = call(fixture, &key, Method::Post, "/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    ConnectionId::parse(made["id"].as_str().unwrap()).unwrap()
}

fn api_key_auth(request: &Value) -> Value {
    json!({ "type": "api_key", "fields": [{ "id": "api_key", "label": "Key" }], "request": request })
}

fn api_key() -> Value {
    json!({ "type": "api_key", "api_key": format!("{CANARY}-key+/=") })
}

// ---- what passes ----

#[test]
fn a_request_leaves_with_the_credential_and_the_answer_comes_back_as_it_is() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    respond(&fixture, |_| {
        Ok(passing::answer(201, &[("content-type", "text/html"), ("etag", "\"7\""), ("set-cookie", "a=b")], b"\x00<b>"))
    });
    let sent = Sent::new(&first_key(&fixture), Method::Post, &id, "v2/items%2Fx?a=1&a=%202")
        .with(&[("content-type", "application/x-thing"), ("idempotency-key", "i1"), ("if-match", "\"3\"")])
        .body(passing::body(b"\xff\x00body"));
    let answer = send(&fixture, sent);
    let token = fixture.open_credential(&id).token.unwrap().access_token.expose().to_owned();
    let one = last(&fixture);
    assert_eq!(
        (one.method, one.url.as_str()),
        (OutboundMethod::Post, "https://acme.example/api/v2/items%2Fx?a=1&a=%202")
    );
    assert_eq!(one.body.as_deref(), Some(&b"\xff\x00body"[..]));
    let mut headers = one.headers.clone();
    headers.sort();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        headers,
        [
            pair("accept-encoding", "identity"),
            pair("authorization", &format!("Bearer {token}")),
            pair("content-type", "application/x-thing"),
            pair("idempotency-key", "i1"),
            pair("if-match", "\"3\""),
            pair("user-agent", "connections"),
        ]
    );
    assert_eq!((answer.status, answer.body.as_slice(), answer.outcome()), (201, &b"\x00<b>"[..], "passed"));
    let mut headers = answer.headers;
    headers.sort();
    assert_eq!(
        headers,
        [
            pair("cache-control", "no-store"),
            pair("content-security-policy", "sandbox; default-src 'none'; frame-ancestors 'none'"),
            pair("content-type", "text/html"),
            pair("cross-origin-opener-policy", "same-origin"),
            pair("cross-origin-resource-policy", "same-origin"),
            pair("etag", "\"7\""),
            pair("referrer-policy", "no-referrer"),
            pair("strict-transport-security", "max-age=31536000; includeSubDomains"),
            pair("x-connections-outcome", "passed"),
            pair("x-content-type-options", "nosniff"),
            pair("x-frame-options", "DENY"),
            pair("x-request-id", "req-1"),
        ]
    );
}

#[test]
fn a_hot_request_takes_one_round_trip_and_no_write_before_it_leaves() {
    let fixture = fixture().in_one_isolate();
    let id = fixture.connect("ann");
    get(&fixture, &id, "me");
    let context = fixture.world.context();
    fixture.world.db.reset_counts();
    let sent = Sent::new(&first_key(&fixture), Method::Get, &id, "me");
    let response = fixture.world.run(async { http::handle(&context, &sent.request).await });
    assert!(response.passes.is_some() && left(&fixture).len() == 1, "it is decided and not sent yet");
    let db = &fixture.world.db;
    assert_eq!((db.round_trips.get(), db.statements.get(), db.writes.get()), (1, 1, 0));
    assert_eq!((fixture.world.cache.gets.get(), fixture.world.cache.puts.get()), (0, 0));
}

#[test]
fn whoever_sends_a_decision_as_an_answer_sends_an_error() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    let sent = Sent::new(&first_key(&fixture), Method::Get, &id, "me");
    let context = fixture.world.context();
    let response = fixture.world.run(async { http::handle(&context, &sent.request).await });
    assert_eq!(response.status, 500);
    assert!(!response.body.contains(CANARY));
}

#[test]
fn every_method_passes_as_it_is_and_no_other() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    let methods = [
        (Method::Get, OutboundMethod::Get),
        (Method::Head, OutboundMethod::Head),
        (Method::Post, OutboundMethod::Post),
        (Method::Put, OutboundMethod::Put),
        (Method::Patch, OutboundMethod::Patch),
        (Method::Delete, OutboundMethod::Delete),
    ];
    for (method, sent) in methods {
        assert_eq!(send(&fixture, Sent::new(&first_key(&fixture), method, &id, "me")).status, 200);
        assert_eq!(last(&fixture).method, sent);
    }
    let before = left(&fixture).len();
    let refused = send(&fixture, Sent::new(&first_key(&fixture), Method::Other, &id, "me"));
    assert_eq!(refused.problem(), (405, "method_not_allowed".into()));
    assert_eq!(refused.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE"));
    for method in [Method::Get, Method::Head] {
        let refused = send(&fixture, Sent::new(&first_key(&fixture), method, &id, "me").body(passing::body(b"x")));
        assert_eq!(refused.status, 422, "{refused:?}");
    }
    assert_eq!(left(&fixture).len(), before);
}

#[test]
fn credentials_go_where_each_app_wants_them() {
    let fixture = fixture();
    let telegram = json!({ "type": "bot_token", "token": format!("123456789:{}", "a".repeat(35)) });
    let bot = paste(&fixture, "telegram", &Value::Null, &telegram);
    get(&fixture, &bot, "getMe?x=1");
    assert_eq!(last(&fixture).url, format!("https://api.telegram.org/bot123456789:{}/getMe?x=1", "a".repeat(35)));
    assert_eq!(last(&fixture).header("authorization"), None);

    let query = json!({ "base_url": "https://api.query.example/v1", "query": { "key": "{api_key}", "v": "2" } });
    let id = paste(&fixture, "query", &api_key_auth(&query), &api_key());
    get(&fixture, &id, "me?q=a%20b;c");
    let expected = format!("https://api.query.example/v1/me?q=a%20b;c&key={CANARY}-key%2B%2F%3D&v=2");
    assert_eq!(last(&fixture).url, expected);
    get(&fixture, &id, "me?V=3");
    assert_eq!(last(&fixture).url, format!("https://api.query.example/v1/me?V=3&key={CANARY}-key%2B%2F%3D"));

    let pair = json!({ "type": "basic", "request": { "base_url": "https://basic.example/" } });
    let credential = json!({ "type": "basic", "username": "ann", "password": format!("{CANARY}-pässwörd") });
    let id = paste(&fixture, "pair", &pair, &credential);
    get(&fixture, &id, "me");
    let value = last(&fixture).header("authorization").unwrap().to_owned();
    assert!(value.starts_with("Basic YW5uOmNhbmFyeTdmM2Et"), "{value}");

    let headers = json!({ "X-Api-Key": "{api_key}", "X-Version": "2026-01-01", "Accept": "application/json" });
    let request = json!({ "base_url": "https://headers.example/", "headers": headers });
    let id = paste(&fixture, "headers", &api_key_auth(&request), &api_key());
    send(&fixture, Sent::new(&first_key(&fixture), Method::Get, &id, "me").with(&[("x-version", "2027-01-01")]));
    let one = last(&fixture);
    assert_eq!(one.header("x-api-key"), Some(format!("{CANARY}-key+/=").as_str()));
    assert_eq!(one.header("x-version"), Some("2027-01-01"), "what is no credential is a default");
    assert_eq!(one.header("accept"), Some("application/json"));
}

#[test]
fn nothing_of_a_caller_stands_in_the_credentials_place() {
    let fixture = fixture();
    let query = json!({ "base_url": "https://api.query.example/v1/", "query": { "key": "{api_key}" } });
    let by_query = paste(&fixture, "query", &api_key_auth(&query), &api_key());
    for query in [
        "key=x",
        "KEY=x",
        "a=1&key=x",
        "a=1&Key",
        "a=1;key=x",
        "%6bey=x",
        "%6B%65%79=x",
        "key[]=x",
        "+key=x",
        "key%00=x",
    ] {
        let refused = get(&fixture, &by_query, &format!("me?{query}"));
        assert_eq!(refused.problem(), (422, "invalid_request".into()), "{query}");
    }
    let headers = json!({ "base_url": "https://headers.example/", "headers": { "X-Api-Key": "{api_key}" } });
    let by_header = paste(&fixture, "headers", &api_key_auth(&headers), &api_key());
    let sent = || Sent::new(&first_key(&fixture), Method::Get, &by_header, "me");
    let refused = send(&fixture, sent().with(&[("x-api-key", "mine")]));
    assert_eq!((refused.status, refused.json()["errors"][0]["field"].as_str()), (422, Some("x-api-key")));
    assert!(left(&fixture).is_empty(), "nothing left");
    assert_eq!(send(&fixture, sent().with(&[("connection", "x-api-key"), ("x-api-key", "mine")])).status, 401);
    assert_eq!(
        last(&fixture).header("x-api-key"),
        Some(format!("{CANARY}-key+/=").as_str()),
        "hop by hop, so left out"
    );
}

#[test]
fn headers_about_the_caller_and_the_connection_do_not_pass() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    let not = [
        ("cookie", "__Host-cx_session=x"),
        ("host", "connections.example"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("expect", "100-continue"),
        ("proxy-authorization", "Basic eDp5"),
        ("proxy-connection", "keep-alive"),
        ("forwarded", "for=1.2.3.4"),
        ("via", "1.1 x"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-host", "evil.example"),
        ("x-real-ip", "1.2.3.4"),
        ("true-client-ip", "1.2.3.4"),
        ("cf-connecting-ip", "1.2.3.4"),
        ("cf-ray", "1"),
        ("cf-worker", "x"),
        ("cf-access-jwt-assertion", "jwt"),
        ("cdn-loop", "cloudflare"),
        ("origin", "https://x.example"),
        ("referer", "https://x.example/secret"),
        ("sec-fetch-site", "same-origin"),
        ("sec-websocket-key", "x"),
        ("x-original-url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("content-length", "0"),
    ];
    let yes = [
        ("accept", "text/csv"),
        ("accept-encoding", "gzip"),
        ("user-agent", "mine/1"),
        ("x-custom", "é"),
        ("range", "bytes=0-1"),
    ];
    send(&fixture, Sent::new(&first_key(&fixture), Method::Get, &id, "me").with(&not).with(&yes));
    let one = last(&fixture);
    let names: Vec<_> = one.headers.iter().map(|(name, _)| name.as_str()).collect();
    for (name, _) in not {
        assert!(!names.contains(&name), "{name}");
    }
    for (name, value) in yes {
        assert_eq!(one.header(name), Some(value));
    }
    assert_eq!(one.headers.len(), yes.len() + 1, "and the credential: {names:?}");
}

#[test]
fn the_secret_is_removed_from_what_comes_back_in_headers() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    respond(&fixture, |request| {
        let token = request.header("authorization").unwrap().trim_start_matches("Bearer ").to_owned();
        let location = format!("https://elsewhere.example/?access_token={token}&x=1");
        let echo = format!("Bearer {token}");
        let link = format!("<https://acme.example/api/items?page=2&access_token={token}>; rel=\"next\"");
        Ok(passing::answer(
            302,
            &[
                ("location", &location),
                ("x-echo", &echo),
                ("link", &link),
                ("retry-after", "17"),
                ("refresh", "0;url=/x"),
            ],
            b"",
        ))
    });
    let answer = get(&fixture, &id, "me");
    assert_eq!(answer.status, 302, "redirects are not followed");
    assert_eq!(left(&fixture).len(), 1);
    assert_eq!(answer.header("location"), Some("https://elsewhere.example/?access_token=REMOVED&x=1"));
    assert_eq!(answer.header("x-echo"), Some("Bearer REMOVED"));
    assert_eq!(
        answer.header("link"),
        Some("<https://acme.example/api/items?page=2&access_token=REMOVED>; rel=\"next\"")
    );
    assert_eq!(answer.header("retry-after"), Some("17"), "the app's own");
    assert_eq!(answer.header("refresh"), None);
    assert!(!format!("{:?}", answer.headers).contains(CANARY));

    let telegram = format!("123456789:{}", "b".repeat(35));
    let bot = paste(&fixture, "telegram", &Value::Null, &json!({ "type": "bot_token", "token": telegram }));
    respond(&fixture, |request| Ok(passing::answer(301, &[("location", &format!("{}/", request.url))], b"")));
    let location = get(&fixture, &bot, "getMe").header("location").unwrap().to_owned();
    assert_eq!(location, "https://api.telegram.org/botREMOVED/getMe/");

    let query = json!({ "base_url": "https://api.query.example/v1/", "query": { "key": "{api_key}" } });
    let by_query = paste(&fixture, "query", &api_key_auth(&query), &api_key());
    let location = get(&fixture, &by_query, "me").header("location").unwrap().to_owned();
    assert_eq!(location, "https://api.query.example/v1/me?key=REMOVED/", "also percent-encoded");
}

// ---- where it goes ----

#[test]
fn only_addresses_below_the_apps_own_are_reached() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    for path in [
        "../token",
        "..%2Ftoken",
        "%2e%2e/token",
        "%252e%252e/token",
        "a/../../token",
        "..;/token",
        "..\\token",
        "a%5c..%5cb",
        "/evil.example/x",
        "%2F%2Fevil.example",
        "https://evil.example/",
        "https%3A//evil.example",
        "a%00b",
        "a%0d%0aX: y",
        "./x",
    ] {
        let refused = get(&fixture, &id, path);
        assert_eq!(refused.problem(), (422, "invalid_request".into()), "{path}");
    }
    let refused = get(&fixture, &id, &"a".repeat(17_000));
    assert_eq!(refused.status, 422);
    assert!(left(&fixture).is_empty(), "nothing left");
    for path in ["@evil.example/", ":443@evil.example", "evil.example:80/x", "a//evil.example"] {
        get(&fixture, &id, path);
        assert_eq!(last(&fixture).url, format!("{BASE}{path}"));
    }
}

#[test]
fn a_definition_without_an_address_and_one_with_ours_are_refused() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let refused = get(&fixture, &id, "me");
    assert_eq!(refused.problem(), (409, "conflict".into()));
    assert!(refused.json()["detail"].as_str().unwrap().contains("base_url"));
    for base in ["https://c.example.com/v1/", "https://C.example.com:8443/"] {
        let app = format!("own{}", base.len());
        let id = paste(
            &fixture,
            &app,
            &api_key_auth(&json!({ "base_url": base, "headers": { "Authorization": "Bearer {api_key}" } })),
            &api_key(),
        );
        assert_eq!(get(&fixture, &id, "connections").problem(), (409, "conflict".into()), "{base}");
    }
    assert!(left(&fixture).is_empty());
}

#[test]
fn a_definition_that_names_another_host_does_not_get_earlier_credentials() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    let (status, answer) = call(&fixture, &first_key(&fixture), Method::Put, "/v1/apps/acme", &{
        let mut definition = crate::support::fixture::acme_definition();
        definition["request"] = json!({ "base_url": "https://evil.example/" });
        definition
    });
    assert_eq!(status, 200, "{answer}");
    get(&fixture, &id, "me");
    let urls: Vec<_> = left(&fixture).into_iter().map(|one| one.url).collect();
    assert!(urls.iter().all(|url| url.starts_with(BASE)), "{urls:?}");
    // Even a row that names it.
    fixture.world.db.tamper("UPDATE connections SET app_revision = 2");
    let refused = get(&fixture, &id, "me");
    assert!(refused.status >= 400 && refused.outcome() != "passed", "{refused:?}");
    assert!(left(&fixture).iter().all(|one| one.url.starts_with(BASE)), "nothing left for the other host");
}

// ---- who may ----

#[test]
fn a_key_needs_the_scope_and_gets_no_credential_with_it() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    let key = make_key(&fixture, |key| key.scopes = vec![KeyScope::Proxy]);
    let answer = send(&fixture, Sent::new(&key, Method::Get, &id, "me"));
    assert_eq!((answer.status, answer.outcome()), (200, "passed"));
    assert!(!format!("{answer:?}").contains(CANARY));
    let (status, problem) = call(&fixture, &key, Method::Post, &format!("/v1/connections/{id}/resolve"), &json!({}));
    assert_eq!((status, problem["code"].as_str()), (403, Some("insufficient_key_scope")));
    let body = json!({ "status": 401, "credential_version": "v1.1" });
    assert_eq!(call(&fixture, &key, Method::Post, &format!("/v1/connections/{id}/report"), &body).0, 403);
    assert_eq!(call(&fixture, &key, Method::Post, "/v1/resolve", &json!({ "app": "acme" })).0, 403);
    let resolver = make_key(&fixture, |key| key.scopes = vec![KeyScope::Resolve]);
    let refused = send(&fixture, Sent::new(&resolver, Method::Get, &id, "me"));
    assert_eq!(refused.problem(), (403, "insufficient_key_scope".into()));
    let stranger = send(&fixture, Sent::new("cx_wrong", Method::Get, &id, "../../x"));
    assert_eq!(stranger.problem(), (401, "unauthorized".into()), "before anything else is told");
    assert_eq!(left(&fixture).len(), 1);
}

#[test]
fn whatever_refuses_a_resolve_refuses_a_request() {
    let fixture = fixture();
    let (id, other) = (fixture.connect("ann"), fixture.connect("ben"));
    let key = first_key(&fixture);
    let limited = |change: &dyn Fn(&mut ApiKey)| {
        make_key(&fixture, |key| {
            key.scopes = vec![KeyScope::Proxy];
            change(key);
        })
    };
    let of_other = limited(&|key| key.connections = Some(vec![other.clone()]));
    let of_app = limited(&|key| key.apps = Some(vec![AppId::parse("slack").unwrap()]));
    let of_test = limited(&|key| key.environment = Some(Environment::Test));
    for key in [&of_other, &of_app, &of_test] {
        let refused = send(&fixture, Sent::new(key, Method::Get, &id, "me"));
        assert_eq!(refused.problem(), (404, "connection_not_found".into()));
    }
    let unknown = ConnectionId::parse(&format!("con_{}", "0".repeat(22))).unwrap();
    assert_eq!(get(&fixture, &unknown, "me").problem(), (404, "connection_not_found".into()));
    let path = format!("/v1/connections/{id}");
    let patch = json!({ "allowed_workflows": ["Rechnungen für März"] });
    assert_eq!(call(&fixture, &key, Method::Patch, &path, &patch).0, 200);
    let sent = |headers: &[(&str, &str)]| send(&fixture, Sent::new(&key, Method::Get, &id, "me").with(headers));
    let workflow = ("x-connections-workflow", "Rechnungen%20f%C3%BCr%20M%C3%A4rz");
    assert_eq!(sent(&[]).problem(), (403, "workflow_not_allowed".into()));
    assert_eq!(sent(&[workflow]).status, 200);
    for (name, value) in [
        ("x-connections-expect-app", "slack"),
        ("x-connections-expect-account", "id-ben"),
        ("x-connections-expect-connection", other.as_str()),
        ("x-connections-expect-environment", "production"),
    ] {
        let refused = sent(&[workflow, (name, value)]);
        assert_eq!(refused.problem(), (409, "unexpected_connection".into()), "{name}");
        assert_eq!(refused.json()["actual"]["account"], "ann@acme.example");
    }
    let refused = sent(&[workflow, ("x-connections-scopes", "read admin")]);
    assert_eq!(refused.problem(), (409, "missing_scopes".into()));
    assert_eq!(refused.json()["missing_scopes"], json!(["admin"]));
    let fits = [
        workflow,
        ("x-connections-expect-account", "id-ann"),
        ("x-connections-expect-app", "acme"),
        ("x-connections-scopes", "read"),
    ];
    assert_eq!(sent(&fits).status, 200);
    let before = left(&fixture).len();
    let button = json!({ "confirm": "acme", "reason": "Stolen tokens" });
    assert_eq!(call(&fixture, &key, Method::Post, "/v1/apps/acme/disconnect-all", &button).0, 201);
    assert_eq!(sent(&fits).problem(), (404, "connection_not_found".into()));
    assert_eq!(left(&fixture).len(), before, "nothing left");
}

#[test]
fn a_replaced_connection_sends_with_the_one_that_answers() {
    let fixture = fixture();
    let (ann, ben) = (fixture.connect("ann"), fixture.connect("ben"));
    let path = format!("/v1/connections/{ann}/replace");
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Post, &path, &json!({ "with": ben })).0, 200);
    let key = make_key(&fixture, |key| {
        (key.scopes, key.connections) = (vec![KeyScope::Proxy], Some(vec![ann.clone()]));
    });
    assert_eq!(send(&fixture, Sent::new(&key, Method::Get, &ann, "me")).status, 200);
    let token = fixture.open_credential(&ben).token.unwrap().access_token.expose().to_owned();
    assert_eq!(last(&fixture).header("authorization"), Some(format!("Bearer {token}").as_str()));
}

#[test]
fn uses_are_recorded_and_unknown_headers_are_refused_by_name() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    let key = first_key(&fixture);
    let sent = |headers: &[(&str, &str)]| send(&fixture, Sent::new(&key, Method::Get, &id, "me").with(headers));
    assert_eq!(sent(&[("x-connections-workflow", "invoices%20%E2%82%AC"), ("x-connections-step", "send")]).status, 200);
    let (_, uses) = call(&fixture, &key, Method::Get, &format!("/v1/connections/{id}/uses"), &Value::Null);
    assert_eq!(uses["data"][0]["workflow"], "invoices €");
    assert_eq!(uses["data"][0]["step"], "send");
    let before = left(&fixture).len();
    for (name, value) in [
        ("x-connections-workfow", "x"),
        ("x-connections-", "x"),
        ("x-connections-workflow", ""),
        ("x-connections-workflow", "%FF"),
        ("x-connections-workflow", "a%0Ab"),
        ("x-connections-step", "alone"),
        ("x-connections-min-ttl", "soon"),
        ("x-connections-min-ttl", "90000"),
        ("x-connections-retries", "3"),
        ("x-connections-expect-app", "No App"),
        ("x-connections-expect-environment", "staging"),
        ("x-connections-expect-connection", "x"),
    ] {
        let refused = sent(&[(name, value)]);
        assert_eq!(refused.problem(), (422, "invalid_request".into()), "{name}: {value}");
        let own = name.trim_start_matches("x-connections-").replace('-', "_");
        let named = refused.json()["errors"][0]["field"].as_str().unwrap().to_owned();
        assert!(named == name || own == named || own == "step", "{name} is called {named}");
    }
    assert_eq!(left(&fixture).len(), before, "nothing left");
}

// ---- the app refuses the credential ----

#[test]
fn fifty_refused_callers_cause_one_refresh_and_all_get_their_answer() {
    for mode in [RefreshMode::Object, RefreshMode::Direct] {
        let world = World::new(mode, None);
        let world = if mode == RefreshMode::Direct { world.in_one_isolate() } else { world };
        let fixture = in_world(&world);
        let id = fixture.connect("ann");
        let revoked = fixture.open_credential(&id).token.unwrap().access_token.expose().to_owned();
        let dead = revoked.clone();
        respond(&fixture, move |request| {
            let is_dead = request.header("authorization") == Some(&format!("Bearer {dead}"));
            let status = if is_dead { 401 } else { 200 };
            Ok(passing::answer(status, &[], &request.body.clone().unwrap_or_default()))
        });
        let before = fixture.world.acme.received_refreshes().len();
        let calls = (0..50).map(|number| {
            let body = passing::body(format!("body {number}").as_bytes());
            let sent = Sent::new(&first_key(&fixture), Method::Post, &id, "items").body(body);
            answer(fixture.world.context(), sent)
        });
        let answers = fixture.world.run_concurrently(calls.collect::<Vec<_>>());
        for (number, answer) in answers.iter().enumerate() {
            let text = format!("body {number}");
            assert_eq!((answer.status, answer.outcome()), (200, "refreshed"), "{mode:?} {answer:?}");
            assert_eq!(answer.body, text.as_bytes(), "its own body again");
        }
        assert_eq!(fixture.world.acme.received_refreshes().len() - before, 1, "{mode:?}");
        assert_eq!(left(&fixture).len(), 100);
        assert_eq!(fixture.world.acme.passed.discarded.get(), 50, "no answer is left open");
    }
}

/// The app refuses the token that is stored now.
fn refuse_stored_token(fixture: &Fixture, id: &ConnectionId) {
    let dead = format!("Bearer {}", fixture.open_credential(id).token.unwrap().access_token.expose());
    respond(fixture, move |request| {
        let status = if request.header("authorization") == Some(&dead) { 401 } else { 200 };
        Ok(passing::answer(status, &[("www-authenticate", "Bearer error=\"invalid_token\"")], b"app"))
    });
}

#[test]
fn a_request_whose_body_is_not_kept_is_not_repeated_and_its_caller_is_told() {
    let long = vec![b'x'; usize::try_from(KEPT_BODY_LIMIT).unwrap() + 1];
    let at_limit = &long[1..];
    let cases: [(PassingBody<TestBody>, &str, &str, usize); 4] = [
        (passing::body(at_limit), "1", "refreshed", 2),
        (passing::body(&long), "1", "refused_not_repeated", 1),
        (passing::body_of_unknown_length(b"short"), "1", "refused_not_repeated", 1),
        (passing::body(b"short"), "0", "refused_not_repeated", 1),
    ];
    for (body, retries, outcome, count) in cases {
        let fixture = fixture();
        let id = fixture.connect("ann");
        refuse_stored_token(&fixture, &id);
        let refreshes = fixture.world.acme.received_refreshes().len();
        let sent =
            Sent::new(&first_key(&fixture), Method::Put, &id, "file").with(&[("x-connections-retries", retries)]);
        let answer = send(&fixture, sent.body(body));
        assert_eq!((answer.outcome(), left(&fixture).len()), (outcome, count));
        assert_eq!(fixture.world.acme.received_refreshes().len() - refreshes, 1);
        if outcome == "refused_not_repeated" {
            assert_eq!((answer.status, answer.body.as_slice()), (401, &b"app"[..]), "the app's own answer");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
        }
        assert_eq!(get(&fixture, &id, "me").outcome(), "passed", "sent again, it works");
    }
}

#[test]
fn a_credential_that_was_renewed_meanwhile_is_used_without_another_refresh() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    refuse_stored_token(&fixture, &id);
    let context = fixture.world.context();
    let sent = Sent::new(&first_key(&fixture), Method::Get, &id, "me");
    let mut response = fixture.world.run(async { http::handle(&context, &sent.request).await });
    fixture.refresh(&id, connections::ports::RefreshReason::Force);
    fixture.world.advance_clock(60);
    let refreshes = fixture.world.acme.received_refreshes().len();
    let plan = *response.passes.take().unwrap();
    let passed = fixture.world.run(async { pass(&context, &sent.request, plan, None).await });
    assert_eq!(passed.response.header("x-connections-outcome"), Some("refreshed"));
    assert_eq!(fixture.world.acme.received_refreshes().len(), refreshes);
}

#[test]
fn an_app_that_refuses_every_token_is_not_hammered() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    respond(&fixture, |_| Ok(passing::answer(401, &[], b"no")));
    let refreshes = fixture.world.acme.received_refreshes().len();
    let outcomes: Vec<_> = (0..20).map(|_| get(&fixture, &id, "me").outcome().to_owned()).collect();
    assert_eq!(outcomes[0], "refreshed");
    assert!(outcomes[1..].iter().all(|outcome| outcome == "refused"), "{outcomes:?}");
    assert_eq!(fixture.world.acme.received_refreshes().len() - refreshes, 1, "one in 30 seconds");
    assert_eq!(left(&fixture).len(), 21);
}

#[test]
fn a_grant_that_has_ended_is_told_with_its_remedy() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    fixture.world.acme.withdraw_grants("ann");
    let refused = get(&fixture, &id, "me");
    assert_eq!(refused.problem(), (409, "needs_reconnect".into()));
    assert_eq!(refused.json()["reconnect_url"], format!("https://c.example.com/connections/{id}/reconnect"));
    assert_eq!(fixture.world.acme.passed.discarded.get(), 1, "the app's answer is not left open");
    assert_eq!(get(&fixture, &id, "me").problem(), (409, "needs_reconnect".into()));
    assert_eq!(left(&fixture).len(), 1, "and nothing leaves any more");
}

#[test]
fn a_failed_refresh_leaves_the_apps_answer_to_the_caller() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    refuse_stored_token(&fixture, &id);
    fixture.world.acme.script_always("/token", Some(Reply::status(503, "")));
    let answer = get(&fixture, &id, "me");
    assert_eq!((answer.status, answer.outcome(), answer.body.as_slice()), (401, "refused", &b"app"[..]));
}

#[test]
fn a_refused_key_is_checked_once_behind_the_answer() {
    let fixture = fixture();
    let auth = json!({
        "type": "api_key", "fields": [{ "id": "api_key", "label": "Key" }],
        "request": { "base_url": "https://acme.example/api/", "headers": { "Authorization": "Bearer {api_key}" } },
    });
    let definition =
        json!({ "id": "keyed", "name": "keyed", "auth": auth, "check": { "url": "https://acme.example/me" } });
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Post, "/v1/apps", &definition).0, 201);
    let id = paste(&fixture, "keyed", &Value::Null, &api_key());
    let checks = fixture.world.acme.count_requests("/me");
    for _ in 0..5 {
        let answer = get(&fixture, &id, "me");
        if answer.status == 409 {
            break;
        }
        assert_eq!((answer.status, answer.outcome()), (401, "refused"));
    }
    assert_eq!(fixture.world.acme.count_requests("/me") - checks, 1, "the app decides, once");
    assert_eq!(get(&fixture, &id, "me").problem(), (409, "needs_reconnect".into()));
    assert_eq!(fixture.world.acme.received_refreshes().len(), 0);
}

#[test]
fn an_expired_token_is_refreshed_before_the_request_leaves() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    let answer = get(&fixture, &id, "me");
    assert_eq!((answer.status, answer.outcome(), left(&fixture).len()), (200, "passed", 1));
}

// ---- limits and failures ----

#[test]
fn requests_count_as_calls_of_their_key() {
    let fixture = fixture().in_one_isolate();
    let id = fixture.connect("ann");
    fixture.world.rate_counts.enabled.set(true);
    for _ in 0..RateLimit::Calls.sampling() {
        assert_eq!(get(&fixture, &id, "me").status, 200);
    }
    assert_eq!(fixture.world.rate_counts.count_calls(RateLimit::Calls), 1);
}

#[test]
fn an_installation_that_cannot_be_used_says_that_the_answer_is_its_own() {
    let id = ConnectionId::parse(&format!("con_{}", "0".repeat(22))).unwrap();
    let request = Sent::new("cx_any", Method::Get, &id, "me").request;
    let response = http::respond_under_maintenance(&request);
    assert_eq!((response.status, response.header("x-connections-outcome")), (503, Some("maintenance")));
}

#[test]
fn bodies_over_the_limit_are_refused_either_way() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    let sent = || Sent::new(&first_key(&fixture), Method::Post, &id, "file");
    let mut told = sent();
    told.request.body = Body::Passing { length: Some(PASSING_BODY_LIMIT + 1) };
    assert_eq!(send(&fixture, told).problem(), (413, "body_too_large".into()));
    assert!(left(&fixture).is_empty(), "nothing left");
    let long = vec![0; usize::try_from(PASSING_BODY_LIMIT).unwrap() + 1];
    let counted = send(&fixture, sent().body(passing::body_of_unknown_length(&long)));
    assert_eq!(counted.problem(), (413, "body_too_large".into()));
    respond(&fixture, |_| {
        let body = PassingBody { length: Some(PASSING_BODY_LIMIT + 1), ..passing::body(b"") };
        Ok(PassingResponse { status: 200, headers: vec![], body: Some(body) })
    });
    let refused = send(&fixture, sent());
    assert_eq!(refused.problem(), (502, "app_response_refused".into()));
    assert_eq!(fixture.world.acme.passed.discarded.get(), 1);
    for status in [0, 101, 199, 600, 999] {
        respond(&fixture, move |_| Ok(passing::answer(status, &[], b"")));
        assert_eq!(send(&fixture, sent()).problem(), (502, "app_response_refused".into()), "{status}");
    }
}

#[test]
fn a_missing_answer_is_told_apart_from_the_apps_own_errors() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    for (error, words) in [(HttpError::Timeout, "five minutes"), (HttpError::Network, "may have acted")] {
        respond(&fixture, move |_| Err(error));
        let refused = get(&fixture, &id, "me");
        assert_eq!(refused.problem(), (503, "app_unavailable".into()));
        assert!(refused.json()["detail"].as_str().unwrap().contains(words));
    }
    for status in [400, 403, 404, 409, 429, 500, 503] {
        respond(&fixture, move |_| Ok(passing::answer(status, &[("content-type", "application/problem+json")], b"{}")));
        let answer = get(&fixture, &id, "me");
        assert_eq!((answer.status, answer.outcome()), (status, "passed"));
    }
    assert_eq!(fixture.world.log.count_events("proxied_request_failed"), 2);
}

#[test]
fn a_connection_has_so_many_requests_under_way_and_a_minute() {
    let fixture = fixture().in_one_isolate();
    let (id, other) = (fixture.connect("ann"), fixture.connect("ben"));
    let calls = |id: &ConnectionId, count: u32| -> Vec<_> {
        (0..count)
            .map(|_| answer(fixture.world.context(), Sent::new(&first_key(&fixture), Method::Get, id, "me")))
            .collect()
    };
    let mut all = calls(&id, MOST_AT_ONCE + 7);
    all.extend(calls(&other, 3));
    let answers = fixture.world.run_concurrently(all);
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(refused.len(), 7);
    assert_eq!(refused[0].problem(), (429, "rate_limited".into()));
    assert_eq!(refused[0].header("retry-after"), Some("1"));
    assert_eq!(refused[0].header("ratelimit-policy"), Some("\"proxied-at-once\";q=100;qu=\"concurrent-requests\""));
    assert_eq!(get(&fixture, &id, "me").status, 200, "all slots are free again");

    fixture.world.rate_counts.enabled.set(true);
    let before = left(&fixture).len();
    let limit = RateLimit::ProxiedRequests;
    let (context, counted) = (fixture.world.context(), id.as_str().to_owned());
    fixture.world.run(async {
        for _ in 0..limit.quota() - 1 {
            assert!(context.ports.rate_limiter().allows(limit, &counted).await);
        }
    });
    fixture.world.acme.latency_ms.set(0);
    assert_eq!(get(&fixture, &id, "me").status, 200);
    let refused = get(&fixture, &id, "me");
    assert_eq!(refused.problem(), (429, "rate_limited".into()));
    assert_eq!(refused.header("retry-after"), Some("60"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"proxied-requests\";q=6000;w=60"));
    assert_eq!(get(&fixture, &other, "me").status, 200, "each connection has its own");
    assert_eq!(left(&fixture).len() - before, 2);
    let stranger = send(&fixture, Sent::new("cx_wrong", Method::Get, &other, "me"));
    assert_eq!(stranger.status, 401);
    assert_eq!(fixture.world.rate_counts.count_calls(limit), limit.quota() + 2, "a stranger uses up nothing");
}

#[test]
fn each_request_has_its_line_in_the_audit_log_where_the_operator_wants_it() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    fixture.world.audit.set((Some("durable"), None));
    let sent =
        || Sent::new(&first_key(&fixture), Method::Get, &id, "me?q=private").with(&[("x-connections-workflow", "w")]);
    assert_eq!(send(&fixture, sent()).status, 200);
    let (_, events) =
        call(&fixture, &first_key(&fixture), Method::Get, "/v1/events?type=request_proxied", &Value::Null);
    let event = &events["data"][0];
    assert_eq!(
        (event["connection"]["id"].as_str().or(event["connection"].as_str()), events["data"].as_array().unwrap().len()),
        (Some(id.as_str()), 1)
    );
    assert!(!events.to_string().contains("private"));
    fixture.world.db.fault_rules.borrow_mut().push(FaultRule {
        statement_part: "INSERT INTO events",
        times: 1,
        fault: Fault::BeforeCommit,
    });
    let refused = send(&fixture, sent());
    assert_eq!(refused.problem(), (503, "database_unavailable".into()));
    assert_eq!(left(&fixture).len(), 1, "without its line nothing leaves");
}

#[test]
fn a_secret_is_in_no_log_line_no_error_and_no_table() {
    let fixture = fixture();
    let tries = Rc::new(Cell::new(0));
    let query = json!({ "base_url": "https://api.query.example/v1/", "query": { "key": "{api_key}" } });
    let token = json!({ "type": "bot_token", "token": format!("123456789:{}", "c".repeat(35)) });
    let pair = json!({ "type": "basic", "request": { "base_url": "https://basic.example/" } });
    let secret_pair =
        json!({ "type": "basic", "username": format!("{CANARY}-name"), "password": format!("{CANARY}-word") });
    let headers = json!({ "base_url": "https://headers.example/", "headers": { "X-Api-Key": "{api_key}", "X-Twin": "v1 {api_key}" } });
    let connections = [
        fixture.connect("ann"),
        paste(&fixture, "query", &api_key_auth(&query), &api_key()),
        paste(&fixture, "telegram", &Value::Null, &token),
        paste(&fixture, "pair", &pair, &secret_pair),
        paste(&fixture, "headers", &api_key_auth(&headers), &api_key()),
    ];
    // As it is stored nowhere, percent-encoded as in an address, and in Base64 as in a header.
    let pair = STANDARD.encode(format!("{CANARY}-name:{CANARY}-word"));
    let forms = [CANARY.to_owned(), "c".repeat(35), pair.trim_end_matches('=').to_owned()];
    let has_secret = |text: &str| forms.iter().any(|form| text.contains(form));
    let counted = Rc::clone(&tries);
    respond(&fixture, move |_| {
        counted.set(counted.get() + 1);
        match counted.get() % 4 {
            0 => Err(HttpError::Timeout),
            1 => Err(HttpError::NotPermitted),
            2 => Err(HttpError::Network),
            _ => Ok(passing::answer(401, &[], b"")),
        }
    });
    for id in &connections {
        for path in ["me", "a/../b", "x?key=1", "%ff"] {
            for _ in 0..4 {
                let answer = get(&fixture, id, path);
                let text = format!("{answer:?} {}", String::from_utf8_lossy(&answer.body));
                assert!(!has_secret(&text), "{text}");
            }
        }
    }
    assert!(left(&fixture).iter().any(|one| has_secret(&one.url)), "the app alone gets it");
    let log = fixture.world.log.dump_lines();
    assert!(!has_secret(&log));
    assert!(!log.contains("getMe") && !log.contains("api.telegram.org/bot"));
    assert!(!has_secret(&fixture.world.db.dump_tables()));
}

#[test]
fn an_app_that_wants_callers_to_wait_reaches_them_with_its_own_time() {
    let fixture = fixture();
    let id = fixture.connect("ann");
    for (status, wait) in [(429, "17"), (503, "Wed, 21 Oct 2026 07:28:00 GMT")] {
        respond(&fixture, move |_| {
            Ok(passing::answer(status, &[("retry-after", wait), ("x-ratelimit-remaining", "0")], b"slow"))
        });
        let answer = get(&fixture, &id, "me");
        assert_eq!((answer.status, answer.outcome()), (status, "passed"));
        assert_eq!((answer.header("retry-after"), answer.header("x-ratelimit-remaining")), (Some(wait), Some("0")));
        assert_eq!(answer.header("ratelimit-policy"), None, "that limit is the app's, not ours");
        assert_eq!(answer.body, b"slow");
    }
    assert_eq!(left(&fixture).len(), 2, "nothing is repeated for the caller");
}

#[test]
fn each_request_is_a_data_point_with_its_outcome_and_the_class_of_its_status() {
    let fixture = fixture();
    let id = fixture.connect("ann@example.com");
    fixture.world.metrics.bound.set(true);
    let status = Rc::new(Cell::new(200));
    let answered = Rc::clone(&status);
    respond(&fixture, move |_| match answered.get() {
        0 => Err(HttpError::Timeout),
        status => Ok(passing::answer(status, &[("x-code", "canary-of-an-app")], b"canary-of-an-app")),
    });
    for one in [200, 302, 404, 502, 0] {
        status.set(one);
        get(&fixture, &id, "me?q=private");
    }
    get(&fixture, &id, "a/../b");
    let of_nobody =
        Sent::new(&first_key(&fixture), Method::Get, &id, "me").with(&[("x-connections-expect-account", "bob")]);
    send(&fixture, of_nobody);
    send(&fixture, Sent::new("cx_wrong", Method::Get, &id, "me"));
    status.set(401);
    get(&fixture, &id, "me");
    let points = fixture.world.metrics.points.borrow();
    let told: Vec<_> = points
        .iter()
        .filter(|point| point.event.as_str() == "proxy")
        .map(|point| (point.outcome.as_str(), point.code.as_str()))
        .collect();
    let expected = [
        ("passed", "2xx"),
        ("passed", "3xx"),
        ("passed", "4xx"),
        ("passed", "5xx"),
        ("failed", "app_unavailable"),
        ("refused", "invalid_request"),
        ("refused", "unexpected_connection"),
        ("refreshed", "4xx"),
    ];
    assert_eq!(told, expected);
    assert!(!points.iter().any(|point| point.event.as_str() == "resolve"), "a request is no resolve");
    assert!(points.iter().all(|point| point.app == "acme" && point.workspace == fixture.workspace));
    let text = format!("{points:?}");
    for hidden in ["ann", "private", "canary", id.as_str()] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
}
