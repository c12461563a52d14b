//! Malformed requests of browsers: queries of the callback and of the pages, through the whole of HTTP.

use connections::caller::hash_secret;
use connections::http::{self, Body, Method, Request, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{PLANT, check_property, hostile_text, text_with_plant};
use crate::support::Fixture;

/// Headers that every answer has.
const HEADERS: [&str; 7] = [
    "cache-control",
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "x-frame-options",
    "cross-origin-opener-policy",
    "strict-transport-security",
];

/// A signed-in person's browser.
struct SignedInVisitor<'a> {
    fixture: &'a Fixture,
    cookie: String,
}

impl<'a> SignedInVisitor<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        let mut visit = Self { fixture, cookie: String::new() };
        let body = json!({ "user": { "id": "ann" } }).to_string();
        let key = ("authorization", format!("Bearer {}", fixture.key_text.expose()));
        let made = visit.send(Method::Post, "/v1/sign-in-links", "", &body, Some(key));
        let made: Value = serde_json::from_str(&made.body).unwrap();
        let path = made["url"].as_str().unwrap().trim_start_matches("https://c.example.com").to_owned();
        let signed_in = visit.send(Method::Post, &path, "", "", None);
        signed_in.header("set-cookie").unwrap().split(';').next().unwrap().clone_into(&mut visit.cookie);
        visit
    }

    fn send(&self, method: Method, path: &str, query: &str, body: &str, header: Option<(&str, String)>) -> Response {
        let mut headers = vec![("sec-fetch-site".to_owned(), "same-origin".to_owned())];
        if !self.cookie.is_empty() {
            headers.push(("cookie".to_owned(), self.cookie.clone()));
        }
        headers.extend(header.map(|(name, value)| (name.to_owned(), value)));
        let body = Body::Bytes(body.as_bytes().to_vec());
        let request = Request { method, path: path.into(), query: query.into(), headers, body, id: "r".into() };
        self.fixture.world.run(async { http::handle(&self.fixture.world.context(), &request).await })
    }

    fn get(&self, path: &str, query: &str) -> Response {
        self.send(Method::Get, path, query, "", None)
    }

    fn callback(&self, query: &str) -> Response {
        self.get(&format!("/oauth/callback/{}", self.fixture.client), query)
    }

    /// Starts a flow of this browser. Returns its state and a code.
    fn begin_flow(&self) -> (String, String) {
        let session = hash_secret(self.cookie.split_once('=').unwrap().1);
        let url = self.fixture.start_flow(&self.fixture.connect_request(), &session);
        let (code, state) = self.fixture.world.acme.consent(&url, "ann");
        (state, code.expose().to_owned())
    }

    fn count_token_requests(&self) -> usize {
        self.fixture.world.acme.count_requests("/token")
    }
}

/// Checks an answer: no internal error, all headers, no value that could split a header.
fn check_response(response: &Response) -> Result<(), TestCaseError> {
    prop_assert!(response.status < 500, "{:?}", response);
    for name in HEADERS {
        prop_assert!(response.header(name).is_some(), "{} is missing", name);
    }
    prop_assert_eq!(response.header("cache-control"), Some("no-store"));
    for (name, value) in &response.headers {
        prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}: {:?}", name, value);
    }
    Ok(())
}

/// No element or attribute that untrusted text could have made.
fn check_html(body: &str) -> Result<(), TestCaseError> {
    let lower = body.to_lowercase();
    // Our own script and drawings.
    let lower =
        lower.replace("<script src=\"/assets/", "").replace("<svg class=\"icon", "").replace("<svg focusable", "");
    for sign in ["<script", "<img", "<svg", "<iframe", "javascript:", "\"><img"] {
        prop_assert!(!lower.contains(sign), "{}", body);
    }
    Ok(())
}

/// Parameters as a browser sends them.
fn encode_query(pairs: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn parameter_name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec!["code", "error", "iss", "error_description", "error_uri", "scope", "session_state", "STATE", "state[]", "response", ""])
            .prop_map(str::to_owned),
        1 => hostile_text(),
    ]
}

fn parameter_value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => text_with_plant(),
        2 => prop::sample::select(vec!["", "access_denied", "server_error", "https://acme.example", "https://evil.example"]).prop_map(str::to_owned),
        1 => Just("y".repeat(16 * 1024)),
    ]
}

