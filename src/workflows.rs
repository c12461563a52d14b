//! Workflows as the uses of connections show them: which there are, what one uses, and whether all of it is usable.
//!
//! Owns how uses are put together, and what "usable" means before a run. Refuses to ask an app: a preflight says what is
//! known. A workflow has no row of its own: it exists as long as a connection remembers a use by it.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::AppId;
use crate::app_list::{self, AppList};
use crate::authorize::Caller;
use crate::connection::{ChosenBy, ConnectionStatus};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ids::ConnectionId;
use crate::ports::{Ports, Rows, Statement};
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
    /// The apps of its connections.
    pub apps: BTreeSet<AppId>,
    /// The connections that a step used in its last day of use and that a person has to look at before the next run.
    pub unusable: BTreeSet<ConnectionId>,
    /// Whether a step named only the app at its last use, and got the connection that stands for it.
    pub used_default: bool,
    /// Steps that used another connection before, not long ago.
    pub changed_steps: BTreeSet<String>,
}

impl WorkflowSummary {
    fn of(uses: &[WorkflowUse]) -> Option<Self> {
        let first = uses.first()?;
        let mut found = Self {
            workflow: first.recorded.workflow.clone(),
            connections: BTreeSet::new(),
            needs_reconnect: BTreeSet::new(),
            steps: BTreeSet::new(),
            last_used_at: first.recorded.last_used_at,
            complete: true,
            apps: BTreeSet::new(),
            unusable: BTreeSet::new(),
            used_default: false,
            changed_steps: BTreeSet::new(),
        };
        let last_uses = last_use_of_steps(uses);
        for one in uses {
            found.add(one, last_uses.get(one.recorded.step.as_str()).copied());
        }
        Some(found)
    }

    fn add(&mut self, one: &WorkflowUse, last_use_of_step: Option<Timestamp>) {
        let (used, recorded) = (&one.connection, &one.recorded);
        if used.answering_status == ConnectionStatus::NeedsReconnect {
            self.needs_reconnect.insert(used.id.clone());
        }
        self.connections.insert(used.id.clone());
        self.apps.insert(used.app.clone());
        self.steps.insert(recorded.step.clone());
        self.last_used_at = self.last_used_at.max(recorded.last_used_at);
        if !is_of_last_day(recorded.last_used_at, last_use_of_step) {
            return;
        }
        if used.answering_status != ConnectionStatus::Connected {
            self.unusable.insert(used.id.clone());
        }
        self.used_default |= matches!(recorded.chosen_by, ChosenBy::Default | ChosenBy::Only);
        if one.change.is_some() {
            self.changed_steps.insert(recorded.step.clone());
        }
    }
}

/// When each step was last used, with whichever connection.
fn last_use_of_steps(uses: &[WorkflowUse]) -> BTreeMap<&str, Timestamp> {
    let mut found: BTreeMap<&str, Timestamp> = BTreeMap::new();
    for WorkflowUse { recorded, .. } in uses {
        let last = found.entry(&recorded.step).or_insert(recorded.last_used_at);
        *last = (*last).max(recorded.last_used_at);
    }
    found
}

/// Whether a use is of the last day in which its step was used.
fn is_of_last_day(used_at: Timestamp, last_use_of_step: Option<Timestamp>) -> bool {
    last_use_of_step.is_some_and(|last| last.since(used_at) <= SAME_RUN)
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
    Ok(list_workflows_with(context, caller, prefix, after, limit, vec![]).await?.0)
}

/// The same with the apps of the workspace, in the same round trip.
///
/// # Errors
/// The database failed.
pub async fn list_workflows_and_apps<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    prefix: &str,
    after: &UsePosition,
    limit: i64,
) -> Result<(Page<WorkflowSummary>, AppList)> {
    let also = app_list::app_list_statements(caller.workspace()).into();
    let (page, answers) = list_workflows_with(context, caller, prefix, after, limit, also).await?;
    Ok((page, app_list::read_app_list(context, &answers)?))
}

