//! A form that was sent after its session had ended: what was typed comes back, in the same browser, after the sign-in, and
//! nothing is done by itself. Secrets are not kept, and other sites fill no form.

use connections::http::{Method, Response};
use connections::ids::ConnectionId;
use serde_json::json;

use crate::http::{TestBrowser, request};
use crate::support::Fixture;
use crate::support::database::{Fault, FaultRule};

const CANARY: &str = "canary5b1d-typed-secret";

/// The browser of an admin, whose session has ended.
fn signed_out_admin(fixture: &Fixture) -> TestBrowser<'_> {
    let mut browser = TestBrowser::new(fixture);
    sign_in(&mut browser);
    fixture.world.db.tamper("DELETE FROM sessions");
    browser
}

fn sign_in(browser: &mut TestBrowser<'_>) -> String {
    browser.sign_in_as(&json!({ "user": { "id": "root", "name": "Root" }, "role": "admin" }))
}

fn send(browser: &mut TestBrowser<'_>, path: &str, fields: &str) -> Response {
    let form = format!("csrf=of-the-ended-session&whose={}&{fields}", browser.whose("root")).into_bytes();
    browser.send(request(Method::Post, path, form))
}

fn name_of(fixture: &Fixture, id: &ConnectionId) -> String {
    fixture.load_connection(id).name
}

#[test]
fn a_name_that_was_typed_comes_back_and_is_saved_only_by_the_person() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let before = name_of(&fixture, &id);
    let path = format!("/connections/{id}/rename");
    let mut browser = signed_out_admin(&fixture);
    let ended = send(&mut browser, &path, "name=Ledger+of+%22Ann%22");
    assert_eq!(ended.status, 401);
    assert!(ended.body.contains("Your session ended") && ended.body.contains("comes back"), "{}", ended.body);
    assert!(!ended.body.contains("Ledger"), "the page itself shows nothing of it");
    assert_eq!(sign_in(&mut browser), path, "back to the form");
    let page = browser.get(&path);
    assert!(page.body.contains("value=\"Ledger of &quot;Ann&quot;\""), "{}", page.body);
    assert!(page.body.contains("Nothing is saved yet."), "{}", page.body);
    assert_eq!(name_of(&fixture, &id), before);
    // Once.
    let again = browser.get(&path);
    assert!(!again.body.contains("Ledger") && !again.body.contains("Nothing is saved yet."), "{}", again.body);
    assert!(!browser.cookies.keys().any(|name| name.ends_with("cx_form") || name.ends_with("cx_return")));
    assert_eq!(browser.post(&path, &path, "name=Ledger").status, 303);
    assert_eq!(name_of(&fixture, &id), "Ledger");
}

#[test]
fn settings_come_back_without_their_secrets() {
    let fixture = Fixture::new();
    for (path, page, fields, back) in [
        ("/settings/keys", "/settings/keys", "name=Engine&scope=resolve&days=30", "value=\"Engine\""),
        ("/settings/people", "/settings/people", "user_id=eve&user_name=Eve&role=admin", "value=\"Eve\""),
        ("/settings/links", "/settings/links", "app=acme&user_id=gwen", "value=\"gwen\""),
        ("/settings/workspace", "/settings/workspace", "name=Renamed", "value=\"Renamed\""),
        (
            "/settings/webhooks",
            "/settings/webhooks",
            "url=https://hooks.example/a",
            "value=\"https://hooks.example/a\"",
        ),
        ("/settings/sign-in", "/settings/sign-in", "issuer=https://id.example&client_id=c7", "value=\"c7\""),
        ("/settings/new-app", "/settings/new-app", "name=Mine&id=mine&method=api_key", "value=\"Mine\""),
        ("/settings/apps/acme/client", "/settings/apps/acme", "client_id=typed-id", "value=\"typed-id\""),
        ("/settings/apps/acme/disconnect-all", "/settings/apps/acme/disconnect-all", "reason=leak", "value=\"leak\""),
    ] {
        let mut browser = signed_out_admin(&fixture);
        let fields =
            format!("{fields}&client_secret={CANARY}&private_key={CANARY}&input.key={CANARY}&confirm={CANARY}");
        assert_eq!(send(&mut browser, path, &fields).status, 401, "{path}");
        assert!(!format!("{:?}", browser.cookies).contains(CANARY));
        assert_eq!(sign_in(&mut browser), page, "{path}");
        let shown = browser.get(page);
        assert!(shown.status == 200 && shown.body.contains(back), "{path}: {}", shown.body);
        assert!(!shown.body.contains(CANARY), "{path}: {}", shown.body);
        assert!(shown.body.contains("Nothing is saved yet."), "{path}");
    }
}

