//! No app of the catalogue uses what RFC 9700 forbids: a person's password (2.4), a token in the redirect (2.1.2), or a
//! parameter that the flow itself sets. Reads the files directly, independent of the reader that refuses the same.

use serde_json::Value;
use url::Url;

/// Parameters that the flow sets, in lower case.
const FLOW_PARAMETERS: [&str; 14] = [
    "client_assertion",
    "client_assertion_type",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "grant_type",
    "nonce",
    "redirect_uri",
    "refresh_token",
    "response_mode",
    "response_type",
    "state",
];

fn is_flow_parameter(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    FLOW_PARAMETERS.iter().any(|one| name == *one || name.starts_with(&format!("{one}[")))
}

/// Errors in a part of a file, with their path.
fn find_violations(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{at}/{name}");
                match (name.as_str(), member) {
                    ("grant_type", Value::String(text)) if text.to_ascii_lowercase().contains("password") => {
                        found.push(format!("{path} is a password grant"));
                    }
                    (
                        "authorize_params" | "more_scopes_params" | "token_params" | "refresh_params",
                        Value::Object(of),
                    ) => {
                        let named =
                            of.keys().filter(|name| is_flow_parameter(name) || name.eq_ignore_ascii_case("scope"));
                        found.extend(named.map(|name| format!("{path}/{name} is set by the flow")));
                    }
                    ("authorize_url" | "token_url" | "refresh_url", Value::String(url)) => {
                        let url = Url::parse(&url.replace(['{', '}'], "x")).unwrap();
                        let named = url.query_pairs().filter(|(name, _)| is_flow_parameter(name));
                        found.extend(named.map(|(name, _)| format!("{path} has {name} in its query")));
                    }
                    _ => find_violations(member, &path, found),
                }
            }
        }
        Value::Array(list) => {
            for (number, one) in list.iter().enumerate() {
                find_violations(one, &format!("{at}[{number}]"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn no_app_uses_the_password_or_implicit_grant() {
    let mut found = Vec::new();
    let mut files = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/catalog")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        find_violations(
            &serde_json::from_str(&text).unwrap(),
            &path.file_name().unwrap().to_string_lossy(),
            &mut found,
        );
        files += 1;
    }
    assert!(files >= 30, "{files}");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_check_finds_each_forbidden_grant() {
    for (file, number) in [
        (serde_json::json!({ "auth": { "grant_type": "Password" } }), 1),
        (serde_json::json!({ "auth": [{ "authorize_params": { "Response_Type": "token", "prompt": "consent" } }] }), 1),
        (serde_json::json!({ "auth": { "token_url": "https://a.example/t?grant_type=password" } }), 1),
        (serde_json::json!({ "auth": { "token_params": { "audience": "a" } } }), 0),
    ] {
        let mut found = Vec::new();
        find_violations(&file, "", &mut found);
        assert_eq!(found.len(), number, "{file}: {found:?}");
    }
}
