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
use crate::ports::{DatabaseError, Ports, Statement};
use crate::store::apps::AppRow;
use crate::store::links::Link;
use crate::store::preconditions::{self, ConditionalDatabase};
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

    /// Of a link: its status.
    pub fn of_link(read: &Link) -> Self {
        Self::new(preconditions::link_unchanged(read))
    }
}

/// A short tag of a text.
pub fn short_hash(text: &str) -> String {
    hash_secret(text).chars().take(TAG_LENGTH).map(|one| if one == '-' { '.' } else { one }).collect()
}

impl IfMatch {
    /// The condition of the change that a caller wants. `None`: there is none.
    ///
    /// # Errors
    /// `precondition_failed` where it is in another state, or does not exist.
    pub fn condition(&self, read: Option<ReadState>) -> Result<Option<Statement>> {
        match (self, read) {
            (Self::Anything, _) | (Self::Exists, Some(_)) => Ok(None),
            (Self::Tags(tags), Some(read)) if tags.contains(&read.tag) => Ok(Some(read.condition)),
            _ => Err(precondition_failed()),
        }
    }
}

/// The database under a condition. What it fails with goes to [`map_error`].
pub fn conditional_db<P: Ports>(
    context: &Context<P>,
    condition: Option<Statement>,
) -> ConditionalDatabase<&ContextDatabase<P>> {
    ConditionalDatabase::new(context.db(), condition)
}

/// What came of a change under a condition: where it was not met, nothing was changed.
///
/// # Errors
/// `precondition_failed`, or that of the database.
pub fn map_error<T>(
    is_conditional: bool,
    changed: std::result::Result<T, DatabaseError>,
) -> std::result::Result<T, Error> {
    match changed {
        Err(DatabaseError::Constraint) if is_conditional => Err(precondition_failed()),
        other => Ok(other?),
    }
}

/// It was changed since the caller has read it.
pub fn precondition_failed() -> Error {
    Error::new(
        ErrorCode::PreconditionFailed,
        "It was changed since you read it: `If-Match` names another state. Nothing was changed. Read it again, and repeat your change with the new ETag if it is still right.",
    )
}
