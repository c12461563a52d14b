//! A grant that waits for a decision, sealed in its flow's row.
//!
//! Owns writing it to that row and reading it back, and how long it waits. After that time it can only be dropped.

use crate::connect::flow_seal_context;
use crate::connection::Connection;
use crate::context::Context;
use crate::credential::Credential;
use crate::error::Result;
use crate::frozen;
use crate::ports::{Ports, Statement};
use crate::preconditions::Condition;
use crate::store;
use crate::store::authorizations::{self, Flow, FlowOutcome, PendingGrant, Question};
use crate::store::links::LinkStatus;
use crate::time::Timestamp;

use super::discard::{already_decided_error, fail_on_conflict};
use super::{CompleteResult, Completion, NewGrant};

/// Seconds for which a grant waits for a choice.
pub const CHOICE_TTL: i64 = 600;
/// Seconds for which a grant waits for an embedding product's confirmation.
const CONFIRMATION_TTL: i64 = 3600;

/// The statement that stores the pending grant in its flow.
pub(super) fn pending_grant_statement<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    question: Option<Question>,
    outcome: FlowOutcome,
    target: Option<&Connection>,
    seconds: i64,
) -> Result<Statement> {
    let (flow, grant) = (completion.flow, &completion.grant);
    let pending = PendingGrant {
        question,
        account: grant.account.clone(),
        requested: Some(grant.scopes_requested.clone()),
        granted: grant.scopes_granted.clone(),
        expires_at: grant.expires_at.map(Timestamp::unix),
        refresh_expires_at: grant.refresh_expires_at.map(Timestamp::unix),
        refresh_idle_until: grant.refresh_idle_until.map(Timestamp::unix),
        grant_expires_at: grant.grant_expires_at.map(Timestamp::unix),
        variables: grant.variables.clone(),
        destinations: grant.destinations.clone(),
        refreshable: Some(grant.refreshable),
        name: grant.name.clone(),
        metadata: grant.metadata.clone(),
        obtained_at: grant.obtained_at.unix(),
    };
    let sealed = grant.credential.seal(
        &context.config.key_ring,
        context.ports.random(),
        &flow_seal_context(&flow.workspace, &flow.id, frozen::PENDING_GRANT),
    )?;
    Ok(authorizations::store_pending_grant(&flow.id, outcome, &sealed, &pending, target, context.now().plus(seconds)))
}

pub(super) async fn await_confirmation<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    target: &Connection,
) -> CompleteResult<()> {
    let outcome = FlowOutcome::AwaitingConfirmation;
    let must = completion.take_statements(outcome, LinkStatus::AwaitingConfirmation, &target.id, context.now());
    let held = pending_grant_statement(context, completion, None, outcome, Some(target), CONFIRMATION_TTL)?;
    if store::all_or_nothing(context.db(), must, vec![held]).await? {
        return Ok(());
    }
    fail_on_conflict(context, completion, Some(&target.id)).await
}

pub(super) fn open_unexpired_grant<P: Ports>(context: &Context<P>, flow: &Flow) -> Result<NewGrant> {
    if context.now() >= flow.expires_at {
        return Err(already_decided_error());
    }
    open_pending_grant(context, flow).ok_or_else(already_decided_error)
}

/// The pending grant of a flow, expired or not.
pub(super) fn open_pending_grant<P: Ports>(context: &Context<P>, flow: &Flow) -> Option<NewGrant> {
    let (sealed, pending) = (flow.sealed_grant.as_ref()?, flow.pending.as_ref()?);
    let seal_context = flow_seal_context(&flow.workspace, &flow.id, frozen::PENDING_GRANT);
    let credential = Credential::open(&context.config.key_ring, &seal_context, sealed).ok()?;
    let refreshable = pending.refreshable.unwrap_or_else(|| credential.is_refreshable());
    Some(NewGrant {
        credential,
        account: pending.account.clone(),
        scopes_requested: pending.requested.clone().unwrap_or_else(|| flow.scopes.clone()),
        scopes_granted: pending.granted.clone(),
        expires_at: pending.expires_at.map(Timestamp::from_unix),
        refresh_expires_at: pending.refresh_expires_at.map(Timestamp::from_unix),
        refresh_idle_until: pending.refresh_idle_until.map(Timestamp::from_unix),
        grant_expires_at: pending.grant_expires_at.map(Timestamp::from_unix),
        variables: pending.variables.clone(),
        destinations: pending.destinations.clone(),
        refreshable,
        name: pending.name.clone(),
        metadata: pending.metadata.clone(),
        actor: None,
        condition: Condition::default(),
        // Only a grant with a person's decision is pending.
        checked: true,
        imported: false,
        obtained_at: Timestamp::from_unix(pending.obtained_at),
    })
}
