//! Tolerant JSON: the responses of apps.
//!
//! Owns the rule that an invalid value never affects another: bytes that are not UTF-8, half a surrogate pair, a number
//! out of range or a value nested too deeply lose only that value. An integer that no number type can contain is read
//! as its digits, so that two different ids are never equal. Also owns the meaning of a repeated member: if two values
//! contradict each other, neither counts (the member is null), so that differences between parsers cannot replace a
//! token. A text that is cut off or followed by anything is not complete.

use serde_json::{Map, Number, Value};

/// Deepest nesting. Deeper values are null.
const MAX_DEPTH: usize = 128;

/// Replaces what cannot be read (U+FFFD). No token and no error code contains one.
const UNREADABLE_CHAR: char = char::REPLACEMENT_CHARACTER;

/// Whether a whole text could be read. Others must not be compared, because different ones may look equal.
pub(crate) fn is_readable(text: &str) -> bool {
    !text.contains(UNREADABLE_CHAR)
}

/// The readable part of a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ParsedJson {
    /// The value. Of an incomplete object: the complete members.
    pub(crate) value: Value,
    /// Whether it is complete: nothing is missing, and nothing follows.
    pub(crate) is_complete: bool,
}

/// The JSON of a body. `None` if it is not complete.
pub(crate) fn parse(body: &[u8]) -> Option<Value> {
    parse_partial(body).filter(|read| read.is_complete).map(|read| read.value)
}

/// The JSON of a body, also if it is damaged. `None` if nothing can be read.
pub(crate) fn parse_partial(body: &[u8]) -> Option<ParsedJson> {
    let text = decode_text(body);
    let mut reader = TolerantParser { text: &text, at: 0 };
    match reader.parse_value(0) {
        Ok(value) => {
            // Some servers include the zero that ends their text.
            let is_nothing = |c: char| c.is_whitespace() || c == '\0';
            let whole = reader.rest().chars().all(is_nothing);
            Some(ParsedJson { value, is_complete: whole })
        }
        Err(BrokenJson(Some(value))) => Some(ParsedJson { value, is_complete: false }),
        Err(BrokenJson(None)) => None,
    }
}

/// The text of a body: UTF-8 (RFC 8259 8.1), or UTF-16 if a byte order mark or the zero next to its first character
/// shows it. Each invalid sequence becomes U+FFFD, which never affects an ASCII character next to it.
pub(crate) fn decode_text(body: &[u8]) -> String {
    let little = |bytes: &[u8]| decode_utf16_lossy(bytes, u16::from_le_bytes);
    let big = |bytes: &[u8]| decode_utf16_lossy(bytes, u16::from_be_bytes);
    let text = match body {
        [0xff, 0xfe, rest @ ..] => little(rest),
        [0xfe, 0xff, rest @ ..] => big(rest),
        [first, 0, ..] if *first != 0 => little(body),
        [0, second, ..] if *second != 0 => big(body),
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    text.trim_start_matches('\u{feff}').to_owned()
}

fn decode_utf16_lossy(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).filter_map(|pair| Some(unit(pair.try_into().ok()?)));
    char::decode_utf16(units).map(|one| one.unwrap_or(UNREADABLE_CHAR)).collect()
}

/// The text ends too early or is not JSON. Contains what was read before that.
struct BrokenJson(Option<Value>);

