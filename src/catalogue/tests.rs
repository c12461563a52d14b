//! Rules for every file of the catalogue, and for the program, which must not name apps.

use super::*;
use crate::app::{AuthMethod, CredentialKind, EndpointSource, TemplateValues};

/// Every auth method of every app.
fn all_auth_methods() -> impl Iterator<Item = Rc<AuthMethod>> {
    ids().filter_map(find).flat_map(|app| app.auth_methods().to_vec())
}

/// The position of an auth method, for a failed assertion.
fn describe_method(auth_method: &AuthMethod) -> String {
    format!("{}, {}", auth_method.app_id, auth_method.method_id)
}

#[test]
fn every_file_can_be_read_and_found_by_its_id() {
    assert!(!APPS.is_empty());
    for CatalogueEntry { id, name, categories, family, auth_methods: ways, text } in APPS {
        let app = crate::app::read_definition(text, EgressPolicy::Public)
            .unwrap_or_else(|problems| panic!("{id}: {problems:?}"));
        assert_eq!(app.id.as_str(), *id);
        let file = format!("{}/catalog/{id}.json", env!("CARGO_MANIFEST_DIR"));
        let mut whole =
            crate::app::read_definition(&std::fs::read_to_string(file).unwrap(), EgressPolicy::Public).unwrap();
        assert!(!whole.sources.is_empty(), "{id} names no source");
        // Only these two members of a file are not in the program.
        (whole.sources, whole.unverified) = (Vec::new(), Vec::new());
        assert_eq!(format!("{app:?}"), format!("{whole:?}"));
        assert!(Rc::ptr_eq(&find(id).unwrap(), &find(id).unwrap()));
        // What a list shows is what the file says.
        assert_eq!((app.name.as_str(), app.auth_methods()[0].client_family.as_deref()), (*name, *family));
        assert_eq!(app.categories, *categories);
        let read =
            |auth_method: &Rc<AuthMethod>| (auth_method.method_name.clone(), auth_method.kind.as_str().to_owned());
        let listed =
            |auth_method: &CatalogueAuthMethod| (auth_method.name.map(str::to_owned), auth_method.kind.to_owned());
        assert_eq!(
            app.auth_methods().iter().map(read).collect::<Vec<_>>(),
            ways.iter().map(listed).collect::<Vec<_>>()
        );
    }
}

#[test]
fn apps_of_one_client_family_have_the_same_token_endpoint() {
    let mut token_hosts: BTreeMap<String, String> = BTreeMap::new();
    for app in ids().filter_map(find) {
        let Some(auth_method) = app.oauth2_method() else { continue };
        let EndpointSource::Fixed(at) = &auth_method.require_oauth_server().unwrap().endpoints else { continue };
        let host = at.token_url.fill_partially(&TemplateValues::new()).unwrap();
        let known = token_hosts.entry(app.registration().to_owned()).or_insert_with(|| host.clone());
        assert_eq!(*known, host, "{}", app.id);
    }
}

#[test]
fn ids_are_sorted_and_unknown_ids_are_not_found() {
    assert!(ids().is_sorted());
    for id in ["", "DROPBOX", "no-such-app", "../dropbox", "dropbox.json"] {
        assert!(find(id).is_none(), "{id}");
        assert!(definition_json(id).is_none(), "{id}");
    }
}

#[test]
fn every_auth_method_has_instructions() {
    for auth_method in all_auth_methods() {
        let at = describe_method(&auth_method);
        if auth_method.kind == CredentialKind::OAuth2 {
            let help = auth_method
                .require_oauth_server()
                .unwrap()
                .client_help
                .as_ref()
                .unwrap_or_else(|| panic!("{at}: no client_help"));
            assert!(
                help.steps.iter().any(|step| step.contains("{redirect_uri}")),
                "{at}: no step has {{redirect_uri}}"
            );
        } else {
            assert!(auth_method.fields.iter().any(|field| field.secret), "{at}: nothing secret is entered");
        }
        for field in auth_method.fields.iter().filter(|field| field.secret) {
            assert!(field.help.is_some() || field.url.is_some(), "{at}: where is {} found?", field.id);
        }
    }
}

#[test]
fn every_auth_method_has_an_identity_or_check_request() {
    for auth_method in all_auth_methods() {
        let discovered =
            auth_method.issuer().is_some() && auth_method.default_scopes().iter().any(|scope| scope == "openid");
        assert!(
            auth_method.identity.is_some() || auth_method.check.is_some() || discovered,
            "{}: no identity, no check",
            describe_method(&auth_method)
        );
    }
}

#[test]
fn scopes_are_unique_and_do_not_include_themselves() {
    for auth_method in all_auth_methods() {
        let mut seen = std::collections::BTreeSet::new();
        for scope in &auth_method.scopes {
            assert!(seen.insert(&scope.id), "{}: {} stands twice", describe_method(&auth_method), scope.id);
            assert!(
                !scope.includes.contains(&scope.id),
                "{}: {} includes itself",
                describe_method(&auth_method),
                scope.id
            );
        }
    }
}

#[test]
fn examples_defaults_and_placeholders_match_their_fields() {
    for auth_method in all_auth_methods() {
        for (name, variable) in auth_method.variables.iter() {
            for text in variable.example.iter().chain(&variable.default) {
                assert!(
                    variable.parse_value(text).is_ok(),
                    "{}: {name} does not take {text}",
                    describe_method(&auth_method)
                );
            }
        }
        for field in &auth_method.fields {
            for mark in &field.marks {
                assert!(
                    mark.label.is_some() || mark.refuse.is_some() || mark.warn.is_some(),
                    "{}: the mark {} of {} says nothing",
                    describe_method(&auth_method),
                    mark.prefix,
                    field.id
                );
            }
            // A placeholder that is cut off shows its beginning, which must not be a refused prefix.
            if let Some((beginning, _)) = field.placeholder.as_deref().and_then(|text| text.split_once('…')) {
                let refused = field.matching_mark(beginning).is_some_and(|mark| mark.refuse.is_some());
                assert!(!refused, "{}: the placeholder of {} is refused", describe_method(&auth_method), field.id);
            }
        }
    }
}
