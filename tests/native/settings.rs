//! The administration's pages: each does what the API does, for admins alone, and shows no secret twice.

use connections::authorize::RequiredRole;
use connections::http::routes::{ROUTES, RequiredAuth, RouteEntry};
use connections::http::{Method, Response};
use connections::ports::{AppResponse, OutboundRequest};
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key};
use crate::support::{Fixture, Reply};

/// The browser of an admin.
pub(crate) fn admin(fixture: &Fixture) -> TestBrowser<'_> {
    let mut browser = TestBrowser::new(fixture);
    browser.sign_in_as(&json!({ "user": { "id": "root", "name": "Root" }, "role": "admin" }));
    browser
}

fn routes_for_admins() -> impl Iterator<Item = &'static RouteEntry> {
    ROUTES.iter().filter(|line| line.auth == RequiredAuth::User(RequiredRole::Admin))
}

/// The text of an element with this id, without elements in it.
fn text_of(page: &Response, id: &str) -> String {
    let rest = page.body.split(&format!("id=\"{id}\"")).nth(1).unwrap_or_else(|| panic!("no {id}: {}", page.body));
    let rest = rest.split_once('>').unwrap().1.split("</code>").next().unwrap();
    rest.replace("<bdi>", "").replace("</bdi>", "").replace("&amp;", "&").replace("&quot;", "\"").replace("&#39;", "'")
}

fn assert_ok(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.body);
}

// ---- who ----

/// The id of a person's session.
fn session_of(fixture: &Fixture, user: &str) -> String {
    let list = call(fixture, &first_key(fixture), Method::Get, "/v1/sessions", &Value::Null).1;
    let found = list["data"].as_array().unwrap().iter().find(|one| one["user"]["id"] == user);
    found.unwrap_or_else(|| panic!("no session of {user}"))["id"].as_str().unwrap().to_owned()
}

/// Of each thing that a path names, one that there is.
fn path_of(fixture: &Fixture, line: &RouteEntry) -> String {
    let key = first_key(fixture);
    let id =
        |path: &str, body: Value| call(fixture, &key, Method::Post, path, &body).1["id"].as_str().unwrap().to_owned();
    let filled = |segment: &str| match segment {
        "{app}" => "acme".to_owned(),
        "{key}" => id("/v1/keys", json!({ "name": "x", "scopes": ["resolve"] })),
        "{link}" => id("/v1/links", json!({ "app": "acme" })),
        "{person}" => {
            TestBrowser::new(fixture).sign_in_as(&json!({ "user": { "id": "leaver" } }));
            "leaver".to_owned()
        }
        "{session}" => {
            TestBrowser::new(fixture).sign_in_as(&json!({ "user": { "id": "leaver" } }));
            session_of(fixture, "leaver")
        }
        "{sign_in_link}" => id("/v1/sign-in-links", json!({ "user": { "id": "invited" } })),
        "{webhook}" => id("/v1/webhooks", json!({ "url": "https://hooks.example/x", "types": ["connection.deleted"] })),
        "{event}" => "evt_0".to_owned(),
        "{job}" => id("/v1/apps/notion/disconnect-all", json!({ "confirm": "notion", "reason": "x" })),
        other => other.to_owned(),
    };
    line.path.split('/').map(filled).collect::<Vec<_>>().join("/")
}

fn state(fixture: &Fixture) -> String {
    let tables =
        ["api_keys", "oauth_clients", "connect_links", "sign_in_links", "people", "sessions", "apps", "workspaces"];
    let one = |table: &&str| fixture.world.db.query_number(&format!("SELECT count(*) FROM {table}"));
    let names = fixture.world.db.query_value("SELECT json_group_array(role || user_id) FROM people");
    format!("{:?} {names}", tables.iter().map(one).collect::<Vec<_>>())
}

fn try_as(browser: &mut TestBrowser<'_>, line: &RouteEntry, path: &str) -> Response {
    match line.method {
        // Of a default the form names the app.
        Method::Post => browser.post("/oauth/start/acme", path, "app=acme&end=yes"),
        _ if line.path == "/settings/default" => browser.get("/settings/default?app=acme"),
        _ => browser.get(path),
    }
}

#[test]
fn every_page_of_the_administration_is_for_the_admins_of_its_workspace() {
    let mut tried = 0;
    // A redelivery names an event beside its webhook: see the test of that page.
    for line in routes_for_admins().filter(|line| !line.path.contains("{event}")) {
        let fixture = Fixture::new();
        let path = path_of(&fixture, line);
        let elsewhere = fixture.other_workspace();
        let mut member = TestBrowser::new(&fixture);
        member.sign_in();
        let (mut stranger, mut foreign) = (TestBrowser::new(&fixture), admin(&elsewhere));
        let before = state(&fixture);
        let refused = try_as(&mut member, line, &path);
        assert_eq!(refused.status, 403, "{} as a member: {}", line.path, refused.body);
        assert!(refused.body.contains("Only an admin may do this"), "{}", refused.body);
        assert!([303, 401, 403].contains(&try_as(&mut stranger, line, &path).status), "{} signed out", line.path);
        // An app is known everywhere, and a list is of the admin's own workspace.
        let names_a_thing = line.path.contains('{') && !line.path.contains("{app}");
        if names_a_thing {
            assert_eq!(try_as(&mut foreign, line, &path).status, 404, "{} from another workspace", line.path);
        }
        assert_eq!(state(&fixture), before, "{} changed something", line.path);
        fixture.world.db.tamper(
            "INSERT INTO identity_providers (id, workspace_id, issuer, client_id, sealed_secret, client_auth, authorize_url, token_url,
              keys_url, sends_issuer, allowed_domains, admin_groups, created_at, updated_at) SELECT 'cli_' || substr(id, 4), id, 'https://login.example', 'client', 'sealed', 'basic',
              'https://login.example/a', 'https://login.example/t', 'https://login.example/k', 1, '[]', '[]', 1, 1 FROM workspaces",
        );
        let allowed = try_as(&mut admin(&fixture), line, &path);
        assert!(![401, 403, 404, 500].contains(&allowed.status), "{}: {} {}", line.path, allowed.status, allowed.body);
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}

#[test]
fn no_form_of_the_administration_is_taken_from_another_site_or_an_old_page() {
    let fixture = Fixture::new();
    for line in routes_for_admins().filter(|line| line.method == Method::Post) {
        let path = path_of(&fixture, line);
        let mut root = admin(&fixture);
        let before = state(&fixture);
        let old = root.send(crate::http::request(Method::Post, &path, b"csrf=wrong&name=x".to_vec()));
        let mut elsewhere = crate::http::request(Method::Post, &path, b"name=x".to_vec());
        elsewhere.headers = vec![("sec-fetch-site".into(), "cross-site".into())];
        for refused in [old, root.send(elsewhere)] {
            assert_eq!(refused.status, 403, "{}", line.path);
        }
        assert_eq!(state(&fixture), before, "{}", line.path);
    }
}

#[test]
fn only_admins_see_the_way_to_the_administration() {
    let fixture = Fixture::new();
    let mut member = TestBrowser::new(&fixture);
    member.sign_in();
    let page = member.get("/").body;
    assert!(!page.contains("/settings") && !page.contains("/activity"));
    let page = admin(&fixture).get("/").body;
    assert!(page.contains("href=\"/settings/apps\"") && page.contains("href=\"/activity\""));
    assert_eq!(admin(&fixture).get("/settings").header("location"), Some("/settings/apps"));
}

