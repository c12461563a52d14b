//! The access events of the log: refused callers, and each returned credential.
//!
//! Owns these lines. Their values are ids, codes and the route as in the table. Contains nothing else of a request:
//! paths contain tokens of links, queries contain codes, and headers contain keys.

use serde_json::{Value, json};

use super::Call;
use crate::audit::EventType;
use crate::audit_log;
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ports::Ports;
use crate::resolve::{DeferredTask, ResolveRequest, ResolvedCredential};

/// Logs a caller who was refused authentication or authorization. A resource of another workspace looks like an unknown
/// one, to the caller and so here.
pub(super) fn write_refusal<P: Ports>(context: &Context<P>, call: &Call<'_>, route: Option<&str>, error: &Error) {
    let event = match error.code {
        ErrorCode::Unauthorized => "authentication_refused",
        ErrorCode::InsufficientKeyScope
        | ErrorCode::FormRejected
        | ErrorCode::WorkflowNotAllowed
        | ErrorCode::ConnectionNotFound => "authorization_refused",
        ErrorCode::NotFound | ErrorCode::LinkEnded if route.is_some() => "authorization_refused",
        _ => return,
    };
    let session = call.session.as_ref().map(|session| &session.workspace);
    let workspace = call.caller_key.as_ref().map(|key| &key.workspace).or(session);
    let fields = json!({
        "code": error.code.as_str(),
        "route": route,
        "key": presented_key_id(call),
        "workspace": workspace,
        "request": call.request.id,
    });
    context.log("warn", event, &without_nulls(fields));
}

/// Logs a returned credential. `uses` counts by workflow and step; this line is written each time. Also answers the line of the
/// audit log, if there is one.
pub(super) fn write_issued_credential<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    request: Option<&ResolveRequest>,
    resolved: &ResolvedCredential,
) -> Result<Option<DeferredTask>> {
    write_use(context, call, EventType::CredentialReturned, request, resolved)
}

/// Logs a request that passes through to an app, with a credential that the caller does not get.
pub(super) fn write_proxied_request<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    request: &ResolveRequest,
    resolved: &ResolvedCredential,
) -> Result<Option<DeferredTask>> {
    write_use(context, call, EventType::RequestProxied, Some(request), resolved)
}

fn write_use<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    event: EventType,
    request: Option<&ResolveRequest>,
    resolved: &ResolvedCredential,
) -> Result<Option<DeferredTask>> {
    let (workflow, step) =
        (request.and_then(|request| request.workflow.as_deref()), request.and_then(|request| request.step.as_deref()));
    let fields = json!({
        "connection": resolved.id,
        "requested": resolved.requested_id,
        "key": presented_key_id(call),
        "workflow": workflow,
        "step": step,
        "source": resolved.source,
        "request": call.request.id,
    });
    context.log("info", event.as_str(), &without_nulls(fields));
    audit_log::event_of_issued_credential(context, &call.presented_key()?.id, event, request, resolved)
}

/// Logs a person who was signed in.
pub(super) fn write_sign_in<P: Ports>(context: &Context<P>, call: &Call<'_>, workspace: &crate::ids::WorkspaceId) {
    context.log("info", "signed_in", &json!({ "workspace": workspace, "request": call.request.id }));
}

/// The id of the key in the request, known or not. It is public, and has one form.
fn presented_key_id(call: &Call<'_>) -> Option<String> {
    call.presented_key.as_ref().map(|key| key.id.as_str().to_owned())
}

fn without_nulls(mut fields: Value) -> Value {
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    fields
}
