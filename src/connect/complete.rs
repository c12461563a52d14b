//! What happens to a grant: a new connection, a repaired one, or a question to the person.
//!
//! Owns that decision: duplicates, and which account a connection may have. `apply` carries it out as a connection
//! (with a name from `names`), `pending_grant` stores it until a decision, which `decide` handles, and `discard` drops
//! it. Everything is written in one transaction with taking the grant: a failure changes nothing.

mod apply;
mod carry_over;
mod decide;
mod destination_check;
mod discard;
mod names;
mod pending_grant;
mod returned_grant;

use std::collections::BTreeMap;

use crate::account::Account;
use crate::app::{AuthMethod, CredentialKind};
use crate::audit::Actor;
use crate::authorize;
use crate::connection::{Connection, ConnectionStatus};
use crate::context::Context;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::error::{Error, Result};
use crate::ids::ConnectionId;
use crate::ports::{DatabaseError, Ports, Statement};
use crate::preconditions::Condition;
use crate::random::NoRandomness;
use crate::store;
use crate::store::authorizations::{self, Flow, FlowOutcome, Question};
use crate::store::connections;
use crate::store::links::{self, Link, LinkStatus, OnDuplicate};
use crate::time::Timestamp;
use crate::vault::SealError;

use super::{FlowFailure, flow_actor};

pub use decide::{Choice, apply_choice, confirm, expire_flow};
pub use pending_grant::CHOICE_TTL;
pub use returned_grant::{complete_returned_grant, discard_unidentified_grant};

use apply::{GrantTarget, apply_grant};
use discard::{fail_flow, fail_on_conflict};
use pending_grant::pending_grant_statement;

/// Why a grant did not become what it was for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompleteError {
    /// Its flow failed, and the grant was discarded. The flow's page explains it.
    #[error("the flow failed: {0}")]
    Flow(#[from] FlowFailure),
    /// The step itself failed: another try may succeed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<DatabaseError> for CompleteError {
    fn from(error: DatabaseError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<SealError> for CompleteError {
    fn from(error: SealError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<NoRandomness> for CompleteError {
    fn from(error: NoRandomness) -> Self {
        Self::Internal(error.into())
    }
}

/// What the steps of a completion answer.
pub type CompleteResult<T> = std::result::Result<T, CompleteError>;

/// What an app granted.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// The tokens.
    pub credential: Credential,
    /// The account.
    pub account: Option<Account>,
    /// The requested scopes.
    pub scopes_requested: Vec<String>,
    /// The granted scopes.
    pub scopes_granted: Vec<String>,
    /// Expiry of the access token.
    pub expires_at: Option<Timestamp>,
    /// Expiry of the refresh token.
    pub refresh_expires_at: Option<Timestamp>,
    /// When the unused refresh token expires.
    pub refresh_idle_until: Option<Timestamp>,
    /// Expiry of the whole grant.
    pub grant_expires_at: Option<Timestamp>,
    /// The variables of the app's addresses.
    pub variables: BTreeMap<String, String>,
    /// The destinations of the credential. None in a pending grant of an earlier version.
    pub destinations: Option<Destinations>,
    /// When it was obtained.
    pub obtained_at: Timestamp,
    /// Whether it can be refreshed without a person.
    pub refreshable: bool,
    /// The name of a new connection, if one was given.
    pub name: Option<String>,
    /// The metadata of the embedding product, for a new connection.
    pub metadata: BTreeMap<String, String>,
    /// Who acts, if it is not the person of the flow.
    pub actor: Option<Actor>,
    /// What a connection must still be that takes it.
    pub condition: Condition,
    /// Whether the app was asked about it.
    pub checked: bool,
    /// Whether somebody else may use it: imported tokens are not ours to revoke.
    pub imported: bool,
}

/// Who decides about a grant for an unexpected account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decider {
    /// The person, or their link.
    Person,
    /// A program has already decided.
    Program {
        /// Whether an existing connection to the same account takes the grant.
        reuse: bool,
        /// Whether the connection takes another account.
        switch: bool,
    },
}

impl NewGrant {
    fn actor(&self, flow: &Flow) -> Actor {
        self.actor.clone().unwrap_or_else(|| flow_actor(flow))
    }

    /// Replaces a connection's grant whose steps continue: scopes that they had and this grant lacks are then listed as
    /// missing.
    fn keep_requested_scopes(&mut self, existing: &Connection) {
        for scope in &existing.scopes_requested {
            if !self.scopes_requested.contains(scope) {
                self.scopes_requested.push(scope.clone());
            }
        }
    }
}

/// A grant to complete, and what that depends on.
struct Completion<'a> {
    /// The flow as it was read. A pending grant must first be taken out of it, so that only one decision gets it.
    flow: &'a Flow,
    /// The link of the flow.
    link: Option<Link>,
    auth_method: &'a AuthMethod,
    grant: NewGrant,
}

impl<'a> Completion<'a> {
    async fn load<P: Ports>(
        context: &Context<P>,
        flow: &'a Flow,
        auth_method: &'a AuthMethod,
        grant: NewGrant,
    ) -> Result<Self> {
        let link = load_link(context, flow).await?;
        Ok(Self { flow, link, auth_method, grant })
    }

    /// Refuses a flow whose link can't be used any more. It is good for one connection, whatever happens in other tabs of
    /// the browser, and only in the browser that began it last.
    fn require_open_link(&self) -> std::result::Result<(), FlowFailure> {
        require_open_link(self.flow, self.link.as_ref())
    }

    /// Whether the embedding product must confirm before the grant is used.
    fn needs_confirmation(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.needs_confirmation)
    }

    /// Whether the flow adds to the connection that its used link made.
    fn is_repeated_use(&self) -> bool {
        self.link.as_ref().is_some_and(|link| is_repeated_use(self.flow, link))
    }

    /// Whether the grant is pending in its flow's row. Otherwise it comes directly from the app.
    fn is_pending(&self) -> bool {
        matches!(self.flow.outcome, FlowOutcome::Undecided | FlowOutcome::AwaitingConfirmation)
    }

    /// The statements that take a pending grant out of its flow, and use the link. Each must change a row.
    fn take_statements(
        &self,
        to: FlowOutcome,
        link: LinkStatus,
        result: &ConnectionId,
        now: Timestamp,
    ) -> Vec<Statement> {
        let Flow { id, workspace, .. } = self.flow;
        let mut must = Vec::new();
        if self.is_pending() {
            must.push(authorizations::decide_pending_grant(id, self.flow.outcome, to, now));
        } else {
            must.push(authorizations::set_outcome_if_pending(id, to));
        }
        let waiting = (to == FlowOutcome::AwaitingConfirmation).then_some(id);
        must.extend(self.flow.link.as_ref().map(|of| match self.flow.outcome {
            FlowOutcome::AwaitingConfirmation => links::mark_confirmed(workspace, of),
            _ if self.is_repeated_use() => {
                links::mark_used_again(workspace, of, &self.flow.session_hash, result, self.flow.generation, now)
            }
            _ => links::mark_used(workspace, of, &self.flow.session_hash, link, result, waiting, now),
        }));
        must
    }
}

