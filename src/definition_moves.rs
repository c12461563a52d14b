//! A changed definition reaches the connections that were made with an earlier one.
//!
//! Owns the question whether a connection may follow, and the steps in which all are asked: the call that changes the
//! definition takes the first step, the scheduled run takes the others. Refuses to move a connection whose secrets would
//! go to another address, whose account would be known by another id, or that is being refreshed. One that stays says why.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Serialize;

use crate::app::{App, AppId, AuthMethod, AuthMethodId, IdentityLookup, TemplateValues};
use crate::audit::{Actor, EventType};
use crate::cache;
use crate::connect::client_setup;
use crate::connection::{Connection, DefinitionChange, MoveObstacle};
use crate::context::Context;
use crate::destinations::Destinations;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{ClientId, ConnectionId, WorkspaceId};
use crate::ports::{Database, Ports};
use crate::registry::{self, DISCOVERY_SUBREQUESTS};
use crate::store::definition_moves::{self as rows, DefinitionMove, MoveCursor};
use crate::store::{clients, events};
use crate::time::Timestamp;

/// Connections that a step looks at.
const MAX_CONNECTIONS: i64 = 200;
/// Subrequests after which a step judges no further kind of connection. One may take eleven: a definition, a client with its
/// revisions, and twice the discovery of an issuer's endpoints.
const MAX_LOOKUPS: i64 = 8;
/// Copies in the cache that are deleted at once; the others are replaced at their next use or end within the hour.
const MAX_CACHE_DELETES: usize = 3;
/// Subrequests that a step may take.
pub(crate) const STEP_COST: i64 = 25;
/// Seconds until all are looked at once more: a flow, or a grant that waits for confirmation, may bring a connection with an
/// earlier revision until then.
const NEXT_PASS_DELAY: i64 = 3900;
/// Seconds that a step is given before the scheduled run goes on.
const LEASE: i64 = 120;

/// What became of the connections that were made with earlier definitions of the app.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "DefinitionMoves"))]
pub struct MoveCounts {
    /// They follow the current definition now.
    pub moved: u64,
    /// They stay with theirs. Each shows `definition_changed` under `attention`.
    pub staying: u64,
    /// The scheduled run still looks at them: those beyond the first 200, those that are being refreshed, and those whose
    /// issuer did not answer.
    pub pending: u64,
}

/// Begins with the first connections of an app's earlier revisions. The scheduled run goes on with the others.
pub async fn begin<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &AppId,
    actor: &Actor,
) -> Result<MoveCounts> {
    let due = context.now().plus(LEASE);
    match rows::restart(context.db(), workspace, id, due).await? {
        Some(of) => run_step(context, &of, actor).await,
        None => Ok(MoveCounts::default()),
    }
}

/// What is to become of connections that are alike.
#[derive(Clone)]
enum MoveDecision {
    /// They may follow; these are the addresses that they keep.
    Move(Rc<Destinations>),
    /// They stay.
    Stay(DefinitionChange),
    /// That can't be told now.
    Undecided,
}

/// One step.
pub(crate) async fn run_step<P: Ports>(context: &Context<P>, of: &DefinitionMove, actor: &Actor) -> Result<MoveCounts> {
    let mut behind = rows::list_behind(context.db(), of, MAX_CONNECTIONS + 1).await?;
    let limit = usize::try_from(MAX_CONNECTIONS).unwrap_or(usize::MAX);
    let mut is_last = behind.len() <= limit;
    behind.truncate(limit);
    let mut judge = match MoveDecider::new(context, of) {
        Ok(judge) => judge,
        // No connection can follow what can't be read. Another revision begins anew.
        Err(error) => {
            context.log_cause(&error);
            context.db().batch(vec![rows::advance(of, &MoveCursor::start(), None, 0)]).await?;
            return Ok(MoveCounts::default());
        }
    };
    let (mut statements, mut moving, mut staying) = (Vec::new(), Vec::new(), 0);
    let (mut after, mut undecided) = (of.after.clone(), 0_u64);
    for (place, connection) in &behind {
        let Some(connection) = connection else {
            after = place.clone();
            continue;
        };
        let Some(judgement) = judge.decide_once(connection).await? else {
            is_last = false;
            break;
        };
        after = place.clone();
        let event = |kind, detail: &str| {
            context.event_statement(&connection.workspace, &connection.id, kind, actor, Some(detail))
        };
        match judgement {
            // Its refresh ends as it began; the next pass comes back for it. What an attempt left behind that never came
            // back stays until the next one: at an app that is silent that is always there.
            MoveDecision::Move(_) if connection.active_lease(context.now()).is_some() => undecided += 1,
            MoveDecision::Undecided => undecided += 1,
            MoveDecision::Move(keeps) => {
                let detail = format!("revision {} → {}", connection.app_revision, of.app.revision);
                moving.push((statements.len(), connection.id.clone()));
                statements.push(rows::move_connection(of, connection, &keeps, context.now()));
                statements.push(events::insert_if_changed(event(EventType::DefinitionUpdated, &detail)?));
            }
            MoveDecision::Stay(why) => {
                staying += 1;
                let detail = why.obstacle.as_str();
                statements.push(rows::mark_definition_changed(connection, &why));
                statements.push(events::insert_if_changed(event(EventType::DefinitionChanged, detail)?));
            }
        }
    }
    let (next, due, passes) = next_cursor(of, &after, is_last, undecided > 0 || !moving.is_empty(), context.now());
    statements.push(rows::advance(of, &next, due, passes));
    let written = context.db().batch(statements).await?;
    let is_moved = |(at, _): &&(usize, ConnectionId)| written.get(*at).is_some_and(|rows| rows.changes > 0);
    let moved: Vec<_> = moving.iter().filter(is_moved).map(|(_, id)| id.clone()).collect();
    for id in moved.iter().take(MAX_CACHE_DELETES) {
        cache::delete_outdated_entry(context, id).await;
    }
    let overtaken = u64::try_from(moving.len() - moved.len()).unwrap_or(0);
    let left = if is_last { 0 } else { rows::count_behind(context.db(), of, &after).await? };
    Ok(MoveCounts {
        moved: u64::try_from(moved.len()).unwrap_or(0),
        staying,
        pending: undecided + overtaken + u64::try_from(left).unwrap_or(0),
    })
}

