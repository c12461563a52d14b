//! The redirect back from the app. Reads as a list of early returns in the order of the protocol.
//!
//! Owns every check of the callback. No request is sent to the app's token endpoint before the state was found, the
//! browser was verified as the one that started the flow, the client and the issuer match, and the state was used.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::json;

use crate::app::{AuthMethod, ResolvedEndpoints, TemplateValues, VariableSource};
use crate::caller::{constant_time_eq, hash_secret};
use crate::client::{Client, ClientProblem};
use crate::client_auth;
use crate::context::Context;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::error::{Error, ErrorCode, Result};
use crate::frozen;
use crate::gather::Gather as _;
use crate::ids::{ClientId, FlowId};
use crate::ports::{Database, DatabaseError, HttpError, Ports, Statement};
use crate::preconditions::Condition;
use crate::registry;
use crate::secret::Secret;
use crate::store::authorizations::{self, Flow, FlowOutcome};
use crate::store::clients;
use crate::time::Timestamp;
use crate::token::{self, RefusalClass, TokenRequestContext, TokenResponse, TokenSet};

use super::account::{self, AccountError, AccountQuery};
use super::complete::{self, CompleteError, Decider, NewGrant};
use super::{FlowFailure, client_setup, flow_seal_context, was_link_reopened};

/// Bytes of a code, at most.
const MAX_CODE_LENGTH: usize = 8192;

/// The parameters of the callback.
#[derive(Clone, Default)]
pub struct CallbackParams {
    /// `state`
    pub state: Option<String>,
    /// `code`
    pub code: Option<Secret>,
    /// `error`
    pub error: Option<String>,
    /// `iss` (RFC 9207)
    pub iss: Option<String>,
    /// All other parameters: some apps send more.
    pub others: BTreeMap<String, String>,
}

/// The state is a secret until it is used, and the rest is untrusted: only the names are shown.
impl std::fmt::Debug for CallbackParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Returned")
            .field("state", &self.state.is_some())
            .field("code", &self.code.is_some())
            .field("error", &self.error.is_some())
            .field("iss", &self.iss.is_some())
            .finish_non_exhaustive()
    }
}

/// The next page of the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallbackResult {
    /// The flow's own page shows how it ended.
    Flow(FlowId),
    /// No flow of this browser: a general page says why.
    Refused(CallbackRefusal),
}

/// Why a callback has no flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackRefusal {
    /// No such state.
    UnknownState,
    /// The person took too long.
    Expired,
    /// The flow's link was started again in another browser, which ended the flow.
    LinkReopened,
    /// Another browser started the flow, or this one signed out.
    WrongBrowser,
}

/// Handles a callback at the address with this id. `sessions` are the hashes of this browser's sessions.
pub async fn handle<P: Ports>(
    context: &Context<P>,
    redirect_id: &ClientId,
    returned: CallbackParams,
    sessions: &[String],
) -> Result<CallbackResult> {
    let Some(state) = returned.state.as_deref().filter(|state| state.len() <= 256) else {
        return Ok(CallbackResult::Refused(CallbackRefusal::UnknownState));
    };
    let Some(flow) = authorizations::get_by_state(context.db(), &hash_secret(state)).await? else {
        return Ok(CallbackResult::Refused(CallbackRefusal::UnknownState));
    };
    let now = context.now();
    if was_link_reopened(&flow) {
        return Ok(CallbackResult::Refused(CallbackRefusal::LinkReopened));
    }
    if !sessions.iter().any(|session| constant_time_eq(session, &flow.session_hash)) {
        context.log("warn", "flow_in_other_browser", &json!({ "authorization": flow.id.as_str() }));
        return Ok(CallbackResult::Refused(CallbackRefusal::WrongBrowser));
    }
    // A reload, or a second navigation: the person sees how the flow ended. The parameters of this request are ignored.
    if flow.used_at.is_some() {
        return Ok(CallbackResult::Flow(flow.id));
    }
    if now >= flow.expires_at {
        return Ok(CallbackResult::Refused(CallbackRefusal::Expired));
    }
    if !authorizations::consume_state(context.db(), &flow, &flow.session_hash, now).await? {
        // Another request was faster, or the flow has just ended.
        return Ok(match authorizations::get_by_state(context.db(), &hash_secret(state)).await? {
            Some(flow) if flow.used_at.is_some() => CallbackResult::Flow(flow.id),
            Some(flow) if was_link_reopened(&flow) => CallbackResult::Refused(CallbackRefusal::LinkReopened),
            _ => CallbackResult::Refused(CallbackRefusal::Expired),
        });
    }
    match process_response(context, redirect_id, &flow, returned).await {
        Ok(()) => {}
        Err(CallbackError::Ended(end)) => {
            end_flow(context, &flow, end).await?;
            // Its session has ended, so this browser cannot open the flow's page.
            if end.failure == Some(FlowFailure::LinkBegunAnew) {
                return Ok(CallbackResult::Refused(CallbackRefusal::LinkReopened));
            }
        }
        Err(CallbackError::Internal(error)) => return Err(error),
    }
    Ok(CallbackResult::Flow(flow.id))
}

