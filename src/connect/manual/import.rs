//! Tokens that an app gave elsewhere become a credential.
//!
//! Owns their renewal before they are stored, where they have ended or the app refuses them. Refuses tokens that could
//! not be renewed in time from here.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{AuthMethod, CredentialKind, Variable, VariableSource, variable_path};
use crate::client_auth;
use crate::connect::start::ConnectOptions;
use crate::context::Context;
use crate::credential::{Credential, StoredToken};
use crate::destinations::Destinations;
use crate::error::{Error, ErrorCode, Result};
use crate::ports::Ports;
use crate::registry;
use crate::secret::Secret;
use crate::token::{self, AmbiguousResponse, AppRefusal, RefusalClass, TokenRequestContext, TokenResponse};

use super::errors::{not_renewed, rejected_error, require_tokens};
use super::{ImportedTokens, Renewed, UncheckedCredential};

/// Seconds of life under which an imported token is renewed before it is asked about.
const NEAR_EXPIRY: i64 = 60;

/// Tokens from elsewhere: the refresh token is bound to the client that asked for it (RFC 6749, 6), so there must be
/// that client here, too.
pub(super) async fn import_tokens<P: Ports>(
    context: &Context<P>,
    options: &ConnectOptions,
    imported: &ImportedTokens,
    variables: &BTreeMap<String, String>,
) -> Result<UncheckedCredential> {
    let auth_method = &*options.auth_method;
    if auth_method.kind != CredentialKind::OAuth2 {
        return Err(Error::invalid_field("credential.type", "is not the kind of this way to connect."));
    }
    let credential = Credential {
        token: Some(imported.token.clone()),
        other_tokens: imported.others.clone(),
        fields: BTreeMap::new(),
    };
    let endless = |token: &StoredToken| token.refresh_token.is_some() && token.expires_at.is_none();
    if let Some((name, _)) = credential.other_tokens.iter().find(|(_, token)| endless(token)) {
        return Err(Error::invalid_field(
            &format!("credential.tokens.{name}.expires_at"),
            "must be given beside a refresh token: else nobody knows when to renew.",
        ));
    }
    let known = auth_method.oauth_server().map(|server| &server.tokens);
    if let Some(name) = imported.others.keys().find(|name| known.is_none_or(|tokens| !tokens.contains_key(*name))) {
        return Err(Error::invalid_field(
            &format!("credential.tokens.{name}"),
            "is not an additional token of this app.",
        ));
    }
    let mut had =
        UncheckedCredential { credential, tokens: None, granted: imported.scopes.clone(), renewed: Renewed::No };
    // One whose end nobody tells is renewed, too: the answer tells it, or that there is none.
    let ends = imported.token.expires_at.is_some_and(|end| end < context.now().plus(NEAR_EXPIRY));
    if ends || endless(&imported.token) {
        refresh_imported_token(context, options, &mut had, variables).await?;
    }
    Ok(had)
}

/// Renews an imported token before it is stored. The tokens that were imported may be dead afterwards.
pub(super) async fn refresh_imported_token<P: Ports>(
    context: &Context<P>,
    options: &ConnectOptions,
    had: &mut UncheckedCredential,
    variables: &BTreeMap<String, String>,
) -> Result<()> {
    let auth_method = &*options.auth_method;
    let Some(token) = had.credential.token.clone() else { return Ok(()) };
    let (Some(refresh_token), Some(client)) = (&token.refresh_token, &options.client) else {
        return Err(rejected_error(auth_method, Some("expired")));
    };
    let endpoints = registry::load_endpoints(context, auth_method, variables).await?;
    let keys =
        client_auth::prepare_client_identity(context, client, auth_method, &endpoints, &endpoints.refresh_url).await?;
    let destinations = Rc::new(Destinations::for_grant(auth_method, Some(&endpoints), variables));
    let values = client_auth::template_values(auth_method, &had.credential, variables);
    let server = auth_method.require_oauth_server()?;
    let parties = TokenRequestContext {
        server,
        endpoints: &endpoints,
        client: &keys,
        values: &values,
        destinations: &destinations,
    };
    let granted = had.granted.clone().unwrap_or_default();
    let scopes = server.scopes_for_token(None, &granted);
    let redirect_uri = context.config.public_url.redirect_uri(&client.redirect_id);
    let request = token::build_refresh_request(&parties, refresh_token, &scopes, &redirect_uri)
        .map_err(|problem| registry::invalid_value_error(auth_method, &problem))?;
    let asked_at = context.now();
    let answer = token::read_token_response(auth_method, &context.send(request).await, asked_at);
    if let TokenResponse::Refused(AppRefusal { class: RefusalClass::Client, .. }) = &answer {
        return Err(Error::new(
            ErrorCode::ClientMisconfigured,
            format!(
                "{} refuses this workspace's OAuth client, so nothing was stored. Tokens are valid only for the client that they were issued to. Set up that client.",
                auth_method.app_name
            ),
        ));
    }
    let tokens = match answer {
        // What can be read of the answer is kept: the token that it replaces may be dead. The next resolve renews it.
        TokenResponse::Ambiguous(AmbiguousResponse { refresh_token: Some(newer), .. }) => {
            had.renewed = rotated(refresh_token, &newer);
            had.credential.token =
                Some(StoredToken { refresh_token: Some(newer), expires_at: Some(asked_at), ..token });
            return Ok(());
        }
        TokenResponse::Ambiguous(odd) => return Err(not_renewed(auth_method, odd.retry_after)),
        answer => require_tokens(auth_method, answer)?,
    };
    had.renewed = tokens.refresh_token.as_ref().map_or(Renewed::Kept, |newer| rotated(refresh_token, newer));
    had.credential.token = Some(token.merged_with(&tokens, asked_at));
    if let Some(said) = &tokens.scopes {
        // It speaks for the first token only.
        let further = granted.into_iter().filter(|scope| !scopes.contains(scope));
        had.granted = Some(said.iter().cloned().chain(further).collect());
    }
    had.tokens = Some(tokens);
    Ok(())
}

/// Nobody tells later what the app told with the tokens, or of the account, and its addresses depend on.
pub(super) fn require_variables(
    auth_method: &AuthMethod,
    variables: &BTreeMap<String, String>,
    is_needed: impl Fn(&VariableSource) -> bool,
) -> Result<()> {
    let lacks = |(name, one): &(&String, &Variable)| is_needed(&one.source) && !variables.contains_key(*name);
    match auth_method.variables.iter().find(lacks) {
        None => Ok(()),
        Some((name, _)) => Err(Error::invalid_field(
            &variable_path(name),
            "is missing, and requests to the app need it. The app returned it with the tokens.",
        )),
    }
}

fn rotated(before: &Secret, now: &Secret) -> Renewed {
    if before.expose() == now.expose() { Renewed::Kept } else { Renewed::Rotated }
}

/// An imported token that has not been renewed yet.
pub(super) fn can_refresh(had: &UncheckedCredential) -> bool {
    had.tokens.is_none()
        && had.renewed == Renewed::No
        && had.credential.token.as_ref().is_some_and(|token| token.refresh_token.is_some())
}
