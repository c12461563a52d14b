//! The secret itself: what a connection holds and how it is sealed.
//!
//! Owns the sealed form of OAuth tokens and the rule by which an answer is merged into them.
//! Access and refresh token are sealed together, in one field, so that they can't part.

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{NoRandomness, Random};
use crate::secret::Secret;
use crate::time::Timestamp;
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
    /// The refresh token before it, where the app takes that once more.
    pub previous: Option<Previous>,
}

/// A refresh token that was replaced, at an app known to take it again for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// The token.
    pub refresh_token: Secret,
    /// When the app's grace surely is not over yet.
    pub until: Timestamp,
}

/// The sealed JSON. Apart from [`Credential`], so that nothing else can serialise a secret.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    access_token: std::borrow::Cow<'a, str>,
    token_type: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<SealedPrevious<'a>>,
}

#[derive(Serialize, Deserialize)]
struct SealedPrevious<'a> {
    refresh_token: std::borrow::Cow<'a, str>,
    until: i64,
}

impl Credential {
    /// From an app's answer to an authorization code.
    pub fn from_tokens(tokens: &TokenSet) -> Self {
        Self {
            access_token: tokens.access_token.clone(),
            token_type: tokens.token_type.clone(),
            refresh_token: tokens.refresh_token.clone(),
            previous: None,
        }
    }

    /// The merge rule: an answer without a refresh token keeps the old one (RFC 6749, 6).
    #[must_use]
    pub fn merged_with(&self, tokens: &TokenSet) -> Self {
        let mut merged = Self::from_tokens(tokens);
        merged.refresh_token = merged.refresh_token.or_else(|| self.refresh_token.clone());
        merged
    }

    /// Keeps what it replaces until the end of the app's grace. At any other app the old token is forgotten: to
    /// present it there is the reuse that kills the grant.
    #[must_use]
    pub fn replacing(mut self, old: &Self, grace_until: Option<Timestamp>) -> Self {
        let replaced = old.refresh_token.as_ref().filter(|token| self.refresh_token.as_ref() != Some(*token));
        self.previous =
            replaced.zip(grace_until).map(|(token, until)| Previous { refresh_token: token.clone(), until });
        self
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
            previous: self.previous.as_ref().map(|previous| SealedPrevious {
                refresh_token: previous.refresh_token.expose().into(),
                until: previous.until.unix(),
            }),
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
            previous: plain.previous.map(|previous| Previous {
                refresh_token: Secret::new(previous.refresh_token),
                until: Timestamp::from_unix(previous.until),
            }),
        })
    }
}
