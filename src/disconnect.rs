//! Disconnect: revoke at the app, then erase, in an order that never leaves a usable credential behind.
//!
//! Owns that order: end it for everybody, take the copy away, revoke, erase. What an app does not
//! confirm stays as a sealed job for a day. Where a revocation kills the whole grant, it is done only
//! if no other live connection lives on that grant.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;

use crate::app::{App, Kills, OAuth2, Resolved, RevokeStyle, Values};
use crate::client::Client;
use crate::connect::start;
use crate::connection::Connection;
use crate::core::Core;
use crate::credential::{Credential, Token};
use crate::destinations::Destinations;
use crate::egress::Address;
use crate::error::{Error, Result};
use crate::ids::{ClientId, ConnectionId, WorkspaceId};
use crate::ports::{Database, Outbound, Ports};
use crate::registry;
use crate::resolve::cached;
use crate::secret::Secret;
use crate::server;
use crate::store::{self, refreshes, revocations::Revocation};
use crate::token::{self, Answer, Class, ClientKeys, Parties, TokenHint, Told};
use crate::vault::Place;

/// How long a revocation is tried again, in seconds: a day.
const RETRY_FOR: i64 = 24 * 3600;

/// What became of the grant at the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// The app confirmed.
    Confirmed,
    /// The app has no way to revoke.
    Unsupported,
    /// Another connection lives on the same grant.
    KeptShared,
    /// The app did not confirm (yet).
    Failed,
}

/// What a disconnect tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Disconnected {
    /// What became of the grant.
    pub revoked: Revoked,
    /// Whether it is tried again.
    pub retrying: bool,
}

/// Disconnects. From the first write on the connection does not exist, whatever the app says.
pub async fn disconnect<P: Ports>(
    core: &Core<P>,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    actor: &str,
) -> Result<Disconnected> {
    let ended =
        refreshes::mark_deleted(core.db(), workspace, id, core.now()).await?.ok_or_else(Error::connection_not_found)?;
    finish(core, &ended, actor).await
}

/// Brings a disconnect to its end: the first time, or after a run that died in the middle.
pub async fn finish<P: Ports>(core: &Core<P>, ended: &Connection, actor: &str) -> Result<Disconnected> {
    let copy_gone = cached::forget_connection(core, &ended.id).await;
    let (revoked, job) = revoke_grant(core, ended).await;
    let mut statements = Vec::new();
    let retrying = job.is_some();
    statements.extend(job.as_ref().map(store::revocations::insert));
    if copy_gone {
        statements.extend(refreshes::erase(&ended.workspace, &ended.id));
    }
    statements.push(core.event(&ended.workspace, &ended.id, "disconnected", actor, Some(word(revoked)))?);
    core.db().batch(statements).await?;
    Ok(Disconnected { revoked, retrying })
}

fn word(revoked: Revoked) -> &'static str {
    match revoked {
        Revoked::Confirmed => "confirmed",
        Revoked::Unsupported => "unsupported",
        Revoked::KeptShared => "kept_shared",
        Revoked::Failed => "failed",
    }
}

async fn revoke_grant<P: Ports>(core: &Core<P>, ended: &Connection) -> (Revoked, Option<Revocation>) {
    // Sealed under the generation before the one that ended it.
    let place = Credential::place(&ended.workspace, &ended.id, ended.generation - 1);
    let credential =
        ended.sealed_credential.as_deref().and_then(|sealed| Credential::open(&core.config.ring, &place, sealed).ok());
    let Some(credential) = credential else { return (Revoked::Failed, None) };
    let Ok(job) = job(core, ended, &credential) else { return (Revoked::Failed, None) };
    match try_revoke(core, &job, &credential).await.unwrap_or(Revoked::Failed) {
        Revoked::Failed => (Revoked::Failed, Some(job)),
        revoked => (revoked, None),
    }
}

