//! Every route for people, with every kind of person and of connection: generated from the table of routes.
//!
//! The rules stand here a second time, independently of the program. What a person may not see is 404 and its name is in
//! no answer. What a person may see and not change is 403, and stays as it was.

use connections::authorize::{Action, RequiredRole, Resource};
use connections::http::Method;
use connections::http::routes::{ROUTES, RequiredAuth, RouteEntry};
use connections::ids::ConnectionId;
use serde_json::json;

use crate::http::TestBrowser;
use crate::support::Fixture;

/// Who opens a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Person {
    Ann,
    Admin,
    AdminOfOtherWorkspace,
    SignedOut,
}

/// Whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ownership {
    Anns,
    AnnsAndShared,
    Bobs,
    BobsAndShared,
    Workspaces,
    /// Of somebody who left.
    Nobodys,
}

/// What is expected of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Allowed,
    Forbidden,
    Missing,
    SignInFirst,
}

const PEOPLE: [Person; 4] = [Person::Ann, Person::Admin, Person::AdminOfOtherWorkspace, Person::SignedOut];
const OWNERSHIPS: [Ownership; 6] = [
    Ownership::Anns,
    Ownership::AnnsAndShared,
    Ownership::Bobs,
    Ownership::BobsAndShared,
    Ownership::Workspaces,
    Ownership::Nobodys,
];
const NAME: &str = "Ledger of the company";

impl Ownership {
    /// The columns that say so.
    fn assignments(self) -> &'static str {
        match self {
            Self::Anns => "user_id = 'ann', is_shared = 0",
            Self::AnnsAndShared => "user_id = 'ann', is_shared = 1",
            Self::Bobs => "user_id = 'bob', is_shared = 0",
            Self::BobsAndShared => "user_id = 'bob', is_shared = 1",
            Self::Workspaces => "user_id = NULL, is_shared = 1",
            Self::Nobodys => "user_id = NULL, is_shared = 0",
        }
    }
}

fn sees(person: Person, of: Ownership) -> bool {
    match person {
        Person::Admin => true,
        Person::Ann => !matches!(of, Ownership::Bobs | Ownership::Nobodys),
        Person::AdminOfOtherWorkspace | Person::SignedOut => false,
    }
}

fn changes(person: Person, of: Ownership) -> bool {
    person == Person::Admin || person == Person::Ann && matches!(of, Ownership::Anns | Ownership::AnnsAndShared)
}

fn expected(person: Person, of: Ownership, role: RequiredRole) -> Expected {
    match (person, role) {
        (Person::SignedOut, _) => Expected::SignInFirst,
        _ if !sees(person, of) => Expected::Missing,
        (_, RequiredRole::OwnerOrAdmin) if !changes(person, of) => Expected::Forbidden,
        _ => Expected::Allowed,
    }
}

/// The routes about one connection, for people.
fn routes_of_a_connection() -> impl Iterator<Item = (&'static RouteEntry, RequiredRole)> {
    let is_about = |line: &&RouteEntry| matches!(line.resource, Resource::Connection | Resource::ConnectionPage);
    ROUTES.iter().filter(is_about).filter(|line| line.path.contains("{connection}")).filter_map(|line| {
        match line.auth {
            RequiredAuth::User(role) => Some((line, role)),
            _ => None,
        }
    })
}

fn fixture_with(of: Ownership) -> (Fixture, ConnectionId) {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.db.tamper(&format!("UPDATE connections SET name = '{NAME}', {}", of.assignments()));
    (fixture, id)
}

fn browser_of(fixture: &Fixture, person: Person) -> TestBrowser<'_> {
    let mut browser = TestBrowser::new(fixture);
    match person {
        Person::Ann => drop(browser.sign_in_as(&json!({ "user": { "id": "ann" }, "role": "member" }))),
        Person::Admin | Person::AdminOfOtherWorkspace => {
            browser.sign_in_as(&json!({ "user": { "id": "root" }, "role": "admin" }));
        }
        Person::SignedOut => {}
    }
    browser
}

