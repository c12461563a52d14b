//! Connect: every way a flow can end, and what becomes of the grant.

use std::pin::Pin;

use connections::connect::callback::{Landing, Refusal, Returned, callback};
use connections::connect::link::{self, NewLink};
use connections::connect::settle::{Choice, choose};
use connections::connect::start::{self, Wish};
use connections::connection::{Account, Connection, Status};
use connections::disconnect::Revoked;
use connections::error::Code;
use connections::http::Method;
use connections::ids::{AuthorizationId, ClientId, ConnectionId, Shard};
use connections::ports::{Database as _, Errand, ErrandOutcome, HttpError, Ports as _, Refresher as _};
use connections::resolve::{Ask, Consistency};
use connections::secret::Secret;
use connections::store::authorizations::{Authorization, Outcome, Question};
use connections::store::connections::Patch;
use connections::store::links::{Link, LinkStatus, OnDuplicate};
use connections::workspace::User;
use serde_json::json;

use crate::http::{call, first_key};
use crate::support::scene::{BROWSER, access};
use crate::support::{Fault, Reply, Scene, Way, World, Wound, tokens};

fn returned(code: Secret, state: String) -> Returned {
    Returned { state: Some(state), code: Some(code), ..Returned::default() }
}

/// A flow at the point where the person has said yes.
fn consented(scene: &Scene, account: &str) -> Returned {
    let (code, state) = scene.world.acme.consent(&scene.start(&scene.wish(), BROWSER), account);
    returned(code, state)
}

fn flow_of(landing: &Landing) -> AuthorizationId {
    match landing {
        Landing::Flow(id) => id.clone(),
        Landing::Refused(refusal) => panic!("{refusal:?}"),
    }
}

/// How a flow ended: its outcome and the code of its failure.
fn ended(scene: &Scene, landing: &Landing) -> (Outcome, Option<String>) {
    let flow = scene.read_flow(&flow_of(landing));
    (flow.outcome, flow.error)
}

fn failed(code: &str) -> (Outcome, Option<String>) {
    (Outcome::Failed, Some(code.to_owned()))
}

fn decide(scene: &Scene, flow: &Authorization, choice: Choice) -> connections::error::Result<()> {
    scene.world.run(async { choose(&scene.world.core(), flow, choice).await })
}

fn connections_of(scene: &Scene) -> i64 {
    scene.world.db.number("SELECT count(*) FROM connections")
}

// ---- a first connection ----

#[test]
fn a_first_connection_has_account_scopes_name_and_owner() {
    let scene = Scene::new();
    let row = scene.row(&scene.connect("ann"));
    assert_eq!(row.account, Some(Account { id: "id-ann".into(), label: "ann@acme.example".into() }));
    assert_eq!((row.scopes_requested.len(), row.scopes_granted.len()), (2, 2));
    assert_eq!(row.name, "Acme (ann@acme.example)");
    assert_eq!(row.user.unwrap().id, "ann");
    assert_eq!((row.generation, row.version, row.status), (1, 1, Status::Connected));
    assert_eq!(scene.world.db.value("SELECT actor FROM events WHERE type = 'connected'"), "user:ann");
}

#[test]
fn the_authorize_url_carries_what_the_protocol_asks_for_and_no_secret() {
    let scene = Scene::with(&json!({ "auth": { "authorize_params": { "prompt": "consent" } } }));
    let urls = [scene.start(&scene.wish(), BROWSER), scene.start(&scene.wish(), BROWSER)].map(|text| {
        let url = url::Url::parse(&text).unwrap();
        url.query_pairs().into_owned().collect::<std::collections::BTreeMap<String, String>>()
    });
    let [first, second] = &urls;
    assert_eq!(first["response_type"], "code");
    assert_eq!(first["code_challenge_method"], "S256");
    assert_eq!(first["redirect_uri"], format!("https://c.example.com/oauth/callback/{}", scene.client));
    assert_eq!((first["scope"].as_str(), first["prompt"].as_str()), ("read write", "consent"));
    assert_eq!(first["state"].len(), 45, "a shard and 256 bits");
    assert_ne!(first["state"], second["state"]);
    assert_ne!(first["code_challenge"], second["code_challenge"]);
    assert!(!format!("{first:?}").contains("canary7f3a"));
    assert!(!scene.world.db.dump().contains(&first["state"]), "only its hash is stored");
}

#[test]
fn an_app_that_grants_less_is_connected_with_what_is_missing() {
    let scene = Scene::new();
    *scene.world.acme.grants_scopes.borrow_mut() = Some("read".into());
    assert_eq!(scene.row(&scene.connect("ann")).missing_scopes(), ["write"]);
}

#[test]
fn names_that_are_taken_are_numbered() {
    let scene = Scene::with(&json!({ "identity": null }));
    let names: Vec<String> = (0..3).map(|_| scene.row(&scene.connect("ann")).name).collect();
    assert_eq!(names, ["Acme", "Acme 2", "Acme 3"]);
}

#[test]
fn without_a_client_or_with_one_for_other_hosts_nobody_is_sent_anywhere() {
    let scene = Scene::new();
    let moved = json!({ "auth": { "token_url": "https://evil.example/token" } });
    scene.world.run(async {
        let core = scene.world.core();
        let mut definition = crate::support::scene::definition();
        definition["auth"]["token_url"] = moved["auth"]["token_url"].clone();
        let row =
            connections::store::apps::AppRow { id: scene.app.clone(), revision: 2, definition: definition.to_string() };
        connections::store::apps::put(core.db(), &scene.workspace, &row, core.now()).await.unwrap();
        let error = start::start(&core, &scene.wish(), BROWSER).await.unwrap_err();
        assert_eq!(error.code, Code::ClientMissing);
    });
    scene.world.db.tamper("UPDATE oauth_clients SET is_current = 0");
    let error = scene.world.run(async { start::start(&scene.world.core(), &scene.wish(), BROWSER).await }).unwrap_err();
    assert_eq!(error.code, Code::ClientMissing);
}

#[test]
fn a_flow_that_begins_is_never_the_one_that_gives_way() {
    let scene = Scene::new();
    for _ in 0..30 {
        let back = scene.world.acme.consent(&scene.start(&scene.wish(), BROWSER), "ann");
        let state = connections::caller::hash(&back.1);
        let kept = format!("SELECT count(*) FROM flows WHERE state_hash = '{state}'");
        assert_eq!(scene.world.db.number(&kept), 1, "all within one second");
    }
    assert_eq!(scene.world.db.number("SELECT count(*) FROM flows"), 10);
}

#[test]
fn a_client_that_is_deleted_during_a_flow_ends_the_flow() {
    let scene = Scene::new();
    let back = consented(&scene, "ann");
    scene.world.acme.latency_ms.set(5000);
    let (core, client) = (scene.world.core(), scene.client.clone());
    let coming = scene.world.runtime.spawn(async move {
        let sessions = [BROWSER.to_owned()];
        connections::connect::callback::callback(&core, &client, back, &sessions).await.unwrap()
    });
    // The code is exchanged, and the app is asked whose account it is.
    scene.world.run(scene.world.runtime.sleep(7000));
    scene.world.run(async {
        let core = scene.world.core();
        assert!(connections::store::clients::delete(core.db(), &scene.workspace, &scene.client).await.unwrap());
    });
    let landing = scene.world.run(coming);
    assert_eq!(ended(&scene, &landing), failed("client_refused"));
    assert_eq!(connections_of(&scene), 0);
}

