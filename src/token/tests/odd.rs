//! Answers as real apps send them, none of them as the RFCs say.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

fn raw(status: u16, body: &[u8]) -> Inbound {
    Inbound { status, headers: vec![], body: body.to_vec() }
}

fn judged(app: &App, inbound: Inbound) -> Answer {
    read_answer(app, &Ok(inbound), now())
}

fn refusal_of(answer: &Answer) -> Option<(Class, &str)> {
    match answer {
        Answer::Refused(refusal) => Some((refusal.class, refusal.code.as_str())),
        _ => None,
    }
}

/// Access and refresh token of a success.
fn pair(app: &App, body: &[u8]) -> (String, Option<String>) {
    match judged(app, raw(200, body)) {
        Answer::Tokens(tokens) => {
            let text = |secret: &Secret| secret.expose().to_owned();
            (text(&tokens.access_token), tokens.refresh_token.as_ref().map(text))
        }
        other => panic!("{}: {other:?}", String::from_utf8_lossy(body)),
    }
}

#[test]
fn an_unreadable_member_never_spoils_the_tokens_beside_it() {
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
            assert_eq!(pair(&app(), &body), ("a2".into(), Some("r2".into())), "{}", String::from_utf8_lossy(&body));
        }
    }
    // What can't be read of a token itself makes no token of it.
    let spoiled = judged(&app(), raw(200, b"{\"access_token\":\"a\xe9\",\"refresh_token\":\"r\xe9\"}"));
    assert!(matches!(spoiled, Answer::Ambiguous(Ambiguity { refresh_token: None, .. })), "{spoiled:?}");
}