/// Where and when it goes on. All are looked at once more, until a pass moves nothing and leaves nothing undecided: a move
/// may have met a refresh.
fn next_cursor(
    of: &DefinitionMove,
    after: &MoveCursor,
    is_last: bool,
    is_unsettled: bool,
    now: Timestamp,
) -> (MoveCursor, Option<Timestamp>, i64) {
    // What happened on the way calls for another pass, also when later steps find nothing to do.
    let passes = if is_unsettled { of.passes.max(1) } else { of.passes };
    match (is_last, passes) {
        (false, _) => (after.clone(), Some(now), passes),
        (true, 0) => (MoveCursor::start(), None, 0),
        (true, _) => (MoveCursor::start(), Some(now.plus(NEXT_PASS_DELAY)), passes - 1),
    }
}

/// Judges connections, each kind once.
struct MoveDecider<'a, P: Ports> {
    context: &'a Context<P>,
    of: &'a DefinitionMove,
    new_app: Rc<App>,
    old_apps: BTreeMap<i64, Option<Rc<App>>>,
    decisions: BTreeMap<String, MoveDecision>,
    /// Whether a client serves a way of the new definition.
    clients: BTreeMap<(ClientId, AuthMethodId), bool>,
    lookups: i64,
}

impl<'a, P: Ports> MoveDecider<'a, P> {
    fn new(context: &'a Context<P>, of: &'a DefinitionMove) -> Result<Self> {
        let new = registry::parse_app_revision(context, &of.app.id, of.app.revision, Some(&of.app.definition))?;
        Ok(Self {
            context,
            of,
            new_app: new,
            old_apps: BTreeMap::new(),
            decisions: BTreeMap::new(),
            clients: BTreeMap::new(),
            lookups: 0,
        })
    }

    /// `None` where this step has judged as many kinds as it may.
    async fn decide_once(&mut self, connection: &Connection) -> Result<Option<MoveDecision>> {
        let kind = serde_json::json!([
            connection.app_revision,
            connection.auth_method,
            connection.kind,
            connection.client,
            connection.destinations,
            connection.variables,
            connection.account.is_some(),
        ])
        .to_string();
        if let Some(known) = self.decisions.get(&kind) {
            return Ok(Some(known.clone()));
        }
        if self.lookups > MAX_LOOKUPS {
            return Ok(None);
        }
        let judgement = self.decide(connection).await?;
        self.decisions.insert(kind, judgement.clone());
        Ok(Some(judgement))
    }

