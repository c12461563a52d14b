//! Where a caller's request goes: a path and a query below the app's `base_url`.
//!
//! Refuses whatever some server may read as another place: dot segments, backslashes, a second host, control characters, in
//! any encoding and however often it is encoded. What remains is sent as the caller has written it.

use std::borrow::Cow;

use percent_encoding::percent_decode;
use url::form_urlencoded;

use crate::app::{PreparedRequest, RequestTemplate};
use crate::error::{Error, Result};

/// How often a path may be percent-encoded.
const MOST_ENCODINGS: usize = 5;

/// A path that leads elsewhere.
pub(super) fn outside_error() -> Error {
    refused(
        "must be below the app's base_url. Leave out dot segments such as .., backslashes, hosts and control characters, encoded ones too.",
    )
}

fn refused(problem: &str) -> Error {
    Error::invalid_field("path", problem)
}

/// Checks a path as it was sent, and as a server may decode it.
pub(super) fn check(path: &str) -> Result<()> {
    let mut text = Cow::Borrowed(path);
    for _ in 0..=MOST_ENCODINGS {
        check_decoded(&text)?;
        let bytes: Vec<u8> = percent_decode(text.as_bytes()).collect();
        let decoded = String::from_utf8(bytes).map_err(|_| refused("is not UTF-8 when it is decoded."))?;
        if decoded == *text {
            return Ok(());
        }
        text = Cow::Owned(decoded);
    }
    Err(refused("is percent-encoded too often."))
}

fn check_decoded(text: &str) -> Result<()> {
    if is_absolute(text) {
        return Err(refused("must be relative to the app's base_url, without a host of its own."));
    }
    let leads_away = text.starts_with('/')
        || text.chars().any(|c| c.is_control() || as_server_reads(c) == '\\')
        || text.split(|c| as_server_reads(c) == '/').any(is_dot_segment);
    if leads_away { Err(outside_error()) } else { Ok(()) }
}

/// Whether a text begins with a scheme and a host.
fn is_absolute(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

/// Dots alone, also with spaces around them or with parameters (`..;a=b`): some servers leave those out first.
fn is_dot_segment(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default().trim();
    !name.is_empty() && name.chars().all(|c| as_server_reads(c) == '.')
}

/// Wide forms of the characters that separate segments: some servers take them for the usual ones.
fn as_server_reads(c: char) -> char {
    match c {
        '\u{ff0e}' | '\u{2024}' | '\u{fe52}' => '.',
        '\u{ff0f}' | '\u{2215}' | '\u{2044}' => '/',
        '\u{ff3c}' | '\u{fe68}' | '\u{2216}' => '\\',
        other => other,
    }
}

/// The caller's query as it was sent, and behind it the definition's parameters. Those that carry the credential can't be
/// given; the others are defaults.
pub(super) fn query(given: &str, template: &RequestTemplate, prepared: &PreparedRequest) -> Result<String> {
    let names: Vec<String> = if prepared.query.is_empty() { vec![] } else { names(given).collect() };
    if let Some(name) = names.iter().find(|name| template.fills_query(name)) {
        return Err(Error::invalid_field(name, "is a parameter that carries the credential. Leave it out."));
    }
    let missing = prepared.query.iter().filter(|(name, _)| names.iter().all(|given| !given.eq_ignore_ascii_case(name)));
    let added = form_urlencoded::Serializer::new(String::new()).extend_pairs(missing).finish();
    Ok(match (given.is_empty(), added.is_empty()) {
        (_, true) => given.to_owned(),
        (true, false) => added,
        (false, false) => format!("{given}&{added}"),
    })
}

/// The names of a query's parameters, as a server may read them: separated by `&` or `;`, and up to a bracket.
fn names(query: &str) -> impl Iterator<Item = String> {
    query.split(['&', ';']).flat_map(|part| form_urlencoded::parse(part.as_bytes()).into_owned()).map(|(name, _)| {
        let name = name.trim_matches(|c: char| c.is_whitespace() || c.is_control());
        name.split('[').next().unwrap_or_default().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn ordinary_paths_pass() {
        for path in [
            "",
            "me",
            "v1/users/me/",
            "repos/a/b/compare/main...dev",
            "projects/group%2Fname/files/a%20b.txt",
            "sites/https%3A%2F%2Fexample.com%2F/query",
            "documents/1:batchUpdate",
            "a//b",
            "me;version=2",
            "files/100%25",
            "caf%C3%A9",
            ".well-known/x",
            "users/me@example.com",
            "...x/..y",
        ] {
            assert!(check(path).is_ok(), "{path}: {:?}", check(path));
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused_in_every_encoding() {
        for path in [
            "..",
            "../x",
            "a/../b",
            "a/..",
            ".",
            "a/./b",
            "%2e%2e/x",
            "%2E%2e/x",
            ".%2e/x",
            "a/%2e%2e%2fb",
            "a%2f..%2fb",
            "%252e%252e/x",
            "%25252e%25252e%25252fx",
            "..;/x",
            "..;a=b/x",
            "a/%2e%2e;x/b",
            "..%20/x",
            "%20../x",
            "..%00/x",
            "a%00b",
            "a%0d%0aHost: evil",
            "a%09b",
            "..\\x",
            "a\\..\\b",
            "a%5c..%5cb",
            "a%255cb",
            "/evil.example/x",
            "//evil.example/x",
            "%2f%2fevil.example",
            "%2fx",
            "%252fx",
            "https://evil.example/x",
            "HTTPS://evil.example",
            "https%3A%2F%2Fevil.example",
            "https%253A%252F%252Fevil.example",
            "ftp://x",
            "%c0%ae%c0%ae/x",
            "%ff",
            "\u{ff0e}\u{ff0e}/x",
            "%EF%BC%8E%EF%BC%8E/x",
            "..%EF%BC%8Fx",
            "%E2%80%A4%E2%80%A4/x",
            "a%EF%BC%BCb",
            "....",
            "%2525252525252525252e",
        ] {
            assert!(check(path).is_err(), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_passes_stays_below_its_base(path in "[a-z./%25;\\\\: ]{0,24}") {
            let base = crate::egress::EgressUrl::parse("https://api.example/v1/", crate::egress::EgressPolicy::Public).unwrap();
            if check(&path).is_ok() && let Some(url) = base.below(&path, "") {
                proptest::prop_assert!(url.as_str().starts_with("https://api.example/v1/"), "{}", url.as_str());
            }
        }
    }
}
