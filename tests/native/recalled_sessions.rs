//! A page asks for the session of a person whom the isolate knows together with what it shows.
//!
//! It shows what an isolate without memory would show, whatever has become of the session since.

use connections::http::Method;
use connections::http::routes::ROUTES;
use connections::ports::{Database as _, DatabaseError};
use connections::resolve::ResolveRequest;
use connections::store::sessions::{self, Session};
use connections::workspace::Role;
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key};
use crate::support::Fixture;

/// What becomes of a session while an isolate knows it as it was.
const CHANGES: [&str; 5] = [
    "DELETE FROM sessions",
    "UPDATE sessions SET expires_at = 1",
    "UPDATE sessions SET role = 'member'",
    "UPDATE sessions SET user_id = 'bob', user_name = 'Bob'",
    "UPDATE workspaces SET deleted_at = 1",
];

fn admin(fixture: &Fixture) -> TestBrowser<'_> {
    let mut browser = TestBrowser::new(fixture);
    browser.sign_in_as(&json!({ "user": { "id": "root", "name": "Root" }, "role": "admin" }));
    browser
}

/// A page without what tells its forms from those of the page loaded anew.
fn without_form_ids(html: &str) -> String {
    let mut parts = html.split("name=\"once\" value=\"");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |whole, rest| whole + rest.split_once('"').unwrap().1)
}

/// The addresses of all pages of a person, and what each answers. What a page is about is made before.
fn pages(fixture: &Fixture) -> Vec<(String, u16)> {
    let connection = fixture.connect("root");
    let request = ResolveRequest { workflow: Some("nightly".into()), ..ResolveRequest::default() };
    fixture.resolve_and_finish(&connection, request).unwrap();
    let make = |path: &str, body: &Value| {
        let (status, made) = call(fixture, &first_key(fixture), Method::Post, path, body);
        assert_eq!(status, 201, "{path}: {made}");
        made["id"].as_str().unwrap().to_owned()
    };
    let key = make("/v1/keys", &json!({ "name": "deploy", "scopes": ["resolve"] }));
    let hook = make("/v1/webhooks", &json!({ "url": "https://hooks.example/x", "types": ["connection.deleted"] }));
    let job = make("/v1/apps/notion/disconnect-all", &json!({ "confirm": "notion", "reason": "x" }));
    let filled = |path: &str| match path {
        "/settings/default" => "/settings/default?app=acme".to_owned(),
        "/activity/export" => "/activity/export?format=csv".to_owned(),
        path => path
            .replace("{connection}", connection.as_str())
            .replace("{app}", "acme")
            .replace("{workflow}", "nightly")
            .replace("{key}", &key)
            .replace("{person}", "root")
            .replace("{webhook}", &hook)
            .replace("{job}", &job),
    };
    let status = |path: &str| if ["/settings", "/bulk"].contains(&path) { 303 } else { 200 };
    ROUTES
        .iter()
        .filter(|line| line.is_page_of_person())
        .map(|line| (filled(line.path), status(line.path)))
        .inspect(|(path, _)| assert!(!path.contains('{'), "{path}"))
        .collect()
}

/// Pages that need more than one, by a part of the address. What belongs to a thing is found by what its row says; a list
/// of defaults is read by windows.
const MOST_ROUND_TRIPS: [(&str, u64); 20] = [
    ("/rename", 2),
    ("/environment", 2),
    ("/sharing", 2),
    ("/replace", 2),
    ("/disconnect", 2),
    ("/try", 2),
    ("/setup", 2),
    ("/settings/apps/acme", 2),
    ("/client/delete", 2),
    ("/disconnect-all", 2),
    ("/custom-apps/acme/delete", 2),
    ("/settings/defaults", 2),
    ("/settings/default?", 2),
    ("/settings/jobs/", 2),
    ("/settings/keys/", 2),
    ("/settings/people/", 2),
    ("/settings/webhooks/", 2),
    ("/workflows/", 2),
    // The app, its client, and what is asked of the person.
    ("/oauth/start/acme", 3),
    // The connection first: who may reconnect it.
    ("/reconnect", 4),
];

