//! A person ends their e-mail from an e-mail, without signing in.
//!
//! Owns the address for that: it holds the workspace and the person, sealed, so that nobody else can make one. It works for as
//! long as its key is on the key ring, and does nothing but end the e-mail of that person.

use serde::{Deserialize, Serialize};

use crate::audit::Actor;
use crate::context::Context;
use crate::email::EmailPreference;
use crate::error::{Error, ErrorCode, Result};
use crate::frozen;
use crate::ids::WorkspaceId;
use crate::ports::Ports;
use crate::secret::Secret;
use crate::store::workspaces;
use crate::vault::SealContext;
use crate::workspace::Workspace;

/// Where the addresses begin.
pub const STOP_PATH: &str = "/email/stop/";

/// Whose e-mail an address ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Recipient {
    workspace: WorkspaceId,
    user: String,
}

fn place() -> SealContext<'static> {
    SealContext::of(frozen::EMAIL_RECIPIENT, "", "", 0)
}

/// The address that ends all e-mail of a person. Another one each time.
///
/// # Errors
/// It can't be sealed.
pub(super) fn stop_url<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, user: &str) -> Result<Secret> {
    let recipient = Recipient { workspace: workspace.clone(), user: user.to_owned() };
    let text = serde_json::to_string(&recipient)
        .map_err(|error| Error::internal(format!("a recipient could not be written as JSON: {error}")))?;
    let sealed = context.config.key_ring.seal(context.ports.random(), &place(), &Secret::new(text))?;
    Ok(Secret::new(context.config.public_url.at(&format!("{STOP_PATH}{sealed}"))))
}

fn open<P: Ports>(context: &Context<P>, token: &str) -> Result<(Context<P>, Recipient)> {
    let ended = || {
        Error::new(
            ErrorCode::LinkEnded,
            "This address is not complete, or too old. Sign in, and choose there which e-mails you get.",
        )
    };
    let text = context.config.key_ring.open(&place(), token).map_err(|_| ended())?;
    let recipient: Recipient = serde_json::from_str(text.expose()).map_err(|_| ended())?;
    let context = context.in_shard(recipient.workspace.shard()).ok_or_else(ended)?;
    Ok((context, recipient))
}

/// The workspace whose e-mail an address ends. Changes nothing: mail scanners open links.
///
/// # Errors
/// `link_ended` for anything that was not made here, or whose key is gone, or whose workspace was deleted.
pub async fn preview<P: Ports>(context: &Context<P>, token: &str) -> Result<Workspace> {
    let (elsewhere, recipient) = open(context, token)?;
    load_workspace(&elsewhere, &recipient).await
}

async fn load_workspace<P: Ports>(elsewhere: &Context<P>, recipient: &Recipient) -> Result<Workspace> {
    let found = workspaces::get(elsewhere.db(), &recipient.workspace).await?;
    found.ok_or_else(|| Error::new(ErrorCode::LinkEnded, "The workspace was deleted, so you get no e-mail from it."))
}

/// Ends the e-mail of the person whom an address names.
///
/// # Errors
/// As [`preview`].
pub async fn stop<P: Ports>(context: &Context<P>, token: &str) -> Result<Workspace> {
    let (elsewhere, recipient) = open(context, token)?;
    let workspace = load_workspace(&elsewhere, &recipient).await?;
    let elsewhere = elsewhere.with_origin((*context.origin).clone());
    let (Recipient { workspace: id, user }, none) = (&recipient, EmailPreference::None);
    super::choose(&elsewhere, id, user, none, &Actor::User(user.clone())).await?;
    Ok(workspace)
}
