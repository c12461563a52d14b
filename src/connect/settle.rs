//! What a grant becomes: a new connection, a repaired one, or a question to the person.
//!
//! Owns names, duplicates and the choice between accounts. A grant that waits for a choice is sealed
//! in its flow's row for ten minutes, choosable only by the browser that began the flow. What is not
//! chosen is discarded, and revoked where that kills nothing else. Whatever a grant becomes is written
//! in one transaction with the taking of it: what fails on the way leaves everything as it was.

use std::collections::BTreeMap;

use crate::app::App;
use crate::connection::{Account, Connection, Status};
use crate::core::Core;
use crate::credential::Credential;
use crate::disconnect::{self, Held};
use crate::error::{Code, Error, Result};
use crate::ids::ConnectionId;
use crate::ports::{Database, Ports, Statement};
use crate::refresh;
use crate::registry;
use crate::resolve::cached;
use crate::store::authorizations::{self, Authorization, Outcome, Pending, Question};
use crate::store::links::{self, Link, LinkStatus, OnDuplicate};
use crate::store::{self, clients, connections};
use crate::time::Timestamp;

use super::{Failure, actor, place};

/// Seconds a grant waits for a choice.
pub const CHOICE_TIME: i64 = 600;
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
    /// When the refresh token dies unused.
    pub refresh_idle_until: Option<Timestamp>,
    /// End of the whole grant.
    pub grant_expires_at: Option<Timestamp>,
    /// What the app's addresses depend on.
    pub variables: BTreeMap<String, String>,
    /// When it was obtained.
    pub obtained_at: Timestamp,
    /// Whether new tokens can be had without a person.
    pub refreshable: bool,
    /// What a new connection is to be called, if somebody said so.
    pub name: Option<String>,
    /// The embedder's own map, for a new connection.
    pub metadata: BTreeMap<String, String>,
    /// Who acts, where it is not the person of the flow.
    pub actor: Option<String>,
    /// Whether somebody else may live on it: tokens that were given elsewhere are not ours to revoke.
    pub imported: bool,
}

/// Who decides what becomes of a grant for an account that nobody expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deciding {
    /// The person, or the link they came by.
    Person,
    /// A program has decided already.
    Program {
        /// Whether a connection to the same account takes the grant.
        reuse: bool,
        /// Whether the connection takes another account.
        switch: bool,
    },
}

impl Grant {
    fn actor(&self, flow: &Authorization) -> String {
        self.actor.clone().unwrap_or_else(|| actor(flow))
    }
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

/// A grant that is to become something, and what that depends on.
struct Case<'a> {
    /// The flow as it was read. A grant that waits in it must first be taken out: only one decision gets it.
    flow: &'a Authorization,
    /// The link the flow came from.
    link: Option<Link>,
    app: &'a App,
    grant: Grant,
}

impl<'a> Case<'a> {
    async fn read<P: Ports>(core: &Core<P>, flow: &'a Authorization, app: &'a App, grant: Grant) -> Result<Self> {
        let link = link_of(core, flow).await?;
        Ok(Self { flow, link, app, grant })
    }

    /// A link is good for one connection, whatever happens in other tabs of the browser.
    fn link_is_used_up(&self) -> bool {
        is_used_up(self.flow, self.link.as_ref())
    }

    /// Whether the grant waits in its flow's row; else it comes straight from the app.
    fn waits(&self) -> bool {
        matches!(self.flow.outcome, Outcome::Undecided | Outcome::AwaitingConfirmation)
    }

    /// The statements that take a waiting grant out of its flow, and use the link up. Each must change a row.
    fn taken(&self, to: Outcome, link: LinkStatus, result: &ConnectionId, now: Timestamp) -> Vec<Statement> {
        let Authorization { id, workspace, .. } = self.flow;
        let mut must = Vec::new();
        if self.waits() {
            must.push(authorizations::decide(id, self.flow.outcome, to, now));
        }
        let waiting = (to == Outcome::AwaitingConfirmation).then_some(id);
        must.extend(self.flow.link.as_ref().map(|of| match self.flow.outcome {
            Outcome::AwaitingConfirmation => links::confirmed(workspace, of),
            _ => links::end(workspace, of, link, result, waiting, now),
        }));
        must
    }
}

async fn link_of<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<Option<Link>> {
    match &flow.link {
        None => Ok(None),
        Some(id) => Ok(links::get(core.db(), &flow.workspace, id).await?),
    }
}

fn is_used_up(flow: &Authorization, link: Option<&Link>) -> bool {
    flow.link.is_some() && link.is_none_or(|link| link.status != LinkStatus::Open)
}

