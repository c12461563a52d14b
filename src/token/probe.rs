//! The response of an app's API to a probe: whether the credential works, and which account it belongs to.
//!
//! Owns the result. A credential is rejected only by a clear refusal, and an account id is never altered, because ids
//! are compared.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error_codes::{find_challenge_error, find_defined_refusal, find_refusal};
use super::retry_after::find_retry_after;
use super::scopes::clean_scope_list;
use super::{RefusalClass, TokenSet};
use crate::account::Account;
use crate::app::{
    AccountLayout, AuthMethod, IdentityLookup, JsonPointer, LabelLookup, NothingSharedCheck, Probe,
    ResponseTextTemplate, StatusMeaning, TemplateValues, Variable, VariableSource, scalar_text,
};
use crate::gather::Gather as _;
use crate::json::tolerant;
use crate::ports::{AppResponse, HttpError};
use crate::time::Timestamp;

/// RFC 6750 3.1: the token is expired, revoked or malformed.
const INVALID_TOKEN: &str = "invalid_token";
/// RFC 6750 3.1: the token is valid, but not for this request.
const INSUFFICIENT_SCOPE: &str = "insufficient_scope";

/// Longest id and label of an account, in characters.
const MAX_ACCOUNT_TEXT_LENGTH: usize = 256;

/// The result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The app accepted it.
    Works,
    /// The app refused it: 401, or a permanent error code.
    Refused,
    /// The app recognises it, but not for this request (403).
    Forbidden,
    /// The app could not answer.
    Unavailable {
        /// Its retry delay in seconds.
        retry_after: Option<i64>,
    },
    /// The response says nothing.
    Inconclusive,
    /// Nothing was sent: the credential may not be sent to the app's current address.
    NotSent,
}

/// Classifies the response to a probe. A `Retry-After` date is relative to `now`.
pub fn read_probe_response(
    auth_method: &AuthMethod,
    probe: &Probe,
    answer: &Result<AppResponse, HttpError>,
    now: Timestamp,
) -> ProbeOutcome {
    match answer {
        Ok(inbound) => probe_outcome(auth_method, probe, inbound, tolerant::parse(&inbound.body).as_ref(), now),
        Err(HttpError::Timeout | HttpError::Network) => ProbeOutcome::Unavailable { retry_after: None },
        Err(HttpError::TooLarge | HttpError::RequestTooLarge) => ProbeOutcome::Inconclusive,
        Err(HttpError::NotPermitted) => ProbeOutcome::NotSent,
    }
}

/// Reads the account.
///
/// # Errors
/// The result, if the app did not accept the credential. [`ProbeOutcome::Inconclusive`] if it did but does not name the
/// account.
pub fn read_account(
    auth_method: &AuthMethod,
    identity: &IdentityLookup,
    probe: &Probe,
    answer: &AppResponse,
    values: &TemplateValues,
    now: Timestamp,
) -> Result<Account, ProbeOutcome> {
    let body = tolerant::parse(&answer.body);
    match probe_outcome(auth_method, probe, answer, body.as_ref(), now) {
        ProbeOutcome::Works => {
            body.and_then(|body| extract_account(&identity.account, &body, values)).ok_or(ProbeOutcome::Inconclusive)
        }
        other => Err(other),
    }
}

/// Whether a credential sees no content, by the list of it. `None` if the response does not say.
pub fn read_nothing_shared(
    auth_method: &AuthMethod,
    asked: &NothingSharedCheck,
    answer: &Result<AppResponse, HttpError>,
    now: Timestamp,
) -> Option<bool> {
    let inbound = answer.as_ref().ok()?;
    let body = tolerant::parse(&inbound.body);
    let works = probe_outcome(auth_method, &asked.probe, inbound, body.as_ref(), now) == ProbeOutcome::Works;
    let body = body.filter(|_| works)?;
    asked.list.find(&body).and_then(Value::as_array).map(Vec::is_empty)
}

/// Reads the account from a token response.
pub fn read_account_from_tokens(at: &AccountLayout, tokens: &TokenSet, values: &TemplateValues) -> Option<Account> {
    extract_account(at, &tokens.response.0, values)
}

/// The app's name for the account. A response that is not a success names none.
pub fn read_account_label(
    auth_method: &AuthMethod,
    asked: &LabelLookup,
    answer: &AppResponse,
    values: &TemplateValues,
    now: Timestamp,
) -> Option<String> {
    let body = tolerant::parse(&answer.body);
    let works = probe_outcome(auth_method, &asked.probe, answer, body.as_ref(), now) == ProbeOutcome::Works;
    find_label(&asked.label, &body.filter(|_| works)?, values)
}

/// The scopes in the response header that the definition names.
pub fn read_header_scopes(identity: &IdentityLookup, answer: &AppResponse) -> Option<Vec<String>> {
    let at = identity.scopes.as_ref()?;
    clean_scope_list(answer.header(&at.header)?.split(at.separator.as_str()).collect())
}

/// The variables in a response. `pointer` returns whether a variable comes from this response, and where it is. An
/// invalid value counts as absent.
pub fn read_reported_values<'a>(
    variables: &'a BTreeMap<String, Variable>,
    body: &[u8],
    pointer: impl Fn(&'a VariableSource) -> Option<&'a JsonPointer>,
) -> BTreeMap<String, String> {
    let Some(body) = tolerant::parse(body) else { return BTreeMap::new() };
    reported_values(variables, &body, pointer)
}