async fn end_flow<P: Ports>(context: &Context<P>, flow: &Flow, end: FlowEnd) -> Result<()> {
    let code = end.failure.map(FlowFailure::as_str);
    context.log(
        "info",
        "flow_ended",
        &json!({ "authorization": flow.id.as_str(), "outcome": end.outcome.as_str(), "error": code }),
    );
    write_statement(context, authorizations::end_flow(&flow.id, end.outcome, code, None)).await
}

async fn write_statement<P: Ports>(context: &Context<P>, statement: Statement) -> Result<()> {
    context.db().batch(vec![statement]).await?;
    Ok(())
}

/// How a flow ends without a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FlowEnd {
    outcome: FlowOutcome,
    failure: Option<FlowFailure>,
}

/// Why a callback brought no grant.
#[derive(Debug, thiserror::Error)]
enum CallbackError {
    /// The flow has ended. Its page explains it.
    #[error("the flow ended: {}", .0.outcome.as_str())]
    Ended(FlowEnd),
    /// The step itself failed.
    #[error(transparent)]
    Internal(#[from] Error),
}

impl From<FlowFailure> for CallbackError {
    fn from(failure: FlowFailure) -> Self {
        Self::Ended(FlowEnd { outcome: FlowOutcome::Failed, failure: Some(failure) })
    }
}

impl From<DatabaseError> for CallbackError {
    fn from(error: DatabaseError) -> Self {
        Self::Internal(error.into())
    }
}

type CallbackStepResult<T> = std::result::Result<T, CallbackError>;

async fn process_response<P: Ports>(
    context: &Context<P>,
    redirect_id: &ClientId,
    flow: &Flow,
    returned: CallbackParams,
) -> CallbackStepResult<()> {
    // It ended while the person was away, for example because its client was deleted. A recreated client is a new one.
    if flow.outcome != FlowOutcome::Pending {
        let failure = flow.error.as_deref().and_then(FlowFailure::parse);
        return Err(CallbackError::Ended(FlowEnd { outcome: flow.outcome, failure }));
    }
    // The state identifies the client of a callback. The callback's address must be that client's.
    let of_flow = match &flow.client {
        None => None,
        Some(id) => clients::get(context.db(), &flow.workspace, id).await?,
    };
    let client = of_flow.ok_or(FlowFailure::ClientRefused)?;
    if client.redirect_id != *redirect_id {
        return Err(FlowFailure::WrongIssuer.into());
    }
    verify_issuer(flow, returned.iss.as_deref())?;
    let app = registry::load_app_at_revision(context, &flow.workspace, &flow.app, flow.app_revision).await?;
    let auth_method = registry::auth_method(&app, &flow.auth_method)?;
    let code = authorization_code(&auth_method, &returned);
    if let Some(error) = authorization_error(&returned, code.is_some()) {
        return Err(error_from_app(&auth_method, error, &returned.others));
    }
    let code = code.filter(|code| code.expose().len() <= MAX_CODE_LENGTH).ok_or(FlowFailure::NoCode)?;
    let endpoints = match registry::load_endpoints(context, &auth_method, &flow.variables).await {
        Err(error) if error.code == ErrorCode::AppUnavailable => return Err(FlowFailure::AppUnavailable.into()),
        endpoints => endpoints?,
    };
    let exchanged = exchange_code(context, flow, &client, &auth_method, &endpoints, &code).await?;
    // Boxed: few callbacks get here, and all would have its size.
    let stored =
        Box::pin(store_returned_grant(context, flow, &client, &auth_method, &endpoints, &returned.others, exchanged))
            .await;
    // Bookkeeping comes last: the grant is stored, or revoked, in any case.
    if let Err(error) = write_statement(context, clients::mark_working(&flow.workspace, &client.id)).await {
        context.log_cause(&error);
    }
    Ok(stored?)
}

/// What the app gave for a code.
struct ExchangedTokens {
    tokens: TokenSet,
    /// When it was asked: lifetimes count from then.
    asked_at: Timestamp,
}

/// The only copy of the grant is here: each path from here stores or revokes it. Returns why it was not stored.
async fn store_returned_grant<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    client: &Client,
    auth_method: &AuthMethod,
    endpoints: &ResolvedEndpoints,
    others: &BTreeMap<String, String>,
    exchanged: ExchangedTokens,
) -> std::result::Result<(), FlowFailure> {
    let tokens = &exchanged.tokens;
    let credential = Credential::from_tokens(tokens);
    let told = reported_variables(auth_method, others, tokens);
    let variables = flow.variables.clone().into_iter().chain(told).gather();
    let reach = |variables: &BTreeMap<String, String>| match &flow.destinations {
        // Discovered endpoints stay those of the flow's start. Those of the definition are filled with the current
        // values.
        Some(frozen) => frozen.with_api_of(&Destinations::for_grant(auth_method, None, variables)),
        None => Destinations::for_grant(auth_method, Some(endpoints), variables),
    };
    let destinations = Rc::new(reach(&variables));
    let asked = AccountQuery {
        auth_method,
        identity: endpoints.identity.as_ref(),
        credential: &credential,
        tokens: Some(tokens),
        destinations: &destinations,
    };
    let found = match account::find(context, &asked, variables).await {
        Ok(found) => found,
        Err(error) => {
            complete::discard_unidentified_grant(context, auth_method, flow, client, &credential, &destinations).await;
            return Err(match error {
                AccountError::Internal(error) => {
                    context.log_cause(&error);
                    FlowFailure::NotStored
                }
                AccountError::NotConfirmed(_) => FlowFailure::AccountUnknown,
            });
        }
    };
    let destinations = reach(&found.variables);
    let redirected = redirect_scopes(auth_method, others);
    let grant = build_grant(flow, auth_method, credential, &exchanged, redirected, found, destinations);
    complete::complete_returned_grant(context, flow, auth_method, grant, Decider::Person).await.map_err(|error| {
        match error {
            CompleteError::Flow(failure) => failure,
            CompleteError::Internal(_) => FlowFailure::NotStored,
        }
    })
}

