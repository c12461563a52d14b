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

use crate::app::App;
use crate::audit::{Actor, EventType};
use crate::cache;
use crate::connect::complete;
use crate::context::Context;
use crate::error::Result;
use crate::gather::Gather as _;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Cache, Database, Ports, Rows, Statement};
use crate::registry;
use crate::revocation::{self, PendingRevocation, RevocationOutcome};
use crate::store::authorizations::Flow;
use crate::store::cache_deletes::{self, CacheDelete};
use crate::store::disconnect_jobs;
use crate::store::erasing::{self, AppRevisionKey, DisconnectedConnection};
use crate::store::events;
use crate::store::maintenance::{self, UnfinishedWork};
use crate::store::replacements;
use crate::time::Timestamp;

/// Revocations and deletions under way at once: the platform opens six connections per request.
const MAX_CONCURRENT: usize = 6;
/// Revocations whose results are written together: two waves, well inside a lease.
const SLICE_SIZE: usize = 12;
/// Round trips to the database that a slice takes: to take up, to read what is known, to write the results.
const SLICE_COST: i64 = 3;
/// Subrequests that ending a flow may take.
const FLOW_COST: i64 = 11;
/// Requests that a revocation takes where nothing is known of the app.
const DEFAULT_REVOCATION_COST: i64 = 3;

/// What a run has done of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CleanupCounts {
    /// Rows erased.
    pub(crate) erased: u64,
    /// Grants that an app confirmed as revoked.
    pub(crate) revoked: u64,
    /// Entries deleted from the cache.
    pub(crate) cache_entries_deleted: u64,
}

/// A grant to revoke, and the requests that may take.
enum GrantToRevoke {
    Disconnected(ConnectionId, i64),
    StoredJob(ConnectionId, i64),
}

impl GrantToRevoke {
    fn cost(&self) -> i64 {
        match self {
            Self::Disconnected(_, cost) | Self::StoredJob(_, cost) => *cost,
        }
    }
}

/// What is left for a run to do, one thing after the other.
pub(crate) struct CleanupWork {
    grants: VecDeque<GrantToRevoke>,
    flows: VecDeque<Flow>,
    in_live_workspace: Vec<ConnectionId>,
    /// Whether there are jobs that count what becomes of grants.
    has_jobs: bool,
    lease: i64,
    until: Timestamp,
    pub(crate) done: CleanupCounts,
}

/// The first part of a run: tombstones and outdated copies before anything else, because they may still open doors, then all
/// that needs no request to an app. Answers what it cost in subrequests, and the rest.
pub(crate) async fn begin<P: Ports>(
    context: &Context<P>,
    left: UnfinishedWork,
    lease: i64,
    until: Timestamp,
) -> (i64, CleanupWork) {
    let mut spent = 0;
    let mut done = CleanupCounts::default();
    let mut statements = Vec::new();
    let written = write_tombstones(context, &left.without_tombstone).await;
    spent += to_i64(left.without_tombstone.len());
    if !written.is_empty() {
        statements.push(erasing::mark_tombstoned(&written, context.now()));
    }
    let copies_removed = delete_cache_entries(context, &left.cache_deletes).await;
    spent += to_i64(left.cache_deletes.len());
    if !copies_removed.is_empty() {
        done.cache_entries_deleted = u64::try_from(copies_removed.len()).unwrap_or(0);
        statements.push(cache_deletes::delete(&copies_removed));
    }
    spent += i64::from(write_statements(context, statements).await.is_some());

    let definitions = load_definitions(context, &left.disconnected).await;
    spent += i64::from(!definitions.is_empty());
    let (with_grant, without): (Vec<_>, Vec<_>) = left
        .disconnected
        .into_iter()
        .map(|one| (revocation_cost(context, &definitions, &one), one))
        .partition(|(cost, _)| cost.is_some());
    let without: Vec<_> = without.into_iter().map(|(_, one)| one).collect();
    let rows = context.config.erase_batch;
    let has_jobs = !left.jobs.is_empty();
    match erase_statements(context, &without, left.has_revoked_keys.then(|| context.now().plus(-lease)), rows) {
        Ok(mut statements) => {
            if has_jobs {
                statements.insert(0, count_unsupported(&without));
            }
            if let Some(erased) = write_statements(context, statements).await {
                done.erased += erased;
                spent += 1;
            }
        }
        Err(error) => context.log_cause(&error),
    }
    // Connections first: while there are many, their workspace has to wait.
    let rest = rows - to_i64(without.len()) * erasing::WRITES_PER_CONNECTION;
    let workspaces = to_i64(left.workspaces.len()).max(1);
    let ended = (rows / erasing::WRITES_PER_CONNECTION / workspaces).max(1);
    for workspace in &left.workspaces {
        spent += 1;
        match erasing::empty_workspace(context.db(), workspace, rest / workspaces, ended, context.now()).await {
            Ok(erased) => done.erased += erased,
            Err(error) => context.log_cause(&error.into()),
        }
    }
    let live = with_grant.iter().filter(|(_, one)| !one.workspace_deleted).map(|(_, one)| one.id.clone()).collect();
    let kept = left.revocations.into_iter().map(|id| GrantToRevoke::StoredJob(id, DEFAULT_REVOCATION_COST));
    let ended = with_grant
        .into_iter()
        .map(|(cost, one)| GrantToRevoke::Disconnected(one.id, cost.unwrap_or(DEFAULT_REVOCATION_COST)));
    let work = CleanupWork {
        grants: interleave(ended, kept),
        flows: left.flows.into(),
        in_live_workspace: live,
        has_jobs,
        lease,
        until,
        done,
    };
    (spent, work)
}

