//! A request that an app sends about an event: whether it is from the app, and what it says.
//!
//! Owns the answers to challenges and the reading of type and accounts, as the app's definition describes them;
//! `signatures` verifies. Refuses to look up anything: secrets and keys are arguments, and so is the time.

mod signatures;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::app::{
    AccountInEvent, AppEvents, ChallengeAnswer, ChallengeMethod, EventChallenge, EventCondition, EventValues,
    NamedAccount, SecretHandshake,
};
use crate::secret::Secret;

use signatures::{HmacSha256, SignatureMac as _, encode_hex};
pub use signatures::{PublicKeyScheme, secret_problem};

/// Secrets of one client, at most: one for each webhook at the app, or an old and a new one.
pub const MAX_SECRETS: usize = 20;
/// Bytes of a secret, at most.
pub const MAX_SECRET_LENGTH: usize = 512;
/// Bytes of a secret that an app sends, at least: a shorter one could be guessed.
const MIN_SENT_SECRET_LENGTH: usize = 16;
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
    /// A request. Headers of one name are one with commas, as the platform joins them, so that none hides behind another.
    pub fn new(method: &str, url: String, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let headers = headers.into_iter().fold(Vec::new(), |mut joined: Vec<(String, String)>, (name, value)| {
            match joined.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                Some((_, known)) => *known = format!("{known}, {value}"),
                None => joined.push((name, value)),
            }
            joined
        });
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

    /// The value of a parameter of the address.
    pub fn query_parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.url.split_once('?')?;
        form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// Whether it is of this app, of several that share an address.
    pub fn is_claimed_by(&self, events: &AppEvents) -> bool {
        events.when.as_ref().is_none_or(|condition| self.meets(condition))
    }

    fn meets(&self, condition: &EventCondition) -> bool {
        let variables = BTreeMap::new();
        let values = EventValues { headers: &self.headers, body: self.body_json(), variables: &variables };
        condition.value.values(&values).iter().any(|value| condition.pattern.is_match(value))
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
        if challenge.when.as_ref().is_some_and(|condition| !self.meets(condition)) {
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

    /// The secret that the app sends before its events, if this is such a request. Refused is one that could not be a secret.
    pub fn find_handshake_secret(&self, handshake: &SecretHandshake) -> Option<Secret> {
        let text = match (&handshake.header, &handshake.at) {
            (Some(name), _) => self.header(name)?,
            (None, Some(pointer)) => pointer.find(self.body_json())?.as_str()?,
            (None, None) => return None,
        };
        let is_one = (MIN_SENT_SECRET_LENGTH..=MAX_SECRET_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        (self.method == "POST" && is_one).then(|| Secret::new(text))
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

#[cfg(test)]
mod tests;
