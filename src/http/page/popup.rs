//! The last page of a link in a window that the embedding product has opened.
//!
//! Owns what `assets/popup.js` is given: attributes of one element. They contain no secret. Without the script, or
//! without an opener, the page is a message like any other.

use maud::{Markup, html};

use super::PageContext;
use super::layout::page;
use super::message::{Message, message_panel};
use crate::http::assets::asset;

/// What the page that has opened the window gets.
#[derive(Debug, Clone)]
pub struct PopupOutcome {
    /// The origin of that page.
    pub origin: String,
    /// The link's id.
    pub link: String,
    /// What came of it, as in `last_attempt.status` of the link.
    pub status: &'static str,
    /// The connection that was made or repaired.
    pub connection: Option<String>,
    /// Whether the window closes: nothing on the page is left to be read or done.
    pub closes: bool,
}

/// The message, and what the script tells.
pub fn popup_outcome(shell: &PageContext, message: &Message, outcome: &PopupOutcome) -> Markup {
    let body = html! {
        (message_panel(shell, message))
        div #outcome hidden data-origin=(outcome.origin) data-link=(outcome.link) data-status=(outcome.status)
            data-connection=[outcome.connection.as_deref()] data-closes[outcome.closes] {}
        script src=(asset!("popup.js")) {}
    };
    page(shell, &message.title, &body)
}
