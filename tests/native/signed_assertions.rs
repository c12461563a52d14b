//! Assertions are signed so that the public key verifies them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connections::app::SigningAlgorithm;
use connections::ports::{Ports as _, Signer as _};
use connections::signing_key::SigningKey;
use connections::time::Timestamp;
use connections::token::{AssertionClaims, GrantClaims, SigningParams, sign_assertion};
use ring::rsa;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Value, json};

use crate::support::signer::{P256_KEY, RSA_KEY, SignerPort};
use crate::support::{RefreshMode, World};

/// RFC 7515 A.2: header and payload, and their signature.
const RFC7515_A2: (&str, &str) = (
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);

/// RFC 7515 A.3: header and payload, and a signature.
const RFC7515_A3: (&str, &str) = (
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
);

fn decode_base64url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn public_key(key: &SigningKey) -> Vec<u8> {
    match key.algorithm() {
        SigningAlgorithm::Es256 => {
            let random = ring::rand::SystemRandom::new();
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.expose_der(), &random).unwrap();
            pair.public_key().as_ref().to_vec()
        }
        _ => rsa::KeyPair::from_pkcs8(key.expose_der()).unwrap().public_key().as_ref().to_vec(),
    }
}

fn is_signature_valid(algorithm: SigningAlgorithm, key: &SigningKey, input: &str, signature: &[u8]) -> bool {
    let algorithm: &dyn VerificationAlgorithm = match algorithm {
        SigningAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        SigningAlgorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        SigningAlgorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
        SigningAlgorithm::EdDsa => return false,
    };
    UnparsedPublicKey::new(algorithm, public_key(key)).verify(input.as_bytes(), signature).is_ok()
}

/// The claims of an assertion with a valid signature.
fn verified_claims(signature: SigningParams<'_>, claims: &AssertionClaims<'_>) -> Value {
    let world = World::new(RefreshMode::Direct, None);
    let signed = world.run(sign_assertion(world.context().ports.signer(), signature, claims)).unwrap();
    let (input, made) = signed.expose().rsplit_once('.').unwrap();
    assert!(is_signature_valid(signature.algorithm, signature.key, input, &decode_base64url(made)));
    assert!(!is_signature_valid(signature.algorithm, signature.key, &format!("{input}x"), &decode_base64url(made)));
    serde_json::from_slice(&decode_base64url(input.rsplit_once('.').unwrap().1)).unwrap()
}

#[test]
fn the_rfc_vectors_pass() {
    let world = World::new(RefreshMode::Direct, None);
    let (rsa, p256) = (SigningKey::from_pem(RSA_KEY).unwrap(), SigningKey::from_pem(P256_KEY).unwrap());
    let signature = world.run(SignerPort.sign(SigningAlgorithm::Rs256, &rsa, RFC7515_A2.0.as_bytes())).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(signature), RFC7515_A2.1);
    assert!(is_signature_valid(SigningAlgorithm::Es256, &p256, RFC7515_A3.0, &decode_base64url(RFC7515_A3.1)));
}

#[test]
fn every_algorithm_signs_what_its_public_key_verifies() {
    let now = Timestamp::from_unix(1_795_348_800);
    let (rsa, p256) = (SigningKey::from_pem(RSA_KEY).unwrap(), SigningKey::from_pem(P256_KEY).unwrap());
    let grant = GrantClaims {
        issuer: "robot@project.example",
        subject: Some("ada@a.example"),
        audience: "https://a.example/t",
        scope: Some("read"),
        lifetime: 3600,
    };
    let claims = AssertionClaims::for_grant(grant, now);
    for signature in [
        SigningParams { key_id: Some("k1"), ..SigningParams::with_key(&rsa) },
        SigningParams {
            algorithm: SigningAlgorithm::Ps256,
            certificate: Some("A1bC"),
            ..SigningParams::with_key(&rsa)
        },
        SigningParams::with_key(&p256),
    ] {
        assert_eq!(
            verified_claims(signature, &claims),
            json!({ "iss": "robot@project.example", "sub": "ada@a.example", "aud": "https://a.example/t",
                    "scope": "read", "iat": 1_795_348_800, "exp": 1_795_352_400 })
        );
    }
}
