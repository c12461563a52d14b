//! Where secrets are sent, under attack: by somebody who may edit an app, has a rogue server, writes to the cache, or
//! has an account at the app. Every action of a person or a program is a request to the real handlers.
//!
//! The simulated app records every request to another host, and to a path under `/evil`, completely. None may contain a
//! secret that was given for the app.

mod account_addresses;
mod announced_hosts;
mod definition_edits;
mod discovery;
mod mixup;
mod placeholders;
mod previous_version;
mod redirect_uris;

use std::collections::BTreeMap;

use connections::caller::KeyScope;
use connections::http::{self, Body, Method, Request, Response};
use connections::ids::ConnectionId;
use connections::ports::{AppResponse, OutboundRequest};
use connections::secret::Secret;
use serde_json::{Value, json};
use url::Url;

use crate::http::{call, first_key};
use crate::support::Fixture;
use crate::support::acme::CLIENT_ID;
use crate::support::fixture::{acme_definition, merge_patch};

const PUBLIC_URL: &str = "https://c.example.com";

/// The default definition with changes.
fn edited_definition(patch: &Value) -> Value {
    let mut json = acme_definition();
    merge_patch(&mut json, patch);
    json
}

/// An attacker's key: it may edit apps and create links.
fn attackers_key(fixture: &Fixture) -> String {
    fixture.make_key_secret(|key| key.scopes = vec![KeyScope::Apps, KeyScope::Links]).expose().to_owned()
}

/// A call that succeeds.
fn call_successfully(fixture: &Fixture, key: &str, method: Method, path: &str, body: &Value) -> Value {
    let (status, answer) = call(fixture, key, method, path, body);
    assert!((200..300).contains(&status), "{path}: {status} {answer}");
    answer
}

fn put_app(fixture: &Fixture, key: &str, patch: &Value) {
    call_successfully(fixture, key, Method::Put, "/v1/apps/acme", &edited_definition(patch));
}

fn put_client(fixture: &Fixture, key: &str, secret: Option<&str>) -> (u16, Value) {
    let mut body = json!({ "client_id": CLIENT_ID });
    if let Some(secret) = secret {
        body["client_secret"] = secret.into();
    }
    call(fixture, key, Method::Put, "/v1/apps/acme/client", &body)
}

/// The redirect URI of the app's client, from the API.
fn redirect_uri(fixture: &Fixture) -> String {
    let told = call_successfully(fixture, &first_key(fixture), Method::Get, "/v1/apps/acme/client", &Value::Null);
    told["redirect_uri"].as_str().unwrap().to_owned()
}

/// A browser: it keeps cookies.
struct FormBrowser<'a> {
    fixture: &'a Fixture,
    cookies: BTreeMap<String, String>,
    /// The anti-forgery token of the last page's form.
    csrf: Option<String>,
}

impl<'a> FormBrowser<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        Self { fixture, cookies: BTreeMap::new(), csrf: None }
    }

    fn signed_in(fixture: &'a Fixture) -> Self {
        let mut person = Self::new(fixture);
        let body = json!({ "user": { "id": "ann" } });
        let made = call_successfully(fixture, &first_key(fixture), Method::Post, "/v1/sign-in-links", &body);
        let path = made["url"].as_str().unwrap().trim_start_matches(PUBLIC_URL).to_owned();
        assert_eq!(person.send(Method::Post, &path, &[]).status, 303);
        person
    }

    fn send(&mut self, method: Method, address: &str, form: &[(&str, &str)]) -> Response {
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let csrf = self.csrf.as_deref().map(|csrf| ("csrf", csrf));
        let form = form.iter().copied().chain(csrf);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request {
            method,
            path: path.into(),
            query: query.into(),
            headers: vec![
                ("sec-fetch-site".into(), "same-origin".into()),
                ("content-type".into(), "application/x-www-form-urlencoded".into()),
                ("cookie".into(), cookies.join("; ")),
            ],
            body: Body::Bytes(body.into_bytes()),
            id: "r".into(),
        };
        let response = self.fixture.world.run(async { http::handle(&self.fixture.world.context(), &request).await });
        if let Some((name, value)) = response.header("set-cookie").and_then(|line| line.split_once('=')) {
            self.cookies.insert(name.to_owned(), value.split(';').next().unwrap().to_owned());
        }
        self.csrf = hidden_input(&response.body, "csrf").or(self.csrf.take());
        response
    }

    fn get(&mut self, address: &str) -> Response {
        self.send(Method::Get, address, &[])
    }

    /// Opens a page and submits its form with the named hosts, and with what the person enters.
    fn press(&mut self, address: &str, entered: &[(&str, &str)]) -> Response {
        let page = self.get(address);
        self.submit(address, &page.body, entered)
    }

    fn submit(&mut self, address: &str, page: &str, entered: &[(&str, &str)]) -> Response {
        let mark = hosts_mark(page);
        let form: Vec<_> = mark.iter().map(|mark| ("hosts", mark.as_str())).chain(entered.iter().copied()).collect();
        self.send(Method::Post, address, &form)
    }

    /// Follows the app's redirect back. Returns the last page.
    fn return_from_app(&mut self, redirect_uri: &str, query: &[(&str, &str)]) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let back = self.get(&format!("{}?{query}", redirect_uri.trim_start_matches(PUBLIC_URL)));
        match back.header("location") {
            Some(end) if end.starts_with('/') => {
                let end = end.to_owned();
                self.get(&end).body
            }
            _ => back.body,
        }
    }

    /// Consents at the app's own server and comes back.
    fn complete_consent(&mut self, pressed: &Response, account: &str) -> String {
        let sent = AuthorizeRedirect::from_response(pressed);
        let (code, state) = self.fixture.world.acme.consent(&sent.url, account);
        self.return_from_app(&sent.redirect_uri, &[("state", &state), ("code", code.expose())])
    }

    /// Connects an account of the app: the connection.
    fn connect(&mut self, account: &str) -> ConnectionId {
        let before = list_connection_ids(self.fixture);
        let pressed = self.press("/oauth/start/acme", &[]);
        let page = self.complete_consent(&pressed, account);
        let new = list_connection_ids(self.fixture).into_iter().find(|id| !before.contains(id));
        new.unwrap_or_else(|| panic!("{page}"))
    }
}

