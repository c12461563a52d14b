//! What browsers bring: queries of the callback and of the pages, through the whole of HTTP.

use connections::caller::hash;
use connections::http::{self, Body, Method, Request, Response};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{PLANT, check, nasty, planted};
use crate::support::Scene;

/// Headers without which no answer leaves.
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
struct Visit<'a> {
    scene: &'a Scene,
    cookie: String,
}

impl<'a> Visit<'a> {
    fn new(scene: &'a Scene) -> Self {
        let mut visit = Self { scene, cookie: String::new() };
        let body = json!({ "user": { "id": "ann" } }).to_string();
        let key = ("authorization", format!("Bearer {}", scene.key_text.expose()));
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
        self.scene.world.run(async { http::handle(&self.scene.world.core(), &request).await })
    }

    fn get(&self, path: &str, query: &str) -> Response {
        self.send(Method::Get, path, query, "", None)
    }

    fn callback(&self, query: &str) -> Response {
        self.get(&format!("/oauth/callback/{}", self.scene.client), query)
    }

    /// Begins a flow of this browser: its state and a code.
    fn begin(&self) -> (String, String) {
        let session = hash(self.cookie.split_once('=').unwrap().1);
        let url = self.scene.start(&self.scene.wish(), &session);
        let (code, state) = self.scene.world.acme.consent(&url, "ann");
        (state, code.expose().to_owned())
    }

    fn token_requests(&self) -> usize {
        self.scene.world.acme.count("/token")
    }
}

/// An answer that is fit to leave, whatever came in: no failure of ours, all headers, no value that could split.
fn is_fit(response: &Response) -> Result<(), TestCaseError> {
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

/// No element or attribute that a stranger's text could have made.
fn is_inert(body: &str) -> Result<(), TestCaseError> {
    let lower = body.to_lowercase();
    for sign in ["<script", "<img", "<svg", "<iframe", "javascript:", "\"><img"] {
        prop_assert!(!lower.contains(sign), "{}", body);
    }
    Ok(())
}

/// Parameters, as a browser sends them: the text of the query.
fn encoded(pairs: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec!["code", "error", "iss", "error_description", "error_uri", "scope", "session_state", "STATE", "state[]", "response", ""])
            .prop_map(str::to_owned),
        1 => nasty(),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => planted(),
        2 => prop::sample::select(vec!["", "access_denied", "server_error", "https://acme.example", "https://evil.example"]).prop_map(str::to_owned),
        1 => Just("y".repeat(16 * 1024)),
    ]
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec((name(), value()), 0..6)
}

