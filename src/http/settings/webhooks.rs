//! Webhooks and their deliveries, for admins.

use super::super::notices::redirect_with_notice;
use super::super::page::{
    self, DeliveryRow, EventOption, FormErrors, NewWebhookView, Notice, NoticeCode, PageContext, StatusLabel, Texts,
    Tone, WebhookForm, WebhookRow, WebhookView, WebhooksView,
};
use super::super::{Call, Response, input, webhooks as api};
use super::{
    ROWS_PER_PAGE, correctable, explain_address, field, given, is_restored, seen_state, shell, state_to_show,
    with_query,
};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ids::WebhookId;
use crate::ports::Ports;
use crate::preconditions::{IfMatch, ReadState};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::webhook::{Delivery, DeliveryStatus, DisabledReason, Webhook, WebhookEventType};
use crate::webhooks::{self, WebhookPatch};

fn refusal<P: Ports>(
    context: &Context<P>,
    text: &Texts,
    error: Error,
    form: Option<&WebhookForm>,
) -> Result<(u16, FormErrors)> {
    let fields = [("url", text.webhooks.wrong_url), ("types", text.settings.wrong_choices)];
    let (status, mut errors) = correctable(text, error, &fields)?;
    let url = form.map(|form| form.url.as_str()).unwrap_or_default();
    explain_address(text, context.config.egress, &mut errors, "url", url);
    Ok((status, errors))
}

fn status_label(shell: &PageContext, webhook: &Webhook) -> StatusLabel {
    let text = &shell.text.webhooks;
    let (words, tone) = match (&webhook.disabled, &webhook.failing_since) {
        (Some((_, DisabledReason::Caller)), _) => (text.off, Tone::Info),
        (Some(_), _) => (text.off, Tone::Bad),
        (None, Some(_)) => (text.failing, Tone::Waiting),
        (None, None) => (text.on, Tone::Good),
    };
    StatusLabel { text: words.to_owned(), tone }
}

fn problem_of(shell: &PageContext, webhook: &Webhook) -> Option<String> {
    let text = &shell.text.webhooks;
    let words = match webhook.disabled {
        Some((_, DisabledReason::Failing)) => text.off_failing,
        Some((_, DisabledReason::Gone)) => text.off_gone,
        Some((_, DisabledReason::Unreadable)) => text.off_unreadable,
        Some((_, DisabledReason::Caller)) => return None,
        None => webhook.failing_since.map(|_| text.is_failing)?,
    };
    Some(words.to_owned())
}

fn delivery_row(shell: &PageContext, one: &Delivery) -> DeliveryRow {
    let text = &shell.text.webhooks;
    let (words, tone) = match one.status {
        DeliveryStatus::Pending => (text.pending, Tone::Waiting),
        DeliveryStatus::Delivered => (text.delivered, Tone::Good),
        DeliveryStatus::Failed => (text.failed, Tone::Bad),
    };
    let reason = one.last_error.as_deref().map(|code| match code {
        "status" => text.refused.to_owned(),
        "redirect" => text.redirected.to_owned(),
        "timeout" => text.timed_out.to_owned(),
        "network_error" => text.unreachable.to_owned(),
        "address_refused" => text.address_refused.to_owned(),
        "gone" => text.gone.to_owned(),
        other => other.to_owned(),
    });
    let status = one.last_status.map(|status| status.to_string());
    let last = match (reason, status) {
        (Some(reason), Some(status)) => Some(format!("{reason} ({status})")),
        (reason, status) => reason.or(status),
    };
    DeliveryRow {
        id: one.event.clone(),
        kind: one.event_type.clone(),
        status: StatusLabel { text: words.to_owned(), tone },
        created_at: one.created_at,
        attempts: one.attempts,
        last,
        next_attempt_at: one.next_attempt_at,
    }
}

fn options(is_checked: impl Fn(WebhookEventType) -> bool) -> Vec<EventOption> {
    WebhookEventType::ALL.into_iter().map(|one| EventOption { id: one.as_str(), is_checked: is_checked(one) }).collect()
}