/// All connections there are.
fn list_connection_ids(fixture: &Fixture) -> Vec<ConnectionId> {
    let ids = fixture.world.db.query_value("SELECT coalesce(group_concat(id), '') FROM connections");
    ids.as_str().unwrap().split(',').filter_map(ConnectionId::parse).collect()
}

/// The hosts that a page's form names.
fn hosts_mark(page: &str) -> Option<String> {
    hidden_input(page, "hosts")
}

/// A hidden input of a page's form.
fn hidden_input(page: &str, name: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!(r#"name="{name}" value=""#))?;
    rest.split('"').next().map(str::to_owned)
}

/// The address of the consent at the app.
struct AuthorizeRedirect {
    url: String,
    redirect_uri: String,
    state: String,
}

impl AuthorizeRedirect {
    fn from_response(pressed: &Response) -> Self {
        let url =
            pressed.header("location").unwrap_or_else(|| panic!("{} {}", pressed.status, pressed.body)).to_owned();
        let query: BTreeMap<_, _> = Url::parse(&url).unwrap().query_pairs().into_owned().collect();
        Self { redirect_uri: query["redirect_uri"].clone(), state: query["state"].clone(), url }
    }

    /// The code of the app's own server, after a rogue server has redirected the browser to it with our client id, the
    /// registered redirect URI, and the state and challenge of the flow.
    fn consent_after_redirect(&self, fixture: &Fixture, registered: &str, account: &str) -> Secret {
        let mut url = Url::parse(&self.url).unwrap();
        let kept: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(name, _)| name != "redirect_uri").collect();
        url.query_pairs_mut().clear().extend_pairs(&kept).append_pair("redirect_uri", registered);
        fixture.world.acme.consent(url.as_str(), account).0
    }
}

/// A rogue server that cooperates: it names the account ann for everything. Its tokens are its own, without a refresh
/// token.
fn install_rogue_server(fixture: &Fixture) {
    *fixture.world.acme.foreign_responder.borrow_mut() = Some(Box::new(|request| match request.url.url().path() {
        path if path.ends_with("token") => {
            json_response(&json!({ "access_token": "evils-own", "token_type": "bearer", "user": "id-ann" }))
        }
        path if path.contains(".well-known") => json_response(&json!({
            "issuer": request.url.origin(),
            "authorization_endpoint": format!("{}/authorize", request.url.origin()),
            "token_endpoint": format!("{}/token", request.url.origin()),
            "userinfo_endpoint": format!("{}/me", request.url.origin()),
        })),
        _ => json_response(&json!({ "sub": "id-ann", "email": "ann@acme.example", "results": [] })),
    }));
}

fn json_response(body: &Value) -> AppResponse {
    AppResponse {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.to_string().into_bytes(),
    }
}

/// Answers of other hosts, by address without a query. Everything else is not found.
fn install_foreign_responder(fixture: &Fixture, answers: impl Fn(&OutboundRequest) -> Option<Value> + 'static) {
    *fixture.world.acme.foreign_responder.borrow_mut() = Some(Box::new(move |request| match answers(request) {
        Some(body) => json_response(&body),
        None => AppResponse { status: 404, headers: vec![], body: b"{}".to_vec() },
    }));
}

/// Fails if a secret that was given for the app was sent elsewhere.
fn assert_no_secret_leaked(fixture: &Fixture, what: &str) {
    for request in fixture.world.acme.foreign_requests.borrow().iter() {
        assert!(!request.has_secret(), "{what}: {}", request.text);
    }
}

/// Everything that sends a connection's secrets, automatically or on demand, at the worst moment.
fn send_all_secrets(fixture: &Fixture, id: &ConnectionId) {
    let key = first_key(fixture);
    let path = format!("/v1/connections/{id}");
    call(fixture, &key, Method::Post, &format!("{path}/resolve"), &json!({ "force_refresh": true }));
    call(fixture, &key, Method::Post, &format!("{path}/check"), &Value::Null);
    fixture.world.advance_clock(3 * 86_400);
    fixture.run_scheduled();
    call(fixture, &key, Method::Post, &format!("{path}/resolve"), &json!({}));
    call(fixture, &key, Method::Post, "/v1/apps/acme/client/test", &json!({}));
}

/// An auth method with a manual key, at the app's own address.
fn api_key_definition() -> Value {
    json!({
        "id": "acme", "name": "Acme",
        "auth": { "type": "api_key", "fields": [{ "id": "api_key", "label": "Key" }] },
        "identity": { "url": "https://acme.example/me", "id": "/sub", "label": "/email" },
        "request": { "base_url": "https://acme.example/v1/" },
    })
}
