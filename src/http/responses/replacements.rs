//! What answers for a connection, and what changes with it.

use serde::Serialize;

use crate::cache::CacheRemovalStatus;
use crate::ids::ConnectionId;
use crate::replacements::ChangedReplacement;
use crate::store::uses::Use;

/// A replacement after a change.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ReplacementResponse {
    /// The connection that callers ask for.
    connection: ConnectionId,
    /// The connection that answers from now on. Null: itself.
    replaced_by: Option<ConnectionId>,
    /// The connection that answered before. Null: itself.
    before: Option<ConnectionId>,
    /// The steps that used the connection, and get another one from now on. At most 200.
    moved_steps: Vec<MovedStepResponse>,
    /// Only if a cache entry could not be deleted yet. It is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_entries: Option<CacheRemovalStatus>,
}

/// A step that gets another connection.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "MovedStep"))]
struct MovedStepResponse {
    workflow: String,
    /// The step. Empty if the caller named none.
    step: String,
}

impl ReplacementResponse {
    pub(crate) fn of(changed: ChangedReplacement) -> Self {
        let ChangedReplacement { connection, replaced_by, before, moved, copies } = changed;
        let moved = moved.into_iter().map(|Use { workflow, step, .. }| MovedStepResponse { workflow, step });
        Self {
            connection,
            replaced_by,
            before,
            moved_steps: moved.collect(),
            cache_entries: super::kept_copies(Some(copies)),
        }
    }
}

/// Whether there were changes of steps to acknowledge.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AcknowledgedResponse {
    /// False: there were none.
    pub(crate) acknowledged: bool,
}
