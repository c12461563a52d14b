//! What was entered is tried before it is stored.
//!
//! Owns whom the app is asked about and what its silence means. Refuses what the app does not accept, and what can't be
//! sent to it.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{AuthMethod, RequestError};
use crate::client_auth;
use crate::connect::account::{self, AccountError, AccountInfo, AccountQuery, AccountResult};
use crate::connect::start::ConnectOptions;
use crate::context::Context;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::error::Result;
use crate::ports::Ports;
use crate::registry;
use crate::token::ProbeOutcome;

use super::errors::probe_error;
use super::import::{can_refresh, refresh_imported_token};
use super::{Checked, Renewed, UncheckedCredential};

/// Asks the app whose credential it is, or, where it has no way to tell, whether it works.
pub(super) async fn check_credential<P: Ports>(
    context: &Context<P>,
    options: &ConnectOptions,
    had: &mut UncheckedCredential,
    variables: BTreeMap<String, String>,
) -> Result<Checked> {
    let told = match request_account(context, &options.auth_method, had, variables.clone()).await {
        Err(AccountError::NotConfirmed(ProbeOutcome::Refused)) if can_refresh(had) => {
            refresh_imported_token(context, options, had, &variables).await?;
            request_account(context, &options.auth_method, had, variables.clone()).await
        }
        told => told,
    };
    // What was imported may be dead since it was renewed: the new tokens are kept, and believed to be for the account
    // that they are given for. Where the app refuses them, they don't take the place of a credential that may work.
    let keeps = |verdict: &ProbeOutcome| match verdict {
        ProbeOutcome::Refused => options.connection.is_none(),
        _ => true,
    };
    match told {
        Ok(found) => Ok(Checked { found, is_proven: true }),
        Err(AccountError::NotConfirmed(verdict)) if had.renewed != Renewed::No && keeps(&verdict) => {
            let account = options.connection.as_ref().and_then(|connection| connection.account.clone());
            Ok(Checked { found: AccountInfo { account, granted: None, variables }, is_proven: false })
        }
        Err(AccountError::NotConfirmed(verdict)) => Err(probe_error(&options.auth_method, verdict)),
        Err(AccountError::Internal(error)) => Err(error),
    }
}

async fn request_account<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    had: &UncheckedCredential,
    variables: BTreeMap<String, String>,
) -> AccountResult<AccountInfo> {
    let endpoints = match auth_method.issuer() {
        Some(_) => Some(registry::load_endpoints(context, auth_method, &variables).await?),
        None => None,
    };
    let identity = auth_method.identity_for_endpoints(endpoints.as_ref());
    let destinations = Rc::new(Destinations::for_grant(auth_method, endpoints.as_ref(), &variables));
    let (credential, tokens) = (&had.credential, had.tokens.as_ref());
    let asked = AccountQuery { auth_method, identity, credential, tokens, destinations: &destinations };
    let unknown = |variables| AccountInfo { account: None, granted: None, variables };
    match account::find(context, &asked, variables.clone()).await {
        Ok(AccountInfo { account: None, granted, variables }) => {
            account::check_credential(context, &asked, &variables).await?;
            Ok(AccountInfo { account: None, granted, variables })
        }
        // It works, but must not be asked whose it is.
        Err(AccountError::NotConfirmed(ProbeOutcome::Forbidden)) => Ok(unknown(variables)),
        told => told,
    }
}

/// What can't be sent is told now, not to whoever resolves it.
pub(super) fn require_sendable(auth_method: &AuthMethod, credential: &Credential, found: &AccountInfo) -> Result<()> {
    let values = client_auth::template_values(auth_method, credential, &found.variables);
    let values = found.account.iter().fold(values, |values, account| values.with("account_id", &account.id));
    match auth_method.request.prepare(&values) {
        Err(problem @ (RequestError::InvalidValue(_) | RequestError::InvalidUrl(_))) => {
            Err(registry::invalid_value_error(auth_method, &problem))
        }
        Ok(_) | Err(RequestError::MissingValue(_) | RequestError::DestinationNotAllowed) => Ok(()),
    }
}
