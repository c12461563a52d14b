//! What a file of the catalogue must have beyond what every definition must: the build asks, and fails where it is not so.

use std::collections::BTreeMap;

use crate::app::{Definition, Endpoints, FieldError};

/// What one file lacks, whatever stands in the others.
pub(crate) fn alone(definition: &Definition, stem: &str) -> Vec<FieldError> {
    let mut found = Vec::new();
    if definition.id.as_str() != stem {
        found.push(problem("id", format!("must be the file's name, {stem}")));
    }
    if definition.sources.is_empty() {
        found
            .push(problem("sources", "is missing; name the pages of the app's documentation that the facts come from"));
    }
    found
}

/// Which files send the client that their family shares elsewhere than the family's first does: each with its complaint.
pub(crate) fn together<'a>(all: impl Iterator<Item = &'a Definition>) -> Vec<(&'a str, FieldError)> {
    let mut first: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    let mut found = Vec::new();
    for definition in all {
        let family = definition.ways().first().and_then(|way| way.client_family.as_deref());
        let (Some(family), Some(endpoint)) = (family, token_endpoint(definition)) else { continue };
        let (id, expected) = first.entry(family).or_insert_with(|| (definition.id.as_str(), endpoint.clone()));
        if *expected != endpoint {
            let told = format!(
                "must be {expected} as in {id}.json: apps of one family share a client; change it, or the family"
            );
            found.push((definition.id.as_str(), problem("auth.token_url", told)));
        }
    }
    found
}

/// Where the way that needs the shared client sends it.
fn token_endpoint(definition: &Definition) -> Option<String> {
    let way = definition.oauth2()?;
    Some(match &way.server()?.endpoints {
        Endpoints::Fixed(fixed) => fixed.token_url.text(),
        Endpoints::Issuer(issuer) => issuer.text(),
    })
}

fn problem(field: &str, problem: impl Into<String>) -> FieldError {
    FieldError { field: field.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::read;
    use crate::egress::Egress;

    fn app(id: &str, token_host: &str) -> Definition {
        let json = format!(
            r#"{{"id":"{id}","name":"A","client_family":"acme","sources":["https://acme.example"],
                "auth":{{"type":"oauth2","authorize_url":"https://acme.example/a","token_url":"https://{token_host}/t"}}}}"#
        );
        read(&json, Egress::Public).unwrap()
    }

    #[test]
    fn a_file_has_its_own_name_and_names_its_sources() {
        assert_eq!(alone(&app("acme", "acme.example"), "acme"), []);
        let bare = r#"{"id":"acme","name":"A","auth":{"type":"api_key"}}"#;
        let found = alone(&read(bare, Egress::Public).unwrap(), "other");
        let fields: Vec<_> = found.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(fields, ["id", "sources"]);
    }

    #[test]
    fn a_family_sends_its_client_to_one_place() {
        let [first, second] = ["a", "b"].map(|id| app(id, "acme.example"));
        let stray = app("c", "elsewhere.example");
        let found = together([&first, &second, &stray].into_iter());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0, found[0].1.field.as_str()), ("c", "auth.token_url"));
        assert!(found[0].1.problem.contains("must be https://acme.example/t as in a.json"), "{found:?}");
    }
}