#[test]
fn a_page_costs_one_round_trip_beside_the_session_where_it_can() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let mut count = |path: &str| {
        root.get(path);
        fixture.world.db.reset_counts();
        root.get(path);
        fixture.world.db.round_trips.get()
    };
    // It reads the session and nothing else.
    let session = count("/settings");
    for (path, more) in [
        ("/settings/keys", 1),
        ("/settings/people", 1),
        ("/activity", 1),
        ("/settings/sessions", 1),
        ("/settings/apps", 1),
        ("/settings/links", 1),
        ("/settings/email", 1),
        ("/settings/workspace", 1),
        ("/settings/sign-in", 1),
    ] {
        assert_eq!(count(path) - session, more, "{path}");
    }
}

// ---- API keys ----

#[test]
fn an_admin_creates_a_key_that_is_shown_once_and_works() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let mut root = admin(&fixture);
    let fields = "name=Engine&scope=resolve&scope=connections%3Aread&apps=acme&days=30";
    let made = root.post("/settings/keys", "/settings/keys", fields);
    assert_ok(&made, 201);
    let key = text_of(&made, "key-text");
    assert!(key.starts_with("cx_"), "{key}");
    assert!(text_of(&made, "command-text").contains(&format!("/v1/connections/{id}/resolve")));
    let resolve = |key: &str| call(&fixture, key, Method::Post, &format!("/v1/connections/{id}/resolve"), &json!({})).0;
    assert_eq!(resolve(&key), 200);
    let (_, keys) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/keys", &Value::Null);
    let stored = keys["data"].as_array().unwrap().iter().find(|one| one["name"] == "Engine").unwrap();
    assert_eq!(stored["scopes"], json!(["resolve", "connections:read"]));
    assert_eq!((&stored["apps"], &stored["made_by"]), (&json!(["acme"]), &Value::Null));
    assert_eq!(stored["expires_at"], json!(fixture.world.now().plus(30 * 86_400)));

    let key_page = format!("/settings/keys/{}", stored["id"].as_str().unwrap());
    for page in ["/settings/keys", &key_page, "/activity"] {
        let shown = root.get(page);
        assert_ok(&shown, 200);
        assert!(shown.body.contains("Engine") && !shown.body.contains(&key), "{page}");
    }
    let rotated = root.post(&key_page, &format!("{key_page}/rotate"), "overlap=0");
    assert_ok(&rotated, 200);
    let newest = text_of(&rotated, "key-text");
    assert_eq!((resolve(&newest), resolve(&key)), (200, 401));
    let revoked = root.post(&key_page, &format!("{key_page}/revoke"), "");
    assert_eq!((revoked.status, resolve(&newest)), (303, 401));
    assert!(root.get("/settings/keys").body.contains("“<bdi>Engine</bdi>” is revoked"));
    let (_, events) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/events?actor=user:root", &Value::Null);
    let types: Vec<_> = events["data"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
    assert_eq!(types[..3], ["key_revoked", "key_rotated", "key_created"], "{types:?}");
}

#[test]
fn a_refused_key_keeps_what_was_entered_and_says_what_is_wrong_at_the_field() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let refused = root.post("/settings/keys", "/settings/keys", "name=&scope=resolve&apps=not%20an%21app");
    assert_ok(&refused, 422);
    assert!(refused.body.contains("is no app&#39;s id") || refused.body.contains("is no app's id"), "{}", refused.body);
    assert!(refused.body.contains("value=\"not an!app\""), "{}", refused.body);
    let unnamed = root.post("/settings/keys", "/settings/keys", "name=&scope=resolve");
    assert_ok(&unnamed, 422);
    assert!(
        unnamed.body.contains("id=\"name-error\"") && unnamed.body.contains("Enter a name of up to 100 characters.")
    );
    let nothing = root.post("/settings/keys", "/settings/keys", "name=x");
    assert!(nothing.body.contains("Choose at least one."));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM api_keys"), 1);
}

#[test]
fn the_page_of_a_key_says_what_would_end_with_it() {
    let fixture = Fixture::new();
    let key = crate::http::make_key(&fixture, |key| key.scopes = vec![connections::caller::KeyScope::Links]);
    for _ in 0..2 {
        assert_eq!(call(&fixture, &key, Method::Post, "/v1/links", &json!({ "app": "acme" })).0, 201);
    }
    let id = format!("key_{}", key.split('_').nth(1).unwrap());
    let mut root = admin(&fixture);
    let page = root.get(&format!("/settings/keys/{id}")).body;
    assert!(page.contains("2 connect links") && page.contains("name=\"end\""), "{page}");
    root.post(&format!("/settings/keys/{id}"), &format!("/settings/keys/{id}/revoke"), "end=yes");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connect_links WHERE status = 'ended'"), 2);
}

// ---- people ----

#[test]
fn an_admin_invites_somebody_with_a_link_that_is_shown_once() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let fields = "user_id=grace%40example.com&user_name=Grace&role=admin";
    let made = root.post("/settings/people", "/settings/people", fields);
    assert_ok(&made, 201);
    let url = text_of(&made, "link-text");
    let path = url.strip_prefix("https://c.example.com").unwrap();
    assert!(root.get("/settings/sessions").body.contains("Grace"));
    let mut grace = TestBrowser::new(&fixture);
    assert_eq!(grace.press(path).status, 303);
    assert_ok(&grace.get("/settings/people"), 200);
    assert!(!root.get("/settings/people").body.contains(path));
    let (_, events) = call(
        &fixture,
        &first_key(&fixture),
        Method::Get,
        "/v1/events?type=sign_in_link_created&actor=user:root",
        &Value::Null,
    );
    assert_eq!(events["data"].as_array().unwrap().len(), 1);
    for id in ["oidc%3Ahttps%3A%2F%2Fidp%3Ax", ""] {
        let refused = root.post("/settings/people", "/settings/people", &format!("user_id={id}&role=member"));
        assert_ok(&refused, 422);
        assert!(refused.body.contains("id=\"user_id-error\""), "{}", refused.body);
    }
}

#[test]
fn a_person_is_removed_with_the_transfer_of_their_connections() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.db.tamper("UPDATE connections SET user_id = 'ann', is_shared = 0");
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let mut root = admin(&fixture);
    let page = root.get("/settings/people/ann").body;
    assert!(page.contains(id.as_str()) && page.contains("<option value=\"root\">"), "{page}");
    let wrong = root.post("/settings/people/ann", "/settings/people/ann/remove", "transfer_to=nobody");
    assert_ok(&wrong, 422);
    let gone = root.post("/settings/people/ann", "/settings/people/ann/remove", "transfer_to=root");
    assert_eq!(gone.status, 303);
    assert_eq!(fixture.world.db.query_value("SELECT user_id FROM connections"), json!("root"));
    assert_ne!(ann.get("/").status, 200, "signed out");
    assert!(root.get("/settings/people").body.contains("is removed from the workspace"));
}

#[test]
fn the_last_admin_stays_unless_the_admin_insists() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let page = "/settings/people/root";
    for (form, fields) in [("role", "role=member"), ("remove", "")] {
        let refused = root.post(page, &format!("{page}/{form}"), fields);
        assert_ok(&refused, 409);
        assert!(refused.body.contains("is the only admin") && !refused.body.contains("leave_without_admin"));
    }
    let refused = root.post(page, &format!("{page}/remove"), "");
    assert!(refused.body.contains("name=\"without_admin\""));
    TestBrowser::new(&fixture).sign_in_as(&json!({ "user": { "id": "eve" }, "role": "admin" }));
    let done = root.post(page, &format!("{page}/role"), "role=member");
    assert_eq!((done.status, done.header("location")), (303, Some("/")));
    assert_eq!(root.get("/settings/people").status, 403, "at once");
}

