//! The secrets of a connection, and how they are sealed.
//!
//! Owns the sealed form of tokens and manual fields, and the rule that merges a response into them. All secrets of a
//! connection are sealed together, in one field, so that they always belong together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::app::{AuthMethod, TemplateValues};
use crate::frozen;
use crate::gather::Gather as _;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::random::Random;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::token::TokenSet;
use crate::vault::{KeyRing, OpenError, SealContext, SealError};

/// The credential of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credential {
    /// The token for requests. None if the manual credential is used directly.
    pub token: Option<StoredToken>,
    /// Further tokens of the same grant, by name.
    pub other_tokens: BTreeMap<String, StoredToken>,
    /// The manual fields.
    pub fields: BTreeMap<String, Secret>,
}

/// A token and what refreshes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// The access token.
    pub access_token: Secret,
    /// `Bearer`, or the app's own name.
    pub token_type: String,
    /// The refresh token, if the app issued one.
    pub refresh_token: Option<Secret>,
    /// The previous refresh token, if the app accepts it again.
    pub previous: Option<PreviousRefreshToken>,
    /// Expiry of the access token, if it is known. The database has the earliest expiry of all tokens in a column.
    pub expires_at: Option<Timestamp>,
    /// Lifetime in seconds, as the app last returned it.
    pub lifetime: Option<i64>,
    /// Its account, for a further token, which may belong to somebody else than the connection's account.
    pub owner: Option<String>,
}

/// A replaced refresh token, at an app that accepts it again for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousRefreshToken {
    /// The token.
    pub refresh_token: Secret,
    /// Until when the app's grace period certainly lasts.
    pub until: Timestamp,
}

/// One of a credential's tokens: the first (`None`), or a further one by its name.
pub type TokenName = Option<String>;

/// The sealed JSON. Separate from [`Credential`], so that nothing else can serialise a secret. The first token's
/// members are at the top level.
#[derive(Serialize, Deserialize)]
struct SealedCredential<'a> {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    token: Option<SealedToken<'a>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    others: BTreeMap<Cow<'a, str>, SealedToken<'a>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct SealedToken<'a> {
    access_token: Cow<'a, str>,
    token_type: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<SealedPrevious<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifetime: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct SealedPrevious<'a> {
    refresh_token: Cow<'a, str>,
    until: i64,
}

impl StoredToken {
    /// From an app's response.
    pub fn from_token_set(tokens: &TokenSet) -> Self {
        Self {
            access_token: tokens.access_token.clone(),
            token_type: tokens.token_type.clone(),
            refresh_token: tokens.refresh_token.clone(),
            previous: None,
            expires_at: tokens.expires_at,
            lifetime: tokens.lifetime,
            owner: tokens.owner.clone(),
        }
    }

    /// The merge rule: a response without a refresh token keeps the old one (RFC 6749, 6), and one without a lifetime
    /// means that the token lasts as long as the previous one. `issued_at` is the time before the request was sent.
    #[must_use]
    pub fn merged_with(&self, tokens: &TokenSet, issued_at: Timestamp) -> Self {
        let mut merged = Self::from_token_set(tokens);
        if let (None, Some(seconds)) = (tokens.lifetime, self.lifetime) {
            merged.expires_at = [issued_at.plus(seconds)].into_iter().chain(tokens.expires_at_latest).min();
            merged.lifetime = self.lifetime;
        }
        merged.refresh_token = merged.refresh_token.or_else(|| self.refresh_token.clone());
        merged.owner = merged.owner.or_else(|| self.owner.clone());
        merged
    }

    /// Keeps the replaced token until the end of the app's grace period. At other apps the old token is deleted,
    /// because sending it again would revoke the grant.
    #[must_use]
    pub fn with_previous(mut self, old: &Self, grace_until: Option<Timestamp>) -> Self {
        let replaced = old.refresh_token.as_ref().filter(|token| self.refresh_token.as_ref() != Some(*token));
        self.previous = replaced
            .zip(grace_until)
            .map(|(token, until)| PreviousRefreshToken { refresh_token: token.clone(), until });
        self
    }

