//! Records what crosses the borders of the program: every refresh request that was sent, and what happened to its
//! response.
//!
//! Owns the connection between what the app did and what the database contains, by attempt. With it a test can
//! distinguish a response that was really lost (it never arrived, the process was killed, the database was down for too
//! long) from one that the program itself dropped. Judges nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use connections::ports::{Rows, SqlValue, Statement};

use super::runtime::Runtime;

/// Distinguishes the statements of a refresh by a part of their text.
const LEASE_SQL: &str = "lease_token_hash = ?7";
const PERSIST_SQL: &str = "last_attempt_id = ?5";
const NEEDS_RECONNECT_SQL: &str = "ELSE 'needs_reconnect' END, reconnect_reason = ?";

/// What happened to the tokens of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreOutcome {
    /// The program has them, or they never arrived.
    Pending,
    /// In the database since this time, in milliseconds.
    Stored(i64),
    /// The database had something newer, or did not need them.
    Declined,
    /// The process that had them was killed.
    LostInCrash,
}

/// One refresh request, as the program saw it.
#[derive(Debug, Clone)]
pub(crate) struct SentRefresh {
    pub(crate) token: String,
    pub(crate) attempt: String,
    pub(crate) at_ms: i64,
    /// When its lease was written to the database.
    pub(crate) leased_ms: i64,
    /// When the program stopped waiting for the response. `None`: it still waits.
    pub(crate) ended_ms: Option<i64>,
    /// Whether tokens arrived.
    pub(crate) brought_tokens: bool,
    pub(crate) store_outcome: StoreOutcome,
    /// Failed writes of these tokens.
    pub(crate) failed_writes: u32,
    /// When the last of them began.
    pub(crate) last_failed_write_ms: i64,
    /// Whether the tokens were stored as a pending write.
    pub(crate) kept_for_later: bool,
}

type OnNeedsReconnect = Rc<dyn Fn(&str)>;

/// The recorder.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) sent_refreshes: RefCell<Vec<SentRefresh>>,
    /// Called with a connection's id when it is marked `needs_reconnect`.
    pub(crate) on_needs_reconnect: RefCell<Option<OnNeedsReconnect>>,
    /// Whether lines are kept.
    pub(crate) keeps_lines: Cell<bool>,
    pub(crate) lines: RefCell<Vec<String>>,
}

impl Recorder {
    /// Records a line, if lines are kept.
    pub(crate) fn add_line(&self, now_ms: i64, line: impl FnOnce() -> String) {
        if self.keeps_lines.get() {
            self.lines.borrow_mut().push(format!("{}.{:03} s  {}", now_ms / 1000, now_ms % 1000, line()));
        }
    }

    fn update_attempt(&self, attempt: &str, change: impl Fn(&mut SentRefresh)) {
        self.sent_refreshes.borrow_mut().iter_mut().filter(|sent| sent.attempt == attempt).for_each(change);
    }

    /// A sealed response was stored as a pending write.
    pub(crate) fn note_kept_write(&self, renewal: &str) {
        let renewal: serde_json::Value = serde_json::from_str(renewal).unwrap();
        self.update_attempt(renewal["attempt"]["id"].as_str().unwrap(), |sent| sent.kept_for_later = true);
    }

    /// A batch met a fault.
    pub(crate) fn note_failed_writes(&self, statements: &[Statement], now_ms: i64) {
        for statement in statements.iter().filter(|statement| statement.sql.contains(PERSIST_SQL)) {
            self.update_attempt(text_parameter(statement, 4), |sent| {
                sent.failed_writes += 1;
                sent.last_failed_write_ms = now_ms;
            });
        }
    }
}

/// The recorder of one invocation: which lease it has written last.
pub(crate) struct InvocationRecorder {
    recorder: Rc<Recorder>,
    runtime: Runtime,
    attempt: RefCell<String>,
    leased_ms: Cell<i64>,
}

