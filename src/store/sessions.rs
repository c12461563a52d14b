//! Rows of `sessions` and `sign_in_links`. Both are found by the SHA-256 of an unguessable text. Their ids are the
//! beginning of the hash.

use super::connections::read_user;
use super::keys::read_creator_key;
use super::{
    Columns, FromRow, Page, StoreResult, all_or_nothing, cut_page, format_cursor, json_text, query_all, query_first,
    read_first, run_statement,
};
use crate::caller::CreatorKey;
use crate::email_address::EmailAddress;
use crate::ids::{ApiKeyId, LinkId, SessionId, SignInLinkId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::retention::SESSIONS_PER_USER;
use crate::sql;
use crate::time::Timestamp;
use crate::workspace::{Role, User};

const INSERT: &str =
    "INSERT INTO sessions (token_hash, workspace_id, session_type, user_id, user_name, link_id, created_at, expires_at, role, created_by_key)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
/// A person has at most 100 sessions. The oldest are deleted when one begins.
const TRIM: &str = "DELETE FROM sessions WHERE token_hash IN
    (SELECT token_hash FROM sessions WHERE workspace_id = ?1 AND user_id = ?2 AND token_hash <> ?3 ORDER BY created_at DESC LIMIT 1000 OFFSET ?4)";
/// Those of a deleted workspace are refused before they are deleted.
const GET: &str = concat!(
    "SELECT * FROM sessions WHERE token_hash = ?1 AND expires_at > ?2
    AND NOT EXISTS (SELECT 1 FROM workspaces w WHERE w.id = sessions.workspace_id AND w.deleted_at IS NOT NULL) AND ",
    is_not_ending!("sessions")
);
const UNEXPIRED_HASHES: &str =
    "SELECT token_hash FROM sessions WHERE token_hash IN (SELECT value FROM json_each(?1)) AND expires_at > ?2";
const DELETE: &str = "DELETE FROM sessions WHERE token_hash = ?1";
/// What a sign-in at an identity provider leaves here is no link: whoever could delete it could use the sign-in again.
macro_rules! is_a_link {
    () => {
        "substr(user_id, 1, 5) <> 'oidc:'"
    };
}
/// `~` comes after every character of a hash. The plus makes `SQLite` use the primary key.
const BY_ID: &str = "SELECT * FROM sessions WHERE token_hash >= ?2 AND token_hash < ?2 || '~' AND +workspace_id = ?1 AND expires_at > ?3";
macro_rules! listed_sessions {
    ($user:literal) => {
        concat!(
            "SELECT * FROM sessions WHERE workspace_id = ?1 AND (created_at, token_hash) < (?2, ?3) AND expires_at > ?4
      AND (?5 IS NULL OR session_type = ?5)
      AND ",
            $user,
            "
      AND (?7 IS NULL OR created_by_key = ?7)
    ORDER BY created_at DESC, token_hash DESC LIMIT ?8"
        )
    };
}
const LIST: &str = listed_sessions!("?6 IS NULL");
/// A person has few sessions ([`TRIM`]), and an index finds them.
const LIST_OF_USER: &str = listed_sessions!("user_id = ?6");
/// A grant that waits for the embedding product is not its browser's any more.
const END_FLOWS: &str = end_flows!("?2", "session_hash = ?1 AND status <> 'awaiting_confirmation'");

/// `?11`: the role is the person's. It may have been taken away since it was read.
const INSERT_SIGN_IN: &str =
    "INSERT INTO sign_in_links (token_hash, workspace_id, user_id, user_name, expires_at, role, return_to, created_by_key,
      key_expires_at, created_at, user_email)
    SELECT ?1, ?2, ?3, ?4, ?5, CASE WHEN ?11 AND NOT EXISTS (SELECT 1 FROM people WHERE workspace_id = ?2 AND user_id = ?3
      AND role = 'admin') THEN 'member' ELSE ?6 END, ?7, ?8, ?9, ?10, ?12
    WHERE ?8 IS NULL OR EXISTS (SELECT 1 FROM api_keys WHERE id = ?8 AND revoked_at IS NULL)";