fn read_form(call: &Call<'_>) -> WebhookForm {
    let chosen = input::form_field_values(call.request, "type");
    WebhookForm { url: field(call, "url"), types: options(|one| chosen.iter().any(|name| name == one.as_str())) }
}

fn types_of(form: &WebhookForm) -> Vec<WebhookEventType> {
    form.types.iter().filter(|one| one.is_checked).filter_map(|one| WebhookEventType::parse(one.id)).collect()
}

async fn build_view<P: Ports>(context: &Context<P>, call: &Call<'_>, form: WebhookForm) -> Result<WebhooksView> {
    let shell = shell(context, call);
    let after = input::query_param(call.request, "cursor")
        .map(|text| WebhookId::parse(&text).ok_or_else(input::invalid_cursor))
        .transpose()?;
    let page = webhooks::list(context, &call.session()?.workspace, after.as_ref(), ROWS_PER_PAGE).await?;
    Ok(WebhooksView {
        webhooks: page
            .data
            .iter()
            .map(|one| WebhookRow {
                id: one.id.to_string(),
                url: one.url.clone(),
                types: one.types.len(),
                status: status_label(&shell, one),
            })
            .collect(),
        next_page_href: page.next.map(|cursor| with_query("/settings/webhooks", &[("cursor", Some(&cursor))])),
        form,
        errors: FormErrors::default(),
    })
}

pub(in crate::http) async fn show_settings_webhooks_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let form =
        if is_restored(call) { read_form(call) } else { WebhookForm { url: String::new(), types: options(|_| true) } };
    let view = build_view(context, call, form).await?;
    Ok(Response::html(200, page::settings_webhooks(&shell(context, call), &view)))
}

fn secret_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    status: u16,
    webhook: &Webhook,
    secret: &Secret,
) -> Response {
    let view = NewWebhookView {
        id: webhook.id.to_string(),
        url: webhook.url.clone(),
        secret: secret.expose().to_owned(),
        previous_until: webhook.previous.as_ref().map(|(_, until)| *until).filter(|until| *until > context.now()),
    };
    Response::html(status, page::new_webhook(&shell(context, call), &view))
}

/// Makes a webhook. Its secret is in this answer alone.
pub(in crate::http) async fn create_webhook<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let form = read_form(call);
    let workspace = &call.session()?.workspace;
    match webhooks::create(context, workspace, &form.url, types_of(&form), &call.user_actor()?).await {
        Ok((webhook, secret)) => Ok(secret_page(context, call, 201, &webhook, &secret)),
        Err(error) => {
            let shell = shell(context, call);
            let (status, errors) = refusal(context, shell.text, error, Some(&form))?;
            let view = WebhooksView { errors, ..build_view(context, call, form).await? };
            Ok(Response::html(status, page::settings_webhooks(&shell, &view)))
        }
    }
}

/// What is shown beside the webhook: what was entered, what was refused, what was sent.
#[derive(Default)]
struct Shown {
    status: Option<u16>,
    form: Option<WebhookForm>,
    errors: FormErrors,
    sent: Option<Delivery>,
}

