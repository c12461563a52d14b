//! Rows of `links`.

use super::authorizations::FlowOutcome;
use super::connections::{read_settings, read_user};
use super::{
    Columns, FromRow, Page, StoreResult, cut_page, format_cursor, json_text, keys, query_first, read_all, run_statement,
};
use crate::app::{AppId, AuthMethodId};
use crate::caller::CreatorKey;
use crate::codes::codes;
use crate::connection::ConnectionSettings;
use crate::environment::Environment;
use crate::ids::{ApiKeyId, ConnectionId, FlowId, LinkId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Statement};
use crate::sql;
use crate::time::Timestamp;
use crate::workspace::User;

/// A key that is being revoked creates nothing.
const INSERT: &str =
    "INSERT INTO connect_links (id, token_hash, workspace_id, app, connection_id, scopes, user_id, user_name, return_to,
      on_duplicate, requires_confirmation, status, created_at, expires_at, auth_method, created_by_key, key_expires_at, environment, is_shared, popup_origin)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'open', ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19
    WHERE ?15 IS NULL OR EXISTS (SELECT 1 FROM api_keys WHERE id = ?15 AND revoked_at IS NULL)";
/// Until when the person may answer the question of one of its flows.
macro_rules! choice_until {
    () => {
        "(SELECT max(expires_at) FROM flows WHERE session_hash = connect_links.session_hash AND link_id = connect_links.id
      AND status = 'undecided')"
    };
}
/// The newest flow of the browser that has the link: the other columns are those of the row with the largest rowid.
macro_rules! last_flow {
    () => {
        "(SELECT json_array(status, error, created_at, used_at, expires_at, max(rowid)) FROM flows
      WHERE session_hash = connect_links.session_hash AND link_id = connect_links.id)"
    };
}
/// A link's row, with until when the person may answer a question, and how far their last attempt is.
macro_rules! select_links {
    () => {
        concat!("SELECT *, ", choice_until!(), " AS choice_until, ", last_flow!(), " AS last_flow FROM connect_links")
    };
}
/// The link, if a browser may start it, or start it again. A link with an open question stays with its browser.
macro_rules! can_be_begun {
    () => {
        concat!(
            "workspace_id = ?1 AND id = ?2 AND status = 'open' AND expires_at > ?4 AND (session_hash IS NULL
      OR session_hash = ?3 OR coalesce(",
            choice_until!(),
            ", 0) <= ?4)"
        )
    };
}
/// The session of another browser that has started the link.
macro_rules! session_before {
    () => {
        concat!("(SELECT session_hash FROM connect_links WHERE ", can_be_begun!(), " AND session_hash <> ?3)")
    };
}

const BY_TOKEN: &str = concat!(select_links!(), " WHERE token_hash = ?1 AND ", is_not_ending!("connect_links"));
const GET: &str =
    concat!(select_links!(), " WHERE workspace_id = ?1 AND id = ?2 AND ", is_not_ending!("connect_links"));
/// What another browser started ends when this one starts: a link has one session at a time.
const END_FLOWS_BEFORE: &str = concat!(
    "UPDATE flows SET status = 'failed', error = ?5, sealed_verifier = NULL, expires_at = min(expires_at, ?4)
    WHERE status = 'pending' AND session_hash IN ",
    session_before!()
);
const END_SESSION_BEFORE: &str = concat!("DELETE FROM sessions WHERE token_hash IN ", session_before!());
const BIND_TO_SESSION: &str = concat!("UPDATE connect_links SET session_hash = ?3 WHERE ", can_be_begun!());
/// Only the browser that started the link last uses it.
const MARK_USED: &str = "UPDATE connect_links SET status = ?3, result_connection_id = ?4, flow_id = ?5, used_at = ?6
    WHERE workspace_id = ?1 AND id = ?2 AND status = 'open' AND coalesce(session_hash, ?7) = ?7";
/// The person of a used link adds to the connection that it made, in the same browser, as long as it is still theirs. A flow
/// that began before the link was used, or before another one changed the connection, is too late.
const MARK_USED_AGAIN: &str = "UPDATE connect_links SET used_at = ?4
    WHERE workspace_id = ?1 AND id = ?2 AND status = 'used' AND session_hash = ?5 AND result_connection_id = ?3
      AND EXISTS (SELECT 1 FROM connections c WHERE c.id = ?3 AND c.workspace_id = ?1 AND c.generation = ?6
        AND (c.user_id IS connect_links.user_id OR c.user_id IS NULL AND connect_links.connection_id IS NOT NULL))";
const MARK_CONFIRMED: &str =
    "UPDATE connect_links SET status = 'used' WHERE workspace_id = ?1 AND id = ?2 AND status = 'awaiting_confirmation'";
/// Used without a result.
const MARK_USED_WITHOUT_RESULT: &str = "UPDATE connect_links SET status = 'used', result_connection_id = NULL WHERE workspace_id = ?1 AND id = ?2 AND status = 'awaiting_confirmation'";

/// Links that one request looks at, at most, if it has to look at each of them. The next page continues behind them.
const MOST_EXAMINED: i64 = 1_000;
/// The last link that a request looks at.
macro_rules! last_examined {
    ($if:literal) => {
        concat!(
            "SELECT created_at, id FROM connect_links WHERE ",
            $if,
            "workspace_id = ?1 AND (created_at, id) < (?2, ?3) ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ?4"
        )
    };
}
const LAST_EXAMINED: &str = last_examined!("");
/// An open link with an open question is listed as such, whatever its expiry. Otherwise an expired one is listed as
/// expired. An allow-list of connections selects the links that name one of them.
const LIST: &str = concat!(
    select_links!(),
    " WHERE workspace_id = ?1 AND (created_at, id) < (?2, ?3)
      AND (created_at, id) >= (SELECT created_at, id FROM (",
    last_examined!("?14 AND "),
    ") UNION ALL SELECT 0, '' LIMIT 1)
      AND (?13 IS NULL OR app = ?13)
      AND (?5 IS NULL OR connection_id = ?5 OR result_connection_id = ?5)
      AND (?6 IS NULL OR ?6 = CASE WHEN status <> 'open' THEN status
        WHEN coalesce(",
    choice_until!(),
    ", 0) > ?7 THEN 'waiting_for_choice' WHEN expires_at <= ?7 THEN 'expired' ELSE status END)
      AND (?8 IS NULL OR created_by_key = ?8)
      AND (?9 IS NULL OR app IN (SELECT value FROM json_each(?9)))
      AND (?10 IS NULL OR coalesce(connection_id, result_connection_id) IS NOT NULL
        AND coalesce(connection_id, result_connection_id) IN (SELECT value FROM json_each(?10))
        AND coalesce(result_connection_id, connection_id) IN (SELECT value FROM json_each(?10)))
      AND (?12 IS NULL OR environment = ?12 AND NOT EXISTS (SELECT 1 FROM connections c
        WHERE c.id IN (connect_links.connection_id, result_connection_id) AND c.environment IS NOT ?12))
    ORDER BY created_at DESC, id DESC LIMIT ?11"
);
const END_FLOWS: &str = end_flows!(
    "?3",
    "+workspace_id = ?1 AND session_hash IN (SELECT session_hash FROM connect_links WHERE workspace_id = ?1 AND id = ?2)"
);
/// The plus keeps `SQLite` from reading all connections of the workspace.
const END_UNCONFIRMED: &str =
    "UPDATE connections SET deleted_at = ?3, generation = generation + 1, next_check_at = NULL
    WHERE +workspace_id = ?1 AND status = 'awaiting_confirmation' AND deleted_at IS NULL AND id IN
      (SELECT result_connection_id FROM connect_links WHERE workspace_id = ?1 AND id = ?2 AND status = 'awaiting_confirmation'
        AND flow_id IS NULL)";
const END_SESSION: &str = "DELETE FROM sessions WHERE token_hash IN (SELECT session_hash FROM connect_links WHERE workspace_id = ?1 AND id = ?2)";
const END_LINK: &str = "UPDATE connect_links SET status = 'ended', used_at = ?3 WHERE workspace_id = ?1 AND id = ?2
    AND status IN ('open', 'awaiting_confirmation')";

/// What happens if the user has a connection to that account already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum OnDuplicate {
    /// The person chooses.
    Ask,
    /// The existing connection gets the new grant.
    Reuse,
    /// A second connection is created.
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

/// The status of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStatus {
    /// It can be used.
    Open,
    /// Used. The embedding product has not confirmed the person yet.
    AwaitingConfirmation,
    /// Used.
    Used,
    /// Ended without a result.
    Ended,
}

impl LinkStatus {
    /// The name in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::AwaitingConfirmation => "awaiting_confirmation",
            Self::Used => "used",
            Self::Ended => "ended",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::AwaitingConfirmation, Self::Used, Self::Ended].into_iter().find(|one| one.as_str() == text)
    }
}

codes! {
    /// The status of a link in the API.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum LinkState {
        /// Nothing was connected yet. A browser may have started it.
        Open = "open",
        /// The person has an open question about the account, for ten minutes at most, also after the link's own expiry.
        WaitingForChoice = "waiting_for_choice",
        /// Your product must confirm the person.
        AwaitingConfirmation = "awaiting_confirmation",
        /// Something was connected.
        Used = "used",
        /// Somebody ended it, or the key that created it was revoked.
        Ended = "ended",
        /// It has expired.
        Expired = "expired",
    }
}

/// How far a person is who tries to connect by a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LinkAttemptStatus {
    /// The person went to the app, or what came back is being handled.
    Started,
    /// They have an open question about the account.
    WaitingForChoice,
    /// Your product must confirm them.
    AwaitingConfirmation,
    /// Something was connected.
    Connected,
    /// They did not allow the access at the app.
    Denied,
    /// It failed. `error` is the reason.
    Failed,
    /// They did not come back from the app, or did not answer the question, in time.
    TimedOut,
    /// They left everything as it was.
    Discarded,
}

