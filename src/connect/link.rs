//! Links: somebody else is asked to connect or repair.
//!
//! A link is unguessable, short-lived, bound to the browser that pressed its button last, and used
//! up by success. As long as nothing came of it, another browser may begin it anew, which ends what the first one began. The page it opens names workspace, app and permissions, because whoever sends a
//! link chooses where the account ends up.

use crate::app::{App, AppId, AuthMethodId};
use crate::audit::{Actor, EventType};
use crate::authorize::unauthorized;
use crate::caller::{CreatorKey, constant_time_eq, hash_secret};
use crate::connection::{Connection, ConnectionSettings};
use crate::context::Context;
use crate::defaults;
use crate::egress::parse_url;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{ConnectionId, LinkId, WorkspaceId, random_token};
use crate::ports::{Ports, Statement};
use crate::preconditions::{IfMatch, ReadState};
use crate::quotas::{self, Quota};
use crate::registry;
use crate::secret::Secret;
use crate::store::events::{AuditedDatabase, ChangedBy, EventSubject};
use crate::store::links::{Link, LinkFilter, LinkStatus, OnDuplicate};
use crate::store::{self, Page, authorizations, connections};
use crate::workspace::User;

use super::complete::{self, CompleteError};
use super::{FlowFailure, start};

/// Seconds a link lives unless told otherwise: an hour.
pub const DEFAULT_TTL: i64 = 3600;
/// Seconds a link may live: a week.
pub const MAX_TTL: i64 = 7 * 86_400;

/// What a link is to be.
#[derive(Debug, Clone)]
pub struct NewLink {
    /// The app; taken from the connection where one is named.
    pub app: Option<AppId>,
    /// Which of its ways to connect; none lets the person choose.
    pub auth_method: Option<AuthMethodId>,
    /// The connection to repair.
    pub connection: Option<ConnectionId>,
    /// Scopes to ask for.
    pub scopes: Option<Vec<String>>,
    /// Whose it will be.
    pub user: Option<User>,
    /// What a new connection is given beside its grant.
    pub settings: ConnectionSettings,
    /// Where the browser goes at the end: an address at one of the workspace's allowed origins.
    pub return_to: Option<String>,
    /// The origin of the page that opens it in a window: one of the workspace's allowed origins.
    pub popup_origin: Option<String>,
    /// Seconds it lives.
    pub expires_in: i64,
    /// What to do about a duplicate.
    pub on_duplicate: OnDuplicate,
    /// Whether the product must confirm.
    pub confirm: bool,
    /// The key that makes it.
    pub made_by: Option<CreatorKey>,
}

/// Makes a link for a program; answers it and its URL, which is shown once.
pub async fn create<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    new: NewLink,
    may_see: impl Fn(&Connection) -> bool,
) -> Result<(Link, String)> {
    let actor = new.made_by.as_ref().map_or(Actor::Embedder, |maker| Actor::Key(maker.key.clone()));
    create_as(context, workspace, new, &actor, may_see).await
}

