//! A grant that waits for somebody's word, sealed in its flow's row.
//!
//! Owns both ways between a grant and that row, and how long it waits. When its
//! time is over it refuses to hand it out, but to be discarded.

use crate::connect::place;
use crate::connection::Connection;
use crate::core::Core;
use crate::credential::Credential;
use crate::error::Result;
use crate::frozen;
use crate::ports::{Ports, Statement};
use crate::store;
use crate::store::authorizations::{self, Authorization, Outcome, Pending, Question};
use crate::store::links::LinkStatus;
use crate::time::Timestamp;

use super::given_up::{decided, lost};
use super::{Case, Failure, Grant};

/// Seconds a grant waits for a choice.
pub const CHOICE_TIME: i64 = 600;
/// Seconds a grant waits for an embedding product's confirmation.
const CONFIRM_TIME: i64 = 3600;

/// The statement that lets the grant wait in its flow.
pub(super) fn hold<P: Ports>(
    core: &Core<P>,
    case: &Case<'_>,
    question: Option<Question>,
    outcome: Outcome,
    target: Option<&Connection>,
    seconds: i64,
) -> Result<Statement> {
    let (flow, grant) = (case.flow, &case.grant);
    let pending = Pending {
        question,
        account: grant.account.clone(),
        requested: Some(grant.requested.clone()),
        granted: grant.granted.clone(),
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
        &core.config.ring,
        core.ports.random(),
        &place(&flow.workspace, &flow.id, frozen::PENDING_GRANT),
    )?;
    Ok(authorizations::hold(&flow.id, outcome, &sealed, &pending, target, core.now().plus(seconds)))
}

pub(super) async fn await_confirmation<P: Ports>(
    core: &Core<P>,
    case: &Case<'_>,
    target: &Connection,
) -> Result<Option<Failure>> {
    let outcome = Outcome::AwaitingConfirmation;
    let must = case.taken(outcome, LinkStatus::AwaitingConfirmation, &target.id, core.now());
    let held = hold(core, case, None, outcome, Some(target), CONFIRM_TIME)?;
    if store::all_or_nothing(core.db(), must, vec![held]).await? {
        return Ok(None);
    }
    lost(core, case, Some(&target.id)).await
}

pub(super) fn held_grant<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<Grant> {
    if core.now() >= flow.expires_at {
        return Err(decided());
    }
    waiting_grant(core, flow).ok_or_else(decided)
}

/// The grant that waits in a flow, in time or not.
pub(super) fn waiting_grant<P: Ports>(core: &Core<P>, flow: &Authorization) -> Option<Grant> {
    let (sealed, pending) = (flow.sealed_grant.as_ref()?, flow.pending.as_ref()?);
    let place = place(&flow.workspace, &flow.id, frozen::PENDING_GRANT);
    let credential = Credential::open(&core.config.ring, &place, sealed).ok()?;
    let refreshable = pending.refreshable.unwrap_or_else(|| credential.is_refreshable());
    Some(Grant {
        credential,
        account: pending.account.clone(),
        requested: pending.requested.clone().unwrap_or_else(|| flow.scopes.clone()),
        granted: pending.granted.clone(),
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
        // Only what a person sees to waits.
        proven: true,
        imported: false,
        obtained_at: Timestamp::from_unix(pending.obtained_at),
    })
}
