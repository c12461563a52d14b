//! A waiting grant's end: a person chooses, an embedding product confirms, or the time is over.
//!
//! Owns which choice answers which question; a choice is only the browser's that began the flow. Refuses a second
//! decision: whoever comes later hears that it was decided.

use crate::app::App;
use crate::connection::Connection;
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ids::ConnectionId;
use crate::ports::{Database, Ports};
use crate::registry;
use crate::store::authorizations::{self, Authorization, Outcome, Question};
use crate::store::{self, connections};

use super::apply::{Target, apply, repair};
use super::given_up::{decided, discard, give_up};
use super::held::{held_grant, waiting_grant};
use super::{Case, Failure, reach, reused};

/// What a person chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Leave the connection with its old account.
    Keep,
    /// Give the connection the new account.
    Switch,
    /// Use the connection that is there already, with the new grant.
    Reuse,
    /// Make a second connection to the same account.
    Both,
}

impl Choice {
    /// Reads a form's value.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "keep" => Some(Self::Keep),
            "switch" => Some(Self::Switch),
            "reuse" => Some(Self::Reuse),
            "both" => Some(Self::Both),
            _ => None,
        }
    }
}

/// Does what the person chose. `flow` was read for this browser's session. What fails on the way leaves
/// the grant where it waits, to be chosen again.
pub async fn choose<P: Ports>(core: &Core<P>, flow: &Authorization, choice: Choice) -> Result<()> {
    let question = flow.pending.as_ref().and_then(|pending| pending.question.clone());
    let (Some(question), Outcome::Undecided) = (question, flow.outcome) else {
        return Err(Error::new(Code::Conflict, "There is nothing left to choose here."));
    };
    let grant = held_grant(core, flow)?;
    let app = app_of(core, flow).await?;
    let mut case = Case::read(core, flow, &app, grant).await?;
    let target = match (choice, &question) {
        (Choice::Keep, _) => return keep(core, &case).await,
        (Choice::Both, Question::Duplicate { .. }) => Target::New,
        (Choice::Switch, Question::OtherAccount { .. }) => {
            Target::Repair(Box::new(connection(core, flow, flow.connection.as_ref()).await?))
        }
        (Choice::Reuse, Question::Duplicate { existing, .. }) => {
            let existing = connection(core, flow, Some(existing)).await?;
            if !reach::adds_nothing(core, &case, &existing).await? {
                return Err(Error::new(
                    Code::Conflict,
                    "The addresses of that connection are others than those of this one. Keep both, or close this page.",
                ));
            }
            reused(core, &mut case, existing)
        }
        (Choice::Switch | Choice::Reuse | Choice::Both, _) => {
            return Err(Error::new(Code::Conflict, "That is not one of the choices."));
        }
    };
    apply(core, &case, target).await?;
    Ok(())
}

async fn keep<P: Ports>(core: &Core<P>, case: &Case<'_>) -> Result<()> {
    let taken = authorizations::decide(&case.flow.id, case.flow.outcome, Outcome::Discarded, core.now());
    if !store::all_or_nothing(core.db(), vec![taken], vec![]).await? {
        return Err(decided());
    }
    discard(core, case).await
}

async fn connection<P: Ports>(core: &Core<P>, flow: &Authorization, id: Option<&ConnectionId>) -> Result<Connection> {
    let id = id.ok_or_else(Error::connection_not_found)?;
    connections::get(core.db(), &flow.workspace, id).await?.ok_or_else(Error::connection_not_found)
}

/// The embedding product has confirmed the person: the grant that waited is stored, unless the
/// connection became something else while it waited.
pub async fn confirm<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<Option<Failure>> {
    if flow.outcome != Outcome::AwaitingConfirmation {
        return Err(decided());
    }
    let grant = held_grant(core, flow)?;
    let app = app_of(core, flow).await?;
    let case = Case { flow, link: None, app: &app, grant };
    let connection = match &flow.connection {
        None => None,
        Some(id) => connections::get(core.db(), &flow.workspace, id).await?,
    };
    match connection {
        None => give_up(core, &case, Failure::ConnectionGone).await,
        Some(moved) if flow.generation != Some(moved.generation) => give_up(core, &case, Failure::Conflict).await,
        Some(connection) => Box::pin(repair(core, &case, connection)).await,
    }
}

/// Ends a flow whose time to choose or confirm is over: its grant is nobody's, and revoked where that
/// kills nothing else.
pub async fn expire<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<()> {
    if let Some(grant) = waiting_grant(core, flow) {
        let app = app_of(core, flow).await?;
        discard(core, &Case { flow, link: None, app: &app, grant }).await?;
    }
    core.db().batch(vec![authorizations::end(&flow.id, Outcome::Discarded, None, None)]).await?;
    Ok(())
}

/// The app, by the way that a flow walks.
async fn app_of<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<std::rc::Rc<App>> {
    registry::way(&*registry::at_revision(core, &flow.workspace, &flow.app, flow.app_revision).await?, &flow.way)
}
