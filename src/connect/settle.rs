//! What a grant becomes: a new connection, a repaired one, or a question to the person.
//!
//! Owns names, duplicates and the choice between accounts. A grant that waits for a choice is sealed
//! in its flow's row for ten minutes, choosable only by the browser that began the flow. What is not
//! chosen is discarded, and revoked where that kills nothing else.

use std::collections::BTreeMap;

use crate::app::App;
use crate::connection::{Account, Connection, Status};
use crate::core::Core;
use crate::credential::Credential;
use crate::disconnect;
use crate::error::{Code, Error, Result};
use crate::ids::{ConnectionId, LinkId};
use crate::ports::{Database, Ports, Statement};
use crate::refresh;
use crate::registry;
use crate::resolve::cached;
use crate::store::authorizations::{self, Authorization, Outcome, Pending, Question};
use crate::store::links::{self, LinkStatus, OnDuplicate};
use crate::store::{clients, connections, events};
use crate::time::Timestamp;

use super::{Failure, actor, place};

/// Seconds a grant waits for a choice.
const CHOICE_TIME: i64 = 600;
/// Seconds a grant waits for an embedding product's confirmation.
const CONFIRM_TIME: i64 = 3600;
/// Characters of a name, at most.
pub const LONGEST_NAME: usize = 100;

/// What an app granted.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The tokens.
    pub credential: Credential,
    /// Whose account it is.
    pub account: Option<Account>,
    /// The scopes.
    pub granted: Vec<String>,
    /// End of the access token.
    pub expires_at: Option<Timestamp>,
    /// End of the refresh token.
    pub refresh_expires_at: Option<Timestamp>,
    /// When it was obtained.
    pub obtained_at: Timestamp,
}

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

/// Where a grant goes.
enum Target {
    New,
    Repair(Box<Connection>),
}

/// Decides what becomes of a grant. Answers why it could not become anything.
pub async fn settle<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    grant: Grant,
) -> Result<Option<Failure>> {
    let question = match &flow.connection {
        Some(id) => {
            let Some(connection) = connections::get(core.db(), &flow.workspace, id).await? else {
                return discard_for(core, flow, app, &grant, Failure::ConnectionGone).await;
            };
            if is_same(connection.account.as_ref(), grant.account.as_ref()) {
                return apply(core, flow, app, &grant, Target::Repair(Box::new(connection))).await;
            }
            Question::OtherAccount { before: connection.account }
        }
        None => match duplicate(core, flow, &grant).await? {
            None | Some((OnDuplicate::Create, _)) => return apply(core, flow, app, &grant, Target::New).await,
            Some((OnDuplicate::Reuse, existing)) => {
                return apply(core, flow, app, &grant, Target::Repair(Box::new(existing))).await;
            }
            Some((OnDuplicate::Ask, existing)) => Question::Duplicate { existing: existing.id, name: existing.name },
        },
    };
    hold(core, flow, &grant, Some(question), Outcome::Undecided, None, CHOICE_TIME).await?;
    Ok(None)
}

/// Two unknown accounts are not the same account.
fn is_same(before: Option<&Account>, now: Option<&Account>) -> bool {
    matches!((before, now), (Some(before), Some(now)) if before.id == now.id)
}

async fn duplicate<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    grant: &Grant,
) -> Result<Option<(OnDuplicate, Connection)>> {
    let Some(account) = &grant.account else { return Ok(None) };
    let Some(existing) =
        connections::same_account(core.db(), &flow.workspace, &flow.app, &account.id, flow.user.as_ref()).await?
    else {
        return Ok(None);
    };
    let wish = match &flow.link {
        None => OnDuplicate::Ask,
        Some(id) => {
            links::get(core.db(), &flow.workspace, id).await?.map_or(OnDuplicate::Ask, |link| link.on_duplicate)
        }
    };
    Ok(Some((wish, existing)))
}

