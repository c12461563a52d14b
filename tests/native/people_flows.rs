//! What people do while they connect: they change the browser, come back twice, leave a question unanswered.

use connections::connect::settle::CHOICE_TIME;
use connections::http::{Method, Request, Response};
use serde_json::{Value, json};

use crate::http::{Browser, call, first_key, path_of, request};
use crate::support::{Reply, Scene};

const RETURN_TO: &str = "https://product.example/done";

/// A link over the API: its id, and its path.
fn made(scene: &Scene, body: &Value) -> (String, String) {
    let (status, made) = call(scene, &first_key(scene), Method::Post, "/v1/links", body);
    assert_eq!(status, 201, "{made}");
    (made["id"].as_str().unwrap().to_owned(), path_of(&made))
}

fn shown(scene: &Scene, id: &str) -> Value {
    let (status, link) = call(scene, &first_key(scene), Method::Get, &format!("/v1/links/{id}"), &Value::Null);
    assert_eq!(status, 200, "{link}");
    link
}

/// The ids of the links with a status.
fn listed(scene: &Scene, status: &str) -> Vec<String> {
    let path = format!("/v1/links?status={status}");
    let (_, list) = call(scene, &first_key(scene), Method::Get, &path, &Value::Null);
    list["data"].as_array().unwrap().iter().map(|link| link["id"].as_str().unwrap().to_owned()).collect()
}

fn connected(scene: &Scene) -> usize {
    let (_, list) = call(scene, &first_key(scene), Method::Get, "/v1/connections", &Value::Null);
    list["data"].as_array().unwrap().len()
}

/// Says yes at the app: the address that the browser is sent back to.
fn consented(scene: &Scene, pressed: &Response, account: &str) -> String {
    let (code, state) = scene.world.acme.consent(pressed.header("location").unwrap(), account);
    format!("/oauth/callback/{}?state={state}&code={}", scene.client, code.expose())
}

fn location(response: &Response) -> &str {
    assert_eq!(response.status, 303, "{}", response.body);
    response.header("location").unwrap()
}

fn with_return_to() -> Scene {
    let scene = Scene::new();
    let origins = json!({ "allowed_origins": ["https://product.example"] });
    assert_eq!(call(&scene, &first_key(&scene), Method::Patch, "/v1/workspace", &origins).0, 200);
    scene
}

// ---- a link in two browsers ----

#[test]
fn a_link_begun_in_one_browser_is_begun_anew_in_another_and_connects_once() {
    let scene = with_return_to();
    let (id, path) = made(&scene, &json!({ "app": "acme", "return_to": RETURN_TO }));
    let (mut first, mut second) = (Browser::new(&scene), Browser::new(&scene));
    let begun = first.press(&path);
    let back = consented(&scene, &begun, "ann");
    // The mail program opens the way back in the second browser, which is told to open the link.
    assert_eq!(location(&second.get(&back)), "/oauth/ended/other-browser");
    assert_eq!(second.get(&path).status, 200);
    let anew = second.press(&path);

    let refused = first.get(&back);
    assert_eq!(location(&refused), "/oauth/ended/begun-anew");
    assert!(first.get("/oauth/ended/begun-anew").body.contains("opened again in another browser"));
    assert_eq!((scene.world.acme.count("/token"), connected(&scene)), (0, 0));

    let end = second.get(&consented(&scene, &anew, "ann"));
    assert!(location(&end).starts_with(RETURN_TO), "{:?}", end.header("location"));
    assert_eq!((shown(&scene, &id)["status"].as_str(), connected(&scene)), (Some("used"), 1));
    // Afterwards it is used up for both.
    for browser in [&mut first, &mut second] {
        assert_eq!((browser.get(&path).status, browser.press(&path).status), (410, 410));
    }
    assert_eq!(location(&first.get(&back)), "/oauth/ended/begun-anew");
    assert_eq!(connected(&scene), 1);
}

