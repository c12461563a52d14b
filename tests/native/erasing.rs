//! A large workspace ends in bounded steps, and is erased in time: ten thousand connections within three days on the free
//! plan and within a day on the paid one, although every run is full of checks.
//!
//! Runs are counted with fewer connections. What a run does does not depend on how many are left, so the runs for ten
//! thousand follow from these.

use connections::check::run_scheduled;
use connections::ids::ConnectionId;
use connections::ports::{RefreshOutcome, RefreshReason};
use connections::store;
use serde_json::{Value, json};

use crate::support::{Fixture, RefreshMode, World};

const RUNS_A_DAY: u64 = 288;
/// Connections that end with the request that deletes their workspace.
const ENDED_AT_ONCE: i64 = 500;

fn fixture_with(count: usize, patch: &Value) -> (Fixture, Vec<ConnectionId>) {
    let fixture = Fixture::in_world(&World::new(RefreshMode::Object, None), patch);
    let ids = (0..count).map(|at| fixture.connect(&format!("p{at}"))).collect();
    (fixture, ids)
}

fn delete_workspace(fixture: &Fixture) {
    fixture.world.run(async {
        let context = fixture.world.context();
        assert!(store::workspaces::mark_deleted(context.db(), &fixture.workspace, context.now()).await.unwrap());
    });
}

fn count(fixture: &Fixture, of: &str) -> i64 {
    fixture.world.db.query_number(&format!("SELECT count(*) FROM {of}"))
}

/// Rows written as D1 counts them: changed rows, and new entries of indexes. Entries that go are not counted.
fn rows_written(fixture: &Fixture) -> u64 {
    let changes = fixture.world.db.changes.borrow();
    let rows = |sql: &str| -> u64 {
        if sql.starts_with("INSERT INTO events") {
            4
        } else if sql.starts_with("INSERT INTO revocations") {
            6
        } else if sql.starts_with("DELETE FROM connections") {
            // The counter of its workspace.
            2
        } else if sql.starts_with("UPDATE connections")
            && (sql.contains("next_check_at =") || sql.contains("deleted_at ="))
        {
            2
        } else {
            1
        }
    };
    changes.iter().map(|(sql, changed)| rows(sql) * changed).sum()
}

/// What erasing took.
struct Erasure {
    /// Runs until neither a connection nor an event of one was left.
    connections: u64,
    /// Runs after that, until the workspace was gone.
    rest: u64,
    /// Rows written by all of them.
    written: u64,
}

impl Erasure {
    /// Runs for ten thousand connections, and rows written in a day.
    fn for_ten_thousand(&self, count: u64) -> (u64, u64) {
        let runs = (self.connections * 10_000).div_ceil(count) + self.rest;
        (runs, self.written * RUNS_A_DAY / (self.connections + self.rest))
    }
}

/// Erases a workspace of so many connections, while every connection of another one is due in each run.
fn erase(count_made: usize, patch: &Value, neighbours: usize, subrequests: Option<u32>) -> Erasure {
    let (fixture, _) = fixture_with(count_made, patch);
    let neighbour = fixture.other_workspace();
    for at in 0..neighbours {
        neighbour.connect(&format!("n{at}"));
    }
    let limit = subrequests.unwrap_or(50);
    fixture.world.subrequests.set(subrequests.map(i64::from));
    fixture.world.subrequest_limit.set(Some(limit));
    // Those of the deleted workspace were due too.
    fixture.world.db.tamper("UPDATE connections SET next_check_at = 1");
    delete_workspace(&fixture);
    let of_workspace = format!("WHERE workspace_id = '{}'", fixture.workspace);
    let rows_left =
        || count(&fixture, &format!("connections {of_workspace}")) + count(&fixture, &format!("events {of_workspace}"));
    let mut took = Erasure { connections: 0, rest: 0, written: 0 };
    while count(&fixture, &format!("workspaces WHERE id = '{}'", fixture.workspace)) > 0 {
        fixture.world.advance_clock(300);
        fixture.world.db.tamper(&format!(
            "UPDATE connections SET next_check_at = 1 WHERE workspace_id = '{}'",
            neighbour.workspace
        ));
        fixture.world.db.reset_counts();
        let (context, now) = (fixture.world.context(), fixture.world.now());
        let is_left = rows_left() > 0;
        let summary = fixture.world.run(run_scheduled(&context, now)).unwrap();
        let spent = context.ports.budget.spent.get();
        assert!(spent <= limit, "{spent} subrequests");
        assert!(
            summary.checked >= if took.connections == 0 { 1 } else { 8 },
            "others are checked: {}",
            summary.checked
        );
        assert_eq!(summary.healthy, summary.checked);
        took.written += rows_written(&fixture);
        *(if is_left { &mut took.connections } else { &mut took.rest }) += 1;
        assert!(took.connections + took.rest < 200, "{} left", rows_left());
    }
    assert!(
        (0..count_made).all(|at| patch["auth"].is_object() || !fixture.world.acme.has_live_grant(&format!("p{at}")))
    );
    assert_eq!(
        count(&neighbour, &format!("connections WHERE workspace_id = '{}'", neighbour.workspace)),
        i64::try_from(neighbours).unwrap()
    );
    took
}

