//! What is seen at the borders of the program: every redemption that was sent, and what became of its answer.
//!
//! Owns the link between what the app did and what the record holds, by attempt. With it a test can tell an
//! answer that was truly lost (it never arrived, the program died with it, the record was away for too long)
//! from one that the program itself let go. Judges nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use connections::ports::{Rows, Statement, Value};

use super::runtime::Runtime;

/// Tells the statements of a refresh apart, by a piece of their text that no other has.
const CLAIM: &str = "lease_token_hash = ?7";
const PERSIST: &str = "last_attempt_id = ?5";
const DEAD: &str = "ELSE 'needs_reconnect' END, reconnect_reason = ?";

/// What became of the tokens that an answer brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// In the hands of the program, or never brought.
    Open,
    /// In the record since then, in milliseconds.
    Stored(i64),
    /// The record had something newer, or no use for it.
    Declined,
    /// The program died with it.
    Died,
}

/// One redemption of a refresh token, as the program's side saw it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) token: String,
    pub(crate) attempt: String,
    pub(crate) at_ms: i64,
    /// When it was promised, in the record.
    pub(crate) promised_ms: i64,
    /// When the program stopped waiting for the answer; `None`: it still waits.
    pub(crate) ended_ms: Option<i64>,
    /// Whether tokens arrived.
    pub(crate) arrived: bool,
    pub(crate) fate: Fate,
    /// Writes of these tokens that a fault met.
    pub(crate) hindered: u32,
    /// When the last of them began.
    pub(crate) hindered_ms: i64,
    /// Whether the tokens were laid aside for later.
    pub(crate) aboard: bool,
}

type OnDeath = Rc<dyn Fn(&str)>;

/// The record of all that.
#[derive(Default)]
pub(crate) struct Witness {
    pub(crate) sent: RefCell<Vec<Sent>>,
    /// Called with a connection's id at the moment it is declared dead.
    pub(crate) on_death: RefCell<Option<OnDeath>>,
    /// Whether lines are kept.
    pub(crate) tells: Cell<bool>,
    pub(crate) lines: RefCell<Vec<String>>,
}

impl Witness {
    /// Notes a line, if anybody wants to read it.
    pub(crate) fn tell(&self, now_ms: i64, line: impl FnOnce() -> String) {
        if self.tells.get() {
            self.lines.borrow_mut().push(format!("{}.{:03} s  {}", now_ms / 1000, now_ms % 1000, line()));
        }
    }

    fn of_attempt(&self, attempt: &str, change: impl Fn(&mut Sent)) {
        self.sent.borrow_mut().iter_mut().filter(|sent| sent.attempt == attempt).for_each(change);
    }

    /// A sealed answer was laid aside.
    pub(crate) fn kept(&self, renewal: &str) {
        let renewal: serde_json::Value = serde_json::from_str(renewal).unwrap();
        self.of_attempt(renewal["attempt"]["id"].as_str().unwrap(), |sent| sent.aboard = true);
    }

    /// A batch met a fault.
    pub(crate) fn hindered(&self, statements: &[Statement], now_ms: i64) {
        for statement in statements.iter().filter(|statement| statement.sql.contains(PERSIST)) {
            self.of_attempt(text(statement, 4), |sent| {
                sent.hindered += 1;
                sent.hindered_ms = now_ms;
            });
        }
    }
}

/// One invocation's part in it: which attempt it has promised last.
pub(crate) struct Strand {
    witness: Rc<Witness>,
    runtime: Runtime,
    attempt: RefCell<String>,
    promised_ms: Cell<i64>,
}

impl Strand {
    pub(crate) fn new(witness: &Rc<Witness>, runtime: &Runtime) -> Self {
        Self {
            witness: Rc::clone(witness),
            runtime: runtime.clone(),
            attempt: RefCell::default(),
            promised_ms: Cell::new(0),
        }
    }

    /// A batch was applied.
    pub(crate) fn applied(&self, statements: &[Statement], answers: &[Rows]) {
        for (statement, rows) in statements.iter().zip(answers) {
            if statement.sql.contains(CLAIM) && rows.changes > 0 {
                text(statement, 4).clone_into(&mut self.attempt.borrow_mut());
                self.promised_ms.set(self.runtime.now_ms());
                self.tell(|| format!("{} promises to redeem", text(statement, 4)));
            } else if statement.sql.contains(PERSIST) {
                let fate = if rows.changes > 0 { Fate::Stored(self.runtime.now_ms()) } else { Fate::Declined };
                self.tell(|| format!("{} is {fate:?}", text(statement, 4)));
                self.witness.of_attempt(text(statement, 4), |sent| {
                    // Only the first word on it counts: what comes after it repeats.
                    if matches!(sent.fate, Fate::Open | Fate::Died) && sent.arrived {
                        sent.fate = fate;
                    }
                });
            } else if statement.sql.contains(DEAD) && rows.changes > 0 {
                let on_death = self.witness.on_death.borrow().clone();
                if let Some(on_death) = on_death {
                    on_death(text(statement, 1));
                }
            }
        }
    }

    pub(crate) fn witness(&self) -> &Witness {
        &self.witness
    }

    pub(crate) fn tell(&self, line: impl FnOnce() -> String) {
        self.witness.tell(self.runtime.now_ms(), line);
    }

    /// A redemption goes out.
    pub(crate) fn sends(&self, token: &str) -> Waiting<'_> {
        let mut sent = self.witness.sent.borrow_mut();
        sent.push(Sent {
            token: token.to_owned(),
            attempt: self.attempt.borrow().clone(),
            at_ms: self.runtime.now_ms(),
            promised_ms: self.promised_ms.get(),
            ended_ms: None,
            arrived: false,
            fate: Fate::Open,
            hindered: 0,
            hindered_ms: 0,
            aboard: false,
        });
        Waiting { strand: self, at: sent.len() - 1 }
    }
}

/// Held by an invocation: dies with it. What the invocation has sent on its way may outlive it.
pub(crate) struct Life(pub(crate) Rc<Strand>);

impl Drop for Life {
    fn drop(&mut self) {
        let strand = &self.0;
        if strand.runtime.is_killing() {
            strand.witness.of_attempt(&strand.attempt.borrow(), |sent| {
                if sent.fate == Fate::Open && !sent.aboard {
                    sent.fate = Fate::Died;
                }
            });
        }
    }
}

/// Somebody waits for an answer; dropped when they stop.
pub(crate) struct Waiting<'a> {
    strand: &'a Strand,
    at: usize,
}

impl Waiting<'_> {
    pub(crate) fn place(&self) -> usize {
        self.at
    }

    /// An answer arrived; does it bring tokens?
    pub(crate) fn arrived(self, brings_tokens: bool) {
        self.strand.witness.sent.borrow_mut()[self.at].arrived = brings_tokens;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.strand.witness.sent.borrow_mut()[self.at].ended_ms = Some(self.strand.runtime.now_ms());
    }
}

fn text(statement: &Statement, at: usize) -> &str {
    match statement.params.get(at) {
        Some(Value::Text(text)) => text,
        other => panic!("{} has {other:?} at {at}", statement.sql),
    }
}
