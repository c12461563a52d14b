//! Which shard a request is for.
//!
//! Owns the one place where it is decided: from the credential that the request carries, or from what its path names where
//! that opens the page. An id in the path of a caller with a key or a session decides nothing: another shard's is not found.

use super::routes::{RequiredAuth, RouteMatch};
use super::{Request, browser_session};
use crate::caller::PresentedKey;
use crate::context::Context;
use crate::ids::{ClientId, FlowId, Shard, WorkspaceId};
use crate::ports::Ports;

/// The shard of a request. What names none is for the first.
pub(super) fn of_request<P: Ports>(
    context: &Context<P>,
    request: &Request,
    found: &RouteMatch,
    key: Option<&PresentedKey>,
) -> Shard {
    let session = || {
        let token = browser_session::read_user_token(context, request)?;
        Shard::of_token(token.expose())
    };
    let named = match found {
        RouteMatch::Matched { route, path_params } => {
            let param = path_params.first().map(String::as_str);
            match route.auth {
                RequiredAuth::Key(_) | RequiredAuth::KeyInHandler(_) => key.map(|key| key.id.shard()),
                RequiredAuth::Operator => param.and_then(WorkspaceId::parse).map(|id| id.shard()),
                RequiredAuth::Browser => param.and_then(of_param).or_else(session),
                RequiredAuth::User(_) => session(),
                RequiredAuth::App => param.and_then(ClientId::parse).map(|id| id.shard()),
                // What the text says is sealed: its use case finds the database.
                RequiredAuth::Holder => None,
                RequiredAuth::Public => param.and_then(Shard::of_token).or_else(session),
            }
        }
        RouteMatch::NoMatch => session(),
        RouteMatch::WrongMethod { .. } => None,
    };
    named.unwrap_or(Shard::FIRST)
}

/// What a browser's path names: a flow, a client, a workspace, or a token.
fn of_param(text: &str) -> Option<Shard> {
    let flow = || FlowId::parse(text).map(|id| id.shard());
    let client = || ClientId::parse(text).map(|id| id.shard());
    let workspace = || WorkspaceId::parse(text).map(|id| id.shard());
    flow().or_else(client).or_else(workspace).or_else(|| Shard::of_token(text))
}
