//! How a flow ends, in a person's browser: a question, what was connected, why nothing was, and where to go on.
//!
//! Owns what the page of a flow says. Only the browser that began a flow reaches it. Refuses to decide: that is
//! [`complete`]'s, by the button that was pressed.

use super::browser_session::{self, page_context};
use super::consent_page;
use super::page;
use super::{Call, LEADS_TO_APP_MARKER, Response, input};
use crate::app::AuthMethod;
use crate::connect::FlowFailure;
use crate::connect::complete::{self, Choice};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ids::FlowId;
use crate::ports::Ports;
use crate::registry;
use crate::store::authorizations::{self, Flow, FlowOutcome, Question};
use crate::store::links::{self, Link, LinkStatus};
use crate::store::{clients, connections};

/// Seconds within which an app's answer is taken, or never: no request lives longer.
const CALLBACK_TIME_LIMIT: i64 = 60;
/// Seconds after which the page of a flow whose answer is being taken loads itself again.
const RELOAD_SECONDS: i64 = 2;

pub(super) async fn load_flow<P: Ports>(context: &Context<P>, sessions: &[String], id: &FlowId) -> Result<Flow> {
    authorizations::get(context.db(), id, sessions).await?.ok_or_else(|| Error::not_found("flow of this browser"))
}

pub(super) fn parse_flow_id(call: &Call<'_>) -> Result<FlowId> {
    FlowId::parse(call.path_param(0)).ok_or_else(|| Error::not_found("flow of this browser"))
}

pub(super) async fn show_flow_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let sessions = browser_session::load_session_hashes(context, call.request).await?;
    let flow = load_flow(context, &sessions, &parse_flow_id(call)?).await?;
    // Whoever came here while the app's answer was still being taken is led on like the first visit.
    if let Some(url) = destination_url(&flow) {
        return Ok(Response::see_other(&url));
    }
    let app = registry::load_app_at_revision(context, &flow.workspace, &flow.app, flow.app_revision).await?;
    let auth_method = registry::auth_method(&app, &flow.auth_method)?;
    let csrf = browser_session::csrf_token(context, call.request);
    let shell = page_context(call.session.as_ref(), csrf.as_deref());
    let question = flow.pending.as_ref().and_then(|pending| pending.question.as_ref());
    match (flow.outcome, question) {
        (FlowOutcome::Undecided, Some(question)) if context.now() < flow.expires_at => {
            let view = build_choose_view(context, &flow, question, &auth_method).await?;
            Ok(Response::html(200, page::choose(&shell, &view)).with_header(LEADS_TO_APP_MARKER, String::new()))
        }
        (FlowOutcome::Pending, _)
            if flow.used_at.is_some_and(|used| context.now().since(used) < CALLBACK_TIME_LIMIT) =>
        {
            let page = Response::html(200, page::message(&shell, &in_progress_message(&flow, &auth_method)));
            Ok(page.with_header("refresh", RELOAD_SECONDS.to_string()))
        }
        _ => {
            let granted = load_grant_summary(context, &flow).await?;
            let repeatable = flow.link.is_none() || find_open_link(context, &flow).await?.is_some();
            let message = outcome_message(&flow, &auth_method, &granted, repeatable);
            let message = add_approval_steps(context, &flow, &auth_method, message).await?;
            Ok(Response::html(200, page::message(&shell, &message)))
        }
    }
}

/// The page while the app's answer is being taken, by the visit that came first.
fn in_progress_message(flow: &Flow, auth_method: &AuthMethod) -> page::Message {
    page::Message {
        title: "Almost done".to_owned(),
        text: format!(
            "{} has answered, and the answer is being checked. This page goes on by itself in a few seconds.",
            auth_method.app_name
        ),
        tone: page::Tone::Waiting,
        links: vec![("Look again".to_owned(), format!("/flows/{}", flow.id))],
    }
}

async fn build_choose_view<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    question: &Question,
    auth_method: &AuthMethod,
) -> Result<page::ChooseView> {
    let now = flow.pending.as_ref().and_then(|pending| pending.account.as_ref()).map(|account| account.label.clone());
    let question = match question {
        Question::OtherAccount { before } => {
            let name = match &flow.connection {
                None => None,
                Some(id) => {
                    connections::get(context.db(), &flow.workspace, id).await?.map(|connection| connection.name)
                }
            };
            page::ChoiceQuestion::OtherAccount {
                account_before: before.as_ref().map(|account| account.label.clone()),
                account_now: now,
                connection_name: name.unwrap_or_else(|| auth_method.app_name.clone()),
            }
        }
        Question::Duplicate { name, .. } => {
            page::ChoiceQuestion::Duplicate { account: now.unwrap_or_default(), existing_connection_name: name.clone() }
        }
    };
    let note = match question {
        page::ChoiceQuestion::Duplicate { .. } => duplicate_note(context, flow, auth_method).await?,
        page::ChoiceQuestion::OtherAccount { .. } => None,
    };
    Ok(page::ChooseView {
        app_name: auth_method.app_name.clone(),
        action: format!("/flows/{}", flow.id),
        question,
        entered_manually: auth_method.kind.is_manual(),
        note,
    })
}

