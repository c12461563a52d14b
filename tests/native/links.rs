//! Links that are looked at while they are used, and that are used once more for missing permissions.

use connections::connect::complete::CHOICE_TTL;
use connections::http::{Method, Response};
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, link_path, request};
use crate::support::Fixture;
use crate::support::database::Fault;
use crate::support::fixture::acme_definition;

/// A link over the API: its id, and its path.
fn make_link(fixture: &Fixture, body: &Value) -> (String, String) {
    let (status, made) = call(fixture, &first_key(fixture), Method::Post, "/v1/links", body);
    assert_eq!(status, 201, "{made}");
    (made["id"].as_str().unwrap().to_owned(), link_path(&made))
}

fn get_link(fixture: &Fixture, id: &str) -> Value {
    call(fixture, &first_key(fixture), Method::Get, &format!("/v1/links/{id}"), &Value::Null).1
}

fn get_connection(fixture: &Fixture, id: &Value) -> Value {
    let path = format!("/v1/connections/{}", id.as_str().unwrap());
    call(fixture, &first_key(fixture), Method::Get, &path, &Value::Null).1
}

/// The status of a link, and of its last attempt.
fn statuses(fixture: &Fixture, id: &str) -> (String, Value, Value) {
    let link = get_link(fixture, id);
    let last = &link["last_attempt"];
    (link["status"].as_str().unwrap().to_owned(), last["status"].clone(), last["error"].clone())
}

fn callback_path(fixture: &Fixture, pressed: &Response, query: &str) -> String {
    let at = url::Url::parse(pressed.header("location").unwrap()).unwrap();
    let state = at.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    format!("/oauth/callback/{}?state={state}&{query}", fixture.client)
}

#[test]
fn a_link_tells_how_far_its_person_is() {
    let fixture = Fixture::new();
    let first = fixture.connect("ann");
    let (id, path) = make_link(&fixture, &json!({ "app": "acme", "user": { "id": "ann" } }));
    let at = |status: &str, attempt: Value, error: Value| {
        assert_eq!(statuses(&fixture, &id), (status.to_owned(), attempt, error));
    };
    at("open", Value::Null, Value::Null);
    let mut ann = TestBrowser::new(&fixture);
    ann.get(&path);
    at("open", Value::Null, Value::Null);
    let pressed = ann.press(&path);
    at("open", json!("started"), Value::Null);
    ann.get(&callback_path(&fixture, &pressed, "error=access_denied"));
    at("open", json!("denied"), Value::Null);
    let pressed = ann.press(&path);
    ann.get(&callback_path(&fixture, &pressed, "error=server_error"));
    at("open", json!("failed"), json!("app_unavailable"));
    ann.press(&path);
    fixture.world.advance_clock(601);
    at("open", json!("timed_out"), Value::Null);
    // The account is connected already: the person is asked.
    let pressed = ann.press(&path);
    ann.complete_consent(&pressed, "ann");
    at("waiting_for_choice", json!("waiting_for_choice"), Value::Null);
    fixture.world.advance_clock(CHOICE_TTL);
    at("open", json!("timed_out"), Value::Null);
    // Another browser begins anew: what the first one did counts no more.
    let mut bob = TestBrowser::new(&fixture);
    let pressed = bob.press(&path);
    at("open", json!("started"), Value::Null);
    bob.complete_consent(&pressed, "bob");
    at("used", json!("connected"), Value::Null);
    assert_ne!(get_link(&fixture, &id)["connection"], json!(first));

    let (id, path) = make_link(&fixture, &json!({ "app": "acme", "expires_in": 60 }));
    let pressed = TestBrowser::new(&fixture).press(&path);
    assert_eq!(pressed.status, 303);
    fixture.world.advance_clock(61);
    assert_eq!(statuses(&fixture, &id), ("expired".to_owned(), json!("started"), Value::Null));
    let (id, _) = make_link(&fixture, &json!({ "app": "acme" }));
    call(&fixture, &first_key(&fixture), Method::Delete, &format!("/v1/links/{id}"), &Value::Null);
    assert_eq!(statuses(&fixture, &id), ("ended".to_owned(), Value::Null, Value::Null));
}

