//! Whether a request is from the app: its signature, and whether it is a replay.
//!
//! Owns every scheme that a definition can name. A secret is compared in constant time, and so is every code that is made with
//! one; a public key is the platform's to use. Refuses to look anything up: secrets, keys and the time are arguments.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use url::form_urlencoded;

use super::{EventRefusal, EventRequest, ReplayMark};
use crate::app::{
    JsonPointer, JwtSecret, JwtSignature, RequestSignature, SecretEncoding, SharedSecret, SignatureEncoding,
    SigningAlgorithm, TimestampFormat, WebhookSignature, scalar_text,
};
use crate::id_token::{Expected, IdTokenError, SignedToken, TokenParts, check_times};
use crate::ports::{SigningError, Verifier};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::verifying_key::{PublicKeys, VerifyingKey, p256_signature_from_der};

/// Signatures of one header that are compared, at most.
const MAX_SIGNATURES: usize = 10;
/// Length of a signature with Ed25519 (RFC 8032 5.1.6).
const ED25519_SIGNATURE_BYTES: usize = 64;
/// The algorithm of a token that is signed with a secret (RFC 7518 3.2).
const HS256: &str = "HS256";

/// The two kinds of public key that an app's own signature is verified with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKeyScheme {
    /// Ed25519, the key in hexadecimal.
    Ed25519,
    /// ECDSA on P-256 with SHA-256, the key and the signature in DER.
    EcdsaP256,
}

impl PublicKeyScheme {
    fn algorithm(self) -> SigningAlgorithm {
        match self {
            Self::Ed25519 => SigningAlgorithm::EdDsa,
            Self::EcdsaP256 => SigningAlgorithm::Es256,
        }
    }

    /// The key in a text. `None` where the text is none.
    fn read_key(self, text: &Secret) -> Option<VerifyingKey> {
        match self {
            Self::Ed25519 => VerifyingKey::ed25519(&decode_hex(text.expose())?),
            Self::EcdsaP256 => VerifyingKey::p256_from_spki(&STANDARD.decode(text.expose()).ok()?),
        }
    }

    /// A signature as the platform reads it.
    fn read_signature(self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            // The platform fails at another length, which is no answer.
            Self::Ed25519 => (bytes.len() == ED25519_SIGNATURE_BYTES).then(|| bytes.to_vec()),
            Self::EcdsaP256 => p256_signature_from_der(bytes).map(Vec::from),
        }
    }
}

/// What a request says that it was signed with, and what was signed.
struct SignedContent {
    signatures: Vec<Vec<u8>>,
    timestamp: Option<String>,
    signed: Vec<u8>,
}

impl EventRequest {
    /// Verifies a signature that is made with a secret.
    ///
    /// # Errors
    /// Why it is not taken for one of the app. What needs a public key never is: see [`Self::verify_with_key`] and
    /// [`Self::verify_token`]. Nor is a token: see [`Self::verify_secret_token`].
    pub fn verify(
        &self,
        signature: &WebhookSignature,
        secrets: &[Secret],
        now: Timestamp,
    ) -> Result<ReplayMark, EventRefusal> {
        match signature {
            WebhookSignature::HmacSha256(hmac) => self.verify_hmac::<HmacSha256>(hmac, secrets, now),
            WebhookSignature::HmacSha1(hmac) => self.verify_hmac::<HmacSha1>(hmac, secrets, now),
            WebhookSignature::SharedSecret(shared) => self.verify_shared_secret(shared, secrets),
            _ => Err(EventRefusal::Unverifiable),
        }
    }

    fn verify_hmac<M: SignatureMac>(
        &self,
        hmac: &RequestSignature,
        secrets: &[Secret],
        now: Timestamp,
    ) -> Result<ReplayMark, EventRefusal> {
        let keys: Vec<_> = secrets.iter().filter_map(|secret| hmac_key(hmac, secret)).collect();
        if keys.is_empty() {
            return Err(EventRefusal::NoSecret);
        }
        let content = self.read_signed_content(hmac)?;
        let mut is_valid = Choice::from(0);
        for key in &keys {
            let expected = M::sign(key, &content.signed);
            for one in &content.signatures {
                is_valid |= expected.as_slice().ct_eq(one);
            }
        }
        if bool::from(is_valid) { self.accept(hmac, &content, now) } else { Err(EventRefusal::WrongSignature) }
    }

