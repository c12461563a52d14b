//! The meaning of a response to a token request or a revocation.

use super::*;

#[derive(Debug, PartialEq)]
enum ExpectedResponse {
    Tokens,
    Refused(RefusalClass, &'static str),
    Ambiguous(&'static str),
}

fn assert_response(auth_method: &AuthMethod, status: u16, text: &str, expected: &ExpectedResponse) {
    let answer = read_response(auth_method, status, text);
    let same = match (&answer, expected) {
        (TokenResponse::Tokens(_), ExpectedResponse::Tokens) => true,
        (TokenResponse::Refused(refusal), ExpectedResponse::Refused(class, code)) => {
            refusal.class == *class && refusal.code == *code
        }
        (TokenResponse::Ambiguous(ambiguity), ExpectedResponse::Ambiguous(what)) => ambiguity.reason == *what,
        _ => false,
    };
    assert!(same, "{status} {text}: {answer:?}, not {expected:?}");
}

#[test]
fn every_response_of_the_table_is_classified() {
    use ExpectedResponse::{Ambiguous, Refused, Tokens};
    let later = RefusalClass::Transient { retry_after: None };
    let auth_method = oauth_method();
    for (status, text, expected) in [
        // success
        (200, r#"{"access_token":"a"}"#, Tokens),
        (201, r#"{"access_token":"a"}"#, Tokens),
        (200, "\u{feff}{\"access_token\":\"a\"}", Tokens),
        (200, r#"{"access_token":"a","error":null,"ok":true}"#, Tokens),
        // ambiguous
        (200, "", Ambiguous("unreadable_body")),
        (200, "<html>", Ambiguous("unreadable_body")),
        (200, r#"{"access_token":"a"#, Ambiguous("unreadable_body")),
        (200, r#"{"access_token":"a"} x"#, Ambiguous("unreadable_body")),
        (200, "access_token", Ambiguous("unreadable_body")),
        (200, "access_token=a b&x=<b>", Ambiguous("unreadable_body")),
        (200, "signed_in=1&name=access_token", Ambiguous("unreadable_body")),
        (200, "access_token=a&access_token=b", Ambiguous("no_access_token")),
        (200, "{}", Ambiguous("no_access_token")),
        (200, "[]", Ambiguous("no_access_token")),
        (200, "null", Ambiguous("no_access_token")),
        (200, r#"{"access_token":""}"#, Ambiguous("no_access_token")),
        (200, r#"{"access_token":7}"#, Ambiguous("no_access_token")),
        (200, r#"{"access_token":"a\r\nX: y"}"#, Ambiguous("unusable_access_token")),
        (200, r#"{"access_token":"é"}"#, Ambiguous("unusable_access_token")),
        (200, r#"{"access_token":"a","access_token":"b"}"#, Ambiguous("no_access_token")),
        (301, "", Ambiguous("redirect")),
        (302, r#"{"access_token":"a"}"#, Ambiguous("redirect")),
        (307, r#"{"error":"invalid_grant"}"#, Ambiguous("redirect")),
        (400, "", Ambiguous("unreadable_error")),
        (401, "<html>", Ambiguous("unreadable_error")),
        (400, r#"{"access_token":"a"}"#, Ambiguous("unreadable_error")),
        (400, r#"{"error":{"message":"invalid_grant"}}"#, Ambiguous("unreadable_error")),
        (404, r#"{"message":"no"}"#, Ambiguous("unreadable_error")),
        (500, r#"{"error":"invalid_grant"}"#, Ambiguous("server_error")),
        (502, "", Ambiguous("server_error")),
        (503, "", Ambiguous("server_error")),
        (503, r#"{"error":"invalid_grant"}"#, Ambiguous("server_error")),
        (522, "", Ambiguous("server_error")),
        (100, "", Ambiguous("odd_status")),
        (0, "", Ambiguous("odd_status")),
        // transient
        (429, "", Refused(later, "too_many_requests")),
        (429, r#"{"error":"invalid_grant"}"#, Refused(later, "invalid_grant")),
        (400, r#"{"error":"slow_down"}"#, Refused(later, "slow_down")),
        (503, r#"{"error":"temporarily_unavailable"}"#, Refused(later, "temporarily_unavailable")),
        // permanent
        (400, r#"{"error":"invalid_grant"}"#, Refused(RefusalClass::Permanent, "invalid_grant")),
        (
            401,
            r#"{"error":"Invalid_Grant","error_description":"x"}"#,
            Refused(RefusalClass::Permanent, "invalid_grant"),
        ),
        (
            200,
            r#"{"ok":false,"error":"invalid_refresh_token"}"#,
            Refused(RefusalClass::Permanent, "invalid_refresh_token"),
        ),
        (200, r#"{"error":"bad_refresh_token"}"#, Refused(RefusalClass::Permanent, "bad_refresh_token")),
        (200, r#"{"ok":false,"error":"token_revoked"}"#, Refused(RefusalClass::Permanent, "token_revoked")),
        // of the client
        (401, r#"{"error":"invalid_client"}"#, Refused(RefusalClass::Client, "invalid_client")),
        // of the connection's configuration
        (400, r#"{"error":"unauthorized_client"}"#, Refused(RefusalClass::Configuration, "unauthorized_client")),
        (400, r#"{"error":"unsupported_grant_type"}"#, Refused(RefusalClass::Configuration, "unsupported_grant_type")),
        (400, r#"{"error":"invalid_scope"}"#, Refused(RefusalClass::Configuration, "invalid_scope")),
        // unknown
        (400, r#"{"error":"invalid_request"}"#, Refused(RefusalClass::Unknown, "invalid_request")),
        (400, r#"{"error":"<b>canary</b>"}"#, Refused(RefusalClass::Unknown, "unknown_error")),
        (403, r#"{"error":"invalid_grant"}"#, Refused(RefusalClass::Permanent, "invalid_grant")),
        (400, r#"{"error":"50173"}"#, Refused(RefusalClass::Unknown, "50173")),
    ] {
        assert_response(&auth_method, status, text, &expected);
    }
}

#[test]
fn a_missing_response_is_ambiguous() {
    for error in [HttpError::Timeout, HttpError::Network, HttpError::TooLarge] {
        assert!(matches!(read_token_response(&oauth_method(), &Err(error), now()), TokenResponse::Ambiguous(_)));
    }
}

#[test]
fn a_definition_adds_error_codes_and_has_precedence() {
    let auth_method = oauth_method_with(
        "",
        r#","errors":{"codes":"/error_codes","client":["901"],"transient":["903","invalid_grant"],"permanent":["902","gone"]}"#,
    );
    for (text, class, code) in [
        (r#"{"error":"invalid_grant","error_codes":[902]}"#, RefusalClass::Permanent, "902"),
        (r#"{"error":"invalid_client","error_codes":[901]}"#, RefusalClass::Client, "901"),
        (r#"{"error":"x","error_codes":[1, 902]}"#, RefusalClass::Permanent, "902"),
        (r#"{"error":"x","error_codes":["902"]}"#, RefusalClass::Permanent, "902"),
        (r#"{"error":"gone","error_codes":[]}"#, RefusalClass::Permanent, "gone"),
        (r#"{"error":"invalid_grant"}"#, RefusalClass::Transient { retry_after: None }, "invalid_grant"),
        (r#"{"error":"x","error_codes":[1]}"#, RefusalClass::Unknown, "x"),
        (r#"{"error_codes":[1]}"#, RefusalClass::Unknown, "1"),
    ] {
        assert_response(&auth_method, 400, text, &ExpectedResponse::Refused(class, code));
    }
}

#[test]
fn a_new_refresh_token_in_an_unusual_success_is_kept() {
    for text in [
        r#"{"refresh_token":"new"}"#,
        r#"{"refresh_token":"new","access_token":null}"#,
        r#"{"refresh_token":"new","access_token":"a\nb"}"#,
        r#"{"refresh_token":"new","error":"invalid_grant"}"#,
    ] {
        match read_response(&oauth_method(), 200, text) {
            TokenResponse::Ambiguous(ambiguity) => {
                assert_eq!(ambiguity.refresh_token.unwrap().expose(), "new", "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn tokens_with_an_error_status_are_ambiguous_and_the_refresh_token_is_kept() {
    let kept = |status, text| match read_response(&oauth_method(), status, text) {
        TokenResponse::Ambiguous(ambiguity) => ambiguity.refresh_token.map(|token| token.expose().to_owned()),
        other => panic!("{status} {text}: {other:?}"),
    };
    for status in [302, 404, 500, 503, 0] {
        assert_eq!(kept(status, r#"{"access_token":"a","refresh_token":"new"}"#).as_deref(), Some("new"), "{status}");
        for complaint in [r#"{"refresh_token":"is invalid"}"#, r#"{"access_token":"","refresh_token":"is invalid"}"#] {
            assert_eq!(kept(status, complaint), None, "{status} {complaint}");
        }
    }
}

#[test]
fn retry_after_is_read_in_both_formats_and_capped() {
    for (value, expected) in [
        ("120", Some(120)),
        ("0", Some(0)),
        ("99999999999999999999999", Some(86_400)),
        ("Sun, 22 Nov 2026 12:01:00 GMT", Some(60)),
        ("Sun, 22 Nov 2026 11:00:00 GMT", Some(0)),
        ("Mon, 22 Nov 2099 11:00:00 GMT", None),
        ("Sat, 22 Nov 2098 11:00:00 GMT", Some(86_400)),
        ("soon", None),
        ("-5", None),
        ("", None),
    ] {
        let mut answer = app_response(429, "");
        answer.headers.push(("retry-after".into(), value.into()));
        let TokenResponse::Refused(refusal) = read_token_response(&oauth_method(), &Ok(answer.clone()), now()) else {
            panic!()
        };
        // A wrong weekday makes the date unreadable.
        assert_eq!(refusal.class, RefusalClass::Transient { retry_after: expected }, "{value}");
        answer.status = 502;
        let TokenResponse::Ambiguous(ambiguity) = read_token_response(&oauth_method(), &Ok(answer), now()) else {
            panic!()
        };
        assert_eq!(ambiguity.retry_after, expected);
    }
}

#[test]
fn the_first_present_error_name_is_used() {
    let auth_method = oauth_method_with(
        "",
        r#","errors":{"error":["/error/type","/error","/err"],"permanent":["gone"],"client":["bad_app"]}"#,
    );
    for (text, class, code) in [
        (r#"{"error":{"type":"gone"}}"#, RefusalClass::Permanent, "gone"),
        (r#"{"error":"bad_app"}"#, RefusalClass::Client, "bad_app"),
        (r#"{"error":{"type":"gone"},"err":"bad_app"}"#, RefusalClass::Permanent, "gone"),
        (r#"{"error":{"type":""},"err":"bad_app"}"#, RefusalClass::Client, "bad_app"),
        (r#"{"err":"invalid_grant"}"#, RefusalClass::Permanent, "invalid_grant"),
    ] {
        assert_response(&auth_method, 400, text, &ExpectedResponse::Refused(class, code));
    }
    assert_response(&auth_method, 400, r#"{"other":"gone"}"#, &ExpectedResponse::Ambiguous("unreadable_error"));
}

#[test]
fn a_retry_delay_may_be_in_the_body() {
    let auth_method = oauth_method_with("", r#","errors":{"retry_after":"/parameters/retry_after"}"#);
    for (text, header, wait) in [
        (r#"{"parameters":{"retry_after":7}}"#, None, Some(7)),
        (r#"{"parameters":{"retry_after":"7"}}"#, Some("9"), Some(7)),
        (r#"{"parameters":{"retry_after":99999999}}"#, None, Some(86_400)),
        (r#"{"parameters":{"retry_after":"soon"}}"#, Some("9"), Some(9)),
        ("{}", Some("9"), Some(9)),
        ("{}", None, None),
    ] {
        let mut answer = app_response(429, text);
        answer.headers.extend(header.map(|value| ("retry-after".to_owned(), value.to_owned())));
        let TokenResponse::Refused(refusal) = read_token_response(&auth_method, &Ok(answer), now()) else {
            panic!("{text}")
        };
        assert_eq!(refusal.class, RefusalClass::Transient { retry_after: wait }, "{text} {header:?}");
    }
}

#[test]
fn a_revocation_of_an_invalid_token_is_done() {
    let auth_method = oauth_method_with("", r#","errors":{"permanent":["gone"]}"#);
    for (status, text, told) in [
        (200, "", RevocationResponse::Revoked),
        (200, "{}", RevocationResponse::Revoked),
        (204, "", RevocationResponse::Revoked),
        (200, r#"{"ok":true,"revoked":true}"#, RevocationResponse::Revoked),
        // An error with the wrong status.
        (200, r#"{"ok":false,"error":"not_allowed"}"#, RevocationResponse::Inconclusive),
        (200, r#"{"ok":false,"error":"token_revoked"}"#, RevocationResponse::TokenInvalid),
        (200, r#"{"ok":false,"error":"gone"}"#, RevocationResponse::TokenInvalid),
        // Already invalid.
        (400, r#"{"error":"invalid_token"}"#, RevocationResponse::Revoked),
        (400, r#"{"error":"invalid_grant"}"#, RevocationResponse::TokenInvalid),
        (404, r#"{"error":"gone"}"#, RevocationResponse::TokenInvalid),
        (400, r#"{"error":"unsupported_token_type"}"#, RevocationResponse::UnsupportedTokenType),
        (401, "", RevocationResponse::Unauthorized),
        (401, r#"{"error":"invalid_client"}"#, RevocationResponse::Unauthorized),
        (400, r#"{"error":"invalid_request"}"#, RevocationResponse::Inconclusive),
        (403, "", RevocationResponse::Inconclusive),
        (404, "", RevocationResponse::Inconclusive),
        (302, "", RevocationResponse::Inconclusive),
        (429, "", RevocationResponse::Inconclusive),
        (500, r#"{"error":"gone"}"#, RevocationResponse::Inconclusive),
    ] {
        assert_eq!(read_revocation_response(&auth_method, &Ok(app_response(status, text))), told, "{status} {text}");
    }
    assert_eq!(read_revocation_response(&auth_method, &Err(HttpError::Timeout)), RevocationResponse::Inconclusive);
}

#[test]
fn a_json_bomb_affects_only_its_own_member() {
    let bomb = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    assert_response(
        &oauth_method(),
        200,
        &format!(r#"{{"access_token":{bomb},"x":1}}"#),
        &ExpectedResponse::Ambiguous("no_access_token"),
    );
    match read_response(&oauth_method(), 200, &format!(r#"{{"access_token":"a","x":{bomb}}}"#)) {
        TokenResponse::Tokens(tokens) => assert_eq!(tokens.access_token.expose(), "a"),
        _ => panic!("the bomb spoils the token"),
    }
}
