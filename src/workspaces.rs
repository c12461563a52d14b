//! Workspaces: the operator creates, lists and deletes them; whoever has a key of one reads and changes it.
//!
//! Owns that a workspace begins with a key that may do everything, what an allowed origin is, and that a deleted workspace
//! is closed at once. Refuses to erase: the scheduled run does, and the state of a workspace says how far it is.

use serde_json::Value;

use crate::audit::{Actor, EventType};
use crate::branding::{Accent, Branding};
use crate::cache;
use crate::caller::{ApiKey, KeyScope, new_key};
use crate::context::Context;
use crate::databases;
use crate::egress::{EgressPolicy, EgressUrl, parse_url};
use crate::error::{Error, Result};
use crate::ids::{Shard, WorkspaceId};
use crate::names::{MAX_NAME_LENGTH, parse_name};
use crate::ports::{Database, Ports};
use crate::preconditions::{Condition, IfMatch, ReadState};
use crate::secret::Secret;
use crate::store::erasing::{self, ErasureProgress};
use crate::store::events::{AuditedDatabase, ChangedBy, EventSubject};
use crate::store::workspaces::BrandingChange;
use crate::store::{self, Page, keys};
use crate::workspace::Workspace;

/// Characters of a product's name.
const MAX_BRAND_NAME_LENGTH: usize = 60;
/// Origins that a workspace may list.
const MAX_ORIGINS: usize = 50;

fn workspace_not_found() -> Error {
    Error::not_found("workspace")
}

/// A workspace that was just created.
#[derive(Debug)]
pub struct CreatedWorkspace {
    /// The workspace.
    pub workspace: Workspace,
    /// Its first key, which may do everything.
    pub key: ApiKey,
    /// That key's text.
    pub key_text: Secret,
}

/// Creates a workspace with its first key: in the database that the operator wants, or in the emptiest one.
///
/// # Errors
/// The name is none, or the database takes no workspace.
pub async fn create_workspace<P: Ports>(
    context: &Context<P>,
    name: &str,
    database: Option<u16>,
) -> Result<CreatedWorkspace> {
    let name = parse_name("name", name, MAX_NAME_LENGTH)?;
    let context = &databases::choose_for_workspace(context, database).await?;
    // Nothing is written to a database that other keys have sealed.
    context.check_key_ring().await?;
    let now = context.now();
    let workspace = Workspace {
        id: WorkspaceId::random(context.ports.random(), context.shard())?,
        name,
        allowed_origins: vec![],
        branding: Branding::default(),
        created_at: now,
    };
    let (id, key_text, hash) = new_key(context.ports.random(), workspace.id.shard())?;
    let key = ApiKey {
        id,
        workspace: workspace.id.clone(),
        name: "First key".into(),
        hash,
        scopes: vec![KeyScope::All],
        connections: None,
        apps: None,
        environment: None,
        expires_at: None,
        created_at: Some(now),
        made_by: None,
        previous: None,
    };
    let subject = EventSubject { target: Some(key.id.as_str()), ..EventSubject::default() };
    let (made, by) = (EventType::WorkspaceCreated, Actor::Operator);
    let event = context.event_statement_about(&workspace.id, made, &by, subject, Some(&workspace.name))?;
    context.db().batch(vec![store::workspaces::insert(&workspace), keys::insert(&key), event]).await?;
    Ok(CreatedWorkspace { workspace, key, key_text })
}

/// The workspaces that were not deleted, by database and id. A page may begin in one database and end in another.
pub async fn list_workspaces<P: Ports>(
    context: &Context<P>,
    after: Option<&WorkspaceId>,
    limit: i64,
) -> Result<Page<Workspace>> {
    let first = after.map_or(Shard::FIRST, WorkspaceId::shard);
    let mut rows: Vec<Workspace> = vec![];
    for database in context.all_shards().iter().filter(|database| database.shard() >= first) {
        // One more says that more follow.
        let missing = limit + 1 - i64::try_from(rows.len()).unwrap_or(limit);
        if missing <= 0 {
            break;
        }
        let after = after.filter(|id| id.shard() == database.shard()).map(WorkspaceId::as_str).unwrap_or_default();
        rows.extend(store::workspaces::list(database.db(), after, missing).await?);
    }
    Ok(store::workspaces::page(rows, limit))
}

