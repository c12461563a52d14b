//! Whose account a new credential is for, and what else the app tells of it.
//!
//! Owns the one request that answers both, or the token answer where that tells. Refuses to guess: an app that can say
//! who it is must say so, else nobody could tell later whether a reconnect brought the same account.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{App, Identity, Origin, Probe, Values};
use crate::connection::Account;
use crate::core::Core;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::error::Result;
use crate::ports::{Inbound, Ports};
use crate::registry;
use crate::server;
use crate::token::{self, ProbeVerdict, TokenSet};

/// How often an app that does not answer is asked.
const TRIES: usize = 2;

/// Whose credential it is that somebody asks about.
pub(super) struct Asked<'a> {
    pub(super) app: &'a App,
    /// How it is known, if it can be: the definition's way, or the issuer's.
    pub(super) identity: Option<&'a Identity>,
    pub(super) credential: &'a Credential,
    /// The token answer, where there was one.
    pub(super) tokens: Option<&'a TokenSet>,
    /// Where the credential may go.
    pub(super) destinations: &'a Rc<Destinations>,
}

/// What is known of a credential.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Whose account it is; `None` where the app has no way to tell.
    pub(super) account: Option<Account>,
    /// What was granted, where the answer names it.
    pub(super) granted: Option<Vec<String>>,
    /// All that the app's addresses depend on.
    pub(super) variables: BTreeMap<String, String>,
}

/// Finds out. The inner error is what the app made of the credential.
pub(super) async fn find<P: Ports>(
    core: &Core<P>,
    of: &Asked<'_>,
    variables: BTreeMap<String, String>,
) -> Result<std::result::Result<Found, ProbeVerdict>> {
    let Some(identity) = of.identity else { return Ok(Ok(Found { account: None, granted: None, variables })) };
    match (&identity.probe, of.tokens) {
        (Some(probe), _) => ask(core, of, (identity, probe), variables).await,
        (None, Some(tokens)) => {
            let values = server::values(of.app, of.credential, &variables);
            let name = name(core, of, identity, &values).await;
            let account = token::read_account_of_tokens(&identity.account.named(name), tokens, &values);
            Ok(account.map_or(Err(ProbeVerdict::Odd), |account| {
                Ok(Found { account: Some(account), granted: None, variables })
            }))
        }
        // An imported token comes without the answer that told whose it is.
        (None, None) => Ok(Ok(Found { account: None, granted: None, variables })),
    }
}

/// What the app calls the account. It is asked once, and whatever goes wrong only costs the name: a credential need not be
/// allowed to ask.
async fn name<P: Ports>(core: &Core<P>, of: &Asked<'_>, identity: &Identity, values: &Values) -> Option<String> {
    let asked = identity.named_by.as_ref()?;
    let request = token::probe_request(&asked.probe, of.app, values, of.destinations).ok()?;
    let inbound = core.send(request).await.ok()?;
    token::read_name(of.app, asked, &inbound, values, core.now())
}

async fn ask<P: Ports>(
    core: &Core<P>,
    of: &Asked<'_>,
    (identity, probe): (&Identity, &Probe),
    variables: BTreeMap<String, String>,
) -> Result<std::result::Result<Found, ProbeVerdict>> {
    let values = server::values(of.app, of.credential, &variables);
    let mut verdict = ProbeVerdict::Unavailable { retry_after: None };
    for _ in 0..TRIES {
        let request = token::probe_request(probe, of.app, &values, of.destinations);
        let request = request.map_err(|problem| registry::misfit(of.app, &problem))?;
        let Ok(inbound) = core.send(request).await else { continue };
        match token::read_account(of.app, (identity, probe), &inbound, &values, core.now()) {
            Ok(account) => return Ok(Ok(found(of.app, identity, account, &inbound, variables))),
            Err(other) => verdict = other,
        }
        if !matches!(verdict, ProbeVerdict::Unavailable { .. }) {
            break;
        }
    }
    Ok(Err(verdict))
}

fn found(
    app: &App,
    identity: &Identity,
    account: Account,
    inbound: &Inbound,
    mut variables: BTreeMap<String, String>,
) -> Found {
    variables.extend(token::read_values(&app.variables, &inbound.body, Origin::in_identity_answer));
    Found { account: Some(account), granted: token::scopes_in_header(identity, inbound), variables }
}

/// What a token answer tells of the variables of the app's addresses; without one, what is usual.
pub(super) fn told_by_tokens(app: &App, tokens: Option<&TokenSet>) -> BTreeMap<String, String> {
    token::values_in(
        &app.variables,
        tokens.map_or(&serde_json::Value::Null, |tokens| &tokens.answer.0),
        Origin::in_token_answer,
    )
}

/// Asks whether a credential works at an app that can't tell whose it is. One that has nothing to ask is believed.
pub(super) async fn works<P: Ports>(
    core: &Core<P>,
    of: &Asked<'_>,
    variables: &BTreeMap<String, String>,
) -> Result<std::result::Result<(), ProbeVerdict>> {
    let Some(probe) = &of.app.check else { return Ok(Ok(())) };
    let values = server::values(of.app, of.credential, variables);
    let request = token::probe_request(probe, of.app, &values, of.destinations);
    let request = request.map_err(|problem| registry::misfit(of.app, &problem))?;
    let answer = core.send(request).await;
    Ok(match token::read_probe(of.app, probe, &answer, core.now()) {
        ProbeVerdict::Works | ProbeVerdict::Forbidden => Ok(()),
        other => Err(other),
    })
}
