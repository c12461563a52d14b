//! Connections as programs and people read and edit them.
//!
//! Owns what an edit may say, that each edit is in the audit log, and what the page of a connection is made of. Which
//! connections a caller sees is decided in [`crate::authorize`]; connecting, checking and disconnecting are use cases of
//! their own.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::AuthMethod;
use crate::app_list::{self, AppList};
use crate::audit::{Actor, EventType};
use crate::authorize::Caller;
use crate::cache::{CacheRemoval, CacheRemovalStatus};
use crate::caller::ApiKey;
use crate::catalogue;
use crate::connection::{Connection, ConnectionStatus};
use crate::context::Context;
use crate::defaults;
use crate::environment::Environment;
use crate::error::{Error, FieldError, Result};
use crate::ids::{ApiKeyId, ClientId, WorkspaceId};
use crate::names::{MAX_NAME_LENGTH, MAX_WORKFLOW_LENGTH, parse_name};
use crate::ports::{Database, DatabaseError, Ports};
use crate::preconditions::{IfMatch, ReadState};
use crate::registry;
use crate::replacements::refuse_unfit_edit;
use crate::store::connections::{
    self, ConnectionFilter, ConnectionPage, ConnectionPatch, ListCounts, ListedConnection, Overview, OverviewFilter,
};
use crate::store::defaults::ReplacedDefaults;
use crate::store::disconnected::{self, ListedDisconnected};
use crate::store::events::{self, Event, EventPosition};
use crate::store::keys;
use crate::store::uses::{self, Use};
use crate::store::{self, Page};
use crate::workspace::{Role, User};

/// Entries of `metadata` and `allowed_workflows`.
const MAX_ENTRIES: usize = 50;
/// Bytes of a key of the metadata.
const MAX_METADATA_KEY_LENGTH: usize = 64;
/// Characters of a value of the metadata.
const MAX_METADATA_VALUE_LENGTH: usize = 500;

/// Connections of a workspace, newest first.
pub async fn list_connections<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    filter: &ConnectionFilter,
) -> Result<Page<ListedConnection>> {
    Ok(connections::list(context.db(), workspace, filter, context.now()).await?)
}

/// What the Connections page shows.
#[derive(Debug)]
pub struct ConnectionsPage {
    /// The connections of this page.
    pub overview: Overview,
    /// What the person sees, in numbers.
    pub counts: ListCounts,
    /// The apps of what the person sees, by id.
    pub used_apps: Vec<String>,
    /// The people of the workspace, for an admin. Nobody, where there are too many to choose from.
    pub people: Vec<User>,
    /// All apps.
    pub apps: AppList,
    /// What the person may bring back, the newest first.
    pub disconnected: Vec<ListedDisconnected>,
}

/// Disconnected connections that are offered to be brought back.
const MOST_DISCONNECTED: i64 = 20;

/// Reads a page of connections with all that is shown beside them, in one round trip. Only the first page without filters has
/// what may be brought back: what the person owns, and all of it for an admin.
pub async fn load_connections_page<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    filter: &OverviewFilter,
    role: Role,
) -> Result<ConnectionsPage> {
    let (now, seen_by) = (context.now(), filter.visible_to.as_deref());
    let owner = filter.viewer.as_deref().filter(|_| role != Role::Admin);
    let mut statements: Vec<_> = app_list::app_list_statements(workspace).into();
    statements.extend(filter.statements(workspace, now));
    statements.push(connections::counts_statement(workspace, seen_by));
    statements.push(connections::used_apps_statement(workspace, seen_by));
    statements.extend(filter.is_plain().then(|| disconnected::select(workspace, owner, now, MOST_DISCONNECTED)));
    statements.extend((role == Role::Admin).then(|| connections::people_statement(workspace)));
    let answers = context.db().batch(statements).await?;
    let apps = app_list::read_app_list(context, &answers)?;
    let mut answers = answers.into_iter().skip(app_list::APP_LIST_STATEMENTS);
    let mut next = || answers.next().ok_or_else(|| DatabaseError::Unavailable("a batch answered too little".into()));
    let (page, last) = (next()?, next()?);
    Ok(ConnectionsPage {
        overview: connections::read_overview(filter, &page, &last)?,
        counts: connections::read_counts(&next()?)?,
        used_apps: connections::read_used_apps(&next()?)?,
        disconnected: if filter.is_plain() { disconnected::read(&next()?)? } else { vec![] },
        people: if role == Role::Admin { connections::read_people(&next()?)? } else { vec![] },
        apps,
    })
}

