//! Reads strict JSON into types, and says at which member it failed.
//!
//! Owns the deserializer of requests and of definitions. It is one type that is not generic over its input, so that the
//! reader of each type is compiled once, and it reads a text once. Refuses what serde refuses, with the messages of serde.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Error as _, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};

use super::is_json;

/// Why a text could not be read.
pub(crate) enum ReadFault {
    /// It is not JSON.
    NotJson(serde_json::Error),
    /// The member at this path has this problem, in the words of serde. The path of the whole text is `.`.
    Member {
        /// Names separated by dots, and indexes in brackets.
        path: String,
        /// May contain the value.
        message: String,
    },
}

/// The type from the text.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, ReadFault> {
    T::deserialize(parse(text)?).map_err(|error| error.0.into_fault())
}

/// JSON with its members in their order, and with those that are duplicated.
enum Node {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    /// The name of a member. A number is expected in it where the names are numbers.
    Name(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

enum Step {
    Member(String),
    Entry(usize),
}

/// Where and why: the innermost step is first.
#[derive(Default)]
struct Trace {
    steps: Vec<Step>,
    message: String,
}

impl Trace {
    fn into_fault(self) -> ReadFault {
        ReadFault::Member { path: render_path(&self.steps), message: self.message }
    }
}

fn render_path(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps.iter().rev() {
        match step {
            Step::Entry(index) => path.extend(["[", &index.to_string(), "]"]),
            Step::Member(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
        }
    }
    if path.is_empty() { ".".to_owned() } else { path }
}

fn parse(text: &[u8]) -> Result<Node, ReadFault> {
    let mut trace = Trace::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = NodeSeed(&mut trace).deserialize(&mut deserializer);
    let read = read.and_then(|node| deserializer.end().map(|()| node));
    read.map_err(|error| {
        // A text can be JSON although a value in it is not Unicode, or is too large a number.
        if !is_json(text) {
            return ReadFault::NotJson(error);
        }
        trace.message = error.to_string();
        trace.into_fault()
    })
}

/// Keeps the path of what fails.
struct NodeSeed<'a>(&'a mut Trace);

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Signed(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        loop {
            match list.next_element_seed(NodeSeed(self.0)) {
                Ok(Some(node)) => nodes.push(node),
                Ok(None) => return Ok(Node::List(nodes)),
                Err(error) => {
                    self.0.steps.push(Step::Entry(nodes.len()));
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            match map.next_value_seed(NodeSeed(self.0)) {
                Ok(node) => members.push((name, node)),
                Err(error) => {
                    self.0.steps.push(Step::Member(name));
                    return Err(error);
                }
            }
        }
        Ok(Node::Object(members))
    }
}

/// An error of a type's reader. In a box, so that every result of a reader stays small.
struct ReadError(Box<Trace>);

impl ReadError {
    fn within(mut self, step: Step) -> Self {
        self.0.steps.push(step);
        self
    }
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(Box::new(Trace { steps: Vec::new(), message: message.to_string() }))
    }
}

impl std::error::Error for ReadError {}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// The message may contain a secret.
impl fmt::Debug for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("ReadError")
    }
}

/// The numbers and booleans that the name of a member can stand for.
macro_rules! from_names {
    ($($method:ident $type:ty => $visit:ident or $other:ident),+ $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match &self {
                Node::Name(name) => match name.parse::<$type>() {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => Err(self.mismatch(&visitor)),
                },
                _ => self.$other(visitor),
            }
        }
    )+};
}

impl Node {
    /// What serde says where a type takes none of this kind. Compiled once, not for each type.
    #[inline(never)]
    fn mismatch(&self, expected: &dyn Expected) -> ReadError {
        let found = match self {
            Self::Null => Unexpected::Unit,
            Self::Bool(value) => Unexpected::Bool(*value),
            Self::Unsigned(value) => Unexpected::Unsigned(*value),
            Self::Signed(value) => Unexpected::Signed(*value),
            Self::Float(value) => Unexpected::Float(*value),
            Self::Text(value) | Self::Name(value) => Unexpected::Str(value),
            Self::List(_) => Unexpected::Seq,
            Self::Object(_) => Unexpected::Map,
        };
        ReadError::invalid_type(found, expected)
    }

