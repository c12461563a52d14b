//! The identity provider of the workspace, for programs.

use serde::Deserialize;

use super::Call;
use super::body::{DeletedResponse, Json, Unread};
use super::responses::IdentityProviderResponse;
use crate::context::Context;
use crate::error::Result;
use crate::identity::{self, NewProvider};
use crate::ids::ClientId;
use crate::ports::Ports;
use crate::secret::Secret;

/// Where the people of the workspace sign in: a client that is registered at an `OpenID` Connect issuer.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PutIdentityProviderRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct PutIdentityProviderInput {
    /// The issuer, exactly as it calls itself.
    #[cfg_attr(test, schemars(url, length(max = 200)))]
    issuer: String,
    #[cfg_attr(test, schemars(length(min = 1, max = 4096)))]
    client_id: String,
    #[cfg_attr(test, schemars(length(min = 1, max = 4096)))]
    client_secret: Secret,
    /// Only people with a verified e-mail address of one of these domains are let in. Empty: everybody whom the issuer
    /// lets in.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = 50)))]
    allowed_domains: Vec<String>,
    /// Members of one of these groups (claim `groups`) are admins, and all others are members: at each sign-in. Empty: the
    /// issuer says nothing about roles.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = 50)))]
    admin_groups: Vec<String>,
}

pub(super) async fn get_identity_provider<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<IdentityProviderResponse>> {
    let provider = identity::get_provider(context, &call.caller_key()?.workspace).await?;
    Ok(Json::ok(IdentityProviderResponse::of(context, provider)))
}

pub(super) async fn put_identity_provider<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, PutIdentityProviderInput>,
) -> Result<Json<IdentityProviderResponse>> {
    let input = body.read()?;
    let new = NewProvider {
        issuer: input.issuer,
        client_id: input.client_id,
        client_secret: input.client_secret,
        allowed_domains: input.allowed_domains,
        admin_groups: input.admin_groups,
    };
    let provider = identity::put_provider(context, &call.caller_key()?.workspace, new, &call.key_actor()?).await?;
    Ok(Json::ok(IdentityProviderResponse::of(context, provider)))
}

pub(super) async fn delete_identity_provider<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedResponse<ClientId>>> {
    let id = identity::delete_provider(context, &call.caller_key()?.workspace, &call.key_actor()?).await?;
    Ok(Json::ok(DeletedResponse::of(id)))
}