/// One workspace.
///
/// # Errors
/// `not_found` where it was deleted, or never existed.
pub async fn load_workspace<P: Ports>(context: &Context<P>, id: &WorkspaceId) -> Result<Workspace> {
    store::workspaces::get(context.db(), id).await?.ok_or_else(workspace_not_found)
}

/// What is to be changed of a workspace. What is none stays as it is.
#[derive(Debug, Clone, Default)]
pub struct WorkspacePatch {
    /// Its name.
    pub name: Option<String>,
    /// The origins that `return_to` of a link may lead to. Replaces the list.
    pub allowed_origins: Option<Vec<String>>,
    /// The branding. An inner `None` removes it.
    pub branding: Option<Option<BrandingPatch>>,
}

/// What is to be changed of the branding. What is none stays as it is, and an inner `None` is removed.
#[derive(Debug, Clone, Default)]
pub struct BrandingPatch {
    /// The product's name.
    pub name: Option<Option<String>>,
    /// The address of its logo.
    pub logo_url: Option<Option<String>>,
    /// Its colour.
    pub accent: Option<Option<String>>,
}

/// Changes a workspace; answers it as it is now.
///
/// # Errors
/// A value is not allowed, or there is no such workspace.
pub async fn update_workspace<P: Ports>(
    context: &Context<P>,
    id: &WorkspaceId,
    patch: WorkspacePatch,
    actor: &Actor,
    if_match: &IfMatch,
) -> Result<Workspace> {
    let name = patch.name.map(|name| parse_name("name", &name, MAX_NAME_LENGTH)).transpose()?;
    let origins = patch.allowed_origins.map(|list| parse_origins(&list, context.config.egress)).transpose()?;
    let branding = patch.branding.map(|patch| parse_branding(context, patch)).transpose()?;
    let condition = if *if_match == IfMatch::Anything {
        Condition::default()
    } else {
        if_match.condition(Some(ReadState::of_workspace(&load_workspace(context, id).await?)))?
    };
    let detail = describe_changes(name.as_deref(), origins.as_deref(), branding.as_ref());
    let event = context.event_statement_about(
        id,
        EventType::WorkspaceChanged,
        actor,
        EventSubject::default(),
        Some(&detail).filter(|text| !text.is_empty()).map(String::as_str),
    )?;
    let db = AuditedDatabase::new(condition.db(context), event, ChangedBy::First);
    let updated = store::workspaces::update(&db, id, name.as_deref(), origins.as_deref(), branding.as_ref()).await;
    condition.explain(context, updated).await?.ok_or_else(workspace_not_found)
}

