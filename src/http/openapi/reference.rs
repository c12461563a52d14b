//! docs/api.md: the document for people.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::error::ErrorCode;
use crate::http::problem;

const BEGINNING: &str = "\
# API reference

This file is made from the routes and their types by `UPDATE_GOLDEN=1 cargo test --lib openapi`; a test holds the two together.
Programs read the same as OpenAPI 3.1: `GET /openapi.json`.

In the examples `$URL` is the `PUBLIC_URL` of the installation, `$KEY` is an API key, and `$ADMIN_KEY` is the operator's key.
Values such as `con_0123456789abcdefABCDEF` are made up.
";

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The page.
pub(super) fn page(document: &Value) -> String {
    let page = Page { document };
    let mut text = String::from(BEGINNING);
    text.push_str("\n## Rules for all routes\n\n");
    for sentence in page.text("/info/description").split_inclusive(". ") {
        writeln!(text, "- {}", sentence.trim()).unwrap();
    }
    page.authentication(&mut text);
    errors(&mut text);
    page.contents(&mut text);
    for tag in page.list("/tags") {
        page.tag(&mut text, tag);
    }
    page.types(&mut text);
    text
}

struct Page<'a> {
    document: &'a Value,
}

/// An operation with its address.
struct Route<'a> {
    method: &'static str,
    path: &'a str,
    operation: &'a Value,
}

impl Route<'_> {
    fn address(&self) -> String {
        format!("{} {}", self.method.to_uppercase(), self.path)
    }
}

fn errors(text: &mut String) {
    text.push_str(
        "\n## Errors\n\nAn error is a [Problem](#problem) (RFC 9457), as `application/problem+json`. `code` is stable; `detail` is for people.\n\n\
         | code | status | title |\n|---|---|---|\n",
    );
    for code in ErrorCode::ALL {
        let (status, title) = problem::status_and_title(code);
        writeln!(text, "| `{}` | {status} | {title} |", code.as_str()).unwrap();
    }
}

