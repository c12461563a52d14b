//! One thing is done with several connections, a few in each request.
//!
//! Owns how many of them one request takes, that each is done by the use case that does it with one connection, and what is said
//! of those with which it was not done. Who asks is looked at anew for each connection: what a person may not see does not exist,
//! and what they may not change stays as it is. Refuses to remember anything: what is left, the caller names.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::stream;

use crate::audit::Actor;
use crate::authorize::{Caller, RequiredRole};
use crate::codes::codes;
use crate::connections::{self, edit_connection};
use crate::context::Context;
use crate::disconnect;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::ConnectionId;
use crate::names::numbered_name;
use crate::on_demand_check;
use crate::ports::{Health, Ports, RefreshOutcome, RefreshRunner};
use crate::preconditions::IfMatch;
use crate::review::suggest_name;
use crate::store;
use crate::store::connections::{ConnectionFilter, ConnectionPatch, ListedConnection};
use crate::store::disconnected::DisconnectedForNow;
use crate::store::sessions::Session;
use crate::store::{disconnected, uses};
use crate::undo;
use crate::workspace::{Role, User};

/// Connections that can be named at once.
pub const MOST_SELECTED: usize = 80;
/// Subrequests that one request may take for them. The free plan allows 50, and the session and the page take some.
const BUDGET: i64 = 40;
/// What one connection takes, at most, beside its check: it is read, changed, removed from the cache and written about.
const COST: i64 = 7;
/// Connections that one request takes, at most: an app may take ten seconds to answer.
const MOST_AT_ONCE: i64 = 5;
/// Workflows that are named for each connection.
const WORKFLOWS_NAMED: i64 = 20;

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkAction {
    /// The app is asked whether they work.
    Check,
    /// They are disconnected. That can be undone for a while.
    Disconnect,
    /// That is undone.
    Undo,
    /// They get the names that they would have if nobody had named them.
    Rename,
    /// They get another owner, or are shared or not. For admins.
    Share {
        /// The owner, or nobody. None: it stays.
        owner: Option<Option<String>>,
        /// Whether everybody of the workspace uses them. None: it stays.
        shared: Option<bool>,
    },
}

codes! {
    /// What became of one connection.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub enum BulkOutcome {
        /// It was done.
        Done = "done",
        /// The check found that it does not work any more.
        Broken = "broken",
        /// The app did not answer.
        Unreachable = "unreachable",
        /// The app refuses the workspace's client.
        ClientRefused = "client-refused",
        /// The app has no address to ask.
        NothingToAsk = "nothing-to-ask",
        /// There is no such connection any more.
        Gone = "gone",
        /// The person may not change it.
        NotAllowed = "not-allowed",
        /// It answers for another connection, which has to be ended first.
        AnswersForOthers = "answers-for-others",
        /// It would not fit what else is set for it.
        DoesNotFit = "does-not-fit",
        /// It can't be brought back any more.
        TooLate = "too-late",
        /// Something failed here.
        Failed = "failed",
    }
}

impl BulkOutcome {
    fn of_error(error: &Error) -> Self {
        match error.code {
            ErrorCode::ConnectionNotFound => Self::Gone,
            ErrorCode::AdminRequired => Self::NotAllowed,
            ErrorCode::ReplacementInUse => Self::AnswersForOthers,
            ErrorCode::InvalidRequest | ErrorCode::EnvironmentsDiffer => Self::DoesNotFit,
            _ => Self::Failed,
        }
    }

    fn of_check(outcome: &RefreshOutcome) -> Self {
        match outcome.health() {
            Health::Healthy => Self::Done,
            Health::NeedsReconnect => Self::Broken,
            Health::ClientMisconfigured | Health::ConfigurationRefused => Self::ClientRefused,
            Health::AppUnavailable => Self::Unreachable,
            Health::Unknown if *outcome == RefreshOutcome::DatabaseUnavailable => Self::Unreachable,
            Health::Unknown => Self::NothingToAsk,
        }
    }
}

