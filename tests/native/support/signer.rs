//! The in-memory counterpart of the platform's signatures, and keys to sign with.

use connections::app::SigningAlgorithm;
use connections::ports::{Signer, SigningError, Verifier};
use connections::signing_key::SigningKey;
use connections::verifying_key::VerifyingKey;
use ring::rand::SystemRandom;
use ring::rsa;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaPublicKeyComponents, UnparsedPublicKey,
};

/// The RSA key of RFC 7515 A.2 as PKCS#8. It is public.
pub(crate) const RSA_KEY: &str = include_str!("keys/rfc7515_a2.pem");
/// The P-256 key of RFC 7515 A.3 as PKCS#8. It is public.
pub(crate) const P256_KEY: &str = include_str!("keys/rfc7515_a3.pem");

/// Makes real signatures, which the public key verifies.
pub(crate) struct SignerPort;

impl Signer for SignerPort {
    async fn sign(&self, algorithm: SigningAlgorithm, key: &SigningKey, data: &[u8]) -> Result<Vec<u8>, SigningError> {
        match algorithm {
            SigningAlgorithm::Rs256 => sign_rsa(&RSA_PKCS1_SHA256, key, data),
            SigningAlgorithm::Ps256 => sign_rsa(&RSA_PSS_SHA256, key, data),
            SigningAlgorithm::Es256 => sign_p256(key, data),
            SigningAlgorithm::EdDsa => Err(SigningError::Key),
        }
    }
}

fn sign_rsa(padding: &'static dyn RsaEncoding, key: &SigningKey, data: &[u8]) -> Result<Vec<u8>, SigningError> {
    let pair = rsa::KeyPair::from_pkcs8(key.expose_der()).map_err(|_| SigningError::Key)?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(padding, &SystemRandom::new(), data, &mut signature).map_err(|_| SigningError::Failed("sign"))?;
    Ok(signature)
}

fn sign_p256(key: &SigningKey, data: &[u8]) -> Result<Vec<u8>, SigningError> {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.expose_der(), &random)
        .map_err(|_| SigningError::Key)?;
    let signature = pair.sign(&random, data).map_err(|_| SigningError::Failed("sign"))?;
    Ok(signature.as_ref().to_vec())
}

impl Verifier for SignerPort {
    async fn verify(
        &self,
        algorithm: SigningAlgorithm,
        key: &VerifyingKey,
        data: &[u8],
        signature: &[u8],
    ) -> Result<bool, SigningError> {
        let verified = match (algorithm, key) {
            (SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256, VerifyingKey::Rsa { modulus, exponent }) => {
                let padding = match algorithm {
                    SigningAlgorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    _ => &RSA_PKCS1_2048_8192_SHA256,
                };
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(padding, data, signature)
            }
            (SigningAlgorithm::Es256, VerifyingKey::P256 { x, y }) => {
                let point = [&[4][..], x, y].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(data, signature)
            }
            (SigningAlgorithm::EdDsa, VerifyingKey::Ed25519(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(data, signature)
            }
            _ => return Err(SigningError::Key),
        };
        Ok(verified.is_ok())
    }
}
