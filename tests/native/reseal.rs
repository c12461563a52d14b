//! Rotation of keys: values of an older key are sealed again in the background, page by page, while everything else
//! continues. Concurrent resolves, refreshes and reconnects must not be affected.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use connections::check::run_scheduled;
use connections::client::ClientSecret;
use connections::connect::callback::{CallbackParams, CallbackResult, handle};
use connections::connect::complete::{Choice, apply_choice};
use connections::http::{self, Body, Method, Request};
use connections::ids::ConnectionId;
use connections::ports::{RefreshOutcome, RefreshReason};
use connections::resolve::{Consistency, ResolveRequest, Source, resolve};
use connections::store::authorizations::FlowOutcome;
use connections::store::reseals::ResealProgress;
use connections::{refresh, reseal, store};
use serde_json::json;

use crate::support::acme::RedeemOutcome;
use crate::support::database::StatementEdit;
use crate::support::fixture::BROWSER_SESSION;
use crate::support::world::ENCRYPTION_KEYS as K1;
use crate::support::{Fault, FaultRule, Fixture, RefreshMode, Reply, World, plain_tokens};

const K2: &str = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const K3: &str = "k3:QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=";
/// Other bytes under the first key's id.
const WRONG_K1: &str = "k1:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// The first key seals, and all keys open.
fn put_keys(world: &World, keys: &[&str]) {
    *world.encryption_keys.borrow_mut() = keys.join(",");
}

fn connect_many(fixture: &Fixture, count: usize) -> Vec<ConnectionId> {
    let ids = (0..count).map(|at| fixture.connect(&format!("p{at}"))).collect();
    // The flows of these connections have ended. They are empty values that a pass reads first.
    fixture.world.db.tamper("DELETE FROM flows");
    ids
}

/// How many values each key sealed.
fn count_sealed_by_key(world: &World) -> BTreeMap<String, i64> {
    world.run(async {
        let context = world.context();
        store::maintenance::load_state(context.db(), context.now()).await.unwrap().sealed_under.into_iter().collect()
    })
}

fn counts_for_key(key: &str, count: i64) -> BTreeMap<String, i64> {
    BTreeMap::from([(key.to_owned(), count)])
}

fn find_progress(world: &World) -> Option<ResealProgress> {
    world.run(async {
        let context = world.context();
        store::reseals::progress(context.db(), context.config.key_ring.sealing_key_id()).await.unwrap()
    })
}

fn load_progress(world: &World) -> ResealProgress {
    find_progress(world).unwrap()
}

/// One step, in its own invocation. Returns how many values were sealed again.
fn reseal_once(world: &World) -> u64 {
    let context = world.context();
    world.run(async { reseal::reseal_page(&context).await.unwrap() })
}

/// Scheduled runs every five minutes until all is done. Returns their number.
fn run_until_resealed(fixture: &Fixture) -> usize {
    for run in 1..200 {
        fixture.run_scheduled();
        if load_progress(&fixture.world).finished_at.is_some() {
            return run;
        }
        fixture.world.advance_clock(300);
    }
    panic!("never finished: {:?}", load_progress(&fixture.world));
}

fn is_usable(fixture: &Fixture, id: &ConnectionId) -> bool {
    fixture.resolve(id, ResolveRequest::default()).is_ok()
}

fn sealed_credential(fixture: &Fixture, id: &ConnectionId) -> String {
    fixture.load_connection(id).sealed_credential.unwrap()
}

// ---- values that were sealed again still work ----

