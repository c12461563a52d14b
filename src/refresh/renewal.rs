//! What an app gave for a token becomes what is to be stored.
//!
//! Owns what is known of a renewed connection, also where all that an odd answer brought is a new refresh token. Refuses
//! to write it.

use crate::connection::Connection;
use crate::core::Core;
use crate::credential::{Credential, Token};
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::secret::Secret;
use crate::store::refreshes::Renewal;
use crate::time::Timestamp;
use crate::token::TokenSet;

use super::next_check_after;
use super::outcome;
use super::redemption::Redemption;

pub(super) fn renewal<P: Ports>(core: &Core<P>, of: &Redemption<'_>, tokens: &TokenSet) -> Result<Renewal> {
    let now = core.now();
    let renewed = of.renewed(tokens);
    let connection = after(of, tokens, &renewed, now);
    Ok(Renewal {
        attempt: of.attempt.clone(),
        sealed: seal(core, &connection, &renewed)?,
        expires_at: connection.expires_at.map(Timestamp::unix),
        refreshed_at: Some(now.unix()),
        refresh_expires_at: connection.refresh_expires_at.map(Timestamp::unix),
        refresh_idle_until: connection.refresh_idle_until.map(Timestamp::unix),
        refreshable: connection.refreshable,
        scopes: of.granted(tokens).map(|named| of.talk.app.granted(&named, &connection.scopes_requested)),
        failures: 0,
        next_attempt_at: 0,
        error: None,
        at: now.unix(),
        evidence: "refreshed".into(),
        next_check_at: next_check_after(now, &connection).unix(),
    })
}

/// The connection's ends as they are then.
fn after(of: &Redemption<'_>, tokens: &TokenSet, renewed: &Credential, now: Timestamp) -> Connection {
    let before = &of.case.connection;
    let idle = of.talk.app.server().and_then(|server| server.refresh_token_idle);
    let lasting = before.refresh_expires_at.filter(|_| tokens.refresh_token.is_none());
    Connection {
        expires_at: renewed.expires_at(),
        refreshable: renewed.is_refreshable() || of.pick.mints,
        refreshed_at: Some(now),
        refresh_expires_at: tokens.refresh_expires_at.or(lasting),
        refresh_idle_until: idle.map(|seconds| now.plus(seconds)),
        ..before.clone()
    }
}

/// An odd answer with a new refresh token: the token is stored, the rest counts as a failure.
pub(super) fn rescued<P: Ports>(core: &Core<P>, of: &Redemption<'_>, newer: Secret, what: &str) -> Result<Renewal> {
    let connection = &of.case.connection;
    let now = core.now();
    let wait = outcome::backoff(core, connection.failures, None);
    let current = of.current().ok_or_else(|| Error::internal("a refresh of a token that is not there"))?;
    let kept = Token { refresh_token: Some(newer), ..current.clone() };
    Ok(Renewal {
        attempt: of.attempt.clone(),
        sealed: seal(core, connection, &of.successor(kept))?,
        expires_at: connection.expires_at.map(Timestamp::unix),
        refreshed_at: connection.refreshed_at.map(Timestamp::unix),
        refresh_expires_at: None,
        refresh_idle_until: None,
        refreshable: true,
        scopes: None,
        failures: connection.failures + 1,
        next_attempt_at: now.plus(wait).unix(),
        error: Some(what.to_owned()),
        at: now.unix(),
        evidence: format!("refresh: {what}"),
        next_check_at: now.plus(wait).unix(),
    })
}

pub(super) fn seal<P: Ports>(core: &Core<P>, connection: &Connection, credential: &Credential) -> Result<String> {
    let place = Credential::place(&connection.workspace, &connection.id, connection.generation);
    Ok(credential.seal(&core.config.ring, core.ports.random(), &place)?)
}
