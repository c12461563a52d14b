//! A grant becomes a connection: a new one, or the next generation of an existing one.
//!
//! Owns what is written in the transaction that takes the grant and uses its link, and what happens to the credential
//! that a repair replaces. Does not repair a connection that has changed since it was read, and does not choose between
//! the two: that was decided before.

use crate::account::Account;
use crate::audit::EventType;
use crate::cache::CacheRemoval;
use crate::connection::{Connection, ConnectionStatus};
use crate::context::Context;
use crate::credential::Credential;
use crate::defaults;
use crate::destinations::Destinations;
use crate::error::Result;
use crate::ids::ConnectionId;
use crate::on_demand_check;
use crate::ports::Ports;
use crate::registry;
use crate::revocation::{self, RevocableCredential};
use crate::schedule::next_check_after;
use crate::store::authorizations::{self, FlowOutcome};
use crate::store::links::LinkStatus;
use crate::store::{self, clients, connections};
use crate::time::Timestamp;

use super::carry_over;
use super::discard::{discard_grant, fail_on_conflict};
use super::names::{generate_name, is_generated_name};
use super::pending_grant::await_confirmation;
use super::{CompleteResult, Completion, NewGrant, is_same_account};

/// How often a repair is tried again if a refresh came first.
const MAX_TRIES: usize = 3;

/// The target of a grant.
pub(super) enum GrantTarget {
    NewConnection,
    /// An existing connection takes it.
    Reconnect(Box<Connection>),
    /// An existing connection with more permissions stays as it is.
    KeepExisting(Box<Connection>),
}

pub(super) async fn apply_grant<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    target: GrantTarget,
) -> CompleteResult<()> {
    let confirm = completion.needs_confirmation();
    match target {
        GrantTarget::KeepExisting(connection) => keep_existing(context, completion, &connection).await,
        GrantTarget::NewConnection => insert_connection(context, completion, confirm).await,
        // The old credential works until the embedding product has confirmed the person.
        GrantTarget::Reconnect(connection) if confirm => await_confirmation(context, completion, &connection).await,
        GrantTarget::Reconnect(connection) => Box::pin(reconnect(context, completion, *connection)).await,
    }
}

async fn insert_connection<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    confirm: bool,
) -> CompleteResult<()> {
    let Completion { flow, grant, .. } = completion;
    let now = context.now();
    let id = ConnectionId::random(context.ports.random(), flow.workspace.shard())?;
    let (status, link, outcome) = if confirm {
        (ConnectionStatus::AwaitingConfirmation, LinkStatus::AwaitingConfirmation, FlowOutcome::AwaitingConfirmation)
    } else {
        (ConnectionStatus::Connected, LinkStatus::Used, FlowOutcome::Done)
    };
    let name = match &grant.name {
        Some(name) => name.clone(),
        None => generate_name(context, completion).await?,
    };
    let mut new = Connection {
        sealed_credential: Some(grant.credential.seal(
            &context.config.key_ring,
            context.ports.random(),
            &Credential::seal_context(&flow.workspace, &id, 1),
        )?),
        id,
        workspace: flow.workspace.clone(),
        app: flow.app.clone(),
        app_revision: flow.app_revision,
        auth_method: flow.auth_method.clone(),
        kind: completion.auth_method.kind,
        variables: grant.variables.clone(),
        destinations: stored_destinations(completion),
        client: flow.client.clone(),
        name,
        user: flow.user.clone(),
        shared: flow.settings.shared.unwrap_or(flow.user.is_none()),
        environment: flow.settings.environment,
        metadata: grant.metadata.clone(),
        allowed_workflows: None,
        account: grant.account.clone(),
        scopes_requested: grant.scopes_requested.clone(),
        scopes_granted: grant.scopes_granted.clone(),
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
        lease: None,
        ambiguous_token_hash: None,
        ambiguous_since: None,
        next_attempt_at: Timestamp::from_unix(0),
        failures: 0,
        last_error: None,
        refusal: None,
        checked_at: grant.checked.then_some(grant.obtained_at),
        check_evidence: grant.checked.then(|| "connected".to_owned()),
        next_check_at: None,
        nothing_shared: None,
        definition_changed: None,
    };
    new.next_check_at = Some(next_check_after(now, &new));
    let must = completion.take_statements(FlowOutcome::Done, link, &new.id, now);
    let actor = grant.actor(flow);
    let mut then = vec![
        connections::insert(&new),
        authorizations::end_flow(&flow.id, outcome, None, Some(&new.id)),
        context.event_statement(&flow.workspace, &new.id, EventType::Connected, &actor, None)?,
    ];
    if new.shared && new.status == ConnectionStatus::Connected {
        then.extend(defaults::adopt_statements(context, &new.workspace, &new.app, new.environment, &actor)?);
    }
    if store::all_or_nothing(context.db(), must, then).await? {
        check_shared_items(context, completion, &new).await;
        return Ok(());
    }
    fail_on_conflict(context, completion, None).await
}

