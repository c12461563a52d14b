//! What the log tells of access: who was refused, and each credential that was handed out.
//!
//! Owns these lines. Their values are ids, codes and the route as the table names it. Refuses the rest of a request:
//! paths hold tokens of links, queries hold codes, and headers hold keys.

use serde_json::{Value, json};

use super::Call;
use super::routes::Found;
use crate::core::Core;
use crate::error::{Code, Error};
use crate::ports::Ports;
use crate::resolve::{Ask, Resolved};

/// Writes a line where a caller was refused for who they are or for what they may do. What is not theirs looks like
/// what does not exist, to them and therefore here.
pub(super) fn refused<P: Ports>(core: &Core<P>, call: &Call<'_>, found: &Found, error: &Error) {
    let event = match error.code {
        Code::Unauthorized => "authentication_refused",
        Code::InsufficientKeyScope | Code::FormRejected | Code::WorkflowNotAllowed | Code::ConnectionNotFound => {
            "authorization_refused"
        }
        Code::NotFound | Code::LinkEnded if matches!(found, Found::Route { .. }) => "authorization_refused",
        _ => return,
    };
    let session = call.session.as_ref().map(|session| &session.workspace);
    let workspace = call.key.as_ref().map(|key| &key.workspace).or(session);
    let fields = json!({
        "code": error.code.as_str(),
        "route": route(found),
        "key": key(call),
        "workspace": workspace,
        "request": call.request.id,
    });
    core.log("warn", event, &without_nulls(fields));
}

/// Writes a line for a credential that leaves this program. `uses` counts by workflow and step; this tells each time.
pub(super) fn handed_out<P: Ports>(core: &Core<P>, call: &Call<'_>, ask: Option<&Ask>, resolved: &Resolved) {
    let (workflow, step) = (ask.and_then(|ask| ask.workflow.as_deref()), ask.and_then(|ask| ask.step.as_deref()));
    let fields = json!({
        "connection": resolved.id,
        "key": key(call),
        "workflow": workflow,
        "step": step,
        "source": resolved.source,
        "request": call.request.id,
    });
    core.log("info", "credential_handed_out", &without_nulls(fields));
}

/// Writes a line for a person who was signed in.
pub(super) fn signed_in<P: Ports>(core: &Core<P>, call: &Call<'_>, workspace: &crate::ids::WorkspaceId) {
    core.log("info", "signed_in", &json!({ "workspace": workspace, "request": call.request.id }));
}

/// The id of the key that was sent, known or not. It is public, and has one form.
fn key(call: &Call<'_>) -> Option<String> {
    call.presented.as_ref().map(|key| key.id.as_str().to_owned())
}

fn route(found: &Found) -> Option<String> {
    match found {
        Found::Route { line, .. } => Some(format!("{} {}", line.method.as_str(), line.path)),
        Found::OtherMethod { .. } | Found::Nothing => None,
    }
}

fn without_nulls(mut fields: Value) -> Value {
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    fields
}