#[test]
fn every_sealed_column_is_sealed_again_and_works_without_the_old_key() {
    let fixture = Fixture::new();
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    let waiting = fixture.complete_flow(&fixture.connect_request(), "bob");
    assert_eq!(waiting.outcome, FlowOutcome::Undecided);
    let begun = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    let (carl, dora) = (fixture.connect("carl"), fixture.connect("dora"));
    fixture.world.acme.script_always("/revoke", Some(Reply::status(500, "")));
    fixture.disconnect(&carl).unwrap();
    fixture.world.acme.script_always("/revoke", None);
    fixture.world.run(async {
        let context = fixture.world.context();
        store::refreshes::mark_deleted(context.db(), &fixture.workspace, &dora, context.now(), vec![]).await.unwrap();
    });
    let everything = 3 + 1 + 1 + 1 + 1;
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k1", everything));

    put_keys(&fixture.world, &[K2, K1]);
    assert_eq!(reseal_once(&fixture.world), u64::try_from(everything).unwrap());
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k2", everything));
    put_keys(&fixture.world, &[K2]);

    let (code, state) = fixture.world.acme.consent(&begun, "eve");
    let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
    let CallbackResult::Flow(flow) = fixture.return_from_app(returned, BROWSER_SESSION) else { panic!("refused") };
    assert_eq!(fixture.load_flow(&flow).outcome, FlowOutcome::Done, "verifier and client secret open");
    let waiting = fixture.load_flow(&waiting.id);
    fixture.world.run(async { apply_choice(&fixture.world.context(), &waiting, Choice::Reuse).await.unwrap() });
    assert!(is_usable(&fixture, &ann) && is_usable(&fixture, &bob));
    assert_eq!(fixture.world.acme.revoked_tokens().len(), 0);
    fixture.world.advance_clock(121);
    fixture.run_scheduled();
    fixture.world.advance_clock(300);
    fixture.run_scheduled();
    assert!(!fixture.world.acme.has_live_grant("carl"), "the kept revocation");
    assert!(!fixture.world.acme.has_live_grant("dora"), "sealed for the generation before it ended");
    for id in [&ann, &bob] {
        fixture.expire_access_token(id);
        assert!(is_usable(&fixture, id));
        assert!(fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(id)).0));
    }
    assert_eq!(fixture.world.acme.count_refreshes(RedeemOutcome::GrantRevoked), 0);
}

#[test]
fn the_scheduled_run_seals_again_and_reports_it() {
    let fixture = Fixture::new();
    let ids = connect_many(&fixture, 3);
    fixture.run_scheduled();
    assert!(load_progress(&fixture.world).finished_at.is_some(), "one key: there is nothing to be done");
    put_keys(&fixture.world, &[K2, K1]);
    assert_eq!(fixture.run_scheduled().resealed, 4);
    let begun = load_progress(&fixture.world);
    assert_eq!((begun.pass, begun.resealed, begun.unsettled, begun.finished_at), (1, 4, 4, None));
    assert_eq!(begun.next_pass_at, Some(fixture.world.now().plus(600)), "who was started before may still write");
    // A Worker that started with the previous keys writes once more.
    let before = fixture.world.second_deployment_with_keys(&[K1, K2].join(","));
    fixture.expire_access_token(&ids[0]);
    before.run(before.run_refresher(&ids[0], RefreshReason::OnDemandCheck));
    assert_eq!(count_sealed_by_key(&fixture.world)["k1"], 1);
    fixture.run_scheduled();
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k2", 4));
    assert_eq!(load_progress(&fixture.world).finished_at, None);
    run_until_resealed(&fixture);
    let done = load_progress(&fixture.world);
    assert_eq!((done.pass, done.resealed, done.unsettled, done.unreadable), (3, 5, 0, 0));
    put_keys(&fixture.world, &[K2]);
    assert!(ids.iter().all(|id| is_usable(&fixture, id)));
}

#[test]
fn a_late_value_under_an_old_key_is_found_within_a_day() {
    let fixture = Fixture::new();
    let ids = connect_many(&fixture, 2);
    put_keys(&fixture.world, &[K2, K1]);
    run_until_resealed(&fixture);
    let before = fixture.world.second_deployment_with_keys(&[K1, K2].join(","));
    fixture.expire_access_token(&ids[0]);
    before.run(before.run_refresher(&ids[0], RefreshReason::OnDemandCheck));
    assert_eq!(count_sealed_by_key(&fixture.world)["k1"], 1);
    // A due check would refresh it, and so seal it with the first key.
    fixture.world.db.tamper("UPDATE connections SET next_check_at = NULL");
    fixture.world.advance_clock(86_400);
    fixture.run_scheduled();
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k2", 3));
    assert_eq!(load_progress(&fixture.world).finished_at, None, "and says that it is at work again");
    run_until_resealed(&fixture);
}

#[test]
fn a_run_with_nothing_to_seal_writes_nothing_and_reads_one_row() {
    let fixture = Fixture::new();
    connect_many(&fixture, 30);
    put_keys(&fixture.world, &[K2, K1]);
    run_until_resealed(&fixture);
    let before = fixture.world.db.dump_tables();
    fixture.world.advance_clock(300);
    fixture.world.db.reset_counts();
    assert_eq!(reseal_once(&fixture.world), 0);
    assert_eq!((fixture.world.db.round_trips.get(), fixture.world.db.statements.get()), (1, 5));
    assert!(fixture.world.db.rows_scanned.get() <= 5, "{} rows stepped over", fixture.world.db.rows_scanned.get());
    assert_eq!(fixture.world.db.dump_tables(), before);
}