async fn discard_for<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    grant: &Grant,
    failure: Failure,
) -> Result<Option<Failure>> {
    if let Some(client) = clients::get(core.db(), &flow.workspace, &flow.client).await? {
        let account = grant.account.as_ref().map(|account| account.id.as_str());
        disconnect::discard(core, app, &client, account, &grant.credential).await;
    }
    Ok(Some(failure))
}

async fn hold<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    grant: &Grant,
    question: Option<Question>,
    outcome: Outcome,
    target: Option<&ConnectionId>,
    seconds: i64,
) -> Result<()> {
    let pending = Pending {
        question,
        account: grant.account.clone(),
        granted: grant.granted.clone(),
        expires_at: grant.expires_at.map(Timestamp::unix),
        refresh_expires_at: grant.refresh_expires_at.map(Timestamp::unix),
        obtained_at: grant.obtained_at.unix(),
    };
    let sealed = grant.credential.seal(
        &core.config.ring,
        core.ports.random(),
        &place(&flow.workspace, &flow.id, "sealed_grant"),
    )?;
    let mut statements =
        vec![authorizations::hold(&flow.id, outcome, &sealed, &pending, target, core.now().plus(seconds))];
    if let (Outcome::AwaitingConfirmation, Some(link), Some(target)) = (outcome, &flow.link, target) {
        statements.push(links::end(
            &flow.workspace,
            link,
            LinkStatus::AwaitingConfirmation,
            target,
            Some(&flow.id),
            core.now(),
        ));
    }
    core.db().batch(statements).await?;
    Ok(())
}

fn held_grant<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<Grant> {
    let ended = || Error::new(Code::LinkEnded, "The time to choose is over. Please connect again.");
    let (Some(sealed), Some(pending)) = (&flow.sealed_grant, &flow.pending) else { return Err(ended()) };
    let credential = Credential::open(&core.config.ring, &place(&flow.workspace, &flow.id, "sealed_grant"), sealed)
        .map_err(|_| ended())?;
    Ok(Grant {
        credential,
        account: pending.account.clone(),
        granted: pending.granted.clone(),
        expires_at: pending.expires_at.map(Timestamp::from_unix),
        refresh_expires_at: pending.refresh_expires_at.map(Timestamp::from_unix),
        obtained_at: Timestamp::from_unix(pending.obtained_at),
    })
}

/// Does what the person chose. `flow` was read for this browser's session.
pub async fn choose<P: Ports>(core: &Core<P>, flow: &Authorization, choice: Choice) -> Result<()> {
    let question = flow.pending.as_ref().and_then(|pending| pending.question.clone());
    let (Some(question), Outcome::Undecided) = (question, flow.outcome) else {
        return Err(Error::new(Code::Conflict, "There is nothing left to choose here."));
    };
    let grant = held_grant(core, flow)?;
    let app = registry::at_revision(core, &flow.workspace, &flow.app, flow.app_revision).await?;
    let target = match (choice, &question) {
        (Choice::Keep, _) => None,
        (Choice::Both, Question::Duplicate { .. }) => Some(Target::New),
        (Choice::Switch, Question::OtherAccount { .. }) => Some(target(core, flow, flow.connection.as_ref()).await?),
        (Choice::Reuse, Question::Duplicate { existing, .. }) => Some(target(core, flow, Some(existing)).await?),
        (Choice::Switch | Choice::Reuse | Choice::Both, _) => {
            return Err(Error::new(Code::Conflict, "That is not one of the choices."));
        }
    };
    let to = if target.is_some() { Outcome::Done } else { Outcome::Discarded };
    if !authorizations::decide(core.db(), &flow.id, Outcome::Undecided, to, core.now()).await? {
        return Err(Error::new(Code::LinkEnded, "The time to choose is over, or it was chosen elsewhere."));
    }
    let failure = match target {
        None => discard_for(core, flow, &app, &grant, Failure::Conflict).await.map(|_| None)?,
        Some(target) => apply(core, flow, &app, &grant, target).await?,
    };
    if let Some(failure) = failure {
        core.db().batch(vec![authorizations::end(&flow.id, Outcome::Failed, Some(failure.as_str()), None)]).await?;
    }
    Ok(())
}