#[test]
fn a_button_is_not_pressed_again_by_itself() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let mut browser = signed_out_admin(&fixture);
    let ended = send(&mut browser, &format!("/connections/{id}/disconnect"), "");
    assert!(ended.status == 401 && ended.body.contains("Sign in, then do it again."), "{}", ended.body);
    assert_eq!(sign_in(&mut browser), format!("/connections/{id}/disconnect"));
    let ended = send(&mut browser, &format!("/connections/{id}/check"), "");
    assert_eq!(ended.status, 403, "a form of another session");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections WHERE deleted_at IS NULL"), 1);
}

#[test]
fn another_site_fills_no_form() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let path = format!("/connections/{id}/rename");
    let mut browser = signed_out_admin(&fixture);
    let mut forged = request(Method::Post, &path, b"name=Forged".to_vec());
    forged.headers = vec![("sec-fetch-site".into(), "cross-site".into())];
    let refused = browser.send(forged);
    assert!(refused.status == 401 && refused.body.contains("Sign in, then do it again."), "{}", refused.body);
    assert!(!browser.cookies.keys().any(|name| name.ends_with("cx_form")));
    sign_in(&mut browser);
    assert!(!browser.get(&path).body.contains("Forged"));
    // Nor does a made-up cookie, nor the body of a request for a page.
    browser.cookies.insert("__Host-cx_form".into(), "cx1.made.up".into());
    assert!(!browser.get(&path).body.contains("Nothing is saved yet."));
    let with_body = request(Method::Get, &path, b"name=Forged".to_vec());
    assert!(!browser.send(with_body).body.contains("Forged"));
}

#[test]
fn what_is_kept_is_of_one_page_one_browser_and_half_an_hour() {
    let fixture = Fixture::new();
    let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
    let (path, elsewhere) = (format!("/connections/{id}/rename"), format!("/connections/{other}/rename"));
    let mut browser = signed_out_admin(&fixture);
    send(&mut browser, &path, "name=Ledger");
    sign_in(&mut browser);
    assert!(!browser.get(&elsewhere).body.contains("Ledger"), "another page");
    let mut stranger = TestBrowser::new(&fixture);
    sign_in(&mut stranger);
    assert!(!stranger.get(&path).body.contains("Ledger"), "another browser");
    fixture.world.advance_clock(1800);
    assert!(!browser.get(&path).body.contains("Ledger"), "too late");
}

#[test]
fn what_is_too_long_for_a_cookie_is_said_to_be() {
    let fixture = Fixture::new();
    let mut browser = signed_out_admin(&fixture);
    let long = format!("definition={}", "x".repeat(5000));
    let ended = send(&mut browser, "/settings/new-app", &long);
    assert!(ended.status == 401 && ended.body.contains("too long to be kept"), "{}", ended.body);
    assert!(!browser.cookies.keys().any(|name| name.ends_with("cx_form")));
    // The longest that is kept has room in a cookie.
    let ended = send(&mut browser, "/settings/new-app", &format!("definition={}", "x".repeat(2480)));
    assert!(ended.body.contains("comes back"), "{}", ended.body);
    let line = ended.headers.iter().find(|(name, value)| name == "set-cookie" && value.contains("cx_form"));
    assert!(line.is_some_and(|(_, value)| value.len() < 4096));
}

