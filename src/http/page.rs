//! The pages, as pure functions from plain views to HTML.
//!
//! Owns every word and element a person sees, and the one stylesheet. Refuses I/O, scripts, inline
//! styles and secrets: a view never holds a token, and all text goes through maud's escaping. Every
//! change of state is a form's POST with the session's anti-forgery value; links only navigate.

mod ask;
mod choose;
mod connect;
mod connection;
mod form;
mod frame;
mod list;
mod message;
mod paste;
mod setup;
mod sign_in;
mod style;
#[cfg(test)]
mod tests;

pub use choose::choose;
pub use connect::connect;
pub use connection::connection;
pub use form::{INPUT, input_name};
pub use list::list;
pub use message::{message, refused};
pub use paste::paste;
pub use setup::setup;
pub use sign_in::{sign_in, sign_in_needed};
pub use style::STYLE;

use std::fmt;

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
    /// The ways to connect it, as people call them ("API key"). Empty when there is nothing to tell.
    pub ways: Vec<String>,
    /// Words that a search finds it by, beside its name.
    pub categories: Vec<String>,
    /// Whether it can be connected now. What needs no OAuth client always can.
    pub ready: bool,
}

/// The Connections page.
#[derive(Debug, Clone, Default)]
pub struct ListView {
    /// One page of connections.
    pub connections: Vec<Card>,
    /// All apps on offer, in any order: the page sorts them.
    pub apps: Vec<AppChoice>,
    /// What was searched for among the apps (the parameter `apps`): the page does the search.
    pub apps_search: Option<String>,
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
    /// Scopes that were asked for and not granted, with what each allows.
    pub missing: Vec<(String, Option<String>)>,
    /// Where they are asked for again; `None` where that can't help.
    pub ask_again: Option<String>,
    /// What kind of credential it is, as people call it ("API key"). Empty for an ordinary consent.
    pub kind: String,
    /// What it lives by.
    pub lasts: Lasts,
    /// Where another key is entered, for a credential that was pasted.
    pub replace_href: Option<String>,
    /// What a person should know, such as the app's limits: a sentence each.
    pub warnings: Vec<String>,
    /// When the access ends.
    pub expires: Option<Timestamp>,
    /// Whether the access can be renewed without a person.
    pub renewable: bool,
    /// When the whole grant is expected to end, and what puts that off.
    pub predicted_end: Option<(Timestamp, PutOff)>,
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

/// What a connection's access lives by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// A person's consent, from which access is renewed if the app offers that.
    Consented,
    /// A pasted secret that is itself the access, until it is revoked.
    Pasted,
    /// A pasted secret that is exchanged for access again and again.
    Exchanged,
}

/// What puts a predicted end off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOff {
    /// Any use.
    Use,
    /// A renewal, which happens by itself.
    Renewal,
    /// Only a person who connects again.
    Person,
}

/// A permission that can be asked for.
#[derive(Debug, Clone, Default)]
pub struct ScopeChoice {
    /// As the app writes it: the value of the field `scope`.
    pub id: String,
    /// What it allows.
    pub description: Option<String>,
    /// What the app demands before it grants this, in a sentence.
    pub sensitive: Option<String>,
    /// Whether it is always asked for. The form does not send it: whoever reads the form adds it.
    pub required: bool,
    /// Whether it is ticked.
    pub checked: bool,
    /// Whether the connection has it already.
    pub granted: bool,
}

/// Something a person enters: a variable of the app, or a part of a credential.
#[derive(Clone, Default)]
pub struct Input {
    /// Its id in the app's definition. The form's field is called [`input_name`] of it.
    pub id: String,
    /// What it is called.
    pub label: String,
    /// Where a person finds it.
    pub help: Option<String>,
    /// The page of the app where it is found.
    pub url: Option<String>,
    /// Whether nobody may read it over a shoulder.
    pub secret: bool,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it has several lines.
    pub multiline: bool,
    /// How it looks. Shown beside the field, where it stays while somebody types.
    pub placeholder: Option<String>,
    /// What was entered before. A secret's is never shown, whatever stands here.
    pub value: Option<String>,
    /// Why it was not accepted.
    pub error: Option<String>,
}

/// What was entered is left out: it may be a secret.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("id", &self.id).field("error", &self.error).finish_non_exhaustive()
    }
}

/// A way to connect an app.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Its id in the app's definition.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where it begins.
    pub href: String,
    /// Whether the catalogue recommends it.
    pub recommended: bool,
    /// Whether it is the one on this page.
    pub current: bool,
}

