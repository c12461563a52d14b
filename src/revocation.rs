//! Revocation: an app is asked to end a grant that nobody may use any more.
//!
//! Owns what is sent for it, and how long it is tried. What an app does not confirm stays as a sealed job for a day. Where a
//! revocation kills the whole grant, it is done only if no other live connection lives on that grant.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;

use crate::app::{
    AuthMethod, EndpointSource, OAuthServer, ResolvedEndpoints, RevocationEffect, RevokeStyle, TemplateValues,
};
use crate::audit::{Actor, EventType};
use crate::client::Client;
use crate::client_auth;
use crate::connection::Connection;
use crate::context::Context;
use crate::credential::{Credential, StoredToken};
use crate::destinations::Destinations;
use crate::egress::EgressUrl;
use crate::error::Result;
use crate::frozen;
use crate::ids::{ClientId, ConnectionId, WorkspaceId};
use crate::ports::{OutboundRequest, Ports, Statement};
use crate::registry::{self, DISCOVERY_SUBREQUESTS};
use crate::secret::Secret;
use crate::store;
use crate::store::erasing::{self, RevocationData};
use crate::store::revocations::{self, RevocationJob};
use crate::token::{
    self, ClientIdentity, RefusalClass, RevocationResponse, TokenRequestContext, TokenResponse, TokenTypeHint,
};
use crate::vault::SealContext;

/// How long a revocation is tried again, in seconds: a day.
const RETRY_PERIOD: i64 = 24 * 3600;

/// What became of the grant at the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Revocation"))]
pub enum RevocationOutcome {
    /// The app confirmed.
    Confirmed,
    /// The app has no way to revoke.
    Unsupported,
    /// Another connection lives on the same grant.
    KeptShared,
    /// The app did not confirm, or not yet.
    Failed,
}

/// The word that events and answers have for it.
pub(crate) fn outcome_code(revoked: RevocationOutcome) -> &'static str {
    match revoked {
        RevocationOutcome::Confirmed => "confirmed",
        RevocationOutcome::Unsupported => "unsupported",
        RevocationOutcome::KeptShared => "kept_shared",
        RevocationOutcome::Failed => "failed",
    }
}

/// A grant that nobody may use any more, on its way to be revoked.
pub(crate) struct PendingRevocation {
    job: RevocationJob,
    /// None where it can't be opened: then nothing can be revoked, now or later.
    credential: Option<Credential>,
    /// Whether it was tried before, and stands in `revocations`.
    is_stored: bool,
}

impl PendingRevocation {
    /// Of a connection that was ended.
    pub(crate) fn of_connection<P: Ports>(context: &Context<P>, ended: &Connection) -> Self {
        // Sealed under the generation before the one that ended it.
        let seal_context = Credential::seal_context(&ended.workspace, &ended.id, ended.generation - 1);
        let sealed = ended.sealed_credential.as_deref();
        let credential =
            sealed.and_then(|sealed| Credential::open(&context.config.key_ring, &seal_context, sealed).ok());
        Self { job: revocation_job(context, ended), credential, is_stored: false }
    }

    /// Of a revocation that an app has not confirmed.
    pub(crate) fn of_stored_job<P: Ports>(context: &Context<P>, job: RevocationJob) -> Self {
        let seal_context = revocation_seal_context(&job.workspace, &job.connection);
        let credential = Credential::open(&context.config.key_ring, &seal_context, &job.sealed_tokens).ok();
        Self { job, credential, is_stored: true }
    }

    pub(crate) fn connection(&self) -> &ConnectionId {
        &self.job.connection
    }

