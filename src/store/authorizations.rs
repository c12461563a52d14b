//! Rows of `authorizations`: pending OAuth flows, single-use and bound to a browser's session.

use serde::{Deserialize, Serialize};

use super::connections::{read_settings, read_user};
use super::{Columns, FromRow, StoreResult, json_text, query_first, run_statement};
use std::collections::BTreeMap;

use crate::account::Account;
use crate::app::{AppId, AuthMethodId};
use crate::codes::codes;
use crate::connection::{Connection, ConnectionSettings};
use crate::destinations::Destinations;
use crate::environment::Environment;
use crate::ids::{ClientId, ConnectionId, FlowId, LinkId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Statement};
use crate::retention::FLOWS_PER_BROWSER;
use crate::sql;
use crate::time::Timestamp;
use crate::workspace::User;

const INSERT: &str = "INSERT INTO flows (id, state_hash, session_hash, workspace_id, app, app_revision, oauth_client, connection_id, generation,
      link_id, user_id, user_name, scopes, issuer, iss_required, sealed_verifier, return_to, status, created_at, expires_at, auth_method, variables, used_at, destinations, environment, is_shared, popup_origin)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, 'pending', ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26)";
/// A browser has at most ten flows. The oldest are evicted when one starts, even within one second.
const TRIM: &str = "DELETE FROM flows WHERE session_hash = ?1 AND used_at IS NULL AND id <> ?2 AND id NOT IN
    (SELECT id FROM flows WHERE session_hash = ?1 AND used_at IS NULL AND id <> ?2 ORDER BY created_at DESC, id LIMIT ?3)";
const BY_STATE: &str = select_flow!("state_hash = ?1");
const GET: &str = select_flow!("id = ?1 AND session_hash IN (SELECT value FROM json_each(?2))");
const GET_IN_WORKSPACE: &str = select_flow!("workspace_id = ?1 AND id = ?2");
/// The first callback from the right browser in time uses the state.
const CONSUME_STATE: &str = "UPDATE flows SET used_at = ?3, sealed_verifier = NULL WHERE id = ?1 AND session_hash = ?2 AND used_at IS NULL AND expires_at > ?3";
const END_FLOW: &str = "UPDATE flows SET status = ?2, error = ?3, connection_id = coalesce(?4, connection_id), sealed_grant = NULL WHERE id = ?1";
const STORE_PENDING_GRANT: &str =
    "UPDATE flows SET status = ?2, sealed_grant = ?3, pending_grant = ?4, connection_id = coalesce(?5, connection_id),
      generation = coalesce(?6, generation), expires_at = ?7 WHERE id = ?1";
/// A grant that comes directly from the app is completed once, by the call that takes the flow out of its pending
/// state.
const SET_OUTCOME_IF_PENDING: &str = "UPDATE flows SET status = ?2 WHERE id = ?1 AND status = 'pending'";
const FAIL_IF_PENDING: &str = "UPDATE flows SET status = 'failed', error = ?2 WHERE id = ?1 AND status = 'pending'";
/// A pending grant is decided once.
const DECIDE_PENDING_GRANT: &str = "UPDATE flows SET status = ?3, sealed_grant = NULL WHERE id = ?1 AND status = ?2 AND sealed_grant IS NOT NULL AND expires_at > ?4";

codes! {
    /// The state of a flow, or how it ended.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum FlowOutcome {
        /// The person is at the app.
        Pending = "pending",
        /// The person denied access there.
        Denied = "denied",
        /// It failed. The row has the reason.
        Failed = "failed",
        /// The person must choose.
        Undecided = "undecided",
        /// The embedding product must confirm.
        AwaitingConfirmation = "awaiting_confirmation",
        /// A connection was created or repaired.
        Done = "done",
        /// The person chose to change nothing.
        Discarded = "discarded",
    }
}

/// Why a person must choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "question")]
pub enum Question {
    /// The reconnect returned another account.
    OtherAccount {
        /// The account of the connection.
        before: Option<Account>,
    },
    /// The account is connected already.
    Duplicate {
        /// The connection with it.
        existing: ConnectionId,
        /// Its name.
        name: String,
    },
}

