//! E-mail: who is told what and when, what stands in it, and what happens where the service or the database fails.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use connections::http::{self, Method, Response};
use connections::ids::ConnectionId;
use connections::ports::{Email, RefreshReason};
use connections::resolve::ResolveRequest;
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, request};
use crate::support::database::Fault;
use crate::support::small_ports::MailFault;
use crate::support::{Fixture, Reply};

const PATH: &str = "/v1/workspace/email";
const DAY: i64 = 86_400;

fn put(fixture: &Fixture, enabled: bool) -> (u16, Value) {
    call(fixture, &first_key(fixture), Method::Put, PATH, &json!({ "enabled": enabled }))
}

fn sign_in<'a>(fixture: &'a Fixture, id: &str, role: &str) -> TestBrowser<'a> {
    let mut browser = TestBrowser::new(fixture);
    let user = json!({ "id": id, "name": id, "email": format!("{id}@people.example") });
    browser.sign_in_as(&json!({ "user": user, "role": role }));
    browser
}

/// A workspace that is told by e-mail: ann owns what the fixture connects, root is an admin, mute is one without an address.
fn told_by_email() -> Fixture {
    let fixture = Fixture::new();
    fixture.world.mail.bound.set(true);
    sign_in(&fixture, "ann", "member");
    sign_in(&fixture, "root", "admin");
    TestBrowser::new(&fixture).sign_in_as(&json!({ "user": { "id": "mute" }, "role": "admin" }));
    let (status, settings) = put(&fixture, true);
    assert_eq!((status, &settings["enabled"], &settings["available"]), (200, &json!(true), &json!(true)), "{settings}");
    fixture
}

/// Scheduled runs every five minutes for so many seconds.
fn run_for(fixture: &Fixture, seconds: i64) {
    let end = fixture.world.now().plus(seconds);
    while fixture.world.now() < end {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
}

/// Scheduled runs until a few minutes after the next digests: fewer than there are in so long a time.
fn run_until_digest(fixture: &Fixture) {
    let since = (fixture.world.now().unix() - 7 * 3_600).rem_euclid(DAY);
    run_seldom(fixture, DAY - since);
    run_for(fixture, 900);
}

/// A scheduled run an hour, for so many seconds.
fn run_seldom(fixture: &Fixture, seconds: i64) {
    let mut left = seconds;
    while left > 0 {
        fixture.world.advance_clock(left.min(3_600));
        fixture.run_scheduled();
        left -= 3_600;
    }
}

fn take(fixture: &Fixture) -> Vec<Email> {
    fixture.world.mail.sent.take()
}

fn recipients(sent: &[Email]) -> Vec<&str> {
    let mut to: Vec<_> = sent.iter().map(|one| one.to.split('@').next().unwrap()).collect();
    to.sort_unstable();
    to
}

fn break_connection(fixture: &Fixture, id: &ConnectionId) {
    // What was refreshed just now is not refreshed again.
    fixture.world.advance_clock(60);
    fixture.world.acme.withdraw_grants("ann");
    fixture.refresh(id, RefreshReason::Force);
    assert_eq!(fixture.load_connection(id).status.as_str(), "needs_reconnect");
}

fn count(fixture: &Fixture, table: &str) -> i64 {
    fixture.world.db.query_number(&format!("SELECT count(*) FROM {table}"))
}

/// One of ann's, broken, and told of; what was sent before is forgotten.
fn connected(fixture: &Fixture) -> ConnectionId {
    let id = fixture.connect("ann");
    run_until_digest(fixture);
    take(fixture);
    id
}

fn stop_address(email: &Email) -> String {
    let header = &email.headers["List-Unsubscribe"];
    header.strip_prefix("<https://c.example.com").unwrap().strip_suffix('>').unwrap().to_owned()
}

/// What a mail program sends: no cookie, no origin.
fn one_click(fixture: &Fixture, path: &str) -> Response {
    let mut request = request(Method::Post, path, b"List-Unsubscribe=One-Click".to_vec());
    request.headers = vec![("content-type".into(), "application/x-www-form-urlencoded".into())];
    fixture.world.run(async { http::handle(&fixture.world.context(), &request).await })
}

// ---- who, what and when ----

/// Events of the fixture's connections, as if they had happened when these were made.
fn add_events(fixture: &Fixture, count: usize, event_type: &str, owner: &str, detail: Option<&str>) {
    let detail = detail.map_or("NULL".to_owned(), |detail| format!("'{detail}'"));
    fixture.world.db.tamper(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
        INSERT INTO outbox (id, workspace_id, type, occurred_at, connection_id, app, name, user_id, detail, workflow_count)
        SELECT 'evt_more' || n.i, c.workspace_id, '{event_type}', c.created_at, c.id, 'acme', 'Acme ' || n.i, '{owner}', {detail}, 0 FROM n, connections c"
    ));
}

