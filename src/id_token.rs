//! Signed tokens that say who somebody is: ID tokens (`OpenID` Connect Core 2) and the tokens of Cloudflare Access.
//!
//! Owns every check of such a token: its form, algorithm, issuer, audience, times, nonce and signature. What it says can
//! be read only after all of them. Fetches no keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::app::SigningAlgorithm;
use crate::caller::constant_time_eq;
use crate::json::tolerant;
use crate::ports::Verifier;
use crate::time::Timestamp;
use crate::verifying_key::{PublicKeys, VerifyingKey, parse_algorithm};

/// Characters of a token, at most.
const MAX_TOKEN_LENGTH: usize = 64 * 1024;
/// Seconds that clocks may differ.
const CLOCK_TOLERANCE: i64 = 60;
/// Characters of a subject, at most (`OpenID` Connect Core 2).
const MAX_SUBJECT_LENGTH: usize = 255;
/// Characters of a name or address, at most.
const MAX_NAME_LENGTH: usize = 128;
/// Characters of an e-mail address, at most (RFC 5321 4.5.3.1).
const MAX_EMAIL_LENGTH: usize = 320;
/// Groups that are read, at most.
const MAX_GROUPS: usize = 1000;

/// Why a token was refused. `Display` is a code for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// It is no signed token, or a member has another form.
    #[error("malformed")]
    Malformed,
    /// It is not signed, or with an algorithm that is not accepted.
    #[error("algorithm")]
    Algorithm,
    /// It is of another issuer.
    #[error("issuer")]
    Issuer,
    /// It is for somebody else.
    #[error("audience")]
    Audience,
    /// It has expired, or is not valid yet.
    #[error("time")]
    Time,
    /// It is the answer to another request.
    #[error("nonce")]
    Nonce,
    /// The issuer has no such key.
    #[error("unknown_key")]
    UnknownKey,
    /// It was changed, or somebody else signed it.
    #[error("signature")]
    Signature,
    /// The platform could not check it.
    #[error("not_checked")]
    NotChecked,
}

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The issuer, exactly.
    pub issuer: &'a str,
    /// Whom it is for.
    pub audience: &'a str,
    /// The nonce of the request. None: there was no request.
    pub nonce: Option<&'a str>,
    /// Whether it may name any party that it was given to: who that was is decided by another claim.
    pub any_party: bool,
    /// Now.
    pub now: Timestamp,
}

/// Who somebody is, as an issuer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifiedIdentity {
    /// The issuer's id of the person. Never given to anybody else.
    pub subject: String,
    /// A name to show.
    pub name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// Whether the issuer has checked that the address is the person's.
    pub is_email_verified: bool,
    /// The person's groups.
    pub groups: Vec<String>,
}

/// A token whose signature is not checked yet.
pub struct SignedToken<'a> {
    algorithm: SigningAlgorithm,
    key_id: Option<String>,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Value,
}

/// What it says is not known to be true.
impl std::fmt::Debug for SignedToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignedToken({:?})", self.algorithm)
    }
}

/// The parts of a token, nothing of which is checked but its form.
pub(crate) struct TokenParts<'a> {
    /// Its header.
    pub(crate) header: Value,
    /// What it says.
    pub(crate) claims: Value,
    /// The text that is signed.
    pub(crate) signed: &'a str,
    /// Its signature.
    pub(crate) signature: Vec<u8>,
}

impl<'a> TokenParts<'a> {
    /// Reads the compact form (RFC 7515 7.1).
    ///
    /// # Errors
    /// It has another form.
    pub(crate) fn parse(text: &'a str) -> Result<Self, IdTokenError> {
        if text.len() > MAX_TOKEN_LENGTH {
            return Err(IdTokenError::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(IdTokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(IdTokenError::Malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| IdTokenError::Malformed);
        let object =
            |part: &str| tolerant::parse(&decode(part)?).filter(Value::is_object).ok_or(IdTokenError::Malformed);
        let header = object(header)?;
        // What is critical is not known here (RFC 7515 4.1.11).
        if header.get("crit").is_some() {
            return Err(IdTokenError::Malformed);
        }
        Ok(Self { header, claims: object(claims)?, signed, signature: decode(signature)? })
    }
}

/// Whether a token is valid now: `exp` and `iat`, which it must have, and `nbf`.
///
/// # Errors
/// It is not, or a time has another form.
pub(crate) fn check_times(claims: &Value, now: Timestamp) -> Result<(), IdTokenError> {
    let time = |name: &str| claims.get(name).map(|value| value.as_f64().ok_or(IdTokenError::Malformed));
    let required = |name: &str| time(name).unwrap_or(Err(IdTokenError::Malformed));
    let now = seconds(now);
    let tolerance = seconds(Timestamp::from_unix(CLOCK_TOLERANCE));
    let not_before = time("nbf").transpose()?.unwrap_or(now);
    if required("exp")? <= now - tolerance || required("iat")? > now + tolerance || not_before > now + tolerance {
        return Err(IdTokenError::Time);
    }
    Ok(())
}

impl<'a> SignedToken<'a> {
    /// Reads the compact form (RFC 7515 7.1).
    ///
    /// # Errors
    /// It has another form, or an algorithm that is not accepted.
    pub fn parse(text: &'a str) -> Result<Self, IdTokenError> {
        let TokenParts { header, claims, signed, signature } = TokenParts::parse(text)?;
        let name = header.get("alg").and_then(Value::as_str).ok_or(IdTokenError::Malformed)?;
        let algorithm = parse_algorithm(name).ok_or(IdTokenError::Algorithm)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(id) => Some(id.as_str().ok_or(IdTokenError::Malformed)?.to_owned()),
        };
        Ok(Self { algorithm, key_id, signed, signature, claims })
    }

    /// The key that it was signed with, if the issuer has published it.
    pub fn find_key<'k>(&self, keys: &'k PublicKeys) -> Option<&'k VerifyingKey> {
        keys.find(self.algorithm, self.key_id.as_deref())
    }

