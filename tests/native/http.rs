//! HTTP: what keys may create, clients in the API, and links in parallel tabs of one browser.

use std::collections::BTreeMap;

use connections::caller::{ApiKey, KeyScope, hash_secret};
use connections::client::ClientSecret;
use connections::connect::link::{self, NewLink};
use connections::connect::start::FLOW_TTL;
use connections::http::{self, Body, Method, Request, Response};
use connections::ids::ConnectionId;
use connections::ports::RefreshReason;
use connections::resolve::ResolveRequest;
use connections::secret::Secret;
use connections::store::clients;
use connections::store::links::OnDuplicate;
use connections::workspace::User;
use serde_json::{Value, json};

use crate::contract::assert_described;
use crate::support::{Fixture, Reply};

/// A request with these cookies, from one of our own pages.
pub(crate) fn request(method: Method, address: &str, body: Vec<u8>) -> Request {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    Request {
        method,
        path: path.into(),
        query: query.into(),
        headers: vec![("sec-fetch-site".into(), "same-origin".into())],
        body: Body::Bytes(body),
        id: "r".into(),
    }
}

/// A call with a key: status and JSON.
pub(crate) fn call(fixture: &Fixture, key: &str, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let mut request = request(method, path, if body.is_null() { vec![] } else { body.to_string().into_bytes() });
    request.headers.push(("authorization".into(), format!("Bearer {key}")));
    let response = fixture.world.run(async { http::handle(&fixture.world.context(), &request).await });
    let answer = serde_json::from_str(&response.body).unwrap();
    assert_described(request.method, &request.path, response.status, &answer);
    (response.status, answer)
}

pub(crate) fn first_key(fixture: &Fixture) -> String {
    fixture.key_text.expose().to_owned()
}

/// A further key of the workspace: its text.
pub(crate) fn make_key(fixture: &Fixture, change: impl FnOnce(&mut ApiKey)) -> String {
    fixture.make_key_secret(change).expose().to_owned()
}

