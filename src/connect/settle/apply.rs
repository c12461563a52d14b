//! A grant becomes a connection: a new one, or the next generation of one that is there.
//!
//! Owns what is written then, in the transaction that takes the grant and uses its link up, and what becomes of the
//! credential that a repair replaces. Refuses to repair a connection that has moved since it was read, and to choose
//! between the two: that is settled before.

use crate::connect::paste::marks;
use crate::connection::{Account, Connection, Status};
use crate::core::Core;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::disconnect::{self, Held};
use crate::error::Result;
use crate::frozen;
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::refresh;
use crate::registry;
use crate::resolve::removal::Removal;
use crate::shared;
use crate::store::authorizations::{self, Outcome};
use crate::store::links::LinkStatus;
use crate::store::{self, clients, connections};
use crate::time::Timestamp;

use super::given_up::{discard, lost};
use super::held::await_confirmation;
use super::inherit;
use super::names::{free_name, is_generated};
use super::{Case, Failure, Grant, is_same};

/// How often a repair looks again when a refresh came between.
const TRIES: usize = 3;

/// Where a grant goes.
pub(super) enum Target {
    New,
    /// A connection takes it.
    Repair(Box<Connection>),
    /// A connection that has more stays as it is.
    Kept(Box<Connection>),
}

pub(super) async fn apply<P: Ports>(core: &Core<P>, case: &Case<'_>, target: Target) -> Result<Option<Failure>> {
    let confirm = case.is_to_be_confirmed();
    match target {
        Target::Kept(connection) => keep(core, case, &connection).await,
        Target::New => insert(core, case, confirm).await,
        // The old credential goes on serving until the embedding product has confirmed the person.
        Target::Repair(connection) if confirm => await_confirmation(core, case, &connection).await,
        Target::Repair(connection) => Box::pin(repair(core, case, *connection)).await,
    }
}

async fn insert<P: Ports>(core: &Core<P>, case: &Case<'_>, confirm: bool) -> Result<Option<Failure>> {
    let Case { flow, grant, .. } = case;
    let now = core.now();
    let id = ConnectionId::random(core.ports.random(), flow.workspace.shard())?;
    let (status, link, outcome) = if confirm {
        (Status::AwaitingConfirmation, LinkStatus::AwaitingConfirmation, Outcome::AwaitingConfirmation)
    } else {
        (Status::Connected, LinkStatus::Used, Outcome::Done)
    };
    let name = match &grant.name {
        Some(name) => name.clone(),
        None => free_name(core, flow, case.app, known_of(case)).await?,
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
        destinations: kept_destinations(case),
        client: flow.client.clone(),
        name,
        user: flow.user.clone(),
        metadata: grant.metadata.clone(),
        allowed_workflows: None,
        account: grant.account.clone(),
        scopes_requested: grant.requested.clone(),
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
        refused: None,
        checked_at: grant.proven.then_some(grant.obtained_at),
        check_evidence: grant.proven.then(|| "connected".to_owned()),
        next_check_at: None,
        nothing_shared: None,
        definition_changed: None,
    };
    new.next_check_at = Some(refresh::next_check_after(now, &new));
    let must = case.taken(Outcome::Done, link, &new.id, now);
    let then = vec![
        connections::insert(&new),
        authorizations::end(&flow.id, outcome, None, Some(&new.id)),
        core.event(&flow.workspace, &new.id, frozen::event::CONNECTED, &grant.actor(flow), None)?,
    ];
    if store::all_or_nothing(core.db(), must, then).await? {
        look(core, case, &new).await;
        return Ok(None);
    }
    lost(core, case, None).await
}

/// Where the credential may go, as far as that is kept beside it.
fn kept_destinations(case: &Case<'_>) -> Option<Destinations> {
    case.grant.destinations.clone().filter(|_| case.app.keeps_destinations())
}

/// What a name can tell: the account, and what the credential's own text tells of it.
fn known_of<'a>(case: &'a Case<'_>) -> (Option<&'a Account>, Option<&'a str>) {
    let mark = marks(case.app, &case.grant.credential.fields).find_map(|mark| mark.label.as_deref());
    (case.grant.account.as_ref(), mark)
}

/// The person has the connection they wanted, as it was: the grant is nobody's.
async fn keep<P: Ports>(core: &Core<P>, case: &Case<'_>, existing: &Connection) -> Result<Option<Failure>> {
    let Case { flow, grant, .. } = case;
    let must = case.taken(Outcome::Done, LinkStatus::Used, &existing.id, core.now());
    let then = vec![
        authorizations::end(&flow.id, Outcome::Done, None, Some(&existing.id)),
        core.event(&flow.workspace, &existing.id, frozen::event::REUSED, &grant.actor(flow), None)?,
    ];
    if !store::all_or_nothing(core.db(), must, then).await? {
        return lost(core, case, Some(&existing.id)).await;
    }
    // Some apps give the same refresh token with each consent.
    if !existing.credential(&core.config.ring).is_some_and(|kept| kept.shares_a_secret_with(&grant.credential)) {
        discard(core, case).await?;
    }
    Ok(None)
}

