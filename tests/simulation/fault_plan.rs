//! Faults at the borders, drawn for every batch and every request while the scenario runs.
//!
//! Owns the possible faults. Each one is in the list of incidents in refresh.md or is known from the platform.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use connections::ports::HttpError;
use serde_json::Value;

use crate::plan::{ScenarioPlan, pick_one};
use crate::support::runtime::{RandomSequence, Runtime};
use crate::support::{Fault, Reply, RotationPolicy, World};

/// Number of drawn faults of each kind.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FaultCounts {
    pub(crate) database: u64,
    pub(crate) app: u64,
}

/// The active faults. Clones share them.
#[derive(Clone)]
pub(crate) struct FaultPlan(Rc<FaultPlanState>);

struct FaultPlanState {
    active: Cell<bool>,
    down_until_ms: Cell<i64>,
    counts: Cell<FaultCounts>,
    draws: RefCell<RandomSequence>,
    runtime: Runtime,
}

impl FaultPlan {
    /// Adds the faults to a world.
    pub(crate) fn install(world: &World, plan: &ScenarioPlan, seed: u64) -> Self {
        let sky = Self(Rc::new(FaultPlanState {
            active: Cell::new(true),
            down_until_ms: Cell::new(0),
            counts: Cell::default(),
            draws: RefCell::new(RandomSequence::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))),
            runtime: world.runtime.clone(),
        }));
        let (at_record, chance) = (sky.clone(), plan.fault_rates.database);
        *world.db.fault_plan.borrow_mut() = Some(Box::new(move |_| at_record.draw_database_fault(chance)));
        let (at_app, weather, rotates) = (sky.clone(), plan.fault_rates, plan.rotation);
        *world.acme.fault_plan.borrow_mut() = Some(Box::new(move |path| at_app.draw_app_fault(path, weather, rotates)));
        sky
    }

    /// Stops all faults.
    pub(crate) fn stop(&self) {
        self.0.active.set(false);
        self.0.down_until_ms.set(0);
    }

    /// The database is down for this many seconds.
    pub(crate) fn take_database_down(&self, seconds: i64) {
        self.0.down_until_ms.set(self.0.runtime.now_ms() + seconds * 1000);
    }

    pub(crate) fn counts(&self) -> FaultCounts {
        self.0.counts.get()
    }

    fn draw_database_fault(&self, chance: usize) -> Option<Fault> {
        if self.0.runtime.now_ms() < self.0.down_until_ms.get() {
            return Some(Fault::BeforeCommit);
        }
        let draws = &mut *self.0.draws.borrow_mut();
        if !self.0.active.get() || draws.next_below(1000) >= chance {
            return None;
        }
        self.update_counts(|counts| counts.database += 1);
        Some(match draws.next_below(8) {
            0..=2 => Fault::BeforeCommit,
            3..=5 => Fault::AfterCommit,
            6 => Fault::NoAnswer,
            _ => Fault::Slow(pick_one(draws, &[50, 500, 3_000, 9_000, 30_000])),
        })
    }

    fn draw_app_fault(
        &self,
        path: &str,
        weather: crate::plan::FaultRates,
        rotates: RotationPolicy,
    ) -> (Option<Reply>, i64) {
        let draws = &mut *self.0.draws.borrow_mut();
        let usual = 10 + i64::try_from(draws.next_below(300)).unwrap();
        if !self.0.active.get() {
            return (None, usual);
        }
        let slow = draws.next_below(1000) < weather.slow;
        let latency = if slow { pick_one(draws, &[2_000, 12_000, 20_000, 40_000, 90_000]) } else { usual };
        let ill = draws.next_below(1000) < weather.app;
        if ill {
            self.update_counts(|counts| counts.app += 1);
        }
        (ill.then(|| draw_bad_reply(draws, path, rotates)), latency)
    }

    fn update_counts(&self, change: impl Fn(&mut FaultCounts)) {
        let mut counts = self.0.counts.get();
        change(&mut counts);
        self.0.counts.set(counts);
    }
}

/// A response that is not the app's own. In half of the cases the app has acted anyway.
fn draw_bad_reply(draws: &mut RandomSequence, path: &str, rotates: RotationPolicy) -> Reply {
    if path != "/token" {
        return pick_reply(
            draws,
            vec![Reply::status(500, ""), Reply::error(HttpError::Network), Reply::status(429, "")],
        );
    }
    let html = "<html>one moment</html>";
    let cut = "{\"access_token\":\"canary7f3a-";
    let lie = "{\"error\":\"invalid_grant\"}";
    match draws.next_below(4) {
        0 => {
            let wait = draws.next_below(30).to_string();
            let later = "{\"error\":\"temporarily_unavailable\"}";
            pick_reply(
                draws,
                vec![
                    Reply::status(429, "").with_header("retry-after", &wait),
                    Reply::status(503, later).with_header("retry-after", &wait),
                    Reply::status(400, "{\"error\":\"slow_down\"}"),
                    Reply::status(401, "{\"error\":\"invalid_client\"}"),
                    Reply::status(400, "{\"error\":\"nobody_knows_this\"}"),
                ],
            )
        }
        1 => pick_reply(
            draws,
            vec![
                incomplete_reply(rotates),
                unusable_token_reply(),
                reply_without("expires_in"),
                unknown_token_type_reply(),
            ],
        ),
        kind => {
            let reply = pick_reply(
                draws,
                vec![
                    Reply::error(HttpError::Network),
                    Reply::error(HttpError::Timeout),
                    Reply::error(HttpError::TooLarge),
                    Reply::status(500, lie),
                    Reply::status(502, html),
                    Reply::status(302, "").with_header("location", "https://elsewhere.example/"),
                    Reply::status(200, html),
                    Reply::status(200, cut),
                    Reply::status(400, html),
                ],
            );
            if kind == 2 { reply.after_acting() } else { reply }
        }
    }
}

fn pick_reply(draws: &mut RandomSequence, mut replies: Vec<Reply>) -> Reply {
    replies.swap_remove(draws.next_below(replies.len()))
}

/// The app omits the refresh token. This is drawn only for apps whose old token keeps working.
fn incomplete_reply(rotates: RotationPolicy) -> Reply {
    match rotates {
        RotationPolicy::Reissue | RotationPolicy::Never => reply_without("refresh_token"),
        _ => reply_without("token_type"),
    }
}

fn unusable_token_reply() -> Reply {
    Reply::edited(|body| replace_member(body, "access_token", "two words".into()))
}

fn unknown_token_type_reply() -> Reply {
    Reply::edited(|body| replace_member(body, "token_type", "mac".into()))
}

fn reply_without(member: &'static str) -> Reply {
    Reply::edited(move |body| {
        if let Some(members) = body.as_object_mut() {
            members.remove(member);
        }
    })
}

/// Only a response with tokens. An error is not turned into one.
fn replace_member(body: &mut Value, member: &str, value: Value) {
    if body.get(member).is_some() {
        body[member] = value;
    }
}
