//! Responses as real apps send them, none of them as the RFCs say.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

fn raw_response(status: u16, body: &[u8]) -> AppResponse {
    AppResponse { status, headers: vec![], body: body.to_vec() }
}

fn read_raw_response(auth_method: &AuthMethod, inbound: AppResponse) -> TokenResponse {
    read_token_response(auth_method, &Ok(inbound), now())
}

fn refusal_of(answer: &TokenResponse) -> Option<(RefusalClass, &str)> {
    match answer {
        TokenResponse::Refused(refusal) => Some((refusal.class, refusal.code.as_str())),
        _ => None,
    }
}

/// Access and refresh token of a success.
fn read_token_pair(auth_method: &AuthMethod, body: &[u8]) -> (String, Option<String>) {
    match read_raw_response(auth_method, raw_response(200, body)) {
        TokenResponse::Tokens(tokens) => {
            let text = |secret: &Secret| secret.expose().to_owned();
            (text(&tokens.access_token), tokens.refresh_token.as_ref().map(text))
        }
        other => panic!("{}: {other:?}", String::from_utf8_lossy(body)),
    }
}

#[test]
fn an_unreadable_member_does_not_affect_the_tokens() {
    let members: [&[u8]; 9] = [
        b"\"Jos\xe9\"",
        b"\"\xff\xfe\"",
        b"{\"name\":\"Jos\xe9\",\"\xe9\":1}",
        br#""\ud83d""#,
        br#""\x41""#,
        b"\"line\nbreak\"",
        b"1e999",
        b"NaN",
        b"[\"\xf0\x9f\"]",
    ];
    for member in members {
        for body in [
            [b"{\"user\":", member, b",\"access_token\":\"a2\",\"refresh_token\":\"r2\"}"].concat(),
            [b"{\"access_token\":\"a2\",\"refresh_token\":\"r2\",\"expires_in\":3600,\"user\":", member, b"}"].concat(),
        ] {
            assert_eq!(
                read_token_pair(&oauth_method(), &body),
                ("a2".into(), Some("r2".into())),
                "{}",
                String::from_utf8_lossy(&body)
            );
        }
    }
    // A token that cannot be read is not a token.
    let spoiled = read_raw_response(
        &oauth_method(),
        raw_response(200, b"{\"access_token\":\"a\xe9\",\"refresh_token\":\"r\xe9\"}"),
    );
    assert!(matches!(spoiled, TokenResponse::Ambiguous(AmbiguousResponse { refresh_token: None, .. })), "{spoiled:?}");
}

