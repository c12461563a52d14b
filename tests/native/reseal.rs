//! Rotation of keys: what an older key sealed is sealed again in the background, page by page, while
//! everything else goes on. Whoever resolves, refreshes or reconnects at the same time must not notice.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use connections::check::tick;
use connections::client::ClientSecret;
use connections::connect::callback::{Landing, Returned, callback};
use connections::connect::settle::{Choice, choose};
use connections::http::{self, Body, Method, Request};
use connections::ids::ConnectionId;
use connections::ports::{Errand, ErrandOutcome};
use connections::resolve::{Ask, Consistency, Source, resolve};
use connections::store::authorizations::Outcome;
use connections::store::reseals::Progress;
use connections::{refresh, reseal, store};
use serde_json::json;

use crate::support::acme::End;
use crate::support::database::Edit;
use crate::support::scene::BROWSER;
use crate::support::world::KEYS as K1;
use crate::support::{Fault, Reply, Scene, Way, World, Wound, tokens};

const K2: &str = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const K3: &str = "k3:QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=";
/// Other bytes under the first key's id.
const WRONG_K1: &str = "k1:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// The first key seals, all open.
fn put_keys(world: &World, keys: &[&str]) {
    *world.keys.borrow_mut() = keys.join(",");
}

fn connected(scene: &Scene, count: usize) -> Vec<ConnectionId> {
    let ids = (0..count).map(|at| scene.connect(&format!("p{at}"))).collect();
    // The flows they came from have ended: empty places that a walk looks at first.
    scene.world.db.tamper("DELETE FROM flows");
    ids
}

/// How many values each key sealed.
fn sealed_under(world: &World) -> BTreeMap<String, i64> {
    world.run(async {
        let core = world.core();
        store::maintenance::state(core.db(), core.now()).await.unwrap().sealed_under.into_iter().collect()
    })
}

fn all_under(key: &str, count: i64) -> BTreeMap<String, i64> {
    BTreeMap::from([(key.to_owned(), count)])
}

fn progress_if_any(world: &World) -> Option<Progress> {
    world.run(async {
        let core = world.core();
        store::reseals::progress(core.db(), core.config.ring.sealing_id()).await.unwrap()
    })
}

fn progress(world: &World) -> Progress {
    progress_if_any(world).unwrap()
}

/// One turn, in an invocation of its own: how many values were sealed again.
fn turn(world: &World) -> u64 {
    let core = world.core();
    world.run(async { reseal::turn(&core).await.unwrap() })
}

/// The clock strikes every five minutes until all is done: how often it did.
fn rotate(scene: &Scene) -> usize {
    for run in 1..200 {
        scene.tick();
        if progress(&scene.world).finished_at.is_some() {
            return run;
        }
        scene.world.pass(300);
    }
    panic!("never finished: {:?}", progress(&scene.world));
}

fn usable(scene: &Scene, id: &ConnectionId) -> bool {
    scene.resolve(id, Ask::default()).is_ok()
}

fn sealed_credential(scene: &Scene, id: &ConnectionId) -> String {
    scene.row(id).sealed_credential.unwrap()
}

// ---- what is sealed again still does what it did ----