#[test]
fn an_eleventh_flow_of_a_browser_evicts_the_oldest() {
    let scene = Scene::new();
    let mut consents = Vec::new();
    for _ in 0..11 {
        consents.push(consented(&scene, "ann"));
        scene.world.pass(1);
    }
    let other = scene.start(&scene.wish(), "another");
    assert!(!other.is_empty());
    assert_eq!(scene.world.db.number("SELECT count(*) FROM flows"), 11);
    let mut consents = consents.into_iter();
    let oldest = scene.come_back(consents.next().unwrap(), BROWSER);
    assert_eq!(oldest, Landing::Refused(Refusal::Unknown));
    let next = scene.come_back(consents.next().unwrap(), BROWSER);
    assert_eq!(ended(&scene, &next), (Outcome::Done, None));
}

// ---- callbacks that go no further ----

#[test]
fn callbacks_without_a_flow_of_their_own_ask_nothing_of_the_app() {
    let scene = Scene::new();
    let refused = |returned: Returned, browser: &str| match scene.come_back(returned, browser) {
        Landing::Refused(refusal) => refusal,
        Landing::Flow(_) => panic!("a flow"),
    };
    assert_eq!(refused(Returned::default(), BROWSER), Refusal::Unknown);
    let made_up = Returned { state: Some("x".repeat(43)), code: Some(Secret::new("c")), ..Returned::default() };
    assert_eq!(refused(made_up, BROWSER), Refusal::Unknown);
    let huge = Returned { state: Some("x".repeat(10_000)), ..Returned::default() };
    assert_eq!(refused(huge, BROWSER), Refusal::Unknown);
    let stolen = consented(&scene, "mallory");
    assert_eq!(refused(stolen.clone(), "the-victims"), Refusal::OtherBrowser);
    assert_eq!(refused(stolen.clone(), ""), Refusal::OtherBrowser);
    scene.world.pass(601);
    assert_eq!(refused(stolen, BROWSER), Refusal::Expired);
    assert_eq!(scene.world.acme.requests(), 0);
}

#[test]
fn a_callback_in_another_browser_does_not_spend_the_state() {
    let scene = Scene::new();
    let mine = consented(&scene, "ann");
    scene.come_back(mine.clone(), "another");
    let landing = scene.come_back(mine, BROWSER);
    assert_eq!(ended(&scene, &landing), (Outcome::Done, None));
}

#[test]
fn a_state_is_spent_once_however_many_callbacks_race() {
    for seed in 0..8 {
        let scene = Scene::in_world(&World::new(Way::Direct, Some(seed)), &json!({}));
        let back = consented(&scene, "ann");
        let landings = scene.world.at_once((0..5).map(|_| {
            let (core, client, back) = (scene.world.core(), scene.client.clone(), back.clone());
            async move {
                let sessions = [BROWSER.to_owned()];
                connections::connect::callback::callback(&core, &client, back, &sessions).await.unwrap()
            }
        }));
        assert!(landings.iter().all(|one| *one == landings[0] && matches!(one, Landing::Flow(_))), "seed {seed}");
        assert_eq!(scene.world.acme.count("/token"), 1);
        assert_eq!(connections_of(&scene), 1);
    }
}

#[test]
fn an_answer_that_is_not_the_apps_ends_the_flow_before_any_request() {
    let scene = Scene::new();
    let other = scene.world.run(async { ClientId::random(scene.world.core().ports.random(), Shard::FIRST).unwrap() });
    let back = consented(&scene, "ann");
    let landing = scene.world.run(async {
        let sessions = [BROWSER.to_owned()];
        connections::connect::callback::callback(&scene.world.core(), &other, back.clone(), &sessions).await.unwrap()
    });
    assert_eq!(ended(&scene, &landing), failed("wrong_issuer"));
    assert_eq!(scene.come_back(back, BROWSER), landing, "the second time leads to the same end");
    for (error, outcome) in [
        ("access_denied", (Outcome::Denied, None)),
        ("user_denied", (Outcome::Denied, None)),
        ("server_error", failed("refused_by_app")),
        ("<script>alert(1)</script>", failed("refused_by_app")),
    ] {
        let back = Returned { error: Some(error.into()), code: None, ..consented(&scene, "ann") };
        assert_eq!(ended(&scene, &scene.come_back(back, BROWSER)), outcome, "{error}");
    }
    for code in [None, Some(Secret::new("")), Some(Secret::new("x".repeat(9000)))] {
        let back = Returned { code, ..consented(&scene, "ann") };
        assert_eq!(ended(&scene, &scene.come_back(back, BROWSER)), failed("no_code"));
    }
    assert_eq!(scene.world.acme.requests(), 0);
    assert!(!scene.world.db.dump().contains("<script>"), "an app's words are not stored");
}

#[test]
fn an_administrators_approval_is_no_denial_where_the_definition_knows_its_codes() {
    let described = |text: &str| std::collections::BTreeMap::from([("error_description".to_owned(), text.to_owned())]);
    let denied = (Outcome::Denied, None);
    let knowing = Scene::with(&json!({ "auth": { "approval": { "codes": ["consent_required", "E90094"] } } }));
    let plain = Scene::new();
    for (scene, error, text, outcome) in [
        (&knowing, "consent_required", "", failed("approval_required")),
        (&knowing, "access_denied", "E90094: An administrator must consent.", failed("approval_required")),
        (&knowing, "server_error", "(e90094)", failed("approval_required")),
        (&knowing, "access_denied", "E900941: another code, whose beginning is the same", denied.clone()),
        (&knowing, "access_denied", "E65004: The person declined.", denied.clone()),
        (&knowing, "access_denied", "", denied.clone()),
        (&knowing, "server_error", "", failed("refused_by_app")),
        (&plain, "consent_required", "E90094", denied.clone()),
    ] {
        let back =
            Returned { error: Some(error.into()), code: None, others: described(text), ..consented(scene, "ann") };
        assert_eq!(ended(scene, &scene.come_back(back, BROWSER)), outcome, "{error} {text}");
    }
    assert_eq!(connections_of(&knowing) + connections_of(&plain), 0);
    assert_eq!(knowing.world.acme.requests(), 0);
    assert!(!knowing.world.db.dump().contains("E90094:"), "an app's words are not stored");
}

#[test]
fn an_issuer_that_promised_its_name_must_say_it() {
    let issuer = json!({ "auth": {
        "issuer": "https://acme.example", "authorize_url": null, "token_url": null, "revoke_url": null } });
    for (iss, outcome) in [
        (Some("https://acme.example"), (Outcome::Done, None)),
        (Some("https://evil.example"), failed("wrong_issuer")),
        (Some("https://acme.example/"), failed("wrong_issuer")),
        (None, failed("wrong_issuer")),
    ] {
        let scene = Scene::with(&issuer);
        let back = Returned { iss: iss.map(ToOwned::to_owned), ..consented(&scene, "ann") };
        let asked = scene.world.acme.count("/token");
        assert_eq!(ended(&scene, &scene.come_back(back, BROWSER)), outcome, "{iss:?}");
        let expected = usize::from(outcome.0 == Outcome::Done);
        assert_eq!(scene.world.acme.count("/token") - asked, expected, "{iss:?}");
    }
}

#[test]
fn a_state_is_as_long_as_the_app_takes_it() {
    for (definition, length) in [(json!({}), 45), (json!({ "auth": { "state_length": 32 } }), 32)] {
        let scene = Scene::with(&definition);
        let url = scene.start(&scene.wish(), BROWSER);
        let (code, state) = scene.world.acme.consent(&url, "ann");
        assert_eq!(state.len(), length);
        assert_eq!(ended(&scene, &scene.come_back(returned(code, state), BROWSER)), (Outcome::Done, None));
    }
}

