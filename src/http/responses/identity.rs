//! The identity provider of a workspace.

use serde::Serialize;

use crate::context::Context;
use crate::identity;
use crate::identity_provider::IdentityProvider;
use crate::ids::ClientId;
use crate::ports::Ports;
use crate::time::Timestamp;

/// Where the people of the workspace sign in. The secret is never shown.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct IdentityProviderResponse {
    id: ClientId,
    #[cfg_attr(test, schemars(url))]
    issuer: String,
    client_id: String,
    allowed_domains: Vec<String>,
    admin_groups: Vec<String>,
    /// To register at the issuer. Another issuer has another one.
    #[cfg_attr(test, schemars(url))]
    redirect_uri: String,
    /// Where people sign in.
    #[cfg_attr(test, schemars(url))]
    sign_in_url: String,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl IdentityProviderResponse {
    pub(crate) fn of<P: Ports>(context: &Context<P>, provider: IdentityProvider) -> Self {
        Self {
            redirect_uri: identity::redirect_uri(context, &provider.id),
            sign_in_url: identity::sign_in_url(context, &provider.workspace),
            id: provider.id,
            issuer: provider.issuer,
            client_id: provider.client_id,
            allowed_domains: provider.allowed_domains,
            admin_groups: provider.admin_groups,
            created_at: provider.created_at,
            updated_at: provider.updated_at,
        }
    }
}