    /// Verifies a signature that the app has made with a key of its own, whose public half is set.
    ///
    /// # Errors
    /// Why it is not taken for one of the app.
    pub async fn verify_with_key(
        &self,
        (scheme, signature): (PublicKeyScheme, &RequestSignature),
        verifier: &impl Verifier,
        keys: &[Secret],
        now: Timestamp,
    ) -> Result<ReplayMark, EventRefusal> {
        let keys: Vec<_> = keys.iter().filter_map(|text| scheme.read_key(text)).collect();
        if keys.is_empty() {
            return Err(EventRefusal::NoSecret);
        }
        let content = self.read_signed_content(signature)?;
        let signatures = content.signatures.iter().filter_map(|one| scheme.read_signature(one));
        let signatures: Vec<_> = signatures.collect();
        let mut why = EventRefusal::WrongSignature;
        for key in &keys {
            for one in &signatures {
                match verifier.verify(scheme.algorithm(), key, &content.signed, one).await {
                    Ok(true) => return self.accept(signature, &content, now),
                    // A point that is on no curve is a key that has signed nothing.
                    Ok(false) | Err(SigningError::Key) => {}
                    Err(SigningError::Failed(_)) => why = EventRefusal::KeysUnavailable,
                }
            }
        }
        Err(why)
    }

    /// What follows from a valid signature: its time, and what the event is remembered by.
    fn accept(
        &self,
        signature: &RequestSignature,
        content: &SignedContent,
        now: Timestamp,
    ) -> Result<ReplayMark, EventRefusal> {
        self.check_time(signature, content.timestamp.as_deref(), now)?;
        if signature.signs_time() || signature.may_repeat {
            return Ok(None);
        }
        let id = signature.id_at.as_ref().and_then(|pointer| scalar_text(pointer.find(self.body_json())?));
        Ok(Some(id.map_or_else(|| hash_mark(&content.signed), |id| hash_mark(id.as_bytes()))))
    }

    fn read_signed_content(&self, signature: &RequestSignature) -> Result<SignedContent, EventRefusal> {
        let sent = self.read_signatures(signature)?;
        let timestamp = match (&signature.timestamp_header, sent.timestamp) {
            (Some(name), _) => self.header(name).map(|text| text.trim().to_owned()),
            (None, in_parts) => in_parts,
        };
        let signed = signature.signed.fill_bytes(|name| self.signed_value(signature, name, timestamp.as_deref()));
        Ok(SignedContent { signatures: sent.signatures, timestamp, signed: signed.ok_or(EventRefusal::Unsigned)? })
    }

