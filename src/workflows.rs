//! Workflows as the uses of connections show them: which there are, what one uses, and whether all of it is usable.
//!
//! Owns how uses are put together, and what "usable" means before a run. Refuses to ask an app: a preflight says what is
//! known. A workflow has no row of its own: it exists as long as a connection remembers a use by it.

use std::collections::{BTreeMap, BTreeSet};

use crate::authorize::Caller;
use crate::connection::ConnectionStatus;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::resolve::{self, ResolveRequest};
use crate::store::connections::{self, ConnectionFilter, ListedConnection};
use crate::store::uses::StepChange;
use crate::store::workflows::{self, UsePosition, WorkflowUse};
use crate::store::{Page, cut_page, json_text};
use crate::time::Timestamp;

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
            workflow: first.recorded.workflow.clone(),
            connections: BTreeSet::new(),
            needs_reconnect: BTreeSet::new(),
            steps: BTreeSet::new(),
            last_used_at: first.recorded.last_used_at,
            complete: true,
        }
    }

    fn add(&mut self, one: WorkflowUse) {
        if one.connection.answering_status == ConnectionStatus::NeedsReconnect {
            self.needs_reconnect.insert(one.connection.id.clone());
        }
        self.connections.insert(one.connection.id);
        self.steps.insert(one.recorded.step);
        self.last_used_at = self.last_used_at.max(one.recorded.last_used_at);
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
    let mut uses = workflows::list_uses(context.db(), caller.workspace(), from, most + 1, context.now()).await?;
    let read = uses.len();
    uses.retain(|one| one.recorded.workflow.starts_with(prefix));
    // The last one shows that more follow, unless it is past the names that begin so.
    let cut = read == uses.len() && read > usize::try_from(most).unwrap_or(usize::MAX);
    if cut {
        uses.pop();
    }
    let last = uses
        .last()
        .map(|one| (one.recorded.workflow.clone(), one.connection.id.to_string(), one.recorded.step.clone()));
    let mut found: Vec<WorkflowSummary> = Vec::new();
    for one in uses.into_iter().filter(|one| caller.sees_used_connection(&one.connection)) {
        if found.last().is_none_or(|last| last.workflow != one.recorded.workflow) {
            found.push(WorkflowSummary::new(&one));
        }
        if let Some(last) = found.last_mut() {
            last.add(one);
        }
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if found.len() > limit {
        found.truncate(limit);
        let next = found.last().map(|last| json_text(&(&last.workflow, LAST, "")));
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
    Ok(Page { next: Some(json_text(&next)), data: found })
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
    let mut uses = list_uses_of(context, caller, workflow, from).await?;
    let cut = uses.len() > usize::try_from(MOST_USES).unwrap_or(usize::MAX);
    if cut {
        uses.pop();
    }
    let position = |one: &WorkflowUse| json_text(&(&one.connection.id, &one.recorded.step));
    let last = uses.last().map(position).filter(|_| cut);
    uses.retain(|one| caller.sees_used_connection(&one.connection));
    if uses.is_empty() && last.is_none() && after.is_none() {
        return Err(not_found());
    }
    let page = cut_page(uses, limit, position);
    Ok(Page { next: page.next.or(last), data: page.data })
}

/// One more than one request looks at. What the caller does not see is no connection that a step used before.
async fn list_uses_of<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    workflow: &str,
    from: (&str, &str),
) -> Result<Vec<WorkflowUse>> {
    let db = context.db();
    let mut uses =
        workflows::list_uses_of(db, caller.workspace(), workflow, from, MOST_USES + 1, context.now()).await?;
    for one in &mut uses {
        if let Some(change) = &mut one.change {
            change.from = change.from.take().filter(|from| caller.sees_related(from, &one.connection.app));
        }
    }
    Ok(uses)
}

fn not_found() -> Error {
    Error::not_found("workflow")
}

/// A connection before a run.
#[derive(Debug)]
pub struct PreflightConnection {
    /// The connection.
    pub connection: ListedConnection,
    /// The steps that use it. An empty name: a call that named no step.
    pub steps: BTreeSet<String>,
    /// Those that used another connection before, not long ago.
    pub changes: Vec<StepChange>,
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

/// Says of each connection of a workflow whether this resolve would give a credential now. No app is asked. A token that is
/// to be refreshed counts as usable, unless the app or the client was in the way of the last refresh.
///
/// # Errors
/// The workflow used no connection that the caller sees.
pub async fn preflight<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    workflow: &str,
    request: &ResolveRequest,
) -> Result<Preflight> {
    let uses = list_uses_of(context, caller, workflow, ("", "")).await?;
    let mut complete = uses.len() <= usize::try_from(MOST_USES).unwrap_or(usize::MAX);
    let uses: Vec<_> = uses.into_iter().filter(|one| caller.sees_used_connection(&one.connection)).collect();
    let mut changes: BTreeMap<ConnectionId, Vec<StepChange>> = BTreeMap::new();
    for one in &uses {
        changes.entry(one.connection.id.clone()).or_default().extend(one.change.clone());
    }
    let mut steps = steps_of_connections(uses.into_iter());
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
    let listed = connections::list(context.db(), caller.workspace(), &filter, context.now()).await?;
    let answering = load_answering(context, caller, &listed.data).await?;
    let of_connection = |connection: ListedConnection| {
        let id = &connection.connection.id;
        let mut changes = changes.remove(id).unwrap_or_default();
        let steps = steps.remove(id).unwrap_or_default();
        changes.retain(|one| steps.contains(&one.step));
        let problem = match &connection.replaced_by {
            None => resolve::foresee_refusal(context, &connection, request),
            Some(by) => match answering.iter().find(|one| one.connection.id == by.id) {
                Some(answering) if caller.covers_environment(answering.connection.environment) => {
                    resolve::foresee_refusal(context, answering, request)
                }
                _ => Some(Error::connection_not_found()),
            },
        };
        PreflightConnection { connection, steps, changes, problem }
    };
    Ok(Preflight { connections: listed.data.into_iter().map(of_connection).collect(), complete })
}

/// The connections that answer for some of these, also those that are on no list of the caller: a resolve of the others
/// gives their credentials.
async fn load_answering<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    listed: &[ListedConnection],
) -> Result<Vec<ListedConnection>> {
    let ids: BTreeSet<_> = listed.iter().filter_map(|one| Some(one.replaced_by.as_ref()?.id.clone())).collect();
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let limit = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    let filter =
        ConnectionFilter { connections: Some(ids.into_iter().collect()), limit, ..ConnectionFilter::default() };
    Ok(connections::list(context.db(), caller.workspace(), &filter, context.now()).await?.data)
}

/// The connections that each step used in its last day of use, with these steps.
fn steps_of_connections(uses: impl Iterator<Item = WorkflowUse>) -> BTreeMap<ConnectionId, BTreeSet<String>> {
    let mut by_step: BTreeMap<String, Vec<WorkflowUse>> = BTreeMap::new();
    for one in uses {
        by_step.entry(one.recorded.step.clone()).or_default().push(one);
    }
    let mut found: BTreeMap<ConnectionId, BTreeSet<String>> = BTreeMap::new();
    for (step, uses) in by_step {
        let last = uses.iter().map(|one| one.recorded.last_used_at).max();
        for one in
            uses.into_iter().filter(|one| last.is_some_and(|last| last.since(one.recorded.last_used_at) <= SAME_RUN))
        {
            found.entry(one.connection.id).or_default().insert(step.clone());
        }
    }
    found
}