/// What the page of the API keys shows.
#[derive(Debug)]
pub struct KeysPage {
    /// One page of keys.
    pub keys: Page<ApiKey>,
    /// Connections that a new key may be limited to.
    pub connections: Page<ListedConnection>,
    /// The apps of the workspace.
    pub apps: AppList,
}

/// Reads the keys that an admin knows, with what a new one may be limited to, in one round trip.
pub async fn load_keys_page<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    after: Option<&ApiKeyId>,
    limit: i64,
    most_connections: i64,
) -> Result<KeysPage> {
    let (db, workspace) = (context.db(), caller.workspace());
    let filter = ConnectionFilter { limit: most_connections, ..caller.connection_filter() };
    let after = after.map(ApiKeyId::as_str).unwrap_or_default();
    let select_keys = keys::select_list(workspace, None, after, limit);
    let also = app_list::app_list_statements(workspace).into_iter().chain([select_keys]).collect();
    let (connections, answers) = connections::list_with(db, workspace, &filter, context.now(), also).await?;
    let mut keys = answers.get(2).map_or(Ok(Page { data: vec![], next: None }), |rows| keys::read_list(rows, limit))?;
    keys.data.retain(|key| caller.covers_key(key));
    Ok(KeysPage { keys, connections, apps: app_list::read_app_list(context, &answers)? })
}

/// The steps that used a connection, by workflow and step, after a pair of both.
pub async fn list_uses<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    after: (&str, &str),
    limit: i64,
) -> Result<Page<Use>> {
    Ok(uses::list(context.db(), &connection.workspace, &connection.id, after, limit).await?)
}

/// What happened to a connection, newest first.
pub async fn list_events<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    before: Option<EventPosition>,
    limit: i64,
) -> Result<Page<Event>> {
    let before = before.unwrap_or_else(events::start_position);
    Ok(events::list(context.db(), &connection.workspace, &connection.id, before, limit).await?)
}

const METADATA_RULE: &str = "may have at most 50 entries, keys of at most 64 and values of at most 500 characters.";

/// Refuses metadata that is too much.
///
/// # Errors
/// It is. The error says how much there may be.
pub fn validate_metadata(metadata: &BTreeMap<String, String>) -> Result<()> {
    if is_valid_metadata(metadata) { Ok(()) } else { Err(Error::invalid_field("metadata", METADATA_RULE)) }
}

fn is_valid_metadata(metadata: &BTreeMap<String, String>) -> bool {
    let fits = |(key, value): (&String, &String)| {
        key.len() <= MAX_METADATA_KEY_LENGTH && value.chars().count() <= MAX_METADATA_VALUE_LENGTH
    };
    metadata.len() <= MAX_ENTRIES && metadata.iter().all(fits)
}

fn validate_patch(patch: ConnectionPatch) -> Result<ConnectionPatch> {
    let name = patch.name.map(|name| parse_name("name", &name, MAX_NAME_LENGTH)).transpose()?;
    let mut errors = Vec::new();
    let mut wrong =
        |field: &str, problem: &str| errors.push(FieldError { field: field.into(), problem: problem.into() });
    if patch.metadata.as_ref().is_some_and(|metadata| !is_valid_metadata(metadata)) {
        wrong("metadata", METADATA_RULE);
    }
    let is_workflow = |name: &String| !name.is_empty() && name.chars().count() <= MAX_WORKFLOW_LENGTH;
    if let Some(Some(list)) = &patch.allowed_workflows
        && (list.len() > MAX_ENTRIES || !list.iter().all(is_workflow))
    {
        wrong("allowed_workflows", "may have at most 50 names of 1 to 128 characters.");
    }
    if errors.is_empty() { Ok(ConnectionPatch { name, ..patch }) } else { Err(Error::invalid_fields(errors)) }
}