/// One try to revoke a credential that nobody may use any more.
async fn try_revoke<P: Ports>(core: &Core<P>, of: &Revocation, credential: &Credential) -> Result<Revoked> {
    let definition = registry::at_revision(core, &of.workspace, &of.app, of.app_revision).await?;
    let app = registry::way(&definition, &of.way)?;
    let destinations = of.destinations.as_ref();
    let held = Held { credential, account: of.account.as_deref(), variables: &of.variables, destinations };
    if !can_revoke(core, &app, held.variables).await? {
        return Ok(Revoked::Unsupported);
    }
    if kills_grant(&app) && is_shared(core, &of.workspace, of.client.as_ref(), held.account).await? {
        return Ok(Revoked::KeptShared);
    }
    let client = match &of.client {
        None => None,
        Some(id) => match store::clients::get(core.db(), &of.workspace, id).await? {
            Some(client) => Some(client),
            None => return Ok(Revoked::Failed),
        },
    };
    revoke_held(core, &app, client.as_ref(), &held).await
}

/// Whether the app has a way to revoke. One whose endpoints are yet to be discovered may have.
async fn can_revoke<P: Ports>(core: &Core<P>, app: &App, variables: &BTreeMap<String, String>) -> Result<bool> {
    Ok(match (app.server(), app.issuer()) {
        (None, _) => false,
        (Some(_), Some(_)) => true,
        (Some(_), None) => registry::endpoints(core, app, variables).await?.revoke_url.is_some(),
    })
}

/// Whether another connection lives on a grant. Tokens that are made of what a person entered have none in common.
async fn is_shared<P: Ports>(
    core: &Core<P>,
    workspace: &WorkspaceId,
    client: Option<&ClientId>,
    account: Option<&str>,
) -> Result<bool> {
    match client {
        None => Ok(false),
        Some(client) => Ok(store::connections::grant_is_live(core.db(), workspace, client, account).await?),
    }
}

/// Whether a revocation at this app kills the grant, and with it every token of it.
fn kills_grant(app: &App) -> bool {
    app.revocation().kills == Kills::Grant
}

/// A credential to be revoked, and what is known beside it.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    /// The credential.
    pub credential: &'a Credential,
    /// The account's id.
    pub account: Option<&'a str>,
    /// What the app's addresses depend on.
    pub variables: &'a BTreeMap<String, String>,
    /// Where it may go, where that was kept beside it.
    pub destinations: Option<&'a Destinations>,
}

async fn revoke_held<P: Ports>(core: &Core<P>, app: &App, client: Option<&Client>, held: &Held<'_>) -> Result<Revoked> {
    let at = registry::endpoints(core, app, held.variables).await?;
    let values = server::values(app, held.credential, held.variables);
    let values = held.account.iter().fold(values, |values, id| values.with("account_id", id));
    let stored = held.destinations.cloned();
    let destinations = Rc::new(stored.unwrap_or_else(|| Destinations::of_grant(app, Some(&at), held.variables)));
    let grant = Grant { app, server: app.oauth2()?, at: &at, client, held, values, destinations };
    let mut revoked = Revoked::Unsupported;
    for (_, token) in held.credential.tokens() {
        revoked = revoke_token(core, &grant, token).await?;
        if revoked == Revoked::Failed {
            break;
        }
    }
    Ok(revoked)
}

/// A person's own client, where that is what they entered.
fn own_keys(credential: &Credential, destinations: &Rc<Destinations>) -> ClientKeys {
    let field = |name: &str| credential.fields.get(name).cloned();
    let entered = |id: Secret| ClientKeys::entered(id.expose(), field("client_secret"), destinations);
    field("client_id").map_or_else(ClientKeys::nobody, entered)
}

/// A grant to be revoked, and what it takes to ask the app for it.
struct Grant<'a> {
    app: &'a App,
    server: &'a OAuth2,
    at: &'a Resolved,
    client: Option<&'a Client>,
    held: &'a Held<'a>,
    values: Values,
    destinations: Rc<Destinations>,
}