#[test]
fn a_refresh_token_that_can_be_read_is_kept_from_a_damaged_success() {
    for (body, kept) in [
        (r#"{"access_token":"a2","refresh_token":"r2","expires_in":36"#, Some("r2")),
        (r#"{"access_token":"a2","refresh_token":"r2"} trailing"#, Some("r2")),
        (r#"{"refresh_token":"r2","access_token":"a"#, Some("r2")),
        (r#"{"access_token":"a2","refresh_token":"r2"#, None),
        (r#"{"refresh_token":"r2","refresh_token":"r3","x"#, None),
    ] {
        match answer_of(&app(), 200, body) {
            Answer::Ambiguous(odd) => {
                assert_eq!(
                    (odd.what, odd.refresh_token.as_ref().map(Secret::expose)),
                    ("unreadable_body", kept),
                    "{body}"
                );
            }
            other => panic!("{body}: {other:?}"),
        }
    }
    let refused = answer_of(&app(), 400, r#"{"refresh_token":"is invalid","x"#);
    assert!(matches!(refused, Answer::Ambiguous(Ambiguity { refresh_token: None, .. })), "{refused:?}");
}

#[test]
fn a_form_is_recognised_whatever_it_is_labelled() {
    let app = app_with("", "");
    let found = tokens(&app, "access_token=a%2F1&expires_in=3600&refresh_token=r&scope=read+write&token_type=bearer");
    assert_eq!((found.access_token.expose(), found.refresh_token.as_ref().unwrap().expose()), ("a/1", "r"));
    assert_eq!((found.expires_at, found.lifetime), (Some(now().plus(3600)), Some(3600)));
    assert_eq!(found.scopes, Some(vec!["read".to_owned(), "write".to_owned()]));
    assert_eq!(tokens(&app, "1=2&access_token=a").access_token.expose(), "a");
    let refused = answer_of(&app, 400, "error=invalid_grant&error_description=expired%20token");
    assert_eq!(refusal_of(&refused), Some((Class::Permanent, "invalid_grant")));
    for body in ["<a href=?error=invalid_grant>", "the error=invalid_grant came", "error=invalid_grant\nx=1", "q=error"]
    {
        assert!(matches!(answer_of(&app, 400, body), Answer::Ambiguous(_)), "{body}");
    }
}

#[test]
fn oauths_own_codes_are_found_where_apps_put_them() {
    let app = app_with("", r#","errors":{"permanent":["grant_gone"]}"#);
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
        let answer = answer_of(&app, 400, body);
        assert_eq!(refusal_of(&answer).map(|(class, _)| class), Some(Class::Permanent), "{body}: {answer:?}");
    }
    for (header, value) in [
        ("www-authenticate", r#"Bearer realm="x", error="invalid_grant""#),
        ("x-error-code", "invalid_grant"),
        ("x-amzn-errortype", "InvalidGrantException:http://x/"),
    ] {
        let mut inbound = inbound(400, "");
        inbound.headers.push((header.into(), value.into()));
        let answer = judged(&app, inbound);
        assert_eq!(refusal_of(&answer).map(|(class, _)| class), Some(Class::Permanent), "{header}: {answer:?}");
    }
    let other = answer_of(&app, 401, r#"{"errors":[{"code":"invalid_client"}]}"#);
    assert_eq!(refusal_of(&other), Some((Class::Client, "invalid_client")));
}

#[test]
fn what_an_app_tells_people_never_ends_a_grant() {
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
        let answer = answer_of(&app(), 400, body);
        assert!(refusal_of(&answer).is_none_or(|(class, _)| class == Class::Unknown), "{body}: {answer:?}");
    }
    // A code that nobody knows is told, and ends nothing.
    for (body, code) in [
        (r#"{"error":{"code":"quota_gone"}}"#, "quota_gone"),
        (r#"{"code":4711,"message":"x"}"#, "4711"),
        (r#"{"errors":[{"type":"x.y"}]}"#, "x.y"),
    ] {
        assert_eq!(refusal_of(&answer_of(&app(), 400, body)), Some((Class::Unknown, code)), "{body}");
    }
    // In a success, other members may have those names.
    assert!(matches!(answer_of(&app(), 200, r#"{"type":"bearer","code":7}"#), Answer::Ambiguous(_)));
}

#[test]
fn a_life_is_read_in_every_form_that_can_only_be_meant_so() {
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
        let found = tokens(&app(), &format!(r#"{{"access_token":"a","expires_in":{value}}}"#));
        assert_eq!(found.expires_at, expected.map(|s| now().plus(s)), "{value}");
        assert_eq!(found.lifetime, expected, "{value}");
    }
    for (unit, value, expected) in [
        ("milliseconds", "3600000", 3600),
        ("milliseconds", "2592000000", 2_592_000),
        ("minutes", "60", 3600),
        ("seconds", "3600", 3600),
    ] {
        let app = app_with(&format!(r#","response":{{"expires_in_unit":"{unit}"}}"#), "");
        let text = format!(r#"{{"access_token":"a","expires_in":{value}}}"#);
        assert_eq!(tokens(&app, &text).lifetime, Some(expected), "{unit} {value}");
        let text = format!(r#"{{"access_token":"a","expires_in":{}000}}"#, at + 60);
        assert_eq!(tokens(&app, &text).lifetime, Some(60), "{unit}: a Unix time is one in every unit");
    }
    for member in ["expires_at", "expires_on"] {
        let text = format!(r#"{{"access_token":"a","{member}":{}}}"#, at + 60);
        assert_eq!(tokens(&app(), &text).expires_at, Some(now().plus(60)), "{member}");
    }
}

#[test]
fn a_jwts_own_end_is_an_upper_bound_and_never_a_lower_one() {
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
        let found = tokens(&app(), &format!(r#"{{"access_token":"{token}"{told}}}"#));
        assert_eq!(found.expires_at, expected.map(|s| now().plus(s)), "{token} {told}");
    }
}

#[test]
fn a_token_that_costs_nothing_to_make_is_not_believed_for_ever() {
    let app = |lifetime: &str| {
        parsed(&format!(
            r#"{{"id":"acme","name":"Acme","auth":{{"type":"client_credentials","token_url":"https://acme.example/t"{lifetime}}}}}"#
        ))
    };
    let lives = |app: &App, body: &str| tokens(app, body).expires_at.map(|end| end.since(now()));
    assert_eq!(lives(&app(""), r#"{"access_token":"a"}"#), Some(900));
    assert_eq!(lives(&app(r#","access_token_lifetime":7200"#), r#"{"access_token":"a"}"#), Some(7200));
    assert_eq!(lives(&app(""), r#"{"access_token":"a","expires_in":7200}"#), Some(7200));
}

#[test]
fn scopes_are_told_apart_by_what_none_of_them_can_have() {
    let read = |auth: &str, scopes: &str, said: &str| {
        let json = format!(
            r#"{{"id":"acme","name":"Acme","auth":{{"type":"oauth2","authorize_url":"https://acme.example/a",
            "token_url":"https://acme.example/t"{auth}}},"scopes":{scopes}}}"#
        );
        tokens(&parsed(&json), &format!(r#"{{"access_token":"a","scope":{said}}}"#)).scopes.unwrap()
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
fn a_probe_is_judged_by_what_came_and_not_by_its_label() {
    use ProbeVerdict::{Forbidden, Odd, Refused, Works};
    let app = app();
    let labelled = |status, kind: &str, body: &[u8]| {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        read_probe(&app, identity(&app).1, &Ok(Inbound { status, headers, body: body.to_vec() }), now())
    };
    assert_eq!(labelled(200, "text/html; charset=utf-8", br#"{"id":"u1"}"#), Works);
    assert_eq!(labelled(200, "text/html", b""), Odd);
    assert_eq!(labelled(200, "application/json", b"  <!DOCTYPE html><p>Sign in"), Odd);
    assert_eq!(labelled(200, "text/plain", b"ok"), Works);
    let challenged = |status, challenge: &str| {
        let headers = vec![("www-authenticate".to_owned(), challenge.to_owned())];
        read_probe(&app, identity(&app).1, &Ok(Inbound { status, headers, body: vec![] }), now())
    };
    assert_eq!(challenged(403, r#"Bearer error="invalid_token""#), Refused);
    assert_eq!(challenged(400, r#"Bearer error="invalid_token""#), Refused);
    assert_eq!(challenged(401, r#"Bearer error="insufficient_scope""#), Forbidden);
    assert_eq!(challenged(403, r#"Bearer error="insufficient_scope""#), Forbidden);
    let latin = raw(200, b"{\"id\":\"u1\",\"email\":\"a@b.example\",\"city\":\"Orl\xe9ans\"}");
    let account = read_account(&app, identity(&app), &latin, &Values::new(), now());
    assert_eq!(account.unwrap().id, "u1");
    // Two ids that can't be read may look alike.
    for id in [&b"\"Jos\xe9\""[..], b"\"Jos\xe8\"", br#""Jos\ud83d""#] {
        let inbound = raw(200, &[b"{\"id\":", id, b"}"].concat());
        assert_eq!(read_account(&app, identity(&app), &inbound, &Values::new(), now()), Err(Odd));
    }
    let html = Inbound {
        status: 200,
        headers: vec![("content-type".into(), "text/html".into())],
        body: br#"{"id":"u1","email":"a@b.example"}"#.to_vec(),
    };
    assert_eq!(read_account(&app, identity(&app), &html, &Values::new(), now()).unwrap().label, "a@b.example");
}

#[test]
fn the_code_and_the_address_go_by_the_names_that_the_app_has_for_them() {
    let app = parsed(
        r#"{"id":"acme","name":"Acme","variables":{"redirect_name":{"label":"RuName","from":"client"}},
        "auth":{"type":"oauth2","authorize_url":"https://acme.example/a","token_url":"https://acme.example/t",
        "exchange_code_param":"auth_code","redirect_uri":"{redirect_name}","refresh_redirect_uri":true}}"#,
    );
    assert!(app.variables.contains_key("redirect_name"));
    let (at, client, nowhere) = (at(&app), client(), Rc::default());
    let with = |values: &Values| {
        let of = Parties { server: app.oauth2().unwrap(), at: &at, client: &client, values, destinations: &nowhere };
        let exchange = exchange_request(&of, &Secret::new("c"), "https://x.example/cb", None)?;
        let refresh = refresh_request(&of, &Secret::new("r"), &[], "https://x.example/cb")?;
        Ok::<_, crate::app::RequestError>((body(&exchange).to_owned(), body(&refresh).to_owned()))
    };
    let (exchange, refresh) = with(&Values::new().with("redirect_name", "Acme-Inc-1_x")).unwrap();
    assert_eq!(exchange, "grant_type=authorization_code&auth_code=c&redirect_uri=Acme-Inc-1_x");
    assert_eq!(refresh, "grant_type=refresh_token&refresh_token=r&redirect_uri=Acme-Inc-1_x");
    for address in ["https://evil.example/", "evil.example/cb", "a b", ""] {
        assert!(with(&Values::new().with("redirect_name", address)).is_err(), "{address}");
    }
}
