//! Connections, and the answers about one.

use std::collections::BTreeMap;

use serde::Serialize;

use super::EndedDefaultsResponse;
use crate::account::Account;
use crate::app::{AppId, AuthMethodId, CredentialKind, PreparedRequest};
use crate::attention::{self, Attention};
use crate::cache::CacheRemovalStatus;
use crate::connection::{ChosenBy, ConnectionStatus, ReconnectReason};
use crate::connections::EditResult;
use crate::context::Context;
use crate::disconnect::DisconnectResult;
use crate::environment::Environment;
use crate::http::body::Flat;
use crate::ids::ConnectionId;
use crate::ports::{Health, Ports, RefreshOutcome};
use crate::resolve::{Freshness, IssuedCredential, ResolvedCredential, Source, reconnect_url};
use crate::store::connections::ListedConnection;
use crate::store::defaults::ReplacedDefaults;
use crate::time::Timestamp;
use crate::workspace::User;

/// A saved credential for an account at an app, and its status.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ConnectionResponse {
    id: ConnectionId,
    app: AppId,
    auth_method: AuthMethodId,
    name: String,
    status: ConnectionStatus,
    reason: Option<ReconnectReason>,
    /// Null if it is unknown.
    account: Option<Account>,
    /// The same as `owner`.
    user: Option<User>,
    /// The owner. Null: nobody; if it is shared, the whole workspace.
    owner: Option<User>,
    /// Whether everybody of the workspace sees and uses it. Otherwise its owner and admins do.
    shared: bool,
    /// What the account is for. Null if it is unknown.
    environment: Option<Environment>,
    /// Whether it is the default of its app, for the workspace or for a user, in any environment.
    default: bool,
    /// The metadata of the embedding product.
    #[cfg_attr(test, schemars(with = "crate::http::openapi::Metadata"))]
    metadata: BTreeMap<String, String>,
    /// The only workflows that may use it. Null: all.
    allowed_workflows: Option<Vec<String>>,
    scopes: ConnectionScopes,
    /// The variables of the app's addresses, from the person, the client and the app.
    variables: BTreeMap<String, String>,
    /// What is known about it, never the secret.
    credential: CredentialState,
    attention: Vec<Attention>,
    uses: UseCounts,
    /// To five minutes.
    last_used_at: Option<Timestamp>,
    /// When its status was last checked.
    checked_at: Option<Timestamp>,
    /// The evidence of that check, as text.
    check_evidence: Option<String>,
    next_check_at: Option<Timestamp>,
    created_at: Timestamp,
    connected_at: Timestamp,
    /// The number of reconnects.
    #[cfg_attr(test, schemars(range(min = 1)))]
    generation: i64,
    /// The connection that answers for it: whoever resolves this one gets that one. Null: itself.
    replaced_by: Option<ConnectionId>,
    /// The connections that it answers for, as far as the key sees them. At most 20.
    replaces: Vec<ConnectionId>,
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
    /// Expiry of the access token, or the earliest of several. Null if it is unknown, or if there is none.
    expires_at: Option<Timestamp>,
    /// Whether it can be refreshed without a person.
    refreshable: bool,
    refreshed_at: Option<Timestamp>,
    /// The earliest known expiry that only a person can extend, or (for an unused token) a refresh: of the refresh
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
            user: connection.user.clone(),
            owner: connection.user,
            shared: connection.shared,
            environment: connection.environment,
            default: listed.is_default,
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
            replaced_by: listed.replaced_by.map(|one| one.id),
            replaces: listed.replaces.into_iter().map(|one| one.id).collect(),
        }
    }
}

/// What needs attention, with the address where a person can act.
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
    /// Only if the connection was a default that it no longer fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_defaults: Option<EndedDefaultsResponse>,
    /// Only if a cache entry could not be deleted yet. It is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_entries: Option<CacheRemovalStatus>,
}

impl UpdatedConnectionResponse {
    pub(crate) fn of(connection: ConnectionResponse, edited: Option<EditResult>) -> Self {
        let (copies, ended) = edited.map_or((None, None), |edited| (Some(edited.copies), Some(edited.ended)));
        Self {
            connection: Flat(connection),
            ended_defaults: ended.and_then(EndedDefaultsResponse::of),
            cache_entries: super::kept_copies(copies),
        }
    }
}

/// The result of a disconnect.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DisconnectedResponse {
    #[serde(flatten)]
    disconnected: Flat<DisconnectResult>,
    /// Null: what a program disconnects cannot be brought back. A person has five minutes on the page.
    undo_until: Option<Timestamp>,
    /// Only if it was a default. Steps that name the app get the next one: the user's, the workspace's, or the only
    /// connection that is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_defaults: Option<EndedDefaultsResponse>,
    /// Only if a cache entry could not be deleted yet. It is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_entries: Option<CacheRemovalStatus>,
}

impl DisconnectedResponse {
    pub(crate) fn of(disconnected: DisconnectResult, copies: CacheRemovalStatus, ended: ReplacedDefaults) -> Self {
        Self {
            disconnected: Flat(disconnected),
            undo_until: None,
            ended_defaults: EndedDefaultsResponse::of(ended),
            cache_entries: super::kept_copies(Some(copies)),
        }
    }
}

/// The result of a check.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CheckedConnectionResponse {
    health: Health,
    /// What the check did.
    outcome: RefreshOutcome,
    /// The evidence, as text.
    evidence: Option<String>,
    /// When the app was last asked. Earlier than this call if it was asked shortly before.
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

/// A credential, and how the app wants it sent. It never contains a refresh token, a client secret or a key file.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ResolvedCredentialResponse {
    /// The connection that answers.
    connection: ResolvedConnection,
    /// The connection that was asked for. Only where another one answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_id: Option<ConnectionId>,
    credential: IssuedCredential,
    /// How the app wants it sent.
    request: PreparedRequest,
    freshness: Freshness,
    source: Source,
    /// How the connection was found.
    chosen_by: ChosenBy,
    /// Names this version of the credential, for `POST /v1/connections/{id}/report`. It grants nothing.
    credential_version: String,
}

/// The connection of the credential.
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
            requested_id: resolved.requested_id,
            credential: resolved.issued.credential,
            request: resolved.issued.request,
            freshness: resolved.freshness,
            source: resolved.source,
            chosen_by: resolved.chosen_by,
            credential_version: resolved.credential_version,
        }
    }
}
