//! The hosts that get what a person enters, and who defined the app.
//!
//! Owns how a person distinguishes a catalogue app from one that looks the same. Never shortens a host.

use maud::{Markup, html};

use super::PageContext;
use super::consent::strong_text;
use super::frame::user_text;
use super::text::fill;

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
pub(super) fn hosts_section(shell: &PageContext, view: &HostsView, sentence: &str) -> Markup {
    let text = &shell.text.hosts;
    html! {
        input type="hidden" name=(HOSTS_FINGERPRINT_FIELD) value=(view.fingerprint);
        section.card aria-labelledby="hosts" {
            h2 #hosts { (text.title) }
            @if !view.added_hosts.is_empty() { (added_hosts_warning(shell, view)) }
            @if view.all_hosts.is_empty() {
                p { (fill(text.none_yet, &[("app", user_text(&view.app_name))])) }
            } @else {
                p { (sentence) }
                ul { @for host in &view.all_hosts { li { (strong_text(host)) } } }
            }
            (app_source_note(shell, view))
        }
    }
}

fn added_hosts_warning(shell: &PageContext, view: &HostsView) -> Markup {
    let text = &shell.text.hosts;
    let app = || user_text(&view.app_name);
    html! {
        section.panel.bad aria-labelledby="added" {
            h3 #added { (text.added_title) }
            p { (fill(text.added, &[("app", app())])) }
            ul { @for host in &view.added_hosts { li { (strong_text(host)) } } }
            p { (fill(text.added_continue, &[("app", app())])) }
        }
    }
}

fn app_source_note(shell: &PageContext, view: &HostsView) -> Markup {
    let text = &shell.text.hosts;
    let others = html! {
        @for (at, host) in view.non_default_hosts.iter().enumerate() {
            @if at > 0 { ", " }
            (strong_text(host))
        }
    };
    html! {
        @match &view.defining_workspace {
            Some(workspace) => p {
                (fill(text.custom, &[("workspace", strong_text(workspace)), ("app", user_text(&view.app_name))]))
            },
            None => {
                p.quiet { (text.from_catalogue) }
                @if !view.non_default_hosts.is_empty() { p { (fill(text.not_of_catalogue, &[("hosts", others)])) } }
            },
        }
    }
}