/// What speaks against a second connection to the account: that the two disturb each other, or the app's limit.
async fn duplicate_note<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    auth_method: &AuthMethod,
) -> Result<Option<String>> {
    let account = flow.pending.as_ref().and_then(|waiting| waiting.account.as_ref());
    let limit = match (&flow.client, account) {
        (Some(client), Some(account)) => {
            consent_page::grant_limit_warning(context, &flow.workspace, auth_method, (client, &account.id)).await?
        }
        _ => None,
    };
    let said: Vec<String> = auth_method.limits.one_per_account.iter().cloned().chain(limit).collect();
    Ok((!said.is_empty()).then(|| said.join(" ")))
}

/// What a flow connected, for whoever has no page of the connection: the wrong account, and what is missing, are seen at once.
#[derive(Default)]
struct GrantSummary {
    /// The account's label.
    account: Option<String>,
    /// What was asked for and not granted.
    missing_scopes: Vec<String>,
}

async fn load_grant_summary<P: Ports>(context: &Context<P>, flow: &Flow) -> Result<GrantSummary> {
    if let (FlowOutcome::AwaitingConfirmation, Some(waiting)) = (flow.outcome, &flow.pending) {
        return Ok(GrantSummary {
            account: waiting.account.as_ref().map(|account| account.label.clone()),
            missing_scopes: waiting
                .requested
                .as_ref()
                .unwrap_or(&flow.scopes)
                .iter()
                .filter(|scope| !waiting.granted.contains(scope))
                .cloned()
                .collect(),
        });
    }
    let Some(id) = &flow.connection else { return Ok(GrantSummary::default()) };
    let connection = connections::get(context.db(), &flow.workspace, id).await?;
    Ok(connection.map_or_else(GrantSummary::default, |connection| GrantSummary {
        missing_scopes: connection.missing_scopes(),
        account: connection.account.map(|account| account.label),
    }))
}

impl GrantSummary {
    fn connected_text(&self, auth_method: &AuthMethod) -> String {
        match &self.account {
            Some(account) => format!("{} is connected as {account}.", auth_method.app_name),
            None => format!("{} is connected.", auth_method.app_name),
        }
    }

    /// What is missing, as a paragraph of its own.
    fn missing_scopes_text(&self, auth_method: &AuthMethod) -> String {
        if self.missing_scopes.is_empty() {
            return String::new();
        }
        let known = |id: &String| auth_method.scopes.iter().find(|scope| scope.id == *id)?.description.clone();
        let named = |id: &String| known(id).map_or_else(|| id.clone(), |what| format!("{what} ({id})"));
        let missing: Vec<_> = self.missing_scopes.iter().map(named).collect();
        format!(
            "\n\nThese permissions were not granted: {}. Steps that need them will fail. Tell whoever sent you the link.",
            missing.join("; ")
        )
    }

    fn tone(&self) -> page::Tone {
        if self.missing_scopes.is_empty() { page::Tone::Good } else { page::Tone::Waiting }
    }
}

/// How a flow ended, in words. A link may have ended in the meantime: then it can't be repeated.
fn outcome_message(flow: &Flow, auth_method: &AuthMethod, granted: &GrantSummary, repeatable: bool) -> page::Message {
    let (connected, lack, name) =
        (granted.connected_text(auth_method), granted.missing_scopes_text(auth_method), &auth_method.app_name);
    let (title, mut text, tone) = match flow.outcome {
        FlowOutcome::Done => ("Connected", format!("{connected}{lack}\n\nYou can close this page."), granted.tone()),
        FlowOutcome::AwaitingConfirmation => (
            "Almost done",
            format!("{connected}{lack}\n\nGo back to where you came from to finish."),
            page::Tone::Waiting,
        ),
        FlowOutcome::Denied => (
            "Not connected",
            format!("You did not allow access at {name}, so nothing was stored."),
            page::Tone::Waiting,
        ),
        FlowOutcome::Discarded => (
            "Left as it was",
            "The connection keeps its account. The new access was revoked.".to_owned(),
            page::Tone::Good,
        ),
        FlowOutcome::Pending if flow.used_at.is_some() => (
            "Not finished",
            format!("The answer of {name} arrived here, but could not be stored. Please try again."),
            page::Tone::Bad,
        ),
        FlowOutcome::Pending => {
            ("Still open", format!("{name} has not answered yet. Finish there, or start again."), page::Tone::Waiting)
        }
        FlowOutcome::Undecided => (
            "Too late to choose",
            "The time to choose is over; nothing was changed. Please connect again.".to_owned(),
            page::Tone::Bad,
        ),
        FlowOutcome::Failed => {
            let failure = flow.error.as_deref().and_then(FlowFailure::parse);
            (
                "Not connected",
                failure.map_or("Nothing was stored. Please try again.", FlowFailure::explanation).to_owned(),
                page::Tone::Bad,
            )
        }
    };
    if !repeatable && is_unsuccessful(flow.outcome) {
        text.push_str("\n\nThe link has ended. Ask whoever sent it for a new one.");
    }
    page::Message { title: title.to_owned(), text, tone, links: next_links(flow, repeatable) }
}

