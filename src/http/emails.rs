//! E-mail: the settings of a workspace for programs, and the pages with which a person chooses what they get.
//!
//! The address in each e-mail ends it without a session: it was sealed for its recipient. Opening it ends nothing, because mail
//! scanners open links; a mail program posts to it (RFC 8058).

use serde::Deserialize;

use super::body::{Json, Unread};
use super::notices::redirect_with_notice;
use super::page::{self, Message, Notice, NoticeCode, PersonalEmailView, StopEmailView, Tone};
use super::page_frame::{guest_page_context, page_context};
use super::responses::EmailSettingsResponse;
use super::{Call, Response, browser_session, input};
use crate::context::Context;
use crate::email::EmailPreference;
use crate::emails::{self, stopping};
use crate::error::{Error, Result};
use crate::ports::Ports;

/// Whether e-mail of the workspace is on.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PutEmailSettingsRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct PutEmailSettingsInput {
    enabled: bool,
}

pub(super) async fn get_email_settings<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<EmailSettingsResponse>> {
    let settings = emails::load_settings(context, &call.caller_key()?.workspace).await?;
    Ok(Json::ok(EmailSettingsResponse::of(context, settings.as_ref())))
}

pub(super) async fn put_email_settings<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, PutEmailSettingsInput>,
) -> Result<Json<EmailSettingsResponse>> {
    let PutEmailSettingsInput { enabled } = body.read()?;
    let settings = emails::switch(context, &call.caller_key()?.workspace, enabled, &call.key_actor()?).await?;
    Ok(Json::ok(EmailSettingsResponse::of(context, settings.as_ref())))
}

/// What a signed-in person gets.
pub(super) async fn show_email_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let user = browser_session::require_user(session)?;
    let (person, settings) = context
        .at_once(
            emails::load_person(context, &session.workspace, &user.id),
            emails::load_settings(context, &session.workspace),
        )
        .await;
    let (person, settings) = (person?, settings?);
    let view = PersonalEmailView {
        is_on: settings.is_some() && emails::is_available(context),
        address: person.address.map(|address| address.as_str().to_owned()),
        preference: person.preference,
    };
    Ok(Response::html(200, page::personal_email(&page_context(context, call.request, Some(session)), &view)))
}

pub(super) async fn choose_emails<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let user = browser_session::require_user(session)?;
    let chosen = input::form_field(call.request, "emails").unwrap_or_default();
    let wrong = || Error::invalid_field("emails", "must be `all`, `urgent` or `none`.");
    let preference = EmailPreference::parse(&chosen).ok_or_else(wrong)?;
    emails::choose(context, &session.workspace, &user.id, preference, &call.user_actor()?).await?;
    let notice = Notice { code: NoticeCode::Saved, about: String::new() };
    Ok(redirect_with_notice(context, call.request, "/email", &notice))
}

/// The question whether a person wants no more e-mail.
pub(super) async fn show_stop_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let workspace = stopping::preview(context, call.path_param(0)).await?;
    let view = StopEmailView { workspace: workspace.name, action: call.request.path.clone() };
    Ok(Response::html(200, page::stop_email(&guest_page_context(context), &view)))
}

pub(super) async fn stop_emails<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let workspace = stopping::stop(context, call.path_param(0)).await?;
    let shell = guest_page_context(context);
    let text = &shell.text.emails;
    let message = Message {
        title: text.stopped.to_owned(),
        text: page::fill_plain(text.stopped_about, &[("workspace", &workspace.name)]),
        tone: Tone::Good,
        links: vec![(text.choose.to_owned(), "/email".to_owned())],
    };
    Ok(Response::html(200, page::message(&shell, &message)))
}
