//! What an app's API answers to a probe: whether the credential works, and whose account it is.
//!
//! Owns the verdict. Refuses to call a credential dead on anything but the app's clear word, and an account
//! id that had to be altered: ids are compared.

use serde_json::Value;

use super::answer::{refusal, retry_after};
use super::{Class, json};
use crate::app::{App, Probe};
use crate::connection::Account;
use crate::ports::{HttpError, Inbound};
use crate::time::Timestamp;

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
}

/// Judges the answer to a probe. `now` is what a `Retry-After` date is counted from.
pub fn read_probe(app: &App, answer: &Result<Inbound, HttpError>, now: Timestamp) -> ProbeVerdict {
    match answer {
        Ok(inbound) => verdict(app, inbound, retry_after(inbound, now)),
        Err(HttpError::Timeout | HttpError::Network) => ProbeVerdict::Unavailable { retry_after: None },
        Err(HttpError::TooLarge) => ProbeVerdict::Odd,
    }
}

/// Reads whose account it is.
///
/// # Errors
/// The verdict, where the app did not take the credential; [`ProbeVerdict::Odd`] where it did but does not say
/// who it is.
pub fn read_account(probe: &Probe, app: &App, answer: &Inbound) -> Result<Account, ProbeVerdict> {
    match verdict(app, answer, None) {
        ProbeVerdict::Works => account(probe, answer).ok_or(ProbeVerdict::Odd),
        other => Err(other),
    }
}

fn verdict(app: &App, inbound: &Inbound, wait: Option<i64>) -> ProbeVerdict {
    let class = json::parse(&inbound.body).and_then(|body| refusal(app, &body, wait)).map(|refusal| refusal.class);
    match (inbound.status, class) {
        (401, _) | (200..=299 | 400..=428 | 430..=499, Some(Class::Permanent)) => ProbeVerdict::Refused,
        (429 | 500..=599, _) | (200..=299 | 400..=499, Some(Class::Transient { .. })) => {
            ProbeVerdict::Unavailable { retry_after: wait }
        }
        (403, _) => ProbeVerdict::Forbidden,
        (200..=299, None) if !is_html(inbound) => ProbeVerdict::Works,
        _ => ProbeVerdict::Odd,
    }
}

/// A sign-in page with status 200 is no success.
fn is_html(inbound: &Inbound) -> bool {
    inbound.header("content-type").is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"))
}

fn account(probe: &Probe, answer: &Inbound) -> Option<Account> {
    let at = probe.account.as_ref()?;
    let body = json::parse(&answer.body)?;
    let id = at.id.find(&body).and_then(text).filter(|id| is_id(id))?;
    let label = at.label.iter().find_map(|label| label.find(&body).and_then(text).and_then(|label| display(&label)));
    Some(Account { label: label.unwrap_or_else(|| id.clone()), id })
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An id is taken as it stands or not at all: two accounts must not become one by trimming.
fn is_id(id: &str) -> bool {
    !id.trim().is_empty() && id.chars().count() <= LONGEST && !id.chars().any(is_invisible)
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
