//! The page of a connection: what it says, how it is read, and the pages that change a connection.

use connections::http::Method;
use connections::ids::ConnectionId;
use connections::resolve::ResolveRequest;
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key};
use crate::support::{Fixture, Reply};

fn person<'a>(fixture: &'a Fixture, user: &str, role: &str) -> TestBrowser<'a> {
    let mut browser = TestBrowser::new(fixture);
    browser.sign_in_as(&json!({ "user": { "id": user, "name": "Ann" }, "role": role }));
    browser.get("/");
    browser
}

fn page(id: &ConnectionId) -> String {
    format!("/connections/{id}")
}

fn use_by(fixture: &Fixture, id: &ConnectionId, workflow: &str, step: &str) {
    let request = ResolveRequest { workflow: Some(workflow.into()), step: Some(step.into()), ..Default::default() };
    fixture.resolve_and_finish(id, request).unwrap();
}

#[test]
fn the_page_is_one_batch_with_the_session_however_much_it_shows() {
    let fixture = Fixture::new().in_one_isolate();
    let id = fixture.connect("ann");
    let key = first_key(&fixture);
    for at in 0..30 {
        use_by(&fixture, &id, &format!("w{at}"), "s");
        let body = json!({ "name": format!("Name {at}") });
        assert_eq!(call(&fixture, &key, Method::Patch, &format!("/v1/connections/{id}"), &body).0, 200);
    }
    for (user, role) in [("ann", "member"), ("root", "admin")] {
        let mut browser = person(&fixture, user, role);
        fixture.world.db.reset_counts();
        let shown = browser.get(&page(&id));
        assert_eq!(shown.status, 200);
        assert_eq!(fixture.world.db.round_trips.get(), 1, "the session, and all else at once");
        assert!(shown.body.contains("These are the last <") || shown.body.contains("of 30 steps"), "{}", shown.body);
        assert!(shown.body.contains("30 workflows"), "{}", shown.body);
    }
}

#[test]
fn what_nobody_has_tried_is_not_shown_as_working() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let mut ann = person(&fixture, "ann", "member");
    assert!(ann.get(&page(&id)).body.contains("Signed in at <bdi>Acme</bdi> (<time"));
    fixture.world.db.tamper("UPDATE connections SET checked_at = NULL, check_evidence = NULL, refreshed_at = NULL");
    let html = ann.get(&page(&id)).body;
    assert!(html.contains("Not checked yet") && !html.contains("status good"), "{html}");
    assert!(html.contains("class=\"main\" type=\"submit\">Check now"), "{html}");
    assert_eq!(ann.post(&page(&id), &format!("{}/check", page(&id)), "").status, 303);
    let html = ann.get(&page(&id)).body;
    assert!(html.contains("Checked: it works.") && html.contains("accepted it at the last check"), "{html}");
    assert!(html.contains("Check: works"), "the history has it, too: {html}");
}

#[test]
fn a_check_says_that_the_app_was_asked_only_if_it_was() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let mut ann = person(&fixture, "ann", "member");
    let mut check = || {
        let asked = fixture.world.acme.count_requests("/me");
        assert_eq!(ann.post(&page(&id), &format!("{}/check", page(&id)), "").status, 303);
        (fixture.world.acme.count_requests("/me") - asked, ann.get(&page(&id)).body)
    };
    fixture.world.acme.script_always("/me", Some(Reply::status(500, "")));
    let (asked, html) = check();
    assert!(asked == 1 && html.contains("so nothing is known yet"), "{html}");
    let (asked, html) = check();
    assert!(asked == 0 && html.contains("was asked a moment ago") && !html.contains("Checked: "), "{html}");
    fixture.world.acme.script_always("/me", None);
    fixture.world.advance_clock(60);
    let (asked, html) = check();
    assert!(asked == 1 && html.contains("Checked: it works."), "{html}");
    let (asked, html) = check();
    assert!(
        asked == 0 && html.contains("so the app was not asked again. It works.") && !html.contains("Checked: "),
        "{html}"
    );
}

#[test]
fn a_broken_connection_has_one_next_action_and_says_why() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    fixture.world.acme.withdraw_grants("ann");
    fixture.refresh_if_needed(&id);
    fixture.world.advance_clock(120);
    let mut ann = person(&fixture, "ann", "member");
    let html = ann.get(&page(&id)).body;
    assert!(
        html.contains("Needs reconnect") && html.contains("<bdi>Acme</bdi> says that the access was revoked (<time"),
        "{html}"
    );
    assert!(html.contains("2 minutes ago"), "{html}");
    assert_eq!((html.matches("button main").count(), html.matches(">Reconnect</a>").count()), (1, 1), "{html}");
    assert!(html.contains("It stopped working: ") && !html.contains("clock"), "{html}");
}

#[test]
fn permissions_are_told_by_what_they_permit() {
    let fixture = Fixture::with_definition(&json!({
        "scopes": [{ "id": "read", "description": "Read your mail", "default": true }, { "id": "write", "description": "Send mail", "default": true }],
    }));
    fixture.world.acme.script_next("/token", Reply::edited(|answer| answer["scope"] = "read".into()));
    let id = fixture.connect("ann");
    let mut ann = person(&fixture, "ann", "member");
    let html = ann.get(&page(&id)).body;
    assert!(html.contains("<span title=\"read\"><bdi>Read your mail</bdi></span>"), "{html}");
    assert!(
        html.contains("Missing permissions") && html.contains("<span title=\"write\"><bdi>Send mail</bdi></span>"),
        "{html}"
    );
    assert!(html.contains("/reconnect?scopes=write\">Ask for the missing permissions"), "{html}");
}

