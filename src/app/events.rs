//! Webhook events of an app: how a receiver verifies them, and which of them say that access ended.
//!
//! Owns these facts, for programs that receive an app's events. Verifies nothing: no events are received here. Names
//! secrets and never contains them.

use serde::{Serialize, Serializer};

use super::{JsonPointer, Template};

/// How a receiver verifies the app's webhook requests. This program receives none.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "AppEvents"))]
pub struct AppEvents {
    /// The page that documents it.
    #[cfg_attr(test, schemars(url))]
    pub docs: Option<String>,
    /// How to verify a request.
    pub signature: WebhookSignature,
    /// What the app requests before it sends events, and how to answer.
    pub handshake: Option<String>,
    /// The events that say that somebody revoked the access, with the app's names.
    pub access_ended: Vec<String>,
}

/// How to verify a request.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "scheme")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "EventSignature"))]
pub enum WebhookSignature {
    /// A header contains an HMAC (RFC 2104) with SHA-256 of the request.
    #[serde(rename = "hmac-sha256")]
    HmacSha256(HmacSignature),
    /// The request contains an agreed secret.
    #[serde(rename = "shared-secret")]
    SharedSecret(SharedSecret),
    /// A header contains a token that the app signed with its own key (RFC 7519).
    #[serde(rename = "jwt")]
    Jwt(JwtSignature),
    /// Requests cannot be verified: anybody who knows the address can send anything.
    #[serde(rename = "none")]
    None,
}

/// An HMAC with SHA-256.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "HmacSignature"))]
pub struct HmacSignature {
    /// The header with the signature.
    pub header: String,
    /// The text before the signature in the header.
    pub prefix: Option<String>,
    /// The names in a header with several `name=value` separated by commas. Null if the header has only the signature.
    pub parts: Option<SignatureHeaderParts>,
    /// The encoding of the signature.
    pub encoding: SignatureEncoding,
    /// The signed text. `{body}` (the received bytes), `{timestamp}` (as written), `{method}` and `{url}` are replaced
    /// by those of the request.
    #[serde(serialize_with = "template")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub signed: Template,
    /// The header with the time of sending.
    pub timestamp_header: Option<String>,
    /// A JSON pointer to the time of sending in the body.
    #[serde(serialize_with = "pointer")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub timestamp_at: Option<JsonPointer>,
    /// The format of the time of sending. Null if it is not sent.
    pub timestamp_format: Option<TimestampFormat>,
    /// The accepted difference between the time of sending and now, in seconds.
    pub tolerance: Option<i64>,
    /// What the key is and where it is found, as text.
    pub secret: String,
}

/// Names in a header of several `name=value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SignatureParts"))]
pub struct SignatureHeaderParts {
    /// The name of the signature. It may occur several times; one valid signature is enough.
    pub signature: String,
    /// The name of the time of sending.
    pub timestamp: Option<String>,
}

/// The encoding of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SignatureEncoding"))]
pub enum SignatureEncoding {
    /// Lower-case hexadecimal digits.
    #[default]
    Hex,
    /// Base64 with padding (RFC 4648 4).
    Base64,
}

/// The format of a time.
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

/// A secret that the app sends back. Exactly one of `header` and `at` is set.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SharedSecretSignature"))]
pub struct SharedSecret {
    /// The header with the secret.
    pub header: Option<String>,
    /// A JSON pointer into the body.
    #[serde(serialize_with = "pointer")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub at: Option<JsonPointer>,
    /// What it is and where it was agreed on, as text.
    pub secret: String,
}

/// A signed token.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "JwtSignature"))]
pub struct JwtSignature {
    /// The header with the token.
    pub header: String,
    /// The text before the token in the header.
    pub prefix: Option<String>,
    /// Its `iss`.
    pub issuer: String,
    /// The address of the keys it may be signed with (RFC 7517).
    #[cfg_attr(test, schemars(url))]
    pub keys: String,
    /// The required values of its other claims, as text.
    pub claims: String,
}

fn template<S: Serializer>(template: &Template, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(template)
}

#[expect(clippy::ref_option, reason = "serde hands over the field as it is")]
fn pointer<S: Serializer>(pointer: &Option<JsonPointer>, serializer: S) -> Result<S::Ok, S::Error> {
    pointer.as_ref().map(JsonPointer::as_str).serialize(serializer)
}
