//! A4: a person sees which hosts get their credential, and a manual credential stays with the hosts it was entered for.

use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::RefreshReason;
use connections::resolve::ResolveRequest;
use serde_json::{Value, json};

use super::{
    FormBrowser, api_key_definition, assert_no_secret_leaked, attackers_key, call_successfully, edited_definition,
    hosts_mark, install_foreign_responder, install_rogue_server,
};
use crate::http::{call, first_key};
use crate::support::Fixture;
use crate::support::signer::RSA_KEY;

const KEY: &str = "canary7f3a-key";

fn put_app_definition(fixture: &Fixture, definition: &Value) {
    call_successfully(fixture, &attackers_key(fixture), Method::Put, "/v1/apps/acme", definition);
}

/// An app, what a person enters for it, and what a program sends.
type ManualCase = (Value, Vec<(&'static str, &'static str)>, Value);

/// An app of each type of manual credential.
fn manual_cases() -> Vec<ManualCase> {
    let with = |auth: Value| {
        let mut app = api_key_definition();
        app["auth"] = auth;
        app
    };
    let token = "https://acme.example/token";
    vec![
        (api_key_definition(), vec![("input.api_key", KEY)], json!({ "type": "api_key", "api_key": KEY })),
        (
            with(json!({ "type": "bot_token", "fields": [{ "id": "bot_token", "label": "Token" }] })),
            vec![("input.bot_token", KEY)],
            json!({ "type": "bot_token", "bot_token": KEY }),
        ),
        (
            with(json!({ "type": "basic" })),
            vec![("input.username", "ann"), ("input.password", KEY)],
            json!({ "type": "basic", "username": "ann", "password": KEY }),
        ),
        (
            with(json!({ "type": "client_credentials", "token_url": token })),
            vec![("input.client_id", "robot"), ("input.client_secret", KEY)],
            json!({ "type": "client_credentials", "client_id": "robot", "client_secret": KEY }),
        ),
        (with(json!({ "type": "service_account", "token_url": token })), vec![("input.key", "")], Value::Null),
    ]
}

fn service_account_file() -> String {
    json!({ "client_email": "robot@acme.example", "private_key": RSA_KEY, "private_key_id": "k" }).to_string()
}

