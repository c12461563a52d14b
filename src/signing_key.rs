//! The signing keys: a PEM text, or a key file of an app.
//!
//! Owns which keys are accepted, and the sentences that explain a refusal to a person. Accepts only plain PKCS#8,
//! because the platform imports only that. No sentence contains a part of the key.

mod der;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::app::SigningAlgorithm;

use der::KeyContent;

/// The largest key or key file that is read, in bytes. A 4096-bit RSA key takes 3 272 in PEM.
pub const MAX_KEY_BYTES: usize = 16 * 1024;

/// The shortest RSA modulus that may sign, in bits (RFC 7518 3.3, 3.5).
const MIN_RSA_BITS: usize = 2048;

/// The command that converts other formats.
const CONVERT_COMMAND: &str = "openssl pkcs8 -topk8 -nocrypt -in key.pem -out pkcs8.pem";

/// Why a key or key file cannot be used: sentences for a person, without any part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SigningKeyError(pub String);

impl SigningKeyError {
    fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// The supported types of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningKeyKind {
    /// RSA, 2048 bits or more.
    Rsa,
    /// ECDSA on the curve P-256.
    P256,
    /// Ed25519. Nothing is signed with it.
    Ed25519,
}

impl SigningAlgorithm {
    /// The kind of key it takes.
    pub fn key_kind(self) -> SigningKeyKind {
        match self {
            Self::Rs256 | Self::Ps256 => SigningKeyKind::Rsa,
            Self::Es256 => SigningKeyKind::P256,
            Self::EdDsa => SigningKeyKind::Ed25519,
        }
    }
}

/// A private key for signing, as PKCS#8. Its memory is overwritten when dropped (best effort).
#[derive(Clone)]
pub struct SigningKey {
    kind: SigningKeyKind,
    der: Zeroizing<Vec<u8>>,
}

impl SigningKey {
    /// Reads the first private key of a PEM text (RFC 7468 10). Line ends may be missing, escaped (`\n`) or CRLF, and
    /// other blocks or text may surround it.
    pub fn from_pem(text: &str) -> Result<Self, SigningKeyError> {
        check_key_size(text)?;
        let mut others = false;
        let mut rest = text;
        while let Some((label, body, after)) = next_pem_block(rest)? {
            if label.ends_with("PRIVATE KEY") {
                return Self::from_block(label, body);
            }
            others = true;
            rest = after;
        }
        Err(SigningKeyError::new(if others {
            "There is no private key in this PEM text, only other things such as a certificate or a public key."
        } else {
            "This is not a private key in PEM: the line -----BEGIN PRIVATE KEY----- is missing."
        }))
    }

    fn from_block(label: &str, body: &str) -> Result<Self, SigningKeyError> {
        let envelope = match label {
            "PRIVATE KEY" => return Self::from_der(decode_base64(body)?),
            "RSA PRIVATE KEY" => "in the form PKCS#1 (BEGIN RSA PRIVATE KEY)",
            "EC PRIVATE KEY" => "in the form SEC1 (BEGIN EC PRIVATE KEY)",
            "ENCRYPTED PRIVATE KEY" => "encrypted with a passphrase (BEGIN ENCRYPTED PRIVATE KEY)",
            _ => {
                return Err(SigningKeyError::new(
                    "The private key is in a form that is not known here: plain PKCS#8 (BEGIN PRIVATE KEY) is needed.",
                ));
            }
        };
        Err(SigningKeyError(format!(
            "The private key is {envelope}, but plain PKCS#8 is needed. Convert it: {CONVERT_COMMAND}"
        )))
    }

    fn from_der(der: Zeroizing<Vec<u8>>) -> Result<Self, SigningKeyError> {
        let kind = match der::read_key_content(&der) {
            Some(KeyContent::Rsa(bits)) if bits >= MIN_RSA_BITS => SigningKeyKind::Rsa,
            Some(KeyContent::P256) => SigningKeyKind::P256,
            Some(KeyContent::Rsa(bits)) => {
                let sentence = format!("The private key is an RSA key of {bits} bits, but {MIN_RSA_BITS} are needed.");
                return Err(SigningKeyError(sentence));
            }
            Some(KeyContent::Other(name)) => {
                return Err(SigningKeyError(format!("The private key is {name}, but RSA or EC P-256 is needed.")));
            }
            None => return Err(SigningKeyError::new("The private key is damaged: what it holds is not PKCS#8.")),
        };
        Ok(Self { kind, der })
    }

