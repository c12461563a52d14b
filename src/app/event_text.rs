//! Values of an event: texts with places that a request fills.
//!
//! Owns the reading of these texts and their values in a request. A place may have several values, where it is a list or
//! `*` stands for each entry of one. Refuses to grow: a text has a bounded number of values.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{JsonPointer, Pattern, scalar_text};

/// Values of one text, at most.
pub const MAX_VALUES: usize = 20;
/// Characters of a value, at most.
const MAX_VALUE_LENGTH: usize = 512;
/// How a place in a header begins.
const HEADER: &str = "header:";
/// How the place of a variable begins that is set with the client.
const CLIENT: &str = "client:";

/// Where the values of a request's places come from.
#[derive(Debug, Clone, Copy)]
pub struct EventValues<'a> {
    /// Names in lower case, and values.
    pub headers: &'a [(String, String)],
    /// The body, if it is JSON or a form.
    pub body: &'a Value,
    /// The variables that are set with the client.
    pub variables: &'a BTreeMap<String, String>,
}

impl<'a> EventValues<'a> {
    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A text with places: `{/team_id}:{/user}`, `{header:X-Acme-Topic}`, or `{client:host}` beside one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventText {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Body(JsonPointer),
    Header(String),
    Variable(String),
}

impl EventText {
    /// Reads a text. `None` if a brace has no partner, or a place is neither a pointer nor a header, or there is no place.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((literal, after)) = rest.split_once('{') {
            let (place, after) = after.split_once('}')?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            let is_name = |name: &&str| {
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            };
            pieces.push(match (place.strip_prefix(HEADER), place.strip_prefix(CLIENT)) {
                (Some(name), _) => Piece::Header(Some(name).filter(is_name)?.to_owned()),
                (None, Some(name)) => Piece::Variable(Some(name).filter(is_name)?.to_owned()),
                (None, None) => Piece::Body(JsonPointer::parse(place).filter(|pointer| !pointer.as_str().is_empty())?),
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        let has_place = pieces.iter().any(|piece| matches!(piece, Piece::Body(_) | Piece::Header(_)));
        let is_closed = |piece: &Piece| !matches!(piece, Piece::Literal(text) if text.contains('}'));
        (has_place && pieces.iter().all(is_closed)).then(|| Self { text: text.to_owned(), pieces })
    }

    /// Its values in a request. None where a place has none.
    pub fn values(&self, event: &EventValues<'_>) -> Vec<String> {
        let mut all = vec![String::new()];
        for piece in &self.pieces {
            let values = match piece {
                Piece::Literal(text) => vec![text.clone()],
                Piece::Header(name) => event.header(name).map(str::to_owned).into_iter().collect(),
                Piece::Variable(name) => event.variables.get(name).cloned().into_iter().collect(),
                Piece::Body(pointer) => pointer.find_texts(event.body),
            };
            let joined = all.iter().flat_map(|before| values.iter().map(move |value| format!("{before}{value}")));
            all = joined.take(MAX_VALUES).collect();
        }
        let mut found: Vec<String> = Vec::new();
        for value in all {
            if value.len() <= MAX_VALUE_LENGTH && !value.is_empty() && !found.contains(&value) {
                found.push(value);
            }
        }
        found
    }
}

impl JsonPointer {
    /// The values at the pointer, where `*` stands for each entry of a list or each member of an object.
    pub fn find_all<'a>(&self, json: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![json];
        for segment in self.as_str().split('/').skip(1) {
            let name = segment.replace("~1", "/").replace("~0", "~");
            let step = |value: &'a Value| -> Vec<&'a Value> {
                match value {
                    Value::Array(entries) if name == "*" => entries.iter().collect(),
                    Value::Array(entries) => {
                        name.parse().ok().and_then(|at: usize| entries.get(at)).into_iter().collect()
                    }
                    Value::Object(members) if name == "*" => members.values().collect(),
                    Value::Object(members) => members.get(&name).into_iter().collect(),
                    _ => Vec::new(),
                }
            };
            found = found.into_iter().flat_map(step).collect();
        }
        found
    }

    /// The same as texts: texts and numbers, and the entries of a list.
    fn find_texts(&self, json: &Value) -> Vec<String> {
        let entries = self.find_all(json).into_iter().flat_map(|value| match value {
            Value::Array(entries) => entries.iter().collect(),
            one => vec![one],
        });
        entries.filter_map(scalar_text).take(MAX_VALUES).collect()
    }
}

impl fmt::Display for EventText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for EventText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for EventText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EventText".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

/// How a value names accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum AccountMatch {
    /// It is the account's id.
    #[default]
    Id,
    /// The ids of all accounts that are meant begin with it and a colon.
    Prefix,
    /// It is the account's label.
    Label,
}

