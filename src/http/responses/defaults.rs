//! Default connections of apps, and what changes with them.

use serde::Serialize;

use crate::app::AppId;
use crate::connection::ConnectionStatus;
use crate::defaults::ChangedDefault;
use crate::environment::Environment;
use crate::ids::ConnectionId;
use crate::store::defaults::{AppDefault, ListedDefault, ReplacedDefaults};
use crate::time::Timestamp;

/// The default connection of an app.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DefaultResponse {
    app: AppId,
    /// The user that it is for. Null: everybody of the workspace without a default of their own.
    user: Option<String>,
    /// The environment that it is for. Null: any.
    environment: Option<Environment>,
    connection: ConnectionId,
    /// The connection's name.
    name: String,
    /// The connection's status. Those that need a reconnect come first.
    status: ConnectionStatus,
    /// The connection that answers for it. Null: itself.
    replaced_by: Option<ConnectionId>,
    /// When it was chosen.
    set_at: Timestamp,
}

impl DefaultResponse {
    pub(crate) fn of(listed: ListedDefault) -> Self {
        let AppDefault { slot, connection, set_at } = listed.default;
        Self {
            app: slot.app,
            user: slot.user,
            environment: slot.environment,
            connection,
            name: listed.name,
            status: listed.status,
            replaced_by: listed.replaced_by,
            set_at,
        }
    }
}

/// A default after a change.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ChangedDefaultResponse {
    /// The connection that is the default from now on. Null: none.
    connection: Option<ConnectionId>,
    /// The connection that was it before. Null: none.
    before: Option<ConnectionId>,
    /// The workflows that used the one before by default: from now on they get another one, or none. At most 200.
    moved_workflows: Vec<String>,
}

impl ChangedDefaultResponse {
    pub(crate) fn of(changed: ChangedDefault) -> Self {
        let now = changed.now.map(|now| now.connection);
        let moved_workflows = if now == changed.before { vec![] } else { changed.workflows };
        Self { connection: now, before: changed.before, moved_workflows }
    }
}

/// Defaults that ended with a change.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EndedDefaultsResponse {
    defaults: Vec<EndedDefault>,
    /// The workflows that used the connection by default: from now on they get another one, or none. At most 200.
    moved_workflows: Vec<String>,
}

/// A default that ended.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct EndedDefault {
    app: AppId,
    /// The user that it was for. Null: the workspace.
    user: Option<String>,
    /// The environment that it was for. Null: any.
    environment: Option<Environment>,
}

impl EndedDefaultsResponse {
    /// None where nothing ended.
    pub(crate) fn of(ended: ReplacedDefaults) -> Option<Self> {
        if ended.defaults.is_empty() {
            return None;
        }
        let of = |one: AppDefault| EndedDefault {
            app: one.slot.app,
            user: one.slot.user,
            environment: one.slot.environment,
        };
        Some(Self { defaults: ended.defaults.into_iter().map(of).collect(), moved_workflows: ended.workflows })
    }
}