#[test]
fn an_admin_ends_sessions_and_sign_in_links() {
    let fixture = Fixture::new();
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let key = first_key(&fixture);
    let (_, link) = call(&fixture, &key, Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": "bob" } }));
    let mut root = admin(&fixture);
    let session = session_of(&fixture, "ann");
    let page = root.get("/settings/sessions").body;
    assert!(page.contains(&session) && page.contains("This browser") && page.contains("bob"), "{page}");
    root.post("/settings/sessions", &format!("/settings/sessions/{session}/end"), "");
    assert_ne!(ann.get("/").status, 200);
    let id = link["id"].as_str().unwrap();
    root.post("/settings/sessions", &format!("/settings/sign-in-links/{id}/delete"), "");
    assert_eq!(TestBrowser::new(&fixture).press(&crate::http::link_path(&link)).status, 410);
}

// ---- connect links ----

#[test]
fn an_admin_makes_and_ends_a_connect_link() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let made = root.post("/settings/links", "/settings/links", "app=acme&user_id=gwen&user_name=Gwen&expires_in=86400");
    assert_ok(&made, 201);
    let path = text_of(&made, "link-text").strip_prefix("https://c.example.com").unwrap().to_owned();
    assert_ok(&TestBrowser::new(&fixture).get(&path), 200);
    let page = root.get("/settings/links").body;
    assert!(page.contains("Gwen") && page.contains("Acme") && !page.contains(&path), "{page}");
    let (_, links) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/links", &Value::Null);
    let link = &links["data"][0];
    assert_eq!((&link["user"]["id"], &link["shared"]), (&json!("gwen"), &json!(false)));
    let end = format!("/settings/links/{}/end", link["id"].as_str().unwrap());
    root.post("/settings/links", &end, "");
    assert_eq!(TestBrowser::new(&fixture).get(&path).status, 410);
    let refused = root.post("/settings/links", "/settings/links", "app=acme&expires_in=3600");
    assert_ok(&refused, 422);
    assert!(refused.body.contains("id=\"user_id-error\""), "neither shared nor somebody's");
    let (_, events) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/events?actor=user:root", &Value::Null);
    let types: Vec<_> = events["data"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
    assert_eq!(types[..2], ["link_ended", "link_created"]);
}

// ---- OAuth clients ----

#[test]
fn an_admin_sets_a_client_up_tests_it_and_deletes_it() {
    let fixture = Fixture::new();
    fixture.world.db.tamper("DELETE FROM oauth_clients");
    let mut root = admin(&fixture);
    let page = "/settings/apps/acme";
    let empty = root.get(page);
    assert_ok(&empty, 200);
    let uri = text_of(&empty, "redirect-uri-text");
    assert!(uri.starts_with("https://c.example.com/oauth/callback/cli_"), "{uri}");
    assert!(!empty.body.contains("Delete the client"));
    assert!(root.get("/settings/apps").body.contains("Needs set-up"));

    let secret = "hunter2-of-the-client";
    let refused = root.post(page, &format!("{page}/client"), &format!("client_id=&client_secret={secret}&scopes=read"));
    assert_ok(&refused, 422);
    assert!(refused.body.contains("id=\"client_id-error\"") && !refused.body.contains(secret), "{}", refused.body);
    assert!(refused.body.contains("read"), "what is no secret is kept");

    let fields = format!("client_id=acme-client&client_secret={secret}&secret_expires_at=2099-01-01&scopes=read+write");
    let saved = root.post(page, &format!("{page}/client"), &fields);
    assert_eq!((saved.status, saved.header("location")), (303, Some(page)));
    let shown = root.get(page);
    assert!(shown.body.contains("acme-client") && !shown.body.contains(secret));
    assert_eq!(text_of(&shown, "redirect-uri-text"), uri, "as it was said before");
    let (_, client) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/apps/acme/client", &Value::Null);
    assert_eq!(client["secret_expires_at"], "2099-01-01T00:00:00Z");
    assert_eq!((&client["scopes"], &client["has_secret"]), (&json!(["read", "write"]), &json!(true)));

    fixture.world.acme.script_always("/token", Some(Reply::status(401, r#"{"error":"invalid_client"}"#)));
    let tested = root.post(page, &format!("{page}/client/test"), "");
    assert_ok(&tested, 200);
    assert!(
        tested.body.contains("Acme refuses this client") && tested.body.contains("invalid_client"),
        "{}",
        tested.body
    );
    assert!(root.get("/settings/apps").body.contains("Refused by the app"));
    fixture.world.advance_clock(60);
    fixture.world.acme.script_always("/token", Some(Reply::status(400, r#"{"error":"invalid_grant"}"#)));
    let tested = root.post(page, &format!("{page}/client/test"), "");
    assert!(tested.body.contains("Acme accepts this client"), "{}", tested.body);

    let look = root.get(&format!("{page}/client/delete"));
    assert!(look.body.contains("No connection uses it."), "{}", look.body);
    let deleted = root.post(&format!("{page}/client/delete"), &format!("{page}/client/delete"), "");
    assert_eq!(deleted.status, 303);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM oauth_clients"), 0);
}

#[test]
fn a_client_in_use_is_not_deleted_and_the_page_says_by_what_it_is_used() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let mut root = admin(&fixture);
    let page = "/settings/apps/acme/client/delete";
    let look = root.get(page).body;
    assert!(look.contains(id.as_str()) && look.contains("One connection uses it"), "{look}");
    let refused = root.post("/settings/apps/acme", page, "");
    assert_ok(&refused, 409);
    assert!(!refused.body.contains("PUT"), "it speaks to a person");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM oauth_clients"), 1);
}

#[test]
fn an_app_without_a_consent_needs_no_client() {
    let fixture = Fixture::new();
    let page = admin(&fixture).get("/settings/apps/telegram");
    assert_ok(&page, 200);
    assert!(page.body.contains("Telegram needs no OAuth client"));
    assert_eq!(admin(&fixture).get("/settings/apps/unknown").status, 404);
}

#[test]
fn the_signing_secret_of_an_apps_events_is_entered_on_its_page_and_never_shown() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let path = "/settings/apps/telegram";
    assert!(!root.get(path).body.contains("/hooks/"), "there is no address yet");
    let missing = root.post(path, "/settings/apps/telegram/events", "event_secret=");
    assert!(missing.status == 422 && missing.body.contains("Enter the signing secret"), "{}", missing.body);
    let saved = root.post(path, "/settings/apps/telegram/events", "event_secret=canary-one%0Acanary-two");
    assert_eq!((saved.status, saved.header("location")), (303, Some(path)), "{}", saved.body);
    let page = root.get(path).body;
    assert!(page.contains("https://c.example.com/hooks/") && page.contains("A signing secret is stored"), "{page}");
    assert!(!page.contains("canary"), "{page}");
    let key = first_key(&fixture);
    let stored = call(&fixture, &key, Method::Get, "/v1/apps/telegram/client", &Value::Null).1;
    assert_eq!(stored["has_event_secret"], true, "{stored}");
    let removed = root.post(path, "/settings/apps/telegram/events", "without_event_secret=yes");
    assert_eq!(removed.status, 303, "{}", removed.body);
    assert!(root.get(path).body.contains("Nothing is accepted until"));
    // Of an app with an OAuth client, everything else stays as it is.
    let slack = "/settings/apps/slack";
    let entered = "client_id=c&client_secret=s3cr3t-of-slack&secret_expires_at=2999-01-01";
    assert_eq!(root.post(slack, "/settings/apps/slack/client", entered).status, 303);
    let before = call(&fixture, &key, Method::Get, "/v1/apps/slack/client", &Value::Null).1;
    let set = root.post(slack, "/settings/apps/slack/events", "event_secret=0123456789abcdef0123456789abcdef");
    assert_eq!(set.status, 303, "{}", set.body);
    let mut after = call(&fixture, &key, Method::Get, "/v1/apps/slack/client", &Value::Null).1;
    assert_eq!(after["has_event_secret"], true, "{after}");
    for member in ["has_event_secret", "updated_at"] {
        after[member] = before[member].clone();
    }
    assert_eq!(after, before);
    let events = call(&fixture, &key, Method::Get, "/v1/events?type=event_secret_changed", &Value::Null).1;
    assert_eq!(events["data"].as_array().unwrap().len(), 3, "{events}");
}

#[test]
fn a_key_is_limited_to_apps_and_connections_that_are_chosen_by_name() {
    let fixture = Fixture::new();
    let (ann, _) = (fixture.connect("ann"), fixture.connect("bob"));
    let mut root = admin(&fixture);
    let page = root.get("/settings/keys").body;
    assert!(page.contains(&format!("name=\"connection\" value=\"{ann}\"")), "{page}");
    assert!(page.contains("name=\"app\" value=\"acme\""), "{page}");
    let fields = format!("name=Engine&scope=resolve&app=acme&connection={ann}");
    assert_ok(&root.post("/settings/keys", "/settings/keys", &fields), 201);
    let keys = call(&fixture, &first_key(&fixture), Method::Get, "/v1/keys", &Value::Null).1;
    let key = keys["data"].as_array().unwrap().iter().find(|key| key["name"] == "Engine").unwrap().clone();
    assert_eq!((&key["apps"], &key["connections"]), (&json!(["acme"]), &json!([ann.as_str()])), "{key}");
    // What was ticked stays ticked after a refusal, and ids of others may be typed beside.
    let refused =
        root.post("/settings/keys", "/settings/keys", &format!("name=&scope=resolve&connection={ann}&apps=slack"));
    assert_ok(&refused, 422);
    assert!(refused.body.contains(&format!("value=\"{ann}\" checked")), "{}", refused.body);
}

#[test]
fn the_progress_of_the_panic_button_is_shown_anew_until_it_is_over() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    let mut root = admin(&fixture);
    let pressed = root.post("/settings/apps/acme", "/settings/apps/acme/disconnect-all", "confirm=acme&reason=leak");
    let job = pressed.header("location").unwrap().to_owned();
    assert_eq!(root.get(&job).header("refresh"), Some("5"));
    fixture.world.db.tamper("UPDATE disconnect_jobs SET finished_at = made_until");
    assert_eq!(root.get(&job).header("refresh"), None);
}

// ---- activity ----

#[test]
fn the_activity_page_shows_the_lines_of_the_api_and_exports_the_same() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let key = first_key(&fixture);
    call(&fixture, &key, Method::Patch, &format!("/v1/connections/{id}"), &json!({ "name": "=cmd|x" }));
    let mut root = admin(&fixture);
    let page = root.get("/activity");
    assert_ok(&page, 200);
    for words in ["Connected", "Edited", "=cmd|x", "Signed in"] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    let only = root.get(&format!("/activity?type=edited&connection={id}")).body;
    assert!(only.contains("<bdi>Edited</bdi>") && !only.contains("<bdi>Signed in</bdi>"));
    assert!(only.contains(&format!("/activity/export?type=edited&amp;connection={id}&amp;format=csv")), "{only}");

    let csv = root.get("/activity/export?format=csv&type=edited");
    assert_ok(&csv, 200);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert!(csv.header("content-disposition").unwrap().starts_with("attachment; filename=\"activity-2"));
    let mut request = crate::http::request(Method::Get, "/v1/events?type=edited", vec![]);
    request
        .headers
        .extend([("authorization".to_owned(), format!("Bearer {key}")), ("accept".to_owned(), "text/csv".to_owned())]);
    let api = fixture.world.run(async { connections::http::handle(&fixture.world.context(), &request).await });
    assert_eq!(csv.body, api.body, "the same rows");
    let json = root.get("/activity/export?format=json&type=edited");
    assert_eq!(json.body.lines().count(), 1);
    for wrong in ["/activity/export?format=csv&type=x", "/activity/export?format=xml", "/activity?from=yesterday"] {
        assert_ok(&root.get(wrong), 422);
    }
}

/// The lines of the activity, each as its text.
fn activity_lines(page: &Response) -> Vec<String> {
    let text = |row: &str| {
        let pieces = row.split('<').filter_map(|piece| piece.split_once('>').map(|(_, text)| text));
        pieces.collect::<Vec<_>>().concat()
    };
    page.body.split("<tr>").skip(2).map(text).collect()
}

#[test]
fn the_activity_page_names_connections_and_has_their_ids_to_copy() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let shared = |account: &str, name: &str| {
        let id = fixture.complete_flow(&fixture.connect_request(), account).connection.unwrap();
        call(&fixture, &key, Method::Patch, &format!("/v1/connections/{id}"), &json!({ "name": name, "shared": true }));
        id
    };
    let (old, new) = (shared("one", "Old mailbox"), shared("two", "New mailbox"));
    call(&fixture, &key, Method::Put, "/v1/apps/acme/default", &json!({ "connection": new }));
    call(&fixture, &key, Method::Post, &format!("/v1/connections/{old}/replace"), &json!({ "with": new }));
    let mut root = admin(&fixture);
    let page = root.get("/activity?type=default_changed");
    let lines = activity_lines(&page);
    assert!(
        lines[0].contains("New mailbox") && lines[0].contains("the workspace: instead of Old mailbox"),
        "{lines:?}"
    );
    let link = format!("instead of </bdi><a href=\"/connections/{old}\"><bdi>Old mailbox</bdi></a>");
    assert!(page.body.contains(&link), "{}", page.body);
    // The default that came by itself has the names of its connection, app and key, as every other line.
    let first = lines.last().unwrap();
    assert!(first.contains("the first shared connection of its app") && first.contains("Acme"), "{first}");
    assert!(first.contains(&fixture.key.name), "{first}");
    let (_, log) = call(&fixture, &key, Method::Get, "/v1/events?type=default_changed", &Value::Null);
    let adopted = log["data"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&adopted["app"], &adopted["actor_name"]), (&json!("acme"), &json!(fixture.key.name)));
    assert_eq!(adopted["connection"], json!(old));
    assert!(adopted["connection_name"].is_string(), "{adopted}");
    for id in [&old, &new] {
        assert!(
            page.body.contains(&format!(">{id}</code><button class=\"plain\" type=\"button\" hidden data-copy=")),
            "{id}"
        );
    }

    // Lines of an earlier version have no name.
    fixture.world.db.tamper("UPDATE events SET connection_name = NULL, app = NULL WHERE type = 'default_changed'");
    let lines = activity_lines(&root.get("/activity?type=default_changed"));
    assert!(lines.last().unwrap().contains("Old mailbox"), "{lines:?}");
    let lines = activity_lines(&root.get("/activity?type=replaced"));
    assert!(lines.iter().any(|line| line.contains("by New mailbox")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("it answers for Old mailbox")), "{lines:?}");

    // What is gone has its id, and nothing of another workspace is named.
    fixture
        .world
        .db
        .tamper("UPDATE events SET detail = 'by con_0123456789abcdefABCD-_, con_x' WHERE type = 'replaced'");
    let page = root.get("/activity?type=replaced");
    assert!(
        page.body.contains("<code><bdi>con_0123456789abcdefABCD-_</bdi></code><bdi>, con_x</bdi>"),
        "{}",
        page.body
    );
    let other = fixture.other_workspace();
    let theirs = other.complete_flow(&other.connect_request(), "theirs").connection.unwrap();
    fixture.world.db.tamper(&format!("UPDATE events SET detail = 'by {theirs}' WHERE type = 'replaced'"));
    let page = root.get("/activity?type=replaced");
    assert!(page.body.contains(&format!("<code><bdi>{theirs}</bdi></code>")), "{}", page.body);
}

/// What the API answers to a call that it takes.
fn call_ok(fixture: &Fixture, key: &str, method: Method, path: &str, body: &Value) -> Value {
    let (status, answer) = call(fixture, key, method, path, body);
    assert!(status < 300, "{path}: {answer}");
    answer
}

#[test]
fn the_activity_page_names_people_clients_links_webhooks_and_apps() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let ask = |method, path: &str, body: Value| call_ok(&fixture, &key, method, path, &body);
    TestBrowser::new(&fixture).sign_in_as(&json!({ "user": { "id": "u-8841", "name": "Gwen Stacy" } }));
    ask(Method::Patch, "/v1/people/u-8841", json!({ "role": "admin" }));
    let made = |path: &str, body: Value| ask(Method::Post, path, body)["id"].as_str().unwrap().to_owned();
    let link = made("/v1/links", json!({ "app": "acme", "user": { "id": "u-8841", "name": "Gwen Stacy" } }));
    let webhook = made("/v1/webhooks", json!({ "url": "https://hooks.example/x", "types": ["connection.deleted"] }));
    let other_key = made("/v1/keys", json!({ "name": "Workflow engine", "scopes": ["resolve"] }));
    let client =
        ask(Method::Put, "/v1/apps/notion/client", json!({ "client_id": "notion-4711", "client_secret": "s3cret-0" }));
    let client = client["id"].as_str().unwrap().to_owned();
    ask(Method::Delete, "/v1/webhooks/{webhook}".replace("{webhook}", &webhook).as_str(), Value::Null);

    let mut root = admin(&fixture);
    let page = root.get("/activity");
    let lines = activity_lines(&page).join("\n");
    let person = "<a class=\"way\" href=\"/settings/people/u%2D8841\"><bdi>Gwen Stacy</bdi></a>";
    assert!(page.body.matches(person).count() >= 2, "as an actor and as a subject: {}", page.body);
    let in_detail = "<a href=\"/settings/people/u%2D8841\"><bdi>Gwen Stacy</bdi></a><bdi> as member</bdi>";
    assert!(page.body.contains(in_detail), "{}", page.body);
    for words in [
        "Connect link for Gwen Stacy",
        "OAuth client notion-4711",
        "Workflow engine",
        "Acme",
        "for Gwen Stacy",
        "Notion",
        "Sign-in link",
        "Session",
    ] {
        assert!(lines.contains(words), "{words}: {lines}");
    }
    assert!(page.body.contains("href=\"/settings/apps/notion\"") && page.body.contains("href=\"/settings/links\""));
    // What is gone has a word instead of a link to nowhere.
    assert!(page.body.contains("<td data-label=\"About\"><div><bdi>Webhook</bdi>"), "{}", page.body);
    assert!(!page.body.contains(&format!("/settings/webhooks/{webhook}")), "also where it was made: {}", page.body);
    // Ids are under "More" alone, to be copied.
    for id in [&link, &webhook, &other_key, &client] {
        let shown = page.body.matches(&format!(">{id}</code>")).count();
        assert_eq!(shown, page.body.matches(&format!(">{id}<")).count(), "{id}");
        assert!(shown > 0, "{id}: {}", page.body);
    }
}

