//! The people of a workspace: who they are, what role they have, and what happens when somebody leaves.

use connections::caller::KeyScope;
use connections::http::Method;
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, make_key};
use crate::support::Fixture;

fn sign_in<'a>(fixture: &'a Fixture, body: &Value) -> TestBrowser<'a> {
    let mut browser = TestBrowser::new(fixture);
    browser.sign_in_as(body);
    browser
}

fn ask(fixture: &Fixture, method: Method, path: &str, body: &Value) -> (u16, Value) {
    call(fixture, &first_key(fixture), method, path, body)
}

fn list(fixture: &Fixture, query: &str) -> Vec<Value> {
    let (status, body) = ask(fixture, Method::Get, &format!("/v1/people{query}"), &Value::Null);
    assert_eq!(status, 200, "{body}");
    body["data"].as_array().unwrap().clone()
}

fn ids(people: &[Value]) -> Vec<&str> {
    people.iter().map(|one| one["id"].as_str().unwrap()).collect()
}

fn connect_for(fixture: &Fixture, user: Option<&str>, token: char) -> String {
    let token = format!("123456789:{}", token.to_string().repeat(35));
    let user = user.map(|id| json!({ "id": id }));
    let body = json!({ "app": "telegram", "user": user, "credential": { "type": "bot_token", "token": token }, "check": false });
    let (status, made) = ask(fixture, Method::Post, "/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

fn owner(fixture: &Fixture, connection: &str) -> Value {
    ask(fixture, Method::Get, &format!("/v1/connections/{connection}"), &Value::Null).1["user"]["id"].clone()
}

#[test]
fn people_are_who_signed_in_or_owns_a_connection() {
    let fixture = Fixture::new();
    let stranger = fixture.other_workspace();
    sign_in(&stranger, &json!({ "user": { "id": "zoe" } }));
    sign_in(&fixture, &json!({ "user": { "id": "bob", "name": "Bob B" }, "role": "admin" }));
    sign_in(&fixture, &json!({ "user": { "id": "bob" } }));
    connect_for(&fixture, Some("u/17 ü"), 'a');
    connect_for(&fixture, None, 'b');
    let people = list(&fixture, "");
    assert_eq!(ids(&people), ["bob", "u/17 ü"]);
    assert_eq!((&people[0]["name"], &people[0]["role"]), (&json!("Bob B"), &json!("admin")));
    assert!(people[0]["last_signed_in_at"].is_string() && people[1]["last_signed_in_at"].is_null());
    assert_eq!(ids(&list(&fixture, "?role=admin")), ["bob"]);
    assert_eq!(ids(&list(&fixture, "?q=OB%20b")), ["bob"]);
    assert_eq!(ids(&list(&fixture, "?q=%25")), Vec::<&str>::new(), "no wildcard");
    let (status, person) = ask(&fixture, Method::Patch, "/v1/people/u%2F17%20%C3%BC", &json!({ "role": "admin" }));
    assert_eq!((status, &person["role"]), (200, &json!("admin")));
    for path in ["/v1/people/zoe", "/v1/people/%FF", "/v1/people/nobody"] {
        assert_eq!(ask(&fixture, Method::Patch, path, &json!({ "role": "admin" })).0, 404, "{path}");
        assert_eq!(ask(&fixture, Method::Delete, path, &Value::Null).0, 404, "{path}");
    }
}

#[test]
fn a_page_ends_with_a_cursor_and_the_pages_have_everybody_once() {
    let fixture = Fixture::new();
    let all: Vec<_> = (0..7).map(|n| format!("u{n}")).collect();
    for id in &all {
        sign_in(&fixture, &json!({ "user": { "id": id } }));
    }
    let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
    for _ in 0..5 {
        let (_, body) = ask(&fixture, Method::Get, &format!("/v1/people{query}"), &Value::Null);
        seen.extend(ids(body["data"].as_array().unwrap()).into_iter().map(str::to_owned));
        let Some(next) = body["next_cursor"].as_str() else { break };
        query = format!("?limit=3&cursor={next}");
    }
    assert_eq!(seen, all);
}

/// A key that makes links for members could otherwise get the rights of whoever is an admin.
#[test]
fn only_a_key_with_people_signs_an_admin_in() {
    let fixture = Fixture::new();
    let links = make_key(&fixture, |key| key.scopes = vec![KeyScope::Links]);
    let people = make_key(&fixture, |key| key.scopes = vec![KeyScope::Links, KeyScope::People]);
    let make = |key: &str, body: &Value| call(&fixture, key, Method::Post, "/v1/sign-in-links", body);
    let ann = |role: Option<&str>| json!({ "user": { "id": "ann" }, "role": role });
    for (role, status) in [(None, 201), (Some("member"), 201), (Some("admin"), 403)] {
        assert_eq!(make(&links, &ann(role)).0, status, "{role:?}");
    }
    // The link that was made while ann was a member stays one of a member.
    let (_, before) = make(&links, &ann(None));
    sign_in(&fixture, &ann(Some("admin")));
    for role in [None, Some("member"), Some("admin")] {
        assert_eq!(make(&links, &ann(role)).0, 403, "{role:?}");
    }
    assert_eq!(make(&people, &ann(None)).1["role"], "admin");
    assert_eq!(make(&people, &ann(Some("member"))).1["role"], "member");
    let path = crate::http::link_path(&before);
    assert_eq!(TestBrowser::new(&fixture).press(&path).status, 303);
    let (_, sessions) = ask(&fixture, Method::Get, "/v1/sessions?user=ann", &Value::Null);
    let mut roles: Vec<_> =
        sessions["data"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["admin", "member"]);
    assert_eq!(list(&fixture, "?role=admin").len(), 1, "a sign-in as a member takes no role away");
}

#[test]
fn a_demoted_admin_loses_the_rights_at_once_and_a_promoted_member_gets_them_at_the_next_sign_in() {
    let fixture = Fixture::new();
    let shared = connect_for(&fixture, None, 'a');
    let mut ann = sign_in(&fixture, &json!({ "user": { "id": "ann" }, "role": "admin" }));
    let mut bob = sign_in(&fixture, &json!({ "user": { "id": "bob" } }));
    let rename = |browser: &mut TestBrowser<'_>| {
        let page = format!("/connections/{shared}");
        browser.post(&page, &format!("{page}/rename"), "name=New").status
    };
    assert_eq!((rename(&mut ann), rename(&mut bob)), (303, 403));
    let (_, unused) = ask(&fixture, Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": "ann" } }));
    let set = |id: &str, body: Value| ask(&fixture, Method::Patch, &format!("/v1/people/{id}"), &body);
    let (status, refused) = set("ann", json!({ "role": "member" }));
    assert_eq!((status, refused["code"].as_str()), (409, Some("conflict")), "the last admin");
    assert_eq!(set("bob", json!({ "role": "admin" })).0, 200);
    assert_eq!(rename(&mut bob), 403, "a session of a member stays one");
    assert_eq!(set("ann", json!({ "role": "member" })).0, 200);
    assert_eq!(rename(&mut ann), 403);
    let path = crate::http::link_path(&unused);
    assert_eq!(TestBrowser::new(&fixture).press(&path).status, 410, "the link of an admin ended");
    assert_eq!(rename(&mut sign_in(&fixture, &json!({ "user": { "id": "bob" } }))), 303);
    assert_eq!(set("bob", json!({ "role": "member", "leave_without_admin": true })).0, 200);
    assert_eq!(list(&fixture, "?role=admin"), Vec::<Value>::new());
}

#[test]
fn whoever_leaves_is_signed_out_and_their_connections_go_to_somebody() {
    let fixture = Fixture::new();
    let (own, shared) = (connect_for(&fixture, Some("ann"), 'a'), connect_for(&fixture, None, 'b'));
    let mut ann = sign_in(&fixture, &json!({ "user": { "id": "ann" } }));
    sign_in(&fixture, &json!({ "user": { "id": "bob" } }));
    let (_, unused) = ask(&fixture, Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": "ann" } }));
    let (_, connect) = ask(&fixture, Method::Post, "/v1/links", &json!({ "app": "acme", "user": { "id": "ann" } }));
    let remove = |query: &str| ask(&fixture, Method::Delete, &format!("/v1/people/ann{query}"), &Value::Null);
    for to in ["ann", "nobody"] {
        assert_eq!(remove(&format!("?transfer_to={to}")).0, 422, "{to}");
    }
    assert_eq!((ann.get("/").status, owner(&fixture, &own)), (200, json!("ann")), "nothing was done");
    let (status, removed) = remove("?transfer_to=bob");
    assert_eq!(
        (status, &removed["connections_transferred"], &removed["connections_without_owner"]),
        (200, &json!(1), &json!(0)),
        "{removed}"
    );
    assert_eq!((owner(&fixture, &own), owner(&fixture, &shared)), (json!("bob"), Value::Null));
    let (_, events) = ask(&fixture, Method::Get, &format!("/v1/connections/{own}/events"), &Value::Null);
    assert_eq!((&events["data"][0]["type"], &events["data"][0]["detail"]), (&json!("edited"), &json!("owner: bob")));
    assert_eq!(ann.get("/").status, 401);
    for made in [unused, connect] {
        assert_eq!(TestBrowser::new(&fixture).press(&crate::http::link_path(&made)).status, 410);
    }
    assert_eq!(ids(&list(&fixture, "")), ["bob"]);
    // Whoever gets the id again gets nothing of what ann had.
    let mut again = sign_in(&fixture, &json!({ "user": { "id": "ann" } }));
    assert_eq!(again.get(&format!("/connections/{own}")).status, 404);
}

#[test]
fn the_last_admin_is_removed_only_if_the_caller_says_so_and_keeps_the_connections_until_then() {
    let fixture = Fixture::new();
    let own = connect_for(&fixture, Some("ann"), 'a');
    sign_in(&fixture, &json!({ "user": { "id": "ann" }, "role": "admin" }));
    sign_in(&fixture, &json!({ "user": { "id": "bob" } }));
    let remove =
        |query: &str| ask(&fixture, Method::Delete, &format!("/v1/people/ann?transfer_to=bob{query}"), &Value::Null);
    assert_eq!(remove("").0, 409);
    assert_eq!(owner(&fixture, &own), json!("ann"));
    assert_eq!(remove("&leave_without_admin=maybe").0, 422);
    assert_eq!(remove("&leave_without_admin=true").0, 200);
    assert_eq!(owner(&fixture, &own), json!("bob"));
}

fn events(fixture: &Fixture, query: &str) -> Vec<Value> {
    let (status, body) = ask(fixture, Method::Get, &format!("/v1/events{query}"), &Value::Null);
    assert_eq!(status, 200, "{body}");
    body["data"].as_array().unwrap().clone()
}

#[test]
fn without_an_heir_private_connections_are_seen_by_admins_alone_and_shared_ones_stay_shared() {
    let fixture = Fixture::new();
    let (private, shared) = (connect_for(&fixture, Some("ann"), 'a'), connect_for(&fixture, Some("ann"), 'b'));
    let patch = |id: &str, body: Value| ask(&fixture, Method::Patch, &format!("/v1/connections/{id}"), &body);
    assert_eq!(patch(&shared, json!({ "shared": true })).0, 200);
    // A row of an earlier version says nothing of sharing.
    fixture.world.db.tamper(&format!("UPDATE connections SET is_shared = NULL WHERE id = '{private}'"));
    let put = json!({ "connection": private, "user": "ann" });
    assert_eq!(ask(&fixture, Method::Put, "/v1/apps/telegram/default", &put).0, 200);
    let (status, removed) = ask(&fixture, Method::Delete, "/v1/people/ann", &Value::Null);
    assert_eq!((status, &removed["connections_without_owner"]), (200, &json!(2)), "{removed}");
    for (id, is_shared) in [(&private, false), (&shared, true)] {
        let (_, one) = ask(&fixture, Method::Get, &format!("/v1/connections/{id}"), &Value::Null);
        assert_eq!((&one["user"], &one["shared"]), (&Value::Null, &json!(is_shared)), "{one}");
    }
    let defaults = ask(&fixture, Method::Get, "/v1/defaults?app=telegram", &Value::Null).1;
    assert!(defaults["data"].as_array().unwrap().iter().all(|one| one["user"].is_null()), "{defaults}");
    let mut bob = sign_in(&fixture, &json!({ "user": { "id": "bob" } }));
    let mut zoe = sign_in(&fixture, &json!({ "user": { "id": "zoe" }, "role": "admin" }));
    let see =
        |browser: &mut TestBrowser<'_>| [&private, &shared].map(|id| browser.get(&format!("/connections/{id}")).status);
    assert_eq!((see(&mut bob), see(&mut zoe)), ([404, 200], [200, 200]));
    let lines = events(&fixture, "?type=edited,person_removed");
    let told: Vec<_> = lines.iter().map(|one| (one["type"].as_str().unwrap(), one["detail"].as_str())).collect();
    assert_eq!(told.iter().filter(|one| **one == ("edited", Some("owner: nobody"))).count(), 2, "{told:?}");
    assert!(told.contains(&("person_removed", None)), "{told:?}");
    assert!(lines.iter().all(|one| one["type"] != "edited" || one["connection_name"].is_string()));
}

#[test]
fn a_changed_role_has_a_line_and_an_unchanged_one_has_none() {
    let fixture = Fixture::new();
    for id in ["ann", "bob"] {
        sign_in(&fixture, &json!({ "user": { "id": id } }));
    }
    let set =
        |id: &str, role: &str| ask(&fixture, Method::Patch, &format!("/v1/people/{id}"), &json!({ "role": role })).0;
    assert_eq!(
        [set("ann", "admin"), set("ann", "admin"), set("bob", "member"), set("ann", "member")],
        [200, 200, 200, 409]
    );
    let lines = events(&fixture, "?type=role_changed");
    let told: Vec<_> = lines.iter().map(|one| (one["target"].as_str(), one["detail"].as_str())).collect();
    assert_eq!(told, [(Some("ann"), Some("admin"))]);
}

#[test]
fn whoever_gets_a_connection_is_in_the_list() {
    let fixture = Fixture::new();
    let id = connect_for(&fixture, None, 'a');
    let body = json!({ "owner": { "id": "eve", "name": "Eve" } });
    assert_eq!(ask(&fixture, Method::Patch, &format!("/v1/connections/{id}"), &body).0, 200);
    let people = list(&fixture, "");
    assert_eq!((ids(&people), &people[0]["name"]), (vec!["eve"], &json!("Eve")));
}

/// Otherwise a key with `links` would get the rights of whoever the identity provider vouches for.
#[test]
fn a_link_signs_nobody_in_whom_an_identity_provider_vouches_for() {
    let fixture = Fixture::new();
    for id in ["oidc:https://id.example:1", " oidc:x", "access:team.example:1"] {
        let (status, refused) =
            ask(&fixture, Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": id }, "role": "admin" }));
        assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("user.id")), "{id}");
    }
}

#[test]
fn copies_of_connections_that_got_another_owner_are_removed() {
    let fixture = Fixture::new();
    connect_for(&fixture, Some("ann"), 'a');
    connect_for(&fixture, Some("bob"), 'b');
    assert_eq!(ask(&fixture, Method::Delete, "/v1/people/ann?transfer_to=bob", &Value::Null).0, 200);
    let (_, status) = call(&fixture, "abcdefghijklmnopqrstuvwxyz0123456789", Method::Get, "/v1/status", &Value::Null);
    assert_eq!(status["cache_entries_left"], json!(1), "{status}");
}

/// A request of a browser, to run beside another one.
fn send_beside(
    fixture: &Fixture,
    request: connections::http::Request,
    wait_ms: i64,
) -> std::pin::Pin<Box<dyn Future<Output = u16>>> {
    let world = fixture.world.clone();
    Box::pin(async move {
        world.runtime.sleep(wait_ms).await;
        connections::http::handle(&world.context(), &request).await.status
    })
}

fn key_request(fixture: &Fixture, method: Method, path: &str) -> connections::http::Request {
    let mut request = crate::http::request(method, path, vec![]);
    request.headers.push(("authorization".into(), format!("Bearer {}", first_key(fixture))));
    request
}

/// What is ended while the app is asked: the person, their session, or the key that let them in.
fn endings(fixture: &Fixture, key: &str) -> [String; 3] {
    let (_, sessions) = ask(fixture, Method::Get, "/v1/sessions?user=ann", &Value::Null);
    let session = sessions["data"][0]["id"].as_str().unwrap().to_owned();
    let key = format!("/v1/keys/key_{}", key.split('_').nth(1).unwrap());
    ["/v1/people/ann".to_owned(), format!("/v1/sessions/{session}"), key]
}

fn sign_in_by_key<'a>(fixture: &'a Fixture, key: &str) -> TestBrowser<'a> {
    let (_, made) = call(fixture, key, Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": "ann" } }));
    let mut browser = TestBrowser::new(fixture);
    assert_eq!(browser.press(&crate::http::link_path(&made)).status, 303);
    browser
}

#[test]
fn what_an_app_gives_to_a_person_who_is_removed_meanwhile_is_not_stored() {
    for (case, waited) in (0..3).flat_map(|case| [(case, 0), (case, 599)]) {
        let fixture = Fixture::new();
        let key = make_key(&fixture, |_| {});
        let mut ann = sign_in_by_key(&fixture, &key);
        let pressed = ann.post("/oauth/start/acme", "/oauth/start/acme", "");
        let (code, state) = fixture.world.acme.consent(pressed.header("location").unwrap(), "ann");
        let path = format!("/oauth/callback/{}?state={state}&code={}", fixture.client, code.expose());
        let back = ann.with_cookies(crate::http::request(Method::Get, &path, vec![]));
        let ending = endings(&fixture, &key)[case].clone();
        // The app takes three seconds; the flow's time may be over then.
        fixture.world.advance_clock(waited);
        fixture.world.acme.latency_ms.set(3_000);
        let answers = fixture.world.run_concurrently([
            send_beside(&fixture, back, 0),
            send_beside(&fixture, key_request(&fixture, Method::Delete, &ending), 2_000),
        ]);
        assert_eq!(answers, [303, 200], "{ending}");
        let count = |sql: &str| fixture.world.db.query_number(sql);
        assert_eq!(
            (fixture.world.acme.count_requests("/token"), count("SELECT count(*) FROM connections")),
            (1, 0),
            "{ending}"
        );
        assert!(!fixture.world.acme.has_live_grant("ann"), "{ending}: it was given back");
        assert_eq!(fixture.world.db.query_value("SELECT error FROM flows"), json!("session_ended"), "{ending}");
        assert_eq!(count("SELECT count(*) FROM flows WHERE status <> 'failed'"), 0, "{ending}");
    }
}

#[test]
fn what_a_person_enters_who_is_removed_while_it_is_checked_is_not_stored() {
    for case in 0..3 {
        let fixture = Fixture::new();
        let app = json!({
            "id": "keyed", "name": "Keyed", "auth": { "type": "api_key", "header": "X-Api-Key" },
            "identity": { "url": "https://acme.example/me", "id": "/sub", "label": "/email" },
        });
        assert_eq!(ask(&fixture, Method::Post, "/v1/apps", &app).0, 201);
        let key = make_key(&fixture, |_| {});
        let mut ann = sign_in_by_key(&fixture, &key);
        let page = ann.get("/oauth/start/keyed").body;
        let value = |name: &str| {
            let field = format!("name=\"{name}\" value=\"");
            page.split(&field).nth(1).unwrap().split('"').next().unwrap().to_owned()
        };
        let input = format!("input.{}", page.split("name=\"input.").nth(1).unwrap().split('"').next().unwrap());
        let form = format!("csrf={}&hosts={}&{input}=k-1", value("csrf"), value("hosts"));
        let form = ann.with_cookies(crate::http::request(Method::Post, "/oauth/start/keyed", form.into_bytes()));
        let ending = endings(&fixture, &key)[case].clone();
        let who = crate::support::Reply::status(200, r#"{"sub":"1","email":"ann@acme.example"}"#);
        fixture.world.acme.script_always("/me", Some(who));
        fixture.world.acme.latency_ms.set(3_000);
        fixture.world.run_concurrently([
            send_beside(&fixture, form.clone(), 0),
            send_beside(&fixture, key_request(&fixture, Method::Delete, &ending), 2_000),
        ]);
        assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 0, "{ending}");
        assert_eq!(fixture.world.db.query_value("SELECT error FROM flows"), json!("session_ended"), "{ending}");
    }
}

#[test]
fn whoever_becomes_an_admin_by_a_link_has_a_line_that_names_its_key() {
    let fixture = Fixture::new();
    let link = json!({ "user": { "id": "ann" }, "role": "admin" });
    for _ in 0..2 {
        sign_in(&fixture, &link);
    }
    let lines = events(&fixture, "?type=role_changed");
    let told: Vec<_> = lines.iter().map(|one| (one["target"].as_str(), one["detail"].as_str())).collect();
    assert_eq!(told, [(Some("ann"), Some("admin"))], "once");
    assert_eq!(lines[0]["actor"], json!(format!("key:{}", fixture.key.id.as_str())));
    assert_eq!(events(&fixture, "?type=signed_in").len(), 2);
    // A member who signs in as an admin is promoted, too.
    sign_in(&fixture, &json!({ "user": { "id": "bob" } }));
    sign_in(&fixture, &json!({ "user": { "id": "bob" }, "role": "admin" }));
    assert_eq!(events(&fixture, "?type=role_changed").len(), 2);
}

/// Links of others are not read, however many there are.
#[test]
fn removing_a_person_reads_their_links_by_an_index() {
    let plans = crate::support::plans::read();
    let mut seen = 0;
    for (statement, steps) in &plans {
        if statement.contains("FROM connect_links WHERE workspace_id = ?1 AND user_id = ?2")
            || statement.starts_with(
                "UPDATE connect_links SET status = 'ended', used_at = ?3 WHERE workspace_id = ?1 AND user_id",
            )
        {
            seen += 1;
            let by_user = |step: &&String| step.contains("connect_links") && step.contains("connect_links_by_user");
            assert!(steps.iter().any(|step| by_user(&step)), "{statement}: {steps:?}");
        }
    }
    assert!(seen >= 1, "{seen}");
}

#[test]
fn the_id_of_a_person_is_one_that_an_address_can_have() {
    let fixture = Fixture::new();
    let (key, connection) = (first_key(&fixture), fixture.connect("ann"));
    let before = fixture.load_connection(&connection).user;
    let mut admin = TestBrowser::new(&fixture);
    admin.sign_in_as(&json!({ "user": { "id": "root" }, "role": "admin" }));
    let page = format!("/connections/{connection}/sharing");
    for id in [".", "..", " .. ", "\u{200b}"] {
        for (path, body) in [
            ("/v1/sign-in-links", json!({ "user": { "id": id }, "role": "admin" })),
            ("/v1/links", json!({ "app": "acme", "user": { "id": id } })),
        ] {
            let (status, problem) = call(&fixture, &key, Method::Post, path, &body);
            assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some("user.id")), "{id:?} {problem}");
        }
        let body = json!({ "owner": { "id": id } });
        assert_eq!(
            call(&fixture, &key, Method::Patch, &format!("/v1/connections/{connection}"), &body).0,
            422,
            "{id:?}"
        );
        let form = |owner: &str| {
            let pairs =
                [("owner", owner), ("shared", "yes"), ("sharing", "shared"), ("action", "share"), ("confirmed", "yes")];
            url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(pairs)
                .append_pair("id", connection.as_str())
                .finish()
        };
        assert_eq!(admin.post(&page, &page, &form(id)).status, 422, "{id:?}");
        assert_eq!(admin.post("/", "/bulk", &form(&format!("id:{id}"))).status, 422, "{id:?}");
    }
    assert_eq!(fixture.load_connection(&connection).user, before);
}

