//! The forms that change a connection, each on a page of its own.
//!
//! Owns what of a form becomes which change, and where a refusal is shown: beside the form, at an address that can be loaded again.
//! Who may change it the routes say; that a replacement takes authority over both connections, and that an owner is changed by
//! admins alone, is asked here.

use super::choices::tell_apart;
use super::form_words::words_of_problem;
use super::kept_forms::is_restored;
use super::notices::redirect_with_notice;
use super::page::{
    self, ConnectionForm, ConnectionFormView, DisconnectView, Notice, NoticeCode, OwnerChoice, PageContext,
    RejectedForm, ReplacementView, SharingView,
};
use super::page_frame::page_context;
use super::settings::{seen_state, state_to_show};
use super::settings_view::{environment_text, identity, list_candidates, redirect_to_connection};
use super::{Call, Response, input, problem};
use crate::authorize::{self, Caller, RequiredRole};
use crate::connections;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::ConnectionId;
use crate::names::parse_person_id;
use crate::people;
use crate::ports::Ports;
use crate::preconditions::{IfMatch, ReadState};
use crate::replacements;
use crate::store::connections::{ConnectionPatch, ListedConnection};
use crate::store::people::PeopleFilter;
use crate::store::replacements::MOST_REPLACED;
use crate::workspace::{Role, User};

/// Most uses shown before a disconnect or a replacement.
const MAX_USES_SHOWN: i64 = 500;
/// People that are offered as owners. In a larger workspace the id is entered.
const MOST_PEOPLE: i64 = 200;

async fn render<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    listed: &ListedConnection,
    form: ConnectionForm,
    rejected: Option<&Error>,
) -> Result<Response> {
    let app_name = connections::load_app_name(context, &listed.connection).await;
    Ok(show(context, call, listed, app_name, form, rejected))
}

fn show<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    listed: &ListedConnection,
    app_name: String,
    form: ConnectionForm,
    rejected: Option<&Error>,
) -> Response {
    let shell = page_context(context, call.request, call.session.as_ref());
    let rejected_why = rejected.map(|error| {
        if error.code == ErrorCode::PreconditionFailed {
            return RejectedForm::Whole(shell.text.settings.out_of_date.to_owned());
        }
        let field = error.hints.errors.first().map(|one| one.field.clone()).unwrap_or_default();
        RejectedForm::Field(field, problem_of_field(&shell, error))
    });
    let view = ConnectionFormView { identity: identity(listed, app_name), form, rejected: rejected_why };
    let status = status_of(rejected);
    Response::html(status, page::connection_form(&shell, &view))
}

fn status_of(rejected: Option<&Error>) -> u16 {
    rejected.map_or(200, |error| problem::status_and_title(error.code).0)
}

/// What is said beside the field.
fn problem_of_field(shell: &PageContext, error: &Error) -> String {
    let text = shell.text;
    let words = &text.change;
    match error.code {
        ErrorCode::EnvironmentsDiffer => return words.environments_differ.to_owned(),
        ErrorCode::NeedsReconnect => return words.replacement_broken.to_owned(),
        ErrorCode::AwaitingConfirmation => return words.replacement_unconfirmed.to_owned(),
        ErrorCode::Conflict => return words.replacement_changed.to_owned(),
        ErrorCode::LimitReached => {
            return page::fill_plain(words.replacement_full, &[("count", &MOST_REPLACED.to_string())]);
        }
        _ => {}
    }
    let Some(one) = error.hints.errors.first() else {
        return error.hints.for_people.as_ref().unwrap_or(&error.detail).clone();
    };
    let words = match one.field.as_str() {
        "name" => text.settings.wrong_name,
        "environment" => text.settings.wrong_choice,
        "owner" => text.change.wrong_owner,
        "shared" => text.change.needs_owner,
        "with" => text.change.wrong_replacement,
        _ => "",
    };
    words_of_problem(text, &one.problem, words)
}

/// What a person can correct.
fn is_correctable(error: &Error) -> bool {
    matches!(
        error.code,
        ErrorCode::InvalidRequest
            | ErrorCode::EnvironmentsDiffer
            | ErrorCode::ReplacementInUse
            | ErrorCode::NeedsReconnect
            | ErrorCode::AwaitingConfirmation
            | ErrorCode::Conflict
            | ErrorCode::LimitReached
            | ErrorCode::PreconditionFailed
    )
}

