//! The page *Review*: which connections are in which group, what is suggested, and what it costs.

use connections::ids::ConnectionId;
use connections::store::connections::WINDOW;

use crate::connection_list::person;
use crate::http::TestBrowser;
use crate::rows_read::{numbered_id, workspace_with};
use crate::support::Fixture;

const DAY: i64 = 86_400;

fn set(fixture: &Fixture, id: &ConnectionId, assignment: &str) {
    fixture.world.db.tamper(&format!("UPDATE connections SET {assignment} WHERE id = '{id}'"));
}

/// The section of a group.
fn group(browser: &mut TestBrowser<'_>, name: &str) -> Option<String> {
    let page = browser.get("/review");
    assert_eq!(page.status, 200, "{}", page.body);
    let section = page.body.split(&format!("aria-labelledby=\"{name}\"")).nth(1)?;
    Some(section.split("</section>").next().unwrap().to_owned())
}

#[test]
fn everything_is_fine_until_something_is_not() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let mut ann = person(&fixture, "ann", "member");
    let fine = ann.get("/review").body;
    assert!(
        fine.contains("Everything is fine") && fine.contains("href=\"/review\" aria-current=\"page\">Review"),
        "{fine}"
    );
    let now = fixture.world.now().unix();
    for (name, change, back) in [
        (
            "needs_reconnect",
            "status = 'needs_reconnect', reconnect_reason = 'revoked'".to_owned(),
            "status = 'connected', reconnect_reason = NULL".to_owned(),
        ),
        (
            "expires_soon",
            format!("refreshable = 0, expires_at = {}", now + DAY),
            format!("refreshable = 1, expires_at = {}", now + 3600),
        ),
        ("not_checked", "checked_at = NULL".to_owned(), "checked_at = connected_at".to_owned()),
        ("forgotten", format!("connected_at = {}", now - 61 * DAY), format!("connected_at = {now}")),
        ("unclear_name", "name = 'Test'".to_owned(), "name = 'Acme (ann@acme.example)'".to_owned()),
    ] {
        assert_eq!(group(&mut ann, name), None, "{name}");
        set(&fixture, &id, &change);
        let section = group(&mut ann, name).unwrap_or_else(|| panic!("{name}: {}", ann.get("/review").body));
        assert!(
            section.contains(id.as_str()) && section.contains("<span class=\"count\">1</span>"),
            "{name}: {section}"
        );
        assert!(ann.get(&format!("/?status={name}")).body.contains(id.as_str()), "{name}: all of them");
        // What only a person keeps leads to the consent, and all else to a check.
        let leads_to_consent = section.contains(&format!("href=\"/connections/{id}/reconnect\">Reconnect"));
        assert_eq!(leads_to_consent, matches!(name, "needs_reconnect" | "expires_soon"), "{name}: {section}");
        set(&fixture, &id, &back);
    }
    assert!(ann.get("/review").body.contains("Everything is fine"));
}

#[test]
fn a_group_shows_the_first_ones_its_number_and_the_way_to_all() {
    let fixture = workspace_with(30, &[("status", "'needs_reconnect'")]);
    let section = group(&mut person(&fixture, "root", "admin"), "needs_reconnect").unwrap();
    assert_eq!(section.matches("type=\"checkbox\"").count(), 5, "{section}");
    assert!(
        section.contains("<span class=\"count\">30</span>")
            && section.contains("href=\"/?status=needs_reconnect\">Show all 30"),
        "{section}"
    );
    assert!(section.contains("action=\"/bulk\"") && section.contains("value=\"disconnect\""), "{section}");
    assert_eq!(
        group(&mut person(&fixture, "user3", "member"), "needs_reconnect").unwrap().matches("checkbox").count(),
        1
    );
}

#[test]
fn twins_are_linked_to_each_other_if_one_person_has_both() {
    let fixture = Fixture::new();
    let [one, other, theirs] = ["ann", "bob", "cid"].map(|who| fixture.connect(who));
    fixture.world.db.tamper("UPDATE connections SET account_id = 'one', user_id = 'ann', is_shared = 0");
    set(&fixture, &theirs, "user_id = 'cid'");
    set(&fixture, &other, "name = 'The other one'");
    let section = group(&mut person(&fixture, "ann", "member"), "duplicate").unwrap();
    assert!(
        section.contains(&format!("Same account as <a href=\"/connections/{other}\"><bdi>The other one</bdi>")),
        "{section}"
    );
    assert!(section.contains(one.as_str()) && !section.contains(theirs.as_str()), "{section}");
    assert_eq!(group(&mut person(&fixture, "cid", "member"), "duplicate"), None);
}