#[test]
fn the_first_browser_may_take_a_link_back_and_its_session_ends_with_what_it_began() {
    let scene = Scene::new();
    let (_, path) = made(&scene, &json!({ "app": "acme" }));
    let (mut first, mut second) = (Browser::new(&scene), Browser::new(&scene));
    first.press(&path);
    let begun = second.press(&path);
    let sessions = || {
        let (_, list) = call(&scene, &first_key(&scene), Method::Get, "/v1/sessions", &Value::Null);
        list["data"].as_array().unwrap().len()
    };
    assert_eq!(sessions(), 1, "the second browser's");
    let again = first.press(&path);
    assert_eq!(sessions(), 1, "the first browser's");
    assert_eq!(location(&second.get(&consented(&scene, &begun, "bob"))), "/oauth/ended/begun-anew");
    assert!(first.consent(&again, "ann").contains("Acme is connected as ann"));
    assert_eq!(connected(&scene), 1);
}

/// The way back in the first browser, and 50 ms later, while the app's token endpoint is still at it, another request.
fn meanwhile(scene: &Scene, coming: Request, other: Request) -> (Response, Response) {
    let at = |wait: i64, request: Request| {
        let (core, runtime) = (scene.world.core(), scene.world.runtime.clone());
        async move {
            runtime.sleep(wait).await;
            connections::http::handle(&core, &request).await
        }
    };
    let mut answers = scene.world.at_once(vec![at(0, coming), at(50, other)]);
    let second = answers.pop().unwrap();
    (answers.pop().unwrap(), second)
}

#[test]
fn a_link_begun_anew_while_the_first_answer_is_taken_connects_once() {
    for repairs in [false, true] {
        let scene = Scene::new();
        let repaired = repairs.then(|| scene.connect("ann"));
        let (id, path) = made(&scene, &json!({ "app": "acme", "connection": repaired, "on_duplicate": "create" }));
        let (mut first, mut second) = (Browser::new(&scene), Browser::new(&scene));
        let begun = first.press(&path);
        let coming = first.with_cookies(request(Method::Get, &consented(&scene, &begun, "ann"), vec![]));
        let other = second.with_cookies(request(Method::Post, &path, vec![]));
        let (end, anew) = meanwhile(&scene, coming, other);
        assert_eq!(location(&end), "/oauth/ended/begun-anew");
        assert_eq!((connected(&scene), shown(&scene, &id)["status"].as_str()), (usize::from(repairs), Some("open")));
        if let Some(id) = &repaired {
            assert_eq!(scene.row(id).generation, 1);
        }
        second.keep(&anew);
        assert!(second.consent(&anew, "ann").contains("Acme is connected as ann"));
        assert_eq!((connected(&scene), shown(&scene, &id)["status"].as_str()), (1, Some("used")));
    }
}

#[test]
fn what_is_entered_for_a_link_that_another_browser_begins_meanwhile_is_not_stored() {
    let consent = json!({ "type": "oauth2", "authorize_url": "https://acme.example/a", "token_url": "https://acme.example/token" });
    let scene = Scene::with(&json!({ "auth": [consent, { "type": "api_key" }] }));
    scene.world.acme.keys.borrow_mut().insert("k1".into(), "ann".into());
    let (id, path) = made(&scene, &json!({ "app": "acme", "way": "api_key" }));
    let (first, mut second) = (Browser::new(&scene), Browser::new(&scene));
    let entering =
        |browser: &Browser<'_>| browser.with_cookies(request(Method::Post, &path, b"input.api_key=k1".to_vec()));
    let (end, anew) = meanwhile(&scene, entering(&first), entering(&second));
    assert_eq!(location(&end), "/oauth/ended/begun-anew");
    second.keep(&anew);
    assert!(second.get(location(&anew)).body.contains("Acme is connected"));
    assert_eq!((connected(&scene), shown(&scene, &id)["status"].as_str()), (1, Some("used")));
}