    /// Which kind it is.
    #[cfg(test)]
    pub(crate) fn kind(&self) -> SigningKeyKind {
        self.kind
    }

    /// Its default algorithm: RS256 or ES256.
    pub fn algorithm(&self) -> SigningAlgorithm {
        match self.kind {
            SigningKeyKind::Rsa => SigningAlgorithm::Rs256,
            SigningKeyKind::P256 => SigningAlgorithm::Es256,
            SigningKeyKind::Ed25519 => SigningAlgorithm::EdDsa,
        }
    }

    /// Whether it supports an algorithm.
    pub fn can_sign_with(&self, algorithm: SigningAlgorithm) -> bool {
        algorithm.key_kind() == self.kind
    }

    /// The PKCS#8 document. Review every caller.
    pub fn expose_der(&self) -> &[u8] {
        &self.der
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, [redacted])", self.kind)
    }
}

/// Where the values of a key file are, as JSON pointers (RFC 6901).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFilePointers<'a> {
    /// The signer: `iss`.
    pub issuer: &'a str,
    /// The private key in PEM.
    pub private_key: &'a str,
    /// The app's name for the key: `kid`. `None` if its key files have none.
    pub key_id: Option<&'a str>,
}

/// A key file that an app issued to a person.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// The signer.
    pub issuer: String,
    /// The key.
    pub key: SigningKey,
    /// The app's name for the key, if the file has one.
    pub key_id: Option<String>,
}

impl KeyFile {
    /// Reads a key file.
    pub fn parse(text: &str, at: KeyFilePointers<'_>) -> Result<Self, SigningKeyError> {
        check_key_size(text)?;
        let text = text.trim_start_matches('\u{feff}');
        let mut file: Value =
            serde_json::from_str(text).map_err(|_| SigningKeyError::new("The key file is not JSON."))?;
        // The key first: its text is overwritten, whatever else is wrong.
        let pem = take_required(&mut file, at.private_key, "private key").map(Zeroizing::new)?;
        let issuer = take_required(&mut file, at.issuer, "issuer")?;
        let key_id = at.key_id.map_or(Ok(None), |pointer| take_optional(&mut file, pointer, "key id"))?;
        Ok(Self { issuer, key: SigningKey::from_pem(&pem)?, key_id })
    }
}

fn take_required(file: &mut Value, pointer: &str, what: &str) -> Result<String, SigningKeyError> {
    take_optional(file, pointer, what)?
        .ok_or_else(|| SigningKeyError(format!("The key file has no {what} at {pointer}.")))
}

fn take_optional(file: &mut Value, pointer: &str, what: &str) -> Result<Option<String>, SigningKeyError> {
    match file.pointer_mut(pointer).map(Value::take) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
        Some(_) => Err(SigningKeyError(format!("The key file's {what} at {pointer} is not text."))),
    }
}

fn check_key_size(text: &str) -> Result<(), SigningKeyError> {
    if text.len() > MAX_KEY_BYTES {
        return Err(SigningKeyError(format!("This is no key: it is larger than {} KB.", MAX_KEY_BYTES / 1024)));
    }
    Ok(())
}

/// A PEM block's label and body, and the text after it.
type PemBlock<'a> = (&'a str, &'a str, &'a str);

/// The next PEM block.
fn next_pem_block(text: &str) -> Result<Option<PemBlock<'_>>, SigningKeyError> {
    let Some((label, rest)) = text.split_once("-----BEGIN ").and_then(|(_, rest)| rest.split_once("-----")) else {
        return Ok(None);
    };
    match rest.split_once(&format!("-----END {label}-----")) {
        Some((body, rest)) => Ok(Some((label, body, rest))),
        None => Err(SigningKeyError::new("The PEM text is cut off: a block begins, and its -----END line is missing.")),
    }
}

/// Decodes the base64 between the lines.
fn decode_base64(body: &str) -> Result<Zeroizing<Vec<u8>>, SigningKeyError> {
    // Allocated with its full size, because memory that a growing buffer leaves is not overwritten.
    let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
    let lines = body.split("\\n").flat_map(|line| line.split("\\r"));
    lines.flat_map(str::split_ascii_whitespace).for_each(|piece| base64.push_str(piece));
    let mut der = Zeroizing::new(vec![0; base64::decoded_len_estimate(base64.len())]);
    let length = STANDARD.decode_slice(base64.as_bytes(), &mut der).map_err(|_| {
        SigningKeyError::new("The private key is damaged: the text between its first and last line is not base64.")
    })?;
    der.truncate(length);
    Ok(der)
}

#[cfg(test)]
mod tests;
