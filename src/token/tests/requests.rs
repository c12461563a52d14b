//! The requests to an app.

use super::*;

/// The form of a request does not depend on its destinations.
fn no_destinations() -> Rc<Destinations> {
    Rc::default()
}

fn request_context<'a>(
    auth_method: &'a AuthMethod,
    endpoints: &'a ResolvedEndpoints,
    client: &'a ClientIdentity,
    values: &'a TemplateValues,
    destinations: &'a Rc<Destinations>,
) -> TokenRequestContext<'a> {
    let server = auth_method.require_oauth_server().unwrap();
    TokenRequestContext { server, endpoints, client, values, destinations }
}

const CALLBACK: &str = "https://x.example/cb";

/// The exchange of the code `c/1` with the verifier `v`.
fn exchange(auth_method: &AuthMethod, client: &ClientIdentity) -> OutboundRequest {
    let (endpoints, values) = (endpoints(auth_method), TemplateValues::new());
    let destinations = no_destinations();
    let of = request_context(auth_method, &endpoints, client, &values, &destinations);
    build_exchange_request(&of, &Secret::new("c/1"), CALLBACK, Some(&Secret::new("v"))).unwrap()
}

/// The refresh of `r`.
fn refresh(auth_method: &AuthMethod, client: &ClientIdentity) -> OutboundRequest {
    let (endpoints, values) = (endpoints(auth_method), TemplateValues::new());
    let destinations = no_destinations();
    let of = request_context(auth_method, &endpoints, client, &values, &destinations);
    build_refresh_request(&of, &Secret::new("r"), &[], CALLBACK).unwrap()
}

/// The revocation of `t`.
fn revoke_with(
    auth_method: &AuthMethod,
    endpoints: &ResolvedEndpoints,
    client: &ClientIdentity,
    values: &TemplateValues,
    hint: TokenTypeHint,
) -> Option<OutboundRequest> {
    let destinations = no_destinations();
    let of = request_context(auth_method, endpoints, client, values, &destinations);
    build_revocation_request(&of, &Secret::new("t"), hint).unwrap()
}

/// The token request with a manual credential, for the scopes `p` and `q`.
fn issue(
    auth_method: &AuthMethod,
    client: &ClientIdentity,
    assertion: Option<&str>,
    values: &TemplateValues,
) -> OutboundRequest {
    let endpoints = endpoints_with(auth_method, values);
    let destinations = no_destinations();
    let of = request_context(auth_method, &endpoints, client, values, &destinations);
    build_issue_request(&of, assertion.map(Secret::new).as_ref(), &["p".into(), "q".into()]).unwrap()
}