#[test]
fn a_link_that_waits_for_its_persons_choice_says_so_and_stays_with_its_browser() {
    let scene = Scene::new();
    let existing = json!({ "app": "acme", "user": { "id": "ann" }, "expires_in": 300 });
    let (_, before) = made(&scene, &existing);
    let (id, path) = made(&scene, &existing);
    let mut first = Browser::new(&scene);
    let begun = first.press(&before);
    first.consent(&begun, "ann");
    let begun = first.press(&path);
    let asked = first.get(&consented(&scene, &begun, "ann"));
    let flow = location(&asked).to_owned();
    // Its own time is over before the time to choose.
    for wait in [0, 310] {
        scene.world.pass(wait);
        assert_eq!(shown(&scene, &id)["status"], "waiting_for_choice");
        assert_eq!(listed(&scene, "waiting_for_choice"), [id.as_str()]);
        assert!(listed(&scene, "open").is_empty() && listed(&scene, "expired").is_empty());
    }
    let (_, wrong) = call(&scene, &first_key(&scene), Method::Get, "/v1/links?status=asked", &Value::Null);
    assert!(wrong["detail"].as_str().unwrap().contains("waiting_for_choice"), "{wrong}");
    let chosen = first.send(request(Method::Post, &flow, b"choice=both".to_vec()));
    assert_eq!(chosen.status, 303);
    assert_eq!((shown(&scene, &id)["status"].as_str(), connected(&scene)), (Some("used"), 2));
}

#[test]
fn no_other_browser_takes_a_question_away_but_once_its_time_is_over_the_link_is_free() {
    let scene = Scene::new();
    let body = json!({ "app": "acme", "user": { "id": "ann" }, "expires_in": 7200 });
    let (_, before) = made(&scene, &body);
    let (id, path) = made(&scene, &body);
    let (mut first, mut second) = (Browser::new(&scene), Browser::new(&scene));
    let begun = first.press(&before);
    first.consent(&begun, "ann");
    let begun = first.press(&path);
    let flow = first.get(&consented(&scene, &begun, "ann"));
    let refused = second.press(&path);
    assert_eq!(refused.status, 410);
    assert!(refused.body.contains("asks a question in another browser"), "{}", refused.body);
    assert!(second.cookies.is_empty(), "no session is left");
    assert!(first.get(location(&flow)).body.contains("already connected"));

    scene.world.pass(CHOICE_TIME);
    assert_eq!(shown(&scene, &id)["status"], "open");
    let anew = second.press(&path);
    assert!(second.consent(&anew, "bob").contains("Acme is connected as bob"));
    let late = first.send(request(Method::Post, location(&flow), b"choice=both".to_vec()));
    assert!(late.status >= 400 && connected(&scene) == 2, "{}", late.status);
}

#[test]
fn a_link_that_awaits_its_confirmation_stays_with_its_browser() {
    let scene = Scene::new();
    let (id, path) = made(&scene, &json!({ "app": "acme", "user": { "id": "ann" }, "confirm": true }));
    let (mut first, mut second) = (Browser::new(&scene), Browser::new(&scene));
    let begun = first.press(&path);
    first.consent(&begun, "ann");
    assert_eq!((second.get(&path).status, second.press(&path).status), (410, 410));
    assert_eq!(shown(&scene, &id)["status"], "awaiting_confirmation");
    let confirmation = json!({ "user": { "id": "ann" } });
    let path = format!("/v1/links/{id}/confirm");
    let (status, confirmed) = call(&scene, &first_key(&scene), Method::Post, &path, &confirmation);
    assert_eq!((status, confirmed["status"].as_str()), (200, Some("used")), "{confirmed}");
}

// ---- a callback that is delivered twice ----

#[test]
fn the_second_arrival_of_an_answer_leads_where_the_first_one_led() {
    let scene = with_return_to();
    let key = first_key(&scene);
    let again = |browser: &mut Browser<'_>, back: &str| {
        let first = location(&browser.get(back)).to_owned();
        let asked = scene.world.acme.requests();
        // A reload sends the same, and somebody else's page could send anything with the state.
        let other_code = back.replace("code=", "code=other");
        let denied = format!("{}&error=access_denied", back.split("&code=").next().unwrap());
        for address in [back, other_code.as_str(), denied.as_str()] {
            assert_eq!(location(&browser.get(address)), first, "{address}");
        }
        scene.world.pass(700);
        assert_eq!(location(&browser.get(back)), first, "whatever the time");
        assert_eq!(scene.world.acme.requests(), asked, "nothing is asked of the app again");
        first
    };

    let (_, path) = made(&scene, &json!({ "app": "acme", "return_to": RETURN_TO }));
    let mut invited = Browser::new(&scene);
    let begun = invited.press(&path);
    let back = consented(&scene, &begun, "ann");
    let end = again(&mut invited, &back);
    assert!(end.starts_with(RETURN_TO) && end.contains("status=connected"), "{end}");
    assert_eq!(location(&Browser::new(&scene).get(&back)), "/oauth/ended/other-browser");

    let mut ann = Browser::new(&scene);
    ann.sign_in();
    let begun = ann.post("/oauth/start/acme", "/oauth/start/acme", "");
    let back = consented(&scene, &begun, "ann");
    let end = again(&mut ann, &back);
    assert!(end.starts_with("/connections/con_"), "{end}");

    let begun = ann.post("/oauth/start/acme", "/oauth/start/acme", "");
    let back = consented(&scene, &begun, "ann").split("&code=").next().unwrap().to_owned();
    let end = again(&mut ann, &format!("{back}&code="));
    assert!(ann.get(&end).body.contains("sent you back without an answer"));

    assert_eq!(call(&scene, &key, Method::Get, "/v1/connections", &Value::Null).1["data"].as_array().unwrap().len(), 2);
}