    pub(super) fn signed_value<'a>(
        &'a self,
        hmac: &RequestSignature,
        name: &str,
        timestamp: Option<&'a str>,
    ) -> Option<Cow<'a, [u8]>> {
        Some(match name {
            "body" => Cow::Borrowed(self.body.as_slice()),
            "timestamp" => Cow::Borrowed(timestamp?.as_bytes()),
            "method" => Cow::Borrowed(self.method.as_bytes()),
            "url" => Cow::Borrowed(self.url.as_bytes()),
            "id" => Cow::Borrowed(self.header(hmac.id_header.as_ref()?)?.as_bytes()),
            "form" => Cow::Owned(sorted_form(&self.body)),
            _ => return None,
        })
    }

    fn read_signatures(&self, hmac: &RequestSignature) -> Result<SentSignatures, EventRefusal> {
        let headers = [Some(&hmac.header), hmac.second_header.as_ref()];
        let sent: Vec<_> = headers.into_iter().flatten().filter_map(|name| self.header(name)).collect();
        if sent.is_empty() {
            return Err(EventRefusal::Unsigned);
        }
        let mut found = SentSignatures::default();
        for text in sent {
            let Some(parts) = &hmac.parts else {
                let text = text.trim();
                let value = hmac.prefix.as_deref().map_or(Some(text), |prefix| text.strip_prefix(prefix));
                found.signatures.extend(value.and_then(|text| decode(hmac.encoding, text)));
                continue;
            };
            let pairs = text.split(parts.separator).filter_map(|pair| pair.trim().split_once(parts.assign));
            for (name, value) in pairs {
                if name == parts.signature && found.signatures.len() < MAX_SIGNATURES {
                    found.signatures.extend(decode(hmac.encoding, value));
                } else if parts.timestamp.as_deref() == Some(name) {
                    // A second one could be another than the one that is compared with the clock.
                    if found.timestamp.replace(value.to_owned()).is_some() {
                        return Err(EventRefusal::Malformed);
                    }
                }
            }
        }
        if found.signatures.is_empty() { Err(EventRefusal::Malformed) } else { Ok(found) }
    }

    fn check_time(
        &self,
        hmac: &RequestSignature,
        in_headers: Option<&str>,
        now: Timestamp,
    ) -> Result<(), EventRefusal> {
        let Some(tolerance) = hmac.tolerance else { return Ok(()) };
        let in_body = || scalar_text(hmac.timestamp_at.as_ref()?.find(self.body_json())?);
        let text = in_headers.map(str::to_owned).or_else(in_body).ok_or(EventRefusal::Unsigned)?;
        let sent = parse_time(&text, hmac.timestamp_format.unwrap_or_default()).ok_or(EventRefusal::Malformed)?;
        let difference = now.unix().checked_sub(sent.unix()).ok_or(EventRefusal::WrongTime)?;
        if (-tolerance..=tolerance).contains(&difference) { Ok(()) } else { Err(EventRefusal::WrongTime) }
    }

    fn verify_shared_secret(&self, shared: &SharedSecret, secrets: &[Secret]) -> Result<ReplayMark, EventRefusal> {
        if secrets.iter().all(Secret::is_empty) {
            return Err(EventRefusal::NoSecret);
        }
        let sent: Vec<String> = match (&shared.header, &shared.query, &shared.at) {
            (_, Some(name), _) => self.query_parameter(name).into_iter().collect(),
            (Some(name), ..) => {
                let prefix = shared.prefix.as_deref().unwrap_or_default();
                let value = |text: &str| text.strip_prefix(prefix).map(str::to_owned);
                self.header(name).and_then(value).into_iter().collect()
            }
            (None, None, Some(pointer)) => {
                // Every entry of a list has that of its own subscription, so an entry without one is not the app's.
                let found = pointer.find_all(self.body_json());
                let holders = count_holders(pointer.as_str(), self.body_json());
                if found.len() != holders {
                    return Err(EventRefusal::Unsigned);
                }
                found.into_iter().map(scalar_text).collect::<Option<Vec<_>>>().ok_or(EventRefusal::Malformed)?
            }
            (None, None, None) => Vec::new(),
        };
        if sent.is_empty() {
            return Err(EventRefusal::Unsigned);
        }
        let mut are_valid = Choice::from(1);
        for text in &sent {
            let mut is_valid = Choice::from(0);
            for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
                is_valid |= secret.expose().as_bytes().ct_eq(text.as_bytes());
            }
            are_valid &= is_valid;
        }
        // Whoever can send it again knows the secret, and could send anything.
        if bool::from(are_valid) { Ok(None) } else { Err(EventRefusal::WrongSignature) }
    }

    /// The token of a request, if its form is right.
    ///
    /// # Errors
    /// It is missing, or no token.
    pub fn read_token(&self, jwt: &JwtSignature) -> Result<SignedToken<'_>, EventRefusal> {
        let text = self.header(&jwt.header).ok_or(EventRefusal::Unsigned)?;
        let text = jwt.prefix.as_deref().map_or(Some(text), |prefix| text.strip_prefix(prefix));
        SignedToken::parse(text.ok_or(EventRefusal::Malformed)?.trim()).map_err(|_| EventRefusal::Malformed)
    }

    /// Verifies a token that the app has signed with its own key for this address, and who it says that sent the event: one of
    /// the senders that are set.
    ///
    /// # Errors
    /// Why it is not taken for one of the app.
    pub async fn verify_token(
        &self,
        jwt: &JwtSignature,
        token: &SignedToken<'_>,
        keys: (&impl Verifier, &PublicKeys),
        senders: &[Secret],
        (address, now): (&str, Timestamp),
    ) -> Result<ReplayMark, EventRefusal> {
        let expected = Expected { issuer: &jwt.issuer, audience: address, nonce: None, any_party: true, now };
        let (verifier, keys) = keys;
        let identity = token.verify(verifier, keys, &expected).await.map_err(|error| match error {
            IdTokenError::Malformed | IdTokenError::Algorithm => EventRefusal::Malformed,
            IdTokenError::Time => EventRefusal::WrongTime,
            IdTokenError::NotChecked => EventRefusal::KeysUnavailable,
            _ => EventRefusal::WrongSignature,
        })?;
        let sender = match jwt.sender_claim.as_str() {
            "email" => identity.email.filter(|_| identity.is_email_verified),
            "sub" => Some(identity.subject),
            _ => None,
        };
        let sender = sender.ok_or(EventRefusal::WrongSignature)?;
        let is_known = |one: &Secret| !one.is_empty() && bool::from(one.expose().as_bytes().ct_eq(sender.as_bytes()));
        if senders.iter().any(is_known) { Ok(Some(hash_mark(&self.body))) } else { Err(EventRefusal::WrongSignature) }
    }

    /// Verifies a token that the app has signed with a secret, for this address. It says nothing about the body, so the two
    /// are remembered together.
    ///
    /// # Errors
    /// Why it is not taken for one of the app.
    pub fn verify_secret_token(
        &self,
        jwt: &JwtSecret,
        secrets: &[Secret],
        (address, now): (&str, Timestamp),
    ) -> Result<ReplayMark, EventRefusal> {
        if secrets.iter().all(Secret::is_empty) {
            return Err(EventRefusal::NoSecret);
        }
        let text = self.header(&jwt.header).ok_or(EventRefusal::Unsigned)?.trim();
        let text = jwt.prefix.as_deref().map_or(Some(text), |prefix| text.strip_prefix(prefix));
        let token = text.and_then(|text| TokenParts::parse(text.trim()).ok()).ok_or(EventRefusal::Malformed)?;
        if token.header.get("alg").and_then(Value::as_str) != Some(HS256) {
            return Err(EventRefusal::Malformed);
        }
        let mut is_valid = Choice::from(0);
        for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
            let expected = HmacSha256::sign(secret.expose().as_bytes(), token.signed.as_bytes());
            is_valid |= expected.as_slice().ct_eq(&token.signature);
        }
        let is_for_us = token.claims.get("aud").and_then(Value::as_str) == Some(address);
        if !bool::from(is_valid) || !is_for_us {
            return Err(EventRefusal::WrongSignature);
        }
        check_times(&token.claims, now).map_err(|error| match error {
            IdTokenError::Time => EventRefusal::WrongTime,
            _ => EventRefusal::Malformed,
        })?;
        Ok(Some(hash_mark(&[token.signed.as_bytes(), b"\n", &self.body].concat())))
    }
}