#[test]
fn a_link_of_an_app_without_a_client_is_refused_with_where_to_set_it_up() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let body = json!({ "app": "dropbox", "auth_method": "oauth2" });
    let (status, problem) = call(&fixture, &key, Method::Post, "/v1/links", &body);
    assert_eq!((status, problem["code"].as_str()), (409, Some("client_missing")), "{problem}");
    assert_eq!(problem["setup_url"], "https://c.example.com/apps/dropbox/setup?auth_method=oauth2");
}

// ---- the recommended auth method can't be used ----

/// The recommended way needs a client for other addresses; the second is a key.
fn fixture_without_recommended_method() -> Fixture {
    let fixture = Fixture::new();
    let mut definition = acme_definition();
    let consent = definition["auth"].take();
    let key = json!({ "type": "api_key", "fields": [{ "id": "api_key", "label": "Key" }], "request": { "headers": { "X-Key": "{api_key}" } } });
    definition["auth"] = json!([consent, key]);
    definition["auth"][0]["token_url"] = "https://elsewhere.example/token".into();
    let (status, problem) = call(&fixture, &first_key(&fixture), Method::Put, "/v1/apps/acme", &definition);
    assert_eq!(status, 200, "{problem}");
    fixture
}

#[test]
fn no_other_auth_method_takes_the_place_of_the_recommended_one_unasked() {
    let fixture = fixture_without_recommended_method();
    let (_, path) = make_link(&fixture, &json!({ "app": "acme" }));
    let mut ann = TestBrowser::new(&fixture);
    let page = ann.get(&path).body;
    assert!(page.contains(">Recommended<") && page.contains("Ask whoever sent you the link to set it up"), "{page}");
    assert!(!page.contains("<form") && !page.contains("type=\"password\""), "{page}");
    let way = format!("{path}?auth_method=api_key");
    assert!(page.contains(&format!("href=\"{way}\"")), "{page}");
    // A form that was never offered stores nothing.
    let sent = ann.send(crate::http::request(Method::Post, &path, b"input.api_key=k".to_vec()));
    assert!(sent.body.contains("Ask whoever sent you the link to set it up"), "{}", sent.body);
    assert_eq!(fixture.world.acme.count_requests("/token"), 0);
    let chosen = ann.get(&way).body;
    assert!(chosen.contains("<form") && chosen.contains("type=\"password\""), "{chosen}");

    let mut member = TestBrowser::new(&fixture);
    member.sign_in();
    let page = member.get("/oauth/start/acme").body;
    let ask = "Please enter the secret of its OAuth client (Sign in at the app) in the workspace";
    assert!(page.contains("/apps/acme/setup?auth_method=oauth2") && page.contains(ask), "{page}");
    assert!(page.contains("https://c.example.com/settings/apps/acme?auth_method=oauth2"), "{page}");
    let mut root = TestBrowser::new(&fixture);
    root.sign_in_as(&json!({ "user": { "id": "root" }, "role": "admin" }));
    let page = root.get("/oauth/start/acme").body;
    assert!(page.contains("href=\"/settings/apps/acme?auth_method=oauth2\">Set up<") && !page.contains(ask), "{page}");
    // The way that was asked for is not replaced either.
    let asked = root.get("/oauth/start/acme?auth_method=oauth2");
    assert!(
        asked.status == 409 && asked.body.contains("href=\"/oauth/start/acme?auth_method=api_key\""),
        "{}",
        asked.body
    );
}

#[test]
fn an_auth_method_is_not_passed_over_because_the_database_fails() {
    let fixture = fixture_without_recommended_method();
    let (_, path) = make_link(&fixture, &json!({ "app": "acme" }));
    let mut ann = TestBrowser::new(&fixture);
    for failing in 0..8 {
        fixture.world.db.outage.set(Some((failing, Fault::BeforeCommit)));
        let page = ann.get(&path);
        assert!(
            page.status == 503 || page.body.contains("Ask whoever sent you the link to set it up"),
            "{}",
            page.body
        );
        fixture.world.db.outage.set(None);
    }
}

// ---- permissions that are missing ----