async fn target<P: Ports>(core: &Core<P>, flow: &Authorization, id: Option<&ConnectionId>) -> Result<Target> {
    let id = id.ok_or_else(Error::connection_not_found)?;
    let connection = connections::get(core.db(), &flow.workspace, id).await?.ok_or_else(Error::connection_not_found)?;
    Ok(Target::Repair(Box::new(connection)))
}

async fn apply<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    grant: &Grant,
    target: Target,
) -> Result<Option<Failure>> {
    let confirm = match &flow.link {
        None => false,
        Some(id) => links::get(core.db(), &flow.workspace, id).await?.is_some_and(|link| link.confirm),
    };
    match target {
        Target::New => insert(core, flow, app, grant, confirm).await.map(|()| None),
        // The old credential goes on serving until the embedding product has confirmed the person.
        Target::Repair(connection) if confirm => {
            hold(core, flow, grant, None, Outcome::AwaitingConfirmation, Some(&connection.id), CONFIRM_TIME).await?;
            Ok(None)
        }
        Target::Repair(connection) => repair(core, flow, app, grant, *connection).await,
    }
}

async fn insert<P: Ports>(core: &Core<P>, flow: &Authorization, app: &App, grant: &Grant, confirm: bool) -> Result<()> {
    let now = core.now();
    let id = ConnectionId::random(core.ports.random())?;
    let status = if confirm { Status::AwaitingConfirmation } else { Status::Connected };
    let name = free_name(core, flow, app, grant.account.as_ref()).await?;
    let mut new = Connection {
        sealed_credential: Some(grant.credential.seal(
            &core.config.ring,
            core.ports.random(),
            &Credential::place(&flow.workspace, &id, 1),
        )?),
        id,
        workspace: flow.workspace.clone(),
        app: flow.app.clone(),
        app_revision: flow.app_revision,
        client: flow.client.clone(),
        name,
        user: flow.user.clone(),
        metadata: BTreeMap::new(),
        allowed_workflows: None,
        account: grant.account.clone(),
        scopes_requested: flow.scopes.clone(),
        scopes_granted: grant.granted.clone(),
        created_at: now,
        connected_at: grant.obtained_at,
        last_used_at: None,
        generation: 1,
        version: 1,
        status,
        reason: None,
        expires_at: grant.expires_at,
        refreshable: grant.credential.refresh_token.is_some(),
        refreshed_at: None,
        refresh_expires_at: grant.refresh_expires_at,
        intent: None,
        last_attempt: None,
        ambiguous_token_hash: None,
        next_attempt_at: Timestamp::from_unix(0),
        failures: 0,
        last_error: None,
        checked_at: None,
        check_evidence: None,
        next_check_at: None,
    };
    new.next_check_at = Some(refresh::next_check_after(now, &new));
    let mut statements = vec![
        connections::insert(&new),
        authorizations::end(&flow.id, Outcome::Done, None, Some(&new.id)),
        core.event(&flow.workspace, &new.id, "connected", &actor(flow), None)?,
    ];
    statements.extend(flow.link.as_ref().map(|link| end_link(core, flow, link, &new.id, confirm)));
    core.db().batch(statements).await?;
    Ok(())
}

fn end_link<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    link: &LinkId,
    result: &ConnectionId,
    confirm: bool,
) -> Statement {
    let status = if confirm { LinkStatus::AwaitingConfirmation } else { LinkStatus::Used };
    links::end(&flow.workspace, link, status, result, None, core.now())
}

