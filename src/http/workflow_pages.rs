//! The pages of workflows: which there are, and what one uses.
//!
//! Owns how uses and a preflight become words for a person. A person sees the uses of connections that they see. Refuses to
//! ask an app: the page says what is known.

use super::attention_words::explain_step_change;
use super::page::{
    self, StatusLabel, StepView, Texts, Tone, WorkflowConnectionView, WorkflowRow, WorkflowView, WorkflowsView,
};
use super::page_frame::page_context;
use super::settings_view::{environment_text, workflow_href};
use super::workflows::path_workflow;
use super::{Call, Response, input};
use crate::app_list::AppList;
use crate::authorize::{self, Caller, RequiredRole};
use crate::connection::ChosenBy;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, ErrorCode, Result};
use crate::ports::Ports;
use crate::resolve::{Expectations, ResolveRequest};
use crate::store::sessions::Session;
use crate::store::workflows::{UsePosition, WorkflowUse};
use crate::workflows::{self, PreflightConnection, WorkflowDetails, WorkflowSummary};
use crate::workspace::{Role, User};

/// Workflows of a page.
const WORKFLOWS_PER_PAGE: i64 = 50;
/// Steps on the page of a workflow.
const STEPS_SHOWN: usize = 200;
/// Logos beside a workflow.
const LOGOS_SHOWN: usize = 5;

pub(super) async fn show_workflows_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let shell = page_context(context, call.request, Some(session));
    let search = input::query_param(call.request, "q");
    let cursor = input::query_param(call.request, "cursor");
    let after: UsePosition = match &cursor {
        Some(text) => serde_json::from_str(text).map_err(|_| input::invalid_cursor())?,
        None => UsePosition::default(),
    };
    let caller = Caller::User(session, RequiredRole::Member);
    let prefix = search.as_deref().unwrap_or_default();
    let (found, apps) =
        workflows::list_workflows_and_apps(context, &caller, prefix, &after, WORKFLOWS_PER_PAGE).await?;
    let view = WorkflowsView {
        workflows: found.data.iter().map(|one| workflow_row(shell.text, &apps, one)).collect(),
        next_page_href: found.next.map(|cursor| page_href(search.as_deref(), &cursor)),
        is_later_page: cursor.is_some(),
        search,
    };
    Ok(Response::html(200, page::workflow_list(&shell, &view)))
}

fn page_href(search: Option<&str>, cursor: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(text) = search {
        query.append_pair("q", text);
    }
    format!("/workflows?{}", query.append_pair("cursor", cursor).finish())
}

fn workflow_row(text: &Texts, apps: &AppList, one: &WorkflowSummary) -> WorkflowRow {
    let number = i64::try_from(one.unusable.len()).unwrap_or(i64::MAX);
    let status = if number == 0 {
        StatusLabel { text: text.workflows.ready.to_owned(), tone: Tone::Good }
    } else {
        let words = page::count(number, text.workflows.one_unusable, text.workflows.some_unusable);
        StatusLabel { text: words, tone: Tone::Bad }
    };
    WorkflowRow {
        workflow: one.workflow.clone(),
        href: workflow_href(&one.workflow),
        apps: one
            .apps
            .iter()
            .take(LOGOS_SHOWN)
            .map(|id| (id.to_string(), apps.name_or_id(id.as_str()).to_owned()))
            .collect(),
        more_apps: one.apps.len().saturating_sub(LOGOS_SHOWN),
        connections: one.connections.len(),
        steps: one.steps.len(),
        is_complete: one.complete,
        status,
        used_default: one.used_default,
        changed_steps: one.changed_steps.len(),
        last_used_at: one.last_used_at,
    }
}