/// A link whose person has not allowed one of two permissions. Answers its id, its path, and the browser.
fn link_with_missing_scope<'a>(fixture: &'a Fixture, body: &Value) -> (String, String, TestBrowser<'a>, String) {
    let (id, path) = make_link(fixture, body);
    let mut ann = TestBrowser::new(fixture);
    let pressed = ann.press(&path);
    *fixture.world.acme.granted_scopes.borrow_mut() = Some("read".to_owned());
    let end = ann.complete_consent(&pressed, "ann");
    (id, path, ann, end)
}

fn retry_path(end: &str) -> String {
    let at =
        end.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).find(|href| href.ends_with("/again"));
    at.unwrap_or_else(|| panic!("no way to ask again: {end}")).to_owned()
}

#[test]
fn the_same_link_asks_again_for_what_is_missing() {
    let fixture = Fixture::new();
    let (id, path, mut ann, end) = link_with_missing_scope(&fixture, &json!({ "app": "acme" }));
    assert!(end.contains("were not granted") && end.contains("You can allow them now."), "{end}");
    let made = get_link(&fixture, &id)["connection"].clone();
    assert_eq!(get_connection(&fixture, &made)["scopes"]["missing"], json!(["write"]));
    for at in [retry_path(&end), path.clone()] {
        let page = ann.get(&at);
        assert!(page.body.contains("<small>missing</small>") && page.body.contains("already allowed"), "{}", page.body);
    }
    // Elsewhere it is used.
    let mut other = TestBrowser::new(&fixture);
    assert_eq!(
        (other.get(&path).status, other.press(&path).status, other.get(&retry_path(&end)).status),
        (410, 410, 404)
    );

    let pressed = ann.press(&retry_path(&end));
    *fixture.world.acme.granted_scopes.borrow_mut() = None;
    let end = ann.complete_consent(&pressed, "ann");
    assert!(end.contains("is connected as ann") && !end.contains("not granted"), "{end}");
    let after = get_connection(&fixture, &made);
    assert_eq!((&after["scopes"]["missing"], &after["generation"]), (&json!([]), &json!(2)));
    let link = get_link(&fixture, &id);
    assert_eq!(
        (&link["status"], &link["connection"], &link["last_attempt"]["status"]),
        (&json!("used"), &made, &json!("connected"))
    );
    // Nothing is missing any more.
    assert_eq!((ann.get(&path).status, ann.press(&path).status), (410, 410));
}

#[test]
fn a_denial_leaves_the_connection_and_may_be_repeated() {
    let fixture = Fixture::new();
    let (id, path, mut ann, _) = link_with_missing_scope(&fixture, &json!({ "app": "acme" }));
    let made = get_link(&fixture, &id)["connection"].clone();
    let pressed = ann.press(&path);
    let back = ann.get(&callback_path(&fixture, &pressed, "error=access_denied"));
    let end = ann.get(back.header("location").unwrap()).body;
    assert!(end.contains("The connection stays as it was") && end.contains("Try again"), "{end}");
    assert_eq!(get_connection(&fixture, &made)["generation"], 1);
    assert_eq!(statuses(&fixture, &id), ("used".to_owned(), json!("denied"), Value::Null));
    assert_eq!(ann.get(&retry_path(&end)).status, 200);
}

