//! Requests to an app's API: how they send a credential, and what their responses say about it.
//!
//! Owns the form of requests, probes, account pointers and error tables. Refuses a secret in a host.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::JsonPointer;
use super::template::{RequestError, Template, TemplateValues, UrlTemplate};
use crate::egress::EgressUrl;
use crate::gather::Gather as _;
use crate::secret::Secret;

/// The methods of requests to apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OutboundMethod {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

impl OutboundMethod {
    /// The method's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// How a credential is sent in requests to the app.
#[derive(Debug, Clone)]
pub struct RequestTemplate {
    /// The address that API paths are relative to.
    pub base_url: Option<UrlTemplate>,
    /// Header names and templates.
    pub headers: BTreeMap<String, Template>,
    /// Parameters of every request.
    pub query: BTreeMap<String, Template>,
    /// User name and password of HTTP Basic.
    pub basic: Option<(Template, Template)>,
}

/// A request template with all values. All of it is secret.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "AppRequest"))]
pub struct PreparedRequest {
    /// The headers to send. Usually they contain the credential.
    pub headers: BTreeMap<String, String>,
    /// Parameters.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
    /// Base address.
    pub base_url: Option<String>,
}

impl fmt::Debug for PreparedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dressed([redacted])")
    }
}

impl RequestTemplate {
    /// The template with all values.
    ///
    /// # Errors
    /// A value is missing or not permitted.
    pub fn prepare(&self, values: &TemplateValues) -> Result<PreparedRequest, RequestError> {
        let base_url = self.base_url.as_ref().map(|url| url.fill(values)).transpose()?;
        Ok(PreparedRequest {
            headers: self.fill_headers(values, |_| true)?,
            query: fill_templates(&self.query, values)?,
            base_url: base_url.map(|url| url.as_str().to_owned()),
        })
    }

    /// The wanted headers with the credential.
    pub(crate) fn fill_headers(
        &self,
        values: &TemplateValues,
        wanted: impl Fn(&Template) -> bool,
    ) -> Result<BTreeMap<String, String>, RequestError> {
        let fill = |(name, template): (&String, &Template)| Ok((name.clone(), template.fill(values)?));
        let mut headers: BTreeMap<_, _> =
            self.headers.iter().filter(|(_, template)| wanted(template)).map(fill).collect::<Result<_, _>>()?;
        if let Some((username, password)) = &self.basic {
            let pair = Secret::new(format!("{}:{}", username.fill(values)?, password.fill(values)?));
            headers.insert("Authorization".to_owned(), format!("Basic {}", STANDARD.encode(pair.expose())));
        }
        // Otherwise the app would take the text after the colon for the password (RFC 7617, 2).
        if let Some((username, _)) = &self.basic
            && let Some(place) = username.find_placeholder(values, |value| value.contains(':'))
        {
            return Err(RequestError::InvalidValue(place.to_owned()));
        }
        let unfit = |value: &str| !value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        match headers.iter().find(|(_, value)| unfit(value)) {
            Some((name, _)) => {
                let place = self.headers.get(name).and_then(|template| template.find_placeholder(values, unfit));
                Err(RequestError::InvalidValue(place.unwrap_or(name).to_owned()))
            }
            None => Ok(headers),
        }
    }

    /// Whether a header has a value of the connection, such as its credential. Names are compared without case.
    pub fn fills_header(&self, name: &str) -> bool {
        let is_filled = |(known, template): (&String, &Template)| {
            known.eq_ignore_ascii_case(name) && template.placeholders().next().is_some()
        };
        self.basic.is_some() && name.eq_ignore_ascii_case("authorization") || self.headers.iter().any(is_filled)
    }

    /// The same for a parameter.
    pub fn fills_query(&self, name: &str) -> bool {
        self.query
            .iter()
            .any(|(known, template)| known.eq_ignore_ascii_case(name) && template.placeholders().next().is_some())
    }

    pub(super) fn placeholders(&self) -> impl Iterator<Item = &str> {
        let pair = self.basic.iter().flat_map(|(username, password)| [username, password]);
        let templates = self.headers.values().chain(self.query.values()).chain(pair);
        templates.flat_map(Template::placeholders).chain(self.base_url.iter().flat_map(UrlTemplate::placeholders))
    }
}

/// A map of templates with all values.
pub(crate) fn fill_templates(
    templates: &BTreeMap<String, Template>,
    values: &TemplateValues,
) -> Result<BTreeMap<String, String>, RequestError> {
    templates.iter().map(|(name, template)| Ok((name.clone(), template.fill(values)?))).try_gather()
}

