//! What a workspace shows of its product to people with a connect link: where it is shown, beside whom, and what it can't do.

use connections::http::{Method, Response};
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key, link_path, request};
use crate::support::Fixture;

const LOGO: &str = "https://cdn.example/logo.png?v=1&w=2";

fn patch(fixture: &Fixture, branding: &Value) -> (u16, Value) {
    call(fixture, &first_key(fixture), Method::Patch, "/v1/workspace", &json!({ "branding": branding }))
}

fn set(fixture: &Fixture, branding: &Value) -> Value {
    let (status, answer) = patch(fixture, branding);
    assert_eq!(status, 200, "{answer}");
    answer["branding"].clone()
}

fn make_link(fixture: &Fixture, body: &Value) -> String {
    let (status, made) = call(fixture, &first_key(fixture), Method::Post, "/v1/links", body);
    assert_eq!(status, 201, "{made}");
    link_path(&made)
}

fn policy(response: &Response) -> &str {
    response.header("content-security-policy").unwrap()
}

/// The page has the branding, and says whose page it is. Nothing but the logo may be loaded from elsewhere.
fn assert_branded(page: &Response) {
    let html = &page.body;
    let logo = r#"<img src="https://cdn.example/logo.png?v=1&amp;w=2" alt="Logo of Flow" width="48" height="48" referrerpolicy="no-referrer">"#;
    assert!(html.contains("<strong><bdi>Flow</bdi></strong>") && html.contains(logo), "{html}");
    assert!(html.contains("For the workspace <bdi>Test</bdi> at <bdi>c.example.com</bdi>"), "{html}");
    assert!(html.contains(r#"<link rel="stylesheet" href="/accent/ffe000.css">"#), "{html}");
    assert!(!html.contains(" style=") && !html.contains("<style"), "{html}");
    assert!(
        policy(page).contains("default-src 'none'; ") && policy(page).contains("img-src 'self' https://cdn.example; ")
    );
    assert!(policy(page).contains("style-src 'self';") && page.header("x-logo-origin").is_none(), "{page:?}");
}

fn assert_plain(page: &Response, what: &str) {
    for part in ["Flow", "cdn.example", "/accent/", "<img"] {
        assert!(!page.body.contains(part), "{what} {part}: {}", page.body);
    }
    assert!(policy(page).contains("img-src 'self'; "), "{what}: {}", policy(page));
}

fn branded_fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.world.db.tamper("UPDATE workspaces SET name = 'Test'");
    set(&fixture, &json!({ "name": "Flow", "logo_url": LOGO, "accent": "#FFE000" }));
    fixture
}

fn consent_path(fixture: &Fixture, pressed: &Response, account: &str) -> String {
    let (code, state) = fixture.world.acme.consent(pressed.header("location").unwrap(), account);
    format!("/oauth/callback/{}?state={state}&code={}", fixture.client, code.expose())
}

#[test]
fn members_are_changed_one_by_one_and_null_removes() {
    let fixture = Fixture::new();
    let none = json!({ "name": null, "logo_url": null, "accent": null });
    let get = || call(&fixture, &first_key(&fixture), Method::Get, "/v1/workspace", &Value::Null).1["branding"].clone();
    assert_eq!(get(), none);
    assert_eq!(set(&fixture, &json!({})), none);
    let with_name = json!({ "name": "Flow", "logo_url": null, "accent": "#0a50b0" });
    assert_eq!(set(&fixture, &json!({ "name": " Flow ", "accent": "#0A50B0" })), with_name);
    let all = json!({ "name": "Flow", "logo_url": LOGO, "accent": "#0a50b0" });
    assert_eq!(set(&fixture, &json!({ "logo_url": LOGO })), all);
    let (_, other) =
        call(&fixture, &first_key(&fixture), Method::Patch, "/v1/workspace", &json!({ "name": "Renamed" }));
    assert_eq!(other["branding"], all, "an absent member changes nothing");
    assert_eq!(set(&fixture, &json!({ "name": null })), json!({ "name": null, "logo_url": LOGO, "accent": "#0a50b0" }));
    assert_eq!(set(&fixture, &Value::Null), none);
    assert_eq!(get(), none);
    let (_, events) =
        call(&fixture, &first_key(&fixture), Method::Get, "/v1/events?type=workspace_changed", &Value::Null);
    let told: Vec<_> = events["data"].as_array().unwrap().iter().map(|one| one["detail"].as_str()).collect();
    let expected = [
        Some("branding: none"),
        Some("branding.name: none"),
        Some("name: Renamed"),
        Some(&*format!("branding.logo_url: {LOGO}")),
        Some("branding.accent: #0a50b0, branding.name: Flow"),
        None,
    ];
    let told: Vec<_> = told
        .into_iter()
        .map(|one| {
            one.map(|text| {
                text.replace(
                    "branding.name: Flow, branding.accent: #0a50b0",
                    "branding.accent: #0a50b0, branding.name: Flow",
                )
            })
        })
        .collect();
    assert_eq!(told.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
}

#[test]
fn a_change_of_the_branding_is_a_change_of_the_workspace() {
    let fixture = Fixture::new();
    let send = |method: Method, if_match: Option<&str>, body: &Value| {
        let bytes = if body.is_null() { vec![] } else { body.to_string().into_bytes() };
        let mut request = request(method, "/v1/workspace", bytes);
        request.headers.push(("authorization".into(), format!("Bearer {}", first_key(&fixture))));
        request.headers.extend(if_match.map(|tag| ("if-match".to_owned(), tag.to_owned())));
        let context = fixture.world.context();
        fixture.world.run(async { connections::http::handle(&context, &request).await })
    };
    let seen = send(Method::Get, None, &Value::Null).header("etag").unwrap().to_owned();
    set(&fixture, &json!({ "accent": "#0a50b0" }));
    assert_eq!(send(Method::Patch, Some(&seen), &json!({ "branding": { "name": "Mine" } })).status, 412);
    let now = send(Method::Get, None, &Value::Null).header("etag").unwrap().to_owned();
    assert_ne!(now, seen);
    assert_eq!(send(Method::Patch, Some(&now), &json!({ "branding": { "name": "Mine" } })).status, 200);
}

#[test]
fn every_page_on_the_way_of_a_link_has_the_branding_and_says_whose_it_is() {
    let fixture = branded_fixture();
    let origins = json!({ "allowed_origins": ["https://app.example"] });
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Patch, "/v1/workspace", &origins).0, 200);
    for popup in [Value::Null, json!({ "origin": "https://app.example" })] {
        let path = make_link(&fixture, &json!({ "app": "acme", "user": { "id": "ann" }, "popup": popup }));
        let mut ann = TestBrowser::new(&fixture);
        assert_branded(&ann.get(&path));
        let pressed = ann.press(&path);
        assert_eq!(pressed.status, 303);
        assert!(policy(&pressed).contains("default-src 'none'") && policy(&pressed).contains("img-src 'self'; "));
        // Denied, and then tried again.
        let state = url::Url::parse(pressed.header("location").unwrap()).unwrap();
        let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let back = ann.get(&format!("/oauth/callback/{}?state={state}&error=access_denied", fixture.client));
        let flow = back.header("location").unwrap().to_owned();
        assert_branded(&ann.get(&flow));
        assert_branded(&ann.get(&format!("{flow}/again")));
        let pressed = ann.press(&path);
        let back = ann.get(&consent_path(&fixture, &pressed, "ann"));
        let page = ann.get(back.header("location").unwrap());
        assert_branded(&page);
        if popup.is_null() {
            assert!(page.body.contains("is connected as ann"), "{}", page.body);
        } else {
            // The account is connected already: the question.
            assert!(page.body.contains("value=\"reuse\""), "{}", page.body);
            let flow = back.header("location").unwrap().to_owned();
            ann.send(request(Method::Post, &flow, b"choice=reuse".to_vec()));
            let end = ann.get(&flow);
            assert_branded(&end);
            assert!(end.body.contains("id=\"outcome\""), "{}", end.body);
        }
    }
    // The form for a key.
    let path = make_link(&fixture, &json!({ "app": "telegram" }));
    let mut bob = TestBrowser::new(&fixture);
    let form = bob.get(&path);
    assert!(form.body.contains("name=\"input."), "{}", form.body);
    assert_branded(&form);
    let hosts = form.body.split("name=\"hosts\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let wrong = bob.send(request(Method::Post, &path, format!("hosts={hosts}&input.token=x").into_bytes()));
    assert_eq!(wrong.status, 422);
    assert_branded(&wrong);
}

#[test]
fn no_other_page_has_it() {
    let fixture = branded_fixture();
    let id = fixture.connect("ann");
    let mut ann = TestBrowser::new(&fixture);
    let (_, sign_in) = call(
        &fixture,
        &first_key(&fixture),
        Method::Post,
        "/v1/sign-in-links",
        &json!({ "user": { "id": "ann" }, "role": "admin" }),
    );
    assert_plain(&ann.get(&link_path(&sign_in)), "a sign-in");
    assert_plain(&ann.get("/"), "signed out");
    ann.press(&link_path(&sign_in));
    let connection = format!("/connections/{id}");
    for path in
        ["/", "/oauth/start/acme", "/apps/acme/setup", "/nothing", "/oauth/ended/expired", "/sign-in", &connection]
    {
        assert_plain(&ann.get(path), path);
    }
    // A person's own flow.
    let pressed = ann.post("/oauth/start/acme", "/oauth/start/acme", "");
    let back = ann.get(&consent_path(&fixture, &pressed, "ann"));
    assert_plain(&ann.get(back.header("location").unwrap()), "the question of a person's own flow");
    // A link that has ended says nothing of whose it was.
    let path = make_link(&fixture, &json!({ "app": "acme" }));
    fixture.world.advance_clock(3600);
    assert_plain(&TestBrowser::new(&fixture).get(&path), "a link that has ended");
    // Another workspace's link has its own.
    let other = fixture.other_workspace();
    let path = make_link(&other, &json!({ "app": "acme" }));
    assert_plain(&TestBrowser::new(&other).get(&path), "another workspace");
}

#[test]
fn a_part_alone_stands_beside_the_workspace_too() {
    let fixture = Fixture::new();
    let path = make_link(&fixture, &json!({ "app": "acme" }));
    for (branding, parts) in [
        (json!({ "name": "Flow" }), [true, false, false]),
        (json!({ "name": null, "logo_url": LOGO }), [false, true, false]),
        (json!({ "logo_url": null, "accent": "#000000" }), [false, false, true]),
    ] {
        set(&fixture, &branding);
        let page = TestBrowser::new(&fixture).get(&path);
        let shown = ["<bdi>Flow</bdi>", "<img", "/accent/"].map(|part| page.body.contains(part));
        assert_eq!(
            (shown, policy(&page).contains("img-src 'self' https://cdn.example; ")),
            (parts, parts[1]),
            "{}",
            page.body
        );
        assert!(page.body.contains("For the workspace "), "{}", page.body);
    }
}

#[test]
fn hostile_values_are_refused_by_name() {
    let fixture = Fixture::new();
    let refused = |member: &str, value: Value| {
        let (status, problem) = patch(&fixture, &json!({ member: value.clone() }));
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!(format!("branding.{member}"))), "{value}");
    };
    for url in [
        "",
        "logo.png",
        "//cdn.example/logo.png",
        "http://cdn.example/logo.png",
        "javascript:alert(1)",
        "data:image/svg+xml,<svg onload=alert(1)>",
        "https://c.example.com/logo.png",
        "https://C.EXAMPLE.com/sign-out",
        "https://user:pw@cdn.example/logo.png",
        "https://cdn.example/logo.png#x",
        "https://localhost/logo.png",
        "https://router.local/logo.png",
        "https://192.168.0.1/logo.png",
        "https://0x7f.1/logo.png",
        "https://[::1]/logo.png",
        "https://169.254.169.254/latest",
        "https://cdn.example;script-src%20*/logo.png",
        "https://cdn.example,*/logo.png",
        "https://cdn.example /logo.png",
        "https://cdn.example/\"onerror=\"alert(1)\u{e9}",
        "https://*.example/logo.png",
        "https://cdn.example\\@evil.example/",
        "https://cdn.example/a\nb",
    ] {
        refused("logo_url", json!(url));
    }
    refused("logo_url", json!(format!("https://cdn.example/{}", "a".repeat(2048))));
    for accent in ["", "red", "#fff", "#0a50b0;}", "#0a50b0 ", "rgb(0,0,0)", "url(https://evil.example)", "#gggggg"] {
        refused("accent", json!(accent));
    }
    for name in ["", " ", "a\nb", "a\u{0}b"] {
        refused("name", json!(name));
    }
    refused("name", json!("a".repeat(61)));
    for wrong in [
        json!("Flow"),
        json!(["Flow"]),
        json!({ "nonsense": 1 }),
        json!({ "name": 7 }),
        json!({ "accent": ["#000000"] }),
    ] {
        assert_eq!(patch(&fixture, &wrong).0, 422, "{wrong}");
    }
    assert_eq!(fixture.world.db.query_value("SELECT branding FROM workspaces"), Value::Null, "nothing was stored");
    // Text stays text.
    for name in ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "\u{202e}moc.elgoog"] {
        set(&fixture, &json!({ "name": name, "logo_url": "https://cdn.example/?q=%22%3E%3Cscript%3E'()" }));
        let path = make_link(&fixture, &json!({ "app": "acme" }));
        let page = TestBrowser::new(&fixture).get(&path);
        assert_eq!(
            (page.body.matches("<script").count(), page.body.matches("onerror=alert(1)>").count()),
            (1, 0),
            "{}",
            page.body
        );
        assert!(!page.body.contains('\u{202e}'), "{}", page.body);
        assert_eq!(page.body.matches("<img").count(), 1, "{}", page.body);
    }
}

