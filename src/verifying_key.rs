//! Public keys that signatures are checked with, as an issuer publishes them (RFC 7517), or as a person enters one.
//!
//! Owns which keys are accepted: RSA of 2048 to 8192 bits and P-256, for signatures, and Ed25519 where one is entered. Refuses a secret key (`oct`) and
//! algorithms that are not known here, so a token cannot choose a weaker check than the issuer has keys for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::app::SigningAlgorithm;
use crate::json::tolerant;
use crate::signing_key::SigningKeyKind;

/// Keys of one document, at most.
const MAX_KEYS: usize = 100;
/// Lengths of an RSA modulus, in bytes.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// Length of an RSA exponent, in bytes, at most.
const MAX_EXPONENT_BYTES: usize = 4;
/// Length of a coordinate on P-256, in bytes.
const P256_BYTES: usize = 32;
/// Length of an Ed25519 key, in bytes.
const ED25519_BYTES: usize = 32;
/// What stands before the two coordinates: the algorithm, the curve, and that the point is not compressed.
const P256_SPKI_PREFIX: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// Tags of DER (X.690).
const DER_INTEGER: u8 = 0x02;
const DER_SEQUENCE: u8 = 0x30;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyingKey {
    /// RSA: numbers, most significant byte first, without zeros before them.
    Rsa {
        /// The modulus.
        modulus: Vec<u8>,
        /// The exponent.
        exponent: Vec<u8>,
    },
    /// ECDSA on P-256: a point.
    P256 {
        /// Its first coordinate.
        x: [u8; P256_BYTES],
        /// Its second coordinate.
        y: [u8; P256_BYTES],
    },
    /// Ed25519: a point as it is encoded.
    Ed25519([u8; ED25519_BYTES]),
}

impl VerifyingKey {
    fn kind(&self) -> SigningKeyKind {
        match self {
            Self::Rsa { .. } => SigningKeyKind::Rsa,
            Self::P256 { .. } => SigningKeyKind::P256,
            Self::Ed25519(_) => SigningKeyKind::Ed25519,
        }
    }

