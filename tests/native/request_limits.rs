//! Methods, bodies and rates: what a caller may send, how much of it and how often.

use connections::http::{self, Body, Method, Request, Response};
use connections::isolate_cache::IsolateCache;
use connections::ports::RateLimit;
use connections::resolve::deferred;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::Fixture;

const ADMIN_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const OTHER_IP: &str = "198.51.100.9";

/// A request with these headers.
fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Request {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    Request {
        method,
        path: path.into(),
        query: query.into(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: Body::Bytes(vec![]),
        id: "r".into(),
    }
}

/// Sends it, and does the deferred work.
fn send(fixture: &Fixture, request: &Request) -> Response {
    fixture.world.run(async {
        let context = fixture.world.context();
        let mut response = http::handle(&context, request).await;
        for after in std::mem::take(&mut response.deferred) {
            deferred::run(&context, after).await;
        }
        response
    })
}

pub(crate) fn request_with_key(method: Method, path: &str, key: &str) -> Request {
    request(method, path, &[("authorization", &format!("Bearer {key}"))])
}

/// A fixture with rate limits, in one isolate.
fn fixture_with_rate_limits() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.world = fixture.world.in_one_isolate();
    fixture.world.rate_counts.enabled.set(true);
    fixture
}

/// A well-formed key that does not exist.
fn unknown_key(fixture: &Fixture) -> String {
    let random = fixture.world.context();
    let (_, text, _) =
        connections::caller::new_key(connections::ports::Ports::random(&*random.ports), connections::ids::Shard::FIRST)
            .unwrap();
    text.expose().to_owned()
}

// ---- methods ----

#[test]
fn an_unknown_method_is_405_with_the_known_ones() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    for method in ["PROPFIND", "TRACE", "OPTIONS", "CONNECT", "QUERY", "get", "post", ""] {
        for (path, allow) in [
            ("/v1/connections", "GET, HEAD, POST"),
            ("/v1/workspace", "GET, HEAD, PATCH"),
            ("/v1/connections/con_x/resolve", "POST"),
            ("/oauth/callback/cli_x", "GET, HEAD"),
            ("/healthz", "GET, HEAD"),
        ] {
            let response = send(&fixture, &request_with_key(Method::parse(method), path, &key));
            assert_eq!((response.status, response.header("allow")), (405, Some(allow)), "{method} {path}");
        }
        assert_eq!(
            send(&fixture, &request_with_key(Method::parse(method), "/v1/nothing", &key)).status,
            404,
            "{method}"
        );
    }
    let head = send(&fixture, &request_with_key(Method::Head, "/v1/connections", &key));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let head = send(&fixture, &request_with_key(Method::Head, "/v1/connections/con_x/check", &key));
    assert_eq!((head.status, head.header("allow"), head.body.as_str()), (405, Some("POST"), ""));
    assert_eq!(send(&fixture, &request(Method::Head, "/v1/connections", &[])).status, 401);
}

#[test]
fn a_prefetch_does_not_use_an_authorization_code() {
    let fixture = Fixture::new();
    let mut browser = crate::http::TestBrowser::new(&fixture);
    let pressed = browser.press(&crate::http::make_link(&fixture, 3600));
    let (code, state) = fixture.world.acme.consent(pressed.header("location").unwrap(), "ann");
    let path = format!("/oauth/callback/{}?state={state}&code={}", fixture.client, code.expose());
    let before = fixture.world.acme.count_requests("/token");
    for (method, header) in [
        (Method::Head, ("accept", "*/*")),
        (Method::Get, ("sec-purpose", "prefetch")),
        (Method::Get, ("sec-purpose", "prefetch;prerender")),
        (Method::Get, ("purpose", "prefetch")),
        (Method::Get, ("x-moz", "prefetch")),
    ] {
        let ahead = browser.send(request(method, &path, &[header]));
        assert_eq!((ahead.status, ahead.body.as_str()), (204, ""), "{header:?}");
    }
    assert_eq!(fixture.world.acme.count_requests("/token"), before);
    let end = browser.get(&path);
    assert_eq!((end.status, fixture.world.acme.count_requests("/token")), (303, before + 1));
    assert!(browser.get(end.header("location").unwrap()).body.contains("Acme is connected"));
}

