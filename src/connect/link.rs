//! Links: somebody else is asked to connect or repair.
//!
//! A link is unguessable, short-lived, bound to the browser that pressed its button last, and used
//! up by success. As long as nothing came of it, another browser may begin it anew, which ends what the first one began. The page it opens names workspace, app and permissions, because whoever sends a
//! link chooses where the account ends up.

use crate::app::{AppId, Definition, WayId};
use crate::caller::{Maker, hash, same};
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::frozen;
use crate::ids::{ConnectionId, LinkId, WorkspaceId, random_token};
use crate::ports::Ports;
use crate::quotas::{self, Quota};
use crate::registry;
use crate::resolve::unauthorized;
use crate::secret::Secret;
use crate::store::links::{Link, LinkStatus, OnDuplicate};
use crate::store::{self, authorizations, connections};
use crate::workspace::User;

use super::{Failure, settle, start};

/// Seconds a link lives unless told otherwise: an hour.
pub const USUAL_LIFE: i64 = 3600;
/// Seconds a link may live: a week.
pub const LONGEST_LIFE: i64 = 7 * 86_400;

/// What a link is to be.
#[derive(Debug, Clone)]
pub struct NewLink {
    /// The app; taken from the connection where one is named.
    pub app: Option<AppId>,
    /// Which of its ways to connect; none lets the person choose.
    pub way: Option<WayId>,
    /// The connection to repair.
    pub connection: Option<ConnectionId>,
    /// Scopes to ask for.
    pub scopes: Option<Vec<String>>,
    /// Whose it will be.
    pub user: Option<User>,
    /// Where the browser goes at the end; checked.
    pub return_to: Option<String>,
    /// Seconds it lives.
    pub expires_in: i64,
    /// What to do about a duplicate.
    pub on_duplicate: OnDuplicate,
    /// Whether the product must confirm.
    pub confirm: bool,
    /// The key that makes it.
    pub made_by: Option<Maker>,
}

/// Makes a link; answers it and its URL, which is shown once.
pub async fn create<P: Ports>(
    core: &Core<P>,
    workspace: &WorkspaceId,
    new: NewLink,
    may_see: impl Fn(&ConnectionId, &AppId) -> bool,
) -> Result<(Link, String)> {
    let (app, connection) = match (&new.connection, &new.app) {
        (Some(id), wished) => {
            let connection = connections::get(core.db(), workspace, id)
                .await?
                .filter(|c| may_see(&c.id, &c.app))
                .ok_or_else(Error::connection_not_found)?;
            if wished.as_ref().is_some_and(|app| *app != connection.app) {
                return Err(Error::invalid("app", "is not the app of this connection; leave it out."));
            }
            (connection.app.clone(), Some(connection))
        }
        (None, Some(app)) => (app.clone(), None),
        (None, None) => return Err(Error::invalid("app", "or connection must be given: what is to be connected?")),
    };
    start::fit(new.scopes.as_deref().unwrap_or_default())?;
    let owner = connection.as_ref().and_then(|connection| connection.user.clone());
    let user = meant_for(new.user, owner, new.confirm)?;
    let registered = registry::current(core, workspace, &app)
        .await?
        .ok_or_else(|| Error::invalid("app", "is no app of the catalogue or this workspace."))?;
    // Better told to whoever makes the link than to whoever opens it.
    let definition = &registered.definition;
    let repaired =
        connection.as_ref().map(|connection| &connection.way).filter(|way| definition.way(Some(way)).is_some());
    walkable(core, workspace, definition, new.way.as_ref().or(repaired)).await?;
    let now = core.now();
    let token = Secret::new(random_token(core.ports.random(), workspace.shard())?);
    let link = Link {
        id: LinkId::random(core.ports.random(), workspace.shard())?,
        workspace: workspace.clone(),
        app,
        way: new.way,
        user,
        connection: new.connection,
        scopes: new.scopes,
        return_to: new.return_to,
        on_duplicate: new.on_duplicate,
        confirm: new.confirm,
        status: LinkStatus::Open,
        session_hash: None,
        result: None,
        authorization: None,
        choice_until: None,
        created_at: now,
        expires_at: new.made_by.as_ref().map_or(now.plus(new.expires_in), |key| key.limit(now.plus(new.expires_in))),
        made_by: new.made_by,
    };
    let quota = [Quota::OpenLinks(now)];
    let db = quotas::guarded(core, workspace, &quota);
    let inserted = store::links::insert(&db, &link, &hash(token.expose())).await;
    if !quotas::allowed(core, workspace, &quota, inserted).await? {
        return Err(unauthorized());
    }
    let url = core.config.public_url.at(&format!("/connect/{}", token.expose()));
    Ok((link, url))
}

