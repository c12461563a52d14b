//! A grant becomes nothing: why, and what is done about it at the app.
//!
//! Owns the order: one that waits is taken out of its flow first, then it is revoked where that kills nothing else.
//! Refuses to revoke tokens that were given elsewhere.

use crate::core::Core;
use crate::disconnect::{self, Held};
use crate::error::{Code, Error, Result};
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::store::authorizations::{self, Authorization, Outcome};
use crate::store::{self, clients, connections, links};

use super::{Case, Failure, link_failure, link_of};

/// The grant becomes nothing. One that waited is first taken out of its flow, which fails: whoever decides
/// at the same moment must not find it revoked.
pub(super) async fn give_up<P: Ports>(core: &Core<P>, case: &Case<'_>, failure: Failure) -> Result<Option<Failure>> {
    let flow = case.flow;
    if case.waits() {
        let taken = authorizations::decide(&flow.id, flow.outcome, Outcome::Failed, core.now());
        let mut then = vec![authorizations::end(&flow.id, Outcome::Failed, Some(failure.as_str()), None)];
        if flow.outcome == Outcome::AwaitingConfirmation {
            then.extend(flow.link.as_ref().map(|link| links::fruitless(&flow.workspace, link)));
        }
        if !store::all_or_nothing(core.db(), vec![taken], then).await? {
            return Err(decided());
        }
    }
    discard(core, case).await?;
    Ok(Some(failure))
}

/// Nothing was applied: what it builds on has changed since it was read. Tells what.
pub(super) async fn lost<P: Ports>(
    core: &Core<P>,
    case: &Case<'_>,
    target: Option<&ConnectionId>,
) -> Result<Option<Failure>> {
    let flow = case.flow;
    if case.waits() {
        let now = authorizations::get_in_workspace(core.db(), &flow.workspace, &flow.id).await?;
        if now.is_none_or(|now| now.outcome != flow.outcome || now.sealed_grant.is_none()) {
            return Err(decided());
        }
    } else if became_something(core, flow).await? {
        return Ok(None);
    }
    let link = link_of(core, flow).await?;
    let of_link = link_failure(flow, link.as_ref()).filter(|_| flow.outcome != Outcome::AwaitingConfirmation);
    let failure = if let Some(failure) = of_link {
        failure
    } else if let Some(client) = &flow.client
        && clients::get(core.db(), &flow.workspace, client).await?.is_none()
    {
        Failure::ClientRefused
    } else if let Some(id) = target
        && connections::get(core.db(), &flow.workspace, id).await?.is_none()
    {
        Failure::ConnectionGone
    } else {
        Failure::Conflict
    };
    give_up(core, case, failure).await
}

/// Whether a try of before was applied, though its answer was lost.
pub(super) async fn became_something<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<bool> {
    let now = authorizations::get_in_workspace(core.db(), &flow.workspace, &flow.id).await?;
    let is_settled =
        |one: Authorization| matches!(one.outcome, Outcome::Done | Outcome::AwaitingConfirmation | Outcome::Undecided);
    Ok(now.is_some_and(is_settled))
}

pub(super) async fn discard<P: Ports>(core: &Core<P>, case: &Case<'_>) -> Result<()> {
    let Case { flow, grant, .. } = case;
    if grant.imported {
        return Ok(());
    }
    let client = match &flow.client {
        None => None,
        Some(id) => match clients::get(core.db(), &flow.workspace, id).await? {
            Some(client) => Some(client),
            None => return Ok(()),
        },
    };
    let account = grant.account.as_ref().map(|account| account.id.as_str());
    let destinations = grant.destinations.as_ref();
    let held = Held { credential: &grant.credential, account, variables: &grant.variables, destinations };
    disconnect::discard(core, case.app, (&flow.workspace, client.as_ref()), &held).await;
    Ok(())
}

pub(super) fn decided() -> Error {
    Error::new(Code::LinkEnded, "The time to decide is over, or it was decided elsewhere.")
}