#[test]
fn a_second_arrival_during_the_first_waits_on_the_flows_page_until_that_leads_on() {
    let scene = with_return_to();
    let (_, path) = made(&scene, &json!({ "app": "acme", "return_to": RETURN_TO }));
    let mut browser = Browser::new(&scene);
    let begun = browser.press(&path);
    let back = consented(&scene, &begun, "ann");
    let visit = || browser.with_cookies(request(Method::Get, &back, vec![]));
    let (first, second) = meanwhile(&scene, visit(), visit());
    assert!(location(&first).starts_with(RETURN_TO));
    let waiting = location(&second).to_owned();
    assert!(waiting.starts_with("/flows/"), "{waiting}");
    assert_eq!(location(&browser.get(&waiting)), location(&first), "it goes on by itself");
    assert_eq!((scene.world.acme.count("/token"), connected(&scene)), (1, 1));
}

#[test]
fn the_page_of_a_flow_whose_answer_is_being_taken_loads_itself_again_but_not_for_ever() {
    let scene = Scene::new();
    let mut ann = Browser::new(&scene);
    ann.sign_in();
    let begun = ann.post("/oauth/start/acme", "/oauth/start/acme", "");
    let back = consented(&scene, &begun, "ann");
    // The answer of the app can't be stored: the visit ends without a word of how.
    scene.world.acme.next("/token", Reply::error(connections::ports::HttpError::Network));
    let coming = ann.with_cookies(request(Method::Get, &back, vec![]));
    let other = ann.with_cookies(request(Method::Get, &back, vec![]));
    let (_, second) = meanwhile(&scene, coming, other);
    let flow = location(&second).to_owned();
    scene.world.db.tamper("UPDATE flows SET status = 'pending', error = NULL");
    let page = ann.get(&flow);
    assert!(page.header("refresh").is_some() && page.body.contains("goes on by itself"), "{}", page.body);
    scene.world.pass(60);
    let page = ann.get(&flow);
    assert!(page.header("refresh").is_none() && page.body.contains("Try again"), "{}", page.body);
}

// ---- an app that can't be connected ----

#[test]
fn a_link_that_would_end_at_a_wall_is_not_made() {
    let scene = Scene::new();
    let key = first_key(&scene);
    let (status, problem) =
        call(&scene, &key, Method::Post, "/v1/links", &json!({ "app": "dropbox", "way": "oauth2" }));
    assert_eq!((status, problem["code"].as_str()), (409, Some("client_missing")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("PUT /v1/apps/dropbox/client"), "{problem}");
    // A repair goes the way that the connection was made by.
    let id = scene.connect("ann");
    scene.revise(&json!({ "auth": [
        { "type": "oauth2", "authorize_url": "https://acme.example/authorize", "token_url": "https://else.example/token" },
        { "type": "api_key", "fields": [{ "id": "api_key", "label": "Key" }], "request": { "headers": { "X-Key": "{api_key}" } } },
    ] }));
    let (status, problem) = call(&scene, &key, Method::Post, "/v1/links", &json!({ "connection": id }));
    assert_eq!((status, problem["code"].as_str()), (409, Some("client_missing")), "{problem}");
    for body in [json!({ "connection": id, "way": "api_key" }), json!({ "app": "acme" })] {
        let (status, made) = call(&scene, &key, Method::Post, "/v1/links", &body);
        assert_eq!(status, 201, "{made}");
    }
}
