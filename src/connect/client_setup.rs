//! How a workspace's OAuth client at an app is set up: its row, its redirect URI, and whether it can be used.
//!
//! Owns the rules that a client id at another authorization server is another client with another redirect URI (RFC
//! 9700, 4.4.2), and that a corrected client id at the same server keeps the registered redirect URI. Does not keep a
//! secret for addresses that it was not entered for.

use std::collections::BTreeMap;

use crate::app::{AuthMethod, TemplateValues, VariableSource, read_variables};
use crate::audit::{Actor, EventType};
use crate::caller::constant_time_eq as equal;
use crate::client::{Client, EVENTS_ONLY};
use crate::client_auth;
use crate::context::Context;
use crate::destinations::Destinations;
use crate::error::{Error, ErrorCode, Result};
use crate::gather::Gather as _;
use crate::ids::{ClientId, WorkspaceId};
use crate::ports::{DatabaseError, Ports};
use crate::preconditions::Condition;
use crate::registry;
use crate::secret::Secret;
use crate::store::clients::{self, WorkspaceClients};
use crate::store::events::{AuditedDatabase, ChangedBy, EventSubject};
use crate::time::Timestamp;

/// A client as entered.
#[derive(Debug, Clone)]
pub struct NewClient {
    /// The app's id for it.
    pub client_id: String,
    /// What happens to what the app's events are verified with.
    pub event_secret: NewSecret,
    /// What happens to its secret.
    pub secret: NewSecret,
    /// The variables of the app's addresses.
    pub variables: BTreeMap<String, String>,
    /// Scopes to request instead of the app's defaults.
    pub scopes: Option<Vec<String>>,
    /// When the secret expires at the app.
    pub secret_expires_at: Option<Timestamp>,
}

/// What happens to a client's secret.
#[derive(Debug, Clone)]
pub enum NewSecret {
    /// It is this one, as [`crate::client::ClientSecret::text_to_seal`] writes it.
    Is(Secret),
    /// The previous one stays. A new client has none.
    Kept,
    /// It has none: it is a public client.
    Removed,
}

/// Sets up a client for new flows.
///
/// # Errors
/// The input does not match the app, a secret would be sent to other addresses, or another change came first.
pub async fn put<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    auth_method: &AuthMethod,
    new: NewClient,
    actor: &Actor,
) -> Result<Client> {
    put_if(context, workspace, auth_method, new, actor, &Condition::default()).await
}

