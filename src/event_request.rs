//! A request that an app sends about an event: whether it is from the app, and what it says.
//!
//! Owns the verification of signatures, the window for replays, the answers to challenges and the reading of type and
//! accounts, all as the app's definition describes them. Refuses to look up anything: secrets and keys are arguments, and so
//! is the time. Compares in constant time.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Map, Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use url::form_urlencoded;

use crate::app::{
    AccountInEvent, AppEvents, ChallengeAnswer, ChallengeMethod, EventChallenge, EventValues, HmacSignature,
    JwtSignature, NamedAccount, SecretEncoding, SharedSecret, SignatureEncoding, TimestampFormat, WebhookSignature,
    scalar_text,
};
use crate::id_token::{Expected, IdTokenError, SignedToken};
use crate::ports::Verifier;
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::verifying_key::PublicKeys;

/// Signatures of one header that are compared, at most.
const MAX_SIGNATURES: usize = 10;
/// Secrets of one client, at most: one for each webhook at the app, or an old and a new one.
pub const MAX_SECRETS: usize = 20;
/// Bytes of a secret, at most.
pub const MAX_SECRET_LENGTH: usize = 512;
/// Bytes of a challenge that is answered, at most.
const MAX_CHALLENGE_LENGTH: usize = 1024;
/// The same where it is answered with its signature.
const MAX_SIGNED_CHALLENGE_LENGTH: usize = 64;
/// Bytes of a type, at most.
const MAX_TYPE_LENGTH: usize = 200;

/// Why a request is not taken for one of the app. `as_str` is a code for the log and for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum EventRefusal {
    /// The app's requests can't be verified.
    Unverifiable,
    /// No secret is set to verify with.
    NoSecret,
    /// The signature, or what is signed, is missing.
    Unsigned,
    /// A signature or time has another form than the definition says.
    Malformed,
    /// It was made with another secret, or the request was changed.
    WrongSignature,
    /// It was sent too long ago, or in the future.
    WrongTime,
    /// The same event has come before.
    Repeated,
    /// The app's keys can't be read.
    KeysUnavailable,
}

impl EventRefusal {
    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unverifiable => "unverifiable",
            Self::NoSecret => "no_secret",
            Self::Unsigned => "unsigned",
            Self::Malformed => "malformed",
            Self::WrongSignature => "wrong_signature",
            Self::WrongTime => "wrong_time",
            Self::Repeated => "repeated",
            Self::KeysUnavailable => "keys_unavailable",
        }
    }
}

/// A request as it was received.
pub struct EventRequest {
    /// Its method, in upper case.
    pub method: String,
    /// The whole address that it was sent to.
    pub url: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    parsed: OnceCell<Value>,
}

/// Headers and body may have a secret.
impl std::fmt::Debug for EventRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventRequest({}, {} bytes)", self.method, self.body.len())
    }
}

/// What a verified request is remembered by, so that a second one counts as a replay: a hash. `None` where the time of
/// sending tells, or where nothing can.
pub type ReplayMark = Option<String>;

