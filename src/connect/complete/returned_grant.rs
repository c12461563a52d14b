//! A grant that has just come from an app, and is nowhere else.
//!
//! Owns that nothing but its own storing stands between it and the database: a write that fails is tried again, and what
//! can't be stored is given back to the app. Refuses to give back what may have been stored after all.

use crate::app::AuthMethod;
use crate::client::Client;
use crate::connect::FlowFailure;
use crate::context::Context;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::error::{Error, ErrorCode};
use crate::ports::{Clock, Ports};
use crate::revocation::{self, RevocableCredential};
use crate::store::authorizations::{self, Flow};

use super::discard::{discard_grant, is_completed};
use super::{CompleteError, CompleteResult, Completion, Decider, NewGrant, complete};

/// How long until a grant is stored once more, in milliseconds.
const RETRY_DELAYS_MS: [u32; 3] = [100, 400, 1500];

/// Settles a grant that exists nowhere else. Each try reads anew what the decision depends on.
///
/// # Errors
/// It became nothing, or could not be stored. It was discarded, where that kills nothing else.
pub async fn complete_returned_grant<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    auth_method: &AuthMethod,
    grant: NewGrant,
    deciding: Decider,
) -> CompleteResult<()> {
    let mut waits = RETRY_DELAYS_MS.into_iter();
    let error = loop {
        match complete(context, flow, auth_method, grant.clone(), deciding).await {
            Err(CompleteError::Internal(error)) => match waits.next() {
                Some(milliseconds) if error.code == ErrorCode::DatabaseUnavailable => {
                    context.ports.clock().sleep(milliseconds).await;
                }
                _ => break error,
            },
            completed => return completed,
        }
    };
    discard_unstored(context, flow, auth_method, grant, error).await
}

/// The flow is ended first: a write that is still on its way then finds that nobody waits for it.
async fn discard_unstored<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    auth_method: &AuthMethod,
    grant: NewGrant,
    error: Error,
) -> CompleteResult<()> {
    context.log_cause(&error);
    context.log("error", "grant_not_stored", &serde_json::json!({ "authorization": flow.id.as_str() }));
    let is_over = authorizations::fail_if_pending(context.db(), &flow.id, FlowFailure::NotStored.as_str()).await;
    if is_over == Ok(false) && is_completed(context, flow).await? {
        return Ok(());
    }
    // Where the database does not answer, nobody knows whether another connection lives on the grant: then it stays.
    let completion = Completion { flow, link: None, auth_method, grant };
    if let Err(problem) = discard_grant(context, &completion).await {
        context.log_cause(&problem);
    }
    Err(error.into())
}

/// Gives back a grant before anything is known of its account, where no other connection can live on it.
pub async fn discard_unidentified_grant<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    flow: &Flow,
    client: &Client,
    credential: &Credential,
    destinations: &Destinations,
) {
    let held =
        RevocableCredential { credential, account: None, variables: &flow.variables, destinations: Some(destinations) };
    revocation::revoke_unused(context, auth_method, &flow.workspace, Some(client), &held).await;
}