    fn to_sealed(&self) -> SealedToken<'_> {
        SealedToken {
            access_token: self.access_token.expose().into(),
            token_type: self.token_type.as_str().into(),
            refresh_token: self.refresh_token.as_ref().map(|token| token.expose().into()),
            previous: self.previous.as_ref().map(|previous| SealedPrevious {
                refresh_token: previous.refresh_token.expose().into(),
                until: previous.until.unix(),
            }),
            expires_at: self.expires_at.map(Timestamp::unix),
            lifetime: self.lifetime,
            owner: self.owner.as_deref().map(Cow::from),
        }
    }

    fn from_sealed(sealed: SealedToken<'_>) -> Self {
        Self {
            access_token: Secret::new(sealed.access_token),
            token_type: sealed.token_type.into_owned(),
            refresh_token: sealed.refresh_token.map(Secret::new),
            previous: sealed.previous.map(|previous| PreviousRefreshToken {
                refresh_token: Secret::new(previous.refresh_token),
                until: Timestamp::from_unix(previous.until),
            }),
            expires_at: sealed.expires_at.map(Timestamp::from_unix),
            lifetime: sealed.lifetime,
            owner: sealed.owner.map(Cow::into_owned),
        }
    }
}

impl Credential {
    /// An account with what the beginnings of entered values tell behind it: a test key must not pass for a live one.
    pub fn mark_account(&self, auth_method: &AuthMethod, account: Account) -> Account {
        let marks = auth_method.field_marks(&self.fields);
        marks.fold(account, |account, mark| account.with_marks(mark.label.as_deref(), mark.account.as_deref()))
    }

    /// From an app's response to an authorization code.
    pub fn from_tokens(tokens: &TokenSet) -> Self {
        Self {
            token: Some(StoredToken::from_token_set(tokens)),
            other_tokens: tokens
                .additional
                .iter()
                .map(|(name, one)| (name.clone(), StoredToken::from_token_set(one)))
                .gather(),
            fields: BTreeMap::new(),
        }
    }

    /// The refresh token of a response whose access token cannot be used. It can only be revoked.
    pub fn of_refresh_token(refresh_token: Secret) -> Self {
        let token = StoredToken {
            access_token: Secret::new(""),
            token_type: "Bearer".to_owned(),
            refresh_token: Some(refresh_token),
            previous: None,
            expires_at: None,
            lifetime: None,
            owner: None,
        };
        Self { token: Some(token), ..Self::default() }
    }

    /// From manual fields.
    pub fn from_fields(fields: BTreeMap<String, Secret>) -> Self {
        Self { token: None, other_tokens: BTreeMap::new(), fields }
    }

    /// One of its tokens.
    pub fn get(&self, which: &TokenName) -> Option<&StoredToken> {
        match which {
            None => self.token.as_ref(),
            Some(name) => self.other_tokens.get(name),
        }
    }

    /// Sets one of its tokens.
    pub fn put(&mut self, which: &TokenName, token: StoredToken) {
        match which {
            None => self.token = Some(token),
            Some(name) => drop(self.other_tokens.insert(name.clone(), token)),
        }
    }

    /// Its tokens: the first, then the others by name.
    pub fn tokens(&self) -> impl Iterator<Item = (TokenName, &StoredToken)> {
        let others = self.other_tokens.iter().map(|(name, token)| (Some(name.clone()), token));
        self.token.iter().map(|token| (None, token)).chain(others)
    }

