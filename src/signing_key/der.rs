//! Reads enough DER to find the type of key in a PKCS#8 document.
//!
//! Does not check the key's numbers: the platform does when it imports the key. Refuses lengths that a document of
//! [`super::MAX_KEY_BYTES`] bytes cannot have.

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// rsaEncryption, 1.2.840.113549.1.1.1 (RFC 8017 A.1)
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// id-RSASSA-PSS, 1.2.840.113549.1.1.10 (RFC 8017 A.2.3)
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
/// id-ecPublicKey, 1.2.840.10045.2.1 (RFC 5480 2.1.1)
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// secp256r1, 1.2.840.10045.3.1.7 (RFC 5480 2.1.1.1)
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// secp384r1, 1.3.132.0.34 (RFC 5480 2.1.1.1)
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// secp521r1, 1.3.132.0.35 (RFC 5480 2.1.1.1)
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// secp256k1, 1.3.132.0.10 (RFC 8812 3)
const SECP256K1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x0a];
/// id-X25519, 1.3.101.110 (RFC 8410 3)
const X25519: &[u8] = &[0x2b, 0x65, 0x6e];
/// id-Ed25519, 1.3.101.112 (RFC 8410 3)
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// id-Ed448, 1.3.101.113 (RFC 8410 3)
const ED448: &[u8] = &[0x2b, 0x65, 0x71];
/// id-dsa, 1.2.840.10040.4.1 (RFC 3279 2.3.2)
const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01];

/// The content of a PKCS#8 document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyContent {
    /// An RSA key with a modulus of this many bits.
    Rsa(usize),
    /// A key on the curve P-256.
    P256,
    /// Another key, by its name.
    Other(&'static str),
}

/// Reads `PrivateKeyInfo` (RFC 5208 5, RFC 5958 2) up to the type of key. `None` if it is something else.
pub(super) fn read_key_content(document: &[u8]) -> Option<KeyContent> {
    let (info, after) = read_element(document, SEQUENCE)?;
    if !after.is_empty() {
        return None;
    }
    let (_version, rest) = read_element(info, INTEGER)?;
    let (algorithm, rest) = read_element(rest, SEQUENCE)?;
    let (key, _attributes) = read_element(rest, OCTET_STRING)?;
    let (id, parameters) = read_element(algorithm, OBJECT_ID)?;
    match id {
        RSA => modulus_bits(key).map(KeyContent::Rsa),
        EC => read_element(key, SEQUENCE).map(|_| read_curve(parameters)),
        other => Some(KeyContent::Other(key_name(other))),
    }
}

/// The curve of an EC key (RFC 5480 2.1.1).
fn read_curve(parameters: &[u8]) -> KeyContent {
    match read_element(parameters, OBJECT_ID) {
        Some((P256, _)) => KeyContent::P256,
        Some((P384, _)) => KeyContent::Other("an EC key on the curve P-384"),
        Some((P521, _)) => KeyContent::Other("an EC key on the curve P-521"),
        Some((SECP256K1, _)) => KeyContent::Other("an EC key on the curve secp256k1"),
        Some(_) => KeyContent::Other("an EC key on another curve"),
        None => KeyContent::Other("an EC key whose curve has no name"),
    }
}

fn key_name(id: &[u8]) -> &'static str {
    match id {
        RSA_PSS => "an RSA key that is bound to PSS",
        X25519 => "an X25519 key",
        ED25519 => "an Ed25519 key",
        ED448 => "an Ed448 key",
        DSA => "a DSA key",
        _ => "a key of an unknown kind",
    }
}

/// The length of the modulus of an `RSAPrivateKey` (RFC 8017 A.1.2).
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let (numbers, _) = read_element(key, SEQUENCE)?;
    let (_version, rest) = read_element(numbers, INTEGER)?;
    let (modulus, _) = read_element(rest, INTEGER)?;
    let zeros: u32 = match modulus.iter().position(|byte| *byte != 0) {
        Some(at) => u32::try_from(at).ok()? * 8 + modulus.get(at)?.leading_zeros(),
        None => return None,
    };
    (modulus.len() * 8).checked_sub(usize::try_from(zeros).ok()?)
}

/// The content of the element at the start, if it has this tag, and what follows it (X.690 8.1, 10.1).
fn read_element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = input.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long & 0x7f).filter(|(bytes, _)| matches!(bytes.len(), 1 | 2))?;
            (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length).filter(|_| *found == tag)
}
