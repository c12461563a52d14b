use super::*;
use crate::app::{App, Resolved, read};
use crate::connection::Account;
use crate::egress::Egress;
use crate::ports::{HttpError, Inbound, Outbound};

const CANARY: &str = "canary-7f3a";

fn app_with(auth: &str, beside: &str) -> App {
    let json = format!(
        r#"{{"id":"acme","name":"Acme","auth":{{"type":"oauth2","authorize_url":"https://acme.example/a",
        "token_url":"https://acme.example/t","revoke_url":"https://acme.example/r"{auth}}},"scopes":["read"],
        "identity":{{"url":"https://api.acme.example/me","id":"/id","label":["/email","/name"]}}{beside}}}"#
    );
    read(&json, Egress::Public).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn app() -> App {
    app_with("", "")
}

fn now() -> Timestamp {
    Timestamp::from_unix(1_795_348_800)
}

fn inbound(status: u16, body: &str) -> Inbound {
    Inbound { status, headers: vec![], body: body.as_bytes().to_vec() }
}

fn answer_of(app: &App, status: u16, body: &str) -> Answer {
    read_answer(app, &Ok(inbound(status, body)), now())
}

fn tokens(app: &App, body: &str) -> TokenSet {
    match answer_of(app, 200, body) {
        Answer::Tokens(tokens) => tokens,
        other => panic!("{body}: {other:?}"),
    }
}

fn client() -> ClientKeys {
    ClientKeys { client_id: "my id".into(), client_secret: Some(Secret::new("s:é&c")) }
}

fn header<'a>(request: &'a Outbound, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

fn at(app: &App) -> Resolved {
    app.resolve_fixed().unwrap()
}

fn body(request: &Outbound) -> &str {
    request.body.as_deref().unwrap()
}

// ---- requests ----

