//! What an app sends to a webhook, in a definition.
//!
//! Owns which options belong to which scheme, and what a receiver could not do without. Refuses a signature that leaves
//! the body out, and a time of sending that stands in two places.

use serde::Deserialize;

use super::super::Template;
use super::super::events::{Encoding, Events, Hmac, Jwt, Parts, SharedSecret, Signature, TimestampFormat};
use super::Problems;
use super::rules::{LONGEST_TEXT, is_header_name};
use crate::json::objects;

/// What may stand in braces in what is signed.
const PLACES: [&str; 4] = ["body", "timestamp", "method", "url"];

/// Characters of a prefix or of a part's name, at most.
const LONGEST_MARK: usize = 30;

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawEvents {
    docs: Option<String>,
    signature: RawSignature,
    handshake: Option<String>,
    #[serde(default)]
    access_ended: Vec<String>,
}

/// All schemes' members. Which belong to which is checked afterwards: serde could not name the member.
#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawSignature {
    scheme: Scheme,
    header: Option<String>,
    prefix: Option<String>,
    secret: Option<String>,
    // An HMAC's.
    parts: Option<RawParts>,
    encoding: Option<Encoding>,
    signed: Option<String>,
    timestamp_header: Option<String>,
    timestamp_at: Option<String>,
    timestamp_format: Option<TimestampFormat>,
    tolerance: Option<i64>,
    // A shared secret's.
    at: Option<String>,
    // A token's.
    issuer: Option<String>,
    keys: Option<String>,
    claims: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Scheme {
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    SharedSecret,
    Jwt,
    None,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::SharedSecret => "shared-secret",
            Self::Jwt => "jwt",
            Self::None => "none",
        }
    }
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawParts {
    signature: String,
    timestamp: Option<String>,
}

objects!(RawEvents, RawSignature, RawParts);

/// Where the time of sending stands. One in the body is signed with the body and needs no place of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    InHeader,
    InBody,
}

impl Problems {
    pub(super) fn events(&mut self, raw: RawEvents) -> Option<Events> {
        self.optional_link("events.docs", raw.docs.as_deref());
        self.optional_text("events.handshake", raw.handshake.as_deref());
        self.texts("events.access_ended", &raw.access_ended);
        let signature = self.signature("events.signature", raw.signature)?;
        Some(Events { docs: raw.docs, signature, handshake: raw.handshake, access_ended: raw.access_ended })
    }

    fn signature(&mut self, at: &str, raw: RawSignature) -> Option<Signature> {
        self.only_of_the_scheme(at, &raw);
        if let Some(prefix) = &raw.prefix {
            self.affix(&format!("{at}.prefix"), prefix);
        }
        match raw.scheme {
            Scheme::HmacSha256 => self.hmac(at, raw).map(Signature::HmacSha256),
            Scheme::SharedSecret => self.shared_secret(at, raw).map(Signature::SharedSecret),
            Scheme::Jwt => self.jwt(at, raw).map(Signature::Jwt),
            Scheme::None => Some(Signature::None),
        }
    }

    fn only_of_the_scheme(&mut self, at: &str, raw: &RawSignature) {
        let hmac = raw.scheme == Scheme::HmacSha256;
        let shared = raw.scheme == Scheme::SharedSecret;
        let jwt = raw.scheme == Scheme::Jwt;
        let fits = [
            ("header", raw.header.is_some(), raw.scheme != Scheme::None),
            ("prefix", raw.prefix.is_some(), hmac || jwt),
            ("secret", raw.secret.is_some(), hmac || shared),
            ("parts", raw.parts.is_some(), hmac),
            ("encoding", raw.encoding.is_some(), hmac),
            ("signed", raw.signed.is_some(), hmac),
            ("timestamp_header", raw.timestamp_header.is_some(), hmac),
            ("timestamp_at", raw.timestamp_at.is_some(), hmac),
            ("timestamp_format", raw.timestamp_format.is_some(), hmac),
            ("tolerance", raw.tolerance.is_some(), hmac),
            ("at", raw.at.is_some(), shared),
            ("issuer", raw.issuer.is_some(), jwt),
            ("keys", raw.keys.is_some(), jwt),
            ("claims", raw.claims.is_some(), jwt),
        ];
        for (member, present, fits) in fits {
            if present && !fits {
                self.add(&format!("{at}.{member}"), format!("is no option of \"{}\"; remove it", raw.scheme.as_str()));
            }
        }
    }

    fn hmac(&mut self, at: &str, raw: RawSignature) -> Option<Hmac> {
        let told = self.time_of_sending(at, &raw);
        let header = self.needed_header(&format!("{at}.header"), raw.header);
        let secret = self.needed_text(&format!("{at}.secret"), raw.secret);
        let signed = self.signed(&format!("{at}.signed"), raw.signed.as_deref().unwrap_or("{body}"), told);
        if raw.prefix.is_some() && raw.parts.is_some() {
            let problem = "can't stand beside \"parts\", which names what stands before; remove one";
            self.add(&format!("{at}.prefix"), problem);
        }
        let parts = raw.parts.map(|parts| self.parts(&format!("{at}.parts"), parts));
        let timestamp_header =
            raw.timestamp_header.and_then(|name| self.header(&format!("{at}.timestamp_header"), name));
        let timestamp_at = raw.timestamp_at.and_then(|text| self.pointer(&format!("{at}.timestamp_at"), &text));
        Some(Hmac {
            header: header?,
            prefix: raw.prefix,
            parts,
            encoding: raw.encoding.unwrap_or_default(),
            signed: signed?,
            timestamp_header,
            timestamp_at,
            timestamp_format: told.map(|_| raw.timestamp_format.unwrap_or_default()),
            tolerance: raw.tolerance,
            secret: secret?,
        })
    }

