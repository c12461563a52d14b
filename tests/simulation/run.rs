//! Many plays: as many seeds as were asked for or fit into the time, on every core, stopping at the first finding.
//!
//! Owns the report: what was played, what went wrong, and how to see it again.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::draw::Plan;
use crate::play::play;
use crate::reported;
use crate::support::World;
use crate::verdict::Ended;

/// Seconds that a run may take unless somebody says otherwise.
const USUAL_TIME: u64 = 60;
/// Seeds that a run of the tests begins with; fewer would leave some kinds of fault out.
const LEAST_SEEDS: u64 = 2_000;

/// What is to be played.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) from: u64,
    /// From one seed to the next: 32 keeps to one theme.
    pub(crate) step: u64,
    /// Seeds, whatever the time; otherwise as many as fit.
    pub(crate) seeds: Option<u64>,
    pub(crate) seconds: u64,
    /// One seed only, told in full.
    pub(crate) only: Option<u64>,
    /// Seconds between two lines of progress.
    pub(crate) pace: u64,
}

impl Wish {
    /// As `npm run simulate` puts it.
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
        Self {
            from: number("SIMULATE_FROM").unwrap_or(0),
            step: number("SIMULATE_STEP").unwrap_or(1),
            seeds: number("SIMULATE_SEEDS"),
            seconds: number("SIMULATE_SECONDS").unwrap_or(USUAL_TIME),
            only: number("SIMULATE_SEED"),
            pace: number("SIMULATE_PACE").unwrap_or(20),
        }
    }
}

/// One play of a seed, with a panic told as a finding.
pub(crate) fn one(seed: u64, prepare: impl FnOnce(&World), tells: bool) -> Ended {
    let played = catch_unwind(AssertUnwindSafe(|| play(seed, Plan::draw(seed), prepare, tells)));
    played.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Ended { findings: vec![format!("a panic: {}", what.unwrap_or("unknown"))], ..Ended::default() }
    })
}

/// Plays many seeds; panics at the first finding, with its seed and its story.
pub(crate) fn many(wish: &Wish) {
    if let Some(seed) = wish.only {
        let ended = one(seed, |_| {}, true);
        println!("{:#?}\n{}", Plan::draw(seed), ended.lines.join("\n"));
        assert!(ended.findings.is_empty(), "seed {seed}: {:#?}", ended.findings);
        return;
    }
    let work = Work::new(wish);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| work.play_on());
        }
        scope.spawn(|| work.show_progress());
    });
    work.report();
}

struct Work {
    from: u64,
    step: u64,
    seeds: Option<u64>,
    deadline: Duration,
    /// Seconds between two lines of progress.
    pace: u64,
    begun: Instant,
    next: AtomicU64,
    done: AtomicU64,
    stopped: AtomicBool,
    busy: AtomicU64,
    total: Mutex<Ended>,
    failed: Mutex<Option<u64>>,
}

impl Work {
    #[expect(clippy::disallowed_methods, reason = "how long the run itself takes is nobody's virtual time")]
    fn new(wish: &Wish) -> Self {
        Self {
            from: wish.from,
            step: wish.step,
            seeds: wish.seeds,
            deadline: Duration::from_secs(wish.seconds),
            pace: wish.pace,
            begun: Instant::now(),
            next: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            busy: AtomicU64::new(0),
            total: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    fn is_enough(&self, played: u64) -> bool {
        self.stopped.load(Ordering::Relaxed)
            || self.seeds.map_or(played >= LEAST_SEEDS && self.begun.elapsed() > self.deadline, |seeds| played >= seeds)
    }

    fn play_on(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
        let mut own = Ended::default();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if self.is_enough(number) {
                break;
            }
            let seed = self.from + number * self.step;
            let ended = one(seed, |_| {}, false);
            self.done.fetch_add(1, Ordering::Relaxed);
            if !ended.findings.is_empty() {
                self.stopped.store(true, Ordering::Relaxed);
                *self.failed.lock().unwrap() = Some(seed);
            }
            own.add(ended);
        }
        self.total.lock().unwrap().add(own);
        self.busy.fetch_sub(1, Ordering::Relaxed);
    }

    #[expect(clippy::disallowed_methods, reason = "a line of progress a second is for whoever waits")]
    fn show_progress(&self) {
        let mut shown = 0;
        loop {
            std::thread::sleep(Duration::from_millis(100));
            if self.busy.load(Ordering::Relaxed) == 0 {
                return;
            }
            let seconds = self.begun.elapsed().as_secs();
            if seconds >= shown + self.pace {
                shown = seconds;
                println!("{}", self.progress(seconds));
            }
        }
    }

    fn progress(&self, seconds: u64) -> String {
        let done = self.done.load(Ordering::Relaxed);
        let goal = self.seeds.map_or_else(String::new, |seeds| format!(" of {seeds}"));
        format!("progress: {done}{goal} seeds in {seconds} s")
    }

    fn report(&self) {
        let done = self.done.load(Ordering::Relaxed);
        let total = self.total.lock().unwrap();
        if let Some(seed) = *self.failed.lock().unwrap() {
            let again = one(seed, |_| {}, true);
            panic!(
                "seed {seed} broke a rule: {:#?}\n{:#?}\n{}\n\nSee it again: npm run simulate -- --seed {seed}",
                again.findings,
                Plan::draw(seed),
                again.lines.join("\n")
            );
        }
        println!(
            "simulated {done} seeds from {} in {:.0} s, 0 violations: {} redemptions, {} faults at the app, {} at the record, {} answers truly lost, deaths {:?}, {} credentials answered, {} disconnects, {} connections lured to another server, which got {} requests, {} days of long lives, told {:?}",
            self.from,
            self.begun.elapsed().as_secs_f64(),
            total.redemptions,
            total.faults.app,
            total.faults.record,
            total.lost,
            total.deaths,
            total.answered,
            total.disconnects,
            total.taken_in,
            total.astray,
            total.days,
            total.told
        );
        if done >= LEAST_SEEDS && self.step == 1 {
            // A simulation in which nothing goes wrong proves nothing.
            assert!(total.lost > 0 && total.faults.app > 0 && total.faults.record > 0 && total.disconnects > 0);
            assert!(total.taken_in > 0 && total.astray > 0 && total.days > 0);
            assert!(reported::NAMES.iter().all(|name| total.told.contains_key(name)), "{:?}", total.told);
            assert!(
                ["lost_rotation", "revoked", "refresh_token_missing"]
                    .iter()
                    .all(|name| total.deaths.contains_key(name))
            );
        }
    }
}

impl Ended {
    fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.faults.app += other.faults.app;
        self.faults.record += other.faults.record;
        self.redemptions += other.redemptions;
        self.lost += other.lost;
        self.answered += other.answered;
        self.disconnects += other.disconnects;
        self.astray += other.astray;
        self.taken_in += other.taken_in;
        self.days += other.days;
        let merge = |into: &mut BTreeMap<&'static str, u64>, from: BTreeMap<&'static str, u64>| {
            for (name, count) in from {
                *into.entry(name).or_default() += count;
            }
        };
        merge(&mut self.deaths, other.deaths);
        merge(&mut self.told, other.told);
    }
}
