//! A credential as callers get it.
//!
//! Owns what of a stored credential is handed out: access tokens, or what a person entered where that is the
//! credential. Refuses refresh tokens, client secrets and key files.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::app::{App, Dressed, Kind, RequestError};
use crate::connection::Connection;
use crate::credential::{Credential, Token};
use crate::time::Timestamp;

/// A credential on its way to a caller, and how requests carry it. Its JSON is what the caller sees; its Debug shows
/// nothing.
#[derive(Clone, Serialize, Deserialize)]
pub struct Issued {
    /// The credential.
    pub credential: IssuedCredential,
    /// How the app wants it sent.
    pub request: Dressed,
}

/// The credential itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct IssuedCredential {
    /// What kind it is.
    pub r#type: Kind,
    /// The access token, where there is one.
    #[serde(flatten, skip_serializing_if = "Option::is_none", default)]
    pub token: Option<IssuedToken>,
    /// Further tokens, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub tokens: BTreeMap<String, IssuedToken>,
    /// What a person entered, where that is the credential.
    #[serde(flatten, default)]
    pub fields: BTreeMap<String, String>,
}

/// An access token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IssuedToken {
    /// The token.
    pub access_token: String,
    /// `Bearer`, or as the app says.
    pub token_type: String,
    /// When it ends; null where nobody knows.
    pub expires_at: Option<Timestamp>,
    /// What the app granted to it, without its name in front.
    pub scopes: Vec<String>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issued([redacted])")
    }
}

impl Issued {
    /// What a caller gets of a connection's credential.
    ///
    /// # Errors
    /// The app's addresses need a value that the connection does not have.
    pub fn of(app: &App, connection: &Connection, credential: &Credential) -> Result<Self, RequestError> {
        let values = connection.fill(credential.values(app.first_secret()));
        let request = app.request.dress(&values)?;
        // A caller sends the credential there.
        let may_go = |url: &String| connection.destinations.as_ref().is_none_or(|known| known.allow_api(url));
        if !request.base_url.as_ref().is_none_or(may_go) {
            return Err(RequestError::Destination);
        }
        Ok(Self {
            request,
            credential: IssuedCredential {
                r#type: app.kind,
                token: credential.token.as_ref().map(|token| issued(app, connection, None, token)),
                tokens: credential
                    .others
                    .iter()
                    .map(|(name, token)| (name.clone(), issued(app, connection, Some(name), token)))
                    .collect(),
                fields: if app.kind.has_tokens() { BTreeMap::new() } else { entered(credential) },
            },
        })
    }
}

fn issued(app: &App, connection: &Connection, name: Option<&str>, token: &Token) -> IssuedToken {
    let granted = &connection.scopes_granted;
    let only = app.server().is_none_or(|server| server.tokens.is_empty());
    IssuedToken {
        access_token: token.access_token.expose().to_owned(),
        token_type: token.token_type.clone(),
        // A connection with one token has its end in the record; the sealed one came later.
        expires_at: if only { connection.expires_at } else { token.expires_at },
        scopes: app.server().map_or_else(|| granted.clone(), |server| server.scopes_of(name, granted)),
    }
}

fn entered(credential: &Credential) -> BTreeMap<String, String> {
    credential.fields.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect()
}