/// Gives a connection a new generation of credential; id, name, uses and policy stay.
async fn repair<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    grant: &Grant,
    old: Connection,
) -> Result<Option<Failure>> {
    let now = core.now();
    let next_generation = old.generation + 1;
    let place = Credential::place(&old.workspace, &old.id, next_generation);
    let mut new = Connection {
        app_revision: flow.app_revision,
        client: flow.client.clone(),
        account: grant.account.clone(),
        scopes_requested: flow.scopes.clone(),
        scopes_granted: grant.granted.clone(),
        connected_at: grant.obtained_at,
        status: if old.status == Status::AwaitingConfirmation { old.status } else { Status::Connected },
        sealed_credential: Some(grant.credential.seal(&core.config.ring, core.ports.random(), &place)?),
        expires_at: grant.expires_at,
        refreshable: grant.credential.refresh_token.is_some(),
        refresh_expires_at: grant.refresh_expires_at,
        ..old.clone()
    };
    new.next_check_at = Some(refresh::next_check_after(now, &new));
    let switched = !is_same(old.account.as_ref(), grant.account.as_ref());
    let event = if switched { "account_switched" } else { "reconnected" };
    // One transaction, each statement on the heels of the one before: a lost race changes nothing at all.
    let told = core.event(&flow.workspace, &old.id, event, &actor(flow), None)?;
    let mut statements = vec![
        connections::reconnect(&new, old.generation),
        events::if_changed(told),
        authorizations::done_if_changed(&flow.id, &old.id),
    ];
    statements.extend(flow.link.as_ref().map(|link| links::used_if_changed(&flow.workspace, link, &old.id, now)));
    let written = core.db().batch(statements).await?;
    if written.first().is_none_or(|rows| rows.changes == 0) {
        return discard_for(core, flow, app, grant, Failure::Conflict).await;
    }
    cached::forget_connection(core, &old.id).await;
    if switched {
        discard_old(core, app, &old).await;
    }
    Ok(None)
}

/// The grant a connection had for another account: nobody holds it any more.
async fn discard_old<P: Ports>(core: &Core<P>, app: &App, old: &Connection) {
    let place = Credential::place(&old.workspace, &old.id, old.generation);
    let credential =
        old.sealed_credential.as_deref().and_then(|sealed| Credential::open(&core.config.ring, &place, sealed).ok());
    let client = clients::get(core.db(), &old.workspace, &old.client).await.ok().flatten();
    if let (Some(credential), Some(client)) = (credential, client) {
        disconnect::discard(core, app, &client, old.account.as_ref().map(|account| account.id.as_str()), &credential)
            .await;
    }
}

/// The embedding product has confirmed the person: the grant that waited is stored.
pub async fn confirm<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<Option<Failure>> {
    let grant = held_grant(core, flow)?;
    let app = registry::at_revision(core, &flow.workspace, &flow.app, flow.app_revision).await?;
    let Some(id) = &flow.connection else { return Ok(Some(Failure::ConnectionGone)) };
    let Some(connection) = connections::get(core.db(), &flow.workspace, id).await? else {
        return discard_for(core, flow, &app, &grant, Failure::ConnectionGone).await;
    };
    if !authorizations::decide(core.db(), &flow.id, Outcome::AwaitingConfirmation, Outcome::Done, core.now()).await? {
        return Err(Error::new(Code::Conflict, "This was confirmed before, or its time is over."));
    }
    repair(core, flow, &app, &grant, connection).await
}

/// A name that tells app and account, with a number where it is taken.
async fn free_name<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    account: Option<&Account>,
) -> Result<String> {
    let name = account.map_or_else(|| app.name.clone(), |account| format!("{} ({})", app.name, account.label));
    let name: String = name.chars().take(LONGEST_NAME - 4).collect();
    let taken = connections::names_like(core.db(), &flow.workspace, &flow.app, &name).await?;
    if !taken.contains(&name) {
        return Ok(name);
    }
    let numbered = (2..1000).map(|number| format!("{name} {number}")).find(|candidate| !taken.contains(candidate));
    Ok(numbered.unwrap_or(name))
}
