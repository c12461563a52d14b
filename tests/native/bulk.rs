//! One thing is done with several connections: what it does with each, what it leaves alone, and what a request takes.

use connections::bulk::MOST_SELECTED;
use connections::http::{Method, Response};
use connections::ids::ConnectionId;

use crate::connection_list::person;
use crate::http::{TestBrowser, request};
use crate::rows_read::{numbered_id, workspace_with};
use crate::support::{Fixture, Reply};

/// The fields of the form that a page leads on with.
fn next_form(page: &Response) -> Option<String> {
    let form = page.body.split("<form method=\"post\" action=\"/bulk\"").nth(1)?.split("</form>").next()?;
    let mut fields = url::form_urlencoded::Serializer::new(String::new());
    for input in form.split("<input ").skip(1) {
        let value_of =
            |name: &str| input.split(&format!("{name}=\"")).nth(1).map(|rest| rest.split('"').next().unwrap());
        if let (Some(name), Some(value)) = (value_of("name"), value_of("value")) {
            fields.append_pair(name, &value.replace("&amp;", "&"));
        }
    }
    Some(fields.finish())
}

fn send(browser: &mut TestBrowser<'_>, fields: &str) -> Response {
    browser.send(request(Method::Post, "/bulk", fields.as_bytes().to_vec()))
}

fn selected(ids: &[ConnectionId]) -> String {
    ids.iter().fold(String::new(), |all, id| format!("{all}&id={id}"))
}

/// Begins it, and goes on until the result. Returns that, and how many requests it took.
fn run(browser: &mut TestBrowser<'_>, action: &str, ids: &[ConnectionId]) -> (Response, usize) {
    let fields = format!("action={action}&confirmed=yes&back=/{}", selected(ids));
    let mut page = browser.post("/", "/bulk", &fields);
    let mut requests = 1;
    while page.body.contains("data-continue") {
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(page.body.contains("<progress ") && page.body.contains(&format!(" of {}", ids.len())), "{}", page.body);
        page = send(browser, &next_form(&page).unwrap());
        requests += 1;
    }
    (page, requests)
}

fn several(fixture: &Fixture, number: usize) -> Vec<ConnectionId> {
    let ids: Vec<_> = (0..number).map(|at| fixture.connect(&format!("p{at}"))).collect();
    fixture.world.db.tamper("UPDATE connections SET user_id = 'ann', is_shared = 0");
    ids
}

fn count(fixture: &Fixture, condition: &str) -> i64 {
    fixture.world.db.query_number(&format!("SELECT count(*) FROM connections WHERE {condition}"))
}

#[test]
fn many_are_checked_a_few_in_each_request_and_the_result_names_what_fails() {
    let fixture = Fixture::new();
    let ids = several(&fixture, 12);
    fixture.world.advance_clock(3600);
    fixture.expire_access_token(&ids[3]);
    fixture.world.acme.withdraw_grants("p3");
    let mut ann = person(&fixture, "ann", "member");
    let asked = fixture.world.acme.count_all_requests();
    let (result, requests) = run(&mut ann, "check", &ids);
    assert!(requests >= 3, "{requests}");
    assert!(fixture.world.acme.count_all_requests() >= asked + 12, "each was asked about");
    assert!(
        result.body.contains("11 of 12 checked connections work.")
            && result.body.contains("It no longer works. Reconnect it."),
        "{}",
        result.body
    );
    assert!(result.body.contains(&format!("href=\"/connections/{}/reconnect\"", ids[3])), "{}", result.body);
    assert_eq!(result.body.matches("class=\"entry\"").count(), 1, "{}", result.body);
}

#[test]
fn a_disconnect_says_first_what_stops_and_can_be_undone_as_a_whole() {
    let fixture = Fixture::new();
    let ids = several(&fixture, 7);
    for (id, workflow) in [(&ids[0], "invoices"), (&ids[1], "invoices"), (&ids[2], "payroll")] {
        let request = connections::resolve::ResolveRequest { workflow: Some(workflow.into()), ..Default::default() };
        fixture.resolve_and_finish(id, request).unwrap();
    }
    let mut ann = person(&fixture, "ann", "member");
    let question = ann.post("/", "/bulk", &format!("action=disconnect&back=/{}", selected(&ids)));
    assert_eq!(question.status, 200);
    assert!(question.body.contains("Disconnect 7 connections?"), "{}", question.body);
    for workflow in ["invoices", "payroll"] {
        assert_eq!(question.body.matches(&format!("<li><bdi>{workflow}</bdi></li>")).count(), 1, "{}", question.body);
    }
    assert_eq!(count(&fixture, "deleted_at IS NULL"), 7, "nothing is done yet");
    let mut page = send(&mut ann, &next_form(&question).unwrap());
    while page.body.contains("data-continue") {
        page = send(&mut ann, &next_form(&page).unwrap());
    }
    assert!(page.body.contains("Done: 7 of 7.") && page.body.contains("Undo all 7"), "{}", page.body);
    assert_eq!(count(&fixture, "deleted_at IS NULL"), 0);
    assert_eq!(fixture.world.acme.count_requests("/revoke"), 0, "nothing is revoked while it can be undone");
    let events =
        "SELECT count(*) FROM events WHERE type = 'disconnected' AND detail = 'pending' AND actor = 'user:ann'";
    assert_eq!(fixture.world.db.query_number(events), 7);

    page = send(&mut ann, &next_form(&page).unwrap());
    while page.body.contains("data-continue") {
        page = send(&mut ann, &next_form(&page).unwrap());
    }
    assert!(page.body.contains("Done: 7 of 7."), "{}", page.body);
    assert_eq!(count(&fixture, "deleted_at IS NULL"), 7);
    for id in &ids {
        fixture.resolve(id, connections::resolve::ResolveRequest::default()).unwrap();
    }
}

