//! Refresh: one token request, and nothing lost.
//!
//! Owns the protocol with which exactly one attempt at a time sends a connection's refresh token: first a lease in the
//! database, then one POST, then the response is stored before anything else. A connection needs a reconnect only if
//! that is certain. The protocol is correct with any number of Workers over one database; the
//! [`crate::ports::RefreshRunner`] object only saves requests. docs/refresh.md explains it. Returns no tokens: a caller
//! who needs one reads the database again.

mod account_match;
mod attempt;
mod backoff;
mod health;
mod joining;
mod needs_reconnect;
mod outcome;
mod persist;
mod plan;
mod probe;
mod record;
mod renewal;

use std::rc::Rc;

use serde_json::json;

use crate::app::{AuthMethod, ResolvedEndpoints};
use crate::caller::hash_secret;
use crate::client::Client;
use crate::connection::Connection;
use crate::context::Context;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::error::{Error, Result};
use crate::ids::{AttemptId, ConnectionId};
use crate::metrics;
use crate::ports::{Clock, DatabaseError, MetricEvent, Ports, RefreshOutcome, RefreshReason};
use crate::registry;
use crate::store::refreshes::{self, AttemptRef, LoadedConnection};
use crate::time::Timestamp;
use crate::token::{RefusalClass, TokenResponse};

pub use persist::write_pending_renewal;

use account_match::AccountMatch;
use attempt::{RefreshAttempt, lease_seconds, response_age};
use outcome::RefreshFailure;
use persist::store_renewal;
use plan::RefreshPlan;
use probe::probe_credential;
use renewal::{build_refresh_token_renewal, build_renewal};

/// Most tokens of one grant that are refreshed together.
const MOST_TOKENS_PER_GRANT: usize = 4;

/// Pauses of a caller who waits for a running attempt, in milliseconds; 10 s in total.
const WAITS_FOR_LEASE_MS: [u32; 9] = [200, 400, 700, 1000, 1200, 1500, 1500, 1500, 2000];
/// Seconds after which whoever found an attempt under way may ask again.
const BUSY_RETRY_AFTER: i64 = 5;

/// Runs a refresh in the shard of its connection. Where that database is not bound, nothing is known of the connection.
pub async fn run_in_its_shard<P: Ports>(
    context: &Context<P>,
    id: &ConnectionId,
    reason: RefreshReason,
) -> RefreshOutcome {
    match context.in_shard(id.shard()) {
        Some(context) => run(&context, id, reason).await,
        None => RefreshOutcome::DatabaseUnavailable,
    }
}

/// Runs a refresh to its end, or until another attempt has been waited for long enough.
pub async fn run<P: Ports>(context: &Context<P>, id: &ConnectionId, reason: RefreshReason) -> RefreshOutcome {
    joining::join_or_run(context, id, reason).await
}

/// The same for one caller of this instance.
async fn run_alone<P: Ports>(context: &Context<P>, id: &ConnectionId, reason: RefreshReason) -> RefreshOutcome {
    for wait in WAITS_FOR_LEASE_MS.into_iter().map(Some).chain([None]) {
        match run_once(context, id, reason).await {
            RunStep::Done(outcome) => return outcome,
            RunStep::Busy if matches!(reason, RefreshReason::Early | RefreshReason::ScheduledCheck) => break,
            RunStep::Busy => match wait {
                Some(milliseconds) => context.ports.clock().sleep(milliseconds).await,
                None => break,
            },
        }
    }
    RefreshOutcome::InProgress { retry_after: BUSY_RETRY_AFTER }
}

enum RunStep {
    Done(RefreshOutcome),
    Busy,
}

