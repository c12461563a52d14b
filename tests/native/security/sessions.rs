//! A session ends when it should (ASVS 7.4.1, 7.4.2), and a link binds to the session that is there (UPD-2, T2, T3).

use connections::http::Method;
use serde_json::{Value, json};

use super::{Browser, OPERATOR, call, connect_link, first_key, sign_in_link};
use crate::support::Scene;

/// Whether a copy of this browser's cookies still opens the page.
fn is_signed_in(browser: &Browser<'_>) -> bool {
    Browser { world: browser.world, cookies: browser.cookies.clone() }.get("/").status == 200
}

#[test]
fn signing_out_ends_the_session_wherever_its_cookie_was_copied_to_and_no_other() {
    let scene = Scene::new();
    let (mut ann, other) = (Browser::of(&scene, "ann"), Browser::of(&scene, "ann"));
    let stolen = Browser { world: &scene.world, cookies: ann.cookies.clone() };
    assert!(is_signed_in(&stolen));
    assert_eq!(ann.press("/", "/sign-out", "").status, 200);
    assert!(!is_signed_in(&stolen) && is_signed_in(&other));
}

#[test]
fn a_deleted_workspace_ends_its_sessions_links_and_flows_at_once_and_nobody_elses() {
    let scene = Scene::new();
    let stranger = scene.neighbour();
    let (ann, neighbour) = (Browser::of(&scene, "ann"), Browser::of(&stranger, "ann"));
    let (sign_in, connect) = (sign_in_link(&scene, "bob"), connect_link(&scene, &json!({})));
    let (their_sign_in, their_connect) = (sign_in_link(&stranger, "bob"), connect_link(&stranger, &json!({})));
    let mut guest = Browser::new(&scene);
    let pressed = guest.post(&connect_link(&scene, &json!({})), "");
    let (code, state) = scene.world.acme.consent(pressed.header("location").unwrap(), "guest");
    let deleted =
        call(&scene.world, OPERATOR, Method::Delete, &format!("/v1/workspaces/{}", scene.workspace), &Value::Null);
    assert_eq!(deleted.0, 200);

    assert!(!is_signed_in(&ann) && is_signed_in(&neighbour));
    for (path, status) in [(&sign_in, 410), (&connect, 410), (&their_sign_in, 303), (&their_connect, 303)] {
        assert_eq!(Browser::new(&scene).post(path, "").status, status, "{path}");
    }
    let asked = scene.world.acme.requests();
    let back = guest.get(&format!("/oauth/callback/{}?state={state}&code={}", scene.client, code.expose()));
    assert_eq!(back.header("location"), Some("/oauth/ended/unknown"));
    assert_eq!(scene.world.acme.requests(), asked);
    assert_eq!(call(&scene.world, &first_key(&scene), Method::Get, "/v1/keys", &Value::Null).0, 401);
}

#[test]
fn a_session_ends_after_twelve_hours_however_much_it_is_used() {
    let scene = Scene::new();
    let mut ann = Browser::of(&scene, "ann");
    for _ in 0..11 {
        scene.world.pass(3600);
        assert_eq!(ann.get("/").status, 200);
    }
    scene.world.pass(3600);
    assert_eq!(ann.get("/").status, 401);
}

#[test]
fn a_sign_in_makes_a_session_of_its_own_and_takes_none_that_a_browser_brings() {
    let scene = Scene::new();
    let mut planted = Browser::new(&scene);
    planted.cookies.insert("__Host-cx_session".into(), "x".repeat(43));
    let before = planted.cookies.clone();
    assert_eq!(planted.post(&sign_in_link(&scene, "ann"), "").status, 303);
    assert_ne!(planted.cookies, before, "session fixation: the cookie is a new one");
    assert!(!is_signed_in(&Browser { world: &scene.world, cookies: before }));
}

/// UPD-2: an attacker who has a workspace of their own on this installation sends a link of it to somebody who is signed in
/// to theirs. The page would look like one of their own workspace, and the account would be the attacker's.
#[test]
fn a_link_of_another_workspace_is_refused_to_whoever_is_signed_in() {
    let scene = Scene::new();
    let attacker = scene.neighbour();
    for link in [json!({}), json!({ "user": { "id": "ann" } }), json!({ "user": { "id": "mallory" }, "confirm": true })]
    {
        let path = connect_link(&attacker, &link);
        let mut victim = Browser::of(&scene, "ann");
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
    assert_eq!(scene.world.db.number("SELECT count(*) FROM flows"), 3);
    assert_eq!(scene.world.acme.requests(), 0);
}

/// The same after the button was pressed: who signs in to another workspace meanwhile is not let on.
#[test]
fn a_flow_of_another_workspaces_link_is_not_begun_again_by_whoever_has_signed_in_meanwhile() {
    let scene = Scene::new();
    let attacker = scene.neighbour();
    let mut victim = Browser::new(&scene);
    let pressed = victim.post(&connect_link(&attacker, &json!({})), "");
    let state = url::Url::parse(pressed.header("location").unwrap()).unwrap();
    let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let back = victim.get(&format!("/oauth/callback/{}?state={state}&error=access_denied", attacker.client));
    let again = format!("{}/again", back.header("location").unwrap());
    assert_eq!(victim.get(&again).status, 200);
    assert_eq!(victim.post(&sign_in_link(&scene, "ann"), "").status, 303);
    assert_eq!((victim.get(&again).status, victim.post(&again, "").status), (409, 409));
}