/// Queries that no form made: broken escapes, bare separators, bytes of any kind.
fn raw() -> impl Strategy<Value = String> {
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
        nasty(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn a_callback_with_a_wrong_state_asks_nobody_and_echoes_nothing() {
    let scene = Scene::new();
    let visit = Visit::new(&scene);
    let (right, _) = visit.begin();
    let states = prop_oneof![
        2 => Just(vec![]),
        3 => planted().prop_map(|text| vec![text]),
        1 => Just(vec![String::new()]),
        1 => Just(vec!["z".repeat(300)]),
        2 => (planted(), any::<bool>()).prop_map(|(text, first)| if first { vec![text, "RIGHT".into()] } else { vec!["RIGHT".into(), text] }),
        1 => Just(vec!["RIGHT".into(), "RIGHT ".into()]),
        1 => Just(vec!["RIGHTx".into()]),
    ];
    let queries = prop_oneof![
        3 => (states, pairs()).prop_map(|(states, others)| {
            let states = states.into_iter().map(|state| ("state".to_owned(), state));
            encoded(&states.chain(others).collect::<Vec<_>>())
        }),
        2 => raw(),
    ];
    check(256, &queries, |query| {
        let query = query.replace("RIGHT", &right);
        let before = visit.token_requests();
        let response = visit.callback(&query);
        is_fit(&response)?;
        prop_assert_eq!((response.status, response.header("location")), (303, Some("/oauth/ended/unknown")));
        prop_assert!(response.body.is_empty());
        prop_assert_eq!(visit.token_requests(), before);
        Ok(())
    });
    assert!(!scene.world.log.dump().contains("planted"));
    let page = visit.get("/oauth/ended/unknown", "");
    assert_eq!(page.status, 400);
    let (state, code) = visit.begin();
    assert_eq!(visit.token_requests(), 0);
    let response = visit.callback(&encoded(&[("state".into(), state), ("code".into(), code)]));
    assert!(response.header("location").unwrap().starts_with("/connections/con_"), "{response:?}");
}

#[test]
fn a_right_state_among_hostile_company_is_spent_once_and_the_flow_ends_on_our_own_page() {
    let scene = Scene::new();
    let visit = Visit::new(&scene);
    check(128, &(pairs(), any::<bool>()), |(others, with_code)| {
        let (state, code) = visit.begin();
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
        // The workspace's definition names no issuer, so an answer that names one is nobody's.
        let may_ask = is_single
            && of("error").is_none()
            && of("iss").is_none()
            && of("code").is_some_and(|code| code.len() <= 8192);

        let before = visit.token_requests();
        let response = visit.callback(&encoded(&sent));
        is_fit(&response)?;
        prop_assert_eq!(response.status, 303);
        prop_assert_eq!(visit.token_requests() - before, usize::from(may_ask));
        let location = response.header("location").unwrap().to_owned();
        prop_assert!(!location.contains("planted"));
        let (path, query) = location.split_once('?').unwrap_or((location.as_str(), ""));
        prop_assert!(
            ["/oauth/ended/", "/flows/aut_", "/connections/con_"].iter().any(|start| path.starts_with(start)),
            "{}",
            path
        );
        let page = visit.get(path, query);
        is_fit(&page)?;
        prop_assert!(!page.body.contains("planted"));
        is_inert(&page.body)?;

        let again = visit.callback(&encoded(&sent));
        let expected = if is_single { location.as_str() } else { "/oauth/ended/unknown" };
        prop_assert_eq!(again.header("location"), Some(expected), "the flow's own ending");
        prop_assert_eq!(visit.token_requests() - before, usize::from(may_ask));
        Ok(())
    });
    assert!(!scene.world.log.dump().contains("planted"));
}

#[test]
fn no_page_fails_or_repeats_a_query_as_markup() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let visit = Visit::new(&scene);
    let query = prop_oneof![
        1 => raw(),
        2 => (prop::sample::select(vec!["q", "scopes", "cursor", "limit", "status", "app", "connected", "attention"]), planted())
            .prop_map(|(name, text)| encoded(&[(name.to_owned(), text)])),
        1 => (prop::sample::select(vec!["q", "scopes", "cursor"]), raw()).prop_map(|(name, text)| format!("{name}={text}")),
    ];
    let paths = ["/", "/oauth/start/acme", "/oauth/ended/begun-anew", "/nowhere"].map(str::to_owned).to_vec();
    let paths = [paths, vec![format!("/connections/{id}"), format!("/connections/{id}/reconnect")]].concat();
    check(192, &(prop::sample::select(paths), query), |(path, query)| {
        let response = visit.get(&path, &query);
        is_fit(&response)?;
        is_inert(&response.body)
    });
}

#[test]
fn no_header_of_a_browser_opens_or_breaks_anything() {
    let scene = Scene::new();
    let visit = Visit::new(&scene);
    let id = scene.connect("ann");
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
        1 => raw().prop_map(|text| ("cookie", text)),
        1 => planted().prop_map(|text| ("authorization", format!("Bearer {text}"))),
        1 => raw().prop_map(|text| ("authorization", text)),
    ];
    let pages = ["/", "/oauth/start/acme", "/v1/connections"].map(str::to_owned).to_vec();
    let pages = [pages, vec![format!("/connections/{id}"), format!("/v1/connections/{id}")]].concat();
    let stranger = Visit { scene: &scene, cookie: String::new() };
    check(192, &(prop::sample::select(pages), headers), |(path, (header, text))| {
        let response = stranger.send(Method::Get, &path, "", "", Some((header, text)));
        is_fit(&response)?;
        prop_assert_eq!(response.status, 401, "{:?}", response);
        prop_assert!(!response.body.contains(PLANT) && !response.body.contains("ann@acme.example"));
        Ok(())
    });
    assert_eq!(visit.get(&format!("/connections/{id}"), "").status, 200);
    assert!(!scene.world.log.dump().contains("planted"));
}

#[test]
fn no_path_of_the_callback_fails() {
    let scene = Scene::new();
    let visit = Visit::new(&scene);
    let methods = [Method::Get, Method::Post, Method::Put, Method::Delete, Method::Other];
    check(128, &(raw(), prop::sample::select(methods.to_vec()), pairs()), |(path, method, pairs)| {
        let response = visit.send(method, &format!("/oauth/callback/{path}"), &encoded(&pairs), "", None);
        is_fit(&response)?;
        is_inert(&response.body)?;
        prop_assert!(!response.body.contains(PLANT));
        Ok(())
    });
    assert_eq!(visit.token_requests(), 0);
}
