//! Statements that fail, and the whole batch with them, unless a row is still as it was read.
//!
//! A change that is wanted only in a known state has one of them before it in its batch, so nothing comes between.

use super::{StoreResult, json_text};
use crate::client::Client;
use crate::connection::Connection;
use crate::environment::Environment;
use crate::ids::WorkspaceId;
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::sql;
use crate::store::apps::AppRow;
use crate::store::links::Link;
use crate::webhook::Webhook;
use crate::workspace::Workspace;

macro_rules! unless_exists {
    ($row:literal) => {
        concat!("INSERT INTO scheduled_runs (name) SELECT NULL WHERE NOT EXISTS (SELECT 1 FROM ", $row, ")")
    };
}
const CONNECTION: &str = unless_exists!(
    "connections WHERE id = ?2 AND workspace_id = ?1 AND deleted_at IS NULL AND generation = ?3 AND name = ?4 AND metadata = ?5 AND allowed_workflows IS ?6
      AND user_id IS ?7 AND coalesce(is_shared, user_id IS NULL) = ?8 AND environment IS ?9"
);
const WORKSPACE: &str = unless_exists!(
    "workspaces WHERE id = ?1 AND deleted_at IS NULL AND name = ?2 AND allowed_origins = ?3
      AND json_extract(branding, '$.name') IS ?4 AND json_extract(branding, '$.logo_url') IS ?5 AND json_extract(branding, '$.accent') IS ?6"
);
const APP: &str = unless_exists!("apps WHERE workspace_id = ?1 AND id = ?2 AND revision = ?3 AND is_current = 1");
const CLIENT: &str = unless_exists!(
    "oauth_clients WHERE workspace_id = ?1 AND id = ?2 AND is_current = 1 AND updated_at = ?3 AND sealed_secret IS ?4 AND sealed_event_secret IS ?5"
);
const WEBHOOK: &str = unless_exists!(
    "subscriptions WHERE workspace_id = ?1 AND id = ?2 AND url = ?3 AND types = ?4 AND disabled_at IS ?5 AND sealed_secret = ?6"
);
const LINK: &str = unless_exists!("connect_links WHERE workspace_id = ?1 AND id = ?2 AND status = ?3");

/// A connection was neither edited nor reconnected.
pub fn connection_unchanged(read: &Connection) -> Statement {
    let workflows = read.allowed_workflows.as_ref().map(json_text);
    let (name, metadata) = (read.name.as_str(), json_text(&read.metadata));
    sql!(
        CONNECTION,
        &read.workspace,
        &read.id,
        read.generation,
        name,
        metadata,
        workflows,
        read.user.as_ref().map(|user| user.id.as_str()),
        read.shared,
        read.environment.map(Environment::as_str)
    )
}

/// The settings of a workspace were not changed.
pub fn workspace_unchanged(read: &Workspace) -> Statement {
    let branding = &read.branding;
    sql!(
        WORKSPACE,
        &read.id,
        read.name.as_str(),
        json_text(&read.allowed_origins),
        branding.name.as_deref(),
        branding.logo_url.as_deref(),
        branding.accent.map(|accent| accent.to_string())
    )
}

/// A custom app has no newer revision, and was not removed.
pub fn app_unchanged(workspace: &WorkspaceId, read: &AppRow) -> Statement {
    sql!(APP, workspace, &read.id, read.revision)
}

/// A client was not entered again, and no other one took its place.
pub fn client_unchanged(read: &Client) -> Statement {
    let (secret, event_secret) = (read.sealed_secret.as_deref(), read.sealed_event_secret.as_deref());
    sql!(CLIENT, &read.workspace, &read.id, read.updated_at, secret, event_secret)
}

/// A link was neither used nor ended.
pub fn link_unchanged(read: &Link) -> Statement {
    sql!(LINK, &read.workspace, &read.id, read.status.as_str())
}

/// A webhook was neither changed nor rotated.
pub fn webhook_unchanged(read: &Webhook) -> Statement {
    let (types, disabled_at) = (json_text(&read.types), read.disabled.map(|(at, _)| at));
    sql!(WEBHOOK, &read.workspace, &read.id, read.url.as_str(), types, disabled_at, read.sealed_secret.as_str())
}

/// A database whose batches are applied only if a row is as it was read. Otherwise they fail like a violated constraint.
#[derive(Debug)]
pub struct ConditionalDatabase<D> {
    db: D,
    condition: Option<Statement>,
}

impl<D: Database> ConditionalDatabase<D> {
    /// The database under a condition, or under none.
    pub fn new(db: D, condition: Option<Statement>) -> Self {
        Self { db, condition }
    }
}

impl<D: Database> Database for ConditionalDatabase<D> {
    async fn batch(&self, statements: Vec<Statement>) -> StoreResult<Vec<Rows>> {
        let Some(condition) = &self.condition else { return self.db.batch(statements).await };
        let mut answers = self.db.batch([condition.clone()].into_iter().chain(statements).collect()).await?;
        if answers.is_empty() {
            return Err(DatabaseError::Unavailable("a batch answered nothing".into()));
        }
        answers.remove(0);
        Ok(answers)
    }
}
