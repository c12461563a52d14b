//! What a resolve leaves to be done when its answer is on its way. Nothing here can change the answer.

use serde_json::json;

use super::cached::{self, Copy};
use super::{Ask, Issued};
use crate::caller::{Key, PresentedKey};
use crate::connection::Connection;
use crate::core::Core;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::memo::Noted;
use crate::ports::{Errand, Ports, RateLimit, RateLimiter, Refresher};
use crate::store;

/// One thing to do afterwards.
#[derive(Debug, Clone)]
pub enum After {
    /// Refresh ahead of need.
    Refresh(ConnectionId),
    /// Note who used the connection.
    Use {
        /// The workspace.
        workspace: WorkspaceId,
        /// The connection.
        connection: ConnectionId,
        /// Workflow and step, if the caller named them.
        step: Option<(String, String)>,
    },
    /// Copy the answer to the cache.
    Copy(Box<Copy>),
    /// Count the call of a valid key.
    CountCall(PresentedKey),
}

impl After {
    pub(super) fn use_of(connection: &Connection, ask: &Ask) -> Self {
        Self::Use {
            workspace: connection.workspace.clone(),
            connection: connection.id.clone(),
            step: ask.workflow.clone().map(|workflow| (workflow, ask.step.clone().unwrap_or_default())),
        }
    }

    pub(super) fn copy(connection: &Connection, issued: &Issued, key: &Key) -> Self {
        Self::Copy(Box::new(Copy::new(connection, issued, key)))
    }
}

/// Counts a call. A key that makes too many is refused for a while by this instance of the program.
async fn count_call<P: Ports>(core: &Core<P>, key: &PresentedKey) {
    if !core.ports.rate_limiter().allows(RateLimit::Calls, key.id.as_str()).await {
        let now = core.now();
        core.ports.memo().block(&key.caller(), now.plus(RateLimit::KEY_PAUSE), now);
    }
}

/// Does it. Failures are logged: the caller has its answer.
pub async fn run<P: Ports>(core: &Core<P>, after: After) {
    match after {
        After::Refresh(id) => {
            core.ports.refresher().run(&id, Errand::Early).await;
        }
        After::Use { workspace, connection, step } => {
            let noted = Noted::Use { connection: connection.clone(), step: step.clone() };
            let step = step.as_ref().map(|(workflow, step)| (workflow.as_str(), step.as_str()));
            if let Err(error) = store::uses::record(core.db(), &workspace, &connection, step, core.now()).await {
                core.ports.memo().failed(&noted);
                core.log(
                    "warn",
                    "use_not_noted",
                    &json!({ "connection": connection.as_str(), "cause": format!("{error:?}") }),
                );
            } else {
                core.ports.memo().done(&noted, core.now());
            }
        }
        After::Copy(copy) => cached::write(core, &copy).await,
        After::CountCall(key) => count_call(core, &key).await,
    }
}
