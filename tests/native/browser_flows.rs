//! What people do while they connect: they change the browser, come back twice, and leave a question unanswered.

use connections::connect::complete::CHOICE_TTL;
use connections::http::{Method, Request, Response};
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, link_path, request};
use crate::support::{Fixture, Reply};

const RETURN_TO: &str = "https://product.example/done";

/// A link over the API: its id, and its path.
fn make_link(fixture: &Fixture, body: &Value) -> (String, String) {
    let (status, made) = call(fixture, &first_key(fixture), Method::Post, "/v1/links", body);
    assert_eq!(status, 201, "{made}");
    (made["id"].as_str().unwrap().to_owned(), link_path(&made))
}

fn get_link(fixture: &Fixture, id: &str) -> Value {
    let (status, link) = call(fixture, &first_key(fixture), Method::Get, &format!("/v1/links/{id}"), &Value::Null);
    assert_eq!(status, 200, "{link}");
    link
}

/// The ids of the links with a status.
fn list_link_ids(fixture: &Fixture, status: &str) -> Vec<String> {
    let path = format!("/v1/links?status={status}");
    let (_, list) = call(fixture, &first_key(fixture), Method::Get, &path, &Value::Null);
    list["data"].as_array().unwrap().iter().map(|link| link["id"].as_str().unwrap().to_owned()).collect()
}

fn count_connections(fixture: &Fixture) -> usize {
    let (_, list) = call(fixture, &first_key(fixture), Method::Get, "/v1/connections", &Value::Null);
    list["data"].as_array().unwrap().len()
}

/// Allows access at the app. Returns the address of the redirect back.
fn consent_callback_path(fixture: &Fixture, pressed: &Response, account: &str) -> String {
    let (code, state) = fixture.world.acme.consent(pressed.header("location").unwrap(), account);
    format!("/oauth/callback/{}?state={state}&code={}", fixture.client, code.expose())
}

fn redirect_location(response: &Response) -> &str {
    assert_eq!(response.status, 303, "{}", response.body);
    response.header("location").unwrap()
}

fn fixture_with_allowed_origin() -> Fixture {
    let fixture = Fixture::new();
    let origins = json!({ "allowed_origins": ["https://product.example"] });
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Patch, "/v1/workspace", &origins).0, 200);
    fixture
}

// ---- a link in two browsers ----

#[test]
fn a_link_can_be_restarted_in_another_browser_and_connects_once() {
    let fixture = fixture_with_allowed_origin();
    let (id, path) = make_link(&fixture, &json!({ "app": "acme", "return_to": RETURN_TO }));
    let (mut first, mut second) = (TestBrowser::new(&fixture), TestBrowser::new(&fixture));
    let begun = first.press(&path);
    let back = consent_callback_path(&fixture, &begun, "ann");
    // The mail program opens the redirect in the second browser, which is told to open the link.
    assert_eq!(redirect_location(&second.get(&back)), "/oauth/ended/other-browser");
    assert_eq!(second.get(&path).status, 200);
    let anew = second.press(&path);

    let refused = first.get(&back);
    assert_eq!(redirect_location(&refused), "/oauth/ended/begun-anew");
    assert!(first.get("/oauth/ended/begun-anew").body.contains("opened again in another browser"));
    assert_eq!((fixture.world.acme.count_requests("/token"), count_connections(&fixture)), (0, 0));

    let end = second.get(&consent_callback_path(&fixture, &anew, "ann"));
    assert!(redirect_location(&end).starts_with(RETURN_TO), "{:?}", end.header("location"));
    assert_eq!((get_link(&fixture, &id)["status"].as_str(), count_connections(&fixture)), (Some("used"), 1));
    // After that it is used in both browsers.
    for browser in [&mut first, &mut second] {
        assert_eq!((browser.get(&path).status, browser.press(&path).status), (410, 410));
    }
    assert_eq!(redirect_location(&first.get(&back)), "/oauth/ended/begun-anew");
    assert_eq!(count_connections(&fixture), 1);
}