/// Whether a text can be the secret of a signature. Otherwise its problem.
pub fn secret_problem(signature: &WebhookSignature, secret: &Secret) -> Option<&'static str> {
    match signature {
        WebhookSignature::HmacSha256(hmac) | WebhookSignature::HmacSha1(hmac) => match hmac.secret_encoding {
            SecretEncoding::Base64 if hmac_key(hmac, secret).is_none() => {
                Some("is not Base64. Copy it again from the app.")
            }
            SecretEncoding::Text | SecretEncoding::Base64 => None,
        },
        WebhookSignature::Ed25519(_) => PublicKeyScheme::Ed25519
            .read_key(secret)
            .is_none()
            .then_some("is not a public key of 64 hexadecimal digits. Copy it again from the app."),
        WebhookSignature::EcdsaP256(_) => PublicKeyScheme::EcdsaP256
            .read_key(secret)
            .is_none()
            .then_some("is not a public key in Base64, as in MFkw…. Copy it again from the app."),
        WebhookSignature::SharedSecret(_) | WebhookSignature::Jwt(_) | WebhookSignature::JwtHs256(_) => None,
        WebhookSignature::None => Some("is no use: the app does not sign its events, so they can't be verified."),
    }
}

#[derive(Default)]
struct SentSignatures {
    signatures: Vec<Vec<u8>>,
    timestamp: Option<String>,
}

