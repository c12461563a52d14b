//! Connect: every result of a flow, and what happens to the grant.

use std::pin::Pin;

use connections::account::Account;
use connections::connect::callback::{CallbackParams, CallbackRefusal, CallbackResult, handle};
use connections::connect::complete::{Choice, apply_choice};
use connections::connect::link::{self, NewLink};
use connections::connect::start::{self, ConnectRequest};
use connections::connection::{Connection, ConnectionStatus};
use connections::error::ErrorCode;
use connections::http::Method;
use connections::ids::{ClientId, ConnectionId, FlowId, Shard};
use connections::ports::{Database as _, HttpError, Ports as _, RefreshOutcome, RefreshReason, RefreshRunner as _};
use connections::resolve::{Consistency, ResolveRequest};
use connections::revocation::RevocationOutcome;
use connections::secret::Secret;
use connections::store::authorizations::{Flow, FlowOutcome, Question};
use connections::store::connections::ConnectionPatch;
use connections::store::links::{Link, LinkStatus, OnDuplicate};
use connections::workspace::User;
use serde_json::json;

use crate::http::{call, first_key};
use crate::support::fixture::{BROWSER_SESSION, access_token_of};
use crate::support::{Fault, FaultRule, Fixture, RefreshMode, Reply, World, plain_tokens};

fn returned_with_code(code: Secret, state: String) -> CallbackParams {
    CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() }
}

/// A flow after the person has allowed access.
fn consent_and_return(fixture: &Fixture, account: &str) -> CallbackParams {
    let (code, state) =
        fixture.world.acme.consent(&fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION), account);
    returned_with_code(code, state)
}

fn flow_id(landing: &CallbackResult) -> FlowId {
    match landing {
        CallbackResult::Flow(id) => id.clone(),
        CallbackResult::Refused(refusal) => panic!("{refusal:?}"),
    }
}

/// How a flow ended: its outcome and the code of its failure.
fn flow_outcome(fixture: &Fixture, landing: &CallbackResult) -> (FlowOutcome, Option<String>) {
    let flow = fixture.load_flow(&flow_id(landing));
    (flow.outcome, flow.error)
}

fn failed_outcome(code: &str) -> (FlowOutcome, Option<String>) {
    (FlowOutcome::Failed, Some(code.to_owned()))
}

fn submit_choice(fixture: &Fixture, flow: &Flow, choice: Choice) -> connections::error::Result<()> {
    fixture.world.run(async { apply_choice(&fixture.world.context(), flow, choice).await })
}

fn count_connections(fixture: &Fixture) -> i64 {
    fixture.world.db.query_number("SELECT count(*) FROM connections")
}

// ---- a new connection ----

#[test]
fn a_new_connection_has_account_scopes_name_and_owner() {
    let fixture = Fixture::new();
    let row = fixture.load_connection(&fixture.connect("ann"));
    assert_eq!(row.account, Some(Account { id: "id-ann".into(), label: "ann@acme.example".into() }));
    assert_eq!((row.scopes_requested.len(), row.scopes_granted.len()), (2, 2));
    assert_eq!(row.name, "Acme (ann@acme.example)");
    assert_eq!(row.user.unwrap().id, "ann");
    assert_eq!((row.generation, row.version, row.status), (1, 1, ConnectionStatus::Connected));
    assert_eq!(fixture.world.db.query_value("SELECT actor FROM events WHERE type = 'connected'"), "user:ann");
}

#[test]
fn the_authorize_url_has_the_required_parameters_and_no_secret() {
    let fixture = Fixture::with_definition(&json!({ "auth": { "authorize_params": { "prompt": "consent" } } }));
    let urls = [
        fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION),
        fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION),
    ]
    .map(|text| {
        let url = url::Url::parse(&text).unwrap();
        url.query_pairs().into_owned().collect::<std::collections::BTreeMap<String, String>>()
    });
    let [first, second] = &urls;
    assert_eq!(first["response_type"], "code");
    assert_eq!(first["code_challenge_method"], "S256");
    assert_eq!(first["redirect_uri"], format!("https://c.example.com/oauth/callback/{}", fixture.client));
    assert_eq!((first["scope"].as_str(), first["prompt"].as_str()), ("read write", "consent"));
    assert_eq!(first["state"].len(), 45, "a shard and 256 bits");
    assert_ne!(first["state"], second["state"]);
    assert_ne!(first["code_challenge"], second["code_challenge"]);
    assert!(!format!("{first:?}").contains("canary7f3a"));
    assert!(!fixture.world.db.dump_tables().contains(&first["state"]), "only its hash is stored");
}

#[test]
fn a_connection_with_fewer_granted_scopes_lists_the_missing_ones() {
    let fixture = Fixture::new();
    *fixture.world.acme.granted_scopes.borrow_mut() = Some("read".into());
    assert_eq!(fixture.load_connection(&fixture.connect("ann")).missing_scopes(), ["write"]);
}

#[test]
fn duplicate_names_are_numbered() {
    let fixture = Fixture::with_definition(&json!({ "identity": null }));
    let names: Vec<String> = (0..3).map(|_| fixture.load_connection(&fixture.connect("ann")).name).collect();
    assert_eq!(names, ["Acme", "Acme 2", "Acme 3"]);
}

#[test]
fn without_a_client_for_the_apps_hosts_no_flow_starts() {
    let fixture = Fixture::new();
    let moved = json!({ "auth": { "token_url": "https://evil.example/token" } });
    fixture.world.run(async {
        let context = fixture.world.context();
        let mut definition = crate::support::fixture::acme_definition();
        definition["auth"]["token_url"] = moved["auth"]["token_url"].clone();
        let row = connections::store::apps::AppRow {
            id: fixture.app.clone(),
            revision: 2,
            definition: definition.to_string(),
        };
        connections::store::apps::put(context.db(), &fixture.workspace, &row, context.now()).await.unwrap();
        let error = start::begin_flow(&context, &fixture.connect_request(), BROWSER_SESSION).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::ClientMissing);
    });
    fixture.world.db.tamper("UPDATE oauth_clients SET is_current = 0");
    let error = fixture
        .world
        .run(async { start::begin_flow(&fixture.world.context(), &fixture.connect_request(), BROWSER_SESSION).await })
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::ClientMissing);
}

#[test]
fn a_new_flow_is_never_the_one_that_is_evicted() {
    let fixture = Fixture::new();
    for _ in 0..30 {
        let back = fixture.world.acme.consent(&fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION), "ann");
        let state = connections::caller::hash_secret(&back.1);
        let kept = format!("SELECT count(*) FROM flows WHERE state_hash = '{state}'");
        assert_eq!(fixture.world.db.query_number(&kept), 1, "all within one second");
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM flows"), 10);
}

#[test]
fn a_client_that_is_deleted_during_a_flow_ends_the_flow() {
    let fixture = Fixture::new();
    let back = consent_and_return(&fixture, "ann");
    fixture.world.acme.latency_ms.set(5000);
    let (context, client) = (fixture.world.context(), fixture.client.clone());
    let coming = fixture.world.runtime.spawn(async move {
        let sessions = [BROWSER_SESSION.to_owned()];
        connections::connect::callback::handle(&context, &client, back, &sessions).await.unwrap()
    });
    // The code is exchanged, and the app is asked for the account.
    fixture.world.run(fixture.world.runtime.sleep(7000));
    fixture.world.run(async {
        let context = fixture.world.context();
        assert!(
            connections::store::clients::delete(context.db(), &fixture.workspace, &fixture.client, context.now())
                .await
                .unwrap()
        );
    });
    let landing = fixture.world.run(coming);
    assert_eq!(flow_outcome(&fixture, &landing), failed_outcome("client_refused"));
    assert_eq!(count_connections(&fixture), 0);
}

#[test]
fn an_eleventh_flow_of_a_browser_evicts_the_oldest() {
    let fixture = Fixture::new();
    let mut consents = Vec::new();
    for _ in 0..11 {
        consents.push(consent_and_return(&fixture, "ann"));
        fixture.world.advance_clock(1);
    }
    let other = fixture.start_flow(&fixture.connect_request(), "another");
    assert!(!other.is_empty());
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM flows"), 11);
    let mut consents = consents.into_iter();
    let oldest = fixture.return_from_app(consents.next().unwrap(), BROWSER_SESSION);
    assert_eq!(oldest, CallbackResult::Refused(CallbackRefusal::UnknownState));
    let next = fixture.return_from_app(consents.next().unwrap(), BROWSER_SESSION);
    assert_eq!(flow_outcome(&fixture, &next), (FlowOutcome::Done, None));
}