#[test]
fn every_sealed_column_is_sealed_again_and_goes_on_working_without_the_old_key() {
    let scene = Scene::new();
    let (ann, bob) = (scene.connect("ann"), scene.connect("bob"));
    let waiting = scene.flow(&scene.wish(), "bob");
    assert_eq!(waiting.outcome, Outcome::Undecided);
    let begun = scene.start(&scene.wish(), BROWSER);
    let (carl, dora) = (scene.connect("carl"), scene.connect("dora"));
    scene.world.acme.always("/revoke", Some(Reply::status(500, "")));
    scene.disconnect(&carl).unwrap();
    scene.world.acme.always("/revoke", None);
    scene.world.run(async {
        let core = scene.world.core();
        store::refreshes::mark_deleted(core.db(), &scene.workspace, &dora, core.now(), None).await.unwrap();
    });
    let everything = 3 + 1 + 1 + 1 + 1;
    assert_eq!(sealed_under(&scene.world), all_under("k1", everything));

    put_keys(&scene.world, &[K2, K1]);
    assert_eq!(turn(&scene.world), u64::try_from(everything).unwrap());
    assert_eq!(sealed_under(&scene.world), all_under("k2", everything));
    put_keys(&scene.world, &[K2]);

    let (code, state) = scene.world.acme.consent(&begun, "eve");
    let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
    let Landing::Flow(flow) = scene.come_back(returned, BROWSER) else { panic!("refused") };
    assert_eq!(scene.read_flow(&flow).outcome, Outcome::Done, "verifier and client secret open");
    let waiting = scene.read_flow(&waiting.id);
    scene.world.run(async { choose(&scene.world.core(), &waiting, Choice::Reuse).await.unwrap() });
    assert!(usable(&scene, &ann) && usable(&scene, &bob));
    assert_eq!(scene.world.acme.revoked().len(), 0);
    scene.world.pass(121);
    scene.tick();
    scene.world.pass(300);
    scene.tick();
    assert!(!scene.world.acme.is_alive("carl"), "the kept revocation");
    assert!(!scene.world.acme.is_alive("dora"), "sealed for the generation before it ended");
    for id in [&ann, &bob] {
        scene.expire(id);
        assert!(usable(&scene, id));
        assert!(scene.world.acme.accepts(&tokens(&scene.credential(id)).0));
    }
    assert_eq!(scene.world.acme.ended(End::Killed), 0);
}

#[test]
fn the_clock_does_it_and_says_so() {
    let scene = Scene::new();
    let ids = connected(&scene, 3);
    scene.tick();
    assert!(progress(&scene.world).finished_at.is_some(), "one key: there is nothing to be done");
    put_keys(&scene.world, &[K2, K1]);
    assert_eq!(scene.tick().resealed, 4);
    let begun = progress(&scene.world);
    assert_eq!((begun.pass, begun.resealed, begun.unsettled, begun.finished_at), (1, 4, 4, None));
    assert_eq!(begun.next_pass_at, Some(scene.world.now().plus(600)), "who was started before may still write");
    // One that was started with the keys of before writes once more.
    let before = scene.world.with_keys(&[K1, K2].join(","));
    scene.expire(&ids[0]);
    before.run(before.errand(&ids[0], Errand::CheckNow));
    assert_eq!(sealed_under(&scene.world)["k1"], 1);
    scene.tick();
    assert_eq!(sealed_under(&scene.world), all_under("k2", 4));
    assert_eq!(progress(&scene.world).finished_at, None);
    rotate(&scene);
    let done = progress(&scene.world);
    assert_eq!((done.pass, done.resealed, done.unsettled, done.unreadable), (3, 5, 0, 0));
    put_keys(&scene.world, &[K2]);
    assert!(ids.iter().all(|id| usable(&scene, id)));
}

#[test]
fn what_comes_late_under_an_old_key_is_found_within_a_day() {
    let scene = Scene::new();
    let ids = connected(&scene, 2);
    put_keys(&scene.world, &[K2, K1]);
    rotate(&scene);
    let before = scene.world.with_keys(&[K1, K2].join(","));
    scene.expire(&ids[0]);
    before.run(before.errand(&ids[0], Errand::CheckNow));
    assert_eq!(sealed_under(&scene.world)["k1"], 1);
    // A check that is due would refresh it, and so seal it under the first key.
    scene.world.db.tamper("UPDATE connections SET next_check_at = NULL");
    scene.world.pass(86_400);
    scene.tick();
    assert_eq!(sealed_under(&scene.world), all_under("k2", 3));
    assert_eq!(progress(&scene.world).finished_at, None, "and says that it is at work again");
    rotate(&scene);
}

