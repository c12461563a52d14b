//! What an app's answer to a token request means.
//!
//! Owns the classification. Refuses to take anything for a refusal but a parsed error, and anything for a
//! success but a usable access token; a new refresh token in a success-like answer is never dropped.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::Value;

use super::{Ambiguity, Answer, Class, Refusal, SecretJson, TokenSet, Told, is_header_safe, json};
use crate::app::{App, OAuth2, Pointer, ResponseShape, text};
use crate::ports::{HttpError, Inbound};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Error codes whose meaning does not depend on the app: RFC 6749 5.2, RFC 8628 3.5 (`slow_down`), and the twins
/// that apps have of `invalid_grant`.
const PERMANENT: &[&str] = &["invalid_grant", "invalid_refresh_token", "bad_refresh_token", "token_revoked"];
const CLIENT: &[&str] = &["invalid_client"];
const CONFIGURATION: &[&str] = &["unauthorized_client", "unsupported_grant_type", "invalid_scope"];
const TRANSIENT: &[&str] = &["temporarily_unavailable", "slow_down"];

/// Members that tell the life of a refresh token or its grant, in seconds (apps' own, and
/// draft-ietf-oauth-refresh-token-expiration). The nearest end counts.
const REFRESH_LIVES: &[&str] =
    &["refresh_token_expires_in", "x_refresh_token_expires_in", "refresh_token_timeout", "authorization_expires_in"];

/// The longest life believed: ten years, in seconds.
const LONGEST_LIFE: i64 = 10 * 365 * 86_400;

/// The longest wait an app may ask for: a day, in seconds.
const LONGEST_WAIT: i64 = 86_400;

/// Characters of an error code, at most.
const LONGEST_CODE: usize = 64;
/// Characters of a code with digits, at most: what is longer may be a token in the wrong place.
const LONGEST_CODE_WITH_DIGITS: usize = 24;

/// Scopes of an answer, at most, and characters of each.
const MOST_SCOPES: usize = 500;
const LONGEST_SCOPE: usize = 512;

/// The code of a request that was not sent: a secret in it must not go where the app is now.
pub const DESTINATION_CHANGED: &str = "destination_changed";

/// Judges the answer to a token request. `asked_at` is the time before the request was sent: lives
/// count from there.
pub fn read_answer(app: &App, answer: &Result<Inbound, HttpError>, asked_at: Timestamp) -> Answer {
    let Some(server) = app.server() else { return unheard("no_server") };
    let inbound = match answer {
        Ok(inbound) => inbound,
        Err(HttpError::Timeout) => return unheard("timeout"),
        Err(HttpError::Network) => return unheard("network_error"),
        Err(HttpError::TooLarge) => return unheard("body_too_large"),
        // Nothing was sent, so nothing is in doubt.
        Err(HttpError::NotPermitted) => {
            let code = DESTINATION_CHANGED.to_owned();
            return Answer::Refused(Refusal { class: Class::Configuration, code, unauthorized: false });
        }
    };
    let body = json::parse(&inbound.body);
    let wait = retry_after(app, inbound, body.as_ref(), asked_at);
    let refusal = body.as_ref().and_then(|body| refusal(app, body, wait));
    let newer = body.as_ref().and_then(|body| issued_all_the_same(server, body));
    let ambiguous = |what| Answer::Ambiguous(Ambiguity { what, refresh_token: newer.clone(), retry_after: wait });
    match (inbound.status, body, refusal) {
        (429, _, refusal) => Answer::Refused(Refusal {
            class: Class::Transient { retry_after: wait },
            code: refusal.map_or_else(|| "too_many_requests".to_owned(), |refusal| refusal.code),
            unauthorized: false,
        }),
        (200..=299, Some(body), refusal) => read_success(server, body, refusal, wait, asked_at),
        (200..=299, None, _) => ambiguous("unreadable_body"),
        (401, _, Some(refusal)) => Answer::Refused(Refusal { unauthorized: true, ..refusal }),
        (400..=499, _, Some(refusal)) => Answer::Refused(refusal),
        (400..=499, ..) => ambiguous("unreadable_error"),
        (503, _, Some(refusal)) if refusal.code == "temporarily_unavailable" => Answer::Refused(refusal),
        (300..=399, ..) => ambiguous("redirect"),
        (500..=599, ..) => ambiguous("server_error"),
        _ => ambiguous("odd_status"),
    }
}

