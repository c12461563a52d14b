//! A connection that was disconnected on the page is brought back.
//!
//! Owns what comes back: the connection as it was, with its id, name, owner, policy, uses and credential (sealed again, under a new
//! generation), the defaults whose places are still free, and the connection that answered for it, if the two still fit. Refuses
//! when the time is over, or something stronger has ended it: the deletion of the workspace, or of all connections of its app.

use crate::audit::{Actor, EventType};
use crate::connection::Connection;
use crate::context::Context;
use crate::credential::Credential;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::Ports;
use crate::store::disconnected::{self, DisconnectedForNow, Restored, RestoredCredential, RestoredEvents};
use crate::store::events::EventSubject;
use crate::time::Timestamp;

/// How often the connection is read again, if it changes while it is brought back.
const TRIES: usize = 3;

/// What an undo has brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undone {
    /// Defaults whose place another connection has taken, or which no longer exist.
    pub lost_defaults: usize,
    /// Whether it answers for itself now, and did not before.
    pub lost_replacement: bool,
}

/// Brings a connection back.
///
/// # Errors
/// `conflict`: it is too late, and `misconfigured`: its credential can't be opened now. Nothing has changed then.
pub async fn undo_disconnect<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    actor: &Actor,
) -> Result<Undone> {
    for _ in 0..TRIES {
        let read = disconnected::get(context.db(), workspace, id).await?;
        let read = read.filter(|one| context.now() < one.undo_until).ok_or_else(too_late)?;
        let credential = restored_credential(context, &read)?;
        let events = restored_events(context, &read, actor)?;
        let restored = disconnected::undo(context.db(), &read, &credential, events, context.now()).await?;
        if let Some(restored) = restored {
            return Ok(describe(&read, restored));
        }
        // A refresh has stored its tokens in the meantime, or it may not come back. Only the first is worth another try.
    }
    Err(too_late())
}

fn describe(read: &DisconnectedForNow, restored: Restored) -> Undone {
    let defaults = usize::try_from(restored.defaults).unwrap_or(usize::MAX);
    Undone {
        lost_defaults: read.state.defaults.len().saturating_sub(defaults),
        lost_replacement: read.state.replacement().is_some() && !restored.is_replaced,
    }
}

/// It can't be brought back.
pub fn too_late() -> Error {
    Error::new(
        ErrorCode::Conflict,
        "This connection can't be brought back any more: its five minutes are over, or all connections of its app were ended. Connect the account again.",
    )
}

/// The credential under the generation that the connection gets. One that was erased stays erased.
fn restored_credential<P: Ports>(context: &Context<P>, read: &DisconnectedForNow) -> Result<RestoredCredential> {
    let Connection { workspace, id, generation, .. } = &read.connection;
    let key_ring = &context.config.key_ring;
    let sealed = read.connection.sealed_credential.as_deref().map(|sealed| {
        let before = Credential::seal_context(workspace, id, generation - 1);
        let credential = Credential::open(key_ring, &before, sealed).map_err(|_| {
            Error::misconfigured("The credential can't be decrypted with the current keys, so nothing was changed. Tell the operator of the installation.")
        })?;
        let after = Credential::seal_context(workspace, id, generation + 1);
        Ok::<_, Error>(credential.seal(key_ring, context.ports.random(), &after)?)
    });
    // One that needs a person is not checked. A refresh may have repaired it since.
    let due = read.state.next_check_at.map_or_else(|| context.now(), Timestamp::from_unix);
    Ok(RestoredCredential {
        sealed: sealed.transpose()?,
        next_check_at: read.connection.reason.is_none().then_some(due),
    })
}

fn restored_events<P: Ports>(context: &Context<P>, read: &DisconnectedForNow, actor: &Actor) -> Result<RestoredEvents> {
    let Connection { workspace, id, .. } = &read.connection;
    let line = |about: &ConnectionId, event, target: Option<&ConnectionId>, detail: &str| {
        let target = target.map(ConnectionId::as_str);
        let subject = EventSubject { connection: Some(about), app: None, target };
        context.event_statement_about(workspace, event, actor, subject, Some(detail).filter(|text| !text.is_empty()))
    };
    let replacement = match read.state.replacement() {
        None => vec![],
        Some(kept) => {
            let answering = &kept.replaced_by;
            vec![
                line(id, EventType::Replaced, Some(answering), &format!("by {answering}"))?,
                line(answering, EventType::Replaced, Some(id), &format!("it answers for {id}"))?,
            ]
        }
    };
    Ok(RestoredEvents {
        defaults: line(id, EventType::DefaultChanged, None, "set again, because the disconnect was undone")?,
        replacement,
        undone: line(id, EventType::DisconnectUndone, None, "")?,
    })
}