#[test]
fn whoever_asks_an_issuer_for_anything_asks_who_the_person_is() {
    let issuer = json!({ "auth": {
        "issuer": "https://acme.example", "authorize_url": null, "token_url": null, "revoke_url": null } });
    assert_eq!(scopes_asked_for(&issuer), "read", "the definition says how it is known");
    let mut userinfo = issuer;
    userinfo["identity"] = json!(null);
    assert_eq!(scopes_asked_for(&userinfo), "openid read");
}

/// The scopes in the authorize URL for somebody who wants `read`.
fn scopes_asked_for(definition: &serde_json::Value) -> String {
    let scene = Scene::with(definition);
    let wish = Wish { scopes: Some(vec!["read".into()]), ..scene.wish() };
    let url = url::Url::parse(&scene.start(&wish, BROWSER)).unwrap();
    url.query_pairs().find(|(name, _)| name == "scope").unwrap().1.into_owned()
}

#[test]
fn what_the_token_endpoint_refuses_ends_the_flow_with_its_reason() {
    for (reply, code, client_marked) in [
        (Reply::status(400, "{\"error\":\"invalid_grant\"}"), "code_refused", false),
        (Reply::status(401, "{\"error\":\"invalid_client\"}"), "client_refused", true),
        (Reply::status(500, ""), "app_unavailable", false),
        (Reply::status(302, ""), "app_unavailable", false),
        (Reply::error(HttpError::Timeout), "app_unavailable", false),
        (Reply::status(429, ""), "app_unavailable", false),
        (Reply::status(200, "<html>"), "app_unavailable", false),
    ] {
        let scene = Scene::new();
        scene.world.acme.next("/token", reply);
        let back = consented(&scene, "ann");
        let landing = scene.come_back(back, BROWSER);
        assert_eq!(ended(&scene, &landing), failed(code));
        assert_eq!(scene.client().misconfigured.is_some(), client_marked, "{code}");
        assert_eq!(connections_of(&scene), 0);
        let flow = scene.flow(&scene.wish(), "ann");
        assert_eq!(flow.outcome, Outcome::Done, "the next try works");
        assert!(scene.client().misconfigured.is_none(), "and clears the client");
    }
}

#[test]
fn an_app_that_does_not_say_whose_account_it_is_is_not_connected() {
    for reply in [Reply::status(401, "{}"), Reply::status(200, "{}"), Reply::status(500, "")] {
        let scene = Scene::new();
        scene.world.acme.always("/me", Some(reply));
        let landing = scene.come_back(consented(&scene, "ann"), BROWSER);
        assert_eq!(ended(&scene, &landing), failed("account_unknown"));
        assert_eq!(connections_of(&scene), 0);
        assert!(scene.world.acme.count("/me") <= 2);
    }
    let scene = Scene::new();
    scene.world.acme.next("/me", Reply::status(503, ""));
    let landing = scene.come_back(consented(&scene, "ann"), BROWSER);
    assert_eq!(ended(&scene, &landing), (Outcome::Done, None), "asked twice");
}

// ---- reconnecting ----

#[test]
fn a_reconnect_keeps_id_name_uses_and_policy_and_raises_the_generation() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.resolve_fully(&id, Ask { workflow: Some("w".into()), ..Ask::default() }).unwrap();
    scene.world.db.tamper("UPDATE connections SET name = 'Mine', allowed_workflows = '[\"w\"]'");
    scene.expire(&id);
    scene.world.acme.withdraw("ann");
    scene.need(&id);
    assert_eq!(scene.row(&id).status, Status::NeedsReconnect);
    let flow = scene.flow(&scene.repair_of(&id), "ann");
    assert_eq!((flow.outcome, flow.connection.as_ref()), (Outcome::Done, Some(&id)));
    let row = scene.row(&id);
    assert_eq!((row.generation, row.status, row.reason), (2, Status::Connected, None));
    assert_eq!((row.name.as_str(), row.allowed_workflows.as_deref()), ("Mine", Some(&["w".to_owned()][..])));
    assert_eq!((row.failures, row.intent, row.last_error), (0, None, None));
    assert_eq!(scene.world.db.number("SELECT count(*) FROM uses"), 1);
    let answered = scene.resolve(&id, Ask { workflow: Some("w".into()), ..Ask::default() }).unwrap();
    assert!(scene.world.acme.accepts(access(&answered.resolved)));
}

#[test]
fn a_reconnect_without_refresh_token_keeps_the_one_before_while_that_may_be_good() {
    let refresh_token = |scene: &Scene, id: &ConnectionId| tokens(&scene.credential(id)).1;
    let scene = Scene::new();
    let id = scene.connect("ann");
    let before = refresh_token(&scene, &id);
    scene.world.acme.gives_refresh_token.set(false);
    scene.flow(&scene.repair_of(&id), "ann");
    assert_eq!((scene.row(&id).refreshable, refresh_token(&scene, &id)), (true, before));
    scene.expire(&id);
    scene.world.acme.gives_refresh_token.set(true);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);

    scene.world.acme.gives_refresh_token.set(false);
    let flow = scene.flow(&scene.repair_of(&id), "bob");
    decide(&scene, &flow, Choice::Switch).unwrap();
    assert_eq!(refresh_token(&scene, &id), None, "it belongs to another account");

    let dead = scene.connect("carl");
    assert!(!scene.row(&dead).refreshable);
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.withdraw("ann");
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Dead);
    scene.world.acme.restore("ann");
    scene.world.acme.gives_refresh_token.set(false);
    scene.flow(&scene.repair_of(&id), "ann");
    assert_eq!(refresh_token(&scene, &id), None, "the app had refused it");
}

#[test]
fn a_reconnect_without_refresh_token_never_keeps_one_that_a_refresh_has_used_meanwhile() {
    for (later, slow) in (0..10).flat_map(|step| [(step * 100, 0), (step * 100, 800)]) {
        let scene = Scene::new();
        let id = scene.connect("ann");
        scene.expire(&id);
        scene.world.acme.gives_refresh_token.set(false);
        let fault = Fault { sql: "UPDATE connections SET app_revision", times: 1, wound: Wound::Slow(slow) };
        scene.world.db.faults.borrow_mut().push(fault);
        let (code, state) = scene.world.acme.consent(&scene.start(&scene.repair_of(&id), BROWSER), "ann");
        let (core, client, asked) = (scene.world.core(), scene.client.clone(), id.clone());
        let runtime = scene.world.runtime.clone();
        let reconnect: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            callback(&core, &client, returned(code, state), &[BROWSER.to_owned()]).await.unwrap();
        });
        let (core, until) = (scene.world.core(), scene.world.now().unix() + 60);
        let refresh: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            runtime.sleep(later).await;
            core.ports.refresher().run(&asked, Errand::Need { until }).await;
        });
        scene.world.at_once([reconnect, refresh]);
        let row = scene.row(&id);
        assert_eq!((row.generation, row.refreshable), (2, true), "refreshed {later} ms later, {slow} ms to write");
        scene.expire(&id);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed, "refreshed {later} ms later, {slow} ms to write");
    }
}

