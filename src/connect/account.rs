//! Whose account a new credential is for, and what else the app tells of it.
//!
//! Owns the one request that answers both, or the token answer where that tells. Refuses to guess: an app that can say
//! who it is must say so, else nobody could tell later whether a reconnect brought the same account.

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

/// Whose credential it is that somebody asks about.
pub(super) struct AccountQuery<'a> {
    pub(super) auth_method: &'a AuthMethod,
    /// How it is known, if it can be: the definition's way, or the issuer's.
    pub(super) identity: Option<&'a IdentityLookup>,
    pub(super) credential: &'a Credential,
    /// The token answer, where there was one.
    pub(super) tokens: Option<&'a TokenSet>,
    /// Where the credential may go.
    pub(super) destinations: &'a Rc<Destinations>,
}

/// What is known of a credential.
#[derive(Debug, Clone)]
pub(super) struct AccountInfo {
    /// Whose account it is; `None` where the app has no way to tell.
    pub(super) account: Option<Account>,
    /// What was granted, where the answer names it.
    pub(super) granted: Option<Vec<String>>,
    /// All that the app's addresses depend on.
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

/// Finds out.
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
        // An imported token comes without the answer that told whose it is.
        (None, None) => Ok(AccountInfo { account: None, granted: None, variables }),
    }
}

/// What the app calls the account. It is asked once, and whatever goes wrong only costs the name: a credential need not be
/// allowed to ask.
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

/// What a token answer tells of the variables of the app's addresses; without one, what is usual.
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

/// Asks whether a credential works at an app that can't tell whose it is. One that has nothing to ask is believed.
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
