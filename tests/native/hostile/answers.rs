//! What token endpoints and APIs answer, judged without a world around it.

use std::rc::Rc;

use connections::app::{App, Values, read};
use connections::egress::Egress;
use connections::ports::Inbound;
use connections::time::Timestamp;
use connections::token::{Answer, Class, ProbeVerdict, read_account, read_answer, read_probe};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    PLANT, Sent, check, fits_a_header, is_refresh_token, member, object, perhaps, planted, scrap, sent, token_answer,
    word,
};
use crate::support::scene::definition;

/// Seconds of the longest life that anybody is believed: ten years.
const TEN_YEARS: i64 = 315_360_000;

fn app() -> Rc<App> {
    read(&definition().to_string(), Egress::Public).unwrap().way(None).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_unix(1_795_348_800)
}

fn judged(app: &App, inbound: Inbound) -> Answer {
    read_answer(app, &Ok(inbound), now())
}

/// The refresh token that an answer hands on.
fn kept(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Tokens(tokens) => tokens.refresh_token.as_ref().map(connections::secret::Secret::expose),
        Answer::Ambiguous(odd) => odd.refresh_token.as_ref().map(connections::secret::Secret::expose),
        Answer::Refused(_) => None,
    }
}

fn issued(sent: &Sent) -> Option<String> {
    sent.members.token("refresh_token").filter(|token| sent.is_whole() && is_refresh_token(token))
}

fn has_access_token(sent: &Sent) -> bool {
    sent.members.token("access_token").is_some_and(|token| fits_a_header(token.trim()))
}

#[test]
fn a_usable_refresh_token_in_an_answer_is_never_dropped_and_never_another() {
    let app = app();
    check(800, &token_answer(), |sent| {
        let answer = judged(&app, sent.inbound());
        let issued = issued(&sent);
        if sent.is_whole() {
            let owed = sent.is_success() || (has_access_token(&sent) && matches!(answer, Answer::Ambiguous(_)));
            prop_assert!(!owed || kept(&answer) == issued.as_deref(), "{:?}", answer);
            prop_assert!(kept(&answer).is_none() || kept(&answer) == issued.as_deref());
        }
        prop_assert!(kept(&answer).is_none_or(is_refresh_token));
        Ok(())
    });
}

#[test]
fn nothing_but_a_parsed_permanent_error_is_permanent_and_every_such_error_is() {
    let app = app();
    check(800, &token_answer(), |sent| {
        let answer = judged(&app, sent.inbound());
        let is_permanent = matches!(&answer, Answer::Refused(refusal) if refusal.class == Class::Permanent);
        prop_assert!(!is_permanent || sent.may_be_permanent(), "{:?}", answer);
        if is_permanent && sent.is_whole() {
            prop_assert!(sent.members.value("error").is_some(), "contradicting errors count for nothing");
            prop_assert!(!sent.is_success() || (issued(&sent).is_none() && !has_access_token(&sent)));
        }
        let is_clear = sent.is_whole() && sent.may_be_permanent() && sent.members.times("error") == 1;
        if is_clear && (400..500).contains(&sent.status) {
            prop_assert!(is_permanent, "{:?}", answer);
        }
        Ok(())
    });
}

