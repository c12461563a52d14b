//! The way back from the app. Reads as a list of early returns in the order the protocol demands.
//!
//! Owns every check of the answer. Nothing is asked of the app's token endpoint before the state was
//! found, the browser proved to be the one that began the flow, the client and the issuer fit, and
//! the state was spent.

use std::collections::BTreeMap;

use serde_json::json;

use crate::app::{App, Origin, Resolved, Values};
use crate::caller::{hash, same};
use crate::client::Client;
use crate::core::Core;
use crate::credential::Credential;
use crate::error::Result;
use crate::ids::{AuthorizationId, ClientId};
use crate::ports::{Database, Http, Ports, Statement};
use crate::registry;
use crate::secret::Secret;
use crate::server;
use crate::store::authorizations::{self, Authorization, Outcome};
use crate::store::clients;
use crate::time::Timestamp;
use crate::token::{self, Answer, Class, Parties, TokenSet};

use super::account::{self, Asked};
use super::settle::{self, Deciding, Grant};
use super::{Failure, place, start};

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
    /// The state was spent before.
    AlreadyUsed,
    /// Another browser began the flow, or this one signed out.
    OtherBrowser,
}

/// Takes an app's answer. `sessions` are the hashes of this browser's sessions.
pub async fn callback<P: Ports>(
    core: &Core<P>,
    client: &ClientId,
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
    if !sessions.iter().any(|session| same(session, &flow.session_hash)) {
        core.log("warn", "flow_in_other_browser", &json!({ "authorization": flow.id.as_str() }));
        return Ok(Landing::Refused(Refusal::OtherBrowser));
    }
    if flow.used_at.is_some() {
        return Ok(Landing::Refused(Refusal::AlreadyUsed));
    }
    if now >= flow.expires_at {
        return Ok(Landing::Refused(Refusal::Expired));
    }
    if !authorizations::spend(core.db(), &flow, &flow.session_hash, now).await? {
        return Ok(Landing::Refused(Refusal::AlreadyUsed));
    }
    if let Err((outcome, failure)) = take(core, client, &flow, returned).await? {
        let told = failure.map(Failure::as_str);
        core.log(
            "info",
            "flow_ended",
            &json!({ "authorization": flow.id.as_str(), "outcome": outcome.as_str(), "error": told }),
        );
        write(core, authorizations::end(&flow.id, outcome, told, None)).await?;
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
    client: &ClientId,
    flow: &Authorization,
    returned: Returned,
) -> Result<std::result::Result<(), Ended>> {
    if flow.client.as_ref() != Some(client) || !is_issuer(flow, returned.iss.as_deref()) {
        return Ok(Err(failed(Failure::WrongIssuer)));
    }
    let definition = registry::at_revision(core, &flow.workspace, &flow.app, flow.app_revision).await?;
    let app = registry::way(&definition, &flow.way)?;
    if let Some(error) = returned.error.as_deref() {
        return Ok(Err(not_consented(&app, error, returned.others.get("error_description").map(String::as_str))));
    }
    let Some(code) = returned.code.filter(|code| !code.is_empty() && code.expose().len() <= 8192) else {
        return Ok(Err(failed(Failure::NoCode)));
    };
    let at = match registry::endpoints(core, &app, &flow.variables).await {
        Ok(at) => at,
        Err(error) if error.code == crate::error::Code::AppUnavailable => {
            return Ok(Err(failed(Failure::AppUnavailable)));
        }
        Err(error) => return Err(error),
    };
    let (tokens, asked_at) = match exchange(core, flow, client, (&app, &at), &code).await? {
        Err(ended) => return Ok(Err(ended)),
        Ok(exchanged) => exchanged,
    };
    let credential = Credential::from_tokens(&tokens);
    let told = told(&app, &returned.others, &tokens);
    let variables = flow.variables.clone().into_iter().chain(told).collect();
    let asked = Asked { app: &app, identity: at.identity.as_ref(), credential: &credential, tokens: Some(&tokens) };
    let Ok(found) = account::find(core, &asked, variables).await? else {
        return Ok(Err(failed(Failure::AccountUnknown)));
    };
    let grant = grant(flow, &app, (credential, &tokens), found, asked_at);
    let failure = settle::settle(core, flow, &app, grant, Deciding::Person).await?;
    Ok(failure.map_or(Ok(()), |failure| Err(failed(failure))))
}

/// An error instead of a code. What the definition says goes before what is usual: where an administrator must consent,
/// apps answer with names that elsewhere mean that the person did not want to.
fn not_consented(app: &App, error: &str, description: Option<&str>) -> Ended {
    let approval = app.server().and_then(|server| server.approval.as_ref());
    if approval.is_some_and(|approval| approval.is_asked(error, description)) {
        return failed(Failure::ApprovalRequired);
    }
    match error {
        "access_denied" | "user_denied" | "consent_required" | "interaction_required" | "login_required" => {
            (Outcome::Denied, None)
        }
        _ => failed(Failure::RefusedByApp),
    }
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

/// RFC 9207, 2.4: compared as simple strings; absent only where it was not promised.
fn is_issuer(flow: &Authorization, iss: Option<&str>) -> bool {
    match (iss, &flow.issuer) {
        (Some(iss), Some(issuer)) => iss == issuer,
        (Some(_), None) => true,
        (None, _) => !flow.iss_promised,
    }
}

async fn exchange<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    client: &ClientId,
    (app, at): (&App, &Resolved),
    code: &Secret,
) -> Result<std::result::Result<(TokenSet, Timestamp), Ended>> {
    let Some(client) = clients::get(core.db(), &flow.workspace, client).await? else {
        return Ok(Err(failed(Failure::ClientRefused)));
    };
    let keys = server::client_keys(core, &client, (app, at), &flow.variables).await?;
    let verifier = match &flow.sealed_verifier {
        None => None,
        Some(sealed) => Some(
            core.config
                .ring
                .open(&place(&flow.workspace, &flow.id, "sealed_verifier"), sealed)
                .map_err(|_| crate::error::Error::internal("a flow's verifier does not open"))?,
        ),
    };
    let asked_at = core.now();
    let redirect_uri = start::redirect_uri(core, &client.id);
    let values = Values::new().with_all(&flow.variables);
    let parties = Parties { server: app.oauth2()?, at, client: &keys, values: &values };
    let request = token::exchange_request(&parties, code, &redirect_uri, verifier.as_ref());
    let request = request.map_err(|problem| registry::unfilled(app, &problem))?;
    let answer = core.ports.http().send(request).await;
    match token::read_answer(app, &answer, asked_at) {
        Answer::Tokens(tokens) => {
            write(core, clients::mark_working(&flow.workspace, &client.id)).await?;
            Ok(Ok((tokens, asked_at)))
        }
        Answer::Ambiguous(odd) => {
            core.log(
                "warn",
                "exchange_failed",
                &json!({ "authorization": flow.id.as_str(), "app": app.id.as_str(), "error": odd.what }),
            );
            Ok(Err(failed(Failure::AppUnavailable)))
        }
        Answer::Refused(refusal) => {
            core.log(
                "warn",
                "exchange_refused",
                &json!({ "authorization": flow.id.as_str(), "app": app.id.as_str(), "error": refusal.code }),
            );
            refused(core, &client, refusal.class_at_first(), &refusal.code).await.map(Err)
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
    (credential, tokens): (Credential, &TokenSet),
    found: account::Found,
    asked_at: Timestamp,
) -> Grant {
    let server = app.server();
    let after = |seconds: Option<i64>| seconds.map(|seconds| asked_at.plus(seconds));
    let refreshable = credential.is_refreshable();
    Grant {
        account: found.account,
        requested: flow.scopes.clone(),
        granted: app
            .granted(&tokens.scopes.clone().or(found.granted).unwrap_or_else(|| flow.scopes.clone()), &flow.scopes),
        expires_at: credential.expires_at(),
        refresh_expires_at: tokens.refresh_expires_at,
        refresh_idle_until: after(server.and_then(|server| server.refresh_token_idle)).filter(|_| refreshable),
        grant_expires_at: after(server.and_then(|server| server.grant_lifetime)),
        variables: found.variables,
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
