//! How many rows of a kind a workspace may have. Counting stops at the limit, and uses an index.
//!
//! Owns the guards: statements that fail, and the whole batch with them, if the limit is reached. A guard is in the
//! batch of the insert, so that concurrent inserts cannot exceed the limit together.

use super::{StoreResult, run_count};
use crate::app::AppId;
use crate::ids::WorkspaceId;
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;

/// `?1` is the workspace, `?2` the limit.
macro_rules! quota {
    ($guard:ident, $count:ident, $rows:literal) => {
        const $guard: &str = concat!(
            "INSERT INTO scheduled_runs (name) SELECT NULL WHERE (SELECT count(*) FROM (",
            $rows,
            " LIMIT ?2)) >= ?2"
        );
        const $count: &str = concat!("SELECT count(*) AS n FROM (", $rows, " LIMIT ?2)");
    };
}

quota!(GUARD_KEYS, COUNT_KEYS, "SELECT 1 FROM api_keys WHERE workspace_id = ?1 AND revoked_at IS NULL");
quota!(
    GUARD_LINKS,
    COUNT_LINKS,
    "SELECT 1 FROM connect_links WHERE workspace_id = ?1 AND status = 'open' AND expires_at > ?3"
);
quota!(
    GUARD_SIGN_IN,
    COUNT_SIGN_IN,
    "SELECT 1 FROM sign_in_links WHERE workspace_id = ?1 AND user_id = ?4 AND used_at IS NULL AND expires_at > ?3"
);
quota!(GUARD_APPS, COUNT_APPS, "SELECT 1 FROM apps WHERE workspace_id = ?1 AND is_current = 1");
quota!(GUARD_REVISIONS, COUNT_REVISIONS, "SELECT 1 FROM apps WHERE workspace_id = ?1 AND id = ?3");
quota!(GUARD_WEBHOOKS, COUNT_WEBHOOKS, "SELECT 1 FROM subscriptions WHERE workspace_id = ?1 AND channel = 'webhook'");
/// Triggers of the schema count, so that a version from before them is counted too.
const COUNT_CONNECTIONS: &str = "SELECT connection_count AS n FROM workspaces WHERE id = ?1";

/// A limited kind of rows.
#[derive(Debug, Clone, Copy)]
pub enum Quota<'a> {
    /// Valid keys.
    Keys,
    /// Connect links that can be used.
    OpenLinks(Timestamp),
    /// Sign-in links of one user that can be used.
    SignInLinks(&'a str, Timestamp),
    /// Custom apps.
    Apps,
    /// Webhooks.
    Webhooks,
    /// Revisions of one custom app.
    Revisions(&'a AppId),
}

impl Quota<'_> {
    /// The limit.
    pub fn limit(self) -> i64 {
        match self {
            Self::Keys | Self::SignInLinks(..) => 1_000,
            Self::OpenLinks(_) => 10_000,
            Self::Apps => 200,
            Self::Webhooks => 20,
            Self::Revisions(_) => 100,
        }
    }

    /// The statement that fails if the limit is reached.
    fn guard_statement(self, workspace: &WorkspaceId) -> Statement {
        match self {
            Self::Keys => sql!(GUARD_KEYS, workspace, self.limit()),
            Self::OpenLinks(now) => sql!(GUARD_LINKS, workspace, self.limit(), now),
            Self::SignInLinks(user, now) => sql!(GUARD_SIGN_IN, workspace, self.limit(), now, user),
            Self::Apps => sql!(GUARD_APPS, workspace, self.limit()),
            Self::Webhooks => sql!(GUARD_WEBHOOKS, workspace, self.limit()),
            Self::Revisions(app) => sql!(GUARD_REVISIONS, workspace, self.limit(), app),
        }
    }

    fn count_statement(self, workspace: &WorkspaceId) -> Statement {
        match self {
            Self::Keys => sql!(COUNT_KEYS, workspace, self.limit()),
            Self::OpenLinks(now) => sql!(COUNT_LINKS, workspace, self.limit(), now),
            Self::SignInLinks(user, now) => sql!(COUNT_SIGN_IN, workspace, self.limit(), now, user),
            Self::Apps => sql!(COUNT_APPS, workspace, self.limit()),
            Self::Webhooks => sql!(COUNT_WEBHOOKS, workspace, self.limit()),
            Self::Revisions(app) => sql!(COUNT_REVISIONS, workspace, self.limit(), app),
        }
    }
}

/// A database whose batches are applied only if quotas permit one more. Otherwise they fail like a violated constraint.
#[derive(Debug)]
pub struct GuardedDatabase<'a, D> {
    db: &'a D,
    guards: Vec<Statement>,
}

impl<'a, D: Database> GuardedDatabase<'a, D> {
    /// Guards a database by quotas of a workspace.
    pub fn new(db: &'a D, workspace: &WorkspaceId, quotas: &[Quota<'_>]) -> Self {
        Self { db, guards: quotas.iter().map(|quota| quota.guard_statement(workspace)).collect() }
    }
}

impl<D: Database> Database for GuardedDatabase<'_, D> {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError> {
        let answers = self.db.batch(self.guards.iter().cloned().chain(statements).collect()).await?;
        Ok(answers.into_iter().skip(self.guards.len()).collect())
    }
}

/// Whether the limit is reached.
pub async fn is_reached(db: &impl Database, workspace: &WorkspaceId, quota: Quota<'_>) -> StoreResult<bool> {
    Ok(run_count(db, quota.count_statement(workspace)).await? >= quota.limit())
}

/// How many connections a workspace has, those included that are not erased yet.
pub async fn count_connections(db: &impl Database, workspace: &WorkspaceId) -> StoreResult<i64> {
    run_count(db, sql!(COUNT_CONNECTIONS, workspace)).await
}