/// The last attempt of a person to connect by a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkAttempt {
    outcome: FlowOutcome,
    error: Option<String>,
    started_at: Timestamp,
    expires_at: Timestamp,
    is_back: bool,
}

impl LinkAttempt {
    /// How far it is. What came back from the app is handled, however late it is.
    pub fn status(&self, now: Timestamp) -> LinkAttemptStatus {
        let is_over = now >= self.expires_at;
        match self.outcome {
            FlowOutcome::Pending if is_over && !self.is_back => LinkAttemptStatus::TimedOut,
            FlowOutcome::Undecided if is_over => LinkAttemptStatus::TimedOut,
            FlowOutcome::Pending => LinkAttemptStatus::Started,
            FlowOutcome::Undecided => LinkAttemptStatus::WaitingForChoice,
            FlowOutcome::AwaitingConfirmation => LinkAttemptStatus::AwaitingConfirmation,
            FlowOutcome::Done => LinkAttemptStatus::Connected,
            FlowOutcome::Denied => LinkAttemptStatus::Denied,
            FlowOutcome::Failed => LinkAttemptStatus::Failed,
            FlowOutcome::Discarded => LinkAttemptStatus::Discarded,
        }
    }

    /// Why it failed.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// When it began.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }
}

fn read_last_attempt(row: &Columns<'_>) -> StoreResult<Option<LinkAttempt>> {
    type LastFlow = (Option<String>, Option<String>, Option<i64>, Option<i64>, Option<i64>, Option<i64>);
    let Some(last) = row.optional_json::<LastFlow>("last_flow")? else { return Ok(None) };
    let (Some(outcome), error, Some(started_at), used_at, Some(expires_at), _) = last else { return Ok(None) };
    let unknown = || DatabaseError::Malformed("a link's flow has an unknown status".into());
    Ok(Some(LinkAttempt {
        outcome: FlowOutcome::parse(&outcome).ok_or_else(unknown)?,
        error,
        started_at: Timestamp::from_unix(started_at),
        expires_at: Timestamp::from_unix(expires_at),
        is_back: used_at.is_some(),
    }))
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
    /// The auth method. With `None` the person chooses.
    pub auth_method: Option<AuthMethodId>,
    /// The connection to repair, if it is for that.
    pub connection: Option<ConnectionId>,
    /// Scopes to request instead of the defaults.
    pub scopes: Option<Vec<String>>,
    /// The owner of the connection.
    pub user: Option<User>,
    /// What a new connection is given beside its grant.
    pub settings: ConnectionSettings,
    /// The last page of the browser.
    pub return_to: Option<String>,
    /// The origin of the page that opens it in a window and is told what came of it.
    pub popup_origin: Option<String>,
    /// What to do about a duplicate.
    pub on_duplicate: OnDuplicate,
    /// Whether the embedding product must confirm the person.
    pub needs_confirmation: bool,
    /// Its status.
    pub status: LinkStatus,
    /// The session of the browser that used it.
    pub session_hash: Option<String>,
    /// The connection that it created or repaired.
    pub result_connection: Option<ConnectionId>,
    /// The flow whose grant waits for confirmation.
    pub authorization: Option<FlowId>,
    /// Until when the person may answer a question, if there is one.
    pub choice_until: Option<Timestamp>,
    /// The last attempt in the browser that has it.
    pub last_attempt: Option<LinkAttempt>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The key that created it.
    pub made_by: Option<CreatorKey>,
}

