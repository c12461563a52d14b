//! Forms of the page that disconnect, bring back, or do not wait.

use super::notices::redirect_with_notice;
use super::page::{Notice, NoticeCode};
use super::settings_view::redirect_to_connection;
use super::{Call, Response, undeclared_resource_error};
use crate::authorize::LoadedResource;
use crate::connection::Connection;
use crate::context::Context;
use crate::disconnect::{self, DisconnectResult};
use crate::error::{ErrorCode, Result};
use crate::ports::Ports;
use crate::revocation::RevocationOutcome;
use crate::undo::{self, Undone};

pub(super) async fn submit_disconnect<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let Connection { workspace, id, name, .. } = &call.path_connection()?.connection;
    disconnect::disconnect_for_now(context, workspace, id, &call.user_actor()?).await?;
    let notice = Notice::disconnected_for_now(id.as_str(), name);
    Ok(redirect_with_notice(context, call.request, "/", &notice))
}

pub(super) async fn submit_undo<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let Connection { workspace, id, .. } = match &call.subject {
        LoadedResource::Disconnected(ended) => &ended.connection,
        // The button was pressed twice.
        LoadedResource::Connection(listed) => {
            return Ok(redirect_to_connection(context, call, &listed.connection.id, NoticeCode::Undone));
        }
        _ => return Err(undeclared_resource_error()),
    };
    let code = match undo::undo_disconnect(context, workspace, id, &call.user_actor()?).await {
        Ok(Undone { lost_defaults: 0, lost_replacement: false }) => NoticeCode::Undone,
        Ok(Undone { lost_defaults: 0, lost_replacement: true }) => NoticeCode::UndoneWithoutReplacement,
        Ok(Undone { lost_replacement: false, .. }) => NoticeCode::UndoneWithoutDefault,
        Ok(Undone { lost_replacement: true, .. }) => NoticeCode::UndoneWithoutBoth,
        Err(error) if error.code == ErrorCode::Conflict => return Ok(too_late(context, call)),
        Err(error) => return Err(error),
    };
    Ok(redirect_to_connection(context, call, id, code))
}

pub(super) async fn submit_revoke_now<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let Connection { workspace, id, name, .. } = match &call.subject {
        LoadedResource::Disconnected(ended) => &ended.connection,
        // Somebody has brought it back in the meantime. It stays.
        LoadedResource::Connection(listed) => {
            return Ok(redirect_to_connection(context, call, &listed.connection.id, NoticeCode::Undone));
        }
        _ => return Err(undeclared_resource_error()),
    };
    let told = match disconnect::revoke_now(context, workspace, id, &call.user_actor()?).await {
        Ok(told) => told,
        Err(error) if error.code == ErrorCode::ConnectionNotFound => return Ok(too_late(context, call)),
        Err(error) => return Err(error),
    };
    let notice = Notice { code: outcome_notice(told), about: name.clone() };
    Ok(redirect_with_notice(context, call.request, "/", &notice))
}

fn outcome_notice(told: DisconnectResult) -> NoticeCode {
    match (told.revoked, told.retrying) {
        (RevocationOutcome::Confirmed, _) => NoticeCode::Disconnected,
        (RevocationOutcome::Unsupported, _) => NoticeCode::DisconnectedUnsupported,
        (RevocationOutcome::KeptShared, _) => NoticeCode::DisconnectedShared,
        (RevocationOutcome::Failed, true) => NoticeCode::DisconnectedRetrying,
        (RevocationOutcome::Failed, false) => NoticeCode::DisconnectedUnconfirmed,
    }
}

/// Its time was over before the button was pressed.
fn too_late<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Response {
    let notice = Notice { code: NoticeCode::UndoTooLate, about: String::new() };
    redirect_with_notice(context, call.request, "/", &notice)
}
