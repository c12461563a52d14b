//! E-mail of the workspace: whether it is on, whether it works, and a test.

use maud::{Markup, html};

use super::super::frame::{
    code_text, csrf_field, head, icon, relative_time_or_never, status_badge, tone_class, tone_icon, user_text,
};
use super::super::text::fill;
use super::fields::{FormErrors, form_errors};
use super::{SettingsPage, settings_page};
use crate::email::NO_ANSWER;
use crate::http::page::{PageContext, StatusLabel, Tone};
use crate::time::Timestamp;

/// What came of a test.
#[derive(Debug, Clone)]
pub enum EmailTest {
    /// The service has taken it, for this address.
    Sent(String),
    /// The service refuses it, with this code.
    Refused(String),
    /// The service did not answer.
    NoAnswer,
}

/// E-mail of the workspace.
#[derive(Debug, Clone, Default)]
pub struct EmailSettingsView {
    /// Whether this installation can send e-mail.
    pub is_available: bool,
    /// Whether people are notified.
    pub is_on: bool,
    /// The sender.
    pub from: Option<String>,
    /// The address of the admin who looks.
    pub own_address: Option<String>,
    /// When the service last took one.
    pub last_sent_at: Option<Timestamp>,
    /// When one last failed, and the code.
    pub last_failure: Option<(Timestamp, String)>,
    /// What was refused.
    pub errors: FormErrors,
    /// What came of a test.
    pub test: Option<EmailTest>,
}

impl EmailSettingsView {
    fn status(&self, shell: &PageContext) -> StatusLabel {
        let text = &shell.text.emails;
        let fails = self.last_failure.as_ref().is_some_and(|(at, _)| self.last_sent_at.is_none_or(|sent| sent < *at));
        let (words, tone) = match (self.is_available, self.is_on, fails) {
            (false, ..) => (text.unavailable, Tone::Info),
            (_, false, _) => (text.off, Tone::Info),
            (_, _, true) => (text.failing, Tone::Bad),
            _ => (text.on, Tone::Good),
        };
        StatusLabel { text: words.to_owned(), tone }
    }
}

/// E-mail of the workspace.
pub fn settings_email(shell: &PageContext, view: &EmailSettingsView) -> Markup {
    let text = &shell.text.emails;
    let body = html! {
        (head(&html! { (text.title) }, &status_badge(&view.status(shell))))
        @if let Some(test) = &view.test { (test_notice(shell, test)) }
        (form_errors(shell, &view.errors, &[]))
        p { (text.about) }
        @if !view.is_available { (unavailable(shell)) }
        @if view.is_available || view.is_on || view.from.is_some() { (switch_section(shell, view)) }
        @if view.is_available { (test_section(shell, view)) }
        section.card aria-labelledby="own" {
            h2 #own { (text.own) }
            p { @match &view.own_address {
                Some(address) => (fill(text.own_address, &[("address", user_text(address))])),
                None => (text.no_address),
            } }
            div.actions { a.button href="/email" { (text.choose) } }
        }
    };
    settings_page(shell, SettingsPage::Email, text.title, &body)
}

fn unavailable(shell: &PageContext) -> Markup {
    let text = &shell.text.emails;
    html! {
        div.notice.info {
            (icon("info"))
            div { p { (text.unavailable_about) } }
        }
    }
}

fn switch_section(shell: &PageContext, view: &EmailSettingsView) -> Markup {
    let text = &shell.text.emails;
    html! {
        section.card aria-labelledby="state" {
            h2 #state { (text.state) }
            dl {
                @if let Some(from) = &view.from { div { dt { (text.from) } dd { (user_text(from)) } } }
                @if view.is_on {
                    div { dt { (text.last_sent) } dd { (relative_time_or_never(shell, view.last_sent_at)) } }
                    @if let Some((at, code)) = &view.last_failure {
                        div { dt { (text.last_failure) } dd {
                            (relative_time_or_never(shell, Some(*at))) ": "
                            @if code == NO_ANSWER { (text.no_answer) } @else { (code_text(code)) }
                        } }
                    }
                }
            }
            @if view.is_on || view.is_available {
                form method="post" action="/settings/email" {
                    (csrf_field(shell))
                    input type="hidden" name="enabled" value=(if view.is_on { "no" } else { "yes" });
                    div.actions {
                        @if view.is_on { button type="submit" { (text.switch_off) } }
                        @else { button.primary type="submit" { (text.switch_on) } }
                    }
                }
            }
        }
    }
}

fn test_section(shell: &PageContext, view: &EmailSettingsView) -> Markup {
    let text = &shell.text.emails;
    html! {
        section.card aria-labelledby="test" {
            h2 #test { (text.test) }
            @if let Some(address) = &view.own_address {
                p { (fill(text.test_about, &[("address", user_text(address))])) }
                form method="post" action="/settings/email/test" {
                    (csrf_field(shell))
                    div.actions { button type="submit" { (text.test) } }
                }
            } @else {
                p { (text.test_needs_address) }
            }
        }
    }
}

fn test_notice(shell: &PageContext, test: &EmailTest) -> Markup {
    let text = &shell.text.emails;
    let (tone, words) = match test {
        EmailTest::Sent(address) => (Tone::Good, fill(text.test_sent, &[("address", user_text(address))])),
        EmailTest::Refused(code) => (Tone::Bad, fill(text.test_refused, &[("code", code_text(code))])),
        EmailTest::NoAnswer => (Tone::Waiting, html! { (text.test_unanswered) }),
    };
    html! {
        div #sent.notice.(tone_class(tone)) role="status" tabindex="-1" autofocus {
            (icon(tone_icon(tone)))
            div {
                p { (words) }
                @if let EmailTest::Refused(code) = test { @if let Some(help) = help_for(shell, code) { p { (help) } } }
            }
        }
    }
}

/// What to do about a code, where a person here can do something.
fn help_for(shell: &PageContext, code: &str) -> Option<&'static str> {
    let text = &shell.text.emails;
    match code {
        "E_SENDER_NOT_VERIFIED" | "E_SENDER_DOMAIN_NOT_AVAILABLE" => Some(text.help_sender),
        "E_RECIPIENT_SUPPRESSED" => Some(text.help_suppressed),
        "E_RECIPIENT_NOT_ALLOWED" => Some(text.help_not_allowed),
        "E_RATE_LIMIT_EXCEEDED" | "E_DAILY_LIMIT_EXCEEDED" => Some(text.help_limit),
        _ => None,
    }
}
