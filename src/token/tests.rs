//! Requests to apps and the classification of their responses.

mod probes;
mod requests;
mod responses;
mod secrets;
mod token_sets;
mod unusual_responses;

use std::rc::Rc;

use super::*;
use crate::account::Account;
use crate::app::{
    AuthMethod, IdentityLookup, OutboundMethod, Probe, ResolvedEndpoints, TemplateValues, read_definition,
};
use crate::egress::EgressPolicy;
use crate::ports::{AppResponse, HttpError, OutboundRequest};

const CANARY: &str = "canary-7f3a";

fn oauth_method_with(auth: &str, beside: &str) -> Rc<AuthMethod> {
    let json = format!(
        r#"{{"id":"acme","name":"Acme","auth":{{"type":"oauth2","authorize_url":"https://acme.example/a",
        "token_url":"https://acme.example/t","revoke_url":"https://acme.example/r"{auth}}},"scopes":["read"],
        "identity":{{"url":"https://api.acme.example/me","id":"/id","label":["/email","/name"]}}{beside}}}"#
    );
    parse_method(&json)
}

/// The recommended auth method of a definition.
fn parse_method(json: &str) -> Rc<AuthMethod> {
    read_definition(json, EgressPolicy::Public)
        .unwrap_or_else(|problems| panic!("{json}: {problems:?}"))
        .auth_method(None)
        .unwrap()
}

fn oauth_method() -> Rc<AuthMethod> {
    oauth_method_with("", "")
}

fn now() -> Timestamp {
    Timestamp::from_unix(1_795_348_800)
}

fn app_response(status: u16, body: &str) -> AppResponse {
    AppResponse { status, headers: vec![], body: body.as_bytes().to_vec() }
}

fn read_response(auth_method: &AuthMethod, status: u16, body: &str) -> TokenResponse {
    read_token_response(auth_method, &Ok(app_response(status, body)), now())
}

fn read_tokens(auth_method: &AuthMethod, body: &str) -> TokenSet {
    match read_response(auth_method, 200, body) {
        TokenResponse::Tokens(tokens) => tokens,
        other => panic!("{body}: {other:?}"),
    }
}

fn client_identity() -> ClientIdentity {
    ClientIdentity::new("my id", ClientProof::Secret(Secret::new("s:é&c")), &Rc::default())
}

fn header<'a>(request: &'a OutboundRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

fn endpoints(auth_method: &AuthMethod) -> ResolvedEndpoints {
    endpoints_with(auth_method, &TemplateValues::new())
}

fn endpoints_with(auth_method: &AuthMethod, values: &TemplateValues) -> ResolvedEndpoints {
    auth_method.resolve_fixed_endpoints(values).unwrap().unwrap()
}

fn access_token_values(token: &str) -> TemplateValues {
    TemplateValues::new().with("access_token", token)
}

fn identity_and_probe(auth_method: &AuthMethod) -> (&IdentityLookup, &Probe) {
    let identity = auth_method.identity.as_ref().unwrap();
    (identity, identity.probe.as_ref().unwrap())
}

fn read_method_account(
    auth_method: &AuthMethod,
    answer: &AppResponse,
    values: &TemplateValues,
) -> Result<Account, ProbeOutcome> {
    let (identity, probe) = identity_and_probe(auth_method);
    read_account(auth_method, identity, probe, answer, values, now())
}

fn body(request: &OutboundRequest) -> &str {
    request.body.as_deref().unwrap()
}

proptest::proptest! {
    #[test]
    fn arbitrary_responses_cause_no_panic(status: u16, body: Vec<u8>, retry_after: String) {
        let headers = vec![("retry-after".to_owned(), retry_after)];
        let answer = Ok(AppResponse { status, headers, body });
        let auth_method = oauth_method();
        let _ = read_token_response(&auth_method, &answer, now());
        let _ = read_probe_response(&auth_method, identity_and_probe(&auth_method).1, &answer, now());
        let _ = read_method_account(&auth_method, answer.as_ref().unwrap(), &TemplateValues::new());
    }

    #[test]
    fn an_accepted_token_is_a_valid_header_value(token: String, error: String) {
        let body = serde_json::json!({"access_token": token, "error": error}).to_string();
        match read_response(&oauth_method(), 200, &body) {
            TokenResponse::Tokens(set) => proptest::prop_assert!(is_header_safe(set.access_token.expose())),
            TokenResponse::Refused(refusal) => proptest::prop_assert!(
                refusal.code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
            ),
            TokenResponse::Ambiguous(_) => {}
        }
    }

    #[test]
    fn debug_output_shows_no_token(token in "[a-zA-Z0-9]{12,40}", odd: bool) {
        let member = if odd { "refresh_token" } else { "access_token" };
        let shown = format!("{:?}", read_response(&oauth_method(), 200, &serde_json::json!({ member: token }).to_string()));
        proptest::prop_assert!(!shown.contains(&token));
    }
}
