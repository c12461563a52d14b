//! E-mail to the owners of connections and the admins of a workspace.
//!
//! Events are written to the outbox, as for webhooks. `planning` passes events on to people, `sending` sends what is due,
//! and both are steps of the scheduled run. Owns whether e-mail is on, what a person wants to get, and how they end it
//! from an e-mail. Refuses addresses that nobody has vouched for: a person is reached at the one that came with their sign-in.

pub mod planning;
pub mod sending;
pub mod stopping;

use std::collections::BTreeMap;

use crate::audit::{Actor, EventType};
use crate::context::Context;
use crate::email::message::{self, Pages, Written};
use crate::email::words::ENGLISH;
use crate::email::{EmailPreference, EmailSubscription, PersonEmail, told_types};
use crate::email_address::EmailAddress;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{WebhookId, WorkspaceId};
use crate::ports::{Database, Email, MailError, Mailer, Ports};
use crate::secret::Secret;
use crate::store::emails;
use crate::store::events::{ChangedBy, EventSubject};

/// Whether this installation can send e-mail.
pub fn is_available<P: Ports>(context: &Context<P>) -> bool {
    context.ports.mailer().is_bound() && context.config.email_from.is_some()
}

/// How e-mail of a workspace goes. None: it is off.
pub async fn load_settings<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
) -> Result<Option<EmailSubscription>> {
    Ok(emails::get(context.db(), workspace).await?)
}

/// Turns e-mail of a workspace on or off.
///
/// # Errors
/// `conflict` where this installation cannot send any.
pub async fn switch<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    enabled: bool,
    actor: &Actor,
) -> Result<Option<EmailSubscription>> {
    if enabled && !is_available(context) {
        return Err(not_available());
    }
    let detail = if enabled { "e-mail: on" } else { "e-mail: off" };
    let subject = EventSubject::default();
    let event = context.event_statement_about(workspace, EventType::WorkspaceChanged, actor, subject, Some(detail))?;
    let change = if enabled {
        let id = WebhookId::random(context.ports.random(), workspace.shard())?;
        emails::turn_on(&id, workspace, &told_types(), context.now())
    } else {
        emails::turn_off(workspace)
    };
    context.audited_db(event, ChangedBy::First).batch(vec![change]).await?;
    load_settings(context, workspace).await
}

fn not_available() -> Error {
    Error::new(
        ErrorCode::Conflict,
        "This installation cannot send e-mail. Its operator binds EMAIL and sets EMAIL_FROM (docs/email.md).",
    )
    .with_hints(|h| {
        h.for_people =
            Some("This installation can't send e-mail yet. Whoever operates it sets it up (docs/email.md).".into());
    })
}

/// How to reach a person, and what they want to get.
///
/// # Errors
/// `not_found` for somebody who was removed.
pub async fn load_person<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, user: &str) -> Result<PersonEmail> {
    emails::get_person(context.db(), workspace, user).await?.ok_or_else(|| Error::not_found("person"))
}

/// Changes what a person gets.
pub async fn choose<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    user: &str,
    preference: EmailPreference,
    actor: &Actor,
) -> Result<()> {
    let subject = EventSubject { target: Some(user), ..EventSubject::default() };
    let detail = Some(preference.as_str());
    let event = context.event_statement_about(workspace, EventType::EmailPreferenceChanged, actor, subject, detail)?;
    let change = emails::set_preference(workspace, user, preference);
    context.audited_db(event, ChangedBy::First).batch(vec![change]).await?;
    Ok(())
}

/// Sends a test to a person now. Answers what came of it.
///
/// # Errors
/// `conflict` where this installation cannot send any, or nobody knows the person's address.
pub async fn send_test<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    user: &str,
) -> Result<std::result::Result<EmailAddress, MailError>> {
    if !is_available(context) {
        return Err(not_available());
    }
    let no_address = || {
        Error::new(ErrorCode::Conflict, "Your e-mail address is not known.")
            .with_hints(|h| h.for_people = Some("We don't know your e-mail address.".into()))
    };
    let address = load_person(context, workspace, user).await?.address.ok_or_else(no_address)?;
    let stop = stopping::stop_url(context, workspace, user)?;
    let public_url = &context.config.public_url;
    let written = message::write_test(&ENGLISH, &Pages { at: &|path| public_url.at(path), stop: stop.expose() });
    let sent = hand_over(context, &address, written, &stop).await;
    let recorded = match &sent {
        Ok(()) => emails::mark_working(workspace, context.now()),
        Err(error) => emails::mark_failing(workspace, context.now(), sending::error_code(error)),
    };
    context.db().batch(vec![recorded]).await?;
    Ok(sent.map(|()| address))
}

/// Hands an e-mail over to the service. Mail programs find in its headers how it is ended (RFC 2369, RFC 8058).
async fn hand_over<P: Ports>(
    context: &Context<P>,
    to: &EmailAddress,
    written: Written,
    stop: &Secret,
) -> std::result::Result<(), MailError> {
    let Some(from) = &context.config.email_from else { return Err(MailError::Refused("not_configured".into())) };
    let mut headers = BTreeMap::from([("Auto-Submitted", "auto-generated".to_owned())]);
    // The service takes none without TLS, as in development.
    if context.config.public_url.is_secure() {
        headers.insert("List-Unsubscribe", format!("<{}>", stop.expose()));
        headers.insert("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned());
    }
    let email = Email {
        from: from.as_str().to_owned(),
        to: to.as_str().to_owned(),
        subject: written.subject,
        text: written.text,
        html: written.html,
        headers,
    };
    context.ports.mailer().send(&email).await
}
