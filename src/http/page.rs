//! The pages, as pure functions from plain views to HTML.
//!
//! Owns every word and element a person sees, and the one stylesheet. Refuses I/O, scripts, inline
//! styles and secrets: a view never holds a token, and all text goes through maud's escaping. Every
//! change of state is a form's POST with the session's anti-forgery value; links only navigate.
//! A page's view stands beside its HTML; here is what several pages show.

mod ask;
mod choose;
mod connect;
mod connection;
mod form;
mod frame;
mod hosts;
mod list;
mod message;
mod paste;
mod setup;
mod sign_in;
mod style;
#[cfg(test)]
mod tests;

pub use ask::Way;
pub use choose::{ChooseView, Choosing, choose};
pub use connect::{ConnectView, connect};
pub use connection::{ConnectionView, Lasts, PutOff, connection};
pub use form::{INPUT, Input, Problem, ScopeChoice, input_name};
pub use hosts::{HOSTS_MARK, HostsView};
pub use list::{AppChoice, ListView, list};
pub use message::{Message, message, refused};
pub use paste::{PasteView, paste};
pub use setup::{Call as SetupCall, SetupView, setup};
pub use sign_in::{SignInView, sign_in, sign_in_needed};
pub use style::STYLE;

use crate::time::Timestamp;

/// What every page's frame needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shell<'a> {
    /// Who is signed in, as the header tells it. Nobody in a link's session.
    pub signed_in_as: Option<&'a str>,
    /// The session's anti-forgery value, put into every form that changes something.
    pub csrf: Option<&'a str>,
}

/// How good the news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It works.
    Good,
    /// Somebody or something is awaited.
    Waiting,
    /// A person must do something.
    Bad,
}

/// A status as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusWords {
    /// Such as "Connected".
    pub words: String,
    /// Its colour; never the only sign.
    pub tone: Tone,
}

/// A connection in short.
#[derive(Debug, Clone)]
pub struct Card {
    /// Id, as in `/connections/{id}`.
    pub id: String,
    /// Name.
    pub name: String,
    /// The app's name.
    pub app_name: String,
    /// The account's label; `None` when the app does not tell.
    pub account: Option<String>,
    /// Status.
    pub status: StatusWords,
    /// What needs attention, in sentences.
    pub attention: Vec<String>,
    /// When a credential was last handed out.
    pub last_used: Option<Timestamp>,
    /// How it is repaired, in words, and where; `None` where nothing is to be repaired, or it can't be.
    pub repair: Option<(&'static str, String)>,
}
