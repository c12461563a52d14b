//! Flows, for the browser that began them: how far one is, what came of it, and what its person can still do.
//!
//! Owns that only this browser's sessions reach a flow. Refuses to decide anything: that is
//! [`crate::connect::complete`]'s.

use std::rc::Rc;

use crate::app::AuthMethod;
use crate::connect::FlowFailure;
use crate::connect::link;
use crate::connections::{self, GrantUsage};
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{ConnectionId, FlowId};
use crate::ports::Ports;
use crate::registry;
use crate::store;
use crate::store::authorizations::{self, Flow, FlowOutcome, Question};
use crate::store::clients;
use crate::store::links::{self, Link, LinkStatus};
use crate::store::uses;

/// Seconds within which an app's callback is handled, or never: no request takes longer.
const CALLBACK_TIME_LIMIT: i64 = 60;
/// Uses of a connection that are read for the names of its workflows.
const USES_READ: i64 = 200;

/// There is no such flow, or another browser began it.
pub fn flow_not_found() -> Error {
    Error::not_found("flow of this browser")
}

/// A flow that one of these sessions began.
///
/// # Errors
/// `not_found` where none of them did.
pub async fn load_flow<P: Ports>(context: &Context<P>, session_hashes: &[String], id: &FlowId) -> Result<Flow> {
    authorizations::get(context.db(), id, session_hashes).await?.ok_or_else(flow_not_found)
}

/// How far a flow is.
#[derive(Debug)]
pub enum FlowStep {
    /// A person must choose.
    Choice(PendingChoice),
    /// The app's answer is being taken, by the visit that came first.
    InProgress,
    /// Nothing more happens by itself.
    Report(FlowReport),
}

/// What a person must choose about.
#[derive(Debug)]
pub struct PendingChoice {
    /// The question.
    pub question: Question,
    /// The label of the account that the new grant is for.
    pub account: Option<String>,
    /// The name of the connection that would get another account.
    pub connection_name: Option<String>,
    /// That account's grants, where a second connection would come near the app's limit.
    pub grant_usage: Option<GrantUsage>,
    /// Workflows that use the connection that would get another account. None for whoever came by a link: they are not of
    /// the workspace.
    pub workflows: Vec<String>,
    /// Whether there may be more.
    pub has_more_workflows: bool,
}

/// What came of a flow.
#[derive(Debug)]
pub struct FlowReport {
    /// The label of the account that was connected.
    pub account: Option<String>,
    /// Requested scopes that were not granted.
    pub missing_scopes: Vec<String>,
    /// Whether its person can try again: the link that it came by may have ended.
    pub repeatable: bool,
    /// Whether the link that it came by may be used once more, to allow what is missing.
    pub may_ask_again: bool,
    /// Where an administrator must approve the client at the app: the app's id of it.
    pub client_id: Option<String>,
}

/// How far a flow is, and the auth method that it walks.
pub async fn load_flow_step<P: Ports>(context: &Context<P>, flow: &Flow) -> Result<(Rc<AuthMethod>, FlowStep)> {
    let app = registry::load_app_at_revision(context, &flow.workspace, &flow.app, flow.app_revision).await?;
    let auth_method = registry::auth_method(&app, &flow.auth_method)?;
    let question = flow.pending.as_ref().and_then(|pending| pending.question.as_ref());
    let now = context.now();
    let step = match (flow.outcome, question) {
        (FlowOutcome::Undecided, Some(question)) if now < flow.expires_at => {
            FlowStep::Choice(load_choice(context, flow, question, &auth_method).await?)
        }
        (FlowOutcome::Pending, _) if flow.used_at.is_some_and(|used| now.since(used) < CALLBACK_TIME_LIMIT) => {
            FlowStep::InProgress
        }
        _ => FlowStep::Report(load_report(context, flow, &auth_method).await?),
    };
    Ok((auth_method, step))
}

