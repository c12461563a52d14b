//! What a seed draws for a long scenario: phases of two or three days, each with one lasting problem, or none.
//!
//! Owns the ranges. Other faults end long before their phase does, so that at the end of a phase everything about its
//! problem should have been reported.

use crate::outages::Kind;
use crate::plan::pick_one;
use crate::support::runtime::RandomSequence;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
/// Minimum length of a phase in hours: a check is due after 26 at most, and repeating it takes hours.
const SHORTEST: usize = 40;
/// Hours of a phase in which another fault may happen.
const OUTAGES_UNTIL: usize = 8;

/// The problem of a whole phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// None.
    None,
    /// The app's token endpoint cannot be reached, in one of four ways.
    Silence(usize),
    /// The app refuses to refresh with an unknown code.
    UnknownCode,
    /// The app says that the client may not refresh.
    Configuration,
    /// The app has another secret for the client.
    ClientRefused,
    /// The stored secret of the client cannot be decrypted.
    SecretSpoiled,
    /// The key that sealed everything is not in the ring.
    KeyGone,
}

/// How a definition changes in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// In a way that adds no destination: connections follow.
    Harmless(usize),
    /// The same, during a refresh of the first connection.
    DuringARefresh(usize),
    /// Tokens would go to another address: connections stay, until it is restored at the end of the phase.
    OtherAddress,
}

/// An action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A workflow asks.
    Call {
        worker: usize,
        connection: usize,
        mode: Mode,
        workflow: usize,
    },
    /// The database is down for a minute, and a workflow asks that asked shortly before.
    CallInAnOutage {
        worker: usize,
        connection: usize,
        workflow: usize,
    },
    CheckNow {
        worker: usize,
        connection: usize,
    },
    Rename {
        worker: usize,
        connection: usize,
    },
    Withdraw {
        connection: usize,
    },
    Reconnect {
        worker: usize,
        connection: usize,
    },
    Disconnect {
        worker: usize,
    },
    /// A process is killed with its memory.
    Kill {
        worker: usize,
    },
    Fails {
        kind: Kind,
        seconds: i64,
    },
    Define(Change),
}

/// The consistency mode of a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Strong,
    Available,
    Edge,
}

/// One phase.
#[derive(Debug, Clone)]
pub(crate) struct Phase {
    pub(crate) hours: i64,
    pub(crate) trouble: Trouble,
    /// Whether a client is entered again after the previous problem.
    pub(crate) enters: bool,
    /// Actions with their time, in seconds from the beginning of the phase.
    pub(crate) deeds: Vec<(i64, Deed)>,
}

/// A long scenario.
#[derive(Debug, Clone)]
pub(crate) struct InvocationGuard {
    /// Whether the app returns the lifetime of a token.
    pub(crate) tells_life: bool,
    pub(crate) phases: Vec<Phase>,
}

impl InvocationGuard {
    /// Lifetime of tokens: `expires_in` seconds. The last connection may be disconnected.
    pub(crate) fn draw(draws: &mut RandomSequence, (workers, connections): (usize, usize)) -> Self {
        let tells_life = draws.next_below(6) != 0;
        let mut phases = Vec::new();
        for number in 0..2 + draws.next_below(2) {
            phases.push(Phase::draw(draws, number, (workers, connections)));
        }
        let mut last = Phase::draw(draws, 1, (workers, connections));
        last.trouble = if draws.next_below(3) == 0 { last.trouble } else { Trouble::None };
        phases.push(last);
        let mut gone = false;
        for phase in &mut phases {
            phase.deeds.retain(|(_, deed)| {
                let is_one = matches!(deed, Deed::Disconnect { .. });
                let keep = !is_one || !gone;
                gone |= is_one;
                keep
            });
        }
        Self { tells_life, phases }
    }
}

/// Seconds within this many hours of a phase.
fn within(draws: &mut RandomSequence, hours: usize) -> i64 {
    i64::try_from(draws.next_below(hours * 3600)).unwrap()
}

