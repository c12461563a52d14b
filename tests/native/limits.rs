//! Methods, bodies and rates: what a caller may send, how much of it and how often.

use connections::http::{self, Body, Method, Request, Response};
use connections::memo::Memo;
use connections::ports::RateLimit;
use connections::resolve::afterwards;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::Scene;

const OPERATOR: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const ELSEWHERE: &str = "198.51.100.9";

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

/// Sends it, and does what is left to do behind the answer.
fn send(scene: &Scene, request: &Request) -> Response {
    scene.world.run(async {
        let core = scene.world.core();
        let mut response = http::handle(&core, request).await;
        for after in std::mem::take(&mut response.after) {
            afterwards::run(&core, after).await;
        }
        response
    })
}

pub(crate) fn with_key(method: Method, path: &str, key: &str) -> Request {
    request(method, path, &[("authorization", &format!("Bearer {key}"))])
}

/// A scene whose calls are counted, in one instance of the program.
fn counted() -> Scene {
    let mut scene = Scene::new();
    scene.world = scene.world.in_one_instance();
    scene.world.counts.on.set(true);
    scene
}

/// A key of the right form that nobody has.
fn stranger(scene: &Scene) -> String {
    let random = scene.world.core();
    let (_, text, _) =
        connections::caller::new_key(connections::ports::Ports::random(&random.ports), connections::ids::Shard::FIRST)
            .unwrap();
    text.expose().to_owned()
}

// ---- methods ----

#[test]
fn a_method_that_nobody_knows_is_405_with_the_methods_that_are() {
    let scene = Scene::new();
    let key = first_key(&scene);
    for method in ["PROPFIND", "TRACE", "OPTIONS", "CONNECT", "QUERY", "get", "post", ""] {
        for (path, allow) in [
            ("/v1/connections", "GET, HEAD, POST"),
            ("/v1/workspace", "GET, HEAD, PATCH"),
            ("/v1/connections/con_x/resolve", "POST"),
            ("/oauth/callback/cli_x", "GET, HEAD"),
            ("/healthz", "GET, HEAD"),
        ] {
            let response = send(&scene, &with_key(Method::parse(method), path, &key));
            assert_eq!((response.status, response.header("allow")), (405, Some(allow)), "{method} {path}");
        }
        assert_eq!(send(&scene, &with_key(Method::parse(method), "/v1/nothing", &key)).status, 404, "{method}");
    }
    let head = send(&scene, &with_key(Method::Head, "/v1/connections", &key));
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let head = send(&scene, &with_key(Method::Head, "/v1/connections/con_x/check", &key));
    assert_eq!((head.status, head.header("allow"), head.body.as_str()), (405, Some("POST"), ""));
    assert_eq!(send(&scene, &request(Method::Head, "/v1/connections", &[])).status, 401);
}

#[test]
fn what_only_looks_ahead_uses_no_authorization_code_up() {
    let scene = Scene::new();
    let mut browser = crate::http::Browser::new(&scene);
    let pressed = browser.press(&crate::http::link(&scene, 3600));
    let (code, state) = scene.world.acme.consent(pressed.header("location").unwrap(), "ann");
    let path = format!("/oauth/callback/{}?state={state}&code={}", scene.client, code.expose());
    let before = scene.world.acme.count("/token");
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
    assert_eq!(scene.world.acme.count("/token"), before);
    let end = browser.get(&path);
    assert_eq!((end.status, scene.world.acme.count("/token")), (303, before + 1));
    assert!(browser.get(end.header("location").unwrap()).body.contains("Acme is connected"));
}

// ---- bodies ----

#[test]
fn a_body_over_the_limit_comes_after_the_key_and_what_the_path_names() {
    let scene = Scene::new();
    let (key, id) = (first_key(&scene), scene.connect("ann"));
    let weak = scene.make_key_text(|key| key.scopes = vec![]).expose().to_owned();
    let status = |method, path: &str, key: &str| {
        let mut request = with_key(method, path, key);
        request.body = Body::TooLarge;
        send(&scene, &request).status
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
        assert_eq!(status(method, &known, &stranger(&scene)), 401, "{path}");
        assert_eq!(status(method, &known, &weak), 403, "{path}");
        if path.contains("{}") {
            assert_eq!(status(method, &path.replace("{}", other), &key), 404, "{path}");
        }
    }
    assert!(scene.find(&id).is_some(), "nothing was done");
    let mut request = with_key(Method::Delete, "/v1/workspaces/ws_0123456789abcdefABCD-_", OPERATOR);
    request.body = Body::TooLarge;
    assert_eq!(send(&scene, &request).status, 404);
}

