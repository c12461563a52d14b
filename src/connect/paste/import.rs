//! Tokens that an app gave elsewhere become a credential.
//!
//! Owns their renewal before they are stored, where they have ended or the app refuses them. Refuses tokens that could
//! not be renewed in time from here.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{App, Kind, Origin, Variable, variable_at};
use crate::connect::start::{self, Offer};
use crate::core::Core;
use crate::credential::{Credential, Token};
use crate::destinations::Destinations;
use crate::error::{Code, Error, Result};
use crate::ports::Ports;
use crate::registry;
use crate::secret::Secret;
use crate::server;
use crate::token::{self, Ambiguity, Answer, Class, Parties, Refusal};

use super::complaints::{issued, not_renewed, rejected};
use super::{Had, Imported, Renewed};

/// Seconds of life under which an imported token is renewed before it is asked about.
const NEAR_END: i64 = 60;

/// Tokens from elsewhere: the refresh token is bound to the client that asked for it (RFC 6749, 6), so there must be
/// that client here, too.
pub(super) async fn import<P: Ports>(
    core: &Core<P>,
    offer: &Offer,
    imported: &Imported,
    variables: &BTreeMap<String, String>,
) -> Result<Had> {
    let app = &*offer.app;
    if app.kind != Kind::OAuth2 {
        return Err(Error::invalid("credential.type", "is not the kind of this way to connect."));
    }
    let credential =
        Credential { token: Some(imported.token.clone()), others: imported.others.clone(), fields: BTreeMap::new() };
    let endless = |token: &Token| token.refresh_token.is_some() && token.expires_at.is_none();
    if let Some((name, _)) = credential.others.iter().find(|(_, token)| endless(token)) {
        return Err(Error::invalid(
            &format!("credential.tokens.{name}.expires_at"),
            "must be given beside a refresh token: else nobody knows when to renew.",
        ));
    }
    let known = app.server().map(|server| &server.tokens);
    if let Some(name) = imported.others.keys().find(|name| known.is_none_or(|tokens| !tokens.contains_key(*name))) {
        return Err(Error::invalid(&format!("credential.tokens.{name}"), "is no further token of this app."));
    }
    let mut had = Had { credential, tokens: None, granted: imported.scopes.clone(), renewed: Renewed::No };
    // One whose end nobody tells is renewed, too: the answer tells it, or that there is none.
    let ends = imported.token.expires_at.is_some_and(|end| end < core.now().plus(NEAR_END));
    if ends || endless(&imported.token) {
        renew(core, offer, &mut had, variables).await?;
    }
    Ok(had)
}

/// Renews an imported token before it is stored. The tokens that were imported may be dead afterwards.
pub(super) async fn renew<P: Ports>(
    core: &Core<P>,
    offer: &Offer,
    had: &mut Had,
    variables: &BTreeMap<String, String>,
) -> Result<()> {
    let app = &*offer.app;
    let Some(token) = had.credential.token.clone() else { return Ok(()) };
    let (Some(refresh_token), Some(client)) = (&token.refresh_token, &offer.client) else {
        return Err(rejected(app, Some("expired")));
    };
    let at = registry::endpoints(core, app, variables).await?;
    let keys = server::client_keys(core, client, (app, &at), &at.refresh_url).await?;
    let destinations = Rc::new(Destinations::of_grant(app, Some(&at), variables));
    let values = server::values(app, &had.credential, variables);
    let server = app.oauth2()?;
    let parties = Parties { server, at: &at, client: &keys, values: &values, destinations: &destinations };
    let granted = had.granted.clone().unwrap_or_default();
    let scopes = server.scopes_of(None, &granted);
    let redirect_uri = start::redirect_uri(core, &client.redirect_id);
    let request = token::refresh_request(&parties, refresh_token, &scopes, &redirect_uri)
        .map_err(|problem| registry::misfit(app, &problem))?;
    let asked_at = core.now();
    let answer = token::read_answer(app, &core.send(request).await, asked_at);
    if let Answer::Refused(Refusal { class: Class::Client, .. }) = &answer {
        return Err(Error::new(
            Code::ClientMisconfigured,
            format!(
                "{} refuses this workspace's OAuth client, so nothing was stored. Tokens live with the client that they were given to: set up that one.",
                app.name
            ),
        ));
    }
    let tokens = match answer {
        // What can be read of the answer is kept: the token that it replaces may be dead. The next resolve renews it.
        Answer::Ambiguous(Ambiguity { refresh_token: Some(newer), .. }) => {
            had.renewed = rotated(refresh_token, &newer);
            had.credential.token = Some(Token { refresh_token: Some(newer), expires_at: Some(asked_at), ..token });
            return Ok(());
        }
        Answer::Ambiguous(odd) => return Err(not_renewed(app, odd.retry_after)),
        answer => issued(app, answer)?,
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
pub(super) fn complete(
    app: &App,
    variables: &BTreeMap<String, String>,
    is_needed: impl Fn(&Origin) -> bool,
) -> Result<()> {
    let lacks = |(name, one): &(&String, &Variable)| is_needed(&one.from) && !variables.contains_key(*name);
    match app.variables.iter().find(lacks) {
        None => Ok(()),
        Some((name, _)) => Err(Error::invalid(
            &variable_at(name),
            "is missing, and requests to the app depend on it. Give what the app told with the tokens.",
        )),
    }
}

fn rotated(before: &Secret, now: &Secret) -> Renewed {
    if before.expose() == now.expose() { Renewed::Kept } else { Renewed::Rotated }
}

/// An imported token that has not been renewed yet.
pub(super) fn may_renew(had: &Had) -> bool {
    had.tokens.is_none()
        && had.renewed == Renewed::No
        && had.credential.token.as_ref().is_some_and(|token| token.refresh_token.is_some())
}
