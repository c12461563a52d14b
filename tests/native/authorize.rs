//! Who may do what: every route with every kind of key and person, what a key created, rotation, roles.

use std::collections::BTreeMap;

use connections::app::AppId;
use connections::authorize::{Action, Resource};
use connections::caller::{ApiKey, KeyScope};
use connections::environment::Environment;
use connections::http::Method;
use connections::http::routes::{ROUTES, RequiredAuth, RouteEntry};
use connections::ids::ConnectionId;
use connections::resolve::Source::{Cache, Database};
use connections::resolve::{Consistency, ResolveRequest};
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, link_path, make_key, request};
use crate::support::Fixture;

const WORKSPACE_PAGE: &str = "/";

// ---- every route, every kind of key ----

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyVariant {
    /// All scopes, no lists.
    Unlimited,
    /// One scope.
    OneScope(KeyScope),
    /// All scopes, and lists of connections and apps, or an environment.
    Limited { connections: bool, apps: bool, environment: bool },
    /// All scopes in another workspace.
    OtherWorkspace,
}

/// What is expected of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExpectedAccess {
    Allowed,
    /// 403 `insufficient_key_scope`.
    Forbidden,
    /// 404.
    Missing,
}

const KEY_VARIANTS: [KeyVariant; 18] = [
    KeyVariant::Unlimited,
    KeyVariant::OneScope(KeyScope::ConnectionsRead),
    KeyVariant::OneScope(KeyScope::ConnectionsWrite),
    KeyVariant::OneScope(KeyScope::Resolve),
    KeyVariant::OneScope(KeyScope::Proxy),
    KeyVariant::OneScope(KeyScope::Apps),
    KeyVariant::OneScope(KeyScope::Links),
    KeyVariant::OneScope(KeyScope::Keys),
    KeyVariant::OneScope(KeyScope::People),
    KeyVariant::OneScope(KeyScope::Events),
    KeyVariant::OneScope(KeyScope::Webhooks),
    KeyVariant::OneScope(KeyScope::All),
    KeyVariant::Limited { connections: true, apps: false, environment: false },
    KeyVariant::Limited { connections: false, apps: true, environment: false },
    KeyVariant::Limited { connections: true, apps: true, environment: false },
    KeyVariant::Limited { connections: false, apps: false, environment: true },
    KeyVariant::Limited { connections: true, apps: true, environment: true },
    KeyVariant::OtherWorkspace,
];

fn required_scope(line: &RouteEntry) -> Option<KeyScope> {
    match line.auth {
        RequiredAuth::Key(scope) => scope,
        RequiredAuth::KeyInHandler(scope) => Some(scope),
        RequiredAuth::Public
        | RequiredAuth::Operator
        | RequiredAuth::Browser
        | RequiredAuth::User(_)
        | RequiredAuth::App
        | RequiredAuth::Holder => None,
    }
}

/// The rules of the contract, written independently of the program.
fn expected_access(kind: KeyVariant, line: &RouteEntry, listed: bool) -> ExpectedAccess {
    use ExpectedAccess::{Allowed, Forbidden, Missing};
    let named = line.path.contains('{');
    // The other app is a catalogue app. Every key sees it, unless a list of apps excludes it.
    let app = matches!(line.resource, Resource::App | Resource::Client) || line.path.starts_with("/v1/apps/{app}");
    let listed = listed || app && matches!(kind, KeyVariant::Limited { apps: false, .. });
    match kind {
        KeyVariant::OneScope(scope) if scope == KeyScope::All || required_scope(line) == Some(scope) => Allowed,
        KeyVariant::OneScope(_) => Forbidden,
        KeyVariant::OtherWorkspace if named && (listed || !app) => Missing,
        KeyVariant::OtherWorkspace | KeyVariant::Unlimited => Allowed,
        KeyVariant::Limited { connections, environment, .. } => match (line.resource, line.action) {
            (Resource::SignInLink | Resource::Session | Resource::Person | Resource::Job | Resource::Webhook, _) => {
                Forbidden
            }
            _ if named && !listed => Missing,
            (Resource::Link, Action::Create) => Allowed,
            (_, Action::Create) | (Resource::App | Resource::Workspace, Action::Change) => Forbidden,
            (Resource::Client, Action::Change) if connections || environment => Forbidden,
            _ => Allowed,
        },
    }
}

/// A fixture with two of each resource: those in the lists of the limited keys, and others.
struct AccessFixture {
    fixture: Fixture,
    key: String,
    listed: BTreeMap<&'static str, String>,
    others: BTreeMap<&'static str, String>,
}

