//! Links in a window that the embedding product has opened: who is told what came of them, and which answers leave the
//! window its opener.

use connections::connect::complete::CHOICE_TTL;
use connections::http::assets::ADDRESSES;
use connections::http::{Method, Response};
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, link_path, request};
use crate::support::Fixture;

const ORIGIN: &str = "https://app.example";

fn fixture_with_origin() -> Fixture {
    let fixture = Fixture::new();
    let origins = json!({ "allowed_origins": [ORIGIN] });
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Patch, "/v1/workspace", &origins).0, 200);
    fixture
}

/// A link for a window: its id, and its path.
fn make_link(fixture: &Fixture, more: &Value) -> (String, String) {
    let mut body = json!({ "app": "acme", "popup": { "origin": ORIGIN } });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, made) = call(fixture, &first_key(fixture), Method::Post, "/v1/links", &body);
    assert_eq!(status, 201, "{made}");
    (made["id"].as_str().unwrap().to_owned(), link_path(&made))
}

fn get_link(fixture: &Fixture, id: &str) -> Value {
    call(fixture, &first_key(fixture), Method::Get, &format!("/v1/links/{id}"), &Value::Null).1
}

fn callback_path(fixture: &Fixture, pressed: &Response, query: &str) -> String {
    let at = url::Url::parse(pressed.header("location").unwrap()).unwrap();
    let state = at.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    format!("/oauth/callback/{}?state={state}&{query}", fixture.client)
}

fn consent_path(fixture: &Fixture, pressed: &Response, account: &str) -> String {
    let (code, state) = fixture.world.acme.consent(pressed.header("location").unwrap(), account);
    format!("/oauth/callback/{}?state={state}&code={}", fixture.client, code.expose())
}

fn keeps_opener(response: &Response) -> bool {
    match response.header("cross-origin-opener-policy") {
        Some("unsafe-none") => true,
        Some("same-origin") => false,
        other => panic!("{other:?}"),
    }
}

fn script_address() -> &'static str {
    ADDRESSES.iter().find(|(name, _)| *name == "popup.js").unwrap().1
}

/// Whether a page tells the window's opener. All pages may run our own static files, and nothing inline.
fn tells_opener(response: &Response) -> bool {
    let policy = response.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(policy.contains("script-src https://c.example.com/assets/;"), "{policy}");
    let tells = response.body.contains(&format!("<script src=\"{}\"></script>", script_address()));
    let is_page = response.body.contains("<html");
    assert_eq!(
        response.body.matches("<script").count(),
        usize::from(is_page) + usize::from(tells),
        "{}",
        response.body
    );
    tells
}

/// What the page tells: the attribute of its element, if there is one.
fn told<'a>(page: &'a Response, name: &str) -> Option<&'a str> {
    let element = page.body.split("<div id=\"outcome\" hidden").nth(1)?.split('>').next()?;
    element.split(&format!(" data-{name}=\"")).nth(1)?.split('"').next()
}

fn closes(page: &Response) -> bool {
    page.body.contains(" data-closes")
}

#[test]
fn a_window_is_told_to_the_origin_of_its_link_and_keeps_its_opener_on_the_way() {
    let fixture = fixture_with_origin();
    let (id, path) = make_link(&fixture, &json!({}));
    let mut ann = TestBrowser::new(&fixture);
    let page = ann.get(&path);
    assert!(keeps_opener(&page) && !tells_opener(&page));
    let pressed = ann.press(&path);
    assert!(pressed.status == 303 && keeps_opener(&pressed));
    let back = ann.get(&consent_path(&fixture, &pressed, "ann"));
    assert!(back.status == 303 && keeps_opener(&back));
    let end = ann.get(back.header("location").unwrap());
    assert!(keeps_opener(&end) && tells_opener(&end) && closes(&end), "{}", end.body);
    assert!(
        end.body.contains("is connected as ann") && end.body.contains("You can close this window."),
        "{}",
        end.body
    );
    let link = get_link(&fixture, &id);
    assert_eq!(
        [told(&end, "origin"), told(&end, "link"), told(&end, "status"), told(&end, "connection")],
        [Some(ORIGIN), Some(id.as_str()), link["last_attempt"]["status"].as_str(), link["connection"].as_str()]
    );
    // The link's secret is not on it.
    assert!(!end.body.contains(path.trim_start_matches("/connect/")));

    // Everything else of ours takes the opener away.
    ann.sign_in();
    for path in ["/", "/oauth/ended/expired", "/nothing", "/connect/nothing", "/healthz"] {
        let page = ann.get(path);
        assert!(!keeps_opener(&page) && !tells_opener(&page), "{path}");
    }
}

