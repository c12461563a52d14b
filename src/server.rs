//! Who speaks to an app's OAuth server, and with what proof.
//!
//! Owns how a workspace's client and a person's own client or key file become what a token request carries. A proof
//! that must be signed is signed anew for each request. Refuses to send anything itself.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{App, AppId, Grant, KeyFileShape, Resolved, Values};
use crate::client::{Client, ClientProblem, ClientSecret};
use crate::core::Core;
use crate::credential::Credential;
use crate::destinations::{Destinations, SecretKind};
use crate::egress::Address;
use crate::error::{Code, Error, Result};
use crate::ports::{Database, Outbound, Ports, SigningError};
use crate::registry;
use crate::secret::Secret;
use crate::store::apps::AppRow;
use crate::store::{self, clients};
use crate::token::{
    self, Claims, ClientKeys, GrantClaims, KeyError, KeyFile, KeyFilePointers, LONGEST_GRANT, Parties, Proof,
    Signature, SigningKey,
};

/// What a workspace's client authenticates with at an endpoint of this server, if its secret was entered for that. A
/// connection may know other addresses: those of another edition of the definition, or of what the client was set up
/// with then.
pub async fn client_keys<P: Ports>(
    core: &Core<P>,
    client: &Client,
    (app, at): (&App, &Resolved),
    endpoint: &Address,
) -> Result<ClientKeys> {
    let destinations = Rc::new(client_destinations(core, client, app, Some(at)).await?);
    let keys = |proof| ClientKeys::new(&client.client_id, proof, &destinations);
    if client.sealed_secret.is_none() {
        return Ok(keys(Proof::Nothing));
    }
    if !destinations.allow(SecretKind::ClientProof, endpoint) {
        return Err(Error::new(
            Code::ClientMissing,
            format!(
                "The client secret of {} was entered for other addresses than this connection has. Reconnect it.",
                app.name
            ),
        )
        .hint(|hints| hints.client = Some(ClientProblem::AddressesChanged)));
    }
    match client.secret(&core.config.ring)? {
        ClientSecret::None => Ok(keys(Proof::Nothing)),
        ClientSecret::Text(secret) => Ok(keys(Proof::Secret(secret))),
        ClientSecret::Key { pem, key_id, certificate } => {
            let key = SigningKey::from_pem(pem.expose()).map_err(|problem| unusable_key(&problem))?;
            // The one audience is the very endpoint that gets it: no other server can present it as its own.
            let claims = Claims::client(&client.client_id, endpoint.as_str(), core.ports.random(), core.now())?;
            let (key_id, certificate) = (key_id.as_deref(), certificate.as_deref());
            let algorithm = at.assertion_alg.filter(|wanted| key.signs(*wanted)).unwrap_or_else(|| key.algorithm());
            let signature = Signature { key: &key, algorithm, key_id, certificate };
            let assertion = token::assertion(core.ports.signer(), signature, &claims).await.map_err(unsigned)?;
            Ok(keys(Proof::Assertion(assertion)))
        }
    }
}

/// Where a client's secret may go. What was not known when it was entered is kept as soon as it is: the addresses that
/// were discovered at its issuer, and those of a row from before they were kept.
pub async fn client_destinations<P: Ports>(
    core: &Core<P>,
    client: &Client,
    app: &App,
    at: Option<&Resolved>,
) -> Result<Destinations> {
    let stored = match &client.destinations {
        Some(stored) => stored.clone(),
        None if client.is_of_catalogue() => return Ok(of_catalogue(app, client)),
        None => match of_older_row(core, client).await? {
            Some(found) => found,
            None => return Ok(of_catalogue(app, client)),
        },
    };
    let same_issuer =
        Destinations::of_client(app, &client.variables).authorization_server() == stored.authorization_server();
    let found = match at.filter(|at| stored.is_undiscovered() && same_issuer && at.issuer.is_some()) {
        // Another person's issuer has other addresses: they are not kept for all.
        Some(at) if stored.has_open_issuer() => return Ok(stored.with_discovered(at)),
        Some(at) => stored.with_discovered(at),
        None => stored,
    };
    if client.destinations.as_ref() != Some(&found) {
        core.db().batch(vec![clients::keep_destinations(client, &found)]).await?;
    }
    Ok(found)
}

/// The destinations of a client at an app of the catalogue: the addresses that the running release knows. Only what decides
/// a host is the client's own; what else it was set up with may be another by now than its older connections have.
fn of_catalogue(app: &App, client: &Client) -> Destinations {
    let names = app.host_variables_of_client();
    let own = client.variables.iter().filter(|(name, _)| names.contains(&name.as_str()));
    Destinations::of_client(app, &own.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// The destinations of a client from before they were kept: those of the definition as it was when the secret was entered.
/// None for an app of the catalogue.
async fn of_older_row<P: Ports>(core: &Core<P>, client: &Client) -> Result<Option<Destinations>> {
    let app = client.registration.split(':').next().and_then(AppId::parse);
    let Some(app) = app else { return Ok(None) };
    let revisions = store::apps::revisions(core.db(), &client.workspace, &app, client.updated_at).await?;
    if revisions.is_empty() {
        return Ok(None);
    }
    let fits = |row: &AppRow| {
        let definition = registry::definition(core, &app, row.revision, Some(&row.definition)).ok()?;
        let way = definition.ways().iter().find(|way| way.registration() == client.registration).cloned()?;
        let found = Destinations::of_client(&way, &client.variables);
        client.covers_hosts(&found).then_some(found)
    };
    // None of them: nothing is known, so the secret goes nowhere until it is entered again.
    Ok(Some(revisions.iter().find_map(fits).unwrap_or_default()))
}

fn unusable_key(problem: &KeyError) -> Error {
    Error::new(Code::ClientMissing, format!("The client's private key can't be used. {problem} Enter it again."))
        .hint(|hints| hints.client = Some(ClientProblem::KeyUnusable))
}

fn unsigned(error: SigningError) -> Error {
    match error {
        SigningError::Key => Error::new(Code::ClientMissing, "The private key can't sign what the app asks for.")
            .hint(|hints| hints.client = Some(ClientProblem::KeyUnusable)),
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
    destinations: &Rc<Destinations>,
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
            (ClientKeys::entered(id.expose(), field("client_secret"), destinations), None)
        }
    };
    let parties = Parties { server, at, client: &client, values: &values, destinations };
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