impl AccessFixture {
    fn new(kind: KeyVariant) -> Self {
        let fixture = Fixture::new();
        let first = first_key(&fixture);
        let make = |path: &str, body: Value| {
            let (status, made) = call(&fixture, &first, Method::Post, path, &body);
            assert_eq!(status, 201, "{made}");
            made
        };
        let id = |made: &Value| made["id"].as_str().unwrap().to_owned();
        let acme = fixture.connect("ann").to_string();
        let telegram = id(&make(
            "/v1/connections",
            json!({ "app": "telegram", "credential": { "type": "bot_token", "token": format!("123456789:{}", "a".repeat(35)) }, "check": false }),
        ));
        for (id, environment) in [(&acme, "production"), (&telegram, "test")] {
            fixture.world.db.tamper(&format!("UPDATE connections SET environment = '{environment}' WHERE id = '{id}'"));
        }
        let link = |connection: &str| id(&make("/v1/links", json!({ "connection": connection })));
        let sign_in = || id(&make("/v1/sign-in-links", json!({ "user": { "id": "ann" } })));
        TestBrowser::new(&fixture).sign_in();
        for id in ["leaving", "staying"] {
            TestBrowser::new(&fixture).sign_in_as(&json!({ "user": { "id": id } }));
        }
        let (_, sessions) = call(&fixture, &first, Method::Get, "/v1/sessions", &Value::Null);
        let session = id(&sessions["data"][0]);
        // Of an app without connections: a job of the others' would end them.
        let job = id(&make("/v1/apps/notion/disconnect-all", json!({ "confirm": "notion", "reason": "x" })));
        let webhook =
            || id(&make("/v1/webhooks", json!({ "url": "https://hooks.example/", "types": ["connection.created"] })));
        let limits = |key: &mut ApiKey| {
            let KeyVariant::Limited { connections, apps, environment } = kind else { return };
            key.environment = environment.then_some(Environment::Production);
            key.connections = connections.then(|| vec![ConnectionId::parse(&acme).unwrap()]);
            key.apps = apps.then(|| vec![AppId::parse("acme").unwrap()]);
        };
        let key_id = |text: &str| format!("key_{}", text.split('_').nth(1).unwrap());
        let mine = make_key(&fixture, |key| {
            key.scopes = match kind {
                KeyVariant::OneScope(scope) => vec![scope],
                _ => vec![KeyScope::All],
            };
            limits(key);
        });
        let narrow = make_key(&fixture, |key| {
            key.scopes = match kind {
                KeyVariant::OneScope(scope) => vec![scope],
                _ => vec![KeyScope::Resolve],
            };
            limits(key);
        });
        for (workflow, connection) in [("listed_workflow", &acme), ("unlisted_workflow", &telegram)] {
            fixture.world.db.tamper(&format!(
                "INSERT INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days)
                VALUES ('{connection}', '{workflow}', '', '{}', 1, 1, 1)",
                fixture.workspace
            ));
        }
        let listed = BTreeMap::from([
            ("connection", acme.clone()),
            ("path", "me".to_owned()),
            ("workflow", "listed_workflow".to_owned()),
            ("app", "acme".to_owned()),
            ("link", link(&acme)),
            ("key", key_id(&narrow)),
            ("session", session.clone()),
            ("sign_in_link", sign_in()),
            ("person", "leaving".to_owned()),
            ("job", job.clone()),
            ("webhook", webhook()),
            ("event", "evt_1".to_owned()),
        ]);
        let others = BTreeMap::from([
            ("connection", telegram.clone()),
            ("path", "getMe".to_owned()),
            ("workflow", "unlisted_workflow".to_owned()),
            ("app", "telegram".to_owned()),
            ("link", link(&telegram)),
            // With one scope only, no key with more permissions is visible either.
            ("key", if matches!(kind, KeyVariant::OneScope(_)) { key_id(&narrow) } else { key_id(&first) }),
            ("session", session),
            ("sign_in_link", sign_in()),
            ("person", "staying".to_owned()),
            ("job", job),
            ("webhook", webhook()),
            ("event", "evt_1".to_owned()),
        ]);
        for webhook in [&listed["webhook"], &others["webhook"]] {
            fixture.world.db.tamper(&format!(
                "INSERT OR IGNORE INTO outbox (id, workspace_id, type, occurred_at) VALUES ('evt_1', '{}', 'webhook.test', 1)",
                fixture.workspace
            ));
            fixture.world.db.tamper(&format!(
                "INSERT INTO deliveries (event_id, subscription_id, status, created_at) VALUES ('evt_1', '{webhook}', 'failed', 1)"
            ));
        }
        let key = if kind == KeyVariant::OtherWorkspace { other_workspace_key(&fixture) } else { mine };
        fixture.world.db.tamper(
            "INSERT INTO identity_providers (id, workspace_id, issuer, client_id, sealed_secret, client_auth, authorize_url, token_url,
              keys_url, sends_issuer, allowed_domains, admin_groups, created_at, updated_at) SELECT 'cli_' || substr(id, 4), id, 'https://login.example', 'client', 'sealed', 'basic',
              'https://login.example/a', 'https://login.example/t', 'https://login.example/k', 1, '[]', '[]', 1, 1 FROM workspaces",
        );
        Self { fixture, key, listed, others }
    }

    fn request_route(&self, line: &RouteEntry, listed: bool) -> (u16, Value) {
        let things = if listed { &self.listed } else { &self.others };
        let filled = |segment: &str| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            None => segment.to_owned(),
            Some(name) => things.get(name).unwrap_or_else(|| panic!("{}: what is {{{name}}}?", line.path)).clone(),
        };
        let path = line.path.split('/').map(filled).collect::<Vec<_>>().join("/");
        let mut request = request(
            line.method,
            &path,
            match line.method {
                // A request that reaches its body is refused because of it, and changes nothing.
                Method::Post | Method::Put | Method::Patch => b"{malformed".to_vec(),
                _ => vec![],
            },
        );
        request.headers.push(("authorization".into(), format!("Bearer {}", self.key)));
        let context = self.fixture.world.context();
        let response = self.fixture.world.run(async { connections::http::handle(&context, &request).await });
        (response.status, serde_json::from_str(&response.body).unwrap())
    }
}

/// A key with all scopes of another workspace, which has no resources.
fn other_workspace_key(fixture: &Fixture) -> String {
    let admin = "abcdefghijklmnopqrstuvwxyz0123456789";
    let (status, made) = call(fixture, admin, Method::Post, "/v1/workspaces", &json!({ "name": "Elsewhere" }));
    assert_eq!(status, 201);
    made["key"]["key"].as_str().unwrap().to_owned()
}

fn routes_for_keys() -> impl Iterator<Item = &'static RouteEntry> {
    ROUTES.iter().filter(|line| matches!(line.auth, RequiredAuth::Key(_) | RequiredAuth::KeyInHandler(_)))
}

