//! The page before the app: who asks, for what, where the person is sent.
//!
//! Owns informed consent on our side. Refuses to send anybody anywhere by itself: only the button does.

use maud::{Markup, html};

use super::ask::{Ask, how_to_end, other_ways, who_asks};
use super::form::{fields, mistakes, scopes, summary};
use super::frame::{csrf, link, page, quoted, said, warnings};
use super::{ConnectView, Shell};

/// The page before the app.
pub fn connect(shell: &Shell<'_>, view: &ConnectView) -> Markup {
    let title = match &view.reconnecting {
        Some((name, _)) => format!("Reconnect {name}"),
        None => format!("Connect {}", view.app_name),
    };
    let ask = ask(view);
    let body = html! {
        (summary(view.problem.as_ref(), &mistakes(&view.inputs)))
        h1 {
            @match &view.reconnecting {
                Some((name, _)) => { "Reconnect " (quoted(name)) },
                None => { "Connect " (said(&view.app_name)) },
            }
        }
        (who_asks(&ask))
        (warnings(&view.warnings))
        form.whole method="post" action=(view.action) {
            (csrf(shell))
            (account(view))
            (permissions(view))
            (what_follows(view))
            div.actions {
                button.main type="submit" { "Continue to " (said(&view.app_name)) }
                @if let Some(cancel) = &view.cancel { (link("Cancel", cancel, "button")) }
            }
        }
        @if view.cancel.is_none() {
            p.quiet { "Don’t want this? Close this page. Nothing happens until you continue." }
        }
        (how_to_end(&ask))
        (other_ways(&view.ways))
    };
    page(shell, &title, &body)
}

fn ask(view: &ConnectView) -> Ask<'_> {
    Ask {
        workspace: &view.workspace,
        app_name: &view.app_name,
        renewing: view.reconnecting.as_ref(),
        for_user: view.for_user.as_deref(),
        invited: view.invited,
        same_account: "Sign in as that one. If you sign in as another, you are asked what to do before anything changes.",
    }
}

fn account(view: &ConnectView) -> Markup {
    html! {
        @if !view.inputs.is_empty() {
            section aria-labelledby="account" {
                h2 #account { "Where your account is" }
                (fields(&view.inputs))
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
                (scopes(&view.scopes, view.scopes_fixed))
            }
        }
    }
}

fn what_follows(view: &ConnectView) -> Markup {
    html! {
        section aria-labelledby="next" {
            h2 #next { "What happens next" }
            p {
                "You go to "
                @match &view.host {
                    Some(host) => strong { (said(host)) },
                    None if view.inputs.is_empty() => (said(&view.app_name)),
                    None => { (said(&view.app_name)) " at the address that you entered above" },
                }
                ", which may ask you to sign in, and asks you to allow the access. "
                @if view.host.is_some() { "Check that name" } @else { "Check the address" }
                " in your browser’s address bar before you type a password. "
                "Your password is not passed on to this workspace."
            }
            @if !view.connect_help.is_empty() {
                h3 { "What to do at " (said(&view.app_name)) }
                ul { @for sentence in &view.connect_help { li { (said(sentence)) } } }
            }
        }
    }
}