#[test]
fn the_owner_is_told_at_once_and_admins_once_a_day() {
    let fixture = told_by_email();
    let id = fixture.connect("ann");
    run_for(&fixture, 900);
    assert_eq!(take(&fixture), [], "a new connection waits for the digest");
    run_until_digest(&fixture);
    let sent = take(&fixture);
    assert_eq!(recipients(&sent), ["ann", "root"]);
    assert!(
        sent.iter().all(|one| one.text.contains("Acme (ann@acme. example) (acme) was connected.")),
        "{}",
        sent[0].text
    );
    run_until_digest(&fixture);
    assert_eq!(take(&fixture), [], "nothing has happened since");

    let use_it = ResolveRequest { workflow: Some("billing".into()), ..ResolveRequest::default() };
    fixture.resolve_and_finish(&id, use_it).unwrap();
    break_connection(&fixture, &id);
    fixture.run_scheduled();
    assert_eq!(take(&fixture), [], "held for a run");
    run_for(&fixture, 600);
    let sent = take(&fixture);
    assert_eq!(recipients(&sent), ["ann"]);
    let email = &sent[0];
    assert_eq!((email.from.as_str(), email.to.as_str()), ("connections@example.com", "ann@people.example"));
    assert_eq!(email.subject, "1 workflow can’t run: reconnect Acme (ann@acme.example)");
    let link = format!("https://c.example.com/connections/{id}/reconnect");
    assert!(email.text.starts_with("1 workflow can’t run: billing.\n"), "the impact is first: {}", email.text);
    assert!(email.text.contains(&link) && email.html.contains(&format!("href=\"{link}\"")), "{}", email.text);
    assert!(email.text.contains("because you own connections in the workspace"), "{}", email.text);
    run_for(&fixture, 3_600);
    assert_eq!(take(&fixture), [], "once");
    run_until_digest(&fixture);
    let sent = take(&fixture);
    assert_eq!(recipients(&sent), ["root"], "who was told at once is not told again");
    assert!(sent[0].text.contains(&link) && sent[0].subject.contains("need you"), "{}", sent[0].subject);

    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    run_until_digest(&fixture);
    let sent = take(&fixture);
    assert_eq!(recipients(&sent), ["ann", "root"]);
    assert!(sent.iter().all(|one| one.text.contains("works again")), "{}", sent[0].text);
    assert_eq!(count(&fixture, "deliveries WHERE status <> 'delivered'"), 0);
    assert_eq!(count(&fixture, "emails WHERE status NOT IN ('sent', 'waiting')"), 0);
}

#[test]
fn admins_are_told_at_once_of_what_has_no_owner() {
    let fixture = told_by_email();
    let id = connected(&fixture);
    fixture.world.db.tamper("UPDATE connections SET user_id = NULL, is_shared = 1");
    break_connection(&fixture, &id);
    run_for(&fixture, 900);
    let sent = take(&fixture);
    assert_eq!(recipients(&sent), ["root"]);
    assert!(sent[0].text.contains("because you are an admin"), "{}", sent[0].text);
}