async fn render<P: Ports>(context: &Context<P>, call: &Call<'_>, shown: Shown) -> Result<Response> {
    let shell = shell(context, call);
    let position = |text: String| api::parse_position(&text).ok_or_else(input::invalid_cursor);
    let before = input::query_param(call.request, "cursor").map(position).transpose()?;
    let before = before.unwrap_or_else(|| (Timestamp::from_unix(i64::MAX), String::new()));
    let asked = call.path_webhook()?;
    // It may have been changed by what was just sent.
    let reload = async {
        if call.request.method.is_safe() {
            return Ok(asked.clone());
        }
        webhooks::load(context, &call.session()?.workspace, &asked.id).await
    };
    let deliveries = webhooks::list_deliveries(context, asked, None, &before, ROWS_PER_PAGE);
    let (webhook, page) = context.at_once(reload, deliveries).await;
    let (webhook, page) = (webhook?, page?);
    let path = format!("/settings/webhooks/{}", webhook.id);
    let stored = WebhookForm { url: webhook.url.clone(), types: options(|one| webhook.types.contains(&one)) };
    let view = WebhookView {
        id: webhook.id.to_string(),
        status: status_label(&shell, &webhook),
        problem: problem_of(&shell, &webhook),
        is_enabled: webhook.disabled.is_none(),
        state: state_to_show(call, shown.status.unwrap_or(200), ReadState::of_webhook(&webhook).tag),
        form: shown.form.unwrap_or(stored),
        errors: shown.errors,
        sent: shown.sent.as_ref().map(|one| delivery_row(&shell, one)),
        deliveries: page.data.iter().map(|one| delivery_row(&shell, one)).collect(),
        next_page_href: page.next.map(|cursor| with_query(&path, &[("cursor", Some(&cursor))])),
    };
    Ok(Response::html(shown.status.unwrap_or(200), page::settings_webhook(&shell, &view)))
}

async fn refuse<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    error: Error,
    form: Option<WebhookForm>,
) -> Result<Response> {
    let (status, errors) = refusal(context, shell(context, call).text, error, form.as_ref())?;
    render(context, call, Shown { status: Some(status), form, errors, sent: None }).await
}

pub(in crate::http) async fn show_settings_webhook_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let form = is_restored(call).then(|| read_form(call));
    render(context, call, Shown { form, ..Shown::default() }).await
}

async fn change<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    patch: WebhookPatch,
    form: Option<WebhookForm>,
) -> Result<Response> {
    let webhook = call.path_webhook()?;
    match webhooks::update(context, webhook, patch, &call.user_actor()?, &seen_state(call)).await {
        Ok(_) => {
            let notice = Notice { code: NoticeCode::Saved, about: String::new() };
            Ok(redirect_with_notice(context, call.request, &format!("/settings/webhooks/{}", webhook.id), &notice))
        }
        Err(error) => refuse(context, call, error, form).await,
    }
}

pub(in crate::http) async fn change_webhook<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let form = read_form(call);
    let patch = WebhookPatch { url: Some(form.url.clone()), types: Some(types_of(&form)), enabled: None };
    change(context, call, patch, Some(form)).await
}

pub(in crate::http) async fn switch_webhook<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let patch = WebhookPatch { enabled: Some(field(call, "enabled") == "yes"), ..WebhookPatch::default() };
    change(context, call, patch, None).await
}

/// Sends something now, and says what came of it.
pub(in crate::http) async fn test_webhook<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    match webhooks::send_test(context, call.path_webhook()?).await {
        Ok(sent) => render(context, call, Shown { sent: Some(sent), ..Shown::default() }).await,
        Err(error) => refuse(context, call, error, None).await,
    }
}

pub(in crate::http) async fn redeliver<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    match webhooks::redeliver(context, call.path_webhook()?, call.path_param(1)).await {
        Ok(sent) => render(context, call, Shown { sent: Some(sent), ..Shown::default() }).await,
        Err(error) => refuse(context, call, error, None).await,
    }
}

/// A new secret, which is in this answer alone.
pub(in crate::http) async fn rotate_webhook<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let overlap = given(call, "overlap").and_then(|text| text.parse().ok());
    match webhooks::rotate(context, call.path_webhook()?, overlap, &call.user_actor()?).await {
        Ok((webhook, secret)) => Ok(secret_page(context, call, 200, &webhook, &secret)),
        Err(error) => refuse(context, call, error, None).await,
    }
}

pub(in crate::http) async fn delete_webhook<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    webhooks::delete(context, call.path_webhook()?, &call.user_actor()?, &IfMatch::Anything).await?;
    let notice = Notice { code: NoticeCode::WebhookDeleted, about: String::new() };
    Ok(redirect_with_notice(context, call.request, "/settings/webhooks", &notice))
}
