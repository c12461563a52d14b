//! The input of a request, parsed into types: JSON with field paths, forms, queries, pages of lists.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use url::form_urlencoded;

use super::{Body, Request};
use crate::app::AuthMethodId;
use crate::environment::Environment;
use crate::error::{Error, ErrorCode, FieldError, Result};
use crate::gather::Gather as _;
use crate::json::{self, JsonFault, ReadFault};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Default rows of a page of a list.
const DEFAULT_LIMIT: i64 = 50;
/// Most rows of a page of a list.
const MAX_LIMIT: i64 = 200;

/// The body is over the limit.
pub(super) fn body_too_large() -> Error {
    Error::new(ErrorCode::BodyTooLarge, "The body may have at most 256 KB.")
}

/// The body as JSON. An empty body is an empty object if all members are optional.
pub(super) fn parse_json<T: DeserializeOwned>(request: &Request) -> Result<T> {
    let Body::Bytes(bytes) = &request.body else { return Err(body_too_large()) };
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    // Otherwise a list would be accepted, because serde also reads a struct from its members in order.
    if !json::is_object(bytes) {
        let problem = if json::is_json(bytes) { "The body must be an object." } else { NOT_JSON };
        return Err(Error::invalid_field("", problem));
    }
    json::read(bytes).map_err(|fault| match fault {
        ReadFault::NotJson(_) => Error::invalid_field("", NOT_JSON),
        ReadFault::Member { path, message } => {
            let (field, fault) = JsonFault::from_serde(&path, &message);
            Error::invalid_field(&field, format!("{fault}."))
        }
    })
}

/// A member that is present, even if it is null. With `default`, an absent one is none.
pub(super) fn present<'de, T, D>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

const NOT_JSON: &str = "The body is not valid JSON.";

/// The body as text, for a body with its own reader.
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

/// A form's fields with this prefix, without it. Values may be secrets.
pub(super) fn form_fields_with_prefix(request: &Request, prefix: &str) -> BTreeMap<String, Secret> {
    let Body::Bytes(bytes) = &request.body else { return BTreeMap::new() };
    form_urlencoded::parse(bytes)
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), Secret::new(value))))
        .gather()
}

/// All parameters of the query, the first of each name.
pub(super) fn all_query_params(request: &Request) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
        all.entry(name.into_owned()).or_insert_with(|| value.into_owned());
    }
    all
}

/// A parameter of the query. An empty one counts as absent.
pub(super) fn query_param(request: &Request, name: &str) -> Option<String> {
    form_urlencoded::parse(request.query.as_bytes())
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

/// The auth method in `auth_method`. An empty one is refused: the caller's variable was probably not filled.
pub(super) fn auth_method_param(request: &Request) -> Result<Option<AuthMethodId>> {
    let Some(text) = all_query_params(request).remove("auth_method") else { return Ok(None) };
    if text.is_empty() {
        return Err(Error::invalid_field("auth_method", "is empty. Give the id of a way to connect, or leave it out."));
    }
    AuthMethodId::parse(&text).map(Some).ok_or_else(|| Error::not_found("way to connect this app"))
}

/// How often a parameter is in the query.
fn count_query_param(request: &Request, name: &str) -> usize {
    form_urlencoded::parse(request.query.as_bytes()).filter(|(known, _)| known == name).count()
}

/// How many different values a parameter has in the query: one that decides something must have one (RFC 6749, 3.1).
/// Proxies and bookmarks may repeat the same value.
pub(super) fn values(request: &Request, name: &str) -> usize {
    let all = form_urlencoded::parse(request.query.as_bytes()).filter(|(known, _)| known == name);
    all.map(|(_, value)| value).gather::<BTreeSet<_>>().len()
}

/// The query of a list.
pub(super) struct QueryParams(BTreeMap<String, String>);

impl QueryParams {
    /// Reads the query of a list with these filters, `limit` and `cursor`. Unknown and empty parameters are refused:
    /// ignoring them would return more than the caller wants.
    pub(super) fn parse_list_query(request: &Request, known: &[&str]) -> Result<Self> {
        let known: Vec<_> = known.iter().chain(&["limit", "cursor"]).copied().collect();
        Self::parse_known(request, &known)
    }

    /// The same, also with parameters that begin with `prefix`. What follows is the caller's.
    pub(super) fn parse_list_query_with(request: &Request, known: &[&str], prefix: &'static str) -> Result<Self> {
        let known: Vec<_> = known.iter().chain(&["limit", "cursor"]).copied().collect();
        Self::parse(request, &known, Some(prefix))
    }

    /// Reads the query of another route, with the same rule for unknown parameters.
    pub(super) fn parse_known(request: &Request, known: &[&str]) -> Result<Self> {
        Self::parse(request, known, None)
    }

    fn parse(request: &Request, known: &[&str], prefix: Option<&str>) -> Result<Self> {
        let given = all_query_params(request);
        let has_prefix =
            |name: &str| prefix.is_some_and(|prefix| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()));
        let wrong = |name: &String, value: &String| {
            let problem = if !known.contains(&name.as_str()) && !has_prefix(name) {
                let named = prefix.map(|prefix| format!("{prefix}KEY"));
                let all: Vec<_> = known.iter().copied().chain(named.as_deref()).collect();
                format!("is not known here; there are {}.", all.join(", "))
            } else if value.is_empty() {
                "is empty. Give a value, or leave it out.".to_owned()
            } else if count_query_param(request, name) > 1 {
                "is duplicated; remove one.".to_owned()
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

    /// The filters that begin with a prefix, without it.
    pub(super) fn with_prefix(&self, prefix: &str) -> BTreeMap<String, String> {
        let one = |(name, value): (&String, &String)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone()));
        self.0.iter().filter_map(one).gather()
    }

    /// A filter, parsed with `read`, if it was given. `problem` says what it must be.
    pub(super) fn get_parsed<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Option<T>,
        problem: &str,
    ) -> Result<Option<T>> {
        self.get(name).map(|text| read(text).ok_or_else(|| Error::invalid_field(name, problem.to_owned()))).transpose()
    }

    /// The environment, if it was given.
    pub(super) fn environment(&self) -> Result<Option<Environment>> {
        self.get_parsed("environment", Environment::parse, "must be production or test.")
    }

    /// How many rows.
    pub(super) fn limit(&self) -> Result<i64> {
        self.limit_up_to(DEFAULT_LIMIT, MAX_LIMIT)
    }

    /// The same with other numbers.
    pub(super) fn limit_up_to(&self, usual: i64, most: i64) -> Result<i64> {
        let Some(text) = self.get("limit") else { return Ok(usual) };
        text.parse()
            .ok()
            .filter(|n| (1..=most).contains(n))
            .ok_or_else(|| Error::invalid_field("limit", format!("must be a number from 1 to {most}.")))
    }

    /// Where the previous page ended, parsed with `read`.
    pub(super) fn cursor<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        self.get("cursor").map(|text| read(text).ok_or_else(invalid_cursor)).transpose()
    }
}

/// Reads the cursor of a list in order of time: `seconds.id` of the last row.
pub(super) fn parse_time_cursor<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<(Timestamp, T)> {
    let (at, id) = text.split_once('.')?;
    Some((Timestamp::from_unix(at.parse().ok()?), read(id)?))
}

/// The error of an invalid cursor.
pub(super) fn invalid_cursor() -> Error {
    Error::invalid_field("cursor", "is not a cursor of this list. Leave it out to start again.")
}
