//! How a client authenticates at an app's OAuth server.
//!
//! Owns how a workspace's client, client credentials of a person or a key file become part of a token request. A signed
//! proof is made for each request. Sends nothing itself.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{AppId, AuthMethod, GrantType, KeyFileLayout, ResolvedEndpoints, TemplateValues};
use crate::client::{Client, ClientProblem, ClientSecret};
use crate::context::Context;
use crate::credential::Credential;
use crate::destinations::{Destinations, SecretKind};
use crate::egress::EgressUrl;
use crate::error::{Error, ErrorCode, Result};
use crate::gather::Gather as _;
use crate::ports::{Database, OutboundRequest, Ports, SigningError};
use crate::registry;
use crate::secret::Secret;
use crate::signing_key::{KeyFile, KeyFilePointers, SigningKey, SigningKeyError};
use crate::store::apps::AppRow;
use crate::store::{self, clients};
use crate::token::{
    self, AssertionClaims, ClientIdentity, ClientProof, GrantClaims, MAX_GRANT_ASSERTION_LIFETIME, SigningParams,
    TokenRequestContext,
};

/// The credentials of a workspace's client for an endpoint of this server, if its secret was entered for that. A
/// connection may have other addresses: those of another definition, or of an earlier set-up of the client.
pub async fn prepare_client_identity<P: Ports>(
    context: &Context<P>,
    client: &Client,
    auth_method: &AuthMethod,
    endpoints: &ResolvedEndpoints,
    endpoint: &EgressUrl,
) -> Result<ClientIdentity> {
    let destinations = Rc::new(load_client_destinations(context, client, auth_method, Some(endpoints)).await?);
    let keys = |proof| ClientIdentity::new(&client.client_id, proof, &destinations);
    if client.sealed_secret.is_none() {
        return Ok(keys(ClientProof::Nothing));
    }
    if !destinations.allows(SecretKind::ClientProof, endpoint) {
        return Err(Error::new(
            ErrorCode::ClientMissing,
            format!(
                "The client secret of {} was entered for other addresses than this connection has. Reconnect it.",
                auth_method.app_name
            ),
        )
        .with_hints(|hints| hints.client = Some(ClientProblem::AddressesChanged)));
    }
    match client.secret(&context.config.key_ring).map_err(|_| unreadable_secret_error())? {
        ClientSecret::None => Ok(keys(ClientProof::Nothing)),
        ClientSecret::SharedSecret(secret) => Ok(keys(ClientProof::Secret(secret))),
        ClientSecret::PrivateKey { pem, key_id, certificate } => {
            let key = SigningKey::from_pem(pem.expose()).map_err(|problem| unusable_key_error(&problem))?;
            // The only audience is the endpoint itself, so no other server can use the assertion.
            let claims = AssertionClaims::for_client(
                &client.client_id,
                endpoint.as_str(),
                context.ports.random(),
                context.now(),
            )?;
            let (key_id, certificate) = (key_id.as_deref(), certificate.as_deref());
            let algorithm =
                endpoints.assertion_alg.filter(|wanted| key.can_sign_with(*wanted)).unwrap_or_else(|| key.algorithm());
            let signature = SigningParams { key: &key, algorithm, key_id, certificate };
            let assertion =
                token::sign_assertion(context.ports.signer(), signature, &claims).await.map_err(signing_error)?;
            Ok(keys(ClientProof::Assertion(assertion)))
        }
    }
}

/// The destinations of a client's secret. Addresses that were unknown when it was entered are stored as soon as they
/// are known: those discovered at its issuer, and those of a row of an earlier version.
pub async fn load_client_destinations<P: Ports>(
    context: &Context<P>,
    client: &Client,
    auth_method: &AuthMethod,
    endpoints: Option<&ResolvedEndpoints>,
) -> Result<Destinations> {
    let stored = match &client.destinations {
        Some(stored) => stored.clone(),
        None if client.is_for_catalogue_app() => return Ok(catalogue_destinations(auth_method, client)),
        None => match find_older_destinations(context, client).await? {
            Some(found) => found,
            None => return Ok(catalogue_destinations(auth_method, client)),
        },
    };
    let same_issuer = Destinations::for_client(auth_method, &client.variables).authorization_server_key()
        == stored.authorization_server_key();
    let found =
        match endpoints.filter(|endpoints| stored.is_undiscovered() && same_issuer && endpoints.issuer.is_some()) {
            // The issuer of another person has other addresses, so they are not stored for all.
            Some(endpoints) if stored.issuer_has_placeholder() => return Ok(stored.with_discovered(endpoints)),
            Some(endpoints) => stored.with_discovered(endpoints),
            None => stored,
        };
    if client.destinations.as_ref() != Some(&found) {
        context.db().batch(vec![clients::set_destinations(client, &found)]).await?;
    }
    Ok(found)
}

/// The destinations of a client at a catalogue app: the addresses that this version knows. Only the variables in a host
/// come from the client; its other variables may differ from those of older connections.
fn catalogue_destinations(auth_method: &AuthMethod, client: &Client) -> Destinations {
    let names = auth_method.client_host_variables();
    let own = client.variables.iter().filter(|(name, _)| names.contains(&name.as_str()));
    Destinations::for_client(auth_method, &own.map(|(name, value)| (name.clone(), value.clone())).gather())
}