async fn load_choice<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    question: &Question,
    auth_method: &AuthMethod,
) -> Result<PendingChoice> {
    let account = flow.pending.as_ref().and_then(|pending| pending.account.as_ref());
    let connection_name = match (question, &flow.connection) {
        (Question::OtherAccount { .. }, Some(id)) => {
            store::connections::get(context.db(), &flow.workspace, id).await?.map(|connection| connection.name)
        }
        _ => None,
    };
    let grant_usage = match (question, &flow.client, account) {
        (Question::Duplicate { .. }, Some(client), Some(account)) => {
            connections::load_grant_usage(context, &flow.workspace, auth_method, client, &account.id).await?
        }
        _ => None,
    };
    let account = account.map(|account| account.label.clone());
    let (workflows, has_more_workflows) = match (question, &flow.connection) {
        (Question::OtherAccount { .. }, Some(id)) if flow.link.is_none() => list_workflows(context, flow, id).await?,
        _ => (vec![], false),
    };
    let question = question.clone();
    Ok(PendingChoice { question, account, connection_name, grant_usage, workflows, has_more_workflows })
}

async fn list_workflows<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    connection: &ConnectionId,
) -> Result<(Vec<String>, bool)> {
    let used = uses::list(context.db(), &flow.workspace, connection, ("", ""), USES_READ).await?;
    // They are sorted by workflow.
    let mut workflows: Vec<String> = used.data.into_iter().map(|one| one.workflow).collect();
    workflows.dedup();
    Ok((workflows, used.next.is_some()))
}

async fn load_report<P: Ports>(context: &Context<P>, flow: &Flow, auth_method: &AuthMethod) -> Result<FlowReport> {
    let (account, missing_scopes) = load_grant(context, flow).await?;
    let link = find_usable_link(context, flow).await?;
    let repeatable = flow.link.is_none() || link.is_some();
    let may_ask_again = link.is_some_and(|link| link.status == LinkStatus::Used);
    let client_id = load_client_to_approve(context, flow, auth_method).await?;
    Ok(FlowReport { account, missing_scopes, repeatable, may_ask_again, client_id })
}

/// The account's label, and what was asked for and not granted.
async fn load_grant<P: Ports>(context: &Context<P>, flow: &Flow) -> Result<(Option<String>, Vec<String>)> {
    if let (FlowOutcome::AwaitingConfirmation, Some(pending)) = (flow.outcome, &flow.pending) {
        let requested = pending.requested.as_ref().unwrap_or(&flow.scopes);
        let missing = requested.iter().filter(|scope| !pending.granted.contains(scope));
        return Ok((pending.account.as_ref().map(|account| account.label.clone()), missing.cloned().collect()));
    }
    let Some(id) = &flow.connection else { return Ok((None, vec![])) };
    let Some(connection) = store::connections::get(context.db(), &flow.workspace, id).await? else {
        return Ok((None, vec![]));
    };
    // A later account may belong to somebody else. Only a flow that waited for a person ends long after its callback.
    let ended = flow.used_at.filter(|_| flow.pending.is_none()).unwrap_or(flow.expires_at);
    if connection.connected_at > ended.plus(CALLBACK_TIME_LIMIT) {
        return Ok((None, vec![]));
    }
    let missing = connection.missing_scopes();
    Ok((connection.account.map(|account| account.label), missing))
}

async fn load_client_to_approve<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    auth_method: &AuthMethod,
) -> Result<Option<String>> {
    let is_needed = flow.error.as_deref() == Some(FlowFailure::ApprovalRequired.as_str())
        && auth_method.oauth_server().is_some_and(|server| server.approval.is_some());
    let Some(id) = flow.client.as_ref().filter(|_| is_needed) else { return Ok(None) };
    Ok(clients::get(context.db(), &flow.workspace, id).await?.map(|client| client.client_id))
}

/// A link that was used can be used once more if permissions are missing.
async fn find_usable_link<P: Ports>(context: &Context<P>, flow: &Flow) -> Result<Option<Link>> {
    let Some(id) = &flow.link else { return Ok(None) };
    let Some(link) = links::get(context.db(), &flow.workspace, id).await? else { return Ok(None) };
    if link.status == LinkStatus::Open {
        return Ok(Some(link).filter(|link| context.now() < link.expires_at));
    }
    link::find_to_use_again(context, link, &flow.session_hash).await
}

/// The link that a flow came by, for another try.
///
/// # Errors
/// `link_ended` where it can't be used any more.
pub async fn load_usable_link<P: Ports>(context: &Context<P>, flow: &Flow) -> Result<Link> {
    find_usable_link(context, flow).await?.ok_or_else(|| {
        Error::new(ErrorCode::LinkEnded, "This link was used or has expired. Ask whoever sent it for a new one.")
    })
}
