//! Error codes: where they are in an app's response, and what they mean.
//!
//! Owns the standard codes, the usual places of codes in responses, and how they are written. A code counts only as a
//! whole word, from the standards or the definition. Ignores descriptions, messages and pages: a text for people never
//! ends a connection.

use serde_json::Value;

use super::{AppRefusal, RefusalClass};
use crate::app::{AuthMethod, JsonPointer};
use crate::ports::AppResponse;

/// Error codes with the same meaning for all apps: RFC 6749 5.2, RFC 8628 3.5 (`slow_down`), and common variants of
/// `invalid_grant`.
const PERMANENT_CODES: &[&str] = &["invalid_grant", "invalid_refresh_token", "bad_refresh_token", "token_revoked"];
const CLIENT_CODES: &[&str] = &["invalid_client"];
const CONFIGURATION_CODES: &[&str] = &["unauthorized_client", "unsupported_grant_type", "invalid_scope"];
const TRANSIENT_CODES: &[&str] = &["temporarily_unavailable", "slow_down"];

/// Separators in names and codes.
const SEPARATORS: &[char] = &['_', '-'];

/// Members that contain an error or a list of errors, and members of an error that contain its code. The case and the
/// separators of these names are ignored.
const ERROR_MEMBERS: &[&str] = &["error", "errors"];
const CODE_MEMBERS: &[&str] =
    &["code", "type", "error", "errorcode", "errcode", "errortype", "name", "reason", "status"];
/// Members that contain a code next to other members.
const TOP_LEVEL_CODE_MEMBERS: &[&str] = &["code", "errorcode", "errcode", "errortype", "type"];
/// Members of a response or an error that contain further objects with codes: of gateways, of `GraphQL`, of `OData`. A
/// text there is for people.
const HOLDERS: &[&str] = &["fault", "detail", "details", "innererror"];
const HOLDERS_IN_ERRORS: &[&str] = &["errors", "error", "detail", "details", "extensions", "innererror"];
/// Most entries of a list of errors, and deepest nesting of errors, that are read.
const MAX_ERRORS: usize = 20;
const MAX_ERROR_DEPTH: usize = 3;

/// Longest error code, in characters.
const MAX_CODE_LENGTH: usize = 64;
/// Longest code with digits, in characters. A longer text may be a token in the wrong place.
const MAX_CODE_LENGTH_WITH_DIGITS: usize = 24;

/// The refusal in a response, if there is one: where the definition says, then in the usual places, then in the
/// headers. A known code has precedence over an unknown one.
pub(super) fn find_refusal(
    auth_method: &AuthMethod,
    inbound: &AppResponse,
    body: Option<&Value>,
    retry_after: Option<i64>,
) -> Option<AppRefusal> {
    let said = body.and_then(|body| find_defined_refusal(auth_method, body, retry_after));
    if said.as_ref().is_some_and(|refusal| refusal.class != RefusalClass::Unknown) {
        return said;
    }
    let usual = body.map(|body| find_usual_codes(auth_method, body)).unwrap_or_default();
    let header = find_challenge_error(inbound);
    let in_headers = header.iter().map(String::as_str).chain(error_header_values(inbound));
    let known = usual
        .iter()
        .map(String::as_str)
        .chain(in_headers)
        .find_map(|text| find_known_code(auth_method, text, retry_after));
    known.or(said).or_else(|| {
        let mut codes = usual.iter().chain(&header).map(|text| sanitise_code(text));
        let code = codes.find(|code| code != UNKNOWN_CODE)?;
        Some(AppRefusal { class: RefusalClass::Unknown, code, unauthorized: false })
    })
}

