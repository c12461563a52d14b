//! What was entered is tried before it is stored.
//!
//! Owns whom the app is asked about and what its silence means. Refuses what the app does not accept, and what can't be
//! sent to it.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{App, RequestError};
use crate::connect::account::{self, Asked, Found};
use crate::connect::start::Offer;
use crate::core::Core;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::error::Result;
use crate::ports::Ports;
use crate::registry;
use crate::server;
use crate::token::ProbeVerdict;

use super::complaints::refused;
use super::import::{may_renew, renew};
use super::{Checked, Had, Renewed};

/// Asks the app whose credential it is, or, where it has no way to tell, whether it works.
pub(super) async fn check<P: Ports>(
    core: &Core<P>,
    offer: &Offer,
    had: &mut Had,
    variables: BTreeMap<String, String>,
) -> Result<Checked> {
    let told = match ask(core, &offer.app, had, variables.clone()).await? {
        Err(ProbeVerdict::Refused) if may_renew(had) => {
            renew(core, offer, had, &variables).await?;
            ask(core, &offer.app, had, variables.clone()).await?
        }
        told => told,
    };
    // What was imported may be dead since it was renewed: the new tokens are kept, and believed to be for the account
    // that they are given for. Where the app refuses them, they don't take the place of a credential that may work.
    let keeps = |verdict: &ProbeVerdict| match verdict {
        ProbeVerdict::Refused => offer.connection.is_none(),
        _ => true,
    };
    match told {
        Ok(found) => Ok(Checked { found, is_proven: true }),
        Err(verdict) if had.renewed != Renewed::No && keeps(&verdict) => {
            let account = offer.connection.as_ref().and_then(|connection| connection.account.clone());
            Ok(Checked { found: Found { account, granted: None, variables }, is_proven: false })
        }
        Err(verdict) => Err(refused(&offer.app, verdict)),
    }
}

async fn ask<P: Ports>(
    core: &Core<P>,
    app: &App,
    had: &Had,
    variables: BTreeMap<String, String>,
) -> Result<std::result::Result<Found, ProbeVerdict>> {
    let at = match app.issuer() {
        Some(_) => Some(registry::endpoints(core, app, &variables).await?),
        None => None,
    };
    let identity = app.identity_at(at.as_ref());
    let destinations = Rc::new(Destinations::of_grant(app, at.as_ref(), &variables));
    let (credential, tokens) = (&had.credential, had.tokens.as_ref());
    let asked = Asked { app, identity, credential, tokens, destinations: &destinations };
    let unknown = |variables| Found { account: None, granted: None, variables };
    match account::find(core, &asked, variables.clone()).await? {
        Ok(Found { account: None, granted, variables }) => {
            let works = account::works(core, &asked, &variables).await?;
            Ok(works.map(|()| Found { account: None, granted, variables }))
        }
        // It works, but must not be asked whose it is.
        Err(ProbeVerdict::Forbidden) => Ok(Ok(unknown(variables))),
        told => Ok(told),
    }
}

/// What can't be sent is told now, not to whoever resolves it.
pub(super) fn fits(app: &App, credential: &Credential, found: &Found) -> Result<()> {
    let values = server::values(app, credential, &found.variables);
    let values = found.account.iter().fold(values, |values, account| values.with("account_id", &account.id));
    match app.request.dress(&values) {
        Err(problem @ (RequestError::Value(_) | RequestError::Address(_))) => Err(registry::misfit(app, &problem)),
        Ok(_) | Err(RequestError::Missing(_) | RequestError::Destination) => Ok(()),
    }
}
