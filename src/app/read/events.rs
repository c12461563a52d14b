//! The webhook events of a definition.
//!
//! Owns which options belong to which scheme, and what a receiver requires. Refuses a signature without the body, and a
//! time of sending in two places.

use serde::Deserialize;

use super::super::Template;
use super::super::event_text::{AccountInEvent, AccountMatch, EventText};
use super::super::events::{
    AppEvents, ChallengeAnswer, ChallengeMethod, EventChallenge, EventCondition, JwtSecret, JwtSignature,
    RequestSignature, SecretEncoding, SecretHandshake, SharedSecret, SignatureEncoding, SignatureHeaderParts,
    TimestampFormat, WebhookSignature,
};
use super::DefinitionReader;
use super::rules::{MAX_TEXT_LENGTH, is_header_name};
use crate::json::objects;

/// The placeholders of a signed text.
const SIGNED_PLACEHOLDERS: [&str; 6] = ["body", "timestamp", "method", "url", "id", "form"];
/// Seconds that the time of sending may differ from now, if it is in a header and the definition does not say.
const DEFAULT_TOLERANCE: i64 = 300;
/// The status of the answer to an event, if the definition does not say.
const DEFAULT_ANSWER_STATUS: u16 = 200;
/// What it may be.
const ANSWER_STATUSES: [u16; 3] = [200, 202, 204];
/// The claim with the sender of a token, if the definition does not say.
const DEFAULT_SENDER_CLAIM: &str = "email";

/// Longest prefix or part name, in characters.
const MAX_AFFIX_LENGTH: usize = 30;

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawEvents {
    docs: Option<String>,
    signature: RawSignature,
    handshake: Option<String>,
    challenge: Option<RawChallenge>,
    when: Option<RawCondition>,
    payload_at: Option<String>,
    #[serde(default)]
    event_type: Vec<String>,
    #[serde(default)]
    access_ended: Vec<String>,
    #[serde(default)]
    account: Vec<RawAccount>,
    #[serde(default)]
    ended_account: Vec<RawAccount>,
    #[serde(default)]
    forward_access_ended: bool,
    answer_status: Option<u16>,
    secret_handshake: Option<RawSecretHandshake>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawSecretHandshake {
    header: Option<String>,
    at: Option<String>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawChallenge {
    method: ChallengeMethod,
    query: Option<String>,
    at: Option<String>,
    #[serde(default)]
    answer: ChallengeAnswer,
    #[serde(default)]
    signed: bool,
    when: Option<RawCondition>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawCondition {
    value: String,
    pattern: String,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawAccount {
    value: String,
    pattern: Option<String>,
    #[serde(default)]
    r#match: AccountMatch,
}

/// The members of all schemes. A later check assigns them, because serde could not name the member.
#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawSignature {
    scheme: SignatureScheme,
    header: Option<String>,
    prefix: Option<String>,
    secret: Option<String>,
    // Of an HMAC.
    parts: Option<RawParts>,
    encoding: Option<SignatureEncoding>,
    signed: Option<String>,
    timestamp_header: Option<String>,
    timestamp_at: Option<String>,
    timestamp_format: Option<TimestampFormat>,
    tolerance: Option<i64>,
    second_header: Option<String>,
    id_header: Option<String>,
    id_at: Option<String>,
    may_repeat: Option<bool>,
    secret_encoding: Option<SecretEncoding>,
    secret_prefix: Option<String>,
    is_client_secret: Option<bool>,
    // Of a shared secret.
    query: Option<String>,
    at: Option<String>,
    // Of a token.
    issuer: Option<String>,
    keys: Option<String>,
    claims: Option<String>,
    sender_claim: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum SignatureScheme {
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "hmac-sha1")]
    HmacSha1,
    Ed25519,
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    SharedSecret,
    Jwt,
    #[serde(rename = "jwt-hs256")]
    JwtHs256,
    None,
}

impl SignatureScheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha1 => "hmac-sha1",
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
            Self::SharedSecret => "shared-secret",
            Self::Jwt => "jwt",
            Self::JwtHs256 => "jwt-hs256",
            Self::None => "none",
        }
    }
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawParts {
    signature: String,
    timestamp: Option<String>,
    separator: Option<char>,
    assign: Option<char>,
}

objects!(RawEvents, RawSignature, RawParts, RawChallenge, RawCondition, RawAccount, RawSecretHandshake);