/// Grants that are erased without a request, because their app revokes none.
fn count_unsupported(erased: &[DisconnectedConnection]) -> Statement {
    let word = revocation::outcome_code(RevocationOutcome::Unsupported);
    let outcomes: Vec<_> = erased.iter().filter(|one| one.has_credential).map(|one| (&one.id, word)).collect();
    disconnect_jobs::count_outcomes(&outcomes)
}

fn to_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// New and repeated revocations by turns, so that many of one kind do not hold up the other.
fn interleave(
    ended: impl Iterator<Item = GrantToRevoke>,
    kept: impl Iterator<Item = GrantToRevoke>,
) -> VecDeque<GrantToRevoke> {
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
async fn write_statements<P: Ports>(context: &Context<P>, statements: Vec<Statement>) -> Option<u64> {
    if statements.is_empty() {
        return None;
    }
    let deletes: Vec<_> = statements.iter().map(|one| one.sql.starts_with("DELETE")).collect();
    match context.db().batch(statements).await {
        Ok(answers) => {
            // A trigger that counts is a change too. What it counts is returned.
            let deleted = |rows: &Rows| {
                if rows.rows.is_empty() { rows.changes } else { u64::try_from(rows.rows.len()).unwrap_or(0) }
            };
            Some(answers.iter().zip(deletes).filter(|(_, is_delete)| *is_delete).map(|(rows, _)| deleted(rows)).sum())
        }
        Err(error) => {
            context.log_cause(&error.into());
            Some(0)
        }
    }
}

async fn write_tombstones<'a, P: Ports>(context: &Context<P>, workspaces: &'a [WorkspaceId]) -> Vec<&'a WorkspaceId> {
    let written = join_all(workspaces.iter().map(|id| cache::write_tombstone(context, id))).await;
    workspaces.iter().zip(written).filter(|(_, written)| *written).map(|(id, _)| id).collect()
}

async fn delete_cache_entries<'a, P: Ports>(context: &Context<P>, notes: &'a [CacheDelete]) -> Vec<&'a str> {
    stream::iter(notes)
        .map(|note| async move { cache::delete_once(context, &note.name).await.then_some(note.id.as_str()) })
        .buffer_unordered(MAX_CONCURRENT)
        .filter_map(|id| async move { id })
        .collect()
        .await
}

/// Definitions of the custom apps that ended connections are of; those that can't be read are left out.
async fn load_definitions<P: Ports>(
    context: &Context<P>,
    ended: &[DisconnectedConnection],
) -> BTreeMap<AppRevisionKey, Rc<App>> {
    /// Definitions that a run reads: each may have 64 KB.
    const MAX_DEFINITIONS: usize = 20;
    let mut keys: Vec<_> =
        ended.iter().filter(|one| one.app_revision > 0 && one.has_credential).map(revision_key).collect();
    keys.sort();
    keys.dedup();
    keys.truncate(MAX_DEFINITIONS);
    if keys.is_empty() {
        return BTreeMap::new();
    }
    let read = erasing::load_definitions(context.db(), &keys).await.unwrap_or_else(|error| {
        context.log_cause(&error.into());
        BTreeMap::new()
    });
    let parsed = read.into_iter().filter_map(|(key, text)| {
        let app = registry::parse_app_revision(context, &key.1, key.2, Some(&text)).ok()?;
        Some((key, app))
    });
    parsed.gather()
}

