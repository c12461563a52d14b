//! Token requests and what apps answer to them (RFC 6749 4.1.3, 5, 6; RFC 7009; refresh.md's classification).
//!
//! Owns how requests are built and how answers are judged. Refuses to guess: what is neither a parsed success
//! nor a parsed error is ambiguous, and no text of an app leaves this file but a sanitised error code.

mod assertion;
mod error_codes;
mod lifetime;
mod probe;
mod request;
mod response;
mod retry_after;
mod scopes;

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::destinations::{Destinations, RequestSecret, SecretKind};
use crate::secret::Secret;
use crate::time::Timestamp;

pub use assertion::{AssertionClaims, GrantClaims, MAX_GRANT_ASSERTION_LIFETIME, SigningParams, sign_assertion};
pub use probe::{
    ProbeOutcome, read_account, read_account_from_tokens, read_account_label, read_header_scopes, read_nothing_shared,
    read_probe_response, read_reported_values, reported_text, reported_values,
};
pub use request::{
    RequestResult, TokenRequestContext, build_exchange_request, build_issue_request, build_probe_request,
    build_refresh_request, build_revocation_request,
};
pub use response::{DESTINATION_CHANGED, NO_ERROR_CODE, read_revocation_response, read_token_response};
pub use scopes::read_redirect_scopes;

/// What a client authenticates with.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// The public half.
    pub client_id: String,
    /// The secret half.
    pub proof: ClientProof,
    /// What the proof is, and where it may go.
    kind: SecretKind,
    destinations: Rc<Destinations>,
}

/// How a client proves that it is itself.
#[derive(Debug, Clone)]
pub enum ClientProof {
    /// Not at all: a public client.
    Nothing,
    /// By its secret.
    Secret(Secret),
    /// By an assertion signed for this one server a moment ago (RFC 7523 2.2).
    Assertion(Secret),
}

impl ClientIdentity {
    /// A workspace's client, with a proof that may go to these destinations.
    pub fn new(client_id: &str, proof: ClientProof, destinations: &Rc<Destinations>) -> Self {
        let kind = SecretKind::ClientProof;
        Self { client_id: client_id.to_owned(), proof, kind, destinations: Rc::clone(destinations) }
    }

    /// A client that a person entered as their credential.
    pub fn from_manual(client_id: &str, secret: Option<Secret>, destinations: &Rc<Destinations>) -> Self {
        let proof = secret.map_or(ClientProof::Nothing, ClientProof::Secret);
        Self { kind: SecretKind::ManualCredential, ..Self::new(client_id, proof, destinations) }
    }

    /// A client that is named, and proves nothing.
    pub fn without_proof(client_id: &str) -> Self {
        Self::new(client_id, ClientProof::Nothing, &Rc::default())
    }

    /// No client at all.
    pub fn anonymous() -> Self {
        Self::without_proof("")
    }

    /// The proof as a secret in a request.
    fn as_request_secret(&self) -> RequestSecret {
        RequestSecret::new(self.kind, &self.destinations)
    }
}

/// Which kind of token is revoked (RFC 7009 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenTypeHint {
    /// The refresh token.
    RefreshToken,
    /// The access token.
    AccessToken,
}

impl TokenTypeHint {
    /// As the protocol writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RefreshToken => "refresh_token",
            Self::AccessToken => "access_token",
        }
    }
}

/// What an app says to a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationResponse {
    /// RFC 7009, 2.2: 200 also for a token that is unknown or dead already.
    Revoked,
    /// It says of the token that it is dead, by an error of its own.
    TokenInvalid,
    /// It does not revoke tokens of this kind.
    UnsupportedTokenType,
    /// It refuses the token that was to ask.
    Unauthorized,
    /// No useful answer.
    Inconclusive,
}

/// What an app's answer to a token request amounts to.
#[derive(Debug, Clone)]
pub enum TokenResponse {
    /// It gave tokens.
    Tokens(TokenSet),
    /// It said no, and said so clearly.
    Refused(AppRefusal),
    /// Nobody knows whether it acted.
    Ambiguous(AmbiguousResponse),
}

/// A clear refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRefusal {
    /// What it means.
    pub class: RefusalClass,
    /// The app's error code, reduced to `[a-z0-9_.-]{1,64}`.
    pub code: String,
    /// Whether it came as 401: that the client was not taken (RFC 6749 5.2), where the code says nothing.
    pub unauthorized: bool,
}

impl AppRefusal {
    /// What it means to whoever asks for the first time, when no connection depends on it yet.
    pub fn class_for_new_connection(&self) -> RefusalClass {
        if self.class == RefusalClass::Unknown && self.unauthorized { RefusalClass::Client } else { self.class }
    }
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalClass {
    /// The grant is gone.
    Permanent,
    /// Later it may work.
    Transient {
        /// Seconds the app asks to wait.
        retry_after: Option<i64>,
    },
    /// Our client is refused: its secret is wrong or has expired.
    Client,
    /// This connection asks for what it may not have.
    Configuration,
    /// A code nobody has classified.
    Unknown,
}

/// An answer that is neither success nor refusal.
#[derive(Debug, Clone)]
pub struct AmbiguousResponse {
    /// What was seen, in snake case, for the log.
    pub reason: &'static str,
    /// A new refresh token that the answer holds all the same.
    pub refresh_token: Option<Secret>,
    /// Seconds the app asks to wait.
    pub retry_after: Option<i64>,
}

/// Tokens as an app issued them.
#[derive(Debug, Clone)]
pub struct TokenSet {
    /// Visible ASCII only: it will stand in a header.
    pub access_token: Secret,
    /// `Bearer` in this spelling, or the app's own word.
    pub token_type: String,
    /// A new refresh token; `None` keeps the old one.
    pub refresh_token: Option<Secret>,
    /// When the access token ends, if anybody knows.
    pub expires_at: Option<Timestamp>,
    /// The life of the access token in seconds, where the answer says it.
    pub lifetime: Option<i64>,
    /// When the access token ends at the latest, as it says itself (`exp` of a JWT).
    pub expires_at_latest: Option<Timestamp>,
    /// When the refresh token ends, if anybody knows.
    pub refresh_expires_at: Option<Timestamp>,
    /// What was granted, if the answer says. Scopes of further tokens have those tokens' names in front.
    pub scopes: Option<Vec<String>>,
    /// Further tokens, by name.
    pub additional: BTreeMap<String, TokenSet>,
    /// Whose a further token is, where the answer says.
    pub owner: Option<String>,
    /// The whole answer, for what else stands in it: an account, the address of an instance.
    pub response: SecretJson,
}

/// JSON that holds secrets: its Debug shows nothing.
#[derive(Clone, Default)]
pub struct SecretJson(pub(crate) serde_json::Value);

impl std::fmt::Debug for SecretJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretJson([redacted])")
    }
}

/// Whether a text may stand in a header as a token: not empty, visible ASCII only (no spaces, no line ends).
pub fn is_header_safe(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