#[test]
fn the_activity_page_names_the_people_in_details_and_no_other_text() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let ask = |method, path: &str, body: Value| call_ok(&fixture, &key, method, path, &body);
    let sign_in = |id: &str, name: &str| {
        TestBrowser::new(&fixture).sign_in_as(&json!({ "user": { "id": id, "name": name } }));
    };
    sign_in("u-1", "Ada Lovelace");
    sign_in("u-2", "Bob, of sales");
    sign_in("eve", "Eve");
    let id = fixture.complete_flow(&fixture.connect_request(), "one").connection.unwrap();
    let edit = |body: Value| ask(Method::Patch, &format!("/v1/connections/{id}"), body);
    edit(json!({ "owner": { "id": "u-1" } }));
    edit(json!({ "owner": { "id": "u-2" }, "environment": "test", "name": "x, owner: eve", "metadata": { "a": "b" } }));
    edit(json!({ "name": "y, owner: eve" }));
    ask(Method::Put, "/v1/apps/acme/default", json!({ "connection": id, "user": "u-2", "environment": "test" }));
    let link =
        ask(Method::Post, "/v1/links", json!({ "app": "acme", "user": { "id": "u-1", "name": "Ada Lovelace" } }));
    ask(Method::Delete, &format!("/v1/links/{}", link["id"].as_str().unwrap()), Value::Null);
    ask(Method::Delete, "/v1/people/u-2?transfer_to=u-1", Value::Null);

    let mut root = admin(&fixture);
    let lines_of = |root: &mut TestBrowser<'_>, kind: &str| root.get(&format!("/activity?type={kind}")).body;
    let person = |id: &str, name: &str| format!("<a href=\"/settings/people/{id}\"><bdi>{name}</bdi></a>");
    let (ada, bob) = (person("u%2D1", "Ada Lovelace"), person("u%2D2", "u-2"));
    let edited = lines_of(&mut root, "edited");
    // The one who was removed has no name any more.
    for detail in [
        format!("<bdi>owner: </bdi>{ada}"),
        format!("<bdi>metadata, owner: </bdi>{bob}<bdi>, environment: test, name: x, owner: eve</bdi>"),
        "<bdi>name: y, owner: eve</bdi>".to_owned(),
    ] {
        assert!(edited.contains(&detail), "{detail}: {edited}");
    }
    assert!(!edited.contains("Eve"), "{edited}");
    for (kind, detail) in [
        ("default_changed", format!("<bdi>user </bdi>{bob}<bdi>, test")),
        ("link_created", format!("<bdi>for </bdi>{ada}")),
        ("link_ended", format!("<bdi>for </bdi>{ada}")),
        ("person_removed", format!("<bdi>connections to </bdi>{ada}")),
        ("signed_in", format!("{ada}<bdi> as member</bdi>")),
        ("sign_in_link_created", format!("{ada}<bdi> as member</bdi>")),
    ] {
        let lines = lines_of(&mut root, kind);
        assert!(lines.contains(&detail), "{kind}: {detail}: {lines}");
    }
    assert!(!lines_of(&mut root, "person_removed").contains("href=\"/settings/people/u%2D2\""), "gone");
}