#[test]
fn an_origin_that_was_taken_away_is_told_nothing() {
    let allow = |fixture: &Fixture, origins: Value| {
        let body = json!({ "allowed_origins": origins });
        assert_eq!(call(fixture, &first_key(fixture), Method::Patch, "/v1/workspace", &body).0, 200);
    };
    let returning = json!({ "app": "acme", "return_to": format!("{ORIGIN}/done") });
    for (body, is_window) in [(json!({ "app": "acme", "popup": { "origin": ORIGIN } }), true), (returning, false)] {
        for (origins, is_allowed) in [
            (json!([ORIGIN, "https://other.example"]), true),
            (json!(["https://other.example"]), false),
            (json!([]), false),
            // Not the same origin, though it begins alike.
            (json!(["https://app.example.evil.example", "https://app.exampl"]), false),
        ] {
            let fixture = fixture_with_origin();
            let (status, made) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/links", &body);
            assert_eq!(status, 201, "{made}");
            let mut ann = TestBrowser::new(&fixture);
            let pressed = ann.press(&link_path(&made));
            allow(&fixture, origins.clone());
            let back = ann.get(&consent_path(&fixture, &pressed, "ann"));
            let leads = back.header("location").unwrap().to_owned();
            if !is_window {
                assert_eq!(leads.starts_with(ORIGIN), is_allowed, "{origins}: {leads}");
            }
            if !is_window && is_allowed {
                continue;
            }
            assert!(leads.starts_with("/flows/"), "{origins}: {leads}");
            let end = ann.get(&leads);
            assert_eq!(tells_opener(&end), is_window && is_allowed, "{origins}: {}", end.body);
            assert!(end.body.contains("is connected as ann"), "the person is told all the same: {}", end.body);
            assert!(is_allowed || !end.body.contains(ORIGIN), "{}", end.body);
        }
    }
}

#[test]
fn a_link_that_is_for_no_window_tells_nobody() {
    let fixture = fixture_with_origin();
    let (status, made) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/links", &json!({ "app": "acme" }));
    assert_eq!(status, 201, "{made}");
    let path = link_path(&made);
    let mut ann = TestBrowser::new(&fixture);
    let (page, pressed) = (ann.get(&path), ann.press(&path));
    let back = ann.get(&consent_path(&fixture, &pressed, "ann"));
    let end = ann.get(back.header("location").unwrap());
    for response in [&page, &pressed, &back, &end] {
        assert!(!keeps_opener(response) && !tells_opener(response), "{}", response.body);
    }
    assert!(told(&end, "origin").is_none() && end.body.contains("You can close this page."), "{}", end.body);
}

#[test]
fn a_denial_and_a_failure_are_told_and_what_is_to_be_read_stays_open() {
    let fixture = fixture_with_origin();
    let (id, path) = make_link(&fixture, &json!({}));
    let mut ann = TestBrowser::new(&fixture);
    let mut end_with = |query: &str| {
        let pressed = ann.press(&path);
        let back = ann.get(&callback_path(&fixture, &pressed, query));
        let end = ann.get(back.header("location").unwrap());
        assert!(keeps_opener(&end) && tells_opener(&end), "{}", end.body);
        assert!(told(&end, "connection").is_none() && end.body.contains("You can close this window."), "{}", end.body);
        assert_eq!(told(&end, "status"), get_link(&fixture, &id)["last_attempt"]["status"].as_str());
        (told(&end, "status").unwrap().to_owned(), closes(&end))
    };
    assert_eq!(end_with("error=access_denied"), ("denied".to_owned(), true));
    assert_eq!(end_with("error=server_error"), ("failed".to_owned(), false));
}

