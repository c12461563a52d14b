//! What a definition becomes, and what it refuses.

mod complaints;
mod cost;
mod events;
mod names;
mod options;
mod ways;

use super::*;
use crate::catalogue::read_custom;
use crate::egress::Egress;

const SMALLEST_ISSUER: &str = r#"{"id": "acme", "name": "Acme",
    "auth": {"type": "oauth2", "issuer": "https://login.acme.example"}, "scopes": ["openid", "offline_access"]}"#;

const SMALLEST_FIXED: &str = r#"{"id": "acme", "name": "Acme", "auth": {"type": "oauth2",
    "authorize_url": "https://acme.example/authorize", "token_url": "https://acme.example/token",
    "revoke_url": "https://acme.example/revoke", "client_auth": "basic", "rotation": "strict"}, "scopes": ["read"],
    "identity": {"url": "https://api.acme.example/me", "id": "/sub", "label": "/email"}}"#;

fn definition(json: &str) -> Definition {
    read(json, Egress::Public).unwrap_or_else(|problems| panic!("{json}: {problems:?}"))
}

/// The recommended way of a definition.
fn good(json: &str) -> Rc<App> {
    definition(json).way(None).unwrap()
}

#[test]
fn the_smallest_definitions_have_careful_defaults() {
    let app = good(SMALLEST_FIXED);
    let oauth2 = app.oauth2().unwrap();
    assert_eq!(oauth2.rotation, Rotation::Strict);
    assert!(oauth2.pkce && !oauth2.login_hint && !oauth2.send_scope_on_refresh);
    assert_eq!(oauth2.revoke.kills, Kills::Grant);
    assert_eq!(oauth2.scope_separator, " ");
    assert_eq!(app.default_scopes(), ["read"]);
    assert_eq!(app.registration(), "acme");
    let at = app.resolve_fixed(&Values::new()).unwrap().unwrap();
    assert_eq!(at.refresh_url, at.token_url);
    assert!(at.identity.is_some() && at.issuer.is_none());
}

#[test]
fn an_issuer_is_resolved_by_what_it_says() {
    let app = good(SMALLEST_ISSUER);
    assert!(app.resolve_fixed(&Values::new()).is_none());
    let issuer = app.issuer().unwrap().fixed().unwrap();
    let body = br#"{"issuer":"https://login.acme.example","authorization_endpoint":"https://a.example/a",
        "token_endpoint":"https://a.example/t","userinfo_endpoint":"https://a.example/u",
        "authorization_response_iss_parameter_supported":true,"token_endpoint_auth_methods_supported":["client_secret_post"]}"#;
    let at = app.resolve_with(&read_discovery(issuer, body, Egress::Public).unwrap()).unwrap();
    assert_eq!(at.issuer.as_deref(), Some("https://login.acme.example"));
    assert!(at.iss_promised);
    assert_eq!(at.client_auth, ClientAuth::Body);
    assert_eq!(at.identity.unwrap().account.id, [AnswerTemplate::parse("/sub").unwrap()]);
}

#[test]
fn what_a_definition_says_goes_before_what_the_issuer_says() {
    let app = good(&SMALLEST_ISSUER.replace(r#""type": "oauth2","#, r#""type": "oauth2", "client_auth": "none","#));
    let issuer = app.issuer().unwrap().fixed().unwrap();
    let body = br#"{"issuer":"https://login.acme.example","authorization_endpoint":"https://a.example/a","token_endpoint":"https://a.example/t"}"#;
    let at = app.resolve_with(&read_discovery(issuer, body, Egress::Public).unwrap()).unwrap();
    assert_eq!(at.client_auth, ClientAuth::None);
    assert!(at.identity.is_none());
}

#[test]
fn an_issuer_that_knows_only_strange_ways_of_authentication_leaves_it_to_the_definition() {
    let at = |client_auth: &str, methods: &str| {
        let app = good(&SMALLEST_ISSUER.replace(r#""type": "oauth2","#, &format!(r#""type": "oauth2",{client_auth}"#)));
        let body = format!(
            r#"{{"issuer":"https://login.acme.example","authorization_endpoint":"https://a.example/a",
            "token_endpoint":"https://a.example/t","token_endpoint_auth_methods_supported":[{methods}]}}"#
        );
        let issuer = app.issuer().unwrap().fixed().unwrap();
        let found = read_discovery(issuer, body.as_bytes(), Egress::Public).unwrap();
        app.resolve_with(&found).map(|at| at.client_auth)
    };
    assert_eq!(at("", r#""private_key_jwt""#), Ok(ClientAuth::PrivateKeyJwt));
    assert_eq!(at(r#""client_auth": "body","#, r#""private_key_jwt""#), Ok(ClientAuth::Body));
    assert_eq!(at(r#""client_auth": "private_key_jwt","#, r#""client_secret_basic""#), Ok(ClientAuth::PrivateKeyJwt));
    assert_eq!(at(r#""client_auth": "basic","#, r#""tls_client_auth""#), Ok(ClientAuth::Basic));
    assert_eq!(at("", r#""tls_client_auth""#), Err(DiscoveryError::ClientAuth));
}

#[test]
fn only_a_strict_app_punishes_a_second_use() {
    for (rotation, safe) in
        [(Rotation::None, true), (Rotation::Reissue, true), (Rotation::Grace(5), true), (Rotation::Strict, false)]
    {
        assert_eq!(rotation.reuse_is_safe(), safe);
    }
}

#[test]
fn a_custom_app_can_not_take_the_place_of_one_in_the_catalogue() {
    assert!(read_custom(SMALLEST_FIXED, Egress::Public).is_ok());
    for taken in ["dropbox", "gmail", "google"] {
        let problems =
            read_custom(&SMALLEST_FIXED.replace("acme\"", &format!("{taken}\"")), Egress::Public).unwrap_err();
        assert_eq!(problems[0].field, "id", "{taken}");
    }
    let family = SMALLEST_FIXED.replacen(r#""name""#, r#""client_family": "google", "name""#, 1);
    assert_eq!(read_custom(&family, Egress::Public).unwrap_err()[0].field, "client_family");
}

#[test]
fn the_examples_of_the_documentation_can_be_read() {
    let text = include_str!("../../docs/catalogue.md");
    let blocks = text.split("```json").skip(1).filter_map(|rest| rest.split("```").next()).map(str::trim);
    let (complete, parts): (Vec<_>, Vec<_>) = blocks.partition(|block| block.starts_with('{'));
    assert_eq!(complete.len(), 3);
    for example in complete {
        assert!(read_custom(example, Egress::Public).is_ok(), "{example}");
    }
    for part in parts {
        let json = SMALLEST_FIXED.replacen(r#""type": "oauth2","#, &format!(r#""type": "oauth2", {part},"#), 1);
        assert!(good(&json).oauth2().unwrap().tokens.contains_key("user"));
    }
}

#[test]
fn ids_have_one_form() {
    for id in ["a", "0", "google-sheets", "a_b", &"a".repeat(63)] {
        assert!(AppId::parse(id).is_some(), "{id}");
    }
    for id in ["", "-a", "_a", "A", "a b", "a/b", "a.b", "é", &"a".repeat(64)] {
        assert!(AppId::parse(id).is_none(), "{id}");
    }
}

#[test]
fn pointers_have_one_form() {
    for text in ["", "/", "/a/0", "/a~1b", "/.tag"] {
        assert!(Pointer::parse(text).is_some(), "{text}");
    }
    for text in ["a", "/a~", "/a~2", "$.a", " /a"] {
        assert!(Pointer::parse(text).is_none(), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text: String) {
        let _ = read(&text, Egress::Public);
    }
}
