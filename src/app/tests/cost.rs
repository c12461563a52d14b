//! The cost limits of a workspace's definition: to read and to use.

use serde_json::{Value, json};

use crate::app::{read_definition, read_new_definition, read_stored_definition};
use crate::catalogue;
use crate::egress::EgressPolicy;

fn small_definition() -> Value {
    json!({
        "id": "acme",
        "name": "Acme",
        "auth": { "type": "api_key", "header": "x-key" },
        "request": { "base_url": "https://api.acme.example/" },
    })
}

fn variables_with_pattern(count: usize, pattern: &str) -> Value {
    let one = |at: usize| (format!("v{at}"), json!({ "from": "person", "label": "V", "pattern": pattern }));
    Value::Object((0..count).map(one).collect())
}

/// The fields that a new definition is refused for. The limits do not apply to the format itself and to stored
/// definitions.
fn refused_fields(change: impl Fn(&mut Value)) -> Vec<String> {
    let mut json = small_definition();
    change(&mut json);
    let text = json.to_string();
    assert!(read_definition(&text, EgressPolicy::Public).is_ok(), "{:?}", read_definition(&text, EgressPolicy::Public));
    assert!(read_stored_definition(&text, EgressPolicy::Public).is_ok(), "what was stored before goes on");
    let problems = read_new_definition(&text, EgressPolicy::Public).err().unwrap_or_default();
    problems.into_iter().map(|problem| problem.field).collect()
}

#[test]
fn a_new_definition_has_a_limited_number_of_variables_and_parameters() {
    let nothing: [&str; 0] = [];
    assert_eq!(refused_fields(|json| json["variables"] = variables_with_pattern(30, "[a-z]+")), nothing);
    assert_eq!(refused_fields(|json| json["variables"] = variables_with_pattern(31, "[a-z]+")), ["variables"]);
    let headers =
        |count: usize| -> Value { Value::Object((0..count).map(|at| (format!("x-{at}"), json!("v"))).collect()) };
    let request = |count| json!({ "base_url": "https://api.acme.example/", "headers": headers(count) });
    assert_eq!(refused_fields(|json| json["request"] = request(50)), nothing);
    assert_eq!(refused_fields(|json| json["request"] = request(51)), ["request.headers"]);
    let field = |marks: usize| {
        let marks: Vec<_> = (0..marks).map(|at| json!({ "prefix": format!("k{at}_"), "label": "L" })).collect();
        json!([{ "id": "api_key", "label": "Key", "secret": true, "marks": marks }])
    };
    assert_eq!(refused_fields(|json| json["auth"]["fields"] = field(50)), nothing);
    assert_eq!(refused_fields(|json| json["auth"]["fields"] = field(51)), ["auth.fields[0].marks"]);
}

#[test]
fn the_patterns_of_a_new_definition_are_limited_in_cost() {
    let with = |pattern: &str, count| refused_fields(|json| json["variables"] = variables_with_pattern(count, pattern));
    assert!(with("[A-Za-z0-9]{30,100}", 1).is_empty());
    assert_eq!(with("[A-Za-z0-9]{10,500}", 1), ["variables.v0.pattern"]);
    assert_eq!(with("(.{0,3}){0,60}z", 1), ["variables.v0.pattern"]);
    assert!(with("[A-Za-z0-9]{30,100}", 5).is_empty());
    let problems = with("[A-Za-z0-9]{30,100}", 30);
    assert!(!problems.is_empty() && problems.len() < 30, "as many as take 64 KB: {problems:?}");
}

#[test]
fn the_patterns_of_the_catalogue_are_within_the_limits() {
    for id in catalogue::ids() {
        let problems = read_new_definition(catalogue::definition_json(id).unwrap(), EgressPolicy::Public)
            .err()
            .unwrap_or_default();
        assert!(problems.iter().all(|problem| !problem.field.ends_with("pattern")), "{id}: {problems:?}");
    }
}
