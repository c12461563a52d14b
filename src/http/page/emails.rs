//! What a person gets by e-mail: the choice, and the page of the address that ends it.

use maud::{Markup, html};

use super::PageContext;
use super::frame::{csrf_field, head, icon, user_text};
use super::layout::page;
use super::text::fill;
use crate::email::EmailPreference;

/// What a signed-in person gets.
#[derive(Debug, Clone)]
pub struct PersonalEmailView {
    /// Whether the people of the workspace are notified by e-mail.
    pub is_on: bool,
    /// The person's address.
    pub address: Option<String>,
    /// What is chosen.
    pub preference: EmailPreference,
}

/// What a signed-in person gets.
pub fn personal_email(shell: &PageContext, view: &PersonalEmailView) -> Markup {
    let text = &shell.text.emails;
    let choices = [
        (EmailPreference::All, text.choice_all, text.choice_all_about),
        (EmailPreference::Urgent, text.choice_urgent, text.choice_urgent_about),
        (EmailPreference::None, text.choice_none, text.choice_none_about),
    ];
    let body = html! {
        (head(&html! { (text.personal_title) }, &html! {}))
        @if !view.is_on { div.notice.info { (icon("info")) div { p { (text.personal_off) } } } }
        p { @match &view.address {
            Some(address) => (fill(text.own_address, &[("address", user_text(address))])),
            None => (text.no_address),
        } }
        form.card method="post" action="/email" {
            (csrf_field(shell))
            fieldset {
                legend { (text.choice) }
                @for (choice, name, about) in choices {
                    label.tick for={ "emails-" (choice.as_str()) } {
                        input id={ "emails-" (choice.as_str()) } type="radio" name="emails" value=(choice.as_str())
                            checked[choice == view.preference];
                        span { strong { (name) } br; (about) }
                    }
                }
            }
            div.actions { button.primary type="submit" { (shell.text.settings.save) } }
        }
        p.quiet { (text.never) }
    };
    page(shell, text.personal_title, &body)
}

/// The question whether a person wants no more e-mail.
#[derive(Debug, Clone)]
pub struct StopEmailView {
    /// The workspace.
    pub workspace: String,
    /// Where the form posts.
    pub action: String,
}

/// The question whether a person wants no more e-mail. Its form needs no session: the address is the permission.
pub fn stop_email(shell: &PageContext, view: &StopEmailView) -> Markup {
    let text = &shell.text.emails;
    let body = html! {
        h1 { (fill(text.stop_title, &[("workspace", user_text(&view.workspace))])) }
        p { (text.stop_about) }
        form method="post" action=(view.action) {
            (csrf_field(shell))
            div.actions {
                button.main type="submit" { (text.stop) }
                a.button href="/email" { (text.choose) }
            }
        }
    };
    page(shell, text.stop, &body)
}
