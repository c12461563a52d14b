//! The pages of workflows: what a person sees of them, and how much is read for that.

use connections::http::Method;
use connections::ids::ConnectionId;
use connections::resolve::ResolveRequest;
use serde_json::json;

use crate::http::{TestBrowser, call, first_key, make_key};
use crate::support::Fixture;

fn run_step(fixture: &Fixture, id: &ConnectionId, workflow: &str, step: &str) {
    let request =
        ResolveRequest { workflow: Some(workflow.into()), step: Some(step.into()), ..ResolveRequest::default() };
    fixture.resolve_and_finish(id, request).unwrap();
}

fn person<'a>(fixture: &'a Fixture, id: &str, role: &str) -> TestBrowser<'a> {
    let mut browser = TestBrowser::new(fixture);
    browser.sign_in_as(&json!({ "user": { "id": id }, "role": role }));
    browser
}

fn share(fixture: &Fixture, id: &ConnectionId) {
    fixture.world.db.tamper(&format!("UPDATE connections SET is_shared = 1 WHERE id = '{id}'"));
}

fn break_connection(fixture: &Fixture, id: &ConnectionId) {
    let broken = "status = 'needs_reconnect', reconnect_reason = 'revoked'";
    fixture.world.db.tamper(&format!("UPDATE connections SET {broken} WHERE id = '{id}'"));
}

/// The row of a workflow in the list.
fn row_of<'a>(html: &'a str, workflow: &str) -> &'a str {
    let rows = html.split("<tr>").skip(2);
    rows.into_iter()
        .find(|row| row.contains(&format!("href=\"/workflows/{workflow}\"")))
        .unwrap_or_else(|| panic!("{html}"))
}

#[test]
fn workflows_are_in_the_navigation_and_an_empty_list_says_how_they_appear() {
    let fixture = Fixture::new();
    let page = person(&fixture, "ann", "member").get("/workflows");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<a href=\"/workflows\" aria-current=\"page\">Workflows</a>"), "{}", page.body);
    assert!(page.body.contains("appears here after its first step"), "{}", page.body);
}

#[test]
fn a_list_shows_what_each_workflow_uses_and_which_needs_a_person() {
    let fixture = Fixture::new();
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    for id in [&ann, &bob] {
        share(&fixture, id);
    }
    run_step(&fixture, &ann, "invoices", "send");
    run_step(&fixture, &ann, "invoices", "read");
    run_step(&fixture, &bob, "mail", "send");
    break_connection(&fixture, &bob);
    let html = person(&fixture, "ann", "member").get("/workflows").body;
    let (invoices, mail) = (row_of(&html, "invoices"), row_of(&html, "mail"));
    assert!(invoices.contains("1 connection, 2 steps") && invoices.contains("Ready"), "{invoices}");
    assert!(invoices.contains("Acme") && !invoices.contains("By default"), "{invoices}");
    assert!(mail.contains("1 connection needs a person") && mail.contains("status bad"), "{mail}");
}

#[test]
fn a_list_tells_a_default_and_a_step_that_changed() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.connect("one"), fixture.connect("other"));
    for id in [&one, &other] {
        fixture.world.db.tamper(&format!("UPDATE connections SET user_id = NULL, is_shared = 1 WHERE id = '{id}'"));
    }
    let key = make_key(&fixture, |_| {});
    let put = call(&fixture, &first_key(&fixture), Method::Put, "/v1/apps/acme/default", &json!({ "connection": one }));
    assert!(put.0 < 300, "{}", put.1);
    let body = json!({ "app": "acme", "workflow": "reports", "step": "read" });
    assert_eq!(call(&fixture, &key, Method::Post, "/v1/resolve", &body).0, 200);
    run_step(&fixture, &one, "moved", "send");
    fixture.world.advance_clock(86_400);
    run_step(&fixture, &other, "moved", "send");
    let mut ann = person(&fixture, "ann", "member");
    let html = ann.get("/workflows").body;
    assert!(row_of(&html, "moved").contains("1 step changed"), "{html}");
    // The API's call only records after its answer.
    if html.contains("/workflows/reports") {
        assert!(row_of(&html, "reports").contains("By default"), "{html}");
    }
    let html = ann.get("/workflows/moved").body;
    assert!(html.contains("The step send of the workflow moved used"), "{html}");
}

#[test]
fn a_member_sees_workflows_of_connections_that_they_see_and_an_admin_all() {
    let fixture = Fixture::new();
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    fixture.world.db.tamper(&format!("UPDATE connections SET user_id = 'bob', is_shared = 0 WHERE id = '{bob}'"));
    share(&fixture, &ann);
    run_step(&fixture, &ann, "of all", "s");
    run_step(&fixture, &bob, "of bob", "s");
    for (who, role, sees) in [("ann", "member", false), ("bob", "member", true), ("ada", "admin", true)] {
        let mut browser = person(&fixture, who, role);
        let html = browser.get("/workflows").body;
        assert_eq!((html.contains("of%20all"), html.contains("of%20bob")), (true, sees), "{who}");
        assert_eq!(browser.get("/workflows/of%20bob").status, if sees { 200 } else { 404 }, "{who}");
    }
}

