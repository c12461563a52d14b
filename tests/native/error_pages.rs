//! What a person sees of a failure that is no fault of theirs: a page with a sentence on what to do, and how long to wait.
//!
//! Owns the pages of 413, 429, 500 and 503. What programs get is with the routes.

use connections::http::{self, Body, Method, Request, Response};
use connections::ports::RateLimit;
use serde_json::Value;

use crate::http::{TestBrowser, call, first_key, request};
use crate::settings::admin;
use crate::support::database::FaultRule;
use crate::support::{Fault, Fixture};

/// The text of the page's main part, without its elements.
fn words(response: &Response) -> String {
    assert_eq!(response.header("content-type"), Some("text/html; charset=utf-8"), "{}", response.body);
    let main = response.body.split("<main").nth(1).and_then(|rest| rest.split("</main>").next()).unwrap();
    let pieces = main.split('<').filter_map(|piece| piece.split_once('>').map(|(_, text)| text.trim()));
    pieces.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" | ")
}

fn fail_database(fixture: &Fixture, statement_part: &'static str) {
    let rule = FaultRule { statement_part, times: 1, fault: Fault::BeforeCommit };
    fixture.world.db.fault_rules.borrow_mut().push(rule);
}

#[test]
fn what_is_too_large_is_said_to_be_too_large_and_nothing_is_done() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let before = fixture.world.db.query_number("SELECT count(*) FROM apps");
    let mut large = request(Method::Post, "/settings/new-app", vec![]);
    large.body = Body::TooLarge;
    let page = root.send(large);
    assert_eq!(page.status, 413);
    let said = words(&page);
    assert!(said.contains("This is too large | You sent more than 256 KB, so nothing was saved. Go back,"), "{said}");
    assert!(!said.contains("Try again"), "a link sends no form: {said}");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM apps"), before);
    // A page of another site is told nothing of it.
    let mut forged = request(Method::Post, "/settings/new-app", vec![]);
    forged.body = Body::TooLarge;
    forged.headers.retain(|(name, _)| name != "sec-fetch-site" && name != "origin");
    forged.headers.push(("sec-fetch-site".into(), "cross-site".into()));
    assert_eq!(root.send(forged).status, 403);
}

#[test]
fn too_many_requests_say_how_long_to_wait() {
    let mut fixture = Fixture::new();
    fixture.world = fixture.world.in_one_isolate();
    let id = fixture.connect("ann");
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    fixture.world.rate_counts.enabled.set(true);
    let check = format!("/connections/{id}/check");
    let page = format!("/connections/{id}");
    let refused =
        (0..=RateLimit::CostlyCalls.quota()).map(|_| ann.post(&page, &check, "")).find(|one| one.status == 429);
    let refused = refused.expect("the limit is reached");
    assert_eq!(refused.header("retry-after"), Some("60"));
    let said = words(&refused);
    assert!(
        said.contains(
            "Too many requests | You did too much in a short time, so nothing was done. Wait a minute, then try again."
        ),
        "{said}"
    );
}

#[test]
fn a_fault_of_ours_has_the_id_of_its_request_and_a_way_to_try_again() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    let body = serde_json::json!({ "url": "https://hooks.example/in", "types": ["connection.created"] });
    let (_, webhook) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/webhooks", &body);
    fixture.world.db.tamper("UPDATE subscriptions SET types = 'no list'");
    let path = format!("/settings/webhooks/{}", webhook["id"].as_str().unwrap());
    let mut asked = request(Method::Get, &path, vec![]);
    asked.query = "from=mail&x=1".into();
    asked.id = "req-0815".into();
    let page = root.send(asked);
    assert_eq!((page.status, page.header("retry-after")), (500, None));
    let said = words(&page);
    assert!(
        said.contains("Something went wrong | This is a fault of this installation. You did nothing wrong."),
        "{said}"
    );
    assert!(said.contains("the id of the request to whoever runs this installation: req-0815"), "{said}");
    assert!(page.body.contains(&format!("class=\"button main\" href=\"{path}?from=mail&amp;x=1\">Try again</a>")));
    assert!(page.body.contains("href=\"/\">Connections</a>"), "{}", page.body);
    assert!(!said.contains("no list"), "{said}");
}

#[test]
fn a_database_that_does_not_answer_says_when_to_come_again() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    fail_database(&fixture, "FROM workspaces");
    let page = root.get("/settings/workspace");
    assert_eq!((page.status, page.header("retry-after")), (503, Some("2")), "{}", page.body);
    let said = words(&page);
    assert!(
        said.contains("Not available at the moment | The database does not answer. Wait 2 seconds, then try again."),
        "{said}"
    );
    assert!(said.contains("Try again") && !said.contains("before you send it again"), "{said}");

    // A form may have been stored, and a link can't send it again.
    fail_database(&fixture, "UPDATE workspaces");
    let page = root.post("/settings/workspace", "/settings/workspace", "name=Northwind");
    assert_eq!(page.status, 503, "{}", page.body);
    let said = words(&page);
    assert!(said.contains("Go back and look whether your change was saved before you send it again."), "{said}");
    assert!(!page.body.contains(">Try again</a>"), "{}", page.body);
}

#[test]
fn a_missing_migration_and_an_update_are_explained_to_people() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    fixture.world.db.tamper("ALTER TABLE subscriptions RENAME TO earlier_subscriptions");
    let page = root.get("/settings/webhooks");
    assert_eq!(page.status, 503);
    let said = words(&page);
    assert!(said.contains("Only whoever runs the installation can repair it. Send them this:"), "{said}");
    assert!(said.contains("A migration is missing"), "{said}");

    let visit = |path: &str| -> Request { request(Method::Get, path, vec![]) };
    for path in ["/", "/connect/whatever", "/sign-in", "/settings/keys"] {
        let page = http::respond_under_maintenance(&visit(path));
        let waits: Vec<_> = page.headers.iter().filter(|(name, _)| name == "retry-after").collect();
        assert_eq!((page.status, waits.len()), (503, 1), "{path}");
        let said = words(&page);
        assert!(said.contains("An update is being installed"), "{said}");
        assert!(said.contains("Nothing is lost. Wait a minute, then try again."), "{said}");
        assert!(page.body.contains(&format!("href=\"{path}\">Try again</a>")), "{}", page.body);
    }
    let program = http::respond_under_maintenance(&visit("/v1/connections"));
    let problem: Value = serde_json::from_str(&program.body).unwrap();
    assert_eq!((&problem["code"], &problem["retry_after"]), (&"maintenance".into(), &60.into()));
}

#[test]
fn an_address_that_is_out_of_date_is_not_explained_as_to_a_program() {
    let fixture = Fixture::new();
    let mut root = admin(&fixture);
    for path in ["/?cursor=old", "/settings/keys?cursor=old", "/workflows/x?environment=staging"] {
        let (path, query) = path.split_once('?').unwrap();
        let mut asked = request(Method::Get, path, vec![]);
        asked.query = query.into();
        let page = root.send(asked);
        assert_eq!(page.status, 422, "{path}");
        let said = words(&page);
        assert!(said.contains("This page can’t be shown | Its address is incomplete or out of date."), "{said}");
        assert!(!said.contains("cursor") && !said.contains("must be") && !said.contains("Try again"), "{said}");
        assert!(page.body.contains("href=\"/\">Connections</a>"), "{}", page.body);
    }
    let page = root.post("/", "/bulk", "id=x");
    assert_eq!(page.status, 422);
    let said = words(&page);
    assert!(
        said.contains(
            "Nothing was changed | The form was incomplete or out of date. Go back, reload the page, and send it again."
        ),
        "{said}"
    );
}