#[test]
fn admins_are_told_at_once_when_an_app_refuses_the_client() {
    let fixture = told_by_email();
    let id = connected(&fixture);
    for _ in 0..5 {
        fixture.world.acme.script_next("/token", Reply::status(401, r#"{"error":"invalid_client"}"#));
        fixture.world.advance_clock(3_600);
        fixture.refresh(&id, RefreshReason::Force);
    }
    run_for(&fixture, 600);
    let sent = take(&fixture);
    assert_eq!(recipients(&sent), ["root"]);
    assert!(sent[0].text.contains("https://c.example.com/settings/apps/acme"), "{}", sent[0].text);
    assert!(sent[0].subject.starts_with("acme refuses the OAuth client"), "{}", sent[0].subject);
}

#[test]
fn several_that_break_at_once_are_one_email() {
    let fixture = told_by_email();
    let first = connected(&fixture);
    add_events(&fixture, 5, "connection.needs_reconnect", "ann", Some("revoked"));
    break_connection(&fixture, &first);
    run_for(&fixture, 900);
    let sent = take(&fixture);
    let of_ann: Vec<_> = sent.iter().filter(|one| one.to.starts_with("ann@")).collect();
    assert!(of_ann.len() <= 2, "{}", of_ann.len());
    assert!(of_ann.iter().any(|one| one.subject == "6 connections must be reconnected"), "{:?}", of_ann[0].subject);
}

#[test]
fn what_is_repaired_before_the_service_works_again_is_told_as_that() {
    let fixture = told_by_email();
    let id = connected(&fixture);
    fixture.world.mail.faults.borrow_mut().insert(String::new(), MailFault::Refuses("E_RATE_LIMIT_EXCEEDED"));
    break_connection(&fixture, &id);
    run_for(&fixture, 900);
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    fixture.world.mail.faults.take();
    run_for(&fixture, 3_600);
    assert_eq!(take(&fixture), []);
    assert_eq!(count(&fixture, "emails WHERE status = 'dropped'"), 1);
    run_until_digest(&fixture);
    let sent = take(&fixture);
    assert_eq!(recipients(&sent), ["ann", "root"]);
    assert!(sent.iter().all(|one| one.text.contains("works again") && !one.text.contains("must be reconnected")));
}

#[test]
fn a_webhook_that_was_switched_off_is_told_with_its_host_alone() {
    let fixture = told_by_email();
    let body =
        json!({ "url": "https://hooks.example/in/path-secret-of-receiver?key=1", "types": ["connection.created"] });
    let (status, webhook) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/webhooks", &body);
    assert_eq!(status, 201);
    let answers = |status: u16| {
        *fixture.world.acme.interceptor.borrow_mut() = Some(Box::new(move |request| {
            (request.url.host() == "hooks.example").then(|| connections::ports::AppResponse {
                status,
                headers: vec![],
                body: vec![],
            })
        }));
    };
    answers(500);
    for day in 0..6 {
        fixture.connect(&format!("account-{day}"));
        run_seldom(&fixture, DAY);
    }
    let sent: Vec<_> = take(&fixture).into_iter().filter(|one| one.subject.contains("webhook")).collect();
    assert_eq!(recipients(&sent), ["root"]);
    let page = format!("https://c.example.com/settings/webhooks/{}", webhook["id"].as_str().unwrap());
    assert!(sent[0].text.contains("hooks. example") && sent[0].text.contains("five days"), "{}", sent[0].text);
    assert!(sent[0].text.contains(&page) && !sent[0].text.contains("path-secret-of-receiver"), "{}", sent[0].text);
    // Whoever switches it off themselves knows.
    let path = format!("/v1/webhooks/{}", webhook["id"].as_str().unwrap());
    for enabled in [true, false] {
        let body = json!({ "enabled": enabled });
        assert_eq!(call(&fixture, &first_key(&fixture), Method::Patch, &path, &body).0, 200);
    }
    run_for(&fixture, 900);
    assert!(take(&fixture).iter().all(|one| !one.subject.contains("webhook")));
}

#[test]
fn a_long_day_is_one_digest_that_says_how_much_it_leaves_out() {
    let fixture = told_by_email();
    fixture.connect("ann");
    add_events(&fixture, 699, "connection.created", "bob", None);
    // What needs a person is named, however much happened before it.
    fixture.world.db.tamper(
        "INSERT INTO outbox (id, workspace_id, type, occurred_at, connection_id, app, name, user_id, detail, workflow_count)
        SELECT 'evt_needs', workspace_id, 'connection.missing_scopes', created_at + 60, id, 'acme', 'Lacking', 'bob', 'write', 0 FROM connections",
    );
    run_until_digest(&fixture);
    let sent = take(&fixture);
    assert_eq!(recipients(&sent), ["ann", "root"], "bob has no address");
    let of_root = sent.iter().find(|one| one.to.starts_with("root@")).unwrap();
    assert_eq!((of_root.text.matches("was connected").count(), of_root.text.matches("Lacking").count()), (99, 1));
    assert!(of_root.text.contains("And 601 more.") && of_root.subject.contains("701"), "{}", of_root.subject);
    let of_ann = sent.iter().find(|one| one.to.starts_with("ann@")).unwrap();
    assert_eq!(of_ann.text.matches("was connected").count(), 1, "her own");
}

// ---- whom not ----

#[test]
fn nothing_is_sent_without_the_binding_or_where_it_is_off() {
    let fixture = Fixture::new();
    let (status, refused) = put(&fixture, true);
    assert_eq!((status, &refused["code"]), (409, &json!("conflict")));
    let shown = call(&fixture, &first_key(&fixture), Method::Get, PATH, &Value::Null).1;
    let nothing =
        json!({ "enabled": false, "available": false, "from": null, "last_sent_at": null, "last_failure": null });
    assert_eq!(shown, nothing);
    fixture.connect("ann");
    assert_eq!(count(&fixture, "outbox"), 0);

    let fixture = told_by_email();
    fixture.connect("ann");
    run_for(&fixture, 900);
    assert_eq!(put(&fixture, false).1["enabled"], false);
    fixture.connect("bob");
    run_until_digest(&fixture);
    assert_eq!(take(&fixture), [], "what waited is dropped");
    let lines = call(&fixture, &first_key(&fixture), Method::Get, "/v1/events?type=workspace_changed", &Value::Null).1;
    let details: Vec<_> = lines["data"].as_array().unwrap().iter().map(|one| one["detail"].clone()).collect();
    assert_eq!(details, ["e-mail: off", "e-mail: on"]);

    // No longer bound: what is on stays on, and costs the runs nothing.
    assert_eq!(put(&fixture, true).0, 200);
    assert_eq!(put(&fixture, true).0, 200, "twice is once");
    assert_eq!(count(&fixture, "subscriptions"), 1);
    fixture.world.mail.bound.set(false);
    fixture.connect("cid");
    run_until_digest(&fixture);
    assert_eq!((take(&fixture), count(&fixture, "subscriptions WHERE due_at IS NOT NULL")), (vec![], 0));
}

#[test]
fn a_person_is_told_what_they_may_know_when_it_is_sent() {
    let fixture = told_by_email();
    fixture.connect("bob");
    run_for(&fixture, 900);
    assert_eq!(count(&fixture, "emails WHERE user_id = 'root'"), 1);
    let demoted = json!({ "role": "member" });
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Patch, "/v1/people/root", &demoted).0, 200);
    fixture.connect("cid");
    run_for(&fixture, 900);
    let removed = call(&fixture, &first_key(&fixture), Method::Delete, "/v1/people/ann", &Value::Null);
    assert_eq!(removed.0, 200, "{}", removed.1);
    assert_eq!(count(&fixture, "emails WHERE user_id = 'ann'"), 0);
    run_until_digest(&fixture);
    let sent = take(&fixture);
    assert!(
        sent.iter().all(|one| !one.to.starts_with("root@") && !one.to.starts_with("ann@")),
        "{:?}",
        recipients(&sent)
    );
}

