//! The pages, as pure functions from plain views to HTML.
//!
//! Owns every word and element a person sees, and the one stylesheet. Refuses I/O, scripts, inline
//! styles and secrets: a view never holds a token, and all text goes through maud's escaping. Every
//! change of state is a form's POST with the session's anti-forgery value; links only navigate.

mod choose;
mod connect;
mod connection;
mod frame;
mod list;
mod message;
mod sign_in;
mod style;
#[cfg(test)]
mod tests;

pub use choose::choose;
pub use connect::connect;
pub use connection::connection;
pub use list::list;
pub use message::{message, refused};
pub use sign_in::{sign_in, sign_in_needed};
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
}

/// An app that could be connected.
#[derive(Debug, Clone)]
pub struct AppChoice {
    /// Id, as in `/oauth/start/{app}`.
    pub id: String,
    /// Name.
    pub name: String,
    /// Whether a client is set up.
    pub ready: bool,
}

/// The Connections page.
#[derive(Debug, Clone, Default)]
pub struct ListView {
    /// One page of connections.
    pub connections: Vec<Card>,
    /// The apps on offer.
    pub apps: Vec<AppChoice>,
    /// What was searched for.
    pub search: Option<String>,
    /// Where the next page is.
    pub next: Option<String>,
    /// What has just happened.
    pub notice: Option<String>,
}

/// A connection in full.
#[derive(Debug, Clone)]
pub struct ConnectionView {
    /// The connection in short.
    pub card: Card,
    /// What has just happened.
    pub notice: Option<String>,
    /// Why it needs a person, in a sentence.
    pub reason: Option<String>,
    /// Scopes the app granted.
    pub granted: Vec<String>,
    /// Scopes that were asked for and not granted.
    pub missing: Vec<String>,
    /// When the access ends.
    pub expires: Option<Timestamp>,
    /// Whether the access can be renewed without a person.
    pub renewable: bool,
    /// When it was last looked at, and what was found.
    pub checked: Option<(Timestamp, String)>,
    /// When it is looked at next.
    pub next_check: Option<Timestamp>,
    /// When it was first made.
    pub created: Timestamp,
    /// When it was last connected.
    pub connected: Timestamp,
    /// Workflow, step and when it last used this connection.
    pub uses: Vec<(String, String, Timestamp)>,
    /// What happened, and when.
    pub events: Vec<(Timestamp, String)>,
    /// Whether the person asked to disconnect and has yet to confirm.
    pub confirming_disconnect: bool,
}

/// The page before the app.
#[derive(Debug, Clone)]
pub struct ConnectView {
    /// The workspace that asks.
    pub workspace: String,
    /// The app's name.
    pub app_name: String,
    /// Scopes that are asked for, with what each allows.
    pub scopes: Vec<(String, Option<String>)>,
    /// The connection under repair: its name and account.
    pub reconnecting: Option<(String, Option<String>)>,
    /// Whose the connection will be, where that is not plain: through a link, `None` means the whole workspace's.
    pub for_user: Option<String>,
    /// Whether the person came by a link somebody sent.
    pub invited: bool,
    /// Where the form posts.
    pub action: String,
    /// The app's host that the person is sent to.
    pub host: String,
    /// Where a change of mind leads.
    pub cancel: Option<String>,
}

/// The page that asks what becomes of a grant.
#[derive(Debug, Clone)]
pub struct ChooseView {
    /// The app's name.
    pub app_name: String,
    /// Where the forms post; the field `choice` holds the answer.
    pub action: String,
    /// The question.
    pub question: Choosing,
}

/// What a person is asked.
#[derive(Debug, Clone)]
pub enum Choosing {
    /// Another account came back than the connection had: `keep` or `switch`.
    OtherAccount {
        /// The account before, if known.
        before: Option<String>,
        /// The account now, if known.
        now: Option<String>,
        /// The connection's name.
        name: String,
    },
    /// The account is already connected: `reuse` or `both`.
    Duplicate {
        /// The account.
        account: String,
        /// The name of the connection that is there already.
        existing_name: String,
    },
}

/// The page that a sign-in link opens.
#[derive(Debug, Clone)]
pub struct SignInView {
    /// The workspace.
    pub workspace: String,
    /// Whom the link signs in.
    pub user: String,
    /// Where the form posts.
    pub action: String,
}

/// A page that tells one thing: how a flow or link ended, or what went wrong.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its heading.
    pub title: String,
    /// What happened and what to do; an empty line begins a new paragraph.
    pub text: String,
    /// How good the news is.
    pub tone: Tone,
    /// Ways on: label and address. The first is the main one.
    pub links: Vec<(String, String)>,
}