/// Why a form was not accepted.
#[derive(Debug, Clone)]
pub struct Problem {
    /// In a few words: "Acme did not accept this key".
    pub title: String,
    /// What to do about it; empty where the fields say it all.
    pub text: String,
}

/// The page before the app.
#[derive(Debug, Clone)]
pub struct ConnectView {
    /// The workspace that asks.
    pub workspace: String,
    /// The app's name.
    pub app_name: String,
    /// Scopes that can be asked for; those that are asked for, where they are fixed.
    pub scopes: Vec<ScopeChoice>,
    /// Whether whoever made the link chose the scopes, so that the person can't.
    pub scopes_fixed: bool,
    /// Variables of the app that the person fills in.
    pub inputs: Vec<Input>,
    /// What was wrong as a whole, where the person has just tried.
    pub problem: Option<Problem>,
    /// What to tick at the app, a sentence each.
    pub connect_help: Vec<String>,
    /// What a person should know first, such as the app's limits: a sentence each.
    pub warnings: Vec<String>,
    /// All ways to connect the app, this one included.
    pub ways: Vec<Way>,
    /// The connection under repair: its name and account.
    pub reconnecting: Option<(String, Option<String>)>,
    /// Whose the connection will be, where that is not plain: through a link, `None` means the whole workspace's.
    pub for_user: Option<String>,
    /// Whether the person came by a link somebody sent.
    pub invited: bool,
    /// Where the form posts.
    pub action: String,
    /// The app's host that the person is sent to; `None` while it depends on what the person enters.
    pub host: Option<String>,
    /// Where a change of mind leads.
    pub cancel: Option<String>,
}

/// The form for a pasted credential.
#[derive(Debug, Clone)]
pub struct PasteView {
    /// The workspace that asks.
    pub workspace: String,
    /// The app's name.
    pub app_name: String,
    /// What kind of credential it is, as people call it ("API key").
    pub kind: String,
    /// What is to be entered: the fields of the credential and variables of the app.
    pub inputs: Vec<Input>,
    /// Scopes that can be asked for; empty where the credential itself says what it allows.
    pub scopes: Vec<ScopeChoice>,
    /// Whether whoever made the link chose the scopes, so that the person can't.
    pub scopes_fixed: bool,
    /// The connection that gets another key: its name and account.
    pub replacing: Option<(String, Option<String>)>,
    /// What the new connection is to be called (the field `name`); empty when nothing was entered.
    pub name: String,
    /// Why the name was not accepted.
    pub name_error: Option<String>,
    /// Why the form was not accepted.
    pub problem: Option<Problem>,
    /// What a person should know first, such as the app's limits: a sentence each.
    pub warnings: Vec<String>,
    /// All ways to connect the app, this one included.
    pub ways: Vec<Way>,
    /// Whose the connection will be, where that is not plain: through a link, `None` means the whole workspace's.
    pub for_user: Option<String>,
    /// Whether the person came by a link somebody sent.
    pub invited: bool,
    /// Where the form posts.
    pub action: String,
    /// Where a change of mind leads.
    pub cancel: Option<String>,
}

/// How an app's OAuth client is set up, for whoever runs the workspace.
#[derive(Debug, Clone)]
pub struct SetupView {
    /// The app's name.
    pub app_name: String,
    /// The workspace that lacks the client.
    pub workspace: String,
    /// The app's page where clients are made.
    pub console: Option<String>,
    /// What to do there, a sentence each, with the redirect URI filled in where it is known.
    pub steps: Vec<String>,
    /// The redirect URI to enter at the app; `None` when only the answer to the call tells it.
    pub redirect_uri: Option<String>,
    /// What to tick at the app, with what each allows.
    pub scopes: Vec<(String, Option<String>)>,
    /// What else to tick there, a sentence each.
    pub connect_help: Vec<String>,
    /// The whole address of the call that enters the client.
    pub api_url: String,
    /// The call's body as JSON, with `…` for all that is to be filled in: it has no secret.
    pub api_body: String,
    /// Names of other apps that share the client.
    pub family: Vec<String>,
    /// The app's own documentation.
    pub docs: Option<String>,
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
    /// Whether the grant is a credential that was pasted, rather than a consent at the app.
    pub pasted: bool,
    /// What to know before answering, such as why two connections to one account disturb each other.
    pub note: Option<String>,
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