/// The refusal in a body where the definition says. Finer codes have precedence over the error's name, and the
/// definition over the default table.
pub(super) fn find_defined_refusal(
    auth_method: &AuthMethod,
    body: &Value,
    retry_after: Option<i64>,
) -> Option<AppRefusal> {
    let codes =
        auth_method.errors.codes.as_ref().and_then(|codes| codes.find(body)).map(scalar_texts).unwrap_or_default();
    let name = auth_method.errors.error.iter().find_map(|at| text_at(at, body)).map(str::to_owned);
    let known = codes.iter().chain(&name).find_map(|code| Some((classify_code(auth_method, code, retry_after)?, code)));
    if let Some((class, code)) = known {
        return Some(AppRefusal { class, code: sanitise_code(code), unauthorized: false });
    }
    let code = name.or_else(|| codes.into_iter().next())?;
    Some(AppRefusal { class: RefusalClass::Unknown, code: sanitise_code(&code), unauthorized: false })
}

/// The code of a `WWW-Authenticate` challenge (RFC 6750 3).
pub(super) fn find_challenge_error(inbound: &AppResponse) -> Option<String> {
    let mut challenges = inbound.headers.iter().filter(|(name, _)| name == "www-authenticate");
    challenges.find_map(|(_, text)| parse_challenge_error(text))
}

fn parse_challenge_error(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let at = lower.match_indices("error").find_map(|(at, word)| {
        let before = lower.get(..at)?;
        let starts =
            !ends_in_quotes(before) && before.chars().next_back().is_none_or(|c| matches!(c, ' ' | ',' | '\t'));
        let rest = lower.get(at + word.len()..)?.trim_start();
        rest.strip_prefix('=').filter(|_| starts)
    })?;
    let value = at.trim_start();
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split([',', ' ', '\t']).next(),
    };
    value.filter(|value| !value.is_empty()).map(str::to_owned)
}

/// Whether a text ends inside a quoted string, in which a backslash escapes the next character (RFC 9110 5.6.4).
fn ends_in_quotes(text: &str) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for c in text.chars() {
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = is_quoted && c == '\\' && !is_escaped;
    }
    is_quoted
}

/// Headers in which some apps return a code.
fn error_header_values(inbound: &AppResponse) -> impl Iterator<Item = &str> {
    let is_error = |name: &str| {
        let name = name.replace(['-', '_'], "");
        ["error", "errorcode", "errortype"].iter().any(|end| name.ends_with(end))
    };
    inbound.headers.iter().filter(move |(name, _)| is_error(name)).map(|(_, value)| value.as_str())
}

/// The texts in the usual places of codes.
fn find_usual_codes(auth_method: &AuthMethod, body: &Value) -> Vec<String> {
    let own = auth_method.errors.error.iter().filter_map(|at| text_at(at, body)).map(str::to_owned);
    let mut found: Vec<String> = own.collect();
    let bodies = match body {
        Value::Array(list) => list.iter().take(MAX_ERRORS).collect(),
        one => vec![one],
    };
    for body in bodies {
        for error in members_of(body, ERROR_MEMBERS, SEPARATORS) {
            collect_error_codes(error, MAX_ERROR_DEPTH, &mut found);
        }
        found.extend(member_codes(body, TOP_LEVEL_CODE_MEMBERS));
        codes_of_holders(body, HOLDERS, MAX_ERROR_DEPTH, &mut found);
    }
    found.retain(|text| !text.is_empty());
    found
}

/// The codes of an error: a text, an object, or a list of them. An object may contain others.
fn collect_error_codes(error: &Value, deepest: usize, found: &mut Vec<String>) {
    match error {
        Value::String(text) => found.push(text.clone()),
        Value::Array(list) if deepest > 0 => {
            list.iter().take(MAX_ERRORS).for_each(|entry| collect_error_codes(entry, deepest - 1, found));
        }
        Value::Object(_) => {
            found.extend(member_codes(error, CODE_MEMBERS));
            codes_of_holders(error, HOLDERS_IN_ERRORS, deepest, found);
        }
        _ => {}
    }
}

/// The codes of the nested objects.
fn codes_of_holders(of: &Value, names: &[&str], deepest: usize, found: &mut Vec<String>) {
    let Some(deepest) = deepest.checked_sub(1) else { return };
    for held in members_of(of, names, SEPARATORS) {
        let list = held.as_array().map_or(std::slice::from_ref(held), Vec::as_slice);
        for one in list.iter().take(MAX_ERRORS).filter(|one| one.is_object()) {
            collect_error_codes(one, deepest, found);
        }
    }
}