/// What an edit has done beside the edit itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditResult {
    /// What became of the copy in the cache.
    pub copies: CacheRemovalStatus,
    /// Defaults that ended, because the connection no longer fits them.
    pub ended: ReplacedDefaults,
}

/// A connection that nobody may use helps nobody, and one that was private must not become everybody's by the way.
fn validate_owner(connection: &Connection, patch: &ConnectionPatch) -> Result<()> {
    let owner = patch.owner.as_ref().unwrap_or(&connection.user);
    if owner.is_some() || patch.shared.unwrap_or(connection.shared) || patch.owner.is_none() && patch.shared.is_none() {
        return Ok(());
    }
    Err(match patch.shared {
        Some(_) => Error::invalid_field("shared", "can be false only where the connection has an owner."),
        None => Error::invalid_field(
            "owner",
            "can be null only for a shared connection. With `shared: true` everybody of the workspace may use it from now on.",
        ),
    })
}

/// Writes an edit with its event, and removes the copy in the cache that shows the old state. What changes nothing is no
/// edit. Answers what became of that copy and of defaults that no longer fit; `None` where nothing was changed.
///
/// # Errors
/// The edit says what is not allowed.
pub async fn edit_connection<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    patch: ConnectionPatch,
    actor: &Actor,
    if_match: &IfMatch,
) -> Result<Option<EditResult>> {
    let patch = validate_patch(patch)?;
    validate_owner(connection, &patch)?;
    let condition = if_match.condition(Some(ReadState::of_connection(connection)))?;
    let Some(changed) = describe_changes(connection, &patch) else { return Ok(None) };
    let event =
        context.event_statement(&connection.workspace, &connection.id, EventType::Edited, actor, Some(&changed))?;
    let removal = CacheRemoval::of_connection(context, &connection.id)?;
    let mut statements = vec![connections::patch(&connection.workspace, &connection.id, &patch), event];
    let moves = patch.owner.is_some() || patch.shared.is_some() || patch.environment.is_some();
    if moves {
        statements.extend(store::defaults::end_unfit(&connection.workspace, &connection.id));
        if patch.shared.unwrap_or(connection.shared) && connection.status != ConnectionStatus::AwaitingConfirmation {
            let environment = patch.environment.unwrap_or(connection.environment);
            statements.extend(defaults::adopt_statements(
                context,
                &connection.workspace,
                &connection.app,
                environment,
                actor,
            )?);
        }
    }
    statements.extend(removal.insert_statement());
    if moves {
        statements.push(store::replacements::fail_if_unfit(&connection.id));
    }
    let answers = condition.db(context).batch(statements).await;
    if matches!(answers, Err(DatabaseError::Constraint)) {
        condition.require_still_met(context).await?;
        if moves {
            refuse_unfit_edit(context, &connection.id).await?;
        }
    }
    let answers = answers?;
    let ended = if moves {
        store::defaults::read_ended(answers.get(2..4).unwrap_or_default())?
    } else {
        ReplacedDefaults::default()
    };
    if !ended.defaults.is_empty() {
        let events = defaults::ended_events(context, &connection.workspace, &ended.defaults, actor)?;
        context.db().batch(events).await?;
    }
    Ok(Some(EditResult { copies: removal.perform(context).await, ended }))
}

