//! The way back from the app. Reads as a list of early returns in the order the protocol demands.
//!
//! Owns every check of the answer. Nothing is asked of the app's token endpoint before the state was
//! found, the browser proved to be the one that began the flow, the client and the issuer fit, and
//! the state was spent.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::json;

use crate::app::{App, Origin, Resolved, Values};
use crate::caller::{hash, same};
use crate::client::{Client, ClientProblem};
use crate::core::Core;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::error::Result;
use crate::frozen;
use crate::ids::{AuthorizationId, ClientId};
use crate::ports::{Database, HttpError, Ports, Statement};
use crate::registry;
use crate::secret::Secret;
use crate::server;
use crate::store::authorizations::{self, Authorization, Outcome};
use crate::store::clients;
use crate::time::Timestamp;
use crate::token::{self, Answer, Class, Parties, TokenSet};

use super::account::{self, Asked};
use super::settle::{self, Deciding, Grant};
use super::{Failure, client_setup, place, start, was_begun_anew};

/// What the app sent along.
#[derive(Clone, Default)]
pub struct Returned {
    /// `state`
    pub state: Option<String>,
    /// `code`
    pub code: Option<Secret>,
    /// `error`
    pub error: Option<String>,
    /// `iss` (RFC 9207)
    pub iss: Option<String>,
    /// All other parameters: some apps tell more.
    pub others: BTreeMap<String, String>,
}

/// The state is a secret while it is unspent, and the rest are a stranger's words: only what is there is told.
impl std::fmt::Debug for Returned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Returned")
            .field("state", &self.state.is_some())
            .field("code", &self.code.is_some())
            .field("error", &self.error.is_some())
            .field("iss", &self.iss.is_some())
            .finish_non_exhaustive()
    }
}

/// Where the browser goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// The flow's own page tells how it ended.
    Flow(AuthorizationId),
    /// No flow of this browser: a general page tells why.
    Refused(Refusal),
}

/// Why a callback has no flow of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No such state.
    Unknown,
    /// The person took too long.
    Expired,
    /// The flow's link was begun anew in another browser, which ended the flow.
    BegunAnew,
    /// Another browser began the flow, or this one signed out.
    OtherBrowser,
}

/// Takes an app's answer at the address with this id. `sessions` are the hashes of this browser's sessions.
pub async fn callback<P: Ports>(
    core: &Core<P>,
    redirect_id: &ClientId,
    returned: Returned,
    sessions: &[String],
) -> Result<Landing> {
    let Some(state) = returned.state.as_deref().filter(|state| state.len() <= 256) else {
        return Ok(Landing::Refused(Refusal::Unknown));
    };
    let Some(flow) = authorizations::by_state(core.db(), &hash(state)).await? else {
        return Ok(Landing::Refused(Refusal::Unknown));
    };
    let now = core.now();
    if was_begun_anew(&flow) {
        return Ok(Landing::Refused(Refusal::BegunAnew));
    }
    if !sessions.iter().any(|session| same(session, &flow.session_hash)) {
        core.log("warn", "flow_in_other_browser", &json!({ "authorization": flow.id.as_str() }));
        return Ok(Landing::Refused(Refusal::OtherBrowser));
    }
    // A reload, or a second navigation: the person sees how the flow ended. What is sent along this time is not looked at.
    if flow.used_at.is_some() {
        return Ok(Landing::Flow(flow.id));
    }
    if now >= flow.expires_at {
        return Ok(Landing::Refused(Refusal::Expired));
    }
    if !authorizations::spend(core.db(), &flow, &flow.session_hash, now).await? {
        // Another visit was quicker, or the flow has just ended.
        return Ok(match authorizations::by_state(core.db(), &hash(state)).await? {
            Some(flow) if flow.used_at.is_some() => Landing::Flow(flow.id),
            Some(flow) if was_begun_anew(&flow) => Landing::Refused(Refusal::BegunAnew),
            _ => Landing::Refused(Refusal::Expired),
        });
    }
    if let Err((outcome, failure)) = take(core, redirect_id, &flow, returned).await? {
        let told = failure.map(Failure::as_str);
        core.log(
            "info",
            "flow_ended",
            &json!({ "authorization": flow.id.as_str(), "outcome": outcome.as_str(), "error": told }),
        );
        write(core, authorizations::end(&flow.id, outcome, told, None)).await?;
        // Its session has ended, so this browser doesn't reach the flow's page.
        if failure == Some(Failure::LinkBegunAnew) {
            return Ok(Landing::Refused(Refusal::BegunAnew));
        }
    }
    Ok(Landing::Flow(flow.id))
}

async fn write<P: Ports>(core: &Core<P>, statement: Statement) -> Result<()> {
    core.db().batch(vec![statement]).await?;
    Ok(())
}

