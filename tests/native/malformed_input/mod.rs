//! Malformed input: whatever an app, an issuer or a browser sends, the guarantees hold.
//!
//! Owns the generators. They produce almost correct input (members of the wrong type, duplicated, cut off, changed) far
//! more often than noise, because noise is refused at the first byte. Every generated text contains [`PLANT`], so that
//! a leak is visible. The expected results come from the generated input, never from the product.

mod discovery;
mod flows;
mod queries;
mod responses;

use connections::ports::AppResponse;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

/// Part of every malformed text. It is too long, with digits, to be an error code.
const PLANT: &str = "planted-9d1e7c55-planted-9d1e7c55";

/// Runs a property for this many cases. Nothing is written to disk.
fn check_property<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(strategy, property).unwrap_or_else(|failure| panic!("{failure}"));
}

/// Text that breaks careless headers, logs, pages and parsers.
fn hostile_text() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just(String::new()),
        4 => prop::sample::select(vec![
            "\r\nX-Injected: 1", "\n", "\0", "\u{7f}", " ", "\t", "é", "\u{202e}", "\u{feff}", "\"", "\\", "{access_token}",
            "<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "'; DROP TABLE connections; --", "%0d%0a", "${x}",
        ])
        .prop_map(str::to_owned),
        2 => any::<String>(),
    ]
}

/// A text that contains the plant.
fn text_with_plant() -> impl Strategy<Value = String> {
    (hostile_text(), hostile_text()).prop_map(|(before, after)| format!("{before}{PLANT}{after}"))
}

/// A JSON value of any kind, as text.
fn any_json() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "null", "true", "false", "\"\"", "0", "-0", "-1", "1", "0.5", "3600", "\"3600\"", "-3600", "1e3", "1e300", "1e999",
            "-1e300", "9223372036854775807", "9223372036854775808", "18446744073709551616", "99999999999999999999999999",
            "\"NaN\"", "\"inf\"", "\"-inf\"", "\"1e308\"", "NaN", "[]", "{}", "[null]", "{\"\":null}", "\"\\ud800\"", "\"\\u0000\"",
        ])
        .prop_map(str::to_owned),
        2 => text_with_plant().prop_map(|text| Value::from(text).to_string()),
        1 => text_with_plant().prop_map(|text| serde_json::json!([text, { "a": text }]).to_string()),
        1 => (1_usize..200).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth))),
    ]
}