/// A sign-in at an identity provider counts as a link that was used at once: a second use of it is a second row with the
/// same key.
const INSERT_USED_SIGN_IN: &str =
    "INSERT INTO sign_in_links (token_hash, workspace_id, user_id, user_name, expires_at, role, created_at, used_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)";
const GET_SIGN_IN: &str = concat!(
    "SELECT * FROM sign_in_links WHERE token_hash = ?1 AND expires_at > ?2 AND used_at IS NULL AND ",
    is_not_ending!("sign_in_links")
);
const USE_SIGN_IN: &str = concat!(
    "UPDATE sign_in_links SET used_at = ?2 WHERE token_hash = ?1 AND expires_at > ?2 AND used_at IS NULL AND ",
    is_not_ending!("sign_in_links")
);
const SIGN_IN_BY_ID: &str = concat!(
    "SELECT * FROM sign_in_links WHERE token_hash >= ?2 AND token_hash < ?2 || '~' AND +workspace_id = ?1 AND expires_at > ?3 AND ",
    is_a_link!()
);
const LIST_SIGN_IN: &str = concat!(
    "SELECT * FROM sign_in_links WHERE workspace_id = ?1 AND (created_at, token_hash) < (?2, ?3) AND expires_at > ?4
      AND (?5 IS NULL OR user_id = ?5)
      AND (?6 IS NULL OR created_by_key = ?6) AND ",
    is_a_link!(),
    "
    ORDER BY created_at DESC, token_hash DESC LIMIT ?7"
);
const DELETE_SIGN_IN: &str = "DELETE FROM sign_in_links WHERE token_hash = ?1";

/// What a browser's session may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionKind {
    /// A signed-in person: the Connections page.
    User(User),
    /// A person with a link: that link and nothing else.
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
    pub kind: SessionKind,
    /// What the person may change. A link's session has no role.
    pub role: Role,
    /// The key that created the link it was opened with.
    pub made_by: Option<ApiKeyId>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl Session {
    /// Its id.
    pub fn id(&self) -> SessionId {
        SessionId::of_hash(&self.hash)
    }

    /// The person who is signed in.
    pub fn user(&self) -> Option<&User> {
        match &self.kind {
            SessionKind::User(user) => Some(user),
            SessionKind::Link(_) => None,
        }
    }
}

fn read_role(row: &Columns<'_>) -> StoreResult<Role> {
    let unknown = || DatabaseError::Malformed("column role holds an unknown value".into());
    Role::parse(&row.text("role")?).ok_or_else(unknown)
}

impl FromRow for Session {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let missing = || DatabaseError::Malformed("a session without its owner".into());
        let kind = match row.optional_id("link_id")? {
            Some(link) => SessionKind::Link(link),
            None => SessionKind::User(read_user(row)?.ok_or_else(missing)?),
        };
        Ok(Self {
            hash: row.text("token_hash")?,
            workspace: row.id("workspace_id")?,
            kind,
            role: read_role(row)?,
            made_by: row.optional_id("created_by_key")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
        })
    }
}

/// The statements that open a session, and limit those of a person.
fn insert_statements(session: &Session) -> impl Iterator<Item = Statement> {
    let (kind, link) = match &session.kind {
        SessionKind::User(_) => ("person", None),
        SessionKind::Link(link) => ("link", Some(link)),
    };
    let user = session.user();
    let statement = sql!(
        INSERT,
        session.hash.as_str(),
        &session.workspace,
        kind,
        user.map(|user| user.id.as_str()),
        user.and_then(|user| user.name.as_deref()),
        link,
        session.created_at,
        session.expires_at,
        session.role.as_str(),
        session.made_by.as_ref()
    );
    let trim =
        user.map(|user| sql!(TRIM, &session.workspace, user.id.as_str(), session.hash.as_str(), SESSIONS_PER_USER - 1));
    [statement].into_iter().chain(trim)
}

/// Opens a session.
pub async fn insert(db: &impl Database, session: &Session) -> StoreResult<()> {
    db.batch(insert_statements(session).collect()).await.map(|_| ())
}

/// A session that has not ended.
pub async fn get(db: &impl Database, hash: &str, now: Timestamp) -> StoreResult<Option<Session>> {
    query_first(db, get_statement(hash, now)).await
}