/// Where an account of an event is.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AccountInEvent {
    /// The value, as in `event_type`.
    pub value: EventText,
    /// What the value must match as a whole; if the pattern has a group, its first one is the account.
    #[serde(serialize_with = "pattern_text")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub pattern: Option<Pattern>,
    /// How it names accounts.
    pub r#match: AccountMatch,
}

#[expect(clippy::ref_option, reason = "serde hands over the field as it is")]
fn pattern_text<S: Serializer>(pattern: &Option<Pattern>, serializer: S) -> Result<S::Ok, S::Error> {
    pattern.as_ref().map(Pattern::as_str).serialize(serializer)
}

/// An account that an event names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAccount {
    /// Its id, the first parts of its id, or its label.
    pub text: String,
    /// Which of these.
    pub r#match: AccountMatch,
}

impl AccountInEvent {
    /// The accounts that a request names here.
    pub fn accounts(&self, event: &EventValues<'_>) -> Vec<NamedAccount> {
        let matching = |value: String| match &self.pattern {
            None => Some(value),
            Some(pattern) => pattern.first_group(&value).map(str::to_owned),
        };
        let values = self.value.values(event).into_iter().filter_map(matching).filter(|text| !text.is_empty());
        values.map(|text| NamedAccount { text, r#match: self.r#match }).collect()
    }

    /// The accounts of the first of several places that has any.
    pub fn first_of(places: &[Self], event: &EventValues<'_>) -> Vec<NamedAccount> {
        places.iter().map(|place| place.accounts(event)).find(|found| !found.is_empty()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values_of(text: &str, body: &Value) -> Vec<String> {
        let headers = [("x-acme-topic".to_owned(), "app/gone".to_owned())];
        let variables = BTreeMap::from([("host".to_owned(), "acme.example".to_owned())]);
        EventText::parse(text).unwrap().values(&EventValues { headers: &headers, body, variables: &variables })
    }

    #[test]
    fn a_text_has_a_value_for_each_entry_of_its_lists() {
        let body =
            json!({ "team": "T1", "users": ["U1", "U2", "U1"], "value": [{ "id": 7 }, { "id": 8 }, {}], "a/b": true });
        for (text, expected) in [
            ("{/team}", &["T1"][..]),
            ("{/team}:{/users}", &["T1:U1", "T1:U2"]),
            ("{/value/*/id}", &["7", "8"]),
            ("{/value/1/id}", &["8"]),
            ("{header:X-Acme-Topic}.{/team}", &["app/gone.T1"]),
            ("{client:host}:{/team}", &["acme.example:T1"]),
            ("{client:other}:{/team}", &[]),
            ("{/team}:{/nothing}", &[]),
            ("{header:X-Other}", &[]),
            ("{/value}", &[]),
        ] {
            assert_eq!(values_of(text, &body), expected, "{text}");
        }
    }

    #[test]
    fn a_text_has_a_bounded_number_of_values() {
        let many: Vec<u32> = (0..1000).collect();
        let body = json!({ "many": many, "long": "x".repeat(1000) });
        assert_eq!(values_of("{/many}:{/many}", &body).len(), MAX_VALUES);
        assert!(values_of("{/long}", &body).is_empty());
    }

    #[test]
    fn a_text_without_a_place_or_with_a_broken_one_is_refused() {
        for text in ["", "fixed", "{", "{/a", "/a}", "{a}", "{}", "{header:}", "{header:a b}", "{client:a}", "{/a}}"] {
            assert!(EventText::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_pattern_cuts_the_account_out_of_a_value() {
        let place = AccountInEvent {
            value: EventText::parse("{/value/*/resource}").unwrap(),
            pattern: Pattern::parse("[Uu]sers/([^/]+)/.*"),
            r#match: AccountMatch::Id,
        };
        let body = json!({ "value": [{ "resource": "Users/u1/Messages/m" }, { "resource": "teams/t" }] });
        let found = place.accounts(&EventValues { headers: &[], body: &body, variables: &BTreeMap::new() });
        assert_eq!(found, [NamedAccount { text: "u1".into(), r#match: AccountMatch::Id }]);
    }
}