#[test]
fn the_first_browser_can_restart_a_link_again() {
    let fixture = Fixture::new();
    let (_, path) = make_link(&fixture, &json!({ "app": "acme" }));
    let (mut first, mut second) = (TestBrowser::new(&fixture), TestBrowser::new(&fixture));
    first.press(&path);
    let begun = second.press(&path);
    let sessions = || {
        let (_, list) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/sessions", &Value::Null);
        list["data"].as_array().unwrap().len()
    };
    assert_eq!(sessions(), 1, "the second browser's");
    let again = first.press(&path);
    assert_eq!(sessions(), 1, "the first browser's");
    assert_eq!(
        redirect_location(&second.get(&consent_callback_path(&fixture, &begun, "bob"))),
        "/oauth/ended/begun-anew"
    );
    assert!(first.complete_consent(&again, "ann").contains("Acme is connected as ann"));
    assert_eq!(count_connections(&fixture), 1);
}

/// The redirect in the first browser, and 50 ms later, while the app's token endpoint still works, another request.
fn send_overlapping(fixture: &Fixture, coming: Request, other: Request) -> (Response, Response) {
    let at = |wait: i64, request: Request| {
        let (context, runtime) = (fixture.world.context(), fixture.world.runtime.clone());
        async move {
            runtime.sleep(wait).await;
            connections::http::handle(&context, &request).await
        }
    };
    let mut answers = fixture.world.run_concurrently(vec![at(0, coming), at(50, other)]);
    let second = answers.pop().unwrap();
    (answers.pop().unwrap(), second)
}

#[test]
fn a_link_restarted_during_a_callback_connects_once() {
    for repairs in [false, true] {
        let fixture = Fixture::new();
        let repaired = repairs.then(|| fixture.connect("ann"));
        let (id, path) =
            make_link(&fixture, &json!({ "app": "acme", "connection": repaired, "on_duplicate": "create" }));
        let (mut first, mut second) = (TestBrowser::new(&fixture), TestBrowser::new(&fixture));
        let begun = first.press(&path);
        let coming = first.with_cookies(request(Method::Get, &consent_callback_path(&fixture, &begun, "ann"), vec![]));
        let other = second.with_cookies(request(Method::Post, &path, vec![]));
        let (end, anew) = send_overlapping(&fixture, coming, other);
        assert_eq!(redirect_location(&end), "/oauth/ended/begun-anew");
        assert_eq!(
            (count_connections(&fixture), get_link(&fixture, &id)["status"].as_str()),
            (usize::from(repairs), Some("open"))
        );
        if let Some(id) = &repaired {
            assert_eq!(fixture.load_connection(id).generation, 1);
        }
        second.store_cookie(&anew);
        assert!(second.complete_consent(&anew, "ann").contains("Acme is connected as ann"));
        assert_eq!((count_connections(&fixture), get_link(&fixture, &id)["status"].as_str()), (1, Some("used")));
    }
}

#[test]
fn input_for_a_link_that_another_browser_has_restarted_is_not_stored() {
    let consent = json!({ "type": "oauth2", "authorize_url": "https://acme.example/a", "token_url": "https://acme.example/token" });
    let fixture = Fixture::with_definition(&json!({ "auth": [consent, { "type": "api_key" }] }));
    fixture.world.acme.api_keys.borrow_mut().insert("k1".into(), "ann".into());
    let (id, path) = make_link(&fixture, &json!({ "app": "acme", "auth_method": "api_key" }));
    let (first, mut second) = (TestBrowser::new(&fixture), TestBrowser::new(&fixture));
    let entering =
        |browser: &TestBrowser<'_>| browser.with_cookies(request(Method::Post, &path, b"input.api_key=k1".to_vec()));
    let (end, anew) = send_overlapping(&fixture, entering(&first), entering(&second));
    assert_eq!(redirect_location(&end), "/oauth/ended/begun-anew");
    second.store_cookie(&anew);
    assert!(second.get(redirect_location(&anew)).body.contains("Acme is connected"));
    assert_eq!((count_connections(&fixture), get_link(&fixture, &id)["status"].as_str()), (1, Some("used")));
}