#[test]
fn a_link_is_not_used_again_after_its_end() {
    // It has expired.
    let fixture = Fixture::new();
    let (_, path, mut ann, end) = link_with_missing_scope(&fixture, &json!({ "app": "acme" }));
    let pressed = ann.press(&path);
    fixture.world.advance_clock(3600);
    assert_eq!((ann.get(&path).status, ann.get(&retry_path(&end)).status), (410, 410));
    assert_eq!(pressed.status, 303);

    // The connection is gone.
    let fixture = Fixture::new();
    let (id, path, mut ann, _) = link_with_missing_scope(&fixture, &json!({ "app": "acme" }));
    let pressed = ann.press(&path);
    let made = get_link(&fixture, &id)["connection"].as_str().unwrap().to_owned();
    let gone = call(&fixture, &first_key(&fixture), Method::Delete, &format!("/v1/connections/{made}"), &Value::Null);
    assert_eq!(gone.0, 200);
    assert_eq!(ann.get(&path).status, 410);
    let end = ann.complete_consent(&pressed, "ann");
    assert!(end.contains("disconnected meanwhile"), "{end}");

    // Its key was revoked.
    let fixture = Fixture::new();
    let (status, key) =
        call(&fixture, &first_key(&fixture), Method::Post, "/v1/keys", &json!({ "name": "L", "scopes": ["links"] }));
    assert_eq!(status, 201);
    let (_, made) = call(&fixture, key["key"].as_str().unwrap(), Method::Post, "/v1/links", &json!({ "app": "acme" }));
    let path = link_path(&made);
    let mut ann = TestBrowser::new(&fixture);
    let pressed = ann.press(&path);
    *fixture.world.acme.granted_scopes.borrow_mut() = Some("read".to_owned());
    ann.complete_consent(&pressed, "ann");
    assert_eq!(ann.get(&path).status, 200);
    let path_of_key = format!("/v1/keys/{}", key["id"].as_str().unwrap());
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Delete, &path_of_key, &Value::Null).0, 200);
    assert_eq!(ann.get(&path).status, 410);

    // The product confirms its person once.
    let fixture = Fixture::new();
    let body = json!({ "app": "acme", "confirm": true, "user": { "id": "u-1" } });
    let (id, path, mut ann, end) = link_with_missing_scope(&fixture, &body);
    assert!(!end.contains("/again"), "{end}");
    let confirm = json!({ "user": { "id": "u-1" } });
    let (status, _) = call(&fixture, &first_key(&fixture), Method::Post, &format!("/v1/links/{id}/confirm"), &confirm);
    assert_eq!((status, ann.get(&path).status), (200, 410));
}

/// A flow of the link's first use can't become a second use: it began before there was anything to add to.
#[test]
fn a_flow_from_before_the_links_use_does_not_change_the_connection() {
    for repairs in [false, true] {
        let fixture = Fixture::new();
        let repaired = repairs.then(|| fixture.connect("ann"));
        let (id, path) = make_link(&fixture, &json!({ "app": "acme", "connection": repaired }));
        let mut ann = TestBrowser::new(&fixture);
        let (early, pressed) = (ann.press(&path), ann.press(&path));
        *fixture.world.acme.granted_scopes.borrow_mut() = Some("read".to_owned());
        ann.complete_consent(&pressed, "ann");
        let made = get_link(&fixture, &id)["connection"].clone();
        let before = get_connection(&fixture, &made)["generation"].clone();
        let end = ann.complete_consent(&early, "ann");
        assert!(end.contains("This link was used already"), "{end}");
        assert_eq!(get_connection(&fixture, &made)["generation"], before);
    }
}

#[test]
fn two_repeated_uses_change_the_connection_once() {
    let fixture = Fixture::new();
    let (id, path, mut ann, _) = link_with_missing_scope(&fixture, &json!({ "app": "acme" }));
    let (first, second) = (ann.press(&path), ann.press(&path));
    *fixture.world.acme.granted_scopes.borrow_mut() = None;
    ann.complete_consent(&first, "ann");
    let end = ann.complete_consent(&second, "ann");
    assert!(end.contains("This link was used already"), "{end}");
    assert_eq!(get_connection(&fixture, &get_link(&fixture, &id)["connection"])["generation"], 2);
}

#[test]
fn another_account_is_asked_about_before_it_takes_the_place_of_the_first() {
    let fixture = Fixture::new();
    let (id, path, mut ann, _) = link_with_missing_scope(&fixture, &json!({ "app": "acme" }));
    let made = get_link(&fixture, &id)["connection"].clone();
    let pressed = ann.press(&path);
    let question = ann.complete_consent(&pressed, "bob");
    assert!(question.contains("This is another account"), "{question}");
    assert_eq!(get_connection(&fixture, &made)["account"]["label"], "ann@acme.example");
    let action = question.split("action=\"/flows/").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let chosen = ann.send(crate::http::request(Method::Post, &format!("/flows/{action}"), b"choice=switch".to_vec()));
    assert_eq!(chosen.status, 303, "{}", chosen.body);
    assert_eq!(get_connection(&fixture, &made)["account"]["label"], "bob@acme.example");
}

// ---- people who leave ----

