//! The scheduled run: stale connections are checked, unfinished work is completed, expired rows are deleted.

use connections::check::{RunSummary, run_scheduled};
use connections::connect::callback::{CallbackParams, CallbackResult};
use connections::connection::ConnectionStatus;
use connections::error::ErrorCode;
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::{Database as _, RefreshReason};
use connections::resolve::ResolveRequest;
use connections::store;
use connections::time::Timestamp;
use serde_json::{Value, json};

use crate::http::call;
use crate::support::fixture::BROWSER_SESSION;
use crate::support::{Fault, FaultRule, Fixture, RefreshMode, Reply, World};

fn fixture_with_connections(way: RefreshMode, seed: Option<u64>, count: usize) -> (Fixture, Vec<ConnectionId>) {
    let fixture = Fixture::in_world(&World::new(way, seed), &json!({}));
    let ids = (0..count).map(|at| fixture.connect(&format!("p{at}"))).collect();
    (fixture, ids)
}

/// Everything is due, and no token is about to expire.
fn make_all_due(fixture: &Fixture) {
    fixture.world.db.tamper("UPDATE connections SET next_check_at = 1 WHERE deleted_at IS NULL");
}

#[test]
fn a_connection_is_checked_once_a_day() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 3);
    assert_eq!(fixture.run_scheduled().checked, 0);
    let probes = fixture.world.acme.count_requests("/me");
    let mut checked = 0;
    for _ in 0..24 * 10 {
        fixture.world.advance_clock(3600);
        checked += fixture.run_scheduled().checked;
    }
    assert!((24..=36).contains(&checked), "three connections in ten days: {checked}");
    assert!(fixture.world.acme.count_requests("/me") - probes <= 36);
    assert!(ids.iter().all(|id| fixture.load_connection(id).status == ConnectionStatus::Connected));
}

#[test]
fn an_expired_token_is_refreshed_before_a_workflow_needs_it() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 2);
    fixture.world.advance_clock(86_400 * 2);
    let summary = fixture.run_scheduled();
    assert_eq!((summary.checked, summary.healthy), (2, 2));
    assert_eq!(fixture.world.acme.received_refreshes().len(), 2);
    for id in &ids {
        assert!(fixture.load_connection(id).expires_at.unwrap() > fixture.world.now());
    }
}

#[test]
fn a_run_counts_its_results() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 4);
    fixture.world.advance_clock(86_400 * 2);
    fixture.world.acme.withdraw_grants("p0");
    fixture
        .world
        .db
        .tamper(&format!("UPDATE connections SET sealed_credential = 'cx1.k1.AAAA' WHERE id = '{}'", ids[1]));
    let summary = fixture.run_scheduled();
    assert_eq!(
        summary,
        RunSummary { checked: 4, healthy: 2, dead: 2, purged: summary.purged, ..RunSummary::default() }
    );
    assert_eq!(fixture.load_connection(&ids[0]).status, ConnectionStatus::NeedsReconnect);
    let text = fixture.world.db.query_value("SELECT summary FROM scheduled_runs");
    assert_eq!(text, serde_json::to_string(&summary).unwrap());
}

#[test]
fn the_scheduled_time_selects_connections_and_the_clock_decides_the_rest() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 1);
    let due = fixture.load_connection(&ids[0]).next_check_at.unwrap();
    let run =
        |at: Timestamp| fixture.world.run(async { run_scheduled(&fixture.world.context(), at).await.unwrap().checked });
    assert_eq!(run(due.plus(-1)), 0);
    assert_eq!(run(due), 1, "also when the run is delayed or early by the clock");
}

#[test]
fn overlapping_runs_never_check_a_connection_twice() {
    for way in [RefreshMode::Direct, RefreshMode::Object] {
        for seed in 0..6 {
            let (fixture, ids) = fixture_with_connections(way, Some(seed), 8);
            make_all_due(&fixture);
            let probes = fixture.world.acme.count_requests("/me");
            let now = fixture.world.now();
            let runs = (0..3).map(|_| {
                let context = fixture.world.context();
                async move { run_scheduled(&context, now).await.unwrap().checked }
            });
            let checked: u64 = fixture.world.run_concurrently(runs).iter().sum();
            assert_eq!(checked, 8, "{way:?} {seed}");
            assert_eq!(fixture.world.acme.count_requests("/me") - probes, ids.len());
        }
    }
}

