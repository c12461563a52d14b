//! Batches that are asked for at the same moment and sent as one, for pages that show several things.
//!
//! Owns the queue, and how answers get back to who asked. Refuses to wait: nothing is held back for what may be asked later.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use crate::ports::{DatabaseError, Rows, Statement};

type Answer = Result<Vec<Rows>, DatabaseError>;

/// A batch that waits for the others.
pub(super) struct GatheredBatch {
    statements: RefCell<Vec<Statement>>,
    answer: RefCell<Option<Answer>>,
}

/// The batches that wait. None where nothing is gathered.
pub(super) type Queue = Option<Vec<Rc<GatheredBatch>>>;

#[derive(Default)]
pub(super) struct Gathering(RefCell<Queue>);

impl Gathering {
    /// From now on batches wait. Returns the queue of before: gathering can be part of another one.
    pub(super) fn begin(&self) -> Queue {
        self.0.replace(Some(vec![]))
    }

    /// No batch waits any more. Returns those that do.
    pub(super) fn end(&self, before: Queue) -> Vec<Rc<GatheredBatch>> {
        self.0.replace(before).unwrap_or_default()
    }

    /// Puts a batch into the queue. Gives it back where nothing is gathered, and if it may write.
    pub(super) fn add(&self, statements: Vec<Statement>) -> Result<Rc<GatheredBatch>, Vec<Statement>> {
        match self.0.borrow_mut().as_mut() {
            Some(queue) if statements.iter().all(Statement::is_read) => {
                let batch = Rc::new(GatheredBatch { statements: statements.into(), answer: RefCell::default() });
                queue.push(Rc::clone(&batch));
                Ok(batch)
            }
            _ => Err(statements),
        }
    }
}

impl GatheredBatch {
    /// The answer. Whoever sends the queue asks again afterwards, so nobody has to be woken.
    pub(super) async fn wait(&self) -> Answer {
        poll_fn(|_| self.answer.take().map_or(Poll::Pending, Poll::Ready)).await
    }
}

/// The statements of all batches, in order, and how many each has.
pub(super) fn take_statements(batches: &[Rc<GatheredBatch>]) -> (Vec<Statement>, Vec<usize>) {
    let taken: Vec<_> = batches.iter().map(|batch| batch.statements.take()).collect();
    let counts = taken.iter().map(Vec::len).collect();
    (taken.into_iter().flatten().collect(), counts)
}

/// Gives each batch its part of the answers, or the error that all have.
pub(super) fn give_answers(batches: &[Rc<GatheredBatch>], counts: &[usize], answer: Answer) {
    let mut answer = answer.map(Vec::into_iter);
    for (batch, count) in batches.iter().zip(counts) {
        let part = match &mut answer {
            Ok(rows) => Ok(rows.by_ref().take(*count).collect()),
            Err(error) => Err(error.clone()),
        };
        batch.answer.replace(Some(part));
    }
}