/// The same for a token response.
pub fn reported_values<'a>(
    variables: &'a BTreeMap<String, Variable>,
    body: &Value,
    pointer: impl Fn(&'a VariableSource) -> Option<&'a JsonPointer>,
) -> BTreeMap<String, String> {
    let found = |(name, variable): (&String, &'a Variable)| {
        let value = reported_text(pointer(&variable.source)?, body).or_else(|| variable.default.clone())?;
        Some((name.clone(), variable.parse_value(&value).ok()?))
    };
    variables.iter().filter_map(found).gather()
}

/// A text in a response, if it is completely readable.
pub fn reported_text(at: &JsonPointer, body: &Value) -> Option<String> {
    at.find(body).and_then(scalar_text).filter(|text| tolerant::is_readable(text))
}

/// `body` is the parsed body of the response.
fn probe_outcome(
    auth_method: &AuthMethod,
    probe: &Probe,
    inbound: &AppResponse,
    body: Option<&Value>,
    now: Timestamp,
) -> ProbeOutcome {
    let wait = find_retry_after(auth_method, inbound, body, now);
    // A success may have members with any name about the account.
    let refusal = if (200..=299).contains(&inbound.status) {
        body.and_then(|body| find_defined_refusal(auth_method, body, wait))
    } else {
        find_refusal(auth_method, inbound, body, wait)
    };
    let class = refusal.as_ref().map(|refusal| refusal.class);
    // RFC 6750 3.1: what the app says about the token itself.
    let challenge = find_challenge_error(inbound).or_else(|| refusal.map(|refusal| refusal.code)).unwrap_or_default();
    if let Some(meaning) = probe.statuses.get(&inbound.status) {
        return match meaning {
            StatusMeaning::Works => ProbeOutcome::Works,
            StatusMeaning::Refused => ProbeOutcome::Refused,
            StatusMeaning::Forbidden => ProbeOutcome::Forbidden,
            StatusMeaning::Unknown => ProbeOutcome::Inconclusive,
        };
    }
    match (inbound.status, class) {
        // The app recognises the credential and reports an error of the request.
        (401, Some(RefusalClass::Configuration)) => ProbeOutcome::Forbidden,
        (401, _) if challenge == INSUFFICIENT_SCOPE => ProbeOutcome::Forbidden,
        (400 | 403, _) if challenge == INVALID_TOKEN => ProbeOutcome::Refused,
        (401, _) | (200..=299 | 400..=428 | 430..=499, Some(RefusalClass::Permanent)) => ProbeOutcome::Refused,
        (429 | 500..=599, _) | (200..=299 | 400..=499, Some(RefusalClass::Transient { .. })) => {
            ProbeOutcome::Unavailable { retry_after: wait }
        }
        (403, _) => ProbeOutcome::Forbidden,
        (200..=299, None) if !is_html_page(inbound, body) => ProbeOutcome::Works,
        _ => ProbeOutcome::Inconclusive,
    }
}

/// A sign-in page with status 200 is not a success, whatever its content type. JSON with the content type HTML is not a
/// page.
fn is_html_page(inbound: &AppResponse, body: Option<&Value>) -> bool {
    if body.is_some_and(|body| body.is_object() || body.is_array()) {
        return false;
    }
    let start = inbound.body.trim_ascii_start().get(..9).unwrap_or_default().to_ascii_lowercase();
    let is_labelled = inbound
        .header("content-type")
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    is_labelled || start.starts_with(b"<!doctype") || start.starts_with(b"<html")
}

fn find_label(labels: &[ResponseTextTemplate], body: &Value, values: &TemplateValues) -> Option<String> {
    labels.iter().find_map(|label| label.extract(body, values).and_then(|label| displayable_label(&label)))
}

fn extract_account(at: &AccountLayout, body: &Value, values: &TemplateValues) -> Option<Account> {
    let id = at.id.iter().find_map(|id| id.extract(body, values)).filter(|id| is_valid_account_id(id))?;
    let label = find_label(&at.label, body, values);
    let account = Account { label: label.unwrap_or_else(|| id.clone()), id };
    let marks = at.marks.iter().filter(|mark| mark.pointer.find(body) == Some(&mark.value));
    Some(marks.fold(account, |account, mark| account.with_marks(mark.label.as_deref(), mark.account.as_deref())))
}

/// An id is used unchanged or not at all: trimming or unreadable bytes must not make two accounts equal.
fn is_valid_account_id(id: &str) -> bool {
    !id.trim().is_empty()
        && id.chars().count() <= MAX_ACCOUNT_TEXT_LENGTH
        && !id.chars().any(is_invisible)
        && tolerant::is_readable(id)
}

/// A label for display: without control characters and marks of writing direction, at most 256 characters. `None` if
/// nothing is left.
fn displayable_label(label: &str) -> Option<String> {
    let visible: String = label.chars().filter(|c| !is_invisible(*c)).collect();
    let label: String = visible.trim().chars().take(MAX_ACCOUNT_TEXT_LENGTH).collect();
    (!label.is_empty()).then_some(label)
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