#[test]
fn forty_due_connections_fit_in_one_run() {
    let (fixture, _) = fixture_with_connections(RefreshMode::Object, None, 45);
    make_all_due(&fixture);
    fixture.world.advance_clock(3500);
    let now = fixture.world.now();
    let context = fixture.world.context();
    let summary = fixture.world.run(run_scheduled(&context, now)).unwrap();
    assert_eq!((summary.checked, summary.healthy), (40, 40));
    let spent = context.ports.budget.spent.get();
    assert!(spent <= 50, "{spent} subrequests");
    assert_eq!(fixture.run_scheduled().checked, 5, "the rest is the next run's");
}

#[test]
fn a_run_with_a_large_cleanup_stays_within_its_limits() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 12);
    fixture.world.acme.script_always("/revoke", Some(Reply::status(500, "")));
    for id in &ids {
        fixture.disconnect(id).unwrap();
    }
    for at in 0..10 {
        fixture.make_key(|key| key.name = format!("k{at}"));
    }
    fixture.world.db.tamper("UPDATE api_keys SET revoked_at = 1 WHERE name <> 'first'");
    let more: Vec<_> = (0..12).map(|at| fixture.connect(&format!("q{at}"))).collect();
    for id in &more {
        fixture.world.run(async {
            let context = fixture.world.context();
            store::refreshes::mark_deleted(context.db(), &fixture.workspace, id, context.now(), vec![]).await.unwrap();
        });
    }
    fixture.world.acme.script_always("/revoke", None);
    for _ in 0..20 {
        fixture.world.advance_clock(300);
        let now = fixture.world.now();
        let context = fixture.world.context();
        fixture.world.run(run_scheduled(&context, now)).unwrap();
        assert!(context.ports.budget.spent.get() <= 50, "{}", context.ports.budget.spent.get());
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 0);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM revocations"), 0);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM api_keys WHERE revoked_at IS NOT NULL"), 0);
}

#[test]
fn an_interrupted_run_can_be_repeated_safely() {
    for after_ms in [20, 60, 110, 150, 250] {
        let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 10);
        fixture.world.advance_clock(86_400 * 2);
        let now = fixture.world.now();
        let context = fixture.world.context();
        let run = fixture.world.runtime.spawn(async move { run_scheduled(&context, now).await });
        fixture.world.run(fixture.world.runtime.sleep(after_ms));
        run.kill();
        fixture.world.runtime.run_until_idle();
        fixture.world.advance_clock(121);
        fixture.run_scheduled();
        fixture.run_scheduled();
        assert_eq!(fixture.world.acme.received_refreshes().len(), ids.len(), "each once, killed at {after_ms} ms");
        assert!(ids.iter().all(|id| fixture.load_connection(id).status == ConnectionStatus::Connected));
        assert!(ids.iter().all(|id| fixture.load_connection(id).expires_at.unwrap() > fixture.world.now()));
    }
}

#[test]
fn a_run_with_a_wrong_key_ring_does_nothing() {
    let (fixture, _) = fixture_with_connections(RefreshMode::Object, None, 1);
    fixture.run_scheduled();
    make_all_due(&fixture);
    *fixture.world.encryption_keys.borrow_mut() = "k1:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=".into();
    let asked = fixture.world.acme.count_all_requests();
    let now = fixture.world.now();
    let error = fixture.world.run(async { run_scheduled(&fixture.world.context(), now).await }).unwrap_err();
    assert_eq!(error.code, connections::error::ErrorCode::Misconfigured);
    assert_eq!(fixture.world.acme.count_all_requests(), asked);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections WHERE next_check_at = 1"), 1);
}

#[test]
fn a_failed_check_is_repeated_soon_and_then_less_often() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 1);
    fixture.world.acme.script_always("/me", Some(Reply::status(500, "")));
    make_all_due(&fixture);
    let before = fixture.world.acme.count_requests("/me");
    for _ in 0..24 * 60 {
        fixture.run_scheduled();
        fixture.world.acme.script_always("/token", None);
        fixture.world.advance_clock(60);
    }
    let probes = fixture.world.acme.count_requests("/me") - before;
    assert!((5..=120).contains(&probes), "{probes} probes in a day of outage");
    assert_eq!(fixture.load_connection(&ids[0]).status, ConnectionStatus::Connected);
}