#[test]
fn when_all_is_done_a_run_writes_nothing_and_reads_one_row() {
    let scene = Scene::new();
    connected(&scene, 30);
    put_keys(&scene.world, &[K2, K1]);
    rotate(&scene);
    let before = scene.world.db.dump();
    scene.world.pass(300);
    scene.world.db.reset_counts();
    assert_eq!(turn(&scene.world), 0);
    assert_eq!((scene.world.db.round_trips.get(), scene.world.db.statements.get()), (1, 5));
    assert!(scene.world.db.scanned.get() <= 5, "{} rows stepped over", scene.world.db.scanned.get());
    assert_eq!(scene.world.db.dump(), before);
}

// ---- bounds ----

#[test]
fn a_run_looks_at_so_many_places_and_the_next_one_goes_on() {
    let scene = Scene::new();
    for at in 0..25 {
        scene.connect(&format!("p{at}"));
    }
    scene.world.reseal_batch.set(Some(10));
    put_keys(&scene.world, &[K2, K1]);
    // 25 credentials, a client's secret, and two columns of 25 flows, which are empty.
    let mut replaced = vec![];
    for run in 1..=8 {
        scene.world.db.reset_counts();
        replaced.push(turn(&scene.world));
        assert_eq!(scene.world.db.round_trips.get(), 2);
        assert!(scene.world.db.statements.get() <= 5 + 2 * 5 + 1, "{}", scene.world.db.statements.get());
        assert!(scene.world.db.scanned.get() < 60, "{} rows stepped over", scene.world.db.scanned.get());
        assert_eq!(progress(&scene.world).after.is_none(), run == 8, "76 places");
    }
    assert!(replaced.iter().all(|count| *count <= 10), "{replaced:?}");
    assert_eq!(replaced.iter().sum::<u64>(), 26);
    assert_eq!(sealed_under(&scene.world), all_under("k2", 26));
}

#[test]
fn huge_tokens_make_a_page_short_and_nothing_is_left_out() {
    let scene = Scene::with(&json!({ "identity": null }));
    for at in 0..6 {
        let huge = format!("{at}{}", "x".repeat(60_000));
        scene.world.acme.next("/token", Reply::edited(move |answer| answer["access_token"] = json!(huge)));
        scene.connect("ann");
    }
    put_keys(&scene.world, &[K2, K1]);
    let mut turns = 0;
    while sealed_under(&scene.world).contains_key("k1") {
        assert!(turn(&scene.world) <= 3, "two of 80 KB fill a page; the client's secret is small");
        turns += 1;
        assert!(turns < 10);
    }
    assert!(turns >= 3);
    assert_eq!(sealed_under(&scene.world), all_under("k2", 7));
}

#[test]
fn a_full_run_with_a_key_that_is_new_fits_in_the_free_plan() {
    let scene = Scene::in_world(&World::new(Way::Object, None), &json!({}));
    connected(&scene, 150);
    scene.tick();
    scene.world.db.tamper("UPDATE connections SET next_check_at = 1");
    scene.world.pass(3500);
    put_keys(&scene.world, &[K2, K3, K1]);
    // More than the connections that are due, whose refresh seals them by the way.
    scene.world.reseal_batch.set(Some(100));
    let (core, now) = (scene.world.core(), scene.world.now());
    let summary = scene.world.run(tick(&core, now)).unwrap();
    assert_eq!((summary.checked, summary.healthy), (40, 40));
    let spent = core.ports.meter.spent.get();
    assert!(summary.resealed > 20, "{}", summary.resealed);
    assert!(spent <= 50, "{spent} subrequests");
    assert!(scene.world.db.value("SELECT finished_at FROM scheduled_runs").is_i64(), "to its end");
    assert_eq!(scene.world.db.number("SELECT count(*) FROM encryption_key_checks"), 3);
}

