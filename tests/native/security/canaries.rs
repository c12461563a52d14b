//! Secrets are found only where they are returned (T12, T13, T43): a known text in every secret input, then every
//! column, cache entry, log line, page, answer and error is searched.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use connections::http::{Method, Response};
use connections::ports::{AppResponse, Email, OutboundRequest};
use connections::webhook::WebhookEventType;
use serde_json::{Value, json};
use url::Url;

use super::{ADMIN_KEY, CookieBrowser, PUBLIC_URL, request, send};
use crate::proxy::proxied;
use crate::support::acme::CANARY;
use crate::support::passing::answer;
use crate::support::{Fixture, Reply};

/// A private key in the format that workspaces enter.
const PRIVATE_KEY: &str = include_str!("../support/keys/rfc7515_a2.pem");

/// The secrets by name, and what was recorded.
struct CanarySearch<'a> {
    fixture: &'a Fixture,
    secrets: RefCell<BTreeMap<String, String>>,
    /// Answers that may contain one secret each, because they exist to return it once.
    collected_texts: RefCell<Vec<(String, String)>>,
}

impl<'a> CanarySearch<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        let search = Self { fixture, secrets: RefCell::default(), collected_texts: RefCell::default() };
        search.plant("the first key", fixture.key_text.expose());
        search.plant("the operator's key", ADMIN_KEY);
        for entry in crate::support::world::ENCRYPTION_KEYS.split(',') {
            search.plant("an encryption key", entry.split_once(':').unwrap().1);
        }
        search
    }

    fn plant(&self, name: &str, secret: &str) {
        assert!(secret.len() >= 16, "{name} is too short to be looked for: {secret}");
        self.secrets.borrow_mut().insert(name.to_owned(), secret.to_owned());
    }

    fn collect_response(&self, what: &str, response: &Response) {
        let headers: Vec<_> = response.headers.iter().filter(|(name, _)| name != "set-cookie").collect();
        self.collected_texts.borrow_mut().push((what.to_owned(), format!("{headers:?} {}", response.body)));
    }

    /// A call with the first key. Its answer must contain no secret.
    fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.call_uncollected(method, path, body, self.fixture.key_text.expose());
        self.collected_texts.borrow_mut().push((format!("{} {path}", method.as_str()), text.clone()));
        (status, serde_json::from_str(&text).unwrap())
    }

    /// A call whose answer returns a secret, once.
    fn call_uncollected(&self, method: Method, path: &str, body: &Value, key: &str) -> (u16, String) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response =
            send(&self.fixture.world, &request(method, path, &[("authorization", &format!("Bearer {key}"))], &body));
        (response.status, response.body)
    }

    /// A call that creates something with a secret.
    fn make_with_secret(&self, name: &str, path: &str, body: &Value, key: &str, at: &str) -> String {
        let (status, text) = self.call_uncollected(Method::Post, path, body, key);
        assert_eq!(status, 201, "{path}: {text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        let secret = answer.pointer(at).unwrap().as_str().unwrap().to_owned();
        self.plant(name, secret.rsplit('/').next().unwrap());
        secret.trim_start_matches(PUBLIC_URL).to_owned()
    }

    /// Records what is stored and logged now, to be searched at the end.
    fn collect_storage(&self, when: &str) {
        let world = &self.fixture.world;
        let places = [
            ("the database", world.db.dump_tables()),
            ("the cache", format!("{} {:?}", world.cache.dump_entries(), world.cache.entry_names())),
            ("the log", world.log.dump_lines()),
            ("what waits for the database", format!("{:?}", world.kept_writes.writes.borrow())),
            ("the addresses", world.acme.requested_urls().join("\n")),
        ];
        self.collected_texts.borrow_mut().extend(places.map(|(place, text)| (format!("{place} {when}"), text)));
    }

    /// Searches everything. Returns what was found, and where.
    fn find_leaks(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (place, text) in self.collected_texts.borrow().iter() {
            for (name, secret) in self.secrets.borrow().iter() {
                let hits = encoded_forms(secret).into_iter().filter(|form| text.contains(form));
                found.extend(hits.map(|form| format!("{name} is in {place}: {}", text_around(text, &form))));
            }
            if text.contains(CANARY) {
                found.push(format!("a secret of the app is in {place}: {}", text_around(text, CANARY)));
            }
        }
        found
    }

    /// Whether the recorded data contains sealed values of a table.
    fn has_sealed_values(&self, table: &str) -> bool {
        let seen = self.collected_texts.borrow();
        seen.iter().flat_map(|(_, text)| text.lines()).any(|line| line.starts_with(table) && line.contains("cx1.k1."))
    }
}

