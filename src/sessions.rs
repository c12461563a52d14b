//! Sessions of browsers: a person signs in and out, and whoever uses a connect link gets a session for that link alone.
//!
//! Owns how long a session lives, and that it ends with the key that made its link. A session is found by a token that
//! only the browser has. Refuses to know cookies, and to answer what opens a session that is stored: only hashes are.

use crate::audit::{Actor, EventType};
use crate::caller::{CreatorKey, hash_secret};
use crate::connect::complete::CHOICE_TTL;
use crate::connect::start::FLOW_TTL;
use crate::context::Context;
use crate::email_address::EmailAddress;
use crate::error::Result;
use crate::ids::{Shard, WorkspaceId, random_token};
use crate::isolate_cache::KnownSession;
use crate::ports::{Ports, Statement};
use crate::secret::Secret;
use crate::sign_in_links::{find_usable_sign_in_link, sign_in_link_ended_error};
use crate::store::Page;
use crate::store::events::{self, ChangedBy, EventSubject};
use crate::store::links::Link;
use crate::store::people;
use crate::store::sessions::{self, Session, SessionFilter, SessionKind};
use crate::time::Timestamp;
use crate::workspace::{Role, User};

/// Seconds for which a person stays signed in: twelve hours.
const USER_SESSION_TTL: i64 = 12 * 3600;
/// Seconds by which a link's session outlives its link: long enough for a flow that starts at the last moment, and its
/// question.
const LINK_SESSION_EXTRA_TTL: i64 = FLOW_TTL + CHOICE_TTL;

/// A session that was just opened.
#[derive(Debug)]
pub struct OpenedSession {
    /// The session.
    pub session: Session,
    /// What the browser keeps, to be found by it again.
    pub token: Secret,
}

/// The session of a token, if it has not ended.
pub async fn find_session<P: Ports>(context: &Context<P>, token: &str) -> Result<Option<Session>> {
    let hash = hash_secret(token);
    let found = sessions::get(context.db(), &hash, context.now()).await?;
    match &found {
        Some(session) => remember_session(context, session),
        None => context.ports.isolate_cache().sessions().forget(&hash),
    }
    Ok(found)
}

/// A person's session as this isolate knows it. It may have ended since: see [`Context::assume_session`].
pub fn recall_session<P: Ports>(context: &Context<P>, token: &str) -> Option<Session> {
    let hash = hash_secret(token);
    let known = context.ports.isolate_cache().sessions().get(&hash)?;
    Some(Session {
        hash,
        workspace: known.workspace.clone(),
        kind: SessionKind::User(User { id: known.user_id.clone(), name: known.user_name.clone() }),
        role: if known.is_admin { Role::Admin } else { Role::Member },
        made_by: known.made_by.clone(),
        created_at: known.created_at,
        expires_at: known.expires_at,
    })
}

/// Remembers a person's session, so that the next page takes one round trip.
pub fn remember_session<P: Ports>(context: &Context<P>, session: &Session) {
    let Some(user) = session.user() else { return };
    let known = KnownSession {
        workspace: session.workspace.clone(),
        user_id: user.id.clone(),
        user_name: user.name.clone(),
        is_admin: session.role == Role::Admin,
        made_by: session.made_by.clone(),
        created_at: session.created_at,
        expires_at: session.expires_at,
    };
    context.ports.isolate_cache().sessions().remember(&session.hash, known);
}

/// The session of a token whose workspace is in another database than this one, and a context in that database. It is bound,
/// or there is none.
pub async fn find_session_elsewhere<P: Ports>(
    context: &Context<P>,
    token: &str,
) -> Result<Option<(Context<P>, Session)>> {
    let shard = Shard::of_token(token).filter(|shard| *shard != context.shard());
    let Some(elsewhere) = shard.and_then(|shard| context.in_shard(shard)) else { return Ok(None) };
    let found = find_session(&elsewhere, token).await?;
    Ok(found.map(|session| (elsewhere, session)))
}

/// The hashes of those sessions that have not ended, in one round trip: flows are bound to them.
pub async fn find_unexpired_hashes<P: Ports>(context: &Context<P>, tokens: &[&str]) -> Result<Vec<String>> {
    if tokens.is_empty() {
        return Ok(vec![]);
    }
    let hashes: Vec<_> = tokens.iter().map(|token| hash_secret(token)).collect();
    Ok(sessions::list_unexpired_hashes(context.db(), &hashes, context.now()).await?)
}