#[test]
fn a_connection_without_shared_content_is_marked_until_a_check_or_reconnect_finds_some() {
    let list = "/list";
    let fixture = Fixture::with_definition(&json!({
        "nothing_shared": { "url": "https://acme.example/list", "at": "/results", "say": "Share a page with it." },
    }));
    let answers = |text: &str| fixture.world.acme.script_always(list, Some(Reply::status(200, text)));
    let said = |body: &Value| body["attention"].as_array().unwrap().clone();
    let warning = [json!({ "code": "nothing_shared", "detail": "Share a page with it." })];
    let (key, nothing): (_, [Value; 0]) = (first_key(&fixture), []);
    answers(r#"{"results":[]}"#);
    let id = fixture.connect("ann");
    let path = format!("/v1/connections/{id}");
    assert_eq!(said(&call(&fixture, &key, Method::Get, &path, &Value::Null).1), warning);
    assert_eq!(fixture.world.acme.count_requests(list), 1, "asked once");
    let checked = || {
        fixture.world.advance_clock(60);
        let (status, body) = call(&fixture, &key, Method::Post, &format!("{path}/check"), &Value::Null);
        assert_eq!((status, body["health"].as_str()), (200, Some("healthy")));
        said(&body["connection"])
    };
    assert_eq!(checked(), warning);
    assert_eq!(fixture.world.acme.count_requests(list), 2);

    fixture.resolve_and_finish(&id, ResolveRequest::default()).unwrap();
    fixture.expire_access_token(&id);
    fixture.refresh_if_needed(&id);
    fixture.refresh(&id, RefreshReason::ScheduledCheck);
    assert_eq!(fixture.world.acme.count_requests(list), 2, "neither a resolve nor a refresh nor the clock asks");
    assert_eq!(said(&call(&fixture, &key, Method::Get, &path, &Value::Null).1), warning, "and none of them forgets");

    answers(r#"{"error":"busy"}"#);
    assert_eq!(checked(), warning, "an answer that does not tell changes nothing");
    answers(r#"{"results":["page"]}"#);
    assert_eq!(checked(), nothing);
    answers(r#"{"results":[]}"#);
    assert_eq!(checked(), warning);
    fixture.world.acme.script_always(list, Some(Reply::status(500, "")));
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!(
        (fixture.load_connection(&id).generation, fixture.load_connection(&id).nothing_shared),
        (2, None),
        "what was seen before is past"
    );
    answers(r#"{"results":[]}"#);
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!(
        (fixture.load_connection(&id).generation, fixture.load_connection(&id).nothing_shared.is_some()),
        (3, true)
    );
}

#[test]
fn an_expiring_key_creates_and_sees_no_key_that_outlives_it() {
    let fixture = Fixture::new();
    let end = fixture.world.now().plus(3600);
    let brief = make_key(&fixture, |key| key.expires_at = Some(end));
    let make = |expires_at: &Value| {
        let body = json!({ "name": "child", "scopes": ["resolve"], "expires_at": expires_at });
        call(&fixture, &brief, Method::Post, "/v1/keys", &body)
    };
    for wider in [Value::Null, json!(end.plus(1))] {
        let (status, problem) = make(&wider);
        assert_eq!((status, problem["code"].as_str()), (403, Some("insufficient_key_scope")), "{wider}");
    }
    assert_eq!(make(&json!(end)).0, 201);
    let (_, list) = call(&fixture, &brief, Method::Get, "/v1/keys", &Value::Null);
    assert_eq!(list["data"].as_array().unwrap().len(), 2, "itself and its child, not the first key");
    let gone = call(&fixture, &brief, Method::Delete, &format!("/v1/keys/{}", fixture.key.id.as_str()), &Value::Null);
    assert_eq!(gone.0, 404);
}

#[test]
fn a_limited_key_creates_no_sign_in_links() {
    let fixture = Fixture::new();
    let limits: [fn(&mut ApiKey); 2] = [|key| key.connections = Some(vec![]), |key| key.apps = Some(vec![])];
    for limit in limits {
        let key = make_key(&fixture, |key| {
            key.scopes = vec![KeyScope::Links];
            limit(key);
        });
        let (status, problem) =
            call(&fixture, &key, Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": "a" } }));
        assert_eq!((status, problem["code"].as_str()), (403, Some("insufficient_key_scope")));
    }
    let whole = make_key(&fixture, |key| key.scopes = vec![KeyScope::Links]);
    assert_eq!(call(&fixture, &whole, Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": "a" } })).0, 201);
}

#[test]
fn a_client_is_set_up_only_for_its_destinations() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let told = || {
        let (_, one) = call(&fixture, &key, Method::Get, "/v1/apps/acme", &Value::Null);
        let (_, list) = call(&fixture, &key, Method::Get, "/v1/apps?q=acme", &Value::Null);
        [one["client_is_set_up"].clone(), list["data"][0]["client_is_set_up"].clone()]
    };
    assert_eq!(told(), [true, true]);
    let mut moved = crate::support::fixture::acme_definition();
    moved["auth"]["token_url"] = "https://elsewhere.example/token".into();
    let (status, put) = call(&fixture, &key, Method::Put, "/v1/apps/acme", &moved);
    assert_eq!((status, &put["client_is_set_up"]), (200, &json!(false)));
    assert_eq!(told(), [false, false]);
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let page = ann.get("/connect").body;
    let tile = page.split("href=\"/oauth/start/acme\"").nth(1).and_then(|rest| rest.split("</a>").next()).unwrap();
    assert!(tile.contains("Acme") && tile.contains("Needs setup by an admin"), "not on offer: {tile}");
    assert_eq!(ann.get("/oauth/start/acme").status, 409);
}

#[test]
fn the_scopes_of_a_client_are_validated_on_input() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    for scopes in [json!(["two words"]), json!([""]), json!(vec!["s"; 201])] {
        let body = json!({ "client_id": "acme-client", "scopes": scopes });
        let (status, problem) = call(&fixture, &key, Method::Put, "/v1/apps/acme/client", &body);
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("scopes")), "{scopes}");
    }
}

#[test]
fn concurrent_clients_are_a_conflict_and_keep_their_secrets() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    fixture.world.db.tamper("DELETE FROM oauth_clients");
    let accepted = |statuses: &[u16]| {
        assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
        statuses.iter().filter(|status| **status == 200).count()
    };
    let first = ["a", "b", "c"];
    assert_eq!(
        accepted(&put_clients_at_once(&fixture, &key, first)),
        1,
        "they would all have the id that was told before"
    );
    assert_eq!(accepted(&put_clients_at_once(&fixture, &key, ["d", "e", "f"])), 3, "it is taken");
    assert_eq!(accepted(&put_clients_at_once(&fixture, &key, ["g", "g", "g"])), 1);

    let kept = fixture.world.run(async {
        let context = fixture.world.context();
        let mut kept = Vec::new();
        for name in first.into_iter().chain(["d", "e", "f", "g"]) {
            let all = clients::list_of_registration(context.db(), &fixture.workspace, "acme").await.unwrap();
            let client = all.into_iter().find(|client| client.client_id == name);
            kept.extend(client.map(|client| (name, client.secret(&context.config.key_ring).unwrap())));
        }
        kept
    });
    assert_eq!(kept.len(), 5);
    for (name, secret) in kept {
        assert_eq!(secret, ClientSecret::SharedSecret(Secret::new(format!("secret of {name}"))), "{name}");
    }
}

/// The statuses of concurrent calls that enter clients, each with its own secret.
fn put_clients_at_once(fixture: &Fixture, key: &str, client_ids: [&str; 3]) -> Vec<u16> {
    fixture.world.run_concurrently(client_ids.into_iter().map(|client_id| {
        let body = json!({ "client_id": client_id, "client_secret": format!("secret of {client_id}") });
        let body = body.to_string().into_bytes();
        let mut request = request(Method::Put, "/v1/apps/acme/client", body);
        request.headers.push(("authorization".into(), format!("Bearer {key}")));
        let context = fixture.world.context();
        async move { http::handle(&context, &request).await.status }
    }))
}

// ---- links in one browser ----

/// A browser: it keeps cookies.
pub(crate) struct TestBrowser<'a> {
    fixture: &'a Fixture,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl<'a> TestBrowser<'a> {
    pub(crate) fn new(fixture: &'a Fixture) -> Self {
        Self { fixture, cookies: BTreeMap::new() }
    }

    pub(crate) fn send(&mut self, request: Request) -> Response {
        let request = self.with_cookies(request);
        let response = self.fixture.world.run(async { http::handle(&self.fixture.world.context(), &request).await });
        self.store_cookie(&response);
        response
    }

    /// The request as this browser sends it.
    pub(crate) fn with_cookies(&self, mut request: Request) -> Request {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.headers.push(("cookie".into(), cookies.join("; ")));
        request
    }

    /// Stores the cookies of an answer, and forgets those that have no time left.
    pub(crate) fn store_cookie(&mut self, response: &Response) {
        for (_, line) in response.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = line.split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.split(';').next().unwrap().to_owned());
            }
        }
    }

    pub(crate) fn get(&mut self, address: &str) -> Response {
        self.send(request(Method::Get, address, vec![]))
    }

    pub(crate) fn sign_in(&mut self) {
        self.sign_in_as(&json!({ "user": { "id": "ann" } }));
    }

    /// With a sign-in link of the workspace's first key. Returns where it redirects.
    pub(crate) fn sign_in_as(&mut self, body: &Value) -> String {
        let (_, made) = call(self.fixture, &first_key(self.fixture), Method::Post, "/v1/sign-in-links", body);
        let signed_in = self.press(&link_path(&made));
        assert_eq!(signed_in.status, 303);
        signed_in.header("location").unwrap().to_owned()
    }

    /// What the forms of a person say whose they are.
    pub(crate) fn whose(&self, user: &str) -> String {
        hash_secret(&format!("the forms of {} {user}", self.fixture.workspace))
    }

    /// Submits a form with these fields, and with the anti-forgery token of a page.
    pub(crate) fn post(&mut self, page: &str, address: &str, fields: &str) -> Response {
        let html = self.get(page).body;
        let after = html.split("name=\"csrf\" value=\"").nth(1);
        let csrf = after.and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let form = format!("csrf={csrf}&{fields}").into_bytes();
        self.send(request(Method::Post, address, form))
    }

    /// Submits a link's page. Returns the answer.
    pub(crate) fn press(&mut self, path: &str) -> Response {
        self.send(request(Method::Post, path, vec![]))
    }

    /// Allows access at the app, and comes back. Returns the last page.
    pub(crate) fn complete_consent(&mut self, pressed: &Response, account: &str) -> String {
        let (code, state) = self.fixture.world.acme.consent(pressed.header("location").unwrap(), account);
        let query = format!("state={state}&code={}", code.expose());
        let back = self.get(&format!("/oauth/callback/{}?{query}", self.fixture.client));
        let end = back.header("location").unwrap().to_owned();
        self.get(&end).body
    }
}