impl<'a> Page<'a> {
    fn text(&self, at: &str) -> &'a str {
        self.document.pointer(at).and_then(Value::as_str).unwrap_or_default()
    }

    fn list(&self, at: &str) -> &'a [Value] {
        self.document.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn members(&self, at: &str) -> &'a Map<String, Value> {
        self.document.pointer(at).and_then(Value::as_object).unwrap()
    }

    /// The target of a reference.
    fn resolved(&self, value: &'a Value) -> &'a Value {
        value["$ref"].as_str().map_or(value, |at| self.document.pointer(at.trim_start_matches('#')).unwrap())
    }

    /// The routes with a tag. The routes of a resource are together.
    fn routes(&self, tag: &Value) -> Vec<Route<'a>> {
        let paths = self.members("/paths").iter();
        let all = paths.flat_map(|(path, item)| {
            METHODS.into_iter().filter_map(move |method| Some(Route { method, path, operation: item.get(method)? }))
        });
        all.filter(|route| route.operation["tags"][0] == tag["name"]).collect()
    }

    fn authentication(&self, text: &mut String) {
        text.push_str("\n## Authentication\n\n| scheme | how it is sent | what it is |\n|---|---|---|\n");
        for (name, scheme) in self.members("/components/securitySchemes") {
            let sent = match scheme["type"].as_str() {
                Some("http") => "`Authorization: Bearer …`".to_owned(),
                _ => format!("cookie `{}`", scheme["name"].as_str().unwrap()),
            };
            writeln!(text, "| `{name}` | {sent} | {} |", words(scheme)).unwrap();
        }
    }

    fn contents(&self, text: &mut String) {
        text.push_str("\n## Routes\n");
        for tag in self.list("/tags") {
            writeln!(text, "\n**{}**\n", tag["name"].as_str().unwrap()).unwrap();
            for route in self.routes(tag) {
                let address = route.address();
                let summary = route.operation["summary"].as_str().unwrap();
                writeln!(text, "- [`{address}`](#{}): {summary}", anchor(&address)).unwrap();
            }
        }
    }

    fn tag(&self, text: &mut String, tag: &Value) {
        writeln!(text, "\n## {}", tag["name"].as_str().unwrap()).unwrap();
        if let Some(description) = tag["description"].as_str() {
            writeln!(text, "\n{description}").unwrap();
        }
        self.routes(tag).iter().for_each(|route| self.route(text, route));
    }

    fn route(&self, text: &mut String, route: &Route<'a>) {
        let operation = route.operation;
        let scope = operation["x-scope"].as_str().map(|scope| format!(" Scope: `{scope}`.")).unwrap_or_default();
        let summary = operation["summary"].as_str().unwrap();
        writeln!(text, "\n### `{}`\n\n{summary}. {}{scope}", route.address(), caller(operation)).unwrap();
        if let Some(description) = operation["description"].as_str() {
            writeln!(text, "\n{description}").unwrap();
        }
        self.parameters(text, operation);
        self.body(text, operation);
        let responses = operation["responses"].as_object().unwrap();
        let (answers, refusals): (Vec<_>, Vec<_>) = responses.iter().partition(|(_, one)| one["$ref"].is_null());
        for (status, answer) in answers {
            self.answer(text, status, answer);
        }
        if !refusals.is_empty() {
            text.push_str("\n| status | code and reason |\n|---|---|\n");
            for (status, refusal) in refusals {
                let own = refusal["description"].as_str();
                let said = own.unwrap_or_else(|| self.resolved(refusal)["description"].as_str().unwrap());
                writeln!(text, "| {status} | {} |", cell(said)).unwrap();
            }
        }
        writeln!(text, "\n```sh\n{}\n```", self.command(route)).unwrap();
    }

    fn parameters(&self, text: &mut String, operation: &'a Value) {
        let Some(parameters) = operation["parameters"].as_array() else { return };
        text.push_str("\n| parameter | in | type | description |\n|---|---|---|---|\n");
        for parameter in parameters {
            let parameter = self.resolved(parameter);
            let (name, place) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
            let type_name = type_name(&parameter["schema"]);
            let said = with_limits(words(parameter), &parameter["schema"]);
            writeln!(text, "| `{name}` | {place} | {type_name} | {said} |").unwrap();
        }
    }

    fn body(&self, text: &mut String, operation: &'a Value) {
        let Some(content) = operation["requestBody"]["content"].as_object() else { return };
        for (content_type, body) in content {
            let optional = if operation["requestBody"]["required"] == true { "" } else { " It may be left out." };
            writeln!(text, "\n**Body** (`{content_type}`).{optional}").unwrap();
            self.table(text, &body["schema"], true);
        }
    }

    fn answer(&self, text: &mut String, status: &str, answer: &'a Value) {
        writeln!(text, "\n**{status}**: {}", words(answer)).unwrap();
        let headers = answer["headers"].as_object().into_iter().flatten();
        for (name, header) in headers {
            writeln!(text, "\nHeader `{name}`: {}", words(header)).unwrap();
        }
        for (content_type, content) in answer["content"].as_object().into_iter().flatten() {
            if content_type == "application/json" {
                self.table(text, &content["schema"], false);
            } else {
                writeln!(text, "\nAnswered as `{content_type}`.").unwrap();
            }
        }
    }

    /// The members of a type. For a list, those of the list; its entries are a separate type.
    fn table(&self, text: &mut String, schema: &'a Value, is_request: bool) {
        let schema = self.resolved(schema);
        let Some(properties) = schema["properties"].as_object() else { return };
        let header = if is_request { "required" } else { "always there" };
        writeln!(text, "\n| member | type | {header} | description |\n|---|---|---|---|").unwrap();
        for name in in_order(schema, properties) {
            let member = &properties[name];
            let required = if is_required(schema, name) { "yes" } else { "no" };
            let said = with_limits(words(member), member);
            writeln!(text, "| `{name}` | {} | {required} | {said} |", type_name(member)).unwrap();
        }
    }

    fn types(&self, text: &mut String) {
        text.push_str("\n## Types\n");
        for (name, schema) in self.members("/components/schemas") {
            writeln!(text, "\n### {name}").unwrap();
            if let Some(description) = schema["description"].as_str() {
                writeln!(text, "\n{description}").unwrap();
            }
            if !schema["properties"].is_object() && schema["oneOf"].is_null() {
                let pattern = schema["pattern"].as_str().map(|text| format!(", `{text}`")).unwrap_or_default();
                writeln!(text, "\nType: {}{pattern}", type_name(schema)).unwrap();
            }
            self.table(text, schema, name.ends_with("Request"));
            for one in schema["oneOf"].as_array().into_iter().flatten() {
                let said = words(one);
                let said = if said.is_empty() { "One of:".to_owned() } else { said };
                let also = one["allOf"].as_array().into_iter().flatten().chain(one.get("$ref").map(|_| one));
                let also: Vec<_> = also.map(type_name).collect();
                let also =
                    if also.is_empty() { String::new() } else { format!(" All members of {}.", also.join(", ")) };
                writeln!(text, "\n- {said}{also}").unwrap();
                for (member, schema) in one["properties"].as_object().into_iter().flatten() {
                    writeln!(text, "  - `{member}`: {}", type_name(schema)).unwrap();
                }
            }
        }
    }

    fn command(&self, route: &Route<'a>) -> String {
        let operation = route.operation;
        let parameters: Vec<_> =
            operation["parameters"].as_array().into_iter().flatten().map(|one| self.resolved(one)).collect();
        let mut path = route.path.to_owned();
        for parameter in parameters.iter().filter(|one| one["in"] == "path") {
            let name = parameter["name"].as_str().unwrap();
            let example =
                if name == "token" { "TOKEN".to_owned() } else { plain(&self.example(&parameter["schema"], name)) };
            path = path.replace(&format!("{{{name}}}"), &example);
        }
        let method = if route.method == "get" { String::new() } else { format!(" -X {}", route.method.to_uppercase()) };
        let mut command = format!("curl{method} \"$URL{path}\"");
        let mut add = |option: &str| write!(command, " \\\n  {option}").unwrap();
        match operation["security"][0].as_object().and_then(|scheme| scheme.keys().next()).map(String::as_str) {
            Some("operatorKey") => add("-H \"Authorization: Bearer $ADMIN_KEY\""),
            Some("workspaceKey") => add("-H \"Authorization: Bearer $KEY\""),
            Some(_) => add("-H \"Cookie: __Host-cx_session=$SESSION\""),
            None => {}
        }
        for (content_type, body) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
            let example = self.body_example(&body["schema"]);
            if content_type == "application/json" {
                add("-H \"Content-Type: application/json\"");
                add(&format!("-d '{example}'"));
            } else {
                add("-H \"Sec-Fetch-Site: same-origin\"");
                for (name, value) in example.as_object().into_iter().flatten() {
                    add(&format!("--data-urlencode '{name}={}'", plain(value)));
                }
            }
        }
        command
    }

    /// The required members of a body, or the first optional one if there are none.
    fn body_example(&self, schema: &'a Value) -> Value {
        let schema = self.resolved(schema);
        let example = self.example(schema, "");
        match schema["properties"].as_object().and_then(|properties| properties.iter().next()) {
            Some((name, member)) if example.as_object().is_some_and(Map::is_empty) => {
                Value::Object(Map::from_iter([(name.clone(), self.example(member, name))]))
            }
            _ => example,
        }
    }

    fn example(&self, schema: &'a Value, name: &str) -> Value {
        let resolved = self.resolved(schema);
        let given = [&schema["examples"][0], &resolved["examples"][0], &resolved["const"], &schema["default"]];
        if let Some(given) = given.into_iter().find(|value| !value.is_null()) {
            return given.clone();
        }
        if let Some(first) = resolved["enum"].as_array().and_then(|list| list.first()) {
            return first.clone();
        }
        for any in ["anyOf", "oneOf"] {
            if let Some(first) = resolved[any].as_array().and_then(|list| list.first()) {
                return self.example(first, name);
            }
        }
        let kind = resolved["type"].as_str().or_else(|| resolved["type"][0].as_str()).unwrap_or_default();
        match kind {
            "integer" | "number" => resolved.get("minimum").cloned().unwrap_or_else(|| Value::from(1)),
            "boolean" => Value::Bool(true),
            "array" => Value::Array(vec![self.example(&resolved["items"], name)]),
            "object" => {
                let required = resolved["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let members = required.map(|name| (name.to_owned(), self.example(&resolved["properties"][name], name)));
                Value::Object(members.collect())
            }
            _ => Value::from(example_text(resolved, name)),
        }
    }
}