// ---- callbacks that are refused ----

#[test]
fn a_callback_without_a_flow_sends_no_request_to_the_app() {
    let fixture = Fixture::new();
    let refused = |returned: CallbackParams, browser: &str| match fixture.return_from_app(returned, browser) {
        CallbackResult::Refused(refusal) => refusal,
        CallbackResult::Flow(_) => panic!("a flow"),
    };
    assert_eq!(refused(CallbackParams::default(), BROWSER_SESSION), CallbackRefusal::UnknownState);
    let made_up =
        CallbackParams { state: Some("x".repeat(43)), code: Some(Secret::new("c")), ..CallbackParams::default() };
    assert_eq!(refused(made_up, BROWSER_SESSION), CallbackRefusal::UnknownState);
    let huge = CallbackParams { state: Some("x".repeat(10_000)), ..CallbackParams::default() };
    assert_eq!(refused(huge, BROWSER_SESSION), CallbackRefusal::UnknownState);
    let stolen = consent_and_return(&fixture, "mallory");
    assert_eq!(refused(stolen.clone(), "the-victims"), CallbackRefusal::WrongBrowser);
    assert_eq!(refused(stolen.clone(), ""), CallbackRefusal::WrongBrowser);
    fixture.world.advance_clock(601);
    assert_eq!(refused(stolen, BROWSER_SESSION), CallbackRefusal::Expired);
    assert_eq!(fixture.world.acme.count_all_requests(), 0);
}

#[test]
fn a_callback_in_another_browser_does_not_use_the_state() {
    let fixture = Fixture::new();
    let mine = consent_and_return(&fixture, "ann");
    fixture.return_from_app(mine.clone(), "another");
    let landing = fixture.return_from_app(mine, BROWSER_SESSION);
    assert_eq!(flow_outcome(&fixture, &landing), (FlowOutcome::Done, None));
}

#[test]
fn concurrent_callbacks_use_a_state_once() {
    for seed in 0..8 {
        let fixture = Fixture::in_world(&World::new(RefreshMode::Direct, Some(seed)), &json!({}));
        let back = consent_and_return(&fixture, "ann");
        let landings = fixture.world.run_concurrently((0..5).map(|_| {
            let (context, client, back) = (fixture.world.context(), fixture.client.clone(), back.clone());
            async move {
                let sessions = [BROWSER_SESSION.to_owned()];
                connections::connect::callback::handle(&context, &client, back, &sessions).await.unwrap()
            }
        }));
        assert!(
            landings.iter().all(|one| *one == landings[0] && matches!(one, CallbackResult::Flow(_))),
            "seed {seed}"
        );
        assert_eq!(fixture.world.acme.count_requests("/token"), 1);
        assert_eq!(count_connections(&fixture), 1);
    }
}

#[test]
fn a_callback_of_another_issuer_ends_the_flow_before_any_request() {
    let fixture = Fixture::new();
    let other =
        fixture.world.run(async { ClientId::random(fixture.world.context().ports.random(), Shard::FIRST).unwrap() });
    let back = consent_and_return(&fixture, "ann");
    let landing = fixture.world.run(async {
        let sessions = [BROWSER_SESSION.to_owned()];
        connections::connect::callback::handle(&fixture.world.context(), &other, back.clone(), &sessions).await.unwrap()
    });
    assert_eq!(flow_outcome(&fixture, &landing), failed_outcome("wrong_issuer"));
    assert_eq!(fixture.return_from_app(back, BROWSER_SESSION), landing, "the second time leads to the same end");
    for (error, outcome) in [
        ("access_denied", (FlowOutcome::Denied, None)),
        ("user_denied", (FlowOutcome::Denied, None)),
        ("server_error", failed_outcome("app_unavailable")),
        ("temporarily_unavailable", failed_outcome("app_unavailable")),
        ("unauthorized_client", failed_outcome("refused_by_app")),
        ("<script>alert(1)</script>", failed_outcome("refused_by_app")),
    ] {
        let back = CallbackParams { error: Some(error.into()), code: None, ..consent_and_return(&fixture, "ann") };
        assert_eq!(flow_outcome(&fixture, &fixture.return_from_app(back, BROWSER_SESSION)), outcome, "{error}");
    }
    for code in [None, Some(Secret::new("")), Some(Secret::new("x".repeat(9000)))] {
        let back = CallbackParams { code, ..consent_and_return(&fixture, "ann") };
        assert_eq!(flow_outcome(&fixture, &fixture.return_from_app(back, BROWSER_SESSION)), failed_outcome("no_code"));
    }
    assert_eq!(fixture.world.acme.count_all_requests(), 0);
    assert!(!fixture.world.db.dump_tables().contains("<script>"), "an app's words are not stored");
}

#[test]
fn a_required_administrator_approval_is_not_a_denial() {
    let described = |text: &str| std::collections::BTreeMap::from([("error_description".to_owned(), text.to_owned())]);
    let denied = (FlowOutcome::Denied, None);
    let knowing =
        Fixture::with_definition(&json!({ "auth": { "approval": { "codes": ["consent_required", "E90094"] } } }));
    let plain = Fixture::new();
    for (fixture, error, text, outcome) in [
        (&knowing, "consent_required", "", failed_outcome("approval_required")),
        (&knowing, "access_denied", "E90094: An administrator must consent.", failed_outcome("approval_required")),
        (&knowing, "server_error", "(e90094)", failed_outcome("approval_required")),
        (&knowing, "access_denied", "E900941: another code, whose beginning is the same", denied.clone()),
        (&knowing, "access_denied", "E65004: The person declined.", denied.clone()),
        (&knowing, "access_denied", "", denied.clone()),
        (&knowing, "server_error", "", failed_outcome("app_unavailable")),
        (&plain, "consent_required", "E90094", denied.clone()),
    ] {
        let back = CallbackParams {
            error: Some(error.into()),
            code: None,
            others: described(text),
            ..consent_and_return(fixture, "ann")
        };
        assert_eq!(flow_outcome(fixture, &fixture.return_from_app(back, BROWSER_SESSION)), outcome, "{error} {text}");
    }
    assert_eq!(count_connections(&knowing) + count_connections(&plain), 0);
    assert_eq!(knowing.world.acme.count_all_requests(), 0);
    assert!(!knowing.world.db.dump_tables().contains("E90094:"), "an app's words are not stored");
}

#[test]
fn an_issuer_that_promised_iss_must_send_it() {
    let issuer = json!({ "auth": {
        "issuer": "https://acme.example", "authorize_url": null, "token_url": null, "revoke_url": null } });
    for (iss, outcome) in [
        (Some("https://acme.example"), (FlowOutcome::Done, None)),
        (Some("https://evil.example"), failed_outcome("wrong_issuer")),
        (Some("https://acme.example/"), failed_outcome("wrong_issuer")),
        (None, failed_outcome("wrong_issuer")),
    ] {
        let fixture = Fixture::with_definition(&issuer);
        let back = CallbackParams { iss: iss.map(ToOwned::to_owned), ..consent_and_return(&fixture, "ann") };
        let asked = fixture.world.acme.count_requests("/token");
        assert_eq!(flow_outcome(&fixture, &fixture.return_from_app(back, BROWSER_SESSION)), outcome, "{iss:?}");
        let expected = usize::from(outcome.0 == FlowOutcome::Done);
        assert_eq!(fixture.world.acme.count_requests("/token") - asked, expected, "{iss:?}");
    }
}

#[test]
fn a_state_fits_the_apps_length_limit() {
    for (definition, length) in [(json!({}), 45), (json!({ "auth": { "state_length": 32 } }), 32)] {
        let fixture = Fixture::with_definition(&definition);
        let url = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
        let (code, state) = fixture.world.acme.consent(&url, "ann");
        assert_eq!(state.len(), length);
        assert_eq!(
            flow_outcome(&fixture, &fixture.return_from_app(returned_with_code(code, state), BROWSER_SESSION)),
            (FlowOutcome::Done, None)
        );
    }
}