    async fn decide(&mut self, connection: &Connection) -> Result<MoveDecision> {
        let old = self.load_old_app(connection).await?.and_then(|old| old.auth_method(Some(&connection.auth_method)));
        let new = self.new_app.auth_method(Some(&connection.auth_method));
        let stays =
            |obstacle, hosts| MoveDecision::Stay(DefinitionChange { revision: self.of.app.revision, obstacle, hosts });
        let none = BTreeSet::new;
        let Some((old, new)) = old.zip(new).filter(|(old, new)| has_same_method(old, new, connection)) else {
            return Ok(stays(MoveObstacle::Method, none()));
        };
        if old.fields.iter().map(|one| (&one.id, one.secret)).ne(new.fields.iter().map(|one| (&one.id, one.secret))) {
            return Ok(stays(MoveObstacle::Fields, none()));
        }
        if !has_all_variables(&new, connection) {
            return Ok(stays(MoveObstacle::Variables, none()));
        }
        let is_discovered = |auth_method: &AuthMethod| auth_method.issuer().is_some();
        if connection.destinations.is_none() {
            self.lookups += if is_discovered(&old) { DISCOVERY_SUBREQUESTS } else { 0 };
        }
        if is_discovered(&new) {
            self.lookups += DISCOVERY_SUBREQUESTS;
        }
        let Some(before) = registry::load_destinations_with_method(self.context, connection, &old).await? else {
            return Ok(MoveDecision::Undecided);
        };
        // Nobody asks an issuer that the connection does not have already.
        let stated = Destinations::for_client(&new, &connection.variables);
        if new.issuer().is_some() && !before.covers(&stated) {
            return Ok(stays(MoveObstacle::Addresses, before.list_additions(&stated)));
        }
        let endpoints = match registry::load_endpoints_if_any(self.context, &new, &connection.variables).await {
            Ok(endpoints) => endpoints,
            Err(error) => return decide_on_error(error, stays(MoveObstacle::Variables, none())),
        };
        let wanted = Destinations::for_grant(&new, endpoints.as_ref(), &connection.variables);
        if !before.covers(&wanted) {
            return Ok(stays(MoveObstacle::Addresses, before.list_additions(&wanted)));
        }
        if connection.account.is_some() && !has_same_account_id(&old, &new) {
            return Ok(stays(MoveObstacle::Identity, none()));
        }
        if !self.is_client_set_up_for(connection, &new).await? {
            return Ok(stays(MoveObstacle::Client, none()));
        }
        Ok(MoveDecision::Move(before))
    }

    /// Whether the connection's client was set up for the addresses of the new definition.
    async fn is_client_set_up_for(&mut self, connection: &Connection, new: &AuthMethod) -> Result<bool> {
        let Some(id) = &connection.client else { return Ok(true) };
        let key = (id.clone(), new.method_id.clone());
        if let Some(known) = self.clients.get(&key) {
            return Ok(*known);
        }
        self.lookups += 2;
        let serves = match clients::get(self.context.db(), &connection.workspace, id).await? {
            Some(client) if client.registration == new.registration() => {
                client_setup::verify_set_up_for(self.context, &client, new).await?
            }
            _ => false,
        };
        self.clients.insert(key, serves);
        Ok(serves)
    }

    /// The definition that a connection was made with; none where it can't be read any more.
    async fn load_old_app(&mut self, connection: &Connection) -> Result<Option<Rc<App>>> {
        if let Some(known) = self.old_apps.get(&connection.app_revision) {
            return Ok(known.clone());
        }
        self.lookups += 1;
        let Connection { workspace, app, app_revision, .. } = connection;
        let old = match registry::load_app_at_revision(self.context, workspace, app, *app_revision).await {
            Ok(old) => Some(old),
            Err(error) if matches!(error.code, ErrorCode::DatabaseUnavailable | ErrorCode::Misconfigured) => {
                return Err(error);
            }
            Err(_) => None,
        };
        self.old_apps.insert(*app_revision, old.clone());
        Ok(old)
    }
}

/// An issuer that does not answer may answer later.
fn decide_on_error(error: Error, stays: MoveDecision) -> Result<MoveDecision> {
    match error.code {
        ErrorCode::AppUnavailable => Ok(MoveDecision::Undecided),
        ErrorCode::DatabaseUnavailable | ErrorCode::Misconfigured => Err(error),
        _ => Ok(stays),
    }
}

/// Whether the credential that a connection has is one of the new definition, too.
fn has_same_method(old: &AuthMethod, new: &AuthMethod, connection: &Connection) -> bool {
    let tokens = |auth_method: &AuthMethod| {
        auth_method.oauth_server().map(|server| (server.grant_type.clone(), server.tokens.clone()))
    };
    new.kind == connection.kind && old.kind == new.kind && tokens(old) == tokens(new)
}

/// Whether everything that the new definition's addresses depend on is known, and fits.
fn has_all_variables(new: &AuthMethod, connection: &Connection) -> bool {
    new.variables.iter().all(|(name, variable)| {
        connection.variables.get(name).is_some_and(|value| variable.parse_value(value).as_ref() == Ok(value))
    })
}

/// Whether an account's id means the same by both definitions. A definition that can't tell whose account it is means
/// nothing else by it.
fn has_same_account_id(old: &AuthMethod, new: &AuthMethod) -> bool {
    match (&old.identity, &new.identity) {
        (Some(old), Some(new)) => has_same_identity_request(old, new),
        (None, Some(_)) => false,
        (Some(_), None) => new.issuer().is_none(),
        (None, None) => old.issuer().is_some() == new.issuer().is_some(),
    }
}

fn has_same_identity_request(old: &IdentityLookup, new: &IdentityLookup) -> bool {
    let asked = |identity: &IdentityLookup| {
        identity
            .probe
            .as_ref()
            .map(|probe| (probe.method, probe.url.fill_partially(&TemplateValues::new()).ok(), probe.body.clone()))
    };
    (&old.account.id, &old.account.marks) == (&new.account.id, &new.account.marks) && asked(old) == asked(new)
}