impl Link {
    /// Whether the person has an open question now.
    pub fn is_waiting_for_choice(&self, now: Timestamp) -> bool {
        self.status == LinkStatus::Open && self.choice_until.is_some_and(|until| now < until)
    }

    /// Whether a browser with this session may use it once more, to allow what is missing to the connection that it made. A
    /// product that confirms its person gets nothing after that.
    pub fn may_be_used_again(&self, session_hash: &str, now: Timestamp) -> bool {
        self.status == LinkStatus::Used
            && !self.needs_confirmation
            && now < self.expires_at
            && self.session_hash.as_deref() == Some(session_hash)
    }

    /// Whether the connection that it made still has the owner that it was made for: somebody else's is not its person's to
    /// change. A repaired one may have none.
    pub fn is_still_for_owner(&self, owner: Option<&User>) -> bool {
        match (owner, &self.user) {
            (Some(owner), Some(user)) => owner.id == user.id,
            (None, Some(_)) => self.connection.is_some(),
            (owner, None) => owner.is_none(),
        }
    }

    /// Its status in the API.
    pub fn state(&self, now: Timestamp) -> LinkState {
        match self.status {
            _ if self.is_waiting_for_choice(now) => LinkState::WaitingForChoice,
            LinkStatus::Open if now >= self.expires_at => LinkState::Expired,
            LinkStatus::Open => LinkState::Open,
            LinkStatus::AwaitingConfirmation => LinkState::AwaitingConfirmation,
            LinkStatus::Used => LinkState::Used,
            LinkStatus::Ended => LinkState::Ended,
        }
    }
}