    /// Checks all but the signature: what fails here needs no key.
    ///
    /// # Errors
    /// The first violated rule (`OpenID` Connect Core 3.1.3.7).
    pub fn check_claims(&self, expected: &Expected<'_>) -> Result<(), IdTokenError> {
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(expected.issuer) {
            return Err(IdTokenError::Issuer);
        }
        self.check_audience(expected.audience, expected.any_party)?;
        check_times(&self.claims, expected.now)?;
        if let Some(nonce) = expected.nonce
            && !text("nonce").is_some_and(|said| constant_time_eq(said, nonce))
        {
            return Err(IdTokenError::Nonce);
        }
        let is_subject = |text: &str| {
            (1..=MAX_SUBJECT_LENGTH).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        };
        text("sub").filter(|text| is_subject(text)).map(|_| ()).ok_or(IdTokenError::Malformed)
    }

    /// A token for several needs to say which of them it was given to.
    fn check_audience(&self, audience: &str, any_party: bool) -> Result<(), IdTokenError> {
        let (is_for_us, is_for_others) = match self.claims.get("aud") {
            Some(Value::String(one)) => (one == audience, false),
            Some(Value::Array(all)) => (all.iter().any(|one| one == audience), all.iter().any(|one| one != audience)),
            _ => (false, true),
        };
        let party = self.claims.get("azp").filter(|_| !any_party);
        if is_for_us && party.map_or(!is_for_others, |party| party == audience) {
            Ok(())
        } else {
            Err(IdTokenError::Audience)
        }
    }

    /// Checks everything, and returns who it is.
    ///
    /// # Errors
    /// The first violated rule.
    pub async fn verify(
        &self,
        verifier: &impl Verifier,
        keys: &PublicKeys,
        expected: &Expected<'_>,
    ) -> Result<VerifiedIdentity, IdTokenError> {
        self.check_claims(expected)?;
        let key = self.find_key(keys).ok_or(IdTokenError::UnknownKey)?;
        match verifier.verify(self.algorithm, key, self.signed.as_bytes(), &self.signature).await {
            Ok(true) => Ok(self.read_identity()),
            Ok(false) => Err(IdTokenError::Signature),
            Err(_) => Err(IdTokenError::NotChecked),
        }
    }

    fn read_identity(&self) -> VerifiedIdentity {
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str).and_then(clean_text);
        let groups = self.claims.get("groups").or_else(|| self.claims.get("custom")?.get("groups"));
        let groups = groups.and_then(Value::as_array).into_iter().flatten();
        // As it was sent: a part of an address is another address.
        let is_address = |text: &&str| text.len() <= MAX_EMAIL_LENGTH && !text.chars().any(char::is_control);
        let email = self.claims.get("email").and_then(Value::as_str).filter(is_address).map(str::to_owned);
        VerifiedIdentity {
            subject: self.claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned(),
            name: text("name").or_else(|| text("preferred_username")).or_else(|| text("email")),
            is_email_verified: self.claims.get("email_verified") == Some(&Value::Bool(true)),
            email,
            groups: groups.filter_map(Value::as_str).take(MAX_GROUPS).map(str::to_owned).collect(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time in seconds is far below 2^53")]
fn seconds(time: Timestamp) -> f64 {
    time.unix() as f64
}

/// A text that people see.
fn clean_text(text: &str) -> Option<String> {
    let text: String = text.trim().chars().filter(|one| !one.is_control()).take(MAX_NAME_LENGTH).collect();
    Some(text).filter(|text| !text.is_empty())
}