#[test]
fn an_address_counts_from_when_its_sign_in_link_is_used() {
    let fixture = told_by_email();
    let address = || fixture.world.db.query_value("SELECT email FROM people WHERE user_id = 'ann'");
    assert_eq!(address(), "ann@people.example");
    let new = json!({ "user": { "id": "ann", "email": "new@people.example" } });
    let (_, made) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/sign-in-links", &new);
    assert_eq!(address(), "ann@people.example", "nobody has used it");
    let path = made["url"].as_str().unwrap().trim_start_matches("https://c.example.com").to_owned();
    assert_eq!(TestBrowser::new(&fixture).press(&path).status, 303);
    assert_eq!(address(), "new@people.example");
    for text in
        ["a@b.example, eve@evil.example", "Eve <eve@evil.example>", "eve@evil.example\r\nBcc: x@y.example", "eve"]
    {
        TestBrowser::new(&fixture).sign_in_as(&json!({ "user": { "id": "ann", "name": "Ann", "email": text } }));
        assert_eq!(address(), "new@people.example", "{text}");
    }
    TestBrowser::new(&fixture).sign_in_as(&json!({ "user": { "id": "ann" } }));
    assert_eq!(address(), "new@people.example", "a sign-in without an address changes none");
    // An admin invites by an address.
    let page = "/settings/people";
    let fields = "user_id=eve%40people.example&user_name=&role=member";
    let invited = sign_in(&fixture, "root", "admin").post(page, page, fields);
    let link = invited.body.split("https://c.example.com/sign-in/").nth(1).unwrap().split(['<', '"']).next().unwrap();
    assert_eq!(TestBrowser::new(&fixture).press(&format!("/sign-in/{link}")).status, 303);
    assert_eq!(count(&fixture, "people WHERE user_id = email AND email = 'eve@people.example'"), 1);
}

#[test]
fn a_person_chooses_what_they_get_and_ends_it_from_an_email() {
    let fixture = told_by_email();
    let id = connected(&fixture);
    let mut ann = sign_in(&fixture, "ann", "member");
    let page = ann.get("/email");
    assert!(page.body.contains("ann@people.example") && page.body.contains("value=\"all\" checked"), "{}", page.body);
    assert!(ann.get("/").body.contains("href=\"/email\""), "the page can be found");
    assert_eq!(ann.post("/email", "/email", "emails=urgent").status, 303);
    assert_eq!(ann.post("/email", "/email", "emails=sometimes").status, 422);
    assert!(ann.get("/email").body.contains("value=\"urgent\" checked"));
    fixture.connect("bob");
    run_until_digest(&fixture);
    assert_eq!(recipients(&take(&fixture)), ["root"], "no digest for ann");
    break_connection(&fixture, &id);
    run_for(&fixture, 900);
    let sent = take(&fixture);
    assert_eq!(recipients(&sent), ["ann"]);

    // The address in the e-mail: looking at it changes nothing, and neither does a made-up one.
    let path = stop_address(&sent[0]);
    assert!(sent[0].text.contains(&format!("https://c.example.com{path}")));
    assert_eq!(sent[0].headers["List-Unsubscribe-Post"], "List-Unsubscribe=One-Click");
    let preference = || fixture.world.db.query_value("SELECT email_preference FROM people WHERE user_id = 'ann'");
    let looked = TestBrowser::new(&fixture).get(&path);
    assert_eq!((looked.status, preference()), (200, json!("urgent")));
    assert!(looked.body.contains("Stop e-mails from"), "{}", looked.body);
    let mut forged = path.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    for wrong in [forged.as_str(), "/email/stop/x", "/email/stop/cx1.k1.AAAA"] {
        assert_eq!(one_click(&fixture, wrong).status, 410, "{wrong}");
        assert_eq!(TestBrowser::new(&fixture).get(wrong).status, 410, "{wrong}");
    }
    assert_eq!(preference(), "urgent");
    assert_eq!(one_click(&fixture, &path).status, 200);
    assert_eq!(preference(), "none");
    let line =
        call(&fixture, &first_key(&fixture), Method::Get, "/v1/events?type=email_preference_changed", &Value::Null).1;
    assert_eq!(
        (&line["data"][0]["actor"], &line["data"][0]["target"], &line["data"][0]["detail"]),
        (&json!("user:ann"), &json!("ann"), &json!("none"))
    );
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    run_for(&fixture, 900);
    break_connection(&fixture, &id);
    run_until_digest(&fixture);
    assert_eq!(recipients(&take(&fixture)), ["root"]);
    // Whoever wants e-mail again chooses it after a sign-in.
    let mut ann = sign_in(&fixture, "ann", "member");
    assert_eq!(ann.post("/email", "/email", "emails=all").status, 303);
    assert_eq!(preference(), Value::Null);
}

