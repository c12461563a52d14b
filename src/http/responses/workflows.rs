//! Workflows and what they use.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::app::AppId;
use crate::connection::{ChosenBy, ConnectionStatus, ReconnectReason};
use crate::context::Context;
use crate::environment::Environment;
use crate::error::ErrorCode;
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::resolve::reconnect_url;
use crate::store::workflows::WorkflowUse;
use crate::time::Timestamp;
use crate::workflows::{Preflight, PreflightConnection, WorkflowSummary};

/// A workflow that used a connection.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct WorkflowResponse {
    /// The caller's name for it.
    workflow: String,
    /// Connections that it used.
    connections: usize,
    /// Those of them that need a reconnect.
    needs_reconnect: usize,
    /// Steps that used one of them. A call that named no step counts as a step.
    steps: usize,
    /// To five minutes.
    last_used_at: Timestamp,
    /// False: it has more uses than the request looked at, and the numbers are at least so many.
    complete: bool,
}

impl WorkflowResponse {
    pub(crate) fn of(summary: WorkflowSummary) -> Self {
        Self {
            connections: summary.connections.len(),
            needs_reconnect: summary.needs_reconnect.len(),
            steps: summary.steps.len(),
            last_used_at: summary.last_used_at,
            complete: summary.complete,
            workflow: summary.workflow,
        }
    }
}

/// A step of a workflow that used a connection.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct WorkflowUseResponse {
    /// The step. Empty if the caller named none.
    step: String,
    connection: UsedConnectionResponse,
    /// How the step named the connection at its last use.
    chosen_by: ChosenBy,
    first_used_at: Timestamp,
    /// To five minutes.
    last_used_at: Timestamp,
    /// Days with a use.
    active_days: i64,
}

/// A connection that a step used.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "UsedConnection"))]
struct UsedConnectionResponse {
    id: ConnectionId,
    app: AppId,
    name: String,
    status: ConnectionStatus,
    reason: Option<ReconnectReason>,
    /// What the app calls its account. Null if it is unknown.
    account_label: Option<String>,
    environment: Option<Environment>,
}

impl WorkflowUseResponse {
    pub(crate) fn of(one: WorkflowUse) -> Self {
        let used = one.connection;
        Self {
            step: one.step,
            connection: UsedConnectionResponse {
                id: used.id,
                app: used.app,
                name: used.name,
                status: used.status,
                reason: used.reason,
                account_label: used.account_label,
                environment: used.environment,
            },
            chosen_by: one.chosen_by,
            first_used_at: one.first_used_at,
            last_used_at: one.last_used_at,
            active_days: one.active_days,
        }
    }
}

/// Whether the connections of a workflow are usable.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PreflightResponse {
    /// Whether a resolve of each of them would answer with a credential.
    ready: bool,
    /// False: the workflow uses more connections than one request looks at, and `ready` is about those below.
    complete: bool,
    /// The connections that a step used within the 24 hours before its last use.
    connections: Vec<PreflightConnectionResponse>,
}

/// A connection before a run.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PreflightConnection"))]
struct PreflightConnectionResponse {
    id: ConnectionId,
    app: AppId,
    name: String,
    /// The steps that use it. An empty text: calls that named no step.
    steps: BTreeSet<String>,
    ready: bool,
    /// The code that a resolve would be refused with.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// What is in the way and what to do, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// With `needs_reconnect`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Where a signed-in person repairs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(url))]
    reconnect_url: Option<String>,
    /// Seconds after which another try may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<i64>,
}

impl PreflightResponse {
    pub(crate) fn of<P: Ports>(context: &Context<P>, found: Preflight) -> Self {
        Self {
            ready: found.connections.iter().all(|one| one.problem.is_none()),
            complete: found.complete,
            connections: found.connections.into_iter().map(|one| Self::connection(context, one)).collect(),
        }
    }

    fn connection<P: Ports>(context: &Context<P>, one: PreflightConnection) -> PreflightConnectionResponse {
        let connection = one.connection.connection;
        let repair =
            |code: ErrorCode| (code == ErrorCode::NeedsReconnect).then(|| reconnect_url(context, &connection.id, &[]));
        let problem = one.problem;
        let hints = problem.as_ref().map(|error| &error.hints);
        PreflightConnectionResponse {
            ready: problem.is_none(),
            code: problem.as_ref().map(|error| error.code.as_str()),
            detail: problem.as_ref().map(|error| error.detail.clone()),
            reason: hints.and_then(|hints| hints.reason.clone()),
            reconnect_url: hints
                .and_then(|hints| hints.reconnect_url.clone())
                .or_else(|| problem.as_ref().and_then(|error| repair(error.code))),
            retry_after: hints.and_then(|hints| hints.retry_after),
            steps: one.steps,
            id: connection.id,
            app: connection.app,
            name: connection.name,
        }
    }
}