/// The destinations of the credential, if they are stored with it.
fn stored_destinations(completion: &Completion<'_>) -> Option<Destinations> {
    completion.grant.destinations.clone().filter(|_| completion.auth_method.stores_destinations())
}

/// The person has the connection they wanted, unchanged: nobody uses the grant.
async fn keep_existing<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    existing: &Connection,
) -> CompleteResult<()> {
    let Completion { flow, grant, .. } = completion;
    let must = completion.take_statements(FlowOutcome::Done, LinkStatus::Used, &existing.id, context.now());
    let then = vec![
        authorizations::end_flow(&flow.id, FlowOutcome::Done, None, Some(&existing.id)),
        context.event_statement(&flow.workspace, &existing.id, EventType::Reused, &grant.actor(flow), None)?,
    ];
    if !store::all_or_nothing(context.db(), must, then).await? {
        return fail_on_conflict(context, completion, Some(&existing.id)).await;
    }
    // Some apps issue the same refresh token with each consent.
    if !existing.credential(&context.config.key_ring).is_some_and(|kept| kept.shares_a_secret_with(&grant.credential)) {
        discard_grant(context, completion).await?;
    }
    Ok(())
}

/// Gives a connection a new generation of its credential. Id, name, uses and policy stay.
pub(super) async fn reconnect<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    old: Connection,
) -> CompleteResult<()> {
    let id = old.id.clone();
    let (mut next, mut waits) = (Some(old), carry_over::REFRESH_WAITS_MS.into_iter());
    for _ in 0..MAX_TRIES {
        let Some(old) = next.take() else { break };
        let old = carry_over::wait_for_refresh(context, completion, old, &mut waits).await?;
        let carried_over = carry_over::carry_over_refresh_token(context, completion, &old).await?;
        if replace_credential(context, completion, &old, carried_over.as_ref()).await? {
            return Ok(());
        }
        // A refresh may have come first: its token is carried over.
        next = if carried_over.is_some() { carry_over::reload_same_generation(context, &old).await? } else { None };
    }
    fail_on_conflict(context, completion, Some(&id)).await
}

