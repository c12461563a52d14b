//! A credential as callers receive it.
//!
//! Owns what is returned of a stored credential: access tokens, or manual fields if they are used directly. Never
//! returns refresh tokens, client secrets and key files.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::app::{AuthMethod, CredentialKind, PreparedRequest, RequestError};
use crate::connection::Connection;
use crate::credential::{Credential, StoredToken};
use crate::gather::Gather as _;
use crate::time::Timestamp;

/// A credential for a caller, and how requests send it. Its JSON is the answer to the caller. Its Debug output shows
/// nothing.
#[derive(Clone, Serialize, Deserialize)]
pub struct CredentialPayload {
    /// The credential.
    pub credential: IssuedCredential,
    /// How the app wants it sent.
    pub request: PreparedRequest,
}

/// The credential itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct IssuedCredential {
    /// Its type.
    pub r#type: CredentialKind,
    /// The access token, if there is one.
    #[serde(flatten, skip_serializing_if = "Option::is_none", default)]
    pub token: Option<IssuedToken>,
    /// Further tokens, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub tokens: BTreeMap<String, IssuedToken>,
    /// The manual fields, if they are used directly.
    #[serde(flatten, default)]
    pub fields: BTreeMap<String, String>,
}

/// An access token.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IssuedToken {
    /// The token.
    pub access_token: String,
    /// `Bearer`, or the app's own name.
    pub token_type: String,
    /// Its expiry. Null if it is unknown.
    pub expires_at: Option<Timestamp>,
    /// Its granted scopes, without the token's name as prefix.
    pub scopes: Vec<String>,
}

impl fmt::Debug for CredentialPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Issued([redacted])")
    }
}

impl CredentialPayload {
    /// The part of a connection's credential that a caller gets.
    ///
    /// # Errors
    /// The app's addresses need a value that the connection does not have.
    pub fn of_connection(
        auth_method: &AuthMethod,
        connection: &Connection,
        credential: &Credential,
    ) -> Result<Self, RequestError> {
        let values = connection.add_template_values(credential.template_values(auth_method.first_secret_field()));
        let request = auth_method.request.prepare(&values)?;
        // A caller sends the credential there.
        let may_go = |url: &String| connection.destinations.as_ref().is_none_or(|known| known.allows_api(url));
        if !request.base_url.as_ref().is_none_or(may_go) {
            return Err(RequestError::DestinationNotAllowed);
        }
        Ok(Self {
            request,
            credential: IssuedCredential {
                r#type: auth_method.kind,
                token: credential.token.as_ref().map(|token| issue_token(auth_method, connection, None, token)),
                tokens: credential
                    .other_tokens
                    .iter()
                    .map(|(name, token)| (name.clone(), issue_token(auth_method, connection, Some(name), token)))
                    .gather(),
                fields: if auth_method.kind.uses_oauth_server() { BTreeMap::new() } else { exposed_fields(credential) },
            },
        })
    }
}

fn issue_token(
    auth_method: &AuthMethod,
    connection: &Connection,
    name: Option<&str>,
    token: &StoredToken,
) -> IssuedToken {
    let granted = &connection.scopes_granted;
    let only = auth_method.oauth_server().is_none_or(|server| server.tokens.is_empty());
    IssuedToken {
        access_token: token.access_token.expose().to_owned(),
        token_type: token.token_type.clone(),
        // The expiry of a single token is in the database. The sealed one was added later.
        expires_at: if only { connection.expires_at } else { token.expires_at },
        scopes: auth_method
            .oauth_server()
            .map_or_else(|| granted.clone(), |server| server.scopes_for_token(name, granted)),
    }
}

fn exposed_fields(credential: &Credential) -> BTreeMap<String, String> {
    credential.fields.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).gather()
}
