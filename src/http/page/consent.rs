//! Who asks for access, on both pages where a person gives it: before the app, and where a key is entered.
//!
//! Owns what makes consent informed on our side: which workspace, whose the connection will be, what a
//! link means. Refuses to know how the access is given.

use maud::{Markup, html};

use super::frame::{link, user_text};

/// A way to connect an app.
#[derive(Debug, Clone, Default)]
pub struct AuthMethodChoice {
    /// What people call it.
    pub name: String,
    /// Where it begins; where it is not ready, where its set-up is told.
    pub href: String,
    /// Whether it can be walked: what needs an OAuth client has one.
    pub ready: bool,
    /// Whether the catalogue recommends it.
    pub recommended: bool,
    /// Whether it is the one on this page.
    pub current: bool,
}

/// What both pages know about who asks, and offer beside it.
#[derive(Debug, Clone)]
pub struct ConsentDetails {
    /// The workspace that asks.
    pub workspace: String,
    /// The app's name.
    pub app_name: String,
    /// The connection that is there already, and is to be repaired: its name and account.
    pub existing_connection: Option<(String, Option<String>)>,
    /// Whose the connection will be, where that is not plain: through a link, `None` means the whole workspace's.
    pub for_user: Option<String>,
    /// Whether the person came by a link somebody sent.
    pub by_link: bool,
}

/// Who asks, for whom, and, behind a link, what that means. The hint says what to do to stay with the connection's account.
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

/// The other ways to connect the app.
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

fn other_auth_method(way: &AuthMethodChoice) -> Markup {
    html! {
        @if way.ready {
            (link(&way.name, &way.href, "auth_method"))
            @if way.recommended { span.quiet { " (recommended)" } }
        } @else {
            (user_text(&way.name)) span.quiet { " is not set up. " } (link("How to set it up", &way.href, "auth_method"))
        }
    }
}

/// How the access ends.
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