impl Phase {
    fn draw(draws: &mut RandomSequence, number: usize, (workers, connections): (usize, usize)) -> Self {
        let hours = SHORTEST + draws.next_below(24);
        let trouble = match draws.next_below(if number == 0 { 8 } else { 12 }) {
            0 => Trouble::Silence(draws.next_below(4)),
            1 => Trouble::UnknownCode,
            2 => Trouble::Configuration,
            3 => Trouble::ClientRefused,
            4 => Trouble::SecretSpoiled,
            5 => Trouble::KeyGone,
            _ => Trouble::None,
        };
        let mut phase =
            Self { hours: i64::try_from(hours).unwrap(), trouble, enters: draws.next_below(2) == 0, deeds: Vec::new() };
        for connection in 0..connections {
            phase.draw_calls(draws, hours, (workers, connection));
        }
        phase.draw_outages(draws);
        phase.draw_people(draws, hours, (workers, connections));
        if draws.next_below(2) == 0 {
            let change = match draws.next_below(5) {
                0 | 1 => Change::Harmless(draws.next_below(4)),
                2 | 3 => Change::DuringARefresh(draws.next_below(4)),
                _ => Change::OtherAddress,
            };
            // A client is always entered for the current addresses of the definition.
            if change != Change::OtherAddress || trouble == Trouble::None {
                phase.deeds.push((within(draws, OUTAGES_UNTIL), Deed::Define(change)));
            }
        }
        phase.deeds.sort_by_key(|(at, _)| *at);
        phase
    }

    /// Periods in which a workflow calls at a steady rate. At the end of some of them the database goes down.
    fn draw_calls(&mut self, draws: &mut RandomSequence, hours: usize, (workers, connection): (usize, usize)) {
        for _ in 0..draws.next_below(4) {
            let workflow = draws.next_below(2);
            let mode = pick_one(draws, &[Mode::Strong, Mode::Available, Mode::Available, Mode::Edge, Mode::Edge]);
            let pace = pick_one(draws, &[4 * MINUTE, 10 * MINUTE, 13 * MINUTE, HOUR]);
            let mut at = within(draws, hours);
            let own = draws.next_below(workers);
            for _ in 0..4 + draws.next_below(12) {
                let worker = if draws.next_below(4) == 0 { draws.next_below(workers) } else { own };
                self.deeds.push((at, Deed::Call { worker, connection, mode, workflow }));
                at += pace + i64::try_from(draws.next_below(60)).unwrap();
            }
            if mode != Mode::Strong && draws.next_below(2) == 0 {
                let soon = at - pace + i64::try_from(draws.next_below(10 * 60)).unwrap();
                self.deeds
                    .push((soon, Deed::CallInAnOutage { worker: draws.next_below(workers), connection, workflow }));
            }
        }
        let end = self.hours * HOUR;
        self.deeds.retain(|(at, _)| *at < end - HOUR);
    }

    fn draw_outages(&mut self, draws: &mut RandomSequence) {
        for _ in 0..draws.next_below(4) {
            let kind = pick_one(draws, &Kind::ALL);
            let seconds = pick_one(draws, &[20 * MINUTE, 2 * HOUR, 9 * HOUR]);
            self.deeds.push((within(draws, OUTAGES_UNTIL), Deed::Fails { kind, seconds }));
        }
    }

    fn draw_people(&mut self, draws: &mut RandomSequence, hours: usize, (workers, connections): (usize, usize)) {
        for _ in 0..draws.next_below(4) {
            let (worker, connection) = (draws.next_below(workers), draws.next_below(connections));
            let deed = match draws.next_below(10) {
                0..=3 => Deed::Rename { worker, connection },
                4 | 5 => Deed::CheckNow { worker, connection },
                6 => Deed::Withdraw { connection },
                7 => Deed::Reconnect { worker, connection },
                _ => Deed::Kill { worker },
            };
            // A problem that a check must find needs the time until the next check.
            let until =
                if matches!(deed, Deed::Withdraw { .. } | Deed::Reconnect { .. }) { OUTAGES_UNTIL } else { hours - 1 };
            self.deeds.push((within(draws, until), deed));
        }
        if draws.next_below(3) == 0 {
            let at = within(draws, OUTAGES_UNTIL);
            let worker = draws.next_below(workers);
            self.deeds.push((at, Deed::Disconnect { worker }));
            if draws.next_below(2) == 0 {
                // With a cache entry that cannot be deleted for a while.
                let call = Deed::Call { worker, connection: connections - 1, mode: Mode::Available, workflow: 0 };
                let seconds = pick_one(draws, &[20 * MINUTE, 9 * HOUR]);
                self.deeds.push(((at - MINUTE).max(0), call));
                self.deeds.push(((at - 10).max(0), Deed::Fails { kind: Kind::Deletes, seconds }));
            }
        }
    }
}
