//! How a flow ends, in a person's browser: a question, what was connected, why nothing was, and where to go on.
//!
//! Owns what the page of a flow says. Only the browser that began a flow reaches it. Refuses to decide: that is
//! [`settle`]'s, by the button that was pressed.

use super::ask;
use super::page;
use super::session::{self, shell};
use super::{Call, LEADS_OUT, Response, input};
use crate::app::App;
use crate::connect::Failure;
use crate::connect::settle::{self, Choice};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::AuthorizationId;
use crate::ports::Ports;
use crate::registry;
use crate::store::authorizations::{self, Authorization, Outcome, Question};
use crate::store::links::{self, Link, LinkStatus};
use crate::store::{clients, connections};

/// Seconds within which an app's answer is taken, or never: no request lives longer.
const TAKING_TIME: i64 = 60;
/// Seconds after which the page of a flow whose answer is being taken loads itself again.
const LOOK_AGAIN: i64 = 2;

pub(super) async fn flow<P: Ports>(core: &Core<P>, sessions: &[String], id: &AuthorizationId) -> Result<Authorization> {
    authorizations::get(core.db(), id, sessions).await?.ok_or_else(|| Error::not_found("flow of this browser"))
}

pub(super) fn flow_id(call: &Call<'_>) -> Result<AuthorizationId> {
    AuthorizationId::parse(call.param(0)).ok_or_else(|| Error::not_found("flow of this browser"))
}

pub(super) async fn show_flow<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let sessions = session::hashes(core, call.request).await?;
    let flow = flow(core, &sessions, &flow_id(call)?).await?;
    // Whoever came here while the app's answer was still being taken is led on like the first visit.
    if let Some(url) = destination(&flow) {
        return Ok(Response::see_other(&url));
    }
    let definition = registry::at_revision(core, &flow.workspace, &flow.app, flow.app_revision).await?;
    let app = registry::way(&definition, &flow.way)?;
    let csrf = session::form_token(core, call.request);
    let shell = shell(call.session.as_ref(), csrf.as_deref());
    let question = flow.pending.as_ref().and_then(|pending| pending.question.as_ref());
    match (flow.outcome, question) {
        (Outcome::Undecided, Some(question)) if core.now() < flow.expires_at => {
            let view = choosing(core, &flow, question, &app).await?;
            Ok(Response::html(200, page::choose(&shell, &view)).with(LEADS_OUT, String::new()))
        }
        (Outcome::Pending, _) if flow.used_at.is_some_and(|used| core.now().since(used) < TAKING_TIME) => {
            let page = Response::html(200, page::message(&shell, &being_taken(&flow, &app)));
            Ok(page.with("refresh", LOOK_AGAIN.to_string()))
        }
        _ => {
            let granted = granted(core, &flow).await?;
            let repeatable = flow.link.is_none() || open_link(core, &flow).await?.is_some();
            let message = ending(&flow, &app, &granted, repeatable);
            let message = with_approval(core, &flow, &app, message).await?;
            Ok(Response::html(200, page::message(&shell, &message)))
        }
    }
}

/// The page while the app's answer is being taken, by the visit that came first.
fn being_taken(flow: &Authorization, app: &App) -> page::Message {
    page::Message {
        title: "Almost done".to_owned(),
        text: format!(
            "{} has answered, and the answer is being checked. This page goes on by itself in a few seconds.",
            app.name
        ),
        tone: page::Tone::Waiting,
        links: vec![("Look again".to_owned(), format!("/flows/{}", flow.id))],
    }
}

async fn choosing<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    question: &Question,
    app: &App,
) -> Result<page::ChooseView> {
    let now = flow.pending.as_ref().and_then(|pending| pending.account.as_ref()).map(|account| account.label.clone());
    let question = match question {
        Question::OtherAccount { before } => {
            let name = match &flow.connection {
                None => None,
                Some(id) => connections::get(core.db(), &flow.workspace, id).await?.map(|connection| connection.name),
            };
            page::Choosing::OtherAccount {
                before: before.as_ref().map(|account| account.label.clone()),
                now,
                name: name.unwrap_or_else(|| app.name.clone()),
            }
        }
        Question::Duplicate { name, .. } => {
            page::Choosing::Duplicate { account: now.unwrap_or_default(), existing_name: name.clone() }
        }
    };
    let note = match question {
        page::Choosing::Duplicate { .. } => duplicate_note(core, flow, app).await?,
        page::Choosing::OtherAccount { .. } => None,
    };
    Ok(page::ChooseView {
        app_name: app.name.clone(),
        action: format!("/flows/{}", flow.id),
        question,
        pasted: app.kind.is_pasted(),
        note,
    })
}

