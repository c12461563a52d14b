//! What a request carries, parsed into types: JSON with field paths, forms, queries, pages of lists.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::{Body, Request};
use crate::error::{Code, Error, Result};
use crate::secret::Secret;
use crate::store::Page;

/// Rows of a page of a list, unless told otherwise.
const USUAL_LIMIT: i64 = 50;
/// Rows of a page of a list, at most.
const MOST: i64 = 200;

/// The body is over the limit.
pub(super) fn too_large() -> Error {
    Error::new(Code::BodyTooLarge, "The body may have at most 256 KB.")
}

/// The body as JSON. An empty body is an empty object where the caller may leave everything out.
pub(super) fn json<T: DeserializeOwned>(request: &Request) -> Result<T> {
    let Body::Bytes(bytes) = &request.body else { return Err(too_large()) };
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let message = error.inner().to_string();
        Error::invalid(&field(&error.path().to_string(), &message), problem(&message))
    })?;
    deserializer.end().map_err(|_| Error::invalid("", "The body has something after its JSON value."))?;
    Ok(value)
}

/// The body as text, for what is read by a reader of its own.
pub(super) fn text(request: &Request) -> Result<&str> {
    let Body::Bytes(bytes) = &request.body else { return Err(too_large()) };
    std::str::from_utf8(bytes).map_err(|_| Error::invalid("", "The body is not UTF-8."))
}

const NOT_JSON: &str = "The body is not valid JSON.";

/// The path of the field that is wrong. One that is missing is named by the message, not by the path.
fn field(path: &str, message: &str) -> String {
    let path = if path == "." { "" } else { path };
    let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match missing {
        Some(name) if path.is_empty() => name.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None => path.to_owned(),
    }
}

/// What was expected, never what was sent: the value in the wrong place may be a secret.
fn problem(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    if message.starts_with("missing field") {
        return "is missing.".to_owned();
    }
    match message.rsplit_once(", expected ") {
        Some((before, expected)) => {
            let what =
                if before.starts_with("unknown field") { "is no field of this request; there are" } else { "must be" };
            format!("{what} {}.", in_words(expected))
        }
        None if message.starts_with("expected value") || message.starts_with("expected ident") => NOT_JSON.to_owned(),
        None if message.starts_with("expected ") => {
            format!("must be {}.", in_words(message.trim_start_matches("expected ")))
        }
        None if message.starts_with("unknown field") => "is no field of this request: it takes none.".to_owned(),
        None => NOT_JSON.to_owned(),
    }
}

fn in_words(expected: &str) -> &str {
    match expected {
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        other => other.strip_prefix("struct ").map_or(other, |_| "an object"),
    }
}

/// A field of a form's body.
pub(super) fn form(request: &Request, name: &str) -> Option<String> {
    let Body::Bytes(bytes) = &request.body else { return None };
    form_urlencoded::parse(bytes).find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// All values of a form's field.
pub(super) fn forms(request: &Request, name: &str) -> Vec<String> {
    let Body::Bytes(bytes) = &request.body else { return vec![] };
    form_urlencoded::parse(bytes).filter(|(known, _)| known == name).map(|(_, value)| value.into_owned()).collect()
}

/// A form's fields whose names begin so, without that beginning. Values may be secrets.
pub(super) fn forms_under(request: &Request, prefix: &str) -> BTreeMap<String, Secret> {
    let Body::Bytes(bytes) = &request.body else { return BTreeMap::new() };
    form_urlencoded::parse(bytes)
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), Secret::new(value))))
        .collect()
}

/// All parameters of the query, the first of each name.
pub(super) fn queries(request: &Request) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
        all.entry(name.into_owned()).or_insert_with(|| value.into_owned());
    }
    all
}

/// A parameter of the query; an empty one counts as absent.
pub(super) fn query(request: &Request, name: &str) -> Option<String> {
    form_urlencoded::parse(request.query.as_bytes())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

/// How often a parameter stands in the query: one that decides something must not stand twice (RFC 6749, 3.1).
pub(super) fn times(request: &Request, name: &str) -> usize {
    form_urlencoded::parse(request.query.as_bytes()).filter(|(known, _)| known == name).count()
}

/// `limit` of a list.
pub(super) fn limit(request: &Request) -> Result<i64> {
    let Some(text) = query(request, "limit") else { return Ok(USUAL_LIMIT) };
    text.parse()
        .ok()
        .filter(|n| (1..=MOST).contains(n))
        .ok_or_else(|| Error::invalid("limit", "must be a number from 1 to 200."))
}

/// Something that a cursor did not come from.
pub(super) fn wrong_cursor() -> Error {
    Error::invalid("cursor", "is not one this list gave. Leave it out to begin anew.")
}

/// A name: 1 to `longest` characters, no control characters, no spaces around it.
pub(super) fn name(field: &str, text: &str, longest: usize) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > longest || text.chars().any(char::is_control) {
        return Err(Error::invalid(
            field,
            format!("must have 1 to {longest} characters, none of them a control character."),
        ));
    }
    Ok(text.to_owned())
}

/// A list's answer.
pub(super) fn list<T>(page: &Page<T>, show: impl Fn(&T) -> serde_json::Value) -> serde_json::Value {
    serde_json::json!({ "data": page.data.iter().map(show).collect::<Vec<_>>(), "next_cursor": page.next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_field_is_named() {
        assert_eq!(field(".", "missing field `name` at line 1"), "name");
        assert_eq!(field("user", "missing field `id` at line 1"), "user.id");
        assert_eq!(field("min_ttl", "invalid type"), "min_ttl");
    }

    #[test]
    fn a_wrong_value_is_never_repeated() {
        let cases = [
            ("invalid type: string \"hunter2\", expected i64 at line 1 column 9", "must be a whole number."),
            ("unknown variant `hunter2`, expected one of `a`, `b` at line 1 column 2", "must be one of `a`, `b`."),
            ("invalid type: string \"a, expected hunter2\", expected a boolean", "must be true or false."),
            (
                "unknown field `hunter2`, expected `name` at line 1 column 2",
                "is no field of this request; there are `name`.",
            ),
            ("missing field `name` at line 1 column 2", "is missing."),
            ("expected an id that begins with con_ at line 1 column 2", "must be an id that begins with con_."),
            ("expected value at line 1 column 1", NOT_JSON),
            ("EOF while parsing an object at line 1 column 1", NOT_JSON),
        ];
        for (message, told) in cases {
            assert_eq!(problem(message), told);
        }
    }
}
