//! From the app's response to what is stored.
//!
//! Owns the data of a refreshed connection, also if an unusual response contained only a new refresh token. Does not
//! write it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::connection::Connection;
use crate::context::Context;
use crate::credential::{Credential, StoredToken};
use crate::destinations::Destinations;
use crate::error::{Error, Result};
use crate::gather::Gather as _;
use crate::ports::Ports;
use crate::schedule::next_check_after;
use crate::secret::Secret;
use crate::store::refreshes::Renewal;
use crate::time::Timestamp;
use crate::token::{self, TokenSet};

use super::attempt::RefreshAttempt;
use super::backoff::backoff_seconds;
use super::health::REFRESHED_EVIDENCE;

pub(super) fn build_renewal<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    tokens: &TokenSet,
) -> Result<Renewal> {
    let now = context.now();
    let renewed = of.renewed_credential(tokens);
    let connection = renewed_connection(of, tokens, &renewed, now);
    Ok(Renewal {
        attempt: of.attempt.clone(),
        sealed: seal_credential(context, &connection, &renewed)?,
        expires_at: connection.expires_at.map(Timestamp::unix),
        refreshed_at: Some(now.unix()),
        refresh_expires_at: connection.refresh_expires_at.map(Timestamp::unix),
        refresh_idle_until: connection.refresh_idle_until.map(Timestamp::unix),
        refreshable: connection.refreshable,
        variables: changed_variables(context, of, tokens),
        destinations: initial_destinations(of),
        scopes: of
            .granted_scopes(tokens)
            .map(|named| of.refresh_context.auth_method.granted_scopes(&named, &connection.scopes_requested)),
        failures: 0,
        next_attempt_at: 0,
        error: None,
        at: now.unix(),
        evidence: REFRESHED_EVIDENCE.into(),
        next_check_at: next_check_after(now, &connection).unix(),
    })
}

/// The variables of the app's addresses, if a token response contains new values: an app may move an account to another
/// host. A new value is used if it is valid, and for a custom app only if the credential may be sent there already.
fn changed_variables<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    tokens: &TokenSet,
) -> Option<BTreeMap<String, String>> {
    let (connection, auth_method) = (&of.loaded.connection, &of.refresh_context.auth_method);
    let changed: BTreeMap<_, _> = auth_method
        .variables
        .iter()
        .filter_map(|(name, variable)| {
            let value = token::reported_text(variable.source.token_response_pointer()?, &tokens.response.0)?;
            Some((name.clone(), variable.parse_value(&value).ok()?))
        })
        .filter(|(name, value)| connection.variables.get(name) != Some(value))
        .gather();
    if changed.is_empty() {
        return None;
    }
    let now: BTreeMap<_, _> = connection.variables.clone().into_iter().chain(changed).gather();
    let wanted = Destinations::for_grant(auth_method, of.refresh_context.endpoints.as_ref(), &now);
    if auth_method.stores_destinations() && !of.refresh_context.destinations.covers(&wanted) {
        let fields = json!({ "connection": connection.id.as_str(), "app": auth_method.app_id.as_str() });
        context.log("warn", "new_address_refused", &fields);
        return None;
    }
    Some(now)
}

/// The destinations of the credential, for a row without them: they are fixed with the first refresh.
fn initial_destinations(of: &RefreshAttempt<'_>) -> Option<Destinations> {
    let is_unknown = of.loaded.connection.destinations.is_none();
    (is_unknown && of.refresh_context.auth_method.stores_destinations())
        .then(|| (*of.refresh_context.destinations).clone())
}

/// The expiry times of the refreshed connection.
fn renewed_connection(of: &RefreshAttempt<'_>, tokens: &TokenSet, renewed: &Credential, now: Timestamp) -> Connection {
    let before = &of.loaded.connection;
    let idle = of.refresh_context.auth_method.oauth_server().and_then(|server| server.refresh_token_idle);
    let lasting = before.refresh_expires_at.filter(|_| tokens.refresh_token.is_none());
    Connection {
        expires_at: renewed.expires_at(),
        refreshable: renewed.is_refreshable() || of.selected.issues_tokens,
        refreshed_at: Some(now),
        refresh_expires_at: tokens.refresh_expires_at.or(lasting),
        refresh_idle_until: idle.map(|seconds| now.plus(seconds)),
        ..before.clone()
    }
}

/// An unusual response with a new refresh token: the token is stored, and the rest counts as a failure.
pub(super) fn build_refresh_token_renewal<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    newer: Secret,
    what: &str,
) -> Result<Renewal> {
    let connection = &of.loaded.connection;
    let now = context.now();
    let wait = backoff_seconds(context, connection.failures, None);
    let current = of.current_token().ok_or_else(|| Error::internal("a refresh of a token that is not there"))?;
    let kept = StoredToken { refresh_token: Some(newer), ..current.clone() };
    Ok(Renewal {
        attempt: of.attempt.clone(),
        sealed: seal_credential(context, connection, &of.credential_with(kept))?,
        expires_at: connection.expires_at.map(Timestamp::unix),
        refreshed_at: connection.refreshed_at.map(Timestamp::unix),
        refresh_expires_at: None,
        refresh_idle_until: None,
        refreshable: true,
        variables: None,
        destinations: initial_destinations(of),
        scopes: None,
        failures: connection.failures + 1,
        next_attempt_at: now.plus(wait).unix(),
        error: Some(what.to_owned()),
        at: now.unix(),
        evidence: format!("refresh: {what}"),
        next_check_at: now.plus(wait).unix(),
    })
}

pub(super) fn seal_credential<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    credential: &Credential,
) -> Result<String> {
    let seal_context = Credential::seal_context(&connection.workspace, &connection.id, connection.generation);
    Ok(credential.seal(&context.config.key_ring, context.ports.random(), &seal_context)?)
}
