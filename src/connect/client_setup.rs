//! How a workspace's OAuth client at an app is set up: which row it is, which redirect URI it has, whether it serves.
//!
//! Owns that a client id at another authorization server is another client with another redirect URI (RFC 9700, 4.4.2), and
//! that a corrected client id at the same one keeps the redirect URI that was registered there. Refuses to keep a secret
//! for addresses that it was not entered for.

use std::collections::BTreeMap;

use crate::app::{App, Origin, Values, read_variables};
use crate::caller::same as equal;
use crate::client::Client;
use crate::core::Core;
use crate::destinations::Destinations;
use crate::error::{Code, Error, Result};
use crate::ids::{ClientId, WorkspaceId};
use crate::ports::{DatabaseError, Ports};
use crate::registry;
use crate::secret::Secret;
use crate::server;
use crate::store::clients::{self, Registrations};
use crate::time::Timestamp;

use super::start::invalid_fields;

/// A client as somebody enters it.
#[derive(Debug, Clone)]
pub struct NewClient {
    /// The app's id of it.
    pub client_id: String,
    /// What becomes of its secret.
    pub secret: NewSecret,
    /// What the app's addresses depend on.
    pub variables: BTreeMap<String, String>,
    /// Scopes to ask for instead of the app's defaults.
    pub scopes: Option<Vec<String>>,
    /// When the app stops accepting the secret.
    pub secret_expires_at: Option<Timestamp>,
}

/// What becomes of a client's secret.
#[derive(Debug, Clone)]
pub enum NewSecret {
    /// It is this, as [`crate::client::ClientSecret::to_seal`] makes it.
    Is(Secret),
    /// The one of before stays; a new client has none.
    Kept,
    /// It has none, whatever it had: it is a public client.
    Removed,
}

