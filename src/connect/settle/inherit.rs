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

use super::{Case, is_had_the_same_way, is_same, opened};

/// Milliseconds between two looks at a refresh that is under way; together 10 s.
const WAITS: [u32; 8] = [200, 400, 800, 1200, 1600, 1800, 2000, 2000];

/// The connection as it is when no refresh is under way that its heir would miss.
pub(super) async fn settled<P: Ports>(core: &Core<P>, case: &Case<'_>, mut old: Connection) -> Result<Connection> {
    for milliseconds in WAITS {
        if old.live_intent(core.now()).is_none() || !may_go_on(core, case, &old) {
            break;
        }
        core.ports.clock().sleep(milliseconds).await;
        match moved(core, &old).await? {
            Some(now) => old = now,
            None => break,
        }
    }
    Ok(old)
}

/// The connection as it is now, if it is still of the same generation.
pub(super) async fn moved<P: Ports>(core: &Core<P>, old: &Connection) -> Result<Option<Connection>> {
    let now = connections::get(core.db(), &old.workspace, &old.id).await?;
    Ok(now.filter(|now| now.generation == old.generation))
}

/// The grant's credential with the refresh token of the one before it. `None` where there is none that could still be good.
pub(super) fn heir<P: Ports>(core: &Core<P>, case: &Case<'_>, old: &Connection) -> Option<Credential> {
    if !may_go_on(core, case, old) || old.is_in_doubt() && !stays_good(case) {
        return None;
    }
    let credential = &case.grant.credential;
    let before = opened(core, old)?.token?.refresh_token?;
    let token = credential.token.clone()?;
    Some(Credential { token: Some(Token { refresh_token: Some(before), ..token }), ..credential.clone() })
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
}
