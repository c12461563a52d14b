//! Resolve: returns a credential, or a refusal that says what to do.
//!
//! Owns the hot path: one round trip to the database before the answer, no write, no cache, no Durable Object. Deferred
//! work (recording the use, writing the cache entry, an early refresh) is returned as data. Does not refresh itself:
//! the refresher does.

mod by_app;
mod cache_entries;
pub mod deferred;
mod freshness;
mod from_cache;
mod issued;
pub mod preview;
pub mod report;
mod request;

use std::rc::Rc;

use serde::Serialize;

use crate::account::Account;
use crate::app::{App, AuthMethod, CredentialKind};
use crate::audit::AuditReads;
use crate::authorize;
use crate::caller::{ApiKey, KeyScope, PresentedKey};
use crate::client::ClientProblem;
use crate::connection::{
    ChosenBy, Connection, ConnectionStatus, FAILURE_THRESHOLD, MIN_USABLE_TTL, ReconnectReason, RefreshRefusal,
};
use crate::context::Context;
use crate::credential::{Credential, StoredToken};
use crate::environment::Environment;
use crate::error::{ActualConnection, Error, ErrorCode, Result};
use crate::ids::{ConnectionId, WorkspaceId};
use crate::isolate_cache::KnownDefinition;
use crate::metrics::{self, Started};
use crate::ports::{DatabaseError, MetricEvent, Metrics as _, Ports, RefreshOutcome, RefreshReason, RefreshRunner};
use crate::registry;
use crate::store::StoreResult;
use crate::store::connections::{self, ListedConnection, ResolveData};
use crate::store::{clients, uses};
use crate::time::Timestamp;
use crate::token::DESTINATION_CHANGED;

pub use by_app::{MAX_ITEMS, ResolveItem, ResolveTarget, resolve_items};
pub use deferred::DeferredTask;
pub use issued::{CredentialPayload, IssuedCredential, IssuedToken};
pub use request::{Consistency, Expectations, ResolveRequest};

use freshness::FreshnessDecision;

/// The reason of a connection whose client the app refuses, if another client has replaced it.
const CLIENT_REPLACED: &str = "client_replaced";

/// How soon a token expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Freshness {
    /// Not soon.
    Fresh,
    /// Valid, but expires soon, or the refresh failed.
    Stale,
    /// This call waited for a refresh.
    Refreshed,
}

impl Freshness {
    /// Its text in JSON.
    fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Refreshed => "refreshed",
        }
    }
}

/// Where the credential was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Source {
    /// The database.
    Database,
    /// The cache.
    Cache,
}

/// A credential for a caller.
pub struct ResolvedCredential {
    /// The id of the connection that answers.
    pub id: ConnectionId,
    /// The id that was asked for, where another connection answers for it.
    pub requested_id: Option<ConnectionId>,
    /// Its app's id.
    pub app: String,
    /// Its name.
    pub name: String,
    /// Its account.
    pub account: Option<Account>,
    /// The credential and how requests send it.
    pub issued: CredentialPayload,
    /// How soon the token expires.
    pub freshness: Freshness,
    /// Where it was read.
    pub source: Source,
    /// How the connection was found.
    pub chosen_by: ChosenBy,
    /// Names this version of the credential in a report.
    pub credential_version: String,
}

impl std::fmt::Debug for ResolvedCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resolved({}, {:?}, {:?})", self.id, self.freshness, self.source)
    }
}

/// An answer and its deferred work.
#[derive(Debug)]
pub struct ResolveResult {
    /// The credential.
    pub resolved: ResolvedCredential,
    /// The work after the answer was sent.
    pub deferred: Vec<DeferredTask>,
}