#[test]
fn every_route_answers_every_kind_of_key_as_the_table_says() {
    let mut wrong = Vec::new();
    for kind in KEY_VARIANTS {
        let shared = AccessFixture::new(kind);
        for line in routes_for_keys() {
            for listed in [true, false] {
                let expected = expected_access(kind, line, listed);
                let deletes = line.method == Method::Delete && expected == ExpectedAccess::Allowed;
                let own = deletes.then(|| AccessFixture::new(kind));
                let (status, answer) = own.as_ref().unwrap_or(&shared).request_route(line, listed);
                let met = match expected {
                    ExpectedAccess::Allowed => ![401, 403, 404].contains(&status),
                    ExpectedAccess::Forbidden => status == 403 && answer["code"] == "insufficient_key_scope",
                    ExpectedAccess::Missing => status == 404,
                };
                if !met {
                    let which = if listed { "listed" } else { "other" };
                    wrong.push(format!(
                        "{kind:?}: {:?} {} ({which}): {status} instead of {expected:?}",
                        line.method, line.path
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lists_show_a_key_only_its_workspace_and_allow_lists() {
    for kind in
        KEY_VARIANTS.into_iter().filter(|kind| matches!(kind, KeyVariant::Limited { .. } | KeyVariant::OtherWorkspace))
    {
        let setting = AccessFixture::new(kind);
        for line in routes_for_keys().filter(|line| line.action == Action::List) {
            let (_, answer) = setting.request_route(line, true);
            let answer = answer.to_string();
            let everybodys_app = matches!(kind, KeyVariant::OtherWorkspace | KeyVariant::Limited { apps: false, .. });
            for (what, id) in &setting.others {
                // A link names the key that created it, and an event the key that acted. That grants no access.
                let names_keys = matches!(line.resource, Resource::Link | Resource::Event);
                let told = *what == "app" && everybodys_app || *what == "key" && names_keys;
                assert!(told || !answer.contains(id.as_str()), "{kind:?} {} shows {what} {id}", line.path);
            }
            // "acme" is also among the catalogue's examples.
            let things =
                setting.listed.iter().filter(|(what, _)| kind == KeyVariant::OtherWorkspace && **what != "app");
            for (what, id) in things {
                assert!(!answer.contains(&format!("\"{id}\"")), "{what} {}", line.path);
            }
        }
    }
}

#[test]
fn a_limited_key_creates_links_only_for_its_own_connections() {
    let setting = AccessFixture::new(KeyVariant::Limited { connections: true, apps: false, environment: false });
    let (own, other) = (&setting.listed["connection"], &setting.others["connection"]);
    for (body, status, code) in [
        (json!({ "connection": own }), 201, Value::Null),
        (json!({ "connection": own, "on_duplicate": "reuse" }), 201, Value::Null),
        (json!({ "connection": other }), 404, json!("connection_not_found")),
        (json!({ "connection": other, "on_duplicate": "reuse" }), 404, json!("connection_not_found")),
        (json!({ "app": "acme" }), 403, json!("insufficient_key_scope")),
        (json!({ "app": "acme", "on_duplicate": "reuse" }), 403, json!("insufficient_key_scope")),
        (json!({}), 403, json!("insufficient_key_scope")),
    ] {
        let (found, answer) = call(&setting.fixture, &setting.key, Method::Post, "/v1/links", &body);
        assert_eq!((found, &answer["code"]), (status, &code), "{body}: {answer}");
    }
}

#[test]
fn a_link_of_another_connection_does_not_exist_for_a_limited_key() {
    let fixture = Fixture::new();
    let mine = fixture.connect("ann");
    let key = make_key(&fixture, |key| key.connections = Some(vec![mine.clone()]));
    let body = json!({ "app": "acme", "user": { "id": "bob" }, "confirm": true });
    let (_, made) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/links", &body);
    let path = format!("/v1/links/{}", made["id"].as_str().unwrap());
    let seen = || {
        let list = call(&fixture, &key, Method::Get, "/v1/links", &Value::Null).1["data"].as_array().unwrap().len();
        let confirm =
            call(&fixture, &key, Method::Post, &format!("{path}/confirm"), &json!({ "user": { "id": "bob" } }));
        let end = call(&fixture, &key, Method::Delete, &path, &Value::Null);
        (call(&fixture, &key, Method::Get, &path, &Value::Null).0, list, confirm.0, end.0)
    };
    assert_eq!(seen(), (404, 0, 404, 404), "it names no connection of the key's");
    let mut browser = TestBrowser::new(&fixture);
    let pressed = browser.press(&link_path(&made));
    browser.complete_consent(&pressed, "bob");
    let (_, link) = call(&fixture, &first_key(&fixture), Method::Get, &path, &Value::Null);
    assert_eq!(link["status"], "awaiting_confirmation");
    assert_eq!(seen(), (404, 0, 404, 404), "it names another one");
}

#[test]
fn a_shared_client_is_changed_only_by_a_key_with_all_its_apps() {
    let fixture = Fixture::new();
    let apps = |ids: &[&str]| Some(ids.iter().map(|id| AppId::parse(id).unwrap()).collect::<Vec<_>>());
    let family: Vec<_> = connections::catalogue::apps_sharing_client("gmail").collect();
    assert!(family.len() > 1 && family.contains(&"google-drive"), "{family:?}");
    let put = |key: &str, app: &str| {
        let body = json!({ "client_id": "mine", "client_secret": "s" });
        call(&fixture, key, Method::Put, &format!("/v1/apps/{app}/client"), &body)
    };
    let one = make_key(&fixture, |key| key.apps = apps(&["gmail"]));
    let (status, problem) = put(&one, "gmail");
    assert_eq!((status, problem["code"].as_str()), (403, Some("insufficient_key_scope")));
    assert!(problem["detail"].as_str().unwrap().contains("google-drive"), "{problem}");
    assert_eq!(put(&one, "google-drive").0, 404);
    let nearly: Vec<_> = family.iter().copied().filter(|id| *id != "google-drive").collect();
    assert_eq!(put(&make_key(&fixture, |key| key.apps = apps(&nearly)), "gmail").0, 403);
    let whole = make_key(&fixture, |key| key.apps = apps(&family));
    assert_eq!(put(&whole, "gmail").0, 200);
    for (method, path) in [(Method::Delete, ""), (Method::Post, "/test")] {
        let path = format!("/v1/apps/gmail/client{path}");
        assert_eq!(call(&fixture, &one, method, &path, &Value::Null).0, 403, "{path}");
    }
    assert_eq!(call(&fixture, &whole, Method::Delete, "/v1/apps/gmail/client", &Value::Null).0, 200);
}

#[test]
fn a_too_large_body_does_not_reveal_whether_a_resource_exists() {
    let fixture = Fixture::new();
    let mut large = request(Method::Patch, "/v1/connections/con_0123456789abcdefABCD-_", vec![]);
    large.body = connections::http::Body::TooLarge;
    large.headers.push(("authorization".into(), format!("Bearer {}", first_key(&fixture))));
    let status = fixture.world.run(async { connections::http::handle(&fixture.world.context(), &large).await.status });
    assert_eq!(status, 404);
}

// ---- what a key created ----

/// With its own key: an open link, a started link, an open sign-in link, and a signed-in person.
struct MadeByKey<'a> {
    key: String,
    id: String,
    open_link: String,
    used_link: String,
    sign_in: String,
    guest: TestBrowser<'a>,
    person: TestBrowser<'a>,
    at_the_app: connections::http::Response,
}

fn make_with_key(fixture: &Fixture) -> MadeByKey<'_> {
    let key = make_key(fixture, |key| key.name = "Leaked".into());
    let id = format!("key_{}", key.split('_').nth(1).unwrap());
    let make = |path: &str, body: Value| link_path(&call(fixture, &key, Method::Post, path, &body).1);
    let app = || json!({ "app": "acme", "user": { "id": "guest" } });
    let sign = || json!({ "user": { "id": "ann" }, "role": "admin" });
    let (open_link, used_link) = (make("/v1/links", app()), make("/v1/links", app()));
    let mut guest = TestBrowser::new(fixture);
    let at_the_app = guest.press(&used_link);
    assert_eq!(at_the_app.status, 303);
    let mut person = TestBrowser::new(fixture);
    assert_eq!(person.press(&make("/v1/sign-in-links", sign())).status, 303);
    let sign_in = make("/v1/sign-in-links", sign());
    MadeByKey { key, id, open_link, used_link, sign_in, guest, person, at_the_app }
}

#[test]
fn revoking_a_key_ends_what_it_created() {
    let fixture = Fixture::new();
    let mut made = make_with_key(&fixture);
    let start = made.person.post("/oauth/start/acme", "/oauth/start/acme", "");
    assert_eq!(start.status, 303, "a flow that waits at the app");
    let child = json!({ "name": "child", "scopes": ["resolve"] });
    let (_, child) = call(&fixture, &made.key, Method::Post, "/v1/keys", &child);
    assert_eq!(child["made_by"], json!(made.id));
    let kept = make_with_key(&fixture);

    let (status, answer) =
        call(&fixture, &first_key(&fixture), Method::Delete, &format!("/v1/keys/{}", made.id), &Value::Null);
    assert_eq!(status, 200);
    assert_eq!(answer["ended"], json!({ "links": 2, "sign_in_links": 1, "sessions": 2 }));
    assert_eq!(answer["made_keys"], json!([child["id"]]));

    let tokens = fixture.world.acme.count_requests("/token");
    assert_eq!(made.person.get(WORKSPACE_PAGE).status, 401);
    for path in [&made.open_link, &made.used_link, &made.sign_in] {
        assert_eq!(TestBrowser::new(&fixture).press(path).status, 410, "{path}");
    }
    assert_eq!(made.guest.press(&made.used_link).status, 410);
    for (browser, pressed) in [(&mut made.guest, &made.at_the_app), (&mut made.person, &start)] {
        let (code, state) = fixture.world.acme.consent(pressed.header("location").unwrap(), "eve");
        let query = format!("state={state}&code={}", code.expose());
        let back = browser.get(&format!("/oauth/callback/{}?{query}", fixture.client));
        assert_eq!(back.header("location"), Some("/oauth/ended/other-browser"));
    }
    assert_eq!(fixture.world.acme.count_requests("/token"), tokens, "no code was redeemed");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 0);

    let MadeByKey { mut person, open_link, .. } = kept;
    assert_eq!(person.get(WORKSPACE_PAGE).status, 200, "another key's");
    assert_eq!(TestBrowser::new(&fixture).get(&open_link).status, 200);
}

/// Copies the rows that a key made, before the others in the order of their index.
fn copy_made_rows(fixture: &Fixture, table: &str, unique: &[&str], key: &str, copies: i64) {
    let db = &fixture.world.db;
    let columns = db.query_value(&format!("SELECT group_concat(name, ' ') FROM pragma_table_info('{table}')"));
    let columns: Vec<_> = columns.as_str().unwrap().split(' ').map(str::to_owned).collect();
    let value = |name: &String| {
        let before = if unique.contains(&name.as_str()) { "'!' || n.i || " } else { "" };
        format!("{before}t.{name}")
    };
    let values: Vec<_> = columns.iter().map(value).collect();
    db.tamper(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {copies})
        INSERT INTO {table} ({}) SELECT {} FROM n, (SELECT * FROM {table} WHERE created_by_key = '{key}' LIMIT 1) t",
        columns.join(", "),
        values.join(", ")
    ));
}

#[test]
fn what_a_revoked_key_made_ends_in_steps_and_works_no_more_from_the_first_one_on() {
    let fixture = Fixture::new();
    let mut made = make_with_key(&fixture);
    let open = make_with_key(&fixture);
    let id = made.id.clone();
    copy_made_rows(&fixture, "sessions", &["token_hash"], &id, 700);
    copy_made_rows(&fixture, "sign_in_links", &["token_hash"], &id, 1_200);
    copy_made_rows(&fixture, "connect_links", &["id", "token_hash", "session_hash"], &id, 600);
    let left = || {
        ["sessions", "sign_in_links", "connect_links"].map(|table| {
            let unfinished = if table == "connect_links" { "AND status = 'open'" } else { "" };
            let sql = format!("SELECT count(*) FROM {table} WHERE created_by_key = '{id}' {unfinished}");
            fixture.world.db.query_number(&sql)
        })
    };
    let before = left();
    let (_, answer) = call(&fixture, &first_key(&fixture), Method::Delete, &format!("/v1/keys/{id}"), &Value::Null);
    assert_eq!(answer["ended"]["sessions"], json!(before[0]));
    assert_eq!(answer["ended"]["links"], json!(before[2]));
    assert_eq!(left(), before.map(|rows| rows - 500));
    let key_rows = || fixture.world.db.query_number(&format!("SELECT count(*) FROM api_keys WHERE id = '{id}'"));
    assert_eq!(key_rows(), 1);

    assert_eq!(made.person.get(WORKSPACE_PAGE).status, 401);
    for path in [&made.open_link, &made.used_link, &made.sign_in] {
        assert!([404, 410].contains(&TestBrowser::new(&fixture).press(path).status), "{path}");
    }
    let mut steps = 0;
    while left() != [0, 0, 0] {
        fixture.run_scheduled();
        steps += 1;
    }
    assert_eq!(steps, 2);
    let MadeByKey { open_link, .. } = open;
    assert_eq!(TestBrowser::new(&fixture).get(&open_link).status, 200, "another key's");
    for path in [&made.open_link, &made.sign_in] {
        assert_eq!(TestBrowser::new(&fixture).press(path).status, 410, "{path}");
    }
    fixture.world.advance_clock(7_200);
    fixture.run_scheduled();
    assert_eq!(key_rows(), 0);
}

#[test]
fn revoking_a_key_keeps_what_it_created_on_request() {
    let fixture = Fixture::new();
    let mut made = make_with_key(&fixture);
    let path = format!("/v1/keys/{}?made=keep", made.id);
    let (status, answer) = call(&fixture, &first_key(&fixture), Method::Delete, &path, &Value::Null);
    assert_eq!((status, &answer["ended"]), (200, &json!({ "links": 0, "sign_in_links": 0, "sessions": 0 })));
    assert_eq!(made.person.get(WORKSPACE_PAGE).status, 200);
    assert!(made.guest.complete_consent(&made.at_the_app, "eve").contains("Acme is connected"));
    for wrong in ["made=", "made=all", "keep=1", "made=keep&made=end"] {
        let path = format!("/v1/keys/{}?{wrong}", fixture.key.id.as_str());
        assert_eq!(call(&fixture, &first_key(&fixture), Method::Delete, &path, &Value::Null).0, 422, "{wrong}");
    }
}

#[test]
fn unconfirmed_connections_end_with_the_key_and_are_revoked() {
    for repairs in [false, true] {
        let fixture = Fixture::new();
        let key = make_key(&fixture, |_| {});
        let mut body = json!({ "app": "acme", "user": { "id": "ann" }, "confirm": true });
        if repairs {
            body["connection"] = json!(fixture.connect("ann"));
        }
        let (_, made) = call(&fixture, &key, Method::Post, "/v1/links", &body);
        let mut browser = TestBrowser::new(&fixture);
        let pressed = browser.press(&link_path(&made));
        browser.complete_consent(&pressed, "ann");
        let path = format!("/v1/links/{}", made["id"].as_str().unwrap());
        let first = first_key(&fixture);
        let status = || call(&fixture, &first, Method::Get, &path, &Value::Null).1["status"].clone();
        assert_eq!(status(), "awaiting_confirmation");
        let id = format!("key_{}", key.split('_').nth(1).unwrap());
        let (_, answer) = call(&fixture, &first, Method::Delete, &format!("/v1/keys/{id}"), &Value::Null);
        assert_eq!(answer["ended"]["links"], 1);
        assert_eq!(status(), "ended");
        let confirm = json!({ "user": { "id": "ann" } });
        assert_eq!(call(&fixture, &first, Method::Post, &format!("{path}/confirm"), &confirm).0, 409);
        for _ in 0..3 {
            fixture.world.advance_clock(300);
            fixture.run_scheduled();
        }
        assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM flows WHERE sealed_grant IS NOT NULL"), 0);
        let left = fixture.world.db.query_number("SELECT count(*) FROM connections WHERE status = 'connected'");
        assert_eq!(left, i64::from(repairs), "the repaired one goes on as it was");
        assert_eq!(fixture.world.acme.has_live_grant("ann"), repairs, "a grant that nobody has is revoked");
    }
}

#[test]
fn nothing_that_a_key_created_outlives_it() {
    let fixture = Fixture::new();
    let end = fixture.world.now().plus(300);
    let key = make_key(&fixture, |key| key.expires_at = Some(end));
    let make = |path: &str, body: Value| call(&fixture, &key, Method::Post, path, &body).1;
    let link = make("/v1/links", json!({ "app": "acme", "user": { "id": "guest" } }));
    let sign_in = make("/v1/sign-in-links", json!({ "user": { "id": "ann" } }));
    assert_eq!((&link["expires_at"], &sign_in["expires_at"]), (&json!(end), &json!(end)));
    let mut person = TestBrowser::new(&fixture);
    let signed_in = person.press(&link_path(&sign_in));
    assert!(signed_in.header("set-cookie").unwrap().contains("Max-Age=300;"));
    let mut guest = TestBrowser::new(&fixture);
    let pressed = guest.press(&link_path(&link));
    fixture.world.advance_clock(299);
    assert_eq!(person.get(WORKSPACE_PAGE).status, 200);
    fixture.world.advance_clock(1);
    assert_eq!(person.get(WORKSPACE_PAGE).status, 401);
    assert_eq!(guest.press(&link_path(&link)).status, 410);
    let (code, state) = fixture.world.acme.consent(pressed.header("location").unwrap(), "eve");
    let query = format!("state={state}&code={}", code.expose());
    let back = guest.get(&format!("/oauth/callback/{}?{query}", fixture.client));
    assert_eq!(back.header("location"), Some("/oauth/ended/other-browser"));
}

#[test]
fn a_key_that_is_being_revoked_creates_nothing() {
    let fixture = Fixture::new();
    let presented = fixture.make_key(|_| {});
    fixture.world.run(async {
        let context = fixture.world.context();
        let (db, now) = (context.db(), context.now());
        let key = connections::store::keys::get(db, &presented.id).await.unwrap().unwrap();
        connections::store::keys::revoke(db, &fixture.workspace, &key.id, true, None, now).await.unwrap().unwrap();
        // A request that passed the check earlier continues.
        let maker = connections::caller::CreatorKey::from(&key);
        let new = connections::connect::link::NewLink {
            app: Some(fixture.app.clone()),
            auth_method: None,
            connection: None,
            scopes: None,
            user: None,
            settings: connections::connection::ConnectionSettings::default(),
            return_to: None,
            popup_origin: None,
            expires_in: 60,
            on_duplicate: connections::store::links::OnDuplicate::Ask,
            confirm: false,
            made_by: Some(maker),
        };
        let refused =
            connections::connect::link::create(&context, &fixture.workspace, new, |_| true).await.unwrap_err();
        assert_eq!(refused.code, connections::error::ErrorCode::Unauthorized);
        let child = ApiKey { made_by: Some(key.id.clone()), hash: "h".into(), ..fixture.key.clone() };
        assert!(!connections::store::keys::add(db, &child).await.unwrap());
    });
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connect_links"), 0);
}

#[test]
fn links_and_sessions_are_listed_by_page_and_ended_one_by_one() {
    let fixture = Fixture::new();
    let first = first_key(&fixture);
    let get = |path: &str| call(&fixture, &first, Method::Get, path, &Value::Null).1;
    let count = |path: &str| get(path)["data"].as_array().unwrap().len();
    let mut made = make_with_key(&fixture);
    let other = make_with_key(&fixture);
    for (path, of_one, all) in [("/v1/links", 2, 4), ("/v1/sign-in-links", 2, 4), ("/v1/sessions", 2, 4)] {
        assert_eq!((count(&format!("{path}?key={}", made.id)), count(path)), (of_one, all), "{path}");
        let mut seen = std::collections::BTreeSet::new();
        let mut next = format!("{path}?limit=1");
        loop {
            let page = get(&next);
            seen.insert(page["data"][0]["id"].as_str().unwrap().to_owned());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("{path}?limit=1&cursor={cursor}");
        }
        assert_eq!(seen.len(), all, "{path}");
        let listed = get(path).to_string();
        for secret in made.person.cookies.values().chain(made.guest.cookies.values()) {
            assert!(!listed.contains(secret.as_str()));
        }
        for secret in [&made.open_link, &made.sign_in] {
            assert!(!listed.contains(secret.rsplit('/').next().unwrap()));
        }
        for wrong in ["cursor=x", "cursor=1.x", "key=x", "limit=0", "nonsense=1"] {
            assert_eq!(
                call(&fixture, &first, Method::Get, &format!("{path}?{wrong}"), &Value::Null).0,
                422,
                "{path} {wrong}"
            );
        }
    }
    for (query, found) in [
        ("status=open", 4),
        ("status=ended", 0),
        ("status=expired", 0),
        ("app=acme", 4),
        ("app=slack", 0),
        ("connection=con_0123456789abcdefABCD-_", 0),
    ] {
        assert_eq!(count(&format!("/v1/links?{query}")), found, "{query}");
    }
    assert_eq!(count("/v1/sessions?type=link"), 2);
    assert_eq!(count("/v1/sessions?type=person&user=ann"), 2);
    assert_eq!(count("/v1/sessions?user=nobody"), 0);

    let session = get(&format!("/v1/sessions?type=person&key={}", made.id))["data"][0].clone();
    assert_eq!((&session["role"], &session["made_by"]), (&json!("admin"), &json!(made.id)));
    let end = |path: String| call(&fixture, &first, Method::Delete, &path, &Value::Null).0;
    let of = |one: &Value| one["id"].as_str().unwrap().to_owned();
    assert_eq!(end(format!("/v1/sessions/{}", of(&session))), 200);
    assert_eq!(made.person.get(WORKSPACE_PAGE).status, 401);
    assert_eq!(end(format!("/v1/sessions/{}", of(&session))), 404, "it is gone");
    let open = get(&format!("/v1/sign-in-links?key={}", made.id))["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["status"] == "open")
        .map(of)
        .unwrap();
    assert_eq!(end(format!("/v1/sign-in-links/{open}")), 200);
    assert_eq!(TestBrowser::new(&fixture).press(&made.sign_in).status, 410);
    for link in get(&format!("/v1/links?key={}", made.id))["data"].as_array().unwrap() {
        for _ in 0..2 {
            let (status, ended) =
                call(&fixture, &first, Method::Delete, &format!("/v1/links/{}", of(link)), &Value::Null);
            assert_eq!((status, &ended["status"]), (200, &json!("ended")), "twice is as once");
        }
    }
    assert_eq!(made.guest.press(&made.used_link).status, 410);
    assert_eq!(count("/v1/sessions?type=link"), 1, "the link's session went with it");

    let MadeByKey { mut guest, at_the_app, used_link: _, id, .. } = other;
    assert!(guest.complete_consent(&at_the_app, "eve").contains("Acme is connected"));
    let used = get(&format!("/v1/links?status=used&key={id}"))["data"][0].clone();
    assert_eq!(end(format!("/v1/links/{}", of(&used))), 409);
    let made_it = used["connection"].as_str().unwrap();
    assert_eq!(count(&format!("/v1/links?connection={made_it}")), 1);
}

// ---- rotation ----

fn rotate_key(fixture: &Fixture, key: &str, body: &Value) -> (u16, Value) {
    let id = format!("key_{}", key.split('_').nth(1).unwrap());
    call(fixture, key, Method::Post, &format!("/v1/keys/{id}/rotate"), body)
}

#[test]
fn a_rotated_key_has_two_secrets_until_the_overlap_ends() {
    let fixture = Fixture::new();
    let mut made = make_with_key(&fixture);
    let old = made.key.clone();
    let works = |key: &str| call(&fixture, key, Method::Get, "/v1/workspace", &Value::Null).0;
    let (status, answer) = rotate_key(&fixture, &old, &json!({ "overlap_seconds": 100 }));
    let new = answer["key"].as_str().unwrap().to_owned();
    assert_eq!((status, answer["id"].as_str()), (200, Some(made.id.as_str())));
    assert_ne!(new, old);
    assert_eq!(answer["previous_secret_until"], json!(fixture.world.now().plus(100)));
    assert_eq!((works(&old), works(&new)), (200, 200));
    assert_eq!(made.person.get(WORKSPACE_PAGE).status, 200);
    assert!(made.guest.complete_consent(&made.at_the_app, "eve").contains("Acme is connected"));
    fixture.world.advance_clock(99);
    assert_eq!((works(&old), works(&new)), (200, 200));
    assert_eq!(rotate_key(&fixture, &old, &json!({})).0, 409, "by the secret that was replaced");
    fixture.world.advance_clock(1);
    assert_eq!((works(&old), works(&new)), (401, 200));
    let (_, list) = call(&fixture, &new, Method::Get, "/v1/keys", &Value::Null);
    let shown = list["data"].as_array().unwrap().iter().find(|one| one["id"] == json!(made.id)).unwrap().clone();
    assert_eq!(shown["previous_secret_until"], Value::Null);
    assert!(!list.to_string().contains(&new));

    let (_, at_once) = rotate_key(&fixture, &new, &json!({ "overlap_seconds": 0 }));
    assert_eq!((works(&new), works(at_once["key"].as_str().unwrap())), (401, 200));
    let newest = at_once["key"].as_str().unwrap();
    let (_, day) = rotate_key(&fixture, newest, &json!({}));
    assert_eq!(day["previous_secret_until"], json!(fixture.world.now().plus(86_400)));
    let newest = day["key"].as_str().unwrap();
    for wrong in [json!({ "overlap_seconds": -1 }), json!({ "overlap_seconds": 604_801 }), json!({ "overlap": 1 })] {
        assert_eq!(rotate_key(&fixture, newest, &wrong).0, 422, "{wrong}");
    }
    let resolver = make_key(&fixture, |key| key.scopes = vec![KeyScope::Resolve]);
    assert_eq!(rotate_key(&fixture, &resolver, &json!({})).0, 403, "it lacks the scope");
    let narrow = make_key(&fixture, |key| key.scopes = vec![KeyScope::Keys]);
    let other = format!("/v1/keys/{}/rotate", fixture.key.id.as_str());
    assert_eq!(call(&fixture, &narrow, Method::Post, &other, &json!({})).0, 404, "a wider key");
    assert_eq!(rotate_key(&fixture, &narrow, &json!({})).0, 200, "itself");
}

#[test]
fn one_of_two_concurrent_rotations_is_refused() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let path = format!("/v1/keys/{}/rotate", fixture.key.id.as_str());
    let answers = fixture.world.run_concurrently((0..2).map(|_| {
        let mut request = request(Method::Post, &path, b"{}".to_vec());
        request.headers.push(("authorization".into(), format!("Bearer {key}")));
        let context = fixture.world.context();
        async move { connections::http::handle(&context, &request).await.status }
    }));
    let mut answers = answers;
    answers.sort_unstable();
    assert_eq!(answers, [200, 409]);
}

#[test]
fn the_cache_accepts_both_secrets_until_the_overlap_ends() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let old = fixture.key_text.expose().to_owned();
    let edge = |key: &str| {
        let presented = connections::caller::PresentedKey::parse(key).unwrap();
        let request = ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() };
        let context = fixture.world.context();
        fixture.world.run(async {
            let mut answered = connections::resolve::resolve(&context, &presented, &id, request.validated()).await?;
            for after in std::mem::take(&mut answered.deferred) {
                connections::resolve::deferred::run(&context, after).await;
            }
            Ok::<_, connections::error::Error>(answered.resolved.source)
        })
    };
    assert_eq!((edge(&old).unwrap(), edge(&old).unwrap()), (Database, Cache));
    let (_, rotated) = rotate_key(&fixture, &old, &json!({ "overlap_seconds": 600 }));
    let new = rotated["key"].as_str().unwrap();
    fixture.world.advance_clock(61);
    assert_eq!(edge(new).unwrap(), Database, "the copy from before is gone");
    assert_eq!((edge(new).unwrap(), edge(&old).unwrap()), (Cache, Cache), "the copy knows both");
    fixture.world.advance_clock(540);
    assert_eq!(edge(&old).unwrap_err().code, connections::error::ErrorCode::Unauthorized);
    edge(new).unwrap();
}