/// Signs a person in by a link that can be used once. The session that the browser had before ends. Answers the session
/// and the page of ours that the link leads to.
///
/// # Errors
/// `link_ended` where the link was used or has expired.
pub async fn sign_in<P: Ports>(
    context: &Context<P>,
    link_token: &str,
    token_before: Option<&str>,
) -> Result<(OpenedSession, Option<String>)> {
    let link = find_usable_sign_in_link(context, link_token).await?;
    let new = NewSession {
        workspace: &link.workspace,
        kind: SessionKind::User(link.user),
        role: link.role,
        made_by: link.made_by.as_ref(),
    };
    let opened = new.build_session(context, USER_SESSION_TTL)?;
    let before = token_before.map(hash_secret);
    let promoted = match opened.session.role {
        Role::Admin => {
            // Whoever made the link did it.
            let by_key = opened.session.made_by.clone().map(Actor::Key);
            promote_statements(context, &opened.session, &by_key.unwrap_or_else(|| session_actor(&opened.session)))?
        }
        Role::Member => vec![],
    };
    let event = session_event(context, &opened.session, EventType::SignedIn, &session_actor(&opened.session))?;
    let db = context.audited_db(event, ChangedBy::First);
    if !sessions::sign_in(&db, &link.hash, &opened.session, before.as_deref(), promoted, context.now()).await? {
        return Err(sign_in_link_ended_error());
    }
    end_session_elsewhere(context, token_before).await;
    Ok((opened, link.return_to))
}

/// Ends the session that a browser had before a sign-in, if its workspace is in another database: one in the same database
/// ends with the sign-in itself. The new session is open by now, so a failure is only logged.
pub async fn end_session_elsewhere<P: Ports>(context: &Context<P>, token_before: Option<&str>) {
    let Some(token) = token_before else { return };
    let ended: Result<()> = async {
        if let Some((elsewhere, session)) = find_session_elsewhere(context, token).await? {
            sessions::revoke(elsewhere.db(), &session, elsewhere.now()).await?;
        }
        Ok(())
    }
    .await;
    if let Err(error) = ended {
        context.log_cause(&error);
    }
}

/// A person whom an identity provider vouches for.
#[derive(Debug)]
pub struct ProviderSignIn<'a> {
    /// The workspace.
    pub workspace: &'a WorkspaceId,
    /// Who it is.
    pub user: User,
    /// Their role.
    pub role: Role,
    /// Whether the provider decides over the role: then it is taken away, too.
    pub decides_role: bool,
    /// The hash of what works once, and its end.
    pub once: Option<(String, Timestamp)>,
    /// The hash of the session that ends.
    pub before: Option<&'a str>,
    /// Their address, if the provider has verified it.
    pub address: Option<EmailAddress>,
}

/// Opens the session of a person whom an identity provider vouches for. None: this sign-in was used before, the workspace was
/// deleted, or the person was made a member at this moment.
pub async fn sign_in_by_provider<P: Ports>(
    context: &Context<P>,
    sign_in: ProviderSignIn<'_>,
) -> Result<Option<OpenedSession>> {
    let ProviderSignIn { workspace, user, role, decides_role, once, before, address } = sign_in;
    let id = user.id.clone();
    let new = NewSession { workspace, kind: SessionKind::User(user), role, made_by: None };
    let opened = new.build_session(context, USER_SESSION_TTL)?;
    let actor = session_actor(&opened.session);
    let mut first = match role {
        Role::Admin if decides_role => promote_statements(context, &opened.session, &actor)?,
        Role::Member if decides_role => {
            let [people, sessions] = people::demote(workspace, &id);
            vec![people, role_event(context, workspace, &id, role, &actor)?, sessions]
        }
        Role::Admin | Role::Member => vec![],
    };
    // The role was read before. Otherwise a session of an admin would bring it back.
    let if_changed = (!decides_role && role == Role::Admin).then(|| people::require_admin(workspace, &id));
    // All or nothing: where the session opens, so does its line.
    first.push(session_event(context, &opened.session, EventType::SignedIn, &actor)?);
    let once = once.as_ref().map(|(hash, until)| (hash.as_str(), *until));
    let is_open =
        sessions::sign_in_by_provider(context.db(), &opened.session, once, before, if_changed, first, address.as_ref())
            .await?;
    Ok(is_open.then_some(opened))
}