#[test]
fn an_address_that_ends_emails_ends_those_of_its_own_workspace() {
    let fixture = told_by_email();
    let other = fixture.other_workspace();
    sign_in(&other, "ann", "member");
    connected(&fixture);
    fixture.connect("bob");
    run_until_digest(&fixture);
    let path = stop_address(take(&fixture).iter().find(|one| one.to.starts_with("ann@")).unwrap());
    assert_eq!(one_click(&fixture, &path).status, 200);
    let chosen = format!(
        "people WHERE email_preference = 'none' AND user_id = 'ann' AND workspace_id = '{}'",
        fixture.workspace
    );
    assert_eq!((count(&fixture, &chosen), count(&fixture, "people WHERE email_preference IS NOT NULL")), (1, 1));
    let delete = format!("/v1/workspaces/{}", fixture.workspace);
    assert_eq!(call(&fixture, "abcdefghijklmnopqrstuvwxyz0123456789", Method::Delete, &delete, &Value::Null).0, 200);
    assert_eq!(one_click(&fixture, &path).status, 410, "the workspace is gone");
    run_for(&fixture, 3_600);
    assert_eq!(count(&fixture, &format!("emails WHERE workspace_id = '{}'", fixture.workspace)), 0);
}

// ---- what stands in it ----

#[test]
fn an_email_loads_nothing_and_a_name_cannot_change_what_it_is() {
    let fixture = told_by_email();
    let id = connected(&fixture);
    fixture.world.db.tamper(
        "UPDATE connections SET name = '</p><a href=''https://evil.example''>x</a>' || char(13) || char(10) || 'Bcc: x@y.example' || char(8238) || 'abc'",
    );
    fixture.world.db.tamper("UPDATE workspaces SET name = 'W' || char(10) || char(10) || '<img src=x>'");
    let use_it = ResolveRequest { workflow: Some("<b>{name}</b>".into()), ..ResolveRequest::default() };
    fixture.resolve_and_finish(&id, use_it).unwrap();
    break_connection(&fixture, &id);
    run_until_digest(&fixture);
    let sent = take(&fixture);
    assert_eq!(recipients(&sent), ["ann", "root"]);
    for email in &sent {
        assert!(!email.subject.contains(['\r', '\n', '\u{202e}']), "{:?}", email.subject);
        assert!(!email.text.contains("\nBcc:") && !email.text.contains('\u{202e}'), "{}", email.text);
        assert!(
            email.html.contains("&lt;<span>/</span>p&gt;")
                && email.html.contains("&lt;b&gt;{name}&lt;<span>/</span>b&gt;"),
            "{}",
            email.html
        );
        for loaded in ["<img", "src=", "<script", "<style", "<link", "url(", "http://", "@import", "background"] {
            assert!(!email.html.replace("&lt;img src=", "").contains(loaded), "{loaded}: {}", email.html);
        }
        // Each link is one of ours, and the same for everybody but the one that ends the e-mail.
        let links: Vec<_> = email.html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(links.iter().all(|one| one.starts_with("https://c.example.com/")), "{links:?}");
        assert!(links.iter().all(|one| !one.contains('?')), "{links:?}");
        assert_eq!(links.iter().filter(|one| one.contains("/email/stop/")).count(), 1);
        let plain: BTreeSet<_> = email.headers.keys().copied().collect();
        assert_eq!(plain, BTreeSet::from(["Auto-Submitted", "List-Unsubscribe", "List-Unsubscribe-Post"]));
    }
}

/// What mail programs make links of in a text that has none: words with a dot inside, with a scheme, or of a file server.
fn addresses_in(text: &str) -> Vec<String> {
    let is_address = |word: &&str| {
        let letters: Vec<char> = word.chars().collect();
        let has_parts = letters.windows(3).any(|three| {
            matches!(three[1], '.' | '\u{3002}' | ':') && three[0].is_alphanumeric() && !three[2].is_whitespace()
        });
        has_parts || word.starts_with("\\\\") || word.contains("://")
    };
    text.split_whitespace().filter(is_address).map(str::to_owned).collect()
}

/// The texts between the elements of a page that are shown, without those of its links.
fn texts_outside_links(html: &str) -> Vec<String> {
    let body = html.split("<body>").nth(1).unwrap();
    let without_links = body.split("<a ").map(|part| part.split_once("</a>").map_or(part, |(_, after)| after));
    without_links.flat_map(|part| part.split('<')).map(|part| part.split('>').next_back().unwrap().to_owned()).collect()
}

#[test]
fn no_name_becomes_a_link_in_a_mail_program() {
    for name in [
        "evil.example/login",
        "https://evil.example",
        "www.evil.example",
        "help@evil.example",
        "mailto:help@evil.example",
        r"\\evil\share",
        "evil\u{3002}example",
        "10.0.0.1/login",
    ] {
        let fixture = told_by_email();
        let id = connected(&fixture);
        fixture.world.db.tamper(&format!("UPDATE connections SET name = '{name}'"));
        fixture.world.db.tamper(&format!("UPDATE workspaces SET name = '{name}'"));
        let use_it = ResolveRequest { workflow: Some(name.into()), ..ResolveRequest::default() };
        fixture.resolve_and_finish(&id, use_it).unwrap();
        break_connection(&fixture, &id);
        run_until_digest(&fixture);
        let sent = take(&fixture);
        assert_eq!(recipients(&sent), ["ann", "root"]);
        for email in &sent {
            let mut found = addresses_in(&email.text);
            found.retain(|one| !one.starts_with("https://c.example.com/"));
            assert_eq!(found, [""; 0], "{}", email.text);
            let shown = texts_outside_links(&email.html);
            assert!(shown.iter().all(|text| addresses_in(text).is_empty()), "{shown:?}");
            // Nothing is left out or added where it is shown.
            assert_eq!(shown.concat().matches(name).count(), 3, "{}", email.html);
        }
    }
}