/// A request to the app's API with a credential, for its account or as a check.
#[derive(Debug, Clone)]
pub struct Probe {
    /// GET unless the definition says POST.
    pub method: OutboundMethod,
    /// The address.
    pub url: UrlTemplate,
    /// Headers in addition to those of the request template.
    pub headers: BTreeMap<String, Template>,
    /// The body, unchanged.
    pub body: Option<String>,
    /// The meanings of unusual statuses at this address.
    pub statuses: BTreeMap<u16, StatusMeaning>,
}

/// The meaning of a probe's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusMeaning {
    /// The credential works.
    Works,
    /// The credential is refused.
    Refused,
    /// The credential works, but not for this request.
    Forbidden,
    /// It says nothing about the credential.
    Unknown,
}

/// How to find out that a working credential sees no content, because nobody shared any.
#[derive(Debug, Clone)]
pub struct NothingSharedCheck {
    /// The request that lists the content.
    pub probe: Probe,
    /// Where the list is in the response. An empty list means that nothing was shared.
    pub list: JsonPointer,
    /// What that means and what to do, for a person.
    pub message: String,
}

/// How the account of a credential is found out.
#[derive(Debug, Clone)]
pub struct IdentityLookup {
    /// The request. `None` if the token response names the account.
    pub probe: Option<Probe>,
    /// Where the account is in the response.
    pub account: AccountLayout,
    /// Where the response lists the granted scopes.
    pub scopes: Option<ScopesHeader>,
    /// Another source of the label, if the token response names the account.
    pub named_by: Option<LabelLookup>,
}

/// A request for an account's label only. The account is known without it.
#[derive(Debug, Clone)]
pub struct LabelLookup {
    /// The request.
    pub probe: Probe,
    /// The label: the first template whose parts are all present.
    pub label: Vec<ResponseTextTemplate>,
}

/// A header of a response with the granted scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopesHeader {
    /// Its name, in lower case.
    pub header: String,
    /// What separates scopes in it.
    pub separator: String,
}

/// Where an account's id and label are in a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountLayout {
    /// The unchangeable id of the account: the first template whose parts are all present.
    pub id: Vec<ResponseTextTemplate>,
    /// The label: the first template whose parts are all present.
    pub label: Vec<ResponseTextTemplate>,
    /// Other members about the account.
    pub marks: Vec<ResponseMark>,
}

impl AccountLayout {
    /// Whether a different id in a response always means another account: the id has one place, which is not in a list,
    /// and nothing else in the response changes it.
    pub fn has_unambiguous_id(&self) -> bool {
        matches!(self.id.as_slice(), [id] if id.has_no_list_index())
            && self.marks.iter().all(|mark| mark.account.is_none())
    }
}

impl AccountLayout {
    /// The same, with a known name before the other labels.
    pub(crate) fn with_known_label(&self, name: Option<String>) -> Self {
        let known = name.map(|name| ResponseTextTemplate(vec![ResponseTextPiece::Text(name)]));
        Self { label: known.into_iter().chain(self.label.iter().cloned()).collect(), ..self.clone() }
    }
}

/// What a member of a response says about an account, such as that it is for tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseMark {
    /// The member.
    pub pointer: JsonPointer,
    /// The value with this meaning.
    pub value: serde_json::Value,
    /// Added to the account's label.
    pub label: Option<String>,
    /// Added to the account's id, if one id names two accounts.
    pub account: Option<String>,
}

/// A text made of parts of a response: a pointer, or `{/team/id}:{/user_id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseTextTemplate(Vec<ResponseTextPiece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum ResponseTextPiece {
    Text(String),
    Pointer(JsonPointer),
    Placeholder(String),
}

impl ResponseTextTemplate {
    /// Reads a pointer or a template. `None` if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return JsonPointer::parse(text).map(|pointer| Self(vec![ResponseTextPiece::Pointer(pointer)]));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, tail) = after.split_once('}')?;
            if !before.is_empty() {
                pieces.push(ResponseTextPiece::Text(before.to_owned()));
            }
            pieces.push(if inside.starts_with('/') {
                ResponseTextPiece::Pointer(JsonPointer::parse(inside)?)
            } else if super::template::is_identifier(inside) {
                ResponseTextPiece::Placeholder(inside.to_owned())
            } else {
                return None;
            });
            rest = tail;
        }
        if !rest.is_empty() {
            pieces.push(ResponseTextPiece::Text(rest.to_owned()));
        }
        let tells = pieces.iter().any(|piece| !matches!(piece, ResponseTextPiece::Text(_)));
        (tells && !text.contains("}}") && !rest.contains('}')).then_some(Self(pieces))
    }

    /// Whether no part of it is in a list, whose first entry can change.
    fn has_no_list_index(&self) -> bool {
        let numbered = |at: &JsonPointer| at.as_str().split('/').any(|step| step.parse::<usize>().is_ok());
        self.0.iter().all(|piece| !matches!(piece, ResponseTextPiece::Pointer(at) if numbered(at)))
    }

    /// The names that are not pointers.
    pub(super) fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            ResponseTextPiece::Placeholder(name) => Some(name.as_str()),
            ResponseTextPiece::Text(_) | ResponseTextPiece::Pointer(_) => None,
        })
    }

    /// The text, if all its parts are present. Numbers become text, and empty texts count as absent.
    pub fn extract(&self, answer: &Value, values: &TemplateValues) -> Option<String> {
        self.0
            .iter()
            .map(|piece| match piece {
                ResponseTextPiece::Text(text) => Some(text.clone()),
                ResponseTextPiece::Placeholder(name) => values.get(name).map(str::to_owned),
                ResponseTextPiece::Pointer(pointer) => pointer.find(answer).and_then(scalar_text),
            })
            .collect()
    }
}