/// Refuses a way that is none, and an app none of whose ways can be walked here.
async fn walkable<P: Ports>(
    core: &Core<P>,
    workspace: &WorkspaceId,
    definition: &Definition,
    way: Option<&WayId>,
) -> Result<()> {
    let wanted: Vec<_> = definition.ways().iter().filter(|one| way.is_none_or(|id| one.way == *id)).collect();
    if wanted.is_empty() {
        return Err(Error::invalid("way", "is no way to connect this app."));
    }
    let mut refused = None;
    for app in wanted {
        if app.kind.is_pasted() {
            return Ok(());
        }
        match start::usable_client(core, workspace, app).await {
            Ok(_) => return Ok(()),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// Whom a link is meant for: the user it names, or the owner of the connection it repairs, who must be the same.
fn meant_for(named: Option<User>, owner: Option<User>, confirm: bool) -> Result<Option<User>> {
    match (named, owner) {
        (Some(named), Some(owner)) if named.id != owner.id => {
            Err(Error::invalid("user.id", "is not the owner of this connection; leave it out."))
        }
        (None, None) if confirm => {
            Err(Error::invalid("user", "must be given with confirm: it is the user you will confirm."))
        }
        (named, owner) => Ok(owner.or(named)),
    }
}

/// The link a token opens, if it can still be used.
pub async fn open<P: Ports>(core: &Core<P>, token: &str) -> Result<Link> {
    let ended = || {
        Error::new(
            Code::LinkEnded,
            "This link was used, has expired, or never existed. Ask whoever sent it for a new one.",
        )
    };
    let link = store::links::by_token(core.db(), &hash(token)).await?.ok_or_else(ended)?;
    if link.status != LinkStatus::Open || core.now() >= link.expires_at {
        return Err(ended());
    }
    Ok(link)
}

/// Binds a link to the browser that begins it. What another browser had begun ends, as long as nothing was connected by it
/// and no question waits there for an answer.
pub async fn begin<P: Ports>(core: &Core<P>, link: &Link, session_hash: &str) -> Result<()> {
    let (now, why) = (core.now(), Failure::LinkBegunAnew.as_str());
    if store::links::take(core.db(), link, session_hash, why, now).await? {
        return Ok(());
    }
    let link = store::links::get(core.db(), &link.workspace, &link.id).await?;
    Err(Error::new(
        Code::LinkEnded,
        if link.is_some_and(|link| link.waits_for_choice(now)) {
            "This link asks a question in another browser. Answer it there, open the link again in ten minutes, or ask for a \
             new link."
        } else {
            "This link was used or has expired. Ask whoever sent it for a new one."
        },
    ))
}

/// The embedding product confirms that the same person came back. What the link made may be used from now on.
pub async fn confirm<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, id: &LinkId, user: &str) -> Result<Link> {
    let link = store::links::get(core.db(), workspace, id).await?.ok_or_else(|| Error::not_found("link"))?;
    if link.status != LinkStatus::AwaitingConfirmation {
        return Err(Error::new(
            Code::Conflict,
            "This link has nothing to confirm: it was not used yet, was made without confirm, is confirmed already, or was ended.",
        ));
    }
    if !link.user.as_ref().is_some_and(|expected| same(&expected.id, user)) {
        return Err(Error::invalid("user.id", "is not the user this link was made for. Nothing was confirmed."));
    }
    match (&link.authorization, &link.result) {
        (Some(flow), _) => confirm_repair(core, workspace, flow).await?,
        (None, Some(connection)) => confirm_new(core, &link, connection).await?,
        (None, None) => return Err(Error::internal("a used link without a result")),
    }
    store::links::get(core.db(), workspace, id).await?.ok_or_else(|| Error::not_found("link"))
}

/// Ends a link that came to nothing yet: nobody can use or confirm it any more, and what waits in it is discarded. One that
/// has ended before stays ended.
pub async fn end<P: Ports>(core: &Core<P>, link: &Link) -> Result<Link> {
    store::links::revoke(core.db(), &link.workspace, &link.id, core.now()).await?;
    let now = store::links::get(core.db(), &link.workspace, &link.id).await?;
    let now = now.ok_or_else(|| Error::not_found("link"))?;
    if now.status == LinkStatus::Used {
        return Err(Error::new(
            Code::Conflict,
            "This link was used, so there is nothing to end. Disconnect what it made: DELETE /v1/connections/{id}.",
        ));
    }
    Ok(now)
}

async fn confirm_repair<P: Ports>(
    core: &Core<P>,
    workspace: &WorkspaceId,
    id: &crate::ids::AuthorizationId,
) -> Result<()> {
    let flow = authorizations::get_in_workspace(core.db(), workspace, id).await?;
    let flow = flow.ok_or_else(|| Error::new(Code::LinkEnded, "The time to confirm is over. Make a new link."))?;
    match settle::confirm(core, &flow).await? {
        None => Ok(()),
        Some(failure) => Err(Error::new(Code::Conflict, failure.explained())),
    }
}

async fn confirm_new<P: Ports>(core: &Core<P>, link: &Link, id: &ConnectionId) -> Result<()> {
    let must = vec![connections::confirm(&link.workspace, id), store::links::confirmed(&link.workspace, &link.id)];
    let event = core.event(&link.workspace, id, frozen::event::CONFIRMED, "embedder", None)?;
    if store::all_or_nothing(core.db(), must, vec![event]).await? {
        return Ok(());
    }
    Err(Error::new(
        Code::Conflict,
        "Nothing waits to be confirmed: it was disconnected, or confirmed at the same moment.",
    ))
}
