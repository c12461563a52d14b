//! Who asks for access, on both consent pages: before the app, and with the form for a manual credential.
//!
//! Owns what makes consent informed on our side: the workspace, the owner of the connection, the meaning of a link.
//! Independent of how access is given.

use maud::{Markup, html};

use super::frame::{link, user_text};

/// An auth method of an app.
#[derive(Debug, Clone, Default)]
pub struct AuthMethodChoice {
    /// Its name.
    pub name: String,
    /// Where it starts, or the setup page if it is not ready.
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
    /// The app's name.
    pub app_name: String,
    /// The connection to repair: its name and account.
    pub existing_connection: Option<(String, Option<String>)>,
    /// The owner of the connection, if it must be shown: with a link, `None` is the whole workspace.
    pub for_user: Option<String>,
    /// Whether the person has a link from somebody.
    pub by_link: bool,
}

/// The requester, the owner and, with a link, what that means. The hint says how to keep the connection's account.
pub(super) fn requester_details(ask: &ConsentDetails, same_account_hint: &str) -> Markup {
    html! {
        p {
            @if ask.existing_connection.is_some() {
                "The workspace " strong { (user_text(&ask.workspace)) } " asks you to renew its access to "
            } @else {
                "The workspace " strong { (user_text(&ask.workspace)) } " asks for access to "
            }
            strong { (user_text(&ask.app_name)) } " with an account of yours. "
            "Its workflows will be able to act there in the name of that account."
        }
        @if let Some((_, Some(account))) = &ask.existing_connection {
            p { "The connection’s account is " strong { (user_text(account)) } ". " (same_account_hint) }
        }
        @match (ask.for_user.as_deref(), ask.existing_connection.is_some()) {
            (Some(user), true) => p {
                "This request is meant for " strong { (user_text(user)) } ". If that is not you, close this page."
            },
            (Some(user), false) => p { "The connection will belong to " strong { (user_text(user)) } "." },
            (None, false) if ask.by_link => p { "The connection will belong to the whole workspace." },
            (None, _) => {},
        }
        @if ask.by_link { (link_warning(ask)) }
    }
}

fn link_warning(ask: &ConsentDetails) -> Markup {
    html! {
        section.panel.waiting aria-labelledby="invited" {
            h2 #invited { "You came here by a link" }
            p {
                "Whoever sent you the link will be able to use your " (user_text(&ask.app_name))
                " account through the workspace " strong { (user_text(&ask.workspace)) } ". "
                strong { "Only continue if you trust them." }
            }
        }
    }
}

/// The other auth methods of the app.
pub(super) fn other_auth_methods(ways: &[AuthMethodChoice]) -> Markup {
    html! {
        @if ways.iter().any(|way| !way.current) && ways.len() > 1 {
            section aria-labelledby="ways" {
                h2 #ways { "Other ways to connect" }
                ul {
                    @for way in ways.iter().filter(|way| !way.current) {
                        li { (other_auth_method(way)) }
                    }
                }
            }
        }
    }
}

pub(super) fn other_auth_method(way: &AuthMethodChoice) -> Markup {
    html! {
        @if way.ready {
            (link(&way.name, &way.href, "auth_method"))
            @if way.recommended { span.quiet { " (recommended)" } }
        } @else {
            (user_text(&way.name)) span.quiet { " is not set up. " } (link("How to set it up", &way.href, "auth_method"))
        }
    }
}

/// How to end the access.
pub(super) fn disconnect_hint(ask: &ConsentDetails) -> Markup {
    html! {
        p.quiet {
            @if ask.by_link {
                "To end the access later, ask whoever sent you the link to disconnect it, or remove it in the settings of "
                "your " (user_text(&ask.app_name)) " account."
            } @else {
                "You can end the access at any time on the connection’s page."
            }
        }
    }
}