    /// Whether one that failed is tried again.
    pub(crate) fn is_retried(&self) -> bool {
        self.credential.is_some()
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// One try. `at` is its number in the list that the surroundings were read for.
    pub(crate) async fn revoke<P: Ports>(
        &self,
        context: &Context<P>,
        known: &RevocationData,
        at: usize,
    ) -> RevocationOutcome {
        let Some(credential) = &self.credential else { return RevocationOutcome::Failed };
        let is_shared = known.shared.get(at).copied().unwrap_or(false);
        try_revoke(context, &self.job, credential, known, is_shared).await.unwrap_or_else(|error| {
            context.log_cause(&error);
            RevocationOutcome::Failed
        })
    }

    /// The line of the audit trail about it, where nobody waits for the answer.
    pub(crate) fn disconnect_event<P: Ports>(
        &self,
        context: &Context<P>,
        revoked: RevocationOutcome,
    ) -> Result<Statement> {
        context.event_statement(
            &self.job.workspace,
            &self.job.connection,
            EventType::Disconnected,
            &Actor::ScheduledRun,
            Some(outcome_code(revoked)),
        )
    }

    /// What is written of it: what failed is kept, sealed, and tried again for a day.
    pub(crate) fn outcome_statements<P: Ports>(
        &self,
        context: &Context<P>,
        revoked: RevocationOutcome,
    ) -> Result<Vec<Statement>> {
        let job = &self.job;
        Ok(match (revoked, self.is_stored, &self.credential) {
            (RevocationOutcome::Failed, true, _) => {
                let wait = 60_i64 << u32::try_from(job.failures.clamp(0, 7)).unwrap_or(0);
                vec![revocations::postpone(&job.connection, context.now().plus(wait))]
            }
            (_, true, _) => vec![revocations::delete(&job.connection)],
            (RevocationOutcome::Failed, false, Some(credential)) => {
                let seal_context = revocation_seal_context(&job.workspace, &job.connection);
                let sealed_tokens = credential.seal(&context.config.key_ring, context.ports.random(), &seal_context)?;
                vec![revocations::insert(&RevocationJob { sealed_tokens, ..job.clone() })]
            }
            _ => vec![],
        })
    }
}

/// Reads what the revocations need to know, in one round trip.
pub(crate) async fn load_surroundings<P: Ports>(
    context: &Context<P>,
    endings: &[PendingRevocation],
) -> Result<RevocationData> {
    let jobs: Vec<_> = endings.iter().map(|one| one.job.clone()).collect();
    Ok(erasing::load_revocation_data(context.db(), &jobs).await?)
}

/// One try to revoke a credential that nobody may use any more.
async fn try_revoke<P: Ports>(
    context: &Context<P>,
    of: &RevocationJob,
    credential: &Credential,
    known: &RevocationData,
    is_shared: bool,
) -> Result<RevocationOutcome> {
    let revision = (of.workspace.clone(), of.app.clone(), of.app_revision);
    let stored = known.definitions.get(&revision).map(String::as_str);
    let app = registry::parse_app_revision(context, &of.app, of.app_revision, stored)?;
    let auth_method = registry::auth_method(&app, &of.auth_method)?;
    let destinations = of.destinations.as_ref();
    let held =
        RevocableCredential { credential, account: of.account_id.as_deref(), variables: &of.variables, destinations };
    if !can_revoke(context, &auth_method, held.variables).await? {
        return Ok(RevocationOutcome::Unsupported);
    }
    if revokes_whole_grant(&auth_method) && is_shared {
        return Ok(RevocationOutcome::KeptShared);
    }
    let client = match &of.client {
        None => None,
        Some(id) => match known.clients.get(id) {
            Some(client) => Some(client),
            None => return Ok(RevocationOutcome::Failed),
        },
    };
    revoke_credential(context, &auth_method, client, &held).await
}

/// Requests that revoking at an app may take; `None` where the app has no way to revoke.
pub(crate) fn revocation_request_count(auth_method: &AuthMethod) -> Option<i64> {
    let server = auth_method.oauth_server()?;
    let each = match server.revoke.style {
        RevokeStyle::Rfc7009 => 2,
        RevokeStyle::Bearer => 3,
    };
    let tokens = i64::try_from(server.tokens.len()).unwrap_or(0) + 1;
    match &server.endpoints {
        EndpointSource::Issuer(_) => Some(each * tokens + DISCOVERY_SUBREQUESTS),
        EndpointSource::Fixed(fixed) => fixed.revoke_url.is_some().then_some(each * tokens),
    }
}

/// Whether the app has a way to revoke. One whose endpoints are yet to be discovered may have.
async fn can_revoke<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    variables: &BTreeMap<String, String>,
) -> Result<bool> {
    Ok(match (auth_method.oauth_server(), auth_method.issuer()) {
        (None, _) => false,
        (Some(_), Some(_)) => true,
        (Some(_), None) => registry::load_endpoints(context, auth_method, variables).await?.revoke_url.is_some(),
    })
}

