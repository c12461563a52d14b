//! Cloudflare Access in front of the pages: whoever it lets in is signed in.
//!
//! Owns that only a token of Access counts, with its signature, issuer, audience and times; a header proves nothing.
//! Which workspace somebody is of, the operator decides: by the domain of their address, or one for all. No workspace can
//! claim a domain.

use serde_json::json;

use crate::context::Context;
use crate::email_address::EmailAddress;
use crate::error::Result;
use crate::id_token::{Expected, IdTokenError, SignedToken, VerifiedIdentity};
use crate::identity;
use crate::ports::Ports;
use crate::public_keys;
use crate::sessions::{self, OpenedSession, ProviderSignIn};
use crate::store::workspaces;
use crate::workspace::{ACCESS_ID_PREFIX, User, vouched_id};

/// Signs in whom a token of Access names. None: Access is not set up, the token is refused, or there is no such workspace.
pub async fn sign_in<P: Ports>(context: &Context<P>, token: &str) -> Result<Option<OpenedSession>> {
    let Some(access) = &context.config.access else { return Ok(None) };
    let identity = match verify(context, token).await {
        Ok(identity) => identity,
        Err(problem) => {
            context.log("warn", "access_token_refused", &json!({ "problem": problem.to_string() }));
            return Ok(None);
        }
    };
    let Some(workspace) = access.workspace_of(identity.email.as_deref()) else {
        let domain = identity.email.as_deref().and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain);
        context.log("warn", "access_domain_unknown", &json!({ "domain": domain }));
        return Ok(None);
    };
    let missing = || {
        let fields = json!({ "workspace": workspace.as_str(), "database": workspace.shard().binding() });
        context.log("error", "access_workspace_missing", &fields);
    };
    // Its database may not be bound.
    let Some(context) = &context.in_shard(workspace.shard()) else {
        missing();
        return Ok(None);
    };
    if workspaces::get(context.db(), workspace).await?.is_none() {
        missing();
        return Ok(None);
    }
    let team = access.issuer.trim_start_matches("https://");
    let address = identity.email.as_deref().and_then(EmailAddress::parse);
    let user = User { id: vouched_id(ACCESS_ID_PREFIX, team, &identity.subject), name: identity.name };
    let role = identity::decide_role(context, workspace, &user, &access.admin_groups, &identity.groups).await?;
    let sign_in = ProviderSignIn {
        workspace,
        user,
        role,
        decides_role: !access.admin_groups.is_empty(),
        once: None,
        before: None,
        address,
    };
    sessions::sign_in_by_provider(context, sign_in).await
}

async fn verify<P: Ports>(context: &Context<P>, token: &str) -> std::result::Result<VerifiedIdentity, IdTokenError> {
    let access = context.config.access.as_ref().ok_or(IdTokenError::NotChecked)?;
    let expected = Expected {
        issuer: &access.issuer,
        audience: &access.audience,
        nonce: None,
        any_party: false,
        now: context.now(),
    };
    let token = SignedToken::parse(token)?;
    token.check_claims(&expected)?;
    let keys = public_keys::load(context, &access.keys_url, |keys| token.find_key(keys).is_some()).await;
    let keys = keys.ok_or(IdTokenError::UnknownKey)?;
    token.verify(context.ports.signer(), &keys, &expected).await
}