/// How many connections one request takes.
pub fn connections_at_once<P: Ports>(context: &Context<P>, action: &BulkAction) -> usize {
    let check = if *action == BulkAction::Check { context.ports.refresher().subrequest_cost() } else { 0 };
    usize::try_from((BUDGET / (COST + check)).clamp(1, MOST_AT_ONCE)).unwrap_or(1)
}

/// Does it with each of these connections, and says what became of each.
///
/// # Errors
/// The connections can't be read now. Nothing was done.
pub async fn run<P: Ports>(
    context: &Context<P>,
    session: &Session,
    actor: &Actor,
    action: &BulkAction,
    ids: &[ConnectionId],
) -> Result<Vec<(ConnectionId, BulkOutcome)>> {
    let caller = Caller::User(session, RequiredRole::OwnerOrAdmin);
    let found = match action {
        BulkAction::Undo => BTreeMap::new(),
        _ => load_named(context, &caller, ids).await?,
    };
    let one = |id: &ConnectionId| {
        let (id, listed) = (id.clone(), found.get(id));
        async move {
            let outcome = run_one(context, session, actor, action, &id, listed).await;
            let outcome = outcome.unwrap_or_else(|error| {
                context.log_cause(&error);
                BulkOutcome::of_error(&error)
            });
            (id, outcome)
        }
    };
    // A name depends on those that were given before it.
    let at_once = if *action == BulkAction::Rename { 1 } else { connections_at_once(context, action) };
    Ok(stream::iter(ids.iter().map(one)).buffered(at_once).collect().await)
}

async fn run_one<P: Ports>(
    context: &Context<P>,
    session: &Session,
    actor: &Actor,
    action: &BulkAction,
    id: &ConnectionId,
    listed: Option<&ListedConnection>,
) -> Result<BulkOutcome> {
    if *action == BulkAction::Undo {
        return undo_one(context, session, actor, id).await;
    }
    let caller = Caller::User(session, RequiredRole::OwnerOrAdmin);
    let Some(listed) = listed else { return find_ended(context, &caller, action, id).await };
    let connection = &listed.connection;
    if *action == BulkAction::Check {
        let outcome = on_demand_check::run(context, &connection.workspace, id).await;
        return Ok(BulkOutcome::of_check(&outcome));
    }
    let needs_admin = matches!(action, BulkAction::Share { .. });
    if !caller.may_change(connection) || needs_admin && session.role != Role::Admin {
        return Ok(BulkOutcome::NotAllowed);
    }
    match action {
        BulkAction::Disconnect => {
            disconnect::disconnect_for_now(context, &connection.workspace, id, actor).await?;
        }
        BulkAction::Rename => rename(context, listed, actor).await?,
        BulkAction::Share { owner, shared } => {
            let before = connection.user.as_ref().map(|user| &user.id);
            // The name of the owner stays where the owner does.
            let owner = owner.as_ref().filter(|owner| owner.as_ref() != before);
            let owner = owner.map(|owner| owner.clone().map(|id| User { id, name: None }));
            let patch = ConnectionPatch { owner, shared: *shared, ..ConnectionPatch::default() };
            edit_connection(context, connection, patch, actor, &IfMatch::Anything).await?;
        }
        BulkAction::Check | BulkAction::Undo => {}
    }
    Ok(BulkOutcome::Done)
}

/// A connection that is not there. Where the same form was sent before, it was disconnected then.
async fn find_ended<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    action: &BulkAction,
    id: &ConnectionId,
) -> Result<BulkOutcome> {
    if *action != BulkAction::Disconnect {
        return Ok(BulkOutcome::Gone);
    }
    let ended = disconnected::get(context.db(), caller.workspace(), id).await?;
    let is_theirs =
        |ended: &DisconnectedForNow| caller.sees_connection(&ended.connection) && caller.may_change(&ended.connection);
    Ok(if ended.is_some_and(|ended| is_theirs(&ended)) { BulkOutcome::Done } else { BulkOutcome::Gone })
}

