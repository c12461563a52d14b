//! What an app's API answers to a probe: whether the credential works, and whose account it is.
//!
//! Owns the verdict. Refuses to call a credential dead on anything but the app's clear word, and an account
//! id that had to be altered: ids are compared.

use std::collections::BTreeMap;

use serde_json::Value;

use super::answer::retry_after;
use super::codes::{in_answer, in_challenge, of_definition};
use super::scopes::scope_list;
use super::{Class, TokenSet};
use crate::app::{
    AccountShape, AnswerTemplate, App, Identity, NamedBy, NothingShared, Origin, Pointer, Probe, StatusMeaning, Values,
    Variable, text,
};
use crate::connection::Account;
use crate::json::tolerant;
use crate::ports::{HttpError, Inbound};
use crate::time::Timestamp;

/// RFC 6750 3.1: the token is expired, revoked or malformed.
const INVALID_TOKEN: &str = "invalid_token";
/// RFC 6750 3.1: the token is good, but not for this request.
const INSUFFICIENT_SCOPE: &str = "insufficient_scope";

/// Characters of an account's id and label, at most.
const LONGEST: usize = 256;

/// What a probe tells about a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeVerdict {
    /// The app took it.
    Works,
    /// The app refused it: 401, or a permanent error code.
    Refused,
    /// The app knows it, but not for this request (403).
    Forbidden,
    /// The app could not say.
    Unavailable {
        /// Seconds it asks to wait.
        retry_after: Option<i64>,
    },
    /// An answer that tells nothing.
    Odd,
    /// Nothing was sent: the credential must not go where the app is now.
    NotSent,
}

/// Judges the answer to a probe. `now` is what a `Retry-After` date is counted from.
pub fn read_probe(app: &App, probe: &Probe, answer: &Result<Inbound, HttpError>, now: Timestamp) -> ProbeVerdict {
    match answer {
        Ok(inbound) => verdict(app, probe, (inbound, tolerant::parse(&inbound.body).as_ref()), now),
        Err(HttpError::Timeout | HttpError::Network) => ProbeVerdict::Unavailable { retry_after: None },
        Err(HttpError::TooLarge) => ProbeVerdict::Odd,
        Err(HttpError::NotPermitted) => ProbeVerdict::NotSent,
    }
}

/// Reads whose account it is.
///
/// # Errors
/// The verdict, where the app did not take the credential; [`ProbeVerdict::Odd`] where it did but does not say
/// who it is.
pub fn read_account(
    app: &App,
    (identity, probe): (&Identity, &Probe),
    answer: &Inbound,
    values: &Values,
    now: Timestamp,
) -> Result<Account, ProbeVerdict> {
    let body = tolerant::parse(&answer.body);
    match verdict(app, probe, (answer, body.as_ref()), now) {
        ProbeVerdict::Works => body.and_then(|body| account(&identity.account, &body, values)).ok_or(ProbeVerdict::Odd),
        other => Err(other),
    }
}

/// Whether a credential sees nothing, by the list of what it sees; `None` where the answer does not tell.
pub fn read_nothing_shared(
    app: &App,
    asked: &NothingShared,
    answer: &Result<Inbound, HttpError>,
    now: Timestamp,
) -> Option<bool> {
    let inbound = answer.as_ref().ok()?;
    let body = tolerant::parse(&inbound.body);
    let works = verdict(app, &asked.probe, (inbound, body.as_ref()), now) == ProbeVerdict::Works;
    let body = body.filter(|_| works)?;
    asked.at.find(&body).and_then(Value::as_array).map(Vec::is_empty)
}

/// Reads whose account it is from a token answer.
pub fn read_account_of_tokens(at: &AccountShape, tokens: &TokenSet, values: &Values) -> Option<Account> {
    account(at, &tokens.answer.0, values)
}

/// What the app calls the account, where it says so: an answer that is no success names nobody.
pub fn read_name(app: &App, asked: &NamedBy, answer: &Inbound, values: &Values, now: Timestamp) -> Option<String> {
    let body = tolerant::parse(&answer.body);
    let works = verdict(app, &asked.probe, (answer, body.as_ref()), now) == ProbeVerdict::Works;
    first_label(&asked.label, &body.filter(|_| works)?, values)
}

/// The scopes that an answer's header names, where the definition says which.
pub fn scopes_in_header(identity: &Identity, answer: &Inbound) -> Option<Vec<String>> {
    let at = identity.scopes.as_ref()?;
    scope_list(answer.header(&at.header)?.split(at.separator.as_str()).collect())
}

/// The variables that an answer holds. `place` tells of a variable's origin whether it is this answer, and where it
/// stands there. A value that its variable does not take counts as absent.
pub fn read_values<'a>(
    variables: &'a BTreeMap<String, Variable>,
    body: &[u8],
    place: impl Fn(&'a Origin) -> Option<&'a Pointer>,
) -> BTreeMap<String, String> {
    let Some(body) = tolerant::parse(body) else { return BTreeMap::new() };
    values_in(variables, &body, place)
}