#[test]
fn a_request_to_an_issuer_includes_openid() {
    let issuer = json!({ "auth": {
        "issuer": "https://acme.example", "authorize_url": null, "token_url": null, "revoke_url": null } });
    assert_eq!(requested_scopes(&issuer), "read", "the definition says how it is known");
    let mut userinfo = issuer;
    userinfo["identity"] = json!(null);
    assert_eq!(requested_scopes(&userinfo), "openid read");
}

/// The scopes in the authorize URL for a request of `read`.
fn requested_scopes(definition: &serde_json::Value) -> String {
    let fixture = Fixture::with_definition(definition);
    let request = ConnectRequest { scopes: Some(vec!["read".into()]), ..fixture.connect_request() };
    let url = url::Url::parse(&fixture.start_flow(&request, BROWSER_SESSION)).unwrap();
    url.query_pairs().find(|(name, _)| name == "scope").unwrap().1.into_owned()
}

#[test]
fn a_refused_exchange_ends_the_flow_with_its_reason() {
    for (reply, code, client_marked) in [
        (Reply::status(400, "{\"error\":\"invalid_grant\"}"), "code_refused", false),
        (Reply::status(401, "{\"error\":\"invalid_client\"}"), "client_refused", true),
        (Reply::status(500, ""), "app_unavailable", false),
        (Reply::status(302, ""), "app_unavailable", false),
        (Reply::error(HttpError::Timeout), "app_unavailable", false),
        (Reply::status(429, ""), "app_unavailable", false),
        (Reply::status(200, "<html>"), "app_unavailable", false),
    ] {
        let fixture = Fixture::new();
        fixture.world.acme.script_next("/token", reply);
        let back = consent_and_return(&fixture, "ann");
        let landing = fixture.return_from_app(back, BROWSER_SESSION);
        assert_eq!(flow_outcome(&fixture, &landing), failed_outcome(code));
        assert_eq!(fixture.load_client().misconfigured.is_some(), client_marked, "{code}");
        assert_eq!(count_connections(&fixture), 0);
        let flow = fixture.complete_flow(&fixture.connect_request(), "ann");
        assert_eq!(flow.outcome, FlowOutcome::Done, "the next try works");
        assert!(fixture.load_client().misconfigured.is_none(), "and clears the client");
    }
}

#[test]
fn an_app_that_does_not_name_the_account_is_not_connected() {
    for reply in [Reply::status(401, "{}"), Reply::status(200, "{}"), Reply::status(500, "")] {
        let fixture = Fixture::new();
        fixture.world.acme.script_always("/me", Some(reply));
        let landing = fixture.return_from_app(consent_and_return(&fixture, "ann"), BROWSER_SESSION);
        assert_eq!(flow_outcome(&fixture, &landing), failed_outcome("account_unknown"));
        assert_eq!(count_connections(&fixture), 0);
        assert!(fixture.world.acme.count_requests("/me") <= 2);
    }
    let fixture = Fixture::new();
    fixture.world.acme.script_next("/me", Reply::status(503, ""));
    let landing = fixture.return_from_app(consent_and_return(&fixture, "ann"), BROWSER_SESSION);
    assert_eq!(flow_outcome(&fixture, &landing), (FlowOutcome::Done, None), "asked twice");
}

// ---- reconnecting ----

#[test]
fn a_reconnect_keeps_id_name_uses_and_policy_and_raises_the_generation() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture
        .resolve_and_finish(&id, ResolveRequest { workflow: Some("w".into()), ..ResolveRequest::default() })
        .unwrap();
    fixture.world.db.tamper("UPDATE connections SET name = 'Mine', allowed_workflows = '[\"w\"]'");
    fixture.expire_access_token(&id);
    fixture.world.acme.withdraw_grants("ann");
    fixture.refresh_if_needed(&id);
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::NeedsReconnect);
    let flow = fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!((flow.outcome, flow.connection.as_ref()), (FlowOutcome::Done, Some(&id)));
    let row = fixture.load_connection(&id);
    assert_eq!((row.generation, row.status, row.reason), (2, ConnectionStatus::Connected, None));
    assert_eq!((row.name.as_str(), row.allowed_workflows.as_deref()), ("Mine", Some(&["w".to_owned()][..])));
    assert_eq!((row.failures, row.lease, row.last_error), (0, None, None));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM uses"), 1);
    let answered =
        fixture.resolve(&id, ResolveRequest { workflow: Some("w".into()), ..ResolveRequest::default() }).unwrap();
    assert!(fixture.world.acme.accepts_access_token(access_token_of(&answered.resolved)));
}

#[test]
fn a_reconnect_without_a_refresh_token_keeps_the_previous_one_if_it_may_be_valid() {
    let refresh_token = |fixture: &Fixture, id: &ConnectionId| plain_tokens(&fixture.open_credential(id)).1;
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let before = refresh_token(&fixture, &id);
    fixture.world.acme.gives_refresh_token.set(false);
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!((fixture.load_connection(&id).refreshable, refresh_token(&fixture, &id)), (true, before));
    fixture.expire_access_token(&id);
    fixture.world.acme.gives_refresh_token.set(true);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);

    fixture.world.acme.gives_refresh_token.set(false);
    let flow = fixture.complete_flow(&fixture.repair_request(&id), "bob");
    submit_choice(&fixture, &flow, Choice::SwitchAccount).unwrap();
    assert_eq!(refresh_token(&fixture, &id), None, "it belongs to another account");

    let dead = fixture.connect("carl");
    assert!(!fixture.load_connection(&dead).refreshable);
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.withdraw_grants("ann");
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    fixture.world.acme.restore_grants("ann");
    fixture.world.acme.gives_refresh_token.set(false);
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!(refresh_token(&fixture, &id), None, "the app had refused it");
}

#[test]
fn a_reconnect_without_a_refresh_token_does_not_keep_one_that_a_refresh_has_used() {
    for (later, slow) in (0..10).flat_map(|step| [(step * 100, 0), (step * 100, 800)]) {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        fixture.expire_access_token(&id);
        fixture.world.acme.gives_refresh_token.set(false);
        let fault =
            FaultRule { statement_part: "UPDATE connections SET app_revision", times: 1, fault: Fault::Slow(slow) };
        fixture.world.db.fault_rules.borrow_mut().push(fault);
        let (code, state) =
            fixture.world.acme.consent(&fixture.start_flow(&fixture.repair_request(&id), BROWSER_SESSION), "ann");
        let (context, client, asked) = (fixture.world.context(), fixture.client.clone(), id.clone());
        let runtime = fixture.world.runtime.clone();
        let reconnect: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            handle(&context, &client, returned_with_code(code, state), &[BROWSER_SESSION.to_owned()]).await.unwrap();
        });
        let (context, until) = (fixture.world.context(), fixture.world.now().unix() + 60);
        let refresh: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            runtime.sleep(later).await;
            context.ports.refresher().run(&asked, RefreshReason::Need { until }).await;
        });
        fixture.world.run_concurrently([reconnect, refresh]);
        let row = fixture.load_connection(&id);
        assert_eq!((row.generation, row.refreshable), (2, true), "refreshed {later} ms later, {slow} ms to write");
        fixture.expire_access_token(&id);
        assert_eq!(
            fixture.refresh_if_needed(&id),
            RefreshOutcome::Refreshed,
            "refreshed {later} ms later, {slow} ms to write"
        );
    }
}

#[test]
fn a_reconnect_waits_for_a_running_refresh_and_not_for_a_failed_one() {
    for (fails, waits, refreshable) in [(false, 9..=27, true), (true, 0..=2, false)] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        fixture.expire_access_token(&id);
        fixture.world.acme.gives_refresh_token.set(false);
        let (code, state) =
            fixture.world.acme.consent(&fixture.start_flow(&fixture.repair_request(&id), BROWSER_SESSION), "ann");
        if fails {
            fixture.world.acme.script_next("/token", Reply::error(HttpError::Network).after_acting());
            fixture.refresh_if_needed(&id);
        }
        fixture.world.acme.latency_ms.set(12_000);
        let (context, asked, until) = (fixture.world.context(), id.clone(), fixture.world.now().unix() + 60);
        let refresh: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            context.ports.refresher().run(&asked, RefreshReason::Need { until }).await;
        });
        let (world, client) = (fixture.world.clone(), fixture.client.clone());
        let reconnect: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            world.runtime.sleep(1000).await;
            world.acme.latency_ms.set(100);
            let begun = world.now();
            handle(&world.context(), &client, returned_with_code(code, state), &[BROWSER_SESSION.to_owned()])
                .await
                .unwrap();
            assert!(waits.contains(&world.now().since(begun)), "{}", world.now().since(begun));
        });
        fixture.world.run_concurrently([refresh, reconnect]);
        assert_eq!(
            (fixture.load_connection(&id).generation, fixture.load_connection(&id).refreshable),
            (2, refreshable)
        );
        if refreshable {
            fixture.expire_access_token(&id);
            assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
        }
    }
}

