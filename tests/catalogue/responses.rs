//! Checks how the responses of apps are read, and that all required ones are listed. The responses come from
//! [`sample_responses`].
//!
//! Refuses an app without the responses that every app has.

use std::collections::BTreeMap;

use connections::account::Account;
use connections::app::{App, AuthMethod, CredentialKind, JsonPointer, Probe, TemplateValues, VariableSource};
use connections::ports::AppResponse;
use connections::token::{
    ProbeOutcome, RefusalClass, RevocationResponse, TokenResponse, TokenSet, read_account, read_account_from_tokens,
    read_header_scopes, read_probe_response, read_reported_values, read_revocation_response, read_token_response,
};
use serde_json::{Map, Value, json};

use crate::sample_responses::{self, ResponseKind, SampleResponse, load_all};
use crate::{apps, assert_no_errors, find_orphan_files, made_up};

#[test]
fn documented_responses_are_read_correctly() {
    let mut complaints = find_orphan_files("tests/catalogue/answers", "json");
    for app in apps() {
        for entry in load_all(&app) {
            let read = read_response(&entry.auth_method(&app), &entry);
            if read != entry.read {
                let (is, should) = (read.to_string(), entry.read.to_string());
                complaints.push(format!("{}: {}:\n  is        {is}\n  should be {should}", app.id, entry.what));
            }
        }
    }
    assert_no_errors(&complaints);
}

#[test]
fn every_auth_method_has_the_required_sample_responses() {
    let mut complaints = Vec::new();
    for app in apps() {
        for one in app.auth_methods() {
            let missing = required_responses(one, &sample_responses::load_for_auth_method(&app, one))
                .into_iter()
                .filter(|(_, there)| !there);
            complaints.extend(missing.map(|(what, _)| format!("{} {}: no answer with {what}", app.id, one.method_id)));
        }
        // The response belongs to the app, not to an auth method.
        if !load_all(&app).iter().any(|entry| entry.has_verdict("unavailable")) {
            complaints.push(format!("{}: no answer of an app that can't answer now, such as a 429", app.id));
        }
    }
    assert_no_errors(&complaints);
}

/// The required kinds of responses of an auth method, and whether each is listed.
fn required_responses(auth_method: &AuthMethod, answers: &[SampleResponse]) -> Vec<(&'static str, bool)> {
    let any = |fits: &dyn Fn(&SampleResponse) -> bool| answers.iter().any(fits);
    let refused =
        |class: &'static str| any(&|entry| entry.kind == ResponseKind::Token && entry.is_refusal_of_class(class));
    let tokens = |kind: ResponseKind| any(&|entry| entry.kind == kind && entry.has_tokens());
    let account = any(&|entry| entry.account().is_some());
    let mut wanted = if auth_method.kind == CredentialKind::OAuth2 {
        let renews = gives_refresh_token(auth_method, answers);
        vec![
            ("tokens", tokens(ResponseKind::Token)),
            ("tokens for a refresh token", !renews || tokens(ResponseKind::Refresh)),
            ("a permanent refusal", !renews || refused("permanent")),
            ("a refused client", refused("client")),
            ("a refused access token", !may_omit_refresh_token(answers) || any(&|entry| entry.has_verdict("refused"))),
            ("an account", account),
        ]
    } else if auth_method.kind.uses_oauth_server() {
        let dead = refused("permanent") || refused("client");
        vec![("tokens", tokens(ResponseKind::Token)), ("a refusal for good", dead)]
    } else {
        let works = account || any(&|entry| entry.has_verdict("works"));
        vec![("a success", works), ("a refusal", any(&|entry| entry.has_verdict("refused")))]
    };
    wanted
        .push(("a revocation that is done", !has_revoke_url(auth_method) || any(&SampleResponse::confirms_revocation)));
    wanted
}

/// Whether the app issues refresh tokens: its file says that something expires, or a response has a refresh token.
fn gives_refresh_token(auth_method: &AuthMethod, answers: &[SampleResponse]) -> bool {
    let ends = auth_method.oauth_server().is_some_and(|server| {
        server.refresh_token_lifetime.or(server.refresh_token_idle).or(server.access_token_lifetime).is_some()
    });
    ends || answers.iter().any(|entry| entry.refresh_token().is_some())
}