/// How a flow ends without a grant.
type Ended = (Outcome, Option<Failure>);

fn failed(failure: Failure) -> Ended {
    (Outcome::Failed, Some(failure))
}

async fn take<P: Ports>(
    core: &Core<P>,
    redirect_id: &ClientId,
    flow: &Authorization,
    returned: Returned,
) -> Result<std::result::Result<(), Ended>> {
    // Ended while the person was away, as by the deletion of its client: one that is made again is another.
    if flow.outcome != Outcome::Pending {
        return Ok(Err((flow.outcome, flow.error.as_deref().and_then(Failure::parse))));
    }
    // The state says which client a callback is for; the address it came to must be that client's.
    let of_flow = match &flow.client {
        None => None,
        Some(id) => clients::get(core.db(), &flow.workspace, id).await?,
    };
    let Some(client) = of_flow else { return Ok(Err(failed(Failure::ClientRefused))) };
    if client.redirect_id != *redirect_id {
        return Ok(Err(failed(Failure::WrongIssuer)));
    }
    if let Some(problem) = wrong_issuer(flow, returned.iss.as_deref()) {
        return Ok(Err(failed(problem)));
    }
    let definition = registry::at_revision(core, &flow.workspace, &flow.app, flow.app_revision).await?;
    let app = registry::way(&definition, &flow.way)?;
    let code = code_of(&app, &returned);
    if let Some(error) = error_of(&returned, code.is_some()) {
        return Ok(Err(not_consented(&app, error, &returned.others)));
    }
    let Some(code) = code.filter(|code| code.expose().len() <= 8192) else {
        return Ok(Err(failed(Failure::NoCode)));
    };
    let at = match registry::endpoints(core, &app, &flow.variables).await {
        Ok(at) => at,
        Err(error) if error.code == crate::error::Code::AppUnavailable => {
            return Ok(Err(failed(Failure::AppUnavailable)));
        }
        Err(error) => return Err(error),
    };
    let exchanged = match exchange(core, flow, &client, (&app, &at), &code).await? {
        Err(ended) => return Ok(Err(ended)),
        Ok(exchanged) => exchanged,
    };
    // Boxed: few callbacks get here, and all would carry its size.
    let failure = Box::pin(arrived(core, (flow, &client), (&app, &at), &returned.others, exchanged)).await;
    // Bookkeeping comes last: the grant is stored, or given back, whatever becomes of this.
    if let Err(error) = write(core, clients::mark_working(&flow.workspace, &client.id)).await {
        core.log_cause(&error);
    }
    Ok(failure.map_or(Ok(()), |failure| Err(failed(failure))))
}

/// A grant is there, and nowhere but here: each way from here stores it or gives it back. Answers why it was not stored.
async fn arrived<P: Ports>(
    core: &Core<P>,
    (flow, client): (&Authorization, &Client),
    (app, at): (&App, &Resolved),
    others: &BTreeMap<String, String>,
    (tokens, asked_at): (TokenSet, Timestamp),
) -> Option<Failure> {
    let credential = Credential::from_tokens(&tokens);
    let told = told(app, others, &tokens);
    let variables = flow.variables.clone().into_iter().chain(told).collect();
    let reach = |variables: &BTreeMap<String, String>| match &flow.destinations {
        // What was discovered stays as the flow began with it; what the definition says is filled with what is known now.
        Some(frozen) => frozen.and_api_of(&Destinations::of_grant(app, None, variables)),
        None => Destinations::of_grant(app, Some(at), variables),
    };
    let destinations = Rc::new(reach(&variables));
    let asked = Asked {
        app,
        identity: at.identity.as_ref(),
        credential: &credential,
        tokens: Some(&tokens),
        destinations: &destinations,
    };
    let found = match account::find(core, &asked, variables).await {
        Ok(Ok(found)) => found,
        unknown => {
            settle::discard_fresh(core, app, (flow, client), &credential, &destinations).await;
            return Some(match unknown {
                Err(error) => {
                    core.log_cause(&error);
                    Failure::NotStored
                }
                Ok(_) => Failure::AccountUnknown,
            });
        }
    };
    let destinations = reach(&found.variables);
    let redirected = scopes_of_redirect(app, others);
    let grant = grant(flow, app, (credential, &tokens, redirected), (found, destinations), asked_at);
    settle::settle_arrived(core, flow, app, grant, Deciding::Person).await.unwrap_or(Some(Failure::NotStored))
}

/// The code, under the name that the app gives it.
fn code_of(app: &App, returned: &Returned) -> Option<Secret> {
    let code = match app.server().map(|server| server.code_param.as_str()) {
        None | Some("code") => returned.code.clone(),
        Some(name) => returned.others.get(name).map(Secret::new),
    };
    code.filter(|code| !code.is_empty())
}