/// Back to the connection, or to the list if the person does not see it any more after the change.
async fn changed<P: Ports>(context: &Context<P>, call: &Call<'_>, code: NoticeCode) -> Result<Response> {
    let id = &call.path_connection()?.connection.id;
    let caller = Caller::User(call.session()?, RequiredRole::Member);
    if authorize::load_connection(context, &caller, id).await.is_ok() {
        return Ok(redirect_to_connection(context, call, id, code));
    }
    let notice = Notice { code: NoticeCode::GivenAway, about: String::new() };
    Ok(redirect_with_notice(context, call.request, "/", &notice))
}

/// Changes what the form was filled from, if the form says what that was.
async fn edit<P: Ports>(context: &Context<P>, call: &Call<'_>, patch: ConnectionPatch) -> Result<()> {
    let connection = &call.path_connection()?.connection;
    connections::edit_connection(context, connection, patch, &call.user_actor()?, &seen_state(call)).await.map(drop)
}

/// What was typed before the session had ended.
fn kept(call: &Call<'_>, name: &str) -> Option<String> {
    input::form_field(call.request, name).filter(|_| is_restored(call.request))
}

// ---- the name ----

pub(super) async fn show_rename<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let listed = call.path_connection()?;
    let name = kept(call, "name").unwrap_or_else(|| listed.connection.name.clone());
    render(context, call, listed, ConnectionForm::Name(name), None).await
}

pub(super) async fn submit_rename<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let entered = input::form_field(call.request, "name").unwrap_or_default();
    let patch = ConnectionPatch { name: Some(entered.clone()), ..ConnectionPatch::default() };
    match edit(context, call, patch).await {
        Ok(()) => changed(context, call, NoticeCode::Renamed).await,
        Err(error) if is_correctable(&error) => {
            render(context, call, call.path_connection()?, ConnectionForm::Name(entered), Some(&error)).await
        }
        Err(error) => Err(error),
    }
}

// ---- the environment ----

pub(super) async fn show_environment<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let listed = call.path_connection()?;
    let chosen = kept(call, "environment").unwrap_or_else(|| environment_text(listed.connection.environment));
    render(context, call, listed, ConnectionForm::Environment(chosen), None).await
}

pub(super) async fn submit_environment<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let entered = input::form_field(call.request, "environment").unwrap_or_default();
    let done = match (entered.as_str(), Environment::parse(&entered)) {
        ("", _) | (_, Some(_)) => {
            let environment = Environment::parse(&entered);
            edit(context, call, ConnectionPatch { environment: Some(environment), ..ConnectionPatch::default() }).await
        }
        (_, None) => Err(Error::invalid_field("environment", "must be production or test, or not set.")),
    };
    match done {
        Ok(()) => changed(context, call, NoticeCode::Environment).await,
        Err(error) if is_correctable(&error) => {
            render(context, call, call.path_connection()?, ConnectionForm::Environment(entered), Some(&error)).await
        }
        Err(error) => Err(error),
    }
}

// ---- who uses it ----

pub(super) async fn show_sharing<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let connection = &call.path_connection()?.connection;
    let owner = connection.user.as_ref().map(|user| user.id.clone()).unwrap_or_default();
    if is_restored(call.request) {
        let (shared, entered) = (kept(call, "shared").is_some(), kept(call, "owner"));
        return render_sharing(context, call, shared, entered.unwrap_or_default(), None).await;
    }
    render_sharing(context, call, connection.shared, owner, None).await
}

async fn render_sharing<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    shared: bool,
    owner: String,
    rejected: Option<&Error>,
) -> Result<Response> {
    let (session, listed) = (call.session()?, call.path_connection()?);
    let state = state_to_show(call, status_of(rejected), ReadState::of_connection(&listed.connection).tag);
    if session.role != Role::Admin {
        let form = ConnectionForm::Sharing(SharingView { state, shared, owner: None });
        return render(context, call, listed, form, rejected).await;
    }
    let filter = PeopleFilter { role: None, text: None, after: String::new(), limit: MOST_PEOPLE };
    let (found, app_name) = context
        .at_once(
            people::list_people(context, &session.workspace, &filter),
            connections::load_app_name(context, &listed.connection),
        )
        .await;
    let found = found?;
    let name = |user: User| (user.id.clone(), user.display_name().to_owned());
    let named = found.data.into_iter().map(|one| name(one.user));
    let people = if found.next.is_some() { vec![] } else { tell_apart(named) };
    let form = ConnectionForm::Sharing(SharingView { state, shared, owner: Some(OwnerChoice { owner, people }) });
    Ok(show(context, call, listed, app_name, form, rejected))
}