// ---- bounds ----

#[test]
fn a_run_handles_a_bounded_number_of_values_and_the_next_one_continues() {
    let fixture = Fixture::new();
    for at in 0..25 {
        fixture.connect(&format!("p{at}"));
    }
    fixture.world.reseal_batch.set(Some(10));
    put_keys(&fixture.world, &[K2, K1]);
    // 25 credentials, a client's secret, and two empty columns of 25 flows.
    let mut replaced = vec![];
    for run in 1..=8 {
        fixture.world.db.reset_counts();
        replaced.push(reseal_once(&fixture.world));
        assert_eq!(fixture.world.db.round_trips.get(), 2);
        assert!(fixture.world.db.statements.get() <= 5 + 2 * 5 + 1, "{}", fixture.world.db.statements.get());
        assert!(fixture.world.db.rows_scanned.get() < 60, "{} rows stepped over", fixture.world.db.rows_scanned.get());
        assert_eq!(load_progress(&fixture.world).after.is_none(), run == 8, "76 places");
    }
    assert!(replaced.iter().all(|count| *count <= 10), "{replaced:?}");
    assert_eq!(replaced.iter().sum::<u64>(), 26);
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k2", 26));
}

#[test]
fn large_tokens_shorten_a_page_without_skipping_values() {
    let fixture = Fixture::with_definition(&json!({ "identity": null }));
    for at in 0..6 {
        let huge = format!("{at}{}", "x".repeat(60_000));
        fixture.world.acme.script_next("/token", Reply::edited(move |answer| answer["access_token"] = json!(huge)));
        fixture.connect("ann");
    }
    put_keys(&fixture.world, &[K2, K1]);
    let mut turns = 0;
    while count_sealed_by_key(&fixture.world).contains_key("k1") {
        assert!(reseal_once(&fixture.world) <= 3, "two of 80 KB fill a page; the client's secret is small");
        turns += 1;
        assert!(turns < 10);
    }
    assert!(turns >= 3);
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k2", 7));
}

#[test]
fn a_full_run_with_a_new_key_fits_in_the_free_plan() {
    let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), &json!({}));
    connect_many(&fixture, 150);
    fixture.run_scheduled();
    fixture.world.db.tamper("UPDATE connections SET next_check_at = 1");
    fixture.world.advance_clock(3500);
    put_keys(&fixture.world, &[K2, K3, K1]);
    // More than the due connections, whose refresh also seals them.
    fixture.world.reseal_batch.set(Some(100));
    let (context, now) = (fixture.world.context(), fixture.world.now());
    let summary = fixture.world.run(run_scheduled(&context, now)).unwrap();
    assert_eq!((summary.checked, summary.healthy), (40, 40));
    let spent = context.ports.budget.spent.get();
    assert!(summary.resealed > 20, "{}", summary.resealed);
    assert!(spent <= 50, "{spent} subrequests");
    assert!(fixture.world.db.query_value("SELECT finished_at FROM scheduled_runs").is_i64(), "to its end");
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM encryption_key_checks"), 3);
}

#[test]
fn pages_and_rows_are_found_by_primary_keys() {
    let fixture = Fixture::new();
    connect_many(&fixture, 3);
    fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    fixture.complete_flow(&fixture.connect_request(), "p0");
    fixture.world.acme.script_always("/revoke", Some(Reply::status(500, "")));
    let ended = fixture.connect("zoe");
    fixture.disconnect(&ended).unwrap();
    put_keys(&fixture.world, &[K2, K1]);
    fixture.world.db.reset_counts();
    reseal_once(&fixture.world);
    let seen = fixture.world.db.statements_run.borrow().clone();
    let tables = ["connections", "oauth_clients", "revocations", "flows", "reseal_progress"];
    let mut searched: BTreeSet<&str> = BTreeSet::new();
    for sql in seen {
        for line in fixture.world.db.explain_query_plan(&sql) {
            assert!(
                !tables.iter().any(|table| line == format!("SCAN {table}")) || sql.starts_with("DELETE"),
                "{line}: {sql}"
            );
            searched.extend(tables.iter().filter(|table| {
                line.starts_with(&format!("SEARCH {table} USING PRIMARY KEY"))
                    || line.starts_with(&format!("SEARCH {table} USING INDEX sqlite_autoindex_{table}_1 (id"))
            }));
        }
    }
    assert_eq!(searched.len(), tables.len(), "{searched:?}");
}

