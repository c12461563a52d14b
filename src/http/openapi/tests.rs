use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::document::{document, operation_id};
use super::reference;
use crate::attention;
use crate::caller::KeyScope;
use crate::error::ErrorCode;
use crate::http::routes::{ROUTES, RouteEntry};

/// Each operation by its method and path: `GET /healthz`.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    let members =
        paths.flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(name, it)| (path, name, it)));
    members.map(|(path, name, operation)| (format!("{} {path}", name.to_uppercase()), operation)).collect()
}

fn address(line: &RouteEntry) -> String {
    format!("{} {}", line.method.as_str(), line.path)
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect()
}

/// Every value in the document, with the name it stands under.
fn walk<'a>(value: &'a Value, visit: &mut impl FnMut(&'a str, &'a Value)) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            visit(name, member);
            walk(member, visit);
        }),
        Value::Array(list) => list.iter().for_each(|one| walk(one, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Compares a file with what is made today, or writes it.
fn kept(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        return fs::write(file, made).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let differs = kept.lines().zip(made.lines()).position(|(kept, made)| kept != made);
    assert!(
        kept == made,
        "{path} is out of date, from line {}. UPDATE_GOLDEN=1 cargo test --lib openapi writes it anew; read the difference.",
        differs.map_or(kept.lines().count().min(made.lines().count()), |index| index) + 1
    );
}

#[test]
fn the_generated_files_match_routes_and_types() {
    let document = document();
    let text = serde_json::to_string_pretty(&document).unwrap();
    kept("src/http/openapi.json", &format!("{text}\n"));
    kept("docs/api.md", &reference::page(&document));
}

#[test]
fn describes_every_route_and_nothing_else() {
    let document = document();
    let described: BTreeSet<String> = operations(&document).into_iter().map(|(address, _)| address).collect();
    assert_eq!(described, ROUTES.iter().map(address).collect());
    assert_eq!(described.len(), ROUTES.len());
}

#[test]
fn every_api_route_has_a_response_type() {
    let document = document();
    let operations = operations(&document);
    // What an app answers has any type.
    let typed_routes = |line: &&RouteEntry| line.path.starts_with("/v1/") && !line.handler.passes_through();
    for line in ROUTES.iter().filter(typed_routes) {
        let (_, operation) = operations.iter().find(|(known, _)| *known == address(line)).unwrap();
        let typed = |(status, answer): (&String, &Value)| {
            status.starts_with('2') && answer["content"]["application/json"]["schema"].is_object()
        };
        assert!(operation["responses"].as_object().unwrap().iter().any(typed), "{}", address(line));
    }
}

#[test]
fn operation_ids_are_unique() {
    let mut seen = BTreeSet::new();
    for line in ROUTES {
        assert!(seen.insert(operation_id(line)), "{} stands twice", operation_id(line));
    }
}

#[test]
fn every_operation_is_complete_and_has_a_known_tag() {
    let document = document();
    let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    for (address, operation) in operations(&document) {
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{address}: summary");
        assert!(operation["tags"].as_array().unwrap().iter().all(|tag| tags.contains(&tag)), "{address}: tags");
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with(['2', '3', '4'])), "{address}: responses");
        assert!(operation.get("requestBody").is_none() || !address.starts_with("GET"), "{address}: a GET has no body");
    }
}

#[test]
fn every_reference_can_be_resolved() {
    let document = document();
    walk(&document, &mut |name, value| {
        if name == "$ref" {
            let at = value.as_str().unwrap();
            let pointer = at.strip_prefix('#').unwrap_or_else(|| panic!("{at} leads out of the document"));
            assert!(document.pointer(pointer).is_some(), "{at} leads nowhere");
        }
    });
}

/// Nothing but the source knows whether `ALL` is complete; the derived schema does, too.
#[test]
fn describes_every_error_code() {
    let document = document();
    let codes = ErrorCode::ALL.map(ErrorCode::as_str);
    assert_eq!(strings(&document["components"]["schemas"]["ErrorCode"]["enum"]), codes);
}

#[test]
fn describes_every_attention_code() {
    let document = document();
    let told = strings(&document["components"]["schemas"]["AttentionCode"]["enum"]);
    assert_eq!(told, attention::AttentionCode::ALL.map(attention::AttentionCode::as_str));
}

#[test]
fn every_scope_of_a_route_is_a_scope_of_keys() {
    let document = document();
    let scopes = strings(&document["components"]["schemas"]["KeyScope"]["enum"]);
    for (address, operation) in operations(&document) {
        let wanted = operation["x-scope"].as_str();
        assert!(wanted.is_none_or(|scope| scopes.contains(&scope)), "{address}");
    }
    assert!(scopes.contains(&KeyScope::All.as_str()));
}

/// A description is of no use that says less than the member's name.
#[test]
fn every_named_response_type_is_described() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let is_part = ["CredentialState", "ConnectionScopes", "UseCounts"].contains(&name.as_str());
        assert!(is_part || schema["description"].is_string(), "{name} has no description");
    }
}