#[test]
fn a_reconnect_waits_for_a_slow_refresh_whose_token_it_inherits_and_not_for_one_that_has_failed() {
    for (fails, waits, refreshable) in [(false, 9..=27, true), (true, 0..=2, false)] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        scene.expire(&id);
        scene.world.acme.gives_refresh_token.set(false);
        let (code, state) = scene.world.acme.consent(&scene.start(&scene.repair_of(&id), BROWSER), "ann");
        if fails {
            scene.world.acme.next("/token", Reply::error(HttpError::Network).acting());
            scene.need(&id);
        }
        scene.world.acme.latency_ms.set(12_000);
        let (core, asked, until) = (scene.world.core(), id.clone(), scene.world.now().unix() + 60);
        let refresh: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            core.ports.refresher().run(&asked, Errand::Need { until }).await;
        });
        let (world, client) = (scene.world.clone(), scene.client.clone());
        let reconnect: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            world.runtime.sleep(1000).await;
            world.acme.latency_ms.set(100);
            let begun = world.now();
            callback(&world.core(), &client, returned(code, state), &[BROWSER.to_owned()]).await.unwrap();
            assert!(waits.contains(&world.now().since(begun)), "{}", world.now().since(begun));
        });
        scene.world.at_once([refresh, reconnect]);
        assert_eq!((scene.row(&id).generation, scene.row(&id).refreshable), (2, refreshable));
        if refreshable {
            scene.expire(&id);
            assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
        }
    }
}

#[test]
fn tokens_that_are_given_to_a_connection_without_a_refresh_token_do_not_get_the_one_before() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let token = scene.credential(&id).token.unwrap();
    let body = json!({ "credential": { "type": "oauth2", "access_token": token.access_token.expose(),
        "expires_at": scene.world.now().plus(600) } });
    let path = format!("/v1/connections/{id}/credential");
    let (status, answer) = call(&scene, &first_key(&scene), Method::Put, &path, &body);
    assert_eq!((status, scene.row(&id).generation), (200, 2), "{answer}");
    assert!(!scene.row(&id).refreshable, "whoever gives less means less");
}

#[test]
fn a_reconnect_asks_again_for_everything_and_for_what_is_missing() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let wish = Wish { scopes: Some(vec!["admin".into()]), ..scene.repair_of(&id) };
    let flow = scene.flow(&wish, "ann");
    assert_eq!(flow.scopes, ["read", "write", "admin"]);
    assert_eq!(scene.row(&id).scopes_granted, ["read", "write", "admin"]);
}

#[test]
fn a_reconnect_does_not_ask_for_what_the_person_left_out() {
    let scene = Scene::new();
    let fewer = Wish { scopes: Some(vec!["read".into()]), ..scene.wish() };
    let id = scene.flow(&fewer, "ann").connection.unwrap();
    assert_eq!(scene.flow(&scene.repair_of(&id), "ann").scopes, ["read"]);
    let wish = Wish { scopes: Some(vec!["admin".into()]), ..scene.repair_of(&id) };
    assert_eq!(scene.flow(&wish, "ann").scopes, ["read", "admin"]);
}

#[test]
fn only_its_owner_may_repair_a_connection() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let user = Some(User { id: "eve".into(), name: None });
    let wish = Wish { user, ..scene.repair_of(&id) };
    let error = scene.world.run(async { start::start(&scene.world.core(), &wish, BROWSER).await }).unwrap_err();
    assert_eq!(error.code, Code::ConnectionNotFound);
}

fn other_account(scene: &Scene) -> (ConnectionId, Authorization, Connection) {
    let id = scene.connect("ann");
    let before = scene.row(&id);
    let flow = scene.flow(&scene.repair_of(&id), "bob");
    assert_eq!(flow.outcome, Outcome::Undecided);
    let Some(Question::OtherAccount { before: asked }) = flow.pending.as_ref().unwrap().question.clone() else {
        panic!("{:?}", flow.pending)
    };
    assert_eq!(asked, before.account);
    assert_eq!(scene.row(&id), before, "nothing changes before the person chose");
    (id, flow, before)
}

#[test]
fn another_account_waits_for_the_person_who_may_keep_the_old_one() {
    let scene = Scene::new();
    let (id, flow, before) = other_account(&scene);
    decide(&scene, &flow, Choice::Keep).unwrap();
    assert_eq!(scene.row(&id), before);
    assert_eq!(scene.read_flow(&flow.id).outcome, Outcome::Discarded);
    assert!(!scene.world.acme.is_alive("bob"), "the grant nobody wanted is revoked");
    assert!(scene.world.acme.is_alive("ann"));
    let again = scene.read_flow(&flow.id);
    assert_eq!(decide(&scene, &again, Choice::Switch).unwrap_err().code, Code::Conflict);
}

#[test]
fn another_account_waits_for_the_person_who_may_switch_knowingly() {
    let scene = Scene::new();
    let (id, flow, before) = other_account(&scene);
    decide(&scene, &flow, Choice::Switch).unwrap();
    let row = scene.row(&id);
    assert_eq!((row.account.unwrap().id.as_str(), row.generation), ("id-bob", 2));
    assert_eq!([before.name.as_str(), row.name.as_str()], ["Acme (ann@acme.example)", "Acme (bob@acme.example)"]);
    let told = scene.world.db.value("SELECT detail FROM events WHERE type = 'account_switched'");
    assert_eq!(told, "ann@acme.example → bob@acme.example");
    assert!(!scene.world.acme.is_alive("ann"), "the old grant is revoked");
    assert!(scene.world.acme.is_alive("bob"));
    assert_eq!(scene.world.db.number("SELECT count(*) FROM events WHERE type = 'account_switched'"), 1);
    assert!(scene.world.acme.accepts(&tokens(&scene.credential(&id)).0));
}

#[test]
fn a_name_that_fits_the_new_account_as_well_stays() {
    let scene = Scene::with(&json!({ "identity": null }));
    let id = scene.connect("ann");
    let name = scene.row(&id).name;
    for account in ["bob", "ann"] {
        let flow = scene.flow(&scene.repair_of(&id), account);
        decide(&scene, &flow, Choice::Switch).unwrap();
        assert_eq!(scene.row(&id).name, name);
    }
}

#[test]
fn what_waits_ends_with_its_client() {
    let scene = Scene::new();
    let path = "/v1/apps/acme/client";
    let key = first_key(&scene);
    let flow = scene.flow(&scene.wish(), "ann");
    let id = flow.connection.unwrap();
    let waiting = scene.flow(&scene.wish(), "ann");
    assert_eq!(waiting.outcome, Outcome::Undecided);
    scene.world.acme.withdraw("ann");
    scene.disconnect(&id).unwrap();
    assert_eq!(call(&scene, &key, Method::Delete, path, &json!(null)).0, 200);
    let other = json!({ "client_id": "another", "client_secret": "another secret" });
    assert_eq!(call(&scene, &key, Method::Put, path, &other).0, 200);
    assert_eq!(decide(&scene, &waiting, Choice::Both).unwrap_err().code, Code::LinkEnded);
    let ended = scene.read_flow(&waiting.id);
    assert_eq!(
        (ended.outcome, ended.error.as_deref(), ended.sealed_grant),
        (Outcome::Failed, Some("client_refused"), None)
    );
    assert_eq!(connections_of(&scene), 0);
}

#[test]
fn a_switch_that_fails_half_way_leaves_no_copy_of_the_old_account() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let edge = || Ask { consistency: Consistency::Edge, ..Ask::default() };
    scene.resolve_fully(&id, edge()).unwrap();
    let before = scene.row(&id);
    let flow = scene.flow(&scene.repair_of(&id), "bob");
    // Whichever statement is hit: all are one transaction, so that nothing is lost.
    for sql in ["UPDATE flows SET status", "UPDATE connections SET app_revision", "INSERT INTO events"] {
        scene.world.db.faults.borrow_mut().push(Fault { sql, times: 1, wound: Wound::Before });
        assert_eq!(decide(&scene, &flow, Choice::Switch).unwrap_err().code, Code::DatabaseUnavailable);
        assert_eq!((scene.row(&id), scene.read_flow(&flow.id)), (before.clone(), flow.clone()), "choosable again");
        assert!(scene.world.acme.is_alive("ann") && scene.world.acme.is_alive("bob"));
    }
    scene.resolve_fully(&id, edge()).unwrap();
    scene.world.db.faults.borrow_mut().push(Fault { sql: "INSERT INTO events", times: 1, wound: Wound::After });
    assert_eq!(decide(&scene, &flow, Choice::Switch).unwrap_err().code, Code::DatabaseUnavailable);
    assert_eq!(scene.row(&id).account.unwrap().id, "id-bob", "applied, though no answer came");
    assert_eq!(scene.resolve(&id, edge()).unwrap().resolved.account.unwrap().id, "id-bob");
}

