//! The Connections page: what it filters, sorts and counts, that its pages have every connection once, and that nobody sees what
//! is not theirs.

use std::collections::BTreeSet;

use connections::http::Method;
use connections::http::Response;
use connections::ids::ConnectionId;
use connections::resolve::ResolveRequest;
use connections::store::connections::{BROKEN_FIRST, Issue, WINDOW};
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key};
use crate::rows_read::{numbered_id, workspace_with};
use crate::support::Fixture;

pub(crate) fn person<'a>(fixture: &'a Fixture, user: &str, role: &str) -> TestBrowser<'a> {
    let mut browser = TestBrowser::new(fixture);
    browser.sign_in_as(&json!({ "user": { "id": user, "name": user }, "role": role }));
    browser.get("/");
    browser
}

/// The ids of the rows, in their order.
fn rows(page: &Response) -> Vec<String> {
    assert_eq!(page.status, 200, "{}", page.body);
    let table = page.body.split("<tbody>").nth(1).and_then(|rest| rest.split("</tbody>").next()).unwrap_or_default();
    let names = table.split("class=\"name\" href=\"/connections/").skip(1);
    names.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// Where the link with this label leads.
fn link(page: &Response, label: &str) -> Option<String> {
    let before = page.body.split(&format!("\">{label}</a>")).next().filter(|before| before.len() < page.body.len())?;
    Some(before.rsplit("href=\"").next()?.replace("&amp;", "&"))
}

/// The rows of all pages from this one on, and how many pages those are.
fn all_rows(browser: &mut TestBrowser<'_>, address: &str) -> (Vec<String>, usize) {
    let (mut found, mut pages, mut next) = (Vec::new(), 0, Some(address.to_owned()));
    while let Some(address) = next {
        let page = browser.get(&address);
        found.extend(rows(&page));
        pages += 1;
        next = ["Next page", "Older connections", "Search older connections"]
            .into_iter()
            .find_map(|label| link(&page, label));
        assert!(pages < 100, "{address}");
    }
    (found, pages)
}

fn set(fixture: &Fixture, id: &ConnectionId, assignment: &str) {
    fixture.world.db.tamper(&format!("UPDATE connections SET {assignment} WHERE id = '{id}'"));
}

fn ids(of: &[&ConnectionId]) -> Vec<String> {
    of.iter().map(ToString::to_string).collect()
}

#[test]
fn every_connection_is_on_one_of_the_pages_and_on_no_other() {
    let size = WINDOW * 5 / 2;
    let fixture = workspace_with(size, &[("user_id", "'ann'"), ("is_shared", "n.number % 2")]);
    let all = usize::try_from(size).unwrap() + 1;
    for (user, role) in [("root", "admin"), ("ann", "member")] {
        let mut browser = person(&fixture, user, role);
        for address in ["/", "/?sort=name", "/?sort=-used", "/?q=acme", "/?status=connected"] {
            let (found, pages) = all_rows(&mut browser, address);
            let different: BTreeSet<_> = found.iter().collect();
            assert_eq!((found.len(), different.len()), (all, all), "{user} {address}");
            assert!(pages <= all / 50 + 4, "{user} {address}: {pages} pages");
        }
        // Every second one is on the pages of somebody else.
        let mut bob = person(&fixture, "bob", "member");
        assert_eq!(all_rows(&mut bob, "/").0.len(), usize::try_from(size / 2).unwrap());
    }
}

#[test]
fn what_needs_a_reconnect_comes_first_however_old_it_is_and_not_again() {
    let fixture = workspace_with(WINDOW * 2, &[("user_id", "'ann'"), ("is_shared", "1")]);
    let broken = [WINDOW * 2, WINDOW + 1, 120, 3].map(numbered_id);
    for id in &broken {
        set(&fixture, id, "status = 'needs_reconnect', reconnect_reason = 'revoked'");
    }
    let default = &broken[1];
    fixture.world.db.tamper(&format!(
        "INSERT INTO app_defaults (workspace_id, app, user_id, environment, connection_id, set_at)
        SELECT workspace_id, app, '', '', id, 1 FROM connections WHERE id = '{default}'"
    ));
    for (user, role) in [("root", "admin"), ("ann", "member")] {
        let mut browser = person(&fixture, user, role);
        let page = browser.get("/");
        assert_eq!(
            rows(&page)[..4],
            ids(&[default, &broken[3], &broken[2], &broken[0]]),
            "the default, then the newest"
        );
        assert!(page.body.contains("The app says that the access was revoked."), "{}", page.body);
        let (all, _) = all_rows(&mut browser, "/");
        assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len());
        assert_eq!(i64::try_from(all.len()).unwrap(), WINDOW * 2 + 1);
        assert_eq!(all_rows(&mut browser, "/?status=needs_reconnect").0.len(), 4);
    }
}

