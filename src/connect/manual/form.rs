//! The fields of an app's form become a credential, with a first token where the app mints one.
//!
//! Owns which fields are asked for and what they may look like. Refuses what belongs to a person's consent at the app.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{AuthMethod, FieldProblem, GrantType as GrantKind, field_path, read_fields};
use crate::client_auth::{self, KEY_FILE_FIELD};
use crate::context::Context;
use crate::credential::{Credential, StoredToken};
use crate::destinations::Destinations;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::registry;
use crate::secret::Secret;
use crate::token;

use super::errors::require_tokens;
use super::{Renewed, UncheckedCredential};

pub(super) async fn credential_from_form<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    fields: &BTreeMap<String, Secret>,
    scopes: &[String],
    variables: &BTreeMap<String, String>,
) -> Result<UncheckedCredential> {
    if !auth_method.kind.is_manual() {
        return Err(Error::invalid_field(
            "credential",
            "of this type needs a consent at the app. It cannot be entered here.",
        ));
    }
    let mut problems = Vec::new();
    let fields = read_fields(auth_method, fields).unwrap_or_else(|found| {
        problems = found;
        BTreeMap::new()
    });
    if problems.is_empty()
        && let Some(GrantKind::JwtBearer(shape)) = auth_method.oauth_server().map(|server| &server.grant_type)
        && let Err(problem) =
            client_auth::parse_key_file(shape, fields.get(KEY_FILE_FIELD).map(Secret::expose).unwrap_or_default())
    {
        problems.push(FieldProblem { field: field_path(KEY_FILE_FIELD), problem: problem.to_string() });
    }
    if !problems.is_empty() {
        return Err(Error::from_field_problems(problems));
    }
    let mut credential = Credential::from_fields(fields);
    if !auth_method.issues_tokens() {
        return Ok(UncheckedCredential { credential, tokens: None, granted: None, renewed: Renewed::No });
    }
    let endpoints = registry::load_endpoints(context, auth_method, variables).await?;
    let destinations = Rc::new(Destinations::for_grant(auth_method, Some(&endpoints), variables));
    let request = client_auth::prepare_issue_request(
        context,
        auth_method,
        &endpoints,
        &credential,
        scopes,
        variables,
        &destinations,
    )
    .await?;
    let asked_at = context.now();
    let tokens =
        require_tokens(auth_method, token::read_token_response(auth_method, &context.send(request).await, asked_at))?;
    credential.token = Some(StoredToken::from_token_set(&tokens));
    Ok(UncheckedCredential { granted: tokens.scopes.clone(), tokens: Some(tokens), credential, renewed: Renewed::No })
}