/// The same, as whoever is named in the audit log.
pub async fn create_as<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    new: NewLink,
    actor: &Actor,
    may_see: impl Fn(&Connection) -> bool,
) -> Result<(Link, String)> {
    let return_to = match &new.return_to {
        None => None,
        Some(text) => Some(parse_return_to(context, workspace, text).await?),
    };
    if let Some(origin) = &new.popup_origin {
        require_popup_origin(context, workspace, origin, return_to.is_some()).await?;
    }
    let (app_id, connection) = match (&new.connection, &new.app) {
        (Some(id), wished) => {
            let connection = connections::get(context.db(), workspace, id)
                .await?
                .filter(|connection| may_see(connection))
                .ok_or_else(Error::connection_not_found)?;
            if wished.as_ref().is_some_and(|app| *app != connection.app) {
                return Err(Error::invalid_field("app", "is not the app of this connection; leave it out."));
            }
            (connection.app.clone(), Some(connection))
        }
        (None, Some(app)) => (app.clone(), None),
        (None, None) => {
            return Err(Error::invalid_field("app", "or connection must be given: what is to be connected?"));
        }
    };
    start::validate_scopes(new.scopes.as_deref().unwrap_or_default())?;
    let owner = connection.as_ref().and_then(|connection| connection.user.clone());
    let user = intended_user(new.user, owner, new.confirm)?;
    let registered = registry::load_current_app(context, workspace, &app_id)
        .await?
        .ok_or_else(|| Error::invalid_field("app", "is neither an app of the catalogue nor of this workspace."))?;
    // Better told to whoever makes the link than to whoever opens it.
    let app = &registered.app;
    let repaired = connection
        .as_ref()
        .map(|connection| &connection.auth_method)
        .filter(|auth_method| app.auth_method(Some(auth_method)).is_some());
    require_usable_auth_method(context, workspace, app, new.auth_method.as_ref().or(repaired)).await?;
    let now = context.now();
    let token = Secret::new(random_token(context.ports.random(), workspace.shard())?);
    let link = Link {
        id: LinkId::random(context.ports.random(), workspace.shard())?,
        workspace: workspace.clone(),
        app: app_id,
        auth_method: new.auth_method,
        user,
        settings: settings_of_link(new.settings, connection.as_ref())?,
        connection: new.connection,
        scopes: new.scopes,
        return_to,
        popup_origin: new.popup_origin,
        on_duplicate: new.on_duplicate,
        needs_confirmation: new.confirm,
        status: LinkStatus::Open,
        session_hash: None,
        result_connection: None,
        authorization: None,
        choice_until: None,
        last_attempt: None,
        created_at: now,
        expires_at: new
            .made_by
            .as_ref()
            .map_or(now.plus(new.expires_in), |key| key.limit_expiry(now.plus(new.expires_in))),
        made_by: new.made_by,
    };
    let quota = [Quota::OpenLinks(now)];
    let event = link_event(context, &link, EventType::LinkCreated, actor)?;
    let guarded = quotas::guard_database(context, workspace, &quota);
    let db = AuditedDatabase::new(guarded, event, ChangedBy::First);
    let inserted = store::links::insert(&db, &link, &hash_secret(token.expose())).await;
    if !quotas::map_insert_error(context, workspace, &quota, inserted).await? {
        return Err(unauthorized());
    }
    let url = context.config.public_url.at(&format!("/connect/{}", token.expose()));
    Ok((link, url))
}

/// A repair leaves environment and sharing as they are. Its link has the connection's environment, because a key that is
/// limited to another one must not see it.
fn settings_of_link(asked: ConnectionSettings, repaired: Option<&Connection>) -> Result<ConnectionSettings> {
    let Some(connection) = repaired else { return Ok(asked) };
    for (field, is_given) in [("environment", asked.environment.is_some()), ("shared", asked.shared.is_some())] {
        if is_given {
            let problem = "is for a new connection; change this one with PATCH /v1/connections/{id}.";
            return Err(Error::invalid_field(field, problem));
        }
    }
    Ok(ConnectionSettings { environment: connection.environment, shared: None })
}

/// The event of a link: for whom it is.
fn link_event<P: Ports>(context: &Context<P>, link: &Link, event: EventType, actor: &Actor) -> Result<Statement> {
    let subject =
        EventSubject { connection: link.connection.as_ref(), app: Some(&link.app), target: Some(link.id.as_str()) };
    let user = link.user.as_ref().map(|user| format!("for {}", user.id));
    context.event_statement_about(&link.workspace, event, actor, subject, user.as_deref())
}

/// Only origins in the workspace's list: otherwise this would be an open redirector (RFC 9700, 4.11.1).
async fn parse_return_to<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, text: &str) -> Result<String> {
    let wrong = || {
        Error::invalid_field(
            "return_to",
            "must be an address of one of the workspace's allowed_origins (PATCH /v1/workspace).",
        )
    };
    let url = parse_url(text).ok_or_else(wrong)?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && matches!(url.scheme(), "https" | "http")
        && url.as_str().len() <= 2048;
    let allowed = load_allowed_origins(context, workspace).await?;
    if plain && allowed.contains(&url.origin().ascii_serialization()) { Ok(url.into()) } else { Err(wrong()) }
}

