//! Who asks for access, on both consent pages: before the app, and with the form for a manual credential.
//!
//! Owns what makes consent informed on our side: the workspace, the owner of the connection, the meaning of a link.
//! Independent of how access is given.

use maud::{Markup, html};

use super::PageContext;
use super::frame::{app_logo, link, user_text};
use super::text::fill;

/// An auth method of an app.
#[derive(Debug, Clone, Default)]
pub struct AuthMethodChoice {
    /// Its name.
    pub name: String,
    /// Where it starts, or where it is set up if it is not ready. Empty if this person can't set it up.
    pub href: String,
    /// Whether it is ready: it has an OAuth client if it needs one.
    pub ready: bool,
    /// Whether the catalogue recommends it.
    pub recommended: bool,
    /// Whether it is the one on this page.
    pub current: bool,
}

/// What both pages know about the requester.
#[derive(Debug, Clone)]
pub struct ConsentDetails {
    /// The workspace that requests access.
    pub workspace: String,
    /// The app's id.
    pub app: String,
    /// The app's name.
    pub app_name: String,
    /// The connection to repair: its name and account.
    pub existing_connection: Option<(String, Option<String>)>,
    /// The owner of the connection, if it must be shown: with a link, `None` is the whole workspace.
    pub for_user: Option<String>,
    /// Whether the person has a link from somebody.
    pub by_link: bool,
}

/// A name that a sentence is about.
pub(super) fn strong_text(words: &str) -> Markup {
    html! { strong { (user_text(words)) } }
}

/// The app's logo and the page's only `h1`.
pub(super) fn app_head(ask: &ConsentDetails, title: &Markup) -> Markup {
    html! {
        div.head {
            div {
                (app_logo(&ask.app, &ask.app_name, "large"))
                h1 { (title) }
            }
        }
    }
}

/// The requester, the owner and, with a link, what that means. The hint says how to keep the connection's account.
pub(super) fn requester_details(shell: &PageContext, ask: &ConsentDetails, same_account_hint: &str) -> Markup {
    let text = &shell.text.consent;
    let asks = if ask.existing_connection.is_some() { text.asks_again } else { text.asks };
    html! {
        p { (fill(asks, &[("workspace", strong_text(&ask.workspace)), ("app", strong_text(&ask.app_name))])) }
        @if let Some((_, Some(account))) = &ask.existing_connection {
            p { (fill(text.account, &[("account", strong_text(account))])) " " (same_account_hint) }
        }
        @match (ask.for_user.as_deref(), ask.existing_connection.is_some()) {
            (Some(user), true) => p { (fill(text.meant_for, &[("user", strong_text(user))])) },
            (Some(user), false) => p { (fill(text.belongs_to, &[("user", strong_text(user))])) },
            (None, false) if ask.by_link => p { (text.belongs_to_all) },
            (None, _) => {},
        }
        @if ask.by_link { (link_warning(shell, ask)) }
    }
}

fn link_warning(shell: &PageContext, ask: &ConsentDetails) -> Markup {
    let text = &shell.text.consent;
    html! {
        section.panel.waiting aria-labelledby="invited" {
            h2 #invited { (text.by_link) }
            p {
                (fill(text.by_link_about, &[
                    ("app", user_text(&ask.app_name)), ("workspace", strong_text(&ask.workspace)),
                ]))
                " " strong { (text.trust) }
            }
        }
    }
}

/// The other auth methods of the app.
pub(super) fn other_auth_methods(shell: &PageContext, ways: &[AuthMethodChoice]) -> Markup {
    html! {
        @if ways.iter().any(|way| !way.current) && ways.len() > 1 {
            section aria-labelledby="ways" {
                h2 #ways { (shell.text.consent.other_ways) }
                ul.list { @for way in ways.iter().filter(|way| !way.current) { li { (other_auth_method(shell, way)) } } }
            }
        }
    }
}

fn other_auth_method(shell: &PageContext, way: &AuthMethodChoice) -> Markup {
    let text = &shell.text.consent;
    html! {
        @if way.ready {
            (link(&way.name, &way.href, "way"))
            @if way.recommended { " " span.badge { (text.recommended) } }
        } @else {
            (user_text(&way.name)) " " span.quiet.small { (text.not_set_up) }
            @if !way.href.is_empty() {
                " " (link(if shell.is_admin() { text.set_up } else { text.how_to_set_up }, &way.href, "way"))
            }
        }
    }
}

/// How to end the access.
pub(super) fn disconnect_hint(shell: &PageContext, ask: &ConsentDetails) -> Markup {
    let text = &shell.text.consent;
    html! {
        p.quiet {
            @if ask.by_link {
                (fill(text.end_by_link, &[("app", user_text(&ask.app_name))]))
            } @else {
                (text.end_here)
            }
        }
    }
}