#[test]
fn a_cache_entry_that_a_rotation_could_not_delete_is_deleted_by_the_scheduled_run() {
    let fixture = Fixture::new();
    let key = fixture.key_text.expose().to_owned();
    fixture.world.cache.refused_deletes.set(3);
    let (status, rotated) = rotate_key(&fixture, &key, &json!({ "overlap_seconds": 600 }));
    assert_eq!((status, &rotated["cache_entries"]["status"]), (200, &json!("retrying")));
    fixture.world.advance_clock(61);
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM cache_deletes"), 0);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM api_keys"), 1, "it is no revoked key");
}

// ---- roles ----

/// A connection that belongs to the whole workspace.
fn connect_for_workspace(fixture: &Fixture, account: &str) -> ConnectionId {
    let request = connections::connect::start::ConnectRequest { user: None, ..fixture.connect_request() };
    fixture.complete_flow(&request, account).connection.unwrap()
}

fn sign_in_person<'a>(fixture: &'a Fixture, id: &str, role: &str) -> TestBrowser<'a> {
    let mut browser = TestBrowser::new(fixture);
    browser.sign_in_as(&json!({ "user": { "id": id }, "role": role }));
    browser
}

#[test]
fn a_member_sees_and_checks_a_shared_connection_and_an_admin_changes_it() {
    let fixture = Fixture::new();
    let id = connect_for_workspace(&fixture, "company");
    let page = format!("/connections/{id}");
    let mut member = sign_in_person(&fixture, "eve", "member");
    let shown = member.get(&page);
    assert_eq!(shown.status, 200);
    for button in ["/rename", "/disconnect", "/reconnect", "disconnect=1"] {
        assert!(!shown.body.contains(button), "{button}: {}", shown.body);
    }
    assert!(shown.body.contains("/check") && shown.body.contains("Ask an admin"), "{}", shown.body);
    assert!(!member.get(&format!("{page}?disconnect=1")).body.contains("Disconnect now"));
    assert_eq!(member.post(&page, &format!("{page}/check"), "").status, 303);
    for what in ["rename", "reconnect", "disconnect"] {
        let refused = member.post(&page, &format!("{page}/{what}"), "name=Mine");
        assert_eq!(refused.status, 403, "{what}");
        assert!(refused.body.contains("Ask an admin"), "{}", refused.body);
    }
    assert_eq!(member.get(&format!("{page}/reconnect")).status, 403);
    assert_eq!(
        (fixture.load_connection(&id).generation, fixture.load_connection(&id).name.as_str()),
        (1, "Acme (company@acme.example)")
    );
    fixture.world.db.tamper("UPDATE connections SET status = 'needs_reconnect', reconnect_reason = 'revoked'");
    assert!(!member.get(WORKSPACE_PAGE).body.contains("/reconnect"), "no button in the list either");

    let mut admin = sign_in_person(&fixture, "root", "admin");
    assert!(admin.get(WORKSPACE_PAGE).body.contains(&format!("{page}/reconnect")));
    assert_eq!(admin.post(&page, &format!("{page}/rename"), "name=Ours").status, 303);
    let pressed = admin.post(&page, &format!("{page}/reconnect"), "");
    assert_eq!(pressed.status, 303);
    assert!(admin.complete_consent(&pressed, "company").contains("Connected as"));
    assert_eq!(
        (fixture.load_connection(&id).generation, fixture.load_connection(&id).user),
        (2, None),
        "it stays shared"
    );
    assert_eq!(admin.post(&page, &format!("{page}/disconnect"), "").status, 303);
    assert!(fixture.find_connection(&id).is_none());
}