#[test]
fn the_activity_page_goes_on_where_it_ended() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let key = first_key(&fixture);
    for number in 0..60 {
        let body = json!({ "name": format!("name {number}") });
        call(&fixture, &key, Method::Patch, &format!("/v1/connections/{id}"), &body);
    }
    let mut root = admin(&fixture);
    let first = root.get("/activity?type=edited").body;
    let next = first.split("href=\"/activity?type=edited&amp;cursor=").nth(1).expect("a next page");
    let next = next.split('"').next().unwrap();
    let second = root.get(&format!("/activity?type=edited&cursor={next}")).body;
    assert_eq!(first.matches("<bdi>Edited</bdi>").count(), 50);
    assert_eq!(second.matches("<bdi>Edited</bdi>").count(), 10);
    assert!(second.contains("First page") && first.contains(">Older<") && !second.contains(">Older<"));
}

// ---- custom apps ----

const NEW_APP: &str = "name=Ledger&id=ledger&method=api_key&header=X-Api-Key&identity_url=https%3A%2F%2Fapi.ledger.example%2Fme&identity_id=%2Fid&identity_label=%2Femail";

#[test]
fn an_admin_defines_an_app_by_the_form_changes_it_as_json_and_deletes_it() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let made = root.post("/settings/new-app", "/settings/new-app", NEW_APP);
    assert_eq!((made.status, made.header("location")), (303, Some("/settings/apps/ledger")), "{}", made.body);
    let key = first_key(&fixture);
    let (status, app) = call(&fixture, &key, Method::Get, "/v1/apps/ledger", &Value::Null);
    assert_eq!((status, &app["name"]), (200, &json!("Ledger")));
    assert!(root.get("/settings/custom-apps").body.contains("href=\"/settings/custom-apps/ledger\""));

    let page = "/settings/custom-apps/ledger";
    let shown = root.get(page);
    assert!(shown.body.contains("&quot;header&quot;: &quot;X-Api-Key&quot;"), "{}", shown.body);
    let wrong = r#"{"id":"ledger","name":"Ledger","auth":{"type":"api_key","colour":"red"}}"#;
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let refused = root.post(page, page, &format!("definition={}", encode(wrong)));
    assert_ok(&refused, 422);
    assert!(
        refused.body.contains("<bdi>auth.colour</bdi>") && refused.body.contains("&quot;red&quot;"),
        "{}",
        refused.body
    );
    let renamed = r#"{"id":"ledger","name":"Ledger two","auth":{"type":"api_key","header":"X-Api-Key"}}"#;
    assert_eq!(root.post(page, page, &format!("definition={}", encode(renamed))).status, 303);
    assert!(root.get(page).body.contains("Ledger two"));
    assert!(root.get(&format!("{page}/delete")).body.contains("It has no connections."));
    assert_eq!(root.post(&format!("{page}/delete"), &format!("{page}/delete"), "").status, 303);
    assert_eq!(call(&fixture, &key, Method::Get, "/v1/apps/ledger", &Value::Null).0, 404);
    assert_eq!(root.get("/settings/custom-apps/slack").status, 409, "of the catalogue");
}

