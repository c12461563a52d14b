//! A credential that somebody enters: an API key, a bot token, a client of their own, a key file, or tokens that an app
//! gave elsewhere.
//!
//! Owns the way from there to a grant: `enter` or `import` takes it, `check` asks the app about it before anything is
//! stored. What the app refuses is not kept. What it becomes (a new connection, a repaired one, a question to the
//! person) is [`super::complete`]'s to decide, as for every grant.

mod check;
mod errors;
mod form;
mod import;

use std::collections::BTreeMap;

use crate::app::{AuthMethod, VariableSource, field_path};
use crate::audit::Actor;
use crate::context::Context;
use crate::credential::{Credential, StoredToken};
use crate::destinations::Destinations;
use crate::error::{Error, Result};
use crate::ids::{FlowId, random_token};
use crate::ports::{Clock, Database, DatabaseError, Ports};
use crate::preconditions::Condition;
use crate::registry;
use crate::secret::Secret;
use crate::store::authorizations::{self, Flow, FlowOutcome};
use crate::store::sessions;
use crate::time::Timestamp;
use crate::token::TokenSet;

use super::account::{self, AccountInfo};
use super::complete::{self, CompleteError, Decider, NewGrant};
use super::start::{self, ConnectOptions, ConnectRequest};
use super::{FlowFailure, MANUAL_FLOW_TTL};

pub use errors::flow_failure_error;
use errors::spent;

use check::{check_credential, require_sendable};
use form::credential_from_form;
use import::{import_tokens, require_variables};

/// How long until a flow is stored once more, in milliseconds.
const INSERT_RETRY_DELAYS_MS: [u32; 2] = [100, 500];

/// What somebody entered.
#[derive(Debug, Clone)]
pub enum ManualCredential {
    /// The fields of the app's form.
    Fields(BTreeMap<String, Secret>),
    /// Tokens that the app gave elsewhere, to the same client.
    Tokens(Box<ImportedTokens>),
}

/// Tokens that an app gave elsewhere.
#[derive(Debug, Clone)]
pub struct ImportedTokens {
    /// The first token.
    pub token: StoredToken,
    /// Further ones, by name.
    pub others: BTreeMap<String, StoredToken>,
    /// What the app granted, if it is known.
    pub scopes: Option<Vec<String>>,
}

/// A credential with what is said beside it.
#[derive(Debug, Clone)]
pub struct ManualConnectRequest {
    /// The credential.
    pub credential: ManualCredential,
    /// The name of a new connection.
    pub name: Option<String>,
    /// The metadata of the embedding product, for a new connection.
    pub metadata: BTreeMap<String, String>,
    /// Whether the app is asked.
    pub check: bool,
    /// Who enters it, for the audit trail, where that is no person's session.
    pub actor: Option<Actor>,
    /// What the connection must still be that gets it.
    pub condition: Condition,
}

/// Checks what somebody entered and stores it. The answer is how it ended, as for a consent at the app.
pub async fn connect_manually<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    paste: ManualConnectRequest,
    session_hash: &str,
    deciding: Decider,
) -> Result<Flow> {
    connect_manually_with_options(
        context,
        request,
        &start::prepare_options(context, request).await?,
        paste,
        session_hash,
        deciding,
    )
    .await
}

/// The same with what was offered: whoever has looked at its hosts must get that, and no later edition of it.
pub async fn connect_manually_with_options<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    options: &ConnectOptions,
    paste: ManualConnectRequest,
    session_hash: &str,
    deciding: Decider,
) -> Result<Flow> {
    let auth_method = &*options.auth_method;
    let request = &in_entered_environment(request, options, &paste)?;
    let obtained_at = context.now();
    let (mut had, mut variables) = match &paste.credential {
        ManualCredential::Fields(fields) => {
            let variables = start::collect_variables(options, &request.variables)?;
            (credential_from_form(context, auth_method, fields, &options.scopes, &variables).await?, variables)
        }
        ManualCredential::Tokens(imported) => {
            let mut variables = start::collect_imported_variables(options, &request.variables)?;
            add_reported_variables(auth_method, None, &mut variables);
            // Before a refresh token is used that may be good once.
            require_variables(auth_method, &variables, |from| {
                !matches!(from, VariableSource::Identity(_)) || !paste.check
            })?;
            (import_tokens(context, options, imported, &variables).await?, variables)
        }
    };
    add_reported_variables(auth_method, had.tokens.as_ref(), &mut variables);
    let checked = if paste.check {
        check_credential(context, options, &mut had, variables).await
    } else {
        Ok(Checked { found: AccountInfo { account: None, granted: None, variables }, is_proven: false })
    };
    let is_spent = had.renewed == Renewed::Rotated;
    let stored = match checked {
        Ok(checked) => {
            let tried = TriedCredential { entered: paste, had, checked, obtained_at };
            store(context, request, options, tried, session_hash, deciding).await
        }
        Err(error) => Err(error),
    };
    stored.map_err(|error| if is_spent { spent(error) } else { error })
}