// ---- rates ----

#[test]
fn an_address_that_guesses_is_refused_before_its_credential_is_compared() {
    let scene = counted();
    let from = |address: &str, path: &str, credential: &str| {
        let bearer = format!("Bearer {credential}");
        send(&scene, &request(Method::Get, path, &[("authorization", &bearer), ("cf-connecting-ip", address)]))
    };
    let quota = usize::try_from(RateLimit::FailedAuthentication.quota()).unwrap();
    for at in 0..quota / 2 {
        assert_eq!(from("192.0.2.1", "/v1/status", &format!("guess {at}")).status, 401);
        assert_eq!(from("192.0.2.1", "/v1/workspace", &stranger(&scene)).status, 401);
    }
    let over = from("192.0.2.1", "/v1/status", "one more");
    assert_eq!((over.status, over.header("retry-after")), (429, Some("60")));
    assert_eq!(over.header("ratelimit-policy"), Some("\"failed-authentication\";q=100;w=60"));
    let problem: Value = serde_json::from_str(&over.body).unwrap();
    assert_eq!((&problem["code"], &problem["retry_after"]), (&json!("rate_limited"), &json!(60)));

    let key = first_key(&scene);
    scene.world.db.reset_counts();
    assert_eq!(from("192.0.2.1", "/v1/status", OPERATOR).status, 429, "a right guess is not confirmed");
    assert_eq!(from("192.0.2.1", "/v1/workspace", &key).status, 429);
    assert_eq!(scene.world.db.round_trips.get(), 0, "nothing was compared");
    assert_eq!(from(ELSEWHERE, "/v1/status", OPERATOR).status, 200);
    assert_eq!(from(ELSEWHERE, "/v1/workspace", &key).status, 200, "a key's owner is not locked out");
    let none = request(Method::Get, "/v1/workspace", &[("cf-connecting-ip", "192.0.2.1")]);
    assert_eq!(send(&scene, &none).status, 401, "nothing was presented");
    scene.world.pass(61);
    assert_eq!(from("192.0.2.1", "/v1/workspace", &key).status, 200);
}

#[test]
fn guesses_of_links_and_resolves_with_wrong_keys_count_and_other_refusals_do_not() {
    let scene = counted();
    let counted = || scene.world.counts.total(RateLimit::FailedAuthentication);
    let id = scene.connect("ann");
    send(&scene, &request(Method::Get, "/connect/nothing", &[]));
    send(&scene, &request(Method::Get, "/sign-in/neither", &[]));
    send(&scene, &with_key(Method::Post, &format!("/v1/connections/{id}/resolve"), &stranger(&scene)));
    assert_eq!(counted(), 3);
    let key = first_key(&scene);
    for (path, status) in [("/v1/connections/con_x", 404), ("/v1/connections?x=1", 422), ("/v1/workspace", 200)] {
        assert_eq!(send(&scene, &with_key(Method::Get, path, &key)).status, status);
    }
    send(&scene, &request(Method::Get, "/v1/workspace", &[]));
    send(&scene, &with_key(Method::Get, "/v1/workspace", "not-a-key"));
    send(&scene, &request(Method::Get, "/", &[("cookie", "__Host-cx_session=old")]));
    assert_eq!(counted(), 3);
}

#[test]
fn a_program_with_a_revoked_key_is_no_guesser() {
    let scene = counted();
    let (wrong, key) = (stranger(&scene), first_key(&scene));
    for _ in 0..500 {
        assert_eq!(send(&scene, &with_key(Method::Get, "/v1/workspace", &wrong)).status, 401);
    }
    assert_eq!(scene.world.counts.total(RateLimit::FailedAuthentication), 50);
    assert_eq!(send(&scene, &with_key(Method::Get, "/v1/workspace", &key)).status, 200);
}

