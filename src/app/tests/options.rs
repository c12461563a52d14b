//! Every option of docs/catalogue.md has its effect.

use super::*;
use crate::app::OutboundMethod;

fn method_with(ways: &str, beside: &str) -> Rc<AuthMethod> {
    parse_method(&format!(r#"{{"id":"acme","name":"Acme","auth":{ways}{beside}}}"#))
}

fn oauth_server_with(options: &str) -> OAuthServer {
    let json = SMALLEST_FIXED.replacen(r#""type": "oauth2","#, &format!(r#""type": "oauth2", {options},"#), 1);
    parse_method(&json).require_oauth_server().unwrap().clone()
}

fn fill_params(params: &ParamTemplates) -> Vec<(String, String)> {
    fill_templates(params, &TemplateValues::new()).unwrap().into_iter().collect()
}

fn single_param(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

#[test]
fn every_option_of_an_oauth_server_is_read() {
    let auth_method = parse_method(
        r#"{"id":"full","name":"Full","categories":["files"],"docs":"https://full.example/docs","sources":["https://full.example/a"],
        "client_family":"vendor","auth":{"type":"oauth2","authorize_url":"https://full.example/a","token_url":"https://full.example/t",
        "refresh_url":"https://full.example/r","revoke_url":"https://full.example/x","client_auth":"body","refresh_client_auth":"none",
        "body":"json","scope_separator":",","authorize_params":{"prompt":"consent"},"token_params":{"a":"b"},"refresh_params":{"c":"d"},
        "more_scopes_params":{"e":"f"},"token_headers":{"X-Version":"1"},"login_hint":true,"pkce":false,"send_scope_on_refresh":true,
        "exchange_redirect_uri":false,"refresh_redirect_uri":true,"rotation":{"grace":30},
        "revoke":{"kills":"token","style":"bearer","authenticate":false},"access_token_lifetime":3600,"refresh_token_lifetime":86400,
        "refresh_token_idle":100,"grant_lifetime":1000,"connect_help":["Tick all."],
        "response":{"access_token":"/authed_user/access_token","refresh_token":"/r","expires_in":"/e","scope":"/s","token_type":"/y",
        "refresh_expires_in":"/z","scope_separator":" "}},
        "scopes":["a",{"id":"b","description":"B","required":true,"default":false},{"id":"c","default":false}],
        "identity":{"method":"POST","url":"https://api.full.example/me","headers":{"X-A":"b"},"body":"null","id":"/id","label":["/email","/id"]},
        "check":{"url":"https://api.full.example/ping"},
        "nothing_shared":{"method":"POST","url":"https://list.full.example/","body":"{}","at":"/list","say":"Share."},
        "request":{"base_url":"https://api.full.example/v1/","headers":{"X-Token":"{access_token}","X-Version":"2"}},
        "errors":{"permanent":["gone"],"client":["bad_app"],"configuration":["x"],"transient":["y"],"error":"/error/code","codes":"/error_codes"}}"#,
    );
    let oauth2 = auth_method.require_oauth_server().unwrap();
    assert_eq!((oauth2.client_auth, oauth2.refresh_client_auth), (Some(ClientAuth::Body), Some(ClientAuth::None)));
    assert_eq!((oauth2.body_encoding, oauth2.scope_separator.as_str()), (BodyEncoding::Json, ","));
    assert_eq!(fill_params(&oauth2.authorize_params), single_param("prompt", "consent"));
    assert_eq!(fill_params(&oauth2.token_params), single_param("a", "b"));
    assert_eq!(fill_params(&oauth2.refresh_params), single_param("c", "d"));
    assert_eq!(fill_params(&oauth2.more_scopes_params), single_param("e", "f"));
    assert_eq!(oauth2.token_headers["X-Version"], "1");
    assert!(oauth2.login_hint && !oauth2.pkce && oauth2.send_scope_on_refresh);
    assert!(!oauth2.exchange_redirect_uri && oauth2.refresh_redirect_uri);
    assert_eq!(oauth2.rotation, RefreshTokenRotation::Grace(30));
    assert_eq!((oauth2.revoke.effect, oauth2.revoke.style), (RevocationEffect::Token, RevokeStyle::Bearer));
    assert!(!oauth2.revoke.authenticate);
    assert_eq!((oauth2.access_token_lifetime, oauth2.refresh_token_lifetime), (Some(3600), Some(86_400)));
    assert_eq!((oauth2.refresh_token_idle, oauth2.grant_lifetime), (Some(100), Some(1000)));
    assert_eq!(oauth2.connect_help, ["Tick all."]);
    let at = &oauth2.response;
    let places =
        [&at.access_token, &at.refresh_token, &at.expires_in, &at.scope, &at.token_type].map(JsonPointer::as_str);
    assert_eq!(places, ["/authed_user/access_token", "/r", "/e", "/s", "/y"]);
    assert_eq!(
        (at.refresh_expires_in.as_ref().map(JsonPointer::as_str), at.scope_separator.as_deref()),
        (Some("/z"), Some(" "))
    );
    let shared = auth_method.nothing_shared.as_ref().unwrap();
    assert_eq!((shared.probe.method, shared.probe.body.as_deref()), (OutboundMethod::Post, Some("{}")));
    assert_eq!((shared.list.as_str(), shared.message.as_str()), ("/list", "Share."));
    assert_eq!(auth_method.default_scopes(), ["a", "b"]);
    assert_eq!(auth_method.scopes_to_request(&["c".into(), "c".into()]), ["b", "c"]);
    assert_eq!(auth_method.registration(), "vendor");
    let dressed = auth_method.request.prepare(&TemplateValues::new().with("access_token", "t0ken")).unwrap();
    assert_eq!(dressed.headers["X-Token"], "t0ken");
    assert_eq!(dressed.base_url.as_deref(), Some("https://api.full.example/v1/"));
    assert_eq!(
        auth_method.resolve_fixed_endpoints(&TemplateValues::new()).unwrap().unwrap().refresh_url.as_str(),
        "https://full.example/r"
    );
    assert_eq!(
        (auth_method.errors.error[0].as_str(), auth_method.errors.permanent[0].as_str()),
        ("/error/code", "gone")
    );
}

#[test]
fn every_value_of_an_oauth_server_option_is_read() {
    for (word, auth) in [
        ("basic", ClientAuth::Basic),
        ("basic_raw", ClientAuth::BasicRaw),
        ("basic_secret", ClientAuth::BasicSecret),
        ("body", ClientAuth::Body),
        ("none", ClientAuth::None),
        ("private_key_jwt", ClientAuth::PrivateKeyJwt),
    ] {
        let option = format!(r#""refresh_client_auth":"{word}","revoke":{{"client_auth":"{word}"}}"#);
        let read = oauth_server_with(&option);
        assert_eq!((read.refresh_client_auth, read.revoke.client_auth), (Some(auth), Some(auth)), "{word}");
    }
    let revoke = oauth_server_with(
        r#""revoke":{"method":"DELETE","body":"json","params":{"access_token":"{token}","account":"{account_id}"},"headers":{"X-A":"b"}}"#,
    )
    .revoke;
    assert_eq!((revoke.method, revoke.body_encoding), (OutboundMethod::Delete, Some(BodyEncoding::Json)));
    assert_eq!(revoke.params.unwrap()["account"].to_string(), "{account_id}");
    assert_eq!(revoke.headers["X-A"], "b");
    assert_eq!(
        oauth_server_with(r#""pkce":true"#).revoke,
        RevocationConfig { effect: RevocationEffect::Grant, ..RevocationConfig::default() }
    );
    let help =
        oauth_server_with(r#""client_help":{"url":"https://acme.example/apps#new","steps":["Enter {redirect_uri}."]}"#)
            .client_help;
    let approval =
        oauth_server_with(r#""approval":{"codes":["admin"],"url":"https://acme.example/admins","steps":["Ask."]}"#);
    let url = Some("https://acme.example/admins".to_owned());
    assert_eq!(approval.approval, Some(AdminApproval { codes: vec!["admin".into()], url, steps: vec!["Ask.".into()] }));
    let steps = vec!["Enter {redirect_uri}.".to_owned()];
    assert_eq!(help, Some(ClientHelp { url: "https://acme.example/apps#new".into(), steps }));
}

#[test]
fn rotations_are_read() {
    for (text, rotation) in [
        (r#""none""#, RefreshTokenRotation::None),
        (r#""reissue""#, RefreshTokenRotation::Reissue),
        (r#""strict""#, RefreshTokenRotation::Strict),
        (r#"{"grace":30}"#, RefreshTokenRotation::Grace(30)),
    ] {
        let json = SMALLEST_FIXED.replace(r#""rotation": "strict""#, &format!(r#""rotation": {text}"#));
        assert_eq!(parse_method(&json).rotation(), rotation, "{text}");
    }
    assert_eq!(parse_method(SMALLEST_ISSUER).rotation(), RefreshTokenRotation::Strict);
}

#[test]
fn further_tokens_have_their_own_pointers_and_scopes() {
    let server = oauth_server_with(
        r#""tokens":{"user":{"access_token":"/u/access_token","refresh_token":"/u/rt","expires_in":"/u/e","scope":"/u/s",
        "token_type":"/u/t","scope_param":"user_scope"},"bare":{"access_token":"/b","scope_param":"bare_scope"}}"#,
    );
    let user = &server.tokens["user"];
    assert_eq!(user.scope_param, "user_scope");
    let at = &user.response;
    let places =
        [&at.access_token, &at.refresh_token, &at.expires_in, &at.scope, &at.token_type].map(JsonPointer::as_str);
    assert_eq!(places, ["/u/access_token", "/u/rt", "/u/e", "/u/s", "/u/t"]);
    // Missing options must not be taken from the first token.
    let at = &server.tokens["bare"].response;
    for (place, usual) in
        [(&at.refresh_token, "/refresh_token"), (&at.expires_in, "/expires_in"), (&at.scope, "/scope")]
    {
        assert_ne!(place.as_str(), usual);
    }
    let scopes: Vec<String> = ["chat:write", "user:search:read", "read", "bare:x"].map(str::to_owned).to_vec();
    assert_eq!(server.scopes_for_token(None, &scopes), ["chat:write", "read"]);
    assert_eq!(server.scopes_for_token(Some("user"), &scopes), ["search:read"]);
    assert_eq!(server.scopes_for_token(Some("bare"), &scopes), ["x"]);
}

#[test]
fn variables_are_read_from_every_source() {
    let auth_method = method_with(
        r#"{"type":"oauth2","authorize_url":"https://{shop}.acme.example/a","token_url":"https://{tenant}/t"}"#,
        r#","variables":{"shop":{"label":"Shop","help":"Its name.","example":"acme","pattern":"[a-z]+","default":"main"},
        "tenant":{"label":"Tenant","from":"client","default":"acme.example"},"instance":{"from":"token","at":"/instance_url","pattern":"https://.+"},
        "cloud":{"from":"identity","at":"/0/id"},"realm":{"from":"callback","at":"realmId"},"unused":{"label":"Unused"}},
        "identity":{"url":"https://acme.example/me","id":"/0/id","label":"/0/name"},"request":{"base_url":"{instance}/{cloud}/{realm}/"}"#,
    );
    let from = |name: &str| auth_method.variables[name].source.clone();
    assert_eq!((from("shop"), from("tenant")), (VariableSource::Person, VariableSource::Client));
    assert_eq!(from("instance"), VariableSource::Token(JsonPointer::parse("/instance_url").unwrap()));
    assert_eq!(from("cloud"), VariableSource::Identity(JsonPointer::parse("/0/id").unwrap()));
    assert_eq!(from("realm"), VariableSource::Callback("realmId".into()));
    assert!(!auth_method.variables.contains_key("unused"), "nobody is asked for what this way does not use");
    let shop = &auth_method.variables["shop"];
    assert_eq!(
        (shop.label.as_str(), shop.help.as_deref(), shop.example.as_deref()),
        ("Shop", Some("Its name."), Some("acme"))
    );
    assert_eq!((shop.pattern.as_ref().map(Pattern::as_str), shop.default.as_deref()), (Some("[a-z]+"), Some("main")));
    let values = TemplateValues::new().with("shop", "acme").with("tenant", "acme.example");
    let endpoints = auth_method.resolve_fixed_endpoints(&values).unwrap().unwrap();
    assert_eq!(endpoints.authorize_url.unwrap().as_str(), "https://acme.acme.example/a");
    let values = values
        .with("access_token", "t")
        .with("instance", "https://na1.acme.example")
        .with("cloud", "c")
        .with("realm", "7");
    assert_eq!(
        auth_method.request.prepare(&values).unwrap().base_url.as_deref(),
        Some("https://na1.acme.example/c/7/")
    );
}

#[test]
fn a_variable_is_part_of_a_host_name_and_cannot_change_the_path() {
    let auth_method = method_with(
        r#"{"type":"api_key","check":{"url":"https://{x}.acme.example/"}}"#,
        r#","variables":{"x":{"label":"X"}}"#,
    );
    let x = &auth_method.variables["x"];
    for good in ["acme", "a.b", "A_b~c-1"] {
        assert_eq!(x.parse_value(good).as_deref(), Ok(good));
    }
    for bad in ["", ".", "..", "a/b", "a b", "é", "https://acme.example", &"a".repeat(256)] {
        assert!(x.parse_value(bad).is_err(), "{bad}");
    }
}

#[test]
fn without_a_client_the_person_provides_the_variables() {
    let app = parse_app(
        r#"{"id":"acme","name":"Acme","variables":{"tenant":{"label":"Tenant","from":"client"}},"auth":[
        {"type":"oauth2","authorize_url":"https://{tenant}/a","token_url":"https://{tenant}/t"},
        {"type":"api_key","check":{"url":"https://{tenant}/me"}}]}"#,
    );
    let from = |at: usize| app.auth_methods()[at].variables["tenant"].source.clone();
    assert_eq!((from(0), from(1)), (VariableSource::Client, VariableSource::Person));
}

#[test]
fn every_option_of_a_field_is_read() {
    let auth_method = method_with(
        r#"{"type":"api_key","fields":[{"id":"site","label":"Site","secret":false},{"id":"key","label":"Key","help":"Under Settings.",
        "url":"https://acme.example/keys#new","optional":true,"multiline":true,"placeholder":"rk_…","pattern":"rk_[a-z]+",
        "pattern_help":"A key begins with rk_.","marks":[{"prefix":"rk_test_","label":"test mode","refuse":"No.","warn":"Hm."}]}]}"#,
        "",
    );
    let site = &auth_method.fields[0];
    assert!(!site.secret && !site.optional && !site.multiline && site.pattern.is_none() && site.marks.is_empty());
    let key = &auth_method.fields[1];
    assert!(key.secret && key.optional && key.multiline);
    assert_eq!(
        (key.help.as_deref(), key.url.as_deref()),
        (Some("Under Settings."), Some("https://acme.example/keys#new"))
    );
    assert_eq!(
        (key.placeholder.as_deref(), key.pattern_help.as_deref()),
        (Some("rk_…"), Some("A key begins with rk_."))
    );
    assert_eq!(key.pattern.as_ref().map(Pattern::as_str), Some("rk_[a-z]+"));
    let (label, refuse, warn) = (Some("test mode".into()), Some("No.".into()), Some("Hm.".into()));
    assert_eq!(
        key.marks,
        [PrefixMark { prefix: "rk_test_".into(), label, account: None, environment: None, refuse, warn }]
    );
    assert_eq!(auth_method.first_secret_field(), Some("key"));
}

#[test]
fn every_option_of_scopes_is_read() {
    let auth_method = method_with(
        r#"{"type":"oauth2","issuer":"https://acme.example"}"#,
        r#","scopes":["read",{"id":"all","description":"All","default":false,"includes":["read","send"],"sensitive":"Needs a review."},
        {"id":"offline","required":true,"answered":false},"send"]"#,
    );
    let texts = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let [read, all, offline, _] = auth_method.scopes.as_slice() else { panic!() };
    assert!(read.default && read.answered && !read.required);
    assert_eq!(
        (all.description.as_deref(), all.sensitive.as_deref(), all.default),
        (Some("All"), Some("Needs a review."), false)
    );
    assert_eq!(all.includes, ["read", "send"]);
    assert!(offline.required && !offline.answered);
    assert!(
        auth_method.is_scope_granted(&texts(&["all"]), "send")
            && auth_method.is_scope_granted(&texts(&["send"]), "send")
    );
    assert!(!auth_method.is_scope_granted(&texts(&["send"]), "all") && !auth_method.is_scope_granted(&[], "read"));
    // A scope that includes others grants them. A scope that is never listed counts as granted if it was requested.
    assert_eq!(
        auth_method.granted_scopes(&texts(&["all"]), &texts(&["all", "offline"])),
        ["all", "read", "send", "offline"]
    );
    assert_eq!(auth_method.granted_scopes(&texts(&["read"]), &texts(&["read"])), ["read"]);
}

#[test]
fn every_option_of_identity_and_check_is_read() {
    use StatusMeaning::{Forbidden, Refused, Unknown, Works};
    let auth_method = method_with(
        r#"{"type":"bot_token","fields":[{"id":"team","label":"Team","secret":false},{"id":"token","label":"Token"}]}"#,
        r#","identity":{"method":"POST","url":"https://acme.example/{token}/me","headers":{"X-A":"{token}"},"body":"{}","id":["{/team/id}:{/user}","/user"],
        "label":"{/name} at {team}","statuses":{"403":"works","404":"refused","409":"forbidden","410":"unknown"},
        "scopes":{"header":"X-Scopes","separator":","}},"check":{"url":"https://acme.example/{token}/ping","statuses":{"400":"works"}}"#,
    );
    let identity = auth_method.identity.as_ref().unwrap();
    let probe = identity.probe.as_ref().unwrap();
    assert_eq!((probe.method, probe.body.as_deref()), (OutboundMethod::Post, Some("{}")));
    let meanings: Vec<_> = probe.statuses.iter().map(|(status, meaning)| (*status, *meaning)).collect();
    assert_eq!(meanings, [(403, Works), (404, Refused), (409, Forbidden), (410, Unknown)]);
    assert_eq!(identity.scopes, Some(ScopesHeader { header: "x-scopes".into(), separator: ",".into() }));
    assert_eq!(
        probe.fill_url(&TemplateValues::new().with("token", "1:a")).unwrap().as_str(),
        "https://acme.example/1:a/me"
    );
    let answer = serde_json::json!({ "team": { "id": "T1" }, "user": 7, "name": "Ada" });
    let values = TemplateValues::new().with("team", "Red");
    assert_eq!(identity.account.id[0].extract(&answer, &values).as_deref(), Some("T1:7"));
    assert_eq!(identity.account.id[1].extract(&answer, &values).as_deref(), Some("7"));
    assert_eq!(identity.account.label[0].extract(&answer, &values).as_deref(), Some("Ada at Red"));
    assert_eq!(auth_method.check.as_ref().unwrap().statuses[&400], Works);
    let auth_method = method_with(
        r#"{"type":"oauth2","issuer":"https://acme.example"}"#,
        r#","identity":{"from":"token","id":"/user/id","label":["/user/email","/user/id"]}"#,
    );
    assert!(
        auth_method.identity.as_ref().unwrap().probe.is_none()
            && auth_method.identity.as_ref().unwrap().named_by.is_none()
    );
    let auth_method = method_with(
        r#"{"type":"oauth2","authorize_url":"https://acme.example/a","token_url":"https://acme.example/t"}"#,
        r#","identity":{"from":"token","id":"/user","label":"/user","named_by":{"url":"https://who.example/me","label":["/name","/email"]}}"#,
    );
    let named_by = auth_method.identity.as_ref().unwrap().named_by.as_ref().unwrap();
    assert_eq!((named_by.probe.method, named_by.label.len()), (OutboundMethod::Get, 2));
}

#[test]
fn errors_and_limits_are_read() {
    let auth_method = method_with(
        r#"{"type":"api_key","deprecated":"Ends in 2027."}"#,
        r#","errors":{"error":["/error/code","/error"],"retry_after":"/wait","codes":"/codes"},
        "limits":{"grants_per_account":100,"one_per_account":"They share a bot.","notes":["Slow."]}"#,
    );
    let pointers: Vec<_> = auth_method.errors.error.iter().map(JsonPointer::as_str).collect();
    assert_eq!(pointers, ["/error/code", "/error"]);
    assert_eq!(auth_method.errors.retry_after.as_ref().map(JsonPointer::as_str), Some("/wait"));
    assert_eq!(auth_method.errors.codes.as_ref().map(JsonPointer::as_str), Some("/codes"));
    assert_eq!(auth_method.deprecated.as_deref(), Some("Ends in 2027."));
    let notes = vec!["Slow.".to_owned()];
    let one_per_account = Some("They share a bot.".to_owned());
    assert_eq!(auth_method.limits, Limits { grants_per_account: Some(100), one_per_account, notes });
    let plain = parse_method(SMALLEST_FIXED);
    assert_eq!((plain.errors.error[0].as_str(), plain.errors.error.len()), ("/error", 1));
    assert_eq!(plain.limits, Limits::default());
}

#[test]
fn grants_without_a_person_have_their_own_options() {
    const TOKEN_URL: &str = r#""token_url":"https://acme.example/t""#;
    let auth_method = method_with(
        &format!(
            r#"{{"type":"client_credentials",{TOKEN_URL},"grant_type":"account_credentials","token_params":{{"account_id":"{{account}}"}},
        "fields":[{{"id":"account","label":"Account","secret":false}},{{"id":"client_id","label":"Id","secret":false}},
        {{"id":"client_secret","label":"Secret"}}]}}"#
        ),
        "",
    );
    let server = auth_method.require_oauth_server().unwrap();
    assert_eq!(server.grant_type, GrantType::ClientCredentials { grant_type: "account_credentials".into() });
    assert!(auth_method.issues_tokens() && auth_method.rotation() == RefreshTokenRotation::None);
    assert_eq!(server.token_params["account_id"].to_string(), "{account}");
    let usual = method_with(&format!(r#"{{"type":"client_credentials",{TOKEN_URL}}}"#), "");
    assert_eq!(
        usual.require_oauth_server().unwrap().grant_type,
        GrantType::ClientCredentials { grant_type: "client_credentials".into() }
    );

    let pointers = |options: &str| {
        let auth_method = method_with(&format!(r#"{{"type":"service_account",{TOKEN_URL}{options}}}"#), "");
        let GrantType::JwtBearer(at) = auth_method.require_oauth_server().unwrap().grant_type.clone() else { panic!() };
        [at.issuer, at.private_key, at.key_id].map(|pointer| pointer.as_str().to_owned())
    };
    assert_eq!(pointers(""), ["/client_email", "/private_key", "/private_key_id"]);
    assert_eq!(pointers(r#","key_file":{"issuer":"/a","private_key":"/b"}"#), ["/a", "/b", "/private_key_id"]);
    assert_eq!(pointers(r#","key_file":{"issuer":"/a","private_key":"/b","key_id":"/c"}"#), ["/a", "/b", "/c"]);
}