/// The same, only under a condition.
///
/// # Errors
/// Also `precondition_failed`.
pub async fn put_if<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    auth_method: &AuthMethod,
    new: NewClient,
    actor: &Actor,
    condition: &Condition,
) -> Result<Client> {
    let variables =
        read_variables(auth_method, &VariableSource::Client, &new.variables).map_err(Error::from_field_problems)?;
    let person = auth_method.variables.values().any(|one| one.source == VariableSource::Person);
    if !person
        && let Some(Err(problem)) = auth_method.resolve_fixed_endpoints(&TemplateValues::new().with_all(&variables))
    {
        return Err(registry::invalid_value_error(auth_method, &problem));
    }
    let now = context.now();
    let server = authorization_server_key(auth_method, &variables);
    let all = with_authorization_servers(
        context,
        auth_method,
        clients::list_of_registration(context.db(), workspace, auth_method.registration()).await?,
    )
    .await?;
    let same_server = || all.iter().filter(|(_, known)| *known == server).map(|(client, _)| client);
    let same = same_server().find(|client| client.client_id == new.client_id);
    let redirect_id = match same.or_else(|| same_server().next()) {
        Some(client) => client.redirect_id.clone(),
        None => match initial_redirect_id(workspace, auth_method, &server) {
            told if is_id_free(&all, &told) => told,
            _ => ClientId::random(context.ports.random(), workspace.shard())?,
        },
    };
    let id = match same {
        Some(client) => client.id.clone(),
        None if all.iter().all(|(client, _)| client.id != redirect_id) => redirect_id.clone(),
        None => ClientId::random(context.ports.random(), workspace.shard())?,
    };
    let wanted = auth_method.is_custom.then(|| Destinations::for_client(auth_method, &variables));
    let (sealed_secret, destinations) = match (&new.secret, same) {
        (NewSecret::Is(secret), _) => {
            let sealed =
                context.config.key_ring.seal(context.ports.random(), &Client::seal_context(workspace, &id), secret)?;
            (
                Some(sealed),
                match (wanted, same) {
                    (Some(wanted), Some(before)) => {
                        Some(destinations_of_same_secret(context, before, auth_method, secret, wanted).await?)
                    }
                    (wanted, _) => wanted,
                },
            )
        }
        (NewSecret::Kept, Some(before)) if before.sealed_secret.is_some() => {
            keep_secret(context, before, auth_method, wanted).await?
        }
        (NewSecret::Kept | NewSecret::Removed, _) => (None, wanted),
    };
    let sealed_event_secret = match &new.event_secret {
        NewSecret::Is(secret) => Some(context.config.key_ring.seal(
            context.ports.random(),
            &Client::event_secret_context(workspace, &id),
            secret,
        )?),
        NewSecret::Kept => same.and_then(|client| client.sealed_event_secret.clone()),
        NewSecret::Removed => None,
    };
    let client = Client {
        id,
        workspace: workspace.clone(),
        registration: auth_method.registration().to_owned(),
        client_id: new.client_id,
        redirect_id,
        authorization_server: Some(server),
        sealed_secret,
        sealed_event_secret,
        event_secret_received_at: None,
        destinations,
        hosts: std::collections::BTreeSet::new(),
        variables,
        scopes: new.scopes,
        secret_expires_at: new.secret_expires_at,
        current: true,
        misconfigured: None,
        backoff_until: Timestamp::from_unix(0),
        failures: 0,
        created_at: same.map_or(now, |client| client.created_at),
        updated_at: now,
    };
    store_client(context, auth_method, client, &new.event_secret, actor, condition).await
}

/// Sets up a client that only receives events: the app's connections need none. `current` is the one that there is.
///
/// # Errors
/// `precondition_failed`, or another change came first.
pub async fn put_events_client_if<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    auth_method: &AuthMethod,
    (current, event_secret): (Option<Client>, NewSecret),
    actor: &Actor,
    condition: &Condition,
) -> Result<Client> {
    let (now, current) = (context.now(), current.filter(Client::is_for_events_only));
    let id = match &current {
        Some(client) => client.id.clone(),
        // Of its own: an OAuth client that the app may get one day has the id that follows from the registration.
        None => ClientId::derive_for_server(workspace, auth_method.registration(), EVENTS_ONLY),
    };
    let sealed_event_secret = match &event_secret {
        NewSecret::Is(secret) => Some(context.config.key_ring.seal(
            context.ports.random(),
            &Client::event_secret_context(workspace, &id),
            secret,
        )?),
        NewSecret::Kept => current.as_ref().and_then(|client| client.sealed_event_secret.clone()),
        NewSecret::Removed => None,
    };
    let client = Client {
        redirect_id: id.clone(),
        id,
        workspace: workspace.clone(),
        registration: auth_method.registration().to_owned(),
        client_id: EVENTS_ONLY.to_owned(),
        sealed_secret: None,
        sealed_event_secret,
        event_secret_received_at: None,
        scopes: None,
        authorization_server: Some(EVENTS_ONLY.to_owned()),
        destinations: None,
        hosts: std::collections::BTreeSet::new(),
        variables: BTreeMap::new(),
        secret_expires_at: None,
        current: true,
        misconfigured: None,
        backoff_until: Timestamp::from_unix(0),
        failures: 0,
        created_at: current.map_or(now, |client| client.created_at),
        updated_at: now,
    };
    store_client(context, auth_method, client, &event_secret, actor, condition).await
}