/// A type in one or two words. Named types are links.
fn type_name(schema: &Value) -> String {
    if let Some(at) = schema["$ref"].as_str() {
        let name = at.rsplit('/').next().unwrap();
        return format!("[{name}](#{})", anchor(name));
    }
    for any in ["anyOf", "oneOf"] {
        if let Some(types) = schema[any].as_array() {
            return types.iter().map(type_name).collect::<Vec<_>>().join(" or ");
        }
    }
    if let Some(list) = schema["enum"].as_array() {
        return list.iter().map(|one| format!("`{}`", plain(one))).collect::<Vec<_>>().join(", ");
    }
    if !schema["const"].is_null() {
        return format!("`{}`", plain(&schema["const"]));
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect(),
    };
    let named = types.into_iter().map(|name| match (name, schema["format"].as_str()) {
        ("string", Some("date-time")) => "time".to_owned(),
        ("string", Some("uri")) => "URL".to_owned(),
        ("array", _) if schema["items"].is_object() => format!("list of {}", type_name(&schema["items"])),
        ("array", _) => "list".to_owned(),
        ("object", _) if schema["additionalProperties"].is_object() => {
            format!("map to {}", type_name(&schema["additionalProperties"]))
        }
        (name, _) => name.to_owned(),
    });
    named.collect::<Vec<_>>().join(" or ")
}

