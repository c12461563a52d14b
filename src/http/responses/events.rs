//! Events of apps.

use serde::Serialize;

use crate::app_events::EventVerification;
use crate::event_request::EventRefusal;
use crate::ids::ConnectionId;

/// Whether an event is from the app, and whose it is.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct VerifiedEventResponse {
    /// Whether the app has sent it, and it is neither too old nor a replay.
    valid: bool,
    /// Why it is not valid. Null if it is.
    reason: Option<EventRefusal>,
    /// Its type, with the app's name. Null if it is not valid, or the definition does not say where it is.
    r#type: Option<String>,
    /// The id of the account that it is about. Null if it is about several, or the definition does not say where it is.
    account: Option<String>,
    /// The connections of its accounts that exist for the key, up to 100.
    connections: Vec<ConnectionId>,
}

impl VerifiedEventResponse {
    pub(crate) fn of(verified: EventVerification) -> Self {
        // What a replay says is not repeated.
        let is_valid = verified.refusal.is_none();
        Self {
            valid: is_valid,
            reason: verified.refusal,
            r#type: verified.kind.filter(|_| is_valid),
            account: verified.account.filter(|_| is_valid),
            connections: if is_valid { verified.connections } else { vec![] },
        }
    }
}
