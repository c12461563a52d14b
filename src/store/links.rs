//! Rows of `links`.

use super::connections::user;
use super::{Columns, FromRow, Stored, first, json_text, run};
use crate::app::{AppId, WayId};
use crate::ids::{AuthorizationId, ConnectionId, LinkId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Statement};
use crate::sql;
use crate::time::Timestamp;
use crate::workspace::User;

const INSERT: &str =
    "INSERT INTO links (id, token_hash, workspace_id, app, connection_id, scopes, user_id, user_name, return_to,
      on_duplicate, confirm, status, created_at, expires_at, way)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'open', ?12, ?13, ?14)";
const BY_TOKEN: &str = "SELECT * FROM links WHERE token_hash = ?1";
const GET: &str = "SELECT * FROM links WHERE workspace_id = ?1 AND id = ?2";
/// The first browser to press the button keeps the link; the same one may try again.
const TAKE: &str =
    "UPDATE links SET session_hash = ?3 WHERE workspace_id = ?1 AND id = ?2 AND status = 'open' AND expires_at > ?4
    AND (session_hash IS NULL OR session_hash = ?3)";
const END: &str = "UPDATE links SET status = ?3, result_connection = ?4, authorization_id = ?5, used_at = ?6 WHERE workspace_id = ?1 AND id = ?2 AND status = 'open'";
const CONFIRMED: &str =
    "UPDATE links SET status = 'used' WHERE workspace_id = ?1 AND id = ?2 AND status = 'awaiting_confirmation'";
/// Used up, and nothing came of it.
const FRUITLESS: &str = "UPDATE links SET status = 'used', result_connection = NULL WHERE workspace_id = ?1 AND id = ?2 AND status = 'awaiting_confirmation'";

/// What to do when the person already has a connection to that account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// The person chooses.
    Ask,
    /// The existing connection takes the new grant.
    Reuse,
    /// A second connection is made.
    Create,
}

impl OnDuplicate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Reuse => "reuse",
            Self::Create => "create",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Ask, Self::Reuse, Self::Create].into_iter().find(|one| one.as_str() == text)
    }
}

/// Where a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStatus {
    /// It can be used.
    Open,
    /// Used; the embedding product has not confirmed the person yet.
    AwaitingConfirmation,
    /// Used.
    Used,
}

impl LinkStatus {
    /// The stored and shown word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::AwaitingConfirmation => "awaiting_confirmation",
            Self::Used => "used",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::AwaitingConfirmation, Self::Used].into_iter().find(|one| one.as_str() == text)
    }
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Id.
    pub id: LinkId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The app to connect.
    pub app: AppId,
    /// Which of its ways to connect; `None` lets the person choose.
    pub way: Option<WayId>,
    /// The connection to repair, if it is for that.
    pub connection: Option<ConnectionId>,
    /// Scopes to ask for instead of the usual ones.
    pub scopes: Option<Vec<String>>,
    /// Whose the connection will be.
    pub user: Option<User>,
    /// Where the browser goes at the end.
    pub return_to: Option<String>,
    /// What to do about a duplicate.
    pub on_duplicate: OnDuplicate,
    /// Whether the embedding product must confirm the person.
    pub confirm: bool,
    /// Where it stands.
    pub status: LinkStatus,
    /// The session of the browser that used it.
    pub session_hash: Option<String>,
    /// What it made or repaired.
    pub result: Option<ConnectionId>,
    /// The flow whose grant waits for confirmation.
    pub authorization: Option<AuthorizationId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl FromRow for Link {
    fn from_row(row: &Columns<'_>) -> Stored<Self> {
        let unknown = || DatabaseError::Malformed("a link's column holds an unknown value".into());
        Ok(Self {
            id: row.id("id")?,
            workspace: row.id("workspace_id")?,
            app: AppId::parse(&row.text("app")?).ok_or_else(unknown)?,
            way: row.optional_text("way")?.map(|way| WayId::parse(&way).ok_or_else(unknown)).transpose()?,
            connection: row.optional_id("connection_id")?,
            scopes: row.optional_json("scopes")?,
            user: user(row)?,
            return_to: row.optional_text("return_to")?,
            on_duplicate: OnDuplicate::parse(&row.text("on_duplicate")?).ok_or_else(unknown)?,
            confirm: row.flag("confirm")?,
            status: LinkStatus::parse(&row.text("status")?).ok_or_else(unknown)?,
            session_hash: row.optional_text("session_hash")?,
            result: row.optional_id("result_connection")?,
            authorization: row.optional_id("authorization_id")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
        })
    }
}

/// Stores a link.
pub async fn insert(db: &impl Database, link: &Link, token_hash: &str) -> Stored<()> {
    let statement = sql!(
        INSERT,
        &link.id,
        token_hash,
        &link.workspace,
        &link.app,
        link.connection.as_ref(),
        link.scopes.as_ref().map(json_text),
        link.user.as_ref().map(|user| user.id.as_str()),
        link.user.as_ref().and_then(|user| user.name.as_deref()),
        link.return_to.as_deref(),
        link.on_duplicate.as_str(),
        link.confirm,
        link.created_at,
        link.expires_at,
        link.way.as_ref()
    );
    run(db, statement).await.map(|_| ())
}

/// The link a token opens.
pub async fn by_token(db: &impl Database, token_hash: &str) -> Stored<Option<Link>> {
    first(db, sql!(BY_TOKEN, token_hash)).await
}

/// One link of a workspace.
pub async fn get(db: &impl Database, workspace: &WorkspaceId, id: &LinkId) -> Stored<Option<Link>> {
    first(db, sql!(GET, workspace, id)).await
}

/// Binds a link to the browser that uses it; answers whether it is that browser's.
pub async fn take(db: &impl Database, link: &Link, session_hash: &str, now: Timestamp) -> Stored<bool> {
    Ok(run(db, sql!(TAKE, &link.workspace, &link.id, session_hash, now)).await?.changes > 0)
}

/// The statement that uses a link up; changes nothing when it was used before.
pub fn end(
    workspace: &WorkspaceId,
    id: &LinkId,
    status: LinkStatus,
    result: &ConnectionId,
    authorization: Option<&AuthorizationId>,
    now: Timestamp,
) -> Statement {
    sql!(END, workspace, id, status.as_str(), result, authorization, now)
}

/// The statement that notes the embedding product's confirmation.
pub fn confirmed(workspace: &WorkspaceId, id: &LinkId) -> Statement {
    sql!(CONFIRMED, workspace, id)
}

/// The statement that ends a link whose grant can't be confirmed any more.
pub fn fruitless(workspace: &WorkspaceId, id: &LinkId) -> Statement {
    sql!(FRUITLESS, workspace, id)
}
