//! The end of a pending grant: a person chooses, an embedding product confirms, or the time is over.
//!
//! Owns which choice answers which question. Only the browser that started the flow can choose. A second decision is
//! refused, and the caller is told that it was decided.

use crate::app::AuthMethod;
use crate::authorize;
use crate::connection::Connection;
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::ConnectionId;
use crate::ports::{Database, Ports};
use crate::registry;
use crate::store::authorizations::{self, Flow, FlowOutcome, Question};
use crate::store::{self, connections};

use super::apply::{GrantTarget, apply_grant, reconnect};
use super::discard::{already_decided_error, discard_grant, fail_flow};
use super::pending_grant::{open_pending_grant, open_unexpired_grant};
use super::{CompleteError, CompleteResult, Completion, FlowFailure, destination_check, reuse_target};

/// The choice of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Keep the connection with its old account.
    Keep,
    /// Give the connection the new account.
    SwitchAccount,
    /// Use the existing connection, with the new grant.
    Reuse,
    /// Create a second connection to the same account.
    KeepBoth,
}

impl Choice {
    /// Reads a form's value.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "keep" => Some(Self::Keep),
            "switch" => Some(Self::SwitchAccount),
            "reuse" => Some(Self::Reuse),
            "both" => Some(Self::KeepBoth),
            _ => None,
        }
    }
}

/// Carries out the choice. `flow` was read for this browser's session. After a failure the grant stays pending and can
/// be chosen again.
pub async fn apply_choice<P: Ports>(context: &Context<P>, flow: &Flow, choice: Choice) -> Result<()> {
    let question = flow.pending.as_ref().and_then(|pending| pending.question.clone());
    let (Some(question), FlowOutcome::Undecided) = (question, flow.outcome) else {
        return Err(Error::new(ErrorCode::Conflict, "There is nothing left to choose here."));
    };
    let grant = open_unexpired_grant(context, flow)?;
    let auth_method = load_auth_method(context, flow).await?;
    let mut completion = Completion::load(context, flow, &auth_method, grant).await?;
    let target = match (choice, &question) {
        (Choice::Keep, _) => return discard_new_grant(context, &completion).await,
        (Choice::KeepBoth, Question::Duplicate { .. }) => GrantTarget::NewConnection,
        (Choice::SwitchAccount, Question::OtherAccount { .. }) => {
            let connection = load_connection(context, flow, flow.connection.as_ref()).await?;
            if !authorize::flow_may_change(context, flow, &connection).await? {
                return Err(Error::connection_not_found());
            }
            GrantTarget::Reconnect(Box::new(connection))
        }
        (Choice::Reuse, Question::Duplicate { existing, .. }) => {
            let existing = load_connection(context, flow, Some(existing)).await?;
            if !authorize::has_same_owner(flow, &existing) {
                return Err(Error::connection_not_found());
            }
            if !destination_check::adds_no_destinations(context, &completion, &existing).await? {
                return Err(Error::new(
                    ErrorCode::Conflict,
                    "The addresses of that connection are others than those of this one. Keep both, or close this page.",
                ));
            }
            reuse_target(context, &mut completion, existing)
        }
        (Choice::SwitchAccount | Choice::Reuse | Choice::KeepBoth, _) => {
            return Err(Error::new(ErrorCode::Conflict, "This is not one of the choices."));
        }
    };
    match apply_grant(context, &completion, target).await {
        // The flow's own page explains a failure.
        Ok(()) | Err(CompleteError::Flow(_)) => Ok(()),
        Err(CompleteError::Internal(error)) => Err(error),
    }
}

async fn discard_new_grant<P: Ports>(context: &Context<P>, completion: &Completion<'_>) -> Result<()> {
    let taken = authorizations::decide_pending_grant(
        &completion.flow.id,
        completion.flow.outcome,
        FlowOutcome::Discarded,
        context.now(),
    );
    if !store::all_or_nothing(context.db(), vec![taken], vec![]).await? {
        return Err(already_decided_error());
    }
    discard_grant(context, completion).await
}

async fn load_connection<P: Ports>(context: &Context<P>, flow: &Flow, id: Option<&ConnectionId>) -> Result<Connection> {
    let id = id.ok_or_else(Error::connection_not_found)?;
    connections::get(context.db(), &flow.workspace, id).await?.ok_or_else(Error::connection_not_found)
}

/// The embedding product has confirmed the person: the grant that waited is stored, unless the
/// connection became something else while it waited.
///
/// # Errors
/// [`CompleteError::Flow`]: it became something else, and the grant was discarded.
pub async fn confirm<P: Ports>(context: &Context<P>, flow: &Flow) -> CompleteResult<()> {
    if flow.outcome != FlowOutcome::AwaitingConfirmation {
        return Err(already_decided_error().into());
    }
    let grant = open_unexpired_grant(context, flow)?;
    let auth_method = load_auth_method(context, flow).await?;
    let completion = Completion { flow, link: None, auth_method: &auth_method, grant };
    let connection = match &flow.connection {
        None => None,
        Some(id) => connections::get(context.db(), &flow.workspace, id).await?,
    };
    match connection {
        None => fail_flow(context, &completion, FlowFailure::ConnectionGone).await,
        Some(moved) if flow.generation != Some(moved.generation) => {
            fail_flow(context, &completion, FlowFailure::Conflict).await
        }
        Some(connection) => Box::pin(reconnect(context, &completion, connection)).await,
    }
}

/// Ends a flow whose time to choose or confirm is over: nobody uses its grant, and it is revoked if that ends nothing
/// else.
pub async fn expire_flow<P: Ports>(context: &Context<P>, flow: &Flow) -> Result<()> {
    if let Some(grant) = open_pending_grant(context, flow) {
        let auth_method = load_auth_method(context, flow).await?;
        discard_grant(context, &Completion { flow, link: None, auth_method: &auth_method, grant }).await?;
    }
    context.db().batch(vec![authorizations::end_flow(&flow.id, FlowOutcome::Discarded, None, None)]).await?;
    Ok(())
}

/// The app, by the auth method of a flow.
async fn load_auth_method<P: Ports>(context: &Context<P>, flow: &Flow) -> Result<std::rc::Rc<AuthMethod>> {
    registry::auth_method(
        &*registry::load_app_at_revision(context, &flow.workspace, &flow.app, flow.app_revision).await?,
        &flow.auth_method,
    )
}
