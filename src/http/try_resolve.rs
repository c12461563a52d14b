//! A person tries a resolve: they see what a program gets, with every secret masked.
//!
//! Owns the masking. What is not known to be harmless is masked: of a long secret its first characters are left, so that a
//! new one can be told from the one before. The credential itself never reaches a page.

use serde_json::Value;

use super::page::{self, Tone, TryAnswer, TryView};
use super::page_frame::page_context;
use super::responses::ResolvedCredentialResponse;
use super::{Call, Response, problem};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::registry;
use crate::resolve::{self, Freshness};
use crate::workspace::Role;

/// Characters of a secret that are shown.
const SHOWN: usize = 4;
/// A shorter secret is masked as a whole.
const LONG: usize = 20;
/// Members of a credential that are no secrets.
const HARMLESS_MEMBERS: [&str; 4] = ["type", "token_type", "expires_at", "scopes"];
/// Headers whose values are no secrets.
const HARMLESS_HEADERS: [&str; 2] = ["accept", "content-type"];

fn mask(secret: &str) -> String {
    if secret.chars().count() < LONG {
        return "…".to_owned();
    }
    secret.chars().take(SHOWN).chain(['…']).collect()
}

/// The same for a header: its scheme is left.
fn mask_header(value: &str) -> String {
    match value.split_once(' ') {
        Some((scheme, rest)) if scheme.len() <= 10 && scheme.chars().all(|one| one.is_ascii_alphabetic()) => {
            format!("{scheme} {}", mask(rest))
        }
        _ => mask(value),
    }
}

fn is_harmless_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    HARMLESS_HEADERS.contains(&name.as_str()) || name.ends_with("-version")
}