#[test]
fn imported_tokens_without_a_refresh_token_do_not_get_the_previous_one() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let token = fixture.open_credential(&id).token.unwrap();
    let body = json!({ "credential": { "type": "oauth2", "access_token": token.access_token.expose(),
        "expires_at": fixture.world.now().plus(600) } });
    let path = format!("/v1/connections/{id}/credential");
    let (status, answer) = call(&fixture, &first_key(&fixture), Method::Put, &path, &body);
    assert_eq!((status, fixture.load_connection(&id).generation), (200, 2), "{answer}");
    assert!(!fixture.load_connection(&id).refreshable, "whoever gives less means less");
}

#[test]
fn a_reconnect_requests_all_scopes_with_the_missing_ones() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let request = ConnectRequest { scopes: Some(vec!["admin".into()]), ..fixture.repair_request(&id) };
    let flow = fixture.complete_flow(&request, "ann");
    assert_eq!(flow.scopes, ["read", "write", "admin"]);
    assert_eq!(fixture.load_connection(&id).scopes_granted, ["read", "write", "admin"]);
}

#[test]
fn a_reconnect_does_not_request_scopes_that_the_person_left_out() {
    let fixture = Fixture::new();
    let fewer = ConnectRequest { scopes: Some(vec!["read".into()]), ..fixture.connect_request() };
    let id = fixture.complete_flow(&fewer, "ann").connection.unwrap();
    assert_eq!(fixture.complete_flow(&fixture.repair_request(&id), "ann").scopes, ["read"]);
    let request = ConnectRequest { scopes: Some(vec!["admin".into()]), ..fixture.repair_request(&id) };
    assert_eq!(fixture.complete_flow(&request, "ann").scopes, ["read", "admin"]);
}

#[test]
fn only_its_owner_may_repair_a_connection() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let user = Some(User { id: "eve".into(), name: None });
    let request = ConnectRequest { user, ..fixture.repair_request(&id) };
    let error = fixture
        .world
        .run(async { start::begin_flow(&fixture.world.context(), &request, BROWSER_SESSION).await })
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::ConnectionNotFound);
}

fn reconnect_with_other_account(fixture: &Fixture) -> (ConnectionId, Flow, Connection) {
    let id = fixture.connect("ann");
    let before = fixture.load_connection(&id);
    let flow = fixture.complete_flow(&fixture.repair_request(&id), "bob");
    assert_eq!(flow.outcome, FlowOutcome::Undecided);
    let Some(Question::OtherAccount { before: asked }) = flow.pending.as_ref().unwrap().question.clone() else {
        panic!("{:?}", flow.pending)
    };
    assert_eq!(asked, before.account);
    assert_eq!(fixture.load_connection(&id), before, "nothing changes before the person chose");
    (id, flow, before)
}

#[test]
fn a_grant_of_another_account_waits_and_the_person_can_keep_the_old_account() {
    let fixture = Fixture::new();
    let (id, flow, before) = reconnect_with_other_account(&fixture);
    submit_choice(&fixture, &flow, Choice::Keep).unwrap();
    assert_eq!(fixture.load_connection(&id), before);
    assert_eq!(fixture.load_flow(&flow.id).outcome, FlowOutcome::Discarded);
    assert!(!fixture.world.acme.has_live_grant("bob"), "the grant nobody wanted is revoked");
    assert!(fixture.world.acme.has_live_grant("ann"));
    let again = fixture.load_flow(&flow.id);
    assert_eq!(submit_choice(&fixture, &again, Choice::SwitchAccount).unwrap_err().code, ErrorCode::Conflict);
}

#[test]
fn a_grant_of_another_account_waits_and_the_person_can_switch() {
    let fixture = Fixture::new();
    let (id, flow, before) = reconnect_with_other_account(&fixture);
    submit_choice(&fixture, &flow, Choice::SwitchAccount).unwrap();
    let row = fixture.load_connection(&id);
    assert_eq!((row.account.unwrap().id.as_str(), row.generation), ("id-bob", 2));
    assert_eq!([before.name.as_str(), row.name.as_str()], ["Acme (ann@acme.example)", "Acme (bob@acme.example)"]);
    let told = fixture.world.db.query_value("SELECT detail FROM events WHERE type = 'account_switched'");
    assert_eq!(told, "ann@acme.example → bob@acme.example");
    assert!(!fixture.world.acme.has_live_grant("ann"), "the old grant is revoked");
    assert!(fixture.world.acme.has_live_grant("bob"));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'account_switched'"), 1);
    assert!(fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(&id)).0));
}

#[test]
fn a_name_that_also_fits_the_new_account_stays() {
    let fixture = Fixture::with_definition(&json!({ "identity": null }));
    let id = fixture.connect("ann");
    let name = fixture.load_connection(&id).name;
    for account in ["bob", "ann"] {
        let flow = fixture.complete_flow(&fixture.repair_request(&id), account);
        submit_choice(&fixture, &flow, Choice::SwitchAccount).unwrap();
        assert_eq!(fixture.load_connection(&id).name, name);
    }
}

#[test]
fn a_pending_grant_ends_with_its_client() {
    let fixture = Fixture::new();
    let path = "/v1/apps/acme/client";
    let key = first_key(&fixture);
    let flow = fixture.complete_flow(&fixture.connect_request(), "ann");
    let id = flow.connection.unwrap();
    let waiting = fixture.complete_flow(&fixture.connect_request(), "ann");
    assert_eq!(waiting.outcome, FlowOutcome::Undecided);
    fixture.world.acme.withdraw_grants("ann");
    fixture.disconnect(&id).unwrap();
    assert_eq!(call(&fixture, &key, Method::Delete, path, &json!(null)).0, 200);
    let other = json!({ "client_id": "another", "client_secret": "another secret" });
    assert_eq!(call(&fixture, &key, Method::Put, path, &other).0, 200);
    assert_eq!(submit_choice(&fixture, &waiting, Choice::KeepBoth).unwrap_err().code, ErrorCode::LinkEnded);
    let ended = fixture.load_flow(&waiting.id);
    assert_eq!(
        (ended.outcome, ended.error.as_deref(), ended.sealed_grant),
        (FlowOutcome::Failed, Some("client_refused"), None)
    );
    assert_eq!(count_connections(&fixture), 0);
}

#[test]
fn a_failed_switch_leaves_no_cache_entry_of_the_old_account() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let edge = || ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() };
    fixture.resolve_and_finish(&id, edge()).unwrap();
    let before = fixture.load_connection(&id);
    let flow = fixture.complete_flow(&fixture.repair_request(&id), "bob");
    // Whichever statement fails: all are one transaction, so nothing is lost.
    for sql in ["UPDATE flows SET status", "UPDATE connections SET app_revision", "INSERT INTO events"] {
        fixture.world.db.fault_rules.borrow_mut().push(FaultRule {
            statement_part: sql,
            times: 1,
            fault: Fault::BeforeCommit,
        });
        assert_eq!(
            submit_choice(&fixture, &flow, Choice::SwitchAccount).unwrap_err().code,
            ErrorCode::DatabaseUnavailable
        );
        assert_eq!(
            (fixture.load_connection(&id), fixture.load_flow(&flow.id)),
            (before.clone(), flow.clone()),
            "choosable again"
        );
        assert!(fixture.world.acme.has_live_grant("ann") && fixture.world.acme.has_live_grant("bob"));
    }
    fixture.resolve_and_finish(&id, edge()).unwrap();
    fixture.world.db.fault_rules.borrow_mut().push(FaultRule {
        statement_part: "INSERT INTO events",
        times: 1,
        fault: Fault::AfterCommit,
    });
    assert_eq!(submit_choice(&fixture, &flow, Choice::SwitchAccount).unwrap_err().code, ErrorCode::DatabaseUnavailable);
    assert_eq!(fixture.load_connection(&id).account.unwrap().id, "id-bob", "applied, though no answer came");
    assert_eq!(fixture.resolve(&id, edge()).unwrap().resolved.account.unwrap().id, "id-bob");
}