/// Judges the answer to a revocation. What says in whatever way that the token is dead is what was wanted, unless the
/// token was there to speak for its grant.
pub fn read_revocation(app: &App, answer: &Result<Inbound, HttpError>) -> Told {
    let Ok(inbound) = answer else { return Told::Nothing };
    let body = json::parse(&inbound.body);
    let refusal = body.as_ref().and_then(|body| refusal(app, body, None));
    let code = refusal.as_ref().map(|refusal| refusal.code.as_str());
    let is_dead = refusal.as_ref().is_some_and(|refusal| refusal.class == Class::Permanent);
    match (inbound.status, code) {
        // Some say so of a token that is dead already, though the RFC asks for 200.
        (200..=299, None) | (400, Some("invalid_token")) => Told::Done,
        (400, Some("unsupported_token_type")) => Told::OtherKind,
        (401, _) => Told::Refused,
        (200..=299 | 400..=499, _) if is_dead => Told::Dead,
        _ => Told::Nothing,
    }
}

fn unheard(what: &'static str) -> Answer {
    Answer::Ambiguous(Ambiguity { what, refresh_token: None, retry_after: None })
}

/// The refresh token of tokens that came under a status that is no success. It counts only beside a usable
/// access token: alone, the member may be a complaint about the one that was sent.
fn issued_all_the_same(oauth2: &OAuth2, body: &Value) -> Option<Secret> {
    text_at(&oauth2.response.access_token, body).filter(|token| is_header_safe(token))?;
    refresh_token(&oauth2.response, body)
}

/// A 2xx with JSON: tokens, or an error that its sender forgot to mark, or neither.
fn read_success(
    server: &OAuth2,
    body: Value,
    refusal: Option<Refusal>,
    wait: Option<i64>,
    asked_at: Timestamp,
) -> Answer {
    let refresh_token = refresh_token(&server.response, &body);
    let access_token = text_at(&server.response.access_token, &body);
    match (access_token, refusal) {
        (Some(access_token), _) if is_header_safe(access_token) => {
            let mut tokens = token_set(server, &server.response, &body, access_token, asked_at);
            tokens.others = others(server, &body, asked_at);
            tokens.scopes = all_scopes(&tokens);
            tokens.answer = SecretJson(body);
            Answer::Tokens(tokens)
        }
        (None, Some(refusal)) if refresh_token.is_none() => Answer::Refused(refusal),
        (access_token, _) => {
            let what = access_token.map_or("no_access_token", |_| "unusable_access_token");
            Answer::Ambiguous(Ambiguity { what, refresh_token, retry_after: wait })
        }
    }
}

/// The further tokens that came along. One that can't be sent in a header counts as absent.
fn others(server: &OAuth2, body: &Value, asked_at: Timestamp) -> BTreeMap<String, TokenSet> {
    let found = |name: &String| {
        let further = server.tokens.get(name)?;
        let shape = &further.response;
        let access_token = text_at(&shape.access_token, body).filter(|token| is_header_safe(token))?;
        let mut tokens = token_set(server, shape, body, access_token, asked_at);
        tokens.owner = further.account.as_ref().and_then(|at| at.find(body)).and_then(text);
        Some((name.clone(), tokens))
    };
    server.tokens.keys().filter_map(found).collect()
}