#[test]
fn neither_addresses_nor_texts_are_logged_or_kept() {
    let fixture = told_by_email();
    let id = connected(&fixture);
    break_connection(&fixture, &id);
    fixture
        .world
        .mail
        .faults
        .borrow_mut()
        .insert("ann@people.example".into(), MailFault::Refuses("E_RECIPIENT_SUPPRESSED"));
    run_until_digest(&fixture);
    let sent = take(&fixture);
    assert_eq!(recipients(&sent), ["root"]);
    assert_eq!(fixture.world.log.count_events("email_not_sent"), 1);
    let log = fixture.world.log.dump_lines();
    assert!(
        log.contains("E_RECIPIENT_SUPPRESSED") && !log.contains("people.example") && !log.contains("/email/stop"),
        "{log}"
    );
    let stored = fixture.world.db.dump_tables();
    assert!(!stored.contains("/email/stop") && !stored.contains(&sent[0].subject));
    assert_eq!(format!("{:?}", sent[0]), "Email(…)");
    let shown = call(&fixture, &first_key(&fixture), Method::Get, PATH, &Value::Null).1;
    assert_eq!(shown["last_failure"]["code"], "E_RECIPIENT_SUPPRESSED");
    assert!(shown["last_sent_at"].is_string());
}

// ---- faults ----

/// What of an event was told to a person, in how many e-mails.
fn tellings(sent: &[Email], to: &str, words: &str) -> usize {
    sent.iter().filter(|one| one.to.starts_with(to) && one.text.contains(words)).count()
}

#[test]
fn an_email_of_unknown_fate_is_not_sent_again_and_its_news_is_in_the_next_digest() {
    for (fault, arrived) in [(MailFault::IsSilent, 0), (MailFault::LosesAnswer, 1)] {
        let fixture = told_by_email();
        let id = connected(&fixture);
        fixture.world.mail.faults.borrow_mut().insert(String::new(), fault.clone());
        break_connection(&fixture, &id);
        run_for(&fixture, 900);
        fixture.world.mail.faults.take();
        run_for(&fixture, 7_200);
        let sent = take(&fixture);
        assert_eq!(sent.len(), arrived, "{fault:?}: not again");
        assert_eq!(count(&fixture, "emails WHERE status = 'unknown' AND kind = 'urgent'"), 1);
        let shown = call(&fixture, &first_key(&fixture), Method::Get, PATH, &Value::Null).1;
        assert_eq!(shown["last_failure"]["code"], "no_answer");
        run_until_digest(&fixture);
        let sent = take(&fixture);
        assert_eq!(recipients(&sent), ["ann", "root"], "{fault:?}");
        assert!(sent.iter().all(|one| one.text.contains("must be reconnected")), "{fault:?}");
        run_until_digest(&fixture);
        assert_eq!(take(&fixture), []);
    }
}

#[test]
fn a_full_digest_takes_from_an_email_of_unknown_fate_what_needs_a_person() {
    let fixture = told_by_email();
    fixture.connect("ann");
    // More than a digest lists, all older than what breaks next.
    add_events(&fixture, 119, "connection.created", "ann", None);
    run_for(&fixture, 900);
    let id = fixture.connect("bob");
    fixture.world.db.tamper(&format!("UPDATE connections SET name = 'Broken' WHERE id = '{id}'"));
    fixture.world.mail.faults.borrow_mut().insert(String::new(), MailFault::IsSilent);
    fixture.world.advance_clock(60);
    fixture.world.acme.withdraw_grants("bob");
    fixture.refresh(&id, RefreshReason::Force);
    run_for(&fixture, 900);
    assert_eq!(count(&fixture, "emails WHERE status = 'unknown' AND kind = 'urgent'"), 1);
    fixture.world.mail.faults.take();
    run_until_digest(&fixture);
    let sent = take(&fixture);
    let of_ann = sent.iter().find(|one| one.to.starts_with("ann@")).unwrap();
    assert!(of_ann.text.contains("Broken (acme) must be reconnected"), "{}", of_ann.text);
    assert_eq!(of_ann.text.matches("was connected").count(), 99);
    assert!(of_ann.subject.contains("need you"), "{}", of_ann.subject);
}

#[test]
fn the_schema_knows_the_same_events_that_need_nobody() {
    let trigger = "SELECT sql FROM sqlite_schema WHERE name = 'unknown_emails_are_told_again'";
    let sql = Fixture::new().world.db.query_value(trigger);
    let list = sql.as_str().unwrap().split("coalesce(o.type, '') IN (").nth(1).unwrap().split(')').next().unwrap();
    let named: BTreeSet<_> = list.split(',').map(|one| one.trim().trim_matches('\'').to_owned()).collect();
    assert_eq!(named, connections::email::calm_types().into_iter().map(str::to_owned).collect());
}