// ---- runs that are killed, fail or overlap ----

#[test]
fn an_interrupted_run_loses_nothing_and_counts_nothing_twice() {
    for sql in ["AS ahead", "n.sealed"] {
        for fault in [Fault::BeforeCommit, Fault::AfterCommit, Fault::NoAnswer] {
            let fixture = Fixture::new();
            let ids = connect_many(&fixture, 25);
            let before: Vec<_> = ids.iter().map(|id| fixture.open_credential(id)).collect();
            fixture.world.reseal_batch.set(Some(10));
            put_keys(&fixture.world, &[K2, K1]);
            reseal_once(&fixture.world);
            fixture.world.db.fault_rules.borrow_mut().push(FaultRule { statement_part: sql, times: 1, fault });
            let context = fixture.world.context();
            let dying = fixture.world.runtime.spawn(async move { reseal::reseal_page(&context).await.is_ok() });
            fixture.world.runtime.run_until_idle();
            dying.kill();
            assert_eq!(fixture.world.db.fault_rules.borrow()[0].times, 0, "it was wounded");
            run_until_resealed(&fixture);
            assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k2", 26), "{sql} {fault:?}");
            assert_eq!(load_progress(&fixture.world).resealed, 26, "{sql} {fault:?}");
            put_keys(&fixture.world, &[K2]);
            let after: Vec<_> = ids.iter().map(|id| fixture.open_credential(id)).collect();
            assert!(after == before, "{sql} {fault:?}");
        }
    }
}

#[test]
fn a_run_that_is_killed_before_it_writes_is_repeated_by_the_next() {
    let fixture = Fixture::new();
    connect_many(&fixture, 8);
    put_keys(&fixture.world, &[K2, K1]);
    fixture.world.db.fault_rules.borrow_mut().push(FaultRule {
        statement_part: "ahead <",
        times: 1,
        fault: Fault::Slow(1000),
    });
    let context = fixture.world.context();
    let dying = fixture.world.runtime.spawn(async move { reseal::reseal_page(&context).await });
    fixture.world.run(fixture.world.runtime.sleep(500));
    dying.kill();
    fixture.world.runtime.run_until_idle();
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k1", 9));
    assert_eq!(reseal_once(&fixture.world), 9);
}

#[test]
fn a_failure_of_re_sealing_does_not_stop_the_rest_of_a_run() {
    for sql in ["AS ahead", "n.sealed"] {
        let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), &json!({}));
        connect_many(&fixture, 3);
        fixture.run_scheduled();
        fixture.world.db.tamper("UPDATE connections SET next_check_at = 1");
        put_keys(&fixture.world, &[K2, K1]);
        fixture.world.db.fault_rules.borrow_mut().push(FaultRule {
            statement_part: sql,
            times: 1,
            fault: Fault::BeforeCommit,
        });
        let summary = fixture.run_scheduled();
        assert_eq!((summary.checked, summary.healthy, summary.resealed), (3, 3, 0));
        assert!(fixture.world.db.query_value("SELECT finished_at FROM scheduled_runs").is_i64());
        assert!(fixture.world.log.dump_lines().contains("an injected fault"));
        assert_eq!(fixture.run_scheduled().resealed, 4, "the next run goes on");
    }
}

#[test]
fn overlapping_runs_count_every_value_once() {
    for seed in 0..12 {
        let fixture = Fixture::in_world(&World::new(RefreshMode::Direct, Some(seed)), &json!({}));
        connect_many(&fixture, 12);
        fixture.world.reseal_batch.set(Some(7));
        put_keys(&fixture.world, &[K2, K1]);
        let runs = (0..4).map(|_| {
            let context = fixture.world.context();
            async move {
                for _ in 0..8 {
                    reseal::reseal_page(&context).await.unwrap();
                }
            }
        });
        fixture.world.run_concurrently(runs);
        assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k2", 13), "seed {seed}");
        assert_eq!(load_progress(&fixture.world).resealed, 13, "seed {seed}");
    }
}

// ---- concurrent work ----

