//! Disconnect: revoke at the app, then erase, in an order that never leaves a usable credential behind.
//!
//! Owns that order: end it for everybody, take the copy away, revoke, erase. What an app does not
//! confirm stays as a sealed job for a day. Where a revocation kills the whole grant, it is done only
//! if no other live connection lives on that grant.

use serde::Serialize;

use crate::app::{App, Kills, Resolved};
use crate::client::Client;
use crate::connection::Connection;
use crate::core::Core;
use crate::credential::Credential;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Database, Http, Inbound, Outbound, Ports};
use crate::registry;
use crate::resolve::cached;
use crate::store::{self, refreshes, revocations::Revocation};
use crate::token::{self, ClientKeys, TokenHint};
use crate::vault::Place;

/// How long a revocation is tried again, in seconds: a day.
const RETRY_FOR: i64 = 24 * 3600;

/// What became of the grant at the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// The app confirmed.
    Confirmed,
    /// The app has no way to revoke.
    Unsupported,
    /// Another connection lives on the same grant.
    KeptShared,
    /// The app did not confirm (yet).
    Failed,
}

/// What a disconnect tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Disconnected {
    /// What became of the grant.
    pub revoked: Revoked,
    /// Whether it is tried again.
    pub retrying: bool,
}

/// Disconnects. From the first write on the connection does not exist, whatever the app says.
pub async fn disconnect<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, id: &ConnectionId) -> Result<Disconnected> {
    let ended =
        refreshes::mark_deleted(core.db(), workspace, id, core.now()).await?.ok_or_else(Error::connection_not_found)?;
    finish(core, &ended).await
}

/// Brings a disconnect to its end: the first time, or after a run that died in the middle.
pub async fn finish<P: Ports>(core: &Core<P>, ended: &Connection) -> Result<Disconnected> {
    let copy_gone = cached::forget_connection(core, &ended.id).await;
    let (revoked, job) = revoke_grant(core, ended).await;
    let mut statements = Vec::new();
    let retrying = job.is_some();
    statements.extend(job.as_ref().map(store::revocations::insert));
    if copy_gone {
        statements.extend(refreshes::erase(&ended.workspace, &ended.id));
    }
    statements.push(core.event(&ended.workspace, &ended.id, "disconnected", "disconnect", Some(word(revoked)))?);
    core.db().batch(statements).await?;
    Ok(Disconnected { revoked, retrying })
}

fn word(revoked: Revoked) -> &'static str {
    match revoked {
        Revoked::Confirmed => "confirmed",
        Revoked::Unsupported => "unsupported",
        Revoked::KeptShared => "kept_shared",
        Revoked::Failed => "failed",
    }
}

async fn revoke_grant<P: Ports>(core: &Core<P>, ended: &Connection) -> (Revoked, Option<Revocation>) {
    // Sealed under the generation before the one that ended it.
    let place = Credential::place(&ended.workspace, &ended.id, ended.generation - 1);
    let credential =
        ended.sealed_credential.as_deref().and_then(|sealed| Credential::open(&core.config.ring, &place, sealed).ok());
    let Some(credential) = credential else { return (Revoked::Failed, None) };
    match try_revoke(core, ended, &credential).await {
        Ok(Revoked::Failed) | Err(_) => match job(core, ended, &credential) {
            Ok(job) => (Revoked::Failed, Some(job)),
            Err(_) => (Revoked::Failed, None),
        },
        Ok(revoked) => (revoked, None),
    }
}

/// One try to revoke a credential that nobody may use any more.
async fn try_revoke<P: Ports>(core: &Core<P>, of: &Connection, credential: &Credential) -> Result<Revoked> {
    let app = registry::at_revision(core, &of.workspace, &of.app, of.app_revision).await?;
    if kills_grant(&app) && grant_is_live(core, of).await? {
        return Ok(Revoked::KeptShared);
    }
    let at = registry::endpoints(core, &app).await?;
    let Some(client) = store::clients::get(core.db(), &of.workspace, &of.client).await? else {
        return Ok(Revoked::Failed);
    };
    let keys = client.keys(&core.config.ring)?;
    Ok(revoke_tokens(core, &app, &at, &keys, credential).await)
}

/// The ended connection itself no longer counts: it is marked as deleted.
async fn grant_is_live<P: Ports>(core: &Core<P>, of: &Connection) -> Result<bool> {
    let account = of.account.as_ref().map(|account| account.id.as_str());
    Ok(store::connections::grant_is_live(core.db(), &of.workspace, &of.client, account).await?)
}

/// Whether a revocation at this app kills the grant, and with it every token of it.
pub fn kills_grant(app: &App) -> bool {
    app.oauth2().revoke.kills == Kills::Grant
}

