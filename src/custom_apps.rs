//! Custom apps: definitions that a workspace keeps beside the catalogue.
//!
//! Owns the revisions of a definition: each change makes one, and connections of earlier ones follow where
//! [`definition_moves`] allows. Refuses to change an app of the catalogue: it is the same for everybody.

use crate::app::{App, AppId};
use crate::audit::{Actor, EventType};
use crate::catalogue;
use crate::context::Context;
use crate::definition_moves::{self, MoveCounts};
use crate::error::{Error, ErrorCode, FieldError, Result};
use crate::ids::WorkspaceId;
use crate::ports::{DatabaseError, Ports, Statement};
use crate::preconditions::{Condition, IfMatch, ReadState};
use crate::quotas::{self, Quota};
use crate::store::apps::{self, AppRow};
use crate::store::events::{AuditedDatabase, ChangedBy, EventSubject};

fn app_not_found() -> Error {
    Error::not_found("app")
}

/// A custom app that may be changed, as it is now.
///
/// # Errors
/// `not_found`; `conflict` where it is an app of the catalogue.
pub async fn load_custom_app<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, id: &AppId) -> Result<AppRow> {
    match apps::get_current(context.db(), workspace, id).await? {
        Some(row) => Ok(row),
        None => Err(catalogue::find(id.as_str()).map_or_else(app_not_found, |app| catalogue_app_error(&app.name))),
    }
}

fn catalogue_app_error(name: &str) -> Error {
    Error::new(
        ErrorCode::Conflict,
        format!(
            "{name} belongs to the catalogue and can't be changed here. Define an app of your own under another id: POST /v1/apps."
        ),
    )
}

/// Creates a custom app from the text of its definition.
///
/// # Errors
/// The definition is wrong, the workspace has such an app, or it has as many as it may have.
pub async fn create_custom_app<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    text: &str,
    actor: &Actor,
) -> Result<App> {
    let app = parse_definition(context, text)?;
    if apps::get_current(context.db(), workspace, &app.id).await?.is_some() {
        return Err(app_exists_error(&app.id));
    }
    let limits = [Quota::Apps, Quota::Revisions(&app.id)];
    store_revision(context, workspace, &app, text, &limits, (EventType::AppCreated, actor), &Condition::default())
        .await?;
    Ok(app)
}

fn parse_definition<P: Ports>(context: &Context<P>, text: &str) -> Result<App> {
    catalogue::read_custom_definition(text, context.config.egress).map_err(|problems| {
        let sentence = |FieldError { field, problem }| match field.as_str() {
            "." => FieldError { field: String::new(), problem: format!("The body {problem}.") },
            _ => FieldError { field, problem: format!("{problem}.") },
        };
        let problems = problems.into_iter().map(|one| FieldError { field: one.field, problem: one.problem });
        Error::invalid_fields(problems.map(sentence).collect())
    })
}

fn app_exists_error(id: &AppId) -> Error {
    Error::new(
        ErrorCode::AlreadyExists,
        format!(
            "There is an app {id} in this workspace already. Change it with PUT /v1/apps/{id}, or choose another id."
        ),
    )
    .with_hints(|h| {
        h.for_people =
            Some(format!("There is an app {id} in this workspace already. Change it, or choose another id."));
    })
}

async fn store_revision<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    app: &App,
    text: &str,
    limits: &[Quota<'_>],
    (event, actor): (EventType, &Actor),
    condition: &Condition,
) -> Result<()> {
    let revision = apps::latest_revision(context.db(), workspace, &app.id).await? + 1;
    let row = AppRow { id: app.id.clone(), revision, definition: text.to_owned() };
    apps::prune(context.db(), workspace, &row, context.now()).await?;
    let detail = format!("revision {revision}");
    let event = app_event(context, workspace, event, actor, &app.id, Some(&detail))?;
    let guarded = quotas::guard_database(context, workspace, limits);
    let db = AuditedDatabase::new(condition.guard(guarded), event, ChangedBy::First);
    let put = apps::put(&db, workspace, &row, context.now()).await;
    let was_refused = put == Err(DatabaseError::Constraint);
    if was_refused {
        condition.require_still_met(context).await?;
    }
    match quotas::map_insert_error(context, workspace, limits, put).await {
        Err(error) if was_refused && error.code == ErrorCode::Internal => Err(Error::new(
            ErrorCode::Conflict,
            "The app was changed elsewhere at the same moment. Read it again, then retry.",
        )),
        put => put,
    }
}

fn app_event<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    event: EventType,
    actor: &Actor,
    app: &AppId,
    detail: Option<&str>,
) -> Result<Statement> {
    let subject = EventSubject { app: Some(app), ..EventSubject::default() };
    context.event_statement_about(workspace, event, actor, subject, detail)
}

/// Replaces the definition of a custom app; answers the app, and what becomes of the connections that it had.
///
/// # Errors
/// The definition is wrong, is another app's, or too many revisions are in use.
pub async fn replace_custom_app<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    current: &AppRow,
    text: &str,
    actor: &Actor,
    if_match: &IfMatch,
) -> Result<(App, MoveCounts)> {
    let app = parse_definition(context, text)?;
    if app.id != current.id {
        return Err(Error::invalid_field("id", format!("must be {}: an app keeps its id.", current.id)));
    }
    let condition = if_match.condition(Some(ReadState::of_app(workspace, current)))?;
    if !is_same_json(&current.definition, text) {
        let limits = [Quota::Revisions(&app.id)];
        store_revision(context, workspace, &app, text, &limits, (EventType::AppChanged, actor), &condition).await?;
    }
    // Also if nothing was changed: the reason against a move may be gone.
    let connections = definition_moves::begin(context, workspace, &app.id, actor).await?;
    Ok((app, connections))
}

/// Whether two texts are the same JSON, ignoring white space and the order of members.
fn is_same_json(left: &str, right: &str) -> bool {
    let parsed = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    parsed(left).is_some_and(|left| parsed(right) == Some(left))
}

/// Removes a custom app. Connections that were made with it go on.
///
/// # Errors
/// `not_found`; `conflict` where it is an app of the catalogue.
pub async fn remove_custom_app<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &AppId,
    actor: &Actor,
    if_match: &IfMatch,
) -> Result<()> {
    let current = load_custom_app(context, workspace, id).await?;
    let condition = if_match.condition(Some(ReadState::of_app(workspace, &current)))?;
    let event = app_event(context, workspace, EventType::AppDeleted, actor, id, None)?;
    let db = AuditedDatabase::new(condition.db(context), event, ChangedBy::First);
    let removed = apps::remove(&db, workspace, id, context.now()).await;
    if !condition.explain(context, removed).await? {
        return Err(app_not_found());
    }
    Ok(apps::clear_definitions_changed(context.db(), workspace, id).await?)
}