pub(super) async fn show_workflow_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let workflow = path_workflow(call)?;
    let session = call.session()?;
    let shell = page_context(context, call.request, Some(session));
    let wanted = input::query_param(call.request, "environment");
    let environment = wanted
        .as_deref()
        .map(|text| {
            let problem = "must be production or test.";
            Environment::parse(text).ok_or_else(|| Error::invalid_field("environment", problem))
        })
        .transpose()?;
    let request = ResolveRequest {
        expect: Expectations { environment, ..Expectations::default() },
        workflow: Some(workflow.clone()),
        ..ResolveRequest::default()
    };
    let caller = Caller::User(session, RequiredRole::Member);
    let WorkflowDetails { uses, preflight, apps } =
        workflows::load_details(context, &caller, &workflow, &request).await?;
    let mut steps: Vec<_> = uses.into_iter().map(|one| step_view(shell.text, &apps, one)).collect();
    steps.sort_by(|one, other| (&one.step, &one.name).cmp(&(&other.step, &other.name)));
    let has_more = steps.len() > STEPS_SHOWN || !preflight.complete;
    steps.truncate(STEPS_SHOWN);
    let view = WorkflowView {
        href: workflow_href(&workflow),
        workflow,
        environment: environment_text(environment),
        is_complete: preflight.complete,
        connections: preflight
            .connections
            .into_iter()
            .map(|one| connection_view(shell.text, session, &apps, one, environment))
            .collect(),
        steps,
        has_more,
    };
    Ok(Response::html(200, page::workflow(&shell, &view)))
}

/// A connection with the answer of the preflight. What is to be repaired is the one that answers.
fn connection_view(
    text: &Texts,
    session: &Session,
    apps: &AppList,
    one: PreflightConnection,
    environment: Option<Environment>,
) -> WorkflowConnectionView {
    let PreflightConnection { connection: listed, steps, problem, .. } = one;
    let connection = listed.connection;
    let is_removed = apps.name_of(connection.app.as_str()).is_none();
    let is_broken = problem.as_ref().is_some_and(|error| error.code == ErrorCode::NeedsReconnect);
    let is_mine = |owner: Option<User>| owner.zip(session.user()).is_some_and(|(owner, person)| owner.id == person.id);
    let may_change = match &listed.replaced_by {
        Some(by) => session.role == Role::Admin || is_mine(by.owner()),
        None => authorize::session_may_change(session, &connection),
    };
    let may_repair = is_broken && !is_removed && may_change;
    let to_repair = listed.replaced_by.as_ref().map_or(&connection.id, |by| &by.id);
    WorkflowConnectionView {
        repair: may_repair.then(|| {
            let label = if connection.kind.is_manual() { text.connection.new_key } else { text.connection.reconnect };
            (label, format!("/connections/{to_repair}/reconnect"))
        }),
        problem: problem.map(|error| problem_in_words(text, &error, environment)),
        app: (connection.app.to_string(), apps.name_or_id(connection.app.as_str()).to_owned()),
        account_label: connection.account.as_ref().map(|account| account.label.clone()),
        environment: environment_text(connection.environment),
        is_replaced: listed.replaced_by.is_some(),
        steps: steps.into_iter().collect(),
        id: connection.id.to_string(),
        name: connection.name,
    }
}

/// Why a run would be refused, for a person.
fn problem_in_words(text: &Texts, error: &Error, environment: Option<Environment>) -> String {
    let text = &text.workflows;
    let words = match (error.code, environment) {
        (ErrorCode::NeedsReconnect, _) => text.problem_reconnect,
        (ErrorCode::AwaitingConfirmation, _) => text.problem_unconfirmed,
        (ErrorCode::ClientMisconfigured, _) => text.problem_client,
        (ErrorCode::AppUnavailable, _) => text.problem_unavailable,
        (ErrorCode::WorkflowNotAllowed, _) => text.problem_not_allowed,
        (ErrorCode::ConnectionNotFound, _) => text.problem_gone,
        (ErrorCode::UnexpectedConnection, Some(Environment::Production)) => text.problem_not_production,
        (ErrorCode::UnexpectedConnection, Some(Environment::Test)) => text.problem_not_test,
        _ => error.hints.for_people.as_deref().unwrap_or(&error.detail),
    };
    words.to_owned()
}

fn step_view(text: &Texts, apps: &AppList, one: WorkflowUse) -> StepView {
    let replaced = one.connection.replaced_by.map(|_| text.workflows.answered_by_other.to_owned());
    let changed = one.change.as_ref().map(|change| explain_step_change(text, change));
    StepView {
        step: one.recorded.step,
        connection: one.connection.id.to_string(),
        name: one.connection.name,
        app: (one.connection.app.to_string(), apps.name_or_id(one.connection.app.as_str()).to_owned()),
        by_default: matches!(one.recorded.chosen_by, ChosenBy::Default | ChosenBy::Only),
        notes: replaced.into_iter().chain(changed).collect(),
        last_used_at: one.recorded.last_used_at,
    }
}