/// What speaks against a second connection to the account: that the two disturb each other, or the app's limit.
async fn duplicate_note<P: Ports>(core: &Core<P>, flow: &Authorization, app: &App) -> Result<Option<String>> {
    let account = flow.pending.as_ref().and_then(|waiting| waiting.account.as_ref());
    let limit = match (&flow.client, account) {
        (Some(client), Some(account)) => ask::of_limit(core, &flow.workspace, app, (client, &account.id)).await?,
        _ => None,
    };
    let said: Vec<String> = app.limits.one_per_account.iter().cloned().chain(limit).collect();
    Ok((!said.is_empty()).then(|| said.join(" ")))
}

/// What a flow connected, for whoever has no page of the connection: the wrong account, and what is missing, are seen at once.
#[derive(Default)]
struct Granted {
    /// The account's label.
    account: Option<String>,
    /// What was asked for and not granted.
    missing: Vec<String>,
}

async fn granted<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<Granted> {
    if let (Outcome::AwaitingConfirmation, Some(waiting)) = (flow.outcome, &flow.pending) {
        return Ok(Granted {
            account: waiting.account.as_ref().map(|account| account.label.clone()),
            missing: waiting
                .requested
                .as_ref()
                .unwrap_or(&flow.scopes)
                .iter()
                .filter(|scope| !waiting.granted.contains(scope))
                .cloned()
                .collect(),
        });
    }
    let Some(id) = &flow.connection else { return Ok(Granted::default()) };
    let connection = connections::get(core.db(), &flow.workspace, id).await?;
    Ok(connection.map_or_else(Granted::default, |connection| Granted {
        missing: connection.missing_scopes(),
        account: connection.account.map(|account| account.label),
    }))
}

impl Granted {
    fn told(&self, app: &App) -> String {
        match &self.account {
            Some(account) => format!("{} is connected as {account}.", app.name),
            None => format!("{} is connected.", app.name),
        }
    }

    /// What is missing, as a paragraph of its own.
    fn lack(&self, app: &App) -> String {
        if self.missing.is_empty() {
            return String::new();
        }
        let known = |id: &String| app.scopes.iter().find(|scope| scope.id == *id)?.description.clone();
        let named = |id: &String| known(id).map_or_else(|| id.clone(), |what| format!("{what} ({id})"));
        let missing: Vec<_> = self.missing.iter().map(named).collect();
        format!(
            "\n\nThese permissions were not granted: {}. Steps that need them will fail. Tell whoever sent you the link.",
            missing.join("; ")
        )
    }

    fn tone(&self) -> page::Tone {
        if self.missing.is_empty() { page::Tone::Good } else { page::Tone::Waiting }
    }
}

/// How a flow ended, in words. A link may have ended in the meantime: then it can't be repeated.
fn ending(flow: &Authorization, app: &App, granted: &Granted, repeatable: bool) -> page::Message {
    let (connected, lack, name) = (granted.told(app), granted.lack(app), &app.name);
    let (title, mut text, tone) = match flow.outcome {
        Outcome::Done => ("Connected", format!("{connected}{lack}\n\nYou can close this page."), granted.tone()),
        Outcome::AwaitingConfirmation => (
            "Almost done",
            format!("{connected}{lack}\n\nGo back to where you came from to finish."),
            page::Tone::Waiting,
        ),
        Outcome::Denied => (
            "Not connected",
            format!("You did not allow access at {name}, so nothing was stored."),
            page::Tone::Waiting,
        ),
        Outcome::Discarded => (
            "Left as it was",
            "The connection keeps its account; the new permission was discarded.".to_owned(),
            page::Tone::Good,
        ),
        Outcome::Pending if flow.used_at.is_some() => (
            "Not finished",
            format!("The answer of {name} arrived here, but could not be stored. Please try again."),
            page::Tone::Bad,
        ),
        Outcome::Pending => {
            ("Still open", format!("{name} has not answered yet. Finish there, or start again."), page::Tone::Waiting)
        }
        Outcome::Undecided => (
            "Too late to choose",
            "The time to choose is over; nothing was changed. Please connect again.".to_owned(),
            page::Tone::Bad,
        ),
        Outcome::Failed => {
            let failure = flow.error.as_deref().and_then(Failure::parse);
            (
                "Not connected",
                failure.map_or("Nothing was stored. Please try again.", Failure::explained).to_owned(),
                page::Tone::Bad,
            )
        }
    };
    if !repeatable && is_fruitless(flow.outcome) {
        text.push_str("\n\nThe link has ended. Ask whoever sent it for a new one.");
    }
    page::Message { title: title.to_owned(), text, tone, links: ways_on(flow, repeatable) }
}