/// The path of a link's address.
pub(crate) fn link_path(made: &Value) -> String {
    made["url"].as_str().unwrap().trim_start_matches("https://c.example.com").to_owned()
}

/// A link's path.
pub(crate) fn make_link(fixture: &Fixture, expires_in: i64) -> String {
    make_link_with(fixture, |new| new.expires_in = expires_in)
}

fn make_link_with(fixture: &Fixture, change: impl FnOnce(&mut NewLink)) -> String {
    let mut new = NewLink {
        app: Some(fixture.app.clone()),
        auth_method: None,
        connection: None,
        scopes: None,
        user: None,
        settings: connections::connection::ConnectionSettings::default(),
        return_to: None,
        popup_origin: None,
        expires_in: 3600,
        on_duplicate: OnDuplicate::Ask,
        confirm: false,
        made_by: None,
    };
    change(&mut new);
    let made =
        fixture.world.run(async { link::create(&fixture.world.context(), &fixture.workspace, new, |_| true).await });
    made.unwrap().1.trim_start_matches("https://c.example.com").to_owned()
}

#[test]
fn links_in_parallel_tabs_do_not_affect_each_other() {
    let fixture = Fixture::new();
    let mut browser = TestBrowser::new(&fixture);
    let paths = [make_link(&fixture, 3600), make_link(&fixture, 3600)];
    let pressed = paths.map(|path| browser.press(&path));
    let pages =
        [(0, "ann"), (1, "bob")].map(|(at, account): (usize, _)| browser.complete_consent(&pressed[at], account));
    for page in pages {
        assert!(page.contains("Acme is connected"), "{page}");
    }
}

