use serde_json::{Value, json};

use super::der::read_key_content;
use super::*;

/// The keys of RFC 7515 A.2 and A.3, which are public.
const RSA_KEY: &str = include_str!("../../tests/native/support/keys/rfc7515_a2.pem");
const P256_KEY: &str = include_str!("../../tests/native/support/keys/rfc7515_a3.pem");

fn rsa_key() -> SigningKey {
    SigningKey::from_pem(RSA_KEY).unwrap()
}

fn pem_error(pem: &str) -> String {
    SigningKey::from_pem(pem).unwrap_err().0
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82, length[0], length[1]], content].concat()
}

/// A PKCS#8 document with this algorithm, these parameters and this key.
fn pkcs8(algorithm: &[u8], parameters: &[u8], key: &[u8]) -> Vec<u8> {
    let algorithm = der(0x30, &[&der(0x06, algorithm), parameters].concat());
    der(0x30, &[&der(0x02, &[0]), &algorithm[..], &der(0x04, key)].concat())
}

fn ec_key_on(curve: &[u8]) -> Vec<u8> {
    pkcs8(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01], &der(0x06, curve), &der(0x30, &[]))
}

fn rsa_key_of(modulus: &[u8]) -> Vec<u8> {
    let numbers = der(0x30, &[der(0x02, &[0]), der(0x02, modulus)].concat());
    pkcs8(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01], &[0x05, 0x00], &numbers)
}

#[test]
fn a_key_names_its_algorithm() {
    let p256 = SigningKey::from_pem(P256_KEY).unwrap();
    assert_eq!((rsa_key().kind(), rsa_key().algorithm()), (SigningKeyKind::Rsa, SigningAlgorithm::Rs256));
    assert_eq!((p256.kind(), p256.algorithm()), (SigningKeyKind::P256, SigningAlgorithm::Es256));
    assert!(rsa_key().can_sign_with(SigningAlgorithm::Ps256) && !rsa_key().can_sign_with(SigningAlgorithm::Es256));
    assert!(p256.can_sign_with(SigningAlgorithm::Es256) && !p256.can_sign_with(SigningAlgorithm::Ps256));
}

#[test]
fn a_key_is_read_with_any_line_endings_and_surrounding_text() {
    let wanted = rsa_key();
    let body = RSA_KEY.trim();
    for text in [
        body.replace('\n', "\r\n"),
        body.replace('\n', "\\n"),
        body.replace('\n', "\\r\\n"),
        body.replace('\n', " "),
        body.replace('\n', "\n\n   "),
        body.replace("KEY-----\n", "KEY-----"),
        format!("\n\n  {body}  \n"),
        format!("Bag Attributes\n  friendlyName: x\n{}{body}", pem("CERTIFICATE", b"x")),
        format!("{}{body}", pem("EC PARAMETERS", b"x")),
    ] {
        let key = SigningKey::from_pem(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(key.expose_der(), wanted.expose_der());
    }
}

#[test]
fn other_key_formats_are_refused_with_a_remedy() {
    for (label, named) in [
        ("RSA PRIVATE KEY", "PKCS#1"),
        ("EC PRIVATE KEY", "SEC1"),
        ("ENCRYPTED PRIVATE KEY", "encrypted with a passphrase"),
    ] {
        let said = pem_error(&pem(label, b"whatever"));
        assert!(said.contains(named) && said.contains("openssl pkcs8 -topk8 -nocrypt"), "{said}");
    }
    assert!(pem_error(&pem("OPENSSH PRIVATE KEY", b"x")).contains("not known here"));
    assert!(pem_error(&pem("CERTIFICATE", b"x")).contains("only other things"));
    assert!(pem_error("ya29.canary").contains("not a private key in PEM"));
    assert!(pem_error("").contains("not a private key in PEM"));
    assert!(pem_error(&RSA_KEY.replace("-----END", "-----")).contains("cut off"));
    assert!(pem_error(&" ".repeat(MAX_KEY_BYTES + 1)).contains("larger than 16 KB"));
}

#[test]
fn a_damaged_key_is_refused_and_not_shown() {
    let canary = "canary!";
    let said = pem_error(&format!("-----BEGIN PRIVATE KEY-----\n{canary}\n-----END PRIVATE KEY-----"));
    assert!(said.contains("not base64") && !said.contains(canary), "{said}");
    let said = pem_error(&format!("-----BEGIN {canary} PRIVATE KEY-----\nAAAA\n-----END {canary} PRIVATE KEY-----"));
    assert!(!said.contains(canary), "{said}");
    assert!(pem_error(&pem("PRIVATE KEY", b"no DER at all")).contains("not PKCS#8"));
    let whole = rsa_key();
    let document = whole.expose_der();
    for length in 0..document.len() {
        assert_eq!(read_key_content(&document[..length]), None, "cut at {length}");
    }
    assert_eq!(read_key_content(&[document, b"\0"].concat()), None);
}

#[test]
fn arbitrary_key_bytes_cause_no_panic() {
    let whole = rsa_key();
    for at in 0..whole.expose_der().len().min(80) {
        for byte in 0..=u8::MAX {
            let mut document = whole.expose_der().to_vec();
            document[at] = byte;
            let _ = read_key_content(&document);
        }
    }
}

#[test]
fn keys_that_cannot_sign_here_are_refused_by_name() {
    for (document, name) in [
        (ec_key_on(&[0x2b, 0x81, 0x04, 0x00, 0x22]), "P-384"),
        (ec_key_on(&[0x2b, 0x81, 0x04, 0x00, 0x23]), "P-521"),
        (ec_key_on(&[0x2b, 0x81, 0x04, 0x00, 0x0a]), "secp256k1"),
        (ec_key_on(&[0x2b, 0x01]), "another curve"),
        (pkcs8(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01], &der(0x30, &[]), &der(0x30, &[])), "has no name"),
        (pkcs8(&[0x2b, 0x65, 0x70], &[], b"x"), "Ed25519"),
        (pkcs8(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a], &[], b"x"), "PSS"),
        (pkcs8(&[0x2a], &[], b"x"), "unknown kind"),
        (rsa_key_of(&[0xff; 128]), "1024 bits"),
        (rsa_key_of(&[&[0x00, 0x7f], &[0xff; 255][..]].concat()), "2047 bits"),
    ] {
        let said = pem_error(&pem("PRIVATE KEY", &document));
        assert!(said.contains(name), "{name}: {said}");
    }
    assert_eq!(read_key_content(&rsa_key_of(&[&[0x00, 0x80], &[0; 255][..]].concat())), Some(KeyContent::Rsa(2048)));
    assert_eq!(read_key_content(&rsa_key_of(&[0; 256])), None);
}