impl FromRow for Link {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let unknown = || DatabaseError::Malformed("a link's column holds an unknown value".into());
        Ok(Self {
            id: row.id("id")?,
            workspace: row.id("workspace_id")?,
            app: AppId::parse(&row.text("app")?).ok_or_else(unknown)?,
            auth_method: row
                .optional_text("auth_method")?
                .map(|way| AuthMethodId::parse(&way).ok_or_else(unknown))
                .transpose()?,
            connection: row.optional_id("connection_id")?,
            scopes: row.optional_json("scopes")?,
            user: read_user(row)?,
            settings: read_settings(row)?,
            return_to: row.optional_text("return_to")?,
            popup_origin: row.optional_text("popup_origin")?,
            on_duplicate: OnDuplicate::parse(&row.text("on_duplicate")?).ok_or_else(unknown)?,
            needs_confirmation: row.boolean("requires_confirmation")?,
            status: LinkStatus::parse(&row.text("status")?).ok_or_else(unknown)?,
            session_hash: row.optional_text("session_hash")?,
            result_connection: row.optional_id("result_connection_id")?,
            authorization: row.optional_id("flow_id")?,
            choice_until: row.optional_time("choice_until")?,
            last_attempt: read_last_attempt(row)?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            made_by: keys::read_creator_key(row)?,
        })
    }
}

/// Stores a link. Returns whether the key that creates it is still valid.
pub async fn insert(db: &impl Database, link: &Link, token_hash: &str) -> StoreResult<bool> {
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
        link.needs_confirmation,
        link.created_at,
        link.expires_at,
        link.auth_method.as_ref(),
        link.made_by.as_ref().map(|maker| &maker.key),
        link.made_by.as_ref().and_then(|maker| maker.expires_at),
        link.settings.environment.map(Environment::as_str),
        link.settings.shared,
        link.popup_origin.as_deref()
    );
    Ok(run_statement(db, statement).await?.changes > 0)
}

/// The link of a token.
pub async fn get_by_token(db: &impl Database, token_hash: &str) -> StoreResult<Option<Link>> {
    query_first(db, sql!(BY_TOKEN, token_hash)).await
}

/// One link of a workspace.
pub async fn get(db: &impl Database, workspace: &WorkspaceId, id: &LinkId) -> StoreResult<Option<Link>> {
    query_first(db, sql!(GET, workspace, id)).await
}

/// The filters of a list.
#[derive(Debug, Clone, Default)]
pub struct LinkFilter {
    /// Only links for this app.
    pub app: Option<AppId>,
    /// Only links that repair this connection, or created it.
    pub connection: Option<ConnectionId>,
    /// Only those with this status, as in [`Link::state`].
    pub status: Option<LinkState>,
    /// Only those that this key created.
    pub made_by: Option<ApiKeyId>,
    /// Only these apps (a key's allow-list).
    pub apps: Option<Vec<AppId>>,
    /// Only these connections (a key's allow-list).
    pub connections: Option<Vec<ConnectionId>>,
    /// Only this environment (a key's).
    pub environment: Option<Environment>,
    /// After this row: when it was created, and its id.
    pub after: Option<(Timestamp, LinkId)>,
    /// Most rows.
    pub limit: i64,
}

