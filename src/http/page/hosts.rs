//! The hosts that get what a person gives, and who defined the app.
//!
//! Owns what lets a person tell an app of the catalogue from one of the same looks. Refuses to shorten a host.

use maud::{Markup, html};

use super::frame::said;

/// The form's field that says which hosts the page named.
pub const HOSTS_MARK: &str = "hosts";

/// What a page says about where a secret goes.
#[derive(Debug, Clone, Default)]
pub struct HostsView {
    /// The app's name.
    pub app_name: String,
    /// The hosts.
    pub all: Vec<String>,
    /// Those that are new since the connection was made.
    pub added: Vec<String>,
    /// What the workspace chose for hosts of an app of the catalogue.
    pub chosen: Vec<String>,
    /// The workspace that defined the app; none for an app of the catalogue.
    pub defined_by: Option<String>,
    /// What the form sends back.
    pub mark: String,
}

/// Where it goes; stands in the form.
pub(super) fn where_it_goes(view: &HostsView, sentence: &str) -> Markup {
    html! {
        input type="hidden" name=(HOSTS_MARK) value=(view.mark);
        section aria-labelledby="hosts" {
            h2 #hosts { "Where it goes" }
            @if !view.added.is_empty() { (announced(view)) }
            @if view.all.is_empty() {
                p { "No host is known yet: " (said(&view.app_name)) " names it when you allow the access." }
            } @else {
                p { (sentence) }
                ul { @for host in &view.all { li { strong { (said(host)) } } } }
            }
            (defined_by(view))
        }
    }
}

fn announced(view: &HostsView) -> Markup {
    html! {
        section.panel.bad aria-labelledby="added" {
            h3 #added { "These addresses are new" }
            p { (said(&view.app_name)) " was changed in this workspace since this connection was made. It now also uses:" }
            ul { @for host in &view.added { li { strong { (said(host)) } } } }
            p { "Go on only if you know them as addresses of " (said(&view.app_name)) ". If you do not, ask whoever runs the workspace." }
        }
    }
}

fn defined_by(view: &HostsView) -> Markup {
    html! {
        @match &view.defined_by {
            Some(workspace) => p {
                "This app was defined by the workspace " strong { (said(workspace)) }
                ". It is not from the catalogue, so nobody else has checked that these are hosts of "
                (said(&view.app_name)) "."
            },
            None => {
                p.quiet { "This app is from the catalogue of this software." }
                @if !view.chosen.is_empty() {
                    p {
                        "The catalogue does not name these addresses. Whoever set up the app in this workspace chose them: "
                        @for (at, host) in view.chosen.iter().enumerate() {
                            @if at > 0 { ", " }
                            strong { (said(host)) }
                        }
                        ". Go on only if you know them."
                    }
                }
            },
        }
    }
}
