//! Which account a credential belongs to, if a response says so after a connection was created.
//!
//! Owns the rule that a credential of another account is no longer returned: a workflow would change somebody else's
//! data with it. Sends no additional request: the identity request of a probe and the response to a refresh contain the
//! account. An id proves another account only under [`crate::app::AccountLayout::has_unambiguous_id`].

use serde_json::json;

use crate::account::Account;
use crate::app::{AccountLayout, IdentityLookup, Probe, TemplateValues};
use crate::client_auth;
use crate::connection::Connection;
use crate::context::Context;
use crate::error::Result;
use crate::ports::{AppResponse, HttpError, Ports, RefreshOutcome};
use crate::registry;
use crate::store::refreshes::{self, LoadedConnection};
use crate::token::{self, TokenSet};

use super::RefreshContext;
use super::attempt::RefreshAttempt;
use super::health::EndFinding;
use super::needs_reconnect::mark_needs_reconnect;

/// What a response says about the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountMatch {
    /// It is the connection's.
    Same,
    /// It is another one.
    Other,
    /// The response does not say, or not reliably.
    Unknown,
}

/// The same id is the same account. Another id is another account only if its label also differs: an app that changes
/// the form of its ids keeps the names.
fn compare_accounts(connection: &Connection, shape: &AccountLayout, told: Option<&Account>) -> AccountMatch {
    match (&connection.account, told) {
        (Some(known), Some(told)) if known.id == told.id => AccountMatch::Same,
        (Some(known), Some(told)) if shape.has_unambiguous_id() && known.label != told.label => AccountMatch::Other,
        _ => AccountMatch::Unknown,
    }
}

/// What the response to an identity request says.
pub(super) fn match_probed_account<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    refresh_context: &RefreshContext,
    identity: &IdentityLookup,
    probe: &Probe,
    values: &TemplateValues,
    answer: &std::result::Result<AppResponse, HttpError>,
) -> AccountMatch {
    let Ok(inbound) = answer else { return AccountMatch::Unknown };
    let told = token::read_account(&refresh_context.auth_method, identity, probe, inbound, values, context.now());
    // With the account's name from when it was connected.
    let told = told.ok().map(|account| refresh_context.credential.mark_account(&refresh_context.auth_method, account));
    compare_accounts(&loaded.connection, &identity.account, told.as_ref())
}

/// Asks again: an app's cache may have returned another account.
pub(super) async fn probe_account_again<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    refresh_context: &RefreshContext,
    identity: &IdentityLookup,
    probe: &Probe,
    values: &TemplateValues,
) -> Result<AccountMatch> {
    let request =
        token::build_probe_request(probe, &refresh_context.auth_method, values, &refresh_context.destinations);
    let request =
        request.map_err(|problem| registry::unfilled_request_error(&refresh_context.auth_method, &problem))?;
    let answer = context.send(request).await;
    Ok(match_probed_account(context, loaded, refresh_context, identity, probe, values, &answer))
}

/// What the response to a refresh says, if token responses contain the account.
pub(super) fn match_token_account(of: &RefreshAttempt<'_>, tokens: &TokenSet) -> AccountMatch {
    let identity = of.refresh_context.auth_method.identity_for_endpoints(of.refresh_context.endpoints.as_ref());
    let Some(identity) = identity.filter(|one| one.probe.is_none() && of.selected.token_name.is_none()) else {
        return AccountMatch::Unknown;
    };
    let values = client_auth::template_values(
        &of.refresh_context.auth_method,
        &of.refresh_context.credential,
        &of.loaded.connection.variables,
    );
    let told = token::read_account_from_tokens(&identity.account, tokens, &values);
    compare_accounts(&of.loaded.connection, &identity.account, told.as_ref())
}

/// Marks a connection whose credential belongs to another account. A person reconnects it, and gets a question about
/// the account.
pub(super) async fn mark_other_account<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    finding: EndFinding,
) -> Result<RefreshOutcome> {
    let connection = &loaded.connection;
    let fields = json!({ "connection": connection.id.as_str(), "app": connection.app.as_str() });
    context.log("error", "account_changed", &fields);
    mark_needs_reconnect(context, loaded, finding).await
}

/// The same after a refresh. Its tokens are already stored, because they cannot be obtained again and a person may want
/// them back.
pub(super) async fn mark_other_account_after_refresh<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
) -> Result<RefreshOutcome> {
    match refreshes::load(context.db(), &of.loaded.connection.id).await? {
        Some(now) if now.connection.generation == of.loaded.connection.generation => {
            mark_other_account(context, &now, EndFinding::OtherAccountRefreshed).await
        }
        _ => Ok(RefreshOutcome::NotFound),
    }
}