#[test]
fn pages_and_rows_are_found_by_the_primary_keys() {
    let scene = Scene::new();
    connected(&scene, 3);
    scene.start(&scene.wish(), BROWSER);
    scene.flow(&scene.wish(), "p0");
    scene.world.acme.always("/revoke", Some(Reply::status(500, "")));
    let ended = scene.connect("zoe");
    scene.disconnect(&ended).unwrap();
    put_keys(&scene.world, &[K2, K1]);
    scene.world.db.reset_counts();
    turn(&scene.world);
    let seen = scene.world.db.seen.borrow().clone();
    let tables = ["connections", "oauth_clients", "revocations", "flows", "reseal_progress"];
    let mut searched: BTreeSet<&str> = BTreeSet::new();
    for sql in seen {
        for line in scene.world.db.plan(sql) {
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

// ---- runs that die, fail or overlap ----

#[test]
fn a_run_that_dies_or_fails_anywhere_loses_nothing_and_counts_nothing_twice() {
    for sql in ["AS ahead", "n.sealed"] {
        for wound in [Wound::Before, Wound::After, Wound::Silent] {
            let scene = Scene::new();
            let ids = connected(&scene, 25);
            let before: Vec<_> = ids.iter().map(|id| scene.credential(id)).collect();
            scene.world.reseal_batch.set(Some(10));
            put_keys(&scene.world, &[K2, K1]);
            turn(&scene.world);
            scene.world.db.faults.borrow_mut().push(Fault { sql, times: 1, wound });
            let core = scene.world.core();
            let dying = scene.world.runtime.spawn(async move { reseal::turn(&core).await.is_ok() });
            scene.world.runtime.drain();
            dying.kill();
            assert_eq!(scene.world.db.faults.borrow()[0].times, 0, "it was wounded");
            rotate(&scene);
            assert_eq!(sealed_under(&scene.world), all_under("k2", 26), "{sql} {wound:?}");
            assert_eq!(progress(&scene.world).resealed, 26, "{sql} {wound:?}");
            put_keys(&scene.world, &[K2]);
            let after: Vec<_> = ids.iter().map(|id| scene.credential(id)).collect();
            assert!(after == before, "{sql} {wound:?}");
        }
    }
}

#[test]
fn a_run_that_is_killed_before_it_writes_is_repeated_by_the_next() {
    let scene = Scene::new();
    connected(&scene, 8);
    put_keys(&scene.world, &[K2, K1]);
    scene.world.db.faults.borrow_mut().push(Fault { sql: "ahead <", times: 1, wound: Wound::Slow(1000) });
    let core = scene.world.core();
    let dying = scene.world.runtime.spawn(async move { reseal::turn(&core).await });
    scene.world.run(scene.world.runtime.sleep(500));
    dying.kill();
    scene.world.runtime.drain();
    assert_eq!(sealed_under(&scene.world), all_under("k1", 9));
    assert_eq!(turn(&scene.world), 9);
}

#[test]
fn what_re_sealing_fails_at_does_not_keep_a_run_from_its_work() {
    for sql in ["AS ahead", "n.sealed"] {
        let scene = Scene::in_world(&World::new(Way::Object, None), &json!({}));
        connected(&scene, 3);
        scene.tick();
        scene.world.db.tamper("UPDATE connections SET next_check_at = 1");
        put_keys(&scene.world, &[K2, K1]);
        scene.world.db.faults.borrow_mut().push(Fault { sql, times: 1, wound: Wound::Before });
        let summary = scene.tick();
        assert_eq!((summary.checked, summary.healthy, summary.resealed), (3, 3, 0));
        assert!(scene.world.db.value("SELECT finished_at FROM scheduled_runs").is_i64());
        assert!(scene.world.log.dump().contains("an injected fault"));
        assert_eq!(scene.tick().resealed, 4, "the next run goes on");
    }
}

#[test]
fn overlapping_runs_count_every_value_once() {
    for seed in 0..12 {
        let scene = Scene::in_world(&World::new(Way::Direct, Some(seed)), &json!({}));
        connected(&scene, 12);
        scene.world.reseal_batch.set(Some(7));
        put_keys(&scene.world, &[K2, K1]);
        let runs = (0..4).map(|_| {
            let core = scene.world.core();
            async move {
                for _ in 0..8 {
                    reseal::turn(&core).await.unwrap();
                }
            }
        });
        scene.world.at_once(runs);
        assert_eq!(sealed_under(&scene.world), all_under("k2", 13), "seed {seed}");
        assert_eq!(progress(&scene.world).resealed, 13, "seed {seed}");
    }
}

// ---- beside everything else ----

/// What happens beside re-sealing, each in a task of its own.
async fn act(what: usize, scene: Rc<Scene>, world: World, ids: Rc<Vec<ConnectionId>>) {
    let id = &ids[what % ids.len()];
    let core = world.core();
    match what % 5 {
        0 => drop(reseal::turn(&core).await),
        1 => drop(tick(&core, core.now()).await),
        2 => {
            let ask = Ask { consistency: Consistency::Edge, ..Ask::default() };
            let answered = resolve(&core, &scene.presented(), id, Ok(ask)).await;
            assert!(answered.is_ok(), "{:?}", answered.err());
        }
        3 => assert_ne!(world.errand(id, Errand::Force).await, ErrandOutcome::Unreadable),
        _ => {
            let url = connections::connect::start::start(&core, &scene.repair_of(id), BROWSER).await.unwrap();
            let account = format!("p{}", ids.iter().position(|one| one == id).unwrap());
            let (code, state) = world.acme.consent(&url, &account);
            let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
            let landing = callback(&core, &scene.client, returned, &[BROWSER.to_owned()]).await.unwrap();
            assert!(matches!(landing, Landing::Flow(_)));
        }
    }
}

#[test]
fn refreshes_and_reconnects_at_the_same_time_never_notice() {
    for seed in 0..20 {
        let way = if seed % 2 == 0 { Way::Direct } else { Way::Object };
        let scene = Rc::new(Scene::in_world(&World::new(way, Some(seed)), &json!({})));
        let ids = Rc::new(connected(&scene, 6));
        scene.world.pass(3500);
        scene.world.reseal_batch.set(Some(1 + i64::try_from(seed % 9).unwrap()));
        put_keys(&scene.world, &[K2, K1]);
        let lingering = scene.world.with_keys(&[K1, K2].join(","));
        for round in 0..3 {
            let acts = (0..20).map(|at| {
                let world = if at % 7 == 3 { lingering.clone() } else { scene.world.clone() };
                act(at + round, Rc::clone(&scene), world, Rc::clone(&ids))
            });
            scene.world.at_once(acts);
            scene.world.runtime.drain();
            scene.world.pass(3500);
        }
        rotate(&scene);
        put_keys(&scene.world, &[K2]);
        assert_eq!(sealed_under(&scene.world).keys().collect::<Vec<_>>(), ["k2"], "seed {seed}");
        assert_eq!(scene.world.acme.ended(End::Killed) + scene.world.acme.ended(End::Refused), 0, "seed {seed}");
        for id in ids.iter() {
            scene.expire(id);
            assert_eq!(scene.need(id), ErrandOutcome::Refreshed, "seed {seed}: the stored refresh token is the newest");
            assert!(scene.world.acme.accepts(&tokens(&scene.credential(id)).0), "seed {seed}");
        }
    }
}

/// A turn that read its page, and writes it a second later.
fn between_read_and_write(scene: &Scene, then: impl FnOnce()) {
    scene.world.db.faults.borrow_mut().push(Fault { sql: "n.sealed", times: 1, wound: Wound::Slow(1000) });
    let core = scene.world.core();
    let writing = scene.world.runtime.spawn(async move { reseal::turn(&core).await.unwrap() });
    scene.world.run(scene.world.runtime.sleep(500));
    then();
    scene.world.run(writing);
}

#[test]
fn what_changed_after_it_was_read_stays_as_it_is() {
    let scene = Scene::new();
    let ids = connected(&scene, 3);
    scene.expire(&ids[0]);
    scene.world.acme.always("/revoke", Some(Reply::status(500, "")));
    let begun = scene.start(&scene.wish(), BROWSER);
    put_keys(&scene.world, &[K2, K1]);
    between_read_and_write(&scene, || {
        assert_eq!(scene.need(&ids[0]), ErrandOutcome::Refreshed);
        scene.flow(&scene.repair_of(&ids[1]), "p1");
        scene.disconnect(&ids[2]).unwrap();
        scene.enter_secret("another secret");
        let (code, state) = scene.world.acme.consent(&begun, "eve");
        let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
        scene.come_back(returned, BROWSER);
    });
    assert_eq!(progress(&scene.world).resealed, 0, "nothing was what it had been");
    put_keys(&scene.world, &[K2]);
    let secret = scene.client().secret(&scene.world.config().ring).unwrap();
    assert_eq!(secret, ClientSecret::Text(connections::secret::Secret::new("another secret")));
    let spent = "SELECT count(*) FROM flows WHERE sealed_verifier IS NOT NULL";
    assert_eq!(scene.world.db.number(spent), 0, "a verifier that was spent does not come back");
    for id in &ids[..2] {
        assert!(scene.world.acme.accepts(&tokens(&scene.credential(id)).0));
    }
    assert!(scene.find(&ids[2]).is_none());
}

#[test]
fn an_attempt_in_force_is_left_alone_and_met_by_the_next_pass() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let until = scene.world.now().plus(60).unix();
    scene.world.db.tamper(&format!(
        "UPDATE connections SET lease_attempt_id = 'att_AAAAAAAAAAAAAAAAAAAAAA', lease_expires_at = {until}"
    ));
    put_keys(&scene.world, &[K2, K1]);
    assert_eq!(turn(&scene.world), 1, "the client's secret");
    assert!(sealed_credential(&scene, &id).starts_with("cx1.k1."));
    assert_eq!(progress(&scene.world).unsettled, 2, "which brings another pass");
    scene.world.pass(600);
    assert_eq!(turn(&scene.world), 1);
    assert!(sealed_credential(&scene, &id).starts_with("cx1.k2."));
}

#[test]
fn an_answer_that_waited_for_the_database_is_stored_though_its_token_was_sealed_again() {
    let scene = Scene::new();
    scene.world.kept.able.set(true);
    let id = scene.connect("ann");
    scene.expire(&id);
    let refused = Fault { sql: "last_attempt_id = ?5", times: 6, wound: Wound::Before };
    scene.world.db.faults.borrow_mut().push(refused);
    assert_eq!(scene.need(&id), ErrandOutcome::DatabaseDown);
    let (_, kept) = scene.world.kept.answers.borrow_mut().pop().unwrap();
    // Somebody else takes the attempt over and gives it back: only the version is left to compare with.
    scene.world.pass(120);
    scene.world.acme.next("/token", Reply::status(429, ""));
    scene.need(&id);
    assert!(scene.row(&id).intent.is_none());
    put_keys(&scene.world, &[K2, K1]);
    assert_eq!(turn(&scene.world), 2);
    assert!(scene.world.run(async { refresh::deliver(&scene.world.core(), &kept).await }));
    assert!(sealed_credential(&scene, &id).starts_with("cx1.k1."), "as it was sealed when it came");
    assert!(usable(&scene, &id));
    assert_eq!(scene.world.acme.ended(End::Killed), 0);
    rotate(&scene);
    put_keys(&scene.world, &[K2]);
    scene.expire(&id);
    assert!(usable(&scene, &id));
}

#[test]
fn a_copy_that_no_key_opens_any_more_is_a_miss_and_is_written_anew() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let source = || {
        let ask = Ask { consistency: Consistency::Edge, ..Ask::default() };
        scene.resolve_fully(&id, ask).unwrap().resolved.source
    };
    assert_eq!((source(), source()), (Source::Database, Source::Cache));
    put_keys(&scene.world, &[K2, K1]);
    assert_eq!(source(), Source::Cache);
    rotate(&scene);
    put_keys(&scene.world, &[K2]);
    assert_eq!((source(), source()), (Source::Database, Source::Cache));
}

// ---- keys that are gone, wrong, or not the last ----

#[test]
fn what_does_not_open_is_counted_left_as_it_is_and_keeps_nothing_from_the_end() {
    let scene = Scene::new();
    let ids = connected(&scene, 6);
    let tampered = [(&ids[1], "cx1.k1.AAAA"), (&ids[3], "cx1.k9.AAAA"), (&ids[4], "no envelope at all")];
    for (id, text) in tampered {
        scene.world.db.tamper(&format!("UPDATE connections SET sealed_credential = '{text}' WHERE id = '{id}'"));
    }
    scene.world.reseal_batch.set(Some(2));
    put_keys(&scene.world, &[K2, K1]);
    rotate(&scene);
    for (id, text) in tampered {
        assert_eq!(sealed_credential(&scene, id), text);
    }
    assert_eq!((progress(&scene.world).resealed, progress(&scene.world).unreadable), (4, 3));
    put_keys(&scene.world, &[K2]);
    assert!([0, 2, 5].iter().all(|at| usable(&scene, &ids[*at])));
    scene.flow(&scene.repair_of(&ids[3]), "p3");
    assert!(usable(&scene, &ids[3]), "a person repairs it under the same id");
    scene.world.pass(86_400);
    rotate(&scene);
    while progress(&scene.world).after.is_some() {
        turn(&scene.world);
    }
    assert_eq!(progress(&scene.world).unreadable, 2);
}

#[test]
fn a_key_that_was_removed_too_early_is_no_harm_once_it_is_back() {
    let scene = Scene::new();
    let ids = connected(&scene, 4);
    scene.world.reseal_batch.set(Some(3));
    put_keys(&scene.world, &[K2, K1]);
    turn(&scene.world);
    put_keys(&scene.world, &[K2]);
    let left: i64 = sealed_under(&scene.world)["k1"];
    rotate(&scene);
    assert_eq!(progress(&scene.world).unreadable, left);
    assert_eq!(sealed_under(&scene.world)["k1"], left);
    put_keys(&scene.world, &[K2, K1]);
    assert!(ids.iter().all(|id| usable(&scene, id)));
    scene.world.pass(86_400);
    scene.tick();
    rotate(&scene);
    assert_eq!(sealed_under(&scene.world), all_under("k2", 5));
}

#[test]
fn another_key_that_is_promoted_half_way_begins_anew_and_so_does_a_way_back() {
    let scene = Scene::new();
    let ids = connected(&scene, 12);
    scene.world.reseal_batch.set(Some(5));
    put_keys(&scene.world, &[K2, K1]);
    turn(&scene.world);
    assert_eq!(sealed_under(&scene.world).len(), 2, "half-way");
    put_keys(&scene.world, &[K3, K2, K1]);
    rotate(&scene);
    assert_eq!(sealed_under(&scene.world), all_under("k3", 13));
    assert_eq!((progress(&scene.world).key_id.as_str(), progress(&scene.world).resealed), ("k3", 13));
    put_keys(&scene.world, &[K1, K3]);
    rotate(&scene);
    assert_eq!(sealed_under(&scene.world), all_under("k1", 13));
    put_keys(&scene.world, &[K3, K1]);
    assert!(turn(&scene.world) > 0, "a key that was finished before is not taken for finished");
    rotate(&scene);
    put_keys(&scene.world, &[K3]);
    assert!(ids.iter().all(|id| usable(&scene, id)));
    assert_eq!(scene.world.db.number("SELECT count(*) FROM reseal_progress"), 1);
}

#[test]
fn with_wrong_bytes_under_a_known_id_nothing_is_touched() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.tick();
    scene.world.db.tamper("UPDATE connections SET next_check_at = 1");
    let before = scene.world.db.dump();
    for keys in [vec![WRONG_K1], vec![K3, WRONG_K1], vec![WRONG_K1, K3]] {
        put_keys(&scene.world, &keys);
        for _ in 0..3 {
            scene.world.pass(700);
            let (core, now) = (scene.world.core(), scene.world.now());
            let error = scene.world.run(tick(&core, now)).unwrap_err();
            assert_eq!(error.code, connections::error::Code::Misconfigured);
            assert_eq!(scene.world.db.dump(), before, "{keys:?}");
        }
    }
    put_keys(&scene.world, &[K1]);
    assert!(usable(&scene, &id));
}

