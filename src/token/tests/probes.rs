//! What an app says about a credential and its account.

use super::*;

#[test]
fn a_probe_has_a_result_for_every_response() {
    use ProbeOutcome::{Forbidden, Inconclusive, Refused, Unavailable, Works};
    let auth_method = oauth_method_with("", r#","errors":{"permanent":["invalid_auth"]}"#);
    let later = Unavailable { retry_after: None };
    for (status, text, expected) in [
        (200, "{}", Works),
        (204, "", Works),
        (200, r#"{"error":null}"#, Works),
        (200, r#"{"ok":false,"error":"invalid_auth"}"#, Refused),
        (200, r#"{"ok":false,"error":"something"}"#, Inconclusive),
        (400, r#"{"error":"invalid_grant"}"#, Refused),
        (400, "", Inconclusive),
        (401, "", Refused),
        (401, r#"{"error":{".tag":"expired_access_token"}}"#, Refused),
        (403, "", Forbidden),
        (403, r#"{"error":"token_revoked"}"#, Refused),
        (404, "", Inconclusive),
        (302, "", Inconclusive),
        (429, r#"{"error":"invalid_auth"}"#, later),
        (400, r#"{"error":"slow_down"}"#, later),
        (500, r#"{"error":"invalid_auth"}"#, later),
        (503, "", later),
    ] {
        assert_eq!(
            read_probe_response(
                &auth_method,
                identity_and_probe(&auth_method).1,
                &Ok(app_response(status, text)),
                now()
            ),
            expected,
            "{status} {text}"
        );
    }
    assert_eq!(
        read_probe_response(&auth_method, identity_and_probe(&auth_method).1, &Err(HttpError::Timeout), now()),
        later
    );
    assert_eq!(
        read_probe_response(&auth_method, identity_and_probe(&auth_method).1, &Err(HttpError::TooLarge), now()),
        Inconclusive
    );
    let mut html = app_response(200, "<html>");
    html.headers.push(("content-type".into(), "Text/HTML; charset=utf-8".into()));
    assert_eq!(read_probe_response(&auth_method, identity_and_probe(&auth_method).1, &Ok(html), now()), Inconclusive);
}

#[test]
fn only_an_empty_list_in_a_success_means_that_nothing_is_shared() {
    let auth_method = oauth_method_with(
        "",
        r#","nothing_shared":{"url":"https://acme.example/list","at":"/results","say":"Share."}"#,
    );
    let asked = auth_method.nothing_shared.as_ref().unwrap();
    for (status, text, expected) in [
        (200, r#"{"results":[]}"#, Some(true)),
        (200, r#"{"results":[{}]}"#, Some(false)),
        (200, r#"{"results":{}}"#, None),
        (200, r#"{"results":null}"#, None),
        (200, "{}", None),
        (200, r#"{"error":"no","results":[]}"#, None),
        (200, "<html>", None),
        (403, r#"{"results":[]}"#, None),
        (429, r#"{"results":[]}"#, None),
        (500, r#"{"results":[]}"#, None),
    ] {
        assert_eq!(
            read_nothing_shared(&auth_method, asked, &Ok(app_response(status, text)), now()),
            expected,
            "{status} {text}"
        );
    }
    assert_eq!(read_nothing_shared(&auth_method, asked, &Err(HttpError::Timeout), now()), None);
}

#[test]
fn an_account_is_read_and_cleaned_for_display() {
    let auth_method = oauth_method();
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
        let account = read_method_account(&auth_method, &app_response(200, &text), &TemplateValues::new());
        let expected = expected.map(|(id, label)| Account { id: id.into(), label: label.into() });
        assert_eq!(account, expected.ok_or(ProbeOutcome::Inconclusive), "{text}");
    }
    assert_eq!(
        read_method_account(&auth_method, &app_response(401, "{}"), &TemplateValues::new()),
        Err(ProbeOutcome::Refused)
    );
}

#[test]
fn a_definition_can_give_a_status_a_meaning() {
    let auth_method = oauth_method_with(
        "",
        r#","errors":{"permanent":["dead"],"configuration":["not_for_you"]},
        "check":{"url":"https://acme.example","statuses":{"403":"works","404":"refused","409":"forbidden","401":"unknown","429":"works"}}"#,
    );
    let probe = auth_method.check.as_ref().unwrap();
    let verdict = |status, text| read_probe_response(&auth_method, probe, &Ok(app_response(status, text)), now());
    for (status, text, expected) in [
        (403, "", ProbeOutcome::Works),
        (404, "", ProbeOutcome::Refused),
        (409, "", ProbeOutcome::Forbidden),
        (401, "", ProbeOutcome::Inconclusive),
        (429, "", ProbeOutcome::Works),
        (400, r#"{"error":"dead"}"#, ProbeOutcome::Refused),
        (200, "", ProbeOutcome::Works),
    ] {
        assert_eq!(verdict(status, text), expected, "{status} {text}");
    }
    // Otherwise a status has its usual meaning. A 401 that reports an error of the request recognises the credential.
    let usual = |status, text| {
        read_probe_response(&auth_method, identity_and_probe(&auth_method).1, &Ok(app_response(status, text)), now())
    };
    assert_eq!(usual(404, ""), ProbeOutcome::Inconclusive);
    assert_eq!(usual(401, r#"{"error":"not_for_you"}"#), ProbeOutcome::Forbidden);
    assert_eq!(usual(401, r#"{"error":"something"}"#), ProbeOutcome::Refused);
}

#[test]
fn a_retry_delay_in_the_body_is_read_for_probes() {
    let auth_method = oauth_method_with("", r#","errors":{"retry_after":"/wait"}"#);
    let told = read_probe_response(
        &auth_method,
        identity_and_probe(&auth_method).1,
        &Ok(app_response(429, r#"{"wait":7}"#)),
        now(),
    );
    assert_eq!(told, ProbeOutcome::Unavailable { retry_after: Some(7) });
}

#[test]
fn granted_scopes_can_come_from_a_header() {
    let with = |scopes: &str| {
        parse_method(&format!(
            r#"{{"id":"acme","name":"Acme","auth":{{"type":"api_key"}},"identity":{{"url":"https://acme.example","id":"/id","label":"/id"{scopes}}}}}"#
        ))
    };
    let found = |auth_method: &AuthMethod, value: Option<&str>| {
        let mut answer = app_response(200, "{}");
        answer.headers.extend(value.map(|value| ("x-scopes".to_owned(), value.to_owned())));
        read_header_scopes(auth_method.identity.as_ref().unwrap(), &answer)
    };
    let auth_method = with(r#","scopes":{"header":"X-Scopes","separator":","}"#);
    for (value, scopes) in [(Some("repo, user,repo"), Some(vec!["repo", "user"])), (Some(""), None), (None, None)] {
        assert_eq!(
            found(&auth_method, value),
            scopes.map(|list| list.into_iter().map(str::to_owned).collect()),
            "{value:?}"
        );
    }
    assert_eq!(found(&with(""), Some("repo")), None);
}

#[test]
fn an_account_id_may_have_several_parts() {
    let auth_method = parse_method(
        r#"{"id":"acme","name":"Acme","variables":{"site":{"label":"Site"}},"auth":{"type":"api_key"},
        "identity":{"url":"https://{site}.acme.example","id":["{site}:{/team/id}:{/user/id}","{site}:{/user/id}"],"label":["{/user/name} ({/team/name})","/user/name"]}}"#,
    );
    let values = TemplateValues::new().with("site", "red");
    let account = |text: &str| read_method_account(&auth_method, &app_response(200, text), &values);
    for (text, id, label) in [
        (r#"{"team":{"id":"T1","name":"Red"},"user":{"id":7,"name":"Ada"}}"#, "red:T1:7", "Ada (Red)"),
        (r#"{"team":{"id":"T1"},"user":{"id":7,"name":"Ada"}}"#, "red:T1:7", "Ada"),
        (r#"{"user":{"id":7}}"#, "red:7", "red:7"),
    ] {
        assert_eq!(account(text), Ok(Account { id: id.into(), label: label.into() }), "{text}");
    }
    assert_eq!(account(r#"{"user":{"name":"Ada"}}"#), Err(ProbeOutcome::Inconclusive));
}
