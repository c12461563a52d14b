//! A grant is dropped: why, and what is done about it at the app.
//!
//! Owns the order: a pending grant is first taken out of its flow, then revoked if that ends nothing else. Imported
//! tokens are not revoked.

use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::revocation::{self, RevocableCredential};
use crate::store::authorizations::{self, Flow, FlowOutcome};
use crate::store::{self, clients, connections, links};

use super::{CompleteResult, Completion, FlowFailure, load_link, require_open_link};

/// Drops the grant. A pending one is first taken out of its flow, which fails: a decision at the same moment must not
/// find it revoked.
pub(super) async fn fail_flow<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    failure: FlowFailure,
) -> CompleteResult<()> {
    let flow = completion.flow;
    if completion.is_pending() {
        let taken = authorizations::decide_pending_grant(&flow.id, flow.outcome, FlowOutcome::Failed, context.now());
        let mut then = vec![authorizations::end_flow(&flow.id, FlowOutcome::Failed, Some(failure.as_str()), None)];
        if flow.outcome == FlowOutcome::AwaitingConfirmation {
            then.extend(flow.link.as_ref().map(|link| links::mark_used_without_result(&flow.workspace, link)));
        }
        if !store::all_or_nothing(context.db(), vec![taken], then).await? {
            return Err(already_decided_error().into());
        }
    }
    discard_grant(context, completion).await?;
    Err(failure.into())
}

/// Nothing was applied, because the data has changed since it was read. Returns what changed.
pub(super) async fn fail_on_conflict<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    target: Option<&ConnectionId>,
) -> CompleteResult<()> {
    let flow = completion.flow;
    if completion.is_pending() {
        let now = authorizations::get_in_workspace(context.db(), &flow.workspace, &flow.id).await?;
        if now.is_none_or(|now| now.outcome != flow.outcome || now.sealed_grant.is_none()) {
            return Err(already_decided_error().into());
        }
    } else if is_completed(context, flow).await? {
        return Ok(());
    }
    let failure = find_conflict(context, flow, target).await?;
    fail_flow(context, completion, failure).await
}

/// What has changed since the flow was read.
async fn find_conflict<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    target: Option<&ConnectionId>,
) -> Result<FlowFailure> {
    let link = load_link(context, flow).await?;
    if flow.outcome == FlowOutcome::Pending {
        let now = authorizations::get_in_workspace(context.db(), &flow.workspace, &flow.id).await?;
        let ended = now.and_then(|now| FlowFailure::parse(now.error.as_deref()?));
        if ended == Some(FlowFailure::SessionEnded) {
            return Ok(FlowFailure::SessionEnded);
        }
    }
    Ok(
        if flow.outcome != FlowOutcome::AwaitingConfirmation
            && let Err(failure) = require_open_link(flow, link.as_ref())
        {
            failure
        } else if let Some(client) = &flow.client
            && clients::get(context.db(), &flow.workspace, client).await?.is_none()
        {
            FlowFailure::ClientRefused
        } else if let Some(id) = target
            && connections::get(context.db(), &flow.workspace, id).await?.is_none()
        {
            FlowFailure::ConnectionGone
        } else {
            FlowFailure::Conflict
        },
    )
}

/// Whether an earlier attempt was applied, although its answer was lost.
pub(super) async fn is_completed<P: Ports>(context: &Context<P>, flow: &Flow) -> Result<bool> {
    let now = authorizations::get_in_workspace(context.db(), &flow.workspace, &flow.id).await?;
    let is_settled = |one: Flow| {
        matches!(one.outcome, FlowOutcome::Done | FlowOutcome::AwaitingConfirmation | FlowOutcome::Undecided)
    };
    Ok(now.is_some_and(is_settled))
}

pub(super) async fn discard_grant<P: Ports>(context: &Context<P>, completion: &Completion<'_>) -> Result<()> {
    let Completion { flow, grant, .. } = completion;
    if grant.imported {
        return Ok(());
    }
    let client = match &flow.client {
        None => None,
        Some(id) => match clients::get(context.db(), &flow.workspace, id).await? {
            Some(client) => Some(client),
            None => return Ok(()),
        },
    };
    let account = grant.account.as_ref().map(|account| account.id.as_str());
    let destinations = grant.destinations.as_ref();
    let held =
        RevocableCredential { credential: &grant.credential, account, variables: &grant.variables, destinations };
    revocation::revoke_unused(context, completion.auth_method, &flow.workspace, client.as_ref(), &held).await;
    Ok(())
}

pub(super) fn already_decided_error() -> Error {
    Error::new(ErrorCode::LinkEnded, "The time to decide is over, or it was decided elsewhere.")
}
