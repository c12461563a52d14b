//! Errors: each names its field and the remedy.

use super::*;

/// The first error of the smallest fixed definition, with members added to `auth` and next to it.
fn first_server_problem(auth: &str, beside: &str) -> (String, String) {
    let json = SMALLEST_FIXED.replacen(r#""type": "oauth2","#, &format!(r#""type": "oauth2", {auth}"#), 1);
    let json = json.replacen(r#""name": "Acme","#, &format!(r#""name": "Acme", {beside}"#), 1);
    let problem = read_definition(&json, EgressPolicy::Public).expect_err(&json).remove(0);
    (problem.field, problem.problem)
}

#[test]
fn errors_name_the_field_and_the_remedy() {
    for (auth, beside, field, problem) in [
        (r#""colour":"red","#, "", "auth.colour", "is not known here; remove it"),
        (r#""pkce":"yes","#, "", "auth.pkce", "must be true or false"),
        (r#""state_length":21,"#, "", "auth.state_length", "from 22 to 43"),
        (r#""state_length":44,"#, "", "auth.state_length", "from 22 to 43"),
        (r#""response":{"expires_at":"x"},"#, "", "auth.response.expires_at", "JSON pointer"),
        (r#""body":"xml","#, "", "auth.body", "must be `form` or `json`"),
        (r#""issuer":"http://a.example","#, "", "auth.issuer", "https"),
        (r#""refresh_url":"http://a.example","#, "", "auth.refresh_url", "must begin with https://"),
        (r#""refresh_url":"https://10.0.0.1","#, "", "auth.refresh_url", "numeric"),
        (r#""authorize_params":{"state":"x"},"#, "", "auth.authorize_params.state", "remove it"),
        (r#""authorize_params":{"redirect_uri":"x"},"#, "", "auth.authorize_params.redirect_uri", "remove it"),
        (r#""token_params":{"grant_type":"password"},"#, "", "auth.token_params.grant_type", "remove it"),
        (r#""refresh_params":{"scope":"x"},"#, "", "auth.refresh_params.scope", "remove it"),
        (r#""token_params":{"Grant_Type":"password"},"#, "", "auth.token_params.Grant_Type", "remove it"),
        (r#""token_params":{"grant_type[]":"password"},"#, "", "auth.token_params.grant_type[]", "remove it"),
        (r#""refresh_params":{"grant.type":"password"},"#, "", "auth.refresh_params.grant.type", "remove it"),
        (r#""authorize_params":{"response_type":"token"},"#, "", "auth.authorize_params.response_type", "remove it"),
        (
            r#""authorize_params":{"Response_Type":"id_token token"},"#,
            "",
            "auth.authorize_params.Response_Type",
            "remove it",
        ),
        (
            r#""more_scopes_params":{"response_type[0]":"token"},"#,
            "",
            "auth.more_scopes_params.response_type[0]",
            "remove it",
        ),
        (r#""authorize_params":{"CLIENT_ID":"x"},"#, "", "auth.authorize_params.CLIENT_ID", "remove it"),
        (r#""authorize_params":{"code_challenge":"x"},"#, "", "auth.authorize_params.code_challenge", "remove it"),
        (
            r#""login_hint":true,"authorize_params":{"Login_Hint":"x"},"#,
            "",
            "auth.authorize_params.Login_Hint",
            "remove it",
        ),
        (
            r#""tokens":{"user":{"access_token":"/u/t","scope_param":"user_scope"}},"authorize_params":{"user_scope":"x"},"#,
            "",
            "auth.authorize_params.user_scope",
            "remove it",
        ),
        (r#""refresh_url":"https://a.example/t?grant%5Ftype=password","#, "", "auth.refresh_url", "remove it"),
        (r#""refresh_url":"https://a.example/t?Grant_type=password","#, "", "auth.refresh_url", "remove it"),
        (r#""revoke":{"params":{"grant_type":"password"}},"#, "", "auth.revoke.params.grant_type", "remove it"),
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
        (
            "",
            r#""check":{"url":"https://a.example","id":"/x"},"#,
            "check.id",
            "there are method, url, headers, body, statuses",
        ),
        ("", r#""request":{"headers":{"X":"{password}"}},"#, "request.headers.X", "add it to variables"),
        ("", r#""request":{"headers":{"X":1}},"#, "request.headers.X", "must be a text"),
        ("", r#""errors":{"codes":"codes"},"#, "errors.codes", "JSON pointer"),
        ("", r#""categories":[""],"#, "categories[0]", "characters"),
    ] {
        let (at, said) = first_server_problem(auth, beside);
        assert_eq!(at, field, "{auth}{beside}: {said}");
        assert!(said.contains(problem), "{field}: {said}");
        assert!(!said.contains(" at line "), "{said}");
    }
}

#[test]
fn a_rotation_grace_needs_real_seconds() {
    let json = SMALLEST_FIXED.replace(r#""rotation": "strict""#, r#""rotation": {"grace": 0}"#);
    assert_eq!(read_definition(&json, EgressPolicy::Public).unwrap_err()[0].field, "auth.rotation.grace");
}

#[test]
fn missing_and_wrongly_typed_members_have_different_errors() {
    for (json, field, problem) in [
        ("", ".", "object"),
        ("{", ".", "EOF"),
        ("[]", ".", "object"),
        (r#"{"auth":7}"#, "auth", "must be an object with"),
        ("{}", "id", "required"),
        (r#"{"id":"a","name":"A"}"#, "auth", "required"),
        (r#"{"id":"a","name":"A","auth":{}}"#, "auth.type", "required"),
        (r#"{"id":"a","name":"A","auth":[{"type":"api_key"},{}]}"#, "auth[1].type", "required"),
        (r#"{"id":"a","name":"A","auth":["api_key"]}"#, "auth[0]", "must be an object"),
        (r#"{"id":"a","name":"A","auth":[["api_key"]]}"#, "auth[0]", "must be an object"),
        (r#"{"id":"a","name":"A","auth":{"type":5}}"#, "auth.type", "must be a text"),
        (
            r#"{"id":"a","name":"A","auth":{"type":"apikey"}}"#,
            "auth.type",
            "must be one of `oauth2`, `client_credentials`",
        ),
        (
            r#"{"id":"a","name":"A","auth":{"type":"api_key"},"check":["GET","https://a.example"]}"#,
            "check",
            "an object",
        ),
        (r#"{"auth":{"type":"oauth2","issuer":"https://a.example"}}"#, "id", "is required"),
        (r#"{"id":"a","name":"A","auth":{"type":"oauth2"}}"#, "auth.authorize_url", "no auth.issuer"),
        (r#"{"id":"a","name":"A","auth":{"type":"magic"}}"#, "auth.type", "must be "),
        (r#"{"id":"A b","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"}}"#, "id", "lower-case"),
        (r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://a.example?x"}}"#, "auth.issuer", "query"),
        (r#"{"id":"a","id":"b","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"}}"#, "id", "duplicated"),
        (
            r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"},"scopes":[{"x":1}]}"#,
            "scopes[0].x",
            "is not known here",
        ),
        (
            r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"},"scopes":[{}]}"#,
            "scopes[0].id",
            "is required",
        ),
        (
            r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://a.example"},"scopes":["a","a"]}"#,
            "scopes[1]",
            "duplicated",
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
        let problems = read_definition(json, EgressPolicy::Public).expect_err(json);
        assert_eq!(problems[0].field, field, "{json}: {problems:?}");
        assert!(problems[0].problem.contains(problem), "{json}: {problems:?}");
    }
}

#[test]
fn all_errors_are_returned_at_once() {
    let json = r#"{"id":"A","name":"","auth":{"type":"oauth2","authorize_url":"http://a.example","token_url":"https://localhost"}}"#;
    let fields: Vec<_> =
        read_definition(json, EgressPolicy::Public).unwrap_err().into_iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["id", "name", "auth.authorize_url", "auth.token_url"]);
}

/// The first error of auth methods of this form, with members next to them.
fn first_method_problem(ways: &str, beside: &str) -> (String, String) {
    let json = format!(r#"{{"id":"acme","name":"Acme","auth":{ways}{beside}}}"#);
    let problem = read_definition(&json, EgressPolicy::Public).expect_err(&json).remove(0);
    (problem.field, problem.problem)
}

#[test]
fn a_placeholder_must_be_known_and_a_host_may_contain_no_secret() {
    const SHOP: &str = r#""variables":{"shop":{"label":"Shop"}},"#;
    const TENANT: &str = r#""variables":{"tenant":{"from":"token","at":"/tenant"}},"#;
    for (auth, beside, field, problem) in [
        (r#""refresh_url":"https://{shop}.acme.example/t","#, "", "auth.refresh_url", "add it to variables"),
        (r#""refresh_url":"https://acme.example/{token}","#, "", "auth.refresh_url", "not known here"),
        (r#""refresh_url":"https://{shop/t","#, "", "auth.refresh_url", "brace without its partner"),
        (r#""refresh_url":"https://acme.example/}","#, "", "auth.refresh_url", "brace without its partner"),
        (r#""refresh_url":"https://{a b}.acme.example","#, "", "auth.refresh_url", "letters, digits and _"),
        (r#""refresh_url":"https://{shop}/t","#, SHOP, "auth.refresh_url", "fixed domain"),
        (r#""refresh_url":"{shop}/t","#, SHOP, "auth.refresh_url", "fixed domain"),
        (r#""refresh_url":"https://acme.example.{shop}/t","#, SHOP, "auth.refresh_url", "fixed domain"),
        (r#""refresh_url":"https://{shop}.example/t","#, SHOP, "auth.refresh_url", "\"client\""),
        (
            r#""refresh_url":"https://{tenant}.acme.example/t","#,
            TENANT,
            "auth.refresh_url",
            "before the app has been asked",
        ),
        (r#""authorize_params":{"a":"{shop}"},"#, "", "auth.authorize_params.a", "add it to variables"),
        (r#""revoke":{"params":{"a":"{code}"}},"#, "", "auth.revoke.params.a", "not known here"),
        ("", r#""check":{"url":"https://{access_token}.acme.example"},"#, "check.url", "in its host"),
        ("", r#""request":{"base_url":"https://{access_token}.acme.example"},"#, "request.base_url", "in its host"),
        ("", r#""request":{"query":{"a":"{password}"}},"#, "request.query.a", "not known here"),
        ("", r#""request":{"basic":{"username":"{a","password":"b"}},"#, "request.basic.username", "brace"),
    ] {
        let (at, said) = first_server_problem(auth, beside);
        assert_eq!(at, field, "{auth}{beside}: {said}");
        assert!(said.contains(problem), "{field}: {said}");
    }
    let key = |fields: &str, beside: &str| first_method_problem(&format!(r#"{{"type":"api_key"{fields}}}"#), beside);
    let (at, said) = key("", r#","check":{"url":"https://{api_key}.acme.example"}"#);
    assert_eq!((at.as_str(), said.contains("in its host")), ("check.url", true), "{said}");
    let (at, said) = key("", r#","identity":{"url":"https://acme.example","id":"{/id}{api_key}","label":"/a"}"#);
    assert_eq!((at.as_str(), said.contains("may be shown")), ("identity.id", true), "{said}");
}

#[test]
fn an_issuer_chosen_by_the_person_is_refused() {
    let json = SMALLEST_ISSUER.replace("https://login.acme.example", "https://{site}");
    let json = json.replacen(r#""scopes""#, r#""variables":{"site":{"label":"Site"}},"scopes""#, 1);
    assert_eq!(read_definition(&json, EgressPolicy::Public).unwrap_err()[0].field, "auth.issuer");
    assert!(
        read_definition(
            &json.replace(r#"{"label":"Site"}"#, r#"{"label":"Site","from":"client"}"#),
            EgressPolicy::Public
        )
        .is_ok()
    );
}

#[test]
fn an_option_must_fit_its_type() {
    const TOKEN_URL: &str = r#""token_url":"https://acme.example/t""#;
    for (kind, option, field) in [
        ("oauth2", r#""grant_type":"x","issuer":"https://acme.example""#, "auth.grant_type"),
        ("oauth2", r#""key_file":{"issuer":"/a","private_key":"/b"},"issuer":"https://acme.example""#, "auth.key_file"),
        ("oauth2", r#""fields":[],"issuer":"https://acme.example""#, "auth.fields"),
        ("oauth2", r#""header":"X","issuer":"https://acme.example""#, "auth.header"),
        (
            "client_credentials",
            &format!(r#""authorize_url":"https://acme.example/a",{TOKEN_URL}"#),
            "auth.authorize_url",
        ),
        ("client_credentials", &format!(r#""rotation":"none",{TOKEN_URL}"#), "auth.rotation"),
        ("client_credentials", &format!(r#""header":"X",{TOKEN_URL}"#), "auth.header"),
        ("client_credentials", &format!(r#""connect_help":["Go."],{TOKEN_URL}"#), "auth.connect_help"),
        ("service_account", &format!(r#""refresh_token_idle":9,{TOKEN_URL}"#), "auth.refresh_token_idle"),
        ("service_account", &format!(r#""client_auth":"body",{TOKEN_URL}"#), "auth.client_auth"),
        ("service_account", r#""issuer":"https://acme.example""#, "auth.issuer"),
        ("api_key", TOKEN_URL, "auth.token_url"),
        ("api_key", r#""client_auth":"body""#, "auth.client_auth"),
        ("api_key", r#""connect_help":["Go."]"#, "auth.connect_help"),
        ("client_credentials", &format!(r#""approval":{{"codes":["a"]}},{TOKEN_URL}"#), "auth.approval"),
        ("bot_token", r#""pkce":true"#, "auth.pkce"),
        ("basic", r#""revoke":{}"#, "auth.revoke"),
    ] {
        let (at, said) = first_method_problem(&format!(r#"{{"type":"{kind}",{option}}}"#), "");
        assert_eq!(at, field, "{kind} {option}: {said}");
        assert!(said.contains(&format!("is no option of \"{kind}\"; remove it")), "{said}");
    }
}

#[test]
fn auth_methods_fields_and_variables_are_validated() {
    for (auth, beside, field, problem) in [
        ("[]", "", "auth", "1 to 10 ways"),
        (r#"[{"type":"api_key"},{"type":"api_key"}]"#, "", "auth[1].id", "give each its own"),
        (r#"[{"type":"api_key"},{"type":"basic","id":"api_key"}]"#, "", "auth[1].id", "give each its own"),
        (r#"{"type":"api_key","id":"A b"}"#, "", "auth.id", "lower-case"),
        (r#"[{"type":"api_key"},{"type":"basic","check":{"url":"x"}}]"#, "", "auth[1].check.url", "is not an address"),
        (r#"{"type":"api_key","header":"X A"}"#, "", "auth.header", "not a header name"),
        (r#"{"type":"api_key","header":"Host"}"#, "", "auth.header", "remove it"),
        (r#"{"type":"api_key","header":"content-length"}"#, "", "auth.header", "remove it"),
        (r#"{"type":"bot_token","header":"Expect"}"#, "", "auth.header", "remove it"),
        (r#"{"type":"basic","header":"CF-Connecting-IP"}"#, "", "auth.header", "remove it"),
        (r#"{"type":"api_key","header":"X","query":"key"}"#, "", "auth.query", "remove one"),
        (r#"{"type":"api_key","fields":[]}"#, "", "auth.fields", "1 to 10 fields"),
        (r#"{"type":"api_key","fields":[{"id":"a"}]}"#, "", "auth.fields[0].label", "is required"),
        (r#"{"type":"api_key","fields":[{"id":"a b","label":"A"}]}"#, "", "auth.fields[0].id", "letters"),
        (
            r#"{"type":"api_key","fields":[{"id":"account_id","label":"A"}]}"#,
            "",
            "auth.fields[0].id",
            "none of the names",
        ),
        (
            r#"{"type":"api_key","fields":[{"id":"a","label":"A"},{"id":"a","label":"B"}]}"#,
            "",
            "auth.fields[1].id",
            "remove one",
        ),
        (
            r#"{"type":"api_key","fields":[{"id":"a","label":"A","pattern":"("}]}"#,
            "",
            "auth.fields[0].pattern",
            "regular",
        ),
        (
            r#"{"type":"api_key","fields":[{"id":"a","label":"A","marks":[{"prefix":""}]}]}"#,
            "",
            "auth.fields[0].marks[0].prefix",
            "1 to 100",
        ),
        (r#"{"type":"api_key","fields":[{"id":"a","label":"A","url":"http://x"}]}"#, "", "auth.fields[0].url", "https"),
        (
            r#"{"type":"client_credentials","token_url":"https://acme.example","fields":[{"id":"client_id","label":"A"}]}"#,
            "",
            "auth.fields",
            "needs a field client_secret",
        ),
        (
            r#"{"type":"service_account","token_url":"https://acme.example","fields":[{"id":"a","label":"A"}]}"#,
            "",
            "auth.fields",
            "needs a field key",
        ),
        (r#"{"type":"service_account"}"#, "", "auth.token_url", "is required"),
        (r#"{"type":"basic","fields":[{"id":"a","label":"A"}]}"#, "", "request", "no two"),
        (r#"{"type":"api_key","fields":[{"id":"a","label":"A","secret":false}]}"#, "", "auth.fields", "secret"),
        (r#"{"type":"api_key"}"#, r#","variables":{"a":{}}"#, "variables.a.label", "is required"),
        (
            r#"{"type":"api_key"}"#,
            r#","variables":{"token":{"label":"A"}}"#,
            "variables.token",
            "templates know anyway",
        ),
        (r#"{"type":"api_key"}"#, r#","variables":{"a b":{"label":"A"}}"#, "variables.a b", "letters, digits"),
        (
            r#"{"type":"api_key"}"#,
            r#","variables":{"a":{"label":"A","pattern":"["}}"#,
            "variables.a.pattern",
            "regular",
        ),
        (
            r#"{"type":"api_key"}"#,
            r#","variables":{"a":{"label":"A","pattern":"[a-z]+","default":"7"}}"#,
            "variables.a.default",
            "own pattern",
        ),
        (
            r#"{"type":"api_key"}"#,
            r#","variables":{"a":{"label":"A","example":".."}}"#,
            "variables.a.example",
            "own pattern",
        ),
        (
            r#"{"type":"api_key"}"#,
            r#","variables":{"a":{"from":"token"}}"#,
            "variables.a.at",
            "where does the value stand",
        ),
        (
            r#"{"type":"api_key"}"#,
            r#","variables":{"a":{"from":"identity","at":"x"}}"#,
            "variables.a.at",
            "JSON pointer",
        ),
        (r#"{"type":"api_key"}"#, r#","variables":{"a":{"label":"A","at":"/x"}}"#, "variables.a.at", "remove it"),
        (r#"{"type":"api_key"}"#, r#","variables":{"a":{"from":"dream"}}"#, "variables.a.from", "must be "),
    ] {
        let (at, said) = first_method_problem(auth, beside);
        assert_eq!(at, field, "{auth}{beside}: {said}");
        assert!(said.contains(problem), "{field}: {said}");
    }
}

#[test]
fn requests_errors_tokens_and_limits_are_validated() {
    for (auth, beside, field, problem) in [
        (r#""tokens":{"user":{"access_token":"/u"}},"#, "", "auth.tokens.user.scope_param", "is required"),
        (
            r#""tokens":{"user":{"access_token":"u","scope_param":"s"}},"#,
            "",
            "auth.tokens.user.access_token",
            "JSON pointer",
        ),
        (r#""tokens":{"a:b":{"access_token":"/u","scope_param":"s"}},"#, "", "auth.tokens.a:b", "letters, digits"),
        (r#""response":{"refresh_expires_in":"x"},"#, "", "auth.response.refresh_expires_in", "JSON pointer"),
        (r#""grant_lifetime":-1,"#, "", "auth.grant_lifetime", "seconds"),
        (r#""client_help":{"url":"http://x","steps":[]},"#, "", "auth.client_help.url", "https://"),
        (r#""client_help":{"url":"https://acme.example","steps":[""]},"#, "", "auth.client_help.steps[0]", "1 to 1000"),
        (r#""approval":{"codes":[]},"#, "", "auth.approval.codes", "at least one"),
        (r#""approval":{"codes":[""]},"#, "", "auth.approval.codes[0]", "1 to 100"),
        (r#""approval":{"codes":["a"],"url":"http://x"},"#, "", "auth.approval.url", "https://"),
        (r#""approval":{"codes":["a"],"steps":[""]},"#, "", "auth.approval.steps[0]", "1 to 1000"),
        (r#""revoke":{"method":"PUT"},"#, "", "auth.revoke.method", "must be "),
        (r#""revoke":{"headers":{"Authorization":"x"}},"#, "", "auth.revoke.headers.Authorization", "remove it"),
        (r#""more_scopes_params":{"nonce":"x"},"#, "", "auth.more_scopes_params.nonce", "remove it"),
        ("", r#""check":{"url":"https://acme.example","statuses":{"500":"works"}},"#, "check.statuses", "200 to 499"),
        ("", r#""check":{"url":"https://acme.example","statuses":{"403":"fine"}},"#, "check.statuses.403", "must be "),
        ("", r#""nothing_shared":{"url":"https://acme.example","at":"/a"},"#, "nothing_shared.say", "is required"),
        (
            "",
            r#""nothing_shared":{"url":"https://acme.example","at":"a","say":"Share."},"#,
            "nothing_shared.at",
            "JSON pointer",
        ),
        (
            r#""nothing_shared":{"url":"https://acme.example","body":"{}","at":"/a","say":"Share."},"#,
            "",
            "auth.nothing_shared.body",
            "POST",
        ),
        ("", r#""errors":{"error":[]},"#, "errors.error", "at least one"),
        ("", r#""errors":{"error":["/a","b"]},"#, "errors.error", "JSON pointer"),
        ("", r#""errors":{"retry_after":"x"},"#, "errors.retry_after", "JSON pointer"),
        ("", r#""limits":{"grants_per_account":0},"#, "limits.grants_per_account", "from 1"),
        ("", r#""unverified":[""],"#, "unverified[0]", "1 to 1000"),
        ("", r#""deprecated":"","#, "deprecated", "1 to 1000"),
    ] {
        let (at, said) = first_server_problem(auth, beside);
        assert_eq!(at, field, "{auth}{beside}: {said}");
        assert!(said.contains(problem), "{field}: {said}");
    }
    for (identity, field, problem) in [
        (r#""from":"token","url":"https://acme.example","id":"/a","label":"/a""#, "identity.url", "remove one"),
        (r#""from":"token","body":"x","id":"/a","label":"/a""#, "identity.body", "remove it"),
        (
            r#""from":"token","scopes":{"header":"X","separator":","},"id":"/a","label":"/a""#,
            "identity.scopes",
            "remove it",
        ),
        (r#""id":"/a","label":"/a""#, "identity.url", "is required"),
        (r#""url":"https://acme.example","id":"a","label":"/a""#, "identity.id", "JSON pointer such as /user/id"),
        (r#""url":"https://acme.example","id":"/a","label":[]"#, "identity.label", "at least one"),
        (r#""url":"https://acme.example","id":"/a","label":"{x}""#, "identity.label", "no variable"),
        (
            r#""url":"https://acme.example","id":"/a","label":"/a","scopes":{"header":"X","separator":"ab"}"#,
            "identity.scopes.separator",
            "punctuation",
        ),
        (
            r#""url":"https://acme.example","id":"/a","label":"/a","scopes":{"header":"X A","separator":","}"#,
            "identity.scopes.header",
            "not a header name",
        ),
        (
            r#""from":"token","id":"/a","label":"/a","marks":[{"at":"/live","is":[],"account":"test"}]"#,
            "identity.marks[0].is",
            "true, false",
        ),
        (
            r#""from":"token","id":"/a","label":"/a","marks":[{"at":"live","is":false}]"#,
            "identity.marks[0].at",
            "JSON pointer",
        ),
    ] {
        assert_identity_refused(identity, field, problem);
    }
    let (at, said) =
        first_method_problem(r#"{"type":"api_key"}"#, r#","identity":{"from":"token","id":"/a","label":"/a"}"#);
    assert_eq!((at.as_str(), said.contains("give a url")), ("identity.from", true), "{said}");
}

fn assert_identity_refused(identity: &str, field: &str, problem: &str) {
    let ways = r#"{"type":"oauth2","issuer":"https://acme.example"}"#;
    let (at, said) = first_method_problem(ways, &format!(r#","identity":{{{identity}}}"#));
    assert_eq!(at, field, "{identity}: {said}");
    assert!(said.contains(problem), "{field}: {said}");
}

#[test]
fn a_request_for_an_account_name_is_validated() {
    for (identity, field, problem) in [
        (
            r#""url":"https://acme.example","id":"/a","label":"/a","named_by":{"url":"https://acme.example","label":"/b"}"#,
            "identity.named_by",
            "remove it",
        ),
        (
            r#""from":"token","id":"/a","label":"/a","named_by":{"url":"https://acme.example","label":"b"}"#,
            "identity.named_by.label",
            "JSON pointer",
        ),
        (
            r#""from":"token","id":"/a","label":"/a","named_by":{"url":"http://acme.example","label":"/b"}"#,
            "identity.named_by.url",
            "https",
        ),
    ] {
        assert_identity_refused(identity, field, problem);
    }
}

#[test]
fn a_value_that_the_app_never_returns_cannot_be_required() {
    const TOKEN: &str = r#""variables":{"x":{"from":"token","at":"/x"}}"#;
    const CALLBACK: &str = r#""variables":{"x":{"from":"callback","at":"x"}}"#;
    const IDENTITY: &str = r#""variables":{"x":{"from":"identity","at":"/x"}}"#;
    const ASKED: &str = r#""identity":{"url":"https://acme.example/me","id":"/id","label":"/id"}"#;
    let minted = r#"{"type":"client_credentials","token_url":"https://acme.example"}"#;
    for (way, beside, ok) in [
        (r#"{"type":"api_key"}"#, TOKEN, false),
        (r#"{"type":"api_key"}"#, CALLBACK, false),
        (minted, TOKEN, true),
        (minted, CALLBACK, false),
        (minted, IDENTITY, false),
        (minted, &format!("{IDENTITY},{ASKED}"), true),
        (r#"{"type":"oauth2","issuer":"https://acme.example"}"#, CALLBACK, true),
    ] {
        let json = format!(
            r#"{{"id":"acme","name":"Acme","auth":{way},{beside},"request":{{"base_url":"https://acme.example/{{x}}/"}}}}"#
        );
        match read_definition(&json, EgressPolicy::Public) {
            Ok(_) => assert!(ok, "{json}"),
            Err(problems) => {
                assert!(!ok, "{json}: {problems:?}");
                assert_eq!(problems[0].field, "auth", "{problems:?}");
                assert!(problems[0].problem.contains("let it come from person"), "{problems:?}");
            }
        }
    }
    let asked = ASKED.replace("/me", "/{x}");
    let (at, said) = first_method_problem(minted, &format!(",{IDENTITY},{asked}"));
    assert_eq!((at.as_str(), said.contains("only its answer tells")), ("identity.url", true), "{said}");
    let (at, _) = first_method_problem(minted, &format!(",{}", ASKED.replace("/me", "/{account_id}")));
    assert_eq!(at, "identity.url");
}

/// Every refusal has an error.
#[test]
fn every_refusal_has_an_error() {
    for kind in CredentialKind::ALL.map(CredentialKind::as_str) {
        for fields in
            ["", r#","fields":[]"#, r#","fields":[{"id":"a","label":"A"}]"#, r#","fields":[{"id":"{","label":"A"}]"#]
        {
            for more in ["", r#","token_url":"https://acme.example/t""#, r#","header":"X""#, r#","query":"k""#] {
                let json = format!(r#"{{"id":"acme","name":"Acme","auth":{{"type":"{kind}"{fields}{more}}}}}"#);
                if let Err(problems) = read_definition(&json, EgressPolicy::Public) {
                    assert!(!problems.is_empty(), "{json}");
                }
            }
        }
    }
}

#[test]
fn the_password_grant_is_refused_in_every_spelling() {
    let complaints = |grant_type: &str| {
        let json = format!(
            r#"{{"id":"acme","name":"Acme","auth":{{"type":"client_credentials","token_url":"https://acme.example/t",
            "grant_type":{}}}}}"#,
            serde_json::json!(grant_type)
        );
        read_definition(&json, EgressPolicy::Public).map(|_| ()).map_err(|problems| problems[0].field.clone())
    };
    for wrong in [
        "password",
        "Password",
        " password",
        "password\u{200b}",
        "pass-word",
        "http://auth0.com/oauth/grant-type/password-realm",
        "ropc",
    ] {
        assert_eq!(complaints(wrong), Err("auth.grant_type".to_owned()), "{wrong}");
    }
    for fine in ["client_credentials", "account_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"] {
        assert_eq!(complaints(fine), Ok(()), "{fine}");
    }
}

#[test]
fn authorize_and_token_addresses_may_not_contain_protocol_parameters() {
    for (address, member) in [
        ("https://acme.example/authorize?response_type=token", "authorize_url"),
        ("https://acme.example/authorize?a=b&state=x", "authorize_url"),
        ("https://acme.example/token?grant_type=password&username=u&password=p", "token_url"),
        ("https://acme.example/token?GRANT_TYPE=password", "token_url"),
    ] {
        let (authorize, token) = match member {
            "authorize_url" => (address, "https://acme.example/token"),
            _ => ("https://acme.example/authorize", address),
        };
        let json = format!(
            r#"{{"id":"acme","name":"Acme","auth":{{"type":"oauth2","authorize_url":"{authorize}","token_url":"{token}"}}}}"#
        );
        let problems = read_definition(&json, EgressPolicy::Public).unwrap_err();
        assert_eq!(problems[0].field, format!("auth.{member}"), "{address}");
    }
}
