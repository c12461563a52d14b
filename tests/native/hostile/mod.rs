//! Hostile outsides: whatever an app, an issuer or a browser sends, what is promised holds.
//!
//! Owns the generators. They make what is almost right (members of the wrong type, doubled, cut off, mangled) far
//! more often than noise, because noise is refused at the first byte. Every text that is made holds [`PLANT`], so that
//! a leak is seen. The oracles read what was made, never what the product made of it.

mod answers;
mod discovery;
mod flows;
mod queries;

use connections::ports::Inbound;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

/// Stands in every hostile text. Too long, with digits, to pass for an error code.
const PLANT: &str = "planted-9d1e7c55-planted-9d1e7c55";

/// Runs a property over so many cases; nothing is written to disk.
fn check<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(strategy, property).unwrap_or_else(|failure| panic!("{failure}"));
}

/// Parts of texts that break headers, logs, pages and parsers which are careless.
fn nasty() -> impl Strategy<Value = String> {
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

/// A text that holds the plant.
fn planted() -> impl Strategy<Value = String> {
    (nasty(), nasty()).prop_map(|(before, after)| format!("{before}{PLANT}{after}"))
}

/// A JSON value of any kind, as text.
fn scrap() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "null", "true", "false", "\"\"", "0", "-0", "-1", "1", "0.5", "3600", "\"3600\"", "-3600", "1e3", "1e300", "1e999",
            "-1e300", "9223372036854775807", "9223372036854775808", "18446744073709551616", "99999999999999999999999999",
            "\"NaN\"", "\"inf\"", "\"-inf\"", "\"1e308\"", "NaN", "[]", "{}", "[null]", "{\"\":null}", "\"\\ud800\"", "\"\\u0000\"",
        ])
        .prop_map(str::to_owned),
        2 => planted().prop_map(|text| Value::from(text).to_string()),
        1 => planted().prop_map(|text| serde_json::json!([text, { "a": text }]).to_string()),
        1 => (1_usize..200).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth))),
    ]
}