#[test]
fn a_search_begins_at_the_name_and_pages_go_on() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    share(&fixture, &ann);
    for number in 0..60 {
        run_step(&fixture, &ann, &format!("w{number:02}"), "s");
    }
    let mut browser = person(&fixture, "ann", "member");
    let first = browser.get("/workflows").body;
    assert_eq!(first.matches("href=\"/workflows/w").count(), 50);
    let next = first.split("href=\"/workflows?cursor=").nth(1).unwrap().split('"').next().unwrap();
    let second = browser.get(&format!("/workflows?cursor={next}")).body;
    assert_eq!(second.matches("href=\"/workflows/w").count(), 10);
    assert!(second.contains("First page") && !second.contains("Next page"), "{second}");
    let found = browser.get("/workflows?q=w5").body;
    assert_eq!(found.matches("href=\"/workflows/w5").count(), 10, "{found}");
    assert!(browser.get("/workflows?q=none").body.contains("No workflow begins with"));
    assert_eq!(browser.get("/workflows?cursor=x").status, 422);
}

#[test]
fn the_page_of_a_workflow_says_in_words_what_is_in_its_way() {
    let fixture = Fixture::new();
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    for id in [&ann, &bob] {
        share(&fixture, id);
    }
    run_step(&fixture, &ann, "invoices", "send");
    run_step(&fixture, &bob, "invoices", "read");
    let mut admin = person(&fixture, "ada", "admin");
    let html = admin.get("/workflows/invoices").body;
    assert!(html.contains("Ready to run") && !html.contains("Not ready"), "{html}");
    break_connection(&fixture, &bob);
    let html = admin.get("/workflows/invoices").body;
    assert!(html.contains("1 connection is not ready") && html.contains("It has to be reconnected."), "{html}");
    assert!(html.contains(&format!("href=\"/connections/{bob}/reconnect\"")), "{html}");
    assert!(html.find(bob.as_str()) < html.find(ann.as_str()), "what is not ready comes first");
    // A member can't repair what belongs to somebody else.
    fixture.world.db.tamper("UPDATE connections SET user_id = 'bob'");
    let html = person(&fixture, "ann", "member").get("/workflows/invoices").body;
    assert!(html.contains("It has to be reconnected.") && !html.contains("/reconnect\""), "{html}");
}

#[test]
fn the_environment_is_a_part_of_the_question() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    share(&fixture, &ann);
    fixture.world.db.tamper("UPDATE connections SET environment = 'test'");
    run_step(&fixture, &ann, "invoices", "send");
    let mut browser = person(&fixture, "ann", "member");
    let html = browser.get("/workflows/invoices?environment=production").body;
    assert!(html.contains("It isn’t for production.") && html.contains("Not ready"), "{html}");
    assert!(browser.get("/workflows/invoices?environment=test").body.contains("Ready to run"));
    assert_eq!(browser.get("/workflows/invoices?environment=other").status, 422);
}

#[test]
fn the_pages_are_one_or_two_batches_with_the_session_however_much_they_show() {
    let fixture = Fixture::new().in_one_isolate();
    let ids = ["ann", "bob", "cy"].map(|account| fixture.connect(account));
    for id in &ids {
        share(&fixture, id);
        for number in 0..20 {
            run_step(&fixture, id, "busy", &format!("s{number}"));
            run_step(&fixture, id, &format!("w{number}"), "s");
        }
    }
    let mut browser = person(&fixture, "ann", "member");
    fixture.world.db.reset_counts();
    assert_eq!(browser.get("/workflows").status, 200);
    assert_eq!(fixture.world.db.round_trips.get(), 1, "the session, and all else at once");
    fixture.world.db.reset_counts();
    assert_eq!(browser.get("/workflows/busy").status, 200);
    assert_eq!(fixture.world.db.round_trips.get(), 2, "the session with the uses, and their connections");
}

#[test]
fn names_of_workflows_are_texts() {
    let fixture = Fixture::new();
    let ann = fixture.connect("ann");
    share(&fixture, &ann);
    run_step(&fixture, &ann, "<img src=x onerror=alert(1)>/\"'", "<b>");
    let mut browser = person(&fixture, "ann", "member");
    let html = browser.get("/workflows").body;
    assert!(!html.contains("<img src=x") && html.contains("&lt;img src=x"), "{html}");
    let href = html.split("href=\"/workflows/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let page = browser.get(&format!("/workflows/{href}"));
    assert_eq!(page.status, 200, "{href}");
    assert!(!page.body.contains("<img src=x") && !page.body.contains("<b>"), "{}", page.body);
}

#[test]
fn a_workflow_whose_name_no_address_can_have_is_found_in_the_list() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    share(&fixture, &id);
    run_step(&fixture, &id, "..", "send");
    let mut ann = person(&fixture, "ann", "member");
    for page in ["/workflows", "/workflows?q=..", &format!("/connections/{id}")] {
        let html = ann.get(page).body;
        assert!(html.contains("href=\"/workflows?q=..\""), "{page}: {html}");
    }
}
