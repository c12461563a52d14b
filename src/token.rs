//! Token requests and the responses of apps (RFC 6749 4.1.3, 5, 6; RFC 7009; the classification in refresh.md).
//!
//! Owns how requests are built and how responses are classified. What is neither a parsed success nor a parsed error is
//! ambiguous. No text of an app leaves this module except a sanitised error code.

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
pub use retry_after::parse_retry_after_header;
pub use scopes::read_redirect_scopes;

/// The credentials of a client.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// The public part.
    pub client_id: String,
    /// The secret part.
    pub proof: ClientProof,
    /// The kind of the proof, and where it may be sent.
    kind: SecretKind,
    destinations: Rc<Destinations>,
}

/// How a client proves its identity.
#[derive(Debug, Clone)]
pub enum ClientProof {
    /// Not at all: a public client.
    Nothing,
    /// With its secret.
    Secret(Secret),
    /// With an assertion that was just signed for this server (RFC 7523 2.2).
    Assertion(Secret),
}

impl ClientIdentity {
    /// A workspace's client, whose proof may be sent to these destinations.
    pub fn new(client_id: &str, proof: ClientProof, destinations: &Rc<Destinations>) -> Self {
        let kind = SecretKind::ClientProof;
        Self { client_id: client_id.to_owned(), proof, kind, destinations: Rc::clone(destinations) }
    }

    /// A client that a person entered as their credential.
    pub fn from_manual(client_id: &str, secret: Option<Secret>, destinations: &Rc<Destinations>) -> Self {
        let proof = secret.map_or(ClientProof::Nothing, ClientProof::Secret);
        Self { kind: SecretKind::ManualCredential, ..Self::new(client_id, proof, destinations) }
    }

    /// A client with an id and no proof.
    pub fn without_proof(client_id: &str) -> Self {
        Self::new(client_id, ClientProof::Nothing, &Rc::default())
    }

    /// No client.
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
    /// The name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RefreshToken => "refresh_token",
            Self::AccessToken => "access_token",
        }
    }
}

/// An app's response to a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevocationResponse {
    /// RFC 7009, 2.2: 200 also for a token that is unknown or already invalid.
    Revoked,
    /// Its own error says that the token is invalid.
    TokenInvalid,
    /// It does not revoke tokens of this kind.
    UnsupportedTokenType,
    /// It refuses the token that authenticates the request.
    Unauthorized,
    /// No usable response.
    Inconclusive,
}

/// The meaning of an app's response to a token request.
#[derive(Debug, Clone)]
pub enum TokenResponse {
    /// It returned tokens.
    Tokens(TokenSet),
    /// It clearly refused.
    Refused(AppRefusal),
    /// It is unknown whether the app acted.
    Ambiguous(AmbiguousResponse),
}

/// A clear refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRefusal {
    /// What it means.
    pub class: RefusalClass,
    /// The app's error code, reduced to `[a-z0-9_.-]{1,64}`.
    pub code: String,
    /// Whether the status was 401: the client was refused (RFC 6749 5.2), if the code does not say.
    pub unauthorized: bool,
}

impl AppRefusal {
    /// Its meaning for a new connection, which nothing depends on yet.
    pub fn class_for_new_connection(&self) -> RefusalClass {
        if self.class == RefusalClass::Unknown && self.unauthorized { RefusalClass::Client } else { self.class }
    }
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalClass {
    /// The grant has ended.
    Permanent,
    /// It may work later.
    Transient {
        /// The app's retry delay in seconds.
        retry_after: Option<i64>,
    },
    /// Our client is refused: its secret is wrong or has expired.
    Client,
    /// This connection requests something that it may not have.
    Configuration,
    /// An unknown code.
    Unknown,
}

/// A response that is neither success nor refusal.
#[derive(Debug, Clone)]
pub struct AmbiguousResponse {
    /// What was seen, in snake case, for the log.
    pub reason: &'static str,
    /// A new refresh token in the response.
    pub refresh_token: Option<Secret>,
    /// The app's retry delay in seconds.
    pub retry_after: Option<i64>,
}

/// Tokens as an app issued them.
#[derive(Debug, Clone)]
pub struct TokenSet {
    /// Visible ASCII only, because it is sent in a header.
    pub access_token: Secret,
    /// `Bearer` in this spelling, or the app's own name.
    pub token_type: String,
    /// A new refresh token. `None` keeps the old one.
    pub refresh_token: Option<Secret>,
    /// Expiry of the access token, if it is known.
    pub expires_at: Option<Timestamp>,
    /// Lifetime of the access token in seconds, if the response has it.
    pub lifetime: Option<i64>,
    /// Latest expiry of the access token according to itself (`exp` of a JWT).
    pub expires_at_latest: Option<Timestamp>,
    /// Expiry of the refresh token, if it is known.
    pub refresh_expires_at: Option<Timestamp>,
    /// The granted scopes, if the response has them. Scopes of further tokens are prefixed with the token's name.
    pub scopes: Option<Vec<String>>,
    /// Further tokens, by name.
    pub additional: BTreeMap<String, TokenSet>,
    /// The account of a further token, if the response has it.
    pub owner: Option<String>,
    /// The whole response, for its other members: an account, the address of an instance.
    pub response: SecretJson,
}

/// JSON that contains secrets. Its Debug output shows nothing.
#[derive(Clone, Default)]
pub struct SecretJson(pub(crate) serde_json::Value);

impl std::fmt::Debug for SecretJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretJson([redacted])")
    }
}

/// Whether a text can be a token in a header: not empty, visible ASCII only (no spaces, no line ends).
pub fn is_header_safe(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