    /// The bytes of an Ed25519 key (RFC 8032 5.1.5). `None` if there are more or fewer.
    pub fn ed25519(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::Ed25519)
    }

    /// A `SubjectPublicKeyInfo` (RFC 5480 2) with a point of P-256 that is not compressed. `None` for all else.
    pub fn p256_from_spki(der: &[u8]) -> Option<Self> {
        let (x, y) = der.strip_prefix(P256_SPKI_PREFIX)?.split_at_checked(P256_BYTES)?;
        Some(Self::P256 { x: x.try_into().ok()?, y: y.try_into().ok()? })
    }

    fn from_jwk(jwk: &Value) -> Option<Self> {
        let number = |name: &str| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok();
        match jwk.get("kty")?.as_str()? {
            "RSA" => {
                let trim = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
                let (modulus, exponent) = (trim(number("n")?), trim(number("e")?));
                let is_usable = RSA_MODULUS_BYTES.contains(&modulus.len())
                    && (1..=MAX_EXPONENT_BYTES).contains(&exponent.len())
                    && exponent.last().is_some_and(|byte| byte % 2 == 1)
                    && exponent != [1];
                is_usable.then_some(Self::Rsa { modulus, exponent })
            }
            "EC" if jwk.get("crv").and_then(Value::as_str) == Some("P-256") => {
                Some(Self::P256 { x: number("x")?.try_into().ok()?, y: number("y")?.try_into().ok()? })
            }
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
struct PublishedKey {
    id: Option<String>,
    algorithm: Option<SigningAlgorithm>,
    key: VerifyingKey,
}

impl PublishedKey {
    fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let algorithm = match text("alg") {
            None => None,
            Some(name) => Some(parse_algorithm(name)?),
        };
        Some(Self { id: text("kid").map(str::to_owned), algorithm, key: VerifyingKey::from_jwk(jwk)? })
    }
}

/// Reads the name of an algorithm (RFC 7518 3.1) that is accepted here. `none` and those with a shared secret are not.
pub fn parse_algorithm(name: &str) -> Option<SigningAlgorithm> {
    match name {
        "RS256" => Some(SigningAlgorithm::Rs256),
        "PS256" => Some(SigningAlgorithm::Ps256),
        "ES256" => Some(SigningAlgorithm::Es256),
        _ => None,
    }
}

/// A signature in DER (RFC 3279 2.2.3) as two numbers of 32 bytes. `None` where it has another form.
pub fn p256_signature_from_der(der: &[u8]) -> Option<[u8; 2 * P256_BYTES]> {
    let (sequence, after) = read_der(DER_SEQUENCE, der)?;
    let (r, rest) = read_der(DER_INTEGER, sequence)?;
    let (s, end) = read_der(DER_INTEGER, rest)?;
    if !after.is_empty() || !end.is_empty() {
        return None;
    }
    let mut fixed = [0; 2 * P256_BYTES];
    let (first, second) = fixed.split_at_mut(P256_BYTES);
    for (half, number) in [(first, r), (second, s)] {
        // A number whose first bit is set has a zero before it: it is not negative.
        let digits = number.strip_prefix(&[0]).unwrap_or(number);
        let start = half.len().checked_sub(digits.len())?;
        half.get_mut(start..)?.copy_from_slice(digits);
    }
    Some(fixed)
}

/// The content of a value with this tag, and what follows. Lengths here fit into one byte.
fn read_der(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    (found == tag && length < 0x80).then(|| rest.split_at_checked(usize::from(length)))?
}

/// The public keys of an issuer.
#[derive(Debug, Clone, Default)]
pub struct PublicKeys(Vec<PublishedKey>);

impl PublicKeys {
    /// Reads a document with keys. Keys that are not accepted are left out. `None` if it is no such document.
    pub fn parse(document: &[u8]) -> Option<Self> {
        let document = tolerant::parse(document)?;
        let keys = document.get("keys")?.as_array()?;
        Some(Self(keys.iter().take(MAX_KEYS).filter_map(PublishedKey::from_jwk).collect()))
    }

    /// The key for a signature with this algorithm. Without an id only if no other key could be meant.
    pub fn find(&self, algorithm: SigningAlgorithm, id: Option<&str>) -> Option<&VerifyingKey> {
        let fits = |one: &&PublishedKey| {
            one.key.kind() == algorithm.key_kind()
                && one.algorithm.is_none_or(|own| own == algorithm)
                && (id.is_none() || one.id.as_deref() == id)
        };
        let mut found = self.0.iter().filter(fits);
        let first = found.next()?;
        found.next().is_none().then_some(&first.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rsa(kid: &str, bytes: usize) -> Value {
        json!({ "kty": "RSA", "kid": kid, "n": URL_SAFE_NO_PAD.encode(vec![0xff; bytes]), "e": "AQAB" })
    }

    fn parse(keys: &Value) -> PublicKeys {
        PublicKeys::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn weak_secret_and_unknown_keys_are_left_out() {
        let with = |name: &str, value: &str| {
            let mut jwk = rsa("a", 256);
            jwk[name] = value.into();
            jwk
        };
        let refused = [
            rsa("a", 128),
            rsa("a", 2048),
            with("kty", "oct"),
            with("alg", "HS256"),
            with("alg", "RS512"),
            with("use", "enc"),
            with("e", "AQ"),
            with("e", "AAAA"),
            with("n", "%"),
            json!({ "kty": "EC", "kid": "a", "crv": "P-384", "x": "", "y": "" }),
            json!({ "kty": "EC", "kid": "a", "crv": "P-256", "x": "AA", "y": "AA" }),
            json!("a"),
        ];
        for jwk in refused {
            assert!(parse(&json!([jwk])).0.is_empty(), "{jwk}");
        }
        assert_eq!(parse(&json!([rsa("a", 256), with("alg", "RS256")])).0.len(), 2);
        for document in ["", "{}", "[]", r#"{"keys":{}}"#] {
            assert!(PublicKeys::parse(document.as_bytes()).is_none(), "{document}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_id_or_if_it_is_the_only_one() {
        let keys = parse(&json!([rsa("a", 256), rsa("b", 257), rsa("c", 258), rsa("c", 259)]));
        let rs = SigningAlgorithm::Rs256;
        assert!(keys.find(rs, Some("a")).is_some() && keys.find(rs, Some("b")) != keys.find(rs, Some("a")));
        for (algorithm, id) in [(rs, None), (rs, Some("c")), (rs, Some("d")), (SigningAlgorithm::Es256, Some("a"))] {
            assert!(keys.find(algorithm, id).is_none(), "{algorithm:?} {id:?}");
        }
        assert!(parse(&json!([rsa("a", 256)])).find(rs, None).is_some());
        let mut fixed = rsa("a", 256);
        fixed["alg"] = "PS256".into();
        assert!(parse(&json!([fixed])).find(rs, Some("a")).is_none(), "the key is for another algorithm");
    }
}
