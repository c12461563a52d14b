//! `Idempotency-Key` at the border: one step around the handlers of all routes that create something; and the same for forms
//! whose answer shows a secret once, which a reload sends again.
//!
//! The table of routes says which these are. A request without the header, or without the form's field, costs nothing here.

use super::page::{self, Message, Tone};
use super::page_frame::page_context;
use super::routes::{self, Handler, RequiredAuth, RouteEntry};
use super::{Body, Call, Method, Response, input, kept_forms};
use crate::authorize::Action;
use crate::caller::hash_secret;
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::http::problem::status_and_title;
use crate::idempotency::{self, AttemptOutcome, Begun, RepeatableRequest};
use crate::ports::Ports;
use crate::secret::Secret;
use crate::store::idempotency::Attempt;

/// Says that an answer is one that was given before.
const REPLAYED: &str = "idempotency-replayed";

/// Whether a route creates something for a program.
pub(super) fn is_repeatable(route: &RouteEntry) -> bool {
    let is_for_programs = matches!(route.auth, RequiredAuth::Key(_) | RequiredAuth::Operator);
    route.method == Method::Post && route.action == Action::Create && is_for_programs
}

/// Whether an answer shows a secret, which is shown once.
pub(super) fn shows_secret(handler: Handler) -> bool {
    matches!(
        handler,
        Handler::CreateWorkspace
            | Handler::CreateKey
            | Handler::CreateLink
            | Handler::CreateSignInLink
            | Handler::CreateWebhook
    )
}

/// Whether a request is to be handled once, however often it is sent.
pub(super) fn is_asked_for(route: &RouteEntry, call: &Call<'_>) -> bool {
    is_repeatable(route) && call.request.header("idempotency-key").is_some()
}

/// Handles a request, or answers what it was answered before.
pub(super) async fn handle_once<P: Ports>(
    context: &Context<P>,
    route: &RouteEntry,
    call: &Call<'_>,
) -> Result<Response> {
    let Body::Bytes(body) = &call.request.body else { return Err(input::body_too_large()) };
    let caller = call.caller_key.as_ref();
    let asked = RepeatableRequest {
        caller: caller.map_or("operator", |key| key.id.as_str()),
        workspace: caller.map(|key| &key.workspace),
        path: &call.request.path,
        key: call.request.header("idempotency-key").unwrap_or_default(),
        body,
        request: &call.request.id,
    };
    match idempotency::begin(context, &asked).await? {
        Begun::Repeated { status, body } => {
            let response = Response::new(status, "application/json; charset=utf-8", body.expose().to_owned());
            Ok(response.with_header(REPLAYED, "true".into()))
        }
        Begun::First(attempt) => {
            let answered = routes::dispatch(context, route.handler, call).await;
            finish(context, route, &attempt, &answered).await;
            answered
        }
    }
}

/// Stores what came of the first attempt, before its caller knows.
async fn finish<P: Ports>(context: &Context<P>, route: &RouteEntry, attempt: &Attempt, answered: &Result<Response>) {
    let (document, answer): (serde_json::Value, _);
    let outcome = match answered {
        Ok(response) if response.status < 300 => {
            document = serde_json::from_str(&response.body).unwrap_or_default();
            answer = (!shows_secret(route.handler)).then(|| Secret::new(response.body.clone()));
            let id = document.get("id").and_then(serde_json::Value::as_str);
            AttemptOutcome::Created { status: response.status, id, answer: answer.as_ref() }
        }
        Ok(response) => refused_or_failed(response.status),
        Err(Error { code, .. }) => refused_or_failed(status_and_title(*code).0),
    };
    idempotency::finish(context, attempt, outcome).await;
}

/// Whether the answer to a form shows a secret once. Sent again, the form makes no second one.
fn form_shows_secret(handler: Handler) -> bool {
    matches!(
        handler,
        Handler::SubmitKey
            | Handler::SubmitKeyRotation
            | Handler::SubmitLink
            | Handler::SubmitInvitation
            | Handler::SubmitWebhook
            | Handler::SubmitWebhookRotation
    )
}

/// Whether a form is to be handled once, however often a browser sends it.
pub(super) fn is_form_sent_once(route: &RouteEntry, call: &Call<'_>) -> bool {
    form_shows_secret(route.handler) && input::form_field(call.request, FORM_ID).is_some()
}

/// The field with what tells a form from the same form on the page loaded anew.
const FORM_ID: &str = "once";

/// Handles a form, or says that it was handled before. What was changed in it in between makes it another one.
pub(super) async fn handle_form_once<P: Ports>(
    context: &Context<P>,
    route: &RouteEntry,
    call: &Call<'_>,
) -> Result<Response> {
    let Body::Bytes(body) = &call.request.body else { return Err(input::body_too_large()) };
    let session = call.session()?;
    let form = input::form_field(call.request, FORM_ID).unwrap_or_default();
    let asked = RepeatableRequest {
        caller: &session.hash,
        workspace: Some(&session.workspace),
        path: &call.request.path,
        key: &hash_secret(&format!("{form} {}", String::from_utf8_lossy(body))),
        body,
        request: &call.request.id,
    };
    match idempotency::begin(context, &asked).await {
        Ok(Begun::First(attempt)) => {
            let answered = routes::dispatch(context, route.handler, call).await;
            let outcome = match &answered {
                Ok(response) if response.status < 300 => {
                    AttemptOutcome::Created { status: response.status, id: None, answer: None }
                }
                Ok(response) => refused_or_failed(response.status),
                Err(error) => refused_or_failed(status_and_title(error.code).0),
            };
            idempotency::finish(context, &attempt, outcome).await;
            answered
        }
        Ok(Begun::Repeated { .. }) => Ok(done_before(context, call)),
        Err(error) if matches!(error.code, ErrorCode::AlreadyDone | ErrorCode::IdempotencyInProgress) => {
            Ok(done_before(context, call))
        }
        Err(error) => Err(error),
    }
}

fn done_before<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Response {
    let shell = page_context(context, call.request, call.session.as_ref());
    let text = &shell.text.settings;
    let back = kept_forms::page_of_form(context, call.request).unwrap_or_else(|| "/settings".to_owned());
    let message = Message {
        title: text.done_before_title.to_owned(),
        text: text.done_before.to_owned(),
        tone: Tone::Info,
        links: vec![(text.back.to_owned(), back)],
    };
    Response::html(409, page::message(&shell, &message))
}

fn refused_or_failed(status: u16) -> AttemptOutcome<'static> {
    if status >= 500 { AttemptOutcome::Failed } else { AttemptOutcome::Refused }
}