impl Grant<'_> {
    /// What the client authenticates with at an endpoint, anew for each request: an assertion is good for one.
    async fn keys<P: Ports>(&self, core: &Core<P>, endpoint: &Address) -> Result<ClientKeys> {
        match self.client {
            Some(client) => server::client_keys(core, client, (self.app, self.at), endpoint).await,
            None => Ok(own_keys(self.held.credential, &self.destinations)),
        }
    }

    /// Where a token is revoked.
    fn revoke_address(&self, token: &Secret) -> Result<Option<Address>> {
        let client_id = self.client.map(|client| client.client_id.as_str()).unwrap_or_default();
        let values = self.values.clone().with("token", token.expose()).with("client_id", client_id);
        let url = self.at.revoke_url.as_ref().map(|url| url.fill(&values)).transpose();
        url.map_err(|problem| registry::unfilled(self.app, &problem))
    }

    /// The client where it is only named, and proves nothing.
    fn named_client(&self) -> ClientKeys {
        let entered = || own_keys(self.held.credential, &self.destinations).client_id;
        let client_id = self.client.map_or_else(entered, |client| client.client_id.clone());
        ClientKeys::named(&client_id)
    }

    fn parties<'a>(&'a self, keys: &'a ClientKeys) -> Parties<'a> {
        let destinations = &self.destinations;
        Parties { server: self.server, at: self.at, client: keys, values: &self.values, destinations }
    }

    async fn revocation_of<P: Ports>(
        &self,
        core: &Core<P>,
        token: &Secret,
        hint: TokenHint,
    ) -> Result<Option<Outbound>> {
        let Some(endpoint) = self.revoke_address(token)? else { return Ok(None) };
        let keys = if self.server.revoke.authenticate && self.server.revoke.style == RevokeStyle::Rfc7009 {
            self.keys(core, &endpoint).await?
        } else {
            self.named_client()
        };
        let request = token::revoke_request(&self.parties(&keys), token, hint);
        request.map_err(|problem| registry::unfilled(self.app, &problem))
    }

    async fn ask<P: Ports>(&self, core: &Core<P>, request: Outbound) -> Told {
        token::read_revocation(self.app, &core.send(request).await)
    }
}

/// Revokes a token by the way the app knows.
async fn revoke_token<P: Ports>(core: &Core<P>, grant: &Grant<'_>, token: &Token) -> Result<Revoked> {
    match grant.server.revoke.style {
        RevokeStyle::Rfc7009 => revoke_both(core, grant, token).await,
        RevokeStyle::Bearer => revoke_by_access(core, grant, token).await,
    }
}

/// RFC 7009: the refresh token, then the access token. Some servers know only one kind (2.2.1).
async fn revoke_both<P: Ports>(core: &Core<P>, grant: &Grant<'_>, token: &Token) -> Result<Revoked> {
    let refresh = match &token.refresh_token {
        None => None,
        Some(token) => grant.revocation_of(core, token, TokenHint::RefreshToken).await?,
    };
    let access = grant.revocation_of(core, &token.access_token, TokenHint::AccessToken).await?;
    // Where the parameters name something else than the token in question, both are one request: the second would
    // find what the first has ended.
    let access = access.filter(|access| refresh.as_ref().is_none_or(|refresh| !is_same(refresh, access)));
    let mut revoked = Revoked::Unsupported;
    for request in [refresh, access].into_iter().flatten() {
        revoked = match grant.ask(core, request).await {
            Told::Done | Told::Dead => Revoked::Confirmed,
            Told::OtherKind if revoked == Revoked::Confirmed => Revoked::Confirmed,
            Told::OtherKind | Told::Refused | Told::Nothing => return Ok(Revoked::Failed),
        };
    }
    Ok(revoked)
}

fn is_same(one: &Outbound, other: &Outbound) -> bool {
    (&one.url, &one.headers, &one.body) == (&other.url, &other.headers, &other.body)
}

