//! The page that asks for an auth method, where the recommended one can't be used.
//!
//! Owns that a person knows it before they give another kind of access than the app recommends. Asks for no credential.

use maud::{Markup, html};

use super::PageContext;
use super::consent::{AuthMethodChoice, ConsentDetails, other_auth_method, requester_details};
use super::frame::{link, user_text};
use super::layout::page;

/// The page that asks for an auth method.
#[derive(Debug, Clone)]
pub struct AuthMethodsView {
    /// Who asks, and for what.
    pub consent: ConsentDetails,
    /// The name of the recommended auth method.
    pub unusable: String,
    /// The auth methods of the app.
    pub choices: Vec<AuthMethodChoice>,
    /// Where Cancel leads.
    pub cancel_href: Option<String>,
}

/// The page that asks for an auth method.
pub fn auth_methods(shell: &PageContext, view: &AuthMethodsView) -> Markup {
    let app = &view.consent.app_name;
    let body = html! {
        h1 { "How do you want to connect " (user_text(app)) "?" }
        (requester_details(&view.consent, ""))
        section.panel.waiting aria-labelledby="unusable" {
            h2 #unusable { "The recommended way can’t be used here" }
            p {
                (user_text(app)) " is best connected by " strong { (user_text(&view.unusable)) }
                ", which is not set up in this workspace. "
                @if view.consent.by_link {
                    "Ask whoever sent you the link to set it up, or choose another way."
                } @else {
                    "Set it up, or choose another way."
                }
            }
        }
        section aria-labelledby="ways" {
            h2 #ways { "Ways to connect" }
            ul {
                @for way in &view.choices { li { (other_auth_method(way)) } }
            }
        }
        @if let Some(cancel) = &view.cancel_href { div.actions { (link("Cancel", cancel, "button")) } }
    };
    page(shell, &format!("Connect {app}"), &body)
}