/// Whether another connection lives on a grant. Tokens that are made of what a person entered have none in common.
async fn is_grant_shared<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    client: Option<&ClientId>,
    account: Option<&str>,
) -> Result<bool> {
    match client {
        None => Ok(false),
        Some(client) => Ok(store::connections::is_grant_in_use(context.db(), workspace, client, account).await?),
    }
}

/// Whether a revocation at this app kills the grant, and with it every token of it.
fn revokes_whole_grant(auth_method: &AuthMethod) -> bool {
    auth_method.revocation().effect == RevocationEffect::Grant
}

/// A credential to be revoked, and what is known beside it.
#[derive(Clone, Copy)]
pub struct RevocableCredential<'a> {
    /// The credential.
    pub credential: &'a Credential,
    /// The account's id.
    pub account: Option<&'a str>,
    /// The variables of the app's addresses.
    pub variables: &'a BTreeMap<String, String>,
    /// Where it may go, where that was kept beside it.
    pub destinations: Option<&'a Destinations>,
}

async fn revoke_credential<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    client: Option<&Client>,
    held: &RevocableCredential<'_>,
) -> Result<RevocationOutcome> {
    let endpoints = registry::load_endpoints(context, auth_method, held.variables).await?;
    let values = client_auth::template_values(auth_method, held.credential, held.variables);
    let values = held.account.iter().fold(values, |values, id| values.with("account_id", id));
    let stored = held.destinations.cloned();
    let destinations =
        Rc::new(stored.unwrap_or_else(|| Destinations::for_grant(auth_method, Some(&endpoints), held.variables)));
    let grant = RevocationContext {
        auth_method,
        server: auth_method.require_oauth_server()?,
        endpoints: &endpoints,
        client,
        revocable: held,
        values,
        destinations,
    };
    let mut revoked = RevocationOutcome::Unsupported;
    for (_, token) in held.credential.tokens() {
        revoked = revoke_token(context, &grant, token).await?;
        if revoked == RevocationOutcome::Failed {
            break;
        }
    }
    Ok(revoked)
}

/// A person's own client, where that is what they entered.
fn manual_client_keys(credential: &Credential, destinations: &Rc<Destinations>) -> ClientIdentity {
    let field = |name: &str| credential.fields.get(name).cloned();
    let entered = |id: Secret| ClientIdentity::from_manual(id.expose(), field("client_secret"), destinations);
    field("client_id").map_or_else(ClientIdentity::anonymous, entered)
}

/// A grant to be revoked, and what it takes to ask the app for it.
struct RevocationContext<'a> {
    auth_method: &'a AuthMethod,
    server: &'a OAuthServer,
    endpoints: &'a ResolvedEndpoints,
    client: Option<&'a Client>,
    revocable: &'a RevocableCredential<'a>,
    values: TemplateValues,
    destinations: Rc<Destinations>,
}