#[test]
fn a_second_connection_that_can_not_be_stored_may_be_chosen_again() {
    let scene = Scene::new();
    scene.connect("ann");
    let flow = scene.flow(&scene.wish(), "ann");
    let fault = Fault { sql: "INSERT INTO connections", times: 1, wound: Wound::Before };
    scene.world.db.faults.borrow_mut().push(fault);
    assert_eq!(decide(&scene, &flow, Choice::Both).unwrap_err().code, Code::DatabaseUnavailable);
    decide(&scene, &scene.read_flow(&flow.id), Choice::Both).unwrap();
    assert_eq!(connections_of(&scene), 2);
    assert_eq!(scene.read_flow(&flow.id).outcome, Outcome::Done);
}

#[test]
fn the_old_grant_is_revoked_where_the_old_revision_of_the_app_says() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.define(&json!({ "auth": { "revoke_url": "https://acme.example/revoke-elsewhere" } }));
    let flow = scene.flow(&scene.repair_of(&id), "bob");
    decide(&scene, &flow, Choice::Switch).unwrap();
    assert!(!scene.world.acme.is_alive("ann"));
    assert_eq!(scene.world.acme.count("/revoke-elsewhere"), 0);
}

#[test]
fn an_old_grant_that_another_connection_lives_on_survives_a_switch() {
    let scene = Scene::new();
    let (_, flow, _) = other_account(&scene);
    let colleague = Wish { user: Some(User { id: "zoe".into(), name: None }), ..scene.wish() };
    scene.flow(&colleague, "ann");
    decide(&scene, &flow, Choice::Switch).unwrap();
    assert!(scene.world.acme.is_alive("ann"));
}

#[test]
fn a_waiting_grant_is_decided_once_in_time_and_among_its_own_choices() {
    let scene = Scene::new();
    let (_, flow, _) = other_account(&scene);
    for choice in [Choice::Reuse, Choice::Both] {
        assert_eq!(decide(&scene, &flow, choice).unwrap_err().code, Code::Conflict);
    }
    let late = scene.flow(&scene.repair_of(&scene.connect("carl")), "dora");
    scene.world.pass(601);
    assert_eq!(decide(&scene, &late, Choice::Switch).unwrap_err().code, Code::LinkEnded);
    let scene = Scene::in_world(&World::new(Way::Direct, Some(9)), &json!({}));
    let (id, flow, _) = other_account(&scene);
    let decisions = scene.world.at_once([Choice::Keep, Choice::Switch, Choice::Switch].map(|choice| {
        let (core, flow) = (scene.world.core(), flow.clone());
        async move { choose(&core, &flow, choice).await.is_ok() }
    }));
    assert_eq!(decisions.iter().filter(|ok| **ok).count(), 1);
    assert!(scene.row(&id).generation <= 2);
}

#[test]
fn an_app_that_names_no_account_asks_the_person_at_a_reconnect() {
    let scene = Scene::with(&json!({ "identity": null }));
    let id = scene.connect("ann");
    let flow = scene.flow(&scene.repair_of(&id), "ann");
    assert_eq!(flow.outcome, Outcome::Undecided);
    decide(&scene, &flow, Choice::Switch).unwrap();
    assert_eq!(scene.row(&id).generation, 2);
}

#[test]
fn a_connection_that_was_disconnected_during_its_repair_stays_gone() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let url = scene.start(&scene.repair_of(&id), BROWSER);
    scene.disconnect(&id).unwrap();
    let (code, state) = scene.world.acme.consent(&url, "ann");
    let landing = scene.come_back(returned(code, state), BROWSER);
    assert_eq!(ended(&scene, &landing), failed("connection_gone"));
    assert_eq!(connections_of(&scene), 0);
    assert!(!scene.world.acme.is_alive("ann"), "its grant is revoked");
}

#[test]
fn a_name_that_somebody_chose_stays_when_the_account_is_switched() {
    for renamed_meanwhile in [false, true] {
        let scene = Scene::new();
        let rename = |id: &ConnectionId| {
            scene.world.run(async {
                let patch = Patch { name: Some("Acme (ours)".into()), ..Patch::default() };
                let patched = connections::store::connections::patch(&scene.workspace, id, &patch);
                scene.world.core().db().batch(vec![patched]).await.unwrap();
            });
        };
        let id = scene.connect("ann");
        if !renamed_meanwhile {
            rename(&id);
        }
        let flow = scene.flow(&scene.repair_of(&id), "bob");
        if renamed_meanwhile {
            rename(&id);
        }
        decide(&scene, &flow, Choice::Switch).unwrap();
        assert_eq!(scene.row(&id).name, "Acme (ours)");
    }
}

// ---- duplicates ----

#[test]
fn whoever_reuses_a_connection_takes_nothing_from_its_steps() {
    let scene = Scene::new();
    let more = Wish { scopes: Some(vec!["read".into(), "admin".into()]), ..scene.wish() };
    let id = scene.flow(&more, "ann").connection.unwrap();
    let before = scene.row(&id);
    let fewer = Wish { scopes: Some(vec!["read".into()]), ..scene.wish() };
    let flow = scene.flow(&fewer, "ann");
    decide(&scene, &flow, Choice::Reuse).unwrap();
    assert_eq!(scene.row(&id), before, "it has all that was wanted");
    let ended = scene.read_flow(&flow.id);
    assert_eq!((ended.outcome, ended.connection, ended.sealed_grant), (Outcome::Done, Some(id.clone()), None));
    assert_eq!(scene.world.db.number("SELECT count(*) FROM events WHERE type = 'reused'"), 1);
    assert!(scene.resolve(&id, Ask::default()).is_ok(), "the grant that was not needed is not revoked under it");

    let others = Wish { scopes: Some(vec!["write".into()]), ..scene.wish() };
    decide(&scene, &scene.flow(&others, "ann"), Choice::Reuse).unwrap();
    let row = scene.row(&id);
    assert_eq!((row.generation, row.scopes_granted.as_slice()), (2, &["write".to_owned()][..]));
    assert_eq!(row.missing_scopes(), ["read", "admin"], "what the steps had is said to be missing");
}

#[test]
fn a_connection_that_would_not_serve_on_takes_the_new_grant_whatever_it_has_more() {
    let wish = |scene: &Scene, scopes: &[&str]| Wish {
        scopes: Some(scopes.iter().map(|scope| (*scope).to_owned()).collect()),
        ..scene.wish()
    };
    for (what, spoilt) in [
        ("it ended and nothing renews it", "refreshable = 0, expires_at = 1"),
        ("it does not open", "sealed_credential = 'cx1.k1.AAAA'"),
        ("a refresh of it was lost", "ambiguous_token_hash = 'x'"),
        ("it was had in another way", "auth_method = 'another'"),
    ] {
        let scene = Scene::new();
        let id = scene.flow(&wish(&scene, &["read", "admin"]), "ann").connection.unwrap();
        scene.world.db.tamper(&format!("UPDATE connections SET {spoilt} WHERE id = '{id}'"));
        let flow = scene.flow(&wish(&scene, &["read"]), "ann");
        decide(&scene, &flow, Choice::Reuse).unwrap();
        assert_eq!(scene.row(&id).generation, 2, "{what}");
        assert!(scene.resolve(&id, Ask::default()).is_ok(), "{what}");
    }
}

