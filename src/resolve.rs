//! Resolve: a credential is handed out, or a refusal that says exactly what to do.
//!
//! Owns the hot path: one round trip to the record before the answer, no write, no cache, no object.
//! What is left to do afterwards (note the use, copy to the cache, refresh early) is returned as data.
//! Refuses to refresh by itself: that is the refresher's.

pub mod afterwards;
mod ask;
pub mod cached;
mod freshness;
mod issued;
pub mod removal;

use serde::Serialize;

use crate::app::Kind;
use crate::authorize;
use crate::caller::PresentedKey;
use crate::client::ClientProblem;
use crate::connection::{Account, Connection, FAILURES, LEAST_USEFUL, Reason, Refused, Status};
use crate::core::Core;
use crate::credential::{Credential, Token};
use crate::error::{ActualConnection, Code, Error, Result};
use crate::ids::ConnectionId;
use crate::ports::{DatabaseError, Errand, ErrandOutcome, Ports, Refresher};
use crate::registry;
use crate::store::clients;
use crate::store::connections::{self, ForResolve};
use crate::store::uses;
use crate::time::Timestamp;
use crate::token::DESTINATION_CHANGED;

pub use afterwards::After;
pub use ask::{Ask, Consistency, Expect};
pub use issued::{Issued, IssuedCredential, IssuedToken};

use freshness::Verdict;

/// The reason of a connection whose client the app refuses, when another client has taken its place.
const CLIENT_REPLACED: &str = "client_replaced";

/// How near its end a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Freshness {
    /// Far from its end.
    Fresh,
    /// Valid, but near its end, or the refresh failed.
    Stale,
    /// This call waited for a refresh.
    Refreshed,
}

/// Where the answer was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Source {
    /// The database.
    Database,
    /// The copy near the caller.
    Cache,
}

/// A credential on its way to a caller.
pub struct Resolved {
    /// The connection's id.
    pub id: ConnectionId,
    /// Its app's id.
    pub app: String,
    /// Its name.
    pub name: String,
    /// Its account.
    pub account: Option<Account>,
    /// The credential and how requests carry it.
    pub issued: Issued,
    /// How near its end the token is.
    pub freshness: Freshness,
    /// Where it was read.
    pub source: Source,
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resolved({}, {:?}, {:?})", self.id, self.freshness, self.source)
    }
}

/// An answer and what is to be done after it.
#[derive(Debug)]
pub struct Answered {
    /// The credential.
    pub resolved: Resolved,
    /// To be done after the answer was sent.
    pub after: Vec<After>,
}

