//! The tenant: everything belongs to exactly one workspace.

use serde::Serialize;

use crate::ids::WorkspaceId;
use crate::time::Timestamp;

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workspace {
    /// Id.
    pub id: WorkspaceId,
    /// A name people recognise; shown to whoever opens a link.
    pub name: String,
    /// Origins that `return_to` may lead to: `https://host[:port]`.
    pub allowed_origins: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A person as the embedding product knows them: its own id, and a name to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// The product's id of the person, 1 to 128 characters.
    pub id: String,
    /// A name to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl User {
    /// What to call the person on a page.
    pub fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }
}
