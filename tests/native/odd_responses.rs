//! An unusual response of an app never loses a connection, and a refusal is always reported. Whole flows and resolves;
//! the classification of single responses is tested in `src/token/tests/unusual_responses.rs`.

use std::collections::BTreeMap;

use connections::audit::Actor;
use connections::connect::callback::{CallbackParams, CallbackResult};
use connections::connect::client_setup::{self, NewClient, NewSecret};
use connections::connect::client_test::{self, ClientTest};
use connections::connection::ConnectionStatus;
use connections::error::{Error, ErrorCode};
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::{AppResponse, HttpError, RefreshOutcome};
use connections::resolve::{Freshness, ResolveRequest};
use connections::secret::Secret;
use connections::store::authorizations::FlowOutcome;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::fixture::{BROWSER_SESSION, access_token_of, plain_tokens};
use crate::support::{Fixture, Reply};

/// A refusal of a resolve.
fn resolve_error(fixture: &Fixture, id: &ConnectionId) -> Error {
    fixture.resolve(id, ResolveRequest::default()).unwrap_err()
}

/// The attention codes of a connection, with their texts.
fn list_attention(fixture: &Fixture, id: &ConnectionId) -> Vec<Value> {
    let (status, body) =
        call(fixture, &first_key(fixture), Method::Get, &format!("/v1/connections/{id}"), &Value::Null);
    assert_eq!(status, 200, "{body}");
    body["attention"].as_array().unwrap().clone()
}

fn attention_codes(attention: &[Value]) -> Vec<&str> {
    attention.iter().filter_map(|one| one["code"].as_str()).collect()
}

/// A connection whose access token has expired.
fn connect_expired(patch: &Value) -> (Fixture, ConnectionId) {
    let fixture = Fixture::with_definition(patch);
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    (fixture, id)
}

// ---- unreadable bytes ----

/// The app's own response, with a byte that is not UTF-8 in a member that nobody needs.
fn add_latin1_byte(fixture: &Fixture, path: &str) {
    fixture.world.acme.edit_body(path, |body| {
        let text = String::from_utf8(body.to_vec()).unwrap();
        let mut spoiled = text.replacen('{', "{\"city\":\"Orl?ans\",", 1).into_bytes();
        spoiled.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xe9);
        spoiled
    });
}

#[test]
fn an_invalid_utf_8_byte_loses_neither_token_nor_account() {
    let fixture = Fixture::new();
    for path in ["/token", "/me"] {
        add_latin1_byte(&fixture, path);
    }
    let id = fixture.connect("ann");
    assert_eq!(fixture.load_connection(&id).account.unwrap().label, "ann@acme.example");
    for _ in 0..3 {
        let before = plain_tokens(&fixture.open_credential(&id)).1;
        fixture.expire_access_token(&id);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
        assert_ne!(plain_tokens(&fixture.open_credential(&id)).1, before, "the new refresh token is stored");
    }
    assert_eq!(fixture.load_connection(&id).failures, 0);
    assert!(fixture.world.acme.has_live_grant("ann"), "no token was presented twice");
}

#[test]
fn a_form_response_is_read_like_json() {
    let fixture = Fixture::new();
    fixture.world.acme.edit_body("/token", |body| {
        let json: BTreeMap<String, Value> = serde_json::from_slice(body).unwrap();
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &json {
            form.append_pair(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str());
        }
        form.finish().into_bytes()
    });
    let id = fixture.connect("ann");
    assert_eq!(fixture.load_connection(&id).scopes_granted, ["read", "write"]);
    fixture.expire_access_token(&id);
    assert_eq!(fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.freshness, Freshness::Refreshed);
    fixture.world.acme.edit_body("/token", |_| b"error=invalid_grant&error_description=gone".to_vec());
    fixture.world.acme.withdraw_grants("ann");
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
}

// ---- refusals ----