#[test]
fn what_would_be_too_long_with_the_address_of_its_page_is_said_to_be_lost() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let mut browser = signed_out_admin(&fixture);
    let path = format!("/connections/{id}/rename?from={}", "x".repeat(1900));
    let ended = send(&mut browser, &path, &format!("name={}", "y".repeat(1500)));
    let cookie = browser.cookies.get("__Host-cx_form").map(String::len);
    assert!(ended.body.contains("too long to be kept") && cookie.is_none(), "{cookie:?}: {}", ended.body);
}

#[test]
fn whoever_signs_in_again_finds_the_button_that_they_pressed() {
    let fixture = Fixture::new();
    let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
    fixture.world.db.tamper("UPDATE connections SET is_shared = 1");
    let mut browser = TestBrowser::new(&fixture);
    sign_in(&mut browser);
    let disconnect = format!("/connections/{id}/disconnect");
    assert_eq!(browser.post(&disconnect, &disconnect, "").status, 303);
    for button in ["undo-disconnect", "revoke-now"] {
        fixture.world.db.tamper("DELETE FROM sessions");
        assert_eq!(send(&mut browser, &format!("/connections/{id}/{button}"), "").status, 401);
        let page = sign_in(&mut browser);
        let shown = browser.get(&page);
        let form = format!("action=\"/connections/{id}/{button}\"");
        assert!(shown.status == 200 && shown.body.contains(&form), "{page}: {}", shown.body);
    }
    // The page of a default says in its address which one it is.
    let address = "/settings/default?app=acme";
    let page = browser.get(address);
    assert!(page.body.contains(&format!("method=\"post\" action=\"{address}\"")), "{}", page.body);
    fixture.world.db.tamper("DELETE FROM sessions");
    assert_eq!(send(&mut browser, address, &format!("app=acme&connection={other}")).status, 401);
    assert_eq!(sign_in(&mut browser), address);
    let shown = browser.get(address);
    assert!(shown.body.contains(&format!("value=\"{other}\" selected")), "{}", shown.body);
    assert_eq!(send(&mut browser, "/settings/sign-in-links/sil_1/delete", "").status, 403, "of another session");
    fixture.world.db.tamper("DELETE FROM sessions");
    assert_eq!(send(&mut browser, "/settings/sign-in-links/sil_1/delete", "").status, 401);
    assert_eq!(sign_in(&mut browser), "/settings/sessions");
}

#[test]
fn whoever_opens_a_page_without_a_session_gets_to_it_after_any_sign_in() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let asked = format!("/connections/{id}/reconnect?scopes=read");
    let mut browser = TestBrowser::new(&fixture);
    let refused = browser.get(&asked);
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(sign_in(&mut browser), asked);
    assert_eq!(browser.get(&asked).status, 200);
    // A name that has to be escaped is one, too.
    let mut browser = TestBrowser::new(&fixture);
    assert_eq!(browser.get("/workflows/daily%2Dreport").status, 401);
    assert_eq!(sign_in(&mut browser), "/workflows/daily%2Dreport");
    // A link that names a page has precedence, and what was asked for is forgotten.
    let mut browser = TestBrowser::new(&fixture);
    browser.get(&asked);
    let body = json!({ "user": { "id": "root" }, "return_to": "/connect" });
    assert_eq!(browser.sign_in_as(&body), "/connect");
    assert_eq!(browser.sign_in_as(&json!({ "user": { "id": "root" } })), "/");
    // A cookie that somebody has made up leads nowhere else.
    for forged in ["aHR0cHM6Ly9ldmlsLmV4YW1wbGU", "Ly9ldmlsLmV4YW1wbGU", "%%%", "L3NpZ24tb3V0"] {
        let mut browser = TestBrowser::new(&fixture);
        browser.cookies.insert("__Host-cx_return".into(), forged.into());
        assert_eq!(sign_in(&mut browser), "/", "{forged}");
    }
}