#[test]
fn a_page_of_a_known_person_is_one_round_trip() {
    let fixture = Fixture::new().in_one_isolate();
    let pages = pages(&fixture);
    let mut root = admin(&fixture);
    root.get("/");
    let mut wrong = vec![];
    for (path, status) in &pages {
        let most = MOST_ROUND_TRIPS.iter().find(|(part, _)| path.contains(part)).map_or(1, |(_, most)| *most);
        fixture.world.db.reset_counts();
        let found = (root.get(path).status, fixture.world.db.round_trips.get());
        if found != (*status, most) {
            wrong.push(format!("{path}: {found:?}, not {:?}", (status, most)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The session, the webhook once, and its deliveries.
    let (webhook, _) = pages.iter().find(|(path, _)| path.starts_with("/settings/webhooks/")).unwrap();
    fixture.world.db.reset_counts();
    assert_eq!(root.get(webhook).status, 200);
    assert_eq!((fixture.world.db.round_trips.get(), fixture.world.db.statements.get()), (2, 3));
    // What asks for nothing asks for the session alone.
    fixture.world.db.reset_counts();
    assert_eq!(root.get("/settings").status, 303);
    assert_eq!((fixture.world.db.round_trips.get(), fixture.world.db.statements.get()), (1, 1));
}

#[test]
fn a_session_that_ended_or_changed_shows_what_an_isolate_without_memory_shows() {
    for change in CHANGES {
        let stranger = Fixture::new();
        let fixture = stranger.in_one_isolate();
        let pages = pages(&fixture);
        let mut known = admin(&fixture);
        let mut unknown = TestBrowser::new(&stranger);
        for (path, status) in pages {
            assert_eq!(known.get(&path).status, status, "{path}");
            unknown.cookies.clone_from(&known.cookies);
            fixture.world.db.tamper("CREATE TABLE sessions_before AS SELECT * FROM sessions");
            fixture.world.db.tamper(change);
            fixture.world.db.reset_counts();
            let shown = known.get(&path);
            assert_eq!(fixture.world.db.writes.get(), 0, "{change}: {path}");
            let expected = unknown.get(&path);
            let bodies = [&shown, &expected].map(|page| without_form_ids(&page.body));
            assert_eq!((shown.status, &bodies[0]), (expected.status, &bodies[1]), "{change}: {path}");
            for undo in [
                "UPDATE workspaces SET deleted_at = NULL",
                "DELETE FROM sessions",
                "INSERT INTO sessions SELECT * FROM sessions_before",
                "DROP TABLE sessions_before",
            ] {
                fixture.world.db.tamper(undo);
            }
        }
    }
}

#[test]
fn nothing_is_written_before_the_session_is_known_to_last() {
    let fixture = Fixture::new();
    admin(&fixture);
    let session = fixture.world.run(async { find_session(&fixture).await });
    let count = || fixture.world.db.query_number("SELECT count(*) FROM sessions");

    fixture.world.run(async {
        let context = fixture.world.context();
        context.assume_session(&Session { role: Role::Member, ..session.clone() });
        assert_eq!(sessions::delete(context.db(), &session.hash).await, Err(DatabaseError::SessionEnded));
        assert_eq!(context.db().batch(vec![]).await.map(|_| ()), Err(DatabaseError::SessionEnded), "from then on");
        assert!(!context.prove_session().await.unwrap());
    });
    assert_eq!(count(), 1);
    fixture.world.run(async {
        let context = fixture.world.context();
        context.assume_session(&session);
        sessions::delete(context.db(), &session.hash).await.unwrap();
        assert!(context.prove_session().await.unwrap());
    });
    assert_eq!(count(), 0);
}

async fn find_session(fixture: &Fixture) -> Session {
    let hash = fixture.world.db.query_value("SELECT token_hash FROM sessions");
    let context = fixture.world.context();
    sessions::get(context.db(), hash.as_str().unwrap(), context.now()).await.unwrap().unwrap()
}