#[test]
fn a_second_connection_that_could_not_be_stored_can_be_chosen_again() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    let flow = fixture.complete_flow(&fixture.connect_request(), "ann");
    let fault = FaultRule { statement_part: "INSERT INTO connections", times: 1, fault: Fault::BeforeCommit };
    fixture.world.db.fault_rules.borrow_mut().push(fault);
    assert_eq!(submit_choice(&fixture, &flow, Choice::KeepBoth).unwrap_err().code, ErrorCode::DatabaseUnavailable);
    submit_choice(&fixture, &fixture.load_flow(&flow.id), Choice::KeepBoth).unwrap();
    assert_eq!(count_connections(&fixture), 2);
    assert_eq!(fixture.load_flow(&flow.id).outcome, FlowOutcome::Done);
}

#[test]
fn the_old_grant_is_revoked_at_the_address_of_its_own_revision() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.put_app_and_client(&json!({ "auth": { "revoke_url": "https://acme.example/revoke-elsewhere" } }));
    let flow = fixture.complete_flow(&fixture.repair_request(&id), "bob");
    submit_choice(&fixture, &flow, Choice::SwitchAccount).unwrap();
    assert!(!fixture.world.acme.has_live_grant("ann"));
    assert_eq!(fixture.world.acme.count_requests("/revoke-elsewhere"), 0);
}

#[test]
fn a_switch_does_not_revoke_a_grant_that_another_connection_uses() {
    let fixture = Fixture::new();
    let (_, flow, _) = reconnect_with_other_account(&fixture);
    let colleague = ConnectRequest { user: Some(User { id: "zoe".into(), name: None }), ..fixture.connect_request() };
    fixture.complete_flow(&colleague, "ann");
    submit_choice(&fixture, &flow, Choice::SwitchAccount).unwrap();
    assert!(fixture.world.acme.has_live_grant("ann"));
}

#[test]
fn a_pending_grant_is_decided_once_before_it_expires() {
    let fixture = Fixture::new();
    let (_, flow, _) = reconnect_with_other_account(&fixture);
    for choice in [Choice::Reuse, Choice::KeepBoth] {
        assert_eq!(submit_choice(&fixture, &flow, choice).unwrap_err().code, ErrorCode::Conflict);
    }
    let late = fixture.complete_flow(&fixture.repair_request(&fixture.connect("carl")), "dora");
    fixture.world.advance_clock(601);
    assert_eq!(submit_choice(&fixture, &late, Choice::SwitchAccount).unwrap_err().code, ErrorCode::LinkEnded);
    let fixture = Fixture::in_world(&World::new(RefreshMode::Direct, Some(9)), &json!({}));
    let (id, flow, _) = reconnect_with_other_account(&fixture);
    let decisions =
        fixture.world.run_concurrently([Choice::Keep, Choice::SwitchAccount, Choice::SwitchAccount].map(|choice| {
            let (context, flow) = (fixture.world.context(), flow.clone());
            async move { apply_choice(&context, &flow, choice).await.is_ok() }
        }));
    assert_eq!(decisions.iter().filter(|ok| **ok).count(), 1);
    assert!(fixture.load_connection(&id).generation <= 2);
}

#[test]
fn a_reconnect_with_an_unknown_account_asks_the_person() {
    let fixture = Fixture::with_definition(&json!({ "identity": null }));
    let id = fixture.connect("ann");
    let flow = fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!(flow.outcome, FlowOutcome::Undecided);
    submit_choice(&fixture, &flow, Choice::SwitchAccount).unwrap();
    assert_eq!(fixture.load_connection(&id).generation, 2);
}

#[test]
fn a_connection_that_was_disconnected_during_a_reconnect_stays_disconnected() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let url = fixture.start_flow(&fixture.repair_request(&id), BROWSER_SESSION);
    fixture.disconnect(&id).unwrap();
    let (code, state) = fixture.world.acme.consent(&url, "ann");
    let landing = fixture.return_from_app(returned_with_code(code, state), BROWSER_SESSION);
    assert_eq!(flow_outcome(&fixture, &landing), failed_outcome("connection_gone"));
    assert_eq!(count_connections(&fixture), 0);
    assert!(!fixture.world.acme.has_live_grant("ann"), "its grant is revoked");
}

#[test]
fn a_custom_name_stays_when_the_account_is_switched() {
    for renamed_meanwhile in [false, true] {
        let fixture = Fixture::new();
        let rename = |id: &ConnectionId| {
            fixture.world.run(async {
                let patch = ConnectionPatch { name: Some("Acme (ours)".into()), ..ConnectionPatch::default() };
                let patched = connections::store::connections::patch(&fixture.workspace, id, &patch);
                fixture.world.context().db().batch(vec![patched]).await.unwrap();
            });
        };
        let id = fixture.connect("ann");
        if !renamed_meanwhile {
            rename(&id);
        }
        let flow = fixture.complete_flow(&fixture.repair_request(&id), "bob");
        if renamed_meanwhile {
            rename(&id);
        }
        submit_choice(&fixture, &flow, Choice::SwitchAccount).unwrap();
        assert_eq!(fixture.load_connection(&id).name, "Acme (ours)");
    }
}

// ---- duplicates ----

#[test]
fn reusing_a_connection_keeps_its_scopes() {
    let fixture = Fixture::new();
    let more = ConnectRequest { scopes: Some(vec!["read".into(), "admin".into()]), ..fixture.connect_request() };
    let id = fixture.complete_flow(&more, "ann").connection.unwrap();
    let before = fixture.load_connection(&id);
    let fewer = ConnectRequest { scopes: Some(vec!["read".into()]), ..fixture.connect_request() };
    let flow = fixture.complete_flow(&fewer, "ann");
    submit_choice(&fixture, &flow, Choice::Reuse).unwrap();
    assert_eq!(fixture.load_connection(&id), before, "it has all that was wanted");
    let ended = fixture.load_flow(&flow.id);
    assert_eq!((ended.outcome, ended.connection, ended.sealed_grant), (FlowOutcome::Done, Some(id.clone()), None));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'reused'"), 1);
    assert!(
        fixture.resolve(&id, ResolveRequest::default()).is_ok(),
        "the grant that was not needed is not revoked under it"
    );

    let others = ConnectRequest { scopes: Some(vec!["write".into()]), ..fixture.connect_request() };
    submit_choice(&fixture, &fixture.complete_flow(&others, "ann"), Choice::Reuse).unwrap();
    let row = fixture.load_connection(&id);
    assert_eq!((row.generation, row.scopes_granted.as_slice()), (2, &["write".to_owned()][..]));
    assert_eq!(row.missing_scopes(), ["read", "admin"], "what the steps had is said to be missing");
}

#[test]
fn a_broken_connection_takes_the_new_grant_with_fewer_scopes() {
    let request = |fixture: &Fixture, scopes: &[&str]| ConnectRequest {
        scopes: Some(scopes.iter().map(|scope| (*scope).to_owned()).collect()),
        ..fixture.connect_request()
    };
    for (what, spoilt) in [
        ("it ended and nothing renews it", "refreshable = 0, expires_at = 1"),
        ("it does not open", "sealed_credential = 'cx1.k1.AAAA'"),
        ("a refresh of it was lost", "ambiguous_token_hash = 'x'"),
        ("it was had in another way", "auth_method = 'another'"),
    ] {
        let fixture = Fixture::new();
        let id = fixture.complete_flow(&request(&fixture, &["read", "admin"]), "ann").connection.unwrap();
        fixture.world.db.tamper(&format!("UPDATE connections SET {spoilt} WHERE id = '{id}'"));
        let flow = fixture.complete_flow(&request(&fixture, &["read"]), "ann");
        submit_choice(&fixture, &flow, Choice::Reuse).unwrap();
        assert_eq!(fixture.load_connection(&id).generation, 2, "{what}");
        assert!(fixture.resolve(&id, ResolveRequest::default()).is_ok(), "{what}");
    }
}