/// The destinations of a client of an earlier version: those of the definition when the secret was entered. None for a
/// catalogue app.
async fn find_older_destinations<P: Ports>(context: &Context<P>, client: &Client) -> Result<Option<Destinations>> {
    let app = client.registration.split(':').next().and_then(AppId::parse);
    let Some(app) = app else { return Ok(None) };
    let revisions = store::apps::list_revisions(context.db(), &client.workspace, &app, client.updated_at).await?;
    if revisions.is_empty() {
        return Ok(None);
    }
    let fits = |row: &AppRow| {
        let app = registry::parse_app_revision(context, &app, row.revision, Some(&row.definition)).ok()?;
        let auth_method =
            app.auth_methods().iter().find(|auth_method| auth_method.registration() == client.registration).cloned()?;
        let found = Destinations::for_client(&auth_method, &client.variables);
        client.covers_hosts(&found).then_some(found)
    };
    // None of them: nothing is known, so the secret is not sent until it is entered again.
    Ok(Some(revisions.iter().find_map(fits).unwrap_or_default()))
}

fn unreadable_secret_error() -> Error {
    Error::new(
        ErrorCode::ClientMissing,
        "The stored client secret can't be read with the present keys. Enter the client's secret again.",
    )
    .with_hints(|hints| hints.client = Some(ClientProblem::SecretUnreadable))
}

fn unusable_key_error(problem: &SigningKeyError) -> Error {
    Error::new(ErrorCode::ClientMissing, format!("The client's private key can't be used. {problem} Enter it again."))
        .with_hints(|hints| hints.client = Some(ClientProblem::PrivateKeyUnusable))
}

fn signing_error(error: SigningError) -> Error {
    match error {
        SigningError::Key => Error::new(
            ErrorCode::ClientMissing,
            "The private key cannot sign with the algorithm that the app requires.",
        )
        .with_hints(|hints| hints.client = Some(ClientProblem::PrivateKeyUnusable)),
        SigningError::Failed(cause) => Error::internal(format!("signing failed: {cause}")),
    }
}

/// The request that issues a token for a manual credential.
pub async fn prepare_issue_request<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    endpoints: &ResolvedEndpoints,
    credential: &Credential,
    scopes: &[String],
    variables: &BTreeMap<String, String>,
    destinations: &Rc<Destinations>,
) -> Result<OutboundRequest> {
    let server = auth_method.require_oauth_server()?;
    let values = template_values(auth_method, credential, variables);
    let (client, assertion) = match &server.grant_type {
        GrantType::JwtBearer(shape) => {
            let scope = scopes.join(&server.scope_separator);
            (
                ClientIdentity::anonymous(),
                Some(sign_grant_assertion(context, endpoints, shape, credential, &scope).await?),
            )
        }
        GrantType::ClientCredentials { .. } | GrantType::AuthorizationCode => {
            let field = |name: &str| credential.fields.get(name).cloned();
            let id = field("client_id").unwrap_or_else(|| Secret::new(""));
            (ClientIdentity::from_manual(id.expose(), field("client_secret"), destinations), None)
        }
    };
    let parties = TokenRequestContext { server, endpoints, client: &client, values: &values, destinations };
    token::build_issue_request(&parties, assertion.as_ref(), scopes)
        .map_err(|problem| registry::invalid_value_error(auth_method, &problem))
}

async fn sign_grant_assertion<P: Ports>(
    context: &Context<P>,
    endpoints: &ResolvedEndpoints,
    shape: &KeyFileLayout,
    credential: &Credential,
    scope: &str,
) -> Result<Secret> {
    let file = credential.fields.get(KEY_FILE_FIELD).map(Secret::expose).unwrap_or_default();
    let file =
        parse_key_file(shape, file).map_err(|problem| Error::invalid_field(KEY_FILE_FIELD, problem.to_string()))?;
    let subject = credential.fields.get("subject").map(Secret::expose);
    let claims = GrantClaims {
        issuer: &file.issuer,
        subject,
        audience: endpoints.token_url.as_str(),
        scope: Some(scope).filter(|scope| !scope.is_empty()),
        lifetime: MAX_GRANT_ASSERTION_LIFETIME,
    };
    let claims = AssertionClaims::for_grant(claims, context.now());
    let signature = SigningParams { key_id: file.key_id.as_deref(), ..SigningParams::with_key(&file.key) };
    token::sign_assertion(context.ports.signer(), signature, &claims).await.map_err(signing_error)
}

/// The field of a service account that holds its key file.
pub const KEY_FILE_FIELD: &str = "key";

/// Reads a service account's key file.
///
/// # Errors
/// A sentence for a person.
pub fn parse_key_file(shape: &KeyFileLayout, text: &str) -> std::result::Result<KeyFile, SigningKeyError> {
    let pointers = KeyFilePointers {
        issuer: shape.issuer.as_str(),
        private_key: shape.private_key.as_str(),
        key_id: Some(shape.key_id.as_str()),
    };
    KeyFile::parse(text, pointers)
}

/// The values of placeholders for a credential of this app.
pub fn template_values(
    auth_method: &AuthMethod,
    credential: &Credential,
    variables: &BTreeMap<String, String>,
) -> TemplateValues {
    credential.template_values(auth_method.first_secret_field()).with_all(variables)
}
