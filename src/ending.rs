//! Ends what was left: connections whose disconnect did not finish, and all that a deleted workspace had.
//!
//! Owns what one run does of it. Rows with nothing to revoke are erased many at a time, without a request each; grants are
//! revoked at their apps, several at once, in slices whose results are written before the next one begins, so that a run
//! that dies repeats one slice at most. Nothing waits for a revocation that fails: it is kept as a job of its own.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;

use crate::app::Definition;
use crate::connect::settle;
use crate::core::Core;
use crate::disconnect::{self, Ending, Revoked};
use crate::error::Result;
use crate::frozen;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Cache, Database, Ports, Statement};
use crate::registry;
use crate::resolve::{cached, removal};
use crate::store::authorizations::Authorization;
use crate::store::cache_deletes::{self, CacheDelete};
use crate::store::erasing::{self, Ended, RevisionKey};
use crate::store::maintenance::{self, Leftovers};
use crate::time::Timestamp;

/// Revocations and deletions under way at once: the platform opens six connections per request.
const AT_ONCE: usize = 6;
/// Revocations whose results are written together: two waves, well inside a lease.
const SLICE: usize = 12;
/// Round trips to the database that a slice takes: to take up, to read what is known, to write the results.
const OF_A_SLICE: i64 = 3;
/// Subrequests that ending a flow may take.
const OF_A_FLOW: i64 = 11;
/// Requests that a revocation takes where nothing is known of the app.
const USUAL_REQUESTS: i64 = 3;

/// What a run has done of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    /// Rows erased.
    pub(crate) erased: u64,
    /// Grants that an app confirmed as revoked.
    pub(crate) revoked: u64,
    /// Entries deleted from the cache.
    pub(crate) copies_removed: u64,
}

/// A grant to revoke, and the requests that may take.
enum Grant {
    Ended(ConnectionId, i64),
    Kept(ConnectionId, i64),
}

impl Grant {
    fn cost(&self) -> i64 {
        match self {
            Self::Ended(_, cost) | Self::Kept(_, cost) => *cost,
        }
    }
}

/// What is left for a run to do, one thing after the other.
pub(crate) struct Work {
    grants: VecDeque<Grant>,
    flows: VecDeque<Authorization>,
    live: Vec<ConnectionId>,
    lease: i64,
    until: Timestamp,
    pub(crate) done: Done,
}

/// The first part of a run: tombstones and outdated copies before anything else, because they may still open doors, then all
/// that needs no request to an app. Answers what it cost in subrequests, and the rest.
pub(crate) async fn begin<P: Ports>(core: &Core<P>, left: Leftovers, lease: i64, until: Timestamp) -> (i64, Work) {
    let mut spent = 0;
    let mut done = Done::default();
    let mut statements = Vec::new();
    let written = write_tombstones(core, &left.without_tombstone).await;
    spent += count(left.without_tombstone.len());
    if !written.is_empty() {
        statements.push(erasing::tombstoned(&written, core.now()));
    }
    let copies_removed = remove_copies(core, &left.cache_deletes).await;
    spent += count(left.cache_deletes.len());
    if !copies_removed.is_empty() {
        done.copies_removed = u64::try_from(copies_removed.len()).unwrap_or(0);
        statements.push(cache_deletes::done(&copies_removed));
    }
    spent += i64::from(write(core, statements).await.is_some());

    let definitions = definitions(core, &left.ended).await;
    spent += i64::from(!definitions.is_empty());
    let (with_grant, without): (Vec<_>, Vec<_>) = left
        .ended
        .into_iter()
        .map(|one| (cost_of(core, &definitions, &one), one))
        .partition(|(cost, _)| cost.is_some());
    let without: Vec<_> = without.into_iter().map(|(_, one)| one).collect();
    let rows = core.config.erase_batch;
    match without_grant(core, &without, left.revoked_keys.then(|| core.now().plus(-lease)), rows) {
        Ok(statements) => {
            if let Some(erased) = write(core, statements).await {
                done.erased += erased;
                spent += 1;
            }
        }
        Err(error) => core.log_cause(&error),
    }
    // Connections first: while there are many, their workspace has to wait.
    let rest = rows - count(without.len()) * erasing::ROWS_OF_A_CONNECTION;
    let workspaces = count(left.workspaces.len());
    for workspace in &left.workspaces {
        spent += 1;
        match erasing::empty_workspace(core.db(), workspace, rest / workspaces.max(1), core.now()).await {
            Ok(erased) => done.erased += erased,
            Err(error) => core.log_cause(&error.into()),
        }
    }
    let live = with_grant.iter().filter(|(_, one)| !one.workspace_deleted).map(|(_, one)| one.id.clone()).collect();
    let kept = left.revocations.into_iter().map(|id| Grant::Kept(id, USUAL_REQUESTS));
    let ended = with_grant.into_iter().map(|(cost, one)| Grant::Ended(one.id, cost.unwrap_or(USUAL_REQUESTS)));
    let work = Work { grants: taking_turns(ended, kept), flows: left.flows.into(), live, lease, until, done };
    (spent, work)
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// New and repeated revocations by turns, so that many of one kind do not hold up the other.
fn taking_turns(ended: impl Iterator<Item = Grant>, kept: impl Iterator<Item = Grant>) -> VecDeque<Grant> {
    let (mut ended, mut kept) = (ended, kept);
    let mut grants = VecDeque::new();
    loop {
        let (one, other) = (ended.next(), kept.next());
        if one.is_none() && other.is_none() {
            return grants;
        }
        grants.extend(one.into_iter().chain(other));
    }
}

/// Writes statements in one transaction; answers how many rows were deleted, `None` where there was nothing to write. What fails
/// is done by a later run.
async fn write<P: Ports>(core: &Core<P>, statements: Vec<Statement>) -> Option<u64> {
    if statements.is_empty() {
        return None;
    }
    let deletes: Vec<_> = statements.iter().map(|one| one.sql.starts_with("DELETE")).collect();
    match core.db().batch(statements).await {
        Ok(answers) => {
            Some(answers.iter().zip(deletes).filter(|(_, is_delete)| *is_delete).map(|(rows, _)| rows.changes).sum())
        }
        Err(error) => {
            core.log_cause(&error.into());
            Some(0)
        }
    }
}

async fn write_tombstones<'a, P: Ports>(core: &Core<P>, workspaces: &'a [WorkspaceId]) -> Vec<&'a WorkspaceId> {
    let written = join_all(workspaces.iter().map(|id| cached::write_tombstone(core, id))).await;
    workspaces.iter().zip(written).filter(|(_, written)| *written).map(|(id, _)| id).collect()
}

