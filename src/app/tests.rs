//! What a definition becomes, and what is refused.

mod auth_methods;
mod cost;
mod errors;
mod events;
mod options;
mod parameter_names;

use super::*;
use crate::catalogue::read_custom_definition;
use crate::egress::EgressPolicy;

const SMALLEST_ISSUER: &str = r#"{"id": "acme", "name": "Acme",
    "auth": {"type": "oauth2", "issuer": "https://login.acme.example"}, "scopes": ["openid", "offline_access"]}"#;

const SMALLEST_FIXED: &str = r#"{"id": "acme", "name": "Acme", "auth": {"type": "oauth2",
    "authorize_url": "https://acme.example/authorize", "token_url": "https://acme.example/token",
    "revoke_url": "https://acme.example/revoke", "client_auth": "basic", "rotation": "strict"}, "scopes": ["read"],
    "identity": {"url": "https://api.acme.example/me", "id": "/sub", "label": "/email"}}"#;

fn parse_app(json: &str) -> App {
    read_definition(json, EgressPolicy::Public).unwrap_or_else(|problems| panic!("{json}: {problems:?}"))
}

/// The recommended auth method of a definition.
fn parse_method(json: &str) -> Rc<AuthMethod> {
    parse_app(json).auth_method(None).unwrap()
}

#[test]
fn the_smallest_definitions_have_safe_defaults() {
    let auth_method = parse_method(SMALLEST_FIXED);
    let oauth2 = auth_method.require_oauth_server().unwrap();
    assert_eq!(oauth2.rotation, RefreshTokenRotation::Strict);
    assert!(oauth2.pkce && !oauth2.login_hint && !oauth2.send_scope_on_refresh);
    assert_eq!(oauth2.revoke.effect, RevocationEffect::Grant);
    assert_eq!(oauth2.scope_separator, " ");
    assert_eq!(auth_method.default_scopes(), ["read"]);
    assert_eq!(auth_method.registration(), "acme");
    let endpoints = auth_method.resolve_fixed_endpoints(&TemplateValues::new()).unwrap().unwrap();
    assert_eq!(endpoints.refresh_url, endpoints.token_url);
    assert!(endpoints.identity.is_some() && endpoints.issuer.is_none());
}

#[test]
fn an_issuer_is_resolved_from_its_discovery_document() {
    let auth_method = parse_method(SMALLEST_ISSUER);
    assert!(auth_method.resolve_fixed_endpoints(&TemplateValues::new()).is_none());
    let issuer = auth_method.issuer().unwrap().fixed_url().unwrap();
    let body = br#"{"issuer":"https://login.acme.example","authorization_endpoint":"https://a.example/a",
        "token_endpoint":"https://a.example/t","userinfo_endpoint":"https://a.example/u",
        "authorization_response_iss_parameter_supported":true,"token_endpoint_auth_methods_supported":["client_secret_post"]}"#;
    let endpoints = auth_method
        .resolve_discovered_endpoints(&read_discovery_document(issuer, body, EgressPolicy::Public).unwrap())
        .unwrap();
    assert_eq!(endpoints.issuer.as_deref(), Some("https://login.acme.example"));
    assert!(endpoints.iss_parameter_supported);
    assert_eq!(endpoints.client_auth, ClientAuth::Body);
    assert_eq!(endpoints.identity.unwrap().account.id, [ResponseTextTemplate::parse("/sub").unwrap()]);
}

