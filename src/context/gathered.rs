//! Batches that are asked for at the same moment and sent as one, for pages that show several things.
//!
//! Owns the queue, and how answers get back to who asked. Refuses to wait: nothing is held back for what may be asked later.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::ports::{DatabaseError, Rows, Statement};

type Answer = Result<Vec<Rows>, DatabaseError>;

/// A batch that waits for the others.
pub(super) struct GatheredBatch {
    statements: RefCell<Vec<Statement>>,
    answer: RefCell<Option<Answer>>,
    waiting: RefCell<Option<Waker>>,
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
                let batch = Rc::new(GatheredBatch {
                    statements: statements.into(),
                    answer: RefCell::default(),
                    waiting: RefCell::default(),
                });
                queue.push(Rc::clone(&batch));
                Ok(batch)
            }
            _ => Err(statements),
        }
    }
}

impl GatheredBatch {
    /// The answer.
    pub(super) async fn wait(&self) -> Answer {
        poll_fn(|context| {
            self.waiting.replace(Some(context.waker().clone()));
            self.answer.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn give(&self, answer: Answer) {
        self.answer.replace(Some(answer));
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
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
        batch.give(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql;

    fn batch(gathering: &Gathering, sql: &'static str) -> Option<Rc<GatheredBatch>> {
        gathering.add(vec![sql!(sql)]).ok()
    }

    #[test]
    fn only_reads_are_gathered_and_only_while_something_gathers() {
        let gathering = Gathering::default();
        assert!(batch(&gathering, "SELECT 1").is_none());
        let outer = gathering.begin();
        assert!(batch(&gathering, "SELECT 1").is_some());
        assert!(batch(&gathering, "UPDATE x SET y = 1").is_none());
        let inner = gathering.begin();
        assert!(batch(&gathering, "SELECT 2").is_some());
        assert_eq!(gathering.end(inner).len(), 1);
        assert!(batch(&gathering, "SELECT 3").is_some(), "the outer one still gathers");
        assert_eq!(gathering.end(outer).len(), 2);
        assert!(batch(&gathering, "SELECT 4").is_none());
    }

    #[test]
    fn each_batch_gets_its_own_answers_or_the_error() {
        let gathering = Gathering::default();
        let before = gathering.begin();
        let one = gathering.add(vec![sql!("SELECT 1"), sql!("SELECT 2")]).unwrap();
        let other = gathering.add(vec![sql!("SELECT 3")]).unwrap();
        let batches = gathering.end(before);
        let (statements, counts) = take_statements(&batches);
        assert_eq!((statements.len(), counts.as_slice()), (3, [2, 1].as_slice()));
        let rows = |changes| Rows { changes, ..Rows::default() };
        give_answers(&batches, &counts, Ok(vec![rows(1), rows(2), rows(3)]));
        let changes = |batch: &GatheredBatch| {
            batch.answer.take().unwrap().unwrap().iter().map(|rows| rows.changes).collect::<Vec<_>>()
        };
        assert_eq!((changes(&one), changes(&other)), (vec![1, 2], vec![3]));
        give_answers(&batches, &counts, Err(DatabaseError::SessionEnded));
        for batch in [one, other] {
            assert!(matches!(batch.answer.take(), Some(Err(DatabaseError::SessionEnded))));
        }
    }
}