/// The concurrent work during re-sealing, each in its own task.
async fn run_beside_reseal(what: usize, fixture: Rc<Fixture>, world: World, ids: Rc<Vec<ConnectionId>>) {
    let id = &ids[what % ids.len()];
    let context = world.context();
    match what % 5 {
        0 => drop(reseal::reseal_page(&context).await),
        1 => drop(run_scheduled(&context, context.now()).await),
        2 => {
            let request = ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() };
            let answered = resolve(&context, &fixture.presented_key(), id, Ok(request)).await;
            assert!(answered.is_ok(), "{:?}", answered.err());
        }
        3 => assert_ne!(world.run_refresher(id, RefreshReason::Force).await, RefreshOutcome::Unreadable),
        _ => {
            let url = connections::connect::start::begin_flow(&context, &fixture.repair_request(id), BROWSER_SESSION)
                .await
                .unwrap();
            let account = format!("p{}", ids.iter().position(|one| one == id).unwrap());
            let (code, state) = world.acme.consent(&url, &account);
            let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
            let landing = handle(&context, &fixture.client, returned, &[BROWSER_SESSION.to_owned()]).await.unwrap();
            assert!(matches!(landing, CallbackResult::Flow(_)));
        }
    }
}

#[test]
fn re_sealing_does_not_affect_concurrent_refreshes_and_reconnects() {
    for seed in 0..20 {
        let way = if seed % 2 == 0 { RefreshMode::Direct } else { RefreshMode::Object };
        let fixture = Rc::new(Fixture::in_world(&World::new(way, Some(seed)), &json!({})));
        let ids = Rc::new(connect_many(&fixture, 6));
        fixture.world.advance_clock(3500);
        fixture.world.reseal_batch.set(Some(1 + i64::try_from(seed % 9).unwrap()));
        put_keys(&fixture.world, &[K2, K1]);
        let lingering = fixture.world.second_deployment_with_keys(&[K1, K2].join(","));
        for round in 0..3 {
            let acts = (0..20).map(|at| {
                let world = if at % 7 == 3 { lingering.clone() } else { fixture.world.clone() };
                run_beside_reseal(at + round, Rc::clone(&fixture), world, Rc::clone(&ids))
            });
            fixture.world.run_concurrently(acts);
            fixture.world.runtime.run_until_idle();
            fixture.world.advance_clock(3500);
        }
        // The previous deployment may have written after the pass that finished: that is found within a day.
        run_until_resealed(&fixture);
        run_daily_pass(&fixture);
        put_keys(&fixture.world, &[K2]);
        assert_eq!(count_sealed_by_key(&fixture.world).keys().collect::<Vec<_>>(), ["k2"], "seed {seed}");
        assert_eq!(
            fixture.world.acme.count_refreshes(RedeemOutcome::GrantRevoked)
                + fixture.world.acme.count_refreshes(RedeemOutcome::Refused),
            0,
            "seed {seed}"
        );
        for id in ids.iter() {
            fixture.expire_access_token(id);
            assert_eq!(
                fixture.refresh_if_needed(id),
                RefreshOutcome::Refreshed,
                "seed {seed}: the stored refresh token is the newest"
            );
            assert!(
                fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(id)).0),
                "seed {seed}"
            );
        }
    }
}

/// The daily pass, from its first page to the end of all that it made necessary. No check is due, because it would refresh.
fn run_daily_pass(fixture: &Fixture) {
    let before = load_progress(&fixture.world).pass;
    fixture.world.db.tamper("UPDATE connections SET next_check_at = NULL");
    fixture.world.advance_clock(86_400);
    for _ in 0..400 {
        fixture.run_scheduled();
        let progress = load_progress(&fixture.world);
        if progress.pass > before && progress.after.is_none() && progress.finished_at.is_some() {
            return;
        }
        fixture.world.advance_clock(300);
    }
    panic!("never finished: {:?}", load_progress(&fixture.world));
}

/// A step that has read its page, and writes it a second later.
fn run_during_reseal_write(fixture: &Fixture, then: impl FnOnce()) {
    fixture.world.db.fault_rules.borrow_mut().push(FaultRule {
        statement_part: "n.sealed",
        times: 1,
        fault: Fault::Slow(1000),
    });
    let context = fixture.world.context();
    let writing = fixture.world.runtime.spawn(async move { reseal::reseal_page(&context).await.unwrap() });
    fixture.world.run(fixture.world.runtime.sleep(500));
    then();
    fixture.world.run(writing);
}