/// Gives a connection a new generation of credential; id, name, uses and policy stay.
pub(super) async fn repair<P: Ports>(core: &Core<P>, case: &Case<'_>, old: Connection) -> Result<Option<Failure>> {
    let id = old.id.clone();
    let (mut next, mut waits) = (Some(old), inherit::WAITS.into_iter());
    for _ in 0..TRIES {
        let Some(old) = next.take() else { break };
        let old = inherit::settled(core, case, old, &mut waits).await?;
        let heir = inherit::heir(core, case, &old).await?;
        if replace(core, case, &old, heir.as_ref()).await? {
            return Ok(None);
        }
        // A refresh may have come between: what it brought is to be inherited.
        next = if heir.is_some() { inherit::moved(core, &old).await? } else { None };
    }
    lost(core, case, Some(&id)).await
}

/// Writes the grant in the place of the one before it, with the refresh token of that where it goes on. Answers whether it
/// was written.
async fn replace<P: Ports>(
    core: &Core<P>,
    case: &Case<'_>,
    old: &Connection,
    inherited: Option<&Credential>,
) -> Result<bool> {
    let Case { flow, grant, .. } = case;
    let now = core.now();
    let next_generation = old.generation + 1;
    let place = Credential::place(&old.workspace, &old.id, next_generation);
    let switched = !is_same(core, old, grant);
    let credential = inherited.unwrap_or(&grant.credential);
    let mut new = Connection {
        name: if switched { name_after_switch(core, case, old).await? } else { old.name.clone() },
        app_revision: flow.app_revision,
        way: flow.way.clone(),
        kind: case.app.kind,
        variables: grant.variables.clone(),
        destinations: kept_destinations(case),
        client: flow.client.clone(),
        account: grant.account.clone(),
        scopes_requested: grant.requested.clone(),
        scopes_granted: grant.granted.clone(),
        connected_at: grant.obtained_at,
        status: if old.status == Status::AwaitingConfirmation { old.status } else { Status::Connected },
        sealed_credential: Some(credential.seal(&core.config.ring, core.ports.random(), &place)?),
        expires_at: grant.expires_at,
        refreshable: grant.refreshable || inherited.is_some(),
        refresh_expires_at: grant.refresh_expires_at.or(old.refresh_expires_at.filter(|_| inherited.is_some())),
        refresh_idle_until: grant.refresh_idle_until.or(old.refresh_idle_until.filter(|_| inherited.is_some())),
        grant_expires_at: grant.grant_expires_at,
        nothing_shared: None,
        definition_changed: None,
        ..old.clone()
    };
    new.next_check_at = Some(refresh::next_check_after(now, &new));
    let event = if switched { frozen::event::ACCOUNT_SWITCHED } else { frozen::event::RECONNECTED };
    let mut must = case.taken(Outcome::Done, LinkStatus::Used, &old.id, now);
    let newest = inherited.is_some() && !inherit::stays_good(case);
    must.push(connections::reconnect(&new, old, newest));
    let removal = Removal::of_connection(core, &old.id)?;
    let mut then = vec![
        authorizations::end(&flow.id, Outcome::Done, None, Some(&old.id)),
        core.event(
            &flow.workspace,
            &old.id,
            event,
            &grant.actor(flow),
            switched.then(|| from_to(old, grant)).as_deref(),
        )?,
    ];
    then.extend(removal.note());
    let written = store::all_or_nothing(core.db(), must, then).await;
    // Also when no answer came: it may have been applied all the same.
    removal.perform(core).await;
    if !written? {
        return Ok(false);
    }
    // What a person enters takes the place of a consent: that one is nobody's any more.
    let entered = old.client.is_some() && flow.client.is_none();
    if switched || entered {
        discard_old(core, old, &grant.credential).await;
    }
    look(core, case, &Connection { generation: next_generation, ..new }).await;
    Ok(true)
}

/// A name that nobody chose must not go on naming another account.
async fn name_after_switch<P: Ports>(core: &Core<P>, case: &Case<'_>, old: &Connection) -> Result<String> {
    let names = |account: Option<&Account>| is_generated(&old.name, case.app, account);
    if names(old.account.as_ref()) && !names(case.grant.account.as_ref()) {
        return free_name(core, case.flow, case.app, known_of(case)).await;
    }
    Ok(old.name.clone())
}

/// What the trail says of a switch. Two accounts of one label are told apart by their ids; where the account stays, it is a
/// further token that became another person's.
fn from_to(old: &Connection, grant: &Grant) -> String {
    let (before, now) = (old.account.as_ref(), grant.account.as_ref());
    let label = |of: Option<&Account>| of.map_or("an unknown account", |account| account.label.as_str()).to_owned();
    match (before, now) {
        (Some(before), Some(now)) if before.id == now.id => format!("{}, with another person's token", now.label),
        (Some(before), Some(now)) if before.label == now.label => format!("{} → {}", before.id, now.id),
        _ => format!("{} → {}", label(before), label(now)),
    }
}

/// Whether what is stored now sees anything, is for whoever comes to the connection's page next.
async fn look<P: Ports>(core: &Core<P>, case: &Case<'_>, stored: &Connection) {
    if case.grant.proven {
        shared::look(core, case.app, stored, &case.grant.credential).await;
    }
}

/// The grant a connection had for another account: nobody holds it any more. It is revoked where the
/// connection's own revision of the app says, never at hosts that its client was not entered for.
async fn discard_old<P: Ports>(core: &Core<P>, old: &Connection, new: &Credential) {
    let credential = old.credential(&core.config.ring);
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
        let destinations = old.destinations.as_ref();
        let held = Held { credential: &credential, account, variables: &old.variables, destinations };
        disconnect::discard(core, &app, (&old.workspace, client.as_ref()), &held).await;
    }
}
