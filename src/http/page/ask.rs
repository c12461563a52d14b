//! Who asks for access, on both pages where a person gives it: before the app, and where a key is entered.
//!
//! Owns what makes consent informed on our side: which workspace, whose the connection will be, what a
//! link means. Refuses to know how the access is given.

use maud::{Markup, html};

use super::frame::{link, said};

/// A way to connect an app.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Its id in the app's definition.
    pub id: String,
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

/// What both pages know about who asks.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) workspace: &'a str,
    pub(super) app_name: &'a str,
    /// The connection that is there already: its name and account.
    pub(super) renewing: Option<&'a (String, Option<String>)>,
    pub(super) for_user: Option<&'a str>,
    pub(super) invited: bool,
    /// What to do to stay with the connection's account.
    pub(super) same_account: &'static str,
}

/// Who asks, for whom, and, behind a link, what that means.
pub(super) fn who_asks(ask: &Ask<'_>) -> Markup {
    html! {
        p {
            @if ask.renewing.is_some() {
                "The workspace " strong { (said(ask.workspace)) } " asks you to renew its access to "
            } @else {
                "The workspace " strong { (said(ask.workspace)) } " asks for access to "
            }
            strong { (said(ask.app_name)) } " with an account of yours. "
            "Its workflows will be able to act there in the name of that account."
        }
        @if let Some((_, Some(account))) = ask.renewing {
            p { "The connection’s account is " strong { (said(account)) } ". " (ask.same_account) }
        }
        @match (ask.for_user, ask.renewing.is_some()) {
            (Some(user), true) => p {
                "This request is meant for " strong { (said(user)) } ". If that is not you, close this page."
            },
            (Some(user), false) => p { "The connection will belong to " strong { (said(user)) } "." },
            (None, false) if ask.invited => p { "The connection will belong to the whole workspace." },
            (None, _) => {},
        }
        @if ask.invited { (behind_a_link(ask)) }
    }
}

fn behind_a_link(ask: &Ask<'_>) -> Markup {
    html! {
        section.panel.waiting aria-labelledby="invited" {
            h2 #invited { "You came here by a link" }
            p {
                "Whoever sent you the link will be able to use your " (said(ask.app_name))
                " account through the workspace " strong { (said(ask.workspace)) } ". "
                strong { "Only continue if you trust them." }
            }
        }
    }
}

/// The other ways to connect the app.
pub(super) fn other_ways(ways: &[Way]) -> Markup {
    html! {
        @if ways.iter().any(|way| !way.current) && ways.len() > 1 {
            section aria-labelledby="ways" {
                h2 #ways { "Other ways to connect" }
                ul {
                    @for way in ways.iter().filter(|way| !way.current) {
                        li { (other_way(way)) }
                    }
                }
            }
        }
    }
}

fn other_way(way: &Way) -> Markup {
    html! {
        @if way.ready {
            (link(&way.name, &way.href, "way"))
            @if way.recommended { span.quiet { " (recommended)" } }
        } @else {
            (said(&way.name)) span.quiet { " is not set up. " } (link("How to set it up", &way.href, "way"))
        }
    }
}

/// How the access ends.
pub(super) fn how_to_end(ask: &Ask<'_>) -> Markup {
    html! {
        p.quiet {
            @if ask.invited {
                "To end the access later, ask whoever sent you the link to disconnect it, or remove it in the settings of "
                "your " (said(ask.app_name)) " account."
            } @else {
                "You can end the access at any time on the connection’s page."
            }
        }
    }
}