fn revision_key(of: &DisconnectedConnection) -> AppRevisionKey {
    (of.workspace.clone(), of.app.clone(), of.app_revision)
}

/// The requests that revoking takes; `None` where there is no grant to revoke: no credential, one that the app had refused
/// for good, or an app without a way to revoke.
fn revocation_cost<P: Ports>(
    context: &Context<P>,
    definitions: &BTreeMap<AppRevisionKey, Rc<App>>,
    of: &DisconnectedConnection,
) -> Option<i64> {
    if !of.has_credential || (of.needs_reconnect && of.workspace_deleted) {
        return None;
    }
    let app = if of.app_revision > 0 {
        definitions.get(&revision_key(of)).cloned()
    } else {
        registry::parse_app_revision(context, &of.app, 0, None).ok()
    };
    match app.and_then(|app| registry::auth_method(&app, &of.auth_method).ok()) {
        Some(auth_method) => revocation::revocation_request_count(&auth_method),
        None => Some(DEFAULT_REVOCATION_COST),
    }
}

/// Erases connections that have no grant, and keys that were revoked. Of single disconnects the trail tells.
fn erase_statements<P: Ports>(
    context: &Context<P>,
    ended: &[DisconnectedConnection],
    keys_revoked_before: Option<Timestamp>,
    rows: i64,
) -> Result<Vec<Statement>> {
    let has_cache = context.ports.cache().is_bound();
    let keys = |before| maintenance::erase_revoked_keys(before, (rows / 12).max(1), context.now(), has_cache);
    let mut statements = keys_revoked_before.map(keys).unwrap_or_default();
    for one in ended.iter().filter(|one| !one.workspace_deleted && one.has_credential) {
        statements.extend(cache::schedule_connection_removal(context, &one.id)?);
        let word = revocation::outcome_code(RevocationOutcome::Unsupported);
        statements.push(context.event_statement(
            &one.workspace,
            &one.id,
            EventType::Disconnected,
            &Actor::ScheduledRun,
            Some(word),
        )?);
    }
    // It lost its credential while it needed a reconnect: nothing is revoked, and nobody was told yet that it is final.
    for one in ended.iter().filter(|one| !one.workspace_deleted && !one.has_credential) {
        let word = Some(revocation::outcome_code(RevocationOutcome::Failed));
        let (disconnected, actor) = (EventType::Disconnected, Actor::ScheduledRun);
        let line = context.event_statement(&one.workspace, &one.id, disconnected, &actor, word)?;
        statements.extend([erasing::mark_if_pending(&one.workspace, &one.id), events::insert_if_changed(line)]);
    }
    // After their events, which keep the names of the connections.
    if !ended.is_empty() {
        let ids: Vec<_> = ended.iter().map(|one| &one.id).collect();
        statements.extend(tell_of_ended_replacements(context, &ids));
        statements.extend(erasing::erase_connections(&ids, rows));
    }
    Ok(statements)
}

/// Whoever resolves a connection gets another account when the one that answered for it is gone.
fn tell_of_ended_replacements<P: Ports>(context: &Context<P>, erased: &[&ConnectionId]) -> [Statement; 2] {
    let event = EventType::ReplacementEnded.as_str();
    replacements::tell_of_erased(erased, event, &Actor::ScheduledRun, context.shard(), context.now())
}

impl CleanupWork {
    /// Does as much as a budget of subrequests allows, and at least one thing of each kind, so that no kind waits for
    /// ever; answers what it cost.
    pub(crate) async fn run_at_least_one<P: Ports>(&mut self, context: &Context<P>, budget: i64) -> i64 {
        let mut spent = self.expire_flow(context).await;
        spent += self.revoke_slice(context, (budget - spent).max(SLICE_COST)).await;
        spent + self.run_within_budget(context, budget - spent).await
    }

    /// Does as much as a budget of subrequests allows; answers what it cost.
    pub(crate) async fn run_within_budget<P: Ports>(&mut self, context: &Context<P>, budget: i64) -> i64 {
        let mut spent = 0;
        while context.now() < self.until && !self.flows.is_empty() && spent + FLOW_COST <= budget {
            spent += self.expire_flow(context).await;
        }
        while context.now() < self.until
            && let Some(next) = self.grants.front()
            && spent + SLICE_COST + next.cost() <= budget
        {
            spent += self.revoke_slice(context, budget - spent).await;
        }
        spent
    }

