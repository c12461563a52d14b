//! Whether a grant would add destinations to a connection's secrets.
//!
//! Owns the check before a refresh token is carried over and before a connection is reused: somebody who may edit a
//! definition must not redirect what was given for other addresses.

use crate::connection::Connection;
use crate::context::Context;
use crate::error::Result;
use crate::ports::Ports;
use crate::registry;

use super::Completion;

/// Whether a grant adds no destination to the secrets of a connection. For a pending grant of an earlier version this
/// is unknown, so it counts as adding some.
pub(super) async fn adds_no_destinations<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    existing: &Connection,
) -> Result<bool> {
    let Some(new) = &completion.grant.destinations else { return Ok(false) };
    Ok(registry::load_destinations(context, existing).await?.is_some_and(|before| before.covers(new)))
}