#[test]
fn a_connection_whose_account_nobody_knows_keeps_the_grants_of_its_client_alive() {
    for first_is_unknown in [true, false] {
        let scene = Scene::new();
        let (kept, gone) = (scene.connect("ann"), scene.connect("bob"));
        let unknown = if first_is_unknown { &kept } else { &gone };
        scene.world.run(async {
            let forget = connections::sql!(
                "UPDATE connections SET account_id = NULL, account_label = NULL WHERE id = ?1",
                unknown
            );
            scene.world.core().db().batch(vec![forget]).await.unwrap();
        });
        assert_eq!(scene.disconnect(&gone).unwrap().revoked, Revoked::KeptShared);
    }
}

#[test]
fn an_account_that_is_connected_already_is_asked_about() {
    for (choice, count, generation) in [(Choice::Reuse, 1, 2), (Choice::Both, 2, 1), (Choice::Keep, 1, 1)] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        let flow = scene.flow(&scene.wish(), "ann");
        assert_eq!(flow.outcome, Outcome::Undecided);
        let question = flow.pending.as_ref().unwrap().question.clone();
        assert!(matches!(question, Some(Question::Duplicate { existing, .. }) if existing == id));
        decide(&scene, &flow, choice).unwrap();
        assert_eq!(connections_of(&scene), count, "{choice:?}");
        assert_eq!(scene.row(&id).generation, generation, "{choice:?}");
        assert!(scene.world.acme.is_alive("ann"), "{choice:?}: the grant is shared, so nothing is revoked");
        scene.resolve(&id, Ask::default()).unwrap();
    }
}

#[test]
fn duplicates_are_looked_for_among_the_owners_own() {
    let scene = Scene::new();
    scene.connect("ann");
    let colleague = Wish { user: Some(User { id: "zoe".into(), name: None }), ..scene.wish() };
    assert_eq!(scene.flow(&colleague, "ann").outcome, Outcome::Done);
    let shared = Wish { user: None, ..scene.wish() };
    assert_eq!(scene.flow(&shared, "ann").outcome, Outcome::Done);
    assert_eq!(connections_of(&scene), 3);
}

// ---- links ----

fn new_link(scene: &Scene, change: impl FnOnce(&mut NewLink)) -> (Link, String) {
    make_link(scene, change).unwrap()
}

fn make_link(scene: &Scene, change: impl FnOnce(&mut NewLink)) -> connections::error::Result<(Link, String)> {
    let mut new = NewLink {
        app: Some(scene.app.clone()),
        way: None,
        connection: None,
        scopes: None,
        user: Some(User { id: "guest".into(), name: None }),
        return_to: None,
        expires_in: link::USUAL_LIFE,
        on_duplicate: OnDuplicate::Ask,
        confirm: false,
        made_by: None,
    };
    change(&mut new);
    scene.world.run(async { link::create(&scene.world.core(), &scene.workspace, new, |_, _| true).await })
}

fn open(scene: &Scene, url: &str) -> connections::error::Result<Link> {
    let token = url.rsplit('/').next().unwrap().to_owned();
    scene.world.run(async { link::open(&scene.world.core(), &token).await })
}

fn read_link(scene: &Scene, link: &Link) -> Link {
    scene.world.run(async {
        connections::store::links::get(scene.world.core().db(), &scene.workspace, &link.id).await.unwrap().unwrap()
    })
}

fn confirm(scene: &Scene, link: &Link, user: &str) -> connections::error::Result<Link> {
    scene.world.run(async { link::confirm(&scene.world.core(), &scene.workspace, &link.id, user).await })
}

#[test]
fn a_link_connects_once_for_whom_it_was_made() {
    let scene = Scene::new();
    let (link, url) = new_link(&scene, |_| {});
    assert!(!scene.world.db.dump().contains(url.rsplit('/').next().unwrap()), "only its hash is stored");
    let opened = open(&scene, &url).unwrap();
    let flow = scene.flow(&Wish::of_link(&opened), "ann");
    let row = scene.row(flow.connection.as_ref().unwrap());
    assert_eq!((row.user.unwrap().id.as_str(), row.status), ("guest", Status::Connected));
    let after = read_link(&scene, &link);
    assert_eq!((after.status, after.result), (LinkStatus::Used, flow.connection));
    assert_eq!(open(&scene, &url).unwrap_err().code, Code::LinkEnded);
}

#[test]
fn a_link_survives_a_denial_and_ends_by_its_time() {
    let scene = Scene::new();
    let (_, url) = new_link(&scene, |_| {});
    let wish = Wish::of_link(&open(&scene, &url).unwrap());
    let (_, state) = scene.world.acme.consent(&scene.start(&wish, BROWSER), "ann");
    let back = Returned { state: Some(state), error: Some("access_denied".into()), ..Returned::default() };
    assert_eq!(ended(&scene, &scene.come_back(back, BROWSER)).0, Outcome::Denied);
    assert!(open(&scene, &url).is_ok(), "the same browser may try again");
    scene.world.pass(3601);
    assert_eq!(open(&scene, &url).unwrap_err().code, Code::LinkEnded);
}

#[test]
fn a_link_belongs_to_the_browser_that_began_it_last() {
    let scene = Scene::new();
    let (link, _) = new_link(&scene, |_| {});
    let take = |browser: &str| {
        scene.world.run(async {
            let core = scene.world.core();
            connections::store::links::take(core.db(), &link, browser, "why", core.now()).await.unwrap();
            connections::store::links::get(core.db(), &link.workspace, &link.id).await.unwrap().unwrap().session_hash
        })
    };
    for browser in ["first", "first", "second", "first"] {
        assert_eq!(take(browser).as_deref(), Some(browser));
    }
}

#[test]
fn what_a_link_with_confirm_made_is_used_only_after_confirmation_of_the_same_person() {
    let scene = Scene::new();
    let (link, url) = new_link(&scene, |new| new.confirm = true);
    assert_eq!(confirm(&scene, &link, "guest").unwrap_err().code, Code::Conflict, "not used yet");
    let flow = scene.flow(&Wish::of_link(&open(&scene, &url).unwrap()), "ann");
    let id = flow.connection.unwrap();
    assert_eq!(scene.row(&id).status, Status::AwaitingConfirmation);
    let refused = scene.resolve(&id, Ask::default()).map(|_| ()).unwrap_err();
    assert_eq!(refused.code, Code::AwaitingConfirmation);
    assert_eq!(confirm(&scene, &link, "somebody").unwrap_err().code, Code::InvalidRequest);
    assert_eq!(confirm(&scene, &link, "guest").unwrap().status, LinkStatus::Used);
    scene.resolve(&id, Ask::default()).unwrap();
    assert_eq!(confirm(&scene, &link, "guest").unwrap_err().code, Code::Conflict, "once");
}

#[test]
fn what_died_before_it_was_confirmed_is_dead_and_not_connected() {
    let scene = Scene::new();
    let (link, url) = new_link(&scene, |new| new.confirm = true);
    let id = scene.flow(&Wish::of_link(&open(&scene, &url).unwrap()), "ann").connection.unwrap();
    scene.world.acme.withdraw("ann");
    scene.world.pass(4000);
    scene.errand(&id, Errand::Check);
    assert_eq!(scene.row(&id).status, Status::AwaitingConfirmation);
    confirm(&scene, &link, "guest").unwrap();
    let refused = scene.resolve(&id, Ask::default()).map(|_| ()).unwrap_err();
    assert_eq!((refused.code, refused.hints.reason.as_deref()), (Code::NeedsReconnect, Some("revoked")));
}

