//! The signature of a delivery (Standard Webhooks 1.0: symmetric signatures), and the secret that it is made with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hkdf::hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::random::{NoRandomness, Random};
use crate::secret::Secret;
use crate::time::Timestamp;

/// What a secret begins with.
const SECRET_PREFIX: &str = "whsec_";
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// A new secret: `whsec_` and 32 random bytes in base64.
///
/// # Errors
/// The platform gave no random bytes.
pub fn new_secret(random: &impl Random) -> Result<Secret, NoRandomness> {
    let mut bytes = [0_u8; SECRET_BYTES];
    random.fill(&mut bytes)?;
    Ok(Secret::new(format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes))))
}

/// One signature: `v1,` and the HMAC-SHA256 of id, time and body in base64. None if the secret has another form.
fn sign(secret: &Secret, id: &str, at: Timestamp, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.expose().strip_prefix(SECRET_PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{}.{body}", at.unix()).as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

/// The header `webhook-signature`: one signature for each secret, the newest first. None if none of them can sign.
pub fn signature_header(secrets: &[Secret], id: &str, at: Timestamp, body: &str) -> Option<String> {
    let signatures: Vec<_> = secrets.iter().filter_map(|secret| sign(secret, id, at, body)).collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

#[cfg(test)]
mod tests {
    use super::{sign, signature_header};
    use crate::secret::Secret;
    use crate::time::Timestamp;

    /// The example of the reference libraries (standard-webhooks, libraries/javascript/src/index.test.ts).
    #[test]
    fn signs_like_the_reference_libraries() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let (id, at, body) =
            ("msg_p5jXN8AQM9LWM0D4loKWxJek", Timestamp::from_unix(1_614_265_330), r#"{"test": 2432232314}"#);
        assert_eq!(sign(&secret, id, at, body).as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        let both = signature_header(&[secret.clone(), Secret::new("whsec_AAAA".to_owned())], id, at, body).unwrap();
        assert_eq!(both.split(' ').count(), 2);
        assert_eq!(signature_header(&[Secret::new("other".to_owned())], id, at, body), None);
    }
}
