//! Connections, and what is done with one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::account::Account;
use crate::app::{AppId, AuthMethodId, CredentialKind, PreparedRequest};
use crate::attention::{self, Attention};
use crate::cache::CacheRemovalStatus;
use crate::connection::{ConnectionStatus, ReconnectReason};
use crate::context::Context;
use crate::disconnect::DisconnectResult;
use crate::http::body::Flat;
use crate::ids::ConnectionId;
use crate::ports::{Health, Ports, RefreshOutcome};
use crate::resolve::{Freshness, IssuedCredential, ResolvedCredential, Source, reconnect_url};
use crate::store::connections::ListedConnection;
use crate::time::Timestamp;
use crate::workspace::User;

/// A saved credential of somebody at an app, and how it is doing.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ConnectionResponse {
    id: ConnectionId,
    app: AppId,
    auth_method: AuthMethodId,
    name: String,
    status: ConnectionStatus,
    reason: Option<ReconnectReason>,
    /// Null where the app does not tell.
    account: Option<Account>,
    /// Whose it is; null: the whole workspace's.
    user: Option<User>,
    /// The embedder's own map.
    #[cfg_attr(test, schemars(with = "crate::http::openapi::Metadata"))]
    metadata: BTreeMap<String, String>,
    /// The only workflows that may use it; null: all.
    allowed_workflows: Option<Vec<String>>,
    scopes: ConnectionScopes,
    /// What the app's addresses depend on, from the person, the client and the app.
    variables: BTreeMap<String, String>,
    /// What is known of it; never the secret.
    credential: CredentialState,
    attention: Vec<Attention>,
    uses: UseCounts,
    /// To five minutes.
    last_used_at: Option<Timestamp>,
    /// When its status was last checked.
    checked_at: Option<Timestamp>,
    /// How that was known, in words.
    check_evidence: Option<String>,
    next_check_at: Option<Timestamp>,
    created_at: Timestamp,
    connected_at: Timestamp,
    /// Counts reconnects.
    #[cfg_attr(test, schemars(range(min = 1)))]
    generation: i64,
    /// Always null in this version.
    replaced_by: (),
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ConnectionScopes {
    requested: Vec<String>,
    granted: Vec<String>,
    /// Requested and not granted.
    missing: Vec<String>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct CredentialState {
    r#type: CredentialKind,
    /// When the access token ends, or the first of several; null where nobody knows, and where there is none.
    expires_at: Option<Timestamp>,
    /// Whether new tokens are had without a person.
    refreshable: bool,
    refreshed_at: Option<Timestamp>,
    /// The nearest known end that only a person can put off, or (for a token that dies unused) a renewal: of the refresh
    /// token, of the whole grant.
    ends_at: Option<Timestamp>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct UseCounts {
    workflows: i64,
    steps: i64,
}

impl ConnectionResponse {
    pub(crate) fn of<P: Ports>(context: &Context<P>, listed: ListedConnection) -> Self {
        let attention = attention(context, &listed);
        let connection = listed.connection;
        let (status, reason) = connection.shown_status(&context.config.key_ring);
        let (missing, ends_at) = (connection.missing_scopes(), connection.reconnect_due_at());
        Self {
            id: connection.id,
            app: connection.app,
            auth_method: connection.auth_method,
            name: connection.name,
            status,
            reason,
            account: connection.account,
            user: connection.user,
            metadata: connection.metadata,
            allowed_workflows: connection.allowed_workflows,
            scopes: ConnectionScopes {
                requested: connection.scopes_requested,
                granted: connection.scopes_granted,
                missing,
            },
            variables: connection.variables,
            credential: CredentialState {
                r#type: connection.kind,
                expires_at: connection.expires_at,
                refreshable: connection.refreshable,
                refreshed_at: connection.refreshed_at,
                ends_at,
            },
            attention,
            uses: UseCounts { workflows: listed.workflows, steps: listed.steps },
            last_used_at: connection.last_used_at,
            checked_at: connection.checked_at,
            check_evidence: connection.check_evidence,
            next_check_at: connection.next_check_at,
            created_at: connection.created_at,
            connected_at: connection.connected_at,
            generation: connection.generation,
            replaced_by: (),
        }
    }
}

/// What deserves a look, with the address where a person does what helps.
fn attention<P: Ports>(context: &Context<P>, listed: &ListedConnection) -> Vec<Attention> {
    let mut all = attention::for_connection(listed, context.now());
    for one in all.iter_mut().filter(|one| one.code == attention::AttentionCode::DefinitionChanged) {
        one.reconnect_url = Some(reconnect_url(context, &listed.connection.id, &[]));
    }
    all
}

/// A connection after a change.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct UpdatedConnectionResponse {
    #[serde(flatten)]
    connection: Flat<ConnectionResponse>,
    /// Only where a copy could not be removed yet. It is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_entries: Option<CacheRemovalStatus>,
}

impl UpdatedConnectionResponse {
    pub(crate) fn of(connection: ConnectionResponse, copies: Option<CacheRemovalStatus>) -> Self {
        Self { connection: Flat(connection), cache_entries: super::kept_copies(copies) }
    }
}

/// What became of a connection that was disconnected.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DisconnectedResponse {
    #[serde(flatten)]
    disconnected: Flat<DisconnectResult>,
    /// Only where a copy could not be removed yet. It is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_entries: Option<CacheRemovalStatus>,
}

impl DisconnectedResponse {
    pub(crate) fn of(disconnected: DisconnectResult, copies: CacheRemovalStatus) -> Self {
        Self { disconnected: Flat(disconnected), cache_entries: super::kept_copies(Some(copies)) }
    }
}

/// What a check found.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CheckedConnectionResponse {
    health: Health,
    /// What the check did.
    outcome: RefreshOutcome,
    /// How it was known, in words.
    evidence: Option<String>,
    /// When the app was last asked. Earlier than this call where the app was asked a moment before.
    checked_at: Option<Timestamp>,
    connection: ConnectionResponse,
}

impl CheckedConnectionResponse {
    pub(crate) fn of<P: Ports>(context: &Context<P>, outcome: RefreshOutcome, listed: ListedConnection) -> Self {
        Self {
            health: outcome.health(),
            outcome,
            evidence: listed.connection.check_evidence.clone(),
            checked_at: listed.connection.checked_at,
            connection: ConnectionResponse::of(context, listed),
        }
    }
}

/// A credential, and how the app wants it sent. A refresh token, a client secret or a key file is never in it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ResolvedCredentialResponse {
    connection: ResolvedConnection,
    credential: IssuedCredential,
    /// How the app wants it sent.
    request: PreparedRequest,
    freshness: Freshness,
    source: Source,
}

/// The connection whose credential it is.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ResolvedConnection {
    id: ConnectionId,
    #[cfg_attr(test, schemars(with = "AppId"))]
    app: String,
    name: String,
    account: Option<Account>,
}

/// The only place where a credential becomes JSON.
impl From<ResolvedCredential> for ResolvedCredentialResponse {
    fn from(resolved: ResolvedCredential) -> Self {
        Self {
            connection: ResolvedConnection {
                id: resolved.id,
                app: resolved.app,
                name: resolved.name,
                account: resolved.account,
            },
            credential: resolved.issued.credential,
            request: resolved.issued.request,
            freshness: resolved.freshness,
            source: resolved.source,
        }
    }
}
