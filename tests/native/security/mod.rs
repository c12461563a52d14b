//! The proofs that docs/security.md names, one theme a file.
//!
//! Owns what they share: calls by programs and by browsers, through the whole of HTTP.

mod accounts;
mod addresses;
mod canaries;
mod comparisons;
mod injection;
mod logging;
mod mixup;
mod nonces;
mod scopes;
mod sessions;
mod surface;
mod table;
mod trail;

use std::collections::BTreeMap;

use connections::caller::{Key, Scope};
use connections::http::{self, Body, Method, Request, Response};
use serde_json::{Value, json};

use crate::contract::assert_described;
use crate::support::Scene;
use crate::support::world::World;

/// The base of all addresses in these tests.
const BASE: &str = "https://c.example.com";
/// The operator's key in these tests.
const OPERATOR: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

/// A request with headers; its id is its path.
fn request(method: Method, address: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (path, query) = (path.to_owned(), query.to_owned());
    Request { method, path, query, headers, body: Body::Bytes(body.as_bytes().to_vec()), id: "req-1".into() }
}

/// Sends a request in an invocation of its own. What is left to do behind the answer is done.
fn send(world: &World, request: &Request) -> Response {
    world.run(async {
        let core = world.core();
        let mut response = http::handle(&core, request).await;
        for after in std::mem::take(&mut response.after) {
            connections::resolve::afterwards::run(&core, after).await;
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
fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default())
}

/// A key of the scene's workspace that has these scopes only.
fn key_with(scene: &Scene, scopes: &[Scope], change: impl FnOnce(&mut Key)) -> String {
    let text = scene.make_key_text(|key| {
        key.scopes = scopes.to_vec();
        change(key);
    });
    text.expose().to_owned()
}

/// The scene's first key, which may do everything.
fn first_key(scene: &Scene) -> String {
    scene.key_text.expose().to_owned()
}

/// A browser: it keeps cookies and comes from our own pages.
struct Browser<'a> {
    world: &'a World,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn new(scene: &'a Scene) -> Self {
        Self { world: &scene.world, cookies: BTreeMap::new() }
    }

    /// A browser that a person of a workspace has signed in with.
    fn of(scene: &'a Scene, user: &str) -> Self {
        let mut browser = Self::new(scene);
        assert_eq!(browser.post(&sign_in_link(scene, user), "").status, 303);
        browser
    }

    fn get(&mut self, address: &str) -> Response {
        self.send(Method::Get, address, "")
    }

    fn post(&mut self, address: &str, form: &str) -> Response {
        self.send(Method::Post, address, form)
    }

    /// Posts a form that a page shows: with the token that stands there.
    fn press(&mut self, page: &str, address: &str, form: &str) -> Response {
        let csrf = csrf(&self.get(page).body);
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

/// The token of a page's own forms.
fn csrf(page: &str) -> String {
    page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// The path of a new sign-in link.
fn sign_in_link(scene: &Scene, user: &str) -> String {
    let body = json!({ "user": { "id": user } });
    path_of(&call(&scene.world, &first_key(scene), Method::Post, "/v1/sign-in-links", &body))
}

/// The path of a new connect link for the scene's app.
fn connect_link(scene: &Scene, more: &Value) -> String {
    let mut body = json!({ "app": scene.app.as_str() });
    let members = more.as_object().cloned().unwrap_or_default();
    body.as_object_mut().unwrap().extend(members);
    path_of(&call(&scene.world, &first_key(scene), Method::Post, "/v1/links", &body))
}

fn path_of(made: &(u16, Value)) -> String {
    assert_eq!(made.0, 201, "{}", made.1);
    made.1["url"].as_str().unwrap().trim_start_matches(BASE).to_owned()
}