#[test]
fn a_refused_app_says_what_is_wrong_at_the_field_and_keeps_the_form() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let refused =
        root.post("/settings/new-app", "/settings/new-app", "name=Mine&id=Not+An+Id&method=issuer&issuer=nowhere");
    assert_ok(&refused, 422);
    for (id, kept) in [("id-error", "value=\"Not An Id\""), ("issuer-error", "value=\"nowhere\"")] {
        assert!(
            refused.body.contains(&format!("id=\"{id}\"")) && refused.body.contains(kept),
            "{id}: {}",
            refused.body
        );
    }
    let taken = root.post("/settings/new-app", "/settings/new-app", "definition=%7B%22id%22%3A%22slack%22%7D");
    assert_ok(&taken, 422);
    let exists = root.post("/settings/new-app", "/settings/new-app", &NEW_APP.replace("ledger&", "acme&"));
    assert_ok(&exists, 409);
    assert!(!exists.body.contains("PUT"), "{}", exists.body);
}

// ---- the workspace, its provider, its defaults ----

#[test]
fn an_admin_changes_the_workspace() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let page = "/settings/workspace";
    let fields =
        "name=Acme+Corp&allowed_origins=https%3A%2F%2Fa.example%0Ahttps%3A%2F%2Fb.example&branding_accent=%230a50b0";
    assert_eq!(root.post(page, page, fields).status, 303);
    let (_, workspace) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/workspace", &Value::Null);
    assert_eq!((&workspace["name"], &workspace["branding"]["accent"]), (&json!("Acme Corp"), &json!("#0a50b0")));
    assert_eq!(workspace["allowed_origins"], json!(["https://a.example", "https://b.example"]));
    let refused = root.post(page, page, "name=&allowed_origins=nowhere&branding_accent=red");
    assert_ok(&refused, 422);
    assert!(refused.body.contains("id=\"name-error\""), "{}", refused.body);
    let refused = root.post(page, page, "name=x&allowed_origins=nowhere");
    assert!(refused.body.contains("id=\"allowed_origins-error\"") && refused.body.contains("nowhere"));
    root.post(page, page, "name=Acme+Corp");
    let (_, workspace) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/workspace", &Value::Null);
    assert_eq!((&workspace["allowed_origins"], &workspace["branding"]["accent"]), (&json!([]), &Value::Null));
}

#[test]
fn the_page_of_the_provider_says_the_redirect_uri_before_there_is_a_client() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let page = "/settings/sign-in";
    assert!(!root.get(page).body.contains("name=\"client_secret\""));
    let shown = root.get("/settings/sign-in?issuer=https%3A%2F%2Flogin.example");
    assert!(text_of(&shown, "redirect-uri-text").starts_with("https://c.example.com/sign-in/callback/cli_"));
    let refused = root.post(
        "/settings/sign-in?issuer=https%3A%2F%2Flogin.example",
        page,
        "issuer=https%3A%2F%2Flogin.example&client_id=&client_secret=hunter2&allowed_domains=x",
    );
    assert_ok(&refused, 422);
    assert!(refused.body.contains("id=\"client_id-error\"") && !refused.body.contains("hunter2"), "{}", refused.body);
}

#[test]
fn an_admin_changes_a_default_and_sees_which_workflows_it_moves() {
    let fixture = Fixture::new();
    let first = fixture.connect("ann");
    let second = fixture.connect("bob");
    fixture.world.db.tamper("UPDATE connections SET user_id = NULL, is_shared = 1");
    let key = first_key(&fixture);
    let put = call(&fixture, &key, Method::Put, "/v1/apps/acme/default", &json!({ "connection": first }));
    assert_eq!(put.0, 200);
    let ask = json!({ "app": "acme", "workflow": "invoices", "step": "send" });
    assert_eq!(call(&fixture, &key, Method::Post, "/v1/resolve", &ask).0, 200);
    fixture.world.db.tamper(&format!(
        "INSERT OR IGNORE INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days, chosen_by)
        VALUES ('{first}', 'invoices', 'send', '{}', 1, 1, 1, 'default')",
        fixture.workspace
    ));
    let mut root = admin(&fixture);
    assert!(root.get("/settings/defaults").body.contains("href=\"/settings/default?app=acme\""));
    let page = "/settings/default?app=acme";
    let shown = root.get(page).body;
    assert!(shown.contains("One workflow uses it by default") && shown.contains("invoices"), "{shown}");
    let saved = root.post(page, "/settings/default", &format!("app=acme&user=&environment=&connection={second}"));
    assert_eq!(saved.status, 303, "{}", saved.body);
    let (_, defaults) = call(&fixture, &key, Method::Get, "/v1/defaults", &Value::Null);
    assert_eq!(
        defaults["data"][0]["connection"]["id"].as_str().or(defaults["data"][0]["connection"].as_str()),
        Some(second.as_str())
    );
    assert_eq!(root.post(page, "/settings/default", "app=acme&end=yes").status, 303);
    let (_, defaults) = call(&fixture, &key, Method::Get, "/v1/defaults", &Value::Null);
    assert_eq!(defaults["data"], json!([]));
}