    /// Where the time of sending stands, if it is told.
    fn time_of_sending(&mut self, at: &str, raw: &RawSignature) -> Option<Told> {
        let in_parts = raw.parts.as_ref().is_some_and(|parts| parts.timestamp.is_some());
        let places = [
            (raw.timestamp_header.is_some(), Told::InHeader),
            (in_parts, Told::InHeader),
            (raw.timestamp_at.is_some(), Told::InBody),
        ];
        let mut told = places.into_iter().filter(|(present, _)| *present).map(|(_, place)| place);
        let first = told.next();
        if told.next().is_some() {
            let problem = "has the time of sending in several places; \
                leave one of timestamp_header, timestamp_at, parts.timestamp";
            self.add(at, problem);
        }
        for (member, present) in
            [("tolerance", raw.tolerance.is_some()), ("timestamp_format", raw.timestamp_format.is_some())]
        {
            if present && first.is_none() {
                let problem = "needs a time of sending: add timestamp_header, timestamp_at or parts.timestamp";
                self.add(&format!("{at}.{member}"), problem);
            }
        }
        self.seconds(&format!("{at}.tolerance"), raw.tolerance);
        first
    }

    fn signed(&mut self, field: &str, text: &str, told: Option<Told>) -> Option<Template> {
        self.text(field, text, LONGEST_TEXT);
        let Some(template) = Template::parse(text) else {
            self.add(field, "has a brace without its partner, or a place whose name is not letters, digits and _");
            return None;
        };
        if let Some(name) = template.places().find(|name| !PLACES.contains(name)) {
            self.add(field, format!("has a place for {name}; only body, timestamp, method and url are known here"));
        }
        if !template.places().any(|name| name == "body") {
            self.add(field, "must have {body} in it: else the signature holds for any body");
        }
        if told != Some(Told::InHeader) && template.places().any(|name| name == "timestamp") {
            self.add(field, "has a place for timestamp, which stands nowhere: add timestamp_header or parts.timestamp");
        }
        Some(template)
    }

    fn parts(&mut self, at: &str, raw: RawParts) -> Parts {
        self.affix(&format!("{at}.signature"), &raw.signature);
        if let Some(name) = &raw.timestamp {
            self.affix(&format!("{at}.timestamp"), name);
        }
        Parts { signature: raw.signature, timestamp: raw.timestamp }
    }

    fn shared_secret(&mut self, at: &str, raw: RawSignature) -> Option<SharedSecret> {
        if raw.header.is_some() == raw.at.is_some() {
            self.add(at, "needs either header or at: where the secret stands");
        }
        let header = raw.header.and_then(|name| self.header(&format!("{at}.header"), name));
        let pointer = raw.at.and_then(|text| self.pointer(&format!("{at}.at"), &text));
        let secret = self.needed_text(&format!("{at}.secret"), raw.secret);
        Some(SharedSecret { header, at: pointer, secret: secret? })
    }

    fn jwt(&mut self, at: &str, raw: RawSignature) -> Option<Jwt> {
        let header = self.needed_header(&format!("{at}.header"), raw.header);
        let issuer = self.needed_text(&format!("{at}.issuer"), raw.issuer);
        let keys = self.needed(&format!("{at}.keys"), raw.keys);
        if let Some(keys) = &keys {
            self.link(&format!("{at}.keys"), keys);
        }
        let claims = self.needed_text(&format!("{at}.claims"), raw.claims);
        Some(Jwt { header: header?, prefix: raw.prefix, issuer: issuer?, keys: keys?, claims: claims? })
    }

    fn needed(&mut self, field: &str, text: Option<String>) -> Option<String> {
        if text.is_none() {
            self.add(field, "is required");
        }
        text
    }

    fn needed_text(&mut self, field: &str, text: Option<String>) -> Option<String> {
        let text = self.needed(field, text)?;
        self.text(field, &text, LONGEST_TEXT);
        Some(text)
    }

    fn needed_header(&mut self, field: &str, name: Option<String>) -> Option<String> {
        let name = self.needed(field, name)?;
        self.header(field, name)
    }

    fn header(&mut self, field: &str, name: String) -> Option<String> {
        if !is_header_name(&name) {
            self.add(field, "is not a header name (RFC 9110 5.1)");
            return None;
        }
        Some(name)
    }

    /// What tells a value in a header from what stands around it.
    fn affix(&mut self, field: &str, text: &str) {
        let visible = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if text.trim().is_empty() || text.len() > LONGEST_MARK || !visible {
            self.add(field, format!("must be 1 to {LONGEST_MARK} visible ASCII characters"));
        }
    }
}
