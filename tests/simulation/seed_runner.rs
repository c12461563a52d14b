//! Runs many scenarios: a number of seeds or as many as fit into the time, on every core. Stops at the first finding.
//!
//! Owns the report: what was run, what failed, and how to run it again.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::invariants::ScenarioResult;
use crate::plan::ScenarioPlan;
use crate::reported;
use crate::scenario::run_scenario;
use crate::support::World;

/// Default length of a run in seconds.
const DEFAULT_SECONDS: u64 = 60;
/// Minimum number of seeds of a test run. Fewer would leave out some kinds of faults.
const MIN_SEEDS: u64 = 2_000;

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct RunOptions {
    pub(crate) first_seed: u64,
    /// The step from one seed to the next: 32 keeps one theme.
    pub(crate) step: u64,
    /// The number of seeds, independent of the time. Otherwise as many as fit.
    pub(crate) seeds: Option<u64>,
    pub(crate) max_seconds: u64,
    /// One seed only, with its full log.
    pub(crate) single_seed: Option<u64>,
    /// Seconds between two lines of progress.
    pub(crate) progress_seconds: u64,
}

impl RunOptions {
    /// The options of `npm run simulate`.
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
        Self {
            first_seed: number("SIMULATE_FROM").unwrap_or(0),
            step: number("SIMULATE_STEP").unwrap_or(1),
            seeds: number("SIMULATE_SEEDS"),
            max_seconds: number("SIMULATE_SECONDS").unwrap_or(DEFAULT_SECONDS),
            single_seed: number("SIMULATE_SEED"),
            progress_seconds: number("SIMULATE_PACE").unwrap_or(20),
        }
    }
}

/// Runs one seed. A panic is a finding.
pub(crate) fn run_seed(seed: u64, prepare: impl FnOnce(&World), tells: bool) -> ScenarioResult {
    let played = catch_unwind(AssertUnwindSafe(|| run_scenario(seed, ScenarioPlan::from_seed(seed), prepare, tells)));
    played.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        ScenarioResult {
            findings: vec![format!("a panic: {}", what.unwrap_or("unknown"))],
            ..ScenarioResult::default()
        }
    })
}

/// Runs many seeds. Panics at the first finding, with its seed and its log.
pub(crate) fn run_seeds(wish: &RunOptions) {
    if let Some(seed) = wish.single_seed {
        let ended = run_seed(seed, |_| {}, true);
        println!("{:#?}\n{}", ScenarioPlan::from_seed(seed), ended.lines.join("\n"));
        assert!(ended.findings.is_empty(), "seed {seed}: {:#?}", ended.findings);
        return;
    }
    let work = SeedRunner::new(wish);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| work.run_until_enough());
        }
        scope.spawn(|| work.show_progress());
    });
    work.report();
}

struct SeedRunner {
    first_seed: u64,
    step: u64,
    seeds: Option<u64>,
    deadline: Duration,
    /// Seconds between two lines of progress.
    progress_seconds: u64,
    started_at: Instant,
    next_offset: AtomicU64,
    done: AtomicU64,
    stopped: AtomicBool,
    busy_threads: AtomicU64,
    total: Mutex<ScenarioResult>,
    failed_seed: Mutex<Option<u64>>,
}

impl SeedRunner {
    #[expect(clippy::disallowed_methods, reason = "how long the run itself takes is nobody's virtual time")]
    fn new(wish: &RunOptions) -> Self {
        Self {
            first_seed: wish.first_seed,
            step: wish.step,
            seeds: wish.seeds,
            deadline: Duration::from_secs(wish.max_seconds),
            progress_seconds: wish.progress_seconds,
            started_at: Instant::now(),
            next_offset: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            busy_threads: AtomicU64::new(0),
            total: Mutex::default(),
            failed_seed: Mutex::default(),
        }
    }

    fn is_enough(&self, played: u64) -> bool {
        self.stopped.load(Ordering::Relaxed)
            || self
                .seeds
                .map_or(played >= MIN_SEEDS && self.started_at.elapsed() > self.deadline, |seeds| played >= seeds)
    }

