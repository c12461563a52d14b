//! The tests that docs/security.md names, one topic per file.
//!
//! Owns what they share: calls by programs and by browsers, through the whole of HTTP.

mod account_changes;
mod audit_log;
mod canaries;
mod exposed_routes;
mod injection;
mod logging;
mod mixup;
mod nonces;
mod reduced_scopes;
mod secret_comparisons;
mod secrets_in_urls;
mod security_table;
mod sessions;

use std::collections::BTreeMap;

use connections::caller::{ApiKey, KeyScope};
use connections::http::{self, Body, Method, Request, Response};
use serde_json::{Value, json};

use crate::contract::assert_described;
use crate::support::Fixture;
use crate::support::world::World;

/// The base of all addresses in these tests.
const PUBLIC_URL: &str = "https://c.example.com";
/// The operator's key in these tests.
const ADMIN_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

/// A request with headers; its id is its path.
fn request(method: Method, address: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (path, query) = (path.to_owned(), query.to_owned());
    Request { method, path, query, headers, body: Body::Bytes(body.as_bytes().to_vec()), id: "req-1".into() }
}

/// Sends a request in its own invocation, and does the deferred work.
fn send(world: &World, request: &Request) -> Response {
    world.run(async {
        let context = world.context();
        let mut response = http::handle(&context, request).await;
        for after in std::mem::take(&mut response.deferred) {
            connections::resolve::deferred::run(&context, after).await;
        }
        response
    })
}

/// A call by a program with a key: status and JSON.
fn call(world: &World, key: &str, method: Method, address: &str, body: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {key}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let response = send(world, &request(method, address, &[("authorization", &bearer)], &body));
    let answer = serde_json::from_str(&response.body).unwrap_or_else(|_| panic!("{address}: {}", response.body));
    assert_described(method, address.split('?').next().unwrap(), response.status, &answer);
    (response.status, answer)
}

/// The code of a refusal.
fn status_and_code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

/// A key of the fixture's workspace with only these scopes.
fn make_key(fixture: &Fixture, scopes: &[KeyScope], change: impl FnOnce(&mut ApiKey)) -> String {
    let text = fixture.make_key_secret(|key| {
        key.scopes = scopes.to_vec();
        change(key);
    });
    text.expose().to_owned()
}

/// The fixture's first key, which may do everything.
fn first_key(fixture: &Fixture) -> String {
    fixture.key_text.expose().to_owned()
}

/// A browser: it keeps cookies and comes from our own pages.
struct CookieBrowser<'a> {
    world: &'a World,
    cookies: BTreeMap<String, String>,
}

impl<'a> CookieBrowser<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        Self { world: &fixture.world, cookies: BTreeMap::new() }
    }

    /// A browser in which a person of a workspace has signed in.
    fn signed_in_as(fixture: &'a Fixture, user: &str) -> Self {
        let mut browser = Self::new(fixture);
        assert_eq!(browser.post(&make_sign_in_link(fixture, user), "").status, 303);
        browser
    }

    fn get(&mut self, address: &str) -> Response {
        self.send(Method::Get, address, "")
    }

    fn post(&mut self, address: &str, form: &str) -> Response {
        self.send(Method::Post, address, form)
    }

    /// Submits a form of a page, with the page's token.
    fn press(&mut self, page: &str, address: &str, form: &str) -> Response {
        let csrf = csrf_token(&self.get(page).body);
        self.post(address, &format!("csrf={csrf}&{form}"))
    }

    fn send(&mut self, method: Method, address: &str, form: &str) -> Response {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let headers = [("sec-fetch-site", "same-origin"), ("accept", "text/html"), ("cookie", &cookies), kind];
        let response = send(self.world, &request(method, address, &headers, form));
        if let Some((name, value)) = response.header("set-cookie").and_then(|line| line.split_once('=')) {
            self.cookies.insert(name.to_owned(), value.split(';').next().unwrap().to_owned());
        }
        response
    }
}

/// The token of our own forms on a page.
fn csrf_token(page: &str) -> String {
    page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// The path of a new sign-in link.
fn make_sign_in_link(fixture: &Fixture, user: &str) -> String {
    let body = json!({ "user": { "id": user } });
    link_path(&call(&fixture.world, &first_key(fixture), Method::Post, "/v1/sign-in-links", &body))
}

/// The path of a new connect link for the fixture's app.
fn make_connect_link(fixture: &Fixture, more: &Value) -> String {
    let mut body = json!({ "app": fixture.app.as_str() });
    let members = more.as_object().cloned().unwrap_or_default();
    body.as_object_mut().unwrap().extend(members);
    link_path(&call(&fixture.world, &first_key(fixture), Method::Post, "/v1/links", &body))
}

fn link_path(made: &(u16, Value)) -> String {
    assert_eq!(made.0, 201, "{}", made.1);
    made.1["url"].as_str().unwrap().trim_start_matches(PUBLIC_URL).to_owned()
}