impl EventRequest {
    /// A request.
    pub fn new(method: &str, url: String, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        Self { method: method.to_ascii_uppercase(), url, headers, body, parsed: OnceCell::new() }
    }

    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON, or a form as an object of texts. Null for another body.
    pub fn body_json(&self) -> &Value {
        self.parsed.get_or_init(|| {
            if let Ok(value) = serde_json::from_slice(&self.body) {
                return value;
            }
            let is_form = self
                .header("content-type")
                .is_some_and(|text| text.trim().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded"));
            if is_form { form_json(&self.body) } else { Value::Null }
        })
    }

    fn query_parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.url.split_once('?')?;
        form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// Whether it is of this app, of several that share an address.
    pub fn is_claimed_by(&self, events: &AppEvents) -> bool {
        let variables = BTreeMap::new();
        let values = EventValues { headers: &self.headers, body: self.body_json(), variables: &variables };
        events.when.as_ref().is_none_or(|condition| {
            condition.value.values(&values).iter().any(|value| condition.pattern.is_match(value))
        })
    }

    // ---- the signature ----

    /// Verifies a signature that is made with a secret.
    ///
    /// # Errors
    /// Why it is not taken for one of the app. A token is never: see [`Self::verify_token`].
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
            WebhookSignature::Jwt(_) | WebhookSignature::None => Err(EventRefusal::Unverifiable),
        }
    }

    fn verify_hmac<M: SignatureMac>(
        &self,
        hmac: &HmacSignature,
        secrets: &[Secret],
        now: Timestamp,
    ) -> Result<ReplayMark, EventRefusal> {
        let keys: Vec<_> = secrets.iter().filter_map(|secret| hmac_key(hmac, secret)).collect();
        if keys.is_empty() {
            return Err(EventRefusal::NoSecret);
        }
        let sent = self.read_signatures(hmac)?;
        let timestamp = match (&hmac.timestamp_header, sent.timestamp) {
            (Some(name), _) => self.header(name).map(|text| text.trim().to_owned()),
            (None, in_parts) => in_parts,
        };
        let signed = hmac.signed.fill_bytes(|name| self.signed_value(hmac, name, timestamp.as_deref()));
        let signed = signed.ok_or(EventRefusal::Unsigned)?;
        let mut is_valid = Choice::from(0);
        for key in &keys {
            let expected = M::sign(key, &signed);
            for one in &sent.signatures {
                is_valid |= expected.as_slice().ct_eq(one);
            }
        }
        if !bool::from(is_valid) {
            return Err(EventRefusal::WrongSignature);
        }
        self.check_time(hmac, timestamp.as_deref(), now)?;
        if hmac.signs_time() || hmac.may_repeat {
            return Ok(None);
        }
        let id = hmac.id_at.as_ref().and_then(|pointer| scalar_text(pointer.find(self.body_json())?));
        Ok(Some(id.map_or_else(|| hash_mark(&signed), |id| hash_mark(id.as_bytes()))))
    }

    fn signed_value<'a>(
        &'a self,
        hmac: &HmacSignature,
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

    fn read_signatures(&self, hmac: &HmacSignature) -> Result<SentSignatures, EventRefusal> {
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

    fn check_time(&self, hmac: &HmacSignature, in_headers: Option<&str>, now: Timestamp) -> Result<(), EventRefusal> {
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
        let sent: Vec<String> = match (&shared.header, &shared.at) {
            (Some(name), _) => {
                let prefix = shared.prefix.as_deref().unwrap_or_default();
                let value = |text: &str| text.strip_prefix(prefix).map(str::to_owned);
                self.header(name).and_then(value).into_iter().collect()
            }
            (None, Some(pointer)) => {
                // Every entry of a list has that of its own subscription, so an entry without one is not the app's.
                let found = pointer.find_all(self.body_json());
                let holders = count_holders(pointer.as_str(), self.body_json());
                if found.len() != holders {
                    return Err(EventRefusal::Unsigned);
                }
                found.into_iter().map(scalar_text).collect::<Option<Vec<_>>>().ok_or(EventRefusal::Malformed)?
            }
            (None, None) => Vec::new(),
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

    // ---- challenges ----

    /// The value of a challenge, if this is one. An empty one has an answer without a value.
    pub fn find_challenge(&self, challenge: &EventChallenge) -> Option<Option<String>> {
        let method = match challenge.method {
            ChallengeMethod::Get => "GET",
            ChallengeMethod::Post => "POST",
        };
        // The platform answers a HEAD as a GET, without the body.
        if self.method != method && (self.method.as_str(), method) != ("HEAD", "GET") {
            return None;
        }
        let value = match (&challenge.query, &challenge.at) {
            (Some(name), _) => self.query_parameter(name)?,
            (None, Some(pointer)) => pointer.find(self.body_json())?.as_str()?.to_owned(),
            (None, None) => return Some(None),
        };
        let is_harmless = match challenge.answer {
            // Whoever asks gets it signed, so it must never be what the app signs of an event.
            ChallengeAnswer::Hmac => {
                value.len() <= MAX_SIGNED_CHALLENGE_LENGTH
                    && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'='))
            }
            _ => value.len() <= MAX_CHALLENGE_LENGTH && !value.chars().any(char::is_control),
        };
        (is_harmless && !value.is_empty()).then_some(Some(value))
    }

    // ---- what it says ----

    /// What the event says, as the definition describes it, with the variables that are set with the client.
    pub fn read_facts(&self, events: &AppEvents, variables: &BTreeMap<String, String>) -> EventFacts {
        let payload = events.payload_at.as_ref().and_then(|pointer| {
            let text = pointer.find(self.body_json())?.as_str()?;
            serde_json::from_slice(&STANDARD.decode(text).ok()?).ok()
        });
        let body: &Value = payload.as_ref().unwrap_or_else(|| self.body_json());
        let values = EventValues { headers: &self.headers, body, variables };
        let types: Vec<String> = events
            .event_type
            .iter()
            .map(|text| text.values(&values))
            .find(|found| !found.is_empty())
            .unwrap_or_default();
        let is_end = |kind: &String| events.access_ended.contains(kind);
        let has_ended_access = types.iter().any(is_end);
        let places =
            if has_ended_access && !events.ended_account.is_empty() { &events.ended_account } else { &events.account };
        let kind = types.iter().find(|kind| is_end(kind)).or_else(|| types.first());
        EventFacts {
            kind: kind.filter(|kind| kind.len() <= MAX_TYPE_LENGTH).cloned(),
            has_ended_access,
            has_others: types.iter().any(|kind| !is_end(kind)),
            accounts: AccountInEvent::first_of(places, &values),
        }
    }
}