    fn run_until_enough(&self) {
        self.busy_threads.fetch_add(1, Ordering::Relaxed);
        let mut own = ScenarioResult::default();
        loop {
            let number = self.next_offset.fetch_add(1, Ordering::Relaxed);
            if self.is_enough(number) {
                break;
            }
            let seed = self.first_seed + number * self.step;
            let ended = run_seed(seed, |_| {}, false);
            self.done.fetch_add(1, Ordering::Relaxed);
            if !ended.findings.is_empty() {
                self.stopped.store(true, Ordering::Relaxed);
                *self.failed_seed.lock().unwrap() = Some(seed);
            }
            own.add(ended);
        }
        self.total.lock().unwrap().add(own);
        self.busy_threads.fetch_sub(1, Ordering::Relaxed);
    }

    #[expect(clippy::disallowed_methods, reason = "a line of progress a second is for whoever waits")]
    fn show_progress(&self) {
        let mut shown = 0;
        loop {
            std::thread::sleep(Duration::from_millis(100));
            if self.busy_threads.load(Ordering::Relaxed) == 0 {
                return;
            }
            let seconds = self.started_at.elapsed().as_secs();
            if seconds >= shown + self.progress_seconds {
                shown = seconds;
                println!("{}", self.progress_line(seconds));
            }
        }
    }

    fn progress_line(&self, seconds: u64) -> String {
        let done = self.done.load(Ordering::Relaxed);
        let goal = self.seeds.map_or_else(String::new, |seeds| format!(" of {seeds}"));
        format!("progress: {done}{goal} seeds in {seconds} s")
    }

    fn report(&self) {
        let done = self.done.load(Ordering::Relaxed);
        let total = self.total.lock().unwrap();
        if let Some(seed) = *self.failed_seed.lock().unwrap() {
            let again = run_seed(seed, |_| {}, true);
            panic!(
                "seed {seed} broke a rule: {:#?}\n{:#?}\n{}\n\nSee it again: npm run simulate -- --seed {seed}",
                again.findings,
                ScenarioPlan::from_seed(seed),
                again.lines.join("\n")
            );
        }
        println!(
            "simulated {done} seeds from {} in {:.0} s, 0 violations: {} redemptions, {} faults at the app, {} at the record, {} answers truly lost, deaths {:?}, {} credentials answered, {} disconnects, {} connections lured to another server, which got {} requests, {} days of long lives, told {:?}",
            self.first_seed,
            self.started_at.elapsed().as_secs_f64(),
            total.refreshes_sent,
            total.faults.app,
            total.faults.database,
            total.responses_lost,
            total.needs_reconnect,
            total.credentials_resolved,
            total.disconnects,
            total.rogue_grants,
            total.rogue_requests,
            total.days,
            total.told
        );
        if done >= MIN_SEEDS && self.step == 1 {
            // A simulation without faults proves nothing.
            assert!(
                total.responses_lost > 0 && total.faults.app > 0 && total.faults.database > 0 && total.disconnects > 0
            );
            assert!(total.rogue_grants > 0 && total.rogue_requests > 0 && total.days > 0);
            assert!(reported::NAMES.iter().all(|name| total.told.contains_key(name)), "{:?}", total.told);
            assert!(
                ["lost_rotation", "revoked", "refresh_token_missing"]
                    .iter()
                    .all(|name| total.needs_reconnect.contains_key(name))
            );
        }
    }
}

impl ScenarioResult {
    fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.faults.app += other.faults.app;
        self.faults.database += other.faults.database;
        self.refreshes_sent += other.refreshes_sent;
        self.responses_lost += other.responses_lost;
        self.credentials_resolved += other.credentials_resolved;
        self.disconnects += other.disconnects;
        self.rogue_requests += other.rogue_requests;
        self.rogue_grants += other.rogue_grants;
        self.days += other.days;
        let merge = |into: &mut BTreeMap<&'static str, u64>, from: BTreeMap<&'static str, u64>| {
            for (name, count) in from {
                *into.entry(name).or_default() += count;
            }
        };
        merge(&mut self.needs_reconnect, other.needs_reconnect);
        merge(&mut self.told, other.told);
    }
}