// ---- the panic button ----

#[test]
fn the_panic_button_shows_what_it_ends_wants_the_name_typed_and_gives_a_receipt() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let mut root = admin(&fixture);
    let page = "/settings/apps/acme/disconnect-all";
    assert!(root.get(page).body.contains("One connection"));
    for (fields, wrong) in [("confirm=slack&reason=x", "confirm-error"), ("confirm=acme&reason=", "reason-error")] {
        let refused = root.post(page, page, fields);
        assert_ok(&refused, 422);
        assert!(refused.body.contains(&format!("id=\"{wrong}\"")), "{}", refused.body);
    }
    let key = first_key(&fixture);
    let resolve = || call(&fixture, &key, Method::Post, &format!("/v1/connections/{id}/resolve"), &json!({})).0;
    assert_eq!(resolve(), 200);
    let pressed = root.post(page, page, "confirm=acme&reason=The+laptop+is+gone");
    assert_eq!((pressed.status, resolve()), (303, 404));
    let job = root.get(pressed.header("location").unwrap());
    assert_ok(&job, 200);
    assert!(job.body.contains("The laptop is gone") && job.body.contains("Running"), "{}", job.body);
    let (_, events) = call(&fixture, &key, Method::Get, "/v1/events?type=app_disconnected", &Value::Null);
    assert_eq!(events["data"][0]["actor"], "user:root");
}

// ---- a resolve that a person tries ----

#[test]
fn a_person_tries_a_resolve_and_sees_no_secret_of_it() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let page = format!("/connections/{id}/try");
    assert!(ann.get(&page).body.contains(&format!("/v1/connections/{id}/resolve")));
    let key = first_key(&fixture);
    let resolve = || call(&fixture, &key, Method::Post, &format!("/v1/connections/{id}/resolve"), &json!({})).1;
    let shown = ann.post(&page, &page, "");
    assert_ok(&shown, 200);
    let answer: Value = serde_json::from_str(&text_of(&shown, "answer-text")).unwrap();
    let whole = resolve();
    let token = whole["credential"]["access_token"].as_str().unwrap();
    assert!(!shown.body.contains(token) && !shown.body.contains(token.get(6..).unwrap()), "{}", shown.body);
    for member in ["connection", "freshness", "source", "credential_version"] {
        assert_eq!(answer[member], whole[member], "{member}");
    }
    assert_eq!(answer["credential"]["scopes"], whole["credential"]["scopes"]);
    assert!(shown.body.contains("Nobody asked the app."));

    fixture.expire_access_token(&id);
    let refreshed = ann.post(&page, &page, "");
    assert!(refreshed.body.contains("renewed first") && refreshed.body.contains("refreshed"), "{}", refreshed.body);
    assert!(!refreshed.body.contains(resolve()["credential"]["access_token"].as_str().unwrap()));

    fixture.world.db.tamper("UPDATE connections SET status = 'needs_reconnect', reconnect_reason = 'revoked'");
    let refused = ann.post(&page, &page, "");
    assert_ok(&refused, 200);
    assert!(
        refused.body.contains("needs_reconnect") && refused.body.contains("It says what to do."),
        "{}",
        refused.body
    );
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM uses"), 0);
}

// ---- webhooks ----

/// What a receiver of webhooks answers.
fn answer_webhooks(fixture: &Fixture, status: u16) {
    *fixture.world.acme.interceptor.borrow_mut() = Some(Box::new(move |request: &OutboundRequest| {
        let is_receiver = request.url.host() == "hooks.example";
        is_receiver.then(|| AppResponse { status, headers: vec![], body: b"hunter2".to_vec() })
    }));
}

#[test]
fn an_admin_makes_a_webhook_tests_it_and_sends_a_delivery_again() {
    let fixture = Fixture::new();
    answer_webhooks(&fixture, 204);
    let mut root = admin(&fixture);
    let page = "/settings/webhooks";
    let refused = root.post(page, page, "url=nowhere");
    assert_ok(&refused, 422);
    assert!(
        refused.body.contains("id=\"url-error\"") && refused.body.contains("value=\"nowhere\""),
        "{}",
        refused.body
    );
    let made =
        root.post(page, page, "url=https%3A%2F%2Fhooks.example%2Fin&type=connection.deleted&type=client.misconfigured");
    assert_ok(&made, 201);
    let secret = text_of(&made, "secret-text");
    assert!(secret.starts_with("whsec_"), "{secret}");
    let (_, list) = call(&fixture, &first_key(&fixture), Method::Get, "/v1/webhooks", &Value::Null);
    assert_eq!(list["data"][0]["types"], json!(["connection.deleted", "client.misconfigured"]));
    let own = format!("{page}/{}", list["data"][0]["id"].as_str().unwrap());
    assert!(!root.get(&own).body.contains(&secret) && !root.get(page).body.contains(&secret));

    let tested = root.post(&own, &format!("{own}/test"), "");
    assert_ok(&tested, 200);
    assert!(tested.body.contains("It arrived.") && tested.body.contains("webhook.test"), "{}", tested.body);
    answer_webhooks(&fixture, 500);
    let event = tested.body.split("/deliveries/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let again = root.post(&own, &format!("{own}/deliveries/{event}/redeliver"), "");
    assert_ok(&again, 200);
    assert!(again.body.contains("It did not arrive.") && again.body.contains("(500)"), "{}", again.body);
    assert!(!again.body.contains("hunter2"), "nothing of what a receiver answers");
    assert_eq!(root.post(&own, &format!("{own}/deliveries/evt_0/redeliver"), "").status, 404);

    let changed = root.post(&own, &own, "url=https%3A%2F%2Fhooks.example%2Fout&type=connection.created");
    assert_eq!(changed.status, 303);
    assert_eq!(root.post(&own, &format!("{own}/enabled"), "enabled=no").status, 303);
    let off = root.get(&own).body;
    assert!(off.contains("hooks.example/out") && off.contains("Switch on"), "{off}");
    let rotated = root.post(&own, &format!("{own}/rotate"), "overlap=3600");
    assert_ok(&rotated, 200);
    assert_ne!(text_of(&rotated, "secret-text"), secret);
    assert_eq!(root.post(&own, &format!("{own}/delete"), "").status, 303);
    assert!(root.get(page).body.contains("No webhooks yet."));
}

#[test]
fn the_activity_says_who_it_was_and_about_whom_by_their_names() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    TestBrowser::new(&fixture).sign_in_as(&json!({ "user": { "id": "u-17", "name": "Ada Lovelace" } }));
    TestBrowser::new(&fixture).sign_in_as(&json!({ "user": { "id": "u-18" } }));
    let role = root.post("/settings/people/u%2D17", "/settings/people/u%2D17/role", "role=admin");
    assert_eq!(role.status, 303, "{}", role.body);
    let lines = activity_lines(&root.get("/activity?type=role_changed"));
    assert!(lines[0].contains("Role changed") && lines[0].contains("Root"), "{lines:?}");
    assert!(lines[0].contains("Ada Lovelace") && lines[0].matches("u-17").count() == 1, "its id to copy: {lines:?}");
    let page = root.get("/activity?type=signed_in");
    assert!(page.body.contains("href=\"/settings/people/u%2D17\"><bdi>Ada Lovelace</bdi></a>"), "{}", page.body);
    // Somebody without a name has the id, and so has somebody who is gone.
    assert!(page.body.contains("href=\"/settings/people/u%2D18\"><bdi>u-18</bdi></a>"), "{}", page.body);
    fixture.world.db.tamper("UPDATE events SET actor = 'user:gone', app = 'slack' WHERE type = 'role_changed'");
    let lines = activity_lines(&root.get("/activity?type=role_changed"));
    assert!(lines[0].contains("gone") && lines[0].contains("Slack"), "{lines:?}");
}