/// Where the time of sending is. A time in the body is signed with the body and needs no placeholder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TimestampLocation {
    InHeader,
    InBody,
}

impl DefinitionReader {
    pub(super) fn read_events(&mut self, raw: RawEvents) -> Option<AppEvents> {
        self.check_optional_link("events.docs", raw.docs.as_deref());
        self.check_optional_text("events.handshake", raw.handshake.as_deref());
        self.check_texts("events.access_ended", &raw.access_ended);
        let signature = self.read_signature("events.signature", raw.signature);
        let challenge = raw.challenge.map(|challenge| self.read_challenge("events.challenge", challenge));
        let when = raw.when.and_then(|condition| self.read_condition("events.when", &condition));
        let payload_at = raw.payload_at.and_then(|text| self.read_pointer("events.payload_at", &text));
        let event_type = self.read_event_texts("events.event_type", &raw.event_type);
        let account = self.read_accounts("events.account", raw.account);
        let ended_account = self.read_accounts("events.ended_account", raw.ended_account);
        let answer_status = raw.answer_status.unwrap_or(DEFAULT_ANSWER_STATUS);
        if !ANSWER_STATUSES.contains(&answer_status) {
            self.add_problem("events.answer_status", "must be 200, 202 or 204");
        }
        let secret_handshake =
            raw.secret_handshake.map(|raw| self.read_secret_handshake("events.secret_handshake", raw));
        Some(AppEvents {
            docs: raw.docs,
            signature: signature?,
            handshake: raw.handshake,
            challenge,
            when,
            payload_at,
            event_type,
            access_ended: raw.access_ended,
            account,
            ended_account,
            forward_access_ended: raw.forward_access_ended,
            answer_status,
            secret_handshake,
        })
    }

    fn read_secret_handshake(&mut self, at: &str, raw: RawSecretHandshake) -> SecretHandshake {
        if raw.header.is_some() == raw.at.is_some() {
            self.add_problem(at, "must have either header or at, the location of the secret");
        }
        SecretHandshake {
            header: raw.header.and_then(|name| self.read_header_name(&format!("{at}.header"), name)),
            at: raw.at.and_then(|text| self.read_pointer(&format!("{at}.at"), &text)),
        }
    }

    fn read_challenge(&mut self, at: &str, raw: RawChallenge) -> EventChallenge {
        if let Some(name) = &raw.query {
            self.check_affix(&format!("{at}.query"), name);
        }
        let places = usize::from(raw.query.is_some()) + usize::from(raw.at.is_some());
        if places != usize::from(raw.answer != ChallengeAnswer::Empty) {
            let problem =
                "must have either query or at, the location of the value; or the answer \"empty\" and neither";
            self.add_problem(at, problem);
        }
        let pointer = raw.at.and_then(|text| self.read_pointer(&format!("{at}.at"), &text));
        if pointer.is_some() && raw.method == ChallengeMethod::Get {
            self.add_problem(&format!("{at}.at"), "is in a body, and a GET has none; use query");
        }
        let when = raw.when.and_then(|condition| self.read_condition(&format!("{at}.when"), &condition));
        EventChallenge {
            method: raw.method,
            query: raw.query,
            at: pointer,
            answer: raw.answer,
            signed: raw.signed,
            when,
        }
    }

    fn read_condition(&mut self, at: &str, raw: &RawCondition) -> Option<EventCondition> {
        let value = self.read_event_text(&format!("{at}.value"), &raw.value);
        let pattern = self.read_pattern(&format!("{at}.pattern"), Some(&raw.pattern));
        Some(EventCondition { value: value?, pattern: pattern? })
    }

    fn read_event_text(&mut self, field: &str, text: &str) -> Option<EventText> {
        self.check_text(field, text, MAX_TEXT_LENGTH);
        let read = EventText::parse(text);
        if read.is_none() {
            let problem = "must have a place such as {/event/type}, a JSON pointer into the body, or {header:X-Topic}";
            self.add_problem(field, problem);
        }
        read
    }

    fn read_event_texts(&mut self, field: &str, texts: &[String]) -> Vec<EventText> {
        self.check_entry_count(field, texts.len());
        let read = |(at, text): (usize, &String)| self.read_event_text(&format!("{field}[{at}]"), text);
        texts.iter().enumerate().filter_map(read).collect()
    }