#[test]
fn a_link_with_an_open_question_stays_with_its_browser() {
    let fixture = Fixture::new();
    let existing = json!({ "app": "acme", "user": { "id": "ann" }, "expires_in": 300 });
    let (_, before) = make_link(&fixture, &existing);
    let (id, path) = make_link(&fixture, &existing);
    let mut first = TestBrowser::new(&fixture);
    let begun = first.press(&before);
    first.complete_consent(&begun, "ann");
    let begun = first.press(&path);
    let asked = first.get(&consent_callback_path(&fixture, &begun, "ann"));
    let flow = redirect_location(&asked).to_owned();
    // The link expires before the question does.
    for wait in [0, 310] {
        fixture.world.advance_clock(wait);
        assert_eq!(get_link(&fixture, &id)["status"], "waiting_for_choice");
        assert_eq!(list_link_ids(&fixture, "waiting_for_choice"), [id.as_str()]);
        assert!(list_link_ids(&fixture, "open").is_empty() && list_link_ids(&fixture, "expired").is_empty());
    }
    let (_, wrong) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/links?status=asked", &Value::Null);
    assert!(wrong["detail"].as_str().unwrap().contains("waiting_for_choice"), "{wrong}");
    let chosen = first.send(request(Method::Post, &flow, b"choice=both".to_vec()));
    assert_eq!(chosen.status, 303);
    assert_eq!((get_link(&fixture, &id)["status"].as_str(), count_connections(&fixture)), (Some("used"), 2));
}

#[test]
fn a_link_is_free_again_after_its_question_has_expired() {
    let fixture = Fixture::new();
    let body = json!({ "app": "acme", "user": { "id": "ann" }, "expires_in": 7200 });
    let (_, before) = make_link(&fixture, &body);
    let (id, path) = make_link(&fixture, &body);
    let (mut first, mut second) = (TestBrowser::new(&fixture), TestBrowser::new(&fixture));
    let begun = first.press(&before);
    first.complete_consent(&begun, "ann");
    let begun = first.press(&path);
    let flow = first.get(&consent_callback_path(&fixture, &begun, "ann"));
    let refused = second.press(&path);
    assert_eq!(refused.status, 410);
    assert!(refused.body.contains("asks a question in another browser"), "{}", refused.body);
    assert!(second.cookies.is_empty(), "no session is left");
    assert!(first.get(redirect_location(&flow)).body.contains("already connected"));

    fixture.world.advance_clock(CHOICE_TTL);
    assert_eq!(get_link(&fixture, &id)["status"], "open");
    let anew = second.press(&path);
    assert!(second.complete_consent(&anew, "bob").contains("Acme is connected as bob"));
    let late = first.send(request(Method::Post, redirect_location(&flow), b"choice=both".to_vec()));
    assert!(late.status >= 400 && count_connections(&fixture) == 2, "{}", late.status);
}

#[test]
fn a_link_that_awaits_its_confirmation_stays_with_its_browser() {
    let fixture = Fixture::new();
    let (id, path) = make_link(&fixture, &json!({ "app": "acme", "user": { "id": "ann" }, "confirm": true }));
    let (mut first, mut second) = (TestBrowser::new(&fixture), TestBrowser::new(&fixture));
    let begun = first.press(&path);
    first.complete_consent(&begun, "ann");
    assert_eq!((second.get(&path).status, second.press(&path).status), (410, 410));
    assert_eq!(get_link(&fixture, &id)["status"], "awaiting_confirmation");
    let confirmation = json!({ "user": { "id": "ann" } });
    let path = format!("/v1/links/{id}/confirm");
    let (status, confirmed) = call(&fixture, &first_key(&fixture), Method::Post, &path, &confirmation);
    assert_eq!((status, confirmed["status"].as_str()), (200, Some("used")), "{confirmed}");
}

// ---- a callback that arrives twice ----