#[test]
fn more_broken_connections_than_come_first_are_not_lost() {
    let size = WINDOW + BROKEN_FIRST;
    let fixture = workspace_with(size, &[("status", "'needs_reconnect'"), ("user_id", "'ann'"), ("is_shared", "1")]);
    fixture.world.db.tamper(&format!(
        "INSERT INTO app_defaults (workspace_id, app, user_id, environment, connection_id, set_at)
        SELECT workspace_id, app, user_id, '', id, 1 FROM connections WHERE id = '{}'",
        numbered_id(2)
    ));
    for (user, role) in [("root", "admin"), ("ann", "member")] {
        let mut browser = person(&fixture, user, role);
        let page = browser.get("/");
        assert!(page.body.contains("Needs reconnect <span class=\"count\">200+</span>"), "{}", page.body);
        let (all, _) = all_rows(&mut browser, "/");
        let different: BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), i64::try_from(different.len()).unwrap()), (different.len(), size + 1), "{user}");
    }
}

#[test]
fn a_search_finds_several_words_in_name_account_app_and_status_and_one_by_its_id() {
    let fixture = Fixture::new();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|who| fixture.connect(who));
    set(&fixture, &ann, "name = 'Payroll 50%_off', status = 'needs_reconnect'");
    set(&fixture, &bob, "name = 'Team chat', app = 'google-sheets', app_revision = 0");
    let mut root = person(&fixture, "root", "admin");
    for (search, expected) in [
        ("payroll", vec![&ann]),
        ("OFF pay", vec![&ann]),
        ("pay chat", vec![]),
        ("50%_o", vec![&ann]),
        ("%", vec![&ann]),
        ("BOB@", vec![&bob]),
        ("google", vec![&bob]),
        ("Sheets chat", vec![&bob]),
        ("acme", vec![&ann, &cid, &bob]),
        ("broken", vec![&ann]),
        ("needs reconnect", vec![&ann]),
        ("connected bob", vec![&bob]),
        ("works acme.example", vec![&cid, &bob]),
        ("acme.example cid", vec![&cid]),
        (cid.as_str(), vec![&cid]),
        ("con_000000000000000000000000", vec![]),
        ("  ", vec![&ann, &cid, &bob]),
    ] {
        let query: String = url::form_urlencoded::byte_serialize(search.as_bytes()).collect();
        let found = rows(&root.get(&format!("/?q={query}")));
        let sorted = |mut ids: Vec<String>| {
            ids.sort_unstable();
            ids
        };
        assert_eq!(sorted(found), sorted(ids(&expected)), "{search:?}");
    }
    // The app's name, and not its id.
    fixture.put_app_revision(&json!({ "name": "Zeppelin" }));
    assert_eq!(rows(&root.get("/?q=zeppelin")).len(), 2);
}

#[test]
fn a_search_finds_an_id_beside_words_and_what_the_page_says_of_a_connection() {
    let fixture = Fixture::new();
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    set(&fixture, &bob, "checked_at = NULL, refreshed_at = NULL");
    set(&fixture, &ann, "checked_at = created_at + 1");
    let mut root = person(&fixture, "root", "admin");
    let mut found = |search: &str| {
        let encoded: String = url::form_urlencoded::byte_serialize(search.as_bytes()).collect();
        rows(&root.get(&format!("/?q={encoded}")))
    };
    assert_eq!(found(&format!("acme {ann}")), ids(&[&ann]));
    assert_eq!(found(&format!("{ann} ACME")), ids(&[&ann]));
    assert_eq!(found(&format!("slack {ann}")), Vec::<String>::new());
    assert_eq!(found("Not checked yet"), ids(&[&bob]));
    assert_eq!(found("acme not checked yet"), ids(&[&bob]));
    assert_eq!(found("slack not checked yet"), Vec::<String>::new());
}

