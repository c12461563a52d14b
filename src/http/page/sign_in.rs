//! The page of a sign-in link, and the page for people without one.
//!
//! Owns the text. Opening a link signs nobody in: only the button does.

use maud::{Markup, html};

use super::PageContext;
use super::frame::{csrf_field, page, user_text};

/// The page of a sign-in link.
#[derive(Debug, Clone)]
pub struct SignInView {
    /// The workspace.
    pub workspace: String,
    /// The person that the link signs in.
    pub user: String,
    /// Where the form posts.
    pub action: String,
}

/// The page of a sign-in link.
pub fn sign_in(shell: &PageContext<'_>, view: &SignInView) -> Markup {
    let body = html! {
        h1 { "Sign in as " (user_text(&view.user)) }
        p {
            "This link signs this browser in to the connections of the workspace " strong { (user_text(&view.workspace)) }
            " as " strong { (user_text(&view.user)) } ". It works once."
        }
        form method="post" action=(view.action) {
            (csrf_field(shell))
            button.main type="submit" { "Sign in as " (user_text(&view.user)) }
        }
        p.quiet { "Not you? Close this page: what you connect here would belong to that person." }
    };
    page(shell, &format!("Sign in as {}", view.user), &body)
}

/// The page for a browser without a session.
pub fn sign_in_required() -> Markup {
    let body = html! {
        h1 { "You are not signed in" }
        p {
            "This page shows the apps that workflows may use in your name. To open it you need a sign-in link. "
            "Ask whoever runs the workspace for one, and open it in this browser. It works once."
        }
        section.panel aria-labelledby="operators" {
            h2 #operators { "If you run the workspace" }
            p {
                "Make a sign-in link with an API key that has the scope " code { "links" } ": "
                code { "POST /v1/sign-in-links" } " with the body " code { r#"{"user": {"id": "…", "name": "…"}}"# }
                ". The answer’s " code { "url" } " is the link; give it to that person only."
            }
        }
    };
    page(&PageContext::default(), "You are not signed in", &body)
}
