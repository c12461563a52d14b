//! The end of a flow in a person's browser: a question, what was connected, why nothing was, and where to continue.
//!
//! Owns the text of a flow's page. Only the browser that started a flow can open it. Decides nothing: [`complete`]
//! does, with the person's choice.

use super::browser_session;
use super::consent_page::grant_limit_warning;
use super::notices::redirect_with_notice;
use super::page::{self, Notice, NoticeCode, PageContext, Texts, fill_plain};
use super::page_frame::page_context;
use super::popup;
use super::{Call, LEADS_TO_APP_MARKER, Response, brand, input};
use crate::app::AuthMethod;
use crate::connect::FlowFailure;
use crate::connect::complete::{self, Choice};
use crate::connections::GrantUsage;
use crate::context::Context;
use crate::egress::parse_url;
use crate::error::{Error, Result};
use crate::flows::{self, FlowReport, FlowStep, PendingChoice};
use crate::ids::FlowId;
use crate::ports::Ports;
use crate::store::authorizations::{Flow, FlowOutcome, Question};
use crate::workspaces::load_workspace;

/// Seconds after which the page of a flow reloads while its callback is handled.
const RELOAD_SECONDS: i64 = 2;

pub(super) fn parse_flow_id(call: &Call<'_>) -> Result<FlowId> {
    FlowId::parse(call.path_param(0)).ok_or_else(flows::flow_not_found)
}

pub(super) async fn show_flow_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let sessions = browser_session::load_session_hashes(context, call.request).await?;
    let flow = flows::load_flow(context, &sessions, &parse_flow_id(call)?).await?;
    // A browser that came here while the callback was handled is redirected like the first request.
    if let Some(response) = destination_response(context, call, &flow) {
        return Ok(response);
    }
    let (auth_method, step) = flows::load_flow_step(context, &flow).await?;
    // Whoever came by a link sees whose it is.
    let brand = match &flow.link {
        Some(_) => brand::of_workspace(context, &load_workspace(context, &flow.workspace).await?),
        None => None,
    };
    let shell = page_context(context, call.request, call.session.as_ref().filter(|_| brand.is_none()));
    let shell = PageContext { brand, ..shell };
    let response = match step {
        FlowStep::Choice(choice) => {
            let view = build_choose_view(&flow, choice, &auth_method);
            Response::html(200, page::choose(&shell, &view)).with_header(LEADS_TO_APP_MARKER, String::new())
        }
        FlowStep::InProgress => {
            let page =
                Response::html(200, page::message(&shell, &in_progress_message(shell.text, &flow, &auth_method)));
            page.with_header("refresh", RELOAD_SECONDS.to_string())
        }
        FlowStep::Report(report) => {
            let message = outcome_message(shell.text, &flow, &auth_method, &report);
            let message = add_approval_steps(shell.text, &flow, &auth_method, report.client_id.as_deref(), message);
            popup::outcome_page(&shell, &message, &flow, &report)
        }
    };
    let response = brand::allow_logo(response, &shell);
    Ok(popup::keep_opener(response, flow.popup_origin.as_deref()))
}

/// The page while the first request handles the callback.
fn in_progress_message(text: &Texts, flow: &Flow, auth_method: &AuthMethod) -> page::Message {
    page::Message {
        title: text.outcome.almost_title.to_owned(),
        text: fill_plain(text.outcome.in_progress, &[("app", &auth_method.app_name)]),
        tone: page::Tone::Waiting,
        links: vec![(text.outcome.look_again.to_owned(), format!("/flows/{}", flow.id))],
    }
}

fn build_choose_view(flow: &Flow, choice: PendingChoice, auth_method: &AuthMethod) -> page::ChooseView {
    let (question, note) = match choice.question {
        Question::OtherAccount { before } => {
            let question = page::ChoiceQuestion::OtherAccount {
                account_before: before.map(|account| account.label),
                account_now: choice.account,
                connection_name: choice.connection_name.unwrap_or_else(|| auth_method.app_name.clone()),
            };
            (question, None)
        }
        Question::Duplicate { name, .. } => {
            let account = choice.account.unwrap_or_default();
            let question = page::ChoiceQuestion::Duplicate { account, existing_connection_name: name };
            (question, duplicate_note(auth_method, choice.grant_usage))
        }
    };
    page::ChooseView {
        app_name: auth_method.app_name.clone(),
        action: format!("/flows/{}", flow.id),
        question,
        entered_manually: auth_method.kind.is_manual(),
        note,
        workflows: choice.workflows,
        has_more_workflows: choice.has_more_workflows,
    }
}