#[test]
fn the_filters_show_what_they_say_and_a_value_without_a_meaning_shows_all() {
    let fixture = Fixture::new();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|who| fixture.connect(who));
    fixture
        .resolve_and_finish(&bob, ResolveRequest { workflow: Some("bill run".into()), ..Default::default() })
        .unwrap();
    set(&fixture, &ann, "environment = 'test', status = 'needs_reconnect'");
    set(&fixture, &bob, "app = 'slack', app_revision = 0, user_id = 'bob', is_shared = 1");
    set(&fixture, &cid, "user_id = NULL, is_shared = 1, status = 'awaiting_confirmation', is_unconfirmed = 1");
    let mut root = person(&fixture, "root", "admin");
    let all = [&ann, &cid, &bob];
    for (query, expected) in [
        ("app=slack", vec![&bob]),
        ("app=acme", vec![&ann, &cid]),
        ("status=needs_reconnect", vec![&ann]),
        ("status=connected", vec![&bob]),
        ("status=awaiting_confirmation", vec![&cid]),
        ("environment=test", vec![&ann]),
        ("environment=production", vec![]),
        ("owner=bob", vec![&bob]),
        ("owner=none", vec![&cid]),
        ("owner=nobody", vec![]),
        ("workflow=bill+run", vec![&bob]),
        ("workflow=bill", vec![]),
        ("app=acme&status=needs_reconnect&environment=test&owner=ann&q=ann", vec![&ann]),
        ("app=No!", all.to_vec()),
        ("status=nonsense", all.to_vec()),
        ("environment=moon", all.to_vec()),
        ("sort=nonsense&page=x", all.to_vec()),
        ("page=0", all.to_vec()),
        ("page=9", vec![]),
    ] {
        let page = root.get(&format!("/?{query}"));
        let (found, expected): (BTreeSet<_>, BTreeSet<_>) =
            (rows(&page).into_iter().collect(), ids(&expected).into_iter().collect());
        assert_eq!(found, expected, "{query}");
    }
    assert_eq!(root.get("/?cursor=nonsense").status, 422);
    let page = root.get("/?app=slack&q=zzz").body;
    assert!(page.contains("<option value=\"slack\" selected>Slack") && page.contains("Filters (1)"), "{page}");
    assert!(
        page.contains("<option value=\"none\">Nobody") && page.contains("No connection has “<bdi>zzz</bdi>”"),
        "{page}"
    );
    let mut member = person(&fixture, "ann", "member");
    assert_eq!(rows(&member.get("/?owner=bob")).len(), 3, "only an admin filters by owner");
    assert!(!member.get("/").body.contains("name=\"owner\""));
}

#[test]
fn the_list_is_sorted_by_the_headers_and_says_so() {
    let fixture = Fixture::new();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|who| fixture.connect(who));
    set(&fixture, &ann, "name = 'b', app = 'slack', app_revision = 0, last_used_at = 300");
    set(&fixture, &bob, "name = 'C', app = 'gmail', app_revision = 0, last_used_at = 100");
    set(&fixture, &cid, "name = 'a', status = 'needs_reconnect'");
    let mut root = person(&fixture, "root", "admin");
    for (sort, expected, says) in [
        ("name", [&cid, &ann, &bob], "aria-sort=\"ascending\"><a href=\"/?sort=-name\">Connection"),
        ("-name", [&bob, &ann, &cid], "aria-sort=\"descending\"><a href=\"/?sort=name\">Connection"),
        ("app", [&cid, &bob, &ann], "aria-sort=\"ascending\"><a href=\"/?sort=-app\">App"),
        ("-app", [&ann, &bob, &cid], "aria-sort=\"descending\"><a href=\"/?sort=app\">App"),
        ("-used", [&ann, &bob, &cid], "aria-sort=\"descending\"><a href=\"/?sort=used\">Last used"),
        ("used", [&cid, &bob, &ann], "aria-sort=\"ascending\"><a href=\"/?sort=-used\">Last used"),
    ] {
        let page = root.get(&format!("/?sort={sort}"));
        assert_eq!(rows(&page), ids(&expected), "{sort}");
        assert!(page.body.contains(says), "{sort}: {}", page.body);
        assert_eq!(page.body.matches("aria-sort").count(), 1, "{sort}");
    }
    assert_eq!(root.get("/").body.matches("aria-sort").count(), 0);
}

#[test]
fn the_numbers_are_those_of_what_the_person_sees() {
    let fixture = Fixture::new();
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|who| fixture.connect(who));
    set(&fixture, &ann, "user_id = 'ann', status = 'needs_reconnect'");
    set(&fixture, &bob, "user_id = 'bob', is_shared = 1, status = 'needs_reconnect'");
    set(&fixture, &cid, "user_id = 'cid', is_shared = 0, status = 'needs_reconnect'");
    let numbers = |browser: &mut TestBrowser<'_>| {
        let page = browser.get("/").body;
        let counts = page.split("class=\"count\">").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
        counts.collect::<Vec<_>>()
    };
    assert_eq!(numbers(&mut person(&fixture, "root", "admin")), ["3", "3"]);
    assert_eq!(numbers(&mut person(&fixture, "ann", "member")), ["2", "2"]);
    assert_eq!(numbers(&mut person(&fixture, "eve", "member")), ["1", "1"]);
    set(&fixture, &ann, "status = 'awaiting_confirmation', is_unconfirmed = 1");
    assert_eq!(numbers(&mut person(&fixture, "ann", "member")), ["2", "1", "1"]);
}