/// The app ends the grant of the access token that asks for it. One that has expired can't ask: a fresh
/// one is fetched for this last purpose.
async fn revoke_by_access<P: Ports>(core: &Core<P>, grant: &Grant<'_>, token: &Token) -> Result<Revoked> {
    let request = |token| grant.revocation_of(core, token, TokenHint::AccessToken);
    let Some(first) = request(&token.access_token).await? else { return Ok(Revoked::Unsupported) };
    let refresh_token = match (grant.ask(core, first).await, &token.refresh_token) {
        (Told::Done, _) | (Told::Dead, None) => return Ok(Revoked::Confirmed),
        (Told::Refused | Told::Dead, Some(refresh_token)) => refresh_token,
        _ => return Ok(Revoked::Failed),
    };
    let redirect_uri = grant.client.map(|client| start::redirect_uri(core, &client.redirect_id)).unwrap_or_default();
    let keys = grant.keys(core, &grant.at.refresh_url).await?;
    let renewal = token::refresh_request(&grant.parties(&keys), refresh_token, &[], &redirect_uri)
        .map_err(|problem| registry::unfilled(grant.app, &problem))?;
    let asked_at = core.now();
    match token::read_answer(grant.app, &core.send(renewal).await, asked_at) {
        Answer::Tokens(tokens) => {
            let Some(second) = request(&tokens.access_token).await? else { return Ok(Revoked::Failed) };
            Ok(match grant.ask(core, second).await {
                Told::Done | Told::Dead => Revoked::Confirmed,
                Told::OtherKind | Told::Refused | Told::Nothing => Revoked::Failed,
            })
        }
        // The grant is gone already.
        Answer::Refused(refusal) if refusal.class == Class::Permanent => Ok(Revoked::Confirmed),
        Answer::Refused(_) | Answer::Ambiguous(_) => Ok(Revoked::Failed),
    }
}

fn place<'a>(workspace: &'a WorkspaceId, id: &'a ConnectionId) -> Place<'a> {
    Place {
        workspace: workspace.as_str(),
        table: "revocations",
        row: id.as_str(),
        field: "sealed_tokens",
        generation: 0,
    }
}

fn job<P: Ports>(core: &Core<P>, of: &Connection, credential: &Credential) -> Result<Revocation> {
    let now = core.now();
    Ok(Revocation {
        connection: of.id.clone(),
        workspace: of.workspace.clone(),
        app: of.app.clone(),
        app_revision: of.app_revision,
        way: of.way.clone(),
        variables: of.variables.clone(),
        destinations: of.destinations.clone(),
        client: of.client.clone(),
        account: of.account.as_ref().map(|account| account.id.clone()),
        sealed_tokens: credential.seal(&core.config.ring, core.ports.random(), &place(&of.workspace, &of.id))?,
        failures: 0,
        next_attempt_at: now.plus(60),
        expires_at: now.plus(RETRY_FOR),
    })
}

/// Tries a kept revocation again.
pub async fn retry<P: Ports>(core: &Core<P>, job: &Revocation) -> Result<()> {
    let revoked = match Credential::open(&core.config.ring, &place(&job.workspace, &job.connection), &job.sealed_tokens)
    {
        Ok(credential) => try_revoke(core, job, &credential).await.unwrap_or(Revoked::Failed),
        Err(_) => Revoked::Failed,
    };
    if revoked == Revoked::Failed {
        let wait = 60_i64 << u32::try_from(job.failures.clamp(0, 7)).unwrap_or(0);
        store::revocations::retry(core.db(), &job.connection, core.now().plus(wait)).await?;
        return Ok(());
    }
    store::revocations::delete(core.db(), &job.connection).await?;
    Ok(())
}

/// Revokes a grant that nobody chose, where that kills nothing else. Best effort: it is unused.
pub async fn discard<P: Ports>(
    core: &Core<P>,
    app: &App,
    (workspace, client): (&WorkspaceId, Option<&Client>),
    held: &Held<'_>,
) {
    if app.server().is_none() {
        return;
    }
    let id = client.map(|client| &client.id);
    if kills_grant(app) && is_shared(core, workspace, id, held.account).await.unwrap_or(true) {
        return;
    }
    if let Err(error) = revoke_held(core, app, client, held).await {
        core.log_cause(&error);
    }
}