/// What an event says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFacts {
    /// Its type, with the app's name.
    pub kind: Option<String>,
    /// Whether it says that access has ended.
    pub has_ended_access: bool,
    /// Whether there are others in the same request that do not.
    pub has_others: bool,
    /// The accounts that it is about.
    pub accounts: Vec<NamedAccount>,
}

/// The answer to a challenge: its content type, and its text.
pub fn challenge_answer(
    challenge: &EventChallenge,
    value: Option<&str>,
    secrets: &[Secret],
) -> Option<(&'static str, String)> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const JSON: &str = "application/json; charset=utf-8";
    Some(match (challenge.answer, value) {
        (ChallengeAnswer::Empty, _) => (TEXT, String::new()),
        (ChallengeAnswer::Text, Some(value)) => (TEXT, value.to_owned()),
        (ChallengeAnswer::Json, Some(value)) => {
            let name = match (&challenge.query, &challenge.at) {
                (Some(name), _) => name.as_str(),
                (None, Some(pointer)) => pointer.as_str().rsplit('/').next().unwrap_or_default(),
                (None, None) => return None,
            };
            (JSON, json!({ name: value }).to_string())
        }
        (ChallengeAnswer::Hmac, Some(value)) => {
            let key = secrets.iter().find(|secret| !secret.is_empty())?;
            let signed = encode_hex(&HmacSha256::sign(key.expose().as_bytes(), value.as_bytes()));
            (JSON, json!({ "plainToken": value, "encryptedToken": signed }).to_string())
        }
        (ChallengeAnswer::Text | ChallengeAnswer::Json | ChallengeAnswer::Hmac, None) => return None,
    })
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
        WebhookSignature::SharedSecret(_) | WebhookSignature::Jwt(_) => None,
        WebhookSignature::None => Some("is no use: the app does not sign its events, so they can't be verified."),
    }
}

#[derive(Default)]
struct SentSignatures {
    signatures: Vec<Vec<u8>>,
    timestamp: Option<String>,
}

/// One of the two hash functions.
trait SignatureMac {
    fn sign(key: &[u8], data: &[u8]) -> Vec<u8>;
}

struct HmacSha256;
struct HmacSha1;

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
fn hmac_key(hmac: &HmacSignature, secret: &Secret) -> Option<Vec<u8>> {
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

fn encode_hex(bytes: &[u8]) -> String {
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

/// A form as an object. Where one member is JSON by itself (`payload`), it is read.
fn form_json(body: &[u8]) -> Value {
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(body).take(500) {
        let value = match name.as_ref() {
            "payload" => serde_json::from_str(&value).unwrap_or_else(|_| Value::String(value.into_owned())),
            _ => Value::String(value.into_owned()),
        };
        members.insert(name.into_owned(), value);
    }
    Value::Object(members)
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
    let lists = crate::app::JsonPointer::parse(before);
    let lists = lists.map(|lists| lists.find_all(json)).unwrap_or_default();
    lists.iter().map(|list| list.as_array().map_or(0, Vec::len)).sum()
}

#[cfg(test)]
mod tests;
