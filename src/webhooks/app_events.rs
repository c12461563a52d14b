//! Events of apps are passed on to the webhooks that ask for them.
//!
//! What an app has sent may hold anything, so it is sealed until it is delivered. Refuses to know how an app signs: whoever
//! calls has verified the event.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::ids::{EventId, WorkspaceId};
use crate::ports::{Database, Ports, Statement};
use crate::secret::Secret;
use crate::store::outbox;
use crate::webhook::{AppEventPayload, OutboxEvent, WebhookEventType};

/// Whether any webhook of a workspace asks for events of apps.
pub async fn is_asked_for<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) -> Result<bool> {
    Ok(outbox::is_subscribed(context.db(), workspace, WebhookEventType::AppEvent.as_str()).await?)
}

/// Writes a verified event of an app to the outbox, sealed. Answers its id, which each delivery has; none if no webhook asks
/// for such events. Nothing is sent yet: [`super::sending::send_due`] does that behind the answer.
///
/// # Errors
/// The database did not take it: the app has to send it again.
pub async fn enqueue<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    event: &AppEventPayload,
) -> Result<Option<EventId>> {
    let (id, insert) = insert_statement(context, workspace, event)?;
    let written = context.db().batch(vec![insert]).await?;
    Ok(written.first().is_some_and(|rows| rows.changes > 0).then_some(id))
}

/// The statement of [`enqueue`], to go in the batch of what follows from the event, and the id.
///
/// # Errors
/// It can't be sealed.
pub fn insert_statement<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    event: &AppEventPayload,
) -> Result<(EventId, Statement)> {
    let id = EventId::random(context.ports.random(), workspace.shard())?;
    let text = serde_json::to_string(event)
        .map_err(|error| Error::internal(format!("an event of an app could not be written as JSON: {error}")))?;
    let place = OutboxEvent::payload_seal_context(workspace, id.as_str());
    let sealed = context.config.key_ring.seal(context.ports.random(), &place, &Secret::new(text))?;
    let insert = outbox::insert_app_event(id.as_str(), workspace, event.app.as_str(), &sealed, context.now());
    Ok((id, insert))
}