#[test]
fn a_grant_is_not_revoked_while_a_connection_with_unknown_account_uses_its_client() {
    for first_is_unknown in [true, false] {
        let fixture = Fixture::new();
        let (kept, gone) = (fixture.connect("ann"), fixture.connect("bob"));
        let unknown = if first_is_unknown { &kept } else { &gone };
        fixture.world.run(async {
            let forget = connections::sql!(
                "UPDATE connections SET account_id = NULL, account_label = NULL WHERE id = ?1",
                unknown
            );
            fixture.world.context().db().batch(vec![forget]).await.unwrap();
        });
        assert_eq!(fixture.disconnect(&gone).unwrap().revoked, RevocationOutcome::KeptShared);
    }
}

#[test]
fn an_account_that_is_connected_already_leads_to_a_question() {
    for (choice, count, generation) in [(Choice::Reuse, 1, 2), (Choice::KeepBoth, 2, 1), (Choice::Keep, 1, 1)] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        let flow = fixture.complete_flow(&fixture.connect_request(), "ann");
        assert_eq!(flow.outcome, FlowOutcome::Undecided);
        let question = flow.pending.as_ref().unwrap().question.clone();
        assert!(matches!(question, Some(Question::Duplicate { existing, .. }) if existing == id));
        submit_choice(&fixture, &flow, choice).unwrap();
        assert_eq!(count_connections(&fixture), count, "{choice:?}");
        assert_eq!(fixture.load_connection(&id).generation, generation, "{choice:?}");
        assert!(fixture.world.acme.has_live_grant("ann"), "{choice:?}: the grant is shared, so nothing is revoked");
        fixture.resolve(&id, ResolveRequest::default()).unwrap();
    }
}

#[test]
fn duplicates_are_searched_only_among_the_owners_connections() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    let colleague = ConnectRequest { user: Some(User { id: "zoe".into(), name: None }), ..fixture.connect_request() };
    assert_eq!(fixture.complete_flow(&colleague, "ann").outcome, FlowOutcome::Done);
    let shared = ConnectRequest { user: None, ..fixture.connect_request() };
    assert_eq!(fixture.complete_flow(&shared, "ann").outcome, FlowOutcome::Done);
    assert_eq!(count_connections(&fixture), 3);
}

// ---- links ----

fn new_link(fixture: &Fixture, change: impl FnOnce(&mut NewLink)) -> (Link, String) {
    make_link(fixture, change).unwrap()
}

fn make_link(fixture: &Fixture, change: impl FnOnce(&mut NewLink)) -> connections::error::Result<(Link, String)> {
    let mut new = NewLink {
        app: Some(fixture.app.clone()),
        auth_method: None,
        connection: None,
        scopes: None,
        user: Some(User { id: "guest".into(), name: None }),
        settings: connections::connection::ConnectionSettings::default(),
        return_to: None,
        popup_origin: None,
        expires_in: link::DEFAULT_TTL,
        on_duplicate: OnDuplicate::Ask,
        confirm: false,
        made_by: None,
    };
    change(&mut new);
    fixture.world.run(async { link::create(&fixture.world.context(), &fixture.workspace, new, |_| true).await })
}

fn open_link(fixture: &Fixture, url: &str) -> connections::error::Result<Link> {
    let token = url.rsplit('/').next().unwrap().to_owned();
    fixture.world.run(async { link::find_open(&fixture.world.context(), &token).await })
}

fn read_link(fixture: &Fixture, link: &Link) -> Link {
    fixture.world.run(async {
        connections::store::links::get(fixture.world.context().db(), &fixture.workspace, &link.id)
            .await
            .unwrap()
            .unwrap()
    })
}

fn confirm_link(fixture: &Fixture, link: &Link, user: &str) -> connections::error::Result<Link> {
    fixture.world.run(async { link::confirm(&fixture.world.context(), &fixture.workspace, &link.id, user).await })
}

#[test]
fn a_link_connects_once_for_its_user() {
    let fixture = Fixture::new();
    let (link, url) = new_link(&fixture, |_| {});
    assert!(!fixture.world.db.dump_tables().contains(url.rsplit('/').next().unwrap()), "only its hash is stored");
    let opened = open_link(&fixture, &url).unwrap();
    let flow = fixture.complete_flow(&ConnectRequest::of_link(&opened), "ann");
    let row = fixture.load_connection(flow.connection.as_ref().unwrap());
    assert_eq!((row.user.unwrap().id.as_str(), row.status), ("guest", ConnectionStatus::Connected));
    let after = read_link(&fixture, &link);
    assert_eq!((after.status, after.result_connection), (LinkStatus::Used, flow.connection));
    assert_eq!(open_link(&fixture, &url).unwrap_err().code, ErrorCode::LinkEnded);
}

#[test]
fn a_link_can_be_used_after_a_denial_and_expires() {
    let fixture = Fixture::new();
    let (_, url) = new_link(&fixture, |_| {});
    let request = ConnectRequest::of_link(&open_link(&fixture, &url).unwrap());
    let (_, state) = fixture.world.acme.consent(&fixture.start_flow(&request, BROWSER_SESSION), "ann");
    let back = CallbackParams { state: Some(state), error: Some("access_denied".into()), ..CallbackParams::default() };
    assert_eq!(flow_outcome(&fixture, &fixture.return_from_app(back, BROWSER_SESSION)).0, FlowOutcome::Denied);
    assert!(open_link(&fixture, &url).is_ok(), "the same browser may try again");
    fixture.world.advance_clock(3601);
    assert_eq!(open_link(&fixture, &url).unwrap_err().code, ErrorCode::LinkEnded);
}

#[test]
fn a_link_belongs_to_the_browser_that_started_it_last() {
    let fixture = Fixture::new();
    let (link, _) = new_link(&fixture, |_| {});
    let take = |browser: &str| {
        fixture.world.run(async {
            let context = fixture.world.context();
            connections::store::links::bind_to_session(context.db(), &link, browser, "why", context.now())
                .await
                .unwrap();
            connections::store::links::get(context.db(), &link.workspace, &link.id).await.unwrap().unwrap().session_hash
        })
    };
    for browser in ["first", "first", "second", "first"] {
        assert_eq!(take(browser).as_deref(), Some(browser));
    }
}

#[test]
fn a_connection_of_a_link_with_confirm_is_usable_only_after_confirmation_of_its_user() {
    let fixture = Fixture::new();
    let (link, url) = new_link(&fixture, |new| new.confirm = true);
    assert_eq!(confirm_link(&fixture, &link, "guest").unwrap_err().code, ErrorCode::Conflict, "not used yet");
    let flow = fixture.complete_flow(&ConnectRequest::of_link(&open_link(&fixture, &url).unwrap()), "ann");
    let id = flow.connection.unwrap();
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::AwaitingConfirmation);
    let refused = fixture.resolve(&id, ResolveRequest::default()).map(|_| ()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::AwaitingConfirmation);
    assert_eq!(confirm_link(&fixture, &link, "somebody").unwrap_err().code, ErrorCode::InvalidRequest);
    assert_eq!(confirm_link(&fixture, &link, "guest").unwrap().status, LinkStatus::Used);
    fixture.resolve(&id, ResolveRequest::default()).unwrap();
    assert_eq!(confirm_link(&fixture, &link, "guest").unwrap_err().code, ErrorCode::Conflict, "once");
}

#[test]
fn a_confirmed_connection_with_an_ended_grant_needs_a_reconnect() {
    let fixture = Fixture::new();
    let (link, url) = new_link(&fixture, |new| new.confirm = true);
    let id =
        fixture.complete_flow(&ConnectRequest::of_link(&open_link(&fixture, &url).unwrap()), "ann").connection.unwrap();
    fixture.world.acme.withdraw_grants("ann");
    fixture.world.advance_clock(4000);
    fixture.refresh(&id, RefreshReason::ScheduledCheck);
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::AwaitingConfirmation);
    confirm_link(&fixture, &link, "guest").unwrap();
    let refused = fixture.resolve(&id, ResolveRequest::default()).map(|_| ()).unwrap_err();
    assert_eq!((refused.code, refused.hints.reason.as_deref()), (ErrorCode::NeedsReconnect, Some("revoked")));
}