#[test]
fn the_browser_that_started_a_link_keeps_it() {
    let fixture = Fixture::new();
    let path = make_link(&fixture, link::MAX_TTL);
    let mut browser = TestBrowser::new(&fixture);
    let pressed = browser.press(&path);
    let life = format!("Max-Age={};", link::MAX_TTL + 1200);
    assert!(pressed.header("set-cookie").unwrap().contains(&life));
    fixture.world.advance_clock(link::MAX_TTL - 1);
    let again = browser.press(&path);
    assert_eq!(again.status, 303);
    fixture.world.advance_clock(FLOW_TTL - 1);
    assert!(browser.complete_consent(&again, "ann").contains("Acme is connected"));
}

#[test]
fn many_links_in_a_browser_cost_the_same_as_one() {
    let fixture = Fixture::new();
    let mut browser = TestBrowser::new(&fixture);
    let mut trips = Vec::new();
    let mut last = None;
    for _ in 0..10 {
        last = Some(browser.press(&make_link(&fixture, 3600)));
        fixture.world.db.reset_counts();
        browser.get("/flows/aut_0123456789abcdefABCD-_");
        trips.push(fixture.world.db.round_trips.get());
    }
    assert!(trips.iter().all(|one| *one == trips[0]), "{trips:?}");
    assert!(browser.complete_consent(&last.unwrap(), "ann").contains("Acme is connected"));
}

// ---- error pages ----