#[test]
fn a_repeated_callback_leads_to_the_same_page() {
    let fixture = fixture_with_allowed_origin();
    let key = first_key(&fixture);
    let again = |browser: &mut TestBrowser<'_>, back: &str| {
        let first = redirect_location(&browser.get(back)).to_owned();
        let asked = fixture.world.acme.count_all_requests();
        // A reload sends the same request, and another site's page could send anything with the state.
        let other_code = back.replace("code=", "code=other");
        let denied = format!("{}&error=access_denied", back.split("&code=").next().unwrap());
        for address in [back, other_code.as_str(), denied.as_str()] {
            assert_eq!(redirect_location(&browser.get(address)), first, "{address}");
        }
        fixture.world.advance_clock(700);
        assert_eq!(redirect_location(&browser.get(back)), first, "whatever the time");
        assert_eq!(fixture.world.acme.count_all_requests(), asked, "nothing is asked of the app again");
        first
    };

    let (_, path) = make_link(&fixture, &json!({ "app": "acme", "return_to": RETURN_TO }));
    let mut invited = TestBrowser::new(&fixture);
    let begun = invited.press(&path);
    let back = consent_callback_path(&fixture, &begun, "ann");
    let end = again(&mut invited, &back);
    assert!(end.starts_with(RETURN_TO) && end.contains("status=connected"), "{end}");
    assert_eq!(redirect_location(&TestBrowser::new(&fixture).get(&back)), "/oauth/ended/other-browser");

    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let begun = ann.post("/oauth/start/acme", "/oauth/start/acme", "");
    let back = consent_callback_path(&fixture, &begun, "ann");
    let end = again(&mut ann, &back);
    assert!(end.starts_with("/connections/con_"), "{end}");

    let begun = ann.post("/oauth/start/acme", "/oauth/start/acme", "");
    let back = consent_callback_path(&fixture, &begun, "ann").split("&code=").next().unwrap().to_owned();
    let end = again(&mut ann, &format!("{back}&code="));
    assert!(ann.get(&end).body.contains("sent you back without an answer"));

    assert_eq!(
        call(&fixture, &key, Method::Get, "/v1/connections", &Value::Null).1["data"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn a_callback_during_the_first_one_waits_on_the_flows_page() {
    let fixture = fixture_with_allowed_origin();
    let (_, path) = make_link(&fixture, &json!({ "app": "acme", "return_to": RETURN_TO }));
    let mut browser = TestBrowser::new(&fixture);
    let begun = browser.press(&path);
    let back = consent_callback_path(&fixture, &begun, "ann");
    let visit = || browser.with_cookies(request(Method::Get, &back, vec![]));
    let (first, second) = send_overlapping(&fixture, visit(), visit());
    assert!(redirect_location(&first).starts_with(RETURN_TO));
    let waiting = redirect_location(&second).to_owned();
    assert!(waiting.starts_with("/flows/"), "{waiting}");
    assert_eq!(redirect_location(&browser.get(&waiting)), redirect_location(&first), "it goes on by itself");
    assert_eq!((fixture.world.acme.count_requests("/token"), count_connections(&fixture)), (1, 1));
}

#[test]
fn the_page_of_a_running_flow_reloads_a_limited_number_of_times() {
    let fixture = Fixture::new();
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let begun = ann.post("/oauth/start/acme", "/oauth/start/acme", "");
    let back = consent_callback_path(&fixture, &begun, "ann");
    // The app's response cannot be stored, and no outcome is recorded.
    fixture.world.acme.script_next("/token", Reply::error(connections::ports::HttpError::Network));
    let coming = ann.with_cookies(request(Method::Get, &back, vec![]));
    let other = ann.with_cookies(request(Method::Get, &back, vec![]));
    let (_, second) = send_overlapping(&fixture, coming, other);
    let flow = redirect_location(&second).to_owned();
    fixture.world.db.tamper("UPDATE flows SET status = 'pending', error = NULL");
    let page = ann.get(&flow);
    assert!(page.header("refresh").is_some() && page.body.contains("goes on by itself"), "{}", page.body);
    fixture.world.advance_clock(60);
    let page = ann.get(&flow);
    assert!(page.header("refresh").is_none() && page.body.contains("Try again"), "{}", page.body);
}

// ---- an app that cannot be connected ----

#[test]
fn a_link_that_cannot_be_completed_is_not_created() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let (status, problem) =
        call(&fixture, &key, Method::Post, "/v1/links", &json!({ "app": "dropbox", "auth_method": "oauth2" }));
    assert_eq!((status, problem["code"].as_str()), (409, Some("client_missing")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("PUT /v1/apps/dropbox/client"), "{problem}");
    // A repair uses the auth method of the connection.
    let id = fixture.connect("ann");
    fixture.put_app_revision(&json!({ "auth": [
        { "type": "oauth2", "authorize_url": "https://acme.example/authorize", "token_url": "https://else.example/token" },
        { "type": "api_key", "fields": [{ "id": "api_key", "label": "Key" }], "request": { "headers": { "X-Key": "{api_key}" } } },
    ] }));
    let (status, problem) = call(&fixture, &key, Method::Post, "/v1/links", &json!({ "connection": id }));
    assert_eq!((status, problem["code"].as_str()), (409, Some("client_missing")), "{problem}");
    for body in [json!({ "connection": id, "auth_method": "api_key" }), json!({ "app": "acme" })] {
        let (status, made) = call(&fixture, &key, Method::Post, "/v1/links", &body);
        assert_eq!(status, 201, "{made}");
    }
}