/// What is to be connected, in the environment that the entered values belong to. One of another environment is refused
/// before the app is asked: a key for tests never takes the place of one for real work.
fn in_entered_environment(
    request: &ConnectRequest,
    options: &ConnectOptions,
    paste: &ManualConnectRequest,
) -> Result<ConnectRequest> {
    let mut request = request.clone();
    let ManualCredential::Fields(fields) = &paste.credential else { return Ok(request) };
    let Some((field, entered)) = options.auth_method.environment_of_fields(fields) else { return Ok(request) };
    let had = options.connection.as_ref().and_then(|connection| connection.environment);
    if let Some(other) = had.or(request.settings.environment).filter(|other| *other != entered) {
        let problem = format!(
            "is of the environment {}, and the connection is to be of {}. Enter one of {}, or make another connection for {}.",
            entered.as_str(),
            other.as_str(),
            other.as_str(),
            entered.as_str()
        );
        return Err(Error::invalid_field(&field_path(field), problem));
    }
    request.settings.environment = Some(entered);
    Ok(request)
}

/// Stores a credential that was tried.
async fn store<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    options: &ConnectOptions,
    tried: TriedCredential,
    session_hash: &str,
    deciding: Decider,
) -> Result<Flow> {
    let auth_method = &*options.auth_method;
    let TriedCredential { entered, had, checked: Checked { found, .. }, .. } = &tried;
    if matches!(entered.credential, ManualCredential::Tokens(_)) && had.renewed == Renewed::No {
        require_variables(auth_method, &found.variables, |_| true)?;
    }
    require_sendable(auth_method, &had.credential, found)?;
    let is_spent = had.renewed == Renewed::Rotated;
    let entered_by_person = entered.actor.is_none();
    let condition = entered.condition.clone();
    let endpoints = registry::load_endpoints_if_any(context, auth_method, &found.variables).await?;
    let destinations = Destinations::for_grant(auth_method, endpoints.as_ref(), &found.variables);
    let flow = create_flow(context, request, options, found, &destinations, session_hash).await?;
    // From here on the end of the session ends the flow, too: it is looked at after the flow was stored.
    if entered_by_person && sessions::get(context.db(), session_hash, context.now()).await?.is_none() {
        let end =
            authorizations::end_flow(&flow.id, FlowOutcome::Failed, Some(FlowFailure::SessionEnded.as_str()), None);
        context.db().batch(vec![end]).await?;
    }
    let grant = build_grant(auth_method, tried, &options.scopes, destinations);
    match Box::pin(complete::complete_returned_grant(context, &flow, auth_method, grant, deciding)).await {
        Ok(()) => {}
        Err(CompleteError::Flow(failure)) => {
            let end = authorizations::end_flow(&flow.id, FlowOutcome::Failed, Some(failure.as_str()), None);
            context.db().batch(vec![end]).await?;
            if matches!(failure, FlowFailure::Conflict | FlowFailure::ConnectionGone) {
                condition.require_still_met(context).await?;
            }
            if is_spent {
                return Err(flow_failure_error(failure));
            }
        }
        Err(CompleteError::Internal(error)) => return Err(error),
    }
    let ended = authorizations::get_in_workspace(context.db(), &flow.workspace, &flow.id).await?;
    ended.ok_or_else(|| Error::internal("a flow that has just ended is not there"))
}

/// Adds what a token answer tells of the variables, or what is usual. What was given is meant.
fn add_reported_variables(
    auth_method: &AuthMethod,
    tokens: Option<&TokenSet>,
    variables: &mut BTreeMap<String, String>,
) {
    for (name, value) in account::reported_by_token_response(auth_method, tokens) {
        variables.entry(name).or_insert(value);
    }
}

/// A credential with what is known of it before the app was asked who it is.
struct UncheckedCredential {
    credential: Credential,
    /// The token answer, where a token was had.
    tokens: Option<TokenSet>,
    /// What was granted, as far as it was said.
    granted: Option<Vec<String>>,
    /// Whether it was imported and renewed on the way.
    renewed: Renewed,
}

/// What became of an imported token before it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewed {
    /// It is as it was given.
    No,
    /// It was renewed, and its refresh token stayed.
    Kept,
    /// It was renewed, and its refresh token is another now: the imported one may be dead.
    Rotated,
}