#[test]
fn a_readable_refresh_token_of_a_damaged_success_is_kept() {
    for (body, kept) in [
        (r#"{"access_token":"a2","refresh_token":"r2","expires_in":36"#, Some("r2")),
        (r#"{"access_token":"a2","refresh_token":"r2"} trailing"#, Some("r2")),
        (r#"{"refresh_token":"r2","access_token":"a"#, Some("r2")),
        (r#"{"access_token":"a2","refresh_token":"r2"#, None),
        (r#"{"refresh_token":"r2","refresh_token":"r3","x"#, None),
    ] {
        match read_response(&oauth_method(), 200, body) {
            TokenResponse::Ambiguous(odd) => {
                assert_eq!(
                    (odd.reason, odd.refresh_token.as_ref().map(Secret::expose)),
                    ("unreadable_body", kept),
                    "{body}"
                );
            }
            other => panic!("{body}: {other:?}"),
        }
    }
    let refused = read_response(&oauth_method(), 400, r#"{"refresh_token":"is invalid","x"#);
    assert!(matches!(refused, TokenResponse::Ambiguous(AmbiguousResponse { refresh_token: None, .. })), "{refused:?}");
}

#[test]
fn a_form_is_recognised_with_any_content_type() {
    let auth_method = oauth_method_with("", "");
    let found = read_tokens(
        &auth_method,
        "access_token=a%2F1&expires_in=3600&refresh_token=r&scope=read+write&token_type=bearer",
    );
    assert_eq!((found.access_token.expose(), found.refresh_token.as_ref().unwrap().expose()), ("a/1", "r"));
    assert_eq!((found.expires_at, found.lifetime), (Some(now().plus(3600)), Some(3600)));
    assert_eq!(found.scopes, Some(vec!["read".to_owned(), "write".to_owned()]));
    assert_eq!(read_tokens(&auth_method, "1=2&access_token=a").access_token.expose(), "a");
    let refused = read_response(&auth_method, 400, "error=invalid_grant&error_description=expired%20token");
    assert_eq!(refusal_of(&refused), Some((RefusalClass::Permanent, "invalid_grant")));
    for body in ["<a href=?error=invalid_grant>", "the error=invalid_grant came", "error=invalid_grant\nx=1", "q=error"]
    {
        assert!(matches!(read_response(&auth_method, 400, body), TokenResponse::Ambiguous(_)), "{body}");
    }
}

#[test]
fn standard_error_codes_are_found_where_apps_put_them() {
    let auth_method = oauth_method_with("", r#","errors":{"permanent":["grant_gone"]}"#);
    for body in [
        r#"{"error":{"code":"invalid_grant"}}"#,
        r#"{"error":{"code":"INVALID_GRANT","message":"Expired"}}"#,
        r#"{"error":{"type":"invalid_grant"}}"#,
        r#"{"error":{"error":"invalid_grant"}}"#,
        r#"{"error":{"code":400,"type":"invalid_grant"}}"#,
        r#"{"error":{"code":"grant_gone"}}"#,
        r#"{"error":"invalid_grant: the token has expired"}"#,
        r#"{"errors":["invalid_grant - expired"]}"#,
        r#"{"errors":"invalid_grant"}"#,
        r#"{"errors":["Expired.","grant_gone"]}"#,
        r#"{"errors":[{"code":"invalid_grant"}]}"#,
        r#"{"errors":[{"code":"bad_request"},{"code":"invalid_grant"}]}"#,
        r#"{"errors":[{"errorCode":"invalid_grant","message":"x"}]}"#,
        r#"{"error":{"code":400,"errors":[{"reason":"invalid_grant"}]}}"#,
        r#"{"error":["invalid_grant"]}"#,
        r#"{"error-code":"invalid_grant"}"#,
        r#"[{"errorCode":"invalid_grant"}]"#,
        r#"{"code":"invalid_grant","message":"x"}"#,
        r#"{"error_code":"invalid_grant"}"#,
        r#"{"errorCode":"invalid_grant"}"#,
        r#"{"type":"https://acme.example/errors/invalid_grant","title":"x"}"#,
        r#"{"__type":"InvalidGrantException"}"#,
    ] {
        let answer = read_response(&auth_method, 400, body);
        assert_eq!(refusal_of(&answer).map(|(class, _)| class), Some(RefusalClass::Permanent), "{body}: {answer:?}");
    }
    for (header, value) in [
        ("www-authenticate", r#"Bearer realm="x", error="invalid_grant""#),
        ("x-error-code", "invalid_grant"),
        ("x-amzn-errortype", "InvalidGrantException:http://x/"),
    ] {
        let mut inbound = app_response(400, "");
        inbound.headers.push((header.into(), value.into()));
        let answer = read_raw_response(&auth_method, inbound);
        assert_eq!(refusal_of(&answer).map(|(class, _)| class), Some(RefusalClass::Permanent), "{header}: {answer:?}");
    }
    let other = read_response(&auth_method, 401, r#"{"errors":[{"code":"invalid_client"}]}"#);
    assert_eq!(refusal_of(&other), Some((RefusalClass::Client, "invalid_client")));
}

#[test]
fn a_message_for_people_never_ends_a_grant() {
    for body in [
        r#"{"error":{"message":"invalid_grant"}}"#,
        r#"{"error_description":"invalid_grant"}"#,
        r#"{"message":"invalid_grant"}"#,
        r#"{"error":"x","error_description":"invalid_grant"}"#,
        r#"{"error":"this is no invalid_grant"}"#,
        r#"{"errors":["no invalid_grant here"]}"#,
        r#"{"errors":[{"message":"invalid_grant"}]}"#,
        r#"{"code":"invalid_grant_type"}"#,
        r#"{"code":"not_invalid_grant"}"#,
        r#"{"data":{"code":"invalid_grant"}}"#,
        "<html><code>invalid_grant</code></html>",
        "invalid_grant",
        r#"{"error":{"code":"invalid_grant"}"#,
    ] {
        let answer = read_response(&oauth_method(), 400, body);
        assert!(refusal_of(&answer).is_none_or(|(class, _)| class == RefusalClass::Unknown), "{body}: {answer:?}");
    }
    // An unknown code is reported, and ends nothing.
    for (body, code) in [
        (r#"{"error":{"code":"quota_gone"}}"#, "quota_gone"),
        (r#"{"code":4711,"message":"x"}"#, "4711"),
        (r#"{"errors":[{"type":"x.y"}]}"#, "x.y"),
    ] {
        assert_eq!(
            refusal_of(&read_response(&oauth_method(), 400, body)),
            Some((RefusalClass::Unknown, code)),
            "{body}"
        );
    }
    // In a success, other members may have these names.
    assert!(matches!(
        read_response(&oauth_method(), 200, r#"{"type":"bearer","code":7}"#),
        TokenResponse::Ambiguous(_)
    ));
}

#[test]
fn a_lifetime_is_read_in_every_unambiguous_format() {
    let at = now().unix();
    for (value, expected) in [
        (format!("{}", at + 7200), Some(7200)),
        (format!("\"{}\"", at + 7200), Some(7200)),
        (format!("{}000", at + 7200), Some(7200)),
        (format!("{}", at - 10), None),
        (format!("\"{}\"", now().plus(7200).rfc3339()), Some(7200)),
        ("\"Sun, 22 Nov 2026 13:00:00 GMT\"".to_owned(), Some(3600)),
        ("\"3600s\"".to_owned(), Some(3600)),
        ("\"3600.5\"".to_owned(), Some(3600)),
    ] {
        let found = read_tokens(&oauth_method(), &format!(r#"{{"access_token":"a","expires_in":{value}}}"#));
        assert_eq!(found.expires_at, expected.map(|s| now().plus(s)), "{value}");
        assert_eq!(found.lifetime, expected, "{value}");
    }
    for (unit, value, expected) in [
        ("milliseconds", "3600000", 3600),
        ("milliseconds", "2592000000", 2_592_000),
        ("minutes", "60", 3600),
        ("seconds", "3600", 3600),
    ] {
        let auth_method = oauth_method_with(&format!(r#","response":{{"expires_in_unit":"{unit}"}}"#), "");
        let text = format!(r#"{{"access_token":"a","expires_in":{value}}}"#);
        assert_eq!(read_tokens(&auth_method, &text).lifetime, Some(expected), "{unit} {value}");
        let text = format!(r#"{{"access_token":"a","expires_in":{}000}}"#, at + 60);
        assert_eq!(read_tokens(&auth_method, &text).lifetime, Some(60), "{unit}: a Unix time is one in every unit");
    }
    for member in ["expires_at", "expires_on"] {
        let text = format!(r#"{{"access_token":"a","{member}":{}}}"#, at + 60);
        assert_eq!(read_tokens(&oauth_method(), &text).expires_at, Some(now().plus(60)), "{member}");
    }
}

#[test]
fn the_expiry_of_a_jwt_is_an_upper_bound_only() {
    let jwt = |claims: &str| {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", part(r#"{"alg":"RS256"}"#), part(claims))
    };
    let at = now().unix();
    let exp = |seconds: i64| jwt(&format!(r#"{{"exp":{}}}"#, at + seconds));
    for (token, told, expected) in [
        (exp(60), r#","expires_in":3600"#, Some(60)),
        (exp(3600), r#","expires_in":60"#, Some(60)),
        (exp(60), "", Some(60)),
        (exp(-60), r#","expires_in":3600"#, Some(3600)),
        (jwt(r#"{"exp":"soon"}"#), r#","expires_in":3600"#, Some(3600)),
        (jwt("{}"), "", None),
        (format!("{}.x", exp(60)), "", None),
        ("a.b.c".to_owned(), "", None),
    ] {
        let found = read_tokens(&oauth_method(), &format!(r#"{{"access_token":"{token}"{told}}}"#));
        assert_eq!(found.expires_at, expected.map(|s| now().plus(s)), "{token} {told}");
    }
}

#[test]
fn an_issued_token_without_expiry_gets_a_default_lifetime() {
    let auth_method = |lifetime: &str| {
        parse_method(&format!(
            r#"{{"id":"acme","name":"Acme","auth":{{"type":"client_credentials","token_url":"https://acme.example/t"{lifetime}}}}}"#
        ))
    };
    let lives =
        |auth_method: &AuthMethod, body: &str| read_tokens(auth_method, body).expires_at.map(|end| end.since(now()));
    assert_eq!(lives(&auth_method(""), r#"{"access_token":"a"}"#), Some(900));
    assert_eq!(lives(&auth_method(r#","access_token_lifetime":7200"#), r#"{"access_token":"a"}"#), Some(7200));
    assert_eq!(lives(&auth_method(""), r#"{"access_token":"a","expires_in":7200}"#), Some(7200));
}

#[test]
fn scopes_are_split_at_characters_that_no_scope_contains() {
    let read = |auth: &str, scopes: &str, said: &str| {
        let json = format!(
            r#"{{"id":"acme","name":"Acme","auth":{{"type":"oauth2","authorize_url":"https://acme.example/a",
            "token_url":"https://acme.example/t"{auth}}},"scopes":{scopes}}}"#
        );
        read_tokens(&parse_method(&json), &format!(r#"{{"access_token":"a","scope":{said}}}"#)).scopes.unwrap()
    };
    for (auth, scopes, said, expected) in [
        ("", r#"["read"]"#, r#""read,write""#, vec!["read", "write"]),
        ("", r#"["read"]"#, r#""read, write""#, vec!["read", "write"]),
        ("", r#"["read"]"#, r#"["read,write","x"]"#, vec!["read", "write", "x"]),
        ("", r#"["a,b","c"]"#, r#""a,b c""#, vec!["a,b", "c"]),
        (r#","scope_separator":",""#, r#"["read"]"#, r#""read write""#, vec!["read", "write"]),
        (r#","scope_separator":",""#, r#"["read"]"#, r#""read,write""#, vec!["read", "write"]),
    ] {
        assert_eq!(read(auth, scopes, said), expected, "{auth} {scopes} {said}");
    }
}

#[test]
fn a_probe_response_is_judged_by_content_and_not_by_content_type() {
    use ProbeOutcome::{Forbidden, Inconclusive, Refused, Works};
    let auth_method = oauth_method();
    let labelled = |status, kind: &str, body: &[u8]| {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        read_probe_response(
            &auth_method,
            identity_and_probe(&auth_method).1,
            &Ok(AppResponse { status, headers, body: body.to_vec() }),
            now(),
        )
    };
    assert_eq!(labelled(200, "text/html; charset=utf-8", br#"{"id":"u1"}"#), Works);
    assert_eq!(labelled(200, "text/html", b""), Inconclusive);
    assert_eq!(labelled(200, "application/json", b"  <!DOCTYPE html><p>Sign in"), Inconclusive);
    assert_eq!(labelled(200, "text/plain", b"ok"), Works);
    let challenged = |status, challenge: &str| {
        let headers = vec![("www-authenticate".to_owned(), challenge.to_owned())];
        read_probe_response(
            &auth_method,
            identity_and_probe(&auth_method).1,
            &Ok(AppResponse { status, headers, body: vec![] }),
            now(),
        )
    };
    assert_eq!(challenged(403, r#"Bearer error="invalid_token""#), Refused);
    assert_eq!(challenged(400, r#"Bearer error="invalid_token""#), Refused);
    assert_eq!(challenged(401, r#"Bearer error="insufficient_scope""#), Forbidden);
    assert_eq!(challenged(403, r#"Bearer error="insufficient_scope""#), Forbidden);
    let latin = raw_response(200, b"{\"id\":\"u1\",\"email\":\"a@b.example\",\"city\":\"Orl\xe9ans\"}");
    let account = read_method_account(&auth_method, &latin, &TemplateValues::new());
    assert_eq!(account.unwrap().id, "u1");
    // Two unreadable ids may look equal.
    for id in [&b"\"Jos\xe9\""[..], b"\"Jos\xe8\"", br#""Jos\ud83d""#] {
        let inbound = raw_response(200, &[b"{\"id\":", id, b"}"].concat());
        assert_eq!(read_method_account(&auth_method, &inbound, &TemplateValues::new()), Err(Inconclusive));
    }
    let html = AppResponse {
        status: 200,
        headers: vec![("content-type".into(), "text/html".into())],
        body: br#"{"id":"u1","email":"a@b.example"}"#.to_vec(),
    };
    assert_eq!(read_method_account(&auth_method, &html, &TemplateValues::new()).unwrap().label, "a@b.example");
}

#[test]
fn code_and_redirect_uri_are_sent_with_the_apps_names() {
    let auth_method = parse_method(
        r#"{"id":"acme","name":"Acme","variables":{"redirect_name":{"label":"RuName","from":"client"}},
        "auth":{"type":"oauth2","authorize_url":"https://acme.example/a","token_url":"https://acme.example/t",
        "exchange_code_param":"auth_code","redirect_uri":"{redirect_name}","refresh_redirect_uri":true}}"#,
    );
    assert!(auth_method.variables.contains_key("redirect_name"));
    let (endpoints, client, nowhere) = (endpoints(&auth_method), client_identity(), Rc::default());
    let with = |values: &TemplateValues| {
        let of = TokenRequestContext {
            server: auth_method.require_oauth_server().unwrap(),
            endpoints: &endpoints,
            client: &client,
            values,
            destinations: &nowhere,
        };
        let exchange = build_exchange_request(&of, &Secret::new("c"), "https://x.example/cb", None)?;
        let refresh = build_refresh_request(&of, &Secret::new("r"), &[], "https://x.example/cb")?;
        Ok::<_, crate::app::RequestError>((body(&exchange).to_owned(), body(&refresh).to_owned()))
    };
    let (exchange, refresh) = with(&TemplateValues::new().with("redirect_name", "Acme-Inc-1_x")).unwrap();
    assert_eq!(exchange, "grant_type=authorization_code&auth_code=c&redirect_uri=Acme-Inc-1_x");
    assert_eq!(refresh, "grant_type=refresh_token&refresh_token=r&redirect_uri=Acme-Inc-1_x");
    for address in ["https://evil.example/", "evil.example/cb", "a b", ""] {
        assert!(with(&TemplateValues::new().with("redirect_name", address)).is_err(), "{address}");
    }
}

/// The new refresh token of a response, whatever its class is.
fn kept_of(answer: &TokenResponse) -> Option<&str> {
    match answer {
        TokenResponse::Tokens(tokens) => tokens.refresh_token.as_ref(),
        TokenResponse::Ambiguous(odd) => odd.refresh_token.as_ref(),
        TokenResponse::Refused(_) => None,
    }
    .map(Secret::expose)
}

#[test]
fn unusual_token_values_are_read() {
    let utf16: Vec<u8> =
        r#"{"access_token":"a2","refresh_token":"r2"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in [
        &br#"[{"access_token":"a2","refresh_token":"r2"}]"#[..],
        br#""{\"access_token\":\"a2\",\"refresh_token\":\"r2\"}""#,
        b"{\"access_token\":\"a2\",\"refresh_token\":\"r2\"}\0\0",
        b"\xef\xbb\xbf{\"access_token\":\"a2\",\"refresh_token\":\"r2\"}\x0b\xc2\xa0\r\n",
        br#"{"access_token":"a2\r\n","refresh_token":"r2\n"}"#,
        br#"{"access_token":"Bearer a2","refresh_token":"r2"}"#,
        br#"{"access_token":"a2","access_token":"a2","refresh_token":"r2","refresh_token":"r2"}"#,
        br#"{"access_token":"a2","refresh_token":"r2","scope":null,"expires_in":[],"token_type":{}}"#,
        br#"{"access_token":"a2","refresh_token":"r2","error":null,"errors":[],"code":0}"#,
        br#"{"access_token":"a2","refresh_token":"r2","error":"","error_description":"invalid_grant"}"#,
        &utf16,
    ] {
        assert_eq!(
            read_token_pair(&oauth_method(), body),
            ("a2".into(), Some("r2".into())),
            "{}",
            String::from_utf8_lossy(body)
        );
    }
    assert_eq!(
        read_token_pair(&oauth_method(), br#"{"access_token":12345678901234567890,"refresh_token":9007199254740993}"#)
            .1
            .unwrap(),
        "9007199254740993"
    );
    assert_eq!(
        read_token_pair(&oauth_method(), br#"{"access_token":"a2","refresh_token":"r\u00e92"}"#).1.unwrap(),
        "r\u{e9}2"
    );
    let other = oauth_method_with(r#","response":{"token_type":"/kind"}"#, "");
    assert_eq!(read_token_pair(&other, br#"{"access_token":"MAC a2","kind":"mac"}"#).0, "a2");
}

#[test]
fn a_readable_refresh_token_is_never_dropped() {
    for body in [
        &b"<br />\n<b>Warning</b>: x {y} in z\n{\"access_token\":\"a2\",\"refresh_token\":\"r2\"}"[..],
        b")]}',\n{\"access_token\":\"a2\",\"refresh_token\":\"r2\"}",
        b"callback({\"access_token\":\"a2\",\"refresh_token\":\"r2\"});",
        b"{\"access_token\":\"a2\",\"refresh_token\":\"r2\"}<!-- served by 4 -->",
        b"access_token=a2&refresh_token=r2&scope=read write",
        br#"[{"access_token":"a2","refresh_token":"r2"},{}]"#,
        br#"{"access_token":null,"refresh_token":"r2"}"#,
        br#"{"access_token":"a 2","refresh_token":"r2"}"#,
        br#"{"access_token":"a2","access_token":"a3","refresh_token":"r2"}"#,
        b"{\"access_token\":\"\xe92\",\"refresh_token\":\"r2\"}",
        b"{\"access_token\":\"a2\",\"refresh_token\":\"r2\",\"x\":nul}",
        br#"{"error":"invalid_grant","refresh_token":"r2"}"#,
        b"access_token=a2&refresh_token=r2&name=Jos\xe9",
        b"access_token=a2&refresh_token=r2\0",
        b"?access_token=a2&refresh_token=r2",
        b"access_token=a2&refresh_token=r2&flag",
    ] {
        let answer = read_raw_response(&oauth_method(), raw_response(200, body));
        assert_eq!(kept_of(&answer), Some("r2"), "{}: {answer:?}", String::from_utf8_lossy(body));
    }
    // A response to something else than a token request contains none.
    for (status, body) in [
        (200, &b"<p>access_token=a2&refresh_token=r2</p>"[..]),
        (400, br#"x {"refresh_token":"r2"}"#),
        (200, br#"{"refresh_token":"r2","refresh_token":"r3"}"#),
    ] {
        let answer = read_raw_response(&oauth_method(), raw_response(status, body));
        assert_eq!(kept_of(&answer), None, "{}: {answer:?}", String::from_utf8_lossy(body));
    }
}

#[test]
fn a_lifetime_is_read_as_duration_or_time_with_or_without_zone() {
    let at = now().unix();
    let end = now().plus(7200);
    let zoned = end.rfc3339();
    let plain = zoned.trim_end_matches('Z').to_owned();
    for (member, value, expected) in [
        ("expires_in", "3600.0".to_owned(), Some(3600)),
        ("expires_in", "\"3600.0\"".to_owned(), Some(3600)),
        ("expires_in", "\" 3600 \"".to_owned(), Some(3600)),
        ("expires_in", "\"PT2H\"".to_owned(), Some(7200)),
        ("expires_in", "\"PT7200S\"".to_owned(), Some(7200)),
        ("expires_in", "\"P1DT1H30M0.5S\"".to_owned(), Some(91_800)),
        ("expires_in", "\"P60D\"".to_owned(), Some(5_184_000)),
        ("expires_in", "\"P1W\"".to_owned(), Some(604_800)),
        ("expires_in", "\"P1M\"".to_owned(), None),
        ("expires_in", "\"PT\"".to_owned(), None),
        ("expires_in", "\"3600 seconds\"".to_owned(), Some(3600)),
        ("expires_in", "\"02:00:00\"".to_owned(), Some(7200)),
        ("expires_in", "\"1.02:00:00\"".to_owned(), Some(93_600)),
        ("expires_in", "-1".to_owned(), None),
        ("expires_in", "0".to_owned(), None),
        ("expires_in", "\"never\"".to_owned(), None),
        ("expires_in", "true".to_owned(), None),
        ("expires_in", "1e309".to_owned(), None),
        ("expires_in", "\"inf\"".to_owned(), None),
        ("expires_in", "[3600]".to_owned(), None),
        ("expires_in", format!("\"{plain}\""), Some(7200)),
        ("expires_in", format!("\"{}\"", plain.replace('T', " ")), Some(7200)),
        ("expires_in", format!("\"{plain}.123\""), Some(7200)),
        ("expires_in", format!("\"{plain}+0000\""), Some(7200)),
        ("expires_in", format!("\"{} UTC\"", plain.replace('T', " ")), Some(7200)),
        ("expires_in", format!("\"/Date({}000)/\"", at + 7200), Some(7200)),
        ("expires_at", format!("\"{plain}\""), Some(7200)),
        ("expires_at", format!("\"{zoned}\""), Some(7200)),
        ("expires_at", format!("{}", at + 7200), Some(7200)),
        ("expires_at", format!("{}000", at + 7200), Some(7200)),
        ("expires_at", format!("\"{}\"", at + 7200), Some(7200)),
        ("expires_at", "7200".to_owned(), Some(7200)),
        ("expires_on", format!("{}.25", at + 7200), Some(7200)),
        ("expires", "7200".to_owned(), Some(7200)),
        ("expires", format!("{}", at + 7200), Some(7200)),
        (".expires", "\"Sun, 22 Nov 2026 14:00:00 GMT\"".to_owned(), Some(7200)),
        ("expiry", format!("\"{zoned}\""), Some(7200)),
        ("expiry_date", format!("{}000", at + 7200), Some(7200)),
        ("expiresIn", "7200".to_owned(), Some(7200)),
        ("expiresAt", format!("\"{zoned}\""), Some(7200)),
        ("expires_at", format!("{}", at - 7200), None),
    ] {
        let found = read_tokens(&oauth_method(), &format!(r#"{{"access_token":"a","{member}":{value}}}"#));
        assert_eq!(found.expires_at, expected.map(|s| now().plus(s)), "{member} {value}");
        assert_eq!(found.lifetime, expected, "{member} {value}");
    }
    // The response's own member has precedence over the others.
    let both = read_tokens(&oauth_method(), r#"{"access_token":"a","expires_in":60,"expires":7200}"#);
    assert_eq!(both.lifetime, Some(60));
    let of_refresh =
        read_tokens(&oauth_method(), r#"{"access_token":"a","refresh_token":"r","refresh_token_expires_in":"P30D"}"#);
    assert_eq!(of_refresh.refresh_expires_at, Some(now().plus(2_592_000)));
}

#[test]
fn standard_error_codes_are_found_in_gateway_responses() {
    for body in [
        r#"{"fault":{"faultstring":"Invalid Refresh Token","detail":{"errorcode":"keymanagement.service.invalid_refresh_token"}}}"#,
        r#"{"fault":{"faultstring":"x","detail":{"errorcode":"oauth.v2.InvalidGrant"}}}"#,
        r#"{"Error":"invalid_grant"}"#,
        r#"{"ERROR":"INVALID_GRANT"}"#,
        r#"{"ErrorCode":"invalid_grant","Error":"Refresh Token expired"}"#,
        r#"{"errors":[{"message":"x","extensions":{"code":"INVALID_GRANT"}}]}"#,
        r#"{"error":{"code":400,"details":[{"reason":"INVALID_GRANT"}]}}"#,
        r#"{"error":{"code":"BadRequest","innerError":{"code":"invalid_grant"}}}"#,
        r#"{"error":{"detail":{"error":"invalid_grant"}}}"#,
        r#"{"detail":{"error":"invalid_grant"}}"#,
        r#"{"error_type":"invalid_grant"}"#,
        r#"{"errcode":"invalid_grant"}"#,
        r#"[{"errors":[{"extensions":{"code":"invalid_grant"}}]}]"#,
        r#""{\"error\":\"invalid_grant\"}""#,
        "{\"error\":\"invalid_grant\"}\0",
    ] {
        for status in [400, 401, 403, 422, 200] {
            let answer = read_response(&oauth_method(), status, body);
            assert_eq!(
                refusal_of(&answer).map(|(class, _)| class),
                Some(RefusalClass::Permanent),
                "{status} {body}: {answer:?}"
            );
        }
    }
    for body in [
        r#"{"fault":{"faultstring":"invalid_grant"}}"#,
        r#"{"fault":{"faultstring":"x","detail":{"errorcode":"steps.oauth.v2.FailedToResolve"}}}"#,
        r#"{"errors":[{"message":"invalid_grant","extensions":{"code":"UNAUTHENTICATED"}}]}"#,
        r#"{"errors":[{"message":"x","extensions":{"exception":"invalid_grant"}}]}"#,
        r#"{"error":{"details":[{"message":"invalid_grant"}]}}"#,
        r#"{"detail":"invalid_grant"}"#,
        r#"{"error":"v1.invalid_grant_type"}"#,
        r#"{"error":"see docs.acme.invalid_grant for more"}"#,
        "<soap:Envelope><soap:Fault><faultcode>invalid_grant</faultcode></soap:Fault></soap:Envelope>",
        "<?xml version=\"1.0\"?><OAuth><error>invalid_grant</error></OAuth>",
        "error: invalid_grant",
    ] {
        let answer = read_response(&oauth_method(), 400, body);
        assert!(refusal_of(&answer).is_none_or(|(class, _)| class == RefusalClass::Unknown), "{body}: {answer:?}");
    }
    // A part of a code is not a code of the definition.
    let own = oauth_method_with("", r#","errors":{"permanent":["expired"]}"#);
    let answer = read_response(&own, 400, r#"{"error":{"code":"session.expired"}}"#);
    assert_eq!(refusal_of(&answer), Some((RefusalClass::Unknown, "session.expired")));
    // An unknown code is still read in the forms above.
    for (body, code) in [
        (r#"{"fault":{"faultstring":"x","detail":{"errorcode":"steps.jwt.TokenExpired"}}}"#, "steps.jwt.tokenexpired"),
        (r#"{"errors":[{"message":"x","extensions":{"code":"UNAUTHENTICATED"}}]}"#, "unauthenticated"),
        (r#"{"Error":"gone_fishing"}"#, "gone_fishing"),
    ] {
        assert_eq!(
            refusal_of(&read_response(&oauth_method(), 400, body)),
            Some((RefusalClass::Unknown, code)),
            "{body}"
        );
    }
    // Not a statement of the app about the grant.
    for status in [500, 502, 302] {
        assert!(
            matches!(
                read_response(&oauth_method(), status, r#"{"error":"invalid_grant"}"#),
                TokenResponse::Ambiguous(_)
            ),
            "{status}"
        );
    }
}

#[test]
fn a_quoted_string_in_a_challenge_contains_no_error_code() {
    for (challenge, permanent) in [
        (r#"Bearer realm="a \" error=invalid_grant, \" b""#, false),
        (r#"Bearer realm="a, error=\"invalid_grant\", b""#, false),
        (r#"Bearer realm="a\\", error="invalid_grant""#, true),
        (r#"Basic realm="x", Bearer error="invalid_grant""#, true),
        (r#"Bearer scope="x y",error="invalid_grant""#, true),
        (r#"Bearer error_description="error=\"invalid_grant\"""#, false),
    ] {
        let mut inbound = app_response(401, "");
        inbound.headers.push(("www-authenticate".into(), challenge.into()));
        let answer = read_raw_response(&oauth_method(), inbound);
        let class = refusal_of(&answer).map(|(class, _)| class);
        assert_eq!(class == Some(RefusalClass::Permanent), permanent, "{challenge}: {answer:?}");
    }
}

#[test]
fn scopes_are_read_from_lists_and_with_every_separator() {
    let read = |scopes: &str, said: &str| {
        let json = format!(
            r#"{{"id":"acme","name":"Acme","auth":{{"type":"oauth2","authorize_url":"https://acme.example/a",
            "token_url":"https://acme.example/t"}},"scopes":{scopes}}}"#
        );
        read_tokens(&parse_method(&json), &format!(r#"{{"access_token":"a","scope":{said}}}"#)).scopes
    };
    let both = r#"["read","write"]"#;
    for (scopes, said, expected) in [
        (both, r#""read+write""#, Some(vec!["read", "write"])),
        (both, r#""read%20write""#, Some(vec!["read", "write"])),
        (both, r#""read;write""#, Some(vec!["read", "write"])),
        (both, r#""read|write""#, Some(vec!["read", "write"])),
        (both, r#""read\twrite\nother""#, Some(vec!["read", "write", "other"])),
        (both, r#"["read"," write ",null,7,["x"]]"#, Some(vec!["read", "write"])),
        (both, r#""read+other""#, Some(vec!["read+other"])),
        (r#"["c+","a;b"]"#, r#""c+ a;b""#, Some(vec!["c+", "a;b"])),
        (
            r#"["https://acme.example/auth/read","https://acme.example/auth/all"]"#,
            r#""https://acme.example/auth/read+https://acme.example/auth/all""#,
            Some(vec!["https://acme.example/auth/read", "https://acme.example/auth/all"]),
        ),
        (both, "null", None),
        (both, "[]", None),
        (both, r#""""#, None),
        (both, "{}", None),
        (both, "7", None),
    ] {
        let expected = expected.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(read(scopes, said), expected, "{scopes} {said}");
    }
}

#[test]
fn a_large_numeric_id_is_kept_exactly_and_is_the_default_label() {
    let auth_method = oauth_method();
    let account =
        |body: &str| read_method_account(&auth_method, &raw_response(200, body.as_bytes()), &TemplateValues::new());
    for (id, kept) in [
        ("9007199254740993", "9007199254740993"),
        ("18446744073709551616", "18446744073709551616"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("\"007\"", "007"),
        ("0", "0"),
    ] {
        let body = format!(r#"{{"id":{id},"email":""}}"#);
        let found = account(&body).unwrap();
        assert_eq!((found.id.as_str(), found.label.as_str()), (kept, kept), "{body}");
    }
    for id in
        ["\"\"", "\" \"", "null", "[\"u1\"]", "{}", "true", "1e400", "\"u\\u200b1\"", "12345678901234567890.5", "1e25"]
    {
        assert_eq!(
            account(&format!(r#"{{"id":{id},"email":"a@b.example"}}"#)),
            Err(ProbeOutcome::Inconclusive),
            "{id}"
        );
    }
    for (label, shown) in [
        (r#""<b>Ann</b>""#, "<b>Ann</b>"),
        (r#""  Ann\u202e\n ""#, "Ann"),
        (r#""\u200b""#, "u1"),
        (r#"["Ann"]"#, "u1"),
        ("7", "7"),
    ] {
        assert_eq!(account(&format!(r#"{{"id":"u1","email":{label}}}"#)).unwrap().label, shown, "{label}");
    }
}