#[test]
fn a_key_that_makes_too_many_calls_is_refused_and_nobody_else_is() {
    let scene = counted();
    let (key, other) = (first_key(&scene), scene.make_key_text(|_| ()).expose().to_owned());
    let id = scene.connect("ann");
    let resolve = format!("/v1/connections/{id}/resolve");
    assert_eq!(send(&scene, &with_key(Method::Post, &resolve, &key)).status, 200);
    assert_eq!(scene.world.counts.total(RateLimit::Calls), 1);
    let key_id = scene.key.id.clone();
    scene.world.run(async {
        let core = scene.world.core();
        for _ in 1..RateLimit::Calls.quota() {
            let limiter = connections::ports::Ports::rate_limiter(&core.ports);
            assert!(connections::ports::RateLimiter::allows(limiter, RateLimit::Calls, key_id.as_str()).await);
        }
    });
    assert_eq!(send(&scene, &with_key(Method::Post, &resolve, &key)).status, 200, "counted behind the answer");
    scene.world.db.reset_counts();
    let over = send(&scene, &with_key(Method::Post, &resolve, &key));
    assert_eq!((over.status, over.header("retry-after")), (429, Some("10")));
    assert_eq!(over.header("ratelimit-policy"), Some("\"calls\";q=12000;w=60"));
    assert_eq!(scene.world.db.round_trips.get(), 0);
    assert_eq!(send(&scene, &with_key(Method::Post, &resolve, &other)).status, 200);
    assert_eq!(send(&scene, &with_key(Method::Post, &resolve, &stranger(&scene))).status, 401);
    scene.world.pass(60);
    assert_eq!(send(&scene, &with_key(Method::Post, &resolve, &key)).status, 200);
}

#[test]
fn a_hot_resolve_waits_for_the_database_alone() {
    let scene = counted();
    let (key, id) = (first_key(&scene), scene.connect("ann"));
    let path = format!("/v1/connections/{id}/resolve");
    send(&scene, &with_key(Method::Post, &path, &key));
    let before = scene.world.counts.total(RateLimit::Calls);
    scene.world.db.reset_counts();
    let response =
        scene.world.run(async { http::handle(&scene.world.core(), &with_key(Method::Post, &path, &key)).await });
    assert_eq!((response.status, scene.world.db.round_trips.get()), (200, 1));
    assert_eq!(scene.world.counts.total(RateLimit::Calls), before, "counted afterwards");
    assert_eq!(response.after.len(), 1);
}

#[test]
fn costly_calls_are_limited_by_key_and_by_person_and_a_page_says_so() {
    let scene = counted();
    let key = first_key(&scene);
    let other = scene.make_key_text(|_| ()).expose().to_owned();
    let make = |key: &str| call(&scene, key, Method::Post, "/v1/links", &json!({ "app": "acme" })).0;
    for _ in 0..RateLimit::CostlyCalls.quota() {
        assert_eq!(make(&key), 201);
    }
    assert_eq!((make(&key), make(&other)), (429, 201));
    assert_eq!(call(&scene, &key, Method::Get, "/v1/workspace", &Value::Null).0, 200, "reading goes on");

    let mut ann = crate::http::Browser::new(&scene);
    scene.world.pass(61);
    ann.sign_in();
    let id = scene.connect("ann");
    let page = ann.get(&format!("/connections/{id}")).body;
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    // Nothing of it takes time here: the calls stay within one minute.
    scene.world.acme.always("/me", Some(crate::support::Reply::status(200, "{}")));
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
fn the_numbers_that_callers_are_told_are_those_of_the_bindings() {
    let settings = include_str!("../../wrangler.toml");
    for limit in RateLimit::ALL {
        let section = settings.split("[[ratelimits]]").find(|text| text.contains(limit.binding())).unwrap();
        let simple = format!("simple = {{ limit = {}, period = {} }}", limit.quota(), limit.seconds());
        assert!(section.contains(&simple), "{section}");
    }
}

#[test]
fn the_memory_of_refused_callers_does_not_grow_without_end() {
    let scene = Scene::new();
    let (memo, now) = (Memo::default(), scene.world.now());
    for at in 0..12_000 {
        memo.block(&format!("caller {at}"), now.plus(60 + at), now);
    }
    let blocked = (0..12_000).filter(|at| memo.blocked_for(&format!("caller {at}"), now).is_some()).count();
    assert_eq!(blocked, 10_000);
    assert_eq!(memo.blocked_for("caller 0", now), None, "the one whose time ended first gave way");
}