/// What a check found out.
struct Checked {
    found: AccountInfo,
    /// Whether the app took the credential.
    is_proven: bool,
}

/// A credential that is ready to be stored.
struct TriedCredential {
    entered: ManualConnectRequest,
    had: UncheckedCredential,
    checked: Checked,
    /// When it was entered.
    obtained_at: Timestamp,
}

/// A flow whose person was never sent away: it carries what settling needs, and a question if one arises.
async fn create_flow<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    options: &ConnectOptions,
    found: &AccountInfo,
    destinations: &Destinations,
    session_hash: &str,
) -> Result<Flow> {
    let now = context.now();
    let flow = Flow {
        id: FlowId::random(context.ports.random(), request.workspace.shard())?,
        session_hash: session_hash.to_owned(),
        workspace: request.workspace.clone(),
        app: options.auth_method.app_id.clone(),
        app_revision: options.revision,
        auth_method: options.auth_method.method_id.clone(),
        variables: found.variables.clone(),
        destinations: options.auth_method.stores_destinations().then(|| destinations.clone()),
        client: options.client.as_ref().map(|client| client.id.clone()),
        connection: request.connection.clone(),
        generation: options.connection.as_ref().map(|connection| connection.generation),
        link: request.link.as_ref().map(|link| link.id.clone()),
        user: request.user.clone(),
        settings: request.settings,
        scopes: options.scopes.clone(),
        issuer: None,
        iss_promised: false,
        sealed_verifier: None,
        return_to: request.return_to.clone(),
        popup_origin: request.link.as_ref().and_then(|link| link.popup_origin.clone()),
        outcome: FlowOutcome::Pending,
        error: None,
        sealed_grant: None,
        pending: None,
        used_at: Some(now),
        created_at: now,
        expires_at: now.plus(MANUAL_FLOW_TTL),
    };
    // Nobody comes back with a state: it is made up and told to nobody.
    let state = Secret::new(random_token(context.ports.random(), flow.workspace.shard())?);
    insert_flow_with_retries(context, &flow, &crate::caller::hash_secret(state.expose())).await?;
    Ok(flow)
}

/// Stores the flow, also when the first tries fail: tokens that were renewed on the way are nowhere else yet.
async fn insert_flow_with_retries<P: Ports>(context: &Context<P>, flow: &Flow, state_hash: &str) -> Result<()> {
    let mut waits = INSERT_RETRY_DELAYS_MS.into_iter();
    let mut is_repeated = false;
    loop {
        match (authorizations::insert(context.db(), flow, state_hash).await, waits.next()) {
            (Err(DatabaseError::Unavailable(_)), Some(milliseconds)) => {
                context.ports.clock().sleep(milliseconds).await;
                is_repeated = true;
            }
            // A try before was applied, though it was reported failed.
            (Err(DatabaseError::Constraint), _) if is_repeated => return Ok(()),
            (stored, _) => return Ok(stored?),
        }
    }
}

/// What was granted where nobody says: as asked (RFC 6749, 5.1) where something was asked for.
fn default_granted_scopes(auth_method: &AuthMethod, requested: &[String]) -> Vec<String> {
    if auth_method.kind.uses_oauth_server() { requested.to_vec() } else { vec![] }
}

fn build_grant(
    auth_method: &AuthMethod,
    tried: TriedCredential,
    requested: &[String],
    destinations: Destinations,
) -> NewGrant {
    let TriedCredential { entered, had, checked: Checked { found, is_proven }, obtained_at } = tried;
    let UncheckedCredential { credential, tokens, granted, renewed: _ } = had;
    let server = auth_method.oauth_server();
    let refreshable = credential.is_refreshable() || auth_method.issues_tokens();
    let idle = server.and_then(|server| server.refresh_token_idle).filter(|_| credential.is_refreshable());
    NewGrant {
        account: found.account.map(|account| credential.mark_account(auth_method, account)),
        scopes_requested: requested.to_vec(),
        scopes_granted: auth_method.granted_scopes(
            &granted.or(found.granted).unwrap_or_else(|| default_granted_scopes(auth_method, requested)),
            requested,
        ),
        expires_at: credential.expires_at(),
        refresh_expires_at: tokens.as_ref().and_then(|tokens| tokens.refresh_expires_at),
        refresh_idle_until: idle.map(|seconds| obtained_at.plus(seconds)),
        grant_expires_at: None,
        variables: found.variables,
        destinations: Some(destinations),
        obtained_at,
        refreshable,
        name: entered.name,
        metadata: entered.metadata,
        actor: entered.actor,
        condition: entered.condition,
        checked: is_proven,
        imported: matches!(entered.credential, ManualCredential::Tokens(_)),
        credential,
    }
}
