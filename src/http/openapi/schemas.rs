//! From types to schemas. Reading and writing a type may differ, so each has its own generator.

use std::fmt::Write as _;

use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

/// Where the document keeps the schemas of named types.
const PLACE: &str = "/components/schemas";

/// What a route reads and what it returns. A route without a type reads a form or nothing, and returns a page.
pub(in crate::http) struct BodyTypes {
    pub(in crate::http) request: Option<Value>,
    pub(in crate::http) response: Option<Value>,
}

/// The schemas of all requested types, and of their parts.
pub(in crate::http) struct Schemas {
    requests: SchemaGenerator,
    responses: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = || SchemaSettings::draft2020_12().with(|it| it.definitions_path = PLACE.into());
        Self {
            requests: settings().for_deserialize().into_generator(),
            responses: settings().for_serialize().into_generator(),
        }
    }

    /// A type as it is read.
    pub(in crate::http) fn request<T: JsonSchema>(&mut self) -> Value {
        read(self.requests.subschema_for::<T>().to_value())
    }

    /// A type as it is written.
    pub(in crate::http) fn response<T: JsonSchema>(&mut self) -> Value {
        written(self.responses.subschema_for::<T>().to_value())
    }

    /// All named types. One that is read and written must have the same schema for both.
    pub(super) fn named(mut self) -> Map<String, Value> {
        let requests = self.requests.take_definitions(false).into_iter().map(|(name, schema)| (name, read(schema)));
        let responses =
            self.responses.take_definitions(false).into_iter().map(|(name, schema)| (name, written(schema)));
        let mut all = Map::new();
        for (name, schema) in requests.chain(responses) {
            match all.get(&name) {
                Some(known) => assert_eq!(*known, schema, "{name} is read in another form than it is written in"),
                None => drop(all.insert(name, schema)),
            }
        }
        all
    }
}

fn read(mut schema: Value) -> Value {
    tidy(&mut schema);
    schema
}

fn written(mut schema: Value) -> Value {
    tidy(&mut schema);
    never_null_where_absent(&mut schema);
    schema
}

/// The form of the document: one line per description, one list of an enum's values, no formats of Rust's numbers.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(list) => list.iter_mut().for_each(tidy),
        Value::Object(members) => {
            words(members);
            beside_a_reference(members);
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            members.retain(|name, value| !(name == "default" && value.is_null()));
            members.retain(|name, value| !(name == "format" && is_number(value)));
            members.values_mut().for_each(tidy);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_number(format: &Value) -> bool {
    format.as_str().is_some_and(|text| text.starts_with("int") || text.starts_with("uint"))
}

/// Members that are added to those of a named type: both must match.
fn beside_a_reference(members: &mut Map<String, Value>) {
    if members.contains_key("properties")
        && let Some(reference) = members.get("$ref").filter(|at| at.is_string()).cloned()
    {
        members.remove("$ref");
        members.insert("allOf".into(), json!([{ "$ref": reference }]));
    }
}

/// An enum with documented values is one list, and its description explains each value.
fn words(members: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = members.get("oneOf") else { return };
    if !variants.iter().all(|one| one["type"] == "string" && (one["const"].is_string() || one["enum"].is_array())) {
        return;
    }
    let mut list = Vec::new();
    let mut text = members.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    for one in variants {
        let words = one["enum"].as_array().cloned().unwrap_or_else(|| vec![one["const"].clone()]);
        if let (Some(meaning), [Value::String(word)]) = (one["description"].as_str(), words.as_slice()) {
            let (first, rest) = meaning.split_at(meaning.chars().next().map_or(0, char::len_utf8));
            write!(text, "\n`{word}`: {}{rest}", first.to_lowercase()).unwrap();
        }
        list.extend(words);
    }
    members.remove("oneOf");
    members.insert("type".into(), json!("string"));
    members.insert("enum".into(), Value::Array(list));
    members.insert("description".into(), Value::String(text));
}

/// A member that may be absent from an answer is absent instead of null. A default matters only for reading.
fn never_null_where_absent(schema: &mut Value) {
    match schema {
        Value::Array(list) => list.iter_mut().for_each(never_null_where_absent),
        Value::Object(members) => {
            if members.get("type").is_some_and(|kind| kind.is_string() || kind.is_array()) {
                members.remove("default");
            }
            let required = members.get("required").cloned().unwrap_or_default();
            let is_required = |name: &str| required.as_array().is_some_and(|list| list.iter().any(|one| one == name));
            if let Some(Value::Object(properties)) = members.get_mut("properties") {
                properties.iter_mut().filter(|(name, _)| !is_required(name)).for_each(|(_, schema)| never_null(schema));
            }
            members.values_mut().for_each(never_null_where_absent);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn never_null(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            members.insert("type".into(), one);
        }
    }
    if let Some(Value::Array(any)) = members.get_mut("anyOf") {
        any.retain(|one| one["type"] != "null");
        if let [Value::Object(one)] = any.as_slice() {
            let one = one.clone();
            members.remove("anyOf");
            for (name, value) in one {
                members.entry(name).or_insert(value);
            }
        }
    }
}

impl Schemas {
    /// Whether a body of this type must have members.
    pub(super) fn requires_something(&self, schema: &Value) -> bool {
        let named = |at: &str| self.requests.definitions().get(at.rsplit('/').next()?);
        let schema = schema["$ref"].as_str().and_then(named).unwrap_or(schema);
        !schema["minProperties"].is_null() || schema["required"].as_array().is_some_and(|list| !list.is_empty())
    }
}