// ---- what the operator sees ----

fn status(scene: &Scene) -> serde_json::Value {
    let request = Request {
        method: Method::Get,
        path: "/v1/status".into(),
        query: String::new(),
        headers: vec![("authorization".into(), "Bearer abcdefghijklmnopqrstuvwxyz0123456789".into())],
        body: Body::Bytes(vec![]),
        id: "r".into(),
    };
    let response = scene.world.run(async { http::handle(&scene.world.core(), &request).await });
    assert_eq!(response.status, 200, "{}", response.body);
    serde_json::from_str(&response.body).unwrap()
}

#[test]
fn the_operator_sees_how_far_it_is_and_when_the_old_key_may_go() {
    let scene = Scene::new();
    connected(&scene, 7);
    scene.start(&scene.wish(), BROWSER);
    scene.world.reseal_batch.set(Some(5));
    let look = || {
        let status = status(&scene);
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
    put_keys(&scene.world, &[K1, K2]);
    assert_eq!(look(), (json!(["k1", "idle", 0, 0, 0]), json!(9), false));
    put_keys(&scene.world, &[K2, K1]);
    assert_eq!(look(), (json!(["k2", "idle", 9, 0, 0]), json!(9), false));
    turn(&scene.world);
    let (seen, left, _) = look();
    assert!((1..9).contains(&left.as_i64().unwrap()));
    assert_eq!(seen, json!(["k2", "running", left, 9 - left.as_i64().unwrap(), 0]));
    rotate(&scene);
    let all = status(&scene)["reseal"]["resealed"].as_i64().unwrap();
    assert_eq!(look(), (json!(["k2", "finished", 0, all, 0]), json!(0), true));
    let lost = "UPDATE connections SET sealed_credential = 'cx1.k9.AAAA' WHERE id = (SELECT min(id) FROM connections)";
    scene.world.db.tamper(lost);
    assert_eq!(status(&scene)["reseal"]["remaining"], 1, "counted now");
    scene.world.pass(86_400);
    rotate(&scene);
    while progress(&scene.world).after.is_some() {
        turn(&scene.world);
    }
    assert_eq!(look(), (json!(["k2", "finished", 1, all, 1]), json!(0), true));
    put_keys(&scene.world, &[K2]);
    let keys = status(&scene)["keys"].clone();
    assert_eq!(keys[0], json!({ "id": "k2", "on_ring": true, "seals": true, "rows": 7 }));
    assert_eq!(keys[1], json!({ "id": "k9", "on_ring": false, "seals": false, "rows": 1 }));
}

#[test]
fn what_shares_an_id_with_the_end_of_a_page_is_not_left_out() {
    let scene = Scene::new();
    let ids = connected(&scene, 3);
    // Disconnected, neither revoked nor erased: the same id stands in two tables.
    scene.world.acme.always("/revoke", Some(Reply::status(500, "")));
    let stays = Edit {
        of: "DELETE FROM connections WHERE workspace_id",
        find: "deleted_at IS NOT NULL",
        put: "deleted_at IS NULL",
    };
    scene.world.db.edits.borrow_mut().push(stays);
    for id in &ids {
        scene.disconnect(id).unwrap();
    }
    assert_eq!(sealed_under(&scene.world), all_under("k1", 7));
    scene.world.reseal_batch.set(Some(1));
    put_keys(&scene.world, &[K2, K1]);
    while progress_if_any(&scene.world).is_none_or(|progress| progress.after.is_some()) {
        turn(&scene.world);
    }
    assert_eq!(sealed_under(&scene.world), all_under("k2", 7), "in the first pass");
}
