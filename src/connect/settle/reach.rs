//! Whether a grant would widen where a connection's secrets may go.
//!
//! Owns the question that comes before a refresh token is carried over and before a connection is reused: whoever may edit a
//! definition must not move what was given for other addresses.

use crate::connection::Connection;
use crate::core::Core;
use crate::error::{Code, Result};
use crate::ports::Ports;
use crate::registry;

use super::Case;

/// Whether a grant goes nowhere where the secrets of a connection may not go already.
pub(super) async fn adds_nothing<P: Ports>(core: &Core<P>, case: &Case<'_>, existing: &Connection) -> Result<bool> {
    // One that waits since before this was kept does not tell.
    let Some(new) = &case.grant.destinations else { return Ok(false) };
    if let Some(stored) = &existing.destinations {
        return Ok(stored.cover(new));
    }
    let app = match registry::of_connection(core, existing).await {
        Ok(app) => app,
        // A definition that can't be read any more tells of no address.
        Err(error) if error.code == Code::Internal => return Ok(false),
        Err(error) => return Err(error),
    };
    let at = match app.server() {
        None => None,
        Some(_) => match registry::endpoints(core, &app, &existing.variables).await {
            Ok(at) => Some(at),
            Err(error) if error.code == Code::DatabaseUnavailable => return Err(error),
            Err(_) => return Ok(false),
        },
    };
    Ok(existing.destinations(&app, at.as_ref()).cover(new))
}