fn example_text(schema: &Value, name: &str) -> &'static str {
    match (schema["format"].as_str(), name) {
        (Some("date-time"), _) => "2026-12-01T12:00:00Z",
        (Some("uri"), _) => "https://app.example.com/done",
        (_, "name") => "Example",
        (_, "id") => "u-17",
        _ => "…",
    }
}

fn caller(operation: &Value) -> &'static str {
    let schemes = operation["security"].as_array().unwrap();
    match schemes.first().map(|first| first.as_object().unwrap().keys().next().map(String::as_str)) {
        None => "Anybody may call it.",
        Some(None) => "For browsers; a form must come from our own page.",
        Some(Some("operatorKey")) => "For the operator.",
        Some(Some("workspaceKey")) => "For a workspace's key.",
        Some(Some(_)) => "For a signed-in person.",
    }
}

/// The required members first, in the order of the type.
fn in_order<'a>(schema: &'a Value, properties: &'a Map<String, Value>) -> Vec<&'a str> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let others = properties.keys().map(String::as_str).filter(|name| !is_required(schema, name));
    required.chain(others).collect()
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|list| list.iter().any(|one| one == name))
}

fn words(value: &Value) -> String {
    cell(value["description"].as_str().unwrap_or_default())
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The description, and the limits of a schema.
fn with_limits(mut text: String, schema: &Value) -> String {
    let limits = [
        ("minimum", "At least"),
        ("maximum", "At most"),
        ("maxLength", "Characters at most:"),
        ("maxItems", "Entries at most:"),
        ("default", "Default:"),
    ];
    for (name, says) in limits {
        match &schema[name] {
            Value::Null => {}
            Value::Object(object) if object.is_empty() => {}
            value => {
                let space = if text.is_empty() { "" } else { " " };
                write!(text, "{space}{says} `{}`.", plain(value)).unwrap();
            }
        }
    }
    text
}

/// The anchor of a heading in Markdown pages.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