#[test]
fn a_value_that_changed_after_it_was_read_is_not_overwritten() {
    let fixture = Fixture::new();
    let ids = connect_many(&fixture, 3);
    fixture.expire_access_token(&ids[0]);
    fixture.world.acme.script_always("/revoke", Some(Reply::status(500, "")));
    let begun = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    put_keys(&fixture.world, &[K2, K1]);
    run_during_reseal_write(&fixture, || {
        assert_eq!(fixture.refresh_if_needed(&ids[0]), RefreshOutcome::Refreshed);
        fixture.complete_flow(&fixture.repair_request(&ids[1]), "p1");
        fixture.disconnect(&ids[2]).unwrap();
        fixture.put_client_secret("another secret");
        let (code, state) = fixture.world.acme.consent(&begun, "eve");
        let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
        fixture.return_from_app(returned, BROWSER_SESSION);
    });
    assert_eq!(load_progress(&fixture.world).resealed, 0, "nothing was what it had been");
    put_keys(&fixture.world, &[K2]);
    let secret = fixture.load_client().secret(&fixture.world.config().key_ring).unwrap();
    assert_eq!(secret, ClientSecret::SharedSecret(connections::secret::Secret::new("another secret")));
    let spent = "SELECT count(*) FROM flows WHERE sealed_verifier IS NOT NULL";
    assert_eq!(fixture.world.db.query_number(spent), 0, "a verifier that was spent does not come back");
    for id in &ids[..2] {
        assert!(fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(id)).0));
    }
    assert!(fixture.find_connection(&ids[2]).is_none());
}

#[test]
fn a_connection_with_a_lease_is_left_for_the_next_pass() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let until = fixture.world.now().plus(60).unix();
    fixture.world.db.tamper(&format!(
        "UPDATE connections SET lease_attempt_id = 'att_AAAAAAAAAAAAAAAAAAAAAA', lease_expires_at = {until}"
    ));
    put_keys(&fixture.world, &[K2, K1]);
    assert_eq!(reseal_once(&fixture.world), 1, "the client's secret");
    assert!(sealed_credential(&fixture, &id).starts_with("cx1.k1."));
    assert_eq!(load_progress(&fixture.world).unsettled, 2, "which brings another pass");
    fixture.world.advance_clock(600);
    assert_eq!(reseal_once(&fixture.world), 1);
    assert!(sealed_credential(&fixture, &id).starts_with("cx1.k2."));
}

#[test]
fn a_pending_write_is_stored_after_its_token_was_sealed_again() {
    let fixture = Fixture::new();
    fixture.world.kept_writes.enabled.set(true);
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    let refused = FaultRule { statement_part: "last_attempt_id = ?5", times: 6, fault: Fault::BeforeCommit };
    fixture.world.db.fault_rules.borrow_mut().push(refused);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::DatabaseUnavailable);
    let (_, kept) = fixture.world.kept_writes.writes.borrow_mut().pop().unwrap();
    // Another caller takes the attempt over and ends it. Only the version is left to compare.
    fixture.world.advance_clock(120);
    fixture.world.acme.script_next("/token", Reply::status(429, ""));
    fixture.refresh_if_needed(&id);
    assert!(fixture.load_connection(&id).lease.is_none());
    put_keys(&fixture.world, &[K2, K1]);
    assert_eq!(reseal_once(&fixture.world), 2);
    assert!(fixture.world.run(async { refresh::write_pending_renewal(&fixture.world.context(), &kept).await }));
    assert!(sealed_credential(&fixture, &id).starts_with("cx1.k1."), "as it was sealed when it came");
    assert!(is_usable(&fixture, &id));
    assert_eq!(fixture.world.acme.count_refreshes(RedeemOutcome::GrantRevoked), 0);
    run_until_resealed(&fixture);
    put_keys(&fixture.world, &[K2]);
    fixture.expire_access_token(&id);
    assert!(is_usable(&fixture, &id));
}

#[test]
fn an_unreadable_cache_entry_is_a_miss_and_is_written_again() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let source = || {
        let request = ResolveRequest { consistency: Consistency::Edge, ..ResolveRequest::default() };
        fixture.resolve_and_finish(&id, request).unwrap().resolved.source
    };
    assert_eq!((source(), source()), (Source::Database, Source::Cache));
    put_keys(&fixture.world, &[K2, K1]);
    assert_eq!(source(), Source::Cache);
    run_until_resealed(&fixture);
    put_keys(&fixture.world, &[K2]);
    assert_eq!((source(), source()), (Source::Database, Source::Cache));
}

