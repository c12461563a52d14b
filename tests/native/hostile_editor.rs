//! Somebody who may edit an app's definition gets nothing that was given for other addresses. The simulation found
//! these cases.

use std::cell::Cell;
use std::rc::Rc;

use connections::connect::callback::{CallbackParams, CallbackResult};
use connections::connect::complete::{Choice, apply_choice};
use connections::connect::start::{ConnectRequest, begin_flow};
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::RefreshOutcome;
use connections::store::authorizations::FlowOutcome;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::fixture::BROWSER_SESSION;
use crate::support::{Fixture, Reply};

const ROGUE_WORD: &str = "rogue";

/// A fixture at one realm of a host that has several. The person names the realm, and the definition allows one.
fn fixture_with_realm() -> Fixture {
    Fixture::with_definition(&realm_patch(&json!("main")))
}

fn realm_patch(pattern: &Value) -> Value {
    json!({
        "variables": { "realm": { "label": "Realm", "pattern": pattern, "default": "main" } },
        "auth": {
            "authorize_url": "https://acme.example/{realm}/authorize",
            "token_url": "https://acme.example/{realm}/token",
            "revoke_url": "https://acme.example/{realm}/revoke",
        },
    })
}

/// Requests that reached an address of the editor.
fn rogue_requests(fixture: &Fixture) -> Vec<String> {
    fixture.world.acme.requested_urls().into_iter().filter(|url| url.contains(ROGUE_WORD)).collect()
}

fn flow_outcome(fixture: &Fixture, landing: &CallbackResult) -> (FlowOutcome, Option<String>) {
    let CallbackResult::Flow(id) = landing else { panic!("{landing:?}") };
    let flow = fixture.load_flow(id);
    (flow.outcome, flow.error)
}

#[test]
fn a_wider_placeholder_rule_creates_another_client_with_another_redirect_uri() {
    for pattern in [Value::Null, json!("[a-z]+")] {
        let fixture = fixture_with_realm();
        let id = fixture.connect("ann");
        fixture.put_app_revision(&realm_patch(&pattern));
        fixture.put_client_secret("made-up");
        let mut request: ConnectRequest = fixture.repair_request(&id);
        request.variables.insert("realm".into(), ROGUE_WORD.into());
        let url = fixture.start_flow(&request, BROWSER_SESSION);
        assert!(url.starts_with("https://acme.example/rogue/authorize?"), "{url}");
        let registered = fixture.load_client().redirect_id;
        assert!(!url.contains(registered.as_str()), "the app's own redirect URI is used at another server: {url}");
        // The other server redirects the person to the app's own page, and the app redirects to the address that it
        // knows.
        let (code, state) = fixture.world.acme.consent(&url, "ann");
        let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
        let landing = fixture.return_from_app(returned, BROWSER_SESSION);
        assert_eq!(flow_outcome(&fixture, &landing), (FlowOutcome::Failed, Some("wrong_issuer".into())));
        assert_eq!(rogue_requests(&fixture), [""; 0]);
    }
}

#[test]
fn a_flow_ends_if_its_client_secret_was_entered_for_other_addresses() {
    for changed in [
        json!({ "identity": { "url": "https://rogue.example/me" } }),
        json!({ "check": { "url": "https://rogue.example/me" } }),
        json!({ "auth": { "revoke_url": "https://rogue.example/revoke" } }),
    ] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        let secret = fixture.world.acme.client_secret.borrow().clone();
        fixture.put_app_revision(&changed);
        fixture.put_client_secret("made-up");
        let url = fixture.start_flow(&fixture.repair_request(&id), BROWSER_SESSION);
        let (code, state) = fixture.world.acme.consent(&url, "ann");
        fixture.put_app_revision(&json!({}));
        fixture.put_client_secret(&secret);
        let before = fixture.world.acme.count_requests("/token");
        let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
        let landing = fixture.return_from_app(returned, BROWSER_SESSION);
        assert_eq!(
            flow_outcome(&fixture, &landing),
            (FlowOutcome::Failed, Some("addresses_changed".into())),
            "{changed}"
        );
        assert_eq!(fixture.world.acme.count_requests("/token"), before, "the secret is not used: {changed}");
        assert_eq!(rogue_requests(&fixture), [""; 0], "{changed}");
        assert_eq!(
            fixture.complete_flow(&fixture.repair_request(&id), "ann").outcome,
            FlowOutcome::Done,
            "the next flow goes as usual"
        );
    }
}

#[test]
fn a_flow_continues_if_the_same_secret_is_entered_for_more_addresses() {
    let fixture = Fixture::new();
    let secret = fixture.world.acme.client_secret.borrow().clone();
    let url = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    let (code, state) = fixture.world.acme.consent(&url, "ann");
    fixture.put_app_revision(&json!({ "check": { "url": "https://api.acme.example/me" } }));
    fixture.put_client_secret(&secret);
    let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
    let landing = fixture.return_from_app(returned, BROWSER_SESSION);
    assert_eq!(flow_outcome(&fixture, &landing), (FlowOutcome::Done, None));
}

fn api_key_patch(check: &str) -> Value {
    let auth = json!({
        "type": "api_key", "authorize_url": null, "token_url": null, "revoke_url": null, "rotation": null,
    });
    json!({ "auth": auth, "scopes": null, "identity": null, "check": { "url": check } })
}