/// The codes among an object's members, in the order of the names.
fn member_codes(of: &Value, names: &[&str]) -> Vec<String> {
    members_of(of, names, SEPARATORS).flat_map(scalar_texts).collect()
}

/// An object's members with these names, in order. Case and separators are ignored.
pub(super) fn members_of<'a>(of: &'a Value, names: &[&str], separators: &[char]) -> impl Iterator<Item = &'a Value> {
    let same = move |known: &str, name: &str| known.replace(separators, "").eq_ignore_ascii_case(name);
    names.iter().flat_map(move |name| {
        of.as_object().into_iter().flatten().filter(move |(known, _)| same(known, name)).map(|(_, value)| value)
    })
}

/// A text that is present and not empty.
pub(super) fn text_at<'a>(pointer: &JsonPointer, body: &'a Value) -> Option<&'a str> {
    pointer.find(body)?.as_str().filter(|text| !text.is_empty())
}

/// A value or a list of values as texts.
fn scalar_texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if !text.is_empty() => vec![text.clone()],
        Value::Number(number) => vec![number.to_string()],
        Value::Array(list) => list.iter().filter(|value| !value.is_array()).flat_map(scalar_texts).collect(),
        _ => Vec::new(),
    }
}

/// The known code that a text is or contains as a whole word.
fn find_known_code(auth_method: &AuthMethod, text: &str, retry_after: Option<i64>) -> Option<AppRefusal> {
    let refusal = |word: &str, class| AppRefusal { class, code: sanitise_code(word), unauthorized: false };
    let whole = candidate_codes(text).into_iter().find_map(|word| {
        let class = classify_code(auth_method, word, retry_after).or_else(|| classify_spelling(word, retry_after))?;
        Some(refusal(word, class))
    });
    // The text before the dot belongs to a code of the definition, and not to a standard one.
    whole.or_else(|| {
        let last = last_of_dotted(text)?;
        Some(refusal(last, classify_spelling(last, retry_after)?))
    })
}

/// The last part of a dotted name: gateways add their own name before the standard one (`oauth.v2.InvalidGrant`).
fn last_of_dotted(text: &str) -> Option<&str> {
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    text.rsplit_once('.').map(|(_, last)| last).filter(|_| is_name)
}