/// A link for ann that was used with a permission missing, and a flow that she has begun again: the link's path, her browser,
/// the answer of the button, and the connection.
fn used_link_of_ann(fixture: &Fixture) -> (String, TestBrowser<'_>, Response, Value) {
    let (id, path, mut ann, _) = link_with_missing_scope(fixture, &json!({ "app": "acme", "user": { "id": "ann" } }));
    let made = get_link(fixture, &id)["connection"].clone();
    let pressed = ann.press(&path);
    assert_eq!((pressed.status, ann.get(&path).status), (303, 200));
    *fixture.world.acme.granted_scopes.borrow_mut() = None;
    (path, ann, pressed, made)
}

#[test]
fn a_used_link_changes_nothing_that_became_somebody_elses() {
    let fixture = Fixture::new();
    let (path, mut ann, pressed, made) = used_link_of_ann(&fixture);
    let patch = json!({ "owner": { "id": "bob" } });
    let at = format!("/v1/connections/{}", made.as_str().unwrap());
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Patch, &at, &patch).0, 200);
    assert_eq!((ann.get(&path).status, ann.press(&path).status), (410, 410));
    let end = ann.complete_consent(&pressed, "ann");
    assert!(!end.contains("is connected as"), "{end}");
    let after = get_connection(&fixture, &made);
    assert_eq!((&after["generation"], &after["user"]["id"]), (&json!(1), &json!("bob")));
}

fn remove_ann(fixture: &Fixture) {
    let (status, removed) = call(fixture, &first_key(fixture), Method::Delete, "/v1/people/ann", &Value::Null);
    assert_eq!(status, 200, "{removed}");
}

#[test]
fn whoever_was_removed_changes_nothing_by_a_link_that_they_used() {
    let fixture = Fixture::new();
    let (path, mut ann, pressed, made) = used_link_of_ann(&fixture);
    remove_ann(&fixture);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM sessions"), 0);
    assert_eq!((ann.get(&path).status, ann.press(&path).status), (410, 410));
    ann.complete_consent(&pressed, "ann");
    assert_eq!(get_connection(&fixture, &made)["generation"], 1);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM people"), 0);
}

#[test]
fn a_question_of_an_expired_link_ends_with_its_person() {
    let fixture = Fixture::new();
    let (_, first) = make_link(&fixture, &json!({ "app": "acme", "user": { "id": "ann" } }));
    let mut ann = TestBrowser::new(&fixture);
    let pressed = ann.press(&first);
    ann.complete_consent(&pressed, "ann");
    let (id, path) = make_link(&fixture, &json!({ "app": "acme", "user": { "id": "ann" }, "expires_in": 60 }));
    let pressed = ann.press(&path);
    ann.complete_consent(&pressed, "ann");
    assert_eq!(get_link(&fixture, &id)["status"], "waiting_for_choice");
    let flow = fixture.world.db.query_value("SELECT id FROM flows WHERE status = 'undecided'");
    let flow = format!("/flows/{}", flow.as_str().unwrap());
    fixture.world.advance_clock(61);
    remove_ann(&fixture);
    let chosen = ann.send(request(Method::Post, &flow, b"choice=both".to_vec()));
    assert_eq!(chosen.status, 404, "{}", chosen.body);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM people"), 0);
}

#[test]
fn what_waits_for_the_confirmation_of_somebody_who_leaves_is_discarded() {
    let fixture = Fixture::new();
    let (id, path) = make_link(&fixture, &json!({ "app": "acme", "confirm": true, "user": { "id": "ann" } }));
    let mut ann = TestBrowser::new(&fixture);
    let pressed = ann.press(&path);
    ann.complete_consent(&pressed, "ann");
    let made = get_link(&fixture, &id)["connection"].clone();
    assert_eq!(get_link(&fixture, &id)["status"], "awaiting_confirmation");
    remove_ann(&fixture);
    let confirm = json!({ "user": { "id": "ann" } });
    let (status, _) = call(&fixture, &first_key(&fixture), Method::Post, &format!("/v1/links/{id}/confirm"), &confirm);
    assert_eq!((status, &get_link(&fixture, &id)["status"]), (409, &json!("ended")));
    let at = format!("/v1/connections/{}", made.as_str().unwrap());
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Get, &at, &Value::Null).0, 404);
}

