//! The refresh token of the grant before goes on where the app gives none with a new grant.
//!
//! Apps that give one with the first consent only mean that one to go on (RFC 6749, 6). Owns when it may, and that it is
//! the newest: a refresh that is under way is waited for. Refuses one whose last use is in doubt, and tokens that a program
//! gave without.

use crate::app::Rotation;
use crate::connection::{Connection, Status};
use crate::core::Core;
use crate::credential::{Credential, Token};
use crate::error::Result;
use crate::ports::{Clock as _, Ports};
use crate::store::connections;

use super::{Case, is_had_the_same_way, is_same, reach};

/// Milliseconds between two looks at a refresh that is under way; together 26 s, which is what a request and the writing of
/// its answer may take.
pub(super) const WAITS: [u32; 10] = [200, 400, 800, 1600, 2000, 3000, 4000, 4000, 5000, 5000];

/// The connection as it is when no refresh is under way that its heir would miss, or the waits are used up.
pub(super) async fn settled<P: Ports>(
    core: &Core<P>,
    case: &Case<'_>,
    mut old: Connection,
    waits: &mut impl Iterator<Item = u32>,
) -> Result<Connection> {
    while is_under_way(core, &old) && may_go_on(core, case, &old) {
        let Some(milliseconds) = waits.next() else { break };
        core.ports.clock().sleep(milliseconds).await;
        match moved(core, &old).await? {
            Some(now) => old = now,
            None => break,
        }
    }
    Ok(old)
}

/// Whether an attempt may still bring an answer: one that has failed says so by a next attempt after its time.
fn is_under_way<P: Ports>(core: &Core<P>, old: &Connection) -> bool {
    old.live_intent(core.now()).is_some_and(|intent| old.next_attempt_at <= intent.until)
}

/// The connection as it is now, if it is still of the same generation.
pub(super) async fn moved<P: Ports>(core: &Core<P>, old: &Connection) -> Result<Option<Connection>> {
    let now = connections::get(core.db(), &old.workspace, &old.id).await?;
    Ok(now.filter(|now| now.generation == old.generation))
}

/// The grant's credential with the refresh token of the one before it. `None` where there is none that could still be good.
pub(super) async fn heir<P: Ports>(core: &Core<P>, case: &Case<'_>, old: &Connection) -> Result<Option<Credential>> {
    if !may_go_on(core, case, old) || old.is_in_doubt() && !stays_good(case) {
        return Ok(None);
    }
    // It was given for the addresses of the grant before, and is sent to no others.
    if !reach::adds_nothing(core, case, old).await? {
        return Ok(None);
    }
    let credential = &case.grant.credential;
    let before = old.credential(&core.config.ring).and_then(|before| before.token?.refresh_token);
    let (Some(before), Some(token)) = (before, credential.token.clone()) else { return Ok(None) };
    Ok(Some(Credential { token: Some(Token { refresh_token: Some(before), ..token }), ..credential.clone() }))
}

/// Whether a refresh token stays good whoever redeems it meanwhile.
pub(super) fn stays_good(case: &Case<'_>) -> bool {
    matches!(case.app.rotation(), Rotation::None | Rotation::Reissue)
}

fn may_go_on<P: Ports>(core: &Core<P>, case: &Case<'_>, old: &Connection) -> bool {
    let Case { flow, grant, .. } = case;
    !grant.refreshable
        && !grant.imported
        && old.status == Status::Connected
        && old.client.is_some()
        && is_had_the_same_way(flow, old)
        && is_same(core, old, grant)
        && !asks_too_much(case, old)
}

/// Whether a refresh would ask for more than the refresh token was given for (RFC 6749, 6).
fn asks_too_much(case: &Case<'_>, old: &Connection) -> bool {
    let names_scopes = case.app.server().is_some_and(|server| server.send_scope_on_refresh);
    names_scopes && !case.grant.granted.iter().all(|scope| old.scopes_granted.contains(scope))
}