/// The forms of a secret in a text: unchanged, escaped as in JSON and Rust, in URLs, in base64.
fn encoded_forms(secret: &str) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let json = Value::from(secret).to_string();
    let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let forms = [
        secret.to_owned(),
        json.trim_matches('"').to_owned(),
        escaped,
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ];
    forms.into_iter().collect()
}

fn text_around(text: &str, secret: &str) -> String {
    let (before, from) = text.split_at(text.find(secret).unwrap_or_default());
    let before: Vec<_> = before.chars().rev().take(120).collect();
    before.into_iter().rev().chain(from.chars().take(180)).collect()
}

/// All pages that a person can open and that change nothing.
fn view_pages(search: &CanarySearch<'_>, browser: &mut CookieBrowser<'_>, ids: &[String]) {
    let mut pages = vec!["/".to_owned(), "/?q=canary".to_owned(), "/apps/acme/setup".to_owned(), "/nothing".to_owned()];
    for app in ["acme", "keyed", "named", "minted", "file"] {
        pages.push(format!("/oauth/start/{app}"));
    }
    for id in ids {
        pages.extend([format!("/connections/{id}"), format!("/connections/{id}/reconnect")]);
    }
    for page in pages {
        search.collect_response(&page, &browser.get(&page));
    }
}

fn call_read_routes(search: &CanarySearch<'_>, ids: &[String]) {
    let mut paths: Vec<String> = [
        "/v1/workspace",
        "/v1/keys",
        "/v1/apps",
        "/v1/apps/acme",
        "/v1/apps/acme/client",
        "/v1/connections",
        "/v1/connections?q=canary",
    ]
    .map(str::to_owned)
    .to_vec();
    for id in ids {
        paths.extend(["", "/uses", "/events"].map(|rest| format!("/v1/connections/{id}{rest}")));
    }
    for path in paths {
        assert_eq!(search.call(Method::Get, &path, &Value::Null).0, 200, "{path}");
    }
    search.call(Method::Post, "/v1/apps/acme/client/test", &json!({}));
}

fn create_app(search: &CanarySearch<'_>, id: &str, auth: &Value) {
    let identity = json!({ "url": "https://acme.example/me", "id": "/sub", "label": "/email" });
    let app = json!({ "id": id, "name": format!("The {id}"), "auth": auth, "scopes": ["read"], "identity": identity });
    let (status, told) = search.call(Method::Post, "/v1/apps", &app);
    assert_eq!(status, 201, "{told}");
}

/// The credential with its type, which is the app's id here.
fn with_credential_type(credential: &Value, app: &str) -> Value {
    let types = BTreeMap::from([
        ("keyed", "api_key"),
        ("named", "basic"),
        ("minted", "client_credentials"),
        ("file", "service_account"),
    ]);
    let mut credential = credential.clone();
    credential["type"] = types[app].into();
    credential
}

/// The text of a manual secret.
fn entered_secret(name: &str) -> String {
    format!("{CANARY}-{name}-0123456789")
}

fn app_url(path: &str) -> String {
    format!("https://acme.example/{path}")
}

/// The searched part of the private key, which has several lines.
fn private_key_line() -> &'static str {
    PRIVATE_KEY.lines().nth(3).unwrap()
}

