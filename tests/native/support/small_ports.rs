//! The small in-memory ports: subrequest counter, clock, randomness, log, pending writes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use connections::ids::ConnectionId;
use connections::ports::{
    Clock, Email, Log, LogLine, MailError, Mailer, Metrics, MetricsPoint, PendingWrites, QueueError, QueuedRun,
    RunQueue,
};
use connections::random::{NoRandomness, Random};
use connections::time::Timestamp;

use super::recorder::Recorder;
use super::runtime::{RandomSequence, Runtime};

/// Subrequests per invocation on the free plan.
pub(crate) const FREE_PLAN_SUBREQUESTS: u32 = 50;

/// Counts the subrequests of an invocation, and refuses those over the limit.
#[derive(Default)]
pub(crate) struct SubrequestBudget {
    pub(crate) spent: Cell<u32>,
    /// The limit. `None`: [`BUDGET`].
    limit: Option<u32>,
}

impl SubrequestBudget {
    pub(crate) fn with_limit(most: Option<u32>) -> Self {
        Self { limit: most, ..Self::default() }
    }

    pub(crate) fn spend(&self) -> bool {
        self.spent.set(self.spent.get() + 1);
        self.spent.get() <= self.limit.unwrap_or(FREE_PLAN_SUBREQUESTS)
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

/// Random bytes from a seed.
pub(crate) struct SeededRandom {
    generator: RefCell<RandomSequence>,
    /// After this many further calls every call fails, and leaves the buffer unchanged.
    pub(crate) fails_after: Cell<Option<u32>>,
}

impl SeededRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self { generator: RefCell::new(RandomSequence::new(seed)), fails_after: Cell::new(None) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        match self.fails_after.get() {
            Some(0) => return Err(NoRandomness),
            Some(left) => self.fails_after.set(Some(left - 1)),
            None => {}
        }
        for byte in buffer {
            *byte = u8::try_from(self.generator.borrow_mut().next_below(256)).unwrap();
        }
        Ok(())
    }
}

/// The lines of the log.
#[derive(Default)]
pub(crate) struct LogLines(pub(crate) RefCell<Vec<LogLine>>);

impl LogLines {
    /// How many lines have this event.
    pub(crate) fn count_events(&self, event: &str) -> usize {
        self.0.borrow().iter().filter(|line| line.event == event).count()
    }

    /// Everything that was written, as text.
    pub(crate) fn dump_lines(&self) -> String {
        serde_json::to_string(&*self.0.borrow()).unwrap()
    }
}

/// A handle on the log.
#[derive(Clone)]
pub(crate) struct LogPort(pub(crate) Rc<LogLines>);

impl Log for LogPort {
    fn write(&self, line: LogLine) {
        self.0.0.borrow_mut().push(line);
    }
}

/// The pending writes.
#[derive(Default)]
pub(crate) struct KeptWrites {
    /// Whether pending writes can be stored.
    pub(crate) enabled: Cell<bool>,
    pub(crate) writes: RefCell<Vec<(ConnectionId, String)>>,
}

/// A handle on the pending writes.
#[derive(Clone)]
pub(crate) struct PendingWritesPort {
    pub(crate) kept_writes: Rc<KeptWrites>,
    pub(crate) recorder: Rc<Recorder>,
}

impl PendingWrites for PendingWritesPort {
    async fn keep(&self, connection: &ConnectionId, sealed: &str) -> bool {
        if self.kept_writes.enabled.get() {
            self.recorder.note_kept_write(sealed);
            self.kept_writes.writes.borrow_mut().push((connection.clone(), sealed.to_owned()));
        }
        self.kept_writes.enabled.get()
    }
}

/// The queue: what was sent and not taken out. A test delivers messages, as often and in the order that it likes.
#[derive(Default)]
pub(crate) struct TestQueue {
    /// Whether there is one.
    pub(crate) bound: Cell<bool>,
    /// Whether it takes nothing.
    pub(crate) down: Cell<bool>,
    pub(crate) messages: RefCell<Vec<QueuedRun>>,
}

/// A handle on the queue.
pub(crate) struct QueuePort {
    pub(crate) queue: Rc<TestQueue>,
    pub(crate) budget: Rc<SubrequestBudget>,
}

impl RunQueue for QueuePort {
    fn is_bound(&self) -> bool {
        self.queue.bound.get()
    }

    async fn send(&self, runs: &[QueuedRun]) -> Result<(), QueueError> {
        if !self.budget.spend() || self.queue.down.get() {
            return Err(QueueError("Too Many Requests".into()));
        }
        self.queue.messages.borrow_mut().extend(runs);
        Ok(())
    }
}

/// The data points. A test binds the data set.
#[derive(Default)]
pub(crate) struct TestMetrics {
    /// Whether there is one.
    pub(crate) bound: Cell<bool>,
    pub(crate) points: RefCell<Vec<MetricsPoint>>,
}

/// A handle on the data points.
pub(crate) struct MetricsPort {
    pub(crate) metrics: Rc<TestMetrics>,
    pub(crate) runtime: Runtime,
}

impl Metrics for MetricsPort {
    fn is_bound(&self) -> bool {
        self.metrics.bound.get()
    }

    fn milliseconds(&self) -> i64 {
        Runtime::now(&self.runtime) * 1000
    }

    fn write(&self, point: &MetricsPoint) {
        assert!(self.metrics.bound.get(), "nothing is written without the binding");
        self.metrics.points.borrow_mut().push(point.clone());
    }
}

/// What the service does with an e-mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MailFault {
    /// It refuses it with a code.
    Refuses(&'static str),
    /// It does not answer, and has not sent it.
    IsSilent,
    /// It does not answer, and has sent it.
    LosesAnswer,
}

/// The service that sends e-mail. A test binds it.
#[derive(Default)]
pub(crate) struct TestMail {
    /// Whether there is one.
    pub(crate) bound: Cell<bool>,
    /// What it does with e-mails to an address; with all, under the empty text.
    pub(crate) faults: RefCell<BTreeMap<String, MailFault>>,
    /// What arrived.
    pub(crate) sent: RefCell<Vec<Email>>,
}

/// A handle on the service.
pub(crate) struct MailPort {
    pub(crate) mail: Rc<TestMail>,
    pub(crate) runtime: Runtime,
    pub(crate) budget: Rc<SubrequestBudget>,
}

impl Mailer for MailPort {
    fn is_bound(&self) -> bool {
        self.mail.bound.get()
    }

    async fn send(&self, email: &Email) -> Result<(), MailError> {
        assert!(self.mail.bound.get(), "nothing is sent without the binding");
        if !self.budget.spend() {
            return Err(MailError::Unknown);
        }
        Runtime::sleep(&self.runtime, 100).await;
        let fault = |to: &str| self.mail.faults.borrow().get(to).cloned();
        match fault(&email.to).or_else(|| fault("")) {
            Some(MailFault::Refuses(code)) => return Err(MailError::Refused(code.into())),
            Some(MailFault::IsSilent) => return Err(MailError::Unknown),
            Some(MailFault::LosesAnswer) => {
                self.mail.sent.borrow_mut().push(email.clone());
                return Err(MailError::Unknown);
            }
            None => {}
        }
        self.mail.sent.borrow_mut().push(email.clone());
        Ok(())
    }
}