// ---- keys that are missing, wrong, or not the last ----

#[test]
fn unreadable_values_are_counted_and_do_not_block_the_pass() {
    let fixture = Fixture::new();
    let ids = connect_many(&fixture, 6);
    let tampered = [(&ids[1], "cx1.k1.AAAA"), (&ids[3], "cx1.k9.AAAA"), (&ids[4], "no envelope at all")];
    for (id, text) in tampered {
        fixture.world.db.tamper(&format!("UPDATE connections SET sealed_credential = '{text}' WHERE id = '{id}'"));
    }
    fixture.world.reseal_batch.set(Some(2));
    put_keys(&fixture.world, &[K2, K1]);
    run_until_resealed(&fixture);
    for (id, text) in tampered {
        assert_eq!(sealed_credential(&fixture, id), text);
    }
    assert_eq!((load_progress(&fixture.world).resealed, load_progress(&fixture.world).unreadable), (4, 3));
    put_keys(&fixture.world, &[K2]);
    assert!([0, 2, 5].iter().all(|at| is_usable(&fixture, &ids[*at])));
    fixture.complete_flow(&fixture.repair_request(&ids[3]), "p3");
    assert!(is_usable(&fixture, &ids[3]), "a person repairs it under the same id");
    fixture.world.advance_clock(86_400);
    run_until_resealed(&fixture);
    while load_progress(&fixture.world).after.is_some() {
        reseal_once(&fixture.world);
    }
    assert_eq!(load_progress(&fixture.world).unreadable, 2);
}

#[test]
fn a_key_that_was_removed_too_early_can_be_added_again() {
    let fixture = Fixture::new();
    let ids = connect_many(&fixture, 4);
    fixture.world.reseal_batch.set(Some(3));
    put_keys(&fixture.world, &[K2, K1]);
    reseal_once(&fixture.world);
    put_keys(&fixture.world, &[K2]);
    let left: i64 = count_sealed_by_key(&fixture.world)["k1"];
    run_until_resealed(&fixture);
    assert_eq!(load_progress(&fixture.world).unreadable, left);
    assert_eq!(count_sealed_by_key(&fixture.world)["k1"], left);
    put_keys(&fixture.world, &[K2, K1]);
    assert!(ids.iter().all(|id| is_usable(&fixture, id)));
    fixture.world.advance_clock(86_400);
    fixture.run_scheduled();
    run_until_resealed(&fixture);
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k2", 5));
}

#[test]
fn another_first_key_during_a_pass_restarts_it() {
    let fixture = Fixture::new();
    let ids = connect_many(&fixture, 12);
    fixture.world.reseal_batch.set(Some(5));
    put_keys(&fixture.world, &[K2, K1]);
    reseal_once(&fixture.world);
    assert_eq!(count_sealed_by_key(&fixture.world).len(), 2, "half-way");
    put_keys(&fixture.world, &[K3, K2, K1]);
    run_until_resealed(&fixture);
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k3", 13));
    assert_eq!((load_progress(&fixture.world).key_id.as_str(), load_progress(&fixture.world).resealed), ("k3", 13));
    put_keys(&fixture.world, &[K1, K3]);
    run_until_resealed(&fixture);
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k1", 13));
    put_keys(&fixture.world, &[K3, K1]);
    assert!(reseal_once(&fixture.world) > 0, "a key that was finished before is not taken for finished");
    run_until_resealed(&fixture);
    put_keys(&fixture.world, &[K3]);
    assert!(ids.iter().all(|id| is_usable(&fixture, id)));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM reseal_progress"), 1);
}

#[test]
fn wrong_bytes_under_a_known_key_id_change_nothing() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.run_scheduled();
    fixture.world.db.tamper("UPDATE connections SET next_check_at = 1");
    let before = fixture.world.db.dump_tables();
    for keys in [vec![WRONG_K1], vec![K3, WRONG_K1], vec![WRONG_K1, K3]] {
        put_keys(&fixture.world, &keys);
        for _ in 0..3 {
            fixture.world.advance_clock(700);
            let (context, now) = (fixture.world.context(), fixture.world.now());
            let error = fixture.world.run(run_scheduled(&context, now)).unwrap_err();
            assert_eq!(error.code, connections::error::ErrorCode::Misconfigured);
            assert_eq!(fixture.world.db.dump_tables(), before, "{keys:?}");
        }
    }
    put_keys(&fixture.world, &[K1]);
    assert!(is_usable(&fixture, &id));
}