/// Returns a credential. The request's body is validated after key and connection, so that an unauthorised caller
/// learns nothing from it.
pub async fn resolve<P: Ports>(
    context: &Context<P>,
    presented: &PresentedKey,
    id: &ConnectionId,
    mut request: Result<ResolveRequest>,
) -> Result<ResolveResult> {
    let started = metrics::start(context);
    // An answer needs its line in the database, so nothing is gained by what the cache knows.
    if context.config.audit_reads == AuditReads::Durable
        && let Ok(request) = &mut request
    {
        request.consistency = Consistency::Strong;
    }
    let consistency = request.as_ref().map_or(Consistency::Strong, |request| request.consistency);
    if consistency == Consistency::Edge
        && let Ok(request) = &request
        && let Some(answered) = from_cache::resolve_from_cache(context, presented, id, request, started).await?
    {
        return Ok(answered);
    }
    let step = request.as_ref().map_or(("", ""), ResolveRequest::workflow_and_step);
    let known = context.ports.isolate_cache().definitions().of_connection(id);
    let revision = known.as_ref().map(|known| (&known.connection, known.revision));
    match connections::load_for_resolve(context.db(), &presented.id, id, step, revision).await {
        Ok(read) => resolve_from_database(context, presented, read, known, request, started).await,
        Err(error @ (DatabaseError::Unavailable(_) | DatabaseError::NotMigrated(_)))
            if consistency != Consistency::Strong =>
        {
            let found = match &request {
                Ok(request) => from_cache::resolve_from_cache(context, presented, id, request, started).await?,
                Err(_) => None,
            };
            found.ok_or_else(|| error.into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn resolve_from_database<P: Ports>(
    context: &Context<P>,
    presented: &PresentedKey,
    read: ResolveData,
    known: Option<KnownDefinition>,
    request: Result<ResolveRequest>,
    started: Started,
) -> Result<ResolveResult> {
    let permitted = permit(context, (presented, KeyScope::Resolve), read, known, request, Some(MetricEvent::Resolve))?;
    let counted = CountedResolve::of(context, &permitted, started);
    let answered = match load_usable_credential(context, permitted.connection.clone(), &permitted.request).await {
        Ok(usable) => finish(context, permitted, usable).await,
        Err(error) => Err(error),
    };
    counted.end(context, &answered);
    answered
}

/// A resolve that becomes a data point. `None` without the binding: nothing is copied for it.
struct CountedResolve(Option<(WorkspaceId, String, Started)>);

impl CountedResolve {
    fn of<P: Ports>(context: &Context<P>, permitted: &PermittedResolve, started: Started) -> Self {
        let connection = &permitted.connection;
        let of = || (connection.workspace.clone(), connection.app.as_str().to_owned(), started);
        Self(context.ports.metrics().is_bound().then(of))
    }

    fn end<P: Ports>(self, context: &Context<P>, answered: &Result<ResolveResult>) {
        let Some((workspace, app, started)) = self.0 else { return };
        let ended = answered.as_ref().map(|result| result.resolved.freshness.as_str());
        metrics::count_resolve(context, (&workspace, &app), ended, started);
    }
}

/// A credential that stays here: what it is sent with, and what says where it may go.
pub(crate) struct UsedCredential {
    /// As a caller of a resolve would get it.
    pub(crate) resolved: ResolvedCredential,
    /// The connection that answers.
    pub(crate) connection: Connection,
    /// How it is connected.
    pub(crate) auth_method: Rc<AuthMethod>,
    /// All that is stored.
    pub(crate) credential: Credential,
}

/// The same step as a resolve, for a key with another scope that does not get the credential. It is read in the database.
/// A refusal is counted as this event.
pub(crate) async fn resolve_for_use<P: Ports>(
    context: &Context<P>,
    presented: (&PresentedKey, KeyScope),
    id: &ConnectionId,
    request: Result<ResolveRequest>,
    counted: Option<MetricEvent>,
) -> Result<(UsedCredential, Vec<DeferredTask>)> {
    let step = request.as_ref().map_or(("", ""), ResolveRequest::workflow_and_step);
    let known = context.ports.isolate_cache().definitions().of_connection(id);
    let revision = known.as_ref().map(|known| (&known.connection, known.revision));
    let read = connections::load_for_resolve(context.db(), &presented.0.id, id, step, revision).await?;
    let permitted = permit(context, presented, read, known, request, counted)?;
    let counted = counted.filter(|_| context.ports.metrics().is_bound());
    let counted =
        counted.map(|event| (event, permitted.connection.workspace.clone(), permitted.connection.app.clone()));
    let answered = match load_usable_credential(context, permitted.connection.clone(), &permitted.request).await {
        Ok(usable) => finish_with_parts(context, permitted, usable).await,
        Err(error) => Err(error),
    };
    answered.inspect_err(|error| {
        if let Some((event, workspace, app)) = &counted {
            metrics::count_refusal(context, *event, (workspace, app.as_str()), error);
        }
    })
}

/// A resolve that key, policy and expectations allow.
struct PermittedResolve {
    key: ApiKey,
    /// The connection as it was read.
    connection: Connection,
    auth_method: Rc<AuthMethod>,
    request: ResolveRequest,
    used_at: Option<Timestamp>,
    chosen_by: ChosenBy,
    /// The connection that was asked for, where this one answers for it.
    requested: Option<ConnectionId>,
}

fn permit<P: Ports>(
    context: &Context<P>,
    (presented, scope): (&PresentedKey, KeyScope),
    read: ResolveData,
    known: Option<KnownDefinition>,
    request: Result<ResolveRequest>,
    counted: Option<MetricEvent>,
) -> Result<PermittedResolve> {
    let now = context.now();
    let key = read.key.filter(|key| presented.matches(key, now)).ok_or_else(authorize::unauthorized)?;
    let connection = authorize::resolve(&key, scope, read.connection, read.requested.as_ref())?;
    let request = request?;
    let named = read.requested.as_ref().map_or(&connection.id, |one| &one.id);
    let app = app_of_connection(context, named, &connection, read.definition.as_deref(), known)?;
    let auth_method = registry::auth_method(&app, &connection.auth_method)?;
    check_policy(context, &ResolvePolicy::of(&connection), &request).inspect_err(|error| {
        if let Some(event) = counted {
            metrics::count_refusal(context, event, (&connection.workspace, connection.app.as_str()), error);
        }
    })?;
    let (used_at, chosen_by) = (read.used_at, read.chosen_by);
    let requested = read.requested.map(|one| one.id);
    Ok(PermittedResolve { key, connection, auth_method, request, used_at, chosen_by, requested })
}

/// The app of a connection, from what was read beside it. Its revision is remembered for the connection that the caller
/// has named, so that the next resolve does not read the text.
fn app_of_connection<P: Ports>(
    context: &Context<P>,
    named: &ConnectionId,
    connection: &Connection,
    definition: Option<&str>,
    known: Option<KnownDefinition>,
) -> Result<Rc<App>> {
    let revision = connection.app_revision;
    if definition == Some("")
        && let Some(known) = known.filter(|known| known.revision == revision && known.connection == connection.id)
    {
        return Ok(known.app);
    }
    let app = registry::parse_app_revision(context, &connection.app, revision, definition)?;
    if revision > 0 {
        let seen = KnownDefinition { connection: connection.id.clone(), revision, app: Rc::clone(&app) };
        context.ports.isolate_cache().definitions().remember_connection(named, &seen);
    }
    Ok(app)
}

async fn finish<P: Ports>(
    context: &Context<P>,
    permitted: PermittedResolve,
    usable: UsableCredential,
) -> Result<ResolveResult> {
    let (UsedCredential { resolved, .. }, deferred) = finish_with_parts(context, permitted, usable).await?;
    Ok(ResolveResult { resolved, deferred })
}

async fn finish_with_parts<P: Ports>(
    context: &Context<P>,
    permitted: PermittedResolve,
    mut usable: UsableCredential,
) -> Result<(UsedCredential, Vec<DeferredTask>)> {
    let PermittedResolve { key, connection: before, mut auth_method, request, used_at, chosen_by, requested } =
        permitted;
    let now = context.now();
    if (usable.connection.app_revision, &usable.connection.auth_method) != (before.app_revision, &before.auth_method) {
        auth_method = registry::load_auth_method(context, &usable.connection).await?;
    }
    let mut after = std::mem::take(&mut usable.deferred);
    if used_at.is_none_or(|at| now.since(at) > uses::WRITE_INTERVAL) && usable.should_record_use(&request, now) {
        after.push(DeferredTask::record_use(&usable.connection, requested.as_ref(), &request, chosen_by));
    }
    let UsableCredential { connection, credential, freshness, .. } = usable;
    let issued = CredentialPayload::of_connection(&auth_method, &connection, &credential)
        .map_err(|problem| registry::unfilled_request_error(&auth_method, &problem))?;
    // A token that is being refreshed is not cached.
    if request.consistency != Consistency::Strong && freshness != Freshness::Stale {
        after.push(DeferredTask::write_cache_entry(&connection, &issued, &key));
    }
    let mut resolved = build_resolved(&connection, issued, freshness, chosen_by);
    if requested.is_some() {
        resolved.credential_version = version_for_requested(&connection);
    }
    resolved.requested_id = requested;
    Ok((UsedCredential { resolved, connection, auth_method, credential }, after))
}

struct UsableCredential {
    connection: Connection,
    credential: Credential,
    freshness: Freshness,
    deferred: Vec<DeferredTask>,
}

impl UsableCredential {
    /// A call without a workflow is recorded on the connection only, at the same interval.
    fn should_record_use(&self, request: &ResolveRequest, now: Timestamp) -> bool {
        request.workflow.is_some() || self.connection.last_used_at.is_none_or(|at| now.since(at) > uses::WRITE_INTERVAL)
    }
}

/// A usable credential from the database. Waits for a refresh if the caller needs one.
async fn load_usable_credential<P: Ports>(
    context: &Context<P>,
    connection: Connection,
    request: &ResolveRequest,
) -> Result<UsableCredential> {
    let now = context.now();
    match freshness::decide(&connection, request, now) {
        FreshnessDecision::Fresh => open_credential(context, connection, Freshness::Fresh, vec![]),
        FreshnessDecision::NearExpiry { refresh } => {
            let after = if refresh { vec![DeferredTask::Refresh(connection.id.clone())] } else { vec![] };
            open_credential(context, connection, Freshness::Stale, after)
        }
        FreshnessDecision::Expired => {
            Err(needs_reconnect_error(context, &connection.id, ReconnectReason::RefreshTokenMissing))
        }
        FreshnessDecision::Refresh(reason) => refresh_and_load(context, connection, request, reason).await,
    }
}

async fn refresh_and_load<P: Ports>(
    context: &Context<P>,
    before: Connection,
    request: &ResolveRequest,
    reason: RefreshReason,
) -> Result<UsableCredential> {
    let outcome = context.ports.refresher().run(&before.id, reason).await;
    let reloaded = connections::get(context.db(), &before.workspace, &before.id).await;
    load_refreshed(context, before, reloaded, &outcome, request).await
}

/// What the database has after a refresh that this call waited for.
async fn load_refreshed<P: Ports>(
    context: &Context<P>,
    before: Connection,
    reloaded: StoreResult<Option<Connection>>,
    outcome: &RefreshOutcome,
    request: &ResolveRequest,
) -> Result<UsableCredential> {
    let connection = match reloaded {
        Ok(Some(connection)) => connection,
        Ok(None) => return Err(Error::connection_not_found()),
        // The earlier token is not the refreshed one: at some apps it is already invalid.
        Err(error) if matches!(outcome, RefreshOutcome::Refreshed | RefreshOutcome::StillValid) => {
            return Err(error.into());
        }
        Err(_) => before,
    };
    // Whatever happened while this call waited: the policy of the current row applies.
    check_policy(context, &ResolvePolicy::of(&connection), request)?;
    let now = context.now();
    if freshness::is_refreshed(&connection, outcome, now) {
        return open_credential(context, connection, Freshness::Refreshed, vec![]);
    }
    if freshness::is_still_usable(&connection, now) {
        return open_credential(context, connection, Freshness::Stale, vec![]);
    }
    let refusal = refresh_outcome_error(context, &connection, outcome).await;
    let Ok(usable) = open_credential(context, connection, Freshness::Stale, vec![]) else { return Err(refusal) };
    drop_expired_tokens(usable, outcome, now).ok_or(refusal)
}

/// Of several tokens a further one may have expired while the first, which requests send, is valid: the first is
/// returned without the expired ones.
fn drop_expired_tokens(
    mut usable: UsableCredential,
    outcome: &RefreshOutcome,
    now: Timestamp,
) -> Option<UsableCredential> {
    let lives = |token: &StoredToken| token.expires_at.is_none_or(|end| end.since(now) >= MIN_USABLE_TTL);
    let first_lives = usable.credential.token.as_ref().is_some_and(lives);
    if usable.credential.other_tokens.is_empty() || !first_lives {
        return None;
    }
    usable.credential.other_tokens.retain(|_, token| lives(token));
    if *outcome == RefreshOutcome::Refreshed {
        usable.freshness = Freshness::Refreshed;
    }
    Some(usable)
}

/// The refusal that a resolve would answer now, as far as it is known without the app. A token that a refresh would renew
/// counts as usable, unless the last refresh shows that it would not.
pub fn foresee_refusal<P: Ports>(
    context: &Context<P>,
    listed: &ListedConnection,
    request: &ResolveRequest,
) -> Option<Error> {
    let connection = &listed.connection;
    if let Err(error) = check_policy(context, &ResolvePolicy::of(connection), request) {
        return Some(error);
    }
    if let (ConnectionStatus::NeedsReconnect, reason) = connection.shown_status(&context.config.key_ring) {
        return Some(needs_reconnect_error(context, &connection.id, reason.unwrap_or(ReconnectReason::Unreadable)));
    }
    let now = context.now();
    match freshness::decide(connection, request, now) {
        FreshnessDecision::Fresh | FreshnessDecision::NearExpiry { .. } => None,
        FreshnessDecision::Expired => {
            Some(needs_reconnect_error(context, &connection.id, ReconnectReason::RefreshTokenMissing))
        }
        FreshnessDecision::Refresh(_) if freshness::is_still_usable(connection, now) => None,
        FreshnessDecision::Refresh(_) => foresee_failed_refresh(context, listed, now),
    }
}

fn foresee_failed_refresh<P: Ports>(context: &Context<P>, listed: &ListedConnection, now: Timestamp) -> Option<Error> {
    let connection = &listed.connection;
    let retry_after = connection.next_attempt_at.since(now).max(1);
    if listed.client_misconfigured || listed.client_problem().is_some() {
        let detail = "No valid token is left, and the app refuses this workspace's OAuth client. Check the client's id and secret (PUT /v1/apps/{app}/client).";
        return Some(Error::new(ErrorCode::ClientMisconfigured, detail));
    }
    match &connection.refusal {
        Some(refused) => Some(refresh_refusal_error(context, connection, refused, retry_after)),
        None if connection.failures > 0 => Some(no_response_error(context, connection, retry_after)),
        None => None,
    }
}

fn open_credential<P: Ports>(
    context: &Context<P>,
    connection: Connection,
    freshness: Freshness,
    after: Vec<DeferredTask>,
) -> Result<UsableCredential> {
    let unreadable = || needs_reconnect_error(context, &connection.id, ReconnectReason::Unreadable);
    let credential = connection.credential(&context.config.key_ring).ok_or_else(unreadable)?;
    Ok(UsableCredential { connection, credential, freshness, deferred: after })
}

/// The meaning of a failed refresh if no usable token is left.
async fn refresh_outcome_error<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    outcome: &RefreshOutcome,
) -> Error {
    let later = |code, detail: &str, seconds| Error::new(code, detail).with_hints(|h| h.retry_after = Some(seconds));
    match outcome {
        RefreshOutcome::NeedsReconnect => needs_reconnect_error(context, &connection.id, connection.reason.unwrap_or(ReconnectReason::Revoked)),
        RefreshOutcome::Unreadable => needs_reconnect_error(context, &connection.id, ReconnectReason::Unreadable),
        RefreshOutcome::NotFound => {
            later(ErrorCode::RefreshInProgress, "The connection changed while it was refreshed. Try again shortly.", 1)
        }
        RefreshOutcome::ClientMisconfigured => client_error(context, connection).await,
        RefreshOutcome::InProgress { retry_after } => later(
            ErrorCode::RefreshInProgress,
            "A refresh of this connection is under way and no valid token is left. Try again shortly.",
            *retry_after,
        ),
        RefreshOutcome::DatabaseUnavailable => DatabaseError::Unavailable("during a refresh".into()).into(),
        RefreshOutcome::Unavailable { retry_after } => match &connection.refusal {
            Some(refused) => refresh_refusal_error(context, connection, refused, *retry_after),
            None => no_response_error(context, connection, *retry_after),
        },
        RefreshOutcome::ConfigurationRefused if connection.last_error.as_deref() == Some(DESTINATION_CHANGED) => Error::new(
            ErrorCode::NeedsReconnect,
            "The app's addresses have changed since this connection was made. Its credential is sent only to the addresses that it was given for. A person must reconnect it at reconnect_url and look at the hosts named there.",
        )
        .with_hints(|h| {
            h.reason = Some(DESTINATION_CHANGED.to_owned());
            h.reconnect_url = Some(reconnect_url(context, &connection.id, &[]));
        }),
        RefreshOutcome::ConfigurationRefused => {
            let text = "The app refuses to refresh this connection because of its scopes or the client's grant types. Check the client at the app, or reconnect at reconnect_url.";
            with_refusal_hints(context, connection, later(ErrorCode::AppUnavailable, text, 60))
        }
        RefreshOutcome::Refreshed | RefreshOutcome::StillValid | RefreshOutcome::Healthy | RefreshOutcome::Unknown => {
            later(ErrorCode::AppUnavailable, "The app returned a token that has expired already. Try again shortly.", 5)
        }
    }
}

/// The app refuses the client. The connection may be the only one that still uses it: it keeps the client it was
/// created with.
async fn client_error<P: Ports>(context: &Context<P>, connection: &Connection) -> Error {
    let client = match &connection.client {
        None => None,
        // This only improves the answer: without a database the default one is returned.
        Some(id) => clients::get(context.db(), &connection.workspace, id).await.ok().flatten(),
    };
    let code = client.as_ref().and_then(|client| client.misconfigured.as_ref()).map(|(_, code)| code.clone());
    let of_client = || code.as_deref().and_then(ClientProblem::parse);
    let problem = connection.client_problem().or_else(of_client);
    let at = || Some(reconnect_url(context, &connection.id, &[]));
    if client.is_some_and(|client| !client.current) {
        return Error::new(
            ErrorCode::NeedsReconnect,
            "The app refuses the OAuth client that this connection was made with, and another client has taken its place. A person must reconnect it at reconnect_url; workflows need no change.",
        )
        .with_hints(|h| (h.reason, h.reconnect_url, h.app_error) = (Some(CLIENT_REPLACED.to_owned()), at(), code));
    }
    if let Some(problem) = problem {
        // No request was sent to the app.
        let detail = format!("The token cannot be refreshed. {}", problem.explanation());
        return Error::new(ErrorCode::ClientMisconfigured, detail)
            .with_hints(|h| h.reconnect_url = at().filter(|_| problem == ClientProblem::AddressesChanged));
    }
    Error::new(
        ErrorCode::ClientMisconfigured,
        "The app refuses this workspace's OAuth client, so the token cannot be refreshed. Check the client's id and secret (PUT /v1/apps/{app}/client); the connection itself needs no repair.",
    )
    .with_hints(|h| h.app_error = code)
}

/// The app refuses, with a code that does not end the connection.
fn refresh_refusal_error<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    by: &RefreshRefusal,
    retry_after: i64,
) -> Error {
    let code = by.reported_code_sentence();
    let detail = format!(
        "The app has refused to renew this connection since {}, and no valid token is left. {code} It is asked again; if that does not help, a person must reconnect it at reconnect_url.",
        by.since.rfc3339()
    );
    with_refusal_hints(
        context,
        connection,
        Error::new(ErrorCode::AppUnavailable, detail).with_hints(|h| h.retry_after = Some(retry_after)),
    )
}

/// The app did not return a usable response. The first failures of an app usually pass.
fn no_response_error<P: Ports>(context: &Context<P>, connection: &Connection, retry_after: i64) -> Error {
    if connection.failures == 0 {
        // It is unknown what the app would say about this connection.
        let detail = "No valid token is left, and the app is not asked for one now, because it failed for other connections of the same OAuth client. Try again later.";
        return Error::new(ErrorCode::AppUnavailable, detail).with_hints(|h| h.retry_after = Some(retry_after));
    }
    let passes = matches!(
        connection.last_error.as_deref(),
        None | Some(
            "timeout"
                | "network_error"
                | "server_error"
                | "too_many_requests"
                | "slow_down"
                | "temporarily_unavailable"
        )
    );
    if passes && connection.failures < FAILURE_THRESHOLD {
        let detail =
            "The app did not renew the token and no valid one is left. Try again later; nothing has to be repaired.";
        return Error::new(ErrorCode::AppUnavailable, detail).with_hints(|h| h.retry_after = Some(retry_after));
    }
    let detail = format!(
        "The app did not renew the token and no valid one is left. Attempts that failed: {}; the last ended with {}. It is asked again. If this lasts, look at the app's status and at the addresses of its definition, or reconnect at reconnect_url.",
        connection.failures,
        connection.last_error.as_deref().unwrap_or("no answer")
    );
    Error::new(ErrorCode::AppUnavailable, detail).with_hints(|h| {
        h.retry_after = Some(retry_after);
        h.reconnect_url = Some(reconnect_url(context, &connection.id, &[]));
    })
}

/// A refusal of the app with its details and the remedy.
fn with_refusal_hints<P: Ports>(context: &Context<P>, connection: &Connection, error: Error) -> Error {
    error.with_hints(|h| {
        h.reconnect_url = Some(reconnect_url(context, &connection.id, &[]));
        if let Some(refused) = &connection.refusal {
            h.app_error.clone_from(&refused.code);
            h.app_refuses_since = Some(refused.since);
        }
    })
}

fn build_resolved(
    connection: &Connection,
    issued: CredentialPayload,
    freshness: Freshness,
    chosen_by: ChosenBy,
) -> ResolvedCredential {
    ResolvedCredential {
        id: connection.id.clone(),
        requested_id: None,
        app: connection.app.as_str().to_owned(),
        name: connection.name.clone(),
        account: connection.account.clone(),
        issued,
        freshness,
        source: Source::Database,
        chosen_by,
        credential_version: credential_version(connection.generation, connection.version),
    }
}

/// What a caller names that reports a refused token. It changes with each change of the credential, and grants nothing.
fn credential_version(generation: i64, version: i64) -> String {
    format!("v{generation}.{version}")
}

/// The same where the connection answers for another one. It names the connection too: the versions of two connections
/// may be equal, and a report must not be taken for one about the other.
fn version_for_requested(answering: &Connection) -> String {
    let version = credential_version(answering.generation, answering.version);
    let id = answering.id.as_str();
    format!("{version}.{}", id.get(id.len().saturating_sub(8)..).unwrap_or_default())
}

/// What decides whether a caller may have this connection, from the database or the cache.
pub(crate) struct ResolvePolicy<'a> {
    id: &'a ConnectionId,
    app: &'a str,
    account: Option<&'a Account>,
    environment: Option<Environment>,
    status: ConnectionStatus,
    reason: Option<ReconnectReason>,
    allowed_workflows: Option<&'a [String]>,
    /// The granted scopes. `None` if the permissions of a key are unknown.
    granted: Option<&'a [String]>,
}

/// The permissions of a key are known only to its owner, unless the app returns them. All other scopes were requested
/// and granted.
fn reported_scopes(kind: CredentialKind, granted: &[String]) -> Option<&[String]> {
    (kind.uses_oauth_server() || !granted.is_empty()).then_some(granted)
}

impl<'a> ResolvePolicy<'a> {
    fn of(connection: &'a Connection) -> Self {
        Self {
            id: &connection.id,
            app: connection.app.as_str(),
            account: connection.account.as_ref(),
            environment: connection.environment,
            status: connection.status,
            reason: connection.reason,
            allowed_workflows: connection.allowed_workflows.as_deref(),
            granted: reported_scopes(connection.kind, &connection.scopes_granted),
        }
    }
}

fn check_policy<P: Ports>(context: &Context<P>, policy: &ResolvePolicy<'_>, request: &ResolveRequest) -> Result<()> {
    if let Some(allowed) = policy.allowed_workflows
        && !request.workflow.as_ref().is_some_and(|workflow| allowed.contains(workflow))
    {
        return Err(Error::new(
            ErrorCode::WorkflowNotAllowed,
            "This connection may be used only by the workflows on its list. Add this workflow to allowed_workflows, or name the workflow in the request.",
        ));
    }
    check_expectations(policy, request)?;
    require_connected(context, policy.id, policy.status, policy.reason)?;
    let lacks = |scope: &&String| policy.granted.is_some_and(|granted| !granted.contains(scope));
    let missing: Vec<String> = request.scopes.iter().filter(lacks).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let detail =
        format!("The app did not grant: {}. Reconnect at reconnect_url and allow it there.", missing.join(" "));
    Err(Error::new(ErrorCode::MissingScopes, detail).with_hints(|h| {
        h.reconnect_url = Some(reconnect_url(context, policy.id, &missing));
        h.missing_scopes = missing;
    }))
}

fn check_expectations(policy: &ResolvePolicy<'_>, request: &ResolveRequest) -> Result<()> {
    let expect = &request.expect;
    let holds = expect.app.as_ref().is_none_or(|app| app.as_str() == policy.app)
        && expect.account.as_ref().is_none_or(|id| policy.account.is_some_and(|account| &account.id == id))
        && expect.connection.as_ref().is_none_or(|id| id == policy.id)
        && expect.environment.is_none_or(|environment| policy.environment == Some(environment));
    if holds {
        return Ok(());
    }
    let label = policy.account.map(|account| account.label.clone());
    let detail = format!(
        "This step expects another connection. The one it points to is of {}, account {}, environment {}. Select the right connection, or change what the step expects.",
        policy.app,
        label.as_deref().unwrap_or("unknown"),
        policy.environment.map_or("unknown", Environment::as_str)
    );
    let actual = ActualConnection {
        connection: policy.id.clone(),
        app: policy.app.to_owned(),
        account: label,
        environment: policy.environment,
    };
    Err(Error::new(ErrorCode::UnexpectedConnection, detail).with_hints(|h| h.actual = Some(actual)))
}

fn require_connected<P: Ports>(
    context: &Context<P>,
    id: &ConnectionId,
    status: ConnectionStatus,
    reason: Option<ReconnectReason>,
) -> Result<()> {
    match status {
        ConnectionStatus::Connected => Ok(()),
        ConnectionStatus::AwaitingConfirmation => Err(Error::new(
            ErrorCode::AwaitingConfirmation,
            "This connection was made through a link, and the product that made the link has not confirmed the person yet (POST /v1/links/{id}/confirm).",
        )),
        ConnectionStatus::NeedsReconnect => {
            Err(needs_reconnect_error(context, id, reason.unwrap_or(ReconnectReason::CredentialRejected)))
        }
    }
}

fn needs_reconnect_error<P: Ports>(context: &Context<P>, id: &ConnectionId, reason: ReconnectReason) -> Error {
    let detail =
        format!("{} A person must reconnect it at reconnect_url; workflows need no change.", reason.explanation());
    Error::new(ErrorCode::NeedsReconnect, detail).with_hints(|h| {
        h.reason = Some(reason.as_str().to_owned());
        h.reconnect_url = Some(reconnect_url(context, id, &[]));
    })
}

/// The page where a signed-in person repairs a connection. The address itself grants nothing.
pub fn reconnect_url<P: Ports>(context: &Context<P>, id: &ConnectionId, scopes: &[String]) -> String {
    let url = context.config.public_url.at(&format!("/connections/{id}/reconnect"));
    if scopes.is_empty() {
        return url;
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("scopes", &scopes.join(" ")).finish();
    format!("{url}?{query}")
}
