//! Webhooks, for programs.

use serde::Deserialize;

use super::Call;
use super::body::{DeletedResponse, Json, ListResponse, Unread};
use super::input::QueryParams;
use super::responses::{DeliveryResponse, NewWebhookResponse, WebhookResponse};
use crate::context::Context;
use crate::error::Result;
use crate::ids::WebhookId;
use crate::ports::Ports;
use crate::preconditions::ReadState;
use crate::time::Timestamp;
use crate::webhook::{DeliveryStatus, Webhook, WebhookEventType};
use crate::webhooks::{self, WebhookPatch};

/// A webhook to create.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CreateWebhookRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct CreateWebhookInput {
    /// Where events are sent: `https`, at a public host.
    #[cfg_attr(test, schemars(url, length(max = 2048), extend("examples" = ["https://hooks.example.com/connections"])))]
    url: String,
    /// The types of events that are sent.
    #[cfg_attr(test, schemars(length(min = 1)))]
    types: Vec<WebhookEventType>,
}

/// The changes of a webhook. Absent or null members are unchanged.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "UpdateWebhookRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateWebhookInput {
    /// Where events are sent.
    #[cfg_attr(test, schemars(url, length(max = 2048)))]
    url: Option<String>,
    /// The types of events that are sent. Replaces the list.
    #[cfg_attr(test, schemars(length(min = 1)))]
    types: Option<Vec<WebhookEventType>>,
    /// Whether events are sent. What happens while it is false is not sent later; what was pending before is.
    enabled: Option<bool>,
}

/// How a webhook gets its new secret.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "RotateWebhookRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct RotateWebhookInput {
    /// Seconds for which each delivery is signed with the previous secret, too. 0 ends it at once.
    #[cfg_attr(test, schemars(range(min = 0, max = 604_800), extend("default" = 86400)))]
    overlap_seconds: Option<i64>,
}

fn webhook_json<P: Ports>(context: &Context<P>, webhook: Webhook) -> Json<WebhookResponse> {
    let state = ReadState::of_webhook(&webhook);
    Json::ok(WebhookResponse::of(webhook, context.now())).tagged(state)
}

pub(super) async fn create_webhook<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, CreateWebhookInput>,
) -> Result<Json<NewWebhookResponse>> {
    let CreateWebhookInput { url, types } = body.read()?;
    let (workspace, actor) = (&call.caller_key()?.workspace, call.key_actor()?);
    let (webhook, secret) = webhooks::create(context, workspace, &url, types, &actor).await?;
    Ok(Json::created(NewWebhookResponse::of(webhook, &secret, context.now())))
}

pub(super) async fn list_webhooks<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<WebhookResponse>>> {
    let filters = QueryParams::parse_list_query(call.request, &[])?;
    let after = filters.cursor(WebhookId::parse)?;
    let page = webhooks::list(context, &call.caller_key()?.workspace, after.as_ref(), filters.limit()?).await?;
    Ok(Json::ok(ListResponse::of(page, |webhook| WebhookResponse::of(webhook, context.now()))))
}

pub(super) async fn get_webhook<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<WebhookResponse>> {
    Ok(webhook_json(context, call.path_webhook()?.clone()))
}

pub(super) async fn update_webhook<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, UpdateWebhookInput>,
) -> Result<Json<WebhookResponse>> {
    let UpdateWebhookInput { url, types, enabled } = body.read()?;
    let patch = WebhookPatch { url, types, enabled };
    let (actor, if_match) = (call.key_actor()?, call.if_match()?);
    let changed = webhooks::update(context, call.path_webhook()?, patch, &actor, &if_match).await?;
    Ok(webhook_json(context, changed))
}

pub(super) async fn delete_webhook<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedResponse<WebhookId>>> {
    let webhook = call.path_webhook()?;
    webhooks::delete(context, webhook, &call.key_actor()?, &call.if_match()?).await?;
    Ok(Json::ok(DeletedResponse::of(webhook.id.clone())))
}

pub(super) async fn rotate_webhook<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, RotateWebhookInput>,
) -> Result<Json<NewWebhookResponse>> {
    let input = body.read()?;
    let rotated = webhooks::rotate(context, call.path_webhook()?, input.overlap_seconds, &call.key_actor()?).await?;
    Ok(Json::ok(NewWebhookResponse::of(rotated.0, &rotated.1, context.now())))
}

pub(super) async fn test_webhook<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<DeliveryResponse>> {
    Ok(Json::ok(DeliveryResponse::of(webhooks::send_test(context, call.path_webhook()?).await?)))
}

pub(super) async fn list_deliveries<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<DeliveryResponse>>> {
    let filters = QueryParams::parse_list_query(call.request, &["status"])?;
    let status = filters.get_parsed("status", DeliveryStatus::parse, "must be pending, delivered or failed.")?;
    let before = filters.cursor(parse_position)?.unwrap_or_else(|| (Timestamp::from_unix(i64::MAX), String::new()));
    let page = webhooks::list_deliveries(context, call.path_webhook()?, status, &before, filters.limit()?).await?;
    Ok(Json::ok(ListResponse::of(page, DeliveryResponse::of)))
}

/// A cursor: the time of an event and its id.
pub(super) fn parse_position(text: &str) -> Option<(Timestamp, String)> {
    let (at, event) = text.split_once('.')?;
    Some((Timestamp::from_unix(at.parse().ok()?), event.to_owned()))
}

pub(super) async fn redeliver_event<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<DeliveryResponse>> {
    let sent = webhooks::redeliver(context, call.path_webhook()?, call.path_param(1)).await?;
    Ok(Json::ok(DeliveryResponse::of(sent)))
}