    fn read_bool<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Self::Bool(value) => visitor.visit_bool(value),
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn read_number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Self::Unsigned(value) => visitor.visit_u64(value),
            Self::Signed(value) => visitor.visit_i64(value),
            Self::Float(value) => visitor.visit_f64(value),
            other => Err(other.mismatch(&visitor)),
        }
    }
}

fn read_list<'de, V: Visitor<'de>>(nodes: Vec<Node>, visitor: V) -> Result<V::Value, ReadError> {
    let mut entries = Entries { nodes: nodes.into_iter(), index: 0 };
    let value = visitor.visit_seq(&mut entries)?;
    if entries.nodes.len() == 0 { Ok(value) } else { Err(ReadError::custom("trailing characters")) }
}

fn read_members<'de, V: Visitor<'de>>(members: Vec<(String, Node)>, visitor: V) -> Result<V::Value, ReadError> {
    visitor.visit_map(Members { members: members.into_iter(), value: None })
}

/// A type says what it takes. What it does not take is refused here, so that the reader of a text has no code for lists.
impl<'de> Deserializer<'de> for Node {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Unsigned(value) => visitor.visit_u64(value),
            Self::Signed(value) => visitor.visit_i64(value),
            Self::Float(value) => visitor.visit_f64(value),
            Self::Text(value) | Self::Name(value) => visitor.visit_string(value),
            Self::List(nodes) => read_list(nodes, visitor),
            Self::Object(members) => read_members(members, visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Self::Text(value) | Self::Name(value) => visitor.visit_string(value),
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Self::List(nodes) => read_list(nodes, visitor),
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Self::Object(members) => read_members(members, visitor),
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self {
            Self::List(nodes) => read_list(nodes, visitor),
            Self::Object(members) => read_members(members, visitor),
            other => Err(other.mismatch(&visitor)),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.read_number(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if matches!(self, Self::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self {
            Self::Text(name) | Self::Name(name) => visitor.visit_enum(Variant { name, value: None }),
            Self::Object(members) => {
                let mut members = members.into_iter();
                match (members.next(), members.next()) {
                    (Some((name, value)), None) => visitor.visit_enum(Variant { name, value: Some(value) }),
                    _ => Err(ReadError::custom("expected value")),
                }
            }
            _ => Err(ReadError::custom("expected value")),
        }
    }

    from_names! {
        deserialize_bool bool => visit_bool or read_bool,
        deserialize_i8 i8 => visit_i8 or read_number,
        deserialize_i16 i16 => visit_i16 or read_number,
        deserialize_i32 i32 => visit_i32 or read_number,
        deserialize_i64 i64 => visit_i64 or read_number,
        deserialize_u8 u8 => visit_u8 or read_number,
        deserialize_u16 u16 => visit_u16 or read_number,
        deserialize_u32 u32 => visit_u32 or read_number,
        deserialize_u64 u64 => visit_u64 or read_number,
    }

    forward_to_deserialize_any! {
        i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

struct Entries {
    nodes: std::vec::IntoIter<Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for &mut Entries {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(node) = self.nodes.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(node).map(Some).map_err(|error| error.within(Step::Entry(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.nodes.len())
    }
}

struct Members {
    members: std::vec::IntoIter<(String, Node)>,
    /// The value of the name that was read last.
    value: Option<(String, Node)>,
}

impl<'de> MapAccess<'de> for Members {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((name, node)) = self.members.next() else { return Ok(None) };
        self.value = Some((name.clone(), node));
        // An unknown name has its own path.
        seed.deserialize(Node::Name(name.clone())).map(Some).map_err(|error| error.within(Step::Member(name)))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some((name, node)) = self.value.take() else { return Err(ReadError::custom("value is missing")) };
        seed.deserialize(node).map_err(|error| error.within(Step::Member(name)))
    }
}

struct Variant {
    name: String,
    value: Option<Node>,
}

impl<'de> de::EnumAccess<'de> for Variant {
    type Error = ReadError;
    type Variant = VariantValue;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, VariantValue), ReadError> {
        let name: StringDeserializer<ReadError> = self.name.clone().into_deserializer();
        Ok((seed.deserialize(name)?, VariantValue { name: self.name, value: self.value }))
    }
}

struct VariantValue {
    name: String,
    value: Option<Node>,
}

impl<'de> de::VariantAccess<'de> for VariantValue {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.value {
            None | Some(Node::Null) => Ok(()),
            Some(_) => Err(ReadError::custom("invalid type: value, expected unit").within(Step::Member(self.name))),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        let name = self.name;
        seed.deserialize(self.value.unwrap_or(Node::Null)).map_err(|error| error.within(Step::Member(name)))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        let name = self.name;
        let value = self.value.unwrap_or(Node::Null);
        value.deserialize_any(visitor).map_err(|error| error.within(Step::Member(name)))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, ReadError> {
        self.tuple_variant(0, visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        statuses: BTreeMap<u16, String>,
        kind: Option<Kind>,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        seconds: i64,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
        Two(i64),
    }

    fn fault(text: &str) -> (String, String) {
        match read::<Sample>(text.as_bytes()) {
            Err(ReadFault::Member { path, message }) => (path, message),
            Err(ReadFault::NotJson(error)) => ("not JSON".to_owned(), error.to_string()),
            Ok(sample) => panic!("{sample:?}"),
        }
    }

    #[test]
    fn reads_what_serde_json_reads() {
        for text in [
            r#"{"name": "a\u00e4", "list": [{"seconds": -3}], "statuses": {"404": "gone"}, "kind": "one"}"#,
            r#"{"name": "a", "kind": {"two": 2}, "list": []}"#,
            r#"{"name": "a", "kind": {"one": null}}"#,
            r#"{"name": "a", "kind": null}"#,
            r#"["a", [], {}, null]"#,
        ] {
            let read = read::<Sample>(text.as_bytes());
            assert_eq!(read.ok().unwrap(), serde_json::from_str::<Sample>(text).unwrap(), "{text}");
        }
    }

    /// A path and a message are those of `serde_path_to_error` over `serde_json`, apart from the value.
    #[test]
    fn an_error_has_the_path_of_its_member() {
        for (text, path, message) in [
            ("{}", ".", "missing field `name`"),
            (r#"{"name": "a", "name": "b"}"#, ".", "duplicate field `name`"),
            (r#"{"name": 1}"#, "name", "invalid type: integer `1`, expected a string"),
            (r#"{"name": "a", "list": [{"seconds": 1}, {}]}"#, "list[1]", "missing field `seconds`"),
            (
                r#"{"name": "a", "list": [{"seconds": "x"}]}"#,
                "list[0].seconds",
                "invalid type: string \"x\", expected i64",
            ),
            (
                r#"{"name": "a", "list": [{"second": 1}]}"#,
                "list[0].second",
                "unknown field `second`, expected `seconds`",
            ),
            (r#"{"name": "a", "list": {}}"#, "list", "invalid type: map, expected a sequence"),
            (r#"{"name": "a", "kind": "three"}"#, "kind", "unknown variant `three`, expected `one` or `two`"),
            (r#"{"name": "a", "kind": 3}"#, "kind", "expected value"),
            (r#"{"name": "a", "kind": {"two": "x"}}"#, "kind.two", "invalid type: string \"x\", expected i64"),
            (
                r#"{"name": "a", "list": [{"seconds": 1e999}]}"#,
                "list[0].seconds",
                "number out of range at line 1 column 40",
            ),
        ] {
            assert_eq!(fault(text), (path.to_owned(), message.to_owned()), "{text}");
        }
        let (path, message) = fault(r#"{"name": "a", "list": [{"seconds": "\ud800"}]}"#);
        assert_eq!(path, "list[0].seconds");
        assert!(
            message.starts_with("unexpected end of hex escape") || message.starts_with("lone leading"),
            "{message}"
        );
        assert_eq!(fault(r#"{"name": "a"} x"#).0, "not JSON");
        assert_eq!(fault(r#"{"name""#).0, "not JSON");
    }
}