/// The code, under the app's name for it.
fn authorization_code(auth_method: &AuthMethod, returned: &CallbackParams) -> Option<Secret> {
    let code = match auth_method.oauth_server().map(|server| server.code_param.as_str()) {
        None | Some("code") => returned.code.clone(),
        Some(name) => returned.others.get(name).map(Secret::new),
    };
    code.filter(|code| !code.is_empty())
}

/// Where apps put the reason of an error, next to its name or instead of it.
const ERROR_REASON_PARAMS: &[&str] = &["error_reason", "error_code", "error_subtype", "errorcode", "err"];

/// The values of parameters with these names, ignoring case.
fn named<'a>(others: &'a BTreeMap<String, String>, names: &[&str]) -> impl Iterator<Item = &'a str> {
    names
        .iter()
        .flat_map(|name| {
            others.iter().filter(move |(known, text)| known.eq_ignore_ascii_case(name) && !text.is_empty())
        })
        .map(|(_, text)| text.as_str())
}

/// The error instead of a code. Without a code, any of its usual names counts.
fn authorization_error(returned: &CallbackParams, has_code: bool) -> Option<&str> {
    match &returned.error {
        Some(error) => Some(error),
        None if has_code => None,
        None => named(&returned.others, &["error"]).chain(named(&returned.others, ERROR_REASON_PARAMS)).next(),
    }
}

/// The scopes in the redirect, if the definition says that it has them.
fn redirect_scopes(auth_method: &AuthMethod, others: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let text = others.get(auth_method.oauth_server()?.callback_scope.as_ref()?)?;
    Some(token::read_redirect_scopes(auth_method, text))
}

/// An error instead of a code. The definition has precedence over the defaults: if an administrator must consent, some
/// apps return names that elsewhere mean a denial.
fn error_from_app(auth_method: &AuthMethod, error: &str, others: &BTreeMap<String, String>) -> CallbackError {
    let approval = auth_method.oauth_server().and_then(|server| server.approval.as_ref());
    let description = others.get("error_description").map(String::as_str);
    if approval.is_some_and(|approval| approval.is_required(error, description)) {
        return FlowFailure::ApprovalRequired.into();
    }
    let reasons = named(others, ERROR_REASON_PARAMS);
    let listed = |code: &str| auth_method.errors.denied.iter().any(|known| known.eq_ignore_ascii_case(code));
    if [error].into_iter().chain(reasons).any(|code| listed(code) || is_denial(code)) {
        return CallbackError::Ended(FlowEnd { outcome: FlowOutcome::Denied, failure: None });
    }
    // RFC 6749 4.1.2.1: nobody has refused anything.
    if matches!(error, "server_error" | "temporarily_unavailable") {
        return FlowFailure::AppUnavailable.into();
    }
    FlowFailure::RefusedByApp.into()
}