#[test]
fn a_list_without_rows_has_a_sentence_and_a_picture() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    for (page, sentence) in [
        ("/settings/links", "No connect links yet."),
        ("/settings/webhooks", "No webhooks yet."),
        ("/settings/defaults", "No defaults yet."),
        ("/settings/apps?q=nosuch", "No app matches this search."),
        ("/activity?workflow=nosuch", "Nothing matches these filters."),
        ("/settings/people?q=nosuch", "Nobody matches this search."),
        ("/workflows", "No workflow has used a connection yet."),
    ] {
        let shown = root.get(page).body;
        let found = shown.split("<div class=\"empty\">").skip(1).any(|rest| {
            let rest = rest.split("</div>").next().unwrap();
            rest.contains("class=\"icon picture\"") && rest.contains(sentence)
        });
        assert!(found, "{page}: {shown}");
    }
    // What is missing can be made at once.
    assert!(root.get("/settings/links").body.contains("<details class=\"fold\" open>"));
    fixture.world.db.tamper("DELETE FROM apps");
    let none = root.get("/settings/custom-apps").body;
    assert!(
        none.contains("No custom apps yet.") && none.contains("<a class=\"button\" href=\"/settings/new-app\">"),
        "{none}"
    );
}

// ---- two tabs ----

#[test]
fn a_form_that_is_older_than_what_it_changes_overwrites_nothing_unseen() {
    let fixture = Fixture::new();
    answer_webhooks(&fixture, 204);
    let key = first_key(&fixture);
    let mut root = admin(&fixture);
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    root.post("/settings/new-app", "/settings/new-app", NEW_APP);
    let webhook = "url=https%3A%2F%2Fhooks.example%2Fin&type=connection.deleted";
    root.post("/settings/webhooks", "/settings/webhooks", webhook);
    let webhook = call(&fixture, &key, Method::Get, "/v1/webhooks", &Value::Null).1["data"][0]["id"].clone();
    let webhook = format!("/v1/webhooks/{}", webhook.as_str().unwrap());
    let client = |scope: &str| json!({ "client_id": "acme-client", "client_secret": "s3cret-0", "scopes": [scope] });
    let connection = fixture.connect("ann");
    call(&fixture, &key, Method::Put, "/v1/apps/acme/client", &client("first"));
    let auth = json!({ "type": "api_key", "header": "X-Api-Key" });
    let definition = |name: &str| json!({ "id": "ledger", "name": name, "auth": auth });
    let typed = definition("From the old tab").to_string();
    for (page, typed, address, method, change, member) in [
        (
            "/settings/workspace".to_owned(),
            "name=Acme&allowed_origins=https%3A%2F%2Fold.example".to_owned(),
            "/v1/workspace".to_owned(),
            Method::Patch,
            json!({ "allowed_origins": ["https://new.example"] }),
            "allowed_origins",
        ),
        (
            "/settings/custom-apps/ledger".to_owned(),
            format!("definition={}", encode(&typed)),
            "/v1/apps/ledger".to_owned(),
            Method::Put,
            definition("Changed elsewhere"),
            "name",
        ),
        (
            webhook.replace("/v1/", "/settings/"),
            "url=https%3A%2F%2Fhooks.example%2Fold&type=connection.deleted".to_owned(),
            webhook.clone(),
            Method::Patch,
            json!({ "url": "https://hooks.example/new" }),
            "url",
        ),
        (
            "/settings/apps/acme".to_owned(),
            "client_id=acme-client&scopes=old".to_owned(),
            "/v1/apps/acme/client".to_owned(),
            Method::Put,
            client("new"),
            "scopes",
        ),
        (
            format!("/connections/{connection}/sharing"),
            "owner=old".to_owned(),
            format!("/v1/connections/{connection}"),
            Method::Patch,
            json!({ "owner": { "id": "new" } }),
            "owner",
        ),
    ] {
        let action = if page == "/settings/apps/acme" { format!("{page}/client") } else { page.clone() };
        let state_of = |html: &str| {
            let after = html.split("name=\"state\" value=\"").nth(1).unwrap_or_else(|| panic!("{page}: {html}"));
            after.split('"').next().unwrap().to_owned()
        };
        let seen = state_of(&root.get(&page).body);
        let (status, changed) = call(&fixture, &key, method, &address, &change);
        assert_eq!(status, 200, "{changed}");
        let read = || call(&fixture, &key, Method::Get, &address, &Value::Null).1[member].clone();
        let now = read();
        let refused = root.post(&page, &action, &format!("state={seen}&{typed}"));
        assert_ok(&refused, 412);
        assert!(refused.body.contains("changed after you had opened the page"), "{page}: {}", refused.body);
        assert!(refused.body.contains("old"), "what was typed is still there: {}", refused.body);
        assert_eq!(read(), now, "{page}");
        // Whoever saves it again knows of the change.
        let told = state_of(&refused.body);
        assert_ne!(told, seen);
        assert_eq!(root.post(&page, &action, &format!("state={told}&{typed}")).status, 303, "{page}");
        assert_ne!(read(), now, "{page}");
    }
}

#[test]
fn a_form_for_the_first_client_overwrites_none_that_was_entered_since() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let mut root = admin(&fixture);
    let (page, action) = ("/settings/apps/notion", "/settings/apps/notion/client");
    assert!(root.get(page).body.contains("name=\"state\" value=\"none\""));
    let entered = json!({ "client_id": "notion-1", "client_secret": "s3cret-0" });
    call(&fixture, &key, Method::Put, "/v1/apps/notion/client", &entered);
    let typed = "client_id=notion-2&client_secret=s3cret-1";
    let refused = root.post(page, action, &format!("state=none&{typed}"));
    assert_ok(&refused, 412);
    assert!(refused.body.contains("changed after you had opened the page") && refused.body.contains("notion-2"));
    let read = || call(&fixture, &key, Method::Get, "/v1/apps/notion/client", &Value::Null).1["client_id"].clone();
    assert_eq!(read(), "notion-1");
    let told = refused.body.split("name=\"state\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(root.post(page, action, &format!("state={told}&{typed}")).status, 303);
    assert_eq!(read(), "notion-2");
}
