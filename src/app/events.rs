//! Webhook events of an app: how a receiver verifies them, whose account they are about, and which of them say that access
//! ended.
//!
//! Owns these facts. Verifies nothing: `event_request` does, and other programs that receive events read the facts in the
//! API. Names secrets and never contains them.

use serde::{Serialize, Serializer};

use super::event_text::{AccountInEvent, EventText};
use super::{JsonPointer, Pattern, Template};

/// Seconds. Within a longer tolerance, events are remembered as well.
const NEAR: i64 = 900;

/// How a receiver verifies the app's webhook requests, and what they say.
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
    /// The request by which the app finds out that the address is ours, and its answer. Null: there is none, or only
    /// `handshake` describes it.
    pub challenge: Option<EventChallenge>,
    /// Which requests are of this app, where apps share an OAuth client and so an address. Null: all that none of the others
    /// claims.
    pub when: Option<EventCondition>,
    /// A JSON pointer to the event in the body, where it is JSON in Base64.
    #[serde(serialize_with = "pointer")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub payload_at: Option<JsonPointer>,
    /// Where the type of an event is: the first of these that the request has. `{/pointer}` is a value of the body, with
    /// `*` for each entry of a list; `{header:Name}` is a header; `{client:name}` is a variable that is set with the OAuth
    /// client.
    pub event_type: Vec<EventText>,
    /// The events that say that somebody revoked the access, with the app's names.
    pub access_ended: Vec<String>,
    /// Where the accounts of an event are: the first of these that the request has.
    pub account: Vec<AccountInEvent>,
    /// The same for the events in `access_ended`. Empty: as for the others.
    pub ended_account: Vec<AccountInEvent>,
    /// Whether the events in `access_ended` are forwarded too, because receivers have to do something about them.
    pub forward_access_ended: bool,
    /// The status that the app expects for an event that was taken.
    pub answer_status: u16,
    /// Where the app sends the secret that its events will be signed with. Null: it never sends one.
    pub secret_handshake: Option<SecretHandshake>,
}

/// A POST with the secret itself, before events are sent. Exactly one of `header` and `at` is set.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SecretHandshake {
    /// The header with the secret. The answer has the same header.
    pub header: Option<String>,
    /// A JSON pointer to the secret in the body. A person then enters it at the app.
    #[serde(serialize_with = "pointer")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub at: Option<JsonPointer>,
}

/// A request that asks for an answer before events are sent.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventChallenge {
    /// Its method.
    pub method: ChallengeMethod,
    /// The parameter of the query with the value to answer.
    pub query: Option<String>,
    /// A JSON pointer to that value in the body.
    #[serde(serialize_with = "pointer")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub at: Option<JsonPointer>,
    /// How the value is answered.
    pub answer: ChallengeAnswer,
    /// Whether the request is signed as events are.
    pub signed: bool,
    /// Which requests are challenges. Null: those that have the value.
    pub when: Option<EventCondition>,
}

/// The method of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum ChallengeMethod {
    /// GET
    Get,
    /// POST
    Post,
}

/// The answer to a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum ChallengeAnswer {
    /// The value, as text.
    #[default]
    Text,
    /// JSON with the value under its own name.
    Json,
    /// JSON with the value as `plainToken` and its HMAC with SHA-256 in hexadecimal as `encryptedToken`.
    Hmac,
    /// Nothing but the status. There is no value.
    Empty,
}

/// A condition on a request.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EventCondition {
    /// The value, as in `event_type`.
    pub value: EventText,
    /// What it must match as a whole.
    #[serde(serialize_with = "pattern")]
    #[cfg_attr(test, schemars(with = "String"))]
    pub pattern: Pattern,
}

/// How to verify a request.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "scheme")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "EventSignature"))]
pub enum WebhookSignature {
    /// A header contains an HMAC (RFC 2104) with SHA-256 of the request.
    #[serde(rename = "hmac-sha256")]
    HmacSha256(RequestSignature),
    /// The same with SHA-1, which is still safe in an HMAC.
    #[serde(rename = "hmac-sha1")]
    HmacSha1(RequestSignature),
    /// A header contains a signature with Ed25519 (RFC 8032). The app's public key is entered, in hexadecimal.
    #[serde(rename = "ed25519")]
    Ed25519(RequestSignature),
    /// A header contains a signature with ECDSA on P-256 and SHA-256, in DER. The app's public key is entered: a
    /// `SubjectPublicKeyInfo` in Base64.
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256(RequestSignature),
    /// The request contains an agreed secret.
    #[serde(rename = "shared-secret")]
    SharedSecret(SharedSecret),
    /// A header contains a token that the app signed with its own key (RFC 7519).
    #[serde(rename = "jwt")]
    Jwt(JwtSignature),
    /// A header contains a token that the app signed with an agreed secret (HS256 of RFC 7518). It does not sign the body.
    #[serde(rename = "jwt-hs256")]
    JwtHs256(JwtSecret),
    /// Requests cannot be verified: anybody who knows the address can send anything.
    #[serde(rename = "none")]
    None,
}