async fn remove_copies<'a, P: Ports>(core: &Core<P>, notes: &'a [CacheDelete]) -> Vec<&'a str> {
    stream::iter(notes)
        .map(|note| async move { cached::forget_once(core, &note.name).await.then_some(note.id.as_str()) })
        .buffer_unordered(AT_ONCE)
        .filter_map(|id| async move { id })
        .collect()
        .await
}

/// Definitions of the custom apps that ended connections are of; those that can't be read are left out.
async fn definitions<P: Ports>(core: &Core<P>, ended: &[Ended]) -> BTreeMap<RevisionKey, Rc<Definition>> {
    /// Definitions that a run reads: each may have 64 KB.
    const MOST: usize = 20;
    let mut keys: Vec<_> = ended.iter().filter(|one| one.app_revision > 0 && one.is_sealed).map(revision).collect();
    keys.sort();
    keys.dedup();
    keys.truncate(MOST);
    if keys.is_empty() {
        return BTreeMap::new();
    }
    let read = erasing::definitions(core.db(), &keys).await.unwrap_or_else(|error| {
        core.log_cause(&error.into());
        BTreeMap::new()
    });
    let parsed = read.into_iter().filter_map(|(key, text)| {
        let definition = registry::definition(core, &key.1, key.2, Some(&text)).ok()?;
        Some((key, definition))
    });
    parsed.collect()
}

fn revision(of: &Ended) -> RevisionKey {
    (of.workspace.clone(), of.app.clone(), of.app_revision)
}

/// The requests that revoking takes; `None` where there is no grant to revoke: no credential, one that the app had refused
/// for good, or an app without a way to revoke.
fn cost_of<P: Ports>(core: &Core<P>, definitions: &BTreeMap<RevisionKey, Rc<Definition>>, of: &Ended) -> Option<i64> {
    if !of.is_sealed || (of.is_dead && of.workspace_deleted) {
        return None;
    }
    let definition = if of.app_revision > 0 {
        definitions.get(&revision(of)).cloned()
    } else {
        registry::definition(core, &of.app, 0, None).ok()
    };
    match definition.and_then(|definition| registry::way(&definition, &of.way).ok()) {
        Some(app) => disconnect::requests_to_revoke(&app),
        None => Some(USUAL_REQUESTS),
    }
}

/// Erases connections that have no grant, and keys that were revoked. Of single disconnects the trail tells.
fn without_grant<P: Ports>(
    core: &Core<P>,
    ended: &[Ended],
    keys_revoked_before: Option<Timestamp>,
    rows: i64,
) -> Result<Vec<Statement>> {
    let has_cache = core.ports.cache().is_bound();
    let keys = |before| maintenance::erase_revoked_keys(before, (rows / 12).max(1), core.now(), has_cache);
    let mut statements = keys_revoked_before.map(keys).unwrap_or_default();
    if !ended.is_empty() {
        let ids: Vec<_> = ended.iter().map(|one| &one.id).collect();
        statements.extend(erasing::erase_connections(&ids, rows));
    }
    // One without a credential was told of already, or had none to tell of.
    for one in ended.iter().filter(|one| !one.workspace_deleted && one.is_sealed) {
        statements.extend(removal::note_for_the_schedule(core, &one.id)?);
        let word = disconnect::word(Revoked::Unsupported);
        statements.push(core.event(&one.workspace, &one.id, frozen::event::DISCONNECTED, "clock", Some(word))?);
    }
    Ok(statements)
}