/// The statements by which whoever signs in as an admin becomes one, with a line if they were none.
fn promote_statements<P: Ports>(context: &Context<P>, session: &Session, actor: &Actor) -> Result<Vec<Statement>> {
    let Some(user) = session.user() else { return Ok(vec![]) };
    let promoted = people::promote(&session.workspace, user, context.now());
    Ok(vec![promoted, role_event(context, &session.workspace, &user.id, Role::Admin, actor)?])
}

/// The line about a role, if the statement before it changed it.
fn role_event<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    user: &str,
    role: Role,
    actor: &Actor,
) -> Result<Statement> {
    let subject = EventSubject { target: Some(user), ..EventSubject::default() };
    let event =
        context.event_statement_about(workspace, EventType::RoleChanged, actor, subject, Some(role.as_str()))?;
    Ok(events::insert_if_changed(event))
}

/// Opens a session for whoever uses a connect link.
pub async fn open_link_session<P: Ports>(context: &Context<P>, link: &Link) -> Result<OpenedSession> {
    let life = link.expires_at.since(context.now()) + LINK_SESSION_EXTRA_TTL;
    let new = NewSession {
        workspace: &link.workspace,
        kind: SessionKind::Link(link.id.clone()),
        role: Role::Member,
        made_by: link.made_by.as_ref(),
    };
    let opened = new.build_session(context, life)?;
    sessions::insert(context.db(), &opened.session).await?;
    Ok(opened)
}

/// A session to open.
struct NewSession<'a> {
    workspace: &'a WorkspaceId,
    kind: SessionKind,
    role: Role,
    made_by: Option<&'a CreatorKey>,
}

impl NewSession<'_> {
    /// The session and its token. It ends with the key that made its link, at the latest.
    fn build_session<P: Ports>(self, context: &Context<P>, life: i64) -> Result<OpenedSession> {
        let token = Secret::new(random_token(context.ports.random(), self.workspace.shard())?);
        let now = context.now();
        let session = Session {
            hash: hash_secret(token.expose()),
            workspace: self.workspace.clone(),
            kind: self.kind,
            role: self.role,
            made_by: self.made_by.map(|maker| maker.key.clone()),
            created_at: now,
            expires_at: self.made_by.map_or(now.plus(life), |maker| maker.limit_expiry(now.plus(life))),
        };
        Ok(OpenedSession { session, token })
    }
}

/// Who a session is, for the audit log.
fn session_actor(session: &Session) -> Actor {
    match &session.kind {
        SessionKind::User(user) => Actor::User(user.id.clone()),
        SessionKind::Link(link) => Actor::Link(link.clone()),
    }
}

fn session_event<P: Ports>(
    context: &Context<P>,
    session: &Session,
    event: EventType,
    actor: &Actor,
) -> Result<Statement> {
    let id = session.id();
    let subject = EventSubject { target: Some(id.as_str()), ..EventSubject::default() };
    let detail = format!("{} as {}", session_actor(session), session.role.as_str());
    context.event_statement_about(&session.workspace, event, actor, subject, Some(&detail))
}

/// Ends a session for its own browser. Its flows go on, and end with their time.
pub async fn close_session<P: Ports>(context: &Context<P>, session: &Session) -> Result<()> {
    if session.user().is_none() {
        return Ok(sessions::delete(context.db(), &session.hash).await?);
    }
    let event = session_event(context, session, EventType::SignedOut, &session_actor(session))?;
    Ok(sessions::delete(&context.audited_db(event, ChangedBy::First), &session.hash).await?)
}

/// Ends a session, and what waits in its flows.
pub async fn revoke_session<P: Ports>(context: &Context<P>, session: &Session, actor: &Actor) -> Result<()> {
    let event = session_event(context, session, EventType::SessionEnded, actor)?;
    Ok(sessions::revoke(&context.audited_db(event, ChangedBy::Last), session, context.now()).await?)
}

/// Sessions that have not ended, newest first.
pub async fn list_sessions<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    filter: &SessionFilter,
) -> Result<Page<Session>> {
    Ok(sessions::list(context.db(), workspace, filter, context.now()).await?)
}