#[test]
fn connections_that_need_reconnect_are_not_checked_and_lose_their_tokens_after_a_week() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 1);
    fixture.world.acme.withdraw_grants("p0");
    fixture.world.advance_clock(86_400 * 2);
    fixture.run_scheduled();
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
    for _ in 0..6 {
        fixture.world.advance_clock(86_400);
        fixture.run_scheduled();
    }
    assert!(fixture.load_connection(&ids[0]).sealed_credential.is_some());
    fixture.world.advance_clock(86_400 * 2);
    fixture.run_scheduled();
    assert_eq!(fixture.load_connection(&ids[0]).sealed_credential, None);
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
    let outcome = fixture.refresh(&ids[0], RefreshReason::OnDemandCheck);
    assert_eq!(outcome, connections::ports::RefreshOutcome::NeedsReconnect);
}

#[test]
fn expired_rows_are_deleted() {
    let (fixture, _) = fixture_with_connections(RefreshMode::Object, None, 1);
    let now = fixture.world.now();
    fixture.start_flow(&fixture.connect_request(), "elsewhere");
    fixture.world.run(async {
        let context = fixture.world.context();
        let session = store::sessions::Session {
            hash: "h".into(),
            workspace: fixture.workspace.clone(),
            kind: store::sessions::SessionKind::User(fixture.connect_request().user.unwrap()),
            role: connections::workspace::Role::Member,
            made_by: None,
            created_at: now,
            expires_at: now.plus(3600),
        };
        store::sessions::insert(context.db(), &session).await.unwrap();
        let sign_in = store::sessions::SignInLink {
            hash: "t".into(),
            workspace: fixture.workspace.clone(),
            user: fixture.connect_request().user.unwrap(),
            role: connections::workspace::Role::Member,
            return_to: None,
            made_by: None,
            created_at: now,
            expires_at: now.plus(600),
            used_at: None,
        };
        assert!(store::sessions::insert_sign_in_link(context.db(), &sign_in, false, None).await.unwrap());
    });
    fixture.world.advance_clock(3600);
    fixture.run_scheduled();
    let count = |table: &str| fixture.world.db.query_number(&format!("SELECT count(*) FROM {table}"));
    assert_eq!((count("sessions"), count("sign_in_links")), (0, 0));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM flows WHERE sealed_verifier IS NOT NULL"), 0);
    assert_eq!(count("flows"), 2);
    fixture.world.advance_clock(90_000);
    fixture.run_scheduled();
    assert_eq!(count("flows"), 0);
    fixture.world.advance_clock(86_400 * 91);
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM events WHERE type = 'connected'"), 0);
}

#[test]
fn a_deleted_workspace_is_disconnected_revoked_and_erased() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 3);
    let other = fixture.other_workspace();
    let kept = other.connect("zoe");
    fixture.world.run(async {
        let context = fixture.world.context();
        assert!(store::workspaces::mark_deleted(context.db(), &fixture.workspace, context.now()).await.unwrap());
    });
    assert!(ids.iter().all(|id| fixture.find_connection(id).is_none()));
    for _ in 0..6 {
        fixture.world.advance_clock(121);
        fixture.run_scheduled();
    }
    let left = |table: &str, column: &str| {
        fixture.world.db.query_number(&format!("SELECT count(*) FROM {table} WHERE {column} = '{}'", fixture.workspace))
    };
    for table in ["connections", "api_keys", "oauth_clients", "apps", "events", "uses", "connect_links", "flows"] {
        assert_eq!(left(table, "workspace_id"), 0, "{table}");
    }
    assert_eq!(left("workspaces", "id"), 0);
    assert!((0..3).all(|at| !fixture.world.acme.has_live_grant(&format!("p{at}"))));
    assert_eq!(other.load_connection(&kept).status, ConnectionStatus::Connected);
}

