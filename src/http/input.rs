//! What a request carries, parsed into types: JSON with field paths, forms, queries, pages of lists.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use url::form_urlencoded;

use super::{Body, Request};
use crate::app::AuthMethodId;
use crate::error::{Error, ErrorCode, FieldError, Result};
use crate::json::{self, JsonFault};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Rows of a page of a list, unless told otherwise.
const DEFAULT_LIMIT: i64 = 50;
/// Rows of a page of a list, at most.
const MAX_LIMIT: i64 = 200;

/// The body is over the limit.
pub(super) fn body_too_large() -> Error {
    Error::new(ErrorCode::BodyTooLarge, "The body may have at most 256 KB.")
}

/// The body as JSON. An empty body is an empty object where the caller may leave everything out.
pub(super) fn parse_json<T: DeserializeOwned>(request: &Request) -> Result<T> {
    let Body::Bytes(bytes) = &request.body else { return Err(body_too_large()) };
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    if !json::is_json(bytes) {
        return Err(Error::invalid_field("", NOT_JSON));
    }
    // Else a list would do: serde reads a struct from its members in order, too.
    if !json::is_object(bytes) {
        return Err(Error::invalid_field("", "The body must be an object."));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (field, fault) = JsonFault::from_serde(&error.path().to_string(), &error.inner().to_string());
        Error::invalid_field(&field, format!("{fault}."))
    })
}

/// A member that is there, be it null. With `default`, one that is not there is none.
pub(super) fn present<'de, T, D>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

const NOT_JSON: &str = "The body is not valid JSON.";

/// The body as text, for what is read by a reader of its own.
pub(super) fn body_text(request: &Request) -> Result<&str> {
    let Body::Bytes(bytes) = &request.body else { return Err(body_too_large()) };
    std::str::from_utf8(bytes).map_err(|_| Error::invalid_field("", "The body is not UTF-8."))
}

/// A field of a form's body.
pub(super) fn form_field(request: &Request, name: &str) -> Option<String> {
    let Body::Bytes(bytes) = &request.body else { return None };
    form_urlencoded::parse(bytes).find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// All values of a form's field.
pub(super) fn form_field_values(request: &Request, name: &str) -> Vec<String> {
    let Body::Bytes(bytes) = &request.body else { return vec![] };
    form_urlencoded::parse(bytes).filter(|(known, _)| known == name).map(|(_, value)| value.into_owned()).collect()
}

/// A form's fields whose names begin so, without that beginning. Values may be secrets.
pub(super) fn form_fields_with_prefix(request: &Request, prefix: &str) -> BTreeMap<String, Secret> {
    let Body::Bytes(bytes) = &request.body else { return BTreeMap::new() };
    form_urlencoded::parse(bytes)
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), Secret::new(value))))
        .collect()
}

/// All parameters of the query, the first of each name.
pub(super) fn all_query_params(request: &Request) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
        all.entry(name.into_owned()).or_insert_with(|| value.into_owned());
    }
    all
}

/// A parameter of the query; an empty one counts as absent.
pub(super) fn query_param(request: &Request, name: &str) -> Option<String> {
    form_urlencoded::parse(request.query.as_bytes())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

/// The way to connect that `auth_method` names. An empty one is refused: it says that somebody's variable was not filled in.
pub(super) fn auth_method_param(request: &Request) -> Result<Option<AuthMethodId>> {
    let Some(text) = all_query_params(request).remove("auth_method") else { return Ok(None) };
    if text.is_empty() {
        return Err(Error::invalid_field("auth_method", "is empty. Give the id of a way to connect, or leave it out."));
    }
    AuthMethodId::parse(&text).map(Some).ok_or_else(|| Error::not_found("way to connect this app"))
}

/// How often a parameter stands in the query.
fn count_query_param(request: &Request, name: &str) -> usize {
    form_urlencoded::parse(request.query.as_bytes()).filter(|(known, _)| known == name).count()
}

/// How many values a parameter has in the query: one that decides something must not have two (RFC 6749, 3.1). The same value
/// once more, as proxies and bookmarks leave it, says nothing else.
pub(super) fn values(request: &Request, name: &str) -> usize {
    let all = form_urlencoded::parse(request.query.as_bytes()).filter(|(known, _)| known == name);
    all.map(|(_, value)| value).collect::<BTreeSet<_>>().len()
}

/// What a list is asked for.
pub(super) struct QueryParams(BTreeMap<String, String>);

impl QueryParams {
    /// Reads the query of a list that knows these filters, besides `limit` and `cursor`. Any other is refused, and so is
    /// an empty one: left aside, they would make the list wider than it was meant to be.
    pub(super) fn parse_list_query(request: &Request, known: &[&str]) -> Result<Self> {
        let known: Vec<_> = known.iter().chain(&["limit", "cursor"]).copied().collect();
        Self::parse_known(request, &known)
    }

    /// Reads the query of what is no list, and refuses what it does not know in the same way.
    pub(super) fn parse_known(request: &Request, known: &[&str]) -> Result<Self> {
        let given = all_query_params(request);
        let wrong = |name: &String, value: &String| {
            let problem = if !known.contains(&name.as_str()) {
                format!("is not known here; there are {}.", known.join(", "))
            } else if value.is_empty() {
                "is empty. Give a value, or leave it out.".to_owned()
            } else if count_query_param(request, name) > 1 {
                "stands here twice; remove one.".to_owned()
            } else {
                return None;
            };
            Some(FieldError { field: name.clone(), problem })
        };
        let errors: Vec<_> = given.iter().filter_map(|(name, value)| wrong(name, value)).collect();
        if errors.is_empty() { Ok(Self(given)) } else { Err(Error::invalid_fields(errors)) }
    }

    /// A filter, if it was given.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A filter as `read` understands it, if it was given; `problem` says what it must be.
    pub(super) fn get_parsed<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        problem: &str,
    ) -> Result<Option<T>> {
        self.get(name).map(|text| read(text).ok_or_else(|| Error::invalid_field(name, problem.to_owned()))).transpose()
    }

    /// How many rows.
    pub(super) fn limit(&self) -> Result<i64> {
        let Some(text) = self.get("limit") else { return Ok(DEFAULT_LIMIT) };
        text.parse()
            .ok()
            .filter(|n| (1..=MAX_LIMIT).contains(n))
            .ok_or_else(|| Error::invalid_field("limit", "must be a number from 1 to 200."))
    }

    /// Where the page before ended, as `read` understands it.
    pub(super) fn cursor<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        self.get("cursor").map(|text| read(text).ok_or_else(invalid_cursor)).transpose()
    }
}

/// Reads where a page ended whose list goes by time: `seconds.id` of the last row.
pub(super) fn parse_time_cursor<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<(Timestamp, T)> {
    let (at, id) = text.split_once('.')?;
    Some((Timestamp::from_unix(at.parse().ok()?), read(id)?))
}

/// Something that a cursor did not come from.
pub(super) fn invalid_cursor() -> Error {
    Error::invalid_field("cursor", "is not one this list gave. Leave it out to begin anew.")
}