#[test]
fn ten_thousand_grants_are_revoked_and_erased_within_three_days_on_the_free_plan() {
    let took = erase(720, &json!({}), 45, None);
    let (runs, written) = took.for_ten_thousand(720);
    assert!(runs <= 3 * RUNS_A_DAY, "{runs} runs");
    assert!(written <= 100_000, "{written} rows written in a day");
}

#[test]
fn ten_thousand_connections_without_a_grant_are_erased_within_three_days_on_the_free_plan() {
    let took = erase(720, &json!({ "auth": { "revoke_url": null } }), 45, None);
    let (runs, written) = took.for_ten_thousand(720);
    assert!(runs <= 3 * RUNS_A_DAY, "{runs} runs");
    assert!(written <= 100_000, "{written} rows written in a day");
}

#[test]
fn ten_thousand_grants_are_revoked_and_erased_within_a_day_on_the_paid_plan() {
    let took = erase(1100, &json!({}), 250, Some(1000));
    let (runs, _) = took.for_ten_thousand(1100);
    assert!(runs <= RUNS_A_DAY, "{runs} runs");
}

#[test]
fn a_large_workspace_ends_in_steps_and_is_closed_at_once() {
    let (fixture, ids) = fixture_with(530, &json!({}));
    fixture.world.db.tamper("UPDATE connections SET next_check_at = 1, refresh_expires_at = 2");
    delete_workspace(&fixture);
    assert_eq!(count(&fixture, "connections WHERE deleted_at IS NOT NULL"), ENDED_AT_ONCE);
    assert_eq!(count(&fixture, "api_keys WHERE revoked_at IS NULL"), 0);
    let is_left =
        |id: &&ConnectionId| count(&fixture, &format!("connections WHERE deleted_at IS NULL AND id = '{id}'")) > 0;
    let left = ids.iter().find(is_left).unwrap();
    let asked = fixture.world.acme.count_all_requests();
    assert_eq!(fixture.refresh(left, RefreshReason::Force), RefreshOutcome::NotFound);
    let due = fixture.world.run(async {
        let (context, now) = (fixture.world.context(), fixture.world.now());
        store::refreshes::lease_due(context.db(), now, now.plus(120), 20, false).await.unwrap()
    });
    assert_eq!((due.leased.len(), due.dropped), (0, 20));
    assert_eq!(fixture.world.acme.count_all_requests(), asked);
    assert_eq!(fixture.run_scheduled().checked, 0);
    assert_eq!(count(&fixture, "connections WHERE next_check_at IS NOT NULL"), 0, "none is due any more");
    assert_eq!(
        fixture.world.acme.count_requests("/me") + fixture.world.acme.count_requests("/token"),
        asked_before(&ids)
    );
    for _ in 0..60 {
        fixture.world.advance_clock(300);
        fixture.run_scheduled();
    }
    assert_eq!(count(&fixture, "workspaces"), 0);
    assert!((0..530).all(|at| !fixture.world.acme.has_live_grant(&format!("p{at}"))));
}

/// One exchange and one look at the account for each consent.
fn asked_before(ids: &[ConnectionId]) -> usize {
    2 * ids.len()
}

#[test]
fn links_sessions_and_flows_of_a_deleted_workspace_end_in_bounded_statements() {
    let (fixture, _) = fixture_with(1, &json!({}));
    let workspace = &fixture.workspace;
    let numbers = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)";
    fixture.world.db.tamper(&format!(
        "INSERT INTO sessions (token_hash, workspace_id, session_type, user_id, created_at, expires_at, role)
        {numbers} SELECT 'h' || n, '{workspace}', 'person', 'u' || n, 1, 4000000000, 'member' FROM n"
    ));
    let session = |hash: &str| {
        fixture.world.run(async {
            let context = fixture.world.context();
            store::sessions::get(context.db(), hash, context.now()).await.unwrap()
        })
    };
    assert!(session("h1").is_some());
    fixture.world.db.tamper(&format!("UPDATE workspaces SET deleted_at = 1 WHERE id = '{workspace}'"));
    assert!(session("h1").is_none(), "before it is deleted");
    fixture.world.db.tamper(&format!("UPDATE workspaces SET deleted_at = NULL WHERE id = '{workspace}'"));
    fixture.world.db.reset_counts();
    delete_workspace(&fixture);
    assert_eq!(count(&fixture, "sessions"), 0);
    assert_eq!(fixture.world.db.round_trips.get(), 3);
}
