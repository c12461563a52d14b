//! Webhooks: what is told, to whom, how often, and what a receiver that fails, hangs, redirects or lies can do.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connections::app::AppId;
use connections::disconnect;
use connections::http::{self, Method};
use connections::ids::ConnectionId;
use connections::ports::{AppResponse, Clock, OutboundRequest, RefreshReason};
use connections::resolve::{ResolveRequest, deferred};
use connections::undo;
use connections::webhook::{AppEventPayload, WebhookEventType, retry};
use connections::webhooks::{app_events, sending};
use ring::hmac;
use serde_json::{Value, json};

use crate::contract::assert_described;
use crate::http::{call, first_key, make_key, request};
use crate::support::acme::CANARY;
use crate::support::database::Fault;
use crate::support::fixture::test_actor;
use crate::support::{Fixture, Reply};

const HOOK: &str = "https://hooks.example/in";

/// One request that a receiver got.
#[derive(Debug, Clone)]
struct Received {
    host: String,
    headers: BTreeMap<String, String>,
    body: String,
    at: i64,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn event(&self) -> (String, String) {
        (self.headers["webhook-id"].clone(), self.json()["type"].as_str().unwrap().to_owned())
    }

    /// Whether one of the signatures is made with the secret.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap());
        let text = format!("{}.{}.{}", self.headers["webhook-id"], self.headers["webhook-timestamp"], self.body);
        self.headers["webhook-signature"].split(' ').any(|signature| {
            let bytes = STANDARD.decode(signature.strip_prefix("v1,").unwrap()).unwrap();
            hmac::verify(&key, text.as_bytes(), &bytes).is_ok()
        })
    }
}

/// What a receiver answers: a status, and headers.
type Answer = (u16, Vec<(String, String)>);

/// The receivers, all at hosts that begin with `hooks`.
#[derive(Clone, Default)]
struct Receivers {
    got: Rc<RefCell<Vec<Received>>>,
    /// What a host answers. Without an entry: 204.
    answers: Rc<RefCell<BTreeMap<String, Answer>>>,
}

impl Receivers {
    fn listen(fixture: &Fixture) -> Self {
        let receivers = Self::default();
        let (own, runtime) = (receivers.clone(), fixture.world.runtime.clone());
        *fixture.world.acme.interceptor.borrow_mut() = Some(Box::new(move |request: &OutboundRequest| {
            let host = request.url.host().to_owned();
            if !host.starts_with("hooks") {
                return None;
            }
            assert!(!request.reads_body, "nothing of the answer's body is read");
            let headers = request.headers.iter().cloned().collect();
            let body = request.body.clone().unwrap();
            own.got.borrow_mut().push(Received { host: host.clone(), headers, body, at: runtime.now() });
            let (status, headers) = own.answers.borrow().get(&host).cloned().unwrap_or((204, vec![]));
            Some(AppResponse { status, headers, body: b"<script>secret of the receiver</script>".to_vec() })
        }));
        receivers
    }

    fn answer(&self, host: &str, status: u16, headers: &[(&str, &str)]) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.answers.borrow_mut().insert(host.to_owned(), (status, headers));
    }

    fn take(&self) -> Vec<Received> {
        self.got.take()
    }

    fn types(&self) -> Vec<String> {
        self.got.borrow().iter().map(|one| one.event().1).collect()
    }
}

/// A call with its deferred work.
fn call_and_finish(fixture: &Fixture, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let mut request = request(method, path, if body.is_null() { vec![] } else { body.to_string().into_bytes() });
    request.headers.push(("authorization".into(), format!("Bearer {}", first_key(fixture))));
    let context = fixture.world.context();
    let mut response = fixture.world.run(async { http::handle(&context, &request).await });
    for task in std::mem::take(&mut response.deferred) {
        fixture.world.run(async { deferred::run(&context, task).await });
    }
    let answer = serde_json::from_str(&response.body).unwrap();
    assert_described(request.method, &request.path, response.status, &answer);
    (response.status, answer)
}

fn all_types() -> Vec<&'static str> {
    WebhookEventType::ALL.map(WebhookEventType::as_str).to_vec()
}

