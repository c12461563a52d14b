//! Whose credential it is, where an answer tells that after a connection was made.
//!
//! Owns the rule that a credential which turns out to be another account's is handed out no more: what a workflow does
//! with it would happen to somebody else's data. Refuses to ask for this alone: the identity request of a probe and the
//! answer to a refresh tell it without a further request. Refuses to guess: see [`crate::app::AccountLayout::has_unambiguous_id`].

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

/// What an answer tells of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccountMatch {
    /// It is the connection's.
    Same,
    /// It is another one's.
    Other,
    /// The answer does not tell, or not reliably.
    Unknown,
}

/// The same id is the same account. Another id is another account only where its label differs, too: an app that changes
/// the form of its ids keeps the names.
fn compare_accounts(connection: &Connection, shape: &AccountLayout, told: Option<&Account>) -> AccountMatch {
    match (&connection.account, told) {
        (Some(known), Some(told)) if known.id == told.id => AccountMatch::Same,
        (Some(known), Some(told)) if shape.has_unambiguous_id() && known.label != told.label => AccountMatch::Other,
        _ => AccountMatch::Unknown,
    }
}

/// What the answer to an identity request tells.
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
    // As the account was named when it was connected.
    let told = told.ok().map(|account| refresh_context.credential.mark_account(&refresh_context.auth_method, account));
    compare_accounts(&loaded.connection, &identity.account, told.as_ref())
}

/// Asks once more: an app's cache may have answered for somebody else.
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

/// What the answer to a refresh tells, where token answers tell whose they are.
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

/// Declares a connection unusable whose credential is another account's. A person reconnects it, and is asked which
/// account it is for.
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

/// The same after a refresh. Its tokens are stored by now: they can't be had again, and a person may want them back.
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