/// The statement that reads a session that has not ended, to go in the batch of what depends on it.
pub fn get_statement(hash: &str, now: Timestamp) -> Statement {
    sql!(GET, hash, now)
}

/// The session that this statement has found.
pub fn read_found(found: &Rows) -> StoreResult<Option<Session>> {
    read_first(found)
}

/// Which of these sessions have not ended, in one round trip.
pub async fn list_unexpired_hashes(db: &impl Database, hashes: &[String], now: Timestamp) -> StoreResult<Vec<String>> {
    run_statement(db, sql!(UNEXPIRED_HASHES, json_text(hashes), now))
        .await?
        .rows
        .iter()
        .map(|row| Columns(row).text("token_hash"))
        .collect()
}

/// A workspace's session that has not ended, by its id.
pub async fn get_by_id(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &SessionId,
    now: Timestamp,
) -> StoreResult<Option<Session>> {
    query_first(db, sql!(BY_ID, workspace, id.hash_begins(), now)).await
}

/// The filters of a list of sessions or sign-in links.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Only sessions of this kind: `person` or `link`.
    pub kind: Option<&'static str>,
    /// Only this person's.
    pub user: Option<String>,
    /// Only those that this key created.
    pub made_by: Option<ApiKeyId>,
    /// After this row: when it was created, and its stored hash.
    pub after: Option<(Timestamp, String)>,
    /// Most rows.
    pub limit: i64,
}

impl SessionFilter {
    fn position(&self) -> (i64, &str) {
        self.after.as_ref().map_or((i64::MAX, ""), |(at, hash)| (at.unix(), hash.as_str()))
    }
}

/// Sessions that have not ended, newest first.
pub async fn list(
    db: &impl Database,
    workspace: &WorkspaceId,
    filter: &SessionFilter,
    now: Timestamp,
) -> StoreResult<Page<Session>> {
    let (at, hash) = filter.position();
    let user = filter.user.as_deref();
    let select = if user.is_some() { LIST_OF_USER } else { LIST };
    let statement =
        sql!(select, workspace, at, hash, now, filter.kind, user, filter.made_by.as_ref(), filter.limit + 1);
    let rows = query_all(db, statement).await?;
    Ok(cut_page(rows, filter.limit, |session: &Session| format_cursor(session.created_at, session.id())))
}

/// Ends a session.
pub async fn delete(db: &impl Database, hash: &str) -> StoreResult<()> {
    run_statement(db, sql!(DELETE, hash)).await.map(|_| ())
}

/// Ends a session and its pending grants, in one transaction.
pub async fn revoke(db: &impl Database, session: &Session, now: Timestamp) -> StoreResult<()> {
    let hash = session.hash.as_str();
    db.batch(vec![sql!(END_FLOWS, hash, now), sql!(DELETE, hash)]).await.map(|_| ())
}

/// A sign-in link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInLink {
    /// SHA-256 of its token.
    pub hash: String,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The person that it signs in.
    pub user: User,
    /// The role of the session.
    pub role: Role,
    /// The page that it leads to. None leads to the list of connections.
    pub return_to: Option<String>,
    /// The key that created it.
    pub made_by: Option<CreatorKey>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
}

impl SignInLink {
    /// Its id.
    pub fn id(&self) -> SignInLinkId {
        SignInLinkId::of_hash(&self.hash)
    }
}

impl FromRow for SignInLink {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            hash: row.text("token_hash")?,
            workspace: row.id("workspace_id")?,
            user: User { id: row.text("user_id")?, name: row.optional_text("user_name")? },
            role: read_role(row)?,
            return_to: row.optional_text("return_to")?,
            made_by: read_creator_key(row)?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            used_at: row.optional_time("used_at")?,
        })
    }
}

/// Stores a sign-in link. Returns whether the key that creates it is still valid. `has_role_of_person`: a role that the
/// person has no longer is not given. The person has the address from when they use the link.
pub async fn insert_sign_in_link(
    db: &impl Database,
    sign_in: &SignInLink,
    has_role_of_person: bool,
    address: Option<&EmailAddress>,
) -> StoreResult<bool> {
    let statement = sql!(
        INSERT_SIGN_IN,
        sign_in.hash.as_str(),
        &sign_in.workspace,
        sign_in.user.id.as_str(),
        sign_in.user.name.as_deref(),
        sign_in.expires_at,
        sign_in.role.as_str(),
        sign_in.return_to.as_deref(),
        sign_in.made_by.as_ref().map(|maker| &maker.key),
        sign_in.made_by.as_ref().and_then(|maker| maker.expires_at),
        sign_in.created_at,
        has_role_of_person,
        address.map(EmailAddress::as_str)
    );
    Ok(run_statement(db, statement).await?.changes > 0)
}

