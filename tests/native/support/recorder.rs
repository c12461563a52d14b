//! What is seen at the borders of the program: every redemption that was sent, and what became of its answer.
//!
//! Owns the link between what the app did and what the record holds, by attempt. With it a test can tell an
//! answer that was truly lost (it never arrived, the program died with it, the record was away for too long)
//! from one that the program itself let go. Judges nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use connections::ports::{Rows, SqlValue, Statement};

use super::runtime::Runtime;

/// Tells the statements of a refresh apart, by a piece of their text that no other has.
const LEASE_SQL: &str = "lease_token_hash = ?7";
const PERSIST_SQL: &str = "last_attempt_id = ?5";
const NEEDS_RECONNECT_SQL: &str = "ELSE 'needs_reconnect' END, reconnect_reason = ?";

/// What became of the tokens that an answer brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreOutcome {
    /// In the hands of the program, or never brought.
    Pending,
    /// In the record since then, in milliseconds.
    Stored(i64),
    /// The record had something newer, or no use for it.
    Declined,
    /// The program died with it.
    LostInCrash,
}

/// One redemption of a refresh token, as the program's side saw it.
#[derive(Debug, Clone)]
pub(crate) struct SentRefresh {
    pub(crate) token: String,
    pub(crate) attempt: String,
    pub(crate) at_ms: i64,
    /// When it was promised, in the record.
    pub(crate) leased_ms: i64,
    /// When the program stopped waiting for the answer; `None`: it still waits.
    pub(crate) ended_ms: Option<i64>,
    /// Whether tokens arrived.
    pub(crate) brought_tokens: bool,
    pub(crate) store_outcome: StoreOutcome,
    /// Writes of these tokens that a fault met.
    pub(crate) failed_writes: u32,
    /// When the last of them began.
    pub(crate) last_failed_write_ms: i64,
    /// Whether the tokens were laid aside for later.
    pub(crate) kept_for_later: bool,
}

type OnNeedsReconnect = Rc<dyn Fn(&str)>;

/// The record of all that.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) sent_refreshes: RefCell<Vec<SentRefresh>>,
    /// Called with a connection's id at the moment it is declared dead.
    pub(crate) on_needs_reconnect: RefCell<Option<OnNeedsReconnect>>,
    /// Whether lines are kept.
    pub(crate) keeps_lines: Cell<bool>,
    pub(crate) lines: RefCell<Vec<String>>,
}

impl Recorder {
    /// Notes a line, if anybody wants to read it.
    pub(crate) fn add_line(&self, now_ms: i64, line: impl FnOnce() -> String) {
        if self.keeps_lines.get() {
            self.lines.borrow_mut().push(format!("{}.{:03} s  {}", now_ms / 1000, now_ms % 1000, line()));
        }
    }

    fn update_attempt(&self, attempt: &str, change: impl Fn(&mut SentRefresh)) {
        self.sent_refreshes.borrow_mut().iter_mut().filter(|sent| sent.attempt == attempt).for_each(change);
    }

    /// A sealed answer was laid aside.
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

/// One invocation's part in it: which attempt it has promised last.
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
                    // Only the first word on it counts: what comes after it repeats.
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

    /// A redemption goes out.
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

/// Held by an invocation: dies with it. What the invocation has sent on its way may outlive it.
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

/// Somebody waits for an answer; dropped when they stop.
pub(crate) struct AwaitedResponse<'a> {
    recorder: &'a InvocationRecorder,
    index: usize,
}

impl AwaitedResponse<'_> {
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// An answer arrived; does it bring tokens?
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
        other => panic!("{} has {other:?} at {at}", statement.sql),
    }
}