/// As if somebody could write to the database, or an earlier version had accepted it.
#[test]
fn a_stored_logo_that_is_not_permitted_is_not_shown() {
    let fixture = branded_fixture();
    let path = make_link(&fixture, &json!({ "app": "acme" }));
    for url in [
        "javascript:alert(1)",
        "https://10.0.0.1/x",
        "https://cdn.example;script-src *",
        "https://cdn.example 'unsafe-inline'",
    ] {
        fixture.world.db.tamper(&format!(
            "UPDATE workspaces SET branding = json_object('name', 'Flow', 'logo_url', '{}')",
            url.replace('\'', "''")
        ));
        let page = TestBrowser::new(&fixture).get(&path);
        assert!(page.status == 200 && !page.body.contains("<img") && page.body.contains("Flow"), "{url}");
        let expected = "default-src 'none'; script-src https://c.example.com/assets/; style-src 'self'; img-src 'self'; \
            form-action 'self' https:; frame-ancestors 'none'; base-uri 'none'";
        assert_eq!(policy(&page), expected, "{url}");
    }
}

#[test]
fn the_style_sheet_of_a_colour_has_a_text_that_can_be_read_and_reads_nothing() {
    let fixture = Fixture::new();
    let mut browser = TestBrowser::new(&fixture);
    fixture.world.db.reset_counts();
    for (colour, text) in [("ffe000", "#000000"), ("0a50b0", "#ffffff"), ("777777", "#000000"), ("0A50B0", "#ffffff")] {
        let sheet = browser.get(&format!("/accent/{colour}.css"));
        let colour = colour.to_lowercase();
        let button = "border-color: var(--edge); background: var(--brand); color: var(--on-brand);";
        let expected =
            format!(":root {{ --brand: #{colour}; --on-brand: {text}; }}\n.main, .main:hover {{ {button} }}\n");
        assert_eq!((sheet.status, &*sheet.body), (200, &*expected));
        assert_eq!(sheet.header("content-type"), Some("text/css; charset=utf-8"));
        assert_eq!(sheet.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(sheet.header("x-content-type-options"), Some("nosniff"));
    }
    for wrong in [
        "ffe000",
        "ffe00.css",
        "ffe0000.css",
        "gggggg.css",
        "%23ffe000.css",
        "}body{}.css",
        "ffe000.css.css",
        "red.css",
    ] {
        let page = browser.get(&format!("/accent/{wrong}"));
        assert!(page.status == 404 && !page.body.contains("--brand"), "{wrong}");
    }
    assert_eq!(fixture.world.db.round_trips.get(), 0);
}
