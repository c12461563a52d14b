//! A connection may work and yet see nothing, where people share things with it one by one: whoever forgot to is told.
//!
//! Owns the question, asked once when something is connected and whenever somebody asks for a check, and that check.
//! Refuses to fail what it stands beside, and to conclude anything from an answer that does not tell. No resolve waits
//! for it.

use crate::app::App;
use crate::connection::{Connection, Status};
use crate::core::Core;
use crate::credential::Credential;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, WorkspaceId};
use crate::memo::Noted;
use crate::ports::{Database, Errand, ErrandOutcome, Ports, Refresher};
use crate::registry;
use crate::store::connections;
use crate::time::Timestamp;
use crate::token;

/// Seconds between two questions of one instance of the program about the same connection.
const PAUSE: i64 = 30;

/// Asks the app what a credential sees, right after it was stored.
pub async fn look<P: Ports>(core: &Core<P>, app: &App, connection: &Connection, credential: &Credential) {
    if let Err(error) = ask(core, app, connection, credential).await {
        core.log_cause(&error);
    }
}

/// A check that somebody asks for: one that finds that the credential works looks what it sees, too. Its token may be
/// another since it was read.
pub async fn check<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, id: &ConnectionId) -> ErrandOutcome {
    let since = core.now();
    let outcome = core.ports.refresher().run(id, Errand::CheckNow).await;
    if outcome.works()
        && let Err(error) = read_and_ask(core, workspace, id, since).await
    {
        core.log_cause(&error);
    }
    outcome
}

/// Where the app was not asked since then, nothing new is to be seen.
async fn read_and_ask<P: Ports>(
    core: &Core<P>,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    since: Timestamp,
) -> Result<()> {
    let Some(connection) = connections::get(core.db(), workspace, id).await? else { return Ok(()) };
    if connection.checked_at.is_none_or(|at| at < since)
        || !core.ports.memo().is_time(&Noted::Shared(id.clone()), PAUSE, core.now())
    {
        return Ok(());
    }
    let app = registry::of_connection(core, &connection).await?;
    if connection.status != Status::Connected || app.nothing_shared.is_none() {
        return Ok(());
    }
    let credential = connection
        .credential(&core.config.ring)
        .ok_or_else(|| Error::internal("a credential that was just found to work does not open"))?;
    ask(core, &app, &connection, &credential).await
}

async fn ask<P: Ports>(core: &Core<P>, app: &App, connection: &Connection, credential: &Credential) -> Result<()> {
    let Some(asked) = &app.nothing_shared else { return Ok(()) };
    let values = connection.fill(credential.values(app.first_secret()));
    let destinations = connection.destinations(app, None);
    let request = token::probe_request(&asked.probe, app, &values, &destinations);
    let request = request.map_err(|problem| registry::unfilled(app, &problem))?;
    let answer = core.send(request).await;
    let Some(nothing) = token::read_nothing_shared(app, asked, &answer, core.now()) else { return Ok(()) };
    let say = nothing.then_some(asked.say.as_str());
    if connection.nothing_shared.as_deref() != say {
        core.db().batch(vec![connections::nothing_shared(connection, say)]).await?;
    }
    Ok(())
}