/// Hands out a credential. The request's body is judged after key and connection, so that a stranger
/// learns nothing from it.
pub async fn resolve<P: Ports>(
    core: &Core<P>,
    presented: &PresentedKey,
    id: &ConnectionId,
    ask: Result<Ask>,
) -> Result<Answered> {
    let consistency = ask.as_ref().map_or(Consistency::Strong, |ask| ask.consistency);
    if consistency == Consistency::Edge
        && let Ok(ask) = &ask
        && let Some(answered) = cached::resolve(core, presented, id, ask).await?
    {
        return Ok(answered);
    }
    let (workflow, step) = ask.as_ref().map_or(("", ""), Ask::place);
    match connections::for_resolve(core.db(), &presented.id, id, workflow, step).await {
        Ok(read) => from_record(core, presented, read, ask).await,
        Err(error @ (DatabaseError::Unavailable(_) | DatabaseError::NotMigrated(_)))
            if consistency != Consistency::Strong =>
        {
            let found = match &ask {
                Ok(ask) => cached::resolve(core, presented, id, ask).await?,
                Err(_) => None,
            };
            found.ok_or_else(|| error.into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn from_record<P: Ports>(
    core: &Core<P>,
    presented: &PresentedKey,
    read: ForResolve,
    ask: Result<Ask>,
) -> Result<Answered> {
    let now = core.now();
    let key = read.key.filter(|key| presented.is(key, now)).ok_or_else(unauthorized)?;
    let connection = authorize::resolve(&key, read.connection)?;
    let ask = ask?;
    let definition = registry::definition(core, &connection.app, connection.app_revision, read.definition.as_deref())?;
    let mut app = registry::way(&definition, &connection.way)?;
    let made_by = (connection.app_revision, connection.way.clone());
    allow(core, &Policy::of(&connection), &ask)?;
    let mut handed = hand_out(core, connection, &ask).await?;
    if (handed.connection.app_revision, &handed.connection.way) != (made_by.0, &made_by.1) {
        app = registry::of_connection(core, &handed.connection).await?;
    }
    let mut after = std::mem::take(&mut handed.after);
    if read.used_at.is_none_or(|at| now.since(at) > uses::INTERVAL) && handed.is_use_worth_noting(&ask, now) {
        after.push(After::use_of(&handed.connection, &ask));
    }
    let Handed { connection, credential, freshness, .. } = handed;
    let issued = Issued::of(&app, &connection, &credential).map_err(|problem| registry::unfilled(&app, &problem))?;
    // A token that is being replaced is not worth a copy.
    if ask.consistency != Consistency::Strong && freshness != Freshness::Stale {
        after.push(After::copy(&connection, &issued, &key));
    }
    Ok(Answered { resolved: answer(&connection, issued, freshness), after })
}

/// Nothing in the refusal tells an unknown key from a wrong or ended one.
pub fn unauthorized() -> Error {
    Error::new(
        Code::Unauthorized,
        "Send a valid API key as `Authorization: Bearer cx_…`. This one is missing, wrong, revoked or expired.",
    )
}

struct Handed {
    connection: Connection,
    credential: Credential,
    freshness: Freshness,
    after: Vec<After>,
}

impl Handed {
    /// A caller that names no workflow is noted on the connection only, at the same pace.
    fn is_use_worth_noting(&self, ask: &Ask, now: Timestamp) -> bool {
        ask.workflow.is_some() || self.connection.last_used_at.is_none_or(|at| now.since(at) > uses::INTERVAL)
    }
}

/// A usable credential from the record; waits for a refresh where the caller needs one.
async fn hand_out<P: Ports>(core: &Core<P>, connection: Connection, ask: &Ask) -> Result<Handed> {
    let now = core.now();
    match freshness::judge(&connection, ask, now) {
        Verdict::Fresh => handed(core, connection, Freshness::Fresh, vec![]),
        Verdict::NearEnd { refresh } => {
            let after = if refresh { vec![After::Refresh(connection.id.clone())] } else { vec![] };
            handed(core, connection, Freshness::Stale, after)
        }
        Verdict::Ended => Err(needs_reconnect(core, &connection.id, Reason::RefreshTokenMissing)),
        Verdict::Refresh(errand) => refreshed(core, connection, ask, errand).await,
    }
}

async fn refreshed<P: Ports>(core: &Core<P>, before: Connection, ask: &Ask, errand: Errand) -> Result<Handed> {
    let outcome = core.ports.refresher().run(&before.id, errand).await;
    let connection = match connections::get(core.db(), &before.workspace, &before.id).await {
        Ok(Some(connection)) => connection,
        Ok(None) => return Err(Error::connection_not_found()),
        // What was read before is not what was refreshed: at some apps it is dead by now.
        Err(error) if matches!(outcome, ErrandOutcome::Refreshed | ErrandOutcome::Satisfied) => {
            return Err(error.into());
        }
        Err(_) => before,
    };
    // Whatever happened while this call waited: the policy of the row that answers holds.
    allow(core, &Policy::of(&connection), ask)?;
    let now = core.now();
    if freshness::is_renewed(&connection, &outcome, now) {
        return handed(core, connection, Freshness::Refreshed, vec![]);
    }
    if freshness::is_still_useful(&connection, now) {
        return handed(core, connection, Freshness::Stale, vec![]);
    }
    let refusal = of_outcome(core, &connection, &outcome).await;
    let Ok(handed) = handed(core, connection, Freshness::Stale, vec![]) else { return Err(refusal) };
    without_what_ended(handed, &outcome, now).ok_or(refusal)
}

/// Of several tokens a further one may have ended while the first, which requests carry, lives: that one is handed out,
/// without what has ended.
fn without_what_ended(mut handed: Handed, outcome: &ErrandOutcome, now: Timestamp) -> Option<Handed> {
    let lives = |token: &Token| token.expires_at.is_none_or(|end| end.since(now) >= LEAST_USEFUL);
    let first_lives = handed.credential.token.as_ref().is_some_and(lives);
    if handed.credential.others.is_empty() || !first_lives {
        return None;
    }
    handed.credential.others.retain(|_, token| lives(token));
    if *outcome == ErrandOutcome::Refreshed {
        handed.freshness = Freshness::Refreshed;
    }
    Some(handed)
}

fn handed<P: Ports>(core: &Core<P>, connection: Connection, freshness: Freshness, after: Vec<After>) -> Result<Handed> {
    let unreadable = || needs_reconnect(core, &connection.id, Reason::Unreadable);
    let credential = connection.credential(&core.config.ring).ok_or_else(unreadable)?;
    Ok(Handed { connection, credential, freshness, after })
}

/// What a failed refresh means when nothing usable is left.
async fn of_outcome<P: Ports>(core: &Core<P>, connection: &Connection, outcome: &ErrandOutcome) -> Error {
    let later = |code, detail: &str, seconds| Error::new(code, detail).hint(|h| h.retry_after = Some(seconds));
    match outcome {
        ErrandOutcome::Dead => needs_reconnect(core, &connection.id, connection.reason.unwrap_or(Reason::Revoked)),
        ErrandOutcome::Unreadable => needs_reconnect(core, &connection.id, Reason::Unreadable),
        ErrandOutcome::Gone => {
            later(Code::RefreshInProgress, "The connection changed while it was refreshed. Try again shortly.", 1)
        }
        ErrandOutcome::ClientMisconfigured => of_client(core, connection).await,
        ErrandOutcome::InProgress { retry_after } => later(
            Code::RefreshInProgress,
            "A refresh of this connection is under way and no valid token is left. Try again shortly.",
            *retry_after,
        ),
        ErrandOutcome::DatabaseDown => DatabaseError::Unavailable("during a refresh".into()).into(),
        ErrandOutcome::Unavailable { retry_after } => match &connection.refused {
            Some(refused) => of_refusal(core, connection, refused, *retry_after),
            None => of_silence(core, connection, *retry_after),
        },
        ErrandOutcome::Unusable if connection.last_error.as_deref() == Some(DESTINATION_CHANGED) => Error::new(
            Code::NeedsReconnect,
            "The app's addresses have changed since this connection was made, and its credential is not sent to other addresses than it was given for. A person must reconnect it at reconnect_url and look at the hosts named there.",
        )
        .hint(|h| {
            h.reason = Some(DESTINATION_CHANGED.to_owned());
            h.reconnect_url = Some(reconnect_url(core, &connection.id, &[]));
        }),
        ErrandOutcome::Unusable => {
            let text = "The app refuses to renew this connection as it is configured (its scopes or the client's grant types). Check the client at the app, or reconnect at reconnect_url.";
            refused(core, connection, later(Code::AppUnavailable, text, 60))
        }
        ErrandOutcome::Refreshed | ErrandOutcome::Satisfied | ErrandOutcome::Healthy | ErrandOutcome::Unknown => {
            later(Code::AppUnavailable, "The app gave a token that ends at once. Try again shortly.", 5)
        }
    }
}

/// The app says no to the client. That one may be the connection's own by now: it stays with the client it was made with.
async fn of_client<P: Ports>(core: &Core<P>, connection: &Connection) -> Error {
    let client = match &connection.client {
        None => None,
        // Whether it was replaced only makes the answer better: without a database there is the usual one.
        Some(id) => clients::get(core.db(), &connection.workspace, id).await.ok().flatten(),
    };
    let code = client.as_ref().and_then(|client| client.misconfigured.as_ref()).map(|(_, code)| code.clone());
    let of_client = || code.as_deref().and_then(ClientProblem::parse);
    let problem = connection.client_problem().or_else(of_client);
    let at = || Some(reconnect_url(core, &connection.id, &[]));
    if client.is_some_and(|client| !client.current) {
        return Error::new(
            Code::NeedsReconnect,
            "The app refuses the OAuth client that this connection was made with, and another client has taken its place. A person must reconnect it at reconnect_url; workflows need no change.",
        )
        .hint(|h| (h.reason, h.reconnect_url, h.app_error) = (Some(CLIENT_REPLACED.to_owned()), at(), code));
    }
    if let Some(problem) = problem {
        // The app was not asked.
        let detail = format!("No new token can be had. {}", problem.explained());
        return Error::new(Code::ClientMisconfigured, detail)
            .hint(|h| h.reconnect_url = at().filter(|_| problem == ClientProblem::AddressesChanged));
    }
    Error::new(
        Code::ClientMisconfigured,
        "The app refuses this workspace's OAuth client, so no new token can be had. Check the client's id and secret (PUT /v1/apps/{app}/client); the connection itself needs no repair.",
    )
    .hint(|h| h.app_error = code)
}

/// The app answers, and says no by a code that does not end the connection.
fn of_refusal<P: Ports>(core: &Core<P>, connection: &Connection, by: &Refused, retry_after: i64) -> Error {
    let code = by.told_code();
    let detail = format!(
        "The app has refused to renew this connection since {}, and no valid token is left. {code} It is asked again; if that does not help, a person must reconnect it at reconnect_url.",
        by.since.rfc3339()
    );
    refused(core, connection, Error::new(Code::AppUnavailable, detail).hint(|h| h.retry_after = Some(retry_after)))
}

/// Nothing came of asking the app. The first failures of an app pass by themselves.
fn of_silence<P: Ports>(core: &Core<P>, connection: &Connection, retry_after: i64) -> Error {
    if connection.failures == 0 {
        // What the app would say of this connection is not known.
        let detail = "No valid token is left, and the app is not asked for one now, because it failed for other connections of the same OAuth client. Try again later.";
        return Error::new(Code::AppUnavailable, detail).hint(|h| h.retry_after = Some(retry_after));
    }
    let passes = matches!(
        connection.last_error.as_deref(),
        None | Some(
            "timeout"
                | "network_error"
                | "server_error"
                | "too_many_requests"
                | "slow_down"
                | "temporarily_unavailable"
        )
    );
    if passes && connection.failures < FAILURES {
        let detail =
            "The app did not renew the token and no valid one is left. Try again later; nothing has to be repaired.";
        return Error::new(Code::AppUnavailable, detail).hint(|h| h.retry_after = Some(retry_after));
    }
    let detail = format!(
        "The app did not renew the token and no valid one is left. Attempts that failed: {}; the last ended with {}. It is asked again. If this lasts, look at the app's status and at the addresses of its definition, or reconnect at reconnect_url.",
        connection.failures,
        connection.last_error.as_deref().unwrap_or("no answer")
    );
    Error::new(Code::AppUnavailable, detail).hint(|h| {
        h.retry_after = Some(retry_after);
        h.reconnect_url = Some(reconnect_url(core, &connection.id, &[]));
    })
}

/// A refusal of the app with what is known of it and the way out.
fn refused<P: Ports>(core: &Core<P>, connection: &Connection, error: Error) -> Error {
    error.hint(|h| {
        h.reconnect_url = Some(reconnect_url(core, &connection.id, &[]));
        if let Some(refused) = &connection.refused {
            h.app_error.clone_from(&refused.code);
            h.app_refuses_since = Some(refused.since);
        }
    })
}

fn answer(connection: &Connection, issued: Issued, freshness: Freshness) -> Resolved {
    Resolved {
        id: connection.id.clone(),
        app: connection.app.as_str().to_owned(),
        name: connection.name.clone(),
        account: connection.account.clone(),
        issued,
        freshness,
        source: Source::Database,
    }
}

/// What decides whether a caller may have this connection: read from the record or from the copy.
pub(crate) struct Policy<'a> {
    id: &'a ConnectionId,
    app: &'a str,
    account: Option<&'a Account>,
    status: Status,
    reason: Option<Reason>,
    allowed_workflows: Option<&'a [String]>,
    /// What the app granted; `None` where nobody can tell what a key may do.
    granted: Option<&'a [String]>,
}

/// What a key may do is its owner's to know, unless the app says it. Everything else was asked for and granted.
fn told(kind: Kind, granted: &[String]) -> Option<&[String]> {
    (kind.has_tokens() || !granted.is_empty()).then_some(granted)
}

impl<'a> Policy<'a> {
    fn of(connection: &'a Connection) -> Self {
        Self {
            id: &connection.id,
            app: connection.app.as_str(),
            account: connection.account.as_ref(),
            status: connection.status,
            reason: connection.reason,
            allowed_workflows: connection.allowed_workflows.as_deref(),
            granted: told(connection.kind, &connection.scopes_granted),
        }
    }
}

fn allow<P: Ports>(core: &Core<P>, policy: &Policy<'_>, ask: &Ask) -> Result<()> {
    if let Some(allowed) = policy.allowed_workflows
        && !ask.workflow.as_ref().is_some_and(|workflow| allowed.contains(workflow))
    {
        return Err(Error::new(
            Code::WorkflowNotAllowed,
            "This connection may be used only by the workflows on its list. Add this workflow to allowed_workflows, or name the workflow in the request.",
        ));
    }
    expected(policy, ask)?;
    usable(core, policy.id, policy.status, policy.reason)?;
    let lacks = |scope: &&String| policy.granted.is_some_and(|granted| !granted.contains(scope));
    let missing: Vec<String> = ask.scopes.iter().filter(lacks).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let detail =
        format!("The app did not grant: {}. Reconnect at reconnect_url and allow it there.", missing.join(" "));
    Err(Error::new(Code::MissingScopes, detail).hint(|h| {
        h.reconnect_url = Some(reconnect_url(core, policy.id, &missing));
        h.missing_scopes = missing;
    }))
}

fn expected(policy: &Policy<'_>, ask: &Ask) -> Result<()> {
    let expect = &ask.expect;
    let holds = expect.app.as_ref().is_none_or(|app| app.as_str() == policy.app)
        && expect.account.as_ref().is_none_or(|id| policy.account.is_some_and(|account| &account.id == id))
        && expect.connection.as_ref().is_none_or(|id| id == policy.id);
    if holds {
        return Ok(());
    }
    let label = policy.account.map(|account| account.label.clone());
    let detail = format!(
        "This step expects another connection. The one it points to is of {}, account {}. Select the right connection, or change what the step expects.",
        policy.app,
        label.as_deref().unwrap_or("unknown")
    );
    let actual = ActualConnection { connection: policy.id.clone(), app: policy.app.to_owned(), account: label };
    Err(Error::new(Code::UnexpectedConnection, detail).hint(|h| h.actual = Some(actual)))
}

fn usable<P: Ports>(core: &Core<P>, id: &ConnectionId, status: Status, reason: Option<Reason>) -> Result<()> {
    match status {
        Status::Connected => Ok(()),
        Status::AwaitingConfirmation => Err(Error::new(
            Code::AwaitingConfirmation,
            "This connection was made through a link, and the product that made the link has not confirmed the person yet (POST /v1/links/{id}/confirm).",
        )),
        Status::NeedsReconnect => Err(needs_reconnect(core, id, reason.unwrap_or(Reason::CredentialRejected))),
    }
}

fn needs_reconnect<P: Ports>(core: &Core<P>, id: &ConnectionId, reason: Reason) -> Error {
    let detail =
        format!("{} A person must reconnect it at reconnect_url; workflows need no change.", reason.explained());
    Error::new(Code::NeedsReconnect, detail).hint(|h| {
        h.reason = Some(reason.as_str().to_owned());
        h.reconnect_url = Some(reconnect_url(core, id, &[]));
    })
}

/// Where a signed-in person repairs a connection. Grants nothing by itself.
pub fn reconnect_url<P: Ports>(core: &Core<P>, id: &ConnectionId, scopes: &[String]) -> String {
    let url = core.config.public_url.at(&format!("/connections/{id}/reconnect"));
    if scopes.is_empty() {
        return url;
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("scopes", &scopes.join(" ")).finish();
    format!("{url}?{query}")
}