/// The part of a pending grant that is not secret, in its flow's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingGrant {
    /// The question. None if it waits only for a confirmation.
    pub question: Option<Question>,
    /// The account of the new grant.
    pub account: Option<Account>,
    /// The requested scopes, if they are more than the flow's. None in a grant of an earlier version.
    #[serde(default)]
    pub requested: Option<Vec<String>>,
    /// The granted scopes.
    pub granted: Vec<String>,
    /// Expiry of the access token, Unix seconds.
    pub expires_at: Option<i64>,
    /// Expiry of the refresh token, Unix seconds.
    pub refresh_expires_at: Option<i64>,
    /// When the unused refresh token expires, Unix seconds.
    #[serde(default)]
    pub refresh_idle_until: Option<i64>,
    /// When the whole grant expires, Unix seconds.
    #[serde(default)]
    pub grant_expires_at: Option<i64>,
    /// The variables of the app's addresses.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// The destinations of the credential. None for a catalogue app, and in a grant of an earlier version.
    #[serde(default)]
    pub destinations: Option<Destinations>,
    /// Whether it can be refreshed without a person. A grant of an earlier version says it itself.
    #[serde(default)]
    pub refreshable: Option<bool>,
    /// The name of a new connection.
    #[serde(default)]
    pub name: Option<String>,
    /// The metadata of the embedding product.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// When the tokens were obtained, Unix seconds.
    pub obtained_at: i64,
}

/// A pending flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Id.
    pub id: FlowId,
    /// The session of the browser that started it.
    pub session_hash: String,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The app.
    pub app: AppId,
    /// The revision of its definition; 0 for the catalogue.
    pub app_revision: i64,
    /// The auth method.
    pub auth_method: AuthMethodId,
    /// The variables of the app's addresses.
    pub variables: BTreeMap<String, String>,
    /// The destinations of its code and grant, as in a connection.
    pub destinations: Option<Destinations>,
    /// The client. None for a manual credential.
    pub client: Option<ClientId>,
    /// The connection to repair, or the one that was created.
    pub connection: Option<ConnectionId>,
    /// That connection's generation when the flow started, or when its grant began to wait for confirmation.
    pub generation: Option<i64>,
    /// Its link.
    pub link: Option<LinkId>,
    /// The owner of the connection.
    pub user: Option<User>,
    /// What a new connection is given beside its grant.
    pub settings: ConnectionSettings,
    /// Requested scopes.
    pub scopes: Vec<String>,
    /// The issuer that the callback must name, if it is known.
    pub issuer: Option<String>,
    /// Whether the issuer promised to send `iss`.
    pub iss_promised: bool,
    /// The sealed PKCE verifier.
    pub sealed_verifier: Option<String>,
    /// The last page of the browser.
    pub return_to: Option<String>,
    /// The origin of the page that has opened its link in a window.
    pub popup_origin: Option<String>,
    /// Its state.
    pub outcome: FlowOutcome,
    /// The code of a failure.
    pub error: Option<String>,
    /// The pending grant.
    pub sealed_grant: Option<String>,
    /// The part of it that is not secret.
    pub pending: Option<PendingGrant>,
    /// When its state was used.
    pub used_at: Option<Timestamp>,
    /// When it started.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl FromRow for Flow {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let unknown = || DatabaseError::Malformed("an authorization's column holds an unknown value".into());
        let outcome = row.text("status")?;
        let is_origin_allowed = row.boolean("is_origin_allowed")?;
        Ok(Self {
            id: row.id("id")?,
            session_hash: row.text("session_hash")?,
            workspace: row.id("workspace_id")?,
            app: AppId::parse(&row.text("app")?).ok_or_else(unknown)?,
            app_revision: row.integer("app_revision")?,
            auth_method: AuthMethodId::parse(&row.text("auth_method")?).ok_or_else(unknown)?,
            variables: row.json("variables")?,
            destinations: row.optional_json("destinations")?,
            client: row.optional_id("oauth_client")?,
            connection: row.optional_id("connection_id")?,
            generation: row.optional_integer("generation")?,
            link: row.optional_id("link_id")?,
            user: read_user(row)?,
            settings: read_settings(row)?,
            scopes: row.json("scopes")?,
            issuer: row.optional_text("issuer")?,
            iss_promised: row.boolean("iss_required")?,
            sealed_verifier: row.optional_text("sealed_verifier")?,
            return_to: row.optional_text("return_to")?.filter(|_| is_origin_allowed),
            popup_origin: row.optional_text("popup_origin")?.filter(|_| is_origin_allowed),
            outcome: FlowOutcome::parse(&outcome).ok_or_else(unknown)?,
            error: row.optional_text("error")?,
            sealed_grant: row.optional_text("sealed_grant")?,
            pending: row.optional_json("pending_grant")?,
            used_at: row.optional_time("used_at")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
        })
    }
}

