//! Disconnect: revoke at the app, then erase, in an order that never leaves a usable credential behind.
//!
//! Owns that order: end it for everybody, take the copy away, revoke, erase. What an app does not
//! confirm stays as a sealed job for a day; what the cache does not confirm stays noted ([`crate::resolve::removal`]). Neither
//! keeps the rest from being done, so that a disconnect happens once. Where a revocation kills the whole grant, it is done only
//! if no other live connection lives on that grant.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;

use crate::app::{App, Endpoints, Kills, OAuth2, Resolved, RevokeStyle, Values};
use crate::client::Client;
use crate::connect::start;
use crate::connection::Connection;
use crate::core::Core;
use crate::credential::{Credential, Token};
use crate::destinations::Destinations;
use crate::egress::Address;
use crate::error::{Error, Result};
use crate::frozen;
use crate::ids::{ClientId, ConnectionId, WorkspaceId};
use crate::ports::{Database, Outbound, Ports, Statement};
use crate::registry::{self, DISCOVERY_COST};
use crate::resolve::removal::{CachedCopies, Removal};
use crate::secret::Secret;
use crate::server;
use crate::store::erasing::{self, Surroundings};
use crate::store::revocations::{self, Revocation};
use crate::store::{self, refreshes};
use crate::token::{self, Answer, Class, ClientKeys, Parties, TokenHint, Told};
use crate::vault::Place;

/// How long a revocation is tried again, in seconds: a day.
const RETRY_FOR: i64 = 24 * 3600;

/// What became of the grant at the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Revocation"))]
pub enum Revoked {
    /// The app confirmed.
    Confirmed,
    /// The app has no way to revoke.
    Unsupported,
    /// Another connection lives on the same grant.
    KeptShared,
    /// The app did not confirm, or not yet.
    Failed,
}

/// What a disconnect tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Disconnected {
    /// What became of the grant.
    pub revoked: Revoked,
    /// Whether it is tried again, for a day.
    pub retrying: bool,
}

/// Disconnects. From the first write on the connection does not exist, whatever app and cache say.
pub async fn disconnect<P: Ports>(
    core: &Core<P>,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    actor: &str,
) -> Result<(Disconnected, CachedCopies)> {
    let removal = Removal::of_connection(core, id)?;
    let note = removal.note_if_changed();
    let ended = refreshes::mark_deleted(core.db(), workspace, id, core.now(), note)
        .await?
        .ok_or_else(Error::connection_not_found)?;
    let copies = removal.attempt(core).await;
    let grant = Ending::of(core, &ended);
    let known = surroundings(core, std::slice::from_ref(&grant)).await?;
    let revoked = grant.revoke(core, &known, 0).await;
    let mut statements = grant.statements(core, revoked)?;
    statements.extend(refreshes::erase(&ended.workspace, &ended.id));
    statements.extend(removal.done(copies));
    statements.push(core.event(
        &ended.workspace,
        &ended.id,
        frozen::event::DISCONNECTED,
        actor,
        Some(word(revoked)),
    )?);
    core.db().batch(statements).await?;
    Ok((Disconnected { revoked, retrying: revoked == Revoked::Failed && grant.credential.is_some() }, copies))
}

/// The word that events and answers have for it.
pub(crate) fn word(revoked: Revoked) -> &'static str {
    match revoked {
        Revoked::Confirmed => "confirmed",
        Revoked::Unsupported => "unsupported",
        Revoked::KeptShared => "kept_shared",
        Revoked::Failed => "failed",
    }
}

/// A grant that nobody may use any more, on its way to be revoked.
pub(crate) struct Ending {
    job: Revocation,
    /// None where it can't be opened: then nothing can be revoked, now or later.
    credential: Option<Credential>,
    /// Whether it was tried before, and stands in `revocations`.
    is_kept: bool,
}

impl Ending {
    /// Of a connection that was ended.
    pub(crate) fn of<P: Ports>(core: &Core<P>, ended: &Connection) -> Self {
        // Sealed under the generation before the one that ended it.
        let place = Credential::place(&ended.workspace, &ended.id, ended.generation - 1);
        let sealed = ended.sealed_credential.as_deref();
        let credential = sealed.and_then(|sealed| Credential::open(&core.config.ring, &place, sealed).ok());
        Self { job: job(core, ended), credential, is_kept: false }
    }

    /// Of a revocation that an app has not confirmed.
    pub(crate) fn of_kept<P: Ports>(core: &Core<P>, job: Revocation) -> Self {
        let place = place(&job.workspace, &job.connection);
        let credential = Credential::open(&core.config.ring, &place, &job.sealed_tokens).ok();
        Self { job, credential, is_kept: true }
    }