    /// Whether it can be refreshed. If the first token cannot be, its expiry is that of the connection.
    pub fn is_refreshable(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.refresh_token.is_some())
    }

    /// Whether it has a secret in common with another.
    pub fn shares_a_secret_with(&self, other: &Self) -> bool {
        fn secrets(of: &Credential) -> impl Iterator<Item = &Secret> {
            let tokens = of.token.iter().chain(of.other_tokens.values());
            tokens
                .flat_map(|token| [&token.access_token].into_iter().chain(&token.refresh_token))
                .chain(of.fields.values())
        }
        secrets(self).any(|secret| secrets(other).any(|known| known == secret))
    }

    /// Whether a further token belongs to another person than in the other credential. A token that only one of them
    /// has is ignored.
    pub fn has_other_token_owner_than(&self, other: &Self) -> bool {
        let owner = |of: &Self, name: &str| of.other_tokens.get(name).and_then(|token| token.owner.clone());
        self.other_tokens
            .keys()
            .any(|name| matches!((owner(self, name), owner(other, name)), (Some(here), Some(there)) if here != there))
    }

    /// The earliest expiry of its access tokens, or `None` if none is known. A further token without a refresh token is
    /// ignored: otherwise its expiry would block the others.
    pub fn expires_at(&self) -> Option<Timestamp> {
        let counts = |(which, token): &(TokenName, &StoredToken)| which.is_none() || token.refresh_token.is_some();
        self.tokens().filter(counts).filter_map(|(_, token)| token.expires_at).min()
    }

    /// The values for templates: the token, and manual fields. Without a token, the first secret field takes its place.
    pub fn template_values(&self, first_field: Option<&str>) -> TemplateValues {
        let fields =
            self.fields.iter().fold(TemplateValues::new(), |values, (name, value)| values.with(name, value.expose()));
        let stands_in = || first_field.and_then(|name| self.fields.get(name));
        match self.token.as_ref().map(|token| &token.access_token).or_else(stands_in) {
            Some(token) => fields.with("access_token", token.expose()),
            None => fields,
        }
    }

    /// The place of a connection's sealed credential.
    pub fn seal_context<'a>(
        workspace: &'a WorkspaceId,
        connection: &'a ConnectionId,
        generation: i64,
    ) -> SealContext<'a> {
        SealContext::of(frozen::CREDENTIAL, workspace.as_str(), connection.as_str(), generation)
    }

    /// Seals it for a place.
    pub fn seal(
        &self,
        key_ring: &KeyRing,
        random: &impl Random,
        seal_context: &SealContext<'_>,
    ) -> Result<String, SealError> {
        let plain = SealedCredential {
            token: self.token.as_ref().map(StoredToken::to_sealed),
            others: self.other_tokens.iter().map(|(name, token)| (name.as_str().into(), token.to_sealed())).gather(),
            fields: self.fields.iter().map(|(name, value)| (name.as_str().into(), value.expose().into())).gather(),
        };
        let text = serde_json::to_string(&plain).map(Secret::new).map_err(|_| SealError::Json)?;
        key_ring.seal(random, seal_context, &text)
    }

    /// Opens it from a place.
    pub fn open(key_ring: &KeyRing, seal_context: &SealContext<'_>, sealed: &str) -> Result<Self, OpenError> {
        let text = key_ring.open(seal_context, sealed)?;
        let plain: SealedCredential<'_> = serde_json::from_str(text.expose()).map_err(|_| OpenError::Malformed)?;
        let opened = Self {
            token: plain.token.map(StoredToken::from_sealed),
            other_tokens: plain
                .others
                .into_iter()
                .map(|(name, one)| (name.into_owned(), StoredToken::from_sealed(one)))
                .gather(),
            fields: plain.fields.into_iter().map(|(name, one)| (name.into_owned(), Secret::new(one))).gather(),
        };
        let is_empty = opened.token.is_none() && opened.fields.is_empty();
        if is_empty { Err(OpenError::Malformed) } else { Ok(opened) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<StoredToken> {
        serde_json::from_str::<SealedCredential<'_>>(json).unwrap().token.map(StoredToken::from_sealed)
    }

    #[test]
    fn the_members_of_a_sealed_credential_keep_their_names() {
        let until = Timestamp::from_unix(7);
        let token = StoredToken {
            access_token: Secret::new("a"),
            token_type: "Bearer".into(),
            refresh_token: Some(Secret::new("r")),
            previous: Some(PreviousRefreshToken { refresh_token: Secret::new("p"), until }),
            expires_at: Some(until),
            lifetime: Some(7),
            owner: Some("o".into()),
        };
        let plain = SealedCredential {
            token: Some(token.to_sealed()),
            others: [("bot".into(), token.to_sealed())].into(),
            fields: [("key".into(), "k".into())].into(),
        };
        let json = serde_json::to_value(plain).unwrap();
        let members = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(members(&json), frozen::members::CREDENTIAL);
        assert_eq!(members(&json["previous"]), frozen::members::PREVIOUS_TOKEN);
        assert!(members(&json["others"]["bot"]).iter().all(|one| frozen::members::CREDENTIAL.contains(&one.as_str())));
    }

    #[test]
    fn credentials_sealed_by_earlier_versions_are_read() {
        let token = read(r#"{"access_token":"a","token_type":"Bearer","refresh_token":"r"}"#).unwrap();
        assert_eq!(token.refresh_token.unwrap().expose(), "r");
        let previous = read(r#"{"access_token":"a","token_type":"Bearer","previous":{"refresh_token":"p","until":7}}"#);
        assert_eq!(previous.unwrap().previous.unwrap().until, Timestamp::from_unix(7));
        assert!(read(r#"{"fields":{"api_key":"k"}}"#).is_none());
    }
}
