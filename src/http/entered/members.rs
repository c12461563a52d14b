//! The JSON of a credential that a program enters.
//!
//! Owns its members, which are what a resolve shows plus what only its owner knows. Refuses to repeat any of it:
//! complaints name members, never values.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::app::{App, Form, Kind, Usage, clean, unwrapped};
use crate::connect::paste::{Entered, Imported};
use crate::connect::start;
use crate::credential::Token;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Bytes of a field of the app's form, at most.
const LONGEST: usize = 16 * 1024;
/// Bytes of a token, at most. Some apps put all groups of a person into it.
const LONGEST_TOKEN: usize = 64 * 1024;

/// A credential's members.
#[derive(Deserialize)]
pub(in crate::http) struct Members(Map<String, Value>);

impl Members {
    pub(super) fn kind(&self) -> Option<Kind> {
        self.0.get("type").and_then(Value::as_str).and_then(Kind::parse)
    }
}

pub(super) fn entered(app: &App, members: Members) -> Result<Entered> {
    let Members(mut members) = members;
    members.remove("type");
    if app.kind == Kind::OAuth2 {
        return imported(app, &mut members).map(|imported| Entered::Tokens(Box::new(imported)));
    }
    let fields = members.into_iter().map(|(name, value)| Ok((name.clone(), text(&name, value)?)));
    fields.collect::<Result<_>>().map(Entered::Fields)
}

/// A text; a key file may be given as the JSON object it is.
fn text(name: &str, value: Value) -> Result<Secret> {
    let text = match value {
        Value::String(text) => text,
        object @ Value::Object(_) => object.to_string(),
        _ => return Err(Error::invalid(&format!("credential.{name}"), "must be a text.")),
    };
    if text.len() > LONGEST {
        return Err(Error::invalid(&format!("credential.{name}"), "is over 16 KB."));
    }
    Ok(Secret::new(text))
}

/// Tokens as a resolve shows them, plus `refresh_token`.
fn imported(app: &App, members: &mut Map<String, Value>) -> Result<Imported> {
    let others = match members.remove("tokens") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(others)) => others,
        Some(_) => return Err(Error::invalid("credential.tokens", "must be an object of further tokens by name.")),
    };
    let (token, scopes) = token(members, "credential", &app.usage("access_token"))?;
    let mut further = BTreeMap::new();
    let mut all = scopes;
    for (name, one) in others {
        let path = format!("credential.tokens.{name}");
        let Value::Object(mut one) = one else { return Err(Error::invalid(&path, "must be an object.")) };
        let (token, scopes) = self::token(&mut one, &path, &Usage::default())?;
        if let (Some(all), Some(scopes)) = (&mut all, scopes) {
            all.extend(scopes.into_iter().map(|scope| format!("{name}:{scope}")));
        }
        further.insert(name, token);
    }
    Ok(Imported { token, others: further, scopes: all })
}

/// A token's members. `usage` tells where requests have it.
fn token(members: &mut Map<String, Value>, path: &str, usage: &Usage) -> Result<(Token, Option<Vec<String>>)> {
    let field = |name: &str| format!("{path}.{name}");
    let mut optional = |name: &str, form: Form, usage: &Usage| match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => line(&text, form, usage).map_err(|problem| Error::invalid(&field(name), problem)),
        Some(_) => Err(Error::invalid(&field(name), "must be a text.")),
    };
    // It stands in a header as it is; a refresh token is a parameter of a form.
    let access_token = optional("access_token", Form::Token, usage)?;
    let access_token = access_token.ok_or_else(|| Error::invalid(&field("access_token"), "is missing."))?;
    let refresh_token = optional("refresh_token", Form::Line, &Usage::default())?;
    let token_type = optional("token_type", Form::Token, &Usage::default())?.unwrap_or_else(|| "Bearer".to_owned());
    let expires_at = match members.remove("expires_at") {
        None | Some(Value::Null) => None,
        Some(value) => end(&value).map_err(|problem| Error::invalid(&field("expires_at"), problem))?,
    };
    let scopes = match members.remove("scopes") {
        None | Some(Value::Null) => None,
        Some(value) => Some(
            serde_json::from_value::<Vec<String>>(value)
                .map_err(|_| Error::invalid(&field("scopes"), "must be a list of texts."))?,
        ),
    };
    start::fit(scopes.as_deref().unwrap_or_default())?;
    if let Some(name) = members.keys().next() {
        let problem = match name.as_str() {
            "expires_in" => {
                "counts from when the token was issued, which nobody knows here. Give the end as expires_at."
            }
            "scope" => "is called scopes here, and is a list of texts.",
            _ => "is no member of a token; remove it.",
        };
        return Err(Error::invalid(&field(name), problem));
    }
    let token = Token {
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

/// A text as it is kept, without what copying brings along; none where nothing is left.
fn line(text: &str, form: Form, usage: &Usage) -> std::result::Result<Option<String>, String> {
    let text = clean(text);
    let text = unwrapped(&text, usage, None)?;
    match form.misfit_within(text, LONGEST_TOKEN) {
        _ if text.is_empty() => Ok(None),
        None => Ok(Some(text.to_owned())),
        Some(problem) if form == Form::Token && text.len() <= LONGEST_TOKEN => {
            Err(format!("{problem} It is sent in a header as it is, so it must be visible ASCII without spaces."))
        }
        Some(problem) => Err(problem),
    }
}

/// When a token ends: a number, or a text that holds a number or a time.
fn end(value: &Value) -> std::result::Result<Option<Timestamp>, String> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => clean(text),
        _ => return Err(NO_TIME.to_owned()),
    };
    if text.is_empty() {
        return Ok(None);
    }
    match Timestamp::read(&text) {
        Some(end) => Ok(Some(end)),
        // The digits of a number that is no Unix time: most likely a life.
        None if text.bytes().all(|b| b.is_ascii_digit()) => Err(format!(
            "{NO_TIME} A number must be a Unix time in seconds or milliseconds. If it is the token's life in seconds \
             (expires_in), add it to the time at which the token was issued."
        )),
        None => Err(NO_TIME.to_owned()),
    }
}

const NO_TIME: &str = "must be a time: 2026-12-01T12:00:00Z, or a Unix time in seconds or milliseconds.";