#[test]
fn the_old_credential_works_until_a_repair_is_confirmed() {
    let fixture = Fixture::new();
    let owner = ConnectRequest { user: Some(User { id: "guest".into(), name: None }), ..fixture.connect_request() };
    let id = fixture.complete_flow(&owner, "ann").connection.unwrap();
    let old = plain_tokens(&fixture.open_credential(&id)).0;
    let (link, url) = new_link(&fixture, |new| {
        new.app = None;
        new.connection = Some(id.clone());
        new.confirm = true;
    });
    let flow = fixture.complete_flow(&ConnectRequest::of_link(&open_link(&fixture, &url).unwrap()), "ann");
    assert_eq!(flow.outcome, FlowOutcome::AwaitingConfirmation);
    assert_eq!(read_link(&fixture, &link).status, LinkStatus::AwaitingConfirmation);
    let answered = fixture.resolve(&id, ResolveRequest::default()).unwrap();
    assert_eq!(access_token_of(&answered.resolved), old);
    assert_eq!(confirm_link(&fixture, &link, "eve").unwrap_err().code, ErrorCode::InvalidRequest);
    assert_eq!(confirm_link(&fixture, &link, "guest").unwrap().status, LinkStatus::Used);
    assert_eq!(fixture.load_connection(&id).generation, 2);
    assert_ne!(access_token_of(&fixture.resolve(&id, ResolveRequest::default()).unwrap().resolved), old);
}

/// A guest's connection, and a link whose repair waits for confirmation.
fn start_repair_awaiting_confirmation(fixture: &Fixture) -> (ConnectionId, Link, Flow) {
    let owner = ConnectRequest { user: Some(User { id: "guest".into(), name: None }), ..fixture.connect_request() };
    let id = fixture.complete_flow(&owner, "ann").connection.unwrap();
    let (link, url) = new_link(fixture, |new| {
        new.connection = Some(id.clone());
        new.confirm = true;
    });
    let flow = fixture.complete_flow(&ConnectRequest::of_link(&open_link(fixture, &url).unwrap()), "ann");
    (id, link, flow)
}