#[test]
fn a_repair_by_link_with_confirm_lets_the_old_credential_serve_until_then() {
    let scene = Scene::new();
    let owner = Wish { user: Some(User { id: "guest".into(), name: None }), ..scene.wish() };
    let id = scene.flow(&owner, "ann").connection.unwrap();
    let old = tokens(&scene.credential(&id)).0;
    let (link, url) = new_link(&scene, |new| {
        new.app = None;
        new.connection = Some(id.clone());
        new.confirm = true;
    });
    let flow = scene.flow(&Wish::of_link(&open(&scene, &url).unwrap()), "ann");
    assert_eq!(flow.outcome, Outcome::AwaitingConfirmation);
    assert_eq!(read_link(&scene, &link).status, LinkStatus::AwaitingConfirmation);
    let answered = scene.resolve(&id, Ask::default()).unwrap();
    assert_eq!(access(&answered.resolved), old);
    assert_eq!(confirm(&scene, &link, "eve").unwrap_err().code, Code::InvalidRequest);
    assert_eq!(confirm(&scene, &link, "guest").unwrap().status, LinkStatus::Used);
    assert_eq!(scene.row(&id).generation, 2);
    assert_ne!(access(&scene.resolve(&id, Ask::default()).unwrap().resolved), old);
}

/// A guest's connection, and a link by which its repair waits for confirmation.
fn repair_that_waits(scene: &Scene) -> (ConnectionId, Link, Authorization) {
    let owner = Wish { user: Some(User { id: "guest".into(), name: None }), ..scene.wish() };
    let id = scene.flow(&owner, "ann").connection.unwrap();
    let (link, url) = new_link(scene, |new| {
        new.connection = Some(id.clone());
        new.confirm = true;
    });
    let flow = scene.flow(&Wish::of_link(&open(scene, &url).unwrap()), "ann");
    (id, link, flow)
}

#[test]
fn a_confirmation_does_not_replace_what_the_connection_became_meanwhile() {
    let scene = Scene::new();
    let (id, link, flow) = repair_that_waits(&scene);
    let newer = Wish { user: Some(User { id: "guest".into(), name: None }), ..scene.repair_of(&id) };
    scene.flow(&newer, "ann");
    let before = scene.row(&id);
    assert_eq!(confirm(&scene, &link, "guest").unwrap_err().code, Code::Conflict);
    assert_eq!(scene.row(&id), before);
    let after = scene.read_flow(&flow.id);
    assert_eq!((after.outcome, after.error.as_deref()), (Outcome::Failed, Some("conflict")));
    assert_eq!(after.sealed_grant, None);
    let ended = read_link(&scene, &link);
    assert_eq!((ended.status, ended.result), (LinkStatus::Used, None), "nothing came of it");
    assert!(scene.world.acme.is_alive("ann"), "the connection lives on the same grant");
}

#[test]
fn a_confirmation_counts_from_when_the_grant_began_to_wait() {
    let scene = Scene::new();
    let guest = || Some(User { id: "guest".into(), name: None });
    let id = scene.flow(&Wish { user: guest(), ..scene.wish() }, "ann").connection.unwrap();
    let (link, url) = new_link(&scene, |new| (new.connection, new.confirm) = (Some(id.clone()), true));
    let begun = scene.start(&Wish::of_link(&open(&scene, &url).unwrap()), BROWSER);
    scene.flow(&Wish { user: guest(), ..scene.repair_of(&id) }, "ann");
    let (code, state) = scene.world.acme.consent(&begun, "ann");
    scene.come_back(returned(code, state), BROWSER);
    confirm(&scene, &link, "guest").unwrap();
    assert_eq!(scene.row(&id).generation, 3);
    let (link, url) = new_link(&scene, |new| (new.on_duplicate, new.confirm) = (OnDuplicate::Reuse, true));
    let flow = scene.flow(&Wish::of_link(&open(&scene, &url).unwrap()), "ann");
    assert_eq!((flow.outcome, flow.connection.as_ref()), (Outcome::AwaitingConfirmation, Some(&id)));
    confirm(&scene, &link, "guest").unwrap();
    assert_eq!((scene.row(&id).generation, connections_of(&scene)), (4, 1), "a reused one, too");
}

#[test]
fn a_confirmation_of_what_was_disconnected_confirms_nothing() {
    let scene = Scene::new();
    let (id, link, _) = repair_that_waits(&scene);
    scene.disconnect(&id).unwrap();
    assert_eq!(confirm(&scene, &link, "guest").unwrap_err().code, Code::Conflict);
    assert!(!scene.world.acme.is_alive("ann"));
    let (link, url) = new_link(&scene, |new| new.confirm = true);
    let id = scene.flow(&Wish::of_link(&open(&scene, &url).unwrap()), "bob").connection.unwrap();
    scene.disconnect(&id).unwrap();
    assert_eq!(confirm(&scene, &link, "guest").unwrap_err().code, Code::Conflict);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM events WHERE type = 'confirmed'"), 0);
}

#[test]
fn a_confirmation_that_fails_may_be_sent_again() {
    let scene = Scene::new();
    let (id, link, _) = repair_that_waits(&scene);
    let (other, url) = new_link(&scene, |new| new.confirm = true);
    let made = scene.flow(&Wish::of_link(&open(&scene, &url).unwrap()), "bob").connection.unwrap();
    for (link, id) in [(link, id), (other, made)] {
        let fault = Fault { sql: "INSERT INTO events", times: 1, wound: Wound::Before };
        scene.world.db.faults.borrow_mut().push(fault);
        assert_eq!(confirm(&scene, &link, "guest").unwrap_err().code, Code::DatabaseUnavailable);
        assert_eq!(confirm(&scene, &link, "guest").unwrap().status, LinkStatus::Used);
        assert_eq!(scene.row(&id).status, Status::Connected);
    }
}

#[test]
fn a_confirmation_that_comes_too_late_changes_nothing() {
    let scene = Scene::new();
    let (id, link, _) = repair_that_waits(&scene);
    scene.world.pass(3601);
    let code = confirm(&scene, &link, "guest").unwrap_err().code;
    assert!(matches!(code, Code::Conflict | Code::LinkEnded), "{code:?}");
    assert_eq!(scene.row(&id).generation, 1);
}

#[test]
fn a_link_says_what_happens_to_a_duplicate() {
    for (wish, count, outcome) in [
        (OnDuplicate::Reuse, 1, Outcome::Done),
        (OnDuplicate::Create, 2, Outcome::Done),
        (OnDuplicate::Ask, 1, Outcome::Undecided),
    ] {
        let scene = Scene::new();
        let owner = Wish { user: Some(User { id: "guest".into(), name: None }), ..scene.wish() };
        scene.flow(&owner, "ann");
        let (_, url) = new_link(&scene, |new| new.on_duplicate = wish);
        let flow = scene.flow(&Wish::of_link(&open(&scene, &url).unwrap()), "ann");
        assert_eq!((flow.outcome, connections_of(&scene)), (outcome, count), "{wish:?}");
    }
}

#[test]
fn a_link_for_a_connection_takes_its_app_and_owner() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let (link, _) = new_link(&scene, |new| {
        new.app = None;
        new.user = None;
        new.connection = Some(id.clone());
    });
    assert_eq!((link.app.as_str(), link.user.unwrap().id.as_str()), ("acme", "ann"));
    let refused = make_link(&scene, |new| new.connection = Some(id.clone())).unwrap_err();
    assert_eq!((refused.code, refused.hints.errors[0].field.as_str()), (Code::InvalidRequest, "user.id"));
}