/// Decides what becomes of a grant. Answers why it could not become anything.
pub async fn settle<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    grant: Grant,
    deciding: Deciding,
) -> Result<Option<Failure>> {
    let case = Case::read(core, flow, app, grant).await?;
    if case.link_is_used_up() {
        return give_up(core, &case, Failure::LinkUsed).await;
    }
    let question = match &flow.connection {
        Some(id) => {
            let Some(connection) = connections::get(core.db(), &flow.workspace, id).await? else {
                return give_up(core, &case, Failure::ConnectionGone).await;
            };
            if is_same(connection.account.as_ref(), case.grant.account.as_ref()) {
                return apply(core, &case, Target::Repair(Box::new(connection))).await;
            }
            match deciding {
                Deciding::Person => Question::OtherAccount { before: connection.account },
                Deciding::Program { switch: true, .. } => {
                    return apply(core, &case, Target::Repair(Box::new(connection))).await;
                }
                Deciding::Program { switch: false, .. } => {
                    return give_up(core, &case, Failure::OtherAccount).await;
                }
            }
        }
        None => match duplicate(core, &case, deciding).await? {
            None | Some((OnDuplicate::Create, _)) => return apply(core, &case, Target::New).await,
            Some((OnDuplicate::Reuse, existing)) => {
                return apply(core, &case, Target::Repair(Box::new(existing))).await;
            }
            Some((OnDuplicate::Ask, existing)) => Question::Duplicate { existing: existing.id, name: existing.name },
        },
    };
    let held = hold(core, &case, Some(question), Outcome::Undecided, None, CHOICE_TIME)?;
    core.db().batch(vec![held]).await?;
    Ok(None)
}

/// Two unknown accounts are not the same account.
fn is_same(before: Option<&Account>, now: Option<&Account>) -> bool {
    matches!((before, now), (Some(before), Some(now)) if before.id == now.id)
}

async fn duplicate<P: Ports>(
    core: &Core<P>,
    case: &Case<'_>,
    deciding: Deciding,
) -> Result<Option<(OnDuplicate, Connection)>> {
    let Some(account) = &case.grant.account else { return Ok(None) };
    let flow = case.flow;
    let existing =
        connections::same_account(core.db(), &flow.workspace, &flow.app, &account.id, flow.user.as_ref()).await?;
    let wish = match deciding {
        Deciding::Person => case.link.as_ref().map_or(OnDuplicate::Ask, |link| link.on_duplicate),
        Deciding::Program { reuse: true, .. } => OnDuplicate::Reuse,
        Deciding::Program { reuse: false, .. } => OnDuplicate::Create,
    };
    Ok(existing.map(|existing| (wish, existing)))
}

