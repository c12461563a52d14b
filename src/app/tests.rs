use super::*;
use crate::egress::Egress;

const SMALLEST_ISSUER: &str = r#"{"id": "acme", "name": "Acme",
    "auth": {"type": "oauth2", "issuer": "https://login.acme.example"}, "scopes": ["openid", "offline_access"]}"#;

const SMALLEST_FIXED: &str = r#"{"id": "acme", "name": "Acme", "auth": {"type": "oauth2",
    "authorize_url": "https://acme.example/authorize", "token_url": "https://acme.example/token",
    "revoke_url": "https://acme.example/revoke", "client_auth": "basic", "rotation": "strict"}, "scopes": ["read"],
    "identity": {"url": "https://api.acme.example/me", "id": "/sub", "label": "/email"}}"#;

fn good(json: &str) -> App {
    read(json, Egress::Public).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// The first complaint about the smallest fixed definition with members put into `auth` and beside it.
fn complaint(auth: &str, beside: &str) -> (String, String) {
    let json = SMALLEST_FIXED.replacen(r#""type": "oauth2","#, &format!(r#""type": "oauth2", {auth}"#), 1);
    let json = json.replacen(r#""name": "Acme","#, &format!(r#""name": "Acme", {beside}"#), 1);
    let problem = read(&json, Egress::Public).expect_err(&json).remove(0);
    (problem.field, problem.problem)
}

#[test]
fn the_smallest_definitions_have_careful_defaults() {
    let app = good(SMALLEST_FIXED);
    let oauth2 = app.oauth2();
    assert_eq!(oauth2.rotation, Rotation::Strict);
    assert!(oauth2.pkce && !oauth2.login_hint && !oauth2.send_scope_on_refresh);
    assert_eq!(oauth2.revoke.kills, Kills::Grant);
    assert_eq!(oauth2.scope_separator, " ");
    assert_eq!(app.default_scopes(), ["read"]);
    assert_eq!(app.registration(), "acme");
    let hosts: Vec<_> = app.hosts().into_iter().collect();
    assert_eq!(hosts, ["acme.example", "api.acme.example"]);
    let at = app.resolve_fixed().unwrap();
    assert_eq!(at.refresh_url, at.token_url);
    assert!(at.identity.is_some() && at.issuer.is_none());
}

#[test]
fn an_issuer_is_resolved_by_what_it_says() {
    let app = good(SMALLEST_ISSUER);
    assert!(app.resolve_fixed().is_none());
    let issuer = app.issuer().unwrap();
    let body = br#"{"issuer":"https://login.acme.example","authorization_endpoint":"https://a.example/a",
        "token_endpoint":"https://a.example/t","userinfo_endpoint":"https://a.example/u",
        "authorization_response_iss_parameter_supported":true,"token_endpoint_auth_methods_supported":["client_secret_post"]}"#;
    let at = app.resolve_with(&read_discovery(issuer, body, Egress::Public).unwrap());
    assert_eq!(at.issuer.as_deref(), Some("https://login.acme.example"));
    assert!(at.iss_promised);
    assert_eq!(at.client_auth, ClientAuth::Body);
    assert_eq!(at.identity.unwrap().account.unwrap().id.as_str(), "/sub");
}

#[test]
fn what_a_definition_says_goes_before_what_the_issuer_says() {
    let app = good(&SMALLEST_ISSUER.replace(r#""type": "oauth2","#, r#""type": "oauth2", "client_auth": "none","#));
    let issuer = app.issuer().unwrap();
    let body = br#"{"issuer":"https://login.acme.example","authorization_endpoint":"https://a.example/a","token_endpoint":"https://a.example/t"}"#;
    let at = app.resolve_with(&read_discovery(issuer, body, Egress::Public).unwrap());
    assert_eq!(at.client_auth, ClientAuth::None);
    assert!(at.identity.is_none());
}

#[test]
fn every_option_is_read() {
    let app = good(
        r#"{"id":"full","name":"Full","categories":["files"],"docs":"https://full.example/docs","sources":["https://full.example/a"],
        "client_family":"vendor","auth":{"type":"oauth2","authorize_url":"https://full.example/a","token_url":"https://full.example/t",
        "refresh_url":"https://full.example/r","revoke_url":"https://full.example/x","client_auth":"body","refresh_client_auth":"none",
        "body":"json","scope_separator":",","authorize_params":{"prompt":"consent"},"token_params":{"a":"b"},"refresh_params":{"c":"d"},
        "token_headers":{"X-Version":"1"},"login_hint":true,"pkce":false,"send_scope_on_refresh":true,"rotation":{"grace":30},
        "revoke":{"kills":"token","style":"bearer","authenticate":false},"access_token_lifetime":3600,"refresh_token_lifetime":86400,
        "refresh_token_idle":100,"response":{"access_token":"/authed_user/access_token","scope_separator":" "}},
        "scopes":["a",{"id":"b","description":"B","required":true,"default":false},{"id":"c","default":false}],
        "identity":{"method":"POST","url":"https://api.full.example/me","headers":{"X-A":"b"},"body":"null","id":"/id","label":["/email","/id"]},
        "check":{"url":"https://api.full.example/ping"},
        "request":{"base_url":"https://api.full.example/v1/","headers":{"X-Token":"{access_token}","X-Version":"2"}},
        "errors":{"permanent":["gone"],"client":["bad_app"],"configuration":["x"],"transient":["y"],"error":"/error/code","codes":"/error_codes"}}"#,
    );
    let oauth2 = app.oauth2();
    assert_eq!(oauth2.rotation, Rotation::Grace(30));
    assert_eq!(oauth2.response.access_token.as_str(), "/authed_user/access_token");
    assert_eq!(oauth2.response.refresh_token.as_str(), "/refresh_token");
    assert_eq!(app.default_scopes(), ["a", "b"]);
    assert_eq!(app.scopes_with(&["c".into(), "c".into()]), ["b", "c"]);
    assert_eq!(app.registration(), "vendor");
    let (headers, base) = app.request.render("t0ken");
    assert_eq!(headers["X-Token"], "t0ken");
    assert_eq!(base.unwrap().as_str(), "https://api.full.example/v1/");
    assert_eq!(app.resolve_fixed().unwrap().refresh_url.as_str(), "https://full.example/r");
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
fn complaints_name_the_field_and_what_to_do() {
    for (auth, beside, field, problem) in [
        (r#""colour":"red","#, "", "auth.colour", "unknown field `colour`"),
        (r#""pkce":"yes","#, "", "auth.pkce", "invalid type"),
        (r#""body":"xml","#, "", "auth.body", "unknown variant"),
        (r#""issuer":"https://a.example","#, "", "auth.authorize_url", "not both"),
        (r#""refresh_url":"http://a.example","#, "", "auth.refresh_url", "must begin with https://"),
        (r#""refresh_url":"https://10.0.0.1","#, "", "auth.refresh_url", "numeric"),
        (r#""authorize_params":{"state":"x"},"#, "", "auth.authorize_params.state", "remove it"),
        (r#""authorize_params":{"redirect_uri":"x"},"#, "", "auth.authorize_params.redirect_uri", "remove it"),
        (r#""token_params":{"grant_type":"password"},"#, "", "auth.token_params.grant_type", "remove it"),
        (r#""refresh_params":{"scope":"x"},"#, "", "auth.refresh_params.scope", "remove it"),
        (r#""token_headers":{"Host":"x"},"#, "", "auth.token_headers.Host", "remove it"),
        (r#""token_headers":{"authorization":"x"},"#, "", "auth.token_headers.authorization", "remove it"),
        (r#""token_headers":{"X-A":"b\r\nX-C: d"},"#, "", "auth.token_headers.X-A", "visible ASCII"),
        (r#""token_headers":{"X A":"b"},"#, "", "auth.token_headers.X A", "not a header name"),
        (r#""access_token_lifetime":0,"#, "", "auth.access_token_lifetime", "seconds"),
        (r#""scope_separator":"ab","#, "", "auth.scope_separator", "punctuation"),
        (r#""response":{"scope":"scope"},"#, "", "auth.response.scope", "JSON pointer"),
        ("", r#""client_family":"Not A Slug","#, "client_family", "lower-case"),
        ("", r#""docs":"javascript:alert(1)","#, "docs", "https"),
        ("", r#""sources":["https://a.example#b c"],"#, "sources[0]", "fragment"),
        ("", r#""check":{"url":"https://a.example","body":"x"},"#, "check.body", "POST"),
        ("", r#""check":{"url":"https://a.example","id":"/x"},"#, "check.id", "unknown field"),
        ("", r#""request":{"headers":{"X":"{password}"}},"#, "request.headers.X", "{access_token}"),
        ("", r#""request":{"headers":{"X":1}},"#, "request.headers.X", "invalid type"),
        ("", r#""errors":{"codes":"codes"},"#, "errors.codes", "JSON pointer"),
        ("", r#""categories":[""],"#, "categories[0]", "characters"),
    ] {
        let (at, said) = complaint(auth, beside);
        assert_eq!(at, field, "{auth}{beside}: {said}");
        assert!(said.contains(problem), "{field}: {said}");
        assert!(!said.contains(" at line "), "{said}");
    }
}

#[test]
fn a_rotation_grace_needs_real_seconds() {
    let json = SMALLEST_FIXED.replace(r#""rotation": "strict""#, r#""rotation": {"grace": 0}"#);
    assert_eq!(read(&json, Egress::Public).unwrap_err()[0].field, "auth.rotation.grace");
}

#[test]
fn missing_members_and_other_kinds_are_told_apart() {
    for (json, field, problem) in [
        ("", ".", "object"),
        ("{", ".", "EOF"),
        ("[]", ".", "object"),
        (r#"{"auth":7}"#, "auth", "invalid type"),
        ("{}", "auth.type", "required"),
        (r#"{"auth":{"type":"oauth2","issuer":"https://a.example"}}"#, "id", "is required"),
        (r#"{"id":"a","name":"A","auth":{"type":"oauth2"}}"#, "auth.authorize_url", "no auth.issuer"),
        (r#"{"id":"a","name":"A","auth":{"type":"api_key","header":"X"}}"#, "auth.type", "not available yet"),
        (r#"{"id":"A b","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"}}"#, "id", "lower-case"),
        (r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://a.example?x"}}"#, "auth.issuer", "query"),
        (r#"{"id":"a","id":"b","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"}}"#, "id", "twice"),
        (
            r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"},"scopes":[{"x":1}]}"#,
            "scopes[0].x",
            "unknown field",
        ),
        (
            r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"},"scopes":[{}]}"#,
            "scopes[0].id",
            "is required",
        ),
        (
            r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"},"scopes":["a","a"]}"#,
            "scopes[1]",
            "twice",
        ),
        (
            r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"},"scopes":["a b"]}"#,
            "scopes[0]",
            "separator",
        ),
        (
            r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"},"identity":{"url":"https://a.example"}}"#,
            "identity.id",
            "is required",
        ),
    ] {
        let problems = read(json, Egress::Public).expect_err(json);
        assert_eq!(problems[0].field, field, "{json}: {problems:?}");
        assert!(problems[0].problem.contains(problem), "{json}: {problems:?}");
    }
}

#[test]
fn all_complaints_come_at_once() {
    let json = r#"{"id":"A","name":"","auth":{"type":"oauth2","authorize_url":"http://a.example","token_url":"https://localhost"}}"#;
    let fields: Vec<_> = read(json, Egress::Public).unwrap_err().into_iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["id", "name", "auth.authorize_url", "auth.token_url"]);
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
fn a_port_makes_another_host_of_it() {
    let json = SMALLEST_FIXED.replace("https://acme.example/token", "https://acme.example:8443/token");
    assert!(good(&json).hosts().contains("acme.example:8443"));
}

#[test]
fn the_examples_of_the_documentation_can_be_read() {
    let text = include_str!("../../docs/catalogue.md");
    let examples: Vec<_> = text.split("```json").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        assert!(read_custom(example, Egress::Public).is_ok(), "{example}");
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