/// One that is back already was brought back by the same button.
async fn undo_one<P: Ports>(
    context: &Context<P>,
    session: &Session,
    actor: &Actor,
    id: &ConnectionId,
) -> Result<BulkOutcome> {
    let caller = Caller::User(session, RequiredRole::OwnerOrAdmin);
    let Some(ended) = disconnected::get(context.db(), &session.workspace, id).await? else {
        let back = crate::authorize::load_connection(context, &caller, id).await;
        return Ok(if back.is_ok() { BulkOutcome::Done } else { BulkOutcome::TooLate });
    };
    if !caller.sees_connection(&ended.connection) {
        return Ok(BulkOutcome::TooLate);
    }
    if !caller.may_change(&ended.connection) {
        return Ok(BulkOutcome::NotAllowed);
    }
    match undo::undo_disconnect(context, &session.workspace, id, actor).await {
        Ok(_) => Ok(BulkOutcome::Done),
        Err(error) if error.code == ErrorCode::Conflict => Ok(BulkOutcome::TooLate),
        Err(error) => Err(error),
    }
}

/// Whether a connection has this name already, perhaps with a number after it.
fn is_numbered(name: &str, suggested: &str) -> bool {
    let is_number = |rest: &str| rest.strip_prefix(' ').is_some_and(|number| number.parse::<u32>().is_ok());
    name.strip_prefix(suggested).is_some_and(|rest| rest.is_empty() || is_number(rest))
}

async fn rename<P: Ports>(context: &Context<P>, listed: &ListedConnection, actor: &Actor) -> Result<()> {
    let connection = &listed.connection;
    let app_name = connections::load_app_name(context, connection).await;
    let label = connection.account.as_ref().map(|account| account.label.as_str());
    let Some(name) = suggest_name(&app_name, label).filter(|name| !is_numbered(&connection.name, name)) else {
        return Ok(());
    };
    let (workspace, app) = (&connection.workspace, &connection.app);
    let taken = store::connections::list_names_with_prefix(context.db(), workspace, app, &name).await?;
    let patch = ConnectionPatch { name: Some(numbered_name(name, &taken)), ..ConnectionPatch::default() };
    edit_connection(context, connection, patch, actor, &IfMatch::Anything).await.map(drop)
}

/// Those of the named connections that exist for the caller.
///
/// # Errors
/// The database failed.
pub async fn load_named<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    ids: &[ConnectionId],
) -> Result<BTreeMap<ConnectionId, ListedConnection>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let filter = ConnectionFilter {
        connections: Some(ids.to_vec()),
        limit: i64::try_from(ids.len()).unwrap_or(i64::MAX),
        ..caller.connection_filter()
    };
    let found = store::connections::list(context.db(), caller.workspace(), &filter, context.now()).await?;
    Ok(found.data.into_iter().map(|one| (one.connection.id.clone(), one)).collect())
}

/// A connection before it is disconnected with others.
#[derive(Debug)]
pub struct BulkImpact {
    /// The connection.
    pub listed: ListedConnection,
    /// Workflows that used it, the first ones by name.
    pub workflows: Vec<String>,
    /// Whether the person may change it.
    pub may_change: bool,
}

/// What a disconnect of these connections stops.
///
/// # Errors
/// The database failed.
pub async fn load_impact<P: Ports>(
    context: &Context<P>,
    session: &Session,
    ids: &[ConnectionId],
) -> Result<Vec<BulkImpact>> {
    let caller = Caller::User(session, RequiredRole::OwnerOrAdmin);
    let mut found = load_named(context, &caller, ids).await?;
    let seen: Vec<_> = found.keys().cloned().collect();
    let mut workflows = uses::list_workflows_of(context.db(), &session.workspace, &seen, WORKFLOWS_NAMED).await?;
    let one = |id: &ConnectionId| {
        let listed = found.remove(id)?;
        let may_change = caller.may_change(&listed.connection);
        Some(BulkImpact { workflows: workflows.remove(id).unwrap_or_default(), may_change, listed })
    };
    Ok(ids.iter().filter_map(one).collect())
}
