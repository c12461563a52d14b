//! The meaning of an app's response to a token request.
//!
//! Owns the classification. Only a parsed error is a refusal, and only a usable access token is a success. A new
//! refresh token in a response that looks like a success is never dropped.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::error_codes::{find_defined_refusal, find_refusal, members_of, text_at};
use super::lifetime::{self, MAX_LIFETIME};
use super::probe::reported_text;
use super::retry_after::find_retry_after;
use super::scopes::read_granted_scopes;
use super::{
    AmbiguousResponse, AppRefusal, RefusalClass, RevocationResponse, SecretJson, TokenResponse, TokenSet,
    is_header_safe,
};
use crate::app::{AuthMethod, JsonPointer, LifetimeUnit, OAuthServer, TokenResponseLayout};
use crate::gather::Gather as _;
use crate::json::tolerant;
use crate::ports::{AppResponse, HttpError};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Members with the lifetime of a refresh token or its grant, in seconds (apps' own, and
/// draft-ietf-oauth-refresh-token-expiration). The earliest expiry is used.
const REFRESH_LIFETIME_MEMBERS: &[&str] =
    &["refresh_token_expires_in", "x_refresh_token_expires_in", "refresh_token_timeout", "authorization_expires_in"];

/// Members with the lifetime or the expiry of an access token, if it is missing where the definition says. Case and
/// separators are ignored.
const EXPIRY_MEMBERS: &[&str] =
    &["expiresin", "expiresat", "expireson", "expires", "expiry", "expirydate", "expirationtime", "expiration"];

/// Longest type of a token, in characters.
const MAX_TOKEN_TYPE_LENGTH: usize = 64;

/// Most members of a form.
const MAX_FORM_MEMBERS: usize = 100;

/// The smallest number that may be a token: one with sixteen digits, more than any time or lifetime has.
const LEAST_TOKEN: u64 = 1_000_000_000_000_000;

/// Most places at which JSON is searched for in a body that is not JSON.
const MOST_OBJECTS: usize = 32;

/// The recorded reason of a 4xx without an error code.
pub const NO_ERROR_CODE: &str = "unreadable_error";

/// The code of a request that was not sent: a secret in it may not be sent to the app's current address.
pub const DESTINATION_CHANGED: &str = "destination_changed";

/// Classifies the response to a token request. `asked_at` is the time before the request was sent: lifetimes count from
/// there.
pub fn read_token_response(
    auth_method: &AuthMethod,
    answer: &Result<AppResponse, HttpError>,
    asked_at: Timestamp,
) -> TokenResponse {
    let Some(server) = auth_method.oauth_server() else { return ambiguous_response("no_server") };
    let inbound = match answer {
        Ok(inbound) => inbound,
        Err(HttpError::Timeout) => return ambiguous_response("timeout"),
        Err(HttpError::Network) => return ambiguous_response("network_error"),
        Err(HttpError::TooLarge | HttpError::RequestTooLarge) => return ambiguous_response("body_too_large"),
        // Nothing was sent, so the result is certain.
        Err(HttpError::NotPermitted) => {
            let code = DESTINATION_CHANGED.to_owned();
            return TokenResponse::Refused(AppRefusal {
                class: RefusalClass::Configuration,
                code,
                unauthorized: false,
            });
        }
    };
    let (body, damaged) = read_body(inbound);
    let body = body.map(|body| only_entry(&server.response, body));
    let damaged = damaged.or_else(|| body.is_none().then(|| embedded(server, &inbound.body)).flatten());
    let wait = find_retry_after(auth_method, inbound, body.as_ref(), asked_at);
    let refusal = find_token_refusal(auth_method, inbound, body.as_ref(), wait);
    // A readable refresh token counts, whatever the rest is. In a success it needs no access token next to it.
    let newer = body.as_ref().and_then(|body| find_issued_refresh_token(server, body)).or_else(|| {
        let found = damaged.as_ref()?;
        let is_success = (200..=299).contains(&inbound.status);
        if is_success { find_refresh_token(&server.response, found) } else { find_issued_refresh_token(server, found) }
    });
    let ambiguous = |what| {
        TokenResponse::Ambiguous(AmbiguousResponse { reason: what, refresh_token: newer.clone(), retry_after: wait })
    };
    match (inbound.status, body, refusal) {
        (429, _, refusal) => TokenResponse::Refused(AppRefusal {
            class: RefusalClass::Transient { retry_after: wait },
            code: refusal.map_or_else(|| "too_many_requests".to_owned(), |refusal| refusal.code),
            unauthorized: false,
        }),
        (200..=299, Some(body), refusal) => read_success(auth_method, server, body, refusal, wait, asked_at),
        (200..=299, None, _) => ambiguous("unreadable_body"),
        (401, _, Some(refusal)) => TokenResponse::Refused(AppRefusal { unauthorized: true, ..refusal }),
        (400..=499, _, Some(refusal)) => TokenResponse::Refused(refusal),
        (400..=499, ..) => ambiguous(NO_ERROR_CODE),
        (503, _, Some(refusal)) if refusal.code == "temporarily_unavailable" => TokenResponse::Refused(refusal),
        (300..=399, ..) => ambiguous("redirect"),
        (500..=599, ..) => ambiguous("server_error"),
        _ => ambiguous("odd_status"),
    }
}

/// Classifies the response to a revocation. An error that says that the token is invalid is a success, unless the token
/// was only sent to authenticate.
pub fn read_revocation_response(
    auth_method: &AuthMethod,
    answer: &Result<AppResponse, HttpError>,
) -> RevocationResponse {
    let Ok(inbound) = answer else { return RevocationResponse::Inconclusive };
    let (body, _) = read_body(inbound);
    let refusal = find_token_refusal(auth_method, inbound, body.as_ref(), None);
    let code = refusal.as_ref().map(|refusal| refusal.code.as_str());
    let is_dead = refusal.as_ref().is_some_and(|refusal| refusal.class == RefusalClass::Permanent);
    match (inbound.status, code) {
        // Some apps return this for a token that is already invalid, although the RFC requires 200.
        (200..=299, None) | (400, Some("invalid_token")) => RevocationResponse::Revoked,
        (400, Some("unsupported_token_type")) => RevocationResponse::UnsupportedTokenType,
        (401, _) => RevocationResponse::Unauthorized,
        (200..=299 | 400..=499, _) if is_dead => RevocationResponse::TokenInvalid,
        _ => RevocationResponse::Inconclusive,
    }
}

/// The refusal in a response. In a success, which may have many members, an unknown code counts only where the
/// definition says that codes are.
fn find_token_refusal(
    auth_method: &AuthMethod,
    inbound: &AppResponse,
    body: Option<&Value>,
    wait: Option<i64>,
) -> Option<AppRefusal> {
    let found = find_refusal(auth_method, inbound, body, wait)?;
    if (200..=299).contains(&inbound.status) && found.class == RefusalClass::Unknown {
        return find_defined_refusal(auth_method, body?, wait);
    }
    Some(found)
}

/// The body of a response as JSON, and the readable part of a damaged one. Some apps return a form, or a JSON text that
/// contains JSON.
fn read_body(inbound: &AppResponse) -> (Option<Value>, Option<Value>) {
    match tolerant::parse_partial(&inbound.body) {
        Some(read) if read.is_complete => {
            let inside = || tolerant::parse(read.value.as_str()?.as_bytes()).filter(Value::is_object);
            (Some(inside().unwrap_or(read.value)), None)
        }
        Some(read) if read.value.is_object() => (None, Some(read.value)),
        _ => (read_form(&inbound.body), None),
    }
}

/// The tokens of a list with one entry that has tokens. A list of errors stays a list, because a definition may point
/// into it.
fn only_entry(shape: &TokenResponseLayout, body: Value) -> Value {
    let has_tokens = |one: &&Value| token_at(&shape.access_token, one).is_some();
    let only = body.as_array().filter(|list| list.iter().filter(has_tokens).count() == 1);
    only.and_then(|list| list.iter().find(has_tokens).cloned()).unwrap_or(body)
}

/// Tokens after other text, such as a warning of the server's runtime. They need an access token, because a page may
/// contain anything.
fn embedded(server: &OAuthServer, body: &[u8]) -> Option<Value> {
    let text = tolerant::decode_text(body);
    let objects = text
        .match_indices('{')
        .take(MOST_OBJECTS)
        .filter_map(|(at, _)| tolerant::parse_partial(text.get(at..)?.as_bytes()));
    objects.map(|read| read.value).find(|value| find_issued_refresh_token(server, value).is_some())
}

/// A form (`application/x-www-form-urlencoded`), with any content type, as JSON. All of it must be a form, and one
/// member must be a token or an error, so that no page or sentence counts.
fn read_form(body: &[u8]) -> Option<Value> {
    let text = tolerant::decode_text(body);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0').trim_start_matches(['?', '#']);
    // No sentence contains an access token.
    let has_token = text.split('&').any(|pair| pair.starts_with("access_token="));
    let is_name = |name: &str| {
        (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    let is_part = |c: char| !c.is_control() && !"<>\"{}".contains(c) && (has_token && c == ' ' || !c.is_whitespace());
    let is_member = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        is_name(name) && value.chars().all(is_part)
    };
    if !text.split('&').all(is_member) || text.split('&').count() > MAX_FORM_MEMBERS {
        return None;
    }
    let mut members = Map::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        tolerant::insert_member(&mut members, name.into_owned(), Value::String(value.into_owned()));
    }
    let says = ["access_token", "refresh_token", "error"]
        .iter()
        .any(|name| members.get(*name).is_some_and(|value| value.as_str() != Some("")));
    says.then_some(Value::Object(members))
}

fn ambiguous_response(what: &'static str) -> TokenResponse {
    TokenResponse::Ambiguous(AmbiguousResponse { reason: what, refresh_token: None, retry_after: None })
}

/// The refresh token of tokens with an error status. It counts only next to a usable access token: alone, the member
/// may be an error about the token that was sent.
fn find_issued_refresh_token(oauth2: &OAuthServer, body: &Value) -> Option<Secret> {
    access_token(&oauth2.response, body).filter(|token| is_header_safe(token))?;
    find_refresh_token(&oauth2.response, body)
}

/// A 2xx with JSON: tokens, an error with the wrong status, or neither.
fn read_success(
    auth_method: &AuthMethod,
    server: &OAuthServer,
    body: Value,
    refusal: Option<AppRefusal>,
    wait: Option<i64>,
    asked_at: Timestamp,
) -> TokenResponse {
    let refresh_token = find_refresh_token(&server.response, &body);
    let access_token = access_token(&server.response, &body);
    match (access_token, refusal) {
        (Some(access_token), _) if is_header_safe(&access_token) => {
            let mut tokens = build_token_set(auth_method, server, &server.response, &body, &access_token, asked_at);
            tokens.additional = read_additional_tokens(auth_method, server, &body, asked_at);
            tokens.scopes = collect_scopes(&tokens);
            tokens.response = SecretJson(body);
            TokenResponse::Tokens(tokens)
        }
        (None, Some(refusal)) if refresh_token.is_none() => TokenResponse::Refused(refusal),
        (access_token, _) => {
            let what = access_token.map_or("no_access_token", |_| "unusable_access_token");
            TokenResponse::Ambiguous(AmbiguousResponse { reason: what, refresh_token, retry_after: wait })
        }
    }
}

/// The further tokens. One that cannot be sent in a header counts as absent.
fn read_additional_tokens(
    auth_method: &AuthMethod,
    server: &OAuthServer,
    body: &Value,
    asked_at: Timestamp,
) -> BTreeMap<String, TokenSet> {
    let found = |name: &String| {
        let further = server.tokens.get(name)?;
        let shape = &further.response;
        let access_token = access_token(shape, body).filter(|token| is_header_safe(token))?;
        let mut tokens = build_token_set(auth_method, server, shape, body, &access_token, asked_at);
        tokens.owner = further.account.as_ref().and_then(|at| reported_text(at, body));
        Some((name.clone(), tokens))
    };
    server.tokens.keys().filter_map(found).gather()
}

/// The granted scopes of all tokens. `None` if the first token, which represents the whole response, has none.
fn collect_scopes(tokens: &TokenSet) -> Option<Vec<String>> {
    let further = tokens
        .additional
        .iter()
        .flat_map(|(name, one)| one.scopes.iter().flatten().map(move |scope| format!("{name}:{scope}")));
    tokens.scopes.as_ref().map(|first| first.iter().cloned().chain(further).collect())
}

fn build_token_set(
    auth_method: &AuthMethod,
    oauth2: &OAuthServer,
    shape: &TokenResponseLayout,
    body: &Value,
    access_token: &str,
    asked_at: Timestamp,
) -> TokenSet {
    let after = |seconds: i64| asked_at.plus(seconds.min(MAX_LIFETIME));
    let refresh_token = find_refresh_token(shape, body);
    let (unit, refresh_unit) = (shape.expires_in_unit, shape.refresh_expires_in_unit);
    let told = shape.expires_in.find(body).and_then(|value| lifetime::parse_expiry(value, unit, asked_at));
    let told = told.or_else(|| find_expiry(oauth2, shape, body, asked_at));
    let own = shape.refresh_expires_in.as_ref().and_then(|at| at.find(body));
    let refresh_lives = REFRESH_LIFETIME_MEMBERS.iter().filter_map(|name| body.get(name)).chain(own);
    let refresh_end = refresh_lives.filter_map(|value| lifetime::parse_expiry(value, refresh_unit, asked_at)).min();
    // The definition's lifetime counts from a token's issue, so it applies only to a token that was just issued.
    let known = || oauth2.refresh_token_lifetime.filter(|_| refresh_token.is_some()).map(after);
    let refresh_expires_at = refresh_end.or_else(known);
    // A token that can be issued again at no cost gets a short assumed lifetime.
    let assumed = oauth2.issues_tokens().then_some(lifetime::ASSUMED_LIFETIME);
    let expected = told.or_else(|| oauth2.access_token_lifetime.or(assumed).map(after));
    let ends_by = lifetime::read_jwt_expiry(access_token, asked_at);
    TokenSet {
        access_token: Secret::new(access_token),
        token_type: normalize_token_type(text_at(&shape.token_type, body)),
        refresh_token,
        expires_at: expected.into_iter().chain(ends_by).min(),
        lifetime: told.map(|end| end.since(asked_at)),
        expires_at_latest: ends_by,
        refresh_expires_at,
        scopes: shape.scope.find(body).and_then(|scope| read_granted_scopes(auth_method, scope)),
        additional: BTreeMap::new(),
        owner: None,
        response: SecretJson::default(),
    }
}

/// The expiry of an access token: where the definition says, or in the usual places. A number that is not a time is a
/// lifetime.
fn find_expiry(
    oauth2: &OAuthServer,
    shape: &TokenResponseLayout,
    body: &Value,
    asked_at: Timestamp,
) -> Option<Timestamp> {
    let end = |value: &Value| lifetime::parse_expiry(value, LifetimeUnit::Seconds, asked_at);
    if let Some(at) = &shape.expires_at {
        return end(at.find(body)?);
    }
    if *shape != oauth2.response {
        return None;
    }
    members_of(body, EXPIRY_MEMBERS, &['_', '-', '.']).find_map(end)
}

/// A token, possibly as a number, without a trailing line end. A short number is something else, such as a flag.
fn token_at(at: &JsonPointer, body: &Value) -> Option<String> {
    let text = match at.find(body)? {
        Value::String(text) => text.trim_matches(|c: char| c.is_control()).to_owned(),
        Value::Number(number) if number.as_u64() >= Some(LEAST_TOKEN) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// An access token without a type before it, because requests add the type.
fn access_token(shape: &TokenResponseLayout, body: &Value) -> Option<String> {
    let token = token_at(&shape.access_token, body)?;
    let kind = normalize_token_type(text_at(&shape.token_type, body));
    let bare = token
        .trim()
        .split_once(' ')
        .filter(|(before, _)| [kind.as_str(), "Bearer"].iter().any(|kind| before.eq_ignore_ascii_case(kind)));
    Some(bare.map_or(token.trim(), |(_, bare)| bare.trim_start()).to_owned())
}

/// Absent, null, empty and unreadable mean that the old one is kept (RFC 6749 6). Characters that RFC 6749 A.17 does
/// not permit are accepted, because it is sent as a parameter.
fn find_refresh_token(shape: &TokenResponseLayout, body: &Value) -> Option<Secret> {
    let text = token_at(&shape.refresh_token, body)?;
    let is_whole = tolerant::is_readable(&text) && !text.contains(|c: char| c.is_control());
    is_whole.then(|| Secret::new(text))
}

/// Case is ignored (RFC 6749 5.1). Without a valid word the default is used.
fn normalize_token_type(text: Option<&str>) -> String {
    match text {
        Some(text) if text.eq_ignore_ascii_case("bearer") => "Bearer".to_owned(),
        Some(text) if text.len() <= MAX_TOKEN_TYPE_LENGTH && is_header_safe(text) => text.to_owned(),
        _ => "Bearer".to_owned(),
    }
}
