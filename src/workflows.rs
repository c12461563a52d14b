//! Workflows as the uses of connections show them: which there are, what one uses, and whether all of it is usable.
//!
//! Owns how uses are put together, and what "usable" means before a run. Refuses to ask an app: a preflight says what is
//! known. A workflow has no row of its own: it exists as long as a connection remembers a use by it.

use std::collections::{BTreeMap, BTreeSet};

use crate::authorize::Caller;
use crate::connection::ConnectionStatus;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::resolve::{self, Expectations, ResolveRequest};
use crate::store::Page;
use crate::store::connections::{self, ConnectionFilter, ListedConnection};
use crate::store::workflows::{self, UsePosition, WorkflowUse};
use crate::time::Timestamp;

/// Characters of a workflow's name, at most.
pub const MAX_WORKFLOW_LENGTH: usize = 128;
/// Uses that one request looks at, at most.
const MOST_USES: i64 = 1_000;
/// Uses that a list looks at for each workflow that it may answer.
const USES_PER_WORKFLOW: i64 = 20;
/// Connections that a preflight looks at, at most.
const MOST_CONNECTIONS: usize = 200;
/// A step uses the connections that it used within this many seconds of its last use. What it used before has been
/// exchanged for another one.
const SAME_RUN: i64 = 86_400;
/// After every id, none of which has this character: the rest of a workflow is left out.
const LAST: &str = "~";

/// A workflow, put together from its uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowSummary {
    /// The caller's name for it.
    pub workflow: String,
    /// Connections that it used and the caller sees.
    pub connections: BTreeSet<ConnectionId>,
    /// Those of them that need a reconnect.
    pub needs_reconnect: BTreeSet<ConnectionId>,
    /// Steps that used one of them.
    pub steps: BTreeSet<String>,
    /// The last use of one of them.
    pub last_used_at: Timestamp,
    /// Whether all its uses were looked at. Otherwise the numbers are at least so many.
    pub complete: bool,
}

impl WorkflowSummary {
    fn new(first: &WorkflowUse) -> Self {
        Self {
            workflow: first.workflow.clone(),
            connections: BTreeSet::new(),
            needs_reconnect: BTreeSet::new(),
            steps: BTreeSet::new(),
            last_used_at: first.last_used_at,
            complete: true,
        }
    }

    fn add(&mut self, one: WorkflowUse) {
        if one.connection.status == ConnectionStatus::NeedsReconnect {
            self.needs_reconnect.insert(one.connection.id.clone());
        }
        self.connections.insert(one.connection.id);
        self.steps.insert(one.step);
        self.last_used_at = self.last_used_at.max(one.last_used_at);
    }
}

/// Workflows by name. A request looks at a bounded number of uses: a page may be short, or empty, although more follow.
///
/// # Errors
/// The database failed.
pub async fn list_workflows<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    prefix: &str,
    after: &UsePosition,
    limit: i64,
) -> Result<Page<WorkflowSummary>> {
    let most = (limit * USES_PER_WORKFLOW).min(MOST_USES);
    let from = (after.0.as_str(), after.1.as_str(), after.2.as_str()).max((prefix, "", ""));
    let mut uses = workflows::list_uses(context.db(), caller.workspace(), from, most + 1).await?;
    let read = uses.len();
    uses.retain(|one| one.workflow.starts_with(prefix));
    // The last one shows that more follow, unless it is past the names that begin so.
    let cut = read == uses.len() && read > usize::try_from(most).unwrap_or(usize::MAX);
    if cut {
        uses.pop();
    }
    let last = uses.last().map(|one| (one.workflow.clone(), one.connection.id.to_string(), one.step.clone()));
    let mut found: Vec<WorkflowSummary> = Vec::new();
    for one in uses.into_iter().filter(|one| caller.sees_used_connection(&one.connection)) {
        if found.last().is_none_or(|last| last.workflow != one.workflow) {
            found.push(WorkflowSummary::new(&one));
        }
        if let Some(last) = found.last_mut() {
            last.add(one);
        }
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if found.len() > limit {
        found.truncate(limit);
        let next = found.last().and_then(|last| position_text(&(&last.workflow, LAST, "")));
        return Ok(Page { data: found, next });
    }
    let Some(last) = last.filter(|_| cut) else { return Ok(Page { data: found, next: None }) };
    // A workflow that is listed is not listed again on the next page. One that has no visible use so far may have one there.
    let listed = found.last_mut().filter(|listed| listed.workflow == last.0);
    let next = match listed {
        Some(listed) => {
            listed.complete = false;
            (last.0, LAST.into(), String::new())
        }
        None => last,
    };
    Ok(Page { next: position_text(&next), data: found })
}

fn position_text<T: serde::Serialize>(position: &T) -> Option<String> {
    serde_json::to_string(position).ok()
}

/// What a workflow used, by connection and step.
///
/// # Errors
/// The workflow used no connection that the caller sees.
pub async fn list_workflow_uses<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    workflow: &str,
    after: Option<&(String, String)>,
    limit: i64,
) -> Result<Page<WorkflowUse>> {
    let from = after.map_or(("", ""), |(connection, step)| (connection.as_str(), step.as_str()));
    let mut uses = workflows::list_uses_of(context.db(), caller.workspace(), workflow, from, MOST_USES + 1).await?;
    let cut = uses.len() > usize::try_from(MOST_USES).unwrap_or(usize::MAX);
    if cut {
        uses.pop();
    }
    let position = |one: &WorkflowUse| position_text(&(&one.connection.id, &one.step));
    let last = uses.last().and_then(position).filter(|_| cut);
    uses.retain(|one| caller.sees_used_connection(&one.connection));
    if uses.is_empty() && last.is_none() && after.is_none() {
        return Err(not_found());
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if uses.len() <= limit {
        return Ok(Page { data: uses, next: last });
    }
    uses.truncate(limit);
    let next = uses.last().and_then(position);
    Ok(Page { data: uses, next })
}

fn not_found() -> Error {
    Error::not_found("workflow")
}

/// What a preflight wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreflightRequest {
    /// Seconds for which each token must be valid, or renewable.
    pub min_ttl: i64,
    /// The environment that each connection must be of.
    pub environment: Option<Environment>,
}

