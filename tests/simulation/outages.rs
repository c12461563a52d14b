//! What fails for hours in a long scenario: writes of our own bookkeeping, the cache, an app that is down or refuses.
//!
//! Owns which calls belong to which kind of outage. Everything else works.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use connections::ports::{HttpError, Statement};

use crate::support::cache::Call;
use crate::support::runtime::{RandomSequence, Runtime};
use crate::support::{Fault, Reply, World};

/// What can fail for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The writes that record uses.
    Uses,
    /// Most writes of the results of attempts, checks and definition changes.
    Marks,
    /// The whole database.
    Record,
    /// The cache accepts no entry.
    Puts,
    /// The cache deletes no entry.
    Deletes,
    /// The cache answers nothing.
    Gets,
    /// The app revokes nothing.
    Revocations,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Uses, Self::Marks, Self::Puts, Self::Deletes, Self::Gets, Self::Revocations];
}

/// What the app's token endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// It works.
    Works,
    /// It cannot be reached, or its response cannot be read: by number.
    Silent(usize),
    /// It refuses with this code.
    Refuses(&'static str),
}

/// Parts of the statements that write the results of attempts, checks and definition changes.
const MARKS: [&str; 4] = [
    "SET failures = failures + ",
    "UPDATE connections SET checked_at = ?4",
    "SET definition_update_blocked = ?5",
    "UPDATE oauth_clients SET misconfigured_at = coalesce",
];
const USES: [&str; 2] = ["INSERT INTO uses", "UPDATE connections SET last_used_at"];

/// All outages of a long scenario. Clones share them.
#[derive(Clone)]
pub(crate) struct Outages(Rc<State>);

struct State {
    /// When each kind ends, or has ended, in milliseconds.
    ends: RefCell<Vec<(Kind, i64)>>,
    token: Cell<Token>,
    draws: RefCell<RandomSequence>,
    runtime: Runtime,
    met: Cell<(u64, u64)>,
}

impl Outages {
    /// Adds them to the borders of a world.
    pub(crate) fn over(world: &World, seed: u64) -> Self {
        let outages = Self(Rc::new(State {
            ends: RefCell::default(),
            token: Cell::new(Token::Works),
            draws: RefCell::new(RandomSequence::new(seed.wrapping_mul(0x9e6c_63d0_876a_68de))),
            runtime: world.runtime.clone(),
            met: Cell::default(),
        }));
        let own = outages.clone();
        *world.db.fault_plan.borrow_mut() = Some(Box::new(move |statements| own.at_the_record(statements)));
        let own = outages.clone();
        *world.acme.fault_plan.borrow_mut() = Some(Box::new(move |path| (own.at_the_app(path), 200)));
        let own = outages.clone();
        *world.cache.weather.borrow_mut() = Some(Box::new(move |call| own.at_the_cache(call)));
        outages
    }

    pub(crate) fn begin(&self, kind: Kind, seconds: i64) {
        let end = self.0.runtime.now_ms() + seconds * 1000;
        self.0.ends.borrow_mut().push((kind, end));
    }

    pub(crate) fn end(&self, kind: Kind) {
        let now = self.0.runtime.now_ms();
        for (_, end) in self.0.ends.borrow_mut().iter_mut().filter(|(of, _)| *of == kind) {
            *end = (*end).min(now);
        }
    }

    pub(crate) fn set_token(&self, token: Token) {
        self.0.token.set(token);
    }

    /// Seconds for which a kind has worked. Negative while it fails.
    pub(crate) fn works_for(&self, kind: Kind) -> i64 {
        let last = self.0.ends.borrow().iter().filter(|(of, _)| *of == kind).map(|(_, end)| *end).max();
        last.map_or(i64::MAX, |end| (self.0.runtime.now_ms() - end).div_euclid(1000))
    }

    /// Faults at the database, and at the app.
    pub(crate) fn met(&self) -> (u64, u64) {
        self.0.met.get()
    }

    fn fails(&self, kind: Kind) -> bool {
        self.works_for(kind) < 0
    }

    fn at_the_record(&self, statements: &[Statement]) -> Option<Fault> {
        let has = |pieces: &[&str]| statements.iter().any(|one| pieces.iter().any(|piece| one.sql.contains(piece)));
        let wound = if self.fails(Kind::Record) || self.fails(Kind::Uses) && has(&USES) {
            Some(Fault::BeforeCommit)
        } else if self.fails(Kind::Marks) && has(&MARKS) {
            match self.0.draws.borrow_mut().next_below(4) {
                0 | 1 => Some(Fault::BeforeCommit),
                2 => Some(Fault::AfterCommit),
                _ => None,
            }
        } else {
            None
        };
        let (record, app) = self.met();
        self.0.met.set((record + u64::from(wound.is_some()), app));
        wound
    }

    fn at_the_cache(&self, call: Call) -> bool {
        self.fails(match call {
            Call::Get => Kind::Gets,
            Call::Put => Kind::Puts,
            Call::Delete => Kind::Deletes,
        })
    }

    fn at_the_app(&self, path: &str) -> Option<Reply> {
        let reply = match path {
            "/token" => match self.0.token.get() {
                Token::Works => None,
                Token::Silent(0) => Some(Reply::error(HttpError::Network)),
                Token::Silent(1) => Some(Reply::error(HttpError::Timeout)),
                Token::Silent(2) => Some(Reply::status(503, "")),
                Token::Silent(_) => Some(Reply::status(200, "<html>maintenance</html>")),
                Token::Refuses(code) => Some(Reply::status(400, &format!("{{\"error\":\"{code}\"}}"))),
            },
            "/revoke" if self.fails(Kind::Revocations) => Some(Reply::status(500, "")),
            _ => None,
        };
        let (record, app) = self.met();
        self.0.met.set((record, app + u64::from(reply.is_some())));
        reply
    }
}