#[test]
fn what_an_answer_is_turned_into_is_sane_and_shows_nothing_of_it() {
    let app = app();
    check(800, &token_answer(), |sent| {
        let mut answer = judged(&app, sent.inbound());
        if let Answer::Tokens(tokens) = &mut answer {
            prop_assert!(fits_a_header(&tokens.token_type));
            prop_assert!(tokens.scopes.iter().flatten().all(|scope| fits_a_header(scope)));
            // Both are told to callers; nothing else of an answer is.
            (tokens.token_type, tokens.scopes) = (String::new(), None);
        }
        let shown = format!("{answer:?}");
        prop_assert!(!shown.contains("planted"), "{}", shown);
        match answer {
            Answer::Tokens(tokens) => {
                prop_assert!(sent.is_success());
                let ends = [tokens.expires_at, tokens.refresh_expires_at];
                prop_assert!(ends.into_iter().flatten().all(|end| (1..=TEN_YEARS).contains(&end.since(now()))));
                prop_assert!(fits_a_header(tokens.access_token.expose()));
                let values = Values::new().with("access_token", tokens.access_token.expose());
                let headers = app.request.dress(&values).unwrap().headers;
                for value in headers.values() {
                    prop_assert!(value.split(' ').all(fits_a_header), "{:?}", value);
                }
            }
            Answer::Refused(refusal) => {
                let is_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
                prop_assert!(refusal.code.len() <= 64 && refusal.code.bytes().all(is_code));
                if let Class::Transient { retry_after } = refusal.class {
                    prop_assert!(retry_after.is_none_or(|wait| (0..=86_400).contains(&wait)));
                }
            }
            Answer::Ambiguous(odd) => prop_assert!(odd.retry_after.is_none_or(|wait| (0..=86_400).contains(&wait))),
        }
        Ok(())
    });
}

#[test]
fn an_answer_that_is_cut_off_at_any_byte_is_neither_success_nor_refusal() {
    let app = app();
    let whole =
        json!({ "access_token": "a\u{e9}\"", "refresh_token": "r", "expires_in": 3600, "error": "invalid_grant" })
            .to_string();
    for status in [200, 400, 500] {
        for length in 0..whole.len() {
            let body = whole.as_bytes().iter().take(length).copied().collect();
            let answer = judged(&app, Inbound { status, headers: vec![], body });
            assert!(matches!(answer, Answer::Ambiguous(_)), "{status}, {length} bytes: {answer:?}");
        }
    }
}

/// An answer of an identity or check request.
fn api_answer() -> impl Strategy<Value = Sent> {
    let id = prop_oneof![2 => word(&["u1", "0", "U1"]), 1 => Just("42".to_owned()), 1 => planted().prop_map(|text| Value::from(text).to_string())];
    let label = planted().prop_map(|text| Value::from(text).to_string());
    sent(object(vec![
        member("sub", id.boxed()),
        member("email", label.boxed()),
        perhaps("error", word(&["invalid_grant", "token_revoked", "slow_down", "x"])),
        perhaps("error_description", scrap().boxed()),
        perhaps("sub.nested", scrap().boxed()),
    ]))
}

#[test]
fn a_credential_is_refused_only_by_a_clear_word_and_an_account_is_read_as_it_stands() {
    let app = app();
    let identity = app.identity.clone().unwrap();
    let probe = identity.probe.clone().unwrap();
    check(800, &api_answer(), |sent| {
        let inbound = sent.inbound();
        let verdict = read_probe(&app, &probe, &Ok(inbound.clone()), now());
        let shown = format!("{verdict:?}");
        prop_assert!(!shown.contains(PLANT));
        if verdict == ProbeVerdict::Refused {
            prop_assert!(sent.status == 401 || sent.may_be_permanent());
        }
        if verdict == ProbeVerdict::Works {
            prop_assert!(sent.is_success());
        }
        if let Ok(account) = read_account(&app, (&identity, &probe), &inbound, &Values::new(), now()) {
            prop_assert!(sent.is_success());
            for text in [&account.id, &account.label] {
                prop_assert!(
                    !text.trim().is_empty() && text.chars().count() <= 256 && !text.chars().any(char::is_control)
                );
            }
            if sent.is_whole() {
                let said = sent.members.value("sub").unwrap_or_default();
                let written = sent.members.written("sub").unwrap_or_default();
                let is_integer = written.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
                let number = || if is_integer && written.len() > 18 { written.to_owned() } else { said.to_string() };
                prop_assert_eq!(said.as_str().map_or_else(number, str::to_owned), account.id);
            }
        }
        Ok(())
    });
}
