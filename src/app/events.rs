//! What an app sends to a webhook: how it is known to be the app's, and which of it tells that access ended.
//!
//! Owns the facts, for whoever receives an app's events. Refuses to check a signature: nothing is received here.
//! Secrets are named, never held.

use serde::{Serialize, Serializer};

use super::{Pointer, Template};

/// How what an app sends to a webhook is known to be the app's. For whoever receives an app's events: nothing is received
/// here.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "AppEvents"))]
pub struct Events {
    /// The page that tells it.
    #[cfg_attr(test, schemars(url))]
    pub docs: Option<String>,
    /// How a request is known to be the app's.
    pub signature: Signature,
    /// What the app asks before it sends events, and what to answer.
    pub handshake: Option<String>,
    /// The events that tell that somebody took access back, as the app names them.
    pub access_ended: Vec<String>,
}

/// How a request is known to be the app's.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "scheme")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "EventSignature"))]
pub enum Signature {
    /// A header has an HMAC (RFC 2104) with SHA-256 of the request.
    #[serde(rename = "hmac-sha256")]
    HmacSha256(Hmac),
    /// The request has a secret in it that was agreed on.
    #[serde(rename = "shared-secret")]
    SharedSecret(SharedSecret),
    /// A header has a token that the app signed with a key of its own (RFC 7519).
    #[serde(rename = "jwt")]
    Jwt(Jwt),
    /// Nothing tells that a request is the app's: whoever knows the address can send anything.
    #[serde(rename = "none")]
    None,
}

/// An HMAC with SHA-256.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "HmacSignature"))]
pub struct Hmac {
    /// The header that has it.
    pub header: String,
    /// What stands before it there.
    pub prefix: Option<String>,
    /// Names in a header of several `name=value`, parted by commas; null where the header has the signature alone.
    pub parts: Option<Parts>,
    /// How it is written.
    pub encoding: Encoding,
    /// What is signed. `{body}` (its bytes as they came), `{timestamp}` (as it is written), `{method}` and `{url}` stand for
    /// those of the request.
    #[serde(serialize_with = "template")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub signed: Template,
    /// The header that has the time of sending.
    pub timestamp_header: Option<String>,
    /// A JSON pointer to the time of sending in the body.
    #[serde(serialize_with = "pointer")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub timestamp_at: Option<Pointer>,
    /// How the time of sending is written; null where it is not told.
    pub timestamp_format: Option<TimestampFormat>,
    /// How far the time of sending may be from now, in seconds.
    pub tolerance: Option<i64>,
    /// What the key is and where it is found, in words.
    pub secret: String,
}

/// Names in a header of several `name=value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SignatureParts"))]
pub struct Parts {
    /// That of the signature. It may stand there several times; one that fits is enough.
    pub signature: String,
    /// That of the time of sending.
    pub timestamp: Option<String>,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SignatureEncoding"))]
pub enum Encoding {
    /// Lower-case hexadecimal digits.
    #[default]
    Hex,
    /// Base64 with padding (RFC 4648 4).
    Base64,
}

/// How a time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum TimestampFormat {
    /// Seconds since 1970.
    #[default]
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Date and time (RFC 3339).
    Rfc3339,
}

/// A secret that the app sends back. Exactly one of `header` and `at` is there.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SharedSecretSignature"))]
pub struct SharedSecret {
    /// The header that has it.
    pub header: Option<String>,
    /// A JSON pointer into the body.
    #[serde(serialize_with = "pointer")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub at: Option<Pointer>,
    /// What it is and where it was agreed on, in words.
    pub secret: String,
}

/// A signed token.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "JwtSignature"))]
pub struct Jwt {
    /// The header that has it.
    pub header: String,
    /// What stands before it there.
    pub prefix: Option<String>,
    /// Its `iss`.
    pub issuer: String,
    /// The address of the keys it may be signed with (RFC 7517).
    #[cfg_attr(test, schemars(url))]
    pub keys: String,
    /// What its other claims must say, in words.
    pub claims: String,
}

fn template<S: Serializer>(template: &Template, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(template)
}

#[expect(clippy::ref_option, reason = "serde hands over the field as it is")]
fn pointer<S: Serializer>(pointer: &Option<Pointer>, serializer: S) -> Result<S::Ok, S::Error> {
    pointer.as_ref().map(Pointer::as_str).serialize(serializer)
}
