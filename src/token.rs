//! Token requests and what apps answer to them (RFC 6749 4.1.3, 5, 6; RFC 7009; refresh.md's classification).
//!
//! Owns how requests are built and how answers are judged. Refuses to guess: what is neither a parsed success
//! nor a parsed error is ambiguous, and no text of an app leaves this file but a sanitised error code.

mod answer;
mod assertion;
mod codes;
mod lifetime;
mod probe;
mod request;
mod scopes;

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::destinations::{Carried, Destinations, SecretKind};
use crate::secret::Secret;
use crate::time::Timestamp;

pub use answer::{DESTINATION_CHANGED, NO_ERROR_CODE, read_answer, read_revocation};
pub use assertion::{
    Algorithm, Claims, GrantClaims, KEY_CAP, KeyError, KeyFile, KeyFilePointers, KeyKind, LONGEST_GRANT, Signature,
    SigningKey, assertion,
};
pub use probe::{
    ProbeVerdict, read_account, read_account_of_tokens, read_name, read_nothing_shared, read_probe, read_values,
    scopes_in_header, told, values_in,
};
pub use request::{Built, Parties, exchange_request, mint_request, probe_request, refresh_request, revoke_request};
pub use scopes::scopes_in_redirect;

/// What a client authenticates with.
#[derive(Debug, Clone)]
pub struct ClientKeys {
    /// The public half.
    pub client_id: String,
    /// The secret half.
    pub proof: Proof,
    /// What the proof is, and where it may go.
    kind: SecretKind,
    destinations: Rc<Destinations>,
}

/// How a client proves that it is itself.
#[derive(Debug, Clone)]
pub enum Proof {
    /// Not at all: a public client.
    Nothing,
    /// By its secret.
    Secret(Secret),
    /// By an assertion signed for this one server a moment ago (RFC 7523 2.2).
    Assertion(Secret),
}

impl ClientKeys {
    /// A workspace's client, with a proof that may go to these destinations.
    pub fn new(client_id: &str, proof: Proof, destinations: &Rc<Destinations>) -> Self {
        let kind = SecretKind::ClientProof;
        Self { client_id: client_id.to_owned(), proof, kind, destinations: Rc::clone(destinations) }
    }

    /// A client that a person entered as their credential.
    pub fn entered(client_id: &str, secret: Option<Secret>, destinations: &Rc<Destinations>) -> Self {
        let proof = secret.map_or(Proof::Nothing, Proof::Secret);
        Self { kind: SecretKind::Entered, ..Self::new(client_id, proof, destinations) }
    }

    /// A client that is named, and proves nothing.
    pub fn named(client_id: &str) -> Self {
        Self::new(client_id, Proof::Nothing, &Rc::default())
    }

    /// No client at all.
    pub fn nobody() -> Self {
        Self::named("")
    }

    /// The proof as a secret in a request.
    fn carried(&self) -> Carried {
        Carried::new(self.kind, &self.destinations)
    }
}

/// Which kind of token is revoked (RFC 7009 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenHint {
    /// The refresh token.
    RefreshToken,
    /// The access token.
    AccessToken,
}

impl TokenHint {
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
pub enum Told {
    /// RFC 7009, 2.2: 200 also for a token that is unknown or dead already.
    Done,
    /// It says of the token that it is dead, by an error of its own.
    Dead,
    /// It does not revoke tokens of this kind.
    OtherKind,
    /// It refuses the token that was to ask.
    Refused,
    /// No useful answer.
    Nothing,
}

/// What an app's answer to a token request amounts to.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It gave tokens.
    Tokens(TokenSet),
    /// It said no, and said so clearly.
    Refused(Refusal),
    /// Nobody knows whether it acted.
    Ambiguous(Ambiguity),
}

/// A clear refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub class: Class,
    /// The app's error code, reduced to `[a-z0-9_.-]{1,64}`.
    pub code: String,
    /// Whether it came as 401: that the client was not taken (RFC 6749 5.2), where the code says nothing.
    pub unauthorized: bool,
}

impl Refusal {
    /// What it means to whoever asks for the first time, when no connection depends on it yet.
    pub fn class_at_first(&self) -> Class {
        if self.class == Class::Unknown && self.unauthorized { Class::Client } else { self.class }
    }
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
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
pub struct Ambiguity {
    /// What was seen, in snake case, for the log.
    pub what: &'static str,
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
    pub ends_by: Option<Timestamp>,
    /// When the refresh token ends, if anybody knows.
    pub refresh_expires_at: Option<Timestamp>,
    /// What was granted, if the answer says. Scopes of further tokens have those tokens' names in front.
    pub scopes: Option<Vec<String>>,
    /// Further tokens, by name.
    pub others: BTreeMap<String, TokenSet>,
    /// Whose a further token is, where the answer says.
    pub owner: Option<String>,
    /// The whole answer, for what else stands in it: an account, the address of an instance.
    pub answer: SecretJson,
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
