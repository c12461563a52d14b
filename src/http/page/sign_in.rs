//! The page of a sign-in link, that of an identity provider, and the page for people without a session.
//!
//! Owns the text. Opening a link signs nobody in: only the button does.

use maud::{Markup, html};

use super::PageContext;
use super::frame::{code_text, csrf_field, link, user_text};
use super::layout::page;

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
pub fn sign_in(shell: &PageContext, view: &SignInView) -> Markup {
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

/// The page that leads to the identity provider of a workspace.
#[derive(Debug, Clone)]
pub struct ProviderSignInView {
    /// The workspace.
    pub workspace: String,
    /// The issuer.
    pub provider: String,
    /// Where the form posts.
    pub action: String,
    /// The page after the sign-in.
    pub return_to: Option<String>,
    /// The session that would end: its id, and whose it is.
    pub replaces: Option<(String, String)>,
}

/// The page that leads to the identity provider of a workspace.
pub fn provider_sign_in(shell: &PageContext, view: &ProviderSignInView) -> Markup {
    let body = html! {
        h1 { "Sign in to " (user_text(&view.workspace)) }
        p { "You sign in at " (code_text(&view.provider)) " and come back here." }
        @if let Some((_, name)) = &view.replaces {
            p { strong { "You are signed in as " (user_text(name)) ". " } "If you continue, this browser is signed out as " (user_text(name)) "." }
        }
        form method="post" action=(view.action) {
            (csrf_field(shell))
            @if let Some((session, _)) = &view.replaces { input type="hidden" name="replace" value=(session); }
            (return_to_field(view.return_to.as_deref()))
            button.main type="submit" { "Continue to sign in" }
        }
        p.quiet { "Did somebody else send you here? Then close this page." }
    };
    page(shell, &format!("Sign in to {}", view.workspace), &body)
}

fn return_to_field(return_to: Option<&str>) -> Markup {
    html! {
        @if let Some(path) = return_to { input type="hidden" name="return_to" value=(path); }
    }
}

/// How a person without a session can sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignInChoice {
    /// With a link alone.
    LinkOnly,
    /// At the identity provider of the only workspace that has one.
    OnlyWorkspace {
        /// Its page.
        href: String,
    },
    /// At that of a workspace which the person names.
    AskForWorkspace {
        /// The page after the sign-in.
        return_to: Option<String>,
    },
}

/// The page for a browser without a session.
pub fn sign_in_required(choice: &SignInChoice) -> Markup {
    let body = html! {
        h1 { "You are not signed in" }
        @match choice {
            SignInChoice::LinkOnly => (link_needed()),
            SignInChoice::OnlyWorkspace { href } => {
                p { "This page shows the apps that workflows may use in your name." }
                p { (link("Sign in", href, "button main")) }
            },
            SignInChoice::AskForWorkspace { return_to } => {
                p { "This page shows the apps that workflows may use in your name. Which workspace are you of?" }
                form.line method="get" action="/sign-in" {
                    (return_to_field(return_to.as_deref()))
                    label for="workspace" { "Workspace id" }
                    input #workspace name="workspace" required placeholder="ws_…" autocomplete="organization";
                    button.main type="submit" { "Continue" }
                }
                p.quiet { "It begins with ws_. Whoever runs the workspace knows it. If you got a sign-in link, open that instead." }
            },
        }
    };
    page(&PageContext::default(), "You are not signed in", &body)
}

fn link_needed() -> Markup {
    html! {
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
    }
}
