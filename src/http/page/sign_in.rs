//! The page of a sign-in link, that of an identity provider, and the page for people without a session.
//!
//! Owns these three. Opening a link signs nobody in: only the button does.

use maud::{Markup, html};

use super::PageContext;
use super::form::{described_by, field_error};
use super::frame::{code_text, csrf_field, icon, link, user_text};
use super::layout::{initials, page};
use super::text::{fill, fill_plain};
use crate::http::kept_forms::EndedForm;

/// The page of a sign-in link.
#[derive(Debug, Clone)]
pub struct SignInView {
    /// The workspace.
    pub workspace: String,
    /// The person that the link signs in.
    pub user: String,
    /// Where the form posts.
    pub action: String,
    /// Who is signed in, and would be no longer.
    pub replaces: Option<String>,
}

fn strong_text(words: &str) -> Markup {
    html! { strong { (user_text(words)) } }
}

/// The page of a sign-in link.
pub fn sign_in(shell: &PageContext, view: &SignInView) -> Markup {
    let text = &shell.text.sign_in;
    let title = || fill(text.title_as, &[("name", user_text(&view.user))]);
    let body = html! {
        section.card.door aria-labelledby="sign-in" {
            span.avatar.large aria-hidden="true" { (initials(&view.user)) }
            h1 #sign-in { (title()) }
            p { (fill(text.by_link, &[("workspace", strong_text(&view.workspace))])) }
            @if let Some(name) = &view.replaces { (replaced_session(shell, name)) }
            form method="post" action=(view.action) {
                (csrf_field(shell))
                button.main type="submit" { (title()) }
            }
            p.quiet.small { (text.not_you) }
        }
    };
    page(shell, &fill_plain(text.title_as, &[("name", &view.user)]), &body)
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
    let text = &shell.text.sign_in;
    let body = html! {
        section.card.door aria-labelledby="sign-in" {
            span.picture { (icon("shield")) }
            h1 #sign-in { (fill(text.title_to, &[("workspace", user_text(&view.workspace))])) }
            p { (fill(text.at_provider, &[("provider", code_text(&view.provider))])) }
            @if let Some((_, name)) = &view.replaces { (replaced_session(shell, name)) }
            form method="post" action=(view.action) {
                (csrf_field(shell))
                @if let Some((session, _)) = &view.replaces { input type="hidden" name="replace" value=(session); }
                (return_to_field(view.return_to.as_deref()))
                button.main type="submit" { (text.go_on_to_sign_in) }
            }
            p.quiet.small { (text.sent_here) }
        }
    };
    page(shell, &fill_plain(text.title_to, &[("workspace", &view.workspace)]), &body)
}

/// Says whose session ends with the sign-in.
fn replaced_session(shell: &PageContext, name: &str) -> Markup {
    let words = fill(shell.text.sign_in.replaces, &[("name", strong_text(name))]);
    html! { div.notice.waiting { (icon("alert")) div { p { (words) } } } }
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
        /// What they have entered, and is no workspace's id.
        refused: Option<String>,
    },
}

/// The page for a browser without a session.
#[derive(Debug, Clone)]
pub struct SignInRequiredView {
    /// How to sign in.
    pub choice: SignInChoice,
    /// A form was sent: what becomes of what was typed into it.
    pub ended: Option<EndedForm>,
}

/// The page for a browser without a session.
pub fn sign_in_required(shell: &PageContext, view: &SignInRequiredView) -> Markup {
    let text = &shell.text.sign_in;
    let title = if view.ended.is_some() { text.ended_title } else { text.title };
    let body = html! {
        section.card.door aria-labelledby="sign-in" {
            span.picture { (icon("person")) }
            h1 #sign-in { (title) }
            @match view.ended {
                None => p { (text.about) },
                Some(EndedForm::Kept) => p { (text.ended_kept) },
                Some(EndedForm::TooLong) => p { (text.ended_too_long) },
                Some(EndedForm::NothingTyped) => p { (text.ended_nothing) },
            }
            @match &view.choice {
                SignInChoice::LinkOnly => p { (text.link_needed) },
                SignInChoice::OnlyWorkspace { href } => p { (link(text.title, href, "button main")) },
                SignInChoice::AskForWorkspace { return_to, refused } => {
                    (workspace_form(shell, return_to.as_deref(), refused.as_deref()))
                },
            }
            @if view.choice != SignInChoice::LinkOnly { p.quiet.small { (text.link_instead) } }
        }
        @if view.choice == SignInChoice::LinkOnly { (operators_note(shell)) }
    };
    page(shell, title, &body)
}

fn workspace_form(shell: &PageContext, return_to: Option<&str>, refused: Option<&str>) -> Markup {
    let text = &shell.text.sign_in;
    let wrong = refused.map(|_| text.wrong_workspace);
    let described = described_by("workspace", true, wrong.is_some());
    html! {
        form method="get" action="/sign-in" {
            (return_to_field(return_to))
            div.field.wrong[wrong.is_some()] {
                label for="workspace" { (text.workspace_id) }
                p.hint #workspace-hint { (text.workspace_hint) }
                (field_error(shell, "workspace", wrong))
                input #workspace type="text" name="workspace" value=[refused] required placeholder="ws_…" autocomplete="organization"
                    autocapitalize="none" spellcheck="false" aria-invalid=[wrong.map(|_| "true")]
                    aria-describedby=[described.as_deref()];
            }
            button.main type="submit" { (text.go_on) }
        }
    }
}

/// For who runs the workspace and has nobody to ask.
fn operators_note(shell: &PageContext) -> Markup {
    let text = &shell.text.sign_in;
    let code = |words: &'static str| html! { code { (words) } };
    html! {
        details.fold {
            summary { (text.operators_title) }
            p {
                (fill(text.operators_about, &[
                    ("scope", code("links")),
                    ("call", code("POST /v1/sign-in-links")),
                    ("body", code(r#"{"user": {"id": "…", "name": "…"}}"#)),
                    ("url", code("url")),
                ]))
            }
        }
    }
}
