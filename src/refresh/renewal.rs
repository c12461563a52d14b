//! What an app gave for a token becomes what is to be stored.
//!
//! Owns what is known of a renewed connection, also where all that an odd answer brought is a new refresh token. Refuses
//! to write it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::connection::Connection;
use crate::core::Core;
use crate::credential::{Credential, Token};
use crate::destinations::Destinations;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::secret::Secret;
use crate::store::refreshes::Renewal;
use crate::time::Timestamp;
use crate::token::{self, TokenSet};

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
        variables: followed_variables(core, of, tokens),
        destinations: first_destinations(of),
        scopes: of.granted(tokens).map(|named| of.talk.app.granted(&named, &connection.scopes_requested)),
        failures: 0,
        next_attempt_at: 0,
        error: None,
        at: now.unix(),
        evidence: "refreshed".into(),
        next_check_at: next_check_after(now, &connection).unix(),
    })
}

/// What the app's addresses depend on, where a token answer tells it anew: an app may move an account to another host. It
/// is followed where its variable takes the value, and for a workspace's own app only where the credential may go already.
fn followed_variables<P: Ports>(
    core: &Core<P>,
    of: &Redemption<'_>,
    tokens: &TokenSet,
) -> Option<BTreeMap<String, String>> {
    let (connection, app) = (&of.case.connection, &of.talk.app);
    let changed: BTreeMap<_, _> = app
        .variables
        .iter()
        .filter_map(|(name, variable)| {
            let value = token::told(variable.from.in_token_answer()?, &tokens.answer.0)?;
            Some((name.clone(), variable.read(&value).ok()?))
        })
        .filter(|(name, value)| connection.variables.get(name) != Some(value))
        .collect();
    if changed.is_empty() {
        return None;
    }
    let now: BTreeMap<_, _> = connection.variables.clone().into_iter().chain(changed).collect();
    let wanted = Destinations::of_grant(app, of.talk.at.as_ref(), &now);
    if app.keeps_destinations() && !of.talk.destinations.cover(&wanted) {
        let fields = json!({ "connection": connection.id.as_str(), "app": app.id.as_str() });
        core.log("warn", "new_address_refused", &fields);
        return None;
    }
    Some(now)
}

/// Where the credential may go, for a row from before this was kept: it is fixed with the first refresh.
fn first_destinations(of: &Redemption<'_>) -> Option<Destinations> {
    let is_unknown = of.case.connection.destinations.is_none();
    (is_unknown && of.talk.app.keeps_destinations()).then(|| (*of.talk.destinations).clone())
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
        variables: None,
        destinations: first_destinations(of),
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