#[test]
fn a_flow_of_a_deleted_workspace_does_not_stop_the_run() {
    let (fixture, _) = fixture_with_connections(RefreshMode::Object, None, 1);
    fixture.world.run(async {
        let context = fixture.world.context();
        store::workspaces::mark_deleted(context.db(), &fixture.workspace, context.now()).await.unwrap();
    });
    let late = fixture.world.run(async {
        connections::connect::start::begin_flow(&fixture.world.context(), &fixture.connect_request(), "late")
            .await
            .map(|_| ())
    });
    late.unwrap_err();
    for _ in 0..5 {
        fixture.world.advance_clock(121);
        fixture.run_scheduled();
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM workspaces"), 0);
}

#[test]
fn a_failed_cleanup_does_not_block_the_others() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 2);
    fixture.world.run(async {
        let context = fixture.world.context();
        for id in &ids {
            store::refreshes::mark_deleted(context.db(), &fixture.workspace, id, context.now(), vec![]).await.unwrap();
        }
        let batch = vec![connections::sql!("UPDATE flows SET expires_at = ?1", 1_i64)];
        context.db().batch(batch).await.unwrap();
    });
    fixture.world.advance_clock(121);
    let fault = FaultRule { statement_part: "DELETE FROM connections", times: 2, fault: Fault::BeforeCommit };
    fixture.world.db.fault_rules.borrow_mut().push(fault);
    let now = fixture.world.now();
    let _ = fixture.world.run(async { run_scheduled(&fixture.world.context(), now).await });
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 1);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM flows"), 0, "the purge goes on");
}

// ---- expiry without a request ----

/// Ten scheduled runs, a little more than two minutes apart. Returns how many connections they checked.
fn count_checked_in_ten_runs(fixture: &Fixture) -> u64 {
    let mut checked = 0;
    for _ in 0..10 {
        checked += fixture.run_scheduled().checked;
        fixture.world.advance_clock(130);
    }
    checked
}

#[test]
fn unreadable_connections_are_postponed() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 1);
    fixture.world.db.tamper("UPDATE connections SET sealed_credential = 'cx1.k1.AAAA'");
    for expired in [false, true] {
        if expired {
            fixture.expire_access_token(&ids[0]);
        }
        make_all_due(&fixture);
        assert_eq!(count_checked_in_ten_runs(&fixture), 1);
        assert!(fixture.load_connection(&ids[0]).next_check_at.unwrap().since(fixture.world.now()) > 3600);
    }
}

#[test]
fn connections_of_a_client_in_back_off_are_postponed() {
    for misconfigured in ["NULL", "1"] {
        let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 1);
        fixture.expire_access_token(&ids[0]);
        make_all_due(&fixture);
        let until = fixture.world.now().plus(3000);
        fixture.world.db.tamper(&format!(
            "UPDATE oauth_clients SET misconfigured_at = {misconfigured}, backoff_until = {}",
            until.unix()
        ));
        let asked = fixture.world.acme.count_all_requests();
        assert_eq!(count_checked_in_ten_runs(&fixture), 1, "misconfigured_at {misconfigured}");
        assert_eq!(fixture.world.acme.count_all_requests(), asked);
        let next = fixture.load_connection(&ids[0]).next_check_at.unwrap();
        assert!((0..=3600).contains(&next.since(until)), "it is looked at when it may be asked again");
    }
}

fn issuer_patch() -> serde_json::Value {
    json!({ "auth": { "issuer": "https://acme.example", "authorize_url": null, "token_url": null, "revoke_url": null } })
}

/// A connection at an issuer that sends `iss`.
fn connect_with_issuer(fixture: &Fixture) -> ConnectionId {
    let url = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    let (code, state) = fixture.world.acme.consent(&url, "ann");
    let returned = CallbackParams {
        state: Some(state),
        code: Some(code),
        iss: Some("https://acme.example".into()),
        ..CallbackParams::default()
    };
    let CallbackResult::Flow(flow) = fixture.return_from_app(returned, BROWSER_SESSION) else { panic!("refused") };
    fixture.load_flow(&flow).connection.unwrap()
}

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn break_issuer(fixture: &Fixture) {
    fixture.world.advance_clock(3601);
    assert!(fixture.world.cache.entry_names().iter().all(|name| name.starts_with("discovery/")));
    fixture.world.cache.entries.borrow_mut().clear();
    fixture.world.acme.script_always(DISCOVERY, Some(Reply::status(500, "")));
}

