//! The texts of a credential, as an app may send them back.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use crate::resolve::UsedCredential;
use crate::secret::Secret;

/// Shorter ones are found in texts that have nothing to do with them.
const SHORTEST: usize = 6;
/// What stands in the place of a secret.
const REMOVED: &str = "REMOVED";

/// All that is secret about a credential, also encoded. The longest comes first, so that no part of one is left.
pub(super) struct SecretTexts(Vec<String>);

impl SecretTexts {
    /// The texts of a credential.
    pub(super) fn of(used: &UsedCredential) -> Self {
        let UsedCredential { credential, auth_method, resolved, .. } = used;
        let is_secret =
            |id: &str| auth_method.fields.iter().find(|field| field.id == id).is_none_or(|field| field.secret);
        let tokens = credential.tokens().flat_map(|(_, token)| {
            [Some(&token.access_token), token.refresh_token.as_ref()].into_iter().flatten().map(Secret::expose)
        });
        let fields = credential.fields.iter().filter(|(id, _)| is_secret(id)).map(|(_, value)| value.expose());
        let request = &auth_method.request;
        let headers = resolved.issued.request.headers.iter().filter(|(name, _)| request.fills_header(name));
        // `Bearer …`, `Basic …`: the scheme is no secret.
        let headers = headers.filter_map(|(_, value)| value.rsplit(' ').next());
        let plain: Vec<&str> = tokens.chain(fields).chain(headers).filter(|text| text.len() >= SHORTEST).collect();
        let mut texts: Vec<String> = plain.into_iter().flat_map(forms).collect();
        texts.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        texts.dedup();
        Self(texts)
    }

    /// A text without them.
    pub(super) fn remove_from<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), REMOVED));
            }
        }
        text
    }
}

/// A secret as it is, percent-encoded, as a form has it, and in Base64.
fn forms(text: &str) -> [String; 5] {
    [
        text.to_owned(),
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
        form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        STANDARD.encode(text).trim_end_matches('=').to_owned(),
        URL_SAFE_NO_PAD.encode(text),
    ]
}