/// What a change says. Origins and branding are no secrets, and who may be led to is worth a line.
fn describe_changes(name: Option<&str>, origins: Option<&[String]>, branding: Option<&BrandingChange>) -> String {
    let origins = origins.map(|list| format!("allowed_origins: {}", list.join(" ")));
    let branding = branding.map(|change| match change {
        BrandingChange::Removed => "branding: none".to_owned(),
        BrandingChange::Members(members) => {
            let told =
                |(name, value): (&String, &Value)| format!("branding.{name}: {}", value.as_str().unwrap_or("none"));
            members.iter().map(told).collect::<Vec<_>>().join(", ")
        }
    });
    let all = [name.map(|name| format!("name: {name}")), origins, branding.filter(|text| !text.is_empty())];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn parse_branding<P: Ports>(context: &Context<P>, patch: Option<BrandingPatch>) -> Result<BrandingChange> {
    let Some(BrandingPatch { name, logo_url, accent }) = patch else { return Ok(BrandingChange::Removed) };
    let mut members = serde_json::Map::new();
    if let Some(name) = name {
        let name = name.map(|name| parse_name("branding.name", &name, MAX_BRAND_NAME_LENGTH)).transpose()?;
        members.insert("name".into(), name.into());
    }
    if let Some(url) = logo_url {
        let url = url.map(|url| parse_logo_url(context, &url)).transpose()?;
        members.insert("logo_url".into(), url.into());
    }
    if let Some(accent) = accent {
        let wrong = || Error::invalid_field("branding.accent", "must be a colour such as #0a50b0.");
        let accent = accent.map(|text| Accent::parse(&text).ok_or_else(wrong)).transpose()?;
        members.insert("accent".into(), accent.map(|accent| accent.to_string()).into());
    }
    Ok(BrandingChange::Members(members))
}

/// The browsers of guests load it: never from their own network, and nothing of this installation.
fn parse_logo_url<P: Ports>(context: &Context<P>, text: &str) -> Result<String> {
    let field = "branding.logo_url";
    let url = EgressUrl::parse(text, context.config.egress)
        .map_err(|problem| Error::invalid_field(field, format!("{problem}.")))?;
    if url.authority() == context.config.public_url.host() {
        return Err(Error::invalid_field(
            field,
            "must not be at this installation. Put the logo at an address of your own.",
        ));
    }
    Ok(url.as_str().to_owned())
}

fn parse_origins(list: &[String], egress: EgressPolicy) -> Result<Vec<String>> {
    if list.len() > MAX_ORIGINS {
        return Err(Error::invalid_field("allowed_origins", "may have at most 50 entries."));
    }
    list.iter()
        .enumerate()
        .map(|(index, text)| parse_origin(&format!("allowed_origins[{index}]"), text, egress))
        .collect()
}

/// An origin exactly as browsers send it, because it is compared as text.
fn parse_origin(field: &str, text: &str, egress: EgressPolicy) -> Result<String> {
    let wrong = || Error::invalid_field(field, "must be an origin such as https://app.example.com, without a path.");
    let url = parse_url(text).ok_or_else(wrong)?;
    let loopback =
        matches!(egress, EgressPolicy::DevLoopback) && matches!(url.host_str(), Some("localhost" | "127.0.0.1"));
    let scheme_ok = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    let plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if scheme_ok && plain { Ok(url.origin().ascii_serialization()) } else { Err(wrong()) }
}

/// What the operator sees of a workspace.
#[derive(Debug)]
pub enum WorkspaceState {
    /// It is in use.
    Active(Workspace),
    /// It was deleted, and is not erased yet.
    Deleted(ErasureProgress),
}

/// The state of a workspace.
///
/// # Errors
/// `not_found` where nothing is left of it.
pub async fn load_workspace_state<P: Ports>(context: &Context<P>, id: &WorkspaceId) -> Result<WorkspaceState> {
    if let Some(workspace) = store::workspaces::get(context.db(), id).await? {
        return Ok(WorkspaceState::Active(workspace));
    }
    load_erasure_progress(context, id).await.map(WorkspaceState::Deleted)
}

async fn load_erasure_progress<P: Ports>(context: &Context<P>, id: &WorkspaceId) -> Result<ErasureProgress> {
    let progress = erasing::list_progress(context.db(), Some(id), 1).await?;
    progress.into_iter().next().ok_or_else(workspace_not_found)
}

/// Deletes a workspace: everybody is locked out by the answer. Grants are revoked and rows erased by the scheduled run.
///
/// # Errors
/// `not_found` where it was deleted before.
pub async fn delete_workspace<P: Ports>(context: &Context<P>, id: &WorkspaceId) -> Result<ErasureProgress> {
    if !store::workspaces::mark_deleted(context.db(), id, context.now()).await? {
        return Err(workspace_not_found());
    }
    let mut progress = load_erasure_progress(context, id).await?;
    if cache::write_tombstone(context, id).await {
        let now = context.now();
        // A note that fails is written by the scheduled run, with another tombstone.
        if let Err(error) = context.db().batch(vec![erasing::mark_tombstoned(&[id], now)]).await {
            context.log_cause(&error.into());
        }
        progress.tombstoned_at = Some(now);
    }
    Ok(progress)
}
