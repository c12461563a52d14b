//! The tenant: everything belongs to exactly one workspace.

use serde::{Deserialize, Serialize};

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

/// What a signed-in person may change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Their own connections. They see and use shared ones.
    #[default]
    Member,
    /// Every connection of the workspace.
    Admin,
}

impl Role {
    /// The stored and shown word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Member, Self::Admin].into_iter().find(|one| one.as_str() == text)
    }
}

impl User {
    /// What to call the person on a page.
    pub fn shown(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }
}