/// The grant becomes nothing. One that waited is first taken out of its flow, which fails: whoever decides
/// at the same moment must not find it revoked.
async fn give_up<P: Ports>(core: &Core<P>, case: &Case<'_>, failure: Failure) -> Result<Option<Failure>> {
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

async fn discard<P: Ports>(core: &Core<P>, case: &Case<'_>) -> Result<()> {
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
    let held = Held { credential: &grant.credential, account, variables: &grant.variables };
    disconnect::discard(core, case.app, (&flow.workspace, client.as_ref()), &held).await;
    Ok(())
}

/// Nothing was applied: what it builds on has changed since it was read. Tells what.
async fn lost<P: Ports>(core: &Core<P>, case: &Case<'_>, target: Option<&ConnectionId>) -> Result<Option<Failure>> {
    let flow = case.flow;
    if case.waits() {
        let now = authorizations::get_in_workspace(core.db(), &flow.workspace, &flow.id).await?;
        if now.is_none_or(|now| now.outcome != flow.outcome || now.sealed_grant.is_none()) {
            return Err(decided());
        }
    }
    let link = link_of(core, flow).await?;
    let failure = if flow.outcome != Outcome::AwaitingConfirmation && is_used_up(flow, link.as_ref()) {
        Failure::LinkUsed
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

fn decided() -> Error {
    Error::new(Code::LinkEnded, "The time to decide is over, or it was decided elsewhere.")
}

/// The statement that lets the grant wait in its flow.
fn hold<P: Ports>(
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
        granted: grant.granted.clone(),
        expires_at: grant.expires_at.map(Timestamp::unix),
        refresh_expires_at: grant.refresh_expires_at.map(Timestamp::unix),
        refresh_idle_until: grant.refresh_idle_until.map(Timestamp::unix),
        grant_expires_at: grant.grant_expires_at.map(Timestamp::unix),
        variables: grant.variables.clone(),
        refreshable: Some(grant.refreshable),
        name: grant.name.clone(),
        metadata: grant.metadata.clone(),
        obtained_at: grant.obtained_at.unix(),
    };
    let sealed = grant.credential.seal(
        &core.config.ring,
        core.ports.random(),
        &place(&flow.workspace, &flow.id, "sealed_grant"),
    )?;
    Ok(authorizations::hold(&flow.id, outcome, &sealed, &pending, target, core.now().plus(seconds)))
}

fn held_grant<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<Grant> {
    if core.now() >= flow.expires_at {
        return Err(decided());
    }
    waiting_grant(core, flow).ok_or_else(decided)
}

/// The grant that waits in a flow, in time or not.
fn waiting_grant<P: Ports>(core: &Core<P>, flow: &Authorization) -> Option<Grant> {
    let (sealed, pending) = (flow.sealed_grant.as_ref()?, flow.pending.as_ref()?);
    let place = place(&flow.workspace, &flow.id, "sealed_grant");
    let credential = Credential::open(&core.config.ring, &place, sealed).ok()?;
    let refreshable = pending.refreshable.unwrap_or_else(|| credential.is_refreshable());
    Some(Grant {
        credential,
        account: pending.account.clone(),
        granted: pending.granted.clone(),
        expires_at: pending.expires_at.map(Timestamp::from_unix),
        refresh_expires_at: pending.refresh_expires_at.map(Timestamp::from_unix),
        refresh_idle_until: pending.refresh_idle_until.map(Timestamp::from_unix),
        grant_expires_at: pending.grant_expires_at.map(Timestamp::from_unix),
        variables: pending.variables.clone(),
        refreshable,
        name: pending.name.clone(),
        metadata: pending.metadata.clone(),
        actor: None,
        imported: false,
        obtained_at: Timestamp::from_unix(pending.obtained_at),
    })
}

/// The app, by the way that a flow walks.
async fn app_of<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<std::rc::Rc<App>> {
    registry::way(&*registry::at_revision(core, &flow.workspace, &flow.app, flow.app_revision).await?, &flow.way)
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

/// Does what the person chose. `flow` was read for this browser's session. What fails on the way leaves
/// the grant where it waits, to be chosen again.
pub async fn choose<P: Ports>(core: &Core<P>, flow: &Authorization, choice: Choice) -> Result<()> {
    let question = flow.pending.as_ref().and_then(|pending| pending.question.clone());
    let (Some(question), Outcome::Undecided) = (question, flow.outcome) else {
        return Err(Error::new(Code::Conflict, "There is nothing left to choose here."));
    };
    let grant = held_grant(core, flow)?;
    let app = app_of(core, flow).await?;
    let case = Case::read(core, flow, &app, grant).await?;
    let target = match (choice, &question) {
        (Choice::Keep, _) => return keep(core, &case).await,
        (Choice::Both, Question::Duplicate { .. }) => Target::New,
        (Choice::Switch, Question::OtherAccount { .. }) => target(core, flow, flow.connection.as_ref()).await?,
        (Choice::Reuse, Question::Duplicate { existing, .. }) => target(core, flow, Some(existing)).await?,
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

async fn target<P: Ports>(core: &Core<P>, flow: &Authorization, id: Option<&ConnectionId>) -> Result<Target> {
    let id = id.ok_or_else(Error::connection_not_found)?;
    let connection = connections::get(core.db(), &flow.workspace, id).await?.ok_or_else(Error::connection_not_found)?;
    Ok(Target::Repair(Box::new(connection)))
}

async fn apply<P: Ports>(core: &Core<P>, case: &Case<'_>, target: Target) -> Result<Option<Failure>> {
    let confirm = case.link.as_ref().is_some_and(|link| link.confirm);
    match target {
        Target::New => insert(core, case, confirm).await,
        // The old credential goes on serving until the embedding product has confirmed the person.
        Target::Repair(connection) if confirm => await_confirmation(core, case, &connection).await,
        Target::Repair(connection) => repair(core, case, *connection).await,
    }
}

async fn await_confirmation<P: Ports>(core: &Core<P>, case: &Case<'_>, target: &Connection) -> Result<Option<Failure>> {
    let outcome = Outcome::AwaitingConfirmation;
    let must = case.taken(outcome, LinkStatus::AwaitingConfirmation, &target.id, core.now());
    let held = hold(core, case, None, outcome, Some(target), CONFIRM_TIME)?;
    if store::all_or_nothing(core.db(), must, vec![held]).await? {
        return Ok(None);
    }
    lost(core, case, Some(&target.id)).await
}

async fn insert<P: Ports>(core: &Core<P>, case: &Case<'_>, confirm: bool) -> Result<Option<Failure>> {
    let Case { flow, grant, .. } = case;
    let now = core.now();
    let id = ConnectionId::random(core.ports.random())?;
    let (status, link, outcome) = if confirm {
        (Status::AwaitingConfirmation, LinkStatus::AwaitingConfirmation, Outcome::AwaitingConfirmation)
    } else {
        (Status::Connected, LinkStatus::Used, Outcome::Done)
    };
    let name = match &grant.name {
        Some(name) => name.clone(),
        None => free_name(core, flow, case.app, grant.account.as_ref()).await?,
    };
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
        way: flow.way.clone(),
        kind: case.app.kind,
        variables: grant.variables.clone(),
        client: flow.client.clone(),
        name,
        user: flow.user.clone(),
        metadata: grant.metadata.clone(),
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
        refreshable: grant.refreshable,
        refreshed_at: None,
        refresh_expires_at: grant.refresh_expires_at,
        refresh_idle_until: grant.refresh_idle_until,
        grant_expires_at: grant.grant_expires_at,
        intent: None,
        ambiguous_token_hash: None,
        ambiguous_since: None,
        next_attempt_at: Timestamp::from_unix(0),
        failures: 0,
        last_error: None,
        checked_at: None,
        check_evidence: None,
        next_check_at: None,
    };
    new.next_check_at = Some(refresh::next_check_after(now, &new));
    let must = case.taken(Outcome::Done, link, &new.id, now);
    let then = vec![
        connections::insert(&new),
        authorizations::end(&flow.id, outcome, None, Some(&new.id)),
        core.event(&flow.workspace, &new.id, "connected", &grant.actor(flow), None)?,
    ];
    if store::all_or_nothing(core.db(), must, then).await? {
        return Ok(None);
    }
    lost(core, case, None).await
}

/// Gives a connection a new generation of credential; id, name, uses and policy stay.
async fn repair<P: Ports>(core: &Core<P>, case: &Case<'_>, old: Connection) -> Result<Option<Failure>> {
    let Case { flow, grant, .. } = case;
    let now = core.now();
    let next_generation = old.generation + 1;
    let place = Credential::place(&old.workspace, &old.id, next_generation);
    let mut new = Connection {
        app_revision: flow.app_revision,
        way: flow.way.clone(),
        kind: case.app.kind,
        variables: grant.variables.clone(),
        client: flow.client.clone(),
        account: grant.account.clone(),
        scopes_requested: flow.scopes.clone(),
        scopes_granted: grant.granted.clone(),
        connected_at: grant.obtained_at,
        status: if old.status == Status::AwaitingConfirmation { old.status } else { Status::Connected },
        sealed_credential: Some(grant.credential.seal(&core.config.ring, core.ports.random(), &place)?),
        expires_at: grant.expires_at,
        refreshable: grant.refreshable,
        refresh_expires_at: grant.refresh_expires_at,
        refresh_idle_until: grant.refresh_idle_until,
        grant_expires_at: grant.grant_expires_at,
        ..old.clone()
    };
    new.next_check_at = Some(refresh::next_check_after(now, &new));
    let switched = !is_same(old.account.as_ref(), grant.account.as_ref());
    let event = if switched { "account_switched" } else { "reconnected" };
    let mut must = case.taken(Outcome::Done, LinkStatus::Used, &old.id, now);
    must.push(connections::reconnect(&new, old.generation));
    let then = vec![
        authorizations::end(&flow.id, Outcome::Done, None, Some(&old.id)),
        core.event(&flow.workspace, &old.id, event, &grant.actor(flow), None)?,
    ];
    let written = store::all_or_nothing(core.db(), must, then).await;
    // Also when no answer came: it may have been applied all the same.
    cached::forget_connection(core, &old.id).await;
    if !written? {
        return lost(core, case, Some(&old.id)).await;
    }
    // What a person enters takes the place of a consent: that one is nobody's any more.
    let entered = old.client.is_some() && flow.client.is_none();
    if switched || entered {
        discard_old(core, &old, &grant.credential).await;
    }
    Ok(None)
}

/// The grant a connection had for another account: nobody holds it any more. It is revoked where the
/// connection's own revision of the app says, never at hosts that its client was not entered for.
async fn discard_old<P: Ports>(core: &Core<P>, old: &Connection, new: &Credential) {
    let place = Credential::place(&old.workspace, &old.id, old.generation);
    let credential =
        old.sealed_credential.as_deref().and_then(|sealed| Credential::open(&core.config.ring, &place, sealed).ok());
    let client = match &old.client {
        None => None,
        Some(id) => match clients::get(core.db(), &old.workspace, id).await {
            Ok(Some(client)) => Some(client),
            Ok(None) | Err(_) => return,
        },
    };
    let app = registry::of_connection(core, old).await.ok();
    // What was entered may be the very token that the consent had brought.
    let credential = credential.filter(|credential| !credential.shares_a_secret_with(new));
    if let (Some(credential), Some(app)) = (credential, app) {
        let account = old.account.as_ref().map(|account| account.id.as_str());
        let held = Held { credential: &credential, account, variables: &old.variables };
        disconnect::discard(core, &app, (&old.workspace, client.as_ref()), &held).await;
    }
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
        Some(connection) => repair(core, &case, connection).await,
    }
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
