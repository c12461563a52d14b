//! The refresh token of the grant before goes on where the app gives none with a new grant.
//!
//! Apps that give one with the first consent only mean that one to go on (RFC 6749, 6). Owns when it may, and that it is
//! the newest: a refresh that is under way is waited for. Refuses one whose last use is in doubt, and tokens that a program
//! gave without.

use crate::app::RefreshTokenRotation;
use crate::connection::{Connection, ConnectionStatus};
use crate::context::Context;
use crate::credential::{Credential, StoredToken};
use crate::error::Result;
use crate::ports::{Clock as _, Ports};
use crate::store::connections;

use super::{Completion, destination_check, has_same_client_and_method, is_same_account};

/// Milliseconds between two looks at a refresh that is under way; together 26 s, which is what a request and the writing of
/// its answer may take.
pub(super) const REFRESH_WAITS_MS: [u32; 10] = [200, 400, 800, 1600, 2000, 3000, 4000, 4000, 5000, 5000];

/// The connection as it is when no refresh is under way that its heir would miss, or the waits are used up.
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

/// Whether an attempt may still bring an answer: one that has failed says so by a next attempt after its time.
fn is_refresh_running<P: Ports>(context: &Context<P>, old: &Connection) -> bool {
    old.active_lease(context.now()).is_some_and(|lease| old.next_attempt_at <= lease.until)
}

/// The connection as it is now, if it is still of the same generation.
pub(super) async fn reload_same_generation<P: Ports>(
    context: &Context<P>,
    old: &Connection,
) -> Result<Option<Connection>> {
    let now = connections::get(context.db(), &old.workspace, &old.id).await?;
    Ok(now.filter(|now| now.generation == old.generation))
}

/// The grant's credential with the refresh token of the one before it. `None` where there is none that could still be good.
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
    // It was given for the addresses of the grant before, and is sent to no others.
    if !destination_check::adds_no_destinations(context, completion, old).await? {
        return Ok(None);
    }
    let credential = &completion.grant.credential;
    let before = old.credential(&context.config.key_ring).and_then(|before| before.token?.refresh_token);
    let (Some(before), Some(token)) = (before, credential.token.clone()) else { return Ok(None) };
    Ok(Some(Credential { token: Some(StoredToken { refresh_token: Some(before), ..token }), ..credential.clone() }))
}

/// Whether a refresh token stays good whoever redeems it meanwhile.
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

/// Whether a refresh would ask for more than the refresh token was given for (RFC 6749, 6).
fn exceeds_granted_scopes(completion: &Completion<'_>, old: &Connection) -> bool {
    let names_scopes = completion.auth_method.oauth_server().is_some_and(|server| server.send_scope_on_refresh);
    names_scopes && !completion.grant.scopes_granted.iter().all(|scope| old.scopes_granted.contains(scope))
}