/// Writes the grant in place of the previous one, with its refresh token if that is carried over. Returns whether it
/// was written.
async fn replace_credential<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    old: &Connection,
    inherited: Option<&Credential>,
) -> Result<bool> {
    let Completion { flow, grant, .. } = completion;
    let now = context.now();
    let next_generation = old.generation + 1;
    let seal_context = Credential::seal_context(&old.workspace, &old.id, next_generation);
    let switched = !is_same_account(context, old, grant);
    let credential = inherited.unwrap_or(&grant.credential);
    let mut new = Connection {
        name: if switched { name_after_switch(context, completion, old).await? } else { old.name.clone() },
        app_revision: flow.app_revision,
        auth_method: flow.auth_method.clone(),
        kind: completion.auth_method.kind,
        variables: grant.variables.clone(),
        destinations: stored_destinations(completion),
        client: flow.client.clone(),
        environment: old.environment.or(flow.settings.environment),
        account: grant.account.clone(),
        scopes_requested: grant.scopes_requested.clone(),
        scopes_granted: grant.scopes_granted.clone(),
        connected_at: grant.obtained_at,
        status: if old.status == ConnectionStatus::AwaitingConfirmation {
            old.status
        } else {
            ConnectionStatus::Connected
        },
        sealed_credential: Some(credential.seal(&context.config.key_ring, context.ports.random(), &seal_context)?),
        expires_at: grant.expires_at,
        refreshable: grant.refreshable || inherited.is_some(),
        refresh_expires_at: grant.refresh_expires_at.or(old.refresh_expires_at.filter(|_| inherited.is_some())),
        refresh_idle_until: grant.refresh_idle_until.or(old.refresh_idle_until.filter(|_| inherited.is_some())),
        grant_expires_at: grant.grant_expires_at,
        nothing_shared: None,
        definition_changed: None,
        ..old.clone()
    };
    new.next_check_at = Some(next_check_after(now, &new));
    let event = if switched { EventType::AccountSwitched } else { EventType::Reconnected };
    let mut must = completion.take_statements(FlowOutcome::Done, LinkStatus::Used, &old.id, now);
    let newest = inherited.is_some() && !carry_over::is_refresh_token_reusable(completion);
    must.push(connections::reconnect(&new, old, newest));
    let removal = CacheRemoval::of_connection(context, &old.id)?;
    let mut then = vec![
        authorizations::end_flow(&flow.id, FlowOutcome::Done, None, Some(&old.id)),
        context.event_statement(
            &flow.workspace,
            &old.id,
            event,
            &grant.actor(flow),
            switched.then(|| describe_switch(old, grant)).as_deref(),
        )?,
    ];
    then.extend(removal.insert_statement());
    let written = store::all_or_nothing(&grant.condition.db(context), must, then).await;
    // Also if no answer arrived: the write may have been applied.
    removal.perform(context).await;
    if !written? {
        return Ok(false);
    }
    // A manual credential replaces a consent, whose grant nobody uses any more.
    let entered = old.client.is_some() && flow.client.is_none();
    if switched || entered {
        revoke_old_grant(context, old, &grant.credential).await;
    }
    check_shared_items(context, completion, &Connection { generation: next_generation, ..new }).await;
    Ok(true)
}

/// A generated name must not keep naming another account.
async fn name_after_switch<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    old: &Connection,
) -> Result<String> {
    let names = |account: Option<&Account>| is_generated_name(&old.name, completion.auth_method, account);
    if names(old.account.as_ref()) && !names(completion.grant.account.as_ref()) {
        return generate_name(context, completion).await;
    }
    Ok(old.name.clone())
}

/// The text of a switch in the audit log. Two accounts with one label are distinguished by their ids. If the account
/// stays, a further token has become another person's.
fn describe_switch(old: &Connection, grant: &NewGrant) -> String {
    let (before, now) = (old.account.as_ref(), grant.account.as_ref());
    let label = |of: Option<&Account>| of.map_or("an unknown account", |account| account.label.as_str()).to_owned();
    match (before, now) {
        (Some(before), Some(now)) if before.id == now.id => format!("{}, with another person's token", now.label),
        (Some(before), Some(now)) if before.label == now.label => format!("{} → {}", before.id, now.id),
        _ => format!("{} → {}", label(before), label(now)),
    }
}

/// Whether the stored credential sees any content, for the connection's page.
async fn check_shared_items<P: Ports>(context: &Context<P>, completion: &Completion<'_>, stored: &Connection) {
    if completion.grant.checked {
        on_demand_check::check_shared_items(context, completion.auth_method, stored, &completion.grant.credential)
            .await;
    }
}

/// The grant of a connection's previous account: nobody uses it any more. It is revoked at the address of the
/// connection's own revision, never at hosts that its client was not entered for.
async fn revoke_old_grant<P: Ports>(context: &Context<P>, old: &Connection, new: &Credential) {
    let credential = old.credential(&context.config.key_ring);
    let client = match &old.client {
        None => None,
        Some(id) => match clients::get(context.db(), &old.workspace, id).await {
            Ok(Some(client)) => Some(client),
            Ok(None) | Err(_) => return,
        },
    };
    let auth_method = registry::load_auth_method(context, old).await.ok();
    // The manual credential may be the token of the consent itself.
    let credential = credential.filter(|credential| !credential.shares_a_secret_with(new));
    if let (Some(credential), Some(auth_method)) = (credential, auth_method) {
        let account = old.account.as_ref().map(|account| account.id.as_str());
        let destinations = old.destinations.as_ref();
        let held = RevocableCredential { credential: &credential, account, variables: &old.variables, destinations };
        revocation::revoke_unused(context, &auth_method, &old.workspace, client.as_ref(), &held).await;
    }
}