/// Keys, links and sessions: the browser of a signed-in person, and two links.
fn make_keys_and_links<'a>(search: &CanarySearch<'a>, first: &str) -> (CookieBrowser<'a>, String, String) {
    search.make_with_secret("a workspace's key", "/v1/workspaces", &json!({ "name": "other" }), ADMIN_KEY, "/key/key");
    search.make_with_secret("a further key", "/v1/keys", &json!({ "name": "k", "scopes": ["*"] }), first, "/key");
    let sign_in = search.make_with_secret(
        "a sign-in link",
        "/v1/sign-in-links",
        &json!({ "user": { "id": "ann", "email": "ann@people.example" }, "role": "admin" }),
        first,
        "/url",
    );
    search.make_with_secret(
        "an unused sign-in link",
        "/v1/sign-in-links",
        &json!({ "user": { "id": "bob" } }),
        first,
        "/url",
    );
    let link = search.make_with_secret("a connect link", "/v1/links", &json!({ "app": "acme" }), first, "/url");
    let waiting = search.make_with_secret("a link in use", "/v1/links", &json!({ "app": "acme" }), first, "/url");
    let mut ann = CookieBrowser::new(search.fixture);
    ann.post(&sign_in, "");
    for (name, value) in &ann.cookies {
        search.plant(&format!("the cookie {name}"), value);
    }
    (ann, link, waiting)
}

/// Clients: a secret, and a private key.
fn put_clients(search: &CanarySearch<'_>) {
    let secret = search.fixture.world.acme.client_secret.borrow().clone();
    let client = json!({ "client_id": "acme-client", "client_secret": secret });
    assert_eq!(search.call(Method::Put, "/v1/apps/acme/client", &client).0, 200);
    create_app(
        search,
        "signed",
        &json!({ "type": "oauth2", "authorize_url": app_url("authorize"), "token_url": app_url("token"), "client_auth": "private_key_jwt" }),
    );
    search.plant("a line of a private key", private_key_line());
    let client = json!({ "client_id": "signed", "client_secret": PRIVATE_KEY });
    let put = search.call(Method::Put, "/v1/apps/signed/client", &client);
    assert_eq!(put.0, 200, "{}", put.1);
}

/// What events of apps are verified with, entered and sent by the app, and events with secrets in every place.
fn receive_events(search: &CanarySearch<'_>, first: &str) {
    let put = |app: &str, body: Value| {
        let (status, client) = search.call(Method::Put, &format!("/v1/apps/{app}/client"), &body);
        (status, client["id"].as_str().unwrap_or_default().to_owned())
    };
    let own = entered_secret("events");
    let several = json!({ "client_id": "slack", "event_secret": [own, format!("{own}\nsecond")] });
    assert_eq!(put("slack", several).0, 422);
    let (_, slack) = put("slack", json!({ "client_id": "slack", "event_secret": own }));
    let (_, mailchimp) = put("mailchimp", json!({ "client_id": "mailchimp", "event_secret": own }));
    let (_, notion) = put("notion", json!({ "client_id": "notion" }));
    let (status, opened) =
        search.call_uncollected(Method::Post, "/v1/apps/notion/client/handshake", &Value::Null, first);
    assert_eq!(status, 200, "{opened}");
    let opened: Value = serde_json::from_str(&opened).unwrap();
    let token = opened["events_url"].as_str().unwrap().split_once("handshake=").unwrap().1.to_owned();
    search.plant("the token of an address for a secret", &token);
    let verification = json!({ "verification_token": entered_secret("sent") }).to_string();
    let headers =
        [("x-slack-signature", own.as_str()), ("authorization", own.as_str()), ("content-type", "application/json")];
    for (path, body) in [
        (format!("/hooks/{slack}?secret={own}"), own.as_str()),
        (format!("/hooks/{mailchimp}?secret={own}"), "type=subscribe"),
        (format!("/hooks/{mailchimp}?secret={own}x"), "type=subscribe"),
        (format!("/hooks/{notion}"), &verification),
        (format!("/hooks/{notion}?handshake={token}"), &verification),
        (format!("/hooks/{notion}?handshake={token}"), &verification.replace("sent", "late")),
        (format!("/hooks/{own}"), own.as_str()),
    ] {
        let sent = send(&search.fixture.world, &request(Method::Post, &path, &headers, body));
        search.collect_response("the answer to an event", &sent);
    }
    let (_, shown) = search.call_uncollected(Method::Get, "/v1/apps/notion/client/handshake", &Value::Null, first);
    assert!(shown.contains(&entered_secret("sent")), "it was taken: {shown}");
    let verified = json!({ "headers": { "x-slack-signature": own }, "body_base64": "" });
    assert_eq!(search.call(Method::Post, "/v1/apps/slack/events/verify", &verified).0, 200);
}

