//! Malformed responses of token endpoints and APIs, judged without a world.

use std::rc::Rc;

use connections::app::{AuthMethod, TemplateValues, read_definition};
use connections::egress::EgressPolicy;
use connections::ports::AppResponse;
use connections::time::Timestamp;
use connections::token::{
    ProbeOutcome, RefusalClass, TokenResponse, read_account, read_probe_response, read_token_response,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    GeneratedResponse, PLANT, any_json, check_property, distorted_member, fits_a_header, generated_response,
    is_refresh_token, json_object, optional_member, quoted_word, text_with_plant, token_response,
};
use crate::support::fixture::acme_definition;

/// The longest accepted lifetime in seconds: ten years.
const TEN_YEARS: i64 = 315_360_000;

fn acme_app() -> Rc<AuthMethod> {
    read_definition(&acme_definition().to_string(), EgressPolicy::Public).unwrap().auth_method(None).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_unix(1_795_348_800)
}

fn classify_response(auth_method: &AuthMethod, inbound: AppResponse) -> TokenResponse {
    read_token_response(auth_method, &Ok(inbound), now())
}

/// The refresh token of a response.
fn refresh_token_of(answer: &TokenResponse) -> Option<&str> {
    match answer {
        TokenResponse::Tokens(tokens) => tokens.refresh_token.as_ref().map(connections::secret::Secret::expose),
        TokenResponse::Ambiguous(odd) => odd.refresh_token.as_ref().map(connections::secret::Secret::expose),
        TokenResponse::Refused(_) => None,
    }
}

fn expected_refresh_token(sent: &GeneratedResponse) -> Option<String> {
    sent.members.token("refresh_token").filter(|token| sent.is_readable() && is_refresh_token(token))
}

fn has_access_token(sent: &GeneratedResponse) -> bool {
    sent.members.token("access_token").is_some_and(|token| fits_a_header(token.trim()))
}

#[test]
fn a_readable_refresh_token_is_always_kept_unchanged() {
    let auth_method = acme_app();
    check_property(800, &token_response(), |sent| {
        let answer = classify_response(&auth_method, sent.to_inbound());
        let issued = expected_refresh_token(&sent);
        if sent.is_readable() {
            let owed = sent.is_success() || (has_access_token(&sent) && matches!(answer, TokenResponse::Ambiguous(_)));
            prop_assert!(!owed || refresh_token_of(&answer) == issued.as_deref(), "{:?}", answer);
            prop_assert!(refresh_token_of(&answer).is_none() || refresh_token_of(&answer) == issued.as_deref());
        }
        prop_assert!(refresh_token_of(&answer).is_none_or(is_refresh_token));
        Ok(())
    });
}

#[test]
fn only_a_parsed_permanent_error_is_permanent() {
    let auth_method = acme_app();
    check_property(800, &token_response(), |sent| {
        let answer = classify_response(&auth_method, sent.to_inbound());
        let is_permanent =
            matches!(&answer, TokenResponse::Refused(refusal) if refusal.class == RefusalClass::Permanent);
        prop_assert!(!is_permanent || sent.may_be_permanent(), "{:?}", answer);
        if is_permanent && sent.is_readable() {
            prop_assert!(sent.members.member_value("error").is_some(), "contradicting errors count for nothing");
            prop_assert!(!sent.is_success() || (expected_refresh_token(&sent).is_none() && !has_access_token(&sent)));
        }
        let is_clear = sent.is_readable() && sent.may_be_permanent() && sent.members.count_member("error") == 1;
        if is_clear && (400..500).contains(&sent.status) {
            prop_assert!(is_permanent, "{:?}", answer);
        }
        Ok(())
    });
}