#[test]
fn an_unreachable_issuer_is_asked_at_most_once_per_back_off_step() {
    for way in [RefreshMode::Direct, RefreshMode::Object] {
        let fixture = Fixture::in_world(&World::new(way, None), &issuer_patch());
        let id = connect_with_issuer(&fixture);
        break_issuer(&fixture);
        let before = fixture.world.acme.count_requests(DISCOVERY);
        for _ in 0..50 {
            let error = fixture.resolve(&id, ResolveRequest::default()).unwrap_err();
            assert_eq!(error.code, ErrorCode::AppUnavailable);
            assert!(error.hints.retry_after.unwrap() >= 1);
        }
        assert_eq!(fixture.world.acme.count_requests(DISCOVERY) - before, 1, "fifty callers in the first step");
        for _ in 0..50 {
            fixture.world.advance_clock(10);
            assert_eq!(fixture.resolve(&id, ResolveRequest::default()).unwrap_err().code, ErrorCode::AppUnavailable);
        }
        let asked = fixture.world.acme.count_requests(DISCOVERY) - before;
        assert!((3..=12).contains(&asked), "{asked} in 500 s");
        assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
        fixture.world.acme.clear_scripts();
        fixture.world.advance_clock(1800);
        fixture.resolve(&id, ResolveRequest::default()).unwrap();
        assert_eq!(fixture.load_connection(&id).failures, 0);
    }
}

#[test]
fn connections_of_an_unreachable_issuer_are_postponed() {
    let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), &issuer_patch());
    let id = connect_with_issuer(&fixture);
    break_issuer(&fixture);
    fixture.world.acme.script_always("/.well-known/oauth-authorization-server", Some(Reply::status(500, "")));
    make_all_due(&fixture);
    let before = fixture.world.acme.count_requests(DISCOVERY);
    for _ in 0..24 * 30 {
        fixture.run_scheduled();
        fixture.world.advance_clock(120);
    }
    let asked = fixture.world.acme.count_requests(DISCOVERY) - before;
    assert!((10..=90).contains(&asked), "{asked} in a day");
    assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected);
}

#[test]
fn a_connection_without_a_refresh_token_is_checked_when_it_expires() {
    let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), &json!({}));
    fixture.world.acme.gives_refresh_token.set(false);
    let (id, probed) = (fixture.connect("ann"), fixture.connect("bob"));
    assert_eq!(fixture.refresh(&probed, RefreshReason::OnDemandCheck), connections::ports::RefreshOutcome::Healthy);
    for id in [&id, &probed] {
        let row = fixture.load_connection(id);
        assert_eq!(row.next_check_at, Some(row.expires_at.unwrap().plus(1)));
    }
    fixture.expire_access_token(&id);
    fixture.expire_access_token(&probed);
    assert_eq!(fixture.run_scheduled().dead, 2);
    for id in [&id, &probed] {
        let row = fixture.load_connection(id);
        assert_eq!(row.status, ConnectionStatus::NeedsReconnect);
        assert_eq!(row.reason, Some(connections::connection::ReconnectReason::RefreshTokenMissing));
    }
}

// ---- deleted workspaces, and shares of a run ----

fn delete_workspace(fixture: &Fixture) {
    fixture.world.run(async {
        let context = fixture.world.context();
        assert!(store::workspaces::mark_deleted(context.db(), &fixture.workspace, context.now()).await.unwrap());
    });
}

fn count_rows(fixture: &Fixture, table: &str) -> i64 {
    let column = if table == "workspaces" { "id" } else { "workspace_id" };
    fixture.world.db.query_number(&format!("SELECT count(*) FROM {table} WHERE {column} = '{}'", fixture.workspace))
}

#[test]
fn a_connection_created_during_the_workspaces_deletion_is_erased() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 2);
    let born =
        format!("UPDATE connections SET deleted_at = NULL, generation = 1, next_check_at = 1 WHERE id = '{}'", ids[1]);
    delete_workspace(&fixture);
    fixture.world.db.tamper(&born);
    assert!(fixture.find_connection(&ids[1]).is_some());
    for _ in 0..8 {
        fixture.world.advance_clock(121);
        fixture.run_scheduled();
    }
    for table in ["connections", "api_keys", "oauth_clients", "workspaces"] {
        assert_eq!(count_rows(&fixture, table), 0, "{table}");
    }
    assert!((0..2).all(|at| !fixture.world.acme.has_live_grant(&format!("p{at}"))));
}