/// Where apps put the reason of an error beside its name, or in its stead.
const REASONS: &[&str] = &["error_reason", "error_code", "error_subtype", "errorcode", "err"];

/// What stands under these names, whose case does not matter.
fn named<'a>(others: &'a BTreeMap<String, String>, names: &[&str]) -> impl Iterator<Item = &'a str> {
    names
        .iter()
        .flat_map(|name| {
            others.iter().filter(move |(known, text)| known.eq_ignore_ascii_case(name) && !text.is_empty())
        })
        .map(|(_, text)| text.as_str())
}

/// The error that came instead of a code. Without a code, any of its usual names counts.
fn error_of(returned: &Returned, has_code: bool) -> Option<&str> {
    match &returned.error {
        Some(error) => Some(error),
        None if has_code => None,
        None => named(&returned.others, &["error"]).chain(named(&returned.others, REASONS)).next(),
    }
}

/// The scopes that the redirect names, where the definition says that it does.
fn scopes_of_redirect(app: &App, others: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let text = others.get(app.server()?.callback_scope.as_ref()?)?;
    Some(token::scopes_in_redirect(app, text))
}

/// An error instead of a code. What the definition says goes before what is usual: where an administrator must consent,
/// apps answer with names that elsewhere mean that the person did not want to.
fn not_consented(app: &App, error: &str, others: &BTreeMap<String, String>) -> Ended {
    let approval = app.server().and_then(|server| server.approval.as_ref());
    let description = others.get("error_description").map(String::as_str);
    if approval.is_some_and(|approval| approval.is_asked(error, description)) {
        return failed(Failure::ApprovalRequired);
    }
    let reasons = named(others, REASONS);
    let listed = |code: &str| app.errors.denied.iter().any(|known| known.eq_ignore_ascii_case(code));
    if [error].into_iter().chain(reasons).any(|code| listed(code) || is_denial(code)) {
        return (Outcome::Denied, None);
    }
    failed(Failure::RefusedByApp)
}

/// Whether a code says that the person did not allow it: RFC 6749 4.1.2.1, `OpenID` Connect Core 3.1.2.6, and the names that apps
/// have for a person who pressed Cancel (`user_cancelled_login`). A sentence is none.
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
    // Servers use these for their own refusals, too.
    let of_person = |word: &str| ["refused", "rejected", "dismissed"].iter().any(|no| word.ends_with(no));
    let has_person = || words().any(|word| word.starts_with("user"));
    // Somebody else's no is not the person's.
    let others = |word: &str| {
        ["admin", "administrator", "app", "application", "client", "policy", "org", "organization", "server"]
            .contains(&word)
    };
    is_code && (words().any(says_no) || has_person() && words().any(of_person)) && !words().any(others)
}

/// What the app's redirect and its token answer tell of the variables of its addresses.
fn told(app: &App, returned: &BTreeMap<String, String>, tokens: &TokenSet) -> BTreeMap<String, String> {
    let mut told = account::told_by_tokens(app, Some(tokens));
    for (name, variable) in app.variables.iter() {
        if let Origin::Callback(parameter) = &variable.from
            && let Some(Ok(value)) = returned.get(parameter).map(|value| variable.read(value))
        {
            told.insert(name.clone(), value);
        }
    }
    told
}

/// RFC 9207, 2.4: compared as simple strings; absent only where it was not promised. An app of the catalogue is asked at
/// addresses that the program knows, so what it calls itself may be unknown here; for a workspace's own app it must be known.
fn wrong_issuer(flow: &Authorization, iss: Option<&str>) -> Option<Failure> {
    match (iss, &flow.issuer) {
        (Some(iss), Some(issuer)) => (iss != issuer).then_some(Failure::WrongIssuer),
        (Some(_), None) => (flow.app_revision > 0).then_some(Failure::IssuerUnknown),
        (None, _) => flow.iss_promised.then_some(Failure::WrongIssuer),
    }
}

