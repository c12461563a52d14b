//! A body over the limit is refused in its turn: after the key (401, 403), and after what the path names (404).

use super::routes::{Auth, Line};
use super::{Call, apps, connections, input, keys, links, operator, people};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ports::Ports;

/// The refusal of a request whose body is over the limit. No handler runs, because some read no body.
pub(super) async fn refusal<P: Ports>(core: &Core<P>, route: &Line, call: &Call<'_>) -> Error {
    match look_up(core, route, call).await {
        Ok(()) => input::too_large(),
        Err(error) => error,
    }
}

/// Looks up the first thing that the path names, as the caller sees it.
async fn look_up<P: Ports>(core: &Core<P>, route: &Line, call: &Call<'_>) -> Result<()> {
    let named = route.path.split('/').find(|segment| segment.starts_with('{')).unwrap_or_default();
    match (named, route.auth) {
        ("{workspace}", Auth::Operator) => operator::find_workspace(core, call).await.map(drop),
        ("{key}", Auth::Key(_)) => keys::find(core, call).await.map(drop),
        ("{app}", Auth::Key(_)) => apps::registered(core, call).await.map(drop),
        ("{connection}", Auth::Key(_)) => connections::find(core, call).await.map(drop),
        ("{connection}", Auth::Person) => people::find(core, call).await.map(drop),
        ("{link}", Auth::Key(_)) => links::find(core, call).await.map(drop),
        _ => Ok(()),
    }
}
