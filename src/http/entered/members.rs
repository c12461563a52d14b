//! The JSON of a credential that a program enters.
//!
//! Owns its members, which are what a resolve shows plus what only its owner knows. Refuses to repeat any of it:
//! complaints name members, never values.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::app::{App, Kind};
use crate::connect::paste::{Entered, Imported};
use crate::connect::start;
use crate::credential::Token;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::token::is_header_safe;

/// Bytes of one value, at most.
const LONGEST: usize = 16 * 1024;

/// A credential's members.
#[derive(Deserialize)]
pub(super) struct Members(Map<String, Value>);

impl Members {
    pub(super) fn kind(&self) -> Option<Kind> {
        self.0.get("type").and_then(Value::as_str).and_then(Kind::parse)
    }
}

pub(super) fn entered(app: &App, members: Members) -> Result<Entered> {
    let Members(mut members) = members;
    members.remove("type");
    if app.kind == Kind::OAuth2 {
        return imported(&mut members).map(|imported| Entered::Tokens(Box::new(imported)));
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
fn imported(members: &mut Map<String, Value>) -> Result<Imported> {
    let others = match members.remove("tokens") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(others)) => others,
        Some(_) => return Err(Error::invalid("credential.tokens", "must be an object of further tokens by name.")),
    };
    let (token, scopes) = token(members, "credential")?;
    let mut further = BTreeMap::new();
    let mut all = scopes;
    for (name, one) in others {
        let path = format!("credential.tokens.{name}");
        let Value::Object(mut one) = one else { return Err(Error::invalid(&path, "must be an object.")) };
        let (token, scopes) = self::token(&mut one, &path)?;
        if let (Some(all), Some(scopes)) = (&mut all, scopes) {
            all.extend(scopes.into_iter().map(|scope| format!("{name}:{scope}")));
        }
        further.insert(name, token);
    }
    Ok(Imported { token, others: further, scopes: all })
}

fn token(members: &mut Map<String, Value>, path: &str) -> Result<(Token, Option<Vec<String>>)> {
    let field = |name: &str| format!("{path}.{name}");
    let mut optional = |name: &str| match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if is_header_safe(&text) && text.len() <= LONGEST => Ok(Some(text)),
        Some(_) => Err(Error::invalid(&field(name), "must be a text of visible ASCII characters.")),
    };
    let access_token =
        optional("access_token")?.ok_or_else(|| Error::invalid(&field("access_token"), "is missing."))?;
    let refresh_token = optional("refresh_token")?;
    let token_type = optional("token_type")?.unwrap_or_else(|| "Bearer".to_owned());
    let expires_at = match optional("expires_at")? {
        None => None,
        Some(text) => {
            Some(time(&text).ok_or_else(|| Error::invalid(&field("expires_at"), "must be an RFC 3339 time."))?)
        }
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
        return Err(Error::invalid(&field(name), "is no member of a token; remove it."));
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

fn time(text: &str) -> Option<Timestamp> {
    serde_json::from_value(Value::String(text.to_owned())).ok()
}