impl LinkFilter {
    /// Whether links may have to be looked at that are not listed.
    fn is_set(&self) -> bool {
        self.app.is_some()
            || self.connection.is_some()
            || self.status.is_some()
            || self.made_by.is_some()
            || self.apps.is_some()
            || self.connections.is_some()
            || self.environment.is_some()
    }
}

/// Links, newest first. A cursor is `seconds.id` of the last row. A page of a filtered list can be short, or empty, and have
/// a next page.
pub async fn list(
    db: &impl Database,
    workspace: &WorkspaceId,
    filter: &LinkFilter,
    now: Timestamp,
) -> StoreResult<Page<Link>> {
    let (at, id) = filter.after.as_ref().map_or((i64::MAX, ""), |(at, id)| (at.unix(), id.as_str()));
    let statement = sql!(
        LIST,
        workspace,
        at,
        id,
        MOST_EXAMINED - 1,
        filter.connection.as_ref(),
        filter.status.map(LinkState::as_str),
        now,
        filter.made_by.as_ref(),
        filter.apps.as_ref().map(json_text),
        filter.connections.as_ref().map(json_text),
        filter.limit + 1,
        filter.environment.map(Environment::as_str),
        filter.app.as_ref(),
        filter.is_set()
    );
    let last = filter.is_set().then(|| sql!(LAST_EXAMINED, workspace, at, id, MOST_EXAMINED - 1));
    let answers = db.batch([statement].into_iter().chain(last).collect()).await?;
    let rows = answers.first().map_or(Ok(vec![]), read_all)?;
    let page = cut_page(rows, filter.limit, |link: &Link| format_cursor(link.created_at, &link.id));
    let last = answers.get(1).and_then(|rows| rows.rows.first()).map(|row| {
        let row = Columns(row);
        Ok(format_cursor(row.time("created_at")?, row.text("id")?))
    });
    Ok(Page { next: page.next.or(last.transpose()?), ..page })
}

/// Ends a link without a result, with its session and pending grants, in one transaction. Returns whether there was
/// such a link.
pub async fn revoke(db: &impl Database, workspace: &WorkspaceId, id: &LinkId, now: Timestamp) -> StoreResult<bool> {
    let answers = db
        .batch(vec![
            sql!(END_FLOWS, workspace, id, now),
            sql!(END_UNCONFIRMED, workspace, id, now),
            sql!(END_SESSION, workspace, id),
            sql!(END_LINK, workspace, id, now),
        ])
        .await?;
    Ok(answers.last().is_some_and(|rows| rows.changes > 0))
}

/// Binds a link to the browser that starts it. Returns whether it belongs to that browser. What another browser had
/// started ends in the same transaction, and its flows have the reason `why`.
pub async fn bind_to_session(
    db: &impl Database,
    link: &Link,
    session_hash: &str,
    why: &str,
    now: Timestamp,
) -> StoreResult<bool> {
    let answers = db
        .batch(vec![
            sql!(END_FLOWS_BEFORE, &link.workspace, &link.id, session_hash, now, why),
            sql!(END_SESSION_BEFORE, &link.workspace, &link.id, session_hash, now),
            sql!(BIND_TO_SESSION, &link.workspace, &link.id, session_hash, now),
        ])
        .await?;
    Ok(answers.last().is_some_and(|rows| rows.changes > 0))
}

/// The statement that uses a link for a flow of this session. It changes nothing if the link was used before, or if
/// another browser has started it since.
pub fn mark_used(
    workspace: &WorkspaceId,
    id: &LinkId,
    session_hash: &str,
    status: LinkStatus,
    result: &ConnectionId,
    authorization: Option<&FlowId>,
    now: Timestamp,
) -> Statement {
    sql!(MARK_USED, workspace, id, status.as_str(), result, authorization, now, session_hash)
}

/// The statement that uses a used link once more, for a flow that began with this generation of the connection that the link
/// made.
pub fn mark_used_again(
    workspace: &WorkspaceId,
    id: &LinkId,
    session_hash: &str,
    result: &ConnectionId,
    generation: Option<i64>,
    now: Timestamp,
) -> Statement {
    sql!(MARK_USED_AGAIN, workspace, id, result, now, session_hash, generation)
}

/// The statement that records the embedding product's confirmation.
pub fn mark_confirmed(workspace: &WorkspaceId, id: &LinkId) -> Statement {
    sql!(MARK_CONFIRMED, workspace, id)
}

/// The statement that ends a link whose grant cannot be confirmed any more.
pub fn mark_used_without_result(workspace: &WorkspaceId, id: &LinkId) -> Statement {
    sql!(MARK_USED_WITHOUT_RESULT, workspace, id)
}