/// Where an administrator must approve, the page also says what to tell them. The client's id is no secret: the app has
/// shown it in the browser's address before.
async fn with_approval<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    mut message: page::Message,
) -> Result<page::Message> {
    let asked = flow.error.as_deref() == Some(Failure::ApprovalRequired.as_str());
    let Some(approval) = app.server().and_then(|server| server.approval.as_ref()).filter(|_| asked) else {
        return Ok(message);
    };
    let client = match &flow.client {
        None => None,
        Some(id) => clients::get(core.db(), &flow.workspace, id).await?,
    };
    let client_id = client.as_ref().map_or("of this client", |client| client.client_id.as_str());
    for step in &approval.steps {
        message.text.push_str("\n\n");
        message.text.push_str(&step.replace("{client_id}", client_id));
    }
    if let Some(url) = &approval.url {
        message.links.insert(0, ("How an administrator approves it".to_owned(), url.clone()));
    }
    Ok(message)
}

/// Whether nothing was connected, so that another try makes sense.
fn is_fruitless(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Done | Outcome::AwaitingConfirmation)
}

fn ways_on(flow: &Authorization, repeatable: bool) -> Vec<(String, String)> {
    let mut links = Vec::new();
    let status = if flow.outcome == Outcome::Denied { "denied" } else { "failed" };
    let failure = flow.error.as_deref().map(|code| ("error", code));
    let told: Vec<_> = [("status", status)].into_iter().chain(failure).collect();
    if let Some(url) = flow.return_to.as_deref().and_then(|url| with_outcome(url, &told)) {
        links.push(("Go back".to_owned(), url));
    }
    if repeatable && is_fruitless(flow.outcome) {
        let again = match (&flow.link, &flow.connection) {
            (Some(_), _) => format!("/flows/{}/again", flow.id),
            (None, Some(id)) => format!("/connections/{id}/reconnect"),
            (None, None) => format!("/oauth/start/{}", flow.app),
        };
        links.push(("Try again".to_owned(), again));
    }
    if flow.link.is_none() {
        links.push(("Connections".to_owned(), "/".to_owned()));
    }
    links
}

/// Only the browser that began the flow reaches it; a signed-in one's form also carries its token.
pub(super) async fn choose<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let id = flow_id(call)?;
    let sessions = session::hashes(core, call.request).await?;
    let before = flow(core, &sessions, &id).await?;
    if before.link.is_none() {
        session::require_own_form(core, call.request)?;
    }
    let choice = input::form(call.request, "choice").as_deref().and_then(Choice::parse);
    settle::choose(core, &before, choice.ok_or_else(|| Error::invalid("choice", "must be one of the buttons."))?)
        .await?;
    let after = flow(core, &sessions, &id).await?;
    Ok(Response::see_other(&destination(&after).unwrap_or_else(|| format!("/flows/{id}"))))
}

pub(super) async fn open_link<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<Option<Link>> {
    let Some(id) = &flow.link else { return Ok(None) };
    let link = links::get(core.db(), &flow.workspace, id).await?;
    Ok(link.filter(|link| link.status == LinkStatus::Open && core.now() < link.expires_at))
}

/// Where a finished flow leads: back to the embedding product, or to the connection's page.
pub(super) fn destination(flow: &Authorization) -> Option<String> {
    let connection = flow.connection.as_ref()?;
    let status = match flow.outcome {
        Outcome::Done => "connected",
        Outcome::AwaitingConfirmation => "awaiting_confirmation",
        Outcome::Pending | Outcome::Denied | Outcome::Failed | Outcome::Undecided | Outcome::Discarded => return None,
    };
    if let Some(return_to) = &flow.return_to {
        return with_outcome(return_to, &[("connection", connection.as_str()), ("status", status)]);
    }
    flow.link.is_none().then(|| format!("/connections/{connection}?connected=1"))
}

fn with_outcome(return_to: &str, pairs: &[(&str, &str)]) -> Option<String> {
    let mut url = url::Url::parse(return_to).ok()?;
    url.query_pairs_mut().extend_pairs(pairs);
    Some(url.into())
}
