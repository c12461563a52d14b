//! A page with one message: how a flow or a link ended, or what failed.
//!
//! Owns the text for callbacks without a flow of this browser. Never shows an app's own text.

use maud::{Markup, html};

use super::frame::{link, tone_class, user_text};
use super::layout::page;
use super::{PageContext, Tone};
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
                div.actions { (link("Back to your connections", "/", "button")) }
            }
        }
    }
}

/// Why a callback was refused, and what to do.
pub fn refusal_message(refusal: CallbackRefusal) -> Message {
    let (title, text) = match refusal {
        CallbackRefusal::UnknownState => (
            "This answer fits no request",
            "An app sent you here, but nobody is known to have asked it to. The address may be incomplete, or the request \
             is so old that it was deleted.\n\n\
             Nothing was stored and no connection was changed.\n\n\
             To connect the app, start again from your connections, or open the link you were sent once more.",
        ),
        CallbackRefusal::Expired => (
            "That took too long",
            "You came back from the app after the time for this request had run out.\n\n\
             Nothing was stored and no connection was changed.\n\n\
             Start again from your connections, or open the link you were sent once more, and finish at the app within \
             ten minutes.",
        ),
        CallbackRefusal::LinkReopened => (
            "The link was opened in another browser",
            "Since you went to the app, the link you were sent was opened again in another browser. What was begun here ended \
             then, so that the link connects one account.\n\n\
             Nothing was stored and no connection was changed.\n\n\
             Finish in the other browser, or start again here: open the link once more.",
        ),
        CallbackRefusal::WrongBrowser => (
            "You began in another browser",
            "An app’s answer is only taken in the browser that asked for it, so that nobody can slip you an account that is \
             not yours. This browser did not ask, or has been signed out since.\n\n\
             Nothing was stored and no connection was changed.\n\n\
             Start again and stay in one browser: sign in here, or open the link you were sent here.",
        ),
    };
    Message { title: title.to_owned(), text: text.to_owned(), tone: Tone::Bad, links: Vec::new() }
}