/// Sets a client up and makes it the one that new flows use.
///
/// # Errors
/// What was entered does not fit the app, a secret would go to other addresses, or somebody was quicker.
pub async fn put<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, app: &App, new: NewClient) -> Result<Client> {
    let variables = read_variables(app, &Origin::Client, &new.variables).map_err(invalid_fields)?;
    let person = app.variables.values().any(|one| one.from == Origin::Person);
    if !person && let Some(Err(problem)) = app.resolve_fixed(&Values::new().with_all(&variables)) {
        return Err(registry::misfit(app, &problem));
    }
    let now = core.now();
    let server = authorization_server(app, &variables);
    let all = of_servers(core, app, clients::of_registration(core.db(), workspace, app.registration()).await?).await?;
    let same_server = || all.iter().filter(|(_, known)| *known == server).map(|(client, _)| client);
    let same = same_server().find(|client| client.client_id == new.client_id);
    let redirect_id = match same.or_else(|| same_server().next()) {
        Some(client) => client.redirect_id.clone(),
        None => match told_before(workspace, app, &server) {
            told if is_free(&all, &told) => told,
            _ => ClientId::random(core.ports.random(), workspace.shard())?,
        },
    };
    let id = match same {
        Some(client) => client.id.clone(),
        None if all.iter().all(|(client, _)| client.id != redirect_id) => redirect_id.clone(),
        None => ClientId::random(core.ports.random(), workspace.shard())?,
    };
    let wanted = app.custom.then(|| Destinations::of_client(app, &variables));
    let (sealed_secret, destinations) = match (&new.secret, same) {
        (NewSecret::Is(secret), _) => {
            let sealed = core.config.ring.seal(core.ports.random(), &Client::place(workspace, &id), secret)?;
            (
                Some(sealed),
                match (wanted, same) {
                    (Some(wanted), Some(before)) => Some(of_same_secret(core, before, app, secret, wanted).await?),
                    (wanted, _) => wanted,
                },
            )
        }
        (NewSecret::Kept, Some(before)) if before.sealed_secret.is_some() => kept(core, before, app, wanted).await?,
        (NewSecret::Kept | NewSecret::Removed, _) => (None, wanted),
    };
    let client = Client {
        id,
        workspace: workspace.clone(),
        registration: app.registration().to_owned(),
        client_id: new.client_id,
        redirect_id,
        server: Some(server),
        sealed_secret,
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
    match clients::put(core.db(), &client).await {
        Ok(()) => Ok(client),
        Err(DatabaseError::Constraint) => Err(Error::new(
            Code::Conflict,
            "This client was set up elsewhere at the same moment. Read it again and retry.",
        )),
        Err(error) => Err(error.into()),
    }
}

/// The very secret that is stored may also go where it could go before: a grant of an older edition is revoked there.
async fn of_same_secret<P: Ports>(
    core: &Core<P>,
    before: &Client,
    app: &App,
    secret: &Secret,
    wanted: Destinations,
) -> Result<Destinations> {
    let is_stored =
        before.stored_secret(&core.config.ring).is_some_and(|stored| equal(stored.expose(), secret.expose()));
    if !is_stored {
        return Ok(wanted);
    }
    Ok(wanted.and_those_of(&server::client_destinations(core, before, app, None).await?))
}

/// A change that leaves the secret out keeps it, unless it or the tokens it gets would then go to other addresses.
async fn kept<P: Ports>(
    core: &Core<P>,
    before: &Client,
    app: &App,
    wanted: Option<Destinations>,
) -> Result<(Option<String>, Option<Destinations>)> {
    let Some(wanted) = wanted else { return Ok((before.sealed_secret.clone(), None)) };
    let stored = server::client_destinations(core, before, app, None).await?;
    if !serves_addresses(&stored, &wanted) {
        return Err(Error::invalid("client_secret", "must be entered again: the app's addresses have changed since."));
    }
    Ok((before.sealed_secret.clone(), Some(stored)))
}

/// What tells an authorization server from another. At an app of the catalogue that is what its hosts depend on: its
/// addresses may change with a release, and its clients go on.
pub fn authorization_server(app: &App, variables: &BTreeMap<String, String>) -> String {
    if app.custom {
        return Destinations::of_client(app, variables).authorization_server();
    }
    let told: Vec<_> = app
        .host_variables_of_client()
        .into_iter()
        .map(|name| format!("{name}={}", variables.get(name).map(|value| value.to_lowercase()).unwrap_or_default()))
        .collect();
    told.join(" ")
}

/// Rows with the authorization server that each is for.
async fn of_servers<P: Ports>(core: &Core<P>, app: &App, rows: Vec<Client>) -> Result<Vec<(Client, String)>> {
    let mut all = Vec::with_capacity(rows.len());
    for client in rows {
        let server = match &client.server {
            Some(server) => server.clone(),
            None if app.custom => server::client_destinations(core, &client, app, None).await?.authorization_server(),
            None => authorization_server(app, &client.variables),
        };
        all.push((client, server));
    }
    Ok(all)
}

fn is_free(all: &[(Client, String)], id: &ClientId) -> bool {
    all.iter().all(|(client, _)| client.id != *id && client.redirect_id != *id)
}

/// The redirect URI's id that a page tells before there is a client: most apps ask for the address at once. It follows
/// from the authorization server, so that what is registered at one is of no use to another.
fn told_before(workspace: &WorkspaceId, app: &App, server: &str) -> ClientId {
    let usual = !app.custom && defaults(app).is_some_and(|usual| authorization_server(app, &usual) == server);
    if usual {
        ClientId::first(workspace, app.registration())
    } else {
        ClientId::first_at(workspace, app.registration(), server)
    }
}

/// What a client is set up with where nobody says otherwise; none where something has to be said.
fn defaults(app: &App) -> Option<BTreeMap<String, String>> {
    let asked = app.variables.iter().filter(|(_, one)| one.from == Origin::Client);
    asked.map(|(name, one)| Some((name.clone(), one.default.clone()?))).collect()
}

/// The redirect URI's id of the current client, or of the one that is made next with what is usual, as far as that is
/// known.
pub fn expected_redirect_id(clients: &Registrations, workspace: &WorkspaceId, app: &App) -> Option<ClientId> {
    if let Some(client) = clients.current(app.registration()).filter(|client| serves(client, app)) {
        return Some(client.redirect_id.clone());
    }
    let server = authorization_server(app, &defaults(app)?);
    let known = |client: &&Client| match &client.server {
        Some(known) => *known == server,
        None => serves(client, app),
    };
    if let Some(client) = clients.of(app.registration()).find(known) {
        return Some(client.redirect_id.clone());
    }
    let told = told_before(workspace, app, &server);
    clients.of(app.registration()).all(|client| client.id != told && client.redirect_id != told).then_some(told)
}

/// Whether a client was set up for the addresses that an app has now. Of a row from before destinations were kept only
/// its hosts are known here; where its secret is used, more is asked.
pub fn serves(client: &Client, app: &App) -> bool {
    if !app.custom {
        return client.server.as_ref().is_none_or(|server| *server == authorization_server(app, &client.variables));
    }
    let wanted = Destinations::of_client(app, &client.variables);
    match &client.destinations {
        Some(stored) => serves_addresses(stored, &wanted),
        None => client.server.is_none() && client.covers_hosts(&wanted),
    }
}

/// The same, from what is known for sure.
pub async fn surely_serves<P: Ports>(core: &Core<P>, client: &Client, app: &App) -> Result<bool> {
    if !app.custom || client.destinations.is_some() {
        return Ok(serves(client, app));
    }
    let wanted = Destinations::of_client(app, &client.variables);
    Ok(serves_addresses(&server::client_destinations(core, client, app, None).await?, &wanted))
}

fn serves_addresses(stored: &Destinations, wanted: &Destinations) -> bool {
    stored.authorization_server() == wanted.authorization_server() && stored.cover(wanted)
}