impl Work {
    /// Does as much as a budget of subrequests allows, and at least one thing of each kind, so that no kind waits for
    /// ever; answers what it cost.
    pub(crate) async fn do_at_least_one<P: Ports>(&mut self, core: &Core<P>, budget: i64) -> i64 {
        let mut spent = self.end_flow(core).await;
        spent += self.revoke_slice(core, (budget - spent).max(OF_A_SLICE)).await;
        spent + self.do_some(core, budget - spent).await
    }

    /// Does as much as a budget of subrequests allows; answers what it cost.
    pub(crate) async fn do_some<P: Ports>(&mut self, core: &Core<P>, budget: i64) -> i64 {
        let mut spent = 0;
        while core.now() < self.until && !self.flows.is_empty() && spent + OF_A_FLOW <= budget {
            spent += self.end_flow(core).await;
        }
        while core.now() < self.until
            && let Some(next) = self.grants.front()
            && spent + OF_A_SLICE + next.cost() <= budget
        {
            spent += self.revoke_slice(core, budget - spent).await;
        }
        spent
    }

    async fn end_flow<P: Ports>(&mut self, core: &Core<P>) -> i64 {
        let Some(flow) = self.flows.pop_front() else { return 0 };
        if let Err(error) = settle::expire(core, &flow).await {
            core.log_cause(&error);
        }
        OF_A_FLOW
    }

    /// Revokes as many grants as fit in a budget, at least one, and writes what came of them.
    async fn revoke_slice<P: Ports>(&mut self, core: &Core<P>, budget: i64) -> i64 {
        let mut spent = OF_A_SLICE;
        let mut slice = Vec::new();
        while slice.len() < SLICE
            && let Some(next) = self.grants.pop_front_if(|next| slice.is_empty() || spent + next.cost() <= budget)
        {
            spent += next.cost();
            slice.push(next);
        }
        if slice.is_empty() {
            return 0;
        }
        match self.revoke(core, &slice).await {
            Ok(revoked) => self.done.revoked += revoked,
            Err(error) => core.log_cause(&error),
        }
        spent
    }

    async fn revoke<P: Ports>(&self, core: &Core<P>, slice: &[Grant]) -> Result<u64> {
        let (mut ended, mut kept) = (Vec::new(), Vec::new());
        for grant in slice {
            match grant {
                Grant::Ended(id, _) => ended.push(id),
                Grant::Kept(id, _) => kept.push(id),
            }
        }
        let (ended, kept) = erasing::take_up(core.db(), (&ended, &kept), core.now(), self.lease).await?;
        let mut endings: Vec<_> = ended.iter().map(|one| Ending::of(core, one)).collect();
        endings.extend(kept.into_iter().map(|job| Ending::of_kept(core, job)));
        if endings.is_empty() {
            return Ok(0);
        }
        let known = disconnect::surroundings(core, &endings).await?;
        let outcomes: Vec<(usize, Revoked)> = stream::iter(endings.iter().enumerate())
            .map(|(at, ending)| {
                let known = &known;
                async move { (at, ending.revoke(core, known, at).await) }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let results: Vec<_> =
            outcomes.into_iter().filter_map(|(at, revoked)| Some((endings.get(at)?, revoked))).collect();
        if let Err(error) = self.record(core, &results).await {
            core.log_cause(&error);
            // One row that can't be written must not keep the others unwritten.
            for result in &results {
                if let Err(error) = self.record(core, std::slice::from_ref(result)).await {
                    core.log_cause(&error);
                }
            }
        }
        let confirmed = results.iter().filter(|(_, revoked)| *revoked == Revoked::Confirmed).count();
        Ok(u64::try_from(confirmed).unwrap_or(0))
    }

    /// Writes what came of revocations, in one transaction.
    async fn record<P: Ports>(&self, core: &Core<P>, results: &[(&Ending, Revoked)]) -> Result<()> {
        let mut statements = Vec::new();
        let mut erased = Vec::new();
        for (ending, revoked) in results {
            statements.extend(ending.statements(core, *revoked)?);
            if ending.is_kept() {
                continue;
            }
            erased.push(ending.connection());
            if self.live.contains(ending.connection()) {
                statements.extend(removal::note_for_the_schedule(core, ending.connection())?);
                statements.push(ending.event(core, *revoked)?);
            }
        }
        if !erased.is_empty() {
            statements.extend(erasing::erase_connections(&erased, core.config.erase_batch));
        }
        core.db().batch(statements).await?;
        Ok(())
    }
}