/// The members that an edit changes, with the new name. A map or list is long and may contain much, so its value is
/// left out.
fn describe_changes(connection: &Connection, patch: &ConnectionPatch) -> Option<String> {
    let name = patch.name.as_ref().filter(|name| **name != connection.name).map(|name| format!("name: {name}"));
    let metadata = patch.metadata.as_ref().filter(|metadata| **metadata != connection.metadata);
    let workflows = patch.allowed_workflows.as_ref().filter(|list| **list != connection.allowed_workflows);
    let owner = patch.owner.as_ref().filter(|owner| **owner != connection.user);
    let owner = owner.map(|owner| format!("owner: {}", owner.as_ref().map_or("nobody", |user| user.id.as_str())));
    let shared = patch.shared.filter(|shared| *shared != connection.shared).map(|shared| format!("shared: {shared}"));
    let environment = patch.environment.filter(|environment| *environment != connection.environment);
    let environment = environment.map(|one| format!("environment: {}", one.map_or("unknown", Environment::as_str)));
    let members = [
        metadata.map(|_| "metadata".to_owned()),
        workflows.map(|_| "allowed_workflows".to_owned()),
        owner,
        shared,
        environment,
        name,
    ];
    let changed: Vec<_> = members.into_iter().flatten().collect();
    (!changed.is_empty()).then(|| changed.join(", "))
}

/// From this many tenths of an app's limit on, people are warned.
const LIMIT_WARNING_TENTHS: i64 = 9;

/// An account's grants for one client, where they come near the app's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantUsage {
    /// Those that this workspace knows.
    pub live: i64,
    /// As many as the app keeps.
    pub limit: i64,
}

impl GrantUsage {
    fn near_limit(live: i64, limit: i64) -> Option<Self> {
        (live * 10 >= limit * LIMIT_WARNING_TENTHS).then_some(Self { live, limit })
    }
}

/// How many grants an account has for a client, where that comes near the app's limit.
pub async fn load_grant_usage<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    auth_method: &AuthMethod,
    client: &ClientId,
    account: &str,
) -> Result<Option<GrantUsage>> {
    let Some(limit) = auth_method.limits.grants_per_account else { return Ok(None) };
    Ok(GrantUsage::near_limit(connections::count_grants(context.db(), workspace, client, account).await?, limit))
}

/// What the page of a connection shows beside what was read of it.
#[derive(Debug)]
pub struct PageDetails {
    /// The name of its app.
    pub app_name: String,
    /// How it is connected; none where its definition can't be read any more.
    pub auth_method: Option<Rc<AuthMethod>>,
    /// Whether its app was removed from the workspace, so that it can't be connected again.
    pub app_removed: bool,
    /// Its account's grants, where they come near the app's limit.
    pub grant_usage: Option<GrantUsage>,
}

/// Reads nothing more.
pub fn describe_page<P: Ports>(context: &Context<P>, page: &ConnectionPage) -> PageDetails {
    let connection = &page.listed.connection;
    let definition = page.definition.as_deref();
    let app = registry::parse_app_revision(context, &connection.app, connection.app_revision, definition).ok();
    let auth_method = app.as_ref().and_then(|app| registry::auth_method(app, &connection.auth_method).ok());
    let limit = auth_method.as_ref().and_then(|auth_method| auth_method.limits.grants_per_account);
    let is_known = connection.client.is_some() && connection.account.is_some();
    let grant_usage = limit.filter(|_| is_known).and_then(|limit| GrantUsage::near_limit(page.grants, limit));
    PageDetails {
        app_name: app.map_or_else(|| connection.app.to_string(), |app| app.name.clone()),
        auth_method,
        app_removed: page.current_app.is_none() && catalogue::find(connection.app.as_str()).is_none(),
        grant_usage,
    }
}

/// The name of a connection's app, or its id if its definition can't be read any more.
pub async fn load_app_name<P: Ports>(context: &Context<P>, connection: &Connection) -> String {
    let method = registry::load_auth_method(context, connection).await;
    method.map_or_else(|_| connection.app.to_string(), |method| method.app_name.clone())
}
