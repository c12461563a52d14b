//! The scopes that an answer names.
//!
//! Owns how a list of scopes is told apart, whatever separates them. Refuses what no scope can be (RFC 6749 3.3).

use serde_json::Value;

use super::is_header_safe;
use crate::app::App;

/// Scopes of an answer, at most, and characters of each.
const MOST_SCOPES: usize = 500;
const LONGEST_SCOPE: usize = 512;

/// Granted scopes as a list; `None` where the answer does not say (RFC 6749 5.1: as requested).
pub(super) fn granted(app: &App, value: &Value) -> Option<Vec<String>> {
    let texts: Vec<&str> = match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    scope_list(texts.into_iter().flat_map(|text| separated(app, text)).collect())
}

/// The scopes that a redirect names. A parameter that is there and empty names none.
pub fn scopes_in_redirect(app: &App, text: &str) -> Vec<String> {
    scope_list(separated(app, text)).unwrap_or_default()
}

/// Separated as the definition says, and where it can only be meant so: no scope has white space, and none has a comma unless
/// the definition knows one that has.
fn separated<'a>(app: &App, text: &'a str) -> Vec<&'a str> {
    let own = app.server().map(|server| server.response.scope_separator.as_ref().unwrap_or(&server.scope_separator));
    let own = own.map_or(" ", String::as_str);
    let has_commas = app.scopes.iter().any(|scope| scope.id.contains(','));
    let parts = text.split(own).flat_map(str::split_whitespace);
    let parts = parts.flat_map(|part| if has_commas { vec![part] } else { part.split(',').collect() });
    parts.flat_map(|part| separated_otherwise(app, part)).collect()
}

/// What some put between scopes and others into one. It separates only where each part is a scope that the definition knows.
fn separated_otherwise<'a>(app: &App, part: &'a str) -> Vec<&'a str> {
    let knows = |part: &str| app.scopes.iter().any(|scope| scope.id == part);
    let split = ["+", "%20", ";", "|"].iter().map(|separator| part.split(separator).collect::<Vec<_>>());
    let mut split = split.filter(|parts| parts.len() > 1 && parts.iter().all(|part| knows(part)));
    split.next().filter(|_| !knows(part)).unwrap_or_else(|| vec![part])
}

/// Scopes once each; `None` where there is none.
pub(super) fn scope_list(parts: Vec<&str>) -> Option<Vec<String>> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in parts.into_iter().map(str::trim).filter(|scope| is_header_safe(scope) && scope.len() <= LONGEST_SCOPE)
    {
        if scopes.len() < MOST_SCOPES && !scopes.iter().any(|known| known == scope) {
            scopes.push(scope.to_owned());
        }
    }
    (!scopes.is_empty()).then_some(scopes)
}