/// A word, quoted.
fn word(words: &[&'static str]) -> BoxedStrategy<String> {
    prop::sample::select(words.to_vec()).prop_map(|text| format!("\"{text}\"")).boxed()
}

/// An object's members in the order they stand, as text; names may repeat.
#[derive(Debug, Clone)]
struct Members(Vec<(&'static str, String)>);

impl Members {
    fn text(&self) -> String {
        let members: Vec<_> = self.0.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        format!("{{{}}}", members.join(", "))
    }

    /// The value of a member, if it stands there without contradicting itself.
    fn value(&self, name: &str) -> Option<Value> {
        let mut values =
            self.0.iter().filter(|(known, _)| *known == name).map(|(_, value)| serde_json::from_str::<Value>(value));
        let first = values.next()?.ok()?;
        values.all(|other| other.is_ok_and(|other| other == first)).then_some(first)
    }

    /// The same, where it is a text.
    fn string(&self, name: &str) -> Option<String> {
        self.value(name)?.as_str().map(str::to_owned)
    }

    /// A member as it stands there first.
    fn written(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// A token: a text without what can't stand at its ends, or a number that is too long for anything else. `None` where it
    /// contradicts itself.
    fn token(&self, name: &str) -> Option<String> {
        let is_long = |text: &str| text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_digit());
        let written = self.written(name)?;
        match self.value(name)? {
            Value::String(text) => Some(text.trim_matches(char::is_control).to_owned()),
            _ => is_long(written).then(|| written.to_owned()),
        }
    }

    fn times(&self, name: &str) -> usize {
        self.0.iter().filter(|(known, _)| *known == name).count()
    }
}

/// A member that mostly stands there once, and mostly is what it should be.
fn member(name: &'static str, right: BoxedStrategy<String>) -> BoxedStrategy<Vec<(&'static str, String)>> {
    let value = prop_oneof![3 => right, 1 => scrap()];
    prop_oneof![
        1 => Just(vec![]),
        8 => value.clone().prop_map(move |value| vec![(name, value)]),
        1 => (value.clone(), value.clone()).prop_map(move |(one, other)| vec![(name, one), (name, other)]),
        1 => value.prop_map(move |value| vec![(name, value.clone()), (name, value)]),
    ]
    .boxed()
}

/// Members that need not be there.
fn perhaps(name: &'static str, right: BoxedStrategy<String>) -> BoxedStrategy<Vec<(&'static str, String)>> {
    prop_oneof![2 => Just(vec![]), 1 => member(name, right)].boxed()
}

fn object(members: Vec<BoxedStrategy<Vec<(&'static str, String)>>>) -> impl Strategy<Value = Members> {
    members.prop_map(|lists| lists.into_iter().flatten().collect::<Vec<_>>()).prop_shuffle().prop_map(Members)
}

/// What happens to a body on its way.
#[derive(Debug, Clone)]
enum Mangling {
    No,
    Bom,
    /// A member with a byte that is no UTF-8 stands in front.
    Latin,
    /// UTF-16, whose units have their low byte first or last.
    Utf16(bool),
    Cut(prop::sample::Index),
    Byte(prop::sample::Index, u8),
    InFront(Vec<u8>),
    Behind(Vec<u8>),
    Listed,
}

fn mangling() -> impl Strategy<Value = Mangling> {
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
    fn applied(&self, text: &str) -> Vec<u8> {
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

/// What an app sends: a status, an object in whatever state it arrives, a wish how long to wait.
#[derive(Debug, Clone)]
struct Sent {
    status: u16,
    members: Members,
    mangling: Mangling,
    retry_after: Option<String>,
}

fn status() -> impl Strategy<Value = u16> {
    prop_oneof![
        6 => Just(200),
        4 => Just(400),
        2 => prop::sample::select(vec![201, 204, 299, 301, 302, 307, 401, 403, 404, 429, 500, 502, 503, 522]),
        1 => any::<u16>(),
    ]
}

fn sent(members: impl Strategy<Value = Members>) -> impl Strategy<Value = Sent> {
    let wait = prop_oneof![
        4 => Just(None),
        1 => prop::sample::select(vec!["0", "5", "-5", "1e9", "99999999999999999999", "Sun, 22 Nov 2026 12:01:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
            .prop_map(|text| Some(text.to_owned())),
        1 => planted().prop_map(Some),
    ];
    (status(), members, mangling(), wait).prop_map(|(status, members, mangling, retry_after)| Sent {
        status,
        members,
        mangling,
        retry_after,
    })
}

impl Sent {
    fn inbound(&self) -> Inbound {
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("location".to_owned(), format!("https://evil.example/{PLANT}")),
        ];
        headers.extend(self.retry_after.clone().map(|text| ("retry-after".to_owned(), text)));
        Inbound { status: self.status, headers, body: self.mangling.applied(&self.members.text()) }
    }

    /// Whether the body is the object that was made. A member that can't be read spoils no other.
    fn is_whole(&self) -> bool {
        matches!(self.mangling, Mangling::No | Mangling::Bom | Mangling::Latin | Mangling::Utf16(_))
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it could be a clear refusal by the codes that mean that a grant is gone: a parsed object, with such
    /// a code, under a status that refuses, without what a success has.
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
            _ if self.is_whole() => self.members.value("error").is_some_and(|error| names(&error)),
            // One byte may have ended another member, or may be passed over by the reader.
            _ => {
                let text = String::from_utf8_lossy(&self.inbound().body).to_ascii_lowercase();
                PERMANENT.iter().any(|code| text.contains(&format!("\"{code}")))
            }
        };
        says_so && (self.is_success() || (400..500).contains(&self.status)) && self.status != 429
    }
}

/// The codes that end a grant, as the classification of docs/refresh.md has them.
const PERMANENT: &[&str] = &["invalid_grant", "invalid_refresh_token", "bad_refresh_token", "token_revoked"];

/// An answer of a token endpoint.
fn token_answer() -> impl Strategy<Value = Sent> {
    let token = || {
        prop_oneof![
            24 => "[!-~]{1,12}".prop_map(|text| Value::from(format!("{PLANT}{text}")).to_string()),
            1 => Just(Value::from("x".repeat(64 * 1024)).to_string()),
            4 => planted().prop_map(|text| Value::from(text).to_string()),
        ]
        .boxed()
    };
    let errors = prop_oneof![
        3 => word(&["invalid_grant", "Invalid_Grant", "invalid_refresh_token", "bad_refresh_token", "TOKEN_REVOKED"]),
        2 => prop::sample::select(vec![
            r#"{"code":"invalid_grant"}"#, r#"{"code":400,"type":"Invalid_Grant"}"#, r#"{"message":"invalid_grant"}"#,
            r#""invalid_grant - expired""#, r#""token_revoked: by its owner""#, r#""no invalid_grant at all""#,
            r#"{"code":"quota_gone"}"#, r#"["invalid_grant_type"]"#,
        ])
        .prop_map(str::to_owned),
        3 => word(&["invalid_client", "invalid_scope", "unauthorized_client", "slow_down", "temporarily_unavailable", "invalid_request", "x"]),
        1 => planted().prop_map(|text| Value::from(text).to_string()),
    ];
    sent(object(vec![
        member("access_token", token()),
        member("refresh_token", token()),
        member("expires_in", scrap().boxed()),
        perhaps("token_type", word(&["bearer", "bEaReR", "MAC", "bot", "Bearer\\r\\nX: y", "two words"])),
        perhaps("scope", scrap().boxed()),
        perhaps("error", errors.boxed()),
        perhaps("error_description", scrap().boxed()),
        perhaps("error_codes", scrap().boxed()),
        perhaps("refresh_token_expires_in", scrap().boxed()),
        perhaps("id_token", token()),
        perhaps("ok", scrap().boxed()),
    ]))
}

/// Whether a text can stand in a header as one token.
fn fits_a_header(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
}

/// A refresh token that can be sent: in one line, and all of it could be read.
fn is_refresh_token(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER)
}