#[test]
fn what_the_service_refuses_for_now_is_tried_for_three_days_and_for_good_once() {
    for (code, tries) in [("E_DAILY_LIMIT_EXCEEDED", 10), ("E_SENDER_NOT_VERIFIED", 10), ("E_RECIPIENT_SUPPRESSED", 1)]
    {
        let fixture = told_by_email();
        let id = connected(&fixture);
        fixture.world.mail.faults.borrow_mut().insert(String::new(), MailFault::Refuses(code));
        break_connection(&fixture, &id);
        run_seldom(&fixture, 5 * DAY);
        assert_eq!(take(&fixture), []);
        let attempts = fixture.world.db.query_number("SELECT attempts FROM emails WHERE kind = 'urgent'");
        assert_eq!(
            (attempts, count(&fixture, "emails WHERE kind = 'urgent' AND status = 'failed'")),
            (tries, 1),
            "{code}"
        );
    }
    let fixture = told_by_email();
    let id = connected(&fixture);
    fixture.world.mail.faults.borrow_mut().insert(String::new(), MailFault::Refuses("E_RATE_LIMIT_EXCEEDED"));
    break_connection(&fixture, &id);
    run_for(&fixture, 900);
    fixture.world.mail.faults.take();
    run_for(&fixture, 1_800);
    assert_eq!(recipients(&take(&fixture)), ["ann"], "it was not sent before");
}

#[test]
fn faults_of_the_database_at_any_step_lose_no_news_and_send_no_email_twice() {
    let mut hit = 0;
    for fault in [Fault::BeforeCommit, Fault::AfterCommit, Fault::NoAnswer] {
        for step in 0..16 {
            let fixture = told_by_email();
            let id = connected(&fixture);
            break_connection(&fixture, &id);
            fixture.world.advance_clock(600);
            let batches = Cell::new(0);
            *fixture.world.db.fault_plan.borrow_mut() = Some(Box::new(move |_| {
                batches.set(batches.get() + 1);
                (batches.get() == step + 1).then_some(fault)
            }));
            let (context, now) = (fixture.world.context(), fixture.world.now());
            let ended = fixture.world.run(async { connections::check::run_scheduled(&context, now).await });
            fixture.world.db.fault_plan.take();
            hit += i32::from(ended.is_err());
            run_for(&fixture, 1_200);
            let at_once = take(&fixture);
            assert!(at_once.len() <= 1, "{fault:?} at step {step}: {}", at_once.len());
            run_until_digest(&fixture);
            let digests = take(&fixture);
            let told =
                tellings(&at_once, "ann@", "must be reconnected") + tellings(&digests, "ann@", "must be reconnected");
            assert!((1..=2).contains(&told), "{fault:?} at step {step}: ann was told {told} times");
            assert_eq!(tellings(&digests, "root@", "must be reconnected"), 1, "{fault:?} at step {step}");
            run_until_digest(&fixture);
            assert_eq!(take(&fixture), [], "{fault:?} at step {step}");
            assert_eq!(count(&fixture, "emails WHERE status IN ('waiting', 'sending')"), 0, "{fault:?} at step {step}");
        }
    }
    assert!(hit > 6, "the faults were hit: {hit}");
}

#[test]
fn two_runs_at_the_same_moment_send_each_email_once() {
    let fixture = told_by_email();
    let id = connected(&fixture);
    break_connection(&fixture, &id);
    fixture.world.advance_clock(600);
    let run = || {
        let (context, now) = (fixture.world.context(), fixture.world.now());
        fixture.world.runtime.spawn(async move { connections::check::run_scheduled(&context, now).await.unwrap() })
    };
    let runs = [run(), run(), run()];
    fixture.world.run(async {
        for one in runs {
            one.await;
        }
    });
    assert_eq!(recipients(&take(&fixture)), ["ann"]);
    run_until_digest(&fixture);
    assert_eq!(recipients(&take(&fixture)), ["root"]);
}

#[test]
fn many_emails_stay_within_the_subrequests_of_a_run() {
    let fixture = told_by_email();
    fixture.connect("ann");
    fixture.world.db.tamper(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
        INSERT INTO people (workspace_id, user_id, role, created_at, email)
        SELECT w.id, 'p' || n.i, 'member', 1, 'p' || n.i || '@people.example' FROM n, workspaces w",
    );
    fixture.world.db.tamper(
        "INSERT INTO outbox (id, workspace_id, type, occurred_at, connection_id, app, name, user_id, workflow_count)
        SELECT 'evt_' || p.user_id, c.workspace_id, 'connection.created', c.created_at, c.id, 'acme', 'Acme', p.user_id, 0
        FROM connections c, people p WHERE p.email IS NOT NULL",
    );
    run_until_digest(&fixture);
    run_for(&fixture, 7_200);
    let sent = take(&fixture);
    let to: BTreeSet<_> = sent.iter().map(|one| one.to.clone()).collect();
    assert_eq!((sent.len(), to.len()), (62, 62), "each once");
    assert_eq!(count(&fixture, "emails WHERE error IS NOT NULL"), 0, "no run was cut off");
}

#[test]
fn a_search_for_due_emails_does_not_grow_with_what_was_sent() {
    let cost = |others: i64| {
        let fixture = told_by_email();
        fixture.world.db.tamper(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {others})
            INSERT INTO emails (id, workspace_id, user_id, kind, events, event_count, created_at, status, due_at)
            SELECT 'eml_' || n.i, w.id, 'p' || n.i, 'digest', '[]', 0, 2000000000, iif(n.i % 2, 'sent', 'waiting'), iif(n.i % 2, NULL, 3000000000)
            FROM n, workspaces w"
        ));
        fixture.run_scheduled();
        fixture.world.db.reset_counts();
        fixture.run_scheduled();
        fixture.world.db.vm_steps.get()
    };
    let (few, many) = (cost(10), cost(1_000));
    assert!(many <= few + few / 20, "{few} and {many}");
}