// ---- a link for somebody else ----

#[test]
fn whoever_a_link_is_not_for_signs_out_and_goes_on_with_it() {
    let fixture = Fixture::new();
    let (id, path) = make_link(&fixture, &json!({ "app": "acme", "user": { "id": "gwen", "name": "Guest Gwen" } }));
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    for refused in [ann.get(&path), ann.press(&path)] {
        assert_eq!(refused.status, 409, "{}", refused.body);
        assert!(refused.body.contains("<h1>This link is for <bdi>Guest Gwen</bdi></h1>"), "{}", refused.body);
        assert!(
            refused.body.contains("you are signed in as ann") && !refused.body.contains("Conflict"),
            "{}",
            refused.body
        );
    }
    let page = ann.get(&path).body;
    assert!(page.contains(&format!("name=\"return_to\" value=\"{path}\"")), "{page}");
    let out = ann.post(&path, "/sign-out", &format!("return_to={}", path.replace('/', "%2F")));
    assert_eq!((out.status, out.header("location")), (303, Some(path.as_str())), "{}", out.body);
    assert_eq!(ann.get("/").status, 401, "the session has ended");
    assert!(ann.get(&path).body.contains("The connection will belong to <strong><bdi>Guest Gwen</bdi></strong>."));
    assert_eq!(statuses(&fixture, &id).0, "open", "nothing was used");
}

#[test]
fn a_sign_out_leads_to_a_connect_link_and_nowhere_else() {
    let fixture = Fixture::new();
    let elsewhere = [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/connect",
        "/connect/a/b",
        "/connect/..%2F",
        "/",
        "/connect/x?y",
        "/connect/x#y",
        "/settings",
        "/v1/links",
        "/sign-in/x",
        "",
    ];
    for to in elsewhere {
        let mut ann = TestBrowser::new(&fixture);
        ann.sign_in();
        let to: String = url::form_urlencoded::byte_serialize(to.as_bytes()).collect();
        let out = ann.post("/", "/sign-out", &format!("return_to={to}"));
        assert_eq!((out.status, out.header("location")), (200, None), "{to}");
    }
}

// ---- nothing can be used ----

#[test]
fn where_nothing_is_set_up_the_page_says_whom_to_ask() {
    let fixture = Fixture::new();
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let page = ann.get("/oauth/start/quickbooks");
    assert_eq!(page.status, 409);
    assert!(page.body.contains("<bdi>QuickBooks Online</bdi> isn’t set up yet</h1>"), "{}", page.body);
    assert!(page.body.contains("https://c.example.com/settings/apps/quickbooks?auth_method="), "{}", page.body);
    assert_eq!(ann.post("/connect", "/oauth/start/quickbooks", "").status, 409);
    let mut root = TestBrowser::new(&fixture);
    root.sign_in_as(&json!({ "user": { "id": "root" }, "role": "admin" }));
    let page = root.get("/oauth/start/quickbooks").body;
    assert!(page.contains(">Set up<") && !page.contains("Send this to an admin"), "{page}");
}

#[test]
fn whoever_used_a_link_does_not_learn_whose_account_it_is_later() {
    let fixture = Fixture::new();
    let (_, path) = make_link(&fixture, &json!({ "app": "acme" }));
    let mut guest = TestBrowser::new(&fixture);
    let pressed = guest.press(&path);
    let (code, state) = fixture.world.acme.consent(pressed.header("location").unwrap(), "gwen");
    let back = guest.get(&format!("/oauth/callback/{}?state={state}&code={}", fixture.client, code.expose()));
    let end = back.header("location").unwrap().to_owned();
    assert!(guest.get(&end).body.contains("is connected as gwen"));
    fixture.world.advance_clock(300);
    assert!(guest.get(&end).body.contains("is connected as gwen"), "the same page, later");
    // An admin connects it again, to another account.
    fixture.world.db.tamper("UPDATE connections SET account_label = 'chief', connected_at = connected_at + 300");
    let later = guest.get(&end);
    assert!(later.status == 200 && later.body.contains("Acme is connected"), "{}", later.body);
    assert!(!later.body.contains("chief"), "{}", later.body);
}
