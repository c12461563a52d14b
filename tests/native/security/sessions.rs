//! A session ends when it should (ASVS 7.4.1, 7.4.2), and a link is bound to the existing session (UPD-2, T2, T3).

use connections::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::{ADMIN_KEY, CookieBrowser, call, first_key, make_connect_link, make_sign_in_link};
use crate::support::Fixture;

/// Whether a copy of this browser's cookies still opens the page.
fn is_signed_in(browser: &CookieBrowser<'_>) -> bool {
    CookieBrowser { world: browser.world, cookies: browser.cookies.clone() }.get("/").status == 200
}

#[test]
fn signing_out_ends_only_its_session_also_for_copied_cookies() {
    let fixture = Fixture::new();
    let (mut ann, other) = (CookieBrowser::signed_in_as(&fixture, "ann"), CookieBrowser::signed_in_as(&fixture, "ann"));
    let stolen = CookieBrowser { world: &fixture.world, cookies: ann.cookies.clone() };
    assert!(is_signed_in(&stolen));
    assert_eq!(ann.press("/", "/sign-out", "").status, 200);
    assert!(!is_signed_in(&stolen) && is_signed_in(&other));
}

#[test]
fn deleting_a_workspace_ends_its_sessions_links_and_flows_at_once() {
    let fixture = Fixture::new();
    let stranger = fixture.other_workspace();
    let (ann, neighbour) =
        (CookieBrowser::signed_in_as(&fixture, "ann"), CookieBrowser::signed_in_as(&stranger, "ann"));
    let (sign_in, connect) = (make_sign_in_link(&fixture, "bob"), make_connect_link(&fixture, &json!({})));
    let (their_sign_in, their_connect) =
        (make_sign_in_link(&stranger, "bob"), make_connect_link(&stranger, &json!({})));
    let mut guest = CookieBrowser::new(&fixture);
    let pressed = guest.post(&make_connect_link(&fixture, &json!({})), "");
    let (code, state) = fixture.world.acme.consent(pressed.header("location").unwrap(), "guest");
    let deleted =
        call(&fixture.world, ADMIN_KEY, Method::Delete, &format!("/v1/workspaces/{}", fixture.workspace), &Value::Null);
    assert_eq!(deleted.0, 200);

    assert!(!is_signed_in(&ann) && is_signed_in(&neighbour));
    for (path, status) in [(&sign_in, 410), (&connect, 410), (&their_sign_in, 303), (&their_connect, 303)] {
        assert_eq!(CookieBrowser::new(&fixture).post(path, "").status, status, "{path}");
    }
    let asked = fixture.world.acme.count_all_requests();
    let back = guest.get(&format!("/oauth/callback/{}?state={state}&code={}", fixture.client, code.expose()));
    assert_eq!(back.header("location"), Some("/oauth/ended/unknown"));
    assert_eq!(fixture.world.acme.count_all_requests(), asked);
    assert_eq!(call(&fixture.world, &first_key(&fixture), Method::Get, "/v1/keys", &Value::Null).0, 401);
}

#[test]
fn a_session_ends_after_twelve_hours_of_any_use() {
    let fixture = Fixture::new();
    let mut ann = CookieBrowser::signed_in_as(&fixture, "ann");
    for _ in 0..11 {
        fixture.world.advance_clock(3600);
        assert_eq!(ann.get("/").status, 200);
    }
    fixture.world.advance_clock(3600);
    assert_eq!(ann.get("/").status, 401);
}

#[test]
fn a_sign_in_creates_a_new_session_and_ignores_the_browsers() {
    let fixture = Fixture::new();
    let mut planted = CookieBrowser::new(&fixture);
    planted.cookies.insert("__Host-cx_session".into(), "x".repeat(43));
    let before = planted.cookies.clone();
    assert_eq!(planted.post(&make_sign_in_link(&fixture, "ann"), "").status, 303);
    assert_ne!(planted.cookies, before, "session fixation: the cookie is a new one");
    assert!(!is_signed_in(&CookieBrowser { world: &fixture.world, cookies: before }));
}

/// UPD-2: an attacker with their own workspace in this installation sends a link of it to somebody who is signed in to
/// another one. The page would look like one of the victim's workspace, and the account would be the attacker's.
#[test]
fn a_link_of_another_workspace_is_refused_to_a_signed_in_person() {
    let fixture = Fixture::new();
    let attacker = fixture.other_workspace();
    for link in [json!({}), json!({ "user": { "id": "ann" } }), json!({ "user": { "id": "mallory" }, "confirm": true })]
    {
        let path = make_connect_link(&attacker, &link);
        let mut victim = CookieBrowser::signed_in_as(&fixture, "ann");
        for method in [Method::Get, Method::Post] {
            let page = victim.send(method, &path, "");
            assert_eq!(page.status, 409, "{link}");
            assert!(
                page.body.contains("belongs to another workspace") && page.body.contains("sign out first"),
                "{}",
                page.body
            );
            assert!(page.header("location").is_none() && page.header("set-cookie").is_none());
        }
        assert_eq!(victim.press("/", "/sign-out", "").status, 200);
        assert_eq!(victim.post(&path, "").status, 303, "who signs out knowingly may go on: {link}");
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM flows"), 3);
    assert_eq!(fixture.world.acme.count_all_requests(), 0);
}

/// The same after the page was submitted: a person who signs in to another workspace in the meantime is refused.
#[test]
fn a_flow_of_another_workspaces_link_cannot_be_restarted_after_a_sign_in() {
    let fixture = Fixture::new();
    let attacker = fixture.other_workspace();
    let mut victim = CookieBrowser::new(&fixture);
    let pressed = victim.post(&make_connect_link(&attacker, &json!({})), "");
    let state = url::Url::parse(pressed.header("location").unwrap()).unwrap();
    let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let back = victim.get(&format!("/oauth/callback/{}?state={state}&error=access_denied", attacker.client));
    let again = format!("{}/again", back.header("location").unwrap());
    assert_eq!(victim.get(&again).status, 200);
    assert_eq!(victim.post(&make_sign_in_link(&fixture, "ann"), "").status, 303);
    assert_eq!((victim.get(&again).status, victim.post(&again, "").status), (409, 409));
}

#[test]
fn a_sign_in_link_says_whose_session_it_would_end() {
    let fixture = Fixture::new();
    let stranger = fixture.other_workspace();
    let mut ann = CookieBrowser::signed_in_as(&fixture, "ann");
    // A link for somebody else, and one for somebody of the same id in another workspace.
    for link in [make_sign_in_link(&fixture, "bob"), make_sign_in_link(&stranger, "ann")] {
        let page = ann.get(&link).body;
        assert!(page.contains("You are signed in as <strong><bdi>ann</bdi></strong>."), "{page}");
    }
    let own = make_sign_in_link(&fixture, "ann");
    let nobody = CookieBrowser { world: ann.world, cookies: BTreeMap::default() }.get(&own).body;
    for page in [ann.get(&own).body, nobody] {
        assert!(page.contains("Sign in as") && !page.contains("You are signed in as"), "{page}");
    }
}
