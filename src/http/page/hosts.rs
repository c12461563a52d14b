//! The hosts that get what a person enters, and who defined the app.
//!
//! Owns how a person distinguishes a catalogue app from one that looks the same. Never shortens a host.

use maud::{Markup, html};

use super::frame::user_text;

/// The form field with the hosts that the page named.
pub const HOSTS_FINGERPRINT_FIELD: &str = "hosts";

/// Where a secret is sent, on a page.
#[derive(Debug, Clone, Default)]
pub struct HostsView {
    /// The app's name.
    pub app_name: String,
    /// The hosts.
    pub all_hosts: Vec<String>,
    /// Those that are new since the connection was created.
    pub added_hosts: Vec<String>,
    /// The workspace's choices for hosts of a catalogue app.
    pub non_default_hosts: Vec<String>,
    /// The workspace that defined the app. None for a catalogue app.
    pub defining_workspace: Option<String>,
    /// What the form sends back.
    pub fingerprint: String,
}

/// Where it is sent. Part of the form.
pub(super) fn hosts_section(view: &HostsView, sentence: &str) -> Markup {
    html! {
        input type="hidden" name=(HOSTS_FINGERPRINT_FIELD) value=(view.fingerprint);
        section aria-labelledby="hosts" {
            h2 #hosts { "Hosts that get your credential" }
            @if !view.added_hosts.is_empty() { (added_hosts_warning(view)) }
            @if view.all_hosts.is_empty() {
                p { "No host is known yet: " (user_text(&view.app_name)) " names it when you allow the access." }
            } @else {
                p { (sentence) }
                ul { @for host in &view.all_hosts { li { strong { (user_text(host)) } } } }
            }
            (app_source_note(view))
        }
    }
}

fn added_hosts_warning(view: &HostsView) -> Markup {
    html! {
        section.panel.bad aria-labelledby="added" {
            h3 #added { "These addresses are new" }
            p { (user_text(&view.app_name)) " was changed in this workspace since this connection was made. It now also uses:" }
            ul { @for host in &view.added_hosts { li { strong { (user_text(host)) } } } }
            p { "Continue only if you know that these are addresses of " (user_text(&view.app_name)) ". If you do not, ask whoever runs the workspace." }
        }
    }
}

fn app_source_note(view: &HostsView) -> Markup {
    html! {
        @match &view.defining_workspace {
            Some(workspace) => p {
                "This app was defined by the workspace " strong { (user_text(workspace)) }
                ". It is not from the catalogue, so nobody else has checked that these are hosts of "
                (user_text(&view.app_name)) "."
            },
            None => {
                p.quiet { "This app is from the catalogue of this software." }
                @if !view.non_default_hosts.is_empty() {
                    p {
                        "The catalogue does not name these addresses. Whoever set up the app in this workspace chose them: "
                        @for (at, host) in view.non_default_hosts.iter().enumerate() {
                            @if at > 0 { ", " }
                            strong { (user_text(host)) }
                        }
                        ". Go on only if you know them."
                    }
                }
            },
        }
    }
}
