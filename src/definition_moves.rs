//! A changed definition reaches the connections that were made with an earlier one.
//!
//! Owns the question whether a connection may follow, and the steps in which all are asked: the call that changes the
//! definition takes the first step, the scheduled run takes the others. Refuses to move a connection whose secrets would
//! go to another address, whose account would be known by another id, or that is being refreshed. One that stays says why.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Serialize;

use crate::app::{App, AppId, Definition, Identity, Values, WayId};
use crate::connect::client_setup;
use crate::connection::{Connection, DefinitionChange, Obstacle};
use crate::core::Core;
use crate::destinations::Destinations;
use crate::error::{Code, Error, Result};
use crate::frozen;
use crate::ids::{ClientId, ConnectionId, WorkspaceId};
use crate::ports::{Database, Ports};
use crate::registry::{self, DISCOVERY_COST};
use crate::resolve::removal;
use crate::store::definition_moves::{self as rows, Cursor, DefinitionMove};
use crate::store::{clients, events};
use crate::time::Timestamp;

/// Connections that a step looks at.
const MOST: i64 = 200;
/// Subrequests after which a step judges no further kind of connection. One may take eleven: a definition, a client with its
/// revisions, and twice the discovery of an issuer's endpoints.
const MOST_LOOK_UPS: i64 = 8;
/// Copies in the cache that are deleted at once; the others are replaced at their next use or end within the hour.
const MOST_COPIES: usize = 3;
/// Subrequests that a step may take.
pub(crate) const STEP_COST: i64 = 25;
/// Seconds until all are looked at once more: a flow, or a grant that waits for confirmation, may bring a connection with an
/// earlier revision until then.
const NEXT_PASS: i64 = 3900;
/// Seconds that a step is given before the scheduled run goes on.
const LEASE: i64 = 120;

/// What became of the connections that were made with earlier definitions of the app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "DefinitionMoves"))]
pub struct Moves {
    /// They follow the current definition now.
    pub moved: u64,
    /// They stay with theirs. Each shows `definition_changed` under `attention`.
    pub staying: u64,
    /// The scheduled run still looks at them: those beyond the first 200, those that are being refreshed, and those whose
    /// issuer did not answer.
    pub pending: u64,
}

/// Begins with the first connections of an app's earlier revisions. The scheduled run goes on with the others.
pub async fn begin<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, id: &AppId, actor: &str) -> Result<Moves> {
    let due = core.now().plus(LEASE);
    match rows::restart(core.db(), workspace, id, due).await? {
        Some(of) => step(core, &of, actor).await,
        None => Ok(Moves::default()),
    }
}

/// What is to become of connections that are alike.
#[derive(Clone)]
enum Judgement {
    /// They may follow; these are the addresses that they keep.
    Moves(Rc<Destinations>),
    /// They stay.
    Stays(DefinitionChange),
    /// That can't be told now.
    Unknown,
}

/// One step.
pub(crate) async fn step<P: Ports>(core: &Core<P>, of: &DefinitionMove, actor: &str) -> Result<Moves> {
    let mut behind = rows::behind(core.db(), of, MOST + 1).await?;
    let limit = usize::try_from(MOST).unwrap_or(usize::MAX);
    let mut is_last = behind.len() <= limit;
    behind.truncate(limit);
    let mut judge = match Judge::new(core, of) {
        Ok(judge) => judge,
        // No connection can follow what can't be read. Another revision begins anew.
        Err(error) => {
            core.log_cause(&error);
            core.db().batch(vec![rows::advance(of, &Cursor::first(), None, 0)]).await?;
            return Ok(Moves::default());
        }
    };
    let (mut statements, mut moving, mut staying) = (Vec::new(), Vec::new(), 0);
    let (mut after, mut undecided) = (of.after.clone(), 0_u64);
    for (place, connection) in &behind {
        let Some(connection) = connection else {
            after = place.clone();
            continue;
        };
        let Some(judgement) = judge.judgement(connection).await? else {
            is_last = false;
            break;
        };
        after = place.clone();
        let event = |kind, detail: &str| core.event(&connection.workspace, &connection.id, kind, actor, Some(detail));
        match judgement {
            // Its refresh ends as it began; the next pass comes back for it. What an attempt left behind that never came
            // back stays until the next one: at an app that is silent that is always there.
            Judgement::Moves(_) if connection.live_intent(core.now()).is_some() => undecided += 1,
            Judgement::Unknown => undecided += 1,
            Judgement::Moves(keeps) => {
                let detail = format!("revision {} → {}", connection.app_revision, of.app.revision);
                moving.push((statements.len(), connection.id.clone()));
                statements.push(rows::move_to(of, connection, &keeps, core.now()));
                statements.push(events::if_changed(event(frozen::event::DEFINITION_UPDATED, &detail)?));
            }
            Judgement::Stays(why) => {
                staying += 1;
                let detail = why.obstacle.as_str();
                statements.push(rows::stay(connection, &why));
                statements.push(events::if_changed(event(frozen::event::DEFINITION_CHANGED, detail)?));
            }
        }
    }
    let (next, due, passes) = next_step(of, &after, is_last, undecided > 0 || !moving.is_empty(), core.now());
    statements.push(rows::advance(of, &next, due, passes));
    let written = core.db().batch(statements).await?;
    let is_moved = |(at, _): &&(usize, ConnectionId)| written.get(*at).is_some_and(|rows| rows.changes > 0);
    let moved: Vec<_> = moving.iter().filter(is_moved).map(|(_, id)| id.clone()).collect();
    for id in moved.iter().take(MOST_COPIES) {
        removal::forget_outdated(core, id).await;
    }
    let overtaken = u64::try_from(moving.len() - moved.len()).unwrap_or(0);
    let left = if is_last { 0 } else { rows::pending(core.db(), of, &after).await? };
    Ok(Moves {
        moved: u64::try_from(moved.len()).unwrap_or(0),
        staying,
        pending: undecided + overtaken + u64::try_from(left).unwrap_or(0),
    })
}

