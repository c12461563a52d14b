//! Rows of `sessions` and `sign_in_links`. Both are found by the SHA-256 of an unguessable text.

use super::connections::user;
use super::{Columns, FromRow, Stored, first, json_text, run};
use crate::ids::{LinkId, WorkspaceId};
use crate::ports::Database;
use crate::sql;
use crate::time::Timestamp;
use crate::workspace::User;

const INSERT: &str =
    "INSERT INTO sessions (hash, workspace_id, kind, user_id, user_name, link_id, created_at, expires_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
/// A person keeps at most 100 sessions; the oldest give way to the one that begins.
const TRIM: &str = "DELETE FROM sessions WHERE workspace_id = ?1 AND user_id = ?2 AND hash <> ?3 AND hash NOT IN
    (SELECT hash FROM sessions WHERE workspace_id = ?1 AND user_id = ?2 AND hash <> ?3 ORDER BY created_at DESC, hash LIMIT 99)";
const GET: &str = "SELECT * FROM sessions WHERE hash = ?1 AND expires_at > ?2";
const LIVING: &str = "SELECT hash FROM sessions WHERE hash IN (SELECT value FROM json_each(?1)) AND expires_at > ?2";
const DELETE: &str = "DELETE FROM sessions WHERE hash = ?1";
const INSERT_SIGN_IN: &str =
    "INSERT INTO sign_in_links (token_hash, workspace_id, user_id, user_name, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)";
const GET_SIGN_IN: &str = "SELECT * FROM sign_in_links WHERE token_hash = ?1 AND expires_at > ?2 AND used_at IS NULL";
const USE_SIGN_IN: &str =
    "UPDATE sign_in_links SET used_at = ?2 WHERE token_hash = ?1 AND expires_at > ?2 AND used_at IS NULL RETURNING *";

/// What a browser's session may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A signed-in person: the Connections page.
    Person(User),
    /// Whoever opened a link: that link and nothing else.
    Link(LinkId),
}

/// A browser's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the cookie.
    pub hash: String,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// What it may do.
    pub kind: Kind,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl FromRow for Session {
    fn from_row(row: &Columns<'_>) -> Stored<Self> {
        let missing = || crate::ports::DatabaseError::Malformed("a session without its owner".into());
        let kind = match row.optional_id("link_id")? {
            Some(link) => Kind::Link(link),
            None => Kind::Person(user(row)?.ok_or_else(missing)?),
        };
        Ok(Self {
            hash: row.text("hash")?,
            workspace: row.id("workspace_id")?,
            kind,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
        })
    }
}

/// Opens a session.
pub async fn insert(db: &impl Database, session: &Session) -> Stored<()> {
    let (kind, user, link) = match &session.kind {
        Kind::Person(user) => ("person", Some(user), None),
        Kind::Link(link) => ("link", None, Some(link)),
    };
    let statement = sql!(
        INSERT,
        session.hash.as_str(),
        &session.workspace,
        kind,
        user.map(|user| user.id.as_str()),
        user.and_then(|user| user.name.as_deref()),
        link,
        session.created_at,
        session.expires_at
    );
    let trim = user.map(|user| sql!(TRIM, &session.workspace, user.id.as_str(), session.hash.as_str()));
    db.batch([statement].into_iter().chain(trim).collect()).await.map(|_| ())
}

/// A session that has not ended.
pub async fn get(db: &impl Database, hash: &str, now: Timestamp) -> Stored<Option<Session>> {
    first(db, sql!(GET, hash, now)).await
}

/// Which of these sessions have not ended, in one round trip.
pub async fn living(db: &impl Database, hashes: &[String], now: Timestamp) -> Stored<Vec<String>> {
    run(db, sql!(LIVING, json_text(hashes), now)).await?.rows.iter().map(|row| Columns(row).text("hash")).collect()
}

/// Ends a session.
pub async fn delete(db: &impl Database, hash: &str) -> Stored<()> {
    run(db, sql!(DELETE, hash)).await.map(|_| ())
}

/// Whom a sign-in link signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The person.
    pub user: User,
}

impl FromRow for SignIn {
    fn from_row(row: &Columns<'_>) -> Stored<Self> {
        Ok(Self {
            workspace: row.id("workspace_id")?,
            user: User { id: row.text("user_id")?, name: row.optional_text("user_name")? },
        })
    }
}

/// Stores a sign-in link.
pub async fn insert_sign_in(
    db: &impl Database,
    token_hash: &str,
    sign_in: &SignIn,
    expires_at: Timestamp,
) -> Stored<()> {
    let statement = sql!(
        INSERT_SIGN_IN,
        token_hash,
        &sign_in.workspace,
        sign_in.user.id.as_str(),
        sign_in.user.name.as_deref(),
        expires_at
    );
    run(db, statement).await.map(|_| ())
}

/// Whom a link would sign in, without using it up.
pub async fn peek_sign_in(db: &impl Database, token_hash: &str, now: Timestamp) -> Stored<Option<SignIn>> {
    first(db, sql!(GET_SIGN_IN, token_hash, now)).await
}

/// Uses a link up; only one caller gets it.
pub async fn use_sign_in(db: &impl Database, token_hash: &str, now: Timestamp) -> Stored<Option<SignIn>> {
    first(db, sql!(USE_SIGN_IN, token_hash, now)).await
}