impl RevocationContext<'_> {
    /// What the client authenticates with at an endpoint, anew for each request: an assertion is good for one.
    async fn client_keys<P: Ports>(&self, context: &Context<P>, endpoint: &EgressUrl) -> Result<ClientIdentity> {
        match self.client {
            Some(client) => {
                client_auth::prepare_client_identity(context, client, self.auth_method, self.endpoints, endpoint).await
            }
            None => Ok(manual_client_keys(self.revocable.credential, &self.destinations)),
        }
    }

    /// Where a token is revoked.
    fn revocation_address(&self, token: &Secret) -> Result<Option<EgressUrl>> {
        let client_id = self.client.map(|client| client.client_id.as_str()).unwrap_or_default();
        let values = self.values.clone().with("token", token.expose()).with("client_id", client_id);
        let url = self.endpoints.revoke_url.as_ref().map(|url| url.fill(&values)).transpose();
        url.map_err(|problem| registry::unfilled_request_error(self.auth_method, &problem))
    }

    /// The client where it is only named, and proves nothing.
    fn client_id_only(&self) -> ClientIdentity {
        let entered = || manual_client_keys(self.revocable.credential, &self.destinations).client_id;
        let client_id = self.client.map_or_else(entered, |client| client.client_id.clone());
        ClientIdentity::without_proof(&client_id)
    }

    fn parties<'a>(&'a self, keys: &'a ClientIdentity) -> TokenRequestContext<'a> {
        let destinations = &self.destinations;
        TokenRequestContext {
            server: self.server,
            endpoints: self.endpoints,
            client: keys,
            values: &self.values,
            destinations,
        }
    }

    async fn revocation_request<P: Ports>(
        &self,
        context: &Context<P>,
        token: &Secret,
        hint: TokenTypeHint,
    ) -> Result<Option<OutboundRequest>> {
        let Some(endpoint) = self.revocation_address(token)? else { return Ok(None) };
        let keys = if self.server.revoke.authenticate && self.server.revoke.style == RevokeStyle::Rfc7009 {
            self.client_keys(context, &endpoint).await?
        } else {
            self.client_id_only()
        };
        let request = token::build_revocation_request(&self.parties(&keys), token, hint);
        request.map_err(|problem| registry::unfilled_request_error(self.auth_method, &problem))
    }

    async fn send_revocation<P: Ports>(&self, context: &Context<P>, request: OutboundRequest) -> RevocationResponse {
        token::read_revocation_response(self.auth_method, &context.send(request).await)
    }
}

/// Revokes a token by the way the app knows.
async fn revoke_token<P: Ports>(
    context: &Context<P>,
    grant: &RevocationContext<'_>,
    token: &StoredToken,
) -> Result<RevocationOutcome> {
    match grant.server.revoke.style {
        RevokeStyle::Rfc7009 => revoke_rfc7009(context, grant, token).await,
        RevokeStyle::Bearer => revoke_with_access_token(context, grant, token).await,
    }
}

/// RFC 7009: the refresh token, then the access token. Some servers know only one kind (2.2.1).
async fn revoke_rfc7009<P: Ports>(
    context: &Context<P>,
    grant: &RevocationContext<'_>,
    token: &StoredToken,
) -> Result<RevocationOutcome> {
    let refresh = match &token.refresh_token {
        None => None,
        Some(token) => grant.revocation_request(context, token, TokenTypeHint::RefreshToken).await?,
    };
    let access = if token.access_token.is_empty() {
        None
    } else {
        grant.revocation_request(context, &token.access_token, TokenTypeHint::AccessToken).await?
    };
    // Where the parameters name something else than the token in question, both are one request: the second would
    // find what the first has ended.
    let access = access.filter(|access| refresh.as_ref().is_none_or(|refresh| !is_same_request(refresh, access)));
    let mut revoked = RevocationOutcome::Unsupported;
    for request in [refresh, access].into_iter().flatten() {
        revoked = match grant.send_revocation(context, request).await {
            RevocationResponse::Revoked | RevocationResponse::TokenInvalid => RevocationOutcome::Confirmed,
            RevocationResponse::UnsupportedTokenType if revoked == RevocationOutcome::Confirmed => {
                RevocationOutcome::Confirmed
            }
            RevocationResponse::UnsupportedTokenType
            | RevocationResponse::Unauthorized
            | RevocationResponse::Inconclusive => return Ok(RevocationOutcome::Failed),
        };
    }
    Ok(revoked)
}

fn is_same_request(one: &OutboundRequest, other: &OutboundRequest) -> bool {
    (&one.url, &one.headers, &one.body) == (&other.url, &other.headers, &other.body)
}

