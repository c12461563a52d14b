//! The optional queue: what a cron event leaves due is done by runs of their own, and nothing relies on their messages.

use connections::check::RunSummary;
use connections::error::Result;
use connections::ids::ConnectionId;
use connections::ports::QueuedRun;
use connections::queued_runs::{run_event, run_message};
use serde_json::json;

use crate::support::{Fixture, RefreshMode, World};

/// So many connections in each of so many databases, all due. There is a queue.
fn due_connections(databases: u16, connections: usize) -> Vec<(Fixture, Vec<ConnectionId>)> {
    let world = World::new(RefreshMode::Object, None).with_databases(usize::from(databases));
    let make = |number: u16| {
        let fixture = Fixture::in_world(&world.in_shard(number), &json!({}));
        let ids = (0..connections).map(|at| fixture.connect(&format!("p{number}-{at}"))).collect();
        (fixture, ids)
    };
    let fixtures = (0..databases).map(make).collect();
    world.advance_clock(86_400 * 2);
    world.queue.bound.set(true);
    fixtures
}

/// One cron event: what it checked, and the messages that it sent. They are taken out of the queue.
fn run_one_event(world: &World) -> (u64, Vec<QueuedRun>) {
    let (now, context) = (world.now(), world.context());
    let runs = world.run(run_event(&context, now));
    let spent = context.ports.budget.spent.get();
    assert!(spent <= 50, "{spent} subrequests");
    (runs.into_iter().map(|(_, run)| run.unwrap().checked).sum(), world.queue.messages.take())
}

fn deliver(world: &World, message: QueuedRun) -> Result<Option<RunSummary>> {
    let context = world.context();
    let run = world.run(run_message(&context, message));
    let spent = context.ports.budget.spent.get();
    assert!(spent <= 50, "{spent} subrequests");
    run
}

fn checked(run: Result<Option<RunSummary>>) -> u64 {
    run.unwrap().unwrap().checked
}

/// The checks of the last run in its record.
fn recorded(world: &World) -> i64 {
    world.db.query_number("SELECT json_extract(summary, '$.checked') FROM scheduled_runs WHERE name = 'tick'")
}

#[test]
fn messages_do_at_once_what_an_event_leaves_due() {
    let fixtures = due_connections(1, 130);
    let (world, ids) = (&fixtures[0].0.world, &fixtures[0].1);
    let (first, messages) = run_one_event(world);
    assert_eq!((first, messages.len()), (38, 3), "92 are left, and a run makes 40");
    let runs = messages.into_iter().map(|message| {
        let context = world.context();
        async move { run_message(&context, message).await.unwrap().unwrap().checked }
    });
    assert_eq!(world.run_concurrently(runs).iter().sum::<u64>(), 92);
    assert_eq!(world.acme.received_refreshes().len(), ids.len(), "each connection is refreshed once");
    assert_eq!(recorded(world), 130, "they count as a part of the last run");
    assert_eq!(world.db.query_number("SELECT count(*) FROM scheduled_runs"), 1, "only an event is a run that began");
    assert!(world.queue.messages.borrow().is_empty(), "a message makes no messages");
    world.advance_clock(300);
    assert_eq!(run_one_event(world), (0, vec![]));
}

#[test]
fn without_a_queue_nothing_is_sent_and_each_event_does_as_much_as_before() {
    let fixtures = due_connections(1, 90);
    let world = &fixtures[0].0.world;
    world.queue.bound.set(false);
    for left in [40, 40, 10, 0] {
        assert_eq!(run_one_event(world), (left, vec![]));
        world.advance_clock(300);
    }
}

#[test]
fn no_message_is_sent_while_nothing_is_late() {
    let fixtures = due_connections(1, 30);
    assert_eq!(run_one_event(&fixtures[0].0.world), (30, vec![]));
    assert_eq!(fixtures[0].0.world.log.count_events("runs_queued"), 0);
}

#[test]
fn a_message_that_comes_twice_checks_nothing_again() {
    let fixtures = due_connections(1, 100);
    let (world, ids) = (&fixtures[0].0.world, &fixtures[0].1);
    let (_, messages) = run_one_event(world);
    assert_eq!(messages.len(), 2);
    let twice = messages.iter().rev().chain(&messages).copied();
    let runs = twice.map(|message| {
        let context = world.context();
        async move { run_message(&context, message).await.unwrap().unwrap().checked }
    });
    assert_eq!(world.run_concurrently(runs).iter().sum::<u64>(), 62);
    assert_eq!(checked(deliver(world, messages[0])), 0, "a third time");
    assert_eq!(world.acme.received_refreshes().len(), ids.len());
}