    async fn expire_flow<P: Ports>(&mut self, context: &Context<P>) -> i64 {
        let Some(flow) = self.flows.pop_front() else { return 0 };
        if let Err(error) = complete::expire_flow(context, &flow).await {
            context.log_cause(&error);
        }
        FLOW_COST
    }

    /// Revokes as many grants as fit in a budget, at least one, and writes what came of them.
    async fn revoke_slice<P: Ports>(&mut self, context: &Context<P>, budget: i64) -> i64 {
        let mut spent = SLICE_COST;
        let mut slice = Vec::new();
        while slice.len() < SLICE_SIZE
            && let Some(next) = self.grants.pop_front_if(|next| slice.is_empty() || spent + next.cost() <= budget)
        {
            spent += next.cost();
            slice.push(next);
        }
        if slice.is_empty() {
            return 0;
        }
        match self.revoke(context, &slice).await {
            Ok(revoked) => self.done.revoked += revoked,
            Err(error) => context.log_cause(&error),
        }
        spent
    }

    async fn revoke<P: Ports>(&self, context: &Context<P>, slice: &[GrantToRevoke]) -> Result<u64> {
        let (mut ended, mut kept) = (Vec::new(), Vec::new());
        for grant in slice {
            match grant {
                GrantToRevoke::Disconnected(id, _) => ended.push(id),
                GrantToRevoke::StoredJob(id, _) => kept.push(id),
            }
        }
        let (ended, kept) =
            erasing::lease_connections_and_revocations(context.db(), &ended, &kept, context.now(), self.lease).await?;
        let mut endings: Vec<_> = ended.iter().map(|one| PendingRevocation::of_connection(context, one)).collect();
        endings.extend(kept.into_iter().map(|job| PendingRevocation::of_stored_job(context, job)));
        if endings.is_empty() {
            return Ok(0);
        }
        let known = revocation::load_surroundings(context, &endings).await?;
        let outcomes: Vec<(usize, RevocationOutcome)> = stream::iter(endings.iter().enumerate())
            .map(|(at, ending)| {
                let known = &known;
                async move { (at, ending.revoke(context, known, at).await) }
            })
            .buffer_unordered(MAX_CONCURRENT)
            .collect()
            .await;
        let results: Vec<_> =
            outcomes.into_iter().filter_map(|(at, revoked)| Some((endings.get(at)?, revoked))).collect();
        if let Err(error) = self.write_outcomes(context, &results).await {
            context.log_cause(&error);
            // One row that can't be written must not keep the others unwritten.
            for result in &results {
                if let Err(error) = self.write_outcomes(context, std::slice::from_ref(result)).await {
                    context.log_cause(&error);
                }
            }
        }
        let confirmed = results.iter().filter(|(_, revoked)| *revoked == RevocationOutcome::Confirmed).count();
        Ok(u64::try_from(confirmed).unwrap_or(0))
    }

    /// Writes what came of revocations, in one transaction.
    async fn write_outcomes<P: Ports>(
        &self,
        context: &Context<P>,
        results: &[(&PendingRevocation, RevocationOutcome)],
    ) -> Result<()> {
        let mut statements = Vec::new();
        let mut erased = Vec::new();
        for (ending, revoked) in results {
            statements.extend(ending.outcome_statements(context, *revoked)?);
            if ending.is_stored() {
                continue;
            }
            erased.push(ending.connection());
            if self.in_live_workspace.contains(ending.connection()) {
                statements.extend(cache::schedule_connection_removal(context, ending.connection())?);
                statements.push(ending.disconnect_event(context, *revoked)?);
            }
        }
        if self.has_jobs {
            let ended = results.iter().filter(|(ending, _)| !ending.is_stored());
            let outcomes: Vec<_> =
                ended.map(|(ending, revoked)| (ending.connection(), revocation::outcome_code(*revoked))).collect();
            statements.push(disconnect_jobs::count_outcomes(&outcomes));
        }
        if !erased.is_empty() {
            statements.extend(tell_of_ended_replacements(context, &erased));
            statements.extend(erasing::erase_connections(&erased, context.config.erase_batch));
        }
        context.db().batch(statements).await?;
        Ok(())
    }
}