/// A quoted word.
fn quoted_word(words: &[&'static str]) -> BoxedStrategy<String> {
    prop::sample::select(words.to_vec()).prop_map(|text| format!("\"{text}\"")).boxed()
}

/// An object's members in order, as text. Names may repeat.
#[derive(Debug, Clone)]
struct JsonMembers(Vec<(&'static str, String)>);

impl JsonMembers {
    fn to_json_text(&self) -> String {
        let members: Vec<_> = self.0.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        format!("{{{}}}", members.join(", "))
    }

    /// The value of a member, if it is there and not contradictory.
    fn member_value(&self, name: &str) -> Option<Value> {
        let mut values =
            self.0.iter().filter(|(known, _)| *known == name).map(|(_, value)| serde_json::from_str::<Value>(value));
        let first = values.next()?.ok()?;
        values.all(|other| other.is_ok_and(|other| other == first)).then_some(first)
    }

    /// The same, if it is a text.
    fn member_text(&self, name: &str) -> Option<String> {
        self.member_value(name)?.as_str().map(str::to_owned)
    }

    /// The first occurrence of a member.
    fn written(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// A token: a text without characters that cannot be at its ends, or a number that is too long to be anything else.
    /// `None` if it is contradictory.
    fn token(&self, name: &str) -> Option<String> {
        let is_long = |text: &str| text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_digit());
        let written = self.written(name)?;
        match self.member_value(name)? {
            Value::String(text) => Some(text.trim_matches(char::is_control).to_owned()),
            _ => is_long(written).then(|| written.to_owned()),
        }
    }

    fn count_member(&self, name: &str) -> usize {
        self.0.iter().filter(|(known, _)| *known == name).count()
    }
}

/// A member that is mostly there once, and mostly valid.
fn distorted_member(name: &'static str, right: BoxedStrategy<String>) -> BoxedStrategy<Vec<(&'static str, String)>> {
    let value = prop_oneof![3 => right, 1 => any_json()];
    prop_oneof![
        1 => Just(vec![]),
        8 => value.clone().prop_map(move |value| vec![(name, value)]),
        1 => (value.clone(), value.clone()).prop_map(move |(one, other)| vec![(name, one), (name, other)]),
        1 => value.prop_map(move |value| vec![(name, value.clone()), (name, value)]),
    ]
    .boxed()
}

/// Optional members.
fn optional_member(name: &'static str, right: BoxedStrategy<String>) -> BoxedStrategy<Vec<(&'static str, String)>> {
    prop_oneof![2 => Just(vec![]), 1 => distorted_member(name, right)].boxed()
}

fn json_object(members: Vec<BoxedStrategy<Vec<(&'static str, String)>>>) -> impl Strategy<Value = JsonMembers> {
    members.prop_map(|lists| lists.into_iter().flatten().collect::<Vec<_>>()).prop_shuffle().prop_map(JsonMembers)
}

/// What happens to a body on its way.
#[derive(Debug, Clone)]
enum Mangling {
    No,
    Bom,
    /// It starts with a member with a byte that is not UTF-8.
    Latin,
    /// UTF-16, little-endian or big-endian.
    Utf16(bool),
    Cut(prop::sample::Index),
    Byte(prop::sample::Index, u8),
    InFront(Vec<u8>),
    Behind(Vec<u8>),
    Listed,
}

fn any_mangling() -> impl Strategy<Value = Mangling> {
    let rubbish = || {
        prop_oneof![
            prop::sample::select(vec!["x", "<html>", "\u{feff}\u{feff}", ")]}',\n", "{}", "\0"])
                .prop_map(|text| text.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 1..8),
        ]
    };
    prop_oneof![
        8 => Just(Mangling::No),
        1 => Just(Mangling::Bom),
        2 => Just(Mangling::Latin),
        1 => any::<bool>().prop_map(Mangling::Utf16),
        1 => any::<prop::sample::Index>().prop_map(Mangling::Cut),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Mangling::Byte(at, byte)),
        1 => rubbish().prop_map(Mangling::InFront),
        1 => rubbish().prop_map(Mangling::Behind),
        1 => Just(Mangling::Listed),
    ]
}

impl Mangling {
    fn apply(&self, text: &str) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        match self {
            Self::No => {}
            Self::Bom => bytes.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
            Self::Latin => {
                let comma: &[u8] = if text == "{}" { b"" } else { b"," };
                bytes.splice(..1, [b"{\"latin\": \"\xe9t\xe9\"", comma].concat()).for_each(drop);
            }
            Self::Utf16(little) => {
                let write = |unit: u16| if *little { unit.to_le_bytes() } else { unit.to_be_bytes() };
                bytes = text.encode_utf16().flat_map(write).collect();
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Byte(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Self::InFront(rubbish) => bytes.splice(0..0, rubbish.iter().copied()).for_each(drop),
            Self::Behind(rubbish) => bytes.extend(rubbish),
            Self::Listed => bytes = [b"[", bytes.as_slice(), b"]"].concat(),
        }
        bytes
    }
}

/// What an app sends: a status, an object in any condition, a retry delay.
#[derive(Debug, Clone)]
struct GeneratedResponse {
    status: u16,
    members: JsonMembers,
    mangling: Mangling,
    retry_after: Option<String>,
}

fn any_status() -> impl Strategy<Value = u16> {
    prop_oneof![
        6 => Just(200),
        4 => Just(400),
        2 => prop::sample::select(vec![201, 204, 299, 301, 302, 307, 401, 403, 404, 429, 500, 502, 503, 522]),
        1 => any::<u16>(),
    ]
}

fn generated_response(members: impl Strategy<Value = JsonMembers>) -> impl Strategy<Value = GeneratedResponse> {
    let wait = prop_oneof![
        4 => Just(None),
        1 => prop::sample::select(vec!["0", "5", "-5", "1e9", "99999999999999999999", "Sun, 22 Nov 2026 12:01:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
            .prop_map(|text| Some(text.to_owned())),
        1 => text_with_plant().prop_map(Some),
    ];
    (any_status(), members, any_mangling(), wait).prop_map(|(status, members, mangling, retry_after)| {
        GeneratedResponse { status, members, mangling, retry_after }
    })
}

impl GeneratedResponse {
    fn to_inbound(&self) -> AppResponse {
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("location".to_owned(), format!("https://evil.example/{PLANT}")),
        ];
        headers.extend(self.retry_after.clone().map(|text| ("retry-after".to_owned(), text)));
        AppResponse { status: self.status, headers, body: self.mangling.apply(&self.members.to_json_text()) }
    }

    /// Whether the body is the generated object. An unreadable member does not affect the others.
    fn is_readable(&self) -> bool {
        matches!(self.mangling, Mangling::No | Mangling::Bom | Mangling::Latin | Mangling::Utf16(_))
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it could be a clear refusal with the codes for an ended grant: a parsed object, with such a code, with
    /// an error status, and without the members of a success.
    fn may_be_permanent(&self) -> bool {
        let is_code = |error: &str| PERMANENT.iter().any(|code| code.eq_ignore_ascii_case(error));
        let leads = |error: &str| error.split_once([' ', ':']).is_some_and(|(code, _)| is_code(code));
        let names = |error: &Value| match error {
            Value::String(text) => is_code(text) || leads(text),
            Value::Object(members) => {
                ["code", "type"].iter().any(|name| members.get(*name).and_then(Value::as_str).is_some_and(is_code))
            }
            _ => false,
        };
        let says_so = match self.mangling {
            Mangling::Cut(_) => false,
            _ if self.is_readable() => self.members.member_value("error").is_some_and(|error| names(&error)),
            // One byte may have ended another member, or may be skipped by the reader.
            _ => {
                let text = String::from_utf8_lossy(&self.to_inbound().body).to_ascii_lowercase();
                PERMANENT.iter().any(|code| text.contains(&format!("\"{code}")))
            }
        };
        says_so && (self.is_success() || (400..500).contains(&self.status)) && self.status != 429
    }
}

/// The codes that end a grant, as in the classification of docs/refresh.md.
const PERMANENT: &[&str] = &["invalid_grant", "invalid_refresh_token", "bad_refresh_token", "token_revoked"];

/// A response of a token endpoint.
fn token_response() -> impl Strategy<Value = GeneratedResponse> {
    let token = || {
        prop_oneof![
            24 => "[!-~]{1,12}".prop_map(|text| Value::from(format!("{PLANT}{text}")).to_string()),
            1 => Just(Value::from("x".repeat(64 * 1024)).to_string()),
            4 => text_with_plant().prop_map(|text| Value::from(text).to_string()),
        ]
        .boxed()
    };
    let errors = prop_oneof![
        3 => quoted_word(&["invalid_grant", "Invalid_Grant", "invalid_refresh_token", "bad_refresh_token", "TOKEN_REVOKED"]),
        2 => prop::sample::select(vec![
            r#"{"code":"invalid_grant"}"#, r#"{"code":400,"type":"Invalid_Grant"}"#, r#"{"message":"invalid_grant"}"#,
            r#""invalid_grant - expired""#, r#""token_revoked: by its owner""#, r#""no invalid_grant at all""#,
            r#"{"code":"quota_gone"}"#, r#"["invalid_grant_type"]"#,
        ])
        .prop_map(str::to_owned),
        3 => quoted_word(&["invalid_client", "invalid_scope", "unauthorized_client", "slow_down", "temporarily_unavailable", "invalid_request", "x"]),
        1 => text_with_plant().prop_map(|text| Value::from(text).to_string()),
    ];
    generated_response(json_object(vec![
        distorted_member("access_token", token()),
        distorted_member("refresh_token", token()),
        distorted_member("expires_in", any_json().boxed()),
        optional_member(
            "token_type",
            quoted_word(&["bearer", "bEaReR", "MAC", "bot", "Bearer\\r\\nX: y", "two words"]),
        ),
        optional_member("scope", any_json().boxed()),
        optional_member("error", errors.boxed()),
        optional_member("error_description", any_json().boxed()),
        optional_member("error_codes", any_json().boxed()),
        optional_member("refresh_token_expires_in", any_json().boxed()),
        optional_member("id_token", token()),
        optional_member("ok", any_json().boxed()),
    ]))
}

/// Whether a text can be a token in a header.
fn fits_a_header(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
}

/// A refresh token that can be sent: in one line, and completely readable.
fn is_refresh_token(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER)
}
