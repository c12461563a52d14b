//! Faults at the borders, drawn for every batch and every request while the play lasts.
//!
//! Owns what a fault can look like. Each is one that refresh.md's table of incidents or the platform knows.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use connections::ports::HttpError;
use serde_json::Value;

use crate::draw::{Plan, one_of};
use crate::support::runtime::{Draws, Runtime};
use crate::support::{Reply, Rotates, World, Wound};

/// Faults of each kind that were drawn.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) record: u64,
    pub(crate) app: u64,
}

/// What blows. Clones share it.
#[derive(Clone)]
pub(crate) struct Sky(Rc<State>);

struct State {
    storm: Cell<bool>,
    down_until_ms: Cell<i64>,
    counts: Cell<Counts>,
    draws: RefCell<Draws>,
    runtime: Runtime,
}

impl Sky {
    /// Puts the weather over a world.
    pub(crate) fn over(world: &World, plan: &Plan, seed: u64) -> Self {
        let sky = Self(Rc::new(State {
            storm: Cell::new(true),
            down_until_ms: Cell::new(0),
            counts: Cell::default(),
            draws: RefCell::new(Draws::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))),
            runtime: world.runtime.clone(),
        }));
        let (at_record, chance) = (sky.clone(), plan.weather.record);
        *world.db.weather.borrow_mut() = Some(Box::new(move |_| at_record.at_the_record(chance)));
        let (at_app, weather, rotates) = (sky.clone(), plan.weather, plan.rotates);
        *world.acme.weather.borrow_mut() = Some(Box::new(move |path| at_app.at_the_app(path, weather, rotates)));
        sky
    }

    /// Nothing fails any more.
    pub(crate) fn clear(&self) {
        self.0.storm.set(false);
        self.0.down_until_ms.set(0);
    }

    /// The record is away for so many seconds.
    pub(crate) fn record_down(&self, seconds: i64) {
        self.0.down_until_ms.set(self.0.runtime.now_ms() + seconds * 1000);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.counts.get()
    }

    fn at_the_record(&self, chance: usize) -> Option<Wound> {
        if self.0.runtime.now_ms() < self.0.down_until_ms.get() {
            return Some(Wound::Before);
        }
        let draws = &mut *self.0.draws.borrow_mut();
        if !self.0.storm.get() || draws.below(1000) >= chance {
            return None;
        }
        self.count(|counts| counts.record += 1);
        Some(match draws.below(8) {
            0..=2 => Wound::Before,
            3..=5 => Wound::After,
            6 => Wound::Silent,
            _ => Wound::Slow(one_of(draws, &[50, 500, 3_000, 9_000, 30_000])),
        })
    }

    fn at_the_app(&self, path: &str, weather: crate::draw::Weather, rotates: Rotates) -> (Option<Reply>, i64) {
        let draws = &mut *self.0.draws.borrow_mut();
        let usual = 10 + i64::try_from(draws.below(300)).unwrap();
        if !self.0.storm.get() {
            return (None, usual);
        }
        let slow = draws.below(1000) < weather.slow;
        let latency = if slow { one_of(draws, &[2_000, 12_000, 20_000, 40_000, 90_000]) } else { usual };
        let ill = draws.below(1000) < weather.app;
        if ill {
            self.count(|counts| counts.app += 1);
        }
        (ill.then(|| ill_luck(draws, path, rotates)), latency)
    }

    fn count(&self, change: impl Fn(&mut Counts)) {
        let mut counts = self.0.counts.get();
        change(&mut counts);
        self.0.counts.set(counts);
    }
}

/// An answer that is not the app's usual one; in half of the cases the app has acted all the same.
fn ill_luck(draws: &mut Draws, path: &str, rotates: Rotates) -> Reply {
    if path != "/token" {
        return one_of_replies(
            draws,
            vec![Reply::status(500, ""), Reply::error(HttpError::Network), Reply::status(429, "")],
        );
    }
    let html = "<html>one moment</html>";
    let cut = "{\"access_token\":\"canary7f3a-";
    let lie = "{\"error\":\"invalid_grant\"}";
    match draws.below(4) {
        0 => {
            let wait = draws.below(30).to_string();
            let later = "{\"error\":\"temporarily_unavailable\"}";
            one_of_replies(
                draws,
                vec![
                    Reply::status(429, "").header("retry-after", &wait),
                    Reply::status(503, later).header("retry-after", &wait),
                    Reply::status(400, "{\"error\":\"slow_down\"}"),
                    Reply::status(401, "{\"error\":\"invalid_client\"}"),
                    Reply::status(400, "{\"error\":\"nobody_knows_this\"}"),
                ],
            )
        }
        1 => one_of_replies(draws, vec![odd(rotates), unusable(), without("expires_in"), strange_type()]),
        kind => {
            let reply = one_of_replies(
                draws,
                vec![
                    Reply::error(HttpError::Network),
                    Reply::error(HttpError::Timeout),
                    Reply::error(HttpError::TooLarge),
                    Reply::status(500, lie),
                    Reply::status(502, html),
                    Reply::status(302, "").header("location", "https://elsewhere.example/"),
                    Reply::status(200, html),
                    Reply::status(200, cut),
                    Reply::status(400, html),
                ],
            );
            if kind == 2 { reply.acting() } else { reply }
        }
    }
}

fn one_of_replies(draws: &mut Draws, mut replies: Vec<Reply>) -> Reply {
    replies.swap_remove(draws.below(replies.len()))
}

/// The app leaves out the refresh token; only one whose old token goes on working may.
fn odd(rotates: Rotates) -> Reply {
    match rotates {
        Rotates::Reissue | Rotates::No => without("refresh_token"),
        _ => without("token_type"),
    }
}

fn unusable() -> Reply {
    Reply::edited(|body| set(body, "access_token", "two words".into()))
}

fn strange_type() -> Reply {
    Reply::edited(|body| set(body, "token_type", "mac".into()))
}

fn without(member: &'static str) -> Reply {
    Reply::edited(move |body| {
        if let Some(members) = body.as_object_mut() {
            members.remove(member);
        }
    })
}

/// Only an answer that brings tokens: an error is not made into one.
fn set(body: &mut Value, member: &str, value: Value) {
    if body.get(member).is_some() {
        body[member] = value;
    }
}