#[test]
fn what_a_lost_message_was_for_is_done_by_later_events() {
    let fixtures = due_connections(1, 100);
    let (world, ids) = (&fixtures[0].0.world, &fixtures[0].1);
    for expected in [(38, 2), (38, 1), (24, 0)] {
        let (checked, lost) = run_one_event(world);
        assert_eq!((checked, lost.len()), expected);
        world.advance_clock(300);
    }
    assert_eq!(world.acme.received_refreshes().len(), ids.len());
}

#[test]
fn a_message_that_comes_late_does_what_is_left_or_nothing() {
    let fixtures = due_connections(1, 60);
    let (world, ids) = (&fixtures[0].0.world, &fixtures[0].1);
    let (_, messages) = run_one_event(world);
    let [message] = messages[..] else { panic!("{messages:?}") };
    world.advance_clock(900);
    assert_eq!(checked(deliver(world, message)), 22, "the next event is not here yet");
    world.advance_clock(1);
    assert_eq!(deliver(world, message).unwrap(), None, "later events have sent others");
    let early = QueuedRun { scheduled_at: message.scheduled_at + 86_400 * 30, ..message };
    assert_eq!(checked(deliver(world, early)), 0, "nothing is checked before it is due");
    assert_eq!(world.acme.received_refreshes().len(), ids.len());
}

#[test]
fn a_queue_that_takes_nothing_does_not_stop_the_runs() {
    let fixtures = due_connections(1, 90);
    let (world, ids) = (&fixtures[0].0.world, &fixtures[0].1);
    world.queue.down.set(true);
    for checked in [38, 38, 14] {
        assert_eq!(run_one_event(world), (checked, vec![]));
        world.advance_clock(300);
    }
    assert_eq!(world.log.count_events("queue_failed"), 2);
    assert_eq!(world.acme.received_refreshes().len(), ids.len());
}

#[test]
fn a_message_for_a_database_that_is_gone_or_down_fails_alone() {
    let fixtures = due_connections(1, 60);
    let world = &fixtures[0].0.world;
    let (_, messages) = run_one_event(world);
    deliver(world, QueuedRun { database: 7, ..messages[0] }).unwrap_err();
    deliver(world, QueuedRun { database: u16::MAX, ..messages[0] }).unwrap_err();
    world.db.down.set(true);
    deliver(world, messages[0]).unwrap_err();
    world.db.down.set(false);
    assert_eq!(world.log.count_events("queued_run_failed"), 3);
    world.advance_clock(300);
    assert_eq!(run_one_event(world).0, 22);
}

#[test]
fn an_event_sends_ten_messages_at_most() {
    let fixtures = due_connections(1, 140);
    let world = &fixtures[0].0.world;
    world.check_batch.set(Some(10));
    let (checked, messages) = run_one_event(world);
    assert_eq!((checked, messages.len()), (8, 10), "132 are left, and a run makes 10");
}

#[test]
fn every_database_gets_its_messages_and_each_run_an_invocation_for_itself() {
    let fixtures = due_connections(2, 60);
    let world = &fixtures[0].0.world;
    let (first, messages) = run_one_event(world);
    assert_eq!(first, 26, "two databases share the event");
    let of = |number: u16| messages.iter().filter(|message| message.database == number).count();
    assert_eq!((of(0), of(1), messages.len()), (2, 2, 4), "47 are left in each");
    assert_eq!(messages.iter().map(|message| checked(deliver(world, *message))).sum::<u64>(), 94);
    for (fixture, ids) in &fixtures {
        assert!(ids.iter().all(|id| fixture.load_connection(id).expires_at.unwrap() > world.now().plus(-86_400)));
    }
    world.advance_clock(300);
    assert_eq!(run_one_event(world), (0, vec![]));
}

#[test]
fn a_database_that_is_down_gets_no_message() {
    let fixtures = due_connections(2, 60);
    let world = &fixtures[0].0.world;
    world.db.down.set(true);
    let (now, context) = (world.now(), world.context());
    let runs = world.run(run_event(&context, now));
    assert_eq!(runs.iter().filter(|(_, run)| run.is_err()).count(), 1);
    let messages = world.queue.messages.take();
    assert!(!messages.is_empty() && messages.iter().all(|message| message.database == 1), "{messages:?}");
}
