//! The description of the API for programs (`OpenAPI` 3.1): a file of its own, held to the table of routes by a test.

/// The document.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::DOCUMENT;
    use crate::attention;
    use crate::caller::Scope;
    use crate::error::Code;
    use crate::http::routes::{Auth, Line, ROUTES};

    /// Members of a path item that are no method.
    const NO_METHOD: [&str; 5] = ["$ref", "summary", "description", "servers", "parameters"];

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Each operation by its method and path: `GET /healthz`.
    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        let members =
            paths.flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |(name, it)| (path, name, it)));
        members
            .filter(|(_, name, _)| !NO_METHOD.contains(&name.as_str()))
            .map(|(path, name, operation)| (format!("{} {path}", name.to_uppercase()), operation))
            .collect()
    }

    fn address(line: &Line) -> String {
        format!("{} {}", line.method.as_str(), line.path)
    }

    /// Each route with its operation.
    fn described(document: &Value) -> Vec<(&'static Line, &Value)> {
        let find = |line| {
            operations(document).into_iter().find(|(known, _)| *known == address(line)).map(|(_, it)| (line, it))
        };
        ROUTES.iter().filter_map(find).collect()
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

    #[test]
    fn describes_every_route_and_nothing_else() {
        let document = document();
        let described: BTreeSet<String> = operations(&document).into_iter().map(|(address, _)| address).collect();
        let routed: BTreeSet<String> = ROUTES.iter().map(address).collect();
        let missing: Vec<_> = routed.difference(&described).collect();
        let extra: Vec<_> = described.difference(&routed).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "openapi.json lacks {missing:?} and describes {extra:?}, which routes.rs has not"
        );
    }

    #[test]
    fn operations_are_called_as_their_handlers() {
        let document = document();
        let mut seen = BTreeSet::new();
        for (line, operation) in described(&document) {
            let handler = format!("{:?}", line.handler);
            let (first, rest) = handler.split_at(1);
            let id = operation["operationId"].as_str().unwrap_or_default();
            assert_eq!(id, first.to_lowercase() + rest, "{}", address(line));
            assert!(seen.insert(id.to_owned()), "{id} stands twice");
        }
    }

    #[test]
    fn tells_who_may_call() {
        let document = document();
        for (line, operation) in described(&document) {
            let (security, scope) = match line.auth {
                Auth::Nobody => (json!([]), None),
                Auth::Operator => (json!([{ "operatorKey": [] }]), None),
                Auth::Key(scope) => (json!([{ "workspaceKey": [] }]), scope),
                Auth::Itself => (json!([{ "workspaceKey": [] }]), Some(Scope::Resolve)),
                Auth::Browser => (json!([{}, { "session": [] }]), None),
                Auth::Person(_) => (json!([{ "session": [] }]), None),
            };
            assert_eq!(operation.get("security"), Some(&security), "{}", address(line));
            let told = operation.get("x-scope").map(|scope| scope.as_str().unwrap());
            assert_eq!(told, scope.map(Scope::as_str), "{}", address(line));
            if let Some(scope) = told {
                assert!(strings(&document["components"]["schemas"]["KeyScope"]["enum"]).contains(&scope), "{scope}");
            }
        }
    }

    #[test]
    fn names_the_segments_of_every_path() {
        let document = document();
        for (address, operation) in operations(&document) {
            let own = operation.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default();
            let told: Vec<String> = own
                .iter()
                .map(|one| one["$ref"].as_str().map_or(one, |at| document.pointer(at.trim_start_matches('#')).unwrap()))
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
                .collect();
            let segments: Vec<_> = address.split('/').filter(|segment| segment.starts_with('{')).collect();
            assert_eq!(told, segments, "{address}");
        }
    }

    #[test]
    fn every_operation_is_complete_and_under_a_known_tag() {
        let document = document();
        let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        for (address, operation) in operations(&document) {
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{address}: summary");
            assert!(operation["tags"].as_array().unwrap().iter().all(|tag| tags.contains(&tag)), "{address}: tags");
            assert!(
                operation["responses"].as_object().is_some_and(|answers| !answers.is_empty()),
                "{address}: responses"
            );
            assert!(
                operation.get("requestBody").is_none() || !address.starts_with("GET"),
                "{address}: a GET has no body"
            );
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        walk(&document, &mut |name, value| {
            if name == "$ref" {
                let at = value.as_str().unwrap();
                let pointer = at.strip_prefix('#').unwrap_or_else(|| panic!("{at} leads out of the document"));
                assert!(document.pointer(pointer).is_some(), "{at} leads nowhere");
            }
        });
    }

    #[test]
    fn knows_every_code_of_an_error() {
        let document = document();
        let codes = Code::ALL.map(Code::as_str);
        assert_eq!(strings(&document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]), codes);
        // Nothing but the source knows whether `ALL` is complete.
        let source = include_str!("../error.rs").lines().filter_map(|line| line.trim().strip_prefix("Self::"));
        let texts: Vec<_> = source.filter_map(|arm| arm.split_once(" => \"")?.1.strip_suffix("\",")).collect();
        assert_eq!(texts, codes, "Code::as_str and Code::ALL differ");
    }

    #[test]
    fn knows_every_code_of_attention() {
        let document = document();
        let told = strings(&document["components"]["schemas"]["AttentionCode"]["enum"]);
        assert_eq!(told, attention::Code::ALL.map(attention::Code::as_str));
    }

    #[test]
    fn has_the_version_of_the_program() {
        let document = document();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["servers"], json!([{ "url": "/" }]));
    }
}