async fn run_once<P: Ports>(context: &Context<P>, id: &ConnectionId, reason: RefreshReason) -> RunStep {
    let loaded = match refreshes::load(context.db(), id).await {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return RunStep::Done(RefreshOutcome::NotFound),
        Err(error) => return RunStep::Done(log_database_failure(context, id, &error)),
    };
    let started = metrics::start(context);
    let plan = match plan::plan(&loaded, reason, context.now()) {
        // A recent result says nothing about a credential that cannot be decrypted now.
        RefreshPlan::Finish(found)
            if reason == RefreshReason::OnDemandCheck
                && found.works()
                && loaded.connection.credential(&context.config.key_ring).is_none() =>
        {
            RefreshPlan::Probe
        }
        plan => plan,
    };
    let attempt = match plan {
        RefreshPlan::Probe => Some(MetricEvent::Check),
        RefreshPlan::Refresh => Some(MetricEvent::Refresh),
        RefreshPlan::Finish(_) | RefreshPlan::Wait | RefreshPlan::MarkNeedsReconnect => None,
    };
    let done = match plan {
        RefreshPlan::Finish(outcome) => {
            outcome::postpone_check(context, &loaded, reason, outcome).await.map_err(RefreshError::from)
        }
        RefreshPlan::Wait => Err(RefreshError::LeaseTaken),
        RefreshPlan::Probe => probe_credential(context, &loaded, reason).await,
        RefreshPlan::MarkNeedsReconnect => {
            needs_reconnect::mark_expired(context, &loaded).await.map_err(RefreshError::from)
        }
        RefreshPlan::Refresh => refresh_all_tokens(context, &loaded).await,
    };
    let outcome = match done {
        Ok(outcome) => outcome,
        Err(RefreshError::LeaseTaken) => return RunStep::Busy,
        Err(RefreshError::CredentialErased) => RefreshOutcome::NeedsReconnect,
        Err(RefreshError::CredentialUnreadable) => {
            outcome::postpone_check(context, &loaded, reason, RefreshOutcome::Unreadable)
                .await
                .unwrap_or(RefreshOutcome::Unreadable)
        }
        Err(RefreshError::Internal(error)) => outcome::record_error(context, &loaded, &error).await,
    };
    if let Some(event) = attempt {
        let of = (&loaded.connection.workspace, &loaded.connection.app);
        metrics::count_attempt(context, event, of, &outcome, started);
    }
    RunStep::Done(outcome)
}

/// Why a refresh or a probe ended before the app's answer decided it.
#[derive(Debug, thiserror::Error)]
enum RefreshError {
    /// Another attempt holds the lease.
    #[error("another attempt is under way")]
    LeaseTaken,
    /// The credential was erased: the connection has needed a person for long.
    #[error("the stored credential was erased")]
    CredentialErased,
    /// The credential does not open with this key ring.
    #[error("the stored credential does not open")]
    CredentialUnreadable,
    /// The step itself failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<DatabaseError> for RefreshError {
    fn from(error: DatabaseError) -> Self {
        Self::Internal(error.into())
    }
}

type RefreshResult<T> = std::result::Result<T, RefreshError>;

fn log_database_failure<P: Ports>(context: &Context<P>, id: &ConnectionId, error: &DatabaseError) -> RefreshOutcome {
    context.log("error", "database_failed", &json!({ "connection": id.as_str(), "cause": format!("{error:?}") }));
    RefreshOutcome::DatabaseUnavailable
}

/// What requests to the app need.
struct RefreshContext {
    auth_method: Rc<AuthMethod>,
    /// Its OAuth server's endpoints, if it has one.
    endpoints: Option<ResolvedEndpoints>,
    credential: Credential,
    /// The destinations of the credential.
    destinations: Rc<Destinations>,
}

fn require_endpoints(endpoints: Option<&ResolvedEndpoints>) -> Result<&ResolvedEndpoints> {
    endpoints.ok_or_else(|| Error::internal("an app without an OAuth server was to be asked for a token"))
}

async fn prepare_refresh<P: Ports>(context: &Context<P>, loaded: &LoadedConnection) -> RefreshResult<RefreshContext> {
    let connection = &loaded.connection;
    if connection.sealed_credential.is_none() {
        return Err(RefreshError::CredentialErased);
    }
    let credential = connection.credential(&context.config.key_ring).ok_or(RefreshError::CredentialUnreadable)?;
    let app =
        registry::parse_app_revision(context, &connection.app, connection.app_revision, loaded.definition.as_deref())?;
    let auth_method = registry::auth_method(&app, &connection.auth_method)?;
    let endpoints = registry::load_endpoints_if_any(context, &auth_method, &connection.variables).await?;
    let destinations = connection.destinations(&auth_method, endpoints.as_ref());
    Ok(RefreshContext { auth_method, endpoints, credential, destinations })
}

/// Refreshes a connection's token, and the others of its grant that would expire before it.
async fn refresh_all_tokens<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
) -> RefreshResult<RefreshOutcome> {
    // Boxed: two of these would double the size of every future that may refresh.
    let TokenRefresh { outcome: first, mut has_lagging_token } = Box::pin(refresh_one_token(context, loaded)).await?;
    for _ in 1..MOST_TOKENS_PER_GRANT {
        if !has_lagging_token || first != RefreshOutcome::Refreshed {
            break;
        }
        let Ok(Some(next)) = refreshes::load(context.db(), &loaded.connection.id).await else { break };
        if plan::may_refresh(&next.connection, next.client.as_ref(), RefreshReason::Early, context.now()) {
            // The first token is refreshed in any case. A later refresh handles the rest.
            has_lagging_token =
                Box::pin(refresh_one_token(context, &next)).await.is_ok_and(|next| next.has_lagging_token);
        } else {
            break;
        }
    }
    Ok(first)
}

