//! The pages, as pure functions from plain views to HTML.
//!
//! Owns every word and element a person sees, and the one stylesheet. Refuses I/O, scripts, inline
//! styles and secrets: a view never holds a token, and all text goes through maud's escaping. Every
//! change of state is a form's POST with the session's anti-forgery value; links only navigate.
//! A page's view stands beside its HTML; here is what several pages show.

mod choose;
mod connect;
mod connection;
mod connection_list;
mod consent;
mod form;
mod frame;
mod hosts;
mod manual;
mod message;
mod setup;
mod sign_in;
mod style;
#[cfg(test)]
mod tests;

pub use choose::{ChoiceQuestion, ChooseView, choose};
pub use connect::{ConnectView, connect};
pub use connection::{AccessSource, ChangePermission, ConnectionView, ExtendedBy, connection};
pub use connection_list::{AppChoice, ConnectionListView, connection_list};
pub use consent::{AuthMethodChoice, ConsentDetails};
pub use form::{FormError, FormField, INPUT_PREFIX, ScopeChoice, field_name};
pub use hosts::{HOSTS_FINGERPRINT_FIELD, HostsView};
pub use manual::{ManualCredentialView, manual_credential};
pub use message::{Message, message, refusal_message};
pub use setup::{SetupCall, SetupView, setup};
pub use sign_in::{SignInView, sign_in, sign_in_required};
pub use style::STYLESHEET;

use crate::time::Timestamp;

/// What every page's frame needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageContext<'a> {
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
pub struct StatusLabel {
    /// Such as "Connected".
    pub text: String,
    /// Its colour; never the only sign.
    pub tone: Tone,
}

/// A connection in short.
#[derive(Debug, Clone)]
pub struct ConnectionSummary {
    /// Id, as in `/connections/{id}`.
    pub id: String,
    /// Name.
    pub name: String,
    /// The app's name.
    pub app_name: String,
    /// The account's label; `None` when the app does not tell.
    pub account_label: Option<String>,
    /// Status.
    pub status: StatusLabel,
    /// What needs attention, in sentences.
    pub attention: Vec<String>,
    /// When a credential was last handed out.
    pub last_used_at: Option<Timestamp>,
    /// Whose it is, where it is not that of the person who looks.
    pub owner: Option<String>,
    /// How it is repaired, in words, and where; `None` where nothing is to be repaired, or it can't be.
    pub reconnect: Option<(&'static str, String)>,
}