/// The person that a link would sign in, without using it.
pub async fn get_sign_in_link(db: &impl Database, token_hash: &str, now: Timestamp) -> StoreResult<Option<SignInLink>> {
    query_first(db, sql!(GET_SIGN_IN, token_hash, now)).await
}

/// Uses a sign-in link and opens its session, in one transaction: only one caller succeeds. The browser's previous
/// session ends. `first` goes before the session. Returns whether the link could be used.
pub async fn sign_in(
    db: &impl Database,
    token_hash: &str,
    session: &Session,
    before: Option<&str>,
    first: Vec<Statement>,
    now: Timestamp,
) -> StoreResult<bool> {
    let must = vec![sql!(USE_SIGN_IN, token_hash, now)];
    let mut then: Vec<_> = first.into_iter().chain(insert_statements(session)).collect();
    then.push(super::emails::set_address_of_link(token_hash));
    if let Some(before) = before {
        then.extend([sql!(END_FLOWS, before, now), sql!(DELETE, before)]);
    }
    all_or_nothing(db, must, then).await
}

/// Opens the session of a person whom an identity provider vouches for. `once` is the hash of what works once, and its end;
/// `if_changed` must change a row, and `first` goes before the session, and the address, if it
/// is known, is the person's from now on. Returns whether it did: not if it was used before, or the workspace was deleted.
pub async fn sign_in_by_provider(
    db: &impl Database,
    session: &Session,
    once: Option<(&str, Timestamp)>,
    before: Option<&str>,
    if_changed: Option<Statement>,
    first: Vec<Statement>,
    address: Option<&EmailAddress>,
) -> StoreResult<bool> {
    let user = session.user();
    let must = once.map(|(hash, expires_at)| {
        sql!(
            INSERT_USED_SIGN_IN,
            hash,
            &session.workspace,
            user.map(|user| user.id.as_str()),
            user.and_then(|user| user.name.as_deref()),
            expires_at,
            session.role.as_str(),
            session.created_at
        )
    });
    let mut then: Vec<_> = first.into_iter().chain(insert_statements(session)).collect();
    let known = user.zip(address);
    then.extend(known.map(|(user, address)| super::emails::set_address(&session.workspace, &user.id, address)));
    if let Some(before) = before {
        then.extend([sql!(END_FLOWS, before, session.created_at), sql!(DELETE, before)]);
    }
    all_or_nothing(db, must.into_iter().chain(if_changed).collect(), then).await
}

/// A workspace's sign-in link that has not expired, by its id.
pub async fn get_sign_in_link_by_id(
    db: &impl Database,
    workspace: &WorkspaceId,
    id: &SignInLinkId,
    now: Timestamp,
) -> StoreResult<Option<SignInLink>> {
    query_first(db, sql!(SIGN_IN_BY_ID, workspace, id.hash_begins(), now)).await
}

/// Sign-in links that have not expired, newest first.
pub async fn list_sign_in_links(
    db: &impl Database,
    workspace: &WorkspaceId,
    filter: &SessionFilter,
    now: Timestamp,
) -> StoreResult<Page<SignInLink>> {
    let (at, hash) = filter.position();
    let user = filter.user.as_deref();
    let statement = sql!(LIST_SIGN_IN, workspace, at, hash, now, user, filter.made_by.as_ref(), filter.limit + 1);
    let rows = query_all(db, statement).await?;
    Ok(cut_page(rows, filter.limit, |one: &SignInLink| format_cursor(one.created_at, one.id())))
}

/// Deletes a sign-in link.
pub async fn delete_sign_in_link(db: &impl Database, token_hash: &str) -> StoreResult<()> {
    run_statement(db, sql!(DELETE_SIGN_IN, token_hash)).await.map(|_| ())
}