async fn list_workflows_with<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    prefix: &str,
    after: &UsePosition,
    limit: i64,
    also: Vec<Statement>,
) -> Result<(Page<WorkflowSummary>, Vec<Rows>)> {
    let most = (limit * USES_PER_WORKFLOW).min(MOST_USES);
    let from = (after.0.as_str(), after.1.as_str(), after.2.as_str()).max((prefix, "", ""));
    let select = workflows::select_uses(caller.workspace(), from, most + 1, context.now());
    let (mut uses, answers) = workflows::read_with(context.db(), select, also).await?;
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
    uses.retain(|one| caller.sees_used_connection(&one.connection));
    let of_workflows = uses.chunk_by(|one, next| one.recorded.workflow == next.recorded.workflow);
    let mut found: Vec<_> = of_workflows.filter_map(WorkflowSummary::of).collect();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if found.len() > limit {
        found.truncate(limit);
        let next = found.last().map(|last| json_text(&(&last.workflow, LAST, "")));
        return Ok((Page { data: found, next }, answers));
    }
    let Some(last) = last.filter(|_| cut) else { return Ok((Page { data: found, next: None }, answers)) };
    // A workflow that is listed is not listed again on the next page. One that has no visible use so far may have one there.
    let listed = found.last_mut().filter(|listed| listed.workflow == last.0);
    let next = match listed {
        Some(listed) => {
            listed.complete = false;
            (last.0, LAST.into(), String::new())
        }
        None => last,
    };
    Ok((Page { next: Some(json_text(&next)), data: found }, answers))
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
    let (mut uses, _) = list_uses_of(context, caller, workflow, from, vec![]).await?;
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
    also: Vec<Statement>,
) -> Result<(Vec<WorkflowUse>, Vec<Rows>)> {
    let select = workflows::select_uses_of(caller.workspace(), workflow, from, MOST_USES + 1, context.now());
    let (mut uses, answers) = workflows::read_with(context.db(), select, also).await?;
    for one in &mut uses {
        if let Some(change) = &mut one.change {
            change.from = change.from.take().filter(|from| caller.sees_related(from, &one.connection.app));
        }
    }
    Ok((uses, answers))
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
    let (uses, _) = list_uses_of(context, caller, workflow, ("", ""), vec![]).await?;
    let (uses, complete) = keep_seen(caller, uses);
    preflight_uses(context, caller, &uses, complete, request).await
}

/// What the page of a workflow shows.
#[derive(Debug)]
pub struct WorkflowDetails {
    /// Its uses, by connection and step: at most so many as one request looks at.
    pub uses: Vec<WorkflowUse>,
    /// Whether it could run.
    pub preflight: Preflight,
    /// The apps of the workspace.
    pub apps: AppList,
}

/// The uses of a workflow, and whether it could run as [`preflight`] says. It takes one round trip for the uses and one for
/// the connections; one more, where another connection answers for one of them.
///
/// # Errors
/// The workflow used no connection that the caller sees.
pub async fn load_details<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    workflow: &str,
    request: &ResolveRequest,
) -> Result<WorkflowDetails> {
    let also = app_list::app_list_statements(caller.workspace()).into();
    let (uses, answers) = list_uses_of(context, caller, workflow, ("", ""), also).await?;
    let (uses, complete) = keep_seen(caller, uses);
    let preflight = preflight_uses(context, caller, &uses, complete, request).await?;
    Ok(WorkflowDetails { uses, preflight, apps: app_list::read_app_list(context, &answers)? })
}

/// The uses of connections that exist for the caller, and whether all were read.
fn keep_seen(caller: &Caller<'_>, mut uses: Vec<WorkflowUse>) -> (Vec<WorkflowUse>, bool) {
    let complete = uses.len() <= usize::try_from(MOST_USES).unwrap_or(usize::MAX);
    uses.retain(|one| caller.sees_used_connection(&one.connection));
    (uses, complete)
}

async fn preflight_uses<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    uses: &[WorkflowUse],
    mut complete: bool,
    request: &ResolveRequest,
) -> Result<Preflight> {
    let mut changes: BTreeMap<ConnectionId, Vec<StepChange>> = BTreeMap::new();
    for one in uses {
        changes.entry(one.connection.id.clone()).or_default().extend(one.change.clone());
    }
    let mut steps = steps_of_connections(uses);
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
fn steps_of_connections(uses: &[WorkflowUse]) -> BTreeMap<ConnectionId, BTreeSet<String>> {
    let last_uses = last_use_of_steps(uses);
    let mut found: BTreeMap<ConnectionId, BTreeSet<String>> = BTreeMap::new();
    for WorkflowUse { recorded, connection, .. } in uses {
        if is_of_last_day(recorded.last_used_at, last_uses.get(recorded.step.as_str()).copied()) {
            found.entry(connection.id.clone()).or_default().insert(recorded.step.clone());
        }
    }
    found
}