#[test]
fn an_app_without_a_client_links_to_its_setup_page() {
    let fixture = Fixture::new();
    let path = make_link(&fixture, 3600);
    fixture.put_app_revision(&json!({ "auth": { "token_url": "https://elsewhere.example/token" } }));
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let page = ann.get("/oauth/start/acme");
    assert_eq!(page.status, 409);
    assert!(
        page.body.contains(r#"href="/apps/acme/setup?auth_method=oauth2""#) && !page.body.contains("/v1/"),
        "{}",
        page.body
    );
    let invited = TestBrowser::new(&fixture).get(&path);
    assert_eq!(invited.status, 409);
    assert!(invited.body.contains("Ask whoever sent you the link to set it up.") && !invited.body.contains("/setup"));
}

#[test]
fn an_error_page_shows_who_is_signed_in() {
    let fixture = Fixture::new();
    let somebody_elses = make_link_with(&fixture, |new| new.user = Some(User { id: "bob".into(), name: None }));
    let mut ann = TestBrowser::new(&fixture);
    let mut stranger = TestBrowser::new(&fixture);
    ann.sign_in();
    for (address, status) in [(somebody_elses.as_str(), 409), ("/connections/con_1", 404), ("/nothing/here", 404)] {
        let mut request = request(Method::Get, address, vec![]);
        request.headers.push(("accept".into(), "text/html".into()));
        let page = ann.send(request.clone());
        assert_eq!(page.status, status, "{address}");
        assert!(page.body.contains(r#"action="/sign-out""#) && page.body.contains("Signed in as"), "{address}");
        assert!(!page.body.contains("key"), "it speaks to a person: {}", page.body);
        assert!(!stranger.send(request).body.contains("/sign-out"), "{address}");
    }
}

/// The app has a key and a consent. Only the key's auth method is ready.
fn put_app_with_api_key(fixture: &Fixture) {
    let mut definition = crate::support::fixture::acme_definition();
    let consent = definition["auth"].take();
    let key = json!({ "type": "api_key", "fields": [{ "id": "api_key", "label": "Key" }] });
    definition["auth"] = json!([consent, key]);
    definition["auth"][0]["token_url"] = "https://elsewhere.example/token".into();
    let (status, problem) = call(fixture, &first_key(fixture), Method::Put, "/v1/apps/acme", &definition);
    assert_eq!(status, 200, "{problem}");
}

#[test]
fn an_auth_method_without_a_client_is_not_offered_in_a_link() {
    let fixture = Fixture::new();
    put_app_with_api_key(&fixture);
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let form = ann.get("/oauth/start/acme").body;
    assert!(
        form.contains(r#"href="/apps/acme/setup?auth_method=oauth2""#) && !form.contains("(recommended)"),
        "{form}"
    );
    let (mut invited, link) = (TestBrowser::new(&fixture), make_link(&fixture, 3600));
    let ways = invited.get(&link).body;
    assert!(ways.contains("?auth_method=api_key") && !ways.contains("?auth_method=oauth2"), "{ways}");
    let key = invited.get(&format!("{link}?auth_method=api_key")).body;
    assert!(key.contains("Key") && !key.contains("Other ways"), "{key}");
    let setup = ann.get("/apps/acme/setup?auth_method=oauth2").body;
    assert!(setup.contains(r#"href="/oauth/start/acme?auth_method=api_key""#), "{setup}");
}

#[test]
fn the_setup_page_of_an_app_without_client_says_so_and_unknown_apps_are_not_found() {
    let fixture = Fixture::new();
    put_app_with_api_key(&fixture);
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let telegram = ann.get("/apps/telegram/setup");
    assert_eq!(telegram.status, 200);
    assert!(telegram.body.contains("needs no set-up") && telegram.body.contains(r#"href="/oauth/start/telegram""#));
    assert!(
        ann.get("/apps/acme/setup?auth_method=api_key")
            .body
            .contains(r#"href="/oauth/start/acme?auth_method=api_key""#)
    );
    for address in ["/apps/none/setup", "/apps/acme/setup?auth_method=none", "/apps/acme/setup?auth_method=%3C"] {
        assert_eq!(ann.get(address).status, 404, "{address}");
    }
}

#[test]
fn an_app_with_another_ready_auth_method_is_also_listed_as_not_set_up() {
    let fixture = Fixture::new();
    put_app_with_api_key(&fixture);
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let page = ann.get("/connect").body;
    let tile = |app: &str| {
        let tile =
            page.split(&format!(r#"href="/oauth/start/{app}""#)).nth(1).unwrap_or_else(|| panic!("{app}: {page}"));
        tile.split("</a>").next().unwrap().to_owned()
    };
    for app in ["acme", "slack"] {
        assert!(tile(app).contains("Sign-in needs setup"), "{app}");
    }
    assert!(tile("telegram").contains("Ready") && tile("acme").contains("Custom"));
    assert!(tile("quickbooks").contains("Needs setup by an admin"));
    // For admins, what nobody can connect yet leads to where it is set up.
    let mut root = TestBrowser::new(&fixture);
    root.sign_in_as(&json!({ "user": { "id": "root" }, "role": "admin" }));
    let page = root.get("/connect").body;
    assert!(
        page.contains(r#"href="/settings/apps/quickbooks""#) && !page.contains(r#"href="/oauth/start/quickbooks""#),
        "{page}"
    );
}

#[test]
fn the_catalogue_is_searched_and_costs_one_round_trip_beside_the_session() {
    let fixture = Fixture::new();
    put_app_with_api_key(&fixture);
    let mut ann = TestBrowser::new(&fixture);
    assert_eq!(ann.get("/connect").status, 401, "it is for signed-in people");
    ann.sign_in();
    let found = ann.get("/connect?q=google%20FILES").body;
    assert!(found.contains("/oauth/start/google-drive") && !found.contains("/oauth/start/gmail"), "{found}");
    assert!(ann.get("/connect?q=acme").body.contains("/oauth/start/acme"));
    let none = ann.get("/connect?q=%3Cb%3E").body;
    assert!(none.contains("&lt;b&gt;") && !none.contains("<b>") && !none.contains("/oauth/start/"), "{none}");
    assert!(ann.get("/connect?category=email").body.contains("/oauth/start/gmail"));
    let mut count = |path: &str| {
        fixture.world.db.reset_counts();
        ann.get(path);
        fixture.world.db.round_trips.get()
    };
    // Members are refused the administration after their session was read.
    assert_eq!(count("/connect") - count("/settings"), 1);
}

// ---- a connection's page ----

fn connection_page_path(id: &ConnectionId) -> String {
    format!("/connections/{id}")
}

#[test]
fn a_refused_name_is_shown_again_in_its_form() {
    let fixture = Fixture::new();
    let page = connection_page_path(&fixture.connect("ann"));
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let rename = |ann: &mut TestBrowser<'_>, name: &str| {
        let form = ann.get(&page).body;
        let csrf = form.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let mut request =
            request(Method::Post, &format!("{page}/rename"), format!("csrf={csrf}&name={name}").into_bytes());
        request.headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
        ann.send(request)
    };
    let refused = rename(&mut ann, "+");
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains(r##"<a href="#name">"##) && refused.body.contains("up to 100 characters"));
    assert!(refused.body.contains(&format!(r#"action="{page}/rename""#)) && !refused.body.contains("name:"));
    assert_eq!(rename(&mut ann, "my_name").status, 303);
    let history = ann.get(&page).body;
    assert!(history.contains("You renamed it to “<bdi>my_name</bdi>”"), "{history}");
}

#[test]
fn the_audit_log_names_a_key() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let key = make_key(&fixture, |key| key.name = "Nightly import".into());
    let (status, _) =
        call(&fixture, &key, Method::Patch, &format!("/v1/connections/{id}"), &json!({ "name": "Renamed" }));
    assert_eq!(status, 200);
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let page = ann.get(&connection_page_path(&id)).body;
    assert!(
        page.contains("The key “<bdi>Nightly import</bdi>” renamed it to “<bdi>Renamed</bdi>”")
            && !page.contains("key_"),
        "{page}"
    );
}

#[test]
fn a_removed_app_cannot_be_connected_again() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let path = make_link(&fixture, 3600);
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Delete, "/v1/apps/acme", &Value::Null).0, 200);
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let page = ann.get(&connection_page_path(&id)).body;
    assert!(page.contains("This app was removed from the workspace") && !page.contains("/reconnect"), "{page}");
    let again = ann.get(&format!("/connections/{id}/reconnect"));
    assert_eq!(again.status, 409);
    assert!(again.body.contains("was removed from this workspace"), "{}", again.body);
    let invited = TestBrowser::new(&fixture).get(&path);
    assert_eq!(invited.status, 410);
    assert!(invited.body.contains("was removed") && invited.body.contains("sk whoever sent you the link"));
}

// ---- results of a flow by a link ----

/// Denies access at the app, and comes back. Returns the last page.
fn deny_consent(browser: &mut TestBrowser<'_>, pressed: &Response) -> String {
    let at_the_app = url::Url::parse(pressed.header("location").unwrap()).unwrap();
    let state = at_the_app.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let client = browser.fixture.client.clone();
    let back = browser.get(&format!("/oauth/callback/{client}?state={state}&error=access_denied"));
    let end = back.header("location").unwrap().to_owned();
    browser.get(&end).body
}

fn try_again_url(page: &str) -> Option<String> {
    let (before, _) = page.split_once(">Try again</a>")?;
    Some(before.rsplit("href=\"").next()?.split('"').next()?.to_owned())
}

#[test]
fn after_a_denial_a_link_can_be_tried_again_in_the_same_browser() {
    let fixture = Fixture::new();
    let mut browser = TestBrowser::new(&fixture);
    let pressed = browser.press(&make_link(&fixture, 3600));
    let again = try_again_url(&deny_consent(&mut browser, &pressed)).unwrap();
    let page = browser.get(&again);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("You came here by a link") && page.body.contains(&format!(r#"action="{again}""#)));
    let mut other = TestBrowser::new(&fixture);
    assert_eq!((other.get(&again).status, other.press(&again).status), (404, 404));
    let pressed = browser.press(&again);
    assert!(browser.complete_consent(&pressed, "ann").contains("Acme is connected as"));
    assert_eq!((browser.get(&again).status, browser.press(&again).status), (410, 410), "it was used");
}

#[test]
fn a_link_that_has_expired_cannot_be_tried_again() {
    let fixture = Fixture::new();
    let mut browser = TestBrowser::new(&fixture);
    let pressed = browser.press(&make_link(&fixture, 60));
    fixture.world.advance_clock(61);
    let page = deny_consent(&mut browser, &pressed);
    assert!(try_again_url(&page).is_none() && page.contains("Ask whoever sent it for a new one"), "{page}");
}

#[test]
fn the_last_page_of_a_link_names_missing_scopes() {
    let fixture = Fixture::new();
    let mut browser = TestBrowser::new(&fixture);
    let pressed = browser.press(&make_link(&fixture, 3600));
    fixture.world.acme.script_next("/token", Reply::edited(|answer| answer["scope"] = "read".into()));
    let page = browser.complete_consent(&pressed, "ann");
    assert!(page.contains("These permissions were not granted: write.") && page.contains("panel waiting"), "{page}");
    let pressed = browser.press(&make_link(&fixture, 3600));
    assert!(!browser.complete_consent(&pressed, "bob").contains("not granted"));
}
#[test]
fn a_page_shows_errors_at_the_field() {
    let fixture = Fixture::new();
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let page = ann.get("/oauth/start/shopify?auth_method=token").body;
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    for (entered, wrong) in [("input.shop=a%2Fb&input.api_key=x", 0), ("input.shop=acme&input.api_key=", 1)] {
        let form = format!("csrf={csrf}&{entered}").into_bytes();
        let refused = ann.send(request(Method::Post, "/oauth/start/shopify?auth_method=token", form));
        assert_eq!(refused.status, 422);
        assert!(refused.body.contains(&format!("id=\"input-{wrong}-error\"")), "{}", refused.body);
        assert!(!refused.body.contains("variables.") && !refused.body.contains("credential."), "{}", refused.body);
    }
}

#[test]
fn the_form_for_a_key_lists_the_required_permissions() {
    let fixture = Fixture::new();
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let told = "must allow this, as a step needs it: chat:write, users:read.";
    assert!(ann.get("/oauth/start/slack?auth_method=bot_token&scopes=chat:write+users:read").body.contains(told));
    assert!(!ann.get("/oauth/start/slack?auth_method=bot_token").body.contains("must allow"));
}

#[test]
fn an_apps_limit_is_shown_before_another_grant() {
    let fixture = Fixture::with_definition(&json!({
        "limits": { "grants_per_account": 2, "one_per_account": "Two of them disturb each other." },
    }));
    let told = "keeps at most 2 grants of one account for one client, and this workspace has";
    let mut ann = TestBrowser::new(&fixture);
    let anns = |new: &mut NewLink| new.user = Some(User { id: "ann".into(), name: None });
    let first = ann.press(&make_link_with(&fixture, anns));
    ann.complete_consent(&first, "ann");
    let id = fixture.world.db.query_value("SELECT id FROM connections").as_str().unwrap().to_owned();
    fixture.complete_flow(&fixture.repair_request(&ConnectionId::try_from(id.clone()).unwrap()), "ann");

    let again = ann.press(&make_link_with(&fixture, anns));
    let question = ann.complete_consent(&again, "ann");
    assert!(question.contains("Two of them disturb each other.") && question.contains(told), "{question}");
    let mut owner = TestBrowser::new(&fixture);
    owner.sign_in();
    let reconnect = owner.get(&format!("/connections/{id}/reconnect")).body;
    assert!(reconnect.contains(&format!("{told} 2.")), "{reconnect}");
}

#[test]
fn the_setup_page_lists_all_scopes_and_how_to_test_the_client() {
    let fixture = Fixture::new();
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in();
    let setup = ann.get("/apps/slack/setup").body;
    for scope in ["chat:write", "users:read", "reactions:write"] {
        assert!(setup.contains(&format!("<code><bdi>{scope}</bdi></code>")), "{scope}");
    }
    assert!(setup.contains("curl -X POST") && setup.contains("/v1/apps/slack/client/test"), "{setup}");
}