/// Deliveries and answers of the receiver of a webhook.
type Deliveries = Rc<RefCell<Vec<String>>>;

/// The workspace is told by e-mail and by a webhook, whose secret is changed; its receiver repeats what it gets.
fn tell_by_webhook_and_email(search: &CanarySearch<'_>, ann: &mut CookieBrowser<'_>, first: &str) -> Deliveries {
    let world = &search.fixture.world;
    world.mail.bound.set(true);
    assert_eq!(search.call(Method::Put, "/v1/workspace/email", &json!({ "enabled": true })).0, 200);
    let deliveries = Deliveries::default();
    let received = Rc::clone(&deliveries);
    *world.acme.interceptor.borrow_mut() = Some(Box::new(move |request: &OutboundRequest| {
        (request.url.host() == "hooks.example").then(|| {
            let text = format!("{} {:?} {:?}", request.url.as_str(), request.headers, request.body);
            received.borrow_mut().push(text.clone());
            let status = if received.borrow().len() % 2 == 0 { 500 } else { 200 };
            AppResponse { status, headers: vec![("x-echo".into(), text.clone())], body: text.into_bytes() }
        })
    }));
    let types: Vec<_> = WebhookEventType::ALL.map(WebhookEventType::as_str).into();
    let body = json!({ "url": "https://hooks.example/in", "types": types });
    let made = search.call_uncollected(Method::Post, "/v1/webhooks", &body, first);
    assert_eq!(made.0, 201, "{}", made.1);
    let made: Value = serde_json::from_str(&made.1).unwrap();
    let plant = |name: &str, made: &Value| {
        let secret = made["secret"].as_str().unwrap();
        search.plant(name, secret);
        search.plant(&format!("{name} without its prefix"), secret.trim_start_matches("whsec_"));
    };
    plant("a webhook's secret", &made);
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let rotated = search.call_uncollected(Method::Post, &format!("{path}/rotate"), &json!({}), first);
    assert_eq!(rotated.0, 200, "{}", rotated.1);
    plant("a webhook's second secret", &serde_json::from_str(&rotated.1).unwrap());
    for _ in 0..2 {
        search.call(Method::Post, &format!("{path}/test"), &Value::Null);
    }
    search.call(Method::Patch, &path, &json!({ "url": "https://127.0.0.1/" }));
    for path in [path.clone(), format!("{path}/deliveries"), "/v1/webhooks".to_owned()] {
        assert_eq!(search.call(Method::Get, &path, &Value::Null).0, 200, "{path}");
    }
    let id = path.rsplit('/').next().unwrap();
    for page in
        ["/settings/webhooks".to_owned(), format!("/settings/webhooks/{id}"), "/settings/email".into(), "/email".into()]
    {
        let shown = ann.get(&page);
        assert_eq!(shown.status, 200, "{page}");
        search.collect_response(&page, &shown);
    }
    deliveries
}

