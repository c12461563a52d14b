//! The page before the app: who asks, for what, where the person is sent.
//!
//! Owns informed consent on our side. Refuses to send anybody anywhere by itself: only the button does.

use maud::{Markup, html};

use super::ask::{Ask, how_to_end, other_ways, who_asks};
use super::form::{fields, mistakes, scopes, summary};
use super::frame::{csrf, link, page, quoted, said, warnings};
use super::hosts::where_it_goes;
use super::{HostsView, Input, Problem, ScopeChoice, Shell, Way};

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
    /// The hosts that get a secret.
    pub hosts: HostsView,
    /// Where a change of mind leads.
    pub cancel: Option<String>,
}

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
            (where_it_goes(&view.hosts, "The access that you allow is sent to these hosts and no others:"))
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
