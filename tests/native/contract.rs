//! Compares answers with `openapi.json`: every answer that a native test gets by its helpers must have a status of its
//! route and the members of its type, and no others.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use connections::http::Method;
use connections::http::routes::{ROUTES, RequiredAuth, RouteEntry, RouteMatch, match_route};
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::Fixture;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../src/http/openapi.json")).unwrap());

fn resolved(value: &'static Value) -> &'static Value {
    value["$ref"].as_str().map_or(value, |at| DOCUMENT.pointer(at.trim_start_matches('#')).unwrap())
}

fn operation(line: &RouteEntry) -> &'static Value {
    &DOCUMENT["paths"][line.path][line.method.as_str().to_lowercase()]
}

/// Reports an answer that its route does not describe. Answers without a route (405, a page) are ignored.
pub(crate) fn assert_described(method: Method, path: &str, status: u16, body: &Value) {
    let RouteMatch::Matched { route: line, .. } = match_route(method, path) else { return };
    if line.is_page() {
        return;
    }
    let address = format!("{} {} {status}", line.method.as_str(), line.path);
    let answer = &operation(line)["responses"][status.to_string()];
    assert!(!answer.is_null(), "{address} is not described; it answers {body}");
    let content = resolved(answer)["content"].as_object().unwrap_or_else(|| panic!("{address} has no body"));
    let (_, media) = content.iter().next().unwrap();
    if let Err(problem) = fits(&media["schema"], body, "") {
        panic!("{address}: {problem}");
    }
}

type Fit = Result<(), String>;

/// Whether a value matches a schema. Members that the schema does not name are refused, unless it has a schema for
/// them.
fn fits(schema: &'static Value, value: &Value, at: &str) -> Fit {
    let wrong = |what: &str| Err(format!("{at} {what}, but is {value}"));
    let schema = resolved(schema);
    for any in ["anyOf", "oneOf"] {
        if let Some(schemas) = schema[any].as_array() {
            let tried: Vec<_> = schemas.iter().map(|schema| fits(schema, value, at)).collect();
            if tried.iter().all(Result::is_err) {
                return Err(tried.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; or "));
            }
        }
    }
    if let Some(words) = schema["enum"].as_array()
        && !value.is_null()
        && !words.contains(value)
    {
        return wrong(&format!("must be one of {words:?}"));
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return wrong(&format!("must be {}", schema["const"]));
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    if !types.is_empty() && !types.contains(&kind(value)) {
        return wrong(&format!("must be {types:?}"));
    }
    match value {
        Value::Array(list) if schema["items"].is_object() => {
            list.iter().enumerate().try_for_each(|(index, one)| fits(&schema["items"], one, &format!("{at}[{index}]")))
        }
        Value::Object(_) => has_its_members(schema, value, at),
        _ => Ok(()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn has_its_members(schema: &'static Value, value: &Value, at: &str) -> Fit {
    // A type that is a choice has no own members.
    if schema["properties"].is_null() && schema["additionalProperties"].is_null() {
        return Ok(());
    }
    let parts: Vec<_> = schema["allOf"].as_array().into_iter().flatten().map(resolved).chain([schema]).collect();
    for part in &parts {
        for name in part["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value.get(name).is_none() {
                return Err(format!("{at} lacks {name}"));
            }
        }
    }
    for (name, member) in value.as_object().unwrap() {
        let path = format!("{at}.{name}");
        let known = parts.iter().find_map(|part| part["properties"].get(name));
        match known.or_else(|| schema.get("additionalProperties").filter(|one| one.is_object())) {
            Some(schema) => fits(schema, member, &path)?,
            None if schema["additionalProperties"] == true => {}
            None => return Err(format!("{path} is not described")),
        }
    }
    Ok(())
}

#[test]
fn the_contract_check_finds_undescribed_members() {
    let described = json!({ "status": "ok" });
    assert_described(Method::Get, "/healthz", 200, &described);
    let refused = |status: u16, body: Value| {
        std::panic::catch_unwind(|| assert_described(Method::Get, "/healthz", status, &body)).unwrap_err()
    };
    refused(200, json!({ "status": "good" }));
    refused(200, json!({ "status": null }));
    refused(200, json!({}));
    refused(200, json!({ "status": "ok", "more": 1 }));
    refused(418, described);
}

/// A route refuses unknown query parameters, and names the known ones.
#[test]
fn the_described_query_parameters_are_those_of_the_routes() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let (connection, mut lists) = (fixture.connect("ann"), 0);
    for line in ROUTES.iter().filter(|line| line.method == Method::Get && matches!(line.auth, RequiredAuth::Key(_))) {
        let path = line.path.replace("{connection}", connection.as_str()).replace("{app}", "acme");
        if path.contains('{') {
            continue;
        }
        let (status, answer) = call(&fixture, &key, Method::Get, &format!("{path}?nonsense=1"), &Value::Null);
        let described = operation(line)["parameters"].as_array().into_iter().flatten().map(resolved);
        let described: BTreeSet<_> =
            described.filter(|one| one["in"] == "query").map(|one| one["name"].as_str().unwrap()).collect();
        if described.is_empty() {
            assert_ne!(status, 422, "{path} knows of a query that is not described: {answer}");
            continue;
        }
        let problem = answer["errors"][0]["problem"].as_str().unwrap_or_else(|| panic!("{path}: {answer}"));
        let known = problem.split_once("there are ").unwrap().1.trim_end_matches('.');
        assert_eq!(described, known.split(", ").collect(), "{path}");
        lists += 1;
    }
    assert!(lists >= 8, "{lists} lists were asked");
}