async fn load_link<P: Ports>(context: &Context<P>, flow: &Flow) -> Result<Option<Link>> {
    match &flow.link {
        None => Ok(None),
        Some(id) => Ok(links::get(context.db(), &flow.workspace, id).await?),
    }
}

/// Whether a flow is about the connection that its link made. The statement that takes the grant also asks if it began after
/// that.
fn is_repeated_use(flow: &Flow, link: &Link) -> bool {
    link.status == LinkStatus::Used
        && !link.needs_confirmation
        && flow.connection.is_some()
        && flow.connection == link.result_connection
}

fn require_open_link(flow: &Flow, link: Option<&Link>) -> std::result::Result<(), FlowFailure> {
    if flow.link.is_none() {
        return Ok(());
    }
    let is_usable = |link: &&Link| link.status == LinkStatus::Open || is_repeated_use(flow, link);
    let link = link.filter(is_usable).ok_or(FlowFailure::LinkUsed)?;
    match &link.session_hash {
        Some(begun) if *begun != flow.session_hash => Err(FlowFailure::LinkBegunAnew),
        _ => Ok(()),
    }
}

/// Decides what happens to a grant. Returns why nothing could.
pub async fn complete<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    auth_method: &AuthMethod,
    grant: NewGrant,
    deciding: Decider,
) -> CompleteResult<()> {
    let mut completion = Completion::load(context, flow, auth_method, grant).await?;
    let next_step = match decide_next_step(context, &mut completion, deciding).await {
        Err(CompleteError::Flow(failure)) => return fail_flow(context, &completion, failure).await,
        decided => decided?,
    };
    match next_step {
        NextStep::Apply(target) => apply_grant(context, &completion, target).await,
        NextStep::AskPerson(question) => {
            let held = pending_grant_statement(
                context,
                &completion,
                Some(question),
                FlowOutcome::Undecided,
                None,
                CHOICE_TTL,
            )?;
            let must = vec![authorizations::set_outcome_if_pending(&flow.id, FlowOutcome::Undecided)];
            if store::all_or_nothing(context.db(), must, vec![held]).await? {
                return Ok(());
            }
            fail_on_conflict(context, &completion, None).await
        }
    }
}

/// The next step for a grant.
enum NextStep {
    Apply(GrantTarget),
    AskPerson(Question),
}