#[test]
fn a_question_is_told_when_it_is_answered_or_when_its_time_is_over() {
    let fixture = fixture_with_origin();
    fixture.connect("ann");
    for choice in ["second", ""] {
        let (id, path) = make_link(&fixture, &json!({ "user": { "id": "ann" } }));
        let mut ann = TestBrowser::new(&fixture);
        let pressed = ann.press(&path);
        let back = ann.get(&consent_path(&fixture, &pressed, "ann"));
        let flow = back.header("location").unwrap().to_owned();
        let question = ann.get(&flow);
        assert!(keeps_opener(&question) && !tells_opener(&question) && told(&question, "status").is_none());
        let expected = if choice.is_empty() {
            fixture.world.advance_clock(CHOICE_TTL);
            "timed_out"
        } else {
            let value = question.body.split("name=\"choice\" value=\"").nth(1).unwrap().split('"').next().unwrap();
            let chosen = ann.send(request(Method::Post, &flow, format!("choice={value}").into_bytes()));
            assert!(chosen.status == 303 && keeps_opener(&chosen), "{}", chosen.body);
            "connected"
        };
        let end = ann.get(&flow);
        assert_eq!((told(&end, "status"), keeps_opener(&end)), (Some(expected), true), "{}", end.body);
        assert_eq!(get_link(&fixture, &id)["last_attempt"]["status"], expected);
    }
}

#[test]
fn a_window_stays_open_as_long_as_permissions_can_be_added() {
    let fixture = fixture_with_origin();
    let (_, path) = make_link(&fixture, &json!({}));
    let mut ann = TestBrowser::new(&fixture);
    let pressed = ann.press(&path);
    *fixture.world.acme.granted_scopes.borrow_mut() = Some("read".to_owned());
    let back = ann.get(&consent_path(&fixture, &pressed, "ann"));
    let first = ann.get(back.header("location").unwrap());
    assert!(told(&first, "status") == Some("connected") && !closes(&first), "{}", first.body);
    let again = format!("{}/again", back.header("location").unwrap());
    let page = ann.get(&again);
    assert!(keeps_opener(&page) && !tells_opener(&page));
    let pressed = ann.press(&again);
    assert!(pressed.status == 303 && keeps_opener(&pressed));
    *fixture.world.acme.granted_scopes.borrow_mut() = None;
    let back = ann.get(&consent_path(&fixture, &pressed, "ann"));
    let second = ann.get(back.header("location").unwrap());
    assert!(told(&second, "status") == Some("connected") && closes(&second), "{}", second.body);
    assert_eq!(told(&second, "connection"), told(&first, "connection"));
}

#[test]
fn a_connection_that_waits_for_its_product_is_told() {
    let fixture = fixture_with_origin();
    let (id, path) = make_link(&fixture, &json!({ "confirm": true, "user": { "id": "u-1" } }));
    let mut ann = TestBrowser::new(&fixture);
    let pressed = ann.press(&path);
    let back = ann.get(&consent_path(&fixture, &pressed, "ann"));
    let end = ann.get(back.header("location").unwrap());
    assert_eq!(told(&end, "status"), Some("awaiting_confirmation"), "{}", end.body);
    assert_eq!(told(&end, "connection"), get_link(&fixture, &id)["connection"].as_str());
    assert!(end.body.contains("You can close this window"), "{}", end.body);
}

#[test]
fn only_an_allowed_origin_is_told_exactly_as_it_is_in_the_list() {
    let fixture = fixture_with_origin();
    let ask = |popup: Value| {
        let body = json!({ "app": "acme", "popup": popup });
        let (status, problem) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/links", &body);
        (status, problem["errors"][0]["field"].as_str().unwrap_or_default().to_owned())
    };
    for origin in [
        "*",
        "",
        "null",
        "https://evil.example",
        "https://app.example.evil.example",
        "https://app.example/",
        "https://app.example/path",
        "https://app.example:8443",
        "http://app.example",
        "https://APP.example",
        "https://user@app.example",
        "https://*.example",
        "https://app.example https://evil.example",
        "https://app.example\" data-origin=\"*",
    ] {
        assert_eq!(ask(json!({ "origin": origin })), (422, "popup.origin".to_owned()), "{origin:?}");
    }
    for wrong in [json!({}), json!("https://app.example"), json!(["https://app.example"]), json!(true)] {
        assert_eq!(ask(wrong.clone()).0, 422, "{wrong}");
    }
    assert_eq!(ask(json!({ "origin": ORIGIN })).0, 201);
    assert_eq!(ask(Value::Null).0, 201);
    let body = json!({ "app": "acme", "popup": { "origin": ORIGIN }, "return_to": format!("{ORIGIN}/done") });
    let (status, problem) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/links", &body);
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some("popup")), "{problem}");
}

#[test]
fn the_script_never_tells_every_origin() {
    let script = include_str!("../../assets/popup.js");
    assert!(!script.contains('*') && !script.contains("innerHTML") && !script.contains("eval"));
    assert!(script.contains("}, origin);") && !script.contains("location"), "{script}");
}