#[test]
fn a_standard_error_code_ends_a_grant_wherever_it_is() {
    for (body, header) in [
        (r#"{"error":{"code":"invalid_grant"}}"#, None),
        (r#"{"errors":["invalid_grant - expired"]}"#, None),
        (r#"{"errors":[{"code":"invalid_grant"}]}"#, None),
        (r#"{"error_code":"invalid_grant"}"#, None),
        ("error=invalid_grant", None),
        (r#"{"fault":{"faultstring":"x","detail":{"errorcode":"keymanagement.service.invalid_refresh_token"}}}"#, None),
        (r#"{"errors":[{"message":"x","extensions":{"code":"INVALID_GRANT"}}]}"#, None),
        (r#"{"ErrorCode":"invalid_grant","Error":"Refresh Token expired"}"#, None),
        ("", Some(r#"Bearer error="invalid_grant""#)),
    ] {
        let (fixture, id) = connect_expired(&json!({}));
        let reply = Reply::status(400, body);
        fixture
            .world
            .acme
            .script_next("/token", header.map_or(reply.clone(), |text| reply.with_header("www-authenticate", text)));
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect, "{body} {header:?}");
        assert_eq!(resolve_error(&fixture, &id).code, ErrorCode::NeedsReconnect);
    }
}

#[test]
fn repeated_refusals_are_reported_with_code_and_time_and_remedy() {
    for (body, code) in [
        (r#"{"error":"invalid_request"}"#, Some("invalid_request")),
        (r#"{"error":{"code":"quota_gone"}}"#, Some("quota_gone")),
        (r#"{"error":"invalid_scope"}"#, Some("invalid_scope")),
        (r#"{"message":"no"}"#, None),
        (r#"{"fault":{"faultstring":"invalid_grant","detail":{"errorcode":"steps.gone"}}}"#, Some("steps.gone")),
        ("<soap:Fault><faultcode>invalid_grant</faultcode></soap:Fault>", None),
    ] {
        let (fixture, id) = connect_expired(&json!({}));
        fixture.world.acme.script_always("/token", Some(Reply::status(400, body)));
        let since = fixture.world.now();
        for _ in 0..4 {
            let error = resolve_error(&fixture, &id);
            assert_eq!(error.code, ErrorCode::AppUnavailable, "{body}");
            assert_eq!(error.hints.app_error.as_deref(), code, "{body}");
            assert_eq!(error.hints.app_refuses_since, Some(since), "{body}");
            let url = error.hints.reconnect_url.as_deref().unwrap();
            assert!(url.ends_with(&format!("/connections/{id}/reconnect")), "{url}");
            assert!(error.detail.contains("refuse") && !error.detail.contains("nothing has to"), "{}", error.detail);
            let said = list_attention(&fixture, &id);
            assert_eq!(attention_codes(&said), ["app_refuses"], "{body}");
            assert_eq!(said[0]["at"], since.rfc3339());
            let detail = said[0]["detail"].as_str().unwrap();
            assert!(code.is_none_or(|code| detail.contains(code)) && detail.contains("Reconnect"), "{detail}");
            assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected, "unknown never kills");
            fixture.world.advance_clock(4000);
        }
        // An ambiguous response replaces nothing of it.
        fixture.world.acme.script_always("/token", Some(Reply::error(HttpError::Timeout)));
        fixture.world.advance_clock(4000);
        assert_eq!(resolve_error(&fixture, &id).hints.app_error.as_deref(), code, "{body}");
        fixture.world.acme.script_always("/token", None);
        fixture.world.advance_clock(4000);
        assert_eq!(fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.freshness, Freshness::Refreshed);
        assert_eq!((list_attention(&fixture, &id), fixture.load_connection(&id).refusal), (vec![], None), "{body}");
    }
}

#[test]
fn a_refused_client_is_not_reported_as_a_problem_of_the_connection() {
    let (fixture, id) = connect_expired(&json!({}));
    for body in [r#"{"error":"quota_gone"}"#, r#"{"error":"invalid_client"}"#] {
        fixture.world.acme.script_always("/token", Some(Reply::status(400, body)));
        for _ in 0..3 {
            resolve_error(&fixture, &id);
            fixture.world.advance_clock(4000);
        }
    }
    assert_eq!(attention_codes(&list_attention(&fixture, &id)), ["client_misconfigured"]);
    assert_eq!(fixture.load_connection(&id).refusal, None, "what the app said before is outdated");
    for code in ["app_unreachable", "app_refuses"] {
        assert_eq!(listed_with(&fixture, code), 0, "{code}");
    }
    assert_eq!(listed_with(&fixture, "client_misconfigured"), 1);
}

#[test]
fn an_apps_refusal_is_not_reported_while_its_client_is_unusable() {
    let (fixture, id) = connect_expired(&json!({}));
    fixture.world.acme.script_always("/token", Some(Reply::status(400, r#"{"error":"quota_gone"}"#)));
    resolve_error(&fixture, &id);
    fixture.world.db.tamper("UPDATE oauth_clients SET sealed_secret = 'cx1.k1.AAAA'");
    fixture.world.advance_clock(4000);
    assert_eq!(resolve_error(&fixture, &id).code, ErrorCode::ClientMisconfigured);
    assert_eq!(attention_codes(&list_attention(&fixture, &id)), ["client_misconfigured"]);
    assert_eq!((listed_with(&fixture, "app_refuses"), listed_with(&fixture, "client_misconfigured")), (0, 1));
}

/// How many connections the list has for a code.
fn listed_with(fixture: &Fixture, code: &str) -> usize {
    let path = format!("/v1/connections?attention={code}");
    let (_, list) = call(fixture, &first_key(fixture), Method::Get, &path, &Value::Null);
    list["data"].as_array().unwrap().len()
}

#[test]
fn a_reconnect_clears_a_reported_refusal() {
    let (fixture, id) = connect_expired(&json!({}));
    fixture.world.acme.script_next("/token", Reply::status(400, r#"{"error":"invalid_request"}"#));
    resolve_error(&fixture, &id);
    assert!(fixture.load_connection(&id).refusal.is_some());
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!((list_attention(&fixture, &id), fixture.load_connection(&id).refusal), (vec![], None));
}

#[test]
fn the_text_nothing_to_repair_is_shown_only_if_it_may_be_true() {
    for (reply, passes) in [
        (Reply::error(HttpError::Timeout), true),
        (Reply::status(503, ""), true),
        (Reply::status(429, ""), true),
        (Reply::status(200, "<html>sign in</html>"), false),
        (Reply::status(200, "{}"), false),
        (Reply::status(302, ""), false),
    ] {
        let (fixture, id) = connect_expired(&json!({}));
        fixture.world.acme.script_always("/token", Some(reply));
        let first = resolve_error(&fixture, &id);
        assert_eq!(first.detail.contains("nothing has to be repaired"), passes, "{}", first.detail);
        assert_eq!(first.hints.reconnect_url.is_none(), passes);
        for _ in 0..3 {
            fixture.world.advance_clock(4000);
            resolve_error(&fixture, &id);
        }
        let last = resolve_error(&fixture, &id);
        assert!(!last.detail.contains("nothing has to be repaired"), "{}", last.detail);
        assert!(last.hints.reconnect_url.is_some() && last.hints.app_error.is_none());
        let said = list_attention(&fixture, &id);
        assert_eq!(attention_codes(&said), ["app_unreachable"]);
        let answers = fixture.load_connection(&id).last_error.as_deref() != Some("timeout");
        assert_eq!(said[0]["detail"].is_string(), answers, "an app that answers is not said to be silent: {said:?}");
    }
}

#[test]
fn an_unchecked_connection_shows_no_result() {
    let (fixture, id) = connect_expired(&json!({}));
    let until = fixture.world.now().plus(60).unix();
    fixture.world.db.tamper(&format!("UPDATE oauth_clients SET failures = 3, backoff_until = {until}"));
    let error = resolve_error(&fixture, &id);
    assert_eq!((error.code, error.hints.retry_after), (ErrorCode::AppUnavailable, Some(60)));
    assert!(!error.detail.contains("nothing has to be repaired"), "{}", error.detail);
    assert!(error.detail.contains("other connections"), "{}", error.detail);
}

#[test]
fn a_refused_replaced_client_leads_to_a_reconnect() {
    let (fixture, id) = connect_expired(&json!({}));
    let refuse =
        || fixture.world.acme.script_always("/token", Some(Reply::status(401, r#"{"error":"invalid_client"}"#)));
    refuse();
    let error = resolve_error(&fixture, &id);
    assert_eq!((error.code, error.hints.reconnect_url), (ErrorCode::ClientMisconfigured, None));
    assert_eq!(error.hints.app_error.as_deref(), Some("invalid_client"));
    fixture.world.run(async {
        let context = fixture.world.context();
        let registered =
            connections::registry::load_current_app(&context, &fixture.workspace, &fixture.app).await.unwrap().unwrap();
        let auth_method = registered.app.auth_method(None).unwrap();
        let new = NewClient {
            event_secret: NewSecret::Kept,
            client_id: "another".into(),
            secret: NewSecret::Is(Secret::new("secret")),
            variables: BTreeMap::new(),
            scopes: None,
            secret_expires_at: None,
        };
        client_setup::put(&context, &fixture.workspace, &auth_method, new, &Actor::Embedder).await.unwrap();
    });
    for _ in 0..2 {
        let error = resolve_error(&fixture, &id);
        assert_eq!((error.code, error.hints.reason.as_deref()), (ErrorCode::NeedsReconnect, Some("client_replaced")));
        assert!(error.hints.reconnect_url.is_some() && !error.detail.contains("no repair"), "{}", error.detail);
        fixture.world.advance_clock(4000);
    }
    let said = list_attention(&fixture, &id);
    let client = said.iter().find(|one| one["code"] == "client_misconfigured").unwrap();
    assert!(client["detail"].as_str().unwrap().contains("Reconnect"), "{said:?}");
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
}

#[test]
fn a_server_error_ends_nothing_and_is_reported() {
    for (status, body) in
        [(500, r#"{"error":"invalid_grant"}"#), (302, r#"{"error":"invalid_grant"}"#), (200, "<p>invalid_grant")]
    {
        let (fixture, id) = connect_expired(&json!({}));
        fixture.world.acme.script_always("/token", Some(Reply::status(status, body)));
        for _ in 0..4 {
            resolve_error(&fixture, &id);
            fixture.world.advance_clock(4000);
        }
        assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected, "{status} {body}");
        assert_eq!(attention_codes(&list_attention(&fixture, &id)), ["app_unreachable"], "{status} {body}");
        assert!(resolve_error(&fixture, &id).hints.reconnect_url.is_some(), "{status} {body}");
    }
}

/// The app's own response in another format.
fn written_otherwise(fixture: &Fixture, write: impl Fn(&str) -> Vec<u8> + 'static) {
    fixture.world.acme.edit_body("/token", move |body| write(std::str::from_utf8(body).unwrap()));
}

#[test]
fn a_success_in_an_unusual_format_is_a_success() {
    type Write = fn(&str) -> Vec<u8>;
    let forms: [(&str, Write); 5] = [
        ("a list of one", |text| format!("[{text}]").into_bytes()),
        ("JSON in a text", |text| Value::String(text.to_owned()).to_string().into_bytes()),
        ("zeros behind it", |text| format!("{text}\0\0").into_bytes()),
        ("UTF-16", |text| text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("line ends in the tokens", |text| {
            let mut json: Value = serde_json::from_str(text).unwrap();
            for name in ["access_token", "refresh_token"] {
                json[name] = format!("{}\r\n", json[name].as_str().unwrap_or_default()).into();
            }
            json.to_string().into_bytes()
        }),
    ];
    for (form, write) in forms {
        let fixture = Fixture::new();
        written_otherwise(&fixture, write);
        let id = fixture.connect("ann");
        for _ in 0..2 {
            fixture.expire_access_token(&id);
            let fresh = fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.freshness;
            assert_eq!(fresh, Freshness::Refreshed, "{form}");
        }
        assert!(fixture.world.acme.has_live_grant("ann"), "{form}: no token was presented twice");
    }
}

#[test]
fn a_refresh_token_after_a_warning_is_kept_and_the_failure_is_reported() {
    let (fixture, id) = connect_expired(&json!({}));
    written_otherwise(&fixture, |text| format!("<br />\n<b>Warning</b>: {{x}}\n{text}").into_bytes());
    let before = plain_tokens(&fixture.open_credential(&id)).1;
    let error = resolve_error(&fixture, &id);
    assert!(!error.detail.contains("nothing has to be repaired"), "{}", error.detail);
    assert_ne!(plain_tokens(&fixture.open_credential(&id)).1, before);
    fixture.world.acme.edit_body("/token", <[u8]>::to_vec);
    fixture.world.advance_clock(4000);
    assert_eq!(fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved.freshness, Freshness::Refreshed);
    assert!(fixture.world.acme.has_live_grant("ann"), "no token was presented twice");
}

#[test]
fn a_refresh_token_of_a_failed_exchange_is_revoked_unless_a_connection_may_use_it() {
    let without_access = || {
        Reply::edited(|body| {
            body.as_object_mut().unwrap().remove("access_token");
        })
    };
    let fixture = Fixture::new();
    fixture.world.acme.script_next("/token", without_access());
    let landing = return_from_app_with(&fixture, |_| {});
    assert_eq!(load_flow(&fixture, &landing).error.as_deref(), Some("app_unavailable"));
    assert_eq!(fixture.world.acme.revoked_tokens().len(), 1, "the refresh token, and no empty access token");
    let fixture = Fixture::new();
    fixture.connect("ann");
    fixture.world.acme.script_next("/token", without_access());
    return_from_app_with(&fixture, |_| {});
    assert!(fixture.world.acme.revoked_tokens().is_empty());
}

// ---- lifetimes ----

/// The response to the next refreshes contains no lifetime.
fn omit_expires_in(fixture: &Fixture) {
    fixture.world.acme.script_always(
        "/token",
        Some(Reply::edited(|body| {
            body.as_object_mut().unwrap().remove("expires_in");
        })),
    );
}

#[test]
fn a_known_lifetime_is_used_until_another_is_returned() {
    let fixture = Fixture::new();
    fixture.world.acme.expires_in.set(Some(120));
    let id = fixture.connect("ann");
    omit_expires_in(&fixture);
    for _ in 0..3 {
        fixture.expire_access_token(&id);
        let first = fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved;
        assert_eq!(first.freshness, Freshness::Refreshed);
        let row = fixture.load_connection(&id);
        assert_eq!(row.expires_at.unwrap().since(fixture.world.now()), 120);
        fixture.world.advance_clock(121);
        let second = fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved;
        assert_eq!(second.freshness, Freshness::Refreshed, "a token that has ended is not fresh");
        assert_ne!(access_token_of(&first), access_token_of(&second));
    }
}

#[test]
fn a_lifetime_that_an_earlier_version_did_not_store_is_computed() {
    let fixture = Fixture::new();
    fixture.world.acme.expires_in.set(Some(3600));
    let id = fixture.connect("ann");
    // What an earlier version sealed has no lifetime.
    let row = fixture.load_connection(&id);
    let mut credential = fixture.open_credential(&id);
    credential.token.as_mut().unwrap().lifetime = None;
    let context = fixture.world.context();
    let seal_context = connections::credential::Credential::seal_context(&row.workspace, &row.id, row.generation);
    let sealed = credential
        .seal(&context.config.key_ring, connections::ports::Ports::random(&*context.ports), &seal_context)
        .unwrap();
    fixture.world.db.tamper(&format!("UPDATE connections SET sealed_credential = '{sealed}'"));
    omit_expires_in(&fixture);
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
    assert_eq!(fixture.load_connection(&id).expires_at.unwrap().since(fixture.world.now()), 3600);
}

// ---- the redirect ----

fn return_from_app_with(fixture: &Fixture, change: impl FnOnce(&mut CallbackParams)) -> CallbackResult {
    let url = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    let (code, state) = fixture.world.acme.consent(&url, "ann");
    let mut returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
    change(&mut returned);
    fixture.return_from_app(returned, BROWSER_SESSION)
}

fn load_flow(fixture: &Fixture, landing: &CallbackResult) -> connections::store::authorizations::Flow {
    match landing {
        CallbackResult::Flow(id) => fixture.load_flow(id),
        CallbackResult::Refused(refusal) => panic!("{refusal:?}"),
    }
}

fn parameter_map(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

#[test]
fn scopes_of_the_redirect_are_the_granted_ones() {
    for (said, granted, missing) in [
        (Some("read"), vec!["read"], vec!["write"]),
        (Some("read,write"), vec!["read", "write"], vec![]),
        (Some("write read"), vec!["write", "read"], vec![]),
        (Some(""), vec![], vec!["read", "write"]),
        (None, vec!["read", "write"], vec![]),
    ] {
        let fixture = Fixture::with_definition(&json!({ "auth": { "callback_scope": "scope" } }));
        fixture.world.acme.script_next(
            "/token",
            Reply::edited(|body| {
                body.as_object_mut().unwrap().remove("scope");
            }),
        );
        let landing = return_from_app_with(&fixture, |returned| {
            returned.others = said.map(|said| parameter_map("scope", said)).unwrap_or_default();
        });
        let row = fixture.load_connection(&load_flow(&fixture, &landing).connection.unwrap());
        assert_eq!(row.scopes_granted, granted, "{said:?}");
        assert_eq!(row.missing_scopes(), missing, "{said:?}");
    }
}

#[test]
fn a_denial_is_recognised_under_every_code() {
    let fixture = Fixture::with_definition(&json!({ "errors": { "denied": ["not_today"] } }));
    let denied = (FlowOutcome::Denied, None);
    let refused = (FlowOutcome::Failed, Some("refused_by_app".to_owned()));
    let unavailable = (FlowOutcome::Failed, Some("app_unavailable".to_owned()));
    for (error, others, expected) in [
        (Some("user_cancelled_login"), BTreeMap::new(), &denied),
        (Some("user_cancelled_authorize"), BTreeMap::new(), &denied),
        (Some("user_canceled"), BTreeMap::new(), &denied),
        (Some("UserCancelled"), BTreeMap::new(), &denied),
        (Some("user_refused"), BTreeMap::new(), &denied),
        (Some("request_rejected"), BTreeMap::new(), &refused),
        (Some("Access-Denied"), BTreeMap::new(), &denied),
        (Some("AccessDenied"), BTreeMap::new(), &denied),
        (Some("consent_declined"), BTreeMap::new(), &denied),
        (Some("not_today"), BTreeMap::new(), &denied),
        (Some("oops"), parameter_map("error_reason", "user_denied"), &denied),
        (None, parameter_map("error_code", "user_cancelled"), &denied),
        (Some("admin_denied"), BTreeMap::new(), &refused),
        (Some("client_denied"), BTreeMap::new(), &refused),
        (Some("the request was denied"), BTreeMap::new(), &refused),
        (Some("server_error"), BTreeMap::new(), &unavailable),
        (Some("server_error"), parameter_map("error_description", "access_denied"), &unavailable),
        (Some("temporarily_unavailable"), BTreeMap::new(), &unavailable),
        (None, parameter_map("error_code", "9"), &refused),
        (None, parameter_map("Error", "access_denied"), &denied),
        (None, parameter_map("ERROR", "Access_Denied"), &denied),
        (None, parameter_map("errorCode", "user_cancelled"), &denied),
        (Some("ACCESS_DENIED"), parameter_map("error_description", &"x".repeat(100_000)), &denied),
    ] {
        let landing = return_from_app_with(&fixture, |returned| {
            (returned.code, returned.error, returned.others) = (None, error.map(str::to_owned), others.clone());
        });
        let ended = load_flow(&fixture, &landing);
        assert_eq!((ended.outcome, ended.error), *expected, "{error:?} {others:?}");
    }
    assert_eq!(fixture.world.acme.count_all_requests(), 0);
}

#[test]
fn a_duplicate_parameter_is_accepted_if_both_values_are_equal() {
    use crate::http::TestBrowser;
    for (double, outcome) in [
        (&(|query: &str| format!("{query}&{query}")) as &dyn Fn(&str) -> String, Some(FlowOutcome::Done)),
        (&|query: &str| format!("{query}&code=another"), None),
        (&|query: &str| format!("code=&{query}"), None),
        (&|query: &str| format!("{query}&error="), Some(FlowOutcome::Done)),
        (&|query: &str| format!("#{query}"), None),
    ] {
        let fixture = Fixture::new();
        let mut ann = TestBrowser::new(&fixture);
        ann.sign_in();
        let begun = ann.post("/oauth/start/acme", "/oauth/start/acme", "");
        let url = begun.header("location").unwrap().to_owned();
        let (code, state) = fixture.world.acme.consent(&url, "ann");
        let query = double(&format!("state={state}&code={}", code.expose()));
        let query = query.split('#').next().unwrap();
        let end = ann.get(&format!("/oauth/callback/{}?{query}", fixture.client));
        let location = end.header("location").unwrap();
        assert_eq!(location.starts_with("/connections/"), outcome.is_some(), "{query}: {location}");
        assert_eq!(location == "/oauth/ended/unknown", outcome.is_none(), "{query}: {location}");
    }
}

#[test]
fn a_code_is_redeemed_only_under_the_apps_name() {
    let fixture = Fixture::with_definition(&json!({ "auth": { "code_param": "auth_code" } }));
    let landing = return_from_app_with(&fixture, |returned| {
        let code = returned.code.take().unwrap();
        returned.others = parameter_map("auth_code", code.expose());
    });
    let ended = load_flow(&fixture, &landing);
    assert_eq!((ended.outcome, ended.error), (FlowOutcome::Done, None));
    let landing = return_from_app_with(&fixture, |_| {});
    assert_eq!(load_flow(&fixture, &landing).error.as_deref(), Some("no_code"));
}

#[test]
fn a_redirect_name_of_the_app_is_sent_instead_of_the_redirect_uri() {
    let fixture = Fixture::with_definition(&json!({
        "variables": { "redirect_name": { "label": "RuName", "from": "client", "default": "Acme-Inc-1" } },
        "auth": { "redirect_uri": "{redirect_name}" },
    }));
    let url = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    let (code, state) = fixture.world.acme.consent(&url, "ann");
    assert!(url.contains("redirect_uri=Acme-Inc-1&") || url.ends_with("redirect_uri=Acme-Inc-1"), "{url}");
    let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
    assert!(load_flow(&fixture, &fixture.return_from_app(returned, BROWSER_SESSION)).connection.is_some());
}

// ---- the client ----

#[test]
fn a_null_secret_removes_the_client_secret_and_an_absent_one_keeps_it() {
    let fixture = Fixture::new();
    let put = |more: &Value| {
        let mut body = json!({ "client_id": crate::support::acme::CLIENT_ID });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call(&fixture, &first_key(&fixture), Method::Put, "/v1/apps/acme/client", &body)
    };
    let redirect = fixture.load_client().redirect_id;
    assert_eq!(put(&json!({})).0, 200);
    assert!(fixture.load_client().sealed_secret.is_some());
    let (status, problem) = put(&json!({ "client_secret": null, "secret_expires_at": "2099-01-01T00:00:00Z" }));
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some("secret_expires_at")), "{problem}");
    assert!(fixture.load_client().sealed_secret.is_some(), "what is refused changes nothing");
    let (status, client) = put(&json!({ "client_secret": null }));
    assert_eq!(status, 200, "{client}");
    let now = fixture.load_client();
    assert_eq!((now.sealed_secret, now.redirect_id), (None, redirect), "the same client, without a secret");
    // Omitted, it stays removed. A new one can be set.
    assert_eq!(put(&json!({})).0, 200);
    assert!(fixture.load_client().sealed_secret.is_none());
    assert_eq!(put(&json!({ "client_secret": "new" })).0, 200);
    assert!(fixture.load_client().sealed_secret.is_some());
}

fn run_client_test(fixture: &Fixture) -> ClientTest {
    let (context, client) = (fixture.world.context(), fixture.load_client());
    fixture.world.run(async {
        let registered =
            connections::registry::load_current_app(&context, &fixture.workspace, &fixture.app).await.unwrap().unwrap();
        let auth_method = registered.app.auth_method(None).unwrap();
        client_test::run(&context, &auth_method, &client, &BTreeMap::new()).await.unwrap()
    })
}

#[test]
fn a_refused_secret_with_encoded_characters_suggests_basic_raw() {
    for (auth, secret, hint) in [
        ("basic", "a+b/c=", Some("basic_raw")),
        ("basic", "100%", Some("basic_raw")),
        ("basic", "plain-secret_1", None),
        ("basic_raw", "a+b", Some("\"basic\"")),
        ("body", "a+b", None),
    ] {
        let fixture = Fixture::with_definition(&json!({ "auth": { "client_auth": auth } }));
        fixture.put_client_secret(secret);
        fixture.world.acme.script_always("/token", Some(Reply::status(401, r#"{"error":"invalid_client"}"#)));
        let detail = run_client_test(&fixture).detail;
        assert_eq!(detail.contains("try "), hint.is_some(), "{auth} {secret}: {detail}");
        assert!(hint.is_none_or(|hint| detail.contains(hint)) && !detail.contains(secret), "{detail}");
    }
}

#[test]
fn an_issuer_with_another_slash_is_refused_with_the_documents_issuer() {
    let mut auth = json!({ "authorize_url": null, "token_url": null, "revoke_url": null });
    auth["issuer"] = "https://acme.example/realm".into();
    let fixture = Fixture::with_definition(&json!({ "auth": auth, "identity": null }));
    let document = json!({
        "issuer": "https://acme.example/realm/",
        "authorization_endpoint": "https://acme.example/authorize",
        "token_endpoint": "https://acme.example/token",
    });
    for place in ["/realm/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realm"] {
        fixture.world.acme.script_always(place, Some(Reply::status(200, &document.to_string())));
    }
    let detail = run_client_test(&fixture).detail;
    assert!(detail.contains("\"https://acme.example/realm/\""), "{detail}");
}

#[test]
fn json_with_an_html_content_type_names_the_account() {
    let fixture = Fixture::new();
    let body = br#"{"sub":"id-ann","email":"ann@acme.example"}"#.to_vec();
    let headers = vec![("content-type".to_owned(), "text/html; charset=utf-8".to_owned())];
    fixture.world.acme.script_always("/me", Some(Reply::raw(AppResponse { status: 200, headers, body })));
    let id = fixture.connect("ann");
    assert_eq!(fixture.load_connection(&id).account.unwrap().label, "ann@acme.example");
}