#[test]
fn basic_encodes_id_and_secret_first_and_sends_them_nowhere_else() {
    let app = app();
    let request = exchange_request(&app, &at(&app), &client(), "c/1", "https://x.example/cb", Some(&Secret::new("v")));
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
fn each_request_authenticates_in_one_way() {
    for (auth, basic, in_body) in [
        (r#","client_auth":"basic""#, true, ""),
        (r#","client_auth":"body""#, false, "&client_id=my+id&client_secret=s%3A%C3%A9%26c"),
        (r#","client_auth":"none""#, false, "&client_id=my+id"),
        (r#","client_auth":"basic","refresh_client_auth":"none""#, false, "&client_id=my+id"),
    ] {
        let app = app_with(auth, "");
        let request = refresh_request(&app, &at(&app), &client(), &Secret::new("r"), &[]);
        assert_eq!(header(&request, "authorization").is_some(), basic, "{auth}");
        assert_eq!(body(&request), format!("grant_type=refresh_token&refresh_token=r{in_body}"), "{auth}");
    }
}

#[test]
fn a_client_without_secret_names_itself_in_the_body() {
    let app = app();
    let public = ClientKeys { client_id: "pub".into(), client_secret: None };
    let request = refresh_request(&app, &at(&app), &public, &Secret::new("r"), &[]);
    assert_eq!(header(&request, "authorization"), None);
    assert_eq!(body(&request), "grant_type=refresh_token&refresh_token=r&client_id=pub");
}

#[test]
fn json_bodies_extra_parameters_and_headers_are_sent() {
    let app = app_with(
        r#","body":"json","refresh_url":"https://acme.example/refresh","token_headers":{"Notion-Version":"1"},
        "refresh_params":{"a":"b"},"send_scope_on_refresh":true,"scope_separator":",""#,
        "",
    );
    let request = refresh_request(&app, &at(&app), &client(), &Secret::new("r\"x"), &["p".into(), "q".into()]);
    let json: serde_json::Value = serde_json::from_str(body(&request)).unwrap();
    assert_eq!(json, serde_json::json!({"grant_type":"refresh_token","refresh_token":"r\"x","scope":"p,q","a":"b"}));
    assert_eq!(header(&request, "notion-version"), Some("1"));
    assert_eq!(request.url.as_str(), "https://acme.example/refresh");
}

#[test]
fn revocation_follows_the_apps_style() {
    let token = Secret::new("t");
    let revoke = |app: &App, hint| revoke_request(app, &at(app), &client(), &token, hint);
    let standard = revoke(&app(), TokenHint::RefreshToken).unwrap();
    assert_eq!(body(&standard), "token=t&token_type_hint=refresh_token");
    assert!(header(&standard, "authorization").unwrap().starts_with("Basic "));

    let alone = revoke(&app_with(r#","revoke":{"authenticate":false}"#, ""), TokenHint::AccessToken).unwrap();
    assert_eq!(body(&alone), "token=t");
    assert_eq!(header(&alone, "authorization"), None);

    let bearer = app_with(r#","revoke":{"style":"bearer"}"#, "");
    assert!(revoke(&bearer, TokenHint::RefreshToken).is_none());
    let request = revoke(&bearer, TokenHint::AccessToken).unwrap();
    assert_eq!(header(&request, "authorization"), Some("Bearer t"));
    assert_eq!(request.body, None);

    let mut nowhere = at(&app());
    nowhere.revoke_url = None;
    assert!(revoke_request(&app(), &nowhere, &client(), &token, TokenHint::AccessToken).is_none());
}

#[test]
fn a_probe_carries_the_token_as_the_app_wants_it() {
    let app = app_with(
        "",
        r#","check":{"method":"POST","url":"https://api.acme.example/ping","body":"null"},"request":{"headers":{"X-Token":"k {access_token}"}}"#,
    );
    let request = probe_request(app.check.as_ref().unwrap(), &app, &Secret::new("t"));
    assert_eq!(header(&request, "x-token"), Some("k t"));
    assert_eq!(header(&request, "authorization"), None);
    assert_eq!(header(&request, "content-type"), Some("application/json"));
    assert_eq!((body(&request), request.timeout_ms), ("null", 10_000));
    let request = probe_request(app.identity.as_ref().unwrap(), &app, &Secret::new("t"));
    assert_eq!((header(&request, "content-type"), &request.body), (None, &None));
}

// ---- classification ----

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
        (200, "access_token=a&token_type=bearer", Ambiguous("unreadable_body")),
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
        (403, r#"{"error":"50173"}"#, Refused(Class::Permanent, "50173")),
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
        r#","errors":{"codes":"/error_codes","client":["7000215"],"transient":["50196","invalid_grant"],"permanent":["gone"]}"#,
    );
    for (text, class, code) in [
        (r#"{"error":"invalid_grant","error_codes":[700082]}"#, Class::Permanent, "700082"),
        (r#"{"error":"invalid_client","error_codes":[7000222]}"#, Class::Client, "7000222"),
        (r#"{"error":"x","error_codes":[1, 50173]}"#, Class::Permanent, "50173"),
        (r#"{"error":"x","error_codes":["70008"]}"#, Class::Permanent, "70008"),
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
        r#"{"refresh_token":"new","access_token":"a\n"}"#,
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

// ---- token sets ----

#[test]
fn expiry_is_read_whatever_its_form() {
    const TEN_YEARS: i64 = 315_360_000;
    for (value, expected) in [
        ("3600", Some(3600)),
        ("3599.9", Some(3599)),
        ("\"3600\"", Some(3600)),
        ("\" 60.5 \"", Some(60)),
        ("1e3", Some(1000)),
        ("99999999999999999999", Some(TEN_YEARS)),
        ("1e300", Some(TEN_YEARS)),
        ("0", None),
        ("-1", None),
        ("0.5", None),
        ("\"\"", None),
        ("\"soon\"", None),
        ("\"NaN\"", None),
        ("\"inf\"", None),
        ("null", None),
        ("true", None),
        ("{}", None),
    ] {
        let text = format!(r#"{{"access_token":"a","expires_in":{value}}}"#);
        assert_eq!(tokens(&app(), &text).expires_at, expected.map(|s| now().plus(s)), "{value}");
        let known = app_with(r#","access_token_lifetime":7200"#, "");
        assert_eq!(tokens(&known, &text).expires_at, Some(now().plus(expected.unwrap_or(7200))), "{value}");
    }
    assert_eq!(tokens(&app(), r#"{"access_token":"a"}"#).expires_at, None);
}

#[test]
fn the_nearest_end_of_the_refresh_token_counts() {
    for (members, expected) in [
        (r#""refresh_token_expires_in":50"#, Some(50)),
        (r#""x_refresh_token_expires_in":"50""#, Some(50)),
        (r#""refresh_token_timeout":70,"authorization_expires_in":60"#, Some(60)),
        (r#""refresh_token":"r""#, Some(999)),
        (r#""refresh_token":"r","refresh_token_expires_in":50"#, Some(50)),
        (r#""x":1"#, None),
    ] {
        let app = app_with(r#","refresh_token_lifetime":999"#, "");
        let text = format!(r#"{{"access_token":"a",{members}}}"#);
        assert_eq!(tokens(&app, &text).refresh_expires_at, expected.map(|s| now().plus(s)), "{members}");
    }
}

#[test]
fn token_type_and_refresh_token_are_normalised() {
    for (value, expected) in
        [("\"bEaReR\"", "Bearer"), ("\"bot\"", "bot"), ("null", "Bearer"), ("\"a b\"", "Bearer"), ("7", "Bearer")]
    {
        let text = format!(r#"{{"access_token":"a","token_type":{value}}}"#);
        assert_eq!(tokens(&app(), &text).token_type, expected, "{value}");
    }
    for (value, expected) in
        [("\"r\"", Some("r")), ("\"r s\"", Some("r s")), ("\"\"", None), ("null", None), ("7", None), ("\"é\"", None)]
    {
        let text = format!(r#"{{"access_token":"a","refresh_token":{value}}}"#);
        assert_eq!(tokens(&app(), &text).refresh_token.as_ref().map(Secret::expose), expected, "{value}");
    }
    let long = "x".repeat(64 * 1024);
    assert_eq!(tokens(&app(), &format!(r#"{{"access_token":"{long}"}}"#)).access_token.expose(), long);
}

#[test]
fn scopes_are_a_list_without_doubles_or_nobody_knows() {
    let comma = app_with(r#","scope_separator":",""#, "");
    let other = app_with(r#","response":{"scope_separator":","}"#, "");
    for (app, value, expected) in [
        (&app(), "\"a b  a\"", Some(vec!["a", "b"])),
        (&app(), "[\"a\",\"b\",7]", Some(vec!["a", "b"])),
        (&app(), "\"a\\tb é c\"", Some(vec!["c"])),
        (&app(), "\"\"", None),
        (&app(), "null", None),
        (&app(), "{}", None),
        (&comma, "\"a, b,c\"", Some(vec!["a", "b", "c"])),
        (&other, "\"a,b\"", Some(vec!["a", "b"])),
    ] {
        let text = format!(r#"{{"access_token":"a","scope":{value}}}"#);
        let scopes = tokens(app, &text).scopes;
        assert_eq!(
            scopes.as_deref(),
            expected.map(|e| e.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).as_deref(),
            "{value}"
        );
    }
    assert_eq!(tokens(&app(), r#"{"access_token":"a"}"#).scopes, None);
}

#[test]
fn tokens_stand_where_the_definition_says() {
    let app = app_with(
        r#","response":{"access_token":"/user/token","refresh_token":"/user/refresh","expires_in":"/user/ttl"}"#,
        "",
    );
    let set = tokens(&app, r#"{"access_token":"bot","user":{"token":"u","refresh":"r","ttl":10}}"#);
    assert_eq!((set.access_token.expose(), set.refresh_token.unwrap().expose()), ("u", "r"));
    assert_eq!(set.expires_at, Some(now().plus(10)));
}

#[test]
fn a_member_that_contradicts_itself_does_not_count() {
    let set = tokens(&app(), r#"{"access_token":"a","access_token":"a","refresh_token":"x","refresh_token":"y"}"#);
    assert_eq!(set.refresh_token, None);
}

#[test]
fn json_bombs_are_unreadable() {
    let deep = format!(r#"{{"access_token":"a","x":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    check(&app(), 200, &deep, &Verdict::Ambiguous("unreadable_body"));
}

// ---- probes ----

#[test]
fn a_probe_has_a_verdict_for_every_answer() {
    use ProbeVerdict::{Forbidden, Odd, Refused, Unavailable, Works};
    let app = app_with("", r#","errors":{"permanent":["invalid_auth"]}"#);
    let later = Unavailable { retry_after: None };
    for (status, text, expected) in [
        (200, "{}", Works),
        (204, "", Works),
        (200, r#"{"error":null}"#, Works),
        (200, r#"{"ok":false,"error":"invalid_auth"}"#, Refused),
        (200, r#"{"ok":false,"error":"something"}"#, Odd),
        (400, r#"{"error":"invalid_grant"}"#, Refused),
        (400, "", Odd),
        (401, "", Refused),
        (401, r#"{"error":{".tag":"expired_access_token"}}"#, Refused),
        (403, "", Forbidden),
        (403, r#"{"error":"token_revoked"}"#, Refused),
        (404, "", Odd),
        (302, "", Odd),
        (429, r#"{"error":"invalid_auth"}"#, later),
        (400, r#"{"error":"slow_down"}"#, later),
        (500, r#"{"error":"invalid_auth"}"#, later),
        (503, "", later),
    ] {
        assert_eq!(read_probe(&app, &Ok(inbound(status, text)), now()), expected, "{status} {text}");
    }
    assert_eq!(read_probe(&app, &Err(HttpError::Timeout), now()), later);
    assert_eq!(read_probe(&app, &Err(HttpError::TooLarge), now()), Odd);
    let mut html = inbound(200, "<html>");
    html.headers.push(("content-type".into(), "Text/HTML; charset=utf-8".into()));
    assert_eq!(read_probe(&app, &Ok(html), now()), Odd);
}

#[test]
fn an_account_is_read_and_made_fit_to_show() {
    let app = app();
    let probe = app.identity.clone().unwrap();
    let (long, cut) = ("x".repeat(300), "x".repeat(256));
    for (text, expected) in [
        (r#"{"id":"u1","email":"a@b.example","name":"A"}"#.to_owned(), Some(("u1", "a@b.example"))),
        (r#"{"id":"u1","name":"A"}"#.to_owned(), Some(("u1", "A"))),
        (r#"{"id":"u1","email":"","name":"A"}"#.to_owned(), Some(("u1", "A"))),
        (r#"{"id":42}"#.to_owned(), Some(("42", "42"))),
        (r#"{"id":"u1","email":" a\u0000\u202eb\n "}"#.to_owned(), Some(("u1", "ab"))),
        (format!(r#"{{"id":"u1","email":"{long}"}}"#), Some(("u1", cut.as_str()))),
        (r#"{"id":""}"#.to_owned(), None),
        (r#"{"id":null,"email":"a"}"#.to_owned(), None),
        (r#"{"id":"u\u0000"}"#.to_owned(), None),
        (format!(r#"{{"id":"{long}"}}"#), None),
        ("[]".to_owned(), None),
    ] {
        let account = read_account(&probe, &app, &inbound(200, &text));
        let expected = expected.map(|(id, label)| Account { id: id.into(), label: label.into() });
        assert_eq!(account, expected.ok_or(ProbeVerdict::Odd), "{text}");
    }
    assert_eq!(read_account(&probe, &app, &inbound(401, "{}")), Err(ProbeVerdict::Refused));
}

// ---- secrets ----

#[test]
fn no_secret_stands_in_debug_output() {
    let app = app();
    let keys = ClientKeys { client_id: "id".into(), client_secret: Some(Secret::new(CANARY)) };
    let secret = Secret::new(CANARY);
    let text = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?}",
        keys,
        exchange_request(&app, &at(&app), &keys, CANARY, "https://x.example", Some(&secret)),
        refresh_request(&app, &at(&app), &keys, &secret, &[]),
        probe_request(app.identity.as_ref().unwrap(), &app, &secret),
        answer_of(&app, 200, &format!(r#"{{"access_token":"{CANARY}","refresh_token":"{CANARY}"}}"#)),
        answer_of(&app, 200, &format!(r#"{{"refresh_token":"{CANARY}"}}"#)),
    );
    assert!(!text.contains(CANARY), "{text}");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_judged_without_a_panic(status: u16, body: Vec<u8>, retry_after: String) {
        let headers = vec![("retry-after".to_owned(), retry_after)];
        let answer = Ok(Inbound { status, headers, body });
        let app = app();
        let _ = read_answer(&app, &answer, now());
        let _ = read_probe(&app, &answer, now());
        let _ = read_account(app.identity.as_ref().unwrap(), &app, answer.as_ref().unwrap());
    }

    #[test]
    fn what_is_taken_for_a_token_fits_a_header(token: String, error: String) {
        let body = serde_json::json!({"access_token": token, "error": error}).to_string();
        match answer_of(&app(), 200, &body) {
            Answer::Tokens(set) => proptest::prop_assert!(is_header_safe(set.access_token.expose())),
            Answer::Refused(refusal) => proptest::prop_assert!(
                refusal.code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
            ),
            Answer::Ambiguous(_) => {}
        }
    }

    #[test]
    fn a_token_is_never_in_debug_output(token in "[a-zA-Z0-9]{12,40}", odd: bool) {
        let member = if odd { "refresh_token" } else { "access_token" };
        let shown = format!("{:?}", answer_of(&app(), 200, &serde_json::json!({ member: token }).to_string()));
        proptest::prop_assert!(!shown.contains(&token));
    }
}
