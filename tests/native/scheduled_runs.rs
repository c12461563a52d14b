//! The scheduled run of each of several databases.

use std::collections::BTreeMap;

use connections::check::RunSummary;
use connections::error::Result;
use connections::ids::ConnectionId;
use connections::scheduled_runs::run_all;
use serde_json::json;

use crate::support::{Fixture, RefreshMode, World};

/// A workspace in each of so many databases, with so many connections.
fn fixtures(databases: u16, connections: usize) -> Vec<(Fixture, Vec<ConnectionId>)> {
    let world = World::new(RefreshMode::Object, None).with_databases(usize::from(databases));
    let make = |number: u16| {
        let fixture = Fixture::in_world(&world.in_shard(number), &json!({}));
        let ids = (0..connections).map(|at| fixture.connect(&format!("p{number}-{at}"))).collect();
        (fixture, ids)
    };
    (0..databases).map(make).collect()
}

/// One event: the numbers of the shards in the order of their runs, what each did, and the subrequests of all.
fn run(world: &World) -> (Vec<(u16, Result<RunSummary>)>, u32) {
    let (now, context) = (world.now(), world.context());
    let runs = world.run(run_all(&context, now));
    let runs = runs.into_iter().map(|(shard, run)| (shard.number(), run)).collect();
    (runs, context.ports.budget.spent.get())
}

/// The checks of each shard, after everything has become due and some events have passed.
fn checked_after(world: &World, events: usize) -> BTreeMap<u16, u64> {
    let mut checked = BTreeMap::new();
    for _ in 0..events {
        let (runs, spent) = run(world);
        assert!(spent <= 50, "{spent} subrequests");
        for (shard, run) in runs {
            *checked.entry(shard).or_default() += run.unwrap().checked;
        }
        world.advance_clock(300);
    }
    checked
}

#[test]
fn an_event_checks_the_connections_of_every_database() {
    let fixtures = fixtures(2, 3);
    let world = &fixtures[0].0.world;
    world.advance_clock(86_400 * 2);
    assert_eq!(checked_after(world, 1), BTreeMap::from([(0, 3), (1, 3)]));
    for (fixture, ids) in &fixtures {
        assert!(ids.iter().all(|id| fixture.load_connection(id).expires_at.unwrap() > world.now()));
    }
}

#[test]
fn databases_share_one_events_subrequests() {
    for databases in [2, 3, 5] {
        let fixtures = fixtures(databases, 40);
        let world = &fixtures[0].0.world;
        world.advance_clock(86_400 * 2);
        let checked = checked_after(world, usize::from(databases) * 20);
        assert_eq!(checked.len(), usize::from(databases));
        for (fixture, ids) in &fixtures {
            let refreshed =
                |id: &ConnectionId| fixture.load_connection(id).expires_at.unwrap() > world.now().plus(-86_400);
            assert!(ids.iter().all(refreshed), "{databases}: {checked:?}");
        }
    }
}

#[test]
fn a_database_that_fails_does_not_stop_the_others() {
    for failing in [0, 1] {
        let fixtures = fixtures(2, 2);
        let world = &fixtures[0].0.world;
        world.advance_clock(86_400 * 2);
        let databases = [&world.db, &world.more_databases[0]];
        databases[failing].down.set(true);
        let mut orders = Vec::new();
        for _ in 0..8 {
            orders.push(run(world).0.iter().map(|(shard, run)| (*shard, run.is_ok())).collect::<Vec<_>>());
            world.advance_clock(300);
        }
        for runs in &orders {
            assert_eq!(runs.len(), 2);
            assert!(runs.iter().all(|(shard, ok)| *ok == (usize::from(*shard) != failing)), "{runs:?}");
        }
        let first = |shard: u16| orders.iter().filter(|runs| runs[0].0 == shard).count();
        assert!(first(0) >= 2 && first(1) >= 2, "the order changes: {orders:?}");
        let binding = ["DB", "DB_1"][failing];
        let lines = world.log.0.borrow();
        let failed = lines.iter().filter(|line| line.event == "scheduled_run_failed");
        assert_eq!(failed.filter(|line| line.fields["database"] == binding).count(), 8);
        drop(lines);
        databases[failing].down.set(false);
        let checked = checked_after(world, 1);
        assert_eq!(checked[&u16::try_from(failing).unwrap()], 2, "it catches up: {checked:?}");
    }
}

#[test]
fn every_database_is_purged_erased_and_sealed_again() {
    let fixtures = fixtures(2, 2);
    let world = &fixtures[0].0.world;
    for (fixture, ids) in &fixtures {
        fixture.disconnect(&ids[0]).unwrap();
    }
    let next = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let keys = world.encryption_keys.borrow().clone();
    *world.encryption_keys.borrow_mut() = format!("{next},{keys}");
    // The audit log of a disconnected connection is kept for longer than anything else here.
    for _ in 0..12 {
        checked_after(world, 1);
        world.advance_clock(86_400);
    }
    for database in [&world.db, &world.more_databases[0]] {
        let count = |what: &str| database.query_number(&format!("SELECT count(*) FROM {what}"));
        assert_eq!(count("connections WHERE deleted_at IS NOT NULL"), 0);
        assert_eq!(count("flows"), 0);
        assert_eq!(count("connections WHERE sealed_credential LIKE 'cx1.k2.%'"), 1);
        assert_eq!(count("oauth_clients WHERE sealed_secret LIKE 'cx1.k2.%'"), 1);
        assert_eq!(count("encryption_key_checks"), 2);
    }
}
