//! An app's auth methods: which there are, what they share, how each sends its credential.

use super::*;

const SAMPLE_VALUES: [(&str, &str); 9] = [
    ("access_token", "tok"),
    ("api_key", "key"),
    ("token", "bot"),
    ("username", "ada"),
    ("password", "pass"),
    ("a", "first"),
    ("b", "second"),
    ("site", "acme"),
    ("account_id", "42"),
];

fn prepared_request(way: &str, beside: &str) -> PreparedRequest {
    let auth_method = parse_method(&format!(
        r#"{{"id":"acme","name":"Acme","variables":{{"site":{{"label":"Site"}}}},"auth":{way}{beside}}}"#
    ));
    let values =
        SAMPLE_VALUES.into_iter().fold(TemplateValues::new(), |values, (name, value)| values.with(name, value));
    auth_method.request.prepare(&values).unwrap()
}

fn prepared_headers(way: &str, beside: &str) -> Vec<(String, String)> {
    prepared_request(way, beside).headers.into_iter().collect()
}

#[test]
fn each_credential_type_has_a_default_request_format() {
    const BEARER: &str = "Bearer tok";
    // ada:pass, first:second
    let (basic, pair) = ("Basic YWRhOnBhc3M=", "Basic Zmlyc3Q6c2Vjb25k");
    for (way, sent) in [
        (r#"{"type":"oauth2","issuer":"https://acme.example"}"#, BEARER),
        (r#"{"type":"client_credentials","token_url":"https://acme.example"}"#, BEARER),
        (r#"{"type":"service_account","token_url":"https://acme.example"}"#, BEARER),
        (r#"{"type":"api_key"}"#, BEARER),
        (r#"{"type":"bot_token"}"#, BEARER),
        (r#"{"type":"basic"}"#, basic),
        (r#"{"type":"basic","fields":[{"id":"a","label":"A","secret":false},{"id":"b","label":"B"}]}"#, pair),
    ] {
        assert_eq!(prepared_headers(way, ""), [("Authorization".to_owned(), sent.to_owned())], "{way}");
        // A base address alone changes nothing about how the credential is sent.
        let based = prepared_headers(way, r#","request":{"base_url":"https://{site}.acme.example/"}"#);
        assert_eq!(based, [("Authorization".to_owned(), sent.to_owned())], "{way}");
    }
}

#[test]
fn short_forms_and_templates_define_where_the_credential_is_sent() {
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    assert_eq!(prepared_headers(r#"{"type":"api_key","header":"X-Key"}"#, ""), pair("X-Key", "key"));
    let first = r#"{"type":"api_key","header":"X-Key","fields":[{"id":"a","label":"A"},{"id":"b","label":"B"}]}"#;
    assert_eq!(prepared_headers(first, ""), pair("X-Key", "first"));
    let query = prepared_request(r#"{"type":"api_key","query":"key"}"#, "");
    assert!(query.headers.is_empty());
    assert_eq!(query.query["key"], "key");
    let shaped = prepared_request(
        r#"{"type":"bot_token"}"#,
        r#","request":{"base_url":"https://{site}.acme.example/bot{token}/","query":{"account":"{account_id}"}}"#,
    );
    assert!(shaped.headers.is_empty(), "what stands in the path is not sent a second time");
    assert_eq!(shaped.base_url.as_deref(), Some("https://acme.acme.example/botbot/"));
    assert_eq!(shaped.query["account"], "42");
    let basic = r#"{"type":"basic","request":{"basic":{"username":"{username}/token","password":"{password}"}}}"#;
    // ada/token:pass
    assert_eq!(prepared_headers(basic, ""), pair("Authorization", "Basic YWRhL3Rva2VuOnBhc3M="));
    assert_eq!(
        prepared_headers(r#"{"type":"oauth2","issuer":"https://acme.example"}"#, r#","request":{"headers":{}}"#),
        []
    );
}

#[test]
fn an_auth_method_is_found_by_its_id_and_the_first_is_recommended() {
    let app = parse_app(
        r#"{"id":"acme","name":"Acme","client_family":"vendor","scopes":["a"],"deprecated":"All ends.","auth":[
        {"type":"api_key","name":"Key","scopes":[],"errors":{"permanent":["dead"]}},
        {"type":"oauth2","issuer":"https://a.example"},
        {"id":"other","type":"oauth2","issuer":"https://b.example","scopes":["b"],"deprecated":"This ends."}],
        "identity":{"url":"https://acme.example","id":"/id","label":"/id"},"errors":{"permanent":["gone"]}}"#,
    );
    let ids: Vec<_> = app.auth_methods().iter().map(|auth_method| auth_method.method_id.as_str().to_owned()).collect();
    assert_eq!(ids, ["api_key", "oauth2", "other"]);
    assert_eq!(app.auth_method(None).unwrap().method_name.as_deref(), Some("Key"));
    assert_eq!(app.auth_method(AuthMethodId::parse("other").as_ref()).unwrap().kind, CredentialKind::OAuth2);
    assert!(app.auth_method(AuthMethodId::parse("none").as_ref()).is_none());
    assert_eq!(app.oauth2_method().unwrap().method_id.as_str(), "oauth2");
    // A member of an auth method replaces the app's member completely.
    let [key, first, other] = app.auth_methods() else { panic!() };
    assert_eq!(
        (key.errors.permanent.as_slice(), first.errors.permanent.as_slice()),
        (&["dead".to_owned()][..], &["gone".to_owned()][..])
    );
    assert_eq!(
        (key.scopes.len(), first.default_scopes(), other.default_scopes()),
        (0, vec!["a".into()], vec!["b".into()])
    );
    assert_eq!((first.deprecated.as_deref(), other.deprecated.as_deref()), (Some("All ends."), Some("This ends.")));
    assert!(app.auth_methods().iter().all(|auth_method| auth_method.identity.is_some()));
    // Each OAuth server with a consent has its own client.
    assert_eq!((app.registration(), first.registration(), other.registration()), ("vendor", "vendor", "acme:other"));
}

#[test]
fn default_fields_are_used_if_a_definition_names_none() {
    for (way, fields) in [
        (r#"{"type":"oauth2","issuer":"https://acme.example"}"#, vec![]),
        (r#"{"type":"client_credentials","token_url":"https://acme.example"}"#, vec!["client_id", "client_secret*"]),
        (r#"{"type":"service_account","token_url":"https://acme.example"}"#, vec!["key*", "subject?"]),
        (r#"{"type":"api_key"}"#, vec!["api_key*"]),
        (r#"{"type":"bot_token"}"#, vec!["token*"]),
        (r#"{"type":"basic"}"#, vec!["username", "password*"]),
    ] {
        let auth_method = parse_method(&format!(r#"{{"id":"acme","name":"Acme","auth":{way}}}"#));
        let mark = |field: &CredentialField| {
            if field.secret {
                "*"
            } else if field.optional {
                "?"
            } else {
                ""
            }
        };
        let found: Vec<_> = auth_method.fields.iter().map(|field| format!("{}{}", field.id, mark(field))).collect();
        assert_eq!(found, fields, "{way}");
        assert_eq!(auth_method.kind.is_manual(), !found.is_empty());
    }
}

#[test]
fn each_credential_type_has_one_name() {
    for kind in CredentialKind::ALL {
        assert_eq!(CredentialKind::parse(kind.as_str()), Some(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        assert!(!kind.label().is_empty());
    }
    assert_eq!(CredentialKind::parse("magic"), None);
}