/// What was granted to all tokens; `None` where nothing is said of the first, which speaks for the whole answer.
fn all_scopes(tokens: &TokenSet) -> Option<Vec<String>> {
    let further = tokens
        .others
        .iter()
        .flat_map(|(name, one)| one.scopes.iter().flatten().map(move |scope| format!("{name}:{scope}")));
    tokens.scopes.as_ref().map(|first| first.iter().cloned().chain(further).collect())
}

fn token_set(
    oauth2: &OAuth2,
    shape: &ResponseShape,
    body: &Value,
    access_token: &str,
    asked_at: Timestamp,
) -> TokenSet {
    let end = |seconds: i64| asked_at.plus(seconds.min(LONGEST_LIFE));
    let refresh_token = refresh_token(shape, body);
    let told = shape.expires_in.find(body).and_then(seconds).map(end);
    let told = told.or_else(|| point_in_time(shape.expires_at.as_ref()?.find(body)?, asked_at));
    let own = shape.refresh_expires_in.as_ref().and_then(|at| at.find(body)).and_then(seconds);
    let refresh_life = REFRESH_LIVES.iter().filter_map(|name| body.get(name).and_then(seconds)).chain(own).min();
    // What the definition knows counts from a token's issue, so it needs one that has just been issued.
    let refresh_life = refresh_life.or(oauth2.refresh_token_lifetime.filter(|_| refresh_token.is_some()));
    TokenSet {
        access_token: Secret::new(access_token),
        token_type: token_type(text_at(&shape.token_type, body)),
        refresh_token,
        expires_at: told.or(oauth2.access_token_lifetime.map(end)),
        refresh_expires_at: refresh_life.map(end),
        scopes: shape.scope.find(body).and_then(|scope| scopes(oauth2, scope)),
        others: BTreeMap::new(),
        owner: None,
        answer: SecretJson::default(),
    }
}

/// A text that is present and not empty.
fn text_at<'a>(pointer: &Pointer, body: &'a Value) -> Option<&'a str> {
    pointer.find(body)?.as_str().filter(|text| !text.is_empty())
}

/// Absent, null and empty mean that the old one stays (RFC 6749 6); so does one that no server may issue
/// (RFC 6749 A.17: visible ASCII and spaces).
fn refresh_token(shape: &ResponseShape, body: &Value) -> Option<Secret> {
    let text = text_at(&shape.refresh_token, body)?;
    text.bytes().all(|b| b.is_ascii_graphic() || b == b' ').then(|| Secret::new(text))
}

/// Case does not matter (RFC 6749 5.1); what is no word at all is taken for the usual one.
fn token_type(text: Option<&str>) -> String {
    match text {
        Some(text) if text.eq_ignore_ascii_case("bearer") => "Bearer".to_owned(),
        Some(text) if text.len() <= LONGEST_CODE && is_header_safe(text) => text.to_owned(),
        _ => "Bearer".to_owned(),
    }
}

/// A positive number of whole seconds, from a number or a text that holds one.
fn seconds(value: &Value) -> Option<i64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    // Printed and read again: Rust has no checked conversion from a float. Whole seconds, at most ten digits.
    let whole = number.clamp(0.0, 9_999_999_999.0).trunc();
    format!("{whole:.0}").parse().ok().filter(|seconds| *seconds > 0 && number.is_finite())
}

/// An end that lies ahead, in Unix seconds, in milliseconds, or as RFC 3339 writes it. Milliseconds tell themselves: as seconds
/// they would be tens of thousands of years ahead.
fn point_in_time(value: &Value, asked_at: Timestamp) -> Option<Timestamp> {
    const MILLISECONDS: i64 = 100_000_000_000;
    let written = value.as_str().and_then(Timestamp::parse);
    let counted = || match value.as_str().map_or_else(|| value.as_i64(), |text| text.trim().parse().ok())? {
        number if number >= MILLISECONDS => Some(Timestamp::from_unix(number / 1000)),
        number => Some(Timestamp::from_unix(number)),
    };
    let end = written.or_else(counted)?;
    (end > asked_at).then(|| end.min(asked_at.plus(LONGEST_LIFE)))
}