#[test]
fn a_confirmation_does_not_replace_a_newer_grant() {
    let fixture = Fixture::new();
    let (id, link, flow) = start_repair_awaiting_confirmation(&fixture);
    let newer = ConnectRequest { user: Some(User { id: "guest".into(), name: None }), ..fixture.repair_request(&id) };
    fixture.complete_flow(&newer, "ann");
    let before = fixture.load_connection(&id);
    assert_eq!(confirm_link(&fixture, &link, "guest").unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(fixture.load_connection(&id), before);
    let after = fixture.load_flow(&flow.id);
    assert_eq!((after.outcome, after.error.as_deref()), (FlowOutcome::Failed, Some("conflict")));
    assert_eq!(after.sealed_grant, None);
    let ended = read_link(&fixture, &link);
    assert_eq!((ended.status, ended.result_connection), (LinkStatus::Used, None), "nothing came of it");
    assert!(fixture.world.acme.has_live_grant("ann"), "the connection lives on the same grant");
}

#[test]
fn a_confirmation_must_come_within_the_time_since_the_grant() {
    let fixture = Fixture::new();
    let guest = || Some(User { id: "guest".into(), name: None });
    let id = fixture
        .complete_flow(&ConnectRequest { user: guest(), ..fixture.connect_request() }, "ann")
        .connection
        .unwrap();
    let (link, url) = new_link(&fixture, |new| (new.connection, new.confirm) = (Some(id.clone()), true));
    let begun = fixture.start_flow(&ConnectRequest::of_link(&open_link(&fixture, &url).unwrap()), BROWSER_SESSION);
    fixture.complete_flow(&ConnectRequest { user: guest(), ..fixture.repair_request(&id) }, "ann");
    let (code, state) = fixture.world.acme.consent(&begun, "ann");
    fixture.return_from_app(returned_with_code(code, state), BROWSER_SESSION);
    confirm_link(&fixture, &link, "guest").unwrap();
    assert_eq!(fixture.load_connection(&id).generation, 3);
    let (link, url) = new_link(&fixture, |new| (new.on_duplicate, new.confirm) = (OnDuplicate::Reuse, true));
    let flow = fixture.complete_flow(&ConnectRequest::of_link(&open_link(&fixture, &url).unwrap()), "ann");
    assert_eq!((flow.outcome, flow.connection.as_ref()), (FlowOutcome::AwaitingConfirmation, Some(&id)));
    confirm_link(&fixture, &link, "guest").unwrap();
    assert_eq!((fixture.load_connection(&id).generation, count_connections(&fixture)), (4, 1), "a reused one, too");
}

#[test]
fn a_disconnected_connection_cannot_be_confirmed() {
    let fixture = Fixture::new();
    let (id, link, _) = start_repair_awaiting_confirmation(&fixture);
    fixture.disconnect(&id).unwrap();
    assert_eq!(confirm_link(&fixture, &link, "guest").unwrap_err().code, ErrorCode::Conflict);
    assert!(!fixture.world.acme.has_live_grant("ann"));
    let (link, url) = new_link(&fixture, |new| new.confirm = true);
    let id =
        fixture.complete_flow(&ConnectRequest::of_link(&open_link(&fixture, &url).unwrap()), "bob").connection.unwrap();
    fixture.disconnect(&id).unwrap();
    assert_eq!(confirm_link(&fixture, &link, "guest").unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'confirmed'"), 0);
}

#[test]
fn a_failed_confirmation_can_be_sent_again() {
    let fixture = Fixture::new();
    let (id, link, _) = start_repair_awaiting_confirmation(&fixture);
    let (other, url) = new_link(&fixture, |new| new.confirm = true);
    let made =
        fixture.complete_flow(&ConnectRequest::of_link(&open_link(&fixture, &url).unwrap()), "bob").connection.unwrap();
    for (link, id) in [(link, id), (other, made)] {
        let fault = FaultRule { statement_part: "INSERT INTO events", times: 1, fault: Fault::BeforeCommit };
        fixture.world.db.fault_rules.borrow_mut().push(fault);
        assert_eq!(confirm_link(&fixture, &link, "guest").unwrap_err().code, ErrorCode::DatabaseUnavailable);
        assert_eq!(confirm_link(&fixture, &link, "guest").unwrap().status, LinkStatus::Used);
        assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
    }
}

#[test]
fn a_late_confirmation_changes_nothing() {
    let fixture = Fixture::new();
    let (id, link, _) = start_repair_awaiting_confirmation(&fixture);
    fixture.world.advance_clock(3601);
    let code = confirm_link(&fixture, &link, "guest").unwrap_err().code;
    assert!(matches!(code, ErrorCode::Conflict | ErrorCode::LinkEnded), "{code:?}");
    assert_eq!(fixture.load_connection(&id).generation, 1);
}

#[test]
fn a_link_defines_what_happens_to_a_duplicate() {
    for (wish, count, outcome) in [
        (OnDuplicate::Reuse, 1, FlowOutcome::Done),
        (OnDuplicate::Create, 2, FlowOutcome::Done),
        (OnDuplicate::Ask, 1, FlowOutcome::Undecided),
    ] {
        let fixture = Fixture::new();
        let owner = ConnectRequest { user: Some(User { id: "guest".into(), name: None }), ..fixture.connect_request() };
        fixture.complete_flow(&owner, "ann");
        let (_, url) = new_link(&fixture, |new| new.on_duplicate = wish);
        let flow = fixture.complete_flow(&ConnectRequest::of_link(&open_link(&fixture, &url).unwrap()), "ann");
        assert_eq!((flow.outcome, count_connections(&fixture)), (outcome, count), "{wish:?}");
    }
}

#[test]
fn a_link_for_a_connection_has_its_app_and_owner() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let (link, _) = new_link(&fixture, |new| {
        new.app = None;
        new.user = None;
        new.connection = Some(id.clone());
    });
    assert_eq!((link.app.as_str(), link.user.unwrap().id.as_str()), ("acme", "ann"));
    let refused = make_link(&fixture, |new| new.connection = Some(id.clone())).unwrap_err();
    assert_eq!((refused.code, refused.hints.errors[0].field.as_str()), (ErrorCode::InvalidRequest, "user.id"));
}

#[test]
fn a_link_with_confirm_needs_a_user() {
    let fixture = Fixture::new();
    let nobodys = ConnectRequest { user: None, ..fixture.connect_request() };
    let id = fixture.complete_flow(&nobodys, "ann").connection.unwrap();
    for connection in [None, Some(id.clone())] {
        let refused = make_link(&fixture, |new| {
            (new.connection, new.user, new.confirm) = (connection, None, true);
        });
        let refused = refused.unwrap_err();
        assert_eq!((refused.code, refused.hints.errors[0].field.as_str()), (ErrorCode::InvalidRequest, "user"));
    }
    let (link, url) = new_link(&fixture, |new| (new.connection, new.confirm) = (Some(id.clone()), true));
    fixture.complete_flow(&ConnectRequest::of_link(&open_link(&fixture, &url).unwrap()), "ann");
    assert_eq!(confirm_link(&fixture, &link, "guest").unwrap().status, LinkStatus::Used);
    let row = fixture.load_connection(&id);
    assert_eq!((row.generation, row.user), (2, None), "a repaired connection keeps its owner");
}

#[test]
fn a_link_that_cannot_work_is_not_created() {
    let fixture = Fixture::new();
    fixture.world.db.tamper("UPDATE oauth_clients SET destinations = '{}'");
    assert_eq!(make_link(&fixture, |_| {}).unwrap_err().code, ErrorCode::ClientMissing);
    fixture.world.db.tamper("UPDATE oauth_clients SET is_current = 0");
    assert_eq!(make_link(&fixture, |_| {}).unwrap_err().code, ErrorCode::ClientMissing);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connect_links"), 0);
}

#[test]
fn a_link_connects_once_from_two_tabs() {
    let fixture = Fixture::new();
    let (link, url) = new_link(&fixture, |_| {});
    let request = ConnectRequest::of_link(&open_link(&fixture, &url).unwrap());
    let tabs = ["ann", "bob"].map(|account| {
        let (code, state) = fixture.world.acme.consent(&fixture.start_flow(&request, BROWSER_SESSION), account);
        returned_with_code(code, state)
    });
    let [first, second] = tabs.map(|tab| fixture.return_from_app(tab, BROWSER_SESSION));
    assert_eq!(flow_outcome(&fixture, &first), (FlowOutcome::Done, None));
    assert_eq!(flow_outcome(&fixture, &second), failed_outcome("link_used"));
    assert_eq!((count_connections(&fixture), read_link(&fixture, &link).status), (1, LinkStatus::Used));
    assert!(
        fixture.world.acme.has_live_grant("ann") && !fixture.world.acme.has_live_grant("bob"),
        "what came too late is revoked"
    );
}

#[test]
fn a_link_connects_once_when_several_tabs_finish_at_once() {
    for (seed, confirm) in (0..8).flat_map(|seed| [(seed, false), (seed, true)]) {
        let fixture = Fixture::in_world(&World::new(RefreshMode::Direct, Some(seed)), &json!({}));
        let (link, url) = new_link(&fixture, |new| new.confirm = confirm);
        let request = ConnectRequest::of_link(&open_link(&fixture, &url).unwrap());
        // All have read that the link is open before the first one stores anything.
        let fault = FaultRule { statement_part: "SELECT name FROM connections", times: 4, fault: Fault::Slow(3000) };
        fixture.world.db.fault_rules.borrow_mut().push(fault);
        let landings = fixture.world.run_concurrently(["ann", "bob", "ann", "carl"].map(|account| {
            let (code, state) = fixture.world.acme.consent(&fixture.start_flow(&request, BROWSER_SESSION), account);
            let (context, client, back) =
                (fixture.world.context(), fixture.client.clone(), returned_with_code(code, state));
            async move {
                let sessions = [BROWSER_SESSION.to_owned()];
                connections::connect::callback::handle(&context, &client, back, &sessions).await.unwrap()
            }
        }));
        let ends: Vec<_> = landings.iter().map(|landing| flow_outcome(&fixture, landing)).collect();
        let well = if confirm { FlowOutcome::AwaitingConfirmation } else { FlowOutcome::Done };
        let done = ends.iter().filter(|end| end.0 == well).count();
        let late = ends.iter().filter(|end| **end == failed_outcome("link_used")).count();
        assert_eq!((done, late, count_connections(&fixture)), (1, 3, 1), "seed {seed} {ends:?}");
        assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'connected'"), 1);
        let made = fixture.world.db.query_value("SELECT id FROM connections");
        assert_eq!(made.as_str().unwrap(), read_link(&fixture, &link).result_connection.unwrap().as_str());
    }
}

#[test]
fn a_choice_after_the_link_was_used_elsewhere_creates_nothing() {
    let fixture = Fixture::new();
    let owner = ConnectRequest { user: Some(User { id: "guest".into(), name: None }), ..fixture.connect_request() };
    fixture.complete_flow(&owner, "ann");
    let (_, url) = new_link(&fixture, |_| {});
    let request = ConnectRequest::of_link(&open_link(&fixture, &url).unwrap());
    let asked = fixture.complete_flow(&request, "ann");
    assert_eq!(fixture.complete_flow(&request, "bob").outcome, FlowOutcome::Done);
    submit_choice(&fixture, &asked, Choice::KeepBoth).unwrap();
    let after = fixture.load_flow(&asked.id);
    assert_eq!((after.outcome, after.error.as_deref()), (FlowOutcome::Failed, Some("link_used")));
    assert_eq!((count_connections(&fixture), after.sealed_grant), (2, None));
}

#[test]
fn a_flow_stays_within_the_subrequest_limit() {
    let fixture = Fixture::new();
    let (_, url) = new_link(&fixture, |new| new.confirm = true);
    let opened = open_link(&fixture, &url).unwrap();
    let first = fixture.world.context();
    let at = fixture.world.run(start::begin_flow(&first, &ConnectRequest::of_link(&opened), BROWSER_SESSION)).unwrap();
    assert!(first.ports.budget.spent.get() <= 8, "{}", first.ports.budget.spent.get());
    let (code, state) = fixture.world.acme.consent(&at, "ann");
    let (later, sessions) = (fixture.world.context(), [BROWSER_SESSION.to_owned()]);
    let back = returned_with_code(code, state);
    fixture.world.run(connections::connect::callback::handle(&later, &fixture.client, back, &sessions)).unwrap();
    assert!(later.ports.budget.spent.get() <= 14, "{}", later.ports.budget.spent.get());
}

// ---- undecided grants ----

#[test]
fn the_scheduled_run_revokes_an_undecided_grant_and_keeps_the_old_one() {
    let fixture = Fixture::new();
    let (id, flow, before) = reconnect_with_other_account(&fixture);
    fixture.run_scheduled();
    assert!(fixture.world.acme.has_live_grant("bob"), "there is time left");
    fixture.world.advance_clock(601);
    fixture.run_scheduled();
    assert!(!fixture.world.acme.has_live_grant("bob"));
    assert!(fixture.world.acme.has_live_grant("ann"));
    assert_eq!(fixture.load_connection(&id).account, before.account);
    assert_eq!(fixture.load_flow(&flow.id).outcome, FlowOutcome::Discarded);
    let asked = fixture.world.acme.count_all_requests();
    fixture.run_scheduled();
    assert_eq!(fixture.world.acme.count_all_requests(), asked, "once is enough");
}

#[test]
fn a_connection_that_nobody_confirmed_for_a_week_is_disconnected() {
    let fixture = Fixture::new();
    let (_, url) = new_link(&fixture, |new| new.confirm = true);
    let request = ConnectRequest::of_link(&open_link(&fixture, &url).unwrap());
    let id = fixture.complete_flow(&request, "ann").connection.unwrap();
    fixture.world.advance_clock(7 * 86_400 - 60);
    fixture.run_scheduled();
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::AwaitingConfirmation);
    fixture.world.advance_clock(120);
    fixture.run_scheduled();
    fixture.world.advance_clock(200);
    fixture.run_scheduled();
    assert_eq!(count_connections(&fixture), 0);
    assert!(!fixture.world.acme.has_live_grant("ann"));
}