#[test]
fn what_nobody_has_tried_is_not_shown_as_working() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    let mut ann = person(&fixture, "ann", "member");
    assert!(ann.get("/").body.contains("status good"));
    fixture.world.db.tamper("UPDATE connections SET checked_at = NULL, check_evidence = NULL, refreshed_at = NULL");
    let page = ann.get("/").body;
    assert!(page.contains("Not checked yet") && !page.contains("status good"), "{page}");
    assert_eq!(rows(&ann.get("/?status=not_checked")).len(), 1);
}

#[test]
fn a_removed_app_keeps_its_name_and_is_not_offered_to_be_reconnected() {
    let fixture = Fixture::with_definition(&json!({ "name": "Acme Mail" }));
    let id = fixture.connect("ann");
    set(&fixture, &id, "status = 'needs_reconnect'");
    let mut ann = person(&fixture, "ann", "member");
    assert!(ann.get("/").body.contains(&format!("/connections/{id}/reconnect\">Reconnect")));
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Delete, "/v1/apps/acme", &Value::Null).0, 200);
    let page = ann.get("/").body;
    assert!(page.contains("<bdi>Acme Mail</bdi>") && !page.contains("<bdi>acme</bdi>"), "{page}");
    assert!(!page.contains("/reconnect"), "{page}");
}

/// Whose it is, decides whether a row is there: with every filter and in every order.
#[test]
fn no_filter_and_no_order_shows_what_a_person_may_not_see() {
    let fixture = Fixture::new();
    let [mine, theirs] = ["ann", "bob"].map(|who| fixture.connect(who));
    let same = "name = 'test', account_id = 'one', created_at = 1, connected_at = 1, last_used_at = NULL, checked_at = NULL, refreshed_at = NULL,
        failures = 3, expires_at = 1, refreshable = 0, scopes_granted = '[]', no_resources_message = 'x', environment = 'test'";
    set(&fixture, &mine, &format!("{same}, user_id = 'ann'"));
    set(&fixture, &theirs, &format!("{same}, user_id = 'bob', is_shared = 0"));
    for id in [&mine, &theirs] {
        fixture.world.db.tamper(&format!(
            "INSERT INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days)
            VALUES ('{id}', 'w', '', '{}', 1, 1, 1)",
            fixture.workspace
        ));
    }
    let statuses = ["connected", "needs_reconnect", "awaiting_confirmation"];
    let issues = Issue::ALL.iter().map(|one| one.as_str());
    let queries = statuses.into_iter().chain(issues).map(|status| format!("status={status}"));
    let others =
        ["", "q=test", "q=bob", "app=acme", "environment=test", "owner=bob", "owner=none", "workflow=w", "page=1"];
    let all: Vec<_> = queries.chain(others.map(str::to_owned)).chain([format!("q={theirs}")]).collect();
    let mut seen = BTreeSet::new();
    for status in statuses {
        fixture.world.db.tamper(&format!("UPDATE connections SET status = '{status}'"));
        for query in &all {
            for sort in ["", "name", "-name", "app", "used", "-used"] {
                let page = person_page(&fixture, &format!("/?{query}&sort={sort}"));
                assert!(
                    !page.contains(&format!("/connections/{theirs}")) && !page.contains("bob@acme"),
                    "{status} {query} {sort}: {page}"
                );
                if page.contains(mine.as_str()) {
                    seen.insert(query.clone());
                }
            }
        }
    }
    for query in
        ["status=not_checked", "status=forgotten", "status=unclear_name", "status=missing_scopes", "workflow=w"]
    {
        assert!(seen.contains(query), "{query}: {seen:?}");
    }
    assert!(!seen.contains("status=duplicate"), "the other one is somebody else's");
}

fn person_page(fixture: &Fixture, address: &str) -> String {
    thread_local! {
        static COOKIES: std::cell::RefCell<std::collections::BTreeMap<String, String>> = std::cell::RefCell::default();
    }
    let mut browser = TestBrowser::new(fixture);
    browser.cookies = COOKIES.with(|kept| kept.borrow().clone());
    if browser.cookies.is_empty() {
        browser.sign_in_as(&json!({ "user": { "id": "ann" }, "role": "member" }));
        COOKIES.with(|kept| kept.borrow_mut().clone_from(&browser.cookies));
    }
    let page = browser.get(address);
    assert_eq!(page.status, 200);
    page.body
}
