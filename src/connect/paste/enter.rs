//! The fields of an app's form become a credential, with a first token where the app mints one.
//!
//! Owns which fields are asked for and what they may look like. Refuses what belongs to a person's consent at the app.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{App, FieldError, Grant as GrantKind, field_at, read_fields};
use crate::connect::start;
use crate::core::Core;
use crate::credential::{Credential, Token};
use crate::destinations::Destinations;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::registry;
use crate::secret::Secret;
use crate::server::{self, KEY_FIELD};
use crate::token;

use super::complaints::issued;
use super::{Had, Renewed};

pub(super) async fn enter<P: Ports>(
    core: &Core<P>,
    app: &App,
    fields: &BTreeMap<String, Secret>,
    (scopes, variables): (&[String], &BTreeMap<String, String>),
) -> Result<Had> {
    if !app.kind.is_pasted() {
        return Err(Error::invalid("credential", "of this kind is given at the app, not entered here."));
    }
    let mut problems = Vec::new();
    let fields = read_fields(app, fields).unwrap_or_else(|found| {
        problems = found;
        BTreeMap::new()
    });
    if problems.is_empty()
        && let Some(GrantKind::ServiceAccount(shape)) = app.server().map(|server| &server.grant)
        && let Err(problem) = server::key_file(shape, fields.get(KEY_FIELD).map(Secret::expose).unwrap_or_default())
    {
        problems.push(FieldError { field: field_at(KEY_FIELD), problem: problem.to_string() });
    }
    if !problems.is_empty() {
        return Err(start::invalid_fields(problems));
    }
    let mut credential = Credential::from_fields(fields);
    if !app.mints() {
        return Ok(Had { credential, tokens: None, granted: None, renewed: Renewed::No });
    }
    let at = registry::endpoints(core, app, variables).await?;
    let destinations = Rc::new(Destinations::of_grant(app, Some(&at), variables));
    let request = server::mint(core, app, &at, &credential, (scopes, variables), &destinations).await?;
    let asked_at = core.now();
    let tokens = issued(app, token::read_answer(app, &core.send(request).await, asked_at))?;
    credential.token = Some(Token::from_set(&tokens));
    Ok(Had { granted: tokens.scopes.clone(), tokens: Some(tokens), credential, renewed: Renewed::No })
}