#[test]
fn a_definition_overrides_the_discovery_document() {
    let auth_method =
        parse_method(&SMALLEST_ISSUER.replace(r#""type": "oauth2","#, r#""type": "oauth2", "client_auth": "none","#));
    let issuer = auth_method.issuer().unwrap().fixed_url().unwrap();
    let body = br#"{"issuer":"https://login.acme.example","authorization_endpoint":"https://a.example/a","token_endpoint":"https://a.example/t"}"#;
    let endpoints = auth_method
        .resolve_discovered_endpoints(&read_discovery_document(issuer, body, EgressPolicy::Public).unwrap())
        .unwrap();
    assert_eq!(endpoints.client_auth, ClientAuth::None);
    assert!(endpoints.identity.is_none());
}

#[test]
fn with_unsupported_client_authentication_at_the_issuer_the_definition_must_say_it() {
    let at = |client_auth: &str, methods: &str| {
        let auth_method = parse_method(
            &SMALLEST_ISSUER.replace(r#""type": "oauth2","#, &format!(r#""type": "oauth2",{client_auth}"#)),
        );
        let body = format!(
            r#"{{"issuer":"https://login.acme.example","authorization_endpoint":"https://a.example/a",
            "token_endpoint":"https://a.example/t","token_endpoint_auth_methods_supported":[{methods}]}}"#
        );
        let issuer = auth_method.issuer().unwrap().fixed_url().unwrap();
        let found = read_discovery_document(issuer, body.as_bytes(), EgressPolicy::Public).unwrap();
        auth_method.resolve_discovered_endpoints(&found).map(|endpoints| endpoints.client_auth)
    };
    assert_eq!(at("", r#""private_key_jwt""#), Ok(ClientAuth::PrivateKeyJwt));
    assert_eq!(at(r#""client_auth": "body","#, r#""private_key_jwt""#), Ok(ClientAuth::Body));
    assert_eq!(at(r#""client_auth": "private_key_jwt","#, r#""client_secret_basic""#), Ok(ClientAuth::PrivateKeyJwt));
    assert_eq!(at(r#""client_auth": "basic","#, r#""tls_client_auth""#), Ok(ClientAuth::Basic));
    assert_eq!(at("", r#""tls_client_auth""#), Err(DiscoveryError::UnsupportedClientAuth));
}

#[test]
fn only_a_strict_app_revokes_the_grant_at_a_second_use() {
    for (rotation, safe) in [
        (RefreshTokenRotation::None, true),
        (RefreshTokenRotation::Reissue, true),
        (RefreshTokenRotation::Grace(5), true),
        (RefreshTokenRotation::Strict, false),
    ] {
        assert_eq!(rotation.reuse_is_safe(), safe);
    }
}

#[test]
fn a_custom_app_cannot_have_the_id_of_a_catalogue_app() {
    assert!(read_custom_definition(SMALLEST_FIXED, EgressPolicy::Public).is_ok());
    for taken in ["dropbox", "gmail", "google"] {
        let problems =
            read_custom_definition(&SMALLEST_FIXED.replace("acme\"", &format!("{taken}\"")), EgressPolicy::Public)
                .unwrap_err();
        assert_eq!(problems[0].field, "id", "{taken}");
    }
    let family = SMALLEST_FIXED.replacen(r#""name""#, r#""client_family": "google", "name""#, 1);
    assert_eq!(read_custom_definition(&family, EgressPolicy::Public).unwrap_err()[0].field, "client_family");
}

#[test]
fn the_examples_of_the_documentation_can_be_read() {
    let text = include_str!("../../docs/catalogue.md");
    let blocks = text.split("```json").skip(1).filter_map(|rest| rest.split("```").next()).map(str::trim);
    let (complete, parts): (Vec<_>, Vec<_>) = blocks.partition(|block| block.starts_with('{'));
    assert_eq!(complete.len(), 3);
    for example in complete {
        assert!(read_custom_definition(example, EgressPolicy::Public).is_ok(), "{example}");
    }
    for part in parts {
        let json = SMALLEST_FIXED.replacen(r#""type": "oauth2","#, &format!(r#""type": "oauth2", {part},"#), 1);
        assert!(parse_method(&json).require_oauth_server().unwrap().tokens.contains_key("user"));
    }
}

#[test]
fn ids_are_accepted_in_one_form_only() {
    for id in ["a", "0", "google-sheets", "a_b", &"a".repeat(63)] {
        assert!(AppId::parse(id).is_some(), "{id}");
    }
    for id in ["", "-a", "_a", "A", "a b", "a/b", "a.b", "é", &"a".repeat(64)] {
        assert!(AppId::parse(id).is_none(), "{id}");
    }
}

#[test]
fn pointers_are_accepted_in_one_form_only() {
    for text in ["", "/", "/a/0", "/a~1b", "/.tag"] {
        assert!(JsonPointer::parse(text).is_some(), "{text}");
    }
    for text in ["a", "/a~", "/a~2", "$.a", " /a"] {
        assert!(JsonPointer::parse(text).is_none(), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_text_causes_no_panic(text: String) {
        let _ = read_definition(&text, EgressPolicy::Public);
    }
}
