//! A resolve for a person who looks at what a program would get.
//!
//! Owns that it is the same as a resolve by id, with the same policy, and that no use is recorded: nobody used anything.
//! Whoever shows the answer masks it.

use super::{
    CredentialPayload, DeferredTask, ResolvePolicy, ResolveRequest, ResolveResult, build_resolved, check_policy,
    load_usable_credential,
};
use crate::connection::ChosenBy;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::registry;
use crate::store::connections::{self, ListedConnection};

/// What a resolve of this connection would answer now. A token that has ended is refreshed, as for a program.
///
/// # Errors
/// Those of a resolve.
pub async fn preview<P: Ports>(context: &Context<P>, listed: &ListedConnection) -> Result<ResolveResult> {
    let asked = &listed.connection;
    let connection = match &listed.replaced_by {
        None => asked.clone(),
        // Another one answers for it.
        Some(other) => connections::get(context.db(), &asked.workspace, &other.id)
            .await?
            .ok_or_else(Error::connection_not_found)?,
    };
    // A connection for some workflows is tried as the first of them.
    let workflow = connection.allowed_workflows.as_ref().and_then(|list| list.first().cloned());
    let request = ResolveRequest { workflow, ..ResolveRequest::default() };
    check_policy(context, &ResolvePolicy::of(&connection), &request)?;
    let mut usable = load_usable_credential(context, connection, &request).await?;
    let auth_method = registry::load_auth_method(context, &usable.connection).await?;
    let deferred: Vec<DeferredTask> = std::mem::take(&mut usable.deferred);
    let issued = CredentialPayload::of_connection(&auth_method, &usable.connection, &usable.credential)
        .map_err(|problem| registry::unfilled_request_error(&auth_method, &problem))?;
    let mut resolved = build_resolved(&usable.connection, issued, usable.freshness, ChosenBy::Id);
    resolved.requested_id = listed.replaced_by.as_ref().map(|_| asked.id.clone());
    Ok(ResolveResult { resolved, deferred })
}
