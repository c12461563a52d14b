//! The secret itself: what a connection holds and how it is sealed.
//!
//! Owns the sealed form of OAuth tokens and the rule by which an answer is merged into them.
//! Access and refresh token are sealed together, in one field, so that they can't part.

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{NoRandomness, Random};
use crate::secret::Secret;
use crate::token::TokenSet;
use crate::vault::{KeyRing, Place, Unreadable};

/// OAuth tokens of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The access token.
    pub access_token: Secret,
    /// `Bearer`, or as the app says.
    pub token_type: String,
    /// The refresh token, if the app gave one.
    pub refresh_token: Option<Secret>,
}

/// The sealed JSON. Apart from [`Credential`], so that nothing else can serialise a secret.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    access_token: std::borrow::Cow<'a, str>,
    token_type: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<std::borrow::Cow<'a, str>>,
}

impl Credential {
    /// From an app's answer to an authorization code.
    pub fn from_tokens(tokens: &TokenSet) -> Self {
        Self {
            access_token: tokens.access_token.clone(),
            token_type: tokens.token_type.clone(),
            refresh_token: tokens.refresh_token.clone(),
        }
    }

    /// The merge rule: an answer without a refresh token keeps the old one (RFC 6749, 6).
    #[must_use]
    pub fn merged_with(&self, tokens: &TokenSet) -> Self {
        let mut merged = Self::from_tokens(tokens);
        merged.refresh_token = merged.refresh_token.or_else(|| self.refresh_token.clone());
        merged
    }

    /// Where a connection's credential is sealed.
    pub fn place<'a>(workspace: &'a WorkspaceId, connection: &'a ConnectionId, generation: i64) -> Place<'a> {
        Place {
            workspace: workspace.as_str(),
            table: "connections",
            row: connection.as_str(),
            field: "sealed_credential",
            generation,
        }
    }

    /// Seals it for a place.
    pub fn seal(&self, ring: &KeyRing, random: &impl Random, place: &Place<'_>) -> Result<String, NoRandomness> {
        let plain = Sealed {
            access_token: self.access_token.expose().into(),
            token_type: self.token_type.as_str().into(),
            refresh_token: self.refresh_token.as_ref().map(|token| token.expose().into()),
        };
        let text = serde_json::to_string(&plain).map(Secret::new).map_err(|_| NoRandomness)?;
        ring.seal(random, place, &text)
    }

    /// Opens it from a place.
    pub fn open(ring: &KeyRing, place: &Place<'_>, sealed: &str) -> Result<Self, Unreadable> {
        let text = ring.open(place, sealed)?;
        let plain: Sealed<'_> = serde_json::from_str(text.expose()).map_err(|_| Unreadable::Malformed)?;
        Ok(Self {
            access_token: Secret::new(plain.access_token),
            token_type: plain.token_type.into_owned(),
            refresh_token: plain.refresh_token.map(Secret::new),
        })
    }
}