struct TolerantParser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> TolerantParser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next_char(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn consume(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn skip_spaces(&mut self) {
        let spaces = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
        self.at += self.rest().len() - self.rest().trim_start_matches(spaces).len();
    }

    fn parse_value(&mut self, depth: usize) -> Result<Value, BrokenJson> {
        self.skip_spaces();
        match self.peek() {
            Some('{' | '[') if depth >= MAX_DEPTH => self.skip_container().map(|()| Value::Null),
            Some('{') => self.parse_object(depth),
            Some('[') => self.parse_list(depth),
            Some('"') => self.parse_string().map(Value::String),
            _ => self.parse_literal(),
        }
    }

    fn parse_object(&mut self, depth: usize) -> Result<Value, BrokenJson> {
        let mut members = Map::new();
        self.next_char();
        self.skip_spaces();
        if self.consume("}") {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_spaces();
            let name = match self.peek() {
                Some('"') => self.parse_string(),
                _ => Err(BrokenJson(None)),
            };
            let Ok(name) = name else { return Err(BrokenJson(Some(Value::Object(members)))) };
            self.skip_spaces();
            if !self.consume(":") {
                return Err(BrokenJson(Some(Value::Object(members))));
            }
            match self.parse_value(depth + 1) {
                Ok(value) => insert_member(&mut members, name, value),
                Err(BrokenJson(part)) => {
                    if let Some(part) = part {
                        insert_member(&mut members, name, part);
                    }
                    return Err(BrokenJson(Some(Value::Object(members))));
                }
            }
            self.skip_spaces();
            if self.consume("}") {
                return Ok(Value::Object(members));
            }
            if !self.consume(",") {
                return Err(BrokenJson(Some(Value::Object(members))));
            }
        }
    }

    fn parse_list(&mut self, depth: usize) -> Result<Value, BrokenJson> {
        let mut values = Vec::new();
        self.next_char();
        self.skip_spaces();
        if self.consume("]") {
            return Ok(Value::Array(values));
        }
        loop {
            match self.parse_value(depth + 1) {
                Ok(value) => values.push(value),
                Err(BrokenJson(part)) => {
                    values.extend(part);
                    return Err(BrokenJson(Some(Value::Array(values))));
                }
            }
            self.skip_spaces();
            if self.consume("]") {
                return Ok(Value::Array(values));
            }
            if !self.consume(",") {
                return Err(BrokenJson(Some(Value::Array(values))));
            }
        }
    }

    /// Skips a container without recursion.
    fn skip_container(&mut self) -> Result<(), BrokenJson> {
        let mut open = 0_usize;
        loop {
            match self.peek() {
                Some('"') => drop(self.parse_string()?),
                Some(c) => {
                    self.next_char();
                    match c {
                        '{' | '[' => open += 1,
                        '}' | ']' => open = open.saturating_sub(1),
                        _ => {}
                    }
                }
                None => return Err(BrokenJson(None)),
            }
            if open == 0 {
                return Ok(());
            }
        }
    }

    /// A string. Characters that should be escaped are accepted. Unreadable ones become U+FFFD.
    fn parse_string(&mut self) -> Result<String, BrokenJson> {
        let mut text = String::new();
        self.next_char();
        loop {
            let plain = self.rest().find(['"', '\\']).ok_or(BrokenJson(None))?;
            text.push_str(self.rest().get(..plain).unwrap_or_default());
            self.at += plain;
            if self.next_char() == Some('"') {
                return Ok(text);
            }
            text.push(match self.next_char().ok_or(BrokenJson(None))? {
                c @ ('"' | '\\' | '/') => c,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => self.parse_escape(),
                _ => UNREADABLE_CHAR,
            });
        }
    }

    /// The character of a `\u` escape, with the second half if it needs one.
    fn parse_escape(&mut self) -> char {
        let Some(first) = self.parse_hex_unit() else { return UNREADABLE_CHAR };
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(u32::from(first)).unwrap_or(UNREADABLE_CHAR);
        }
        let before = self.at;
        let second = if self.consume("\\u") { self.parse_hex_unit() } else { None };
        let pair = second.and_then(|second| char::decode_utf16([first, second]).next()?.ok());
        if pair.is_none() {
            // The next escape is a separate character.
            self.at = before;
        }
        pair.unwrap_or(UNREADABLE_CHAR)
    }

    fn parse_hex_unit(&mut self) -> Option<u16> {
        let digits = self.rest().get(..4).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += 4;
        u16::from_str_radix(digits, 16).ok()
    }

    /// A number or a literal. A number out of range or not a number (`NaN`) becomes null.
    fn parse_literal(&mut self) -> Result<Value, BrokenJson> {
        let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        let word = self.rest().get(..length).unwrap_or_default();
        self.at += length;
        match word {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" | "NaN" | "Infinity" | "-Infinity" => Ok(Value::Null),
            _ if is_large_integer(word) => Ok(Value::String(word.to_owned())),
            _ => match word.parse::<Number>() {
                Ok(number) => Ok(Value::Number(number)),
                Err(_) if is_number(word) => Ok(Value::Null),
                Err(_) => Err(BrokenJson(None)),
            },
        }
    }
}

/// Whether a number is an integer that would lose digits.
fn is_large_integer(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let is_integer = is_number(word) && digits.bytes().all(|b| b.is_ascii_digit());
    is_integer && word.parse::<i64>().is_err() && word.parse::<u64>().is_err()
}

