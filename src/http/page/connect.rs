//! The page before the app: who asks, for what, and where the person is redirected.
//!
//! Owns informed consent on our side. Redirects nobody by itself: only the button does.

use maud::{Markup, html};

use super::consent::{ConsentDetails, disconnect_hint, other_auth_methods, requester_details};
use super::form::{error_summary, fields, invalid_fields, scope_fields};
use super::frame::{csrf_field, link, quoted_text, user_text, warnings_section};
use super::hosts::hosts_section;
use super::layout::page;
use super::{AuthMethodChoice, FormError, FormField, HostsView, PageContext, ScopeChoice};

const SAME_ACCOUNT_HINT: &str =
    "Sign in with that account. If you sign in with another one, you are asked before anything changes.";

/// The page before the app.
#[derive(Debug, Clone)]
pub struct ConnectView {
    /// Who asks, and for what.
    pub consent: ConsentDetails,
    /// Scopes to choose, or the fixed ones.
    pub scopes: Vec<ScopeChoice>,
    /// Whether the creator of the link has fixed the scopes.
    pub scopes_are_fixed: bool,
    /// Variables of the app for the person to fill in.
    pub fields: Vec<FormField>,
    /// The error of the whole form, if the person has just tried.
    pub form_error: Option<FormError>,
    /// What to tick at the app, one sentence each.
    pub connect_help: Vec<String>,
    /// Notes for the person, such as the app's limits, one sentence each.
    pub warnings: Vec<String>,
    /// All auth methods of the app, including this one.
    pub auth_methods: Vec<AuthMethodChoice>,
    /// Where the form posts.
    pub form_action: String,
    /// The app's host that the person is redirected to. `None` while it depends on their input.
    pub authorize_host: Option<String>,
    /// The hosts that get a secret.
    pub hosts: HostsView,
    /// Where Cancel leads.
    pub cancel_href: Option<String>,
}

/// The page before the app.
pub fn connect(shell: &PageContext, view: &ConnectView) -> Markup {
    let title = match &view.consent.existing_connection {
        Some((name, _)) => format!("Reconnect {name}"),
        None => format!("Connect {}", view.consent.app_name),
    };
    let body = html! {
        (error_summary(view.form_error.as_ref(), &invalid_fields(&view.fields)))
        h1 {
            @match &view.consent.existing_connection {
                Some((name, _)) => { "Reconnect " (quoted_text(name)) },
                None => { "Connect " (user_text(&view.consent.app_name)) },
            }
        }
        (requester_details(&view.consent, SAME_ACCOUNT_HINT))
        (warnings_section(&view.warnings))
        form.whole method="post" action=(view.form_action) {
            (csrf_field(shell))
            (account_section(view))
            (scope_section(view))
            (hosts_section(&view.hosts, "The access that you allow is sent to these hosts and no others:"))
            (next_steps_section(view))
            div.actions {
                button.main type="submit" { "Continue to " (user_text(&view.consent.app_name)) }
                @if let Some(cancel) = &view.cancel_href { (link("Cancel", cancel, "button")) }
            }
        }
        @if view.cancel_href.is_none() {
            p.quiet { "Don’t want this? Close this page. Nothing happens until you continue." }
        }
        (disconnect_hint(&view.consent))
        (other_auth_methods(&view.auth_methods))
    };
    page(shell, &title, &body)
}

fn account_section(view: &ConnectView) -> Markup {
    html! {
        @if !view.fields.is_empty() {
            section aria-labelledby="account" {
                h2 #account { "Where your account is" }
                (fields(&view.fields))
            }
        }
    }
}

fn scope_section(view: &ConnectView) -> Markup {
    html! {
        section aria-labelledby="scopes" {
            h2 #scopes { "What it asks for" }
            @if view.scopes.is_empty() {
                p { "No permissions are named. " (user_text(&view.consent.app_name)) " tells you what it will allow." }
            } @else {
                (scope_fields(&view.scopes, view.scopes_are_fixed))
            }
        }
    }
}

fn next_steps_section(view: &ConnectView) -> Markup {
    html! {
        section aria-labelledby="next" {
            h2 #next { "What happens next" }
            p {
                "You go to "
                @match &view.authorize_host {
                    Some(host) => strong { (user_text(host)) },
                    None if view.fields.is_empty() => (user_text(&view.consent.app_name)),
                    None => { (user_text(&view.consent.app_name)) " at the address that you entered above" },
                }
                ", which may ask you to sign in, and asks you to allow the access. "
                @if view.authorize_host.is_some() { "Check that name" } @else { "Check the address" }
                " in your browser’s address bar before you type a password. "
                "Your password is not passed on to this workspace."
            }
            @if !view.connect_help.is_empty() {
                h3 { "What to do at " (user_text(&view.consent.app_name)) }
                ul { @for sentence in &view.connect_help { li { (user_text(sentence)) } } }
            }
        }
    }
}