#[test]
fn a_link_with_confirm_names_whom_to_confirm() {
    let scene = Scene::new();
    let nobodys = Wish { user: None, ..scene.wish() };
    let id = scene.flow(&nobodys, "ann").connection.unwrap();
    for connection in [None, Some(id.clone())] {
        let refused = make_link(&scene, |new| {
            (new.connection, new.user, new.confirm) = (connection, None, true);
        });
        let refused = refused.unwrap_err();
        assert_eq!((refused.code, refused.hints.errors[0].field.as_str()), (Code::InvalidRequest, "user"));
    }
    let (link, url) = new_link(&scene, |new| (new.connection, new.confirm) = (Some(id.clone()), true));
    scene.flow(&Wish::of_link(&open(&scene, &url).unwrap()), "ann");
    assert_eq!(confirm(&scene, &link, "guest").unwrap().status, LinkStatus::Used);
    let row = scene.row(&id);
    assert_eq!((row.generation, row.user), (2, None), "a repaired connection keeps its owner");
}

#[test]
fn a_link_that_can_not_work_is_not_made() {
    let scene = Scene::new();
    scene.world.db.tamper("UPDATE oauth_clients SET destinations = '{}'");
    assert_eq!(make_link(&scene, |_| {}).unwrap_err().code, Code::ClientMissing);
    scene.world.db.tamper("UPDATE oauth_clients SET is_current = 0");
    assert_eq!(make_link(&scene, |_| {}).unwrap_err().code, Code::ClientMissing);
    assert_eq!(scene.world.db.number("SELECT count(*) FROM connect_links"), 0);
}

#[test]
fn a_link_is_used_once_also_from_two_tabs() {
    let scene = Scene::new();
    let (link, url) = new_link(&scene, |_| {});
    let wish = Wish::of_link(&open(&scene, &url).unwrap());
    let tabs = ["ann", "bob"].map(|account| {
        let (code, state) = scene.world.acme.consent(&scene.start(&wish, BROWSER), account);
        returned(code, state)
    });
    let [first, second] = tabs.map(|tab| scene.come_back(tab, BROWSER));
    assert_eq!(ended(&scene, &first), (Outcome::Done, None));
    assert_eq!(ended(&scene, &second), failed("link_used"));
    assert_eq!((connections_of(&scene), read_link(&scene, &link).status), (1, LinkStatus::Used));
    assert!(scene.world.acme.is_alive("ann") && !scene.world.acme.is_alive("bob"), "what came too late is revoked");
}

#[test]
fn a_link_is_used_once_however_many_tabs_finish_at_once() {
    for (seed, confirm) in (0..8).flat_map(|seed| [(seed, false), (seed, true)]) {
        let scene = Scene::in_world(&World::new(Way::Direct, Some(seed)), &json!({}));
        let (link, url) = new_link(&scene, |new| new.confirm = confirm);
        let wish = Wish::of_link(&open(&scene, &url).unwrap());
        // All have seen that the link is open before the first one stores anything.
        let fault = Fault { sql: "SELECT name FROM connections", times: 4, wound: Wound::Slow(3000) };
        scene.world.db.faults.borrow_mut().push(fault);
        let landings = scene.world.at_once(["ann", "bob", "ann", "carl"].map(|account| {
            let (code, state) = scene.world.acme.consent(&scene.start(&wish, BROWSER), account);
            let (core, client, back) = (scene.world.core(), scene.client.clone(), returned(code, state));
            async move {
                let sessions = [BROWSER.to_owned()];
                connections::connect::callback::callback(&core, &client, back, &sessions).await.unwrap()
            }
        }));
        let ends: Vec<_> = landings.iter().map(|landing| ended(&scene, landing)).collect();
        let well = if confirm { Outcome::AwaitingConfirmation } else { Outcome::Done };
        let done = ends.iter().filter(|end| end.0 == well).count();
        let late = ends.iter().filter(|end| **end == failed("link_used")).count();
        assert_eq!((done, late, connections_of(&scene)), (1, 3, 1), "seed {seed} {ends:?}");
        assert_eq!(scene.world.db.number("SELECT count(*) FROM events WHERE type = 'connected'"), 1);
        let made = scene.world.db.value("SELECT id FROM connections");
        assert_eq!(made.as_str().unwrap(), read_link(&scene, &link).result.unwrap().as_str());
    }
}

#[test]
fn a_choice_that_comes_after_the_link_was_used_elsewhere_makes_nothing() {
    let scene = Scene::new();
    let owner = Wish { user: Some(User { id: "guest".into(), name: None }), ..scene.wish() };
    scene.flow(&owner, "ann");
    let (_, url) = new_link(&scene, |_| {});
    let wish = Wish::of_link(&open(&scene, &url).unwrap());
    let asked = scene.flow(&wish, "ann");
    assert_eq!(scene.flow(&wish, "bob").outcome, Outcome::Done);
    decide(&scene, &asked, Choice::Both).unwrap();
    let after = scene.read_flow(&asked.id);
    assert_eq!((after.outcome, after.error.as_deref()), (Outcome::Failed, Some("link_used")));
    assert_eq!((connections_of(&scene), after.sealed_grant), (2, None));
}

#[test]
fn a_flow_stays_within_the_budget() {
    let scene = Scene::new();
    let (_, url) = new_link(&scene, |new| new.confirm = true);
    let opened = open(&scene, &url).unwrap();
    let first = scene.world.core();
    let at = scene.world.run(start::start(&first, &Wish::of_link(&opened), BROWSER)).unwrap();
    assert!(first.ports.meter.spent.get() <= 8, "{}", first.ports.meter.spent.get());
    let (code, state) = scene.world.acme.consent(&at, "ann");
    let (later, sessions) = (scene.world.core(), [BROWSER.to_owned()]);
    let back = returned(code, state);
    scene.world.run(connections::connect::callback::callback(&later, &scene.client, back, &sessions)).unwrap();
    assert!(later.ports.meter.spent.get() <= 14, "{}", later.ports.meter.spent.get());
}

// ---- what nobody decided ----

#[test]
fn a_grant_that_nobody_chose_in_time_is_revoked_by_the_clock_and_the_old_one_lives() {
    let scene = Scene::new();
    let (id, flow, before) = other_account(&scene);
    scene.tick();
    assert!(scene.world.acme.is_alive("bob"), "there is time left");
    scene.world.pass(601);
    scene.tick();
    assert!(!scene.world.acme.is_alive("bob"));
    assert!(scene.world.acme.is_alive("ann"));
    assert_eq!(scene.row(&id).account, before.account);
    assert_eq!(scene.read_flow(&flow.id).outcome, Outcome::Discarded);
    let asked = scene.world.acme.requests();
    scene.tick();
    assert_eq!(scene.world.acme.requests(), asked, "once is enough");
}

#[test]
fn a_connection_that_nobody_confirmed_for_a_week_is_disconnected() {
    let scene = Scene::new();
    let (_, url) = new_link(&scene, |new| new.confirm = true);
    let wish = Wish::of_link(&open(&scene, &url).unwrap());
    let id = scene.flow(&wish, "ann").connection.unwrap();
    scene.world.pass(7 * 86_400 - 60);
    scene.tick();
    assert_eq!(scene.row(&id).status, Status::AwaitingConfirmation);
    scene.world.pass(120);
    scene.tick();
    scene.world.pass(200);
    scene.tick();
    assert_eq!(connections_of(&scene), 0);
    assert!(!scene.world.acme.is_alive("ann"));
}