fn parameter_pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((parameter_name(), parameter_value()), 0..6)
}

/// Queries that no form sends: broken escapes, single separators, arbitrary bytes.
fn raw_query() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "%",
            "%z",
            "%zz",
            "%0",
            "%00",
            "%0d%0a",
            "%ff%fe",
            "%F0%9F",
            "%u003c",
            "+",
            "&",
            "&&",
            ";",
            "=",
            "==",
            "?",
            "#",
            "state",
            "state=",
            "&state=",
            "code=",
            "&code=c",
            "&error=",
            "&iss=",
            "<script>alert(1)</script>",
            "'\"><img src=x onerror=alert(1)>",
            "../",
            "\\",
            "\0",
            "é",
        ])
        .prop_map(str::to_owned),
        Just(PLANT.to_owned()),
        hostile_text(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn a_callback_with_a_wrong_state_sends_no_request_and_repeats_no_input() {
    let fixture = Fixture::new();
    let visit = SignedInVisitor::new(&fixture);
    let (right, _) = visit.begin_flow();
    let states = prop_oneof![
        2 => Just(vec![]),
        3 => text_with_plant().prop_map(|text| vec![text]),
        1 => Just(vec![String::new()]),
        1 => Just(vec!["z".repeat(300)]),
        2 => (text_with_plant(), any::<bool>()).prop_map(|(text, first)| if first { vec![text, "RIGHT".into()] } else { vec!["RIGHT".into(), text] }),
        1 => Just(vec!["RIGHT".into(), "RIGHT ".into()]),
        1 => Just(vec!["RIGHTx".into()]),
    ];
    let queries = prop_oneof![
        3 => (states, parameter_pairs()).prop_map(|(states, others)| {
            let states = states.into_iter().map(|state| ("state".to_owned(), state));
            encode_query(&states.chain(others).collect::<Vec<_>>())
        }),
        2 => raw_query(),
    ];
    check_property(256, &queries, |query| {
        let query = query.replace("RIGHT", &right);
        let before = visit.count_token_requests();
        let response = visit.callback(&query);
        check_response(&response)?;
        prop_assert_eq!((response.status, response.header("location")), (303, Some("/oauth/ended/unknown")));
        prop_assert!(response.body.is_empty());
        prop_assert_eq!(visit.count_token_requests(), before);
        Ok(())
    });
    assert!(!fixture.world.log.dump_lines().contains("planted"));
    let page = visit.get("/oauth/ended/unknown", "");
    assert_eq!(page.status, 400);
    let (state, code) = visit.begin_flow();
    assert_eq!(visit.count_token_requests(), 0);
    let response = visit.callback(&encode_query(&[("state".into(), state), ("code".into(), code)]));
    assert!(response.header("location").unwrap().starts_with("/connections/con_"), "{response:?}");
}

#[test]
fn a_valid_state_with_malformed_parameters_is_used_once_and_ends_on_our_page() {
    let fixture = Fixture::new();
    let visit = SignedInVisitor::new(&fixture);
    check_property(128, &(parameter_pairs(), any::<bool>()), |(others, with_code)| {
        let (state, code) = visit.begin_flow();
        let mut sent = others;
        sent.push(("state".into(), state));
        if with_code {
            sent.insert(0, ("code".into(), code));
        }
        let values = |name: &str| {
            let all = sent.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
            all.collect::<std::collections::BTreeSet<_>>().len()
        };
        let of = |name: &str| {
            sent.iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
                .filter(|value| !value.is_empty())
        };
        let is_single = ["state", "code", "error", "iss"].iter().all(|name| values(name) <= 1);
        // The workspace's definition has no issuer, so a callback with `iss` is refused.
        let may_ask = is_single
            && of("error").is_none()
            && of("iss").is_none()
            && of("code").is_some_and(|code| code.len() <= 8192);

        let before = visit.count_token_requests();
        let response = visit.callback(&encode_query(&sent));
        check_response(&response)?;
        prop_assert_eq!(response.status, 303);
        prop_assert_eq!(visit.count_token_requests() - before, usize::from(may_ask));
        let location = response.header("location").unwrap().to_owned();
        prop_assert!(!location.contains("planted"));
        let (path, query) = location.split_once('?').unwrap_or((location.as_str(), ""));
        prop_assert!(
            ["/oauth/ended/", "/flows/aut_", "/connections/con_"].iter().any(|start| path.starts_with(start)),
            "{}",
            path
        );
        let page = visit.get(path, query);
        check_response(&page)?;
        prop_assert!(!page.body.contains("planted"));
        check_html(&page.body)?;

        let again = visit.callback(&encode_query(&sent));
        let expected = if is_single { location.as_str() } else { "/oauth/ended/unknown" };
        prop_assert_eq!(again.header("location"), Some(expected), "the flow's own ending");
        prop_assert_eq!(visit.count_token_requests() - before, usize::from(may_ask));
        Ok(())
    });
    assert!(!fixture.world.log.dump_lines().contains("planted"));
}

#[test]
fn no_query_breaks_a_page_or_becomes_markup() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let visit = SignedInVisitor::new(&fixture);
    let query = prop_oneof![
        1 => raw_query(),
        2 => (prop::sample::select(vec!["q", "scopes", "cursor", "limit", "status", "app", "connected", "attention"]), text_with_plant())
            .prop_map(|(name, text)| encode_query(&[(name.to_owned(), text)])),
        1 => (prop::sample::select(vec!["q", "scopes", "cursor"]), raw_query()).prop_map(|(name, text)| format!("{name}={text}")),
    ];
    let paths = ["/", "/oauth/start/acme", "/oauth/ended/begun-anew", "/nowhere"].map(str::to_owned).to_vec();
    let paths = [paths, vec![format!("/connections/{id}"), format!("/connections/{id}/reconnect")]].concat();
    check_property(192, &(prop::sample::select(paths), query), |(path, query)| {
        let response = visit.get(&path, &query);
        check_response(&response)?;
        check_html(&response.body)
    });
}