/// Twelve unfinished disconnects, twelve revocations and ten revoked keys. Every connection of another workspace is due
/// again and again.
fn fixture_with_leftovers(due: usize) -> (Fixture, Fixture) {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 12);
    let neighbour = fixture.other_workspace();
    for at in 0..due {
        neighbour.connect(&format!("n{at}"));
    }
    fixture.world.acme.script_always("/revoke", Some(Reply::status(500, "")));
    for id in &ids {
        fixture.disconnect(id).unwrap();
    }
    fixture.world.acme.script_always("/revoke", None);
    for at in 0..10 {
        fixture.make_key(|key| key.name = format!("k{at}"));
    }
    fixture.world.db.tamper("UPDATE api_keys SET revoked_at = 1 WHERE name <> 'first'");
    let more: Vec<_> = (0..12).map(|at| fixture.connect(&format!("q{at}"))).collect();
    for id in &more {
        fixture.world.run(async {
            let context = fixture.world.context();
            store::refreshes::mark_deleted(context.db(), &fixture.workspace, id, context.now(), vec![]).await.unwrap();
        });
    }
    (fixture, neighbour)
}

fn count_leftovers(fixture: &Fixture) -> i64 {
    count_rows(fixture, "connections")
        + count_rows(fixture, "revocations")
        + fixture.world.db.query_number("SELECT count(*) FROM api_keys WHERE revoked_at IS NOT NULL")
}

#[test]
fn a_full_run_leaves_room_for_cleanup_and_stays_within_its_limits() {
    let (fixture, _neighbour) = fixture_with_leftovers(45);
    for run in 0..60 {
        fixture.world.advance_clock(121);
        make_all_due(&fixture);
        let (before, now) = (count_leftovers(&fixture), fixture.world.now());
        let context = fixture.world.context();
        let summary = fixture.world.run(run_scheduled(&context, now)).unwrap();
        let spent = context.ports.budget.spent.get();
        assert!(spent <= 50, "run {run}: {spent} subrequests");
        assert!(summary.checked >= 20, "run {run}: {} checked", summary.checked);
        assert_eq!(summary.healthy, summary.checked, "run {run}");
        assert!(before == 0 || count_leftovers(&fixture) < before, "run {run}: nothing was done of {before}");
    }
    assert_eq!(count_leftovers(&fixture), 0);
}

#[test]
fn a_run_with_a_small_batch_checks_and_cleans_up() {
    let (fixture, _neighbour) = fixture_with_leftovers(10);
    fixture.world.check_batch.set(Some(5));
    for run in 0..60 {
        fixture.world.advance_clock(121);
        make_all_due(&fixture);
        let before = count_leftovers(&fixture);
        let summary = fixture.run_scheduled();
        assert!(summary.checked >= 1 && summary.checked <= 5, "run {run}: {} checked", summary.checked);
        assert!(before == 0 || count_leftovers(&fixture) < before, "run {run}: nothing was done of {before}");
    }
    assert_eq!(count_leftovers(&fixture), 0);
}

#[test]
fn a_large_workspace_is_deleted_while_every_run_is_full() {
    let (fixture, neighbour) = fixture_with_leftovers(45);
    for at in 0..6 {
        fixture.connect(&format!("m{at}"));
    }
    delete_workspace(&fixture);
    for _ in 0..80 {
        fixture.world.advance_clock(121);
        make_all_due(&neighbour);
        let now = fixture.world.now();
        let context = fixture.world.context();
        fixture.world.run(run_scheduled(&context, now)).unwrap();
        assert!(context.ports.budget.spent.get() <= 50, "{}", context.ports.budget.spent.get());
    }
    for table in ["connections", "revocations", "api_keys", "oauth_clients", "workspaces"] {
        assert_eq!(count_rows(&fixture, table), 0, "{table}");
    }
    assert_eq!(count_rows(&neighbour, "connections"), 45);
}

/// The ids in the order in which a run takes them.
fn take_due(fixture: &Fixture, limit: i64) -> Vec<ConnectionId> {
    fixture.world.run(async {
        let context = fixture.world.context();
        let now = fixture.world.now();
        store::refreshes::lease_due(context.db(), now, now.plus(120), limit, false).await.unwrap().leased
    })
}

fn set_columns(fixture: &Fixture, id: &ConnectionId, columns: &str) {
    assert_eq!(fixture.world.db.tamper(&format!("UPDATE connections SET {columns} WHERE id = '{id}'")), 1);
}