#[test]
fn a_step_that_is_sent_twice_does_nothing_twice_and_loses_nothing() {
    let fixture = Fixture::new();
    let ids = several(&fixture, 6);
    let mut ann = person(&fixture, "ann", "member");
    let first = format!("action=disconnect&confirmed=yes&back=/{}", selected(&ids));
    let once = ann.post("/", "/bulk", &first);
    let again = ann.post("/", "/bulk", &first);
    assert_eq!(next_form(&once), next_form(&again));
    let disconnects = "SELECT count(*) FROM events WHERE type = 'disconnected'";
    let lines = fixture.world.db.query_number(disconnects);
    let mut page = send(&mut ann, &next_form(&again).unwrap());
    while page.body.contains("data-continue") {
        page = send(&mut ann, &next_form(&page).unwrap());
    }
    assert!(lines < 6 && page.body.contains("Done: 6 of 6.") && page.body.contains("Undo all 6"), "{}", page.body);
    assert_eq!(fixture.world.db.query_number(disconnects), 6);
    fixture.world.advance_clock(301);
    let late = send(&mut ann, &next_form(&page).unwrap());
    assert!(late.body.contains("data-continue") || late.body.contains("It is too late"), "{}", late.body);
    assert_eq!(count(&fixture, "deleted_at IS NULL"), 0);
}

/// What a person may not see does not exist, and what they may not change stays as it is, whatever a form names.
#[test]
fn nothing_is_done_with_what_a_person_may_not_change() {
    for action in ["check", "disconnect", "undo", "rename", "share"] {
        let fixture = Fixture::new();
        let [shared, private] = ["ann", "bob"].map(|who| fixture.connect(who));
        fixture.world.db.tamper("UPDATE connections SET name = 'x', user_id = 'bob', is_shared = 0");
        fixture.world.db.tamper(&format!("UPDATE connections SET is_shared = 1 WHERE id = '{shared}'"));
        let elsewhere = fixture.other_workspace();
        let state = || {
            let columns = "id, name, status, generation, deleted_at, user_id, is_shared, checked_at";
            let text = format!("SELECT json_group_array(json_array({columns})) FROM connections");
            fixture.world.db.query_value(&text).as_str().unwrap().to_owned()
        };
        let fields =
            format!("action={action}&confirmed=yes&owner=none&sharing=private&back=/&id={private}&id={shared}");
        let before = state();
        let mut strangers = vec![person(&elsewhere, "root", "admin")];
        if action != "check" {
            strangers.push(person(&fixture, "ann", "member"));
        }
        for mut browser in strangers {
            let page = browser.post("/", "/bulk", &fields);
            assert!([200, 403].contains(&page.status), "{action}: {}", page.status);
            assert!(!page.body.contains("bob@acme"), "{action}: {}", page.body);
            assert_eq!(state(), before, "{action}");
        }
        if action == "check" {
            let asked = fixture.world.acme.count_requests("/me");
            let page = person(&fixture, "ann", "member").post("/", "/bulk", &fields).body;
            assert!(page.contains("It is gone") && page.contains("1 of 2 checked connections work."), "{page}");
            assert_eq!(fixture.world.acme.count_requests("/me"), asked + 1, "the shared one alone");
        }
        let mut forged = person(&fixture, "bob", "member");
        assert_eq!(send(&mut forged, &fields).status, 403, "{action}: without the form's token");
        let mut cross_site = request(Method::Post, "/bulk", fields.clone().into_bytes());
        cross_site.headers = vec![("sec-fetch-site".into(), "cross-site".into())];
        assert_eq!(forged.send(cross_site).status, 403);
        assert_ne!(TestBrowser::new(&fixture).post("/", "/bulk", &fields).status, 200, "{action}: signed out");
    }
}

