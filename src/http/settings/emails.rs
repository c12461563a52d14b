//! E-mail of the workspace, for admins.

use super::super::notices::redirect_with_notice;
use super::super::page::{self, EmailSettingsView, EmailTest, FormErrors, Notice, NoticeCode};
use super::super::{Call, Response, browser_session};
use super::{correctable, field, shell};
use crate::context::Context;
use crate::emails;
use crate::error::{Error, Result};
use crate::ports::{MailError, Ports};

const PATH: &str = "/settings/email";

#[derive(Default)]
struct Shown {
    status: Option<u16>,
    errors: FormErrors,
    test: Option<EmailTest>,
}

async fn render<P: Ports>(context: &Context<P>, call: &Call<'_>, shown: Shown) -> Result<Response> {
    let session = call.session()?;
    let user = browser_session::require_user(session)?;
    let (settings, person) = context
        .at_once(
            emails::load_settings(context, &session.workspace),
            emails::load_person(context, &session.workspace, &user.id),
        )
        .await;
    let (settings, person) = (settings?, person?);
    let view = EmailSettingsView {
        is_available: emails::is_available(context),
        is_on: settings.is_some(),
        from: context.config.email_from.as_ref().map(|from| from.as_str().to_owned()),
        own_address: person.address.map(|address| address.as_str().to_owned()),
        last_sent_at: settings.as_ref().and_then(|one| one.last_sent_at),
        last_failure: settings.and_then(|one| one.last_failure),
        errors: shown.errors,
        test: shown.test,
    };
    Ok(Response::html(shown.status.unwrap_or(200), page::settings_email(&shell(context, call), &view)))
}

async fn refuse<P: Ports>(context: &Context<P>, call: &Call<'_>, error: Error) -> Result<Response> {
    let (status, errors) = correctable(shell(context, call).text, error, &[])?;
    render(context, call, Shown { status: Some(status), errors, test: None }).await
}

pub(in crate::http) async fn show_settings_email_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    render(context, call, Shown::default()).await
}

pub(in crate::http) async fn switch_email<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let enabled = field(call, "enabled") == "yes";
    match emails::switch(context, &call.session()?.workspace, enabled, &call.user_actor()?).await {
        Ok(_) => {
            let notice = Notice { code: NoticeCode::Saved, about: String::new() };
            Ok(redirect_with_notice(context, call.request, PATH, &notice))
        }
        Err(error) => refuse(context, call, error).await,
    }
}

/// Sends a test to the admin who asks for it, and says what came of it.
pub(in crate::http) async fn test_email<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let user = browser_session::require_user(session)?;
    match emails::send_test(context, &session.workspace, &user.id).await {
        Ok(sent) => {
            let test = match sent {
                Ok(address) => EmailTest::Sent(address.as_str().to_owned()),
                Err(MailError::Refused(code)) => EmailTest::Refused(code),
                Err(MailError::Unknown) => EmailTest::NoAnswer,
            };
            render(context, call, Shown { test: Some(test), ..Shown::default() }).await
        }
        Err(error) => refuse(context, call, error).await,
    }
}