// ---- what the operator sees ----

fn get_status(fixture: &Fixture) -> serde_json::Value {
    let request = Request {
        method: Method::Get,
        path: "/v1/status".into(),
        query: String::new(),
        headers: vec![("authorization".into(), "Bearer abcdefghijklmnopqrstuvwxyz0123456789".into())],
        body: Body::Bytes(vec![]),
        id: "r".into(),
    };
    let response = fixture.world.run(async { http::handle(&fixture.world.context(), &request).await });
    assert_eq!(response.status, 200, "{}", response.body);
    serde_json::from_str(&response.body).unwrap()
}

#[test]
fn the_operator_sees_the_progress_and_when_the_old_key_can_be_removed() {
    let fixture = Fixture::new();
    connect_many(&fixture, 7);
    fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    fixture.world.reseal_batch.set(Some(5));
    let look = || {
        let status = get_status(&fixture);
        let reseal = &status["reseal"];
        let rows =
            |id: &str| status["keys"].as_array().unwrap().iter().find(|key| key["id"] == id).unwrap()["rows"].clone();
        let finished = !reseal["finished_at"].is_null();
        (
            json!([reseal["key"], reseal["state"], reseal["remaining"], reseal["resealed"], reseal["unreadable"]]),
            rows("k1"),
            finished,
        )
    };
    assert_eq!(look(), (json!(["k1", "idle", 0, 0, 0]), json!(9), false), "a flow's verifier is counted, too");
    put_keys(&fixture.world, &[K1, K2]);
    assert_eq!(look(), (json!(["k1", "idle", 0, 0, 0]), json!(9), false));
    put_keys(&fixture.world, &[K2, K1]);
    assert_eq!(look(), (json!(["k2", "idle", 9, 0, 0]), json!(9), false));
    reseal_once(&fixture.world);
    let (seen, left, _) = look();
    assert!((1..9).contains(&left.as_i64().unwrap()));
    assert_eq!(seen, json!(["k2", "running", left, 9 - left.as_i64().unwrap(), 0]));
    run_until_resealed(&fixture);
    let all = get_status(&fixture)["reseal"]["resealed"].as_i64().unwrap();
    assert_eq!(look(), (json!(["k2", "finished", 0, all, 0]), json!(0), true));
    let lost = "UPDATE connections SET sealed_credential = 'cx1.k9.AAAA' WHERE id = (SELECT min(id) FROM connections)";
    fixture.world.db.tamper(lost);
    assert_eq!(get_status(&fixture)["reseal"]["remaining"], 1, "counted now");
    fixture.world.advance_clock(86_400);
    run_until_resealed(&fixture);
    while load_progress(&fixture.world).after.is_some() {
        reseal_once(&fixture.world);
    }
    assert_eq!(look(), (json!(["k2", "finished", 1, all, 1]), json!(0), true));
    put_keys(&fixture.world, &[K2]);
    let keys = get_status(&fixture)["keys"].clone();
    assert_eq!(keys[0], json!({ "id": "k2", "on_ring": true, "seals": true, "rows": 7 }));
    assert_eq!(keys[1], json!({ "id": "k9", "on_ring": false, "seals": false, "rows": 1 }));
}

#[test]
fn values_with_the_same_id_at_a_page_end_are_not_skipped() {
    let fixture = Fixture::new();
    let ids = connect_many(&fixture, 3);
    // Disconnected, neither revoked nor erased: the same id is in two tables.
    fixture.world.acme.script_always("/revoke", Some(Reply::status(500, "")));
    let stays = StatementEdit {
        statement_part: "DELETE FROM connections WHERE workspace_id",
        find: "deleted_at IS NOT NULL",
        replacement: "deleted_at IS NULL",
    };
    fixture.world.db.statement_edits.borrow_mut().push(stays);
    for id in &ids {
        fixture.disconnect(id).unwrap();
    }
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k1", 7));
    fixture.world.reseal_batch.set(Some(1));
    put_keys(&fixture.world, &[K2, K1]);
    while find_progress(&fixture.world).is_none_or(|progress| progress.after.is_some()) {
        reseal_once(&fixture.world);
    }
    assert_eq!(count_sealed_by_key(&fixture.world), counts_for_key("k2", 7), "in the first pass");
}
