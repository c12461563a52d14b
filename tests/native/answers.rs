//! An app's odd answer never costs a connection, and a refusal is always said. Whole flows and resolves; the judgement of
//! single answers is tested beside it in `src/token/tests/odd.rs`.

use std::collections::BTreeMap;

use connections::connect::callback::{Landing, Returned};
use connections::connect::client_setup::{self, NewClient, NewSecret};
use connections::connect::trial::{self, Trial};
use connections::connection::Status;
use connections::error::{Code, Error};
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::{ErrandOutcome, HttpError, Inbound};
use connections::resolve::{Ask, Freshness};
use connections::secret::Secret;
use connections::store::authorizations::Outcome;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::scene::{BROWSER, access, tokens};
use crate::support::{Reply, Scene};

/// A refusal of a resolve.
fn refused(scene: &Scene, id: &ConnectionId) -> Error {
    scene.resolve(id, Ask::default()).unwrap_err()
}

/// The attention codes of a connection, with what is said of them.
fn attention(scene: &Scene, id: &ConnectionId) -> Vec<Value> {
    let (status, body) = call(scene, &first_key(scene), Method::Get, &format!("/v1/connections/{id}"), &Value::Null);
    assert_eq!(status, 200, "{body}");
    body["attention"].as_array().unwrap().clone()
}

fn codes(attention: &[Value]) -> Vec<&str> {
    attention.iter().filter_map(|one| one["code"].as_str()).collect()
}

/// One that is connected, and whose access token has ended.
fn expired(patch: &Value) -> (Scene, ConnectionId) {
    let scene = Scene::with(patch);
    let id = scene.connect("ann");
    scene.expire(&id);
    (scene, id)
}

// ---- bytes that can't be read ----

/// What the app answers, as it acts, with a byte that is no UTF-8 in a member that nobody needs.
fn with_a_latin_byte(scene: &Scene, path: &str) {
    scene.world.acme.spoil(path, |body| {
        let text = String::from_utf8(body.to_vec()).unwrap();
        let mut spoiled = text.replacen('{', "{\"city\":\"Orl?ans\",", 1).into_bytes();
        spoiled.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xe9);
        spoiled
    });
}

#[test]
fn one_byte_that_is_not_utf_8_costs_neither_token_nor_account() {
    let scene = Scene::new();
    for path in ["/token", "/me"] {
        with_a_latin_byte(&scene, path);
    }
    let id = scene.connect("ann");
    assert_eq!(scene.row(&id).account.unwrap().label, "ann@acme.example");
    for _ in 0..3 {
        let before = tokens(&scene.credential(&id)).1;
        scene.expire(&id);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
        assert_ne!(tokens(&scene.credential(&id)).1, before, "the new refresh token is stored");
    }
    assert_eq!(scene.row(&id).failures, 0);
    assert!(scene.world.acme.is_alive("ann"), "no token was presented twice");
}

#[test]
fn a_form_for_an_answer_is_as_good_as_json() {
    let scene = Scene::new();
    scene.world.acme.spoil("/token", |body| {
        let json: BTreeMap<String, Value> = serde_json::from_slice(body).unwrap();
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in &json {
            form.append_pair(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str());
        }
        form.finish().into_bytes()
    });
    let id = scene.connect("ann");
    assert_eq!(scene.row(&id).scopes_granted, ["read", "write"]);
    scene.expire(&id);
    assert_eq!(scene.resolve(&id, Ask::default()).unwrap().resolved.freshness, Freshness::Refreshed);
    scene.world.acme.spoil("/token", |_| b"error=invalid_grant&error_description=gone".to_vec());
    scene.world.acme.withdraw("ann");
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
}

// ---- refusals ----

#[test]
fn oauths_own_code_ends_a_grant_wherever_the_app_puts_it() {
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
        let (scene, id) = expired(&json!({}));
        let reply = Reply::status(400, body);
        scene.world.acme.next("/token", header.map_or(reply.clone(), |text| reply.header("www-authenticate", text)));
        assert_eq!(scene.need(&id), ErrandOutcome::Dead, "{body} {header:?}");
        assert_eq!(refused(&scene, &id).code, Code::NeedsReconnect);
    }
}

