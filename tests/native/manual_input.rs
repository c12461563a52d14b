//! What people and programs paste: keys, passwords, tokens, times and addresses, as other programs export them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connections::http::{Method, Response};
use connections::ports::AppResponse;
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key};
use crate::support::Fixture;

/// A fixture whose app has only this auth method, and accepts everything.
fn fixture_with_auth_method(way: &Value) -> Fixture {
    let fixture = Fixture::with_definition(&json!({ "auth": [
        { "type": "oauth2", "authorize_url": "https://acme.example/authorize", "token_url": "https://acme.example/token" },
        way,
    ] }));
    let body = br#"{"sub":"ann","email":"ann","access_token":"t","token_type":"Bearer","expires_in":3600}"#.to_vec();
    let takes_all =
        move |_: &connections::ports::OutboundRequest| AppResponse { status: 200, headers: vec![], body: body.clone() };
    *fixture.world.acme.responder.borrow_mut() = Some(Box::new(takes_all));
    fixture
}

fn api_key_method(request: &Value) -> Value {
    json!({ "type": "api_key", "fields": [{ "id": "api_key", "label": "Key" }], "request": request })
}

fn bearer_request() -> Value {
    json!({ "headers": { "Authorization": "Bearer {api_key}" } })
}

fn post_connection(fixture: &Fixture, body: &Value) -> (u16, Value) {
    call(fixture, &first_key(fixture), Method::Post, "/v1/connections", body)
}

fn resolve_connection(fixture: &Fixture, id: &Value) -> Value {
    let path = format!("/v1/connections/{}/resolve", id.as_str().unwrap());
    let (status, resolved) = call(fixture, &first_key(fixture), Method::Post, &path, &json!({}));
    assert_eq!(status, 200, "{resolved}");
    resolved
}

/// The only error: the member, and its problem.
fn only_error((status, problem): (u16, Value)) -> (String, String) {
    assert_eq!((status, problem["code"].as_str()), (422, Some("invalid_request")), "{problem}");
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{problem}");
    (errors[0]["field"].as_str().unwrap().to_owned(), errors[0].to_string())
}