/// The reason against a second connection to the account: that the two interfere with each other, or the app's limit.
fn duplicate_note(auth_method: &AuthMethod, grants: Option<GrantUsage>) -> Option<String> {
    let limit = grants.map(|grants| grant_limit_warning(&page::ENGLISH, auth_method, grants));
    let said: Vec<String> = auth_method.limits.one_per_account.iter().cloned().chain(limit).collect();
    (!said.is_empty()).then(|| said.join(" "))
}

/// Whoever came by a link has no page of the connection: the account and what is missing are told here.
fn connected_text(text: &Texts, auth_method: &AuthMethod, report: &FlowReport) -> String {
    let app = ("app", auth_method.app_name.as_str());
    match &report.account {
        Some(account) => fill_plain(text.outcome.connected_as, &[app, ("account", account)]),
        None => fill_plain(text.outcome.connected, &[app]),
    }
}

/// The missing scopes, as a separate paragraph.
fn missing_scopes_text(text: &Texts, auth_method: &AuthMethod, report: &FlowReport) -> String {
    if report.missing_scopes.is_empty() {
        return String::new();
    }
    let known = |id: &String| auth_method.scopes.iter().find(|scope| scope.id == *id)?.description.clone();
    let named = |id: &String| known(id).map_or_else(|| id.clone(), |what| format!("{what} ({id})"));
    let missing: Vec<_> = report.missing_scopes.iter().map(named).collect();
    let remedy = if report.may_ask_again { text.outcome.allow_now } else { text.outcome.tell_sender };
    format!("\n\n{} {remedy}", fill_plain(text.outcome.missing, &[("scopes", &missing.join("; "))]))
}

/// The result of a flow as text. Its link may have expired in the meantime, so it cannot be repeated.
fn outcome_message(texts: &Texts, flow: &Flow, auth_method: &AuthMethod, report: &FlowReport) -> page::Message {
    let text = &texts.outcome;
    let about_app = |words: &str| fill_plain(words, &[("app", &auth_method.app_name)]);
    let connected = |last: &str| {
        let lack = missing_scopes_text(texts, auth_method, report);
        format!("{}{lack}\n\n{last}", connected_text(texts, auth_method, report))
    };
    let connected_tone = if report.missing_scopes.is_empty() { page::Tone::Good } else { page::Tone::Waiting };
    let in_window = flow.popup_origin.is_some();
    let (title, mut said, tone) = match flow.outcome {
        FlowOutcome::Done => {
            let close = if in_window { text.close_window } else { text.close_page };
            (text.connected_title, connected(close), connected_tone)
        }
        FlowOutcome::AwaitingConfirmation => {
            let finish = if in_window { text.finish_window } else { text.finish_page };
            (text.almost_title, connected(finish), page::Tone::Waiting)
        }
        FlowOutcome::Denied if report.may_ask_again => {
            (text.nothing_added_title, about_app(text.nothing_added), page::Tone::Waiting)
        }
        FlowOutcome::Denied => (text.not_connected_title, about_app(text.denied), page::Tone::Waiting),
        FlowOutcome::Discarded => (text.kept_title, text.kept.to_owned(), page::Tone::Good),
        FlowOutcome::Pending if flow.used_at.is_some() => {
            (text.not_finished_title, about_app(text.not_finished), page::Tone::Bad)
        }
        FlowOutcome::Pending => (text.open_title, about_app(text.open), page::Tone::Waiting),
        FlowOutcome::Undecided => (text.too_late_title, text.too_late.to_owned(), page::Tone::Bad),
        FlowOutcome::Failed => {
            let failure = flow.error.as_deref().and_then(FlowFailure::parse);
            let said = failure.map_or(text.failed, |failure| failure_text(texts, failure)).to_owned();
            (text.not_connected_title, said, page::Tone::Bad)
        }
    };
    let mut add = |words: &str| {
        said.push_str("\n\n");
        said.push_str(words);
    };
    if in_window && is_unsuccessful(flow.outcome) && flow.outcome != FlowOutcome::Pending {
        add(text.close_window);
    }
    if !report.repeatable && is_unsuccessful(flow.outcome) {
        add(text.link_ended);
    }
    page::Message { title: title.to_owned(), text: said, tone, links: next_links(texts, flow, report) }
}

/// Why nothing was connected, for the person. For programs [`FlowFailure::explanation`] says it.
fn failure_text(texts: &Texts, failure: FlowFailure) -> &'static str {
    let text = &texts.failure;
    match failure {
        FlowFailure::RefusedByApp => text.refused_by_app,
        FlowFailure::ApprovalRequired => text.approval_required,
        FlowFailure::WrongIssuer => text.wrong_issuer,
        FlowFailure::IssuerUnknown => text.issuer_unknown,
        FlowFailure::AddressesChanged => text.addresses_changed,
        FlowFailure::NoCode => text.no_code,
        FlowFailure::CodeRefused => text.code_refused,
        FlowFailure::ClientRefused => text.client_refused,
        FlowFailure::AppUnavailable => text.app_unavailable,
        FlowFailure::ConnectionGone => text.connection_gone,
        FlowFailure::Conflict => text.conflict,
        FlowFailure::LinkUsed => text.link_used,
        FlowFailure::LinkBegunAnew => text.link_begun_anew,
        FlowFailure::SessionEnded => text.session_ended,
        FlowFailure::AccountUnknown => text.account_unknown,
        FlowFailure::OtherAccount => text.other_account,
        FlowFailure::NotStored => text.not_stored,
    }
}

