//! What an answer to a token request or a revocation means.

use super::*;

#[derive(Debug, PartialEq)]
enum Verdict {
    Tokens,
    Refused(Class, &'static str),
    Ambiguous(&'static str),
}

fn check(app: &App, status: u16, text: &str, expected: &Verdict) {
    let answer = answer_of(app, status, text);
    let same = match (&answer, expected) {
        (Answer::Tokens(_), Verdict::Tokens) => true,
        (Answer::Refused(refusal), Verdict::Refused(class, code)) => refusal.class == *class && refusal.code == *code,
        (Answer::Ambiguous(ambiguity), Verdict::Ambiguous(what)) => ambiguity.what == *what,
        _ => false,
    };
    assert!(same, "{status} {text}: {answer:?}, not {expected:?}");
}

#[test]
fn every_row_of_the_table_has_its_class() {
    use Verdict::{Ambiguous, Refused, Tokens};
    let later = Class::Transient { retry_after: None };
    let app = app();
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
        (400, r#"{"error":"invalid_grant"}"#, Refused(Class::Permanent, "invalid_grant")),
        (401, r#"{"error":"Invalid_Grant","error_description":"x"}"#, Refused(Class::Permanent, "invalid_grant")),
        (200, r#"{"ok":false,"error":"invalid_refresh_token"}"#, Refused(Class::Permanent, "invalid_refresh_token")),
        (200, r#"{"error":"bad_refresh_token"}"#, Refused(Class::Permanent, "bad_refresh_token")),
        (200, r#"{"ok":false,"error":"token_revoked"}"#, Refused(Class::Permanent, "token_revoked")),
        // the client's
        (401, r#"{"error":"invalid_client"}"#, Refused(Class::Client, "invalid_client")),
        // the connection's configuration
        (400, r#"{"error":"unauthorized_client"}"#, Refused(Class::Configuration, "unauthorized_client")),
        (400, r#"{"error":"unsupported_grant_type"}"#, Refused(Class::Configuration, "unsupported_grant_type")),
        (400, r#"{"error":"invalid_scope"}"#, Refused(Class::Configuration, "invalid_scope")),
        // unknown
        (400, r#"{"error":"invalid_request"}"#, Refused(Class::Unknown, "invalid_request")),
        (400, r#"{"error":"<b>canary</b>"}"#, Refused(Class::Unknown, "unknown_error")),
        (403, r#"{"error":"invalid_grant"}"#, Refused(Class::Permanent, "invalid_grant")),
        (400, r#"{"error":"50173"}"#, Refused(Class::Unknown, "50173")),
    ] {
        check(&app, status, text, &expected);
    }
}

#[test]
fn no_answer_is_ambiguous() {
    for error in [HttpError::Timeout, HttpError::Network, HttpError::TooLarge] {
        assert!(matches!(read_answer(&app(), &Err(error), now()), Answer::Ambiguous(_)));
    }
}

#[test]
fn a_definition_adds_codes_and_its_word_goes_first() {
    let app = app_with(
        "",
        r#","errors":{"codes":"/error_codes","client":["901"],"transient":["903","invalid_grant"],"permanent":["902","gone"]}"#,
    );
    for (text, class, code) in [
        (r#"{"error":"invalid_grant","error_codes":[902]}"#, Class::Permanent, "902"),
        (r#"{"error":"invalid_client","error_codes":[901]}"#, Class::Client, "901"),
        (r#"{"error":"x","error_codes":[1, 902]}"#, Class::Permanent, "902"),
        (r#"{"error":"x","error_codes":["902"]}"#, Class::Permanent, "902"),
        (r#"{"error":"gone","error_codes":[]}"#, Class::Permanent, "gone"),
        (r#"{"error":"invalid_grant"}"#, Class::Transient { retry_after: None }, "invalid_grant"),
        (r#"{"error":"x","error_codes":[1]}"#, Class::Unknown, "x"),
        (r#"{"error_codes":[1]}"#, Class::Unknown, "1"),
    ] {
        check(&app, 400, text, &Verdict::Refused(class, code));
    }
}

#[test]
fn a_new_refresh_token_in_an_odd_success_is_kept() {
    for text in [
        r#"{"refresh_token":"new"}"#,
        r#"{"refresh_token":"new","access_token":null}"#,
        r#"{"refresh_token":"new","access_token":"a\nb"}"#,
        r#"{"refresh_token":"new","error":"invalid_grant"}"#,
    ] {
        match answer_of(&app(), 200, text) {
            Answer::Ambiguous(ambiguity) => assert_eq!(ambiguity.refresh_token.unwrap().expose(), "new", "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn tokens_under_a_status_that_is_no_success_are_ambiguous_and_the_refresh_token_is_kept() {
    let kept = |status, text| match answer_of(&app(), status, text) {
        Answer::Ambiguous(ambiguity) => ambiguity.refresh_token.map(|token| token.expose().to_owned()),
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
fn retry_after_is_read_in_both_forms_and_capped() {
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
        let mut answer = inbound(429, "");
        answer.headers.push(("retry-after".into(), value.into()));
        let Answer::Refused(refusal) = read_answer(&app(), &Ok(answer.clone()), now()) else { panic!() };
        // A weekday that does not fit the date makes the date unreadable.
        assert_eq!(refusal.class, Class::Transient { retry_after: expected }, "{value}");
        answer.status = 502;
        let Answer::Ambiguous(ambiguity) = read_answer(&app(), &Ok(answer), now()) else { panic!() };
        assert_eq!(ambiguity.retry_after, expected);
    }
}

#[test]
fn an_errors_name_is_the_first_that_is_present() {
    let app = app_with(
        "",
        r#","errors":{"error":["/error/type","/error","/err"],"permanent":["gone"],"client":["bad_app"]}"#,
    );
    for (text, class, code) in [
        (r#"{"error":{"type":"gone"}}"#, Class::Permanent, "gone"),
        (r#"{"error":"bad_app"}"#, Class::Client, "bad_app"),
        (r#"{"error":{"type":"gone"},"err":"bad_app"}"#, Class::Permanent, "gone"),
        (r#"{"error":{"type":""},"err":"bad_app"}"#, Class::Client, "bad_app"),
        (r#"{"err":"invalid_grant"}"#, Class::Permanent, "invalid_grant"),
    ] {
        check(&app, 400, text, &Verdict::Refused(class, code));
    }
    check(&app, 400, r#"{"other":"gone"}"#, &Verdict::Ambiguous("unreadable_error"));
}

#[test]
fn the_wait_may_stand_in_the_body() {
    let app = app_with("", r#","errors":{"retry_after":"/parameters/retry_after"}"#);
    for (text, header, wait) in [
        (r#"{"parameters":{"retry_after":7}}"#, None, Some(7)),
        (r#"{"parameters":{"retry_after":"7"}}"#, Some("9"), Some(7)),
        (r#"{"parameters":{"retry_after":99999999}}"#, None, Some(86_400)),
        (r#"{"parameters":{"retry_after":"soon"}}"#, Some("9"), Some(9)),
        ("{}", Some("9"), Some(9)),
        ("{}", None, None),
    ] {
        let mut answer = inbound(429, text);
        answer.headers.extend(header.map(|value| ("retry-after".to_owned(), value.to_owned())));
        let Answer::Refused(refusal) = read_answer(&app, &Ok(answer), now()) else { panic!("{text}") };
        assert_eq!(refusal.class, Class::Transient { retry_after: wait }, "{text} {header:?}");
    }
}

#[test]
fn a_revocation_is_done_when_the_token_is_dead() {
    let app = app_with("", r#","errors":{"permanent":["gone"]}"#);
    for (status, text, told) in [
        (200, "", Told::Done),
        (200, "{}", Told::Done),
        (204, "", Told::Done),
        (200, r#"{"ok":true,"revoked":true}"#, Told::Done),
        // An error that its sender forgot to mark.
        (200, r#"{"ok":false,"error":"not_allowed"}"#, Told::Nothing),
        (200, r#"{"ok":false,"error":"token_revoked"}"#, Told::Dead),
        (200, r#"{"ok":false,"error":"gone"}"#, Told::Dead),
        // Dead already.
        (400, r#"{"error":"invalid_token"}"#, Told::Done),
        (400, r#"{"error":"invalid_grant"}"#, Told::Dead),
        (404, r#"{"error":"gone"}"#, Told::Dead),
        (400, r#"{"error":"unsupported_token_type"}"#, Told::OtherKind),
        (401, "", Told::Refused),
        (401, r#"{"error":"invalid_client"}"#, Told::Refused),
        (400, r#"{"error":"invalid_request"}"#, Told::Nothing),
        (403, "", Told::Nothing),
        (404, "", Told::Nothing),
        (302, "", Told::Nothing),
        (429, "", Told::Nothing),
        (500, r#"{"error":"gone"}"#, Told::Nothing),
    ] {
        assert_eq!(read_revocation(&app, &Ok(inbound(status, text))), told, "{status} {text}");
    }
    assert_eq!(read_revocation(&app, &Err(HttpError::Timeout)), Told::Nothing);
}

#[test]
fn json_bombs_cost_their_own_member_only() {
    let bomb = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    check(&app(), 200, &format!(r#"{{"access_token":{bomb},"x":1}}"#), &Verdict::Ambiguous("no_access_token"));
    match answer_of(&app(), 200, &format!(r#"{{"access_token":"a","x":{bomb}}}"#)) {
        Answer::Tokens(tokens) => assert_eq!(tokens.access_token.expose(), "a"),
        _ => panic!("the bomb spoils the token"),
    }
}