#[test]
fn parsed_responses_are_valid_and_show_no_secret() {
    let auth_method = acme_app();
    check_property(800, &token_response(), |sent| {
        let mut answer = classify_response(&auth_method, sent.to_inbound());
        if let TokenResponse::Tokens(tokens) = &mut answer {
            prop_assert!(fits_a_header(&tokens.token_type));
            prop_assert!(tokens.scopes.iter().flatten().all(|scope| fits_a_header(scope)));
            // Both are shown to callers. Nothing else of a response is.
            (tokens.token_type, tokens.scopes) = (String::new(), None);
        }
        let shown = format!("{answer:?}");
        prop_assert!(!shown.contains("planted"), "{}", shown);
        match answer {
            TokenResponse::Tokens(tokens) => {
                prop_assert!(sent.is_success());
                let ends = [tokens.expires_at, tokens.refresh_expires_at];
                prop_assert!(ends.into_iter().flatten().all(|end| (1..=TEN_YEARS).contains(&end.since(now()))));
                prop_assert!(fits_a_header(tokens.access_token.expose()));
                let values = TemplateValues::new().with("access_token", tokens.access_token.expose());
                let headers = auth_method.request.prepare(&values).unwrap().headers;
                for value in headers.values() {
                    prop_assert!(value.split(' ').all(fits_a_header), "{:?}", value);
                }
            }
            TokenResponse::Refused(refusal) => {
                let is_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
                prop_assert!(refusal.code.len() <= 64 && refusal.code.bytes().all(is_code));
                if let RefusalClass::Transient { retry_after } = refusal.class {
                    prop_assert!(retry_after.is_none_or(|wait| (0..=86_400).contains(&wait)));
                }
            }
            TokenResponse::Ambiguous(odd) => {
                prop_assert!(odd.retry_after.is_none_or(|wait| (0..=86_400).contains(&wait)));
            }
        }
        Ok(())
    });
}

#[test]
fn a_truncated_response_is_neither_success_nor_refusal() {
    let auth_method = acme_app();
    let whole =
        json!({ "access_token": "a\u{e9}\"", "refresh_token": "r", "expires_in": 3600, "error": "invalid_grant" })
            .to_string();
    for status in [200, 400, 500] {
        for length in 0..whole.len() {
            let body = whole.as_bytes().iter().take(length).copied().collect();
            let answer = classify_response(&auth_method, AppResponse { status, headers: vec![], body });
            assert!(matches!(answer, TokenResponse::Ambiguous(_)), "{status}, {length} bytes: {answer:?}");
        }
    }
}

/// A response to an identity or check request.
fn api_response() -> impl Strategy<Value = GeneratedResponse> {
    let id = prop_oneof![2 => quoted_word(&["u1", "0", "U1"]), 1 => Just("42".to_owned()), 1 => text_with_plant().prop_map(|text| Value::from(text).to_string())];
    let label = text_with_plant().prop_map(|text| Value::from(text).to_string());
    generated_response(json_object(vec![
        distorted_member("sub", id.boxed()),
        distorted_member("email", label.boxed()),
        optional_member("error", quoted_word(&["invalid_grant", "token_revoked", "slow_down", "x"])),
        optional_member("error_description", any_json().boxed()),
        optional_member("sub.nested", any_json().boxed()),
    ]))
}

#[test]
fn only_a_clear_refusal_rejects_a_credential_and_accounts_are_read_exactly() {
    let auth_method = acme_app();
    let identity = auth_method.identity.clone().unwrap();
    let probe = identity.probe.clone().unwrap();
    check_property(800, &api_response(), |sent| {
        let inbound = sent.to_inbound();
        let verdict = read_probe_response(&auth_method, &probe, &Ok(inbound.clone()), now());
        let shown = format!("{verdict:?}");
        prop_assert!(!shown.contains(PLANT));
        if verdict == ProbeOutcome::Refused {
            prop_assert!(sent.status == 401 || sent.may_be_permanent());
        }
        if verdict == ProbeOutcome::Works {
            prop_assert!(sent.is_success());
        }
        if let Ok(account) = read_account(&auth_method, &identity, &probe, &inbound, &TemplateValues::new(), now()) {
            prop_assert!(sent.is_success());
            for text in [&account.id, &account.label] {
                prop_assert!(
                    !text.trim().is_empty() && text.chars().count() <= 256 && !text.chars().any(char::is_control)
                );
            }
            if sent.is_readable() {
                let said = sent.members.member_value("sub").unwrap_or_default();
                let written = sent.members.written("sub").unwrap_or_default();
                let is_integer = written.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
                let number = || if is_integer && written.len() > 18 { written.to_owned() } else { said.to_string() };
                prop_assert_eq!(said.as_str().map_or_else(number, str::to_owned), account.id);
            }
        }
        Ok(())
    });
}