/// Where an administrator must approve, the page also says what to tell them. The client's id is no secret: the app has
/// shown it in the browser's address before.
async fn add_approval_steps<P: Ports>(
    context: &Context<P>,
    flow: &Flow,
    auth_method: &AuthMethod,
    mut message: page::Message,
) -> Result<page::Message> {
    let asked = flow.error.as_deref() == Some(FlowFailure::ApprovalRequired.as_str());
    let Some(approval) = auth_method.oauth_server().and_then(|server| server.approval.as_ref()).filter(|_| asked)
    else {
        return Ok(message);
    };
    let client = match &flow.client {
        None => None,
        Some(id) => clients::get(context.db(), &flow.workspace, id).await?,
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
fn is_unsuccessful(outcome: FlowOutcome) -> bool {
    !matches!(outcome, FlowOutcome::Done | FlowOutcome::AwaitingConfirmation)
}

fn next_links(flow: &Flow, repeatable: bool) -> Vec<(String, String)> {
    let mut links = Vec::new();
    let status = if flow.outcome == FlowOutcome::Denied { "denied" } else { "failed" };
    let failure = flow.error.as_deref().map(|code| ("error", code));
    let told: Vec<_> = [("status", status)].into_iter().chain(failure).collect();
    if let Some(url) = flow.return_to.as_deref().and_then(|url| add_query_params(url, &told)) {
        links.push(("Go back".to_owned(), url));
    }
    if repeatable && is_unsuccessful(flow.outcome) {
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
pub(super) async fn submit_choice<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let id = parse_flow_id(call)?;
    let sessions = browser_session::load_session_hashes(context, call.request).await?;
    let before = load_flow(context, &sessions, &id).await?;
    if before.link.is_none() {
        browser_session::require_csrf_token(context, call.request)?;
    }
    let choice = input::form_field(call.request, "choice").as_deref().and_then(Choice::parse);
    complete::apply_choice(
        context,
        &before,
        choice.ok_or_else(|| Error::invalid_field("choice", "must be one of the buttons."))?,
    )
    .await?;
    let after = load_flow(context, &sessions, &id).await?;
    Ok(Response::see_other(&destination_url(&after).unwrap_or_else(|| format!("/flows/{id}"))))
}

pub(super) async fn find_open_link<P: Ports>(context: &Context<P>, flow: &Flow) -> Result<Option<Link>> {
    let Some(id) = &flow.link else { return Ok(None) };
    let link = links::get(context.db(), &flow.workspace, id).await?;
    Ok(link.filter(|link| link.status == LinkStatus::Open && context.now() < link.expires_at))
}

/// Where a finished flow leads: back to the embedding product, or to the connection's page.
pub(super) fn destination_url(flow: &Flow) -> Option<String> {
    let connection = flow.connection.as_ref()?;
    let status = match flow.outcome {
        FlowOutcome::Done => "connected",
        FlowOutcome::AwaitingConfirmation => "awaiting_confirmation",
        FlowOutcome::Pending
        | FlowOutcome::Denied
        | FlowOutcome::Failed
        | FlowOutcome::Undecided
        | FlowOutcome::Discarded => return None,
    };
    if let Some(return_to) = &flow.return_to {
        return add_query_params(return_to, &[("connection", connection.as_str()), ("status", status)]);
    }
    flow.link.is_none().then(|| format!("/connections/{connection}?connected=1"))
}

fn add_query_params(return_to: &str, pairs: &[(&str, &str)]) -> Option<String> {
    let mut url = url::Url::parse(return_to).ok()?;
    url.query_pairs_mut().extend_pairs(pairs);
    Some(url.into())
}
