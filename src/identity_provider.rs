//! The identity provider of a workspace: an `OpenID` Connect issuer where its people sign in.
//!
//! Owns what is known of it. Its addresses are those that it named when it was set up: what it says later changes neither
//! where the client's secret goes nor whose signature counts.

use crate::ids::{ClientId, WorkspaceId};
use crate::time::Timestamp;

/// How the client authenticates at the issuer (RFC 6749 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderClientAuth {
    /// In a header.
    Basic,
    /// In the body.
    Body,
}

impl ProviderClientAuth {
    /// The stored text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Body => "body",
        }
    }

    /// Reads the stored text.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Basic, Self::Body].into_iter().find(|one| one.as_str() == text)
    }
}

/// The identity provider of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityProvider {
    /// Its id, which its redirect URI has. Another issuer has another one (RFC 9700 4.4.2).
    pub id: ClientId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The issuer, exactly as it calls itself.
    pub issuer: String,
    /// The client that is registered there.
    pub client_id: String,
    /// Its secret, sealed.
    pub sealed_secret: String,
    /// How it authenticates.
    pub client_auth: ProviderClientAuth,
    /// Where people sign in.
    pub authorize_url: String,
    /// Where codes are redeemed: the only address that the secret goes to.
    pub token_url: String,
    /// Where the public keys are.
    pub keys_url: String,
    /// Whether answers name the issuer (RFC 9207).
    pub sends_issuer: bool,
    /// The domains of verified e-mail addresses that are let in. Empty: everybody whom the issuer lets in.
    pub allowed_domains: Vec<String>,
    /// The groups whose members are admins. Empty: the issuer says nothing about roles.
    pub admin_groups: Vec<String>,
    /// Another text each time it is set up or changed.
    pub revision: String,
    /// When it was set up.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}