#[test]
fn an_admin_sees_and_changes_all_connections_with_their_owners() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let page = format!("/connections/{id}");
    assert_eq!(sign_in_person(&fixture, "eve", "member").get(&page).status, 404);
    let mut admin = sign_in_person(&fixture, "root", "admin");
    let list = admin.get(WORKSPACE_PAGE).body;
    assert!(list.contains(&page) && list.contains(r#"data-label="Owner"><bdi>Ann</bdi></td>"#), "{list}");
    let own = sign_in_person(&fixture, "ann", "member").get(WORKSPACE_PAGE).body;
    assert!(own.contains(r#"data-label="Owner"><bdi>You</bdi></td>"#), "{own}");
    let pressed = admin.post(&page, &format!("{page}/reconnect"), "");
    let question = admin.complete_consent(&pressed, "bob");
    assert!(question.contains("value=\"switch\""), "{question}");
    let flow = fixture.world.db.query_value("SELECT id FROM flows WHERE status = 'undecided'");
    let flow = format!("/flows/{}", flow.as_str().unwrap());
    assert_eq!(admin.post(&flow, &flow, "choice=switch").status, 303);
    let row = fixture.load_connection(&id);
    assert_eq!((row.generation, row.user.unwrap().id.as_str()), (2, "ann"), "it stays hers");
    let (_, events) =
        call(&fixture, &first_key(&fixture), Method::Get, &format!("/v1/connections/{id}/events"), &Value::Null);
    assert_eq!(events["data"][0]["actor"], "user:root");
}

#[test]
fn the_question_about_another_account_names_the_workflows_that_would_act_as_it() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    for (workflow, step) in [("Invoices", "send"), ("Invoices", "file"), ("Greetings", "post")] {
        let request =
            ResolveRequest { workflow: Some(workflow.into()), step: Some(step.into()), ..ResolveRequest::default() };
        fixture.resolve_and_finish(&id, request).unwrap();
    }
    let mut ann = sign_in_person(&fixture, "ann", "member");
    let page = format!("/connections/{id}");
    let pressed = ann.post(&page, &format!("{page}/reconnect"), "");
    let question = ann.complete_consent(&pressed, "bob");
    assert!(question.contains("These 2 workflows use it:"), "{question}");
    assert!(question.contains("<li><bdi>Greetings</bdi></li><li><bdi>Invoices</bdi></li>"), "{question}");

    // Whoever came by a link is not of the workspace.
    let body = json!({ "app": "acme", "connection": id.as_str() });
    let (_, made) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/links", &body);
    let mut guest = TestBrowser::new(&fixture);
    let pressed = guest.press(&crate::http::link_path(&made));
    let question = guest.complete_consent(&pressed, "bob");
    assert!(question.contains("value=\"switch\"") && !question.contains("Invoices"), "{question}");
}

#[test]
fn a_member_cannot_change_a_shared_connection_by_a_flow() {
    let fixture = Fixture::new();
    let id = connect_for_workspace(&fixture, "company");
    let mut member = sign_in_person(&fixture, "eve", "member");
    let pressed = member.post("/oauth/start/acme", "/oauth/start/acme", "");
    assert!(member.complete_consent(&pressed, "company").contains("Connected as"), "no question about the shared one");
    assert_eq!(
        (fixture.load_connection(&id).generation, fixture.world.db.query_number("SELECT count(*) FROM connections")),
        (1, 2)
    );

    // Their own connection becomes the workspace's while they are at the app, and while the question is open.
    for asked in [false, true] {
        let fixture = Fixture::new();
        let mut member = sign_in_person(&fixture, "ann", "member");
        let id = fixture.connect("ann");
        let page = format!("/connections/{id}");
        let pressed = member.post(&page, &format!("{page}/reconnect"), "");
        let share = || fixture.world.db.tamper("UPDATE connections SET user_id = NULL");
        if asked {
            member.complete_consent(&pressed, "bob");
            share();
            let flow = fixture.world.db.query_value("SELECT id FROM flows WHERE status = 'undecided'");
            let flow = format!("/flows/{}", flow.as_str().unwrap());
            assert_eq!(member.post(&flow, &flow, "choice=switch").status, 404);
        } else {
            share();
            assert!(!member.complete_consent(&pressed, "ann").contains("Connected as"));
        }
        assert_eq!(fixture.load_connection(&id).generation, 1);
        assert_eq!(fixture.load_connection(&id).account.unwrap().id, "id-ann");
    }

    // The connection to reuse becomes the workspace's while the question is open.
    let fixture = Fixture::new();
    let mut member = sign_in_person(&fixture, "ann", "member");
    let id = fixture.connect("ann");
    let pressed = member.post("/oauth/start/acme", "/oauth/start/acme", "");
    assert!(member.complete_consent(&pressed, "ann").contains("value=\"reuse\""));
    fixture.world.db.tamper("UPDATE connections SET user_id = NULL");
    let flow = fixture.world.db.query_value("SELECT id FROM flows WHERE status = 'undecided'");
    let flow = format!("/flows/{}", flow.as_str().unwrap());
    assert_eq!(member.post(&flow, &flow, "choice=reuse").status, 404);
    assert_eq!(fixture.load_connection(&id).generation, 1);
}

#[test]
fn only_a_key_with_permission_creates_admins() {
    let fixture = Fixture::new();
    let admin = json!({ "user": { "id": "root" }, "role": "admin" });
    let member = json!({ "user": { "id": "root" }, "role": "member" });
    let make = |scopes: Vec<KeyScope>, body: &Value| {
        let key = make_key(&fixture, |key| key.scopes = scopes);
        call(&fixture, &key, Method::Post, "/v1/sign-in-links", body).0
    };
    assert_eq!(make(vec![KeyScope::Links], &admin), 403);
    assert_eq!(make(vec![KeyScope::Links], &member), 201);
    assert_eq!(make(vec![KeyScope::People], &admin), 403, "links are made with `links`");
    assert_eq!(make(vec![KeyScope::Links, KeyScope::People], &admin), 201);
    assert_eq!(make(vec![KeyScope::All], &admin), 201);
    assert_eq!(make(vec![KeyScope::All], &json!({ "user": { "id": "root" }, "role": "owner" })), 422);
}

#[test]
fn sessions_of_the_previous_version_are_members() {
    let fixture = Fixture::new();
    let id = connect_for_workspace(&fixture, "company");
    let mut before = sign_in_person(&fixture, "ann", "admin");
    fixture.world.db.tamper(
        "UPDATE sessions SET role = (SELECT dflt_value FROM pragma_table_info('sessions') WHERE name = 'role')",
    );
    fixture.world.db.tamper("UPDATE sessions SET role = trim(role, '''')");
    let page = format!("/connections/{id}");
    assert_eq!(before.get(&format!("{page}/reconnect")).status, 403);
}

#[test]
fn an_admin_of_another_workspace_has_no_access() {
    let fixture = Fixture::new();
    let ids = [fixture.connect("ann"), connect_for_workspace(&fixture, "company")];
    let neighbour = fixture.other_workspace();
    let mut admin = sign_in_person(&neighbour, "ann", "admin");
    assert_eq!(admin.get(WORKSPACE_PAGE).status, 200);
    for id in &ids {
        let page = format!("/connections/{id}");
        assert!(!admin.get(WORKSPACE_PAGE).body.contains(id.as_str()));
        assert_eq!((admin.get(&page).status, admin.get(&format!("{page}/reconnect")).status), (404, 404));
        for what in ["rename", "check", "reconnect", "disconnect"] {
            assert_eq!(admin.post("/oauth/start/acme", &format!("{page}/{what}"), "name=x").status, 404, "{what}");
        }
        assert_eq!(fixture.load_connection(id).generation, 1);
    }
}

// ---- signing in ----

#[test]
fn a_sign_in_redirects_only_to_our_own_pages() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let ask = |return_to: &str| {
        let body = json!({ "user": { "id": "ann" }, "return_to": return_to });
        call(&fixture, &key, Method::Post, "/v1/sign-in-links", &body)
    };
    for page in [
        "/",
        "/?q=acme",
        "/connections/con_0123456789abcdefABCD-_",
        "/connections/con_0123456789abcdefABCD-_?disconnect=1",
        "/connections/con_0123456789abcdefABCD-_/reconnect?scopes=a%20b",
        "/oauth/start/slack?auth_method=bot_token",
        "/apps/slack/setup",
    ] {
        let (status, made) = ask(page);
        assert_eq!(status, 201, "{page}: {made}");
        let signed_in = TestBrowser::new(&fixture).press(&link_path(&made));
        assert_eq!((signed_in.status, signed_in.header("location")), (303, Some(page)));
    }
    for elsewhere in [
        "",
        "//evil.example",
        "//evil.example/connections/x",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "https://c.example.com/",
        "https:/connections/x",
        "javascript:alert(1)",
        "evil.example",
        "connections/x",
        " /",
        "/ ",
        "\t//evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/%2F/evil.example",
        "/%5cevil.example",
        "/connections/..%2f",
        "/connections/../sign-in/x",
        "/connections/..",
        "/connections/.",
        "/connections/%2e%2e",
        "/./",
        "/connections//",
        "/#x",
        "/?q=#x",
        "/?q=<script>",
        "/?q=\"",
        "/?q=ä",
        "/connections/ä",
        "/nothing",
        "/sign-out",
        "/connections/x/check",
        "/sign-in/token",
        "/connect/token",
        "/oauth/callback/cli_1?code=x",
        "/flows/aut_1",
        "/v1/keys",
        "/healthz",
        "/assets/style.css",
        "/@evil.example",
        "/:80/",
        "@evil.example/",
    ] {
        let (status, problem) = ask(elsewhere);
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("return_to")), "{elsewhere:?}");
    }
    assert_eq!(ask(&format!("/?q={}", "a".repeat(2048))).0, 422);
}

#[test]
fn signing_in_again_ends_the_browsers_previous_session() {
    let fixture = Fixture::new();
    let mut browser = sign_in_person(&fixture, "ann", "admin");
    let old = browser.cookies.clone();
    browser.sign_in_as(&json!({ "user": { "id": "eve" } }));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM sessions"), 1);
    let mut before = TestBrowser::new(&fixture);
    before.cookies = old;
    assert_eq!((before.get(WORKSPACE_PAGE).status, browser.get(WORKSPACE_PAGE).status), (401, 200));
    // A used link signs nobody out.
    let body = json!({ "user": { "id": "eve" } });
    let (_, made) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/sign-in-links", &body);
    assert_eq!(TestBrowser::new(&fixture).press(&link_path(&made)).status, 303);
    assert_eq!(browser.press(&link_path(&made)).status, 410);
    assert_eq!(browser.get(WORKSPACE_PAGE).status, 200);
}