fn mask_members(value: &mut Value, secrets: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let masked = mask(text);
            secrets.push(std::mem::replace(text, masked));
        }
        Value::Array(list) => list.iter_mut().for_each(|one| mask_members(one, secrets)),
        Value::Object(members) => {
            for (name, one) in members {
                if !HARMLESS_MEMBERS.contains(&name.as_str()) {
                    mask_members(one, secrets);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The answer to a resolve without its secrets.
fn mask_answer(mut answer: Value) -> Value {
    let mut secrets = vec![];
    if let Some(credential) = answer.get_mut("credential") {
        mask_members(credential, &mut secrets);
    }
    if let Some(headers) = answer.pointer_mut("/request/headers").and_then(Value::as_object_mut) {
        for (_, value) in headers.iter_mut().filter(|(name, _)| !is_harmless_header(name)) {
            let masked = value.as_str().map(mask_header).unwrap_or_default();
            *value = masked.into();
        }
    }
    if let Some(query) = answer.pointer_mut("/request/query").and_then(Value::as_object_mut) {
        for value in query.values_mut() {
            let masked = value.as_str().map(mask).unwrap_or_default();
            *value = masked.into();
        }
    }
    if let Some(base) = answer.pointer_mut("/request/base_url")
        && let Some(text) = base.as_str()
    {
        *base = mask_address(text, &secrets).into();
    }
    answer
}

/// Some apps take the secret in the path. An address with a path that has one is cut to its origin.
fn mask_address(address: &str, secrets: &[String]) -> String {
    let Ok(url) = url::Url::parse(address) else { return "…".to_owned() };
    let decoded = percent_encoding::percent_decode_str(address).decode_utf8_lossy();
    let has_secret = secrets
        .iter()
        .any(|secret| !secret.is_empty() && (address.contains(secret.as_str()) || decoded.contains(secret.as_str())));
    if has_secret { format!("{}/…", url.origin().ascii_serialization()) } else { address.to_owned() }
}

async fn build_view<P: Ports>(context: &Context<P>, call: &Call<'_>, answer: Option<TryAnswer>) -> Result<TryView> {
    let (session, connection) = (call.session()?, &call.path_connection()?.connection);
    let app = registry::load_current_app(context, &session.workspace, &connection.app).await?;
    let at = context.config.public_url.at(&format!("/v1/connections/{}/resolve", connection.id));
    Ok(TryView {
        id: connection.id.to_string(),
        name: connection.name.clone(),
        app: (
            connection.app.to_string(),
            app.map_or_else(|| connection.app.to_string(), |found| found.app.name.clone()),
        ),
        request: format!("curl -X POST -H \"Authorization: Bearer $KEY\" -d '{{}}' \\\n  '{at}'"),
        answer,
        may_make_key: session.role == Role::Admin,
    })
}

pub(super) async fn show_try_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let view = build_view(context, call, None).await?;
    let shell = page_context(context, call.request, call.session.as_ref());
    Ok(Response::html(200, page::try_resolve(&shell, &view)))
}

/// Resolves, and shows the answer. What a program is refused is shown as well, as an answer.
pub(super) async fn submit_try<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let shell = page_context(context, call.request, call.session.as_ref());
    let text = &shell.text.try_it;
    let (answer, deferred) = match resolve::preview::preview(context, call.path_connection()?).await {
        Ok(found) => {
            let words = match found.resolved.freshness {
                Freshness::Fresh => text.fresh,
                Freshness::Stale => text.stale,
                Freshness::Refreshed => text.refreshed,
            };
            let whole = serde_json::to_value(ResolvedCredentialResponse::from(found.resolved))
                .map_err(|error| Error::internal(format!("an answer could not be written as JSON: {error}")))?;
            let body = pretty(&mask_answer(whole))?;
            (TryAnswer { status: 200, body, words: words.to_owned(), tone: Tone::Good }, found.deferred)
        }
        Err(error) => {
            context.log_cause(&error);
            let status = problem::status_and_title(error.code).0;
            let body = pretty(&problem::problem_document(&error))?;
            let tone = if status == 503 { Tone::Waiting } else { Tone::Bad };
            (TryAnswer { status, body, words: text.refused.to_owned(), tone }, vec![])
        }
    };
    let view = build_view(context, call, Some(answer)).await?;
    let mut response = Response::html(200, page::try_resolve(&shell, &view));
    response.deferred = deferred;
    Ok(response)
}

fn pretty(value: &Value) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal(format!("an answer could not be written as JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "ya29.a0AfH6SMBx-0123456789";

    #[test]
    fn no_secret_is_left_in_an_answer() {
        let answer = mask_answer(json!({
            "connection": { "id": "con_1", "name": "Mine" },
            "credential": { "type": "oauth2", "access_token": TOKEN, "token_type": "Bearer", "expires_at": "2026-11-22T12:00:00Z",
                "scopes": ["read"], "tokens": { "user": { "access_token": format!("{TOKEN}-user"), "scopes": ["write"] } },
                "username": "ada", "password": "hunter2" },
            "request": {
                "headers": { "Authorization": format!("Bearer {TOKEN}"), "X-Api-Key": "hunter2-hunter2-hunter2", "Notion-Version": "2022-06-28",
                    "Basic": "Basic YWRhOmh1bnRlcjI=" },
                "query": { "key": "hunter2" },
                "base_url": "https://api.example/bot123%3Ahunter2/",
            },
        }));
        let text = answer.to_string();
        for secret in [TOKEN, "hunter2", "YWRhOmh1bnRlcjI", "AfH6"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        assert_eq!(answer["credential"]["access_token"], "ya29…");
        assert_eq!(answer["request"]["headers"]["Authorization"], "Bearer ya29…");
        assert_eq!(answer["request"]["headers"]["Notion-Version"], "2022-06-28");
        assert_eq!(answer["request"]["base_url"], "https://api.example/…");
        assert_eq!(answer["credential"]["tokens"]["user"]["scopes"][0], "write");
        assert_eq!((&answer["connection"]["name"], &answer["credential"]["type"]), (&json!("Mine"), &json!("oauth2")));
    }

    #[test]
    fn an_address_without_a_secret_stays() {
        assert_eq!(mask_address("https://api.example/v1/", &["abc".into()]), "https://api.example/v1/");
        assert_eq!(mask_address("not an address", &[]), "…");
    }
}