/// A signature of the request in a header.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RequestSignature"))]
pub struct RequestSignature {
    /// The header with the signature.
    pub header: String,
    /// A second header with a signature, by another secret. One valid signature is enough.
    pub second_header: Option<String>,
    /// The text before the signature in the header.
    pub prefix: Option<String>,
    /// The names in a header with several `name=value` separated by commas. Null if the header has only the signature.
    pub parts: Option<SignatureHeaderParts>,
    /// The encoding of the signature.
    pub encoding: SignatureEncoding,
    /// The signed text. `{body}` (the received bytes), `{timestamp}` and `{id}` (as written), `{method}` and `{url}` are
    /// replaced by those of the request; `{form}` by the names and values of a form, sorted by name.
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
    /// The header with the id of the request, which is signed.
    pub id_header: Option<String>,
    /// A JSON pointer to the event's id in the body. Where no time of sending is signed, a second request with the same id is
    /// a replay.
    #[serde(serialize_with = "pointer")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub id_at: Option<JsonPointer>,
    /// Whether different events may have the same body, so that a replay can't be distinguished from another event.
    pub may_repeat: bool,
    /// What the key is and where it is found, as text.
    pub secret: String,
    /// The form of the key in that text.
    pub secret_encoding: SecretEncoding,
    /// The text before the key, which is no part of it.
    pub secret_prefix: Option<String>,
    /// Whether the secret of the OAuth client is the key, unless another one is set.
    pub is_client_secret: bool,
}

impl RequestSignature {
    /// Whether the time of sending is signed and must be so near that a replay is refused by it.
    pub fn signs_time(&self) -> bool {
        self.tolerance.is_some_and(|tolerance| tolerance <= NEAR)
    }
}

/// The form of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum SecretEncoding {
    /// The bytes of the text are the key.
    #[default]
    Text,
    /// Base64 with padding (RFC 4648 4).
    Base64,
}

/// Names in a header of several `name=value`, or of several pairs with other characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SignatureParts"))]
pub struct SignatureHeaderParts {
    /// The name of the signature. It may occur several times; one valid signature is enough.
    pub signature: String,
    /// The name of the time of sending.
    pub timestamp: Option<String>,
    /// The character between pairs: `,`, or another.
    pub separator: char,
    /// The character between name and value: `=`, or another.
    pub assign: char,
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

/// A secret that the app sends back. Exactly one of `header`, `query` and `at` is set.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SharedSecretSignature"))]
pub struct SharedSecret {
    /// The header with the secret.
    pub header: Option<String>,
    /// The text before the secret in the header.
    pub prefix: Option<String>,
    /// The parameter of the address with the secret: it is a part of the address that is registered at the app.
    pub query: Option<String>,
    /// A JSON pointer into the body. `*` stands for each entry of a list: all of them must have the secret.
    #[serde(serialize_with = "pointer")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub at: Option<JsonPointer>,
    /// What it is and where it was agreed on, as text.
    pub secret: String,
}

/// A token that is signed with a secret. It is for the address that events are sent to (`aud`), and for a short time (`exp`).
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "JwtSecretSignature"))]
pub struct JwtSecret {
    /// The header with the token.
    pub header: String,
    /// The text before the token in the header.
    pub prefix: Option<String>,
    /// What the secret is and where it is found, as text.
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
    /// The required values of its other claims, as text. Its `aud` is the address that events are sent to.
    pub claims: String,
    /// The claim that says who sent the event. Its value must be the one that is set as the secret: whoever has a key of the
    /// issuer could send events otherwise.
    pub sender_claim: String,
}

fn pattern<S: Serializer>(pattern: &Pattern, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(pattern.as_str())
}

fn template<S: Serializer>(template: &Template, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(template)
}

#[expect(clippy::ref_option, reason = "serde hands over the field as it is")]
fn pointer<S: Serializer>(pointer: &Option<JsonPointer>, serializer: S) -> Result<S::Ok, S::Error> {
    pointer.as_ref().map(JsonPointer::as_str).serialize(serializer)
}
