//! The refresh token of the previous grant is kept if the app issues none with a new grant.
//!
//! Apps that issue one only with the first consent expect it to be kept (RFC 6749, 6). Owns when it may be kept, and
//! that it is the newest: a running refresh is waited for. Refuses one whose last use has an unknown result, and
//! imports without one.

use crate::app::RefreshTokenRotation;
use crate::connection::{Connection, ConnectionStatus};
use crate::context::Context;
use crate::credential::{Credential, StoredToken};
use crate::error::Result;
use crate::ports::{Clock as _, Ports};
use crate::store::connections;

use super::{Completion, destination_check, has_same_client_and_method, is_same_account};

/// Milliseconds between two reads during a running refresh; 26 s in total, which is what a request and storing its
/// response may take.
pub(super) const REFRESH_WAITS_MS: [u32; 10] = [200, 400, 800, 1600, 2000, 3000, 4000, 4000, 5000, 5000];

/// The connection when no refresh is running whose token would be missed, or after the last wait.
pub(super) async fn wait_for_refresh<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    mut old: Connection,
    waits: &mut impl Iterator<Item = u32>,
) -> Result<Connection> {
    while is_refresh_running(context, &old) && may_carry_over(context, completion, &old) {
        let Some(milliseconds) = waits.next() else { break };
        context.ports.clock().sleep(milliseconds).await;
        match reload_same_generation(context, &old).await? {
            Some(now) => old = now,
            None => break,
        }
    }
    Ok(old)
}

/// Whether an attempt may still bring a response. A failed one has set the next attempt after its lease.
fn is_refresh_running<P: Ports>(context: &Context<P>, old: &Connection) -> bool {
    old.active_lease(context.now()).is_some_and(|lease| old.next_attempt_at <= lease.until)
}

/// The current connection, if it is still of the same generation.
pub(super) async fn reload_same_generation<P: Ports>(
    context: &Context<P>,
    old: &Connection,
) -> Result<Option<Connection>> {
    let now = connections::get(context.db(), &old.workspace, &old.id).await?;
    Ok(now.filter(|now| now.generation == old.generation))
}

/// The grant's credential with the refresh token of the previous one. `None` if there is none that may be valid.
pub(super) async fn carry_over_refresh_token<P: Ports>(
    context: &Context<P>,
    completion: &Completion<'_>,
    old: &Connection,
) -> Result<Option<Credential>> {
    if !may_carry_over(context, completion, old)
        || old.has_unknown_refresh_outcome() && !is_refresh_token_reusable(completion)
    {
        return Ok(None);
    }
    // It was given for the addresses of the previous grant, and is sent to no others.
    if !destination_check::adds_no_destinations(context, completion, old).await? {
        return Ok(None);
    }
    let credential = &completion.grant.credential;
    let before = old.credential(&context.config.key_ring).and_then(|before| before.token?.refresh_token);
    let (Some(before), Some(token)) = (before, credential.token.clone()) else { return Ok(None) };
    Ok(Some(Credential { token: Some(StoredToken { refresh_token: Some(before), ..token }), ..credential.clone() }))
}

/// Whether a refresh token stays valid when somebody else uses it.
pub(super) fn is_refresh_token_reusable(completion: &Completion<'_>) -> bool {
    matches!(completion.auth_method.rotation(), RefreshTokenRotation::None | RefreshTokenRotation::Reissue)
}

fn may_carry_over<P: Ports>(context: &Context<P>, completion: &Completion<'_>, old: &Connection) -> bool {
    let Completion { flow, grant, .. } = completion;
    !grant.refreshable
        && !grant.imported
        && old.status == ConnectionStatus::Connected
        && old.client.is_some()
        && has_same_client_and_method(flow, old)
        && is_same_account(context, old, grant)
        && !exceeds_granted_scopes(completion, old)
}

/// Whether a refresh would request more than the refresh token was issued for (RFC 6749, 6).
fn exceeds_granted_scopes(completion: &Completion<'_>, old: &Connection) -> bool {
    let names_scopes = completion.auth_method.oauth_server().is_some_and(|server| server.send_scope_on_refresh);
    names_scopes && !completion.grant.scopes_granted.iter().all(|scope| old.scopes_granted.contains(scope))
}