/// Consent by a link and by a person, with everything that a flow contains.
fn complete_consents<'a>(search: &CanarySearch<'a>, ann: &mut CookieBrowser<'a>, link: &str, waiting: &str) {
    let mut guest = CookieBrowser::new(search.fixture);
    for (browser, address, form) in
        [(&mut guest, link.to_owned(), String::new()), (&mut *ann, "/oauth/start/acme".to_owned(), "person".to_owned())]
    {
        let pressed = if form.is_empty() { browser.post(&address, "") } else { browser.press(&address, &address, "") };
        let authorize = Url::parse(pressed.header("location").unwrap()).unwrap();
        let state = authorize.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        search.plant(&format!("the state of {address}"), &state);
        let (code, _) =
            search.fixture.world.acme.consent(authorize.as_str(), if form.is_empty() { "guest" } else { "ann" });
        let back =
            browser.get(&format!("/oauth/callback/{}?state={state}&code={}", search.fixture.client, code.expose()));
        search.collect_response("a callback", &back);
        search.collect_response("the end of a flow", &browser.get(back.header("location").unwrap()));
        let verifier = search.fixture.world.acme.token_request_bodies.borrow().last().unwrap()["code_verifier"].clone();
        search.plant(&format!("the verifier of {address}"), &verifier);
    }
    let pressed = CookieBrowser::new(search.fixture).post(waiting, "");
    let state = Url::parse(pressed.header("location").unwrap()).unwrap();
    search.plant("a state in use", &state.query_pairs().find(|(name, _)| name == "state").unwrap().1);
    for (name, value) in &guest.cookies {
        search.plant(&format!("the guest's cookie {name}"), value);
    }
}

/// What programs send, of every type, valid and invalid. Returns the ids of what was stored.
fn connect_by_api(search: &CanarySearch<'_>) -> Vec<String> {
    let acme = &search.fixture.world.acme;
    let mut ids = Vec::new();
    acme.api_keys.borrow_mut().extend([
        (entered_secret("key"), "kim".to_owned()),
        (entered_secret("page"), "pat".to_owned()),
        (entered_secret("next"), "kim".to_owned()),
    ]);
    acme.client_credentials.borrow_mut().insert("robot-client-id".into(), entered_secret("machine"));
    create_app(search, "keyed", &json!({ "type": "api_key" }));
    create_app(search, "named", &json!({ "type": "basic" }));
    create_app(search, "minted", &json!({ "type": "client_credentials", "token_url": app_url("token") }));
    create_app(search, "file", &json!({ "type": "service_account", "token_url": app_url("token") }));
    let key_file = json!({ "client_email": "robot@acme.example", "private_key": PRIVATE_KEY, "private_key_id": "k1", "token_uri": app_url("token"), "type": "service_account" });
    let inputs = [
        ("keyed", json!({ "api_key": entered_secret("wrong") }), 422),
        ("keyed", json!({ "api_key": entered_secret("key") }), 201),
        ("keyed", json!({ "api_key": entered_secret("key"), "other": entered_secret("unknown") }), 422),
        ("keyed", json!({ "api_key": format!("{} {}", entered_secret("key"), entered_secret("spaced")) }), 422),
        ("keyed", json!({ "api_key": { "nested": entered_secret("nested") } }), 422),
        ("named", json!({ "username": "ann", "password": entered_secret("password") }), 422),
        ("minted", json!({ "client_id": "robot-client-id", "client_secret": entered_secret("wrong") }), 422),
        ("minted", json!({ "client_id": "robot-client-id", "client_secret": entered_secret("machine") }), 201),
        ("file", json!({ "key": "{\"private_key\": \"".to_owned() + CANARY + "\"}" }), 422),
        ("file", json!({ "key": key_file.to_string() }), 201),
    ];
    for (app, credential, status) in inputs {
        let (got, told) = search.call(
            Method::Post,
            "/v1/connections",
            &json!({ "app": app, "credential": with_credential_type(&credential, app) }),
        );
        assert_eq!(got, status, "{app}: {told}");
        ids.extend(told["id"].as_str().map(str::to_owned));
    }
    ids
}