/// The app ends the grant of the access token that asks for it. One that has expired can't ask: a fresh
/// one is fetched for this last purpose.
async fn revoke_with_access_token<P: Ports>(
    context: &Context<P>,
    grant: &RevocationContext<'_>,
    token: &StoredToken,
) -> Result<RevocationOutcome> {
    let request = |token| grant.revocation_request(context, token, TokenTypeHint::AccessToken);
    let Some(first) = request(&token.access_token).await? else { return Ok(RevocationOutcome::Unsupported) };
    let told = if token.access_token.is_empty() {
        RevocationResponse::Unauthorized
    } else {
        grant.send_revocation(context, first).await
    };
    let refresh_token = match (told, &token.refresh_token) {
        (RevocationResponse::Revoked, _) | (RevocationResponse::TokenInvalid, None) => {
            return Ok(RevocationOutcome::Confirmed);
        }
        (RevocationResponse::Unauthorized | RevocationResponse::TokenInvalid, Some(refresh_token)) => refresh_token,
        _ => return Ok(RevocationOutcome::Failed),
    };
    let redirect_uri =
        grant.client.map(|client| context.config.public_url.redirect_uri(&client.redirect_id)).unwrap_or_default();
    let keys = grant.client_keys(context, &grant.endpoints.refresh_url).await?;
    let renewal = token::build_refresh_request(&grant.parties(&keys), refresh_token, &[], &redirect_uri)
        .map_err(|problem| registry::unfilled_request_error(grant.auth_method, &problem))?;
    let asked_at = context.now();
    match token::read_token_response(grant.auth_method, &context.send(renewal).await, asked_at) {
        TokenResponse::Tokens(tokens) => {
            let Some(second) = request(&tokens.access_token).await? else { return Ok(RevocationOutcome::Failed) };
            Ok(match grant.send_revocation(context, second).await {
                RevocationResponse::Revoked | RevocationResponse::TokenInvalid => RevocationOutcome::Confirmed,
                RevocationResponse::UnsupportedTokenType
                | RevocationResponse::Unauthorized
                | RevocationResponse::Inconclusive => RevocationOutcome::Failed,
            })
        }
        // The grant is gone already.
        TokenResponse::Refused(refusal) if refusal.class == RefusalClass::Permanent => Ok(RevocationOutcome::Confirmed),
        TokenResponse::Refused(_) | TokenResponse::Ambiguous(_) => Ok(RevocationOutcome::Failed),
    }
}

fn revocation_seal_context<'a>(workspace: &'a WorkspaceId, id: &'a ConnectionId) -> SealContext<'a> {
    SealContext::of(frozen::REVOKED_TOKENS, workspace.as_str(), id.as_str(), 0)
}

fn revocation_job<P: Ports>(context: &Context<P>, of: &Connection) -> RevocationJob {
    let now = context.now();
    RevocationJob {
        connection: of.id.clone(),
        workspace: of.workspace.clone(),
        app: of.app.clone(),
        app_revision: of.app_revision,
        auth_method: of.auth_method.clone(),
        variables: of.variables.clone(),
        destinations: of.destinations.clone(),
        client: of.client.clone(),
        account_id: of.account.as_ref().map(|account| account.id.clone()),
        // Sealed when it has to be kept.
        sealed_tokens: String::new(),
        failures: 0,
        next_attempt_at: now.plus(60),
        expires_at: now.plus(RETRY_PERIOD),
    }
}

/// Revokes a grant that nobody chose, where that kills nothing else. Best effort: it is unused.
pub async fn revoke_unused<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    workspace: &WorkspaceId,
    client: Option<&Client>,
    held: &RevocableCredential<'_>,
) {
    if auth_method.oauth_server().is_none() {
        return;
    }
    let id = client.map(|client| &client.id);
    if revokes_whole_grant(auth_method) && is_grant_shared(context, workspace, id, held.account).await.unwrap_or(true) {
        return;
    }
    if let Err(error) = revoke_credential(context, auth_method, client, held).await {
        context.log_cause(&error);
    }
}