impl InvocationRecorder {
    pub(crate) fn new(recorder: &Rc<Recorder>, runtime: &Runtime) -> Self {
        Self {
            recorder: Rc::clone(recorder),
            runtime: runtime.clone(),
            attempt: RefCell::default(),
            leased_ms: Cell::new(0),
        }
    }

    /// A batch was applied.
    pub(crate) fn note_applied(&self, statements: &[Statement], answers: &[Rows]) {
        for (statement, rows) in statements.iter().zip(answers) {
            if statement.sql.contains(LEASE_SQL) && rows.changes > 0 {
                text_parameter(statement, 4).clone_into(&mut self.attempt.borrow_mut());
                self.leased_ms.set(self.runtime.now_ms());
                self.add_line(|| format!("{} promises to redeem", text_parameter(statement, 4)));
            } else if statement.sql.contains(PERSIST_SQL) {
                let fate =
                    if rows.changes > 0 { StoreOutcome::Stored(self.runtime.now_ms()) } else { StoreOutcome::Declined };
                self.add_line(|| format!("{} is {fate:?}", text_parameter(statement, 4)));
                self.recorder.update_attempt(text_parameter(statement, 4), |sent| {
                    // Only the first result counts. Later ones repeat it.
                    if matches!(sent.store_outcome, StoreOutcome::Pending | StoreOutcome::LostInCrash)
                        && sent.brought_tokens
                    {
                        sent.store_outcome = fate;
                    }
                });
            } else if statement.sql.contains(NEEDS_RECONNECT_SQL) && rows.changes > 0 {
                let on_death = self.recorder.on_needs_reconnect.borrow().clone();
                if let Some(on_death) = on_death {
                    on_death(text_parameter(statement, 1));
                }
            }
        }
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    pub(crate) fn add_line(&self, line: impl FnOnce() -> String) {
        self.recorder.add_line(self.runtime.now_ms(), line);
    }

    /// A refresh request is sent.
    pub(crate) fn note_sent(&self, token: &str) -> AwaitedResponse<'_> {
        let mut sent = self.recorder.sent_refreshes.borrow_mut();
        sent.push(SentRefresh {
            token: token.to_owned(),
            attempt: self.attempt.borrow().clone(),
            at_ms: self.runtime.now_ms(),
            leased_ms: self.leased_ms.get(),
            ended_ms: None,
            brought_tokens: false,
            store_outcome: StoreOutcome::Pending,
            failed_writes: 0,
            last_failed_write_ms: 0,
            kept_for_later: false,
        });
        AwaitedResponse { recorder: self, index: sent.len() - 1 }
    }
}

/// Belongs to an invocation and ends with it. A request that was sent may outlive it.
pub(crate) struct InvocationGuard(pub(crate) Rc<InvocationRecorder>);

impl Drop for InvocationGuard {
    fn drop(&mut self) {
        let strand = &self.0;
        if strand.runtime.is_killing() {
            strand.recorder.update_attempt(&strand.attempt.borrow(), |sent| {
                if sent.store_outcome == StoreOutcome::Pending && !sent.kept_for_later {
                    sent.store_outcome = StoreOutcome::LostInCrash;
                }
            });
        }
    }
}

/// Somebody waits for a response. Dropped when they stop.
pub(crate) struct AwaitedResponse<'a> {
    recorder: &'a InvocationRecorder,
    index: usize,
}

impl AwaitedResponse<'_> {
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// A response arrived. Does it contain tokens?
    pub(crate) fn note_response(self, brings_tokens: bool) {
        self.recorder.recorder.sent_refreshes.borrow_mut()[self.index].brought_tokens = brings_tokens;
    }
}

impl Drop for AwaitedResponse<'_> {
    fn drop(&mut self) {
        self.recorder.recorder.sent_refreshes.borrow_mut()[self.index].ended_ms = Some(self.recorder.runtime.now_ms());
    }
}

fn text_parameter(statement: &Statement, at: usize) -> &str {
    match statement.params.get(at) {
        Some(SqlValue::Text(text)) => text,
        other => panic!("{} has {other:?} at {at}", &*statement.sql),
    }
}