// ---- bodies ----

#[test]
fn the_body_limit_is_checked_after_the_key_and_the_resource() {
    let fixture = Fixture::new();
    let (key, id) = (first_key(&fixture), fixture.connect("ann"));
    let weak = fixture.make_key_secret(|key| key.scopes = vec![]).expose().to_owned();
    let status = |method, path: &str, key: &str| {
        let mut request = request_with_key(method, path, key);
        request.body = Body::TooLarge;
        send(&fixture, &request).status
    };
    let other = "con_0123456789abcdefABCD-_";
    for (method, path, found) in [
        (Method::Patch, "/v1/connections/{}", true),
        (Method::Delete, "/v1/connections/{}", true),
        (Method::Post, "/v1/connections/{}/check", true),
        (Method::Put, "/v1/connections/{}/credential", true),
        (Method::Post, "/v1/connections/{}/resolve", true),
        (Method::Put, "/v1/apps/nothing", false),
        (Method::Delete, "/v1/apps/nothing", false),
        (Method::Put, "/v1/apps/nothing/client", false),
        (Method::Delete, "/v1/keys/key_0123456789abcdef", false),
        (Method::Post, "/v1/links/lnk_0123456789abcdefABCD-_/confirm", false),
        (Method::Put, "/v1/apps/acme", true),
        (Method::Post, "/v1/keys", true),
    ] {
        let known = path.replace("{}", id.as_str());
        assert_eq!(status(method, &known, &key), if found { 413 } else { 404 }, "{path}");
        assert_eq!(status(method, &known, &unknown_key(&fixture)), 401, "{path}");
        assert_eq!(status(method, &known, &weak), 403, "{path}");
        if path.contains("{}") {
            assert_eq!(status(method, &path.replace("{}", other), &key), 404, "{path}");
        }
    }
    assert!(fixture.find_connection(&id).is_some(), "nothing was done");
    let mut request = request_with_key(Method::Delete, "/v1/workspaces/ws_0123456789abcdefABCD-_", ADMIN_KEY);
    request.body = Body::TooLarge;
    assert_eq!(send(&fixture, &request).status, 404);
}

// ---- rates ----

#[test]
fn a_guessing_address_is_blocked_before_its_credential_is_compared() {
    let fixture = fixture_with_rate_limits();
    let from = |address: &str, path: &str, credential: &str| {
        let bearer = format!("Bearer {credential}");
        send(&fixture, &request(Method::Get, path, &[("authorization", &bearer), ("cf-connecting-ip", address)]))
    };
    let quota = usize::try_from(RateLimit::FailedAuthentication.quota()).unwrap();
    for at in 0..quota / 2 {
        assert_eq!(from("192.0.2.1", "/v1/status", &format!("guess {at}")).status, 401);
        assert_eq!(from("192.0.2.1", "/v1/workspace", &unknown_key(&fixture)).status, 401);
    }
    let over = from("192.0.2.1", "/v1/status", "one more");
    assert_eq!((over.status, over.header("retry-after")), (429, Some("60")));
    assert_eq!(over.header("ratelimit-policy"), Some("\"failed-authentication\";q=100;w=60"));
    let problem: Value = serde_json::from_str(&over.body).unwrap();
    assert_eq!((&problem["code"], &problem["retry_after"]), (&json!("rate_limited"), &json!(60)));

    let key = first_key(&fixture);
    fixture.world.db.reset_counts();
    assert_eq!(from("192.0.2.1", "/v1/status", ADMIN_KEY).status, 429, "a right guess is not confirmed");
    assert_eq!(from("192.0.2.1", "/v1/workspace", &key).status, 429);
    assert_eq!(fixture.world.db.round_trips.get(), 0, "nothing was compared");
    assert_eq!(from(OTHER_IP, "/v1/status", ADMIN_KEY).status, 200);
    assert_eq!(from(OTHER_IP, "/v1/workspace", &key).status, 200, "a key's owner is not locked out");
    let none = request(Method::Get, "/v1/workspace", &[("cf-connecting-ip", "192.0.2.1")]);
    assert_eq!(send(&fixture, &none).status, 401, "nothing was presented");
    fixture.world.advance_clock(61);
    assert_eq!(from("192.0.2.1", "/v1/workspace", &key).status, 200);
}

