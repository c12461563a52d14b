//! A grant that has just come from an app, and is nowhere else.
//!
//! Owns that nothing but its own storing stands between it and the database: a write that fails is tried again, and what
//! can't be stored is given back to the app. Refuses to give back what may have been stored after all.

use crate::app::App;
use crate::client::Client;
use crate::connect::Failure;
use crate::core::Core;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::disconnect::{self, Held};
use crate::error::{Code, Error, Result};
use crate::ports::{Clock, Ports};
use crate::store::authorizations::{self, Authorization};

use super::given_up::{became_something, discard};
use super::{Case, Deciding, Grant, settle};

/// How long until a grant is stored once more, in milliseconds.
const WAITS: [u32; 3] = [100, 400, 1500];

/// Settles a grant that exists nowhere else. Each try reads anew what the decision depends on.
///
/// # Errors
/// It could not be stored. It was discarded, where that kills nothing else.
pub async fn settle_arrived<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    grant: Grant,
    deciding: Deciding,
) -> Result<Option<Failure>> {
    let mut waits = WAITS.into_iter();
    let error = loop {
        match settle(core, flow, app, grant.clone(), deciding).await {
            Err(error) if error.code == Code::DatabaseUnavailable => match waits.next() {
                Some(milliseconds) => core.ports.clock().sleep(milliseconds).await,
                None => break error,
            },
            Err(error) => break error,
            settled => return settled,
        }
    };
    give_back(core, flow, app, grant, error).await
}

/// The flow is ended first: a write that is still on its way then finds that nobody waits for it.
async fn give_back<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    grant: Grant,
    error: Error,
) -> Result<Option<Failure>> {
    core.log_cause(&error);
    core.log("error", "grant_not_stored", &serde_json::json!({ "authorization": flow.id.as_str() }));
    let is_over = authorizations::give_up(core.db(), &flow.id, Failure::NotStored.as_str()).await;
    if is_over == Ok(false) && became_something(core, flow).await? {
        return Ok(None);
    }
    // Where the database does not answer, nobody knows whether another connection lives on the grant: then it stays.
    let case = Case { flow, link: None, app, grant };
    if let Err(problem) = discard(core, &case).await {
        core.log_cause(&problem);
    }
    Err(error)
}

/// Gives back a grant before anything is known of its account, where no other connection can live on it.
pub async fn discard_fresh<P: Ports>(
    core: &Core<P>,
    app: &App,
    (flow, client): (&Authorization, &Client),
    credential: &Credential,
    destinations: &Destinations,
) {
    let held = Held { credential, account: None, variables: &flow.variables, destinations: Some(destinations) };
    disconnect::discard(core, app, (&flow.workspace, Some(client)), &held).await;
}