/// RFC 8259 6.
fn is_number(word: &str) -> bool {
    let (mantissa, exponent) = word.split_once(['e', 'E']).unwrap_or((word, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && (whole == "0" || !whole.starts_with('0')) && digits(fraction) && digits(exponent)
}

/// Adds a member. Null if the name already has another value.
pub(crate) fn insert_member(members: &mut Map<String, Value>, name: String, value: Value) {
    let contradicts = members.get(&name).is_some_and(|before| *before != value);
    members.insert(name, if contradicts { Value::Null } else { value });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_invalid_value_does_not_affect_other_values() {
        for (body, member) in [
            (&b"{\"a\":1,\"x\":\"Jos\xe9\",\"b\":\"2\"}"[..], json!("Jos\u{fffd}")),
            (b"{\"a\":1,\"x\":\"\xe9\",\"b\":\"2\"}", json!("\u{fffd}")),
            (b"{\"a\":1,\"x\":\"\xf0\x9f\x98\",\"b\":\"2\"}", json!("\u{fffd}")),
            (b"{\"a\":1,\"x\":\"\xed\xa0\x80\",\"b\":\"2\"}", json!("\u{fffd}\u{fffd}\u{fffd}")),
            (br#"{"a":1,"x":"\ud83d","b":"2"}"#, json!("\u{fffd}")),
            (br#"{"a":1,"x":"\ud83d\ud83d","b":"2"}"#, json!("\u{fffd}\u{fffd}")),
            (br#"{"a":1,"x":"\ude00\u0041","b":"2"}"#, json!("\u{fffd}A")),
            (br#"{"a":1,"x":"\ud83d\ude00","b":"2"}"#, json!("\u{1f600}")),
            (br#"{"a":1,"x":"\q\u00g","b":"2"}"#, json!("\u{fffd}\u{fffd}00g")),
            (b"{\"a\":1,\"x\":\"line\nbreak\0\",\"b\":\"2\"}", json!("line\nbreak\0")),
            (br#"{"a":1,"x":1e999,"b":"2"}"#, Value::Null),
            (br#"{"a":1,"x":NaN,"b":"2"}"#, Value::Null),
            (br#"{"a":1,"x":18446744073709551616,"b":"2"}"#, json!("18446744073709551616")),
            (br#"{"a":1,"x":-9223372036854775809,"b":"2"}"#, json!("-9223372036854775809")),
            (br#"{"a":1,"x":"1","x":"2","b":"2"}"#, Value::Null),
        ] {
            let expected = json!({ "a": 1, "x": member, "b": "2" });
            assert_eq!(parse(body), Some(expected), "{}", String::from_utf8_lossy(body));
        }
        let deep = format!(r#"{{"a":1,"x":{}"]"{},"b":"2"}}"#, "[".repeat(50_000), "]".repeat(50_000));
        let read = parse(deep.as_bytes()).unwrap();
        assert_eq!((&read["a"], &read["b"]), (&json!(1), &json!("2")));
    }

    #[test]
    fn other_unicode_encodings_are_recognised() {
        let text = "{\"a\":\"é\u{1f600}\"}";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let expected = Some(json!({ "a": "é\u{1f600}" }));
        for (bom, body) in [
            (&b""[..], text.as_bytes()),
            (b"\xef\xbb\xbf", text.as_bytes()),
            (b"", &little),
            (b"\xff\xfe", &little),
            (b"", &big),
            (b"\xfe\xff", &big),
        ] {
            assert_eq!(parse(&[bom, body].concat()), expected, "{bom:?}");
        }
    }

    #[test]
    fn truncated_documents_are_incomplete_and_their_complete_members_are_read() {
        let text = r#"{"a":"one","b":{"c":"two","d":[1,"x"]}}"#;
        for length in 0..text.len() {
            let read = parse_partial(&text.as_bytes()[..length]);
            assert!(read.as_ref().is_none_or(|read| !read.is_complete), "{length}");
            let a = read.and_then(|read| read.value.get("a").cloned());
            assert_eq!(a, (length >= 10).then(|| json!("one")), "{length}");
        }
        assert_eq!(parse_partial(br#"{"b":{"c":"two","d""#).unwrap().value, json!({ "b": { "c": "two" } }));
        for behind in ["", " \r\n", "\0\0", "\u{a0}"] {
            assert!(parse_partial(format!("{text}{behind}").as_bytes()).unwrap().is_complete, "{behind:?}");
        }
        for behind in ["x", "{}", "\0x", "\u{feff}", ","] {
            let read = parse_partial(format!("{text}{behind}").as_bytes()).unwrap();
            assert!(!read.is_complete && read.value["a"] == "one", "{behind}");
        }
        for other in
            ["", " ", "<html>", "a=b", "{'a':1}", "tru", "01", "-", "+1", ".5", "1.", "1e", "[1,]", "{\"a\":1,}"]
        {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn valid_json_is_read_like_a_strict_parser_does(text: String, number: f64, flag: bool) {
            let value = json!({ "t": text, "l": [number, flag, null], &text: { "n": -1, "big": u64::MAX } });
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let strict: Value = serde_json::from_str(&text).unwrap();
                proptest::prop_assert_eq!(parse(text.as_bytes()), Some(strict));
            }
        }

        #[test]
        fn arbitrary_bytes_cause_no_panic(body: Vec<u8>) {
            let strict = serde_json::from_slice::<Value>(&body);
            if let Ok(strict) = strict {
                proptest::prop_assert_eq!(parse(&body), Some(strict));
            }
        }
    }
}
