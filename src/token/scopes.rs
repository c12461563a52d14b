//! The scopes in a response.
//!
//! Owns how a list of scopes is split, whatever separates them. Ignores text that cannot be a scope (RFC 6749 3.3).

use serde_json::Value;

use super::is_header_safe;
use crate::app::AuthMethod;

/// Most scopes of a response, and most characters of each.
const MAX_SCOPES: usize = 500;
const MAX_SCOPE_LENGTH: usize = 512;

/// Granted scopes as a list. `None` if the response has none (RFC 6749 5.1: as requested).
pub(super) fn read_granted_scopes(auth_method: &AuthMethod, value: &Value) -> Option<Vec<String>> {
    let texts: Vec<&str> = match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    clean_scope_list(texts.into_iter().flat_map(|text| split_scopes(auth_method, text)).collect())
}

/// The scopes in a redirect. An empty parameter contains none.
pub fn read_redirect_scopes(auth_method: &AuthMethod, text: &str) -> Vec<String> {
    clean_scope_list(split_scopes(auth_method, text)).unwrap_or_default()
}

/// Split as the definition says, and at other separators if they are unambiguous: no scope contains white space, and
/// none contains a comma unless the definition has one that does.
fn split_scopes<'a>(auth_method: &AuthMethod, text: &'a str) -> Vec<&'a str> {
    let own = auth_method
        .oauth_server()
        .map(|server| server.response.scope_separator.as_ref().unwrap_or(&server.scope_separator));
    let own = own.map_or(" ", String::as_str);
    let has_commas = auth_method.scopes.iter().any(|scope| scope.id.contains(','));
    let parts = text.split(own).flat_map(str::split_whitespace);
    let parts = parts.flat_map(|part| if has_commas { vec![part] } else { part.split(',').collect() });
    parts.flat_map(|part| separated_otherwise(auth_method, part)).collect()
}

/// A separator that other apps use inside a scope. It separates only if each part is a scope of the definition.
fn separated_otherwise<'a>(auth_method: &AuthMethod, part: &'a str) -> Vec<&'a str> {
    let knows = |part: &str| auth_method.scopes.iter().any(|scope| scope.id == part);
    let split = ["+", "%20", ";", "|"].iter().map(|separator| part.split(separator).collect::<Vec<_>>());
    let mut split = split.filter(|parts| parts.len() > 1 && parts.iter().all(|part| knows(part)));
    split.next().filter(|_| !knows(part)).unwrap_or_else(|| vec![part])
}

/// Scopes without duplicates. `None` if there is none.
pub(super) fn clean_scope_list(parts: Vec<&str>) -> Option<Vec<String>> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in
        parts.into_iter().map(str::trim).filter(|scope| is_header_safe(scope) && scope.len() <= MAX_SCOPE_LENGTH)
    {
        if scopes.len() < MAX_SCOPES && !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    (!scopes.is_empty()).then_some(scopes)
}