/// Stores a client, with its lines of the audit log.
async fn store_client<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    client: Client,
    event_secret: &NewSecret,
    actor: &Actor,
    condition: &Condition,
) -> Result<Client> {
    let workspace = &client.workspace;
    let subject =
        EventSubject { app: Some(&auth_method.app_id), target: Some(client.id.as_str()), ..EventSubject::default() };
    let (changed, detail) = (EventType::ClientChanged, Some(client.client_id.as_str()));
    let event = context.event_statement_about(workspace, changed, actor, subject, detail)?;
    let db = AuditedDatabase::new(condition.db(context), event, ChangedBy::First);
    let put = if matches!(event_secret, NewSecret::Kept) {
        clients::put(&db, &client, true).await
    } else {
        // A line of its own: whoever can send events is another matter than whose secret is sent to the app.
        let detail = if client.sealed_event_secret.is_some() { "set" } else { "removed" };
        let event =
            context.event_statement_about(workspace, EventType::EventSecretChanged, actor, subject, Some(detail))?;
        clients::put(&AuditedDatabase::new(db, event, ChangedBy::First), &client, false).await
    };
    match put {
        Ok(()) => Ok(client),
        Err(DatabaseError::Constraint) => {
            condition.require_still_met(context).await?;
            Err(Error::new(
                ErrorCode::Conflict,
                "This client was set up elsewhere at the same moment. Read it again, then retry.",
            ))
        }
        Err(error) => Err(error.into()),
    }
}

/// The unchanged secret may also be sent to its earlier destinations: a grant of an earlier definition is revoked
/// there.
async fn destinations_of_same_secret<P: Ports>(
    context: &Context<P>,
    before: &Client,
    auth_method: &AuthMethod,
    secret: &Secret,
    wanted: Destinations,
) -> Result<Destinations> {
    let is_stored =
        before.stored_secret(&context.config.key_ring).is_some_and(|stored| equal(stored.expose(), secret.expose()));
    if !is_stored {
        return Ok(wanted);
    }
    Ok(wanted.with_addresses_of(&client_auth::load_client_destinations(context, before, auth_method, None).await?))
}

/// A change without a secret keeps it, unless the secret or its tokens would then be sent to other addresses.
async fn keep_secret<P: Ports>(
    context: &Context<P>,
    before: &Client,
    auth_method: &AuthMethod,
    wanted: Option<Destinations>,
) -> Result<(Option<String>, Option<Destinations>)> {
    let Some(wanted) = wanted else { return Ok((before.sealed_secret.clone(), None)) };
    let stored = client_auth::load_client_destinations(context, before, auth_method, None).await?;
    if !covers_destinations(&stored, &wanted) {
        return Err(Error::invalid_field(
            "client_secret",
            "must be entered again: the app's addresses have changed since.",
        ));
    }
    Ok((before.sealed_secret.clone(), Some(stored)))
}

/// The identity of an authorization server. For a catalogue app it is the variables in its hosts: its addresses may
/// change with a version, and its clients are kept.
pub fn authorization_server_key(auth_method: &AuthMethod, variables: &BTreeMap<String, String>) -> String {
    if auth_method.is_custom {
        return Destinations::for_client(auth_method, variables).authorization_server_key();
    }
    let told: Vec<_> = auth_method
        .client_host_variables()
        .into_iter()
        .map(|name| format!("{name}={}", variables.get(name).map(|value| value.to_lowercase()).unwrap_or_default()))
        .collect();
    told.join(" ")
}

/// Rows with their authorization servers.
async fn with_authorization_servers<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    rows: Vec<Client>,
) -> Result<Vec<(Client, String)>> {
    let mut all = Vec::with_capacity(rows.len());
    for client in rows {
        let server = match &client.authorization_server {
            Some(server) => server.clone(),
            None if auth_method.is_custom => client_auth::load_client_destinations(context, &client, auth_method, None)
                .await?
                .authorization_server_key(),
            None => authorization_server_key(auth_method, &client.variables),
        };
        all.push((client, server));
    }
    Ok(all)
}

