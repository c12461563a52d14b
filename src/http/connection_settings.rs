//! The settings on a connection's page, and the page of a workflow, for people.
//!
//! Owns what of a form becomes which change, and where a refusal is shown: beside the form. Who may change a connection the
//! routes say; that a replacement takes authority over both connections, and that an owner is changed by admins alone, is
//! asked here.

use super::connections_page::{build_connection_view, redirect_to_connection};
use super::notices::redirect_with_notice;
use super::page::{self, Notice, NoticeCode, SettingsForm, StepView, WorkflowView};
use super::page_frame::page_context;
use super::{Call, Response, input, problem};
use crate::attention;
use crate::authorize::{self, Caller, RequiredRole};
use crate::connections;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::preconditions::IfMatch;
use crate::replacements;
use crate::store::connections::ConnectionPatch;
use crate::store::workflows::WorkflowUse;
use crate::workflows;
use crate::workspace::{Role, User};

/// Steps on the page of a workflow.
const STEPS_SHOWN: i64 = 200;
/// Characters of an owner's id.
const MAX_OWNER_LENGTH: usize = 128;

pub(super) async fn submit_environment<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let entered = input::form_field(call.request, "environment").unwrap_or_default();
    let environment = match entered.as_str() {
        "" => Ok(None),
        text => Environment::parse(text)
            .map(Some)
            .ok_or_else(|| Error::invalid_field("environment", "must be production or test, or not known.")),
    };
    let done = match environment {
        Ok(environment) => {
            let patch = ConnectionPatch { environment: Some(environment), ..ConnectionPatch::default() };
            edit(context, call, patch).await
        }
        Err(error) => Err(error),
    };
    respond(context, call, SettingsForm::Environment, done, NoticeCode::Environment).await
}

pub(super) async fn submit_sharing<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let done = match parse_sharing(call) {
        Ok(patch) => edit(context, call, patch).await,
        Err(error) => Err(error),
    };
    respond(context, call, SettingsForm::Sharing, done, NoticeCode::Sharing).await
}

/// A member has no field for the owner. One who sends it all the same is refused.
fn parse_sharing(call: &Call<'_>) -> Result<ConnectionPatch> {
    let connection = &call.path_connection()?.connection;
    let shared = input::form_field(call.request, "shared").is_some();
    let owner = match input::form_field(call.request, "owner") {
        None => None,
        Some(_) if call.session()?.role != Role::Admin => return Err(authorize::admin_required()),
        Some(text) if text.trim().chars().count() > MAX_OWNER_LENGTH || text.chars().any(char::is_control) => {
            let problem = "must have at most 128 characters, none of them a control character.";
            return Err(Error::invalid_field("owner", problem));
        }
        Some(text) => Some(Some(text.trim().to_owned()).filter(|id| !id.is_empty())),
    };
    let before = connection.user.as_ref().map(|user| &user.id);
    // The name of the owner stays where the owner does.
    let owner = owner.filter(|owner| owner.as_ref() != before);
    Ok(ConnectionPatch {
        shared: Some(shared),
        owner: owner.map(|id| id.map(|id| User { id, name: None })),
        ..ConnectionPatch::default()
    })
}

async fn edit<P: Ports>(context: &Context<P>, call: &Call<'_>, patch: ConnectionPatch) -> Result<()> {
    let connection = &call.path_connection()?.connection;
    connections::edit_connection(context, connection, patch, &call.user_actor()?, &IfMatch::Anything).await.map(drop)
}

pub(super) async fn submit_replacement<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let done = replace(context, call).await;
    respond(context, call, SettingsForm::Replacement, done, NoticeCode::Replaced).await
}