pub(super) async fn submit_sharing<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let done = match parse_sharing(call) {
        Ok(patch) => edit(context, call, patch).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => changed(context, call, NoticeCode::Sharing).await,
        Err(error) if is_correctable(&error) => {
            let shared = input::form_field(call.request, "shared").is_some();
            let owner = input::form_field(call.request, "owner").unwrap_or_default();
            render_sharing(context, call, shared, owner, Some(&error)).await
        }
        Err(error) => Err(error),
    }
}

/// A member has no field for the owner. One who sends it all the same is refused.
fn parse_sharing(call: &Call<'_>) -> Result<ConnectionPatch> {
    let connection = &call.path_connection()?.connection;
    let shared = input::form_field(call.request, "shared").is_some();
    let before = connection.user.as_ref().map(|user| &user.id);
    let owner = match input::form_field(call.request, "owner") {
        None => None,
        Some(_) if call.session()?.role != Role::Admin => return Err(authorize::admin_required()),
        Some(text) if text.trim().is_empty() => Some(None),
        // Whoever it was before may stay it.
        Some(text) if Some(text.trim()) == before.map(String::as_str) => None,
        Some(text) => Some(Some(parse_person_id("owner", &text)?)),
    };
    // The name of the owner stays where the owner does.
    let owner = owner.filter(|owner| owner.as_ref() != before);
    Ok(ConnectionPatch {
        shared: Some(shared),
        owner: owner.map(|id| id.map(|id| User { id, name: None })),
        ..ConnectionPatch::default()
    })
}

// ---- what answers for it ----

pub(super) async fn show_replacement<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (chosen, across) = (kept(call, "with").unwrap_or_default(), kept(call, "across").is_some());
    render_replacement(context, call, chosen, across, None).await
}

async fn render_replacement<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    chosen: String,
    across: bool,
    rejected: Option<&Error>,
) -> Result<Response> {
    let listed = call.path_connection()?;
    let (candidates, (workflows, app_name)) = context
        .at_once(list_candidates(context, &page::ENGLISH, call.session()?, listed), load_use(context, listed))
        .await;
    let view = ReplacementView {
        candidates: candidates?,
        chosen,
        across,
        answers_for_others: !listed.replaces.is_empty(),
        workflows: workflows?,
    };
    Ok(show(context, call, listed, app_name, ConnectionForm::Replacement(view), rejected))
}

pub(super) async fn submit_replacement<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    match replace(context, call).await {
        Ok(()) => changed(context, call, NoticeCode::Replaced).await,
        Err(error) if is_correctable(&error) => {
            let chosen = input::form_field(call.request, "with").unwrap_or_default();
            let across = input::form_field(call.request, "across").is_some();
            render_replacement(context, call, chosen, across, Some(&error)).await
        }
        Err(error) => Err(error),
    }
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

// ---- its end ----

pub(super) async fn show_disconnect_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    show_disconnect(context, call, call.path_connection()?).await
}

pub(super) async fn show_disconnect<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    listed: &ListedConnection,
) -> Result<Response> {
    let (workflows, app_name) = load_use(context, listed).await;
    let view = DisconnectView {
        workflows: workflows?,
        last_used_at: listed.connection.last_used_at,
        is_default: listed.serves_default,
    };
    Ok(show(context, call, listed, app_name, ConnectionForm::Disconnect(view), None))
}

/// The workflows that used it, and the name of its app.
async fn load_use<P: Ports>(context: &Context<P>, listed: &ListedConnection) -> (Result<Vec<String>>, String) {
    let app_name = connections::load_app_name(context, &listed.connection);
    context.at_once(list_workflows(context, listed), app_name).await
}

/// The workflows that used it, each once.
async fn list_workflows<P: Ports>(context: &Context<P>, listed: &ListedConnection) -> Result<Vec<String>> {
    let uses = connections::list_uses(context, &listed.connection, ("", ""), MAX_USES_SHOWN).await?.data;
    let mut names: Vec<String> = uses.into_iter().map(|one| one.workflow).filter(|name| !name.is_empty()).collect();
    names.dedup();
    Ok(names)
}
