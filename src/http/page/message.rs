//! A page with one message: how a flow or a link ended, or what failed.
//!
//! Owns what is said of callbacks without a flow of this browser, and of links for somebody else. Never shows an app's own text.

use maud::{Markup, html};

use super::frame::{csrf_field, link, tone_class, user_text};
use super::layout::page;
use super::text::{fill, fill_plain};
use super::{PageContext, Texts, Tone};
use crate::connect::callback::CallbackRefusal;

/// A page with one message: how a flow or link ended, or what failed.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its heading.
    pub title: String,
    /// What happened and what to do. An empty line begins a new paragraph.
    pub text: String,
    /// Whether it is good or bad news.
    pub tone: Tone,
    /// Further links: label and address. The first is the main one.
    pub links: Vec<(String, String)>,
}

/// A page with one message.
pub fn message(shell: &PageContext, message: &Message) -> Markup {
    page(shell, &message.title, &message_panel(shell, message))
}

pub(super) fn message_panel(shell: &PageContext, message: &Message) -> Markup {
    let paragraphs = message.text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty());
    html! {
        div.panel.(tone_class(message.tone)) {
            h1 { (user_text(&message.title)) }
            @for paragraph in paragraphs { p { (user_text(paragraph)) } }
            @if !message.links.is_empty() {
                div.actions {
                    @for (index, (label, href)) in message.links.iter().enumerate() {
                        (link(label, href, if index == 0 { "button main" } else { "button" }))
                    }
                }
            } @else if shell.person.is_some() {
                div.actions { (link(shell.text.outcome.back, "/", "button")) }
            }
        }
    }
}

/// Why a callback was refused, and what to do.
pub fn refusal_message(text: &Texts, refusal: CallbackRefusal) -> Message {
    let text = &text.refusal;
    let (title, what, next) = match refusal {
        CallbackRefusal::UnknownState => (text.unknown_title, text.unknown, text.unknown_next),
        CallbackRefusal::Expired => (text.expired_title, text.expired, text.expired_next),
        CallbackRefusal::LinkReopened => (text.reopened_title, text.reopened, text.reopened_next),
        CallbackRefusal::WrongBrowser => (text.other_browser_title, text.other_browser, text.other_browser_next),
    };
    let text = [what, text.nothing_stored, next].join("\n\n");
    Message { title: title.to_owned(), text, tone: Tone::Bad, links: Vec::new() }
}

/// A link that is for somebody else than who is signed in here.
#[derive(Debug, Clone)]
pub struct OtherPersonView {
    /// Whose link it is, if the person may know.
    pub intended: Option<String>,
    /// Who is signed in, and what to do.
    pub text: String,
    /// The link's path, for after the sign-out.
    pub return_to: String,
}

/// A link that is for somebody else than who is signed in here.
pub fn other_person(shell: &PageContext, view: &OtherPersonView) -> Markup {
    let text = &shell.text.other_person;
    let (title, heading) = match &view.intended {
        Some(name) => (fill_plain(text.title, &[("name", name)]), fill(text.title, &[("name", user_text(name))])),
        None => (text.other_workspace.to_owned(), html! { (text.other_workspace) }),
    };
    let body = html! {
        div.panel.waiting {
            h1 { (heading) }
            p { (user_text(&view.text)) }
            div.actions {
                form method="post" action="/sign-out" {
                    (csrf_field(shell))
                    input type="hidden" name="return_to" value=(view.return_to);
                    button.main type="submit" { (text.sign_out) }
                }
                a.button href="/" { (text.stay) }
            }
        }
    };
    page(shell, &title, &body)
}
