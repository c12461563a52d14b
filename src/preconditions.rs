//! `If-Match`: a change is made only if the thing is still what its caller has seen.
//!
//! Owns what of a thing counts: what its change could overwrite, and not when it was last used or checked. The tag of that is
//! the first part of an `ETag`. It is compared with what was read, and the database compares again what was read with what
//! is there, in the transaction of the change.

use crate::caller::hash_secret;
use crate::client::Client;
use crate::connection::Connection;
use crate::context::{Context, ContextDatabase};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::WorkspaceId;
use crate::ports::{Database, DatabaseError, Ports, Statement};
use crate::store::apps::AppRow;
use crate::store::links::Link;
use crate::store::preconditions::{self, ConditionalDatabase};
use crate::webhook::Webhook;
use crate::workspace::Workspace;

/// Characters of a tag.
const TAG_LENGTH: usize = 16;

/// What a caller requires of a thing that it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IfMatch {
    /// Nothing.
    #[default]
    Anything,
    /// That it exists.
    Exists,
    /// That it has one of these tags.
    Tags(Vec<String>),
}

/// A thing as it was read: its tag, and the statement that fails where it has another one by now.
#[derive(Debug)]
pub struct ReadState {
    /// The first part of its `ETag`.
    pub tag: String,
    condition: Statement,
}

impl ReadState {
    /// The state is what the database compares.
    fn new(condition: Statement) -> Self {
        Self { tag: short_hash(&format!("{:?}", condition.params)), condition }
    }

    /// Of a connection: its name, metadata, policy, owner, sharing, environment and generation.
    pub fn of_connection(read: &Connection) -> Self {
        Self::new(preconditions::connection_unchanged(read))
    }

    /// Of a workspace: its settings.
    pub fn of_workspace(read: &Workspace) -> Self {
        Self::new(preconditions::workspace_unchanged(read))
    }

    /// Of a custom app: its revision.
    pub fn of_app(workspace: &WorkspaceId, read: &AppRow) -> Self {
        Self::new(preconditions::app_unchanged(workspace, read))
    }

    /// Of a client: when it was entered, and its secret.
    pub fn of_client(read: &Client) -> Self {
        Self::new(preconditions::client_unchanged(read))
    }

    /// Of a webhook: its address, types, secret, and whether it is on.
    pub fn of_webhook(read: &Webhook) -> Self {
        Self::new(preconditions::webhook_unchanged(read))
    }

    /// Of a link: its status.
    pub fn of_link(read: &Link) -> Self {
        Self::new(preconditions::link_unchanged(read))
    }
}

/// A short tag of a text.
pub fn short_hash(text: &str) -> String {
    hash_secret(text).chars().take(TAG_LENGTH).map(|one| if one == '-' { '.' } else { one }).collect()
}

/// What must still be as it was read in the transaction of a change. By default nothing.
#[derive(Debug, Clone, Default)]
pub struct Condition(Option<Statement>);

impl IfMatch {
    /// The condition of the change that a caller wants.
    ///
    /// # Errors
    /// `precondition_failed` where it is in another state, or does not exist.
    pub fn condition(&self, read: Option<ReadState>) -> Result<Condition> {
        match (self, read) {
            (Self::Anything, _) | (Self::Exists, Some(_)) => Ok(Condition(None)),
            (Self::Tags(tags), Some(read)) if tags.contains(&read.tag) => Ok(Condition(Some(read.condition))),
            _ => Err(precondition_failed()),
        }
    }
}

impl Condition {
    /// The database of a context under this condition. Why a batch failed there, [`Self::explain`] says.
    pub fn db<'a, P: Ports>(&self, context: &'a Context<P>) -> ConditionalDatabase<&'a ContextDatabase<P>> {
        self.guard(context.db())
    }

    /// A database under this condition.
    pub fn guard<D: Database>(&self, db: D) -> ConditionalDatabase<D> {
        ConditionalDatabase::new(db, self.0.clone())
    }

    /// What came of a change under this condition, before any other reason is looked for: a batch fails in the same way,
    /// whichever of its statements did not hold.
    ///
    /// # Errors
    /// `precondition_failed`, or that of the database.
    pub async fn explain<P: Ports, T>(
        &self,
        context: &Context<P>,
        changed: std::result::Result<T, DatabaseError>,
    ) -> Result<T> {
        if matches!(changed, Err(DatabaseError::Constraint)) {
            self.require_still_met(context).await?;
        }
        Ok(changed?)
    }

    /// Asked again where nothing was changed.
    ///
    /// # Errors
    /// `precondition_failed` where it does not hold.
    pub async fn require_still_met<P: Ports>(&self, context: &Context<P>) -> Result<()> {
        let Some(condition) = &self.0 else { return Ok(()) };
        match context.db().batch(vec![condition.clone()]).await {
            Err(DatabaseError::Constraint) => Err(precondition_failed()),
            asked => Ok(asked.map(drop)?),
        }
    }
}

/// It was changed since the caller has read it.
pub fn precondition_failed() -> Error {
    Error::new(
        ErrorCode::PreconditionFailed,
        "It was changed since you read it: `If-Match` names another state. Nothing was changed. Read it again, and repeat your change with the new ETag if it is still right.",
    )
}