/// What came of the refresh of one token.
struct TokenRefresh {
    outcome: RefreshOutcome,
    /// Whether another token of the grant now ends before the one that was renewed.
    has_lagging_token: bool,
}

/// Redeems a refresh token: claim, ask, store.
async fn refresh_one_token<P: Ports>(context: &Context<P>, loaded: &LoadedConnection) -> RefreshResult<TokenRefresh> {
    let refresh_context = prepare_refresh(context, loaded).await?;
    let Some(selected) = attempt::select_token(&refresh_context, &loaded.connection) else {
        return Ok(TokenRefresh { outcome: RefreshOutcome::Unknown, has_lagging_token: false });
    };
    let keys = attempt::load_client_identity(context, loaded, &refresh_context).await?;
    let attempt = new_attempt_ref(context, &loaded.connection)?;
    let now = context.now();
    let rotation = refresh_context.auth_method.rotation();
    let seconds = lease_seconds(rotation);
    let token_hash = hash_secret(selected.secret.expose());
    match refreshes::take_lease(context.db(), &attempt, &loaded.connection, &token_hash, seconds, now).await {
        Ok(true) => {}
        Ok(false) => return Err(RefreshError::LeaseTaken),
        Err(error) => {
            // The lease may have been written, and nobody else will release it.
            outcome::release_unsent(context, &attempt).await;
            return Err(error.into());
        }
    }
    let age = response_age(&loaded.connection, rotation, &token_hash, now);
    let (until, asked_at) = (now.plus(seconds), context.now());
    let mut redemption = RefreshAttempt {
        loaded,
        refresh_context,
        attempt,
        selected,
        client_identity: keys,
        lease_until: until,
        asked_at,
        response_age: age,
    };
    if redemption.is_too_late() {
        let outcome = outcome::record_too_late(context, &redemption).await?;
        return Ok(TokenRefresh { outcome, has_lagging_token: false });
    }
    let told = attempt::request_tokens(context, &mut redemption).await;
    let has_lagging_token = match &told {
        TokenResponse::Tokens(tokens) => attempt::has_lagging_token(&redemption.renewed_credential(tokens)),
        // A further token that is lost is removed. The first one may still have to be refreshed.
        TokenResponse::Refused(refusal) => {
            redemption.selected.token_name.is_some() && refusal.class == RefusalClass::Permanent
        }
        TokenResponse::Ambiguous(_) => false,
    };
    let outcome = store_token_response(context, &redemption, told).await?;
    Ok(TokenRefresh { outcome, has_lagging_token })
}

fn new_attempt_ref<P: Ports>(context: &Context<P>, connection: &Connection) -> Result<AttemptRef> {
    Ok(AttemptRef {
        id: AttemptId::random(context.ports.random(), connection.workspace.shard())?,
        workspace: connection.workspace.clone(),
        connection: connection.id.clone(),
        client: connection.client.clone(),
        generation: connection.generation,
        version: connection.version,
    })
}

/// Stores the app's response, before anything else happens.
async fn store_token_response<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    told: TokenResponse,
) -> Result<RefreshOutcome> {
    match told {
        TokenResponse::Tokens(tokens) => {
            let stored =
                store_renewal(context, of, &build_renewal(context, of, &tokens)?, RefreshOutcome::Refreshed).await?;
            if stored == RefreshOutcome::Refreshed
                && account_match::match_token_account(of, &tokens) == AccountMatch::Other
            {
                return account_match::mark_other_account_after_refresh(context, of).await;
            }
            Ok(stored)
        }
        TokenResponse::Ambiguous(odd) => match odd.refresh_token.clone() {
            Some(newer) => {
                let renewal = build_refresh_token_renewal(context, of, newer, odd.reason)?;
                let outcome =
                    RefreshOutcome::Unavailable { retry_after: renewal.next_attempt_at - context.now().unix() };
                store_renewal(context, of, &renewal, outcome).await
            }
            None => outcome::record_failure(context, of, RefreshFailure::Ambiguous(&odd)).await,
        },
        TokenResponse::Refused(refusal) => {
            outcome::record_failure(context, of, RefreshFailure::Refused(&refusal)).await
        }
    }
}

/// Whether failures of the client forbid a request now.
fn client_backoff_seconds(client: &Client, now: Timestamp) -> Option<i64> {
    (client.backoff_until > now).then(|| client.backoff_until.since(now))
}