/// A connection before a run.
#[derive(Debug)]
pub struct PreflightConnection {
    /// The connection.
    pub connection: ListedConnection,
    /// The steps that use it. An empty name: a call that named no step.
    pub steps: BTreeSet<String>,
    /// Why a resolve would be refused. None: it is usable.
    pub problem: Option<Error>,
}

/// Whether the connections of a workflow are usable.
#[derive(Debug)]
pub struct Preflight {
    /// Each connection that a step used in its last day of use.
    pub connections: Vec<PreflightConnection>,
    /// Whether these are all. Otherwise the workflow uses more of them than one request looks at.
    pub complete: bool,
}

/// Says of each connection of a workflow whether a resolve now would give a credential. No app is asked. A token that is
/// to be refreshed counts as usable, unless the app or the client was in the way of the last refresh.
///
/// # Errors
/// The workflow used no connection that the caller sees.
pub async fn preflight<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    workflow: &str,
    request: PreflightRequest,
) -> Result<Preflight> {
    let uses = workflows::list_uses_of(context.db(), caller.workspace(), workflow, ("", ""), MOST_USES + 1).await?;
    let mut complete = uses.len() <= usize::try_from(MOST_USES).unwrap_or(usize::MAX);
    let mut steps = steps_of_connections(uses.into_iter().filter(|one| caller.sees_used_connection(&one.connection)));
    if steps.is_empty() {
        return Err(not_found());
    }
    while steps.len() > MOST_CONNECTIONS {
        complete = false;
        steps.pop_last();
    }
    let filter = ConnectionFilter {
        connections: Some(steps.keys().cloned().collect()),
        limit: i64::try_from(steps.len()).unwrap_or(i64::MAX),
        ..caller.connection_filter()
    };
    let asked = ResolveRequest {
        min_ttl: request.min_ttl,
        workflow: Some(workflow.to_owned()),
        expect: Expectations { environment: request.environment, ..Expectations::default() },
        ..ResolveRequest::default()
    };
    let listed = connections::list(context.db(), caller.workspace(), &filter, context.now()).await?;
    let of_connection = |connection: ListedConnection| PreflightConnection {
        steps: steps.remove(&connection.connection.id).unwrap_or_default(),
        problem: resolve::foresee_refusal(context, &connection, &asked),
        connection,
    };
    Ok(Preflight { connections: listed.data.into_iter().map(of_connection).collect(), complete })
}

/// The connections that each step used in its last day of use, with these steps.
fn steps_of_connections(uses: impl Iterator<Item = WorkflowUse>) -> BTreeMap<ConnectionId, BTreeSet<String>> {
    let mut by_step: BTreeMap<String, Vec<WorkflowUse>> = BTreeMap::new();
    for one in uses {
        by_step.entry(one.step.clone()).or_default().push(one);
    }
    let mut found: BTreeMap<ConnectionId, BTreeSet<String>> = BTreeMap::new();
    for (step, uses) in by_step {
        let last = uses.iter().map(|one| one.last_used_at).max();
        for one in uses.into_iter().filter(|one| last.is_some_and(|last| last.since(one.last_used_at) <= SAME_RUN)) {
            found.entry(one.connection.id).or_default().insert(step.clone());
        }
    }
    found
}