/// Where and when it goes on. All are looked at once more, until a pass moves nothing and leaves nothing undecided: a move
/// may have met a refresh.
fn next_step(
    of: &DefinitionMove,
    after: &Cursor,
    is_last: bool,
    is_unsettled: bool,
    now: Timestamp,
) -> (Cursor, Option<Timestamp>, i64) {
    // What happened on the way calls for another pass, also when later steps find nothing to do.
    let passes = if is_unsettled { of.passes.max(1) } else { of.passes };
    match (is_last, passes) {
        (false, _) => (after.clone(), Some(now), passes),
        (true, 0) => (Cursor::first(), None, 0),
        (true, _) => (Cursor::first(), Some(now.plus(NEXT_PASS)), passes - 1),
    }
}

/// Judges connections, each kind once.
struct Judge<'a, P> {
    core: &'a Core<P>,
    of: &'a DefinitionMove,
    new: Rc<Definition>,
    olds: BTreeMap<i64, Option<Rc<Definition>>>,
    known: BTreeMap<String, Judgement>,
    /// Whether a client serves a way of the new definition.
    clients: BTreeMap<(ClientId, WayId), bool>,
    look_ups: i64,
}

impl<'a, P: Ports> Judge<'a, P> {
    fn new(core: &'a Core<P>, of: &'a DefinitionMove) -> Result<Self> {
        let new = registry::definition(core, &of.app.id, of.app.revision, Some(&of.app.definition))?;
        Ok(Self { core, of, new, olds: BTreeMap::new(), known: BTreeMap::new(), clients: BTreeMap::new(), look_ups: 0 })
    }

    /// `None` where this step has judged as many kinds as it may.
    async fn judgement(&mut self, connection: &Connection) -> Result<Option<Judgement>> {
        let kind = serde_json::json!([
            connection.app_revision,
            connection.way,
            connection.kind,
            connection.client,
            connection.destinations,
            connection.variables,
            connection.account.is_some(),
        ])
        .to_string();
        if let Some(known) = self.known.get(&kind) {
            return Ok(Some(known.clone()));
        }
        if self.look_ups > MOST_LOOK_UPS {
            return Ok(None);
        }
        let judgement = self.judge(connection).await?;
        self.known.insert(kind, judgement.clone());
        Ok(Some(judgement))
    }

