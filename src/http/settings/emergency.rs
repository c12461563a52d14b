//! The panic button of an app, for admins.

use super::super::page::{self, DisconnectAllView, FormErrors, JobView};
use super::super::{Call, Response};
use super::{correctable, field, shell};
use crate::app::AppId;
use crate::authorize::LoadedResource;
use crate::context::Context;
use crate::disconnect_all::{self, AffectedConnections};
use crate::error::{Error, Result};
use crate::names::parse_name;
use crate::ports::Ports;
use crate::registry;

/// Longest reason, in characters.
const MAX_REASON_LENGTH: usize = 500;

/// Seconds after which a browser looks again how far a job is.
const SECONDS_BETWEEN_LOOKS: &str = "5";

fn path_app(call: &Call<'_>) -> Result<AppId> {
    AppId::parse(call.path_param(0)).ok_or_else(|| Error::not_found("app"))
}

/// The name of an app. One that was removed has its id alone.
async fn app_name<P: Ports>(context: &Context<P>, call: &Call<'_>, app: &AppId) -> Result<(String, String)> {
    let found = registry::load_current_app(context, &call.session()?.workspace, app).await?;
    Ok((app.to_string(), found.map_or_else(|| app.to_string(), |found| found.app.name.clone())))
}

/// What would be disconnected, and the page that shows it.
async fn load_affected<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    app: &AppId,
) -> Result<(AffectedConnections, DisconnectAllView)> {
    let workspace = &call.session()?.workspace;
    let count = disconnect_all::count_affected(context, workspace, app.clone(), None);
    let (affected, name) = context.at_once(count, app_name(context, call, app)).await;
    let affected = affected?;
    let view = DisconnectAllView {
        app: name?,
        connections: affected.counts.connections,
        workflows: affected.counts.workflows,
        is_complete: affected.counts.complete,
        ..DisconnectAllView::default()
    };
    Ok((affected, view))
}

pub(in crate::http) async fn show_disconnect_all_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let (_, view) = load_affected(context, call, &path_app(call)?).await?;
    let view = DisconnectAllView { reason: field(call, "reason"), ..view };
    Ok(Response::html(200, page::disconnect_all(&shell(context, call), &view)))
}

pub(in crate::http) async fn disconnect_all_of_app<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let app = path_app(call)?;
    let (affected, view) = load_affected(context, call, &app).await?;
    let shell = shell(context, call);
    let (confirm, reason) = (field(call, "confirm"), field(call, "reason"));
    let checked = if confirm == app.as_str() {
        parse_name("reason", &reason, MAX_REASON_LENGTH)
            .map_err(|_| Error::invalid_field("reason", shell.text.emergency.wrong_reason))
    } else {
        Err(Error::invalid_field("confirm", shell.text.emergency.wrong_confirm))
    };
    match checked {
        Ok(reason) => {
            let job = disconnect_all::disconnect_all(context, affected, &reason, &call.user_actor()?).await?;
            Ok(Response::see_other(&format!("/settings/jobs/{}", job.id)))
        }
        Err(error) => {
            let (status, errors): (u16, FormErrors) =
                correctable(shell.text, error, &[("confirm", ""), ("reason", "")])?;
            let view = DisconnectAllView { confirm, reason, errors, ..view };
            Ok(Response::html(status, page::disconnect_all(&shell, &view)))
        }
    }
}

pub(in crate::http) async fn show_job_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let LoadedResource::Job(job) = &call.subject else { return Err(super::super::undeclared_resource_error()) };
    let shell = shell(context, call);
    let text = &shell.text.emergency;
    let revoked = &job.revoked;
    let outcomes = [
        (text.confirmed, revoked.confirmed),
        (text.unsupported, revoked.unsupported),
        (text.kept_shared, revoked.kept_shared),
        (text.failed, revoked.failed),
    ];
    let view = JobView {
        id: job.id.to_string(),
        app: app_name(context, call, &job.target.app).await?,
        reason: job.reason.clone(),
        connections: job.affected.connections,
        workflows: job.affected.workflows,
        ended: job.ended,
        erased: job.erased,
        outcomes: outcomes.into_iter().filter(|(_, number)| *number > 0).collect(),
        created_at: job.created_at,
        finished_at: job.finished_at,
    };
    let response = Response::html(200, page::disconnect_job(&shell, &view));
    // It goes on without this page, which only shows how far it is.
    Ok(match job.finished_at {
        Some(_) => response,
        None => response.with_header("refresh", SECONDS_BETWEEN_LOOKS.to_owned()),
    })
}