#[test]
fn a_name_that_says_too_little_gets_a_better_one_with_one_click() {
    let fixture = Fixture::new();
    let [ann, bob, cid, eve] = ["ann", "bob", "cid", "eve"].map(|who| fixture.connect(who));
    fixture.world.db.tamper("UPDATE connections SET user_id = NULL, is_shared = 1");
    for (id, name) in [(&ann, "x"), (&bob, "My Connection"), (&cid, "ACME"), (&eve, "Payroll")] {
        set(&fixture, id, &format!("name = '{name}'"));
    }
    let twin = fixture.connect("fay");
    set(&fixture, &twin, "name = 'Payroll', user_id = 'fay', is_shared = 0");
    let mut root = person(&fixture, "root", "admin");
    let section = group(&mut root, "unclear_name").unwrap();
    for (says, id) in [
        ("The name is very short.", &ann),
        ("The name fits every connection.", &bob),
        ("The name is only the app’s.", &cid),
        ("Another connection of the app has this name.", &eve),
    ] {
        let row = section.split("<li").find(|row| row.contains(&format!("/connections/{id}"))).unwrap();
        assert!(row.contains(says), "{row}");
        let account = fixture.load_connection(id).account.unwrap().label;
        assert!(row.contains(&format!("Suggested: <strong><bdi>Acme ({account})</bdi></strong>")), "{row}");
    }
    // A member does not learn that somebody else's private connection has the name, and changes nothing that is everybody's.
    let of_member = group(&mut person(&fixture, "ann", "member"), "unclear_name").unwrap();
    assert!(!of_member.contains(eve.as_str()) && !of_member.contains("form=\"rename-one\""), "{of_member}");
    let done = root.post("/review", "/bulk", &format!("action=rename&back=/review&id={bob}"));
    assert_eq!((done.status, done.header("location")), (303, Some("/review")));
    assert_eq!(fixture.load_connection(&bob).name, "Acme (bob@acme.example)");
    assert!(root.get("/review").body.contains("Name saved."));
    // The name is taken: it gets a number.
    set(&fixture, &eve, "name = 'Acme (cid@acme.example)'");
    root.post("/review", "/bulk", &format!("action=rename&back=/review&id={cid}"));
    assert_eq!(fixture.load_connection(&cid).name, "Acme (cid@acme.example) 2");
}

#[test]
fn the_review_is_the_session_and_one_batch_and_costs_no_more_in_a_larger_workspace() {
    let costs = [WINDOW * 2, WINDOW * 4].map(|size| {
        let fixture = workspace_with(
            size,
            &[("status", "'needs_reconnect'"), ("account_id", "'one'"), ("user_id", "'ann'"), ("name", "'test'")],
        )
        .in_one_isolate();
        let costs = [("root", "admin"), ("ann", "member")].map(|(user, role)| {
            let mut browser = person(&fixture, user, role);
            browser.get("/review");
            fixture.world.db.reset_counts();
            assert_eq!(browser.get("/review").status, 200);
            assert_eq!(fixture.world.db.round_trips.get(), 1, "{user}: the session, and all else with it");
            fixture.world.db.vm_steps.get()
        });
        costs.iter().sum::<i64>()
    });
    assert!(costs[1] <= costs[0] + costs[0] / 20, "{costs:?}");
}

#[test]
fn older_connections_are_reviewed_on_further_pages() {
    let fixture = workspace_with(WINDOW * 2, &[("user_id", "'ann'")]);
    let last = numbered_id(WINDOW * 2);
    set(&fixture, &last, "name = 'test'");
    for (user, role) in [("root", "admin"), ("ann", "member")] {
        let mut browser = person(&fixture, user, role);
        let (mut address, mut found, mut pages) = ("/review".to_owned(), false, 0);
        loop {
            let page = browser.get(&address).body;
            found |= page.contains(&format!("/connections/{last}\""));
            pages += 1;
            let Some(next) = page.split("href=\"/review?cursor=").nth(1) else { break };
            address = format!("/review?cursor={}", next.split('"').next().unwrap());
        }
        assert!(found && pages == 3, "{user}: {pages}");
    }
}

#[test]
fn a_twin_that_a_person_does_not_see_is_not_named() {
    let fixture = Fixture::new();
    let [shared, private] = ["ann", "bob"].map(|who| fixture.connect(who));
    fixture.world.db.tamper("UPDATE connections SET account_id = 'one', user_id = 'bob', is_shared = 0");
    set(&fixture, &shared, "is_shared = 1");
    set(&fixture, &private, "name = 'Layoffs'");
    let page = person(&fixture, "ann", "member").get("/review").body;
    assert!(!page.contains("Layoffs") && !page.contains(private.as_str()), "{page}");
    assert!(person(&fixture, "bob", "member").get("/review").body.contains("Layoffs"));
}