/// From here on numbers are not exact: two different numbers may look equal.
const LEAST_INEXACT: f64 = 9_007_199_254_740_992.0;

/// A text or number as text.
pub(crate) fn scalar_text(value: &Value) -> Option<String> {
    let is_inexact = |number: f64| number.abs() >= LEAST_INEXACT;
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_f64() && number.as_f64().is_some_and(is_inexact) => None,
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The meanings of an app's error codes. They have precedence over the default table of the token module.
#[derive(Debug, Clone)]
pub struct ErrorTable {
    /// The grant has ended.
    pub permanent: Vec<String>,
    /// Our client is refused.
    pub client: Vec<String>,
    /// This connection requests something that it may not have.
    pub configuration: Vec<String>,
    /// Try again later.
    pub transient: Vec<String>,
    /// The person denied access: what the redirect contains instead of a code.
    pub denied: Vec<String>,
    /// Where the error's name is. The first that is present is used. Default `/error`.
    pub error: Vec<JsonPointer>,
    /// Where finer codes are: a value or a list, numbers compared as text.
    pub codes: Option<JsonPointer>,
    /// Where the seconds to wait are, in addition to the `Retry-After` header.
    pub retry_after: Option<JsonPointer>,
}

impl Default for ErrorTable {
    fn default() -> Self {
        Self {
            permanent: Vec::new(),
            client: Vec::new(),
            configuration: Vec::new(),
            transient: Vec::new(),
            denied: Vec::new(),
            error: vec![JsonPointer::from_static("/error")],
            codes: None,
            retry_after: None,
        }
    }
}

impl Probe {
    /// The address with its placeholders filled.
    ///
    /// # Errors
    /// A value is missing or not permitted.
    pub fn fill_url(&self, values: &TemplateValues) -> Result<EgressUrl, RequestError> {
        self.url.fill(values)
    }
}

impl IdentityLookup {
    /// The userinfo request of `OpenID` Connect (Core 1.0, 5.3).
    pub(super) fn from_userinfo(url: UrlTemplate) -> Self {
        let at = |pointer: &'static str| {
            ResponseTextTemplate(vec![ResponseTextPiece::Pointer(JsonPointer::from_static(pointer))])
        };
        Self {
            probe: Some(Probe {
                method: OutboundMethod::Get,
                url,
                headers: BTreeMap::new(),
                body: None,
                statuses: BTreeMap::new(),
            }),
            account: AccountLayout {
                id: vec![at("/sub")],
                label: ["/email", "/preferred_username", "/name", "/sub"].map(at).to_vec(),
                marks: vec![],
            },
            scopes: None,
            named_by: None,
        }
    }

    /// All requests that it may take, each of which carries a credential.
    pub(crate) fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.probe.iter().chain(self.named_by.iter().map(|named| &named.probe))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_response_template_is_a_pointer_or_a_text_with_pointers() {
        let answer = json!({ "team": { "id": "T1", "name": null }, "user": 7, "empty": " " });
        let values = TemplateValues::new().with("site", "acme");
        for (text, found) in [
            ("/team/id", Some("T1")),
            ("{/team/id}:{/user}", Some("T1:7")),
            ("{/team/id}@{site}", Some("T1@acme")),
            ("/team/name", None),
            ("{/team/name} / {/user}", None),
            ("/empty", None),
            ("{/user}@{unknown}", None),
        ] {
            assert_eq!(
                ResponseTextTemplate::parse(text).unwrap().extract(&answer, &values).as_deref(),
                found,
                "{text}"
            );
        }
        for text in ["", "id", "{", "{/a", "a}", "{a b}", "{}", "just text"] {
            assert!(ResponseTextTemplate::parse(text).is_none(), "{text}");
        }
    }
}