#[test]
fn a_refresh_token_near_its_end_is_taken_before_what_has_waited_longest() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 6);
    make_all_due(&fixture);
    let now = fixture.world.now().unix();
    let ends = |id: usize, seconds: i64, since: i64| {
        let (end, due) = (now + seconds, now - since);
        set_columns(&fixture, &ids[id], &format!("refresh_expires_at = {end}, next_check_at = {due}"));
    };
    ends(1, 3600, 10);
    ends(3, 86_400, 60);
    ends(4, 7200, -600);
    ends(5, 30 * 86_400, 5);
    assert_eq!(take_due(&fixture, 2), [ids[1].clone(), ids[3].clone()]);
    // One is not due, and one has a month: that takes its turn.
    let rest = take_due(&fixture, 2);
    assert!(rest.len() == 2 && rest.contains(&ids[0]) && rest.contains(&ids[2]), "{rest:?}");
    assert_eq!(take_due(&fixture, 2), [ids[5].clone()]);
}

#[test]
fn a_daily_probe_that_waited_until_the_end_is_near_is_taken_first() {
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 3);
    make_all_due(&fixture);
    let end = fixture.world.now().unix() + 90 * 86_400;
    set_columns(&fixture, &ids[2], &format!("refresh_idle_until = {end}, next_check_at = 2"));
    fixture.world.advance_clock(88 * 86_400);
    assert_eq!(take_due(&fixture, 1), [ids[2].clone()]);
}

#[test]
fn what_is_refreshed_by_use_is_not_checked_and_what_is_only_used_is() {
    let (fixture, mut ids) = fixture_with_connections(RefreshMode::Object, None, 1);
    let usual = fixture.world.acme.expires_in.replace(Some(400 * 86_400));
    ids.push(fixture.connect("long"));
    fixture.world.acme.expires_in.set(usual);
    let mut checked = 0;
    for _ in 0..24 * 5 {
        fixture.world.advance_clock(3601);
        for id in &ids {
            fixture.resolve_and_finish(id, ResolveRequest::default()).unwrap();
        }
        checked += fixture.run_scheduled().checked;
    }
    assert!((4..=6).contains(&checked), "once a day the one whose app nobody asked: {checked}");
    assert_eq!(fixture.world.acme.received_refreshes().len(), 24 * 5);
}

#[test]
fn a_run_goes_on_with_further_portions_where_the_plan_allows_it() {
    let (fixture, _) = fixture_with_connections(RefreshMode::Object, None, 300);
    fixture.world.subrequests.set(Some(1000));
    fixture.world.subrequest_limit.set(Some(1000));
    make_all_due(&fixture);
    assert_eq!(fixture.run_scheduled().checked, 300);
}

#[test]
fn the_status_tells_when_late_checks_will_have_been_done() {
    const ADMIN_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
    let (fixture, ids) = fixture_with_connections(RefreshMode::Object, None, 50);
    let status = || call(&fixture, ADMIN_KEY, Method::Get, "/v1/status", &Value::Null).1["scheduled_work"].clone();
    assert_eq!(
        (&status()["state"], &status()["checks_per_hour"]),
        (&json!("caught_up"), &json!(0)),
        "no run has begun"
    );
    fixture.world.check_batch.set(Some(5));
    make_all_due(&fixture);
    fixture.run_scheduled();
    fixture.world.advance_clock(300);
    fixture.run_scheduled();
    let expected = json!({
        "state": "catching_up", "due_checks_complete": true, "oldest_due_at": "1970-01-01T00:00:01Z", "due_within_an_hour": 0,
        "checks_per_hour": 60, "caught_up_in": 2400, "erasures_left": 0, "revocations_left": 0
    });
    assert_eq!(status(), expected);
    for _ in 0..8 {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
    assert_eq!((&status()["state"], &status()["caught_up_in"]), (&json!("caught_up"), &json!(0)));
    fixture.world.acme.script_always("/revoke", Some(Reply::status(500, "")));
    fixture.disconnect(&ids[0]).unwrap();
    assert_eq!(status()["revocations_left"], 1);
    fixture.world.run(async {
        let context = fixture.world.context();
        store::refreshes::mark_deleted(context.db(), &fixture.workspace, &ids[1], context.now(), vec![]).await.unwrap();
    });
    assert_eq!(status()["erasures_left"], 1);
    make_all_due(&fixture);
    fixture.world.advance_clock(3600);
    assert_eq!(
        (&status()["state"], &status()["caught_up_in"]),
        (&json!("falling_behind"), &Value::Null),
        "no run begins"
    );
}
