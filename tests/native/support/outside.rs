//! The small twins: subrequest meter, clock, randomness, log, lifeboat.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use connections::ids::ConnectionId;
use connections::ports::{Clock, Lifeboat, Log, LogLine, NoRandomness, Random};
use connections::time::Timestamp;

use super::runtime::{Draws, Runtime};
use super::witness::Witness;

/// Subrequests that the free plan gives an invocation.
pub(crate) const BUDGET: u32 = 50;

/// Counts what an invocation sends, and refuses what is over its budget.
#[derive(Default)]
pub(crate) struct Meter {
    pub(crate) spent: Cell<u32>,
    /// The most it may send; none: [`BUDGET`].
    most: Option<u32>,
}

impl Meter {
    pub(crate) fn with(most: Option<u32>) -> Self {
        Self { most, ..Self::default() }
    }

    pub(crate) fn spend(&self) -> bool {
        self.spent.set(self.spent.get() + 1);
        self.spent.get() <= self.most.unwrap_or(BUDGET)
    }
}

impl Clock for Runtime {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(Runtime::now(self))
    }

    async fn sleep(&self, milliseconds: u32) {
        Runtime::sleep(self, i64::from(milliseconds)).await;
    }
}

/// Bytes drawn from a seed.
pub(crate) struct Seeded {
    draws: RefCell<Draws>,
    /// After so many further calls every call fails, and leaves the buffer as it was.
    pub(crate) fails_after: Cell<Option<u32>>,
}

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self { draws: RefCell::new(Draws::new(seed)), fails_after: Cell::new(None) }
    }
}

impl Random for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        match self.fails_after.get() {
            Some(0) => return Err(NoRandomness),
            Some(left) => self.fails_after.set(Some(left - 1)),
            None => {}
        }
        for byte in buffer {
            *byte = u8::try_from(self.draws.borrow_mut().below(256)).unwrap();
        }
        Ok(())
    }
}

/// The lines that were written.
#[derive(Default)]
pub(crate) struct Lines(pub(crate) RefCell<Vec<LogLine>>);

impl Lines {
    /// How many lines tell of an event.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.0.borrow().iter().filter(|line| line.event == event).count()
    }

    /// Everything that was written, as text.
    pub(crate) fn dump(&self) -> String {
        serde_json::to_string(&*self.0.borrow()).unwrap()
    }
}

/// A handle on the log.
#[derive(Clone)]
pub(crate) struct Pen(pub(crate) Rc<Lines>);

impl Log for Pen {
    fn write(&self, line: LogLine) {
        self.0.0.borrow_mut().push(line);
    }
}

/// What was kept for later.
#[derive(Default)]
pub(crate) struct Kept {
    /// Whether there is a place to keep anything.
    pub(crate) able: Cell<bool>,
    pub(crate) answers: RefCell<Vec<(ConnectionId, String)>>,
}

/// A handle on the lifeboat.
#[derive(Clone)]
pub(crate) struct Boat {
    pub(crate) kept: Rc<Kept>,
    pub(crate) witness: Rc<Witness>,
}

impl Lifeboat for Boat {
    async fn keep(&self, connection: &ConnectionId, sealed: &str) -> bool {
        if self.kept.able.get() {
            self.witness.kept(sealed);
            self.kept.answers.borrow_mut().push((connection.clone(), sealed.to_owned()));
        }
        self.kept.able.get()
    }
}
