//! The answers of the API, as types: every member of an answer is here, or in a type of the core that is shown
//! unchanged. The documentation of a member is its description in `/openapi.json` and docs/api.md.
//!
//! Contains no secrets, except the few that are shown once or were requested.

mod access;
mod app;
mod client;
mod connection;
mod defaults;
mod emails;
mod events;
mod installation;
mod replacements;
mod workflows;
mod identity;
mod jobs;
mod people;
mod webhooks;

pub(super) use access::{
    ApiKeyResponse, CreatedLinkResponse, CreatedSignInLinkResponse, DeletedKeyResponse, LinkResponse,
    NewApiKeyResponse, SessionResponse, SessionType, SignInLinkResponse,
};
pub(super) use app::{AppDetailsResponse, UpdatedAppResponse};
pub(super) use client::{OAuthClientResponse, OpenedHandshakeResponse, ReceivedHandshakeResponse, handshake_address};
pub(super) use connection::{
    CheckedConnectionResponse, ConnectionResponse, DisconnectedResponse, ResolvedCredentialResponse,
    UpdatedConnectionResponse,
};
pub(super) use defaults::{ChangedDefaultResponse, DefaultResponse, EndedDefaultsResponse};
pub(super) use emails::EmailSettingsResponse;
pub(super) use events::VerifiedEventResponse;
pub(super) use identity::IdentityProviderResponse;
pub(super) use installation::{
    CreatedWorkspaceResponse, DeletedWorkspaceResponse, HealthResponse, PlacedWorkspace, StatusResponse,
    WorkspaceStateResponse,
};
pub(super) use jobs::JobResponse;
pub(super) use people::{DeletedPersonResponse, PersonResponse};
pub(super) use replacements::{AcknowledgedResponse, ReplacementResponse};
pub(super) use webhooks::{DeliveryResponse, NewWebhookResponse, WebhookResponse};
pub(super) use workflows::{PreflightResponse, WorkflowResponse, WorkflowUseResponse};

use crate::cache::CacheRemovalStatus;

/// What an answer says about the cache: only if an entry could not be deleted yet.
pub(super) fn kept_copies(copies: Option<CacheRemovalStatus>) -> Option<CacheRemovalStatus> {
    copies.filter(|copies| matches!(copies, CacheRemovalStatus::Retrying { .. }))
}