/// A message is sent to this origin and to no other, so it is one of the list exactly, as browsers write it.
async fn require_popup_origin<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    origin: &str,
    returns: bool,
) -> Result<()> {
    if returns {
        return Err(Error::invalid_field("popup", "can't be given with return_to: the window closes at the end."));
    }
    if load_allowed_origins(context, workspace).await?.iter().any(|allowed| allowed == origin) {
        return Ok(());
    }
    Err(Error::invalid_field(
        "popup.origin",
        "must be one of the workspace's allowed_origins, written as there (PATCH /v1/workspace).",
    ))
}

async fn load_allowed_origins<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) -> Result<Vec<String>> {
    let workspace = store::workspaces::get(context.db(), workspace).await?;
    Ok(workspace.map(|workspace| workspace.allowed_origins).unwrap_or_default())
}

/// Refuses a way that is none, and an app none of whose ways can be walked here.
async fn require_usable_auth_method<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    app: &App,
    auth_method: Option<&AuthMethodId>,
) -> Result<()> {
    let wanted: Vec<_> =
        app.auth_methods().iter().filter(|one| auth_method.is_none_or(|id| one.method_id == *id)).collect();
    if wanted.is_empty() {
        return Err(Error::invalid_field("auth_method", "is no way to connect this app."));
    }
    let mut refused = None;
    for auth_method in wanted {
        if auth_method.kind.is_manual() {
            return Ok(());
        }
        match start::load_usable_client(context, workspace, auth_method).await {
            Ok(_) => return Ok(()),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Whom a link is meant for: the user it names, or the owner of the connection it repairs, who must be the same.
fn intended_user(named: Option<User>, owner: Option<User>, confirm: bool) -> Result<Option<User>> {
    match (named, owner) {
        (Some(named), Some(owner)) if named.id != owner.id => {
            Err(Error::invalid_field("user.id", "is not the owner of this connection; leave it out."))
        }
        (None, None) if confirm => {
            Err(Error::invalid_field("user", "must be given with confirm: it is the user you will confirm."))
        }
        (named, owner) => Ok(owner.or(named)),
    }
}

/// The links of a workspace, newest first.
pub async fn list_links<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    filter: &LinkFilter,
) -> Result<Page<Link>> {
    Ok(store::links::list(context.db(), workspace, filter, context.now()).await?)
}

/// The link a token opens, if it can still be used.
pub async fn find_open<P: Ports>(context: &Context<P>, token: &str) -> Result<Link> {
    let ended = || {
        Error::new(
            ErrorCode::LinkEnded,
            "This link was used, has expired, or never existed. Ask whoever sent it for a new one.",
        )
    };
    let link = store::links::get_by_token(context.db(), &hash_secret(token)).await?.ok_or_else(ended)?;
    if link.status != LinkStatus::Open || context.now() >= link.expires_at {
        return Err(ended());
    }
    Ok(link)
}

/// The used link that a token opened.
pub async fn find_used<P: Ports>(context: &Context<P>, token: &str) -> Result<Option<Link>> {
    let link = store::links::get_by_token(context.db(), &hash_secret(token)).await?;
    Ok(link.filter(|link| link.status == LinkStatus::Used))
}

/// A used link whose person may allow what is missing: it repairs the connection that it made.
pub async fn find_to_use_again<P: Ports>(context: &Context<P>, link: Link, session_hash: &str) -> Result<Option<Link>> {
    if !link.may_be_used_again(session_hash, context.now()) {
        return Ok(None);
    }
    let Some(id) = &link.result_connection else { return Ok(None) };
    let made = connections::get(context.db(), &link.workspace, id).await?;
    let is_lacking =
        made.is_some_and(|made| link.is_still_for_owner(made.user.as_ref()) && !made.missing_scopes().is_empty());
    Ok(is_lacking.then(|| Link { connection: link.result_connection.clone(), ..link }))
}

/// Binds a link to the browser that begins it. What another browser had begun ends, as long as nothing was connected by it
/// and no question waits there for an answer.
pub async fn bind_to_session<P: Ports>(context: &Context<P>, link: &Link, session_hash: &str) -> Result<()> {
    let (now, why) = (context.now(), FlowFailure::LinkBegunAnew.as_str());
    if store::links::bind_to_session(context.db(), link, session_hash, why, now).await? {
        return Ok(());
    }
    let link = store::links::get(context.db(), &link.workspace, &link.id).await?;
    Err(Error::new(
        ErrorCode::LinkEnded,
        if link.is_some_and(|link| link.is_waiting_for_choice(now)) {
            "This link asks a question in another browser. Answer it there, open the link again in ten minutes, or ask for a \
             new link."
        } else {
            "This link was used or has expired. Ask whoever sent it for a new one."
        },
    ))
}

/// The embedding product confirms that the same person came back. What the link made may be used from now on.
pub async fn confirm<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, id: &LinkId, user: &str) -> Result<Link> {
    let link = store::links::get(context.db(), workspace, id).await?.ok_or_else(|| Error::not_found("link"))?;
    if link.status != LinkStatus::AwaitingConfirmation {
        return Err(Error::new(
            ErrorCode::Conflict,
            "This link has nothing to confirm: it was not used yet, was made without confirm, is confirmed already, or was ended.",
        ));
    }
    if !link.user.as_ref().is_some_and(|expected| constant_time_eq(&expected.id, user)) {
        return Err(Error::invalid_field("user.id", "is not the user this link was made for. Nothing was confirmed."));
    }
    match (&link.authorization, &link.result_connection) {
        (Some(flow), _) => confirm_reconnect(context, workspace, flow).await?,
        (None, Some(connection)) => confirm_new_connection(context, &link, connection).await?,
        (None, None) => return Err(Error::internal("a used link without a result")),
    }
    store::links::get(context.db(), workspace, id).await?.ok_or_else(|| Error::not_found("link"))
}

/// Ends a link that came to nothing yet: nobody can use or confirm it any more, and what waits in it is discarded. One that
/// has ended before stays ended.
pub async fn revoke<P: Ports>(context: &Context<P>, link: &Link, actor: &Actor, if_match: &IfMatch) -> Result<Link> {
    let condition = if_match.condition(Some(ReadState::of_link(link)))?;
    let event = link_event(context, link, EventType::LinkEnded, actor)?;
    let db = AuditedDatabase::new(condition.db(context), event, ChangedBy::Last);
    let revoked = store::links::revoke(&db, &link.workspace, &link.id, context.now()).await;
    condition.explain(context, revoked).await?;
    let now = store::links::get(context.db(), &link.workspace, &link.id).await?;
    let now = now.ok_or_else(|| Error::not_found("link"))?;
    if now.status == LinkStatus::Used {
        return Err(Error::new(
            ErrorCode::Conflict,
            "This link was used, so there is nothing to end. Disconnect what it made: DELETE /v1/connections/{id}.",
        ));
    }
    Ok(now)
}

async fn confirm_reconnect<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &crate::ids::FlowId,
) -> Result<()> {
    let flow = authorizations::get_in_workspace(context.db(), workspace, id).await?;
    let flow = flow.ok_or_else(|| Error::new(ErrorCode::LinkEnded, "The time to confirm is over. Make a new link."))?;
    complete::confirm(context, &flow).await.map_err(|error| match error {
        CompleteError::Flow(failure) => Error::new(ErrorCode::Conflict, failure.explanation()),
        CompleteError::Internal(error) => error,
    })
}

async fn confirm_new_connection<P: Ports>(context: &Context<P>, link: &Link, id: &ConnectionId) -> Result<()> {
    let must = vec![connections::confirm(&link.workspace, id), store::links::mark_confirmed(&link.workspace, &link.id)];
    let event = context.event_statement(&link.workspace, id, EventType::Confirmed, &Actor::Embedder, None)?;
    let mut then = vec![event];
    let made = connections::get(context.db(), &link.workspace, id).await?;
    if let Some(made) = made.filter(|made| made.shared) {
        then.extend(defaults::adopt_statements(
            context,
            &made.workspace,
            &made.app,
            made.environment,
            &Actor::Embedder,
        )?);
    }
    if store::all_or_nothing(context.db(), must, then).await? {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::Conflict,
        "Nothing waits to be confirmed: it was disconnected, or confirmed at the same moment.",
    ))
}