#[test]
fn an_app_that_keeps_refusing_is_said_to_refuse_with_its_code_since_when_and_the_way_out() {
    for (body, code) in [
        (r#"{"error":"invalid_request"}"#, Some("invalid_request")),
        (r#"{"error":{"code":"quota_gone"}}"#, Some("quota_gone")),
        (r#"{"error":"invalid_scope"}"#, Some("invalid_scope")),
        (r#"{"message":"no"}"#, None),
        (r#"{"fault":{"faultstring":"invalid_grant","detail":{"errorcode":"steps.gone"}}}"#, Some("steps.gone")),
        ("<soap:Fault><faultcode>invalid_grant</faultcode></soap:Fault>", None),
    ] {
        let (scene, id) = expired(&json!({}));
        scene.world.acme.always("/token", Some(Reply::status(400, body)));
        let since = scene.world.now();
        for _ in 0..4 {
            let error = refused(&scene, &id);
            assert_eq!(error.code, Code::AppUnavailable, "{body}");
            assert_eq!(error.hints.app_error.as_deref(), code, "{body}");
            assert_eq!(error.hints.app_refuses_since, Some(since), "{body}");
            let url = error.hints.reconnect_url.as_deref().unwrap();
            assert!(url.ends_with(&format!("/connections/{id}/reconnect")), "{url}");
            assert!(error.detail.contains("refuse") && !error.detail.contains("nothing has to"), "{}", error.detail);
            let said = attention(&scene, &id);
            assert_eq!(codes(&said), ["app_refuses"], "{body}");
            assert_eq!(said[0]["at"], since.rfc3339());
            let detail = said[0]["detail"].as_str().unwrap();
            assert!(code.is_none_or(|code| detail.contains(code)) && detail.contains("Reconnect"), "{detail}");
            assert_eq!(scene.row(&id).status, Status::Connected, "unknown never kills");
            scene.world.pass(4000);
        }
        // An answer that does not come later takes nothing of it back.
        scene.world.acme.always("/token", Some(Reply::error(HttpError::Timeout)));
        scene.world.pass(4000);
        assert_eq!(refused(&scene, &id).hints.app_error.as_deref(), code, "{body}");
        scene.world.acme.always("/token", None);
        scene.world.pass(4000);
        assert_eq!(scene.resolve(&id, Ask::default()).unwrap().resolved.freshness, Freshness::Refreshed);
        assert_eq!((attention(&scene, &id), scene.row(&id).refused), (vec![], None), "{body}");
    }
}

#[test]
fn an_app_that_refuses_the_client_is_said_neither_to_be_silent_nor_to_refuse_the_connection() {
    let (scene, id) = expired(&json!({}));
    for body in [r#"{"error":"quota_gone"}"#, r#"{"error":"invalid_client"}"#] {
        scene.world.acme.always("/token", Some(Reply::status(400, body)));
        for _ in 0..3 {
            refused(&scene, &id);
            scene.world.pass(4000);
        }
    }
    assert_eq!(codes(&attention(&scene, &id)), ["client_misconfigured"]);
    assert_eq!(scene.row(&id).refused, None, "what the app said before is outdated");
    for code in ["app_unreachable", "app_refuses"] {
        assert_eq!(listed_with(&scene, code), 0, "{code}");
    }
    assert_eq!(listed_with(&scene, "client_misconfigured"), 1);
}

#[test]
fn what_an_app_said_is_not_told_while_its_client_can_not_be_used() {
    let (scene, id) = expired(&json!({}));
    scene.world.acme.always("/token", Some(Reply::status(400, r#"{"error":"quota_gone"}"#)));
    refused(&scene, &id);
    scene.world.db.tamper("UPDATE oauth_clients SET sealed_secret = 'cx1.k1.AAAA'");
    scene.world.pass(4000);
    assert_eq!(refused(&scene, &id).code, Code::ClientMisconfigured);
    assert_eq!(codes(&attention(&scene, &id)), ["client_misconfigured"]);
    assert_eq!((listed_with(&scene, "app_refuses"), listed_with(&scene, "client_misconfigured")), (0, 1));
}

/// How many connections the list has for a code.
fn listed_with(scene: &Scene, code: &str) -> usize {
    let path = format!("/v1/connections?attention={code}");
    let (_, list) = call(scene, &first_key(scene), Method::Get, &path, &Value::Null);
    list["data"].as_array().unwrap().len()
}

#[test]
fn a_refusal_is_over_when_somebody_reconnects() {
    let (scene, id) = expired(&json!({}));
    scene.world.acme.next("/token", Reply::status(400, r#"{"error":"invalid_request"}"#));
    refused(&scene, &id);
    assert!(scene.row(&id).refused.is_some());
    scene.flow(&scene.repair_of(&id), "ann");
    assert_eq!((attention(&scene, &id), scene.row(&id).refused), (vec![], None));
}

#[test]
fn nothing_has_to_be_repaired_is_said_only_while_that_may_be_true() {
    for (reply, passes) in [
        (Reply::error(HttpError::Timeout), true),
        (Reply::status(503, ""), true),
        (Reply::status(429, ""), true),
        (Reply::status(200, "<html>sign in</html>"), false),
        (Reply::status(200, "{}"), false),
        (Reply::status(302, ""), false),
    ] {
        let (scene, id) = expired(&json!({}));
        scene.world.acme.always("/token", Some(reply));
        let first = refused(&scene, &id);
        assert_eq!(first.detail.contains("nothing has to be repaired"), passes, "{}", first.detail);
        assert_eq!(first.hints.reconnect_url.is_none(), passes);
        for _ in 0..3 {
            scene.world.pass(4000);
            refused(&scene, &id);
        }
        let last = refused(&scene, &id);
        assert!(!last.detail.contains("nothing has to be repaired"), "{}", last.detail);
        assert!(last.hints.reconnect_url.is_some() && last.hints.app_error.is_none());
        let said = attention(&scene, &id);
        assert_eq!(codes(&said), ["app_unreachable"]);
        let answers = scene.row(&id).last_error.as_deref() != Some("timeout");
        assert_eq!(said[0]["detail"].is_string(), answers, "an app that answers is not said to be silent: {said:?}");
    }
}

#[test]
fn of_a_connection_that_was_not_asked_about_nothing_is_promised() {
    let (scene, id) = expired(&json!({}));
    let until = scene.world.now().plus(60).unix();
    scene.world.db.tamper(&format!("UPDATE oauth_clients SET failures = 3, backoff_until = {until}"));
    let error = refused(&scene, &id);
    assert_eq!((error.code, error.hints.retry_after), (Code::AppUnavailable, Some(60)));
    assert!(!error.detail.contains("nothing has to be repaired"), "{}", error.detail);
    assert!(error.detail.contains("other connections"), "{}", error.detail);
}

#[test]
fn a_client_that_was_replaced_and_is_refused_leads_to_a_reconnect() {
    let (scene, id) = expired(&json!({}));
    let refuse = || scene.world.acme.always("/token", Some(Reply::status(401, r#"{"error":"invalid_client"}"#)));
    refuse();
    let error = refused(&scene, &id);
    assert_eq!((error.code, error.hints.reconnect_url), (Code::ClientMisconfigured, None));
    assert_eq!(error.hints.app_error.as_deref(), Some("invalid_client"));
    scene.world.run(async {
        let core = scene.world.core();
        let registered = connections::registry::current(&core, &scene.workspace, &scene.app).await.unwrap().unwrap();
        let app = registered.definition.way(None).unwrap();
        let new = NewClient {
            client_id: "another".into(),
            secret: NewSecret::Is(Secret::new("secret")),
            variables: BTreeMap::new(),
            scopes: None,
            secret_expires_at: None,
        };
        client_setup::put(&core, &scene.workspace, &app, new).await.unwrap();
    });
    for _ in 0..2 {
        let error = refused(&scene, &id);
        assert_eq!((error.code, error.hints.reason.as_deref()), (Code::NeedsReconnect, Some("client_replaced")));
        assert!(error.hints.reconnect_url.is_some() && !error.detail.contains("no repair"), "{}", error.detail);
        scene.world.pass(4000);
    }
    let said = attention(&scene, &id);
    let client = said.iter().find(|one| one["code"] == "client_misconfigured").unwrap();
    assert!(client["detail"].as_str().unwrap().contains("Reconnect"), "{said:?}");
    assert_eq!(scene.row(&id).status, Status::Connected);
}

#[test]
fn a_fault_of_the_server_ends_nothing_and_is_told_whatever_code_it_names() {
    for (status, body) in
        [(500, r#"{"error":"invalid_grant"}"#), (302, r#"{"error":"invalid_grant"}"#), (200, "<p>invalid_grant")]
    {
        let (scene, id) = expired(&json!({}));
        scene.world.acme.always("/token", Some(Reply::status(status, body)));
        for _ in 0..4 {
            refused(&scene, &id);
            scene.world.pass(4000);
        }
        assert_eq!(scene.row(&id).status, Status::Connected, "{status} {body}");
        assert_eq!(codes(&attention(&scene, &id)), ["app_unreachable"], "{status} {body}");
        assert!(refused(&scene, &id).hints.reconnect_url.is_some(), "{status} {body}");
    }
}

/// What the app answers, as it acts, in another form.
fn written_otherwise(scene: &Scene, write: impl Fn(&str) -> Vec<u8> + 'static) {
    scene.world.acme.spoil("/token", move |body| write(std::str::from_utf8(body).unwrap()));
}

#[test]
fn an_answer_in_an_odd_form_is_a_success_as_any_other() {
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
        let scene = Scene::new();
        written_otherwise(&scene, write);
        let id = scene.connect("ann");
        for _ in 0..2 {
            scene.expire(&id);
            let fresh = scene.resolve(&id, Ask::default()).unwrap().resolved.freshness;
            assert_eq!(fresh, Freshness::Refreshed, "{form}");
        }
        assert!(scene.world.acme.is_alive("ann"), "{form}: no token was presented twice");
    }
}

#[test]
fn a_refresh_token_behind_a_warning_is_kept_and_the_failure_is_told() {
    let (scene, id) = expired(&json!({}));
    written_otherwise(&scene, |text| format!("<br />\n<b>Warning</b>: {{x}}\n{text}").into_bytes());
    let before = tokens(&scene.credential(&id)).1;
    let error = refused(&scene, &id);
    assert!(!error.detail.contains("nothing has to be repaired"), "{}", error.detail);
    assert_ne!(tokens(&scene.credential(&id)).1, before);
    scene.world.acme.spoil("/token", <[u8]>::to_vec);
    scene.world.pass(4000);
    assert_eq!(scene.resolve(&id, Ask::default()).unwrap().resolved.freshness, Freshness::Refreshed);
    assert!(scene.world.acme.is_alive("ann"), "no token was presented twice");
}

#[test]
fn a_refresh_token_that_an_odd_exchange_leaves_behind_is_revoked_unless_a_connection_may_live_on_it() {
    let without_access = || {
        Reply::edited(|body| {
            body.as_object_mut().unwrap().remove("access_token");
        })
    };
    let scene = Scene::new();
    scene.world.acme.next("/token", without_access());
    let landing = back(&scene, |_| {});
    assert_eq!(flow(&scene, &landing).error.as_deref(), Some("app_unavailable"));
    assert_eq!(scene.world.acme.revoked().len(), 1, "the refresh token, and no empty access token");
    let scene = Scene::new();
    scene.connect("ann");
    scene.world.acme.next("/token", without_access());
    back(&scene, |_| {});
    assert!(scene.world.acme.revoked().is_empty());
}

// ---- lives ----

/// The answer to the next refreshes says nothing of a life.
fn without_a_life(scene: &Scene) {
    scene.world.acme.always(
        "/token",
        Some(Reply::edited(|body| {
            body.as_object_mut().unwrap().remove("expires_in");
        })),
    );
}

#[test]
fn a_life_that_was_told_once_counts_until_another_is_told() {
    let scene = Scene::new();
    scene.world.acme.expires_in.set(Some(120));
    let id = scene.connect("ann");
    without_a_life(&scene);
    for _ in 0..3 {
        scene.expire(&id);
        let first = scene.resolve(&id, Ask::default()).unwrap().resolved;
        assert_eq!(first.freshness, Freshness::Refreshed);
        let row = scene.row(&id);
        assert_eq!(row.expires_at.unwrap().since(scene.world.now()), 120);
        scene.world.pass(121);
        let second = scene.resolve(&id, Ask::default()).unwrap().resolved;
        assert_eq!(second.freshness, Freshness::Refreshed, "a token that has ended is not fresh");
        assert_ne!(access(&first), access(&second));
    }
}

#[test]
fn a_life_that_an_earlier_version_did_not_keep_is_read_from_the_record() {
    let scene = Scene::new();
    scene.world.acme.expires_in.set(Some(3600));
    let id = scene.connect("ann");
    // What an earlier version sealed has no life.
    let row = scene.row(&id);
    let mut credential = scene.credential(&id);
    credential.token.as_mut().unwrap().lifetime = None;
    let core = scene.world.core();
    let place = connections::credential::Credential::place(&row.workspace, &row.id, row.generation);
    let sealed = credential.seal(&core.config.ring, connections::ports::Ports::random(&core.ports), &place).unwrap();
    scene.world.db.tamper(&format!("UPDATE connections SET sealed_credential = '{sealed}'"));
    without_a_life(&scene);
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
    assert_eq!(scene.row(&id).expires_at.unwrap().since(scene.world.now()), 3600);
}

// ---- the redirect ----

fn back(scene: &Scene, change: impl FnOnce(&mut Returned)) -> Landing {
    let url = scene.start(&scene.wish(), BROWSER);
    let (code, state) = scene.world.acme.consent(&url, "ann");
    let mut returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
    change(&mut returned);
    scene.come_back(returned, BROWSER)
}

fn flow(scene: &Scene, landing: &Landing) -> connections::store::authorizations::Authorization {
    match landing {
        Landing::Flow(id) => scene.read_flow(id),
        Landing::Refused(refusal) => panic!("{refusal:?}"),
    }
}

fn other(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

#[test]
fn scopes_that_only_the_redirect_names_are_what_was_granted() {
    for (said, granted, missing) in [
        (Some("read"), vec!["read"], vec!["write"]),
        (Some("read,write"), vec!["read", "write"], vec![]),
        (Some("write read"), vec!["write", "read"], vec![]),
        (Some(""), vec![], vec!["read", "write"]),
        (None, vec!["read", "write"], vec![]),
    ] {
        let scene = Scene::with(&json!({ "auth": { "callback_scope": "scope" } }));
        scene.world.acme.next(
            "/token",
            Reply::edited(|body| {
                body.as_object_mut().unwrap().remove("scope");
            }),
        );
        let landing = back(&scene, |returned| {
            returned.others = said.map(|said| other("scope", said)).unwrap_or_default();
        });
        let row = scene.row(&flow(&scene, &landing).connection.unwrap());
        assert_eq!(row.scopes_granted, granted, "{said:?}");
        assert_eq!(row.missing_scopes(), missing, "{said:?}");
    }
}

#[test]
fn a_persons_no_is_a_no_under_every_name() {
    let scene = Scene::with(&json!({ "errors": { "denied": ["not_today"] } }));
    let denied = (Outcome::Denied, None);
    let refused = (Outcome::Failed, Some("refused_by_app".to_owned()));
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
        (Some("oops"), other("error_reason", "user_denied"), &denied),
        (None, other("error_code", "user_cancelled"), &denied),
        (Some("admin_denied"), BTreeMap::new(), &refused),
        (Some("client_denied"), BTreeMap::new(), &refused),
        (Some("the request was denied"), BTreeMap::new(), &refused),
        (Some("server_error"), BTreeMap::new(), &refused),
        (Some("server_error"), other("error_description", "access_denied"), &refused),
        (None, other("error_code", "9"), &refused),
        (None, other("Error", "access_denied"), &denied),
        (None, other("ERROR", "Access_Denied"), &denied),
        (None, other("errorCode", "user_cancelled"), &denied),
        (Some("ACCESS_DENIED"), other("error_description", &"x".repeat(100_000)), &denied),
    ] {
        let landing = back(&scene, |returned| {
            (returned.code, returned.error, returned.others) = (None, error.map(str::to_owned), others.clone());
        });
        let ended = flow(&scene, &landing);
        assert_eq!((ended.outcome, ended.error), *expected, "{error:?} {others:?}");
    }
    assert_eq!(scene.world.acme.requests(), 0);
}

#[test]
fn a_parameter_that_stands_twice_counts_where_both_say_the_same() {
    use crate::http::Browser;
    for (double, outcome) in [
        (&(|query: &str| format!("{query}&{query}")) as &dyn Fn(&str) -> String, Some(Outcome::Done)),
        (&|query: &str| format!("{query}&code=another"), None),
        (&|query: &str| format!("code=&{query}"), None),
        (&|query: &str| format!("{query}&error="), Some(Outcome::Done)),
        (&|query: &str| format!("#{query}"), None),
    ] {
        let scene = Scene::new();
        let mut ann = Browser::new(&scene);
        ann.sign_in();
        let begun = ann.post("/oauth/start/acme", "/oauth/start/acme", "");
        let url = begun.header("location").unwrap().to_owned();
        let (code, state) = scene.world.acme.consent(&url, "ann");
        let query = double(&format!("state={state}&code={}", code.expose()));
        let query = query.split('#').next().unwrap();
        let end = ann.get(&format!("/oauth/callback/{}?{query}", scene.client));
        let location = end.header("location").unwrap();
        assert_eq!(location.starts_with("/connections/"), outcome.is_some(), "{query}: {location}");
        assert_eq!(location == "/oauth/ended/unknown", outcome.is_none(), "{query}: {location}");
    }
}

#[test]
fn a_code_under_another_name_is_redeemed_and_no_other_is() {
    let scene = Scene::with(&json!({ "auth": { "code_param": "auth_code" } }));
    let landing = back(&scene, |returned| {
        let code = returned.code.take().unwrap();
        returned.others = other("auth_code", code.expose());
    });
    let ended = flow(&scene, &landing);
    assert_eq!((ended.outcome, ended.error), (Outcome::Done, None));
    let landing = back(&scene, |_| {});
    assert_eq!(flow(&scene, &landing).error.as_deref(), Some("no_code"));
}

#[test]
fn a_name_that_the_app_gave_is_sent_instead_of_the_address() {
    let scene = Scene::with(&json!({
        "variables": { "redirect_name": { "label": "RuName", "from": "client", "default": "Acme-Inc-1" } },
        "auth": { "redirect_uri": "{redirect_name}" },
    }));
    let url = scene.start(&scene.wish(), BROWSER);
    let (code, state) = scene.world.acme.consent(&url, "ann");
    assert!(url.contains("redirect_uri=Acme-Inc-1&") || url.ends_with("redirect_uri=Acme-Inc-1"), "{url}");
    let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
    assert!(flow(&scene, &scene.come_back(returned, BROWSER)).connection.is_some());
}

// ---- the set-up ----

#[test]
fn a_client_loses_its_secret_when_null_is_sent_and_keeps_it_when_none_is() {
    let scene = Scene::new();
    let put = |more: &Value| {
        let mut body = json!({ "client_id": crate::support::acme::CLIENT_ID });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call(&scene, &first_key(&scene), Method::Put, "/v1/apps/acme/client", &body)
    };
    let redirect = scene.client().redirect_id;
    assert_eq!(put(&json!({})).0, 200);
    assert!(scene.client().sealed_secret.is_some());
    let (status, problem) = put(&json!({ "client_secret": null, "secret_expires_at": "2099-01-01T00:00:00Z" }));
    assert_eq!((status, problem["errors"][0]["field"].as_str()), (422, Some("secret_expires_at")), "{problem}");
    assert!(scene.client().sealed_secret.is_some(), "what is refused changes nothing");
    let (status, client) = put(&json!({ "client_secret": null }));
    assert_eq!(status, 200, "{client}");
    let now = scene.client();
    assert_eq!((now.sealed_secret, now.redirect_id), (None, redirect), "the same client, without a secret");
    // Left out it stays away, and a new one may be given.
    assert_eq!(put(&json!({})).0, 200);
    assert!(scene.client().sealed_secret.is_none());
    assert_eq!(put(&json!({ "client_secret": "new" })).0, 200);
    assert!(scene.client().sealed_secret.is_some());
}

fn tried(scene: &Scene) -> Trial {
    let (core, client) = (scene.world.core(), scene.client());
    scene.world.run(async {
        let registered = connections::registry::current(&core, &scene.workspace, &scene.app).await.unwrap().unwrap();
        let app = registered.definition.way(None).unwrap();
        trial::of_client(&core, &app, &client, &BTreeMap::new()).await.unwrap()
    })
}

#[test]
fn a_refused_secret_with_characters_that_basic_encodes_gets_the_hint_at_basic_raw() {
    for (auth, secret, hint) in [
        ("basic", "a+b/c=", Some("basic_raw")),
        ("basic", "100%", Some("basic_raw")),
        ("basic", "plain-secret_1", None),
        ("basic_raw", "a+b", Some("\"basic\"")),
        ("body", "a+b", None),
    ] {
        let scene = Scene::with(&json!({ "auth": { "client_auth": auth } }));
        scene.enter_secret(secret);
        scene.world.acme.always("/token", Some(Reply::status(401, r#"{"error":"invalid_client"}"#)));
        let detail = tried(&scene).detail;
        assert_eq!(detail.contains("try "), hint.is_some(), "{auth} {secret}: {detail}");
        assert!(hint.is_none_or(|hint| detail.contains(hint)) && !detail.contains(secret), "{detail}");
    }
}

#[test]
fn an_issuer_with_another_slash_is_refused_with_what_the_document_says() {
    let mut auth = json!({ "authorize_url": null, "token_url": null, "revoke_url": null });
    auth["issuer"] = "https://acme.example/realm".into();
    let scene = Scene::with(&json!({ "auth": auth, "identity": null }));
    let document = json!({
        "issuer": "https://acme.example/realm/",
        "authorization_endpoint": "https://acme.example/authorize",
        "token_endpoint": "https://acme.example/token",
    });
    for place in ["/realm/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realm"] {
        scene.world.acme.always(place, Some(Reply::status(200, &document.to_string())));
    }
    let detail = tried(&scene).detail;
    assert!(detail.contains("\"https://acme.example/realm/\""), "{detail}");
}

#[test]
fn json_that_is_labelled_as_a_page_tells_whose_account_it_is() {
    let scene = Scene::new();
    let body = br#"{"sub":"id-ann","email":"ann@acme.example"}"#.to_vec();
    let headers = vec![("content-type".to_owned(), "text/html; charset=utf-8".to_owned())];
    scene.world.acme.always("/me", Some(Reply::raw(Inbound { status: 200, headers, body })));
    let id = scene.connect("ann");
    assert_eq!(scene.row(&id).account.unwrap().label, "ann@acme.example");
}
