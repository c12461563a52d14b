//! Nothing is there that should not be: no files, no debug addresses, no TRACE, no versions (ASVS 13.4).

use connections::http::routes::ROUTES;
use connections::http::{Method, Response};
use serde_json::Value;

use super::{Browser, OPERATOR, call, first_key, request, send};
use crate::support::{Fault, Scene, Wound};

/// What scanners ask for first.
const PROBED: [&str; 34] = [
    "/.git/config",
    "/.git/HEAD",
    "/.svn/entries",
    "/.env",
    "/.dev.vars",
    "/.prod.vars",
    "/wrangler.toml",
    "/package.json",
    "/Cargo.toml",
    "/Cargo.lock",
    "/src/lib.rs",
    "/index.js",
    "/index_bg.wasm",
    "/index.js.map",
    "/migrations/0001_init.sql",
    "/debug",
    "/debug/pprof/",
    "/debug/vars",
    "/actuator/env",
    "/metrics",
    "/server-status",
    "/server-info",
    "/phpinfo.php",
    "/admin",
    "/console",
    "/graphql",
    "/swagger-ui/",
    "/api-docs",
    "/trace",
    "/status",
    "/v1",
    "/v1/debug",
    "/__scheduled",
    "/cdn-cgi/mf/scheduled",
];

/// Names and words that tell what runs here.
const TELLING: [&str; 13] = [
    "workerd",
    "wrangler",
    "workers-rs",
    "rustc",
    "panicked",
    ".rs:",
    "sqlite",
    "d1_error",
    "no such table",
    "stack backtrace",
    "injected fault",
    "0.1.0",
    "cloudflare",
];

fn tells_nothing(response: &Response, what: &str) {
    for (name, value) in &response.headers {
        assert!(
            !["server", "x-powered-by", "via", "x-aspnet-version", "x-runtime", "x-version"].contains(&name.as_str()),
            "{what}: {name}: {value}"
        );
    }
    let body = response.body.to_lowercase();
    for word in TELLING {
        assert!(!body.contains(word), "{what} tells {word}: {}", response.body);
    }
}

#[test]
fn what_scanners_look_for_is_not_there_for_anybody() {
    let scene = Scene::new();
    let mut ann = Browser::of(&scene, "ann");
    for path in PROBED {
        for (who, response) in [
            ("a stranger", send(&scene.world, &request(Method::Get, path, &[], ""))),
            (
                "a key",
                send(
                    &scene.world,
                    &request(Method::Get, path, &[("authorization", &format!("Bearer {}", first_key(&scene)))], ""),
                ),
            ),
            (
                "the operator",
                send(
                    &scene.world,
                    &request(Method::Get, path, &[("authorization", &format!("Bearer {OPERATOR}"))], ""),
                ),
            ),
            ("a person", ann.get(path)),
        ] {
            assert_eq!(response.status, 404, "{path} as {who}");
            tells_nothing(&response, path);
        }
    }
}

#[test]
fn trace_and_methods_that_nobody_knows_are_refused_everywhere_and_echo_nothing() {
    let scene = Scene::new();
    for name in ["TRACE", "TRACK", "CONNECT", "DEBUG", "OPTIONS", "trace", ""] {
        assert_eq!(Method::parse(name), Method::Other, "{name}");
    }
    for line in ROUTES {
        let headers = [("authorization", "Bearer hunter2"), ("cookie", "hunter2=hunter2"), ("max-forwards", "0")];
        let response = send(&scene.world, &request(Method::Other, line.path, &headers, "hunter2"));
        assert_eq!(response.status, 405, "{}", line.path);
        assert!(response.header("allow").is_some_and(|allow| allow.contains(line.method.as_str())));
        assert!(
            !response.body.contains("hunter2") && !response.headers.iter().any(|(_, value)| value.contains("hunter2"))
        );
        tells_nothing(&response, line.path);
    }
}

#[test]
fn no_route_tells_a_version_to_whoever_is_not_the_operator() {
    let scene = Scene::new();
    let mut ann = Browser::of(&scene, "ann");
    for line in ROUTES.iter().filter(|line| line.path != "/openapi.json") {
        let path = line.path.replace("{connection}", &format!("con_{}", "0".repeat(24)));
        tells_nothing(&send(&scene.world, &request(line.method, &path, &[], "{}")), line.path);
        tells_nothing(&ann.send(line.method, &path, "x=y"), line.path);
    }
    let status = call(&scene.world, OPERATOR, Method::Get, "/v1/status", &Value::Null);
    assert_eq!(status.1["version"], env!("CARGO_PKG_VERSION"), "who runs it may know");
}

#[test]
fn a_failure_inside_tells_its_cause_to_the_log_alone() {
    let scene = Scene::new();
    let key = first_key(&scene);
    let mut ann = Browser::of(&scene, "ann");
    let id = scene.connect("ann");
    // Neither a value that is not as expected nor a database that fails shows what it is.
    scene.world.db.tamper("UPDATE connections SET metadata = 'hunter2'");
    let ask = |path: &str| {
        send(&scene.world, &request(Method::Post, path, &[("authorization", &format!("Bearer {key}"))], "{}"))
    };
    let response = ask(&format!("/v1/connections/{id}/resolve"));
    assert_eq!(response.status, 500);
    tells_nothing(&response, "a malformed row");
    assert!(!response.body.contains("hunter2") && !response.body.contains("metadata"));
    for sql in ["FROM api_keys", "FROM sessions"] {
        scene.world.db.faults.borrow_mut().push(Fault { sql, times: 2, wound: Wound::Before });
    }
    for response in [ask("/v1/keys"), ann.get("/")] {
        assert_eq!(response.status, 503);
        tells_nothing(&response, "an outage");
    }
    assert!(scene.world.log.dump().contains("injected fault"), "the log has the cause");
}