/// Whether a code means that the person denied access: RFC 6749 4.1.2.1, `OpenID` Connect Core 3.1.2.6, and the names
/// of apps for a person who pressed Cancel (`user_cancelled_login`). A sentence does not count.
fn is_denial(code: &str) -> bool {
    let code = code.to_ascii_lowercase();
    if matches!(code.as_str(), "consent_required" | "interaction_required" | "login_required") {
        return true;
    }
    let is_code = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    let words = || code.split(|c: char| !c.is_ascii_alphanumeric());
    let says_no = |word: &str| {
        ["denied", "cancelled", "canceled", "cancel", "declined", "aborted"].iter().any(|no| word.ends_with(no))
    };
    // Servers also use these for their own refusals.
    let of_person = |word: &str| ["refused", "rejected", "dismissed"].iter().any(|no| word.ends_with(no));
    let has_person = || words().any(|word| word.starts_with("user"));
    // A denial by somebody else is not the person's.
    let others = |word: &str| {
        ["admin", "administrator", "app", "application", "client", "policy", "org", "organization", "server"]
            .contains(&word)
    };
    is_code && (words().any(says_no) || has_person() && words().any(of_person)) && !words().any(others)
}

/// The variables of the app's addresses in its redirect and its token response.
fn reported_variables(
    auth_method: &AuthMethod,
    returned: &BTreeMap<String, String>,
    tokens: &TokenSet,
) -> BTreeMap<String, String> {
    let mut told = account::reported_by_token_response(auth_method, Some(tokens));
    for (name, variable) in auth_method.variables.iter() {
        if let VariableSource::Callback(parameter) = &variable.source
            && let Some(Ok(value)) = returned.get(parameter).map(|value| variable.parse_value(value))
        {
            told.insert(name.clone(), value);
        }
    }
    told
}

/// RFC 9207, 2.4: compared as simple strings, and absent only if it was not promised. A catalogue app has addresses
/// that the program knows, so its issuer name may be unknown here. For a custom app it must be known.
fn verify_issuer(flow: &Flow, iss: Option<&str>) -> std::result::Result<(), FlowFailure> {
    match (iss, &flow.issuer) {
        (Some(iss), Some(issuer)) if iss != issuer => Err(FlowFailure::WrongIssuer),
        (Some(_), None) if flow.app_revision > 0 => Err(FlowFailure::IssuerUnknown),
        (None, _) if flow.iss_promised => Err(FlowFailure::WrongIssuer),
        _ => Ok(()),
    }
}