#[test]
fn only_wrong_links_and_keys_count_as_guesses() {
    let fixture = fixture_with_rate_limits();
    let counted = || fixture.world.rate_counts.count_calls(RateLimit::FailedAuthentication);
    let id = fixture.connect("ann");
    send(&fixture, &request(Method::Get, "/connect/nothing", &[]));
    send(&fixture, &request(Method::Get, "/sign-in/neither", &[]));
    send(&fixture, &request_with_key(Method::Post, &format!("/v1/connections/{id}/resolve"), &unknown_key(&fixture)));
    assert_eq!(counted(), 3);
    let key = first_key(&fixture);
    for (path, status) in [("/v1/connections/con_x", 404), ("/v1/connections?x=1", 422), ("/v1/workspace", 200)] {
        assert_eq!(send(&fixture, &request_with_key(Method::Get, path, &key)).status, status);
    }
    send(&fixture, &request(Method::Get, "/v1/workspace", &[]));
    send(&fixture, &request_with_key(Method::Get, "/v1/workspace", "not-a-key"));
    send(&fixture, &request(Method::Get, "/", &[("cookie", "__Host-cx_session=old")]));
    assert_eq!(counted(), 3);
}

#[test]
fn a_program_with_a_revoked_key_is_not_blocked() {
    let fixture = fixture_with_rate_limits();
    let (wrong, key) = (unknown_key(&fixture), first_key(&fixture));
    for _ in 0..500 {
        assert_eq!(send(&fixture, &request_with_key(Method::Get, "/v1/workspace", &wrong)).status, 401);
    }
    assert_eq!(fixture.world.rate_counts.count_calls(RateLimit::FailedAuthentication), 50);
    assert_eq!(send(&fixture, &request_with_key(Method::Get, "/v1/workspace", &key)).status, 200);
}

#[test]
fn only_the_key_with_too_many_calls_is_limited() {
    let fixture = fixture_with_rate_limits();
    let (key, other) = (first_key(&fixture), fixture.make_key_secret(|_| ()).expose().to_owned());
    let id = fixture.connect("ann");
    let resolve = format!("/v1/connections/{id}/resolve");
    let send_as_many_as_one_count_stands_for = || {
        for _ in 0..RateLimit::Calls.sampling() {
            assert_eq!(send(&fixture, &request_with_key(Method::Post, &resolve, &key)).status, 200);
        }
    };
    send_as_many_as_one_count_stands_for();
    assert_eq!(fixture.world.rate_counts.count_calls(RateLimit::Calls), 1);
    let key_id = fixture.key.id.clone();
    fixture.world.run(async {
        let context = fixture.world.context();
        for _ in 1..RateLimit::Calls.binding_limit() {
            let limiter = connections::ports::Ports::rate_limiter(&*context.ports);
            assert!(connections::ports::RateLimiter::allows(limiter, RateLimit::Calls, key_id.as_str()).await);
        }
    });
    send_as_many_as_one_count_stands_for();
    fixture.world.db.reset_counts();
    let over = send(&fixture, &request_with_key(Method::Post, &resolve, &key));
    assert_eq!((over.status, over.header("retry-after")), (429, Some("10")));
    assert_eq!(over.header("ratelimit-policy"), Some("\"calls\";q=12000;w=60"));
    assert_eq!(fixture.world.db.round_trips.get(), 0);
    assert_eq!(send(&fixture, &request_with_key(Method::Post, &resolve, &other)).status, 200);
    assert_eq!(send(&fixture, &request_with_key(Method::Post, &resolve, &unknown_key(&fixture))).status, 401);
    fixture.world.advance_clock(60);
    assert_eq!(send(&fixture, &request_with_key(Method::Post, &resolve, &key)).status, 200);
}

