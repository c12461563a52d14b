//! The JSON of a manual credential from a program.
//!
//! Owns its members: those of a resolve, and those that only its owner knows. Never repeats a value: errors name
//! members.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::app::{AuthMethod, CredentialKind, FieldPlacement, ValueFormat, strip_invisible, unwrap_pasted_value};
use crate::connect::manual::{ImportedTokens, ManualCredential};
use crate::connect::start;
use crate::credential::StoredToken;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Longest field, in bytes.
const MAX_FIELD_BYTES: usize = 16 * 1024;
/// Longest token, in bytes. Some apps include all groups of a person.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// A credential's members.
#[derive(Deserialize)]
pub(in crate::http) struct CredentialInput(Map<String, Value>);

impl CredentialInput {
    pub(super) fn kind(&self) -> Option<CredentialKind> {
        self.0.get("type").and_then(Value::as_str).and_then(CredentialKind::parse)
    }
}

pub(super) fn parse_manual_credential(auth_method: &AuthMethod, members: CredentialInput) -> Result<ManualCredential> {
    let CredentialInput(mut members) = members;
    members.remove("type");
    if auth_method.kind == CredentialKind::OAuth2 {
        return parse_imported_tokens(auth_method, &mut members)
            .map(|imported| ManualCredential::Tokens(Box::new(imported)));
    }
    let fields = members.into_iter().map(|(name, value)| Ok((name.clone(), parse_field(&name, value)?)));
    fields.collect::<Result<_>>().map(ManualCredential::Fields)
}

/// A text. A key file may also be a JSON object.
fn parse_field(name: &str, value: Value) -> Result<Secret> {
    let text = match value {
        Value::String(text) => text,
        object @ Value::Object(_) => object.to_string(),
        _ => return Err(Error::invalid_field(&format!("credential.{name}"), "must be a text.")),
    };
    if text.len() > MAX_FIELD_BYTES {
        return Err(Error::invalid_field(&format!("credential.{name}"), "is over 16 KB."));
    }
    Ok(Secret::new(text))
}

/// Tokens as in a resolve, and `refresh_token`.
fn parse_imported_tokens(auth_method: &AuthMethod, members: &mut Map<String, Value>) -> Result<ImportedTokens> {
    let others = match members.remove("tokens") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(others)) => others,
        Some(_) => {
            return Err(Error::invalid_field(
                "credential.tokens",
                "must be an object: names of additional tokens to tokens.",
            ));
        }
    };
    let (token, scopes) = parse_token(members, "credential", &auth_method.field_placement("access_token"))?;
    let mut further = BTreeMap::new();
    let mut all = scopes;
    for (name, one) in others {
        let path = format!("credential.tokens.{name}");
        let Value::Object(mut one) = one else { return Err(Error::invalid_field(&path, "must be an object.")) };
        let (token, scopes) = self::parse_token(&mut one, &path, &FieldPlacement::default())?;
        if let (Some(all), Some(scopes)) = (&mut all, scopes) {
            all.extend(scopes.into_iter().map(|scope| format!("{name}:{scope}")));
        }
        further.insert(name, token);
    }
    Ok(ImportedTokens { token, others: further, scopes: all })
}

/// A token's members. `usage` says where requests contain it.
fn parse_token(
    members: &mut Map<String, Value>,
    path: &str,
    usage: &FieldPlacement,
) -> Result<(StoredToken, Option<Vec<String>>)> {
    let field = |name: &str| format!("{path}.{name}");
    let mut optional = |name: &str, form: ValueFormat, usage: &FieldPlacement| match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            parse_token_text(&text, form, usage).map_err(|problem| Error::invalid_field(&field(name), problem))
        }
        Some(_) => Err(Error::invalid_field(&field(name), "must be a text.")),
    };
    // It is sent in a header. A refresh token is a parameter of a form.
    let access_token = optional("access_token", ValueFormat::Token, usage)?;
    let access_token = access_token.ok_or_else(|| Error::invalid_field(&field("access_token"), "is missing."))?;
    let refresh_token = optional("refresh_token", ValueFormat::Line, &FieldPlacement::default())?;
    let token_type =
        optional("token_type", ValueFormat::Token, &FieldPlacement::default())?.unwrap_or_else(|| "Bearer".to_owned());
    let expires_at = match members.remove("expires_at") {
        None | Some(Value::Null) => None,
        Some(value) => parse_expiry(&value).map_err(|problem| Error::invalid_field(&field("expires_at"), problem))?,
    };
    let scopes = match members.remove("scopes") {
        None | Some(Value::Null) => None,
        Some(value) => Some(
            serde_json::from_value::<Vec<String>>(value)
                .map_err(|_| Error::invalid_field(&field("scopes"), "must be a list of texts."))?,
        ),
    };
    start::validate_scopes(scopes.as_deref().unwrap_or_default())?;
    if let Some(name) = members.keys().next() {
        let problem = match name.as_str() {
            "expires_in" => {
                "counts from when the token was issued, which nobody knows here. Give the end as expires_at."
            }
            "scope" => "is called scopes here, and is a list of texts.",
            _ => "is no member of a token; remove it.",
        };
        return Err(Error::invalid_field(&field(name), problem));
    }
    let token = StoredToken {
        owner: None,
        access_token: Secret::new(access_token),
        token_type,
        refresh_token: refresh_token.map(Secret::new),
        previous: None,
        expires_at,
        lifetime: None,
    };
    Ok((token, scopes))
}

/// A text to store, without what copying adds. None if nothing is left.
fn parse_token_text(
    text: &str,
    form: ValueFormat,
    usage: &FieldPlacement,
) -> std::result::Result<Option<String>, String> {
    let text = strip_invisible(text);
    let text = unwrap_pasted_value(&text, usage, None)?;
    match form.find_problem_within(text, MAX_TOKEN_BYTES) {
        _ if text.is_empty() => Ok(None),
        None => Ok(Some(text.to_owned())),
        Some(problem) if form == ValueFormat::Token && text.len() <= MAX_TOKEN_BYTES => {
            Err(format!("{problem} It is sent unchanged in a header, so it must be visible ASCII without spaces."))
        }
        Some(problem) => Err(problem),
    }
}

/// The expiry of a token: a number, or a text with a number or a time.
fn parse_expiry(value: &Value) -> std::result::Result<Option<Timestamp>, String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => strip_invisible(text),
        _ => return Err(NOT_A_TIME.to_owned()),
    };
    if text.is_empty() {
        return Ok(None);
    }
    match Timestamp::parse_lenient(&text) {
        Some(end) => Ok(Some(end)),
        // The digits of a number that is not a Unix time: probably a lifetime.
        None if text.bytes().all(|b| b.is_ascii_digit()) => Err(format!(
            "{NOT_A_TIME} A number must be a Unix time in seconds or milliseconds. If it is the token's life in seconds \
             (expires_in), add it to the time at which the token was issued."
        )),
        None => Err(NOT_A_TIME.to_owned()),
    }
}

const NOT_A_TIME: &str = "must be a time: 2026-12-01T12:00:00Z, or a Unix time in seconds or milliseconds.";