#[test]
fn a_form_can_be_loaded_where_it_was_refused() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let mut ann = person(&fixture, "ann", "member");
    for (form, fields) in [("rename", "name=+"), ("environment", "environment=other"), ("replace", "with=nothing")] {
        let address = format!("{}/{form}", page(&id));
        let refused = ann.post(&page(&id), &address, fields);
        assert_eq!(refused.status, 422, "{form}");
        assert!(refused.body.contains("<title>Not accepted: "), "{}", refused.body);
        let again = ann.get(&address);
        assert_eq!(again.status, 200, "{form}");
        assert!(!again.body.contains("Not accepted"), "{}", again.body);
    }
    let kept = ann.post(&page(&id), &format!("{}/rename", page(&id)), &format!("name={}", "x".repeat(101))).body;
    assert!(kept.contains(&format!("value=\"{}\"", "x".repeat(101))), "what was typed is kept: {kept}");
}

#[test]
fn before_a_disconnect_the_workflows_that_stop_are_named_each_once() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    for step in ["a", "b"] {
        use_by(&fixture, &id, "invoices", step);
    }
    let mut ann = person(&fixture, "ann", "member");
    for address in [format!("{}/disconnect", page(&id)), format!("{}?disconnect=1", page(&id))] {
        let html = ann.get(&address).body;
        assert_eq!(html.matches("<li><bdi>invoices</bdi></li>").count(), 1, "{html}");
        assert!(html.contains("you can undo this") && html.contains("Disconnect now"), "{html}");
    }
}

#[test]
fn the_page_has_the_id_and_how_a_step_asks() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let html = person(&fixture, "ann", "member").get(&page(&id)).body;
    let url = format!("https://c.example.com/v1/connections/{id}/resolve");
    assert!(html.contains(&format!("<code id=\"connection-id\">{id}</code>")), "{html}");
    assert!(html.contains(&format!("curl -X POST &quot;{url}&quot;")) && html.contains("await fetch("), "{html}");
    assert!(html.contains("data-copy=\"connection-id\""), "{html}");
}

#[test]
fn an_admin_chooses_the_owner_among_the_people() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    person(&fixture, "bob", "member");
    let mut admin = person(&fixture, "root", "admin");
    let html = admin.get(&format!("{}/sharing", page(&id))).body;
    assert!(html.contains("<option value=\"ann\" selected>") && html.contains("<option value=\"bob\">"), "{html}");
    assert_eq!(admin.post(&page(&id), &format!("{}/sharing", page(&id)), "owner=bob").status, 303);
    assert_eq!(fixture.load_connection(&id).user.unwrap().id, "bob");
    assert!(admin.get(&page(&id)).body.contains("gave it to"), "the history tells");
}

#[test]
fn what_waits_to_be_confirmed_says_for_what() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.db.tamper("UPDATE connections SET status = 'awaiting_confirmation', is_unconfirmed = 1");
    let html = person(&fixture, "ann", "member").get(&page(&id)).body;
    assert!(html.contains("Awaiting confirmation") && html.contains("has confirmed who it was"), "{html}");
    let (_, answer) = call(&fixture, &first_key(&fixture), Method::Get, &format!("/v1{}", page(&id)), &Value::Null);
    assert_eq!(answer["status"], "awaiting_confirmation");
}

#[test]
fn the_days_on_which_steps_used_it_are_drawn() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let mut ann = person(&fixture, "ann", "member");
    assert!(!ann.get(&page(&id)).body.contains("class=\"spark\""), "without a use there is nothing to draw");
    for (days, steps) in [(0, ["a", "b"]), (2, ["a", "b"]), (5, ["a", "a"])] {
        fixture.world.advance_clock(days * 86_400);
        for step in steps {
            use_by(&fixture, &id, "w", step);
        }
    }
    let mut ann = person(&fixture, "ann", "member");
    let bars = |html: &str| html.matches("<rect").count() - html.matches("class=\"none\"").count();
    let html = ann.get(&page(&id)).body;
    assert!(html.contains("Used on 3 of the last 30 days") && bars(&html) == 3, "{html}");
    // Step a on three days; all that the row has is its day, and a bit for each.
    let days = fixture.world.db.query_number("SELECT used_days & 1073741823 FROM uses WHERE step = 'a'");
    assert_eq!(days, 0b1010_0001);
    // The version before does not write the column: what it left is still right, and a new row has its first and last day.
    fixture.world.db.tamper("UPDATE uses SET used_days = NULL");
    let html = ann.get(&page(&id)).body;
    assert!(html.contains("Used on 3 of the last 30 days"), "{html}");
    fixture.world.advance_clock(30 * 86_400);
    assert!(!person(&fixture, "ann", "member").get(&page(&id)).body.contains("class=\"spark\""));
    use_by(&fixture, &id, "w", "a");
    let html = person(&fixture, "ann", "member").get(&page(&id)).body;
    assert!(html.contains("Used on 1 of the last 30 days"), "{html}");
}