fn encode_form_value(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// What somebody enters in the form of an auth method.
fn submit_form(fixture: &Fixture, address: &str, inputs: &[(&str, &str)]) -> Response {
    let mut ann = TestBrowser::new(fixture);
    ann.sign_in();
    let fields: Vec<_> =
        inputs.iter().map(|(name, value)| format!("input.{name}={}", encode_form_value(value))).collect();
    ann.post(address, address, &fields.join("&"))
}

fn redirected_connection_id(response: &Response) -> Value {
    assert_eq!(response.status, 303, "{}", response.body);
    let location = response.header("location").unwrap();
    json!(location.trim_start_matches("/connections/").split('?').next().unwrap())
}

const API_KEY: &str = "hunter2k";

#[test]
fn a_copied_key_is_stored_without_surrounding_text() {
    let fixture = fixture_with_auth_method(&api_key_method(&bearer_request()));
    let pastes = [
        "hunter2k\r\n",
        "\u{feff}hunter2k",
        "\u{a0}hunter2k\u{200b}",
        "hun\u{200b}ter\u{ad}2k\u{2060}",
        "\u{202a}hunter2k\u{202c}",
        "\"hunter2k\"",
        "\u{201c}hunter2k\u{201d}",
        "'hunter2k'",
        "Bearer hunter2k",
        "bearer\u{a0}hunter2k",
        "Authorization: Bearer hunter2k",
        "-H 'Authorization: Bearer hunter2k'",
        "token hunter2k",
        "KEY=hunter2k",
        "export ACME_API_KEY=\"hunter2k\"",
        "api_key: hunter2k",
        "ACME_KEY=hunter2k\r\n",
        "{\"api_key\": \"hunter2k\"}",
        "\u{2018}hunter2k\u{2019}",
    ];
    for pasted in pastes {
        let body =
            json!({ "app": "acme", "auth_method": "api_key", "credential": { "type": "api_key", "api_key": pasted } });
        let (status, made) = post_connection(&fixture, &body);
        assert_eq!(status, 201, "{pasted:?}: {made}");
        let by_form = submit_form(&fixture, "/oauth/start/acme?auth_method=api_key", &[("api_key", pasted)]);
        for id in [made["id"].clone(), redirected_connection_id(&by_form)] {
            let resolved = resolve_connection(&fixture, &id);
            assert_eq!(resolved["credential"]["api_key"], API_KEY, "{pasted:?}");
            assert_eq!(resolved["request"]["headers"]["Authorization"], format!("Bearer {API_KEY}"), "{pasted:?}");
            let path = format!("/v1/connections/{}", id.as_str().unwrap());
            assert_eq!(call(&fixture, &first_key(&fixture), Method::Delete, &path, &Value::Null).0, 200);
        }
    }
}

#[test]
fn an_invalid_value_is_named_with_its_field_and_not_repeated() {
    let fixture = fixture_with_auth_method(&api_key_method(&bearer_request()));
    for (pasted, said) in [
        ("hunter2k\u{a0}x", "has a non-breaking space after character 8."),
        ("hun\u{201c}ter2k", "has a curly quotation mark after character 3."),
        (
            "\u{43a}hunter2k",
            "begins with a character that is not ASCII. It is sent in the header Authorization as it is",
        ),
        ("hunter2k\u{2026}", "has an ellipsis, so the value may be cut off, after character 8."),
        ("\u{2022}\u{2022}hunter2k", "begins with a bullet"),
        ("hunter\n2k", "must be one line"),
        ("hunter2k\u{7}x", "has a control character after character 8."),
        ("Basic aHVudGVyMmtrOng=", "is the value of an HTTP Basic header"),
        ("Authorization: Basic aHVudGVyMmtrOng=", "is the value of an HTTP Basic header"),
        ("Authorization: Digest hunter2k", "is a whole header"),
        ("{\"api_key\":\"hunter2k\",\"id\":7}", "is a JSON object with several values"),
        ("ACME_ID=1\nACME_KEY=hunter2k", "must be one line"),
        ("\u{200b}\u{feff}", "is missing."),
    ] {
        let body =
            json!({ "app": "acme", "auth_method": "api_key", "credential": { "type": "api_key", "api_key": pasted } });
        let (field, problem) = only_error(post_connection(&fixture, &body));
        assert_eq!(field, "credential.api_key");
        assert!(problem.contains(said), "{pasted:?}: {problem}");
        assert!(!problem.contains("hunter") && !problem.contains("aHVu"), "{problem}");
        let form = submit_form(&fixture, "/oauth/start/acme?auth_method=api_key", &[("api_key", pasted)]);
        assert_eq!(form.status, 422);
        assert!(form.body.contains(said) && !form.body.contains("hunter"), "{pasted:?}: {}", form.body);
    }
}

#[test]
fn an_auth_scheme_is_removed_only_if_requests_add_it() {
    let fixture = fixture_with_auth_method(&api_key_method(&json!({ "headers": { "X-Api-Key": "{api_key}" } })));
    let stored = |pasted: &str| {
        let body =
            json!({ "app": "acme", "auth_method": "api_key", "credential": { "type": "api_key", "api_key": pasted } });
        let (status, made) = post_connection(&fixture, &body);
        assert_eq!(status, 201, "{made}");
        resolve_connection(&fixture, &made["id"])["request"]["headers"]["X-Api-Key"].as_str().unwrap().to_owned()
    };
    assert_eq!(stored("x-api-key: hunter2k"), API_KEY);
    assert_eq!(stored("Bearer hunter2k"), "Bearer hunter2k", "nobody knows what else");
    assert_eq!(stored("VE9LRU5fS0VZ=="), "VE9LRU5fS0VZ==", "the end of base64 is no assignment");
}

#[test]
fn user_name_and_password_accept_any_letters_and_the_password_is_unchanged() {
    let fixture = fixture_with_auth_method(&json!({
        "type": "basic",
        "fields": [{ "id": "username", "label": "Name", "secret": false }, { "id": "password", "label": "Password" }],
        "request": { "basic": { "username": "{username}", "password": "{password}" } },
    }));
    for password in
        ["p\u{e4}ssw\u{f6}rd", "\u{5bc6}\u{7801} \u{1f469}\u{200d}\u{1f4bb}", "\"quoted\"", "KEY=value", "Bearer k"]
    {
        let credential = json!({ "type": "basic", "username": "j\u{f6}rg", "password": password });
        let (status, made) =
            post_connection(&fixture, &json!({ "app": "acme", "auth_method": "basic", "credential": credential }));
        assert_eq!(status, 201, "{made}");
        let form = submit_form(
            &fixture,
            "/oauth/start/acme?auth_method=basic",
            &[("username", "j\u{f6}rg"), ("password", password)],
        );
        // The second one is another connection to the account, so there is a question.
        assert_eq!(form.status, 303, "{}", form.body);
        let resolved = resolve_connection(&fixture, &made["id"]);
        assert_eq!(resolved["credential"]["password"], password);
        let pair = STANDARD.encode(format!("j\u{f6}rg:{password}"));
        assert_eq!(resolved["request"]["headers"]["Authorization"], format!("Basic {pair}"), "UTF-8 (RFC 7617)");
    }
    let credential = json!({ "type": "basic", "username": "a:b", "password": "p" });
    let colon = post_connection(&fixture, &json!({ "app": "acme", "auth_method": "basic", "credential": credential }));
    assert_eq!(only_error(colon).0, "credential.username");
}

#[test]
fn a_secret_that_is_sent_as_a_parameter_accepts_any_letters() {
    for auth in ["body", "basic", "basic_raw"] {
        let fixture = fixture_with_auth_method(&json!({
            "type": "client_credentials", "token_url": "https://acme.example/token", "client_auth": auth,
        }));
        let credential =
            json!({ "type": "client_credentials", "client_id": "r\u{f6}bot", "client_secret": "s\u{eb}cret" });
        let (status, made) = post_connection(
            &fixture,
            &json!({ "app": "acme", "auth_method": "client_credentials", "credential": credential }),
        );
        assert_eq!(status, 201, "{auth}: {made}");
    }
    let fixture = fixture_with_auth_method(&api_key_method(&json!({ "query": { "key": "{api_key}" } })));
    let credential = json!({ "type": "api_key", "api_key": "k\u{eb}y" });
    let (status, made) =
        post_connection(&fixture, &json!({ "app": "acme", "auth_method": "api_key", "credential": credential }));
    assert_eq!(status, 201, "{made}");
}

// ---- imported tokens ----

fn import_tokens(fixture: &Fixture, credential: &Value) -> (u16, Value) {
    let mut all = json!({ "type": "oauth2" });
    all.as_object_mut().unwrap().extend(credential.as_object().unwrap().clone());
    post_connection(fixture, &json!({ "app": "acme", "check": false, "credential": all }))
}

#[test]
fn the_expiry_of_an_imported_token_is_read_in_common_formats() {
    let fixture = Fixture::new();
    let end = "2026-12-01T12:00:00Z";
    let unix = 1_796_126_400_i64;
    for (given, told) in [
        (json!(unix), end),
        (json!(unix * 1000), end),
        (json!(1_796_126_400.5), end),
        (json!(unix.to_string()), end),
        (json!((unix * 1000).to_string()), end),
        (json!("2026-12-01T13:00:00+01:00"), end),
        (json!("2026-12-01T12:00:00.123456"), end),
        (json!(" 2026-12-01 12:00:00\n"), end),
        (json!("2026-12-01"), "2026-12-01T00:00:00Z"),
        (json!("2026-12-01 12:00:00 UTC"), end),
        (json!("2026-12-01T13:00:00+0100"), end),
        (json!("Tue, 01 Dec 2026 12:00:00 GMT"), end),
        (json!("/Date(1796126400000)/"), end),
    ] {
        let (status, made) =
            import_tokens(&fixture, &json!({ "access_token": "a", "refresh_token": "r", "expires_at": given }));
        assert_eq!((status, made["credential"]["expires_at"].as_str()), (201, Some(told)), "{given}: {made}");
    }
    for (given, said) in [
        (json!(3600), "the token's life in seconds"),
        (json!("3600"), "the token's life in seconds"),
        (json!(unix * 1_000_000), "seconds or milliseconds"),
        (json!("soon"), "must be a time: 2026-12-01T12:00:00Z"),
        (json!("PT1H"), "must be a time: 2026-12-01T12:00:00Z"),
        (json!("01.12.2026"), "must be a time: 2026-12-01T12:00:00Z"),
        (json!("12/01/2026"), "must be a time: 2026-12-01T12:00:00Z"),
        (json!(-1), "must be a time"),
        (json!(true), "must be a time"),
    ] {
        let (field, problem) =
            only_error(import_tokens(&fixture, &json!({ "access_token": "a", "expires_at": given })));
        assert_eq!(field, "credential.expires_at");
        assert!(problem.contains(said), "{given}: {problem}");
    }
}

#[test]
fn imported_tokens_may_be_long_and_are_trimmed() {
    let fixture = Fixture::new();
    let long = "j".repeat(17 * 1024);
    for pasted in [
        format!("{long}\n"),
        format!("\u{feff}{long}"),
        format!("Bearer {long}"),
        format!("\"{long}\""),
        format!("ACCESS_TOKEN={long}"),
    ] {
        let (status, made) = import_tokens(
            &fixture,
            &json!({ "access_token": pasted, "refresh_token": "\"r t\u{e9}\"\r\n", "expires_at": 1_796_126_400 }),
        );
        assert_eq!(status, 201, "{made}");
        assert_eq!(resolve_connection(&fixture, &made["id"])["credential"]["access_token"], long);
        let id = connections::ids::ConnectionId::parse(made["id"].as_str().unwrap()).unwrap();
        let kept = fixture.open_credential(&id).token.unwrap().refresh_token.unwrap();
        assert_eq!(kept.expose(), "r t\u{e9}", "it is sent as a parameter of a form");
    }
    for (member, pasted, said) in [
        (
            "access_token",
            "hunter\u{a0}2".to_owned(),
            "has a non-breaking space after character 6. It is sent unchanged in a header",
        ),
        ("access_token", "hunter 2".to_owned(), "has a space after character 6."),
        ("access_token", "h".repeat(65 * 1024), "is over 65536 bytes."),
        ("access_token", "Basic aHVudGVyOjI=".to_owned(), "HTTP Basic header"),
        ("refresh_token", "hunter\n2".to_owned(), "must be one line."),
        ("token_type", "hunter\u{e9}".to_owned(), "has a character that is not ASCII after character 6."),
    ] {
        let mut credential = json!({ "access_token": "a", "expires_at": 1_796_126_400 });
        credential[member] = json!(pasted);
        let (field, problem) = only_error(import_tokens(&fixture, &credential));
        assert_eq!(field, format!("credential.{member}"));
        assert!(problem.contains(said) && !problem.contains("hunter"), "{problem}");
    }
    assert_eq!(
        only_error(import_tokens(&fixture, &json!({ "access_token": "\u{200b}" }))).0,
        "credential.access_token"
    );
    for (member, value, said) in [
        ("expires_in", json!(3600), "Give the end as expires_at."),
        ("scope", json!("read write"), "is called scopes here"),
        ("id_token", json!("hunter2"), "is no member of a token"),
    ] {
        let (field, problem) = only_error(import_tokens(&fixture, &json!({ "access_token": "a", member: value })));
        assert_eq!(field, format!("credential.{member}"));
        assert!(problem.contains(said) && !problem.contains("hunter"), "{problem}");
    }
}

// ---- addresses ----

#[test]
fn a_full_address_is_accepted_for_a_part_of_it() {
    let fixture = Fixture::new();
    let body = |subdomain: &str| {
        json!({ "app": "zendesk", "auth_method": "api_token", "variables": { "subdomain": subdomain }, "check": false,
                "credential": { "type": "basic", "email": "ada@acme.example", "api_token": "k" } })
    };
    for pasted in [
        "acme",
        "acme.zendesk.com",
        "ACME.zendesk.com/",
        "https://acme.zendesk.com/agent/filters/1?x=y#z",
        "http://acme.zendesk.com",
        "\u{feff}https://acme.zendesk.com\n",
        "\"acme\"",
        "acme.zendesk.com.",
        "https://ACME.ZENDESK.COM./agent",
        "//acme.zendesk.com/agent",
    ] {
        let (status, made) = post_connection(&fixture, &body(pasted));
        assert_eq!((status, made["variables"]["subdomain"].as_str()), (201, Some("acme")), "{pasted:?}: {made}");
    }
    for pasted in [
        "https://acme.example.com/agent",
        "https://zendesk.com/acme",
        "https://acme.zendesk.com.evil.example/",
        "https://acme@evil.example/.zendesk.com",
        "https://acme.zendesk.com:8443/",
        "https://a.b.zendesk.com",
        "ftp://acme.zendesk.com",
        "https://ann:pw@acme.zendesk.com",
        "acme.zendesk.com:443.evil.example",
        "acme.zendesk.com..",
        "b\u{fc}cher.evil.example",
        "acme.evil.example/x.zendesk.com",
    ] {
        let (field, problem) = only_error(post_connection(&fixture, &body(pasted)));
        assert_eq!(field, "variables.subdomain", "{pasted}");
        assert!(problem.contains("the place of {subdomain} in https://{subdomain}.zendesk.com"), "{problem}");
        assert!(!problem.contains("evil"), "{problem}");
    }
    let inputs = [("subdomain", "acme.evil.example"), ("email", "a@b.example"), ("api_token", "k")];
    let form = submit_form(&fixture, "/oauth/start/zendesk?auth_method=api_token", &inputs);
    assert_eq!(form.status, 422);
    assert!(form.body.contains("the place of {subdomain}"), "{}", form.body);
}

#[test]
fn the_host_of_a_client_can_be_entered_as_an_address() {
    let fixture = Fixture::new();
    for pasted in ["gitlab.acme.example", "https://gitlab.acme.example/users/sign_in", "gitlab.acme.example/"] {
        let body = json!({ "client_id": "c", "client_secret": "s", "variables": { "host": pasted } });
        let (status, client) = call(&fixture, &first_key(&fixture), Method::Put, "/v1/apps/gitlab/client", &body);
        assert_eq!((status, client["variables"]["host"].as_str()), (200, Some("gitlab.acme.example")), "{client}");
    }
    // Variables that the app itself returns are accepted from imports.
    let fixture = Fixture::with_definition(&json!({
        "variables": { "instance": { "label": "Instance", "from": "token", "at": "/instance", "pattern": "https://[a-z0-9]+\\.acme\\.example" } },
        "request": { "base_url": "{instance}/api/" },
    }));
    let body = json!({
        "app": "acme", "check": false, "variables": { "instance": "https://na1.acme.example/home?x=y" },
        "credential": { "type": "oauth2", "access_token": "a", "expires_at": 1_796_126_400 },
    });
    let (status, made) = post_connection(&fixture, &body);
    assert_eq!((status, made["variables"]["instance"].as_str()), (201, Some("https://na1.acme.example")), "{made}");
}