/// Everything of the connections that a page could change.
fn state(fixture: &Fixture) -> String {
    let columns = "id, workspace_id, name, status, generation, deleted_at, user_id, is_shared, environment, metadata, allowed_workflows";
    let text = format!("SELECT json_group_array(json_array({columns})) FROM connections");
    fixture.world.db.query_value(&text).as_str().unwrap().to_owned()
}

/// What is wrong with a route's answer, if anything is.
fn try_route(line: &RouteEntry, role: RequiredRole, person: Person, of: Ownership) -> Option<String> {
    let (fixture, id) = fixture_with(of);
    let elsewhere = (person == Person::AdminOfOtherWorkspace).then(|| fixture.other_workspace());
    let mut browser = browser_of(elsewhere.as_ref().unwrap_or(&fixture), person);
    let path = line.path.replace("{connection}", id.as_str());
    let before = state(&fixture);
    let requests = fixture.world.acme.count_requests("/token");
    let answer = match line.method {
        Method::Post => browser.post("/oauth/start/acme", &path, "name=Changed"),
        _ => browser.get(&path),
    };
    let expected = expected(person, of, role);
    let met = match expected {
        Expected::Allowed => answer.status < 400 || answer.status == 422,
        Expected::Forbidden => answer.status == 403,
        Expected::Missing => answer.status == 404,
        Expected::SignInFirst => answer.status == 401 || answer.status == 303 && is_sign_in(&answer),
    };
    let mut wrong = vec![];
    if !met {
        wrong.push(format!("{} instead of {expected:?}", answer.status));
    }
    let hidden = matches!(expected, Expected::Missing | Expected::SignInFirst);
    if hidden && (answer.body.contains(NAME) || answer.body.contains("ann@acme.example")) {
        wrong.push("it shows the connection".to_owned());
    }
    if expected != Expected::Allowed && state(&fixture) != before {
        wrong.push("it changed something".to_owned());
    }
    if expected != Expected::Allowed && fixture.world.acme.count_requests("/token") != requests {
        wrong.push("it asked the app".to_owned());
    }
    (!wrong.is_empty()).then(|| format!("{person:?}, {of:?}: {:?} {}: {}", line.method, line.path, wrong.join(", ")))
}

fn is_sign_in(answer: &connections::http::Response) -> bool {
    answer.header("location").is_some_and(|to| to.starts_with("/sign-in"))
}

#[test]
fn every_page_of_a_connection_answers_every_person_as_the_rules_say() {
    let mut wrong = vec![];
    for (line, role) in routes_of_a_connection() {
        for person in PEOPLE {
            wrong.extend(OWNERSHIPS.into_iter().filter_map(|of| try_route(line, role, person, of)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_that_changes_a_connection_is_for_its_owner_and_admins() {
    let mut tried = 0;
    for (line, role) in routes_of_a_connection().filter(|(line, _)| line.action == Action::Change) {
        assert_eq!(role, RequiredRole::OwnerOrAdmin, "{}", line.path);
        tried += 1;
    }
    assert!(tried >= 4, "{tried}");
}

#[test]
fn the_connections_page_lists_what_a_person_sees_and_no_more() {
    for of in OWNERSHIPS {
        let (fixture, id) = fixture_with(of);
        for person in [Person::Ann, Person::Admin] {
            let mut browser = browser_of(&fixture, person);
            let page = browser.get("/").body;
            assert_eq!(page.contains(id.as_str()), sees(person, of), "{person:?} {of:?}");
            assert_eq!(page.contains(NAME), sees(person, of), "{person:?} {of:?}");
            let found = browser.get("/?q=ledger").body;
            assert_eq!(found.contains(id.as_str()), sees(person, of), "{person:?} {of:?}: by its name");
        }
        let neighbour = fixture.other_workspace();
        let page = browser_of(&neighbour, Person::AdminOfOtherWorkspace).get("/").body;
        assert!(!page.contains(id.as_str()) && !page.contains(NAME), "{of:?}");
    }
}
