//! `Idempotency-Key` at the border: one step around the handlers of all routes that create something.
//!
//! The table of routes says which these are. A request without the header costs nothing here.

use super::routes::{self, Handler, RequiredAuth, RouteEntry};
use super::{Body, Call, Method, Response, input};
use crate::authorize::Action;
use crate::context::Context;
use crate::error::{Error, Result};
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

fn refused_or_failed(status: u16) -> AttemptOutcome<'static> {
    if status >= 500 { AttemptOutcome::Failed } else { AttemptOutcome::Refused }
}
