use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::*;

/// The keys of RFC 7515 A.2 and A.3, which are public.
const RSA_KEY: &str = include_str!("../../../tests/native/support/keys/rfc7515_a2.pem");

fn now() -> Timestamp {
    Timestamp::from_unix(1_795_348_800)
}

fn rsa_key() -> SigningKey {
    SigningKey::from_pem(RSA_KEY).unwrap()
}

/// Constant random bytes.
struct FixedRandom(u8);

impl Random for FixedRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        buffer.fill(self.0);
        Ok(())
    }
}

struct FailingRandom;

impl Random for FailingRandom {
    fn fill(&self, _: &mut [u8]) -> Result<(), NoRandomness> {
        Err(NoRandomness)
    }
}

#[test]
fn a_jwt_bearer_grant_contains_only_the_required_claims() {
    let grant =
        GrantClaims { issuer: "robot", subject: None, audience: "https://a.example/t", scope: None, lifetime: 3600 };
    assert_eq!(
        serde_json::to_value(AssertionClaims::for_grant(grant, now())).unwrap(),
        json!({ "iss": "robot", "aud": "https://a.example/t", "iat": 1_795_348_800, "exp": 1_795_352_400 })
    );
    let grant = GrantClaims { subject: Some("ada@a.example"), scope: Some("read write"), lifetime: 180, ..grant };
    assert_eq!(
        serde_json::to_value(AssertionClaims::for_grant(grant, now())).unwrap(),
        json!({ "iss": "robot", "sub": "ada@a.example", "aud": "https://a.example/t", "scope": "read write",
                "iat": 1_795_348_800, "exp": 1_795_348_980 })
    );
    for (asked, given) in [(86_400, 3600), (i64::MAX, 3600), (0, 1), (-5, 1)] {
        let claims = AssertionClaims::for_grant(GrantClaims { lifetime: asked, ..grant }, now());
        assert_eq!(claims.exp - claims.iat, given);
    }
}

#[test]
fn a_client_assertion_has_a_unique_id_and_expires_after_five_minutes() {
    let claims = AssertionClaims::for_client("c-1", "https://a.example/t", &FixedRandom(0xff), now()).unwrap();
    assert_eq!(
        serde_json::to_value(claims).unwrap(),
        json!({ "iss": "c-1", "sub": "c-1", "aud": "https://a.example/t",
                "jti": "ffffffff-ffff-4fff-bfff-ffffffffffff",
                "nbf": 1_795_348_800, "iat": 1_795_348_800, "exp": 1_795_349_100 })
    );
    let other = AssertionClaims::for_client("c-1", "https://a.example/t", &FixedRandom(0), now()).unwrap();
    assert_eq!(other.jti.as_deref(), Some("00000000-0000-4000-8000-000000000000"));
    assert_eq!(AssertionClaims::for_client("c", "a", &FailingRandom, now()), Err(NoRandomness));
}

/// Returns what it was asked to sign.
struct EchoSigner;

impl Signer for EchoSigner {
    async fn sign(&self, algorithm: SigningAlgorithm, _: &SigningKey, data: &[u8]) -> Result<Vec<u8>, SigningError> {
        Ok(format!("{algorithm:?} {}", String::from_utf8_lossy(data)).into_bytes())
    }
}

fn decode_part(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

fn signed_header(signature: SigningParams<'_>) -> Value {
    let claims = AssertionClaims::for_client("c", "a", &FixedRandom(1), now()).unwrap();
    let signed = sign_assertion(&EchoSigner, signature, &claims).now_or_never().unwrap().unwrap();
    let [header, body, signed] = signed.expose().split('.').collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(decode_part(signed), format!("{:?} {header}.{body}", signature.algorithm).into_bytes());
    assert_eq!(decode_part(body), serde_json::to_vec(&claims).unwrap());
    serde_json::from_slice(&decode_part(header)).unwrap()
}

#[test]
fn the_jwt_header_names_algorithm_key_and_certificate() {
    let key = rsa_key();
    assert_eq!(signed_header(SigningParams::with_key(&key)), json!({ "alg": "RS256", "typ": "JWT" }));
    let full = SigningParams {
        algorithm: SigningAlgorithm::Ps256,
        key_id: Some("k1"),
        certificate: Some("A1bC"),
        ..SigningParams::with_key(&key)
    };
    assert_eq!(signed_header(full), json!({ "alg": "PS256", "typ": "JWT", "kid": "k1", "x5t#S256": "A1bC" }));
}

#[test]
fn a_key_is_not_used_with_an_algorithm_of_another_type() {
    let key = rsa_key();
    let claims = AssertionClaims::for_client("c", "a", &FixedRandom(1), now()).unwrap();
    let wrong = SigningParams { algorithm: SigningAlgorithm::Es256, ..SigningParams::with_key(&key) };
    assert_eq!(sign_assertion(&EchoSigner, wrong, &claims).now_or_never().unwrap().unwrap_err(), SigningError::Key);
}