/// Stores a new flow, and limits the browser's open flows.
pub async fn insert(db: &impl Database, flow: &Flow, state_hash: &str) -> StoreResult<()> {
    let statement = sql!(
        INSERT,
        &flow.id,
        state_hash,
        flow.session_hash.as_str(),
        &flow.workspace,
        &flow.app,
        flow.app_revision,
        flow.client.as_ref(),
        flow.connection.as_ref(),
        flow.generation,
        flow.link.as_ref(),
        flow.user.as_ref().map(|user| user.id.as_str()),
        flow.user.as_ref().and_then(|user| user.name.as_deref()),
        json_text(&flow.scopes),
        flow.issuer.as_deref(),
        flow.iss_promised,
        flow.sealed_verifier.as_deref(),
        flow.return_to.as_deref(),
        flow.created_at,
        flow.expires_at,
        &flow.auth_method,
        json_text(&flow.variables),
        flow.used_at,
        flow.destinations.as_ref().map(json_text),
        flow.settings.environment.map(Environment::as_str),
        flow.settings.shared,
        flow.popup_origin.as_deref()
    );
    let trim = sql!(TRIM, flow.session_hash.as_str(), &flow.id, FLOWS_PER_BROWSER - 1);
    db.batch(vec![statement, trim]).await.map(|_| ())
}

/// The flow of a state, used or not.
pub async fn get_by_state(db: &impl Database, state_hash: &str) -> StoreResult<Option<Flow>> {
    query_first(db, sql!(BY_STATE, state_hash)).await
}

/// A flow of the browser that started it: one of `sessions` is the flow's.
pub async fn get(db: &impl Database, id: &FlowId, sessions: &[String]) -> StoreResult<Option<Flow>> {
    query_first(db, sql!(GET, id, json_text(sessions))).await
}

/// A flow, for the embedding product that confirms it.
pub async fn get_in_workspace(db: &impl Database, workspace: &WorkspaceId, id: &FlowId) -> StoreResult<Option<Flow>> {
    query_first(db, sql!(GET_IN_WORKSPACE, workspace, id)).await
}

/// Uses the state. Only one callback succeeds.
pub async fn consume_state(db: &impl Database, flow: &Flow, session_hash: &str, now: Timestamp) -> StoreResult<bool> {
    Ok(run_statement(db, sql!(CONSUME_STATE, &flow.id, session_hash, now)).await?.changes > 0)
}

/// The statement that ends a flow.
pub fn end_flow(
    id: &FlowId,
    outcome: FlowOutcome,
    error: Option<&str>,
    connection: Option<&ConnectionId>,
) -> Statement {
    sql!(END_FLOW, id, outcome.as_str(), error, connection)
}

/// The statement that stores a pending grant in its flow. `target` is the connection that it will repair.
pub fn store_pending_grant(
    id: &FlowId,
    outcome: FlowOutcome,
    sealed_grant: &str,
    pending: &PendingGrant,
    target: Option<&Connection>,
    expires_at: Timestamp,
) -> Statement {
    sql!(
        STORE_PENDING_GRANT,
        id,
        outcome.as_str(),
        sealed_grant,
        json_text(pending),
        target.map(|connection| &connection.id),
        target.map(|connection| connection.generation),
        expires_at
    )
}

/// The statement that takes a flow out of its pending state. It changes the row once, however often a write is
/// repeated.
pub fn set_outcome_if_pending(id: &FlowId, to: FlowOutcome) -> Statement {
    sql!(SET_OUTCOME_IF_PENDING, id, to.as_str())
}

/// Ends a flow as failed, unless it was completed. Returns whether it was not, and will not be.
pub async fn fail_if_pending(db: &impl Database, id: &FlowId, error: &str) -> StoreResult<bool> {
    Ok(run_statement(db, sql!(FAIL_IF_PENDING, id, error)).await?.changes > 0)
}

/// The statement that takes a pending grant out of its flow. Only one decision changes the row.
pub fn decide_pending_grant(id: &FlowId, from: FlowOutcome, to: FlowOutcome, now: Timestamp) -> Statement {
    sql!(DECIDE_PENDING_GRANT, id, from.as_str(), to.as_str(), now)
}
