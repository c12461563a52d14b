//! Reading tokens from a response.

use super::*;
use crate::app::{JsonPointer, VariableSource};

#[test]
fn expiry_is_read_in_every_format() {
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
        assert_eq!(read_tokens(&oauth_method(), &text).expires_at, expected.map(|s| now().plus(s)), "{value}");
        let known = oauth_method_with(r#","access_token_lifetime":7200"#, "");
        assert_eq!(read_tokens(&known, &text).expires_at, Some(now().plus(expected.unwrap_or(7200))), "{value}");
    }
    assert_eq!(read_tokens(&oauth_method(), r#"{"access_token":"a"}"#).expires_at, None);
}

#[test]
fn the_earliest_expiry_of_the_refresh_token_is_used() {
    for (members, expected) in [
        (r#""refresh_token_expires_in":50"#, Some(50)),
        (r#""x_refresh_token_expires_in":"50""#, Some(50)),
        (r#""refresh_token_timeout":70,"authorization_expires_in":60"#, Some(60)),
        (r#""refresh_token":"r""#, Some(999)),
        (r#""refresh_token":"r","refresh_token_expires_in":50"#, Some(50)),
        (r#""x":1"#, None),
    ] {
        let auth_method = oauth_method_with(r#","refresh_token_lifetime":999"#, "");
        let text = format!(r#"{{"access_token":"a",{members}}}"#);
        assert_eq!(read_tokens(&auth_method, &text).refresh_expires_at, expected.map(|s| now().plus(s)), "{members}");
    }
}

#[test]
fn token_type_and_refresh_token_are_normalised() {
    for (value, expected) in
        [("\"bEaReR\"", "Bearer"), ("\"bot\"", "bot"), ("null", "Bearer"), ("\"a b\"", "Bearer"), ("7", "Bearer")]
    {
        let text = format!(r#"{{"access_token":"a","token_type":{value}}}"#);
        assert_eq!(read_tokens(&oauth_method(), &text).token_type, expected, "{value}");
    }
    for (value, expected) in [
        ("\"r\"", Some("r")),
        ("\"r s\"", Some("r s")),
        ("\"\"", None),
        ("null", None),
        ("7", None),
        ("1796126400", None),
        ("1796126400000", None),
        ("1234567890123456", Some("1234567890123456")),
        ("\"é\"", Some("é")),
        ("7.5", None),
        ("\"\\ud83d\"", None),
    ] {
        let text = format!(r#"{{"access_token":"a","refresh_token":{value}}}"#);
        assert_eq!(read_tokens(&oauth_method(), &text).refresh_token.as_ref().map(Secret::expose), expected, "{value}");
    }
    let long = "x".repeat(64 * 1024);
    assert_eq!(read_tokens(&oauth_method(), &format!(r#"{{"access_token":"{long}"}}"#)).access_token.expose(), long);
}

#[test]
fn scopes_are_a_list_without_duplicates_or_unknown() {
    let comma = oauth_method_with(r#","scope_separator":",""#, "");
    let other = oauth_method_with(r#","response":{"scope_separator":","}"#, "");
    for (auth_method, value, expected) in [
        (&oauth_method(), "\"a b  a\"", Some(vec!["a", "b"])),
        (&oauth_method(), "[\"a\",\"b\",7]", Some(vec!["a", "b"])),
        (&oauth_method(), "\"a\\tb é c\"", Some(vec!["a", "b", "c"])),
        (&oauth_method(), "\"\"", None),
        (&oauth_method(), "null", None),
        (&oauth_method(), "{}", None),
        (&comma, "\"a, b,c\"", Some(vec!["a", "b", "c"])),
        (&other, "\"a,b\"", Some(vec!["a", "b"])),
    ] {
        let text = format!(r#"{{"access_token":"a","scope":{value}}}"#);
        let scopes = read_tokens(auth_method, &text).scopes;
        assert_eq!(
            scopes.as_deref(),
            expected.map(|e| e.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).as_deref(),
            "{value}"
        );
    }
    assert_eq!(read_tokens(&oauth_method(), r#"{"access_token":"a"}"#).scopes, None);
}

#[test]
fn tokens_are_read_where_the_definition_says() {
    let auth_method = oauth_method_with(
        r#","response":{"access_token":"/user/token","refresh_token":"/user/refresh","expires_in":"/user/ttl"}"#,
        "",
    );
    let set = read_tokens(&auth_method, r#"{"access_token":"bot","user":{"token":"u","refresh":"r","ttl":10}}"#);
    assert_eq!((set.access_token.expose(), set.refresh_token.unwrap().expose()), ("u", "r"));
    assert_eq!(set.expires_at, Some(now().plus(10)));
}

#[test]
fn an_expiry_may_be_a_point_in_time() {
    let auth_method = oauth_method_with(r#","response":{"expires_at":"/until"}"#, "");
    let end = now().plus(90);
    let (seconds, milliseconds) = (end.unix(), end.unix() * 1000 + 7);
    for (until, expected) in [
        (seconds.to_string(), Some(end)),
        (format!("\"{seconds}\""), Some(end)),
        (milliseconds.to_string(), Some(end)),
        (format!("\"{end}\"", end = end.rfc3339()), Some(end)),
        (now().unix().to_string(), None),
        ("\"soon\"".to_owned(), None),
        ("90".to_owned(), Some(end)),
        ("true".to_owned(), None),
        ("9000000000000000000".to_owned(), Some(now().plus(315_360_000))),
    ] {
        assert_eq!(
            read_tokens(&auth_method, &format!(r#"{{"access_token":"a","until":{until}}}"#)).expires_at,
            expected,
            "{until}"
        );
    }
    let both = format!(r#"{{"access_token":"a","expires_in":10,"until":{seconds}}}"#);
    assert_eq!(read_tokens(&auth_method, &both).expires_at, Some(now().plus(10)));
}

#[test]
fn a_contradictory_member_is_ignored() {
    let set = read_tokens(
        &oauth_method(),
        r#"{"access_token":"a","access_token":"a","refresh_token":"x","refresh_token":"y"}"#,
    );
    assert_eq!(set.refresh_token, None);
}

const TWO_TOKENS: &str = r#","access_token_lifetime":3600,"refresh_token_lifetime":86400,
    "tokens":{"user":{"access_token":"/authed_user/access_token","refresh_token":"/authed_user/refresh_token",
    "expires_in":"/authed_user/expires_in","scope":"/authed_user/scope","token_type":"/authed_user/token_type","scope_param":"user_scope"}}"#;

#[test]
fn further_tokens_have_their_own_members() {
    let auth_method = oauth_method_with(TWO_TOKENS, "");
    let set = read_tokens(
        &auth_method,
        r#"{"access_token":"b","refresh_token":"br","expires_in":10,"scope":"chat","authed_user":{"access_token":"u","refresh_token":"ur",
        "expires_in":20,"scope":"search:read chat","token_type":"user"}}"#,
    );
    let user = &set.additional["user"];
    assert_eq!((set.access_token.expose(), user.access_token.expose()), ("b", "u"));
    assert_eq!((set.token_type.as_str(), user.token_type.as_str()), ("Bearer", "user"));
    assert_eq!(user.refresh_token.as_ref().map(Secret::expose), Some("ur"));
    assert_eq!((set.expires_at, user.expires_at), (Some(now().plus(10)), Some(now().plus(20))));
    assert_eq!(user.scopes.as_deref(), Some(&["search:read".to_owned(), "chat".to_owned()][..]));
    assert_eq!(set.scopes.unwrap(), ["chat", "user:search:read", "user:chat"]);
    assert_eq!(set.response.0.pointer("/authed_user/access_token").unwrap(), "u");
}

#[test]
fn a_further_token_uses_no_member_of_the_first() {
    let bare = oauth_method_with(r#","tokens":{"user":{"access_token":"/user","scope_param":"s"}}"#, "");
    let set =
        read_tokens(&bare, r#"{"access_token":"b","refresh_token":"br","expires_in":10,"scope":"chat","user":"u"}"#);
    let user = &set.additional["user"];
    assert_eq!((user.access_token.expose(), user.refresh_token.is_none(), user.expires_at), ("u", true, None));
    assert_eq!(set.scopes.unwrap(), ["chat"]);
    for text in [
        r#"{"access_token":"b"}"#,
        r#"{"access_token":"b","authed_user":{"access_token":""}}"#,
        r#"{"access_token":"b","authed_user":{"access_token":"a b"}}"#,
        r#"{"access_token":"b","authed_user":{"id":"U1"}}"#,
    ] {
        assert!(read_tokens(&oauth_method_with(TWO_TOKENS, ""), text).additional.is_empty(), "{text}");
    }
}

#[test]
fn granted_scopes_are_unknown_if_the_first_token_names_none() {
    let set = read_tokens(
        &oauth_method_with(TWO_TOKENS, ""),
        r#"{"access_token":"b","authed_user":{"access_token":"u","scope":"x"}}"#,
    );
    assert_eq!(set.scopes, None);
    assert_eq!(set.additional["user"].scopes.as_deref(), Some(&["x".to_owned()][..]));
}

#[test]
fn a_definition_may_point_to_the_refresh_tokens_lifetime() {
    let auth_method = oauth_method_with(r#","response":{"refresh_expires_in":"/refresh/ttl"}"#, "");
    for (members, expected) in [
        (r#""refresh":{"ttl":50}"#, Some(50)),
        (r#""refresh":{"ttl":"50"},"refresh_token_expires_in":60"#, Some(50)),
        (r#""refresh":{"ttl":70},"refresh_token_expires_in":60"#, Some(60)),
        (r#""refresh":{}"#, None),
    ] {
        let set = read_tokens(&auth_method, &format!(r#"{{"access_token":"a",{members}}}"#));
        assert_eq!(set.refresh_expires_at, expected.map(|seconds| now().plus(seconds)), "{members}");
    }
}

fn pointer_in_response<'a>(answer: &str, origin: &'a VariableSource) -> Option<&'a JsonPointer> {
    match (answer, origin) {
        ("token", VariableSource::Token(at)) | ("identity", VariableSource::Identity(at)) => Some(at),
        _ => None,
    }
}

#[test]
fn a_response_may_contain_valid_variables() {
    let auth_method = parse_method(
        r#"{"id":"acme","name":"Acme","auth":{"type":"oauth2","issuer":"https://acme.example"},
        "variables":{"instance":{"from":"token","at":"/instance_url","pattern":"https://.+"},"shard":{"from":"token","at":"/shard","default":"us1"},
        "cloud":{"from":"identity","at":"/0/id"},"site":{"label":"Site"}},
        "request":{"base_url":"{instance}/{shard}/{cloud}/{site}"}}"#,
    );
    let read = |from: &str, text: &str| {
        let found =
            read_reported_values(&auth_method.variables, text.as_bytes(), |origin| pointer_in_response(from, origin));
        found.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    for (from, text, found) in [
        (
            "token",
            r#"{"instance_url":"https://na1.acme.example","shard":"eu2"}"#,
            "instance=https://na1.acme.example shard=eu2",
        ),
        (
            "token",
            r#"{"instance_url":"https://na1.acme.example","shard":7}"#,
            "instance=https://na1.acme.example shard=7",
        ),
        ("token", r#"{"instance_url":"http://na1.acme.example"}"#, "shard=us1"),
        ("token", r#"{"instance_url":null,"shard":"a/b"}"#, ""),
        ("token", r#"{"shard":".."}"#, ""),
        ("identity", r#"[{"id":"c1"}]"#, "cloud=c1"),
        ("identity", r#"[{"id":{}}]"#, ""),
        ("identity", "<html>", ""),
    ] {
        assert_eq!(read(from, text), found, "{from} {text}");
    }
}

#[test]
fn a_token_response_may_name_the_account() {
    let auth_method = parse_method(
        r#"{"id":"acme","name":"Acme","auth":{"type":"oauth2","issuer":"https://acme.example"},
        "identity":{"from":"token","id":"{/team/id}:{/user}","label":["/email","/user"]}}"#,
    );
    let account = |text: &str| {
        let set = read_tokens(&auth_method, text);
        read_account_from_tokens(&auth_method.identity.as_ref().unwrap().account, &set, &TemplateValues::new())
    };
    let found = account(r#"{"access_token":"a","team":{"id":"T1"},"user":7}"#).unwrap();
    assert_eq!((found.id.as_str(), found.label.as_str()), ("T1:7", "7"));
    assert_eq!(account(r#"{"access_token":"a","user":7}"#), None);
}
