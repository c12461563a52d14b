//! Whether a grant would widen where a connection's secrets may go.
//!
//! Owns the question that comes before a refresh token is carried over and before a connection is reused: whoever may edit a
//! definition must not move what was given for other addresses.

use crate::connection::Connection;
use crate::context::Context;
use crate::error::Result;
use crate::ports::Ports;
use crate::registry;

use super::Completion;

/// Whether a grant goes nowhere where the secrets of a connection may not go already. A grant that waits since before this
/// was kept does not tell, so it counts as one that does.
pub(super) async fn adds_no_destinations<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    existing: &Connection,
) -> Result<bool> {
    let Some(new) = &completion.grant.destinations else { return Ok(false) };
    Ok(registry::load_destinations(context, existing).await?.is_some_and(|before| before.covers(new)))
}