    async fn judge(&mut self, connection: &Connection) -> Result<Judgement> {
        let old = self.old(connection).await?.and_then(|old| old.way(Some(&connection.way)));
        let new = self.new.way(Some(&connection.way));
        let stays =
            |obstacle, hosts| Judgement::Stays(DefinitionChange { revision: self.of.app.revision, obstacle, hosts });
        let none = BTreeSet::new;
        let Some((old, new)) = old.zip(new).filter(|(old, new)| has_same_method(old, new, connection)) else {
            return Ok(stays(Obstacle::Method, none()));
        };
        if old.fields.iter().map(|one| (&one.id, one.secret)).ne(new.fields.iter().map(|one| (&one.id, one.secret))) {
            return Ok(stays(Obstacle::Fields, none()));
        }
        if !has_all_variables(&new, connection) {
            return Ok(stays(Obstacle::Variables, none()));
        }
        let is_discovered = |app: &App| app.issuer().is_some();
        if connection.destinations.is_none() {
            self.look_ups += if is_discovered(&old) { DISCOVERY_COST } else { 0 };
        }
        if is_discovered(&new) {
            self.look_ups += DISCOVERY_COST;
        }
        let Some(before) = registry::destinations_at(self.core, connection, &old).await? else {
            return Ok(Judgement::Unknown);
        };
        // Nobody asks an issuer that the connection does not have already.
        let stated = Destinations::of_client(&new, &connection.variables);
        if new.issuer().is_some() && !before.cover(&stated) {
            return Ok(stays(Obstacle::Addresses, before.added_by(&stated)));
        }
        let at = match registry::endpoints_if_any(self.core, &new, &connection.variables).await {
            Ok(at) => at,
            Err(error) => return unresolved(error, stays(Obstacle::Variables, none())),
        };
        let wanted = Destinations::of_grant(&new, at.as_ref(), &connection.variables);
        if !before.cover(&wanted) {
            return Ok(stays(Obstacle::Addresses, before.added_by(&wanted)));
        }
        if connection.account.is_some() && !means_the_same(&old, &new) {
            return Ok(stays(Obstacle::Identity, none()));
        }
        if !self.client_serves(connection, &new).await? {
            return Ok(stays(Obstacle::Client, none()));
        }
        Ok(Judgement::Moves(before))
    }

    /// Whether the connection's client was set up for the addresses of the new definition.
    async fn client_serves(&mut self, connection: &Connection, new: &App) -> Result<bool> {
        let Some(id) = &connection.client else { return Ok(true) };
        let key = (id.clone(), new.way.clone());
        if let Some(known) = self.clients.get(&key) {
            return Ok(*known);
        }
        self.look_ups += 2;
        let serves = match clients::get(self.core.db(), &connection.workspace, id).await? {
            Some(client) if client.registration == new.registration() => {
                client_setup::surely_serves(self.core, &client, new).await?
            }
            _ => false,
        };
        self.clients.insert(key, serves);
        Ok(serves)
    }

    /// The definition that a connection was made with; none where it can't be read any more.
    async fn old(&mut self, connection: &Connection) -> Result<Option<Rc<Definition>>> {
        if let Some(known) = self.olds.get(&connection.app_revision) {
            return Ok(known.clone());
        }
        self.look_ups += 1;
        let Connection { workspace, app, app_revision, .. } = connection;
        let old = match registry::at_revision(self.core, workspace, app, *app_revision).await {
            Ok(old) => Some(old),
            Err(error) if matches!(error.code, Code::DatabaseUnavailable | Code::Misconfigured) => return Err(error),
            Err(_) => None,
        };
        self.olds.insert(*app_revision, old.clone());
        Ok(old)
    }
}

/// An issuer that does not answer may answer later.
fn unresolved(error: Error, stays: Judgement) -> Result<Judgement> {
    match error.code {
        Code::AppUnavailable => Ok(Judgement::Unknown),
        Code::DatabaseUnavailable | Code::Misconfigured => Err(error),
        _ => Ok(stays),
    }
}

/// Whether the credential that a connection has is one of the new definition, too.
fn has_same_method(old: &App, new: &App, connection: &Connection) -> bool {
    let tokens = |app: &App| app.server().map(|server| (server.grant.clone(), server.tokens.clone()));
    new.kind == connection.kind && old.kind == new.kind && tokens(old) == tokens(new)
}

/// Whether everything that the new definition's addresses depend on is known, and fits.
fn has_all_variables(new: &App, connection: &Connection) -> bool {
    new.variables.iter().all(|(name, variable)| {
        connection.variables.get(name).is_some_and(|value| variable.read(value).as_ref() == Ok(value))
    })
}

/// Whether an account's id means the same by both definitions. A definition that can't tell whose account it is means
/// nothing else by it.
fn means_the_same(old: &App, new: &App) -> bool {
    match (&old.identity, &new.identity) {
        (Some(old), Some(new)) => tells_the_same(old, new),
        (None, Some(_)) => false,
        (Some(_), None) => new.issuer().is_none(),
        (None, None) => old.issuer().is_some() == new.issuer().is_some(),
    }
}

fn tells_the_same(old: &Identity, new: &Identity) -> bool {
    let asked = |identity: &Identity| {
        identity.probe.as_ref().map(|probe| (probe.method, probe.url.pattern(&Values::new()).ok(), probe.body.clone()))
    };
    (&old.account.id, &old.account.marks) == (&new.account.id, &new.account.marks) && asked(old) == asked(new)
}
