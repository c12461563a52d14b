//! A connection may work and yet see nothing, where people share things with it one by one: whoever forgot to is told.
//!
//! Owns the question, asked once when something is connected and whenever somebody asks for a check, and that check.
//! Refuses to fail what it stands beside, and to conclude anything from an answer that does not tell. No resolve waits
//! for it.

use crate::app::AuthMethod;
use crate::connection::{Connection, ConnectionStatus};
use crate::context::Context;
use crate::credential::Credential;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, WorkspaceId};
use crate::isolate_cache::ThrottledTask;
use crate::ports::{Database, Ports, RefreshOutcome, RefreshReason, RefreshRunner};
use crate::registry;
use crate::store::connections;
use crate::time::Timestamp;
use crate::token;

/// Seconds between two questions of one instance of the program about the same connection.
const MIN_INTERVAL: i64 = 30;

/// Asks the app what a credential sees, right after it was stored.
pub(crate) async fn check_shared_items<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    connection: &Connection,
    credential: &Credential,
) {
    if let Err(error) = update_shared_items(context, auth_method, connection, credential).await {
        context.log_cause(&error);
    }
}

/// A check that somebody asks for: one that finds that the credential works looks what it sees, too. Its token may be
/// another since it was read.
pub(crate) async fn run<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, id: &ConnectionId) -> RefreshOutcome {
    let since = context.now();
    let outcome = context.ports.refresher().run(id, RefreshReason::OnDemandCheck).await;
    if outcome.works()
        && let Err(error) = check_shared_items_since(context, workspace, id, since).await
    {
        context.log_cause(&error);
    }
    outcome
}

/// Where the app was not asked since then, nothing new is to be seen.
async fn check_shared_items_since<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &ConnectionId,
    since: Timestamp,
) -> Result<()> {
    let Some(connection) = connections::get(context.db(), workspace, id).await? else { return Ok(()) };
    if connection.checked_at.is_none_or(|at| at < since)
        || !context.ports.isolate_cache().try_mark_task_done(
            &ThrottledTask::CheckNothingShared(id.clone()),
            MIN_INTERVAL,
            context.now(),
        )
    {
        return Ok(());
    }
    let auth_method = registry::load_auth_method(context, &connection).await?;
    if connection.status != ConnectionStatus::Connected || auth_method.nothing_shared.is_none() {
        return Ok(());
    }
    let credential = connection
        .credential(&context.config.key_ring)
        .ok_or_else(|| Error::internal("a credential that was just found to work does not open"))?;
    update_shared_items(context, &auth_method, &connection, &credential).await
}

async fn update_shared_items<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    connection: &Connection,
    credential: &Credential,
) -> Result<()> {
    let Some(asked) = &auth_method.nothing_shared else { return Ok(()) };
    let values = connection.add_template_values(credential.template_values(auth_method.first_secret_field()));
    let destinations = connection.destinations(auth_method, None);
    let request = token::build_probe_request(&asked.probe, auth_method, &values, &destinations);
    let request = request.map_err(|problem| registry::unfilled_request_error(auth_method, &problem))?;
    let answer = context.send(request).await;
    let Some(nothing) = token::read_nothing_shared(auth_method, asked, &answer, context.now()) else { return Ok(()) };
    let say = nothing.then_some(asked.message.as_str());
    if connection.nothing_shared.as_deref() != say {
        context.db().batch(vec![connections::set_nothing_shared(connection, say)]).await?;
    }
    Ok(())
}
