//! Strict JSON: an object must be an object, and errors use the words of JSON.
//!
//! Never repeats what was sent: a value in the wrong place may be a secret.

mod reader;
pub(crate) mod tolerant;

pub(crate) use reader::{ReadFault, read};

/// Most names that an error lists.
const MAX_LISTED_NAMES: usize = 16;

/// Restricts types to objects: a reader derived by serde also accepts a list of the members' values. Each type needs
/// `#[serde(remote = "Self")]`, which makes the derived reader a separate function.
macro_rules! objects {
    ($($name:ident),+ $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> ::std::result::Result<Self, D::Error> {
                struct Object;
                impl<'de> serde::de::Visitor<'de> for Object {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter) -> ::std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> ::std::result::Result<$name, A::Error> {
                        $name::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    }
                }
                deserializer.deserialize_map(Object)
            }
        }
    )+};
}
pub(crate) use objects;

/// Whether the text is JSON.
pub(crate) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// Whether the text begins as an object does.
pub(crate) fn is_object(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'{')
}

/// The problem of a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonFault {
    /// It is missing.
    #[error("is missing")]
    Missing,
    /// It is duplicated.
    #[error("is duplicated; remove one")]
    Duplicate,
    /// The name is unknown. These names are known.
    #[error("is not known here{}", describe_known_names(.0))]
    Unknown(Vec<String>),
    /// Another type or value is expected.
    #[error("must be {0}")]
    Expected(String),
}

impl JsonFault {
    /// The error of serde, with its path: the member's path and its problem.
    pub(crate) fn from_serde(path: &str, message: &str) -> (String, Self) {
        let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
        let path = if path == "." { "" } else { path };
        // For a missing or duplicate member the path is the object's, so the name is added.
        let named = |kind: &str| message.strip_prefix(kind)?.strip_suffix('`');
        let member = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if let Some(name) = named("missing field `") {
            return (member(name), Self::Missing);
        }
        if let Some(name) = named("duplicate field `") {
            return (member(name), Self::Duplicate);
        }
        (path.to_owned(), Self::from_value_message(message))
    }

    fn from_value_message(message: &str) -> Self {
        let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
        if message.starts_with("unknown field") {
            return Self::Unknown(expected.map(backticked_names).unwrap_or_default());
        }
        if ["lone leading surrogate", "unexpected end of hex escape", "invalid unicode"]
            .iter()
            .any(|begin| message.starts_with(begin))
        {
            return Self::Expected("text in Unicode, with no half of a surrogate pair".to_owned());
        }
        // A message without "invalid" contains what was expected. For an entry of a list it says only "value".
        let expected = expected.or_else(|| message.strip_prefix("expected "));
        Self::Expected(expected.map_or("something else", describe_expected).to_owned())
    }
}

/// The names in backticks.
fn backticked_names(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn describe_expected(expected: &str) -> &str {
    match expected {
        "i64" | "u64" | "u32" | "usize" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" | "string or map" => "an object",
        "a string" | "value" | "ident" => "a text",
        other if other.starts_with("struct ") => "an object",
        other if other.starts_with("enum ") => "a text",
        other => other,
    }
}

fn describe_known_names(known: &[String]) -> String {
    match known {
        [] => ": there is nothing to give".to_owned(),
        known if known.len() > MAX_LISTED_NAMES => "; remove it".to_owned(),
        known => format!("; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_duplicate_member_is_named() {
        assert_eq!(
            JsonFault::from_serde(".", "missing field `name` at line 1 column 2"),
            ("name".into(), JsonFault::Missing)
        );
        assert_eq!(
            JsonFault::from_serde("user", "missing field `id` at line 1 column 2"),
            ("user.id".into(), JsonFault::Missing)
        );
        assert_eq!(
            JsonFault::from_serde(".", "duplicate field `name` at line 1 column 2"),
            ("name".into(), JsonFault::Duplicate)
        );
        assert_eq!(JsonFault::from_serde("min_ttl", "invalid type").0, "min_ttl");
    }

    #[test]
    fn an_error_never_repeats_the_value() {
        for (message, told) in [
            ("invalid type: string \"hunter2\", expected i64 at line 1 column 9", "must be a whole number"),
            ("invalid type: sequence, expected struct RawAuth at line 1 column 9", "must be an object"),
            ("unknown variant `hunter2`, expected one of `a`, `b` at line 1 column 2", "must be one of `a`, `b`"),
            ("invalid type: string \"a, expected hunter2\", expected a boolean", "must be true or false"),
            (
                "unknown field `hunter2`, expected `name` or `id` at line 1 column 2",
                "is not known here; there are name, id",
            ),
            ("unknown field `hunter2`, there are no fields", "is not known here: there is nothing to give"),
            ("expected an id that begins with con_ at line 1 column 2", "must be an id that begins with con_"),
            ("expected value at line 1 column 1", "must be a text"),
            (
                "lone leading surrogate in hex escape at line 1 column 20",
                "must be text in Unicode, with no half of a surrogate pair",
            ),
            ("hunter2", "must be something else"),
        ] {
            assert_eq!(JsonFault::from_serde("x", message).1.to_string(), told);
        }
        assert!(!JsonFault::Unknown(vec![String::new(); 17]).to_string().contains("there are"));
    }
}