#[test]
fn no_malformed_header_grants_access_or_breaks_a_page() {
    let fixture = Fixture::new();
    let visit = SignedInVisitor::new(&fixture);
    let id = fixture.connect("ann");
    let (name, value) = visit.cookie.split_once('=').unwrap();
    let wrong = vec![
        format!("{name}="),
        format!("{name}={value}x"),
        format!("{name}x={value}"),
        value.to_owned(),
        name.to_owned(),
        format!("{name}=\"{value}\""),
        format!("{}={value}", name.to_lowercase()),
        "; ".repeat(5000),
        (0..500).map(|at| format!("__Host-cx_link_{at}=x")).collect::<Vec<_>>().join("; "),
    ];
    let headers = prop_oneof![
        2 => prop::sample::select(wrong).prop_map(|text| ("cookie", text)),
        1 => raw_query().prop_map(|text| ("cookie", text)),
        1 => text_with_plant().prop_map(|text| ("authorization", format!("Bearer {text}"))),
        1 => raw_query().prop_map(|text| ("authorization", text)),
    ];
    let pages = ["/", "/oauth/start/acme", "/v1/connections"].map(str::to_owned).to_vec();
    let pages = [pages, vec![format!("/connections/{id}"), format!("/v1/connections/{id}")]].concat();
    let stranger = SignedInVisitor { fixture: &fixture, cookie: String::new() };
    check_property(192, &(prop::sample::select(pages), headers), |(path, (header, text))| {
        let response = stranger.send(Method::Get, &path, "", "", Some((header, text)));
        check_response(&response)?;
        prop_assert_eq!(response.status, 401, "{:?}", response);
        prop_assert!(!response.body.contains(PLANT) && !response.body.contains("ann@acme.example"));
        Ok(())
    });
    assert_eq!(visit.get(&format!("/connections/{id}"), "").status, 200);
    assert!(!fixture.world.log.dump_lines().contains("planted"));
}

#[test]
fn no_malformed_callback_path_causes_an_error() {
    let fixture = Fixture::new();
    let visit = SignedInVisitor::new(&fixture);
    let methods = [Method::Get, Method::Post, Method::Put, Method::Delete, Method::Other];
    check_property(
        128,
        &(raw_query(), prop::sample::select(methods.to_vec()), parameter_pairs()),
        |(path, method, pairs)| {
            let response = visit.send(method, &format!("/oauth/callback/{path}"), &encode_query(&pairs), "", None);
            check_response(&response)?;
            check_html(&response.body)?;
            prop_assert!(!response.body.contains(PLANT));
            Ok(())
        },
    );
    assert_eq!(visit.count_token_requests(), 0);
}
