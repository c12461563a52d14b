//! The tenant: everything belongs to exactly one workspace.

use serde::{Deserialize, Serialize};

use crate::branding::Branding;
use crate::ids::WorkspaceId;
use crate::time::Timestamp;

/// A workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// A name people recognise; shown to whoever opens a link.
    pub name: String,
    /// Origins that `return_to` may lead to: `https://host[:port]`.
    #[cfg_attr(test, schemars(inner(url)))]
    pub allowed_origins: Vec<String>,
    /// What the pages of connect links show of its product.
    pub branding: Branding,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A person as the embedding product knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct User {
    /// The product's id of the person, or that of the identity provider.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub id: String,
    /// A name to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How the ids of people begin whom an identity provider vouches for. Nobody else gives such an id: it would be theirs.
pub const OIDC_ID_PREFIX: &str = "oidc:";
/// The same for Cloudflare Access.
pub const ACCESS_ID_PREFIX: &str = "access:";

/// The id of a person whom an issuer vouches for. The last colon ends the issuer, which may have others: so the subject has
/// none, and no two pairs have one id.
pub fn vouched_id(prefix: &str, issuer: &str, subject: &str) -> String {
    let subject = subject.replace('%', "%25").replace(':', "%3A");
    format!("{prefix}{issuer}:{subject}")
}

impl User {
    /// Whether an identity provider vouches for whoever has this id.
    pub fn is_of_identity_provider(&self) -> bool {
        self.id.starts_with(OIDC_ID_PREFIX) || self.id.starts_with(ACCESS_ID_PREFIX)
    }

    /// Whether the person sees a connection with this owner as a member: their own, and what is shared.
    pub fn sees_owned_by(&self, owner: Option<&Self>, is_shared: bool) -> bool {
        is_shared || owner.is_some_and(|owner| owner.id == self.id)
    }
}

/// What a signed-in person may change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Role {
    /// Changes their own connections; sees, uses and checks shared ones.
    #[default]
    Member,
    /// Sees and changes every connection of the workspace.
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
    pub fn display_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }
}