/// One of the two hash functions.
pub(super) trait SignatureMac {
    fn sign(key: &[u8], data: &[u8]) -> Vec<u8>;
}

pub(super) struct HmacSha256;
pub(super) struct HmacSha1;

impl SignatureMac for HmacSha256 {
    fn sign(key: &[u8], data: &[u8]) -> Vec<u8> {
        // A key may have any length (RFC 2104), so this never fails.
        Hmac::<Sha256>::new_from_slice(key)
            .map(|mac| mac.chain_update(data).finalize().into_bytes().to_vec())
            .unwrap_or_default()
    }
}

impl SignatureMac for HmacSha1 {
    fn sign(key: &[u8], data: &[u8]) -> Vec<u8> {
        Hmac::<Sha1>::new_from_slice(key)
            .map(|mac| mac.chain_update(data).finalize().into_bytes().to_vec())
            .unwrap_or_default()
    }
}

/// The bytes of a key. `None` where the text has another form, or nothing in it.
pub(super) fn hmac_key(hmac: &RequestSignature, secret: &Secret) -> Option<Vec<u8>> {
    let text = secret.expose();
    let text = hmac.secret_prefix.as_deref().and_then(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    let key = match hmac.secret_encoding {
        SecretEncoding::Text => text.as_bytes().to_vec(),
        SecretEncoding::Base64 => STANDARD.decode(text).ok()?,
    };
    Some(key).filter(|key| !key.is_empty())
}

fn decode(encoding: SignatureEncoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        SignatureEncoding::Hex => decode_hex(text),
        SignatureEncoding::Base64 => STANDARD.decode(text).ok(),
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect::<Option<Vec<_>>>()
}

pub(super) fn encode_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A hash, so that nothing of an event is kept.
fn hash_mark(bytes: &[u8]) -> String {
    encode_hex(&Sha256::digest(bytes))
}

fn parse_time(text: &str, format: TimestampFormat) -> Option<Timestamp> {
    match format {
        TimestampFormat::Seconds => text.parse().ok().map(Timestamp::from_unix),
        TimestampFormat::Milliseconds => {
            text.parse().ok().map(|milliseconds: i64| Timestamp::from_unix(milliseconds.div_euclid(1000)))
        }
        TimestampFormat::Rfc3339 => Timestamp::parse(text).or_else(|| Timestamp::parse_lenient(text)),
    }
}

/// Names and values of a form, sorted by name, without anything between them.
fn sorted_form(body: &[u8]) -> Vec<u8> {
    let mut pairs: Vec<_> = form_urlencoded::parse(body).collect();
    pairs.sort();
    pairs.into_iter().flat_map(|(name, value)| format!("{name}{value}").into_bytes()).collect()
}

/// How many values there should be at a pointer: one for each entry of the lists in it.
fn count_holders(pointer: &str, json: &Value) -> usize {
    let (before, _) = pointer.rsplit_once("/*").unwrap_or((pointer, ""));
    if before.len() == pointer.len() {
        return 1;
    }
    let lists = JsonPointer::parse(before);
    let lists = lists.map(|lists| lists.find_all(json)).unwrap_or_default();
    lists.iter().map(|list| list.as_array().map_or(0, Vec::len)).sum()
}
