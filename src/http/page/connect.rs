//! The page before the app: who asks, for what, where the person is sent.
//!
//! Owns informed consent on our side. Refuses to send anybody anywhere by itself: only the button does.

use maud::{Markup, html};

use super::frame::{code, csrf, link, page, quoted, said};
use super::{ConnectView, Shell};

/// The page before the app.
pub fn connect(shell: &Shell<'_>, view: &ConnectView) -> Markup {
    let title = match &view.reconnecting {
        Some((name, _)) => format!("Reconnect {name}"),
        None => format!("Connect {}", view.app_name),
    };
    let body = html! {
        h1 {
            @match &view.reconnecting {
                Some((name, _)) => { "Reconnect " (quoted(name)) },
                None => { "Connect " (said(&view.app_name)) },
            }
        }
        (who_asks(view))
        @if view.invited { (warning(view)) }
        (permissions(view))
        (what_follows(view))
        div.actions {
            form method="post" action=(view.action) {
                (csrf(shell))
                button.main type="submit" { "Continue to " (said(&view.app_name)) }
            }
            @if let Some(cancel) = &view.cancel { (link("Cancel", cancel, "button")) }
        }
        @if view.cancel.is_none() {
            p.quiet { "Don’t want this? Close this page. Nothing happens until you continue." }
        }
        p.quiet { (how_to_end(view)) }
    };
    page(shell, &title, &body)
}

fn who_asks(view: &ConnectView) -> Markup {
    html! {
        p {
            @if view.reconnecting.is_some() {
                "The workspace " strong { (said(&view.workspace)) } " asks you to renew its access to "
            } @else {
                "The workspace " strong { (said(&view.workspace)) } " asks for access to "
            }
            strong { (said(&view.app_name)) } " with an account of yours. "
            "Its workflows will be able to act there in the name of that account."
        }
        @if let Some((_, Some(account))) = &view.reconnecting {
            p {
                "The connection’s account is " strong { (said(account)) } ". Sign in as that one. "
                "If you sign in as another, you are asked what to do before anything changes."
            }
        }
        @match (&view.for_user, view.reconnecting.is_some()) {
            (Some(user), true) => p {
                "This request is meant for " strong { (said(user)) } ". If that is not you, close this page."
            },
            (Some(user), false) => p { "The connection will belong to " strong { (said(user)) } "." },
            (None, false) if view.invited => p { "The connection will belong to the whole workspace." },
            (None, _) => {},
        }
    }
}

fn warning(view: &ConnectView) -> Markup {
    html! {
        section.panel.waiting aria-labelledby="invited" {
            h2 #invited { "You came here by a link" }
            p {
                "Whoever sent you the link will be able to use your " (said(&view.app_name))
                " account through the workspace " strong { (said(&view.workspace)) } ". "
                strong { "Only continue if you trust them." }
            }
        }
    }
}

fn permissions(view: &ConnectView) -> Markup {
    html! {
        section aria-labelledby="scopes" {
            h2 #scopes { "What it asks for" }
            @if view.scopes.is_empty() {
                p { "No permissions are named. " (said(&view.app_name)) " tells you what it will allow." }
            } @else {
                ul.asked {
                    @for (scope, description) in &view.scopes {
                        li {
                            @if let Some(description) = description { span { (said(description)) } }
                            (code(scope))
                        }
                    }
                }
            }
        }
    }
}

fn what_follows(view: &ConnectView) -> Markup {
    html! {
        section aria-labelledby="next" {
            h2 #next { "What happens next" }
            p {
                "You go to " strong { (said(&view.host)) } ", which may ask you to sign in, and asks you to allow the "
                "access. Check that name in your browser’s address bar before you type a password. "
                "Your password is not passed on to this workspace."
            }
        }
    }
}

fn how_to_end(view: &ConnectView) -> Markup {
    html! {
        @if view.invited {
            "To end the access later, ask whoever sent you the link to disconnect it, or remove it in the settings of "
            "your " (said(&view.app_name)) " account."
        } @else {
            "You can end the access at any time on the connection’s page."
        }
    }
}