/// The same for a token answer.
pub fn values_in<'a>(
    variables: &'a BTreeMap<String, Variable>,
    body: &Value,
    place: impl Fn(&'a Origin) -> Option<&'a Pointer>,
) -> BTreeMap<String, String> {
    let found = |(name, variable): (&String, &'a Variable)| {
        let value = told(place(&variable.from)?, body).or_else(|| variable.default.clone())?;
        Some((name.clone(), variable.read(&value).ok()?))
    };
    variables.iter().filter_map(found).collect()
}

/// A text at its place in an answer, where all of it could be read.
pub fn told(at: &Pointer, body: &Value) -> Option<String> {
    at.find(body).and_then(text).filter(|text| tolerant::is_readable(text))
}

/// `body` is the answer's, as it was read.
fn verdict(app: &App, probe: &Probe, (inbound, body): (&Inbound, Option<&Value>), now: Timestamp) -> ProbeVerdict {
    let wait = retry_after(app, inbound, body, now);
    // What a success says of an account may have members of any name.
    let refusal = if (200..=299).contains(&inbound.status) {
        body.and_then(|body| of_definition(app, body, wait))
    } else {
        in_answer(app, inbound, body, wait)
    };
    let class = refusal.as_ref().map(|refusal| refusal.class);
    // RFC 6750 3.1: what the app says of the token itself.
    let challenge = in_challenge(inbound).or_else(|| refusal.map(|refusal| refusal.code)).unwrap_or_default();
    if let Some(meaning) = probe.statuses.get(&inbound.status) {
        return match meaning {
            StatusMeaning::Works => ProbeVerdict::Works,
            StatusMeaning::Refused => ProbeVerdict::Refused,
            StatusMeaning::Forbidden => ProbeVerdict::Forbidden,
            StatusMeaning::Unknown => ProbeVerdict::Odd,
        };
    }
    match (inbound.status, class) {
        // The app knows the credential and says what is wrong with the request.
        (401, Some(Class::Configuration)) => ProbeVerdict::Forbidden,
        (401, _) if challenge == INSUFFICIENT_SCOPE => ProbeVerdict::Forbidden,
        (400 | 403, _) if challenge == INVALID_TOKEN => ProbeVerdict::Refused,
        (401, _) | (200..=299 | 400..=428 | 430..=499, Some(Class::Permanent)) => ProbeVerdict::Refused,
        (429 | 500..=599, _) | (200..=299 | 400..=499, Some(Class::Transient { .. })) => {
            ProbeVerdict::Unavailable { retry_after: wait }
        }
        (403, _) => ProbeVerdict::Forbidden,
        (200..=299, None) if !is_page(inbound, body) => ProbeVerdict::Works,
        _ => ProbeVerdict::Odd,
    }
}

/// A sign-in page with status 200 is no success, however it is labelled. JSON that is labelled as HTML is no page.
fn is_page(inbound: &Inbound, body: Option<&Value>) -> bool {
    if body.is_some_and(|body| body.is_object() || body.is_array()) {
        return false;
    }
    let start = inbound.body.trim_ascii_start().get(..9).unwrap_or_default().to_ascii_lowercase();
    let is_labelled = inbound
        .header("content-type")
        .is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));
    is_labelled || start.starts_with(b"<!doctype") || start.starts_with(b"<html")
}

fn first_label(labels: &[AnswerTemplate], body: &Value, values: &Values) -> Option<String> {
    labels.iter().find_map(|label| label.find(body, values).and_then(|label| display(&label)))
}

fn account(at: &AccountShape, body: &Value, values: &Values) -> Option<Account> {
    let id = at.id.iter().find_map(|id| id.find(body, values)).filter(|id| is_id(id))?;
    let label = first_label(&at.label, body, values);
    let account = Account { label: label.unwrap_or_else(|| id.clone()), id };
    let marks = at.marks.iter().filter(|mark| mark.at.find(body) == Some(&mark.is));
    Some(marks.fold(account, |account, mark| account.marked(mark.label.as_deref(), mark.account.as_deref())))
}

/// An id is taken as it stands or not at all: two accounts must not become one by trimming, or by bytes that can't be read.
fn is_id(id: &str) -> bool {
    !id.trim().is_empty() && id.chars().count() <= LONGEST && !id.chars().any(is_invisible) && tolerant::is_readable(id)
}

/// A label fit to be shown: without control characters and marks that turn the writing direction, at most
/// 256 characters. `None` when nothing is left.
fn display(label: &str) -> Option<String> {
    let visible: String = label.chars().filter(|c| !is_invisible(*c)).collect();
    let label: String = visible.trim().chars().take(LONGEST).collect();
    (!label.is_empty()).then_some(label)
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