async fn replace<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<()> {
    let listed = call.path_connection()?;
    let entered = input::form_field(call.request, "with").unwrap_or_default();
    let id = ConnectionId::parse(&entered)
        .ok_or_else(|| Error::invalid_field("with", "must be one of the connections in the list."))?;
    let caller = Caller::User(call.session()?, RequiredRole::OwnerOrAdmin);
    let with = authorize::load_connection(context, &caller, &id).await?;
    if !caller.may_change(&with.connection) {
        return Err(authorize::admin_required());
    }
    let across = input::form_field(call.request, "across").is_some();
    replacements::replace(context, listed, &with, across, &call.user_actor()?, &IfMatch::Anything).await.map(drop)
}

pub(super) async fn submit_undo_replacement<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let connection = &call.path_connection()?.connection;
    replacements::undo(context, connection, &call.user_actor()?, &IfMatch::Anything).await?;
    Ok(redirect_to_connection(context, call, &connection.id, NoticeCode::Unreplaced))
}

pub(super) async fn submit_acknowledgement<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let connection = &call.path_connection()?.connection;
    replacements::acknowledge_changes(context, connection, &call.user_actor()?).await?;
    Ok(redirect_to_connection(context, call, &connection.id, NoticeCode::Acknowledged))
}

/// Back to the page. What the person can correct is shown beside the form; a connection that a person may not see after
/// the change is not shown any more.
async fn respond<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    form: SettingsForm,
    done: Result<()>,
    code: NoticeCode,
) -> Result<Response> {
    let listed = call.path_connection()?;
    let error = match done {
        Ok(()) => {
            let caller = Caller::User(call.session()?, RequiredRole::Member);
            let is_seen = authorize::load_connection(context, &caller, &listed.connection.id).await.is_ok();
            return Ok(if is_seen {
                redirect_to_connection(context, call, &listed.connection.id, code)
            } else {
                redirect_with_notice(
                    context,
                    call.request,
                    "/",
                    &Notice { code: NoticeCode::GivenAway, about: String::new() },
                )
            });
        }
        Err(error) => error,
    };
    let is_correctable = matches!(
        error.code,
        ErrorCode::InvalidRequest
            | ErrorCode::EnvironmentsDiffer
            | ErrorCode::ReplacementInUse
            | ErrorCode::NeedsReconnect
            | ErrorCode::AwaitingConfirmation
            | ErrorCode::Conflict
            | ErrorCode::LimitReached
    );
    if !is_correctable {
        return Err(error);
    }
    let why = match error.code {
        ErrorCode::EnvironmentsDiffer => {
            "The two are for different environments. Tick the box below if that is what you want."
        }
        _ => error
            .hints
            .errors
            .first()
            .map_or(error.hints.for_people.as_ref().unwrap_or(&error.detail), |one| &one.problem),
    };
    let mut view = build_connection_view(context, call, listed).await?;
    view.settings.rejected = Some((form, why.to_owned()));
    let status = problem::status_and_title(error.code).0;
    Ok(Response::html(status, page::connection(&page_context(context, call.request, call.session.as_ref()), &view)))
}

pub(super) async fn show_workflow_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let workflow = super::workflows::path_workflow(call)?;
    let session = call.session()?;
    let caller = Caller::User(session, RequiredRole::Member);
    let found = workflows::list_workflow_uses(context, &caller, &workflow, None, STEPS_SHOWN).await?;
    let mut steps: Vec<_> = found.data.into_iter().map(step_view).collect();
    steps.sort_by(|one, other| (&one.step, &one.name).cmp(&(&other.step, &other.name)));
    let view = WorkflowView { workflow, steps, more: found.next.is_some() };
    Ok(Response::html(200, page::workflow(&page_context(context, call.request, Some(session)), &view)))
}

fn step_view(one: WorkflowUse) -> StepView {
    let replaced = one.connection.replaced_by.map(|_| "Another connection answers for it.".to_owned());
    let changed = one.change.as_ref().map(attention::describe_step_change);
    StepView {
        step: one.recorded.step,
        connection: one.connection.id.to_string(),
        name: one.connection.name,
        notes: replaced.into_iter().chain(changed).collect(),
        last_used_at: one.recorded.last_used_at,
    }
}
