//! What a grant becomes: a new connection, a repaired one, or a question to the person.
//!
//! Owns that decision: duplicates, and which account a connection may have. What it decides is carried out by `apply`
//! (it becomes a connection, called as `names` says), `held` (it waits for somebody's word, which `decide` takes) and
//! `given_up` (it becomes nothing). Whatever a grant becomes is written in one transaction with the taking of it: what
//! fails on the way leaves everything as it was.

mod apply;
mod arrived;
mod decide;
mod given_up;
mod held;
mod inherit;
mod names;
mod reach;

use std::collections::BTreeMap;

use crate::app::{App, Kind};
use crate::authorize;
use crate::connection::{Account, Connection, Status};
use crate::core::Core;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::error::Result;
use crate::ids::ConnectionId;
use crate::ports::{Ports, Statement};
use crate::store;
use crate::store::authorizations::{self, Authorization, Outcome, Question};
use crate::store::connections;
use crate::store::links::{self, Link, LinkStatus, OnDuplicate};
use crate::time::Timestamp;

use super::{Failure, actor};

pub use arrived::{discard_fresh, settle_arrived};
pub use decide::{Choice, choose, confirm, expire};
pub use held::CHOICE_TIME;
pub use names::LONGEST_NAME;

use apply::{Target, apply};
use given_up::{give_up, lost};
use held::hold;

