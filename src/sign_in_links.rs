//! Sign-in links: an embedding product lets one of its users sign in.
//!
//! Owns that a link is used once, within ten minutes, and ends with the key that made it. Refuses to use a link up for a
//! look at it: mail scanners open links, too. A person signs in by it in [`crate::sessions`].

use crate::audit::{Actor, EventType};
use crate::authorize::{Caller, unauthorized};
use crate::caller::hash_secret;
use crate::context::Context;
use crate::email_address::EmailAddress;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{WorkspaceId, random_token};
use crate::ports::{Ports, Statement};
use crate::quotas::{self, Quota};
use crate::secret::Secret;
use crate::store::Page;
use crate::store::events::{AuditedDatabase, ChangedBy, EventSubject};
use crate::store::sessions::{self, SessionFilter, SignInLink};
use crate::store::workspaces;
use crate::workspace::{Role, User, Workspace};

/// Seconds for which a sign-in link is valid: ten minutes.
const SIGN_IN_LINK_TTL: i64 = 600;

/// The link was used or has expired.
pub fn sign_in_link_ended_error() -> Error {
    Error::new(ErrorCode::LinkEnded, "This sign-in link was used or has expired. Ask for a new one where you got it.")
}

/// A sign-in link that is to be created.
#[derive(Debug, Clone)]
pub struct NewSignInLink {
    /// Whom it signs in.
    pub user: User,
    /// The role of the session.
    pub role: Role,
    /// Whether it is the person's own role. Otherwise it was asked for.
    pub has_role_of_person: bool,
    /// The page of ours that it leads to; checked. None leads to the list of connections.
    pub return_to: Option<String>,
    /// The person's address, if whoever makes the link vouches for one.
    pub address: Option<EmailAddress>,
}

/// Creates a sign-in link with the authority of a key or an admin; answers it and its URL, which is shown once.
///
/// # Errors
/// The user has as many links as they may have, or the key was revoked at the same moment.
pub async fn create_sign_in_link<P: Ports>(
    context: &Context<P>,
    creator: &Caller<'_>,
    new: NewSignInLink,
) -> Result<(SignInLink, String)> {
    let token = Secret::new(random_token(context.ports.random(), creator.workspace().shard())?);
    let (now, made_by) = (context.now(), creator.creator_key());
    let end = now.plus(SIGN_IN_LINK_TTL);
    let link = SignInLink {
        hash: hash_secret(token.expose()),
        workspace: creator.workspace().clone(),
        user: new.user,
        role: new.role,
        return_to: new.return_to,
        created_at: now,
        expires_at: made_by.as_ref().map_or(end, |maker| maker.limit_expiry(end)),
        made_by,
        used_at: None,
    };
    let quota = [Quota::SignInLinks(&link.user.id, now)];
    let event = link_event(context, &link, EventType::SignInLinkCreated, &creator.actor())?;
    let guarded = quotas::guard_database(context, &link.workspace, &quota);
    let db = AuditedDatabase::new(guarded, event, ChangedBy::First);
    let inserted = sessions::insert_sign_in_link(&db, &link, new.has_role_of_person, new.address.as_ref()).await;
    if !quotas::map_insert_error(context, &link.workspace, &quota, inserted).await? {
        return Err(unauthorized());
    }
    let url = context.config.public_url.at(&format!("/sign-in/{}", token.expose()));
    Ok((link, url))
}

/// Whom a link is for, and with which role.
fn link_event<P: Ports>(context: &Context<P>, link: &SignInLink, event: EventType, actor: &Actor) -> Result<Statement> {
    let id = link.id();
    let subject = EventSubject { target: Some(id.as_str()), ..EventSubject::default() };
    let detail = format!("{} as {}", link.user.id, link.role.as_str());
    context.event_statement_about(&link.workspace, event, actor, subject, Some(&detail))
}

/// The link that a token opens, if it can still be used.
///
/// # Errors
/// `link_ended` where it can't.
pub async fn find_usable_sign_in_link<P: Ports>(context: &Context<P>, token: &str) -> Result<SignInLink> {
    let link = sessions::get_sign_in_link(context.db(), &hash_secret(token), context.now()).await?;
    link.ok_or_else(sign_in_link_ended_error)
}

/// Whom a link would sign in, and to which workspace. Uses nothing up.
///
/// # Errors
/// `link_ended` where it can't be used any more.
pub async fn preview_sign_in<P: Ports>(context: &Context<P>, token: &str) -> Result<(SignInLink, Workspace)> {
    let link = find_usable_sign_in_link(context, token).await?;
    let workspace = workspaces::get(context.db(), &link.workspace).await?.ok_or_else(sign_in_link_ended_error)?;
    Ok((link, workspace))
}

/// Sign-in links that have not expired, newest first.
pub async fn list_sign_in_links<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    filter: &SessionFilter,
) -> Result<Page<SignInLink>> {
    Ok(sessions::list_sign_in_links(context.db(), workspace, filter, context.now()).await?)
}

/// Deletes a sign-in link: nobody can use it any more.
pub async fn delete_sign_in_link<P: Ports>(context: &Context<P>, link: &SignInLink, actor: &Actor) -> Result<()> {
    let event = link_event(context, link, EventType::SignInLinkDeleted, actor)?;
    Ok(sessions::delete_sign_in_link(&context.audited_db(event, ChangedBy::First), &link.hash).await?)
}
