//! Who speaks to an app's OAuth server, and with what proof.
//!
//! Owns how a workspace's client and a person's own client or key file become what a token request carries. A proof
//! that must be signed is signed anew for each request. Refuses to send anything itself.

use std::collections::BTreeMap;

use crate::app::{App, Grant, KeyFileShape, Origin, Resolved, Values};
use crate::client::{Client, ClientSecret};
use crate::core::Core;
use crate::credential::Credential;
use crate::error::{Code, Error, Result};
use crate::ports::{Outbound, Ports, SigningError};
use crate::registry;
use crate::secret::Secret;
use crate::token::{
    self, Claims, ClientKeys, GrantClaims, KeyError, KeyFile, KeyFilePointers, LONGEST_GRANT, Parties, Proof,
    Signature, SigningKey,
};

/// What a workspace's client authenticates with at this server, if its secret was entered for the hosts of it. A
/// connection may know others: those of an older definition, or of what the client was set up with then.
pub async fn client_keys<P: Ports>(
    core: &Core<P>,
    client: &Client,
    (app, at): (&App, &Resolved),
    variables: &BTreeMap<String, String>,
) -> Result<ClientKeys> {
    let set_up = |name: &String| app.variables.get(name).is_some_and(|one| one.from == Origin::Client);
    let known = variables.iter().filter(|(name, _)| set_up(name)).map(|(name, value)| (name.clone(), value.clone()));
    if client.sealed_secret.is_some() && !client.may_reach(&app.secret_hosts(&known.collect())) {
        return Err(Error::new(
            Code::ClientMissing,
            format!(
                "The client secret of {} was entered for other addresses than this connection has. Reconnect it.",
                app.name
            ),
        ));
    }
    match client.secret(&core.config.ring)? {
        ClientSecret::None => Ok(ClientKeys::new(&client.client_id, None)),
        ClientSecret::Text(secret) => Ok(ClientKeys::new(&client.client_id, Some(secret))),
        ClientSecret::Key { pem, key_id, certificate } => {
            let key = SigningKey::from_pem(pem.expose()).map_err(|problem| unusable_key(&problem))?;
            let claims = Claims::client(&client.client_id, at.token_url.as_str(), core.ports.random(), core.now())?;
            let (key_id, certificate) = (key_id.as_deref(), certificate.as_deref());
            let algorithm = at.assertion_alg.filter(|wanted| key.signs(*wanted)).unwrap_or_else(|| key.algorithm());
            let signature = Signature { key: &key, algorithm, key_id, certificate };
            let assertion = token::assertion(core.ports.signer(), signature, &claims).await.map_err(unsigned)?;
            Ok(ClientKeys { client_id: client.client_id.clone(), proof: Proof::Assertion(assertion) })
        }
    }
}

fn unusable_key(problem: &KeyError) -> Error {
    Error::new(Code::ClientMissing, format!("The client's private key can't be used. {problem} Enter it again."))
}

fn unsigned(error: SigningError) -> Error {
    match error {
        SigningError::Key => Error::new(Code::ClientMissing, "The private key can't sign what the app asks for."),
        SigningError::Failed(cause) => Error::internal(format!("signing failed: {cause}")),
    }
}

/// The request that makes a token of what a person entered.
pub async fn mint<P: Ports>(
    core: &Core<P>,
    app: &App,
    at: &Resolved,
    credential: &Credential,
    (scopes, variables): (&[String], &BTreeMap<String, String>),
) -> Result<Outbound> {
    let server = app.oauth2()?;
    let values = values(app, credential, variables);
    let (client, assertion) = match &server.grant {
        Grant::ServiceAccount(shape) => {
            let scope = scopes.join(&server.scope_separator);
            (ClientKeys::nobody(), Some(grant_assertion(core, at, shape, credential, &scope).await?))
        }
        Grant::ClientCredentials { .. } | Grant::AuthorizationCode => {
            let field = |name: &str| credential.fields.get(name).cloned();
            let id = field("client_id").unwrap_or_else(|| Secret::new(""));
            (ClientKeys::new(id.expose(), field("client_secret")), None)
        }
    };
    let parties = Parties { server, at, client: &client, values: &values };
    token::mint_request(&parties, assertion.as_ref(), scopes).map_err(|problem| registry::misfit(app, &problem))
}

async fn grant_assertion<P: Ports>(
    core: &Core<P>,
    at: &Resolved,
    shape: &KeyFileShape,
    credential: &Credential,
    scope: &str,
) -> Result<Secret> {
    let file = credential.fields.get(KEY_FIELD).map(Secret::expose).unwrap_or_default();
    let file = key_file(shape, file).map_err(|problem| Error::invalid(KEY_FIELD, problem.to_string()))?;
    let subject = credential.fields.get("subject").map(Secret::expose);
    let claims = GrantClaims {
        issuer: &file.issuer,
        subject,
        audience: at.token_url.as_str(),
        scope: Some(scope).filter(|scope| !scope.is_empty()),
        lifetime: LONGEST_GRANT,
    };
    let claims = Claims::grant(claims, core.now());
    let signature = Signature { key_id: file.key_id.as_deref(), ..Signature::by(&file.key) };
    token::assertion(core.ports.signer(), signature, &claims).await.map_err(unsigned)
}

/// The field of a service account that holds its key file.
pub const KEY_FIELD: &str = "key";

/// Reads a service account's key file.
///
/// # Errors
/// A sentence for a person.
pub fn key_file(shape: &KeyFileShape, text: &str) -> std::result::Result<KeyFile, KeyError> {
    let pointers = KeyFilePointers {
        issuer: shape.issuer.as_str(),
        private_key: shape.private_key.as_str(),
        key_id: Some(shape.key_id.as_str()),
    };
    KeyFile::parse(text, pointers)
}

/// What places are filled with for a credential of this app.
pub fn values(app: &App, credential: &Credential, variables: &BTreeMap<String, String>) -> Values {
    credential.values(app.first_secret()).with_all(variables)
}
