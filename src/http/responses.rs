//! What the API answers, as types: every member of an answer stands here, or in a type of the core that is shown as it is.
//! The documentation of a member is its description in `/openapi.json` and docs/api.md.
//!
//! Refuses secrets, but for the few that are shown once or are what was asked for.

mod access;
mod app;
mod client;
mod connection;
mod installation;

pub(super) use access::{
    ApiKeyResponse, CreatedLinkResponse, CreatedSignInLinkResponse, DeletedKeyResponse, LinkResponse,
    NewApiKeyResponse, SessionResponse, SessionType, SignInLinkResponse,
};
pub(super) use app::{AppDetailsResponse, UpdatedAppResponse};
pub(super) use client::OAuthClientResponse;
pub(super) use connection::{
    CheckedConnectionResponse, ConnectionResponse, DisconnectedResponse, ResolvedCredentialResponse,
    UpdatedConnectionResponse,
};
pub(super) use installation::{
    CreatedWorkspaceResponse, DeletedWorkspaceResponse, HealthResponse, StatusResponse, WorkspaceStateResponse,
};

use crate::cache::CacheRemovalStatus;

/// What an answer tells of the cache: something only where a copy could not be removed yet.
pub(super) fn kept_copies(copies: Option<CacheRemovalStatus>) -> Option<CacheRemovalStatus> {
    copies.filter(|copies| matches!(copies, CacheRemovalStatus::Retrying { .. }))
}
