//! The signer port over `WebCrypto`, which runs natively. RSA in Wasm would use billed CPU time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use web_sys::{CryptoKey, SubtleCrypto, WorkerGlobalScope};
use worker::js_sys::{Array, Object, Promise, Reflect, Uint8Array, global};
use worker::wasm_bindgen::{JsCast as _, JsValue};
use worker::wasm_bindgen_futures::JsFuture;

use crate::app::SigningAlgorithm;
use crate::ports::{Signer, SigningError, Verifier};
use crate::signing_key::SigningKey;
use crate::verifying_key::VerifyingKey;

/// Length of the salt in PS256, in bytes: the length of the hash (RFC 7518 3.5).
const SALT: u32 = 32;

pub(crate) struct WebCrypto;

impl Signer for WebCrypto {
    async fn sign(&self, algorithm: SigningAlgorithm, key: &SigningKey, data: &[u8]) -> Result<Vec<u8>, SigningError> {
        let subtle = web_crypto().map_err(|_| SigningError::Failed("no_web_crypto"))?;
        let described = algorithm_object(algorithm).map_err(|_| SigningError::Failed("algorithm"))?;
        // The form and the algorithm are constants that the platform knows, so an error is about the key.
        let key = import(&subtle, &described, key).await.map_err(|_| SigningError::Key)?;
        let signed = subtle.sign_with_object_and_u8_array(&described, &key, data);
        let signature = await_promise(signed).await.map_err(|_| SigningError::Failed("sign"))?;
        Ok(Uint8Array::new(&signature).to_vec())
    }
}

fn web_crypto() -> Result<SubtleCrypto, JsValue> {
    Ok(global().unchecked_into::<WorkerGlobalScope>().crypto()?.subtle())
}

async fn import(subtle: &SubtleCrypto, described: &Object, key: &SigningKey) -> Result<CryptoKey, JsValue> {
    let der = Uint8Array::from(key.expose_der());
    let usages = Array::of1(&JsValue::from_str("sign"));
    let imported = await_promise(subtle.import_key_with_object("pkcs8", &der, described, false, &usages)).await;
    // Otherwise the copy in the platform's memory would stay until garbage collection.
    der.fill(0, 0, der.length());
    Ok(imported?.unchecked_into())
}

async fn await_promise(promise: Result<Promise, JsValue>) -> Result<JsValue, JsValue> {
    JsFuture::from(promise?).await
}

/// The algorithm in the form of `importKey`, `sign` and `verify`. Each ignores the members of the other.
fn algorithm_object(algorithm: SigningAlgorithm) -> Result<Object, JsValue> {
    let object = Object::new();
    let set = |name: &str, value: &JsValue| Reflect::set(&object, &JsValue::from_str(name), value);
    set("hash", &JsValue::from_str("SHA-256"))?;
    match algorithm {
        SigningAlgorithm::Rs256 => set("name", &JsValue::from_str("RSASSA-PKCS1-v1_5"))?,
        SigningAlgorithm::Ps256 => {
            set("saltLength", &JsValue::from(SALT))?;
            set("name", &JsValue::from_str("RSA-PSS"))?
        }
        SigningAlgorithm::Es256 => {
            set("namedCurve", &JsValue::from_str("P-256"))?;
            set("name", &JsValue::from_str("ECDSA"))?
        }
        SigningAlgorithm::EdDsa => set("name", &JsValue::from_str("Ed25519"))?,
    };
    Ok(object)
}

impl Verifier for WebCrypto {
    async fn verify(
        &self,
        algorithm: SigningAlgorithm,
        key: &VerifyingKey,
        data: &[u8],
        signature: &[u8],
    ) -> Result<bool, SigningError> {
        let subtle = web_crypto().map_err(|_| SigningError::Failed("no_web_crypto"))?;
        let described = algorithm_object(algorithm).map_err(|_| SigningError::Failed("algorithm"))?;
        let key = import_public(&subtle, &described, key).await.map_err(|_| SigningError::Key)?;
        let verified = subtle.verify_with_object_and_u8_array_and_u8_array(&described, &key, signature, data);
        let answer = await_promise(verified).await.map_err(|_| SigningError::Failed("verify"))?;
        Ok(answer.as_bool() == Some(true))
    }
}

async fn import_public(subtle: &SubtleCrypto, described: &Object, key: &VerifyingKey) -> Result<CryptoKey, JsValue> {
    let jwk = Object::new();
    let set = |name: &str, value: &str| Reflect::set(&jwk, &JsValue::from_str(name), &JsValue::from_str(value));
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match key {
        VerifyingKey::Rsa { modulus, exponent } => {
            set("kty", "RSA")?;
            set("n", &number(modulus))?;
            set("e", &number(exponent))?;
        }
        VerifyingKey::P256 { x, y } => {
            set("kty", "EC")?;
            set("crv", "P-256")?;
            set("x", &number(x))?;
            set("y", &number(y))?;
        }
        VerifyingKey::Ed25519(point) => {
            set("kty", "OKP")?;
            set("crv", "Ed25519")?;
            set("x", &number(point))?;
        }
    }
    let usages = Array::of1(&JsValue::from_str("verify"));
    let imported = await_promise(subtle.import_key_with_object("jwk", &jwk, described, false, &usages)).await;
    Ok(imported?.unchecked_into())
}
