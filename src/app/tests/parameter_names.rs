//! Names that differ from RFC 6749: the code, the scopes of the redirect, the redirect URI, units of lifetimes.

use super::*;

fn read_method_with(auth: &str, variables: &str) -> Result<Rc<AuthMethod>, Vec<FieldProblem>> {
    let json = format!(
        r#"{{"id":"acme","name":"Acme","variables":{{{variables}}},"auth":{{"type":"oauth2","authorize_url":"https://acme.example/a",
        "token_url":"https://acme.example/t"{auth}}}}}"#
    );
    read_definition(&json, EgressPolicy::Public).map(|app| app.auth_method(None).unwrap())
}

const CLIENT_VARIABLE: &str = r#""ru":{"label":"RuName","from":"client"}"#;
const PERSON_VARIABLE: &str = r#""ru":{"label":"RuName"}"#;

#[test]
fn the_default_parameter_names_are_those_of_rfc_6749() {
    let auth_method = read_method_with("", "").unwrap();
    let server = auth_method.oauth_server().unwrap();
    assert_eq!((server.code_param.as_str(), server.exchange_code_param.as_str()), ("code", "code"));
    assert!(server.callback_scope.is_none() && server.redirect_name.is_none() && auth_method.errors.denied.is_empty());
    assert_eq!(server.response.expires_in_unit, LifetimeUnit::Seconds);
    assert_eq!(server.redirect_uri("https://x.example/cb", &TemplateValues::new()).unwrap(), "https://x.example/cb");
}

#[test]
fn every_parameter_name_is_read() {
    let auth_method = read_method_with(
        r#","code_param":"auth_code","exchange_code_param":"authCode","callback_scope":"granted","redirect_uri":"{ru}",
        "errors":{"denied":["nope"]},"response":{"expires_in_unit":"milliseconds","refresh_expires_in_unit":"minutes"},
        "tokens":{"user":{"access_token":"/u/t","scope_param":"user_scope"}}"#,
        CLIENT_VARIABLE,
    )
    .unwrap();
    let server = auth_method.oauth_server().unwrap();
    assert_eq!((server.code_param.as_str(), server.exchange_code_param.as_str()), ("auth_code", "authCode"));
    assert_eq!(
        (server.callback_scope.as_deref(), auth_method.errors.denied.as_slice()),
        (Some("granted"), &["nope".into()][..])
    );
    for shape in [&server.response, &server.tokens["user"].response] {
        let units = (shape.expires_in_unit, shape.refresh_expires_in_unit);
        assert_eq!(units, (LifetimeUnit::Milliseconds, LifetimeUnit::Minutes));
    }
    assert!(auth_method.variables.contains_key("ru"), "whoever sets up the client is asked for it");
    let name = |value: &str| server.redirect_uri("https://x.example/cb", &TemplateValues::new().with("ru", value));
    assert_eq!(name("Acme-Inc_1.x~y").unwrap(), "Acme-Inc_1.x~y");
    for value in ["", "https://evil.example", "//evil.example", "a b", "a%2F", "é"] {
        assert!(name(value).is_err(), "{value}");
    }
}

#[test]
fn a_name_with_another_meaning_is_refused_with_a_remedy() {
    for (auth, variables, field, problem) in [
        (r#","code_param":"state""#, "", "auth.code_param", "means something else"),
        (r#","code_param":"Error""#, "", "auth.code_param", "means something else"),
        (r#","code_param":"a b""#, "", "auth.code_param", "name of a parameter"),
        (r#","code_param":"""#, "", "auth.code_param", "name of a parameter"),
        (r#","callback_scope":"code""#, "", "auth.callback_scope", "means something else"),
        (r#","exchange_code_param":"client_secret""#, "", "auth.exchange_code_param", "another meaning"),
        (r#","exchange_code_param":"grant.type""#, "", "auth.exchange_code_param", "another meaning"),
        (
            r#","exchange_code_param":"auth_code","token_params":{"auth_code":"x"}"#,
            "",
            "auth.token_params.auth_code",
            "remove it",
        ),
        (r#","redirect_uri":"my-name""#, "", "auth.redirect_uri", "comes from \"client\""),
        (r#","redirect_uri":"{ru}""#, "", "auth.redirect_uri", "not known here"),
        (r#","redirect_uri":"{ru}""#, PERSON_VARIABLE, "auth.redirect_uri", "comes from \"client\""),
        (r#","redirect_uri":"https://evil.example/{ru}""#, CLIENT_VARIABLE, "auth.redirect_uri", "not an address"),
        (r#","response":{"expires_in_unit":"years"}"#, "", "auth.response.expires_in_unit", "seconds"),
        (r#","errors":{"denied":[""]}"#, "", "auth.errors.denied[0]", "1 to 100"),
    ] {
        let found = read_method_with(auth, variables).expect_err(auth).remove(0);
        assert_eq!(found.field, field, "{auth}: {}", found.problem);
        assert!(found.problem.contains(problem), "{auth}: {}", found.problem);
    }
    let machine = r#"{"id":"a","name":"A","auth":{"type":"client_credentials","token_url":"https://a.example/t","code_param":"x"}}"#;
    let found = read_definition(machine, EgressPolicy::Public).unwrap_err().remove(0);
    assert_eq!((found.field.as_str(), found.problem.contains("no option of")), ("auth.code_param", true));
}
