//! What a request carries, parsed into types: JSON with field paths, forms, queries, pages of lists.

use serde::de::DeserializeOwned;
use url::form_urlencoded;

use super::{Body, Request};
use crate::error::{Error, Result};
use crate::store::Page;

/// Rows of a page of a list, unless told otherwise.
const USUAL_LIMIT: i64 = 50;
/// Rows of a page of a list, at most.
const MOST: i64 = 200;

/// The body as JSON. An empty body is an empty object where the caller may leave everything out.
pub(super) fn json<T: DeserializeOwned>(request: &Request) -> Result<T> {
    let Body::Bytes(bytes) = &request.body else { return Err(Error::invalid("", "The body is too large.")) };
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "" } else { &path };
        Error::invalid(field, format!("{}.", without_position(&error.inner().to_string())))
    })?;
    deserializer.end().map_err(|_| Error::invalid("", "The body has something after its JSON value."))?;
    Ok(value)
}

/// The body as text, for what is read by a reader of its own.
pub(super) fn text(request: &Request) -> Result<&str> {
    let Body::Bytes(bytes) = &request.body else { return Err(Error::invalid("", "The body is too large.")) };
    std::str::from_utf8(bytes).map_err(|_| Error::invalid("", "The body is not UTF-8."))
}

fn without_position(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

/// A field of a form's body.
pub(super) fn form(request: &Request, name: &str) -> Option<String> {
    let Body::Bytes(bytes) = &request.body else { return None };
    form_urlencoded::parse(bytes).find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
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
