//! Workflows and what they use.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::app::AppId;
use crate::connection::{ChosenBy, ConnectionStatus, ReconnectReason};
use crate::environment::Environment;
use crate::http::body::Flat;
use crate::ids::ConnectionId;
use crate::store::connections::ListedConnection;
use crate::store::uses::{StepChange, StepChangeCause, Use};
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
    /// The connection that answered for it at the last use. Null: itself.
    answered_by: Option<ConnectionId>,
    /// Only if the step used another connection before, for a week or until somebody acknowledges it.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<StepChangeResponse>,
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
    /// The connection that answers for it now. Null: itself.
    replaced_by: Option<ConnectionId>,
}

/// How a step came to use this connection instead of another one.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "StepChange"))]
struct StepChangeResponse {
    /// The connection that it used before. Null if that is gone, or does not exist for the key.
    from: Option<FormerConnection>,
    /// When it first used this one.
    at: Timestamp,
    by: StepChangeCause,
}

/// A connection that a step used before.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct FormerConnection {
    id: ConnectionId,
    name: String,
}

impl StepChangeResponse {
    fn of(change: StepChange) -> Self {
        let from = change.from.map(|one| FormerConnection { id: one.id, name: one.name });
        Self { from, at: change.at, by: change.by }
    }
}

impl WorkflowUseResponse {
    pub(crate) fn of(one: WorkflowUse) -> Self {
        let WorkflowUse { recorded, connection: used, change } = one;
        let Use { workflow: _, step, first_used_at, last_used_at, active_days, used_days: _, chosen_by, answered_by } =
            recorded;
        Self {
            step,
            connection: UsedConnectionResponse {
                id: used.id,
                app: used.app,
                name: used.name,
                status: used.status,
                reason: used.reason,
                account_label: used.account_label,
                environment: used.environment,
                replaced_by: used.replaced_by,
            },
            answered_by,
            changed: change.map(StepChangeResponse::of),
            chosen_by,
            first_used_at,
            last_used_at,
            active_days,
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
    /// The connection that answers for it, and that the rest is about. Null: itself.
    replaced_by: Option<ConnectionId>,
    /// Those of the steps that used another connection before, for a week or until somebody acknowledges it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed_steps: Vec<ChangedStepResponse>,
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

/// A step that used another connection before.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ChangedStep"))]
struct ChangedStepResponse {
    step: String,
    #[serde(flatten)]
    change: Flat<StepChangeResponse>,
}

impl PreflightResponse {
    pub(crate) fn of(found: Preflight) -> Self {
        Self {
            ready: found.connections.iter().all(|one| one.problem.is_none()),
            complete: found.complete,
            connections: found.connections.into_iter().map(PreflightConnectionResponse::of).collect(),
        }
    }
}

impl PreflightConnectionResponse {
    fn of(one: PreflightConnection) -> Self {
        let PreflightConnection { connection: listed, steps, changes, problem } = one;
        let ListedConnection { connection, replaced_by, .. } = listed;
        let changed = |mut change: StepChange| ChangedStepResponse {
            step: std::mem::take(&mut change.step),
            change: Flat(StepChangeResponse::of(change)),
        };
        let ready = problem.is_none();
        let (code, detail, hints) =
            problem.map_or_else(Default::default, |error| (Some(error.code.as_str()), Some(error.detail), error.hints));
        Self {
            ready,
            code,
            detail,
            reason: hints.reason,
            reconnect_url: hints.reconnect_url,
            retry_after: hints.retry_after,
            steps,
            replaced_by: replaced_by.map(|one| one.id),
            changed_steps: changes.into_iter().map(changed).collect(),
            id: connection.id,
            app: connection.app,
            name: connection.name,
        }
    }
}
