//! The mailer port over Cloudflare Email Service. Without the binding no e-mail is sent, and everything else works.

use worker::Env;
use worker::js_sys::{Function, Reflect};
use worker::wasm_bindgen::JsValue;

use super::{glue, promises};
use crate::ports::{Email, MailError, Mailer};

/// The name of the binding.
const BINDING: &str = "EMAIL";
/// How long to wait until an e-mail is taken, in milliseconds.
const SEND_TIMEOUT_MS: u32 = 10_000;
/// How the codes of refusals begin.
const CODE_PREFIX: &str = "E_";
/// The service's own failure: whether it has taken the e-mail before, it does not say.
const INTERNAL_ERROR: &str = "E_INTERNAL_SERVER_ERROR";

pub(crate) struct EmailBinding(Option<JsValue>);

impl EmailBinding {
    pub(super) fn bind(env: &Env) -> Self {
        let binding = Reflect::get(env, &JsValue::from_str(BINDING)).ok();
        Self(binding.filter(JsValue::is_object))
    }
}

impl Mailer for EmailBinding {
    fn is_bound(&self) -> bool {
        self.0.is_some()
    }

    async fn send(&self, email: &Email) -> Result<(), MailError> {
        let Some(binding) = &self.0 else { return Err(MailError::Refused("not_bound".into())) };
        let Ok(text) = serde_json::to_string(email) else { return Err(MailError::Refused("not_written".into())) };
        let begin = |settle: &Function, number| glue::send_email(binding, &text, SEND_TIMEOUT_MS, settle, number);
        match promises::wait(begin).await {
            Ok(taken) if taken.is_truthy() => Ok(()),
            Ok(_) => Err(MailError::Unknown),
            Err(error) => Err(read_error(&glue::error_code(&error))),
        }
    }
}

/// What the service says beside the code may name the address: it is not read.
fn read_error(code: &str) -> MailError {
    let is_code = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let is_refusal = code.starts_with(CODE_PREFIX) && code != INTERNAL_ERROR && code.bytes().all(is_code);
    if is_refusal { MailError::Refused(code.to_owned()) } else { MailError::Unknown }
}