/// What is entered on a page, as a replacement, imported, and in a truncated body.
fn connect_otherwise(search: &CanarySearch<'_>, ann: &mut CookieBrowser<'_>, keyed: &str) {
    let form = |value: &str| format!("input.api_key={value}");
    for value in [
        entered_secret("unheard"),
        format!("{}%0A{}", entered_secret("page"), entered_secret("line")),
        entered_secret("page"),
    ] {
        search.collect_response("a form", &ann.press("/oauth/start/keyed", "/oauth/start/keyed", &form(&value)));
    }
    let replaced = search.call(
        Method::Put,
        &format!("/v1/connections/{keyed}/credential"),
        &json!({ "credential": { "type": "api_key", "api_key": entered_secret("next") } }),
    );
    assert_eq!(replaced.0, 200, "{}", replaced.1);
    let tokens = json!({ "access_token": entered_secret("access"), "refresh_token": entered_secret("refresh"), "type": "oauth2", "expires_at": search.fixture.world.now().plus(3000) });
    let imported =
        search.call(Method::Post, "/v1/connections", &json!({ "app": "acme", "credential": tokens, "check": false }));
    assert_eq!(imported.0, 201, "{}", imported.1);
    for broken in ["{\"app\":\"keyed\",\"credential\":{\"api_key\":\"", "[\"", "{\"app\":{\"a\":\""] {
        let text = format!("{broken}{CANARY}");
        let bearer = format!("Bearer {}", search.fixture.key_text.expose());
        search.collect_response(
            "a broken body",
            &send(
                &search.fixture.world,
                &request(Method::Post, "/v1/connections", &[("authorization", &bearer)], &text),
            ),
        );
    }
}