async fn exchange<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    client: &Client,
    (app, at): (&App, &Resolved),
    code: &Secret,
) -> Result<std::result::Result<(TokenSet, Timestamp), Ended>> {
    // The secret may have been entered anew since the flow began: neither it nor the tokens that it gets may go to
    // addresses that the flow has and it was not entered for.
    let has_secret = app.custom && client.sealed_secret.is_some();
    if has_secret && !client_setup::surely_serves(core, client, app).await? {
        return Ok(Err(failed(Failure::AddressesChanged)));
    }
    let keys = match server::client_keys(core, client, (app, at), &at.token_url).await {
        Ok(keys) => keys,
        Err(error) if error.code == crate::error::Code::ClientMissing => {
            core.log_cause(&error);
            let is_of_client = error.hints.client.is_some_and(ClientProblem::is_of_every_connection);
            return Ok(Err(failed(if is_of_client { Failure::ClientRefused } else { Failure::AddressesChanged })));
        }
        Err(error) => return Err(error),
    };
    let verifier = match &flow.sealed_verifier {
        None => None,
        Some(sealed) => Some(
            core.config
                .ring
                .open(&place(&flow.workspace, &flow.id, frozen::PKCE_VERIFIER), sealed)
                .map_err(|_| crate::error::Error::internal("a flow's verifier does not open"))?,
        ),
    };
    let asked_at = core.now();
    let redirect_uri = start::redirect_uri(core, &client.redirect_id);
    let values = Values::new().with_all(&flow.variables);
    let frozen = || Destinations::of_grant(app, Some(at), &flow.variables);
    let destinations = Rc::new(flow.destinations.clone().unwrap_or_else(frozen));
    let parties = Parties { server: app.oauth2()?, at, client: &keys, values: &values, destinations: &destinations };
    let request = token::exchange_request(&parties, code, &redirect_uri, verifier.as_ref());
    let request = request.map_err(|problem| registry::unfilled(app, &problem))?;
    let answer = core.send(request).await;
    if matches!(answer, Err(HttpError::NotPermitted)) {
        return Ok(Err(failed(Failure::AddressesChanged)));
    }
    match token::read_answer(app, &answer, asked_at) {
        Answer::Tokens(tokens) => Ok(Ok((tokens, asked_at))),
        Answer::Ambiguous(odd) => {
            core.log(
                "warn",
                "exchange_failed",
                &json!({ "authorization": flow.id.as_str(), "app": app.id.as_str(), "error": odd.what }),
            );
            if let Some(refresh_token) = odd.refresh_token {
                let credential = Credential::of_refresh_token(refresh_token);
                settle::discard_fresh(core, app, (flow, client), &credential, &destinations).await;
            }
            Ok(Err(failed(Failure::AppUnavailable)))
        }
        Answer::Refused(refusal) => {
            core.log(
                "warn",
                "exchange_refused",
                &json!({ "authorization": flow.id.as_str(), "app": app.id.as_str(), "error": refusal.code }),
            );
            refused(core, client, refusal.class_at_first(), &refusal.code).await.map(Err)
        }
    }
}

async fn refused<P: Ports>(core: &Core<P>, client: &Client, class: Class, code: &str) -> Result<Ended> {
    let failure = match class {
        Class::Client => {
            let now = core.now();
            write(core, clients::mark_misconfigured(client, now, code, now)).await?;
            Failure::ClientRefused
        }
        Class::Transient { .. } => Failure::AppUnavailable,
        Class::Permanent | Class::Configuration | Class::Unknown => Failure::CodeRefused,
    };
    Ok(failed(failure))
}

fn grant(
    flow: &Authorization,
    app: &App,
    (credential, tokens, redirected): (Credential, &TokenSet, Option<Vec<String>>),
    (found, destinations): (account::Found, Destinations),
    asked_at: Timestamp,
) -> Grant {
    let server = app.server();
    let after = |seconds: Option<i64>| seconds.map(|seconds| asked_at.plus(seconds));
    let refreshable = credential.is_refreshable();
    let said = tokens.scopes.clone().or(redirected).or(found.granted);
    let named = said.unwrap_or_else(|| flow.scopes.clone());
    Grant {
        account: found.account,
        requested: flow.scopes.clone(),
        granted: app.granted(&named, &flow.scopes),
        expires_at: credential.expires_at(),
        refresh_expires_at: tokens.refresh_expires_at,
        refresh_idle_until: after(server.and_then(|server| server.refresh_token_idle)).filter(|_| refreshable),
        grant_expires_at: after(server.and_then(|server| server.grant_lifetime)),
        variables: found.variables,
        destinations: Some(destinations),
        obtained_at: asked_at,
        refreshable,
        name: None,
        metadata: BTreeMap::new(),
        actor: None,
        proven: true,
        imported: false,
        credential,
    }
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, Returned, Secret};

    #[test]
    fn what_an_app_sent_shows_nothing_secret_in_debug_output() {
        let said = || Some("hunter2".to_owned());
        let returned = Returned {
            state: said(),
            code: Some(Secret::new("hunter2")),
            error: said(),
            iss: None,
            others: BTreeMap::from([("realm".to_owned(), "hunter2".to_owned())]),
        };
        assert_eq!(format!("{returned:?}"), "Returned { state: true, code: true, error: true, iss: false, .. }");
    }
}