async fn decide_next_step<P: Ports>(
    context: &Context<P>,
    completion: &mut Completion<'_>,
    deciding: Decider,
) -> CompleteResult<NextStep> {
    completion.require_open_link()?;
    let Some(id) = &completion.flow.connection else {
        return Ok(match find_duplicate(context, completion, deciding).await? {
            None | Some((OnDuplicate::Create, _)) => NextStep::Apply(GrantTarget::NewConnection),
            Some((OnDuplicate::Reuse, existing)) => NextStep::Apply(reuse_target(context, completion, existing)),
            Some((OnDuplicate::Ask, existing)) => {
                NextStep::AskPerson(Question::Duplicate { existing: existing.id, name: existing.name })
            }
        });
    };
    let connection = connections::get(context.db(), &completion.flow.workspace, id).await?;
    let connection = connection.ok_or(FlowFailure::ConnectionGone)?;
    // It began before its link was used.
    if completion.is_repeated_use() && completion.flow.generation != Some(connection.generation) {
        return Err(FlowFailure::LinkUsed.into());
    }
    if !authorize::flow_may_change(context, completion.flow, &connection).await? {
        return Err(FlowFailure::ConnectionGone.into());
    }
    if is_same_account(context, &connection, &completion.grant) {
        return Ok(NextStep::Apply(GrantTarget::Reconnect(Box::new(connection))));
    }
    match deciding {
        Decider::Person => Ok(NextStep::AskPerson(Question::OtherAccount { before: connection.account })),
        Decider::Program { switch: true, .. } => Ok(NextStep::Apply(GrantTarget::Reconnect(Box::new(connection)))),
        Decider::Program { switch: false, .. } => Err(FlowFailure::OtherAccount.into()),
    }
}

/// A connection to the same account takes the grant, unless a person's consent would remove permissions from the steps
/// that use it. Then the connection stays as it is and is used.
fn reuse_target<P: Ports>(context: &Context<P>, completion: &mut Completion<'_>, existing: Connection) -> GrantTarget {
    let consented = completion.auth_method.kind == CredentialKind::OAuth2 && !completion.grant.imported;
    let keeps = consented && !completion.needs_confirmation() && has_more_scopes(&existing, &completion.grant);
    if keeps && keeps_working(context, completion, &existing) {
        return GrantTarget::KeepExisting(Box::new(existing));
    }
    completion.grant.keep_requested_scopes(&existing);
    GrantTarget::Reconnect(Box::new(existing))
}

/// Whether a connection has all permissions of a grant, and more.
fn has_more_scopes(existing: &Connection, grant: &NewGrant) -> bool {
    let has = |scope: &String| existing.scopes_granted.contains(scope);
    grant.scopes_granted.iter().all(has)
        && existing.scopes_granted.iter().any(|scope| !grant.scopes_granted.contains(scope))
}

/// Whether a connection keeps working as long as a grant would, as far as it is known: its credential can be decrypted,
/// and uses the client that has just received another grant.
fn keeps_working<P: Ports>(context: &Context<P>, completion: &Completion<'_>, existing: &Connection) -> bool {
    existing.status == ConnectionStatus::Connected
        && has_same_client_and_method(completion.flow, existing)
        && !existing.has_unknown_refresh_outcome()
        && lasts_as_long(existing, &completion.grant)
        && existing.credential(&context.config.key_ring).is_some()
}

fn lasts_as_long(existing: &Connection, grant: &NewGrant) -> bool {
    let longer = match (existing.expires_at, grant.expires_at) {
        (Some(existing), Some(grant)) => existing >= grant,
        (existing, _) => existing.is_none(),
    };
    existing.refreshable || !grant.refreshable && longer
}

/// Whether a connection has the client and the auth method of a flow.
fn has_same_client_and_method(flow: &Flow, existing: &Connection) -> bool {
    (&existing.client, &existing.auth_method) == (&flow.client, &flow.auth_method)
}

/// Whether a grant is for the account of a connection. Two unknown accounts are not the same, and neither are accounts
/// if a further token would become another person's.
fn is_same_account<P: Ports>(context: &Context<P>, before: &Connection, now: &NewGrant) -> bool {
    let same = matches!((&before.account, &now.account), (Some(before), Some(now)) if before.id == now.id);
    same && !before
        .credential(&context.config.key_ring)
        .is_some_and(|before| before.has_other_token_owner_than(&now.credential))
}

async fn find_duplicate<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    deciding: Decider,
) -> Result<Option<(OnDuplicate, Connection)>> {
    let Some(account) = &completion.grant.account else { return Ok(None) };
    let flow = completion.flow;
    let all = connections::list_same_account(context.db(), &flow.workspace, &flow.app, &account.id, flow.user.as_ref())
        .await?;
    let mut existing = None;
    for one in all.into_iter().filter(|one| is_same_account(context, one, &completion.grant)) {
        // If its secrets were never sent to these addresses, it is another connection, whatever the account's id is.
        if destination_check::adds_no_destinations(context, completion, &one).await? {
            existing = Some(one);
            break;
        }
    }
    let wish = match deciding {
        Decider::Person => completion.link.as_ref().map_or(OnDuplicate::Ask, |link| link.on_duplicate),
        Decider::Program { reuse: true, .. } => OnDuplicate::Reuse,
        Decider::Program { reuse: false, .. } => OnDuplicate::Create,
    };
    Ok(existing.map(|existing| (wish, existing)))
}