/// Resolved in every mode, and read. Returns the ids of all connections.
fn resolve_all(search: &CanarySearch<'_>, ann: &mut CookieBrowser<'_>, first: &str) -> Vec<String> {
    let rows = search.fixture.world.db.query_number("SELECT count(*) FROM connections");
    assert!(rows >= 6, "{rows} connections");
    let all: Vec<String> = search.call(Method::Get, "/v1/connections?limit=200", &Value::Null).1["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();
    let mut handed_out = 0;
    for id in &all {
        for mode in ["strong", "available", "edge", "edge"] {
            let body = json!({ "consistency": mode, "workflow": "w", "step": "s" });
            let (status, text) =
                search.call_uncollected(Method::Post, &format!("/v1/connections/{id}/resolve"), &body, first);
            handed_out += usize::from(status == 200 && text.contains(CANARY));
            assert!(!text.contains("refresh_token") && !text.contains(private_key_line()), "never to a caller");
        }
    }
    assert!(handed_out >= 16, "what is looked for is what is handed out: {handed_out}");
    call_read_routes(search, &all);
    view_pages(search, ann, &all);
    all
}

/// Requests pass through to an app that repeats in its headers whatever it got.
fn pass_requests(search: &CanarySearch<'_>, all: &[String], first: &str) {
    let acme = &search.fixture.world.acme;
    acme.passed.responder.replace(Some(Box::new(|request| {
        let echo: Vec<_> = request.headers.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let headers =
            [("location", request.url.as_str()), ("x-echo", &echo.join(" ")), ("x-request-id", request.url.as_str())];
        Ok(answer(302, &headers, b""))
    })));
    let before = acme.passed.requests.borrow().len();
    for id in all {
        let answer = proxied(search.fixture, first, id, "me?x=1");
        search.collected_texts.borrow_mut().push((format!("a request through {id}"), answer));
    }
    assert!(acme.passed.requests.borrow().len() > before, "some app has a base_url");
}

/// Failures of every kind that repeat a secret, a scheduled run, and the disconnect of all connections.
fn fail_and_disconnect(search: &CanarySearch<'_>, ann: &mut CookieBrowser<'_>, all: &[String], first: &str) {
    let planted =
        json!({ "error": format!("no such token: {CANARY}"), "error_description": CANARY, "access_token": [CANARY] })
            .to_string();
    for status in [200, 302, 400, 401, 429, 500] {
        search.fixture.world.advance_clock(4000);
        for path in ["/token", "/me"] {
            search.fixture.world.acme.script_next(
                path,
                Reply::status(status, &planted).with_header("location", &format!("https://acme.example/{CANARY}")),
            );
        }
        for id in all {
            search.call(Method::Post, &format!("/v1/connections/{id}/check"), &Value::Null);
            let refused = search.call_uncollected(
                Method::Post,
                &format!("/v1/connections/{id}/resolve"),
                &json!({ "force_refresh": true }),
                first,
            );
            if refused.0 != 200 {
                search.collected_texts.borrow_mut().push(("a refused resolve".into(), refused.1));
            }
        }
        search.fixture.world.acme.clear_scripts();
    }
    search.fixture.world.advance_clock(90_000);
    search
        .collected_texts
        .borrow_mut()
        .push(("a run of the clock".into(), format!("{:?}", search.fixture.run_scheduled())));
    call_read_routes(search, all);
    view_pages(search, ann, all);
    search.fixture.world.acme.script_always("/revoke", Some(Reply::status(500, &planted)));
    for id in all {
        search.call(Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
    }
}

#[test]
fn a_secret_is_found_only_where_it_is_returned() {
    let fixture = Fixture::with_definition(&json!({ "request": { "base_url": app_url("api/") } }));
    let search = CanarySearch::new(&fixture);
    fixture.world.kept_writes.enabled.set(true);
    let first = fixture.key_text.expose().to_owned();
    let (mut ann, link, waiting) = make_keys_and_links(&search, &first);
    put_clients(&search);
    receive_events(&search, &first);
    let deliveries = tell_by_webhook_and_email(&search, &mut ann, &first);
    complete_consents(&search, &mut ann, &link, &waiting);
    search.collect_storage("while flows are open");
    let ids = connect_by_api(&search);
    connect_otherwise(&search, &mut ann, ids.first().unwrap());
    let all = resolve_all(&search, &mut ann, &first);
    pass_requests(&search, &all, &first);
    search.collect_storage("while all works");
    fail_and_disconnect(&search, &mut ann, &all, &first);
    search.collect_storage("while revocations wait");
    for _ in 0..4 {
        fixture.world.advance_clock(50_000);
        fixture.run_scheduled();
    }
    let emails = fixture.world.mail.sent.take();
    assert!(deliveries.borrow().len() > 5 && !emails.is_empty(), "there is something to search");
    search.collected_texts.borrow_mut().extend(deliveries.take().into_iter().map(|one| ("a delivery".to_owned(), one)));
    let text_of = |one: &Email| format!("{} {} {} {} {:?}", one.to, one.subject, one.text, one.html, one.headers);
    search.collected_texts.borrow_mut().extend(emails.iter().map(|one| ("an e-mail".to_owned(), text_of(one))));

    search.collect_storage("at the end");
    for table in ["connections", "oauth_clients", "flows", "revocations", "subscriptions"] {
        assert!(search.has_sealed_values(table), "{table} has sealed values to look at");
    }
    assert!(fixture.world.cache.dump_entries().contains("cx1."), "so has the cache");
    let found = search.find_leaks();
    assert!(found.is_empty(), "{}", found.join("\n"));

    // Tests the search itself: in a column, in a cache entry, in a log line.
    fixture.world.db.tamper(&format!("UPDATE workspaces SET name = '{}'", fixture.key_text.expose()));
    fixture.world.cache.entries.borrow_mut().insert("x".into(), (format!("\"{}", private_key_line()), i64::MAX));
    search.collect_storage("after a leak");
    let found = search.find_leaks();
    assert!(found.iter().any(|one| one.starts_with("the first key is in the database after a leak")), "{found:?}");
    assert!(
        found.iter().any(|one| one.starts_with("a line of a private key is in the cache after a leak")),
        "{found:?}"
    );
}