/// What an app granted.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The tokens.
    pub credential: Credential,
    /// Whose account it is.
    pub account: Option<Account>,
    /// The scopes that were asked for.
    pub requested: Vec<String>,
    /// The scopes that were granted.
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
    /// Where the credential may go; none in a grant that waits since before this was kept.
    pub destinations: Option<Destinations>,
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
    /// Whether the app has been asked about it.
    pub proven: bool,
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

    /// Takes the place of a connection's grant whose steps go on: what those were promised and this one lacks is missing then,
    /// and said to be.
    fn take_over(&mut self, existing: &Connection) {
        for scope in &existing.scopes_requested {
            if !self.requested.contains(scope) {
                self.requested.push(scope.clone());
            }
        }
    }
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

    /// Why the flow's link is good for nothing any more. It is good for one connection, whatever happens in other tabs of the
    /// browser, and only in the browser that began it last.
    fn link_failure(&self) -> Option<Failure> {
        link_failure(self.flow, self.link.as_ref())
    }

    /// Whether the embedding product has a word to say before the grant is used.
    fn is_to_be_confirmed(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.confirm)
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
        } else {
            must.push(authorizations::conclude(id, to));
        }
        let waiting = (to == Outcome::AwaitingConfirmation).then_some(id);
        must.extend(self.flow.link.as_ref().map(|of| match self.flow.outcome {
            Outcome::AwaitingConfirmation => links::confirmed(workspace, of),
            _ => links::end((workspace, of, &self.flow.session_hash), link, result, waiting, now),
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

fn link_failure(flow: &Authorization, link: Option<&Link>) -> Option<Failure> {
    flow.link.as_ref()?;
    match link {
        Some(link) if link.status == LinkStatus::Open => link
            .session_hash
            .as_ref()
            .is_some_and(|begun| *begun != flow.session_hash)
            .then_some(Failure::LinkBegunAnew),
        _ => Some(Failure::LinkUsed),
    }
}

/// Decides what becomes of a grant. Answers why it could not become anything.
pub async fn settle<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    grant: Grant,
    deciding: Deciding,
) -> Result<Option<Failure>> {
    let mut case = Case::read(core, flow, app, grant).await?;
    match next(core, &mut case, deciding).await? {
        Next::Apply(target) => apply(core, &case, target).await,
        Next::GiveUp(failure) => give_up(core, &case, failure).await,
        Next::Ask(question) => {
            let held = hold(core, &case, Some(question), Outcome::Undecided, None, CHOICE_TIME)?;
            let must = vec![authorizations::conclude(&flow.id, Outcome::Undecided)];
            if store::all_or_nothing(core.db(), must, vec![held]).await? {
                return Ok(None);
            }
            lost(core, &case, None).await
        }
    }
}

/// What comes next for a grant.
enum Next {
    Apply(Target),
    Ask(Question),
    GiveUp(Failure),
}

async fn next<P: Ports>(core: &Core<P>, case: &mut Case<'_>, deciding: Deciding) -> Result<Next> {
    if let Some(failure) = case.link_failure() {
        return Ok(Next::GiveUp(failure));
    }
    let Some(id) = &case.flow.connection else {
        return Ok(match duplicate(core, case, deciding).await? {
            None | Some((OnDuplicate::Create, _)) => Next::Apply(Target::New),
            Some((OnDuplicate::Reuse, existing)) => Next::Apply(reused(core, case, existing)),
            Some((OnDuplicate::Ask, existing)) => {
                Next::Ask(Question::Duplicate { existing: existing.id, name: existing.name })
            }
        });
    };
    let Some(connection) = connections::get(core.db(), &case.flow.workspace, id).await? else {
        return Ok(Next::GiveUp(Failure::ConnectionGone));
    };
    if !authorize::may_still_change(core, case.flow, &connection).await? {
        return Ok(Next::GiveUp(Failure::ConnectionGone));
    }
    if is_same(core, &connection, &case.grant) {
        return Ok(Next::Apply(Target::Repair(Box::new(connection))));
    }
    Ok(match deciding {
        Deciding::Person => Next::Ask(Question::OtherAccount { before: connection.account }),
        Deciding::Program { switch: true, .. } => Next::Apply(Target::Repair(Box::new(connection))),
        Deciding::Program { switch: false, .. } => Next::GiveUp(Failure::OtherAccount),
    })
}

/// A connection to the same account takes the grant, unless a person's consent would take permissions from the steps that
/// use it: then it stays as it is, and serves.
fn reused<P: Ports>(core: &Core<P>, case: &mut Case<'_>, existing: Connection) -> Target {
    let consented = case.app.kind == Kind::OAuth2 && !case.grant.imported;
    let keeps = consented && !case.is_to_be_confirmed() && has_more(&existing, &case.grant);
    if keeps && goes_on(core, case, &existing) {
        return Target::Kept(Box::new(existing));
    }
    case.grant.take_over(&existing);
    Target::Repair(Box::new(existing))
}

/// Whether a connection has all the permissions that a grant brings, and more.
fn has_more(existing: &Connection, grant: &Grant) -> bool {
    let has = |scope: &String| existing.scopes_granted.contains(scope);
    grant.granted.iter().all(has) && existing.scopes_granted.iter().any(|scope| !grant.granted.contains(scope))
}

/// Whether a connection serves on as long as a grant would, as far as anybody knows: its credential opens, and lives by the
/// client that has just got another.
fn goes_on<P: Ports>(core: &Core<P>, case: &Case<'_>, existing: &Connection) -> bool {
    existing.status == Status::Connected
        && is_had_the_same_way(case.flow, existing)
        && !existing.is_in_doubt()
        && lasts_as_long(existing, &case.grant)
        && existing.credential(&core.config.ring).is_some()
}

fn lasts_as_long(existing: &Connection, grant: &Grant) -> bool {
    let longer = match (existing.expires_at, grant.expires_at) {
        (Some(existing), Some(grant)) => existing >= grant,
        (existing, _) => existing.is_none(),
    };
    existing.refreshable || !grant.refreshable && longer
}

/// Whether a connection was had by the client and the way that a flow goes.
fn is_had_the_same_way(flow: &Authorization, existing: &Connection) -> bool {
    (&existing.client, &existing.way) == (&flow.client, &flow.way)
}

/// Whether a grant is for the account that a connection has. Two unknown accounts are not the same account; nor is one
/// where a further token would become another person's.
fn is_same<P: Ports>(core: &Core<P>, before: &Connection, now: &Grant) -> bool {
    let same = matches!((&before.account, &now.account), (Some(before), Some(now)) if before.id == now.id);
    same && !before
        .credential(&core.config.ring)
        .is_some_and(|before| before.is_in_part_of_others_than(&now.credential))
}

async fn duplicate<P: Ports>(
    core: &Core<P>,
    case: &Case<'_>,
    deciding: Deciding,
) -> Result<Option<(OnDuplicate, Connection)>> {
    let Some(account) = &case.grant.account else { return Ok(None) };
    let flow = case.flow;
    let all = connections::same_account(core.db(), &flow.workspace, &flow.app, &account.id, flow.user.as_ref()).await?;
    let mut existing = None;
    for one in all.into_iter().filter(|one| is_same(core, one, &case.grant)) {
        // One whose secrets never went to these addresses is another connection, whatever the app calls the account.
        if reach::adds_nothing(core, case, &one).await? {
            existing = Some(one);
            break;
        }
    }
    let wish = match deciding {
        Deciding::Person => case.link.as_ref().map_or(OnDuplicate::Ask, |link| link.on_duplicate),
        Deciding::Program { reuse: true, .. } => OnDuplicate::Reuse,
        Deciding::Program { reuse: false, .. } => OnDuplicate::Create,
    };
    Ok(existing.map(|existing| (wish, existing)))
}