#[test]
fn an_admin_gives_several_to_somebody_and_shares_them() {
    let fixture = Fixture::new();
    let ids = several(&fixture, 3);
    person(&fixture, "bob", "member");
    let mut root = person(&fixture, "root", "admin");
    let question = root.post("/", "/bulk", &format!("action=share&back=/{}", selected(&ids)));
    assert!(
        question.body.contains("Change who owns and who uses 3 connections")
            && question.body.contains("value=\"id:bob\""),
        "{}",
        question.body
    );
    let empty = root.post("/", "/bulk", &format!("action=share&confirmed=yes&back=/{}", selected(&ids)));
    assert!(empty.status == 422 && empty.body.contains("Choose an owner or who uses them."), "{}", empty.body);
    let fields = format!("action=share&confirmed=yes&owner=id%3A+bob+&sharing=shared&back=/{}", selected(&ids));
    let mut page = root.post("/", "/bulk", &fields);
    while page.body.contains("data-continue") {
        page = send(&mut root, &next_form(&page).unwrap());
    }
    assert!(page.body.contains("Done: 3 of 3."), "{}", page.body);
    assert_eq!(count(&fixture, "user_id = 'bob' AND is_shared = 1"), 3);
    assert_eq!(
        fixture
            .world
            .db
            .query_number("SELECT count(*) FROM events WHERE type = 'edited' AND detail LIKE '%owner: bob%'"),
        3
    );
    let mut member = person(&fixture, "bob", "member");
    let refused = member.post("/", "/bulk", &fields);
    assert!(refused.status == 403 && refused.body.contains("admin"), "{}", refused.body);
}

#[test]
fn a_connection_that_answers_for_another_is_named_and_the_others_are_disconnected() {
    let fixture = Fixture::new();
    let ids = several(&fixture, 3);
    fixture.world.db.tamper(&format!(
        "INSERT INTO replacements (workspace_id, connection_id, replaced_by, created_at, across_environments)
        VALUES ('{}', '{}', '{}', 1, 0)",
        fixture.workspace, ids[0], ids[1]
    ));
    let (result, _) = run(&mut person(&fixture, "ann", "member"), "disconnect", &ids[1..]);
    assert!(
        result.body.contains("Done: 1 of 2.") && result.body.contains("It answers for another connection."),
        "{}",
        result.body
    );
    assert_eq!(count(&fixture, "deleted_at IS NULL"), 2);
}

#[test]
fn an_app_that_does_not_answer_is_said_of_each() {
    let fixture = Fixture::new();
    let ids = several(&fixture, 2);
    fixture.world.advance_clock(3600);
    fixture.world.acme.script_always("/me", Some(Reply::status(500, "")));
    fixture.world.acme.script_always("/token", Some(Reply::status(500, "")));
    let (result, _) = run(&mut person(&fixture, "ann", "member"), "check", &ids);
    assert_eq!(result.body.matches("The app didn’t answer.").count(), 2, "{}", result.body);
}

#[test]
fn a_form_that_names_nothing_or_too_much_does_nothing_and_says_so() {
    let fixture = workspace_with(i64::try_from(MOST_SELECTED).unwrap() + 1, &[("user_id", "'ann'")]);
    let mut ann = person(&fixture, "ann", "member");
    let nothing = ann.post("/", "/bulk", "action=check&back=/review&id=nonsense");
    assert!(
        nothing.status == 422
            && nothing.body.contains("Nothing is selected")
            && nothing.body.contains("href=\"/review\"")
    );
    let all: Vec<_> = (1..=i64::try_from(MOST_SELECTED).unwrap() + 1).map(numbered_id).collect();
    let asked = fixture.world.acme.count_all_requests();
    let many = ann.post("/", "/bulk", &format!("action=check&back=/{}", selected(&all)));
    assert!(many.status == 422 && many.body.contains("Select at most 80"), "{}", many.body);
    assert_eq!(fixture.world.acme.count_all_requests(), asked);
    assert_eq!(ann.post("/", "/bulk", "action=nonsense&id=x").status, 422);
    assert_eq!(ann.get("/bulk").header("location"), Some("/"));
    // Back leads to our own pages alone.
    for elsewhere in ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/v1/keys"] {
        let page = ann.post("/", "/bulk", &format!("action=check&back={elsewhere}"));
        assert!(!page.body.contains(elsewhere), "{elsewhere}: {}", page.body);
    }
}

/// The in-memory ports fail at the free plan's 50 subrequests.
#[test]
fn no_request_takes_more_subrequests_than_the_free_plan_has() {
    let fixture = Fixture::new();
    let ids = several(&fixture, 15);
    fixture.world.advance_clock(3600);
    let mut root = person(&fixture, "root", "admin");
    for (action, says) in [("check", "All 15 work."), ("rename", "Done: 15 of 15."), ("disconnect", "Done: 15 of 15.")]
    {
        fixture.world.db.tamper("UPDATE connections SET name = 'x'");
        let (result, _) = run(&mut root, action, &ids);
        assert!(result.body.contains(says), "{action}: {}", result.body);
    }
}

#[test]
fn names_that_are_given_together_differ_and_stay_when_the_form_is_sent_again() {
    let fixture = Fixture::new();
    let ids = several(&fixture, 2);
    fixture.world.db.tamper("UPDATE connections SET name = 'test', account_label = 'one'");
    let mut ann = person(&fixture, "ann", "member");
    for _ in 0..2 {
        run(&mut ann, "rename", &ids);
        let mut names: Vec<_> = ids.iter().map(|id| fixture.load_connection(id).name).collect();
        names.sort();
        assert_eq!(names, ["Acme (one)", "Acme (one) 2"]);
    }
}