/// Revokes the refresh token, then the access token.
pub async fn revoke_tokens<P: Ports>(
    core: &Core<P>,
    app: &App,
    at: &Resolved,
    keys: &ClientKeys,
    credential: &Credential,
) -> Revoked {
    let refresh = credential
        .refresh_token
        .as_ref()
        .and_then(|token| token::revoke_request(app, at, keys, token, TokenHint::RefreshToken));
    let access = token::revoke_request(app, at, keys, &credential.access_token, TokenHint::AccessToken);
    let mut revoked = Revoked::Unsupported;
    for request in [refresh, access].into_iter().flatten() {
        if !is_confirmed(core, request).await {
            return Revoked::Failed;
        }
        revoked = Revoked::Confirmed;
    }
    revoked
}

/// RFC 7009, 2.2: 200 also for a token that is unknown or dead already. Apps of their own ways
/// answer 400 or 401 for such a token: it is dead either way.
async fn is_confirmed<P: Ports>(core: &Core<P>, request: Outbound) -> bool {
    match core.ports.http().send(request).await {
        Ok(Inbound { status: 200..=299, .. }) => true,
        Ok(Inbound { status: 400 | 401, body, .. }) => {
            let text = String::from_utf8_lossy(&body);
            ["invalid_token", "token_expired", "expired_access_token", "invalid_access_token"]
                .iter()
                .any(|code| text.contains(code))
        }
        Ok(_) | Err(_) => false,
    }
}

fn place<'a>(workspace: &'a WorkspaceId, id: &'a ConnectionId) -> Place<'a> {
    Place {
        workspace: workspace.as_str(),
        table: "revocations",
        row: id.as_str(),
        field: "sealed_tokens",
        generation: 0,
    }
}

fn job<P: Ports>(core: &Core<P>, of: &Connection, credential: &Credential) -> Result<Revocation> {
    let now = core.now();
    Ok(Revocation {
        connection: of.id.clone(),
        workspace: of.workspace.clone(),
        app: of.app.clone(),
        app_revision: of.app_revision,
        client: of.client.clone(),
        account: of.account.as_ref().map(|account| account.id.clone()),
        sealed_tokens: credential.seal(&core.config.ring, core.ports.random(), &place(&of.workspace, &of.id))?,
        failures: 0,
        next_attempt_at: now.plus(60),
        expires_at: now.plus(RETRY_FOR),
    })
}

/// Tries a kept revocation again.
pub async fn retry<P: Ports>(core: &Core<P>, job: &Revocation) -> Result<()> {
    let revoked = match Credential::open(&core.config.ring, &place(&job.workspace, &job.connection), &job.sealed_tokens)
    {
        Ok(credential) => retry_with(core, job, &credential).await.unwrap_or(Revoked::Failed),
        Err(_) => Revoked::Failed,
    };
    if revoked == Revoked::Failed {
        let wait = 60_i64 << u32::try_from(job.failures.clamp(0, 7)).unwrap_or(0);
        store::revocations::retry(core.db(), &job.connection, core.now().plus(wait)).await?;
        return Ok(());
    }
    store::revocations::delete(core.db(), &job.connection).await?;
    Ok(())
}

async fn retry_with<P: Ports>(core: &Core<P>, job: &Revocation, credential: &Credential) -> Result<Revoked> {
    let app = registry::at_revision(core, &job.workspace, &job.app, job.app_revision).await?;
    let shared =
        store::connections::grant_is_live(core.db(), &job.workspace, &job.client, job.account.as_deref()).await?;
    if kills_grant(&app) && shared {
        return Ok(Revoked::KeptShared);
    }
    let at = registry::endpoints(core, &app).await?;
    let Some(client) = store::clients::get(core.db(), &job.workspace, &job.client).await? else {
        return Ok(Revoked::Failed);
    };
    Ok(revoke_tokens(core, &app, &at, &client.keys(&core.config.ring)?, credential).await)
}

/// Revokes a grant that nobody chose, where that kills nothing else. Best effort: it is unused.
pub async fn discard<P: Ports>(
    core: &Core<P>,
    app: &App,
    client: &Client,
    account: Option<&str>,
    credential: &Credential,
) {
    let shared =
        store::connections::grant_is_live(core.db(), &client.workspace, &client.id, account).await.unwrap_or(true);
    if kills_grant(app) && shared {
        return;
    }
    if let (Ok(at), Ok(keys)) = (registry::endpoints(core, app).await, client.keys(&core.config.ring)) {
        revoke_tokens(core, app, &at, &keys, credential).await;
    }
}