/// The words of a text that can be its code: the text itself; its first word (`invalid_grant - expired`); the word
/// after one that only says that it is an error (`OAuthException: invalid_grant`); the word in brackets at its end; the
/// last part of a URI (`urn:…:invalid_grant`). Words inside a sentence are ignored.
fn candidate_codes(text: &str) -> Vec<&str> {
    let text = text.trim();
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let first = |text: &str| -> usize { text.find(|c| !is_part(c)).unwrap_or(text.len()) };
    let bare = text.trim_start_matches(['[', '(', '"', '\'', '<']);
    let bare = if text.starts_with('<') { "" } else { bare };
    let (leading, rest) = bare.split_at(first(bare));
    let mut words = vec![text, leading.trim_end_matches(['.', '-'])];
    let announces = |word: &str| {
        let word = word.to_ascii_lowercase();
        word.ends_with("error") || word.ends_with("exception")
    };
    if let Some(after) = rest.strip_prefix(':').map(str::trim_start).filter(|_| announces(leading)) {
        words.push(after.get(..first(after)).unwrap_or_default().trim_end_matches(['.', '-']));
    }
    if let Some((_, inside)) = text.strip_suffix([')', ']']).and_then(|text| text.rsplit_once(['(', '['])) {
        words.push(inside);
    }
    if !text.contains(char::is_whitespace)
        && let Some((_, last)) = text.rsplit_once(['/', ':', '#'])
    {
        words.push(last);
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Other spellings of the standard codes: `InvalidGrant`, `INVALID-GRANT`, `InvalidGrantException`.
fn classify_spelling(word: &str, retry_after: Option<i64>) -> Option<RefusalClass> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(SEPARATORS, "");
    let word = plain(word);
    let word = word.strip_suffix("exception").or_else(|| word.strip_suffix("error")).unwrap_or(&word);
    classify_standard_code(|known| plain(known) == word, retry_after)
}

fn classify_standard_code(is_it: impl Fn(&str) -> bool, retry_after: Option<i64>) -> Option<RefusalClass> {
    let among = |list: &[&str]| list.iter().any(|known| is_it(known));
    [
        (among(PERMANENT_CODES), RefusalClass::Permanent),
        (among(CLIENT_CODES), RefusalClass::Client),
        (among(CONFIGURATION_CODES), RefusalClass::Configuration),
        (among(TRANSIENT_CODES), RefusalClass::Transient { retry_after }),
    ]
    .into_iter()
    .find_map(|(says, class)| says.then_some(class))
}

fn classify_code(auth_method: &AuthMethod, code: &str, retry_after: Option<i64>) -> Option<RefusalClass> {
    let own = &auth_method.errors;
    let own_says = |list: &[String]| list.iter().any(|known| known.eq_ignore_ascii_case(code));
    [
        (own_says(&own.permanent), RefusalClass::Permanent),
        (own_says(&own.client), RefusalClass::Client),
        (own_says(&own.configuration), RefusalClass::Configuration),
        (own_says(&own.transient), RefusalClass::Transient { retry_after }),
    ]
    .into_iter()
    .find_map(|(says, class)| says.then_some(class))
    .or_else(|| classify_standard_code(|known| known.eq_ignore_ascii_case(code), retry_after))
}

/// Replaces a code that cannot be shown.
const UNKNOWN_CODE: &str = "unknown_error";

/// An error code that is safe to log and show, or `unknown_error`.
fn sanitise_code(code: &str) -> String {
    let code = code.to_ascii_lowercase();
    let has_digits = code.bytes().any(|b| b.is_ascii_digit());
    let longest = if has_digits { MAX_CODE_LENGTH_WITH_DIGITS } else { MAX_CODE_LENGTH };
    let ok = code.len() <= longest && code.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'));
    if ok { code } else { UNKNOWN_CODE.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{candidate_codes, parse_challenge_error};

    #[test]
    fn an_error_code_is_a_whole_word_in_an_error_member() {
        for (text, word) in [
            ("invalid_grant", "invalid_grant"),
            ("invalid_grant - expired", "invalid_grant"),
            ("invalid_grant: expired.", "invalid_grant"),
            ("[invalid_grant] expired", "invalid_grant"),
            ("OAuthException: invalid_grant. Expired", "invalid_grant"),
            ("The token has expired (invalid_grant)", "invalid_grant"),
            ("urn:acme:error:invalid_grant", "invalid_grant"),
            ("https://acme.example/errors#invalid_grant", "invalid_grant"),
        ] {
            assert!(candidate_codes(text).contains(&word), "{text}: {:?}", candidate_codes(text));
        }
        for text in [
            "this is no invalid_grant at all",
            "invalid_grant_type",
            "not_invalid_grant",
            "message: invalid_grant is what it says",
            "<invalid_grant>",
            "invalid grant",
        ] {
            assert!(!candidate_codes(text).contains(&"invalid_grant"), "{text}: {:?}", candidate_codes(text));
        }
    }

    #[test]
    fn the_error_code_of_a_challenge_is_its_error_parameter() {
        for (text, code) in [
            (r#"Bearer error="invalid_token""#, Some("invalid_token")),
            (r#"Bearer realm="x", error = "Invalid_Token", error_description="y""#, Some("invalid_token")),
            ("Bearer error=invalid_token,scope=x", Some("invalid_token")),
            (r#"Bearer error_description="an error=invalid_grant""#, None),
            (r#"Bearer realm="x""#, None),
            (r#"Bearer error="""#, None),
            ("", None),
        ] {
            assert_eq!(parse_challenge_error(text).as_deref(), code, "{text}");
        }
    }
}