async fn exchange_code<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    client: &Client,
    auth_method: &AuthMethod,
    endpoints: &ResolvedEndpoints,
    code: &Secret,
) -> CallbackStepResult<ExchangedTokens> {
    // The secret may have been entered again since the flow started: neither it nor the tokens that it gets may be sent
    // to addresses of the flow that it was not entered for.
    let has_secret = auth_method.is_custom && client.sealed_secret.is_some();
    if has_secret && !client_setup::verify_set_up_for(context, client, auth_method).await? {
        return Err(FlowFailure::AddressesChanged.into());
    }
    let keys = match client_auth::prepare_client_identity(context, client, auth_method, endpoints, &endpoints.token_url)
        .await
    {
        Err(error) if error.code == ErrorCode::ClientMissing => {
            context.log_cause(&error);
            let is_of_client = error.hints.client.is_some_and(ClientProblem::affects_every_connection);
            return Err(if is_of_client { FlowFailure::ClientRefused } else { FlowFailure::AddressesChanged }.into());
        }
        keys => keys?,
    };
    let verifier = match &flow.sealed_verifier {
        None => None,
        Some(sealed) => Some(
            context
                .config
                .key_ring
                .open(&flow_seal_context(&flow.workspace, &flow.id, frozen::PKCE_VERIFIER), sealed)
                .map_err(|_| Error::internal("a flow's verifier does not open"))?,
        ),
    };
    let asked_at = context.now();
    let redirect_uri = context.config.public_url.redirect_uri(&client.redirect_id);
    let values = TemplateValues::new().with_all(&flow.variables);
    let frozen = || Destinations::for_grant(auth_method, Some(endpoints), &flow.variables);
    let destinations = Rc::new(flow.destinations.clone().unwrap_or_else(frozen));
    let parties = TokenRequestContext {
        server: auth_method.require_oauth_server()?,
        endpoints,
        client: &keys,
        values: &values,
        destinations: &destinations,
    };
    let request = token::build_exchange_request(&parties, code, &redirect_uri, verifier.as_ref());
    let request = request.map_err(|problem| registry::unfilled_request_error(auth_method, &problem))?;
    let answer = context.send(request).await;
    if matches!(answer, Err(HttpError::NotPermitted)) {
        return Err(FlowFailure::AddressesChanged.into());
    }
    match token::read_token_response(auth_method, &answer, asked_at) {
        TokenResponse::Tokens(tokens) => Ok(ExchangedTokens { tokens, asked_at }),
        TokenResponse::Ambiguous(odd) => {
            context.log(
                "warn",
                "exchange_failed",
                &json!({ "authorization": flow.id.as_str(), "app": auth_method.app_id.as_str(), "error": odd.reason }),
            );
            if let Some(refresh_token) = odd.refresh_token {
                let credential = Credential::of_refresh_token(refresh_token);
                complete::discard_unidentified_grant(context, auth_method, flow, client, &credential, &destinations)
                    .await;
            }
            Err(FlowFailure::AppUnavailable.into())
        }
        TokenResponse::Refused(refusal) => {
            context.log(
                "warn",
                "exchange_refused",
                &json!({ "authorization": flow.id.as_str(), "app": auth_method.app_id.as_str(), "error": refusal.code }),
            );
            let class = refusal.class_for_new_connection();
            Err(record_token_refusal(context, client, class, &refusal.code).await?.into())
        }
    }
}

/// What a refusal of the code means to the flow. One that is the client's is recorded.
async fn record_token_refusal<P: Ports>(
    context: &Context<P>,
    client: &Client,
    class: RefusalClass,
    code: &str,
) -> Result<FlowFailure> {
    Ok(match class {
        RefusalClass::Client => {
            let now = context.now();
            write_statement(context, clients::mark_misconfigured(client, now, code, now)).await?;
            FlowFailure::ClientRefused
        }
        RefusalClass::Transient { .. } => FlowFailure::AppUnavailable,
        RefusalClass::Permanent | RefusalClass::Configuration | RefusalClass::Unknown => FlowFailure::CodeRefused,
    })
}

fn build_grant(
    flow: &Flow,
    auth_method: &AuthMethod,
    credential: Credential,
    exchanged: &ExchangedTokens,
    redirected: Option<Vec<String>>,
    found: account::AccountInfo,
    destinations: Destinations,
) -> NewGrant {
    let ExchangedTokens { tokens, asked_at } = exchanged;
    let server = auth_method.oauth_server();
    let after = |seconds: Option<i64>| seconds.map(|seconds| asked_at.plus(seconds));
    let refreshable = credential.is_refreshable();
    let said = tokens.scopes.clone().or(redirected).or(found.granted);
    let named = said.unwrap_or_else(|| flow.scopes.clone());
    NewGrant {
        account: found.account,
        scopes_requested: flow.scopes.clone(),
        scopes_granted: auth_method.granted_scopes(&named, &flow.scopes),
        expires_at: credential.expires_at(),
        refresh_expires_at: tokens.refresh_expires_at,
        refresh_idle_until: after(server.and_then(|server| server.refresh_token_idle)).filter(|_| refreshable),
        grant_expires_at: after(server.and_then(|server| server.grant_lifetime)),
        variables: found.variables,
        destinations: Some(destinations),
        obtained_at: *asked_at,
        refreshable,
        name: None,
        metadata: BTreeMap::new(),
        actor: None,
        condition: Condition::default(),
        checked: true,
        imported: false,
        credential,
    }
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, CallbackParams, Secret};

    #[test]
    fn callback_parameters_show_no_secret_in_debug_output() {
        let said = || Some("hunter2".to_owned());
        let returned = CallbackParams {
            state: said(),
            code: Some(Secret::new("hunter2")),
            error: said(),
            iss: None,
            others: BTreeMap::from([("realm".to_owned(), "hunter2".to_owned())]),
        };
        assert_eq!(format!("{returned:?}"), "Returned { state: true, code: true, error: true, iss: false, .. }");
    }
}