/// A fixture with an app that has a manual key, and a connection to it.
fn connect_with_api_key() -> (Fixture, ConnectionId) {
    let fixture = Fixture::new();
    fixture.world.acme.api_keys.borrow_mut().extend([("first".into(), "ann".into()), ("second".into(), "ann".into())]);
    fixture.put_app_revision(&api_key_patch("https://acme.example/me"));
    let body = json!({ "app": "acme", "credential": { "type": "api_key", "api_key": "first" } });
    let (status, made) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().unwrap().to_owned();
    (fixture, ConnectionId::try_from(id).unwrap_or_else(|_| panic!("{made}")))
}

#[test]
fn a_key_is_sent_only_to_the_agreed_hosts_after_a_definition_change() {
    // The definition changes before the first statement that reads it, before the second, and so on.
    for turn in 0..8 {
        let (fixture, id) = connect_with_api_key();
        let (left, edited) = (Cell::new(turn), api_key_patch("https://rogue.example/me"));
        let edited = edited_definition(&edited).to_string().replace('\'', "''");
        let db = Rc::downgrade(&fixture.world.db);
        *fixture.world.db.fault_plan.borrow_mut() = Some(Box::new(move |statements| {
            if statements.iter().any(|one| one.sql.starts_with("SELECT * FROM apps")) {
                if left.get() == 0
                    && let Some(db) = db.upgrade()
                {
                    db.tamper(&format!("UPDATE apps SET definition = '{edited}' WHERE is_current = 1"));
                }
                left.set(left.get() - 1);
            }
            None
        }));
        // Without an identity request it is unknown whether the account is the same.
        let body = json!({ "credential": { "type": "api_key", "api_key": "second" }, "switch_account": true });
        let path = format!("/v1/connections/{id}/credential");
        let (status, answer) = call(&fixture, &first_key(&fixture), Method::Put, &path, &body);
        assert_eq!(rogue_requests(&fixture), [""; 0], "turn {turn}: {answer}");
        let expected = (status, answer["code"].as_str());
        assert!(matches!(expected, (200, None) | (409, Some("addresses_changed"))), "turn {turn}: {answer}");
    }
}

fn edited_definition(patch: &Value) -> Value {
    let mut definition = crate::support::fixture::acme_definition();
    crate::support::fixture::merge_patch(&mut definition, patch);
    definition
}

#[test]
fn a_flow_starts_at_the_address_that_was_shown() {
    let fixture = Fixture::new();
    let context = fixture.world.context();
    let request = fixture.connect_request();
    let options =
        fixture.world.run(async { connections::connect::start::prepare_options(&context, &request).await.unwrap() });
    fixture.put_app_and_client(&json!({ "auth": {
        "authorize_url": "https://rogue.example/authorize", "token_url": "https://rogue.example/token",
    }}));
    let of_offer = async {
        connections::connect::start::begin_flow_with_options(&context, &request, &options, BROWSER_SESSION)
            .await
            .unwrap()
    };
    assert!(fixture.world.run(of_offer).starts_with("https://acme.example/authorize?"));
    let anew = fixture.world.run(async { begin_flow(&context, &request, BROWSER_SESSION).await.unwrap() });
    assert!(anew.starts_with("https://rogue.example/authorize?"), "{anew}");
}

/// The account in the response of the editor's identity request.
fn named_by_the_editor(fixture: &Fixture) {
    fixture.put_app_revision(
        &json!({ "identity": { "url": "https://acme.example/rogue-me", "id": "/sub", "label": "/email" } }),
    );
    let whoever = r#"{"sub":"id-whoever","email":"whoever@acme.example"}"#;
    fixture.world.acme.script_always("/rogue-me", Some(Reply::status(200, whoever)));
}

#[test]
fn a_grant_is_not_revoked_because_an_edited_definition_names_another_account() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.advance_clock(60);
    named_by_the_editor(&fixture);
    let flow = fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!(flow.outcome, FlowOutcome::Undecided, "another account, as it seems");
    let keep = |flow| fixture.world.run(async { apply_choice(&fixture.world.context(), flow, Choice::Keep).await });
    keep(&flow).unwrap();
    assert!(fixture.world.acme.revoked_tokens().is_empty());
    fixture.expire_access_token(&id);
    assert_eq!(
        fixture.refresh_if_needed(&id),
        RefreshOutcome::Refreshed,
        "the grant that the connection lives on is there"
    );
}

#[test]
fn a_grant_of_another_account_is_revoked_if_the_definition_is_unchanged() {
    let fixture = Fixture::new();
    named_by_the_editor(&fixture);
    fixture.world.acme.script_always("/rogue-me", None);
    fixture.world.acme.script_next("/rogue-me", Reply::status(200, r#"{"sub":"id-ann","email":"ann@acme.example"}"#));
    fixture.world.advance_clock(60);
    let id = fixture.connect("ann");
    fixture.world.acme.script_next("/rogue-me", Reply::status(200, r#"{"sub":"id-bob","email":"bob@acme.example"}"#));
    let flow = fixture.complete_flow(&fixture.repair_request(&id), "bob");
    fixture.world.run(async { apply_choice(&fixture.world.context(), &flow, Choice::Keep).await }).unwrap();
    assert!(!fixture.world.acme.has_live_grant("bob") && fixture.world.acme.has_live_grant("ann"));
}