/// Every request at the app succeeds with the account ann.
fn accept_all_credentials(fixture: &Fixture) {
    let acme = &fixture.world.acme;
    acme.api_keys.borrow_mut().insert(KEY.into(), "ann".into());
    acme.client_credentials.borrow_mut().insert("robot".into(), KEY.into());
    acme.expires_in.set(Some(3600));
    // The simulated app has no HTTP Basic.
    acme.script_always(
        "/me",
        Some(crate::support::Reply::status(200, r#"{"sub":"id-ann","email":"ann@acme.example"}"#)),
    );
}

/// A connection of each type of manual credential.
fn connect_manually(definition: &Value, form: &[(&str, &str)]) -> (Fixture, ConnectionId) {
    let fixture = Fixture::new();
    accept_all_credentials(&fixture);
    put_app_definition(&fixture, definition);
    let file = service_account_file();
    let form: Vec<_> =
        form.iter().map(|(name, value)| (*name, if *name == "input.key" { file.as_str() } else { value })).collect();
    let mut ann = FormBrowser::signed_in(&fixture);
    let saved = ann.press("/oauth/start/acme", &form);
    assert_eq!(saved.status, 303, "{definition} {}", saved.body);
    let id = fixture.world.db.query_value("SELECT id FROM connections");
    let id = ConnectionId::parse(id.as_str().unwrap()).unwrap();
    (fixture, id)
}

/// The same app with one or all of its addresses at another host.
fn definitions_with_moved_urls(definition: &Value) -> Vec<Value> {
    let text = definition.to_string();
    let mut all = vec![
        serde_json::from_str(&text.replace("https://acme.example", "https://evil.example")).unwrap(),
        serde_json::from_str(&text.replace("acme.example/me", "evil.example/me")).unwrap(),
        serde_json::from_str(&text.replace("acme.example/v1/", "evil.example/")).unwrap(),
        serde_json::from_str(&text.replace("acme.example/me", "acme.example:8443/me")).unwrap(),
    ];
    if text.contains("token_url") {
        all.push(serde_json::from_str(&text.replace("acme.example/token", "evil.example/token")).unwrap());
        all.push(serde_json::from_str(&text.replace("acme.example/token", "acme.example/evil/token")).unwrap());
    }
    all
}

#[test]
fn a_manual_credential_is_not_sent_to_hosts_of_a_later_definition() {
    for (definition, form, _) in manual_cases() {
        for edit in definitions_with_moved_urls(&definition) {
            let (fixture, id) = connect_manually(&definition, &form);
            install_rogue_server(&fixture);
            put_app_definition(&fixture, &edit);
            let key = first_key(&fixture);
            let path = format!("/v1/connections/{id}");
            fixture.world.advance_clock(2 * 86_400);
            fixture.run_scheduled();
            call(&fixture, &key, Method::Post, &format!("{path}/check"), &Value::Null);
            fixture.refresh(&id, RefreshReason::ScheduledCheck);
            let resolved = call_successfully(
                &fixture,
                &key,
                Method::Post,
                &format!("{path}/resolve"),
                &json!({ "force_refresh": true }),
            );
            assert_eq!(resolved["request"]["base_url"], "https://acme.example/v1/", "{edit}");
            assert!(fixture.resolve(&id, ResolveRequest::default()).is_ok());
            call_successfully(&fixture, &key, Method::Delete, &path, &Value::Null);
            fixture.world.advance_clock(120);
            fixture.run_scheduled();
            assert!(fixture.world.acme.foreign_requests.borrow().is_empty(), "{edit}");
        }
    }
}

#[test]
fn the_page_names_every_host_and_who_defined_the_app() {
    let fixture = Fixture::new();
    let everywhere = [
        "login.acme.example",
        "renew.acme.example",
        "end.acme.example:8443",
        "id.acme.example",
        "check.acme.example",
        "list.acme.example",
        "api.acme.example",
        "name.acme.example",
    ];
    let [token, refresh, revoke, identity, check, list, api, _] = everywhere.map(|host| format!("https://{host}/x"));
    let definition = edited_definition(&json!({
        "auth": { "token_url": token, "refresh_url": refresh, "revoke_url": revoke },
        "identity": { "url": identity }, "check": { "url": check },
        "nothing_shared": { "url": list, "at": "/x", "say": "Share." }, "request": { "base_url": api },
    }));
    put_app_definition(&fixture, &definition);
    let secret = fixture.world.acme.client_secret.borrow().clone();
    super::put_client(&fixture, &first_key(&fixture), Some(&secret));
    let made = call_successfully(&fixture, &first_key(&fixture), Method::Post, "/v1/links", &json!({ "app": "acme" }));
    let link = made["url"].as_str().unwrap().trim_start_matches(super::PUBLIC_URL).to_owned();
    let pages =
        [FormBrowser::signed_in(&fixture).get("/oauth/start/acme").body, FormBrowser::new(&fixture).get(&link).body];
    for page in pages {
        for host in everywhere.into_iter().filter(|host| !host.starts_with("name")) {
            assert!(page.contains(&format!("<strong><bdi>{host}</bdi></strong>")), "{host}: {page}");
        }
        assert!(page.contains("was defined by the workspace") && !page.contains("is from the catalogue"), "{page}");
    }
    let named =
        edited_definition(&json!({ "identity": { "url": null, "from": "token", "id": "/user", "label": "/user",
        "named_by": { "url": "https://name.acme.example/x", "label": "/name" } } }));
    let (status, problem) = call(&fixture, &attackers_key(&fixture), Method::Put, "/v1/apps/acme", &named);
    assert_eq!(status, 200, "{problem}");
    super::put_client(&fixture, &first_key(&fixture), Some(&secret));
    assert!(FormBrowser::signed_in(&fixture).get("/oauth/start/acme").body.contains("name.acme.example"));
    let telegram = FormBrowser::signed_in(&fixture).get("/oauth/start/telegram").body;
    assert!(telegram.contains("api.telegram.org") && telegram.contains("is from the catalogue"), "{telegram}");
}

#[test]
fn a_reconnect_names_new_hosts_before_anything_is_entered() {
    for (definition, form, _) in manual_cases() {
        for edit in definitions_with_moved_urls(&definition) {
            let (fixture, id) = connect_manually(&definition, &form);
            let mut ann = FormBrowser::signed_in(&fixture);
            let address = format!("/connections/{id}/reconnect");
            let before = ann.get(&address).body;
            assert!(!before.contains("These addresses are new"), "{before}");
            put_app_definition(&fixture, &edit);
            let page = ann.get(&address).body;
            let (_, announced) = page.split_once("These addresses are new").unwrap_or_else(|| panic!("{edit}: {page}"));
            let announced = announced.split_once("</section>").unwrap().0;
            let new = ["evil.example", "acme.example:8443", "acme.example/evil/token"];
            assert!(new.iter().any(|one| announced.contains(one)), "{edit}: {announced}");
            // A form that was shown before names other hosts, and sends nothing.
            let stale = ann.submit(&address, &before, &form);
            assert_eq!(stale.status, 422, "{edit}");
            assert!(fixture.world.acme.foreign_requests.borrow().is_empty(), "{edit}");
        }
    }
}

#[test]
fn a_host_from_the_app_is_named_when_its_rule_changes() {
    let with = |variable: &Value| {
        edited_definition(&json!({
            "variables": { "region": variable },
            "auth": { "client_auth": "none" },
            "request": { "base_url": "https://{region}/v1/" },
        }))
    };
    let honest = json!({ "from": "token", "at": "/region", "default": "eu.acme.example", "pattern": "[a-z.]+" });
    for (changed, is_announced) in [
        (honest.clone(), false),
        (json!({ "from": "token", "at": "/none", "default": "evil.example", "pattern": "[a-z.]+" }), true),
        (json!({ "from": "token", "at": "/region", "default": "evil.example", "pattern": "[a-z.]+" }), true),
        (json!({ "from": "callback", "at": "region", "pattern": "[a-z.]+" }), true),
        (json!({ "from": "token", "at": "/region", "default": "eu.acme.example" }), true),
    ] {
        let fixture = Fixture::new();
        put_app_definition(&fixture, &with(&honest));
        let secret = fixture.world.acme.client_secret.borrow().clone();
        super::put_client(&fixture, &first_key(&fixture), Some(&secret));
        fixture.world.acme.script_always(
            "/token",
            Some(crate::support::Reply::status(200, r#"{"access_token":"t","token_type":"bearer"}"#)),
        );
        fixture
            .world
            .acme
            .script_always("/me", Some(crate::support::Reply::status(200, r#"{"sub":"id-ann","email":"ann"}"#)));
        let mut ann = FormBrowser::signed_in(&fixture);
        let id = ann.connect("ann");
        let mut renamed = with(&changed);
        renamed["categories"] = json!(["crm"]);
        put_app_definition(&fixture, &renamed);
        super::put_client(&fixture, &first_key(&fixture), Some(&secret));
        let page = ann.get(&format!("/connections/{id}/reconnect")).body;
        assert!(page.contains("[known later from the app]"), "{page}");
        assert_eq!(page.contains("These addresses are new"), is_announced, "{changed}");
    }
}

#[test]
fn a_label_cannot_be_mistaken_for_a_host() {
    let fixture = Fixture::new();
    put_app_definition(
        &fixture,
        &edited_definition(&json!({
            "variables": { "x": { "label": "] api.stripe.com [", "pattern": "[a-z]+" } },
            "request": { "base_url": "https://{x}.evil.example/" },
        })),
    );
    let secret = fixture.world.acme.client_secret.borrow().clone();
    super::put_client(&fixture, &first_key(&fixture), Some(&secret));
    let page = FormBrowser::signed_in(&fixture).get("/oauth/start/acme").body;
    assert!(page.contains("[ apistripecom ].evil.example"), "{page}");
}

#[test]
fn a_host_that_the_workspace_chose_is_marked() {
    for (login_host, is_said) in [("login.salesforce.com", false), ("acme.my.salesforce.com", true)] {
        let auth_method = connections::catalogue::find("salesforce").unwrap().oauth2_method().unwrap();
        let variables = [("login_host".to_owned(), login_host.to_owned())].into();
        let fixture = Fixture::for_auth_method(&auth_method, ("c", "s"), variables);
        let page = FormBrowser::signed_in(&fixture).get("/oauth/start/salesforce").body;
        assert_eq!(page.contains("Whoever set up the app in this workspace chose them"), is_said, "{page}");
    }
}

#[test]
fn a_reconnect_at_another_server_of_a_catalogue_app_is_named() {
    let auth_method = connections::catalogue::find("gitlab").unwrap().oauth2_method().unwrap();
    let variables = [("host".to_owned(), "gitlab.com".to_owned())].into();
    let fixture = Fixture::for_auth_method(&auth_method, ("c", "canary7f3a-secret"), variables);
    install_foreign_responder(&fixture, |request| {
        let token = json!({ "access_token": "canary7f3a-at", "refresh_token": "canary7f3a-rt", "token_type": "bearer", "expires_in": 60 });
        let me = json!({ "id": 1, "username": "ann", "sub": "1", "email": "ann" });
        Some(if request.url.url().path().ends_with("/token") { token } else { me })
    });
    let mut ann = FormBrowser::signed_in(&fixture);
    let sent = super::AuthorizeRedirect::from_response(&ann.press("/oauth/start/gitlab", &[]));
    let page = ann.return_from_app(&sent.redirect_uri, &[("state", &sent.state), ("code", "c")]);
    let id = super::list_connection_ids(&fixture).pop().unwrap_or_else(|| panic!("{page}"));
    let reconnect = format!("/connections/{id}/reconnect");
    assert!(!ann.get(&reconnect).body.contains("These addresses are new"));
    let body = json!({ "client_id": "c", "client_secret": "whatever", "variables": { "host": "evil.example" } });
    call_successfully(&fixture, &attackers_key(&fixture), Method::Put, "/v1/apps/gitlab/client", &body);
    let page = ann.get(&reconnect).body;
    let (_, announced) = page.split_once("These addresses are new").unwrap_or_else(|| panic!("{page}"));
    assert!(announced.split_once("</section>").unwrap().0.contains("evil.example"), "{announced}");
    let pressed = ann.submit(&reconnect, &page, &[]);
    let sent = super::AuthorizeRedirect::from_response(&pressed);
    ann.return_from_app(&sent.redirect_uri, &[("state", &sent.state), ("code", "evil-code")]);
    fixture.world.advance_clock(61);
    fixture.run_scheduled();
    for request in fixture.world.acme.foreign_requests.borrow().iter().filter(|one| one.url.contains("evil.example")) {
        assert!(!request.text.contains("canary7f3a-secret"), "{}", request.text);
    }
}

#[test]
fn a_program_must_name_new_destinations() {
    for (definition, form, credential) in manual_cases() {
        if credential.is_null() {
            continue;
        }
        for edit in definitions_with_moved_urls(&definition) {
            let (fixture, id) = connect_manually(&definition, &form);
            install_rogue_server(&fixture);
            put_app_definition(&fixture, &edit);
            let key = first_key(&fixture);
            let path = format!("/v1/connections/{id}/credential");
            let put = |accept: &Value| {
                call(&fixture, &key, Method::Put, &path, &json!({ "credential": credential, "accept_hosts": accept }))
            };
            let (status, problem) = put(&json!([]));
            assert_eq!((status, problem["code"].as_str()), (409, Some("addresses_changed")), "{edit} {problem}");
            assert_eq!(put(&json!(["other.example"])).0, 409, "{edit}");
            assert!(fixture.world.acme.foreign_requests.borrow().is_empty(), "{edit}");
            let (status, problem) = put(&json!(["evil.example", "acme.example:8443", "acme.example/evil/token"]));
            assert_eq!(status, 200, "{edit} {problem}");
            assert_eq!(fixture.load_connection(&id).generation, 2);
        }
    }
}

#[test]
fn without_known_destinations_every_host_is_new() {
    let issuer = "https://acme.example";
    let discovered =
        json!({ "auth": { "issuer": issuer, "authorize_url": null, "token_url": null, "revoke_url": null } });
    let fixture = Fixture::with_definition(&discovered);
    let mut ann = FormBrowser::signed_in(&fixture);
    let sent = super::AuthorizeRedirect::from_response(&ann.press("/oauth/start/acme", &[]));
    let (code, state) = fixture.world.acme.consent(&sent.url, "ann");
    ann.return_from_app(&sent.redirect_uri, &[("state", &state), ("code", code.expose()), ("iss", issuer)]);
    let id = super::list_connection_ids(&fixture).remove(0);
    // A row without stored destinations, and an issuer that does not answer.
    fixture.world.db.tamper("UPDATE connections SET destinations = NULL");
    fixture.world.cache.entries.borrow_mut().clear();
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
        fixture.world.acme.script_always(path, Some(crate::support::Reply::status(500, "")));
    }
    put_app_definition(&fixture, &edited_definition(&json!({ "auth": { "token_url": "https://evil.example/token" } })));
    super::put_client(&fixture, &attackers_key(&fixture), Some("whatever"));
    let page = ann.get(&format!("/connections/{id}/reconnect"));
    assert!(page.status == 200 && page.body.contains("These addresses are new"), "{}", page.body);
    let tokens = json!({ "type": "oauth2", "access_token": "canary7f3a-t", "refresh_token": "canary7f3a-r" });
    let path = format!("/v1/connections/{id}/credential");
    let (status, problem) = call(&fixture, &first_key(&fixture), Method::Put, &path, &json!({ "credential": tokens }));
    assert_eq!((status, problem["code"].as_str()), (409, Some("addresses_changed")), "{problem}");
    assert_no_secret_leaked(&fixture, "an issuer that does not answer");
}

#[test]
fn an_issuer_that_depends_on_the_person_is_named_for_each_person() {
    let fixture = Fixture::new();
    let definition = edited_definition(&json!({
        "variables": { "org": { "label": "Organisation", "pattern": "[a-z]+" } },
        "auth": { "issuer": "https://{org}.login.example", "authorize_url": null, "token_url": null, "revoke_url": null },
        "identity": null,
    }));
    put_app_definition(&fixture, &definition);
    let secret = fixture.world.acme.client_secret.borrow().clone();
    assert_eq!(super::put_client(&fixture, &first_key(&fixture), Some(&secret)).0, 200);
    install_foreign_responder(&fixture, |request| {
        let origin = request.url.origin();
        // Mallory's organisation names another host for its tokens.
        let tokens = if origin.contains("mallory") { "https://evil.example" } else { origin.as_str() };
        Some(match request.url.url().path() {
            "/.well-known/openid-configuration" => {
                json!({ "issuer": origin, "authorization_endpoint": format!("{origin}/authorize"),
                "token_endpoint": format!("{tokens}/token"), "userinfo_endpoint": format!("{origin}/me") })
            }
            "/me" => json!({ "sub": origin, "email": "ann" }),
            _ => json!({ "access_token": "t", "token_type": "bearer" }),
        })
    });
    let mut ann = FormBrowser::signed_in(&fixture);
    let page = ann.get("/oauth/start/acme");
    assert!(page.status == 200 && page.body.contains("[Organisation].login.example"), "{}", page.body);
    for org in ["mallory", "one", "two"] {
        let pressed = ann.press("/oauth/start/acme", &[("input.org", org)]);
        let sent = super::AuthorizeRedirect::from_response(&pressed);
        ann.return_from_app(&sent.redirect_uri, &[("state", &sent.state), ("code", "c")]);
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 2);
    for request in fixture.world.acme.foreign_requests.borrow().iter().filter(|one| one.has_secret()) {
        assert!(
            ["https://one.login.example/token", "https://two.login.example/token"].contains(&request.url.as_str()),
            "{}",
            request.text
        );
    }
}

#[test]
fn catalogue_names_are_reserved_in_every_spelling() {
    let fixture = Fixture::new();
    let named = |name: &str| {
        let mut app = api_key_definition();
        app["name"] = name.into();
        call(&fixture, &attackers_key(&fixture), Method::Put, "/v1/apps/acme", &app)
    };
    for name in [
        "Stripe",
        "stripe",
        "STRIPE",
        " Stripe",
        "Stripe.",
        "S t r i p e",
        "Str\u{200b}ipe",
        "Strıpe",
        "Ѕtripe",
        "Ｓｔｒｉｐｅ",
        "𝐒𝐭𝐫𝐢𝐩𝐞",
        "𝕊𝕥𝕣𝕚𝕡𝕖",
        "Ⓢⓣⓡⓘⓟⓔ",
        "🅂🅃🅁🄸🄿🄴",
        "ꜱᴛʀɪᴘᴇ",
        "Str1pe",
        "Strípe",
        "Stri\u{301}pe",
        "Stripe®",
        "«Stripe»",
        "$tripe",
        "G𝗺ail",
        "Google-Drive",
        "Slаck",
        "s-l-a-c-k",
        "Microsoft  Teams",
    ] {
        let (status, problem) = named(name);
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("name")), "{name}");
    }
    for name in ["Acme", "Stripes", "My Stripe bridge", "Приложение", "アクメ", "Ångström"] {
        assert_eq!(named(name).0, 200, "{name}");
    }
    assert!(hosts_mark("").is_none());
}