/// A webhook for all types: its id and its secret.
fn make_webhook(fixture: &Fixture, url: &str) -> (String, String) {
    let (status, made) =
        call(fixture, &first_key(fixture), Method::Post, "/v1/webhooks", &json!({ "url": url, "types": all_types() }));
    assert_eq!(status, 201, "{made}");
    (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

/// A workspace with one webhook for all types, and its receiver.
struct Told {
    fixture: Fixture,
    receivers: Receivers,
    webhook: String,
    secret: String,
}

fn told() -> Told {
    let fixture = Fixture::new();
    let receivers = Receivers::listen(&fixture);
    let (webhook, secret) = make_webhook(&fixture, HOOK);
    Told { fixture, receivers, webhook, secret }
}

/// The same with a connection, of which the receiver was told.
fn told_of_connection() -> (Told, ConnectionId) {
    let told = told();
    let id = told.fixture.connect("ann");
    run_for(&told.fixture, 300);
    told.receivers.take();
    (told, id)
}

fn send_due(fixture: &Fixture) {
    fixture.world.run(async { sending::send_due(&fixture.world.context(), &fixture.workspace).await });
}

fn count(fixture: &Fixture, table: &str) -> i64 {
    fixture.world.db.query_number(&format!("SELECT count(*) FROM {table}"))
}

fn get(fixture: &Fixture, path: &str) -> Value {
    let (status, answer) = call(fixture, &first_key(fixture), Method::Get, path, &Value::Null);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The app refuses the connection for good.
fn break_connection(fixture: &Fixture, id: &ConnectionId) {
    fixture.world.acme.withdraw_grants("ann");
    fixture.refresh(id, RefreshReason::Force);
    assert_eq!(fixture.load_connection(id).status.as_str(), "needs_reconnect");
}

/// Scheduled runs every five minutes for so many seconds.
fn run_for(fixture: &Fixture, seconds: i64) {
    let end = fixture.world.now().plus(seconds);
    while fixture.world.now() < end {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
}

#[test]
fn a_change_is_told_behind_its_answer_with_what_it_concerns() {
    let Told { fixture, receivers, webhook, secret } = told();
    assert!(secret.starts_with("whsec_") && STANDARD.decode(secret.get(6..).unwrap()).unwrap().len() == 32);
    let id = fixture.connect("ann");
    fixture
        .resolve_and_finish(&id, ResolveRequest { workflow: Some("billing".into()), ..ResolveRequest::default() })
        .unwrap();
    let (status, _) = call_and_finish(&fixture, Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
    assert_eq!(status, 200);
    let got = receivers.take();
    let told: Vec<_> = got.iter().map(|one| one.event().1).collect();
    assert_eq!(told, ["connection.created", "connection.deleted"], "what waited is sent with it");
    for one in &got {
        assert!(one.is_signed_with(&secret));
        assert_eq!((one.headers["content-type"].as_str(), one.host.as_str()), ("application/json", "hooks.example"));
        assert_eq!(one.json()["id"].as_str(), Some(one.headers["webhook-id"].as_str()));
    }
    let body = got[1].json();
    assert_eq!(body["workspace"], json!(fixture.workspace));
    assert_eq!(body["data"]["workflows"], json!({ "count": 1, "ids": ["billing"] }));
    assert_eq!(
        body["data"]["connection"],
        json!({ "id": id, "app": "acme", "name": "Acme (ann@acme.example)", "environment": null, "user": "ann" })
    );
    assert!(body["data"]["summary"].as_str().unwrap().starts_with("1 workflow uses it."), "{body}");
    assert_eq!(
        got[0].json()["data"]["reconnect_url"],
        json!(format!("https://c.example.com/connections/{id}/reconnect"))
    );
    assert_eq!(body["data"].get("reconnect_url"), None);

    let deliveries = get(&fixture, &format!("/v1/webhooks/{webhook}/deliveries"));
    let shown: Vec<_> = deliveries["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["status"].clone(), one["last_status_code"].clone(), one["attempts"].clone()))
        .collect();
    assert_eq!(shown, vec![(json!("delivered"), json!(204), json!(1)); 2]);
    assert!(!deliveries.to_string().contains("secret of the receiver"));
    // The audit log has the same event.
    let log = get(&fixture, "/v1/events?type=disconnected");
    assert_eq!(log["data"][0]["id"], body["id"]);
    let stored = fixture.world.db.dump_tables();
    assert!(!stored.contains(&secret) && !stored.contains("secret of the receiver"));
}

#[test]
fn nothing_is_written_for_a_workspace_without_webhooks_or_for_other_types() {
    let fixture = Fixture::new();
    let other = fixture.other_workspace();
    make_webhook(&other, HOOK);
    let id = fixture.connect("ann");
    break_connection(&fixture, &id);
    fixture.disconnect(&id).unwrap();
    assert_eq!((count(&fixture, "outbox"), count(&fixture, "deliveries")), (0, 0));
    let body = json!({ "url": HOOK, "types": ["connection.account_changed"] });
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Post, "/v1/webhooks", &body).0, 201);
    let id = fixture.connect("ann");
    fixture.disconnect(&id).unwrap();
    assert_eq!((count(&fixture, "outbox"), count(&fixture, "deliveries")), (0, 0));
}

#[test]
fn a_resolve_has_no_statement_and_no_row_more_with_webhooks() {
    let cost = |with_webhook: bool| {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        if with_webhook {
            make_webhook(&fixture, HOOK);
        }
        fixture.resolve_and_finish(&id, ResolveRequest::default()).unwrap();
        fixture.world.db.reset_counts();
        fixture.resolve_and_finish(&id, ResolveRequest::default()).unwrap();
        let db = &fixture.world.db;
        (db.statements.get(), db.round_trips.get(), db.writes.get(), db.rows_scanned.get(), db.vm_steps.get())
    };
    assert_eq!(cost(false), cost(true));
}

#[test]
fn a_refresh_writes_no_row_more_with_webhooks() {
    let cost = |with_webhook: bool| {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        if with_webhook {
            make_webhook(&fixture, HOOK);
            send_due(&fixture);
        }
        fixture.world.db.reset_counts();
        fixture.refresh(&id, RefreshReason::Force);
        let db = &fixture.world.db;
        let changes: u64 = db.changes.borrow().values().sum();
        (db.statements.get(), changes, db.rows_scanned.get())
    };
    assert_eq!(cost(false), cost(true));
}

#[test]
fn what_is_repaired_before_the_next_run_makes_no_noise() {
    let (Told { fixture, receivers, .. }, id) = told_of_connection();
    break_connection(&fixture, &id);
    fixture.run_scheduled();
    assert_eq!(receivers.types(), [""; 0], "held");
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    run_for(&fixture, 900);
    assert_eq!(receivers.types(), [""; 0], "neither broken nor recovered");
    assert_eq!(count(&fixture, "outbox WHERE is_held = 1"), 0);

    break_connection(&fixture, &id);
    run_for(&fixture, 900);
    let got = receivers.take();
    assert_eq!(got.iter().map(|one| one.event().1).collect::<Vec<_>>(), ["connection.needs_reconnect"], "once");
    assert_eq!(got[0].json()["data"]["reason"], "revoked");
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    run_for(&fixture, 900);
    assert_eq!(receivers.types(), ["connection.recovered"]);
    receivers.take();
    // And the next time again.
    break_connection(&fixture, &id);
    run_for(&fixture, 900);
    assert_eq!(receivers.types(), ["connection.needs_reconnect"]);
    receivers.take();
    fixture.disconnect(&id).unwrap();
    run_for(&fixture, 900);
    assert_eq!(receivers.types(), ["connection.deleted"]);
    assert_eq!(count(&fixture, "told_states"), 0);
}

#[test]
fn a_receiver_that_fails_is_tried_for_three_days_with_the_same_id() {
    let Told { fixture, receivers, webhook, secret } = told();
    receivers.answer("hooks.example", 500, &[]);
    fixture.connect("ann");
    send_due(&fixture);
    run_for(&fixture, 4 * 86_400);
    let got = receivers.take();
    assert_eq!(got.len(), retry::PAUSES.len() + 1);
    assert_eq!(got.iter().map(Received::event).collect::<BTreeSet<_>>().len(), 1, "one id");
    assert_eq!(got.iter().map(|one| one.body.clone()).collect::<BTreeSet<_>>().len(), 1, "one body");
    assert!(got.iter().all(|one| one.is_signed_with(&secret)));
    for (at, (pause, pair)) in retry::PAUSES.iter().zip(got.windows(2)).enumerate() {
        let waited = pair[1].at - pair[0].at;
        // The run comes every five minutes, and a webhook that fails is left alone for up to an hour.
        assert!((*pause..=pause + pause / 10 + 3_600 + 600).contains(&waited), "{at}: {waited} instead of {pause}");
    }
    let shown = get(&fixture, &format!("/v1/webhooks/{webhook}/deliveries?status=failed"));
    assert_eq!(shown["data"][0]["next_attempt_at"], Value::Null);
    assert_eq!(
        (&shown["data"][0]["last_error"], &shown["data"][0]["last_status_code"]),
        (&json!("status"), &json!(500))
    );

    // Somebody repairs the receiver, and has it sent again.
    receivers.answer("hooks.example", 200, &[]);
    let path = format!("/v1/webhooks/{webhook}/deliveries/{}/redeliver", got[0].event().0);
    let (status, sent) = call(&fixture, &first_key(&fixture), Method::Post, &path, &Value::Null);
    assert_eq!((status, &sent["status"]), (200, &json!("delivered")));
    assert_eq!(receivers.take()[0].event(), got[0].event());
    assert_eq!(get(&fixture, &format!("/v1/webhooks/{webhook}"))["failing_since"], Value::Null);
}

#[test]
fn a_receiver_that_hangs_holds_up_nobody_else_and_gets_the_same_id_again() {
    let fixture = Fixture::new();
    let receivers = Receivers::listen(&fixture);
    make_webhook(&fixture, "https://hooks-slow.example/in");
    make_webhook(&fixture, HOOK);
    let slow = Rc::new(Cell::new(true));
    let (own, is_slow, acme) = (receivers.clone(), Rc::clone(&slow), Rc::clone(&fixture.world.acme));
    let inner = fixture.world.acme.interceptor.take().unwrap();
    *fixture.world.acme.interceptor.borrow_mut() = Some(Box::new(move |request: &OutboundRequest| {
        // It answers 200, but too late.
        let late = is_slow.get() && request.url.host() == "hooks-slow.example";
        acme.latency_ms.set(if late { 15_000 } else { 100 });
        inner(request)
    }));
    for account in ["ann", "bob", "cid", "dan"] {
        fixture.connect(account);
    }
    let before = fixture.world.now();
    fixture.world.advance_clock(60);
    fixture.run_scheduled();
    let got = own.take();
    let of = |host: &str| got.iter().filter(|one| one.host == host).map(|one| one.event().0).collect::<Vec<_>>();
    assert_eq!(of("hooks.example").len(), 4);
    assert_eq!(of("hooks-slow.example").len(), 1, "the first that hangs ends the turn of this receiver");
    assert!(fixture.world.now().since(before) < 60 + 30, "{}", fixture.world.now().since(before));
    slow.set(false);
    run_for(&fixture, 1_800);
    let again = own.take();
    assert!(again.iter().all(|one| one.host == "hooks-slow.example"));
    let ids: BTreeSet<_> = again.iter().map(|one| one.event().0).collect();
    assert_eq!((again.len(), ids), (4, of("hooks.example").into_iter().collect()), "nothing is lost");
    assert!(
        again.iter().any(|one| one.event().0 == of("hooks-slow.example")[0]),
        "what it may have handled comes again, with its id"
    );
}

#[test]
fn redirects_are_not_followed_and_a_wait_is_respected() {
    let Told { fixture, receivers, webhook, .. } = told();
    receivers.answer("hooks.example", 302, &[("location", "https://hooks-evil.example/")]);
    fixture.connect("ann");
    send_due(&fixture);
    let shown = get(&fixture, &format!("/v1/webhooks/{webhook}/deliveries"));
    assert_eq!(shown["data"][0]["last_error"], "redirect");
    assert!(receivers.take().iter().all(|one| one.host == "hooks.example"));
    receivers.answer("hooks.example", 429, &[("retry-after", "7200")]);
    run_for(&fixture, 600);
    assert_eq!(receivers.take().len(), 1);
    run_for(&fixture, 6_000);
    assert_eq!(receivers.take().len(), 0, "it asked for two hours");
    receivers.answer("hooks.example", 200, &[]);
    run_for(&fixture, 1_800);
    assert_eq!(receivers.take().len(), 1);
}

#[test]
fn a_receiver_that_wants_no_more_is_switched_off_at_once() {
    let Told { fixture, receivers, webhook, .. } = told();
    receivers.answer("hooks.example", 410, &[]);
    fixture.connect("ann");
    send_due(&fixture);
    let shown = get(&fixture, &format!("/v1/webhooks/{webhook}"));
    assert_eq!((&shown["enabled"], &shown["disabled_reason"]), (&json!(false), &json!("gone")));
    let log = get(&fixture, "/v1/events?type=webhook_disabled");
    assert_eq!((&log["data"][0]["target"], &log["data"][0]["detail"]), (&json!(webhook), &json!("gone")));
    receivers.take();
    fixture.connect("bob");
    run_for(&fixture, 900);
    assert_eq!(receivers.take().len(), 0);
    let test =
        call(&fixture, &first_key(&fixture), Method::Post, &format!("/v1/webhooks/{webhook}/test"), &Value::Null);
    assert_eq!((test.0, &test.1["code"]), (409, &json!("conflict")));
}

#[test]
fn a_webhook_that_fails_for_five_days_is_switched_off_and_its_owner_told() {
    let Told { fixture, receivers, webhook, .. } = told();
    receivers.answer("hooks.example", 500, &[]);
    let path = format!("/v1/webhooks/{webhook}");
    for day in 0..6 {
        assert_eq!(get(&fixture, &path)["enabled"], true, "day {day}");
        fixture.connect(&format!("account-{day}"));
        run_for(&fixture, 86_400);
    }
    let shown = get(&fixture, &path);
    assert_eq!((&shown["enabled"], &shown["disabled_reason"]), (&json!(false), &json!("failing")));
    assert_eq!(get(&fixture, "/v1/events?type=webhook_disabled")["data"].as_array().unwrap().len(), 1);
    let is_shown = |page: &str| crate::settings::admin(&fixture).get(page).body.contains("1 webhook was switched off");
    assert!(is_shown("/settings/apps") && is_shown("/settings/webhooks"));
    receivers.take();
    run_for(&fixture, 86_400);
    assert_eq!(receivers.take().len(), 0);
    // Switched on again, it gets what was pending.
    receivers.answer("hooks.example", 200, &[]);
    let (status, on) = call(&fixture, &first_key(&fixture), Method::Patch, &path, &json!({ "enabled": true }));
    assert_eq!((status, &on["enabled"], &on["failing_since"]), (200, &json!(true), &Value::Null));
    run_for(&fixture, 600);
    assert!(!receivers.take().is_empty());
    assert!(!is_shown("/settings/apps") && !is_shown("/settings/webhooks"));
}

#[test]
fn faults_of_the_database_at_any_step_lose_nothing_and_send_nothing_under_another_id() {
    for fault in [Fault::BeforeCommit, Fault::AfterCommit, Fault::NoAnswer] {
        for step in 0..6 {
            let Told { fixture, receivers, .. } = told();
            fixture.connect("ann");
            fixture.connect("bob");
            let batches = Cell::new(0);
            *fixture.world.db.fault_plan.borrow_mut() = Some(Box::new(move |_| {
                batches.set(batches.get() + 1);
                (batches.get() == step + 1).then_some(fault)
            }));
            send_due(&fixture);
            fixture.world.db.fault_plan.take();
            run_for(&fixture, 1_200);
            let got = receivers.take();
            let ids: BTreeSet<_> = got.iter().map(Received::event).collect();
            assert_eq!(ids.len(), 2, "{fault:?} at step {step}");
            let bodies: BTreeSet<_> = got.iter().map(|one| one.body.clone()).collect();
            assert_eq!(bodies.len(), 2, "{fault:?} at step {step}");
            assert!(got.len() <= 4, "{fault:?} at step {step}: {}", got.len());
            assert_eq!(count(&fixture, "deliveries WHERE status = 'delivered'"), 2, "{fault:?} at step {step}");
        }
    }
}

#[test]
fn the_event_of_a_change_that_is_not_applied_is_not_told() {
    let (Told { fixture, receivers, .. }, id) = told_of_connection();
    fixture.world.db.down.set(true);
    fixture.disconnect(&id).unwrap_err();
    fixture.world.db.down.set(false);
    run_for(&fixture, 900);
    assert_eq!(receivers.types(), [""; 0]);
    fixture.disconnect(&id).unwrap();
    run_for(&fixture, 900);
    assert_eq!(receivers.types(), ["connection.deleted"], "once, although its line is written twice at some apps");
}

#[test]
fn two_that_send_at_the_same_moment_send_each_event_once() {
    let Told { fixture, receivers, .. } = told();
    for account in ["ann", "bob", "cid"] {
        fixture.connect(account);
    }
    let send = || {
        let (context, workspace) = (fixture.world.context(), fixture.workspace.clone());
        fixture.world.runtime.spawn(async move { sending::send_due(&context, &workspace).await })
    };
    let (first, second) = (send(), send());
    let (now, run) = (fixture.world.now(), fixture.world.context());
    fixture.world.run(async {
        connections::check::run_scheduled(&run, now).await.unwrap();
        first.await;
        second.await;
    });
    let got = receivers.take();
    assert_eq!((got.len(), got.iter().map(Received::event).collect::<BTreeSet<_>>().len()), (3, 3));
}

#[test]
fn both_secrets_sign_until_the_overlap_ends() {
    let Told { fixture, receivers, webhook, secret: old } = told();
    let rotate = |overlap: Value| {
        let path = format!("/v1/webhooks/{webhook}/rotate");
        call(&fixture, &first_key(&fixture), Method::Post, &path, &json!({ "overlap_seconds": overlap }))
    };
    assert_eq!(rotate(json!(604_801)).0, 422);
    let (status, rotated) = rotate(json!(3_600));
    assert_eq!(status, 200);
    let new = rotated["secret"].as_str().unwrap().to_owned();
    let test = || {
        let path = format!("/v1/webhooks/{webhook}/test");
        let (status, sent) = call(&fixture, &first_key(&fixture), Method::Post, &path, &Value::Null);
        assert_eq!((status, &sent["status"], &sent["type"]), (200, &json!("delivered"), &json!("webhook.test")));
        receivers.take().remove(0)
    };
    let sent = test();
    assert!(sent.is_signed_with(&old) && sent.is_signed_with(&new) && old != new);
    fixture.world.advance_clock(3_601);
    let sent = test();
    assert!(!sent.is_signed_with(&old) && sent.is_signed_with(&new));
    run_for(&fixture, 300);
    assert_eq!(count(&fixture, "subscriptions WHERE sealed_previous_secret IS NOT NULL"), 0);
    rotate(json!(3_600));
    let newest = rotate(json!(0)).1["secret"].as_str().unwrap().to_owned();
    let sent = test();
    assert!(sent.is_signed_with(&newest) && !sent.is_signed_with(&new));
}

#[test]
fn only_the_own_workspace_is_told_and_nobody_after_its_deletion() {
    let fixture = Fixture::new();
    let receivers = Receivers::listen(&fixture);
    let other = fixture.other_workspace();
    make_webhook(&other, "https://hooks-other.example/");
    make_webhook(&fixture, HOOK);
    fixture.connect("ann");
    run_for(&fixture, 300);
    assert!(receivers.take().iter().all(|one| one.host == "hooks.example"));
    fixture.connect("bob");
    let path = format!("/v1/workspaces/{}", fixture.workspace);
    let (status, _) = call(&fixture, "abcdefghijklmnopqrstuvwxyz0123456789", Method::Delete, &path, &Value::Null);
    assert_eq!(status, 200);
    run_for(&fixture, 86_400);
    assert_eq!(receivers.take().len(), 0);
    let left = format!("WHERE workspace_id = '{}'", fixture.workspace);
    for table in ["subscriptions", "outbox", "told_states", "attention_sweeps"] {
        assert_eq!(count(&fixture, &format!("{table} {left}")), 0, "{table}");
    }
    assert_eq!(count(&fixture, "deliveries"), 0);
}

#[test]
fn a_refused_client_is_told_with_how_many_connections_it_has() {
    let (Told { fixture, receivers, .. }, id) = told_of_connection();
    for _ in 0..5 {
        fixture.world.acme.script_next("/token", Reply::status(401, r#"{"error":"invalid_client"}"#));
        fixture.world.advance_clock(3_600);
        fixture.refresh(&id, RefreshReason::Force);
    }
    run_for(&fixture, 600);
    let told = receivers.take();
    assert_eq!(told.iter().map(|one| one.event().1).collect::<Vec<_>>(), ["client.misconfigured"]);
    let data = &told[0].json()["data"];
    assert_eq!(
        (&data["client"], &data["connections"], &data["app"]),
        (&json!(fixture.client), &json!(1), &json!("acme"))
    );
    assert_eq!(data["setup_url"], "https://c.example.com/apps/acme/setup");
}

#[test]
fn addresses_and_types_that_cannot_be_used_are_refused_by_name() {
    let fixture = Fixture::new();
    let refuse = |body: Value, field: &str, says: &str| {
        let (status, answer) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/webhooks", &body);
        assert_eq!((status, &answer["code"]), (422, &json!("invalid_request")), "{body}");
        let error = &answer["errors"][0];
        assert!(
            error["field"].as_str().unwrap().starts_with(field) && error["problem"].as_str().unwrap().contains(says),
            "{body}: {error}"
        );
    };
    for (url, says) in [
        ("http://hooks.example/", "https://"),
        ("https://127.0.0.1/", "numeric"),
        ("https://localhost/", "private"),
        ("https://metadata.google.internal/", "private"),
        ("https://user:pw@hooks.example/", "user name"),
        ("https://[::1]/", ""),
        ("https://[::ffff:10.0.0.1]/", ""),
        ("https://10.0.0.1/", ""),
        ("https://2130706433/", ""),
        ("https://0x7f000001/", ""),
        ("https://0177.1/", ""),
        ("https://localhost./", ""),
        ("https://printer.local/", ""),
        ("https://db.internal/", ""),
        ("file:///etc/passwd", ""),
        ("//hooks.example/", ""),
        ("https://c.example.com/v1/keys", "this installation"),
        ("https://C.EXAMPLE.COM./", "this installation"),
        ("https://c.example.com:8443/", "this installation"),
        ("", "address"),
    ] {
        refuse(json!({ "url": url, "types": ["connection.created"] }), "url", says);
    }
    refuse(json!({ "url": HOOK, "types": [] }), "types", "at least one");
    refuse(json!({ "url": HOOK, "types": ["connection.exploded"] }), "types[0]", "must be one of `connection.created`");
    refuse(json!({ "url": HOOK, "types": ["webhook.test"] }), "types[0]", "must be one of");
    for _ in 0..20 {
        make_webhook(&fixture, HOOK);
    }
    let (status, full) = call(
        &fixture,
        &first_key(&fixture),
        Method::Post,
        "/v1/webhooks",
        &json!({ "url": HOOK, "types": ["app.event"] }),
    );
    assert_eq!((status, &full["code"]), (409, &json!("limit_reached")));
}

#[test]
fn a_stored_address_is_checked_again_before_anything_is_sent() {
    let Told { fixture, receivers, webhook, .. } = told();
    for url in ["https://169.254.169.254/", "https://c.example.com/"] {
        fixture.world.db.tamper(&format!("UPDATE subscriptions SET url = '{url}'"));
        let path = format!("/v1/webhooks/{webhook}/test");
        let (_, sent) = call(&fixture, &first_key(&fixture), Method::Post, &path, &Value::Null);
        assert_eq!((&sent["status"], &sent["last_error"]), (&json!("pending"), &json!("address_refused")));
    }
    assert_eq!(receivers.take().len(), 0);
}

#[test]
fn a_change_is_made_only_to_what_its_caller_has_seen() {
    let Told { fixture, webhook, .. } = told();
    let path = format!("/v1/webhooks/{webhook}");
    let send = |method: Method, tag: &str, body: &Value| {
        let mut request = request(method, &path, body.to_string().into_bytes());
        request.headers.push(("authorization".into(), format!("Bearer {}", first_key(&fixture))));
        if !tag.is_empty() {
            request.headers.push(("if-match".into(), tag.to_owned()));
        }
        let response = fixture.world.run(async { http::handle(&fixture.world.context(), &request).await });
        (response.status, response.header("etag").unwrap_or_default().to_owned())
    };
    let tag = send(Method::Get, "", &Value::Null).1;
    let (status, next) = send(Method::Patch, &tag, &json!({ "types": ["connection.deleted"] }));
    assert_eq!(status, 200);
    assert_eq!(send(Method::Patch, &tag, &json!({ "enabled": false })).0, 412);
    assert_eq!(send(Method::Delete, &tag, &Value::Null).0, 412);
    assert_eq!(send(Method::Delete, &next, &Value::Null).0, 200);
    assert_eq!(send(Method::Delete, "", &Value::Null).0, 404);
    let types: Vec<_> = get(&fixture, "/v1/events")["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(types[..3], ["webhook_deleted", "webhook_changed", "webhook_created"]);
}

#[test]
fn the_event_of_an_app_is_sealed_until_it_is_delivered() {
    let fixture = Fixture::new();
    let receivers = Receivers::listen(&fixture);
    let connection = fixture.connect("ann");
    let event = |text: &str| AppEventPayload {
        app: AppId::parse("acme").unwrap(),
        account: Some("ann".into()),
        connections: vec![connection.clone()],
        content_type: Some("application/json".into()),
        body: Some(format!("{{\"text\": \"{CANARY} {text}\"}}")),
        body_base64: None,
    };
    let enqueue = |text: &str| {
        let event = event(text);
        fixture
            .world
            .run(async { app_events::enqueue(&fixture.world.context(), &fixture.workspace, &event).await.unwrap() })
    };
    assert_eq!(enqueue("nobody asks"), None);
    assert_eq!(count(&fixture, "outbox"), 0);
    let (webhook, _) = make_webhook(&fixture, HOOK);
    let (second, _) = make_webhook(&fixture, "https://hooks-b.example/");
    receivers.answer("hooks-b.example", 500, &[]);
    let id = enqueue("hello").unwrap();
    assert!(!fixture.world.db.dump_tables().contains(CANARY), "sealed");
    send_due(&fixture);
    let got = receivers.take();
    let sent = got.iter().find(|one| one.host == "hooks.example").unwrap().json();
    assert_eq!((&sent["type"], &sent["id"]), (&json!("app.event"), &json!(id)));
    assert_eq!(
        sent["data"],
        json!({ "app": "acme", "account": "ann", "connections": [connection], "content_type": "application/json",
            "body": format!("{{\"text\": \"{CANARY} hello\"}}") })
    );
    assert_eq!(count(&fixture, "outbox WHERE sealed_payload IS NOT NULL"), 1, "one receiver waits for it");
    receivers.answer("hooks-b.example", 200, &[]);
    run_for(&fixture, 900);
    assert_eq!(receivers.take().len(), 1);
    assert_eq!(count(&fixture, "outbox WHERE sealed_payload IS NOT NULL"), 0, "all have it");
    for webhook in [webhook, second] {
        let path = format!("/v1/webhooks/{webhook}/deliveries/{id}/redeliver");
        let (status, refused) = call(&fixture, &first_key(&fixture), Method::Post, &path, &Value::Null);
        assert_eq!((status, &refused["code"]), (409, &json!("conflict")));
    }
}

#[test]
fn what_was_told_is_kept_for_a_week() {
    let Told { fixture, .. } = told();
    fixture.connect("ann");
    run_for(&fixture, 600);
    assert_eq!((count(&fixture, "outbox"), count(&fixture, "deliveries")), (1, 1));
    fixture.world.advance_clock(7 * 86_400);
    fixture.run_scheduled();
    assert_eq!((count(&fixture, "outbox"), count(&fixture, "deliveries")), (0, 0));
}

#[test]
fn what_ends_soon_is_told_once_for_each_date() {
    let Told { fixture, receivers, .. } = told();
    let id = fixture.connect("ann");
    fixture.world.acme.granted_scopes.replace(Some("read".into()));
    let partial = fixture.connect("bob");
    fixture.world.acme.granted_scopes.replace(None);
    let now = fixture.world.now().unix();
    let day = 86_400;
    let set = |column: &str, end: i64| {
        fixture.world.db.tamper(&format!("UPDATE connections SET {column} = {end} WHERE id = '{id}'"));
    };
    let told = |wanted: &str| {
        let got = receivers.take();
        got.iter().filter(|one| one.event().1 == wanted).map(|one| one.json()["data"].clone()).collect::<Vec<_>>()
    };
    set("grant_expires_at", now + 10 * day);
    set("connected_at", now - 40 * day);
    fixture.world.db.tamper(&format!("UPDATE oauth_clients SET secret_expires_at = {}", now + 20 * day));
    run_for(&fixture, day + 900);
    let got = receivers.take();
    let types: BTreeSet<_> = got.iter().map(|one| one.event().1).collect();
    assert_eq!(
        types.into_iter().collect::<Vec<_>>(),
        ["client.secret_expires", "connection.created", "connection.missing_scopes"]
    );
    let of = |wanted: &str| got.iter().filter(|one| one.event().1 == wanted).map(Received::json).collect::<Vec<_>>();
    let missing = of("connection.missing_scopes");
    assert_eq!(
        (missing.len(), &missing[0]["data"]["missing_scopes"], &missing[0]["data"]["connection"]["id"]),
        (1, &json!(["write"]), &json!(partial))
    );
    let secret = of("client.secret_expires");
    assert_eq!(
        (secret.len(), &secret[0]["data"]["client"], &secret[0]["data"]["connections"]),
        (1, &json!(fixture.client), &json!(2))
    );

    run_for(&fixture, 4 * day);
    let ends = told("connection.expires_soon");
    assert_eq!((ends.len(), &ends[0]["connection"]["id"]), (1, &json!(id)), "within a week, and once");
    assert!(ends[0]["ends_at"].is_string() && ends[0]["summary"].as_str().unwrap().contains("Reconnect it before"));
    // Another date.
    let now = fixture.world.now().unix();
    set("grant_expires_at", now + 6 * day);
    run_for(&fixture, 2 * day);
    assert_eq!(told("connection.expires_soon").len(), 1);
    fixture.disconnect(&id).unwrap();
    fixture.disconnect(&partial).unwrap();
    run_for(&fixture, day);
    assert_eq!(
        count(&fixture, "told_states WHERE type LIKE 'connection.%'"),
        0,
        "what was told of a connection goes with it"
    );
}

#[test]
fn the_end_of_a_refresh_token_is_told_only_if_no_refresh_moves_it() {
    let Told { fixture, receivers, .. } = told();
    let id = fixture.connect("ann");
    let day = 86_400;
    let move_end = || {
        let end = fixture.world.now().unix() + 6 * day;
        fixture.world.db.tamper(&format!("UPDATE connections SET refresh_expires_at = {end} WHERE id = '{id}'"));
    };
    // Each refresh moves it.
    for _ in 0..5 {
        move_end();
        run_for(&fixture, 2 * day);
    }
    assert!(!receivers.types().contains(&"connection.expires_soon".to_owned()));
    receivers.take();
    move_end();
    let end = fixture.load_connection(&id).refresh_expires_at.unwrap();
    for _ in 0..5 {
        run_for(&fixture, day);
        fixture
            .world
            .db
            .tamper(&format!("UPDATE connections SET refresh_expires_at = {} WHERE id = '{id}'", end.unix()));
    }
    let told = receivers.types().iter().filter(|one| *one == "connection.expires_soon").count();
    assert_eq!(told, 1);
}

#[test]
fn a_search_goes_on_where_it_stopped_and_reads_a_page_at_a_time() {
    let Told { fixture, receivers, .. } = told();
    fixture.connect("ann");
    fixture.world.db.tamper(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
        INSERT INTO connections (id, workspace_id, app, app_revision, auth_method, credential_type, oauth_client, name, created_at,
          connected_at, generation, version, status, refreshable, scopes_requested, scopes_granted)
        SELECT 'con_00' || printf('%022d', n.i), c.workspace_id, c.app, c.app_revision, c.auth_method, c.credential_type, c.oauth_client, 'C' || n.i,
          c.created_at, c.connected_at, 1, 1, 'connected', 1, '[\"a\",\"b\"]', '[\"a\"]' FROM n, connections c WHERE c.id NOT LIKE 'con_000%'",
    );
    run_for(&fixture, 3_600);
    assert_eq!(count(&fixture, "outbox WHERE type = 'connection.missing_scopes'"), 450);
    let due = fixture.world.db.query_number("SELECT due_at FROM attention_sweeps");
    assert!(due > fixture.world.now().unix() + 80_000, "and again tomorrow");
    run_for(&fixture, 4 * 86_400);
    let told: BTreeSet<_> = receivers
        .take()
        .iter()
        .filter(|one| one.event().1 == "connection.missing_scopes")
        .map(|one| one.event().0)
        .collect();
    assert_eq!(told.len(), 450);
    assert_eq!(count(&fixture, "outbox WHERE type = 'connection.missing_scopes'"), 450, "once");
}

#[test]
fn a_key_with_allow_lists_has_no_webhooks() {
    let Told { fixture, webhook, .. } = told();
    let limited = make_key(&fixture, |key| key.apps = Some(vec![AppId::parse("acme").unwrap()]));
    for (method, path) in [
        (Method::Get, "/v1/webhooks".to_owned()),
        (Method::Get, format!("/v1/webhooks/{webhook}")),
        (Method::Get, "/v1/webhooks/whk_0123456789abcdefABCDEF".to_owned()),
        (Method::Post, "/v1/webhooks".to_owned()),
        (Method::Get, format!("/v1/webhooks/{webhook}/deliveries")),
        (Method::Post, format!("/v1/webhooks/{webhook}/test")),
    ] {
        let (status, answer) = call(&fixture, &limited, method, &path, &json!({ "url": HOOK, "types": ["app.event"] }));
        assert_eq!((status, &answer["code"]), (403, &json!("insufficient_key_scope")), "{path}");
    }
    // Nor does anybody else's.
    let other = fixture.other_workspace();
    let (status, _) = call(&other, &first_key(&other), Method::Get, &format!("/v1/webhooks/{webhook}"), &Value::Null);
    assert_eq!(status, 404);
}

// ---- a disconnect that can be undone ----

fn disconnect_for_now(fixture: &Fixture, id: &ConnectionId) {
    let (context, actor) = (fixture.world.context(), test_actor());
    let disconnected = disconnect::disconnect_for_now(&context, &fixture.workspace, id, &actor);
    fixture.world.run(disconnected).unwrap();
}

/// The ids of the lines about a disconnect, oldest first.
fn disconnect_lines(fixture: &Fixture, id: &ConnectionId) -> Vec<String> {
    let lines = get(fixture, &format!("/v1/events?type=disconnected&connection={id}"));
    lines["data"].as_array().unwrap().iter().rev().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_disconnect_that_is_undone_is_not_told() {
    let (Told { fixture, receivers, .. }, id) = told_of_connection();
    disconnect_for_now(&fixture, &id);
    fixture.world.advance_clock(200);
    fixture.run_scheduled();
    let context = fixture.world.context();
    fixture.world.run(undo::undo_disconnect(&context, &fixture.workspace, &id, &test_actor())).unwrap();
    run_for(&fixture, 1_800);
    assert_eq!(receivers.types(), [""; 0]);
    // The next one is told, although its connection was disconnected before.
    fixture.disconnect(&id).unwrap();
    run_for(&fixture, 1_800);
    assert_eq!(receivers.types(), ["connection.deleted"]);
}

#[test]
fn a_disconnect_on_the_page_is_told_once_when_it_is_final() {
    let (Told { fixture, receivers, .. }, id) = told_of_connection();
    let use_it = ResolveRequest { workflow: Some("billing".into()), ..ResolveRequest::default() };
    fixture.resolve_and_finish(&id, use_it).unwrap();
    disconnect_for_now(&fixture, &id);
    fixture.world.advance_clock(290);
    fixture.run_scheduled();
    assert_eq!(receivers.types(), [""; 0], "it may still be undone");
    run_for(&fixture, 1_800);
    let got = receivers.take();
    assert_eq!(got.iter().map(|one| one.event().1).collect::<Vec<_>>(), ["connection.deleted"]);
    let lines = disconnect_lines(&fixture, &id);
    assert_eq!((lines.len(), &got[0].event().0), (2, &lines[1]), "by the line about the end");
    assert_eq!(got[0].json()["data"]["workflows"]["ids"], json!(["billing"]));
}

#[test]
fn a_disconnect_that_waits_no_longer_is_told_once() {
    let (Told { fixture, receivers, .. }, id) = told_of_connection();
    disconnect_for_now(&fixture, &id);
    let context = fixture.world.context();
    fixture.world.run(disconnect::revoke_now(&context, &fixture.workspace, &id, &test_actor())).unwrap();
    run_for(&fixture, 1_800);
    assert_eq!(receivers.types(), ["connection.deleted"]);
}

#[test]
fn each_of_many_disconnects_is_told_once_also_by_the_panic_button() {
    for panic in [false, true] {
        let Told { fixture, receivers, .. } = told();
        let ids: Vec<_> = ["ann", "bob", "cid", "dan", "eve"].map(|account| fixture.connect(account)).into();
        run_for(&fixture, 600);
        receivers.take();
        for id in &ids[..3] {
            disconnect_for_now(&fixture, id);
        }
        if panic {
            let body = json!({ "confirm": "acme", "reason": "x" });
            let path = "/v1/apps/acme/disconnect-all";
            assert_eq!(call(&fixture, &first_key(&fixture), Method::Post, path, &body).0, 201);
        }
        run_for(&fixture, 3_600);
        let got = receivers.take();
        let told: Vec<_> = got.iter().map(|one| one.json()["data"]["connection"]["id"].clone()).collect();
        let distinct: BTreeSet<_> = told.iter().map(Value::to_string).collect();
        let wanted = if panic { 5 } else { 3 };
        assert_eq!((told.len(), distinct.len()), (wanted, wanted), "panic button: {panic}");
        assert!(got.iter().all(|one| one.event().1 == "connection.deleted"));
    }
}

#[test]
fn a_disconnect_is_told_once_whatever_fails_at_it() {
    for fault in [Fault::BeforeCommit, Fault::AfterCommit, Fault::NoAnswer] {
        for step in 0..4 {
            let (Told { fixture, receivers, .. }, id) = told_of_connection();
            let batches = Cell::new(0);
            *fixture.world.db.fault_plan.borrow_mut() = Some(Box::new(move |_| {
                batches.set(batches.get() + 1);
                (batches.get() == step + 1).then_some(fault)
            }));
            let (context, actor) = (fixture.world.context(), test_actor());
            let disconnected = disconnect::disconnect_for_now(&context, &fixture.workspace, &id, &actor);
            let ended = fixture.world.run(disconnected);
            fixture.world.db.fault_plan.take();
            fixture.run_scheduled();
            assert_eq!(receivers.types(), [""; 0], "{fault:?} at step {step}");
            if ended.is_err() && fixture.find_connection(&id).is_some() {
                continue;
            }
            run_for(&fixture, 1_800);
            assert_eq!(receivers.types(), ["connection.deleted"], "{fault:?} at step {step}");
        }
    }
}

// ---- crashes and hostile receivers ----

#[test]
fn a_sender_that_ends_after_it_has_sent_sends_again_under_the_same_id() {
    let Told { fixture, receivers, .. } = told();
    fixture.connect("ann");
    let (context, workspace, runtime) =
        (fixture.world.context(), fixture.workspace.clone(), fixture.world.runtime.clone());
    let got = Rc::clone(&receivers.got);
    // The receiver has the event, and the sender does not live to see its answer.
    fixture.world.run(async move {
        let sending = std::pin::pin!(sending::send_due(&context, &workspace));
        let received = std::pin::pin!(async {
            while got.borrow().is_empty() {
                Clock::sleep(&runtime, 10).await;
            }
        });
        futures_util::future::select(sending, received).await;
    });
    assert_eq!(receivers.got.borrow().len(), 1);
    assert_eq!(count(&fixture, "deliveries WHERE status = 'pending' AND attempts = 1"), 1, "what it began is counted");
    send_due(&fixture);
    assert_eq!(receivers.got.borrow().len(), 1, "nobody else sends it while it may still be under way");
    run_for(&fixture, 900);
    let got = receivers.take();
    assert_eq!(got.len(), 2);
    assert_eq!((got[0].event(), &got[0].body), (got[1].event(), &got[1].body));
    assert_eq!(count(&fixture, "deliveries WHERE status = 'delivered' AND attempts = 2"), 1);
}

#[test]
fn faults_of_the_database_in_a_run_lose_nothing_and_send_nothing_under_another_id() {
    for fault in [Fault::BeforeCommit, Fault::AfterCommit, Fault::NoAnswer] {
        for step in 0..14 {
            let Told { fixture, receivers, .. } = told();
            fixture.connect("ann");
            fixture.connect("bob");
            fixture.world.advance_clock(60);
            let batches = Cell::new(0);
            *fixture.world.db.fault_plan.borrow_mut() = Some(Box::new(move |_| {
                batches.set(batches.get() + 1);
                (batches.get() == step + 1).then_some(fault)
            }));
            let (context, now) = (fixture.world.context(), fixture.world.now());
            fixture.world.run(async { drop(connections::check::run_scheduled(&context, now).await) });
            fixture.world.db.fault_plan.take();
            run_for(&fixture, 1_200);
            let got = receivers.take();
            let distinct: BTreeSet<_> = got.iter().map(|one| (one.event(), one.body.clone())).collect();
            assert_eq!(distinct.len(), 2, "{fault:?} at step {step}");
            assert!(got.len() <= 4, "{fault:?} at step {step}: {}", got.len());
            assert_eq!(count(&fixture, "deliveries WHERE status = 'delivered'"), 2, "{fault:?} at step {step}");
        }
    }
}

#[test]
fn only_a_success_counts_as_one_and_nothing_else_of_an_answer_is_kept() {
    let Told { fixture, receivers, webhook, .. } = told();
    let path = format!("/v1/webhooks/{webhook}/test");
    for (status, wanted) in [
        (200, ("delivered", Value::Null)),
        (204, ("delivered", Value::Null)),
        (299, ("delivered", Value::Null)),
        (300, ("pending", json!("redirect"))),
        (304, ("pending", json!("redirect"))),
        (308, ("pending", json!("redirect"))),
        (400, ("pending", json!("status"))),
        (404, ("pending", json!("status"))),
        (503, ("pending", json!("status"))),
        (999, ("pending", json!("status"))),
        (0, ("pending", json!("status"))),
    ] {
        let lies = [("location", "https://169.254.169.254/"), ("retry-after", "-1"), ("set-cookie", "answer-canary=1")];
        receivers.answer("hooks.example", status, &lies);
        let (_, sent) = call(&fixture, &first_key(&fixture), Method::Post, &path, &Value::Null);
        assert_eq!((sent["status"].as_str().unwrap(), sent["last_error"].clone()), wanted, "{status}");
        assert_eq!(sent["last_status_code"], json!(status), "{status}");
        let on = json!({ "enabled": true });
        assert_eq!(call(&fixture, &first_key(&fixture), Method::Patch, &format!("/v1/webhooks/{webhook}"), &on).0, 200);
    }
    assert!(receivers.take().iter().all(|one| one.host == "hooks.example"), "no redirect is followed");
    let stored = fixture.world.db.dump_tables();
    assert!(
        !stored.contains("answer-canary") && !stored.contains("169.254") && !stored.contains("secret of the receiver")
    );
}

#[test]
fn a_workspace_that_is_told_by_email_alone_looks_for_webhooks_once() {
    let fixture = Fixture::new().in_one_isolate();
    fixture.world.mail.bound.set(true);
    let enabled = json!({ "enabled": true });
    assert_eq!(call(&fixture, &first_key(&fixture), Method::Put, "/v1/workspace/email", &enabled).0, 200);
    send_due(&fixture);
    fixture.world.db.reset_counts();
    send_due(&fixture);
    assert_eq!(fixture.world.db.statements.get(), 0);
}

#[test]
fn a_disconnect_of_what_has_lost_its_credential_is_told_once() {
    let (Told { fixture, receivers, .. }, id) = told_of_connection();
    fixture.world.db.tamper(
        "UPDATE connections SET sealed_credential = NULL, status = 'needs_reconnect', reconnect_reason = 'revoked'",
    );
    disconnect_for_now(&fixture, &id);
    run_for(&fixture, 1_800);
    assert_eq!(receivers.types(), ["connection.deleted"]);
    assert_eq!(disconnect_lines(&fixture, &id).len(), 2, "that it may come back, and that it is final");
}