fn is_id_free(all: &[(Client, String)], id: &ClientId) -> bool {
    all.iter().all(|(client, _)| client.id != *id && client.redirect_id != *id)
}

/// The id of the redirect URI that a page shows before there is a client, because most apps require the address at
/// once. It follows from the authorization server, so that an address registered at one server is useless at another.
fn initial_redirect_id(workspace: &WorkspaceId, auth_method: &AuthMethod, server: &str) -> ClientId {
    let usual = !auth_method.is_custom
        && default_variables(auth_method).is_some_and(|usual| authorization_server_key(auth_method, &usual) == server);
    if usual {
        ClientId::derive_for_registration(workspace, auth_method.registration())
    } else {
        ClientId::derive_for_server(workspace, auth_method.registration(), server)
    }
}

/// The default set-up of a client. None if a value must be entered.
fn default_variables(auth_method: &AuthMethod) -> Option<BTreeMap<String, String>> {
    let asked = auth_method.variables.iter().filter(|(_, one)| one.source == VariableSource::Client);
    asked.map(|(name, one)| Some((name.clone(), one.default.clone()?))).gather_some()
}

/// The id of the redirect URI of the current client, or of the next one with the defaults, if it is known.
pub fn expected_redirect_id(
    clients: &WorkspaceClients,
    workspace: &WorkspaceId,
    auth_method: &AuthMethod,
) -> Option<ClientId> {
    if let Some(client) =
        clients.current(auth_method.registration()).filter(|client| is_set_up_for(client, auth_method))
    {
        return Some(client.redirect_id.clone());
    }
    let server = authorization_server_key(auth_method, &default_variables(auth_method)?);
    let known = |client: &&Client| match &client.authorization_server {
        Some(known) => *known == server,
        None => is_set_up_for(client, auth_method),
    };
    if let Some(client) = clients.of_registration(auth_method.registration()).find(known) {
        return Some(client.redirect_id.clone());
    }
    let told = initial_redirect_id(workspace, auth_method, &server);
    clients
        .of_registration(auth_method.registration())
        .all(|client| client.id != told && client.redirect_id != told)
        .then_some(told)
}

/// Whether a client was set up for an app's current addresses. For a row without destinations only its hosts are known
/// here; more is checked where its secret is used.
pub fn is_set_up_for(client: &Client, auth_method: &AuthMethod) -> bool {
    if !auth_method.is_custom {
        return client
            .authorization_server
            .as_ref()
            .is_none_or(|server| *server == authorization_server_key(auth_method, &client.variables));
    }
    let wanted = Destinations::for_client(auth_method, &client.variables);
    match &client.destinations {
        Some(stored) => covers_destinations(stored, &wanted),
        None => client.authorization_server.is_none() && client.covers_hosts(&wanted),
    }
}

/// Whether a workspace can connect an app by an auth method: it needs no client, or has one that was set up for the app's
/// addresses.
pub fn is_auth_method_ready(clients: &WorkspaceClients, auth_method: &AuthMethod) -> bool {
    auth_method.kind.is_manual()
        || clients.current(auth_method.registration()).is_some_and(|client| is_set_up_for(client, auth_method))
}

/// The same, only from certain facts.
pub async fn verify_set_up_for<P: Ports>(
    context: &Context<P>,
    client: &Client,
    auth_method: &AuthMethod,
) -> Result<bool> {
    if !auth_method.is_custom || client.destinations.is_some() {
        return Ok(is_set_up_for(client, auth_method));
    }
    let wanted = Destinations::for_client(auth_method, &client.variables);
    Ok(covers_destinations(&client_auth::load_client_destinations(context, client, auth_method, None).await?, &wanted))
}

fn covers_destinations(stored: &Destinations, wanted: &Destinations) -> bool {
    stored.authorization_server_key() == wanted.authorization_server_key() && stored.covers(wanted)
}