    pub(crate) fn connection(&self) -> &ConnectionId {
        &self.job.connection
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// One try. `at` is its number in the list that the surroundings were read for.
    pub(crate) async fn revoke<P: Ports>(&self, core: &Core<P>, known: &Surroundings, at: usize) -> Revoked {
        let Some(credential) = &self.credential else { return Revoked::Failed };
        let is_shared = known.shared.get(at).copied().unwrap_or(false);
        try_revoke(core, &self.job, credential, known, is_shared).await.unwrap_or_else(|error| {
            core.log_cause(&error);
            Revoked::Failed
        })
    }

    /// The line of the audit trail about it, where nobody waits for the answer.
    pub(crate) fn event<P: Ports>(&self, core: &Core<P>, revoked: Revoked) -> Result<Statement> {
        core.event(&self.job.workspace, &self.job.connection, frozen::event::DISCONNECTED, "clock", Some(word(revoked)))
    }

    /// What is written of it: what failed is kept, sealed, and tried again for a day.
    pub(crate) fn statements<P: Ports>(&self, core: &Core<P>, revoked: Revoked) -> Result<Vec<Statement>> {
        let job = &self.job;
        Ok(match (revoked, self.is_kept, &self.credential) {
            (Revoked::Failed, true, _) => {
                let wait = 60_i64 << u32::try_from(job.failures.clamp(0, 7)).unwrap_or(0);
                vec![revocations::retry(&job.connection, core.now().plus(wait))]
            }
            (_, true, _) => vec![revocations::delete(&job.connection)],
            (Revoked::Failed, false, Some(credential)) => {
                let place = place(&job.workspace, &job.connection);
                let sealed_tokens = credential.seal(&core.config.ring, core.ports.random(), &place)?;
                vec![revocations::insert(&Revocation { sealed_tokens, ..job.clone() })]
            }
            _ => vec![],
        })
    }
}

/// Reads what the revocations need to know, in one round trip.
pub(crate) async fn surroundings<P: Ports>(core: &Core<P>, endings: &[Ending]) -> Result<Surroundings> {
    let jobs: Vec<_> = endings.iter().map(|one| one.job.clone()).collect();
    Ok(erasing::surroundings(core.db(), &jobs).await?)
}

/// One try to revoke a credential that nobody may use any more.
async fn try_revoke<P: Ports>(
    core: &Core<P>,
    of: &Revocation,
    credential: &Credential,
    known: &Surroundings,
    is_shared: bool,
) -> Result<Revoked> {
    let revision = (of.workspace.clone(), of.app.clone(), of.app_revision);
    let stored = known.definitions.get(&revision).map(String::as_str);
    let definition = registry::definition(core, &of.app, of.app_revision, stored)?;
    let app = registry::way(&definition, &of.way)?;
    let destinations = of.destinations.as_ref();
    let held = Held { credential, account: of.account.as_deref(), variables: &of.variables, destinations };
    if !can_revoke(core, &app, held.variables).await? {
        return Ok(Revoked::Unsupported);
    }
    if kills_grant(&app) && is_shared {
        return Ok(Revoked::KeptShared);
    }
    let client = match &of.client {
        None => None,
        Some(id) => match known.clients.get(id) {
            Some(client) => Some(client),
            None => return Ok(Revoked::Failed),
        },
    };
    revoke_held(core, &app, client, &held).await
}

/// Requests that revoking at an app may take; `None` where the app has no way to revoke.
pub(crate) fn requests_to_revoke(app: &App) -> Option<i64> {
    let server = app.server()?;
    let each = match server.revoke.style {
        RevokeStyle::Rfc7009 => 2,
        RevokeStyle::Bearer => 3,
    };
    let tokens = i64::try_from(server.tokens.len()).unwrap_or(0) + 1;
    match &server.endpoints {
        Endpoints::Issuer(_) => Some(each * tokens + DISCOVERY_COST),
        Endpoints::Fixed(fixed) => fixed.revoke_url.is_some().then_some(each * tokens),
    }
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
    let access = if token.access_token.is_empty() {
        None
    } else {
        grant.revocation_of(core, &token.access_token, TokenHint::AccessToken).await?
    };
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
    let told = if token.access_token.is_empty() { Told::Refused } else { grant.ask(core, first).await };
    let refresh_token = match (told, &token.refresh_token) {
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
    Place::of(frozen::REVOKED_TOKENS, workspace.as_str(), id.as_str(), 0)
}

fn job<P: Ports>(core: &Core<P>, of: &Connection) -> Revocation {
    let now = core.now();
    Revocation {
        connection: of.id.clone(),
        workspace: of.workspace.clone(),
        app: of.app.clone(),
        app_revision: of.app_revision,
        way: of.way.clone(),
        variables: of.variables.clone(),
        destinations: of.destinations.clone(),
        client: of.client.clone(),
        account: of.account.as_ref().map(|account| account.id.clone()),
        // Sealed when it has to be kept.
        sealed_tokens: String::new(),
        failures: 0,
        next_attempt_at: now.plus(60),
        expires_at: now.plus(RETRY_FOR),
    }
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