#[test]
fn basic_form_encodes_id_and_secret_and_sends_them_only_in_the_header() {
    let auth_method = oauth_method();
    let request = exchange(&auth_method, &client_identity());
    // "my+id:s%3A%C3%A9%26c"
    assert_eq!(header(&request, "authorization"), Some("Basic bXkraWQ6cyUzQSVDMyVBOSUyNmM="));
    assert_eq!(
        body(&request),
        "grant_type=authorization_code&code=c%2F1&redirect_uri=https%3A%2F%2Fx.example%2Fcb&code_verifier=v"
    );
    assert_eq!(header(&request, "content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(header(&request, "accept"), Some("application/json"));
    assert_eq!(header(&request, "user-agent"), Some("connections"));
    assert_eq!(request.timeout_ms, 15_000);
}

#[test]
fn each_request_uses_one_client_authentication() {
    for (auth, basic, in_body) in [
        (r#","client_auth":"basic""#, true, ""),
        (r#","client_auth":"body""#, false, "&client_id=my+id&client_secret=s%3A%C3%A9%26c"),
        (r#","client_auth":"none""#, false, "&client_id=my+id"),
        (r#","client_auth":"basic","refresh_client_auth":"none""#, false, "&client_id=my+id"),
    ] {
        let auth_method = oauth_method_with(auth, "");
        let request = refresh(&auth_method, &client_identity());
        assert_eq!(header(&request, "authorization").is_some(), basic, "{auth}");
        assert_eq!(body(&request), format!("grant_type=refresh_token&refresh_token=r{in_body}"), "{auth}");
    }
}

#[test]
fn a_public_client_sends_its_id_in_the_body() {
    let auth_method = oauth_method();
    let request = refresh(&auth_method, &ClientIdentity::without_proof("pub"));
    assert_eq!(header(&request, "authorization"), None);
    assert_eq!(body(&request), "grant_type=refresh_token&refresh_token=r&client_id=pub");
}

#[test]
fn json_bodies_extra_parameters_and_headers_are_sent() {
    let auth_method = oauth_method_with(
        r#","body":"json","refresh_url":"https://acme.example/refresh","token_headers":{"Acme-Version":"1"},
        "refresh_params":{"a":"b"},"send_scope_on_refresh":true,"scope_separator":",""#,
        "",
    );
    let (endpoints, client, values) = (endpoints(&auth_method), client_identity(), TemplateValues::new());
    let of = TokenRequestContext {
        server: auth_method.require_oauth_server().unwrap(),
        endpoints: &endpoints,
        client: &client,
        values: &values,
        destinations: &no_destinations(),
    };
    let request = build_refresh_request(&of, &Secret::new("r\"x"), &["p".into(), "q".into()], CALLBACK).unwrap();
    let json: serde_json::Value = serde_json::from_str(body(&request)).unwrap();
    assert_eq!(json, serde_json::json!({"grant_type":"refresh_token","refresh_token":"r\"x","scope":"p,q","a":"b"}));
    assert_eq!(header(&request, "acme-version"), Some("1"));
    assert_eq!(request.url.as_str(), "https://acme.example/refresh");
}

#[test]
fn a_revocation_request_has_the_apps_style() {
    let revoke = |auth_method: &AuthMethod, hint| {
        revoke_with(auth_method, &endpoints(auth_method), &client_identity(), &TemplateValues::new(), hint)
    };
    let standard = revoke(&oauth_method(), TokenTypeHint::RefreshToken).unwrap();
    assert_eq!(body(&standard), "token=t&token_type_hint=refresh_token");
    assert!(header(&standard, "authorization").unwrap().starts_with("Basic "));

    let alone =
        revoke(&oauth_method_with(r#","revoke":{"authenticate":false}"#, ""), TokenTypeHint::AccessToken).unwrap();
    assert_eq!(body(&alone), "token=t");
    assert_eq!(header(&alone, "authorization"), None);

    let bearer = oauth_method_with(r#","revoke":{"style":"bearer"}"#, "");
    assert!(revoke(&bearer, TokenTypeHint::RefreshToken).is_none());
    let request = revoke(&bearer, TokenTypeHint::AccessToken).unwrap();
    assert_eq!(header(&request, "authorization"), Some("Bearer t"));
    assert_eq!(request.body, None);

    let mut nowhere = endpoints(&oauth_method());
    nowhere.revoke_url = None;
    assert!(
        revoke_with(&oauth_method(), &nowhere, &client_identity(), &TemplateValues::new(), TokenTypeHint::AccessToken)
            .is_none()
    );
}

#[test]
fn a_probe_sends_the_token_as_the_definition_says() {
    let auth_method = oauth_method_with(
        "",
        r#","check":{"method":"POST","url":"https://api.acme.example/ping","body":"null"},"request":{"headers":{"X-Token":"k {access_token}"}}"#,
    );
    let request = build_probe_request(
        auth_method.check.as_ref().unwrap(),
        &auth_method,
        &access_token_values("t"),
        &no_destinations(),
    )
    .unwrap();
    assert_eq!(header(&request, "x-token"), Some("k t"));
    assert_eq!(header(&request, "authorization"), None);
    assert_eq!(header(&request, "content-type"), Some("application/json"));
    assert_eq!((body(&request), request.timeout_ms), ("null", 10_000));
    let request = build_probe_request(
        identity_and_probe(&auth_method).1,
        &auth_method,
        &access_token_values("t"),
        &no_destinations(),
    )
    .unwrap();
    assert_eq!((header(&request, "content-type"), &request.body), (None, &None));
}

#[test]
fn each_client_authentication_is_sent_in_its_place() {
    let in_body = "client_id=my+id&client_secret=s%3A%C3%A9%26c";
    for (auth, basic, sent) in [
        // my+id:s%3A%C3%A9%26c, my id:s:é&c, s:é&c:
        ("basic", Some("Basic bXkraWQ6cyUzQSVDMyVBOSUyNmM="), ""),
        ("basic_raw", Some("Basic bXkgaWQ6czrDqSZj"), ""),
        ("basic_secret", Some("Basic czrDqSZjOg=="), ""),
        ("body", None, in_body),
        ("none", None, "client_id=my+id"),
        ("private_key_jwt", None, "client_id=my+id"),
    ] {
        let auth_method = oauth_method_with(&format!(r#","client_auth":"{auth}""#), "");
        let request = refresh(&auth_method, &client_identity());
        assert_eq!(header(&request, "authorization"), basic, "{auth}");
        let rest = body(&request).strip_prefix("grant_type=refresh_token&refresh_token=r").unwrap();
        assert_eq!(rest.trim_start_matches('&'), sent, "{auth}");
    }
    // A client without a secret sends its id in the body, whatever the definition says.
    for auth in ["basic", "basic_raw", "basic_secret", "body"] {
        let request = refresh(
            &oauth_method_with(&format!(r#","client_auth":"{auth}""#), ""),
            &ClientIdentity::without_proof("pub"),
        );
        assert_eq!(
            (header(&request, "authorization"), body(&request).ends_with("&client_id=pub")),
            (None, true),
            "{auth}"
        );
    }
}

#[test]
fn an_assertion_is_the_only_authentication_of_every_request() {
    let client = ClientIdentity::new("id", ClientProof::Assertion(Secret::new("a.b.c")), &no_destinations());
    let proof = "&client_id=id&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c";
    let auth_method = oauth_method_with(r#","client_auth":"private_key_jwt""#, "");
    let revoked = revoke_with(
        &auth_method,
        &endpoints(&auth_method),
        &client,
        &TemplateValues::new(),
        TokenTypeHint::AccessToken,
    )
    .unwrap();
    for request in [exchange(&auth_method, &client), refresh(&auth_method, &client), revoked] {
        assert!(body(&request).ends_with(proof), "{}", body(&request));
        assert_eq!((header(&request, "authorization"), body(&request).contains("client_secret")), (None, false));
    }
}

#[test]
fn the_redirect_uri_is_sent_if_the_definition_says_so() {
    for (options, exchanged, refreshed) in [
        ("", true, false),
        (r#","exchange_redirect_uri":false"#, false, false),
        (r#","refresh_redirect_uri":true"#, true, true),
    ] {
        let auth_method = oauth_method_with(options, "");
        let has = |request: &OutboundRequest| body(request).contains("redirect_uri=https%3A%2F%2Fx.example%2Fcb");
        assert_eq!(
            (has(&exchange(&auth_method, &client_identity())), has(&refresh(&auth_method, &client_identity()))),
            (exchanged, refreshed),
            "{options}"
        );
    }
}

#[test]
fn client_credentials_of_a_person_get_a_token() {
    let auth_method = parse_method(
        r#"{"id":"acme","name":"Acme","variables":{"site":{"label":"Site"}},"auth":{"type":"client_credentials","token_url":"https://{site}.acme.example/t",
        "grant_type":"account_credentials","client_auth":"body","token_params":{"account_id":"{account}"},"fields":[{"id":"client_id","label":"I","secret":false},
        {"id":"client_secret","label":"S"},{"id":"account","label":"A","secret":false}]}}"#,
    );
    let values = TemplateValues::new().with("site", "red").with("account", "a&b");
    let request = issue(&auth_method, &client_identity(), None, &values);
    assert_eq!(request.url.as_str(), "https://red.acme.example/t");
    assert_eq!(
        body(&request),
        "grant_type=account_credentials&scope=p+q&account_id=a%26b&client_id=my+id&client_secret=s%3A%C3%A9%26c"
    );
    let usual = parse_method(
        r#"{"id":"acme","name":"Acme","auth":{"type":"client_credentials","token_url":"https://acme.example/t","scope_separator":","}}"#,
    );
    let request = issue(&usual, &client_identity(), None, &TemplateValues::new());
    assert_eq!(body(&request), "grant_type=client_credentials&scope=p%2Cq");
    assert!(header(&request, "authorization").unwrap().starts_with("Basic "));
}

#[test]
fn a_jwt_bearer_grant_has_no_client_authentication() {
    let auth_method = parse_method(
        r#"{"id":"acme","name":"Acme","auth":{"type":"service_account","token_url":"https://acme.example/t","token_params":{"a":"b"}}}"#,
    );
    let request = issue(&auth_method, &client_identity(), Some("x.y.z"), &TemplateValues::new());
    assert_eq!(
        body(&request),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=x.y.z&a=b",
        "the assertion names the scopes, and there is no client"
    );
    assert_eq!(header(&request, "authorization"), None);
}

#[test]
fn a_revocation_request_can_be_defined_completely() {
    let auth_method = parse_method(
        r#"{"id":"acme","name":"Acme","auth":{"type":"oauth2","authorize_url":"https://acme.example/a","token_url":"https://acme.example/t",
        "revoke_url":"https://acme.example/applications/{client_id}/grant","client_auth":"body","token_headers":{"X-Version":"1"},
        "revoke":{"method":"DELETE","body":"json","client_auth":"basic_raw","headers":{"X-A":"b"},
        "params":{"access_token":"{token}","client_id":"{client_id}","account":"{account_id}"}}}}"#,
    );
    let values = TemplateValues::new().with("account_id", "42");
    let request =
        revoke_with(&auth_method, &endpoints(&auth_method), &client_identity(), &values, TokenTypeHint::AccessToken)
            .unwrap();
    assert_eq!(request.method, OutboundMethod::Delete);
    assert_eq!(request.url.as_str(), "https://acme.example/applications/my%20id/grant");
    assert_eq!(header(&request, "authorization"), Some("Basic bXkgaWQ6czrDqSZj"));
    assert_eq!(header(&request, "content-type"), Some("application/json"));
    assert_eq!((header(&request, "x-a"), header(&request, "x-version")), (Some("b"), Some("1")));
    let json: serde_json::Value = serde_json::from_str(body(&request)).unwrap();
    assert_eq!(json, serde_json::json!({ "access_token": "t", "client_id": "my id", "account": "42" }));
    // An unknown placeholder is an error, and nothing is sent.
    let (endpoints, client) = (endpoints(&auth_method), client_identity());
    let of = TokenRequestContext {
        server: auth_method.require_oauth_server().unwrap(),
        endpoints: &endpoints,
        client: &client,
        values: &TemplateValues::new(),
        destinations: &no_destinations(),
    };
    let missing = build_revocation_request(&of, &Secret::new("t"), TokenTypeHint::AccessToken).unwrap_err();
    assert_eq!(missing.to_string(), "needs a value for account_id");
}

#[test]
fn a_token_may_be_in_the_path_of_its_revocation() {
    let auth_method = oauth_method_with(r#","revoke":{"style":"bearer","method":"DELETE"}"#, "");
    let request = revoke_with(
        &auth_method,
        &endpoints(&auth_method),
        &client_identity(),
        &TemplateValues::new(),
        TokenTypeHint::AccessToken,
    )
    .unwrap();
    assert_eq!((request.method, request.body.as_deref()), (OutboundMethod::Delete, None));
    let auth_method = parse_method(
        r#"{"id":"acme","name":"Acme","auth":{"type":"oauth2","authorize_url":"https://acme.example/a","token_url":"https://acme.example/t",
        "revoke_url":"https://acme.example/tokens/{token}","revoke":{"method":"DELETE","authenticate":false,"params":{}}}}"#,
    );
    let request = revoke_with(
        &auth_method,
        &endpoints(&auth_method),
        &client_identity(),
        &TemplateValues::new(),
        TokenTypeHint::AccessToken,
    )
    .unwrap();
    assert_eq!((request.url.as_str(), body(&request)), ("https://acme.example/tokens/t", ""));
}

#[test]
fn a_probe_can_send_a_credential_in_path_query_and_basic() {
    let values = TemplateValues::new()
        .with("token", "12:a-b_C")
        .with("api_key", "a&b")
        .with("username", "ada")
        .with("password", "pass");
    for (way, url, authorization) in [
        (
            r#"{"type":"bot_token","check":{"url":"https://acme.example/bot{token}/me"},"request":{"headers":{}}}"#,
            "https://acme.example/bot12:a-b_C/me",
            None,
        ),
        (
            r#"{"type":"api_key","query":"key","check":{"url":"https://acme.example/me?a=b"}}"#,
            "https://acme.example/me?a=b&key=a%26b",
            None,
        ),
        (
            r#"{"type":"basic","check":{"url":"https://acme.example/me"},"request":{"basic":{"username":"{username}/token","password":"{password}"}}}"#,
            "https://acme.example/me",
            Some("Basic YWRhL3Rva2VuOnBhc3M="),
        ),
    ] {
        let auth_method = parse_method(&format!(r#"{{"id":"acme","name":"Acme","auth":{way}}}"#));
        let request =
            build_probe_request(auth_method.check.as_ref().unwrap(), &auth_method, &values, &no_destinations())
                .unwrap();
        assert_eq!((request.url.as_str(), header(&request, "authorization")), (url, authorization), "{way}");
    }
}

#[test]
fn a_header_is_omitted_while_its_value_is_unknown() {
    let auth_method = parse_method(
        r#"{"id":"acme","name":"Acme","variables":{"tenant":{"from":"identity","at":"/0/tenant"},"site":{"label":"Site"}},
        "auth":{"type":"api_key"},"check":{"url":"https://acme.example/me"},
        "request":{"headers":{"Authorization":"Bearer {api_key}","X-Tenant":"{tenant}","X-Site":"{site}","X-Account":"{account_id}"},
        "query":{"tenant":"{tenant}","for":"{account_id}","v":"1"}},"identity":{"url":"https://acme.example/me","id":"/id","label":"/id"}}"#,
    );
    let probe = auth_method.check.as_ref().unwrap();
    let values = TemplateValues::new().with("api_key", "k").with("site", "red");
    let request = build_probe_request(probe, &auth_method, &values, &no_destinations()).unwrap();
    assert_eq!((header(&request, "x-tenant"), header(&request, "x-site")), (None, Some("red")));
    assert_eq!((header(&request, "x-account"), request.url.as_str()), (None, "https://acme.example/me?v=1"));
    let request = build_probe_request(
        probe,
        &auth_method,
        &values.with("tenant", "t1").with("account_id", "7"),
        &no_destinations(),
    )
    .unwrap();
    assert_eq!((header(&request, "x-tenant"), header(&request, "x-account")), (Some("t1"), Some("7")));
    assert_eq!(request.url.as_str(), "https://acme.example/me?for=7&tenant=t1&v=1");
    // A variable of the person is never left out silently.
    let request =
        build_probe_request(probe, &auth_method, &TemplateValues::new().with("api_key", "k"), &no_destinations());
    assert_eq!(request.unwrap_err().to_string(), "needs a value for site");
}