#[test]
fn each_key_is_counted_by_itself_once_in_a_hundred_calls() {
    let fixture = fixture_with_rate_limits();
    let (key, other) = (first_key(&fixture), fixture.make_key_secret(|_| ()).expose().to_owned());
    for round in 1..=3 {
        for _ in 0..RateLimit::Calls.sampling() {
            for key in [&key, &other] {
                assert_eq!(send(&fixture, &request_with_key(Method::Get, "/v1/workspace", key)).status, 200);
            }
        }
        assert_eq!(fixture.world.rate_counts.count_calls(RateLimit::Calls), 2 * round);
    }
}

#[test]
fn a_hot_resolve_waits_only_for_the_database() {
    let fixture = fixture_with_rate_limits();
    let (key, id) = (first_key(&fixture), fixture.connect("ann"));
    let path = format!("/v1/connections/{id}/resolve");
    for _ in 1..RateLimit::Calls.sampling() {
        send(&fixture, &request_with_key(Method::Post, &path, &key));
    }
    let before = fixture.world.rate_counts.count_calls(RateLimit::Calls);
    fixture.world.db.reset_counts();
    let response = fixture
        .world
        .run(async { http::handle(&fixture.world.context(), &request_with_key(Method::Post, &path, &key)).await });
    assert_eq!((response.status, fixture.world.db.round_trips.get()), (200, 1));
    assert_eq!(fixture.world.rate_counts.count_calls(RateLimit::Calls), before, "counted afterwards");
    assert_eq!(response.deferred.len(), 1);
}

#[test]
fn expensive_calls_are_limited_by_key_and_person() {
    let fixture = fixture_with_rate_limits();
    let key = first_key(&fixture);
    let other = fixture.make_key_secret(|_| ()).expose().to_owned();
    let make = |key: &str| call(&fixture, key, Method::Post, "/v1/links", &json!({ "app": "acme" })).0;
    for _ in 0..RateLimit::CostlyCalls.quota() {
        assert_eq!(make(&key), 201);
    }
    assert_eq!((make(&key), make(&other)), (429, 201));
    assert_eq!(call(&fixture, &key, Method::Get, "/v1/workspace", &Value::Null).0, 200, "reading goes on");

    let mut ann = crate::http::TestBrowser::new(&fixture);
    fixture.world.advance_clock(61);
    ann.sign_in();
    let id = fixture.connect("ann");
    let page = ann.get(&format!("/connections/{id}")).body;
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    // Nothing takes time here, so the calls are within one minute.
    fixture.world.acme.script_always("/me", Some(crate::support::Reply::status(200, "{}")));
    let mut press = || {
        let mut request =
            request(Method::Post, &format!("/connections/{id}/check"), &[("sec-fetch-site", "same-origin")]);
        request.body = Body::Bytes(format!("csrf={csrf}").into_bytes());
        ann.send(request)
    };
    for _ in 0..RateLimit::CostlyCalls.quota() {
        assert_eq!(press().status, 303);
    }
    let over = press();
    assert_eq!((over.status, over.header("content-type")), (429, Some("text/html; charset=utf-8")));
    assert!(over.body.contains("Wait a minute, then try again"), "{}", over.body);
}

#[test]
fn the_reported_limits_match_the_bindings() {
    let settings = include_str!("../../wrangler.toml");
    for limit in RateLimit::ALL {
        let section = settings.split("[[ratelimits]]").find(|text| text.contains(limit.binding())).unwrap();
        let simple = format!("simple = {{ limit = {}, period = {} }}", limit.binding_limit(), limit.seconds());
        assert!(section.contains(&simple), "{section}");
    }
}

#[test]
fn the_list_of_blocked_callers_is_bounded() {
    let fixture = Fixture::new();
    let (isolate_cache, now) = (IsolateCache::default(), fixture.world.now());
    for at in 0..12_000 {
        isolate_cache.block_caller(&format!("caller {at}"), now.plus(60 + at), now);
    }
    let blocked =
        (0..12_000).filter(|at| isolate_cache.blocked_seconds(&format!("caller {at}"), now).is_some()).count();
    assert_eq!(blocked, 10_000);
    assert_eq!(isolate_cache.blocked_seconds("caller 0", now), None, "the one whose time ended first gave way");
}
