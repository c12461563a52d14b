//! The database of a shard, as a request sees it.
//!
//! Owns what every batch passes: which workspaces' audit logs got a line, the session that a page assumes, and the queue of
//! what a page reads at once.
//! A page that knows its person asks whether the session has ended together with what it shows: one round trip, not two.
//! Refuses every batch once the session turned out to be another one, and every write before that is known.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use futures_util::future::join;

use super::gathered::{self, Gathering};
use crate::ids::WorkspaceId;
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::store;
use crate::store::sessions::{self, Session};
use crate::time::Timestamp;

/// The database of a shard. One that is not bound has nothing in it: what is looked up there is not found, and nobody is
/// asked.
pub struct ShardDatabase<D> {
    bound: Option<Rc<D>>,
    /// The workspaces whose audit log got a line: webhooks may be told of it.
    announced: RefCell<BTreeSet<WorkspaceId>>,
    assumed: RefCell<Assumption>,
    gathering: Gathering,
}

/// What is known of the session that a page assumes.
#[derive(Debug, Clone, Default)]
enum Assumption {
    /// Nothing is assumed, or it was right.
    #[default]
    None,
    /// The database has not been asked yet.
    Unproven(Rc<AssumedSession>),
    /// The session has ended, or is another one; or nobody knows, because the database did not answer.
    Failed(DatabaseError),
}

#[derive(Debug)]
struct AssumedSession {
    session: Session,
    at: Timestamp,
}

impl<D> ShardDatabase<D> {
    pub(super) fn new(bound: Option<Rc<D>>) -> Self {
        Self { bound, announced: RefCell::default(), assumed: RefCell::default(), gathering: Gathering::default() }
    }

    pub(super) fn is_bound(&self) -> bool {
        self.bound.is_some()
    }

    pub(super) fn take_announced(&self) -> BTreeSet<WorkspaceId> {
        self.announced.take()
    }

    pub(super) fn assume(&self, session: &Session, now: Timestamp) {
        self.assumed.replace(Assumption::Unproven(Rc::new(AssumedSession { session: session.clone(), at: now })));
    }

    /// Remembers how the question ended, for all batches to come.
    fn settle(&self, result: Result<(), DatabaseError>) -> Result<(), DatabaseError> {
        self.assumed.replace(result.clone().map_or_else(Assumption::Failed, |()| Assumption::None));
        result
    }
}

impl<D: Database> ShardDatabase<D> {
    /// See [`super::Context::at_once`].
    pub(super) async fn at_once<A, B>(&self, one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
        let mut both = pin!(join(one, other));
        let before = self.gathering.begin();
        let begun = poll_fn(|context| Poll::Ready(both.as_mut().poll(context))).await;
        let batches = self.gathering.end(before);
        if let Poll::Ready(answers) = begun {
            return answers;
        }
        if !batches.is_empty() {
            let (statements, counts) = gathered::take_statements(&batches);
            gathered::give_answers(&batches, &counts, self.batch(statements).await);
        }
        both.await
    }

    /// Whether what was assumed holds. Asks, if no batch has.
    pub(super) async fn prove(&self) -> Result<bool, DatabaseError> {
        let proven = self.batch(vec![]).await;
        self.assumed.take();
        match proven {
            Ok(_) => Ok(true),
            Err(DatabaseError::SessionEnded) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The session is asked for first, in the same round trip if nothing is written.
    async fn batch_of_session(
        &self,
        bound: &D,
        assumed: &AssumedSession,
        statements: Vec<Statement>,
    ) -> Result<Vec<Rows>, DatabaseError> {
        let is_read = statements.iter().all(Statement::is_read);
        let (first, rest) = if is_read { (statements, vec![]) } else { (vec![], statements) };
        let asked = [sessions::get_statement(&assumed.session.hash, assumed.at)].into_iter().chain(first).collect();
        let answered = bound.batch(asked).await.map(Vec::into_iter);
        let (found, answers) = match answered {
            Ok(mut answers) => (assumed.compare(&answers.next().unwrap_or_default()), answers),
            Err(error) => (Err(error), vec![].into_iter()),
        };
        self.settle(found)?;
        if is_read { Ok(answers.collect()) } else { bound.batch(rest).await }
    }
}

impl AssumedSession {
    fn compare(&self, found: &Rows) -> Result<(), DatabaseError> {
        let is_same = sessions::read_found(found)?.as_ref() == Some(&self.session);
        if is_same { Ok(()) } else { Err(DatabaseError::SessionEnded) }
    }
}

impl<D: Database> Database for ShardDatabase<D> {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError> {
        let announced: Vec<_> = statements.iter().filter_map(store::events::workspace_of_line).collect();
        if !announced.is_empty() {
            self.announced.borrow_mut().extend(announced);
        }
        let Some(bound) = &self.bound else { return Ok(vec![Rows::default(); statements.len()]) };
        let statements = match self.gathering.add(statements) {
            Ok(batch) => return batch.wait().await,
            Err(statements) => statements,
        };
        let assumed = self.assumed.borrow().clone();
        match assumed {
            Assumption::None if statements.is_empty() => Ok(vec![]),
            Assumption::None => bound.batch(statements).await,
            // In memory of its own: only pages assume a session.
            Assumption::Unproven(assumed) => Box::pin(self.batch_of_session(bound, &assumed, statements)).await,
            Assumption::Failed(error) => Err(error),
        }
    }
}
