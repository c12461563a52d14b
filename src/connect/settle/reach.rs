//! Whether a grant would widen where a connection's secrets may go.
//!
//! Owns the question that comes before a refresh token is carried over and before a connection is reused: whoever may edit a
//! definition must not move what was given for other addresses.

use crate::connection::Connection;
use crate::core::Core;
use crate::error::Result;
use crate::ports::Ports;
use crate::registry;

use super::Case;

/// Whether a grant goes nowhere where the secrets of a connection may not go already. A grant that waits since before this
/// was kept does not tell, so it counts as one that does.
pub(super) async fn adds_nothing<P: Ports>(core: &Core<P>, case: &Case<'_>, existing: &Connection) -> Result<bool> {
    let Some(new) = &case.grant.destinations else { return Ok(false) };
    Ok(registry::destinations_of(core, existing).await?.is_some_and(|before| before.cover(new)))
}