#[test]
fn debug_output_shows_no_key() {
    assert_eq!(format!("{:?}", rsa_key()), "SigningKey(Rsa, [redacted])");
}

const POINTERS: KeyFilePointers<'_> =
    KeyFilePointers { issuer: "/client_email", private_key: "/private_key", key_id: Some("/private_key_id") };

fn key_file_json() -> Value {
    json!({ "type": "service_account", "private_key_id": "k1", "private_key": RSA_KEY,
            "client_email": "robot@project.example" })
}

fn key_file_error(file: &str) -> String {
    KeyFile::parse(file, POINTERS).unwrap_err().0
}

#[test]
fn a_key_file_gives_issuer_key_and_key_id() {
    let file = KeyFile::parse(&format!("\u{feff} {} \n", key_file_json()), POINTERS).unwrap();
    assert_eq!((file.issuer.as_str(), file.key_id.as_deref()), ("robot@project.example", Some("k1")));
    assert_eq!(file.key.expose_der(), rsa_key().expose_der());
    assert!(!format!("{file:?}").contains("MIIE"));

    let mut without = key_file_json();
    without["private_key_id"] = Value::Null;
    assert_eq!(KeyFile::parse(&without.to_string(), POINTERS).unwrap().key_id, None);
    let not_asked = KeyFilePointers { key_id: None, ..POINTERS };
    assert_eq!(KeyFile::parse(&key_file_json().to_string(), not_asked).unwrap().key_id, None);

    let nested = json!({ "boxAppSettings": { "appAuth": { "privateKey": P256_KEY }, "clientID": "c" } });
    let pointers = KeyFilePointers {
        issuer: "/boxAppSettings/clientID",
        private_key: "/boxAppSettings/appAuth/privateKey",
        key_id: None,
    };
    assert_eq!(KeyFile::parse(&nested.to_string(), pointers).unwrap().key.kind(), SigningKeyKind::P256);
}

#[test]
fn a_refused_key_file_is_explained_without_its_content() {
    let with = |member: &str, value: Value| {
        let mut file = key_file_json();
        file[member] = value;
        file.to_string()
    };
    for (file, wanted) in [
        ("canary".to_owned(), "The key file is not JSON."),
        (r#"{"canary":"#.to_owned(), "The key file is not JSON."),
        (r#"["canary"]"#.to_owned(), "The key file has no private key at /private_key."),
        (r#"{"web":{"client_secret":"canary"}}"#.to_owned(), "The key file has no private key at /private_key."),
        (with("private_key", json!("")), "The key file has no private key at /private_key."),
        (with("private_key", json!({ "canary": 1 })), "The key file's private key at /private_key is not text."),
        (with("client_email", Value::Null), "The key file has no issuer at /client_email."),
        (with("private_key_id", json!(["canary"])), "The key file's key id at /private_key_id is not text."),
        (with("x", json!("canary".repeat(MAX_KEY_BYTES))), "This is no key: it is larger than 16 KB."),
    ] {
        assert_eq!(key_file_error(&file), wanted);
    }
    assert!(key_file_error(&with("private_key", json!("canary"))).starts_with("This is not a private key in PEM"));
}