// ---- the operator ----

#[test]
fn the_operator_sees_whether_e_mail_is_sent() {
    let status = |fixture: &Fixture| {
        let key = "abcdefghijklmnopqrstuvwxyz0123456789";
        call(fixture, key, Method::Get, "/v1/status", &Value::Null).1["email"].clone()
    };
    let nothing = json!({ "bound": false, "from": null, "waiting": 0, "oldest_due_at": null, "last_failure": null });
    assert_eq!(status(&Fixture::new()), nothing);

    let fixture = told_by_email();
    let id = connected(&fixture);
    let good = json!({
        "bound": true, "from": "connections@example.com", "waiting": 0, "oldest_due_at": null, "last_failure": null,
    });
    assert_eq!(status(&fixture), good);
    fixture.world.mail.faults.borrow_mut().insert(String::new(), MailFault::Refuses("E_RATE_LIMIT_EXCEEDED"));
    break_connection(&fixture, &id);
    run_for(&fixture, 900);
    let shown = status(&fixture);
    assert_eq!((&shown["waiting"], &shown["oldest_due_at"]), (&json!(2), &Value::Null), "one more try, and a digest");
    assert_eq!(shown["last_failure"]["code"], "E_RATE_LIMIT_EXCEEDED");
    assert!(shown["last_failure"]["at"].is_string());
    // No run begins.
    fixture.world.advance_clock(7_200);
    assert!(status(&fixture)["oldest_due_at"].is_string());
    fixture.world.mail.faults.take();
    run_for(&fixture, 900);
    let shown = status(&fixture);
    assert_eq!((&shown["waiting"], &shown["oldest_due_at"]), (&json!(1), &Value::Null));
    assert_eq!(shown["last_failure"]["code"], "E_RATE_LIMIT_EXCEEDED", "it has failed this week");
    run_seldom(&fixture, 8 * DAY);
    assert_eq!(status(&fixture), good);

    fixture.world.db.tamper(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10005)
        INSERT INTO emails (id, workspace_id, user_id, kind, events, event_count, created_at, status, due_at)
        SELECT 'eml_' || n.i, w.id, 'p' || n.i, 'digest', '[]', 0, 2000000000, 'waiting', 3000000000 FROM n, workspaces w",
    );
    assert_eq!(status(&fixture)["waiting"], 10_000, "it reads no more");
}

// ---- the page of the admins ----

#[test]
fn an_admin_turns_it_on_and_sends_a_test_to_themselves() {
    let fixture = Fixture::new();
    let mut root = sign_in(&fixture, "root", "admin");
    let page = "/settings/email";
    assert!(root.get(page).body.contains("can’t send e-mail yet"));
    let refused = root.post(page, page, "enabled=yes");
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(root.post(page, &format!("{page}/test"), "").status, 409);

    fixture.world.mail.bound.set(true);
    assert!(root.get(page).body.contains("root@people.example"));
    assert_eq!(root.post(page, page, "enabled=yes").status, 303);
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Get, PATH, &Value::Null).1["enabled"], true);
    let tested = root.post(page, &format!("{page}/test"), "");
    assert!(tested.status == 200 && tested.body.contains("Sent to"), "{}", tested.body);
    let sent = take(&fixture);
    assert_eq!((recipients(&sent), sent[0].subject.as_str()), (vec!["root"], "Test from Connections"));
    for (fault, says) in [
        (MailFault::Refuses("E_SENDER_NOT_VERIFIED"), "isn’t set up for sending"),
        (MailFault::IsSilent, "did not answer"),
    ] {
        fixture.world.mail.faults.borrow_mut().insert(String::new(), fault);
        fixture.world.advance_clock(1);
        let tested = root.post(page, &format!("{page}/test"), "");
        assert!(tested.status == 200 && tested.body.contains(says), "{}", tested.body);
    }
    let shown = root.get(page).body;
    assert!(shown.contains("Failing") && shown.contains("the service did not answer"), "{shown}");
    assert_eq!(root.post(page, page, "enabled=no").status, 303);
    assert_eq!(count(&fixture, "subscriptions"), 0);

    let mut mute = TestBrowser::new(&fixture);
    mute.sign_in_as(&json!({ "user": { "id": "mute" }, "role": "admin" }));
    assert!(mute.get(page).body.contains("don’t know"));
    assert_eq!(mute.post(page, &format!("{page}/test"), "").status, 409);
}

#[test]
fn a_limited_key_neither_sees_nor_changes_whether_a_workspace_is_told() {
    let fixture = told_by_email();
    let mut answers = BTreeMap::new();
    for scope in ["webhooks", "keys", "resolve"] {
        let key = json!({ "name": "k", "scopes": [scope] });
        let (_, made) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/keys", &key);
        let text = made["key"].as_str().unwrap().to_owned();
        answers.insert(scope, call(&fixture, &text, Method::Get, PATH, &Value::Null).0);
    }
    assert_eq!(answers, BTreeMap::from([("keys", 403), ("resolve", 403), ("webhooks", 200)]));
}
