//! Finds out the account of a new credential, and what else the app says about it.
//!
//! Owns the one request for both, or the token response if that contains the account. Does not guess: an app with an
//! identity request must name the account, because otherwise nobody could know later whether a reconnect is for the
//! same account.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::account::Account;
use crate::app::{AuthMethod, IdentityLookup, Probe, TemplateValues, VariableSource};
use crate::client_auth;
use crate::context::Context;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::error::Error;
use crate::ports::{AppResponse, Ports};
use crate::registry;
use crate::token::{self, ProbeOutcome, TokenSet};

/// How often an app that does not answer is asked.
const MAX_TRIES: usize = 2;

/// The credential whose account is asked for.
pub(super) struct AccountQuery<'a> {
    pub(super) auth_method: &'a AuthMethod,
    /// The identity lookup, if there is one: the definition's or the issuer's.
    pub(super) identity: Option<&'a IdentityLookup>,
    pub(super) credential: &'a Credential,
    /// The token response, if there was one.
    pub(super) tokens: Option<&'a TokenSet>,
    /// The destinations of the credential.
    pub(super) destinations: &'a Rc<Destinations>,
}

/// What is known about a credential.
#[derive(Debug, Clone)]
pub(super) struct AccountInfo {
    /// The account. `None` if the app cannot name it.
    pub(super) account: Option<Account>,
    /// The granted scopes, if the response names them.
    pub(super) granted: Option<Vec<String>>,
    /// All variables of the app's addresses.
    pub(super) variables: BTreeMap<String, String>,
}

/// Why it is not known whose a credential is, or whether it works.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccountError {
    /// The app's answer does not say so.
    #[error("the app did not confirm the credential: {0:?}")]
    NotConfirmed(ProbeOutcome),
    /// The app could not be asked.
    #[error(transparent)]
    Internal(#[from] Error),
}

pub(super) type AccountResult<T> = Result<T, AccountError>;

/// Finds it out. The inner error is the app's result for the credential.
pub(super) async fn find<P: Ports>(
    context: &Context<P>,
    of: &AccountQuery<'_>,
    variables: BTreeMap<String, String>,
) -> AccountResult<AccountInfo> {
    let Some(identity) = of.identity else { return Ok(AccountInfo { account: None, granted: None, variables }) };
    match (&identity.probe, of.tokens) {
        (Some(probe), _) => request_account(context, of, identity, probe, variables).await,
        (None, Some(tokens)) => {
            let values = client_auth::template_values(of.auth_method, of.credential, &variables);
            let name = fetch_account_name(context, of, identity, &values).await;
            let account = token::read_account_from_tokens(&identity.account.with_known_label(name), tokens, &values);
            let account = account.ok_or(AccountError::NotConfirmed(ProbeOutcome::Inconclusive))?;
            Ok(AccountInfo { account: Some(account), granted: None, variables })
        }
        // An imported token has no token response with the account.
        (None, None) => Ok(AccountInfo { account: None, granted: None, variables }),
    }
}

/// The app's name for the account. It is asked once, and an error only loses the name: a credential need not be
/// permitted to ask.
async fn fetch_account_name<P: Ports>(
    context: &Context<P>,
    of: &AccountQuery<'_>,
    identity: &IdentityLookup,
    values: &TemplateValues,
) -> Option<String> {
    let asked = identity.named_by.as_ref()?;
    let request = token::build_probe_request(&asked.probe, of.auth_method, values, of.destinations).ok()?;
    let inbound = context.send(request).await.ok()?;
    token::read_account_label(of.auth_method, asked, &inbound, values, context.now())
}

async fn request_account<P: Ports>(
    context: &Context<P>,
    of: &AccountQuery<'_>,
    identity: &IdentityLookup,
    probe: &Probe,
    variables: BTreeMap<String, String>,
) -> AccountResult<AccountInfo> {
    let values = client_auth::template_values(of.auth_method, of.credential, &variables);
    let mut verdict = ProbeOutcome::Unavailable { retry_after: None };
    for _ in 0..MAX_TRIES {
        let request = token::build_probe_request(probe, of.auth_method, &values, of.destinations);
        let request = request.map_err(|problem| registry::invalid_value_error(of.auth_method, &problem))?;
        let Ok(inbound) = context.send(request).await else { continue };
        match token::read_account(of.auth_method, identity, probe, &inbound, &values, context.now()) {
            Ok(account) => return Ok(read_account_info(of.auth_method, identity, account, &inbound, variables)),
            Err(other) => verdict = other,
        }
        if !matches!(verdict, ProbeOutcome::Unavailable { .. }) {
            break;
        }
    }
    Err(AccountError::NotConfirmed(verdict))
}

fn read_account_info(
    auth_method: &AuthMethod,
    identity: &IdentityLookup,
    account: Account,
    inbound: &AppResponse,
    mut variables: BTreeMap<String, String>,
) -> AccountInfo {
    variables.extend(token::read_reported_values(
        &auth_method.variables,
        &inbound.body,
        VariableSource::identity_response_pointer,
    ));
    AccountInfo { account: Some(account), granted: token::read_header_scopes(identity, inbound), variables }
}

/// The variables of the app's addresses in a token response, or their defaults.
pub(super) fn reported_by_token_response(
    auth_method: &AuthMethod,
    tokens: Option<&TokenSet>,
) -> BTreeMap<String, String> {
    token::reported_values(
        &auth_method.variables,
        tokens.map_or(&serde_json::Value::Null, |tokens| &tokens.response.0),
        VariableSource::token_response_pointer,
    )
}

/// Asks if a credential works, at an app that cannot name the account. Without a check request the credential is
/// accepted.
pub(super) async fn check_credential<P: Ports>(
    context: &Context<P>,
    of: &AccountQuery<'_>,
    variables: &BTreeMap<String, String>,
) -> AccountResult<()> {
    let Some(probe) = &of.auth_method.check else { return Ok(()) };
    let values = client_auth::template_values(of.auth_method, of.credential, variables);
    let request = token::build_probe_request(probe, of.auth_method, &values, of.destinations);
    let request = request.map_err(|problem| registry::invalid_value_error(of.auth_method, &problem))?;
    let answer = context.send(request).await;
    match token::read_probe_response(of.auth_method, probe, &answer, context.now()) {
        ProbeOutcome::Works | ProbeOutcome::Forbidden => Ok(()),
        other => Err(AccountError::NotConfirmed(other)),
    }
}