#[test]
fn people_and_connections_with_one_name_can_be_told_apart_where_one_is_chosen() {
    let fixture = Fixture::new();
    let (one, other) = (fixture.connect("ann"), fixture.connect("bob"));
    fixture.world.db.tamper("UPDATE connections SET is_shared = 1, name = 'Payments', account_label = 'Payments'");
    fixture.world.db.tamper(&format!("UPDATE connections SET name = 'Payments\u{200b}' WHERE id = '{other}'"));
    // His page offers the others as new owners.
    fixture.world.db.tamper(&format!("UPDATE connections SET user_id = 'bob' WHERE id = '{other}'"));
    let mut admin = TestBrowser::new(&fixture);
    for (id, name) in [("ann", "Ann Lee"), ("mallory", "Ann L\u{435}e"), ("bob", "Bob")] {
        admin.sign_in_as(&json!({ "user": { "id": id, "name": name } }));
    }
    admin.sign_in_as(&json!({ "user": { "id": "root", "name": "Root" }, "role": "admin" }));
    let defaults = admin.get("/settings/default?app=acme").body;
    let filters = admin.get("/").body;
    let heirs = admin.get("/settings/people/bob").body;
    let owners = admin.get(&format!("/connections/{one}/sharing")).body;
    let bulk = admin.post("/", "/bulk", &format!("action=share&id={one}")).body;
    assert!(defaults.contains(&format!(">Payments · {one}</option>")), "{defaults}");
    assert!(defaults.contains(&format!(">Payments\u{200b} · {other}</option>")), "{defaults}");
    for page in [filters, heirs, owners, bulk] {
        assert!(
            page.contains(">Ann Lee · ann</option>") && page.contains(">Ann L\u{435}e · mallory</option>"),
            "{page}"
        );
        assert!(!page.contains(">Bob · bob<"), "{page}");
    }
    let limits = admin.get("/settings/keys").body;
    for id in [&one, &other] {
        assert!(limits.contains(&format!(" · {id}</bdi>")), "{limits}");
    }
    let others = admin.get(&format!("/connections/{one}/replace")).body;
    assert!(others.contains(">Payments\u{200b}</option>"), "alone in its list: {others}");
}