/// Whether a response has a token that cannot be refreshed. Only a check finds out that it is invalid.
fn may_omit_refresh_token(answers: &[SampleResponse]) -> bool {
    answers
        .iter()
        .any(|entry| entry.kind == ResponseKind::Token && entry.has_tokens() && entry.refresh_token().is_none())
}

/// Whether its file says where tokens are revoked.
fn has_revoke_url(auth_method: &AuthMethod) -> bool {
    let endpoints = auth_method.resolve_fixed_endpoints(&made_up::template_values(
        auth_method,
        &made_up::variables_before_response(auth_method),
    ));
    endpoints.is_some_and(|endpoints| endpoints.is_ok_and(|endpoints| endpoints.revoke_url.is_some()))
}

#[test]
fn sample_responses_contain_only_fake_secrets() {
    for app in apps() {
        for entry in load_all(&app) {
            let set = entry.read.get("tokens");
            let tokens = ["access_token", "refresh_token"].into_iter().filter_map(|name| set?.get(name)?.as_str());
            for token in tokens {
                assert!(token.contains("made-up"), "{}: {}: name the tokens made-up-…", app.id, entry.what);
            }
        }
    }
}

/// How many responses no page confirms, by app.
pub(crate) fn count_unverified(app: &App) -> (usize, usize) {
    let all = load_all(app);
    (all.iter().filter(|entry| entry.unverified).count(), all.len())
}

fn read_response(auth_method: &AuthMethod, entry: &SampleResponse) -> Value {
    let inbound = entry.to_inbound();
    match entry.kind {
        ResponseKind::Token => token_json(auth_method, inbound, missing_scopes),
        ResponseKind::Refresh => token_json(auth_method, inbound, |_, _| None),
        ResponseKind::Identity => read_identity_response(auth_method, &inbound),
        ResponseKind::Check => {
            let probe = auth_method
                .check
                .clone()
                .or_else(|| auth_method.identity.as_ref().and_then(|identity| identity.probe.clone()));
            verdict_as_json(read_probe_response(auth_method, &probe.unwrap(), &Ok(inbound), made_up::now()))
        }
        ResponseKind::Revocation => Value::from(match read_revocation_response(auth_method, &Ok(inbound)) {
            RevocationResponse::Revoked => "done",
            RevocationResponse::TokenInvalid => "dead",
            RevocationResponse::UnsupportedTokenType => "other_kind",
            RevocationResponse::Unauthorized => "refused",
            RevocationResponse::Inconclusive => "nothing",
        }),
    }
}

fn token_json(
    auth_method: &AuthMethod,
    inbound: AppResponse,
    missing: impl Fn(&AuthMethod, &TokenSet) -> Option<Value>,
) -> Value {
    let body = inbound.body.clone();
    match read_token_response(auth_method, &Ok(inbound), made_up::now()) {
        TokenResponse::Tokens(tokens) => {
            let values = template_values(auth_method, &read_token_variables(auth_method, &body));
            let identity = auth_method.identity.as_ref().filter(|identity| identity.probe.is_none());
            let found = identity.and_then(|identity| read_account_from_tokens(&identity.account, &tokens, &values));
            let mut read = json!({ "tokens": token_set_as_json(&tokens) });
            insert_if_some(&mut read, "account", found.map(|found| account_as_json(&found)));
            insert_if_some(&mut read, "missing", missing(auth_method, &tokens));
            insert_if_some(
                &mut read,
                "variables",
                Some(read_token_variables(auth_method, &body)).filter(|map| !map.is_empty()).map(|map| json!(map)),
            );
            read
        }
        TokenResponse::Refused(refusal) => {
            let (class, wait) = match refusal.class {
                RefusalClass::Permanent => ("permanent", None),
                RefusalClass::Transient { retry_after } => ("transient", retry_after),
                RefusalClass::Client => ("client", None),
                RefusalClass::Configuration => ("configuration", None),
                RefusalClass::Unknown => ("unknown", None),
            };
            let mut read = json!({ "refused": class, "code": refusal.code });
            insert_if_some(&mut read, "retry_after", wait.map(Value::from));
            read
        }
        TokenResponse::Ambiguous(odd) => {
            let mut read = json!({ "ambiguous": odd.reason });
            insert_if_some(&mut read, "retry_after", odd.retry_after.map(Value::from));
            read
        }
    }
}