#[test]
fn a_form_that_shows_a_secret_makes_one_thing_however_often_it_is_sent() {
    let fixture = Fixture::new();
    let mut browser = TestBrowser::new(&fixture);
    sign_in(&mut browser);
    for (page, fields, table) in [
        ("/settings/keys", "name=Engine&scope=resolve", "api_keys"),
        ("/settings/links", "app=acme&shared=yes&expires_in=3600", "connect_links"),
        ("/settings/people", "user_id=eve&role=member", "sign_in_links"),
        ("/settings/webhooks", "url=https://hooks.example/a&type=connection.deleted", "subscriptions"),
    ] {
        let count = || fixture.world.db.query_number(&format!("SELECT count(*) FROM {table}"));
        let html = browser.get(page).body;
        let value = |name: &str| {
            let after =
                html.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap_or_else(|| panic!("{page}: {html}"));
            after.split('"').next().unwrap().to_owned()
        };
        let form = format!("csrf={}&once={}&{fields}", value("csrf"), value("once"));
        let before = count();
        let made = browser.send(request(Method::Post, page, form.clone().into_bytes()));
        assert_eq!((made.status, count()), (201, before + 1), "{page}: {}", made.body);
        let again = browser.send(request(Method::Post, page, form.clone().into_bytes()));
        assert_eq!((again.status, count()), (409, before + 1), "{page}: {}", again.body);
        assert!(again.body.contains("This was done before"), "{}", again.body);
        // Somebody goes back and changes what was typed.
        let changed = form.replace("name=Engine", "name=Other").replace("/a&", "/b&").replace("3600", "7200");
        if changed != form {
            assert_eq!(browser.send(request(Method::Post, page, changed.into_bytes())).status, 201, "{page}");
        }
    }
}

#[test]
fn a_refused_form_can_be_sent_again() {
    let fixture = Fixture::new();
    let mut browser = TestBrowser::new(&fixture);
    sign_in(&mut browser);
    let send =
        |browser: &mut TestBrowser<'_>| browser.post("/settings/keys", "/settings/keys", "once=a&name=&scope=resolve");
    assert_eq!(send(&mut browser).status, 422);
    assert_eq!(send(&mut browser).status, 422);
}

#[test]
fn a_form_of_an_earlier_session_is_refused_and_shows_what_was_typed() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let path = format!("/connections/{id}/rename");
    let mut browser = TestBrowser::new(&fixture);
    sign_in(&mut browser);
    let before = name_of(&fixture, &id);
    let refused = send(&mut browser, &path, "name=Ledger");
    assert!(refused.status == 403 && refused.body.contains("signed in again since"), "{}", refused.body);
    assert!(refused.body.contains(&format!("href=\"{path}\"")), "{}", refused.body);
    assert!(browser.get(&path).body.contains("value=\"Ledger\""));
    assert_eq!(name_of(&fixture, &id), before);
}

#[test]
fn what_one_person_typed_is_not_shown_to_another() {
    let fixture = Fixture::new();
    let mut browser = signed_out_admin(&fixture);
    assert_eq!(send(&mut browser, "/settings/workspace", "name=Typed+by+root").status, 401);
    browser.sign_in_as(&json!({ "user": { "id": "eve" }, "role": "admin" }));
    for _ in 0..2 {
        let page = browser.get("/settings/workspace").body;
        assert!(!page.contains("Typed by root") && !page.contains("Nothing is saved yet."), "{page}");
    }
    assert!(!browser.cookies.keys().any(|name| name.ends_with("cx_form")), "it is gone for root, too");
}

#[test]
fn a_page_that_fails_keeps_the_form_for_its_next_try() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let path = format!("/connections/{id}/rename");
    let mut browser = signed_out_admin(&fixture);
    send(&mut browser, &path, "name=Ledger");
    sign_in(&mut browser);
    let fault = FaultRule { statement_part: "FROM connections", times: 2, fault: Fault::BeforeCommit };
    fixture.world.db.fault_rules.borrow_mut().push(fault);
    assert_eq!(browser.get(&path).status, 503);
    fixture.world.db.fault_rules.borrow_mut().clear();
    assert!(browser.get(&path).body.contains("value=\"Ledger\""));
}