    fn read_accounts(&mut self, field: &str, raw: Vec<RawAccount>) -> Vec<AccountInEvent> {
        self.check_entry_count(field, raw.len());
        let mut accounts = Vec::with_capacity(raw.len());
        for (at, raw) in raw.into_iter().enumerate() {
            let value = self.read_event_text(&format!("{field}[{at}].value"), &raw.value);
            let pattern = self.read_pattern(&format!("{field}[{at}].pattern"), raw.pattern.as_deref());
            accounts.extend(value.map(|value| AccountInEvent { value, pattern, r#match: raw.r#match }));
        }
        accounts
    }

    fn read_signature(&mut self, at: &str, raw: RawSignature) -> Option<WebhookSignature> {
        self.check_members_fit_scheme(at, &raw);
        if let Some(prefix) = &raw.prefix {
            self.check_affix(&format!("{at}.prefix"), prefix);
        }
        match raw.scheme {
            SignatureScheme::HmacSha256 => self.read_request_signature(at, raw).map(WebhookSignature::HmacSha256),
            SignatureScheme::HmacSha1 => self.read_request_signature(at, raw).map(WebhookSignature::HmacSha1),
            SignatureScheme::Ed25519 => self.read_request_signature(at, raw).map(WebhookSignature::Ed25519),
            SignatureScheme::EcdsaP256 => self.read_request_signature(at, raw).map(WebhookSignature::EcdsaP256),
            SignatureScheme::SharedSecret => self.read_shared_secret(at, raw).map(WebhookSignature::SharedSecret),
            SignatureScheme::Jwt => self.read_jwt(at, raw).map(WebhookSignature::Jwt),
            SignatureScheme::JwtHs256 => self.read_jwt_secret(at, raw).map(WebhookSignature::JwtHs256),
            SignatureScheme::None => Some(WebhookSignature::None),
        }
    }

    fn check_members_fit_scheme(&mut self, at: &str, raw: &RawSignature) {
        let hmac = matches!(raw.scheme, SignatureScheme::HmacSha256 | SignatureScheme::HmacSha1);
        let signed = hmac || matches!(raw.scheme, SignatureScheme::Ed25519 | SignatureScheme::EcdsaP256);
        let shared = raw.scheme == SignatureScheme::SharedSecret;
        let jwt = raw.scheme == SignatureScheme::Jwt;
        let with_token = jwt || raw.scheme == SignatureScheme::JwtHs256;
        let fits = [
            ("header", raw.header.is_some(), raw.scheme != SignatureScheme::None),
            ("prefix", raw.prefix.is_some(), signed || with_token || shared && raw.header.is_some()),
            ("secret", raw.secret.is_some(), raw.scheme != SignatureScheme::None && !jwt),
            ("parts", raw.parts.is_some(), signed),
            ("encoding", raw.encoding.is_some(), signed),
            ("signed", raw.signed.is_some(), signed),
            ("timestamp_header", raw.timestamp_header.is_some(), signed),
            ("timestamp_at", raw.timestamp_at.is_some(), signed),
            ("timestamp_format", raw.timestamp_format.is_some(), signed),
            ("tolerance", raw.tolerance.is_some(), signed),
            ("second_header", raw.second_header.is_some(), signed),
            ("id_header", raw.id_header.is_some(), signed),
            ("id_at", raw.id_at.is_some(), signed),
            ("may_repeat", raw.may_repeat.is_some(), signed),
            ("secret_encoding", raw.secret_encoding.is_some(), hmac),
            ("secret_prefix", raw.secret_prefix.is_some(), hmac),
            ("is_client_secret", raw.is_client_secret.is_some(), hmac),
            ("query", raw.query.is_some(), shared),
            ("at", raw.at.is_some(), shared),
            ("issuer", raw.issuer.is_some(), jwt),
            ("keys", raw.keys.is_some(), jwt),
            ("claims", raw.claims.is_some(), jwt),
            ("sender_claim", raw.sender_claim.is_some(), jwt),
        ];
        for (member, present, fits) in fits {
            if present && !fits {
                self.add_problem(
                    &format!("{at}.{member}"),
                    format!("is no option of \"{}\"; remove it", raw.scheme.as_str()),
                );
            }
        }
    }

    fn read_request_signature(&mut self, at: &str, raw: RawSignature) -> Option<RequestSignature> {
        let told = self.read_timestamp_location(at, &raw);
        let header = self.require_header(&format!("{at}.header"), raw.header);
        let secret = self.require_text(&format!("{at}.secret"), raw.secret);
        let signed =
            self.read_signed_template(&format!("{at}.signed"), raw.signed.as_deref().unwrap_or("{body}"), told);
        if raw.prefix.is_some() && raw.parts.is_some() {
            let problem = "can't stand beside \"parts\", which names what stands before; remove one";
            self.add_problem(&format!("{at}.prefix"), problem);
        }
        let parts = raw.parts.map(|parts| self.read_header_parts(&format!("{at}.parts"), parts));
        let timestamp_header =
            raw.timestamp_header.and_then(|name| self.read_header_name(&format!("{at}.timestamp_header"), name));
        let timestamp_at = raw.timestamp_at.and_then(|text| self.read_pointer(&format!("{at}.timestamp_at"), &text));
        let second_header =
            raw.second_header.and_then(|name| self.read_header_name(&format!("{at}.second_header"), name));
        let id_header = raw.id_header.and_then(|name| self.read_header_name(&format!("{at}.id_header"), name));
        let id_at = raw.id_at.and_then(|text| self.read_pointer(&format!("{at}.id_at"), &text));
        if let Some(prefix) = &raw.secret_prefix {
            self.check_affix(&format!("{at}.secret_prefix"), prefix);
        }
        let signs = |name: &str| signed.as_ref().is_some_and(|signed| signed.placeholders().any(|one| one == name));
        if id_header.is_none() && signs("id") {
            self.add_problem(&format!("{at}.signed"), "uses {id}, but its location is missing: add id_header");
        }
        // A time in the body may be that of the event: only the definition knows how much later it is sent.
        let tolerance = raw.tolerance.or_else(|| signs("timestamp").then_some(DEFAULT_TOLERANCE));
        Some(RequestSignature {
            header: header?,
            second_header,
            prefix: raw.prefix,
            parts,
            encoding: raw.encoding.unwrap_or_default(),
            signed: signed?,
            timestamp_header,
            timestamp_at,
            timestamp_format: told.map(|_| raw.timestamp_format.unwrap_or_default()),
            tolerance,
            id_header,
            id_at,
            may_repeat: raw.may_repeat.unwrap_or_default(),
            secret: secret?,
            secret_encoding: raw.secret_encoding.unwrap_or_default(),
            secret_prefix: raw.secret_prefix,
            is_client_secret: raw.is_client_secret.unwrap_or_default(),
        })
    }

    /// Where the time of sending is, if it is sent.
    fn read_timestamp_location(&mut self, at: &str, raw: &RawSignature) -> Option<TimestampLocation> {
        let in_parts = raw.parts.as_ref().is_some_and(|parts| parts.timestamp.is_some());
        let places = [
            (raw.timestamp_header.is_some(), TimestampLocation::InHeader),
            (in_parts, TimestampLocation::InHeader),
            (raw.timestamp_at.is_some(), TimestampLocation::InBody),
        ];
        let mut told = places.into_iter().filter(|(present, _)| *present).map(|(_, place)| place);
        let first = told.next();
        if told.next().is_some() {
            let problem = "has the time of sending in several places; \
                leave one of timestamp_header, timestamp_at, parts.timestamp";
            self.add_problem(at, problem);
        }
        for (member, present) in
            [("tolerance", raw.tolerance.is_some()), ("timestamp_format", raw.timestamp_format.is_some())]
        {
            if present && first.is_none() {
                let problem = "needs a time of sending: add timestamp_header, timestamp_at or parts.timestamp";
                self.add_problem(&format!("{at}.{member}"), problem);
            }
        }
        self.check_seconds(&format!("{at}.tolerance"), raw.tolerance);
        first
    }

    fn read_signed_template(&mut self, field: &str, text: &str, told: Option<TimestampLocation>) -> Option<Template> {
        self.check_text(field, text, MAX_TEXT_LENGTH);
        let Some(template) = Template::parse(text) else {
            self.add_problem(
                field,
                "has a brace without its partner, or a place whose name is not letters, digits and _",
            );
            return None;
        };
        if let Some(name) = template.placeholders().find(|name| !SIGNED_PLACEHOLDERS.contains(name)) {
            self.add_problem(
                field,
                format!("has a place for {name}; only body, timestamp, method, url, id and form are known here"),
            );
        }
        if !template.placeholders().any(|name| matches!(name, "body" | "form")) {
            self.add_problem(field, "must have {body} in it: else the signature holds for any body");
        }
        if told != Some(TimestampLocation::InHeader) && template.placeholders().any(|name| name == "timestamp") {
            self.add_problem(
                field,
                "uses {timestamp}, but its location is missing: add timestamp_header or parts.timestamp",
            );
        }
        Some(template)
    }

    fn read_header_parts(&mut self, at: &str, raw: RawParts) -> SignatureHeaderParts {
        self.check_affix(&format!("{at}.signature"), &raw.signature);
        if let Some(name) = &raw.timestamp {
            self.check_affix(&format!("{at}.timestamp"), name);
        }
        let (separator, assign) = (raw.separator.unwrap_or(','), raw.assign.unwrap_or('='));
        if separator == assign || !separator.is_ascii() || !assign.is_ascii() {
            self.add_problem(at, "must have two different ASCII characters as separator and assign");
        }
        SignatureHeaderParts { signature: raw.signature, timestamp: raw.timestamp, separator, assign }
    }

    fn read_shared_secret(&mut self, at: &str, raw: RawSignature) -> Option<SharedSecret> {
        let places = [raw.header.is_some(), raw.query.is_some(), raw.at.is_some()];
        if places.into_iter().filter(|is_set| *is_set).count() != 1 {
            self.add_problem(at, "must have one of header, query and at: the location of the secret");
        }
        if let Some(name) = &raw.query {
            self.check_affix(&format!("{at}.query"), name);
        }
        let header = raw.header.and_then(|name| self.read_header_name(&format!("{at}.header"), name));
        let pointer = raw.at.and_then(|text| self.read_pointer(&format!("{at}.at"), &text));
        let secret = self.require_text(&format!("{at}.secret"), raw.secret);
        Some(SharedSecret { header, prefix: raw.prefix, query: raw.query, at: pointer, secret: secret? })
    }

    fn read_jwt_secret(&mut self, at: &str, raw: RawSignature) -> Option<JwtSecret> {
        let header = self.require_header(&format!("{at}.header"), raw.header);
        let secret = self.require_text(&format!("{at}.secret"), raw.secret);
        Some(JwtSecret { header: header?, prefix: raw.prefix, secret: secret? })
    }

    fn read_jwt(&mut self, at: &str, raw: RawSignature) -> Option<JwtSignature> {
        let header = self.require_header(&format!("{at}.header"), raw.header);
        let issuer = self.require_text(&format!("{at}.issuer"), raw.issuer);
        let keys = self.require_member(&format!("{at}.keys"), raw.keys);
        if let Some(keys) = &keys {
            self.check_link(&format!("{at}.keys"), keys);
        }
        let claims = self.require_text(&format!("{at}.claims"), raw.claims);
        let sender_claim = raw.sender_claim.unwrap_or_else(|| DEFAULT_SENDER_CLAIM.to_owned());
        self.check_affix(&format!("{at}.sender_claim"), &sender_claim);
        Some(JwtSignature {
            header: header?,
            prefix: raw.prefix,
            issuer: issuer?,
            keys: keys?,
            claims: claims?,
            sender_claim,
        })
    }

    fn require_member(&mut self, field: &str, text: Option<String>) -> Option<String> {
        if text.is_none() {
            self.add_problem(field, "is required");
        }
        text
    }

    fn require_text(&mut self, field: &str, text: Option<String>) -> Option<String> {
        let text = self.require_member(field, text)?;
        self.check_text(field, &text, MAX_TEXT_LENGTH);
        Some(text)
    }

    fn require_header(&mut self, field: &str, name: Option<String>) -> Option<String> {
        let name = self.require_member(field, name)?;
        self.read_header_name(field, name)
    }

    fn read_header_name(&mut self, field: &str, name: String) -> Option<String> {
        if !is_header_name(&name) {
            self.add_problem(field, "is not a header name (RFC 9110 5.1)");
            return None;
        }
        Some(name)
    }

    /// Validates the text around a value in a header.
    fn check_affix(&mut self, field: &str, text: &str) {
        let visible = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if text.trim().is_empty() || text.len() > MAX_AFFIX_LENGTH || !visible {
            self.add_problem(field, format!("must be 1 to {MAX_AFFIX_LENGTH} visible ASCII characters"));
        }
    }
}
