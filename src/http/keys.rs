//! A workspace and its API keys.

use serde::Deserialize;

use super::body::{Json, ListResponse, Unread};
use super::input::QueryParams;
use super::responses::{self, ApiKeyResponse, DeletedKeyResponse, NewApiKeyResponse};
use super::{Call, input, sessions};
use crate::api_keys::{self, NewApiKey};
use crate::app::AppId;
use crate::authorize::Caller;
use crate::caller::KeyScope;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::ids::{ApiKeyId, ConnectionId};
use crate::json::objects;
use crate::ports::Ports;
use crate::preconditions::ReadState;
use crate::time::Timestamp;
use crate::workspace::Workspace;
use crate::workspaces::{self, BrandingPatch, WorkspacePatch};

pub(super) async fn get_own_workspace<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<Workspace>> {
    let workspace = workspaces::load_workspace(context, &call.caller_key()?.workspace).await?;
    let state = ReadState::of_workspace(&workspace);
    Ok(Json::ok(workspace).tagged(state))
}

/// The changes of the workspace. Absent members are unchanged, and so are a name and origins that are null.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "UpdateWorkspaceRequest"))]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and an object are three different wishes")]
pub(super) struct UpdateWorkspaceInput {
    /// No control characters; surrounding spaces are removed.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: Option<String>,
    /// The permitted origins of `return_to`: https, no path. Replaces the list.
    #[cfg_attr(test, schemars(length(max = 50), inner(url), extend("examples" = [["https://app.example.com"]])))]
    allowed_origins: Option<Vec<String>>,
    /// What the pages of connect links show of your product, beside the workspace and the host of the installation. Absent:
    /// unchanged. Null: nothing.
    #[serde(default, deserialize_with = "input::present")]
    #[cfg_attr(test, schemars(with = "Option<BrandingInput>"))]
    branding: Option<Option<BrandingInput>>,
}

/// Changes of the branding. Absent members are unchanged, and null removes one.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "BrandingRequest"))]
#[serde(remote = "Self", deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a text are three different wishes")]
struct BrandingInput {
    /// The product's name. No control characters; surrounding spaces are removed.
    #[serde(default, deserialize_with = "input::present")]
    #[cfg_attr(test, schemars(with = "Option<String>", length(min = 1, max = 60)))]
    name: Option<Option<String>>,
    /// The address of its logo: https, at a public host that is not this installation's. The browsers of guests load it, and it is
    /// shown 48 pixels high and wide.
    #[serde(default, deserialize_with = "input::present")]
    #[cfg_attr(test, schemars(with = "Option<String>", url, length(max = 2048)))]
    logo_url: Option<Option<String>>,
    /// The colour of the main button, `#rrggbb`. The text on it becomes white or black.
    #[serde(default, deserialize_with = "input::present")]
    #[cfg_attr(test, schemars(with = "Option<String>", regex(pattern = "^#[0-9a-fA-F]{6}$"), extend("examples" = ["#0a50b0"])))]
    accent: Option<Option<String>>,
}

objects!(BrandingInput);

pub(super) async fn update_own_workspace<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, UpdateWorkspaceInput>,
) -> Result<Json<Workspace>> {
    let UpdateWorkspaceInput { name, allowed_origins, branding } = body.read()?;
    let branding = branding
        .map(|change| change.map(|BrandingInput { name, logo_url, accent }| BrandingPatch { name, logo_url, accent }));
    let patch = WorkspacePatch { name, allowed_origins, branding };
    let (workspace, actor, if_match) = (&call.caller_key()?.workspace, call.key_actor()?, call.if_match()?);
    let changed = workspaces::update_workspace(context, workspace, patch, &actor, &if_match).await?;
    let state = ReadState::of_workspace(&changed);
    Ok(Json::ok(changed).tagged(state))
}

/// An API key to create.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CreateKeyRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct CreateKeyInput {
    /// No control characters; surrounding spaces are removed.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: String,
    /// What it may do.
    #[cfg_attr(test, schemars(length(min = 1)))]
    scopes: Vec<KeyScope>,
    /// The only connections it may see. Absent or null: all.
    #[cfg_attr(test, schemars(length(max = 1000)))]
    connections: Option<Vec<ConnectionId>>,
    /// The only apps it may see. Absent or null: all.
    #[cfg_attr(test, schemars(length(max = 1000)))]
    apps: Option<Vec<AppId>>,
    /// The only environment whose connections it may see. Those without an environment do not exist for it either. Absent
    /// or null: all.
    environment: Option<Environment>,
    /// When it expires; in the future. Absent or null: never.
    expires_at: Option<Timestamp>,
}

pub(super) async fn create_key<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, CreateKeyInput>,
) -> Result<Json<NewApiKeyResponse>> {
    let CreateKeyInput { name, scopes, connections, apps, environment, expires_at } = body.read()?;
    let new = NewApiKey { name, scopes, connections, apps, environment, expires_at };
    let (key, text) = api_keys::create_key(context, &Caller::Key(call.caller_key()?), new).await?;
    Ok(Json::created(NewApiKeyResponse::of(key, &text, None, context.now())))
}

pub(super) async fn list_keys<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<ApiKeyResponse>>> {
    let filters = QueryParams::parse_list_query(call.request, &["made_by"])?;
    let after = filters.cursor(ApiKeyId::parse)?;
    let maker = sessions::parse_key_filter(&filters, "made_by")?;
    let caller = Caller::Key(call.caller_key()?);
    let page = api_keys::list_keys(context, &caller, maker.as_ref(), after.as_ref(), filters.limit()?).await?;
    Ok(Json::ok(ListResponse::of(page, |key| ApiKeyResponse::of(key, context.now()))))
}

/// What happens to what a key created.
fn should_end_created_items(call: &Call<'_>) -> Result<bool> {
    match QueryParams::parse_known(call.request, &["made"])?.get("made") {
        None | Some("end") => Ok(true),
        Some("keep") => Ok(false),
        Some(_) => Err(Error::invalid_field("made", "must be keep or end.")),
    }
}

pub(super) async fn delete_key<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<DeletedKeyResponse>> {
    let key = call.path_key()?;
    let end = should_end_created_items(call)?;
    let (revoked, copies) = api_keys::revoke_key(context, &Caller::Key(call.caller_key()?), key, end).await?;
    Ok(Json::ok(DeletedKeyResponse {
        id: key.id.clone(),
        deleted: true,
        ended: revoked.ended,
        made_keys: revoked.made_keys,
        cache_entries: responses::kept_copies(Some(copies)),
    }))
}

/// How a key gets its new secret.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RotateKeyRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct RotateKeyInput {
    /// Seconds for which the previous secret is accepted. 0 ends it at once. A resolve with `consistency: edge` may
    /// accept it until its cache entry is deleted.
    #[cfg_attr(test, schemars(range(min = 0, max = 604_800), extend("default" = 86400)))]
    overlap_seconds: Option<i64>,
}

/// A new secret for the same key. Nothing that the key created ends.
pub(super) async fn rotate_key<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, RotateKeyInput>,
) -> Result<Json<NewApiKeyResponse>> {
    let key = call.path_key()?;
    api_keys::require_newest_secret(call.caller_key()?, call.presented_key()?, key)?;
    let input = body.read()?;
    let caller = Caller::Key(call.caller_key()?);
    let rotated = api_keys::rotate_key(context, &caller, key, input.overlap_seconds).await?;
    let copies = Some(rotated.cache_entries);
    Ok(Json::ok(NewApiKeyResponse::of(rotated.key, &rotated.text, copies, context.now())))
}
