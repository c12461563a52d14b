//! Rules for catalogue files in addition to those of every definition. The build fails if a file violates one.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{App, AuthMethod, EndpointSource, FieldProblem};

/// The errors of one file, independent of the others.
pub(crate) fn validate_definition(app: &App, stem: &str) -> Vec<FieldProblem> {
    let mut found = Vec::new();
    if app.id.as_str() != stem {
        found.push(field_problem("id", format!("must be the file's name, {stem}")));
    }
    if app.sources.is_empty() {
        found.push(field_problem(
            "sources",
            "is missing; name the pages of the app's documentation that the facts come from",
        ));
    }
    found.extend(app.auth_methods().iter().filter_map(|auth_method| {
        let lacks = deprecation_problem(app, auth_method)?;
        Some(field_problem("deprecated", format!("of {} {lacks}", auth_method.method_id)))
    }));
    found
}

/// A deprecation must say by when and what to use instead. Each auth method's own sentence is checked for both. An app
/// that ends completely has no other auth method to name.
fn deprecation_problem(app: &App, auth_method: &AuthMethod) -> Option<String> {
    let said = auth_method.deprecated.as_deref()?;
    if !has_date(said) && !said.contains(NO_DATE_SENTENCE) {
        return Some(format!("must say by when, as YYYY-MM-DD, or \"{NO_DATE_SENTENCE}\""));
    }
    let others: Vec<_> = app.auth_methods().iter().filter(|other| other.deprecated.is_none()).collect();
    let is_named =
        |other: &&Rc<AuthMethod>| other.method_name.as_ref().is_some_and(|name| said.contains(&format!("\"{name}\"")));
    let named = others.is_empty() || others.iter().any(is_named);
    (!named).then(|| "must say what to use instead: the name of another way, in quotation marks".to_owned())
}

/// The sentence for a deprecation without a date.
const NO_DATE_SENTENCE: &str = "No date is announced.";

/// Whether a text has a date such as 2027-04-30.
fn has_date(text: &str) -> bool {
    let is_date = |word: &str| {
        word.len() == 10
            && word.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            })
    };
    text.split(|c: char| !c.is_ascii_digit() && c != '-').any(is_date)
}

/// Files that send the client of their family elsewhere than the family's first file: each with its error.
pub(crate) fn validate_families<'a>(all: impl Iterator<Item = &'a App>) -> Vec<(&'a str, FieldProblem)> {
    let mut first: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    let mut found = Vec::new();
    for app in all {
        let family = app.auth_methods().first().and_then(|auth_method| auth_method.client_family.as_deref());
        let (Some(family), Some(endpoint)) = (family, token_endpoint(app)) else { continue };
        let (id, expected) = first.entry(family).or_insert_with(|| (app.id.as_str(), endpoint.clone()));
        if *expected != endpoint {
            let told = format!(
                "must be {expected} as in {id}.json: apps of one family share a client; change it, or the family"
            );
            found.push((app.id.as_str(), field_problem("auth.token_url", told)));
        }
    }
    found
}

/// The token endpoint of the auth method that uses the shared client.
fn token_endpoint(app: &App) -> Option<String> {
    let auth_method = app.oauth2_method()?;
    Some(match &auth_method.oauth_server()?.endpoints {
        EndpointSource::Fixed(fixed) => fixed.token_url.template_text(),
        EndpointSource::Issuer(issuer) => issuer.template_text(),
    })
}

fn field_problem(field: &str, problem: impl Into<String>) -> FieldProblem {
    FieldProblem { field: field.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::read_definition;
    use crate::egress::EgressPolicy;

    fn parse_app(id: &str, token_host: &str) -> App {
        let json = format!(
            r#"{{"id":"{id}","name":"A","client_family":"acme","sources":["https://acme.example"],
                "auth":{{"type":"oauth2","authorize_url":"https://acme.example/a","token_url":"https://{token_host}/t"}}}}"#
        );
        read_definition(&json, EgressPolicy::Public).unwrap()
    }

    #[test]
    fn a_file_has_the_name_of_its_id_and_lists_its_sources() {
        assert_eq!(validate_definition(&parse_app("acme", "acme.example"), "acme"), []);
        let bare = r#"{"id":"acme","name":"A","auth":{"type":"api_key"}}"#;
        let found = validate_definition(&read_definition(bare, EgressPolicy::Public).unwrap(), "other");
        let fields: Vec<_> = found.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["id", "sources"]);
    }

    #[test]
    fn a_deprecated_auth_method_names_its_end_and_a_replacement() {
        let found = |said: &str| {
            let json = serde_json::json!({ "id": "acme", "name": "A", "sources": ["https://acme.example"], "auth": [
                { "type": "api_key", "id": "key", "name": "New key" },
                { "type": "api_key", "id": "old", "name": "Old key", "deprecated": said },
            ] });
            let found = validate_definition(&read_definition(&json.to_string(), EgressPolicy::Public).unwrap(), "acme");
            found.into_iter().map(|one| format!("{} {}", one.field, one.problem)).collect::<Vec<_>>()
        };
        assert!(found("Old keys end on 2027-04-30. Use \"New key\" instead.").is_empty());
        assert!(found("Old keys are deprecated. No date is announced. Use \"New key\" instead.").is_empty());
        for (said, lacks) in [
            ("Old keys end. Use \"New key\" instead.", "by when"),
            ("Old keys end on 30 April 2027. Use \"New key\" instead.", "by when"),
            ("Old keys end on 2027-04. Use \"New key\" instead.", "by when"),
            ("Old keys end on 2027-04-30.", "what to use instead"),
            ("Old keys end on 2027-04-30. Use \"Old key\" instead.", "what to use instead"),
        ] {
            let found = found(said);
            assert_eq!(found.len(), 1, "{said}: {found:?}");
            assert!(found[0].starts_with("deprecated of old ") && found[0].contains(lacks), "{found:?}");
        }
    }

    #[test]
    fn a_deprecated_app_names_its_end() {
        let found = |said: &str| {
            let json = serde_json::json!({ "id": "acme", "name": "A", "sources": ["https://acme.example"],
                "deprecated": said, "auth": { "type": "api_key", "name": "Key" } });
            validate_definition(&read_definition(&json.to_string(), EgressPolicy::Public).unwrap(), "acme").len()
        };
        assert_eq!((found("Acme ends on 2027-04-30."), found("Acme ends.")), (0, 1));
    }

    #[test]
    fn a_client_family_has_one_token_endpoint() {
        let [first, second] = ["a", "b"].map(|id| parse_app(id, "acme.example"));
        let stray = parse_app("c", "elsewhere.example");
        let found = validate_families([&first, &second, &stray].into_iter());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, found[0].1.field.as_str()), ("c", "auth.token_url"));
        assert!(found[0].1.problem.contains("must be https://acme.example/t as in a.json"), "{found:?}");
    }
}