/// If an administrator must approve, the page also says what to tell them. The client's id is not secret: the app has
/// shown it in the browser's address.
fn add_approval_steps(
    text: &Texts,
    flow: &Flow,
    auth_method: &AuthMethod,
    client_id: Option<&str>,
    mut message: page::Message,
) -> page::Message {
    let asked = flow.error.as_deref() == Some(FlowFailure::ApprovalRequired.as_str());
    let Some(approval) = auth_method.oauth_server().and_then(|server| server.approval.as_ref()).filter(|_| asked)
    else {
        return message;
    };
    let client_id = client_id.unwrap_or(text.outcome.of_this_client);
    for step in &approval.steps {
        message.text.push_str("\n\n");
        message.text.push_str(&step.replace("{client_id}", client_id));
    }
    if let Some(url) = &approval.url {
        message.links.insert(0, (text.outcome.how_to_approve.to_owned(), url.clone()));
    }
    message
}

/// Whether nothing was connected, so that another attempt makes sense.
fn is_unsuccessful(outcome: FlowOutcome) -> bool {
    !matches!(outcome, FlowOutcome::Done | FlowOutcome::AwaitingConfirmation)
}

fn next_links(text: &Texts, flow: &Flow, report: &FlowReport) -> Vec<(String, String)> {
    let mut links = Vec::new();
    if report.may_ask_again && !is_unsuccessful(flow.outcome) {
        links.push((text.outcome.allow_missing.to_owned(), format!("/flows/{}/again", flow.id)));
        return links;
    }
    let status = if flow.outcome == FlowOutcome::Denied { "denied" } else { "failed" };
    let failure = flow.error.as_deref().map(|code| ("error", code));
    let told: Vec<_> = [("status", status)].into_iter().chain(failure).collect();
    if let Some(url) = flow.return_to.as_deref().and_then(|url| add_query_params(url, &told)) {
        links.push((text.outcome.go_back.to_owned(), url));
    }
    if report.repeatable && is_unsuccessful(flow.outcome) {
        let again = match (&flow.link, &flow.connection) {
            (Some(_), _) => format!("/flows/{}/again", flow.id),
            (None, Some(id)) => format!("/connections/{id}/reconnect"),
            (None, None) => format!("/oauth/start/{}", flow.app),
        };
        links.push((text.outcome.try_again.to_owned(), again));
    }
    if flow.link.is_none() {
        links.push((text.outcome.connections.to_owned(), "/".to_owned()));
    }
    links
}

/// Only the browser that started the flow can open it. A signed-in person's form also contains its token.
pub(super) async fn submit_choice<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let id = parse_flow_id(call)?;
    let sessions = browser_session::load_session_hashes(context, call.request).await?;
    let before = flows::load_flow(context, &sessions, &id).await?;
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
    let after = flows::load_flow(context, &sessions, &id).await?;
    let response = end_response(context, call, &after);
    Ok(popup::keep_opener(response, after.popup_origin.as_deref()))
}

/// Where a flow continues that has an outcome: see [`destination_url`], and else its own page.
pub(super) fn end_response<P: Ports>(context: &Context<P>, call: &Call<'_>, flow: &Flow) -> Response {
    destination_response(context, call, flow).unwrap_or_else(|| Response::see_other(&format!("/flows/{}", flow.id)))
}

/// The person's own page says what has happened. Whose the account is, that page knows.
fn destination_response<P: Ports>(context: &Context<P>, call: &Call<'_>, flow: &Flow) -> Option<Response> {
    let url = destination_url(flow)?;
    if !url.starts_with('/') {
        return Some(Response::see_other(&url));
    }
    let notice = Notice { code: NoticeCode::Connected, about: String::new() };
    Some(redirect_with_notice(context, call.request, &url, &notice))
}

/// Where a finished flow redirects: to the embedding product, or to the connection's page.
fn destination_url(flow: &Flow) -> Option<String> {
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
    flow.link.is_none().then(|| format!("/connections/{connection}"))
}

fn add_query_params(return_to: &str, pairs: &[(&str, &str)]) -> Option<String> {
    let mut url = parse_url(return_to)?;
    url.query_pairs_mut().extend_pairs(pairs);
    Some(url.into())
}