/// Granted scopes as a list; `None` where the answer does not say (RFC 6749 5.1: as requested).
fn scopes(oauth2: &OAuth2, value: &Value) -> Option<Vec<String>> {
    let separator = oauth2.response.scope_separator.as_ref().unwrap_or(&oauth2.scope_separator);
    let parts: Vec<&str> = match value {
        Value::String(text) => text.split(separator.as_str()).collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    scope_list(parts)
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

/// The refusal that a body spells out, if it does. Finer codes go before the error's name, and what the
/// definition says goes before the default table.
pub(super) fn refusal(app: &App, body: &Value, retry_after: Option<i64>) -> Option<Refusal> {
    let codes = app.errors.codes.as_ref().and_then(|codes| codes.find(body)).map(texts).unwrap_or_default();
    let name = app.errors.error.iter().find_map(|at| text_at(at, body)).map(str::to_owned);
    let known = codes.iter().chain(&name).find_map(|code| Some((classify(app, code, retry_after)?, code)));
    if let Some((class, code)) = known {
        return Some(Refusal { class, code: sanitise(code), unauthorized: false });
    }
    let code = name.or_else(|| codes.into_iter().next())?;
    Some(Refusal { class: Class::Unknown, code: sanitise(&code), unauthorized: false })
}

/// A value or a list of values as texts.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if !text.is_empty() => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Array(list) => list.iter().filter(|value| !value.is_array()).flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

fn classify(app: &App, code: &str, retry_after: Option<i64>) -> Option<Class> {
    let own = &app.errors;
    let own_says = |list: &[String]| list.iter().any(|known| known.eq_ignore_ascii_case(code));
    let all_say = |list: &[&str]| list.iter().any(|known| known.eq_ignore_ascii_case(code));
    [
        (own_says(&own.permanent), Class::Permanent),
        (own_says(&own.client), Class::Client),
        (own_says(&own.configuration), Class::Configuration),
        (own_says(&own.transient), Class::Transient { retry_after }),
        (all_say(PERMANENT), Class::Permanent),
        (all_say(CLIENT), Class::Client),
        (all_say(CONFIGURATION), Class::Configuration),
        (all_say(TRANSIENT), Class::Transient { retry_after }),
    ]
    .into_iter()
    .find_map(|(says, class)| says.then_some(class))
}

/// An error code that is safe to log and show, or `unknown_error`.
fn sanitise(code: &str) -> String {
    let code = code.to_ascii_lowercase();
    let has_digits = code.bytes().any(|b| b.is_ascii_digit());
    let longest = if has_digits { LONGEST_CODE_WITH_DIGITS } else { LONGEST_CODE };
    let ok = code.len() <= longest && code.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'));
    if ok { code } else { "unknown_error".to_owned() }
}

/// The wait that the app asks for, from 0 to a day: by its body, where the definition says so, or by the header.
pub(super) fn retry_after(app: &App, inbound: &Inbound, body: Option<&Value>, now: Timestamp) -> Option<i64> {
    let told = app.errors.retry_after.as_ref().and_then(|at| at.find(body?)).and_then(seconds);
    told.map(|wait| wait.min(LONGEST_WAIT)).or_else(|| retry_after_header(inbound, now))
}

/// `Retry-After` in seconds (RFC 9110 10.2.3: seconds or a date).
fn retry_after_header(inbound: &Inbound, now: Timestamp) -> Option<i64> {
    let text = inbound.header("retry-after")?.trim();
    let wait = if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        text.parse().unwrap_or(LONGEST_WAIT)
    } else {
        DateTime::parse_from_rfc2822(text).ok()?.timestamp() - now.unix()
    };
    Some(wait.clamp(0, LONGEST_WAIT))
}