/// The scopes that would be reported as missing if the default scopes had been requested.
fn missing_scopes(auth_method: &AuthMethod, tokens: &TokenSet) -> Option<Value> {
    let asked = auth_method.default_scopes();
    let granted = auth_method.granted_scopes(tokens.scopes.as_ref()?, &asked);
    let missing: Vec<_> = asked.into_iter().filter(|scope| !granted.contains(scope)).collect();
    (auth_method.kind == CredentialKind::OAuth2 && !missing.is_empty()).then(|| json!(missing))
}

fn token_set_as_json(tokens: &TokenSet) -> Value {
    let lives = |end: Option<connections::time::Timestamp>| end.map(|end| Value::from(end.since(made_up::now())));
    let mut read = json!({ "access_token": tokens.access_token.expose() });
    insert_if_some(
        &mut read,
        "token_type",
        Some(tokens.token_type.as_str()).filter(|kind| *kind != "Bearer").map(Value::from),
    );
    insert_if_some(&mut read, "refresh_token", tokens.refresh_token.as_ref().map(|token| Value::from(token.expose())));
    insert_if_some(&mut read, "lives", lives(tokens.expires_at));
    insert_if_some(&mut read, "refresh_lives", lives(tokens.refresh_expires_at));
    insert_if_some(&mut read, "scopes", tokens.scopes.as_ref().map(|scopes| json!(scopes)));
    let others: Map<_, _> =
        tokens.additional.iter().map(|(name, one)| (name.clone(), token_set_as_json(one))).collect();
    insert_if_some(&mut read, "others", Some(others).filter(|others| !others.is_empty()).map(Value::Object));
    read
}

fn read_identity_response(auth_method: &AuthMethod, inbound: &AppResponse) -> Value {
    let identity = auth_method
        .identity
        .as_ref()
        .unwrap_or_else(|| panic!("{} {}: no identity", auth_method.app_id, auth_method.method_id));
    let probe: &Probe = identity
        .probe
        .as_ref()
        .unwrap_or_else(|| panic!("{} {}: no request", auth_method.app_id, auth_method.method_id));
    let told = read_reported_values(&auth_method.variables, &inbound.body, |from| match from {
        VariableSource::Identity(at) => Some(at),
        _ => None::<&JsonPointer>,
    });
    match read_account(auth_method, identity, probe, inbound, &template_values(auth_method, &told), made_up::now()) {
        Ok(found) => {
            let mut read = json!({ "account": account_as_json(&found) });
            insert_if_some(&mut read, "scopes", read_header_scopes(identity, inbound).map(|scopes| json!(scopes)));
            insert_if_some(&mut read, "variables", Some(told).filter(|map| !map.is_empty()).map(|map| json!(map)));
            read
        }
        Err(said) => verdict_as_json(said),
    }
}

fn verdict_as_json(said: ProbeOutcome) -> Value {
    let (word, wait) = match said {
        ProbeOutcome::Works => ("works", None),
        ProbeOutcome::Refused => ("refused", None),
        ProbeOutcome::Forbidden => ("forbidden", None),
        ProbeOutcome::Unavailable { retry_after } => ("unavailable", retry_after),
        ProbeOutcome::Inconclusive | ProbeOutcome::NotSent => ("odd", None),
    };
    let mut read = json!({ "verdict": word });
    insert_if_some(&mut read, "retry_after", wait.map(Value::from));
    read
}

fn account_as_json(found: &Account) -> Value {
    json!({ "id": found.id, "label": found.label })
}

fn read_token_variables(auth_method: &AuthMethod, body: &[u8]) -> BTreeMap<String, String> {
    read_reported_values(&auth_method.variables, body, |from| match from {
        VariableSource::Token(at) => Some(at),
        _ => None::<&JsonPointer>,
    })
}

fn template_values(auth_method: &AuthMethod, told: &BTreeMap<String, String>) -> TemplateValues {
    let mut known = made_up::variables(auth_method);
    known.extend(told.iter().map(|(name, value)| (name.clone(), value.clone())));
    made_up::template_values(auth_method, &known)
}

fn insert_if_some(read: &mut Value, name: &str, value: Option<Value>) {
    if let (Value::Object(members), Some(value)) = (read, value) {
        members.insert(name.to_owned(), value);
    }
}
