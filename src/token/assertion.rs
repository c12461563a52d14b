//! Signed assertions: JWTs that are a grant or authenticate a client (RFC 7523, RFC 7515).
//!
//! Owns the signing keys, the claims and the compact serialisation. The platform signs, behind [`Signer`]. Never reads
//! an assertion, so nothing here can be deceived by one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::app::SigningAlgorithm;
use crate::ports::{Signer, SigningError};
use crate::random::{NoRandomness, Random};
use crate::secret::Secret;
use crate::signing_key::SigningKey;
use crate::time::Timestamp;

/// The longest lifetime of a grant's assertion, in seconds. Apps that document a limit have this one.
pub const MAX_GRANT_ASSERTION_LIFETIME: i64 = 3600;

/// Lifetime of a client's assertion, in seconds. Apps recommend five to ten minutes at most.
const CLIENT_ASSERTION_LIFETIME: i64 = 300;

/// The key of an assertion, and what the header says about it.
#[derive(Debug, Clone, Copy)]
pub struct SigningParams<'a> {
    /// The key.
    pub key: &'a SigningKey,
    /// The algorithm that the app requires. The key must support it.
    pub algorithm: SigningAlgorithm,
    /// `kid`: the app's name for the key.
    pub key_id: Option<&'a str>,
    /// `x5t#S256`: the SHA-256 of the certificate's DER in unpadded base64url (RFC 7515 4.1.8).
    pub certificate: Option<&'a str>,
}

impl<'a> SigningParams<'a> {
    /// With this key, its own algorithm and nothing more in the header.
    pub fn with_key(key: &'a SigningKey) -> Self {
        Self { key, algorithm: key.algorithm(), key_id: None, certificate: None }
    }
}

/// The claims of an assertion that is a grant (RFC 7523 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantClaims<'a> {
    /// `iss`: the signer.
    pub issuer: &'a str,
    /// `sub`: the account. Some apps accept none.
    pub subject: Option<&'a str>,
    /// `aud`: usually the token endpoint.
    pub audience: &'a str,
    /// `scope`: the requested scopes, joined in the app's way. Some apps accept none here.
    pub scope: Option<&'a str>,
    /// Lifetime in seconds, at most [`MAX_GRANT_ASSERTION_LIFETIME`].
    pub lifetime: i64,
}

/// An assertion's claims (RFC 7523 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AssertionClaims<'a> {
    iss: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    iat: i64,
    exp: i64,
}

impl<'a> AssertionClaims<'a> {
    /// Claims of a grant (RFC 7523 2.1).
    pub fn for_grant(grant: GrantClaims<'a>, now: Timestamp) -> Self {
        Self {
            iss: grant.issuer,
            sub: grant.subject,
            aud: grant.audience,
            scope: grant.scope,
            jti: None,
            nbf: None,
            iat: now.unix(),
            exp: now.plus(grant.lifetime.clamp(1, MAX_GRANT_ASSERTION_LIFETIME)).unix(),
        }
    }

    /// Claims that authenticate a client at an audience, usually the token endpoint (RFC 7523 2.2, `OpenID` Connect
    /// Core 9).
    pub fn for_client(
        client_id: &'a str,
        audience: &'a str,
        random: &impl Random,
        now: Timestamp,
    ) -> Result<Self, NoRandomness> {
        Ok(Self {
            iss: client_id,
            sub: Some(client_id),
            aud: audience,
            scope: None,
            jti: Some(random_uuid(random)?),
            // Some apps require it.
            nbf: Some(now.unix()),
            iat: now.unix(),
            exp: now.plus(CLIENT_ASSERTION_LIFETIME).unix(),
        })
    }
}

#[derive(Serialize)]
struct AssertionHeader<'a> {
    alg: SigningAlgorithm,
    typ: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    #[serde(rename = "x5t#S256", skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a str>,
}

/// A signed assertion in the JWS compact serialisation (RFC 7515 3.1). Anybody who has it can use it until it expires.
pub async fn sign_assertion<S: Signer>(
    signer: &S,
    signature: SigningParams<'_>,
    claims: &AssertionClaims<'_>,
) -> Result<Secret, SigningError> {
    let SigningParams { key, algorithm, key_id: kid, certificate } = signature;
    if !key.can_sign_with(algorithm) {
        return Err(SigningError::Key);
    }
    let header = encode_part(&AssertionHeader { alg: algorithm, typ: "JWT", kid, certificate })?;
    let input = format!("{header}.{}", encode_part(claims)?);
    let signature = signer.sign(algorithm, key, input.as_bytes()).await?;
    Ok(Secret::new(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

fn encode_part(value: &impl Serialize) -> Result<String, SigningError> {
    let json = serde_json::to_vec(value).map_err(|_| SigningError::Failed("json"))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// A random UUID (RFC 9562 5.4): some apps require this form of the `jti`.
fn random_uuid(random: &impl Random) -> Result<String, NoRandomness> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

#[cfg(test)]
mod tests;
