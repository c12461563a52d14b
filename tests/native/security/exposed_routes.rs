//! Nothing unintended is exposed: no files, no debug addresses, no TRACE, no versions (ASVS 13.4).

use connections::http::routes::ROUTES;
use connections::http::{Method, Response};
use serde_json::Value;

use super::{ADMIN_KEY, CookieBrowser, call, first_key, request, send};
use crate::support::{Fault, FaultRule, Fixture};

/// Paths that scanners try first.
const PROBED_PATHS: [&str; 34] = [
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

/// Names and words that reveal the software.
const REVEALING_WORDS: [&str; 13] = [
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

fn assert_reveals_nothing(response: &Response, what: &str) {
    for (name, value) in &response.headers {
        assert!(
            !["server", "x-powered-by", "via", "x-aspnet-version", "x-runtime", "x-version"].contains(&name.as_str()),
            "{what}: {name}: {value}"
        );
    }
    let body = response.body.to_lowercase();
    for word in REVEALING_WORDS {
        assert!(!body.contains(word), "{what} tells {word}: {}", response.body);
    }
}

#[test]
fn paths_that_scanners_probe_do_not_exist() {
    let fixture = Fixture::new();
    let mut ann = CookieBrowser::signed_in_as(&fixture, "ann");
    for path in PROBED_PATHS {
        for (who, response) in [
            ("a stranger", send(&fixture.world, &request(Method::Get, path, &[], ""))),
            (
                "a key",
                send(
                    &fixture.world,
                    &request(Method::Get, path, &[("authorization", &format!("Bearer {}", first_key(&fixture)))], ""),
                ),
            ),
            (
                "the operator",
                send(
                    &fixture.world,
                    &request(Method::Get, path, &[("authorization", &format!("Bearer {ADMIN_KEY}"))], ""),
                ),
            ),
            ("a person", ann.get(path)),
        ] {
            assert_eq!(response.status, 404, "{path} as {who}");
            assert_reveals_nothing(&response, path);
        }
    }
}

#[test]
fn trace_and_unknown_methods_are_refused_everywhere_without_an_echo() {
    let fixture = Fixture::new();
    for name in ["TRACE", "TRACK", "CONNECT", "DEBUG", "OPTIONS", "trace", ""] {
        assert_eq!(Method::parse(name), Method::Other, "{name}");
    }
    for line in ROUTES {
        let headers = [("authorization", "Bearer hunter2"), ("cookie", "hunter2=hunter2"), ("max-forwards", "0")];
        let response = send(&fixture.world, &request(Method::Other, line.path, &headers, "hunter2"));
        assert_eq!(response.status, 405, "{}", line.path);
        assert!(response.header("allow").is_some_and(|allow| allow.contains(line.method.as_str())));
        assert!(
            !response.body.contains("hunter2") && !response.headers.iter().any(|(_, value)| value.contains("hunter2"))
        );
        assert_reveals_nothing(&response, line.path);
    }
}

#[test]
fn only_the_operator_sees_the_version() {
    let fixture = Fixture::new();
    let mut ann = CookieBrowser::signed_in_as(&fixture, "ann");
    for line in ROUTES.iter().filter(|line| line.path != "/openapi.json") {
        let path = line.path.replace("{connection}", &format!("con_{}", "0".repeat(24)));
        assert_reveals_nothing(&send(&fixture.world, &request(line.method, &path, &[], "{}")), line.path);
        assert_reveals_nothing(&ann.send(line.method, &path, "x=y"), line.path);
    }
    let status = call(&fixture.world, ADMIN_KEY, Method::Get, "/v1/status", &Value::Null);
    assert_eq!(status.1["version"], env!("CARGO_PKG_VERSION"), "who runs it may know");
}

#[test]
fn the_cause_of_an_internal_error_is_only_in_the_log() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let mut ann = CookieBrowser::signed_in_as(&fixture, "ann");
    let id = fixture.connect("ann");
    // An unexpected value or a failing database does not show its content.
    fixture.world.db.tamper("UPDATE connections SET metadata = 'hunter2'");
    let ask = |path: &str| {
        send(&fixture.world, &request(Method::Post, path, &[("authorization", &format!("Bearer {key}"))], "{}"))
    };
    let response = ask(&format!("/v1/connections/{id}/resolve"));
    assert_eq!(response.status, 500);
    assert_reveals_nothing(&response, "a malformed row");
    assert!(!response.body.contains("hunter2") && !response.body.contains("metadata"));
    for sql in ["FROM api_keys", "FROM sessions"] {
        fixture.world.db.fault_rules.borrow_mut().push(FaultRule {
            statement_part: sql,
            times: 2,
            fault: Fault::BeforeCommit,
        });
    }
    for response in [ask("/v1/keys"), ann.get("/")] {
        assert_eq!(response.status, 503);
        assert_reveals_nothing(&response, "an outage");
    }
    assert!(fixture.world.log.dump_lines().contains("injected fault"), "the log has the cause");
}
